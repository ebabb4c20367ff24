/* safetensors.c - reads and writes the format; see the header for the rules. */
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/foreign.h"
#include "tensor/convert.h"

static const struct {
    const char *name;
    size_t size;
} types[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"U16", 2}, {"I16", 2}, {"F16", 2}, {"BF16", 2},
             {"U32", 4},  {"I32", 4}, {"F32", 4}, {"U64", 8}, {"I64", 8}, {"F64", 8}};

const char *cm_st_type_name(cm_st_type type)
{
    return types[type].name;
}

size_t cm_st_type_size(cm_st_type type)
{
    return types[type].size;
}

/* --- reading ------------------------------------------------------------ */

static cm_status read_type(const char *file, const char *name, const json_t *value, cm_st_type *out)
{
    const char *text = json_string_value(value);
    if (!text) CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': dtype is missing or not a string", file, name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(text, types[i].name) == 0) {
            *out = (cm_st_type)i;
            return CM_OK;
        }
    CM_FAIL(CM_ERR_UNSUPPORTED, "%s: tensor '%s': unknown dtype '%.32s'", file, name, text);
}

static cm_status read_shape(const char *file, const json_t *value, cm_st_tensor *t)
{
    size_t bytes = cm_st_type_size(t->type), rank = json_array_size(value);
    if (!json_is_array(value))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': shape is missing or not an array", file, t->name);
    if (rank > CM_ST_MAX_RANK)
        CM_FAIL(CM_ERR_LIMIT, "%s: tensor '%s': rank %zu is over the limit of %d", file, t->name, rank,
                CM_ST_MAX_RANK);
    t->rank = (int)rank;
    t->count = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *size = json_array_get(value, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': dimension %zu of the shape is not a non-negative integer", file,
                    t->name, i);
        t->shape[i] = (int64_t)json_integer_value(size);
        if (!cm_mul_size(t->count, (size_t)t->shape[i], &t->count) ||
            !cm_mul_size(bytes, (size_t)t->shape[i], &bytes))
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': the shape's product overflows", file, t->name);
    }
    t->bytes = bytes;
    return CM_OK;
}

static cm_status read_offsets(const char *file, const json_t *value, const unsigned char *data, size_t size,
                              cm_st_tensor *t)
{
    const json_t *b = json_array_get(value, 0), *e = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(b) || !json_is_integer(e) || json_integer_value(b) < 0 ||
        json_integer_value(e) < 0)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets is not a pair of non-negative integers", file, t->name);
    uint64_t begin = (uint64_t)json_integer_value(b), end = (uint64_t)json_integer_value(e);
    if (begin > end)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets begin at %llu, after their end %llu", file, t->name,
                (unsigned long long)begin, (unsigned long long)end);
    if (end > size)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets end at %llu, past the %zu bytes of data", file, t->name,
                (unsigned long long)end, size);
    if (end - begin != t->bytes)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': shape and dtype need %zu bytes, data_offsets hold %llu", file,
                t->name, t->bytes, (unsigned long long)(end - begin));
    t->data = data + begin;
    return CM_OK;
}

static cm_status read_tensor(const char *file, const char *name, const json_t *entry, const unsigned char *data,
                             size_t size, cm_st_tensor *t)
{
    const char *key;
    json_t *value;
    t->name = name;
    if (strlen(name) > CM_ST_MAX_NAME)
        CM_FAIL(CM_ERR_LIMIT, "%s: a tensor name of %zu bytes is over the limit of %d", file, strlen(name),
                CM_ST_MAX_NAME);
    if (!json_is_object(entry)) CM_FAIL(CM_ERR_FORMAT, "%s: the entry of tensor '%s' is not an object", file, name);
    json_object_foreach((json_t *)(uintptr_t)entry, key,
                        value) if (strcmp(key, "dtype") && strcmp(key, "shape") && strcmp(key, "data_offsets"))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': unknown member '%.64s'", file, name, key);
    CM_TRY(read_type(file, name, json_object_get(entry, "dtype"), &t->type));
    CM_TRY(read_shape(file, json_object_get(entry, "shape"), t));
    return read_offsets(file, json_object_get(entry, "data_offsets"), data, size, t);
}

static cm_status read_metadata(const char *file, const json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata)) CM_FAIL(CM_ERR_FORMAT, "%s: __metadata__ is not an object", file);
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value) if (!json_is_string(value))
        CM_FAIL(CM_ERR_FORMAT, "%s: __metadata__ entry '%.64s' is not a string", file, key);
    return CM_OK;
}

static int by_data(const void *a, const void *b)
{
    const cm_st_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1; /* empty ones first */
    return strcmp(x->name, y->name);
}

static cm_status check_tiling(const char *file, const cm_safetensors *f, const unsigned char *data, size_t size)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < f->count; i++) {
        const cm_st_tensor *t = &f->tensors[i];
        if (t->data != at)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s' begins at %zu, the one before ends at %zu: the data has %s", file,
                    t->name, (size_t)(t->data - data), (size_t)(at - data), t->data > at ? "a hole" : "an overlap");
        at += t->bytes;
    }
    if (at != data + size)
        CM_FAIL(CM_ERR_FORMAT, "%s: %zu trailing bytes after the last tensor", file, (size_t)(data + size - at));
    return CM_OK;
}

static cm_status read_header(const char *file, cm_safetensors *f, const unsigned char *text, size_t length,
                             size_t size)
{
    json_error_t error;
    const char *key;
    json_t *value;
    const unsigned char *data = text + length;
    f->header = json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, &error);
    if (!f->header)
        CM_FAIL(CM_ERR_FORMAT, "%s: the header is not valid JSON: %s (byte %d)", file, error.text, error.position);
    size_t n = json_object_size(f->header);
    if (n > CM_ST_MAX_TENSORS + 1u)
        CM_FAIL(CM_ERR_LIMIT, "%s: %zu tensors are over the limit of %d", file, n, CM_ST_MAX_TENSORS);
    f->tensors = cm_calloc(f->context, n, sizeof *f->tensors);
    if (!f->tensors) return CM_ERR_MEMORY;
    json_object_foreach(f->header, key, value)
    {
        if (strcmp(key, "__metadata__") == 0) {
            f->metadata = value;
            CM_TRY(read_metadata(file, value));
        } else {
            CM_TRY(read_tensor(file, key, value, data, size, &f->tensors[f->count]));
            f->count++;
        }
    }
    qsort(f->tensors, f->count, sizeof *f->tensors, by_data);
    return check_tiling(file, f, data, size);
}

/* A file of another kind is told as what it is.  Safetensors files begin with a length and
 * '{', so nothing that may be one is looked at. */
static cm_status refuse_foreign(const char *file, const unsigned char *bytes, size_t size)
{
    const cm_foreign *kind = size > 8 && bytes[8] == '{' && bytes[7] == 0 ? NULL : cm_foreign_kind(bytes, size);
    if (!kind) return CM_OK;
    CM_FAIL(kind->is_model ? CM_ERR_UNSUPPORTED : CM_ERR_FORMAT, "%s: not a safetensors file but %s", file, kind->what);
}

/* jansson takes duplicate names, broken UTF-8, lone surrogates, NUL in names
 * and more than 2048 levels for errors by itself. */
static cm_status parse(const char *file, const unsigned char *bytes, size_t size, cm_safetensors *f)
{
    uint64_t length = 0;
    CM_TRY(refuse_foreign(file, bytes, size));
    if (size < 8) CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", file, size);
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > CM_ST_MAX_HEADER)
        CM_FAIL(CM_ERR_FORMAT, "%s: a header of %llu bytes is over the limit of %d", file, (unsigned long long)length,
                CM_ST_MAX_HEADER);
    if (length > size - 8)
        CM_FAIL(CM_ERR_FORMAT, "%s: truncated: the header claims %llu bytes, %zu are there", file,
                (unsigned long long)length, size - 8);
    if (length == 0 || bytes[8] != '{')
        CM_FAIL(CM_ERR_FORMAT, "%s: the header does not begin with '{' (is this a safetensors file?)", file);
    return read_header(file, f, bytes + 8, (size_t)length, size - 8 - (size_t)length);
}

cm_status cm_safetensors_parse(cm_context *context, const char *name, const void *data, size_t size,
                               cm_safetensors *out)
{
    memset(out, 0, sizeof *out);
    out->context = context;
    cm_status status = parse(name, data, size, out);
    if (status != CM_OK) cm_safetensors_close(out);
    return status;
}

cm_status cm_safetensors_open(cm_context *context, const char *path, cm_safetensors *out)
{
    cm_mapping mapping;
    memset(out, 0, sizeof *out);
    CM_TRY(cm_mapping_open(path, &mapping));
    cm_status status =
        cm_safetensors_parse(context, path, mapping.data ? (const void *)mapping.data : "", mapping.size, out);
    if (status != CM_OK) cm_mapping_close(&mapping);
    else out->mapping = mapping;
    return status;
}

void cm_safetensors_close(cm_safetensors *file)
{
    if (!file->context) return;
    json_decref(file->header);
    cm_free(file->context, file->tensors);
    cm_mapping_close(&file->mapping);
    memset(file, 0, sizeof *file);
}

const cm_st_tensor *cm_safetensors_find(const cm_safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    return NULL;
}

const char *cm_safetensors_metadata(const cm_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(file->metadata, key));
}

/* --- values ------------------------------------------------------------- */

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

void cm_st_read_f32(const cm_st_tensor *t, float *out)
{
    const unsigned char *p = t->data;
    size_t size = cm_st_type_size(t->type);
    switch (t->type) {
    case CM_ST_F32:
        if (t->bytes) memcpy(out, p, t->bytes);
        return;
    case CM_ST_BF16: cm_bf16_to_f32(t->count, p, out); return;
    case CM_ST_F16: cm_f16_to_f32(t->count, p, out); return;
    default: break;
    }
    for (size_t i = 0; i < t->count; i++, p += size) {
        switch (t->type) {
        case CM_ST_F64: out[i] = (float)load_f64(p); break;
        case CM_ST_I8: out[i] = (float)(int8_t)p[0]; break;
        case CM_ST_I16: out[i] = (float)(int16_t)(uint16_t)load(p, 2); break;
        case CM_ST_I32: out[i] = (float)(int32_t)(uint32_t)load(p, 4); break;
        case CM_ST_I64: out[i] = (float)(int64_t)load(p, 8); break;
        default: out[i] = (float)load(p, size); break;
        }
    }
}

/* --- writing ------------------------------------------------------------ */

static json_t *describe(const cm_st_tensor *t, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer(t->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", cm_st_type_name(t->type), "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)(begin + t->bytes));
}

static char *make_header(const json_t *metadata, const cm_st_tensor *tensors, size_t count)
{
    json_t *header = json_object();
    size_t at = 0;
    int failed = header == NULL;
    if (metadata) failed |= json_object_set(header, "__metadata__", (json_t *)(uintptr_t)metadata) != 0;
    for (size_t i = 0; i < count; i++) {
        failed |= json_object_set_new(header, tensors[i].name, describe(&tensors[i], at)) != 0;
        at += tensors[i].bytes;
    }
    char *text = failed ? NULL : json_dumps(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

static cm_status write_all(cm_file_writer *w, const char *text, const cm_st_tensor *tensors, size_t count)
{
    static const char spaces[8] = "        ";
    unsigned char prefix[8];
    size_t length = strlen(text), pad = (8 - length % 8) % 8;
    for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)((uint64_t)(length + pad) >> (8 * i));
    CM_TRY(cm_file_write(w, prefix, 8));
    CM_TRY(cm_file_write(w, text, length));
    CM_TRY(cm_file_write(w, spaces, pad));
    for (size_t i = 0; i < count; i++) CM_TRY(cm_file_write(w, tensors[i].data, tensors[i].bytes));
    return CM_OK;
}

cm_status cm_safetensors_write(cm_context *context, const char *path, int overwrite, const json_t *metadata,
                               const cm_st_tensor *tensors, size_t count)
{
    cm_file_writer writer;
    char *text = make_header(metadata, tensors, count);
    if (!text) CM_FAIL(CM_ERR_MEMORY, "out of memory: the header of '%s'", path);
    cm_status status = cm_file_create(context, path, overwrite, &writer);
    if (status == CM_OK) {
        status = write_all(&writer, text, tensors, count);
        if (status == CM_OK) status = cm_file_commit(&writer);
        else cm_file_abort(&writer);
    }
    free(text);
    return status;
}
