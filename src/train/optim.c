/* optim.c - RAdam, Adam, AdamW, SGD; norms and clipping. */
#include "train/optim.h"

#include <math.h>

#include "base/parallel.h"

const char *const cm_optim_names[] = {"radam", "adam", "adamw", "sgd", NULL};

enum { PIECE = 1 << 16 };

static int pieces(size_t n)
{
    return (int)((n + PIECE - 1) / PIECE);
}

/* p <- keep p - step m / (root_scale sqrt(v) + eps), or - step m alone. */
typedef struct {
    const cm_optim *o;
    size_t n;
    float *p, *m, *v;
    const float *g;
    float decay;      /* L2: added to the gradient       */
    float keep;       /* AdamW: p is multiplied by it    */
    float step;       /* of m, everything included       */
    float root_scale; /* of sqrt(v), before eps          */
    int divide;       /* 0: plain momentum step          */
} update;

/* The scalars of update k. */
static void set_scalars(update *u, int64_t k, double lr)
{
    const cm_optim *o = u->o;
    double c1 = 1 - pow(o->beta1, (double)k), c2 = 1 - pow(o->beta2, (double)k);
    u->decay = o->kind == CM_OPTIM_ADAMW ? 0 : (float)o->weight_decay;
    u->keep = o->kind == CM_OPTIM_ADAMW ? (float)(1 - lr * o->weight_decay) : 1;
    u->step = (float)(lr / c1);
    u->root_scale = (float)(1 / sqrt(c2));
    u->divide = 1;
    if (o->kind == CM_OPTIM_SGD) u->step = (float)lr;
    if (o->kind != CM_OPTIM_RADAM) return;
    /* Variance rectification of Liu et al. 2020; eps beside sqrt(v) itself. */
    double inf = 2 / (1 - o->beta2) - 1, r = inf - 2 * (double)k * pow(o->beta2, (double)k) / c2;
    u->root_scale = 1;
    u->divide = r > 5;
    if (u->divide)
        u->step = (float)(lr / c1 * sqrt((r - 4) * (r - 2) * inf / ((inf - 4) * (inf - 2) * r)) * sqrt(c2));
}

static cm_status update_piece(void *user, int index, int worker)
{
    (void)worker;
    const update *u = user;
    size_t first = (size_t)index * PIECE, n = u->n - first < PIECE ? u->n - first : PIECE;
    float b1 = (float)u->o->beta1, b2 = (float)u->o->beta2, a1 = (float)(1 - u->o->beta1);
    float a2 = (float)(1 - u->o->beta2), eps = (float)u->o->eps;
    float *restrict p = u->p + first, *restrict m = u->m + first, *restrict v = u->v + first;
    const float *restrict g = u->g + first;
    if (u->o->kind == CM_OPTIM_SGD) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) p[i] -= u->step * (g[i] + u->decay * p[i]);
    } else if (u->divide) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            float d = g[i] + u->decay * p[i];
            m[i] = b1 * m[i] + a1 * d;
            v[i] = b2 * v[i] + a2 * (d * d);
            p[i] = u->keep * p[i] - u->step * m[i] / (u->root_scale * sqrtf(v[i]) + eps);
        }
    } else {
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            float d = g[i] + u->decay * p[i];
            m[i] = b1 * m[i] + a1 * d;
            v[i] = b2 * v[i] + a2 * (d * d);
            p[i] = p[i] - u->step * m[i];
        }
    }
    return CM_OK;
}

cm_status cm_optim_step(const cm_optim *optim, int threads, int64_t k, double lr, size_t n, float *p, const float *g,
                        float *m, float *v)
{
    update u = {.o = optim, .n = n, .p = p, .m = m, .v = v, .g = g};
    set_scalars(&u, k, lr);
    return cm_parallel(threads, pieces(n), update_piece, &u);
}

/* --- norm, clipping ------------------------------------------------------------- */

enum { MAX_PARTS = 1024 };

typedef struct {
    size_t n, part; /* values, values of one part */
    const float *g;
    float *out;
    float factor;
    double sums[MAX_PARTS];
} pass;

static cm_status norm_piece(void *user, int index, int worker)
{
    (void)worker;
    pass *s = user;
    size_t first = (size_t)index * s->part, last = s->n - first < s->part ? s->n : first + s->part;
    double sum = 0;
    for (size_t i = first; i < last; i++) sum += (double)s->g[i] * (double)s->g[i];
    s->sums[index] = sum;
    return CM_OK;
}

cm_status cm_gradient_norm(int threads, size_t n, const float *g, double *norm)
{
    /* 8 KiB of sums: parts grow with n, never with threads. */
    pass s = {.n = n, .part = (n + MAX_PARTS - 1) / MAX_PARTS, .g = g};
    double sum = 0;
    if (s.part < 4096) s.part = 4096;
    int parts = (int)((n + s.part - 1) / s.part);
    CM_TRY(cm_parallel(threads, parts, norm_piece, &s));
    for (int i = 0; i < parts; i++) sum += s.sums[i];
    *norm = sqrt(sum);
    return CM_OK;
}

double cm_clip_factor(int rule, double norm, double max)
{
    double factor = rule == CM_CLIP_TORCH ? max / (norm + 1e-6) : norm >= max ? max / norm : 1;
    return factor < 1 ? factor : 1;
}

static cm_status scale_piece(void *user, int index, int worker)
{
    (void)worker;
    pass *s = user;
    size_t first = (size_t)index * PIECE, last = s->n - first < PIECE ? s->n : first + PIECE;
    for (size_t i = first; i < last; i++) s->out[i] *= s->factor;
    return CM_OK;
}

cm_status cm_gradient_scale(int threads, size_t n, double factor, float *g)
{
    pass s = {.n = n, .out = g, .factor = (float)factor};
    return factor == 1 ? CM_OK : cm_parallel(threads, pieces(n), scale_piece, &s);
}
