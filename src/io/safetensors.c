/* safetensors.c - reads and writes the format; see the header for the rules. */
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/foreign.h"
#include "io/json_text.h"
#include "tensor/convert.h"

static const struct {
    const char *name;
    size_t size;
} types[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"U16", 2}, {"I16", 2}, {"F16", 2}, {"BF16", 2},
             {"U32", 4},  {"I32", 4}, {"F32", 4}, {"U64", 8}, {"I64", 8}, {"F64", 8}};

const char *cm_tensor_type_name(cm_tensor_type type)
{
    return types[type].name;
}

size_t cm_tensor_type_size(cm_tensor_type type)
{
    return types[type].size;
}

/* --- reading the header ---------------------------------------------------------------- */

/* What is being read: the file's name for messages, its text, what it becomes. */
typedef struct {
    const char *file;
    cm_json_text text;
    cm_safetensors *out;
    size_t tensor_room, metadata_room;
} header_reader;

static cm_status broken(const header_reader *h)
{
    CM_FAIL(CM_ERR_FORMAT, "%s: the header is not valid JSON: %s (byte %zu)", h->file,
            h->text.error ? h->text.error : "something else expected", cm_json_place(&h->text));
}

/* Room for one element more in a list that ends at `limit`. */
static cm_status grow(const header_reader *h, void **list, size_t size, size_t count, size_t *room, size_t limit,
                      const char *what)
{
    if (count == limit) CM_FAIL(CM_ERR_LIMIT, "%s: more than the limit of %zu %s", h->file, limit, what);
    void *larger = cm_grown(h->out->context, *list, size, count, room);
    if (!larger) return CM_ERR_MEMORY;
    *list = larger;
    return CM_OK;
}

static cm_status read_type(header_reader *h, cm_tensor *t)
{
    const char *text = cm_json_next(&h->text) == '"' ? cm_json_string(&h->text) : NULL;
    if (h->text.error) return broken(h);
    if (!text) CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': dtype is missing or not a string", h->file, t->name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(text, types[i].name) == 0) {
            t->type = (cm_tensor_type)i;
            return CM_OK;
        }
    CM_FAIL(CM_ERR_UNSUPPORTED, "%s: tensor '%s': unknown dtype '%.32s'", h->file, t->name, text);
}

static cm_status read_shape(header_reader *h, cm_tensor *t)
{
    if (!cm_json_take(&h->text, '['))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': shape is missing or not an array", h->file, t->name);
    if (cm_json_take(&h->text, ']')) return CM_OK;
    do {
        if (t->rank == CM_TENSOR_RANK)
            CM_FAIL(CM_ERR_LIMIT, "%s: tensor '%s': its rank is over the limit of %d", h->file, t->name,
                    CM_TENSOR_RANK);
        if (!cm_json_integer(&h->text, &t->shape[t->rank]) || t->shape[t->rank] < 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': dimension %d of the shape is not a non-negative integer",
                    h->file, t->name, t->rank);
        t->rank++;
    } while (cm_json_more(&h->text, ']'));
    return h->text.error ? broken(h) : CM_OK;
}

static cm_status read_offsets(header_reader *h, const cm_tensor *t, uint64_t range[2])
{
    for (int i = 0; i < 2; i++) {
        int64_t v;
        if (!cm_json_take(&h->text, i ? ',' : '[') || !cm_json_integer(&h->text, &v) || v < 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets is not a pair of non-negative integers", h->file,
                    t->name);
        range[i] = (uint64_t)v;
    }
    if (!cm_json_take(&h->text, ']'))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets is not a pair of non-negative integers", h->file,
                t->name);
    return CM_OK;
}

enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };

static cm_status read_member(header_reader *h, cm_tensor *t, uint64_t range[2], int *seen)
{
    const char *key = cm_json_key(&h->text);
    if (!key) return broken(h);
    int which = strcmp(key, "dtype") == 0          ? DTYPE
                : strcmp(key, "shape") == 0        ? SHAPE
                : strcmp(key, "data_offsets") == 0 ? OFFSETS
                                                   : 0;
    if (!which) CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': unknown member '%.64s'", h->file, t->name, key);
    if (*seen & which)
        CM_FAIL(CM_ERR_FORMAT, "%s: the header is not valid JSON: tensor '%s' has %s twice", h->file, t->name, key);
    *seen |= which;
    return which == DTYPE ? read_type(h, t) : which == SHAPE ? read_shape(h, t) : read_offsets(h, t, range);
}

static cm_status check_size(const char *file, cm_tensor *t, const uint64_t range[2], size_t size)
{
    t->count = 1;
    t->bytes = cm_tensor_type_size(t->type);
    for (int i = 0; i < t->rank; i++)
        if (!cm_mul_size(t->count, (size_t)t->shape[i], &t->count) ||
            !cm_mul_size(t->bytes, (size_t)t->shape[i], &t->bytes))
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': the shape's product overflows", file, t->name);
    if (range[0] > range[1])
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets begin at %llu, after their end %llu", file, t->name,
                (unsigned long long)range[0], (unsigned long long)range[1]);
    if (range[1] > size)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets end at %llu, past the %zu bytes of data", file, t->name,
                (unsigned long long)range[1], size);
    if (range[1] - range[0] != t->bytes)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': shape and dtype need %zu bytes, data_offsets hold %llu", file,
                t->name, t->bytes, (unsigned long long)(range[1] - range[0]));
    t->offset = (size_t)range[0];
    return CM_OK;
}

static cm_status read_tensor(header_reader *h, const char *name, size_t size)
{
    cm_safetensors *f = h->out;
    uint64_t range[2] = {0, 0};
    int seen = 0;
    void *list = f->tensors;
    CM_TRY(grow(h, &list, sizeof *f->tensors, f->count, &h->tensor_room, CM_TENSORS_MAX, "tensors"));
    f->tensors = list;
    cm_tensor *t = &f->tensors[f->count++];
    memset(t, 0, sizeof *t);
    t->name = name;
    if (strlen(name) > CM_TENSOR_NAME)
        CM_FAIL(CM_ERR_LIMIT, "%s: a tensor name of %zu bytes is over the limit of %d", h->file, strlen(name),
                CM_TENSOR_NAME);
    if (!cm_json_take(&h->text, '{'))
        CM_FAIL(CM_ERR_FORMAT, "%s: the entry of tensor '%s' is not an object", h->file, name);
    if (!cm_json_take(&h->text, '}')) {
        do CM_TRY(read_member(h, t, range, &seen));
        while (cm_json_more(&h->text, '}'));
    }
    if (h->text.error) return broken(h);
    if (seen != (DTYPE | SHAPE | OFFSETS))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': %s is missing", h->file, name,
                !(seen & DTYPE)   ? "dtype"
                : !(seen & SHAPE) ? "shape"
                                  : "data_offsets");
    return check_size(h->file, t, range, size);
}

static cm_status read_metadata(header_reader *h)
{
    cm_safetensors *f = h->out;
    if (!cm_json_take(&h->text, '{')) CM_FAIL(CM_ERR_FORMAT, "%s: __metadata__ is not an object", h->file);
    if (cm_json_take(&h->text, '}')) return CM_OK;
    do {
        void *list = f->metadata;
        CM_TRY(grow(h, &list, sizeof *f->metadata, f->metadata_count, &h->metadata_room, CM_TENSORS_MAX_METADATA,
                    "entries of __metadata__"));
        f->metadata = list;
        const char *key = cm_json_key(&h->text);
        if (!key) return broken(h);
        if (cm_json_next(&h->text) != '"')
            CM_FAIL(CM_ERR_FORMAT, "%s: __metadata__ entry '%.64s' is not a string", h->file, key);
        const char *value = cm_json_string(&h->text);
        if (!value) return broken(h);
        f->metadata[f->metadata_count++] = (cm_tensor_note){key, value};
    } while (cm_json_more(&h->text, '}'));
    return h->text.error ? broken(h) : CM_OK;
}

static cm_status read_entries(header_reader *h, size_t size)
{
    int metadata = 0;
    if (!cm_json_expect(&h->text, '{')) return broken(h);
    if (cm_json_take(&h->text, '}')) return cm_json_end(&h->text) ? CM_OK : broken(h);
    do {
        const char *name = cm_json_key(&h->text);
        if (!name) return broken(h);
        if (strcmp(name, "__metadata__") != 0) CM_TRY(read_tensor(h, name, size));
        else if (metadata++)
            CM_FAIL(CM_ERR_FORMAT, "%s: the header is not valid JSON: __metadata__ stands there twice", h->file);
        else CM_TRY(read_metadata(h));
    } while (cm_json_more(&h->text, '}'));
    return cm_json_end(&h->text) ? CM_OK : broken(h);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const cm_tensor *)a)->name, ((const cm_tensor *)b)->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const cm_tensor_note *)a)->key, ((const cm_tensor_note *)b)->key);
}

static int by_data(const void *a, const void *b)
{
    const cm_tensor *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1; /* empty ones first */
    return strcmp(x->name, y->name);
}

static cm_status check_names(const char *file, const cm_safetensors *f)
{
    if (f->count) qsort(f->tensors, f->count, sizeof *f->tensors, by_name);
    if (f->metadata_count) qsort(f->metadata, f->metadata_count, sizeof *f->metadata, by_key);
    for (size_t i = 1; i < f->count; i++)
        if (strcmp(f->tensors[i].name, f->tensors[i - 1].name) == 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: the header is not valid JSON: tensor '%s' stands there twice", file,
                    f->tensors[i].name);
    for (size_t i = 1; i < f->metadata_count; i++)
        if (strcmp(f->metadata[i].key, f->metadata[i - 1].key) == 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: the header is not valid JSON: __metadata__ has '%.64s' twice", file,
                    f->metadata[i].key);
    return CM_OK;
}

static cm_status check_tiling(const char *file, const cm_safetensors *f, size_t size)
{
    size_t at = 0;
    if (f->count) qsort(f->tensors, f->count, sizeof *f->tensors, by_data);
    for (size_t i = 0; i < f->count; at += f->tensors[i++].bytes) {
        const cm_tensor *t = &f->tensors[i];
        if (t->offset != at)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s' begins at %zu, the one before ends at %zu: the data has %s", file,
                    t->name, t->offset, at, t->offset > at ? "a hole" : "an overlap");
    }
    if (at != size) CM_FAIL(CM_ERR_FORMAT, "%s: %zu trailing bytes after the last tensor", file, size - at);
    return CM_OK;
}

/* A file of another kind is told as what it is.  Safetensors files begin with a length and
 * '{', so nothing that may be one is looked at. */
static cm_status refuse_foreign(const char *file, const unsigned char *bytes, size_t size)
{
    const cm_foreign *kind = size > 8 && bytes[8] == '{' && bytes[7] == 0 ? NULL : cm_foreign_kind(bytes, size);
    if (!kind) return CM_OK;
    CM_FAIL(kind->is_model ? CM_ERR_UNSUPPORTED : CM_ERR_FORMAT, "%s: not a safetensors file but %s", file,
            kind->what);
}

/* The length of the header from the first bytes of a file of `size` bytes. */
static cm_status header_length(const char *file, const unsigned char first[9], size_t size, size_t *out)
{
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | first[i];
    if (length > CM_SAFETENSORS_HEADER)
        CM_FAIL(CM_ERR_FORMAT, "%s: a header of %llu bytes is over the limit of %d (is this a safetensors file?)",
                file, (unsigned long long)length, CM_SAFETENSORS_HEADER);
    if (length > size - 8)
        CM_FAIL(CM_ERR_FORMAT, "%s: truncated: the header claims %llu bytes, %zu are there", file,
                (unsigned long long)length, size - 8);
    if (length == 0 || first[8] != '{')
        CM_FAIL(CM_ERR_FORMAT, "%s: the header does not begin with '{' (is this a safetensors file?)", file);
    *out = (size_t)length;
    return CM_OK;
}

/* f->header holds `length` bytes of text, `size` bytes of data follow in the file. */
static cm_status read_header(const char *file, cm_safetensors *f, size_t length, size_t size)
{
    header_reader h = {.file = file, .out = f};
    cm_json_begin(&h.text, f->header, length);
    CM_TRY(read_entries(&h, size));
    CM_TRY(check_names(file, f));
    return check_tiling(file, f, size);
}

static void point(cm_safetensors *f, const unsigned char *data)
{
    for (size_t i = 0; i < f->count; i++) f->tensors[i].data = data + f->tensors[i].offset;
}

static cm_status parse(const char *file, const unsigned char *bytes, size_t size, cm_safetensors *f)
{
    size_t length;
    CM_TRY(refuse_foreign(file, bytes, size));
    if (size < 9) CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", file, size);
    CM_TRY(header_length(file, bytes, size, &length));
    f->header = cm_malloc(f->context, length, 1);
    if (!f->header) return CM_ERR_MEMORY;
    memcpy(f->header, bytes + 8, length);
    CM_TRY(read_header(file, f, length, size - 8 - length));
    point(f, bytes + 8 + length);
    return CM_OK;
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

/* --- opening ------------------------------------------------------------------------------ */

static cm_status copy_data(cm_safetensors *f, size_t begin)
{
    size_t size = f->reader.size - begin;
    f->copy = cm_malloc(f->context, size, 1);
    if (!f->copy) return CM_ERR_MEMORY;
    CM_TRY(cm_file_reader_read(&f->reader, begin, f->copy, size));
    point(f, f->copy);
    return CM_OK;
}

static cm_status open_file(cm_safetensors *f, const char *path, cm_tensor_access access)
{
    unsigned char first[4096];
    size_t length, size;
    CM_TRY(cm_file_reader_open(f->context, path, &f->reader));
    size = f->reader.size;
    CM_TRY(cm_file_reader_read(&f->reader, 0, first, size < sizeof first ? size : sizeof first));
    CM_TRY(refuse_foreign(path, first, size < sizeof first ? size : sizeof first));
    if (size < 9) CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", path, size);
    CM_TRY(header_length(path, first, size, &length));
    f->header = cm_malloc(f->context, length, 1);
    if (!f->header) return CM_ERR_MEMORY;
    CM_TRY(cm_file_reader_read(&f->reader, 8, f->header, length));
    CM_TRY(read_header(path, f, length, size - 8 - length));
    f->data_begin = 8 + length;
    if (access == CM_TENSORS_FETCHED) return CM_OK;
    if (access == CM_TENSORS_COPIED) return copy_data(f, f->data_begin);
    CM_TRY(cm_file_reader_map(&f->reader, &f->mapping));
    point(f, f->mapping.data + f->data_begin);
    return CM_OK;
}

cm_status cm_safetensors_open_as(cm_context *context, const char *path, cm_tensor_access access, cm_safetensors *out)
{
    memset(out, 0, sizeof *out);
    out->context = context;
    cm_status status = open_file(out, path, access);
    if (status != CM_OK) cm_safetensors_close(out);
    else if (access != CM_TENSORS_FETCHED) cm_file_reader_close(&out->reader);
    return status;
}

cm_status cm_safetensors_open(cm_context *context, const char *path, cm_safetensors *out)
{
    return cm_safetensors_open_as(context, path, CM_TENSORS_MAPPED, out);
}

cm_status cm_safetensors_fetch(const cm_safetensors *f, const cm_tensor *t, void *out)
{
    return cm_file_reader_read(&f->reader, f->data_begin + t->offset, out, t->bytes);
}

void cm_safetensors_close(cm_safetensors *f)
{
    if (!f->context) return;
    cm_free(f->context, f->header);
    cm_free(f->context, f->tensors);
    cm_free(f->context, f->metadata);
    cm_free(f->context, f->copy);
    cm_file_reader_close(&f->reader);
    cm_mapping_close(&f->mapping);
    memset(f, 0, sizeof *f);
}

const cm_tensor *cm_safetensors_find(const cm_safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    return NULL;
}

const char *cm_safetensors_metadata(const cm_safetensors *file, const char *key)
{
    const cm_tensor_note wanted = {key, NULL};
    const cm_tensor_note *found = NULL;
    if (file->metadata_count) found = bsearch(&wanted, file->metadata, file->metadata_count, sizeof wanted, by_key);
    return found ? found->value : NULL;
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

void cm_tensor_widen(const cm_tensor *t, float *out)
{
    const unsigned char *p = t->data;
    size_t size = cm_tensor_type_size(t->type);
    switch (t->type) {
    case CM_TENSOR_F32:
        if (t->bytes) memcpy(out, p, t->bytes);
        return;
    case CM_TENSOR_BF16: cm_bf16_to_f32(t->count, p, out); return;
    case CM_TENSOR_F16: cm_f16_to_f32(t->count, p, out); return;
    default: break;
    }
    for (size_t i = 0; i < t->count; i++, p += size) {
        switch (t->type) {
        case CM_TENSOR_F64: out[i] = (float)load_f64(p); break;
        case CM_TENSOR_I8: out[i] = (float)(int8_t)p[0]; break;
        case CM_TENSOR_I16: out[i] = (float)(int16_t)(uint16_t)load(p, 2); break;
        case CM_TENSOR_I32: out[i] = (float)(int32_t)(uint32_t)load(p, 4); break;
        case CM_TENSOR_I64: out[i] = (float)(int64_t)load(p, 8); break;
        default: out[i] = (float)load(p, size); break;
        }
    }
}

/* --- writing ------------------------------------------------------------ */

static json_t *describe(const cm_tensor *t, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer(t->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", cm_tensor_type_name(t->type), "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)(begin + t->bytes));
}

static char *make_header(const json_t *metadata, const cm_tensor *tensors, size_t count)
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

static cm_status write_all(cm_file_writer *w, const char *text, const cm_tensor *tensors, size_t count)
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
                               const cm_tensor *tensors, size_t count)
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
