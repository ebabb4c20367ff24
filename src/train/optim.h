/* optim.h - gradient descent with torch's exact update rules (algorithms 4.7):
 * values and moments in float32, scalars in double. */
#ifndef CM_TRAIN_OPTIM_H
#define CM_TRAIN_OPTIM_H

#include "base/parallel.h"
#include "kernels/kernels.h"

enum { CM_OPTIM_RADAM, CM_OPTIM_ADAM, CM_OPTIM_ADAMW, CM_OPTIM_SGD };
extern const char *const cm_optim_names[];

typedef struct cm_optim {
    int32_t kind;
    double beta1, beta2, eps, weight_decay;
} cm_optim;

/* The scalars of one update; SGD has decay (L2: added to the gradient) and step. */
typedef struct cm_optim_update {
    int32_t kind;
    cm_adam_update adam;
} cm_optim_update;

/* Of update number k = 1, 2, ... */
cm_optim_update cm_optim_prepare(const cm_optim *optim, int64_t k, double lr);
/* To n values p with gradients g; m and v are the moments (unused by SGD).  Value by
 * value: any part of the parameters at a time. */
void cm_optim_apply(const cm_kernels *kernels, const cm_optim_update *update, size_t n, float *p, const float *g,
                    float *m, float *v);

/* sqrt(sum g^2), in double over fixed pieces. */
cm_status cm_gradient_norm(cm_threads threads, size_t n, const float *g, double *norm);
/* What a gradient of that norm is multiplied by.  torch: max / (norm + 1e-6),
 * at most 1; optax: max / norm when norm >= max. */
enum { CM_CLIP_TORCH, CM_CLIP_OPTAX };
double cm_clip_factor(int rule, double norm, double max);
/* g *= factor. */
cm_status cm_gradient_scale(cm_threads threads, size_t n, double factor, float *g);

#endif
