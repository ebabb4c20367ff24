/* features.c - plans, workers and the loop over images.
 *
 * Images become bytes first, as files of samples hold them, then what the network was trained on.  They are spread
 * over the threads in slices; what is left over goes one by one.  An image's features do not depend on its slice. */
#include "metrics/features.h"

#include <string.h>

#include "base/call.h"
#include "base/parallel.h"
#include "graph/plan.h"
#include "metrics/weights_hash.h"
#include "nets/feature_net.h"

/* A plan with one exec a thread. */
typedef struct {
    cm_plan *plan;
    cm_weights *weights;
    cm_exec **execs;
    int n_execs;
    size_t slice;
} team;

enum { SLICE = 8, TEAMS = 2 };

struct cm_features {
    cm_context *context;
    cm_tensors file;
    cm_feature_net net;
    team teams[TEAMS]; /* slices of several images, and of one */
    uint8_t *bytes;    /* of each thread: an image             */
    size_t image;      /* bytes of one                         */
    int threads;
    char hash[CM_WEIGHTS_HASH];
    cm_call call;
};

/* --- opening ----------------------------------------------------------------------- */

/* The tensor whose name comes next, NULL after the last one. */
static const cm_tensor *next_by_name(const cm_tensors *file, const cm_tensor *last)
{
    const cm_tensor *next = NULL;
    for (size_t i = 0; i < file->count; i++) {
        const cm_tensor *t = &file->tensors[i];
        if ((!last || strcmp(t->name, last->name) > 0) && (!next || strcmp(t->name, next->name) < 0)) next = t;
    }
    return next;
}

/* Of all tensors, ordered by name: programs write the same tensors in any order. */
static cm_status hash_weights(cm_features *f)
{
    const char *file = f->file.input.name;
    cm_weights_hash *hash;
    const cm_tensor *t = NULL;
    cm_status status = cmi_weights_hash_begin(file, &hash);
    while (status == CM_OK && (t = next_by_name(&f->file, t)) != NULL) {
        float *values = cmi_malloc(f->context, t->count, sizeof *values);
        status = values ? cmi_tensor_read(t, values) : CM_ERR_MEMORY;
        if (status == CM_OK) status = cmi_weights_hash_add(hash, file, t->name, values, t->count);
        cmi_free(f->context, values);
    }
    cmi_weights_hash_end(hash, status == CM_OK ? f->hash : NULL);
    return status;
}

static const cm_feature_family *family_named(const char *name)
{
    for (size_t i = 0; cmi_feature_family_at(i); i++)
        if (strcmp(cmi_feature_family_at(i)->name, name) == 0) return cmi_feature_family_at(i);
    return NULL;
}

/* The first family whose tensors are those of the file. */
static cm_status recognise(cm_features *f)
{
    for (size_t i = 0; cmi_feature_family_at(i); i++) {
        const char *marker = cmi_feature_family_at(i)->marker;
        if (marker && !cmi_tensors_find(&f->file, marker)) continue;
        const cm_status status = cmi_feature_net_open(f->context, cmi_feature_family_at(i), &f->file, &f->net);
        if (status != CM_ERR_FORMAT) return status;
    }
    CM_FAIL(CM_ERR_FORMAT,
            "%s: its %zu tensors are those of no feature network that this library knows (cm_choice_name lists "
            "feature_networks)",
            f->file.input.name, f->file.count);
}

static cm_status open_net(cm_features *f, const char *network)
{
    if (!network) return recognise(f);
    const cm_feature_family *family = family_named(network);
    if (!family) CM_FAIL(CM_ERR_ARGUMENT, "there is no feature network '%.64s'", network);
    return cmi_feature_net_open(f->context, family, &f->file, &f->net);
}

static cm_status equip(cm_features *f, team *t, size_t slice)
{
    const cm_plan_options options = {.slice = (int32_t)slice, .threads = 1, .share = 1};
    t->slice = slice;
    CM_TRY(cmi_plan_create(f->net.graph, &options, &t->plan));
    CM_TRY(cmi_weights_create(t->plan, f->net.params, &t->weights));
    t->execs = cmi_calloc(f->context, (size_t)f->threads, sizeof *t->execs);
    if (!t->execs) return CM_ERR_MEMORY;
    for (; t->n_execs < f->threads; t->n_execs++) CM_TRY(cmi_exec_create(t->plan, &t->execs[t->n_execs]));
    return CM_OK;
}

static cm_status open_all(cm_features *f, const char *path, const char *network)
{
    CM_TRY(cmi_tensors_open_file(f->context, path, CM_INPUT_IN_PLACE, &f->file));
    CM_TRY(open_net(f, network));
    CM_TRY(hash_weights(f));
    CM_TRY(equip(f, &f->teams[0], f->net.family->slice ? (size_t)f->net.family->slice : SLICE));
    return equip(f, &f->teams[1], 1);
}

cm_status cmi_features_open(cm_context *context, const char *path, const char *network, cm_features **out)
{
    *out = NULL;
    CM_TRY(cmi_context_retain(context, &context));
    cm_features *f = cmi_calloc(context, 1, sizeof *f);
    if (!f) {
        cm_context_free(context);
        return CM_ERR_MEMORY;
    }
    f->context = context;
    f->threads = cmi_context_threads(context);
    cmi_call_init(&f->call);
    cm_status status = open_all(f, path, network);
    if (status != CM_OK) cmi_features_free(f);
    else *out = f;
    return status;
}

void cmi_features_free(cm_features *f)
{
    if (!f) return;
    cm_context *context = f->context;
    for (int i = 0; i < TEAMS; i++) {
        team *t = &f->teams[i];
        for (int k = 0; k < t->n_execs; k++) cmi_exec_free(t->execs[k]);
        cmi_free(context, t->execs);
        cmi_weights_free(t->weights);
        cmi_plan_free(t->plan);
    }
    cmi_free(context, f->bytes);
    cmi_feature_net_close(&f->net);
    cmi_tensors_close(&f->file);
    cmi_free(context, f);
    cm_context_free(context);
}

cm_context *cmi_features_context(const cm_features *f)
{
    return f->context;
}

void cmi_features_describe(const cm_features *f, cm_features_info *out)
{
    const cm_feature_family *family = f->net.family;
    memset(out, 0, sizeof *out);
    out->channels = family->channels;
    out->height = out->width = family->side;
    out->padded = family->padded;
    out->features = family->features;
    out->classes = family->classes;
    out->resizes = family->resize != CM_FEATURE_AS_IT_IS;
    out->spatial = family->spatial[0] * family->spatial[1];
    memcpy(out->early, family->early, sizeof out->early);
    out->network = family->name;
    out->weights = f->hash;
}

/* --- what the network takes ------------------------------------------------------------ */

static float normalised(const cm_feature_family *family, float value, size_t channel)
{
    return (value / family->divisor - family->shift[channel]) / family->scale[channel];
}

/* An image of the network's size, or the middle of a padded one. */
static void cut(const cm_feature_family *family, const uint8_t *bytes, size_t given, float *x)
{
    const size_t side = (size_t)family->side, edge = (given - side) / 2, c = (size_t)family->channels;
    float values[3][UINT8_MAX + 1]; /* of each byte */
    for (size_t k = 0; k < c; k++)
        for (size_t i = 0; i <= UINT8_MAX; i++) values[k][i] = normalised(family, (float)i, k);
    for (size_t row = 0; row < side; row++) {
        const uint8_t *from = bytes + ((edge + row) * given + edge) * c;
        for (size_t i = 0; i < side; i++)
            for (size_t k = 0; k < c; k++) *x++ = values[k][*from++];
    }
}

/* Two neighbours of n and how far the point lies from the first. */
typedef struct {
    size_t low, high;
    float part;
} between;

static between place_of(const cm_feature_family *family, size_t i, size_t n)
{
    const double scale = (double)n / family->side, last = (double)(n - 1);
    double at = family->resize == CM_FEATURE_BY_CENTRES ? ((double)i + 0.5) * scale - 0.5 : (double)i * scale;
    at = at < 0 ? 0 : at > last ? last : at;
    const size_t low = (size_t)at;
    return (between){low, low + 1 < n ? low + 1 : low, (float)(at - (double)low)};
}

static float mixed(float a, float b, float part)
{
    return a + (b - a) * part;
}

/* Bilinear, without smoothing where the image is larger. */
static void resize(const cm_feature_family *family, const uint8_t *bytes, size_t height, size_t width, float *x)
{
    enum { MOST = 300 }; /* no network's side is larger */
    const size_t side = (size_t)family->side, c = (size_t)family->channels;
    between places[MOST];
    for (size_t i = 0; i < side; i++) places[i] = place_of(family, i, width);
    for (size_t row = 0; row < side; row++) {
        const between v = place_of(family, row, height);
        const uint8_t *above = bytes + v.low * width * c, *below = bytes + v.high * width * c;
        for (size_t i = 0; i < side; i++) {
            const between h = places[i];
            for (size_t k = 0; k < c; k++) {
                const float top = mixed((float)above[h.low * c + k], (float)above[h.high * c + k], h.part);
                const float bottom = mixed((float)below[h.low * c + k], (float)below[h.high * c + k], h.part);
                *x++ = normalised(family, mixed(top, bottom, v.part), k);
            }
        }
    }
}

/* Image `index` as bytes, then as the network takes it. */
static void prepare(const cm_feature_family *family, const cm_view *images, size_t index, uint8_t *bytes, float *x)
{
    const size_t height = images->height, width = images->width;
    const cm_view one = cmi_view_part(images, index, 1);
    const cm_view to = cmi_view_bytes(1, height, width, images->channels, bytes);
    cmi_view_copy(&one, &to);
    const size_t side = (size_t)family->side;
    if (family->resize == CM_FEATURE_AS_IT_IS || (height == side && width == side)) cut(family, bytes, width, x);
    else resize(family, bytes, height, width, x);
}

/* --- running ------------------------------------------------------------------------- */

typedef struct {
    cm_features *f;
    const cm_view *images;
    size_t first;
    const team *team;
    float *const *rows; /* of each output, or NULL */
} job;

/* Numbers of an image in an output, and how they lie there: `points` times `taken` of `of`. */
typedef struct {
    size_t points, taken, of;
} extent;

static extent extent_of(const cm_features *f, int output)
{
    const cm_feature_family *family = f->net.family;
    const size_t channels = (size_t)cmi_graph_desc(f->net.graph, f->net.graph->outputs[output]).c;
    if (output != CM_FEATURE_SPATIAL) return (extent){1, channels, channels};
    return (extent){(size_t)family->spatial[0], (size_t)family->spatial[1], channels};
}

/* The rows of images first .. first + slice - 1. */
static void keep(const job *j, const cm_exec *exec, size_t first)
{
    for (int output = 0; output < CM_FEATURE_OUTPUTS; output++) {
        if (!j->rows[output]) continue;
        const extent e = extent_of(j->f, output);
        const float *from = cmi_exec_output(exec, output);
        float *to = j->rows[output] + first * e.points * e.taken;
        for (size_t i = 0; i < j->team->slice * e.points; i++)
            memcpy(to + i * e.taken, from + i * e.of, e.taken * sizeof *to);
    }
}

/* Outputs up to the last that is asked for. */
static int wanted(const job *j)
{
    int count = CM_FEATURE_OUTPUTS;
    while (count > 1 && !j->rows[count - 1]) count--;
    return count;
}

static cm_status slice_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_feature_family *family = j->f->net.family;
    const size_t slice = j->team->slice, first = j->first + (size_t)piece * slice;
    const size_t values = (size_t)family->side * (size_t)family->side * (size_t)family->channels;
    cm_exec *exec = j->team->execs[worker];
    CM_TRY(cmi_call_check(&j->f->call));
    for (size_t i = 0; i < slice; i++)
        prepare(family, j->images, first + i, j->f->bytes + (size_t)worker * j->f->image,
                (float *)cmi_exec_input(exec, 0) + i * values);
    CM_TRY(cmi_exec_run_first(exec, j->team->weights, wanted(j)));
    keep(j, exec, first);
    return CM_OK;
}

static cm_status reserve(cm_features *f, size_t image)
{
    if (f->image >= image) return CM_OK;
    cmi_free(f->context, f->bytes);
    f->image = 0;
    f->bytes = cmi_malloc(f->context, (size_t)f->threads, image);
    if (!f->bytes) return CM_ERR_MEMORY;
    f->image = image;
    return CM_OK;
}

static cm_status run(cm_features *f, const cm_view *images, float *const *rows)
{
    job j = {f, images, 0, NULL, rows};
    CM_TRY(reserve(f, cmi_view_size(images)));
    for (int i = 0; i < TEAMS; i++) {
        j.team = &f->teams[i];
        const size_t pieces = (images->n - j.first) / j.team->slice;
        CM_TRY(cmi_parallel((cm_threads){f->context, f->threads}, (int)pieces, slice_piece, &j));
        j.first += pieces * j.team->slice;
    }
    return CM_OK;
}

static cm_status check_size(const cm_feature_family *family, const cm_view *images)
{
    const size_t side = (size_t)family->side, padded = (size_t)(family->padded ? family->padded : family->side);
    if (images->channels == (size_t)family->channels &&
        (family->resize != CM_FEATURE_AS_IT_IS ||
         (images->height == images->width && (images->width == side || images->width == padded))))
        return CM_OK;
    if (family->resize != CM_FEATURE_AS_IT_IS)
        CM_FAIL(CM_ERR_SHAPE, "cm_features_run: images of %zu channels, expected %d: those of %s", images->channels,
                family->channels, family->name);
    CM_FAIL(
        CM_ERR_SHAPE,
        "cm_features_run: images of %zu x %zu x %zu (channels x height x width), expected %d x %d x %d: the features "
        "of %s are defined for these alone, so resize or crop beforehand and say so",
        images->channels, images->height, images->width, family->channels, family->side, family->side, family->name);
}

static cm_status check_outputs(const cm_features *f, float *const *rows)
{
    static const char *const names[CM_FEATURE_OUTPUTS] = {"values",   "logits",   "scores",  "spatial",
                                                          "early[0]", "early[1]", "early[2]"};
    for (int i = f->net.graph->n_outputs; i < CM_FEATURE_OUTPUTS; i++)
        if (rows[i])
            CM_FAIL(CM_ERR_ARGUMENT, "cm_features_run: %s are asked for, and %s has none", names[i],
                    f->net.family->name);
    return CM_OK;
}

cm_status cmi_features_run(cm_features *f, const cm_view *images, float *const *rows)
{
    CM_TRY(check_size(f->net.family, images));
    CM_TRY(check_outputs(f, rows));
    CM_TRY(cmi_call_begin(&f->call, "feature network"));
    cm_status status = run(f, images, rows);
    (void)cmi_call_end(&f->call);
    return status;
}
