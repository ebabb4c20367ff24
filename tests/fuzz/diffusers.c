/* Any small files in the places of a folder of diffusers: refused, or every tensor readable; never more memory than
 * 16 bytes for each byte and 16 MiB.  The input is a sequence of files: a byte that says which, two for its length,
 * its bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/tensors.h"
#include "support/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WEIGHTS "unet/diffusion_pytorch_model"
static const char *const places[] = {"model_index.json",
                                     "unet/config.json",
                                     "scheduler/scheduler_config.json",
                                     WEIGHTS ".safetensors",
                                     WEIGHTS ".safetensors.index.json",
                                     WEIGHTS "-1.safetensors",
                                     WEIGHTS "-2.safetensors",
                                     WEIGHTS ".bin"};
enum { PLACES = sizeof places / sizeof *places };

static const char *path_of(const char *folder, const char *name)
{
    static char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void unpack(const char *folder, const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 3 <= size;) {
        size_t n = data[at + 1] | (size_t)data[at + 2] << 8;
        FILE *f = fopen(path_of(folder, places[data[at] % PLACES]), "wb");
        if (n > size - at - 3) n = size - at - 3;
        if (f) {
            (void)fwrite(data + at + 3, 1, n, f);
            (void)fclose(f);
        }
        at += 3 + n;
    }
}

static void read_all(cm_tensors *t)
{
    for (size_t i = 0; i < t->count; i++) {
        float *v = malloc((t->tensors[i].count + 1) * sizeof *v);
        (void)cmi_tensor_read(&t->tensors[i], v);
        free(v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memory counted;
    cm_context *context;
    cm_tensors t;
    char folder[32] = "/dev/shm/cm-fuzz-XXXXXX"; /* in memory where there is such a place */
    memory_reset(&counted);
    cm_context_options options = memory_options(&counted, 1);
    if (!mkdtemp(folder)) {
        (void)snprintf(folder, sizeof folder, "/tmp/cm-fuzz-XXXXXX");
        if (!mkdtemp(folder)) return 0;
    }
    (void)mkdir(path_of(folder, "unet"), 0700);
    (void)mkdir(path_of(folder, "scheduler"), 0700);
    unpack(folder, data, size);
    if (cm_context_create(&options, &context) == CM_OK) {
        if (cmi_tensors_open_file(context, folder, CM_INPUT_IN_PLACE, &t) == CM_OK) {
            read_all(&t);
            cmi_tensors_close(&t);
        }
        cm_context_free(context);
    }
    for (int i = 0; i < PLACES; i++) (void)unlink(path_of(folder, places[i]));
    (void)rmdir(path_of(folder, "unet"));
    (void)rmdir(path_of(folder, "scheduler"));
    (void)rmdir(folder);
    if (counted.live || counted.peak > 16 * (long long)size + (16 << 20)) __builtin_trap();
    return 0;
}
