/* sample.c - cm-sample: draws images from a model file.
 *
 * No flag repeats what the file says: method, times, size and classes have
 * defaults from it. */
#include <stdlib.h>
#include <string.h>

#include "note.h"
#include "output.h"
#include "sampling.h"

/* What only this program knows comes first; from METHOD on they are options of sampling. */
enum {
    COUNT,
    OUTPUT,
    IMAGES,
    NPZ,
    COLUMNS,
    MARGIN,
    FORCE,
    LABELS,
    GUIDANCE,
    LIKE,
    NO_NOTE,
    BENCH,
    JSON,
    QUIET,
    METHOD
};
static const cli_option options[] = {
    {"count", 'n', "N", "the number of images (16; with --labels rows, 10 of each class)"},
    {"output", 'o', "FILE", "write a page of all images, as .png or .jpg (samples.png)"},
    {"images", 0, "PATTERN", "write a file for each image instead, as in out/%05d.png; the folder has to be there"},
    {"npz", 0, "FILE", "write all images as the array arr_0 of a file instead, and their labels as arr_1"},
    {"columns", 0, "N", "the number of images in a row of the page (as many as there are rows)"},
    {"margin", 0, "PIXELS", "the space around each image of the page (2)"},
    {"force", 0, NULL, "replace files that exist"},
    {"labels", 'l', "LIST", "class numbers or names, used in turn; 'rows': a class in each row; 'none': no class"},
    {"guidance", 0, "W", "the scale of guidance, of networks that are told of it (1)"},
    {"like", 0, "FILE", "draw the picture of that name again, a PNG of this program; options besides change it"},
    {"no-note", 0, NULL, "do not write into PNGs how they were drawn"},
    {"bench", 0, NULL, "measure the time, the fastest of several calls, and write no picture"},
    {"json", 0, NULL, "print the report as JSON"},
    {"quiet", 'q', NULL, "print neither progress nor a report, but that of --bench and --json"},
    {"method", 'm', "NAME", "{methods}"},
    {"steps", 0, "N", "the number of steps of the method"},
    {"sigmas", 0, "LIST", "the noise levels of the steps, falling, as in 80,0.821"},
    {"ts", 0, "LIST", "the steps as indices of the grid, rising, as in 0,22,39; needs --grid"},
    {"grid", 0, "N", "the number of points of the grid that --ts counts in, as in 40"},
    {"times", 0, "FILE", "the noise levels that cm-eval --search-times found; with --steps N its list of N levels"},
    {"rho", 0, "X", "the curvature of the grid of noise levels (7)"},
    {"order", 0, "N", "the order of dpmpp, 1 to 3 (3)"},
    {"form", 0, "NAME", "the form of its steps of order 2: {dpmpp_forms}"},
    {"end", 0, "NAME", "the orders of its last steps: {dpmpp_ends}"},
    {"rtol", 0, "X", "the relative tolerance of rk45 (1e-5)"},
    {"atol", 0, "X", "the absolute tolerance of rk45 (1e-5)"},
    {"max-nfe", 0, "N", "the evaluations that rk45 may take (1000)"},
    {"snr", 0, "X", "the signal-to-noise ratio of the corrector of pc (0.16)"},
    {"corrections", 0, "N", "how often pc corrects at a level (1)"},
    {"churn", 0, "X", "the noise that heun, dpm and edm add on the way (s_churn, 0)"},
    {"no-clip", 0, NULL, "do not clamp the estimates to [-1,1]"},
    {"seed", 's', "N", "the number that all noise follows from (0)"},
    {"first", 0, "N", "the index of the first image of the seed (0)"},
    {"torch-noise", 0, NULL, "take the noise from the stream of torch's generators, one for each image"},
    {"batch", 'b', "N", "the number of images that are computed at a time (16)"},
    {"threads", 't', "N", "the number of threads (all processors that the process may use)"},
    {"precision", 0, "NAME", "{precisions}: bf16 is for processors with AMX or AVX512_BF16, and less exact"},
    {"dtype", 0, "NAME", "another spelling of --precision: {precisions}"},
    {"memory", 0, "NAME", "{memories}: small takes less memory and is slower"},
    {"debug", 0, "TEXT", "entries key=number with commas between them, for those who work on the library"},
    {"below", 0, "FILE", "another model, which is evaluated below --border instead (TCM: that of the first stage)"},
    {"border", 0, "X", "the noise level from which on MODEL is evaluated, and below it that of --below"},
    {"config", 0, "JSON", "the configuration of a file that carries none, or the name of a file with it"},
    {"weights", 0, "NAME", "which of a checkpoint's sets of weights (ema, model, ...); the average"},
};
enum { N_OPTIONS = sizeof options / sizeof *options };

typedef struct {
    cli c;
    const char *values[N_OPTIONS];
    sampling s;
    cm_model_info info;
    cm_sampler *sampler;
    size_t count;
    int rows; /* --labels rows */
    double guidance;
    output out;
    note note;
    char like[TIMES_MODEL]; /* the weights of the picture of --like */
    /* Of one call. */
    int32_t *labels, *evaluations;
    float *images;
    sampling_nfe nfe; /* of those that are kept, or of the last call of a benchmark */
} program;

/* The noise levels of the first image, for the note. */
static int32_t keep_level(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *denoised)
{
    note *n = user;
    (void)denoised;
    if (first == 0 && evaluation >= 0 && evaluation < NOTE_LEVELS) n->levels[evaluation] = sigma;
    if (first == 0 && (size_t)evaluation >= n->n_levels) n->n_levels = (size_t)evaluation + 1;
    return 0;
}

/* The note of the page, or of image `index` of the run alone. */
static char *make_note(void *user, const output *o, size_t index)
{
    program *p = user;
    char label[16];
    if (p->s.sample.method == CM_METHOD_DEFAULT) /* what it means, in words of cm_method */
        p->note.method = !p->info.is_consistency ? "heun" : p->note.n_levels > 1 ? "multistep" : "onestep";
    note_page page = {o->first, p->count, o->columns, o->margin, p->values[LABELS]};
    if (o->pattern) {
        const size_t at = p->s.n_cycle ? index % p->s.n_cycle : 0;
        const int32_t number =
            p->rows ? (int32_t)(index / (size_t)o->columns % (size_t)p->info.num_classes) : p->s.cycle[at];
        page = (note_page){o->first + index, 1, 1, 0, p->values[LABELS] ? label : NULL};
        if (number < 0) (void)snprintf(label, sizeof label, "none");
        else (void)snprintf(label, sizeof label, "%d", number);
    }
    return note_text(&p->note, &page);
}

/* One call makes images first .. first + n - 1 of the run. */
static cm_status call(program *p, size_t first, size_t n, double *seconds)
{
    cm_sample_options o = p->s.sample;
    cm_condition condition = CM_CONDITION_INIT;
    for (size_t i = 0; p->rows && i < n; i++)
        p->labels[i] = (int32_t)((first + i) / (size_t)p->out.columns % (size_t)p->info.num_classes);
    for (size_t i = 0; !p->rows && p->s.n_cycle && i < n; i++) p->labels[i] = p->s.cycle[(first + i) % p->s.n_cycle];
    condition.labels = p->rows || p->s.n_cycle ? p->labels : NULL;
    condition.guidance = p->guidance;
    o.condition = &condition;
    o.first_index += first;
    o.evaluations = p->evaluations;
    if (first == 0 && p->out.note && o.method != CM_METHOD_RK45) o.step = keep_level, o.step_user = &p->note;
    const double before = cli_seconds();
    cm_status status = cm_sampler_run(p->sampler, &o, n, p->images);
    *seconds = cli_seconds() - before;
    if (p->values[BENCH]) p->nfe = (sampling_nfe){0};
    if (status == CM_OK) sampling_count(&p->nfe, n, p->evaluations);
    return status;
}

/* A benchmark makes one call to warm memory and weights, then at least three
 * and a second's; the fastest counts, as in tests/peers/torch_net.py. */
static cm_status time_calls(program *p, double *fastest)
{
    double total = 0, spent;
    cm_status status = call(p, 0, p->count, &spent);
    *fastest = 1e30;
    for (int i = 0; status == CM_OK && (i < 3 || total < 1); i++) {
        status = call(p, 0, p->count, &spent);
        if (spent < *fastest) *fastest = spent;
        total += spent;
    }
    return status;
}

/* As many images at a time as are computed together: no memory for all, and those before a stop are kept. */
static cm_status draw(program *p, size_t batch, double *seconds)
{
    cli_progress progress;
    cli_progress_begin(&progress, "sampling", p->values[QUIET] != NULL);
    progress.all = p->count;
    p->s.sample.progress = cli_progress_step;
    p->s.sample.progress_user = &progress;
    cm_status status = output_open(&p->out);
    if (p->out.arrays && (p->rows || p->s.n_cycle)) p->out.labels = malloc(p->count * sizeof *p->labels);
    if (p->out.arrays && (p->rows || p->s.n_cycle) && !p->out.labels) status = CM_ERR_MEMORY;
    for (size_t i = 0; status == CM_OK && i < p->count; i += batch) {
        double spent = 0;
        progress.before = i;
        progress.now = p->count - i < batch ? p->count - i : batch;
        status = call(p, i, (size_t)progress.now, &spent);
        *seconds += spent;
        if (status == CM_OK && p->out.labels)
            memcpy(p->out.labels + i, p->labels, (size_t)progress.now * sizeof *p->labels);
        if (status == CM_OK) status = output_put(&p->out, (size_t)progress.now, p->images);
    }
    cli_progress_end(&progress);
    return status == CM_OK ? output_finish(&p->out) : status;
}

static cm_status run(program *p, double load)
{
    const size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    const size_t batch = sampling_batch(&p->s), n = p->values[BENCH] || p->count < batch ? p->count : batch;
    double spent = 0;
    p->images = n > SIZE_MAX / sizeof *p->images / size ? NULL : malloc(n * size * sizeof *p->images);
    p->labels = malloc(n * sizeof *p->labels);
    p->evaluations = malloc(n * sizeof *p->evaluations);
    if (!p->images || !p->labels || !p->evaluations) cli_usage_error(&p->c, "%zu images do not fit into memory", n);
    int32_t nfe; /* wrong options are told before a file is made */
    cm_status status = cm_sampler_nfe(p->sampler, &p->s.sample, &nfe);
    if (status == CM_OK) status = p->values[BENCH] ? time_calls(p, &spent) : draw(p, n, &spent);
    if (status == CM_OK && (p->values[JSON] || p->values[BENCH] || !p->values[QUIET])) {
        const sampling_result r = {p->count, p->nfe, load, spent, p->values[BENCH] ? NULL : output_name(&p->out)};
        sampling_report(&p->s, p->sampler, &r, p->values[JSON] != NULL);
    }
    return status;
}

static void read_command(program *p)
{
    const cli *c = &p->c;
    const char *const *v = p->values;
    cli_begin();
    sampling_init(&p->s);
    cli_all(&p->c, p->values, -1, NULL, 0);
    if (v[LIKE]) {
        const char *model = note_like(c, v[LIKE], p->values, p->like);
        if (!c->n_operands) p->c.operands[p->c.n_operands++] = model;
        if (v[IMAGES] || v[NPZ]) p->values[MARGIN] = NULL; /* of the page */
        if ((v[IMAGES] || v[NPZ]) && !(v[LABELS] && strcmp(v[LABELS], "rows") == 0)) p->values[COLUMNS] = NULL;
    }
    for (int i = METHOD; i < N_OPTIONS; i++)
        if (v[i]) sampling_option(&p->s, c, options[i].name, v[i]);
    sampling_times(&p->s, c);
    if (c->n_operands != 1) cli_usage_error(c, "give one model file, or a picture with --like");
    if (v[BENCH] && (v[IMAGES] || v[OUTPUT] || v[NPZ])) cli_usage_error(c, "--bench writes no picture");
    p->rows = v[LABELS] && strcmp(v[LABELS], "rows") == 0;
    p->guidance = v[GUIDANCE] ? cli_number(c, "guidance", v[GUIDANCE], 1e-6, 1e6) : 0;
    p->count = v[COUNT] ? (size_t)cli_integer(c, "count", v[COUNT], 1, 1000000000) : 0;
    p->out.columns = v[COLUMNS] ? (int32_t)cli_integer(c, "columns", v[COLUMNS], 1, 65535) : 0;
    p->out.margin = v[MARGIN] ? (int32_t)cli_integer(c, "margin", v[MARGIN], 0, 1000) : 2;
    if (v[NPZ] && (v[OUTPUT] || v[IMAGES])) cli_usage_error(c, "give one of --output, --images and --npz");
    if (v[NPZ] && (v[MARGIN] || (v[COLUMNS] && !p->rows)))
        cli_usage_error(c, "--%s has no effect with --npz", v[MARGIN] ? "margin" : "columns");
    output_choose(&p->out, c, v[NPZ] ? v[NPZ] : v[OUTPUT], v[IMAGES], "samples.png");
    p->out.arrays = v[NPZ] != NULL;
    if (v[IMAGES] && v[MARGIN]) cli_usage_error(c, "--margin has no effect with --images");
    if (v[IMAGES] && v[COLUMNS] && !p->rows) cli_usage_error(c, "--columns has no effect with --images");
    p->out.force = v[FORCE] != NULL;
    p->out.first = p->s.sample.first_index;
    if (v[NO_NOTE] && (v[NPZ] || v[BENCH]))
        cli_usage_error(c, "--no-note has no effect with --%s", v[NPZ] ? "npz" : "bench");
    if (!v[NO_NOTE] && !v[NPZ] && !v[BENCH] && output_is_png(&p->out)) p->out.note = make_note, p->out.note_user = p;
}

/* What the note says of the run, once the model is there; with --like the model has to be that of the picture. */
static cm_status begin_note(program *p, const cm_model *model)
{
    note *n = &p->note;
    n->c = &p->c;
    n->values = p->values;
    n->model = p->c.operands[0];
    n->seed = p->s.sample.seed;
    n->method = cm_choice_name("methods", (size_t)p->s.sample.method);
    if (!p->out.note && !p->values[LIKE]) return CM_OK;
    const cm_status status = times_model(model, n->weights);
    if (status == CM_OK && p->values[LIKE] && strcmp(n->weights, p->like) != 0)
        cli_usage_error(&p->c, "--like %s: the picture is of a model with weights %s, and those of %s are %s",
                        p->values[LIKE], p->like, n->model, n->weights);
    return status;
}

/* The name of a class, or its number where it has none. */
static const char *class_text(const cm_model *model, int32_t label)
{
    static char numbers[SAMPLING_MOST][12]; /* of labels below; larger ones have no text */
    const char *name = label < 0 ? "none" : cm_model_class_name(model, label);
    if (name || label >= SAMPLING_MOST) return name;
    snprintf(numbers[label], sizeof numbers[label], "%d", label);
    return numbers[label];
}

/* Where every image of a column is of one class and another column of another, its name stands over it; not where
 * images touch, which makes one picture of them. */
static void name_columns(program *p, const cm_model *model)
{
    output *o = &p->out;
    const size_t columns = (size_t)o->columns, n = p->s.n_cycle;
    if (p->rows || n < 2 || columns % n || !o->margin || !(o->names = calloc(columns, sizeof *o->names))) return;
    for (size_t i = 0; i < columns; i++) o->names[i] = class_text(model, p->s.cycle[i % n]);
}

/* What the model decides: labels by name, how many images, in how many columns. */
static void choose_page(program *p, const cm_model *model)
{
    output *o = &p->out;
    if (p->values[LABELS] && !p->rows)
        p->s.n_cycle = cli_labels(&p->c, model, p->values[LABELS], p->s.cycle, SAMPLING_MOST);
    if (p->rows && !p->info.num_classes) cli_usage_error(&p->c, "--labels rows: the model has no classes");
    if (p->rows && !o->columns) o->columns = 10;
    if (!p->count) p->count = p->rows ? (size_t)(10 * p->info.num_classes) : 16;
    if (!o->columns)
        for (o->columns = 1; (size_t)o->columns * (size_t)o->columns < p->count;) o->columns++;
    o->channels = p->info.channels;
    o->height = p->info.height;
    o->width = p->info.width;
    o->count = p->count;
    name_columns(p, model);
}

int main(int argc, char **argv)
{
    static program p;
    cm_model *model = NULL, *below = NULL;
    char found[SAMPLING_PATH];
    double load;
    p.c = (cli){.program = "cm-sample", .options = options, .n_options = N_OPTIONS, .argc = argc, .argv = argv};
    p.c.usage = "MODEL [options]\n"
                "MODEL is a file or a folder of any format that is read: a native file, PyTorch's .pt, EDM's\n"
                ".pkl, flax's msgpack, a folder of diffusers; or the directory of a run of cm-train";
    read_command(&p);
    cli_catch_signals();
    cm_status status = p.values[BENCH] ? CM_OK : output_check_names(&p.out);
    const char *path = sampling_path(&p.c, p.c.operands[0], p.values[QUIET] != NULL, found);
    if (status == CM_OK) status = sampling_load(&p.s, &p.c, path, &model, &p.info, &load);
    if (status == CM_OK) choose_page(&p, model);
    if (status == CM_OK) status = begin_note(&p, model);
    if (status == CM_OK) status = sampling_load_below(&p.s, &p.c, &below);
    if (status == CM_OK) status = cm_sampler_create(model, &p.s.sampler, &p.sampler);
    if (status == CM_OK) status = run(&p, load);
    int code = status == CM_OK ? CLI_OK : cli_fail(&p.c, status);
    if (status != CM_OK) output_tell(&p.out, &p.c);
    output_free(&p.out);
    free(p.images);
    free(p.labels);
    free(p.evaluations);
    cm_sampler_free(p.sampler);
    cm_model_free(model);
    cm_model_free(below);
    return cli_end(&p.c, code);
}
