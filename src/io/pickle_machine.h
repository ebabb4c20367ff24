/* pickle_machine.h - inside of the pickle machine: its memory, the bytes of the program, its stack and memo. */
#ifndef CM_IO_PICKLE_MACHINE_H
#define CM_IO_PICKLE_MACHINE_H

#include "io/pickle.h"

enum { CM_PICKLE_WINDOW = 16 << 10 }; /* bytes of the program that are looked at together */

typedef struct cm_pickle_chunk {
    struct cm_pickle_chunk *next;
    size_t used, size;
} cm_pickle_chunk;

struct cm_pickle {
    cm_context *context;
    const cm_input *input;
    const char *what;
    cm_pickle_chunk *chunks; /* of values; the newest first */
    size_t memory, most;
    cm_pickled **stack, **memo, **storages;
    size_t depth, stack_room, memo_count, memo_room, n_storages, storage_room;
    uint32_t *marks; /* heights of the stack */
    size_t n_marks, mark_room;
    uint64_t operations;
    size_t begin, at, end; /* of this pickle, in the input */
    size_t opcode;         /* where the present one stands */
    size_t window_at, window_size;
    unsigned char window[CM_PICKLE_WINDOW];
};

/* An opcode and what it does. */
typedef struct cm_opcode {
    const char *name;
    cm_status (*run)(cm_pickle *p, const struct cm_opcode *op); /* NULL: known and refused */
    int size;                                                   /* of what follows, or of its length */
    int value;
} cm_opcode;

/* By their bytes.  What has no name here is a byte that no protocol gives a meaning. */
extern const cm_opcode cmi_opcodes[256];

/* Memory that ends with the machine; one element more in an array of it. */
cm_status cmi_pickle_allocate(cm_pickle *p, size_t bytes, void **out);
cm_status cmi_pickle_grow(cm_pickle *p, void **list, size_t size, size_t count, size_t *capacity);

/* FORMAT where fewer than n bytes are left; `of` is who needs them. */
cm_status cmi_pickle_check_left(const cm_pickle *p, uint64_t n, const char *of);
/* The next n bytes, at most CM_PICKLE_WINDOW, until the next call; as a number. */
cm_status cmi_pickle_take(cm_pickle *p, size_t n, const char *of, const unsigned char **out);
cm_status cmi_pickle_number(cm_pickle *p, size_t n, const char *of, uint64_t *out);
uint64_t cmi_pickle_little_endian(const unsigned char *bytes, size_t n);

/* Where the values above the last mark begin: what lies below is not touched. */
size_t cmi_pickle_floor(const cm_pickle *p);
cm_status cmi_pickle_push(cm_pickle *p, cm_pickled *value);
cm_status cmi_pickle_push_new(cm_pickle *p, cm_pickled_kind kind, cm_pickled **out);
cm_status cmi_pickle_pop(cm_pickle *p, cm_pickled **out);
cm_status cmi_pickle_top(cm_pickle *p, cm_pickled **out);
/* The place of the first value above the last mark, which is taken off. */
cm_status cmi_pickle_pop_mark(cm_pickle *p, size_t *from);

#endif
