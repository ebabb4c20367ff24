/* run.c - a run is begun, takes its steps, writes what is due, and stops when it is asked to. */
#include "run/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "diffusion/model.h"
#include "io/directory.h"
#include "run/files.h"
#include "run/ranks.h"
#include "run/result.h"
#include "train/objective.h"
#include "train/trainer.h"

enum { PATH = 4096 };

/* --- the call ----------------------------------------------------------------------------- */

/* 0 is an idle run. */
enum { RUNNING = 1, STOP = 2, CANCEL = 4 };

cm_status cmi_run_call(cm_run *r)
{
    int idle = 0;
    if (atomic_compare_exchange_strong(&r->state, &idle, RUNNING)) return CM_OK;
    CM_FAIL(CM_ERR_STATE, "this run is already at work: one call at a time, and in its callback only those that its "
                          "header lists");
}

void cmi_run_call_end(cm_run *r)
{
    atomic_store(&r->state, 0);
}

/* The trainer gives up its step; what the run does between steps looks at the state. */
void cmi_run_ask(cm_run *r, int with_checkpoint)
{
    int state = atomic_load(&r->state);
    do
        if (!(state & RUNNING)) return;
    while (!atomic_compare_exchange_weak(&r->state, &state, state | (with_checkpoint ? STOP : CANCEL)));
    cm_trainer *trainer = r->trainer;
    if (trainer && !(with_checkpoint && cmi_run_is_split(r))) cm_trainer_cancel(trainer);
}

static int asked(cm_run *r)
{
    return (atomic_load(&r->state) & (STOP | CANCEL)) != 0;
}

/* --- making and ending ---------------------------------------------------------------------- */

/* One of several ranks that is not the first: it takes the steps and writes nothing. */
static int follows(const cm_run_options *o)
{
    return o->group.rank > 0;
}

static cm_status check(cm_run_options *o, const char *directory)
{
    if (o->used) CM_FAIL(CM_ERR_STATE, "a run was made of these options already");
    CM_TRY(cmi_run_options_verify(o));
    return o->resume || follows(o) ? CM_OK : cmi_run_check_directory(o->context, directory, o->prefix);
}

static cm_status fill(cm_run *r, const char *directory)
{
    cm_dataset_info d;
    cm_run_options *o = r->options;
    cm_dataset_info_init(&d, sizeof d);
    r->directory = cmi_strdup(r->context, directory);
    if (!r->directory) return CM_ERR_MEMORY;
    CM_TRY(cm_dataset_info_get(o->dataset, &d));
    if (o->data && strcmp(d.kind, "folder") == 0 && cmi_run_is_inside(directory, o->data))
        cmi_log(r->context, CM_LOG_WARNING,
                "the run '%s' stands inside the folder of its pictures: its pages of samples would become pictures",
                directory);
    const cm_train_settings settings = cmi_settings_of(o->train);
    r->images_an_epoch = d.images * (uint64_t)cmi_objective_views(&settings);
    r->pace = cmi_run_options_pace(o);
    if (follows(o)) r->pace.sample = r->pace.metric = 0;
    r->pages = (cm_pages){
        .share = r->pace.share, .rows = o->sample_rows, .columns = o->sample_columns, .threads = o->n.threads};
    r->log = -1;
    return o->metric && !follows(o) ? cmi_metric_open(o, cmi_run_learner(o), &r->metric) : CM_OK;
}

cm_status cmi_run_open(cm_run_options *o, const char *directory, cm_run **out)
{
    CM_TRY(check(o, directory));
    CM_TRY(cmi_run_open_inputs(o));
    CM_TRY(cmi_run_compare(o));
    cm_run *r = cmi_calloc(o->context, 1, sizeof *r);
    if (!r) return CM_ERR_MEMORY;
    r->context = o->context;
    r->options = o;
    atomic_init(&r->state, 0);
    atomic_init(&r->best_distance, 0);
    cm_status status = fill(r, directory);
    if (status == CM_OK) {
        o->references++;
        o->used = 1;
        *out = r;
        return CM_OK;
    }
    cmi_metric_close(r->metric);
    cmi_free(o->context, r->directory);
    cmi_free(o->context, r);
    return status;
}

void cmi_run_close(cm_run *r)
{
    if (!r) return;
    cm_run_options *options = r->options;
    if (r->log >= 0) (void)close(r->log);
    cm_trainer_free(r->trainer);
    cmi_metric_close(r->metric);
    cmi_free(r->context, r->directory);
    cmi_free(r->context, r);
    cmi_run_options_release(options);
}

/* --- the beginning -------------------------------------------------------------------------- */

static cm_status resume(cm_run *r, cm_trainer *trainer)
{
    const cm_run_options *o = r->options;
    char text[1500], allow[CM_RUN_SHOWN];
    const int32_t changes = o->allow_changes ? CM_RESUME_ANY : o->more_steps ? CM_RESUME_MORE_STEPS : CM_RESUME_SAME;
    cm_status status = cm_trainer_resume(trainer, r->directory, o->dataset, changes);
    if (status != CM_ERR_ARGUMENT || o->allow_changes) return status;
    (void)snprintf(text, sizeof text, "%s", cm_last_message());
    CM_FAIL(status, "%s; leave such options away to continue the run as it is, or give %s", text,
            cmi_run_option_shown(o, "allow_changes", allow));
}

static cm_status make_directories(const cm_run *r)
{
    char path[PATH];
    CM_TRY(cmi_directory_make(r->directory));
    (void)snprintf(path, sizeof path, "%.4000s/samples", r->directory);
    return r->pace.sample ? cmi_directory_make(path) : CM_OK;
}

static cm_status write_config(const cm_run *r)
{
    cm_text text;
    cmi_text_begin(&text, r->context);
    cm_status status = cmi_run_config_write(r->options, &text);
    if (status == CM_OK) status = cmi_run_write(r->context, r->directory, "config.json", text.text, text.length);
    cmi_free(r->context, text.text);
    return status;
}

/* Where the evaluations of the run that is continued have come to. */
static cm_status find_best(cm_run *r)
{
    char text[CM_METRIC_TEXT];
    cm_run_best best;
    if (!r->metric) return CM_OK;
    cmi_metric_text(r->metric, text);
    CM_TRY(cmi_best_read(r->context, r->directory, text, &best));
    r->best_distance = best.distance;
    r->best_step = best.step;
    return CM_OK;
}

/* Saving step 0, or verifying the checkpoint to go on from, takes the lock before anything else is written. */
static cm_status settle(cm_run *r, cm_trainer *trainer)
{
    const cm_run_options *o = r->options;
    uint64_t steps;
    if (o->resume) CM_TRY(resume(r, trainer));
    else if (!follows(o)) CM_TRY(cmi_run_check_directory(r->context, r->directory, o->prefix));
    if (!follows(o)) CM_TRY(make_directories(r));
    if (!o->resume) CM_TRY(cm_trainer_save(trainer, r->directory, r->pace.keep));
    CM_TRY(cm_trainer_steps(trainer, &steps));
    r->last.step = (int64_t)steps;
    if (follows(o)) return CM_OK;
    if (o->resume && r->last.step >= o->n.steps) return CM_OK; /* finished: nothing is touched */
    CM_TRY(cmi_run_tidy(r->context, r->directory));
    CM_TRY(write_config(r));
    CM_TRY(find_best(r));
    return cmi_run_log_open(r->context, r->directory, r->last.step, o->metric, &r->log, &r->evaluated);
}

static int32_t stop_work(void *user, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    return asked(user);
}

cm_status cmi_run_start(cm_run *r)
{
    const cm_run_options *o = r->options;
    const cm_train_inputs inputs = cmi_run_inputs(o);
    cm_trainer *trainer;
    if (r->trainer) return CM_OK;
    if (r->metric) CM_TRY(cmi_metric_prepare(r->metric, stop_work, r));
    CM_TRY(cm_trainer_create(&inputs, o->train, &trainer));
    cm_status status = settle(r, trainer);
    if (status == CM_OK) r->trainer = trainer;
    else cm_trainer_free(trainer);
    return status;
}

/* --- what is due after a step ------------------------------------------------------------------ */

static double images_per_second(const cm_run *r)
{
    const double spent = cmi_run_seconds() - r->began;
    return spent > 0 ? (double)(r->last.step - r->first_step) * r->options->n.batch / spent : 0;
}

static double seconds_left(const cm_run *r, double rate)
{
    const cm_run_numbers *o = &r->options->n;
    return rate > 0 ? (double)(o->steps - r->last.step) * o->batch / rate : 0;
}

/* What stops the run is kept as it was said, whatever is called on the way out. */
static void fail(cm_run *r, cm_status status)
{
    if (status == CM_OK || r->failed != CM_OK) return;
    r->failed = status;
    (void)snprintf(r->message, sizeof r->message, "%s", cm_last_message());
}

static void tell(cm_run *r, int32_t event, const char *path)
{
    const cm_train_report *t = &r->last;
    cm_run_report report = {sizeof report,
                            event,
                            t->step,
                            r->options->n.steps,
                            t->images,
                            t->loss,
                            t->grad_norm,
                            t->lr,
                            images_per_second(r),
                            0,
                            path,
                            t,
                            r->options->metric,
                            r->distance,
                            r->best_distance,
                            r->best_step};
    report.seconds_left = seconds_left(r, report.images_per_second);
    if (r->progress && r->progress(r->user, &report)) cmi_run_ask(r, 1);
}

static void add_to_log(cm_run *r)
{
    const cm_train_report *t = &r->last;
    const cm_run_line line = {.report = t,
                              .epoch = (double)t->images / (double)r->images_an_epoch,
                              .step_rate = t->seconds > 0 ? r->options->n.batch / t->seconds : 0,
                              .seconds_left = seconds_left(r, images_per_second(r))};
    fail(r, cmi_run_log_add(r->context, r->log, &line));
}

static cm_status save(cm_run *r)
{
    char path[PATH];
    if (!follows(r->options)) {
        CM_TRY(cmi_run_log_flush(r->log)); /* a checkpoint's steps are in the log, whatever becomes of the power */
        CM_TRY(cmi_run_call_ranks(r, CM_RANKS_SAVE));
    }
    CM_TRY(cm_trainer_save(r->trainer, r->directory, r->pace.keep));
    if (follows(r->options)) return CM_OK;
    r->saved_step = r->last.step;
    r->saved_at = cmi_run_seconds();
    (void)snprintf(path, sizeof path, "%.4000s/checkpoints/step-%09lld", r->directory, (long long)r->last.step);
    tell(r, CM_RUN_CHECKPOINT, path);
    return CM_OK;
}

/* Seconds of a network evaluation of one image, by the last step. */
static double evaluation_seconds(const cm_run *r)
{
    return r->last.seconds / r->options->n.batch / 2;
}

/* A page, where there is time for one. */
static cm_status sample(cm_run *r)
{
    char path[PATH];
    cm_page_form form;
    cm_model *model;
    CM_TRY(cmi_run_page_form(r, &form));
    const int32_t rows = cmi_pages_rows(&r->pages, &form, cmi_run_seconds() - r->began, evaluation_seconds(r));
    if (!rows) return CM_OK;
    (void)snprintf(path, sizeof path, "%.4000s/samples/step-%09lld.png", r->directory, (long long)r->last.step);
    CM_TRY(cmi_run_snapshot(r, &model));
    cm_status status = cmi_pages_draw(&r->pages, model, rows, stop_work, r, path);
    cmi_model_release(model);
    if (status == CM_ERR_CANCELLED && asked(r)) return CM_OK;
    CM_TRY(status);
    r->drawn++;
    tell(r, CM_RUN_PAGE, path);
    return CM_OK;
}

/* The weights whose distance is the least so far, then the line, so that no line tells of a file that is not there.
 */
static cm_status note(cm_run *r, cm_model *model, double distance, int *is_best)
{
    char text[CM_METRIC_TEXT];
    const cm_run_best best = {distance, r->last.step};
    *is_best = isfinite(distance) && (!r->best_step || distance < r->best_distance);
    cmi_metric_text(r->metric, text);
    if (*is_best) {
        CM_TRY(cmi_best_write(model, r->directory, text, &best));
        r->best_distance = distance;
        r->best_step = best.step;
    }
    r->distance = distance;
    r->evaluated = r->last.step;
    r->evaluations++;
    const cm_run_metric_line line = {.metric = r->options->metric,
                                     .step = r->last.step,
                                     .samples = cmi_metric_samples(r->metric),
                                     .best_step = r->best_step,
                                     .distance = distance,
                                     .best = r->best_step ? (double)r->best_distance : (double)NAN,
                                     .seconds = cmi_metric_last_seconds(r->metric)};
    return cmi_run_log_add_metric(r->context, r->log, &line);
}

static cm_status evaluate(cm_run *r)
{
    char path[PATH];
    cm_model *model;
    double distance;
    int is_best = 0;
    if (!cmi_metric_fits(r->metric, r->pace.metric_share, cmi_run_seconds() - r->began, evaluation_seconds(r)))
        return CM_OK;
    CM_TRY(cmi_run_snapshot(r, &model));
    cm_status status = cmi_metric_of(r->metric, model, stop_work, r, &distance);
    if (status == CM_OK) status = note(r, model, distance, &is_best);
    cmi_model_release(model);
    if (status == CM_ERR_CANCELLED && asked(r)) return CM_OK;
    CM_TRY(status);
    (void)snprintf(path, sizeof path, "%.4000s/best.safetensors", r->directory);
    tell(r, CM_RUN_METRIC, is_best ? path : NULL);
    return CM_OK;
}

static int checkpoint_is_due(const cm_run *r)
{
    const double pause = r->options->checkpoint_seconds;
    if (r->last.step >= r->options->n.steps) return 0; /* the end writes it */
    return r->last.step % r->pace.checkpoint == 0 || (pause > 0 && cmi_run_seconds() - r->saved_at >= pause);
}

static int is_due(const cm_run *r, int64_t every)
{
    return every && (r->last.step % every == 0 || r->last.step == r->options->n.steps);
}

/* Of all ranks of a run that is split, after a step: what is due is done, and all stop where one is to. */
static cm_status meet(cm_run *r)
{
    int all;
    CM_TRY(cmi_run_attend(r));
    CM_TRY(cmi_run_agree(r, asked(r), &all));
    if (all) cmi_run_ask(r, 1);
    return CM_OK;
}

/* A stop that was asked for comes before everything else that is due. */
static int32_t after_step(void *user, const cm_train_report *report)
{
    cm_run *r = user;
    r->last = *report;
    if (follows(r->options)) {
        tell(r, CM_RUN_STEP, NULL);
        fail(r, meet(r));
        return asked(r) || r->failed != CM_OK;
    }
    if (is_due(r, r->pace.log)) add_to_log(r);
    if (r->failed == CM_OK) tell(r, CM_RUN_STEP, NULL);
    if (r->failed == CM_OK && !asked(r) && is_due(r, r->pace.metric)) fail(r, evaluate(r));
    if (r->failed == CM_OK && !asked(r) && is_due(r, r->pace.sample)) fail(r, sample(r));
    if (r->failed == CM_OK && !asked(r) && checkpoint_is_due(r)) fail(r, save(r));
    fail(r, meet(r));
    return asked(r) || r->failed != CM_OK;
}

/* --- the steps ------------------------------------------------------------------------------------ */

static cm_status finish(cm_run *r, cm_status status)
{
    if (r->failed != CM_OK) {
        cmi_message_set(r->message);
        return r->failed;
    }
    if (status == CM_ERR_NUMERIC) {
        char text[1500];
        (void)snprintf(text, sizeof text, "%s", cm_last_message());
        CM_FAIL(status, "%s; the last good checkpoint is in %s/checkpoints (see LATEST)", text, r->directory);
    }
    if (status != CM_OK && status != CM_ERR_CANCELLED) return status;
    const int stepped = r->last.step > r->first_step || !r->options->resume;
    const int cancelled = (atomic_load(&r->state) & CANCEL) != 0 || cmi_run_is_parted(r);
    const int saves = stepped && !cancelled && r->saved_step != r->last.step;
    if (saves && !(follows(r->options) && cmi_run_is_split(r))) CM_TRY(save(r));
    const int ends = status == CM_OK && r->last.step >= r->options->n.steps;
    if (ends && !follows(r->options)) CM_TRY(cmi_result_write(r));
    if (!cancelled) CM_TRY(cmi_run_attend(r));
    if (status == CM_ERR_CANCELLED) CM_FAIL(status, "the run was stopped after step %lld", (long long)r->last.step);
    return CM_OK;
}

cm_status cmi_run_loop(cm_run *r, int64_t until)
{
    uint64_t steps;
    CM_TRY(cm_trainer_steps(r->trainer, &steps)); /* the caller may have taken some with the trainer */
    r->failed = CM_OK;
    r->first_step = r->last.step = (int64_t)steps;
    r->last.images = r->trainer->images;
    r->saved_step = -1;
    r->began = r->saved_at = cmi_run_seconds();
    r->pages.spent = 0;
    if (r->metric) cmi_metric_clock(r->metric);
    int written = 1;
    if (r->last.step >= r->options->n.steps && !follows(r->options)) CM_TRY(cmi_result_look(r, &written));
    if (!written) fail(r, cmi_result_write(r)); /* killed before it */
    else if (r->last.step < until && !asked(r) && r->evaluated < r->last.step && r->last.step &&
             is_due(r, r->pace.metric))
        fail(r, evaluate(r)); /* stopped in it */
    fail(r, meet(r));
    if (r->failed != CM_OK) return finish(r, CM_ERR_CANCELLED);
    if (r->last.step >= until) return CM_OK;
    if (asked(r)) return finish(r, CM_ERR_CANCELLED);
    return finish(r, cm_trainer_run(r->trainer, r->options->dataset, until, after_step, r));
}
