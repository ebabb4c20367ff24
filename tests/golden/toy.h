/* toy.h - the network of golden/algorithms, and comparing in double. */
#ifndef TESTS_GOLDEN_TOY_H
#define TESTS_GOLDEN_TOY_H

#include "diffusion/model.h"
#include "golden.h"

double golden_number(const golden_file *f, const char *key, double fallback);
/* The rule for double implementations: 1e-11 s + 1e-13. */
void golden_compare_double(golden_result *r, const char *what, size_t n, const double *got, const double *want);
/* Compares a freshly computed array with tensor NAME (its .f64 form). */
void golden_compare_with(const golden_file *f, golden_result *r, const char *name, size_t n, const double *got);

typedef struct {
    golden_result *r;
    const cm_model *model;
    double *M, *u, *v, *a, *b, *E, *y;
    double tscale;
    size_t images, pixels;
    double *noise;                        /* [draw][image...] */
    double *eval_x, *eval_sigma, *eval_d; /* reference of every evaluation */
    size_t evals, draws;
    size_t seen;
} toy;

/* For cm_solver_io; the user is a toy. */
cm_status toy_on_denoise(void *user, int evaluation, double sigma, const double *x, double *out);
cm_status toy_on_noise(void *user, int draw, double *out);
/* Weights, and a cm_model of 3 x height x width with no network, for the
 * options.  0: the file has no such network. */
int toy_weights_of(const golden_file *f, golden_result *r, toy *t, cm_model *m, const char *prefix,
                   const char *precond, int adm, const cm_tensor *images);
/* Those called "net". */
int toy_weights(const golden_file *f, golden_result *r, toy *t, cm_model *m, const char *precond, int adm,
                const cm_tensor *images);
/* Everything the sampler files hold. */
int toy_open(golden_file *f, golden_result *r, toy *t, cm_model *m, int consistency, int edm, double **start,
             double **want, size_t *n);
void toy_close(toy *t, double *start, double *want);

#endif
