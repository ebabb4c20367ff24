/* eval.c - cm-eval: how close two sets of images are. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const cli_option options[] = {
    {"metric", 'm', "LIST",
     "what to compute, with commas: fd-NET, pr-NET, kid-NET, is-NET, right-NET; NET is lenet, resnet20, resnet56"},
    {"features", 0, "FILE", "the weights of the feature network; models/features/NET.safetensors"},
    {"few", 0, NULL, "compare sets of fewer than 2,000 images too"},
    {"resize", 0, NULL, "cut pictures of another size to the network's: the middle, as data sets do it"},
    {"limit", 'n', "N", "at most so many images of each set, the first ones"},
    {"subsets", 0, "N", "also the mean and deviation of the Frechet distance over N random halves of A"},
    {"infinity", 0, NULL, "also what the Frechet distance would be with infinitely many images of A"},
    {"write", 'o', "FILE", "write mean and covariance of A's features, which stands for A afterwards (.npz)"},
    {"force", 'f', NULL, "overwrite an existing file"},
    {"json", 0, NULL, "print the result as JSON"},
    {"quiet", 'q', NULL, "show no progress"},
};
enum { METRIC, FEATURES, FEW, RESIZE, LIMIT, SUBSETS, INFINITY_, WRITE, FORCE, JSON, QUIET, N_OPTIONS };
enum { FEWEST = 2000, BATCH = 64, MOST_METRICS = 16, MOST_NETS = 8 };

/* What is asked of the features of one network. */
typedef enum { FD, PR, KID, IS, RIGHT } kind;
static const char *const kinds[] = {"fd", "pr", "kid", "is", "right", NULL};
typedef struct {
    kind what;
    const char *net; /* into the text of --metric */
} metric;

typedef struct {
    metric metrics[MOST_METRICS];
    size_t n_metrics;
    const char *features, *write;
    int few, resize, infinity, force, json, quiet;
    uint64_t limit;
    int32_t subsets;
} choices;

/* One of the two sets: statistics from a file, or pictures. */
typedef struct {
    const char *path;
    cm_statistics *given;
    cm_dataset *set;
    cm_dataset_info info;
    uint64_t n;
    float *values, *logits; /* of the network at hand */
    int32_t *labels;
    cm_statistics *gathered;
} side;

static void read_metrics(const cli *c, const char *text, choices *o)
{
    char *list = strdup(text), *rest = list; /* lives until the program ends */
    for (char *word; list && (word = strtok_r(rest, ",", &rest)) != NULL;) {
        char *dash = strchr(word, '-');
        if (!dash) cli_usage_error(c, "--metric %s: name the network, as in %s-resnet56", word, word);
        if (o->n_metrics == MOST_METRICS) cli_usage_error(c, "--metric: at most %d at a time", MOST_METRICS);
        *dash = '\0';
        metric *m = &o->metrics[o->n_metrics++];
        m->what = (kind)cli_choice(c, "metric", word, kinds);
        m->net = dash + 1;
        (void)cli_listed(c, "metric", m->net, "feature_networks");
    }
    if (!o->n_metrics) cli_usage_error(c, "--metric names nothing");
}

static choices read_options(cli *c)
{
    choices o;
    const char *value;
    memset(&o, 0, sizeof o);
    for (int i; (i = cli_next(c, &value)) >= 0;) switch (i) {
        case METRIC: read_metrics(c, value, &o); break;
        case FEATURES: o.features = value; break;
        case FEW: o.few = 1; break;
        case RESIZE: o.resize = 1; break;
        case LIMIT: o.limit = (uint64_t)cli_integer(c, "limit", value, 1, INT32_MAX); break;
        case SUBSETS: o.subsets = (int32_t)cli_integer(c, "subsets", value, 2, 1000000); break;
        case INFINITY_: o.infinity = 1; break;
        case WRITE: o.write = value; break;
        case FORCE: o.force = 1; break;
        case JSON: o.json = 1; break;
        default: o.quiet = 1; break;
        }
    if (!o.n_metrics) cli_usage_error(c, "give --metric, for example --metric fd-resnet56");
    if (o.force && !o.write) cli_usage_error(c, "--force has no effect without --write");
    for (size_t i = 1; i < o.n_metrics && (o.features || o.write); i++)
        if (strcmp(o.metrics[i].net, o.metrics[0].net) != 0)
            cli_usage_error(c, "--features and --write are about one network, --metric names %s and %s",
                            o.metrics[0].net, o.metrics[i].net);
    return o;
}

static int needs_second(const choices *o)
{
    for (size_t i = 0; i < o->n_metrics; i++)
        if (o->metrics[i].what < IS) return 1;
    return 0;
}

/* --- the network ------------------------------------------------------------------ */

/* Beside the program in a build or an installation, or where it is called from. */
static const char *weights_path(const char *net)
{
    static char path[4400];
    char self[4096];
    static const char *const places[] = {"/../../models/features/", "/../share/consistency/features/"};
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) *slash = '\0';
    for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
        (void)snprintf(path, sizeof path, "%s%s%s.safetensors", self, places[i], net);
        if (access(path, R_OK) == 0) return path;
    }
    (void)snprintf(path, sizeof path, "models/features/%s.safetensors", net);
    return path;
}

/* --- a set ----------------------------------------------------------------------------- */

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

static cm_status open_side(cm_context *context, const cm_features_info *net, const choices *o, side *s)
{
    cm_dataset_options d = CM_DATASET_OPTIONS_INIT;
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    if (ends_with(s->path, ".npz") && cm_statistics_read(context, s->path, NULL, &s->given) == CM_OK) {
        cm_status status = cm_statistics_info_get(s->given, &info);
        s->n = info.count;
        return status;
    }
    d.channels = net->channels;
    d.height = d.width = o->resize ? net->height : 0;
    d.stop_on_bad = CM_BAD_STOP;
    d.random_crop = o->resize ? CM_CROP_CENTER : CM_CROP_NONE;
    d.shuffle = CM_SHUFFLE_NO;
    cm_status status = cm_dataset_open(context, s->path, &d, &s->set);
    s->info = (cm_dataset_info)CM_DATASET_INFO_INIT;
    if (status == CM_OK) status = cm_dataset_info_get(s->set, &s->info);
    s->n = s->info.images;
    if (o->limit && s->n > o->limit) s->n = o->limit;
    return status;
}

static void close_side(side *s)
{
    cm_statistics_free(s->given);
    cm_statistics_free(s->gathered);
    cm_dataset_free(s->set);
    free(s->values);
    free(s->logits);
    free(s->labels);
    *s = (side){.path = s->path};
}

/* Features and logits of all images, batch by batch. */
static cm_status fill(const side *s, cm_features *network, const cm_features_info *net, uint8_t *bytes,
                      cli_progress *progress)
{
    for (uint64_t at = 0; at < s->n; at += BATCH) {
        const size_t count = s->n - at < BATCH ? (size_t)(s->n - at) : BATCH;
        const cm_images images = cm_images_u8(count, s->info.height, s->info.width, s->info.channels, bytes);
        cm_status status = cm_dataset_read(s->set, at, &images, s->labels + at);
        if (status == CM_OK)
            status = cm_features_run(network, &images, s->values + at * (uint64_t)net->features,
                                     s->logits + at * (uint64_t)net->classes);
        if (status != CM_OK) return status;
        if (cli_progress_step(progress, at + count, s->n)) return CM_ERR_CANCELLED;
    }
    return CM_OK;
}

static cm_status gather(cm_context *context, side *s, cm_features *network, const cm_features_info *net, int quiet)
{
    cli_progress progress;
    if (s->given) return CM_OK;
    uint8_t *bytes =
        malloc((size_t)BATCH * (size_t)s->info.height * (size_t)s->info.width * (size_t)s->info.channels);
    s->values = malloc((size_t)s->n * (size_t)net->features * sizeof *s->values);
    s->logits = malloc((size_t)s->n * (size_t)net->classes * sizeof *s->logits);
    s->labels = malloc((size_t)s->n * sizeof *s->labels);
    cm_status status = bytes && s->values && s->logits && s->labels ? CM_OK : CM_ERR_MEMORY;
    cli_progress_begin(&progress, "features", quiet);
    if (status == CM_OK) status = fill(s, network, net, bytes, &progress);
    cli_progress_end(&progress);
    free(bytes);
    if (status == CM_OK) status = cm_statistics_create(context, net->features, &s->gathered);
    if (status == CM_OK) status = cm_statistics_add(s->gathered, (size_t)s->n, s->values);
    return status;
}

static const cm_statistics *statistics_of(const side *s)
{
    return s->given ? s->given : s->gathered;
}

/* --- what is printed --------------------------------------------------------------------- */

/* Four digits are more than chance leaves of sets of some thousand images (--subsets shows it). */
static void print_number(const char *name, double value, int digits, int json)
{
    if (!json) {
        printf("%-22s %.*g\n", name, digits, value);
        return;
    }
    printf(", ");
    cli_json_string(stdout, name);
    printf(": ");
    cli_json_number(stdout, digits, value);
}

static void print_result(const metric *m, const char *more, double value, int json)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s-%s%s", kinds[m->what], m->net, more);
    print_number(name, value, m->what == RIGHT ? 12 : 4, json);
}

static void print_side(const char *name, const side *s, int json)
{
    if (json) {
        printf("%s\"%s\": {\"path\": ", *name == 'a' ? "{" : ", ", name);
        cli_json_string(stdout, s->path);
        printf(", \"kind\": \"%s\", \"images\": %llu", s->given ? "statistics" : s->info.kind,
               (unsigned long long)s->n);
        if (s->set) printf(", \"height\": %d, \"width\": %d", s->info.height, s->info.width);
        printf("}");
        return;
    }
    printf("%s  ", name);
    cli_print_text(stdout, s->path, 0);
    if (s->given && !s->n) printf(": statistics of an unknown number of images\n");
    else if (s->given) printf(": statistics of %llu images\n", (unsigned long long)s->n);
    else
        printf(": %llu images of %d x %d (%s)\n", (unsigned long long)s->n, s->info.height, s->info.width,
               s->info.kind);
}

static void print_network(const cm_features_info *net, const choices *o)
{
    const char *rule = o->resize ? "the middle, cut and scaled" : "none";
    if (o->json) printf(", \"%s\": {\"weights\": \"%s\", \"resize\": \"%s\"}", net->network, net->weights, rule);
    else printf("%s with weights %s; resize: %s\n", net->network, net->weights, rule);
}

/* --- metrics --------------------------------------------------------------------------------- */

static cm_status frechet(const metric *m, const choices *o, const side *a, const side *b)
{
    double distance, deviation;
    cm_subset_options subsets = CM_SUBSET_OPTIONS_INIT;
    subsets.subsets = o->subsets;
    cm_status status = cm_frechet_distance(statistics_of(a), statistics_of(b), &distance);
    if (status == CM_OK) print_result(m, "", distance, o->json);
    if (status == CM_OK && o->subsets) {
        status = cm_frechet_subsets(statistics_of(b), (size_t)a->n, a->values, &subsets, &distance, &deviation);
        if (status == CM_OK) print_result(m, "-halves", distance, o->json);
        if (status == CM_OK) print_result(m, "-deviation", deviation, o->json);
    }
    if (status == CM_OK && o->infinity) {
        status = cm_frechet_infinity(statistics_of(b), (size_t)a->n, a->values, NULL, &distance);
        if (status == CM_OK) print_result(m, "-infinity", distance, o->json);
    }
    return status;
}

/* How many images have their largest logit at their own class. */
static double count_right(const side *s, const cm_features_info *net)
{
    double right = 0;
    for (uint64_t i = 0; i < s->n; i++) {
        const float *logits = s->logits + i * (uint64_t)net->classes;
        int32_t best = 0;
        for (int32_t k = 1; k < net->classes; k++)
            if (logits[k] > logits[best]) best = k;
        right += best == s->labels[i];
    }
    return right;
}

static cm_status compute(cm_context *context, const metric *m, const choices *o, const cm_features_info *net,
                         const side *a, const side *b)
{
    double first, second;
    cm_status status = CM_OK;
    switch (m->what) {
    case FD: return frechet(m, o, a, b);
    case PR:
        status = cm_precision_recall(context, net->features, (size_t)b->n, b->values, (size_t)a->n, a->values, NULL,
                                     &first, &second);
        if (status == CM_OK) print_result(m, "-precision", first, o->json);
        if (status == CM_OK) print_result(m, "-recall", second, o->json);
        return status;
    case KID:
        status = cm_kernel_distance(context, net->features, (size_t)a->n, a->values, (size_t)b->n, b->values, NULL,
                                    &first, &second);
        break;
    case RIGHT: first = count_right(a, net); break;
    default:
        status = cm_inception_score(context, net->classes, (size_t)a->n, a->logits, NULL, &first, &second);
        break;
    }
    if (status == CM_OK) print_result(m, "", first, o->json);
    if (status == CM_OK && m->what == KID) print_result(m, "-deviation", second, o->json);
    return status;
}

/* Whether class numbers mean what the network means: those that a file holds may leave some out, names may not. */
static int same_classes(const cm_dataset_info *info, int32_t classes)
{
    const char *from = info->classes_from;
    if (!from) return 0;
    if (strcmp(from, "folder names") == 0 || strcmp(from, "file names") == 0) return info->classes == classes;
    return info->classes <= classes;
}

/* What has no answer for sets like these. */
static void refuse(const cli *c, const choices *o, const char *net, int32_t classes, const side *a, const side *b)
{
    const side *const both[] = {a, b};
    for (size_t i = 0; i < 2 && !o->few; i++)
        if (both[i]->path && both[i]->n < FEWEST && !(both[i]->given && !both[i]->n))
            cli_usage_error(c, "%s has %llu images, and fewer than %d say little: --few compares them all the same",
                            both[i]->path, (unsigned long long)both[i]->n, FEWEST);
    for (size_t i = 0; i < o->n_metrics; i++)
        if (strcmp(o->metrics[i].net, net) == 0 && o->metrics[i].what != FD &&
            (a->given || (b->given && o->metrics[i].what < IS)))
            cli_usage_error(c, "%s-%s needs images, and %s holds statistics", kinds[o->metrics[i].what], net,
                            a->given ? a->path : b->path);
    for (size_t i = 0; i < o->n_metrics && a->set; i++)
        if (o->metrics[i].what == RIGHT && !same_classes(&a->info, classes))
            cli_usage_error(c, "right-%s counts images of %d classes, and %s has %d", net, classes, a->path,
                            a->info.classes);
    if (a->given && (o->subsets || o->infinity || o->write))
        cli_usage_error(c, "--subsets, --infinity and --write need images of A, and %s holds statistics", a->path);
}

static cm_status evaluate(const cli *c, cm_context *context, const choices *o, const char *net, int is_first, side *a,
                          side *b)
{
    cm_features *network = NULL;
    cm_features_info info = CM_FEATURES_INFO_INIT;
    cm_status status = cm_features_open(context, o->features ? o->features : weights_path(net), net, &network);
    if (status == CM_OK) status = cm_features_info_get(network, &info);
    if (status == CM_OK) status = open_side(context, &info, o, a);
    if (status == CM_OK && b->path) status = open_side(context, &info, o, b);
    if (status == CM_OK) refuse(c, o, net, info.classes, a, b);
    if (status == CM_OK) status = gather(context, a, network, &info, o->quiet || o->json);
    if (status == CM_OK && b->path) status = gather(context, b, network, &info, o->quiet || o->json);
    if (status == CM_OK && o->write) status = cm_statistics_write(a->gathered, NULL, o->write, o->force);
    if (status == CM_OK && is_first) {
        print_side("a", a, o->json);
        if (b->path) print_side("b", b, o->json);
    }
    if (status == CM_OK) print_network(&info, o);
    for (size_t i = 0; i < o->n_metrics && status == CM_OK; i++)
        if (strcmp(o->metrics[i].net, net) == 0) status = compute(context, &o->metrics[i], o, &info, a, b);
    close_side(a);
    close_side(b);
    cm_features_free(network);
    return status;
}

int main(int argc, char **argv)
{
    cli c = {"cm-eval", "--metric LIST A B [options]", options, N_OPTIONS, argc, 0, argv, {NULL}, 0, NULL, NULL};
    cm_context *context = NULL;
    cli_begin();
    const choices o = read_options(&c);
    const int wanted = needs_second(&o) ? 2 : 1;
    if (c.n_operands != wanted && c.n_operands != 2)
        cli_usage_error(&c, wanted == 2 ? "give two sets: images, and what they are compared with" : "give one set");
    side a = {.path = c.operands[0]}, b = {.path = c.n_operands > 1 ? c.operands[1] : NULL};
    cli_catch_signals();
    cm_status status = cli_context(&c, &context);
    for (size_t i = 0; i < o.n_metrics && status == CM_OK; i++) {
        int seen = 0;
        for (size_t k = 0; k < i; k++) seen |= strcmp(o.metrics[k].net, o.metrics[i].net) == 0;
        if (!seen) status = evaluate(&c, context, &o, o.metrics[i].net, i == 0, &a, &b);
    }
    if (o.json && status == CM_OK) printf("}\n");
    cm_context_free(context);
    return cli_end(&c, status == CM_OK ? CLI_OK : cli_fail(&c, status));
}
