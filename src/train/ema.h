/* ema.h - exponential moving averages of weights (algorithms 4.8):
 * e <- r e + (1 - r) p after every step. */
#ifndef CM_TRAIN_EMA_H
#define CM_TRAIN_EMA_H

#include "base/context.h"

typedef enum cm_ema_form {
    CM_EMA_RATE,     /* r = value                                                          */
    CM_EMA_HALFLIFE, /* value images halve the memory: r = 0.5^(batch / h); with a ramp
                        h <- min(h, images seen before * ramp)                             */
    CM_EMA_WARMUP,   /* r = min(value, (1 + k) / (10 + k)), k steps taken before this one  */
    CM_EMA_POWER,    /* r = (1 - 1/(k+1))^(g+1): a memory of relative length `value`       */
    CM_EMA_GAMMA,    /* the same with the exponent g = value                               */
    CM_EMA_EVERY16   /* r = value^16 in every sixteenth step, else 1 (MeanFlow's code)     */
} cm_ema_form;
extern const char *const cmi_ema_form_names[];

typedef struct cm_ema_rate {
    int32_t form;
    double value, ramp;
} cm_ema_rate;

/* The rate of step k (0 for the first), which takes `batch` images after `seen` in the steps before. */
double cmi_ema_rate_at(const cm_ema_rate *rate, int64_t k, double seen, double batch);

/* e <- r e + (1 - r) p; r = 0 copies. */
void cmi_ema_apply(double r, size_t n, float *e, const float *p);

/* Dynamic loss scale of half-precision training (algorithms 4.9): the loss is
 * multiplied by 2^lg; an overflow lowers lg by 1 and skips the step (0), else lg
 * grows by `growth` and the step is taken (1). */
static inline int cmi_loss_scale_step(double *lg, double growth, int overflow)
{
    *lg += overflow ? -1 : growth;
    return !overflow;
}

#endif
