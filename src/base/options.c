/* options.c - reading and writing structs of older and newer callers. */
#include "base/options.h"

#include <string.h>

void cmi_options_zero(void *options, size_t struct_size)
{
    if (!options || struct_size < sizeof(uint32_t)) return;
    uint32_t size = (uint32_t)struct_size;
    memset(options, 0, struct_size);
    memcpy(options, &size, sizeof size);
}

/* A size that is no multiple of the alignment would cut a member in two. */
static cm_status read_size(const void *theirs, size_t alignment, const char *name, uint32_t *size)
{
    memcpy(size, theirs, sizeof *size);
    if (*size < 2 * sizeof(uint32_t) || *size > 65536 || *size % alignment)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: struct_size is %u; fill the struct with %s_init(&o, sizeof o) first", name,
                *size, name);
    return CM_OK;
}

cm_status cmi_options_read_aligned(void *ours, size_t our_size, size_t alignment, const void *theirs,
                                   const char *name)
{
    uint32_t size;
    uint32_t whole = (uint32_t)our_size;
    CM_TRY(read_size(theirs, alignment, name, &size));
    const unsigned char *bytes = theirs;
    for (size_t i = our_size; i < size; i++)
        if (bytes[i])
            CM_FAIL(CM_ERR_UNSUPPORTED,
                    "%s: an option of a newer interface is set (byte %zu of %u; this library "
                    "knows %zu)",
                    name, i, size, our_size);
    memcpy(ours, theirs, size < our_size ? size : our_size);
    memcpy(ours, &whole, sizeof whole);
    return CM_OK;
}

cm_status cmi_reserved_check(const char *name, int32_t reserved)
{
    if (reserved) CM_FAIL(CM_ERR_ARGUMENT, "%s: reserved is %d, expected 0", name, reserved);
    return CM_OK;
}

cm_status cmi_info_check_aligned(const void *theirs, size_t alignment, const char *name)
{
    uint32_t size;
    return read_size(theirs, alignment, name, &size);
}

cm_status cmi_info_write_aligned(void *theirs, const void *ours, size_t our_size, size_t alignment, const char *name)
{
    uint32_t size;
    CM_TRY(read_size(theirs, alignment, name, &size));
    memset(theirs, 0, size);
    memcpy(theirs, ours, size < our_size ? size : our_size);
    memcpy(theirs, &size, sizeof size);
    return CM_OK;
}
