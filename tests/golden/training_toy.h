/* training_toy.h - what the goldens of training share: comparing, reading options,
 * and the toy network with gradients by hand.
 *
 * Objectives and the toy network are in double: the rule for doubles.  Weights,
 * moments and averages are float32 in the library: runs and optimizers are held
 * to the rule for float32, 8 e + 4e-6 s. */
#ifndef GOLDEN_TRAINING_TOY_H
#define GOLDEN_TRAINING_TOY_H

#include "diffusion/precond.h"
#include "golden.h"
#include "train/objective.h"

enum { DOUBLE, FLOAT32 };

void compare(const golden_file *f, golden_result *r, const char *name, size_t n, const double *got, int kind);
char *text(const golden_file *f, const char *key, char *buffer, size_t size);
double number(const golden_file *f, const char *key, double fallback);
double member(const json_t *o, const char *key, double fallback);
int32_t *integers(const golden_file *f, const char *name, size_t *count);
int name_index(const char *const *names, const char *name);

/* h = M x + tscale c u + v + E[y];  F = a x + b drop(tanh h), per pixel. */
enum { M = 0, U = 9, V = 12, A = 15, B = 18, E = 21, PARAMS = 64 };

typedef struct {
    const golden_file *f;
    size_t n, pixels;
    int classes, params;
    double tscale, p;      /* dropout */
    cm_precond precond[3]; /* online, target, teacher */
    double weight[3][PARAMS];
    double gradient[PARAMS];
    const double *mask; /* n x 3 x pixels of 0 and 1, or NULL */
    const int32_t *labels;
    const double *more_u, *more_normal; /* of the objective's batch */
    double *x;                          /* of the last online evaluation */
    double sigma[64];
    double *out;                   /* of the last online evaluation */
    double *x2, *out2, sigma2[64]; /* of the last target's; sigma2[0] 0: there was none */
} toy;

/* Names of the six tensors, and where each begins among the weights. */
extern const char *const toy_members[6];
extern const int toy_begins[6];

int read_weights(const golden_file *f, const char *prefix, double *w, int *params);
void set_precond(toy *t, int which, const char *type);
void open_toy(const golden_file *f, size_t n, size_t pixels, toy *t);
void close_toy(toy *t);
/* Times and sigma_data are the file's. */
cm_objective_settings settings_of(const golden_file *f, const cm_objective *o, int32_t side);
/* D of weights `which`, without dropout. */
void toy_evaluate(toy *t, int which, const double *x, const double *sigma, double *out);
/* Runs an objective on a batch with gradients of the batch's mean. */
cm_status run_objective(const cm_objective *o, const cm_objective_settings *s, toy *t, const double *x0,
                        const double *z, const double *u, const double *normal, double share, double *loss);
void compare_gradients(const golden_file *f, golden_result *r, const char *prefix, const toy *t);

/* One function a group of files. */
void run_loss(golden_file *f, golden_result *r);
void run_loss_edm(golden_file *f, golden_result *r);
void run_ect(golden_file *f, golden_result *r);
void run_ict(golden_file *f, golden_result *r);
void run_train(golden_file *f, golden_result *r);
void run_optim(golden_file *f, golden_result *r);
void run_ema_misc(golden_file *f, golden_result *r);
void run_scales(golden_file *f, golden_result *r);
void run_bilinear(golden_file *f, golden_result *r);

#endif
