/* checkpoint.c - metadata to JSON and back, tensors as sources of parameters. */
#include "nets/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/json_tree.h"
#include "io/safetensors.h"
#include "nets/net.h"
#include "nets/recognise.h"

/* --- configuration --------------------------------------------------------- */

static const char *const members[] = {"network", "precond", "image", "classes", "training", "sampling"};
enum { MEMBERS = sizeof members / sizeof *members };

static cm_status add_member(json_t *config, const char *member, json_t *value)
{
    if (json_object_set_new(config, member, value) != 0) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

static cm_status from_file(cm_model_file *cp)
{
    const char *format = cmi_tensors_metadata(&cp->file, "consistency.format");
    if (format && strcmp(format, "1") != 0)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: consistency.format is \"%.32s\"; this version reads \"1\"",
                cp->file.input.name, format);
    for (int i = 0; i < MEMBERS; i++) {
        char key[64];
        json_t *value;
        (void)snprintf(key, sizeof key, "consistency.%s", members[i]);
        const char *text = cmi_tensors_metadata(&cp->file, key);
        if (!text) continue;
        CM_TRY(cmi_json_tree(key, text, strlen(text), &value));
        CM_TRY(add_member(cp->config, members[i], value));
    }
    return CM_OK;
}

/* A member of the caller's takes the place of the file's; without its type it changes single values of that. */
static cm_status add_given(json_t *config, const char *member, json_t *value)
{
    json_t *there = json_object_get(config, member);
    if (!json_is_object(there) || !json_is_object(value) || !json_object_get(there, "type") ||
        json_object_get(value, "type"))
        return add_member(config, member, json_incref(value));
    if (json_object_update(there, value) != 0) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return CM_OK;
}

static cm_status from_caller(const char *text, cm_model_file *cp)
{
    json_t *given, *value;
    const char *key;
    cm_status status = CM_OK;
    CM_TRY(cmi_json_tree("config_json", text, strlen(text), &given));
    if (!json_is_object(given)) status = cmi_fail(CM_ERR_FORMAT, "config_json: expected an object");
    json_object_foreach(given, key, value)
    {
        int i = 0;
        while (i < MEMBERS && strcmp(members[i], key) != 0) i++;
        if (status == CM_OK && i == MEMBERS)
            status = cmi_fail(
                CM_ERR_FORMAT,
                "config_json: unknown member '%.64s' (network, precond, image, classes, training, sampling)", key);
        if (status == CM_OK) status = add_given(cp->config, key, value);
    }
    json_decref(given);
    return status;
}

/* The usual reasons are that the file is another one, or a part of a model. */
static cm_status refuse(const cm_tensors *file, const char *member)
{
    const int is_native = cmi_tensors_metadata(file, "consistency.format") != NULL;
    if (!is_native && cmi_is_part_of_diffusers(file))
        CM_FAIL(CM_ERR_FORMAT,
                "%s has no configuration: its metadata lacks 'consistency.%s'. Its tensors have the names of "
                "diffusers: give the folder that it is in, with config.json and all parts",
                file->input.name, member);
    CM_FAIL(CM_ERR_FORMAT,
            "%s has no configuration: its metadata lacks 'consistency.%s'%s. Give it as "
            "config_json, for example {\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, "
            "\"img_channels\": 3, ...}, \"precond\": {\"type\": \"edm\"}, \"image\": {\"channels\": 3, "
            "\"height\": 32, \"width\": 32, \"labels\": 0}}",
            file->input.name, member,
            is_native ? "" : ", and by their names its tensors are of no network of this library");
}

cm_status cmi_checkpoint_configure(cm_model_file *cp, const char *config_json)
{
    cp->config = json_object();
    if (!cp->config) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    CM_TRY(from_file(cp));
    if (config_json) CM_TRY(from_caller(config_json, cp));
    CM_TRY(cmi_recognise(&cp->file, cp->config));
    for (int i = 0; i < 2; i++)
        if (!json_object_get(cp->config, members[i])) return refuse(&cp->file, members[i]);
    return CM_OK;
}

void cmi_checkpoint_close(cm_model_file *cp)
{
    json_decref(cp->config);
    cmi_tensors_close(&cp->named);
    cmi_tensors_close(&cp->file);
    memset(cp, 0, sizeof *cp);
}

static int add_text(json_t *metadata, const char *member, const json_t *value)
{
    char key[64], *text = cmi_json_print(value, JSON_COMPACT | JSON_ENCODE_ANY);
    (void)snprintf(key, sizeof key, "consistency.%s", member);
    int failed = !text || json_object_set_new(metadata, key, json_string(text)) != 0;
    free(text);
    return failed;
}

cm_status cmi_checkpoint_metadata(const json_t *config, json_t **out)
{
    json_t *metadata = *out = json_pack("{s:s}", "consistency.format", "1");
    int failed = metadata == NULL;
    for (int i = 0; i < MEMBERS && !failed; i++)
        if (json_object_get(config, members[i]))
            failed = add_text(metadata, members[i], json_object_get(config, members[i]));
    if (!failed) return CM_OK;
    json_decref(metadata);
    *out = NULL;
    CM_FAIL(CM_ERR_MEMORY, "out of memory: metadata");
}

cm_status cmi_checkpoint_write(cm_context *context, const char *path, int overwrite, const json_t *config,
                               const cm_tensor *tensors, size_t count, cm_write_report *report)
{
    json_t *metadata = NULL;
    if (config) CM_TRY(cmi_checkpoint_metadata(config, &metadata));
    cm_status status = cmi_safetensors_write(context, path, overwrite, metadata, tensors, count, report);
    json_decref(metadata);
    return status;
}

/* --- tensors ---------------------------------------------------------------- */

static cm_status read_source(const cm_param_source *source, float *out)
{
    return cmi_tensor_read(source->user, out);
}

static void forget_source(const cm_param_source *source)
{
    cmi_tensor_forget(source->user);
}

cm_param_source cmi_checkpoint_source(const cm_tensor *t)
{
    int usable = t->data && t->type == CM_TENSOR_F32 && (uintptr_t)t->data % sizeof(float) == 0;
    cm_param_source source = {t->data, t->bytes, NULL, read_source, forget_source, t};
    if (usable) source.raw = (const float *)(const void *)t->data;
    return source;
}

cm_tensor cmi_checkpoint_describe(const cm_param_desc *p, const char *name, const float *values)
{
    cm_tensor t = {.name = name, .type = CM_TENSOR_F32, .rank = p->rank, .count = cmi_param_elements(p)};
    memcpy(t.shape, p->shape, (size_t)p->rank * sizeof *p->shape);
    t.bytes = t.count * sizeof *values;
    t.data = (const unsigned char *)values;
    return t;
}

const cm_tensor *cmi_checkpoint_tensor(const cm_param_source *source)
{
    return source->user;
}

cm_status cmi_checkpoint_finite(const cm_param_source *source, int *finite)
{
    uint64_t nans = 0, infinities = 0;
    if (source->user) CM_TRY(cmi_tensor_count_nonfinite(source->user, 1, &nans, &infinities));
    *finite = !nans && !infinities;
    return CM_OK;
}
