/* fill.h - weights by formula: the fills of the golden networks, and models
 * made of them without a file. */
#ifndef TESTS_FILL_H
#define TESTS_FILL_H

#include "diffusion/model.h"

enum { FILL_HASH, FILL_SIN };
double fill_value(int kind, uint64_t seed, uint64_t k, uint64_t i);

/* A model with weights by formula, as cmi_model_open would make it from a file.
 * `network` and `precond` as in a native file; flax: the fill indexes flax's
 * names and layouts.  NULL after cmi_fail. */
cm_model *fill_model(cm_context *context, const json_t *network, const json_t *precond, int32_t height, int32_t width,
                     int flax, int kind, uint64_t seed);
void fill_model_free(cm_model *model);
/* Parameter values of such a model. */
const float *fill_param(const cm_model *model, int index);
/* The tensors of the reference in the order of their fill index: which parameter
 * of the graph each is (a part of), and where its value i stands there. */
typedef struct fill_name {
    char *name;
    int param, kind, part, parts;
    uint64_t k;
    size_t count;
} fill_name;
/* Returns how many; free the names and the list. */
int fill_names(const cm_model *model, int flax, fill_name **out);
size_t fill_place(const fill_name *name, const cm_model *model, size_t i);
/* Writes it as a native file. */
cm_status fill_model_write(cm_model *model, const json_t *network, const json_t *precond, const char *path);

#endif
