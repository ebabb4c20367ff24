/* optim.c - RAdam, Adam, AdamW, SGD; norms and clipping. */
#include "train/optim.h"

#include <math.h>

#include "base/parallel.h"

enum { PIECE = 1 << 16 };

static int pieces(size_t n)
{
    return (int)((n + PIECE - 1) / PIECE);
}

/* --- rules ------------------------------------------------------------------------ */

static void adam(const cm_optim *o, int64_t k, double lr, double c1, double c2, cm_adam_update *u)
{
    (void)k;
    u->decay = (float)o->weight_decay;
    u->step = (float)(lr / c1);
    u->root_scale = (float)(1 / sqrt(c2));
}

static void adamw(const cm_optim *o, int64_t k, double lr, double c1, double c2, cm_adam_update *u)
{
    adam(o, k, lr, c1, c2, u);
    u->decay = 0;
    u->keep = (float)(1 - lr * o->weight_decay);
}

/* Variance rectification of Liu et al. 2020; eps beside sqrt(v) itself. */
static void radam(const cm_optim *o, int64_t k, double lr, double c1, double c2, cm_adam_update *u)
{
    double inf = 2 / (1 - o->beta2) - 1, r = inf - 2 * (double)k * pow(o->beta2, (double)k) / c2;
    adam(o, k, lr, c1, c2, u);
    u->root_scale = 1;
    u->divide = r > 5;
    if (u->divide)
        u->step = (float)(lr / c1 * sqrt((r - 4) * (r - 2) * inf / ((inf - 4) * (inf - 2) * r)) * sqrt(c2));
}

static void sgd(const cm_optim *o, int64_t k, double lr, double c1, double c2, cm_adam_update *u)
{
    adam(o, k, lr, c1, c2, u);
    u->step = (float)lr;
}

/* In the order of cm_optimizer. */
static const cm_optimizer_row rows[] = {
    {"radam", "Adam whose step is rectified while the second moment is young: Liu et al. 2020.", 1, radam},
    {"adam", "Steps by the first over the root of the second moment: Kingma and Ba 2015.", 1, adam},
    {"adamw", "Adam with weight decay apart from the gradient: Loshchilov and Hutter 2019.", 1, adamw},
    {"sgd", "Steps along the gradient.", 0, sgd},
};
enum { OPTIMIZERS = sizeof rows / sizeof *rows };

const cm_optimizer_row *cmi_optimizer_at(int32_t kind)
{
    return kind >= 0 && kind < OPTIMIZERS ? &rows[kind] : NULL;
}

static cm_choice choice_at(size_t index)
{
    return index < OPTIMIZERS ? (cm_choice){rows[index].name, rows[index].about} : (cm_choice){NULL, NULL};
}
const cm_choice_list cmi_optimizer_choices = {"optimizers", choice_at};

cm_optim cmi_optim_of(const cm_train_settings *s)
{
    return (cm_optim){s->optimizer, s->beta1, s->beta2, s->eps, s->weight_decay};
}

/* --- updates ---------------------------------------------------------------------- */

cm_optim_update cmi_optim_prepare(const cm_optim *o, int64_t k, double lr)
{
    double c1 = 1 - pow(o->beta1, (double)k), c2 = 1 - pow(o->beta2, (double)k);
    cm_adam_update u = {.divide = 1, .keep = 1, .eps = (float)o->eps};
    u.beta1 = (float)o->beta1, u.beta2 = (float)o->beta2;
    u.left1 = (float)(1 - o->beta1), u.left2 = (float)(1 - o->beta2);
    rows[o->kind].prepare(o, k, lr, c1, c2, &u);
    return (cm_optim_update){rows[o->kind].has_moments, u};
}

void cmi_optim_apply(const cm_kernels *kernels, const cm_optim_update *update, size_t n, float *restrict p,
                     const float *restrict g, float *restrict m, float *restrict v)
{
    const cm_adam_update u = update->adam;
    if (update->has_moments) {
        kernels->pointwise->adam(n, &u, p, g, m, v);
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) p[i] -= u.step * (g[i] + u.decay * p[i]);
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
    double sum = 0, parts[8] = {0}; /* eight sums, or each addition waits for the one before */
    for (; first + 8 <= last; first += 8)
        for (size_t k = 0; k < 8; k++) parts[k] += (double)s->g[first + k] * (double)s->g[first + k];
    for (; first < last; first++) sum += (double)s->g[first] * (double)s->g[first];
    for (size_t k = 0; k < 8; k++) sum += parts[k];
    s->sums[index] = sum;
    return CM_OK;
}

cm_status cmi_gradient_norm(cm_threads threads, size_t n, const float *g, double *norm)
{
    /* 8 KiB of sums: parts grow with n, never with threads. */
    pass s = {.n = n, .part = (n + MAX_PARTS - 1) / MAX_PARTS, .g = g};
    double sum = 0;
    if (s.part < 4096) s.part = 4096;
    int parts = (int)((n + s.part - 1) / s.part);
    CM_TRY(cmi_parallel(threads, parts, norm_piece, &s));
    for (int i = 0; i < parts; i++) sum += s.sums[i];
    *norm = sqrt(sum);
    return CM_OK;
}

double cmi_clip_factor(int32_t rule, double norm, double max)
{
    double factor = rule == CM_CLIP_RULE_TORCH ? max / (norm + 1e-6) : norm >= max ? max / norm : 1;
    return factor < 1 ? factor : 1;
}

static cm_status scrub_piece(void *user, int index, int worker)
{
    (void)worker;
    pass *s = user;
    size_t first = (size_t)index * PIECE, last = s->n - first < PIECE ? s->n : first + PIECE;
    for (size_t i = first; i < last; i++) {
        if (isnan(s->out[i])) s->out[i] = 0;
        else if (isinf(s->out[i])) s->out[i] = s->out[i] > 0 ? 1e5f : -1e5f;
    }
    return CM_OK;
}

cm_status cmi_gradient_scrub(cm_threads threads, size_t n, float *g)
{
    pass s = {.n = n, .out = g};
    return cmi_parallel(threads, pieces(n), scrub_piece, &s);
}

static cm_status scale_piece(void *user, int index, int worker)
{
    (void)worker;
    pass *s = user;
    size_t first = (size_t)index * PIECE, last = s->n - first < PIECE ? s->n : first + PIECE;
    for (size_t i = first; i < last; i++) s->out[i] *= s->factor;
    return CM_OK;
}

cm_status cmi_gradient_scale(cm_threads threads, size_t n, double factor, float *g)
{
    pass s = {.n = n, .out = g, .factor = (float)factor};
    return factor == 1 ? CM_OK : cmi_parallel(threads, pieces(n), scale_piece, &s);
}
