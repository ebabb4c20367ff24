/* msgpack.h - msgpack read value by value where it lies: no tree, and memory for the keys of open maps alone.
 *
 * A list or a map is a header that says how many values follow.  Nothing is believed of it before the bytes of that
 * many values can be there. */
#ifndef CM_IO_MSGPACK_H
#define CM_IO_MSGPACK_H

#include "io/input.h"

enum { CM_MSGPACK_DEPTH = 64, CM_MSGPACK_KEY = 4096 /* bytes */, CM_MSGPACK_KEYS = 65536 /* of a map */ };

typedef enum cm_msgpack_kind {
    CM_MSGPACK_RESERVED, /* the byte c1, which no value begins with */
    CM_MSGPACK_NIL,
    CM_MSGPACK_BOOL,
    CM_MSGPACK_INT,
    CM_MSGPACK_FLOAT,
    CM_MSGPACK_TEXT,
    CM_MSGPACK_BYTES,
    CM_MSGPACK_LIST,
    CM_MSGPACK_MAP,
    CM_MSGPACK_EXTENSION
} cm_msgpack_kind;

typedef struct cm_msgpack {
    cm_msgpack_kind kind;
    int negative;    /* INT: the value is (int64_t)bits             */
    uint64_t bits;   /* BOOL, INT: the value                        */
    int type;        /* EXTENSION                                   */
    size_t at, size; /* TEXT, BYTES, EXTENSION: its bytes; LIST, MAP: `size` values or pairs */
} cm_msgpack;

/* "a map" */
const char *cmi_msgpack_name(cm_msgpack_kind kind);

/* The value at *at, which moves behind it, or behind the header of a list or map.  FORMAT for what is cut off at
 * `end`, claims more than is left, or begins no value. */
cm_status cmi_msgpack_next(const cm_input *input, size_t *at, size_t end, cm_msgpack *out);
/* Moves behind a whole value. */
cm_status cmi_msgpack_skip(const cm_input *input, size_t *at, size_t end);
/* Whether the bytes up to `end` are one value whose maps have text keys, each once, and at most CM_MSGPACK_DEPTH
 * levels. */
cm_status cmi_msgpack_check(const cm_input *input, size_t at, size_t end);
/* Where the value of a key of a map begins; *found is 0 where there is none.  `at` is behind the header of the map.
 */
cm_status cmi_msgpack_find(const cm_input *input, const cm_msgpack *map, size_t at, size_t end, const char *key,
                           size_t *begin, int *found);
/* 1 when the value is this text. */
cm_status cmi_msgpack_is(const cm_input *input, const cm_msgpack *value, const char *text, int *same);

#endif
