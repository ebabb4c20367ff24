/* metric.c - see the header. */
#include "run/metric.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <consistency/sampler.h>
#include <xxhash.h>

#include "diffusion/model.h"
#include "run/pages.h"

enum { BATCH = 64, LARGE_BATCH = 16, HEUN_STEPS = 5 };

struct cm_run_metric {
    cm_context *context;
    const char *name;       /* of the options */
    int32_t channels, h, w; /* of samples     */
    int32_t classes, evaluations, steps, threads, is_consistency;
    size_t samples, batch;
    cm_features *network;
    cm_features_info net;
    cm_statistics *reference; /* NULL: not gathered yet */
    cm_dataset *pictures;     /* until it is            */
    size_t n_pictures;
    XXH64_hash_t hash;               /* of the reference                          */
    double spent, last, of_features; /* seconds: of all, of one, of an image      */
};

/* --- opening ---------------------------------------------------------------------------- */

/* A gray image stands for all three channels, as cm-eval has it. */
static cm_status check_size(const cm_run_metric *m, const cm_run_options *o)
{
    const cm_features_info *f = &m->net;
    const int fits = f->resizes || (m->h == m->w && (m->h == f->height || (f->padded && m->h == f->padded)));
    if (fits && (m->channels == f->channels || (m->channels == 1 && f->channels == 3))) return CM_OK;
    CM_FAIL(CM_ERR_SHAPE, "%smetric %s: the run makes images of %d x %d x %d, and the network %s takes %d x %d x %d",
            o->prefix, m->name, m->channels, m->h, m->w, f->network, f->channels, f->height, f->width);
}

static cm_status few(const cm_run_metric *m, const cm_run_options *o, uint64_t count)
{
    char shown[CM_RUN_SHOWN];
    if (count < 2)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: the reference of %s has %llu image%s, and a distance takes two or more",
                o->metric_data, m->name, (unsigned long long)count, count == 1 ? "" : "s");
    if (count >= CM_METRIC_FEWEST || o->metric_few) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT,
            "%s: the reference of %s has %llu images, of which a distance says little: give one of %d or more, or %s",
            o->metric_data, m->name, (unsigned long long)count, CM_METRIC_FEWEST,
            cmi_run_option_shown(o, "metric_few", shown));
}

/* A distance to itself shows a matrix that is no covariance before the training does. */
static cm_status take_reference(cm_run_metric *m)
{
    double itself;
    const size_t d = (size_t)m->net.features;
    CM_TRY(cm_frechet_distance(m->reference, m->reference, &itself));
    double *values = cmi_malloc(m->context, d * (d + 1), sizeof *values);
    if (!values) return CM_ERR_MEMORY;
    const cm_status status = cm_statistics_values(m->reference, values, values + d);
    if (status == CM_OK) m->hash = XXH3_64bits(values, d * (d + 1) * sizeof *values);
    cmi_free(m->context, values);
    return status;
}

static int is_npz(const char *path)
{
    const size_t n = strlen(path);
    return n >= 4 && strcmp(path + n - 4, ".npz") == 0;
}

/* Of features that cm-eval --keep has written. */
static cm_status read_features(cm_run_metric *m, const char *path, size_t n)
{
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    rows.values = cmi_malloc(m->context, n * (size_t)m->net.features, sizeof *rows.values);
    if (!rows.values) return CM_ERR_MEMORY;
    cm_status status = cm_features_read(m->network, path, &n, &rows, NULL);
    if (status == CM_OK) status = cm_statistics_create(m->context, m->net.features, &m->reference);
    if (status == CM_OK) status = cm_statistics_mark(m->reference, m->network);
    if (status == CM_OK) status = cm_statistics_add(m->reference, n, rows.values);
    cmi_free(m->context, rows.values);
    return status;
}

static cm_status read_statistics(cm_run_metric *m, const cm_run_options *o)
{
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    CM_TRY(cm_statistics_read(m->context, o->metric_data, NULL, &m->reference));
    CM_TRY(cm_statistics_info_get(m->reference, &info));
    if (info.dimension != m->net.features)
        CM_FAIL(CM_ERR_SHAPE, "%s: statistics of %d features, and the network %s has %d: they are of another network",
                o->metric_data, info.dimension, m->net.network, m->net.features);
    const cm_status status = cm_statistics_mark(m->reference, m->network);
    if (status != CM_OK) return cmi_fail(status, "%s: %s", o->metric_data, cm_last_message());
    return info.count ? few(m, o, info.count) : CM_OK; /* files of other programs do not say the count */
}

/* Cut as the run's own pictures are. */
static cm_status open_pictures(cm_run_metric *m, const cm_run_options *o)
{
    cm_dataset_options d = CM_DATASET_OPTIONS_INIT;
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    d.channels = m->channels;
    d.height = m->h;
    d.width = m->w;
    d.labels = CM_LABELS_NONE;
    d.stop_on_bad = CM_BAD_STOP;
    d.shuffle = CM_SHUFFLE_NO;
    CM_TRY(cm_dataset_open(m->context, o->metric_data, &d, &m->pictures));
    CM_TRY(cm_dataset_info_get(m->pictures, &info));
    m->n_pictures = (size_t)info.images;
    if (info.height != m->h || info.width != m->w)
        CM_FAIL(CM_ERR_SHAPE, "%s: pictures of %d x %d, and the run makes images of %d x %d", o->metric_data,
                info.height, info.width, m->h, m->w);
    return few(m, o, info.images);
}

/* Features, or else statistics, or else pictures. */
static cm_status open_reference(cm_run_metric *m, const cm_run_options *o)
{
    size_t n = 0;
    cm_status status = CM_ERR_FORMAT;
    if (is_npz(o->metric_data)) {
        status = cm_features_read(m->network, o->metric_data, &n, NULL, NULL);
        if (status == CM_OK) CM_TRY(few(m, o, n));
        if (status == CM_OK) status = read_features(m, o->metric_data, n);
        else if (status == CM_ERR_FORMAT) status = read_statistics(m, o);
    }
    if (status == CM_ERR_FORMAT && !m->reference) return open_pictures(m, o);
    CM_TRY(status);
    return take_reference(m);
}

/* The features of one batch, for their time. */
static cm_status time_features(cm_run_metric *m)
{
    const size_t values = (size_t)m->net.channels * (size_t)m->h * (size_t)m->w;
    uint8_t *bytes = cmi_calloc(m->context, m->batch, values);
    float *rows = cmi_malloc(m->context, m->batch * (size_t)m->net.features, sizeof *rows);
    const cm_images images = cm_images_u8(m->batch, m->h, m->w, m->net.channels, bytes);
    const double began = cmi_run_seconds();
    const cm_status status = bytes && rows ? cm_features_run(m->network, &images, rows, NULL) : CM_ERR_MEMORY;
    m->of_features = (cmi_run_seconds() - began) / (double)m->batch;
    cmi_free(m->context, bytes);
    cmi_free(m->context, rows);
    return status;
}

static cm_status fill(cm_run_metric *m, const cm_run_options *o, const cm_model *model)
{
    cm_model_info info;
    cm_model_info_init(&info, sizeof info);
    m->net = (cm_features_info)CM_FEATURES_INFO_INIT;
    CM_TRY(cm_model_info_get(model, &info));
    m->name = o->metric;
    m->channels = info.channels, m->h = info.height, m->w = info.width;
    m->classes = info.num_classes;
    m->is_consistency = o->n.is_consistency;
    m->steps = o->metric_steps ? o->metric_steps : m->is_consistency ? 1 : HEUN_STEPS;
    m->evaluations = m->is_consistency ? m->steps : 2 * m->steps - 1;
    m->threads = o->n.threads;
    m->samples = o->metric_samples ? (size_t)o->metric_samples : CM_METRIC_FEWEST;
    CM_TRY(cm_features_open(m->context, o->metric_features, cmi_run_metric_network(o->metric), &m->network));
    CM_TRY(cm_features_info_get(m->network, &m->net));
    m->batch = m->net.resizes ? LARGE_BATCH : BATCH;
    CM_TRY(check_size(m, o));
    CM_TRY(open_reference(m, o));
    return time_features(m);
}

cm_status cmi_metric_open(const cm_run_options *o, const cm_model *model, cm_run_metric **out)
{
    *out = NULL;
    cm_run_metric *m = cmi_calloc(o->context, 1, sizeof *m);
    if (!m) return CM_ERR_MEMORY;
    m->context = o->context;
    const cm_status status = fill(m, o, model);
    if (status == CM_OK) *out = m;
    else cmi_metric_close(m);
    return status;
}

void cmi_metric_close(cm_run_metric *m)
{
    if (!m) return;
    cm_features_free(m->network);
    cm_statistics_free(m->reference);
    cm_dataset_free(m->pictures);
    cmi_free(m->context, m);
}

/* --- time and memory -------------------------------------------------------------------------- */

double cmi_metric_seconds(const cm_run_metric *m, double evaluation)
{
    return m->last > 0 ? m->last : (double)m->samples * (m->evaluations * evaluation + m->of_features);
}

int cmi_metric_fits(const cm_run_metric *m, double share, double elapsed, double evaluation)
{
    return share <= 0 || cmi_metric_seconds(m, evaluation) <= share * elapsed - m->spent;
}

void cmi_metric_clock(cm_run_metric *m)
{
    m->spent = 0;
}

double cmi_metric_last_seconds(const cm_run_metric *m)
{
    return m->last;
}

int64_t cmi_metric_samples(const cm_run_metric *m)
{
    return (int64_t)m->samples;
}

/* The distance of two sets of d features holds some ten matrices of doubles. */
uint64_t cmi_metric_bytes(const cm_run_metric *m)
{
    const uint64_t d = (uint64_t)m->net.features;
    const uint64_t image = (uint64_t)m->net.channels * (uint64_t)m->h * (uint64_t)m->w;
    return 12 * 8 * d * d + m->batch * (4 * image + 4 * d);
}

/* --- features --------------------------------------------------------------------------------- */

/* A batch of images and of their features. */
typedef struct {
    float *images, *rows;
    int32_t *labels;
} batch;

static cm_status make_batch(const cm_run_metric *m, batch *b)
{
    const size_t values = (size_t)m->net.channels * (size_t)m->h * (size_t)m->w;
    b->images = cmi_malloc(m->context, m->batch * values, sizeof *b->images);
    b->rows = cmi_malloc(m->context, m->batch * (size_t)m->net.features, sizeof *b->rows);
    b->labels = cmi_malloc(m->context, m->batch, sizeof *b->labels);
    return b->images && b->rows && b->labels ? CM_OK : CM_ERR_MEMORY;
}

static void free_batch(const cm_run_metric *m, batch *b)
{
    cmi_free(m->context, b->images);
    cmi_free(m->context, b->rows);
    cmi_free(m->context, b->labels);
}

/* One channel to three, from the last image on. */
static void spread(const cm_run_metric *m, size_t n, float *x)
{
    const size_t points = (size_t)m->h * (size_t)m->w, copies = (size_t)m->net.channels;
    for (size_t i = n; m->channels != m->net.channels && i-- > 0;)
        for (size_t k = copies; k-- > 0;) memmove(x + (copies * i + k) * points, x + i * points, points * sizeof *x);
}

/* Adds n images of the batch, which is written over. */
static cm_status add_images(cm_run_metric *m, batch *b, size_t n, cm_statistics *to)
{
    spread(m, n, b->images);
    const cm_images images = cm_images_f32(n, m->net.channels, m->h, m->w, b->images);
    CM_TRY(cm_features_run(m->network, &images, b->rows, NULL));
    return cm_statistics_add(to, n, b->rows);
}

static cm_status gather(cm_run_metric *m, batch *b, cm_progress_fn stop, void *user, cm_statistics *to)
{
    for (size_t at = 0; at < m->n_pictures; at += m->batch) {
        const size_t n = m->n_pictures - at < m->batch ? m->n_pictures - at : m->batch;
        const cm_images images = cm_images_f32(n, m->channels, m->h, m->w, b->images);
        if (stop && stop(user, at, m->n_pictures))
            CM_FAIL(CM_ERR_CANCELLED, "stopped at picture %zu of %zu of the reference of %s", at, m->n_pictures,
                    m->name);
        CM_TRY(cm_dataset_read(m->pictures, at, &images, b->labels));
        CM_TRY(add_images(m, b, n, to));
    }
    return CM_OK;
}

cm_status cmi_metric_prepare(cm_run_metric *m, cm_progress_fn stop, void *user)
{
    batch b = {NULL, NULL, NULL};
    cm_statistics *found = NULL;
    if (m->reference) return CM_OK;
    cm_status status = make_batch(m, &b);
    if (status == CM_OK) status = cm_statistics_create(m->context, m->net.features, &found);
    if (status == CM_OK) status = gather(m, &b, stop, user, found);
    free_batch(m, &b);
    if (status != CM_OK) {
        cm_statistics_free(found);
        return status;
    }
    m->reference = found;
    return take_reference(m);
}

/* --- an evaluation ------------------------------------------------------------------------------ */

static cm_status draw(const cm_run_metric *m, cm_sampler *sampler, cm_sample_options *s, size_t at, size_t n,
                      batch *b)
{
    cm_condition condition = CM_CONDITION_INIT;
    for (size_t i = 0; i < n; i++) b->labels[i] = m->classes ? (int32_t)((at + i) % (size_t)m->classes) : -1;
    condition.labels = m->classes ? b->labels : NULL;
    s->condition = &condition;
    s->first_index = at;
    const cm_status status = cm_sampler_run(sampler, s, n, b->images);
    s->condition = NULL;
    return status;
}

static cm_status evaluate(cm_run_metric *m, cm_model *model, cm_progress_fn stop, void *user, batch *b,
                          cm_statistics *found)
{
    cm_sampler *sampler;
    cm_sampler_options so;
    cm_sample_options s;
    cm_sampler_options_init(&so, sizeof so);
    cm_sample_options_init(&s, sizeof s);
    so.threads = m->threads;
    s.progress = stop;
    s.progress_user = user;
    s.steps = m->is_consistency && m->steps == 1 ? 0 : m->steps;
    if (!m->is_consistency) s.method = CM_METHOD_HEUN;
    CM_TRY(cm_sampler_create(model, &so, &sampler));
    cm_status status = CM_OK;
    for (size_t at = 0; at < m->samples && status == CM_OK; at += m->batch) {
        const size_t n = m->samples - at < m->batch ? m->samples - at : m->batch;
        status = draw(m, sampler, &s, at, n, b);
        if (status == CM_OK) status = add_images(m, b, n, found);
    }
    cm_sampler_free(sampler);
    return status;
}

/* Weights that have gone astray have no distance, and that ends no run. */
cm_status cmi_metric_of(cm_run_metric *m, cm_model *model, cm_progress_fn stop, void *user, double *distance)
{
    batch b = {NULL, NULL, NULL};
    cm_statistics *found = NULL;
    const double began = cmi_run_seconds();
    cm_status status = make_batch(m, &b);
    if (status == CM_OK) status = cm_statistics_create(m->context, m->net.features, &found);
    if (status == CM_OK) status = evaluate(m, model, stop, user, &b, found);
    if (status == CM_OK) status = cm_frechet_distance(found, m->reference, distance);
    cm_statistics_free(found);
    free_batch(m, &b);
    const double seconds = cmi_run_seconds() - began;
    m->spent += seconds;
    if (status == CM_ERR_NUMERIC) {
        *distance = (double)NAN;
        status = CM_OK;
    }
    if (status == CM_OK) m->last = seconds;
    return status;
}

/* Statistics files of several networks have as many features: their values tell them apart. */
void cmi_metric_text(const cm_run_metric *m, char text[CM_METRIC_TEXT])
{
    (void)snprintf(text, CM_METRIC_TEXT, "%s weights %s reference %016llx samples %zu steps %d", m->name,
                   m->net.weights, (unsigned long long)m->hash, m->samples, m->steps);
}
