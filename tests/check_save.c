/* Models as files of every format and type: values round to the nearest, what goes out and comes back has the same
 * bytes, what a format cannot say is refused, and what fails, is stopped or finds no memory leaves nothing; folders
 * of diffusers that are not what they should be. */
#include "support/suite.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/directory.h"
#include "io/safetensors.h"
#include "io/torch_write.h"
#include "io/zip_directory.h"
#include "support/files.h"
#include "support/fill.h"
#include "support/memory.h"
#include "tensor/convert.h"

static cm_context *context;
static char dir[64];

/* Each name once, so that a path stands as long as its case runs. */
static const char *in_dir(const char *name)
{
    static char paths[128][200];
    static int count;
    char path[200];
    int i = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    while (i < count && strcmp(paths[i], path) != 0) i++;
    ck_assert_int_lt(i, 128);
    if (i == count) memcpy(paths[count++], path, sizeof path);
    return paths[i];
}

static void empty_dir(void)
{
    OK(cmi_directory_remove(dir));
    OK(cmi_directory_make(dir));
}

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
    snprintf(dir, sizeof dir, "/tmp/cm-save-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    OK(cmi_directory_remove(dir));
    cm_context_free(context);
}

static size_t entries(const char *path)
{
    cm_names names;
    OK(cmi_directory_list(context, path, &names));
    size_t n = names.count;
    cmi_names_free(&names);
    return n;
}

/* --- rounding ----------------------------------------------------------------------------------- */

static float of_bits(int half, uint16_t bits)
{
    float f;
    if (half) cmi_f16_to_f32(1, &bits, &f);
    else cmi_bf16_to_f32(1, &bits, &f);
    return f;
}

static uint16_t to_bits(int half, float f)
{
    uint16_t bits;
    if (half) cmi_f32_to_f16(1, &f, &bits);
    else cmi_f32_to_bf16(1, &f, &bits);
    return bits;
}

/* Every number of 16 bits comes back; between two neighbours the nearer is taken, and the even one in the middle. */
START_TEST(nearest_ties_to_even)
{
    for (int half = 0; half < 2; half++) {
        const uint16_t infinity = half ? 0x7c00 : 0x7f80;
        for (uint32_t v = 0; v < 0x10000; v++) {
            float f = of_bits(half, (uint16_t)v);
            uint16_t back = to_bits(half, f);
            if ((v & 0x7fff) > infinity)
                ck_assert(isnan(f) && isnan(of_bits(half, back)) && (back & 0x8000) == (v & 0x8000));
            else ck_assert_msg(back == v, "%x became %x", v, back);
        }
        for (uint16_t v = 0; v < infinity - 1; v++) {
            float a = of_bits(half, v), b = of_bits(half, (uint16_t)(v + 1)), middle = a + (b - a) / 2;
            ck_assert_uint_eq(to_bits(half, middle), v % 2 ? v + 1 : v);
            if (nextafterf(middle, a) > a) ck_assert_uint_eq(to_bits(half, nextafterf(middle, a)), v);
            if (nextafterf(middle, b) < b) ck_assert_uint_eq(to_bits(half, nextafterf(middle, b)), v + 1);
            ck_assert_uint_eq(to_bits(half, -middle), 0x8000 | (v % 2 ? v + 1 : v));
        }
    }
    ck_assert_uint_eq(to_bits(1, 65519.996f), 0x7bff);
    ck_assert_uint_eq(to_bits(1, 65520.0f), 0x7c00);
    ck_assert_uint_eq(to_bits(1, 3e38f), 0x7c00);
    ck_assert_uint_eq(to_bits(0, 3.4e38f), 0x7f80);
}
END_TEST

/* --- models ------------------------------------------------------------------------------------- */

typedef struct {
    const char *network, *precond;
    int32_t height, width;
    int to_diffusers;
} kind;

#define ADM "{\"type\": \"adm\", \"in_channels\": 3, \"out_channels\": 3, \"model_channels\": 32, "
static const kind kinds[] = {
    {ADM "\"image_size\": 16, \"num_res_blocks\": 1, \"channel_mult\": [1, 2, 2], \"attention_resolutions\": [2, 4], "
         "\"num_head_channels\": 16, \"num_classes\": 5, \"use_scale_shift_norm\": true, \"resblock_updown\": true}",
     "{\"type\": \"cm\"}", 16, 16, 1},
    {ADM "\"image_size\": 16, \"num_res_blocks\": 2, \"channel_mult\": [1, 2], \"attention_resolutions\": [], "
         "\"num_heads\": 1, \"resblock_updown\": true}",
     "{\"type\": \"cm\", \"sigma_min\": 0.01, \"sigma_max\": 50, \"sigma_data\": 0.4}", 8, 16, 1},
    {ADM "\"image_size\": 8, \"num_res_blocks\": 1, \"channel_mult\": [1, 3], \"attention_resolutions\": [1, 2], "
         "\"num_head_channels\": 8, \"attention_layout\": \"per_head\", \"resblock_updown\": true}",
     "{\"type\": \"cm\"}", 8, 8, 1},
    {ADM "\"image_size\": 8, \"num_res_blocks\": 1, \"channel_mult\": [1, 2], \"attention_resolutions\": [1]}",
     "{\"type\": \"edm\"}", 8, 8, 0},
    {"{\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": 16, \"num_blocks\": "
     "1, "
     "\"channel_mult\": [1, 2], \"attn_resolutions\": [4], \"embedding_type\": \"fourier\", \"channel_mult_noise\": "
     "2, "
     "\"encoder_type\": \"residual\", \"resample_filter\": [1, 3, 3, 1]}",
     "{\"type\": \"ecm\"}", 8, 8, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *write_model(int which)
{
    const kind *k = &kinds[which];
    char name[32];
    json_t *network = json_loads(k->network, 0, NULL), *precond = json_loads(k->precond, 0, NULL);
    cm_model *m = fill_model(context, network, precond, k->height, k->width, 0, FILL_HASH, 7);
    ck_assert_msg(m != NULL, "%s", cm_last_message());
    snprintf(name, sizeof name, "model-%d.safetensors", which);
    const char *path = in_dir(name);
    OK(fill_model_write(m, network, precond, path));
    fill_model_free(m);
    json_decref(network), json_decref(precond);
    return path;
}

static cm_status convert(const char *from, const char *to, int32_t format, int32_t dtype, uint64_t shard_bytes)
{
    cm_model *m;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES;
    o.format = format;
    o.dtype = dtype;
    o.shard_bytes = shard_bytes;
    CM_TRY(cm_model_load(context, from, NULL, &m));
    cm_status status = cm_model_save(m, to, &o);
    cm_model_free(m);
    return status;
}

static void same_tensors(const char *a, const char *b)
{
    cm_tensors x, y;
    OK(cmi_tensors_open_file(context, a, CM_INPUT_IN_PLACE, &x));
    OK(cmi_tensors_open_file(context, b, CM_INPUT_IN_PLACE, &y));
    ck_assert_uint_eq(x.count, y.count);
    for (size_t i = 0; i < x.count; i++) {
        const cm_tensor *s = &x.tensors[i], *t = cmi_tensors_find(&y, s->name);
        ck_assert_msg(t && t->type == s->type && t->rank == s->rank &&
                          memcmp(t->shape, s->shape, sizeof s->shape) == 0 && memcmp(t->data, s->data, s->bytes) == 0,
                      "tensor '%s' differs", s->name);
    }
    cmi_tensors_close(&x), cmi_tensors_close(&y);
}

static float *evaluate(const char *path, size_t *count)
{
    cm_model *m;
    cm_model_info info = CM_MODEL_INFO_INIT;
    const float sigma = 3;
    const int32_t label = 2;
    OK(cm_model_load(context, path, NULL, &m));
    OK(cm_model_info_get(m, &info));
    *count = (size_t)(info.channels * info.height * info.width);
    float *x = calloc(*count, sizeof *x), *out = calloc(*count, sizeof *out);
    for (size_t i = 0; i < *count; i++) x[i] = (float)sin((double)i);
    OK(cm_model_denoise(m, 1, x, &sigma, info.num_classes ? &label : NULL, out));
    cm_model_free(m);
    free(x);
    return out;
}

static void same_outputs(const char *a, const char *b)
{
    size_t n, m;
    float *x = evaluate(a, &n), *y = evaluate(b, &m);
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(x, y, n * sizeof *x);
    free(x), free(y);
}

/* Native to X to native: the same bytes of tensors, for every X and every type, and the same images on the way. */
START_TEST(out_and_back)
{
    static const int32_t types[] = {0, CM_F32, CM_F16, CM_BF16};
    const kind *k = &kinds[_i];
    const char *model = write_model(_i);
    for (size_t d = 0; d < sizeof types / sizeof *types; d++) {
        const char *base = in_dir("base.safetensors"), *back = in_dir("back.safetensors");
        OK(convert(model, base, CM_MODEL_NATIVE, types[d], 0));
        if (!types[d] || types[d] == CM_F32) same_tensors(model, base);
        for (int way = 0; way < 5; way++) {
            const char *to = in_dir(way < 2 ? "x.pt" : "folder");
            const int32_t format = way < 2 ? CM_MODEL_TORCH : CM_MODEL_DIFFUSERS;
            const uint64_t shard = way == 3 ? 40000 : 0;
            const int at_once = way == 1 || way == 4; /* the type is changed on the way, not before */
            if (format == CM_MODEL_DIFFUSERS && !k->to_diffusers) continue;
            OK(convert(at_once ? model : base, to, format, at_once ? types[d] : 0, shard));
            OK(convert(to, back, CM_MODEL_NATIVE, 0, 0));
            same_tensors(base, back);
            same_outputs(base, to);
        }
        ck_assert_uint_eq(entries(dir), k->to_diffusers ? 5 : 4); /* nothing else was left */
    }
}
END_TEST

/* The frequencies of the time embedding are no weights. */
START_TEST(tables_stay)
{
    cm_tensors t;
    OK(convert(write_model(4), in_dir("h.pt"), CM_MODEL_TORCH, CM_F16, 0));
    OK(cmi_tensors_open_file(context, in_dir("h.pt"), CM_INPUT_IN_PLACE, &t));
    for (size_t i = 0; i < t.count; i++)
        ck_assert_int_eq(t.tensors[i].type,
                         strcmp(t.tensors[i].name, "map_noise.freqs") == 0 ? CM_TENSOR_F32 : CM_TENSOR_F16);
    cmi_tensors_close(&t);
}
END_TEST

/* Of the configuration everything comes back that a format has a place for, and a place of ours for the rest. */
START_TEST(what_else_comes_back)
{
    static const char config[] =
        "{\"network\": " ADM "\"image_size\": 8, \"num_res_blocks\": 1, \"channel_mult\": [1], \"num_classes\": 2, "
        "\"attention_resolutions\": [], \"num_head_channels\": 32, \"resblock_updown\": true, \"dropout\": 0.25}, "
        "\"precond\": {\"type\": \"cm\", \"sigma_max\": 50}, \"classes\": [\"cat\", \"dog\"], "
        "\"sampling\": {\"ts\": [0, 106, 200], \"grid\": 201}, \"training\": {\"steps\": 12}}";
    cm_model *m;
    for (int32_t format = CM_MODEL_TORCH; format <= CM_MODEL_DIFFUSERS; format++) {
        cm_save_options o = CM_SAVE_OPTIONS_INIT;
        cm_model_info info = CM_MODEL_INFO_INIT;
        o.format = format;
        o.overwrite = CM_OVERWRITE_YES;
        OK(cm_model_create(context, config, 3, &m));
        OK(cm_model_save(m, in_dir(format == CM_MODEL_TORCH ? "c.pt" : "c"), &o));
        cm_model_free(m);
        OK(cm_model_load(context, in_dir(format == CM_MODEL_TORCH ? "c.pt" : "c"), NULL, &m));
        OK(cm_model_info_get(m, &info));
        ck_assert_str_eq(cm_model_class_name(m, 1), "dog");
        ck_assert(info.sigma_max > 49.999 && info.sigma_max < 50.001);
        static const char *const words[] = {"\"dropout\":0.25", "\"steps\":12", "[0,106,200]", "\"grid\":201"};
        for (int i = 0; i < 4; i++)
            ck_assert_msg(strstr(info.config_json, words[i]) != NULL, "%s lacks %s", info.config_json, words[i]);
        cm_model_free(m);
    }
    size_t size;
    char *text = (char *)read_bytes(in_dir("c/scheduler/scheduler_config.json"), &size);
    ck_assert_ptr_nonnull(strstr(text, "\"num_train_timesteps\": 201"));
    free(text);
}
END_TEST

/* The archive is as PyTorch's own: one root, members aligned, sums that were computed. */
START_TEST(members_of_the_archive)
{
    cm_input in;
    cm_zip_directory d;
    OK(convert(write_model(0), in_dir("x.pt"), CM_MODEL_TORCH, 0, 0));
    OK(cmi_input_file(context, in_dir("x.pt"), CM_INPUT_FETCHED, &in));
    OK(cmi_zip_directory_read(&in, &d));
    const cm_zip_member *first = cmi_zip_directory_find(&d, "archive/data.pkl");
    ck_assert_ptr_nonnull(first);
    for (size_t i = 0; i < d.count; i++) {
        ck_assert_uint_eq(d.members[i].at % 64, 0);
        ck_assert(d.members[i].crc != 0 && d.members[i].at >= first->at);
        OK(cmi_zip_member_check(&in, &d.members[i]));
    }
    static const char *const others[] = {"archive/version", "archive/byteorder", "archive/data/0",
                                         "archive/extra/consistency.json"};
    for (int i = 0; i < 4; i++) ck_assert_ptr_nonnull(cmi_zip_directory_find(&d, others[i]));
    cmi_zip_directory_close(&d);
    cmi_input_close(&in);
}
END_TEST

/* --- refusals --------------------------------------------------------------------------------------- */

/* A model with one value of a tensor in the middle set. */
static cm_status with_value(float value, const char *name, cm_model **out)
{
    char path[300];
    size_t size;
    cm_tensors t;
    cm_load_options o = CM_LOAD_OPTIONS_INIT;
    snprintf(path, sizeof path, "%s", write_model(0));
    OK(cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &t));
    const cm_tensor *tensor = cmi_tensors_find(&t, name);
    ck_assert_ptr_nonnull(tensor);
    size_t at = (size_t)(tensor->data - t.input.mapping.data);
    cmi_tensors_close(&t);
    unsigned char *bytes = read_bytes(path, &size);
    memcpy(bytes + at, &value, sizeof value);
    write_bytes(path, bytes, size);
    free(bytes);
    o.allow_nonfinite = CM_NONFINITE_ALLOW;
    return cm_model_load(context, path, &o, out);
}

START_TEST(too_large_for_the_type)
{
    static const char name[] = "middle_block.1.qkv.weight";
    cm_model *m;
    const size_t before = 1;
    for (int32_t format = 0; format < 3; format++) {
        cm_save_options o = CM_SAVE_OPTIONS_INIT;
        o.format = format;
        o.dtype = CM_F16;
        OK(with_value(1e5f, name, &m));
        FAILS(cm_model_save(m, in_dir("out"), &o), CM_ERR_NUMERIC, name);
        ck_assert_uint_eq(entries(dir), before);
        o.dtype = CM_BF16;
        OK(cm_model_save(m, in_dir("out"), &o));
        OK(cmi_directory_remove(in_dir("out")));
        cm_model_free(m);
        OK(with_value(3.4e38f, name, &m));
        FAILS(cm_model_save(m, in_dir("out"), &o), CM_ERR_NUMERIC, name);
        cm_model_free(m);
        OK(with_value(INFINITY, name, &m)); /* it is one already: nothing is lost */
        OK(cm_model_save(m, in_dir("out"), &o));
        OK(cmi_directory_remove(in_dir("out")));
        cm_model_free(m);
        empty_dir();
    }
}
END_TEST

START_TEST(what_a_format_cannot_say)
{
    static const struct {
        const char *network, *precond, *word;
    } rows[] = {
        {ADM "\"image_size\": 8, \"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": []}",
         "{\"type\": \"cm\"}", "resblock_updown"},
        {ADM "\"image_size\": 8, \"num_res_blocks\": 1, \"channel_mult\": [2], \"attention_resolutions\": [], "
             "\"resblock_updown\": true}",
         "{\"type\": \"cm\"}", "channel_mult"},
        {ADM "\"image_size\": 8, \"num_res_blocks\": 1, \"channel_mult\": [1, 2], \"attention_resolutions\": [1], "
             "\"num_heads\": 2, \"resblock_updown\": true}",
         "{\"type\": \"cm\"}", "num_head_channels"},
        {ADM "\"image_size\": 8, \"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": [], "
             "\"resblock_updown\": true}",
         "{\"type\": \"edm\"}", "preconditioning edm"},
        {ADM "\"image_size\": 8, \"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": [], "
             "\"resblock_updown\": true}",
         "{\"type\": \"cm\", \"time\": \"ln/4\"}", "its time"},
        {"{\"type\": \"dhariwal\", \"img_resolution\": 8, \"img_channels\": 3, \"model_channels\": 32, "
         "\"num_blocks\": 1, "
         "\"channel_mult\": [1], \"attn_resolutions\": []}",
         "{\"type\": \"cm\"}", "network dhariwal"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char config[1024];
        cm_model *m;
        cm_save_options o = CM_SAVE_OPTIONS_INIT;
        o.format = CM_MODEL_DIFFUSERS;
        snprintf(config, sizeof config, "{\"network\": %s, \"precond\": %s}", rows[i].network, rows[i].precond);
        OK(cm_model_create(context, config, 1, &m));
        FAILS(cm_model_save(m, in_dir("f"), &o), CM_ERR_UNSUPPORTED, rows[i].word);
        FAILS(cm_model_save(m, in_dir("f"), &o), CM_ERR_UNSUPPORTED, "native and torch");
        ck_assert_uint_eq(entries(dir), 0);
        cm_model_free(m);
    }
}
END_TEST

START_TEST(options_out_of_range)
{
    cm_model *m;
    OK(cm_model_load(context, write_model(0), NULL, &m));
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.format = 3;
    FAILS(cm_model_save(m, in_dir("x"), &o), CM_ERR_ARGUMENT, "format is 3");
    o.format = -1;
    FAILS(cm_model_save(m, in_dir("x"), &o), CM_ERR_ARGUMENT, "format is -1");
    o.format = 0;
    o.dtype = CM_U8;
    FAILS(cm_model_save(m, in_dir("x"), &o), CM_ERR_ARGUMENT, "dtype is 4");
    o.dtype = 0;
    o.shard_bytes = 10;
    FAILS(cm_model_save(m, in_dir("x"), &o), CM_ERR_ARGUMENT, "shard_bytes is 10");
    o.format = CM_MODEL_DIFFUSERS;
    o.shard_bytes = 1; /* a file for each tensor */
    OK(cm_model_save(m, in_dir("many"), &o));
    same_outputs(in_dir("model-0.safetensors"), in_dir("many"));
    cm_model_free(m);
}
END_TEST

/* --- folders that are there ---------------------------------------------------------------------------- */

START_TEST(what_is_replaced)
{
    const char *model = write_model(0);
    cm_model *m;
    struct stat st;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.format = CM_MODEL_DIFFUSERS;
    OK(cm_model_load(context, model, NULL, &m));
    OK(cmi_directory_make(in_dir("f")));
    OK(cm_model_save(m, in_dir("f/"), &o)); /* an empty folder is none */
    FAILS(cm_model_save(m, in_dir("f"), &o), CM_ERR_IO, "exists");
    o.overwrite = CM_OVERWRITE_YES;
    write_bytes(in_dir("f/unet/diffusion_pytorch_model.fp16.safetensors"), "", 0); /* a variant is part of it */
    ck_assert_int_eq(chmod(in_dir("f"), 0700), 0);
    OK(cm_model_save(m, in_dir("f"), &o));
    ck_assert(stat(in_dir("f"), &st) == 0 && (st.st_mode & 0777) == 0700);
    ck_assert_uint_eq(entries(in_dir("f/unet")), 2);
    ck_assert_int_eq(symlink("f", in_dir("link")), 0);
    OK(cm_model_save(m, in_dir("link"), &o));
    ck_assert(lstat(in_dir("link"), &st) == 0 && S_ISLNK(st.st_mode));
    static const char *const others[] = {"f/notes", "f/unet/notes", "f/scheduler/unet"};
    for (int i = 0; i < 3; i++) {
        write_bytes(in_dir(others[i]), "", 0);
        FAILS(cm_model_save(m, in_dir("f"), &o), CM_ERR_IO, others[i] + 2);
        ck_assert_int_eq(unlink(in_dir(others[i])), 0);
    }
    FAILS(cm_model_save(m, model, &o), CM_ERR_IO, "it is a file");
    FAILS(cm_model_save(m, in_dir("no/f"), &o), CM_ERR_IO, "no/f");
    ck_assert_uint_eq(entries(dir), 3);
    o.format = CM_MODEL_TORCH;
    FAILS(cm_model_save(m, in_dir("f"), &o), CM_ERR_IO, "a directory");
    cm_model_free(m);
}
END_TEST

/* --- stops, and no memory --------------------------------------------------------------------------------- */

typedef struct {
    uint64_t last, total;
    int calls, stop_at;
} watcher;

static int32_t watch(void *user, uint64_t done, uint64_t total)
{
    watcher *w = user;
    ck_assert(done >= w->last && done <= total && (!w->total || total == w->total));
    w->last = done;
    w->total = total;
    return ++w->calls == w->stop_at;
}

START_TEST(a_stop_leaves_nothing)
{
    cm_model *m;
    OK(cm_model_load(context, write_model(0), NULL, &m));
    for (int32_t format = 0; format < 3; format++) {
        watcher w = {0, 0, 0, 0};
        cm_save_options o = CM_SAVE_OPTIONS_INIT;
        o.format = format;
        o.shard_bytes = format == CM_MODEL_DIFFUSERS ? 200000 : 0;
        o.progress = watch;
        o.progress_user = &w;
        OK(cm_model_save(m, in_dir("out"), &o));
        ck_assert(w.calls > 10 && w.last == w.total);
        OK(cmi_directory_remove(in_dir("out")));
        for (int n = w.calls, step = by_effort(n / 3, 1, 1), i = 1; i <= n; i += step) {
            w = (watcher){0, 0, 0, i};
            FAILS(cm_model_save(m, in_dir("out"), &o), CM_ERR_CANCELLED, "out");
            ck_assert_uint_eq(entries(dir), 1);
        }
    }
    cm_model_free(m);
}
END_TEST

static cm_status save_and_load(cm_context *own, const char *model, int32_t format)
{
    cm_model *m = NULL, *again = NULL;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.format = format;
    o.dtype = CM_F16;
    o.shard_bytes = format == CM_MODEL_DIFFUSERS ? 200000 : 0;
    cm_status status = cm_model_load(own, model, NULL, &m);
    if (status == CM_OK) status = cm_model_save(m, in_dir("out"), &o);
    if (status == CM_OK) status = cm_model_load(own, in_dir("out"), NULL, &again);
    cm_model_free(again);
    cm_model_free(m);
    return status;
}

START_TEST(every_allocation_fails)
{
    const char *model = write_model(0);
    const int32_t format = _i / 2;
    memory m;
    cm_context *own;
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 1);
    OK(cm_context_create(&o, &own));
    OK(save_and_load(own, model, format));
    const long idle = m.live, before = m.requests;
    OK(cmi_directory_remove(in_dir("out")));
    OK(save_and_load(own, model, format));
    OK(cmi_directory_remove(in_dir("out")));
    long requests = m.requests - before, step = requests / by_effort(5, 150, 1 << 20) + 1;
    for (long n = 1; n <= requests; n += step) {
        memory_reset(&m);
        m.live = idle;
        m.fail_at = n;
        m.persistent = _i % 2;
        cm_status status = save_and_load(own, model, format);
        ck_assert_msg(status == CM_ERR_MEMORY, "request %ld of %ld failing gave %s: %s", n, requests,
                      cm_status_name(status), cm_last_message());
        ck_assert_msg(m.live == idle, "request %ld failing leaks %ld blocks", n, m.live - idle);
        OK(cmi_directory_remove(in_dir("out")));
        ck_assert_msg(entries(dir) == 1, "request %ld failing leaves something behind", n);
    }
    cm_context_free(own);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

/* --- folders of others ----------------------------------------------------------------------------------- */

static void set_json(const char *path, const char *key, const char *value)
{
    json_t *object = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(object);
    if (value) json_object_set_new(object, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else json_object_del(object, key);
    ck_assert_int_eq(json_dump_file(object, path, 0), 0);
    json_decref(object);
}

/* One argument of one of the three files at a time. */
START_TEST(arguments_of_diffusers)
{
    static const struct {
        const char *file, *key, *value;
        cm_status status;
        const char *word;
    } rows[] = {
        {"unet/config.json", "center_input_sample", "true", CM_ERR_UNSUPPORTED, "center_input_sample"},
        {"unet/config.json", "time_embedding_type", "\"fourier\"", CM_ERR_UNSUPPORTED, "time_embedding_type"},
        {"unet/config.json", "freq_shift", "1", CM_ERR_UNSUPPORTED, "freq_shift"},
        {"unet/config.json", "flip_sin_to_cos", "false", CM_ERR_UNSUPPORTED, "flip_sin_to_cos"},
        {"unet/config.json", "mid_block_scale_factor", "0.5", CM_ERR_UNSUPPORTED, "mid_block_scale_factor"},
        {"unet/config.json", "mid_block_type", "null", CM_ERR_UNSUPPORTED, "mid_block_type"},
        {"unet/config.json", "downsample_type", "\"conv\"", CM_ERR_UNSUPPORTED, "downsample_type"},
        {"unet/config.json", "upsample_type", NULL, CM_ERR_UNSUPPORTED, "upsample_type"},
        {"unet/config.json", "act_fn", "\"gelu\"", CM_ERR_UNSUPPORTED, "act_fn"},
        {"unet/config.json", "norm_num_groups", "16", CM_ERR_UNSUPPORTED, "norm_num_groups"},
        {"unet/config.json", "norm_eps", "1e-6", CM_ERR_UNSUPPORTED, "norm_eps"},
        {"unet/config.json", "add_attention", "false", CM_ERR_UNSUPPORTED, "add_attention"},
        {"unet/config.json", "class_embed_type", "\"timestep\"", CM_ERR_UNSUPPORTED, "class_embed_type"},
        {"unet/config.json", "attn_norm_num_groups", "null", CM_ERR_UNSUPPORTED, "attn_norm_num_groups"},
        {"unet/config.json", "time_embedding_dim", "77", CM_ERR_UNSUPPORTED, "time_embedding_dim"},
        {"unet/config.json", "resnet_time_scale_shift", "\"ada\"", CM_ERR_UNSUPPORTED, "resnet_time_scale_shift"},
        {"unet/config.json", "down_block_types", "[\"DownBlock2D\",\"AttnDownBlock2D\",\"AttnDownBlock2D\"]",
         CM_ERR_UNSUPPORTED, "DownBlock2D"},
        {"unet/config.json", "down_block_types", "[\"AttnDownBlock2D\",\"AttnDownBlock2D\",\"AttnDownBlock2D\"]",
         CM_ERR_UNSUPPORTED, "level 0"},
        {"unet/config.json", "up_block_types", "[\"AttnUpBlock2D\"]", CM_ERR_FORMAT, "up_block_types"},
        {"unet/config.json", "block_out_channels", "[32, 64, -64]", CM_ERR_FORMAT, "block_out_channels"},
        {"unet/config.json", "block_out_channels", "[0, 64, 64]", CM_ERR_FORMAT, "block_out_channels"},
        {"unet/config.json", "block_out_channels", "7", CM_ERR_FORMAT, "block_out_channels"},
        {"unet/config.json", "block_out_channels", "[32, 64, 96]", CM_ERR_SHAPE, "mismatched"},
        {"unet/config.json", "layers_per_block", "2", CM_ERR_SHAPE, "missing"},
        {"unet/config.json", "layers_per_block", "1000000", CM_ERR_FORMAT, "layers_per_block"},
        {"unet/config.json", "layers_per_block", "\"1\"", CM_ERR_FORMAT, "layers_per_block"},
        {"unet/config.json", "attention_head_dim", "7", CM_ERR_SHAPE, "7"},
        {"unet/config.json", "num_class_embeds", "6", CM_ERR_SHAPE, "label_emb"},
        {"unet/config.json", "num_class_embeds", "null", CM_ERR_SHAPE, "label_emb"},
        {"unet/config.json", "sample_size", "[8]", CM_ERR_FORMAT, "sample_size"},
        {"unet/config.json", "sample_size", "-8", CM_ERR_FORMAT, "sample_size"},
        {"unet/config.json", "dropout", "\"none\"", CM_ERR_FORMAT, "dropout"},
        {"unet/config.json", "encoder_hid_dim", "8", CM_ERR_UNSUPPORTED, "encoder_hid_dim"},
        {"unet/config.json", "_class_name", "\"UNet2DConditionModel\"", CM_ERR_UNSUPPORTED, "UNet2DConditionModel"},
        {"unet/config.json", "_class_name", NULL, CM_ERR_FORMAT, "_class_name"},
        {"model_index.json", "_class_name", "\"DDPMPipeline\"", CM_ERR_UNSUPPORTED, "DDPMPipeline"},
        {"model_index.json", "scheduler", "[\"diffusers\", \"DDIMScheduler\"]", CM_ERR_UNSUPPORTED, "DDIMScheduler"},
        {"model_index.json", "unet", "{}", CM_ERR_FORMAT, "unet"},
        {"scheduler/scheduler_config.json", "_class_name", "\"DDIMScheduler\"", CM_ERR_UNSUPPORTED, "DDIMScheduler"},
        {"scheduler/scheduler_config.json", "sigma_max", "\"80\"", CM_ERR_FORMAT, "sigma_max"},
        {"scheduler/scheduler_config.json", "sigma_max", "0.001", CM_ERR_FORMAT, "sigma_max"},
        {"scheduler/scheduler_config.json", "num_train_timesteps", "0", CM_ERR_FORMAT, "num_train_timesteps"},
        /* Other words for the same, and what has no effect. */
        {"unet/config.json", "act_fn", "\"swish\"", CM_OK, ""},
        {"unet/config.json", "sample_size", "null", CM_OK, ""},
        {"unet/config.json", "sample_size", "[16, 16]", CM_OK, ""},
        {"unet/config.json", "freq_shift", "0.0", CM_OK, ""},
        {"unet/config.json", "downsample_padding", "0", CM_OK, ""},
        {"unet/config.json", "time_embedding_dim", "128", CM_OK, ""},
        {"unet/config.json", "a_later_argument", "null", CM_OK, ""},
        {"unet/config.json", "_name_or_path", "\"somewhere\"", CM_OK, ""},
        {"scheduler/scheduler_config.json", "sigma_min", NULL, CM_OK, ""},
    };
    const char *model = write_model(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[300];
        cm_model *m;
        OK(convert(model, in_dir("f"), CM_MODEL_DIFFUSERS, 0, 0));
        snprintf(path, sizeof path, "%s/f/%s", dir, rows[i].file);
        set_json(path, rows[i].key, rows[i].value);
        cm_status status = cm_model_load(context, in_dir("f"), NULL, &m);
        ck_assert_msg(status == rows[i].status, "%s = %s gave %s: %s", rows[i].key, rows[i].value,
                      cm_status_name(status), cm_last_message());
        if (status == CM_OK) cm_model_free(m);
        else
            ck_assert_msg(strstr(cm_last_message(), rows[i].word) != NULL, "'%s' lacks '%s'", cm_last_message(),
                          rows[i].word);
    }
}
END_TEST

#define INDEX "f/unet/diffusion_pytorch_model.safetensors.index.json"

static void set_map(const char *key, const char *value)
{
    json_t *index = json_load_file(in_dir(INDEX), 0, NULL), *map = json_object_get(index, "weight_map");
    ck_assert_ptr_nonnull(map);
    if (value) json_object_set_new(map, key, json_string(value));
    else json_object_del(map, key);
    ck_assert_int_eq(json_dump_file(index, in_dir(INDEX), 0), 0);
    json_decref(index);
}

START_TEST(shards_of_others)
{
    static const struct {
        const char *key, *value;
        cm_status status;
        const char *word;
    } rows[] = {
        {"conv_in.weight", "../config.json", CM_ERR_FORMAT, "beside the index"},
        {"conv_in.weight", "/etc/passwd", CM_ERR_FORMAT, "beside the index"},
        {"conv_in.weight", "..", CM_ERR_FORMAT, "beside the index"},
        {"conv_in.weight", "", CM_ERR_FORMAT, "beside the index"},
        {"conv_in.weight", "a\\b", CM_ERR_FORMAT, "beside the index"},
        {"conv_in.weight", "none.safetensors", CM_ERR_IO, "none.safetensors"},
        {"conv_in.weight", "diffusion_pytorch_model-00002-of-00003.safetensors", CM_ERR_FORMAT, "conv_in.weight"},
        {"conv_in.more", "diffusion_pytorch_model-00001-of-00003.safetensors", CM_ERR_FORMAT, "conv_in.more"},
        {"conv_in.weight", NULL, CM_ERR_FORMAT, "not in weight_map"},
    };
    const char *model = write_model(0);
    cm_model *m;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        OK(convert(model, in_dir("f"), CM_MODEL_DIFFUSERS, 0, 2500000));
        ck_assert_uint_eq(entries(in_dir("f/unet")), 5);
        set_map(rows[i].key, rows[i].value);
        cm_status status = cm_model_load(context, in_dir("f"), NULL, &m);
        ck_assert_msg(status == rows[i].status && strstr(cm_last_message(), rows[i].word), "row %zu gave %s: %s", i,
                      cm_status_name(status), cm_last_message());
    }
    write_bytes(in_dir(INDEX), "{}", 2);
    FAILS(cm_model_load(context, in_dir("f"), NULL, &m), CM_ERR_FORMAT, "weight_map");
    write_bytes(in_dir(INDEX), "[", 1);
    FAILS(cm_model_load(context, in_dir("f"), NULL, &m), CM_ERR_FORMAT, "JSON");
    ck_assert_int_eq(unlink(in_dir(INDEX)), 0);
    FAILS(cm_model_load(context, in_dir("f"), NULL, &m), CM_ERR_IO, "diffusion_pytorch_model");
}
END_TEST

/* PyTorch's files instead of safetensors, variants, the unet alone, copies, and progress over all shards. */
START_TEST(weights_of_all_kinds)
{
    const char *model = write_model(0);
    cm_tensors t;
    cm_model *m;
    cm_load_options o = CM_LOAD_OPTIONS_INIT;
    OK(convert(model, in_dir("f"), CM_MODEL_DIFFUSERS, 0, 0));
    OK(cmi_tensors_open_file(context, in_dir("f/unet/diffusion_pytorch_model.safetensors"), CM_INPUT_IN_PLACE, &t));
    OK(cmi_torch_write(context, in_dir("f/unet/diffusion_pytorch_model.bin"), 0, NULL, t.tensors, t.count, NULL));
    cmi_tensors_close(&t);
    OK(cmi_path_rename(in_dir("f/unet/diffusion_pytorch_model.safetensors"), in_dir("kept")));
    same_outputs(model, in_dir("f"));
    same_outputs(model, in_dir("f/unet"));
    OK(cmi_path_rename(in_dir("f/unet/diffusion_pytorch_model.bin"),
                       in_dir("f/unet/diffusion_pytorch_model.fp16.bin")));
    same_outputs(model, in_dir("f")); /* the only one */
    o.weights = "fp16";
    OK(cm_model_load(context, in_dir("f"), &o, &m));
    cm_model_free(m);
    o.weights = "ema";
    FAILS(cm_model_load(context, in_dir("f"), &o, &m), CM_ERR_ARGUMENT, "ema");
    o.weights = "../x";
    FAILS(cm_model_load(context, in_dir("f"), &o, &m), CM_ERR_ARGUMENT, "no name of a variant");
    o.weights = NULL;
    OK(cmi_path_rename(in_dir("kept"), in_dir("f/unet/diffusion_pytorch_model.non_ema.safetensors")));
    FAILS(cm_model_load(context, in_dir("f"), NULL, &m), CM_ERR_FORMAT, "non_ema");
    OK(cmi_directory_remove(in_dir("f")));
    OK(convert(model, in_dir("f"), CM_MODEL_DIFFUSERS, 0, 200000));
    for (int copy = 0; copy < 2; copy++) {
        watcher w = {0, 0, 0, 0};
        o.copy = copy;
        o.progress = watch;
        o.progress_user = &w;
        OK(cm_model_load(context, in_dir("f"), &o, &m));
        ck_assert(w.calls > 2 && w.last == w.total);
        cm_model_free(m);
        w = (watcher){0, 0, 0, 2};
        FAILS(cm_model_load(context, in_dir("f"), &o, &m), CM_ERR_CANCELLED, "cancelled");
    }
}
END_TEST

/* Names of versions before 0.17, and three parts that are not those of one attention. */
START_TEST(attention_of_others)
{
    enum { OLD, LACKING, TWICE, OTHER_SHAPE, CASES };
    const char *model = write_model(0), *weights = in_dir("f/unet/diffusion_pytorch_model.safetensors");
    static const char *const names[][2] = {
        {".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}};
    for (int k = 0; k < CASES; k++) {
        cm_tensors t;
        cm_model *m;
        cm_tensor list[400];
        char spellings[400][96];
        size_t n = 0;
        OK(convert(model, in_dir("f"), CM_MODEL_DIFFUSERS, 0, 0));
        OK(cmi_path_rename(weights, in_dir("kept")));
        OK(cmi_tensors_open_file(context, in_dir("kept"), CM_INPUT_IN_PLACE, &t));
        for (size_t i = 0; i < t.count; i++) {
            const char *at = NULL;
            int which = -1;
            for (int q = 0; q < 4 && which < 0; q++)
                if ((at = strstr(t.tensors[i].name, names[q][0])) != NULL) which = q;
            list[n] = t.tensors[i];
            if (which >= 0 && (k == OLD || k == TWICE)) {
                snprintf(spellings[n], sizeof *spellings, "%.*s%s%s", (int)(at - t.tensors[i].name),
                         t.tensors[i].name, names[which][1], at + strlen(names[which][0]));
                list[n].name = spellings[n];
                if (k == TWICE) list[++n] = t.tensors[i];
            }
            if (k == LACKING && strcmp(t.tensors[i].name, "mid_block.attentions.0.to_k.bias") == 0) continue;
            if (k == OTHER_SHAPE && strcmp(t.tensors[i].name, "mid_block.attentions.0.to_k.bias") == 0)
                list[n].rank = 2, list[n].shape[1] = 1;
            n++;
        }
        OK(cmi_safetensors_write(context, weights, 0, NULL, list, n, NULL));
        cmi_tensors_close(&t);
        ck_assert_int_eq(unlink(in_dir("kept")), 0);
        if (k == OLD) same_outputs(model, in_dir("f"));
        if (k == LACKING) FAILS(cm_model_load(context, in_dir("f"), NULL, &m), CM_ERR_SHAPE, "lacks its to_k");
        if (k == TWICE) FAILS(cm_model_load(context, in_dir("f"), NULL, &m), CM_ERR_FORMAT, "twice");
        if (k == OTHER_SHAPE) FAILS(cm_model_load(context, in_dir("f"), NULL, &m), CM_ERR_SHAPE, "differ in shape");
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("save");
    TCase *t = tcase_create("files"), *memories = tcase_create("memory");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_checked_fixture(memories, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_set_timeout(memories, 1200);
    tcase_add_test(t, nearest_ties_to_even);
    tcase_add_loop_test(t, out_and_back, 0, KINDS);
    tcase_add_test(t, tables_stay);
    tcase_add_test(t, what_else_comes_back);
    tcase_add_test(t, members_of_the_archive);
    tcase_add_test(t, too_large_for_the_type);
    tcase_add_test(t, what_a_format_cannot_say);
    tcase_add_test(t, options_out_of_range);
    tcase_add_test(t, what_is_replaced);
    tcase_add_test(t, a_stop_leaves_nothing);
    tcase_add_test(t, arguments_of_diffusers);
    tcase_add_test(t, shards_of_others);
    tcase_add_test(t, weights_of_all_kinds);
    tcase_add_test(t, attention_of_others);
    tcase_add_loop_test(memories, every_allocation_fails, 0, 6);
    suite_add_tcase(s, t);
    suite_add_tcase(s, memories);
    return s;
}
