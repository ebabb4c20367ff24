/* inputs.c - the networks and the pictures of a run, and whether they go together. */
#include <stdio.h>
#include <string.h>

#include "diffusion/model.h"
#include "run/options.h"
#include "train/objective.h"

enum { NETWORK = 1024 };

cm_model *cmi_run_learner(const cm_run_options *o)
{
    return o->model ? o->model : o->teacher;
}

cm_train_inputs cmi_run_inputs(const cm_run_options *o)
{
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    inputs.model = o->model;
    inputs.teacher = o->teacher;
    if (o->group.size) inputs.group = &o->group;
    return inputs;
}

const char *cmi_run_preset_network(const cm_run_options *o)
{
    for (size_t i = 0; o->preset && cm_train_preset_name(i); i++)
        if (strcmp(cm_train_preset_name(i), o->preset) == 0) return cm_train_preset_config(i);
    return NULL;
}

/* --- models --------------------------------------------------------------------------- */

/* A preset stands for a network too: nobody gets another one without a word. */
static cm_status check_network(const cm_run_options *o, const cm_model *model, const char *option, const char *path)
{
    const char *p = o->prefix;
    if (!o->preset || o->as_given || o->network || !model) return CM_OK;
    cm_status status = cm_train_preset_check(o->preset, model);
    if (status != CM_ERR_ARGUMENT) return status;
    CM_FAIL(CM_ERR_ARGUMENT,
            "%s%s %s: %s; give one of the preset's network, or %snetwork given to train the file's network with the "
            "preset's numbers",
            p, option, path ? path : "", cm_last_message(), p);
}

cm_status cmi_run_open_models(cm_run_options *o)
{
    cm_load_options load;
    cm_load_options_init(&load, sizeof load);
    load.copy = 1; /* a run takes days: the files may change meanwhile */
    if (o->teacher_path && !o->teacher) CM_TRY(cm_model_load(o->context, o->teacher_path, &load, &o->teacher));
    if (o->init && !o->network_of_config && !o->model) CM_TRY(cm_model_load(o->context, o->init, &load, &o->model));
    CM_TRY(check_network(o, o->model, "init", o->init));
    return check_network(o, o->teacher, "teacher", o->teacher_path);
}

cm_status cmi_run_default_model(const cm_run_options *o, int32_t side, cm_model **out)
{
    char text[NETWORK];
    cm_dataset_info d;
    cm_dataset_info_init(&d, sizeof d);
    CM_TRY(cm_dataset_info_get(o->dataset, &d));
    if (side % 4)
        CM_FAIL(CM_ERR_ARGUMENT, "pictures of %d x %d: give %ssize with a multiple of 4, such as 32 or 64", side,
                side, o->prefix);
    (void)snprintf(
        text, sizeof text,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": %d, \"img_channels\": %d, \"label_dim\": %d, "
        "\"model_channels\": 32, \"channel_mult\": [1, 2, 4], \"num_blocks\": 2, \"attn_resolutions\": [%d], "
        "\"dropout\": 0}, \"precond\": {\"type\": \"edm\", \"sigma_data\": 0.5, \"sigma_min\": 0.002, "
        "\"sigma_max\": 80}, \"image\": {\"channels\": %d, \"height\": %d, \"width\": %d, \"labels\": %d}}",
        side, d.channels, d.classes, side / 4, d.channels, side, side, d.classes);
    return cm_model_create(o->context, text, o->n.seed, out);
}

static cm_status make_model(cm_run_options *o)
{
    cm_dataset_info d;
    const char *config = o->network ? o->network : cmi_run_preset_network(o);
    if (o->model || (o->teacher && !o->network)) return CM_OK;
    if (config) return cm_model_create(o->context, config, o->n.seed, &o->model);
    o->default_network = 1;
    cm_dataset_info_init(&d, sizeof d);
    CM_TRY(cm_dataset_info_get(o->dataset, &d));
    return cmi_run_default_model(o, d.height, &o->model);
}

cm_status cmi_run_needs_data(const cm_run_options *o)
{
    if (o->dataset || o->data) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "%sdata is needed: which pictures the run learns from%s", o->prefix,
            o->resume ? " (the directory has no config.json that says it, or none that could be read)" : "");
}

/* --- data -------------------------------------------------------------------------------- */

/* The shape of the images that the network takes, where one is known: of a new one by a throw-away. */
static cm_status shape_of_network(const cm_run_options *o, cm_dataset_options *d)
{
    cm_model_info m;
    cm_model *probe = NULL;
    const cm_model *model = cmi_run_learner(o);
    const char *config = o->network ? o->network : cmi_run_preset_network(o);
    if (!model && !config) return CM_OK;
    if (!model) CM_TRY(cm_model_create(o->context, config, 0, &probe));
    cm_model_info_init(&m, sizeof m);
    cm_status status = cm_model_info_get(model ? model : probe, &m);
    cmi_model_release(probe);
    CM_TRY(status);
    d->channels = m.channels;
    if (!d->height) d->height = d->width = m.height;
    return CM_OK;
}

static cm_status open_data(cm_run_options *o)
{
    cm_dataset_options d;
    if (o->dataset) return CM_OK;
    CM_TRY(cmi_run_needs_data(o));
    cm_dataset_options_init(&d, sizeof d);
    d.height = d.width = o->size;
    d.labels = o->labels < 0 ? CM_LABELS_AUTO : o->labels;
    d.class_names = o->class_names;
    d.random_crop = o->random_crop;
    d.stop_on_bad = o->stop_on_bad;
    d.seed = o->n.seed;
    CM_TRY(shape_of_network(o, &d));
    CM_TRY(cm_dataset_open(o->context, o->data, &d, &o->dataset));
    o->owns_dataset = 1;
    return CM_OK;
}

cm_status cmi_run_open_inputs(cm_run_options *o)
{
    CM_TRY(cmi_run_open_models(o));
    CM_TRY(open_data(o));
    return make_model(o);
}

void cmi_run_close_inputs(cm_run_options *o)
{
    if (!o->model_is_given) cmi_model_release(o->model), o->model = NULL;
    if (!o->teacher_is_given) cmi_model_release(o->teacher), o->teacher = NULL;
    if (o->owns_dataset) cm_dataset_free(o->dataset), o->dataset = NULL;
    o->owns_dataset = o->default_network = 0;
}

/* --- whether they go together ------------------------------------------------------------- */

/* Changed data is told as that, with both. */
static cm_status compare_data(const cm_run_options *o, const cm_dataset_info *now)
{
    char print[20], allow[CM_RUN_SHOWN];
    (void)snprintf(print, sizeof print, "%016llx", (unsigned long long)now->fingerprint);
    if (!o->resume || o->allow_changes || !o->fingerprint || strcmp(o->fingerprint, print) == 0) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT,
            "the data has changed: the run was made with '%s' of %lld pictures (fingerprint %s), '%s' has %llu "
            "(fingerprint %s): give the run's data, or %s to go on with this",
            o->before ? o->before : "?", (long long)o->images_before, o->fingerprint,
            o->data ? o->data : "the data set", (unsigned long long)now->images, print,
            cmi_run_option_shown(o, "allow_changes", allow));
}

cm_status cmi_run_compare(const cm_run_options *o)
{
    cm_model_info m;
    cm_dataset_info d;
    char text[1024];
    cm_model_info_init(&m, sizeof m);
    cm_dataset_info_init(&d, sizeof d);
    CM_TRY(cm_model_info_get(cmi_run_learner(o), &m));
    CM_TRY(cm_dataset_info_get(o->dataset, &d));
    CM_TRY(compare_data(o, &d));
    cm_status status = cm_train_data_check(cmi_run_learner(o), o->dataset, o->train);
    if (status == CM_OK) return CM_OK;
    (void)snprintf(text, sizeof text, "%s", cm_last_message());
    if (o->size && o->size != m.height)
        CM_FAIL(status,
                "%s; %ssize %d is not what the network takes: leave it away, or give a %snetwork of that size", text,
                o->prefix, o->size, o->prefix);
    const cm_train_settings settings = cmi_settings_of(o->train);
    const uint64_t pairs = (uint64_t)cmi_objective_views(&settings); /* of an image, which a batch counts */
    if (d.images * pairs < (uint64_t)o->n.batch)
        CM_FAIL(status, "%s; give %sbatch %llu or less", text, o->prefix, (unsigned long long)(d.images * pairs));
    return status;
}
