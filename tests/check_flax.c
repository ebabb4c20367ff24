/* Training states of flax: whole models whose kernels lie in flax's order, which of several sets is read, networks
 * from the names of their tensors, every form of the format, and hostile files: refused for the right reason, within
 * a bound of memory. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/msgpack.h"
#include "nets/net.h"
#include "support/damage.h"
#include "support/fill.h"
#include "support/files.h"
#include "support/flax_file.h"
#include "support/memory.h"
#include "tensor/convert.h"

#define FOLDER "tests/data/golden/checkpoints/"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

/* --- states of whole networks ----------------------------------------------------------------- */

typedef struct {
    const char *dtype;
    cm_tensor_type type;
    size_t size;
} dtype;

static const dtype dtypes[] = {{"float32", CM_TENSOR_F32, 4},
                               {"float16", CM_TENSOR_F16, 2},
                               {"bfloat16", CM_TENSOR_BF16, 2},
                               {"float64", CM_TENSOR_F64, 8}};

/* The values in that type, and what they are after it. */
static unsigned char *stored(const dtype *d, float *values, size_t n)
{
    unsigned char *bytes = calloc(n + 1, d->size);
    for (size_t i = 0; i < n; i++) {
        double wide = (double)values[i];
        switch (d->type) {
        case CM_TENSOR_F16:
            cmi_f32_to_f16(1, &values[i], bytes + 2 * i);
            cmi_f16_to_f32(1, bytes + 2 * i, &values[i]);
            break;
        case CM_TENSOR_BF16:
            cmi_f32_to_bf16(1, &values[i], bytes + 2 * i);
            cmi_bf16_to_f32(1, bytes + 2 * i, &values[i]);
            break;
        case CM_TENSOR_F64: memcpy(bytes + 8 * i, &wide, 8); break;
        default: memcpy(bytes + 4 * i, &values[i], 4);
        }
    }
    return bytes;
}

/* A model with weights of that seed. */
static cm_model *model_of(const char *network, uint64_t seed)
{
    json_t *net = json_loads(network, 0, NULL), *precond = json_pack("{s:s}", "type", "none");
    cm_model *m = fill_model(context, net, precond, 8, 8, 1, FILL_HASH, seed);
    ck_assert_msg(m != NULL, "%s", cm_last_message());
    json_decref(net);
    json_decref(precond);
    return m;
}

/* The shape that flax gives parameter p, or one of its three parts. */
static int flax_shape(const fill_name *name, const cm_param_desc *p, int64_t *shape)
{
    int64_t out = p->shape[0] / name->parts;
    if (p->rank == 1) shape[0] = out;
    else if (name->kind == CM_ORDER_HWIO)
        shape[0] = p->shape[2], shape[1] = p->shape[3], shape[2] = p->shape[1], shape[3] = out;
    else shape[0] = p->shape[1], shape[1] = out;
    return p->rank == 1 ? 1 : name->kind == CM_ORDER_HWIO ? 4 : 2;
}

/* Names with a common beginning are one map.  Keys in byte order, as flax writes them, or the other way round. */
static void put_tree(block *b, const cm_model *m, const fill_name *names, int n, size_t skip, const dtype *d,
                     int backwards, int wide)
{
    int first[512], groups = 0;
    for (int i = 0; i < n; i++) {
        const char *a = i ? names[i - 1].name + skip : "", *c = names[i].name + skip;
        size_t length = strcspn(c, "/");
        if (!i || strncmp(a, c, length) != 0 || (a[length] && a[length] != '/')) first[groups++] = i;
    }
    first[groups] = n;
    put_map(b, (size_t)groups, wide);
    for (int k = 0; k < groups; k++) {
        int g = backwards ? groups - 1 - k : k, i = first[g];
        const char *name = names[i].name + skip;
        char key[64];
        size_t length = strcspn(name, "/");
        snprintf(key, sizeof key, "%.*s", (int)length, name);
        put_string(b, key, wide);
        if (name[length]) {
            put_tree(b, m, names + i, first[g + 1] - i, skip + length + 1, d, backwards, wide);
            continue;
        }
        int64_t shape[4];
        int rank = flax_shape(&names[i], &m->graph->params[names[i].param], shape);
        float *values = malloc((names[i].count + 1) * sizeof *values);
        for (size_t v = 0; v < names[i].count; v++)
            values[v] = fill_param(m, names[i].param)[fill_place(&names[i], m, v)];
        unsigned char *bytes = stored(d, values, names[i].count);
        put_ndarray(b, d->dtype, rank, shape, bytes, names[i].count * d->size, wide);
        free(bytes);
        free(values);
    }
}

static void put_set(block *b, const char *key, const cm_model *m, const dtype *d, int backwards, int wide)
{
    fill_name *names;
    int n = fill_names(m, 1, &names);
    ck_assert_int_gt(n, 20);
    put_string(b, key, wide);
    put_tree(b, m, names, n, 0, d, backwards, wide);
    for (int i = 0; i < n; i++) free(names[i].name);
    free(names);
}

/* A state as the training writes it: two or three sets, and an optimizer's moments between them. */
static block state_of(const cm_model *const *sets, const dtype *d, int backwards, int wide)
{
    static const int64_t none[1] = {0};
    const int32_t step = 77;
    block b = {NULL, 0, 0};
    put_map(&b, sets[2] ? 7 : 6, wide);
    put_string(&b, "step", wide);
    put_ndarray(&b, "int32", 0, none, &step, sizeof step, 0);
    put_set(&b, "params", sets[0], d, backwards, wide);
    put_string(&b, "opt_state", wide);
    put_map(&b, 2, wide);
    put_set(&b, "mu", sets[0], &dtypes[0], backwards, wide);
    put_string(&b, "later", wide); /* nobody looks at extensions there */
    PUT(&b, "\xc7\1\x2a\0");
    put_string(&b, "model_state", wide);
    put_map(&b, 0, wide);
    put_string(&b, "ema_rate", wide);
    PUT(&b, "\xcb\x3f\xef\xff\x2e\x48\xe8\xa7\x1e");
    put_set(&b, "params_ema", sets[1], d, backwards, wide);
    if (sets[2]) put_set(&b, "target_params", sets[2], d, backwards, wide);
    return b;
}

/* Every weight of the model in that type. */
static void expect_weights(const cm_model *loaded, const cm_model *want, const dtype *d, const char *set)
{
    size_t index = 0;
    for (int i = 0; i < want->graph->n_params; i++) {
        const cm_param_desc *p = &want->graph->params[i];
        size_t n = cmi_param_elements(p);
        if (p->constant) continue;
        float *expected = malloc((n + 1) * sizeof *expected), *got = malloc((n + 1) * sizeof *got);
        memcpy(expected, fill_param(want, i), n * sizeof *expected);
        free(stored(d, expected, n));
        OK(cm_model_param_read(loaded, index++, n, got));
        ck_assert_msg(memcmp(got, expected, n * sizeof *got) == 0, "%s of %s: %s has other values", d->dtype, set,
                      p->name);
        free(expected);
        free(got);
    }
    ck_assert_uint_eq(index, cm_model_param_count(loaded));
}

static cm_status load(const block *file, const char *weights, const char *config, cm_model **out)
{
    cm_load_options o = CM_LOAD_OPTIONS_INIT;
    o.weights = weights;
    o.config_json = config;
    return cm_model_load_memory(context, file->bytes, file->size, &o, out);
}

#define SONG(more) "{\"type\": \"songunet\", \"img_channels\": 3, " more "}"
#define NCSNPP                                                                                                       \
    "\"embedding_type\": \"fourier\", \"channel_mult_noise\": 2, \"encoder_type\": \"residual\", "                   \
    "\"resample_filter\": [1, 3, 3, 1]"

/* Networks as the file leads to, whether or not the caller says which. */
static const char *const networks[] = {
    SONG("\"img_resolution\": 32, \"model_channels\": 8, \"channel_mult\": [1, 2], \"num_blocks\": 1, "
         "\"attn_resolutions\": [16], " NCSNPP),
    SONG("\"img_resolution\": 32, \"model_channels\": 16, \"channel_mult\": [2, 2, 2], \"num_blocks\": 2, "
         "\"attn_resolutions\": [16], " NCSNPP),
    SONG("\"img_resolution\": 32, \"model_channels\": 8, \"channel_mult\": [1, 2, 3], \"num_blocks\": 2, "
         "\"attn_resolutions\": [16, 8], " NCSNPP),
    SONG("\"img_resolution\": 32, \"model_channels\": 8, \"channel_mult\": [1, 2, 4], \"num_blocks\": 1, "
         "\"attn_resolutions\": [8], \"channel_mult_emb\": 2"),
    SONG("\"img_resolution\": 32, \"model_channels\": 16, \"channel_mult\": [2, 1], \"num_blocks\": 3, "
         "\"attn_resolutions\": [16]"),
    SONG("\"img_resolution\": 32, \"model_channels\": 8, \"channel_mult\": [3], \"num_blocks\": 2, "
         "\"attn_resolutions\": [32]"),
    SONG("\"img_resolution\": 32, \"model_channels\": 8, \"channel_mult\": [2, 2], \"num_blocks\": 2, "
         "\"attn_resolutions\": []"),
};
enum { NETWORKS = sizeof networks / sizeof *networks };

/* What the names and shapes have told. */
static void expect_network(const cm_model *m, const char *network)
{
    cm_model_info info = CM_MODEL_INFO_INIT;
    cm_net_config got, want;
    char text[1000];
    OK(cm_model_info_get(m, &info));
    ck_assert_str_eq(info.precond, "cm");
    ck_assert_ptr_nonnull(strstr(info.config_json, "images of 32 x 32"));
    json_t *found = json_loads(info.config_json, 0, NULL), *expected = json_loads(network, 0, NULL);
    OK(cmi_net_config_read(json_object_get(found, "network"), &got));
    OK(cmi_net_config_read(expected, &want));
    ck_assert_msg(cmi_net_config_differences(&got, &want, " found", " expected", text, sizeof text) == 0, "%s", text);
    json_decref(found);
    json_decref(expected);
}

START_TEST(whole_states)
{
    for (int i = 0; i < NETWORKS; i++) {
        const dtype *d = &dtypes[i % 4];
        const cm_model *sets[3] = {model_of(networks[i], 100 + (uint64_t)i), model_of(networks[i], 200),
                                   i % 2 ? model_of(networks[i], 300) : NULL};
        static const char *const names[] = {"params", "params_ema", "target_params"};
        block file = state_of(sets, d, i % 3 == 1, i % 4);
        char config[1000];
        cm_model *m;
        snprintf(config, sizeof config, "{\"network\": %s, \"precond\": {\"type\": \"edm\"}}", networks[i]);
        for (int s = 0; s < 3; s++) {
            if (!sets[s]) {
                FAILS(load(&file, names[s], NULL, &m), CM_ERR_ARGUMENT, "there are 'params', 'opt_state'");
                continue;
            }
            OK(load(&file, names[s], config, &m)); /* told which network */
            expect_weights(m, sets[s], d, names[s]);
            cm_model_free(m);
            OK(load(&file, names[s], NULL, &m)); /* and not */
            expect_network(m, networks[i]);
            expect_weights(m, sets[s], d, names[s]);
            cm_model_free(m);
        }
        OK(load(&file, NULL, NULL, &m)); /* the average */
        expect_weights(m, sets[1], d, "the default");
        cm_model_free(m);
        for (int s = 0; s < 3; s++) fill_model_free((cm_model *)(uintptr_t)sets[s]);
        free(file.bytes);
    }
}
END_TEST

/* The native file that is made of a state has its weights in its type, under our names. */
START_TEST(native_files)
{
    const cm_model *sets[3] = {model_of(networks[0], 1), model_of(networks[0], 2), NULL};
    for (int k = 0; k < 4; k++) {
        block file = state_of(sets, &dtypes[k], 0, 0);
        cm_save_options o = CM_SAVE_OPTIONS_INIT;
        char path[] = "/tmp/cm-flax-XXXXXX";
        cm_tensors t;
        cm_model *m;
        close(mkstemp(path));
        o.overwrite = CM_OVERWRITE_YES;
        OK(load(&file, NULL, NULL, &m));
        OK(cm_model_save(m, path, &o));
        cm_model_free(m);
        free(file.bytes);
        OK(cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &t));
        const cm_tensor *qkv = cmi_tensors_find(&t, "enc.16x16_block0.qkv.weight");
        ck_assert_ptr_nonnull(qkv);
        ck_assert_int_eq((int)qkv->type, (int)dtypes[k].type);
        ck_assert_int_eq((int)qkv->shape[0], 48);
        cmi_tensors_close(&t);
        OK(cm_model_load(context, path, NULL, &m));
        expect_weights(m, sets[1], &dtypes[k], "a native file");
        cm_model_free(m);
        unlink(path);
    }
    for (int s = 0; s < 2; s++) fill_model_free((cm_model *)(uintptr_t)sets[s]);
}
END_TEST

/* --- networks by their tensors ------------------------------------------------------------------ */

/* What lacks a tensor, has one too many or one of another shape is told by name. */
START_TEST(misfits)
{
    const cm_model *sets[3] = {model_of(networks[0], 1), model_of(networks[0], 2), NULL};
    cm_model *m;
    static const struct {
        const char *from, *to, *word;
    } rows[] = {{"AttnBlockpp_2", "AttnBlockpp_3", "AttnBlockpp_3/GroupNorm_0/bias"},
                {"Dense_1", "Dense_7", "map_layer1.weight"},
                {"NIN_1", "NIN_9", "qkv.weight"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        block file = state_of(sets, &dtypes[0], 0, 0);
        char config[1000];
        size_t n = strlen(rows[i].from);
        for (size_t k = 0; k + n < file.size; k++)
            if (memcmp(file.bytes + k, rows[i].from, n) == 0) memcpy(file.bytes + k, rows[i].to, n);
        snprintf(config, sizeof config, "{\"network\": %s, \"precond\": {\"type\": \"edm\"}}", networks[0]);
        FAILS(load(&file, NULL, config, &m), CM_ERR_SHAPE, rows[i].word);
        free(file.bytes);
    }
    char config[1000];
    block file = state_of(sets, &dtypes[0], 0, 0);
    snprintf(config, sizeof config, "{\"network\": %s, \"precond\": {\"type\": \"edm\"}}", networks[1]);
    FAILS(load(&file, NULL, config, &m), CM_ERR_SHAPE, "map_layer0.weight (expected [64,32], found [32,16])");
    free(file.bytes);
    for (int s = 0; s < 2; s++) fill_model_free((cm_model *)(uintptr_t)sets[s]);
}
END_TEST

/* The teacher's folder has a name; other folders and files do not make one. */
START_TEST(teachers)
{
    static const struct {
        const char *path, *precond;
    } rows[] = {{"edm_cifar10_ema/checkpoints/checkpoint_80", "edm"},
                {"edm_cifar10_ema/checkpoint_1", "edm"},
                {"cd-lpips/checkpoints/checkpoint_80", "cm"},
                {"edm/cd-lpips/checkpoint_80", "cm"},
                {"edm_cifar10_ema.msgpack", "edm"},
                {"checkpoint_80", "cm"}};
    const cm_model *sets[3] = {model_of(networks[0], 1), model_of(networks[0], 2), NULL};
    block file = state_of(sets, &dtypes[0], 0, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_tensors t;
        json_t *config = json_object();
        OK(open_bytes(context, rows[i].path, file.bytes, file.size, &t));
        OK(cmi_recognise(&t, config));
        ck_assert_str_eq(json_string_value(json_object_get(json_object_get(config, "precond"), "type")),
                         rows[i].precond);
        json_decref(config);
        cmi_tensors_close(&t);
    }
    free(file.bytes);
    for (int s = 0; s < 2; s++) fill_model_free((cm_model *)(uintptr_t)sets[s]);
}
END_TEST

/* --- forms of the format -------------------------------------------------------------------------- */

static const unsigned char six[24] = {0, 0, 0,    0,    0, 0, 0x80, 0x3f, 0, 0, 0,    0x40,
                                      0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40, 0, 0, 0xa0, 0x40};

/* {"params": {"w": value}} */
static block around(block value)
{
    block b = {NULL, 0, 0};
    PUT(&b, "\x81\xa6params\x81\xa1w");
    put(&b, value.bytes, value.size);
    free(value.bytes);
    return b;
}

static void expect_six(block file)
{
    cm_tensors t;
    float v[6];
    OK(open_bytes(context, "x", file.bytes, file.size, &t));
    ck_assert_uint_eq(t.count, 1);
    ck_assert_str_eq(t.tensors[0].name, "w");
    ck_assert_int_eq(t.tensors[0].rank, 2);
    ck_assert(t.tensors[0].shape[0] == 2 && t.tensors[0].shape[1] == 3);
    OK(cmi_tensor_read(&t.tensors[0], v));
    for (int i = 0; i < 6; i++) ck_assert(v[i] == (float)i);
    cmi_tensors_close(&t);
    free(file.bytes);
}

static void refuse(block file, cm_status status, const char *word)
{
    cm_tensors t;
    FAILS(open_bytes(context, "x.msgpack", file.bytes, file.size, &t), status, word);
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "x.msgpack"));
    free(file.bytes);
}

/* Parts of an array in chunks: keys and what stands under them, in that order. */
static block chunked(const char *order, const char *const numbers[3], const int64_t sizes[3])
{
    block b = {NULL, 0, 0};
    size_t at[3] = {0, 4 * (size_t)sizes[0], 4 * (size_t)(sizes[0] + sizes[1])};
    put_map(&b, strlen(order), 0);
    for (; *order; order++) {
        if (*order == 'm') PUT(&b, "\xb9__msgpack_chunked_array__\xc3");
        if (*order == 's')
            PUT(&b, "\xa5shape\x82\xa1"
                    "1\3\xa1"
                    "0\2");
        if (*order != 'c') continue;
        PUT(&b, "\xa6"
                "chunks\x83");
        for (int i = 2; i >= 0; i--) { /* backwards: the numbers count */
            put_string(&b, numbers[i], 0);
            put_ndarray(&b, "float32", 1, &sizes[i], six + at[i], 4 * (size_t)sizes[i], 0);
        }
    }
    return b;
}

START_TEST(chunks)
{
    static const char *const right[] = {"0", "1", "2"}, *const gap[] = {"0", "1", "3"},
                             *const zero[] = {"0", "01", "2"}, *const name[] = {"0", "x", "2"};
    static const int64_t sizes[] = {1, 3, 2}, empty[] = {0, 6, 0}, few[] = {1, 2, 2};
    static const char *const orders[] = {"msc", "smc", "csm", "cms"};
    for (int i = 0; i < 4; i++) expect_six(around(chunked(orders[i], right, sizes)));
    expect_six(around(chunked("msc", right, empty)));
    refuse(around(chunked("msc", gap, sizes)), CM_ERR_FORMAT, "numbered");
    refuse(around(chunked("msc", zero, sizes)), CM_ERR_FORMAT, "numbered");
    refuse(around(chunked("msc", name, sizes)), CM_ERR_FORMAT, "numbered");
    refuse(around(chunked("msc", right, few)), CM_ERR_FORMAT, "tensor 'w': its shape needs 24 bytes");
}
END_TEST

START_TEST(forms)
{
    static const int64_t shape[2] = {2, 3}, huge[2] = {(int64_t)1 << 62, 4}, none[2] = {0, (int64_t)1 << 62},
                         many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 6};
    cm_tensors t;
    for (int wide = 0; wide < 4; wide++) {
        block a = {NULL, 0, 0};
        put_ndarray(&a, "float32", 2, shape, six, sizeof six, wide);
        expect_six(around(a));
    }
    block b = {NULL, 0, 0}; /* a dtype that is bytes */
    PUT(&b, "\xc7\x27\1\x93\x92\2\3\xc4\7float32\xc4\x18");
    put(&b, six, sizeof six);
    expect_six(around(b));
    b = (block){NULL, 0, 0};
    put_ndarray(&b, "float32", 2, none, six, 0, 0);
    b = around(b);
    OK(open_bytes(context, "x", b.bytes, b.size, &t));
    ck_assert_uint_eq(t.tensors[0].count, 0);
    cmi_tensors_close(&t);
    free(b.bytes);
    b = (block){NULL, 0, 0};
    put_ndarray(&b, "float32", 2, huge, six, sizeof six, 0);
    refuse(around(b), CM_ERR_FORMAT, "overflows");
    b = (block){NULL, 0, 0};
    put_ndarray(&b, "float32", 9, many, six, sizeof six, 0);
    refuse(around(b), CM_ERR_LIMIT, "rank");
    b = (block){NULL, 0, 0};
    put_ndarray(&b, "complex64", 1, many, six, 8, 0);
    refuse(around(b), CM_ERR_UNSUPPORTED, "complex64");
    b = (block){NULL, 0, 0};
    PUT(&b, "\xc7\1\2\0"); /* a complex number */
    refuse(around(b), CM_ERR_UNSUPPORTED, "type 2");
}
END_TEST

/* Numbers, texts and lists beside arrays are no tensors. */
START_TEST(beside)
{
    static const int64_t shape[2] = {2, 3};
    block b = {NULL, 0, 0};
    PUT(&b, "\x82\xa6params\x87\xa1"
            "a\xc0\xa1"
            "b\xc2\xa1"
            "c\xcb\0\0\0\0\0\0\0\0\xa1"
            "d\xd1\xff\0\xa1"
            "e\xa2xy\xa1"
            "f\x93\1\x90\x80\xa1w");
    put_ndarray(&b, "float32", 2, shape, six, sizeof six, 0);
    PUT(&b, "\xa4step\xcd\1\2");
    expect_six(b);
}
END_TEST

START_TEST(which_set)
{
    static const int64_t shape[2] = {2, 3};
    cm_tensors t;
    cm_model *m;
    block b = {NULL, 0, 0};
    PUT(&b, "\x83\xa6params\xc0\xadtarget_params\x81\xa1w");
    put_ndarray(&b, "float32", 2, shape, six, sizeof six, 0);
    PUT(&b, "\xa5other\x81\xa1v");
    put_ndarray(&b, "float32", 2, shape, six, sizeof six, 0);
    OK(open_bytes(context, "x", b.bytes, b.size, &t)); /* params is no map */
    ck_assert_str_eq(cmi_tensors_metadata(&t, "weights"), "target_params");
    ck_assert_str_eq(t.tensors[0].name, "w");
    cmi_tensors_close(&t);
    FAILS(load(&b, "params", NULL, &m), CM_ERR_ARGUMENT, "there are 'target_params', 'other'");
    cm_input in;
    OK(cmi_input_memory(context, "x", b.bytes, b.size, CM_INPUT_IN_PLACE, &in));
    in.weights = "other"; /* any map can be asked for */
    OK(cmi_tensors_open(&in, &t));
    ck_assert_str_eq(t.tensors[0].name, "v");
    cmi_tensors_close(&t);
    free(b.bytes);
    b = (block){NULL, 0, 0};
    PUT(&b, "\x81\xa9opt_state\x81\xa2mu\x81\xa1w");
    put_ndarray(&b, "float32", 2, shape, six, sizeof six, 0);
    FAILS(load(&b, NULL, NULL, &m), CM_ERR_UNSUPPORTED, "the state of an optimizer");
    OK(cmi_input_memory(context, "x", b.bytes, b.size, CM_INPUT_IN_PLACE, &in));
    in.as_data = 1;
    OK(cmi_tensors_open(&in, &t));
    ck_assert_str_eq(t.tensors[0].name, "opt_state/mu/w");
    ck_assert_int_eq(t.of_optimizer, 1);
    cmi_tensors_close(&t);
    free(b.bytes);
}
END_TEST

static int32_t give(void *user, uint64_t offset, void *to, size_t n)
{
    const block *b = user;
    if (n > 97) n = 97;
    memcpy(to, b->bytes + offset, n);
    return (int32_t)n;
}

static const char *const good[] = {"flax_ok_small", "flax_ok_chunked", "flax_ok_bfloat16"};
enum { GOOD = sizeof good / sizeof *good };

static const char *path_of(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, FOLDER "%s.msgpack", name);
    return path;
}

/* The same bytes from a mapping, from memory, from a function, copied and fetched each time. */
START_TEST(every_way)
{
    for (int i = 0; i < GOOD; i++) {
        block file = {NULL, 0, 0};
        cm_tensors mapped, t;
        file.bytes = read_bytes(path_of(good[i]), &file.size);
        OK(cmi_tensors_open_file(context, path_of(good[i]), CM_INPUT_IN_PLACE, &mapped));
        if (strstr(good[i], "chunked")) ck_assert_ptr_null(mapped.tensors[0].data);
        else ck_assert(cmi_input_is_mapped(&mapped.input, mapped.tensors[0].data));
        for (int way = 0; way < 5; way++) {
            cm_input in;
            cm_reader r = {sizeof r, 0, file.size, give, &file};
            cm_input_access access = way % 2 ? CM_INPUT_COPIED : CM_INPUT_FETCHED;
            if (way < 2) OK(cmi_input_file(context, path_of(good[i]), access, &in));
            else if (way < 4) OK(cmi_input_reader(context, &r, access, &in));
            else OK(cmi_input_memory(context, "memory", file.bytes, file.size, CM_INPUT_IN_PLACE, &in));
            OK(cmi_tensors_open(&in, &t));
            ck_assert_uint_eq(t.count, mapped.count);
            for (size_t k = 0; k < t.count; k++) {
                unsigned char x[64] = {0}, y[64] = {0};
                ck_assert_str_eq(t.tensors[k].name, mapped.tensors[k].name);
                ck_assert(t.tensors[k].bytes == mapped.tensors[k].bytes && t.tensors[k].bytes <= sizeof x);
                OK(cmi_tensor_fetch(&t.tensors[k], x));
                OK(cmi_tensor_fetch(&mapped.tensors[k], y));
                ck_assert_msg(memcmp(x, y, sizeof x) == 0, "%s: %s by way %d", good[i], t.tensors[k].name, way);
            }
            cmi_tensors_close(&t);
        }
        cmi_tensors_close(&mapped);
        free(file.bytes);
    }
}
END_TEST

/* --- hostile files -------------------------------------------------------------------------------- */

START_TEST(reasons)
{
    static const struct {
        const char *file;
        cm_status status;
        const char *word;
    } rows[] = {
        {"h_flax_truncated", CM_ERR_FORMAT, "truncated"},
        {"h_flax_empty", CM_ERR_FORMAT, "empty"},
        {"h_flax_trailing", CM_ERR_FORMAT, "1 bytes follow"},
        {"h_flax_str_past_end", CM_ERR_FORMAT, "a text claims 4294967295 bytes"},
        {"h_flax_shape_mismatch", CM_ERR_FORMAT, "tensor 'w': its shape needs 32 bytes of type F32, the file has 24"},
        {"h_flax_shape_negative", CM_ERR_FORMAT, "tensor 'w': dimension 0 is negative: -2"},
        {"h_flax_shape_overflow", CM_ERR_FORMAT, "tensor 'w': its number of elements overflows"},
        {"h_flax_chunk_mismatch", CM_ERR_FORMAT, "tensor 'w': its shape needs 24 bytes"},
        {"h_flax_ext_inner_trailing", CM_ERR_FORMAT, "tensor 'w': bytes follow"},
        {"h_flax_dtype_object", CM_ERR_UNSUPPORTED, "dtype 'object'"},
        {"h_flax_dtype_bigendian_str", CM_ERR_UNSUPPORTED, "dtype '>f4'"},
        {"h_flax_ext_unknown", CM_ERR_UNSUPPORTED, "type 42"},
        {"h_flax_ext_len_huge", CM_ERR_FORMAT, "an extension claims 4294967295 bytes, 3 are left"},
        {"h_flax_map32_huge", CM_ERR_FORMAT, "a map claims 8589934590 values"},
        {"h_flax_array32_huge", CM_ERR_FORMAT, "a list claims 4294967295 values"},
        {"h_flax_dup_key", CM_ERR_FORMAT, "the key 'params' stands twice"},
        {"h_flax_key_not_string", CM_ERR_FORMAT, "not a text but a whole number"},
        {"h_flax_reserved_c1", CM_ERR_FORMAT, "c1"},
        {"h_flax_slash_in_key", CM_ERR_FORMAT, "the key 'a/b'"},
        {"h_flax_no_params", CM_ERR_FORMAT, "maps there: 'foo'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_tensors t;
        FAILS(cmi_tensors_open_file(context, path_of(rows[i].file), CM_INPUT_IN_PLACE, &t), rows[i].status,
              rows[i].word);
        ck_assert_ptr_nonnull(strstr(cm_last_message(), rows[i].file));
    }
}
END_TEST

/* Others, made here. */
START_TEST(more_reasons)
{
    block b = {NULL, 0, 0};
    for (int i = 0; i < 100000; i++)
        PUT(&b, "\x81\xa1"
                "a");
    PUT(&b, "\xc0");
    refuse(b, CM_ERR_LIMIT, "nested more than 64 deep");
    b = (block){NULL, 0, 0};
    PUT(&b, "\x81\xa6params\x81\xa1"
            "a");
    for (int i = 0; i < 100000; i++) PUT(&b, "\x91");
    PUT(&b, "\xc0");
    refuse(b, CM_ERR_LIMIT, "nested more than 64 deep");
    b = (block){NULL, 0, 0}; /* what several open maps promise together is more than the file */
    PUT(&b, "\x81\xa6params");
    for (int i = 0; i < 8; i++)
        PUT(&b, "\xde\0\x08\xa1"
                "a");
    PUT(&b, "\xc0\xa1"
            "b\xc0\xa1"
            "c\xc0\xa1"
            "d\xc0\xa1"
            "e\xc0");
    refuse(b, CM_ERR_FORMAT, "still to come");
    b = (block){NULL, 0, 0}; /* a key twice where nobody would look */
    PUT(&b, "\x82\xa6params\x80\xa9opt_state\x82\xa2mu\xc0\xa2mu\xc0");
    refuse(b, CM_ERR_FORMAT, "the key 'mu' stands twice");
    b = (block){NULL, 0, 0};
    PUT(&b, "\x81\xa6params\x81\xa2\xc3\x28\xc0");
    refuse(b, CM_ERR_FORMAT, "UTF-8");
    b = (block){NULL, 0, 0};
    PUT(&b, "\x81\xa6params\x81\xa2"
            "a\0\xc0");
    refuse(b, CM_ERR_FORMAT, "NUL");
    b = (block){NULL, 0, 0}; /* a key over the limit */
    PUT(&b, "\x81\xa6params\x81\xda\x10\x01");
    for (int i = 0; i < 4097; i++) PUT(&b, "k");
    PUT(&b, "\xc0");
    refuse(b, CM_ERR_LIMIT, "4097");
    b = (block){NULL, 0, 0}; /* a name that is too long as a whole */
    PUT(&b, "\x81\xa6params");
    for (int k = 0; k < 2; k++) {
        PUT(&b, "\x81\xda\x08\x01");
        for (int i = 0; i < 2049; i++) PUT(&b, "k");
    }
    PUT(&b, "\xc0");
    refuse(b, CM_ERR_LIMIT, "over the limit of 4096 bytes");
    b = (block){NULL, 0, 0};
    PUT(&b, "\xdd\0\0\0\0"); /* not a map: not taken for one */
    cm_tensors t;
    ck_assert(open_bytes(context, "x", b.bytes, b.size, &t) != CM_OK);
    free(b.bytes);
}
END_TEST

/* What a file of n pieces makes us take: at most 16 bytes for each of its bytes, and 16 MiB.  `%` in a piece is a
 * number of four digits that counts them. */
static void bounded(const char *begin, size_t begins, const char *piece, size_t size, size_t count)
{
    memory counted;
    cm_tensors t;
    cm_context *own;
    block b = {NULL, 0, 0};
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &own));
    put(&b, begin, begins);
    put_head(&b, begin[begins - 1] == 'l' ? 0xdc : 0xde, 2, count, 2);
    const char *number = memchr(piece, '%', size);
    for (size_t i = 0; i < count; i++) {
        char text[24];
        size_t before = number ? (size_t)(number - piece) : size;
        put(&b, piece, before);
        if (!number) continue;
        snprintf(text, sizeof text, "%05zx", i);
        put(&b, text, 5);
        put(&b, number + 1, size - before - 1);
    }
    cm_status status = open_bytes(own, "x", b.bytes, b.size, &t);
    if (status == CM_OK) cmi_tensors_close(&t);
    ck_assert_msg(status == CM_OK || status == CM_ERR_FORMAT || status == CM_ERR_LIMIT ||
                      status == CM_ERR_UNSUPPORTED,
                  "%s", cm_last_message());
    ck_assert_msg(counted.peak < 16 * (long long)b.size + (16 << 20), "'%.*s' in %zu bytes: %lld bytes taken",
                  (int)size, piece, b.size, counted.peak);
    cm_context_free(own);
    ck_assert_int_eq((int)counted.live, 0);
    free(b.bytes);
}

#define BOUNDED(begin, piece, count) bounded(begin, sizeof(begin) - 1, piece, sizeof(piece) - 1, count)

START_TEST(memory_bound)
{
    const size_t counts[] = {65536, 65537, 1 << 18};
    for (int i = 0; i < 3; i++) {
        BOUNDED("\x81\xa6params\x81\xa1l", "\xc0", counts[i]);
        BOUNDED("\x81\xa6params\x81\xa1l", "\x90", counts[i]);
        BOUNDED("\x81\xa6params\x81\xa1l", "\x81\xa0\xc0", counts[i]);
        BOUNDED("\x81\xa6params\x81\xa1l", "\x91\x91\x91\x91\xc0", counts[i]);
        BOUNDED("\x81\xa6params", "\xa5%\xc0", counts[i]);
        BOUNDED("\x81\xa6params", "\xa5%\x80", counts[i]);
        BOUNDED("\x81\xa6params", "\xa5%\xd8\1\x93\x90\xa5uint8\xc4\1\0\0\0\0\0", counts[i]); /* bytes behind it */
        BOUNDED("\x81\xa6params", "\xa5%\xc7\x0b\1\x93\x90\xa5uint8\xc4\1\0", counts[i]);
        BOUNDED("\x81\xa6params", "\xa5%\xc7\x0b\1\x93\x91\0\xa5uint8\xc4\0", counts[i]);
        BOUNDED("\x81\xa9opt_state", "\xa5%\xc7\1\0\0", counts[i]);
    }
}
END_TEST

/* Names of four thousand bytes each, told in a few. */
START_TEST(long_names)
{
    memory counted;
    cm_tensors t;
    cm_context *own;
    block b = {NULL, 0, 0};
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &own));
    PUT(&b, "\x81\xa6params\x81\xda\x0f\xf0");
    for (int i = 0; i < 4080; i++) PUT(&b, "k");
    put_head(&b, 0xde, 2, 60000, 2);
    for (int i = 0; i < 60000; i++) {
        char key[8];
        snprintf(key, sizeof key, "%x", i);
        put_string(&b, key, 0);
        PUT(&b, "\xc7\x0b\1\x93\x90\xa5uint8\xc4\1\0");
    }
    FAILS(open_bytes(own, "x", b.bytes, b.size, &t), CM_ERR_LIMIT, "names of its tensors");
    ck_assert_int_lt((int)(counted.peak >> 20), 16);
    cm_context_free(own);
    free(b.bytes);
}
END_TEST

/* Every beginning of a file, and changed bytes: read whole or refused. */
START_TEST(damaged)
{
    uint64_t state = seeded(27);
    int changes = by_effort(200, 3000, 10000), refused = 0;
    for (int i = 0; i < GOOD; i++) {
        size_t size;
        unsigned char *bytes = read_bytes(path_of(good[i]), &size);
        refuse_beginnings(context, good[i], bytes, size, size);
        refused += change_bytes(context, good[i], bytes, size, changes, &state, NULL);
        free(bytes);
    }
    ck_assert_int_gt(refused, changes);
}
END_TEST

static cm_status load_state(cm_context *own, void *state)
{
    const block *file = state;
    cm_model *m;
    CM_TRY(cm_model_load_memory(own, file->bytes, file->size, NULL, &m));
    cm_model_free(m);
    return CM_OK;
}

START_TEST(allocations_fail)
{
    const cm_model *sets[3] = {model_of(networks[0], 1), model_of(networks[0], 2), NULL};
    block file = state_of(sets, &dtypes[1], 0, 0);
    without_each_request(load_state, &file, by_effort(37, 7, 1));
    free(file.bytes);
    for (int s = 0; s < 2; s++) fill_model_free((cm_model *)(uintptr_t)sets[s]);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("flax");
    TCase *t = tcase_create("flax");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, whole_states);
    tcase_add_test(t, native_files);
    tcase_add_test(t, misfits);
    tcase_add_test(t, teachers);
    tcase_add_test(t, chunks);
    tcase_add_test(t, forms);
    tcase_add_test(t, beside);
    tcase_add_test(t, which_set);
    tcase_add_test(t, every_way);
    tcase_add_test(t, reasons);
    tcase_add_test(t, more_reasons);
    tcase_add_test(t, memory_bound);
    tcase_add_test(t, long_names);
    tcase_add_test(t, damaged);
    tcase_add_test(t, allocations_fail);
    suite_add_tcase(s, t);
    return s;
}
