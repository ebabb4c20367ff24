/* plan.c - nodes to prepared ops. */
#include "graph/plan.h"

#include <string.h>

#include "graph/program.h"

static void fill_op(cm_plan *plan, int index, const cm_kernels *kernels, const cm_reach *reach)
{
    const cm_graph *g = plan->graph;
    const cm_node *node = &g->nodes[index];
    cm_op_plan *p = &plan->ops[index];
    p->op = node->op;
    p->attr = &node->attr;
    p->context = plan->context;
    p->kernels = kernels;
    p->threads = (cm_threads){plan->context, plan->options.threads};
    p->mode = plan->options.mode;
    p->small_memory = plan->options.arithmetic.small_memory;
    p->bf16 = plan->options.arithmetic.bf16;
    p->frozen = plan->options.frozen;
    p->n_in = node->n_in;
    for (int k = 0; k < node->n_in; k++) {
        p->in[k] = g->values[node->in[k]].desc;
        p->in[k].n = plan->options.slice;
        p->needs_gradient |= (unsigned)reach->gradient[node->in[k]] << k;
        p->has_tangent |= (unsigned)reach->tangent[node->in[k]] << k;
    }
    p->out = g->values[node->out].desc;
    p->out.n = plan->options.slice;
}

/* With fewer multiply-adds than these in an op, or in the whole network, a second thread
 * costs about what it saves: what one of them made is in the cache of the other.  A value
 * that is passed over counts as several. */
enum { OP_WORTH_THREADS = 1 << 19, NETWORK_WORTH_THREADS = 1 << 28, OF_A_VALUE = 16 };

static double work_of(const cm_op_plan *p)
{
    if (p->op->work) return p->op->work(p);
    double values = (double)cmi_desc_count(p->out);
    for (int k = 0; k < p->n_in; k++) values += (double)cmi_desc_count(p->in[k]);
    return OF_A_VALUE * values;
}

/* Several threads inside where they are worth it. */
static void choose_threads(cm_plan *plan)
{
    double all = 0;
    if (plan->options.threads == 1 || plan->options.all_ops) return;
    for (int i = 0; i < plan->graph->n_nodes; i++) all += work_of(&plan->ops[i]);
    for (int i = 0; i < plan->graph->n_nodes; i++)
        if (all < NETWORK_WORTH_THREADS || work_of(&plan->ops[i]) < OP_WORTH_THREADS)
            plan->ops[i].threads = cmi_one_thread();
}

static cm_status prepare_op(cm_plan *plan, int index)
{
    const cm_node *node = &plan->graph->nodes[index];
    cm_op_plan *p = &plan->ops[index];
    if (p->frozen && node->param[0] >= 0 && !(node->op->flags & CM_OP_FREEZES))
        CM_FAIL(CM_ERR_INTERNAL, "%s: the parameters of %s cannot be frozen", node->scope, node->op->name);
    if (p->has_tangent && !node->op->jvp && !node->op->both)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: the op %s has no derivative in the forward direction", node->scope,
                node->op->name);
    if (p->has_tangent && p->mode == CM_MODE_TRAIN_JVP && !node->op->both_backward &&
        !(node->op->flags & (CM_OP_LINEAR | CM_OP_SELECTS)))
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: the op %s has no gradient through its derivative", node->scope,
                node->op->name);
    if (node->op->prepare) CM_TRY(node->op->prepare(p));
    if (p->scratch_bytes > plan->scratch) plan->scratch = p->scratch_bytes;
    return CM_OK;
}

/* In bfloat16 inference a value is held in bfloat16 where the node that makes it and all
 * that read it offer that; the inner values of residual blocks do, their sums do not. */
static void choose_storage(cm_plan *plan)
{
    const cm_graph *g = plan->graph;
    if (plan->options.mode != CM_MODE_INFER || !plan->options.arithmetic.bf16) return;
    for (int i = 0; i < g->n_nodes; i++) {
        const cm_op_plan *p = &plan->ops[i];
        plan->ops[i].stored_bf16 = p->op->offers_bf16 ? p->op->offers_bf16(p) : 0;
        if (plan->ops[i].stored_bf16 & CM_BF16_OUT) plan->stored_bf16[g->nodes[i].out] = 1;
    }
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_in; k++)
            if (!(plan->ops[i].stored_bf16 >> k & 1)) plan->stored_bf16[g->nodes[i].in[k]] = 0;
    for (int i = 0; i < g->n_outputs; i++) plan->stored_bf16[g->outputs[i]] = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        cm_op_plan *p = &plan->ops[i];
        p->stored_bf16 = plan->stored_bf16[g->nodes[i].out] ? CM_BF16_OUT : 0;
        for (int k = 0; k < g->nodes[i].n_in; k++)
            p->stored_bf16 |= (unsigned)plan->stored_bf16[g->nodes[i].in[k]] << k;
    }
}

static cm_status build_with(cm_plan *plan, const cm_reach *reach)
{
    const cm_kernels *kernels = cmi_kernels_for(cmi_context_cpu_level(plan->context));
    plan->ops = cmi_calloc(plan->context, (size_t)plan->graph->n_nodes, sizeof *plan->ops);
    plan->stored_bf16 = cmi_calloc(plan->context, (size_t)plan->graph->n_values, 1);
    if (!plan->ops || !plan->stored_bf16) return CM_ERR_MEMORY;
    cmi_program_reach(plan, reach);
    for (int i = 0; i < plan->graph->n_nodes; i++) fill_op(plan, i, kernels, reach);
    choose_threads(plan);
    choose_storage(plan);
    for (int i = 0; i < plan->graph->n_nodes; i++) CM_TRY(prepare_op(plan, i));
    CM_TRY(cmi_program_build(plan, reach));
    CM_TRY(cmi_plan_lay_out_gradients(plan));
    cmi_log(plan->context, CM_LOG_INFO,
            "planned %d steps for %d threads inside: arena %zu bytes, scratch %zu, kernels %s", plan->program.n_steps,
            plan->options.threads, plan->program.arena, plan->scratch, kernels->name);
    return CM_OK;
}

static cm_status build(cm_plan *plan)
{
    if (cmi_plan_trains(plan) && plan->options.threads != 1)
        CM_FAIL(CM_ERR_INTERNAL, "plans for training run one thread each");
    const size_t values = (size_t)plan->graph->n_values;
    unsigned char *both = cmi_calloc(plan->context, 2 * values, 1);
    const cm_reach reach = {both, both ? both + values : NULL};
    if (!both) return CM_ERR_MEMORY;
    cm_status status = build_with(plan, &reach);
    cmi_free(plan->context, both);
    return status;
}

cm_status cmi_plan_create(const cm_graph *graph, const cm_plan_options *options, cm_plan **out)
{
    *out = NULL;
    CM_TRY(cmi_graph_finish(graph));
    cm_plan *plan = cmi_calloc(graph->context, 1, sizeof *plan);
    if (!plan) return CM_ERR_MEMORY;
    plan->context = graph->context;
    plan->graph = graph;
    plan->options = *options;
    cm_status status = build(plan);
    if (status != CM_OK) cmi_plan_free(plan);
    else *out = plan;
    return status;
}

void cmi_plan_free(cm_plan *plan)
{
    if (!plan) return;
    for (int i = 0; plan->ops && i < plan->graph->n_nodes; i++)
        if (plan->ops[i].op && plan->ops[i].op->release) plan->ops[i].op->release(&plan->ops[i]);
    cmi_free(plan->context, plan->ops);
    cmi_free(plan->context, plan->stored_bf16);
    cmi_program_release(plan);
    cmi_free(plan->context, plan->gradient);
    cmi_free(plan->context, plan->gradient_size);
    cmi_free(plan->context, plan->reader);
    cmi_free(plan->context, plan);
}

size_t cmi_plan_arena_bytes(const cm_plan *plan)
{
    return plan->program.arena;
}

size_t cmi_plan_scratch_bytes(const cm_plan *plan)
{
    return plan->scratch;
}

size_t cmi_plan_gradient_floats(const cm_plan *plan)
{
    return plan->gradient_floats;
}
