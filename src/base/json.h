/* json.h - what jansson does to a tree without saying when it had no memory: it prints members without their names,
 * and copies a part of them.  Here a failure is a failure. */
#ifndef CM_BASE_JSON_H
#define CM_BASE_JSON_H

#include <jansson.h>

/* A tree as text by the flags of json_dumps, to be given back by free(); NULL: no memory. */
char *cmi_json_print(const json_t *value, size_t flags);
/* All of a tree, with trees of its own; NULL: no memory, or NULL was given. */
json_t *cmi_json_copy(const json_t *value);
/* The members of `more` that `object` lacks; 0, or -1 without memory. */
int cmi_json_add_missing(json_t *object, const json_t *more);

#endif
