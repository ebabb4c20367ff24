/* convert.c - cm-convert: a model of any format that is read to one of the formats that are written. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sampling.h"

static const cli_option options[] = {
    {"to", 0, "FORMAT", "{native|torch|diffusers}; else the name of OUT says it, as above"},
    {"dtype", 0, "NAME", "{float32|float16|bfloat16}; else each weight stays as it is"},
    {"weights", 0, "NAME", "which of a checkpoint's sets of weights (ema, model, ...); the average"},
    {"config", 0, "JSON", "the configuration of a file that carries none, or the name of a file with it"},
    {"max-shard-size", 0, "BYTES",
     "diffusers: the most bytes of weights in a file, as in 5G; else there is one file"},
    {"average", 0, "STD", "several IN are power-function averages of a run: the one of this width is made of them"},
    {"images", 0, "N", "where that average ends, in images; where the latest of IN does"},
    {"force", 'f', NULL, "replace what is at OUT"},
    {"overwrite", 0, NULL, "another spelling of --force"},
    {"json", 0, NULL, "print the report as JSON"},
    {"quiet", 'q', NULL, "print neither progress nor a report, but that of --json"},
};
enum { TO, DTYPE, WEIGHTS, CONFIG, SHARD, AVERAGE, IMAGES, FORCE, OVERWRITE, JSON, QUIET, N_OPTIONS };

static const char usage[] =
    "IN OUT [options]\n"
    "       cm-convert --average STD IN... OUT [options]\n"
    "IN is a model of any format: a native file, PyTorch's .pt, EDM's .pkl, flax's msgpack, a\n"
    "folder of diffusers.  OUT ends in .safetensors (native), in .pt or .pth (torch), or is the\n"
    "name of a folder (diffusers)";

typedef struct {
    cm_load_options load;
    cm_save_options save;
    const char *in, *out;
    const char *const *averages; /* n_averages files, or one model */
    int n_averages;
    cm_average_options average; /* std 0: none is wanted */
    int json, quiet;
} conversion;

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static int is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The format that the name of the output says. */
static int32_t format_of(const cli *c, const char *path)
{
    size_t n = strlen(path);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (is_folder(path) || (n && path[n - 1] == '/')) return CM_MODEL_DIFFUSERS;
    if (ends_with(name, ".safetensors")) return CM_MODEL_NATIVE;
    if (ends_with(name, ".pt") || ends_with(name, ".pth")) return CM_MODEL_TORCH;
    if (strchr(name, '.'))
        cli_usage_error(c,
                        "'%s' ends neither in .safetensors nor in .pt or .pth, and a folder's name has no dot: say "
                        "--to native, torch or diffusers",
                        path);
    return CM_MODEL_DIFFUSERS;
}

static int32_t dtype_of(const cli *c, const char *text)
{
    static const char *const names[] = {"float32", "float16", "bfloat16", NULL};
    static const int32_t types[] = {CM_F32, CM_F16, CM_BF16};
    return types[cli_choice(c, "dtype", text, names)];
}

/* "5G" and, as others write it, "5GB". */
static uint64_t shard_of(const cli *c, const char *text)
{
    char number[32];
    size_t n = strlen(text);
    if (n > 1 && n < sizeof number && text[n - 1] == 'B') n--;
    if (n >= sizeof number) n = sizeof number - 1;
    memcpy(number, text, n);
    number[n] = '\0';
    return (uint64_t)cli_integer(c, "max-shard-size", number, 1, INT64_MAX / 2);
}

static void read_operands(cli *c, conversion *v)
{
    const int n = c->n_operands;
    if (v->average.std == 0 && n != 2) cli_usage_error(c, "give a model and where it is to be written");
    if (v->average.std > 0 && n < 2)
        cli_usage_error(c, "give files of averages and where their sum is to be written");
    if (v->average.std == 0 && v->average.images > 0) cli_usage_error(c, "--images has no effect without --average");
    if (v->average.std > 0 && (v->load.weights || v->load.config_json))
        cli_usage_error(c, "--weights and --config have no effect beside --average");
    sampling_paths(c, v->average.std == 0, v->quiet || v->json);
    v->in = c->operands[0];
    v->out = c->operands[n - 1];
    v->averages = c->operands;
    v->n_averages = n - 1;
}

static conversion read_options(cli *c)
{
    conversion v;
    const char *value, *to = NULL;
    memset(&v, 0, sizeof v);
    cm_load_options_init(&v.load, sizeof v.load);
    cm_save_options_init(&v.save, sizeof v.save);
    cm_average_options_init(&v.average, sizeof v.average);
    for (int i; (i = cli_next(c, &value)) >= 0;) {
        if (i == TO) to = value;
        if (i == DTYPE) v.save.dtype = dtype_of(c, value);
        if (i == WEIGHTS) v.load.weights = value;
        if (i == CONFIG) v.load.config_json = cli_json_argument(c, "config", value);
        if (i == SHARD) v.save.shard_bytes = shard_of(c, value);
        if (i == AVERAGE) v.average.std = cli_number(c, "average", value, 1e-6, 0.28);
        if (i == IMAGES) v.average.images = cli_number(c, "images", value, 1, 1e18);
        if (i == FORCE || i == OVERWRITE) v.save.overwrite = CM_OVERWRITE_YES;
        if (i == JSON) v.json = 1;
        if (i == QUIET) v.quiet = 1;
    }
    read_operands(c, &v);
    v.save.format = to ? cli_listed(c, "to", to, "model_formats") : format_of(c, v.out);
    if (v.save.shard_bytes && v.save.format != CM_MODEL_DIFFUSERS)
        cli_usage_error(c, "--max-shard-size has no effect on the format %s, which is one file",
                        cm_choice_name("model_formats", (size_t)v.save.format));
    return v;
}

static void report(const conversion *v, const cm_model *model, double seconds)
{
    cm_model_info i = CM_MODEL_INFO_INIT;
    const char *format = cm_choice_name("model_formats", (size_t)v->save.format);
    (void)cm_model_info_get(model, &i);
    if (v->json) {
        printf("{\"input\": ");
        cli_json_string(stdout, v->in);
        printf(", \"output\": ");
        cli_json_string(stdout, v->out);
        printf(", \"format\": \"%s\", \"network\": \"%s\", \"precond\": \"%s\", \"tensors\": %llu, \"parameters\": "
               "%llu, "
               "\"seconds\": %.3f}\n",
               format, i.network, i.precond, (unsigned long long)i.tensors, (unsigned long long)i.parameters,
               seconds);
    } else if (!v->quiet) {
        printf("%s: %s, precond %s, %llu parameters in %llu tensors, written as %s in %.1f s\n", v->out, i.network,
               i.precond, (unsigned long long)i.parameters, (unsigned long long)i.tensors, format, seconds);
    }
}

static cm_status convert(conversion *v, cm_context *context)
{
    cm_model *model = NULL;
    cli_progress progress;
    double began = cli_seconds();
    cli_progress_begin(&progress, "reading", v->quiet);
    v->load.progress = v->save.progress = cli_progress_step;
    v->load.progress_user = v->save.progress_user = &progress;
    v->average.progress = cli_progress_step;
    v->average.progress_user = &progress;
    cm_status status = v->average.std > 0
                           ? cm_average_reconstruct(context, v->averages, (size_t)v->n_averages, &v->average, &model)
                           : cm_model_load(context, v->in, &v->load, &model);
    cli_progress_end(&progress);
    if (status == CM_OK) {
        cli_progress_begin(&progress, "writing", v->quiet);
        status = cm_model_save(model, v->out, &v->save);
        cli_progress_end(&progress);
    }
    if (status == CM_OK) report(v, model, cli_seconds() - began);
    cm_model_free(model);
    return status;
}

int main(int argc, char **argv)
{
    cli c = {.program = "cm-convert",
             .usage = usage,
             .options = options,
             .n_options = N_OPTIONS,
             .argc = argc,
             .argv = argv};
    cm_context *context = NULL;
    cli_begin();
    conversion v = read_options(&c);
    cli_catch_signals();
    cm_status status = cli_context(&c, &context);
    if (status == CM_OK) status = convert(&v, context);
    int code = status == CM_OK ? CLI_OK : cli_fail(&c, status);
    cm_context_free(context);
    return cli_end(&c, code);
}
