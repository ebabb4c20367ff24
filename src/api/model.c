/* model.c - the calls of model.h: arguments, then the work of diffusion/model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <consistency/model.h>

#include "base/options.h"
#include "base/pool.h"
#include "diffusion/classes.h"
#include "diffusion/model.h"
#include "io/json_tree.h"

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

void cm_likelihood_options_init(cm_likelihood_options *options, size_t struct_size)
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
