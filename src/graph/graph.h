/* graph.h - a network described once: nodes, values and parameters as plain
 * arrays of indices.
 *
 * The builder keeps a sticky status: a description reads top to bottom without
 * checks and asks once at the end (cmi_graph_finish).  After a failure every
 * call returns value 0 and does nothing. */
#ifndef CM_GRAPH_GRAPH_H
#define CM_GRAPH_GRAPH_H

#include "ops/op.h"

typedef int cm_value; /* index of a value */

typedef struct cm_graph_value {
    cm_desc desc; /* with n = 1: a plan sets the slice */
    int producer; /* node, or -1 for an input          */
} cm_graph_value;

typedef struct cm_node {
    const cm_op *op;
    cm_attr attr;
    int in[CM_OP_MAX_IN], n_in, out;
    int param[CM_OP_MAX_PARAMS]; /* index of a parameter or -1 */
    const char *scope;           /* where in the network: the name of its parameters' module */
} cm_node;

/* A parameter that follows from others of the graph: how is the networks' own matter (nets/fold.h). */
typedef struct cm_derived {
    int kind; /* 0: it is the file's */
    int layout, from[4];
    double factor;
} cm_derived;

/* A tensor the graph needs: its name in the checkpoint and its shape there. */
typedef struct cm_param_desc {
    char *name;
    int rank;
    int64_t shape[4];
    int constant; /* a buffer that follows from the configuration: no node reads it */
    int exact;    /* no weight but a table: whoever rounds the weights leaves it as it is */
    cm_derived derived;
} cm_param_desc;

enum { CM_GRAPH_INPUTS = 10 }; /* the most that a graph has */

typedef struct cm_graph {
    cm_context *context; /* borrowed */
    cm_graph_value *values;
    cm_node *nodes;
    cm_param_desc *params;
    int n_values, n_nodes, n_params;
    int cap_values, cap_nodes, cap_params;
    int inputs[CM_GRAPH_INPUTS], n_inputs;
    int outputs[8], n_outputs;
    double dropout; /* probability, 0 = a network without; set before describing */
    int folded;     /* attention of one head in its short form (nets/fold.h); set before describing */
    int n_dropouts;
    cm_status status; /* sticky, with its message */
    char message[512];
} cm_graph;

cm_status cmi_graph_create(cm_context *context, cm_graph **out);
void cmi_graph_free(cm_graph *graph);

/* desc.n is ignored.  Inputs and outputs are numbered in the order made. */
cm_value cmi_graph_input(cm_graph *graph, cm_desc desc);
void cmi_graph_output(cm_graph *graph, cm_value value);
int cmi_graph_param(cm_graph *graph, int rank, const int64_t *shape, const char *format, ...) CM_PRINTF(4, 5);
/* params: indices, -1 for none; scope is copied from the first parameter. */
cm_value cmi_graph_node(cm_graph *graph, const cm_op *op, const cm_attr *attr, const cm_value *in, int n_in,
                        int param0, int param1);
cm_desc cmi_graph_desc(const cm_graph *graph, cm_value value);
void cmi_graph_fail(cm_graph *graph, cm_status status, const char *format, ...) CM_PRINTF(3, 4);
cm_status cmi_graph_finish(const cm_graph *graph);

#endif
