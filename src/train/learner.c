/* learner.c - see the header. */
#include "train/learner.h"

#include "diffusion/inputs.h"
#include "nets/fold.h"
#include "train/learner_parts.h"

/* Whether the copy of the teacher's weights holds folded values. */
static int folds_teacher(const cm_learner *l)
{
    return l->teacher->net.family->unit_rows;
}

static cm_status make_sets(cm_learner *l)
{
    CM_TRY(cmi_weight_set_create(l, l->model, 1, &l->online));
    if (l->options.separate_target) CM_TRY(cmi_weight_set_create(l, l->model, 1, &l->target));
    if (l->options.separate_teacher) CM_TRY(cmi_weight_set_create(l, l->teacher, folds_teacher(l), &l->teacher_set));
    if (l->options.first_stage) CM_TRY(cmi_weight_set_create(l, l->teacher, 1, &l->first));
    return CM_OK;
}

/* Inputs that have a tangent on an axis. */
static uint32_t tangents_of(const cm_learner *l)
{
    const uint32_t second = l->model->net.second_time != CM_SECOND_NONE ? CM_TANGENT_SECOND : 0;
    const uint32_t first = l->options.axis == CM_AXIS_SIGMA ? CM_TANGENT_SIGMA : 1u << CM_IN_TIME;
    return CM_TANGENT_X | first | second;
}

static cm_status make_plans(cm_learner *l)
{
    const cm_graph *teacher = NULL;
    if (l->teacher && !l->options.first_stage)
        teacher = l->options.separate_teacher && !folds_teacher(l) ? l->teacher->graph : l->teacher->inference;
    cm_plan_options infer = {.slice = (int32_t)(l->options.slice * l->options.views), .threads = 1, .share = 1};
    infer.arithmetic = l->options.arithmetic;
    cm_plan_options train = infer;
    train.mode = CM_MODE_TRAIN;
    train.output = l->options.heads > 1 ? CM_OUT_F : CM_OUT_D;
    train.recompute = l->options.recompute;
    if (l->options.learns_through) {
        train.mode = CM_MODE_TRAIN_JVP;
        train.tangents = tangents_of(l);
    }
    CM_TRY(cmi_plan_create(cmi_learner_graph(l), &train, &l->train_plan));
    if (l->options.evaluates_target) CM_TRY(cmi_plan_create(cmi_learner_graph(l), &infer, &l->target_plan));
    if (l->options.differentiates && !l->options.learns_through) {
        cm_plan_options tangent = infer;
        tangent.mode = CM_MODE_JVP;
        tangent.inputs = tangents_of(l);
        CM_TRY(cmi_plan_create(cmi_learner_graph(l), &tangent, &l->tangent_plan));
    }
    infer.slice = (int32_t)l->options.slice;
    return teacher ? cmi_plan_create(teacher, &infer, &l->teacher_plan) : CM_OK;
}

/* Plans meet their weights. */
static cm_status bind_plans(cm_learner *l)
{
    CM_TRY(cmi_weights_create(l->train_plan, l->online.params, &l->train_weights));
    CM_TRY(cmi_unpacking_create(l->train_plan, l->options.threads, &l->unpacking));
    if (l->target_plan)
        CM_TRY(cmi_weights_create(l->target_plan, l->options.separate_target ? l->target.params : l->online.params,
                                  &l->target_weights));
    if (l->tangent_plan) CM_TRY(cmi_weights_create(l->tangent_plan, l->online.params, &l->tangent_weights));
    if (l->options.first_stage) CM_TRY(cmi_weights_create(l->target_plan, l->first.params, &l->first_weights));
    if (!l->teacher_plan) return CM_OK;
    return cmi_weights_create(l->teacher_plan,
                              l->options.separate_teacher ? l->teacher_set.params : l->teacher->params,
                              &l->teacher_weights);
}

static void begin_weighing(cm_learner *l)
{
    cm_weighing *w = &l->weighing;
    cmi_weight_net_open(l->options.weight_net, CM_WEIGHT_NET_FEATURES, l->options.seed, &w->net);
    w->size = cmi_weight_net_size(&w->net);
    cmi_weight_net_begin(&w->net, l->options.seed, w->exact);
    for (int32_t i = 0; i < w->size; i++) w->values[i] = (float)w->exact[i];
}

static cm_status build(cm_learner *l, const cm_objective_settings *settings)
{
    CM_TRY(cmi_learner_describe(l));
    CM_TRY(make_sets(l));
    CM_TRY(make_plans(l));
    CM_TRY(bind_plans(l));
    l->gradient = cmi_calloc(l->context, cmi_plan_gradient_floats(l->train_plan), sizeof *l->gradient);
    if (!l->gradient) return CM_ERR_MEMORY;
    CM_TRY(cmi_gradient_sum_create(l->train_plan, &l->options.share, l->options.peers, l->gradient, &l->sum));
    CM_TRY(cmi_turns_create(l->context, (size_t)cmi_learner_graph(l)->n_params + 1, &l->turns));
    begin_weighing(l);
    CM_TRY(cmi_learner_make_workers(l, settings));
    CM_TRY(cmi_learner_force(l, &l->online));
    if (l->options.separate_target) CM_TRY(cmi_learner_force(l, &l->target));
    /* Packing objects are made now, not in the first step. */
    CM_TRY(cmi_learner_refresh(l, &l->online));
    if (l->options.separate_target) CM_TRY(cmi_learner_refresh(l, &l->target));
    if (l->options.first_stage) CM_TRY(cmi_learner_refresh(l, &l->first));
    return l->options.separate_teacher ? cmi_learner_refresh(l, &l->teacher_set) : CM_OK;
}

static cm_learner *begin(const cm_model *model, const cm_precond *precond, cm_model *teacher,
                         const cm_learner_options *options)
{
    cm_learner *l = cmi_calloc(model->context, 1, sizeof *l);
    if (!l) return NULL;
    l->context = model->context;
    l->options = *options;
    l->model = model;
    l->teacher = teacher;
    l->precond = cmi_inputs_precond(precond);
    l->sigma_data = precond->sigma_data;
    if (teacher) l->teacher_precond = cmi_inputs_precond(&teacher->precond);
    l->image_size = (size_t)model->channels * (size_t)model->height * (size_t)model->width;
    return l;
}

cm_status cmi_learner_create(const cm_model *model, const cm_precond *precond, cm_model *teacher,
                             const cm_objective_settings *settings, const cm_learner_options *options,
                             cm_learner **out)
{
    *out = NULL;
    cm_learner *l = begin(model, precond, teacher, options);
    if (!l) return CM_ERR_MEMORY;
    cm_status status = build(l, settings);
    if (status != CM_OK) cmi_learner_free(l);
    else *out = l;
    return status;
}

void cmi_learner_free(cm_learner *l)
{
    if (!l) return;
    cm_context *context = l->context;
    cmi_learner_free_workers(l);
    cmi_turns_free(l->turns);
    cmi_gradient_sum_free(l->sum);
    cmi_free(context, l->records);
    cmi_free(context, l->gradient);
    cmi_unpacking_free(l->unpacking);
    cmi_weights_free(l->train_weights);
    cmi_weights_free(l->target_weights);
    cmi_weights_free(l->teacher_weights);
    cmi_weights_free(l->first_weights);
    cmi_weights_free(l->tangent_weights);
    cmi_weight_set_free(l, &l->online);
    cmi_weight_set_free(l, &l->target);
    cmi_weight_set_free(l, &l->teacher_set);
    cmi_weight_set_free(l, &l->first);
    cmi_plan_free(l->train_plan);
    cmi_plan_free(l->target_plan);
    cmi_plan_free(l->teacher_plan);
    cmi_plan_free(l->tangent_plan);
    cmi_graph_free(l->graph);
    cmi_graph_free(l->folded);
    for (int i = 0; l->fold_scratch && i < l->folders; i++) cmi_free(context, l->fold_scratch[i]);
    cmi_free(context, l->fold_scratch);
    cmi_free(context, l->offsets);
    cmi_free(context, l);
}

static size_t plan_bytes(const cm_plan *plan)
{
    return plan ? cmi_plan_arena_bytes(plan) + cmi_plan_scratch_bytes(plan) : 0;
}

/* packed: bytes of packed weights; aside: of what turns gradients into plain tensors. */
static size_t total_bytes(const cm_learner *l, size_t packed, size_t aside)
{
    size_t sets = 1u + (l->options.separate_target != 0) + (l->options.first_stage != 0), floats = l->floats;
    size_t image = l->image_size * sizeof(double);
    size_t teacher = !l->options.separate_teacher ? 0 : folds_teacher(l) ? l->all_floats : floats;
    size_t block = cmi_plan_gradient_floats(l->train_plan) * sizeof(float);
    size_t streamed = cmi_plan_node_gradient_floats(l->train_plan) * sizeof(float);
    size_t worker = plan_bytes(l->train_plan) + plan_bytes(l->target_plan) + plan_bytes(l->teacher_plan) +
                    plan_bytes(l->tangent_plan) + streamed +
                    l->options.slice * l->options.views * image * (l->options.heads > 1 ? 14 : 8);
    size_t of_distance = 0, of_thread = 0;
    if (l->options.distance) of_distance = cmi_perceptual_distance_bytes(l->options.distance, &of_thread);
    worker += of_thread;
    size_t folds = l->folded ? (size_t)l->folders * cmi_fold_scratch_bytes(l->folded) : 0;
    block += cmi_gradient_sum_bytes(l->train_plan, &l->options.share, l->options.peers);
    return (sets * l->all_floats + teacher) * sizeof(float) + folds + block + aside + packed + of_distance +
           (size_t)cmi_learner_count_workers(l) * worker;
}

size_t cmi_learner_bytes(const cm_learner *l)
{
    size_t packed = cmi_params_copied_bytes(l->online.params);
    if (l->target.params) packed += cmi_params_copied_bytes(l->target.params);
    if (l->teacher_set.params) packed += cmi_params_copied_bytes(l->teacher_set.params);
    else if (l->first.params) packed += cmi_params_copied_bytes(l->first.params);
    else if (l->teacher) packed += cmi_params_copied_bytes(l->teacher->params);
    return total_bytes(l, packed, cmi_unpacking_bytes(l->unpacking));
}

/* What the plans ask to have packed.  Folded values are counted with the sets they lie in. */
static cm_status packed_bytes(const cm_learner *l, size_t *bytes)
{
    size_t online, target = 0, teacher = 0, tangent = 0, folded = cmi_plan_derived_bytes(l->train_plan);
    CM_TRY(cmi_plan_packed_bytes(l->train_plan, NULL, &online));
    if (l->target_plan)
        CM_TRY(cmi_plan_packed_bytes(l->target_plan, l->options.separate_target ? NULL : l->train_plan, &target));
    if (l->teacher_plan) CM_TRY(cmi_plan_packed_bytes(l->teacher_plan, NULL, &teacher));
    if (l->options.first_stage) CM_TRY(cmi_plan_packed_bytes(l->target_plan, NULL, &teacher));
    if (l->tangent_plan) CM_TRY(cmi_plan_packed_bytes(l->tangent_plan, l->train_plan, &tangent));
    if (l->target_plan && (l->options.separate_target || l->options.first_stage)) folded *= 2;
    if (l->teacher_plan && l->options.separate_teacher) folded += cmi_plan_derived_bytes(l->teacher_plan);
    *bytes = online + target + teacher + tangent;
    *bytes -= folded < *bytes ? folded : 0;
    return CM_OK;
}

cm_status cmi_learner_estimate(const cm_model *model, const cm_precond *precond, cm_model *teacher,
                               const cm_learner_options *options, size_t *bytes, size_t *floats)
{
    cm_learner *l = begin(model, precond, teacher, options);
    size_t packed = 0;
    if (!l) return CM_ERR_MEMORY;
    cm_status status = cmi_learner_describe(l);
    if (status == CM_OK) status = make_plans(l);
    if (status == CM_OK) status = packed_bytes(l, &packed);
    if (status == CM_OK) {
        size_t aside = (size_t)options->threads * cmi_plan_node_gradient_floats(l->train_plan) * sizeof(float);
        *bytes = total_bytes(l, packed, aside);
        *floats = l->floats;
    }
    cmi_learner_free(l);
    return status;
}
