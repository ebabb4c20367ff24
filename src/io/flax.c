/* flax.c - training states of flax (msgpack): one of the trees of parameters in it.
 *
 * A state is a map, and the trees are maps in it (flax_tree.c).  What else it holds (the optimizer's moments are
 * twice the parameters) is stepped over. */
#include <stdio.h>
#include <string.h>

#include "io/flax.h"
#include "io/msgpack.h"
#include "io/quoted.h"

/* --- which tree ------------------------------------------------------------------------------ */

/* Those that the states of consistency_models_cifar10 have; pictures are drawn with the average. */
static const char *const trees[] = {"params_ema", "params", "target_params"};

/* Keys of the state that hold maps. */
static cm_status list_keys(const cm_input *in, const cm_msgpack *top, size_t at, cm_quoted *list)
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
        cmi_quoted_add(list, text);
    }
    return CM_OK;
}

static cm_status refuse(const cm_input *in, const cm_msgpack *top, size_t at)
{
    cm_quoted list = {.count = 0};
    int optimizer, first, second;
    size_t begin;
    CM_TRY(cmi_msgpack_find(in, top, at, in->size, "opt_state", &begin, &optimizer));
    CM_TRY(cmi_msgpack_find(in, top, at, in->size, "mu", &begin, &first));
    CM_TRY(cmi_msgpack_find(in, top, at, in->size, "nu", &begin, &second));
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
static cm_status choose(const cm_input *in, const cm_msgpack *top, size_t at, cm_flax *s, size_t *tree)
{
    size_t n = in->weights ? 1 : sizeof trees / sizeof *trees, begin;
    for (size_t i = 0; i < n; i++) {
        const char *name = in->weights ? in->weights : trees[i];
        cm_msgpack v;
        int found;
        CM_TRY(cmi_msgpack_find(in, top, at, in->size, name, tree, &found));
        begin = *tree;
        if (!found || strlen(name) >= sizeof s->weights) continue;
        CM_TRY(cmi_msgpack_next(in, &begin, in->size, &v));
        if (v.kind != CM_MSGPACK_MAP) continue;
        (void)snprintf(s->weights, sizeof s->weights, "%s", name);
        return CM_OK;
    }
    return refuse(in, top, at);
}

/* The names that the option 'weights' takes. */
static cm_status add_sets(cm_tensors *t, const cm_msgpack *top, size_t at)
{
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        cm_msgpack v;
        size_t tree;
        int found;
        CM_TRY(cmi_msgpack_find(&t->input, top, at, t->input.size, trees[i], &tree, &found));
        if (!found) continue;
        CM_TRY(cmi_msgpack_next(&t->input, &tree, t->input.size, &v));
        if (v.kind == CM_MSGPACK_MAP) CM_TRY(cmi_tensors_add_set(t, trees[i]));
    }
    return CM_OK;
}

/* The step of the training, which is a number or an array of one, for whoever asks what the file is. */
static cm_status note_step(cm_tensors *t, const cm_msgpack *top, size_t at)
{
    cm_flax *s = t->state;
    cm_msgpack v;
    int found;
    CM_TRY(cmi_msgpack_find(&t->input, top, at, t->input.size, "step", &at, &found));
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
    cm_flax *s = t->state;
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
    cm_flax *s = t->state = cmi_calloc(t->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    CM_TRY(cmi_input_hold(&t->input, 0, &held));
    CM_TRY(cmi_msgpack_check(&t->input, 0, t->input.size));
    CM_TRY(cmi_msgpack_next(&t->input, &at, t->input.size, &top));
    if (top.kind != CM_MSGPACK_MAP)
        CM_FAIL(CM_ERR_FORMAT, "%s: a msgpack file that is not a map but %s", t->input.name,
                cmi_msgpack_name(top.kind));
    CM_TRY(find_tree(t, &top, at, &tree));
    CM_TRY(cmi_flax_list_tree(t, tree));
    CM_TRY(note_step(t, &top, at));
    CM_TRY(add_sets(t, &top, at));
    if (cmi_tensors_find(t, "ResnetBlockBigGANpp_0/Conv_0/kernel"))
        CM_TRY(cmi_tensors_add_metadata(t, CM_NOTE_PUBLISHED, CM_PUBLISHED_CIFAR));
    return CM_OK;
}

static cm_status read_tensor(const cm_tensor *t, void *out)
{
    const cm_flax *s = t->from->state;
    size_t done = 0;
    for (size_t i = t->offset; done < t->bytes; done += s->pieces[i++].size)
        CM_TRY(cmi_input_read(&t->from->input, s->pieces[i].at, (unsigned char *)out + done, s->pieces[i].size));
    return CM_OK;
}

static void forget_tensor(const cm_tensor *t)
{
    const cm_input *in = &t->from->input;
    const cm_flax *s = t->from->state;
    size_t done = 0;
    if (!in->held || !cmi_input_is_mapped(in, in->held)) return;
    for (size_t i = t->offset; done < t->bytes; done += s->pieces[i++].size)
        cmi_mapping_forget(in->held + (s->pieces[i].at - in->held_from), s->pieces[i].size);
}

static void close_tensors(cm_tensors *t)
{
    cm_flax *s = t->state;
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
