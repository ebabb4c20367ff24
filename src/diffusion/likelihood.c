/* likelihood.c - from the image to noise by the probability-flow ODE, and how the density changes on the way
 * (Song et al. 2021, section 4.3 and appendix D.2).
 *
 * The state of an image is its values and the integral of the divergence so far. */
#include "diffusion/likelihood.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "diffusion/condition.h"
#include "diffusion/denoiser.h"
#include "diffusion/inputs.h"
#include "diffusion/rk45.h"
#include "diffusion/times.h"
#include "tensor/finite.h"

enum { ROUND = 16, LEVELS = 256 };
/* Draws of an image's stream: the dequantisation, then the probes. */
enum { DRAW_NOISE, DRAW_PROBE };

typedef struct {
    cm_model *model;
    const cm_likelihood_options *o;
    cm_denoiser *denoiser;
    size_t all;                /* the images of the call            */
    size_t first, count, size; /* the images at hand, values of one */
    double *state;             /* ROUND x (size + 1)                */
    double *x, *d, *probe;     /* ROUND x size, packed              */
    float *normals;            /* size                              */
    int32_t labels[ROUND];
} run;

static cm_stream stream_of(const run *r, size_t i, uint32_t draw)
{
    return (cm_stream){r->o->seed, r->o->first_index + r->first + i, draw};
}

/* --- the slope --------------------------------------------------------------------------- */

/* Signs, +1 and -1 alike often. */
static void draw_probe(run *r, size_t i, int32_t number, double *to)
{
    const cm_stream s = stream_of(r, i, (uint32_t)(DRAW_PROBE + number));
    cmi_stream_normal(&s, r->size, r->normals);
    for (size_t k = 0; k < r->size; k++) to[k] = r->normals[k] < 0 ? -1 : 1;
}

static cm_status report(const run *r, size_t done)
{
    if (r->o->progress && r->o->progress(r->o->progress_user, done, r->all))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the progress callback");
    return CM_OK;
}

/* r->d = D and r->probe = D'v of probe v = r->probe. */
static cm_status differentiate(run *r, size_t count, const size_t *which, const double *sigma)
{
    const cm_evaluation e = {.n = count,
                             .x = r->x,
                             .sigma = sigma,
                             .sigma_step = 1,
                             .labels = r->o->condition && r->o->condition->labels ? r->labels : NULL,
                             .d = r->d,
                             .x_tangent = r->probe,
                             .d_tangent = r->probe};
    for (size_t k = 0; e.labels && k < count; k++) r->labels[k] = r->o->condition->labels[r->first + which[k]];
    CM_TRY(cmi_denoiser_run(r->denoiser, &e));
    const size_t all = count * r->size, i = cmi_first_nonfinite(all, r->d), j = cmi_first_nonfinite(all, r->probe);
    if (i < all || j < all)
        CM_FAIL(CM_ERR_NUMERIC, "image %zu at sigma %g: the network gave %g, expected finite numbers",
                r->first + which[(i < all ? i : j) / r->size], sigma[(i < all ? i : j) / r->size],
                i < all ? r->d[i] : r->probe[j]);
    return report(r, r->first);
}

/* (x - D) / sigma, and the mean of v (v - D'v) / sigma over the probes. */
static cm_status slope(void *user, size_t count, const size_t *which, const double *sigma, const double *x,
                       double *to)
{
    run *r = user;
    const size_t size = r->size;
    for (size_t k = 0; k < count; k++) {
        memcpy(r->x + k * size, x + k * (size + 1), size * sizeof *x);
        to[k * (size + 1) + size] = 0;
    }
    for (int32_t p = 0; p < r->o->probes; p++) {
        for (size_t k = 0; k < count; k++) draw_probe(r, which[k], p, r->probe + k * size);
        CM_TRY(differentiate(r, count, which, sigma));
        for (size_t k = 0; k < count; k++) {
            double *slopes = to + k * (size + 1), sum = 0;
            const cm_stream s = stream_of(r, which[k], (uint32_t)(DRAW_PROBE + p));
            cmi_stream_normal(&s, size, r->normals);
            for (size_t i = 0; i < size; i++) {
                sum += 1 - (r->normals[i] < 0 ? -1 : 1) * r->probe[k * size + i];
                slopes[i] = (r->x[k * size + i] - r->d[k * size + i]) / sigma[k];
            }
            slopes[size] += sum / sigma[k] / r->o->probes;
        }
    }
    return CM_OK;
}

/* --- a round ----------------------------------------------------------------------------- */

/* The image as a point of a density on [-1, 1]. */
static cm_status begin(run *r, size_t i, const float *x)
{
    double *to = r->state + i * (r->size + 1);
    const cm_stream s = stream_of(r, i, DRAW_NOISE);
    to[r->size] = 0;
    if (r->o->continuous) {
        for (size_t k = 0; k < r->size; k++) to[k] = (double)x[k];
        return CM_OK;
    }
    cmi_stream_uniform(&s, r->size, to);
    for (size_t k = 0; k < r->size; k++) {
        const double value = ((double)x[k] + 1) * (LEVELS - 1) / 2, level = nearbyint(value);
        if (!(level >= 0 && level < LEVELS && fabs(value - level) < 0.02))
            CM_FAIL(CM_ERR_ARGUMENT,
                    "x: image %zu has %g at value %zu, which is none of the 256 of an 8-bit picture (2 v / 255 - 1); "
                    "option continuous takes any",
                    r->first + i, (double)x[k], k);
        to[k] = (level + to[k]) * 2 / LEVELS - 1;
    }
    return CM_OK;
}

/* The normal density at the end and what was collected, in bits per value of 256 levels on [-1, 1]. */
static double bits_of(const run *r, size_t i, double last)
{
    const double *x = r->state + i * (r->size + 1), pi = 3.14159265358979323846;
    double squares = 0;
    for (size_t k = 0; k < r->size; k++) squares += x[k] * x[k];
    const double n = (double)r->size;
    const double prior = -n / 2 * log(2 * pi * last * last) - squares / (2 * last * last);
    return -(prior + x[r->size]) / (n * log(2)) + log2(LEVELS / 2.0);
}

static cm_status round_of_images(run *r, const cm_solver *s, const float *x, double *bits)
{
    const cm_rk45 rk = {.context = r->model->context,
                        .images = r->count,
                        .size = r->size + 1,
                        .from = s->sigma[1],
                        .to = s->sigma[0],
                        .rtol = s->rk45.rtol,
                        .atol = s->rk45.atol,
                        .most = s->rk45.most,
                        .user = r,
                        .slope = slope};
    int32_t *evaluations = r->o->evaluations ? r->o->evaluations + r->first : NULL;
    for (size_t i = 0; i < r->count; i++) CM_TRY(begin(r, i, x + (r->first + i) * r->size));
    CM_TRY(cmi_rk45_run(&rk, r->first, r->state, evaluations));
    for (size_t i = 0; i < r->count; i++) bits[r->first + i] = bits_of(r, i, s->sigma[0]);
    return CM_OK;
}

static cm_status all_rounds(run *r, const cm_solver *s, size_t n, const float *x, double *bits)
{
    for (; r->first < n; r->first += r->count) {
        r->count = n - r->first < ROUND ? n - r->first : ROUND;
        CM_TRY(round_of_images(r, s, x, bits));
        CM_TRY(report(r, r->first + r->count));
    }
    return CM_OK;
}

static cm_status equip(run *r, const cm_solver *s, size_t n, const float *x, double *bits)
{
    cm_context *context = r->model->context;
    const size_t values = ROUND * (4 * r->size + 1);
    double *work = cmi_malloc(context, values, sizeof *work);
    r->normals = cmi_malloc(context, r->size, sizeof *r->normals);
    cm_status status = work && r->normals ? CM_OK : CM_ERR_MEMORY;
    if (status == CM_OK) {
        r->x = work, r->d = r->x + ROUND * r->size, r->probe = r->d + ROUND * r->size;
        r->state = r->probe + ROUND * r->size;
        status = cmi_denoiser_create_tangent(r->model, cmi_context_threads(context), n < ROUND ? n : ROUND,
                                             (cm_arithmetic){0, 0}, CM_TANGENT_X, &r->denoiser);
    }
    if (status == CM_OK) status = all_rounds(r, s, n, x, bits);
    cmi_denoiser_free(r->denoiser);
    cmi_free(context, r->normals);
    cmi_free(context, work);
    return status;
}

cm_status cmi_likelihood(cm_model *m, const cm_likelihood_options *o, size_t n, const float *x, double *bits)
{
    cm_sample_options sampling;
    cm_times times;
    run r = {.model = m, .o = o, .all = n, .size = (size_t)m->channels * (size_t)m->height * (size_t)m->width};
    memset(&sampling, 0, sizeof sampling);
    sampling.method = CM_METHOD_RK45;
    sampling.rk45_rtol = o->rk45_rtol, sampling.rk45_atol = o->rk45_atol, sampling.rk45_max_nfe = o->rk45_max_nfe;
    sampling.sigma_min = o->sigma_min, sampling.sigma_max = o->sigma_max;
    if (cmi_precond_is_consistency(&m->precond))
        CM_FAIL(
            CM_ERR_UNSUPPORTED,
            "cm_model_bits_per_dim: a model of precond %s is a consistency function; a likelihood needs a denoiser",
            cmi_precond_name(&m->precond));
    CM_TRY(cmi_times_resolve(m, &sampling, &times));
    cm_status status = equip(&r, &times.solver, n, x, bits);
    cmi_times_release(m, &times);
    return status;
}
