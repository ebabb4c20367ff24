/* training_toy.h - what the goldens of training share: comparing, reading options,
 * and the toy network with gradients by hand.
 *
 * Objectives and the toy network are in double: the rule for doubles.  Weights,
 * moments and averages are float32 in the library: runs and optimizers are held
 * to the rule for float32, 8 e + 4e-6 s. */
#ifndef GOLDEN_TRAINING_TOY_H
#define GOLDEN_TRAINING_TOY_H

#include "diffusion/method.h"
#include "diffusion/precond.h"
#include "golden.h"
#include "train/objective.h"
#include "train/optim.h"

enum { DOUBLE, FLOAT32 };

void compare(const golden_file *f, golden_result *r, const char *name, size_t n, const double *got, int kind);
char *text(const golden_file *f, const char *key, char *buffer, size_t size);
double number(const golden_file *f, const char *key, double fallback);
double member(const json_t *o, const char *key, double fallback);
int32_t *integers(const golden_file *f, const char *name, size_t *count);
int name_index(const char *const *names, const char *name);

/* h = M x + tscale (c u + c2 u2) + v + E[y];  F = a x + b drop(tanh h), per pixel; c2 = c - r, where there is a
 * second time r.  The network of improved MeanFlow has three numbers more, (0.1 w + t_min - t_max) uw inside h, and a
 * second output a2 x + b2 tanh h behind the first. */
enum { M = 0, U = 9, V = 12, A = 15, B = 18, E = 21, U2 = 48, A2 = 51, B2 = 54, UW = 57, WEIGH = 60, PARAMS = 80 };
/* Images that a toy evaluates at most. */
enum { TOY_IMAGES = 1024 };

typedef struct {
    const golden_file *f;
    size_t n, pixels;
    size_t taught;              /* images that the teacher is asked about; 0: n */
    int classes, params, heads; /* classes: labels are read; heads: 1, or 2 */
    cm_objective_axis axis;
    double tscale, p, sigma_data; /* p: dropout */
    cm_precond precond[3];        /* online, target, teacher */
    double weight[3][PARAMS];
    double gradient[PARAMS];
    const double *mask; /* n x 3 x pixels of 0 and 1, or NULL */
    const int32_t *labels;
    const int32_t *true_labels;         /* of CM_ROLE_PLAIN and the teacher; NULL: labels */
    double *work;                       /* of the last objective's run */
    int32_t none;                       /* the label of CM_ROLE_UNCONDITIONAL and of -1 */
    int shared;                         /* the target is the online network */
    const double *more_u, *more_normal; /* of the objective's batch */
    const double *numbers;              /* what `condition` said: n x 3, or NULL */
    const double *metric;               /* P, q, w of the feature metric one after the other, or NULL */
    cm_status (*curvature)(void *user, const double *a, const double *v, double *hv, double *slope);
    cm_status (*weigh)(void *user, const double *t, double *w);
    cm_status (*weigh_back)(void *user, const double *t, const double *of_w);
    const double *share; /* of each image; NULL: all the same */
    double *x;           /* of the last online evaluation */
    double sigma[TOY_IMAGES];
    double *out;                           /* of the last online evaluation */
    double *x2, *out2, sigma2[TOY_IMAGES]; /* of the last target's; sigma2[0] 0: there was none */
    /* Of the last tangent: the point's second time, the direction, the answers. */
    double second[TOY_IMAGES], along_t[TOY_IMAGES], along_r[TOY_IMAGES];
    double *along, *slope, *value;
    double *cotangent, *of_tangent, *last_teacher;
    int has_second;
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
/* The networks of an objective; the target and the teacher are weights 1 and 2. */
cm_objective_nets toy_nets(toy *t);
/* D of weights `which`, without dropout. */
void toy_evaluate(toy *t, int which, const double *x, const double *sigma, double *out);
/* A method of networks of two times on the toy, along n + 1 times from 1 to 0; x: z at first, all values, noise: as
 * many for each draw. */
void toy_walk(toy *t, golden_result *r, const cm_method_kind *method, const double *times, int n, const double *noise,
              size_t all, double *x);
/* Runs an objective on a batch with gradients of the batch's mean. */
cm_status run_objective(const cm_objective *o, const cm_objective_settings *s, toy *t, const double *x0,
                        const double *z, const double *u, const double *normal, double share, double *loss);
void compare_gradients(const golden_file *f, golden_result *r, const char *prefix, const toy *t);

/* A run of a few steps: weights in the order of a list of names, in float32 as the library has them. */
typedef struct {
    toy *t;
    int n, at[PARAMS]; /* flat value i is weight at[i] */
    cm_optim optim;
    float p[PARAMS], m[PARAMS], v[PARAMS];
} flat_run;
/* names: a JSON list of tensors; begins with those called `init`.NAME, or the weights that are there. */
void flat_open(const golden_file *f, golden_result *r, flat_run *run, toy *t, const json_t *names, const char *init);
/* One step with the gradient in the toy; the weights go back into it. */
void flat_step(flat_run *run, int64_t number, double lr);
/* Images of a step: rows of `data`. */
void gather_images(const double *data, const double *index, size_t size, size_t n, double *x0);
/* Gradients of the names in a list, as PREFIX.grad.NAME. */
void compare_named_gradients(const golden_file *f, golden_result *r, const char *prefix, const toy *t,
                             const char *const *names);

/* One function a group of files. */
void run_loss(golden_file *f, golden_result *r);
void run_loss_edm(golden_file *f, golden_result *r);
void run_ect(golden_file *f, golden_result *r);
void run_ict(golden_file *f, golden_result *r);
void run_cmt(golden_file *f, golden_result *r);
void run_tcm(golden_file *f, golden_result *r);
void run_train(golden_file *f, golden_result *r);
void run_optim(golden_file *f, golden_result *r);
void run_ema_misc(golden_file *f, golden_result *r);
void run_scales(golden_file *f, golden_result *r);
void run_continuous(golden_file *f, golden_result *r);
void run_meanflow(golden_file *f, golden_result *r);
void run_soflow(golden_file *f, golden_result *r);
void run_trigflow(golden_file *f, golden_result *r);
void run_scm_more(golden_file *f, golden_result *r);
void run_bilinear(golden_file *f, golden_result *r);

#endif
