/* snapshot_file.h - snapshots as EDM's code writes them, opcode by opcode: modules with their source text and their
 * attributes, each storage as the bytes of a legacy stream. */
#ifndef TESTS_SUPPORT_SNAPSHOT_FILE_H
#define TESTS_SUPPORT_SNAPSHOT_FILE_H

#include <jansson.h>

#include "diffusion/model.h"
#include "support/torch_file.h"
#include "tensor/convert.h"

/* What a run of it would show. */
#define SNAPSHOT_SOURCE "raise RuntimeError('the source text of a snapshot was run')\n"

typedef struct snapshot {
    const char *wrapper, *network;      /* names of classes                                  */
    const char *attributes;             /* of the wrapper, as JSON; "inf" is infinity         */
    const char *module;                 /* what the wrapper calls its network; NULL: model    */
    int logvar;                         /* ... and what EDM2's has beside it                  */
    const char *without;                /* an argument of the network that is left out       */
    const char *loss, *loss_attributes; /* the class of loss_fn and its attributes; or NULL   */
    int by_place;                       /* the first arguments have no names                 */
    int big_endian;
    int half;      /* float16, as EDM2's are saved, of streams of their own in little-endian order */
    block *beside; /* of a zip file: where the storages go, instead of into streams of their own */
} snapshot;

static inline void put_json(block *b, const json_t *v)
{
    size_t i;
    json_t *item;
    const char *key;
    if (json_is_null(v)) PUT(b, "N");
    else if (json_is_boolean(v)) PUT(b, "\x89"), b->bytes[b->size - 1] = json_is_true(v) ? 0x88 : 0x89;
    else if (json_is_integer(v)) put_int(b, (int32_t)json_integer_value(v));
    else if (json_is_string(v) && strcmp(json_string_value(v), "inf") == 0) PUT(b, "G\x7f\xf0\0\0\0\0\0\0");
    else if (json_is_string(v)) put_text(b, json_string_value(v));
    else if (json_is_real(v)) {
        double d = json_real_value(v);
        uint64_t bits;
        memcpy(&bits, &d, 8);
        PUT(b, "G");
        for (int k = 56; k >= 0; k -= 8) put_number(b, bits >> k & 0xff, 1);
    } else if (json_is_array(v)) {
        PUT(b, "](");
        json_array_foreach(v, i, item) put_json(b, item);
        PUT(b, "e");
    } else {
        PUT(b, "}(");
        json_object_foreach((json_t *)(uintptr_t)v, key, item) put_text(b, key), put_json(b, item);
        PUT(b, "u");
    }
}

/* A legacy stream of one storage of n floats. */
static inline block storage_stream(const float *values, size_t n, int big_endian, int half)
{
    block b = {NULL, 0, 0};
    PUT(&b,
        "\x80\2\x8a\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}X\15\0\0\0little_endian\x88s.");
    if (big_endian) b.bytes[b.size - 3] = 0x89;
    PUT(&b, "\x80\2(X\7\0\0\0storagectorch\n");
    if (half) PUT(&b, "Half");
    else PUT(&b, "Float");
    PUT(&b, "Storage\nX\1\0\0\0"
            "7X\3\0\0\0cpu");
    put_int(&b, (int32_t)n);
    PUT(&b, "NtQ.\x80\2]X\1\0\0\0"
            "7a.");
    put_number(&b, n, 8);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        if (half) {
            cmi_f32_to_f16(1, &values[i], &bits);
            put_number(&b, bits, 2);
            continue;
        }
        memcpy(&bits, &values[i], 4);
        if (big_endian) bits = bits >> 24 | (bits >> 8 & 0xff00) | (bits << 8 & 0xff0000) | bits << 24;
        put_number(&b, bits, 4);
    }
    return b;
}

static inline void put_bytes(block *b, const block *bytes)
{
    PUT(b, "B");
    put_number(b, bytes->size, 4);
    put(b, bytes->bytes, bytes->size);
}

/* A parameter in a stream of its own, or of storage `key` beside the pickle. */
static inline void put_parameter(block *b, const float *values, int rank, const int64_t *shape, const snapshot *how,
                                 int key)
{
    int64_t n = 1;
    char text[16];
    PUT(b, "ctorch._utils\n_rebuild_parameter\n(");
    for (int i = 0; i < rank; i++) n *= shape[i];
    snprintf(text, sizeof text, "%d", key);
    if (how->beside) {
        put_plain(b, "FloatStorage", text, rank, shape, 0);
        put(&how->beside[key], values, (size_t)n * sizeof *values);
    } else {
        block stream = storage_stream(values, (size_t)n, how->big_endian, how->half);
        PUT(b, "ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\n(");
        put_bytes(b, &stream);
        free(stream.bytes);
        PUT(b, "tRK\0(");
        for (int i = 0; i < rank; i++) put_int(b, (int32_t)shape[i]);
        PUT(b, "t(");
        for (int i = 0; i < rank; i++) {
            n = shape[i] ? n / shape[i] : 0;
            put_int(b, (int32_t)n);
        }
        PUT(b, "t\x89}tR");
    }
    PUT(b, "\x89}tR");
}

/* ({type, version, module_src, class_name, state}) up to the state, and what follows it. */
static inline void begin_object(block *b, const char *class)
{
    PUT(b, "ctorch_utils.persistence\n_reconstruct_persistent_obj\n(}(");
    put_text(b, "type"), put_text(b, "class");
    put_text(b, "version"), PUT(b, "K\6");
    put_text(b, "module_src"), put_text(b, SNAPSHOT_SOURCE);
    put_text(b, "class_name"), put_text(b, class);
    put_text(b, "state");
}

#define END_OBJECT "utR"
#define ORDERED "ccollections\nOrderedDict\n)R("

static inline const char *snapshot_class(const char *name)
{
    return strstr(name, "norm") ? "GroupNorm" : strstr(name, "block") || strstr(name, "_in") ? "UNetBlock" : "Linear";
}

/* The attributes of a module that has the parameters low .. high - 1, whose names are longer than `from`. */
static inline void put_modules(block *b, const cm_model *m, int low, int high, size_t from, const snapshot *how)
{
    PUT(b, "}(");
    put_text(b, "training"), PUT(b, "\x89");
    for (int pass = 0; pass < 2; pass++) { /* parameters, then the modules inside */
        put_text(b, pass ? "_modules" : "_parameters");
        PUT(b, ORDERED);
        for (int i = low; i < high; i++) {
            const cm_param_desc *p = &m->graph->params[i];
            const char *name = p->name + from, *dot = strchr(name, '.');
            const cm_tensor *t = cmi_checkpoint_tensor(&m->sources[i]);
            if (!dot && !pass && t) {
                float *values = malloc((t->count + 1) * sizeof *values);
                (void)cmi_tensor_read(t, values);
                put_text(b, name);
                put_parameter(b, values, p->rank, p->shape, how, i);
                free(values);
            }
            if (!dot || !pass) continue;
            size_t n = (size_t)(dot - name);
            int end = i;
            char part[128];
            snprintf(part, sizeof part, "%.*s", (int)n, name);
            while (end < high && strncmp(m->graph->params[end].name + from, name, n + 1) == 0) end++;
            put_text(b, part);
            int plain = strcmp(part, "enc") == 0 || strcmp(part, "dec") == 0;
            if (plain) PUT(b, "ctorch.nn.modules.container\nModuleDict\n)\x81");
            else begin_object(b, snapshot_class(part));
            put_modules(b, m, i, end, from + n + 1, how);
            if (plain) PUT(b, "ub");
            else PUT(b, "u" END_OBJECT);
            i = end - 1;
        }
        PUT(b, "u");
    }
    put_text(b, "_buffers"), PUT(b, ORDERED), put_text(b, "resample_filter"), PUT(b, "Nu");
    put_text(b, "_non_persistent_buffers_set"), PUT(b, "\x8f");
}

/* Arguments, also the first ones by their places. */
static inline void put_arguments(block *b, const json_t *network, const snapshot *how)
{
    static const char *const places[] = {"img_resolution", "in_channels", "out_channels"};
    const char *key;
    json_t *value;
    put_text(b, "_init_args"), PUT(b, "(");
    for (int i = 0; i < 3 && how->by_place; i++) put_json(b, json_object_get(network, places[i]));
    PUT(b, "t");
    put_text(b, "_init_kwargs"), PUT(b, "}(");
    json_object_foreach((json_t *)(uintptr_t)network, key, value)
    {
        int placed = 0;
        for (int i = 0; i < 3 && how->by_place; i++) placed |= strcmp(key, places[i]) == 0;
        if (placed || strcmp(key, "type") == 0 || (how->without && strcmp(key, how->without) == 0)) continue;
        put_text(b, key), put_json(b, value);
    }
    PUT(b, "u");
}

/* The wrapper with the model's network in it, or the network alone. */
static inline void put_snapshot_module(block *b, const cm_model *m, const snapshot *how)
{
    const json_t *network = json_object_get(m->file.config, "network");
    json_t *attributes = json_loads(how->attributes ? how->attributes : "{}", 0, NULL), *value;
    const char *key;
    if (how->wrapper) {
        begin_object(b, how->wrapper);
        PUT(b, "}(");
        put_text(b, "_parameters"), PUT(b, ORDERED "u");
        put_text(b, "_modules"), PUT(b, ORDERED), put_text(b, how->module ? how->module : "model");
    }
    begin_object(b, how->network);
    put_modules(b, m, 0, m->graph->n_params, 0, how);
    put_arguments(b, network, how);
    PUT(b, "u" END_OBJECT);
    if (how->logvar) {
        static const float values[4] = {1, -2, 3, 0.5f};
        static const int64_t shape[2] = {1, 4};
        put_text(b, "logvar_linear");
        begin_object(b, "MPConv");
        PUT(b, "}(");
        put_text(b, "_parameters"), PUT(b, ORDERED), put_text(b, "weight");
        put_parameter(b, values, 2, shape, how, m->graph->n_params);
        PUT(b, "u");
        put_text(b, "_modules"), PUT(b, ORDERED "u"), PUT(b, "u" END_OBJECT);
    }
    if (how->wrapper) {
        PUT(b, "u");
        json_object_foreach(attributes, key, value) put_text(b, key), put_json(b, value);
        put_text(b, "_init_args"), PUT(b, ")");
        put_text(b, "_init_kwargs"), PUT(b, "}(");
        put_text(b, "model_type"), put_text(b, how->network);
        put_text(b, "use_fp16"), PUT(b, "\x88");
        PUT(b, "uu" END_OBJECT);
    }
    json_decref(attributes);
}

/* {ema, loss_fn, augment_pipe, dataset_kwargs} under the name `set` for ema. */
static inline block snapshot_pickle(const cm_model *m, const char *set, const snapshot *how)
{
    block b = {NULL, 0, 0};
    PUT(&b, "\x80\4}(");
    put_text(&b, set);
    put_snapshot_module(&b, m, how);
    if (how->loss) {
        json_t *attributes = json_loads(how->loss_attributes ? how->loss_attributes : "{}", 0, NULL);
        put_text(&b, "loss_fn");
        begin_object(&b, how->loss);
        put_json(&b, attributes);
        PUT(&b, END_OBJECT);
        json_decref(attributes);
    }
    put_text(&b, "augment_pipe"), PUT(&b, "N");
    put_text(&b, "dataset_kwargs"), PUT(&b, "cdnnlib.util\nEasyDict\n)\x81(");
    put_text(&b, "path"), put_text(&b, "cifar10-32x32.zip");
    put_text(&b, "max_size"), PUT(&b, "cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\2\0\0\0i8\x89\x88tRC\1xtR");
    PUT(&b, "uu.");
    return b;
}

/* A model of fresh weights by the JSON of its network and of its preconditioning. */
static inline cm_model *model_of(cm_context *context, const char *network, const char *precond)
{
    cm_model *m;
    json_t *config =
        json_pack("{s:o, s:o}", "network", json_loads(network, 0, NULL), "precond", json_loads(precond, 0, NULL));
    ck_assert_ptr_nonnull(config);
    OK(cmi_model_make(context, config, 3, NULL, &m));
    json_decref(config);
    return m;
}

#endif
