/* Where weights lie: those of every format stay in the mapped file, in the type that the file has, until a plan packs
 * them, and leave memory again behind it; and files of safetensors whose configuration is given aside, in every type
 * and for every family. */
#include "support/suite.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "diffusion/model.h"
#include "io/safetensors.h"
#include "support/memory.h"
#include "support/snapshot_file.h"
#include "support/tensors.h"
#include "tensor/convert.h"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

/* --- models and their files ------------------------------------------------------------------- */

static cm_model *made(cm_context *of, const char *config)
{
    cm_model *fresh, *m;
    uint64_t state = 11;
    json_t *json = json_loads(config, 0, NULL);
    ck_assert_ptr_nonnull(json);
    OK(cmi_model_make(of, json, 3, NULL, &fresh));
    size_t *offsets = calloc((size_t)fresh->graph->n_params, sizeof *offsets);
    size_t n = cmi_param_offsets(fresh->graph, offsets);
    float *values = calloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = 0.05f * random_float(&state);
    OK(cmi_model_make(of, json, 3, values, &m)); /* fresh ones end in zeros */
    cm_model_free(fresh);
    free(offsets);
    free(values);
    json_decref(json);
    return m;
}

static const cm_tensor_type types[] = {CM_TENSOR_F32, CM_TENSOR_F16, CM_TENSOR_BF16, CM_TENSOR_F64};
enum { TYPES = sizeof types / sizeof *types };

/* `values` in a type, and what they are after it. */
static unsigned char *stored(cm_tensor_type type, float *values, size_t n)
{
    unsigned char *bytes = calloc(n + 1, cmi_tensor_type_size(type));
    for (size_t i = 0; i < n; i++) {
        double wide = (double)values[i];
        if (type == CM_TENSOR_F64) memcpy(bytes + 8 * i, &wide, 8);
        else if (type == CM_TENSOR_F32) memcpy(bytes + 4 * i, &values[i], 4);
        else if (type == CM_TENSOR_F16) cmi_f32_to_f16(1, &values[i], bytes + 2 * i);
        else cmi_f32_to_bf16(1, &values[i], bytes + 2 * i);
        if (type == CM_TENSOR_F16) cmi_f16_to_f32(1, bytes + 2 * i, &values[i]);
        if (type == CM_TENSOR_BF16) cmi_bf16_to_f32(1, bytes + 2 * i, &values[i]);
    }
    return bytes;
}

/* All parameters in a type, under their names behind a prefix; *rounded gets what they are then. */
static size_t in_type(const cm_model *m, cm_tensor_type type, const char *prefix, cm_tensor *out, float **rounded)
{
    size_t n = 0;
    for (int i = 0; i < m->graph->n_params; i++) {
        const cm_param_desc *p = &m->graph->params[i];
        char *name = malloc(strlen(prefix) + strlen(p->name) + 1);
        if (p->constant) {
            free(name);
            continue;
        }
        sprintf(name, "%s%s", prefix, p->name);
        out[n] = cmi_checkpoint_describe(p, name, NULL);
        rounded[n] = malloc((out[n].count + 1) * sizeof(float));
        OK(cm_model_param_read(m, n, out[n].count, rounded[n]));
        out[n].data = stored(type, rounded[n], out[n].count);
        out[n].type = type;
        out[n].bytes = out[n].count * cmi_tensor_type_size(type);
        n++;
    }
    return n;
}

static void drop(cm_tensor *t, float **rounded, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free((char *)(uintptr_t)t[i].name);
        free((unsigned char *)(uintptr_t)t[i].data);
        free(rounded[i]);
    }
}

enum { MOST = 400 };

/* --- a configuration given aside --------------------------------------------------------------- */

static const char *const families[] = {
    "{\"network\": {\"type\": \"adm\", \"image_size\": 8, \"in_channels\": 3, \"out_channels\": 3, "
    "\"model_channels\": "
    "32, \"num_res_blocks\": 1, \"channel_mult\": [1, 2], \"attention_resolutions\": [2], \"num_heads\": 2, "
    "\"num_classes\": 4, \"use_scale_shift_norm\": true, \"resblock_updown\": true}, \"precond\": {\"type\": "
    "\"cm\"}}",
    "{\"network\": {\"type\": \"adm\", \"image_size\": 8, \"in_channels\": 1, \"out_channels\": 1, "
    "\"model_channels\": "
    "32, \"num_res_blocks\": 1, \"channel_mult\": [1, 2], \"attention_resolutions\": [1, 2], \"attention_layout\": "
    "\"per_head\", \"num_heads\": 4}, \"precond\": {\"type\": \"edm\"}, \"image\": {\"channels\": 1, \"height\": 8, "
    "\"width\": 8}}",
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, \"model_channels\": 16, "
    "\"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [4], \"label_dim\": 3, \"augment_dim\": 9}, "
    "\"precond\": {\"type\": \"vp\"}}",
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, \"model_channels\": 16, "
    "\"channel_mult\": [2, 2], \"num_blocks\": 2, \"attn_resolutions\": [8], \"embedding_type\": \"fourier\", "
    "\"channel_mult_noise\": 2, \"encoder_type\": \"residual\", \"decoder_type\": \"skip\", \"resample_filter\": [1, "
    "3, "
    "3, 1]}, \"precond\": {\"type\": \"ve\"}}",
    "{\"network\": {\"type\": \"dhariwal\", \"img_resolution\": 8, \"img_channels\": 3, \"model_channels\": 64, "
    "\"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [4], \"label_dim\": 5}, \"precond\": "
    "{\"type\": \"ecm\"}}"};
enum { FAMILIES = sizeof families / sizeof *families };

static void evaluate(cm_model *m, float *out)
{
    enum { N = 2 };
    float x[N * 3 * 8 * 8], sigma[N] = {0.4f, 9};
    const int32_t labels[N] = {1, 2};
    for (int i = 0; i < N * 3 * 8 * 8; i++) x[i] = (float)(i % 19) / 9 - 1;
    OK(cm_model_denoise(m, N, x, sigma, m->net.num_classes ? labels : NULL, out));
}

/* The same network with the rounded values, laid out as a block. */
static cm_model *with_values(const cm_model *like, float *const *values)
{
    cm_model *m;
    size_t *offsets = calloc((size_t)like->graph->n_params, sizeof *offsets), k = 0;
    float *all = calloc(cmi_param_offsets(like->graph, offsets), sizeof *all);
    for (int i = 0; i < like->graph->n_params; i++)
        if (!like->graph->params[i].constant)
            memcpy(all + offsets[i], values[k++], cmi_param_elements(&like->graph->params[i]) * sizeof *all);
    OK(cmi_model_make(context, like->file.config, 3, all, &m));
    free(offsets);
    free(all);
    return m;
}

START_TEST(safetensors_aside)
{
    static const char *const prefixes[] = {"", "model."};
    for (int f = 0; f < FAMILIES; f++)
        for (int k = 0; k < TYPES; k++) {
            cm_tensor t[MOST];
            float *rounded[MOST], want[2 * 3 * 8 * 8] = {0}, got[2 * 3 * 8 * 8] = {0};
            char path[] = "/tmp/cm-weights-XXXXXX";
            cm_model *m = made(context, families[f]), *loaded, *reference;
            cm_load_options o = CM_LOAD_OPTIONS_INIT;
            cm_model_info info = CM_MODEL_INFO_INIT;
            size_t n = in_type(m, types[k], f < 2 ? "" : prefixes[k % 2], t, rounded);
            close(mkstemp(path));
            OK(cmi_safetensors_write(context, path, CM_OVERWRITE_YES, NULL, t, n, NULL));
            o.config_json = families[f];
            OK(cm_model_load(context, path, &o, &loaded));
            OK(cm_model_info_get(loaded, &info));
            uint64_t bytes = 0;
            for (size_t i = 0; i < n; i++) {
                float *values = malloc((t[i].count + 1) * sizeof *values);
                OK(cm_model_param_read(loaded, i, t[i].count, values));
                ck_assert_msg(memcmp(values, rounded[i], t[i].count * sizeof *values) == 0, "%s", t[i].name);
                bytes += t[i].bytes;
                free(values);
            }
            ck_assert_uint_eq(info.weight_bytes, bytes);
            reference = with_values(m, rounded);
            evaluate(reference, want);
            evaluate(loaded, got);
            ck_assert_msg(memcmp(got, want, sizeof want) == 0, "family %d in %s", f, cmi_tensor_type_name(types[k]));
            cm_model_free(reference);
            cm_model_free(loaded);
            cm_model_free(m);
            drop(t, rounded, n);
            unlink(path);
        }
}
END_TEST

/* --- in the mapping ----------------------------------------------------------------------------- */

/* Bytes of the file, or of the files in the folder, that are in memory. */
static size_t resident(const char *path)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[1024];
    size_t sum = 0, size;
    int ours = 0;
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        if (strchr(line, '-') && strchr(line, '-') < line + 17) ours = strstr(line, path) != NULL;
        if (ours && sscanf(line, "Rss: %zu kB", &size) == 1) sum += size << 10;
    }
    fclose(f);
    return sum;
}

/* About 2.6 million values: 5 MB as halves. */
#define LARGE_SONG                                                                                                   \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, \"model_channels\": 96, "    \
    "\"channel_mult\": [1, 1], \"num_blocks\": 1, \"attn_resolutions\": [4]}, \"precond\": {\"type\": \"edm\"}}"
#define LARGE_ADM                                                                                                    \
    "{\"network\": {\"type\": \"adm\", \"image_size\": 16, \"in_channels\": 3, \"out_channels\": 3, "                \
    "\"model_channels\": 64, \"num_res_blocks\": 1, \"channel_mult\": [1, 2], \"attention_resolutions\": [2], "      \
    "\"num_head_channels\": 64, \"resblock_updown\": true, \"use_scale_shift_norm\": true}, \"precond\": "           \
    "{\"type\": "                                                                                                    \
    "\"cm\"}}"

/* What a model takes that is loaded from the path: the context's memory and resident bytes of its files. */
typedef struct {
    size_t weights; /* as the file holds them */
    long long loaded, sampled;
    size_t resident_loaded, resident_sampled;
} taken;

/* Whether all bytes of a tensor are read from a mapped file. */
static int is_mapped(const cm_tensor *t)
{
    return t->data && t->from && cmi_input_is_mapped(&t->from->input, t->data);
}

static taken take(const char *path, const char *config, int in_place)
{
    memory counted;
    cm_context *own;
    cm_model *m;
    cm_load_options o = CM_LOAD_OPTIONS_INIT;
    cm_model_info info = CM_MODEL_INFO_INIT;
    taken t;
    memory_reset(&counted);
    cm_context_options co = memory_options(&counted, 1);
    OK(cm_context_create(&co, &own));
    long long base = counted.bytes;
    o.config_json = config;
    OK(cm_model_load(own, path, &o, &m));
    OK(cm_model_info_get(m, &info));
    t.weights = info.weight_bytes;
    t.loaded = counted.peak - base;
    t.resident_loaded = resident(path);
    for (int i = 0; in_place && i < m->graph->n_params; i++) {
        const cm_tensor *tensor = cmi_checkpoint_tensor(&m->sources[i]);
        ck_assert_msg(!tensor || is_mapped(tensor), "%s: '%s' is not in the mapping", path, tensor->name);
    }
    float x[3 * 16 * 16] = {0}, sigma = 2, out[3 * 16 * 16];
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, out));
    t.sampled = counted.bytes - base;
    t.resident_sampled = resident(path);
    cm_model_free(m);
    cm_context_free(own);
    return t;
}

/* `whole` is what packed weights of float32 take beside everything else. */
static void expect(const char *what, const taken *t, long long whole, int is_half)
{
    /* Matrices of float32 are used where they are; everything else has a copy of its own by then. */
    const size_t kept = t->weights / (is_half ? 20 : 4) + (384 << 10);
    ck_assert_msg(t->loaded < (long long)t->weights / 4 + (256 << 10), "%s: loading took %lld bytes", what,
                  t->loaded);
    ck_assert_msg(t->resident_loaded < t->weights / 4 + (256 << 10), "%s: %zu bytes stay resident", what,
                  t->resident_loaded);
    ck_assert_msg(t->resident_sampled < kept, "%s: %zu bytes stay resident behind packing", what,
                  t->resident_sampled);
    ck_assert_msg(t->sampled < whole + whole / 8, "%s: sampling keeps %lld bytes, from float32 %lld", what,
                  t->sampled, whole);
}

static void save(cm_model *m, const char *path, int32_t format, int32_t dtype, uint64_t shard)
{
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES;
    o.format = format;
    o.dtype = dtype;
    o.shard_bytes = shard;
    OK(cm_model_save(m, path, &o));
}

static void remove_folder(const char *path)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(mapped_not_copied)
{
    static const int32_t dtypes[] = {CM_F32, CM_F16, CM_BF16};
    static const char *const names[] = {"float32", "float16", "bfloat16"};
    static const struct {
        const char *what, *config;
        int32_t format;
        uint64_t shard;
    } rows[] = {{"safetensors", LARGE_SONG, CM_MODEL_NATIVE, 0},
                {"PyTorch", LARGE_ADM, CM_MODEL_TORCH, 0},
                {"PyTorch of EDM's names", LARGE_SONG, CM_MODEL_TORCH, 0},
                {"diffusers", LARGE_ADM, CM_MODEL_DIFFUSERS, 0},
                {"diffusers in shards", LARGE_ADM, CM_MODEL_DIFFUSERS, 1 << 20}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        long long whole = 0;
        for (int k = 0; k < 3; k++) {
            char folder[] = "/tmp/cm-weights-XXXXXX", path[100], what[80];
            cm_model *m = made(context, rows[r].config);
            ck_assert_ptr_nonnull(mkdtemp(folder));
            snprintf(path, sizeof path, "%s/model", folder);
            snprintf(what, sizeof what, "%s, %s", rows[r].what, names[k]);
            save(m, path, rows[r].format, dtypes[k], rows[r].shard);
            cm_model_free(m);
            taken t = take(path, NULL, rows[r].format != CM_MODEL_DIFFUSERS);
            if (k == 0) whole = t.sampled;
            expect(what, &t, whole, k > 0);
            remove_folder(folder);
        }
    }
}
END_TEST

/* In pieces of a page: of a file that was written at once Linux keeps large blocks, and one access makes all of a
 * block resident. */
static void write_pieces(const char *path, const block *file)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    for (size_t at = 0; at < file->size; at += 4096) {
        size_t n = file->size - at < 4096 ? file->size - at : 4096;
        ck_assert_uint_eq(fwrite(file->bytes + at, 1, n, f), n);
        ck_assert_int_eq(fflush(f), 0);
    }
    fclose(f);
}

/* A snapshot's tensors lie in streams inside of its pickle. */
START_TEST(snapshots_too)
{
    char path[] = "/tmp/cm-weights-XXXXXX";
    cm_model *m = made(context, LARGE_SONG);
    const snapshot how = {.wrapper = "EDMPrecond", .network = "SongUNet"};
    block file = snapshot_pickle(m, "ema", &how);
    close(mkstemp(path));
    write_pieces(path, &file);
    cm_model_free(m);
    free(file.bytes);
    taken t = take(path, NULL, 1);
    expect("EDM's snapshot", &t, t.sampled, 0);
    unlink(path);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("weights");
    TCase *t = tcase_create("weights");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, safetensors_aside);
    tcase_add_test(t, mapped_not_copied);
    tcase_add_test(t, snapshots_too);
    suite_add_tcase(s, t);
    return s;
}
