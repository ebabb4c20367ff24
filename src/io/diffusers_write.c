/* diffusers_write.c - see the header: the three JSON files, and the weights in one safetensors file or several with
 * an index. */
#include "io/diffusers_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/diffusers_config.h"
#include "io/diffusers_files.h"
#include "io/folder_writer.h"
#include "io/recast.h"
#include "io/safetensors.h"

enum { SPELLING = CM_DIFFUSERS_NAME + 8, FILE_NAME = 96 };

/* What stands in such a folder, with variants that others may have put beside. */
static const char *const contents[] = {CM_DIFFUSERS_INDEX,
                                       CM_DIFFUSERS_UNET,
                                       CM_DIFFUSERS_UNET "/" CM_DIFFUSERS_CONFIG,
                                       CM_DIFFUSERS_UNET "/" CM_DIFFUSERS_WEIGHTS "*",
                                       CM_DIFFUSERS_SCHEDULER,
                                       CM_DIFFUSERS_SCHEDULER "/" CM_DIFFUSERS_SCHEDULER_CONFIG,
                                       NULL};

typedef struct {
    cm_context *context;
    const cm_diffusers_model *model;
    cm_folder_writer folder;
    cm_diffusers_names names;
    char (*spellings)[SPELLING];
    cm_tensors list; /* under diffusers' names */
    cm_write_report *report;
} job;

/* --- tensors ------------------------------------------------------------------------------------ */

/* [C, C, 1, 1] and [C, C, 1] to [C, C], as diffusers has its attention. */
static void to_matrix(cm_tensor *t)
{
    while (t->rank > 2 && t->shape[t->rank - 1] == 1) t->rank--;
}

static cm_status add_parts(job *j, const cm_diffusers_name *name, const char *suffix, const cm_tensor *t,
                           char (*spelling)[SPELLING])
{
    int64_t rows = t->shape[0] / CM_RECAST_PARTS;
    size_t blocks = j->model->per_head ? (size_t)(rows / j->model->per_head) : 1;
    for (int i = 0; i < CM_RECAST_PARTS; i++) {
        (void)snprintf(spelling[i], SPELLING, "%s%s", name[i].diffusers, suffix);
        CM_TRY(cmi_recast_split(&j->list, spelling[i], t, name[i].part, blocks));
        to_matrix(&j->list.tensors[j->list.count - 1]);
    }
    return CM_OK;
}

static cm_status rename_tensors(job *j)
{
    const cm_diffusers_model *m = j->model;
    for (size_t i = 0, at = 0; i < m->count; i++) {
        const char *suffix;
        const cm_tensor *t = &m->tensors[i];
        const cm_diffusers_name *name = cmi_diffusers_names_find(&j->names, 1, t->name, &suffix);
        if (!name)
            CM_FAIL(CM_ERR_UNSUPPORTED, "cannot write '%s': diffusers' network has no place for tensor '%s'",
                    j->folder.path, t->name);
        if (name->part >= 0) {
            CM_TRY(add_parts(j, name, suffix, t, &j->spellings[at]));
            at += CM_RECAST_PARTS;
            continue;
        }
        (void)snprintf(j->spellings[at], SPELLING, "%s%s", name->diffusers, suffix);
        CM_TRY(cmi_recast_rename(&j->list, j->spellings[at++], t));
        if (strstr(name->adm, ".proj_out")) to_matrix(&j->list.tensors[j->list.count - 1]);
    }
    return CM_OK;
}

static cm_status make_list(job *j)
{
    size_t most = CM_RECAST_PARTS * j->model->count + 1;
    CM_TRY(cmi_diffusers_names_make(j->context, &j->model->layout, 1, &j->names));
    j->spellings = cmi_calloc(j->context, most, sizeof *j->spellings);
    if (!j->spellings) return CM_ERR_MEMORY;
    CM_TRY(cmi_recast_begin(j->context, j->folder.path, most, &j->list));
    return rename_tensors(j);
}

/* --- weights -------------------------------------------------------------------------------------- */

/* The end of the shard that begins at tensor `first`. */
static size_t end_of_shard(const job *j, size_t first)
{
    uint64_t bytes = 0;
    size_t i = first;
    for (; i < j->list.count; i++) {
        bytes += j->list.tensors[i].bytes;
        if (i > first && j->model->shard_bytes && bytes > j->model->shard_bytes) break;
    }
    return i;
}

static size_t count_shards(const job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->list.count; i = end_of_shard(j, i)) n++;
    return n;
}

static void name_shard(size_t index, size_t count, char name[FILE_NAME])
{
    if (count < 2) (void)snprintf(name, FILE_NAME, CM_DIFFUSERS_WEIGHTS ".safetensors");
    else (void)snprintf(name, FILE_NAME, CM_DIFFUSERS_WEIGHTS "-%05zu-of-%05zu.safetensors", index + 1, count);
}

/* The path of a file in a folder of the temporary one. */
static char *path_in(const job *j, const char *folder, const char *name)
{
    char inside[2 * FILE_NAME];
    (void)snprintf(inside, sizeof inside, "%s%s%s", folder, *folder ? "/" : "", name);
    return cmi_folder_path(&j->folder, inside);
}

static cm_status write_shard(const job *j, size_t first, size_t last, const char *name, json_t *map)
{
    char *path = path_in(j, CM_DIFFUSERS_UNET, name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_safetensors_write(j->context, path, 0, j->model->metadata, &j->list.tensors[first],
                                             last - first, j->report);
    cmi_free(j->context, path);
    for (size_t i = first; i < last && status == CM_OK; i++)
        if (json_object_set_new(map, j->list.tensors[i].name, json_string(name)) != 0)
            status = cmi_fail(CM_ERR_MEMORY, "out of memory: the index of the weights");
    return status;
}

static cm_status write_text(const job *j, const char *folder, const char *name, const char *text)
{
    cm_file_writer w;
    char *path = path_in(j, folder, name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_file_create(j->context, path, 0, &w);
    cmi_free(j->context, path);
    CM_TRY(status);
    status = cmi_file_write(&w, text, strlen(text));
    if (status == CM_OK) status = cmi_file_write(&w, "\n", 1);
    if (status == CM_OK) return cmi_file_commit(&w);
    cmi_file_abort(&w);
    return status;
}

static cm_status write_json(const job *j, const char *folder, const char *name, const json_t *value)
{
    char *text = value ? cmi_json_print(value, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    if (!text) CM_FAIL(CM_ERR_MEMORY, "out of memory: %s", name);
    cm_status status = write_text(j, folder, name, text);
    free(text);
    return status;
}

static cm_status write_index(const job *j, json_t *map)
{
    json_t *index =
        json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)j->report->total, "weight_map", map);
    cm_status status = write_json(j, CM_DIFFUSERS_UNET, CM_DIFFUSERS_WEIGHTS ".safetensors.index.json", index);
    json_decref(index);
    return status;
}

static cm_status write_weights(const job *j)
{
    size_t shards = count_shards(j), n = 0;
    cm_status status = CM_OK;
    if (shards > CM_DIFFUSERS_SHARDS)
        CM_FAIL(CM_ERR_LIMIT,
                "cannot write '%s': %zu files of weights are over the limit of %d: shard_bytes is too small",
                j->folder.path, shards, CM_DIFFUSERS_SHARDS);
    json_t *map = json_object();
    if (!map) CM_FAIL(CM_ERR_MEMORY, "out of memory: the index of the weights");
    for (size_t i = 0; i < j->list.count && status == CM_OK; n++) {
        char name[FILE_NAME];
        size_t end = end_of_shard(j, i);
        name_shard(n, shards, name);
        status = write_shard(j, i, end, name, map);
        i = end;
    }
    if (status == CM_OK && shards > 1) status = write_index(j, map);
    json_decref(map);
    return status;
}

/* --- the folder ----------------------------------------------------------------------------------- */

static cm_status write_pipeline(const job *j)
{
    json_t *index =
        json_pack("{s:s, s:O, s:[s,s], s:[s,s]}", "_class_name", CM_DIFFUSERS_PIPELINE_CLASS, "_diffusers_version",
                  json_object_get(j->model->unet, "_diffusers_version"), CM_DIFFUSERS_UNET, "diffusers",
                  CM_DIFFUSERS_UNET_CLASS, CM_DIFFUSERS_SCHEDULER, "diffusers", CM_DIFFUSERS_SCHEDULER_CLASS);
    cm_status status = write_json(j, "", CM_DIFFUSERS_INDEX, index);
    json_decref(index);
    return status;
}

static cm_status write_all(job *j)
{
    CM_TRY(make_list(j));
    CM_TRY(cmi_folder_add(&j->folder, CM_DIFFUSERS_UNET));
    CM_TRY(cmi_folder_add(&j->folder, CM_DIFFUSERS_SCHEDULER));
    CM_TRY(write_pipeline(j));
    CM_TRY(write_json(j, CM_DIFFUSERS_SCHEDULER, CM_DIFFUSERS_SCHEDULER_CONFIG, j->model->scheduler));
    CM_TRY(write_json(j, CM_DIFFUSERS_UNET, CM_DIFFUSERS_CONFIG, j->model->unet));
    return write_weights(j);
}

cm_status cmi_diffusers_write(cm_context *context, const char *path, int overwrite, const cm_diffusers_model *model,
                              cm_write_report *report)
{
    job j = {.context = context, .model = model, .report = report};
    CM_TRY(cmi_folder_begin(context, path, overwrite, contents, &j.folder));
    cm_status status = write_all(&j);
    if (status == CM_OK) status = cmi_folder_commit(&j.folder);
    else cmi_folder_abort(&j.folder);
    cmi_tensors_close(&j.list);
    cmi_free(context, j.spellings);
    cmi_diffusers_names_free(&j.names);
    return status;
}
