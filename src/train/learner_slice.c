/* learner_slice.c - a slice of a batch through the objective: what a worker has and does. */
#include <string.h>

#include "base/parallel.h"
#include "base/rng.h"
#include "diffusion/inputs.h"
#include "train/learner_parts.h"

/* What one thread needs for a slice. */
struct cm_learner_worker {
    cm_learner *learner;
    cm_exec *train, *target, *teacher, *tangent, *distance;
    double *x0, *z, *work, *u, *normal, *share, *loss, *more_u, *more_normal;
    float *single; /* one image */
    uint64_t *images;
    int32_t *labels, *true_labels, *no_labels;
    unsigned char *chosen;
    const float *augment; /* of the slice, or NULL */
    const double *told;   /* of guidance, three numbers an image; NULL: none */
    size_t count;         /* images that are not padding */
    int slice;            /* number of the slice         */
    const cm_call *call;
};

/* gradient += the slice's, after the slices before. */
static cm_status add_gradient(void *user, int parameter, size_t first, size_t floats, const float *slice)
{
    const cm_learner_worker *w = user;
    const cm_learner *l = w->learner;
    (void)first, (void)floats;
    CM_TRY(cmi_turns_await(l->turns, (size_t)parameter, w->slice));
    CM_TRY(cmi_gradient_sum_add(l->sum, parameter, w->slice, slice));
    cmi_turns_advance(l->turns, (size_t)parameter);
    return CM_OK;
}

/* --- making ------------------------------------------------------------------------ */

static cm_status make_worker(cm_learner *l, const cm_objective_settings *settings, cm_learner_worker *w)
{
    cm_context *context = l->context;
    const size_t slice = l->options.slice, views = l->options.views, values = slice * l->image_size;
    w->learner = l;
    CM_TRY(cmi_exec_create_streaming(l->train_plan, add_gradient, w, &w->train));
    if (l->target_plan) CM_TRY(cmi_exec_create(l->target_plan, &w->target));
    if (l->teacher_plan) CM_TRY(cmi_exec_create(l->teacher_plan, &w->teacher));
    if (l->tangent_plan) CM_TRY(cmi_exec_create(l->tangent_plan, &w->tangent));
    if (l->options.distance) CM_TRY(cmi_perceptual_distance_exec(l->options.distance, &w->distance));
    w->x0 = cmi_calloc(context, values, sizeof *w->x0);
    w->z = cmi_calloc(context, values, sizeof *w->z);
    w->work = cmi_calloc(context, cmi_objective_work(settings, slice), sizeof *w->work);
    w->u = cmi_calloc(context, (3 + views + CM_MORE_UNIFORMS + CM_MORE_NORMALS) * slice, sizeof *w->u);
    w->single = cmi_calloc(context, l->image_size, sizeof *w->single);
    w->images = cmi_calloc(context, slice * views, sizeof *w->images);
    w->labels = cmi_calloc(context, 3 * slice, sizeof *w->labels);
    w->chosen = cmi_calloc(context, slice, sizeof *w->chosen);
    if (!w->x0 || !w->z || !w->work || !w->u || !w->single || !w->images || !w->labels || !w->chosen)
        return CM_ERR_MEMORY;
    w->normal = w->u + slice;
    w->share = w->normal + slice;
    w->more_u = w->share + slice;
    w->more_normal = w->more_u + CM_MORE_UNIFORMS * slice;
    w->loss = w->more_normal + CM_MORE_NORMALS * slice;
    w->true_labels = w->labels + slice;
    w->no_labels = w->true_labels + slice;
    for (size_t i = 0; i < slice; i++) w->no_labels[i] = -1;
    return CM_OK;
}

static void free_worker(cm_context *context, cm_learner_worker *w)
{
    cmi_exec_free(w->train);
    cmi_exec_free(w->target);
    cmi_exec_free(w->teacher);
    cmi_exec_free(w->tangent);
    cmi_exec_free(w->distance);
    cmi_free(context, w->x0);
    cmi_free(context, w->z);
    cmi_free(context, w->work);
    cmi_free(context, w->u);
    cmi_free(context, w->single);
    cmi_free(context, w->images);
    cmi_free(context, w->labels);
    cmi_free(context, w->chosen);
}

/* Of a batch of so many images. */
static size_t slices_of(const cm_learner *l, size_t images)
{
    return (images + l->options.slice - 1) / l->options.slice;
}

int cmi_learner_count_workers(const cm_learner *l)
{
    const size_t slices = slices_of(l, l->options.batch);
    return l->options.threads < (int)slices ? l->options.threads : (int)slices;
}

cm_status cmi_learner_make_workers(cm_learner *l, const cm_objective_settings *settings)
{
    const int n = cmi_learner_count_workers(l);
    l->workers = cmi_calloc(l->context, (size_t)n, sizeof *l->workers);
    if (!l->workers) return CM_ERR_MEMORY;
    for (; l->n_workers < n; l->n_workers++) {
        cm_status status = make_worker(l, settings, &l->workers[l->n_workers]);
        if (status != CM_OK) {
            free_worker(l->context, &l->workers[l->n_workers]);
            return status;
        }
    }
    return CM_OK;
}

void cmi_learner_free_workers(cm_learner *l)
{
    for (int i = 0; i < l->n_workers; i++) free_worker(l->context, &l->workers[i]);
    cmi_free(l->context, l->workers);
}

/* --- networks for the objective --------------------------------------------------- */

/* What a network is asked about a slice. */
typedef struct {
    const cm_precond *precond;
    size_t n; /* images, or pairs of all of them */
    cm_objective_point at;
    const cm_objective_point *along; /* NULL: no tangent */
    const int32_t *labels;
    const float *augment; /* of the images that are not padding, or NULL */
} question;

static size_t pairs_of(const cm_learner *l)
{
    return l->options.slice * l->options.views;
}

static cm_scalings scalings_of(const cm_learner *l, const question *q, size_t i)
{
    const double t = l->options.axis == CM_AXIS_SIGMA ? cmi_inputs_level(q->at.t[i]) : q->at.t[i];
    return cmi_axis_scalings(l->options.axis, q->precond, l->sigma_data, t);
}

static void write_along(const cm_learner *l, const question *q, cm_exec *exec, size_t i)
{
    const double t = l->options.axis == CM_AXIS_SIGMA ? cmi_inputs_level(q->at.t[i]) : q->at.t[i];
    const cm_scalings s = cmi_axis_slopes(l->options.axis, q->precond, t);
    const double v = q->along->t[i];
    const cm_inputs_tangent along = {q->along->x + i * l->image_size,
                                     {s.c_in * v, s.c_skip * v, s.c_out * v, s.c_noise * v},
                                     q->along->r ? q->along->r[i] : 0};
    cmi_inputs_write_tangent(l->model, &along, exec, i);
}

/* Images in; the network; its answers are then read. */
static cm_status ask(const cm_learner_worker *w, const question *q, const cm_weights *weights, cm_exec *exec)
{
    const cm_learner *l = w->learner;
    const size_t dim = (size_t)l->model->net.augment_dim;
    CM_TRY(cmi_call_check(w->call));
    for (size_t i = 0; i < q->n; i++) {
        const size_t of = i % l->options.slice;
        const float *augment = q->augment && of < w->count ? q->augment + of * dim : NULL;
        const cm_inputs image = {
            q->at.x + i * l->image_size,     q->at.t[i], q->labels[of], augment, q->at.r ? q->at.r[i] : 0,
            w->told ? w->told + 3 * i : NULL};
        const cm_scalings s = scalings_of(l, q, i);
        cmi_inputs_write_scaled(l->model, &s, &image, exec, i);
        if (q->along) write_along(l, q, exec, i);
    }
    return cmi_exec_run(exec, weights);
}

/* What objectives take for D: with two heads both of them, one behind the other. */
static int output_of(const cm_learner *l)
{
    return l->options.heads > 1 ? CM_OUT_F : CM_OUT_D;
}

static size_t answer_size(const cm_learner *l)
{
    return l->options.heads > 1 ? 2 * l->image_size : l->image_size;
}

static cm_status answer(const cm_learner_worker *w, const question *q, const cm_weights *weights, cm_exec *exec,
                        double *d)
{
    const cm_learner *l = w->learner;
    CM_TRY(ask(w, q, weights, exec));
    for (size_t i = 0; i < q->n; i++) cmi_outputs_read(l->model, output_of(l), exec, i, d + i * answer_size(l));
    return CM_OK;
}

/* The weights that learn as they answer after training. */
static cm_status evaluate_plain(const cm_learner_worker *w, const int32_t *labels, const cm_objective_point *at,
                                double *d)
{
    const cm_learner *l = w->learner;
    const question q = {&l->precond, pairs_of(l), *at, NULL, labels, w->augment};
    cmi_exec_drop(w->target, 0);
    const cm_status status = answer(w, &q, l->target_weights, w->target, d);
    cmi_exec_drop(w->target, 1);
    return status;
}

static cm_status evaluate(void *user, int role, const double *x, const double *t, const double *r, double *d)
{
    const cm_learner_worker *w = user;
    const cm_learner *l = w->learner;
    if (role == CM_ROLE_TEACHER || role == CM_ROLE_TEACHER_UNCONDITIONAL) {
        const int32_t *labels = role == CM_ROLE_TEACHER ? w->true_labels : w->no_labels;
        const question q = {&l->teacher_precond, l->options.slice, {x, t, r}, NULL, labels, NULL};
        return answer(w, &q, l->teacher_weights, w->teacher, d);
    }
    const cm_objective_point at = {x, t, r};
    if (role == CM_ROLE_PLAIN) return evaluate_plain(w, w->true_labels, &at, d);
    if (role == CM_ROLE_UNCONDITIONAL) return evaluate_plain(w, w->no_labels, &at, d);
    const question q = {&l->precond, pairs_of(l), at, NULL, w->labels, w->augment};
    return answer(w, &q, role == CM_ROLE_FIRST ? l->first_weights : l->target_weights, w->target, d);
}

static cm_status tangent(void *user, int role, const cm_objective_point *at, const cm_objective_point *along,
                         double *d, double *slope)
{
    const cm_learner_worker *w = user;
    const cm_learner *l = w->learner;
    const question q = {&l->precond, pairs_of(l), *at, along, w->labels, w->augment};
    (void)role; /* the weights that learn */
    CM_TRY(answer(w, &q, l->tangent_weights, w->tangent, d));
    for (size_t i = 0; i < l->options.slice; i++)
        cmi_tangent_read(l->model, output_of(l), w->tangent, i, slope + i * answer_size(l));
    return CM_OK;
}

static cm_status online(void *user, const double *x, const double *t, const double *r, double *d)
{
    const cm_learner_worker *w = user;
    const question q = {&w->learner->precond, pairs_of(w->learner), {x, t, r}, NULL, w->labels, w->augment};
    return answer(w, &q, w->learner->train_weights, w->train, d);
}

static cm_status backward(void *user, const double *cotangent)
{
    cm_learner_worker *w = user;
    const cm_learner *l = w->learner;
    CM_TRY(cmi_call_check(w->call));
    for (size_t i = 0; i < pairs_of(l); i++)
        cmi_cotangent_write(l->model, output_of(l), cotangent + i * answer_size(l), w->train, i);
    return cmi_exec_backward(w->train, l->train_weights);
}

static cm_status online_tangent(void *user, const cm_objective_point *at, const cm_objective_point *along, double *d,
                                double *slope)
{
    const cm_learner_worker *w = user;
    const cm_learner *l = w->learner;
    const question q = {&l->precond, pairs_of(l), *at, along, w->labels, w->augment};
    CM_TRY(answer(w, &q, l->train_weights, w->train, d));
    for (size_t i = 0; i < l->options.slice; i++)
        cmi_tangent_read(l->model, output_of(l), w->train, i, slope + i * answer_size(l));
    return CM_OK;
}

static cm_status backward_tangent(void *user, const double *cotangent, const double *of_tangent)
{
    cm_learner_worker *w = user;
    const cm_learner *l = w->learner;
    CM_TRY(cmi_call_check(w->call));
    for (size_t i = 0; i < l->options.slice; i++) {
        const size_t first = i * answer_size(l);
        cmi_cotangent_write(l->model, output_of(l), cotangent ? cotangent + first : NULL, w->train, i);
        cmi_tangent_cotangent_write(l->model, output_of(l), of_tangent ? of_tangent + first : NULL, w->train, i);
    }
    return cmi_exec_backward(w->train, l->train_weights);
}

static cm_status condition(void *user, const double *numbers)
{
    cm_learner_worker *w = user;
    w->told = numbers;
    return CM_OK;
}

static cm_status weigh(void *user, const double *t, double *w)
{
    const cm_learner *l = ((const cm_learner_worker *)user)->learner;
    for (size_t i = 0; i < l->options.slice; i++)
        w[i] = -cmi_weight_net_value(&l->weighing.net, l->weighing.exact, t[i]);
    return CM_OK;
}

static void add_doubles(double *total, const double *more, int32_t n)
{
    for (int32_t i = 0; i < n; i++) total[i] += more[i];
}

/* As gradients are added (gradient_sum.c). */
static void add_weighing(cm_learner *l, int slice, const double *of_slice)
{
    cm_weighing *w = &l->weighing;
    int begins, ends;
    const size_t shard = cmi_gradient_sum_shard(l->sum, slice, &begins, &ends);
    if (begins) memset(w->sum, 0, sizeof w->sum);
    add_doubles(w->sum, of_slice, w->size);
    if (!ends) return;
    const int merges = cmi_shard_merges(shard);
    for (int i = 0; i < merges; i++) add_doubles(w->sum, w->level[i], w->size);
    if (shard + 1 < l->options.share.own) memcpy(w->level[merges], w->sum, sizeof w->sum);
}

/* The sum of the batch += the slice's, after the slices before: a turn behind those of the parameters. */
static cm_status weigh_back(void *user, const double *t, const double *of_w)
{
    const cm_learner_worker *w = user;
    cm_learner *l = w->learner;
    const size_t turn = (size_t)cmi_learner_graph(l)->n_params;
    double slice[CM_WEIGHT_NET_MOST] = {0};
    for (size_t i = 0; i < l->options.slice; i++)
        cmi_weight_net_pull(&l->weighing.net, l->weighing.exact, t[i], -of_w[i], slice);
    CM_TRY(cmi_turns_await(l->turns, turn, w->slice));
    add_weighing(l, w->slice, slice);
    cmi_turns_advance(l->turns, turn);
    return CM_OK;
}

static cm_status distance(void *user, const double *a, const double *b, double *value, double *gradient)
{
    const cm_learner_worker *w = user;
    CM_TRY(cmi_call_check(w->call));
    return cmi_perceptual_distance_of(w->learner->options.distance, w->distance, a, b, value, gradient);
}

static cm_status curvature(void *user, const double *a, const double *v, double *hv, double *slope)
{
    const cm_learner_worker *w = user;
    CM_TRY(cmi_call_check(w->call));
    return cmi_perceptual_curvature_of(w->learner->options.distance, w->distance, a, v, hv, slope);
}

/* --- a batch ------------------------------------------------------------------------ */

typedef struct {
    cm_learner *learner;
    const cm_objective *objective;
    const cm_objective_settings *settings;
    const cm_learner_batch *batch;
} job;

/* For objectives that take several times. */
static void draw_more(cm_learner_worker *w, cm_stream s, size_t i)
{
    const size_t n = w->learner->options.slice;
    double uniform[CM_MORE_UNIFORMS];
    float normal[CM_MORE_NORMALS];
    s.draw = CM_DRAW_MORE_UNIFORM;
    cmi_stream_uniform(&s, CM_MORE_UNIFORMS, uniform);
    for (size_t k = 0; k < CM_MORE_UNIFORMS; k++) w->more_u[k * n + i] = uniform[k];
    s.draw = CM_DRAW_MORE_NORMAL;
    cmi_stream_normal(&s, CM_MORE_NORMALS, normal);
    for (size_t k = 0; k < CM_MORE_NORMALS; k++) w->more_normal[k * n + i] = (double)normal[k];
}

static void draw_image(cm_learner_worker *w, const cm_learner_batch *b, size_t i, uint64_t image)
{
    size_t size = w->learner->image_size;
    double chance;
    cm_stream s = {b->seed, cmi_learner_stream(image), CM_DRAW_NOISE};
    cmi_stream_normal(&s, size, w->single);
    for (size_t k = 0; k < size; k++) w->z[i * size + k] = (double)w->single[k];
    s.draw = CM_DRAW_UNIFORM;
    cmi_stream_uniform(&s, 1, &w->u[i]);
    s.draw = CM_DRAW_NORMAL;
    cmi_stream_normal(&s, 1, w->single);
    w->normal[i] = (double)w->single[0];
    s.draw = CM_DRAW_LABEL;
    cmi_stream_uniform(&s, 1, &chance);
    w->labels[i] = chance < b->label_dropout ? -1 : w->true_labels[i];
    for (size_t j = 0; j < w->learner->options.views; j++) w->images[j * w->learner->options.slice + i] = s.image + j;
    draw_more(w, s, i);
}

/* The images of a slice; beyond the batch the first once more, without weight. */
static void load_slice(cm_learner_worker *w, const cm_learner_batch *b, size_t first)
{
    const cm_learner *l = w->learner;
    size_t size = l->image_size, left = b->n - first;
    w->count = left < l->options.slice ? left : l->options.slice;
    w->augment = b->augment ? b->augment + first * (size_t)l->model->net.augment_dim : NULL;
    for (size_t i = 0; i < l->options.slice; i++) {
        size_t from = i < w->count ? first + i : first;
        for (size_t k = 0; k < size; k++) w->x0[i * size + k] = (double)b->images[from * size + k];
        w->true_labels[i] = b->labels ? b->labels[from] : -1;
        w->chosen[i] = b->chosen ? b->chosen[from] : 0;
        w->share[i] = i < w->count ? 1.0 / (double)b->all : 0;
        draw_image(w, b, i, b->first + from * l->options.views);
    }
}

static double mean_of_pairs(const cm_learner_worker *w, size_t i)
{
    const size_t views = w->learner->options.views;
    double sum = 0;
    for (size_t j = 0; j < views; j++) sum += w->loss[j * w->learner->options.slice + i];
    return sum / (double)views;
}

static cm_status run_slice(const job *j, int index, int worker)
{
    cm_learner_worker *w = &j->learner->workers[worker];
    const int weighs = j->learner->weighing.size > 0, through = j->learner->options.learns_through;
    const int curves = j->objective->curves;
    const cm_objective_nets nets = {.user = w,
                                    .evaluate = evaluate,
                                    .tangent = w->tangent ? tangent : NULL,
                                    .online = online,
                                    .backward = backward,
                                    .online_tangent = through ? online_tangent : NULL,
                                    .backward_tangent = through ? backward_tangent : NULL,
                                    .condition = condition,
                                    .distance = w->distance && !curves ? distance : NULL,
                                    .curvature = w->distance && curves ? curvature : NULL,
                                    .weigh = weighs ? weigh : NULL,
                                    .weigh_back = weighs ? weigh_back : NULL};
    const cm_objective_batch b = {.n = j->learner->options.slice,
                                  .x0 = w->x0,
                                  .z = w->z,
                                  .u = w->u,
                                  .normal = w->normal,
                                  .loss = w->loss,
                                  .share = w->share,
                                  .work = w->work,
                                  .more_u = w->more_u,
                                  .more_normal = w->more_normal,
                                  .chosen = j->batch->chosen ? w->chosen : NULL,
                                  .all = j->batch->all,
                                  .n_chosen = j->batch->n_chosen,
                                  .labels = j->learner->model->net.num_classes ? w->labels : NULL};
    size_t first = (size_t)index * j->learner->options.slice;
    w->slice = index;
    w->call = j->batch->call;
    w->told = NULL;
    load_slice(w, j->batch, first);
    cmi_exec_seed(w->train, j->batch->seed, w->images);
    if (w->target) cmi_exec_seed(w->target, j->batch->seed, w->images);
    if (w->tangent) cmi_exec_seed(w->tangent, j->batch->seed, w->images);
    CM_TRY(j->objective->run(j->settings, &b, &nets));
    for (size_t i = 0; i < w->count; i++) j->batch->loss[j->batch->begin + first + i] = mean_of_pairs(w, i);
    return CM_OK;
}

static cm_status slice_piece(void *user, int index, int worker)
{
    const job *j = user;
    cm_status status = run_slice(j, index, worker);
    if (status != CM_OK) cmi_turns_fail(j->learner->turns, index);
    return status;
}

static void begin_weighing(cm_weighing *w)
{
    memset(w->sum, 0, sizeof w->sum);
    for (int32_t i = 0; i < w->size; i++) w->exact[i] = (double)w->values[i];
}

cm_status cmi_learner_run(cm_learner *l, const cm_objective *objective, const cm_objective_settings *settings,
                          const cm_learner_batch *batch)
{
    job j = {l, objective, settings, batch};
    CM_TRY(cmi_share_check(&l->options.share, batch->all, l->options.slice));
    cmi_gradient_sum_begin(l->sum, slices_of(l, batch->all), batch->what);
    const int slices = cmi_gradient_sum_slices(l->sum);
    cmi_turns_begin(l->turns);
    begin_weighing(&l->weighing);
    cm_status status = cmi_parallel_in_order((cm_threads){l->context, l->n_workers}, slices, slice_piece, &j);
    status = cmi_gradient_sum_end(l->sum, (cm_threads){l->context, l->options.threads}, status);
    if (status == CM_OK && !cmi_peers_alone(l->options.peers)) status = cmi_call_check(batch->call);
    if (status == CM_OK) status = cmi_learner_gather(l, batch);
    for (int32_t i = 0; i < l->weighing.size; i++) l->weighing.gradient[i] = (float)l->weighing.sum[i];
    if (status == CM_OK) status = cmi_unpacking_run(l->unpacking, l->gradient);
    return status == CM_OK ? cmi_learner_fold_gradient(l) : status;
}
