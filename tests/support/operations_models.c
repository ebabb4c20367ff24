/* operations_models.c - rows of operations.h: contexts, models and their files. */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/operations_parts.h"

static const char *const model_files[] = {"safetensors", "pt", "folder", NULL};
static const char *const single_files[] = {"safetensors", "pt", NULL};
static const char *const checkpoints[] = {"safetensors",         "pt", "folder", "flax_ok_small.msgpack",
                                          "odd_views_legacy.pt", NULL};
static const char *const denoisings[] = {"values", "classes", "tangent", NULL};

static cm_status create_context(const place *at)
{
    cm_context *c = NULL;
    const cm_status status = cm_context_create(at->options, &c);
    cm_context_free(c);
    return status;
}

static cm_status load(const place *at)
{
    cm_model *m = NULL;
    const cm_status status = cm_model_load(at->context, path_of(at->in, "model.%s", at->choice), NULL, &m);
    cm_model_free(m);
    return status;
}

/* The caller's bytes: a shim that fails the library's calls does not see these. */
static unsigned char *whole_file(const char *path, size_t *size)
{
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    const long end = fd >= 0 ? syscall(SYS_lseek, fd, 0, SEEK_END) : -1;
    unsigned char *bytes = end >= 0 ? malloc((size_t)end + 1) : NULL;
    *size = bytes ? (size_t)end : 0;
    if (bytes && (syscall(SYS_lseek, fd, 0, SEEK_SET) != 0 || syscall(SYS_read, fd, bytes, *size) != end)) *size = 0;
    if (fd >= 0) (void)syscall(SYS_close, fd);
    return bytes;
}

static cm_status load_memory(const place *at)
{
    cm_model *m = NULL;
    size_t size = 0;
    unsigned char *bytes = whole_file(path_of(at->in, "model.%s", at->choice), &size);
    if (!bytes) return CM_ERR_MEMORY; /* of the test */
    const cm_status status = cm_model_load_memory(at->context, bytes, size, NULL, &m);
    cm_model_free(m);
    free(bytes);
    return status;
}

typedef struct {
    const unsigned char *bytes;
    size_t size;
} held;

static int32_t read_held(void *user, uint64_t offset, void *bytes, size_t size)
{
    const held *h = user;
    memcpy(bytes, h->bytes + offset, size);
    return (int32_t)size;
}

static cm_status load_stream(const place *at)
{
    cm_model *m = NULL;
    size_t size = 0;
    unsigned char *bytes = whole_file(path_of(at->in, "model.%s", at->choice), &size);
    if (!bytes) return CM_ERR_MEMORY;
    held h = {bytes, size};
    cm_reader reader = {sizeof reader, 0, size, read_held, &h};
    const cm_status status = cm_model_load_stream(at->context, &reader, NULL, &m);
    cm_model_free(m);
    free(bytes);
    return status;
}

static cm_status open_checkpoint(const place *at)
{
    cm_checkpoint *c = NULL;
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    cm_checkpoint_report report = CM_CHECKPOINT_REPORT_INIT;
    const char *path = strchr(at->choice, '.') ? path_of("tests/data/golden/checkpoints", "%s", at->choice)
                                               : path_of(at->in, "model.%s", at->choice);
    cm_status status = cm_checkpoint_open(at->context, path, NULL, &c);
    if (status == CM_OK) status = cm_checkpoint_info_get(c, &info);
    if (status == CM_OK) status = cm_checkpoint_check(c, NULL, &report);
    cm_checkpoint_free(c);
    return status;
}

/* All that a checkpoint tells: sets, notes, tensors by number and by name, the values of the first. */
static cm_status read_checkpoint(const place *at)
{
    cm_checkpoint *c = NULL;
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    const char *key, *text, *name = "";
    size_t size = 0, count = 1, first = 0;
    int64_t shape[8];
    int32_t rank = 0;
    unsigned char *bytes = whole_file(path_of(at->in, "model.%s", at->choice), &size);
    if (!bytes) return CM_ERR_MEMORY;
    cm_status status = cm_checkpoint_open_memory(at->context, bytes, size, NULL, &c);
    if (status == CM_OK) status = cm_checkpoint_info_get(c, &info);
    for (size_t i = 0; i < info.sets; i++) (void)cm_checkpoint_set_name(c, i);
    for (size_t i = 0; i < info.notes && status == CM_OK; i++) status = cm_checkpoint_note(c, i, &key, &text);
    if (status == CM_OK) status = cm_checkpoint_tensor(c, 0, &name, &rank, shape, NULL);
    if (status == CM_OK) status = cm_checkpoint_find(c, name, &first);
    for (int32_t i = 0; i < rank; i++) count *= (size_t)shape[i];
    float *values = malloc(count * sizeof *values);
    if (!values && status == CM_OK) status = CM_ERR_MEMORY;
    if (status == CM_OK) status = cm_checkpoint_read(c, first, count * sizeof *values, values);
    if (status == CM_OK) status = cm_checkpoint_read_f32(c, first, count, values);
    if (status == CM_OK && !cm_checkpoint_model(c)) status = CM_ERR_INTERNAL;
    free(values);
    cm_checkpoint_free(c);
    free(bytes);
    return status;
}

/* All that a model tells, and the values of its first parameter. */
static cm_status read_model(const place *at)
{
    cm_model *m = NULL;
    cm_model_info info = CM_MODEL_INFO_INIT;
    const char *name;
    int64_t shape[8];
    int32_t rank = 0, label;
    size_t count = 1;
    cm_status status = cm_model_load(at->context, path_of(at->in, "model.%s", at->choice), NULL, &m);
    if (status == CM_OK) status = cm_model_info_get(m, &info);
    for (size_t i = 0; status == CM_OK && i < cm_model_param_count(m); i++)
        status = cm_model_param_info(m, i, &name, &rank, shape, NULL);
    for (int32_t i = 0; i < rank; i++) count *= (size_t)shape[i];
    float *values = malloc(count * sizeof *values);
    if (!values && status == CM_OK) status = CM_ERR_MEMORY;
    if (status == CM_OK) status = cm_model_param_read(m, cm_model_param_count(m) - 1, count, values);
    free(values);
    cm_model_free(m);
    if (status == CM_OK) status = cm_model_load(at->context, path_of(at->in, "jump.safetensors"), NULL, &m);
    if (status == CM_OK) (void)cm_model_class_name(m, 0);
    if (status == CM_OK) status = cm_model_find_class(m, "1", &label);
    if (status == CM_OK) cm_model_free(m);
    return status;
}

static cm_status create(const place *at)
{
    cm_model *m = NULL;
    uint64_t count;
    cm_status status = cm_model_create(at->context, TINY_JUMP, 1, &m);
    if (status == CM_OK) status = cm_model_count(at->context, TINY_JUMP, &count);
    cm_model_free(m);
    return status;
}

static cm_status save(const place *at)
{
    cm_model *m = NULL;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES;
    o.format = strcmp(at->choice, "pt") == 0       ? CM_MODEL_TORCH
               : strcmp(at->choice, "folder") == 0 ? CM_MODEL_DIFFUSERS
                                                   : CM_MODEL_NATIVE;
    if (o.format == CM_MODEL_DIFFUSERS) o.shard_bytes = 60000;
    cm_status status = cm_model_load(at->context, path_of(at->in, "model.safetensors"), NULL, &m);
    if (status == CM_OK) status = cm_model_save(m, path_of(at->out, "saved.%s", at->choice), &o);
    cm_model_free(m);
    return status;
}

static cm_status denoise(const place *at)
{
    cm_model *m = NULL;
    float x[BATCH * VALUES], y[BATCH * VALUES], t[BATCH * VALUES], sigma[BATCH] = {1, 2}, moves[BATCH] = {0.5f, 1};
    CONDITION_OF_TWO;
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    o.condition = &condition;
    fill(BATCH * VALUES, 1, x);
    cm_status status = cm_model_load(at->context, path_of(at->in, "jump.safetensors"), NULL, &m);
    if (status == CM_OK && strcmp(at->choice, "tangent") == 0)
        status = cm_model_denoise_tangent(m, &o, BATCH, x, sigma, x, moves, y, t);
    else if (status == CM_OK && strcmp(at->choice, "classes") == 0)
        status = cm_model_denoise(m, BATCH, x, sigma, labels, y);
    else if (status == CM_OK) status = cm_model_denoise_with(m, &o, BATCH, x, sigma, y);
    cm_model_free(m);
    return status;
}

static cm_status likelihood(const place *at)
{
    cm_model *m = NULL;
    float x[VALUES];
    double bits;
    cm_likelihood_options o = CM_LIKELIHOOD_OPTIONS_INIT;
    o.rk45_rtol = o.rk45_atol = 0.1;
    fill(VALUES, 2, x);
    for (int i = 0; i < VALUES; i++) x[i] = roundf((x[i] + 1) * 127.5f) / 127.5f - 1;
    cm_status status = cm_model_create(at->context, TINY_DENOISER, 1, &m);
    if (status == CM_OK) status = cm_model_bits_per_dim(m, &o, 1, x, &bits);
    cm_model_free(m);
    return status;
}

const operation operations_of_models[] = {
    {"create a context", create_context, NULL, NULL, 0},
    {"create a model", create, NULL, NULL, 0},
    {"load a model", load, NULL, model_files, 0},
    {"load from memory", load_memory, NULL, single_files, 0},
    {"load by a function", load_stream, NULL, single_files, 0},
    {"save a model", save, NULL, model_files, 0},
    {"open a checkpoint", open_checkpoint, NULL, checkpoints, 0},
    {"read a checkpoint", read_checkpoint, NULL, single_files, 0},
    {"read a model", read_model, NULL, model_files, 0},
    {"denoise", denoise, NULL, denoisings, 1},
    {"likelihood", likelihood, NULL, NULL, 1},
    {NULL, NULL, NULL, NULL, 0},
};
