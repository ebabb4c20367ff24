/* features.c - plans, workers and the loop over images.
 *
 * Images become bytes first, as files of samples hold them, then what the network was trained on.  They are spread
 * over the threads in slices; what is left over goes one by one.  An image's features do not depend on its slice. */
#include "metrics/features.h"

#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "base/call.h"
#include "base/parallel.h"
#include "graph/plan.h"
#include "nets/feature_net.h"
#include "tensor/finite.h"

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
    int threads;
    char hash[33];
    cm_call call;
};

static size_t image_bytes(const cm_feature_family *family)
{
    const size_t side = (size_t)(family->padded ? family->padded : family->side);
    return side * side * (size_t)family->channels;
}

/* --- opening ----------------------------------------------------------------------- */

/* Of every tensor's name and values, in the order of the file. */
static cm_status hash_weights(cm_features *f)
{
    XXH3_state_t *state = XXH3_createState();
    cm_status status = state ? CM_OK : cmi_fail(CM_ERR_MEMORY, "out of memory: the hash of '%s'", f->file.input.name);
    if (state) (void)XXH3_128bits_reset(state);
    for (size_t i = 0; i < f->file.count && status == CM_OK; i++) {
        const cm_tensor *t = &f->file.tensors[i];
        float *values = cmi_malloc(f->context, t->count, sizeof *values);
        status = values ? cmi_tensor_read(t, values) : CM_ERR_MEMORY;
        if (status == CM_OK) {
            (void)XXH3_128bits_update(state, t->name, strlen(t->name) + 1);
            (void)XXH3_128bits_update(state, values, t->count * sizeof *values);
            if (cmi_first_nonfinite_f32(t->count, values) < t->count)
                status =
                    cmi_fail(CM_ERR_NUMERIC, "%s: tensor '%s' holds NaN or infinity", f->file.input.name, t->name);
        }
        cmi_free(f->context, values);
    }
    if (status == CM_OK) {
        const XXH128_hash_t h = XXH3_128bits_digest(state);
        (void)snprintf(f->hash, sizeof f->hash, "%016llx%016llx", (unsigned long long)h.high64,
                       (unsigned long long)h.low64);
    }
    (void)XXH3_freeState(state);
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
    CM_TRY(equip(f, &f->teams[0], SLICE));
    CM_TRY(equip(f, &f->teams[1], 1));
    f->bytes = cmi_malloc(f->context, (size_t)f->threads, image_bytes(f->net.family));
    return f->bytes ? CM_OK : CM_ERR_MEMORY;
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
    out->network = family->name;
    out->weights = f->hash;
}

/* --- running ------------------------------------------------------------------------- */

/* The middle of a padded image, as the network takes it. */
static void prepare(const cm_feature_family *family, const uint8_t *bytes, size_t given, float *x)
{
    const size_t side = (size_t)family->side, edge = (given - side) / 2, c = (size_t)family->channels;
    for (size_t row = 0; row < side; row++) {
        const uint8_t *from = bytes + ((edge + row) * given + edge) * c;
        for (size_t i = 0; i < side * c; i++)
            *x++ = ((float)from[i] / family->divisor - family->shift[i % c]) / family->scale[i % c];
    }
}

typedef struct {
    cm_features *f;
    const cm_view *images;
    size_t first;
    const team *team;
    float *values, *logits;
} job;

static void keep(const cm_exec *exec, int output, size_t slice, size_t width, float *to)
{
    if (to) memcpy(to, cmi_exec_output(exec, output), slice * width * sizeof *to);
}

static cm_status slice_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_feature_family *family = j->f->net.family;
    const size_t slice = j->team->slice, first = j->first + (size_t)piece * slice, side = j->images->width;
    const size_t values = (size_t)family->side * (size_t)family->side * (size_t)family->channels;
    const size_t width = (size_t)family->features, classes = (size_t)family->classes;
    cm_exec *exec = j->team->execs[worker];
    uint8_t *bytes = j->f->bytes + (size_t)worker * image_bytes(family);
    CM_TRY(cmi_call_check(&j->f->call));
    for (size_t i = 0; i < slice; i++) {
        const cm_view one = cmi_view_part(j->images, first + i, 1);
        const cm_view to = cmi_view_bytes(1, side, side, (size_t)family->channels, bytes);
        cmi_view_copy(&one, &to);
        prepare(family, bytes, side, (float *)cmi_exec_input(exec, 0) + i * values);
    }
    CM_TRY(cmi_exec_run(exec, j->team->weights));
    keep(exec, CM_FEATURE_VALUES, slice, width, j->values ? j->values + first * width : NULL);
    keep(exec, CM_FEATURE_LOGITS, slice, classes, j->logits ? j->logits + first * classes : NULL);
    return CM_OK;
}

static cm_status run(cm_features *f, const cm_view *images, float *values, float *logits)
{
    job j = {f, images, 0, NULL, values, logits};
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
    if (images->channels == (size_t)family->channels && images->height == images->width &&
        (images->width == side || images->width == padded))
        return CM_OK;
    CM_FAIL(
        CM_ERR_SHAPE,
        "cm_features_run: images of %zu x %zu x %zu (channels x height x width), expected %d x %d x %d: the features "
        "of %s are defined for these alone, so resize or crop beforehand and say so",
        images->channels, images->height, images->width, family->channels, family->side, family->side, family->name);
}

cm_status cmi_features_run(cm_features *f, const cm_view *images, float *values, float *logits)
{
    CM_TRY(check_size(f->net.family, images));
    CM_TRY(cmi_call_begin(&f->call, "feature network"));
    cm_status status = run(f, images, values, logits);
    (void)cmi_call_end(&f->call);
    return status;
}
