/* fields.h - members of a JSON object into a struct, by a table: arguments of networks and of
 * preconditionings. */
#ifndef CM_NETS_FIELDS_H
#define CM_NETS_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/status.h"

typedef enum cm_field_kind {
    CM_FIELD_INT,     /* int32_t in [low, high]                                  */
    CM_FIELD_BOOL,    /* int32_t 0 or 1; accepts true, false, 0, 1               */
    CM_FIELD_NUMBER,  /* double in [low, high]                                   */
    CM_FIELD_CHOICE,  /* int32_t: index of the string among `choices`            */
    CM_FIELD_INTS,    /* int32_t array of at most `high`, each in [low, 65536], count at `count` */
    CM_FIELD_NUMBERS, /* double array likewise                                   */
    CM_FIELD_IGNORED  /* known, without effect on the function computed here     */
} cm_field_kind;

typedef struct cm_field {
    const char *name;
    cm_field_kind kind;
    size_t offset, count; /* into the struct                */
    double low, high;
    const char *const *choices; /* NULL-terminated               */
    int required;
} cm_field;

/* `what` begins every message ("consistency.network").  Members that are null
 * count as absent; members not in the table are errors. */
cm_status cmi_fields_read(const char *what, const json_t *object, const cm_field *fields, size_t n, void *out);

/* A field's value as it is written in JSON. */
void cmi_field_show(const void *from, const cm_field *field, char *text, size_t size);

/* clang-format off */
/* Rows of a table; `at` is offsetof of the member. */
#define CM_INT_FIELD(name, at, low, high, required) {name, CM_FIELD_INT, at, 0, low, high, NULL, required}
#define CM_BOOL_FIELD(name, at) {name, CM_FIELD_BOOL, at, 0, 0, 0, NULL, 0}
#define CM_NUMBER_FIELD(name, at, low, high) {name, CM_FIELD_NUMBER, at, 0, low, high, NULL, 0}
#define CM_CHOICE_FIELD(name, at, choices) {name, CM_FIELD_CHOICE, at, 0, 0, 0, choices, 0}
#define CM_IGNORED_FIELD(name) {name, CM_FIELD_IGNORED, 0, 0, 0, 0, NULL, 0}
/* clang-format on */

#endif
