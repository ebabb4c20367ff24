/* Any bytes as a data set: tar, zip (with dataset.json), idx plain or gzip, npz, found by content; and, where the
 * first byte is below 8, as files of a folder: IDX images with labels, CIFAR-10's batches, an npz, pictures and a
 * dataset.json.  Then the input is a sequence of files: a byte that says which, two for its length, its bytes. */
#include "fuzz/watched.h"
#include "support/pictures.h"

static const char *const places[] = {"train-images-idx3-ubyte",
                                     "train-labels-idx1-ubyte",
                                     "data_batch_1.bin",
                                     "data_batch_2.bin",
                                     "dataset.json",
                                     "1_a.png",
                                     "2_b.jpg",
                                     "x.npz"};
enum { PLACES = sizeof places / sizeof *places };

static cm_status read_set(cm_context *context, const char *path)
{
    cm_dataset *d;
    cm_dataset_info info;
    int32_t labels[2];
    CM_TRY(cm_dataset_open(context, path, NULL, &d));
    cm_dataset_info_init(&info, sizeof info);
    cm_status status = cm_dataset_info_get(d, &info);
    if (status != CM_OK || info.images < 1 || info.channels < 1 || !info.kind) fuzz_fail("a set of nothing");
    const size_t values = (size_t)info.channels * (size_t)info.height * (size_t)info.width;
    float *images = values < 1 << 20 ? malloc(2 * values * sizeof *images) : NULL;
    if (images) status = read_floats(d, 0, 2, images, labels);
    free(images);
    for (int32_t k = 0; k < info.classes && k < 3; k++) (void)cm_dataset_class_name(d, k);
    cm_dataset_free(d);
    return status;
}

static cm_status as_file(cm_context *context, const uint8_t *data, size_t size)
{
    char path[64];
    const int fd = fuzz_file(data, size, path);
    if (fd < 0) return CM_OK;
    const cm_status status = read_set(context, path);
    (void)close(fd);
    return status;
}

static cm_status as_folder(cm_context *context, const uint8_t *data, size_t size)
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
    cm_status status = read_set(context, fuzz_folder());
    for (int i = 0; i < PLACES; i++) {
        if (i != 4 && status != CM_OK && status != CM_ERR_MEMORY && access(fuzz_path(places[i]), F_OK) == 0)
            status = read_set(context, fuzz_path(places[i]));
        (void)unlink(fuzz_path(places[i]));
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(size && data[0] < PLACES ? as_folder : as_file, data, size, 0);
}
