/* eval.c - cm-eval: how close two sets of images are. */
#include <stdlib.h>
#include <string.h>

#include "feature_files.h"
#include "likelihood.h"
#include "pairs.h"
#include "searching.h"

static const cli_option options[] = {
    {"metric", 'm', "LIST",
     "what to compute, with commas: fid, sfid, is, pr, kid of the Inception network; fd-NET, pr-NET, kid-NET, "
     "is-NET, "
     "right-NET of another, NET as lenet, resnet20, resnet56; or bpd, the bits/dim of pictures under a diffusion "
     "model"},
    {"features", 0, "FILE", "the weights of the feature network; models/features/NET.safetensors"},
    {"inputs", 0, "NAME",
     "how the Inception network takes images: openai (as published values have it) or pytorch-fid"},
    {"few", 0, NULL, "compare sets of fewer than 2,000 images too"},
    {"resize", 0, NULL, "cut pictures of another size to the network's: the middle, as data sets do it"},
    {"limit", 'n', "N", "at most so many images of each set, the first ones"},
    {"subsets", 0, "N", "also the mean and deviation of the Frechet distance over N random halves of A"},
    {"infinity", 0, NULL, "also what the Frechet distance would be with infinitely many images of A"},
    {"write", 'o', "FILE",
     "write mean and covariance of A's features, which stands for A afterwards (.npz; without B nothing is "
     "compared); "
     "the result of --search-times "
     "(times.json) or --curve (curve.json)"},
    {"keep", 0, "FILE",
     "write the features of A's images, so that FILE stands for A afterwards, whatever the metric (.npz)"},
    {"force", 'f', NULL, "overwrite an existing file"},
    {"json", 0, NULL, "print the result as JSON"},
    {"quiet", 'q', NULL, "show no progress"},
    {"pairs", 0, NULL,
     "image i of A against image i of B; --metric is psnr, ssim, lpips-vgg, lpips-alex or lpips-squeeze then, and "
     "--features torchvision's file"},
    {"lin", 0, "FILE", "with --pairs: how much each channel counts in LPIPS; models/features/lpips_lin.safetensors"},
    {"search-times", 0, "N",
     "find the noise levels of N steps at which a model is best by the metric: give the model, and what its samples "
     "are "
     "compared with. It begins with --sigmas (the highest level) and searches the points of --grid (40)"},
    {"curve", 0, "LIST",
     "the metric for each of these numbers of steps, as in 1,2,4,8, of one or more models; what their samples are "
     "compared with comes last"},
    {"plot", 0, "FILE", "of --search-times and --curve, .svg; the name of the result that --write says with .svg"},
    {"samples", 0, "N", "images that are drawn of a model (10,000), its classes in turn"},
    {"probes", 0, "N", "of bpd: the random directions by which the trace is estimated (1)"},
    {"method", 0, "NAME", "of a model: {methods}"},
    {"steps", 0, "N", "of a model: the number of steps of the method"},
    {"sigmas", 0, "LIST", "of a model: the noise levels of the steps, falling, as in 80,0.821"},
    {"ts", 0, "LIST", "of a model: the steps as indices of the grid, rising, as in 0,22,39; needs --grid"},
    {"grid", 0, "N", "of a model: the number of points of the grid that --ts counts in, as in 40"},
    {"times", 0, "FILE",
     "of a model: the noise levels that --search-times found for it; with --steps N its list of N"},
    {"guidance", 0, "W",
     "of a model: the scale of guidance: of a diffusion model, which is then evaluated with and without labels, or "
     "of a "
     "network that is told of it (1)"},
    {"temperature", 0, "X", "of a model: what the noise that images begin with is multiplied by, 0.1 to 2 (1)"},
    {"seed", 's', "N", "of a model: the number that all noise follows from (0)"},
    {"batch", 'b', "N", "of a model: the number of images that are computed at a time (16)"},
    {"precision", 0, "NAME",
     "of a model: {precisions}; bf16 is for processors with AMX or AVX512_BF16, and less exact"},
    {"weights", 0, "NAME", "of a model: which of a checkpoint's sets of weights (ema, model, ...); the average"},
    {"mpi", 0, NULL, "be one of several processes, which share the images; mpirun and srun are seen without it"},
    {"mpi-timeout", 0, "S", "seconds after which a process that does not answer has failed (600)"},
    {"log-ranks", 0, NULL, "of several processes each prints its warnings, not the first alone"},
    {"retry", 0, NULL, "where one of several processes dies, the others take over its images"},
};
enum {
    METRIC,
    FEATURES,
    INPUTS,
    FEW,
    RESIZE,
    LIMIT,
    SUBSETS,
    INFINITY_,
    WRITE,
    KEEP,
    FORCE,
    JSON,
    QUIET,
    PAIRS,
    LIN,
    SEARCH_TIMES,
    CURVE,
    PLOT,
    SAMPLES,
    PROBES,
    METHOD,
    STEPS,
    SIGMAS,
    TS,
    GRID,
    TIMES,
    GUIDANCE,
    TEMPERATURE,
    SEED,
    BATCH,
    PRECISION,
    WEIGHTS,
    MPI,
    MPI_TIMEOUT,
    LOG_RANKS,
    RETRY,
    N_OPTIONS = sizeof options / sizeof *options
};
enum { SAMPLED = 10000, MOST_METRICS = 16 };

typedef struct {
    metric metrics[MOST_METRICS];
    size_t n_metrics;
    const char *list, *features, *write, *keep, *inputs, *lin;
    const char *plot;
    int few, infinity, force, json, quiet, sampled, pairs, likelihood;
    int32_t probes;
    FILE *out; /* where results go: of JSON, which appears whole or not at all, to `text` first */
    char *text;
    size_t text_size;
    int given[N_OPTIONS];
    int32_t subsets, steps; /* of --search-times */
    int32_t counts[SEARCH_MOST];
    size_t n_counts; /* of --curve */
    side_options sides;
    sampling sampling;
    ranks ranks;
    double seconds; /* --mpi-timeout */
} choices;

static void read_metrics(const cli *c, const char *text, choices *o)
{
    char *list = strdup(text), *rest = list; /* lives until the program ends */
    for (char *word; list && (word = strtok_r(rest, ",", &rest)) != NULL;) {
        if (o->n_metrics == MOST_METRICS) cli_usage_error(c, "--metric: at most %d at a time", MOST_METRICS);
        metric_read(c, word, &o->metrics[o->n_metrics]);
        for (size_t i = 0; i < o->n_metrics; i++)
            if (strcmp(o->metrics[i].name, o->metrics[o->n_metrics].name) == 0)
                cli_usage_error(c, "--metric names %s twice", o->metrics[i].name);
        o->n_metrics++;
    }
    if (!o->n_metrics) cli_usage_error(c, "--metric names nothing");
}

/* The Inception network of fid and the like. */
static void name_inception(const cli *c, choices *o)
{
    static const char *const names[] = {"openai", "pytorch-fid", NULL};
    const int which = o->inputs ? cli_choice(c, "inputs", o->inputs, names) : 0;
    int used = 0;
    for (size_t i = 0; i < o->n_metrics; i++)
        if (!o->metrics[i].net) o->metrics[i].net = which ? "inception-pytorch" : "inception", used = 1;
    if (o->inputs && !used) cli_usage_error(c, "--inputs has no effect without fid, sfid, is, pr or kid");
}

/* `without` are options that have no effect with `mode`, up to the first METRIC. */
static void refuse_with(const cli *c, const choices *o, int mode, const int *without)
{
    for (; *without != METRIC; without++)
        if (o->given[*without])
            cli_usage_error(c, "--%s has no effect with --%s", options[*without].name, options[mode].name);
}

static void refuse_for_pairs(const cli *c, const choices *o)
{
    static const int without[] = {INPUTS, FEW,  RESIZE,       SUBSETS, INFINITY_, WRITE, KEEP,
                                  FORCE,  PLOT, SEARCH_TIMES, CURVE,   SAMPLES,   METRIC};
    refuse_with(c, o, PAIRS, without);
    if (o->sampled) cli_usage_error(c, "--%s has no effect with --pairs", options[o->sampled].name);
    if (o->lin && !o->features) cli_usage_error(c, "--lin has no effect without --features");
}

/* Of --metric bpd: what is no option of it has no effect. */
static void refuse_for_likelihood(const cli *c, const choices *o)
{
    static const int with[] = {METRIC, LIMIT, RESIZE, JSON, QUIET, PROBES, SEED, WEIGHTS};
    for (int i = 0; i < N_OPTIONS; i++) {
        int known = !o->given[i];
        for (size_t k = 0; k < sizeof with / sizeof *with; k++) known |= with[k] == i;
        if (!known) cli_usage_error(c, "--%s has no effect with --metric bpd", options[i].name);
    }
    if (c->n_operands != 2) cli_usage_error(c, "--metric bpd: give a model and pictures");
}

/* Of --search-times and --curve. */
static void refuse_for_search(const cli *c, choices *o)
{
    static const int of_times[] = {CURVE, SUBSETS, INFINITY_, KEEP,        METHOD, STEPS,
                                   TS,    TIMES,   GUIDANCE,  TEMPERATURE, METRIC},
                     of_curve[] = {SUBSETS, INFINITY_, KEEP, STEPS, SIGMAS, TS, GRID, METRIC};
    const size_t n = o->plot ? strlen(o->plot) : 0;
    refuse_with(c, o, o->steps ? SEARCH_TIMES : CURVE, o->steps ? of_times : of_curve);
    if (o->n_metrics != 1)
        cli_usage_error(c, "--%s looks at one metric", options[o->steps ? SEARCH_TIMES : CURVE].name);
    metric_need_one(c, &o->metrics[0]);
    for (size_t i = 1; i < o->n_counts; i++)
        if (o->counts[i] <= o->counts[i - 1]) cli_usage_error(c, "--curve: the numbers have to rise, as in 1,2,4,8");
    if (o->plot && (n < 5 || strcmp(o->plot + n - 4, ".svg") != 0))
        cli_usage_error(c, "--plot %s: the name has to end with .svg", o->plot);
}

/* They are about the Frechet distance of a network's own features. */
static void refuse_subsets(const cli *c, const choices *o)
{
    for (size_t i = 0; i < o->n_metrics; i++)
        if (o->metrics[i].what == FD) return;
    if (o->subsets || o->infinity)
        cli_usage_error(c, "--%s has no effect without fid or fd-NET", o->subsets ? "subsets" : "infinity");
}

/* Told before the work that would be lost; those of a search are looked at with its own names. */
static void refuse_files(const cli *c, const choices *o)
{
    if (o->steps || o->n_counts) return;
    if (o->write && o->keep && strcmp(o->write, o->keep) == 0)
        cli_usage_error(c, "--write and --keep both name %s", o->write);
    if (o->write) cli_check_file(c, o->write, o->force);
    if (o->keep) cli_check_file(c, o->keep, o->force);
}

/* The other processes, where there are any. */
static void join(cli *c, choices *o)
{
    const int single = o->pairs || o->likelihood || o->steps || o->n_counts;
    ranks_join(&o->ranks, c, o->given[MPI], o->seconds);
    const int alone = o->given[RETRY] ? RETRY : o->given[LOG_RANKS] ? LOG_RANKS : MPI_TIMEOUT;
    if (!o->ranks.group.size && o->given[alone])
        cli_usage_error(c, "--%s has no effect on one process", options[alone].name);
    if (o->ranks.group.size < 2) return;
    if (single)
        cli_usage_error(c, "--pairs, --metric bpd, --search-times and --curve are of one process, and there are %d",
                        o->ranks.group.size);
    o->sides.ranks = &o->ranks;
    ranks_introduce(&o->ranks, c, ranks_threads(), o->quiet || o->json, o->given[LOG_RANKS]);
    c->threads = o->sampling.sampler.threads = ranks_threads();
}

/* What decides the result, as every process has to have it. */
static void compare(const cli *c, const choices *o, const side *a, const side *b)
{
    char text[4096], of_side[400];
    if (!o->sides.ranks) return;
    int n = snprintf(text, sizeof text, "library: %s\n", cm_version());
    for (int i = 1; i < c->argc && n < (int)sizeof text; i++) {
        int is_operand = 0;
        for (int k = 0; k < c->n_operands; k++) is_operand |= c->operands[k] == c->argv[i];
        if (!is_operand) n += snprintf(text + n, sizeof text - (size_t)n, "%.300s\n", c->argv[i]);
    }
    for (int i = 0; i < 2 && n < (int)sizeof text; i++) {
        side_describe(i ? b : a, of_side, sizeof of_side);
        n += snprintf(text + n, sizeof text - (size_t)n, "%s\n", of_side);
    }
    ranks_compare(o->sides.ranks, c, text);
}

static choices *read_options(cli *c)
{
    static choices o;
    const char *value;
    sampling_init(&o.sampling);
    o.sides.sampling = &o.sampling;
    for (int i; (i = cli_next(c, &value)) >= 0; o.given[i] = 1) switch (i) {
        case METRIC: o.list = value; break;
        case FEATURES: o.features = value; break;
        case INPUTS: o.inputs = value; break;
        case FEW: o.few = 1; break;
        case RESIZE: o.sides.resize = 1; break;
        case LIMIT: o.sides.limit = (uint64_t)cli_integer(c, "limit", value, 1, INT32_MAX); break;
        case SUBSETS: o.subsets = (int32_t)cli_integer(c, "subsets", value, 2, 1000000); break;
        case INFINITY_: o.infinity = 1; break;
        case WRITE: o.write = value; break;
        case KEEP: o.keep = value, o.sides.keep = 1; break;
        case FORCE: o.force = 1; break;
        case JSON: o.json = 1; break;
        case QUIET: o.quiet = 1; break;
        case PAIRS: o.pairs = 1; break;
        case LIN: o.lin = value; break;
        case SEARCH_TIMES: o.steps = (int32_t)cli_integer(c, "search-times", value, 2, SEARCH_LONGEST); break;
        case CURVE: o.n_counts = cli_integers(c, "curve", value, 1, o.counts, SEARCH_MOST); break;
        case PLOT: o.plot = value; break;
        case SAMPLES: o.sides.samples = (uint64_t)cli_integer(c, "samples", value, 1, INT32_MAX); break;
        case MPI:
        case LOG_RANKS: break;
        case MPI_TIMEOUT: o.seconds = cli_number(c, "mpi-timeout", value, 0.1, 1e6); break;
        case RETRY: o.sides.retry = 1; break;
        case PROBES: o.probes = (int32_t)cli_integer(c, "probes", value, 1, 1000); break;
        default:
            sampling_option(&o.sampling, c, options[i].name, value);
            o.sampled = i;
            break;
        }
    if (o.pairs) {
        refuse_for_pairs(c, &o);
        return &o;
    }
    if (o.lin) cli_usage_error(c, "--lin has no effect without --pairs");
    o.likelihood = o.list && strcmp(o.list, "bpd") == 0;
    if (o.likelihood) {
        refuse_for_likelihood(c, &o);
        return &o;
    }
    if (o.probes) cli_usage_error(c, "--probes has no effect without --metric bpd");
    if (!o.list) cli_usage_error(c, "give --metric, for example --metric fd-resnet56");
    read_metrics(c, o.list, &o);
    const int searches = o.steps || o.n_counts;
    if (searches) refuse_for_search(c, &o);
    else if (o.plot) cli_usage_error(c, "--plot has no effect without --search-times or --curve");
    sampling_times(&o.sampling, c);
    if (o.force && !o.write && !o.keep && !searches)
        cli_usage_error(c, "--force has no effect without --write or --keep");
    if (o.sides.samples) o.sampled = SAMPLES;
    else o.sides.samples = SAMPLED;
    refuse_subsets(c, &o);
    name_inception(c, &o);
    refuse_files(c, &o);
    o.out = o.json ? open_memstream(&o.text, &o.text_size) : stdout;
    if (!o.out) cli_usage_error(c, "out of memory");
    for (size_t i = 1; i < o.n_metrics && (o.features || o.write || o.keep); i++)
        if (strcmp(o.metrics[i].net, o.metrics[0].net) != 0)
            cli_usage_error(c, "--features, --write and --keep are about one network, --metric names %s and %s",
                            o.metrics[0].net, o.metrics[i].net);
    return &o;
}

static int needs_second(const choices *o)
{
    for (size_t i = 0; i < o->n_metrics; i++)
        if (o->metrics[i].what < IS) return 1;
    return 0;
}

/* What the metrics of a network, and other options, ask of A. */
static wanted wanted_of(const choices *o, const cm_features_info *net)
{
    wanted w = metrics_wanted(o->metrics, o->n_metrics, net, 0);
    w.spatial |= (o->write || o->keep) && net->spatial;
    w.values |= o->keep || o->subsets || o->infinity;
    w.logits |= o->keep != NULL;
    w.images |= w.values || w.logits || o->write;
    return w;
}

/* --- what is printed --------------------------------------------------------------------- */

/* Four digits are more than chance leaves of sets of some thousand images (--subsets shows it). */
static void print_number(FILE *out, const char *name, double value, int digits, int json)
{
    if (!json) {
        fprintf(out, "%-22s %.*g\n", name, digits, value);
        return;
    }
    fprintf(out, ", ");
    cli_json_string(out, name);
    fprintf(out, ": ");
    cli_json_number(out, digits, value);
}

static void print_result(FILE *out, const metric *m, const char *more, double value, int json)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s%s", m->name, more);
    print_number(out, name, value, m->what == RIGHT ? 12 : 4, json);
}

static void print_side(const char *name, const side *s, const choices *o)
{
    FILE *out = o->out;
    char text[64], unusual[SAMPLING_UNUSUAL];
    if (o->json) {
        fprintf(out, "%s\"%s\": {\"path\": ", *name == 'a' ? "{" : ", ", name);
        cli_json_string(out, s->path);
        fprintf(out, ", \"kind\": \"%s\", \"images\": %llu", s->given ? "statistics" : s->info.kind,
                (unsigned long long)s->n);
        if (s->info.height) fprintf(out, ", \"height\": %d, \"width\": %d", s->info.height, s->info.width);
        if (s->model)
            fprintf(out, ", \"nfe\": %d, \"nfe_mean\": %.6g, \"seed\": %llu, \"temperature\": %g, \"guidance\": %g",
                    s->nfe.most, sampling_nfe_mean(&s->nfe), (unsigned long long)o->sampling.sample.seed,
                    sampling_temperature(&o->sampling), sampling_guidance(&o->sampling));
        fprintf(out, "}");
        return;
    }
    fprintf(out, "%s  ", name);
    cli_print_text(out, s->path, 0);
    if (s->given && !s->n) fprintf(out, ": statistics of an unknown number of images\n");
    else if (s->given) fprintf(out, ": statistics of %llu images\n", (unsigned long long)s->n);
    else if (s->kept) fprintf(out, ": features of %llu images\n", (unsigned long long)s->n);
    else if (s->model)
        fprintf(out, ": %llu samples of %d x %d, %s each, seed %llu%s\n", (unsigned long long)s->n, s->info.height,
                s->info.width, sampling_nfe_text(&s->nfe, text), (unsigned long long)o->sampling.sample.seed,
                sampling_unusual(&o->sampling, unusual));
    else
        fprintf(out, ": %llu images of %d x %d (%s)\n", (unsigned long long)s->n, s->info.height, s->info.width,
                s->info.kind);
}

static void print_network(const cm_features_info *net, const choices *o)
{
    FILE *out = o->out;
    const char *rule = o->sides.resize ? "the middle, cut and scaled" : "none";
    if (net->resizes)
        rule = strcmp(net->network, "inception") == 0 ? "bilinear to 299 x 299 as OpenAI's evaluator"
                                                      : "bilinear to 299 x 299 as pytorch-fid";
    if (o->json)
        fprintf(out, ", \"%s\": {\"weights\": \"%s\", \"resize\": \"%s\"}", net->network, net->weights, rule);
    else fprintf(out, "%s with weights %s; resize: %s\n", net->network, net->weights, rule);
}

/* --- metrics --------------------------------------------------------------------------------- */

static cm_status compute(cm_context *context, const metric *m, const choices *o, const cm_features_info *net,
                         const side *a, const side *b)
{
    measured found;
    const cm_status status = metric_measure(context, m, o->subsets, o->infinity, net, a, b, &found);
    for (int i = 0; i < found.n; i++) print_result(o->out, m, found.values[i].more, found.values[i].value, o->json);
    return status;
}

/* What has no answer for sets like these. */
static void refuse(const cli *c, const choices *o, const cm_features_info *net, const side *a, const side *b)
{
    metrics_refuse_sets(c, o->metrics, o->n_metrics, net, &o->sides, o->few, a, b);
    if (!side_has_images(a) && (o->subsets || o->infinity || o->write || o->keep))
        cli_usage_error(c, "--subsets, --infinity, --write and --keep need images of A, and %s holds statistics",
                        a->path);
    if (o->sampled && !a->model && !b->model)
        cli_usage_error(c, "--%s has no effect: neither set is a model", options[o->sampled].name);
}

static cm_status prepare(cli *c, cm_context *context, const choices *o, const cm_features_info *net,
                         cm_features *network, side *a, side *b)
{
    const int quiet = o->quiet || o->json || !ranks_speaks(&o->ranks);
    metrics_refuse_network(c, o->metrics, o->n_metrics, net, o->sides.resize);
    a->wanted = wanted_of(o, net);
    b->wanted = metrics_wanted(o->metrics, o->n_metrics, net, 1);
    cm_status status = side_open(c, context, network, net, &o->sides, a);
    if (status == CM_OK && b->path) status = side_open(c, context, network, net, &o->sides, b);
    if (status == CM_OK) refuse(c, o, net, a, b);
    if (status == CM_OK) compare(c, o, a, b);
    if (status == CM_OK) status = side_gather(c, context, a, network, net, &o->sides, quiet);
    if (status == CM_OK && b->path) status = side_gather(c, context, b, network, net, &o->sides, quiet);
    return status;
}

/* What was asked for, once the images have been looked at. */
static cm_status tell(cm_context *context, const choices *o, const char *net, const cm_features_info *info,
                      cm_features *network, int is_first, const side *a, const side *b)
{
    cm_status status = CM_OK;
    if (o->write) status = cm_statistics_write(a->gathered, a->gathered_spatial, o->write, o->force);
    if (status == CM_OK && o->keep) status = side_keep(a, network, o->keep, o->force);
    if (status == CM_OK && is_first) {
        print_side("a", a, o);
        if (b->path) print_side("b", b, o);
    }
    if (status == CM_OK) print_network(info, o);
    for (size_t i = 0; i < o->n_metrics && status == CM_OK; i++)
        if (strcmp(o->metrics[i].net, net) == 0 && (b->path || o->metrics[i].what >= IS))
            status = compute(context, &o->metrics[i], o, info, a, b);
    return status;
}

static cm_status evaluate(cli *c, cm_context *context, const choices *o, const char *net, int is_first, side *a,
                          side *b)
{
    cm_features *network = NULL;
    cm_features_info info = CM_FEATURES_INFO_INIT;
    cm_status status =
        cm_features_open(context, o->features ? o->features : feature_weights(c, "features", net), net, &network);
    if (status == CM_OK) status = cm_features_info_get(network, &info);
    if (status == CM_OK) status = prepare(c, context, o, &info, network, a, b);
    if (status == CM_OK && ranks_speaks(&o->ranks)) status = tell(context, o, net, &info, network, is_first, a, b);
    side_close(a);
    side_close(b);
    cm_features_free(network);
    return status;
}

static cm_status compare_pairs(cli *c, cm_context *context, const choices *o)
{
    static char lin[4400];
    (void)feature_file("lpips_lin.safetensors", lin, sizeof lin);
    const pairs_options p = {o->list, o->features, o->lin ? o->lin : lin, o->sides.limit, o->json, o->quiet};
    return pairs_compare(c, context, &p, c->operands[0], c->operands[1]);
}

/* Models, and what their samples are compared with, if it is anything. */
static int run_search(cli *c, const choices *o)
{
    static searching s;
    const int references = needs_second(o);
    const char *mode = options[o->steps ? SEARCH_TIMES : CURVE].name;
    const int models = c->n_operands - references;
    if (models < 1 || models > (o->steps ? 1 : SEARCH_MODELS))
        cli_usage_error(c, "--%s: give %s%s", mode, o->steps ? "a model" : "one to eight models",
                        references ? ", and what its samples are compared with" : "");
    s = (searching){.c = c,
                    .metric = &o->metrics[0],
                    .steps = o->steps,
                    .n_counts = o->n_counts,
                    .n_models = (size_t)models,
                    .models = c->operands,
                    .reference = references ? c->operands[models] : NULL,
                    .sides = o->sides,
                    .sampling = &o->sampling,
                    .write = o->write,
                    .plot = o->plot,
                    .few = o->few,
                    .force = o->force,
                    .json = o->json,
                    .quiet = o->quiet};
    memcpy(s.counts, o->counts, sizeof s.counts);
    s.weights = o->features ? o->features : feature_weights(c, "features", s.metric->net);
    cli_catch_signals();
    cm_status status = cli_context(c, &s.context);
    if (status == CM_OK) status = o->steps ? searching_times(&s) : searching_curve(&s);
    cm_context_free(s.context);
    return cli_end(c, status == CM_OK ? CLI_OK : cli_fail(c, status));
}

static int run_pairs(cli *c, const choices *o)
{
    cm_context *context = NULL;
    if (c->n_operands != 2) cli_usage_error(c, "--pairs: give two sets with as many images");
    cli_catch_signals();
    cm_status status = cli_context(c, &context);
    if (status == CM_OK) status = compare_pairs(c, context, o);
    cm_context_free(context);
    return cli_end(c, status == CM_OK ? CLI_OK : cli_fail(c, status));
}

static int run_likelihood(cli *c, const choices *o)
{
    const likelihood_options l = {&o->sampling, o->sides.limit, o->probes, o->sides.resize, o->json, o->quiet};
    cli_catch_signals();
    const cm_status status = likelihood_measure(c, &l, c->operands[0], c->operands[1]);
    return cli_end(c, status == CM_OK ? CLI_OK : cli_fail(c, status));
}

int main(int argc, char **argv)
{
    cli c = {.program = "cm-eval", .options = options, .n_options = N_OPTIONS, .argc = argc, .argv = argv};
    c.usage = "--metric LIST A B [options]\n"
              "       cm-eval --metric LIST --write FILE A [options]\n"
              "       cm-eval --pairs [--metric LIST] A B [options]\n"
              "       cm-eval --metric bpd MODEL PICTURES [options]\n"
              "       cm-eval --search-times N --metric NAME MODEL B [options]\n"
              "       cm-eval --curve LIST --metric NAME MODEL... B [options]";
    cm_context *context = NULL;
    cli_begin();
    choices *o = read_options(&c);
    join(&c, o);
    sampling_paths(&c, c.n_operands, o->quiet || o->json || o->ranks.group.rank > 0);
    if (o->pairs) return run_pairs(&c, o);
    if (o->likelihood) return run_likelihood(&c, o);
    if (o->steps || o->n_counts) return run_search(&c, o);
    if (c.n_operands < 1 || c.n_operands > 2) cli_usage_error(&c, "give one set or two");
    if (c.n_operands == 1 && needs_second(o) && !o->write && !o->keep)
        cli_usage_error(&c, "give two sets: images, and what they are compared with");
    if (c.n_operands == 1 && (o->subsets || o->infinity))
        cli_usage_error(&c, "--%s has no effect without a second set", o->subsets ? "subsets" : "infinity");
    side a = {.path = c.operands[0]}, b = {.path = c.n_operands > 1 ? c.operands[1] : NULL};
    cli_catch_signals();
    cm_status status = cli_context(&c, &context);
    for (size_t i = 0; i < o->n_metrics && status == CM_OK; i++) {
        int seen = 0;
        for (size_t k = 0; k < i; k++) seen |= strcmp(o->metrics[k].net, o->metrics[i].net) == 0;
        if (!seen) status = evaluate(&c, context, o, o->metrics[i].net, i == 0, &a, &b);
    }
    if (o->json) {
        fprintf(o->out, "}\n");
        if (fclose(o->out) != 0 && status == CM_OK) status = CM_ERR_MEMORY;
        if (status == CM_OK && ranks_speaks(&o->ranks)) (void)fwrite(o->text, 1, o->text_size, stdout);
        free(o->text);
    }
    cm_context_free(context);
    return ranks_leave(&o->ranks, cli_end(&c, status == CM_OK ? CLI_OK : ranks_fail(&o->ranks, &c, status)));
}
