/* keys.c - see the header. */
#include "support/keys.h"

#include <stdlib.h>
#include <string.h>

/* Only the filters of resampling are read when a model is put together: [1, 1] and [1, 3, 3, 1]. */
static cm_status read_filter(const cm_tensor *t, void *out)
{
    static const double taps[4] = {1, 3, 3, 1};
    size_t n = t->rank == 4 && t->shape[2] == 4 ? 4 : 2;
    double sum = n == 4 ? 8 : 2;
    if (t->rank != 4 || t->count != n * n)
        CM_FAIL(CM_ERR_INTERNAL, "tensor '%s' is read, and a list of keys has no values", t->name);
    for (size_t i = 0; i < n * n; i++) {
        double a = n == 4 ? taps[i / n] : 1, b = n == 4 ? taps[i % n] : 1;
        ((float *)out)[i] = (float)(a * b / (sum * sum));
    }
    return CM_OK;
}

static void close_list(cm_tensors *t)
{
    (void)t;
}

static const cm_tensor_format format = {.name = "list of keys", .read = read_filter, .close = close_list};

cm_status keys_add(cm_tensors *list, const char *name, int rank, const int64_t *shape)
{
    cm_tensor *t;
    CM_TRY(cmi_tensors_add(list, name, &t));
    t->type = CM_TENSOR_F32;
    t->rank = rank;
    t->count = 1;
    for (int i = 0; i < rank; i++) t->count *= (size_t)(t->shape[i] = shape[i]);
    t->bytes = t->count * sizeof(float);
    return CM_OK;
}

cm_status keys_add_line(cm_tensors *list, char *line)
{
    int64_t shape[CM_TENSOR_RANK];
    int rank = 0;
    char *at = strchr(line, ' ');
    line[strcspn(line, "\n")] = '\0';
    if (at) *at++ = '\0';
    while (at && rank < CM_TENSOR_RANK && *at) shape[rank++] = strtoll(at, &at, 10);
    return keys_add(list, line, rank, shape);
}

cm_status keys_fit(cm_context *context, const char *name, cm_tensors *list, cm_model **out)
{
    return keys_fit_given(context, name, list, NULL, out);
}

cm_status keys_fit_given(cm_context *context, const char *name, cm_tensors *list, const char *config_json,
                         cm_model **out)
{
    cm_model *m;
    *out = NULL;
    list->format = &format;
    list->input.name = (char *)(uintptr_t)name;
    cm_status status = cmi_model_new(context, &m);
    if (status != CM_OK) {
        cmi_tensors_close(list);
        return status;
    }
    m->file.file = *list;
    for (size_t i = 0; i < list->count; i++) m->file.file.tensors[i].from = &m->file.file;
    status = cmi_model_fit(m, config_json);
    if (status == CM_OK) *out = m;
    else cmi_model_release(m);
    return status;
}

uint64_t keys_count(const cm_model *m)
{
    uint64_t n = 0;
    for (int i = 0; i < m->graph->n_params; i++)
        if (!m->graph->params[i].constant) n += cmi_param_elements(&m->graph->params[i]);
    return n;
}
