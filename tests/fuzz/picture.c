/* Any bytes as a JPEG and as a PNG: a picture of the size it claims, or refused. */
#include <stdint.h>

#include "io/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cm_context *context;
    cm_picture p;
    unsigned sum = 0;
    if (cm_context_create(NULL, &context) != CM_OK) return 0;
    for (int kind = 0; kind < 8; kind++) {
        static const int kinds[8] = {0, 0, 1, 1, 3, 3, 2, 4}; /* 2 and 4, with alpha: PNG only */
        int channels = kinds[kind];
        cm_status s = kind % 2 || kind == 6 ? cm_png_read(context, "input", data, size, channels, &p)
                               : cm_jpeg_read(context, "input", data, size, channels, &p);
        if (s != CM_OK) continue;
        for (size_t i = 0; i < (size_t)p.height * (size_t)p.width * (size_t)p.channels; i++) sum += p.pixels[i];
        cm_free(context, p.pixels);
    }
    (void)sum;
    cm_context_free(context);
    return 0;
}
