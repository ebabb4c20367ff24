/* Checkpoints of PyTorch: every value and every way to the bytes, which of several sets of weights is read, networks
 * from their tensors' names, and hostile files: refused for the right reason, within a bound of memory. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "diffusion/model.h"
#include "nets/net.h"
#include "support/damage.h"
#include "support/files.h"
#include "support/keys.h"
#include "support/memory.h"
#include "support/torch_file.h"

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

/* --- values ----------------------------------------------------------------------------------- */

static const char *const good[] = {
    "small.pt",     "small_byteorder_little.pt", "small_byteorder_big.pt", "small_crc_zero.pt", "handmade_ok.pt",
    "odd_views.pt", "odd_views_legacy.pt"};
enum { GOOD = sizeof good / sizeof *good };

static const char *path_of(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, FOLDER "%s", name);
    return path;
}

static int32_t give(void *user, uint64_t offset, void *to, size_t n)
{
    const block *b = user;
    if (n > 97) n = 97;
    memcpy(to, b->bytes + offset, n);
    return (int32_t)n;
}

/* The same tensors from a mapping, from memory, from a function, copied and fetched each time. */
START_TEST(every_way)
{
    for (int i = 0; i < GOOD; i++) {
        block file = {NULL, 0, 0};
        cm_tensors mapped, t;
        file.bytes = read_bytes(path_of(good[i]), &file.size);
        OK(cmi_tensors_open_file(context, path_of(good[i]), CM_INPUT_IN_PLACE, &mapped));
        for (int way = 0; way < 5; way++) {
            cm_input in;
            cm_reader r = {sizeof r, 0, file.size, give, &file};
            if (way == 0) OK(cmi_input_file(context, path_of(good[i]), CM_INPUT_COPIED, &in));
            if (way == 1) OK(cmi_input_file(context, path_of(good[i]), CM_INPUT_FETCHED, &in));
            if (way == 2) OK(cmi_input_memory(context, "memory", file.bytes, file.size, CM_INPUT_IN_PLACE, &in));
            if (way == 3) OK(cmi_input_reader(context, &r, CM_INPUT_COPIED, &in));
            if (way == 4) OK(cmi_input_reader(context, &r, CM_INPUT_FETCHED, &in));
            OK(cmi_tensors_open(&in, &t));
            ck_assert_uint_eq(t.count, mapped.count);
            for (size_t k = 0; k < t.count; k++) {
                const cm_tensor *a = &mapped.tensors[k], *b = &t.tensors[k];
                unsigned char x[512], y[512];
                ck_assert_str_eq(a->name, b->name);
                ck_assert(a->bytes == b->bytes && a->bytes <= sizeof x);
                OK(cmi_tensor_fetch(a, x));
                OK(cmi_tensor_fetch(b, y));
                ck_assert_msg(memcmp(x, y, a->bytes) == 0, "%s: %s by way %d", good[i], a->name, way);
            }
            cmi_tensors_close(&t);
        }
        cmi_tensors_close(&mapped);
        free(file.bytes);
    }
}
END_TEST

/* Stored bytes, whatever their type and the view of them. */
START_TEST(bits)
{
    cm_tensors got, want;
    OK(cmi_tensors_open_file(context, path_of("odd_views_expected.safetensors"), CM_INPUT_IN_PLACE, &want));
    for (int i = 5; i < GOOD; i++) {
        OK(cmi_tensors_open_file(context, path_of(good[i]), CM_INPUT_IN_PLACE, &got));
        int same = 0;
        for (size_t k = 0; k < want.count; k++) {
            const cm_tensor *w = &want.tensors[k], *g = cmi_tensors_find(&got, w->name);
            unsigned char x[512], y[512];
            ck_assert_ptr_nonnull(g);
            if (g->type != w->type) continue; /* widened there; the golden runner compares the values */
            ck_assert_uint_eq(g->bytes, w->bytes);
            OK(cmi_tensor_fetch(w, x));
            OK(cmi_tensor_fetch(g, y));
            ck_assert_msg(memcmp(x, y, w->bytes) == 0, "%s: %s", good[i], w->name);
            same++;
        }
        ck_assert_int_ge(same, 11);
        cmi_tensors_close(&got);
    }
    cmi_tensors_close(&want);
}
END_TEST

/* What lies in the file as in memory is used where it is; what does not is read. */
START_TEST(in_place)
{
    cm_tensors t;
    OK(cmi_tensors_open_file(context, path_of("odd_views.pt"), CM_INPUT_IN_PLACE, &t));
    ck_assert(cmi_input_is_mapped(&t.input, cmi_tensors_find(&t, "base")->data));
    ck_assert(cmi_input_is_mapped(&t.input, cmi_tensors_find(&t, "f16")->data));
    ck_assert_ptr_null(cmi_tensors_find(&t, "transposed")->data);
    ck_assert_ptr_null(cmi_tensors_find(&t, "expanded")->data);
    cmi_tensors_close(&t);
    OK(cmi_tensors_open_file(context, path_of("small_byteorder_big.pt"), CM_INPUT_IN_PLACE, &t));
    ck_assert_ptr_null(cmi_tensors_find(&t, "w")->data);
    cmi_tensors_close(&t);
}
END_TEST

/* --- which weights ------------------------------------------------------------------------------ */

/* A zip of a pickle whose tensors are in storages 0 .. 3, each of which holds its number. */
static block torch_zip(const block *pickle)
{
    static const float values[4][2] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
    const member members[] = {{"a/data.pkl", pickle->bytes, pickle->size},
                              {"a/data/0", values[0], 8},
                              {"a/data/1", values[1], 8},
                              {"a/data/2", values[2], 8},
                              {"a/data/3", values[3], 8}};
    return zip_of(members, 5);
}

static cm_status open_pickle(block *pickle, const char *weights, block *zip, cm_tensors *out)
{
    cm_input in;
    *zip = torch_zip(pickle);
    free(pickle->bytes);
    *pickle = (block){NULL, 0, 0};
    CM_TRY(cmi_input_memory(context, "x.pt", zip->bytes, zip->size, CM_INPUT_IN_PLACE, &in));
    in.weights = weights;
    return cmi_tensors_open(&in, out);
}

/* {"epoch": 3, a: {w: storage 1}, b: {w: storage 2}}; NULL: without. */
static block two_sets(const char *a, const char *b)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}(X\5\0\0\0epochK\3");
    for (int i = 0; i < 2; i++) {
        if (!(i ? b : a)) continue;
        put_text(&p, i ? b : a);
        PUT(&p, "}");
        put_text(&p, "w");
        put_tensor(&p, "FloatStorage", i ? "2" : "1", 2, 0);
        PUT(&p, "s");
    }
    PUT(&p, "u.");
    return p;
}

/* The same as one dictionary: {a.w, b.w}. */
static block two_prefixes(const char *a, const char *b)
{
    block p = {NULL, 0, 0};
    char name[64];
    PUT(&p, "\x80\2}(");
    snprintf(name, sizeof name, "%s.w", a);
    put_entry(&p, name, "1");
    snprintf(name, sizeof name, "%s.w", b);
    put_entry(&p, name, "2");
    PUT(&p, "u.");
    return p;
}

static void expect(block pickle, const char *weights, float value, const char *name)
{
    cm_tensors t;
    block zip;
    float got[2];
    OK(open_pickle(&pickle, weights, &zip, &t));
    ck_assert_uint_eq(t.count, 1);
    ck_assert_str_eq(t.tensors[0].name, "w");
    OK(cmi_tensor_read(&t.tensors[0], got));
    ck_assert(got[0] == value && got[1] == value);
    ck_assert_str_eq(cmi_tensors_metadata(&t, "weights"), name);
    cmi_tensors_close(&t);
    free(zip.bytes);
}

static void refuse(block pickle, const char *weights, cm_status status, const char *word)
{
    cm_tensors t;
    block zip;
    FAILS(open_pickle(&pickle, weights, &zip, &t), status, word);
    free(zip.bytes);
}

START_TEST(which_weights)
{
    cm_model *m;
    expect(two_sets("model", "ema"), NULL, 2, "ema");
    expect(two_sets("ema_model", "net"), NULL, 1, "ema_model");
    expect(two_sets("model", "ema"), "model", 1, "model");
    expect(two_sets("state_dict", NULL), NULL, 1, "state_dict");
    expect(two_sets("state_dict", "optimizer"), NULL, 1, "state_dict");
    expect(two_prefixes("net", "net_ema"), NULL, 2, "net_ema");
    expect(two_prefixes("net", "net_ema"), "net", 1, "net");
    refuse(two_sets("model", "net"), NULL, CM_ERR_FORMAT, "'model', 'net'");
    refuse(two_sets("ema", "ema_model"), NULL, CM_ERR_FORMAT, "'ema', 'ema_model'");
    refuse(two_sets("model", "ema"), "net_ema", CM_ERR_ARGUMENT, "there are 'ema', 'model'");
    FAILS(cm_model_load(context, path_of("st_ok.safetensors"),
                        &(cm_load_options){.struct_size = sizeof(cm_load_options), .weights = "ema"}, &m),
          CM_ERR_ARGUMENT, "holds one set");
    refuse(two_sets("critic", NULL), NULL, CM_ERR_FORMAT, "'epoch', 'critic'");
    block p = {NULL, 0, 0}; /* a tensor beside the dictionary: the state of a generator */
    PUT(&p, "\x80\2}(");
    put_entry(&p, "rng", "1");
    PUT(&p, "X\12\0\0\0state_dict}(");
    put_entry(&p, "w", "2");
    PUT(&p, "uu.");
    expect(p, NULL, 2, "state_dict");
}
END_TEST

/* {"ema": {decay}, "model": {a, b, w}}: what a program notes of its average is no average. */
START_TEST(counters_of_an_average)
{
    cm_tensors t;
    block p = {NULL, 0, 0}, zip;
    PUT(&p, "\x80\2}(X\3\0\0\0ema}(");
    put_entry(&p, "decay", "0");
    PUT(&p, "uX\5\0\0\0model}(");
    put_entry(&p, "a", "1");
    put_entry(&p, "b", "2");
    put_entry(&p, "w", "3");
    PUT(&p, "uu.");
    OK(open_pickle(&p, NULL, &zip, &t));
    ck_assert_uint_eq(t.count, 3);
    ck_assert_str_eq(cmi_tensors_metadata(&t, "weights"), "model");
    cmi_tensors_close(&t);
    free(zip.bytes);
}
END_TEST

START_TEST(wrappers)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}(");
    put_entry(&p, "module.model.w", "3");
    PUT(&p, "u.");
    expect(p, NULL, 3, "the whole file");
    p = (block){NULL, 0, 0}; /* {"state_dict": {net.w, net_ema.w}} */
    PUT(&p, "\x80\2}X\12\0\0\0state_dict}(");
    put_entry(&p, "net.w", "1");
    put_entry(&p, "net_ema.w", "2");
    PUT(&p, "us.");
    expect(p, NULL, 2, "net_ema");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2}(X\5\0\0\0state}X\14\0\0\0param_groups]u.");
    refuse(p, NULL, CM_ERR_UNSUPPORTED, "optimizer");
    p = (block){NULL, 0, 0}; /* protocol 4, as pickle_protocol=4 writes it */
    PUT(&p, "\x80\4\x95\0\0\0\0\0\0\0\0\x8c\1w\x94\x8c\13collections\x94\x8c\13OrderedDict\x93)R\x94K\1s.");
    refuse(p, NULL, CM_ERR_FORMAT, "cannot take items");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\4\x8c\13collections\x94\x8c\13OrderedDict\x94\x93\x94)R\x94\x8c\1w\x94");
    put_tensor(&p, "FloatStorage", "2", 2, 0);
    PUT(&p, "s.");
    expect(p, NULL, 2, "the whole file");
}
END_TEST

/* --- what newer versions of PyTorch write ---------------------------------------------------------- */

/* A function of torch's, and the storage of eight bytes `key` as the first of its arguments. */
static void put_untyped(block *p, const char *function, const char *key)
{
    PUT(p, "c");
    put(p, function, strlen(function));
    PUT(p, "\n((X\7\0\0\0storagectorch.storage\nUntypedStorage\n");
    put_text(p, key);
    put_text(p, "cpu");
    PUT(p, "K\10tQ");
}

/* {"w": that tensor}, with the arguments behind its storage. */
static block one_tensor(const char *function, const char *arguments, size_t n)
{
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}");
    put_text(&p, "w");
    put_untyped(&p, function, "1");
    put(&p, arguments, n);
    PUT(&p, "tRs.");
    return p;
}

#define V3(arguments) one_tensor("torch._utils\n_rebuild_tensor_v3", arguments, sizeof(arguments) - 1)

/* Storage 1 holds 1.0f twice: 0, 0x3f80, 0, 0x3f80 as unsigned numbers of 16 bits. */
static void expect_one(block pickle, cm_tensor_type type, size_t count, const float *values)
{
    cm_tensors t;
    block zip;
    float got[8];
    OK(open_pickle(&pickle, NULL, &zip, &t));
    ck_assert_uint_eq(t.count, 1);
    ck_assert_int_eq((int)t.tensors[0].type, (int)type);
    ck_assert_uint_eq(t.tensors[0].count, count);
    OK(cmi_tensor_read(&t.tensors[0], got));
    ck_assert_mem_eq(got, values, count * sizeof *values);
    cmi_tensors_close(&t);
    free(zip.bytes);
}

START_TEST(newer_members)
{
    static const float ones[] = {1, 1}, words[] = {16256, 0, 16256}, bytes[] = {128, 63};
    expect_one(V3("K\0K\2\x85K\1\x85\x89}ctorch\nfloat32\n"), CM_TENSOR_F32, 2, ones);
    expect_one(V3("K\1K\3\x85K\1\x85\x89}ctorch\nuint16\n"), CM_TENSOR_U16, 3, words);
    expect_one(V3("K\6K\2\x85K\1\x85\x89}ctorch\nuint8\n}"), CM_TENSOR_U8, 2, bytes);
    refuse(V3("K\2K\3\x85K\1\x85\x89}ctorch\nuint16\n"), NULL, CM_ERR_FORMAT, "leaves storage '1'");
    refuse(V3("K\0K\2\x85K\1\x85\x89}ctorch\nuint64\n"), NULL, CM_ERR_FORMAT, "leaves storage '1'");
    refuse(V3("K\0K\2\x85K\1\x85\x89}K\1"), NULL, CM_ERR_FORMAT, "without its dtype");
    refuse(V3("K\0K\2\x85K\1\x85\x89}ctorch\nFloatStorage\n"), NULL, CM_ERR_FORMAT, "without its dtype");
    refuse(V3("K\0K\2\x85K\1\x85\x89}ctorch\nfloat8_e5m2\n"), NULL, CM_ERR_UNSUPPORTED, "'torch float8_e5m2'");
}
END_TEST

/* Attributes of tensors and parameters, and what else stands beside tensors. */
START_TEST(beside_tensors)
{
    static const char state[] = "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_parameter_with_state\n(";
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}(");
    put_text(&p, "extra");
    PUT(&p, "(ctorch\ndevice\nX\4\0\0\0cuda\x85Rctorch\nfloat16\nc__builtin__\nset\n]\x85R"
            "ccollections\ndefaultdict\n)Rccollections\ndefaultdict\nc__builtin__\nlist\n\x85Rc_"
            "codecs\nencode\nX\0\0\0\0N\x86R"
            "cargparse\nNamespace\n)\x81}X\2\0\0\0lrK\1sbt");
    put_entry(&p, "w", "3");
    PUT(&p, "u.");
    expect(p, NULL, 3, "the whole file");
    p = (block){NULL, 0, 0};
    put(&p, state, sizeof state - 1);
    put_tensor(&p, "FloatStorage", "2", 2, 0);
    PUT(&p, "\x88}}X\4\0\0\0noteK\1stRs.");
    expect(p, NULL, 2, "the whole file");
    p = one_tensor("torch._tensor\n_rebuild_from_type_v2\nctorch._utils\n_rebuild_tensor_v3", "", 0);
    free(p.bytes);
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2}X\1\0\0\0wctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n"
            "ctorch\nTensor\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0003X\3\0\0\0cpuK\2tQ"
            "K\0K\2\x85K\1\x85\x89}t}tRs.");
    expect(p, NULL, 3, "the whole file");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2ctorch\nTensor\n)R.");
    refuse(p, NULL, CM_ERR_FORMAT, "only known by its name");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\ndevice\nctorch\nTensor\n)}tR.");
    refuse(p, NULL, CM_ERR_FORMAT, "how it is made");
    p = (block){NULL, 0, 0};
    PUT(&p, "\x80\2(X\7\0\0\0storagectorch\nfloat32\nX\1\0\0\0001X\3\0\0\0cpuK\2tQ.");
    refuse(p, NULL, CM_ERR_FORMAT, "not a storage of a known class");
}
END_TEST

/* --- networks by their tensors ------------------------------------------------------------------- */

static void add_tensor(cm_tensors *t, const char *name, int rank, const int64_t *shape)
{
    cm_tensor *tensor;
    OK(cmi_tensors_add(t, name, &tensor));
    tensor->rank = rank;
    memcpy(tensor->shape, shape, (size_t)rank * sizeof *shape);
}

static void expect_network(const cm_tensors *t, const char *json)
{
    cm_recognised r = {.network = NULL};
    cm_net_config got, want;
    char text[1000];
    for (size_t i = 0; cmi_net_family_at(i) && !r.network; i++) OK(cmi_net_family_at(i)->recognise(t, &r));
    ck_assert_msg(r.network != NULL, "not recognised: %s", json);
    json_t *expected = json_loads(json, 0, NULL);
    OK(cmi_net_config_read(r.network, &got));
    OK(cmi_net_config_read(expected, &want));
    ck_assert_msg(cmi_net_config_differences(&got, &want, " found", " expected", text, sizeof text) == 0, "%s", text);
    json_decref(expected);
    json_decref(r.network);
    json_decref(r.precond);
}

/* A line of a list: a name and its shape. */
static void add_line(cm_tensors *t, char *line)
{
    int64_t shape[CM_TENSOR_RANK];
    int rank = 0;
    char *at = strchr(line, ' ');
    line[strcspn(line, "\n")] = '\0';
    *at++ = '\0';
    while (rank < CM_TENSOR_RANK && *at) shape[rank++] = strtoll(at, &at, 10);
    add_tensor(t, line, rank, shape);
}

START_TEST(published_networks)
{
    static const struct {
        const char *keys, *network;
    } rows[] = {
        {"adm_imagenet64",
         "{\"type\": \"adm\", \"image_size\": 64, \"in_channels\": 3, \"out_channels\": 3, \"model_channels\": 192, "
         "\"num_res_blocks\": 3, \"channel_mult\": [1, 2, 3, 4], \"attention_resolutions\": [2, 4, 8], "
         "\"num_head_channels\": 64, \"use_scale_shift_norm\": true, \"resblock_updown\": true, "
         "\"num_classes\": 1000}"},
        {"adm_lsun256",
         "{\"type\": \"adm\", \"image_size\": 256, \"in_channels\": 3, \"out_channels\": 3, \"model_channels\": "
         "256, \"num_res_blocks\": 2, \"channel_mult\": [1, 1, 2, 2, 4, 4], \"attention_resolutions\": [8, 16, "
         "32], \"num_head_channels\": 64, \"resblock_updown\": true}"},
        {"edm_cifar10_uncond_vp", "{\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 3, "
                                  "\"label_dim\": 0, \"augment_dim\": 9, \"channel_mult\": [2, 2, 2]}"},
        {"edm_cifar10_cond_vp", "{\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 3, "
                                "\"label_dim\": 10, \"augment_dim\": 9, \"channel_mult\": [2, 2, 2]}"},
        {"edm_cifar10_uncond_ve",
         "{\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 3, \"label_dim\": 0, \"augment_dim\": "
         "9, \"channel_mult\": [2, 2, 2], \"embedding_type\": \"fourier\", \"channel_mult_noise\": 2, "
         "\"encoder_type\": \"residual\", \"resample_filter\": [1, 3, 3, 1]}"},
        {"edm_cifar10_cond_ve",
         "{\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 3, \"label_dim\": 10, \"augment_dim\": "
         "9, \"channel_mult\": [2, 2, 2], \"embedding_type\": \"fourier\", \"channel_mult_noise\": 2, "
         "\"encoder_type\": \"residual\", \"resample_filter\": [1, 3, 3, 1]}"},
        {"edm_ffhq_afhqv2_64_vp", "{\"type\": \"songunet\", \"img_resolution\": 64, \"img_channels\": 3, "
                                  "\"label_dim\": 0, \"augment_dim\": 9, \"channel_mult\": [1, 2, 2, 2]}"},
        {"edm_ffhq_afhqv2_64_ve",
         "{\"type\": \"songunet\", \"img_resolution\": 64, \"img_channels\": 3, \"label_dim\": 0, \"augment_dim\": "
         "9, \"channel_mult\": [1, 2, 2, 2], \"embedding_type\": \"fourier\", \"channel_mult_noise\": 2, "
         "\"encoder_type\": \"residual\", \"resample_filter\": [1, 3, 3, 1]}"},
        {"edm_imagenet64_cond_adm",
         "{\"type\": \"dhariwal\", \"img_resolution\": 64, \"img_channels\": 3, \"label_dim\": 1000}"}};
    static char lines[700][128];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_tensors t = {.context = context};
        char path[200];
        int n = 0;
        snprintf(path, sizeof path, "tests/data/keys/%s.txt.gz", rows[i].keys);
        gzFile f = gzopen(path, "rb");
        ck_assert_ptr_nonnull(f);
        t.input.name = path;
        while (gzgets(f, lines[n], sizeof lines[n])) add_line(&t, lines[n++]);
        gzclose(f);
        ck_assert_int_gt(n, 300);
        expect_network(&t, rows[i].network);
        cmi_free(context, t.tensors);
    }
}
END_TEST

/* Lines of a published list, which have to stay. */
typedef struct {
    char line[700][128];
    int n;
} listing;

static void read_listing(const char *keys, listing *l)
{
    char path[200];
    snprintf(path, sizeof path, "tests/data/keys/%s.txt.gz", keys);
    gzFile f = gzopen(path, "rb");
    ck_assert_msg(f != NULL, "%s", path);
    l->n = 0;
    while (gzgets(f, l->line[l->n], sizeof l->line[0])) l->n++;
    gzclose(f);
    ck_assert_int_gt(l->n, 200);
}

/* The list as a file: backwards where that is wanted, and without line `lacking` (-1: none). */
static cm_status fit_listing(const char *keys, int backwards, int lacking, cm_model **out)
{
    static listing l;
    cm_tensors t = {.context = context};
    read_listing(keys, &l);
    for (int i = 0; i < l.n; i++)
        if (i != lacking) OK(keys_add_line(&t, l.line[backwards ? l.n - 1 - i : i]));
    return keys_fit(context, keys, &t, out);
}

/* Each published network is recognised, put together without its weights, and has the parameters that its authors
 * count, frequencies included. */
START_TEST(published_models)
{
    static const struct {
        const char *keys, *type;
        uint64_t parameters;
    } rows[] = {{"adm_imagenet64", "adm", 295899267},
                {"adm_lsun256", "adm", 526304771},
                {"edm_cifar10_cond_ve", "songunet", 56400643 + 128},
                {"edm_cifar10_cond_vp", "songunet", 55735299},
                {"edm_cifar10_uncond_ve", "songunet", 56397827 + 128},
                {"edm_cifar10_uncond_vp", "songunet", 55733891},
                {"edm_ffhq_afhqv2_64_ve", "songunet", 62761091 + 128},
                {"edm_ffhq_afhqv2_64_vp", "songunet", 61805571},
                {"edm_imagenet64_cond_adm", "dhariwal", 295899267},
                {"edm2_img64_s", "edm2", 280209253 + 2 * 192},
                {"flax_cifar10_ve", "songunet", 56395651},
                {"flax_cifar10_vp", "songunet", 55732739}};
    cm_model *m;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int backwards = 0; backwards < 2; backwards++) {
            OK(fit_listing(rows[i].keys, backwards, -1, &m));
            ck_assert_str_eq(m->net.family->name, rows[i].type);
            ck_assert_msg(keys_count(m) == rows[i].parameters, "%s: %llu parameters", rows[i].keys,
                          (unsigned long long)keys_count(m));
            cm_model_free(m);
        }
    FAILS(fit_listing("flax_cifar10_ve", 0, 444, &m), CM_ERR_SHAPE, "dec.32x32_aux_conv.bias");
    FAILS(fit_listing("edm_cifar10_cond_vp", 0, 426, &m), CM_ERR_SHAPE, "dec.32x32_aux_conv.bias");
}
END_TEST

/* A published list with something before every name, and what the reader has taken off them. */
static cm_status fit_named(const char *keys, const char *before, const char *taken, const char *config,
                           cm_model **out)
{
    static listing l;
    static char names[700][160];
    cm_tensors t = {.context = context};
    read_listing(keys, &l);
    for (int i = 0; i < l.n; i++) {
        snprintf(names[i], sizeof names[i], "%s%s", before, l.line[i]);
        OK(keys_add_line(&t, names[i]));
    }
    if (taken) OK(cmi_tensors_add_metadata(&t, CM_NOTE_PREFIX, taken));
    return keys_fit_given(context, "x.pt", &t, config, out);
}

/* Two times in one layer; the order of the rows of qkv is MeanFlow's or SoFlow's, which their names tell, or somebody
 * has to say it. */
START_TEST(two_times)
{
    static const struct {
        const char *before, *taken, *config;
        int layout; /* 1: qkv; -1: refused */
    } rows[] = {{"", NULL, NULL, -1},
                {"", "module.", NULL, -1},
                {"model.", NULL, NULL, -1},
                {"", "net_ema.", NULL, 1},
                {"", "net_ema1.", NULL, 1},
                {"", "module.net.", NULL, 1},
                {"net_ema.", NULL, NULL, 1},
                {"net.", NULL, NULL, 1},
                {"", "network.", NULL, 0},
                {"", "module.network.", NULL, 0},
                {"network.", NULL, NULL, 0},
                {"", NULL, "{\"network\": {\"attention_layout\": \"qkv\"}}", 1},
                {"", NULL, "{\"network\": {\"attention_layout\": \"interleaved\"}}", 0},
                {"", "net_ema.", "{\"network\": {\"attention_layout\": \"interleaved\"}}", 0}};
    cm_model *m;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_status status = fit_named("twotime_cifar10", rows[i].before, rows[i].taken, rows[i].config, &m);
        if (rows[i].layout < 0) {
            FAILS(status, CM_ERR_UNSUPPORTED, "attention_layout");
            continue;
        }
        OK(status);
        ck_assert_int_eq(m->net.attention_layout, rows[i].layout);
        ck_assert_int_eq(m->net.second_time, CM_SECOND_CONCAT);
        ck_assert_int_eq(m->net.second_input, CM_SECOND_INTERVAL);
        ck_assert_int_eq(m->net.channel_mult_noise, 2);
        ck_assert_int_eq(m->net.n_filter, 4);
        ck_assert_str_eq(cmi_precond_name(&m->precond), "average-velocity");
        ck_assert_uint_eq(keys_count(m), 55932419);
        cm_model_free(m);
    }
    FAILS(fit_named("twotime_cifar10", "", "net.", "{\"network\": {\"attention_layout\": \"per_head\"}}", &m),
          CM_ERR_FORMAT, "attention_layout");
    OK(fit_named("twotime_cifar10", "", "net.", "{\"network\": {\"second_time\": \"none\"}}", &m));
    ck_assert_int_eq(m->net.channel_mult_noise, 4);
    cm_model_free(m);
}
END_TEST

/* The tensors of a network of the library's own. */
static cm_status fit_own(const char *network, const char *more, const char *config, cm_model **out)
{
    json_t *made = json_pack("{s:o, s:{s:s}}", "network", json_loads(network, 0, NULL), "precond", "type", "none");
    cm_tensors t = {.context = context};
    cm_model *m;
    OK(cmi_model_make(context, made, 1, NULL, &m));
    for (int k = 0; k < m->graph->n_params; k++)
        OK(keys_add(&t, m->graph->params[k].name, m->graph->params[k].rank, m->graph->params[k].shape));
    if (more) OK(keys_add(&t, more, 1, (const int64_t[]){8}));
    cm_status status = keys_fit_given(context, "x.pt", &t, config, out);
    cm_model_free(m);
    json_decref(made);
    return status;
}

/* IMM's two towers, what CTM adds to them, and widths that two networks could have. */
START_TEST(towers_and_widths)
{
#define SMALL_SONG                                                                                                   \
    "{\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, \"model_channels\": 8, \"channel_mult\": " \
    "[1, 2], \"num_blocks\": 1, \"attn_resolutions\": [4]"
#define IMM SMALL_SONG ", \"second_time\": \"tower\", \"second_input\": \"time\", \"time_factor\": 1000}"
    cm_model *m;
    OK(fit_own(IMM, NULL, NULL, &m));
    ck_assert_int_eq(m->net.second_time, CM_SECOND_TOWER);
    ck_assert_int_eq(m->net.second_input, CM_SECOND_TIME);
    ck_assert(m->net.time_factor == 1000 && m->net.attention_layout == 0 && m->net.channel_mult_noise == 1);
    ck_assert_str_eq(cmi_precond_name(&m->precond), "imm");
    cm_model_free(m);
    OK(fit_own(IMM, NULL, "{\"network\": {\"second_input\": \"interval\"}}", &m));
    ck_assert_int_eq(m->net.second_input, CM_SECOND_INTERVAL);
    cm_model_free(m);
    FAILS(fit_own(IMM, "enc.8x8_block0.affine_s.bias", NULL, &m), CM_ERR_UNSUPPORTED, "as CTM has it");
    FAILS(fit_own(SMALL_SONG ", \"channel_mult_noise\": 2}", NULL, NULL, &m), CM_ERR_UNSUPPORTED,
          "either of one time");
    OK(fit_own(SMALL_SONG ", \"channel_mult_noise\": 2}", NULL, "{\"network\": {\"second_time\": \"none\"}}", &m));
    ck_assert(m->net.second_time == CM_SECOND_NONE && m->net.channel_mult_noise == 2);
    ck_assert_str_eq(cmi_precond_name(&m->precond), "edm");
    cm_model_free(m);
    OK(fit_own(SMALL_SONG ", \"second_time\": \"concat\"}", NULL,
               "{\"network\": {\"second_time\": \"concat\", \"second_input\": \"time\", \"attention_layout\": "
               "\"interleaved\"}, \"precond\": {\"type\": \"none\"}}",
               &m));
    ck_assert(m->net.second_time == CM_SECOND_CONCAT && m->net.second_input == CM_SECOND_TIME);
    ck_assert_int_eq(m->net.channel_mult_noise, 1);
    cm_model_free(m);
}
END_TEST

/* Every argument that shapes tell, from networks of our own. */
START_TEST(networks_of_all_kinds)
{
    static const char *const networks[] = {
        "{\"type\": \"adm\", \"image_size\": 8, \"in_channels\": 3, \"out_channels\": 3, \"model_channels\": 64, "
        "\"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": [1], \"num_head_channels\": 64}",
        "{\"type\": \"adm\", \"image_size\": 32, \"in_channels\": 1, \"out_channels\": 1, \"model_channels\": 64, "
        "\"num_res_blocks\": 2, \"channel_mult\": [0.5, 1, 2], \"attention_resolutions\": [2], "
        "\"num_head_channels\": "
        "64, \"use_scale_shift_norm\": true, \"num_classes\": 7}",
        "{\"type\": \"adm\", \"image_size\": 32, \"in_channels\": 3, \"out_channels\": 3, \"model_channels\": 32, "
        "\"num_res_blocks\": 2, \"channel_mult\": [1, 2, 3], \"attention_resolutions\": [], \"conv_resample\": "
        "false}",
        "{\"type\": \"adm\", \"image_size\": 16, \"in_channels\": 3, \"out_channels\": 3, \"model_channels\": 96, "
        "\"num_res_blocks\": 3, \"channel_mult\": [1, 1.3333333333333333], \"attention_resolutions\": [1, 2], "
        "\"resblock_updown\": true}",
    };
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        cm_tensors t = {.context = context};
        cm_model *m;
        json_t *network = json_loads(networks[i], 0, NULL);
        json_t *config = json_pack("{s:o, s:{s:s}}", "network", network, "precond", "type", "cm");
        OK(cmi_model_make(context, config, 1, NULL, &m));
        t.input.name = "x.pt";
        for (int k = 0; k < m->graph->n_params; k++)
            add_tensor(&t, m->graph->params[k].name, m->graph->params[k].rank, m->graph->params[k].shape);
        expect_network(&t, networks[i]);
        cmi_free(context, t.tensors);
        cm_model_free(m);
        json_decref(config);
    }
}
END_TEST

/* --- whole models ----------------------------------------------------------------------------------- */

static void evaluate(cm_model *m, float *out)
{
    float x[3 * 8 * 8], sigma = 3;
    for (int i = 0; i < 3 * 8 * 8; i++) x[i] = (float)(i % 17) / 8 - 1;
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, out));
}

/* Fresh weights of ADM end in zeros; these do not. */
static cm_model *filled_model(const json_t *config)
{
    cm_model *fresh, *m;
    size_t offsets[200];
    uint64_t state = 9;
    OK(cmi_model_make(context, config, 5, NULL, &fresh));
    ck_assert_int_le(fresh->graph->n_params, 200);
    size_t n = cmi_param_offsets(fresh->graph, offsets);
    float *values = calloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = 0.1f * random_float(&state);
    OK(cmi_model_make(context, config, 5, values, &m));
    free(values);
    cm_model_free(fresh);
    return m;
}

/* All weights of a model as PyTorch would save them, as float32 or as double. */
static block saved(const cm_model *m, int doubles)
{
    enum { MOST = 200 };
    block pickle = {NULL, 0, 0}, data[MOST] = {{NULL, 0, 0}};
    member members[MOST + 1];
    static char names[MOST][32];
    int n = m->graph->n_params;
    ck_assert_int_lt(n, MOST);
    PUT(&pickle, "\x80\2}(");
    for (int i = 0; i < n; i++) {
        const cm_param_desc *p = &m->graph->params[i];
        const cm_tensor *t = cmi_checkpoint_tensor(&m->sources[i]);
        char key[8];
        float *values = malloc((t->count + 1) * sizeof *values);
        OK(cmi_tensor_read(t, values));
        for (size_t k = 0; k < t->count; k++) {
            double d = (double)values[k];
            if (doubles) put(&data[i], &d, sizeof d);
            else put(&data[i], &values[k], sizeof *values);
        }
        free(values);
        snprintf(key, sizeof key, "%d", i);
        snprintf(names[i], sizeof names[i], "archive/data/%d", i);
        put_text(&pickle, p->name);
        put_plain(&pickle, doubles ? "DoubleStorage" : "FloatStorage", key, p->rank, p->shape, 0);
        members[i + 1] = (member){names[i], data[i].bytes, data[i].size};
    }
    PUT(&pickle, "u.");
    members[0] = (member){"archive/data.pkl", pickle.bytes, pickle.size};
    block zip = zip_of(members, (size_t)n + 1);
    for (int i = 0; i < n; i++) free(data[i].bytes);
    free(pickle.bytes);
    return zip;
}

/* The same pictures from the file that PyTorch would write, without a word about the network. */
START_TEST(whole_models)
{
    json_t *config = json_loads(
        "{\"network\": {\"type\": \"adm\", \"image_size\": 8, \"in_channels\": 3, \"out_channels\": 3, "
        "\"model_channels\": 32, \"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": [1]}, "
        "\"precond\": {\"type\": \"cm\"}}",
        0, NULL);
    float want[3 * 8 * 8], got[3 * 8 * 8];
    cm_model *m, *loaded;
    m = filled_model(config);
    evaluate(m, want);
    for (int doubles = 0; doubles < 2; doubles++) {
        cm_model_info info = CM_MODEL_INFO_INIT;
        block file = saved(m, doubles);
        OK(cm_model_load_memory(context, file.bytes, file.size, NULL, &loaded));
        OK(cm_model_info_get(loaded, &info));
        ck_assert_str_eq(info.network, "adm");
        ck_assert_str_eq(info.precond, "cm");
        ck_assert_ptr_nonnull(strstr(info.config_json, "\"assumed\""));
        evaluate(loaded, got);
        ck_assert_mem_eq(got, want, sizeof want);
        char path[] = "/tmp/cm-formats-XXXXXX";
        cm_save_options o = {.struct_size = sizeof o, .overwrite = CM_OVERWRITE_YES};
        close(mkstemp(path));
        OK(cm_model_save(loaded, path, &o));
        cm_model_free(loaded);
        free(file.bytes);
        OK(cm_model_load(context, path, NULL, &loaded));
        evaluate(loaded, got);
        ck_assert_mem_eq(got, want, sizeof want);
        cm_model_free(loaded);
        unlink(path);
    }
    cm_model_free(m);
    json_decref(config);
}
END_TEST

/* --- hostile files ------------------------------------------------------------------------------ */

START_TEST(reasons)
{
    static const struct {
        const char *file;
        cm_status status;
        const char *word;
    } rows[] = {
        {"h_os_system.pt", CM_ERR_FORMAT, "posix system"},
        {"h_os_system_in_dict.pt", CM_ERR_FORMAT, "posix system"},
        {"h_os_system_legacy.pt", CM_ERR_FORMAT, "posix system"},
        {"h_builtins_eval.pt", CM_ERR_FORMAT, "builtins eval"},
        {"h_getattr_chain.pt", CM_ERR_FORMAT, "builtins getattr"},
        {"h_build_setstate.pt", CM_ERR_FORMAT, "torch.nn.modules.linear Linear"},
        {"h_inst_opcode.pt", CM_ERR_FORMAT, "INST"},
        {"h_truncated_half.pt", CM_ERR_FORMAT, "truncated"},
        {"h_truncated_eocd.pt", CM_ERR_FORMAT, "truncated"},
        {"h_empty.pt", CM_ERR_FORMAT, "empty"},
        {"h_missing_pkl.pt", CM_ERR_FORMAT, "data.pkl"},
        {"h_missing_storage.pt", CM_ERR_FORMAT, "data/1"},
        {"h_short_storage.pt", CM_ERR_FORMAT, "storage '0'"},
        {"h_numel_too_big.pt", CM_ERR_FORMAT, "storage '0'"},
        {"h_deflated.pt", CM_ERR_UNSUPPORTED, "compressed"},
        {"h_duplicate_record.pt", CM_ERR_FORMAT, "twice"},
        {"h_cd_offset.pt", CM_ERR_FORMAT, "outside"},
        {"h_cd_size.pt", CM_ERR_FORMAT, "past"},
        {"h_bad_crc.pt", CM_ERR_FORMAT, "checksum"},
        {"h_byteorder_bad.pt", CM_ERR_FORMAT, "middle"},
        {"h_view_past_end.pt", CM_ERR_FORMAT, "tensor 'w': its view leaves"},
        {"h_view_stride_huge.pt", CM_ERR_FORMAT, "tensor 'w': its view leaves"},
        {"h_negative_stride.pt", CM_ERR_FORMAT, "stride 0 is negative"},
        {"h_negative_offset.pt", CM_ERR_FORMAT, "offset is negative"},
        {"h_negative_size.pt", CM_ERR_FORMAT, "dimension 0 is negative"},
        {"h_size_overflow.pt", CM_ERR_FORMAT, "overflows"},
        {"h_expand_bomb.pt", CM_ERR_LIMIT, "1099511627776 elements"},
        {"h_rank_mismatch.pt", CM_ERR_FORMAT, "ranks"},
        {"h_rank_65.pt", CM_ERR_LIMIT, "rank 65"},
        {"h_path_traversal_key.pt", CM_ERR_FORMAT, "'../version'"},
        {"h_unknown_storage_class.pt", CM_ERR_UNSUPPORTED, "QUInt8Storage"},
        {"h_dtype_conflict.pt", CM_ERR_FORMAT, "two classes"},
        {"h_binget_unknown.pt", CM_ERR_FORMAT, "memo"},
        {"h_stack_underflow.pt", CM_ERR_FORMAT, "stack"},
        {"h_no_stop.pt", CM_ERR_FORMAT, "STOP"},
        {"h_unicode_past_end.pt", CM_ERR_FORMAT, "BINUNICODE"},
        {"h_bad_utf8_key.pt", CM_ERR_FORMAT, "UTF-8"},
        {"h_long_huge.pt", CM_ERR_FORMAT, "LONG4"},
        {"h_protocol_9.pt", CM_ERR_FORMAT, "PROTO 9"},
        {"h_memo_index_huge.pt", CM_ERR_LIMIT, "2147483647"},
        {"h_dup_key.pt", CM_ERR_FORMAT, "tensor 'w': the name stands there twice"},
        {"h_not_a_dict.pt", CM_ERR_FORMAT, "a number"},
        {"h_key_not_string.pt", CM_ERR_FORMAT, "not a string"},
        {"h_self_reference.pt", CM_ERR_FORMAT, "no tensors by name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_tensors t;
        FAILS(cmi_tensors_open_file(context, path_of(rows[i].file), CM_INPUT_IN_PLACE, &t), rows[i].status,
              rows[i].word);
        ck_assert_ptr_nonnull(strstr(cm_last_message(), rows[i].file));
    }
}
END_TEST

/* A legacy file up to its object. */
static block legacy(void)
{
    block b = {NULL, 0, 0};
    PUT(&b,
        "\x80\2\x8a\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}X\15\0\0\0little_endian\x88s.");
    return b;
}

/* What a file of n pieces makes us take: at most 16 bytes for each of its bytes, and 16 MiB. */
static void bounded(const char *begin, size_t begins, const char *piece, size_t size, size_t bytes)
{
    memory counted;
    cm_tensors t;
    cm_context *own;
    block b = legacy();
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &own));
    put(&b, begin, begins);
    while (b.size < bytes) put(&b, piece, size);
    cm_status status = open_bytes(own, "x.pt", b.bytes, b.size, &t);
    if (status == CM_OK) cmi_tensors_close(&t);
    ck_assert_msg(status == CM_ERR_FORMAT || status == CM_ERR_LIMIT, "%s: %s", cm_status_name(status),
                  cm_last_message());
    ck_assert_msg(counted.peak < 16 * (long long)b.size + (16 << 20), "'%.*s' of %zu bytes: %lld bytes taken",
                  (int)size, piece, b.size, counted.peak);
    cm_context_free(own);
    ck_assert_int_eq((int)counted.live, 0);
    free(b.bytes);
}

#define BOUNDED(begin, piece, bytes) bounded(begin, sizeof(begin) - 1, piece, sizeof(piece) - 1, bytes)

START_TEST(memory_bound)
{
    for (size_t bytes = 1 << 20; bytes <= 4 << 20; bytes *= 4) {
        BOUNDED("\x80\2", "}", bytes);
        BOUNDED("\x80\2", ")", bytes);
        BOUNDED("\x80\2", "N", bytes);
        BOUNDED("\x80\2", "K\1", bytes);
        BOUNDED("\x80\2", "(", bytes);
        BOUNDED("\x80\2", "(]", bytes);
        BOUNDED("\x80\2", ")\x85", bytes);
        BOUNDED("\x80\2)", "\x85", bytes);
        BOUNDED("\x80\2", "X\0\0\0\0", bytes);
        BOUNDED("\x80\2N", "\x94", bytes);
        BOUNDED("\x80\2Nq\0", "h\0", bytes);
        BOUNDED("\x80\2]q\0", "h\0a", bytes);
        BOUNDED("\x80\2]q\0", "Na", bytes);
        BOUNDED("\x80\2]q\0", "]a", bytes);
        BOUNDED("\x80\2}q\0", "NNs", bytes);
        BOUNDED("\x80\2", "ccollections\nOrderedDict\n", bytes);
        BOUNDED("\x80\2ccollections\nOrderedDict\nq\0", "h\0)R", bytes);
        BOUNDED("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
                "0NK\0tq\0",
                "h\0Q", bytes);
    }
}
END_TEST

/* 64 tensors of one storage of a megabyte: 64 times the file where all are read. */
START_TEST(views_of_one_storage)
{
    enum { VALUES = 1 << 18, BYTES = 4 * VALUES };
    float *values = calloc(VALUES, sizeof *values);
    for (int n = 8; n <= 64; n *= 8) {
        block p = {NULL, 0, 0};
        cm_tensors t;
        PUT(&p, "\x80\2}(");
        put_text(&p, "t0"), put_tensor(&p, "FloatStorage", "0", VALUES, 0), PUT(&p, "q\0");
        for (int i = 1; i < n; i++) {
            char name[8];
            snprintf(name, sizeof name, "t%d", i);
            put_text(&p, name), PUT(&p, "h\0");
        }
        PUT(&p, "u.");
        const member members[] = {{"a/data.pkl", p.bytes, p.size}, {"a/data/0", values, BYTES}};
        block zip = zip_of(members, 2);
        if (n == 8) OK(open_bytes(context, "x.pt", zip.bytes, zip.size, &t));
        else FAILS(open_bytes(context, "x.pt", zip.bytes, zip.size, &t), CM_ERR_LIMIT, "far more than the file");
        if (n == 8) cmi_tensors_close(&t);
        free(zip.bytes);
        free(p.bytes);
    }
    free(values);
}
END_TEST

/* One dictionary under 2^14 names, of which the first are listed as sets to choose from. */
START_TEST(sets_named_again)
{
    enum { MANY = 1 << 14 };
    block p = {NULL, 0, 0};
    cm_input in;
    cm_tensors t;
    PUT(&p, "\x80\2}(");
    put_text(&p, "w"), put_tensor(&p, "FloatStorage", "0", 2, 0), PUT(&p, "q\0");
    put_text(&p, "set"), PUT(&p, "}q\1X\1\0\0\0wh\0s");
    for (int i = 0; i < MANY; i++) {
        char name[8];
        snprintf(name, sizeof name, "%x", i);
        put_text(&p, name), PUT(&p, "h\1");
    }
    PUT(&p, "u.");
    block zip = torch_zip(&p);
    OK(cmi_input_memory(context, "x.pt", zip.bytes, zip.size, CM_INPUT_IN_PLACE, &in));
    in.as_data = 1;
    OK(cmi_tensors_open(&in, &t));
    ck_assert_uint_eq(t.count, 1);
    ck_assert_uint_eq(t.sets_count, 1024);
    cmi_tensors_close(&t);
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* The directory of the archive says that a member is plain, the member itself that it is encrypted. */
START_TEST(encrypted_by_its_header)
{
    cm_tensors t;
    block p = {NULL, 0, 0};
    PUT(&p, "\x80\2}(");
    put_entry(&p, "w", "1");
    PUT(&p, "u.");
    block zip = torch_zip(&p);
    OK(open_bytes(context, "x.pt", zip.bytes, zip.size, &t));
    cmi_tensors_close(&t);
    zip.bytes[6] |= 1;
    FAILS(open_bytes(context, "x.pt", zip.bytes, zip.size, &t), CM_ERR_UNSUPPORTED, "encrypted");
    free(zip.bytes);
    free(p.bytes);
}
END_TEST

/* Arguments are checked where no file is known. */
START_TEST(file_is_named)
{
    static const char header[] =
        "{\"__metadata__\":{\"consistency.format\":\"1\",\"consistency.precond\":\"{\\\"type\\\":\\\"edm\\\"}\","
        "\"consistency.image\":\"{\\\"channels\\\":3,\\\"height\\\":8,\\\"width\\\":8}\",\"consistency.network\":"
        "\"{\\\"type\\\":\\\"songunet\\\",\\\"img_resolution\\\":8,\\\"in_channels\\\":3,\\\"out_channels\\\":3,"
        "\\\"model_channels\\\":-4}\"}}";
    block b = {NULL, 0, 0};
    cm_model *m;
    put_number(&b, sizeof header - 1, 8);
    PUT(&b, header);
    FAILS(cm_model_load_memory(context, b.bytes, b.size, NULL, &m), CM_ERR_FORMAT, "memory: consistency.network: ");
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "model_channels"));
    free(b.bytes);
}
END_TEST

/* As many tensors as there may be, in as few bytes as they can have. */
START_TEST(many_tensors)
{
    memory counted;
    cm_tensors t;
    cm_context *own;
    block b = legacy();
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &own));
    PUT(&b, "\x80\2}(");
    put_text(&b, "w");
    put_tensor(&b, "FloatStorage", "0", 0, 1);
    PUT(&b, "q\1");
    for (int i = 1; i < CM_TENSORS_MAX; i++) {
        char name[8];
        snprintf(name, sizeof name, "%x", i);
        put_text(&b, name);
        PUT(&b, "h\1");
    }
    PUT(&b, "u.\x80\2]X\1\0\0\0"
            "0a.\0\0\0\0\0\0\0\0");
    OK(open_bytes(own, "x.pt", b.bytes, b.size, &t));
    ck_assert_uint_eq(t.count, CM_TENSORS_MAX);
    ck_assert_msg(counted.peak < 16 * (long long)b.size + (16 << 20), "%zu bytes: %lld", b.size, counted.peak);
    cmi_tensors_close(&t);
    cm_context_free(own);
    free(b.bytes);
}
END_TEST

/* Every beginning of a file, and changed bytes: read whole or refused. */
START_TEST(damaged)
{
    uint64_t state = seeded(26);
    int changes = by_effort(200, 2000, 10000), refused = 0;
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

static cm_status open_copied(cm_context *own, void *path)
{
    cm_tensors t;
    CM_TRY(cmi_tensors_open_file(own, path, CM_INPUT_COPIED, &t));
    cmi_tensors_close(&t);
    return CM_OK;
}

START_TEST(allocations_fail)
{
    for (int i = 0; i < GOOD; i++) without_each_request(open_copied, (void *)(uintptr_t)path_of(good[i]), 1);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("formats");
    TCase *t = tcase_create("formats");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_way);
    tcase_add_test(t, bits);
    tcase_add_test(t, in_place);
    tcase_add_test(t, which_weights);
    tcase_add_test(t, counters_of_an_average);
    tcase_add_test(t, views_of_one_storage);
    tcase_add_test(t, sets_named_again);
    tcase_add_test(t, encrypted_by_its_header);
    tcase_add_test(t, file_is_named);
    tcase_add_test(t, wrappers);
    tcase_add_test(t, newer_members);
    tcase_add_test(t, beside_tensors);
    tcase_add_test(t, published_networks);
    tcase_add_test(t, published_models);
    tcase_add_test(t, two_times);
    tcase_add_test(t, towers_and_widths);
    tcase_add_test(t, networks_of_all_kinds);
    tcase_add_test(t, whole_models);
    tcase_add_test(t, reasons);
    tcase_add_test(t, memory_bound);
    tcase_add_test(t, many_tensors);
    tcase_add_test(t, damaged);
    tcase_add_test(t, allocations_fail);
    suite_add_tcase(s, t);
    return s;
}
