/* flax_tree.c - a tree of parameters in a state of flax: maps of maps whose leaves are arrays.
 *
 * An array is an extension with a second msgpack value inside, [shape, dtype, bytes]; a very large one is a map of
 * several.  A tensor's name is the keys on the way to it with "/" between them, and its bytes are used where they
 * lie. */
#include <stdio.h>
#include <string.h>

#include "io/flax.h"
#include "io/msgpack.h"

enum { ARRAY = 1, SCALAR = 3 /* extensions */, TEXT_BASE = 1 << 20 };

/* A tree is walked twice: the first time everything is checked and counted, the second time it is listed. */
typedef struct {
    cm_tensors *t;
    const cm_input *in;
    size_t end;
    int listing;
    size_t tensors, pieces, text;
    char path[CM_TENSOR_NAME + 1];
    size_t length;
} walk;

/* What an array says of itself. */
typedef struct {
    cm_tensor tensor;
    size_t at; /* of its bytes */
} array;

static cm_status broken(const walk *w, const char *rule)
{
    CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': %s", w->in->name, w->path, rule);
}

/* --- arrays ---------------------------------------------------------------------------------- */

static cm_status read_type(const walk *w, const cm_msgpack *v, cm_tensor_type *out)
{
    static const struct {
        const char *name;
        cm_tensor_type type;
    } types[] = {{"float32", CM_TENSOR_F32}, {"bfloat16", CM_TENSOR_BF16}, {"float16", CM_TENSOR_F16},
                 {"float64", CM_TENSOR_F64}, {"int8", CM_TENSOR_I8},       {"int16", CM_TENSOR_I16},
                 {"int32", CM_TENSOR_I32},   {"int64", CM_TENSOR_I64},     {"uint8", CM_TENSOR_U8},
                 {"uint16", CM_TENSOR_U16},  {"uint32", CM_TENSOR_U32},    {"uint64", CM_TENSOR_U64},
                 {"bool", CM_TENSOR_BOOL}};
    char name[33] = "";
    if (v->kind != CM_MSGPACK_TEXT && v->kind != CM_MSGPACK_BYTES)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': its dtype is not a name but %s", w->in->name, w->path,
                cmi_msgpack_name(v->kind));
    CM_TRY(cmi_input_read(w->in, v->at, name, v->size < 32 ? v->size : 32));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strlen(types[i].name) == v->size && strcmp(types[i].name, name) == 0) {
            *out = types[i].type;
            return CM_OK;
        }
    CM_FAIL(CM_ERR_UNSUPPORTED, "%s: tensor '%s': arrays of dtype '%s' are not read", w->in->name, w->path, name);
}

static cm_status add_dimension(const walk *w, const cm_msgpack *v, cm_tensor *t)
{
    if (v->kind != CM_MSGPACK_INT)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': dimension %d is not a whole number but %s", w->in->name, w->path,
                t->rank, cmi_msgpack_name(v->kind));
    if (v->negative)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': dimension %d is negative: %lld", w->in->name, w->path, t->rank,
                (long long)v->bits);
    if (t->rank == CM_TENSOR_RANK)
        CM_FAIL(CM_ERR_LIMIT, "%s: tensor '%s': its rank is over the limit of %d", w->in->name, w->path,
                CM_TENSOR_RANK);
    if (v->bits > INT64_MAX) return broken(w, "its number of elements overflows");
    t->shape[t->rank++] = (int64_t)v->bits;
    return CM_OK;
}

/* count and bytes of type and shape, which have to be `found`. */
static cm_status measure(const walk *w, cm_tensor *t, size_t found)
{
    int empty = 0;
    t->count = 1;
    for (int i = 0; i < t->rank; i++) empty |= t->shape[i] == 0;
    for (int i = 0; i < t->rank && !empty; i++)
        if ((size_t)t->shape[i] != (uint64_t)t->shape[i] || !cmi_mul_size(t->count, (size_t)t->shape[i], &t->count))
            return broken(w, "its number of elements overflows");
    if (empty) t->count = 0;
    if (!cmi_mul_size(t->count, cmi_tensor_type_size(t->type), &t->bytes))
        return broken(w, "its number of elements overflows");
    if (t->bytes != found)
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': its shape needs %zu bytes of type %s, the file has %zu", w->in->name,
                w->path, t->bytes, cmi_tensor_type_name(t->type), found);
    return CM_OK;
}

/* The extension's own msgpack value: [[dimension, ...], dtype, bytes]. */
static cm_status read_array(const walk *w, const cm_msgpack *e, array *out)
{
    size_t at = e->at, end = e->at + e->size;
    cm_msgpack v;
    memset(out, 0, sizeof *out);
    if (e->type != ARRAY && e->type != SCALAR)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: '%s' is a msgpack extension of type %d, which is not an array of flax",
                w->in->name, w->path, e->type);
    CM_TRY(cmi_msgpack_next(w->in, &at, end, &v));
    if (v.kind != CM_MSGPACK_LIST || v.size != 3)
        return broken(w, "it is not a list of shape, dtype and bytes, as flax writes arrays");
    CM_TRY(cmi_msgpack_next(w->in, &at, end, &v));
    if (v.kind != CM_MSGPACK_LIST) return broken(w, "its shape is not a list");
    for (size_t i = v.size; i > 0; i--) {
        CM_TRY(cmi_msgpack_next(w->in, &at, end, &v));
        CM_TRY(add_dimension(w, &v, &out->tensor));
    }
    CM_TRY(cmi_msgpack_next(w->in, &at, end, &v));
    CM_TRY(read_type(w, &v, &out->tensor.type));
    CM_TRY(cmi_msgpack_next(w->in, &at, end, &v));
    if (v.kind != CM_MSGPACK_BYTES) return broken(w, "its values are not bytes");
    if (at != end) return broken(w, "bytes follow the array in its extension");
    out->at = v.at;
    return measure(w, &out->tensor, v.size);
}

/* --- the list ---------------------------------------------------------------------------------- */

/* One tensor, or what there will have to be room for; its pieces follow. */
static cm_status add_tensor(walk *w, const cm_tensor *like, cm_tensor **out)
{
    cm_flax *s = w->t->state;
    if (w->tensors == CM_TENSORS_MAX)
        CM_FAIL(CM_ERR_LIMIT, "%s: more than the limit of %d tensors", w->in->name, CM_TENSORS_MAX);
    w->tensors++;
    if (w->listing) {
        char *name = memcpy(s->names + w->text, w->path, w->length + 1);
        CM_TRY(cmi_tensors_add(w->t, name, out));
        const cm_tensor listed = **out;
        **out = *like;
        (*out)->name = name;
        (*out)->from = listed.from;
        (*out)->offset = w->pieces;
    }
    w->text += w->length + 1;
    return CM_OK;
}

static cm_status add_array(walk *w, const cm_msgpack *extension)
{
    array a;
    cm_tensor *t = NULL;
    cm_flax *s = w->t->state;
    CM_TRY(read_array(w, extension, &a));
    CM_TRY(add_tensor(w, &a.tensor, &t));
    if (w->listing) {
        s->pieces[w->pieces] = (cm_flax_piece){a.at, a.tensor.bytes};
        if (w->in->held) t->data = w->in->held + (a.at - w->in->held_from);
    }
    w->pieces++;
    return CM_OK;
}

/* --- arrays in chunks: {"__msgpack_chunked_array__": true, "shape": {"0": n, ...}, "chunks": {"0": array, ...}} - */

static const char marker[] = "__msgpack_chunked_array__";

/* A key that is a number below n, as lists are stored; each stands there once. */
static cm_status read_index(const walk *w, size_t *at, size_t n, size_t *out)
{
    cm_msgpack key;
    char text[12] = "", again[24];
    CM_TRY(cmi_msgpack_next(w->in, at, w->end, &key));
    if (key.size < sizeof text) CM_TRY(cmi_input_read(w->in, key.at, text, key.size));
    *out = 0;
    for (int i = 0; text[i] >= '0' && text[i] <= '9' && *out < n; i++) *out = 10 * *out + (size_t)(text[i] - '0');
    (void)snprintf(again, sizeof again, "%zu", *out < n ? *out : 0);
    return *out < n && strcmp(again, text) == 0 ? CM_OK : broken(w, "its chunks are not numbered from 0 on");
}

static cm_status read_chunked_shape(const walk *w, const cm_msgpack *map, size_t at, cm_tensor *t)
{
    int64_t shape[CM_TENSOR_RANK] = {0};
    for (size_t i = 0; i < map->size; i++) {
        cm_msgpack v;
        size_t index;
        CM_TRY(read_index(w, &at, map->size, &index));
        CM_TRY(cmi_msgpack_next(w->in, &at, w->end, &v));
        CM_TRY(add_dimension(w, &v, t));
        if (index < CM_TENSOR_RANK) shape[index] = t->shape[i];
    }
    memcpy(t->shape, shape, map->size * sizeof *shape);
    return CM_OK;
}

/* All chunks have one type, which becomes the tensor's. */
static cm_status read_chunks(walk *w, const cm_msgpack *map, size_t at, cm_tensor *t, size_t *bytes)
{
    const cm_flax *s = w->t->state;
    for (size_t i = 0; i < map->size; i++) {
        cm_msgpack v;
        size_t index;
        array a;
        CM_TRY(read_index(w, &at, map->size, &index));
        CM_TRY(cmi_msgpack_next(w->in, &at, w->end, &v));
        if (v.kind != CM_MSGPACK_EXTENSION) return broken(w, "one of its chunks is not an array");
        CM_TRY(read_array(w, &v, &a));
        if (i && a.tensor.type != t->type) return broken(w, "its chunks are of two types");
        t->type = a.tensor.type;
        *bytes += a.tensor.bytes; /* of the file, so they fit */
        if (w->listing) s->pieces[w->pieces + index] = (cm_flax_piece){a.at, a.tensor.bytes};
    }
    return CM_OK;
}

/* The map under a key of such an array; *at is moved behind its header. */
static cm_status look_up_map(const walk *w, const cm_msgpack *map, size_t *at, const char *key, cm_msgpack *out)
{
    int found;
    CM_TRY(cmi_msgpack_find(w->in, map, *at, w->end, key, at, &found));
    if (found) CM_TRY(cmi_msgpack_next(w->in, at, w->end, out));
    return found && out->kind == CM_MSGPACK_MAP ? CM_OK
                                                : broken(w, "an array in chunks without its shape and chunks");
}

static cm_status add_chunked(walk *w, const cm_msgpack *map, size_t at)
{
    cm_tensor tensor = {.type = CM_TENSOR_F32}, *t;
    cm_msgpack shape, chunks;
    size_t at_shape = at, at_chunks = at, bytes = 0;
    CM_TRY(look_up_map(w, map, &at_shape, "shape", &shape));
    CM_TRY(read_chunked_shape(w, &shape, at_shape, &tensor));
    CM_TRY(look_up_map(w, map, &at_chunks, "chunks", &chunks));
    CM_TRY(read_chunks(w, &chunks, at_chunks, &tensor, &bytes));
    CM_TRY(measure(w, &tensor, bytes));
    CM_TRY(add_tensor(w, &tensor, &t));
    w->pieces += chunks.size;
    return CM_OK;
}

/* Whether a map is one; `at` is behind its header.  Only where the first of three keys fits are the others looked
 * at, so that deep trees are not read once a level. */
static cm_status is_chunked(const walk *w, const cm_msgpack *map, size_t at, int *out)
{
    static const char *const keys[] = {marker, "shape", "chunks"};
    size_t first = at;
    int fits = 0;
    cm_msgpack key;
    *out = 0;
    if (map->kind != CM_MSGPACK_MAP || map->size != 3) return CM_OK;
    CM_TRY(cmi_msgpack_next(w->in, &first, w->end, &key));
    for (int i = 0; i < 3 && !fits; i++) CM_TRY(cmi_msgpack_is(w->in, &key, keys[i], &fits));
    return fits ? cmi_msgpack_find(w->in, map, at, w->end, marker, &first, out) : CM_OK;
}

/* --- trees ----------------------------------------------------------------------------------- */

static cm_status add_map(walk *w, const cm_msgpack *map, size_t *at);

static cm_status add_value(walk *w, size_t *at)
{
    cm_msgpack v;
    size_t begin = *at;
    int chunked;
    CM_TRY(cmi_msgpack_next(w->in, at, w->end, &v));
    CM_TRY(is_chunked(w, &v, *at, &chunked));
    if (v.kind == CM_MSGPACK_EXTENSION) return add_array(w, &v);
    if (v.kind == CM_MSGPACK_MAP && !chunked) return add_map(w, &v, at);
    if (chunked) CM_TRY(add_chunked(w, &v, *at));
    *at = begin; /* numbers and texts beside arrays mean nothing to a network */
    return cmi_msgpack_skip(w->in, at, w->end);
}

/* `at` is behind the header.  As deep as cmi_msgpack_check has allowed. */
static cm_status add_map(walk *w, const cm_msgpack *map, size_t *at)
{
    const size_t length = w->length;
    for (size_t i = 0; i < map->size; i++) {
        cm_msgpack key;
        CM_TRY(cmi_msgpack_next(w->in, at, w->end, &key));
        if (key.size + 1 > CM_TENSOR_NAME - length)
            CM_FAIL(CM_ERR_LIMIT, "%s: the name of a tensor below '%.64s...' is over the limit of %d bytes",
                    w->in->name, w->path, CM_TENSOR_NAME);
        if (length) w->path[w->length++] = '/';
        CM_TRY(cmi_input_read(w->in, key.at, w->path + w->length, key.size));
        if (memchr(w->path + w->length, '/', key.size))
            CM_FAIL(CM_ERR_FORMAT, "%s: the key '%.*s' has a '/', which separates keys in names", w->in->name,
                    (int)key.size, w->path + w->length);
        w->length += key.size;
        w->path[w->length] = '\0';
        CM_TRY(add_value(w, at));
        w->length = length;
        w->path[length] = '\0';
    }
    return CM_OK;
}

static cm_status walk_tree(walk *w, size_t at)
{
    cm_msgpack map;
    w->tensors = w->pieces = w->text = 0;
    CM_TRY(cmi_msgpack_next(w->in, &at, w->end, &map));
    return add_map(w, &map, &at);
}

cm_status cmi_flax_list_tree(cm_tensors *t, size_t at)
{
    walk w = {.t = t, .in = &t->input, .end = t->input.size};
    cm_flax *s = t->state;
    CM_TRY(walk_tree(&w, at));
    if (w.text > w.end + TEXT_BASE)
        CM_FAIL(CM_ERR_LIMIT, "%s: the names of its tensors take %zu bytes, more than the file", w.in->name, w.text);
    s->pieces = cmi_calloc(t->context, w.pieces + 1, sizeof *s->pieces);
    s->names = cmi_calloc(t->context, w.text + 1, 1);
    t->tensors = cmi_calloc(t->context, w.tensors + 1, sizeof *t->tensors);
    t->capacity = t->tensors ? w.tensors + 1 : 0;
    if (!s->pieces || !s->names || !t->tensors) return CM_ERR_MEMORY;
    w.listing = 1;
    return walk_tree(&w, at);
}
