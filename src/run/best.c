/* best.c - best.safetensors: a native model whose entry "training" says its distance, so that the two cannot part. */
#include <math.h>
#include <string.h>

#include "diffusion/model.h"
#include "io/directory.h"
#include "io/json_tree.h"
#include "io/tensors.h"
#include "run/metric.h"

static const char file_name[] = "best.safetensors";

/* --- reading ------------------------------------------------------------------------------ */

/* Nothing where the entry is not ours. */
static int take(const json_t *training, const char *text, cm_run_best *out)
{
    const json_t *metric = json_object_get(training, "metric"), *distance = json_object_get(metric, "distance");
    const char *what = json_string_value(json_object_get(metric, "of"));
    const json_int_t step = json_integer_value(json_object_get(training, "steps"));
    if (!what || strcmp(what, text) != 0 || !json_is_number(distance) || step < 1) return 0;
    *out = (cm_run_best){json_number_value(distance), step};
    return 1;
}

static cm_status read_entry(const char *path, const cm_tensors *file, const char *text, cm_run_best *out, int *taken)
{
    json_t *training;
    const char *entry = cmi_tensors_metadata(file, "consistency.training");
    if (!entry) return CM_OK;
    CM_TRY(cmi_json_tree(path, entry, strlen(entry), &training));
    *taken = take(training, text, out);
    json_decref(training);
    return CM_OK;
}

static cm_status read_file(cm_context *context, const char *path, const char *text, cm_run_best *out)
{
    cm_tensors file;
    int taken = 0;
    cm_status status = cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &file);
    if (status == CM_OK) {
        status = read_entry(path, &file, text, out, &taken);
        cmi_tensors_close(&file);
    }
    if (status == CM_ERR_MEMORY || taken) return status;
    cmi_log(context, CM_LOG_WARNING, "%s: %s: the first evaluation takes its place", path,
            status == CM_OK ? "its distance does not compare with those of this run" : cm_last_message());
    return CM_OK;
}

cm_status cmi_best_read(cm_context *context, const char *directory, const char *text, cm_run_best *out)
{
    cm_path_kind kind;
    *out = (cm_run_best){0, 0};
    char *path = cmi_path_join(context, directory, file_name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_path_look(path, &kind);
    if (status == CM_OK && kind != CM_PATH_MISSING) status = read_file(context, path, text, out);
    cmi_free(context, path);
    return status;
}

/* --- writing -------------------------------------------------------------------------------- */

static cm_status describe(cm_model *model, const char *text, const cm_run_best *best)
{
    json_t *training = json_object_get(model->file.config, "training");
    json_t *metric = json_pack("{s:s, s:f}", "of", text, "distance", best->distance);
    if (training && metric && json_object_set_new(training, "metric", metric) == 0) return CM_OK;
    CM_FAIL(CM_ERR_MEMORY, "out of memory: metadata of %s", file_name);
}

cm_status cmi_best_write(cm_model *model, const char *directory, const char *text, const cm_run_best *best)
{
    cm_save_options options = CM_SAVE_OPTIONS_INIT;
    options.overwrite = CM_OVERWRITE_YES;
    CM_TRY(describe(model, text, best));
    char *path = cmi_path_join(model->context, directory, file_name);
    const cm_status status = path ? cm_model_save(model, path, &options) : CM_ERR_MEMORY;
    cmi_free(model->context, path);
    return status;
}
