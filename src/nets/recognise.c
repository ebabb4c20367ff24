/* recognise.c - the first family that knows the tensors of a file says what network they are. */
#include "nets/recognise.h"

#include "nets/net.h"

/* Where a model came from, for whoever asks it or a file that is made of it. */
static json_t *provenance(const cm_tensors *file, const cm_recognised *r)
{
    const char *weights = cmi_tensors_metadata(file, "weights");
    return json_pack("{s:{s:s, s:s*, s:s}}", "read_from", "format", file->format->name, "weights", weights, "assumed",
                     r->assumed);
}

static int add(json_t *config, const char *member, json_t *value)
{
    return json_object_get(config, member) ? 0 : json_object_set(config, member, value);
}

static cm_status add_all(const cm_tensors *file, const cm_recognised *r, json_t *config)
{
    json_t *training = provenance(file, r);
    int failed = !training || add(config, "network", r->network) || add(config, "precond", r->precond) ||
                 add(config, "training", training);
    json_decref(training);
    if (failed) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    cmi_log(file->context, CM_LOG_WARNING,
            "%s says nothing of its network; from its tensors' names it is %s, assumed: %s", file->input.name,
            json_string_value(json_object_get(r->network, "type")), r->assumed);
    return CM_OK;
}

cm_status cmi_recognise(const cm_tensors *file, json_t *config)
{
    cm_status status = CM_OK;
    cm_recognised r = {.network = NULL};
    if (json_object_get(config, "network") && json_object_get(config, "precond")) return CM_OK;
    if (cmi_tensors_metadata(file, "consistency.format"))
        return CM_OK; /* a native file that lacks a part is damaged */
    for (size_t i = 0; cmi_net_family_at(i) && !r.network && status == CM_OK; i++)
        if (cmi_net_family_at(i)->recognise) status = cmi_net_family_at(i)->recognise(file, &r);
    if (status == CM_OK && r.network) status = add_all(file, &r, config);
    json_decref(r.network);
    json_decref(r.precond);
    return status;
}
