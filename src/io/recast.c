/* recast.c - see the header. */
#include "io/recast.h"

#include <math.h>
#include <string.h>

#include "tensor/convert.h"

int cmi_tensor_measure(cm_tensor *t)
{
    t->count = 1;
    for (int i = 0; i < t->rank; i++)
        if ((uint64_t)t->shape[i] > SIZE_MAX / 2 || !cmi_mul_size(t->count, (size_t)t->shape[i], &t->count)) return 0;
    return cmi_mul_size(t->count, cmi_tensor_type_size(t->type), &t->bytes);
}

/* --- values ----------------------------------------------------------------------------- */

static void narrow(const cm_tensor *t, const float *values, void *out)
{
    if (t->type == CM_TENSOR_F16) cmi_f32_to_f16(t->count, values, out);
    else if (t->type == CM_TENSOR_BF16) cmi_f32_to_bf16(t->count, values, out);
    else memcpy(out, values, t->bytes);
}

static float widened(const cm_tensor *t, const unsigned char *bytes, size_t i)
{
    float f;
    if (t->type == CM_TENSOR_F16) cmi_f16_to_f32(1, bytes + 2 * i, &f);
    else if (t->type == CM_TENSOR_BF16) cmi_bf16_to_f32(1, bytes + 2 * i, &f);
    else memcpy(&f, bytes + 4 * i, sizeof f);
    return f;
}

/* Infinities and NaN that are there already are data; those that rounding makes are a loss. */
static cm_status check_narrowed(const cm_tensor *t, const cm_tensor *of, const float *values,
                                const unsigned char *bytes)
{
    for (size_t i = 0; i < t->count; i++)
        if (isinf(widened(t, bytes, i)) && (isfinite(values[i]) || of->type == CM_TENSOR_F64))
            CM_FAIL(CM_ERR_NUMERIC, "tensor '%s': value %zu, %g, is too large for %s and would become infinite",
                    t->name, i, (double)values[i], cmi_tensor_type_name(t->type));
    return CM_OK;
}

static cm_status convert(const cm_tensor *t, const cm_tensor *of, void *out)
{
    cm_context *context = t->from->context;
    float *values = cmi_malloc(context, t->count, sizeof *values);
    if (!values) return CM_ERR_MEMORY;
    cm_status status = cmi_tensor_read(of, values);
    if (status == CM_OK) {
        narrow(t, values, out);
        status = check_narrowed(t, of, values, out);
    }
    cmi_free(context, values);
    return status;
}

/* Moves one part between its own place and its blocks in the whole, each `size` bytes long. */
static void place_part(unsigned char *whole, unsigned char *part, int index, size_t blocks, size_t size, int join)
{
    for (size_t i = 0; i < blocks; i++) {
        unsigned char *at = whole + (i * CM_RECAST_PARTS + (size_t)index) * size, *own = part + i * size;
        memcpy(join ? at : own, join ? own : at, size);
    }
}

static cm_status join(const cm_tensor *t, const cm_recast *how, unsigned char *out)
{
    size_t bytes = t->bytes / CM_RECAST_PARTS;
    unsigned char *part = cmi_malloc(t->from->context, bytes, 1);
    cm_status status = part ? CM_OK : CM_ERR_MEMORY;
    for (int p = 0; p < CM_RECAST_PARTS && status == CM_OK; p++) {
        status = cmi_tensor_fetch(how->of[p], part);
        if (status == CM_OK) place_part(out, part, p, how->blocks, bytes / how->blocks, 1);
    }
    cmi_free(t->from->context, part);
    return status;
}

static cm_status split(const cm_tensor *t, const cm_recast *how, unsigned char *out)
{
    unsigned char *whole = cmi_malloc(t->from->context, how->of[0]->bytes, 1);
    if (!whole) return CM_ERR_MEMORY;
    cm_status status = cmi_tensor_fetch(how->of[0], whole);
    if (status == CM_OK) place_part(whole, out, how->part, how->blocks, t->bytes / how->blocks, 0);
    cmi_free(t->from->context, whole);
    return status;
}

cm_status cmi_recast_read(const cm_tensor *t, const cm_recast *how, void *out)
{
    if (!t->bytes) return CM_OK;
    if (how->of[1]) return join(t, how, out);
    if (how->blocks) return split(t, how, out);
    return t->type == how->of[0]->type ? cmi_tensor_fetch(how->of[0], out) : convert(t, how->of[0], out);
}

/* --- lists ------------------------------------------------------------------------------ */

static cm_status read_recast(const cm_tensor *t, void *out)
{
    const cm_recast *list = t->from->state;
    return cmi_recast_read(t, &list[t->offset], out);
}

static void close_recast(cm_tensors *t)
{
    cmi_free(t->context, t->state);
}

static void forget_recast(const cm_tensor *t)
{
    const cm_recast *how = (const cm_recast *)t->from->state + t->offset;
    for (int p = 0; p < CM_RECAST_PARTS && how->of[p]; p++) cmi_tensor_forget(how->of[p]);
}

static const cm_tensor_format recast = {
    .name = "recast", .read = read_recast, .close = close_recast, .forget = forget_recast};

cm_status cmi_recast_begin(cm_context *context, const char *name, size_t capacity, cm_tensors *out)
{
    memset(out, 0, sizeof *out);
    CM_TRY(cmi_input_memory(context, name, NULL, 0, CM_INPUT_IN_PLACE, &out->input));
    out->context = context;
    out->format = &recast;
    out->state = cmi_calloc(context, capacity, sizeof(cm_recast));
    if (out->state) return CM_OK;
    cmi_tensors_close(out);
    return CM_ERR_MEMORY;
}

/* A tensor with the type and the shape of `of`, read as `how` says. */
static cm_status add(cm_tensors *list, const char *name, const cm_tensor *of, cm_recast how, cm_tensor **out)
{
    cm_recast *all = list->state;
    CM_TRY(cmi_tensors_add(list, name, out));
    cm_tensor *t = *out;
    *t = *of;
    t->name = name;
    t->from = list;
    t->data = NULL;
    t->offset = list->count - 1;
    all[t->offset] = how;
    return CM_OK;
}

cm_status cmi_recast_rename(cm_tensors *list, const char *name, const cm_tensor *of)
{
    cm_tensor *t;
    CM_TRY(add(list, name, of, (cm_recast){.of = {of}}, &t));
    t->data = of->data;
    return CM_OK;
}

cm_status cmi_recast_convert(cm_tensors *list, const char *name, const cm_tensor *of, cm_tensor_type type)
{
    cm_tensor *t;
    if (type == of->type) return cmi_recast_rename(list, name, of);
    CM_TRY(add(list, name, of, (cm_recast){.of = {of}}, &t));
    t->type = type;
    t->bytes = t->count * cmi_tensor_type_size(type); /* no wider than float32: it fits where the values do */
    return CM_OK;
}

cm_status cmi_recast_split(cm_tensors *list, const char *name, const cm_tensor *of, int part, size_t blocks)
{
    cm_tensor *t;
    CM_TRY(add(list, name, of, (cm_recast){.of = {of}, .blocks = blocks, .part = part}, &t));
    t->shape[0] /= CM_RECAST_PARTS;
    (void)cmi_tensor_measure(t);
    return CM_OK;
}
