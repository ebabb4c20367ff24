/* Any bytes as a data set: tar, zip (with dataset.json), idx plain or gzip, found by
 * content.  The file has no name but its descriptor's. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/pictures.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    cm_dataset *d;
    cm_dataset_info info;
    int fd = (int)syscall(SYS_memfd_create, "fuzz", 0u);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (cm_dataset_open(NULL, path, NULL, &d) == CM_OK) {
        cm_dataset_info_init(&info, sizeof info);
        (void)cm_dataset_info_get(d, &info);
        size_t values = (size_t)info.channels * (size_t)info.height * (size_t)info.width;
        float *images = values < 1 << 20 ? malloc(2 * values * sizeof *images) : NULL;
        int32_t labels[2];
        if (images) (void)read_floats(d, 0, 2, images, labels);
        free(images);
        cm_dataset_free(d);
    }
    close(fd);
    return 0;
}
