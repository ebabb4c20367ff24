/* metrics.c - golden/metrics: distances, scores and neighbours, by what the tensors of a file are called: CASE.fd,
 * CASE.is, CASE.precision_recall. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <consistency/metrics.h>

#include "golden.h"
#include "metrics/scores.h"
#include "nets/checkpoint.h"
#include "support/formula.h"
#include "support/formula_weights.h"

/* CASE.MEMBER; NULL when there is none. */
static const cm_tensor *member(const golden_file *f, const char *name, const char *what)
{
    char key[256];
    (void)snprintf(key, sizeof key, "%.120s.%.120s", name, what);
    return cmi_tensors_find(&f->st, key);
}

/* CASE of CASE.MEMBER; 0 for other names. */
static int case_of(const char *tensor, const char *what, char *out, size_t size)
{
    const char *dot = strrchr(tensor, '.');
    if (!dot || strcmp(dot + 1, what) != 0) return 0;
    (void)snprintf(out, size, "%.*s", (int)(dot - tensor), tensor);
    return 1;
}

static double *doubles(const golden_file *f, const char *name, const char *what, size_t *count)
{
    const cm_tensor *t = member(f, name, what);
    return t ? golden_read(f, t->name, count) : NULL;
}

static float *floats(const golden_file *f, const char *name, const char *what)
{
    const cm_tensor *t = member(f, name, what);
    float *out = t ? malloc((t->count + 1) * sizeof *out) : NULL;
    if (out && cmi_tensor_read(t, out) != CM_OK) {
        free(out);
        return NULL;
    }
    return out;
}

/* Rows of CASE.MEMBER; the values are the caller's to free. */
static cm_feature_set rows_of(const golden_file *f, const char *name, const char *what)
{
    const cm_tensor *t = member(f, name, what);
    if (!t || t->rank != 2) return (cm_feature_set){0, 0, NULL};
    return (cm_feature_set){(size_t)t->shape[0], (size_t)t->shape[1], floats(f, name, what)};
}

static void release(cm_feature_set *set)
{
    free((void *)(uintptr_t)set->values);
    set->values = NULL;
}

static double relative(double found, double expected)
{
    return fabs(found - expected) / fmax(fabs(expected), 1e-300);
}

static void failed(golden_result *r, const char *name)
{
    golden_fail(r, "%s: %s", name, cm_last_message());
}

/* --- Frechet distances ---------------------------------------------------------- */

/* In parts of odd sizes, the last of which is gathered apart and merged. */
static cm_statistics *gather(const golden_file *f, const cm_feature_set *set)
{
    cm_statistics *s = NULL, *last = NULL;
    const size_t first = set->n / 3, second = set->n - set->n / 4;
    cm_status status = cm_statistics_create(f->context, (int32_t)set->d, &s);
    if (status == CM_OK) status = cm_statistics_create(f->context, (int32_t)set->d, &last);
    if (status == CM_OK) status = cm_statistics_add(s, first, set->values);
    if (status == CM_OK) status = cm_statistics_add(s, second - first, set->values + first * set->d);
    if (status == CM_OK) status = cm_statistics_add(last, set->n - second, set->values + second * set->d);
    if (status == CM_OK) status = cm_statistics_merge(s, last);
    cm_statistics_free(last);
    if (status == CM_OK) return s;
    cm_statistics_free(s);
    return NULL;
}

static double worst(const double *found, const double *expected, size_t n)
{
    double apart = 0, largest = 1e-300;
    for (size_t i = 0; i < n; i++) {
        apart = fmax(apart, fabs(found[i] - expected[i]));
        largest = fmax(largest, fabs(expected[i]));
    }
    return apart / largest;
}

static double *of_set(const golden_file *f, const char *name, const char *what, const char *which, size_t *count)
{
    char key[32];
    (void)snprintf(key, sizeof key, "%.16s_%.8s", what, which);
    return doubles(f, name, key, count);
}

/* which: "x" or "y". */
static void compare_moments(const golden_file *f, golden_result *r, const char *name, const char *which,
                            const cm_statistics *s)
{
    size_t d = 0, dd = 0;
    double *mu = of_set(f, name, "mu", which, &d), *sigma = of_set(f, name, "sigma", which, &dd);
    double *trace = of_set(f, name, "trace_sigma", which, NULL);
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    (void)cm_statistics_info_get(s, &info);
    const size_t n = (size_t)info.dimension;
    double *mean = calloc(n, sizeof *mean), *covariance = calloc(n * n, sizeof *covariance), sum = 0;
    if (cm_statistics_values(s, mean, covariance) != CM_OK) failed(r, name);
    if (mu) golden_compare(r, "mu", d == n ? worst(mean, mu, d) : NAN, 1e-12);
    if (sigma) golden_compare(r, "sigma", dd == n * n ? worst(covariance, sigma, dd) : NAN, 1e-12);
    for (size_t i = 0; i < n; i++) sum += covariance[i * n + i];
    if (trace) golden_compare(r, "trace", relative(sum, *trace), 1e-12);
    free(mu), free(sigma), free(trace), free(mean), free(covariance);
}

static void compare_distance(golden_result *r, const char *name, const cm_statistics *a, const cm_statistics *b,
                             double expected, double tolerance)
{
    double found = NAN, back = NAN;
    if (!a || !b || cm_frechet_distance(a, b, &found) != CM_OK || cm_frechet_distance(b, a, &back) != CM_OK) {
        failed(r, name);
        return;
    }
    if (expected < 1e-9) golden_compare(r, name, fmax(found, back), 1e-9);
    else golden_compare(r, name, fmax(relative(found, expected), relative(back, expected)), tolerance);
}

static void check_features_distance(const golden_file *f, golden_result *r, const char *name, double expected)
{
    cm_feature_set x = rows_of(f, name, "x"), y = rows_of(f, name, "y");
    cm_statistics *a = gather(f, &x), *b = y.values ? gather(f, &y) : NULL;
    if (a) compare_moments(f, r, name, "x", a);
    if (a) compare_moments(f, r, name, "y", b ? b : a);
    compare_distance(r, name, a, y.values ? b : a, expected, 1e-9);
    cm_statistics_free(a);
    cm_statistics_free(b);
    release(&x), release(&y);
}

/* mu1, sigma1 (or the diagonal var1), mu2, sigma2. */
static cm_statistics *given(const golden_file *f, const char *name, int number)
{
    char mu[8], sigma[8], variance[8];
    size_t d = 0, n = 0;
    cm_statistics *out = NULL;
    (void)snprintf(mu, sizeof mu, "mu%d", number);
    (void)snprintf(sigma, sizeof sigma, "sigma%d", number);
    (void)snprintf(variance, sizeof variance, "var%d", number);
    double *mean = doubles(f, name, mu, &d), *covariance = doubles(f, name, sigma, &n);
    double *diagonal = doubles(f, name, variance, NULL);
    if (!covariance && diagonal) {
        covariance = calloc(d * d, sizeof *covariance);
        for (size_t i = 0; i < d; i++) covariance[i * d + i] = diagonal[i];
    }
    if (mean && covariance) (void)cm_statistics_given(f->context, (int32_t)d, 0, mean, covariance, &out);
    free(mean), free(covariance), free(diagonal);
    return out;
}

/* Features of full size that are made, not stored (README). */
static cm_statistics *made(const golden_file *f, const char *seed, const char *shift, double scale, size_t n)
{
    enum { D = 2048, PART = 100 };
    cm_statistics *s = NULL;
    float *rows = malloc(PART * D * sizeof *rows);
    if (cm_statistics_create(f->context, D, &s) != CM_OK) return NULL;
    for (size_t row = 0; row < n; row += PART) {
        const size_t count = n - row < PART ? n - row : PART;
        for (size_t i = 0; i < count * D; i++) {
            double v = scale * sqrt(3.0) * formula_uniform(seed, row * D + i);
            if (shift) v += 0.1 * formula_uniform(shift, i % D);
            rows[i] = (float)v;
        }
        if (cm_statistics_add(s, count, rows) != CM_OK) break;
    }
    free(rows);
    return s;
}

static void check_made_distance(const golden_file *f, golden_result *r, const char *name, double expected)
{
    const int full = strcmp(name, "big_full") == 0;
    cm_statistics *a = made(f, full ? "fd/bigfull/x" : "fd/big/x", NULL, 1, full ? 2500 : 256);
    cm_statistics *b = made(f, full ? "fd/bigfull/y" : "fd/big/y", full ? "fd/bigfull/shift" : "fd/big/shift", 1.3,
                            full ? 2600 : 300);
    double found = NAN;
    if (!a || !b || cm_frechet_distance(a, b, &found) != CM_OK) failed(r, name);
    golden_compare(r, name, relative(found, expected), 1e-8);
    cm_statistics_free(a);
    cm_statistics_free(b);
}

static void check_distance(const golden_file *f, golden_result *r, const char *name)
{
    double *expected = doubles(f, name, "fd", NULL);
    if (member(f, name, "x")) check_features_distance(f, r, name, *expected);
    else if (member(f, name, "mu1")) {
        cm_statistics *a = given(f, name, 1), *b = given(f, name, 2);
        compare_distance(r, name, a, b, *expected, 1e-9);
        cm_statistics_free(a);
        cm_statistics_free(b);
    } else if (strncmp(name, "big_", 4) == 0) check_made_distance(f, r, name, *expected);
    else golden_fail(r, "%s: a distance of what?", name);
    free(expected);
}

/* --- Inception Score -------------------------------------------------------------- */

/* Logits of the case, or of the one whose name it begins with (k10s uses those of k10). */
static cm_feature_set logits_of(const golden_file *f, const char *name)
{
    char shorter[128];
    cm_feature_set set = rows_of(f, name, "logits");
    (void)snprintf(shorter, sizeof shorter, "%.100s", name);
    for (size_t n = strlen(shorter); !set.values && n > 1; n--) {
        shorter[n - 1] = '\0';
        set = rows_of(f, shorter, "logits");
    }
    return set;
}

static void check_score(const golden_file *f, golden_result *r, const char *name)
{
    size_t parts = 0;
    double *expected = doubles(f, name, "is", NULL), *splits = doubles(f, name, "is_splits", &parts);
    double *size = doubles(f, name, "split_size", NULL), found = NAN;
    cm_feature_set set = logits_of(f, name);
    cm_score_options o = CM_SCORE_OPTIONS_INIT;
    o.split = size ? (int32_t)*size : 0;
    if (!set.values || cm_inception_score(f->context, (int32_t)set.d, set.n, set.values, &o, &found, NULL) != CM_OK)
        failed(r, name);
    golden_compare(r, name, relative(found, *expected), 1e-6);
    if (splits && o.split)
        golden_compare(r, "is_splits", (double)((set.n + (size_t)o.split - 1) / (size_t)o.split) - (double)parts, 0);
    for (size_t i = 0; splits && i < parts; i++) {
        const size_t first = i * (size_t)o.split, left = set.n - first;
        const size_t n = left < (size_t)o.split ? left : (size_t)o.split;
        if (cm_inception_score(f->context, (int32_t)set.d, n, set.values + first * set.d, &o, &found, NULL) != CM_OK)
            failed(r, name);
        golden_compare(r, "is_splits", relative(found, splits[i]), 1e-6);
    }
    free(expected), free(splits), free(size);
    release(&set);
}

/* --- precision and recall ----------------------------------------------------------- */

static void check_radii(const golden_file *f, golden_result *r, const char *name, const char *what, int32_t k,
                        const cm_feature_set *set, double *radii)
{
    size_t n = 0;
    double *expected = doubles(f, name, what, &n);
    if (cmi_radii(f->context, set, k, radii) != CM_OK) failed(r, name);
    if (expected) golden_compare(r, what, n == set->n ? worst(radii, expected, n) : NAN, 1e-12);
    free(expected);
}

static void check_inside(const golden_file *f, golden_result *r, const char *name, const char *what,
                         const cm_feature_set *set, const double *radii, const cm_feature_set *points)
{
    const cm_tensor *t = member(f, name, what);
    unsigned char *inside = calloc(points->n + 1, 1);
    if (cmi_inside(f->context, set, radii, points, inside) != CM_OK) failed(r, name);
    if (t) golden_compare(r, what, t->count != points->n || memcmp(inside, t->data, points->n) != 0, 0);
    free(inside);
}

/* Of the case (CASE.k), of the file's metadata, or the literature's 3. */
static int32_t neighbours_of(const golden_file *f, const char *name)
{
    double *own = doubles(f, name, "k", NULL);
    json_t *all = golden_json(f, "k");
    const int32_t k = own ? (int32_t)*own : all ? (int32_t)golden_value(all) : 3;
    json_decref(all);
    free(own);
    return k;
}

static void check_neighbours(const golden_file *f, golden_result *r, const char *name)
{
    const cm_neighbour_options o = {sizeof o, neighbours_of(f, name)};
    double *expected = doubles(f, name, "precision_recall", NULL), precision = NAN, recall = NAN;
    cm_feature_set reference = rows_of(f, name, "ref"), samples = rows_of(f, name, "sample");
    double *radii = calloc(reference.n + samples.n + 1, sizeof *radii);
    if (!reference.values || !samples.values ||
        cm_precision_recall(f->context, (int32_t)reference.d, reference.n, reference.values, samples.n,
                            samples.values, &o, &precision, &recall) != CM_OK)
        failed(r, name);
    golden_compare(r, "precision", fabs(precision - expected[0]), 0);
    golden_compare(r, "recall", fabs(recall - expected[1]), 0);
    check_radii(f, r, name, "radii2_ref", o.neighbours, &reference, radii);
    check_radii(f, r, name, "radii2_sample", o.neighbours, &samples, radii + reference.n);
    check_inside(f, r, name, "in_ref", &reference, radii, &samples);
    check_inside(f, r, name, "in_sample", &samples, radii + reference.n, &reference);
    free(expected), free(radii);
    release(&reference), release(&samples);
}

/* --- feature networks --------------------------------------------------------------- */

/* Weights of a network: those of the tree, or beside the references. */
static const char *weights_of(const golden_file *f, const char *name)
{
    static char path[4200];
    (void)snprintf(path, sizeof path, "models/features/%s.safetensors", strchr(name, '_') + 1);
    if (access(path, R_OK) != 0) (void)snprintf(path, sizeof path, "%s/../../data/%s.safetensors", f->folder, name);
    return path;
}

static void check_network(const golden_file *f, golden_result *r, const char *weights, const char *features,
                          const char *logits)
{
    const cm_tensor *images = cmi_tensors_find(&f->st, "images");
    const cm_tensor *a = cmi_tensors_find(&f->st, features), *b = cmi_tensors_find(&f->st, logits);
    cm_features *network;
    if (!images || !a || !b || a->rank != 2 || b->rank != 2) {
        golden_fail(r, "%s: images, features or logits are missing", weights);
        return;
    }
    if (cm_features_open(f->context, weights_of(f, weights), NULL, &network) != CM_OK) {
        failed(r, weights);
        return;
    }
    double *expected = golden_read(f, features, NULL), *scores = golden_read(f, logits, NULL);
    float *values = calloc(a->count + 1, sizeof *values), *found = calloc(b->count + 1, sizeof *found);
    const int32_t channels = images->rank == 4 ? (int32_t)images->shape[3] : 1;
    const cm_images view = cm_images_u8((size_t)images->shape[0], (int32_t)images->shape[1],
                                        (int32_t)images->shape[2], channels, images->data);
    if (cm_features_run(network, &view, values, found) != CM_OK) failed(r, weights);
    for (size_t i = 0; i < a->count; i++) golden_compare(r, features, fabs((double)values[i] - expected[i]), 1e-4);
    for (size_t i = 0; i < b->count; i++) golden_compare(r, logits, fabs((double)found[i] - scores[i]), 1e-4);
    free(expected), free(scores), free(values), free(found);
    cm_features_free(network);
}

/* --- the Inception network ---------------------------------------------------------------- */

/* Relative L2 distance and largest difference (README), where the file has them. */
static void compare_rows(const golden_file *f, golden_result *r, const char *name, const char *what,
                         const float *found)
{
    size_t n = 0;
    double *expected = doubles(f, name, what, &n), apart = 0, whole = 0;
    for (size_t i = 0; expected && i < n; i++) {
        const double off = (double)found[i] - expected[i];
        apart += off * off, whole += expected[i] * expected[i];
        golden_compare(r, what, fabs(off), 1e-4);
    }
    if (expected) golden_compare(r, what, sqrt(apart / fmax(whole, 1e-300)), 1e-5);
    free(expected);
}

static void soften(size_t n, float *row)
{
    double most = row[0], sum = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, (double)row[i]);
    for (size_t i = 0; i < n; i++) sum += exp((double)row[i] - most);
    for (size_t i = 0; i < n; i++) row[i] = (float)(exp((double)row[i] - most) / sum);
}

/* CASE of CASE.images by one layout of tensors: CASE.fid.pool3, ... or CASE.oai.pool3, ... */
static void check_inception_case(const golden_file *f, golden_result *r, cm_features *network, const char *name,
                                 int torch)
{
    const cm_tensor *images = member(f, name, "images");
    const size_t n = (size_t)images->shape[0];
    char prefix[160];
    float *v = calloc(n * (2048 + 1008 + 1008 + 2023 + 64 + 192 + 768), sizeof *v);
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    rows.values = v, rows.logits = v + n * 2048, rows.scores = rows.logits + n * 1008;
    rows.spatial = rows.scores + n * 1008, rows.early[0] = rows.spatial + n * 2023;
    rows.early[1] = rows.early[0] + n * 64, rows.early[2] = rows.early[1] + n * 192;
    const cm_images view =
        cm_images_u8(n, (int32_t)images->shape[1], (int32_t)images->shape[2], 3, (const uint8_t *)images->data);
    (void)snprintf(prefix, sizeof prefix, "%.120s.%s", name, torch ? "fid" : "oai");
    if (cm_features_run_rows(network, &view, &rows) != CM_OK) failed(r, prefix);
    compare_rows(f, r, prefix, "pool3", rows.values);
    if (torch) {
        compare_rows(f, r, prefix, "logits", rows.logits);
        compare_rows(f, r, prefix, "block64_mean", rows.early[0]);
        compare_rows(f, r, prefix, "block192_mean", rows.early[1]);
        compare_rows(f, r, prefix, "block768_mean", rows.early[2]);
    } else {
        compare_rows(f, r, prefix, "spatial", rows.spatial);
        for (size_t i = 0; i < n; i++) soften(1008, rows.logits + i * 1008), soften(1008, rows.scores + i * 1008);
        compare_rows(f, r, prefix, "probs_bias", rows.logits);
        compare_rows(f, r, prefix, "probs_nobias", rows.scores);
    }
    free(v);
}

/* The network with the weights that a list of names and shapes asks for; NULL with the reason in *r. */
static cm_features *open_listed(cm_context *context, const char *keys, golden_result *r)
{
    char path[64] = "/tmp/golden_inception_XXXXXX";
    cm_features *network = NULL;
    const int file = mkstemp(path);
    FILE *out = file < 0 ? NULL : fdopen(file, "w");
    if (!out || !write_formula_weights(keys, out)) golden_fail(r, "%s: no weights could be made of it", keys);
    else if (cm_features_open(context, path, NULL, &network) != CM_OK) failed(r, keys);
    if (out) (void)fclose(out);
    (void)unlink(path);
    return network;
}

static void check_inception(const golden_file *f, golden_result *r, int torch)
{
    char keys[4200], name[128];
    const char *layout = torch ? "pytorch_fid" : "openai";
    (void)snprintf(keys, sizeof keys, "%s/keys_inception_%s.tsv", f->folder, layout);
    if (access(keys, R_OK) != 0)
        (void)snprintf(keys, sizeof keys, "tests/data/golden/metrics/keys_inception_%s.tsv", layout);
    cm_features *network = open_listed(f->context, keys, r);
    for (size_t i = 0; network && i < f->st.count; i++)
        if (case_of(f->st.tensors[i].name, "images", name, sizeof name))
            check_inception_case(f, r, network, name, torch);
    cm_features_free(network);
}

static void check_inception_keys(cm_context *context, const char *path, golden_result *r)
{
    cm_features_info info = CM_FEATURES_INFO_INIT;
    cm_features *network = open_listed(context, path, r);
    if (network) (void)cm_features_info_get(network, &info);
    golden_compare(r, "an Inception network", info.features != 2048, 0);
    cm_features_free(network);
}

/* Whether the name of any tensor ends so. */
static int any_member(const golden_file *f, const char *end)
{
    for (size_t i = 0; i < f->st.count; i++) {
        const char *name = f->st.tensors[i].name;
        if (strlen(name) > strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0) return 1;
    }
    return 0;
}

static int check_networks(const golden_file *f, golden_result *r)
{
    const int torch = any_member(f, ".fid.pool3"), tensorflow = any_member(f, ".oai.pool3");
    if (torch) check_inception(f, r, 1);
    if (tensorflow) check_inception(f, r, 0);
    if (torch || tensorflow) {
        golden_says(f, r, "weights", "formula v1, name-hashed (see README)");
        return 1;
    }
    const int lenet = cmi_tensors_find(&f->st, "features") != NULL;
    const int deep = cmi_tensors_find(&f->st, "resnet56.features") != NULL;
    const int shallow = cmi_tensors_find(&f->st, "resnet20.features") != NULL;
    if (lenet) check_network(f, r, "mnist_lenet", "features", "logits");
    if (deep) check_network(f, r, "cifar10_resnet56", "resnet56.features", "resnet56.logits");
    if (shallow) check_network(f, r, "cifar10_resnet20", "resnet20.features", "resnet20.logits");
    return lenet || deep || shallow;
}

/* --- LPIPS --------------------------------------------------------------------------- */

enum { MOST_TENSORS = 64 };

/* A tensor of `shape` ("64x3x3x3"), its values by the formula of the README. */
static cm_tensor made_tensor(const char *name, const char *shape)
{
    cm_tensor t = {.name = strdup(name), .type = CM_TENSOR_F32, .count = 1};
    size_t outputs;
    for (const char *at = shape; *at && t.rank < 4; at += *at == 'x') {
        char *end;
        t.shape[t.rank++] = strtol(at, &end, 10);
        t.count *= (size_t)t.shape[t.rank - 1];
        if (end == at) break;
        at = end;
    }
    outputs = (size_t)t.shape[0];
    float *values = malloc(t.count * sizeof *values);
    const double scale = t.rank > 1 ? sqrt(6.0 * (double)outputs / (double)t.count) : 0.1;
    const uint32_t seed = formula_seed(name);
    for (size_t i = 0; i < t.count; i++) values[i] = (float)(scale * formula_value(seed, i));
    t.data = (const unsigned char *)values;
    t.bytes = t.count * sizeof *values;
    return t;
}

/* A file of torchvision's network whose name begins like `network`, weights made; 0 when it cannot be written. */
static int write_backbone(cm_context *context, const char *list, const char *network, const char *path)
{
    char line[256], net[64], name[128], shape[64];
    cm_tensor tensors[MOST_TENSORS];
    size_t n = 0;
    FILE *file = fopen(list, "r");
    while (file && n < MOST_TENSORS && fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %127s %63s", net, name, shape) == 3 && strncmp(net, network, strlen(network)) == 0)
            tensors[n++] = made_tensor(name, shape);
    if (file) (void)fclose(file);
    const int written = n && cmi_checkpoint_write(context, path, 1, NULL, tensors, n, NULL) == CM_OK;
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)tensors[i].name);
        free((void *)(uintptr_t)tensors[i].data);
    }
    return written;
}

/* How far a gradient is from the expected one: the length of the difference, and its largest value. */
static void distance_of_gradient(const float *found, const double *expected, size_t n, double apart[2])
{
    double squares = 0, all = 0, worst_one = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)found[i] - expected[i]);
        squares += d * d;
        all += expected[i] * expected[i];
        worst_one = fmax(worst_one, d);
        largest = fmax(largest, fabs(expected[i]));
    }
    apart[0] = sqrt(squares / all);
    apart[1] = worst_one / largest;
}

/* Where a value before a ReLU is as near to 0 as float32 rounds, the gradient is one of two, and which one is chance:
 * of 24 random pairs of 64 x 64, five have such a value that counts, with PyTorch in float32 as with us (differences
 * of 1e-3 instead of 5e-6).  The input is moved by its last bits then, which decides such values anew and moves the
 * gradient itself by less than 1e-5: it has to agree in one of twelve draws. */
static void check_gradient(golden_result *r, const char *name, cm_lpips *lpips, const cm_images *at,
                           const cm_images *other, const double *expected, int coarse)
{
    const double most[2] = {coarse ? 5e-3 : 1e-4, coarse ? 2e-2 : 1e-4};
    const size_t n = at->n * (size_t)at->channels * (size_t)at->height * (size_t)at->width;
    float *moved = malloc(n * sizeof *moved), *gradient = malloc(n * sizeof *gradient);
    double best[2] = {INFINITY, INFINITY}, apart[2];
    uint64_t random = 1;
    memcpy(moved, at->data, n * sizeof *moved);
    for (int draw = 0; draw < 12 && !(best[0] <= most[0] && best[1] <= most[1]); draw++) {
        const cm_images here = cm_images_f32(at->n, at->channels, at->height, at->width, moved);
        if (cm_lpips_gradient(lpips, &here, other, NULL, gradient) != CM_OK) failed(r, name);
        distance_of_gradient(gradient, expected, n, apart);
        if (apart[0] < best[0]) best[0] = apart[0], best[1] = apart[1];
        for (size_t i = 0; i < n; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            moved[i] = ((const float *)at->data)[i] *
                       (1.0f + (random >> 63 ? 0x1p-23f : -0x1p-23f) * (float)(1 << draw / 4));
        }
    }
    golden_compare(r, name, best[0], most[0]);
    golden_compare(r, name, best[1], most[1]);
    free(moved), free(gradient);
}

static void compare_pairs(const golden_file *f, golden_result *r, const char *name, cm_lpips *lpips)
{
    const cm_tensor *t = member(f, name, "x0"), *grad = member(f, name, "grad_x1");
    const size_t n = (size_t)t->shape[0];
    size_t layers = 0, points = 0, values = t->count;
    float *x0 = floats(f, name, "x0"), *x1 = floats(f, name, "x1"), *gradient = malloc(values * sizeof *gradient);
    double *expected = doubles(f, name, "dist", NULL), *per_layer = doubles(f, name, "per_layer", &layers);
    double *map = doubles(f, name, "spatial_map", &points), *slope = doubles(f, name, "grad_x0", NULL);
    double *found = calloc(n, sizeof *found);
    float *parts = calloc(layers + 1, sizeof *parts), *image = calloc(points + 1, sizeof *image);
    const cm_images a = cm_images_f32(n, 3, (int32_t)t->shape[2], (int32_t)t->shape[3], x0);
    const cm_images b = cm_images_f32(n, 3, (int32_t)t->shape[2], (int32_t)t->shape[3], x1);
    const int coarse = strstr(name, "cm") != NULL;
    if (cm_lpips_run(lpips, &a, &b, found, parts, points ? image : NULL) != CM_OK) failed(r, name);
    for (size_t i = 0; i < n; i++) golden_compare(r, "dist", relative(found[i], expected[i]), 1e-5);
    for (size_t i = 0; i < layers; i++)
        golden_compare(r, "per_layer", relative((double)parts[i], per_layer[i]), 5e-5);
    for (size_t i = 0; i < points; i++) golden_compare(r, "spatial_map", relative((double)image[i], map[i]), 5e-5);
    if (cm_lpips_gradient(lpips, &a, &b, found, gradient) != CM_OK) failed(r, name);
    for (size_t i = 0; i < n; i++) golden_compare(r, "dist", relative(found[i], expected[i]), 1e-5);
    check_gradient(r, "grad_x0", lpips, &a, &b, slope, coarse);
    if (grad) {
        double *other = doubles(f, name, "grad_x1", NULL);
        check_gradient(r, "grad_x1", lpips, &b, &a, other, coarse);
        free(other);
    }
    free(x0), free(x1), free(gradient), free(expected), free(per_layer), free(map), free(slope), free(found);
    free(parts), free(image);
}

static const char *const backbones[] = {"vgg", "alex", "squeeze"};

int golden_backbone(cm_context *context, const char *folder, const char *network, golden_lpips *files)
{
    char list[4200];
    (void)snprintf(files->weights, sizeof files->weights, "/tmp/golden_lpips_%ld.safetensors", (long)getpid());
    (void)snprintf(list, sizeof list, "%s/keys_lpips_backbones.tsv", folder);
    (void)snprintf(files->lin, sizeof files->lin, "%s/../../data/lpips_lin.safetensors", folder);
    if (access(files->lin, R_OK) != 0)
        (void)snprintf(files->lin, sizeof files->lin, "models/features/lpips_lin.safetensors");
    return write_backbone(context, list, network, files->weights);
}

/* The weights of `network` by the list of names and shapes, and the official ones of its layers. */
static cm_lpips *open_backbone(cm_context *context, const char *folder, const char *network,
                               const cm_lpips_options *o, golden_result *r)
{
    golden_lpips files;
    cm_lpips *lpips = NULL;
    if (!golden_backbone(context, folder, network, &files))
        golden_fail(r, "no weights of '%s': %s", network, cm_last_message());
    else if (cm_lpips_open(context, NULL, files.weights, files.lin, o, &lpips) != CM_OK) failed(r, network);
    (void)unlink(files.weights);
    return lpips;
}

/* By the case's name: "cm" as OpenAI trains, "jcm" as the code for CIFAR-10 does, others as the reference measures.
 */
static void check_pairs(const golden_file *f, golden_result *r, const char *name)
{
    const char *network = NULL;
    cm_lpips_options o = CM_LPIPS_OPTIONS_INIT;
    golden_says(f, r, "weights", "formula v1, name-hashed (see README)");
    for (size_t i = 0; i < sizeof backbones / sizeof *backbones; i++)
        if (strstr(f->name, backbones[i])) network = backbones[i];
    if (!network) {
        golden_fail(r, "%s: the name of the file has none of vgg, alex, squeeze", name);
        return;
    }
    if (strstr(name, "cm")) o.resize = *name == 'c' ? CM_LPIPS_RESIZE_SMALL : CM_LPIPS_RESIZE_ALWAYS;
    if (*name == 'c') o.pooling = CM_LPIPS_POOLING_MEAN;
    cm_lpips *lpips = open_backbone(f->context, f->folder, network, &o, r);
    if (lpips) compare_pairs(f, r, name, lpips);
    cm_lpips_free(lpips);
}

/* Every network of the list opens, is recognised by its tensors and needs each of them. */
static void check_backbone_keys(cm_context *context, const char *folder, golden_result *r)
{
    for (size_t i = 0; i < sizeof backbones / sizeof *backbones; i++) {
        cm_lpips_info info = CM_LPIPS_INFO_INIT;
        cm_lpips *lpips = open_backbone(context, folder, backbones[i], NULL, r);
        if (lpips) (void)cm_lpips_info_get(lpips, &info);
        golden_compare(r, backbones[i], !info.network || strcmp(info.network, backbones[i]) != 0, 0);
        cm_lpips_free(lpips);
    }
}

int golden_metric_keys(cm_context *context, const char *folder, const char *name, golden_result *r)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (strncmp(name, "keys_inception_", 15) == 0) check_inception_keys(context, path, r);
    else if (strcmp(name, "keys_lpips_backbones.tsv") == 0) check_backbone_keys(context, folder, r);
    else return 0;
    return 1;
}

/* --- what a file holds ---------------------------------------------------------------- */

static const struct {
    const char *member;
    void (*check)(const golden_file *f, golden_result *r, const char *name);
} kinds[] = {
    {"fd", check_distance}, {"is", check_score}, {"precision_recall", check_neighbours}, {"dist", check_pairs}};

/* Numbers of an inner layer, and where images were taken from: said for people. */
static int is_aside(const char *what)
{
    return strncmp(what, "feat", 4) == 0 || strncmp(what, "indices_in_", 11) == 0;
}

/* A member that no comparison reads is a case that was not tried. */
static void check_known(const golden_file *f, golden_result *r)
{
    static const char *const known[] = {"x",
                                        "y",
                                        "fd",
                                        "mu_x",
                                        "mu_y",
                                        "sigma_x",
                                        "sigma_y",
                                        "mu1",
                                        "mu2",
                                        "sigma1",
                                        "sigma2",
                                        "var1",
                                        "var2",
                                        "trace_sigma_x",
                                        "logits",
                                        "split_size",
                                        "is",
                                        "is_splits",
                                        "ref",
                                        "sample",
                                        "k",
                                        "radii2_ref",
                                        "in_ref",
                                        "in_sample",
                                        "radii2_sample",
                                        "x0",
                                        "x1",
                                        "dist",
                                        "per_layer",
                                        "grad_x0",
                                        "grad_x1",
                                        "spatial_map",
                                        "images",
                                        "features",
                                        "pool3",
                                        "spatial",
                                        "probs_bias",
                                        "block64_mean",
                                        "block192_mean",
                                        "block768_mean",
                                        "probs_nobias",
                                        "trace_sigma_y",
                                        "precision_recall"};
    for (size_t i = 0; i < f->st.count; i++) {
        const char *dot = strrchr(f->st.tensors[i].name, '.'), *what = dot ? dot + 1 : f->st.tensors[i].name;
        size_t k = 0;
        while (k < sizeof known / sizeof *known && strcmp(known[k], what) != 0) k++;
        if (k == sizeof known / sizeof *known && !is_aside(what))
            golden_fail(r, "tensor '%s' is compared with nothing", f->st.tensors[i].name);
    }
}

void golden_metric(golden_file *f, golden_result *r)
{
    char name[128];
    int cases = check_networks(f, r);
    for (size_t i = 0; i < f->st.count; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (case_of(f->st.tensors[i].name, kinds[k].member, name, sizeof name)) {
                kinds[k].check(f, r, name);
                cases++;
            }
    if (!cases) golden_missing(r, "metrics");
    else check_known(f, r);
}
