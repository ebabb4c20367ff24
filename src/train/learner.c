/* learner.c - see the header. */
#include "train/learner.h"

#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "base/rng.h"
#include "nets/fold.h"
#include "tensor/convert.h"

/* What one thread needs for a slice. */
struct cm_learner_worker {
    cm_learner *learner;
    cm_exec *train, *target, *teacher;
    double *x0, *z, *work, *u, *normal, *share, *loss;
    float *single; /* one image */
    uint64_t *images;
    int32_t *labels, *true_labels;
    const float *augment; /* of the slice, or NULL */
    size_t count;         /* images that are not padding */
    int slice;            /* number of the slice         */
    const cm_call *call;
};

/* --- making ------------------------------------------------------------------- */

/* The graph that runs. */
static const cm_graph *network(const cm_learner *l)
{
    return l->folded ? l->folded : l->graph;
}

typedef struct {
    const cm_learner *learner;
    float *values, *gradient; /* gradient NULL: values are to be made */
} folding;

static cm_status fold_piece(void *user, int piece, int worker)
{
    const folding *f = user;
    const cm_learner *l = f->learner;
    void *scratch = l->fold_scratch[worker];
    if (!f->gradient) return cm_fold_values(l->folded, l->offsets, piece, f->values, scratch);
    return cm_fold_gradients(l->folded, l->offsets, piece, f->values, f->gradient, scratch);
}

static cm_status fold(const cm_learner *l, float *values, float *gradient)
{
    folding f = {l, values, gradient};
    return l->folded ? cm_parallel((cm_threads){l->context, l->folders}, cm_fold_pieces(l->folded), fold_piece, &f)
                     : CM_OK;
}

static cm_status set_create(cm_learner *l, const cm_model *from, int folded, cm_weight_set *set)
{
    const cm_graph *g = folded ? network(l) : l->graph;
    size_t n = (size_t)g->n_params;
    set->values = cm_calloc(l->context, folded ? l->all_floats : l->floats, sizeof *set->values);
    set->folded = folded;
    set->sources = cm_calloc(l->context, n, sizeof *set->sources);
    if (!set->values || !set->sources) return CM_ERR_MEMORY;
    cm_model_values(from, set->values);
    if (folded) CM_TRY(fold(l, set->values, NULL));
    for (size_t i = 0; i < n; i++) {
        if (l->offsets[i] == SIZE_MAX) continue;
        float *values = set->values + l->offsets[i];
        set->sources[i].data = values;
        set->sources[i].bytes = cm_param_elements(&g->params[i]) * sizeof *values;
        set->sources[i].raw = values;
    }
    return cm_params_create(g, set->sources, &set->params);
}

static void set_free(cm_learner *l, cm_weight_set *set)
{
    cm_params_free(set->params);
    cm_free(l->context, set->sources);
    cm_free(l->context, set->values);
}

static cm_status make_sets(cm_learner *l)
{
    CM_TRY(set_create(l, l->model, 1, &l->online));
    if (l->options.own_target) CM_TRY(set_create(l, l->model, 1, &l->target));
    if (l->options.own_teacher) CM_TRY(set_create(l, l->teacher, 0, &l->taught));
    return CM_OK;
}

static cm_status make_plans(cm_learner *l)
{
    const cm_graph *taught = l->teacher ? (l->options.own_teacher ? l->teacher->graph : l->teacher->inference) : NULL;
    cm_plan_options infer = {.slice = (int32_t)l->options.slice, .threads = 1, .share = 1};
    infer.arithmetic = l->options.arithmetic;
    cm_plan_options train = infer;
    train.mode = CM_MODE_TRAIN;
    train.output = CM_OUT_D;
    train.recompute = l->options.recompute;
    CM_TRY(cm_plan_create(network(l), &train, &l->train_plan));
    if (l->options.wants_target) CM_TRY(cm_plan_create(network(l), &infer, &l->target_plan));
    return taught ? cm_plan_create(taught, &infer, &l->teacher_plan) : CM_OK;
}

/* Plans meet their weights. */
static cm_status bind_plans(cm_learner *l)
{
    CM_TRY(cm_weights_create(l->train_plan, l->online.params, &l->train_weights));
    CM_TRY(cm_unpacking_create(l->train_plan, l->options.threads, &l->unpacking));
    if (l->target_plan)
        CM_TRY(cm_weights_create(l->target_plan, l->options.own_target ? l->target.params : l->online.params,
                                 &l->target_weights));
    if (!l->teacher_plan) return CM_OK;
    return cm_weights_create(l->teacher_plan, l->options.own_teacher ? l->taught.params : l->teacher->params,
                             &l->teacher_weights);
}

/* gradient += the slice's, after the slices before. */
static cm_status add_gradient(void *user, int parameter, size_t first, size_t floats, const float *slice)
{
    const cm_learner_worker *w = user;
    const cm_learner *l = w->learner;
    float *restrict total = l->gradient + first;
    const float *restrict from = slice;
    CM_TRY(cm_turns_enter(l->turns, (size_t)parameter, w->slice));
    if (w->slice == 0) memcpy(total, from, floats * sizeof *total);
    else {
#pragma omp simd
        for (size_t i = 0; i < floats; i++) total[i] += from[i];
    }
    cm_turns_leave(l->turns, (size_t)parameter);
    return CM_OK;
}

static cm_status make_worker(cm_learner *l, const cm_objective_settings *settings, cm_learner_worker *w)
{
    cm_context *context = l->context;
    size_t slice = l->options.slice, values = slice * l->image_size;
    w->learner = l;
    CM_TRY(cm_exec_create_streaming(l->train_plan, add_gradient, w, &w->train));
    if (l->target_plan) CM_TRY(cm_exec_create(l->target_plan, &w->target));
    if (l->teacher_plan) CM_TRY(cm_exec_create(l->teacher_plan, &w->teacher));
    w->x0 = cm_calloc(context, values, sizeof *w->x0);
    w->z = cm_calloc(context, values, sizeof *w->z);
    w->work = cm_calloc(context, cm_objective_work(settings, slice), sizeof *w->work);
    w->u = cm_calloc(context, 4 * slice, sizeof *w->u);
    w->single = cm_calloc(context, l->image_size, sizeof *w->single);
    w->images = cm_calloc(context, slice, sizeof *w->images);
    w->labels = cm_calloc(context, 2 * slice, sizeof *w->labels);
    if (!w->x0 || !w->z || !w->work || !w->u || !w->single || !w->images || !w->labels) return CM_ERR_MEMORY;
    w->normal = w->u + slice;
    w->share = w->normal + slice;
    w->loss = w->share + slice;
    w->true_labels = w->labels + slice;
    return CM_OK;
}

static void free_worker(cm_context *context, cm_learner_worker *w)
{
    cm_exec_free(w->train);
    cm_exec_free(w->target);
    cm_exec_free(w->teacher);
    cm_free(context, w->x0);
    cm_free(context, w->z);
    cm_free(context, w->work);
    cm_free(context, w->u);
    cm_free(context, w->single);
    cm_free(context, w->images);
    cm_free(context, w->labels);
}

static size_t slices(const cm_learner *l)
{
    return (l->options.batch + l->options.slice - 1) / l->options.slice;
}

static int workers(const cm_learner *l)
{
    return l->options.threads < (int)slices(l) ? l->options.threads : (int)slices(l);
}

static cm_status make_graph(const cm_learner *l, int folded, cm_graph **out)
{
    const cm_model *m = l->model;
    return cm_model_describe(l->context, &m->net, &l->precond, m->height, m->width, l->options.dropout, folded, out);
}

/* The folded graph where it is another.  In bfloat16 it is the file's maps that are rounded. */
static cm_status make_folded(cm_learner *l)
{
    if (l->options.arithmetic.bf16) return CM_OK;
    CM_TRY(make_graph(l, 1, &l->folded));
    if (cm_fold_pieces(l->folded) == 0) {
        cm_graph_free(l->folded);
        l->folded = NULL;
        return CM_OK;
    }
    const int pieces = cm_fold_pieces(l->folded);
    l->folders = pieces < l->options.threads ? pieces : l->options.threads;
    l->fold_scratch = cm_calloc(l->context, (size_t)l->folders, sizeof *l->fold_scratch);
    if (!l->fold_scratch) return CM_ERR_MEMORY;
    for (int i = 0; i < l->folders; i++) {
        l->fold_scratch[i] = cm_malloc(l->context, cm_fold_scratch_bytes(l->folded), 1);
        if (!l->fold_scratch[i]) return CM_ERR_MEMORY;
    }
    return CM_OK;
}

/* The graphs and where parameters lie. */
static cm_status describe(cm_learner *l)
{
    CM_TRY(make_graph(l, 0, &l->graph));
    CM_TRY(make_folded(l));
    l->offsets = cm_calloc(l->context, (size_t)network(l)->n_params, sizeof *l->offsets);
    if (!l->offsets) return CM_ERR_MEMORY;
    l->floats = cm_param_offsets(l->graph, l->offsets);
    l->all_floats = cm_param_offsets(network(l), l->offsets);
    return CM_OK;
}

static cm_status build(cm_learner *l, const cm_objective_settings *settings)
{
    CM_TRY(describe(l));
    CM_TRY(make_sets(l));
    CM_TRY(make_plans(l));
    CM_TRY(bind_plans(l));
    l->gradient = cm_calloc(l->context, cm_plan_gradient_floats(l->train_plan), sizeof *l->gradient);
    const int n = workers(l);
    l->workers = cm_calloc(l->context, (size_t)n, sizeof *l->workers);
    CM_TRY(cm_turns_create(l->context, (size_t)network(l)->n_params, &l->turns));
    if (!l->gradient || !l->workers) return CM_ERR_MEMORY;
    for (; l->n_workers < n; l->n_workers++) {
        cm_status status = make_worker(l, settings, &l->workers[l->n_workers]);
        if (status != CM_OK) {
            free_worker(l->context, &l->workers[l->n_workers]);
            return status;
        }
    }
    /* Packing objects are made now, not in the first step. */
    CM_TRY(cm_learner_refresh(l, &l->online));
    if (l->options.own_target) CM_TRY(cm_learner_refresh(l, &l->target));
    return l->options.own_teacher ? cm_learner_refresh(l, &l->taught) : CM_OK;
}

static cm_learner *begin(const cm_model *model, const cm_precond *precond, cm_model *teacher,
                         const cm_learner_options *options)
{
    cm_learner *l = cm_calloc(model->context, 1, sizeof *l);
    if (!l) return NULL;
    l->context = model->context;
    l->options = *options;
    l->model = model;
    l->teacher = teacher;
    l->precond = *precond;
    l->precond.sigma_min = (double)(float)precond->sigma_min;
    if (teacher) {
        l->teacher_precond = teacher->precond;
        l->teacher_precond.sigma_min = (double)(float)teacher->precond.sigma_min;
    }
    l->image_size = (size_t)model->channels * (size_t)model->height * (size_t)model->width;
    return l;
}

cm_status cm_learner_create(const cm_model *model, const cm_precond *precond, cm_model *teacher,
                            const cm_objective_settings *settings, const cm_learner_options *options,
                            cm_learner **out)
{
    *out = NULL;
    cm_learner *l = begin(model, precond, teacher, options);
    if (!l) return CM_ERR_MEMORY;
    cm_status status = build(l, settings);
    if (status != CM_OK) cm_learner_free(l);
    else *out = l;
    return status;
}

void cm_learner_free(cm_learner *l)
{
    if (!l) return;
    cm_context *context = l->context;
    for (int i = 0; i < l->n_workers; i++) free_worker(context, &l->workers[i]);
    cm_free(context, l->workers);
    cm_turns_free(l->turns);
    cm_free(context, l->gradient);
    cm_unpacking_free(l->unpacking);
    cm_weights_free(l->train_weights);
    cm_weights_free(l->target_weights);
    cm_weights_free(l->teacher_weights);
    set_free(l, &l->online);
    set_free(l, &l->target);
    set_free(l, &l->taught);
    cm_plan_free(l->train_plan);
    cm_plan_free(l->target_plan);
    cm_plan_free(l->teacher_plan);
    cm_graph_free(l->graph);
    cm_graph_free(l->folded);
    for (int i = 0; l->fold_scratch && i < l->folders; i++) cm_free(context, l->fold_scratch[i]);
    cm_free(context, l->fold_scratch);
    cm_free(context, l->offsets);
    cm_free(context, l);
}

cm_status cm_learner_refresh(cm_learner *l, cm_weight_set *set)
{
    if (set->folded) CM_TRY(fold(l, set->values, NULL));
    return cm_params_refresh(set->params, l->options.threads);
}

/* --- networks for the objective --------------------------------------------------- */

static void set_inputs(const cm_learner_worker *w, cm_exec *exec, const cm_precond *precond, const double *x,
                       const double *sigma, const int32_t *labels, int augmented)
{
    const cm_learner *l = w->learner;
    const cm_model *m = l->model;
    size_t pixels = (size_t)m->height * (size_t)m->width, dim = (size_t)m->net.augment_dim;
    float *inputs[4];
    for (int k = 0; k < 4; k++) inputs[k] = cm_exec_input(exec, CM_IN_C_IN + k);
    for (size_t i = 0; i < l->options.slice; i++) {
        cm_scalings s = cm_precond_scalings(precond, (double)(float)sigma[i]);
        cm_planes_to_channels_last(m->channels, pixels, x + i * l->image_size,
                                   (float *)cm_exec_input(exec, CM_IN_X) + i * l->image_size);
        inputs[0][i] = (float)s.c_in;
        inputs[1][i] = (float)s.c_skip;
        inputs[2][i] = (float)s.c_out;
        inputs[3][i] = (float)s.c_noise;
        ((int32_t *)cm_exec_input(exec, CM_IN_LABEL))[i] = labels[i];
    }
    float *augment = cm_exec_input(exec, CM_IN_AUGMENT);
    if (augmented && w->augment && dim) {
        memcpy(augment, w->augment, w->count * dim * sizeof *augment);
        memset(augment + w->count * dim, 0, (l->options.slice - w->count) * dim * sizeof *augment);
    } else {
        memset(augment, 0, l->options.slice * (dim ? dim : 1) * sizeof *augment);
    }
}

static void get_output(const cm_learner_worker *w, const cm_exec *exec, double *d)
{
    const cm_learner *l = w->learner;
    size_t pixels = (size_t)l->model->height * (size_t)l->model->width;
    for (size_t i = 0; i < l->options.slice; i++)
        cm_channels_last_to_planes(l->model->channels, pixels, cm_exec_output(exec, CM_OUT_D) + i * l->image_size,
                                   d + i * l->image_size);
}

static cm_status evaluate(void *user, int role, const double *x, const double *sigma, double *d)
{
    cm_learner_worker *w = user;
    cm_learner *l = w->learner;
    int teach = role == CM_ROLE_TEACHER;
    cm_exec *exec = teach ? w->teacher : w->target;
    CM_TRY(cm_call_check(w->call));
    set_inputs(w, exec, teach ? &l->teacher_precond : &l->precond, x, sigma, teach ? w->true_labels : w->labels,
               !teach);
    CM_TRY(cm_exec_run(exec, teach ? l->teacher_weights : l->target_weights));
    get_output(w, exec, d);
    return CM_OK;
}

static cm_status online(void *user, const double *x, const double *sigma, double *d)
{
    cm_learner_worker *w = user;
    CM_TRY(cm_call_check(w->call));
    set_inputs(w, w->train, &w->learner->precond, x, sigma, w->labels, 1);
    CM_TRY(cm_exec_run(w->train, w->learner->train_weights));
    get_output(w, w->train, d);
    return CM_OK;
}

static cm_status backward(void *user, const double *cotangent)
{
    cm_learner_worker *w = user;
    const cm_learner *l = w->learner;
    size_t pixels = (size_t)l->model->height * (size_t)l->model->width;
    CM_TRY(cm_call_check(w->call));
    for (size_t i = 0; i < l->options.slice; i++)
        cm_planes_to_channels_last(l->model->channels, pixels, cotangent + i * l->image_size,
                                   cm_exec_cotangent(w->train) + i * l->image_size);
    return cm_exec_backward(w->train, l->train_weights);
}

/* --- a batch ------------------------------------------------------------------------ */

typedef struct {
    cm_learner *learner;
    const cm_objective *objective;
    const cm_objective_settings *settings;
    const cm_learner_batch *batch;
} job;

static void draw_image(cm_learner_worker *w, const cm_learner_batch *b, size_t i, uint64_t image)
{
    size_t size = w->learner->image_size;
    double chance;
    cm_stream s = {b->seed, cm_learner_stream(image), CM_DRAW_NOISE};
    cm_stream_normal(&s, size, w->single);
    for (size_t k = 0; k < size; k++) w->z[i * size + k] = (double)w->single[k];
    s.draw = CM_DRAW_UNIFORM;
    cm_stream_uniform(&s, 1, &w->u[i]);
    s.draw = CM_DRAW_NORMAL;
    cm_stream_normal(&s, 1, w->single);
    w->normal[i] = (double)w->single[0];
    s.draw = CM_DRAW_LABEL;
    cm_stream_uniform(&s, 1, &chance);
    w->labels[i] = chance < b->label_dropout ? -1 : w->true_labels[i];
    w->images[i] = s.image;
}

/* The images of a slice; beyond the batch the first once more, without weight. */
static void load_slice(cm_learner_worker *w, const cm_learner_batch *b, size_t first)
{
    const cm_learner *l = w->learner;
    size_t size = l->image_size, left = l->options.batch - first;
    w->count = left < l->options.slice ? left : l->options.slice;
    w->augment = b->augment ? b->augment + first * (size_t)l->model->net.augment_dim : NULL;
    for (size_t i = 0; i < l->options.slice; i++) {
        size_t from = i < w->count ? first + i : first;
        for (size_t k = 0; k < size; k++) w->x0[i * size + k] = (double)b->images[from * size + k];
        w->true_labels[i] = b->labels ? b->labels[from] : -1;
        w->share[i] = i < w->count ? 1.0 / (double)l->options.batch : 0;
        draw_image(w, b, i, b->first + from);
    }
}

static cm_status run_slice(const job *j, int index, int worker)
{
    cm_learner_worker *w = &j->learner->workers[worker];
    const cm_objective_nets nets = {w, evaluate, online, backward};
    const cm_objective_batch b = {
        j->learner->options.slice, w->x0, w->z, w->u, w->normal, w->loss, w->share, w->work};
    size_t first = (size_t)index * j->learner->options.slice;
    w->slice = index;
    w->call = j->batch->call;
    load_slice(w, j->batch, first);
    cm_exec_seed(w->train, j->batch->seed, w->images);
    if (w->target) cm_exec_seed(w->target, j->batch->seed, w->images);
    CM_TRY(j->objective->run(j->settings, &b, &nets));
    for (size_t i = 0; i < w->count; i++) j->batch->loss[first + i] = w->loss[i];
    return CM_OK;
}

static cm_status slice_piece(void *user, int index, int worker)
{
    const job *j = user;
    cm_status status = run_slice(j, index, worker);
    if (status != CM_OK) cm_turns_fail(j->learner->turns, index);
    return status;
}

cm_status cm_learner_run(cm_learner *l, const cm_objective *objective, const cm_objective_settings *settings,
                         const cm_learner_batch *batch)
{
    job j = {l, objective, settings, batch};
    cm_turns_begin(l->turns);
    cm_status status = cm_parallel_in_order((cm_threads){l->context, l->n_workers}, (int)slices(l), slice_piece, &j);
    if (status == CM_OK) status = cm_unpacking_run(l->unpacking, l->gradient);
    if (status == CM_OK) status = fold(l, l->online.values, l->gradient);
    return status;
}

/* ------------------------------------------------------------------------------------- */

static size_t plan_bytes(const cm_plan *plan)
{
    return plan ? cm_plan_arena_bytes(plan) + cm_plan_scratch_bytes(plan) : 0;
}

/* packed: bytes of packed weights; aside: of what turns gradients into plain tensors. */
static size_t total_bytes(const cm_learner *l, size_t packed, size_t aside)
{
    size_t sets = 1u + (l->options.own_target != 0), floats = l->floats, image = l->image_size * sizeof(double);
    size_t taught = l->options.own_teacher ? floats : 0;
    size_t block = cm_plan_gradient_floats(l->train_plan) * sizeof(float);
    size_t streamed = cm_plan_node_gradient_floats(l->train_plan) * sizeof(float);
    size_t worker = plan_bytes(l->train_plan) + plan_bytes(l->target_plan) + plan_bytes(l->teacher_plan) + streamed +
                    l->options.slice * image * 8;
    size_t folds = l->folded ? (size_t)l->folders * cm_fold_scratch_bytes(l->folded) : 0;
    return (sets * l->all_floats + taught) * sizeof(float) + folds + block + aside + packed +
           (size_t)workers(l) * worker;
}

size_t cm_learner_bytes(const cm_learner *l)
{
    size_t packed = cm_params_copied_bytes(l->online.params);
    if (l->target.params) packed += cm_params_copied_bytes(l->target.params);
    if (l->taught.params) packed += cm_params_copied_bytes(l->taught.params);
    else if (l->teacher) packed += cm_params_copied_bytes(l->teacher->params);
    return total_bytes(l, packed, cm_unpacking_bytes(l->unpacking));
}

/* What the plans ask to have packed.  Folded values are counted with the sets they lie in. */
static cm_status packed_bytes(const cm_learner *l, size_t *bytes)
{
    size_t online, target = 0, teacher = 0, folded = (l->all_floats - l->floats) * sizeof(float);
    CM_TRY(cm_plan_packed_bytes(l->train_plan, NULL, &online));
    if (l->target_plan)
        CM_TRY(cm_plan_packed_bytes(l->target_plan, l->options.own_target ? NULL : l->train_plan, &target));
    if (l->teacher_plan) CM_TRY(cm_plan_packed_bytes(l->teacher_plan, NULL, &teacher));
    if (l->target_plan && l->options.own_target) folded *= 2;
    *bytes = online + target + teacher;
    *bytes -= folded < *bytes ? folded : 0;
    return CM_OK;
}

cm_status cm_learner_estimate(const cm_model *model, const cm_precond *precond, cm_model *teacher,
                              const cm_learner_options *options, size_t *bytes, size_t *floats)
{
    cm_learner *l = begin(model, precond, teacher, options);
    size_t packed = 0;
    if (!l) return CM_ERR_MEMORY;
    cm_status status = describe(l);
    if (status == CM_OK) status = make_plans(l);
    if (status == CM_OK) status = packed_bytes(l, &packed);
    if (status == CM_OK) {
        size_t aside = (size_t)options->threads * cm_plan_node_gradient_floats(l->train_plan) * sizeof(float);
        *bytes = total_bytes(l, packed, aside);
        *floats = l->floats;
    }
    cm_learner_free(l);
    return status;
}

const char *cm_learner_nonfinite(const cm_learner *l)
{
    for (int i = 0; i < l->graph->n_params; i++) {
        size_t n = cm_param_elements(&l->graph->params[i]);
        if (l->offsets[i] == SIZE_MAX) continue;
        for (size_t k = 0; k < n; k++)
            if (!isfinite(l->gradient[l->offsets[i] + k])) return l->graph->params[i].name;
    }
    return NULL;
}
