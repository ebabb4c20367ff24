/* export_diffusers.c - a model as a ConsistencyModelPipeline: what is put into which of its files. */
#include "io/diffusers_write.h"

#include "nets/export.h"
#include "nets/net.h"

static cm_status check(const cm_export *m)
{
    if (!m->net->family->diffusers)
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "cannot write '%s': diffusers has no network %s; the formats native and torch can hold it", m->path,
                m->net->family->name);
    if (!m->precond.scheduler || m->precond.time != CM_TIME_250LN)
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "cannot write '%s': no pipeline of diffusers has preconditioning %s with this network%s; the formats "
                "native and torch can hold it",
                m->path, m->precond.name, m->precond.scheduler ? " and its time" : "");
    return CM_OK;
}

/* Points of the training's grid, where the model knows them; else those of distillation. */
static json_int_t grid_of(const json_t *config)
{
    json_int_t grid = json_integer_value(json_object_get(json_object_get(config, "sampling"), "grid"));
    return grid > 1 ? grid : 40;
}

static json_t *scheduler_of(const cm_export *m)
{
    return json_pack("{s:s, s:s, s:b, s:I, s:f, s:f, s:f, s:f, s:f}", "_class_name", m->precond.scheduler,
                     "_diffusers_version", CM_DIFFUSERS_VERSION, "clip_denoised", 1, "num_train_timesteps",
                     grid_of(m->config), "rho", 7.0, "s_noise", 1.0, "sigma_data", m->precond.sigma_data, "sigma_max",
                     m->precond.sigma_max, "sigma_min", m->precond.sigma_min);
}

/* Of the weights: PyTorch's layout, as every file of diffusers says, and what its JSON files have no place for. */
static cm_status metadata_of(const cm_export *m, json_t **out)
{
    json_t *all;
    CM_TRY(cmi_checkpoint_metadata(m->config, &all));
    static const char *const kept[] = {"consistency.classes", "consistency.training", "consistency.sampling"};
    *out = json_pack("{s:s}", "format", "pt");
    int failed = !*out;
    for (size_t i = 0; i < sizeof kept / sizeof *kept && !failed; i++)
        if (json_object_get(all, kept[i])) failed = json_object_set(*out, kept[i], json_object_get(all, kept[i]));
    if (!failed && m->net->attention_layout)
        failed = json_object_set_new(*out, CM_DIFFUSERS_ATTENTION, json_string("per_head"));
    json_decref(all);
    if (!failed) return CM_OK;
    json_decref(*out);
    *out = NULL;
    CM_FAIL(CM_ERR_MEMORY, "out of memory: metadata");
}

static cm_status write_parts(const cm_export *m, const cm_tensors *t, cm_write_report *report, json_t **unet,
                             json_t **scheduler, json_t **metadata)
{
    cm_diffusers_model model = {.tensors = t->tensors,
                                .count = t->count,
                                .shard_bytes = m->options->shard_bytes,
                                .per_head = m->net->attention_layout ? m->net->num_head_channels : 0};
    CM_TRY(m->net->family->diffusers(m, &model.layout, unet));
    CM_TRY(metadata_of(m, metadata));
    *scheduler = scheduler_of(m);
    if (!*scheduler) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    if (model.per_head < 0) model.per_head = json_integer_value(json_object_get(*unet, "attention_head_dim"));
    model.unet = *unet;
    model.scheduler = *scheduler;
    model.metadata = *metadata;
    return cmi_diffusers_write(m->context, m->path, m->options->overwrite, &model, report);
}

cm_status cmi_export_diffusers(const cm_export *m, const cm_tensors *t, cm_write_report *report)
{
    json_t *unet = NULL, *scheduler = NULL, *metadata = NULL;
    CM_TRY(check(m));
    cm_status status = write_parts(m, t, report, &unet, &scheduler, &metadata);
    json_decref(unet);
    json_decref(scheduler);
    json_decref(metadata);
    return status;
}
