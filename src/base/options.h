/* options.h - structs that begin with struct_size: the rule of base.h. */
#ifndef CM_BASE_OPTIONS_H
#define CM_BASE_OPTIONS_H

#include "base/status.h"

/* Zeroes the caller's struct_size bytes and records the size. */
void cmi_options_zero(void *options, size_t struct_size);

/* The structs of all versions have the alignment of ours or a multiple of it. */
#define CM_OPTIONS_ALIGNMENT(pointer) _Alignof(__typeof__(*(pointer)))

/* Copies the caller's struct of any version into ours, which the caller of
 * this function has filled with defaults.  `name` is for the message.
 * ARGUMENT for a struct_size that no version has: too small, too large, or no multiple of the alignment. */
#define cm_options_read(ours, our_size, theirs, name)                                                                \
    cmi_options_read_aligned(ours, our_size, CM_OPTIONS_ALIGNMENT(ours), theirs, name)
cm_status cmi_options_read_aligned(void *ours, size_t our_size, size_t alignment, const void *theirs,
                                   const char *name);

/* ARGUMENT for a reserved member that is not 0. */
cm_status cmi_reserved_check(const char *name, int32_t reserved);

/* ARGUMENT for a struct that cm_info_write would refuse: looked at before work that cannot be taken back. */
#define cm_info_check(theirs, name) cmi_info_check_aligned(theirs, CM_OPTIONS_ALIGNMENT(theirs), name)
cm_status cmi_info_check_aligned(const void *theirs, size_t alignment, const char *name);

/* The other direction, for infos: fills as much as the caller's struct holds. */
#define cm_info_write(theirs, ours, our_size, name)                                                                  \
    cmi_info_write_aligned(theirs, ours, our_size, CM_OPTIONS_ALIGNMENT(ours), name)
cm_status cmi_info_write_aligned(void *theirs, const void *ours, size_t our_size, size_t alignment, const char *name);

#endif
