/* torch_legacy.c - PyTorch's stream of pickles (before version 1.6): a magic number, a version, the machine that
 * wrote it, the object, the list of its storages' keys, and the storages one after the other. */
#include <string.h>

#include "io/torch.h"

enum { VERSION = 1001 };

static uint64_t number(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | p[n];
    return v;
}

/* Magic, version and machine; *at is behind them. */
static cm_status read_beginning(const cm_input *in, cm_pickle *pickle, size_t end, size_t *at, int *swapped)
{
    cm_pickled *magic, *version, *machine;
    CM_TRY(cmi_pickle_run(pickle, "its first pickle", *at, end, &magic, at));
    if (magic->kind != CM_PICKLED_MAGIC)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: a Python pickle of %s, not a checkpoint that PyTorch has written", in->name,
                cmi_pickled_name(magic));
    CM_TRY(cmi_pickle_run(pickle, "the pickle of its version", *at, end, &version, at));
    if (version->kind != CM_PICKLED_INT || version->u.integer != VERSION)
        CM_FAIL(CM_ERR_FORMAT, "%s: its protocol is not the number %d", in->name, VERSION);
    CM_TRY(cmi_pickle_run(pickle, "the pickle of its machine", *at, end, &machine, at));
    const cm_pickled *little = cmi_pickled_get(machine, "little_endian");
    if (!little || little->kind != CM_PICKLED_BOOL)
        CM_FAIL(CM_ERR_FORMAT, "%s: it does not say whether its numbers are little-endian", in->name);
    *swapped = !little->u.integer;
    return CM_OK;
}

/* One storage: the number of its elements, then they. */
static cm_status place(const cm_tensors *t, const cm_pickled *key, size_t *at)
{
    const cm_input *in = &t->input;
    const char *text = cmi_pickled_text(key);
    cm_torch_storage *s = text ? cmi_torch_find(t->state, text) : NULL;
    unsigned char count[8];
    if (!s)
        CM_FAIL(CM_ERR_FORMAT, "%s: the list of storages names '%.32s', which no tensor does", in->name,
                text ? text : cmi_pickled_name(key));
    if (s->placed) CM_FAIL(CM_ERR_FORMAT, "%s: storage '%s' is listed twice", in->name, text);
    if (in->size - *at < 8) CM_FAIL(CM_ERR_FORMAT, "%s: truncated: storage '%s' is missing", in->name, text);
    CM_TRY(cmi_input_read(in, *at, count, sizeof count));
    *at += 8;
    if (number(count, 8) != s->count)
        CM_FAIL(CM_ERR_FORMAT, "%s: storage '%s' has %llu elements, its tensors say %zu", in->name, text,
                (unsigned long long)number(count, 8), s->count);
    size_t size = s->count * cmi_tensor_type_size(s->type);
    if (size > in->size - *at)
        CM_FAIL(CM_ERR_FORMAT, "%s: truncated: storage '%s' needs %zu bytes, %zu are left", in->name, text, size,
                in->size - *at);
    s->at = *at;
    s->placed = 1;
    *at += size;
    return CM_OK;
}

static cm_status place_all(const cm_tensors *t, const cm_pickled *keys, size_t at)
{
    const cm_torch *torch = t->state;
    if (keys->kind != CM_PICKLED_LIST)
        CM_FAIL(CM_ERR_FORMAT, "%s: %s stands in place of the list of storages", t->input.name,
                cmi_pickled_name(keys));
    for (uint32_t i = 0; i < keys->count; i++) CM_TRY(place(t, keys->u.items[i], &at));
    for (size_t i = 0; i < torch->n_storages; i++)
        if (!torch->storages[i].placed)
            CM_FAIL(CM_ERR_FORMAT, "%s: storage '%s' is not in the list of storages", t->input.name,
                    torch->storages[i].key);
    if (at != t->input.size)
        CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes behind the last storage", t->input.name, t->input.size - at);
    return CM_OK;
}

static cm_status open_tensors(cm_tensors *t)
{
    cm_torch *torch;
    cm_pickled *top, *keys;
    const unsigned char *held;
    size_t at = 0, size = t->input.size;
    CM_TRY(cmi_torch_begin(t, size, &torch));
    CM_TRY(read_beginning(&t->input, torch->pickle, size, &at, &torch->swapped));
    CM_TRY(cmi_pickle_run(torch->pickle, "the pickle of its object", at, size, &top, &at));
    CM_TRY(cmi_torch_collect(t));
    CM_TRY(cmi_pickle_run(torch->pickle, "the pickle of its storages' keys", at, size, &keys, &at));
    CM_TRY(place_all(t, keys, at));
    CM_TRY(cmi_input_hold(&t->input, 0, &held));
    return cmi_torch_list(t, top);
}

/* Behind PROTO and, in protocol 4, FRAME. */
int cmi_torch_is_stream(const unsigned char *first, size_t n)
{
    static const unsigned char magic[] = {0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    size_t at = n > 11 && first[2] == 0x95 ? 11 : 2;
    return n >= at + sizeof magic && first[0] == 0x80 && first[1] >= 2 && first[1] <= 5 &&
           memcmp(first + at, magic, sizeof magic) == 0;
}

static int recognise(const cm_input *input, const unsigned char *first, size_t n)
{
    (void)input;
    return cmi_torch_is_stream(first, n);
}

const cm_tensor_format cmi_format_torch_legacy = {.name = "PyTorch (legacy)",
                                                  .recognise = recognise,
                                                  .open = open_tensors,
                                                  .read = cmi_torch_read,
                                                  .close = cmi_torch_close,
                                                  .forget = cmi_torch_forget,
                                                  .has_sets = 1};

/* --- a stream inside of a pickle ------------------------------------------------------------------ */

/* The one storage that the object is. */
static cm_status take_object(const cm_input *in, const cm_pickled *object, const cm_pickled *keys,
                             cm_torch_storage *out)
{
    if (object->kind != CM_PICKLED_STORAGE || object->u.items[0]->kind == CM_PICKLED_BYTES)
        CM_FAIL(CM_ERR_FORMAT, "%s: the stream at byte %s holds %s, not a storage", in->name, out->key,
                cmi_pickled_name(object));
    const char *key = cmi_pickled_text(object->u.items[2]);
    const char *listed =
        keys->kind == CM_PICKLED_LIST && keys->count == 1 ? cmi_pickled_text(keys->u.items[0]) : NULL;
    if (!listed || strcmp(listed, key) != 0)
        CM_FAIL(CM_ERR_FORMAT, "%s: the stream at byte %s does not list its one storage '%s'", in->name, out->key,
                key);
    if (object->count == 6 && object->u.items[5]->kind != CM_PICKLED_NONE)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: the stream at byte %s holds a part of a storage", in->name, out->key);
    out->type = (cm_tensor_type)object->u.items[1]->u.symbol->type;
    out->count = (size_t)object->u.items[4]->u.integer;
    return CM_OK;
}

/* The number of its elements, then they, up to the stream's end. */
static cm_status take_elements(const cm_input *in, size_t at, size_t end, cm_torch_storage *out)
{
    unsigned char count[8];
    size_t size;
    if (end - at < sizeof count)
        CM_FAIL(CM_ERR_FORMAT, "%s: truncated: the stream at byte %s ends before its storage", in->name, out->key);
    CM_TRY(cmi_input_read(in, at, count, sizeof count));
    if (number(count, 8) != out->count || !cmi_mul_size(out->count, cmi_tensor_type_size(out->type), &size) ||
        size != end - at - sizeof count)
        CM_FAIL(CM_ERR_FORMAT,
                "%s: the stream at byte %s has %zu bytes for a storage of %llu and of %zu elements of %s", in->name,
                out->key, end - at - sizeof count, (unsigned long long)number(count, 8), out->count,
                cmi_tensor_type_name(out->type));
    out->at = at + sizeof count;
    out->placed = 1;
    return CM_OK;
}

static cm_status run_stream(const cm_input *in, cm_pickle *pickle, cm_torch_storage *out, int *swapped)
{
    size_t at = out->at, end = at + out->bytes;
    cm_pickled *object, *keys;
    CM_TRY(read_beginning(in, pickle, end, &at, swapped));
    CM_TRY(cmi_pickle_run(pickle, "the pickle of a storage", at, end, &object, &at));
    CM_TRY(cmi_pickle_run(pickle, "the pickle of a storage's key", at, end, &keys, &at));
    CM_TRY(take_object(in, object, keys, out));
    return take_elements(in, at, end, out);
}

cm_status cmi_torch_read_stream(const cm_tensors *t, cm_torch_storage *storage, int *swapped)
{
    cm_pickle *pickle;
    CM_TRY(cmi_pickle_open(&t->input, storage->bytes, &pickle));
    cm_status status = run_stream(&t->input, pickle, storage, swapped);
    cmi_pickle_close(pickle);
    return status;
}
