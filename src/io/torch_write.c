/* torch_write.c - a dictionary of tensors as a pickle of protocol 2, and a stored member for each tensor.
 *
 * The pickle is what torch.save makes of an OrderedDict of contiguous tensors, without its memo: every symbol and
 * every empty dictionary is written out.  Each tensor has a storage of its own, whose key is its number. */
#include "io/torch_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/zip_write.h"

/* --- the pickle ------------------------------------------------------------------------- */

typedef struct {
    unsigned char *bytes;
    size_t n, capacity;
} pickle;

enum { PER_TENSOR = 320, PER_DIMENSION = 40 }; /* more than what one takes besides its name */

static void put(pickle *p, const void *bytes, size_t n)
{
    if (n > p->capacity - p->n) n = p->capacity - p->n; /* never: see `room_for` */
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
}

static void put_op(pickle *p, char op)
{
    put(p, &op, 1);
}

static void put_number(pickle *p, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) put_op(p, (char)(unsigned char)(value >> 8 * i));
}

static void put_symbol(pickle *p, const char *text)
{
    put(p, text, strlen(text));
}

static void put_text(pickle *p, const char *text)
{
    put_op(p, 'X'); /* BINUNICODE */
    put_number(p, strlen(text), 4);
    put(p, text, strlen(text));
}

static void put_integer(pickle *p, uint64_t value)
{
    if (value < 1u << 31) {
        put_op(p, 'J'); /* BININT */
        put_number(p, value, 4);
    } else {
        put_op(p, '\x8a'); /* LONG1: signed, and no number of elements reaches 2^63 */
        put_op(p, 8);
        put_number(p, value, 8);
    }
}

static void put_tuple(pickle *p, int n, const uint64_t *values)
{
    put_op(p, '('); /* MARK */
    for (int i = 0; i < n; i++) put_integer(p, values[i]);
    put_op(p, 't'); /* TUPLE */
}

static void put_empty_dictionary(pickle *p)
{
    put_symbol(p, "ccollections\nOrderedDict\n)R"); /* GLOBAL, EMPTY_TUPLE, REDUCE */
}

static const char *storage_class(cm_tensor_type type)
{
    switch (type) {
    case CM_TENSOR_BOOL: return "BoolStorage";
    case CM_TENSOR_U8: return "ByteStorage";
    case CM_TENSOR_I8: return "CharStorage";
    case CM_TENSOR_I16: return "ShortStorage";
    case CM_TENSOR_F16: return "HalfStorage";
    case CM_TENSOR_BF16: return "BFloat16Storage";
    case CM_TENSOR_I32: return "IntStorage";
    case CM_TENSOR_F32: return "FloatStorage";
    case CM_TENSOR_I64: return "LongStorage";
    case CM_TENSOR_F64: return "DoubleStorage";
    default: return NULL;
    }
}

/* A persistent id: ('storage', class, key, 'cpu', number of elements). */
static void put_storage(pickle *p, const cm_tensor *t, size_t index)
{
    char key[24];
    (void)snprintf(key, sizeof key, "%zu", index);
    put_op(p, '(');
    put_text(p, "storage");
    put_symbol(p, "ctorch\n");
    put_symbol(p, storage_class(t->type));
    put_op(p, '\n');
    put_text(p, key);
    put_text(p, "cpu");
    put_integer(p, t->count);
    put_symbol(p, "tQ"); /* TUPLE, BINPERSID */
}

/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks) */
static void put_tensor(pickle *p, const cm_tensor *t, size_t index)
{
    uint64_t shape[CM_TENSOR_RANK], strides[CM_TENSOR_RANK], step = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        shape[i] = (uint64_t)t->shape[i];
        strides[i] = step;
        step *= shape[i] ? shape[i] : 1;
    }
    put_text(p, t->name);
    put_symbol(p, "ctorch._utils\n_rebuild_tensor_v2\n(");
    put_storage(p, t, index);
    put_integer(p, 0);
    put_tuple(p, t->rank, shape);
    put_tuple(p, t->rank, strides);
    put_op(p, '\x89'); /* NEWFALSE */
    put_empty_dictionary(p);
    put_symbol(p, "tR");
}

static cm_status room_for(const char *path, const cm_tensor *tensors, size_t count, size_t *out)
{
    *out = PER_TENSOR;
    for (size_t i = 0; i < count; i++) {
        if (!storage_class(tensors[i].type))
            CM_FAIL(CM_ERR_UNSUPPORTED, "cannot write '%s': PyTorch has no storage for tensor '%s' of type %s", path,
                    tensors[i].name, cmi_tensor_type_name(tensors[i].type));
        *out += PER_TENSOR + strlen(tensors[i].name) + PER_DIMENSION * (size_t)tensors[i].rank;
    }
    return CM_OK;
}

static cm_status make_pickle(cm_context *context, const char *path, const cm_tensor *tensors, size_t count, pickle *p)
{
    CM_TRY(room_for(path, tensors, count, &p->capacity));
    p->bytes = cmi_malloc(context, p->capacity, 1);
    if (!p->bytes) return CM_ERR_MEMORY;
    put(p, "\x80\x02", 2); /* PROTO 2 */
    put_empty_dictionary(p);
    put_op(p, '(');
    for (size_t i = 0; i < count; i++) put_tensor(p, &tensors[i], i);
    put_symbol(p, "u."); /* SETITEMS, STOP */
    return CM_OK;
}

/* --- the archive ------------------------------------------------------------------------ */

static cm_status add_text(cm_zip_writer *w, const char *name, const char *text)
{
    return cmi_zip_add(w, name, text, strlen(text), NULL);
}

static cm_status add_tensor(cm_zip_writer *w, const cm_tensor *t, size_t index, cm_write_report *report)
{
    const unsigned char *bytes;
    unsigned char *copy;
    char name[CM_ZIP_NAME];
    (void)snprintf(name, sizeof name, CM_TORCH_ROOT "/data/%zu", index);
    CM_TRY(cmi_write_fetch(w->file.context, t, &bytes, &copy));
    cm_status status = cmi_zip_add(w, name, bytes, t->bytes, report);
    cmi_free(w->file.context, copy);
    return status;
}

static cm_status add_metadata(cm_zip_writer *w, const json_t *metadata)
{
    if (!metadata) return CM_OK;
    char *text = cmi_json_print(metadata, JSON_COMPACT);
    if (!text) CM_FAIL(CM_ERR_MEMORY, "out of memory: metadata");
    cm_status status = add_text(w, CM_TORCH_ROOT "/extra/" CM_TORCH_METADATA, text);
    free(text);
    return status;
}

static cm_status add_all(cm_zip_writer *w, const pickle *p, const json_t *metadata, const cm_tensor *tensors,
                         size_t count, cm_write_report *report)
{
    CM_TRY(cmi_zip_add(w, CM_TORCH_ROOT "/data.pkl", p->bytes, p->n, NULL));
    CM_TRY(add_text(w, CM_TORCH_ROOT "/byteorder", "little"));
    CM_TRY(add_metadata(w, metadata));
    for (size_t i = 0; i < count; i++) CM_TRY(add_tensor(w, &tensors[i], i, report));
    CM_TRY(add_text(w, CM_TORCH_ROOT "/version", "3\n"));
    return cmi_write_ask(report, w->file.path);
}

cm_status cmi_torch_write(cm_context *context, const char *path, int overwrite, const json_t *metadata,
                          const cm_tensor *tensors, size_t count, cm_write_report *report)
{
    enum { OTHERS = 4 };
    pickle p = {.n = 0};
    cm_zip_writer w;
    CM_TRY(make_pickle(context, path, tensors, count, &p));
    cm_status status = cmi_zip_begin(context, path, overwrite, count + OTHERS, &w);
    if (status == CM_OK) {
        status = add_all(&w, &p, metadata, tensors, count, report);
        if (status == CM_OK) status = cmi_zip_commit(&w);
        else cmi_zip_abort(&w);
    }
    cmi_free(context, p.bytes);
    return status;
}
