/* Samplers on the digit models: reference images, same bits for any threads,
 * batch and position, cancel, callbacks, options that are refused. */
#include "support/suite.h"

#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/context.h"
#include "diffusion/model.h"
#include "io/tensors.h"

#define CONSISTENCY "models/digits_consistency.safetensors"
#define TEACHER "models/digits_teacher.safetensors"
#define PEER "../shared/data/" /* the reference material beside the project */
enum { SIZE = 1024 };

static cm_model *load(const char *path)
{
    cm_model *m;
    OK(cm_model_load(NULL, path, NULL, &m));
    return m;
}

static cm_sampler *sampler(cm_model *m, int threads, int batch)
{
    cm_sampler *s;
    cm_sampler_options o;
    cm_sampler_options_init(&o, sizeof o);
    o.threads = threads;
    o.max_batch = batch;
    OK(cm_sampler_create(m, &o, &s));
    return s;
}

static cm_sample_options options(int method)
{
    cm_sample_options o;
    cm_sample_options_init(&o, sizeof o);
    o.method = method;
    o.seed = 11;
    return o;
}

static float *draw(cm_sampler *s, const cm_sample_options *o, size_t n)
{
    float *x = malloc(n * SIZE * sizeof *x);
    OK(cm_sampler_run(s, o, n, x));
    return x;
}

/* The macros hold what the functions fill in. */
START_TEST(initialisers)
{
    cm_sampler_options a = CM_SAMPLER_OPTIONS_INIT, b;
    cm_sample_options c = CM_SAMPLE_OPTIONS_INIT, d;
    cm_sampler_info e = CM_SAMPLER_INFO_INIT, f;
    cm_sampler_options_init(&b, sizeof b);
    cm_sample_options_init(&d, sizeof d);
    cm_sampler_info_init(&f, sizeof f);
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_mem_eq(&c, &d, sizeof c);
    ck_assert_mem_eq(&e, &f, sizeof e);
}
END_TEST

/* Ten images of recorded noise by PyTorch; float64 differs by up to 6e-6. */
START_TEST(reference_images)
{
    cm_context *context;
    cm_tensors st;
    static float noise[2][10 * SIZE], want[10 * SIZE];
    static const char *const names[3] = {"onestep", "twostep", "heun18"};
    int32_t labels[10];
    if (access(PEER "digits_teacher.safetensors", R_OK) != 0) {
        skipped("images by PyTorch: " PEER " is absent");
        return;
    }
    OK(cm_context_create(NULL, &context));
    OK(cmi_tensors_open_file(context, PEER "digits_samples.safetensors", CM_INPUT_IN_PLACE, &st));
    OK(cmi_tensor_read(cmi_tensors_find(&st, "noise.0"), noise[0]));
    OK(cmi_tensor_read(cmi_tensors_find(&st, "noise.1"), noise[1]));
    OK(cmi_tensor_read(cmi_tensors_find(&st, "labels"), want));
    for (int i = 0; i < 10; i++) labels[i] = (int32_t)want[i];
    for (int k = 0; k < by_effort(2, 3, 3); k++) {
        cm_model *m = load(k == 2 ? PEER "digits_teacher.safetensors" : PEER "digits_consistency.safetensors");
        cm_sampler *s = sampler(m, 2, 4);
        cm_sample_options o = options(k == 0 ? CM_METHOD_ONESTEP : k == 1 ? CM_METHOD_MULTISTEP : CM_METHOD_HEUN);
        o.noise = noise[0];
        o.condition = LABELS(labels);
        o.clip_output = o.clip_denoised = CM_CLIP_NO;
        if (k == 1) o.step_noise = noise[1], o.noise_steps = 1;
        if (k == 2) o.steps = 18;
        float *x = draw(s, &o, 10);
        OK(cmi_tensor_read(cmi_tensors_find(&st, names[k]), want));
        for (int i = 0; i < 10 * SIZE; i++)
            ck_assert_msg(fabs((double)(x[i] - want[i])) <= 5e-5, "%s: value %d is %g, expected %g", names[k], i,
                          (double)x[i], (double)want[i]);
        free(x);
        cm_sampler_free(s);
        cm_model_free(m);
    }
    cmi_tensors_close(&st);
    cm_context_free(context);
}
END_TEST

static const int methods[] = {CM_METHOD_ONESTEP,   CM_METHOD_MULTISTEP, CM_METHOD_HEUN, CM_METHOD_EULER,
                              CM_METHOD_ANCESTRAL, CM_METHOD_DPM,       CM_METHOD_EDM,  CM_METHOD_PROGDIST,
                              CM_METHOD_DPMPP,     CM_METHOD_RK45,      CM_METHOD_PC};

static cm_sample_options method_options(int method)
{
    cm_sample_options o = options(method);
    if (method == CM_METHOD_RK45) o.rk45_rtol = o.rk45_atol = 0.2;
    else if (method >= CM_METHOD_HEUN) o.steps = 3;
    if (method == CM_METHOD_HEUN || method == CM_METHOD_EDM || method == CM_METHOD_DPM) o.s_churn = 1;
    return o;
}

/* D2 and D3: 1 to 8 threads, batches of 1 to 16, positions: the same bytes. */
START_TEST(same_bits_for_threads_and_batches)
{
    static const int batches[] = {1, 2, 3, 7, 16};
    cm_model *m = load(methods[_i] <= CM_METHOD_MULTISTEP ? CONSISTENCY : TEACHER);
    cm_sample_options o = method_options(methods[_i]);
    enum { COUNT = 9 };
    int most = by_effort(2, 8, 8); /* for slow tools */
    cm_sampler *one = sampler(m, 1, 1);
    float *want = draw(one, &o, COUNT), *again = draw(one, &o, COUNT);
    ck_assert_mem_eq(want, again, COUNT * SIZE * sizeof *want);
    free(again);
    for (int threads = 1; threads <= most; threads++) {
        cm_sampler *s = sampler(m, threads, batches[threads % 5]);
        float *x = draw(s, &o, COUNT);
        ck_assert_msg(memcmp(x, want, COUNT * SIZE * sizeof *x) == 0, "method %d: %d threads, batch %d", methods[_i],
                      threads, batches[threads % 5]);
        free(x);
        cm_sample_options later = o;
        later.first_index = 4;
        x = draw(s, &later, 3);
        ck_assert_msg(memcmp(x, want + 4 * SIZE, 3 * SIZE * sizeof *x) == 0,
                      "method %d: images 4..6 depend on their position", methods[_i]);
        free(x);
        cm_sampler_free(s);
    }
    free(want);
    cm_sampler_free(one);
    cm_model_free(m);
}
END_TEST

START_TEST(seeds_and_labels_matter)
{
    cm_model *m = load(CONSISTENCY);
    cm_sampler *s = sampler(m, 2, 8);
    cm_sample_options o = options(CM_METHOD_ONESTEP);
    const int32_t sevens[2] = {7, 7}, nones[2] = {-1, -1};
    float *a = draw(s, &o, 2), *b, *c, *d;
    o.seed = 12;
    b = draw(s, &o, 2);
    o.condition = LABELS(sevens);
    c = draw(s, &o, 2);
    o.condition = LABELS(nones);
    d = draw(s, &o, 2);
    ck_assert_mem_ne(a, b, SIZE * sizeof *a);
    ck_assert_mem_ne(a, a + SIZE, SIZE * sizeof *a);
    ck_assert_mem_ne(c, d, SIZE * sizeof *a);
    for (int i = 0; i < 2 * SIZE; i++) ck_assert(a[i] >= -1 && a[i] <= 1);
    free(a), free(b), free(c), free(d);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* A list of sigmas and the same levels as grid indices. */
START_TEST(times_by_sigmas_and_by_indices)
{
    cm_model *m = load(CONSISTENCY);
    cm_sampler *s = sampler(m, 2, 8);
    const double top = pow(80, 1 / 7.0), low = pow(0.002, 1 / 7.0),
                 sigmas[2] = {80, pow(top + 22 / 39.0 * (low - top), 7)};
    const int32_t ts[3] = {0, 22, 39};
    int32_t nfe;
    cm_sample_options a = options(CM_METHOD_MULTISTEP), b = a;
    a.sigmas = sigmas, a.sigma_count = 2;
    b.ts = ts, b.ts_count = 3, b.grid = 40;
    OK(cm_sampler_nfe(s, &a, &nfe));
    ck_assert_int_eq(nfe, 2);
    OK(cm_sampler_nfe(s, &b, &nfe));
    ck_assert_int_eq(nfe, 2);
    float *x = draw(s, &a, 2), *y = draw(s, &b, 2);
    for (int i = 0; i < 2 * SIZE; i++)
        ck_assert_double_le(fabs((double)(x[i] - y[i])), 2e-4); /* eps 0.002 against 0 (ecm) */
    free(x), free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

START_TEST(torch_stream)
{
    cm_model *m = load(CONSISTENCY);
    cm_sampler *s = sampler(m, 2, 3);
    cm_sample_options o = options(CM_METHOD_MULTISTEP);
    const int32_t labels[4] = {1, 2, 3, 4};
    int32_t nfe;
    o.noise_source = CM_NOISE_TORCH_IMAGE;
    float *a = draw(s, &o, 4);
    o.first_index = 2;
    float *b = draw(s, &o, 2);
    ck_assert_mem_eq(a + 2 * SIZE, b, 2 * SIZE * sizeof *a); /* per image: no batch in it */
    o.noise_source = CM_NOISE_TORCH_INDIV;
    FAILS(cm_sampler_run(s, &o, 4, a), CM_ERR_ARGUMENT, "num_samples");
    FAILS(cm_sampler_nfe(s, &o, &nfe), CM_ERR_ARGUMENT, "num_samples");
    o.num_samples = 10;
    FAILS(cm_sampler_run(s, &o, 4, a), CM_ERR_ARGUMENT, "labels");
    FAILS(cm_sampler_nfe(s, &o, &nfe), CM_ERR_ARGUMENT, "labels");
    o.condition = LABELS(labels);
    OK(cm_sampler_run(s, &o, 4, a));
    free(a), free(b);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

typedef struct {
    cm_sampler *s;
    uint64_t done, total, calls;
    uint64_t stop_at;
    int steps, inner;
} watcher;

static int32_t on_progress(void *user, uint64_t done, uint64_t total)
{
    watcher *w = user;
    ck_assert(done > w->done && done <= total);
    w->done = done;
    w->total = total;
    return ++w->calls == w->stop_at;
}

static int32_t on_step(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *images)
{
    watcher *w = user;
    const float *denoised = images->data;
    size_t count = images->n;
    float image[SIZE];
    ck_assert(sigma > 0 && evaluation >= 0 && first + count <= 5);
    for (size_t i = 0; i < count * SIZE; i++) ck_assert(isfinite(denoised[i]));
    w->steps++;
    if (w->inner) FAILS(cm_sampler_run(w->s, NULL, 1, image), CM_ERR_STATE, "already running");
    return 0;
}

START_TEST(callbacks)
{
    cm_model *m = load(TEACHER);
    cm_sampler *s = sampler(m, 2, 2);
    watcher w = {s, 0, 0, 0, 0, 0, 1};
    cm_sample_options o = options(CM_METHOD_HEUN);
    o.steps = 3;
    float *plain = draw(s, &o, 5);
    o.progress = on_progress, o.progress_user = &w;
    o.step = on_step, o.step_user = &w;
    float *x = draw(s, &o, 5);
    ck_assert(w.done == 25 && w.total == 25 && w.steps == 15); /* 3 rounds of 5 evaluations */
    ck_assert_mem_eq(x, plain, 5 * SIZE * sizeof *x);
    for (uint64_t stop = 1; stop <= 3; stop++) {
        w = (watcher){s, 0, 0, 0, stop, 0, 0};
        FAILS(cm_sampler_run(s, &o, 5, x), CM_ERR_CANCELLED, "cancelled");
        ck_assert_uint_eq(w.calls, stop);
    }
    o.progress = NULL, o.step = NULL;
    OK(cm_sampler_run(s, &o, 5, x)); /* as good as new */
    ck_assert_mem_eq(x, plain, 5 * SIZE * sizeof *x);
    free(x), free(plain);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

typedef struct {
    cm_sampler *sampler;
    atomic_int ended;
} cancelled_run;

/* Again and again, since the run may not have begun. */
static void *cancel_soon(void *user)
{
    cancelled_run *run = user;
    struct timespec t = {0, 30000000};
    do {
        nanosleep(&t, NULL);
        t.tv_nsec = 1000000;
        cm_sampler_cancel(run->sampler);
    } while (!atomic_load(&run->ended));
    return NULL;
}

START_TEST(cancel_from_another_thread)
{
    cm_model *m = load(TEACHER);
    cm_sampler *s = sampler(m, 2, 16);
    cm_sample_options o = options(CM_METHOD_HEUN);
    o.steps = 1000; /* minutes, if nobody stopped it */
    float *x = malloc(16 * SIZE * sizeof *x);
    pthread_t thread;
    cancelled_run run = {.sampler = s};
    atomic_init(&run.ended, 0);
    pthread_create(&thread, NULL, cancel_soon, &run);
    FAILS(cm_sampler_run(s, &o, 16, x), CM_ERR_CANCELLED, "cancelled");
    atomic_store(&run.ended, 1);
    pthread_join(thread, NULL);
    o.steps = 2;
    OK(cm_sampler_run(s, &o, 16, x));
    cm_sampler_cancel(NULL);
    free(x);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

typedef struct {
    cm_model *m;
    const float *want;
    int ok;
} job;

static void *sample_in_thread(void *user)
{
    job *j = user;
    cm_sampler *s = sampler(j->m, 1, 2);
    cm_sample_options o = options(CM_METHOD_MULTISTEP);
    j->ok = 1;
    for (int round = 0; round < by_effort(1, 5, 5); round++) {
        float *x = draw(s, &o, 3);
        j->ok &= memcmp(x, j->want, 3 * SIZE * sizeof *x) == 0;
        free(x);
    }
    cm_sampler_free(s);
    return NULL;
}

START_TEST(many_samplers_on_one_model)
{
    cm_model *m = load(CONSISTENCY);
    cm_sampler *s = sampler(m, 1, 1);
    cm_sample_options o = options(CM_METHOD_MULTISTEP);
    float *want = draw(s, &o, 3);
    pthread_t threads[8];
    job jobs[8];
    for (int i = 0; i < 8; i++) {
        jobs[i] = (job){m, want, 0};
        pthread_create(&threads[i], NULL, sample_in_thread, &jobs[i]);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(jobs[i].ok);
    }
    cm_model_free(m); /* the sampler keeps it */
    float *x = draw(s, &o, 3);
    ck_assert_mem_eq(x, want, 3 * SIZE * sizeof *x);
    free(x), free(want);
    cm_sampler_free(s);
}
END_TEST

START_TEST(inside_the_hosts_own_parallel_region)
{
    cm_model *m = load(CONSISTENCY);
    cm_sampler *s[2] = {sampler(m, 2, 2), sampler(m, 2, 2)}, *plain = sampler(m, 1, 1);
    cm_sample_options o = options(CM_METHOD_ONESTEP);
    float *want = draw(plain, &o, 3), *x[2];
#pragma omp parallel for num_threads(2)
    for (int i = 0; i < 2; i++) x[i] = draw(s[i], &o, 3);
    for (int i = 0; i < 2; i++) {
        ck_assert_mem_eq(x[i], want, 3 * SIZE * sizeof *want);
        free(x[i]);
        cm_sampler_free(s[i]);
    }
    free(want);
    cm_sampler_free(plain);
    cm_model_free(m);
}
END_TEST

/* Towards the solution of many steps the higher order is the closer one, in both forms and on both grids. */
START_TEST(dpmpp_converges)
{
    enum { COUNT = 2, VALUES = COUNT * SIZE };
    cm_model *m = load(TEACHER);
    cm_sampler *s = sampler(m, 2, COUNT);
    cm_sample_options o = options(CM_METHOD_DPMPP);
    o.steps = 96, o.rho = 7;
    float *want = draw(s, &o, COUNT);
    for (int grid = 0; grid < 2; grid++) {
        double last = INFINITY;
        for (int order = 1; order <= 3; order++) {
            double off = 0;
            o.steps = 24, o.rho = grid ? 7 : 0, o.dpmpp_order = order;
            float *x = draw(s, &o, COUNT);
            for (int i = 0; i < VALUES; i++)
                off += ((double)x[i] - (double)want[i]) * ((double)x[i] - (double)want[i]);
            ck_assert_msg(off < 0.8 * last, "order %d, grid %d: %g after %g", order, grid, off, last);
            last = off;
            free(x);
        }
    }
    free(want);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

START_TEST(options_refused)
{
    static const double rising[2] = {1, 2}, nan_list[1] = {NAN}, high[1] = {81}, zero[2] = {80, 0}, fine[2] = {80, 1};
    static const double above[1] = {80.1}, tiny[2] = {80, 1e-40};
    static const int32_t falling[2] = {3, 1}, beyond[2] = {0, 40}, good[2] = {0, 39};
    cm_model *m = load(CONSISTENCY);
    cm_sampler *s = sampler(m, 1, 1);
    float x[SIZE];
    const int32_t ten[1] = {10}, minus[1] = {-2};
    int32_t nfe;
    const float noise[SIZE] = {0};
#define BAD(set, word)                                                                                               \
    do {                                                                                                             \
        cm_sample_options o = options(CM_METHOD_DEFAULT);                                                            \
        set;                                                                                                         \
        FAILS(cm_sampler_run(s, &o, 1, x), CM_ERR_ARGUMENT, word);                                                   \
        if (!o.condition) FAILS(cm_sampler_nfe(s, &o, &nfe), CM_ERR_ARGUMENT, word); /* labels need n */             \
    } while (0)
    BAD(o.method = 13, "method is 13");
    BAD(o.method = -1, "method is -1");
    BAD((o.sigmas = rising, o.sigma_count = 2), "fall strictly");
    BAD((o.sigmas = nan_list, o.sigma_count = 1), "nan");
    BAD((o.sigmas = high, o.sigma_count = 1), "80]");
    BAD((o.sigmas = zero, o.sigma_count = 2), "sigmas[1] is 0");
    BAD(o.sigmas = fine, "together");
    BAD((o.method = CM_METHOD_ONESTEP, o.sigmas = fine, o.sigma_count = 2), "one time");
    BAD((o.ts = falling, o.ts_count = 2, o.grid = 40), "rise strictly");
    BAD((o.ts = beyond, o.ts_count = 2, o.grid = 40), "0..39");
    BAD((o.ts = good, o.ts_count = 2), "grid");
    BAD((o.ts = good, o.ts_count = 1, o.grid = 40), "two entries");
    BAD((o.ts = good, o.ts_count = 2, o.grid = 40, o.method = CM_METHOD_HEUN), "ts has no effect");
    BAD((o.ts = good, o.ts_count = 2, o.grid = 40, o.sigmas = fine, o.sigma_count = 2), "one of them");
    BAD(o.grid = 40, "grid has no effect");
    BAD((o.method = CM_METHOD_ONESTEP, o.steps = 4), "steps has no effect");
    BAD((o.method = CM_METHOD_MULTISTEP, o.steps = 4), "no default times");
    BAD((o.method = CM_METHOD_HEUN, o.steps = -1), "steps");
    BAD((o.method = CM_METHOD_HEUN, o.sigmas = fine, o.sigma_count = 2, o.steps = 3), "steps has no effect");
    BAD(o.rho = 6, "rho has no effect");
    BAD((o.method = CM_METHOD_ONESTEP, o.sigma_min = 0.1), "sigma_min has no effect");
    BAD((o.method = CM_METHOD_HEUN, o.rho = NAN), "rho");
    BAD((o.method = CM_METHOD_HEUN, o.sigma_min = 90), "below");
    BAD(o.sigma_max = 1e300, "sigma_max is 1e+300");
    BAD(o.sigma_max = 81, "noise levels end at 80");
    BAD((o.ts = good, o.ts_count = 2, o.grid = 40, o.sigma_max = 81), "noise levels end at 80");
    BAD((o.method = CM_METHOD_HEUN, o.sigma_max = 81), "noise levels end at 80");
    BAD((o.method = CM_METHOD_EDM, o.edm_discretization = CM_EDM_STEPS_VE, o.sigma_max = 101), "end at 100");
    BAD((o.sigmas = above, o.sigma_count = 1), "sigmas[0] is 80.1");
    BAD((o.method = CM_METHOD_HEUN, o.rho = 1e-300), "rho is 1e-300");
    BAD((o.method = CM_METHOD_HEUN, o.rho = 1e300), "rho is 1e+300");
    BAD((o.ts = good, o.ts_count = 2, o.grid = 40, o.rho = 0.4), "rho is 0.4");
    BAD((o.method = CM_METHOD_HEUN, o.sigma_min = 1e-300), "sigma_min is 1e-300");
    BAD((o.sigmas = tiny, o.sigma_count = 2), "noise level 1 of 2 is 1e-40");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = 9, o.s_noise = 1e300), "s_noise is 1e+300");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = 9, o.s_noise = 3), "raise the level 80 to 252.982");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = INFINITY), "s_churn is inf");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = 9, o.s_tmin = NAN), "s_tmin is nan");
    BAD((o.method = CM_METHOD_HEUN, o.s_churn = 9, o.s_tmax = NAN), "s_tmax is nan");
    BAD((o.method = CM_METHOD_EDM, o.edm_alpha = 1e-300), "edm_alpha is 1e-300");
    BAD((o.method = CM_METHOD_EDM, o.edm_alpha = 2), "edm_alpha is 2");
    BAD(o.s_churn = 1, "s_churn has no effect");
    BAD((o.method = CM_METHOD_HEUN, o.s_noise = 1.1), "without s_churn");
    BAD((o.method = CM_METHOD_HEUN, o.edm_alpha = 0.5), "edm_");
    BAD((o.method = CM_METHOD_EDM, o.edm_schedule = 3), "edm_");
    BAD((o.method = CM_METHOD_HEUN, o.dpmpp_order = 2), "dpmpp_* has no effect on method heun");
    BAD((o.method = CM_METHOD_EDM, o.dpmpp_form = CM_DPMPP_TAYLOR), "dpmpp_* has no effect on method edm");
    BAD(o.dpmpp_end = CM_DPMPP_FULL, "dpmpp_* has no effect");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = 4), "dpmpp_order is 4, expected 1..3");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = -1), "dpmpp_order is -1");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_form = 2), "dpmpp_form is 2");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_end = -1), "dpmpp_end is -1");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = 3, o.steps = 2), "dpmpp_order is 3, but the run has 2 steps");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = 1, o.dpmpp_form = CM_DPMPP_TAYLOR), "without a step of order 2");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_form = CM_DPMPP_TAYLOR, o.steps = 2), "without a step of order 2");
    BAD((o.method = CM_METHOD_DPMPP, o.dpmpp_order = 1, o.dpmpp_end = CM_DPMPP_FULL), "with order 1");
    BAD((o.method = CM_METHOD_DPMPP, o.steps = 1, o.dpmpp_end = CM_DPMPP_FULL), "with order 1");
    BAD((o.method = CM_METHOD_DPMPP, o.sigmas = fine, o.sigma_count = 1), "at least two sigmas");
    BAD((o.method = CM_METHOD_DPMPP, o.s_churn = 1), "s_churn has no effect");
    BAD((o.method = CM_METHOD_HEUN, o.rk45_rtol = 0.1), "rk45_* has no effect on method heun");
    BAD((o.method = CM_METHOD_PC, o.rk45_max_nfe = 100), "rk45_* has no effect on method pc");
    BAD((o.method = CM_METHOD_RK45, o.pc_snr = 0.1), "pc_* has no effect on method rk45");
    BAD((o.method = CM_METHOD_DPM, o.pc_corrections = 1), "pc_* has no effect on method dpm");
    BAD((o.method = CM_METHOD_RK45, o.rk45_rtol = 2), "rk45_rtol is 2");
    BAD((o.method = CM_METHOD_RK45, o.rk45_atol = NAN), "rk45_atol is nan");
    BAD((o.method = CM_METHOD_RK45, o.rk45_max_nfe = 7), "rk45_max_nfe is 7, expected 8..");
    BAD((o.method = CM_METHOD_RK45, o.steps = 18), "steps has no effect on method rk45");
    BAD((o.method = CM_METHOD_RK45, o.rho = 3), "rho has no effect");
    BAD((o.method = CM_METHOD_RK45, o.sigmas = fine, o.sigma_count = 1), "at least two sigmas");
    BAD((o.method = CM_METHOD_RK45, o.s_churn = 1), "s_churn has no effect");
    BAD((o.method = CM_METHOD_PC, o.pc_snr = -1), "pc_snr is -1");
    BAD((o.method = CM_METHOD_PC, o.pc_corrections = 101), "pc_corrections is 101");
    BAD(o.reserved2 = 1, "cm_sample_options: reserved is 1");
    BAD(o.clip_denoised = 3, "clip_denoised is 3, expected 0..2");
    BAD(o.clip_output = -1, "clip_output is -1");
    BAD(o.condition = LABELS(ten), "-1..9");
    BAD(o.condition = LABELS(minus), "-2");
    BAD(o.noise_source = 3, "noise_source");
    BAD(o.reserved = 1, "cm_sample_options: reserved is 1");
    BAD(o.num_samples = 3, "num_samples");
    BAD((o.method = CM_METHOD_EULER, o.step_noise = noise, o.noise_steps = 1), "step_noise has no effect");
    BAD((o.method = CM_METHOD_ANCESTRAL, o.step_noise = noise, o.noise_steps = 1), "18");
    FAILS(cm_sampler_run(s, NULL, 0, x), CM_ERR_ARGUMENT, "n is 0");
    FAILS(cm_sampler_run(s, NULL, 1, NULL), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_sampler_run(NULL, NULL, 1, x), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_sampler_run(s, NULL, SIZE_MAX / 2, x), CM_ERR_LIMIT, "memory");
    cm_sample_options same = options(CM_METHOD_ONESTEP); /* saying what holds anyway is no error */
    same.rho = 7, same.steps = 1, same.sigma_min = 0.002, same.sigma_max = 80, same.s_noise = 1,
    same.s_tmax = INFINITY, same.edm_alpha = 1;
    OK(cm_sampler_run(s, &same, 1, x));
    omp_set_num_threads(3);
    OK(cm_sampler_run(s, NULL, 1, x)); /* still good, and the caller's thread count as it was */
    ck_assert_int_eq(omp_get_max_threads(), 3);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* Weights are packed once for all samplers of a model. */
START_TEST(packed_weights_are_shared)
{
    cm_model *m = load(CONSISTENCY);
    cm_sampler *a = sampler(m, 2, 4), *b = sampler(m, 2, 16);
    cm_sampler_info ia, ib;
    cm_sampler_info_init(&ia, sizeof ia);
    cm_sampler_info_init(&ib, sizeof ib);
    OK(cm_sampler_info_get(a, &ia));
    OK(cm_sampler_info_get(b, &ib));
    ck_assert_uint_gt(ia.packed_bytes, 1000000);
    ck_assert_uint_eq(ia.packed_bytes, ib.packed_bytes);
    ck_assert_uint_lt(ia.activation_bytes, ib.activation_bytes);
    FAILS(cm_sampler_info_get(NULL, &ia), CM_ERR_ARGUMENT, "NULL");
    cm_sampler_free(a);
    cm_sampler_free(b);
    cm_model_free(m);
}
END_TEST

/* ecm: the identity at 0, also beside images at other levels. */
START_TEST(the_boundary_beside_other_levels)
{
    cm_model *m = load(CONSISTENCY);
    static float x[5 * SIZE], y[5 * SIZE], one[SIZE];
    const float sigma[5] = {0, 1, 0, 2, 0};
    uint64_t state = seeded(9);
    for (int i = 0; i < 5 * SIZE; i++) x[i] = random_float(&state);
    OK(cm_model_denoise(m, 5, x, sigma, NULL, y));
    for (int i = 0; i < 5; i++) {
        OK(cm_model_denoise(m, 1, x + i * SIZE, sigma + i, NULL, one));
        ck_assert_mem_eq(y + i * SIZE, one, sizeof one);
        if (sigma[i] == 0) ck_assert_mem_eq(y + i * SIZE, x + i * SIZE, sizeof one);
        else ck_assert_mem_ne(y + i * SIZE, x + i * SIZE, sizeof one);
    }
    cm_model_free(m);
}
END_TEST

/* The estimate is what creation then takes; the small one takes less. */
START_TEST(memory_is_known_before)
{
    cm_sampler_info before, after, small;
    cm_sampler_options o;
    for (int batch = 1; batch <= 64; batch *= 4)
        for (int threads = 1; threads <= 3; threads++) {
            cm_model *m = load(CONSISTENCY);
            cm_sampler_options_init(&o, sizeof o);
            cm_sampler_info_init(&before, sizeof before);
            cm_sampler_info_init(&after, sizeof after);
            cm_sampler_info_init(&small, sizeof small);
            o.threads = threads, o.max_batch = batch;
            OK(cm_sampler_estimate(m, &o, &before));
            cm_sampler *s = sampler(m, threads, batch);
            OK(cm_sampler_info_get(s, &after));
            ck_assert_uint_eq(before.activation_bytes, after.activation_bytes);
            ck_assert_uint_eq(before.packed_bytes, after.packed_bytes);
            ck_assert(before.threads == threads && before.max_batch == batch);
            o.memory = CM_MEMORY_SMALL;
            OK(cm_sampler_estimate(m, &o, &small));
            ck_assert_uint_lt(small.packed_bytes * 2, before.packed_bytes);
            o.memory = 2;
            FAILS(cm_sampler_estimate(m, &o, &small), CM_ERR_ARGUMENT, "memory is 2");
            cm_sampler_free(s);
            cm_model_free(m);
        }
    FAILS(cm_sampler_estimate(NULL, NULL, &before), CM_ERR_ARGUMENT, "NULL");
}
END_TEST

static int has_bf16(void)
{
    return strstr(cm_build_info(), " with bfloat16") != NULL;
}

static double deviation(size_t n, const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return sqrt(sum / (double)n);
}

/* bfloat16 draws nearly the same pictures, with 4 x 4 tiles less nearly; its bits do
 * not depend on threads and batch; its weights take less than half. */
START_TEST(bfloat16)
{
    enum { COUNT = 12 };
    cm_model *m = load(CONSISTENCY);
    cm_sampler *exact = sampler(m, 1, 4);
    cm_sample_options o = options(CM_METHOD_ONESTEP);
    float *want = draw(exact, &o, COUNT), *first[4] = {NULL};
    cm_sampler_info f32, before, after;
    cm_sampler_info_init(&f32, sizeof f32);
    cm_sampler_info_init(&before, sizeof before);
    cm_sampler_info_init(&after, sizeof after);
    OK(cm_sampler_info_get(exact, &f32));
    for (int k = 0; k < 12; k++) {
        static const int threads[3] = {1, 2, 3}, batches[3] = {4, 1, 12};
        cm_sampler_options s;
        cm_sampler *coarse;
        cm_sampler_options_init(&s, sizeof s);
        char debug[64];
        (void)snprintf(debug, sizeof debug, "bf16_tile=%d,bf16_emulate=1", 1 + k / 3);
        s.precision = CM_PRECISION_BF16, s.debug = debug;
        s.threads = threads[k % 3], s.max_batch = batches[k % 3];
        cm_model *fresh = load(CONSISTENCY);
        OK(cm_sampler_estimate(fresh, &s, &before));
        OK(cm_sampler_create(fresh, &s, &coarse));
        OK(cm_sampler_info_get(coarse, &after));
        ck_assert_uint_eq(before.packed_bytes, after.packed_bytes);
        ck_assert_uint_eq(before.activation_bytes, after.activation_bytes);
        if (k == 0) ck_assert_uint_lt(2 * after.packed_bytes, f32.packed_bytes);
        float *x = draw(coarse, &o, COUNT);
        if (k % 3 == 0) first[k / 3] = x;
        else {
            ck_assert_msg(memcmp(first[k / 3], x, COUNT * SIZE * sizeof *x) == 0, "%d threads, batch %d: other bits",
                          s.threads, s.max_batch);
            free(x);
        }
        cm_sampler_free(coarse);
        cm_model_free(fresh);
    }
    double off[4];
    for (int k = 0; k < 4; k++) {
        off[k] = deviation(COUNT * SIZE, want, first[k]);
        ck_assert_msg(off[k] > 1e-5 && off[k] < (k < 2 ? 0.03 : 0.08), "bf16_tile %d: %g", k + 1, off[k]);
        free(first[k]);
    }
    ck_assert_msg(off[3] > off[1], "tiles of 2 x 2: %g, of 4 x 4: %g", off[1], off[3]);
    free(want);
    cm_sampler_free(exact);
    cm_model_free(m);
}
END_TEST

START_TEST(creation_refused)
{
    static const struct {
        const char *debug, *message;
    } texts[] = {{"bf16_tile=2", "debug: bf16_tile has no effect without precision bf16"},
                 {"bf16_emulate=1", "debug: bf16_emulate has no effect"},
                 {"bf16_emulate=2", "debug: bf16_emulate is 2, expected 0..1"},
                 {"bf16_emulate=1,bf16_tile=5", "debug: bf16_tile is 5, expected 0..4"},
                 {"bf16_tile=02", "bf16_tile is 02"},
                 {"bf16_tile=", "bf16_tile is , expected"},
                 {"bf16_tile", "not of the form key=number"},
                 {"bf16_tile=1,", "not of the form key=number"},
                 {"bf16_tile=1,bf16_tile=1", "given twice"},
                 {"bf16_tiles=1", "no key 'bf16_tiles' (did you mean 'bf16_tile'?)"},
                 {"a-key-that-is-longer-than-every-key-that-somebody-may-have-meant=1", "is no entry"}};
    cm_model *m = load(CONSISTENCY);
    cm_sampler *s;
    cm_sampler_options o;
    cm_sampler_options_init(&o, sizeof o);
    o.max_batch = -1;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "max_batch");
    o.max_batch = 1, o.threads = 300;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "threads");
    o.threads = 1, o.precision = 3;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "precision is 3, expected 1 (f32), 2 (bf16)");
    ck_assert_ptr_null(s);
    o.precision = CM_PRECISION_F32;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        o.debug = texts[i].debug;
        FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, texts[i].message);
    }
    o.precision = CM_PRECISION_BF16, o.debug = "bf16_emulate=1", o.memory = CM_MEMORY_SMALL;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "memory small is for precision f32");
    o.memory = CM_MEMORY_FAST, o.reserved = 1;
    FAILS(cm_sampler_create(m, &o, &s), CM_ERR_ARGUMENT, "reserved is 1");
    o.reserved = 0, o.debug = "";
    if (has_bf16()) {
        OK(cm_sampler_create(m, &o, &s));
        cm_sampler_free(s);
    } else {
        FAILS(cm_sampler_create(m, &o, &s), CM_ERR_UNSUPPORTED, "no bfloat16 instructions");
    }
    FAILS(cm_sampler_create(NULL, NULL, &s), CM_ERR_ARGUMENT, "model");
    FAILS(cm_sampler_create(m, NULL, NULL), CM_ERR_ARGUMENT, "out");
    cm_model_free(m);
    cm_sampler_free(NULL);
}
END_TEST

/* --- what is not finite, and whose levels are sampled ------------------------------------------- */

/* A small model of 1 x 8 x 8 images and fresh weights. */
static cm_model *small(const char *precond)
{
    cm_model *m = NULL;
    char config[512];
    snprintf(
        config, sizeof config,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": 8, "
        "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {%s}, "
        "\"image\": {\"channels\": 1, \"height\": 8, \"width\": 8, \"labels\": 0}}",
        precond);
    OK(cm_model_create(NULL, config, 3, &m));
    return m;
}

/* All weights times a factor that leaves them finite. */
static void grow(cm_model *m, float factor)
{
    for (int i = 0; i < m->graph->n_params; i++) {
        const cm_tensor *t = cmi_checkpoint_tensor(&m->sources[i]);
        float *v = (float *)(uintptr_t)t->data;
        for (size_t k = 0; k < t->count; k++) v[k] = (v[k] + 0.1f) * factor;
    }
}

START_TEST(nothing_nonfinite_is_a_picture)
{
    enum { N = 3, S = 64 };
    static float noise[N * S], later[2][N * S], x[(N + 1) * S];
    const float sigma[N] = {1, 2, 3};
    const double levels[3] = {80, 2, 1};
    uint64_t state = seeded(3);
    for (int i = 0; i < N * S; i++) noise[i] = random_float(&state), later[0][i] = later[1][i] = noise[i];
    cm_model *m = small("\"type\": \"cm\""), *large = small("\"type\": \"cm\"");
    grow(large, 1e30f);
    cm_sampler *s = sampler(m, 2, 2), *sl = sampler(large, 2, 2);
    cm_sample_options o = options(CM_METHOD_MULTISTEP);
    o.sigmas = levels, o.sigma_count = 3, o.noise = noise, o.step_noise = later[0], o.noise_steps = 2;
    OK(cm_sampler_run(s, &o, N, x));
    for (int clip = CM_CLIP_DEFAULT; clip <= CM_CLIP_NO; clip++) {
        o.clip_denoised = clip, o.clip_output = clip == CM_CLIP_NO ? CM_CLIP_NO : CM_CLIP_DEFAULT;
        FAILS(cm_sampler_run(sl, &o, N, x), CM_ERR_NUMERIC, "evaluation 0 at sigma 80");
        ck_assert_ptr_nonnull(strstr(cm_last_message(), "image 0"));
        noise[2 * S + 5] = clip == CM_CLIP_NO ? NAN : INFINITY;
        FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_NUMERIC, "noise of image 2 is");
        noise[2 * S + 5] = 0;
        later[1][S + 7] = -INFINITY;
        FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_NUMERIC, "draw 1 of image 1 is -inf at value 7");
        later[1][S + 7] = 0;
        later[1][0] = NAN; /* one that is not used is no matter */
        o.sigma_count = 2;
        OK(cm_sampler_run(s, &o, N, x));
        later[1][0] = 0, o.sigma_count = 3;
    }
    later[1][2 * S] = 3e38f; /* finite, but what the network makes of it is not */
    o.clip_denoised = CM_CLIP_NO;
    FAILS(cm_sampler_run(s, &o, N, x), CM_ERR_NUMERIC, "image 2, evaluation 2 at sigma 1");
    cm_edit_options e;
    const cm_images frames = cm_images_f32(4, 1, 8, 8, x);
    cm_edit_options_init(&e, sizeof e);
    cm_sample_options plain = options(CM_METHOD_DEFAULT);
    plain.noise = noise, noise[S + 1] = NAN;
    e.sampling = &plain;
    FAILS(cm_sampler_interpolate(s, &e, &frames), CM_ERR_NUMERIC, "noise of image 1 is nan at value 1");
    noise[S + 1] = 0;
    FAILS(cm_model_denoise(large, N, noise, sigma, NULL, x), CM_ERR_NUMERIC, "image 0 at sigma 1");
    noise[S + 1] = NAN;
    FAILS(cm_model_denoise(m, N, noise, sigma, NULL, x), CM_ERR_NUMERIC, "image 1 is nan at value 1");
    FAILS(cm_model_denoise(m, SIZE_MAX / 2, noise, sigma, NULL, x), CM_ERR_LIMIT, "memory");
    const float above = 81;
    noise[S + 1] = 0;
    FAILS(cm_model_denoise(m, 1, noise, &above, NULL, x), CM_ERR_ARGUMENT, "noise levels end at 80");
    OK(cm_sampler_run(s, NULL, N, x));
    cm_sampler_free(s), cm_sampler_free(sl);
    cm_model_free(m), cm_model_free(large);
}
END_TEST

typedef struct {
    double first, last;
} ends;

static int32_t note_ends(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *images)
{
    ends *e = user;
    (void)first, (void)images;
    if (evaluation == 0) e->first = sigma;
    e->last = sigma;
    return 0;
}

/* The published lists of consistency training are those of its models alone: by the whole name of the objective. */
START_TEST(published_levels_go_by_the_objective)
{
    static const struct {
        const char *training;
        int index, count;
    } rows[] = {
        {"{\"objective\": \"ct\"}", 106, 201},
        {"{\"objective\": \"cd\"}", 22, 40},
        {"{\"objective\": \"ctx\"}", 22, 40},
        {"{\"objective\": \"ct-lpips\"}", 22, 40},
        {"{\"objective\": \"c\"}", 22, 40},
        {"{\"objective\": 7}", 22, 40},
        {"{}", 22, 40},
    };
    enum { VALUES = 3 * 64 * 64 };
    static float x[VALUES];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char config[512];
        ends seen = {0, 0};
        cm_model *m;
        snprintf(config, sizeof config,
                 "{\"network\": {\"type\": \"adm\", \"image_size\": 64, \"in_channels\": 3, \"out_channels\": 3, "
                 "\"model_channels\": 32, \"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": "
                 "[]}, \"precond\": {\"type\": \"cm\"}, \"training\": %s}",
                 rows[i].training);
        OK(cm_model_create(NULL, config, 3, &m));
        cm_sampler *s = sampler(m, 1, 1);
        cm_sample_options o = options(CM_METHOD_MULTISTEP);
        o.step = note_ends, o.step_user = &seen;
        o.steps = 2;
        OK(cm_sampler_run(s, &o, 1, x));
        const double top = pow(80, 1.0 / 7), bottom = pow(0.002, 1.0 / 7);
        const double want = pow(top + (double)rows[i].index / (rows[i].count - 1) * (bottom - top), 7);
        ck_assert_msg(fabs(seen.last / want - 1) < 1e-6, "%s: %g, expected %g", rows[i].training, seen.last, want);
        cm_sampler_free(s);
        cm_model_free(m);
    }
}
END_TEST

/* "0 = the model's": the levels that the file gives, of every family. */
START_TEST(levels_are_the_models)
{
    static const struct {
        const char *precond;
        int method, steps_of;
        double first, last;
    } rows[] = {
        {"\"type\": \"edm\"", CM_METHOD_HEUN, 0, 80, 0.002},
        {"\"type\": \"edm\", \"sigma_min\": 0.05, \"sigma_max\": 40", CM_METHOD_HEUN, 0, 40, 0.05},
        {"\"type\": \"edm\", \"sigma_min\": 0.0005, \"sigma_max\": 200", CM_METHOD_EULER, 0, 200, 0.0005},
        {"\"type\": \"edm\", \"sigma_min\": 0, \"sigma_max\": 40", CM_METHOD_EULER, 0, 40, 0.002},
        {"\"type\": \"edm\", \"sigma_min\": 0.05", CM_METHOD_ANCESTRAL, 0, 80, 0.05},
        {"\"type\": \"edm\", \"sigma_min\": 0.05", CM_METHOD_EDM, 0, 80, 0.05},
        {"\"type\": \"edm\", \"sigma_min\": 0.05", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.05},
        {"\"type\": \"edm\"", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.02},
        {"\"type\": \"edm\", \"sigma_max\": 50", CM_METHOD_EDM, CM_EDM_STEPS_VE, 50, 0.02},
        {"\"type\": \"ecm\", \"sigma_min\": 0.05, \"sigma_max\": 40", CM_METHOD_EULER, 0, 40, 0.05},
        {"\"type\": \"ecm\", \"sigma_max\": 120", CM_METHOD_ONESTEP, 0, 120, 120},
        {"\"type\": \"cm\", \"sigma_min\": 0.05, \"sigma_max\": 120", CM_METHOD_HEUN, 0, 120, 0.05},
        {"\"type\": \"cm\", \"sigma_max\": 120", CM_METHOD_ONESTEP, 0, 120, 120},
        {"\"type\": \"vp\"", CM_METHOD_EULER, 0, 80, 0.002},
        {"\"type\": \"vp\", \"sigma_min\": 0.01, \"sigma_max\": 100", CM_METHOD_EULER, 0, 100, 0.01},
        {"\"type\": \"ve\"", CM_METHOD_EULER, 0, 80, 0.02},
        {"\"type\": \"ve\", \"sigma_min\": 0.01, \"sigma_max\": 90", CM_METHOD_EULER, 0, 90, 0.01},
    };
    static float x[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ends seen = {0, 0};
        cm_model *m = small(rows[i].precond);
        cm_sampler *s = sampler(m, 1, 1);
        cm_sample_options o = options(rows[i].method);
        o.edm_discretization = rows[i].steps_of;
        o.step = note_ends, o.step_user = &seen;
        if (rows[i].method != CM_METHOD_ONESTEP) o.steps = 5;
        OK(cm_sampler_run(s, &o, 1, x));
        ck_assert_msg(fabs(seen.first / rows[i].first - 1) < 1e-6 && fabs(seen.last / rows[i].last - 1) < 1e-6,
                      "%s, method %d: from %g to %g, expected %g to %g", rows[i].precond, rows[i].method, seen.first,
                      seen.last, rows[i].first, rows[i].last);
        cm_sampler_free(s);
        cm_model_free(m);
    }
}
END_TEST

/* Editing's own levels stay within the model's, and so does what is told. */
START_TEST(levels_of_editing_are_the_models)
{
    static float x[64], y[64], mask[64], pair[128];
    const cm_images given = cm_images_f32(1, 1, 8, 8, y), k = cm_images_f32(1, 1, 8, 8, mask),
                    out = cm_images_f32(1, 1, 8, 8, x), two = cm_images_f32(2, 1, 8, 8, pair);
    cm_model *m = small("\"type\": \"cm\", \"sigma_min\": 0.7, \"sigma_max\": 3");
    cm_sampler *s = sampler(m, 1, 1);
    ends seen = {0, 0};
    cm_sample_options o = options(CM_METHOD_DEFAULT);
    cm_edit_options e;
    cm_edit_options_init(&e, sizeof e);
    e.sampling = &o;
    o.step = note_ends, o.step_user = &seen;
    mask[3] = 1;
    OK(cm_sampler_inpaint(s, &e, &given, &k, &out));
    ck_assert(seen.first <= 3 && seen.first > seen.last && seen.last >= 0.7 * (1 - 1e-6));
    e.sigma = 3.1;
    FAILS(cm_sampler_denoise(s, &e, &given, &out), CM_ERR_ARGUMENT, "sigma is 3.1");
    FAILS(cm_sampler_stroke(s, &e, &given, &out), CM_ERR_ARGUMENT, "sigma is 3.1");
    e.sigma = 0.6;
    FAILS(cm_sampler_denoise(s, &e, &given, &out), CM_ERR_ARGUMENT, "[0.7, 3]");
    e.sigma = 0, o.sigma_max = 1e300;
    FAILS(cm_sampler_inpaint(s, &e, &given, &k, &out), CM_ERR_ARGUMENT, "sigma_max is 1e+300");
    FAILS(cm_sampler_interpolate(s, &e, &two), CM_ERR_ARGUMENT, "sigma_max is 1e+300");
    o.sigma_max = 0, o.rho = 1e-300;
    FAILS(cm_sampler_inpaint(s, &e, &given, &k, &out), CM_ERR_ARGUMENT, "rho is 1e-300");
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* --- two models, each on its side of a border ------------------------------------------------------ */

static cm_status create_with(cm_model *m, cm_model *below, double border, cm_sampler **s)
{
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    o.threads = 2, o.max_batch = 3;
    o.below = below, o.border = border;
    return cm_sampler_create(m, &o, s);
}

typedef struct {
    float estimate[2][4 * SIZE];
} estimates;

static int32_t keep_estimate(void *user, int32_t evaluation, double level, size_t first, const cm_images *images)
{
    estimates *e = user;
    (void)level;
    memcpy(e->estimate[evaluation] + first * SIZE, images->data, images->n * SIZE * sizeof(float));
    return 0;
}

/* The first estimate is the one's, the second what the other makes of it; a level at the border is the first's. */
START_TEST(each_model_on_its_side)
{
    static const double levels[2] = {80, 1};
    static const double borders[3] = {1.5, 80, 1.0000001};
    static estimates apart, together;
    cm_model *a = load(CONSISTENCY), *b;
    cm_model_info info = CM_MODEL_INFO_INIT;
    OK(cm_model_info_get(a, &info));
    OK(cm_model_create(NULL, info.config_json, 5, &b));
    cm_sampler *alone = sampler(a, 1, 4), *both;
    static float noise[4 * SIZE], step[4 * SIZE], x[4 * SIZE], want[4 * SIZE], got[4 * SIZE];
    int32_t labels[4] = {0, 3, 7, 9};
    cm_condition c = CM_CONDITION_INIT;
    cm_sample_options o = options(CM_METHOD_MULTISTEP);
    for (int i = 0; i < 4 * SIZE; i++) noise[i] = (float)sin((double)(7 * i)), step[i] = (float)cos((double)(5 * i));
    c.labels = labels;
    o.condition = &c, o.sigmas = levels, o.sigma_count = 2;
    o.noise = noise, o.step_noise = step, o.noise_steps = 1;
    o.clip_denoised = o.clip_output = CM_CLIP_NO;
    o.step = keep_estimate, o.step_user = &apart;
    OK(cm_sampler_run(alone, &o, 4, got));
    o.step_user = &together;
    for (int k = 0; k < 3; k++) {
        OK(create_with(a, b, borders[k], &both));
        OK(cm_sampler_run(both, &o, 4, got));
        ck_assert_mem_eq(apart.estimate[0], together.estimate[0], sizeof x);
        const float level[4] = {1, 1, 1, 1};
        const double rise = sqrt(1 - info.sigma_min * info.sigma_min);
        for (int i = 0; i < 4 * SIZE; i++) x[i] = (float)((double)apart.estimate[0][i] + rise * (double)step[i]);
        OK(cm_model_denoise(b, 4, x, level, labels, want));
        for (int i = 0; i < 4 * SIZE; i++)
            ck_assert_msg(fabs((double)got[i] - (double)want[i]) <= 1e-5, "%d: %g, expected %g", i, (double)got[i],
                          (double)want[i]);
        cm_sampler_free(both);
    }
    cm_sampler_free(alone);
    cm_model_free(a), cm_model_free(b);
}
END_TEST

/* With the same weights on both sides nothing changes, whatever the method, also where images have levels of their
 * own. */
START_TEST(the_same_model_on_both_sides)
{
    static const int kinds[] = {CM_METHOD_MULTISTEP, CM_METHOD_HEUN, CM_METHOD_DPM, CM_METHOD_DPMPP, CM_METHOD_RK45};
    cm_model *a = load(CONSISTENCY), *copy = load(CONSISTENCY);
    cm_sampler *alone = sampler(a, 1, 3), *both;
    cm_sampler_info one = CM_SAMPLER_INFO_INIT, two = CM_SAMPLER_INFO_INIT, need = CM_SAMPLER_INFO_INIT;
    cm_sampler_options so = CM_SAMPLER_OPTIONS_INIT;
    OK(create_with(a, copy, 1, &both));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        cm_sample_options o = options(kinds[i]);
        static const double levels[2] = {80, 0.5};
        if (kinds[i] == CM_METHOD_MULTISTEP) o.sigmas = levels, o.sigma_count = 2;
        else if (kinds[i] != CM_METHOD_RK45) o.steps = 5;
        if (kinds[i] == CM_METHOD_RK45) o.rk45_rtol = o.rk45_atol = 0.05;
        float *x = draw(alone, &o, 4), *y = draw(both, &o, 4);
        ck_assert_mem_eq(x, y, 4 * SIZE * sizeof *x);
        free(x), free(y);
    }
    OK(cm_sampler_info_get(alone, &one));
    OK(cm_sampler_info_get(both, &two));
    ck_assert(two.activation_bytes > one.activation_bytes && two.packed_bytes == 2 * one.packed_bytes);
    so.threads = 2, so.max_batch = 3, so.below = copy, so.border = 1;
    OK(cm_sampler_estimate(a, &so, &need));
    ck_assert_uint_eq(need.packed_bytes, two.packed_bytes);
    cm_sampler_free(alone), cm_sampler_free(both);
    cm_model_free(a), cm_model_free(copy);
}
END_TEST

START_TEST(borders_refused)
{
    static const double above[2] = {80, 2}, under[1] = {0.5};
    cm_model *a = load(CONSISTENCY), *teacher = load(TEACHER), *other;
    cm_sampler *s;
    int32_t nfe;
    float x[SIZE];
    FAILS(create_with(a, NULL, 1, &s), CM_ERR_ARGUMENT, "border 1 has no effect");
    ck_assert_ptr_null(s);
    FAILS(create_with(a, a, 0, &s), CM_ERR_ARGUMENT, "border is 0");
    FAILS(create_with(a, a, -1, &s), CM_ERR_ARGUMENT, "border is -1");
    FAILS(create_with(a, a, (double)NAN, &s), CM_ERR_ARGUMENT, "border is nan");
    FAILS(create_with(a, a, 81, &s), CM_ERR_ARGUMENT, "border is 81");
    FAILS(create_with(a, teacher, 1, &s), CM_ERR_ARGUMENT, "another precond");
    OK(cm_model_create(
        NULL,
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 16, \"img_channels\": 1, "
        "\"model_channels\": 4, \"channel_mult\": [1], \"num_blocks\": 1}, \"precond\": {\"type\": \"cm\"}}",
        1, &other));
    FAILS(create_with(a, other, 1, &s), CM_ERR_ARGUMENT, "images of another size");
    cm_model_free(other);
    OK(create_with(a, a, 1, &s));
    cm_sample_options o = options(CM_METHOD_ONESTEP);
    FAILS(cm_sampler_run(s, &o, 1, x), CM_ERR_ARGUMENT, "one side of the border 1");
    FAILS(cm_sampler_nfe(s, &o, &nfe), CM_ERR_ARGUMENT, "one side of the border 1");
    o.method = CM_METHOD_MULTISTEP, o.sigmas = above, o.sigma_count = 2;
    FAILS(cm_sampler_run(s, &o, 1, x), CM_ERR_ARGUMENT, "from 80 to 2");
    o.sigmas = under, o.sigma_count = 1;
    FAILS(cm_sampler_run(s, &o, 1, x), CM_ERR_ARGUMENT, "from 0.5 to 0.5");
    cm_sampler_free(s);
    cm_model_free(a), cm_model_free(teacher);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("sampler");
    TCase *t = tcase_create("sampler");
    tcase_set_timeout(t, 300);
    TCase *border = tcase_create("border");
    tcase_set_timeout(border, 300);
    suite_add_tcase(s, border);
    tcase_add_test(t, initialisers);
    tcase_add_test(t, reference_images);
    tcase_add_loop_test(t, same_bits_for_threads_and_batches, 0, sizeof methods / sizeof *methods);
    tcase_add_test(t, dpmpp_converges);
    tcase_add_test(t, seeds_and_labels_matter);
    tcase_add_test(t, times_by_sigmas_and_by_indices);
    tcase_add_test(t, torch_stream);
    tcase_add_test(t, callbacks);
    tcase_add_test(t, cancel_from_another_thread);
    tcase_add_test(t, many_samplers_on_one_model);
    tcase_add_test(t, inside_the_hosts_own_parallel_region);
    tcase_add_test(t, options_refused);
    tcase_add_test(t, packed_weights_are_shared);
    tcase_add_test(t, the_boundary_beside_other_levels);
    tcase_add_test(t, memory_is_known_before);
    tcase_add_test(t, creation_refused);
    tcase_add_test(t, nothing_nonfinite_is_a_picture);
    tcase_add_test(t, published_levels_go_by_the_objective);
    tcase_add_test(t, levels_are_the_models);
    tcase_add_test(t, levels_of_editing_are_the_models);
    tcase_add_test(border, each_model_on_its_side);
    tcase_add_test(border, the_same_model_on_both_sides);
    tcase_add_test(border, borders_refused);
    tcase_add_test(t, bfloat16);
    suite_add_tcase(s, t);
    return s;
}
