/* quoted.h - a list of names in a message: 'a', 'b'. */
#ifndef CM_IO_QUOTED_H
#define CM_IO_QUOTED_H

#include <stddef.h>

/* Begins as {.count = 0}. */
typedef struct cm_quoted {
    char text[400];
    size_t length;
    int count; /* of names that were added; those that do not fit are cut off */
} cm_quoted;

/* At most 40 bytes of a name. */
void cmi_quoted_add(cm_quoted *list, const char *name);

#endif
