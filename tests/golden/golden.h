/* golden.h - comparing with files of reference numbers, found by what is in
 * them. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <jansson.h>

#include "base/context.h"
#include "io/tensors.h"

/* Networks run with direct convolutions only (-l). */
extern int golden_lean;

/* The outcome of one file.  MISSING: of a kind that nobody implemented. */
enum { GOLDEN_OK, GOLDEN_FAIL, GOLDEN_MISSING };
typedef struct golden_result {
    int outcome;
    double deviation, tolerance; /* of the worst comparison, by their ratio */
    int compared;
    char note[512]; /* why failed, what is missing, what was worst */
} golden_result;

typedef struct golden_file {
    cm_context *context;
    const char *path, *folder, *name;
    cm_tensors st;
    json_t *used; /* members of the metadata that were read; NULL: not counted */
} golden_file;

void golden_fail(golden_result *r, const char *format, ...) CM_PRINTF(2, 3);
/* `kind` is what stands in the list of missing kinds. */
void golden_missing(golden_result *r, const char *kind);
/* One comparison: |deviation| against a tolerance; NaN fails. */
void golden_compare(golden_result *r, const char *what, double deviation, double tolerance);

/* A tensor as doubles / int64 (malloc'ed); NULL when absent. */
double *golden_read(const golden_file *f, const char *name, size_t *count);
/* A weighting by the name that the references give it ("snr+1"); -1 for others. */
int golden_weighting(const char *name);
/* Every member of the metadata has to be read by one of these, else the file
 * fails: a number that is passed over is a case that was not tried. */
/* As text, NULL when absent; as JSON (json_decref it). */
const char *golden_metadata(const golden_file *f, const char *key);
json_t *golden_json(const golden_file *f, const char *key);
/* A number, also one in quotes ("0.7", "inf", "true"); NAN, which no comparison passes, for what is none. */
double golden_value(const json_t *value);
/* A rule in words that the runner follows: any other words fail. */
void golden_says(const golden_file *f, golden_result *r, const char *key, const char *words);
/* A number that has to be what the runner finds by itself. */
void golden_agrees(const golden_file *f, golden_result *r, const char *key, double found);
/* Fails by name where an object has a member that is not in the list. */
void golden_members(golden_result *r, const char *what, const json_t *object, const char *const *known);

void golden_network(golden_file *f, golden_result *r);
/* golden/derivatives: tangents of networks, networks of two times, EDM2. */
void golden_derivative(golden_file *f, golden_result *r);
/* Losses, runs, optimizers, schedules over k; 0 when the file is none of them. */
int golden_training(golden_file *f, golden_result *r);
/* Algorithm 4; 0 when the file is none of its. */
int golden_editing(golden_file *f, golden_result *r);
void golden_algorithm(golden_file *f, golden_result *r);
/* Folders of golden/metrics about pictures and arrays; 0 for other entries. */
int golden_data(cm_context *context, const char *folder, const char *name, golden_result *r);
/* Tensor files of golden/metrics, by what their tensors are called. */
void golden_metric(golden_file *f, golden_result *r);
/* A file of weights, made by the formula of the README and to be removed, of a network in the list of that folder,
 * and one of its layers; 0 when it cannot be written. */
typedef struct golden_lpips {
    char weights[64], lin[4200];
} golden_lpips;
int golden_backbone(cm_context *context, const char *folder, const char *network, golden_lpips *files);
/* A list of the names and shapes of a feature network in that folder: a file like it opens; 0 for other entries. */
int golden_metric_keys(cm_context *context, const char *folder, const char *name, golden_result *r);
/* A list of the names and shapes of a published network. */
void golden_keys(cm_context *context, const char *folder, const char *name, golden_result *r);
void golden_checkpoint(cm_context *context, const char *folder, const char *name, golden_result *r);
/* A snapshot of EDM's training, with the numbers in `io`. */
void golden_snapshot(cm_context *context, const char *path, const cm_tensors *st, const cm_tensors *io,
                     golden_result *r);
/* A training state of flax, with the numbers in `io`: each set of weights bit for bit, and its outputs. */
void golden_flax_state(cm_context *context, const char *path, const cm_tensors *io, golden_result *r);

#endif
