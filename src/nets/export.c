/* export.c - the table of formats that models are written in, and what all of them share. */
#include "nets/export.h"

#include "io/recast.h"
#include "io/torch_write.h"

static cm_status write_native(const cm_export *m, const cm_tensors *t, cm_write_report *report)
{
    return cmi_checkpoint_write(m->context, m->path, m->options->overwrite, m->config, t->tensors, t->count, report);
}

static cm_status write_torch(const cm_export *m, const cm_tensors *t, cm_write_report *report)
{
    json_t *metadata;
    CM_TRY(cmi_checkpoint_metadata(m->config, &metadata));
    cm_status status =
        cmi_torch_write(m->context, m->path, m->options->overwrite, metadata, t->tensors, t->count, report);
    json_decref(metadata);
    return status;
}

static const cm_export_format formats[] = {
    {"native", "one safetensors file that says what it is", write_native, 0},
    {"torch", "one file of PyTorch, a state dictionary in a zip archive (.pt, .pth)", write_torch, 0},
    {"diffusers", "a folder as diffusers reads it, a ConsistencyModelPipeline", cmi_export_diffusers, 1},
};
enum { FORMATS = sizeof formats / sizeof *formats };

cm_choice cmi_export_choice(size_t index)
{
    return index < FORMATS ? (cm_choice){formats[index].name, formats[index].about} : (cm_choice){NULL, NULL};
}

/* --- the tensors ------------------------------------------------------------------------ */

static cm_tensor_type written_type(const cm_tensor *t, int32_t dtype)
{
    switch (dtype) {
    case CM_F32: return CM_TENSOR_F32;
    case CM_F16: return CM_TENSOR_F16;
    case CM_BF16: return CM_TENSOR_BF16;
    default: return t->type;
    }
}

/* In the network's order, under its names; what is no weight keeps its type. */
static cm_status collect(const cm_export *m, cm_tensors *list)
{
    for (int i = 0; i < m->graph->n_params; i++) {
        const cm_param_desc *p = &m->graph->params[i];
        const cm_tensor *t = cmi_checkpoint_tensor(&m->sources[i]);
        if (!t) continue;
        CM_TRY(cmi_recast_convert(list, p->name, t,
                                  p->constant || p->exact ? t->type : written_type(t, m->options->dtype)));
    }
    return m->table ? cmi_recast_convert(list, m->table->name, m->table, m->table->type) : CM_OK;
}

static cm_status check(const cm_save_options *o)
{
    if (o->format < 0 || o->format >= FORMATS)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_save_options: format is %d, expected 0..%d", o->format, FORMATS - 1);
    if (o->dtype != CM_DTYPE_DEFAULT && o->dtype != CM_F32 && o->dtype != CM_F16 && o->dtype != CM_BF16)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_save_options: dtype is %d, expected 0, CM_F32 (%d), CM_BF16 (%d) or CM_F16 (%d)",
                o->dtype, CM_F32, CM_BF16, CM_F16);
    if (o->shard_bytes && !formats[o->format].has_shards)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_save_options: shard_bytes is %llu, but format %s is one file",
                (unsigned long long)o->shard_bytes, formats[o->format].name);
    return CM_OK;
}

cm_status cmi_export_write(const cm_export *m)
{
    cm_tensors list;
    cm_write_report report = {m->options->progress, m->options->progress_user, 0, 0};
    CM_TRY(check(m->options));
    CM_TRY(cmi_recast_begin(m->context, m->path, (size_t)m->graph->n_params + 1, &list));
    cm_status status = collect(m, &list);
    for (size_t i = 0; i < list.count; i++) report.total += list.tensors[i].bytes;
    if (status == CM_OK) status = formats[m->options->format].write(m, &list, &report);
    cmi_tensors_close(&list);
    return status;
}
