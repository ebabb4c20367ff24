/* safetensors.c - reads and writes the format; see the header for the rules. */
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/json_text.h"

/* --- reading the header ---------------------------------------------------------------- */

/* What is being read: the file's name for messages, its text, what it becomes. */
typedef struct {
    const char *file;
    cm_json_text text;
    cm_tensors *out;
    size_t size; /* of the data behind the header */
} header_reader;

static cm_status broken(const header_reader *h)
{
    CM_FAIL(CM_ERR_FORMAT, "%s: the header is not valid JSON: %s (byte %zu)", h->file,
            h->text.error ? h->text.error : "something else expected", cmi_json_place(&h->text));
}

static cm_status read_type(header_reader *h, cm_tensor *t)
{
    const char *text = cmi_json_next(&h->text) == '"' ? cmi_json_string(&h->text) : NULL;
    if (h->text.error) return broken(h);
    if (!text) CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': dtype is missing or not a string", h->file, t->name);
    int type = cmi_tensor_type_of(text);
    if (type < 0) CM_FAIL(CM_ERR_UNSUPPORTED, "%s: tensor '%s': unknown dtype '%.32s'", h->file, t->name, text);
    t->type = (cm_tensor_type)type;
    return CM_OK;
}

static cm_status read_shape(header_reader *h, cm_tensor *t)
{
    if (!cmi_json_take(&h->text, '['))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': shape is missing or not an array", h->file, t->name);
    if (cmi_json_take(&h->text, ']')) return CM_OK;
    do {
        if (t->rank == CM_TENSOR_RANK)
            CM_FAIL(CM_ERR_LIMIT, "%s: tensor '%s': its rank is over the limit of %d", h->file, t->name,
                    CM_TENSOR_RANK);
        if (!cmi_json_integer(&h->text, &t->shape[t->rank]) || t->shape[t->rank] < 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': dimension %d of the shape is not a non-negative integer",
                    h->file, t->name, t->rank);
        t->rank++;
    } while (cmi_json_more(&h->text, ']'));
    return h->text.error ? broken(h) : CM_OK;
}

static cm_status read_offsets(header_reader *h, const cm_tensor *t, uint64_t range[2])
{
    for (int i = 0; i < 2; i++) {
        int64_t v;
        if (!cmi_json_take(&h->text, i ? ',' : '[') || !cmi_json_integer(&h->text, &v) || v < 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets is not a pair of non-negative integers", h->file,
                    t->name);
        range[i] = (uint64_t)v;
    }
    if (!cmi_json_take(&h->text, ']'))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': data_offsets is not a pair of non-negative integers", h->file,
                t->name);
    return CM_OK;
}

enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };

static cm_status read_member(header_reader *h, cm_tensor *t, uint64_t range[2], int *seen)
{
    const char *key = cmi_json_key(&h->text);
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
    t->bytes = cmi_tensor_type_size(t->type);
    for (int i = 0; i < t->rank; i++)
        if ((uint64_t)t->shape[i] > SIZE_MAX / 2 || !cmi_mul_size(t->count, (size_t)t->shape[i], &t->count) ||
            !cmi_mul_size(t->bytes, (size_t)t->shape[i], &t->bytes))
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

static cm_status read_tensor(header_reader *h, const char *name)
{
    uint64_t range[2] = {0, 0};
    int seen = 0;
    cm_tensor *t;
    CM_TRY(cmi_tensors_add(h->out, name, &t));
    if (!cmi_json_take(&h->text, '{'))
        CM_FAIL(CM_ERR_FORMAT, "%s: the entry of tensor '%s' is not an object", h->file, name);
    if (!cmi_json_take(&h->text, '}')) {
        do CM_TRY(read_member(h, t, range, &seen));
        while (cmi_json_more(&h->text, '}'));
    }
    if (h->text.error) return broken(h);
    if (seen != (DTYPE | SHAPE | OFFSETS))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': %s is missing", h->file, name,
                !(seen & DTYPE)   ? "dtype"
                : !(seen & SHAPE) ? "shape"
                                  : "data_offsets");
    return check_size(h->file, t, range, h->size);
}

static cm_status read_metadata(header_reader *h)
{
    if (!cmi_json_take(&h->text, '{')) CM_FAIL(CM_ERR_FORMAT, "%s: __metadata__ is not an object", h->file);
    if (cmi_json_take(&h->text, '}')) return CM_OK;
    do {
        const char *key = cmi_json_key(&h->text);
        if (!key) return broken(h);
        if (cmi_json_next(&h->text) != '"')
            CM_FAIL(CM_ERR_FORMAT, "%s: __metadata__ entry '%.64s' is not a string", h->file, key);
        const char *value = cmi_json_string(&h->text);
        if (!value) return broken(h);
        CM_TRY(cmi_tensors_add_metadata(h->out, key, value));
    } while (cmi_json_more(&h->text, '}'));
    return h->text.error ? broken(h) : CM_OK;
}

static cm_status read_entries(header_reader *h)
{
    int metadata = 0;
    if (!cmi_json_expect(&h->text, '{')) return broken(h);
    if (cmi_json_take(&h->text, '}')) return cmi_json_end(&h->text) ? CM_OK : broken(h);
    do {
        const char *name = cmi_json_key(&h->text);
        if (!name) return broken(h);
        if (strcmp(name, "__metadata__") != 0) CM_TRY(read_tensor(h, name));
        else if (metadata++)
            CM_FAIL(CM_ERR_FORMAT, "%s: the header is not valid JSON: __metadata__ stands there twice", h->file);
        else CM_TRY(read_metadata(h));
    } while (cmi_json_more(&h->text, '}'));
    return cmi_json_end(&h->text) ? CM_OK : broken(h);
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

static cm_status check_names(const char *file, const cm_tensors *f)
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

static cm_status check_tiling(const char *file, const cm_tensors *f, size_t size)
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

static cm_status read_header(cm_tensors *t, size_t length, size_t size)
{
    header_reader h = {.file = t->input.name, .out = t, .size = size};
    CM_TRY(cmi_input_read(&t->input, 8, t->state, length));
    cmi_json_begin(&h.text, t->state, length);
    CM_TRY(read_entries(&h));
    CM_TRY(check_names(h.file, t));
    return check_tiling(h.file, t, size);
}

static cm_status open_tensors(cm_tensors *t)
{
    unsigned char first[9];
    const unsigned char *data;
    size_t length = 0, size = t->input.size;
    if (size < 9) CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", t->input.name, size);
    CM_TRY(cmi_input_read(&t->input, 0, first, sizeof first));
    CM_TRY(header_length(t->input.name, first, size, &length));
    t->state = cmi_malloc(t->context, length, 1); /* the header, decoded in place: names and metadata are its parts */
    if (!t->state) return CM_ERR_MEMORY;
    CM_TRY(read_header(t, length, size - 8 - length));
    CM_TRY(cmi_input_hold(&t->input, 8 + length, &data));
    for (size_t i = 0; i < t->count; i++) {
        if (data) t->tensors[i].data = data + t->tensors[i].offset;
        t->tensors[i].offset += 8 + length;
    }
    return CM_OK;
}

/* A length and '{': what begins so is ours, however damaged. */
static int recognise(const cm_input *input, const unsigned char *first, size_t n)
{
    (void)input;
    return n > 8 && first[8] == '{' && first[7] == 0;
}

static cm_status read_tensor_bytes(const cm_tensor *tensor, void *out)
{
    return cmi_input_read(&tensor->from->input, tensor->offset, out, tensor->bytes);
}

static void close_tensors(cm_tensors *t)
{
    cmi_free(t->context, t->state);
}

const cm_tensor_format cmi_format_safetensors = {.name = "safetensors",
                                                 .recognise = recognise,
                                                 .open = open_tensors,
                                                 .read = read_tensor_bytes,
                                                 .close = close_tensors};

/* --- writing ------------------------------------------------------------ */

static json_t *describe(const cm_tensor *t, size_t begin)
{
    json_t *shape = json_array();
    int failed = !shape;
    for (int i = 0; i < t->rank; i++) failed |= json_array_append_new(shape, json_integer(t->shape[i])) != 0;
    if (failed) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", cmi_tensor_type_name(t->type), "shape", shape, "data_offsets",
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
    char *text = failed ? NULL : cmi_json_print(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

static cm_status write_all(cm_file_writer *w, const char *text, const cm_tensor *tensors, size_t count,
                           cm_write_report *report)
{
    static const char spaces[8] = "        ";
    unsigned char prefix[8];
    size_t length = strlen(text), pad = (8 - length % 8) % 8;
    for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)((uint64_t)(length + pad) >> (8 * i));
    CM_TRY(cmi_file_write(w, prefix, 8));
    CM_TRY(cmi_file_write(w, text, length));
    CM_TRY(cmi_file_write(w, spaces, pad));
    for (size_t i = 0; i < count; i++) CM_TRY(cmi_write_tensor(w, report, &tensors[i]));
    return cmi_write_ask(report, w->path);
}

cm_status cmi_safetensors_write(cm_context *context, const char *path, int overwrite, const json_t *metadata,
                                const cm_tensor *tensors, size_t count, cm_write_report *report)
{
    cm_file_writer writer;
    char *text = make_header(metadata, tensors, count);
    if (!text) CM_FAIL(CM_ERR_MEMORY, "out of memory: the header of '%s'", path);
    cm_status status = cmi_file_create(context, path, overwrite, &writer);
    if (status == CM_OK) {
        status = write_all(&writer, text, tensors, count, report);
        if (status == CM_OK) status = cmi_file_commit(&writer);
        else cmi_file_abort(&writer);
    }
    free(text);
    return status;
}
