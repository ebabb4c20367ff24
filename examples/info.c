/* info.c - cm-info: what a model file holds, and what this machine is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const cli_option options[] = {
    {"tensors", 0, NULL, "list every tensor with its shape"},
    {"config", 0, "JSON", "the configuration of a file that carries none, or the name of a file with it"},
    {"weights", 0, "NAME", "which of a checkpoint's sets of weights (ema, model, ...); the average"},
    {"machine", 0, NULL, "show the version, the libraries and the instruction set"},
    {"json", 0, NULL, "print the report as JSON"},
    {"quiet", 'q', NULL, "print no report: the exit code says whether the file is a good model"},
};
enum { TENSORS, CONFIG, WEIGHTS, MACHINE, JSON, QUIET, N_OPTIONS };

static const char *dtype_name(int32_t dtype)
{
    return dtype == CM_F32 ? "F32" : dtype == CM_BF16 ? "BF16" : "F16";
}

static cm_status list_tensors(const cm_model *model, int json)
{
    size_t n = cm_model_param_count(model);
    for (size_t i = 0; i < n; i++) {
        const char *name;
        int32_t rank, dtype;
        int64_t shape[8];
        cm_status status = cm_model_param_info(model, i, &name, &rank, shape, &dtype);
        if (status != CM_OK) return status;
        if (json) {
            printf("%s{\"name\": ", i ? ", " : "");
            cli_json_string(stdout, name);
            printf(", \"dtype\": \"%s\", \"shape\": [", dtype_name(dtype));
        } else {
            printf("  %-56s %-4s [", name, dtype_name(dtype));
        }
        for (int k = 0; k < rank; k++) printf("%s%" PRId64, k ? ", " : "", shape[k]);
        printf(json ? "]}" : "]\n");
    }
    return CM_OK;
}

static int has_names(const cm_model *model, int32_t classes)
{
    for (int32_t k = 0; k < classes; k++)
        if (cm_model_class_name(model, k)) return 1;
    return 0;
}

/* The mapping from numbers to names: all of it as JSON, else the beginning of a long one. */
static void list_classes(const cm_model *model, int32_t classes, int json)
{
    enum { SHOWN = 100 };
    int named = has_names(model, classes);
    fputs(json ? ", \"classes\": [" : named ? "  classes     " : "", stdout);
    for (int32_t k = 0; named && k < classes; k++) {
        const char *name = cm_model_class_name(model, k);
        if (json) {
            fputs(k ? ", " : "", stdout);
            if (name) cli_json_string(stdout, name);
            else printf("null");
        } else if (k < SHOWN) {
            printf("%s %d %s", k ? "," : "", k, name ? name : "(no name)");
        }
    }
    if (json) printf("]");
    else if (named) printf(classes > SHOWN ? ", ... (%d in all)\n" : "\n", classes);
}

static cm_status describe(const char *path, const cm_model *model, int json, int tensors)
{
    cm_model_info i;
    cm_model_info_init(&i, sizeof i);
    cm_status status = cm_model_info_get(model, &i);
    if (status != CM_OK) return status;
    if (!json) {
        printf("%s\n  network      %s, %" PRIu64 " parameters in %" PRIu64 " tensors, %.1f MiB\n", path, i.network,
               i.parameters, i.tensors, (double)i.weight_bytes / 1048576);
        printf("  images       %d x %d, %d channel%s, %d classes\n", i.width, i.height, i.channels,
               i.channels == 1 ? "" : "s", i.num_classes);
        list_classes(model, i.num_classes, 0);
        printf("  precond      %s: %s model, sigma %g..%g, sigma_data %g\n", i.precond,
               i.is_consistency ? "consistency" : "diffusion", i.sigma_min, i.sigma_max, i.sigma_data);
        printf("  configuration %s\n", i.config_json);
        return tensors ? list_tensors(model, 0) : CM_OK;
    }
    printf("{\"path\": ");
    cli_json_string(stdout, path);
    printf(", \"network\": \"%s\", \"precond\": \"%s\", \"is_consistency\": %s, \"parameters\": %" PRIu64
           ", \"tensor_count\": %" PRIu64 ", \"weight_bytes\": %" PRIu64
           ", \"channels\": %d, \"height\": %d, \"width\": %d, \"num_classes\": %d, \"sigma_min\": ",
           i.network, i.precond, i.is_consistency ? "true" : "false", i.parameters, i.tensors, i.weight_bytes,
           i.channels, i.height, i.width, i.num_classes);
    cli_json_number(stdout, 9, i.sigma_min);
    printf(", \"sigma_max\": ");
    cli_json_number(stdout, 9, i.sigma_max);
    printf(", \"sigma_data\": ");
    cli_json_number(stdout, 9, i.sigma_data);
    list_classes(model, i.num_classes, 1);
    printf(", \"config\": %s", i.config_json);
    if (tensors) {
        printf(", \"tensors\": [");
        status = list_tensors(model, 1);
        printf("]");
    }
    printf("}\n");
    return status;
}

int main(int argc, char **argv)
{
    cli c = {"cm-info", "MODEL.safetensors [options]   or   cm-info --machine",
             options,   N_OPTIONS,
             argc,      0,
             argv,      {NULL},
             0,         NULL,
             NULL};
    cm_model *model = NULL;
    cm_load_options load;
    const char *value;
    int tensors = 0, json = 0, machine = 0, quiet = 0;
    cli_begin();
    cm_load_options_init(&load, sizeof load);
    for (int i; (i = cli_next(&c, &value)) >= 0;) {
        if (i == TENSORS) tensors = 1;
        if (i == CONFIG) load.config_json = cli_json_argument(&c, "config", value);
        if (i == WEIGHTS) load.weights = value;
        if (i == MACHINE) machine = 1;
        if (i == JSON) json = 1;
        if (i == QUIET) quiet = 1;
    }
    if (quiet && (tensors || json || machine))
        cli_usage_error(&c, "--quiet prints nothing: leave out what asks for a report");
    if (machine) {
        if (c.n_operands) cli_usage_error(&c, "--machine takes no file");
        if (json) {
            printf("{\"build\": ");
            cli_json_string(stdout, cm_build_info());
            printf("}\n");
        } else {
            printf("%s\n", cm_build_info());
        }
        return cli_end(&c, CLI_OK);
    }
    if (c.n_operands != 1) cli_usage_error(&c, "give one model file");
    cm_context *context = NULL;
    cm_status status = cli_context(&c, &context);
    if (status == CM_OK) status = cm_model_load(context, c.operands[0], &load, &model);
    cm_context_free(context); /* the model keeps it */
    if (status == CM_OK && !quiet) status = describe(c.operands[0], model, json, tensors);
    int code = status == CM_OK ? CLI_OK : cli_fail(&c, status);
    cm_model_free(model);
    return cli_end(&c, code);
}
