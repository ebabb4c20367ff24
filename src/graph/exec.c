/* exec.c - one thread's memory for a plan, and the loop over its steps. */
#include <string.h>

#include "graph/exec.h"

static void *at(const cm_exec *exec, int buffer)
{
    return buffer < 0 ? NULL : exec->arena + exec->plan->program.buffers[buffer].offset;
}

static void bind_gradients(cm_exec *exec, const cm_step *s, cm_op_run *run)
{
    const cm_plan *plan = exec->plan;
    size_t at_node = 0;
    for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
        int index = plan->graph->nodes[s->node].param[k];
        if (index < 0) continue;
        run->dparam[k] = exec->gradients + (exec->sink ? at_node : plan->gradient[index]);
        at_node += (plan->gradient_size[index] + 15) / 16 * 16;
    }
}

static void bind(cm_exec *exec, const cm_step *s, cm_op_run *run)
{
    if (s->kind == CM_STEP_PAUSE) return;
    run->p = &exec->plan->ops[s->node];
    run->scratch = exec->scratch;
    run->random = &exec->random;
    run->out = at(exec, s->out);
    run->aux = at(exec, s->aux);
    run->again = s->again;
    run->dout = at(exec, s->dout);
    run->tout = at(exec, s->tout);
    run->dtout = at(exec, s->dtout);
    for (int k = 0; k < CM_OP_MAX_IN; k++) {
        run->in[k] = at(exec, s->in[k]);
        run->din[k] = at(exec, s->din[k]);
        run->tin[k] = at(exec, s->tin[k]);
        run->dtin[k] = at(exec, s->dtin[k]);
    }
    if (s->kind == CM_STEP_BACKWARD && !exec->plan->options.frozen) bind_gradients(exec, s, run);
}

static void bind_all(cm_exec *exec)
{
    const cm_program *p = &exec->plan->program;
    for (int i = 0; i < p->n_steps; i++) bind(exec, &p->steps[i], &exec->runs[i]);
}

cm_status cmi_exec_create(const cm_plan *plan, cm_exec **out)
{
    return cmi_exec_create_streaming(plan, NULL, NULL, out);
}

cm_status cmi_exec_create_streaming(const cm_plan *plan, cm_gradient_sink sink, void *user, cm_exec **out)
{
    cm_context *context = plan->context;
    *out = NULL;
    cm_exec *exec = cmi_calloc(context, 1, sizeof *exec);
    if (!exec) return CM_ERR_MEMORY;
    exec->plan = plan;
    exec->sink = sink, exec->sink_user = user;
    exec->gradient_floats = sink ? cmi_plan_node_gradient_floats(plan) : plan->gradient_floats;
    /* Zeroed, that is touched, once: fresh pages cost more than arithmetic. */
    exec->arena = cmi_calloc(context, plan->program.arena, 1);
    exec->scratch = cmi_calloc(context, plan->scratch, 1);
    exec->gradients = cmi_calloc(context, exec->gradient_floats, sizeof *exec->gradients);
    exec->second =
        cmi_calloc(context, plan->options.mode == CM_MODE_TRAIN_JVP ? cmi_plan_node_gradient_floats(plan) : 0,
                   sizeof *exec->second);
    exec->runs = cmi_calloc(context, (size_t)plan->program.n_steps, sizeof *exec->runs);
    exec->images = cmi_calloc(context, (size_t)plan->options.slice, sizeof *exec->images);
    exec->random.image = exec->images;
    int whole = exec->arena && exec->scratch && exec->gradients && exec->second && exec->runs && exec->images;
    if (!whole) {
        cmi_exec_free(exec);
        return CM_ERR_MEMORY;
    }
    bind_all(exec);
    *out = exec;
    return CM_OK;
}

void cmi_exec_free(cm_exec *exec)
{
    if (!exec) return;
    const cm_plan *plan = exec->plan;
    cmi_free(plan->context, exec->runs);
    cmi_free(plan->context, exec->images);
    cmi_free(plan->context, exec->gradients);
    cmi_free(plan->context, exec->second);
    cmi_free(plan->context, exec->arena);
    cmi_free(plan->context, exec->scratch);
    cmi_free(plan->context, exec);
}

void *cmi_exec_input(cm_exec *exec, int index)
{
    return at(exec, exec->plan->program.input[index]);
}

const float *cmi_exec_output(const cm_exec *exec, int index)
{
    return at(exec, exec->plan->program.output[index]);
}

float *cmi_exec_cotangent(cm_exec *exec)
{
    return at(exec, exec->plan->program.cotangent);
}

const float *cmi_exec_input_gradient(const cm_exec *exec, int index)
{
    return at(exec, exec->plan->program.input_gradient[index]);
}

const float *cmi_exec_input_tangent_gradient(const cm_exec *exec, int index)
{
    return at(exec, exec->plan->program.input_tangent_gradient[index]);
}

float *cmi_exec_tangent_cotangent(cm_exec *exec)
{
    return at(exec, exec->plan->program.tangent_cotangent);
}

float *cmi_exec_tangent_input(cm_exec *exec, int index)
{
    return at(exec, exec->plan->program.input_tangent[index]);
}

const float *cmi_exec_tangent_output(const cm_exec *exec, int index)
{
    return at(exec, exec->plan->program.output_tangent[index]);
}

const float *cmi_exec_gradients(const cm_exec *exec)
{
    return exec->gradients;
}

void cmi_exec_seed(cm_exec *exec, uint64_t seed, const uint64_t *images)
{
    exec->random.seed = seed;
    memcpy(exec->images, images, (size_t)exec->plan->options.slice * sizeof *images);
}

void cmi_exec_drop(cm_exec *exec, int drops)
{
    exec->random.still = !drops;
}

/* Gradients that arrive at a value a second time join the first. */
static void add_up(cm_exec *exec, const cm_step *s, const cm_op_run *run)
{
    for (int k = 0; k < CM_OP_MAX_IN; k++)
        if (s->sum[k] >= 0)
            run->p->kernels->pointwise->axpy(cmi_desc_count(run->p->in[k]), 1, run->din[k], at(exec, s->sum[k]));
    for (int k = 0; k < CM_OP_MAX_IN; k++)
        if (s->tsum[k] >= 0)
            run->p->kernels->pointwise->axpy(cmi_desc_count(run->p->in[k]), 1, run->dtin[k], at(exec, s->tsum[k]));
}

/* Of an op that is linear or selects: once more for the tangents, whose part of the weights' gradient is added. */
static cm_status through_tangents(cm_exec *exec, const cm_step *s, const cm_op_run *run)
{
    cm_op_run again = *run;
    size_t at_node = 0;
    again.dout = run->dtout;
    for (int k = 0; k < CM_OP_MAX_IN; k++) {
        if (run->p->op->flags & CM_OP_LINEAR) again.in[k] = run->tin[k];
        again.din[k] = run->dtin[k];
    }
    for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
        const int index = exec->plan->graph->nodes[s->node].param[k];
        if (!run->dparam[k]) continue;
        again.dparam[k] = exec->second + at_node;
        at_node += (exec->plan->gradient_size[index] + 15) / 16 * 16;
    }
    CM_TRY(run->p->op->backward(&again));
    if (run->dparam[0] && again.in[0])
        run->p->kernels->pointwise->axpy(exec->plan->gradient_size[exec->plan->graph->nodes[s->node].param[0]], 1,
                                         again.dparam[0], run->dparam[0]);
    return CM_OK;
}

static cm_status run_backward(cm_exec *exec, const cm_step *s, const cm_op_run *run)
{
    if (s->dtout >= 0 && run->p->op->both_backward) return run->p->op->both_backward(run);
    CM_TRY(run->p->op->backward(run));
    return s->dtout >= 0 ? through_tangents(exec, s, run) : CM_OK;
}

static cm_status hand_on(cm_exec *exec, const cm_step *s, const cm_op_run *run)
{
    const cm_plan *plan = exec->plan;
    for (int k = 0; k < CM_OP_MAX_PARAMS && exec->sink && !plan->options.frozen; k++) {
        int index = plan->graph->nodes[s->node].param[k];
        if (index >= 0)
            CM_TRY(exec->sink(exec->sink_user, index, plan->gradient[index], plan->gradient_size[index],
                              run->dparam[k]));
    }
    return CM_OK;
}

cm_status cmi_exec_step(cm_exec *exec, const cm_weights *weights, int step)
{
    const cm_step *s = &exec->plan->program.steps[step];
    cm_op_run *run = &exec->runs[step];
    if (s->kind == CM_STEP_PAUSE) return CM_OK;
    cmi_weights_bind(weights, s->node, run);
    if (s->kind == CM_STEP_FORWARD) return run->p->op->forward(run);
    if (s->kind == CM_STEP_JVP) return run->p->op->jvp(run);
    if (s->kind == CM_STEP_BOTH) return run->p->op->both(run);
    CM_TRY(run_backward(exec, s, run));
    add_up(exec, s, run);
    return hand_on(exec, s, run);
}

static cm_status run_steps(cm_exec *exec, const cm_weights *weights, int first, int last)
{
    for (int i = first; i < last; i++) CM_TRY(cmi_exec_step(exec, weights, i));
    return CM_OK;
}

cm_status cmi_exec_run(cm_exec *exec, const cm_weights *weights)
{
    return run_steps(exec, weights, 0, exec->plan->program.pause);
}

/* In mode INFER there is a step for each node, in their order. */
cm_status cmi_exec_run_first(cm_exec *exec, const cm_weights *weights, int count)
{
    const cm_graph *g = exec->plan->graph;
    int last = -1;
    for (int i = 0; i < count; i++) {
        const int producer = g->values[g->outputs[i]].producer;
        if (producer > last) last = producer;
    }
    return run_steps(exec, weights, 0, last + 1);
}

cm_status cmi_exec_backward(cm_exec *exec, const cm_weights *weights)
{
    return run_steps(exec, weights, exec->plan->program.pause, exec->plan->program.n_steps);
}
