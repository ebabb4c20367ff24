/* Any small files in the places of a folder of diffusers: refused, or every tensor readable; never more memory than
 * 16 bytes for each byte and 16 MiB.  The input is a sequence of files: a byte that says which, two for its length,
 * its bytes. */
#include <sys/stat.h>

#include "fuzz/watched.h"

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

static void unpack(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 3 <= size;) {
        size_t n = data[at + 1] | (size_t)data[at + 2] << 8;
        FILE *f = fopen(fuzz_path(places[data[at] % PLACES]), "wb");
        if (n > size - at - 3) n = size - at - 3;
        if (f) {
            (void)fwrite(data + at + 3, 1, n, f);
            (void)fclose(f);
        }
        at += 3 + n;
    }
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    cm_tensors t;
    (void)mkdir(fuzz_path("unet"), 0700);
    (void)mkdir(fuzz_path("scheduler"), 0700);
    unpack(data, size);
    cm_status status = cmi_tensors_open_file(context, fuzz_folder(), CM_INPUT_IN_PLACE, &t);
    if (status == CM_OK) {
        status = fuzz_read_tensors(&t);
        cmi_tensors_close(&t);
    }
    for (int i = 0; i < PLACES; i++) (void)unlink(fuzz_path(places[i]));
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(work, data, size, fuzz_bound(size));
}
