/* model.c - the calls of model.h: arguments, then the work of diffusion/model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <consistency/model.h>

#include "base/options.h"
#include "base/pool.h"
#include "diffusion/classes.h"
#include "diffusion/condition.h"
#include "diffusion/denoiser.h"
#include "io/json_tree.h"
#include "tensor/finite.h"

void cm_load_options_init(cm_load_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_save_options_init(cm_save_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_condition_init(cm_condition *condition, size_t struct_size)
{
    cmi_options_zero(condition, struct_size);
}

void cm_denoise_options_init(cm_denoise_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_model_info_init(cm_model_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

void cm_reader_init(cm_reader *reader, size_t struct_size)
{
    cmi_options_zero(reader, struct_size);
}

/* --- loading ------------------------------------------------------------------------------ */

static cm_status load(cm_context *context, const cm_model_source *source, const cm_load_options *options,
                      cm_model **out)
{
    cm_load_options o = CM_LOAD_OPTIONS_INIT;
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_load_options"));
    CM_TRY(cmi_reserved_check("cm_load_options", o.reserved));
    if (o.allow_nonfinite != CM_NONFINITE_REFUSE && o.allow_nonfinite != CM_NONFINITE_ALLOW)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_load_options: allow_nonfinite is %d, expected 0 or 1", o.allow_nonfinite);
    if (o.copy != CM_COPY_NO && o.copy != CM_COPY_YES)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_load_options: copy is %d, expected 0 or 1", o.copy);
    return cmi_model_open(context, source, &o, out);
}

cm_status cm_model_load(cm_context *context, const char *path, const cm_load_options *options, cm_model **out)
{
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_load: out is NULL");
    *out = NULL;
    if (!path || !*path) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_load: path is NULL or empty");
    return load(context, &(cm_model_source){path, NULL, NULL, 0}, options, out);
}

cm_status cm_model_load_memory(cm_context *context, const void *bytes, size_t size, const cm_load_options *options,
                               cm_model **out)
{
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_load_memory: out is NULL");
    *out = NULL;
    if (!bytes || !size) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_load_memory: bytes is NULL or size is 0");
    return load(context, &(cm_model_source){NULL, NULL, bytes, size}, options, out);
}

cm_status cm_model_load_stream(cm_context *context, const cm_reader *reader, const cm_load_options *options,
                               cm_model **out)
{
    cm_reader r = CM_READER_INIT;
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_load_stream: out is NULL");
    *out = NULL;
    if (!reader) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_load_stream: reader is NULL");
    CM_TRY(cm_options_read(&r, sizeof r, reader, "cm_reader"));
    CM_TRY(cmi_reserved_check("cm_reader", r.reserved));
    if (!r.read || !r.size || r.size > SIZE_MAX / 4)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_reader: read is NULL, or size is %llu, expected 1..%zu",
                (unsigned long long)r.size, SIZE_MAX / 4);
    return load(context, &(cm_model_source){NULL, &r, NULL, 0}, options, out);
}

/* --- models without a file ------------------------------------------------------------ */

cm_status cm_model_create(cm_context *context, const char *config_json, uint64_t seed, cm_model **out)
{
    json_t *config;
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_create: out is NULL");
    *out = NULL;
    if (!config_json) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_create: config_json is NULL");
    CM_TRY(cmi_json_tree("config_json", config_json, strlen(config_json), &config));
    cm_status status = cmi_model_make(context, config, seed, NULL, out);
    json_decref(config);
    return status;
}

cm_status cm_model_count(cm_context *context, const char *config_json, uint64_t *parameters)
{
    json_t *config;
    if (!config_json || !parameters) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_count: config_json or parameters is NULL");
    *parameters = 0;
    CM_TRY(cmi_json_tree("config_json", config_json, strlen(config_json), &config));
    cm_status status = cmi_model_parameters(context, config, parameters);
    json_decref(config);
    return status;
}

void cm_model_free(cm_model *model)
{
    cmi_model_release(model);
}

cm_status cm_model_save(cm_model *model, const char *path, const cm_save_options *options)
{
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    if (!model || !path || !*path) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_save: model or path is NULL or empty");
    CM_TRY(cmi_context_check_process(model->context));
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_save_options"));
    if (o.overwrite != CM_OVERWRITE_NO && o.overwrite != CM_OVERWRITE_YES)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_save_options: overwrite is %d, expected 0 or 1", o.overwrite);
    return cmi_model_write(model, path, &o);
}

cm_status cm_model_info_get(const cm_model *m, cm_model_info *info)
{
    cm_model_info i;
    if (!m || !info) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_info_get: model or info is NULL");
    memset(&i, 0, sizeof i);
    i.channels = m->channels;
    i.height = m->height;
    i.width = m->width;
    i.out_channels = m->out_channels;
    i.num_classes = m->net.num_classes;
    i.needs_label = cmi_model_needs_label(m);
    i.is_consistency = cmi_precond_is_consistency(&m->precond);
    i.sigma_min = m->precond.sigma_min;
    i.sigma_max = m->precond.sigma_max;
    i.sigma_data = m->precond.sigma_data;
    for (int k = 0; k < m->graph->n_params; k++) {
        const cm_tensor *t = cmi_checkpoint_tensor(&m->sources[k]);
        if (!t || m->graph->params[k].constant) continue;
        i.parameters += t->count;
        i.tensors++;
        i.weight_bytes += t->bytes;
    }
    i.network = m->net.family->name;
    i.precond = cmi_precond_name(&m->precond);
    i.config_json = m->config_text;
    return cm_info_write(info, &i, sizeof i, "cm_model_info");
}

/* --- classes ------------------------------------------------------------------------------ */

static const json_t *classes_of(const cm_model *model)
{
    return json_object_get(model->file.config, "classes");
}

const char *cm_model_class_name(const cm_model *model, int32_t label)
{
    return model ? cmi_classes_name(classes_of(model), label) : NULL;
}

/* Whether text is a whole number, whatever classes are called; what 64 bits do not hold
 * is as far out of range. */
static int read_number(const char *text, long long *number)
{
    const char *digits = text + (*text == '-');
    size_t n = strspn(digits, "0123456789");
    *number = n ? strtoll(text, NULL, 10) : 0;
    return n > 0 && !digits[n];
}

static cm_status take_number(const cm_model *model, const char *text, long long number, int32_t named, int32_t *label)
{
    char other[80] = "";
    int32_t low = cmi_model_needs_label(model) ? 0 : -1, high = model->net.num_classes - 1;
    if (named >= 0 && named != number)
        (void)snprintf(other, sizeof other, " (the class that is called %.20s has number %d)", text, named);
    if (number < low || number > high)
        CM_FAIL(CM_ERR_ARGUMENT, "no class %.20s: the model knows %d..%d%s", text, low, high, other);
    if (*other) cmi_log(model->context, CM_LOG_WARNING, "label %.20s is taken for the number%s", text, other);
    *label = (int32_t)number;
    return CM_OK;
}

cm_status cm_model_find_class(const cm_model *model, const char *text, int32_t *label)
{
    long long number;
    if (!model || !text || !label) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_find_class: model, text or label is NULL");
    json_t *name = cmi_class_json(model->context, text);
    if (!name) CM_FAIL(CM_ERR_MEMORY, "out of memory: class name");
    int32_t named = cmi_classes_index(classes_of(model), json_string_value(name));
    cm_status status = CM_OK;
    if (read_number(text, &number)) status = take_number(model, text, number, named, label);
    else if (named >= 0) *label = named;
    else
        status =
            cmi_classes_unknown(model->context, classes_of(model), model->net.num_classes, json_string_value(name));
    json_decref(name);
    return status;
}

/* --- tensors ------------------------------------------------------------------------------ */

size_t cm_model_param_count(const cm_model *model)
{
    cm_model_info info;
    cm_model_info_init(&info, sizeof info);
    return model && cm_model_info_get(model, &info) == CM_OK ? (size_t)info.tensors : 0;
}

/* The index-th parameter that is not a constant buffer. */
static cm_status find_param(const cm_model *m, size_t index, int *found)
{
    size_t n = 0;
    for (int i = 0; m && i < m->graph->n_params; i++) {
        if (m->graph->params[i].constant) continue;
        if (n++ == index) {
            *found = i;
            return CM_OK;
        }
    }
    CM_FAIL(CM_ERR_ARGUMENT, "tensor index %zu: the model has %zu", index, n);
}

cm_status cm_model_param_info(const cm_model *model, size_t index, const char **name, int32_t *rank, int64_t shape[8],
                              int32_t *dtype)
{
    int i = 0;
    if (!model) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_param_info: model is NULL");
    CM_TRY(find_param(model, index, &i));
    const cm_param_desc *p = &model->graph->params[i];
    cm_tensor_type type = cmi_checkpoint_tensor(&model->sources[i])->type;
    if (name) *name = p->name;
    if (rank) *rank = p->rank;
    for (int k = 0; shape && k < 8; k++) shape[k] = k < p->rank ? p->shape[k] : 0;
    if (dtype) *dtype = type == CM_TENSOR_BF16 ? CM_BF16 : type == CM_TENSOR_F16 ? CM_F16 : CM_F32;
    return CM_OK;
}

cm_status cm_model_param_read(const cm_model *model, size_t index, size_t count, float *values)
{
    int i = 0;
    if (!model || !values) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_param_read: model or values is NULL");
    CM_TRY(find_param(model, index, &i));
    const cm_tensor *t = cmi_checkpoint_tensor(&model->sources[i]);
    if (count != t->count)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_model_param_read: tensor '%s' has %zu values, asked for %zu", t->name, t->count,
                count);
    return cmi_tensor_read(t, values);
}

/* --- one evaluation -------------------------------------------------------------------------- */

static cm_status check_sigmas(const cm_model *m, size_t n, const float *sigma)
{
    int zero = m->precond.kind->identity_at_0, any = m->precond.kind->raw;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(sigma[i]) || (!any && !(sigma[i] > 0) && !(zero && sigma[i] == 0)))
            CM_FAIL(CM_ERR_ARGUMENT, "sigma[%zu] is %g, expected a finite number%s", i, (double)sigma[i],
                    any    ? ""
                    : zero ? " >= 0"
                           : " > 0");
    for (size_t i = 0; !any && i < n; i++)
        if ((double)sigma[i] > m->precond.sigma_max * (1 + 1e-6))
            CM_FAIL(CM_ERR_ARGUMENT, "sigma[%zu] is %g; this model's noise levels end at %g", i, (double)sigma[i],
                    m->precond.sigma_max);
    return CM_OK;
}

static size_t input_size(const cm_model *m)
{
    return (size_t)m->height * (size_t)m->width * (size_t)m->channels;
}

static cm_status check_images(const cm_model *m, size_t n, const float *x)
{
    size_t size = input_size(m);
    CM_TRY(cmi_check_array("cm_model_denoise: x", n, size * sizeof *x));
    CM_TRY(cmi_check_array("cm_model_denoise: out", n,
                           (size_t)m->height * (size_t)m->width * (size_t)m->out_channels * sizeof *x));
    size_t i = cmi_first_nonfinite_f32(n * size, x);
    if (i < n * size)
        CM_FAIL(CM_ERR_NUMERIC, "x: image %zu is %g at value %zu, expected finite numbers", i / size, (double)x[i],
                i % size);
    return CM_OK;
}

/* `d` holds count images of `size` values; the first is number `first` of the call. */
static cm_status check_outputs(size_t first, size_t count, size_t size, const double *d, const float *sigma)
{
    size_t i = cmi_first_nonfinite(count * size, d);
    if (i == count * size) return CM_OK;
    CM_FAIL(
        CM_ERR_NUMERIC,
        "image %zu at sigma %g: the network gave %g at value %zu, expected finite numbers (too large weights or x)",
        first + i / size, (double)sigma[first + i / size], d[i], i % size);
}

typedef struct {
    cm_model *model;
    const cm_denoise_options *o;
    size_t n;
    const float *x, *sigma;
    const int32_t *labels;
    float *out;
} job;

static cm_status report(const job *j, size_t done)
{
    if (j->o->progress && j->o->progress(j->o->progress_user, done, j->n))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the progress callback");
    return CM_OK;
}

/* Takes the model's turn; who can stop is asked while it waits for another thread's. */
static cm_status take_turn(const job *j, size_t done)
{
    enum { NANOSECONDS = 100000000 };
    for (;;) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (until.tv_nsec + NANOSECONDS) / 1000000000;
        until.tv_nsec = (until.tv_nsec + NANOSECONDS) % 1000000000;
        if (pthread_mutex_timedlock(&j->model->lock, &until) == 0) return CM_OK;
        CM_TRY(report(j, done));
    }
}

static cm_status evaluate(cm_model *m, const cm_evaluation *e)
{
    const int threads = cmi_context_threads(m->context);
    if (!m->denoiser) CM_TRY(cmi_denoiser_create(m, threads, (size_t)threads, (cm_arithmetic){0, 0}, &m->denoiser));
    return cmi_denoiser_run(m->denoiser, e);
}

/* Images first .. first + count - 1 through double buffers, as the samplers hold their state. */
static cm_status denoise_chunk(const job *j, size_t first, size_t count, double *x, double *d, double *sigma)
{
    cm_model *m = j->model;
    size_t in = input_size(m), to = (size_t)m->height * (size_t)m->width * (size_t)m->out_channels;
    const cm_evaluation e = {count, x, sigma, 1, j->labels ? j->labels + first : NULL, NULL, d, NULL, NULL};
    for (size_t i = 0; i < count * in; i++) x[i] = (double)j->x[first * in + i];
    for (size_t i = 0; i < count; i++) sigma[i] = (double)j->sigma[first + i];
    CM_TRY(take_turn(j, first));
    cm_status status = evaluate(m, &e);
    (void)pthread_mutex_unlock(&m->lock);
    CM_TRY(status);
    CM_TRY(check_outputs(first, count, to, d, j->sigma));
    for (size_t i = 0; i < count * to; i++) j->out[first * to + i] = (float)d[i];
    return report(j, first + count);
}

static cm_status denoise(const job *j)
{
    const cm_model *m = j->model;
    size_t in = input_size(m), to = (size_t)m->height * (size_t)m->width * (size_t)m->out_channels;
    size_t chunk = (size_t)cmi_context_threads(m->context);
    double *buffer = cmi_malloc(m->context, chunk * (in + to + 1), sizeof *buffer);
    if (!buffer) return CM_ERR_MEMORY;
    double *d = buffer + chunk * in, *sigma = d + chunk * to;
    cm_status status = CM_OK;
    for (size_t first = 0; first < j->n && status == CM_OK; first += chunk)
        status = denoise_chunk(j, first, j->n - first < chunk ? j->n - first : chunk, buffer, d, sigma);
    cmi_free(m->context, buffer);
    return status;
}

cm_status cm_model_denoise_with(cm_model *model, const cm_denoise_options *options, size_t n, const float *x,
                                const float *sigma, float *out)
{
    cm_denoise_options o;
    cm_condition condition;
    if (!model || !x || !sigma || !out) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_denoise: model, x, sigma or out is NULL");
    if (n == 0) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_denoise: n is 0");
    CM_TRY(cmi_context_check_process(model->context));
    memset(&o, 0, sizeof o);
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_denoise_options"));
    CM_TRY(cmi_reserved_check("cm_denoise_options", o.reserved));
    CM_TRY(cmi_condition_read(o.condition, &condition));
    CM_TRY(check_images(model, n, x));
    CM_TRY(check_sigmas(model, n, sigma));
    CM_TRY(cmi_model_check_labels(model, condition.labels, n));
    const job j = {model, &o, n, x, sigma, condition.labels, out};
    return denoise(&j);
}

cm_status cm_model_denoise(cm_model *model, size_t n, const float *x, const float *sigma, const int32_t *labels,
                           float *out)
{
    cm_condition condition = CM_CONDITION_INIT;
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    condition.labels = labels;
    o.condition = &condition;
    return cm_model_denoise_with(model, &o, n, x, sigma, out);
}
