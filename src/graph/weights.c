/* weights.c - a plan meets a parameter set: what each node's parameters are packed for, and where they lie. */
#include "graph/program.h"

enum { POINTERS = CM_OP_MAX_PARAMS + 1 }; /* of a node: its parameters, and the first as backward reads it */

/* Bytes of the weights that a convolution packs unless those of `other`, of the plan beside, serve it. */
static size_t packed_bytes(const cm_convolution *conv, const cm_convolution *other)
{
    return other && cmi_conv_same_weights(other, conv) ? 0 : conv->packed_bytes;
}

cm_status cmi_plan_packed_bytes(const cm_plan *plan, const cm_plan *beside, size_t *bytes)
{
    *bytes = 0;
    for (int i = 0; i < plan->graph->n_nodes; i++) {
        const cm_op_plan *op = &plan->ops[i], *other = beside ? &beside->ops[i] : NULL;
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
            const int index = plan->graph->nodes[i].param[k];
            if (!cmi_conv_reads_plain(op->packer[k]))
                *bytes += packed_bytes(op->packer[k], other ? other->packer[k] : NULL);
            else if (index >= 0 && plan->graph->params[index].derived.kind && !beside)
                *bytes += cmi_param_elements(&plan->graph->params[index]) * sizeof(float);
        }
        if (!cmi_conv_reads_plain(op->back_packer))
            *bytes += packed_bytes(op->back_packer, other ? other->back_packer : NULL);
    }
    return CM_OK;
}

size_t cmi_plan_derived_bytes(const cm_plan *plan)
{
    size_t bytes = 0;
    for (int i = 0; i < plan->graph->n_nodes; i++)
        for (int k = 0; k < CM_OP_MAX_PARAMS; k++) {
            const int index = plan->graph->nodes[i].param[k];
            if (index >= 0 && cmi_conv_reads_plain(plan->ops[i].packer[k]) && plan->graph->params[index].derived.kind)
                bytes += cmi_param_elements(&plan->graph->params[index]) * sizeof(float);
        }
    return bytes;
}

struct cm_weights {
    cm_context *context;
    const void **pointers; /* [node][POINTERS] */
};

static cm_status resolve_one(cm_params *params, int index, const cm_convolution *packer, const void **to)
{
    const float *plain;
    if (!cmi_conv_reads_plain(packer)) return cmi_params_packed(params, index, packer, to);
    CM_TRY(cmi_params_plain(params, index, &plain));
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
            if (node->param[k] >= 0) CM_TRY(resolve_one(params, node->param[k], op->packer[k], to + k));
        if (op->back_packer) CM_TRY(resolve_one(params, node->param[0], op->back_packer, to + CM_OP_MAX_PARAMS));
    }
    return CM_OK;
}

cm_status cmi_weights_create(const cm_plan *plan, cm_params *params, cm_weights **out)
{
    *out = NULL;
    cm_weights *weights = cmi_calloc(plan->context, 1, sizeof *weights);
    if (!weights) return CM_ERR_MEMORY;
    weights->context = plan->context;
    weights->pointers = cmi_calloc(plan->context, (size_t)plan->graph->n_nodes * POINTERS, sizeof *weights->pointers);
    cm_status status = weights->pointers ? resolve(plan, params, weights) : CM_ERR_MEMORY;
    if (status != CM_OK) cmi_weights_free(weights);
    else *out = weights;
    return status;
}

void cmi_weights_free(cm_weights *weights)
{
    if (!weights) return;
    cmi_free(weights->context, weights->pointers);
    cmi_free(weights->context, weights);
}

void cmi_weights_bind(const cm_weights *weights, int node, cm_op_run *run)
{
    const void *const *from = &weights->pointers[node * POINTERS];
    for (int k = 0; k < CM_OP_MAX_PARAMS; k++) run->param[k] = from[k];
    run->back_param = from[CM_OP_MAX_PARAMS];
}
