/* edit.c - cm-edit: changes pictures with a model that was never trained for it. */
#include <stdlib.h>

#include "editing.h"
#include "output.h"

/* What only this program knows comes first, then options of editing, and from STEPS on those of sampling. */
enum { OUTPUT, IMAGES, MARGIN, FORCE, LABELS, JSON, QUIET, FIT, STEPS = FIT + 11 };
static const cli_option options[] = {
    {"output", 'o', "FILE",
     "write a page, a row for each picture: it, what the model sees of it, the results (edits.png)"},
    {"images", 0, "PATTERN", "write a file for each result instead, as in out/%03d.png; the folder has to be there"},
    {"margin", 0, "PIXELS", "the space around each image of the page (2)"},
    {"force", 0, NULL, "replace files that exist"},
    {"labels", 'l', "LIST", "class numbers or names of the pictures, used in turn; 'all': each; 'none': no class"},
    {"json", 0, NULL, "print the report as JSON"},
    {"quiet", 'q', NULL, "print neither progress nor a report, but that of --json"},
    {"fit", 0, "HOW", "what to do with pictures of another size: {fits}"},
    {"mask", 0, "FILE", "inpaint: a picture, white where to generate; 'alpha': generate what is transparent"},
    {"fill", 0, "X", "inpaint: what missing pixels begin with, in [-1,1] (0)"},
    {"luma", 0, "R,G,B", "colorize: the weights of the luminance (0.2989,0.587,0.114)"},
    {"factor", 0, "F", "super-resolve: the whole number by which both sides grow"},
    {"sigma", 0, "X", "stroke: the level to lift to; denoise: the noise's level, of values in [-1,1] (estimated)"},
    {"no-cut", 0, NULL, "denoise: do not take black and white for places where noise was cut off"},
    {"frames", 0, "N", "interpolate: the number of images from end to end (8)"},
    {"to", 0, "N", "interpolate: go from image --first to the Nth after it (1)"},
    {"variations", 'v', "N", "the number of results for each picture (4; denoise 1)"},
    {"start", 0, "HOW",
     "{given|noise}: begin with the picture plus noise, or with noise alone, as the official code"},
    {"steps", 0, "N", "the number of network evaluations"},
    {"sigmas", 0, "LIST", "the noise levels of the steps, falling, as in 80,20,5"},
    {"ts", 0, "LIST", "the steps as indices of the grid, rising, as in 0,22,39; needs --grid"},
    {"grid", 0, "N", "the number of points of the grid that --ts counts in, as in 40"},
    {"guidance", 0, "W",
     "the scale of guidance: of a diffusion model, which is then evaluated with and without labels, or of a network "
     "that is told of it (1)"},
    {"temperature", 0, "X", "what the noise that images begin with is multiplied by, 0.1 to 2 (1); not of denoise"},
    {"no-clip", 0, NULL, "do not clamp the estimates to [-1,1]"},
    {"seed", 's', "N", "the number that all noise follows from (0)"},
    {"first", 0, "N", "the index of the first result's noise (0)"},
    {"batch", 'b', "N", "the number of images that are computed at a time (16)"},
    {"threads", 't', "N", "the number of threads (all processors that the process may use)"},
    {"precision", 0, "NAME", "{precisions}: bf16 is for processors with AMX or AVX512_BF16, and less exact"},
    {"dtype", 0, "NAME", "another spelling of --precision: {precisions}"},
    {"memory", 0, "NAME", "{memories}: small takes less memory and is slower"},
    {"debug", 0, "TEXT", "entries key=number with commas between them, for those who work on the library"},
    {"config", 0, "JSON", "the configuration of a file that carries none, or the name of a file with it"},
    {"weights", 0, "NAME", "which of a checkpoint's sets of weights (ema, model, ...); the average"},
};
enum { N_OPTIONS = sizeof options / sizeof *options };

typedef struct {
    cli c;
    const char *values[N_OPTIONS];
    sampling s;
    editing e;
    cm_model_info info;
    cm_sampler *sampler;
    output out;
    size_t results;  /* in all */
    int32_t *labels; /* of one call */
    float *images;
    double seconds; /* of all calls */
} program;

static cm_status put_shown(program *p, size_t i)
{
    size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    float *image = malloc(size * sizeof *image);
    cm_status status = image ? CM_OK : CM_ERR_MEMORY;
    for (int32_t k = 0; status == CM_OK && k < editing_shown(&p->e); k++) {
        editing_show(&p->e, i, k, &p->info, image);
        status = output_put(&p->out, 1, image);
    }
    free(image);
    return status;
}

/* `per` results of each of n pictures from picture i on, of which the first is result `first` of all. */
static cm_status call(program *p, size_t i, size_t n, size_t per, size_t first)
{
    const size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    const size_t variations = p->e.task == INTERPOLATE ? per : (size_t)p->e.options.variations;
    const cm_images out = cm_images_f32(n * per, p->info.channels, p->info.height, p->info.width, p->images);
    const double before = cli_seconds();
    for (size_t k = 0; p->s.n_cycle && k < n * per; k++)
        p->labels[k] = p->s.cycle[(first + k) / variations % p->s.n_cycle];
    cm_status status = editing_change(&p->e, p->sampler, &p->s.sample, i, n, per, first, &out);
    p->seconds += cli_seconds() - before;
    for (size_t k = 0; status == CM_OK && k < n; k++) {
        if (first % variations == 0 && p->out.page) status = put_shown(p, i + k);
        if (status == CM_OK) status = output_put(&p->out, per, p->images + k * per * size);
    }
    return status;
}

/* The results in pieces of what is computed at a time; a picture of many variations in several. */
static cm_status change_all(program *p, size_t batch, cli_progress *progress)
{
    const size_t v = (size_t)p->e.options.variations;
    cm_status status = CM_OK;
    if (p->e.task == INTERPOLATE) return call(p, 0, 1, p->results, 0);
    for (size_t at = 0, n, per; status == CM_OK && at < p->results; at += n * per) {
        const size_t left = p->e.pictures.n - at / v;
        n = v < batch && !p->e.levels ? (batch / v < left ? batch / v : left) : 1;
        per = v < batch ? v : v - at % v < batch ? v - at % v : batch;
        progress->before = at;
        progress->now = n * per;
        status = call(p, at / v, n, per, at);
    }
    return status;
}

static cm_status draw(program *p, size_t batch)
{
    cli_progress progress;
    cm_condition condition = CM_CONDITION_INIT;
    cli_progress_begin(&progress, p->e.name, p->values[QUIET] != NULL);
    progress.all = p->results;
    condition.labels = p->s.n_cycle ? p->labels : NULL;
    condition.guidance = p->s.condition.guidance;
    p->s.sample.condition = &condition;
    p->s.sample.progress = cli_progress_step;
    p->s.sample.progress_user = &progress;
    cm_status status = change_all(p, batch, &progress);
    cli_progress_end(&progress);
    return status == CM_OK ? output_finish(&p->out) : status;
}

static void read_command(program *p)
{
    const cli *c = &p->c;
    cli_begin();
    sampling_init(&p->s);
    cli_all(&p->c, p->values, -1, NULL, 0);
    editing_begin(&p->e, c);
    for (int i = FIT; i < N_OPTIONS; i++) {
        if (p->values[i] && i < STEPS) editing_option(&p->e, options[i].name, p->values[i]);
        if (p->values[i] && i >= STEPS) sampling_option(&p->s, c, options[i].name, p->values[i]);
    }
    p->out.margin = p->values[MARGIN] ? (int32_t)cli_integer(c, "margin", p->values[MARGIN], 0, 1000) : 2;
    output_choose(&p->out, c, p->values[OUTPUT], p->values[IMAGES], "edits.png");
    editing_check(&p->e);
    if (p->values[IMAGES] && p->values[MARGIN]) cli_usage_error(c, "--margin has no effect with --images");
    p->out.force = p->values[FORCE] != NULL;
}

/* What the model decides: labels by name, the sizes of the page. */
static cm_status choose_page(program *p, const cm_model *model)
{
    output *o = &p->out;
    const int frames = p->e.task == INTERPOLATE;
    const int32_t per = frames ? p->e.frames : p->e.options.variations, shown = o->page ? editing_shown(&p->e) : 0;
    const size_t rows = frames ? 1 : p->e.pictures.n;
    if (p->values[LABELS]) p->s.n_cycle = cli_labels(&p->c, model, p->values[LABELS], p->s.cycle, SAMPLING_MOST);
    else if (p->info.num_classes && !frames)
        cli_usage_error(&p->c,
                        "the model has %d classes: say with --labels which the pictures are of, or --labels none",
                        p->info.num_classes);
    if (p->e.task == COLORIZE && p->info.channels != 3)
        cli_usage_error(&p->c, "colorize: %s makes gray pictures", p->c.operands[1]);
    o->channels = p->info.channels, o->height = p->info.height, o->width = p->info.width;
    o->columns = shown + per;
    o->count = rows * (size_t)(shown + per);
    p->results = rows * (size_t)per;
    return output_open(o);
}

static cm_status run(program *p)
{
    const size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    const size_t n = p->e.task == INTERPOLATE ? p->results : sampling_batch(&p->s);
    cm_status status = editing_read(&p->e, &p->info, &p->s);
    if (status != CM_OK) return status;
    p->images = malloc(n * size * sizeof *p->images);
    p->labels = malloc(n * sizeof *p->labels);
    status = p->images && p->labels ? draw(p, n) : CM_ERR_MEMORY;
    if (status == CM_OK && (p->values[JSON] || !p->values[QUIET]))
        editing_report(&p->e, p->results, p->seconds, output_name(&p->out), p->values[JSON] != NULL);
    return status;
}

int main(int argc, char **argv)
{
    static program p;
    cm_model *model = NULL;
    char found[SAMPLING_PATH];
    p.c = (cli){.program = "cm-edit", .options = options, .n_options = N_OPTIONS, .argc = argc, .argv = argv};
    p.c.first = "inpaint colorize super-resolve stroke denoise interpolate";
    p.c.usage = "TASK MODEL [PICTURE...] [options]\n"
                "TASK: inpaint, colorize, super-resolve, stroke, denoise, or interpolate (which takes no picture)";
    read_command(&p);
    cli_catch_signals();
    cm_status status = output_check_names(&p.out);
    const char *path = sampling_path(&p.c, p.c.operands[1], p.values[QUIET] != NULL, found);
    if (status == CM_OK) status = sampling_load(&p.s, &p.c, path, &model, &p.info, NULL);
    if (status == CM_OK) status = choose_page(&p, model);
    if (status == CM_OK) status = cm_sampler_create(model, &p.s.sampler, &p.sampler);
    if (status == CM_OK) status = run(&p);
    int code = status == CM_OK ? CLI_OK : cli_fail(&p.c, status);
    if (status != CM_OK) output_tell(&p.out, &p.c);
    output_free(&p.out);
    editing_free(&p.e);
    free(p.images);
    free(p.labels);
    cm_sampler_free(p.sampler);
    cm_model_free(model);
    return cli_end(&p.c, code);
}
