/* graph.c - growing the arrays of a description. */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SIDE = 65536, MAX_CHANNELS = 65536, MAX_ELEMENTS = 1 << 30 };

cm_status cmi_graph_create(cm_context *context, cm_graph **out)
{
    *out = cmi_calloc(context, 1, sizeof **out);
    if (!*out) return CM_ERR_MEMORY;
    (*out)->context = context;
    return CM_OK;
}

void cmi_graph_free(cm_graph *graph)
{
    if (!graph) return;
    for (int i = 0; i < graph->n_params; i++) cmi_free(graph->context, graph->params[i].name);
    cmi_free(graph->context, graph->params);
    cmi_free(graph->context, graph->values);
    cmi_free(graph->context, graph->nodes);
    cmi_free(graph->context, graph);
}

void cmi_graph_fail(cm_graph *graph, cm_status status, const char *format, ...)
{
    va_list args;
    if (graph->status != CM_OK) return;
    graph->status = status;
    va_start(args, format);
    (void)vsnprintf(graph->message, sizeof graph->message, format, args);
    va_end(args);
}

cm_status cmi_graph_finish(const cm_graph *graph)
{
    if (graph->status != CM_OK) cmi_message_set(graph->message);
    return graph->status;
}

/* Enlarges an array for one more element; false after a failure. */
static int reserve(cm_graph *graph, void **array, int *capacity, int count, size_t size)
{
    if (graph->status != CM_OK) return 0;
    if (count < *capacity) return 1;
    int larger = *capacity ? 2 * *capacity : 64;
    void *grown = cmi_calloc(graph->context, (size_t)larger, size);
    if (!grown) {
        cmi_graph_fail(graph, CM_ERR_MEMORY, "%s", cm_last_message());
        return 0;
    }
    if (*array) memcpy(grown, *array, (size_t)count * size);
    cmi_free(graph->context, *array);
    *array = grown;
    *capacity = larger;
    return 1;
}

static cm_value add_value(cm_graph *graph, cm_desc desc, int producer)
{
    void *array = graph->values;
    desc.n = 1;
    if (desc.h < 1 || desc.w < 1 || desc.c < 1 || desc.h > MAX_SIDE || desc.w > MAX_SIDE || desc.c > MAX_CHANNELS ||
        (int64_t)desc.h * desc.w > MAX_ELEMENTS / desc.c)
        cmi_graph_fail(graph, CM_ERR_LIMIT, "an activation of %d x %d points with %d channels is out of range",
                       desc.h, desc.w, desc.c);
    if (!reserve(graph, &array, &graph->cap_values, graph->n_values, sizeof *graph->values)) return 0;
    graph->values = array;
    graph->values[graph->n_values] = (cm_graph_value){desc, producer};
    return graph->n_values++;
}

cm_value cmi_graph_input(cm_graph *graph, cm_desc desc)
{
    if (graph->n_inputs == (int)(sizeof graph->inputs / sizeof *graph->inputs))
        cmi_graph_fail(graph, CM_ERR_INTERNAL, "too many graph inputs");
    cm_value v = add_value(graph, desc, -1);
    if (graph->status == CM_OK) graph->inputs[graph->n_inputs++] = v;
    return v;
}

void cmi_graph_output(cm_graph *graph, cm_value value)
{
    if (graph->n_outputs == (int)(sizeof graph->outputs / sizeof *graph->outputs))
        cmi_graph_fail(graph, CM_ERR_INTERNAL, "too many graph outputs");
    if (graph->status == CM_OK) graph->outputs[graph->n_outputs++] = value;
}

int cmi_graph_param(cm_graph *graph, int rank, const int64_t *shape, const char *format, ...)
{
    char name[256];
    void *array = graph->params;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (!reserve(graph, &array, &graph->cap_params, graph->n_params, sizeof *graph->params)) return -1;
    graph->params = array;
    cm_param_desc *p = &graph->params[graph->n_params];
    p->rank = rank;
    for (int i = 0; i < rank; i++) p->shape[i] = shape[i];
    p->name = cmi_strdup(graph->context, name);
    if (!p->name) {
        cmi_graph_fail(graph, CM_ERR_MEMORY, "%s", cm_last_message());
        return -1;
    }
    return graph->n_params++;
}

cm_value cmi_graph_node(cm_graph *graph, const cm_op *op, const cm_attr *attr, const cm_value *in, int n_in,
                        int param0, int param1)
{
    static const cm_attr none;
    cm_desc descs[CM_OP_MAX_IN], out;
    void *array = graph->nodes;
    if (!reserve(graph, &array, &graph->cap_nodes, graph->n_nodes, sizeof *graph->nodes)) return 0;
    graph->nodes = array;
    cm_node *node = &graph->nodes[graph->n_nodes];
    memset(node, 0, sizeof *node);
    node->op = op;
    node->attr = attr ? *attr : none;
    node->n_in = n_in;
    node->param[0] = param0;
    node->param[1] = param1;
    node->scope = param0 >= 0 ? graph->params[param0].name : op->name;
    for (int i = 0; i < n_in; i++) {
        node->in[i] = in[i];
        descs[i] = graph->values[in[i]].desc;
    }
    cm_status status = op->shape(&node->attr, descs, n_in, &out);
    if (status != CM_OK) {
        cmi_graph_fail(graph, status, "%s: %s", node->scope, cm_last_message());
        return 0;
    }
    node->out = add_value(graph, out, graph->n_nodes);
    if (graph->status != CM_OK) return 0;
    return graph->nodes[graph->n_nodes++].out;
}

cm_desc cmi_graph_desc(const cm_graph *graph, cm_value value)
{
    static const cm_desc unit = {1, 1, 1, 1};
    return graph->status == CM_OK ? graph->values[value].desc : unit;
}
