/* result.c - the one file that a run is about: written at its end, found by its directory. */
#include "run/result.h"

#include <stdio.h>
#include <string.h>

#include "diffusion/model.h"
#include "io/directory.h"
#include "io/json_tree.h"
#include "run/files.h"
#include "run/ranks.h"
#include "train/averages.h"

static const char result_name[] = "model.safetensors", best_name[] = "best.safetensors";
enum { NAME = 256 };

/* --- at the end ------------------------------------------------------------------------------ */

static cm_status copy_best(const cm_run *r)
{
    unsigned char *bytes;
    size_t size;
    char *path = cmi_path_join(r->context, r->directory, best_name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_file_read(r->context, path, SIZE_MAX, &bytes, &size);
    if (status == CM_OK) {
        status = cmi_run_write(r->context, r->directory, result_name, (const char *)bytes, size);
        cmi_free(r->context, bytes);
    }
    cmi_free(r->context, path);
    return status;
}

static cm_status save(const cm_run *r, const char *path)
{
    cm_model *model;
    cm_save_options options = CM_SAVE_OPTIONS_INIT;
    options.overwrite = CM_OVERWRITE_YES;
    CM_TRY(cmi_run_snapshot(r, &model));
    cm_status status = cm_model_save(model, path, &options);
    cmi_model_release(model);
    return status;
}

cm_status cmi_result_write(const cm_run *r)
{
    if (r->best_step) return copy_best(r);
    char *path = cmi_path_join(r->context, r->directory, result_name);
    const cm_status status = path ? save(r, path) : CM_ERR_MEMORY;
    cmi_free(r->context, path);
    return status;
}

/* Whether DIRECTORY/A or DIRECTORY/A/B is of that kind; then it is written to `path`. */
static cm_status look(const char *directory, const char *a, const char *b, cm_path_kind kind, char *path, size_t size,
                      int *is)
{
    cm_path_kind found;
    const int n = snprintf(path, size, "%s/%s%s%s", directory, a, b ? "/" : "", b ? b : "");
    *is = n > 0 && (size_t)n < size;
    if (!*is) return CM_OK;
    CM_TRY(cmi_path_look(path, &found));
    *is = found == kind;
    return CM_OK;
}

cm_status cmi_result_look(const cm_run *r, int *is_there)
{
    cm_path_kind kind;
    *is_there = 0;
    char *path = cmi_path_join(r->context, r->directory, result_name);
    const cm_status status = path ? cmi_path_look(path, &kind) : CM_ERR_MEMORY;
    cmi_free(r->context, path);
    if (status == CM_OK) *is_there = kind == CM_PATH_FILE;
    return status;
}

/* --- from outside ------------------------------------------------------------------------------ */

/* The file of the first average of a checkpoint's options; "" where they cannot be told. */
static cm_status first_average(cm_context *context, const char *directory, char name[NAME])
{
    char path[4096], label[48];
    unsigned char *text = NULL;
    size_t size;
    int is;
    json_t *state = NULL;
    cm_averages averages = {.count = 0};
    name[0] = '\0';
    CM_TRY(look(directory, "state.json", NULL, CM_PATH_FILE, path, sizeof path, &is));
    if (!is) return CM_OK;
    cm_status status = cmi_file_read(context, path, CM_JSON_TEXT, &text, &size);
    if (status == CM_OK) status = cmi_json_tree(path, (const char *)text, size, &state);
    if (status == CM_OK)
        status = cmi_averages_from_json(json_object_get(json_object_get(state, "options"), "ema"), &averages);
    json_decref(state);
    cmi_free(context, text);
    if (status == CM_OK && averages.count) {
        cmi_average_label(&averages.rates[0], label, sizeof label);
        (void)snprintf(name, NAME, "ema-%s.safetensors", label);
    }
    return status == CM_ERR_MEMORY || status == CM_ERR_IO ? status : CM_OK;
}

/* The first average of a checkpoint, else the first one by its name, or the weights themselves. */
static cm_status of_checkpoint(cm_context *context, const char *directory, char *path, size_t size)
{
    cm_names names;
    int is;
    char first[NAME];
    CM_TRY(first_average(context, directory, first));
    if (first[0]) CM_TRY(look(directory, first, NULL, CM_PATH_FILE, path, size, &is));
    if (first[0] && is) return CM_OK;
    (void)snprintf(first, sizeof first, "model.safetensors");
    CM_TRY(cmi_directory_list(context, directory, &names));
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.name[i];
        if (strncmp(name, "ema-", 4) != 0 || !strstr(name, ".safetensors") || strstr(name, ".tmp-")) continue;
        if (strncmp(first, "ema-", 4) != 0 || strcmp(name, first) < 0)
            (void)snprintf(first, sizeof first, "%s", name);
    }
    cmi_names_free(&names);
    CM_TRY(look(directory, first, NULL, CM_PATH_FILE, path, size, &is));
    if (is) return CM_OK;
    CM_FAIL(CM_ERR_IO, "%s holds no model", directory);
}

static cm_status of_newest(cm_context *context, const char *directory, char *path, size_t size)
{
    char name[NAME] = "", checkpoint[4096];
    size_t n = 0;
    int is;
    CM_TRY(look(directory, "checkpoints", "LATEST", CM_PATH_FILE, path, size, &is));
    if (is) CM_TRY(cmi_file_peek(path, name, sizeof name - 1, &n));
    while (n && (name[n - 1] == '\n' || name[n - 1] == ' ')) n--;
    name[n] = '\0';
    is = n && !strchr(name, '/');
    if (is) CM_TRY(look(directory, "checkpoints", name, CM_PATH_DIRECTORY, checkpoint, sizeof checkpoint, &is));
    if (is) return of_checkpoint(context, checkpoint, path, size);
    CM_FAIL(CM_ERR_IO, "the run in '%s' has no checkpoint yet", directory);
}

static cm_status of_run(cm_context *context, const char *directory, char *path, size_t size)
{
    int is;
    CM_TRY(look(directory, "config.json", NULL, CM_PATH_FILE, path, size, &is));
    if (is) CM_TRY(look(directory, "checkpoints", NULL, CM_PATH_DIRECTORY, path, size, &is));
    if (!is)
        CM_FAIL(CM_ERR_ARGUMENT, "'%s' is no directory of a run: it has no config.json and checkpoints/", directory);
    CM_TRY(look(directory, result_name, NULL, CM_PATH_FILE, path, size, &is));
    if (!is) CM_TRY(look(directory, best_name, NULL, CM_PATH_FILE, path, size, &is));
    return is ? CM_OK : of_newest(context, directory, path, size);
}

/* The last of the stages in a folder that is a run: 1-teacher, 2-mid, ...; "" for none. */
static cm_status last_stage(cm_context *context, const char *stages, char *last, size_t size)
{
    cm_names names;
    int is = 0;
    CM_TRY(cmi_directory_list(context, stages, &names));
    cm_status status = CM_OK;
    for (size_t i = names.count; i-- > 0 && !is && status == CM_OK;)
        status = look(stages, names.name[i], "config.json", CM_PATH_FILE, last, size, &is);
    cmi_names_free(&names);
    if (is) *strrchr(last, '/') = '\0';
    else last[0] = '\0';
    return status;
}

/* Of a plan of several runs (cm-train --preset auto): its model, or that of the last of its stages. */
static cm_status of_plan(cm_context *context, const char *directory, char *path, size_t size)
{
    char stages[4096], last[4096];
    int is;
    CM_TRY(look(directory, result_name, NULL, CM_PATH_FILE, path, size, &is));
    if (is) return CM_OK;
    CM_TRY(look(directory, "stages", NULL, CM_PATH_DIRECTORY, stages, sizeof stages, &is));
    if (!is) CM_FAIL(CM_ERR_IO, "the plan in '%s' has no stage yet", directory);
    CM_TRY(last_stage(context, stages, last, sizeof last));
    if (!last[0]) CM_FAIL(CM_ERR_IO, "the plan in '%s' has no checkpoint yet", directory);
    return of_run(context, last, path, size);
}

cm_status cmi_result_find(cm_context *context, const char *directory, char *path, size_t size)
{
    int is;
    CM_TRY(look(directory, "plan.json", NULL, CM_PATH_FILE, path, size, &is));
    return is ? of_plan(context, directory, path, size) : of_run(context, directory, path, size);
}
