/* ema.c - rates, and averaging. */
#include "train/ema.h"

#include <math.h>
#include <string.h>

const char *const cmi_ema_form_names[] = {"rate", "halflife", "warmup", "power", NULL};

/* Largest root of s^3 + 7 s^2 + (16 - 1/q^2) s + (12 - 1/q^2) (Karras et al.
 * 2024, the power function's width q), by Newton from above. */
static double power_exponent(double q)
{
    double a = 16 - 1 / (q * q), b = 12 - 1 / (q * q), s = 10 / q;
    for (int i = 0; i < 200; i++) {
        double f = ((s + 7) * s + a) * s + b, d = (3 * s + 14) * s + a;
        double next = s - f / d;
        if (fabs(next - s) <= 1e-15 * fabs(s)) break;
        s = next;
    }
    return s;
}

double cmi_ema_rate_at(const cm_ema_rate *rate, int64_t k, double seen, double batch)
{
    double value = rate->value, warm = (1 + (double)k) / (10 + (double)k);
    switch (rate->form) {
    case CM_EMA_HALFLIFE:
        if (rate->ramp > 0 && seen * rate->ramp < value) value = seen * rate->ramp;
        return pow(0.5, batch / (value > 1e-8 ? value : 1e-8));
    case CM_EMA_WARMUP: return warm < value ? warm : value;
    case CM_EMA_POWER: return pow(1 - 1 / ((double)k + 1), power_exponent(value) + 1);
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
