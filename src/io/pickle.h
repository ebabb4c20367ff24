/* pickle.h - a Python pickle read as data.
 *
 * A pickle is a program for a small stack machine.  This one knows the opcodes that checkpoints are written with and
 * refuses every other by its name.  A symbol that is not in the closed list of pickle_symbols.c is refused by its
 * name where it stands; nothing is looked up, imported or called.  What the program would have called becomes a
 * description: a tensor is the list of its arguments, a storage that of its persistent id.
 *
 * Values belong to the machine and end with it.  They take at most 8 MiB and 8 bytes for each byte of pickle, nest at
 * most CM_PICKLE_DEPTH deep when they are made, and may form circles: who walks through them counts. */
#ifndef CM_IO_PICKLE_H
#define CM_IO_PICKLE_H

#include "io/tensors.h"

enum { CM_PICKLE_DEPTH = 64 };

typedef enum cm_pickled_kind {
    CM_PICKLED_NONE,
    CM_PICKLED_BOOL,
    CM_PICKLED_INT,
    CM_PICKLED_MAGIC, /* the one long integer that is known: the first value of PyTorch's legacy files */
    CM_PICKLED_FLOAT,
    CM_PICKLED_TEXT,
    CM_PICKLED_BYTES,
    CM_PICKLED_TUPLE,
    CM_PICKLED_LIST,
    CM_PICKLED_SET,
    CM_PICKLED_DICT, /* items: key, value, key, value ... in the order of writing */
    CM_PICKLED_SYMBOL,
    CM_PICKLED_STORAGE, /* items: those of the persistent id; or the bytes of a stream that holds it, None, a key */
    CM_PICKLED_TENSOR,  /* items: storage, offset, size, stride[, dtype]                 */
    CM_PICKLED_OBJECT,  /* a module that was saved whole; items: its class's name or None[, its attributes] */
    CM_PICKLED_OPAQUE   /* something known that has no meaning here: a number of numpy's */
} cm_pickled_kind;

typedef struct cm_pickled cm_pickled;
typedef struct cm_pickle cm_pickle;

/* A symbol of the closed list: what it is as it stands, and what a call of it describes. */
typedef struct cm_pickle_symbol {
    const char *module, *name;
    /* NULL: known, but not supported (a type of tensor that this version does not read). */
    cm_status (*describe)(cm_pickle *pickle, const cm_pickled *arguments, cm_pickled **out);
    int type; /* of a storage's class or of a dtype: cm_tensor_type, else -1 */
} cm_pickle_symbol;

struct cm_pickled {
    uint8_t kind, depth;
    uint32_t count, capacity; /* items; the length of text and bytes */
    union {
        int64_t integer; /* BOOL, INT; where the bytes of BYTES lie in the input */
        double number;
        const char *text; /* NUL-terminated UTF-8; NULL where it is longer than CM_TENSOR_NAME */
        cm_pickled **items;
        const cm_pickle_symbol *symbol;
    } u;
};

/* A machine for the pickles of one input, of at most `size` bytes in all. */
cm_status cmi_pickle_open(const cm_input *input, size_t size, cm_pickle **out);
void cmi_pickle_close(cm_pickle *pickle);
/* Runs the pickle that begins at byte `at` and may not pass `end`; *after is the byte behind it.  `what` names it in
 * messages ("data.pkl"). */
cm_status cmi_pickle_run(cm_pickle *pickle, const char *what, size_t at, size_t end, cm_pickled **value,
                         size_t *after);
/* All storages that were named so far, in the order of their names' appearance; borrowed. */
cm_pickled *const *cmi_pickle_storages(const cm_pickle *pickle, size_t *count);

/* "a dictionary", "a number", ... */
const char *cmi_pickled_name(const cm_pickled *value);
/* The text of a short string without NUL inside, else NULL. */
const char *cmi_pickled_text(const cm_pickled *value);
/* Whether there are two entries of that key, and the first one's value or NULL. */
cm_pickled *cmi_pickled_get(const cm_pickled *dict, const char *key);

/* For the descriptions of symbols: FORMAT with the machine's place before the words. */
cm_status cmi_pickle_fail(const cm_pickle *pickle, cm_status status, const char *format, ...) CM_PRINTF(3, 4);
cm_status cmi_pickle_make(cm_pickle *pickle, cm_pickled_kind kind, cm_pickled **out);
/* A copy of the text that ends with the machine. */
cm_status cmi_pickle_keep(cm_pickle *pickle, const char *text, const char **out);
cm_status cmi_pickle_make_text(cm_pickle *pickle, const char *text, cm_pickled **out);
cm_status cmi_pickle_append(cm_pickle *pickle, cm_pickled *to, cm_pickled *item);
/* One more of cmi_pickle_storages. */
cm_status cmi_pickle_name_storage(cm_pickle *pickle, cm_pickled *storage);
const cm_pickle_symbol *cmi_pickle_symbol_find(const char *module, const char *name);
int cmi_pickle_symbol_is_dtype(const cm_pickle_symbol *symbol);

#endif
