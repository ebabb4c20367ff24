/* bad_arguments.c - every public function with every argument at its edges, one at a time and in pairs (reliability
 * R9).
 *
 * tests/bad_arguments.py writes bad_arguments.h from the headers: functions with their parameters, structs with their
 * fields.  Arrays are as long as any call that can be accepted needs: what the interface demands of a caller is kept.
 * A call ends with a status, and with a message where it fails; a pointer that is NULL is named by its parameter.
 *
 * Behind a first argument that is refused nobody looks at the others: the plain call, which each edge changes in one
 * place, has to be one that can be taken (fit), and a function of which none was taken is a fault (NEVER_TAKEN). */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <consistency.h>

#include "support/backbone.h"

typedef enum {
    I32,
    U32,
    I64,
    U64,
    SIZE,
    F64,
    F32,
    U8,
    HANDLE,
    STRUCT,
    TEXT,
    ARRAY,
    OUT,
    OUT_HANDLE,
    OUT_BYTES,
    NAMES,
    CALLBACK
} kind;

typedef struct {
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    size_t size;
    double f64;
    float f32;
    uint8_t u8;
    void *p;
    void (*call)(void);
} value;

typedef struct {
    const char *name;
    kind kind;
    const char *of;
    size_t at, size;
} field;
typedef struct {
    const char *name;
    size_t size;
    const field *fields;
    size_t count;
    void (*init)(void *, size_t);
} type;
typedef struct {
    const char *name;
    kind kind;
    const char *of;
} parameter;
typedef struct {
    const char *name;
    int (*call)(const value *);
    const parameter *parameters;
    int count, fails;
} function;

#include "bad_arguments.h"

enum { MOST = 16, ROOM = 1 << 20, EDGES = 400, SIDE = 4 };

static char top[600]; /* where the tests were started: its models are used */
static long calls, refused, accepted;
static int faults;

/* --- what calls are made with ---------------------------------------------------------------- */

static struct {
    cm_context *context;
    cm_model *model, *denoiser;
    cm_sampler *sampler;
    cm_dataset *dataset;
    cm_train_options *training;
    cm_trainer *trainer;
    cm_run_options *options, *spare; /* spare: no run was made of them */
    cm_run *run;
    cm_statistics *statistics, *others, *wide;
    cm_features *features;
    cm_lpips *lpips;
    cm_checkpoint *checkpoint;
} world;

static void *zeros, *numbers, *others, *outs[4]; /* ROOM bytes each */
static float ones[ROOM / sizeof(float)];
typedef struct {
    unsigned char *bytes;
    size_t size;
} content;
static content file, picture; /* a model's, a picture's */

static void need(cm_status status, const char *what)
{
    if (status == CM_OK) return;
    printf("FAIL bad_arguments: %s: %s\n", what, cm_last_message());
    exit(1);
}

static const char *of_top(const char *name)
{
    static char path[800];
    (void)snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static void write_pictures(void)
{
    uint8_t pixels[SIDE * SIDE];
    (void)mkdir("set", 0700);
    for (int i = 0; i < 4; i++) {
        char name[32];
        memset(pixels, 50 * i, sizeof pixels);
        (void)snprintf(name, sizeof name, "set/%d.png", i);
        const cm_images gray = cm_images_u8(1, SIDE, SIDE, 1, pixels);
        need(cm_image_write(NULL, name, &gray, NULL), name);
    }
}

static int32_t read_model(void *user, uint64_t offset, void *bytes, size_t size)
{
    (void)user;
    if (offset >= file.size) return 0;
    const size_t n = size < file.size - offset ? size : (size_t)(file.size - offset);
    memcpy(bytes, file.bytes + offset, n);
    return (int32_t)n;
}

static const char *const denoiser_config =
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 4, \"img_channels\": 1, \"model_channels\": 4, "
    "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {\"type\": \"edm\"}}";
static const char *const config =
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 4, \"img_channels\": 1, \"model_channels\": 4, "
    "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {\"type\": \"cm\"}}";

static void make_world(void)
{
    static const float rows[8] = {1, 2, 3, 5, 4, 4, 0, 1};
    cm_context_options co = CM_CONTEXT_OPTIONS_INIT;
    cm_dataset_options d = CM_DATASET_OPTIONS_INIT;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    co.threads = 1;
    d.channels = 1, d.height = d.width = SIDE;
    need(cm_context_create(&co, &world.context), "context");
    need(cm_model_create(world.context, config, 1, &world.model), "model");
    need(cm_sampler_create(world.model, NULL, &world.sampler), "sampler");
    need(cm_dataset_open(world.context, "set", &d, &world.dataset), "data set");
    need(cm_train_options_create(world.context, &world.training), "options");
    need(cm_train_options_set(world.training, "objective", "edm"), "objective");
    need(cm_train_options_set(world.training, "batch", "2"), "batch");
    need(cm_train_options_set(world.training, "steps", "3"), "steps");
    inputs.model = world.model;
    need(cm_trainer_create(&inputs, world.training, &world.trainer), "trainer");
    cm_run_options **const both[] = {&world.options, &world.spare};
    for (int i = 0; i < 2; i++) {
        need(cm_run_options_create(world.context, both[i]), "run options");
        need(cm_run_options_inputs(*both[i], world.model, NULL, world.dataset), "inputs");
        need(cm_run_options_set(*both[i], "steps", "3"), "steps");
        need(cm_run_options_set(*both[i], "batch", "2"), "batch");
        need(cm_run_options_set(*both[i], "objective", "ct"), "objective");
    }
    char directory[32];
    static int runs;
    (void)snprintf(directory, sizeof directory, "run%d", runs++);
    need(cm_run_create(world.options, directory, &world.run), "run");
    need(cm_statistics_create(world.context, 2, &world.statistics), "statistics");
    need(cm_statistics_add(world.statistics, 4, rows), "rows");
    need(cm_statistics_create(world.context, 2, &world.others), "other statistics");
    need(cm_statistics_add(world.others, 3, rows), "rows");
    need(cm_statistics_create(world.context, 64, &world.wide), "statistics as wide as the network");
    need(cm_model_create(world.context, denoiser_config, 1, &world.denoiser), "denoiser");
}

static void free_world(void)
{
    cm_run_free(world.run);
    cm_run_options_free(world.options);
    cm_run_options_free(world.spare);
    cm_model_free(world.denoiser);
    cm_statistics_free(world.others);
    cm_statistics_free(world.wide);
    cm_trainer_free(world.trainer);
    cm_train_options_free(world.training);
    cm_dataset_free(world.dataset);
    cm_sampler_free(world.sampler);
    cm_model_free(world.model);
    cm_statistics_free(world.statistics);
    cm_context_free(world.context);
}

static void *handle_of(const char *of)
{
    const struct {
        const char *of;
        void *handle;
    } handles[] = {
        {"cm_context", world.context}, {"cm_model", world.model},           {"cm_sampler", world.sampler},
        {"cm_dataset", world.dataset}, {"cm_trainer", world.trainer},       {"cm_train_options", world.training},
        {"cm_run", world.run},         {"cm_run_options", world.options},   {"cm_features", world.features},
        {"cm_lpips", world.lpips},     {"cm_statistics", world.statistics}, {"cm_checkpoint", world.checkpoint}};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        if (strcmp(handles[i].of, of) == 0) return handles[i].handle;
    printf("FAIL bad_arguments: nothing makes a %s (tests/bad_arguments.c)\n", of);
    exit(1);
}

static int32_t no_progress(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return 0;
}

static int32_t point_score(void *user, int32_t point, double *score)
{
    (void)user;
    *score = point;
    return 0;
}

static void *structure(const type *t);

static const type *type_of(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0) return &types[i];
    printf("FAIL bad_arguments: no struct %s\n", name);
    exit(1);
}

/* Memory of a call's arguments, which ends with the call. */
static unsigned char arena[1 << 20];
static size_t arena_at;

static void *take(size_t size)
{
    void *p = arena + arena_at;
    arena_at += (size + 63) / 64 * 64;
    if (arena_at > sizeof arena) need(CM_ERR_LIMIT, "the arena is too small");
    return memset(p, 0, (size + 63) / 64 * 64);
}

/* A struct that a call takes. */
static void *structure(const type *t)
{
    void *p = take(t->size + 64);
    if (t->init) t->init(p, t->size);
    else memcpy(p, &(uint32_t){(uint32_t)t->size}, sizeof(uint32_t));
    if (strcmp(t->name, "cm_images") == 0) {
        cm_images *images = p;
        *images = cm_images_f32(1, 1, SIDE, SIDE, numbers);
    } else if (strcmp(t->name, "cm_train_inputs") == 0) {
        ((cm_train_inputs *)p)->model = world.model;
    } else if (strcmp(t->name, "cm_reader") == 0) {
        ((cm_reader *)p)->size = file.size, ((cm_reader *)p)->read = read_model;
    } else if (strcmp(t->name, "cm_feature_rows") == 0) {
        ((cm_feature_rows *)p)->values = outs[0];
    }
    return p;
}

/* The same as one that stands already. */
static void *copied(const type *t, const void *from)
{
    void *p = structure(t);
    if (from) memcpy(p, from, t->size);
    return p;
}

static int named(const char *name, const char *pattern)
{
    const size_t n = strlen(pattern);
    return pattern[n - 1] == '*' ? strncmp(name, pattern, n - 1) == 0 : strcmp(name, pattern) == 0;
}

/* What a function needs beside what its parameters are called, so that the plain call is taken. */
static void fit(const function *f, const parameter *p, value *v)
{
    static const struct {
        const char *function, *parameter, *text;
    } texts_of[] = {{"cm_checkpoint_open", "path", "model.safetensors"},
                    {"cm_checkpoint_find", "name", "map_layer0.bias"},
                    {"cm_dataset_pack", "path", "out.tar"},
                    {"cm_image_note", "path", "set/0.png"},
                    {"cm_image_read", "path", "set/0.png"},
                    {"cm_features_open", "path", "lenet.safetensors"},
                    {"cm_features_open", "network", NULL},
                    {"cm_features_read", "path", "rows.npz"},
                    {"cm_lpips_open", "network", NULL},
                    {"cm_lpips_open", "weights", "alex.safetensors"},
                    {"cm_lpips_open", "lin", "lin.safetensors"},
                    {"cm_statistics_read", "path", "statistics.npz"},
                    {"cm_run_options_*", "directory", "run0"},
                    {"cm_run_model_path", "directory", "run0"},
                    {"cm_run_options_set*", "name", "steps"},
                    {"cm_run_options_set", "value", "3"},
                    {"cm_run_options_read", "json", "{\"options\": {}}"},
                    {"cm_train_options_set", "value", "0.5"}};
    static const struct {
        const char *function, *parameter;
        size_t n;
    } counts_of[] = {{"cm_checkpoint_read_f32", "count", 16},
                     {"cm_model_param_read", "count", 16},
                     {"cm_features_read", "n", 1},
                     {"cm_frechet_subsets", "n", 8},
                     {"cm_frechet_infinity", "n", 40},
                     {"cm_kernel_distance", "n_a", 4},
                     {"cm_kernel_distance", "n_b", 4},
                     {"cm_precision_recall", "n_reference", 8},
                     {"cm_precision_recall", "n_samples", 8}};
    for (size_t i = 0; i < sizeof texts_of / sizeof *texts_of; i++)
        if (named(f->name, texts_of[i].function) && strcmp(p->name, texts_of[i].parameter) == 0 && p->kind == TEXT)
            v->p = (void *)(uintptr_t)texts_of[i].text;
    for (size_t i = 0; i < sizeof counts_of / sizeof *counts_of; i++)
        if (named(f->name, counts_of[i].function) && strcmp(p->name, counts_of[i].parameter) == 0 && p->kind == SIZE)
            v->size = counts_of[i].n;
    if (p->kind == HANDLE && strcmp(p->of, "cm_run_options") == 0 &&
        (named(f->name, "cm_run_options_*") || named(f->name, "cm_run_create")))
        v->p = world.spare;
    if (strcmp(f->name, "cm_model_bits_per_dim") == 0 && p->kind == HANDLE) v->p = world.denoiser;
    if (strcmp(f->name, "cm_model_bits_per_dim") == 0 && strcmp(p->name, "x") == 0) v->p = ones;
    if (strcmp(p->name, "sigma") == 0 && p->kind == ARRAY) v->p = ones;
    if (strcmp(f->name, "cm_statistics_merge") == 0 && strcmp(p->name, "from") == 0) v->p = world.others;
    if (strcmp(f->name, "cm_statistics_mark") == 0 && strcmp(p->of, "cm_statistics") == 0) v->p = world.wide;
    if (strcmp(f->name, "cm_image_decode") == 0 && strcmp(p->name, "bytes") == 0) v->p = picture.bytes;
    if (strcmp(f->name, "cm_image_decode") == 0 && strcmp(p->name, "size") == 0) v->size = picture.size;
    if (strcmp(f->name, "cm_features_read") == 0 && strcmp(p->name, "rows") == 0) v->p = NULL;
    if (strcmp(p->of, "cm_images") != 0 || !v->p) return;
    cm_images *images = v->p;
    if (strcmp(p->name, "mask") == 0) images->data = zeros;
    if (strcmp(f->name, "cm_sampler_super_resolve") == 0 && strcmp(p->name, "given") == 0)
        *images = cm_images_f32(1, 1, SIDE / 2, SIDE / 2, zeros);
    if (named(f->name, "cm_features_run*")) *images = cm_images_f32(1, 1, 28, 28, zeros);
    if (named(f->name, "cm_lpips_*")) *images = cm_images_f32(1, 3, 35, 35, zeros);
}

/* What a parameter is in a call that may be accepted. */
static value base(const function *f, const parameter *p, int k)
{
    value v = {.i32 = 1, .u32 = 1, .i64 = 1, .u64 = 1, .size = 1, .f64 = 1, .f32 = 1, .u8 = 1};
    v.call = strcmp(p->of, "cm_point_fn") == 0 ? (void (*)(void))point_score : NULL;
    switch (p->kind) {
    case HANDLE: v.p = handle_of(p->of); break;
    case STRUCT: v.p = structure(type_of(p->of)); break;
    case ARRAY: v.p = numbers; break;
    case OUT:
    case OUT_HANDLE:
    case OUT_BYTES: v.p = outs[k % 4]; break;
    case NAMES: v.p = take(64); break;
    case TEXT:
        v.p = (void *)(uintptr_t)(strstr(f->name, "preset") ? "smoke" : strcmp(p->name, "path") ? "lr" : "out.tmp");
        if (strcmp(f->name, "cm_dataset_open") == 0) v.p = (void *)(uintptr_t) "set";
        if (strcmp(p->name, "path") == 0 && strstr(f->name, "load")) v.p = (void *)(uintptr_t) "model.safetensors";
        if (strcmp(p->name, "directory") == 0 || strcmp(p->name, "run") == 0) v.p = (void *)(uintptr_t) "directory";
        if (strcmp(p->name, "suffix") == 0 || strcmp(p->name, "before") == 0) v.p = NULL;
        break;
    default: break;
    }
    if (strcmp(p->of, "cm_images") == 0 &&
        (strcmp(p->name, "out") == 0 || strcmp(p->name, "page") == 0 || strcmp(p->name, "to") == 0))
        ((cm_images *)v.p)->data = outs[k % 4];
    if (strncmp(f->name, "cm_image_write", 14) == 0 && strcmp(p->name, "path") == 0)
        v.p = (void *)(uintptr_t) "out.png";
    if (strcmp(p->name, "config_json") == 0) v.p = (void *)(uintptr_t)config;
    if (strcmp(p->name, "bytes") == 0 && p->kind == ARRAY) v.p = file.bytes;
    if (strcmp(p->name, "size") == 0) v.size = strstr(f->name, "memory") ? file.size : 64;
    if (strcmp(p->name, "struct_size") == 0) v.size = 8;
    if (strstr(p->name, "user")) v.p = NULL;
    fit(f, p, &v);
    return v;
}

/* --- edges -------------------------------------------------------------------------------------- */

/* One other value of a parameter. */
typedef struct {
    value v;
    const char *what; /* of which field, or the parameter's own name */
    int null;         /* a pointer that is NULL */
} edge;

static const int32_t integers[] = {0, -1, 2, 3, 17, INT32_MIN, INT32_MAX};
static const uint64_t counts[] = {0, 2, 3, UINT64_MAX, UINT64_MAX / 2, UINT64_MAX / 3 + 1, (uint64_t)1 << 52};
static const double reals[] = {0, -0.0, -1, 0.5, 1e300, -1e300, 1e-300, 2};
static char long_text[5000];
static const char *const texts[] = {
    "",          "x",    "-1",   "nan", "1e999", "{",      "{}", "[]", "\xff\xfe", "no/such/place/x",
    "/dev/null", "a\nb", "%s%n", "edm", "0",     long_text};

static int add(edge *edges, int n, value v, const char *what, int null)
{
    if (n < EDGES) edges[n] = (edge){v, what, null};
    return n + (n < EDGES);
}

static int scalar_edges(kind k, const char *name, edge *edges, int n, value v)
{
    if (k == I32 || k == U32 || k == I64)
        for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
            v.i32 = integers[i], v.u32 = (uint32_t)integers[i], v.i64 = integers[i];
            if (strcmp(name, "until") == 0 && v.i64 > 3) continue; /* so many steps would be taken */
            n = add(edges, n, v, name, 0);
        }
    if (k == I64) v.i64 = INT64_MIN, n = add(edges, n, v, name, 0);
    if (k == U64 || k == SIZE)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            const int bounded = strcmp(name, "size") == 0 || strcmp(name, "struct_size") == 0;
            v.u64 = counts[i], v.size = (size_t)counts[i];
            if (bounded && counts[i] > 64) v.size = v.u64 = i * 7; /* a buffer of the caller's has so many bytes */
            n = add(edges, n, v, name, 0);
        }
    if (k == F64 || k == F32) {
        for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
            v.f64 = reals[i], v.f32 = (float)reals[i], n = add(edges, n, v, name, 0);
        v.f64 = NAN, v.f32 = NAN, n = add(edges, n, v, name, 0);
        v.f64 = INFINITY, v.f32 = INFINITY, n = add(edges, n, v, name, 0);
        v.f64 = -INFINITY, v.f32 = -INFINITY, n = add(edges, n, v, name, 0);
    }
    if (k == U8) v.u8 = 0, n = add(edges, n, v, name, 0), v.u8 = 255, n = add(edges, n, v, name, 0);
    return n;
}

/* Places and sizes of pixels are the caller's word of where memory is: only what cannot be is tried. */
static int may_change(const type *t, const field *f)
{
    static const char *const places[] = {"image_stride", "row_stride", "pixel_stride", "channel_stride", "data",
                                         "image",        "row",        "pixel",        "channel",        "plane"};
    if (strcmp(t->name, "cm_images") == 0)
        for (size_t i = 0; i < sizeof places / sizeof *places; i++)
            if (strstr(f->name, places[i]) && strcmp(f->name, "channels") != 0) return 0;
    return 1;
}

static void set_field(void *p, const field *f, const value *v)
{
    unsigned char *at = (unsigned char *)p + f->at;
    switch (f->kind) {
    case I32: memcpy(at, &v->i32, sizeof v->i32); break;
    case U32: memcpy(at, &v->u32, sizeof v->u32); break;
    case I64: memcpy(at, &v->i64, sizeof v->i64); break;
    case U64: memcpy(at, &v->u64, sizeof v->u64); break;
    case SIZE: memcpy(at, &v->size, sizeof v->size); break;
    case F64: memcpy(at, &v->f64, sizeof v->f64); break;
    case F32: memcpy(at, &v->f32, sizeof v->f32); break;
    case U8: memcpy(at, &v->u8, sizeof v->u8); break;
    case CALLBACK: memcpy(at, &v->call, sizeof v->call); break;
    default: memcpy(at, &v->p, sizeof v->p); break;
    }
}

static int field_edges(const type *t, const field *f, const void *plain, edge *edges, int n)
{
    edge values[64];
    int count = 0;
    value v = {0};
    if (!may_change(t, f) || f->at == 0) return n;
    if (f->kind <= U8) {
        count = scalar_edges(f->kind, f->name, values, 0, v);
    } else if (f->kind == TEXT) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            v.p = (void *)(uintptr_t)texts[i], count = add(values, count, v, f->name, 0);
    } else if (f->kind == CALLBACK) {
        if (strcmp(f->of, "cm_progress_fn") == 0)
            v.call = (void (*)(void))no_progress, count = add(values, 0, v, f->name, 0);
    } else if (f->kind == HANDLE) {
        count = add(values, 0, v, f->name, 0);
        v.p = handle_of(f->of), count = add(values, count, v, f->name, 0);
    } else if (f->kind == STRUCT) {
        v.p = structure(type_of(f->of)), count = add(values, 0, v, f->name, 0);
    } else {
        count = add(values, 0, v, f->name, 0);
        v.p = f->kind == ARRAY ? numbers : others, count = add(values, count, v, f->name, 0);
        if (strstr(f->name, "user")) count = 0;
    }
    for (int i = 0; i < count; i++) {
        const int32_t size = values[i].v.i32;
        /* More pixels than the arrays of this test have. */
        if (strcmp(t->name, "cm_images") == 0 && f->kind == I32 && size > 17) continue;
        value s = {.p = copied(t, plain)};
        set_field(s.p, f, &values[i].v);
        n = add(edges, n, s, f->name, 0);
    }
    return n;
}

static int struct_edges(const type *t, const char *name, edge *edges, int n, value v)
{
    const uint32_t sizes[] = {
        0, 1, 3, 4, (uint32_t)t->size - 4, (uint32_t)t->size - 1, (uint32_t)t->size + 1, (uint32_t)t->size + 8};
    const void *plain = v.p;
    v.p = NULL;
    n = add(edges, n, v, name, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int tail = 0; tail < 2; tail++) {
            v.p = copied(t, plain);
            memcpy(v.p, &sizes[i], sizeof sizes[i]);
            if (tail && sizes[i] <= t->size) continue;
            if (tail) memset((char *)v.p + t->size, 7, 8);
            n = add(edges, n, v, "struct_size", 0);
        }
    for (size_t i = 0; i < t->count; i++) n = field_edges(t, &t->fields[i], plain, edges, n);
    return n;
}

static int edges_of(const function *f, const parameter *p, int k, edge *edges)
{
    value v = base(f, p, k);
    int n = scalar_edges(p->kind, p->name, edges, 0, v);
    if (p->kind <= U8) return n;
    if (p->kind == STRUCT) return struct_edges(type_of(p->of), p->name, edges, n, v);
    if (p->kind == TEXT)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            v.p = (void *)(uintptr_t)texts[i], n = add(edges, n, v, p->name, 0);
    if (p->kind == ARRAY) {
        v.p = zeros, n = add(edges, n, v, p->name, 0);
        v.p = others, n = add(edges, n, v, p->name, 0);
    }
    v.p = NULL;
    v.call = NULL;
    return add(edges, n, v, p->name, p->kind != CALLBACK && !strstr(p->name, "user"));
}

/* --- calls ---------------------------------------------------------------------------------------- */

static const char *calling = "";
static void died(int number)
{
    const char *name = calling;
    (void)!write(1, "FAIL bad_arguments: a signal within ", 36);
    (void)!write(1, name, strlen(name));
    (void)!write(1, "\n", 1);
    signal(number, SIG_DFL);
    raise(number);
}

static void fault(const function *f, const edge *e, const char *what, int status)
{
    printf("FAIL bad_arguments: %s with another %s: %s (%s: %s)\n", f->name, e ? e->what : "nothing", what,
           cm_status_name((cm_status)status), cm_last_message());
    faults++;
}

static void free_results(const function *f, const value *a, int status)
{
    for (int k = 0; k < f->count; k++) {
        const parameter *p = &f->parameters[k];
        void *result;
        if (!a[k].p) continue;
        if (p->kind == OUT_HANDLE || p->kind == OUT_BYTES) {
            memcpy(&result, a[k].p, sizeof result);
            if (status != CM_OK && f->fails && result) fault(f, NULL, "leaves a handle although it fails", status);
            if (p->kind == OUT_BYTES) cm_bytes_free(world.context, result);
            else free_handle(p->of, result);
        } else if (status == CM_OK &&
                   (strcmp(f->name, "cm_image_read") == 0 || strcmp(f->name, "cm_image_decode") == 0) &&
                   strcmp(p->of, "cm_images") == 0) {
            cm_image_free(world.context, a[k].p);
        }
    }
}

/* NULL is something else than in the plain call, which the other arguments do not suit: other options, one file that
 * has what two have. */
static int means_defaults(const function *f, const edge *e)
{
    return (strcmp(f->name, "cm_train_data_check") == 0 && strcmp(e->what, "options") == 0) ||
           (strcmp(f->name, "cm_lpips_open") == 0 && strcmp(e->what, "lin") == 0);
}

/* How the call ends that no edge is in: one that ends so too has taken its NULL. */
static int plain_status;
static char plain_message[2048];

/* Whether the message has the name, the group that the name begins with (rk45_*), or what was found: a number or
 * words in quotes. */
static int tells(const char *name)
{
    char group[32];
    const char *message = cm_last_message(), *line = strchr(name, '_');
    (void)snprintf(group, sizeof group, "%.*s_*", line ? (int)(line - name) : 0, name);
    return strstr(message, name) || (line && strstr(message, group)) || strpbrk(message, "0123456789'\"");
}

static void call(const function *f, value *a, const edge *e, int single)
{
    char before[2048];
    (void)snprintf(before, sizeof before, "%s", cm_last_message());
    for (int i = 0; i < 4; i++) memset(outs[i], 0, 64);
    calling = f->name;
    (void)unlink("out.tmp");
    (void)unlink("out.png");
    (void)unlink("out.tar");
    const int status = f->call(a);
    calls++;
    if (!f->fails) return;
    if (status == CM_OK) accepted++;
    else refused++;
    if (status == CM_OK && strcmp(before, cm_last_message()) != 0)
        fault(f, e, "succeeds and changes the message", status);
    if (status < CM_ERR_PEER || status > CM_OK) fault(f, e, "a status that is none", status);
    if (status == CM_ERR_INTERNAL || status == CM_ERR_BACKEND) fault(f, e, "a defect by its own word", status);
    if (status != CM_OK && strlen(cm_last_message()) < 8) fault(f, e, "no message", status);
    if (!e) {
        plain_status = status;
        (void)snprintf(plain_message, sizeof plain_message, "%s", cm_last_message());
    } else if (single && e->null && status != CM_OK && !means_defaults(f, e) &&
               (status != plain_status || strcmp(plain_message, cm_last_message()) != 0)) {
        if (status != CM_ERR_ARGUMENT && status != CM_ERR_STATE)
            fault(f, e, "NULL is neither taken nor ARGUMENT", status);
        else if (!strstr(cm_last_message(), e->what) && !strstr(cm_last_message(), "NULL"))
            fault(f, e, "the message names neither it nor NULL", status);
    }
    if (e && single && !e->null && plain_status == CM_OK && status == CM_ERR_ARGUMENT && !tells(e->what))
        fault(f, e, "the message has neither its name nor what was found", status);
    free_results(f, a, status);
}

static int is_free(const function *f)
{
    const size_t n = strlen(f->name);
    return n > 5 && strcmp(f->name + n - 5, "_free") == 0;
}

/* Functions of which no call is taken here, and why. */
static const struct {
    const char *name, *why;
} NEVER_TAKEN[] = {
    {"cm_sampler_colorize", "the model of this test makes gray images"},
    {"cm_dataset_class_counts", "the set of this test has no classes"},
    {"cm_train_preset_check", "the network of no preset is small enough"},
    {"cm_average_reconstruct", "it reads averages of a training that this test has not"},
};

static void somebody_took(const function *f, long before)
{
    int excused = 0;
    for (size_t i = 0; i < sizeof NEVER_TAKEN / sizeof *NEVER_TAKEN; i++)
        excused |= strcmp(NEVER_TAKEN[i].name, f->name) == 0;
    if (!f->fails || (accepted > before) != excused) return;
    printf("FAIL bad_arguments: %s: %s (the plain call: %s)\n", f->name,
           excused ? "a call is taken, and it stands in NEVER_TAKEN" : "no call was taken: fit() has to help",
           plain_message);
    faults++;
}

/* Each parameter's edges alone; then pairs of them, every `step`-th. */
static void try_function(const function *f, int step)
{
    static edge edges[MOST][EDGES];
    int counts_of[MOST];
    value a[MOST];
    if (is_free(f)) {
        memset(a, 0, sizeof a);
        if (f->count == 1) call(f, a, NULL, 0);
        return;
    }
    arena_at = 0;
    for (int k = 0; k < f->count; k++) a[k] = base(f, &f->parameters[k], k);
    call(f, a, NULL, 0);
    for (int k = 0; k < f->count; k++) {
        /* Structs are made anew for each edge: an edge's memory lasts until the next function. */
        static unsigned char copy[sizeof arena];
        counts_of[k] = edges_of(f, &f->parameters[k], k, edges[k]);
        memcpy(copy, arena, sizeof arena);
        const value own = a[k];
        for (int i = 0; i < counts_of[k]; i++) {
            memcpy(arena, copy, sizeof arena);
            a[k] = edges[k][i].v;
            call(f, a, &edges[k][i], 1);
        }
        memcpy(arena, copy, sizeof arena);
        a[k] = own;
    }
    long turn = 0;
    for (int k = 0; k < f->count; k++)
        for (int j = k + 1; j < f->count; j++)
            for (int i = 0; i < counts_of[k]; i++)
                for (int n = 0; n < counts_of[j]; n++) {
                    if (turn++ % step) continue;
                    const value first = a[k], second = a[j];
                    a[k] = edges[k][i].v, a[j] = edges[j][n].v;
                    call(f, a, &edges[j][n], 0);
                    a[k] = first, a[j] = second;
                }
}

static content read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) exit(1);
    content c = {calloc(1, ROOM), 0};
    c.size = fread(c.bytes, 1, ROOM, f);
    fclose(f);
    return c;
}

/* Files that calls read. */
static void make_files(void)
{
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT;
    rows.values = numbers;
    need(cm_model_save(world.model, "model.safetensors", NULL), "save");
    need(cm_run_begin(world.run), "begin");
    need(cm_statistics_write(world.statistics, NULL, "statistics.npz", CM_OVERWRITE_NO), "statistics");
    need(cm_features_open(NULL, of_top("models/features/lenet.safetensors"), NULL, &world.features), "features");
    need(cm_features_write(world.features, "rows.npz", 1, &rows, NULL, CM_OVERWRITE_NO), "rows of features");
    need(backbone_write(world.context, "alex.safetensors"), "AlexNet");
    if (symlink(of_top("models/features/lenet.safetensors"), "lenet.safetensors") != 0 ||
        symlink(of_top("models/features/lpips_lin.safetensors"), "lin.safetensors") != 0)
        exit(1);
    file = read_file("model.safetensors"), picture = read_file("set/0.png");
}

int main(int argc, char **argv)
{
    const int step = argc > 1 ? atoi(argv[1]) : 37;
    char directory[] = "/tmp/cm-arguments-XXXXXX", command[64];
    if (!getcwd(top, sizeof top) || !mkdtemp(directory) || chdir(directory) != 0) return 1;
    (void)signal(SIGSEGV, died);
    (void)signal(SIGFPE, died);
    memset(long_text, 'y', sizeof long_text - 1);
    zeros = calloc(1, ROOM), numbers = calloc(1, ROOM), others = malloc(ROOM);
    memset(others, 0xff, ROOM);
    for (int i = 0; i < 4; i++) outs[i] = calloc(1, ROOM);
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) ones[i] = 1;
    write_pictures();
    make_world();
    make_files();
    free_world();
    need(cm_lpips_open(NULL, NULL, "alex.safetensors", "lin.safetensors", NULL, &world.lpips), "LPIPS");
    need(cm_checkpoint_open(NULL, "model.safetensors", NULL, &world.checkpoint), "checkpoint");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (argc > 2 && strcmp(argv[2], functions[i].name) != 0) continue;
        make_world();
        if (getenv("LOUD")) printf("%s\n", functions[i].name), fflush(stdout);
        const long before = accepted;
        try_function(&functions[i], step);
        somebody_took(&functions[i], before);
        free_world();
    }
    cm_features_free(world.features);
    cm_lpips_free(world.lpips);
    cm_checkpoint_free(world.checkpoint);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    if (chdir("/") != 0 || system(command) != 0) return 1;
    printf("bad arguments: %ld calls of %zu functions, %ld refused, %ld taken, %d faults\n", calls,
           sizeof functions / sizeof *functions, refused, accepted, faults);
    return faults > 0;
}
