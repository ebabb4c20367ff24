/* utf8.h - text as JSON, archives and pictures hold it. */
#ifndef CM_BASE_UTF8_H
#define CM_BASE_UTF8_H

#include <stddef.h>

/* The bytes of the well-formed character at text, 0 where there is none among the `left` bytes. */
size_t cmi_utf8_length(const char *text, size_t left);
/* Whether all of it is such characters; a NUL is one. */
int cmi_is_utf8(const char *text, size_t size);

#endif
