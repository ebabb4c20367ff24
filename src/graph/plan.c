/* plan.c - lifetimes to an arena, nodes to prepared steps, steps to results. */
#include "graph/plan.h"

#include <stdlib.h>
#include <string.h>

struct cm_plan {
    cm_context *context;
    const cm_graph *graph;
    cm_plan_options options;
    cm_dnnl_engine *engine;
    cm_op_plan *steps; /* one per node */
    size_t *offset;    /* of each value in the arena */
    size_t arena, scratch;
};

struct cm_weights {
    cm_context *context;
    const void **pointers; /* [node][CM_OP_MAX_PARAMS] */
};

struct cm_exec {
    const cm_plan *plan;
    unsigned char *arena, *scratch;
    void **local; /* of each node */
    cm_op_run *runs;
};

/* --- the arena ----------------------------------------------------------- */

typedef struct {
    size_t size, offset;
    int first, last; /* steps: -1 = before the first, n_nodes = after the last */
    int root;        /* the value whose memory this one takes over, or itself  */
} span;

static size_t value_bytes(const cm_plan *plan, int value)
{
    cm_desc d = plan->graph->values[value].desc;
    d.n = plan->options.slice;
    return (cm_desc_count(d) * sizeof(float) + 63) / 64 * 64;
}

static int is_input(const cm_graph *g, int value)
{
    return g->values[value].producer < 0;
}

static void find_lifetimes(const cm_plan *plan, span *spans)
{
    const cm_graph *g = plan->graph;
    for (int v = 0; v < g->n_values; v++)
        spans[v] = (span){value_bytes(plan, v), 0, g->values[v].producer, g->values[v].producer, v};
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_in; k++) spans[g->nodes[i].in[k]].last = i;
    for (int i = 0; i < g->n_outputs; i++) spans[g->outputs[i]].last = g->n_nodes;
    if (!plan->options.share)
        for (int v = 0; v < g->n_values; v++) spans[v].first = -1, spans[v].last = g->n_nodes;
}

/* An in-place op whose first input dies there takes over its memory. */
static void join_inplace(const cm_plan *plan, span *spans)
{
    const cm_graph *g = plan->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        const cm_node *node = &g->nodes[i];
        int in = node->in[0], out = node->out;
        if (!(node->op->flags & CM_OP_INPLACE) || is_input(g, in) || spans[in].last != i ||
            spans[in].size != spans[out].size)
            continue;
        int shared = 0; /* as another input of the same node */
        for (int k = 1; k < node->n_in; k++) shared |= node->in[k] == in;
        if (shared) continue;
        spans[out].root = spans[in].root;
        spans[spans[out].root].last = spans[out].last;
    }
}

static int larger_first(const void *a, const void *b)
{
    const span *x = *(const span *const *)a, *y = *(const span *const *)b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x->root - y->root;
}

/* First fit, largest first: the lowest place free of every span that is alive
 * at the same time. */
static size_t place(span **order, int placed, const span *s)
{
    size_t at = 0;
    for (int moved = 1; moved;) {
        moved = 0;
        for (int i = 0; i < placed; i++) {
            const span *o = order[i];
            if (o->last < s->first || s->last < o->first) continue;
            if (at < o->offset + o->size && o->offset < at + s->size) {
                at = o->offset + o->size;
                moved = 1;
            }
        }
    }
    return at;
}

static cm_status lay_out(cm_plan *plan)
{
    const cm_graph *g = plan->graph;
    size_t n = (size_t)g->n_values;
    int roots = 0;
    plan->offset = cm_calloc(plan->context, n, sizeof *plan->offset);
    span *spans = cm_calloc(plan->context, n, sizeof *spans);
    span **order = cm_calloc(plan->context, n, sizeof *order);
    if (plan->offset && spans && order) {
        find_lifetimes(plan, spans);
        if (plan->options.share) join_inplace(plan, spans);
        for (int v = 0; v < g->n_values; v++)
            if (spans[v].root == v) order[roots++] = &spans[v];
        qsort(order, (size_t)roots, sizeof *order, larger_first);
        for (int i = 0; i < roots; i++) {
            order[i]->offset = place(order, i, order[i]);
            size_t end = order[i]->offset + order[i]->size;
            if (end > plan->arena) plan->arena = end;
        }
        for (int v = 0; v < g->n_values; v++) plan->offset[v] = spans[spans[v].root].offset;
    }
    cm_status status = plan->offset && spans && order ? CM_OK : CM_ERR_MEMORY;
    cm_free(plan->context, spans);
    cm_free(plan->context, order);
    return status;
}

/* --- plan ---------------------------------------------------------------- */

static cm_status prepare_step(cm_plan *plan, int index, const cm_kernels *kernels)
{
    const cm_graph *g = plan->graph;
    const cm_node *node = &g->nodes[index];
    cm_op_plan *p = &plan->steps[index];
    p->op = node->op;
    p->attr = &node->attr;
    p->context = plan->context;
    p->engine = plan->engine;
    p->kernels = kernels;
    p->threads = plan->options.threads;
    p->n_in = node->n_in;
    for (int k = 0; k < node->n_in; k++) {
        p->in[k] = g->values[node->in[k]].desc;
        p->in[k].n = plan->options.slice;
    }
    p->out = g->values[node->out].desc;
    p->out.n = plan->options.slice;
    if (node->op->prepare) CM_TRY(node->op->prepare(p));
    const char *kernel = p->packer[0] ? cm_dnnl_kernel_name(p->packer[0]) : "";
    if (strncmp(kernel, "ref", 3) == 0)
        cm_log(plan->context, CM_LOG_WARNING, "%s runs on oneDNN's slow reference kernel %s", node->scope, kernel);
    if (p->scratch_bytes > plan->scratch) plan->scratch = p->scratch_bytes;
    return CM_OK;
}

static cm_status build(cm_plan *plan)
{
    const cm_kernels *kernels = cm_kernels_for(cm_dnnl_cpu_level());
    CM_TRY(lay_out(plan));
    CM_TRY(cm_dnnl_engine_create(plan->context, &plan->engine));
    plan->steps = cm_calloc(plan->context, (size_t)plan->graph->n_nodes, sizeof *plan->steps);
    if (!plan->steps) return CM_ERR_MEMORY;
    for (int i = 0; i < plan->graph->n_nodes; i++) CM_TRY(prepare_step(plan, i, kernels));
    cm_log(plan->context, CM_LOG_INFO,
           "planned %d steps for %d threads inside: arena %zu bytes, scratch %zu, kernels %s", plan->graph->n_nodes,
           plan->options.threads, plan->arena, plan->scratch, kernels->name);
    return CM_OK;
}

cm_status cm_plan_create(const cm_graph *graph, const cm_plan_options *options, cm_plan **out)
{
    *out = NULL;
    CM_TRY(cm_graph_finish(graph));
    cm_plan *plan = cm_calloc(graph->context, 1, sizeof *plan);
    if (!plan) return CM_ERR_MEMORY;
    plan->context = graph->context;
    plan->graph = graph;
    plan->options = *options;
    cm_status status = build(plan);
    if (status != CM_OK) cm_plan_free(plan);
    else *out = plan;
    return status;
}

void cm_plan_free(cm_plan *plan)
{
    if (!plan) return;
    for (int i = 0; plan->steps && i < plan->graph->n_nodes; i++)
        if (plan->steps[i].op && plan->steps[i].op->release) plan->steps[i].op->release(&plan->steps[i]);
    cm_free(plan->context, plan->steps);
    cm_free(plan->context, plan->offset);
    cm_dnnl_engine_free(plan->engine);
    cm_free(plan->context, plan);
}

size_t cm_plan_arena_bytes(const cm_plan *plan)
{
    return plan->arena;
}

size_t cm_plan_scratch_bytes(const cm_plan *plan)
{
    return plan->scratch;
}

const char *cm_plan_kernel(const cm_plan *plan, int node, const char **scope)
{
    if (node < 0 || node >= plan->graph->n_nodes) return NULL;
    *scope = plan->graph->nodes[node].scope;
    const cm_dnnl_primitive *primitive = plan->steps[node].packer[0];
    return primitive ? cm_dnnl_kernel_name(primitive) : "";
}

/* --- weights ------------------------------------------------------------- */

static cm_status resolve(const cm_plan *plan, cm_params *params, cm_weights *weights)
{
    for (int i = 0; i < plan->graph->n_nodes; i++)
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
            int index = plan->graph->nodes[i].param[k];
            const cm_dnnl_primitive *packer = plan->steps[i].packer[k];
            const void **to = &weights->pointers[i * CM_OP_MAX_PARAMS + k];
            const float *plain;
            if (index < 0) continue;
            if (packer) {
                CM_TRY(cm_params_packed(params, index, packer, to));
            } else {
                CM_TRY(cm_params_plain(params, index, &plain));
                *to = plain;
            }
        }
    return CM_OK;
}

cm_status cm_weights_create(const cm_plan *plan, cm_params *params, cm_weights **out)
{
    *out = NULL;
    cm_weights *weights = cm_calloc(plan->context, 1, sizeof *weights);
    if (!weights) return CM_ERR_MEMORY;
    weights->context = plan->context;
    weights->pointers =
        cm_calloc(plan->context, (size_t)plan->graph->n_nodes * CM_OP_MAX_PARAMS, sizeof *weights->pointers);
    cm_status status = weights->pointers ? resolve(plan, params, weights) : CM_ERR_MEMORY;
    if (status != CM_OK) cm_weights_free(weights);
    else *out = weights;
    return status;
}

void cm_weights_free(cm_weights *weights)
{
    if (!weights) return;
    cm_free(weights->context, weights->pointers);
    cm_free(weights->context, weights);
}

/* --- exec ---------------------------------------------------------------- */

static cm_status attach(cm_exec *exec)
{
    const cm_plan *plan = exec->plan;
    for (int i = 0; i < plan->graph->n_nodes; i++) {
        const cm_node *node = &plan->graph->nodes[i];
        cm_op_run *run = &exec->runs[i];
        if (node->op->attach) CM_TRY(node->op->attach(&plan->steps[i], &exec->local[i]));
        run->p = &plan->steps[i];
        run->local = exec->local[i];
        run->scratch = exec->scratch;
        run->out = exec->arena + plan->offset[node->out];
        for (int k = 0; k < node->n_in; k++) run->in[k] = exec->arena + plan->offset[node->in[k]];
    }
    return CM_OK;
}

cm_status cm_exec_create(const cm_plan *plan, cm_exec **out)
{
    size_t nodes = (size_t)plan->graph->n_nodes;
    *out = NULL;
    cm_exec *exec = cm_calloc(plan->context, 1, sizeof *exec);
    if (!exec) return CM_ERR_MEMORY;
    exec->plan = plan;
    /* Zeroed, that is touched, once: fresh pages cost more than arithmetic. */
    exec->arena = cm_calloc(plan->context, plan->arena, 1);
    exec->scratch = cm_calloc(plan->context, plan->scratch, 1);
    exec->local = cm_calloc(plan->context, nodes, sizeof *exec->local);
    exec->runs = cm_calloc(plan->context, nodes, sizeof *exec->runs);
    cm_status status = exec->arena && exec->scratch && exec->local && exec->runs ? attach(exec) : CM_ERR_MEMORY;
    if (status != CM_OK) cm_exec_free(exec);
    else *out = exec;
    return status;
}

void cm_exec_free(cm_exec *exec)
{
    if (!exec) return;
    const cm_plan *plan = exec->plan;
    for (int i = 0; exec->local && i < plan->graph->n_nodes; i++)
        if (exec->local[i]) plan->graph->nodes[i].op->detach(&plan->steps[i], exec->local[i]);
    cm_free(plan->context, exec->local);
    cm_free(plan->context, exec->runs);
    cm_free(plan->context, exec->arena);
    cm_free(plan->context, exec->scratch);
    cm_free(plan->context, exec);
}

void *cm_exec_input(cm_exec *exec, int index)
{
    return exec->arena + exec->plan->offset[exec->plan->graph->inputs[index]];
}

const float *cm_exec_output(const cm_exec *exec, int index)
{
    return (const float *)(const void *)(exec->arena + exec->plan->offset[exec->plan->graph->outputs[index]]);
}

cm_status cm_exec_run(cm_exec *exec, const cm_weights *weights)
{
    int n = exec->plan->graph->n_nodes;
    for (int i = 0; i < n; i++) {
        cm_op_run *run = &exec->runs[i];
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++) run->param[k] = weights->pointers[i * CM_OP_MAX_PARAMS + k];
        CM_TRY(run->p->op->forward(run));
    }
    return CM_OK;
}

void cm_exec_poison(cm_exec *exec)
{
    const cm_plan *plan = exec->plan;
    for (int v = 0; v < plan->graph->n_values; v++) {
        /* A value may share memory with an input only after that input's death;
         * so keep the inputs' ranges and spoil the rest. */
        size_t at = plan->offset[v], size = value_bytes(plan, v);
        int overlaps = is_input(plan->graph, v);
        for (int i = 0; i < plan->graph->n_inputs && !overlaps; i++) {
            size_t in = plan->offset[plan->graph->inputs[i]], bytes = value_bytes(plan, plan->graph->inputs[i]);
            overlaps = at < in + bytes && in < at + size;
        }
        if (!overlaps) memset(exec->arena + at, 0xff, size);
    }
    memset(exec->scratch, 0xff, plan->scratch);
}
