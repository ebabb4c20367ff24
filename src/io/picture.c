/* picture.c - bounds that every picture format shares. */
#include "io/picture.h"

cm_status cm_picture_check(const char *name, uint64_t height, uint64_t width)
{
    if (height < 1 || width < 1 || height > CM_PICTURE_SIDE || width > CM_PICTURE_SIDE ||
        height * width > CM_PICTURE_PIXELS)
        CM_FAIL(CM_ERR_LIMIT, "%s: %llu x %llu pixels are outside the limits (sides 1..%d, at most %d pixels)", name,
                (unsigned long long)width, (unsigned long long)height, CM_PICTURE_SIDE, CM_PICTURE_PIXELS);
    return CM_OK;
}

cm_status cm_picture_check_file(const char *name, uint64_t height, uint64_t width, size_t size)
{
    CM_TRY(cm_picture_check(name, height, width));
    if (height * width / (8 * 1032) > size)
        CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes cannot hold the %llu x %llu pixels the header claims", name, size,
                (unsigned long long)width, (unsigned long long)height);
    return CM_OK;
}
