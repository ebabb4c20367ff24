/* result.c - the one file that a run is about: written at its end, found by its directory. */
#include "run/result.h"

#include <stdio.h>
#include <string.h>

#include "diffusion/model.h"
#include "io/directory.h"
#include "run/files.h"

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
    CM_TRY(cm_trainer_model(r->trainer, r->options->n.averages ? CM_WEIGHTS_EMA : CM_WEIGHTS_ONLINE, 0, &model));
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

int cmi_result_is_there(const cm_run *r)
{
    char *path = cmi_path_join(r->context, r->directory, result_name);
    const int is_there = !path || cmi_path_kind(path) == CM_PATH_FILE;
    cmi_free(r->context, path);
    return is_there;
}

/* --- from outside ------------------------------------------------------------------------------ */

/* Whether DIRECTORY/A or DIRECTORY/A/B is of that kind; then it is written to `path`. */
static int is_there(const char *directory, const char *a, const char *b, cm_path_kind kind, char *path, size_t size)
{
    const int n = snprintf(path, size, "%s/%s%s%s", directory, a, b ? "/" : "", b ? b : "");
    return n > 0 && (size_t)n < size && cmi_path_kind(path) == kind;
}

/* The first average of a checkpoint by its name, or the weights themselves. */
static cm_status of_checkpoint(cm_context *context, const char *directory, char *path, size_t size)
{
    cm_names names;
    char first[NAME] = "model.safetensors";
    CM_TRY(cmi_directory_list(context, directory, &names));
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.name[i];
        if (strncmp(name, "ema-", 4) != 0 || !strstr(name, ".safetensors") || strstr(name, ".tmp-")) continue;
        if (strncmp(first, "ema-", 4) != 0 || strcmp(name, first) < 0)
            (void)snprintf(first, sizeof first, "%s", name);
    }
    cmi_names_free(&names);
    if (is_there(directory, first, NULL, CM_PATH_FILE, path, size)) return CM_OK;
    CM_FAIL(CM_ERR_IO, "%s holds no model", directory);
}

static cm_status of_newest(cm_context *context, const char *directory, char *path, size_t size)
{
    char name[NAME] = "", checkpoint[4096];
    size_t n = is_there(directory, "checkpoints", "LATEST", CM_PATH_FILE, path, size)
                   ? cmi_file_peek(path, name, sizeof name - 1)
                   : 0;
    while (n && (name[n - 1] == '\n' || name[n - 1] == ' ')) n--;
    name[n] = '\0';
    if (n && !strchr(name, '/') &&
        is_there(directory, "checkpoints", name, CM_PATH_DIRECTORY, checkpoint, sizeof checkpoint))
        return of_checkpoint(context, checkpoint, path, size);
    CM_FAIL(CM_ERR_IO, "the run in '%s' has no checkpoint yet", directory);
}

static cm_status of_run(cm_context *context, const char *directory, char *path, size_t size)
{
    if (!is_there(directory, "config.json", NULL, CM_PATH_FILE, path, size) ||
        !is_there(directory, "checkpoints", NULL, CM_PATH_DIRECTORY, path, size))
        CM_FAIL(CM_ERR_ARGUMENT, "'%s' is no directory of a run: it has no config.json and checkpoints/", directory);
    if (is_there(directory, result_name, NULL, CM_PATH_FILE, path, size)) return CM_OK;
    if (is_there(directory, best_name, NULL, CM_PATH_FILE, path, size)) return CM_OK;
    return of_newest(context, directory, path, size);
}

/* Of a plan of several runs (cm-train --preset auto): its model, or that of the last of its stages. */
static cm_status of_plan(cm_context *context, const char *directory, char *path, size_t size)
{
    char stages[4096], last[4096] = "";
    cm_names names;
    if (is_there(directory, result_name, NULL, CM_PATH_FILE, path, size)) return CM_OK;
    if (!is_there(directory, "stages", NULL, CM_PATH_DIRECTORY, stages, sizeof stages))
        CM_FAIL(CM_ERR_IO, "the plan in '%s' has no stage yet", directory);
    CM_TRY(cmi_directory_list(context, stages, &names)); /* 1-teacher, 2-mid, ... */
    for (size_t i = names.count; i-- > 0 && !last[0];)
        if (!is_there(stages, names.name[i], "config.json", CM_PATH_FILE, last, sizeof last)) last[0] = '\0';
    cmi_names_free(&names);
    char *name = strrchr(last, '/');
    if (!name) CM_FAIL(CM_ERR_IO, "the plan in '%s' has no checkpoint yet", directory);
    *name = '\0';
    return of_run(context, last, path, size);
}

cm_status cmi_result_find(cm_context *context, const char *directory, char *path, size_t size)
{
    if (is_there(directory, "plan.json", NULL, CM_PATH_FILE, path, size))
        return of_plan(context, directory, path, size);
    return of_run(context, directory, path, size);
}
