/* Any bytes as the JSON of a network and of a preconditioning; small accepted
 * networks are described too. */
#include <stdint.h>

#include "diffusion/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cm_context *context;
    cm_net_config net;
    cm_precond precond;
    cm_graph *graph;
    json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (json && cm_context_create(NULL, &context) == CM_OK) {
        json_t *edm = json_pack("{s:s}", "type", "edm");
        if (cmi_precond_read(context, json, 0, &precond) == CM_OK) {
            (void)cmi_precond_scalings(&precond, 1);
            cmi_precond_release(&precond);
        }
        if (cmi_net_config_read(json, &net) == CM_OK && cmi_precond_read(context, edm, 0, &precond) == CM_OK) {
            if (cmi_model_describe(context, &net, &precond, 16, 16, 0, 0, &graph) == CM_OK) cmi_graph_free(graph);
            cmi_precond_release(&precond);
        }
        json_decref(edm);
        cm_context_free(context);
    }
    json_decref(json);
    return 0;
}
