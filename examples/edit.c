/* edit.c - cm-edit: changes pictures with a model that was never trained for it. */
#include <stdlib.h>
#include <string.h>

#include "output.h"

static const cli_option options[] = {
    {"output", 'o', "FILE",
     "write a page, a row for each picture: it, what the model sees of it, the results (edits.png)"},
    {"images", 0, "PATTERN", "write a file for each result instead, as in out/%03d.png; the folder has to be there"},
    {"margin", 0, "PIXELS", "the space around each image of the page (2)"},
    {"force", 0, NULL, "replace files that exist"},
    {"fit", 0, "HOW", "what to do with pictures of another size: crop, pad or resize"},
    {"mask", 0, "FILE", "inpaint: a picture, white where to generate; 'alpha': generate what is transparent"},
    {"fill", 0, "X", "inpaint: what missing pixels begin with, in [-1,1] (0)"},
    {"luma", 0, "R,G,B", "colorize: the weights of the luminance (0.2989,0.587,0.114)"},
    {"factor", 0, "F", "super-resolve: the whole number by which both sides grow"},
    {"sigma", 0, "X", "stroke: the level to lift to; denoise: the noise's level, of values in [-1,1] (estimated)"},
    {"no-cut", 0, NULL, "denoise: do not take black and white for places where noise was cut off"},
    {"frames", 0, "N", "interpolate: the number of images from end to end (8)"},
    {"to", 0, "N", "interpolate: go from image --first to the Nth after it (1)"},
    {"variations", 'v', "N", "the number of results for each picture (4; denoise 1)"},
    {"labels", 'l', "LIST", "class numbers or names of the pictures, used in turn; 'none': no class"},
    {"steps", 0, "N", "the number of network evaluations"},
    {"sigmas", 0, "LIST", "the noise levels of the steps, falling, as in 80,20,5"},
    {"ts", 0, "LIST", "the steps as indices of the grid, rising, as in 0,22,39; needs --grid"},
    {"grid", 0, "N", "the number of points of the grid that --ts counts in, as in 40"},
    {"start", 0, "HOW",
     "given: begin with the picture plus noise; noise: with noise alone, as the official code does"},
    {"no-clip", 0, NULL, "do not clamp the estimates to [-1,1]"},
    {"seed", 's', "N", "the number that all noise follows from (0)"},
    {"first", 0, "N", "the index of the first result's noise (0)"},
    {"batch", 'b', "N", "the number of images that are computed at a time (16)"},
    {"threads", 't', "N", "the number of threads (all processors that the process may use)"},
    {"precision", 0, "NAME", "f32, or bf16: for processors with AMX or AVX512_BF16, less exact"},
    {"dtype", 0, "NAME", "another spelling of --precision"},
    {"memory", 0, "NAME", "fast, or small: less memory, slower"},
    {"debug", 0, "TEXT", "entries key=number with commas between them, for those who work on the library"},
    {"config", 0, "JSON", "the configuration of a file that carries none, or the name of a file with it"},
    {"json", 0, NULL, "print the report as JSON"},
    {"quiet", 'q', NULL, "print neither progress nor a report, but that of --json"},
};
enum {
    OUTPUT,
    IMAGES,
    MARGIN,
    FORCE,
    FIT,
    MASK,
    FILL,
    LUMA,
    FACTOR,
    SIGMA,
    NO_CUT,
    FRAMES,
    TO,
    VARIATIONS,
    LABELS,
    STEPS,
    SIGMAS,
    TS,
    GRID,
    START,
    NO_CLIP,
    SEED,
    FIRST,
    BATCH,
    THREADS,
    PRECISION,
    DTYPE,
    MEMORY,
    DEBUG,
    CONFIG,
    JSON,
    QUIET,
    N_OPTIONS
};

enum { INPAINT, COLORIZE, SUPER_RESOLVE, STROKE, INTERPOLATE, DENOISE };
static const char *const tasks[] = {"inpaint", "colorize", "super-resolve", "stroke", "interpolate", "denoise", NULL};
static const char *const fits[] = {"resize", "crop", "pad", NULL};
static const char *const precisions[] = {"default", "f32", "bf16", NULL};
static const char *const memories[] = {"fast", "small", NULL};
static const char *const starts[] = {"given", "noise", NULL};

typedef struct {
    cli c;
    const char *output, *images, *config, *mask, *given_labels;
    int task, margin, force, fit, json, quiet, factor;
    size_t frames, n_cycle, n_given, n_results;
    int no_cut;
    double *levels; /* estimated, of the given pictures; or NULL */
    double sigmas[1024], luma[4];
    int32_t ts[1024], cycle[1024];
    cm_sampler_options sampler;
    cm_sample_options sample;
    cm_edit_options edit;
    cm_model_info info;
    /* Of every picture: at the size the task takes; masks; what is shown of it. */
    int32_t height, width, channels;
    float *given, *masks;
    output out;
} program;

static void set_option(program *p, int option, const char *v)
{
    cli *c = &p->c;
    cm_sample_options *s = &p->sample;
    switch (option) {
    case OUTPUT: p->output = v; break;
    case IMAGES: p->images = v; break;
    case MARGIN: p->margin = (int)cli_integer(c, "margin", v, 0, 1000); break;
    case FORCE: p->force = 1; break;
    case FIT: p->fit = cli_choice(c, "fit", v, fits); break;
    case MASK: p->mask = v; break;
    case FILL: p->edit.fill = cli_number(c, "fill", v, -1, 1); break;
    case LUMA:
        if (cli_list(c, "luma", v, p->luma, 4) != 3) cli_usage_error(c, "--luma: three numbers, not '%s'", v);
        memcpy(p->edit.luma, p->luma, sizeof p->edit.luma);
        break;
    case FACTOR: p->factor = (int)cli_integer(c, "factor", v, 2, 65536); break;
    case SIGMA: p->edit.sigma = cli_number(c, "sigma", v, 1e-6, 1e6); break;
    case NO_CUT: p->no_cut = 1; break;
    case FRAMES: p->frames = (size_t)cli_integer(c, "frames", v, 2, 100000); break;
    case TO: p->edit.to = (uint64_t)cli_integer(c, "to", v, 1, INT64_MAX); break;
    case VARIATIONS: p->edit.variations = (int32_t)cli_integer(c, "variations", v, 1, 65536); break;
    case LABELS: p->given_labels = v; break;
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
    case START: p->edit.start = cli_choice(c, "start", v, starts); break;
    case NO_CLIP: s->clip_denoised = CM_CLIP_NO; break;
    case SEED: s->seed = cli_seed(c, "seed", v); break;
    case FIRST: s->first_index = (uint64_t)cli_integer(c, "first", v, 0, INT64_MAX); break;
    case BATCH: p->sampler.max_batch = (int32_t)cli_integer(c, "batch", v, 1, 65536); break;
    case THREADS: p->sampler.threads = (int32_t)cli_integer(c, "threads", v, 1, 256); break;
    case PRECISION:
    case DTYPE: p->sampler.precision = cli_choice(c, "precision", v, precisions); break;
    case MEMORY: p->sampler.memory = cli_choice(c, "memory", v, memories); break;
    case DEBUG: p->sampler.debug = v; break;
    case CONFIG: p->config = cli_json_argument(c, "config", v); break;
    case JSON: p->json = 1; break;
    default: p->quiet = 1; break;
    }
}

/* Options that only the program knows; the library refuses the others. */
static void check_usage(program *p)
{
    cli *c = &p->c;
    static const char text[] = "%s has no effect on %s";
    output_choose(&p->out, c, p->output, p->images, "edits.png");
    if (p->task == INTERPOLATE) {
        if (p->n_given) cli_usage_error(c, "interpolate takes no picture, only the model");
        if (p->fit >= 0) cli_usage_error(c, text, "--fit", "interpolate");
        if (p->edit.variations) cli_usage_error(c, text, "--variations", "interpolate");
    } else if (!p->n_given) cli_usage_error(c, "give the pictures after the model");
    if (p->task != INTERPOLATE && p->frames) cli_usage_error(c, text, "--frames", tasks[p->task]);
    if (p->task == INPAINT && !p->mask) cli_usage_error(c, "inpaint needs --mask FILE or --mask alpha");
    if (p->task != INPAINT && p->mask) cli_usage_error(c, text, "--mask", tasks[p->task]);
    if (p->task == SUPER_RESOLVE && !p->factor) cli_usage_error(c, "super-resolve needs --factor");
    if (p->task != SUPER_RESOLVE && p->factor) cli_usage_error(c, text, "--factor", tasks[p->task]);
    if (p->task != DENOISE && p->no_cut) cli_usage_error(c, text, "--no-cut", tasks[p->task]);
    p->edit.cut = p->task == DENOISE && !p->no_cut;
    if (!p->frames) p->frames = 8;
    if (!p->edit.variations) p->edit.variations = p->task == DENOISE || p->task == INTERPOLATE ? 1 : 4;
}

/* --- pictures in -------------------------------------------------------------------------- */

/* A picture as float32 planes of the network's size. */
static cm_status fitted(const program *p, const char *path, const cm_images *from, uint8_t background, float *out)
{
    const cm_images to = cm_images_f32(1, from->channels, p->height, p->width, out);
    if (p->fit < 0 && (from->height != p->height || from->width != p->width))
        cli_usage_error(&p->c,
                        "%s is %d x %d pixels, this task and model take %d x %d: say --fit crop, pad or resize", path,
                        from->width, from->height, p->width, p->height);
    return cm_image_fit(NULL, p->fit < 0 ? CM_FIT_RESIZE : p->fit, p->fit == CM_FIT_PAD ? background : 0, from, &to);
}

/* Whether a mask in [-1, 1] asks for no pixel. */
static int is_nowhere(const float *mask, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (mask[i] > -1) return 0;
    return 1;
}

/* The mask of a picture, 1 where it is transparent.  What padding adds is generated. */
static cm_status read_missing(program *p, size_t i, const cm_images *picture, int alpha)
{
    static uint8_t nothing;
    float *mask = p->masks + i * (size_t)p->height * (size_t)p->width;
    cm_images missing = cm_images_u8(1, picture->height, picture->width, 1, &nothing);
    missing.image_stride = 1; /* the same byte everywhere */
    if (alpha) {
        uint8_t *a = (uint8_t *)picture->data + picture->channels - 1;
        missing.data = a;
        missing.pixel_stride = picture->channels;
        missing.row_stride = missing.pixel_stride * picture->width;
        for (int32_t k = 0; k < picture->height * picture->width; k++, a += picture->channels)
            *a = (uint8_t)(255 - *a);
    }
    cm_status status = fitted(p, p->c.operands[2 + i], &missing, 255, mask);
    if (status == CM_OK && alpha && is_nowhere(mask, (size_t)p->height * (size_t)p->width))
        cli_usage_error(&p->c, "--mask alpha: nothing of %s is transparent, so nothing would be generated",
                        p->c.operands[2 + i]);
    return status;
}

static cm_status read_given(program *p, size_t i)
{
    const char *path = p->c.operands[2 + i];
    int alpha = p->mask && strcmp(p->mask, "alpha") == 0;
    size_t size = (size_t)p->height * (size_t)p->width * (size_t)p->channels;
    cm_image_read_options o = CM_IMAGE_READ_OPTIONS_INIT;
    cm_images picture = CM_IMAGES_INIT;
    o.channels = p->channels + alpha;
    cm_status status = cm_image_read(NULL, path, &o, &picture);
    if (status != CM_OK) return status;
    cm_images colours = picture;
    colours.channels = p->channels;
    colours.channel_stride = 1;
    colours.pixel_stride = picture.channels;
    colours.row_stride = colours.pixel_stride * picture.width;
    status = fitted(p, path, &colours, 128, p->given + i * size);
    if (status == CM_OK && p->task == INPAINT) status = read_missing(p, i, &picture, alpha);
    cm_image_free(NULL, &picture);
    return status;
}

/* The separate mask joins what alpha or padding asks for. */
static cm_status read_mask(program *p)
{
    size_t plane = (size_t)p->height * (size_t)p->width;
    cm_image_read_options o = CM_IMAGE_READ_OPTIONS_INIT;
    cm_images picture = CM_IMAGES_INIT;
    float *mask = malloc(plane * sizeof *mask);
    o.channels = 1;
    cm_status status = mask ? cm_image_read(NULL, p->mask, &o, &picture) : CM_ERR_MEMORY;
    if (status == CM_OK) status = fitted(p, p->mask, &picture, 0, mask);
    for (size_t i = 0; status == CM_OK && i < p->n_given * plane; i++)
        if (mask[i % plane] > p->masks[i]) p->masks[i] = mask[i % plane];
    free(mask);
    cm_image_free(NULL, &picture);
    return status;
}

static cm_status read_all(program *p)
{
    size_t plane;
    p->channels = p->task == COLORIZE ? 3 : p->info.channels;
    if (p->channels != 1 && p->channels != 3)
        cli_usage_error(&p->c, "pictures have 1 or 3 channels, this model takes %d", p->channels);
    p->height = p->info.height / (p->factor ? p->factor : 1);
    p->width = p->info.width / (p->factor ? p->factor : 1);
    if (p->factor && (p->height * p->factor != p->info.height || p->width * p->factor != p->info.width))
        cli_usage_error(&p->c, "--factor %d does not divide the model's %d x %d", p->factor, p->info.width,
                        p->info.height);
    plane = (size_t)p->height * (size_t)p->width;
    p->given = calloc(p->n_given, plane * (size_t)p->channels * sizeof *p->given);
    p->masks = calloc(p->n_given, plane * sizeof *p->masks);
    if (!p->given || !p->masks) return CM_ERR_MEMORY;
    for (size_t i = 0; i < p->n_given; i++) {
        cm_status status = read_given(p, i);
        if (status != CM_OK) return status;
    }
    if (p->task != INPAINT) return CM_OK;
    if (strcmp(p->mask, "alpha") != 0) {
        cm_status status = read_mask(p);
        if (status != CM_OK) return status;
    }
    for (size_t i = 0; i < p->n_given * plane; i++) p->masks[i] = (p->masks[i] + 1) / 2; /* bytes 0..255 to 0..1 */
    return CM_OK;
}

/* --- pictures out --------------------------------------------------------------------------- */

/* What stands left of the results: the given picture, and what the model is told of it. */
static void show_given(const program *p, size_t i, int told, float *out)
{
    size_t h = (size_t)p->info.height, w = (size_t)p->info.width, f = p->factor ? (size_t)p->factor : 1;
    size_t plane = (size_t)p->height * (size_t)p->width, c = (size_t)p->channels;
    const float *x = p->given + i * plane * c;
    for (size_t k = 0; k < c; k++)
        for (size_t r = 0; r < h; r++)
            for (size_t s = 0; s < w; s++) {
                size_t at = r / f * (size_t)p->width + s / f;
                float v = x[k * plane + at];
                if (told && p->task == INPAINT) v *= 1 - p->masks[i * plane + at];
                if (told && p->task == COLORIZE) {
                    const double usual[3] = {0.2989, 0.5870, 0.1140}, *l = p->edit.luma;
                    if (l[0] + l[1] + l[2] <= 0) l = usual;
                    v = (float)((l[0] * (double)x[at] + l[1] * (double)x[plane + at] +
                                 l[2] * (double)x[2 * plane + at]) /
                                (l[0] + l[1] + l[2]));
                }
                out[(k * h + r) * w + s] = v;
            }
}

/* On a page the given picture and, where it says more, what the model is told of it stand before its results. */
static size_t shown_before(const program *p)
{
    if (p->images || p->task == INTERPOLATE) return 0;
    return p->task == INPAINT || p->task == COLORIZE ? 2 : 1;
}

static cm_status put_shown(program *p, size_t i)
{
    size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    float *image = malloc(size * sizeof *image);
    cm_status status = image ? CM_OK : CM_ERR_MEMORY;
    for (size_t k = 0; status == CM_OK && k < shown_before(p); k++) {
        show_given(p, i, (int)k, image);
        status = output_put(&p->out, 1, image);
    }
    free(image);
    return status;
}

static cm_status open_output(program *p)
{
    size_t shown = shown_before(p), per = p->task == INTERPOLATE ? p->frames : (size_t)p->edit.variations;
    size_t rows = p->task == INTERPOLATE ? 1 : p->n_given;
    p->n_results = rows * per;
    p->out.channels = p->info.channels;
    p->out.height = p->info.height;
    p->out.width = p->info.width;
    p->out.margin = p->margin < 0 ? 2 : p->margin;
    p->out.columns = (int32_t)(shown + per);
    p->out.count = rows * (shown + per);
    return output_open(&p->out);
}

/* --- the run ---------------------------------------------------------------------------------- */

/* Results first .. first + per * n - 1: `per` of each of n pictures from picture i on. */
static cm_status change(program *p, cm_sampler *s, size_t i, size_t n, size_t per, size_t first, float *results)
{
    size_t plane = (size_t)p->height * (size_t)p->width;
    const cm_images g =
        cm_images_f32(n, p->channels, p->height, p->width, p->given + i * plane * (size_t)p->channels);
    const cm_images m = cm_images_f32(n, 1, p->height, p->width, p->masks + i * plane);
    const cm_images out = cm_images_f32(n * per, p->info.channels, p->info.height, p->info.width, results);
    cm_sample_options sample = p->sample;
    cm_edit_options o = p->edit;
    sample.first_index += first;
    o.sampling = &sample;
    o.variations = (int32_t)per;
    switch (p->task) {
    case INPAINT: return cm_sampler_inpaint(s, &o, &g, &m, &out);
    case COLORIZE: return cm_sampler_colorize(s, &o, &g, &out);
    case SUPER_RESOLVE: return cm_sampler_super_resolve(s, &o, &g, &out);
    case STROKE: return cm_sampler_stroke(s, &o, &g, &out);
    default: return cm_sampler_denoise(s, &o, &g, &out);
    }
}

/* Of every picture, where nothing says how much noise to take away. */
static cm_status estimate_levels(program *p)
{
    size_t size = (size_t)p->channels * (size_t)p->height * (size_t)p->width;
    double least = p->info.sigma_min > 0.002 ? p->info.sigma_min : 0.002;
    p->levels = calloc(p->n_given, sizeof *p->levels);
    if (!p->levels) return CM_ERR_MEMORY;
    for (size_t i = 0; i < p->n_given; i++) {
        const cm_images image = cm_images_f32(1, p->channels, p->height, p->width, p->given + i * size);
        cm_status status = cm_image_noise_level(NULL, &image, &p->levels[i]);
        if (status == CM_ERR_MEMORY) return status;
        if (status != CM_OK || p->levels[i] < least)
            cli_usage_error(&p->c, "%s: %s: say with --sigma what to take for noise", p->c.operands[2 + i],
                            status == CM_OK ? "no noise is found in it" : cm_last_message());
    }
    return CM_OK;
}

static void report(const program *p, double seconds)
{
    const char *where = output_name(&p->out);
    if (p->json) {
        printf("{\"task\": \"%s\", \"pictures\": %zu, \"results\": %zu, \"seconds\": %.6f, \"output\": ",
               tasks[p->task], p->n_given, p->n_results, seconds);
        cli_json_string(stdout, where);
        for (size_t i = 0; p->levels && i < p->n_given; i++)
            printf("%s%.6g", i ? ", " : ", \"sigmas\": [", p->levels[i]);
        printf("%s}\n", p->levels ? "]" : "");
        return;
    }
    for (size_t i = 0; p->levels && i < p->n_given; i++)
        printf("%s: noise of sigma %.3g, %.3g steps of a byte (estimated)\n", p->c.operands[2 + i], p->levels[i],
               p->levels[i] * 127.5);
    printf("%s: %zu result%s in %.2f s\n%s\n", tasks[p->task], p->n_results, p->n_results == 1 ? "" : "s", seconds,
           where);
}

/* The results in pieces of what is in flight at a time; a picture of many variations in several. */
static cm_status change_all(program *p, cm_sampler *sampler, size_t batch, cli_progress *progress, int32_t *labels,
                            float *results, double *seconds)
{
    size_t v = (size_t)p->edit.variations,
           size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    cm_status status = CM_OK;
    for (size_t at = 0, n, per; status == CM_OK && at < p->n_results; at += n * per) {
        size_t i = at / v, left = p->n_given - i;
        n = v < batch && !p->levels ? (batch / v < left ? batch / v : left) : 1;
        if (p->levels) p->edit.sigma = p->levels[i];
        per = v < batch ? v : v - at % v < batch ? v - at % v : batch;
        for (size_t k = 0; k < n * per && p->n_cycle; k++) labels[k] = p->cycle[(at + k) / v % p->n_cycle];
        progress->before = at;
        progress->now = n * per;
        double before = cli_seconds();
        status = change(p, sampler, i, n, per, at, results);
        *seconds += cli_seconds() - before;
        for (size_t k = 0; status == CM_OK && k < n; k++) {
            if (at % v == 0) status = put_shown(p, i + k);
            if (status == CM_OK) status = output_put(&p->out, per, results + k * per * size);
        }
    }
    return status;
}

static cm_status interpolate(program *p, cm_sampler *sampler, int32_t *labels, float *results, double *seconds)
{
    cm_edit_options o = p->edit;
    const cm_images out = cm_images_f32(p->frames, p->info.channels, p->info.height, p->info.width, results);
    o.sampling = &p->sample;
    for (size_t k = 0; k < p->frames && p->n_cycle; k++) labels[k] = p->cycle[0];
    double before = cli_seconds();
    cm_status status = cm_sampler_interpolate(sampler, &o, &out);
    *seconds = cli_seconds() - before;
    return status == CM_OK ? output_put(&p->out, p->frames, results) : status;
}

static cm_status draw(program *p, cm_sampler *sampler, size_t n, int32_t *labels, float *results, double *seconds)
{
    cli_progress progress;
    cli_progress_begin(&progress, tasks[p->task], p->quiet);
    progress.all = p->n_results;
    cm_condition condition = CM_CONDITION_INIT;
    condition.labels = p->n_cycle ? labels : NULL;
    p->sample.condition = &condition;
    p->sample.progress = cli_progress_step;
    p->sample.progress_user = &progress;
    cm_status status = p->task == INTERPOLATE ? interpolate(p, sampler, labels, results, seconds)
                                              : change_all(p, sampler, n, &progress, labels, results, seconds);
    cli_progress_end(&progress);
    return status == CM_OK ? output_finish(&p->out) : status;
}

static cm_status run(program *p, cm_sampler *sampler)
{
    size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    size_t n = p->task == INTERPOLATE ? p->frames : p->sampler.max_batch ? (size_t)p->sampler.max_batch : 16;
    double spent = 0;
    if (!p->n_cycle && p->info.num_classes && p->task != INTERPOLATE)
        cli_usage_error(&p->c,
                        "the model has %d classes: say with --labels which the pictures are of, or --labels none",
                        p->info.num_classes);
    cm_status status = open_output(p);
    if (status == CM_OK && p->task != INTERPOLATE) status = read_all(p);
    if (status == CM_OK && p->task == DENOISE && p->edit.sigma <= 0 && !p->sample.sigmas) status = estimate_levels(p);
    if (status != CM_OK) return status;
    float *results = malloc(n * size * sizeof *results);
    int32_t *labels = malloc(n * sizeof *labels);
    status = results && labels ? draw(p, sampler, n, labels, results, &spent) : CM_ERR_MEMORY;
    free(results);
    free(labels);
    if (status == CM_OK && (p->json || !p->quiet)) report(p, spent);
    return status;
}

int main(int argc, char **argv)
{
    static program p;
    cm_model *model = NULL;
    cm_sampler *sampler = NULL;
    cm_load_options load_options;
    const char *value;
    p.c = (cli){"cm-edit",
                "TASK MODEL.safetensors [PICTURE...] [options]\n"
                "TASK: inpaint, colorize, super-resolve, stroke, denoise, or interpolate (which takes no picture)",
                options,
                N_OPTIONS,
                argc,
                0,
                argv,
                {NULL},
                0,
                NULL,
                NULL};
    cli_begin();
    p.margin = -1;
    p.fit = -1;
    cm_sampler_options_init(&p.sampler, sizeof p.sampler);
    cm_sample_options_init(&p.sample, sizeof p.sample);
    cm_edit_options_init(&p.edit, sizeof p.edit);
    for (int i; (i = cli_next(&p.c, &value)) >= 0;) set_option(&p, i, value);
    if (p.c.n_operands < 2) cli_usage_error(&p.c, "give a task and a model");
    p.task = cli_choice(&p.c, NULL, p.c.operands[0], tasks);
    p.n_given = (size_t)p.c.n_operands - 2;
    check_usage(&p);
    if (p.images && p.margin >= 0) cli_usage_error(&p.c, "--margin has no effect with --images");
    p.out.force = p.force;
    cli_catch_signals();

    cm_load_options_init(&load_options, sizeof load_options);
    load_options.config_json = p.config;
    cm_model_info_init(&p.info, sizeof p.info);
    cm_status status = output_check_names(&p.out);
    if (status == CM_OK) status = cm_model_load(NULL, p.c.operands[1], &load_options, &model);
    if (status == CM_OK) status = cm_model_info_get(model, &p.info);
    if (status == CM_OK && p.given_labels) p.n_cycle = cli_labels(&p.c, model, p.given_labels, p.cycle, 1024);
    if (status == CM_OK && p.task == COLORIZE && p.info.channels != 3)
        cli_usage_error(&p.c, "colorize: %s makes gray pictures", p.c.operands[1]);
    if (status == CM_OK) status = cm_sampler_create(model, &p.sampler, &sampler);
    if (status == CM_OK) status = run(&p, sampler);
    int code = status == CM_OK ? CLI_OK : cli_fail(&p.c, status);
    if (status != CM_OK) output_tell(&p.out, &p.c);
    output_free(&p.out);
    free(p.given);
    free(p.masks);
    free(p.levels);
    cm_sampler_free(sampler);
    cm_model_free(model);
    return cli_end(&p.c, code);
}
