/* probe.c - see the header. */
#include "support/probe.h"

#include <string.h>

#include "graph/exec.h"

const char *probe_kernel(const cm_plan *plan, int node, const char **scope)
{
    if (node < 0 || node >= plan->graph->n_nodes) return NULL;
    *scope = plan->graph->nodes[node].scope;
    return cmi_conv_name(plan->ops[node].packer[0]);
}

void probe_poison(cm_exec *exec)
{
    const cm_program *p = &exec->plan->program;
    for (int b = 0; b < p->n_buffers; b++) {
        /* A buffer may share memory with an input only after that input's death;
         * so keep the inputs' ranges and spoil the rest. */
        size_t offset = p->buffers[b].offset, size = p->buffers[b].size;
        int overlaps = 0;
        for (int i = 0; i < exec->plan->graph->n_inputs && !overlaps; i++) {
            const cm_span *in = &p->buffers[p->input[i]];
            overlaps = offset < in->offset + in->size && in->offset < offset + size;
        }
        if (!overlaps) memset(exec->arena + offset, 0xff, size);
    }
    memset(exec->scratch, 0xff, exec->plan->scratch);
    memset(exec->gradients, 0xff, exec->gradient_floats * sizeof *exec->gradients);
}
