/* Any bytes as the JSON of a network and of a preconditioning; small accepted networks are described too. */
#include "diffusion/model.h"
#include "fuzz/watched.h"
#include "io/json_tree.h"

static cm_status describe(cm_context *context, const json_t *json)
{
    cm_net_config net;
    cm_precond precond;
    cm_graph *graph;
    CM_TRY(cmi_net_config_read(json, &net));
    json_t *edm = json_pack("{s:s}", "type", "edm");
    cm_status status = cmi_precond_read(context, edm, 0, &precond);
    if (status == CM_OK) {
        status = cmi_model_describe(context, &net, &precond, 16, 16, 0, 0, &graph);
        if (status == CM_OK) cmi_graph_free(graph);
        cmi_precond_release(&precond);
    }
    json_decref(edm);
    return status;
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    cm_precond precond;
    json_t *json;
    CM_TRY(cmi_json_tree("input", (const char *)data, size, &json));
    cm_status status = cmi_precond_read(context, json, 0, &precond);
    if (status == CM_OK) {
        (void)cmi_precond_scalings(&precond, 1);
        cmi_precond_release(&precond);
    }
    if (status != CM_ERR_MEMORY) status = describe(context, json);
    json_decref(json);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(work, data, size, 0);
}
