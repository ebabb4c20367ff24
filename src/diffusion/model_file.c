/* model_file.c - a file, memory or a stream to a model, and a model to a file or a folder. */
#include <stdio.h>
#include <string.h>

#include "diffusion/model.h"
#include "nets/export.h"

/* --- reading ---------------------------------------------------------------------- */

/* The file's own table of iDDPM levels replaces the computed one: it is the
 * grid the network was trained on, in the reference's float32. */
static cm_status take_table(cm_model *m)
{
    const char *name = m->file.file.input.name, *table = m->precond.kind->table;
    const cm_tensor *t = table ? cmi_tensors_find(&m->file.file, table) : NULL;
    size_t n = (size_t)m->precond.M + 1;
    if (!t) return CM_OK;
    if (t->count != n || t->type != CM_TENSOR_F32)
        CM_FAIL(CM_ERR_SHAPE, "%s: the table u has %zu values of type %s, expected %zu F32", name, t->count,
                cmi_tensor_type_name(t->type), n);
    float *u = cmi_malloc(m->context, n, sizeof *u);
    if (!u) return CM_ERR_MEMORY;
    cm_status status = cmi_tensor_read(t, u);
    for (size_t i = 0; i < n && status == CM_OK; i++) {
        double d = (double)u[i] - m->precond.table[i];
        if (!(d * d <= 1e-6 * m->precond.table[i] * m->precond.table[i] + 1e-12))
            status = cmi_fail(CM_ERR_SHAPE, "%s: u[%zu] is %g; M, C_1 and C_2 give %g", name, i, (double)u[i],
                              m->precond.table[i]);
    }
    for (size_t i = 0; i < n && status == CM_OK; i++) m->precond.table[i] = (double)u[i];
    cmi_free(m->context, u);
    return status;
}

/* What loading reports is bytes: those that are copied, then those of the tensors that are looked at. */
static cm_status check_finite(const cm_model *m, const cm_load_options *options)
{
    const cm_input *in = &m->file.file.input;
    uint64_t done = in->work - in->size;
    for (int i = 0; i < m->graph->n_params; i++) {
        int finite = 1;
        CM_TRY(cmi_input_report(in, done));
        if (!options->allow_nonfinite) CM_TRY(cmi_checkpoint_finite(&m->sources[i], &finite));
        if (!finite)
            CM_FAIL(CM_ERR_NUMERIC, "%s: tensor '%s' holds a NaN or an infinity (allow_nonfinite accepts it)",
                    in->name, m->graph->params[i].name);
        if (m->sources[i].forget) m->sources[i].forget(&m->sources[i]); /* until they are packed */
        done += m->sources[i].bytes;
    }
    return cmi_input_report(in, in->work);
}

static cm_status open_input(cm_context *context, const cm_model_source *source, const cm_load_options *options,
                            cm_input *in)
{
    cm_input_access access = options->copy || source->reader ? CM_INPUT_COPIED : CM_INPUT_IN_PLACE;
    if (source->path) CM_TRY(cmi_input_file(context, source->path, access, in));
    else if (source->reader) CM_TRY(cmi_input_reader(context, source->reader, access, in));
    else CM_TRY(cmi_input_memory(context, "memory", source->bytes, source->size, access, in));
    in->weights = options->weights;
    in->report = options->progress;
    in->report_user = options->progress_user;
    in->work = access == CM_INPUT_COPIED ? 2 * (uint64_t)in->size : in->size;
    return CM_OK;
}

static cm_status fit(cm_model *m, const char *config_json)
{
    CM_TRY(cmi_checkpoint_configure(&m->file, config_json));
    CM_TRY(cmi_model_configure(m));
    CM_TRY(cmi_checkpoint_bind(&m->file, m->graph, &m->net, m->precond.kind->table, m->sources));
    CM_TRY(take_table(m));
    return cmi_model_keep_config(m);
}

/* What is wrong with the parts of a network is found where no file is known, so that the file is named here. */
cm_status cmi_model_fit(cm_model *m, const char *config_json)
{
    const char *file = m->file.file.input.name;
    char words[2048];
    cm_status status = fit(m, config_json);
    if (status == CM_OK || status == CM_ERR_MEMORY || status == CM_ERR_CANCELLED || config_json ||
        strstr(cm_last_message(), file))
        return status;
    (void)snprintf(words, sizeof words, "%s", cm_last_message());
    return cmi_fail(status, "%s: %s", file, words);
}

static cm_status open_parts(cm_model *m, const cm_model_source *source, const cm_load_options *options)
{
    cm_input in;
    CM_TRY(open_input(m->context, source, options, &in));
    CM_TRY(cmi_tensors_open(&in, &m->file.file));
    CM_TRY(cmi_model_fit(m, options->config_json));
    CM_TRY(check_finite(m, options));
    m->file.file.input.report = NULL;
    CM_TRY(cmi_model_bind(m));
    cmi_log(m->context, CM_LOG_INFO, "loaded %s: %s, precond %s, %d x %d x %d, %zu tensors", m->file.file.input.name,
            m->net.family->name, cmi_precond_name(&m->precond), m->channels, m->height, m->width, m->file.file.count);
    return CM_OK;
}

cm_status cmi_model_open(cm_context *context, const cm_model_source *source, const cm_load_options *options,
                         cm_model **out)
{
    cm_model *m;
    *out = NULL;
    CM_TRY(cmi_model_new(context, &m));
    cm_status status = open_parts(m, source, options);
    if (status != CM_OK) cmi_model_release(m);
    else *out = m;
    return status;
}

/* --- writing ---------------------------------------------------------------------- */

cm_status cmi_model_write(const cm_model *m, const char *path, const cm_save_options *options)
{
    const cm_precond *p = &m->precond;
    const cm_export model = {
        .context = m->context,
        .path = path,
        .options = options,
        .config = m->file.config,
        .net = &m->net,
        .height = m->height,
        .width = m->width,
        .precond = {cmi_precond_name(p), p->kind->scheduler, p->sigma_data, p->sigma_min, p->sigma_max, p->time},
        .graph = m->graph,
        .sources = m->sources,
        .table = p->kind->table ? cmi_tensors_find(&m->file.file, p->kind->table) : NULL,
    };
    return cmi_export_write(&model);
}
