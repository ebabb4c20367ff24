/* ema.c - rates, and averaging. */
#include "train/ema.h"

#include <math.h>
#include <string.h>

#include "train/phema.h"

const char *const cmi_ema_form_names[] = {"rate", "halflife", "warmup", "power", "gamma", "every16", NULL};

double cmi_ema_rate_at(const cm_ema_rate *rate, int64_t k, double seen, double batch)
{
    double value = rate->value;
    switch (rate->form) {
    case CM_EMA_HALFLIFE:
        if (rate->ramp > 0) value = fmin(value, seen * rate->ramp);
        return pow(0.5, batch / fmax(value, 1e-8));
    case CM_EMA_WARMUP: return fmin((1 + (double)k) / (10 + (double)k), value);
    case CM_EMA_EVERY16: return (k + 1) % 16 == 0 ? pow(value, 16) : 1;
    case CM_EMA_POWER: return pow(1 - 1 / ((double)k + 1), cmi_power_exponent(value) + 1);
    case CM_EMA_GAMMA: return pow(1 - 1 / ((double)k + 1), value + 1);
    default: return value;
    }
}

void cmi_ema_apply(double rate, size_t n, float *restrict e, const float *restrict p)
{
    const float r = (float)rate, q = (float)(1 - rate);
    if (r == 0) {
        memcpy(e, p, n * sizeof *e);
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) e[i] = r * e[i] + q * p[i];
}
