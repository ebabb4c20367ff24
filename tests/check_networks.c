/* Networks from the names and shapes of their tensors, as published and of our own, and whole models of files that do
 * not say a word about them. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "diffusion/model.h"
#include "nets/net.h"
#include "support/files.h"
#include "support/keys.h"
#include "support/torch_file.h"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

/* --- networks by their tensors ------------------------------------------------------------------- */

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
    static listing l;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_tensors t = {.context = context};
        t.input.name = (char *)(uintptr_t)rows[i].keys;
        read_listing(rows[i].keys, &l);
        for (int n = 0; n < l.n; n++) OK(keys_add_line(&t, l.line[n]));
        expect_network(&t, rows[i].network);
        cmi_free(context, t.tensors);
    }
}
END_TEST

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
            OK(keys_add(&t, m->graph->params[k].name, m->graph->params[k].rank, m->graph->params[k].shape));
        expect_network(&t, networks[i]);
        cmi_free(context, t.tensors);
        cm_model_free(m);
        json_decref(config);
    }
}
END_TEST

/* As many tensors as a file may have, nearly EDM2's: that it is none takes no longer than reading their names. */
START_TEST(nearly_a_network)
{
    static char names[CM_TENSORS_MAX][16];
    const int64_t shape[2] = {4, 4};
    cm_tensors t = {.context = context};
    cm_recognised r = {.network = NULL};
    OK(keys_add(&t, "emb_noise.weight", 2, shape));
    OK(keys_add(&t, "out_gain", 0, NULL));
    while (t.count < CM_TENSORS_MAX) {
        snprintf(names[t.count], sizeof *names, "enc.%zu", t.count);
        OK(keys_add(&t, names[t.count], 2, shape));
    }
    const clock_t began = clock();
    for (size_t i = 0; cmi_net_family_at(i); i++) OK(cmi_net_family_at(i)->recognise(&t, &r));
    const double took = (double)(clock() - began) / CLOCKS_PER_SEC;
    ck_assert_ptr_null(r.network);
    /* A search of all names for each of 65,536 sides takes 17 s. Slow tools take longer. */
    ck_assert_msg(took < by_effort(200, 2, 2), "it took %g s", took);
    cmi_free(context, t.tensors);
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

Suite *make_suite(void)
{
    Suite *s = suite_create("networks");
    TCase *t = tcase_create("networks");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, published_networks);
    tcase_add_test(t, published_models);
    tcase_add_test(t, two_times);
    tcase_add_test(t, towers_and_widths);
    tcase_add_test(t, networks_of_all_kinds);
    tcase_add_test(t, nearly_a_network);
    tcase_add_test(t, whole_models);
    suite_add_tcase(s, t);
    return s;
}
