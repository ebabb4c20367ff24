/* reconstruct.c - stored averages with what is known of them, their sum, and the model that it makes. */
#include "train/reconstruct.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "train/phema.h"

typedef struct {
    cm_model *model;
    const char *path;
} stored;

typedef struct {
    cm_context *context;
    size_t n, latest;
    stored *files;
    cm_profile *profiles;
    double *weights;
    cm_profile wanted;
    const cm_average_options *options;
    size_t given, opened; /* files, those of step 0 too */
} job;

/* Half of the work is that files are opened, half that they are added. */
static int32_t ask(const job *j, uint64_t done)
{
    const cm_average_options *o = j->options;
    return o->progress ? o->progress(o->progress_user, done, 2 * (uint64_t)j->given) : 0;
}

static int32_t ask_while_opening(void *user, uint64_t done, uint64_t total)
{
    const job *j = user;
    (void)done, (void)total;
    return ask(j, j->opened);
}

static cm_status report(const job *j, uint64_t done)
{
    if (ask(j, done)) CM_FAIL(CM_ERR_CANCELLED, "cancelled by the progress callback");
    return CM_OK;
}

/* --- what a file says of its average ---------------------------------------------------------- */

/* "NAME-IMAGES-STD.pkl", as EDM2's code calls its snapshots: thousands of images. */
static int read_name(const char *path, cm_profile *out)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *last = strrchr(name, '-');
    const char *first = last;
    while (first && first > name && first[-1] != '-') first--;
    if (!first || first == name) return 0;
    const size_t digits = strspn(first, "0123456789"), whole = strspn(last + 1, "0123456789");
    if (first + digits != last || digits < 1 || whole < 1 || last[1 + whole] != '.') return 0;
    const size_t part = strspn(last + 2 + whole, "0123456789");
    if (part < 1 || part > 9 || (last[2 + whole + part] && last[2 + whole + part] != '.')) return 0;
    double std = 0, unit = 1;
    for (const char *c = last + 1; c < last + 2 + whole + part; c++) {
        if (*c == '.') continue;
        std = 10 * std + (*c - '0');
        if (c > last + 1 + whole) unit *= 10;
    }
    *out = (cm_profile){1000 * strtod(first, NULL), std / unit};
    return 1;
}

static cm_status read_profile(const stored *s, cm_profile *out)
{
    const json_t *training = json_object_get(s->model->file.config, "training");
    const json_t *average = json_object_get(training, "average"), *images = json_object_get(training, "images");
    const char *form = json_string_value(json_object_get(average, "form"));
    if (form && strcmp(form, "power") == 0)
        *out = (cm_profile){json_number_value(images), json_number_value(json_object_get(average, "value"))};
    else if (!read_name(s->path, out))
        CM_FAIL(CM_ERR_FORMAT,
                "%s: neither its metadata nor its name says which power-function average it is, and after how many "
                "images (option ema of a run: power:STD)",
                s->path);
    if (!(out->end >= 0 && out->end < 1e18 && out->std > 0 && out->std < 0.28))
        CM_FAIL(CM_ERR_FORMAT, "%s: an average of std %g after %g images is none", s->path, out->std, out->end);
    return CM_OK;
}

static cm_status same_network(const job *j, size_t i)
{
    char text[512];
    const cm_model *a = j->files[0].model, *b = j->files[i].model;
    if (cmi_net_config_differences(&a->net, &b->net, " there", " here", text, sizeof text) > 0)
        CM_FAIL(CM_ERR_SHAPE, "%s holds another network than %s: %s", j->files[i].path, j->files[0].path, text);
    return CM_OK;
}

static cm_status not_twice(const job *j)
{
    const size_t i = j->n;
    for (size_t k = 0; k < i; k++)
        if (j->profiles[i].end == j->profiles[k].end && j->profiles[i].std == j->profiles[k].std)
            CM_FAIL(CM_ERR_ARGUMENT, "%s and %s hold the same average: std %g after %g images", j->files[k].path,
                    j->files[i].path, j->profiles[i].std, j->profiles[i].end);
    return CM_OK;
}

/* One of before the first step is passed over: it is of nothing yet. */
static cm_status open_one(job *j, const char *path)
{
    const cm_model_source source = {.path = path};
    cm_load_options options = CM_LOAD_OPTIONS_INIT;
    const size_t i = j->n;
    options.progress = ask_while_opening;
    options.progress_user = j;
    j->files[i].path = path;
    CM_TRY(cmi_model_open(j->context, &source, &options, &j->files[i].model));
    CM_TRY(same_network(j, i));
    CM_TRY(read_profile(&j->files[i], &j->profiles[i]));
    if (j->profiles[i].end == 0) {
        cmi_model_release(j->files[i].model);
        j->files[i].model = NULL;
        return CM_OK;
    }
    CM_TRY(not_twice(j));
    if (j->profiles[i].end > j->profiles[j->latest].end) j->latest = i;
    j->n++;
    return CM_OK;
}

static cm_status open_all(job *j, const char *const *paths, size_t n)
{
    for (; j->opened < n; j->opened++) CM_TRY(open_one(j, paths[j->opened]));
    if (j->n == 0) CM_FAIL(CM_ERR_ARGUMENT, "%s and %zu others: there is no average of any step", paths[0], n - 1);
    return CM_OK;
}

/* --- the sum ------------------------------------------------------------------------------------- */

static cm_status add(const job *j, int index, float *values, double *sum, float *out)
{
    const cm_param_desc *p = &j->files[0].model->graph->params[index];
    const size_t count = cmi_param_elements(p);
    memset(sum, 0, count * sizeof *sum);
    for (size_t i = 0; i < j->n; i++) {
        const cm_param_source *source = &j->files[i].model->sources[index];
        CM_TRY(cmi_tensor_read(cmi_checkpoint_tensor(source), values));
        if (source->forget) source->forget(source);
        for (size_t k = 0; k < count; k++) sum[k] += j->weights[i] * (double)values[k];
        if (p->exact) { /* a table, the same in all */
            memcpy(out, values, count * sizeof *out);
            return CM_OK;
        }
    }
    for (size_t k = 0; k < count; k++) out[k] = (float)sum[k];
    return CM_OK;
}

static cm_status add_all(const job *j, const cm_graph *g, const size_t *offsets, float *block)
{
    size_t most = 1;
    for (int i = 0; i < g->n_params; i++) {
        const size_t count = cmi_param_elements(&g->params[i]);
        if (count > most) most = count;
    }
    float *values = cmi_malloc(j->context, most, sizeof *values);
    double *sum = cmi_malloc(j->context, most, sizeof *sum);
    cm_status status = values && sum ? CM_OK : CM_ERR_MEMORY;
    for (int i = 0; i < g->n_params && status == CM_OK; i++) {
        status = report(j, j->given + (uint64_t)i * j->given / (uint64_t)g->n_params);
        if (status == CM_OK && !g->params[i].constant) status = add(j, i, values, sum, block + offsets[i]);
    }
    if (status == CM_OK) status = report(j, 2 * j->given);
    cmi_free(j->context, sum);
    cmi_free(j->context, values);
    return status;
}

/* The latest one's configuration; of its training it is said what this average is. */
static json_t *configuration(const job *j)
{
    json_t *config = cmi_json_copy(j->files[j->latest].model->file.config);
    const json_t *given = json_object_get(config, "training");
    json_t *training = given ? cmi_json_copy(given) : json_object();
    json_t *more = json_pack("{s:{s:s, s:f}, s:I, s:I}", "average", "form", "power", "value", j->wanted.std, "images",
                             (json_int_t)j->wanted.end, "reconstructed_from", (json_int_t)j->n);
    const int failed = !config || !more || !training || json_object_update(training, more) != 0 ||
                       json_object_set(config, "training", training) != 0;
    json_decref(training);
    json_decref(more);
    if (!failed) return config;
    json_decref(config);
    return NULL;
}

static cm_status make_model(const job *j, cm_model **out)
{
    const cm_graph *g = j->files[0].model->graph;
    size_t *offsets = cmi_calloc(j->context, (size_t)g->n_params, sizeof *offsets);
    float *block = offsets ? cmi_calloc(j->context, cmi_param_offsets(g, offsets), sizeof *block) : NULL;
    cm_status status = block ? add_all(j, g, offsets, block) : CM_ERR_MEMORY;
    if (status == CM_OK) {
        json_t *config = configuration(j);
        if (!config) status = cmi_fail(CM_ERR_MEMORY, "out of memory: configuration");
        else status = cmi_model_make(j->context, config, 0, block, out);
        json_decref(config);
    }
    cmi_free(j->context, block);
    cmi_free(j->context, offsets);
    return status;
}

static cm_status run(job *j, const char *const *paths, size_t n, cm_model **out)
{
    CM_TRY(open_all(j, paths, n));
    const double end = j->profiles[j->latest].end;
    if (j->wanted.end == 0) j->wanted.end = end;
    if (j->wanted.end > end)
        CM_FAIL(CM_ERR_ARGUMENT,
                "an average that ends after %g images is wanted, the last of the files ends after %g", j->wanted.end,
                end);
    CM_TRY(cmi_profile_weights(j->context, j->n, j->profiles, j->wanted, j->weights));
    return make_model(j, out);
}

cm_status cmi_average_reconstruct(cm_context *context, const char *const *paths, size_t n,
                                  const cm_average_options *options, cm_model **out)
{
    job j = {.wanted = {options->images, options->std}, .options = options, .given = n};
    CM_TRY(cmi_context_retain(context, &j.context));
    j.files = cmi_calloc(j.context, n, sizeof *j.files);
    j.profiles = cmi_calloc(j.context, n, sizeof *j.profiles);
    j.weights = cmi_calloc(j.context, n, sizeof *j.weights);
    cm_status status = j.files && j.profiles && j.weights ? run(&j, paths, n, out) : CM_ERR_MEMORY;
    for (size_t i = 0; j.files && i < n; i++) cmi_model_release(j.files[i].model);
    cmi_free(j.context, j.weights);
    cmi_free(j.context, j.profiles);
    cmi_free(j.context, j.files);
    cm_context_free(j.context);
    return status;
}
