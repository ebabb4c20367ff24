/* Samplers on the digit models: reference images, same bits for any threads,
 * batch and position, cancel, callbacks, memory, two models at a border. */
#include "support/samplers.h"

#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "io/tensors.h"

#define PEER "../shared/data/" /* the reference material beside the project */
enum { SIZE = 1024 };

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
        cm_model *m = load_model(k == 2 ? PEER "digits_teacher.safetensors" : PEER "digits_consistency.safetensors");
        cm_sampler *s = sampler_of(m, 2, 4);
        cm_sample_options o = sample_options(k == 0   ? CM_METHOD_ONESTEP
                                             : k == 1 ? CM_METHOD_MULTISTEP
                                                      : CM_METHOD_HEUN);
        o.noise = noise[0];
        o.condition = LABELS(labels);
        o.clip_output = o.clip_denoised = CM_CLIP_NO;
        if (k == 1) o.step_noise = noise[1], o.noise_steps = 1;
        if (k == 2) o.steps = 18;
        float *x = draw_images(s, &o, 10, SIZE);
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
    cm_sample_options o = sample_options(method);
    if (method == CM_METHOD_RK45) o.rk45_rtol = o.rk45_atol = 0.2;
    else if (method >= CM_METHOD_HEUN) o.steps = 3;
    if (method == CM_METHOD_HEUN || method == CM_METHOD_EDM || method == CM_METHOD_DPM) o.s_churn = 1;
    return o;
}

/* D2 and D3: 1 to 8 threads, batches of 1 to 16, positions: the same bytes. */
START_TEST(same_bits_for_threads_and_batches)
{
    static const int batches[] = {1, 2, 3, 7, 16};
    cm_model *m = load_model(methods[_i] <= CM_METHOD_MULTISTEP ? CONSISTENCY : TEACHER);
    cm_sample_options o = method_options(methods[_i]);
    enum { COUNT = 9 };
    int most = by_effort(2, 8, 8); /* for slow tools */
    cm_sampler *one = sampler_of(m, 1, 1);
    float *want = draw_images(one, &o, COUNT, SIZE), *again = draw_images(one, &o, COUNT, SIZE);
    ck_assert_mem_eq(want, again, COUNT * SIZE * sizeof *want);
    free(again);
    for (int threads = 1; threads <= most; threads++) {
        cm_sampler *s = sampler_of(m, threads, batches[threads % 5]);
        float *x = draw_images(s, &o, COUNT, SIZE);
        ck_assert_msg(memcmp(x, want, COUNT * SIZE * sizeof *x) == 0, "method %d: %d threads, batch %d", methods[_i],
                      threads, batches[threads % 5]);
        free(x);
        cm_sample_options later = o;
        later.first_index = 4;
        x = draw_images(s, &later, 3, SIZE);
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
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *s = sampler_of(m, 2, 8);
    cm_sample_options o = sample_options(CM_METHOD_ONESTEP);
    const int32_t sevens[2] = {7, 7}, nones[2] = {-1, -1};
    float *a = draw_images(s, &o, 2, SIZE), *b, *c, *d;
    o.seed = 12;
    b = draw_images(s, &o, 2, SIZE);
    o.condition = LABELS(sevens);
    c = draw_images(s, &o, 2, SIZE);
    o.condition = LABELS(nones);
    d = draw_images(s, &o, 2, SIZE);
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
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *s = sampler_of(m, 2, 8);
    const double top = pow(80, 1 / 7.0), low = pow(0.002, 1 / 7.0),
                 sigmas[2] = {80, pow(top + 22 / 39.0 * (low - top), 7)};
    const int32_t ts[3] = {0, 22, 39};
    int32_t nfe;
    cm_sample_options a = sample_options(CM_METHOD_MULTISTEP), b = a;
    a.sigmas = sigmas, a.sigma_count = 2;
    b.ts = ts, b.ts_count = 3, b.grid = 40;
    OK(cm_sampler_nfe(s, &a, &nfe));
    ck_assert_int_eq(nfe, 2);
    OK(cm_sampler_nfe(s, &b, &nfe));
    ck_assert_int_eq(nfe, 2);
    float *x = draw_images(s, &a, 2, SIZE), *y = draw_images(s, &b, 2, SIZE);
    for (int i = 0; i < 2 * SIZE; i++)
        ck_assert_double_le(fabs((double)(x[i] - y[i])), 2e-4); /* eps 0.002 against 0 (ecm) */
    free(x), free(y);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

/* The noise that images begin with is multiplied, that on the way is not; 0.5 makes no error of rounding. */
START_TEST(temperature_of_the_first_noise)
{
    static float noise[2 * SIZE], half[2 * SIZE];
    static const double sigmas[2] = {80, 0.8};
    static const int by[] = {CM_METHOD_ONESTEP, CM_METHOD_MULTISTEP, CM_METHOD_HEUN, CM_METHOD_ANCESTRAL};
    uint64_t state = seeded(3);
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *s = sampler_of(m, 2, 8);
    for (int i = 0; i < 2 * SIZE; i++) half[i] = (noise[i] = (float)random_int(&state, -3000, 3000) / 1000) / 2;
    for (size_t k = 0; k < sizeof by / sizeof *by; k++) {
        cm_sample_options warm = sample_options(by[k]);
        if (k) warm.sigmas = sigmas, warm.sigma_count = 2;
        cm_sample_options cold = warm, given = warm;
        warm.noise = noise, given.noise = half;
        cold.noise = noise, cold.temperature = 0.5;
        float *x = draw_images(s, &warm, 2, SIZE), *y = draw_images(s, &cold, 2, SIZE),
              *z = draw_images(s, &given, 2, SIZE);
        ck_assert_mem_eq(y, z, 2 * SIZE * sizeof *y);
        ck_assert_mem_ne(x, y, 2 * SIZE * sizeof *y);
        free(x), free(y), free(z);
    }
    cm_sample_options o = sample_options(CM_METHOD_ONESTEP), cold = o, one = o; /* of noise that is drawn too */
    cold.temperature = 0.5, one.temperature = 1;
    float *x = draw_images(s, &cold, 2, SIZE), *y = draw_images(s, &one, 2, SIZE), *z = draw_images(s, &o, 2, SIZE);
    ck_assert_mem_eq(y, z, 2 * SIZE * sizeof *y);
    ck_assert_mem_ne(x, y, 2 * SIZE * sizeof *y);
    free(x), free(y), free(z);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

START_TEST(torch_stream)
{
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *s = sampler_of(m, 2, 3);
    cm_sample_options o = sample_options(CM_METHOD_MULTISTEP);
    const int32_t labels[4] = {1, 2, 3, 4};
    int32_t nfe;
    o.noise_source = CM_NOISE_TORCH_IMAGE;
    float *a = draw_images(s, &o, 4, SIZE);
    o.first_index = 2;
    float *b = draw_images(s, &o, 2, SIZE);
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
    cm_model *m = load_model(TEACHER);
    cm_sampler *s = sampler_of(m, 2, 2);
    watcher w = {s, 0, 0, 0, 0, 0, 1};
    cm_sample_options o = sample_options(CM_METHOD_HEUN);
    o.steps = 3;
    float *plain = draw_images(s, &o, 5, SIZE);
    o.progress = on_progress, o.progress_user = &w;
    o.step = on_step, o.step_user = &w;
    float *x = draw_images(s, &o, 5, SIZE);
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
    cm_model *m = load_model(TEACHER);
    cm_sampler *s = sampler_of(m, 2, 16);
    cm_sample_options o = sample_options(CM_METHOD_HEUN);
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
    cm_sampler *s = sampler_of(j->m, 1, 2);
    cm_sample_options o = sample_options(CM_METHOD_MULTISTEP);
    j->ok = 1;
    for (int round = 0; round < by_effort(1, 5, 5); round++) {
        float *x = draw_images(s, &o, 3, SIZE);
        j->ok &= memcmp(x, j->want, 3 * SIZE * sizeof *x) == 0;
        free(x);
    }
    cm_sampler_free(s);
    return NULL;
}

START_TEST(many_samplers_on_one_model)
{
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *s = sampler_of(m, 1, 1);
    cm_sample_options o = sample_options(CM_METHOD_MULTISTEP);
    float *want = draw_images(s, &o, 3, SIZE);
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
    float *x = draw_images(s, &o, 3, SIZE);
    ck_assert_mem_eq(x, want, 3 * SIZE * sizeof *x);
    free(x), free(want);
    cm_sampler_free(s);
}
END_TEST

START_TEST(inside_the_hosts_own_parallel_region)
{
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *s[2] = {sampler_of(m, 2, 2), sampler_of(m, 2, 2)}, *plain = sampler_of(m, 1, 1);
    cm_sample_options o = sample_options(CM_METHOD_ONESTEP);
    float *want = draw_images(plain, &o, 3, SIZE), *x[2];
#pragma omp parallel for num_threads(2)
    for (int i = 0; i < 2; i++) x[i] = draw_images(s[i], &o, 3, SIZE);
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
    cm_model *m = load_model(TEACHER);
    cm_sampler *s = sampler_of(m, 2, COUNT);
    cm_sample_options o = sample_options(CM_METHOD_DPMPP);
    o.steps = 96, o.rho = 7;
    float *want = draw_images(s, &o, COUNT, SIZE);
    for (int grid = 0; grid < 2; grid++) {
        double last = INFINITY;
        for (int order = 1; order <= 3; order++) {
            double off = 0;
            o.steps = 24, o.rho = grid ? 7 : 0, o.dpmpp_order = order;
            float *x = draw_images(s, &o, COUNT, SIZE);
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

/* Weights are packed once for all samplers of a model. */
START_TEST(packed_weights_are_shared)
{
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *a = sampler_of(m, 2, 4), *b = sampler_of(m, 2, 16);
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
    cm_model *m = load_model(CONSISTENCY);
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
            cm_model *m = load_model(CONSISTENCY);
            cm_sampler_options_init(&o, sizeof o);
            cm_sampler_info_init(&before, sizeof before);
            cm_sampler_info_init(&after, sizeof after);
            cm_sampler_info_init(&small, sizeof small);
            o.threads = threads, o.max_batch = batch;
            OK(cm_sampler_estimate(m, &o, &before));
            cm_sampler *s = sampler_of(m, threads, batch);
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
    cm_model *m = load_model(CONSISTENCY);
    cm_sampler *exact = sampler_of(m, 1, 4);
    cm_sample_options o = sample_options(CM_METHOD_ONESTEP);
    float *want = draw_images(exact, &o, COUNT, SIZE), *first[4] = {NULL};
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
        cm_model *fresh = load_model(CONSISTENCY);
        OK(cm_sampler_estimate(fresh, &s, &before));
        OK(cm_sampler_create(fresh, &s, &coarse));
        OK(cm_sampler_info_get(coarse, &after));
        ck_assert_uint_eq(before.packed_bytes, after.packed_bytes);
        ck_assert_uint_eq(before.activation_bytes, after.activation_bytes);
        if (k == 0) ck_assert_uint_lt(2 * after.packed_bytes, f32.packed_bytes);
        float *x = draw_images(coarse, &o, COUNT, SIZE);
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
    cm_model *a = load_model(CONSISTENCY), *b;
    cm_model_info info = CM_MODEL_INFO_INIT;
    OK(cm_model_info_get(a, &info));
    OK(cm_model_create(NULL, info.config_json, 5, &b));
    cm_sampler *alone = sampler_of(a, 1, 4), *both;
    static float noise[4 * SIZE], step[4 * SIZE], x[4 * SIZE], want[4 * SIZE], got[4 * SIZE];
    int32_t labels[4] = {0, 3, 7, 9};
    cm_condition c = CM_CONDITION_INIT;
    cm_sample_options o = sample_options(CM_METHOD_MULTISTEP);
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
    cm_model *a = load_model(CONSISTENCY), *copy = load_model(CONSISTENCY);
    cm_sampler *alone = sampler_of(a, 1, 3), *both;
    cm_sampler_info one = CM_SAMPLER_INFO_INIT, two = CM_SAMPLER_INFO_INIT, need = CM_SAMPLER_INFO_INIT;
    cm_sampler_options so = CM_SAMPLER_OPTIONS_INIT;
    OK(create_with(a, copy, 1, &both));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        cm_sample_options o = sample_options(kinds[i]);
        static const double levels[2] = {80, 0.5};
        if (kinds[i] == CM_METHOD_MULTISTEP) o.sigmas = levels, o.sigma_count = 2;
        else if (kinds[i] != CM_METHOD_RK45) o.steps = 5;
        if (kinds[i] == CM_METHOD_RK45) o.rk45_rtol = o.rk45_atol = 0.05;
        float *x = draw_images(alone, &o, 4, SIZE), *y = draw_images(both, &o, 4, SIZE);
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
    cm_model *a = load_model(CONSISTENCY), *teacher = load_model(TEACHER), *other;
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
    cm_sample_options o = sample_options(CM_METHOD_ONESTEP);
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
    tcase_add_test(t, temperature_of_the_first_noise);
    tcase_add_test(t, torch_stream);
    tcase_add_test(t, callbacks);
    tcase_add_test(t, cancel_from_another_thread);
    tcase_add_test(t, many_samplers_on_one_model);
    tcase_add_test(t, inside_the_hosts_own_parallel_region);
    tcase_add_test(t, packed_weights_are_shared);
    tcase_add_test(t, the_boundary_beside_other_levels);
    tcase_add_test(t, memory_is_known_before);
    tcase_add_test(border, each_model_on_its_side);
    tcase_add_test(border, the_same_model_on_both_sides);
    tcase_add_test(border, borders_refused);
    tcase_add_test(t, bfloat16);
    suite_add_tcase(s, t);
    return s;
}
