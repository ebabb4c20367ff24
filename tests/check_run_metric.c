/* The metric of a run: samples on the way are compared with a reference, each distance is logged, and the best
 * weights are kept; with the same bytes in pieces, stopped from everywhere, and refused before the training begins.
 */
#include "support/suite.h"

#include <limits.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "support/each_request.h"
#include "support/runs.h"

static const char lenet[] = "models/features/lenet.safetensors", reference[] = "models/features/lenet-train.npz";

enum { SAMPLES = 30, MOST = 64 };

/* Every second step, of few samples. */
static void set_metric(cm_run_options *o)
{
    set(o, "metric", "fd-lenet");
    set(o, "metric_data", reference);
    set(o, "metric_features", lenet);
    set(o, "metric_every", "2");
    set(o, "metric_samples", "30");
    set(o, "metric_steps", "2");
    set(o, "metric_few", "1");
}

static cm_run_options *metric_options(const char *steps)
{
    cm_run_options *o = options(steps);
    set_metric(o);
    return o;
}

/* The distances of a log, in its order; returns how many. */
static int logged(const char *name, double *distances, int64_t *steps)
{
    char line[1024];
    int n = 0;
    FILE *f = fopen(in_dir(name), "r");
    while (f && n < MOST && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, "\"fd-lenet\": "), *step = strstr(line, "\"step\": ");
        if (!at || !step) continue;
        steps[n] = strtoll(step + 8, NULL, 10);
        distances[n++] = strncmp(at + 12, "null", 4) == 0 ? (double)NAN : strtod(at + 12, NULL);
    }
    if (f) fclose(f);
    return n;
}

static void same_best(const char *a, const char *b)
{
    char command[3 * PATH];
    snprintf(command, sizeof command, "cmp %s/%s/best.safetensors %s/%s/best.safetensors", dir, a, dir, b);
    ck_assert_int_eq(system(command), 0);
}

/* Whether the file's configuration has these words. */
static int best_says(const char *run, const char *words)
{
    char name[64];
    cm_model *model;
    cm_model_info info = CM_MODEL_INFO_INIT;
    snprintf(name, sizeof name, "%s/best.safetensors", run);
    OK(cm_model_load(NULL, in_dir(name), NULL, &model));
    OK(cm_model_info_get(model, &info));
    const int found = strstr(info.config_json, words) != NULL;
    cm_model_free(model);
    return found;
}

/* --- what is logged and kept --------------------------------------------------------------------- */

/* The same by the calls of sampler.h and metrics.h: seed 0, classes in turn, two Heun steps. */
static double distance_of(const char *path)
{
    cm_model *model;
    cm_sampler *sampler;
    cm_features *network;
    cm_statistics *ours, *theirs;
    cm_sample_options s = CM_SAMPLE_OPTIONS_INIT;
    int32_t labels[SAMPLES];
    float *images = malloc(SAMPLES * 32 * 32 * sizeof *images), *rows = malloc(SAMPLES * 64 * sizeof *rows);
    double distance;
    for (int i = 0; i < SAMPLES; i++) labels[i] = i % 10;
    s.method = CM_METHOD_HEUN;
    s.steps = 2;
    s.condition = LABELS(labels);
    OK(cm_model_load(NULL, path, NULL, &model));
    OK(cm_sampler_create(model, NULL, &sampler));
    OK(cm_sampler_run(sampler, &s, SAMPLES, images));
    const cm_images all = cm_images_f32(SAMPLES, 1, 32, 32, images);
    OK(cm_features_open(NULL, lenet, NULL, &network));
    OK(cm_features_run(network, &all, rows, NULL));
    OK(cm_statistics_create(NULL, 64, &ours));
    OK(cm_statistics_add(ours, SAMPLES, rows));
    OK(cm_statistics_read(NULL, reference, NULL, &theirs));
    OK(cm_frechet_distance(ours, theirs, &distance));
    cm_statistics_free(ours);
    cm_statistics_free(theirs);
    cm_features_free(network);
    cm_sampler_free(sampler);
    cm_model_free(model);
    free(images);
    free(rows);
    return distance;
}

typedef struct {
    int n, best;
    double last;
} told;

static int32_t look(void *user, const cm_run_report *r)
{
    told *t = user;
    ck_assert_str_eq(r->metric, "fd-lenet");
    if (r->event != CM_RUN_METRIC) return 0;
    t->n++;
    t->best += r->path != NULL;
    t->last = r->distance;
    ck_assert((r->step % 2 == 0 || r->step == r->steps) && r->best_step > 0 && r->best_step <= r->step &&
              r->best_distance <= r->distance);
    ck_assert_int_eq(r->path != NULL, r->best_step == r->step);
    if (r->path) ck_assert_int_eq(access(r->path, F_OK), 0);
    return 0;
}

START_TEST(a_metric)
{
    told t = {0};
    double d[MOST];
    int64_t steps[MOST];
    cm_run *r = made(metric_options("7"), "run");
    cm_run_info i = info_of(r);
    ck_assert_str_eq(i.metric, "fd-lenet");
    ck_assert(i.evaluations == 0 && i.best_step == 0 && i.metric_share <= 0 && !exists("run"));
    OK(cm_run_execute(r, 7, look, &t));
    ck_assert_int_eq(logged("run/log.jsonl", d, steps), 4); /* 2, 4, 6 and the last one */
    ck_assert(steps[0] == 2 && steps[1] == 4 && steps[2] == 6 && steps[3] == 7);
    i = info_of(r);
    ck_assert(i.evaluations == 4);
    int least = 0;
    for (int k = 1; k < 4; k++)
        if (d[k] < d[least]) least = k;
    ck_assert_int_eq(i.best_step, steps[least]);
    ck_assert_double_eq(i.best_distance, d[least]);
    ck_assert_double_eq(distance_of(in_dir("run/best.safetensors")), d[least]);
    ck_assert_double_eq(distance_of(in_dir("run/checkpoints/step-000000007/ema-warmup-0.9.safetensors")), d[3]);
    cm_run_free(r);
}
END_TEST

START_TEST(a_metric_told)
{
    told t = {0};
    cm_run *r = made(metric_options("6"), "run");
    OK(cm_run_execute(r, 6, look, &t));
    ck_assert(t.n == 3 && t.best >= 1 && t.last > 0);
    ck_assert_int_eq(lines_of("run/log.jsonl"), 9);
    ck_assert(contains("run/config.json", "\"metric\": \"fd-lenet\"") &&
              contains("run/config.json", "\"metric_every\": 2") && best_says("run", "samples 30"));
    cm_run_free(r);
}
END_TEST

/* --- in pieces --------------------------------------------------------------------------------------- */

static int32_t stop_at_six(void *user, const cm_run_report *r)
{
    (void)user;
    return r->event == CM_RUN_STEP && r->step == 6; /* the evaluation of this step is still to come */
}

static int32_t cancel_at_nine(void *user, const cm_run_report *r)
{
    if (r->step == 9) cm_run_cancel(user);
    return 0;
}

START_TEST(the_same_best_in_pieces)
{
    double d[MOST];
    int64_t steps[MOST];
    cm_run *r = made(metric_options("12"), "whole");
    OK(cm_run_execute(r, 12, NULL, NULL));
    cm_run_free(r);
    r = made(metric_options("12"), "parts");
    OK(cm_run_execute(r, 3, NULL, NULL));
    FAILS(cm_run_execute(r, 12, stop_at_six, NULL), CM_ERR_CANCELLED, "stopped after step 6");
    ck_assert_int_eq(logged("parts/log.jsonl", d, steps), 2);
    cm_run_free(r);
    r = loaded("parts", NULL, NULL);
    OK(cm_run_begin(r));
    ck_assert(info_of(r).best_step == 2 || info_of(r).best_step == 4);
    FAILS(cm_run_execute(r, 12, cancel_at_nine, r), CM_ERR_CANCELLED, "stopped after step 9");
    ck_assert_int_eq(logged("parts/log.jsonl", d, steps), 4);
    cm_run_free(r);
    r = loaded("parts", NULL, NULL);
    OK(cm_run_execute(r, 12, NULL, NULL));
    cm_run_free(r);
    same_files("whole", "parts");
    same_best("whole", "parts");
}
END_TEST

/* Of an evaluation that takes far longer than a stop may. */
START_TEST(stopped_within_an_evaluation)
{
    pthread_t thread;
    cm_run_options *o = metric_options("1000");
    set(o, "metric_every", "1");
    set(o, "metric_samples", "10000000");
    working w = {made(o, "run"), CM_OK, 1000};
    start(&w, &thread);
    pause_for(100000);
    const time_t began = time(NULL);
    cm_run_stop(w.run);
    pthread_join(thread, NULL);
    ck_assert_int_eq(w.status, CM_ERR_CANCELLED);
    ck_assert(time(NULL) - began < 60 && exists("run/checkpoints/step-000000001") && !exists("run/best.safetensors"));
    ck_assert_int_eq(lines_of("run/log.jsonl"), 1);
    /* It is made when the run goes on, and can be stopped there too. */
    ck_assert_int_eq(pthread_create(&thread, NULL, work, &w), 0);
    pause_for(300000);
    cm_run_stop(w.run);
    pthread_join(thread, NULL);
    ck_assert_int_eq(w.status, CM_ERR_CANCELLED);
    ck_assert_int_eq(info_of(w.run).step, 1);
    cm_run_free(w.run);
}
END_TEST

/* A value that does not compare is not the best of anything. */
START_TEST(another_metric)
{
    cm_run *r = made(metric_options("2"), "run");
    OK(cm_run_execute(r, 2, NULL, NULL));
    ck_assert_int_eq(info_of(r).best_step, 2);
    cm_run_free(r);
    cm_run_options *o;
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_load(o, in_dir("run")));
    set(o, "steps", "4");
    set(o, "metric_samples", "20");
    r = made(o, "run");
    OK(cm_run_begin(r));
    ck_assert_int_eq(info_of(r).best_step, 0);
    OK(cm_run_execute(r, 4, NULL, NULL));
    ck_assert_int_eq(info_of(r).best_step, 4);
    ck_assert(best_says("run", "samples 20"));
    cm_run_free(r);
    /* Without a metric the file stays as it is; a damaged one is replaced. */
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_load(o, in_dir("run")));
    set(o, "steps", "5");
    set(o, "metric", "");
    r = made(o, "run");
    OK(cm_run_execute(r, 5, NULL, NULL));
    ck_assert(info_of(r).metric == NULL && best_says("run", "samples 20"));
    cm_run_free(r);
    ck_assert_int_eq(truncate(in_dir("run/best.safetensors"), 1000), 0);
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_load(o, in_dir("run")));
    ck_assert_int_eq(contains("run/config.json", "metric"), 0);
    cm_run_options_free(o);
    OK(cm_run_options_create(NULL, &o));
    OK(cm_run_options_load(o, in_dir("run")));
    set(o, "steps", "6");
    set_metric(o);
    r = made(o, "run");
    OK(cm_run_execute(r, 6, NULL, NULL));
    ck_assert(info_of(r).best_step == 6 && best_says("run", "samples 30"));
    cm_run_free(r);
}
END_TEST

/* Weights that are no numbers have no distance; the run goes on as it would. */
START_TEST(astray)
{
    double d[MOST];
    int64_t steps[MOST];
    cm_run_options *o = metric_options("6");
    set(o, "lr", "1e6");
    set(o, "skip_nonfinite", "9");
    set(o, "ema", "none");
    cm_run *r = made(o, "run");
    OK(cm_run_execute(r, 6, NULL, NULL));
    ck_assert_int_eq(logged("run/log.jsonl", d, steps), 3);
    ck_assert(isnan(d[2]) && info_of(r).step == 6 && info_of(r).evaluations == 3);
    cm_run_free(r);
}
END_TEST

/* --- time ------------------------------------------------------------------------------------------ */

/* A share that no evaluation fits into, and one that leaves room for some. */
START_TEST(a_share_of_the_time)
{
    double d[MOST];
    int64_t steps[MOST];
    cm_run_needs n = CM_RUN_NEEDS_INIT;
    cm_run_options *o = options("8");
    set(o, "metric", "fd-lenet");
    set(o, "metric_data", reference);
    set(o, "metric_features", lenet);
    set(o, "metric_share", "1");
    cm_run *r = made(o, "little");
    OK(cm_run_estimate(r, CM_RUN_TIME, &n));
    ck_assert_double_eq_tol(n.metric_share, 0.01, 1e-12);
    ck_assert_double_eq_tol(info_of(r).metric_share, 1, 1e-12);
    OK(cm_run_execute(r, 8, NULL, NULL)); /* 2,000 samples beside 32 images of training */
    ck_assert(info_of(r).evaluations == 0 && logged("little/log.jsonl", d, steps) == 0);
    ck_assert(!exists("little/best.safetensors"));
    cm_run_free(r);
    o = metric_options("8");
    set(o, "metric_every", "1");
    r = made(o, "all");
    OK(cm_run_estimate(r, CM_RUN_TIME, &n));
    ck_assert(n.metric_share > 0.1);
    OK(cm_run_execute(r, 8, NULL, NULL));
    ck_assert_int_eq(info_of(r).evaluations, 8);
    cm_run_free(r);
}
END_TEST

/* --- the reference ----------------------------------------------------------------------------------- */

/* Features of the pictures, as cm-eval --keep writes them. */
static void keep_features(const char *name)
{
    cm_dataset_options d = CM_DATASET_OPTIONS_INIT;
    cm_dataset *set;
    cm_features *network;
    static uint8_t bytes[PICTURES * 32 * 32];
    static float values[PICTURES * 64];
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    const cm_images images = cm_images_u8(PICTURES, 32, 32, 1, bytes);
    rows.values = values;
    d.shuffle = CM_SHUFFLE_NO;
    OK(cm_dataset_open(NULL, dir, &d, &set));
    OK(cm_dataset_read(set, 0, &images, NULL));
    OK(cm_features_open(NULL, lenet, NULL, &network));
    OK(cm_features_run_rows(network, &images, &rows));
    OK(cm_features_write(network, name, PICTURES, &rows, NULL, CM_OVERWRITE_NO));
    cm_features_free(network);
    cm_dataset_free(set);
}

/* Pictures and their features are the same reference. */
START_TEST(references)
{
    double d[2][MOST];
    int64_t steps[MOST];
    keep_features(in_dir("kept.npz"));
    for (int i = 0; i < 2; i++) {
        cm_run_options *o = metric_options("2");
        set(o, "metric_data", i ? in_dir("kept.npz") : dir);
        cm_run *r = made(o, i ? "kept" : "pictures");
        OK(cm_run_execute(r, 2, NULL, NULL));
        cm_run_free(r);
        ck_assert_int_eq(logged(i ? "kept/log.jsonl" : "pictures/log.jsonl", d[i], steps), 1);
    }
    ck_assert_double_eq(d[0][0], d[1][0]);
    same_best("kept", "pictures");
}
END_TEST

static void write_statistics(const char *name, int32_t dimension, uint64_t count, double variance)
{
    double *mean = calloc((size_t)dimension, sizeof *mean);
    double *covariance = calloc((size_t)dimension * (size_t)dimension, sizeof *covariance);
    cm_statistics *s;
    for (int32_t i = 0; i < dimension; i++) covariance[i * dimension + i] = variance;
    OK(cm_statistics_given(NULL, dimension, count, mean, covariance, &s));
    OK(cm_statistics_write(s, NULL, name, CM_OVERWRITE_NO));
    cm_statistics_free(s);
    free(mean);
    free(covariance);
}

/* Of a network that the file names. */
static void write_statistics_of(const char *network, const char *name)
{
    static const float rows[2 * 64] = {1};
    cm_features *f;
    cm_statistics *s;
    OK(cm_features_open(NULL, network, NULL, &f));
    OK(cm_statistics_create(NULL, 64, &s));
    OK(cm_statistics_mark(s, f));
    OK(cm_statistics_add(s, 2, rows));
    OK(cm_statistics_write(s, NULL, name, CM_OVERWRITE_NO));
    cm_statistics_free(s);
    cm_features_free(f);
}

/* Before the training begins, and before anything is written. */
START_TEST(references_refused)
{
    static const struct {
        const char *data, *features, *few;
        cm_status status;
        const char *words;
    } cases[] = {
        {"wide.npz", NULL, "1", CM_ERR_SHAPE, "statistics of 65 features, and the network lenet has 64"},
        {"few.npz", NULL, "0", CM_ERR_ARGUMENT, "has 1999 images, of which a distance says little"},
        {"one.npz", NULL, "1", CM_ERR_ARGUMENT, "has 1 image, and a distance takes two"},
        {"negative.npz", NULL, "1", CM_ERR_NUMERIC, ""},
        {"kept.npz", NULL, "0", CM_ERR_ARGUMENT, "has 24 images"},
        {"other.npz", NULL, "1", CM_ERR_ARGUMENT, "do not compare"},
        {"resnet.npz", NULL, "1", CM_ERR_ARGUMENT, "resnet.npz: statistics: features of the network resnet20 and"},
        {".", NULL, "0", CM_ERR_ARGUMENT, "has 24 images"},
        {"nothing", NULL, "1", CM_ERR_IO, "nothing"},
        {"nothing.npz", NULL, "1", CM_ERR_IO, "nothing.npz"},
        {"large.npz", NULL, "0", CM_OK, ""},
        {"large.npz", "models/features/resnet20.safetensors", "0", CM_ERR_FORMAT, "resnet20"},
        {"large.npz", "models/features/none.safetensors", "0", CM_ERR_IO, "none.safetensors"},
    };
    cm_run *r;
    write_statistics(in_dir("wide.npz"), 65, 3000, 1);
    write_statistics(in_dir("few.npz"), 64, 1999, 1);
    write_statistics(in_dir("one.npz"), 64, 1, 1);
    write_statistics(in_dir("large.npz"), 64, 2000, 1);
    write_statistics(in_dir("negative.npz"), 64, 3000, -1);
    keep_features(in_dir("kept.npz"));
    write_statistics_of("models/features/resnet20.safetensors", in_dir("resnet.npz"));
    char command[3 * PATH];
    snprintf(
        command, sizeof command, /* another network's, by its name in the file */
        "cd %s && python3 -c \"import zipfile; z = zipfile.ZipFile('kept.npz'); o = zipfile.ZipFile('other.npz', "
        "'w'); "
        "[o.writestr(i, z.read(i)[:-1] + b'x' if 'weights' in i else z.read(i)) for i in z.namelist()]; o.close()\"",
        dir);
    ck_assert_int_eq(system(command), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cm_run_options *o = metric_options("2");
        set(o, "metric_data", in_dir(cases[i].data));
        set(o, "metric_samples", "2000");
        set(o, "metric_few", cases[i].few);
        if (cases[i].features) set(o, "metric_features", cases[i].features);
        if (cases[i].status == CM_OK) OK(cm_run_create(o, in_dir("run"), &r));
        else FAILS(cm_run_create(o, in_dir("run"), &r), cases[i].status, cases[i].words);
        cm_run_free(r);
        cm_run_options_free(o);
        ck_assert(!exists("run"));
    }
}
END_TEST

/* A picture of the reference that cannot be read, met on the way through it: nothing is written either. */
START_TEST(a_damaged_reference)
{
    ck_assert_int_eq(mkdir(in_dir("mixed"), 0700), 0);
    static float values[32 * 32];
    const cm_images image = cm_images_f32(1, 1, 32, 32, values);
    OK(cm_image_write(NULL, in_dir("mixed/a.png"), &image, NULL));
    OK(cm_image_write(NULL, in_dir("mixed/b.png"), &image, NULL));
    OK(cm_image_write(NULL, in_dir("mixed/c.png"), &image, NULL));
    ck_assert_int_eq(truncate(in_dir("mixed/b.png"), 50), 0);
    cm_run_options *o = metric_options("2");
    set(o, "metric_data", in_dir("mixed"));
    cm_run *r = made(o, "run");
    FAILS(cm_run_execute(r, 2, NULL, NULL), CM_ERR_FORMAT, "b.png");
    ck_assert(!exists("run"));
    cm_run_free(r);
}
END_TEST

/* A network that takes other images than the run makes. */
START_TEST(a_network_of_another_size)
{
    static const char small[] =
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 16, \"img_channels\": 1, \"model_channels\": 8,"
        " \"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {\"type\": \"edm\"},"
        " \"image\": {\"channels\": 1, \"height\": 16, \"width\": 16, \"labels\": 0}}";
    static float values[16 * 16];
    cm_run_options *o;
    cm_run *r;
    const cm_images image = cm_images_f32(1, 1, 16, 16, values);
    ck_assert_int_eq(mkdir(in_dir("small"), 0700), 0);
    for (int i = 0; i < 4; i++) {
        char name[40];
        snprintf(name, sizeof name, "small/%d.png", i);
        OK(cm_image_write(NULL, in_dir(name), &image, NULL));
    }
    OK(cm_run_options_create(NULL, &o));
    set(o, "data", in_dir("small"));
    set(o, "network", small);
    set(o, "batch", "2");
    set(o, "metric", "fd-lenet");
    set(o, "metric_data", reference);
    set(o, "metric_features", lenet);
    FAILS(cm_run_create(o, in_dir("run"), &r), CM_ERR_SHAPE,
          "makes images of 1 x 16 x 16, and the network lenet takes 1 x 28 x 28");
    cm_run_options_free(o);
}
END_TEST

/* --- options -------------------------------------------------------------------------------------------- */

START_TEST(options_of_a_metric)
{
    static const char *const alone[][2] = {{"metric_data", "x"},  {"metric_features", "x"}, {"metric_every", "3"},
                                           {"metric_share", "3"}, {"metric_samples", "9"},  {"metric_steps", "2"},
                                           {"metric_few", "1"}};
    static const char *const bad[][3] = {
        {"metric", "fd-lenett", "did you mean 'fd-lenet'"}, {"metric", "lenet", "is none of fid, fd-lenet"},
        {"metric", "fd-inception", "is none of"},           {"metric", "fid,fd-lenet", "is none of"},
        {"metric_data", "", "needs metric_data"},           {"metric_features", "", "needs metric_features"},
        {"metric_samples", "1999", "give 2000 or more"},    {"metric_share", "3", "has no effect with metric_every"}};
    static const char *const ranges[][2] = {{"metric_every", "0"},   {"metric_share", "0"}, {"metric_share", "101"},
                                            {"metric_samples", "1"}, {"metric_steps", "0"}, {"metric_few", "2"}};
    cm_run_options *o;
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        o = options("5");
        set(o, alone[i][0], alone[i][1]);
        FAILS(cm_run_options_check(o), CM_ERR_ARGUMENT, "has no effect without metric");
        cm_run_options_free(o);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o = metric_options("5");
        set(o, "metric_few", "0");
        set(o, "metric_samples", "2000");
        set(o, bad[i][0], bad[i][1]);
        FAILS(cm_run_options_check(o), CM_ERR_ARGUMENT, bad[i][2]);
        cm_run_options_free(o);
    }
    o = metric_options("5");
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        FAILS(cm_run_options_set(o, ranges[i][0], ranges[i][1]), CM_ERR_ARGUMENT, ranges[i][0]);
    cm_run_options_free(o);
}
END_TEST

static char *json_of(cm_run_options *o)
{
    size_t n;
    OK(cm_run_options_json(o, NULL, 0, &n));
    char *text = malloc(n + 1);
    OK(cm_run_options_json(o, text, n + 1, &n));
    return text;
}

/* With every option said, and with those that follow. */
START_TEST(read_back)
{
    for (int share = 0; share < 2; share++) {
        cm_run_options *o = share ? options("100") : metric_options("100"), *again;
        set(o, "metric", "fd-lenet");
        set(o, "metric_data", share ? "odd\xff" : reference);
        set(o, "metric_features", lenet);
        if (share) set(o, "metric_share", "2.5");
        char *text = json_of(o);
        OK(cm_run_options_create(NULL, &again));
        OK(cm_run_options_read(again, text));
        char *second = json_of(again);
        ck_assert_str_eq(text, second);
        ck_assert_ptr_nonnull(strstr(text, share ? "\"metric_share\": 2.5" : "\"metric_every\": 2"));
        ck_assert_int_eq(strstr(text, "\"metric_data_hex\": \"6f6464ff\"") != NULL, share);
        free(text);
        free(second);
        cm_run_options_free(o);
        cm_run_options_free(again);
    }
    static const char *const damaged[] = {"\"metric_every\": -1",  "\"metric_share\": 1000",
                                          "\"metric_samples\": 1", "\"metric_steps\": 0.5",
                                          "\"metric_few\": 2",     "\"metric_data_hex\": \"0\""};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        char text[200];
        cm_run_options *o = options("5");
        snprintf(text, sizeof text, "{\"options\": {}, \"run\": {%s}}", damaged[i]);
        FAILS(cm_run_options_read(o, text), CM_ERR_FORMAT, "metric_");
        cm_run_options_free(o);
    }
}
END_TEST

/* --- trouble ----------------------------------------------------------------------------------------------- */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* No room for best.safetensors: IO; the file before stays, and the run goes on to the same end. */
START_TEST(a_full_disk_for_the_best)
{
    enum { MODEL = 10000 };
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    cm_run_options *o = metric_options("9");
    set(o, "checkpoint_every", "100");
    cm_run *r = made(o, "parts");
    OK(cm_run_execute(r, 1, NULL, NULL));
    limit_files(MODEL);
    FAILS(cm_run_execute(r, 9, NULL, NULL), CM_ERR_IO, "best.safetensors");
    limit_files(RLIM_INFINITY);
    ck_assert(!exists("parts/best.safetensors"));
    cm_run_free(r);
    fclose(fopen(in_dir("parts/best.safetensors.tmp-1-0"), "w")); /* of a run that was killed */
    r = loaded("parts", NULL, NULL);
    OK(cm_run_execute(r, 9, NULL, NULL));
    ck_assert(!exists("parts/best.safetensors.tmp-1-0"));
    cm_run_free(r);
    o = metric_options("9");
    set(o, "checkpoint_every", "100");
    r = made(o, "whole");
    OK(cm_run_execute(r, 9, NULL, NULL));
    cm_run_free(r);
    same_best("whole", "parts");
}
END_TEST

static cm_status whole(cm_context *context)
{
    char command[128], message[256];
    cm_run_options *o = NULL;
    cm_run *r = NULL;
    static const char *const values[][2] = {{"preset", "smoke"},   {"batch", "4"},
                                            {"threads", "1"},      {"sample_every", "0"},
                                            {"steps", "2"},        {"metric", "fd-lenet"},
                                            {"metric_every", "2"}, {"metric_samples", "8"},
                                            {"metric_few", "1"},   {"metric_features", lenet}};
    cm_status status = cm_run_options_create(context, &o);
    if (status == CM_OK) status = cm_run_options_set(o, "data", dir);
    if (status == CM_OK) status = cm_run_options_set(o, "metric_data", dir);
    for (size_t i = 0; i < sizeof values / sizeof *values && status == CM_OK; i++)
        status = cm_run_options_set(o, values[i][0], values[i][1]);
    if (status == CM_OK) status = cm_run_create(o, in_dir("run"), &r);
    if (status == CM_OK) status = cm_run_execute(r, 2, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s/run", dir);
    snprintf(message, sizeof message, "%s", cm_last_message());
    cm_run_free(r);
    cm_run_options_free(o);
    ck_assert_int_eq(system(command), 0);
    if (status == CM_ERR_MEMORY) ck_assert_ptr_nonnull(strstr(message, "memory"));
    return status;
}

START_TEST(allocations_fail)
{
    fail_some_requests(whole, by_effort(3, 40, INT_MAX));
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("run_metric");
    TCase *t = tcase_create("run_metric");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_test(t, a_metric);
    tcase_add_test(t, a_metric_told);
    tcase_add_test(t, the_same_best_in_pieces);
    tcase_add_test(t, stopped_within_an_evaluation);
    tcase_add_test(t, another_metric);
    tcase_add_test(t, astray);
    tcase_add_test(t, a_share_of_the_time);
    tcase_add_test(t, references);
    tcase_add_test(t, references_refused);
    tcase_add_test(t, a_damaged_reference);
    tcase_add_test(t, a_network_of_another_size);
    tcase_add_test(t, options_of_a_metric);
    tcase_add_test(t, read_back);
    tcase_add_test(t, a_full_disk_for_the_best);
    tcase_add_test(t, allocations_fail);
    suite_add_tcase(s, t);
    return s;
}
