/* model.c - a model in memory: from a configuration to graphs and parameters, and its end. */
#include "diffusion/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "diffusion/classes.h"
#include "diffusion/denoiser.h"
#include "nets/fold.h"
#include "nets/init.h"

cm_status cmi_model_bind(cm_model *m)
{
    m->folded = cmi_fold_bind(m->inference, m->graph->n_params, m->sources);
    return m->folded ? cmi_params_create(m->inference, m->sources, &m->params) : CM_ERR_MEMORY;
}

/* --- the image --------------------------------------------------------------- */

typedef struct {
    int32_t channels, height, width, labels;
} image_config;

#define INT(name, low)                                                                                               \
    {                                                                                                                \
#name, CM_FIELD_INT, offsetof(image_config, name), 0, low, 65536, NULL, 0                                    \
    }
static const cm_field image_fields[] = {INT(channels, 1), INT(height, 1), INT(width, 1), INT(labels, 0)};

static cm_status read_image(const json_t *object, cm_model *m)
{
    static const char what[] = "consistency.image";
    image_config image = {m->net.in_channels, m->net.resolution, m->net.resolution, m->net.num_classes};
    if (object)
        CM_TRY(cmi_fields_read(what, object, image_fields, sizeof image_fields / sizeof *image_fields, &image));
    if (image.channels != m->net.in_channels)
        CM_FAIL(CM_ERR_FORMAT, "%s: channels is %d, but the network takes %d", what, image.channels,
                m->net.in_channels);
    if (object && json_object_get(object, "labels") && image.labels != m->net.num_classes)
        CM_FAIL(CM_ERR_FORMAT, "%s: labels is %d, but the network knows %d classes", what, image.labels,
                m->net.num_classes);
    m->channels = image.channels;
    m->height = image.height;
    m->width = image.width;
    return CM_OK;
}

/* How many channels F has for the preconditioning at hand. */
static cm_status check_channels(cm_model *m)
{
    cm_net_config *net = &m->net;
    if (m->precond.kind->variances && net->out_channels == net->in_channels) net->out_channels *= 2;
    int32_t expected = m->precond.kind->variances ? 2 * net->in_channels : net->in_channels;
    const int heads = m->precond.kind->second_head && net->out_channels == 2 * net->in_channels;
    if (!m->precond.kind->raw && net->out_channels != expected && !heads)
        CM_FAIL(CM_ERR_FORMAT,
                "consistency.network: out_channels is %d; precond \"%s\" on images of %d channels "
                "needs %d",
                net->out_channels, cmi_precond_name(&m->precond), net->in_channels, expected);
    m->out_channels = m->precond.kind->raw ? net->out_channels : net->in_channels;
    return CM_OK;
}

/* Other preconditionings do not say what the second time is. */
static cm_status check_times(const cm_model *m)
{
    const int two = m->net.second_time != CM_SECOND_NONE;
    if (two && !m->precond.kind->two_times && !m->precond.kind->raw)
        CM_FAIL(CM_ERR_FORMAT,
                "consistency.network: a network with a second_time needs precond \"average-velocity\", \"imm\", "
                "\"edm-flow\" or "
                "\"none\", not \"%s\"",
                cmi_precond_name(&m->precond));
    if (!two && m->precond.kind->two_times)
        CM_FAIL(CM_ERR_FORMAT, "consistency.precond: \"%s\" needs a network with a second_time",
                cmi_precond_name(&m->precond));
    return CM_OK;
}

/* --- a model ------------------------------------------------------------------ */

cm_status cmi_model_keep_config(cm_model *m)
{
    char *text = cmi_json_print(m->file.config, JSON_COMPACT);
    if (!text) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    m->config_text = cmi_strdup(m->context, text);
    free(text);
    return m->config_text ? CM_OK : CM_ERR_MEMORY;
}

/* A few words can ask for a network of tens of thousands of tensors, whose description takes more memory than a file
 * without them should: each block of the two sides has eight tensors or more. */
static cm_status check_extent(const cm_model *m)
{
    enum { EACH = 8, ALWAYS = 1000, SHARE = 4 };
    const cm_tensors *file = &m->file.file;
    const size_t least = (size_t)EACH * (size_t)m->net.levels * (2 * (size_t)m->net.num_blocks + 1);
    if (!file->context || least <= ALWAYS + SHARE * file->count) return CM_OK;
    CM_FAIL(CM_ERR_SHAPE, "%s does not fit its network, which has more than %zu tensors: the file has %zu",
            file->input.name, least, file->count);
}

cm_status cmi_model_configure(cm_model *m)
{
    const json_t *config = m->file.config;
    CM_TRY(cmi_net_config_read(json_object_get(config, "network"), &m->net));
    CM_TRY(cmi_precond_read(m->context, json_object_get(config, "precond"), m->net.family->time, &m->precond));
    CM_TRY(read_image(json_object_get(config, "image"), m));
    CM_TRY(check_channels(m));
    CM_TRY(check_times(m));
    CM_TRY(check_extent(m));
    CM_TRY(cmi_sampling_defaults_read(config, &m->net, &m->precond, m->height == m->width ? m->height : 0,
                                      &m->sampling));
    CM_TRY(cmi_classes_check(json_object_get(config, "classes"), m->net.num_classes));
    return cmi_model_describe_both(m);
}

cm_status cmi_model_new(cm_context *context, cm_model **out)
{
    cm_context *owner;
    *out = NULL;
    CM_TRY(cmi_context_retain(context, &owner));
    cm_model *m = cmi_calloc(owner, 1, sizeof *m);
    if (!m) {
        cm_context_free(owner);
        return CM_ERR_MEMORY;
    }
    m->context = owner;
    atomic_init(&m->references, 1);
    (void)pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return CM_OK;
}

/* --- without a file -------------------------------------------------------------- */

static cm_status fill_block(cm_model *m, uint64_t seed, const float *values)
{
    size_t n = (size_t)m->graph->n_params;
    size_t *offsets = cmi_calloc(m->context, n, sizeof *offsets);
    if (!offsets) return CM_ERR_MEMORY;
    size_t floats = cmi_param_offsets(m->graph, offsets);
    m->block = cmi_calloc(m->context, floats, sizeof *m->block);
    m->tensors = cmi_calloc(m->context, n, sizeof *m->tensors);
    cm_status status = m->block && m->tensors ? CM_OK : CM_ERR_MEMORY;
    if (status == CM_OK && values) memcpy(m->block, values, floats * sizeof *values);
    for (int i = 0; i < m->graph->n_params && status == CM_OK; i++) {
        if (m->graph->params[i].constant) continue;
        if (!values) cmi_net_init(m->graph, &m->net, seed, i, m->block + offsets[i]);
        m->tensors[i] =
            cmi_checkpoint_describe(&m->graph->params[i], m->graph->params[i].name, m->block + offsets[i]);
        m->sources[i] = cmi_checkpoint_source(&m->tensors[i]);
    }
    cmi_free(m->context, offsets);
    return status;
}

static cm_status make_parts(cm_model *m, const json_t *config, uint64_t seed, const float *values)
{
    m->file.config = cmi_json_copy(config);
    if (!m->file.config) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    CM_TRY(cmi_model_configure(m));
    CM_TRY(fill_block(m, seed, values));
    CM_TRY(cmi_model_bind(m));
    return cmi_model_keep_config(m);
}

cm_status cmi_model_make(cm_context *context, const json_t *config, uint64_t seed, const float *values,
                         cm_model **out)
{
    cm_model *m;
    CM_TRY(cmi_model_new(context, &m));
    cm_status status = make_parts(m, config, seed, values);
    if (status != CM_OK) cmi_model_release(m);
    *out = status == CM_OK ? m : NULL;
    return status;
}

cm_status cmi_model_values(const cm_model *m, float *block)
{
    size_t at = 0;
    for (int i = 0; i < m->graph->n_params; i++) {
        if (m->graph->params[i].constant) continue;
        CM_TRY(cmi_tensor_read(cmi_checkpoint_tensor(&m->sources[i]), block + at));
        if (m->sources[i].forget) m->sources[i].forget(&m->sources[i]); /* who copies all has them now */
        at += (cmi_param_elements(&m->graph->params[i]) + 15) / 16 * 16;
    }
    return CM_OK;
}

cm_status cmi_model_parameters(cm_context *context, const json_t *config, uint64_t *out)
{
    cm_model *m;
    CM_TRY(cmi_model_new(context, &m));
    m->file.config = cmi_json_copy(config);
    cm_status status =
        m->file.config ? cmi_model_configure(m) : cmi_fail(CM_ERR_MEMORY, "out of memory: configuration");
    *out = 0;
    for (int i = 0; status == CM_OK && i < m->graph->n_params; i++)
        if (!m->graph->params[i].constant) *out += cmi_param_elements(&m->graph->params[i]);
    cmi_model_release(m);
    return status;
}

void cmi_model_retain(cm_model *model)
{
    atomic_fetch_add(&model->references, 1);
}

void cmi_model_release(cm_model *m)
{
    if (!m || atomic_fetch_sub(&m->references, 1) != 1) return;
    cm_context *context = m->context;
    cmi_denoiser_free(m->denoiser);
    for (int i = 0; i < 8; i++) cmi_denoiser_free(m->tangents[i]);
    cmi_params_free(m->params);
    cmi_free(context, m->folded);
    cmi_free(context, m->sources);
    cmi_graph_free(m->inference);
    cmi_graph_free(m->graph);
    cmi_precond_release(&m->precond);
    cmi_checkpoint_close(&m->file);
    cmi_free(context, m->block);
    cmi_free(context, m->tensors);
    cmi_free(context, m->config_text);
    (void)pthread_mutex_destroy(&m->lock);
    cmi_free(context, m);
    cm_context_free(context);
}

int cmi_model_needs_label(const cm_model *model)
{
    return model->net.family->needs_label && model->net.num_classes > 0;
}

cm_status cmi_model_check_labels(const cm_model *model, const int32_t *labels, size_t n)
{
    int32_t low = cmi_model_needs_label(model) ? 0 : -1, classes = model->net.num_classes;
    if (!labels && low == 0)
        CM_FAIL(CM_ERR_ARGUMENT, "this model is class-conditional: labels 0..%d are needed", classes - 1);
    for (size_t i = 0; labels && i < n; i++) {
        if (!classes && labels[i] != -1)
            CM_FAIL(CM_ERR_ARGUMENT, "labels[%zu] is %d, but the model is unconditional", i, labels[i]);
        if (labels[i] < low || labels[i] >= (classes ? classes : 1))
            CM_FAIL(CM_ERR_ARGUMENT, "labels[%zu] is %d; this model knows %d..%d", i, labels[i], low, classes - 1);
    }
    return CM_OK;
}
