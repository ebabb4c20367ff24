/* sample.c - cm-sample: draws images from a model file.
 *
 * No flag repeats what the file says: method, times, size and classes have
 * defaults from it. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "output.h"

static const cli_option options[] = {
    {"count", 'n', "N", "the number of images (16; with --labels rows, 10 of each class)"},
    {"output", 'o', "FILE", "write a page of all images, as .png or .jpg (samples.png)"},
    {"images", 0, "PATTERN", "write a file for each image instead, as in out/%05d.png; the folder has to be there"},
    {"columns", 0, "N", "the number of images in a row of the page (as many as there are rows)"},
    {"margin", 0, "PIXELS", "the space around each image of the page (2)"},
    {"force", 0, NULL, "replace files that exist"},
    {"method", 'm', "NAME", "onestep, multistep, heun, euler, ancestral, dpm, edm or progdist"},
    {"steps", 0, "N", "the number of steps of the method"},
    {"sigmas", 0, "LIST", "the noise levels of the steps, falling, as in 80,0.821"},
    {"ts", 0, "LIST", "the steps as indices of the grid, rising, as in 0,22,39; needs --grid"},
    {"grid", 0, "N", "the number of points of the grid that --ts counts in, as in 40"},
    {"rho", 0, "X", "the curvature of the grid of noise levels (7)"},
    {"churn", 0, "X", "the noise that heun, dpm and edm add on the way (s_churn, 0)"},
    {"no-clip", 0, NULL, "do not clamp the estimates to [-1,1]"},
    {"labels", 'l', "LIST", "class numbers or names, used in turn; 'rows': a class in each row; 'none': no class"},
    {"seed", 's', "N", "the number that all noise follows from (0)"},
    {"first", 0, "N", "the index of the first image of the seed (0)"},
    {"torch-noise", 0, NULL, "take the noise from the stream of torch's generators, one for each image"},
    {"batch", 'b', "N", "the number of images that are computed at a time (16)"},
    {"threads", 't', "N", "the number of threads (all processors that the process may use)"},
    {"precision", 0, "NAME", "f32, or bf16: for processors with AMX or AVX512_BF16, less exact"},
    {"dtype", 0, "NAME", "another spelling of --precision"},
    {"memory", 0, "NAME", "fast, or small: less memory, slower"},
    {"debug", 0, "TEXT", "entries key=number with commas between them, for those who work on the library"},
    {"config", 0, "JSON", "the configuration of a file that carries none, or the name of a file with it"},
    {"bench", 0, NULL, "measure the time, the fastest of several calls, and write no picture"},
    {"json", 0, NULL, "print the report as JSON"},
    {"quiet", 'q', NULL, "print neither progress nor a report, but that of --bench and --json"},
};
enum {
    COUNT,
    OUTPUT,
    IMAGES,
    COLUMNS,
    MARGIN,
    FORCE,
    METHOD,
    STEPS,
    SIGMAS,
    TS,
    GRID,
    RHO,
    CHURN,
    NO_CLIP,
    LABELS,
    SEED,
    FIRST,
    TORCH,
    BATCH,
    THREADS,
    PRECISION,
    DTYPE,
    MEMORY,
    DEBUG,
    CONFIG,
    BENCH,
    JSON,
    QUIET,
    N_OPTIONS
};

static const char *const methods[] = {"default",   "onestep", "multistep", "heun",     "euler",
                                      "ancestral", "dpm",     "edm",       "progdist", NULL};
static const char *const precisions[] = {"default", "f32", "bf16", NULL};
static const char *const memories[] = {"fast", "small", NULL};

typedef struct {
    cli c;
    const char *model, *output, *images, *config, *labels;
    size_t count;
    int columns, margin, force, bench, json, quiet, rows;
    double sigmas[1024];
    int32_t ts[1024], cycle[1024];
    size_t n_cycle;
    cm_sampler_options sampler;
    cm_sample_options sample;
    output out;
} program;

static void set_option(program *p, int option, const char *v)
{
    cli *c = &p->c;
    cm_sample_options *s = &p->sample;
    switch (option) {
    case COUNT: p->count = (size_t)cli_integer(c, "count", v, 1, 1000000000); break;
    case OUTPUT: p->output = v; break;
    case IMAGES: p->images = v; break;
    case COLUMNS: p->columns = (int)cli_integer(c, "columns", v, 1, 65535); break;
    case MARGIN: p->margin = (int)cli_integer(c, "margin", v, 0, 1000); break;
    case FORCE: p->force = 1; break;
    case METHOD: s->method = cli_choice(c, "method", v, methods); break;
    case STEPS: s->steps = (int32_t)cli_integer(c, "steps", v, 1, 1000000); break;
    case SIGMAS:
        s->sigma_count = cli_list(c, "sigmas", v, p->sigmas, 1024);
        s->sigmas = p->sigmas;
        break;
    case TS:
        s->ts_count = cli_integers(c, "ts", v, 0, p->ts, 1024);
        s->ts = p->ts;
        break;
    case GRID: s->grid = (int32_t)cli_integer(c, "grid", v, 2, 1000000); break;
    case RHO: s->rho = cli_number(c, "rho", v, 0.5, 1e3); break;
    case CHURN: s->s_churn = cli_number(c, "churn", v, 0, 1e6); break;
    case NO_CLIP: s->clip_denoised = CM_CLIP_NO; break;
    case LABELS: p->labels = v; break;
    case SEED: s->seed = cli_seed(c, "seed", v); break;
    case FIRST: s->first_index = (uint64_t)cli_integer(c, "first", v, 0, INT64_MAX); break;
    case TORCH: s->noise_source = CM_NOISE_TORCH_IMAGE; break;
    case BATCH: p->sampler.max_batch = (int32_t)cli_integer(c, "batch", v, 1, 65536); break;
    case THREADS: p->sampler.threads = (int32_t)cli_integer(c, "threads", v, 1, 256); break;
    case PRECISION:
    case DTYPE: p->sampler.precision = cli_choice(c, "precision", v, precisions); break;
    case MEMORY: p->sampler.memory = cli_choice(c, "memory", v, memories); break;
    case DEBUG: p->sampler.debug = v; break;
    case CONFIG: p->config = cli_json_argument(c, "config", v); break;
    case BENCH: p->bench = 1; break;
    case JSON: p->json = 1; break;
    default: p->quiet = 1; break;
    }
}

/* --- the run --------------------------------------------------------------------------- */

/* A fixed piece of arithmetic that says how fast this machine is right now:
 * seconds of 2^28 dependent multiply-adds on eight chains. */
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

static void report(const program *p, const cm_sampler *sampler, double load, double run, int32_t nfe, double yard)
{
    cm_sampler_info info;
    struct rusage usage;
    cm_sampler_info_init(&info, sizeof info);
    cm_sampler_info_get(sampler, &info);
    getrusage(RUSAGE_SELF, &usage);
    double peak = (double)usage.ru_maxrss * 1024;
    if (p->json) {
        printf("{\"images\": %zu, \"seconds\": %.6f, \"seconds_per_image\": %.6f, \"images_per_second\": %.3f, "
               "\"nfe\": %d, "
               "\"load_seconds\": %.4f, \"plan_seconds\": %.4f, \"peak_bytes\": %.0f, \"activation_bytes\": %llu, "
               "\"packed_bytes\": %llu, \"threads\": %d, \"batch\": %d, \"precision\": \"%s\", \"method\": \"%s\", "
               "\"yardstick_seconds\": %.4f, \"output\": ",
               p->count, run, run / (double)p->count, (double)p->count / run, nfe, load, info.plan_seconds, peak,
               (unsigned long long)info.activation_bytes, (unsigned long long)info.packed_bytes, info.threads,
               info.max_batch, precisions[p->sampler.precision ? p->sampler.precision : CM_PRECISION_F32],
               methods[p->sample.method], yard);
        if (p->bench) printf("null");
        else cli_json_string(stdout, output_name(&p->out));
        printf("}\n");
    } else {
        printf("%zu image%s in %.2f s: %.1f images/s, %.2g s each, %d network evaluation%s an image (%d thread%s)\n",
               p->count, p->count == 1 ? "" : "s", run, (double)p->count / run, run / (double)p->count, nfe,
               nfe == 1 ? "" : "s", info.threads, info.threads == 1 ? "" : "s");
        if (p->bench)
            printf("loading %.3f s, planning %.3f s, peak memory %.0f MiB, yardstick %.3f s\n", load,
                   info.plan_seconds, peak / 1048576, yard);
        else printf("%s\n", output_name(&p->out));
    }
}

/* Of image i of the run. */
static int32_t label_of(const program *p, const cm_model_info *info, size_t i)
{
    if (p->rows) return (int32_t)(i / (size_t)p->columns % (size_t)info->num_classes);
    return p->cycle[i % p->n_cycle];
}

/* One call makes images first .. first + n - 1 of the run. */
static cm_status call(program *p, const cm_model_info *info, cm_sampler *sampler, size_t first, size_t n,
                      int32_t *labels, float *images, double *seconds)
{
    cm_sample_options o = p->sample;
    cm_condition condition = CM_CONDITION_INIT;
    int labelled = p->rows || p->n_cycle;
    for (size_t i = 0; labelled && i < n; i++) labels[i] = label_of(p, info, first + i);
    o.first_index += first;
    condition.labels = labelled ? labels : NULL;
    o.condition = &condition;
    double before = cli_seconds();
    cm_status status = cm_sampler_run(sampler, &o, n, images);
    *seconds = cli_seconds() - before;
    return status;
}

/* A benchmark makes one call to warm memory and weights, then at least three
 * and a second's; the fastest counts, as in tests/peers/torch_net.py. */
static cm_status time_calls(program *p, const cm_model_info *info, cm_sampler *sampler, int32_t *labels,
                            float *images, double *fastest)
{
    double total = 0, spent;
    cm_status status = call(p, info, sampler, 0, p->count, labels, images, &spent);
    *fastest = 1e30;
    for (int i = 0; status == CM_OK && (i < 3 || total < 1); i++) {
        status = call(p, info, sampler, 0, p->count, labels, images, &spent);
        if (spent < *fastest) *fastest = spent;
        total += spent;
    }
    return status;
}

/* As many images at a time as are in flight: no memory for all, and those before a stop are kept. */
static cm_status draw(program *p, const cm_model_info *info, cm_sampler *sampler, size_t batch, int32_t *labels,
                      float *images, double *seconds)
{
    cli_progress progress;
    cli_progress_begin(&progress, "sampling", p->quiet);
    progress.all = p->count;
    p->sample.progress = cli_progress_step;
    p->sample.progress_user = &progress;
    cm_status status = output_open(&p->out);
    for (size_t i = 0; status == CM_OK && i < p->count; i += batch) {
        double spent = 0;
        progress.before = i;
        progress.now = p->count - i < batch ? p->count - i : batch;
        status = call(p, info, sampler, i, (size_t)progress.now, labels, images, &spent);
        *seconds += spent;
        if (status == CM_OK) status = output_put(&p->out, (size_t)progress.now, images);
    }
    cli_progress_end(&progress);
    return status == CM_OK ? output_finish(&p->out) : status;
}

static cm_status run(program *p, const cm_model_info *info, cm_sampler *sampler, double load)
{
    int32_t nfe;
    size_t size = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    size_t batch = p->sampler.max_batch ? (size_t)p->sampler.max_batch : 16;
    size_t n = p->bench || p->count < batch ? p->count : batch;
    float *images = n > SIZE_MAX / sizeof *images / size ? NULL : malloc(n * size * sizeof *images);
    int32_t *labels = malloc(n * sizeof *labels);
    double spent = 0;
    if (!images || !labels) cli_usage_error(&p->c, "%zu images do not fit into memory", n);
    cm_status status = cm_sampler_nfe(sampler, &p->sample, &nfe);
    if (status == CM_OK && p->bench) status = time_calls(p, info, sampler, labels, images, &spent);
    if (status == CM_OK && !p->bench) status = draw(p, info, sampler, n, labels, images, &spent);
    if (status == CM_OK && (p->json || p->bench || !p->quiet))
        report(p, sampler, load, spent, nfe, p->bench ? yardstick() : 0);
    free(images);
    free(labels);
    return status;
}

static void read_command(program *p)
{
    const char *value;
    cli_begin();
    p->margin = -1;
    cm_sampler_options_init(&p->sampler, sizeof p->sampler);
    cm_sample_options_init(&p->sample, sizeof p->sample);
    for (int i; (i = cli_next(&p->c, &value)) >= 0;) set_option(p, i, value);
    if (p->c.n_operands != 1) cli_usage_error(&p->c, "give one model file");
    if (p->bench && (p->images || p->output)) cli_usage_error(&p->c, "--bench writes no picture");
    output_choose(&p->out, &p->c, p->output, p->images, "samples.png");
    if (p->images && p->margin >= 0) cli_usage_error(&p->c, "--margin has no effect with --images");
    if (p->images && p->columns && !(p->labels && strcmp(p->labels, "rows") == 0))
        cli_usage_error(&p->c, "--columns has no effect with --images");
    p->out.force = p->force;
    p->out.margin = p->margin < 0 ? 2 : p->margin;
    p->out.first = p->sample.first_index;
}

/* What the model decides: labels by name, how many images, in how many columns. */
static void choose_page(program *p, const cm_model *model, const cm_model_info *info)
{
    p->rows = p->labels && strcmp(p->labels, "rows") == 0;
    if (p->labels && !p->rows) p->n_cycle = cli_labels(&p->c, model, p->labels, p->cycle, 1024);
    if (p->rows && !info->num_classes) cli_usage_error(&p->c, "--labels rows: the model has no classes");
    if (p->rows && !p->columns) p->columns = 10;
    if (!p->count) p->count = p->rows ? (size_t)(10 * info->num_classes) : 16;
    for (int square = p->columns ? 0 : 1; square && (size_t)p->columns * (size_t)p->columns < p->count;) p->columns++;
    p->out.channels = info->channels;
    p->out.height = info->height;
    p->out.width = info->width;
    p->out.columns = p->columns;
    p->out.count = p->count;
}

int main(int argc, char **argv)
{
    static program p;
    cm_model *model = NULL;
    cm_sampler *sampler = NULL;
    cm_load_options load_options;
    cm_model_info info;
    p.c = (cli){"cm-sample", "MODEL.safetensors [options]", options, N_OPTIONS, argc, 0, argv, {NULL}, 0, NULL, NULL};
    read_command(&p);
    cli_catch_signals();

    cm_load_options_init(&load_options, sizeof load_options);
    load_options.config_json = p.config;
    cm_status status = p.bench ? CM_OK : output_check_names(&p.out);
    double before = cli_seconds();
    if (status == CM_OK) status = cm_model_load(NULL, p.c.operands[0], &load_options, &model);
    double load = cli_seconds() - before;
    cm_model_info_init(&info, sizeof info);
    if (status == CM_OK) status = cm_model_info_get(model, &info);
    if (status == CM_OK) choose_page(&p, model, &info);
    if (status == CM_OK) status = cm_sampler_create(model, &p.sampler, &sampler);
    if (status == CM_OK) status = run(&p, &info, sampler, load);
    int code = status == CM_OK ? CLI_OK : cli_fail(&p.c, status);
    if (status != CM_OK) output_tell(&p.out, &p.c);
    output_free(&p.out);
    cm_sampler_free(sampler);
    cm_model_free(model);
    return cli_end(&p.c, code);
}
