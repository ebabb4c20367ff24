/* trainer.c - the calls of trainer.h. */
#include <stdlib.h>
#include <string.h>

#include <consistency/trainer.h>

#include "base/options.h"
#include "data/dataset.h"
#include "io/json_tree.h"
#include "diffusion/condition.h"
#include "tensor/finite.h"
#include "tensor/images.h"
#include "train/reconstruct.h"
#include "train/split.h"

void cm_train_inputs_init(cm_train_inputs *inputs, size_t struct_size)
{
    cmi_options_zero(inputs, struct_size);
}

void cm_train_report_init(cm_train_report *report, size_t struct_size)
{
    cmi_options_zero(report, struct_size);
}

/* --- the trainer ------------------------------------------------------------------------ */

/* The caller's models, at least one of them, and options; of `call`. */
static cm_status read_inputs(const char *call, const cm_train_inputs *theirs, const cm_train_options *options,
                             cm_train_inputs *inputs, cm_train_settings *settings)
{
    cm_train_inputs_init(inputs, sizeof *inputs);
    if (!theirs) CM_FAIL(CM_ERR_ARGUMENT, "%s: inputs is NULL", call);
    CM_TRY(cm_options_read(inputs, sizeof *inputs, theirs, "cm_train_inputs"));
    CM_TRY(cmi_reserved_check("cm_train_inputs", inputs->reserved));
    if (!inputs->model && !inputs->teacher) CM_FAIL(CM_ERR_ARGUMENT, "%s: inputs.model is NULL", call);
    CM_TRY(cmi_context_check_process((inputs->model ? inputs->model : inputs->teacher)->context));
    *settings = cmi_settings_of(options);
    return CM_OK;
}

cm_status cm_trainer_create(const cm_train_inputs *theirs, const cm_train_options *options, cm_trainer **out)
{
    cm_train_inputs inputs;
    cm_train_settings settings;
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_create: out is NULL");
    *out = NULL;
    CM_TRY(read_inputs("cm_trainer_create", theirs, options, &inputs, &settings));
    return cmi_trainer_open(&inputs, &settings, out);
}

cm_status cm_trainer_estimate(const cm_train_inputs *theirs, const cm_train_options *options, uint64_t *bytes)
{
    cm_train_inputs inputs;
    cm_train_settings settings;
    if (!bytes) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_estimate: bytes is NULL");
    CM_TRY(read_inputs("cm_trainer_estimate", theirs, options, &inputs, &settings));
    return cmi_trainer_plan(&inputs, &settings, bytes);
}

cm_status cm_train_data_check(const cm_model *model, const cm_dataset *dataset, const cm_train_options *options)
{
    const cm_train_settings settings = cmi_settings_of(options);
    if (!model || !dataset) CM_FAIL(CM_ERR_ARGUMENT, "cm_train_data_check: model or dataset is NULL");
    CM_TRY(cmi_settings_check(&settings, cmi_context_cpu_level(model->context)));
    return cmi_train_check_dataset(model, dataset, settings.batch / cmi_objective_views(&settings));
}

void cm_trainer_free(cm_trainer *trainer)
{
    cmi_trainer_close(trainer);
}

/* A NaN of the caller's is not for skip_nonfinite to leave out. */
static cm_status check_finite(size_t n, size_t size, const float *values)
{
    size_t i = cmi_first_nonfinite_f32(n * size, values);
    if (i == n * size) return CM_OK;
    CM_FAIL(CM_ERR_NUMERIC, "cm_trainer_step: image %zu is %g at value %zu, expected finite numbers", i / size,
            (double)values[i], i % size);
}

static cm_status open_images(const cm_trainer *t, const cm_images *images, cm_view *view)
{
    const cm_model *m = t->model;
    CM_TRY(cmi_view_open("cm_trainer_step: images", images, CM_VIEW_READ, view));
    CM_TRY(
        cmi_view_expect("cm_trainer_step: images", view, (size_t)m->channels, (size_t)m->height, (size_t)m->width));
    if (view->n < 1 || view->n > CM_STEP_IMAGES)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_step: %zu images, expected 1..%d", view->n, CM_STEP_IMAGES);
    return CM_OK;
}

static int is_dense_floats(const cm_view *view)
{
    const cm_view dense = cmi_view_planes(view->n, view->channels, view->height, view->width, view->data, 0);
    return !view->is_u8 && (uintptr_t)view->data % sizeof(float) == 0 && view->pixel == dense.pixel &&
           view->row == dense.row && view->channel == dense.channel && view->image == dense.image;
}

/* The values as the step reads them: in place, or in a buffer that the trainer keeps for the next step. */
static cm_status dense_values(cm_trainer *t, const cm_view *view, const float **values)
{
    *values = (const float *)(const void *)view->data;
    if (is_dense_floats(view)) return CM_OK;
    CM_TRY(cmi_trainer_reserve_dense(t, view->n));
    const cm_view to = cmi_view_planes(view->n, view->channels, view->height, view->width, t->dense, 0);
    cmi_view_copy(view, &to);
    *values = t->dense;
    return CM_OK;
}

static cm_status step(cm_trainer *t, const cm_view *view, const int32_t *labels, cm_train_report *r)
{
    const float *values;
    size_t first, count;
    CM_TRY(dense_values(t, view, &values));
    CM_TRY(check_finite(view->n, t->learner->image_size, values));
    CM_TRY(cmi_trainer_share(t, view->n, &first, &count));
    return cmi_trainer_advance(t, view->n, values + first * t->learner->image_size, labels ? labels + first : NULL,
                               r);
}

cm_status cm_trainer_step(cm_trainer *t, const cm_images *images, const cm_condition *condition,
                          cm_train_report *report)
{
    cm_view view;
    cm_condition c;
    cm_train_report r;
    memset(&r, 0, sizeof r);
    if (!t || !images) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_step: trainer or images is NULL");
    CM_TRY(cmi_context_check_process(t->context));
    if (report) CM_TRY(cm_info_check(report, "cm_train_report")); /* before anything is changed */
    CM_TRY(cmi_condition_read(condition, &c));
    CM_TRY(cmi_condition_refuse_guidance(&c, "a step of training"));
    CM_TRY(open_images(t, images, &view));
    CM_TRY(cmi_call_begin(&t->call, "trainer"));
    cm_status status = step(t, &view, c.labels, &r);
    if (status != CM_OK) cmi_peers_give_up(&t->peers, status);
    (void)cmi_call_end(&t->call); /* a step that was taken counts, whatever was asked at its end */
    CM_TRY(status);
    return report ? cm_info_write(report, &r, sizeof r, "cm_train_report") : CM_OK;
}

cm_status cm_trainer_run(cm_trainer *t, cm_dataset *dataset, int64_t until, cm_train_fn progress, void *user)
{
    if (!t || !dataset) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_run: trainer or dataset is NULL");
    CM_TRY(cmi_context_check_process(t->context));
    if (until < 1) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_run: until is %lld, expected 1 or more", (long long)until);
    CM_TRY(cmi_call_begin(&t->call, "trainer"));
    t->agreed = 0;
    cm_status status = cmi_trainer_loop(t, dataset, until, progress, user);
    if (status != CM_OK && !(status == CM_ERR_CANCELLED && t->agreed)) cmi_peers_give_up(&t->peers, status);
    (void)cmi_call_end(&t->call);
    return status;
}

void cm_trainer_cancel(cm_trainer *trainer)
{
    if (trainer) cmi_call_ask(&trainer->call);
}

static cm_status gather_average(cm_trainer *t, const float *held, float **out)
{
    float *whole = cmi_malloc(t->context, t->learner->floats, sizeof *whole);
    cm_status status = whole ? cmi_split_gather(t, held, whole, "an average of the weights") : CM_ERR_MEMORY;
    if (status == CM_OK) *out = whole;
    else cmi_peers_give_up(&t->peers, status), cmi_free(t->context, whole);
    return status;
}

static cm_status snapshot(cm_trainer *t, int32_t weights, int32_t index, cm_model **out)
{
    const float *block = cmi_trainer_block(t, weights, index);
    float *whole = NULL;
    if (!block && weights == CM_WEIGHTS_EMA)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_model: average %d of %d", index, t->o.ema.count);
    if (!block) CM_FAIL(CM_ERR_STATE, "cm_trainer_model: this objective has no target network of its own");
    if (weights == CM_WEIGHTS_EMA && cmi_split(t)) CM_TRY(gather_average(t, block, &whole));
    json_t *config = cmi_trainer_config(t, weights == CM_WEIGHTS_EMA ? index : -1);
    cm_status status = config ? cmi_model_make(t->context, config, 0, whole ? whole : block, out)
                              : cmi_fail(CM_ERR_MEMORY, "out of memory: configuration");
    json_decref(config);
    cmi_free(t->context, whole);
    return status;
}

void cm_average_options_init(cm_average_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

cm_status cm_trainer_model(cm_trainer *t, int32_t weights, int32_t index, cm_model **out)
{
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_model: out is NULL");
    *out = NULL;
    if (!t) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_model: trainer is NULL");
    if (weights < CM_WEIGHTS_ONLINE || weights > CM_WEIGHTS_TARGET)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_model: weights is %d, expected 0..2", weights);
    CM_TRY(cmi_context_check_process(t->context));
    CM_TRY(cmi_call_begin_inside(&t->call, "trainer"));
    cm_status status = snapshot(t, weights, index, out);
    (void)cmi_call_end(&t->call);
    return status;
}

/* The work of the sum's weights grows with the cube of their number. */
enum { MOST_AVERAGES = 1000 };

static cm_status read_average(const cm_average_options *theirs, cm_average_options *o)
{
    CM_TRY(cm_options_read(o, sizeof *o, theirs, "cm_average_options"));
    CM_TRY(cmi_reserved_check("cm_average_options", o->reserved));
    if (!(o->std > 0 && o->std < 0.28))
        CM_FAIL(CM_ERR_ARGUMENT, "cm_average_reconstruct: std is %g, expected above 0 and below 0.28", o->std);
    if (!(o->images >= 0 && o->images < 1e18))
        CM_FAIL(CM_ERR_ARGUMENT, "cm_average_reconstruct: images is %g, expected 0 or more, below 1e18", o->images);
    return CM_OK;
}

cm_status cm_average_reconstruct(cm_context *context, const char *const *paths, size_t n,
                                 const cm_average_options *options, cm_model **out)
{
    cm_average_options o;
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_average_reconstruct: out is NULL");
    *out = NULL;
    if (!paths) CM_FAIL(CM_ERR_ARGUMENT, "cm_average_reconstruct: paths is NULL");
    if (n == 0) CM_FAIL(CM_ERR_ARGUMENT, "cm_average_reconstruct: n is 0: no files are given");
    if (n > MOST_AVERAGES)
        CM_FAIL(CM_ERR_LIMIT, "cm_average_reconstruct: %zu files are given, expected at most %d", n, MOST_AVERAGES);
    for (size_t i = 0; i < n; i++)
        if (!paths[i]) CM_FAIL(CM_ERR_ARGUMENT, "cm_average_reconstruct: paths[%zu] is NULL", i);
    if (!options) CM_FAIL(CM_ERR_ARGUMENT, "cm_average_reconstruct: options is NULL, and std has no default");
    CM_TRY(read_average(options, &o));
    return cmi_average_reconstruct(context, paths, n, &o, out);
}

cm_status cm_trainer_bytes(const cm_trainer *t, uint64_t *bytes)
{
    if (!t || !bytes) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_bytes: trainer or bytes is NULL");
    *bytes = cmi_trainer_size(t);
    return CM_OK;
}

cm_status cm_trainer_steps(const cm_trainer *t, uint64_t *steps)
{
    if (!t || !steps) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_steps: trainer or steps is NULL");
    *steps = (uint64_t)t->step;
    return CM_OK;
}

cm_status cm_trainer_save(cm_trainer *t, const char *run, int32_t keep)
{
    if (!t || !run || !*run) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_save: trainer or run is NULL or empty");
    if (keep < 0) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_save: keep is %d", keep);
    CM_TRY(cmi_context_check_process(t->context));
    CM_TRY(cmi_call_begin_inside(&t->call, "trainer"));
    cm_status status = cmi_state_save(t, run, keep);
    (void)cmi_call_end(&t->call);
    return status;
}

cm_status cm_trainer_resume(cm_trainer *t, const char *run, const cm_dataset *dataset, int32_t allow_changes)
{
    if (!t || !run || !*run) CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_resume: trainer or run is NULL or empty");
    if (allow_changes < 0 || allow_changes > CM_RESUME_MORE_STEPS)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_trainer_resume: allow_changes is %d, expected 0..2", allow_changes);
    CM_TRY(cmi_context_check_process(t->context));
    CM_TRY(cmi_call_begin(&t->call, "trainer"));
    cm_status status = dataset ? cmi_trainer_note_dataset(t, dataset) : CM_OK;
    if (status == CM_OK) status = cmi_state_resume(t, run, allow_changes);
    if (status != CM_OK) cmi_peers_give_up(&t->peers, status);
    (void)cmi_call_end(&t->call);
    return status;
}
