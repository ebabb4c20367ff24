/* Configurations of networks and preconditionings: what is refused and how it is said, boundaries, default times. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>

#include "diffusion/model.h"
#include "diffusion/times.h"
#include "support/fill.h"

START_TEST(configurations_refused)
{
    static const struct {
        const char *json, *word;
    } rows[] = {
        {"{}", "type"},
        {"{\"type\":\"unet\"}", "adm, songunet, dhariwal"},
        {"{\"type\":\"songunet\"}", "img_resolution"},
        {"{\"type\":\"songunet\",\"img_resolution\":32}", "in_channels"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"model_chanels\":3}", "model_chanels"},
        {"{\"type\":\"songunet\",\"img_resolution\":\"32\",\"img_channels\":3}", "integer"},
        {"{\"type\":\"songunet\",\"img_resolution\":32.5,\"img_channels\":3}", "integer"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"encoder_type\":\"skips\"}",
         "standard, skip, residual"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"channel_mult\":[]}", "empty"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"channel_mult\":[0]}", "channel_mult 0"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"resample_filter\":[1]}", "taps"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"model_type\":\"DhariwalUNet\"}",
         "expected one of SongUNet"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"second_input\":\"time\"}",
         "'second_input' has no effect without second_time"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"second_time\":\"tower\",\"embedding_"
         "type\":"
         "\"fourier\"}",
         "second_time goes with embedding_type \"positional\""},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"second_time\":\"both\"}", "second_time"},
        {"{\"type\":\"edm2\",\"img_resolution\":32,\"img_channels\":3,\"second_time\":\"concat\"}", "second_time"},
        {"{\"type\":\"edm2\",\"img_resolution\":32,\"img_channels\":3,\"embedding_type\":\"positional\","
         "\"bandwidth\":0.5}",
         "'bandwidth' has no effect"},
        {"{\"type\":\"dhariwal\",\"img_resolution\":32,\"img_channels\":3,\"second_input\":\"time\"}",
         "'second_input' has no effect without second_time"},
        {"{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":3,\"double_norm\":true}",
         "it needs adaptive_scale"},
        {"{\"type\":\"adm\",\"image_size\":16,\"in_channels\":3,\"model_channels\":32,\"out_channels\":3,"
         "\"num_res_blocks\":1,\"attention_resolutions\":[],\"double_norm\":true}",
         "it needs use_scale_shift_norm"},
        {"{\"type\":\"dhariwal\",\"img_resolution\":32,\"img_channels\":3,\"encoder_type\":\"skip\"}",
         "encoder_type"},
        {"{\"type\":\"songunet\",\"img_resolution\":28,\"img_channels\":3,\"patch_size\":8}",
         "28 points a side cannot be cut into patches of patch_size 8"},
        {"{\"type\":\"dhariwal\",\"img_resolution\":28,\"img_channels\":3,\"patch_size\":2}", "patch_size"},
        {"{\"type\":\"adm\",\"image_size\":64}", "missing"},
        {"{\"type\":\"adm\",\"image_size\":64,\"use_new_attention_order\":false}", "attention_layout"},
        {"{\"type\":\"adm\",\"image_size\":64,\"num_classes\":0}", "num_classes"},
        {"[]", "object"},
    };
    cm_net_config c;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *n = json_loads(rows[i].json, 0, NULL);
        FAILS(cmi_net_config_read(n, &c), CM_ERR_FORMAT, rows[i].word);
        json_decref(n);
    }
}
END_TEST

START_TEST(null_members_are_absent)
{
    json_t *n =
        json_loads("{\"type\":\"adm\",\"image_size\":8,\"in_channels\":3,\"model_channels\":32,\"out_channels\":3,"
                   "\"num_res_blocks\":1,"
                   "\"attention_resolutions\":[],\"num_classes\":null,\"use_fp16\":true,\"channel_mult\":[0.5,1]}",
                   0, NULL);
    cm_net_config c;
    OK(cmi_net_config_read(n, &c));
    ck_assert(c.num_classes == 0 && c.levels == 2 && c.num_heads_upsample == -1 && c.conv_resample == 1);
    json_decref(n);
}
END_TEST

START_TEST(preconditionings_refused)
{
    static const struct {
        const char *json;
        cm_status status;
        const char *word;
    } rows[] = {
        {"{}", CM_ERR_FORMAT, "type"},
        {"{\"type\":\"trigflow\",\"time\":\"ln/4\"}", CM_ERR_FORMAT, "no effect"},
        {"{\"type\":\"edm\",\"sigma\":1}", CM_ERR_FORMAT, "'sigma'"},
        {"{\"type\":\"edm\",\"M\":5}", CM_ERR_FORMAT, "no effect"},
        {"{\"type\":\"edm\",\"beta_d\":5}", CM_ERR_FORMAT, "no effect"},
        {"{\"type\":\"vp\",\"C_1\":0.1}", CM_ERR_FORMAT, "no effect"},
        {"{\"type\":\"vp\",\"time\":\"250ln\"}", CM_ERR_FORMAT, "no effect"},
        {"{\"type\":\"cm\",\"sigma_min\":5,\"sigma_max\":2}", CM_ERR_FORMAT, "below"},
        {"{\"type\":\"cm\",\"sigma_data\":0}", CM_ERR_FORMAT, "sigma_data"},
        {"{\"type\":\"cm\",\"time\":\"ln\"}", CM_ERR_FORMAT, "250ln"},
    };
    cm_context *context;
    cm_precond p;
    OK(cm_context_create(NULL, &context));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *n = json_loads(rows[i].json, 0, NULL);
        FAILS(cmi_precond_read(context, n, 0, &p), rows[i].status, rows[i].word);
        json_decref(n);
    }
    cm_context_free(context);
}
END_TEST

/* f(x, eps) = x for cm at float32(0.002), and for those that have it at 0, bit for bit. */
START_TEST(boundary_is_the_identity)
{
    static const struct {
        const char *precond, *times;
        float at;
    } rows[] = {{"cm", "", 0.002f},
                {"ecm", "", 0},
                {"trigflow", "", 0},
                {"average-velocity", ", \"second_time\": \"concat\"", 0},
                {"imm", ", \"second_time\": \"tower\"", 0},
                {"edm-flow", ", \"second_time\": \"tower\"", 0}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        char text[400];
        (void)snprintf(
            text, sizeof text,
            "{\"type\": \"songunet\", \"img_resolution\": 16, \"img_channels\": 3, \"model_channels\": 16, "
            "\"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [8]%s}",
            rows[k].times);
        json_t *network = json_loads(text, 0, NULL), *precond = json_pack("{s:s}", "type", rows[k].precond);
        cm_model *m = fill_model(NULL, network, precond, 16, 16, 0, FILL_HASH, 3);
        float x[768], y[768];
        uint64_t seed = seeded(8);
        ck_assert_msg(m != NULL, "%s: %s", rows[k].precond, cm_last_message());
        for (int i = 0; i < 768; i++) x[i] = random_float(&seed) * 3;
        OK(cm_model_denoise(m, 1, x, &rows[k].at, NULL, y));
        ck_assert_msg(memcmp(x, y, sizeof x) == 0, "%s", rows[k].precond);
        fill_model_free(m);
        json_decref(network), json_decref(precond);
    }
}
END_TEST

/* Two steps by default: the published second levels. */
START_TEST(default_times)
{
    static const struct {
        const cm_net_family *family;
        int side;
        const char *training;
        double second;
    } rows[] = {{&cmi_net_adm, 64, "{}", 1.382368},   {&cmi_net_adm, 64, "{\"objective\":\"ct\"}", 1.912844},
                {&cmi_net_adm, 256, "{}", 4.365562},  {&cmi_net_adm, 256, "{\"objective\":\"ct\"}", 3.991219},
                {&cmi_net_songunet, 32, "{}", 0.821}, {&cmi_net_dhariwal, 32, "{}", 0.821},
                {&cmi_net_songunet, 64, "{}", 0}};
    cm_model m;
    cm_times times;
    cm_sample_options o;
    memset(&m, 0, sizeof m);
    OK(cm_context_create(NULL, &m.context));
    json_t *cm = json_pack("{s:s}", "type", "cm");
    OK(cmi_precond_read(m.context, cm, 0, &m.precond));
    cm_sample_options_init(&o, sizeof o);
    o.method = CM_METHOD_MULTISTEP;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        m.net.family = rows[i].family;
        m.height = m.width = rows[i].side;
        m.file.config = json_pack("{s:o}", "training", json_loads(rows[i].training, 0, NULL));
        OK(cmi_sampling_defaults_read(m.file.config, &m.net, &m.precond, rows[i].side, &m.sampling));
        if (rows[i].second > 0) {
            OK(cmi_times_resolve(&m, &o, &times));
            ck_assert(times.solver.n == 2 && times.solver.sigma[0] == 80);
            ck_assert_double_le(fabs(times.solver.sigma[1] - rows[i].second), 1e-6);
            cmi_times_release(&m, &times);
        } else {
            FAILS(cmi_times_resolve(&m, &o, &times), CM_ERR_ARGUMENT, "no default times");
        }
        json_decref(m.file.config);
    }
    json_decref(cm);
    cm_context_free(m.context);
}
END_TEST

START_TEST(second_times_need_their_precond)
{
#define SMALL                                                                                                        \
    "\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": 8, "      \
    "\"channel_mult\": [1], \"num_blocks\": 1"
    cm_model *m;
    FAILS(cm_model_create(NULL, "{" SMALL ", \"second_time\": \"concat\"}, \"precond\": {\"type\": \"edm\"}}", 1, &m),
          CM_ERR_FORMAT, "not \"edm\"");
    FAILS(cm_model_create(NULL, "{" SMALL "}, \"precond\": {\"type\": \"average-velocity\"}}", 1, &m), CM_ERR_FORMAT,
          "needs a network with a second_time");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("configs");
    TCase *t = tcase_create("configs");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, second_times_need_their_precond);
    tcase_add_test(t, configurations_refused);
    tcase_add_test(t, null_members_are_absent);
    tcase_add_test(t, preconditionings_refused);
    tcase_add_test(t, boundary_is_the_identity);
    tcase_add_test(t, default_times);
    suite_add_tcase(s, t);
    return s;
}
