/* EDM2's network: published sizes, names in files, forced normalisation in training, dropout by resolution, averages
 * and what becomes of wrong input. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nets/fold.h"
#include "nets/unit_rows.h"
#include "support/keys.h"
#include "support/trainers.h"
#include "train/phema.h"

#define NETWORK                                                                                                      \
    "{\"network\": {\"type\": \"edm2\", \"img_resolution\": 8, \"img_channels\": 3, \"label_dim\": 3, "              \
    "\"model_channels\": 8, \"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [4], "                \
    "\"channels_per_head\": 8, \"dropout\": 0.2, \"dropout_res\": 4}, "                                              \
    "\"precond\": {\"type\": \"edm\", \"sigma_min\": 0.002, \"sigma_max\": 80}}"

static cm_model *small(uint64_t seed)
{
    cm_model *m;
    OK(cm_model_create(NULL, NETWORK, seed, &m));
    return m;
}

static cm_trainer *open_edm2(const char *objective, const cm_train_settings *o)
{
    cm_trainer *t;
    cm_model *m = small(3), *teacher = needs_teacher(objective) ? small(4) : NULL;
    OK(create(m, teacher, o, &t));
    cm_model_free(m);
    cm_model_free(teacher);
    return t;
}

static cm_train_settings settings_of(const char *objective)
{
    cm_train_settings o = options(objective);
    o.augment = 0; /* it takes no augment labels */
    return o;
}

/* --- sizes and names -------------------------------------------------------------------------- */

START_TEST(published_sizes)
{
    static const struct {
        int channels, image, classes, width;
        uint64_t parameters; /* without the two tables of frequencies and phases */
    } rows[] = {{3, 64, 1000, 64, 31307749},    {3, 64, 1000, 128, 124710821}, {3, 64, 1000, 192, 280209253},
                {3, 64, 1000, 256, 497803045},  {3, 64, 1000, 320, 777492197}, {3, 64, 1000, 384, 1119276709},
                {3, 64, 1000, 448, 1523156581}, {4, 64, 1000, 64, 31308901},   {4, 64, 1000, 128, 124713125},
                {4, 64, 1000, 192, 280212709},  {4, 64, 1000, 256, 497807653}, {4, 64, 1000, 320, 777497957},
                {4, 64, 1000, 384, 1119283621}, {4, 64, 1000, 448, 1523164645}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char config[256];
        uint64_t n;
        (void)snprintf(config, sizeof config,
                       "{\"network\": {\"type\": \"edm2\", \"img_resolution\": %d, \"img_channels\": %d, "
                       "\"label_dim\": %d, \"model_channels\": %d}, \"precond\": {\"type\": \"edm\"}}",
                       rows[i].image, rows[i].channels, rows[i].classes, rows[i].width);
        OK(cm_model_count(NULL, config, &n));
        ck_assert_msg(n == rows[i].parameters + 2 * (uint64_t)rows[i].width, "width %d: %llu parameters",
                      rows[i].width, (unsigned long long)n);
    }
}
END_TEST

/* A positional embedding in place of the table of frequencies: recognised where that lacks, with slopes in sigma. */
START_TEST(positional_embedding)
{
    static const char network[] = "{\"network\": {\"type\": \"edm2\", \"img_resolution\": 8, \"img_channels\": 3, "
                                  "\"label_dim\": 3, \"model_channels\": 8, \"channel_mult\": [1, 2], "
                                  "\"num_blocks\": 1, \"attn_resolutions\": [4], \"channels_per_head\": 8, "
                                  "\"embedding_type\": \"positional\"}, \"precond\": {\"type\": \"trigflow\"}}";
    enum { N = 3 * 8 * 8 };
    cm_model *m = small(3), *p, *told;
    float x[N], d[N], slope[N], low[N], high[N], sigma = 0.5f, ends[2] = {0.49f, 0.51f}, one = 1;
    cm_tensors t = {.context = NULL};
    OK(cm_context_create(NULL, &t.context));
    cm_context *context = t.context;
    OK(cm_model_create(NULL, network, 3, &p));
    ck_assert_uint_eq(keys_count(m), keys_count(p) + 16); /* 8 frequencies, 8 phases */
    for (int i = 0; i < p->graph->n_params; i++) {
        const cm_param_desc *q = &p->graph->params[i];
        if (q->rank == 0) *(float *)(uintptr_t)p->sources[i].data = 0.75f;
        OK(keys_add(&t, q->name, q->rank, q->shape));
    }
    OK(keys_fit(context, "x.pt", &t, &told));
    ck_assert_int_eq(told->net.embedding, CM_EMBEDDING_POSITIONAL);
    ck_assert_uint_eq(keys_count(told), keys_count(p));
    const int32_t label = 1;
    cm_condition c = CM_CONDITION_INIT;
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    c.labels = &label, o.condition = &c;
    for (int i = 0; i < N; i++) x[i] = (float)(i % 17) / 8 - 1;
    OK(cm_model_denoise_tangent(p, &o, 1, x, &sigma, NULL, &one, d, slope));
    OK(cm_model_denoise(p, 1, x, &ends[0], &label, low));
    OK(cm_model_denoise(p, 1, x, &ends[1], &label, high));
    double most = 0, off = 0;
    for (int i = 0; i < N; i++) {
        const double difference = ((double)high[i] - (double)low[i]) / 0.02;
        most = fmax(most, fabs(difference));
        off = fmax(off, fabs(difference - (double)slope[i]));
    }
    ck_assert_msg(most > 0 && off < 5e-3 * most, "%g of %g off", off, most);
    cm_model_free(told), cm_model_free(p), cm_model_free(m);
    cm_context_free(context);
}
END_TEST

/* A file without a configuration, by whatever prefix; what its wrapper has beside the network is left aside. */
START_TEST(told_by_names)
{
    static const char *const prefixes[] = {"", "unet.", "model."};
    static const int64_t wide[1] = {128}, row[2] = {1, 128};
    cm_model *m = small(1), *read;
    for (int p = 0; p < 3; p++)
        for (int aside = 0; aside < 2; aside++) {
            static char called[400][96];
            cm_tensors list = {.context = m->context};
            for (int i = 0; i < m->graph->n_params; i++) {
                const cm_param_desc *d = &m->graph->params[i];
                (void)snprintf(called[i], sizeof called[i], "%s%s", prefixes[p], d->name);
                OK(keys_add(&list, called[i], d->rank, d->shape));
            }
            if (aside) {
                OK(keys_add(&list, "logvar_fourier.freqs", 1, wide));
                OK(keys_add(&list, "logvar_fourier.phases", 1, wide));
                OK(keys_add(&list, "logvar_linear.weight", 2, row));
            }
            OK(keys_fit(m->context, "x.pt", &list, &read));
            ck_assert_int_eq(read->net.channels_per_head, 16); /* in the narrowest attention there is one head */
            ck_assert_int_eq(read->net.num_classes, 3);
            cm_model_free(read);
        }
    cm_model_free(m);
}
END_TEST

static void set_gains(cm_model *m)
{
    for (int i = 0; i < m->graph->n_params; i++)
        if (m->graph->params[i].rank == 0) *(float *)(uintptr_t)m->sources[i].data = 0.75f;
}

static void denoise(cm_model *m, const int32_t *labels, float *out)
{
    float x[2 * VALUES], sigma[2] = {0.3f, 20};
    for (int i = 0; i < 2 * VALUES; i++) x[i] = (float)(i % 17) / 8 - 1;
    OK(cm_model_denoise(m, 2, x, sigma, labels, out));
}

START_TEST(saved_and_loaded)
{
    static const char *const files[] = {"m.safetensors", "m.pt"};
    const int32_t labels[2] = {2, -1};
    float a[2 * VALUES], b[2 * VALUES];
    cm_model *m = small(1), *read;
    denoise(m, labels, a);
    for (int i = 0; i < VALUES; i++) ck_assert(fabs((double)a[VALUES + i]) < 1e-2); /* fresh: c_skip x alone */
    cm_model_free(m);
    m = small(1);
    set_gains(m);
    denoise(m, labels, a);
    for (int k = 0; k < 2; k++) {
        cm_save_options o = CM_SAVE_OPTIONS_INIT;
        o.format = k ? CM_MODEL_TORCH : CM_MODEL_NATIVE;
        OK(cm_model_save(m, in_dir(files[k]), &o));
        OK(cm_model_load(NULL, in_dir(files[k]), NULL, &read));
        denoise(read, labels, b);
        ck_assert_mem_eq(a, b, sizeof a);
        cm_model_free(read);
    }
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.format = CM_MODEL_DIFFUSERS;
    FAILS(cm_model_save(m, in_dir("folder"), &o), CM_ERR_UNSUPPORTED, "edm2");
    cm_model_free(m);
}
END_TEST

START_TEST(wrong_input)
{
    static const struct {
        const char *network;
        cm_status status;
        const char *words;
    } rows[] = {
        {"\"img_resolution\": 10", CM_ERR_SHAPE, "divisible"},
        {"\"img_resolution\": 8, \"res_balance\": 1", CM_ERR_FORMAT, "res_balance"},
        {"\"img_resolution\": 8, \"resample_filter\": [1, 3, 3, 1]", CM_ERR_UNSUPPORTED, "resample_filter"},
        {"\"img_resolution\": 8, \"augment_dim\": 9", CM_ERR_FORMAT, "augment_dim"},
        {"\"img_resolution\": 8, \"clip_act\": 0", CM_ERR_FORMAT, "clip_act"},
        {"\"img_resolution\": 8, \"channels_per_head\": 3", CM_ERR_SHAPE, "heads"},
    };
    cm_model *m;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char config[400];
        (void)snprintf(config, sizeof config,
                       "{\"network\": {\"type\": \"edm2\", \"img_channels\": 3, \"model_channels\": 8, "
                       "\"channel_mult\": [1, 2, 2], \"num_blocks\": 1, %s}, \"precond\": {\"type\": \"edm\"}}",
                       rows[i].network);
        FAILS(cm_model_create(NULL, config, 1, &m), rows[i].status, rows[i].words);
    }
    float x[VALUES] = {0}, sigma = 1, out[VALUES];
    const int32_t label = 1;
    OK(cm_model_create(NULL,
                       "{\"network\": {\"type\": \"edm2\", \"img_resolution\": 8, \"img_channels\": 3, "
                       "\"model_channels\": 8, \"channel_mult\": [1], \"num_blocks\": 1}, \"precond\": {\"type\": "
                       "\"edm\"}}",
                       1, &m));
    FAILS(cm_model_denoise(m, 1, x, &sigma, &label, out), CM_ERR_ARGUMENT, "unconditional");
    cm_model_free(m);
}
END_TEST

/* --- rows of one length --------------------------------------------------------------------------- */

static double length_of(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sqrt(sum / (double)n);
}

START_TEST(rows_of_one_length)
{
    enum { ROWS = 3, N = 29 };
    const cm_param_desc p = {.rank = 2, .shape = {ROWS, N}, .derived = {.factor = 0.5}};
    float v[ROWS * N], w[ROWS * N], dw[ROWS * N], dv[ROWS * N], dgain;
    uint64_t state = seeded(7);
    for (int i = 0; i < ROWS * N; i++) v[i] = i < N ? 0 : 3 * random_float(&state), dw[i] = random_float(&state);
    cmi_unit_rows_values(&p, 1.5f, v, w);
    for (int i = 0; i < N; i++) ck_assert(w[i] == 0);
    for (int r = 1; r < ROWS; r++) {
        const double root = length_of(v + r * N, N), scale = 0.75 / sqrt(N) / (1e-4 + root);
        for (int i = r * N; i < (r + 1) * N; i++) ck_assert(fabs((double)w[i] - scale * (double)v[i]) < 1e-7);
    }
    cmi_unit_rows_gradient(&p, 1.5f, v, dw, dv, &dgain);
    for (int i = 0; i < N; i++) /* of a row of zeros: as if it had no length */
        ck_assert(fabs((double)dv[i] - 0.75 / sqrt(N) * 1e4 * (double)dw[i]) < 1e-3);
    double gain = 0;
    for (int i = 0; i < ROWS * N; i++) gain += (double)w[i] * (double)dw[i] / 1.5;
    ck_assert(fabs((double)dgain - gain) < 1e-6);
    for (int i = N; i < ROWS * N; i++) { /* central differences */
        const float kept = v[i];
        float up[ROWS * N], down[ROWS * N];
        double slope = 0;
        v[i] = kept + 0.01f, cmi_unit_rows_values(&p, 1.5f, v, up);
        v[i] = kept - 0.01f, cmi_unit_rows_values(&p, 1.5f, v, down);
        v[i] = kept;
        for (int k = 0; k < ROWS * N; k++) slope += ((double)up[k] - (double)down[k]) / 0.02 * (double)dw[k];
        ck_assert_msg(fabs(slope - (double)dv[i]) < 1e-4, "%g, expected %g", (double)dv[i], slope);
    }
    cmi_unit_rows_force(&p, v);
    for (int r = 1; r < ROWS; r++) ck_assert(fabs(length_of(v + r * N, N) - 1) < 2e-3);
}
END_TEST

/* Weights of layers have the length 1 in the beginning and after every step; tables and gains are left alone. */
static void check_lengths(const cm_trainer *t, const char *name)
{
    const cm_graph *g = t->learner->graph;
    for (int i = 0; i < g->n_params; i++) {
        if (g->params[i].rank < 2) continue;
        const size_t rows = (size_t)g->params[i].shape[0], n = cmi_param_elements(&g->params[i]) / rows;
        for (size_t r = 0; r < rows; r++) {
            const double length = length_of(t->learner->online.values + t->learner->offsets[i] + r * n, n);
            ck_assert_msg(fabs(length - 1) < 5e-4, "%s: row %zu of %s has the length %g", name, r, g->params[i].name,
                          length);
        }
    }
}

static const char *const trained[] = {"edm", "ect", "cd", "ct", "pd"};

START_TEST(forced_normalisation)
{
    const char *name = trained[_i];
    cm_train_settings o = settings_of(name);
    double losses[4];
    o.threads = 1;
    cm_trainer *one = open_edm2(name, &o);
    check_lengths(one, name);
    float *before = malloc(one->learner->floats * sizeof *before);
    memcpy(before, one->learner->online.values, one->learner->floats * sizeof *before);
    OK(steps(one, 4, losses));
    check_lengths(one, name);
    for (int i = 0; i < one->learner->graph->n_params; i++) {
        const cm_param_desc *p = &one->learner->graph->params[i];
        const size_t at = one->learner->offsets[i], bytes = cmi_param_elements(p) * sizeof *before;
        const int same = memcmp(before + at, one->learner->online.values + at, bytes) == 0;
        ck_assert_msg(same == p->exact, "%s: %s is %s", name, p->name, same ? "as before" : "changed");
    }
    for (int threads = 2; threads <= 4; threads++) {
        o.threads = threads;
        cm_trainer *t = open_edm2(name, &o);
        OK(steps(t, 4, NULL));
        ck_assert_msg(same_state(one, t), "%s: %d threads change the bits", name, threads);
        cm_trainer_free(t);
    }
    cm_trainer_free(one);
    free(before);
}
END_TEST

START_TEST(resumed)
{
    const char *name = trained[_i];
    cm_train_settings o = settings_of(name);
    cm_trainer *t = open_edm2(name, &o), *second = open_edm2(name, &o);
    OK(steps(t, 2, NULL));
    OK(cm_trainer_save(t, in_dir("run"), 0));
    OK(steps(t, 5, NULL));
    char copy[200], command[500];
    (void)snprintf(copy, sizeof copy, "%s-copy", in_dir("run"));
    (void)snprintf(command, sizeof command, "cp -r %s %s", in_dir("run"), copy);
    ck_assert_int_eq(system(command), 0);
    OK(cm_trainer_resume(second, copy, NULL, 0));
    OK(steps(second, 5, NULL));
    ck_assert_msg(same_state(t, second), "%s: the resumed run differs", name);
    cm_trainer_free(t);
    cm_trainer_free(second);
}
END_TEST

START_TEST(learns_in_bfloat16)
{
    double exact[3], coarse[3];
    cm_train_settings o = settings_of("edm");
    cm_trainer *t = open_edm2("edm", &o);
    OK(steps(t, 3, exact));
    cm_trainer_free(t);
    OK(cmi_settings_set(&o, "precision", "bf16"));
    OK(cmi_settings_set(&o, "debug", "bf16_emulate=1"));
    t = open_edm2("edm", &o);
    OK(steps(t, 3, coarse));
    for (int i = 0; i < 3; i++) ck_assert(coarse[i] > 0 && fabs(coarse[i] - exact[i]) < 0.05 * exact[i]);
    cm_trainer_free(t);
}
END_TEST

/* The second level of a network of EDM2 is that of its papers, not the one of CIFAR-10. */
START_TEST(second_levels_of_edm2)
{
    static const char *const objectives[] = {"ect", "tcm"};
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++) {
        cm_train_settings o = settings_of(objectives[i]);
        cm_trainer *t = open_edm2(objectives[i], &o);
        cm_model *m;
        OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m));
        ck_assert_int_eq(m->sampling.n_sigmas, 2);
        ck_assert_double_eq(m->sampling.sigmas[1], 1.526);
        cm_model_free(m);
        cm_trainer_free(t);
    }
}
END_TEST

/* With EDM2's adaptive weight the loss is w d / exp(u) + u, by whose gradient u learns beside the network. */
START_TEST(adaptive_weight)
{
    cm_train_settings o = settings_of("edm");
    double plain, weighed, losses[60];
    OK(cmi_settings_set(&o, "p_mean", "-0.8"));
    OK(cmi_settings_set(&o, "p_std", "1e-6")); /* one level, at which u is known */
    cm_trainer *t = open_edm2("edm", &o);
    OK(steps(t, 1, &plain));
    cm_trainer_free(t);
    OK(cmi_settings_set(&o, "weight_net", "fourier"));
    t = open_edm2("edm", &o);
    const double u = cmi_weight_net_value(&t->learner->weighing.net, t->learner->weighing.exact, -0.8 / 4);
    OK(steps(t, 1, &weighed));
    ck_assert_msg(fabs(weighed - (plain / exp(u) + u)) < 1e-5 * fabs(weighed), "%g, expected %g", weighed,
                  plain / exp(u) + u);
    /* u goes to the log of the loss. */
    o.lr = 0.05, o.steps = 300;
    cm_trainer *long_run = open_edm2("edm", &o);
    OK(steps(long_run, 60, losses));
    cm_weighing *w = &long_run->learner->weighing;
    for (int32_t i = 0; i < w->size; i++) w->exact[i] = (double)w->values[i];
    const double after = cmi_weight_net_value(&w->net, w->exact, -0.8 / 4);
    const double last = log((losses[59] - after) * exp(after)); /* of the loss itself */
    ck_assert_msg(fabs(after - last) < 0.5, "u is %g, the log of the loss %g", after, last);
    cm_trainer_free(long_run);
    o.lr = 1e-2, o.steps = 20;
    o.threads = 3;
    cm_trainer *other = open_edm2("edm", &o);
    OK(cm_trainer_save(t, in_dir("weighed"), 0));
    OK(steps(t, 4, losses));
    OK(steps(other, 4, NULL));
    ck_assert(same_state(t, other));
    ck_assert_mem_eq(t->learner->weighing.values, other->learner->weighing.values,
                     sizeof t->learner->weighing.values);
    cm_trainer_free(t);
    cm_trainer_free(other);
}
END_TEST

/* What cm_trainer_estimate says is what the learner takes. */
START_TEST(memory_is_foretold)
{
    cm_train_settings o = settings_of("ct");
    const cm_train_options handle = {NULL, o};
    uint64_t bytes, floats = 0;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_model *m = small(3);
    inputs.model = m;
    OK(cm_trainer_estimate(&inputs, &handle, &bytes));
    cm_trainer *t = open_edm2("ct", &o);
    const size_t real = cmi_learner_bytes(t->learner);
    floats = t->learner->floats * (2 + (uint64_t)o.ema.count) * sizeof(float);
    ck_assert_msg(bytes >= real + floats && (double)bytes < 1.2 * (double)(real + floats), "%llu, real %zu + %llu",
                  (unsigned long long)bytes, real, (unsigned long long)floats);
    cm_trainer_free(t);
    cm_model_free(m);
}
END_TEST

/* Dropout is in the blocks of sides up to dropout_res alone. */
START_TEST(dropout_by_resolution)
{
    cm_model *m = small(1);
    cm_graph *g;
    int dropouts = 0;
    OK(cmi_model_describe(m->context, &m->net, &m->precond, 8, 8, 0.2, 1, &g));
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op != &cmi_op_dropout) continue;
        ck_assert_int_eq(g->values[g->nodes[i].out].desc.h, 4);
        dropouts++;
    }
    ck_assert_int_eq(dropouts, 6); /* down, a block; in0, in1, two blocks */
    cmi_graph_free(g);
    cm_model_free(m);
}
END_TEST

/* lr / sqrt(max(k / decay, 1)) */
START_TEST(rate_of_learning)
{
    cm_train_settings s = cmi_settings_defaults(CM_TRAIN_EDM);
    OK(cmi_settings_set(&s, "lr", "0.01"));
    OK(cmi_settings_set(&s, "lr_decay_steps", "100"));
    const cm_curriculum c = cmi_curriculum_of(&s);
    ck_assert(cmi_curriculum_at(&c, 0).lr == 0.01 && cmi_curriculum_at(&c, 100).lr == 0.01);
    ck_assert(fabs(cmi_curriculum_at(&c, 400).lr - 0.005) < 1e-15);
    ck_assert(fabs(cmi_curriculum_at(&c, 250).lr - 0.01 / sqrt(2.5)) < 1e-15);
}
END_TEST

/* --- averages after a run -------------------------------------------------------------------- */

static cm_status reconstruct(const char *const *paths, size_t n, double std, double images, cm_model **out)
{
    cm_average_options o = CM_AVERAGE_OPTIONS_INIT;
    o.std = std, o.images = images;
    return cm_average_reconstruct(NULL, paths, n, &o, out);
}

/* Progress: how often it was asked, where it was last, and the call that it stops. */
typedef struct {
    int asked, stop_at;
    uint64_t last, total;
} watching;

static int32_t watch(void *user, uint64_t done, uint64_t total)
{
    watching *w = user;
    ck_assert_uint_ge(done, w->last);
    ck_assert(w->asked == 0 || total == w->total);
    w->last = done, w->total = total;
    return w->asked++ == w->stop_at;
}

/* It can be stopped at any place, and else goes up to its end. */
static void progress_of_reconstruction(const char *const *paths, size_t n)
{
    cm_average_options o = CM_AVERAGE_OPTIONS_INIT;
    watching w = {.stop_at = -1};
    cm_model *m;
    o.std = 0.07;
    o.progress = watch, o.progress_user = &w;
    OK(cm_average_reconstruct(NULL, paths, n, &o, &m));
    cm_model_free(m);
    ck_assert_uint_eq(w.last, w.total);
    const int all = w.asked;
    ck_assert_int_gt(all, (int)(2 * n));
    for (int i = 0; i < all; i += all / 7) {
        w = (watching){.stop_at = i};
        FAILS(cm_average_reconstruct(NULL, paths, n, &o, &m), CM_ERR_CANCELLED, "cancelled");
        ck_assert_ptr_null(m);
    }
    o.reserved = 1;
    FAILS(cm_average_reconstruct(NULL, paths, n, &o, &m), CM_ERR_ARGUMENT, "reserved is 1");
    FAILS(cm_average_reconstruct(NULL, paths, n, NULL, &m), CM_ERR_ARGUMENT, "std has no default");
}

/* Of weights that lie on a line over the steps each average is known: the mean time of its profile. */
START_TEST(reconstruction)
{
    enum { SNAPSHOTS = 4, EACH = 8 };
    cm_train_settings o = settings_of("edm");
    OK(cmi_settings_set(&o, "ema", "power:0.05,power:0.1"));
    o.batch = 4, o.steps = SNAPSHOTS * EACH, o.lr = 1e-3;
    cm_trainer *t = open_edm2("edm", &o);
    static char paths[2 * SNAPSHOTS][200];
    const char *list[2 * SNAPSHOTS + 1];
    float *average = NULL, *wanted;
    cm_model *begin;
    const size_t floats = t->learner->floats;
    static float images[BATCH * VALUES];
    int32_t labels[BATCH];
    average = calloc(floats, sizeof *average), wanted = calloc(floats, sizeof *wanted);
    const cm_ema_rate direct = {CM_EMA_POWER, 0.07, 0};
    OK(cm_trainer_model(t, CM_WEIGHTS_EMA, 0, &begin));
    OK(cm_model_save(begin, in_dir("begin.safetensors"), NULL));
    cm_model_free(begin);
    for (int s = 0; s < SNAPSHOTS; s++) {
        for (int k = 0; k < EACH; k++) {
            /* The average of width 0.07 beside the run: of the weights after the update, as the run's own are. */
            batch(t->step, images, labels);
            const int64_t step = t->step;
            OK(step_of(t, 4, images, labels, NULL));
            cmi_ema_apply(cmi_ema_rate_at(&direct, step, (double)step * 4, 4), floats, average,
                          t->learner->online.values);
        }
        for (int e = 0; e < 2; e++) {
            const int i = 2 * s + e;
            cm_model *m;
            OK(cm_trainer_model(t, CM_WEIGHTS_EMA, e, &m));
            (void)snprintf(paths[i], sizeof paths[i], "%s/snapshot-%d-%d.safetensors", dir, s, e);
            OK(cm_model_save(m, paths[i], NULL));
            list[i] = paths[i];
            cm_model_free(m);
        }
    }
    cm_model *m, *same;
    list[2 * SNAPSHOTS] = in_dir("begin.safetensors");
    FAILS(reconstruct(list + 2 * SNAPSHOTS, 1, 0.07, 0, &m), CM_ERR_ARGUMENT, "of any step");
    OK(reconstruct(list, 2 * SNAPSHOTS + 1, 0.07, 0, &m));
    OK(cmi_model_values(m, wanted));
    double off = 0, moved = 0;
    for (size_t i = 0; i < floats; i++) {
        off += pow((double)wanted[i] - (double)average[i], 2);
        moved += pow((double)t->ema[0][i] - (double)t->ema[1][i], 2);
    }
    ck_assert_msg(off < 0.01 * moved, "off by %g of what the stored ones differ by", sqrt(off / moved));
    ck_assert_ptr_nonnull(strstr(m->config_text, "\"reconstructed_from\":8"));
    cm_model_free(m);
    /* A stored one comes back as it is. */
    OK(reconstruct(list, 2 * SNAPSHOTS, 0.1, 0, &same));
    OK(cmi_model_values(same, wanted));
    for (size_t i = 0; i < floats; i++) ck_assert(fabs((double)wanted[i] - (double)t->ema[1][i]) < 1e-5);
    cm_model_free(same);
    progress_of_reconstruction(list, 2 * SNAPSHOTS + 1);
    /* One in the middle of the run. */
    OK(reconstruct(list, 2 * SNAPSHOTS, 0.1, 2 * EACH * 4, &same));
    cm_model_free(same);
    FAILS(reconstruct(list, 2, 0.1, 1e6, &same), CM_ERR_ARGUMENT, "the last of the files");
    FAILS(reconstruct(list, 2, 0.3, 0, &same), CM_ERR_ARGUMENT, "std is 0.3");
    FAILS(reconstruct(list, 0, 0.1, 0, &same), CM_ERR_ARGUMENT, "no files");
    list[1] = list[0];
    FAILS(reconstruct(list, 2, 0.1, 0, &same), CM_ERR_ARGUMENT, "the same average");
    OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m));
    OK(cm_model_save(m, in_dir("online.safetensors"), NULL));
    cm_model_free(m);
    list[1] = in_dir("online.safetensors");
    FAILS(reconstruct(list, 2, 0.1, 0, &same), CM_ERR_FORMAT, "neither its metadata nor its name");
    m = tiny(NULL, 1);
    OK(cm_model_save(m, in_dir("song.safetensors"), NULL));
    cm_model_free(m);
    list[1] = in_dir("song.safetensors");
    FAILS(reconstruct(list, 2, 0.1, 0, &same), CM_ERR_SHAPE, "another network");
    ck_assert_ptr_null(same);
    cm_trainer_free(t);
    free(average), free(wanted);
}
END_TEST

/* EDM2's own names say what a snapshot is. */
START_TEST(reconstruction_by_names)
{
    static const char *const called[] = {"edm2-0000100-0.050.safetensors", "edm2-0000100-0.100.safetensors"};
    char paths[2][200];
    const char *const list[2] = {paths[0], paths[1]};
    cm_model *m = small(1), *out;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s", dir, called[i]);
        OK(cm_model_save(m, paths[i], NULL));
    }
    OK(reconstruct(list, 2, 0.075, 0, &out));
    ck_assert_ptr_nonnull(strstr(out->config_text, "\"images\":100000"));
    ck_assert_ptr_nonnull(strstr(out->config_text, "\"reconstructed_from\":2"));
    cm_model_free(out);
    (void)snprintf(paths[1], sizeof paths[1], "%s/edm2-9999999999999999-0.050.safetensors", dir);
    OK(cm_model_save(m, paths[1], NULL));
    FAILS(reconstruct(list, 2, 0.075, 0, &out), CM_ERR_FORMAT, "after 1e+19 images is none");
    FAILS(reconstruct(list, 2, 0.075, 1e18, &out), CM_ERR_ARGUMENT, "images is 1e+18");
    static const char *many[1001];
    for (int i = 0; i < 1001; i++) many[i] = paths[0];
    FAILS(reconstruct(many, 1001, 0.075, 0, &out), CM_ERR_LIMIT, "at most 1000");
    cm_model_free(m);
}
END_TEST

/* Many averages that are nearly the same: the weights stay finite and their sum is 1. */
START_TEST(nearly_dependent_profiles)
{
    enum { N = 64 };
    cm_profile stored[N];
    double weights[N], sum = 0;
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    for (int i = 0; i < N; i++) stored[i] = (cm_profile){1e6 * (1 + i / 2), i % 2 ? 0.05 : 0.1};
    OK(cmi_profile_weights(context, N, stored, (cm_profile){32e6, 0.08}, weights));
    for (int i = 0; i < N; i++) sum += weights[i], ck_assert(isfinite(weights[i]));
    ck_assert(fabs(sum - 1) < 1e-9);
    for (int i = 0; i < N; i++) stored[i] = (cm_profile){1e6 * (1 + 1e-9 * i), 0.1};
    OK(cmi_profile_weights(context, N, stored, (cm_profile){1e6, 0.1}, weights));
    for (int i = 0; i < N; i++) ck_assert(isfinite(weights[i]) && fabs(weights[i]) < 1e6);
    OK(cmi_profile_weights(context, 1, stored, (cm_profile){1e6, 0.05}, weights));
    ck_assert(weights[0] == 1);
    cm_context_free(context);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("edm2");
    TCase *t = tcase_create("edm2");
    tcase_set_timeout(t, 600);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, published_sizes);
    tcase_add_test(t, positional_embedding);
    tcase_add_test(t, told_by_names);
    tcase_add_test(t, saved_and_loaded);
    tcase_add_test(t, wrong_input);
    tcase_add_test(t, rows_of_one_length);
    tcase_add_loop_test(t, forced_normalisation, 0, sizeof trained / sizeof *trained);
    tcase_add_loop_test(t, resumed, 0, sizeof trained / sizeof *trained);
    tcase_add_test(t, learns_in_bfloat16);
    tcase_add_test(t, second_levels_of_edm2);
    tcase_add_test(t, adaptive_weight);
    tcase_add_test(t, memory_is_foretold);
    tcase_add_test(t, dropout_by_resolution);
    tcase_add_test(t, rate_of_learning);
    tcase_add_test(t, reconstruction);
    tcase_add_test(t, reconstruction_by_names);
    tcase_add_test(t, nearly_dependent_profiles);
    suite_add_tcase(s, t);
    return s;
}
