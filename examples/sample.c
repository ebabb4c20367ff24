/* sample.c - cm-sample: draws images from a model file.
 *
 * No flag repeats what the file says: method, times, size and classes have
 * defaults from it. */
#include <stdlib.h>
#include <string.h>

#include "note.h"
#include "output.h"
#include "rounds.h"
#include "sampling.h"

/* What only this program knows comes first; from METHOD on they are options of sampling. */
enum {
    COUNT,
    OUTPUT,
    IMAGES,
    NPZ,
    COLUMNS,
    MARGIN,
    ENLARGE,
    FORCE,
    LABELS,
    LIKE,
    NO_NOTE,
    BENCH,
    JSON,
    QUIET,
    MPI,
    MPI_TIMEOUT,
    LOG_RANKS,
    RETRY,
    METHOD
};
static const cli_option options[] = {
    {"count", 'n', "N", "the number of images (16; with --labels rows 10 of each class, with all 8 of at most 16)"},
    {"output", 'o', "FILE", "write a page of all images, as .png or .jpg (samples.png)"},
    {"images", 0, "PATTERN", "write a file for each image instead, as in out/%05d.png; the folder has to be there"},
    {"npz", 0, "FILE", "write all images as the array arr_0 of a file instead, and their labels as arr_1"},
    {"columns", 0, "N", "the number of images in a row of the page (as many as there are rows)"},
    {"margin", 0, "PIXELS", "the space around each image of the page (2)"},
    {"enlarge", 0, "N", "each point of an image is N x N points of the page, 1 to 16 (1)"},
    {"force", 0, NULL, "replace files that exist"},
    {"labels", 'l', "LIST",
     "class numbers or names, used in turn; 'all': each, with a column of its own; 'rows': each in a row; 'none': "
     "no class"},
    {"like", 0, "FILE", "draw the picture of that name again, a PNG of this program; options besides change it"},
    {"no-note", 0, NULL, "do not write into PNGs how they were drawn"},
    {"bench", 0, NULL, "measure the time, the fastest of several calls, and write no picture"},
    {"json", 0, NULL, "print the report as JSON"},
    {"quiet", 'q', NULL, "print neither progress nor a report, but that of --bench and --json"},
    {"mpi", 0, NULL, "be one of several processes; mpirun and srun are seen without it"},
    {"mpi-timeout", 0, "S", "seconds after which a process that does not answer has failed (600)"},
    {"log-ranks", 0, NULL, "of several processes each prints its warnings, not the first alone"},
    {"retry", 0, NULL, "where one of several processes dies, the others draw its images too"},
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
    {"guidance", 0, "W",
     "the scale of guidance: of a diffusion model, which is then evaluated with and without labels, or of a network "
     "that is told of it (1)"},
    {"temperature", 0, "X",
     "what the noise that images begin with is multiplied by, 0.1 to 2: below 1 they are more typical and vary less "
     "(1)"},
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
    output out;
    note note;
    char like[TIMES_MODEL]; /* the weights of the picture of --like */
    int noted;              /* the note has its levels */
    ranks ranks;
    int silent;   /* --quiet, or another process speaks */
    double spent; /* seconds in this process's samplers */
    /* Of one call. */
    int32_t *labels, *evaluations;
    float *images;
    sampling_nfe nfe; /* of those that are kept, or of the last call of a benchmark */
} program;

/* The noise levels of the first image that this process draws, for the note: those of all. */
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

/* Of images first .. first + n - 1 of the run. */
static void label(const program *p, size_t first, size_t n, int32_t *labels)
{
    for (size_t i = 0; p->rows && i < n; i++)
        labels[i] = (int32_t)((first + i) / (size_t)p->out.columns % (size_t)p->info.num_classes);
    for (size_t i = 0; !p->rows && p->s.n_cycle && i < n; i++) labels[i] = p->s.cycle[(first + i) % p->s.n_cycle];
}

/* One call makes images first .. first + n - 1 of the run. */
static cm_status call(program *p, size_t first, size_t n, double *seconds)
{
    cm_sample_options o = p->s.sample;
    cm_condition condition = CM_CONDITION_INIT;
    label(p, first, n, p->labels);
    condition.labels = p->rows || p->s.n_cycle ? p->labels : NULL;
    condition.guidance = p->s.condition.guidance;
    o.condition = &condition;
    o.first_index += first;
    o.evaluations = p->evaluations;
    if (!p->noted && p->out.note && o.method != CM_METHOD_RK45) o.step = keep_level, o.step_user = &p->note;
    p->noted = 1;
    const double before = cli_seconds();
    cm_status status = cm_sampler_run(p->sampler, &o, n, p->images);
    *seconds = cli_seconds() - before;
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
    if (status == CM_OK) sampling_count(&p->nfe, p->count, p->evaluations);
    return status;
}

/* Images of a piece. */
static size_t images_of(const program *p, size_t piece, size_t batch)
{
    const size_t left = p->count - piece * batch;
    return left < batch ? left : batch;
}

/* A piece of `batch` images: their evaluations and, where rank 0 makes the file, their pixels.  Files are written by
 * the rank that draws them. */
static cm_status draw_piece(program *p, const rounds *w, size_t piece, size_t batch, unsigned char *bytes)
{
    const size_t n = images_of(p, piece, batch);
    const size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    double spent;
    cm_status status = call(p, piece * batch, n, &spent);
    if (status != CM_OK) return status;
    p->spent += spent;
    memcpy(bytes, p->evaluations, n * sizeof *p->evaluations);
    if (p->out.page) return output_pixels(&p->out, n, p->images, bytes + batch * sizeof *p->evaluations);
    uint8_t *pixels = malloc(n * size);
    status = pixels ? output_pixels(&p->out, n, p->images, pixels) : CM_ERR_MEMORY;
    if (status == CM_OK) status = output_write_files(&p->out, piece * batch, n, pixels, w->is_again);
    free(pixels);
    return status;
}

/* What has come on rank 0, in the order of the images. */
static cm_status take_pieces(program *p, rounds *w, size_t batch)
{
    const unsigned char *bytes;
    cm_status status = CM_OK;
    size_t piece;
    while (status == CM_OK && (bytes = rounds_next(w, &piece)) != NULL) {
        const size_t n = images_of(p, piece, batch);
        memcpy(p->evaluations, bytes, n * sizeof *p->evaluations);
        sampling_count(&p->nfe, n, p->evaluations);
        if (p->out.labels) label(p, piece * batch, n, p->out.labels + piece * batch);
        if (p->out.page) status = output_put_pixels(&p->out, n, bytes + batch * sizeof *p->evaluations);
    }
    return status;
}

static cm_status draw_rounds(program *p, rounds *w, size_t batch, unsigned char *bytes, cli_progress *progress)
{
    cm_status status = CM_OK;
    size_t mine, done = 0;
    while (status == CM_OK && rounds_deal(w, &mine)) {
        const size_t now = rounds_dealt(w) * batch;
        progress->before = done;
        progress->now = now < p->count - done ? now : p->count - done;
        done += (size_t)progress->now;
        if (mine != SIZE_MAX) status = draw_piece(p, w, mine, batch, bytes);
        if (status == CM_OK) status = rounds_collect(w, bytes);
        if (status == CM_OK) status = take_pieces(p, w, batch);
    }
    return status;
}

/* Whether all can be written is looked at by rank 0, before anybody writes. */
static cm_status open_output(program *p)
{
    rounds w = {0};
    cm_status status = ranks_speaks(&p->ranks) ? output_open(&p->out) : CM_OK;
    if (status == CM_OK && p->ranks.group.size < 2) return CM_OK;
    if (status == CM_OK) status = rounds_begin(&w, &p->ranks, &p->c, "the beginning", p->values[RETRY] != NULL, 0, 0);
    if (status == CM_OK) status = rounds_collect(&w, "");
    rounds_end(&w);
    return status;
}

/* Images of a piece: as many as are computed together, so that those before a stop are kept.  Ranks meet after each
 * piece, which costs them a message; theirs are of several such batches, but no more than SHARED bytes, and so many
 * that the last round is a small part of all. */
static size_t piece_of(const program *p, size_t batch)
{
    enum { SHARED = 1 << 20, ROUNDS = 16 };
    const size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    const size_t n_ranks = (size_t)p->ranks.group.size;
    if (n_ranks < 2) return batch;
    const size_t by_bytes = SHARED / size / batch, by_rounds = p->count / n_ranks / ROUNDS / batch;
    const size_t batches = by_bytes < by_rounds ? by_bytes : by_rounds;
    return batches > 1 ? batches * batch : batch;
}

/* Piece by piece: no memory for all. */
static cm_status draw(program *p, size_t batch, double *seconds)
{
    const size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    const size_t bytes = batch * (sizeof *p->evaluations + (p->out.page ? size : 0));
    const int labelled = p->out.arrays && (p->rows || p->s.n_cycle) && ranks_speaks(&p->ranks);
    rounds w;
    cli_progress progress;
    cli_progress_begin(&progress, "sampling", p->silent);
    progress.all = p->count;
    p->s.sample.progress = cli_progress_step;
    p->s.sample.progress_user = &progress;
    cm_status status = open_output(p);
    const double before = cli_seconds();
    unsigned char *mine = calloc(bytes, 1);
    if (labelled) p->out.labels = malloc(p->count * sizeof *p->labels);
    if (!mine || (labelled && !p->out.labels)) status = CM_ERR_MEMORY;
    const cm_status begun = rounds_begin(&w, &p->ranks, &p->c, "the samples", p->values[RETRY] != NULL,
                                         (p->count + batch - 1) / batch, bytes);
    if (status == CM_OK) status = begun;
    if (status == CM_OK) status = draw_rounds(p, &w, batch, mine, &progress);
    rounds_end(&w);
    free(mine);
    *seconds = p->ranks.group.size < 2 ? p->spent : cli_seconds() - before;
    cli_progress_end(&progress);
    return status == CM_OK && ranks_speaks(&p->ranks) ? output_finish(&p->out) : status;
}

static cm_status run(program *p, double load)
{
    const size_t size = (size_t)p->info.height * (size_t)p->info.width * (size_t)p->info.channels;
    const size_t batch = sampling_batch(&p->s),
                 n = p->values[BENCH] || p->count < batch ? p->count : piece_of(p, batch);
    double spent = 0;
    p->images = n > SIZE_MAX / sizeof *p->images / size ? NULL : malloc(n * size * sizeof *p->images);
    p->labels = malloc(n * sizeof *p->labels);
    p->evaluations = malloc(n * sizeof *p->evaluations);
    if (!p->images || !p->labels || !p->evaluations) cli_usage_error(&p->c, "%zu images do not fit into memory", n);
    int32_t nfe; /* wrong options are told before a file is made */
    cm_status status = cm_sampler_nfe(p->sampler, &p->s.sample, &nfe);
    if (status == CM_OK) status = p->values[BENCH] ? time_calls(p, &spent) : draw(p, n, &spent);
    const int reports = p->values[JSON] || p->values[BENCH] || !p->values[QUIET];
    if (status == CM_OK && reports && ranks_speaks(&p->ranks)) {
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
        if (v[IMAGES] || v[NPZ]) p->values[MARGIN] = p->values[ENLARGE] = NULL; /* of the page */
        if ((v[IMAGES] || v[NPZ]) && !(v[LABELS] && strcmp(v[LABELS], "rows") == 0)) p->values[COLUMNS] = NULL;
    }
    for (int i = METHOD; i < N_OPTIONS; i++)
        if (v[i]) sampling_option(&p->s, c, options[i].name, v[i]);
    sampling_times(&p->s, c);
    if (c->n_operands != 1) cli_usage_error(c, "give one model file, or a picture with --like");
    if (v[BENCH] && (v[IMAGES] || v[OUTPUT] || v[NPZ])) cli_usage_error(c, "--bench writes no picture");
    p->rows = v[LABELS] && strcmp(v[LABELS], "rows") == 0;
    p->count = v[COUNT] ? (size_t)cli_integer(c, "count", v[COUNT], 1, 1000000000) : 0;
    p->out.columns = v[COLUMNS] ? (int32_t)cli_integer(c, "columns", v[COLUMNS], 1, 65535) : 0;
    p->out.margin = v[MARGIN] ? (int32_t)cli_integer(c, "margin", v[MARGIN], 0, 1000) : 2;
    p->out.times = v[ENLARGE] ? (int32_t)cli_integer(c, "enlarge", v[ENLARGE], 1, 16) : 1;
    if (v[ENLARGE] && (v[IMAGES] || v[NPZ]))
        cli_usage_error(c, "--enlarge has no effect with --%s", v[NPZ] ? "npz" : "images");
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

/* The other processes, where there are any. */
static void join(program *p)
{
    const cli *c = &p->c;
    const char *const *v = p->values;
    const double seconds = v[MPI_TIMEOUT] ? cli_number(c, "mpi-timeout", v[MPI_TIMEOUT], 0.1, 1e6) : 0;
    ranks_join(&p->ranks, c, v[MPI] != NULL, seconds);
    p->silent = v[QUIET] != NULL || !ranks_speaks(&p->ranks);
    const int alone = v[RETRY] ? RETRY : v[LOG_RANKS] ? LOG_RANKS : MPI_TIMEOUT;
    if (!p->ranks.group.size && v[alone])
        cli_usage_error(c, "--%s has no effect on one process", options[alone].name);
    if (p->ranks.group.size < 2) return;
    if (v[BENCH]) cli_usage_error(c, "--bench is of one process");
    if (!p->s.sampler.threads) p->s.sampler.threads = ranks_threads();
    ranks_introduce(&p->ranks, &p->c, p->s.sampler.threads, p->silent, v[LOG_RANKS] != NULL);
}

/* What decides the images, as every process has to have it. */
static void compare(program *p, const cm_model *model)
{
    char text[4096], weights[TIMES_MODEL] = "";
    if (p->ranks.group.size < 2) return;
    (void)times_model(model, weights);
    int n = snprintf(text, sizeof text, "library: %s\nweights: %s\n", cm_version(), weights);
    for (int i = 0; i < N_OPTIONS && n < (int)sizeof text; i++)
        if (p->values[i] && strcmp(options[i].name, "threads") != 0)
            n += snprintf(text + n, sizeof text - (size_t)n, "--%s: %.300s\n", options[i].name, p->values[i]);
    ranks_compare(&p->ranks, &p->c, text);
}

/* The columns of `--labels all`; 0: it was not given, or there are too many classes. */
static int class_columns(const program *p)
{
    enum { MOST = 16 };
    return p->values[LABELS] && strcmp(p->values[LABELS], "all") == 0 && p->info.num_classes <= MOST
               ? p->info.num_classes
               : 0;
}

/* What the model decides: labels by name, how many images, in how many columns. */
static void choose_page(program *p, const cm_model *model)
{
    output *o = &p->out;
    const int by_class = class_columns(p);
    if (p->values[LABELS] && !p->rows)
        p->s.n_cycle = cli_labels(&p->c, model, p->values[LABELS], p->s.cycle, SAMPLING_MOST);
    if (p->rows && !p->info.num_classes) cli_usage_error(&p->c, "--labels rows: the model has no classes");
    if (p->rows && !o->columns) o->columns = 10;
    if (!o->columns) o->columns = by_class;
    if (!p->count) p->count = p->rows ? (size_t)(10 * p->info.num_classes) : by_class ? (size_t)(8 * by_class) : 16;
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
    join(&p);
    cli_catch_signals();
    cm_status status = p.values[BENCH] ? CM_OK : output_check_names(&p.out);
    const char *path = sampling_path(&p.c, p.c.operands[0], p.values[QUIET] || p.ranks.group.rank > 0, found);
    if (status == CM_OK) status = sampling_load(&p.s, &p.c, path, &model, &p.info, &load);
    if (status == CM_OK) choose_page(&p, model);
    if (status == CM_OK) compare(&p, model);
    if (status == CM_OK) status = begin_note(&p, model);
    if (status == CM_OK) status = sampling_load_below(&p.s, &p.c, &below);
    if (status == CM_OK) status = cm_sampler_create(model, &p.s.sampler, &p.sampler);
    if (status == CM_OK) status = run(&p, load);
    int code = status == CM_OK ? CLI_OK : ranks_fail(&p.ranks, &p.c, status);
    if (status != CM_OK) output_tell(&p.out, &p.c);
    output_free(&p.out);
    free(p.images);
    free(p.labels);
    free(p.evaluations);
    cm_sampler_free(p.sampler);
    cm_model_free(model);
    cm_model_free(below);
    return ranks_leave(&p.ranks, cli_end(&p.c, code));
}
