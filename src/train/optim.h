/* optim.h - gradient descent with torch's exact update rules (algorithms 4.7):
 * values and moments in float32, scalars in double. */
#ifndef CM_TRAIN_OPTIM_H
#define CM_TRAIN_OPTIM_H

#include "base/choice.h"
#include "base/parallel.h"
#include "kernels/kernels.h"
#include "train/settings.h"

typedef struct cm_optim {
    int32_t kind; /* cm_optimizer */
    double beta1, beta2, eps, weight_decay;
} cm_optim;
cm_optim cmi_optim_of(const cm_train_settings *s);

/* The scalars of one update; SGD has decay (L2: added to the gradient) and step. */
typedef struct cm_optim_update {
    int has_moments;
    cm_adam_update adam;
} cm_optim_update;

/* What is known of an optimizer. */
typedef struct cm_optimizer_row {
    const char *name, *about;
    int has_moments; /* m and v; it reads beta1, beta2 and eps */
    /* Scalars of update k = 1, 2, ... with c1 = 1 - beta1^k and c2 = 1 - beta2^k, over u, which has the betas and
     * eps. */
    void (*prepare)(const cm_optim *o, int64_t k, double lr, double c1, double c2, cm_adam_update *u);
} cm_optimizer_row;

/* By number; NULL past the end. */
const cm_optimizer_row *cmi_optimizer_at(int32_t kind);
extern const cm_choice_list cmi_optimizer_choices;

/* Of update number k = 1, 2, ... */
cm_optim_update cmi_optim_prepare(const cm_optim *optim, int64_t k, double lr);
/* To n values p with gradients g; m and v are the moments (unused by SGD).  Value by
 * value: any part of the parameters at a time. */
void cmi_optim_apply(const cm_kernels *kernels, const cm_optim_update *update, size_t n, float *p, const float *g,
                     float *m, float *v);

/* sqrt(sum g^2), in double over fixed pieces. */
cm_status cmi_gradient_norm(cm_threads threads, size_t n, const float *g, double *norm);
/* What a gradient of that norm is multiplied by.  torch: max / (norm + 1e-6),
 * at most 1; optax: max / norm when norm >= max.  rule: cm_clip_rule. */
double cmi_clip_factor(int32_t rule, double norm, double max);
/* NaN becomes 0, infinities 1e5 of their sign. */
cm_status cmi_gradient_scrub(cm_threads threads, size_t n, float *g);
/* g *= factor. */
cm_status cmi_gradient_scale(cm_threads threads, size_t n, double factor, float *g);

#endif
