/* recognise.c - the first family that knows the tensors of a file says what network they are. */
#include "nets/recognise.h"

#include "base/json.h"
#include "nets/net.h"
#include "nets/published.h"

/* Where a model came from, for whoever asks it or a file that is made of it. */
static json_t *provenance(const cm_tensors *file, const char *assumed)
{
    const char *weights = cmi_tensors_metadata(file, "weights"), *about = cmi_tensors_metadata(file, CM_NOTE_ABOUT);
    return json_pack("{s:s, s:s*, s:s*, s:s*}", "read_from", file->format->name, "weights", weights, "about", about,
                     "assumed", assumed);
}

static int add(json_t *config, const char *member, json_t *value)
{
    return json_object_get(config, member) || !value ? 0 : json_object_set(config, member, value);
}

/* Single arguments of a network, whose type the file tells. */
static const json_t *single_arguments(const json_t *config)
{
    const json_t *network = json_object_get(config, "network");
    return json_is_object(network) && !json_object_get(network, "type") ? network : NULL;
}

static int add_network(json_t *config, json_t *network)
{
    json_t *given = json_object_get(config, "network");
    return given && single_arguments(config) ? cmi_json_add_missing(given, network) : add(config, "network", network);
}

static cm_status add_all(const cm_tensors *file, const cm_recognised *r, const char *assumed, json_t *config)
{
    json_t *training = provenance(file, assumed);
    int failed = !training || (r->network && add_network(config, r->network)) || add(config, "precond", r->precond) ||
                 add(config, "training", training);
    json_decref(training);
    if (failed) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

/* What the file does not say, from its tensors. */
static cm_status by_tensors(const cm_tensors *file, json_t *config)
{
    cm_status status = CM_OK;
    const json_t *given = single_arguments(config);
    cm_recognised r = {.network = NULL, .given = given};
    const char *absent = json_object_get(config, "network") && !given ? NULL : cmi_absent_network(file);
    if (absent)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: from its tensors' names it is %s, which this library does not have",
                file->input.name, absent);
    for (size_t i = 0; cmi_net_family_at(i) && !r.network && status == CM_OK; i++) {
        const cm_net_family *family = cmi_net_family_at(i);
        if (family->recognise) status = family->recognise(file, &r);
        if (family->names && !r.network && status == CM_OK) status = family->names->recognise(file, &r);
    }
    if (status == CM_OK && r.network) {
        status = add_all(file, &r, r.assumed, config);
        cmi_log(file->context, CM_LOG_WARNING,
                "%s says nothing of its network; from its tensors' names it is %s, assumed: %s", file->input.name,
                json_string_value(json_object_get(r.network, "type")), r.assumed);
    }
    json_decref(r.network);
    json_decref(r.precond);
    return status;
}

/* The format has found a network. */
static cm_status by_format(const cm_tensors *file, json_t *config)
{
    const cm_recognised nothing = {.network = NULL};
    const char *about = cmi_tensors_metadata(file, CM_NOTE_ABOUT);
    const char *assumed = cmi_tensors_metadata(file, CM_NOTE_ASSUMED);
    if (!about) return CM_OK;
    if (assumed) cmi_log(file->context, CM_LOG_WARNING, "%s is %s; assumed: %s", file->input.name, about, assumed);
    return add_all(file, &nothing, assumed, config);
}

cm_status cmi_recognise(const cm_tensors *file, json_t *config)
{
    const char *lacking = cmi_tensors_metadata(file, CM_NOTE_UNSUPPORTED);
    if (cmi_tensors_metadata(file, "consistency.format"))
        return CM_OK; /* a native file that lacks a part is damaged */
    int complete =
        json_object_get(config, "network") && json_object_get(config, "precond") && !single_arguments(config);
    if (!complete && lacking) CM_FAIL(CM_ERR_UNSUPPORTED, "%s: %s", file->input.name, lacking);
    CM_TRY(complete ? by_format(file, config) : by_tensors(file, config));
    return cmi_published_add(file, config);
}
