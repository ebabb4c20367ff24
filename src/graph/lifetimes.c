/* lifetimes.c - from when to when each buffer of a program is in use, so that others may lie there before and after.
 */
#include "graph/program.h"

static void writes(cm_program *p, int buffer, int step)
{
    if (buffer >= 0 && p->buffers[buffer].first == -2) p->buffers[buffer].first = p->buffers[buffer].last = step;
}

static void reads(cm_program *p, int buffer, int step)
{
    if (buffer >= 0 && p->buffers[buffer].last < step) p->buffers[buffer].last = step;
}

static void find_lifetimes(cm_plan *plan)
{
    cm_program *p = &plan->program;
    const cm_graph *g = plan->graph;
    for (int i = 0; i < g->n_inputs; i++) {
        writes(p, p->input[i], -1);
        writes(p, p->input_tangent[i], -1);
    }
    for (int i = 0; i < p->n_steps; i++) {
        const cm_step *s = &p->steps[i];
        for (int k = 0; k < CM_OP_MAX_IN; k++) {
            reads(p, s->in[k], i);
            reads(p, s->tin[k], i);
            writes(p, s->din[k], i);
            writes(p, s->dtin[k], i);
            if (s->sum[k] >= 0) reads(p, s->sum[k], i);
            if (s->tsum[k] >= 0) reads(p, s->tsum[k], i);
        }
        if (s->kind == CM_STEP_FORWARD || s->kind == CM_STEP_BOTH) writes(p, s->out, i);
        else reads(p, s->out, i);
        writes(p, s->tout, i);
        writes(p, s->aux, i);
        reads(p, s->aux, i);
        if (s->kind == CM_STEP_PAUSE) {
            writes(p, s->dout, i);
            writes(p, s->dtout, i);
        } else {
            reads(p, s->dout, i);
            reads(p, s->dtout, i);
        }
    }
    for (int i = 0; i < g->n_outputs; i++) {
        reads(p, p->output[i], p->pause);
        reads(p, p->output_tangent[i], p->pause);
    }
    for (int i = 0; i < g->n_inputs; i++) {
        reads(p, p->input_gradient[i], p->n_steps);
        reads(p, p->input_tangent_gradient[i], p->n_steps);
    }
    for (int i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].first == -2 || !plan->options.share)
            p->buffers[i].first = -1, p->buffers[i].last = p->n_steps;
}

/* The output of step i takes over the first of the inputs where that dies there. */
static void take_over(cm_program *p, int i, const int in[CM_OP_MAX_IN], int out)
{
    int shared = in[0] < 0;
    for (int k = 1; k < CM_OP_MAX_IN; k++) shared |= in[k] == in[0];
    if (shared || p->buffers[in[0]].last != i || p->buffers[in[0]].size != p->buffers[out].size) return;
    int root = p->buffers[out].root = p->buffers[in[0]].root;
    if (p->buffers[out].last > p->buffers[root].last) p->buffers[root].last = p->buffers[out].last;
}

/* An in-place op whose first input dies there takes over its memory; so does its tangent. */
static void join_inplace(cm_plan *plan)
{
    cm_program *p = &plan->program;
    const cm_graph *g = plan->graph;
    for (int i = 0; i < p->n_steps; i++) {
        const cm_step *s = &p->steps[i];
        if (s->kind != CM_STEP_FORWARD && s->kind != CM_STEP_BOTH) continue;
        const cm_node *n = &g->nodes[s->node];
        if (!(n->op->flags & CM_OP_INPLACE) || g->values[n->in[0]].producer < 0) continue;
        take_over(p, i, s->in, s->out);
        if (s->kind == CM_STEP_BOTH) take_over(p, i, s->tin, s->tout);
    }
}

void cmi_program_lifetimes(cm_plan *plan)
{
    find_lifetimes(plan);
    if (plan->options.share) join_inplace(plan);
}
