/* nearest.h - which name of many somebody may have meant: names of tensors, which are long and alike. */
#ifndef CM_NETS_NEAREST_H
#define CM_NETS_NEAREST_H

#include <stddef.h>

/* The most similar of n names, the first of several; NULL where none is similar.  name_at gives the i-th, or NULL for
 * one that is no candidate.  Only some hundred candidates are looked at, and no names of over 160 letters. */
const char *cmi_nearest_name(const char *word, const char *(*name_at)(const void *list, size_t i), const void *list,
                             size_t n);

#endif
