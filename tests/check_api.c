/* The public interface: broken models, save and load, arguments, calls that are asked to stop, tangents, lists of
 * choices. */
#include "support/suite.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/safetensors.h"
#include "support/pictures.h"

#define MODEL "tests/data/models/digits_consistency.safetensors"
enum { SIZE = 1024 };
static char dir[32];

static void setup(void)
{
    strcpy(dir, "/tmp/cm-api-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", dir, dir);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* --- models that are wrong --------------------------------------------------------- */

enum { AS_IS, MISSING, EXTRA, RENAMED, RESHAPED, TYPED, NAN_WEIGHT, PREFIXED };

/* A changed copy of the digit model; `key` of the metadata becomes `value`. */
static void write_variant(const char *path, int change, const char *key, const char *value)
{
    static float bad[1] = {NAN}, good[1] = {1};
    cm_context *context;
    cm_tensors st;
    OK(cm_context_create(NULL, &context));
    OK(cmi_tensors_open_file(context, MODEL, CM_INPUT_IN_PLACE, &st));
    cm_tensor *t = calloc(st.count + 1, sizeof *t);
    static char names[1024][128];
    size_t n = 0;
    for (size_t i = 0; i < st.count; i++) {
        t[n] = st.tensors[i];
        int bias = strcmp(t[n].name, "map_layer0.bias") == 0;
        if (change == MISSING && bias) continue;
        if (change == RENAMED && bias) t[n].name = "map_layer7.bias";
        if (change == RESHAPED && bias) t[n].rank = 2, t[n].shape[1] = t[n].shape[0], t[n].shape[0] = 1;
        if (change == TYPED && bias) t[n].type = CM_TENSOR_I32;
        if (change == NAN_WEIGHT && bias) {
            static float copy[4096];
            ck_assert_uint_le(t[n].bytes, sizeof copy);
            memcpy(copy, t[n].data, t[n].bytes);
            copy[3] = bad[0];
            t[n].data = (unsigned char *)copy;
        }
        if (change == PREFIXED) {
            snprintf(names[n], sizeof names[n], "model.%s", t[n].name);
            t[n].name = names[n];
        }
        n++;
    }
    if (change == EXTRA) t[n++] = (cm_tensor){"surplus", CM_TENSOR_F32, 1, {1}, 1, 4, (unsigned char *)good, 0, NULL};
    json_t *metadata = json_object();
    for (size_t i = 0; i < st.metadata_count; i++)
        json_object_set_new(metadata, st.metadata[i].key, json_string(st.metadata[i].value));
    if (key && value) json_object_set_new(metadata, key, json_string(value));
    if (key && !value) json_object_del(metadata, key);
    OK(cmi_safetensors_write(context, path, 1, metadata, t, n, NULL));
    json_decref(metadata);
    free(t);
    cmi_tensors_close(&st);
    cm_context_free(context);
}

START_TEST(broken_models)
{
    static const struct {
        int change;
        const char *key, *value;
        cm_status status;
        const char *word;
    } rows[] = {
        {MISSING, NULL, NULL, CM_ERR_SHAPE, "1 missing: map_layer0.bias"},
        {EXTRA, NULL, NULL, CM_ERR_SHAPE, "1 extra: surplus"},
        {RENAMED, NULL, NULL, CM_ERR_SHAPE, "1 extra: map_layer7.bias"},
        {RESHAPED, NULL, NULL, CM_ERR_SHAPE, "expected [64], found [1,64]"},
        {TYPED, NULL, NULL, CM_ERR_SHAPE, "dtype I32"},
        {NAN_WEIGHT, NULL, NULL, CM_ERR_NUMERIC, "map_layer0.bias"},
        {AS_IS, "consistency.network", NULL, CM_ERR_FORMAT, "consistency.network"},
        {AS_IS, "consistency.precond", NULL, CM_ERR_FORMAT, "consistency.precond"},
        {AS_IS, "consistency.network", "{", CM_ERR_FORMAT, "JSON"},
        {AS_IS, "consistency.precond", "{\"type\":\"flow\"}", CM_ERR_FORMAT, "trigflow"},
        {AS_IS, "consistency.format", "2", CM_ERR_UNSUPPORTED, "\"2\""},
        {AS_IS, "consistency.image", "{\"channels\":3,\"height\":32,\"width\":32}", CM_ERR_FORMAT, "channels is 3"},
        {AS_IS, "consistency.image", "{\"channels\":1,\"height\":32,\"width\":32,\"labels\":7}", CM_ERR_FORMAT,
         "labels is 7"},
        {AS_IS, "consistency.image", "{\"channels\":1,\"height\":30,\"width\":32,\"labels\":10}", CM_ERR_SHAPE,
         "downsampling"},
        {AS_IS, "consistency.image", "{\"channels\":1,\"height\":0,\"width\":32}", CM_ERR_FORMAT, "height"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_model *m;
        const char *path = in_dir("variant.safetensors");
        write_variant(path, rows[i].change, rows[i].key, rows[i].value);
        FAILS(cm_model_load(NULL, path, NULL, &m), rows[i].status, rows[i].word);
        ck_assert_ptr_null(m);
    }
}
END_TEST

START_TEST(acceptable_variants)
{
    cm_model *m;
    cm_load_options o;
    float x[SIZE], a[SIZE], b[SIZE], sigma = 2;
    for (int i = 0; i < SIZE; i++) x[i] = (float)sin(i);
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, a));
    cm_model_free(m);
    write_variant(in_dir("p.safetensors"), PREFIXED, NULL, NULL);
    OK(cm_model_load(NULL, in_dir("p.safetensors"), NULL, &m));
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, b));
    ck_assert_mem_eq(a, b, sizeof a);
    cm_model_free(m);
    write_variant(in_dir("n.safetensors"), NAN_WEIGHT, NULL, NULL);
    cm_load_options_init(&o, sizeof o);
    o.allow_nonfinite = 1;
    OK(cm_model_load(NULL, in_dir("n.safetensors"), &o, &m));
    cm_model_free(m);
    write_variant(in_dir("c.safetensors"), AS_IS, "consistency.precond", NULL);
    cm_load_options_init(&o, sizeof o);
    o.config_json = "{\"precond\":{\"type\":\"ecm\",\"sigma_data\":0.5,\"sigma_min\":0.002,\"sigma_max\":80}}";
    OK(cm_model_load(NULL, in_dir("c.safetensors"), &o, &m));
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, b));
    ck_assert_mem_eq(a, b, sizeof a);
    cm_model_free(m);
    o.config_json = "{\"precon\":{}}";
    FAILS(cm_model_load(NULL, in_dir("c.safetensors"), &o, &m), CM_ERR_FORMAT, "precon");
    o.config_json = "[1]";
    FAILS(cm_model_load(NULL, in_dir("c.safetensors"), &o, &m), CM_ERR_FORMAT, "object");
}
END_TEST

START_TEST(load_arguments)
{
    cm_model *m;
    FAILS(cm_model_load(NULL, NULL, NULL, &m), CM_ERR_ARGUMENT, "path");
    FAILS(cm_model_load(NULL, "", NULL, &m), CM_ERR_ARGUMENT, "path");
    FAILS(cm_model_load(NULL, MODEL, NULL, NULL), CM_ERR_ARGUMENT, "out");
    FAILS(cm_model_load(NULL, "/no/such/file", NULL, &m), CM_ERR_IO, "/no/such/file");
    FAILS(cm_model_load(NULL, "/tmp", NULL, &m), CM_ERR_IO, "regular");
    FAILS(cm_model_load(NULL, "Makefile", NULL, &m), CM_ERR_FORMAT, "Makefile");
    cm_model_free(NULL);
}
END_TEST

START_TEST(save_and_load)
{
    cm_model *a, *b;
    cm_save_options o;
    OK(cm_model_load(NULL, MODEL, NULL, &a));
    OK(cm_model_save(a, in_dir("copy.safetensors"), NULL));
    FAILS(cm_model_save(a, in_dir("copy.safetensors"), NULL), CM_ERR_IO, "exists");
    cm_save_options_init(&o, sizeof o);
    o.overwrite = 1;
    OK(cm_model_save(a, in_dir("copy.safetensors"), &o));
    FAILS(cm_model_save(a, in_dir("no/copy.safetensors"), NULL), CM_ERR_IO, "no/copy");
    FAILS(cm_model_save(NULL, "x", NULL), CM_ERR_ARGUMENT, "NULL");
    OK(cm_model_load(NULL, in_dir("copy.safetensors"), NULL, &b));
    ck_assert_uint_eq(cm_model_param_count(a), cm_model_param_count(b));
    for (size_t i = 0; i < cm_model_param_count(a); i++) {
        const char *an, *bn;
        int64_t shape[8];
        int32_t rank, dtype;
        size_t n = 1;
        OK(cm_model_param_info(a, i, &an, &rank, shape, &dtype));
        OK(cm_model_param_info(b, i, &bn, NULL, NULL, NULL));
        ck_assert_str_eq(an, bn);
        for (int k = 0; k < rank; k++) n *= (size_t)shape[k];
        float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
        OK(cm_model_param_read(a, i, n, x));
        OK(cm_model_param_read(b, i, n, y));
        ck_assert_mem_eq(x, y, n * sizeof *x);
        FAILS(cm_model_param_read(a, i, n + 1, x), CM_ERR_ARGUMENT, "values");
        free(x), free(y);
    }
    FAILS(cm_model_param_info(a, 100000, NULL, NULL, NULL, NULL), CM_ERR_ARGUMENT, "index");
    cm_model_info ia, ib;
    cm_model_info_init(&ia, sizeof ia);
    cm_model_info_init(&ib, sizeof ib);
    OK(cm_model_info_get(a, &ia));
    OK(cm_model_info_get(b, &ib));
    ck_assert(ia.parameters == 744401 && ia.num_classes == 10 && ia.is_consistency == 1 && ia.height == 32 &&
              ia.channels == 1);
    ck_assert_str_eq(ia.config_json, ib.config_json);
    cm_model_free(a);
    cm_model_free(b);
}
END_TEST

static const size_t too_many[] = {SIZE_MAX,        SIZE_MAX / 2,    SIZE_MAX / 3 + 1,
                                  SIZE_MAX / 4096, (size_t)1 << 52, (size_t)1 << 40};

/* A number of images that no memory holds is refused before anything is read or written: the arrays here are one
 * image long, and what follows them is not there. */
START_TEST(sizes_before_reads)
{
    long page = sysconf(_SC_PAGESIZE);
    unsigned char *wall = mmap(NULL, 5 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(wall != MAP_FAILED && mprotect(wall + 4 * page, (size_t)page, PROT_NONE) == 0 && page >= 4096);
    float *image = (float *)(void *)(wall + 4 * page) - 1024;
    int32_t *labels = (int32_t *)(void *)(wall + 2 * page), h, w;
    cm_model *m;
    cm_sampler *s;
    cm_sample_options o;
    cm_edit_options e;
    *labels = 3;
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    OK(cm_sampler_create(m, NULL, &s));
    for (size_t i = 0; i < sizeof too_many / sizeof *too_many; i++) {
        size_t n = too_many[i];
        cm_images given = cm_images_f32(n, 1, 32, 32, image), single = cm_images_f32(1, 1, 32, 32, image),
                  mask = cm_images_f32(n, 1, 32, 32, image);
        cm_sample_options_init(&o, sizeof o);
        o.condition = LABELS(labels);
        FAILS(cm_sampler_run(s, &o, n, image), CM_ERR_LIMIT, "images");
        FAILS(cm_sampler_run(s, NULL, n, image), CM_ERR_LIMIT, "images");
        o.noise = image;
        FAILS(cm_sampler_run(s, &o, n, image), CM_ERR_LIMIT, "images");
        o.step_noise = image;
        o.noise_steps = n;
        FAILS(cm_sampler_run(s, &o, 1, image), CM_ERR_LIMIT, "step_noise");
        FAILS(cm_model_denoise(m, n, image, image, NULL, image), CM_ERR_LIMIT, "x");
        FAILS(floats_to_bytes(n, 1, 32, 32, image, wall), CM_ERR_LIMIT, "cm_images_convert");
        FAILS(bytes_to_floats(n, 1, 32, 32, wall, image), CM_ERR_LIMIT, "cm_images_convert");
        const cm_images many = cm_images_u8(n, 32, 32, 1, wall), paper = cm_images_u8(1, 32, 32, 1, wall);
        FAILS(cm_image_grid_size(&many, 1, 65535, &h, &w), CM_ERR_LIMIT, "");
        FAILS(cm_image_grid(&many, INT32_MAX, 0, 0, &paper), CM_ERR_LIMIT, "");
        cm_edit_options_init(&e, sizeof e);
        e.sampling = NULL;
        FAILS(cm_sampler_stroke(s, &e, &given, &single), CM_ERR_LIMIT, "given");
        if (n != 1) FAILS(cm_sampler_inpaint(s, &e, &single, &mask, &single), CM_ERR_LIMIT, "mask");
        FAILS(cm_sampler_inpaint(s, &e, &given, &mask, &single), CM_ERR_LIMIT, "given");
        FAILS(cm_sampler_interpolate(s, &e, &given), CM_ERR_LIMIT, "frames");
    }
    cm_sample_options_init(&o, sizeof o);
    o.sigmas = (const double *)(const void *)image;
    o.sigma_count = SIZE_MAX;
    FAILS(cm_sampler_run(s, &o, 1, image), CM_ERR_LIMIT, "sigma_count");
    cm_sampler_free(s);
    cm_model_free(m);
    munmap(wall, 5 * (size_t)page);
}
END_TEST

/* A copied model samples the same pictures, and goes on when its file is emptied. */
START_TEST(copied_models)
{
    static float mapped[1024], copied[1024];
    float *images[2] = {mapped, copied};
    cm_load_options o;
    cm_model *m;
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    OK(cm_model_save(m, in_dir("copy.safetensors"), NULL));
    cm_model_free(m);
    cm_load_options_init(&o, sizeof o);
    for (o.copy = 0; o.copy < 2; o.copy++) {
        cm_sampler *s;
        OK(cm_model_load(NULL, in_dir("copy.safetensors"), &o, &m));
        if (o.copy) ck_assert_int_eq(truncate(in_dir("copy.safetensors"), 0), 0);
        OK(cm_sampler_create(m, NULL, &s));
        OK(cm_sampler_run(s, NULL, 1, images[o.copy]));
        cm_sampler_free(s);
        if (o.copy) OK(cm_model_save(m, in_dir("again.safetensors"), NULL));
        cm_model_free(m);
    }
    ck_assert_mem_eq(mapped, copied, sizeof mapped);
    FAILS(cm_model_load(NULL, MODEL, &o, &m), CM_ERR_ARGUMENT, "copy is 2");
}
END_TEST

START_TEST(denoise_arguments)
{
    cm_model *m;
    float x[SIZE] = {0}, y[SIZE], sigma = 1, bad[4] = {NAN, -1, INFINITY, 0};
    int32_t label = 10;
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, y));
    FAILS(cm_model_denoise(m, 0, x, &sigma, NULL, y), CM_ERR_ARGUMENT, "n is 0");
    FAILS(cm_model_denoise(m, 1, NULL, &sigma, NULL, y), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_model_denoise(NULL, 1, x, &sigma, NULL, y), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_model_denoise(m, 1, x, &sigma, &label, y), CM_ERR_ARGUMENT, "10");
    for (int i = 0; i < 3; i++) FAILS(cm_model_denoise(m, 1, x, &bad[i], NULL, y), CM_ERR_ARGUMENT, "sigma[0]");
    OK(cm_model_denoise(m, 1, x, &bad[3], NULL, y)); /* ecm: the identity */
    for (int i = 0; i < SIZE; i++) x[i] = (float)cos(i);
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, y));
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, x)); /* in place */
    ck_assert_mem_eq(x, y, sizeof x);
    cm_model_free(m);
}
END_TEST

/* --- calls that are asked to stop ---------------------------------------------------- */

static void pause_for(long microseconds)
{
    const struct timespec t = {microseconds / 1000000, microseconds % 1000000 * 1000};
    (void)nanosleep(&t, NULL);
}

/* A long call in a thread.  Progress stops it after `limit` calls. */
typedef struct {
    cm_sampler *sampler;
    int kind; /* 0 run, 1 inpaint, 2 interpolate */
    atomic_int calls, limit;
    cm_status status;
} long_call;

static int32_t count_calls(void *user, uint64_t done, uint64_t total)
{
    long_call *c = user;
    ck_assert(done > 0 && done <= total);
    return atomic_fetch_add(&c->calls, 1) + 1 >= atomic_load(&c->limit);
}

static void *call_long(void *user)
{
    long_call *c = user;
    static const int32_t labels[2] = {1, 2};
    static float given[2 * SIZE], mask[SIZE], images[2 * SIZE];
    const cm_images y = cm_images_f32(2, 1, 32, 32, given), m = cm_images_f32(1, 1, 32, 32, mask),
                    out = cm_images_f32(2, 1, 32, 32, images);
    cm_sample_options o;
    cm_edit_options e;
    cm_sample_options_init(&o, sizeof o);
    cm_edit_options_init(&e, sizeof e);
    o.condition = LABELS(labels);
    o.steps = c->kind == 1 ? 1000 : 0;
    o.progress = count_calls, o.progress_user = c;
    e.sampling = &o;
    for (int i = 0; i < SIZE; i++) mask[i] = (float)(i % 2);
    if (c->kind != 1) o.method = CM_METHOD_HEUN, o.steps = 1000;
    c->status = c->kind == 0   ? cm_sampler_run(c->sampler, &o, 2, images)
                : c->kind == 1 ? cm_sampler_inpaint(c->sampler, &e, &y, &m, &out)
                               : cm_sampler_interpolate(c->sampler, &e, &out);
    return NULL;
}

static cm_sampler *one_thread_sampler(cm_model *m)
{
    cm_sampler_options o;
    cm_sampler *s;
    cm_sampler_options_init(&o, sizeof o);
    o.threads = 1;
    o.max_batch = 2;
    OK(cm_sampler_create(m, &o, &s));
    return s;
}

/* One request at any moment of a call; and one without a call changes nothing. */
START_TEST(no_cancel_is_lost)
{
    enum { MORE = 20 };
    const int rounds = by_effort(6, 120, 120);
    cm_model *m;
    uint64_t random = 3;
    int lost = 0;
    float images[2 * SIZE];
    OK(cm_model_load(NULL, "tests/data/models/digits_teacher.safetensors", NULL, &m));
    cm_sampler *s = one_thread_sampler(m);
    for (int round = 0; round < rounds; round++) {
        long_call c = {.sampler = s, .kind = round % 3};
        pthread_t thread;
        atomic_init(&c.calls, 0);
        atomic_init(&c.limit, INT_MAX);
        ck_assert_int_eq(pthread_create(&thread, NULL, call_long, &c), 0);
        while (atomic_load(&c.calls) == 0) pause_for(100);
        pause_for(random_int(&random, 0, 10000));
        FAILS(cm_sampler_run(s, NULL, 1, images), CM_ERR_STATE, "this sampler is already running");
        cm_sampler_cancel(s);
        atomic_store(&c.limit, atomic_load(&c.calls) + MORE);
        pthread_join(thread, NULL);
        ck_assert_int_eq(c.status, CM_ERR_CANCELLED);
        lost += atomic_load(&c.calls) >= atomic_load(&c.limit);
        cm_sampler_cancel(s);
        if (round % 20) continue;
        cm_sample_options o;
        cm_sample_options_init(&o, sizeof o);
        o.steps = 2;
        OK(cm_sampler_run(s, &o, 2, images));
    }
    ck_assert_msg(lost == 0, "%d of %d requests were lost", lost, rounds);
    cm_sampler_free(s);
    cm_model_free(m);
}
END_TEST

static int32_t cancel_in_the_map(void *user, const double *in, double *out)
{
    memcpy(out, in, SIZE * sizeof *out);
    cm_sampler_cancel(user);
    return 0;
}

static int32_t never(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    ck_abort_msg("the network ran");
    return 0;
}

/* A request while the arguments are looked at: before the first evaluation. */
START_TEST(cancel_before_the_network)
{
    static const int32_t label = 1;
    static float given[SIZE], mask[SIZE], images[SIZE];
    const cm_images y = cm_images_f32(1, 1, 32, 32, given), m = cm_images_f32(1, 1, 32, 32, mask),
                    out = cm_images_f32(1, 1, 32, 32, images);
    cm_model *model;
    cm_sample_options o;
    cm_edit_options e;
    cm_edit_map map;
    OK(cm_model_load(NULL, MODEL, NULL, &model));
    cm_sampler *s = one_thread_sampler(model);
    cm_sample_options_init(&o, sizeof o);
    cm_edit_options_init(&e, sizeof e);
    cm_edit_map_init(&map, sizeof map);
    o.condition = LABELS(&label);
    o.progress = never;
    e.sampling = &o;
    map.forward = map.inverse = cancel_in_the_map;
    map.user = s;
    FAILS(cm_sampler_edit(s, &e, &map, &y, &m, &out), CM_ERR_CANCELLED, "cancelled");
    cm_sampler_free(s);
    cm_model_free(model);
}
END_TEST

typedef struct {
    cm_model *model;
    uint64_t done, total, stop_at;
    int nested, calls;
} watcher;

static int32_t watch(void *user, uint64_t done, uint64_t total)
{
    watcher *w = user;
    float x[SIZE] = {0}, sigma = 1;
    ck_assert(done >= w->done && done <= total);
    w->done = done, w->total = total, w->calls++;
    if (w->nested) OK(cm_model_denoise(w->model, 1, x, &sigma, NULL, x));
    return w->stop_at && done >= w->stop_at;
}

START_TEST(denoise_reports_and_stops)
{
    enum { N = 12 };
    static float x[N * SIZE], want[N * SIZE], y[N * SIZE], sigma[N];
    cm_model *m;
    cm_context *context;
    cm_context_options c;
    cm_denoise_options o;
    cm_context_options_init(&c, sizeof c);
    c.threads = 2;
    OK(cm_context_create(&c, &context));
    OK(cm_model_load(context, MODEL, NULL, &m));
    for (int i = 0; i < N * SIZE; i++) x[i] = (float)sin(i);
    for (int i = 0; i < N; i++) sigma[i] = (float)(i + 1);
    OK(cm_model_denoise(m, N, x, sigma, NULL, want));
    watcher w = {.model = m, .nested = 1};
    cm_denoise_options_init(&o, sizeof o);
    OK(cm_model_denoise_with(m, &o, N, x, sigma, y));
    ck_assert_mem_eq(y, want, sizeof y);
    o.progress = watch, o.progress_user = &w;
    OK(cm_model_denoise_with(m, &o, N, x, sigma, y));
    ck_assert(w.done == N && w.total == N && w.calls == N / 2); /* two threads, two images at a time */
    ck_assert_mem_eq(y, want, sizeof y);
    w = (watcher){.model = m, .stop_at = 3};
    FAILS(cm_model_denoise_with(m, &o, N, x, sigma, y), CM_ERR_CANCELLED, "progress callback");
    ck_assert(w.done == 4 && w.calls == 2);
    OK(cm_model_denoise(m, N, x, sigma, NULL, y));
    ck_assert_mem_eq(y, want, sizeof y);
    o.struct_size = 3;
    FAILS(cm_model_denoise_with(m, &o, N, x, sigma, y), CM_ERR_ARGUMENT, "cm_denoise_options");
    cm_model_free(m);
    cm_context_free(context);
}
END_TEST

/* Threads and batch change no bit of a tangent. */
START_TEST(tangents_keep_bits)
{
    enum { N = 5 };
    static float x[N * SIZE], moves[N * SIZE], y[N * SIZE], want[N * SIZE], slope[N * SIZE], sigma[N], turns[N];
    for (int i = 0; i < N * SIZE; i++) x[i] = (float)sin(i), moves[i] = (float)cos(3 * i);
    for (int i = 0; i < N; i++) sigma[i] = (float)(i + 1), turns[i] = (float)(2 - i);
    for (int threads = 1; threads < 5; threads++) {
        cm_context_options c;
        cm_context *context;
        cm_model *m;
        cm_context_options_init(&c, sizeof c);
        c.threads = threads;
        OK(cm_context_create(&c, &context));
        OK(cm_model_load(context, MODEL, NULL, &m));
        OK(cm_model_denoise_tangent(m, NULL, N, x, sigma, moves, turns, y, threads == 1 ? want : slope));
        if (threads > 1) ck_assert_mem_eq(slope, want, sizeof want);
        cm_model_free(m);
        cm_context_free(context);
    }
}
END_TEST

/* What is no direction. */
START_TEST(tangents_refused)
{
    enum { N = 12 };
    static float x[N * SIZE], moves[N * SIZE], y[N * SIZE], slope[N * SIZE], sigma[N], turns[N];
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    cm_model *m;
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    for (int i = 0; i < N; i++) sigma[i] = 1;
    FAILS(cm_model_denoise_tangent(m, NULL, N, x, sigma, NULL, NULL, y, slope), CM_ERR_ARGUMENT, "one is needed");
    FAILS(cm_model_denoise_tangent(m, NULL, N, x, sigma, moves, NULL, y, NULL), CM_ERR_ARGUMENT,
          "out_tangent is NULL");
    FAILS(cm_model_denoise_tangent(m, NULL, 0, x, sigma, moves, NULL, y, slope), CM_ERR_ARGUMENT,
          "cm_model_denoise_tangent: n is 0");
    moves[SIZE + 3] = NAN;
    FAILS(cm_model_denoise_tangent(m, NULL, N, x, sigma, moves, NULL, y, slope), CM_ERR_NUMERIC,
          "x_tangent: image 1");
    moves[SIZE + 3] = 0, turns[2] = INFINITY;
    FAILS(cm_model_denoise_tangent(m, NULL, N, x, sigma, moves, turns, y, slope), CM_ERR_NUMERIC, "sigma_tangent[2]");
    turns[2] = 1, sigma[2] = 0;
    FAILS(cm_model_denoise_tangent(m, NULL, N, x, sigma, moves, turns, y, slope), CM_ERR_ARGUMENT,
          "where sigma is 0");
    turns[2] = 0, moves[2 * SIZE] = 7;
    OK(cm_model_denoise_tangent(m, NULL, N, x, sigma, moves, turns, y, slope)); /* the identity */
    ck_assert(slope[2 * SIZE] == 7 && slope[2 * SIZE + 1] == 0);
    moves[0] = 3e38f;
    turns[0] = 3e38f;
    FAILS(cm_model_denoise_tangent(m, NULL, N, x, sigma, moves, turns, y, slope), CM_ERR_NUMERIC, "of the tangent");
    moves[0] = turns[0] = 0;
    watcher w = {.model = m, .stop_at = 1};
    o.progress = watch, o.progress_user = &w;
    FAILS(cm_model_denoise_tangent(m, &o, N, x, sigma, moves, turns, y, slope), CM_ERR_CANCELLED,
          "progress callback");
    ck_assert_int_eq(w.calls, 1);
    OK(cm_model_denoise_tangent(m, NULL, N, x, sigma, moves, NULL, y, moves)); /* in the direction's place */
    cm_model_free(m);
}
END_TEST

/* Lists end, and what is no list is empty. */
START_TEST(choices)
{
    ck_assert_str_eq(cm_choice_name("methods", CM_METHOD_DEFAULT), "default");
    ck_assert_str_eq(cm_choice_name("methods", CM_METHOD_FLOWMAP), "flowmap");
    ck_assert(strstr(cm_choice_about("methods", CM_METHOD_HEUN), "second order") != NULL);
    ck_assert_ptr_null(cm_choice_name("methods", CM_METHOD_FLOWMAP + 1));
    ck_assert_ptr_null(cm_choice_about("methods", SIZE_MAX));
    ck_assert_str_eq(cm_choice_name("precisions", CM_PRECISION_BF16), "bf16");
    ck_assert_str_eq(cm_choice_name("memories", CM_MEMORY_SMALL), "small");
    ck_assert_str_eq(cm_choice_name("noise_sources", CM_NOISE_TORCH_INDIV), "torch-indiv");
    ck_assert_ptr_null(cm_choice_name("method", 0));
    ck_assert_ptr_null(cm_choice_name(NULL, 0));
    ck_assert_ptr_null(cm_choice_about("", 0));
}
END_TEST

/* What a network is conditioned on: the same labels by either call, none by default, and its own struct checked. */
START_TEST(conditions)
{
    static float x[2 * SIZE], want[2 * SIZE], y[2 * SIZE];
    static const float sigma[2] = {1, 2};
    static const int32_t threes[2] = {3, 3}, eleven[2] = {3, 11};
    cm_condition c = CM_CONDITION_INIT, filled;
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT, filled_options;
    cm_model *m;
    cm_condition_init(&filled, sizeof filled);
    ck_assert_mem_eq(&c, &filled, sizeof c);
    cm_denoise_options_init(&filled_options, sizeof filled_options);
    ck_assert_mem_eq(&o, &filled_options, sizeof o);
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    for (int i = 0; i < 2 * SIZE; i++) x[i] = (float)sin(i);
    OK(cm_model_denoise(m, 2, x, sigma, threes, want));
    OK(cm_model_denoise_with(m, &o, 2, x, sigma, y));
    ck_assert_mem_ne(y, want, sizeof y);
    OK(cm_model_denoise(m, 2, x, sigma, NULL, want));
    ck_assert_mem_eq(y, want, sizeof y);
    o.condition = &c; /* without labels: the same */
    OK(cm_model_denoise_with(m, &o, 2, x, sigma, y));
    ck_assert_mem_eq(y, want, sizeof y);
    c.labels = threes;
    OK(cm_model_denoise(m, 2, x, sigma, threes, want));
    OK(cm_model_denoise_with(m, &o, 2, x, sigma, y));
    ck_assert_mem_eq(y, want, sizeof y);
    c.labels = eleven;
    FAILS(cm_model_denoise_with(m, &o, 2, x, sigma, y), CM_ERR_ARGUMENT, "11");
    c.labels = threes, c.reserved = 1;
    FAILS(cm_model_denoise_with(m, &o, 2, x, sigma, y), CM_ERR_ARGUMENT, "cm_condition: reserved is 1");
    c.reserved = 0, c.struct_size = 0;
    FAILS(cm_model_denoise_with(m, &o, 2, x, sigma, y), CM_ERR_ARGUMENT, "cm_condition: struct_size is 0");
    o.condition = NULL, o.reserved = 1;
    FAILS(cm_model_denoise_with(m, &o, 2, x, sigma, y), CM_ERR_ARGUMENT, "cm_denoise_options: reserved is 1");
    cm_sample_options s = {.struct_size = sizeof s, .condition = &c}; /* a sampler's reader is the same */
    cm_sampler *sampler;
    OK(cm_sampler_create(m, NULL, &sampler));
    FAILS(cm_sampler_run(sampler, &s, 2, y), CM_ERR_ARGUMENT, "cm_condition: struct_size is 0");
    int32_t nfe;
    FAILS(cm_sampler_nfe(sampler, &s, &nfe), CM_ERR_ARGUMENT, "cm_condition: struct_size is 0");
    cm_sampler_free(sampler);
    cm_model_free(m);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("api");
    TCase *t = tcase_create("api"), *calls = tcase_create("calls");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 1800);
    tcase_set_timeout(calls, 600);
    tcase_add_test(t, broken_models);
    tcase_add_test(t, acceptable_variants);
    tcase_add_test(t, load_arguments);
    tcase_add_test(t, save_and_load);
    tcase_add_test(t, copied_models);
    tcase_add_test(t, sizes_before_reads);
    tcase_add_test(t, denoise_arguments);
    tcase_add_test(calls, no_cancel_is_lost);
    tcase_add_test(calls, cancel_before_the_network);
    tcase_add_test(calls, denoise_reports_and_stops);
    tcase_add_test(calls, tangents_refused);
    tcase_add_test(calls, tangents_keep_bits);
    tcase_add_test(calls, conditions);
    tcase_add_test(calls, choices);
    suite_add_tcase(s, t);
    suite_add_tcase(s, calls);
    return s;
}
