/* lpips.c - a network of pairs for images of the size at hand, and the loop over pairs.
 *
 * Each thread takes one pair at a time, so a pair's distance does not depend on the others.  What was planned for a
 * size is kept until a call has another. */
#include "metrics/lpips.h"

#include <math.h>
#include <string.h>

#include "base/call.h"
#include "base/parallel.h"
#include "graph/plan.h"
#include "metrics/weights_hash.h"
#include "nets/perceptual.h"
#include "tensor/finite.h"

enum { VALUES, MAPS, GRADIENTS, KINDS };
enum { TRIAL = 64 };

/* Of one kind of result, for images of one shape. */
typedef struct {
    cm_perceptual net;
    cm_plan *plan;
    cm_weights *weights;
    cm_exec **execs; /* one a thread */
    int n_execs, ready;
} team;

struct cm_lpips {
    cm_context *context;
    cm_perceptual_files files;
    cm_lpips_options options;
    team teams[KINDS];
    int threads;
    char hash[CM_WEIGHTS_HASH];
    cm_call call;
};

/* --- opening --------------------------------------------------------------------------- */

/* Of all parameters, in the order of the network. */
static cm_status hash_params(const cm_perceptual *net, const char *file, cm_weights_hash *hash)
{
    for (int i = 0; i < net->graph->n_params; i++) {
        const cm_param_desc *param = &net->graph->params[i];
        const float *values;
        CM_TRY(cmi_params_plain(net->params, i, &values));
        CM_TRY(cmi_weights_hash_add(hash, file, param->name, values, cmi_param_elements(param)));
    }
    return CM_OK;
}

/* Whether the files hold the network, and what its weights are. */
static cm_status look_through(cm_lpips *l)
{
    const cm_perceptual_shape shape = {.channels = 3, .height = TRIAL, .width = TRIAL};
    const char *file = l->files.backbone.input.name;
    cm_weights_hash *hash;
    cm_perceptual net;
    CM_TRY(cmi_perceptual_open(l->context, &l->files, &shape, &net));
    cm_status status = cmi_weights_hash_begin(file, &hash);
    if (status == CM_OK) status = hash_params(&net, file, hash);
    cmi_weights_hash_end(hash, status == CM_OK ? l->hash : NULL);
    cmi_perceptual_close(&net);
    return status;
}

static cm_status open_all(cm_lpips *l, const char *network, const char *weights, const char *lin)
{
    CM_TRY(cmi_perceptual_files_open(l->context, network, weights, lin, &l->files));
    l->files.uniform = l->options.uniform;
    return look_through(l);
}

cm_status cmi_lpips_open(cm_context *context, const char *network, const char *weights, const char *lin,
                         const cm_lpips_options *options, cm_lpips **out)
{
    *out = NULL;
    CM_TRY(cmi_context_retain(context, &context));
    cm_lpips *l = cmi_calloc(context, 1, sizeof *l);
    if (!l) {
        cm_context_free(context);
        return CM_ERR_MEMORY;
    }
    l->context = context;
    l->options = *options;
    l->threads = cmi_context_threads(context);
    cmi_call_init(&l->call);
    const cm_status status = open_all(l, network, weights, lin);
    if (status != CM_OK) cmi_lpips_free(l);
    else *out = l;
    return status;
}

static void dismiss(cm_context *context, team *t)
{
    for (int k = 0; k < t->n_execs; k++) cmi_exec_free(t->execs[k]);
    cmi_free(context, t->execs);
    cmi_weights_free(t->weights);
    cmi_plan_free(t->plan);
    cmi_perceptual_close(&t->net);
    memset(t, 0, sizeof *t);
}

void cmi_lpips_free(cm_lpips *l)
{
    if (!l) return;
    cm_context *context = l->context;
    for (int i = 0; i < KINDS; i++) dismiss(context, &l->teams[i]);
    cmi_perceptual_files_close(&l->files);
    cmi_free(context, l);
    cm_context_free(context);
}

cm_context *cmi_lpips_context(const cm_lpips *l)
{
    return l->context;
}

void cmi_lpips_describe(const cm_lpips *l, cm_lpips_info *out)
{
    memset(out, 0, sizeof *out);
    out->layers = l->files.family->layers;
    out->network = l->files.family->name;
    out->weights = l->hash;
}

/* --- equipping ----------------------------------------------------------------------------- */

static cm_status equip(cm_lpips *l, int kind, const cm_perceptual_shape *shape, team *t)
{
    const cm_plan_options options = {.slice = 1,
                                     .threads = 1,
                                     .share = 1,
                                     .mode = kind == GRADIENTS ? CM_MODE_TRAIN : CM_MODE_INFER,
                                     .output = l->files.family->layers,
                                     .inputs = 1,
                                     .frozen = 1};
    CM_TRY(cmi_perceptual_open(l->context, &l->files, shape, &t->net));
    CM_TRY(cmi_plan_create(t->net.graph, &options, &t->plan));
    CM_TRY(cmi_weights_create(t->plan, t->net.params, &t->weights));
    t->execs = cmi_calloc(l->context, (size_t)l->threads, sizeof *t->execs);
    return t->execs ? CM_OK : CM_ERR_MEMORY;
}

/* As many executions as there is work for. */
static cm_status grow(cm_lpips *l, team *t, size_t pairs)
{
    const int wanted = pairs < (size_t)l->threads ? (int)pairs : l->threads;
    for (; t->n_execs < wanted; t->n_execs++) CM_TRY(cmi_exec_create(t->plan, &t->execs[t->n_execs]));
    return CM_OK;
}

static cm_status prepare(cm_lpips *l, int kind, const cm_view *images)
{
    team *t = &l->teams[kind];
    const cm_perceptual_shape shape = {(int32_t)images->channels,
                                       (int32_t)images->height,
                                       (int32_t)images->width,
                                       cmi_perceptual_side(l->options.resize, (int32_t)images->width),
                                       l->options.pooling == CM_LPIPS_POOLING_MEAN,
                                       kind == MAPS,
                                       0};
    if (!t->ready || memcmp(&shape, &t->net.shape, sizeof shape) != 0) {
        dismiss(l->context, t);
        const cm_status status = equip(l, kind, &shape, t);
        if (status != CM_OK) {
            dismiss(l->context, t);
            return status;
        }
        t->ready = 1;
    }
    return grow(l, t, images->n);
}

/* --- running ------------------------------------------------------------------------------- */

typedef struct {
    cm_lpips *l;
    int kind;
    const cm_view *a, *b;
    double *distances;
    float *layers, *images; /* images: maps or gradients */
} job;

/* One image of channels-last floats. */
static cm_view channels_last(const cm_view *like, void *values)
{
    const ptrdiff_t pixel = (ptrdiff_t)(like->channels * sizeof(float)), row = pixel * (ptrdiff_t)like->width;
    return (cm_view){.data = values,
                     .n = 1,
                     .channels = like->channels,
                     .height = like->height,
                     .width = like->width,
                     .image = row * (ptrdiff_t)like->height,
                     .channel = sizeof(float),
                     .row = row,
                     .pixel = pixel};
}

/* What is not finite would be lost: the network's max(x, 0) makes 0 of NaN. */
static cm_status put(const cm_view *images, size_t index, cm_exec *exec, int input)
{
    const size_t n = cmi_view_size(images);
    const cm_view from = cmi_view_part(images, index, 1), to = channels_last(images, cmi_exec_input(exec, input));
    cmi_view_copy(&from, &to);
    if (cmi_first_nonfinite_f32(n, cmi_exec_input(exec, input)) < n)
        CM_FAIL(CM_ERR_NUMERIC, "LPIPS: the %s image of pair %zu holds NaN or infinity", input ? "second" : "first",
                index);
    return CM_OK;
}

static cm_status keep_values(const job *j, const cm_exec *exec, size_t pair)
{
    const int layers = j->l->files.family->layers;
    double sum = 0;
    for (int k = 0; k < layers; k++) {
        const float value = *cmi_exec_output(exec, k);
        if (j->layers) j->layers[pair * (size_t)layers + (size_t)k] = value;
        sum += (double)value;
    }
    if (!isfinite(sum))
        CM_FAIL(CM_ERR_NUMERIC, "LPIPS: the distance of pair %zu is not finite: an image holds huge values", pair);
    if (j->distances) j->distances[pair] = sum;
    return CM_OK;
}

static cm_status gradient(const job *j, cm_exec *exec, const team *t, size_t pair)
{
    const size_t size = cmi_view_size(j->a);
    *cmi_exec_cotangent(exec) = 1;
    CM_TRY(cmi_exec_backward(exec, t->weights));
    const cm_view from = channels_last(j->a, (void *)(uintptr_t)cmi_exec_input_gradient(exec, 0));
    const cm_view to = cmi_view_planes(1, j->a->channels, j->a->height, j->a->width, j->images + pair * size, 0);
    cmi_view_copy(&from, &to);
    return CM_OK;
}

static cm_status pair_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const team *t = &j->l->teams[j->kind];
    cm_exec *exec = t->execs[worker];
    const size_t pair = (size_t)piece, points = j->a->height * j->a->width;
    CM_TRY(cmi_call_check(&j->l->call));
    CM_TRY(put(j->a, pair, exec, 0));
    CM_TRY(put(j->b, pair, exec, 1));
    CM_TRY(cmi_exec_run(exec, t->weights));
    if (j->kind == MAPS) {
        memcpy(j->images + pair * points, cmi_exec_output(exec, j->l->files.family->layers), points * sizeof(float));
        return CM_OK;
    }
    CM_TRY(keep_values(j, exec, pair));
    return j->kind == GRADIENTS ? gradient(j, exec, t, pair) : CM_OK;
}

static cm_status run(const job *j)
{
    job copy = *j;
    if (!j->a->n) return CM_OK;
    CM_TRY(prepare(j->l, j->kind, j->a));
    return cmi_parallel((cm_threads){j->l->context, j->l->threads}, (int)j->a->n, pair_piece, &copy);
}

static cm_status check_pairs(const cm_view *a, const cm_view *b)
{
    if (a->n != b->n || a->channels != b->channels || a->height != b->height || a->width != b->width)
        CM_FAIL(CM_ERR_SHAPE,
                "LPIPS: %zu images of %zu x %zu x %zu (channels x height x width) against %zu of %zu x %zu x %zu",
                a->n, a->channels, a->height, a->width, b->n, b->channels, b->height, b->width);
    if (a->channels != 3 && a->channels != 1)
        CM_FAIL(CM_ERR_SHAPE, "LPIPS: images of %zu channels, expected 3, or 1 of gray images", a->channels);
    if (a->n > INT32_MAX) CM_FAIL(CM_ERR_LIMIT, "LPIPS: %zu pairs, at most %d", a->n, INT32_MAX);
    return CM_OK;
}

cm_status cmi_lpips_run(cm_lpips *l, const cm_view *a, const cm_view *b, double *distances, float *layers,
                        float *maps)
{
    CM_TRY(check_pairs(a, b));
    CM_TRY(cmi_call_begin(&l->call, "LPIPS network"));
    cm_status status = CM_OK;
    if (distances || layers || !maps) status = run(&(job){l, VALUES, a, b, distances, layers, NULL});
    if (status == CM_OK && maps) status = run(&(job){l, MAPS, a, b, NULL, NULL, maps});
    (void)cmi_call_end(&l->call);
    return status;
}

cm_status cmi_lpips_gradient(cm_lpips *l, const cm_view *a, const cm_view *b, double *distances, float *gradient)
{
    CM_TRY(check_pairs(a, b));
    CM_TRY(cmi_call_begin(&l->call, "LPIPS network"));
    const cm_status status = run(&(job){l, GRADIENTS, a, b, distances, NULL, gradient});
    (void)cmi_call_end(&l->call);
    return status;
}
