/* ema.c - rates and the one pass over the weights. */
#include "train/ema.h"

#include <math.h>
#include <string.h>

#include "base/parallel.h"

const char *const cm_ema_form_names[] = {"rate", "halflife", "warmup", "power", NULL};

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

double cm_ema_rate_at(const cm_ema_rate *rate, int64_t k, double batch)
{
    double value = rate->value, seen = (double)k * batch, warm = (1 + (double)k) / (10 + (double)k);
    switch (rate->form) {
    case CM_EMA_HALFLIFE:
        if (rate->ramp > 0 && seen * rate->ramp < value) value = seen * rate->ramp;
        return pow(0.5, batch / (value > 1e-8 ? value : 1e-8));
    case CM_EMA_WARMUP: return warm < value ? warm : value;
    case CM_EMA_POWER: return pow(1 - 1 / ((double)k + 1), power_exponent(value) + 1);
    default: return value;
    }
}

enum { PIECE = 1 << 16 };

typedef struct {
    size_t n;
    float r, q;
    float *e;
    const float *p;
} pass;

static cm_status piece(void *user, int index, int worker)
{
    (void)worker;
    const pass *s = user;
    size_t first = (size_t)index * PIECE, n = s->n - first < PIECE ? s->n - first : PIECE;
    float *restrict e = s->e + first;
    const float *restrict p = s->p + first;
    if (s->r == 0) {
        memcpy(e, p, n * sizeof *e);
        return CM_OK;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) e[i] = s->r * e[i] + s->q * p[i];
    return CM_OK;
}

cm_status cm_ema_update(int threads, double r, size_t n, float *e, const float *p)
{
    pass s = {n, (float)r, (float)(1 - r), e, p};
    return cm_parallel(threads, (int)((n + PIECE - 1) / PIECE), piece, &s);
}
