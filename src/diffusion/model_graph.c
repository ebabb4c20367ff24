/* model_graph.c - the network and its preconditioning as one graph, D(x; sigma). */
#include "diffusion/model.h"
#include "nets/fold.h"

static cm_value vector_input(cm_graph *g, int32_t size)
{
    return cmi_graph_input(g, (cm_desc){1, 1, 1, size});
}

static void describe(cm_graph *g, const cm_net_config *net, const cm_precond *precond, int32_t height, int32_t width)
{
    cm_value x = cmi_graph_input(g, (cm_desc){1, height, width, net->in_channels});
    cm_value c_in = vector_input(g, 1), c_skip = vector_input(g, 1), c_out = vector_input(g, 1);
    cm_net_inputs in = {x,
                        vector_input(g, 1),
                        vector_input(g, 1),
                        vector_input(g, net->augment_dim ? net->augment_dim : 1),
                        vector_input(g, 1),
                        vector_input(g, net->conditions ? net->conditions : 1)};
    if (!precond->kind->unit_input) {
        const cm_value scaled[2] = {x, c_in};
        in.x = cmi_graph_node(g, &cmi_op_scale, NULL, scaled, 2, -1, -1);
    }
    cm_value f = net->family->describe(g, net, &in), d = f;
    if (!precond->kind->raw) {
        const cm_value mixed[4] = {x, f, c_skip, c_out};
        d = cmi_graph_node(g, &cmi_op_mix, NULL, mixed, 4, -1, -1);
    }
    cmi_graph_output(g, f);
    cmi_graph_output(g, d);
}

cm_status cmi_model_describe(cm_context *context, const cm_net_config *net, const cm_precond *precond, int32_t height,
                             int32_t width, double dropout, int folded, cm_graph **out)
{
    CM_TRY(cmi_graph_create(context, out));
    (*out)->dropout = dropout;
    (*out)->folded = folded;
    describe(*out, net, precond, height, width);
    if (folded) cmi_fold_last(*out);
    cm_status status = cmi_graph_finish(*out);
    if (status != CM_OK) {
        cmi_graph_free(*out);
        *out = NULL;
    }
    return status;
}

cm_status cmi_model_describe_both(cm_model *m)
{
    CM_TRY(cmi_model_describe(m->context, &m->net, &m->precond, m->height, m->width, 0, 0, &m->graph));
    CM_TRY(cmi_model_describe(m->context, &m->net, &m->precond, m->height, m->width, 0, 1, &m->inference));
    m->sources = cmi_calloc(m->context, (size_t)m->inference->n_params, sizeof *m->sources);
    return m->sources ? CM_OK : CM_ERR_MEMORY;
}
