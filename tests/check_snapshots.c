/* Snapshots of EDM's code and its successors: each wrapper and network, what stands beside them, classes that are not
 * ours, and default noise levels of published models. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "diffusion/schedule.h"
#include "diffusion/times.h"
#include "nets/published.h"
#include "support/damage.h"
#include "support/files.h"
#include "support/snapshot_file.h"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

/* --- networks and wrappers ---------------------------------------------------------------------- */

#define SONG                                                                                                         \
    "{\"type\": \"songunet\", \"img_resolution\": 8, \"in_channels\": 3, \"out_channels\": 3, \"model_channels\": "  \
    "4, "                                                                                                            \
    "\"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [4]"
#define NCSN                                                                                                         \
    ", \"embedding_type\": \"fourier\", \"channel_mult_noise\": 2, \"encoder_type\": \"residual\", "                 \
    "\"resample_filter\": [1, 3, 3, 1]}"
#define DHARIWAL                                                                                                     \
    "{\"type\": \"dhariwal\", \"img_resolution\": 8, \"in_channels\": 3, \"model_channels\": 64, \"channel_mult\": " \
    "[1], "                                                                                                          \
    "\"num_blocks\": 1, \"attn_resolutions\": [], \"label_dim\": 3, \"out_channels\": "

static cm_status load(const block *file, const char *weights, cm_model **out)
{
    cm_load_options o = CM_LOAD_OPTIONS_INIT;
    o.weights = weights;
    return cm_model_load_memory(context, file->bytes, file->size, &o, out);
}

static void same_outputs(cm_model *a, cm_model *b)
{
    enum { N = 2, VALUES = N * 3 * 8 * 8 };
    float x[VALUES], sigma[N] = {0.3f, 20}, u[VALUES], v[VALUES];
    int32_t labels[N] = {2, 0};
    for (int i = 0; i < VALUES; i++) x[i] = (float)(i % 17) / 8 - 1;
    OK(cm_model_denoise(a, N, x, sigma, a->net.num_classes ? labels : NULL, u));
    OK(cm_model_denoise(b, N, x, sigma, a->net.num_classes ? labels : NULL, v));
    ck_assert_mem_eq(u, v, sizeof u);
}

/* Fresh gains are 0, and the network then gives 0. */
static void fill_gains(cm_model *m)
{
    for (int i = 0; i < m->graph->n_params; i++)
        if (m->graph->params[i].rank == 0) *(float *)(uintptr_t)m->sources[i].data = 0.75f;
}

static void round_to_half(cm_model *m)
{
    for (int i = 0; i < m->graph->n_params; i++) {
        float *values = (float *)(uintptr_t)m->sources[i].data;
        uint16_t half;
        for (size_t k = 0; k < cmi_param_elements(&m->graph->params[i]); k++) {
            cmi_f32_to_f16(1, &values[k], &half);
            cmi_f16_to_f32(1, &half, &values[k]);
        }
    }
}

START_TEST(wrappers)
{
    static const struct {
        const char *wrapper, *class, *network, *attributes, *precond;
        int by_place;
    } rows[] = {
        {"EDMPrecond", "SongUNet", SONG "}", "{\"sigma_min\": 0, \"sigma_max\": \"inf\", \"sigma_data\": 0.5}",
         "{\"type\": \"edm\"}", 0},
        {"EDMPrecond", "SongUNet", SONG NCSN, "{\"sigma_min\": 0.01, \"sigma_max\": 50, \"sigma_data\": 0.7}",
         "{\"type\": \"edm\", \"sigma_min\": 0.01, \"sigma_max\": 50, \"sigma_data\": 0.7}", 1},
        {"EDMPrecond", "DhariwalUNet", DHARIWAL "3}", "{\"sigma_data\": 0.5}", "{\"type\": \"edm\"}", 1},
        {"ECMPrecond", "SongUNet", SONG "}", "{\"sigma_min\": 0, \"sigma_max\": \"inf\"}", "{\"type\": \"ecm\"}", 0},
        {"ECMPrecond", "SongUNet", SONG "}", "{\"sigma_min\": 0.003, \"sigma_max\": \"inf\"}",
         "{\"type\": \"ecm\", \"boundary\": 0.003}", 0},
        {"VPPrecond", "SongUNet", SONG "}", "{\"beta_d\": 19, \"beta_min\": 0.2, \"M\": 500, \"epsilon_t\": 0.0001}",
         "{\"type\": \"vp\", \"beta_d\": 19, \"beta_min\": 0.2, \"M\": 500, \"epsilon_t\": 0.0001}", 0},
        {"VEPrecond", "SongUNet", SONG NCSN, "{\"sigma_min\": 0.03, \"sigma_max\": 90}",
         "{\"type\": \"ve\", \"sigma_min\": 0.03, \"sigma_max\": 90}", 0},
        {"iDDPMPrecond", "DhariwalUNet", DHARIWAL "6}", "{\"C_1\": 0.001, \"C_2\": 0.008, \"M\": 700}",
         "{\"type\": \"iddpm\", \"M\": 700}", 0},
        {"Precond", "SongUNet", SONG "}", "{\"sigma_data\": 0.5}", "{\"type\": \"edm\"}", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int big = 0; big < 2; big++) {
            const snapshot how = {.wrapper = rows[i].wrapper,
                                  .network = rows[i].class,
                                  .attributes = rows[i].attributes,
                                  .by_place = rows[i].by_place,
                                  .big_endian = big,
                                  .loss = "EDMLoss"};
            cm_model *m = model_of(context, rows[i].network, rows[i].precond), *read;
            block file = snapshot_pickle(m, "ema", &how);
            OK(load(&file, NULL, &read));
            ck_assert_str_eq(cmi_precond_name(&read->precond), cmi_precond_name(&m->precond));
            ck_assert(read->precond.sigma_min == m->precond.sigma_min &&
                      read->precond.sigma_max == m->precond.sigma_max &&
                      read->precond.sigma_data == m->precond.sigma_data && read->precond.M == m->precond.M);
            ck_assert_ptr_nonnull(strstr(read->config_text, rows[i].wrapper));
            same_outputs(m, read);
            cm_model_free(read);
            cm_model_free(m);
            free(file.bytes);
        }
}
END_TEST

#define EDM2                                                                                                         \
    "{\"type\": \"edm2\", \"img_resolution\": 8, \"img_channels\": 3, \"label_dim\": 3, \"model_channels\": 8, "     \
    "\"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [4], \"channels_per_head\": 8, "             \
    "\"res_balance\": 0.4}"

/* EDM2's network: in its own wrapper, whose loss says whether ECT's code has trained it since, and in TCM's. */
START_TEST(edm2)
{
    static const struct {
        const char *wrapper, *module, *loss, *precond, *sampling;
        int logvar;
    } rows[] = {{"Precond", "unet", "EDM2Loss", "edm", "\"steps\":32", 1},
                {"Precond", "unet", "ECMLoss", "ecm", "1.526", 0},
                {"ECMPrecond", "model", "ECMLoss", "ecm", "1.526", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const snapshot how = {.wrapper = rows[i].wrapper,
                              .network = "UNet",
                              .module = rows[i].module,
                              .attributes = "{\"sigma_data\": 0.5}",
                              .loss = rows[i].loss,
                              .half = rows[i].logvar,
                              .logvar = rows[i].logvar};
        char precond[64];
        (void)snprintf(precond, sizeof precond, "{\"type\": \"%s\"}", rows[i].precond);
        cm_model *m = model_of(context, EDM2, precond), *read;
        fill_gains(m);
        if (how.half) round_to_half(m);
        block file = snapshot_pickle(m, "ema", &how);
        OK(load(&file, NULL, &read));
        ck_assert_str_eq(cmi_precond_name(&read->precond), rows[i].precond);
        ck_assert_str_eq(read->net.family->name, "edm2");
        ck_assert(read->net.res_balance == 0.4 && read->net.num_classes == 3);
        ck_assert_msg(strstr(read->config_text, rows[i].sampling) != NULL, "%s", read->config_text);
        same_outputs(m, read);
        cm_model_free(read);
        cm_model_free(m);
        free(file.bytes);
    }
}
END_TEST

/* What the file does not say is taken as published, and said. */
START_TEST(defaults)
{
    cm_model *m = model_of(context,
                           "{\"type\": \"songunet\", \"img_resolution\": 8, \"in_channels\": 3, \"out_channels\": 3, "
                           "\"model_channels\": 4, \"channel_mult\": [1], \"attn_resolutions\": []}",
                           "{\"type\": \"edm\"}"),
             *read;
    const snapshot bare = {.network = "SongUNet"},
                   without = {.wrapper = "EDMPrecond", .network = "SongUNet", .without = "img_resolution"};
    block file = snapshot_pickle(m, "ema", &bare); /* no wrapper: as tensors without a word about it */
    OK(load(&file, NULL, &read));
    ck_assert_str_eq(cmi_precond_name(&read->precond), "edm");
    same_outputs(m, read);
    cm_model_free(read);
    free(file.bytes);
    file = snapshot_pickle(m, "ema", &(snapshot){.wrapper = "EDMPrecond", .network = "SongUNet"});
    OK(load(&file, NULL, &read));
    ck_assert_ptr_nonnull(strstr(read->config_text, "dropout"));
    ck_assert_ptr_nonnull(strstr(read->config_text, "sigma_max as in the published models"));
    ck_assert(read->precond.sigma_max == 80 && read->net.num_blocks == 4);
    cm_model_free(read);
    free(file.bytes);
    file = snapshot_pickle(m, "ema", &without);
    FAILS(load(&file, NULL, &read), CM_ERR_FORMAT, "img_resolution");
    free(file.bytes);
    cm_model_free(m);
}
END_TEST

/* --- two times ------------------------------------------------------------------------------------- */

/* IMM's wrapper: what its network is told of both times, and the ends of its times as noise levels. */
START_TEST(imm)
{
    static const struct {
        const char *attributes, *words;
        int interval;
    } rows[] = {
        {"{\"sigma_data\": 0.5, \"T\": 0.994, \"eps\": 0.006, \"temb_type\": \"identity\", \"time_scale\": 1000, "
         "\"f_type\": \"simple_edm\", \"noise_schedule\": \"fm\"}",
         NULL, 0},
        {"{\"sigma_data\": 0.5, \"T\": 0.994, \"eps\": 0.006, \"temb_type\": \"stride\"}", NULL, 1},
        {"{}", NULL, 0},
        {"{\"temb_type\": \"other\"}", "temb_type is 'other'", 0},
        {"{\"f_type\": \"euler_fm\"}", "f_type is 'euler_fm'", 0},
        {"{\"noise_schedule\": \"vp_cosine\"}", "noise_schedule is 'vp_cosine'", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const snapshot how = {.wrapper = "IMMPrecond", .network = "SongUNet", .attributes = rows[i].attributes};
        cm_model *read,
            *m = model_of(context,
                          SONG ", \"second_time\": \"tower\", \"time_factor\": 1000, \"second_input\": \"interval\"}",
                          "{\"type\": \"imm\"}");
        json_t *network = json_object_get(m->file.config, "network");
        (void)json_object_del(network, "second_time"), (void)json_object_del(network, "time_factor");
        (void)json_object_del(network, "second_input"), (void)json_object_set_new(network, "s_embed", json_true());
        block file = snapshot_pickle(m, "ema", &how);
        if (rows[i].words) {
            FAILS(load(&file, NULL, &read), CM_ERR_UNSUPPORTED, rows[i].words);
        } else {
            OK(load(&file, NULL, &read));
            ck_assert_str_eq(cmi_precond_name(&read->precond), "imm");
            ck_assert_int_eq(read->net.second_time, CM_SECOND_TOWER);
            ck_assert_int_eq(read->net.second_input, rows[i].interval ? CM_SECOND_INTERVAL : CM_SECOND_TIME);
            ck_assert(read->net.time_factor == 1000);
            ck_assert_double_le(fabs(read->precond.sigma_min - 0.5 * 0.006 / 0.994), 1e-12);
            ck_assert_double_le(fabs(read->precond.sigma_max - 0.5 * 0.994 / 0.006), 1e-9);
            if (rows[i].interval) same_outputs(m, read);
            else ck_assert(i == 0 || strstr(read->config_text, "temb_type, time_scale") != NULL);
            cm_model_free(read);
        }
        cm_model_free(m);
        free(file.bytes);
    }
}
END_TEST

enum { MOST_MEMBERS = 400 };

typedef struct {
    member all[MOST_MEMBERS];
    char names[MOST_MEMBERS][32];
    block bytes[MOST_MEMBERS];
    size_t n; /* the pickle is the first */
} archive;

/* Every parameter under prefix and name, times a factor. */
static void put_state(block *b, archive *a, const cm_model *m, const char *prefix, float factor)
{
    for (int i = 0; i < m->graph->n_params; i++) {
        const cm_param_desc *p = &m->graph->params[i];
        const size_t count = cmi_param_elements(p), at = a->n++;
        char name[160], key[16];
        if (!m->sources[i].data) {
            a->n--;
            continue;
        }
        ck_assert_uint_lt(at, MOST_MEMBERS);
        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        snprintf(key, sizeof key, "%zu", at);
        put_text(b, name), put_plain(b, "FloatStorage", key, p->rank, p->shape, 0);
        for (size_t k = 0; k < count; k++) {
            const float value = factor * ((const float *)m->sources[i].data)[k];
            put(&a->bytes[at], &value, sizeof value);
        }
        snprintf(a->names[at], sizeof a->names[at], "archive/data/%zu", at);
        a->all[at] = (member){a->names[at], a->bytes[at].bytes, a->bytes[at].size};
    }
}

/* Files of training: MeanFlow's {model: {net.*, net_ema.*, ...}, ..., args: Namespace}, SoFlow's {model, ema_model:
 * {network.*}, ...}.  The average is taken, and what its names begin with says the order of the rows of qkv. */
START_TEST(training_files_of_two_times)
{
    static archive a;
    for (int soflow = 0; soflow < 2; soflow++)
        for (int chosen = 0; chosen < 2; chosen++) {
            char network[500];
            snprintf(network, sizeof network,
                     SONG ", \"second_time\": \"concat\", \"channel_mult_noise\": 2, \"augment_dim\": 6, "
                          "\"resample_filter\": [1, 3, 3, 1], \"attention_layout\": \"%s\"}",
                     soflow ? "interleaved" : "qkv");
            cm_model *m = model_of(context, network, "{\"type\": \"average-velocity\"}"), *read;
            block pickle = {NULL, 0, 0};
            memset(&a, 0, sizeof a);
            a.n = 1;
            PUT(&pickle, "\x80\2}(");
            put_text(&pickle, "model"), PUT(&pickle, ORDERED);
            put_state(&pickle, &a, m, soflow ? "network." : "net.", chosen ? 1 : 0.5f);
            if (soflow) PUT(&pickle, "u"), put_text(&pickle, "ema_model"), PUT(&pickle, ORDERED);
            put_state(&pickle, &a, m, soflow ? "network." : "net_ema.", chosen ? 0.5f : 1);
            PUT(&pickle, "u"), put_text(&pickle, "optimizer");
            PUT(&pickle, "}(X\5\0\0\0state}X\14\0\0\0param_groups]u");
            put_text(&pickle, soflow ? "finished_steps" : "epoch"), PUT(&pickle, "K\7");
            if (!soflow) {
                put_text(&pickle, "args");
                PUT(&pickle, "cargparse\nNamespace\n)\x81}(X\2\0\0\0lrK\1X\6\0\0\0deviceX\4\0\0\0cudaub");
            }
            PUT(&pickle, "u.");
            a.all[0] = (member){"archive/data.pkl", pickle.bytes, pickle.size};
            block zip = zip_of(a.all, a.n);
            OK(load(&zip, !chosen ? NULL : soflow ? "model" : "net", &read));
            ck_assert_int_eq(read->net.second_time, CM_SECOND_CONCAT);
            ck_assert_int_eq(read->net.attention_layout, !soflow);
            ck_assert_str_eq(cmi_precond_name(&read->precond), "average-velocity");
            same_outputs(m, read);
            cm_model_free(read), cm_model_free(m);
            for (size_t i = 1; i < a.n; i++) free(a.bytes[i].bytes);
            free(pickle.bytes), free(zip.bytes);
        }
}
END_TEST

/* --- what is not ours ------------------------------------------------------------------------------ */

START_TEST(other_classes)
{
    static const struct {
        const char *wrapper, *network, *words;
    } rows[] = {{"EDMPrecond", "UViT", "network of class 'UViT'"},
                {"CTPrecond", "SongUNet", "'CTPrecond'"},
                {"EDMPrecond", "DiT", "transformer"}};
    cm_model *m = model_of(context, SONG "}", "{\"type\": \"edm\"}"), *read;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const snapshot how = {.wrapper = rows[i].wrapper, .network = rows[i].network};
        block file = snapshot_pickle(m, "ema", &how);
        cm_tensors t;
        FAILS(load(&file, NULL, &read), CM_ERR_UNSUPPORTED, rows[i].words);
        ck_assert_ptr_nonnull(strstr(cm_last_message(), "it has SongUNet"));
        OK(open_bytes(context, "x.pkl", file.bytes, file.size, &t)); /* tensors they are all the same */
        ck_assert_uint_eq(t.count, cm_model_param_count(m));
        ck_assert_int_eq(strncmp(t.tensors[0].name, "model.", 6), 0);
        cmi_tensors_close(&t);
        free(file.bytes);
    }
    cm_model_free(m);
}
END_TEST

/* torch.save of {net, optimizer_state}: modules in PyTorch's own container. */
START_TEST(training_state)
{
    enum { MOST = 200 };
    static char names[MOST][32];
    block beside[MOST] = {{NULL, 0, 0}};
    member members[MOST + 1];
    cm_model *m = model_of(context, SONG "}", "{\"type\": \"ecm\"}"), *read;
    const snapshot how = {.wrapper = "ECMPrecond", .network = "SongUNet", .beside = beside};
    size_t n = 1;
    block pickle = {NULL, 0, 0};
    PUT(&pickle, "\x80\2}(");
    put_text(&pickle, "net");
    put_snapshot_module(&pickle, m, &how);
    put_text(&pickle, "optimizer_state");
    PUT(&pickle, "}(X\5\0\0\0state}X\14\0\0\0param_groups]uu.");
    members[0] = (member){"archive/data.pkl", pickle.bytes, pickle.size};
    ck_assert_int_lt(m->graph->n_params, MOST);
    for (int i = 0; i < m->graph->n_params; i++) {
        if (!beside[i].size) continue;
        snprintf(names[i], sizeof names[i], "archive/data/%d", i);
        members[n++] = (member){names[i], beside[i].bytes, beside[i].size};
    }
    block zip = zip_of(members, n);
    OK(load(&zip, NULL, &read));
    ck_assert_ptr_nonnull(strstr(read->config_text, "a training state"));
    ck_assert_ptr_nonnull(strstr(read->config_text, "\"weights\":\"net\""));
    same_outputs(m, read);
    cm_model_free(read);
    cm_model_free(m);
    for (int i = 0; i < MOST; i++) free(beside[i].bytes);
    free(zip.bytes);
    free(pickle.bytes);
}
END_TEST

START_TEST(which_weights)
{
    cm_model *m = model_of(context, SONG "}", "{\"type\": \"edm\"}"), *read;
    const snapshot how = {.wrapper = "EDMPrecond", .network = "SongUNet", .loss = "EDMLoss"};
    block file = snapshot_pickle(m, "ema", &how);
    OK(load(&file, "ema", &read));
    cm_model_free(read);
    FAILS(load(&file, "net", &read), CM_ERR_ARGUMENT, "there are 'ema'");
    free(file.bytes);
    file = snapshot_pickle(m, "G_ema", &how);
    OK(load(&file, NULL, &read));
    cm_model_free(read);
    free(file.bytes);
    cm_model_free(m);
}
END_TEST

/* --- default noise levels ---------------------------------------------------------------------------- */

/* The levels of a run that says no more than that; the count. */
static int levels_of(const cm_model *m, int32_t steps, double *first, double *second)
{
    cm_times times;
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    o.steps = steps;
    OK(cmi_times_resolve(m, &o, &times));
    int n = times.solver.n;
    *first = times.sigma[0];
    *second = n > 1 ? times.sigma[1] : 0;
    cmi_times_release(m, &times);
    return n;
}

static cm_model *from_folder(const char *folder, const char *name, const block *file)
{
    char path[400];
    cm_model *m;
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(path, sizeof path, "%s/%.*s", folder, (int)(slash - name), name);
        (void)mkdir(path, 0700);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_bytes(path, file->bytes, file->size);
    OK(cm_model_load(context, path, NULL, &m));
    unlink(path);
    for (char *slash = strrchr(path, '/'); slash > path + strlen(folder); slash = strrchr(path, '/')) {
        *slash = '\0';
        (void)rmdir(path);
    }
    return m;
}

START_TEST(levels_of_snapshots)
{
    static const struct {
        const char *name, *wrapper, *loss, *attributes;
        int steps;
        double first, second;
    } rows[] = {
        {"network-snapshot-000500.pkl", "ECMPrecond", "ECMLoss", "{\"q\": 2}", 2, 80, 0.821},
        {"cmt-runs/network-snapshot-003000.pkl", "ECMPrecond", NULL, NULL, 2, 80, 0.77569},
        {"cmt+ecm/network-snapshot-003000.pkl", "ECMPrecond", NULL, NULL, 2, 80, 0.821},
        {"cifar-stage2.pkl", "ECMPrecond", "ECMLoss", "{\"boundary_prob\": 0.25, \"ratio_limit\": 0.999}", 2, 80, 1},
        {"tcm.pkl", "ECMPrecond", NULL, NULL, 2, 80, 1},
        {"network-snapshot-1.200000-403968.pkl", "EDMPrecond", NULL, NULL, 1, 2.5, 0},
        {"SiD/model.pkl", "EDMPrecond", NULL, NULL, 1, 2.5, 0},
        {"x.pkl", "EDMPrecond", "SID_EDMLoss", NULL, 1, 2.5, 0},
        {"edm-cifar10-32x32-uncond-vp.pkl", "EDMPrecond", "EDMLoss", NULL, 18, 80, 57.586},
        {"network-snapshot-000500.pkl", "EDMPrecond", "EDMLoss", NULL, 18, 80, 57.586},
    };
    char folder[] = "/tmp/cm-snapshots-XXXXXX";
    double first, second;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    cm_model *m = model_of(context, SONG "}", "{\"type\": \"edm\"}");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const snapshot how = {.wrapper = rows[i].wrapper,
                              .network = "SongUNet",
                              .loss = rows[i].loss,
                              .loss_attributes = rows[i].attributes};
        block file = snapshot_pickle(m, "ema", &how);
        cm_model *read = from_folder(folder, rows[i].name, &file);
        int said = cmi_precond_is_consistency(&read->precond) ? rows[i].steps : 0;
        ck_assert_msg(levels_of(read, said, &first, &second) == rows[i].steps, "%s", rows[i].name);
        ck_assert_msg(fabs(first - rows[i].first) < 1e-3 && fabs(second - rows[i].second) < 1e-3, "%s: %g %g",
                      rows[i].name, first, second);
        cm_model_free(read);
        free(file.bytes);
    }
    rmdir(folder);
    cm_model_free(m);
}
END_TEST

/* The member that a recognised file gets, by what the file is called and what its format notes. */
static char *sampling_of(const char *name, const char *note, const char *value, const char *network, int side,
                         const char *precond)
{
    cm_tensors t = {.context = context};
    json_t *config =
        json_pack("{s:{s:s, s:i}, s:{s:s}}", "network", "type", network,
                  strcmp(network, "adm") == 0 ? "image_size" : "img_resolution", side, "precond", "type", precond);
    t.input.name = (char *)(uintptr_t)name;
    if (note) OK(cmi_tensors_add_metadata(&t, note, value));
    OK(cmi_published_add(&t, config));
    json_t *sampling = json_object_get(config, "sampling");
    char *text = sampling ? json_dumps(sampling, JSON_COMPACT | JSON_SORT_KEYS) : strdup("");
    json_decref(config);
    cmi_free(context, t.metadata);
    return text;
}

START_TEST(levels_by_name)
{
    static const struct {
        const char *name, *note, *value, *network, *precond, *sampling;
        int side;
    } rows[] = {
        {"a/cd_imagenet64_l2.pt", NULL, NULL, "adm", "cm", "{\"grid\":40,\"ts\":[0,22,39]}", 64},
        {"a/cd_imagenet64_lpips.pt", NULL, NULL, "adm", "cm", "{\"grid\":40,\"ts\":[0,22,39]}", 64},
        {"a/ct_imagenet64.pt", NULL, NULL, "adm", "cm", "{\"grid\":201,\"ts\":[0,106,200]}", 64},
        {"cd_bedroom256_lpips.pt", NULL, NULL, "adm", "cm", "{\"grid\":40,\"ts\":[0,17,39]}", 256},
        {"cd_bedroom256_l2.pt", NULL, NULL, "adm", "cm", "{\"grid\":40,\"ts\":[0,18,39]}", 256},
        {"cd_cat256_l2.pt", NULL, NULL, "adm", "cm", "{\"grid\":40,\"ts\":[0,18,39]}", 256},
        {"ct_bedroom256.pt", NULL, NULL, "adm", "cm", "{\"grid\":151,\"ts\":[0,67,150]}", 256},
        {"ct_cat256.pt", NULL, NULL, "adm", "cm", "{\"grid\":151,\"ts\":[0,62,150]}", 256},
        {"openai/diffusers-ct_cat256/", NULL, NULL, "adm", "cm", "{\"grid\":151,\"ts\":[0,62,150]}", 256},
        {"x", CM_NOTE_GRID, "201", "adm", "cm", "{\"grid\":201,\"ts\":[0,106,200]}", 64},
        {"x", CM_NOTE_GRID, "40", "adm", "cm", "{\"grid\":40,\"ts\":[0,22,39]}", 64},
        {"edm_imagenet64_ema.pt", NULL, NULL, "adm", "edm", "{\"method\":\"heun\",\"steps\":40}", 64},
        {"edm_cat256_ema.pt", NULL, NULL, "adm", "edm", "{\"method\":\"heun\",\"steps\":40}", 256},
        {"renamed.pt", NULL, NULL, "adm", "cm", "{\"grid\":40,\"ts\":[0,22,39]}", 64},
        {"small.pt", NULL, NULL, "adm", "cm", "", 32},
        {"factory/impact.pt", NULL, NULL, "adm", "cm", "{\"grid\":40,\"ts\":[0,22,39]}", 64},
        {"cd-lpips/checkpoints/checkpoint_80", CM_NOTE_PUBLISHED, CM_PUBLISHED_CIFAR, "songunet", "cm",
         "{\"grid\":18,\"ts\":[0,11,17]}", 32},
        {"ct-lpips/checkpoints/checkpoint_74", CM_NOTE_PUBLISHED, CM_PUBLISHED_CIFAR, "songunet", "cm", "", 32},
        {"song.safetensors", NULL, NULL, "songunet", "edm", "", 32},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text =
            sampling_of(rows[i].name, rows[i].note, rows[i].value, rows[i].network, rows[i].side, rows[i].precond);
        ck_assert_msg(strcmp(text, rows[i].sampling) == 0, "%s: %s", rows[i].name, text);
        free(text);
    }
}
END_TEST

static cm_status configured(const char *precond, const char *sampling, cm_model **out)
{
    char text[1000];
    snprintf(text, sizeof text, "{\"network\": %s, \"precond\": %s, \"sampling\": %s}", SONG "}", precond, sampling);
    return cm_model_create(context, text, 1, out);
}

/* The member is read where the caller says nothing, is saved with the model, and is checked. */
START_TEST(sampling_member)
{
    static const struct {
        const char *sampling, *words;
    } wrong[] = {
        {"{\"sigmas\": [80, 80]}", "have to fall"},
        {"{\"sigmas\": [90, 1]}", "noise levels are in"},
        {"{\"sigmas\": [1, 0]}", "noise levels are in"},
        {"{\"ts\": [0, 5]}", "belong together"},
        {"{\"ts\": [0, 5, 9], \"grid\": 9}", "rise strictly"},
        {"{\"ts\": [1, 5], \"grid\": 9}", "begin with 0"},
        {"{\"ts\": [0, 5], \"grid\": 9, \"sigmas\": [3]}", "the same"},
        {"{\"method\": \"twostep\"}", "method"},
        {"{\"steps\": 0}", "steps"},
        {"{\"stepz\": 2}", "stepz"},
        {"[]", "object"},
    };
    cm_model *m, *again;
    double first, second;
    char path[] = "/tmp/cm-snapshots-XXXXXX";
    cm_save_options save = CM_SAVE_OPTIONS_INIT;
    OK(configured("{\"type\": \"cm\"}", "{\"ts\": [0, 7, 9, 11], \"grid\": 12}", &m));
    ck_assert_int_eq(levels_of(m, 3, &first, &second), 3);
    ck_assert(first == 80 && fabs(second - cmi_karras_sigma(7, 12, 0.002, 80, 7)) < 1e-12);
    ck_assert_int_eq(levels_of(m, 0, &first, &second), 1);
    save.overwrite = CM_OVERWRITE_YES;
    close(mkstemp(path));
    OK(cm_model_save(m, path, &save));
    OK(cm_model_load(context, path, NULL, &again));
    ck_assert_int_eq(levels_of(again, 3, &first, &second), 3);
    unlink(path);
    cm_model_free(m);
    cm_model_free(again);
    OK(configured("{\"type\": \"edm\"}", "{\"method\": \"onestep\", \"sigmas\": [2.5]}", &m));
    ck_assert_int_eq(levels_of(m, 0, &first, &second), 1);
    ck_assert(first == 2.5);
    cm_times times; /* explicit options win */
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    o.method = CM_METHOD_HEUN;
    OK(cmi_times_resolve(m, &o, &times));
    ck_assert(times.solver.n == 18 && times.sigma[0] == 80);
    cmi_times_release(m, &times);
    o.method = CM_METHOD_ONESTEP;
    o.sigma_max = 20;
    OK(cmi_times_resolve(m, &o, &times));
    ck_assert(times.solver.n == 1 && times.sigma[0] == 20);
    cmi_times_release(m, &times);
    cm_model_free(m);
    OK(configured("{\"type\": \"edm\"}", "{\"method\": \"euler\", \"steps\": 7}", &m));
    ck_assert_int_eq(levels_of(m, 0, &first, &second), 7);
    ck_assert_int_eq(levels_of(m, 5, &first, &second), 5);
    cm_model_free(m);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        FAILS(configured("{\"type\": \"edm\"}", wrong[i].sampling, &m), CM_ERR_FORMAT, wrong[i].words);
}
END_TEST

/* ECT's wrapper while it is evaluated: the identity at its boundary, EDM's scalings in training. */
START_TEST(ecm_boundary)
{
    cm_model *m = model_of(context, SONG "}", "{\"type\": \"ecm\", \"boundary\": 0.003}");
    float x[3 * 8 * 8], out[3 * 8 * 8], sigma = 0.003f;
    for (int i = 0; i < 3 * 8 * 8; i++) x[i] = (float)(i % 17) / 8 - 1;
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, out));
    ck_assert_mem_eq(x, out, sizeof x);
    const cm_scalings s = cmi_precond_scalings(&m->precond, 2);
    ck_assert(fabs(s.c_skip - 0.25 / (1.997 * 1.997 + 0.25)) < 1e-12);
    ck_assert(fabs(s.c_out - 1.997 * 0.5 / sqrt(4.25)) < 1e-12);
    cm_model_free(m);
    FAILS(cm_model_create(context, "{\"network\": " SONG "}, \"precond\": {\"type\": \"edm\", \"boundary\": 0.003}}",
                          1, &m),
          CM_ERR_FORMAT, "boundary");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("snapshots");
    TCase *t = tcase_create("snapshots");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, wrappers);
    tcase_add_test(t, edm2);
    tcase_add_test(t, imm);
    tcase_add_test(t, training_files_of_two_times);
    tcase_add_test(t, defaults);
    tcase_add_test(t, other_classes);
    tcase_add_test(t, training_state);
    tcase_add_test(t, which_weights);
    tcase_add_test(t, levels_of_snapshots);
    tcase_add_test(t, levels_by_name);
    tcase_add_test(t, sampling_member);
    tcase_add_test(t, ecm_boundary);
    suite_add_tcase(s, t);
    return s;
}
