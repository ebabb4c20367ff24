/* operations.h - what the library can do, a row each: for tests that make something fail within each of them.
 *
 * A row does one thing from the beginning to the end, with what it needs besides: it gives back all that it took, and
 * writes only under `out`.  A new operation is a row of its group, operations_models.c and the others. */
#ifndef TESTS_SUPPORT_OPERATIONS_H
#define TESTS_SUPPORT_OPERATIONS_H

#include <consistency.h>

/* Where an operation works. */
typedef struct place {
    cm_context *context;
    const cm_context_options *options; /* that the context was made with */
    const char *in, *out;              /* folders: of operations_prepare; of what is written */
    const char *choice;                /* of a row with choices: which one */
} place;

typedef struct operation {
    const char *name;
    cm_status (*run)(const place *at);
    const char *list;           /* cm_choice_name's list of the choices, each of which is an operation, or NULL */
    const char *const *choices; /* the same, spelled out */
    int computes;               /* 1: it takes more than some milliseconds */
} operation;

/* Row number `index` with one of its choices; NULL behind the last.  at->choice becomes the choice. */
const operation *operation_at(int index, place *at);
/* "sample heun": the row and its choice. */
const char *operation_name(const operation *o, const place *at);

/* Writes the files that the rows read; 0: it failed, and said why. */
int operations_prepare(const char *in);

#endif
