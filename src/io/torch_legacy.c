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
static cm_status read_beginning(const cm_tensors *t, size_t *at)
{
    cm_torch *torch = t->state;
    const cm_input *in = &t->input;
    cm_pickled *magic, *version, *machine;
    CM_TRY(cmi_pickle_run(torch->pickle, "its first pickle", *at, in->size, &magic, at));
    if (magic->kind != CM_PICKLED_MAGIC)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: a Python pickle of %s, not a checkpoint that PyTorch has written", in->name,
                cmi_pickled_name(magic));
    CM_TRY(cmi_pickle_run(torch->pickle, "the pickle of its version", *at, in->size, &version, at));
    if (version->kind != CM_PICKLED_INT || version->u.integer != VERSION)
        CM_FAIL(CM_ERR_FORMAT, "%s: its protocol is not the number %d", in->name, VERSION);
    CM_TRY(cmi_pickle_run(torch->pickle, "the pickle of its machine", *at, in->size, &machine, at));
    const cm_pickled *little = cmi_pickled_get(machine, "little_endian");
    if (!little || little->kind != CM_PICKLED_BOOL)
        CM_FAIL(CM_ERR_FORMAT, "%s: it does not say whether its numbers are little-endian", in->name);
    torch->swapped = !little->u.integer;
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
    CM_TRY(read_beginning(t, &at));
    CM_TRY(cmi_pickle_run(torch->pickle, "the pickle of its object", at, size, &top, &at));
    CM_TRY(cmi_torch_collect(t));
    CM_TRY(cmi_pickle_run(torch->pickle, "the pickle of its storages' keys", at, size, &keys, &at));
    CM_TRY(place_all(t, keys, at));
    CM_TRY(cmi_input_hold(&t->input, 0, &held));
    return cmi_torch_list(t, top);
}

/* Protocols 2 to 5 begin so; what is no checkpoint of PyTorch's is told as what it is when it is read. */
static int recognise(const cm_input *input, const unsigned char *first, size_t n)
{
    (void)input;
    return n >= 2 && first[0] == 0x80 && first[1] >= 2 && first[1] <= 5;
}

const cm_tensor_format cmi_format_torch_legacy = {.name = "PyTorch (legacy)",
                                                  .recognise = recognise,
                                                  .open = open_tensors,
                                                  .read = cmi_torch_read,
                                                  .close = cmi_torch_close,
                                                  .forget = cmi_torch_forget,
                                                  .has_sets = 1};
