/* golden.h - comparing with files of reference numbers, found by what is in
 * them. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include "base/context.h"
#include "io/safetensors.h"

/* Networks run with direct convolutions only (-l). */
extern int golden_lean;

/* The outcome of one file. */
enum { GOLDEN_OK, GOLDEN_FAIL, GOLDEN_SKIP };
typedef struct golden_result {
    int outcome;
    double deviation, tolerance; /* of the worst comparison, by their ratio */
    int compared;
    char note[512]; /* why failed or skipped, what was worst   */
} golden_result;

typedef struct golden_file {
    cm_context *context;
    const char *path, *folder, *name;
    cm_safetensors st;
} golden_file;

void golden_fail(golden_result *r, const char *format, ...) CM_PRINTF(2, 3);
void golden_skip(golden_result *r, const char *format, ...) CM_PRINTF(2, 3);
/* One comparison: |deviation| against a tolerance; NaN fails. */
void golden_compare(golden_result *r, const char *what, double deviation, double tolerance);

/* A tensor as doubles / int64 (malloc'ed); NULL when absent. */
double *golden_read(const golden_file *f, const char *name, size_t *count);
/* Metadata as JSON (json_decref it), NULL when absent. */
json_t *golden_json(const golden_file *f, const char *key);

void golden_network(golden_file *f, golden_result *r);
/* Losses, runs, optimizers, schedules over k; 0 when the file is none of them. */
int golden_training(golden_file *f, golden_result *r);
/* Algorithm 4; 0 when the file is none of its. */
int golden_editing(golden_file *f, golden_result *r);
void golden_algorithm(golden_file *f, golden_result *r);
/* Folders of golden/metrics about pictures and arrays; 0 for other entries. */
int golden_data(cm_context *context, const char *folder, const char *name, golden_result *r);
void golden_checkpoint(cm_context *context, const char *folder, const char *name, golden_result *r);

#endif
