/* describing_json.c - a file of tensors as JSON. */
#include <inttypes.h>

#include "describing.h"

static const char *const kinds[] = {"tensors", "model", "misfit", "optimizer"};

static void print_member(const char *name, const char *value)
{
    printf(", \"%s\": ", name);
    if (value) cli_json_string(stdout, value);
    else printf("null");
}

static cm_status json_of_tensors(const cm_checkpoint *file, uint64_t n)
{
    printf(", \"tensors\": [");
    for (size_t i = 0; i < n; i++) {
        const char *name;
        int32_t rank, dtype;
        int64_t shape[8];
        cm_status status = cm_checkpoint_tensor(file, i, &name, &rank, shape, &dtype);
        if (status != CM_OK) return status;
        printf("%s{\"name\": ", i ? ", " : "");
        cli_json_string(stdout, name);
        printf(", \"dtype\": \"%s\", \"shape\": [", describe_dtype(dtype));
        for (int k = 0; k < rank; k++) printf("%s%" PRId64, k ? ", " : "", shape[k]);
        printf("]}");
    }
    printf("]");
    return CM_OK;
}

static void json_of_classes(const cm_model *model, int32_t classes)
{
    const int named = describe_has_classes(model, classes);
    printf(", \"classes\": [");
    for (int32_t k = 0; named && k < classes; k++) {
        const char *name = cm_model_class_name(model, k);
        fputs(k ? ", " : "", stdout);
        if (name) cli_json_string(stdout, name);
        else printf("null");
    }
    printf("]");
}

static cm_status json_of_model(const cm_model *model)
{
    cm_model_info i = CM_MODEL_INFO_INIT;
    cm_status status = cm_model_info_get(model, &i);
    if (status != CM_OK) return status;
    printf(", \"is_consistency\": %s, \"parameters\": %" PRIu64 ", \"weight_bytes\": %" PRIu64
           ", \"channels\": %d, \"height\": %d, \"width\": %d, \"num_classes\": %d, \"sigma_min\": ",
           i.is_consistency ? "true" : "false", i.parameters, i.weight_bytes, i.channels, i.height, i.width,
           i.num_classes);
    cli_json_number(stdout, 9, i.sigma_min);
    printf(", \"sigma_max\": ");
    cli_json_number(stdout, 9, i.sigma_max);
    printf(", \"sigma_data\": ");
    cli_json_number(stdout, 9, i.sigma_data);
    json_of_classes(model, i.num_classes);
    printf(", \"config\": %s", i.config_json);
    return CM_OK;
}

static void json_of_lists(const cm_checkpoint *file, const cm_checkpoint_info *i)
{
    const char *key, *value;
    print_member("weights", i->weights);
    printf(", \"sets\": [");
    for (size_t k = 0; k < i->sets; k++) {
        fputs(k ? ", " : "", stdout);
        cli_json_string(stdout, cm_checkpoint_set_name(file, k));
    }
    printf("], \"notes\": [");
    for (size_t k = 0; k < i->notes && cm_checkpoint_note(file, k, &key, &value) == CM_OK; k++) {
        printf(k ? ", [" : "[");
        cli_json_string(stdout, key);
        printf(", ");
        cli_json_string(stdout, value);
        printf("]");
    }
    printf("]");
}

static void json_of_report(const cm_checkpoint_report *r, char *const *findings, size_t n)
{
    printf(", \"check\": {\"is_sound\": %s, \"bytes\": %" PRIu64 ", \"checksums\": %" PRIu64
           ", \"without_checksum\": %" PRIu64 ", \"nan_values\": %" PRIu64 ", \"infinite_values\": %" PRIu64
           ", \"nonfinite_tensors\": %" PRIu64 ", \"findings\": [",
           r->is_sound ? "true" : "false", r->bytes, r->checksums, r->without_checksum, r->nan_values,
           r->infinite_values, r->nonfinite_tensors);
    for (size_t k = 0; k < n; k++) {
        fputs(k ? ", " : "", stdout);
        cli_json_string(stdout, findings[k]);
    }
    printf("]}");
}

cm_status describe_json(const char *path, const cm_checkpoint *file, int all_tensors,
                        const cm_checkpoint_report *report, char *const *findings, size_t n_findings)
{
    cm_checkpoint_info i = CM_CHECKPOINT_INFO_INIT;
    cm_status status = cm_checkpoint_info_get(file, &i);
    if (status != CM_OK) return status;
    printf("{\"path\": ");
    cli_json_string(stdout, path);
    print_member("format", i.format);
    print_member("kind", kinds[i.kind]);
    print_member("about", i.about);
    print_member("network", i.network);
    print_member("precond", i.precond);
    print_member("problem", i.problem);
    printf(", \"bytes\": %" PRIu64 ", \"tensor_count\": %" PRIu64 ", \"values\": %" PRIu64
           ", \"tensor_bytes\": %" PRIu64,
           i.bytes, i.tensors, i.values, i.tensor_bytes);
    if (i.kind == CM_CHECKPOINT_MODEL) status = json_of_model(cm_checkpoint_model(file));
    json_of_lists(file, &i);
    if (report) json_of_report(report, findings, n_findings);
    if (all_tensors && status == CM_OK) status = json_of_tensors(file, i.tensors);
    printf("}\n");
    return status;
}
