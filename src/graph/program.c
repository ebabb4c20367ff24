/* program.c - from a graph to steps: forward, and behind it backward or tangents.
 *
 * Buffers are numbered as they come up.  Gradients that meet at a value with
 * several readers: the first is written in place, each further one into a buffer
 * of its own and added. */
#include "graph/program.h"

#include <string.h>

typedef struct {
    cm_plan *plan;
    const cm_graph *g;
    cm_program *p;
    const cm_reach *reach;
    int cap_steps, cap_buffers;
    int *value, *gradient, *aux;     /* where each value is now; its gradient; the aux of its producer */
    int *tangent, *tangent_gradient; /* its tangent, and the gradient of that */
    int *segment;                    /* of each node */
    unsigned char *kept;             /* value survives until backward */
    unsigned char *there;            /* ... or was made again: backward may read it */
    cm_status status;
} builder;

/* --- growing ---------------------------------------------------------------- */

static void *grown(builder *b, void *array, int count, int *capacity, size_t size)
{
    if (b->status != CM_OK || count < *capacity) return array;
    int larger = *capacity ? 2 * *capacity : 256;
    void *more = cmi_calloc(b->plan->context, (size_t)larger, size);
    if (!more) {
        b->status = CM_ERR_MEMORY;
        return array;
    }
    if (array) memcpy(more, array, (size_t)count * size);
    cmi_free(b->plan->context, array);
    *capacity = larger;
    return more;
}

static int new_buffer(builder *b, size_t bytes)
{
    cm_program *p = b->p;
    p->buffers = grown(b, p->buffers, p->n_buffers, &b->cap_buffers, sizeof *p->buffers);
    if (b->status != CM_OK) return -1;
    p->buffers[p->n_buffers] = (cm_span){(bytes + 63) / 64 * 64, 0, -2, -2, p->n_buffers};
    return p->n_buffers++;
}

static size_t value_bytes(const builder *b, int value)
{
    cm_desc d = b->g->values[value].desc;
    d.n = b->plan->options.slice;
    return cmi_desc_count(d) * (b->plan->stored_bf16[value] ? sizeof(uint16_t) : sizeof(float));
}

static int new_value_buffer(builder *b, int value)
{
    return new_buffer(b, value_bytes(b, value));
}

static cm_step *new_step(builder *b, int kind, int node)
{
    cm_program *p = b->p;
    p->steps = grown(b, p->steps, p->n_steps, &b->cap_steps, sizeof *p->steps);
    if (b->status != CM_OK) return NULL;
    cm_step *s = &p->steps[p->n_steps++];
    memset(s, 0xff, sizeof *s); /* -1 everywhere */
    s->kind = kind;
    s->again = 0;
    s->node = node;
    return s;
}

/* --- forward ---------------------------------------------------------------- */

static void add_forward(builder *b, int node, int again)
{
    const cm_node *n = &b->g->nodes[node];
    cm_step *s = new_step(b, CM_STEP_FORWARD, node);
    if (!s) return;
    for (int k = 0; k < n->n_in; k++) s->in[k] = b->value[n->in[k]];
    if (b->aux[n->out] < 0 && b->plan->ops[node].aux_bytes)
        b->aux[n->out] = new_buffer(b, b->plan->ops[node].aux_bytes);
    s->aux = b->aux[n->out];
    s->out = b->value[n->out] = new_value_buffer(b, n->out);
    s->again = again;
}

/* Behind the forward step, or with it where the op does both. */
static void add_tangent(builder *b, int node)
{
    const cm_node *n = &b->g->nodes[node];
    if (b->status != CM_OK || !b->reach->tangent[n->out]) return;
    cm_step *s = n->op->both ? &b->p->steps[b->p->n_steps - 1] : new_step(b, CM_STEP_JVP, node);
    if (!s) return;
    if (n->op->both) s->kind = CM_STEP_BOTH;
    for (int k = 0; k < n->n_in; k++) {
        s->in[k] = b->value[n->in[k]];
        s->tin[k] = b->tangent[n->in[k]];
    }
    if (n->op->flags & CM_OP_SAVES_OUT) s->out = b->value[n->out];
    s->aux = b->aux[n->out];
    s->tout = b->tangent[n->out] = new_value_buffer(b, n->out);
}

/* --- backward --------------------------------------------------------------- */

/* A node's result, and before it what that follows from, once more where it was dropped. */
static void need(builder *b, int value)
{
    if (b->there[value]) return;
    const int node = b->g->values[value].producer;
    const cm_node *n = &b->g->nodes[node];
    for (int k = 0; k < n->n_in; k++) need(b, n->in[k]);
    add_forward(b, node, 1);
    b->there[value] = 1;
}

/* The same through the tangents. */
static void add_tangent_backward(builder *b, const cm_node *n, unsigned saves, cm_step *s)
{
    s->dtout = b->tangent_gradient[n->out];
    for (int k = 0; k < n->n_in; k++) {
        int v = n->in[k];
        if (saves & (1u << k)) s->tin[k] = b->tangent[v];
        if (!b->reach->gradient[v] || !b->reach->tangent[v]) continue;
        s->dtin[k] = new_value_buffer(b, v);
        s->tsum[k] = b->tangent_gradient[v];
        if (b->tangent_gradient[v] < 0) b->tangent_gradient[v] = s->dtin[k];
    }
}

static void add_backward(builder *b, int node)
{
    const cm_node *n = &b->g->nodes[node];
    if (b->gradient[n->out] < 0 || !b->reach->gradient[n->out]) return;
    const unsigned saves = n->op->saves & ~(b->plan->options.frozen ? n->op->saves_for_params : 0);
    for (int k = 0; k < n->n_in; k++)
        if (saves & (1u << k)) need(b, n->in[k]);
    if (n->op->flags & CM_OP_SAVES_OUT) need(b, n->out);
    cm_step *s = new_step(b, CM_STEP_BACKWARD, node);
    if (!s) return;
    s->dout = b->gradient[n->out];
    if (n->op->flags & CM_OP_SAVES_OUT) s->out = b->value[n->out];
    s->aux = b->aux[n->out];
    for (int k = 0; k < n->n_in; k++) {
        int v = n->in[k];
        if (saves & (1u << k)) s->in[k] = b->value[v];
        if (!b->reach->gradient[v]) continue;
        s->din[k] = new_value_buffer(b, v);
        s->sum[k] = b->gradient[v]; /* -1 the first time */
        if (b->gradient[v] < 0) b->gradient[v] = s->din[k];
    }
    s = b->status == CM_OK ? &b->p->steps[b->p->n_steps - 1] : NULL;
    if (s && b->tangent_gradient[n->out] >= 0) add_tangent_backward(b, n, saves, s);
}

/* Made again near the processor in less time than it comes back from memory.  Larger values would come
 * from far away either way: to make them again took 2 % of a step of CIFAR-10 DDPM++. */
static int is_cheap(const builder *b, int value)
{
    const int producer = b->g->values[value].producer;
    if (b->plan->options.mode == CM_MODE_TRAIN_JVP) return 0;
    return producer >= 0 && (b->g->nodes[producer].op->flags & CM_OP_CHEAP) && value_bytes(b, value) <= 1 << 20;
}

/* Values that cross a border between segments, inputs and outputs are kept; with one segment all
 * but those that are made again for less than it costs to hold them. */
static void cut_segments(builder *b)
{
    const cm_graph *g = b->g;
    const int whole = b->plan->options.mode == CM_MODE_TRAIN_JVP; /* nothing is made again */
    int n = b->plan->options.recompute > 1 && !whole ? b->plan->options.recompute : 1;
    for (int i = 0; i < g->n_nodes; i++) b->segment[i] = (int)((int64_t)i * n / g->n_nodes);
    for (int v = 0; v < g->n_values; v++) b->kept[v] = g->values[v].producer < 0 || (n == 1 && !is_cheap(b, v));
    for (int i = 0; i < g->n_outputs; i++) b->kept[g->outputs[i]] = 1;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_in; k++) {
            int v = g->nodes[i].in[k], producer = g->values[v].producer;
            if (producer >= 0 && b->segment[producer] != b->segment[i]) b->kept[v] = 1;
        }
}

/* What backward finds of a segment's results, when its forward steps are done: the cheap ones
 * are dropped again, to be made where they are read. */
static void enter_segment(builder *b, int first, int last)
{
    for (int i = first; i <= last; i++) {
        const int v = b->g->nodes[i].out;
        b->there[v] = b->kept[v] || !is_cheap(b, v);
    }
}

/* The nodes of a segment whose results were dropped, once more. */
static void add_again(builder *b, int first, int last)
{
    for (int i = first; i <= last; i++)
        if (!is_cheap(b, b->g->nodes[i].out)) need(b, b->g->nodes[i].out);
}

static void add_all_backward(builder *b)
{
    const cm_graph *g = b->g;
    cm_step *pause = new_step(b, CM_STEP_PAUSE, -1);
    if (!pause) return;
    b->p->pause = b->p->n_steps - 1;
    memcpy(b->there, b->kept, (size_t)g->n_values);
    int y = g->outputs[b->plan->options.output];
    b->p->cotangent = b->gradient[y] = pause->dout = new_value_buffer(b, y);
    if (b->reach->tangent[y] && b->plan->options.mode == CM_MODE_TRAIN_JVP)
        b->p->tangent_cotangent = b->tangent_gradient[y] = pause->dtout = new_value_buffer(b, y);
    for (int last = g->n_nodes - 1; last >= 0;) {
        int first = last;
        while (first > 0 && b->segment[first - 1] == b->segment[last]) first--;
        /* The last segment's results are still there. */
        if (last < g->n_nodes - 1) add_again(b, first, last);
        enter_segment(b, first, last);
        for (int i = last; i >= first; i--) add_backward(b, i);
        last = first - 1;
    }
}

/* ------------------------------------------------------------------------------- */

/* What follows from the inputs of a mask, and where `params`, from parameters. */
static void reach_from(const cm_graph *g, uint32_t inputs, int params, unsigned char *reached)
{
    for (int i = 0; i < g->n_inputs; i++) reached[g->inputs[i]] = inputs >> i & 1;
    for (int i = 0; i < g->n_nodes; i++) {
        const cm_node *n = &g->nodes[i];
        unsigned char any = params && n->param[0] >= 0;
        for (int k = 0; k < n->n_in; k++) any |= reached[n->in[k]];
        reached[n->out] = any;
    }
}

void cmi_program_reach(const cm_plan *plan, const cm_reach *reach)
{
    const cm_plan_options *o = &plan->options;
    if (cmi_plan_trains(plan)) reach_from(plan->graph, o->inputs, !o->frozen, reach->gradient);
    if (o->mode == CM_MODE_JVP) reach_from(plan->graph, o->inputs, 0, reach->tangent);
    if (o->mode == CM_MODE_TRAIN_JVP) reach_from(plan->graph, o->tangents, 0, reach->tangent);
}

static void add_inputs(builder *b)
{
    const cm_graph *g = b->g;
    memset(b->p->input, 0xff, sizeof b->p->input);
    memset(b->p->input_tangent, 0xff, sizeof b->p->input_tangent);
    memset(b->p->output_tangent, 0xff, sizeof b->p->output_tangent);
    memset(b->p->input_gradient, 0xff, sizeof b->p->input_gradient);
    memset(b->p->input_tangent_gradient, 0xff, sizeof b->p->input_tangent_gradient);
    b->p->cotangent = b->p->tangent_cotangent = -1;
    for (int v = 0; v < g->n_values; v++)
        b->value[v] = b->gradient[v] = b->aux[v] = b->tangent[v] = b->tangent_gradient[v] = -1;
    for (int i = 0; i < g->n_inputs; i++) {
        int v = g->inputs[i];
        b->p->input[i] = b->value[v] = new_value_buffer(b, v);
        if (b->reach->tangent[v]) b->p->input_tangent[i] = b->tangent[v] = new_value_buffer(b, v);
    }
}

static void write_steps(builder *b)
{
    const cm_graph *g = b->g;
    add_inputs(b);
    cut_segments(b);
    for (int i = 0; i < g->n_nodes; i++) {
        add_forward(b, i, 0);
        add_tangent(b, i);
    }
    b->p->pause = b->p->n_steps;
    for (int i = 0; i < g->n_outputs; i++) {
        b->p->output[i] = b->value[g->outputs[i]];
        b->p->output_tangent[i] = b->tangent[g->outputs[i]];
    }
    if (!cmi_plan_trains(b->plan)) return;
    add_all_backward(b);
    for (int i = 0; i < g->n_inputs; i++) {
        b->p->input_gradient[i] = b->gradient[g->inputs[i]];
        b->p->input_tangent_gradient[i] = b->tangent_gradient[g->inputs[i]];
    }
}

cm_status cmi_program_build(cm_plan *plan, const cm_reach *reach)
{
    const cm_graph *g = plan->graph;
    cm_context *context = plan->context;
    size_t values = (size_t)g->n_values;
    builder b = {.plan = plan, .g = g, .p = &plan->program, .reach = reach, .status = CM_OK};
    b.value = cmi_calloc(context, 6 * values, sizeof *b.value);
    b.kept = cmi_calloc(context, 2 * values, 1);
    if (!b.value || !b.kept) b.status = CM_ERR_MEMORY;
    if (b.status == CM_OK) {
        b.gradient = b.value + values;
        b.aux = b.gradient + values;
        b.tangent = b.aux + values;
        b.tangent_gradient = b.tangent + values;
        b.segment = b.tangent_gradient + values;
        b.there = b.kept + values;
        write_steps(&b);
    }
    if (b.status == CM_OK) {
        cmi_program_lifetimes(plan);
        b.status = cmi_arena_place(context, plan->program.buffers, plan->program.n_buffers, &plan->program.arena);
    }
    cmi_free(context, b.value);
    cmi_free(context, b.kept);
    return b.status;
}

void cmi_program_release(cm_plan *plan)
{
    cmi_free(plan->context, plan->program.steps);
    cmi_free(plan->context, plan->program.buffers);
}
