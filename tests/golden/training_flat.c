/* training_flat.c - runs of a few steps: weights one after the other in the order of a list, the optimizer's moments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu_level.h"
#include "training_toy.h"

static const struct {
    const char *name;
    int begin;
} places[] = {{"M", M},
              {"u", U},
              {"v", V},
              {"a", A},
              {"b", B},
              {"E", E},
              {"u2", U2},
              {"a2", A2},
              {"b2", B2},
              {"uw", UW},
              {"wlin.weight", WEIGH},
              {"wlin.bias", WEIGH + 8}};

static int place_of(const char *name)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (name && strcmp(places[i].name, name) == 0) return places[i].begin;
    return -1;
}

/* The values of one tensor; 0 when the file has none. */
static size_t begin_with(const golden_file *f, const char *init, const char *name, double *weight)
{
    char full[96];
    size_t n = 0;
    (void)snprintf(full, sizeof full, "%s.%s", init, name);
    double *v = golden_read(f, full, &n);
    if (!v) v = golden_read(f, name, &n);
    if (v) memcpy(weight, v, n * sizeof *v);
    free(v);
    return n;
}

void flat_open(const golden_file *f, golden_result *r, flat_run *run, toy *t, const json_t *names, const char *init)
{
    size_t i;
    json_t *name;
    memset(run, 0, sizeof *run);
    run->t = t;
    run->optim = (cm_optim){CM_OPTIMIZER_RADAM, 0.9, 0.999, 1e-8, 0};
    json_array_foreach(names, i, name)
    {
        const int place = place_of(json_string_value(name));
        if (place < 0) {
            golden_fail(r, "a parameter '%s' that is not known", json_string_value(name));
            return;
        }
        const size_t n = begin_with(f, init, json_string_value(name), t->weight[0] + place);
        if (n == 0) golden_fail(r, "%s.%s is not there", init, json_string_value(name));
        for (size_t k = 0; k < n && run->n < PARAMS; k++) run->at[run->n++] = place + (int)k;
    }
    for (int k = 0; k < run->n; k++) run->p[k] = (float)t->weight[0][run->at[k]];
}

void flat_step(flat_run *run, int64_t number, double lr)
{
    const cm_optim_update update = cmi_optim_prepare(&run->optim, number, lr);
    float g[PARAMS];
    for (int k = 0; k < run->n; k++) g[k] = (float)run->t->gradient[run->at[k]];
    cmi_optim_apply(cmi_kernels_for(cmi_cpu_level()), &update, (size_t)run->n, run->p, g, run->m, run->v);
    for (int k = 0; k < run->n; k++) run->t->weight[0][run->at[k]] = (double)run->p[k];
}

void gather_images(const double *data, const double *index, size_t size, size_t n, double *x0)
{
    for (size_t i = 0; i < n; i++) memcpy(x0 + i * size, data + (size_t)index[i] * size, size * sizeof *x0);
}

void compare_named_gradients(const golden_file *f, golden_result *r, const char *prefix, const toy *t,
                             const char *const *names)
{
    for (int i = 0; names[i]; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "%s.grad.%s", prefix, names[i]);
        const cm_tensor *tensor = cmi_tensors_find(&f->st, name);
        if (!tensor) golden_fail(r, "%s is not there", name);
        else compare(f, r, name, tensor->count, t->gradient + place_of(names[i]), DOUBLE);
    }
}
