/* gradients.c - the block of a plan's parameter gradients: its layout, and from there to plain tensors. */
#include "graph/program.h"

#include <string.h>

#include "base/parallel.h"

static size_t whole_lines(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

cm_status cmi_plan_lay_out_gradients(cm_plan *plan)
{
    const cm_graph *g = plan->graph;
    plan->gradient = cmi_calloc(plan->context, (size_t)g->n_params, sizeof *plan->gradient);
    plan->gradient_size = cmi_calloc(plan->context, (size_t)g->n_params, sizeof *plan->gradient_size);
    plan->reader = cmi_calloc(plan->context, (size_t)g->n_params, sizeof *plan->reader);
    if (!plan->gradient || !plan->gradient_size || !plan->reader) return CM_ERR_MEMORY;
    for (int i = 0; i < g->n_params; i++) plan->reader[i] = -1;
    if (!cmi_plan_trains(plan) || plan->options.frozen) return CM_OK;
    plan->gradient_floats = cmi_param_offsets(g, plan->gradient);
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
            int index = g->nodes[i].param[k];
            if (index < 0) continue;
            if (plan->reader[index] >= 0)
                CM_FAIL(CM_ERR_INTERNAL, "parameter '%s' is read by two nodes", g->params[index].name);
            size_t elements = cmi_param_elements(&g->params[index]), floats = elements;
            if (k == 0 && plan->ops[i].unpacker)
                floats = (plan->ops[i].unpacker->bytes + sizeof(float) - 1) / sizeof(float);
            plan->reader[index] = i;
            plan->gradient_size[index] = floats;
            if (plan->gradient[index] != SIZE_MAX && floats <= whole_lines(elements)) continue;
            plan->gradient[index] = plan->gradient_floats;
            plan->gradient_floats += whole_lines(floats);
        }
    return CM_OK;
}

size_t cmi_plan_node_gradient_floats(const cm_plan *plan)
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

int cmi_plan_gradient_at(const cm_plan *plan, int parameter, size_t *first, size_t *floats)
{
    *first = plan->gradient[parameter];
    *floats = plan->gradient_size[parameter];
    return plan->reader[parameter] >= 0 && *first != SIZE_MAX;
}

int cmi_plan_gradient_order(const cm_plan *plan, int *parameters)
{
    int n = 0;
    for (int i = 0; i < plan->program.n_steps; i++) {
        const cm_step *s = &plan->program.steps[i];
        for (int k = 0; k < CM_OP_MAX_PARAMS && s->kind == CM_STEP_BACKWARD; k++) {
            const int index = plan->graph->nodes[s->node].param[k];
            if (index >= 0) parameters[n++] = index;
        }
    }
    return n;
}

int cmi_plan_params(const cm_plan *plan)
{
    return plan->graph->n_params;
}

cm_context *cmi_plan_context(const cm_plan *plan)
{
    return plan->context;
}

/* --- gradients to plain tensors ---------------------------------------------- */

struct cm_unpacking {
    const cm_plan *plan;
    size_t *offsets;             /* of the plain tensors */
    cm_conv_gradient *unpackers; /* of each parameter, zero where it comes plain */
    int threads;
    size_t largest; /* floats of a gradient that is unpacked where it lies */
    float *aside;   /* such gradients, one a thread */
    float *block;   /* of the run at hand */
};

void cmi_unpacking_free(cm_unpacking *u)
{
    if (!u) return;
    cmi_free(u->plan->context, u->aside);
    cmi_free(u->plan->context, u->unpackers);
    cmi_free(u->plan->context, u->offsets);
    cmi_free(u->plan->context, u);
}

/* What makes the gradient of parameter i, NULL where it comes plain or nobody reads it. */
static const cm_conv_gradient *gradient_of(const cm_unpacking *u, int i)
{
    const cm_plan *plan = u->plan;
    const int node = plan->reader[i];
    if (node < 0 || u->offsets[i] == SIZE_MAX || plan->graph->nodes[node].param[0] != i) return NULL;
    return plan->ops[node].unpacker;
}

static cm_status prepare_unpacking(cm_unpacking *u)
{
    const cm_plan *plan = u->plan;
    size_t n = (size_t)plan->graph->n_params;
    u->offsets = cmi_calloc(plan->context, n, sizeof *u->offsets);
    u->unpackers = cmi_calloc(plan->context, n, sizeof *u->unpackers);
    if (!u->offsets || !u->unpackers) return CM_ERR_MEMORY;
    (void)cmi_param_offsets(plan->graph, u->offsets);
    for (int i = 0; i < plan->graph->n_params; i++) {
        const cm_conv_gradient *gradient = gradient_of(u, i);
        if (!gradient) continue;
        u->unpackers[i] = *gradient;
        if (plan->gradient[i] == u->offsets[i] && plan->gradient_size[i] > u->largest)
            u->largest = plan->gradient_size[i];
    }
    u->largest = whole_lines(u->largest);
    u->aside = cmi_calloc(plan->context, (size_t)u->threads * u->largest, sizeof *u->aside);
    return u->aside ? CM_OK : CM_ERR_MEMORY;
}

cm_status cmi_unpacking_create(const cm_plan *plan, int threads, cm_unpacking **out)
{
    *out = NULL;
    cm_unpacking *u = cmi_calloc(plan->context, 1, sizeof *u);
    if (!u) return CM_ERR_MEMORY;
    u->plan = plan;
    u->threads = threads;
    cm_status status = prepare_unpacking(u);
    if (status != CM_OK) cmi_unpacking_free(u);
    else *out = u;
    return status;
}

size_t cmi_unpacking_bytes(const cm_unpacking *u)
{
    return (size_t)u->threads * u->largest * sizeof *u->aside;
}

static cm_status unpack_piece(void *user, int index, int worker)
{
    const cm_unpacking *u = user;
    if (!gradient_of(u, index)) return CM_OK;
    const float *from = u->block + u->plan->gradient[index];
    float *to = u->block + u->offsets[index];
    if (from == to) {
        float *aside = u->aside + (size_t)worker * u->largest;
        from = memcpy(aside, to, u->plan->gradient_size[index] * sizeof *to);
    }
    return cmi_conv_unpack(&u->unpackers[index], from, to);
}

cm_status cmi_unpacking_run(cm_unpacking *u, float *block)
{
    u->block = block;
    return cmi_parallel((cm_threads){u->plan->context, u->threads}, u->plan->graph->n_params, unpack_piece, u);
}
