/* options.h - structs that begin with struct_size: the rule of base.h. */
#ifndef CM_BASE_OPTIONS_H
#define CM_BASE_OPTIONS_H

#include "base/status.h"

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
