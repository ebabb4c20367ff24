/* sampling.c - the options of sampling, taken by name. */
#include "sampling.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

void sampling_init(sampling *s)
{
    memset(s, 0, sizeof *s);
    cm_sampler_options_init(&s->sampler, sizeof s->sampler);
    cm_sample_options_init(&s->sample, sizeof s->sample);
}

/* Options with a whole number. */
static int whole(sampling *s, const cli *c, const char *name, const char *value)
{
    const struct {
        const char *name;
        int32_t *out;
        int64_t low, high;
    } rows[] = {{"steps", &s->sample.steps, 1, 1000000},
                {"grid", &s->sample.grid, 2, 1000000},
                {"order", &s->sample.dpmpp_order, 1, 3},
                {"max-nfe", &s->sample.rk45_max_nfe, 8, 1000000},
                {"corrections", &s->sample.pc_corrections, 1, 100},
                {"batch", &s->sampler.max_batch, 1, 65536},
                {"threads", &s->sampler.threads, 1, 256}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(name, rows[i].name) == 0) {
            *rows[i].out = (int32_t)cli_integer(c, name, value, rows[i].low, rows[i].high);
            return 1;
        }
    return 0;
}

void sampling_option(sampling *s, const cli *c, const char *name, const char *value)
{
    cm_sample_options *o = &s->sample;
#define IS(word) (strcmp(name, word) == 0)
    if (whole(s, c, name, value)) return;
    if (IS("method")) o->method = cli_listed(c, name, value, "methods");
    else if (IS("sigmas")) o->sigma_count = cli_list(c, name, value, s->sigmas, SAMPLING_MOST), o->sigmas = s->sigmas;
    else if (IS("ts")) o->ts_count = cli_integers(c, name, value, 0, s->ts, SAMPLING_MOST), o->ts = s->ts;
    else if (IS("times")) s->times = value;
    else if (IS("rho")) o->rho = cli_number(c, name, value, 0.5, 1e3);
    else if (IS("form")) o->dpmpp_form = cli_listed(c, name, value, "dpmpp_forms");
    else if (IS("end")) o->dpmpp_end = cli_listed(c, name, value, "dpmpp_ends");
    else if (IS("rtol")) o->rk45_rtol = cli_number(c, name, value, 1e-10, 1);
    else if (IS("atol")) o->rk45_atol = cli_number(c, name, value, 1e-10, 1);
    else if (IS("snr")) o->pc_snr = cli_number(c, name, value, 1e-6, 10);
    else if (IS("temperature")) o->temperature = cli_number(c, name, value, 0.1, 2);
    else if (IS("guidance")) {
        s->condition.guidance = cli_number(c, name, value, 1e-6, 1e6);
        s->condition.struct_size = sizeof s->condition;
        o->condition = &s->condition;
    } else if (IS("churn")) o->s_churn = cli_number(c, name, value, 0, 1e6);
    else if (IS("no-clip")) o->clip_denoised = CM_CLIP_NO;
    else if (IS("seed")) o->seed = cli_seed(c, name, value);
    else if (IS("first")) o->first_index = (uint64_t)cli_integer(c, name, value, 0, INT64_MAX);
    else if (IS("torch-noise")) o->noise_source = CM_NOISE_TORCH_IMAGE;
    else if (IS("precision") || IS("dtype")) s->sampler.precision = cli_listed(c, name, value, "precisions");
    else if (IS("memory")) s->sampler.memory = cli_listed(c, name, value, "memories");
    else if (IS("debug")) s->sampler.debug = value;
    else if (IS("config")) s->config = cli_json_argument(c, name, value);
    else if (IS("weights")) s->weights = value;
    else if (IS("below")) s->below = value;
    else if (IS("border")) s->sampler.border = cli_number(c, name, value, 1e-6, 1e9);
    else cli_usage_error(c, "--%s is read by nothing: please report it", name);
#undef IS
}

void sampling_times(sampling *s, const cli *c)
{
    cm_sample_options *o = &s->sample;
    if (!s->times) return;
    if (o->sigmas || o->ts || o->grid || o->rho > 0)
        cli_usage_error(c, "--%s has no effect with --times",
                        o->sigmas ? "sigmas"
                        : o->ts   ? "ts"
                        : o->grid ? "grid"
                                  : "rho");
    if (o->method != CM_METHOD_DEFAULT && o->method != CM_METHOD_MULTISTEP)
        cli_usage_error(c, "--times is for the method multistep, not %s",
                        cm_choice_name("methods", (size_t)o->method));
    o->sigma_count = times_read(c, s->times, o->steps, s->sigmas, SAMPLING_MOST, s->times_model);
    o->sigmas = s->sigmas;
    o->steps = 0; /* has said which list */
    o->method = CM_METHOD_MULTISTEP;
}

/* Whether the levels of --times are of this model. */
static cm_status check_times(const sampling *s, const cli *c, const char *path, const cm_model *model)
{
    char found[TIMES_MODEL], levels[512];
    if (!s->times) return CM_OK;
    const cm_status status = times_model(model, found);
    times_text(s->sigmas, s->sample.sigma_count, levels, sizeof levels);
    if (status == CM_OK && strcmp(found, s->times_model) != 0)
        cli_usage_error(c,
                        "--times %s: its levels were found for a model with weights %s, and those of %s are %s; give "
                        "them as --sigmas %s to use them all the same",
                        s->times, s->times_model, path, found, levels);
    return status;
}

double sampling_temperature(const sampling *s)
{
    return s->sample.temperature > 0 ? s->sample.temperature : 1;
}

double sampling_guidance(const sampling *s)
{
    return s->condition.guidance > 0 ? s->condition.guidance : 1;
}

const char *sampling_unusual(const sampling *s, char text[SAMPLING_UNUSUAL])
{
    const double heat = sampling_temperature(s), scale = sampling_guidance(s);
    int n = 0;
    text[0] = 0;
    if (heat != 1) n = snprintf(text, SAMPLING_UNUSUAL, ", temperature %g", heat);
    if (scale != 1) (void)snprintf(text + n, SAMPLING_UNUSUAL - (size_t)n, ", guidance %g", scale);
    return text;
}

size_t sampling_batch(const sampling *s)
{
    return s->sampler.max_batch ? (size_t)s->sampler.max_batch : 16;
}

const char *sampling_path(const cli *c, const char *path, int quiet, char found[SAMPLING_PATH])
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return path;
    const cm_status status = cm_run_model_path(NULL, path, found, SAMPLING_PATH);
    if (status == CM_ERR_ARGUMENT) return path; /* a folder of another kind */
    if (status != CM_OK) exit(cli_fail(c, status));
    if (quiet) return found;
    fprintf(stderr, "%s: ", c->program);
    cli_print_text(stderr, found, 0);
    fprintf(stderr, " is used\n");
    return found;
}

void sampling_paths(cli *c, int n, int quiet)
{
    char found[SAMPLING_PATH];
    for (int i = 0; i < n && i < c->n_operands; i++) {
        if (sampling_path(c, c->operands[i], quiet, found) == c->operands[i]) continue;
        const char *copy = strdup(found);
        if (!copy) exit(cli_fail(c, CM_ERR_MEMORY));
        c->operands[i] = copy;
    }
}

cm_status sampling_load(const sampling *s, cli *c, const char *path, cm_model **model, cm_model_info *info,
                        double *seconds)
{
    cm_load_options o;
    cm_context *context = NULL;
    const double before = cli_seconds();
    cm_load_options_init(&o, sizeof o);
    cm_model_info_init(info, sizeof *info);
    o.config_json = s->config;
    o.weights = s->weights;
    cm_status status = cli_context(c, &context);
    if (status == CM_OK) status = cm_model_load(context, path, &o, model);
    cm_context_free(context); /* the model keeps it */
    if (seconds) *seconds = cli_seconds() - before;
    if (status == CM_OK) status = check_times(s, c, path, *model);
    return status == CM_OK ? cm_model_info_get(*model, info) : status;
}

cm_status sampling_load_below(sampling *s, cli *c, cm_model **below)
{
    cm_context *context = NULL;
    if (!s->below != !(s->sampler.border > 0)) cli_usage_error(c, "--below and --border go together");
    if (!s->below) return CM_OK;
    cm_status status = cli_context(c, &context);
    if (status == CM_OK) status = cm_model_load(context, s->below, NULL, below);
    cm_context_free(context);
    s->sampler.below = *below;
    return status;
}

/* --- the report ------------------------------------------------------------------- */

/* A fixed piece of arithmetic that says how fast this machine is right now: seconds of 2^28 dependent
 * multiply-adds on eight chains. */
static double yardstick(void)
{
    volatile float sink;
    float v[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    double before = cli_seconds();
    for (int i = 0; i < (1 << 25); i++)
        for (int k = 0; k < 8; k++) v[k] = v[k] * 0.999f + 0.001f;
    sink = v[0] + v[1] + v[2] + v[3] + v[4] + v[5] + v[6] + v[7];
    (void)sink;
    return cli_seconds() - before;
}

/* The most memory that the process has had. */
static double peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

void sampling_count(sampling_nfe *c, size_t n, const int32_t *evaluations)
{
    for (size_t i = 0; i < n; i++) {
        if (!c->images || evaluations[i] < c->least) c->least = evaluations[i];
        if (evaluations[i] > c->most) c->most = evaluations[i];
        c->all += (uint64_t)evaluations[i];
        c->images++;
    }
}

const char *sampling_nfe_text(const sampling_nfe *c, char text[64])
{
    const char *s = c->most == 1 ? "" : "s";
    if (c->least == c->most) (void)snprintf(text, 64, "%d network evaluation%s", c->most, s);
    else (void)snprintf(text, 64, "%d to %d network evaluations", c->least, c->most);
    return text;
}

double sampling_nfe_mean(const sampling_nfe *c)
{
    return c->images ? (double)c->all / (double)c->images : 0;
}

static void report_json(const sampling *s, const cm_sampler_info *i, const sampling_result *r)
{
    const double n = (double)r->count, peak = peak_bytes();
    const int32_t precision = s->sampler.precision ? s->sampler.precision : CM_PRECISION_F32;
    printf("{\"images\": %zu, \"seconds\": %.6f, \"seconds_per_image\": %.6f, \"images_per_second\": %.3f, "
           "\"nfe\": %d, \"nfe_mean\": %.6g, \"load_seconds\": %.4f, \"plan_seconds\": %.4f, \"peak_bytes\": %.0f, ",
           r->count, r->run, r->run / n, n / r->run, r->nfe.most, sampling_nfe_mean(&r->nfe), r->load,
           i->plan_seconds, peak);
    printf("\"activation_bytes\": %llu, \"packed_bytes\": %llu, \"threads\": %d, \"batch\": %d, ",
           (unsigned long long)i->activation_bytes, (unsigned long long)i->packed_bytes, i->threads, i->max_batch);
    printf("\"precision\": \"%s\", \"method\": \"%s\", \"yardstick_seconds\": %.4f, \"output\": ",
           cm_choice_name("precisions", (size_t)precision), cm_choice_name("methods", (size_t)s->sample.method),
           r->output ? 0 : yardstick());
    if (r->output) cli_json_string(stdout, r->output);
    else printf("null");
    printf("}\n");
}

void sampling_report(const sampling *s, const cm_sampler *sampler, const sampling_result *r, int json)
{
    cm_sampler_info i = CM_SAMPLER_INFO_INIT;
    const double n = (double)r->count;
    char nfe[64];
    (void)cm_sampler_info_get(sampler, &i);
    if (json) {
        report_json(s, &i, r);
        return;
    }
    printf("%zu image%s in %.2f s: %.1f images/s, %.2g s each, %s an image (%d thread%s)\n", r->count,
           r->count == 1 ? "" : "s", r->run, n / r->run, r->run / n, sampling_nfe_text(&r->nfe, nfe), i.threads,
           i.threads == 1 ? "" : "s");
    if (r->output) printf("%s\n", r->output);
    else
        printf("loading %.3f s, planning %.3f s, peak memory %.0f MiB, yardstick %.3f s\n", r->load, i.plan_seconds,
               peak_bytes() / 1048576, yardstick());
}
