/* operations_files.c - the files that the rows of operations.h read, and what the groups of them share. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/operations_parts.h"

enum { PICTURES = 6 };

/* Without attention and classes, as diffusers has it too. */
#define PLAIN                                                                                                        \
    "{\"network\": {\"type\": \"adm\", \"image_size\": 8, \"in_channels\": 3, \"out_channels\": 3, "                 \
    "\"model_channels\": 32, \"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": [], "          \
    "\"resblock_updown\": true}, \"precond\": {\"type\": \"cm\"}}"

const char *path_of(const char *folder, const char *format, ...)
{
    static _Thread_local char paths[8][400];
    static _Thread_local unsigned turn;
    char *path = paths[turn++ % 8];
    const int n = snprintf(path, 200, "%s/", folder);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path + n, 200, format, args);
    va_end(args);
    return path;
}

void fill(size_t n, uint64_t state, float *x)
{
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) / 2147483648.0f;
    }
}

static cm_status write_model(const char *in, const char *config, const char *name, int32_t format)
{
    cm_model *m = NULL;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES;
    o.format = format;
    cm_status status = cm_model_create(NULL, config, 1, &m);
    if (status == CM_OK) status = cm_model_save(m, path_of(in, "%s", name), &o);
    cm_model_free(m);
    return status;
}

static cm_status write_models(const char *in)
{
    cm_status status = write_model(in, PLAIN, "model.safetensors", CM_MODEL_NATIVE);
    if (status == CM_OK) status = write_model(in, PLAIN, "model.pt", CM_MODEL_TORCH);
    if (status == CM_OK) status = write_model(in, PLAIN, "model.folder", CM_MODEL_DIFFUSERS);
    if (status == CM_OK) status = write_model(in, TINY_JUMP, "jump.safetensors", CM_MODEL_NATIVE);
    if (status == CM_OK) status = write_model(in, TINY_DENOISER, "denoiser.safetensors", CM_MODEL_NATIVE);
    if (status == CM_OK) status = write_model(in, TINY_TWO_TIMES, "two.safetensors", CM_MODEL_NATIVE);
    return status;
}

static int write_file(const char *path, const void *head, size_t head_size, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f) return 0;
    (void)fwrite(head, 1, head_size, f);
    for (size_t i = head_size; i < size; i++) (void)fputc((int)(i * 7 % 10), f);
    return fclose(f) == 0;
}

/* Six pictures of two classes, in every container. */
static int write_sets(const char *in)
{
    static const unsigned char pictures[16] = {0, 0, 8, 3, 0, 0, 0, PICTURES, 0, 0, 0, 28, 0, 0, 0, 28};
    static const unsigned char classes[8] = {0, 0, 8, 1, 0, 0, 0, PICTURES};
    char command[1200];
    (void)snprintf(command, sizeof command, "cd %s && mkdir -p folder/a folder/b idx cifar", in);
    if (system(command) != 0) return 0;
    for (int i = 0; i < PICTURES; i++) {
        for (int k = 0; k < (i == 0 ? 2 : 1); k++)
            if (write_picture_to(NULL, path_of(in, "folder/%s/%d.%s", i % 2 ? "b" : "a", i, k ? "jpg" : "png"), i) !=
                CM_OK)
                return 0;
    }
    (void)snprintf(command, sizeof command,
                   "cd %s && tar cf set.tar -C folder a b && cd folder && python3 -c 'import shutil; "
                   "shutil.make_archive(\"../set\", \"zip\", \".\")'",
                   in);
    if (system(command) != 0) return 0;
    place at = {.out = in, .in = in, .choice = ""};
    if (write_samples(&at) != CM_OK || rename(path_of(in, "samples.npz"), path_of(in, "set.npz")) != 0) return 0;
    return write_file(path_of(in, "idx/train-images-idx3-ubyte"), pictures, sizeof pictures, 16 + PICTURES * 784) &&
           write_file(path_of(in, "idx/train-labels-idx1-ubyte"), classes, sizeof classes, 8 + PICTURES) &&
           write_file(path_of(in, "cifar/data_batch_1.bin"), "", 1, 2 * 3073);
}

/* AlexNet's layers for LPIPS, as a file of safetensors. */
static int write_backbone(const char *path)
{
    static const int layers[5][4] = {
        {0, 64, 3, 11}, {3, 192, 64, 5}, {6, 384, 192, 3}, {8, 256, 384, 3}, {10, 256, 256, 3}};
    char head[2048];
    size_t n = 8, offset = 0;
    for (int i = 0; i < 5; i++) {
        const int *l = layers[i];
        const size_t weights = (size_t)l[1] * (size_t)l[2] * (size_t)(l[3] * l[3]) * 4, bias = (size_t)l[1] * 4;
        n += (size_t)snprintf(head + n, sizeof head - n,
                              "%c\"features.%d.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d,%d,%d],"
                              "\"data_offsets\":[%zu,%zu]},\"features.%d.bias\":{\"dtype\":\"F32\","
                              "\"shape\":[%d],\"data_offsets\":[%zu,%zu]}",
                              i ? ',' : '{', l[0], l[1], l[2], l[3], l[3], offset, offset + weights, l[0], l[1],
                              offset + weights, offset + weights + bias);
        offset += weights + bias;
    }
    head[n++] = '}';
    while (n % 8) head[n++] = ' ';
    for (int i = 0; i < 8; i++) head[i] = (char)((n - 8) >> (8 * i) & 255);
    float *values = malloc(offset);
    FILE *f = fopen(path, "wb");
    if (values) fill(offset / 4, 12, values);
    for (size_t i = 0; values && i < offset / 4; i++) values[i] *= 0.02f;
    const int done = values && f && fwrite(head, 1, n, f) == n && fwrite(values, 1, offset, f) == offset;
    free(values);
    return f && fclose(f) == 0 && done;
}

/* Two stored averages of a step. */
static cm_status write_averages(const char *in)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_status status = tiny_options(NULL, "edm", &o);
    if (status == CM_OK) status = cm_train_options_set(o, "ema", "power:0.05,power:0.1");
    if (status == CM_OK) status = tiny_trainer_with(NULL, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    if (status == CM_OK) status = cm_trainer_save(t, path_of(in, "averages"), 2);
    cm_trainer_free(t);
    cm_train_options_free(o);
    return status;
}

int operations_prepare(const char *in)
{
    const place at = {.in = in, .out = in, .choice = ""};
    if (write_models(in) == CM_OK && write_sets(in) && write_averages(in) == CM_OK &&
        write_backbone(path_of(in, "alex.safetensors")) && run_in(&at, path_of(in, "kept")) == CM_OK)
        return 1;
    fprintf(stderr, "the files of the operations: %s\n", cm_last_message());
    return 0;
}
