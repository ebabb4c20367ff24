/* tensors.c - which format a model has; what all formats share. */
#include "io/tensors.h"

#include <stdio.h>
#include <string.h>

#include "io/foreign.h"
#include "io/foreign_folder.h"
#include "tensor/convert.h"

static const cm_tensor_format *const known[] = {&cmi_format_safetensors,
                                                &cmi_format_torch_zip,
                                                &cmi_format_torch_legacy,
                                                &cmi_format_edm_pickle,
                                                &cmi_format_flax,
                                                &cmi_format_diffusers,
                                                NULL};

static const struct {
    const char *name;
    size_t size;
} types[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"U16", 2}, {"I16", 2}, {"F16", 2}, {"BF16", 2},
             {"U32", 4},  {"I32", 4}, {"F32", 4}, {"U64", 8}, {"I64", 8}, {"F64", 8}};

const char *cmi_tensor_type_name(cm_tensor_type type)
{
    return types[type].name;
}

size_t cmi_tensor_type_size(cm_tensor_type type)
{
    return types[type].size;
}

int cmi_tensor_type_of(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(name, types[i].name) == 0) return (int)i;
    return -1;
}

/* --- opening ---------------------------------------------------------------------------- */

static void list_formats(const cm_tensor_format *const *formats, char *names, size_t size)
{
    size_t at = 0;
    names[0] = '\0';
    for (size_t i = 0; formats[i] && at < size; i++)
        at += (size_t)snprintf(names + at, size - at, "%s%s", i ? ", " : "", formats[i]->name);
}

/* Nobody's: told as what it is, where that can be seen.  What could be a safetensors file is left to its reader. */
static cm_status refuse_foreign(const cm_tensor_format *const *formats, const cm_input *in,
                                const unsigned char *first, size_t n)
{
    const cm_foreign *kind = cmi_foreign_kind(first, n);
    char names[256];
    list_formats(formats, names, sizeof names);
    if (kind)
        CM_FAIL(kind->is_model ? CM_ERR_UNSUPPORTED : CM_ERR_FORMAT, "%s: this is %s; what is read: %s", in->name,
                kind->what, names);
    if (n < 16 || first[8] == '{' || !(first[4] | first[5] | first[6] | first[7])) return CM_OK;
    CM_FAIL(
        CM_ERR_FORMAT,
        "%s: its first bytes, %02x %02x %02x %02x %02x %02x %02x %02x, are those of no kind of file that is known; "
        "what is read: %s",
        in->name, first[0], first[1], first[2], first[3], first[4], first[5], first[6], first[7], names);
}

static cm_status find_format(const cm_tensor_format *const *formats, const cm_input *in, const cm_tensor_format **out)
{
    unsigned char first[4096];
    size_t n = in->size < sizeof first ? in->size : sizeof first;
    CM_TRY(cmi_input_read(in, 0, first, n));
    for (size_t i = 0; formats[i]; i++)
        if (formats[i]->recognise(in, first, n)) {
            *out = formats[i];
            return CM_OK;
        }
    if (in->is_folder) return cmi_foreign_folder(in);
    *out = formats[0];
    return refuse_foreign(formats, in, first, n);
}

cm_status cmi_tensors_open_as(const cm_tensor_format *const *formats, cm_input *in, cm_tensors *out)
{
    memset(out, 0, sizeof *out);
    out->context = in->context;
    out->input = *in;
    memset(in, 0, sizeof *in);
    cm_status status = find_format(formats, &out->input, &out->format);
    if (status == CM_OK && out->input.weights && !out->format->has_sets)
        status = cmi_fail(CM_ERR_ARGUMENT, "%s: weights is '%.64s', but a %s file holds one set of them",
                          out->input.name, out->input.weights, out->format->name);
    if (status == CM_OK) status = out->format->open(out);
    cmi_input_settle(&out->input);
    if (status != CM_OK) cmi_tensors_close(out);
    return status;
}

cm_status cmi_tensors_open(cm_input *in, cm_tensors *out)
{
    return cmi_tensors_open_as(known, in, out);
}

cm_status cmi_tensors_open_file(cm_context *context, const char *path, cm_input_access access, cm_tensors *out)
{
    cm_input in;
    memset(out, 0, sizeof *out);
    CM_TRY(cmi_input_file(context, path, access, &in));
    return cmi_tensors_open(&in, out);
}

void cmi_tensors_close(cm_tensors *t)
{
    if (!t->context) return;
    if (t->format) t->format->close(t);
    cmi_free(t->context, t->tensors);
    cmi_free(t->context, t->metadata);
    cmi_free(t->context, t->sets);
    cmi_free(t->context, t->refusal);
    cmi_input_close(&t->input);
    memset(t, 0, sizeof *t);
}

/* --- lists ------------------------------------------------------------------------------ */

/* Space for one element more in a list that ends at `limit`. */
static cm_status grow(const cm_tensors *t, void **list, size_t size, size_t count, size_t *capacity, size_t limit,
                      const char *what)
{
    if (count == limit) CM_FAIL(CM_ERR_LIMIT, "%s: more than the limit of %zu %s", t->input.name, limit, what);
    void *larger = cmi_grown(t->context, *list, size, count, capacity);
    if (!larger) return CM_ERR_MEMORY;
    *list = larger;
    return CM_OK;
}

cm_status cmi_tensors_add(cm_tensors *t, const char *name, cm_tensor **out)
{
    void *list = t->tensors;
    if (strlen(name) > CM_TENSOR_NAME)
        CM_FAIL(CM_ERR_LIMIT, "%s: a tensor name of %zu bytes is over the limit of %d", t->input.name, strlen(name),
                CM_TENSOR_NAME);
    CM_TRY(grow(t, &list, sizeof *t->tensors, t->count, &t->capacity, CM_TENSORS_MAX, "tensors"));
    t->tensors = list;
    *out = &t->tensors[t->count++];
    memset(*out, 0, sizeof **out);
    (*out)->name = name;
    (*out)->from = t;
    return CM_OK;
}

cm_status cmi_tensors_add_metadata(cm_tensors *t, const char *key, const char *value)
{
    void *list = t->metadata;
    CM_TRY(grow(t, &list, sizeof *t->metadata, t->metadata_count, &t->metadata_capacity, CM_TENSORS_MAX_METADATA,
                "entries of metadata"));
    t->metadata = list;
    t->metadata[t->metadata_count++] = (cm_tensor_note){key, value};
    return CM_OK;
}

cm_status cmi_tensors_add_set(cm_tensors *t, const char *name)
{
    void *list = t->sets;
    for (size_t i = 0; i < t->sets_count; i++)
        if (strcmp(t->sets[i], name) == 0) return CM_OK;
    CM_TRY(grow(t, &list, sizeof *t->sets, t->sets_count, &t->sets_capacity, CM_TENSORS_MAX, "sets of weights"));
    t->sets = list;
    t->sets[t->sets_count++] = name;
    return CM_OK;
}

const cm_tensor *cmi_tensors_find(const cm_tensors *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->tensors[i].name, name) == 0) return &t->tensors[i];
    return NULL;
}

const char *cmi_tensors_metadata(const cm_tensors *t, const char *key)
{
    for (size_t i = 0; i < t->metadata_count; i++)
        if (strcmp(t->metadata[i].key, key) == 0) return t->metadata[i].value;
    return NULL;
}

/* --- values ----------------------------------------------------------------------------- */

static uint64_t load(const unsigned char *p, size_t n)
{
    uint64_t u = 0;
    for (size_t i = n; i-- > 0;) u = u << 8 | p[i];
    return u;
}

static double load_f64(const unsigned char *p)
{
    uint64_t u = load(p, 8);
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

static float widen_one(cm_tensor_type type, const unsigned char *p)
{
    switch (type) {
    case CM_TENSOR_F64: return (float)load_f64(p);
    case CM_TENSOR_I8: return (float)(int8_t)p[0];
    case CM_TENSOR_I16: return (float)(int16_t)(uint16_t)load(p, 2);
    case CM_TENSOR_I32: return (float)(int32_t)(uint32_t)load(p, 4);
    case CM_TENSOR_I64: return (float)(int64_t)load(p, 8);
    default: return (float)load(p, types[type].size);
    }
}

static void widen(const cm_tensor *t, const unsigned char *p, float *out)
{
    switch (t->type) {
    case CM_TENSOR_F32:
        if (t->bytes) memcpy(out, p, t->bytes);
        return;
    case CM_TENSOR_BF16: cmi_bf16_to_f32(t->count, p, out); return;
    case CM_TENSOR_F16: cmi_f16_to_f32(t->count, p, out); return;
    default: break;
    }
    for (size_t i = 0; i < t->count; i++) out[i] = widen_one(t->type, p + i * types[t->type].size);
}

cm_status cmi_tensor_fetch(const cm_tensor *t, void *out)
{
    if (!t->data) return t->from->format->read(t, out);
    if (t->bytes) memcpy(out, t->data, t->bytes);
    return CM_OK;
}

cm_status cmi_tensor_read(const cm_tensor *t, float *out)
{
    if (t->data) {
        widen(t, t->data, out);
        return CM_OK;
    }
    if (t->type == CM_TENSOR_F32) return cmi_tensor_fetch(t, out);
    unsigned char *bytes = cmi_malloc(t->from->context, t->bytes, 1);
    if (!bytes) return CM_ERR_MEMORY;
    cm_status status = cmi_tensor_fetch(t, bytes);
    if (status == CM_OK) widen(t, bytes, out);
    cmi_free(t->from->context, bytes);
    return status;
}

void cmi_tensor_forget(const cm_tensor *t)
{
    if (!t->from) return;
    if (!t->data && t->from->format->forget) t->from->format->forget(t);
    if (t->data && cmi_input_is_mapped(&t->from->input, t->data)) /* others' would be emptied */
        cmi_mapping_forget(t->data, t->bytes);
}
