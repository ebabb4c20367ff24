/* class_names.c - the names of classes: from the data set of a run into what it writes, and
 * compared where two sources say them. */
#include "data/dataset.h"
#include "diffusion/classes.h"
#include "train/trainer.h"

/* The names of a data set's classes; NULL where it has none. */
static cm_status of_dataset(const cm_dataset *d, json_t **out)
{
    *out = NULL;
    if (!d->labels || !d->classes) return CM_OK;
    json_t *classes = json_array();
    int failed = !classes;
    for (int32_t i = 0; i < d->n_classes && !failed; i++)
        failed = json_array_append_new(classes, cmi_class_json(d->context, d->classes[i])) != 0;
    if (!failed) {
        *out = classes;
        return CM_OK;
    }
    json_decref(classes);
    CM_FAIL(CM_ERR_MEMORY, "out of memory: class names");
}

static const json_t *of_config(const json_t *config)
{
    return json_object_get(config, "classes");
}

/* Labels mean other things than the model or the teacher has learnt. */
static void warn_of(const cm_trainer *t, const char *whose, const cm_model *m, const json_t *classes)
{
    char text[200];
    const json_t *before = m ? of_config(m->file.config) : NULL;
    if (json_array_size(before) && cmi_classes_differ(before, classes, text, sizeof text))
        cmi_log(t->context, CM_LOG_WARNING, "the classes of the data set are not those of the %s: %s", whose, text);
}

cm_status cmi_trainer_take_names(cm_trainer *t, const cm_dataset *d)
{
    char text[200];
    json_t *classes = NULL;
    if (t->model->net.num_classes) CM_TRY(of_dataset(d, &classes));
    if (!classes) return CM_OK;
    cm_status status = CM_OK;
    if (t->classes_from_data && cmi_classes_differ(of_config(t->config), classes, text, sizeof text))
        status = cmi_fail(CM_ERR_ARGUMENT, "the classes of this data set are not those of the run: %s", text);
    if (status == CM_OK && !t->classes_from_data) {
        warn_of(t, "model", t->model, classes);
        if (t->teacher != t->model) warn_of(t, "teacher", t->teacher, classes);
    }
    if (status == CM_OK && json_object_set(t->config, "classes", classes) != 0)
        status = cmi_fail(CM_ERR_MEMORY, "out of memory: class names");
    if (status == CM_OK) t->classes_from_data = 1;
    json_decref(classes);
    return status;
}

cm_status cmi_trainer_compare_names(const cm_trainer *t, const json_t *config, int32_t allow_changes)
{
    char text[200];
    const json_t *before = of_config(config);
    if (!t->classes_from_data || !json_array_size(before) ||
        !cmi_classes_differ(before, of_config(t->config), text, sizeof text))
        return CM_OK;
    if (allow_changes != CM_RESUME_ANY)
        CM_FAIL(CM_ERR_ARGUMENT, "the checkpoint was made with other classes: %s (labels would change their meaning)",
                text);
    cmi_log(t->context, CM_LOG_WARNING, "continuing with other classes: %s", text);
    return CM_OK;
}

cm_status cmi_trainer_adopt_names(cm_trainer *t, const json_t *config)
{
    json_t *before = json_object_get(config, "classes");
    if (t->classes_from_data || !json_array_size(before)) return CM_OK;
    if (json_object_set(t->config, "classes", before) != 0) CM_FAIL(CM_ERR_MEMORY, "out of memory: class names");
    t->classes_from_data = 1;
    return CM_OK;
}
