/* evaluating.c - what a path is, and features of its images. */
#include "evaluating.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 64 };

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* --- opening ----------------------------------------------------------------------- */

/* Names that only models have. */
static int named_like_model(const char *path)
{
    static const char *const ends[] = {".safetensors", ".pt", ".pth", ".pkl", ".ckpt", ".msgpack"};
    char index[4200];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(path, ends[i])) return 1;
    (void)snprintf(index, sizeof index, "%.4096s/model_index.json", path);
    return access(index, R_OK) == 0;
}

static cm_status open_model(cli *c, const cm_features_info *net, const side_options *o, side *s)
{
    cm_model_info info;
    cm_status status = sampling_load(o->sampling, c, s->path, &s->model, &info, NULL);
    if (status != CM_OK) return status;
    if (info.channels != net->channels && !(info.channels == 1 && net->channels == 3))
        cli_usage_error(c, "%s makes images of %d channels, and %s takes %d", s->path, info.channels, net->network,
                        net->channels);
    status = cm_sampler_create(s->model, &o->sampling->sampler, &s->sampler);
    int32_t nfe; /* wrong options are told before other work */
    if (status == CM_OK) status = cm_sampler_nfe(s->sampler, &o->sampling->sample, &nfe);
    s->info.channels = info.channels;
    s->info.height = info.height;
    s->info.width = info.width;
    s->info.classes = info.num_classes;
    s->info.kind = "model";
    s->n = o->samples;
    return status;
}

static cm_status open_pictures(cm_context *context, const cm_features_info *net, const side_options *o, side *s)
{
    cm_dataset_options d = CM_DATASET_OPTIONS_INIT;
    d.channels = net->channels;
    d.height = d.width = o->resize ? net->height : 0;
    d.stop_on_bad = CM_BAD_STOP;
    d.random_crop = o->resize ? CM_CROP_CENTER : CM_CROP_NONE;
    d.shuffle = CM_SHUFFLE_NO;
    cm_status status = cm_dataset_open(context, s->path, &d, &s->set);
    if (status == CM_OK) status = cm_dataset_info_get(s->set, &s->info);
    s->n = s->info.images;
    return status;
}

/* Pictures, or else a model; what is neither is told of as pictures. */
static cm_status open_images(cli *c, cm_context *context, const cm_features_info *net, const side_options *o, side *s)
{
    if (named_like_model(s->path)) return open_model(c, net, o, s);
    cm_status status = open_pictures(context, net, o, s);
    if (status != CM_ERR_FORMAT || s->set) return status;
    cm_model *model = NULL;
    cm_model_info info;
    if (sampling_load(o->sampling, c, s->path, &model, &info, NULL) != CM_OK)
        return open_pictures(context, net, o, s);
    cm_model_free(model);
    return open_model(c, net, o, s);
}

/* Of which network they are. */
static cm_status mark(const cm_features *network, cm_statistics *own, cm_statistics *spatial)
{
    const cm_status status = cm_statistics_mark(own, network);
    return status == CM_OK && spatial ? cm_statistics_mark(spatial, network) : status;
}

/* CM_ERR_FORMAT where the file holds no statistics. */
static cm_status open_statistics(const cli *c, cm_context *context, const cm_features *network, side *s)
{
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    if (!ends_with(s->path, ".npz")) return CM_ERR_FORMAT;
    cm_status status = cm_statistics_read(context, s->path, NULL, &s->given);
    if (status == CM_OK && s->wanted.spatial) status = cm_statistics_read(context, s->path, "_s", &s->given_spatial);
    if (status == CM_OK) status = cm_statistics_info_get(s->given, &info);
    if (status == CM_OK && mark(network, s->given, s->given_spatial) != CM_OK)
        cli_usage_error(c, "%s: %s", s->path, cm_last_message());
    s->n = info.count;
    return status;
}

/* CM_ERR_FORMAT where the file holds no features. */
static cm_status open_features(const cm_features *network, side *s)
{
    size_t n = 0;
    if (!ends_with(s->path, ".npz")) return CM_ERR_FORMAT;
    const cm_status status = cm_features_read(network, s->path, &n, NULL, NULL);
    s->kept = status == CM_OK;
    s->n = s->held = n;
    s->info.kind = "features";
    return status;
}

static cm_status open_whatever(cli *c, cm_context *context, const cm_features *network, const cm_features_info *net,
                               const side_options *o, side *s)
{
    cm_status status = open_features(network, s);
    if (status == CM_OK || status == CM_ERR_ARGUMENT) return status;
    status = open_statistics(c, context, network, s);
    if (status == CM_ERR_NUMERIC || (s->given && status != CM_OK)) return status;
    if (!s->given) {
        status = open_images(c, context, net, o, s);
        /* Neither: the file lacks arr_0, and what it lacks as features, or else as statistics, says more. */
        if (status == CM_ERR_FORMAT && strstr(cm_last_message(), "there is no arr_0")) {
            status = open_features(network, s);
            if (strstr(cm_last_message(), "holds no features")) status = open_statistics(c, context, network, s);
        }
        return status;
    }
    const uint64_t count = s->n;
    /* Files of reference statistics may hold the images too. */
    if (s->wanted.images && open_pictures(context, net, o, s) != CM_OK) s->n = count;
    return CM_OK;
}

cm_status side_open(cli *c, cm_context *context, const cm_features *network, const cm_features_info *net,
                    const side_options *o, side *s)
{
    s->info = (cm_dataset_info)CM_DATASET_INFO_INIT;
    const cm_status status = open_whatever(c, context, network, net, o, s);
    if (o->limit && side_has_images(s) && s->n > o->limit) s->n = o->limit;
    return status;
}

void side_forget(side *s)
{
    cm_statistics_free(s->gathered);
    cm_statistics_free(s->gathered_spatial);
    free(s->values);
    free(s->logits);
    free(s->labels);
    free(s->spatial);
    s->gathered = s->gathered_spatial = NULL;
    s->nfe = (sampling_nfe){0};
    s->values = s->logits = s->spatial = NULL;
    s->labels = NULL;
}

void side_close(side *s)
{
    side_forget(s);
    cm_statistics_free(s->given);
    cm_statistics_free(s->given_spatial);
    cm_dataset_free(s->set);
    cm_sampler_free(s->sampler);
    cm_model_free(s->model);
    *s = (side){.path = s->path};
}

/* --- features ------------------------------------------------------------------------ */

/* Of a batch.  What is found of it lies in one block, which goes to rank 0. */
typedef struct {
    uint8_t *bytes;
    float *drawn;
    unsigned char *found;
    size_t size; /* of `found`: values, logits, spatial, labels, evaluations */
} buffers;

typedef struct {
    float *values, *logits, *spatial;
    int32_t *labels, *evaluations;
} found;

static size_t spatial_of(const side *s, const cm_features_info *net)
{
    return s->wanted.spatial ? (size_t)net->spatial : 0;
}

static size_t block_size(const side *s, const cm_features_info *net)
{
    const size_t floats = (size_t)net->features + (size_t)net->classes + spatial_of(s, net);
    return BATCH * (floats * sizeof(float) + 2 * sizeof(int32_t));
}

static found in_block(const side *s, const cm_features_info *net, unsigned char *block)
{
    found f;
    f.values = (float *)(void *)block;
    f.logits = f.values + BATCH * (size_t)net->features;
    f.spatial = f.logits + BATCH * (size_t)net->classes;
    f.labels = (int32_t *)(void *)(f.spatial + BATCH * spatial_of(s, net));
    f.evaluations = f.labels + BATCH;
    return f;
}

/* One channel to three, from the last image on. */
static void spread(size_t count, size_t points, float *x)
{
    for (size_t i = count; i-- > 0;)
        for (size_t k = 3; k-- > 0;) memmove(x + (3 * i + k) * points, x + i * points, points * sizeof *x);
}

static int32_t is_stopped(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return cli_interrupted();
}

/* Samples at, at + 1, ...; classes take turns. */
static cm_status draw(const side *s, const cm_features_info *net, const side_options *o, uint64_t at, size_t count,
                      const found *f, float *x, cm_images *images)
{
    cm_sample_options sample = o->sampling->sample;
    cm_condition condition = CM_CONDITION_INIT;
    for (size_t i = 0; i < count; i++)
        f->labels[i] = s->info.classes ? (int32_t)((at + i) % (uint64_t)s->info.classes) : -1;
    condition.labels = s->info.classes ? f->labels : NULL;
    condition.guidance = o->sampling->condition.guidance;
    sample.condition = &condition;
    sample.first_index += at;
    sample.progress = is_stopped;
    sample.evaluations = f->evaluations;
    const cm_status status = cm_sampler_run(s->sampler, &sample, count, x);
    if (status == CM_OK && s->info.channels == 1 && net->channels == 3)
        spread(count, (size_t)s->info.height * (size_t)s->info.width, x);
    *images = cm_images_f32(count, net->channels, s->info.height, s->info.width, x);
    return status;
}

static size_t count_at(const side *s, uint64_t at)
{
    return s->n - at < BATCH ? (size_t)(s->n - at) : BATCH;
}

static cm_status look_at_batch(const side *s, cm_features *network, const cm_features_info *net,
                               const side_options *o, const buffers *b, uint64_t at)
{
    const size_t count = count_at(s, at);
    const found f = in_block(s, net, b->found);
    cm_images images = cm_images_u8(count, s->info.height, s->info.width, net->channels, b->bytes);
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    rows.values = f.values;
    if (s->wanted.scores) rows.scores = f.logits;
    else rows.logits = f.logits;
    if (s->wanted.spatial) rows.spatial = f.spatial;
    cm_status status =
        s->set ? cm_dataset_read(s->set, at, &images, f.labels) : draw(s, net, o, at, count, &f, b->drawn, &images);
    return status == CM_OK ? cm_features_run_rows(network, &images, &rows) : status;
}

/* What was found of a batch, after those before it. */
static cm_status take_batch(side *s, const cm_features_info *net, unsigned char *block, uint64_t at)
{
    const size_t count = count_at(s, at), values = (size_t)net->features, logits = (size_t)net->classes;
    const size_t spatial = (size_t)net->spatial;
    const found f = in_block(s, net, block);
    if (s->values) memcpy(s->values + at * values, f.values, count * values * sizeof(float));
    if (s->logits) memcpy(s->logits + at * logits, f.logits, count * logits * sizeof(float));
    if (s->spatial) memcpy(s->spatial + at * spatial, f.spatial, count * spatial * sizeof(float));
    memcpy(s->labels + at, f.labels, count * sizeof *f.labels);
    if (s->model) sampling_count(&s->nfe, count, f.evaluations);
    const cm_status status = cm_statistics_add(s->gathered, count, f.values);
    return status == CM_OK && s->wanted.spatial ? cm_statistics_add(s->gathered_spatial, count, f.spatial) : status;
}

/* All that is held of the images. */
static cm_feature_rows rows_of(const side *s)
{
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    rows.values = s->values;
    if (s->wanted.scores) rows.scores = s->logits;
    else rows.logits = s->logits;
    rows.spatial = s->spatial;
    return rows;
}

cm_status side_keep(const side *s, const cm_features *network, const char *path, int overwrite)
{
    const cm_feature_rows rows = rows_of(s);
    return cm_features_write(network, path, (size_t)s->n, &rows, s->labels, overwrite);
}

static cm_status fill_kept(side *s, const cm_features *network)
{
    size_t n = (size_t)s->held;
    const cm_feature_rows rows = rows_of(s);
    cm_status status = cm_features_read(network, s->path, &n, &rows, s->labels);
    if (status == CM_OK) status = cm_statistics_add(s->gathered, (size_t)s->n, s->values);
    if (status == CM_OK && s->spatial) status = cm_statistics_add(s->gathered_spatial, (size_t)s->n, s->spatial);
    return status;
}

/* What has come to rank 0. */
static cm_status take_batches(side *s, const cm_features_info *net, rounds *w)
{
    unsigned char *block;
    cm_status status = CM_OK;
    size_t piece;
    while (status == CM_OK && (block = rounds_next(w, &piece)) != NULL)
        status = take_batch(s, net, block, (uint64_t)piece * BATCH);
    return status;
}

/* Features and logits of all images, batch by batch. */
static cm_status fill(side *s, cm_features *network, const cm_features_info *net, const side_options *o,
                      const buffers *b, rounds *w, cli_progress *own)
{
    const cm_progress_fn progress = o->progress ? o->progress : cli_progress_step;
    void *user = o->progress ? o->progress_user : own;
    uint64_t done = 0;
    size_t mine;
    while (rounds_deal(w, &mine)) {
        cm_status status = CM_OK;
        done += (uint64_t)rounds_dealt(w) * BATCH;
        if (mine != SIZE_MAX) status = look_at_batch(s, network, net, o, b, (uint64_t)mine * BATCH);
        if (status == CM_OK) status = rounds_collect(w, b->found);
        if (status == CM_OK) status = take_batches(s, net, w);
        if (status != CM_OK) return status;
        if (progress(user, done < s->n ? done : s->n, s->n)) return CM_ERR_CANCELLED;
    }
    return CM_OK;
}

static cm_status fill_shared(cli *c, side *s, cm_features *network, const cm_features_info *net,
                             const side_options *o, const buffers *b, int quiet)
{
    static ranks alone;
    rounds w;
    cli_progress progress;
    cli_progress_begin(&progress, s->model ? "samples" : "features", quiet);
    cm_status status = rounds_begin(&w, o->ranks ? o->ranks : &alone, c, s->path, o->retry,
                                    (size_t)((s->n + BATCH - 1) / BATCH), b->size);
    if (status == CM_OK) status = fill(s, network, net, o, b, &w, &progress);
    if (!o->progress) cli_progress_end(&progress);
    rounds_end(&w);
    return status;
}

static void *floats(uint64_t rows, int32_t width)
{
    return malloc((size_t)rows * (size_t)width * sizeof(float) + 1);
}

/* Rows of all images where they are wanted, of a batch where mean and covariance are enough. */
static cm_status reserve(side *s, const cm_features_info *net, const side_options *o, int holds, buffers *b)
{
    const size_t image = (size_t)s->info.height * (size_t)s->info.width * (size_t)net->channels;
    const uint64_t rows = !holds ? 0 : s->kept ? s->held : s->n;
    b->size = block_size(s, net);
    b->bytes = malloc(BATCH * image + 1);
    b->drawn = floats(s->model ? BATCH * image : 0, 1);
    b->found = calloc(b->size, 1);
    if (s->wanted.values || s->kept) s->values = floats(rows, net->features);
    if (s->wanted.logits) s->logits = floats(rows, net->classes);
    if (s->wanted.spatial && (s->kept || o->keep)) s->spatial = floats(rows, net->spatial);
    s->labels = malloc((size_t)rows * sizeof *s->labels + 1);
    const int failed = (!s->values && (s->wanted.values || s->kept)) || (!s->logits && s->wanted.logits) ||
                       (!s->spatial && s->wanted.spatial && (s->kept || o->keep));
    return b->bytes && b->drawn && b->found && s->labels && !failed ? CM_OK : CM_ERR_MEMORY;
}

cm_status side_gather(cli *c, cm_context *context, side *s, cm_features *network, const cm_features_info *net,
                      const side_options *o, int quiet)
{
    const int holds = !o->ranks || ranks_speaks(o->ranks);
    buffers b = {NULL, NULL, NULL, 0};
    if (!side_has_images(s)) return CM_OK;
    cm_status status = reserve(s, net, o, holds, &b);
    if (status == CM_OK) status = cm_statistics_create(context, net->features, &s->gathered);
    if (status == CM_OK && s->wanted.spatial)
        status = cm_statistics_create(context, net->spatial, &s->gathered_spatial);
    if (status == CM_OK) status = mark(network, s->gathered, s->gathered_spatial);
    if (status == CM_OK && !s->kept) status = fill_shared(c, s, network, net, o, &b, quiet);
    if (status == CM_OK && s->kept && holds) status = fill_kept(s, network);
    free(b.bytes), free(b.drawn), free(b.found);
    return status;
}

void side_describe(const side *s, char *text, size_t size)
{
    char weights[TIMES_MODEL] = "";
    if (s->model) (void)times_model(s->model, weights);
    (void)snprintf(text, size, "%llu images, %d x %d, %s%s, names and sizes %016llx", (unsigned long long)s->n,
                   s->info.height, s->info.width,
                   s->given       ? "statistics"
                   : s->info.kind ? s->info.kind
                                  : "?",
                   weights, (unsigned long long)s->info.fingerprint);
}
