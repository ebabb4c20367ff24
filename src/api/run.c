/* run.c - the calls of run.h. */
#include "run/run.h"

#include <string.h>

#include <consistency/run.h>

#include "base/number.h"
#include "base/options.h"
#include "diffusion/model.h"
#include "run/result.h"
#include "train/peers.h"

/* --- options -------------------------------------------------------------------------------- */

cm_status cm_run_options_create(cm_context *context, cm_run_options **out)
{
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_options_create: out is NULL");
    *out = NULL;
    if (context) CM_TRY(cmi_context_check_process(context));
    return cmi_run_options_make(context, out);
}

void cm_run_options_free(cm_run_options *options)
{
    cmi_run_options_release(options);
}

cm_status cm_run_options_set(cm_run_options *options, const char *name, const char *value)
{
    if (!options || !name || !value) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_options_set: options, name or value is NULL");
    return cmi_run_options_put(options, name, value);
}

cm_status cm_run_options_set_number(cm_run_options *options, const char *name, double value)
{
    char text[CM_NUMBER_SIZE];
    return cm_run_options_set(options, name, cmi_number_text(value, text));
}

void cm_run_options_prefix(cm_run_options *options, const char *prefix)
{
    if (!options || !prefix) return;
    const size_t n = strlen(prefix) < sizeof options->prefix ? strlen(prefix) : sizeof options->prefix - 1;
    memcpy(options->prefix, prefix, n);
    options->prefix[n] = '\0';
}

cm_status cm_run_options_inputs(cm_run_options *options, cm_model *model, cm_model *teacher, cm_dataset *dataset)
{
    if (!options) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_options_inputs: options is NULL");
    if (options->used) CM_FAIL(CM_ERR_STATE, "a run was made of these options: make others for another run");
    if (model) cmi_model_retain(model);
    if (teacher) cmi_model_retain(teacher);
    cmi_model_release(options->model);
    cmi_model_release(options->teacher);
    if (options->owns_dataset) cm_dataset_free(options->dataset);
    options->model = model;
    options->teacher = teacher;
    options->dataset = dataset;
    options->owns_dataset = options->default_network = 0;
    options->model_is_given = model != NULL;
    options->teacher_is_given = teacher != NULL;
    return CM_OK;
}

cm_status cm_run_options_group(cm_run_options *options, const cm_group *group)
{
    cm_peers peers;
    if (!options) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_options_group: options is NULL");
    if (options->used) CM_FAIL(CM_ERR_STATE, "a run was made of these options: make others for another run");
    CM_TRY(cmi_peers_open(group, &peers));
    options->group = peers.group;
    return CM_OK;
}

/* Where the pictures decide the network, they are looked at. */
static int data_decides(const cm_run_options *o)
{
    return o->data && !o->network && !o->init && !o->teacher_path && !cmi_run_learner(o) &&
           !cmi_run_preset_network(o);
}

cm_status cm_run_options_json(cm_run_options *options, char *text, size_t size, size_t *length)
{
    cm_text t;
    if (!options || (!text && size)) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_options_json: options or text is NULL");
    if (!options->used) CM_TRY(cmi_run_options_verify(options));
    if (data_decides(options)) CM_TRY(cmi_run_open_inputs(options));
    cmi_text_begin(&t, options->context);
    cm_status status = cmi_run_config_write(options, &t);
    if (status == CM_OK && length) *length = t.length;
    if (status == CM_OK && size) {
        const size_t fits = t.length < size ? t.length : size - 1;
        memcpy(text, t.text, fits);
        text[fits] = '\0';
    }
    cmi_free(options->context, t.text);
    return status;
}

cm_status cm_run_options_read(cm_run_options *options, const char *json)
{
    if (!options || !json) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_options_read: options or json is NULL");
    if (options->used) CM_FAIL(CM_ERR_STATE, "a run was made of these options: make others for another run");
    return cmi_run_config_read(options, "config", json, strlen(json));
}

cm_status cm_run_options_load(cm_run_options *options, const char *directory)
{
    if (!options || !directory) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_options_load: options or directory is NULL");
    if (options->used) CM_FAIL(CM_ERR_STATE, "a run was made of these options: make others for another run");
    return cmi_run_config_load(options, directory);
}

cm_status cm_run_options_check(cm_run_options *options)
{
    if (!options) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_options_check: options is NULL");
    CM_TRY(cmi_context_check_process(options->context));
    CM_TRY(cmi_run_options_verify(options));
    CM_TRY(cmi_run_needs_data(options));
    return cmi_run_open_models(options);
}

/* --- the run ---------------------------------------------------------------------------------- */

cm_status cm_run_create(cm_run_options *options, const char *directory, cm_run **out)
{
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_create: out is NULL");
    *out = NULL;
    if (!options || !directory || !*directory)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_run_create: options is NULL, or directory is NULL or empty");
    CM_TRY(cmi_context_check_process(options->context));
    return cmi_run_open(options, directory, out);
}

void cm_run_free(cm_run *run)
{
    cmi_run_close(run);
}

void cm_run_info_init(cm_run_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

static cm_status describe(const cm_run *r, cm_run_info *i)
{
    const cm_run_options *o = r->options;
    cm_dataset_info d;
    cm_model_info m;
    uint64_t steps = 0;
    cm_dataset_info_init(&d, sizeof d);
    cm_model_info_init(&m, sizeof m);
    CM_TRY(cm_dataset_info_get(o->dataset, &d));
    CM_TRY(cm_model_info_get(cmi_run_learner(o), &m));
    if (r->trainer) CM_TRY(cm_trainer_steps(r->trainer, &steps));
    *i = (cm_run_info){.batch = o->n.batch,
                       .step = (int64_t)steps,
                       .steps = o->n.steps,
                       .images = d.images,
                       .bad = d.bad,
                       .parameters = m.parameters,
                       .pages = r->drawn,
                       .sample_share = 100 * r->pace.share,
                       .channels = d.channels,
                       .height = d.height,
                       .width = d.width,
                       .classes = d.classes,
                       .is_finished = r->trainer && (int64_t)steps >= o->n.steps,
                       .kind = d.kind,
                       .classes_from = d.classes_from,
                       .data = o->data ? o->data : "",
                       .metric = o->metric,
                       .evaluations = r->evaluations,
                       .metric_share = 100 * r->pace.metric_share,
                       .best_distance = r->best_distance,
                       .best_step = r->best_step};
    return CM_OK;
}

cm_status cm_run_info_get(const cm_run *run, cm_run_info *info)
{
    cm_run_info i;
    if (!run || !info) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_info_get: run or info is NULL");
    CM_TRY(describe(run, &i));
    return cm_info_write(info, &i, sizeof i, "cm_run_info");
}

void cm_run_needs_init(cm_run_needs *needs, size_t struct_size)
{
    cmi_options_zero(needs, struct_size);
}

void cm_run_report_init(cm_run_report *report, size_t struct_size)
{
    cmi_options_zero(report, struct_size);
}

cm_status cm_run_estimate(cm_run *run, int32_t parts, cm_run_needs *needs)
{
    cm_run_needs n;
    if (!run || !needs) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_estimate: run or needs is NULL");
    if (parts < 1 || parts > (CM_RUN_MEMORY | CM_RUN_TIME))
        CM_FAIL(CM_ERR_ARGUMENT, "cm_run_estimate: parts is %d, expected 1..3", parts);
    CM_TRY(cmi_context_check_process(run->context));
    CM_TRY(cmi_run_call(run));
    cm_status status = cmi_run_measure(run, parts, &n);
    cmi_run_call_end(run);
    if (status != CM_OK && !(status == CM_ERR_MEMORY && n.bytes)) return status;
    cm_status written = cm_info_write(needs, &n, sizeof n, "cm_run_needs");
    return written == CM_OK ? status : written;
}

cm_status cm_run_begin(cm_run *run)
{
    if (!run) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_begin: run is NULL");
    CM_TRY(cmi_context_check_process(run->context));
    CM_TRY(cmi_run_call(run));
    cm_status status = cmi_run_start(run);
    cmi_run_call_end(run);
    return status;
}

cm_status cm_run_execute(cm_run *run, int64_t until, cm_run_fn progress, void *user)
{
    if (!run) CM_FAIL(CM_ERR_ARGUMENT, "cm_run_execute: run is NULL");
    if (until < 1 || until > run->options->n.steps)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_run_execute: until is %lld, expected 1..%lld (the option steps)",
                (long long)until, (long long)run->options->n.steps);
    CM_TRY(cmi_context_check_process(run->context));
    CM_TRY(cmi_run_call(run));
    run->progress = progress;
    run->user = user;
    cm_status status = cmi_run_start(run);
    if (status == CM_OK) status = cmi_run_loop(run, until);
    cmi_run_call_end(run);
    return status;
}

void cm_run_stop(cm_run *run)
{
    if (run) cmi_run_ask(run, 1);
}

void cm_run_cancel(cm_run *run)
{
    if (run) cmi_run_ask(run, 0);
}

cm_trainer *cm_run_trainer(cm_run *run)
{
    return run ? run->trainer : NULL;
}

/* --- its directory -------------------------------------------------------------------------- */

cm_status cm_run_model_path(cm_context *context, const char *directory, char *path, size_t size)
{
    enum { PATH = 4096 };
    char found[PATH];
    cm_context *owner;
    if (path && size) path[0] = '\0';
    if (!directory || !*directory || !path)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_run_model_path: directory or path is NULL or empty");
    CM_TRY(cmi_context_retain(context, &owner));
    cm_status status = cmi_result_find(owner, directory, found, sizeof found);
    cm_context_free(owner);
    CM_TRY(status);
    if (strlen(found) >= size)
        CM_FAIL(CM_ERR_LIMIT, "cm_run_model_path: the path takes %zu bytes, not %zu", strlen(found) + 1, size);
    memcpy(path, found, strlen(found) + 1);
    return CM_OK;
}
