/* sample.c - cm-sample: draws images from a model file.
 *
 * No flag repeats what the file says: method, times, size and classes have
 * defaults from it. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli.h"

static const cli_option options[] = {
    {"count", 'n', "N", "how many images (16; with --labels rows: 10 a class)"},
    {"output", 'o', "FILE", "a page of all images, .png or .jpg (samples.png)"},
    {"images", 0, "PATTERN", "one file an image instead, e.g. out/%05d.png"},
    {"columns", 0, "N", "images in a row of the page (square)"},
    {"margin", 0, "PIXELS", "around the images of the page (2)"},
    {"force", 0, NULL, "replace existing files"},
    {"method", 'm', "NAME", "onestep multistep heun euler ancestral dpm edm progdist"},
    {"steps", 0, "N", "steps of the method"},
    {"sigmas", 0, "LIST", "noise levels, falling: 80,0.821"},
    {"ts", 0, "LIST", "grid indices, rising, with --grid: 0,22,39"},
    {"grid", 0, "N", "points of the grid that --ts counts in: 40"},
    {"rho", 0, "X", "curvature of the grid (7)"},
    {"churn", 0, "X", "s_churn of heun, dpm, edm"},
    {"no-clip", 0, NULL, "do not clamp the estimates to [-1,1]"},
    {"labels", 'l', "LIST", "class numbers, used in turn; 'rows': every class in turn; 'none'"},
    {"seed", 's', "N", "(0)"},
    {"first", 0, "N", "index of the first image (0)"},
    {"torch-noise", 0, NULL, "the random stream of torch's per-sample generators"},
    {"batch", 'b', "N", "images in flight (16)"},
    {"threads", 't', "N", "(all of the affinity mask)"},
    {"dtype", 0, "NAME", "f32, or bf16: for processors with AMX or AVX512_BF16, less exact"},
    {"bf16-tile", 0, "N", "1: plain sums, 2 to 4: Winograd, faster, less exact; default: 1 with AMX, else 3"},
    {"bf16-emulate", 0, NULL, "bf16 on any processor: slower than f32"},
    {"lean", 0, NULL, "direct convolutions only: slower, less memory"},
    {"config", 0, "JSON", "configuration for files that carry none, or a file with it"},
    {"bench", 0, NULL, "time it: the fastest of three calls and a second; no picture"},
    {"json", 0, NULL, "report as JSON on standard output"},
    {"quiet", 'q', NULL, "no progress"},
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
    DTYPE,
    BF16_TILE,
    BF16_EMULATE,
    LEAN,
    CONFIG,
    BENCH,
    JSON,
    QUIET,
    N_OPTIONS
};

static const char *const methods[] = {"default",   "onestep", "multistep", "heun",     "euler",
                                      "ancestral", "dpm",     "edm",       "progdist", NULL};
static const char *const dtypes[] = {"default", "f32", "bf16", "f16", NULL};

typedef struct {
    cli c;
    const char *model, *output, *images, *config;
    size_t count;
    int columns, margin, force, bench, json, quiet, rows, threads, batch;
    double sigmas[1024], list[1024];
    int32_t ts[1024], cycle[1024];
    size_t n_cycle;
    cm_sampler_options sampler;
    cm_sample_options sample;
} program;

static void set_labels(program *p, const char *value)
{
    p->rows = strcmp(value, "rows") == 0;
    if (p->rows) return;
    p->n_cycle = strcmp(value, "none") ? cli_list(&p->c, "labels", value, p->list, 1024) : 1;
    for (size_t i = 0; i < p->n_cycle; i++) p->cycle[i] = strcmp(value, "none") ? (int32_t)p->list[i] : -1;
}

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
        s->ts_count = cli_list(c, "ts", v, p->list, 1024);
        for (size_t i = 0; i < s->ts_count; i++) p->ts[i] = (int32_t)p->list[i];
        s->ts = p->ts;
        break;
    case GRID: s->grid = (int32_t)cli_integer(c, "grid", v, 2, 1000000); break;
    case RHO: s->rho = cli_number(c, "rho", v, 0.5, 1e3); break;
    case CHURN: s->s_churn = cli_number(c, "churn", v, 0, 1e6); break;
    case NO_CLIP: s->clip_denoised = -1; break;
    case LABELS: set_labels(p, v); break;
    case SEED: s->seed = (uint64_t)cli_integer(c, "seed", v, 0, INT64_MAX); break;
    case FIRST: s->first_index = (uint64_t)cli_integer(c, "first", v, 0, INT64_MAX); break;
    case TORCH: s->noise_source = CM_NOISE_TORCH_IMAGE; break;
    case BATCH: p->sampler.max_batch = (int32_t)cli_integer(c, "batch", v, 1, 65536); break;
    case THREADS: p->sampler.threads = (int32_t)cli_integer(c, "threads", v, 1, 256); break;
    case DTYPE: p->sampler.dtype = cli_choice(c, "dtype", v, dtypes); break;
    case BF16_TILE: p->sampler.bf16_tile = (int32_t)cli_integer(c, "bf16-tile", v, 1, 4); break;
    case BF16_EMULATE: p->sampler.bf16_emulate = 1; break;
    case LEAN: p->sampler.lean = 1; break;
    case CONFIG: p->config = cli_json_argument(c, "config", v); break;
    case BENCH: p->bench = 1; break;
    case JSON: p->json = 1; break;
    default: p->quiet = 1; break;
    }
}

/* --- output -------------------------------------------------------------------------- */

static cm_status write_page(const program *p, const cm_model_info *info, const uint8_t *pixels)
{
    int32_t columns = p->columns, height, width;
    for (columns = columns ? columns : 1; !p->columns && (size_t)columns * (size_t)columns < p->count;) columns++;
    cm_status status = cm_image_grid_size(p->count, columns, p->margin, info->height, info->width, &height, &width);
    if (status != CM_OK) return status;
    uint8_t *page = malloc((size_t)height * (size_t)width * (size_t)info->channels);
    if (!page) return CM_ERR_MEMORY;
    status =
        cm_image_grid(p->count, columns, p->margin, 128, info->channels, info->height, info->width, pixels, page);
    if (status == CM_OK) status = cm_image_write(NULL, p->output, info->channels, height, width, page, 0, p->force);
    free(page);
    return status;
}

static cm_status write_each(const program *p, const cm_model_info *info, const uint8_t *pixels)
{
    size_t size = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    for (size_t i = 0; i < p->count; i++) {
        char path[4096];
        cli_pattern_path(p->images, p->sample.first_index + i, path, sizeof path);
        cm_status status =
            cm_image_write(NULL, path, info->channels, info->height, info->width, pixels + i * size, 0, p->force);
        if (status != CM_OK) return status;
    }
    return CM_OK;
}

static cm_status write_pictures(const program *p, const cm_model_info *info, const float *images)
{
    size_t size = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    uint8_t *pixels = malloc(p->count * size);
    if (!pixels) return CM_ERR_MEMORY;
    cm_status status = cm_image_to_u8(p->count, info->channels, info->height, info->width, images, pixels);
    if (status == CM_OK) status = p->images ? write_each(p, info, pixels) : write_page(p, info, pixels);
    free(pixels);
    return status;
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
               "\"packed_bytes\": %llu, \"threads\": %d, \"batch\": %d, \"dtype\": \"%s\", \"method\": \"%s\", "
               "\"yardstick_seconds\": %.4f, \"output\": ",
               p->count, run, run / (double)p->count, (double)p->count / run, nfe, load, info.plan_seconds, peak,
               (unsigned long long)info.activation_bytes, (unsigned long long)info.packed_bytes, info.threads,
               info.max_batch, dtypes[p->sampler.dtype ? p->sampler.dtype : CM_F32],
               methods[p->sample.method], yard);
        if (p->bench) printf("null");
        else cli_json_string(stdout, p->images ? p->images : p->output);
        printf("}\n");
    } else {
        printf("%zu images in %.2f s: %.1f images/s, %.2g s each, %d network evaluations an image (%d threads)\n",
               p->count, run, (double)p->count / run, run / (double)p->count, nfe, info.threads);
        if (p->bench)
            printf("loading %.3f s, planning %.3f s, peak memory %.0f MiB, yardstick %.3f s\n", load,
                   info.plan_seconds, peak / 1048576, yard);
        else printf("%s\n", p->images ? p->images : p->output);
    }
}

static int32_t *make_labels(program *p, const cm_model_info *info)
{
    int32_t *labels = malloc(p->count * sizeof *labels);
    if (p->rows && !info->num_classes) cli_usage_error(&p->c, "--labels rows: the model has no classes");
    for (size_t i = 0; labels && i < p->count; i++) {
        size_t columns = p->columns ? (size_t)p->columns : (size_t)1;
        labels[i] = p->rows ? (int32_t)(i / columns % (size_t)info->num_classes) : p->cycle[i % p->n_cycle];
    }
    return labels;
}

/* *seconds: of the call.  A benchmark makes one to warm memory and weights, then at least three
 * and a second's; the fastest counts, as in tests/peers/torch_net.py. */
static cm_status draw(program *p, cm_sampler *sampler, float *images, double *seconds)
{
    cm_status status = CM_OK;
    double total = 0;
    if (p->bench) status = cm_sampler_run(sampler, &p->sample, p->count, images);
    *seconds = 1e30;
    for (int call = 0; status == CM_OK && (call == 0 || (p->bench && (call < 3 || total < 1))); call++) {
        double before = cli_seconds();
        status = cm_sampler_run(sampler, &p->sample, p->count, images);
        double spent = cli_seconds() - before;
        if (spent < *seconds) *seconds = spent;
        total += spent;
    }
    return status;
}

static cm_status run(program *p, const cm_model_info *info, cm_sampler *sampler, double load)
{
    int32_t nfe, *labels = p->rows || p->n_cycle ? make_labels(p, info) : NULL;
    size_t size = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    float *images = malloc(p->count * size * sizeof *images);
    cli_progress progress;
    if (!images) cli_usage_error(&p->c, "%zu images do not fit into memory", p->count);
    p->sample.labels = labels;
    cli_progress_begin(&progress, "sampling", p->quiet || p->bench);
    p->sample.progress = cli_progress_step;
    p->sample.progress_user = &progress;
    cm_status status = cm_sampler_nfe(sampler, &p->sample, &nfe);
    double spent = 0;
    if (status == CM_OK) status = draw(p, sampler, images, &spent);
    cli_progress_end(&progress);
    if (status == CM_OK && !p->bench) status = write_pictures(p, info, images);
    if (status == CM_OK) report(p, sampler, load, spent, nfe, p->bench ? yardstick() : 0);
    free(images);
    free(labels);
    return status;
}

int main(int argc, char **argv)
{
    static program p;
    cm_model *model = NULL;
    cm_sampler *sampler = NULL;
    cm_load_options load_options;
    cm_model_info info;
    const char *value;
    p.c = (cli){"cm-sample", "MODEL.safetensors [options]", options, N_OPTIONS, argc, 0, argv, {NULL}, 0};
    p.margin = 2;
    cm_sampler_options_init(&p.sampler, sizeof p.sampler);
    cm_sample_options_init(&p.sample, sizeof p.sample);
    for (int i; (i = cli_next(&p.c, &value)) >= 0;) set_option(&p, i, value);
    if (p.c.n_operands != 1) cli_usage_error(&p.c, "give one model file");
    if (p.images && p.output) cli_usage_error(&p.c, "give --output or --images, not both");
    if (p.images && !cli_good_pattern(p.images))
        cli_usage_error(&p.c, "--images: '%s' has to hold one %%d, as in out/%%05d.png", p.images);
    if (p.bench && (p.images || p.output)) cli_usage_error(&p.c, "--bench writes no picture");
    if (!p.output) p.output = "samples.png";
    cli_catch_signals();

    double before = cli_seconds();
    cm_load_options_init(&load_options, sizeof load_options);
    load_options.config_json = p.config;
    cm_status status = cm_model_load(NULL, p.c.operands[0], &load_options, &model);
    double load = cli_seconds() - before;
    cm_model_info_init(&info, sizeof info);
    if (status == CM_OK) status = cm_model_info_get(model, &info);
    if (p.rows && !p.columns) p.columns = 10;
    if (!p.count) p.count = p.rows ? (size_t)(10 * (info.num_classes ? info.num_classes : 1)) : 16;
    if (status == CM_OK) status = cm_sampler_create(model, &p.sampler, &sampler);
    if (status == CM_OK) status = run(&p, &info, sampler, load);
    int code = status == CM_OK ? CLI_OK : cli_fail(&p.c, status);
    cm_sampler_free(sampler);
    cm_model_free(model);
    return code;
}
