/* flax.c - training states of flax (msgpack): the arrays of one of the trees of parameters in it.
 *
 * A state is a map; the trees are maps of maps in it, whose leaves are arrays: an extension with a second msgpack
 * value inside, [shape, dtype, bytes].  Very large arrays are a map of several.  A tensor's name is the keys on the
 * way to it with "/" between them, and its bytes are used where they lie; what else the state holds (the optimizer's
 * moments are twice the parameters) is stepped over. */
#include <stdio.h>
#include <string.h>

#include "io/msgpack.h"
#include "io/tensors.h"

enum { ARRAY = 1, SCALAR = 3 /* extensions */, TEXT_BASE = 1 << 20 };

/* Bytes of a tensor in the file; one of several has more. */
typedef struct {
    size_t at, size;
} piece;

typedef struct {
    piece *pieces; /* of all tensors, those of one behind the other from cm_tensor.offset on */
    char *names;
    char weights[64], step[32];
} state;

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
        if (!cmi_mul_size(t->count, (size_t)t->shape[i], &t->count))
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
    state *s = w->t->state;
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
    state *s = w->t->state;
    CM_TRY(read_array(w, extension, &a));
    CM_TRY(add_tensor(w, &a.tensor, &t));
    if (w->listing) {
        s->pieces[w->pieces] = (piece){a.at, a.tensor.bytes};
        if (w->in->held) t->data = w->in->held + (a.at - w->in->held_from);
    }
    w->pieces++;
    return CM_OK;
}

/* --- arrays in chunks: {"__msgpack_chunked_array__": true, "shape": {"0": n, ...}, "chunks": {"0": array, ...}} - */

static const char marker[] = "__msgpack_chunked_array__";

/* Where the value of a key begins; *found is 0 where there is none.  `at` is behind the header of the map. */
static cm_status look_up(const cm_input *in, const cm_msgpack *map, size_t at, size_t end, const char *key,
                         size_t *begin, int *found)
{
    cm_msgpack v;
    *found = 0;
    for (size_t i = 0; i < map->size && !*found; i++) {
        CM_TRY(cmi_msgpack_next(in, &at, end, &v));
        CM_TRY(cmi_msgpack_is(in, &v, key, found));
        if (!*found) CM_TRY(cmi_msgpack_skip(in, &at, end));
    }
    *begin = at;
    return CM_OK;
}

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
    const state *s = w->t->state;
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
        if (w->listing) s->pieces[w->pieces + index] = (piece){a.at, a.tensor.bytes};
    }
    return CM_OK;
}

/* The map under a key of such an array; *at is moved behind its header. */
static cm_status look_up_map(const walk *w, const cm_msgpack *map, size_t *at, const char *key, cm_msgpack *out)
{
    int found;
    CM_TRY(look_up(w->in, map, *at, w->end, key, at, &found));
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
    return fits ? look_up(w->in, map, at, w->end, marker, &first, out) : CM_OK;
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

static cm_status list_tree(cm_tensors *t, size_t at)
{
    walk w = {.t = t, .in = &t->input, .end = t->input.size};
    state *s = t->state;
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

/* --- which tree ------------------------------------------------------------------------------ */

/* Those that the states of consistency_models_cifar10 have; pictures are drawn with the average. */
static const char *const trees[] = {"params_ema", "params", "target_params"};

typedef struct {
    char text[400];
    size_t length;
    int count;
} name_list;

/* Keys of the state that hold maps. */
static cm_status list_keys(const cm_input *in, const cm_msgpack *top, size_t at, name_list *list)
{
    for (size_t i = 0; i < top->size; i++) {
        cm_msgpack key, v;
        char text[41] = "";
        size_t value;
        CM_TRY(cmi_msgpack_next(in, &at, in->size, &key));
        value = at;
        CM_TRY(cmi_msgpack_next(in, &value, in->size, &v));
        CM_TRY(cmi_msgpack_skip(in, &at, in->size));
        if (v.kind != CM_MSGPACK_MAP || list->count == 8) continue;
        CM_TRY(cmi_input_read(in, key.at, text, key.size < 40 ? key.size : 40));
        list->length += (size_t)snprintf(list->text + list->length, sizeof list->text - list->length, "%s'%s'",
                                         list->count++ ? ", " : "", text);
    }
    return CM_OK;
}

static cm_status refuse(const cm_input *in, const cm_msgpack *top, size_t at)
{
    name_list list = {.count = 0};
    int optimizer, first, second;
    size_t begin;
    CM_TRY(look_up(in, top, at, in->size, "opt_state", &begin, &optimizer));
    CM_TRY(look_up(in, top, at, in->size, "mu", &begin, &first));
    CM_TRY(look_up(in, top, at, in->size, "nu", &begin, &second));
    if (!in->weights && (optimizer || (first && second)))
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: this is the state of an optimizer, not a model's weights", in->name);
    CM_TRY(list_keys(in, top, at, &list));
    if (in->weights)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: there are no weights '%.64s'; there are %s", in->name, in->weights,
                list.count ? list.text : "none");
    CM_FAIL(CM_ERR_FORMAT,
            "%s: a msgpack file without 'params_ema', 'params' or 'target_params' at its top, as flax's training "
            "states have them; maps there: %s",
            in->name, list.count ? list.text : "none");
}

/* The tree that the caller or the order of the list wants. */
static cm_status choose(const cm_input *in, const cm_msgpack *top, size_t at, state *s, size_t *tree)
{
    size_t n = in->weights ? 1 : sizeof trees / sizeof *trees, begin;
    for (size_t i = 0; i < n; i++) {
        const char *name = in->weights ? in->weights : trees[i];
        cm_msgpack v;
        int found;
        CM_TRY(look_up(in, top, at, in->size, name, tree, &found));
        begin = *tree;
        if (!found || strlen(name) >= sizeof s->weights) continue;
        CM_TRY(cmi_msgpack_next(in, &begin, in->size, &v));
        if (v.kind != CM_MSGPACK_MAP) continue;
        (void)snprintf(s->weights, sizeof s->weights, "%s", name);
        return CM_OK;
    }
    return refuse(in, top, at);
}

/* The names that the option 'weights' takes first. */
static cm_status add_sets(cm_tensors *t, const cm_msgpack *top, size_t at)
{
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        cm_msgpack v;
        size_t tree;
        int found;
        CM_TRY(look_up(&t->input, top, at, t->input.size, trees[i], &tree, &found));
        if (!found) continue;
        CM_TRY(cmi_msgpack_next(&t->input, &tree, t->input.size, &v));
        if (v.kind == CM_MSGPACK_MAP) CM_TRY(cmi_tensors_add_set(t, trees[i]));
    }
    return CM_OK;
}

/* The step of the training, which is a number or an array of one, for whoever asks what the file is. */
static cm_status note_step(cm_tensors *t, const cm_msgpack *top, size_t at)
{
    state *s = t->state;
    cm_msgpack v;
    int found;
    CM_TRY(look_up(&t->input, top, at, t->input.size, "step", &at, &found));
    if (!found) return CM_OK;
    CM_TRY(cmi_msgpack_next(&t->input, &at, t->input.size, &v));
    if (v.kind == CM_MSGPACK_EXTENSION && v.size == 14) { /* 93 90 a5 "int32" c4 4 and the number */
        unsigned char b[14];
        CM_TRY(cmi_input_read(&t->input, v.at, b, sizeof b));
        if (memcmp(b, "\x93\x90\xa5int32\xc4\x04", 10) != 0) return CM_OK;
        v = (cm_msgpack){.kind = CM_MSGPACK_INT,
                         .bits = b[10] | (uint64_t)b[11] << 8 | (uint64_t)b[12] << 16 | (uint64_t)b[13] << 24};
    }
    if (v.kind != CM_MSGPACK_INT || v.negative) return CM_OK;
    (void)snprintf(s->step, sizeof s->step, "%llu", (unsigned long long)v.bits);
    return cmi_tensors_add_metadata(t, "step", s->step);
}

/* The tree of the model; where no model is asked for, all of an optimizer's state. */
static cm_status find_tree(cm_tensors *t, const cm_msgpack *top, size_t at, size_t *tree)
{
    state *s = t->state;
    cm_status status = choose(&t->input, top, at, s, tree);
    if (status == CM_OK) return cmi_tensors_add_metadata(t, "weights", s->weights);
    if (status != CM_ERR_UNSUPPORTED || !t->input.as_data) return status;
    t->refusal = cmi_strdup(t->context, cm_last_message());
    t->of_optimizer = 1;
    *tree = 0;
    return t->refusal ? CM_OK : CM_ERR_MEMORY;
}

/* --- the format ------------------------------------------------------------------------------ */

static cm_status open_tensors(cm_tensors *t)
{
    const unsigned char *held;
    cm_msgpack top;
    size_t at = 0, tree;
    state *s = t->state = cmi_calloc(t->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    CM_TRY(cmi_input_hold(&t->input, 0, &held));
    CM_TRY(cmi_msgpack_check(&t->input, 0, t->input.size));
    CM_TRY(cmi_msgpack_next(&t->input, &at, t->input.size, &top));
    if (top.kind != CM_MSGPACK_MAP)
        CM_FAIL(CM_ERR_FORMAT, "%s: a msgpack file that is not a map but %s", t->input.name,
                cmi_msgpack_name(top.kind));
    CM_TRY(find_tree(t, &top, at, &tree));
    CM_TRY(list_tree(t, tree));
    CM_TRY(note_step(t, &top, at));
    CM_TRY(add_sets(t, &top, at));
    if (cmi_tensors_find(t, "ResnetBlockBigGANpp_0/Conv_0/kernel"))
        CM_TRY(cmi_tensors_add_metadata(t, CM_NOTE_PUBLISHED, CM_PUBLISHED_CIFAR));
    return CM_OK;
}

static cm_status read_tensor(const cm_tensor *t, void *out)
{
    const state *s = t->from->state;
    size_t done = 0;
    for (size_t i = t->offset; done < t->bytes; done += s->pieces[i++].size)
        CM_TRY(cmi_input_read(&t->from->input, s->pieces[i].at, (unsigned char *)out + done, s->pieces[i].size));
    return CM_OK;
}

static void forget_tensor(const cm_tensor *t)
{
    const cm_input *in = &t->from->input;
    const state *s = t->from->state;
    size_t done = 0;
    if (!in->held || !cmi_input_is_mapped(in, in->held)) return;
    for (size_t i = t->offset; done < t->bytes; done += s->pieces[i++].size)
        cmi_mapping_forget(in->held + (s->pieces[i].at - in->held_from), s->pieces[i].size);
}

static void close_tensors(cm_tensors *t)
{
    state *s = t->state;
    if (!s) return;
    cmi_free(t->context, s->pieces);
    cmi_free(t->context, s->names);
    cmi_free(t->context, s);
}

/* A map.  The length that a safetensors file begins with can look so, but its upper bytes are zero; a pickle begins
 * with its protocol. */
static int recognise(const cm_input *input, const unsigned char *first, size_t n)
{
    (void)input;
    if (n < 1 || ((first[0] & 0xf0) != 0x80 && first[0] != 0xde && first[0] != 0xdf)) return 0;
    if (first[0] == 0x80 && n > 1 && first[1] >= 2 && first[1] <= 5) return 0;
    if (n >= 8 && memcmp(first + 4, "\r\n\x1a\n", 4) == 0) return 0; /* HDF5 and PNG begin as a map of nine */
    return n < 8 || first[5] || first[6] || first[7];
}

const cm_tensor_format cmi_format_flax = {.name = "flax (msgpack)",
                                          .recognise = recognise,
                                          .open = open_tensors,
                                          .read = read_tensor,
                                          .close = close_tensors,
                                          .forget = forget_tensor,
                                          .has_sets = 1};
