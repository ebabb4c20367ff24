/* plan.c - nodes to prepared ops, the layout of parameter gradients, weights. */
#include "graph/plan.h"

#include <string.h>

#include "base/parallel.h"
#include "graph/program.h"

enum { POINTERS = CM_OP_MAX_PARAMS + 1 }; /* of a node: its parameters, and the first as backward wants it */

/* --- plan ---------------------------------------------------------------- */

static void fill_op(cm_plan *plan, int index, const cm_kernels *kernels, const unsigned char *reached)
{
    const cm_graph *g = plan->graph;
    const cm_node *node = &g->nodes[index];
    cm_op_plan *p = &plan->ops[index];
    p->op = node->op;
    p->attr = &node->attr;
    p->context = plan->context;
    p->engine = plan->engine;
    p->kernels = kernels;
    p->threads = (cm_threads){plan->context, plan->options.threads};
    p->mode = plan->options.mode;
    p->lean = plan->options.arithmetic.lean;
    p->bf16 = plan->options.arithmetic.bf16;
    p->n_in = node->n_in;
    for (int k = 0; k < node->n_in; k++) {
        p->in[k] = g->values[node->in[k]].desc;
        p->in[k].n = plan->options.slice;
        unsigned bit = (unsigned)reached[node->in[k]] << k;
        if (p->mode == CM_MODE_TRAIN) p->needs_gradient |= bit;
        else p->has_tangent |= bit;
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
    double values = (double)cm_desc_count(p->out);
    for (int k = 0; k < p->n_in; k++) values += (double)cm_desc_count(p->in[k]);
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
            plan->ops[i].threads = cm_one_thread();
}

static cm_status prepare_op(cm_plan *plan, int index)
{
    const cm_node *node = &plan->graph->nodes[index];
    cm_op_plan *p = &plan->ops[index];
    if (node->op->prepare) CM_TRY(node->op->prepare(p));
    const cm_packer used[3] = {p->packer[0], p->back_packer, p->unpacker};
    for (int i = 0; i < 3; i++) {
        const char *kernel = cm_packer_kernel(&used[i]);
        if (strncmp(kernel, "ref", 3) == 0)
            cm_log(plan->context, CM_LOG_WARNING, "%s runs on oneDNN's slow reference kernel %s", node->scope,
                   kernel);
    }
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

static size_t whole_lines(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

/* Where the gradient of each parameter lies in a block: where its plain values will,
 * or behind all of these where the layout it comes in takes more room. */
static cm_status lay_out_gradients(cm_plan *plan)
{
    const cm_graph *g = plan->graph;
    plan->gradient = cm_calloc(plan->context, (size_t)g->n_params, sizeof *plan->gradient);
    plan->gradient_size = cm_calloc(plan->context, (size_t)g->n_params, sizeof *plan->gradient_size);
    plan->reader = cm_calloc(plan->context, (size_t)g->n_params, sizeof *plan->reader);
    if (!plan->gradient || !plan->gradient_size || !plan->reader) return CM_ERR_MEMORY;
    for (int i = 0; i < g->n_params; i++) plan->reader[i] = -1;
    if (plan->options.mode != CM_MODE_TRAIN) return CM_OK;
    plan->gradient_floats = cm_param_offsets(g, plan->gradient);
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
            int index = g->nodes[i].param[k];
            if (index < 0) continue;
            if (plan->reader[index] >= 0)
                CM_FAIL(CM_ERR_INTERNAL, "parameter '%s' is read by two nodes", g->params[index].name);
            size_t elements = cm_param_elements(&g->params[index]), floats = elements;
            if (k == 0 && !cm_packer_plain(&plan->ops[i].unpacker))
                floats = (cm_packer_gradient_bytes(&plan->ops[i].unpacker) + sizeof(float) - 1) / sizeof(float);
            plan->reader[index] = i;
            plan->gradient_size[index] = floats;
            if (plan->gradient[index] != SIZE_MAX && floats <= whole_lines(elements)) continue;
            plan->gradient[index] = plan->gradient_floats;
            plan->gradient_floats += whole_lines(floats);
        }
    return CM_OK;
}

static cm_status build_with(cm_plan *plan, unsigned char *reached)
{
    const cm_kernels *kernels = cm_kernels_for(cm_context_cpu_level(plan->context));
    CM_TRY(cm_dnnl_engine_create(plan->context, &plan->engine));
    plan->ops = cm_calloc(plan->context, (size_t)plan->graph->n_nodes, sizeof *plan->ops);
    plan->stored_bf16 = cm_calloc(plan->context, (size_t)plan->graph->n_values, 1);
    if (!plan->ops || !plan->stored_bf16) return CM_ERR_MEMORY;
    cm_program_reach(plan, reached);
    for (int i = 0; i < plan->graph->n_nodes; i++) fill_op(plan, i, kernels, reached);
    choose_threads(plan);
    choose_storage(plan);
    for (int i = 0; i < plan->graph->n_nodes; i++) CM_TRY(prepare_op(plan, i));
    CM_TRY(cm_program_build(plan, reached));
    CM_TRY(lay_out_gradients(plan));
    cm_log(plan->context, CM_LOG_INFO,
           "planned %d steps for %d threads inside: arena %zu bytes, scratch %zu, kernels %s", plan->program.n_steps,
           plan->options.threads, plan->program.arena, plan->scratch, kernels->name);
    return CM_OK;
}

static cm_status build(cm_plan *plan)
{
    if (plan->options.mode == CM_MODE_TRAIN && plan->options.threads != 1)
        CM_FAIL(CM_ERR_INTERNAL, "plans for training run one thread each");
    unsigned char *reached = cm_calloc(plan->context, (size_t)plan->graph->n_values, 1);
    if (!reached) return CM_ERR_MEMORY;
    cm_status status = build_with(plan, reached);
    cm_free(plan->context, reached);
    return status;
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
    for (int i = 0; plan->ops && i < plan->graph->n_nodes; i++)
        if (plan->ops[i].op && plan->ops[i].op->release) plan->ops[i].op->release(&plan->ops[i]);
    cm_free(plan->context, plan->ops);
    cm_free(plan->context, plan->stored_bf16);
    cm_program_release(plan);
    cm_free(plan->context, plan->gradient);
    cm_free(plan->context, plan->gradient_size);
    cm_free(plan->context, plan->reader);
    cm_dnnl_engine_free(plan->engine);
    cm_free(plan->context, plan);
}

size_t cm_plan_arena_bytes(const cm_plan *plan)
{
    return plan->program.arena;
}

size_t cm_plan_scratch_bytes(const cm_plan *plan)
{
    return plan->scratch;
}

size_t cm_plan_gradient_floats(const cm_plan *plan)
{
    return plan->gradient_floats;
}

size_t cm_plan_node_gradient_floats(const cm_plan *plan)
{
    size_t most = 0;
    for (int i = 0; i < plan->graph->n_nodes; i++) {
        size_t sum = 0;
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
            int index = plan->graph->nodes[i].param[k];
            if (index >= 0) sum += whole_lines(plan->gradient_size[index]);
        }
        if (sum > most) most = sum;
    }
    return most;
}

const char *cm_plan_kernel(const cm_plan *plan, int node, const char **scope)
{
    if (node < 0 || node >= plan->graph->n_nodes) return NULL;
    *scope = plan->graph->nodes[node].scope;
    return cm_packer_kernel(&plan->ops[node].packer[0]);
}

/* Bytes that a packer asks for unless `fits`, of the plan beside, gives the same. */
static cm_status packed_size(const cm_packer *packer, const cm_packer *fits, size_t *bytes)
{
    cm_packed_form form;
    CM_TRY(cm_packed_form_of(packer, &form));
    if (!fits || !cm_packed_form_fits(&form, fits)) *bytes += cm_packer_bytes(packer);
    cm_packed_form_release(&form);
    return CM_OK;
}

cm_status cm_plan_packed_bytes(const cm_plan *plan, const cm_plan *beside, size_t *bytes)
{
    *bytes = 0;
    for (int i = 0; i < plan->graph->n_nodes; i++) {
        const cm_op_plan *op = &plan->ops[i], *other = beside ? &beside->ops[i] : NULL;
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
            const int index = plan->graph->nodes[i].param[k];
            if (!cm_packer_plain(&op->packer[k]))
                CM_TRY(packed_size(&op->packer[k], other ? &other->packer[k] : NULL, bytes));
            else if (index >= 0 && plan->graph->params[index].derived.kind && !beside)
                *bytes += cm_param_elements(&plan->graph->params[index]) * sizeof(float);
        }
        if (!cm_packer_plain(&op->back_packer))
            CM_TRY(packed_size(&op->back_packer, other ? &other->back_packer : NULL, bytes));
    }
    return CM_OK;
}

/* --- weights ------------------------------------------------------------- */

struct cm_weights {
    cm_context *context;
    const void **pointers; /* [node][POINTERS] */
};

static cm_status resolve_one(cm_params *params, int index, const cm_packer *packer, const void **to)
{
    const float *plain;
    if (!cm_packer_plain(packer)) return cm_params_packed(params, index, packer, to);
    CM_TRY(cm_params_plain(params, index, &plain));
    *to = plain;
    return CM_OK;
}

static cm_status resolve(const cm_plan *plan, cm_params *params, cm_weights *weights)
{
    for (int i = 0; i < plan->graph->n_nodes; i++) {
        const cm_node *node = &plan->graph->nodes[i];
        const cm_op_plan *op = &plan->ops[i];
        const void **to = &weights->pointers[i * POINTERS];
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++)
            if (node->param[k] >= 0) CM_TRY(resolve_one(params, node->param[k], &op->packer[k], to + k));
        if (op->back_packer.conv || op->back_packer.dnnl)
            CM_TRY(resolve_one(params, node->param[0], &op->back_packer, to + CM_OP_MAX_PARAMS));
    }
    return CM_OK;
}

cm_status cm_weights_create(const cm_plan *plan, cm_params *params, cm_weights **out)
{
    *out = NULL;
    cm_weights *weights = cm_calloc(plan->context, 1, sizeof *weights);
    if (!weights) return CM_ERR_MEMORY;
    weights->context = plan->context;
    weights->pointers = cm_calloc(plan->context, (size_t)plan->graph->n_nodes * POINTERS, sizeof *weights->pointers);
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

void cm_weights_bind(const cm_weights *weights, int node, cm_op_run *run)
{
    const void *const *from = &weights->pointers[node * POINTERS];
    for (int k = 0; k < CM_OP_MAX_PARAMS; k++) run->param[k] = from[k];
    run->back_param = from[CM_OP_MAX_PARAMS];
}

/* --- gradients to plain tensors ---------------------------------------------- */

struct cm_unpacking {
    const cm_plan *plan;
    size_t *offsets;       /* of the plain tensors */
    cm_packed_form *forms; /* of each parameter, zero where it comes plain */
    int threads;
    size_t largest; /* floats of a gradient that is unpacked where it lies */
    float *aside;   /* room for one a thread */
    float *block;   /* of the run at hand */
};

void cm_unpacking_free(cm_unpacking *u)
{
    if (!u) return;
    for (int i = 0; u->forms && i < u->plan->graph->n_params; i++) cm_packed_form_release(&u->forms[i]);
    cm_free(u->plan->context, u->aside);
    cm_free(u->plan->context, u->forms);
    cm_free(u->plan->context, u->offsets);
    cm_free(u->plan->context, u);
}

/* What unpacks parameter i, NULL where it comes plain or nobody wants it. */
static const cm_packer *unpacker_of(const cm_unpacking *u, int i)
{
    const cm_plan *plan = u->plan;
    const int node = plan->reader[i];
    if (node < 0 || u->offsets[i] == SIZE_MAX || plan->graph->nodes[node].param[0] != i) return NULL;
    const cm_packer *packer = &plan->ops[node].unpacker;
    return cm_packer_plain(packer) ? NULL : packer;
}

static cm_status prepare_unpacking(cm_unpacking *u)
{
    const cm_plan *plan = u->plan;
    size_t n = (size_t)plan->graph->n_params;
    u->offsets = cm_calloc(plan->context, n, sizeof *u->offsets);
    u->forms = cm_calloc(plan->context, n, sizeof *u->forms);
    if (!u->offsets || !u->forms) return CM_ERR_MEMORY;
    (void)cm_param_offsets(plan->graph, u->offsets);
    for (int i = 0; i < plan->graph->n_params; i++) {
        const cm_packer *packer = unpacker_of(u, i);
        if (!packer) continue;
        CM_TRY(cm_packed_form_of(packer, &u->forms[i]));
        CM_TRY(cm_packed_form_ready(&u->forms[i], packer));
        if (plan->gradient[i] == u->offsets[i] && plan->gradient_size[i] > u->largest)
            u->largest = plan->gradient_size[i];
    }
    u->largest = whole_lines(u->largest);
    u->aside = cm_calloc(plan->context, (size_t)u->threads * u->largest, sizeof *u->aside);
    return u->aside || !u->largest ? CM_OK : CM_ERR_MEMORY;
}

cm_status cm_unpacking_create(const cm_plan *plan, int threads, cm_unpacking **out)
{
    *out = NULL;
    cm_unpacking *u = cm_calloc(plan->context, 1, sizeof *u);
    if (!u) return CM_ERR_MEMORY;
    u->plan = plan;
    u->threads = threads;
    cm_status status = prepare_unpacking(u);
    if (status != CM_OK) cm_unpacking_free(u);
    else *out = u;
    return status;
}

size_t cm_unpacking_bytes(const cm_unpacking *u)
{
    return (size_t)u->threads * u->largest * sizeof *u->aside;
}

static cm_status unpack_piece(void *user, int index, int worker)
{
    const cm_unpacking *u = user;
    if (!unpacker_of(u, index)) return CM_OK;
    const float *from = u->block + u->plan->gradient[index];
    float *to = u->block + u->offsets[index];
    if (from == to) {
        float *aside = u->aside + (size_t)worker * u->largest;
        from = memcpy(aside, to, u->plan->gradient_size[index] * sizeof *to);
    }
    return cm_packed_form_unpack(&u->forms[index], from, to);
}

cm_status cm_unpacking_run(cm_unpacking *u, float *block)
{
    u->block = block;
    return cm_parallel((cm_threads){u->plan->context, u->threads}, u->plan->graph->n_params, unpack_piece, u);
}
