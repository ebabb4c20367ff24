/* options.h - structs that begin with struct_size: the rule of base.h. */
#ifndef CM_BASE_OPTIONS_H
#define CM_BASE_OPTIONS_H

#include <stddef.h>

#include "base/status.h"

/* A public struct as programs have been compiled with it; on machines of 64 bits. */
#define CM_PIN_SIZE(type, bytes)                                                                                     \
    _Static_assert(sizeof(void *) != 8 || sizeof(type) == (bytes), #type " has another size")
#define CM_PIN(type, member, at)                                                                                     \
    _Static_assert(sizeof(void *) != 8 || offsetof(type, member) == (at), #type "." #member " lies elsewhere")

/* Zeroes the caller's struct_size bytes and records the size. */
void cm_options_zero(void *options, size_t struct_size);

/* Copies the caller's struct of any version into ours, which the caller of
 * this function has filled with defaults.  `name` is for the message. */
cm_status cm_options_read(void *ours, size_t our_size, const void *theirs, const char *name);

/* ARGUMENT for a reserved member that is not 0. */
cm_status cm_reserved_check(const char *name, int32_t reserved);

/* The other direction, for infos: fills as much as the caller's struct holds. */
cm_status cm_info_write(void *theirs, const void *ours, size_t our_size, const char *name);

#endif
