/* inspect.c - whose tensors a file holds: those of a network of this library where all of its parts fit, else what
 * keeps them from being one. */
#include "diffusion/inspect.h"

#include <stdio.h>
#include <string.h>

const cm_tensors *cmi_inspect_tensors(const cm_checkpoint *c)
{
    return &c->model->file.file;
}

/* Failures that are no answer to the question what the file is. */
static int is_failure(cm_status status)
{
    return status == CM_ERR_MEMORY || status == CM_ERR_CANCELLED || status == CM_ERR_FORKED ||
           status == CM_ERR_INTERNAL;
}

static int says_its_network(const cm_tensors *t)
{
    return cmi_tensors_metadata(t, "consistency.format") || cmi_tensors_metadata(t, "consistency.network");
}

static void describe_model(cm_checkpoint *c)
{
    const cm_model *m = c->model;
    char classes[40] = "";
    if (m->net.num_classes) (void)snprintf(classes, sizeof classes, ", %d classes", m->net.num_classes);
    (void)snprintf(c->about, sizeof c->about, "a %s model of images of %d x %d, %d channel%s%s",
                   cmi_precond_is_consistency(&m->precond) ? "consistency" : "diffusion", m->width, m->height,
                   m->channels, m->channels == 1 ? "" : "s", classes);
}

/* As a training run of this library stores them beside its weights. */
static int are_moments(const cm_tensors *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (strncmp(t->tensors[i].name, "exp_avg.", 8) != 0 && strncmp(t->tensors[i].name, "exp_avg_sq.", 11) != 0)
            return 0;
    return t->count > 0;
}

static void describe_other(cm_checkpoint *c, cm_status reason)
{
    const cm_tensors *t = cmi_inspect_tensors(c);
    const char *said = cmi_tensors_metadata(t, CM_NOTE_ABOUT);
    const char *about = said ? said : "tensors that are no network of this library";
    c->kind = CM_CHECKPOINT_TENSORS;
    c->reason = reason;
    if (t->of_optimizer || are_moments(t))
        c->kind = CM_CHECKPOINT_OPTIMIZER, about = "the state of an optimizer, not weights";
    else if (says_its_network(t) && reason != CM_ERR_UNSUPPORTED)
        c->kind = CM_CHECKPOINT_MISFIT, about = "a model that does not fit what the file says of its network";
    else if (!t->count) about = "a file without tensors";
    (void)snprintf(c->about, sizeof c->about, "%s", about);
}

static void find_weights(cm_checkpoint *c)
{
    const cm_tensors *t = cmi_inspect_tensors(c);
    size_t i = 0;
    while (i < t->metadata_count && strcmp(t->metadata[i].key, "weights") != 0) i++;
    c->weights_entry = i;
    if (i < t->metadata_count && strcmp(t->metadata[i].value, "the whole file") != 0)
        c->weights = t->metadata[i].value;
}

static cm_status recognise(cm_checkpoint *c, const char *config_json)
{
    cm_model *m = c->model;
    const cm_tensors *t = cmi_inspect_tensors(c);
    cm_status status = t->refusal ? cmi_fail(CM_ERR_UNSUPPORTED, "%s", t->refusal) : cmi_model_fit(m, config_json);
    if (status == CM_OK) {
        c->kind = CM_CHECKPOINT_MODEL;
        describe_model(c);
        return CM_OK;
    }
    if (is_failure(status) || config_json) return status;
    c->problem = cmi_strdup(m->context, cm_last_message());
    if (!c->problem) return CM_ERR_MEMORY;
    describe_other(c, status);
    return CM_OK;
}

static cm_status open_parts(cm_checkpoint *c, const cm_model_source *source, const cm_checkpoint_options *options)
{
    cm_model *m = c->model;
    cm_input in;
    if (source->path) CM_TRY(cmi_input_file(m->context, source->path, CM_INPUT_IN_PLACE, &in));
    else CM_TRY(cmi_input_memory(m->context, "memory", source->bytes, source->size, CM_INPUT_IN_PLACE, &in));
    in.weights = options->weights;
    in.as_data = 1;
    CM_TRY(cmi_tensors_open(&in, &m->file.file));
    find_weights(c);
    return recognise(c, options->config_json);
}

cm_status cmi_inspect_open(cm_context *context, const cm_model_source *source, const cm_checkpoint_options *options,
                           cm_checkpoint **out)
{
    cm_model *m;
    char before[2048]; /* a successful call leaves the thread's message as it was */
    (void)snprintf(before, sizeof before, "%s", cm_last_message());
    *out = NULL;
    CM_TRY(cmi_model_new(context, &m));
    cm_checkpoint *c = cmi_calloc(m->context, 1, sizeof *c);
    if (!c) {
        cmi_model_release(m);
        return CM_ERR_MEMORY;
    }
    c->model = m;
    cm_status status = open_parts(c, source, options);
    if (status != CM_OK) {
        cmi_inspect_close(c);
        return status;
    }
    cmi_message_set(before);
    *out = c;
    return CM_OK;
}

void cmi_inspect_close(cm_checkpoint *c)
{
    if (!c) return;
    cm_model *m = c->model;
    cmi_free(m->context, c->problem);
    cmi_free(m->context, c);
    cmi_model_release(m);
}
