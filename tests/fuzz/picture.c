/* Any bytes as a picture: of the size it claims and upright, or refused. */
#include <stdint.h>

#include "io/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cm_context *context;
    cm_picture p;
    unsigned sum = 0;
    if (cm_context_create(NULL, &context) != CM_OK) return 0;
    for (int channels = 0; channels <= 4; channels++) {
        if (cmi_picture_read(context, "input", data, size, channels, &p) != CM_OK) continue;
        for (size_t i = 0; i < (size_t)p.height * (size_t)p.width * (size_t)p.channels; i++) sum += p.pixels[i];
        cmi_free(context, p.pixels);
    }
    (void)sum;
    cm_context_free(context);
    return 0;
}
