/* denoiser.c - plans, workers and the loop over images. */
#include "diffusion/denoiser.h"

#include <string.h>

#include "base/parallel.h"
#include "diffusion/condition.h"
#include "diffusion/inputs.h"

/* A plan with its execs. */
typedef struct {
    cm_plan *plan;
    cm_weights *weights;
    cm_exec **execs;
    int n_execs, wanted;
    size_t slice; /* images in one run */
} team;

/* Slices of several images a thread where the batch allows it: their convolutions
 * share the packed weights while those are in the cache.  What is left over runs
 * one image at a time, with all threads inside it. */
enum { TEAMS = 2, MOST = 8, ACTIVATIONS = 256 << 20 };

struct cm_denoiser {
    cm_model *model;
    cm_precond precond; /* with sigma_min rounded to float32; borrows the table */
    int threads;
    uint32_t tangents; /* inputs that have one; 0: values alone */
    team wide[TEAMS];  /* a slice a thread; the larger slices first */
    team deep;         /* all threads inside one image              */
};

/* Without execs: an estimate. */
static cm_status team_plan(const cm_denoiser *d, size_t slice, int inner, int execs, cm_arithmetic arithmetic,
                           team *t)
{
    const cm_plan_options options = {.slice = (int32_t)slice,
                                     .threads = inner,
                                     .share = 1,
                                     .arithmetic = arithmetic,
                                     .mode = d->tangents ? CM_MODE_JVP : CM_MODE_INFER,
                                     .inputs = d->tangents};
    t->slice = slice;
    t->wanted = execs;
    return cmi_plan_create(d->model->inference, &options, &t->plan);
}

static cm_status team_equip(cm_model *model, team *t)
{
    cm_context *context = model->context;
    if (!t->plan) return CM_OK;
    CM_TRY(cmi_weights_create(t->plan, model->params, &t->weights));
    t->execs = cmi_calloc(context, (size_t)t->wanted, sizeof *t->execs);
    if (!t->execs) return CM_ERR_MEMORY;
    for (; t->n_execs < t->wanted; t->n_execs++) CM_TRY(cmi_exec_create(t->plan, &t->execs[t->n_execs]));
    return CM_OK;
}

static void team_free(cm_context *context, team *t)
{
    for (int i = 0; i < t->n_execs; i++) cmi_exec_free(t->execs[i]);
    cmi_free(context, t->execs);
    cmi_weights_free(t->weights);
    cmi_plan_free(t->plan);
}

/* The largest slice of bounded activations: what a slice shares, packed weights, costs more than
 * activations that leave the cache (four images of ADM ImageNet-64 against two: 9 %). */
static size_t largest_slice(const team *one, size_t each)
{
    size_t most = ACTIVATIONS / (cmi_plan_arena_bytes(one->plan) + 1);
    if (most > MOST) most = MOST;
    if (most > each) most = each;
    return most ? most : 1;
}

static cm_status plan_teams(cm_denoiser *d, size_t max_batch, cm_arithmetic arithmetic)
{
    size_t each = max_batch / (size_t)d->threads;
    CM_TRY(team_plan(d, 1, d->threads, 1, arithmetic, &d->deep));
    if (each == 0 || (each == 1 && d->threads == 1)) return CM_OK;
    size_t slice = largest_slice(&d->deep, each);
    CM_TRY(team_plan(d, slice, 1, d->threads, arithmetic, &d->wide[0]));
    size_t small = slice > 4 ? 2 : 1;
    if (slice <= small || (size_t)d->threads * small == 1) return CM_OK;
    return team_plan(d, small, 1, d->threads, arithmetic, &d->wide[1]);
}

/* A second time that is told as an interval moves with the first. */
static uint32_t moved_with(const cm_model *m, uint32_t tangents)
{
    const int follows = m->net.second_time != CM_SECOND_NONE && m->net.second_input == CM_SECOND_INTERVAL;
    return follows && (tangents & 1u << CM_IN_TIME) ? tangents | CM_TANGENT_SECOND : tangents;
}

static cm_status denoiser_plan(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic,
                               uint32_t tangents, cm_denoiser **out)
{
    *out = NULL;
    cm_denoiser *d = cmi_calloc(model->context, 1, sizeof *d);
    if (!d) return CM_ERR_MEMORY;
    d->model = model;
    d->precond = cmi_inputs_precond(&model->precond);
    d->threads = threads;
    d->tangents = moved_with(model, tangents);
    cm_status status = plan_teams(d, max_batch, arithmetic);
    if (status != CM_OK) cmi_denoiser_free(d);
    else *out = d;
    return status;
}

cm_status cmi_denoiser_create(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic,
                              cm_denoiser **out)
{
    return cmi_denoiser_create_tangent(model, threads, max_batch, arithmetic, 0, out);
}

cm_status cmi_denoiser_create_tangent(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic,
                                      uint32_t tangents, cm_denoiser **out)
{
    CM_TRY(denoiser_plan(model, threads, max_batch, arithmetic, tangents, out));
    cm_denoiser *d = *out;
    cm_status status = team_equip(model, &d->deep);
    for (int i = 0; i < TEAMS && status == CM_OK; i++) status = team_equip(model, &d->wide[i]);
    if (status == CM_OK) return CM_OK;
    cmi_denoiser_free(d);
    *out = NULL;
    return status;
}

cm_status cmi_denoiser_estimate(cm_model *model, int threads, size_t max_batch, cm_arithmetic arithmetic,
                                size_t *activations, size_t *packed)
{
    cm_denoiser *d;
    CM_TRY(denoiser_plan(model, threads, max_batch, arithmetic, 0, &d));
    *activations = cmi_denoiser_bytes(d);
    cm_status status = cmi_plan_packed_bytes(d->deep.plan, NULL, packed);
    for (int i = 0; i < TEAMS && d->wide[i].plan && status == CM_OK; i++) {
        size_t more;
        status = cmi_plan_packed_bytes(d->wide[i].plan, i ? d->wide[0].plan : d->deep.plan, &more);
        if (status == CM_OK) *packed += more;
    }
    cmi_denoiser_free(d);
    return status;
}

void cmi_denoiser_free(cm_denoiser *d)
{
    if (!d) return;
    for (int i = 0; i < TEAMS; i++) team_free(d->model->context, &d->wide[i]);
    team_free(d->model->context, &d->deep);
    cmi_free(d->model->context, d);
}

static size_t team_bytes(const team *t)
{
    if (!t->plan) return 0;
    return (size_t)t->wanted * (cmi_plan_arena_bytes(t->plan) + cmi_plan_scratch_bytes(t->plan));
}

size_t cmi_denoiser_bytes(const cm_denoiser *d)
{
    size_t bytes = team_bytes(&d->deep);
    for (int i = 0; i < TEAMS; i++) bytes += team_bytes(&d->wide[i]);
    return bytes;
}

/* --- one slice ------------------------------------------------------------------ */

/* Where an ECT model is the identity: the network has no value there. */
static int at_boundary(const cm_denoiser *d, const cm_evaluation *e, size_t i)
{
    return d->precond.kind->identity_at_0 && cmi_inputs_level(e->sigma[i * e->sigma_step]) == 0;
}

/* Image i of the evaluation as number k of the slice; one at the boundary is
 * evaluated at some other level, for nobody. */
static void write_inputs(const cm_denoiser *d, const cm_evaluation *e, size_t i, size_t k, cm_exec *exec)
{
    const cm_model *m = d->model;
    const size_t values = (size_t)m->height * (size_t)m->width * (size_t)m->channels;
    const double guidance[3] = {e->guidance, 0, 1};
    const cm_inputs inputs = {
        .x = e->x + i * values,
        .sigma = at_boundary(d, e, i) ? 1 : e->sigma[i * e->sigma_step],
        .label = e->labels ? e->labels[i] : -1,
        .augment = e->augment ? e->augment + i * (size_t)m->net.augment_dim : NULL,
        .second = e->second ? cmi_inputs_level(e->second[i * e->sigma_step]) : cmi_inputs_second(&d->precond, 0),
        .guidance = e->guidance != 0 ? guidance : NULL,
    };
    cmi_inputs_write(m, &d->precond, &inputs, exec, k);
    if (!d->tangents) return;
    const double *x = e->x_tangent ? e->x_tangent + i * values : NULL;
    const double sigma = e->sigma_tangent && !at_boundary(d, e, i) ? e->sigma_tangent[i] : 0;
    cm_inputs_tangent t = cmi_inputs_tangent(&d->precond, inputs.sigma, x, sigma);
    t.second = e->second_tangent ? e->second_tangent[i] : 0;
    cmi_inputs_write_tangent(m, &t, exec, k);
}

/* The identity, and so its derivative. */
static void read_identity(const cm_evaluation *e, size_t i, size_t values)
{
    const size_t at = i * values;
    memmove(e->d + at, e->x + at, values * sizeof *e->d);
    if (!e->d_tangent) return;
    if (e->x_tangent) memmove(e->d_tangent + at, e->x_tangent + at, values * sizeof *e->d_tangent);
    else memset(e->d_tangent + at, 0, values * sizeof *e->d_tangent);
}

static void read_outputs(const cm_denoiser *d, const cm_evaluation *e, size_t i, size_t k, const cm_exec *exec)
{
    const cm_model *m = d->model;
    const size_t pixels = (size_t)m->height * (size_t)m->width;
    const size_t out = pixels * (size_t)m->out_channels;
    if (at_boundary(d, e, i)) {
        read_identity(e, i, out);
        return;
    }
    const size_t raw = pixels * (size_t)m->net.out_channels;
    if (e->f) cmi_outputs_read(m, CM_OUT_F, exec, k, e->f + i * raw);
    cmi_outputs_read(m, CM_OUT_D, exec, k, e->d + i * out);
    if (e->f_tangent) cmi_tangent_read(m, CM_OUT_F, exec, k, e->f_tangent + i * raw);
    if (e->d_tangent) cmi_tangent_read(m, CM_OUT_D, exec, k, e->d_tangent + i * out);
}

/* Images first .. first + slice - 1. */
static cm_status run_slice(const cm_denoiser *d, const team *t, const cm_evaluation *e, size_t first, cm_exec *exec)
{
    CM_TRY(cmi_call_check(e->call));
    for (size_t k = 0; k < t->slice; k++) write_inputs(d, e, first + k, k, exec);
    CM_TRY(cmi_exec_run(exec, t->weights));
    for (size_t k = 0; k < t->slice; k++) read_outputs(d, e, first + k, k, exec);
    return CM_OK;
}

typedef struct {
    const cm_denoiser *d;
    const cm_evaluation *e;
    const team *team;
    size_t first;
} job;

static cm_status wide_piece(void *user, int piece, int worker)
{
    const job *j = user;
    return run_slice(j->d, j->team, j->e, j->first + (size_t)piece * j->team->slice, j->team->execs[worker]);
}

static cm_status evaluate(cm_denoiser *d, const cm_evaluation *e)
{
    size_t done = 0;
    for (int i = 0; i < TEAMS && d->wide[i].plan; i++) {
        const team *t = &d->wide[i];
        size_t round = t->slice * (size_t)d->threads, slices = (e->n - done) / round * (size_t)d->threads;
        job j = {d, e, t, done};
        CM_TRY(cmi_parallel((cm_threads){d->model->context, d->threads}, (int)slices, wide_piece, &j));
        done += slices * t->slice;
    }
    for (; done < e->n; done++) CM_TRY(run_slice(d, &d->deep, e, done, d->deep.execs[0]));
    return CM_OK;
}

/* D_u + w (D_c - D_u) of the images that have a label: D_c in d, D_u in `without`. */
static void guide(const cm_evaluation *e, size_t values)
{
    for (size_t i = 0; i < e->n; i++) {
        if (!e->labels || e->labels[i] < 0) continue;
        for (size_t k = i * values; k < (i + 1) * values; k++)
            e->d[k] = e->without[k] + e->guidance * (e->d[k] - e->without[k]);
    }
}

cm_status cmi_denoiser_run(cm_denoiser *d, const cm_evaluation *e)
{
    const cm_model *m = d->model;
    if (cmi_condition_evaluations(m, e->guidance) == 1) return evaluate(d, e);
    cm_evaluation without = *e;
    without.labels = NULL, without.d = e->without;
    CM_TRY(evaluate(d, &without)); /* first: d may be x */
    CM_TRY(evaluate(d, e));
    guide(e, (size_t)m->out_channels * (size_t)m->height * (size_t)m->width);
    return CM_OK;
}
