/* operations_training.c - rows of operations.h: training and runs. */
#include <stdio.h>
#include <string.h>

#include "support/operations_parts.h"

static const char lin_file[] = "models/features/lpips_lin.safetensors";

/* A step, a checkpoint, a step of a trainer that goes on from there. */
static cm_status train(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL, *u = NULL;
    const char *run = path_of(at->out, "run");
    char kept[400];
    (void)snprintf(kept, sizeof kept, "%s", run);
    cm_status status = tiny_options(at->context, at->choice, &o);
    if (status == CM_OK) status = tiny_trainer_with(at->context, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    if (status == CM_OK) status = cm_trainer_save(t, kept, 2);
    cm_trainer_free(t);
    if (status == CM_OK) status = tiny_trainer_with(at->context, o, &u);
    if (status == CM_OK) status = cm_trainer_resume(u, kept, NULL, 0);
    if (status == CM_OK) status = tiny_trainer_step(u);
    cm_trainer_free(u);
    cm_train_options_free(o);
    return status;
}

static cm_status optimize(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_model *m = NULL;
    cm_status status = tiny_options(at->context, "edm", &o);
    if (status == CM_OK) status = cm_train_options_set(o, "optimizer", at->choice);
    if (status == CM_OK) status = tiny_trainer_with(at->context, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    if (status == CM_OK) status = cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m);
    cm_model_free(m);
    cm_trainer_free(t);
    cm_train_options_free(o);
    return status;
}

static cm_status train_on_set(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_dataset *d = NULL;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_status status = tiny_options(at->context, "edm", &o);
    if (status == CM_OK) status = open_set_of(at, "folder", &d);
    if (status == CM_OK) status = cm_model_create(at->context, TINY_DENOISER, 1, &inputs.model);
    if (status == CM_OK) status = cm_train_data_check(inputs.model, d, o);
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, &t);
    if (status == CM_OK) status = cm_trainer_run(t, d, 2, NULL, NULL);
    cm_trainer_free(t);
    cm_model_free(inputs.model);
    cm_dataset_free(d);
    cm_train_options_free(o);
    return status;
}

/* A group of two ranks of which the other one has and does what this one does. */
static cm_status mirror_sum(void *user, float *values, size_t n, const char *what, uint64_t *request)
{
    (void)user, (void)what;
    for (size_t i = 0; i < n; i++) values[i] += values[i];
    *request = 0;
    return CM_OK;
}

static cm_status mirror_wait(void *user, uint64_t request)
{
    (void)user, (void)request;
    return CM_OK;
}

static cm_status mirror_broadcast(void *user, void *bytes, size_t n, const char *what)
{
    (void)user, (void)bytes, (void)n, (void)what;
    return CM_OK;
}

static cm_status mirror_gather(void *user, const void *mine, size_t n, void *all, const char *what)
{
    (void)user, (void)what;
    memcpy(all, mine, n);
    memcpy((char *)all + n, mine, n);
    return CM_OK;
}

static void mirror_give_up(void *user, cm_status status, const char *message)
{
    (void)user, (void)status, (void)message;
}

static const char *mirror_message(void *user)
{
    (void)user;
    return "";
}

static const cm_group mirror = {sizeof mirror,
                                0,
                                2,
                                0,
                                NULL,
                                "a mirror",
                                mirror_sum,
                                mirror_wait,
                                mirror_broadcast,
                                mirror_gather,
                                mirror_give_up,
                                mirror_message};

/* A step and a checkpoint of one of them, and a resume. */
static cm_status train_in_group(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    char run[400];
    (void)snprintf(run, sizeof run, "%s", path_of(at->out, "group"));
    inputs.group = &mirror;
    cm_status status = tiny_options(at->context, "edm", &o);
    if (status == CM_OK) status = cm_train_options_set(o, "micro_shards", "2");
    if (status == CM_OK) status = cm_model_create(at->context, TINY_DENOISER, 1, &inputs.model);
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    if (status == CM_OK) status = cm_trainer_save(t, run, 2);
    if (status == CM_OK) status = cm_trainer_resume(t, run, NULL, 0);
    cm_trainer_free(t);
    cm_model_free(inputs.model);
    cm_train_options_free(o);
    return status;
}

static cm_status options(const place *at)
{
    cm_train_options *o = NULL, *copy = NULL;
    char text[8000];
    size_t length;
    cm_status status = cm_train_options_create(at->context, &o);
    if (status == CM_OK) status = cm_train_options_preset(o, "digits-ict-30min");
    if (status == CM_OK) status = cm_train_options_copy(o, &copy);
    if (status == CM_OK) status = cm_train_options_json(copy, text, sizeof text, &length);
    if (status == CM_OK) status = cm_train_options_read(copy, text);
    cm_train_options_free(copy);
    cm_train_options_free(o);
    return status;
}

/* What options say of themselves and of a training that they would be, without one. */
static cm_status ask_options(const place *at)
{
    cm_train_options *o = NULL;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_option_info info = CM_OPTION_INFO_INIT;
    cm_trainer *t = NULL;
    char text[2000];
    double number;
    uint64_t bytes, steps;
    cm_status status = tiny_options(at->context, "edm", &o);
    for (size_t i = 0; status == CM_OK && i < cm_train_option_count(); i++) {
        status = cm_train_option_describe(i, &info);
        if (status == CM_OK) status = cm_train_option_default(i, CM_TRAIN_EDM, text, sizeof text, NULL);
        if (status == CM_OK) status = cm_train_options_get(o, info.name, text, sizeof text, NULL);
    }
    if (status == CM_OK) status = cm_train_options_get_number(o, "lr", &number);
    if (status == CM_OK) status = cm_train_options_check(o);
    const char *network = cm_train_preset_config(0);
    if (status == CM_OK) status = cm_model_create(at->context, network, 1, &inputs.model);
    if (status == CM_OK) status = cm_train_preset_check(cm_train_preset_name(0), inputs.model);
    cm_model_free(inputs.model);
    inputs.model = NULL;
    if (status == CM_OK) status = cm_model_create(at->context, TINY_DENOISER, 1, &inputs.model);
    if (status == CM_OK) status = cm_trainer_estimate(&inputs, o, &bytes);
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, &t);
    if (status == CM_OK) status = cm_trainer_bytes(t, &bytes);
    if (status == CM_OK) status = cm_trainer_steps(t, &steps);
    cm_trainer_free(t);
    cm_model_free(inputs.model);
    cm_train_options_free(o);
    return status;
}

/* A step whose loss is by a network of LPIPS. */
static cm_status train_by_lpips(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_status status = tiny_options(at->context, "ct", &o);
    if (status == CM_OK) status = cm_train_options_set(o, "distance", "lpips");
    if (status == CM_OK) status = cm_train_options_set(o, "lpips_weights", path_of(at->in, "alex.safetensors"));
    if (status == CM_OK) status = cm_train_options_set(o, "lpips_lin", lin_file);
    if (status == CM_OK) status = cm_train_options_set(o, "lpips_resize", "small");
    if (status == CM_OK) status = tiny_trainer_with(at->context, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    cm_trainer_free(t);
    cm_train_options_free(o);
    return status;
}

/* Options of a run, asked, written, read, taken from a directory; and the file that the directory is about. */
static cm_status ask_run(const place *at)
{
    cm_run_options *o = NULL, *other = NULL, *given = NULL;
    cm_run *r = NULL;
    cm_model *m = NULL;
    cm_dataset *d = NULL;
    cm_run_info info = CM_RUN_INFO_INIT;
    char text[16000], path[600];
    cm_status status = cm_run_options_create(at->context, &o);
    if (status == CM_OK) cm_run_options_prefix(o, "--");
    if (status == CM_OK) status = cm_run_options_load(o, path_of(at->in, "kept"));
    if (status == CM_OK) status = cm_run_options_json(o, text, sizeof text, NULL);
    if (status == CM_OK) status = cm_run_options_create(at->context, &other);
    if (status == CM_OK) status = cm_run_options_read(other, text);
    if (status == CM_OK) status = cm_run_options_set_number(other, "steps", 3);
    if (status == CM_OK) status = cm_run_options_check(other);
    if (status == CM_OK) status = open_set_of(at, "folder", &d);
    if (status == CM_OK) status = cm_model_create(at->context, TINY_DENOISER, 1, &m);
    if (status == CM_OK) status = cm_run_options_create(at->context, &given);
    if (status == CM_OK) status = cm_run_options_inputs(given, m, NULL, d);
    if (status == CM_OK) status = cm_run_options_set(given, "batch", "2");
    if (status == CM_OK) status = cm_run_options_group(given, &mirror);
    if (status == CM_OK) status = cm_run_create(given, path_of(at->out, "asked"), &r);
    if (status == CM_OK) status = cm_run_info_get(r, &info);
    if (status == CM_OK) (void)cm_run_trainer(r);
    if (status == CM_OK) status = cm_run_model_path(at->context, path_of(at->in, "kept"), path, sizeof path);
    cm_run_free(r);
    cm_dataset_free(d);
    cm_model_free(m);
    cm_run_options_free(given);
    cm_run_options_free(other);
    cm_run_options_free(o);
    return status;
}

cm_status run_in(const place *at, const char *directory)
{
    cm_run_options *o = NULL;
    cm_run *r = NULL;
    cm_run_needs needs = CM_RUN_NEEDS_INIT;
    const char *const set[][2] = {{"objective", "edm"},
                                  {"batch", "2"},
                                  {"steps", "2"},
                                  {"threads", "1"},
                                  {"network", TINY_DENOISER},
                                  {"checkpoint_every", "1"},
                                  {"log_every", "1"},
                                  {"sample_every", "1"},
                                  {"data", path_of(at->in, "folder")},
                                  {"size", "8"}};
    cm_status status = cm_run_options_create(at->context, &o);
    for (size_t i = 0; i < sizeof set / sizeof *set && status == CM_OK; i++)
        status = cm_run_options_set(o, set[i][0], set[i][1]);
    if (status == CM_OK) status = cm_run_create(o, directory, &r);
    if (status == CM_OK) status = cm_run_estimate(r, 1, &needs);
    if (status == CM_OK) status = cm_run_begin(r);
    if (status == CM_OK) status = cm_run_execute(r, 2, NULL, NULL);
    cm_run_free(r);
    cm_run_options_free(o);
    return status;
}

static cm_status run_directory(const place *at)
{
    return run_in(at, path_of(at->out, "directory"));
}

const operation operations_of_training[] = {
    {"train", train, "objectives", NULL, 1},
    {"optimize", optimize, "optimizers", NULL, 1},
    {"train on a data set", train_on_set, NULL, NULL, 1},
    {"train by LPIPS", train_by_lpips, NULL, NULL, 1},
    {"train in a group", train_in_group, NULL, NULL, 1},
    {"training options", options, NULL, NULL, 0},
    {"ask training options", ask_options, NULL, NULL, 1},
    {"ask a run", ask_run, NULL, NULL, 0},
    {"run in a directory", run_directory, NULL, NULL, 1},
    {NULL, NULL, NULL, NULL, 0},
};
