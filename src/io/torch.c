/* torch.c - storages and views of PyTorch's files as tensors. */
#include "io/torch.h"

#include <stdlib.h>
#include <string.h>

/* A view with strides of 0 can claim any number of values, and any number of views can share a storage: one gets
 * VIEW_SHARE bytes for each of the file, all together get ALL_SHARE. */
enum { MOST_STORAGES = 4 * CM_TENSORS_MAX, VIEW_SHARE = 8, VIEW_BASE = 1 << 20, ALL_SHARE = 16, ALL_BASE = 16 << 20 };

cm_status cmi_torch_begin(cm_tensors *t, size_t pickle_size, cm_torch **out)
{
    *out = t->state = cmi_calloc(t->context, 1, sizeof **out);
    return *out ? cmi_pickle_open(&t->input, pickle_size, &(*out)->pickle) : CM_ERR_MEMORY;
}

void cmi_torch_close(cm_tensors *t)
{
    cm_torch *torch = t->state;
    if (!torch) return;
    cmi_pickle_close(torch->pickle);
    cmi_free(t->context, torch->storages);
    cmi_free(t->context, torch->views);
    json_decref(torch->metadata);
    cmi_free(t->context, torch);
}

/* --- storages ------------------------------------------------------------------------------ */

static int by_key(const void *a, const void *b)
{
    return strcmp(((const cm_torch_storage *)a)->key, ((const cm_torch_storage *)b)->key);
}

/* Of a stream only where it lies, until the stream is read. */
static cm_status take_storage(const cm_tensors *t, const cm_pickled *named, cm_torch_storage *out)
{
    const cm_torch *torch = t->state;
    const cm_pickled *first = named->u.items[0];
    int nested = first->kind == CM_PICKLED_BYTES;
    if (nested != torch->nested)
        CM_FAIL(CM_ERR_FORMAT, "%s: %s", t->input.name,
                nested ? "a storage in a stream of its own (_load_from_bytes), where storages stand beside the pickle"
                       : "a storage beside the pickle (BINPERSID), but there is nothing beside it");
    *out = (cm_torch_storage){.key = cmi_pickled_text(named->u.items[2])};
    if (nested) {
        out->at = (size_t)first->u.integer;
        out->bytes = first->count;
    } else {
        const uint64_t elements = (uint64_t)named->u.items[4]->u.integer;
        out->type = (cm_tensor_type)named->u.items[1]->u.symbol->type;
        out->count = elements < SIZE_MAX ? (size_t)elements : SIZE_MAX;
    }
    return CM_OK;
}

/* Once each, however many tensors share it. */
static cm_status read_streams(const cm_tensors *t)
{
    cm_torch *torch = t->state;
    for (size_t i = 0; i < torch->n_storages && torch->nested; i++) {
        int swapped;
        CM_TRY(cmi_torch_read_stream(t, &torch->storages[i], &swapped));
        if (i && swapped != torch->swapped)
            CM_FAIL(CM_ERR_FORMAT, "%s: the storages at bytes %s and %s are of different byte orders", t->input.name,
                    torch->storages[0].key, torch->storages[i].key);
        torch->swapped = swapped;
    }
    return CM_OK;
}

cm_status cmi_torch_collect(cm_tensors *t)
{
    cm_torch *torch = t->state;
    size_t n, kept = 0, bytes;
    cm_pickled *const *named = cmi_pickle_storages(torch->pickle, &n);
    if (n > MOST_STORAGES)
        CM_FAIL(CM_ERR_LIMIT, "%s: more than the limit of %d storages", t->input.name, MOST_STORAGES);
    cm_torch_storage *list = torch->storages = cmi_calloc(t->context, n + 1, sizeof *list);
    if (!list) return CM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) CM_TRY(take_storage(t, named[i], &list[i]));
    qsort(list, n, sizeof *list, by_key);
    for (size_t i = 0; i < n; i++) {
        const cm_torch_storage *before = kept ? &list[kept - 1] : NULL;
        if (!cmi_mul_size(list[i].count, cmi_tensor_type_size(list[i].type), &bytes))
            CM_FAIL(CM_ERR_FORMAT, "%s: storage '%s': its number of elements overflows", t->input.name, list[i].key);
        if (!before || strcmp(before->key, list[i].key) != 0) list[kept++] = list[i];
        else if (before->type != list[i].type || before->count != list[i].count)
            CM_FAIL(CM_ERR_FORMAT, "%s: storage '%s' is named with two classes or lengths: %zu %s and %zu %s",
                    t->input.name, before->key, before->count, cmi_tensor_type_name(before->type), list[i].count,
                    cmi_tensor_type_name(list[i].type));
    }
    torch->n_storages = kept;
    return read_streams(t);
}

cm_torch_storage *cmi_torch_find(const cm_torch *torch, const char *key)
{
    const cm_torch_storage wanted = {.key = key};
    return torch->n_storages ? bsearch(&wanted, torch->storages, torch->n_storages, sizeof wanted, by_key) : NULL;
}

/* --- views --------------------------------------------------------------------------------- */

static cm_status broken(const cm_tensors *t, const cm_tensor *tensor, const char *rule)
{
    CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': %s", t->input.name, tensor->name, rule);
}

/* Numbers of a tuple that may not be negative. */
static cm_status read_numbers(const cm_tensors *t, const cm_tensor *tensor, const cm_pickled *tuple, const char *what,
                              int64_t *out)
{
    for (uint32_t i = 0; i < tuple->count; i++) {
        const cm_pickled *v = tuple->u.items[i];
        if (v->kind != CM_PICKLED_INT)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': %s %u is not a number but %s", t->input.name, tensor->name, what,
                    i, cmi_pickled_name(v));
        if (v->u.integer < 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': %s %u is negative: %lld", t->input.name, tensor->name, what, i,
                    (long long)v->u.integer);
        out[i] = v->u.integer;
    }
    return CM_OK;
}

/* Legacy files may have a storage that is a part of another: (key, offset, length) in elements. */
static cm_status read_part(const cm_tensors *t, const cm_tensor *tensor, const cm_pickled *storage, size_t *offset,
                           size_t *count)
{
    const cm_pickled *part = storage->count == 6 ? storage->u.items[5] : NULL;
    if (!part || part->kind == CM_PICKLED_NONE) return CM_OK;
    if (part->kind != CM_PICKLED_TUPLE || part->count != 3 || part->u.items[1]->kind != CM_PICKLED_INT ||
        part->u.items[2]->kind != CM_PICKLED_INT)
        return broken(t, tensor, "its storage is a part that is not described by key, offset and length");
    int64_t from = part->u.items[1]->u.integer, n = part->u.items[2]->u.integer;
    if (from < 0 || n < 0 || (uint64_t)from > *count || (uint64_t)n > *count - (size_t)from)
        return broken(t, tensor, "its storage is a part that leaves the whole");
    *offset = (size_t)from;
    *count = (size_t)n;
    return CM_OK;
}

/* The place of the last element, counted from the first. */
static int reach(const cm_tensor *tensor, const int64_t *strides, size_t *out)
{
    size_t sum = 0, step;
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] > 1 && ((uint64_t)strides[i] > SIZE_MAX / 2 ||
                                     !cmi_mul_size((size_t)(tensor->shape[i] - 1), (size_t)strides[i], &step) ||
                                     !cmi_add_size(sum, step, &sum)))
            return 0;
    *out = sum;
    return 1;
}

static int lies_plainly(const cm_tensor *tensor, const int64_t *strides)
{
    int64_t expected = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        if (tensor->shape[i] > 1 && strides[i] != expected) return 0;
        expected *= tensor->shape[i];
    }
    return 1;
}

/* count and bytes of the shape, which the file does not bound. */
static cm_status measure(const cm_tensors *t, cm_tensor *tensor)
{
    size_t most = t->input.size < SIZE_MAX / 16 ? VIEW_SHARE * t->input.size + VIEW_BASE : SIZE_MAX;
    tensor->count = 1;
    int empty = 0;
    for (int i = 0; i < tensor->rank; i++) empty |= tensor->shape[i] == 0;
    for (int i = 0; i < tensor->rank && !empty; i++)
        if ((uint64_t)tensor->shape[i] > SIZE_MAX / 2 ||
            !cmi_mul_size(tensor->count, (size_t)tensor->shape[i], &tensor->count))
            return broken(t, tensor, "its number of elements overflows");
    if (empty) tensor->count = 0;
    if (!cmi_mul_size(tensor->count, cmi_tensor_type_size(tensor->type), &tensor->bytes))
        return broken(t, tensor, "its number of elements overflows");
    if (tensor->bytes > most)
        CM_FAIL(CM_ERR_LIMIT, "%s: tensor '%s' claims %zu elements, far more than the file has bytes", t->input.name,
                tensor->name, tensor->count);
    return CM_OK;
}

/* What reading all tensors up to this one takes. */
static cm_status measure_all(const cm_tensors *t, const cm_tensor *tensor)
{
    cm_torch *torch = t->state;
    size_t most = t->input.size < SIZE_MAX / 32 ? ALL_SHARE * t->input.size + ALL_BASE : SIZE_MAX;
    torch->listed += tensor->bytes; /* each is bounded, so that the sum cannot wrap */
    if (torch->listed > most)
        CM_FAIL(
            CM_ERR_LIMIT,
            "%s: its tensors up to '%s' have %zu bytes in all, far more than the file: they are views of the same "
            "storages again and again",
            t->input.name, tensor->name, torch->listed);
    return CM_OK;
}

/* `value`: storage, offset, size, stride[, dtype]; offset and stride count elements of the tensor's type. */
static cm_status make_view(const cm_tensors *t, const cm_pickled *value, cm_tensor *tensor, cm_torch_view *view)
{
    const cm_torch *torch = t->state;
    const cm_pickled *const *v = (const cm_pickled *const *)value->u.items;
    const cm_torch_storage *s = cmi_torch_find(torch, cmi_pickled_text(v[0]->u.items[2]));
    const uint64_t offset = (uint64_t)v[1]->u.integer;
    size_t from = 0, most = s->count, last = 0;
    if (v[2]->count != v[3]->count) return broken(t, tensor, "size and stride are of different ranks");
    if (v[2]->count > CM_TENSOR_RANK)
        CM_FAIL(CM_ERR_LIMIT, "%s: tensor '%s': its rank %u is over the limit of %d", t->input.name, tensor->name,
                v[2]->count, CM_TENSOR_RANK);
    tensor->rank = (int)v[2]->count;
    tensor->type = value->count > 4 ? (cm_tensor_type)v[4]->u.symbol->type : s->type;
    size_t stored = cmi_tensor_type_size(s->type), size = cmi_tensor_type_size(tensor->type);
    CM_TRY(read_numbers(t, tensor, v[2], "dimension", tensor->shape));
    CM_TRY(read_numbers(t, tensor, v[3], "stride", view->strides));
    if (v[1]->u.integer < 0) return broken(t, tensor, "its storage offset is negative");
    CM_TRY(read_part(t, tensor, v[0], &from, &most));
    CM_TRY(measure(t, tensor));
    CM_TRY(measure_all(t, tensor));
    most = most * stored / size;
    if (tensor->count && (!reach(tensor, view->strides, &last) || offset >= most || last >= most - offset))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': its view leaves storage '%s' of %zu elements", t->input.name,
                tensor->name, s->key, most);
    view->at = s->at + (tensor->count ? from * stored + (size_t)offset * size : 0);
    view->gathered = tensor->count && !lies_plainly(tensor, view->strides);
    return CM_OK;
}

/* --- the list ------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    const cm_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static cm_status check_names(const cm_tensors *t)
{
    const cm_tensor **order = cmi_calloc(t->context, t->count + 1, sizeof *order), *twice = NULL;
    if (!order) return CM_ERR_MEMORY;
    for (size_t i = 0; i < t->count; i++) order[i] = &t->tensors[i];
    qsort(order, t->count, sizeof *order, by_name);
    for (size_t i = 1; i < t->count && !twice; i++)
        if (strcmp(order[i - 1]->name, order[i]->name) == 0) twice = order[i];
    cmi_free(t->context, order);
    if (twice) return broken(t, twice, "the name stands there twice");
    return CM_OK;
}

/* Room for all at once: a list that grows would take three times as much for a while. */
cm_status cmi_torch_reserve(cm_tensors *t, size_t n)
{
    cm_torch *torch = t->state;
    if (n > CM_TENSORS_MAX)
        CM_FAIL(CM_ERR_LIMIT, "%s: more than the limit of %d tensors", t->input.name, CM_TENSORS_MAX);
    torch->views = cmi_calloc(t->context, n + 1, sizeof *torch->views);
    t->tensors = cmi_calloc(t->context, n + 1, sizeof *t->tensors);
    t->capacity = t->tensors ? n + 1 : 0;
    return torch->views && t->tensors ? CM_OK : CM_ERR_MEMORY;
}

cm_status cmi_torch_add(cm_tensors *t, const char *name, const cm_pickled *value)
{
    cm_torch *torch = t->state;
    cm_tensor *tensor;
    CM_TRY(cmi_tensors_add(t, name, &tensor));
    tensor->offset = t->count - 1;
    return make_view(t, value, tensor, &torch->views[tensor->offset]);
}

static cm_status add_entry(cm_tensors *t, const cm_torch_choice *choice, const cm_pickled *key,
                           const cm_pickled *value)
{
    size_t skip = strlen(choice->prefix);
    const char *name = cmi_pickled_text(key);
    if (value->kind != CM_PICKLED_TENSOR) return CM_OK;
    if (!name)
        CM_FAIL(CM_ERR_FORMAT, "%s: the key of a tensor is not a string of at most %d bytes without NUL, but %s",
                t->input.name, CM_TENSOR_NAME, cmi_pickled_name(key));
    return strncmp(name, choice->prefix, skip) == 0 ? cmi_torch_add(t, name + skip, value) : CM_OK;
}

/* Those that lie in memory as they have to. */
static void place(cm_tensors *t)
{
    const cm_torch *torch = t->state;
    const cm_input *in = &t->input;
    for (size_t i = 0; i < t->count; i++) {
        const cm_torch_view *view = &torch->views[i];
        if (in->held && view->at >= in->held_from && !view->gathered && !torch->swapped)
            t->tensors[i].data = in->held + (view->at - in->held_from);
    }
}

static cm_status list_choice(cm_tensors *t, const cm_torch_choice *choice)
{
    cm_torch *torch = t->state;
    const cm_pickled *dict = choice->tensors;
    size_t n = 0;
    for (uint32_t i = 0; i < dict->count; i += 2) n += dict->u.items[i + 1]->kind == CM_PICKLED_TENSOR;
    CM_TRY(cmi_torch_reserve(t, n));
    for (uint32_t i = 0; i < dict->count; i += 2)
        CM_TRY(add_entry(t, choice, dict->u.items[i], dict->u.items[i + 1]));
    memcpy(torch->weights, choice->name, sizeof torch->weights);
    if (choice->prefix[0]) {
        memcpy(torch->prefix, choice->prefix, sizeof torch->prefix);
        CM_TRY(cmi_tensors_add_metadata(t, CM_NOTE_PREFIX, torch->prefix));
    }
    return cmi_tensors_add_metadata(t, "weights", torch->weights);
}

/* Modules are chosen like dictionaries; one keeps its names whole. */
static cm_status choose(const cm_input *in, const cm_pickled *flat, const cm_pickled *top, cm_torch_choice *out,
                        const cm_pickled **module)
{
    *module = NULL;
    CM_TRY(cmi_torch_choose(in, flat, out));
    *module = cmi_torch_module(top, out->name);
    if (*module) out->prefix[0] = '\0';
    return CM_OK;
}

cm_status cmi_torch_list(cm_tensors *t, cm_pickled *top)
{
    cm_torch_choice choice;
    cm_pickled *flat;
    const cm_pickled *module;
    CM_TRY(cmi_torch_flatten(t, top, &flat));
    cm_status status = choose(&t->input, flat, top, &choice, &module);
    if (status == CM_OK) status = list_choice(t, &choice);
    else if (t->input.as_data) status = cmi_torch_list_all(t, flat, status);
    CM_TRY(status);
    CM_TRY(check_names(t));
    place(t);
    if (module) CM_TRY(cmi_edm_describe(t, module, top));
    return t->input.as_data ? cmi_torch_describe(t, flat) : CM_OK;
}

/* --- values -------------------------------------------------------------------------------- */

/* Row by row, the last index fastest. */
static void gather(const cm_tensor *t, const int64_t *strides, const unsigned char *from, unsigned char *out)
{
    int64_t index[CM_TENSOR_RANK] = {0};
    size_t size = cmi_tensor_type_size(t->type), at = 0;
    for (size_t i = 0; i < t->count; i++) {
        memcpy(out + i * size, from + at * size, size);
        for (int k = t->rank - 1; k >= 0; k--) {
            at += (size_t)strides[k];
            if (++index[k] < t->shape[k]) break;
            at -= (size_t)(strides[k] * t->shape[k]);
            index[k] = 0;
        }
    }
}

static void swap_bytes(unsigned char *p, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++, p += size)
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            unsigned char kept = p[a];
            p[a] = p[b];
            p[b] = kept;
        }
}

static cm_status read_gathered(const cm_tensor *t, const cm_torch_view *view, void *out)
{
    const cm_input *in = &t->from->input;
    size_t last = 0, span;
    if (!t->count) return CM_OK;
    (void)reach(t, view->strides, &last); /* was checked */
    span = (last + 1) * cmi_tensor_type_size(t->type);
    unsigned char *bytes = cmi_malloc(t->from->context, span, 1);
    if (!bytes) return CM_ERR_MEMORY;
    cm_status status = cmi_input_read(in, view->at, bytes, span);
    if (status == CM_OK) gather(t, view->strides, bytes, out);
    cmi_free(t->from->context, bytes);
    return status;
}

cm_status cmi_torch_read(const cm_tensor *t, void *out)
{
    const cm_torch *torch = t->from->state;
    const cm_torch_view *view = &torch->views[t->offset];
    if (view->gathered) CM_TRY(read_gathered(t, view, out));
    else CM_TRY(cmi_input_read(&t->from->input, view->at, out, t->bytes));
    if (torch->swapped) swap_bytes(out, t->count, cmi_tensor_type_size(t->type));
    return CM_OK;
}

void cmi_torch_forget(const cm_tensor *t)
{
    const cm_torch *torch = t->from->state;
    const cm_input *in = &t->from->input;
    const cm_torch_view *view = &torch->views[t->offset];
    size_t last = 0;
    if (!t->count || !in->held || view->at < in->held_from) return;
    const unsigned char *at = in->held + (view->at - in->held_from);
    (void)reach(t, view->strides, &last); /* was checked */
    if (cmi_input_is_mapped(in, at)) cmi_mapping_forget(at, (last + 1) * cmi_tensor_type_size(t->type));
}
