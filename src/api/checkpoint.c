/* checkpoint.c - the calls of checkpoint.h: arguments, then the work of diffusion/inspect. */
#include <string.h>

#include <consistency/checkpoint.h>

#include "base/options.h"
#include "diffusion/inspect.h"
#include "nets/nearest.h"

void cm_checkpoint_options_init(cm_checkpoint_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_checkpoint_info_init(cm_checkpoint_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

void cm_checkpoint_check_options_init(cm_checkpoint_check_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_checkpoint_report_init(cm_checkpoint_report *report, size_t struct_size)
{
    cmi_options_zero(report, struct_size);
}

/* --- opening ------------------------------------------------------------------------------ */

static cm_status open_source(cm_context *context, const cm_model_source *source, const cm_checkpoint_options *options,
                             cm_checkpoint **out)
{
    cm_checkpoint_options o = CM_CHECKPOINT_OPTIONS_INIT;
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_checkpoint_options"));
    CM_TRY(cmi_reserved_check("cm_checkpoint_options", o.reserved));
    return cmi_inspect_open(context, source, &o, out);
}

cm_status cm_checkpoint_open(cm_context *context, const char *path, const cm_checkpoint_options *options,
                             cm_checkpoint **out)
{
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_open: out is NULL");
    *out = NULL;
    if (!path || !*path) CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_open: path is NULL or empty");
    return open_source(context, &(cm_model_source){path, NULL, NULL, 0}, options, out);
}

cm_status cm_checkpoint_open_memory(cm_context *context, const void *bytes, size_t size,
                                    const cm_checkpoint_options *options, cm_checkpoint **out)
{
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_open_memory: out is NULL");
    *out = NULL;
    if (!bytes || !size) CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_open_memory: bytes is NULL or size is 0");
    return open_source(context, &(cm_model_source){NULL, NULL, bytes, size}, options, out);
}

void cm_checkpoint_free(cm_checkpoint *checkpoint)
{
    cmi_inspect_close(checkpoint);
}

/* --- what it is --------------------------------------------------------------------------- */

static size_t note_count(const cm_checkpoint *c)
{
    const size_t n = cmi_inspect_tensors(c)->metadata_count;
    return n - (c->weights_entry < n);
}

cm_status cm_checkpoint_info_get(const cm_checkpoint *c, cm_checkpoint_info *info)
{
    cm_checkpoint_info i = CM_CHECKPOINT_INFO_INIT;
    if (!c || !info) CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_info_get: checkpoint or info is NULL");
    const cm_tensors *t = cmi_inspect_tensors(c);
    i.kind = (int32_t)c->kind;
    i.bytes = t->input.size;
    i.tensors = t->count;
    for (size_t k = 0; k < t->count; k++) {
        i.values += t->tensors[k].count;
        i.tensor_bytes += t->tensors[k].bytes;
    }
    i.sets = t->sets_count;
    i.notes = note_count(c);
    i.format = t->format->name;
    i.about = c->about;
    i.weights = c->weights;
    if (c->kind == CM_CHECKPOINT_MODEL) {
        i.network = c->model->net.family->name;
        i.precond = cmi_precond_name(&c->model->precond);
    }
    i.problem = c->problem;
    return cm_info_write(info, &i, sizeof i, "cm_checkpoint_info");
}

const cm_model *cm_checkpoint_model(const cm_checkpoint *checkpoint)
{
    return checkpoint && checkpoint->kind == CM_CHECKPOINT_MODEL ? checkpoint->model : NULL;
}

const char *cm_checkpoint_set_name(const cm_checkpoint *checkpoint, size_t index)
{
    return checkpoint && index < cmi_inspect_tensors(checkpoint)->sets_count
               ? cmi_inspect_tensors(checkpoint)->sets[index]
               : NULL;
}

cm_status cm_checkpoint_note(const cm_checkpoint *checkpoint, size_t index, const char **key, const char **value)
{
    if (!checkpoint || !key || !value)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_note: checkpoint, key or value is NULL");
    if (index >= note_count(checkpoint))
        CM_FAIL(CM_ERR_ARGUMENT, "note index %zu: the checkpoint has %zu", index, note_count(checkpoint));
    const cm_tensor_note *note =
        &cmi_inspect_tensors(checkpoint)->metadata[index + (index >= checkpoint->weights_entry)];
    *key = note->key;
    *value = note->value;
    return CM_OK;
}

/* --- tensors ------------------------------------------------------------------------------ */

static cm_status find_tensor(const cm_checkpoint *c, const char *call, size_t index, const cm_tensor **out)
{
    if (!c) CM_FAIL(CM_ERR_ARGUMENT, "%s: checkpoint is NULL", call);
    const cm_tensors *t = cmi_inspect_tensors(c);
    if (index >= t->count)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: tensor index %zu: the checkpoint has %zu", call, index, t->count);
    *out = &t->tensors[index];
    return CM_OK;
}

static int32_t dtype_of(cm_tensor_type type)
{
    static const int32_t types[] = {CM_BOOL, CM_U8,  CM_I8,  CM_U16, CM_I16, CM_F16, CM_BF16,
                                    CM_U32,  CM_I32, CM_F32, CM_U64, CM_I64, CM_F64};
    return types[type];
}

cm_status cm_checkpoint_tensor(const cm_checkpoint *checkpoint, size_t index, const char **name, int32_t *rank,
                               int64_t shape[8], int32_t *dtype)
{
    const cm_tensor *t = NULL;
    CM_TRY(find_tensor(checkpoint, "cm_checkpoint_tensor", index, &t));
    if (name) *name = t->name;
    if (rank) *rank = t->rank;
    for (int k = 0; shape && k < CM_TENSOR_RANK; k++) shape[k] = k < t->rank ? t->shape[k] : 0;
    if (dtype) *dtype = dtype_of(t->type);
    return CM_OK;
}

static const char *name_at(const void *tensors, size_t i)
{
    return ((const cm_tensors *)tensors)->tensors[i].name;
}

static cm_status unknown(const cm_tensors *t, const char *name)
{
    const char *near = cmi_nearest_name(name, name_at, t, t->count);
    if (!near) CM_FAIL(CM_ERR_ARGUMENT, "%s: there is no tensor '%.200s'", t->input.name, name);
    CM_FAIL(CM_ERR_ARGUMENT, "%s: there is no tensor '%.200s' (did you mean '%s'?)", t->input.name, name, near);
}

cm_status cm_checkpoint_find(const cm_checkpoint *checkpoint, const char *name, size_t *index)
{
    if (!checkpoint || !name || !index)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_find: checkpoint, name or index is NULL");
    const cm_tensors *tensors = cmi_inspect_tensors(checkpoint);
    const cm_tensor *t = cmi_tensors_find(tensors, name);
    if (!t) return unknown(tensors, name);
    *index = (size_t)(t - tensors->tensors);
    return CM_OK;
}

cm_status cm_checkpoint_read(const cm_checkpoint *checkpoint, size_t index, size_t size, void *bytes)
{
    const cm_tensor *t = NULL;
    CM_TRY(find_tensor(checkpoint, "cm_checkpoint_read", index, &t));
    if (!bytes && size) CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_read: bytes is NULL");
    if (size != t->bytes)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_read: tensor '%s' has %zu bytes, asked for %zu", t->name, t->bytes,
                size);
    return size ? cmi_tensor_fetch(t, bytes) : CM_OK;
}

cm_status cm_checkpoint_read_f32(const cm_checkpoint *checkpoint, size_t index, size_t count, float *values)
{
    const cm_tensor *t = NULL;
    CM_TRY(find_tensor(checkpoint, "cm_checkpoint_read_f32", index, &t));
    if (!values && count) CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_read_f32: values is NULL");
    if (count != t->count)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_read_f32: tensor '%s' has %zu values, asked for %zu", t->name,
                t->count, count);
    return count ? cmi_tensor_read(t, values) : CM_OK;
}

/* --- integrity ------------------------------------------------------------------------------ */

cm_status cm_checkpoint_check(const cm_checkpoint *checkpoint, const cm_checkpoint_check_options *options,
                              cm_checkpoint_report *report)
{
    cm_checkpoint_check_options o = CM_CHECKPOINT_CHECK_OPTIONS_INIT;
    cm_checkpoint_report r = CM_CHECKPOINT_REPORT_INIT;
    if (!checkpoint || !report) CM_FAIL(CM_ERR_ARGUMENT, "cm_checkpoint_check: checkpoint or report is NULL");
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_checkpoint_check_options"));
    CM_TRY(cmi_reserved_check("cm_checkpoint_check_options", o.reserved));
    CM_TRY(cm_info_check(report, "cm_checkpoint_report"));
    CM_TRY(cmi_inspect_check(checkpoint, &o, &r));
    return cm_info_write(report, &r, sizeof r, "cm_checkpoint_report");
}
