/* denoiser.c - plans, workers and the loop over images. */
#include "diffusion/denoiser.h"

#include <string.h>

#include "base/parallel.h"
#include "graph/plan.h"
#include "tensor/convert.h"

/* A plan with its execs. */
typedef struct {
    cm_plan *plan;
    cm_weights *weights;
    cm_exec **execs;
    int n_execs;
} team;

struct cm_denoiser {
    cm_model *model;
    cm_precond precond; /* with sigma_min rounded to float32; borrows the table */
    int threads;
    team wide; /* one image a thread            */
    team deep; /* all threads inside one image  */
};

static cm_status team_create(cm_model *model, int inner, int execs, team *t)
{
    cm_context *context = model->context;
    const cm_plan_options options = {.slice = 1, .threads = inner, .share = 1};
    CM_TRY(cm_plan_create(model->graph, &options, &t->plan));
    CM_TRY(cm_weights_create(t->plan, model->params, &t->weights));
    t->execs = cm_calloc(context, (size_t)execs, sizeof *t->execs);
    if (!t->execs) return CM_ERR_MEMORY;
    for (; t->n_execs < execs; t->n_execs++) CM_TRY(cm_exec_create(t->plan, &t->execs[t->n_execs]));
    return CM_OK;
}

static void team_free(cm_context *context, team *t)
{
    for (int i = 0; i < t->n_execs; i++) cm_exec_free(t->execs[i]);
    cm_free(context, t->execs);
    cm_weights_free(t->weights);
    cm_plan_free(t->plan);
}

cm_status cm_denoiser_create(cm_model *model, int threads, size_t max_batch, cm_denoiser **out)
{
    *out = NULL;
    cm_denoiser *d = cm_calloc(model->context, 1, sizeof *d);
    if (!d) return CM_ERR_MEMORY;
    d->model = model;
    d->precond = model->precond;
    d->precond.sigma_min = (double)(float)model->precond.sigma_min;
    d->threads = threads;
    cm_status status = CM_OK;
    if (threads == 1 || max_batch >= (size_t)threads) status = team_create(model, 1, threads, &d->wide);
    if (status == CM_OK && threads > 1) status = team_create(model, threads, 1, &d->deep);
    if (status != CM_OK) cm_denoiser_free(d);
    else *out = d;
    return status;
}

void cm_denoiser_free(cm_denoiser *d)
{
    if (!d) return;
    team_free(d->model->context, &d->wide);
    team_free(d->model->context, &d->deep);
    cm_free(d->model->context, d);
}

static size_t team_bytes(const team *t)
{
    if (!t->plan) return 0;
    return (size_t)t->n_execs * (cm_plan_arena_bytes(t->plan) + cm_plan_scratch_bytes(t->plan));
}

size_t cm_denoiser_bytes(const cm_denoiser *d)
{
    return team_bytes(&d->wide) + team_bytes(&d->deep);
}

const char *cm_denoiser_kernel(const cm_denoiser *d, int node, const char **scope)
{
    return cm_plan_kernel(d->wide.plan ? d->wide.plan : d->deep.plan, node, scope);
}

/* --- one image ------------------------------------------------------------------ */

static void fill_inputs(const cm_denoiser *d, const cm_evaluation *e, size_t i, double sigma, cm_exec *exec)
{
    const cm_model *m = d->model;
    size_t pixels = (size_t)m->height * (size_t)m->width, dim = (size_t)m->net.augment_dim;
    cm_scalings s = cm_precond_scalings(&d->precond, sigma);
    cm_planes_to_channels_last(m->channels, pixels, e->x + i * pixels * (size_t)m->channels,
                               cm_exec_input(exec, CM_IN_X));
    *(float *)cm_exec_input(exec, CM_IN_C_IN) = (float)s.c_in;
    *(float *)cm_exec_input(exec, CM_IN_C_SKIP) = (float)s.c_skip;
    *(float *)cm_exec_input(exec, CM_IN_C_OUT) = (float)s.c_out;
    *(float *)cm_exec_input(exec, CM_IN_TIME) = (float)s.c_noise;
    *(int32_t *)cm_exec_input(exec, CM_IN_LABEL) = e->labels ? e->labels[i] : -1;
    if (dim && e->augment) memcpy(cm_exec_input(exec, CM_IN_AUGMENT), e->augment + i * dim, dim * sizeof(float));
    else memset(cm_exec_input(exec, CM_IN_AUGMENT), 0, (dim ? dim : 1) * sizeof(float));
}

static cm_status run_image(const cm_denoiser *d, const team *t, const cm_evaluation *e, size_t i, cm_exec *exec)
{
    const cm_model *m = d->model;
    size_t pixels = (size_t)m->height * (size_t)m->width;
    size_t out = pixels * (size_t)m->out_channels, in = pixels * (size_t)m->channels;
    double sigma = (double)(float)e->sigma[i * e->sigma_step];
    if (e->cancel && atomic_load(e->cancel)) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    if (sigma == 0 && d->precond.type == CM_PRECOND_ECM) { /* the boundary: no network needed */
        memmove(e->d + i * out, e->x + i * in, out * sizeof *e->d);
        return CM_OK;
    }
    fill_inputs(d, e, i, sigma, exec);
    CM_TRY(cm_exec_run(exec, t->weights));
    if (e->f)
        cm_channels_last_to_planes(m->net.out_channels, pixels, cm_exec_output(exec, CM_OUT_F),
                                   e->f + i * pixels * (size_t)m->net.out_channels);
    cm_channels_last_to_planes(m->out_channels, pixels, cm_exec_output(exec, CM_OUT_D), e->d + i * out);
    return CM_OK;
}

typedef struct {
    const cm_denoiser *d;
    const cm_evaluation *e;
} job;

static cm_status wide_piece(void *user, int piece, int worker)
{
    const job *j = user;
    return run_image(j->d, &j->d->wide, j->e, (size_t)piece, j->d->wide.execs[worker]);
}

cm_status cm_denoiser_run(cm_denoiser *d, const cm_evaluation *e)
{
    job j = {d, e};
    size_t wide = d->wide.plan ? (d->deep.plan ? e->n / (size_t)d->threads * (size_t)d->threads : e->n) : 0;
    int before = cm_parallel_swap_threads(d->threads);
    cm_status status = wide ? cm_parallel(d->threads, (int)wide, wide_piece, &j) : CM_OK;
    for (size_t i = wide; i < e->n && status == CM_OK; i++) status = run_image(d, &d->deep, e, i, d->deep.execs[0]);
    cm_parallel_swap_threads(before);
    return status;
}
