/* Presets: each is whole and allowed, its network is the published one to the last
 * tensor name and shape, its configuration hides nothing, and another network is
 * told from it; what lr does in the stages of progressive distillation. */
#include "base/cpu_level.h"
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "diffusion/model.h"
#include "train/curriculum.h"
#include "train/presets.h"

/* The published tensors of each preset's network, NULL where none are published, and the
 * published number of parameters; the 128 frequencies of NCSN++ are a buffer in PyTorch. */
static const struct {
    const char *preset, *keys;
    uint64_t parameters;
} networks[] = {
    {"smoke", NULL, 0},
    {"pictures-teacher", NULL, 0},
    {"pictures-ect", NULL, 0},
    {"digits-teacher-30min", NULL, 744401},
    {"digits-ect-30min", NULL, 744401},
    {"digits-cd-30min", NULL, 744401},
    {"digits-pd-30min", NULL, 744401},
    {"digits-ct-30min", NULL, 744401},
    {"digits-ict-30min", NULL, 744401},
    {"digits-cmt-30min", NULL, 744401},
    {"digits-tcm-30min", NULL, 744401},
    {"digits-tcm2-30min", NULL, 744401},
    {"digits-ccd-30min", NULL, 744401},
    {"digits-cct-30min", NULL, 744401},
    {"digits-sct-30min", NULL, 744401},
    {"digits-scd-30min", NULL, 744401},
    {"digits-dscd-30min", NULL, 744401},
    {"digits-meanflow-30min", NULL, 745601},
    {"digits-imeanflow-30min", NULL, 745601 + 145 + 3 * 32},
    {"digits-soflow-30min", NULL, 745601},
    {"cifar10-3h", NULL, 1260899},
    {"cifar10-ect-3h", NULL, 1260899},
    {"cifar10-edm", "edm_cifar10_uncond_vp", 55733891},
    {"cifar10-edm-ve", "edm_cifar10_uncond_ve", 56397827 + 128},
    {"cifar10-edm-cond", "edm_cifar10_cond_vp", 55735299},
    {"cifar10-edm-cond-ve", "edm_cifar10_cond_ve", 56400643 + 128},
    {"ffhq64-edm", "edm_ffhq_afhqv2_64_vp", 61805571},
    {"ffhq64-edm-ve", "edm_ffhq_afhqv2_64_ve", 62761091 + 128},
    {"afhqv2-64-edm", "edm_ffhq_afhqv2_64_vp", 61805571},
    {"afhqv2-64-edm-ve", "edm_ffhq_afhqv2_64_ve", 62761091 + 128},
    {"imagenet64-edm-karras", "edm_imagenet64_cond_adm", 295899267},
    {"cifar10-teacher", "flax_cifar10_ve", 56395651},
    {"cifar10-cd-l1", "flax_cifar10_ve", 56395651},
    {"cifar10-cd-l2", "flax_cifar10_ve", 56395651},
    {"cifar10-ct", "flax_cifar10_ve", 56395651},
    {"cifar10-ct-fixed", "flax_cifar10_ve", 56395651},
    {"cifar10-ccd-l2", "flax_cifar10_ve", 56395651},
    {"cifar10-ccd-l2-stop", "flax_cifar10_ve", 56395651},
    {"cifar10-ccd-lpips-stop", "flax_cifar10_ve", 56395651},
    {"cifar10-cct-l2-stop", "flax_cifar10_ve", 56395651},
    {"cifar10-cct-lpips-stop", "flax_cifar10_ve", 56395651},
    {"cifar10-sct", "edm_cifar10_uncond_vp", 55733891},
    {"cifar10-scd", "edm_cifar10_uncond_vp", 55733891},
    {"cifar10-pd", "flax_cifar10_ve", 56395651},
    {"cifar10-ict", "flax_cifar10_ve", 56395651},
    {"cifar10-ict-deep", NULL, 0},
    {"imagenet64-ict", "adm_imagenet64", 295899267},
    {"imagenet64-ict-deep", NULL, 0},
    {"cifar10-ect", "edm_cifar10_uncond_vp", 55733891},
    {"cifar10-ect-fast", "edm_cifar10_uncond_vp", 55733891},
    {"cifar10-cmt", "edm_cifar10_uncond_vp", 55733891},
    {"cifar10-cmt-ect", "edm_cifar10_uncond_vp", 55733891},
    {"ffhq64-cmt", "edm_ffhq_afhqv2_64_vp", 61805571},
    {"ffhq64-cmt-ect", "edm_ffhq_afhqv2_64_vp", 61805571},
    {"afhqv2-64-cmt", "edm_ffhq_afhqv2_64_vp", 61805571},
    {"afhqv2-64-cmt-ect", "edm_ffhq_afhqv2_64_vp", 61805571},
    {"cifar10-tcm", "edm_cifar10_uncond_vp", 55733891},
    {"cifar10-tcm2", "edm_cifar10_uncond_vp", 55733891},
    {"cifar10-meanflow", "twotime_cifar10", 55932419},
    {"cifar10-soflow", "twotime_cifar10", 55932419},
    {"edm2-img64-xs", NULL, 124711077},
    {"edm2-img64-s", NULL, 280209637},
    {"edm2-img64-m", NULL, 497803557},
    {"edm2-img64-l", NULL, 777492837},
    {"edm2-img64-xl", NULL, 1119277477},
    {"edm2-img512-xxs", NULL, 31309029},
    {"edm2-img512-xs", NULL, 124713381},
    {"edm2-img512-s", NULL, 280213093},
    {"edm2-img512-m", NULL, 497808165},
    {"edm2-img512-l", NULL, 777498597},
    {"edm2-img512-xl", NULL, 1119284389},
    {"edm2-img512-xxl", NULL, 1523165541},
    {"imagenet64-ect", NULL, 280209637},
    {"imagenet64-tcm", NULL, 280209637},
    {"imagenet64-tcm2", NULL, 280209637},
    {"imagenet64-edm", "adm_imagenet64", 295899267},
    {"imagenet64-cd-l2", "adm_imagenet64", 295899267},
    {"imagenet64-ct", "adm_imagenet64", 295899267},
    {"lsun256-edm", "adm_lsun256", 526304771},
    {"lsun256-cd-l2", "adm_lsun256", 526304771},
    {"lsun256-ct", "adm_lsun256", 526304771},
    {"imagenet64-ct-table3", "adm_imagenet64", 295899267},
    {"lsun256-cd-l2-table3", "adm_lsun256", 526304771},
    {"lsun256-ct-table3", "adm_lsun256", 526304771},
};
enum { NETWORKS = sizeof networks / sizeof *networks };

/* --- tensors by name and shape ---------------------------------------------------- */

enum { LINES = 1024, LINE = 160 };
typedef struct {
    char line[LINES][LINE];
    size_t n;
} listing;

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add(listing *l, const char *name, int rank, const int64_t *shape)
{
    ck_assert_uint_lt(l->n, LINES);
    size_t n = (size_t)snprintf(l->line[l->n], LINE, "%s", name);
    for (int i = 0; i < rank; i++) n += (size_t)snprintf(l->line[l->n] + n, LINE - n, " %lld", (long long)shape[i]);
    ck_assert_uint_lt(n, LINE);
    l->n++;
}

static void read_listing(const char *keys, listing *l)
{
    char path[200];
    snprintf(path, sizeof path, "tests/data/keys/%s.txt.gz", keys);
    gzFile f = gzopen(path, "rb");
    ck_assert_msg(f != NULL, "%s", path);
    l->n = 0;
    while (gzgets(f, l->line[l->n], LINE)) {
        l->line[l->n][strcspn(l->line[l->n], "\n")] = '\0';
        ck_assert_uint_lt(++l->n, LINES);
    }
    gzclose(f);
    ck_assert_uint_gt(l->n, 300);
}

typedef struct {
    const cm_graph *graph;
    listing *listing;
} walk;

/* The tensor as flax has it: HWIO, [in, out], q, k and v apart. */
static int add_flax(void *user, const cm_net_name *name)
{
    const walk *w = user;
    for (int i = 0; i < w->graph->n_params; i++) {
        const cm_param_desc *p = &w->graph->params[i];
        if (strcmp(p->name, name->param) != 0) continue;
        const int64_t *s = p->shape, conv[4] = {s[2], s[3], s[1], s[0]}, dense[2] = {s[1], s[0]};
        const int64_t third[2] = {s[0] / 3, s[0] / 3};
        if (name->parts == 3) add(w->listing, name->name, p->rank > 1 ? 2 : 1, third);
        else if (name->order == CM_ORDER_HWIO) add(w->listing, name->name, 4, conv);
        else if (name->order == CM_ORDER_IO) add(w->listing, name->name, 2, dense);
        else add(w->listing, name->name, p->rank, s);
        return 0;
    }
    return 1;
}

static void list_network(const char *config, const char *keys, listing *l)
{
    cm_context *context;
    cm_net_config net;
    cm_precond precond;
    cm_graph *graph;
    json_t *c = json_loads(config, 0, NULL);
    const char *prefix = strncmp(keys, "edm_", 4) == 0 ? "model." : "";
    OK(cm_context_create(NULL, &context));
    OK(cmi_net_config_read(json_object_get(c, "network"), &net));
    OK(cmi_precond_read(context, json_object_get(c, "precond"), net.family->time, &precond));
    OK(cmi_model_describe(context, &net, &precond, net.resolution, net.resolution, 0, 0, &graph));
    l->n = 0;
    if (strncmp(keys, "flax_", 5) == 0) {
        walk w = {graph, l};
        ck_assert_int_eq(cmi_naming_flax.walk(graph, &net, add_flax, &w), 0);
    }
    for (int i = 0; l->n == (size_t)i && i < graph->n_params; i++) {
        char name[LINE];
        snprintf(name, sizeof name, "%s%s", prefix, graph->params[i].name);
        add(l, name, graph->params[i].rank, graph->params[i].shape);
    }
    cmi_graph_free(graph);
    cm_context_free(context);
    json_decref(c);
}

START_TEST(networks_are_the_published_ones)
{
    static listing theirs, ours;
    for (size_t i = 0; i < NETWORKS; i++) {
        const char *name = networks[i].preset;
        uint64_t parameters = 0;
        ck_assert_msg(cm_train_preset_name(i) && strcmp(cm_train_preset_name(i), name) == 0,
                      "preset %zu is %s: every preset has its line in this test", i, cm_train_preset_name(i));
        if (strncmp(name, "pictures-", 9) == 0) {
            ck_assert_ptr_null(cm_train_preset_config(i)); /* the pictures decide */
            continue;
        }
        OK(cm_model_count(NULL, cm_train_preset_config(i), &parameters));
        ck_assert_msg(parameters > 1000 && (!networks[i].parameters || parameters == networks[i].parameters),
                      "%s: %llu parameters", name, (unsigned long long)parameters);
        if (!networks[i].keys) continue;
        read_listing(networks[i].keys, &theirs);
        list_network(cm_train_preset_config(i), networks[i].keys, &ours);
        qsort(theirs.line, theirs.n, LINE, by_text);
        qsort(ours.line, ours.n, LINE, by_text);
        for (size_t k = 0; k < theirs.n && k < ours.n; k++)
            ck_assert_msg(strcmp(theirs.line[k], ours.line[k]) == 0, "%s: '%s' where %s has '%s'", name, ours.line[k],
                          networks[i].keys, theirs.line[k]);
        ck_assert_msg(theirs.n == ours.n, "%s: %zu tensors, %s has %zu", name, ours.n, networks[i].keys, theirs.n);
    }
    ck_assert_ptr_null(cm_train_preset_name(NETWORKS));
}
END_TEST

/* --- numbers --------------------------------------------------------------------------- */

START_TEST(presets_hold)
{
    for (size_t i = 0; cm_train_preset_name(i); i++) {
        cm_train_settings o;
        char text[4096];
        size_t length;
        o = cmi_settings_defaults(CM_TRAIN_EDM);
        OK(cmi_preset_apply(&o, cm_train_preset_name(i)));
        OK(cmi_settings_check(&o, cmi_cpu_level()));
        OK(cm_train_options_json(&(cm_train_options){NULL, o}, text, sizeof text, &length));
        ck_assert(length < sizeof text && strstr(text, "\"lr\""));
        ck_assert_uint_gt(strlen(cm_train_preset_about(i)), 5);
        ck_assert_uint_gt(strlen(cm_train_preset_source(i)), 5);
        if (!cm_train_preset_config(i)) continue;
        json_t *config = json_loads(cm_train_preset_config(i), JSON_REJECT_DUPLICATES, NULL);
        ck_assert_ptr_nonnull(config);
        double dropout = json_number_value(json_object_get(json_object_get(config, "network"), "dropout"));
        /* What training uses is what the configuration says, whatever the model that it begins with says. */
        ck_assert_msg(o.dropout < 0 ? dropout == 0 : o.dropout == dropout, "%s: dropout %g, its network has %g",
                      cm_train_preset_name(i), o.dropout, dropout);
        if (strncmp(cm_train_preset_source(i), "this", 4) != 0)
            ck_assert_msg(o.dropout >= 0, "%s leaves dropout to the teacher", cm_train_preset_name(i));
        json_decref(config);
    }
    FAILS(cmi_preset_apply(&(cm_train_settings){0}, "cifar"), CM_ERR_ARGUMENT, "cifar");
    ck_assert_ptr_null(cm_train_preset_source(1000));
}
END_TEST

static cm_train_settings preset(const char *name)
{
    cm_train_settings o;
    o = cmi_settings_defaults(CM_TRAIN_EDM);
    OK(cmi_preset_apply(&o, name));
    return o;
}

/* Rows of the tables, by hand. */
START_TEST(rows_of_the_papers)
{
    static const struct {
        const char *name;
        int objective;
        double lr;
        int batch;
        int64_t steps;
        int start, end;
        double mu, dropout, average;
    } rows[] = {
        {"cifar10-edm", CM_TRAIN_EDM, 1e-3, 512, 390625, 18, 18, 0, 0.13, 500000},
        {"ffhq64-edm", CM_TRAIN_EDM, 2e-4, 256, 781250, 18, 18, 0, 0.05, 500000},
        {"afhqv2-64-edm-ve", CM_TRAIN_EDM, 2e-4, 256, 781250, 18, 18, 0, 0.25, 500000},
        {"imagenet64-edm-karras", CM_TRAIN_EDM, 1e-4, 4096, 610351, 18, 18, 0, 0.1, 5e7},
        {"cifar10-teacher", CM_TRAIN_EDM, 1e-3, 512, 400000, 18, 18, 0, 0.13, 500000},
        {"cifar10-cd-l1", CM_TRAIN_CD, 2e-4, 512, 800000, 18, 18, 0, 0, 0.9999},
        {"cifar10-cd-l2", CM_TRAIN_CD, 4e-4, 512, 800000, 18, 18, 0, 0, 0.9999},
        {"cifar10-ct", CM_TRAIN_CT, 4e-4, 512, 800000, 2, 150, 0.9, 0, 0.9999},
        {"cifar10-ccd-l2", CM_TRAIN_CCD, 1e-3, 512, 800000, 18, 18, 0, 0.3, 0.9999},
        {"cifar10-ccd-l2-stop", CM_TRAIN_CCD, 5e-6, 512, 800000, 18, 18, 0, 0.3, 0.9999},
        {"cifar10-ccd-lpips-stop", CM_TRAIN_CCD, 5e-6, 512, 800000, 18, 18, 0, 0.3, 0.9999},
        {"cifar10-cct-l2-stop", CM_TRAIN_CCT, 5e-6, 512, 800000, 18, 18, 0, 0.3, 0.9999},
        {"cifar10-cct-lpips-stop", CM_TRAIN_CCT, 5e-6, 512, 800000, 18, 18, 0, 0.3, 0.9999},
        {"cifar10-sct", CM_TRAIN_SCT, 1e-4, 512, 350000, 18, 18, 0, 0.2, 500000},
        {"cifar10-scd", CM_TRAIN_SCD, 1e-4, 512, 500000, 18, 18, 0, 0, 500000},
        {"cifar10-ict", CM_TRAIN_ICT, 1e-4, 1024, 400000, 10, 1280, 0, 0.3, 0.99993},
        {"imagenet64-ict", CM_TRAIN_ICT, 1e-4, 4096, 800000, 10, 1280, 0, 0.2, 0.99997},
        {"cifar10-ect", CM_TRAIN_ECT, 1e-4, 128, 200000, 18, 18, 0, 0.2, 0.9999},
        {"cifar10-cmt", CM_TRAIN_CMT, 2e-4, 128, 300000, 18, 18, 0, 0.2, 0.999},
        {"cifar10-cmt-ect", CM_TRAIN_ECT, 1e-4, 128, 100000, 18, 18, 0, 0.2, 0.9999},
        {"ffhq64-cmt", CM_TRAIN_CMT, 2e-4, 128, 300000, 18, 18, 0, 0.2, 0.999},
        {"ffhq64-cmt-ect", CM_TRAIN_ECT, 1e-4, 128, 100000, 18, 18, 0, 0.2, 0.9999},
        {"afhqv2-64-cmt", CM_TRAIN_CMT, 2e-4, 128, 300000, 18, 18, 0, 0.2, 0.999},
        {"afhqv2-64-cmt-ect", CM_TRAIN_ECT, 1e-4, 128, 100000, 18, 18, 0, 0.2, 0.9999},
        {"cifar10-tcm", CM_TRAIN_TCM, 1e-4, 512, 3000000, 18, 18, 0, 0.2, 0.9999},
        {"cifar10-tcm2", CM_TRAIN_TCM2, 5e-5, 1024, 800000, 18, 18, 0, 0.2, 0.9999},
        {"cifar10-meanflow", CM_TRAIN_MEANFLOW, 6e-4, 1024, 781250, 18, 18, 0, 0.2, 0.9999},
        {"cifar10-soflow", CM_TRAIN_SOFLOW, 1e-4, 1024, 800000, 18, 18, 0, 0.3, 0.9999},
        {"imagenet64-ect", CM_TRAIN_ECT, 1e-3, 128, 100000, 18, 18, 0, 0.4, 0.05},
        {"imagenet64-tcm", CM_TRAIN_TCM, 1e-3, 2048, 3000000, 18, 18, 0, 0.4, 16.97},
        {"imagenet64-tcm2", CM_TRAIN_TCM2, 5e-4, 1024, 800000, 18, 18, 0, 0.4, 16.97},
        {"imagenet64-edm", CM_TRAIN_EDM, 1e-4, 4096, 600000, 18, 18, 0, 0.1, 0.999},
        {"imagenet64-cd-l2", CM_TRAIN_CD, 8e-6, 2048, 600000, 40, 40, 0.95, 0, 0.999},
        {"imagenet64-ct", CM_TRAIN_CT, 1e-4, 2048, 800000, 2, 200, 0.95, 0, 0.999},
        {"imagenet64-ct-table3", CM_TRAIN_CT, 8e-6, 2048, 800000, 2, 200, 0.95, 0, 0.999943},
        {"lsun256-edm", CM_TRAIN_EDM, 1e-4, 256, 600000, 18, 18, 0, 0.1, 0.999},
        {"lsun256-cd-l2", CM_TRAIN_CD, 1e-5, 256, 600000, 40, 40, 0.95, 0, 0.9999},
        {"lsun256-cd-l2-table3", CM_TRAIN_CD, 1e-5, 2048, 600000, 40, 40, 0.95, 0, 0.999943},
        {"lsun256-ct", CM_TRAIN_CT, 5e-5, 256, 1000000, 2, 150, 0.95, 0, 0.9999},
        {"lsun256-ct-table3", CM_TRAIN_CT, 1e-5, 2048, 1000000, 2, 150, 0.95, 0, 0.999943},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_train_settings o = preset(rows[i].name);
        ck_assert_msg(o.objective == rows[i].objective && o.lr == rows[i].lr && o.batch == rows[i].batch &&
                          o.steps == rows[i].steps && o.start_scales == rows[i].start &&
                          o.end_scales == rows[i].end && o.mu == rows[i].mu && o.dropout == rows[i].dropout &&
                          o.ema.rates[0].value == rows[i].average,
                      "%s", rows[i].name);
    }
    cm_train_settings o = preset("cifar10-pd");
    ck_assert(o.anneal_stages == 1 && o.lr == 5e-5 && o.start_scales == 4096 && o.ema.count == 0 && o.dropout == 0);
}
END_TEST

/* --- other networks ----------------------------------------------------------------------- */

static cm_model *model(const char *config)
{
    cm_model *m;
    OK(cm_model_create(NULL, config, 1, &m));
    return m;
}

START_TEST(another_network_is_named)
{
    cm_model *digits, *tiny = model(cm_train_preset_config(0));
    OK(cm_model_load(NULL, "tests/data/models/digits_teacher.safetensors", NULL, &digits));
    OK(cm_train_preset_check("digits-cd-30min", digits));
    OK(cm_train_preset_check("smoke", tiny));
    FAILS(cm_train_preset_check("smoke", digits), CM_ERR_ARGUMENT,
          "model_channels is 8 in the preset and 16 in the model");
    ck_assert_ptr_nonnull(
        strstr(cm_last_message(), "channel_mult is [1, 2] in the preset and [1, 2, 4] in the model"));
    FAILS(cm_train_preset_check("digits-cd-30min", tiny), CM_ERR_ARGUMENT, "attn_resolutions is [8]");
    FAILS(cm_train_preset_check("lsun256-edm", tiny), CM_ERR_ARGUMENT,
          "type is \"adm\" in the preset and \"songunet\"");
    FAILS(cm_train_preset_check("cifar10-cd-l2", tiny), CM_ERR_ARGUMENT, "embedding_type is \"fourier\"");
    FAILS(cm_train_preset_check("digits", tiny), CM_ERR_ARGUMENT, "no preset");
    FAILS(cm_train_preset_check(NULL, tiny), CM_ERR_ARGUMENT, "NULL");
    cm_model_free(tiny);
    cm_model_free(digits);
    /* Dropout is a matter of training, as is the scale of fresh frequencies. */
    cm_model *other = model(
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 1, \"label_dim\": 10, "
        "\"model_channels\": 8, \"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [], \"dropout\": "
        "0.3, "
        "\"label_dropout\": 0.1}, \"precond\": {\"type\": \"edm\"}}");
    OK(cm_train_preset_check("smoke", other));
    cm_model_free(other);
}
END_TEST

/* Students begin with the weights of the preset that their `about` names. */
START_TEST(teachers_fit_their_students)
{
    static const struct {
        const char *student, *teacher;
        int fits;
    } pairs[] = {
        {"digits-cd-30min", "digits-teacher-30min", 1},
        {"digits-ect-30min", "digits-teacher-30min", 1},
        {"cifar10-ect-3h", "cifar10-3h", 1},
        {"cifar10-cd-l1", "cifar10-teacher", 1},
        {"cifar10-cd-l2", "cifar10-teacher", 1},
        {"cifar10-pd", "cifar10-teacher", 1},
        {"cifar10-ect", "cifar10-edm", 1},
        {"cifar10-ect-fast", "cifar10-edm", 1},
        {"cifar10-cmt", "cifar10-edm", 1},
        {"cifar10-cmt-ect", "cifar10-cmt", 1},
        {"ffhq64-cmt", "ffhq64-edm", 1},
        {"afhqv2-64-cmt", "afhqv2-64-edm", 1},
        {"cifar10-tcm", "cifar10-edm", 1},
        {"cifar10-tcm2", "cifar10-tcm", 1},
        {"imagenet64-tcm2", "imagenet64-tcm", 1},
        {"digits-cmt-30min", "digits-teacher-30min", 1},
        {"digits-tcm2-30min", "digits-tcm-30min", 1},
        {"digits-ccd-30min", "digits-teacher-30min", 1},
        {"digits-cct-30min", "digits-teacher-30min", 1},
        {"digits-sct-30min", "digits-teacher-30min", 1},
        {"digits-scd-30min", "digits-teacher-30min", 1},
        {"digits-dscd-30min", "digits-teacher-30min", 1},
        {"digits-meanflow-30min", "digits-teacher-30min", 0},
        {"digits-imeanflow-30min", "digits-teacher-30min", 0},
        {"digits-imeanflow-30min", "digits-meanflow-30min", 0},
        {"digits-soflow-30min", "digits-teacher-30min", 0},
        {"digits-pd-30min", "digits-teacher-30min", 1},
        {"imagenet64-cd-l2", "imagenet64-edm", 1},
        {"lsun256-cd-l2", "lsun256-edm", 1},
        {"lsun256-cd-l2-table3", "lsun256-edm", 1},
        {"cifar10-cd-l2", "cifar10-edm", 0},
        {"cifar10-cd-l2", "cifar10-edm-ve", 0},
        {"cifar10-ect", "cifar10-edm-cond", 0},
        {"imagenet64-cd-l2", "imagenet64-edm-karras", 0},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        cm_net_config net;
        size_t k = 0;
        while (cm_train_preset_name(k) && strcmp(cm_train_preset_name(k), pairs[i].teacher) != 0) k++;
        json_t *config = json_loads(cm_train_preset_config(k), 0, NULL);
        OK(cmi_net_config_read(json_object_get(config, "network"), &net));
        json_decref(config);
        int fits = cmi_preset_check(pairs[i].student, &net) == CM_OK;
        ck_assert_msg(fits == pairs[i].fits, "%s of %s: %s", pairs[i].student, pairs[i].teacher,
                      fits ? "fits" : cm_last_message());
    }
}
END_TEST

/* Every argument of a network is in every configuration of its type. */
START_TEST(nothing_is_hidden)
{
    static const char *const adm[] = {"image_size",
                                      "in_channels",
                                      "out_channels",
                                      "model_channels",
                                      "num_res_blocks",
                                      "attention_resolutions",
                                      "channel_mult",
                                      "dropout",
                                      "conv_resample",
                                      "num_classes",
                                      "num_heads",
                                      "num_head_channels",
                                      "num_heads_upsample",
                                      "use_scale_shift_norm",
                                      "resblock_updown",
                                      "attention_layout",
                                      NULL};
    static const char *const edm[] = {"img_resolution",
                                      "in_channels",
                                      "out_channels",
                                      "label_dim",
                                      "augment_dim",
                                      "model_channels",
                                      "channel_mult",
                                      "channel_mult_emb",
                                      "num_blocks",
                                      "attn_resolutions",
                                      "dropout",
                                      "label_dropout",
                                      NULL};
    static const char *const edm2[] = {"img_resolution",
                                       "in_channels",
                                       "out_channels",
                                       "label_dim",
                                       "model_channels",
                                       "channel_mult",
                                       "num_blocks",
                                       "attn_resolutions",
                                       "channel_mult_noise",
                                       "channel_mult_emb",
                                       "label_balance",
                                       "concat_balance",
                                       "res_balance",
                                       "attn_balance",
                                       "clip_act",
                                       "channels_per_head",
                                       "resample_filter",
                                       "dropout",
                                       "dropout_res",
                                       "label_dropout",
                                       "embedding_type",
                                       "bandwidth",
                                       NULL};
    static const char *const song[] = {"embedding_type", "channel_mult_noise", "encoder_type",
                                       "decoder_type",   "resample_filter",    NULL};
    static const char *const precond[] = {"type", "sigma_data", "sigma_min", "sigma_max", NULL};
    static const char *const flow[] = {"second_time", "second_input", "attention_layout", NULL};
    for (size_t i = 0; cm_train_preset_name(i); i++) {
        if (!cm_train_preset_config(i)) continue;
        json_t *config = json_loads(cm_train_preset_config(i), 0, NULL), *net = json_object_get(config, "network");
        const char *type = json_string_value(json_object_get(net, "type"));
        const char *const *names = strcmp(type, "adm") == 0 ? adm : strcmp(type, "edm2") == 0 ? edm2 : edm;
        for (; *names; names++)
            ck_assert_msg(json_object_get(net, *names), "%s lacks %s", cm_train_preset_name(i), *names);
        for (names = song; *names && strcmp(type, "songunet") == 0; names++)
            ck_assert_msg(json_object_get(net, *names), "%s lacks %s", cm_train_preset_name(i), *names);
        const json_t *kind = json_object_get(json_object_get(config, "precond"), "type");
        const int two = strcmp(json_string_value(kind), "average-velocity") == 0;
        for (names = flow; *names && two; names++)
            ck_assert_msg(json_object_get(net, *names), "%s lacks %s", cm_train_preset_name(i), *names);
        ck_assert_msg(two || json_object_get(json_object_get(config, "precond"), "time"), "%s lacks precond's time",
                      cm_train_preset_name(i));
        for (names = precond; *names; names++)
            ck_assert_msg(json_object_get(json_object_get(config, "precond"), *names), "%s lacks precond's %s",
                          cm_train_preset_name(i), *names);
        json_decref(config);
    }
}
END_TEST

/* --- fresh frequencies ----------------------------------------------------------------------- */

#define FOURIER(more)                                                                                                \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": 64, "    \
    "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": [], \"channel_mult_noise\": 2, " more           \
    "}, \"precond\": {\"type\": \"edm\"}}"

START_TEST(frequencies_have_their_scale)
{
    static const char *const configs[] = {FOURIER("\"embedding_type\": \"fourier\""),
                                          FOURIER("\"embedding_type\": \"fourier\", \"fourier_scale\": 0.02")};
    double size[2] = {0};
    cm_model *m;
    for (int k = 0; k < 2; k++) {
        m = model(configs[k]);
        for (size_t i = 0; i < cm_model_param_count(m); i++) {
            const char *name;
            float values[64];
            OK(cm_model_param_info(m, i, &name, NULL, NULL, NULL));
            if (!strstr(name, "freqs")) continue;
            OK(cm_model_param_read(m, i, 64, values));
            for (int j = 0; j < 64; j++) size[k] += (double)(values[j] * values[j]) / 64;
        }
        cm_model_free(m);
    }
    ck_assert_double_eq_tol(sqrt(size[0]), 16, 4);
    ck_assert_double_eq_tol(sqrt(size[1]), 0.02, 0.005);
    FAILS(cm_model_create(NULL, FOURIER("\"fourier_scale\": 0.02"), 1, &m), CM_ERR_FORMAT,
          "no effect on embedding_type");
}
END_TEST

/* --- stages ------------------------------------------------------------------------------------ */

static double rate(const cm_train_settings *o, int64_t k)
{
    const cm_curriculum c = cmi_curriculum_of(o);
    return cmi_curriculum_at(&c, k).lr;
}

/* N is 8, 4 for 10 steps each, 2 for 20, then 1 until the end. */
START_TEST(rates_fall_in_every_stage)
{
    static const struct {
        int64_t begin, end;
    } stages[] = {{0, 10}, {10, 20}, {20, 40}, {40, 100}};
    cm_train_settings o;
    o = cmi_settings_defaults(CM_TRAIN_EDM);
    OK(cmi_settings_set(&o, "objective", "pd"));
    o.start_scales = 8, o.distill_steps = 10, o.steps = 100, o.lr = 0.5;
    OK(cmi_settings_check(&o, cmi_cpu_level()));
    for (int i = 0; i < 4; i++)
        for (int64_t k = stages[i].begin; k < stages[i].end; k++)
            ck_assert_double_eq_tol(
                rate(&o, k), 0.5 * (double)(stages[i].end - k) / (double)(stages[i].end - stages[i].begin), 1e-12);
    o.lr_final = 0.2;
    OK(cmi_settings_check(&o, cmi_cpu_level()));
    ck_assert_double_eq_tol(rate(&o, 19), 0.5 * (1 - 0.8 * 0.9), 1e-12);
    o.lr_final = 0, o.steps = 15; /* the end of the run ends the stage */
    ck_assert_double_eq_tol(rate(&o, 14), 0.5 * 0.2, 1e-12);
    o.steps = 100, o.anneal_stages = 0;
    OK(cmi_settings_check(&o, cmi_cpu_level()));
    ck_assert_double_eq_tol(rate(&o, 99), 0.5, 1e-15);
    o.anneal_stages = 1, o.anneal_begin = 5, o.anneal_end = 50;
    FAILS(cmi_settings_check(&o, cmi_cpu_level()), CM_ERR_ARGUMENT, "no effect beside anneal_stages");
    o = cmi_settings_defaults(CM_TRAIN_EDM);
    o.anneal_stages = 1;
    FAILS(cmi_settings_check(&o, cmi_cpu_level()), CM_ERR_ARGUMENT, "anneal_stages has no effect on objective edm");
    o = preset("cifar10-pd");
    ck_assert_double_eq_tol(rate(&o, 50000), 5e-5, 1e-18);
    ck_assert_double_eq_tol(rate(&o, 49999), 5e-5 / 50000, 1e-15);
    ck_assert_double_eq_tol(rate(&o, 749999), 5e-5 / 100000, 1e-15);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("presets");
    TCase *c = tcase_create("presets");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, networks_are_the_published_ones);
    tcase_add_test(c, presets_hold);
    tcase_add_test(c, rows_of_the_papers);
    tcase_add_test(c, another_network_is_named);
    tcase_add_test(c, teachers_fit_their_students);
    tcase_add_test(c, nothing_is_hidden);
    tcase_add_test(c, frequencies_have_their_scale);
    tcase_add_test(c, rates_fall_in_every_stage);
    suite_add_tcase(s, c);
    return s;
}
