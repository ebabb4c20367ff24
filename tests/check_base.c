/* base and tensor: options, messages, memory, random numbers, half precision. */
#include "support/suite.h"

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/call.h"
#include "base/context.h"
#include "base/cpus.h"
#include "base/number.h"
#include "base/options.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "base/torch_rng.h"
#include "base/turns.h"
#include "support/memory.h"
#include "tensor/convert.h"

START_TEST(status_names)
{
    for (int s = 0; s >= -14; s--) ck_assert(strncmp(cm_status_name((cm_status)s), "CM_", 3) == 0);
    ck_assert_str_eq(cm_status_name((cm_status)-99), "unknown status");
}
END_TEST

START_TEST(older_and_newer_structs)
{
    struct {
        cm_context_options known;
        uint64_t tail;
    } newer;
    cm_context *context;
    memset(&newer, 0, sizeof newer);
    newer.known.struct_size = sizeof newer;
    OK(cm_context_create(&newer.known, &context));
    cm_context_free(context);
    newer.tail = 1;
    FAILS(cm_context_create(&newer.known, &context), CM_ERR_UNSUPPORTED, "newer");
    ck_assert_ptr_null(context);
    cm_context_options older;
    memset(&older, 0xff, sizeof older);
    older.struct_size = 8; /* knows threads only: the rest is defaults */
    older.threads = 3;
    OK(cm_context_create(&older, &context));
    ck_assert_int_eq(cmi_context_threads(context), 3);
    cm_context_free(context);
    older.struct_size = 0;
    FAILS(cm_context_create(&older, &context), CM_ERR_ARGUMENT, "struct_size");
}
END_TEST

/* No version of a struct ends within a member: half a pointer is neither followed nor written. */
START_TEST(structs_that_end_within_a_member)
{
    cm_context *context;
    cm_context_options o = CM_CONTEXT_OPTIONS_INIT;
    for (o.struct_size = 8; o.struct_size < sizeof o; o.struct_size++) {
        if (o.struct_size % _Alignof(cm_context_options) == 0) continue;
        FAILS(cm_context_create(&o, &context), CM_ERR_ARGUMENT, "cm_context_options_init");
    }
    struct {
        uint32_t struct_size;
        int32_t number;
        const void *pointer;
    } ours = {0, 0, &o}, theirs = {12, 0, NULL};
    FAILS(cm_info_check(&theirs, "cm_some"), CM_ERR_ARGUMENT, "struct_size is 12");
    FAILS(cm_info_write(&theirs, &ours, sizeof ours, "cm_some"), CM_ERR_ARGUMENT, "struct_size is 12");
    ck_assert_ptr_null(theirs.pointer);
    FAILS(cm_options_read(&ours, sizeof ours, &theirs, "cm_some"), CM_ERR_ARGUMENT, "struct_size is 12");
    ck_assert_ptr_eq(ours.pointer, &o);
    struct {
        uint32_t struct_size;
        int32_t number[3];
    } numbers, shorter = {12, {1, 2, 0}};
    memset(&numbers, 0, sizeof numbers);
    OK(cm_options_read(&numbers, sizeof numbers, &shorter, "cm_some")); /* between two members */
    ck_assert_int_eq(numbers.number[1], 2);
    shorter.struct_size = 14;
    FAILS(cm_options_read(&numbers, sizeof numbers, &shorter, "cm_some"), CM_ERR_ARGUMENT, "struct_size is 14");
}
END_TEST

START_TEST(context_arguments)
{
    cm_context *context;
    cm_context_options o;
    cm_context_options_init(&o, sizeof o);
    o.threads = 257;
    FAILS(cm_context_create(&o, &context), CM_ERR_ARGUMENT, "257");
    o.threads = -1;
    FAILS(cm_context_create(&o, &context), CM_ERR_ARGUMENT, "-1");
    memory m;
    memory_reset(&m);
    o = memory_options(&m, 1);
    o.free = NULL;
    FAILS(cm_context_create(&o, &context), CM_ERR_ARGUMENT, "free");
    FAILS(cm_context_create(NULL, NULL), CM_ERR_ARGUMENT, "out");
    cm_context_free(NULL);
}
END_TEST

START_TEST(memory_is_the_callers)
{
    memory m;
    cm_context *context;
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 1);
    OK(cm_context_create(&o, &context));
    char *p = cmi_calloc(context, 100, 3);
    ck_assert_ptr_nonnull(p);
    for (int i = 0; i < 300; i++) ck_assert_int_eq(p[i], 0);
    ck_assert_uint_eq((uintptr_t)p % 64, 0);
    ck_assert_ptr_null(cmi_calloc(context, SIZE_MAX / 2, 3));
    ck_assert(strstr(cm_last_message(), "out of memory") != NULL);
    ck_assert_ptr_null(cmi_calloc(context, SIZE_MAX, 1));
    cmi_free(context, p);
    cm_context_free(context);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

START_TEST(philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];
        cmi_philox4x32(cases[i].counter, cases[i].key, out);
        for (int k = 0; k < 4; k++) ck_assert_uint_eq(out[k], cases[i].out[k]);
    }
}
END_TEST

/* Seeds mean the same for ever: these bits may never change. */
START_TEST(normals_for_ever)
{
    static const struct {
        cm_stream stream;
        uint32_t bits[4];
    } cases[] = {
#include "data/normals.inc"
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float v[16];
        uint32_t bits[16];
        cmi_stream_normal(&cases[i].stream, 16, v);
        memcpy(bits, v, sizeof bits);
        for (int k = 0; k < 4; k++) ck_assert_uint_eq(bits[5 * k], cases[i].bits[k]);
    }
}
END_TEST

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

START_TEST(normals_are_normal)
{
    const int count = by_effort(1 << 20, 1 << 20, 10000000);
    const double n = count;
    float *v = malloc((size_t)count * sizeof *v);
    cm_stream s = {12345, 7, 2};
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, lag = 0, far = 0;
    cmi_stream_normal(&s, (size_t)count, v);
    for (int i = 0; i < count; i++) {
        double x = (double)v[i];
        m1 += x, m2 += x * x, m3 += x * x * x, m4 += x * x * x * x;
        if (i) lag += x * (double)v[i - 1];
    }
    /* five standard errors: 1, sqrt 2, sqrt 15, sqrt 96, 1 over sqrt n */
    double e = 5 / sqrt(n);
    ck_assert_double_le(fabs(m1 / n), e);
    ck_assert_double_le(fabs(m2 / n - 1), e * sqrt(2));
    ck_assert_double_le(fabs(m3 / n), e * sqrt(15));
    ck_assert_double_le(fabs(m4 / n - 3), e * sqrt(96));
    ck_assert_double_le(fabs(lag / n), e);
    /* Kolmogorov and Smirnov's distance, which one of a thousand streams exceeds. */
    qsort(v, (size_t)count, sizeof *v, by_value);
    for (int i = 0; i < count; i++) {
        const double share = 0.5 * erfc(-(double)v[i] / sqrt(2));
        far = fmax(far, fmax((i + 1) / n - share, share - i / n));
    }
    ck_assert_double_le(far, 1.95 / sqrt(n));
    free(v);
}
END_TEST

START_TEST(box_muller_matches_libm)
{
    cm_stream s = {99, 1, 0};
    double u[8], want[8];
    float got[8];
    cmi_stream_uniform(&s, 8, u);
    cmi_stream_normal(&s, 8, got);
    for (int j = 0; j < 8; j += 2) {
        double r = sqrt(-2 * log(u[j])), a = 6.283185307179586476925 * u[j + 1];
        want[j] = r * cos(a), want[j + 1] = r * sin(a);
    }
    for (int j = 0; j < 8; j++) ck_assert_double_le(fabs((double)got[j] - want[j]), 3e-7);
}
END_TEST

START_TEST(streams_are_independent_of_length)
{
    cm_stream s = {5, 6, 7};
    float a[37], b[5];
    cmi_stream_normal(&s, 37, a);
    cmi_stream_normal(&s, 5, b);
    ck_assert_mem_eq(a, b, sizeof b);
    for (uint32_t i = 0; i < 1000; i++) {
        cm_stream t = {1, i, 1};
        ck_assert_uint_lt(cmi_stream_below(&t, 10), 10);
    }
}
END_TEST

static cm_status sum_piece(void *user, int piece, int worker)
{
    int *seen = user;
    (void)worker;
    seen[piece]++;
    if (piece == 77) CM_FAIL(CM_ERR_LIMIT, "piece %d", piece);
    return CM_OK;
}

START_TEST(parallel_pieces)
{
    cm_threads threads;
    OK(cm_context_create(NULL, &threads.context));
    for (threads.count = 1; threads.count <= 8; threads.count++) {
        int seen[100] = {0};
        OK(cmi_parallel(threads, 70, sum_piece, seen));
        for (int i = 0; i < 70; i++) ck_assert_int_eq(seen[i], 1);
        FAILS(cmi_parallel(threads, 100, sum_piece, seen), CM_ERR_LIMIT, "piece 77");
    }
    OK(cmi_parallel(threads, 0, sum_piece, NULL));
    cm_context_free(threads.context);
}
END_TEST

static void write_line(const char *directory, const char *name, const char *line)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    ck_assert(f && fputs(line, f) >= 0 && fclose(f) == 0);
}

/* The smallest quota from a group up to the root, rounded up. */
START_TEST(quotas_of_control_groups)
{
    char root[] = "/tmp/cm_groups_XXXXXX", inner[64], leaf[64], command[96];
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(inner, sizeof inner, "%s/pod", root);
    snprintf(leaf, sizeof leaf, "%s/pod/app", root);
    ck_assert(mkdir(inner, 0700) == 0 && mkdir(leaf, 0700) == 0);
    ck_assert_int_eq(cmi_cpus_of_group(root, "/pod/app"), 0);
    write_line(leaf, "cpu.max", "max 100000\n");
    ck_assert_int_eq(cmi_cpus_of_group(root, "/pod/app"), 0);
    write_line(inner, "cpu.max", "350000 100000\n");
    ck_assert_int_eq(cmi_cpus_of_group(root, "/pod/app"), 4);
    write_line(leaf, "cpu.max", "50000 100000\n");
    ck_assert_int_eq(cmi_cpus_of_group(root, "/pod/app"), 1);
    ck_assert_int_eq(cmi_cpus_of_group(root, "/pod"), 4);
    ck_assert_int_eq(cmi_cpus_of_group(root, ""), 0);
    write_line(root, "cpu.cfs_quota_us", "-1\n"); /* version 1 */
    write_line(root, "cpu.cfs_period_us", "100000\n");
    ck_assert_int_eq(cmi_cpus_of_group(root, ""), 0);
    write_line(root, "cpu.cfs_quota_us", "150000\n");
    ck_assert_int_eq(cmi_cpus_of_group(root, ""), 2);
    ck_assert_int_eq(cmi_cpus_of_group(root, "/no/such/group"), 2);
    write_line(leaf, "cpu.max", "nonsense");
    ck_assert_int_eq(cmi_cpus_of_group(leaf, ""), 0);
    ck_assert(cmi_cpus() >= 1 && cmi_cpus() <= 256);
    snprintf(command, sizeof command, "rm -rf %s", root);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

typedef struct {
    cm_turns *turns;
    int order[4][24], count[4];
    int bad[2]; /* pieces that fail before (even places) or between two places */
} visits;

/* Four places, in the same order for every piece, with work of uneven length between. */
static cm_status visit(void *user, int piece, int worker)
{
    visits *v = user;
    cm_status status = CM_OK;
    (void)worker;
    for (int place = 0; place < 4 && status == CM_OK; place++) {
        for (volatile int i = 0; i < (piece * 7919 + place * 104729) % 20000; i++) {
        }
        if ((piece == v->bad[0] && place == 0) || (piece == v->bad[1] && place == 2)) {
            status = cmi_fail(CM_ERR_LIMIT, "piece %d", piece);
        } else status = cmi_turns_await(v->turns, (size_t)place, piece);
        if (status != CM_OK) break;
        v->order[place][v->count[place]++] = piece;
        cmi_turns_advance(v->turns, (size_t)place);
    }
    if (status != CM_OK) cmi_turns_fail(v->turns, piece);
    return status;
}

/* Every place sees the pieces in order; a failure ends the round without anyone waiting
 * for ever, with the message of the first, and the next round is whole again. */
START_TEST(turns_are_kept)
{
    visits v;
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    memset(&v, 0, sizeof v);
    OK(cmi_turns_create(context, 4, &v.turns));
    for (int round = 0; round < 200; round++) {
        int threads = 1 + round % 8, fails = round % 3;
        memset(v.count, 0, sizeof v.count);
        v.bad[0] = fails == 1 ? round % 24 : -1;
        v.bad[1] = fails ? round * 5 % 24 : -1;
        cmi_turns_begin(v.turns);
        cm_status status = cmi_parallel_in_order((cm_threads){context, threads}, 24, visit, &v);
        int first = v.bad[1] < v.bad[0] || v.bad[0] < 0 ? v.bad[1] : v.bad[0];
        if (fails) {
            char text[32];
            snprintf(text, sizeof text, "piece %d", first);
            ck_assert(status == CM_ERR_LIMIT);
            ck_assert_str_eq(cm_last_message(), text);
        } else OK(status);
        for (int place = 0; place < 4; place++) {
            for (int i = 0; i < v.count[place]; i++) ck_assert_int_eq(v.order[place][i], i);
            if (!fails) ck_assert_int_eq(v.count[place], 24);
        }
    }
    cmi_turns_free(v.turns);
    cmi_turns_free(NULL);
    cm_context_free(context);
}
END_TEST

/* --- the call of a handle ------------------------------------------------------------- */

START_TEST(calls_and_requests)
{
    cm_call c;
    cmi_call_init(&c);
    for (int round = 0; round < 2; round++) {
        cmi_call_ask(&c); /* nobody is there: forgotten */
        OK(cmi_call_begin(&c, "thing"));
        OK(cmi_call_check(&c));
        FAILS(cmi_call_begin(&c, "thing"), CM_ERR_STATE, "this thing is already running");
        FAILS(cmi_call_begin_inside(&c, "thing"), CM_ERR_STATE, "already running"); /* not in a callback */
        cmi_call_ask(&c);
        FAILS(cmi_call_check(&c), CM_ERR_CANCELLED, "cancelled");
        ck_assert_int_eq(cmi_call_end(&c), 1);
        OK(cmi_call_begin_inside(&c, "thing")); /* an idle handle has room for anyone */
        ck_assert_int_eq(cmi_call_end(&c), 0);
    }
    OK(cmi_call_check(NULL));
}
END_TEST

static void *come_in(void *user)
{
    return (void *)(intptr_t)cmi_call_begin_inside(user, "thing");
}

START_TEST(calls_inside_a_callback)
{
    cm_call c;
    pthread_t thread;
    void *status;
    cmi_call_init(&c);
    OK(cmi_call_begin(&c, "thing"));
    cmi_call_pause(&c);
    FAILS(cmi_call_begin(&c, "thing"), CM_ERR_STATE, "already running");
    ck_assert_int_eq(pthread_create(&thread, NULL, come_in, &c), 0);
    ck_assert_int_eq(pthread_join(thread, &status), 0);
    ck_assert_int_eq((intptr_t)status, CM_ERR_STATE); /* the pause is for the thread of the call */
    OK(cmi_call_begin_inside(&c, "thing"));
    FAILS(cmi_call_begin_inside(&c, "thing"), CM_ERR_STATE, "already running"); /* one at a time there too */
    cmi_call_ask(&c);
    ck_assert_int_eq(cmi_call_end(&c), 0); /* the request was for the call outside ... */
    OK(cmi_call_begin_inside(&c, "thing"));
    ck_assert_int_eq(cmi_call_end(&c), 0);
    cmi_call_resume(&c);
    FAILS(cmi_call_begin_inside(&c, "thing"), CM_ERR_STATE, "already running");
    ck_assert_int_eq(cmi_call_end(&c), 1); /* ... which remembers it */
    OK(cmi_call_begin(&c, "thing"));
    ck_assert_int_eq(cmi_call_end(&c), 0);
}
END_TEST

enum { REQUESTS = 2000 };

typedef struct {
    cm_call call;
    sem_t running, ended;
} asked_calls;

static void *ask_each(void *user)
{
    asked_calls *a = user;
    for (int i = 1; i <= REQUESTS; i++) {
        while (sem_wait(&a->running) != 0) {
        }
        cmi_call_ask(&a->call); /* once, while the call runs: it must not be lost */
        while (sem_wait(&a->ended) != 0) {
        }
        cmi_call_ask(&a->call); /* and while nothing runs, or the next call begins */
    }
    return NULL;
}

START_TEST(no_request_is_lost)
{
    asked_calls a;
    pthread_t thread;
    cmi_call_init(&a.call);
    ck_assert(sem_init(&a.running, 0, 0) == 0 && sem_init(&a.ended, 0, 0) == 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, ask_each, &a), 0);
    for (int i = 1; i <= REQUESTS; i++) {
        OK(cmi_call_begin(&a.call, "thing"));
        (void)sem_post(&a.running);
        while (!cmi_call_asked(&a.call)) { /* a pause now and then */
            cmi_call_pause(&a.call);
            if (i % 2 && cmi_call_begin_inside(&a.call, "thing") == CM_OK) (void)cmi_call_end(&a.call);
            cmi_call_resume(&a.call);
        }
        ck_assert_int_eq(cmi_call_end(&a.call), 1);
        (void)sem_post(&a.ended);
    }
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(half_precision)
{
    static const unsigned char half[] = {0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0xff, 0x7b, 0x00, 0x7c, 0x00, 0x80};
    static const unsigned char bf[] = {0x80, 0x3f, 0x00, 0xc0};
    float v[6];
    cmi_f16_to_f32(6, half, v);
    ck_assert(v[0] == 1 && v[1] == -2 && v[2] == 0x1p-24f && v[3] == 65504 && isinf(v[4]) && v[5] == 0 &&
              signbit(v[5]));
    cmi_bf16_to_f32(2, bf, v);
    ck_assert(v[0] == 1 && v[1] == -2);
}
END_TEST

START_TEST(versions)
{
    ck_assert_uint_eq(cm_version_number(), CM_VERSION_NUMBER);
    ck_assert_str_eq(cm_version(), "0.1.0");
    ck_assert(strstr(cm_build_info(), "oneDNN") != NULL);
    ck_assert_uint_eq(cm_abi_sizeof("cm_sample_options"), sizeof(cm_sample_options));
    ck_assert_uint_eq(cm_abi_sizeof("no_such_struct"), 0);
    ck_assert_uint_eq(cm_abi_sizeof(NULL), 0);
}
END_TEST

/* What people type, and the names that they mean. */
START_TEST(lists_grow)
{
    cm_context *c;
    size_t room = 0, none = 0;
    int *list = NULL;
    OK(cm_context_create(NULL, &c));
    for (size_t n = 0; n < 1000; n++) {
        int *same = list;
        size_t before = room;
        list = cmi_grown(c, list, sizeof *list, n, &room);
        ck_assert_ptr_nonnull(list);
        ck_assert(n < before ? list == same && room == before : room > n && room <= 2 * n + 64);
        list[n] = (int)n;
    }
    for (int n = 0; n < 1000; n++) ck_assert_int_eq(list[n], n);
    ck_assert_ptr_null(cmi_grown(c, NULL, SIZE_MAX / 2, 0, &none));
    ck_assert(none == 0 && strstr(cm_last_message(), "out of memory"));
    cmi_free(c, list);
    cm_context_free(c);
}
END_TEST

START_TEST(names_are_guessed)
{
    static const char *const settings[] = {
        "lr",   "batch",         "steps",     "grad_clip", "warmup_steps", "huber_c",    "ema", "dropout",
        "seed", "label_dropout", "optimizer", "threads",   "start_scales", "end_scales", "out", NULL};
    static const char *const presets[] = {"smoke",
                                          "digits-teacher-30min",
                                          "digits-ect-30min",
                                          "digits-cd-30min",
                                          "digits-ict-30min",
                                          "cifar10-3h",
                                          "cifar10-cd-l1",
                                          "cifar10-cd-l2",
                                          "cifar10-ct",
                                          "cifar10-ict",
                                          "imagenet64-cd-l2",
                                          "imagenet64-ict",
                                          "lsun256-ict",
                                          NULL};
    static const struct {
        const char *const *names;
        const char *word, *before, *hint;
    } rows[] = {
        {settings, "learning_rate", NULL, " (did you mean 'lr'?)"},
        {settings, "Learning-Rate", NULL, " (did you mean 'lr'?)"},
        {settings, "LR", NULL, " (did you mean 'lr'?)"},
        {settings, "batch_size", "", " (did you mean 'batch'?)"},
        {settings, "iterations", "--", " (did you mean --steps?)"},
        {settings, "bacth", NULL, " (did you mean 'batch'?)"},
        {settings, "warmup", NULL, " (did you mean 'warmup_steps'?)"},
        {settings, "warmup-step", NULL, " (did you mean 'warmup_steps'?)"},
        {settings, "clip", NULL, " (did you mean 'grad_clip'?)"},
        {settings, "huber", NULL, " (did you mean 'huber_c'?)"},
        {settings, "optimiser", NULL, " (did you mean 'optimizer'?)"},
        {settings, "drop_out", NULL, " (did you mean 'dropout'?)"},
        {settings, "scales", NULL, " (did you mean 'start_scales' or 'end_scales'?)"},
        {settings, "num_workers", NULL, ""},
        {settings, "xyzzy", NULL, ""},
        {settings, "", NULL, ""},
        {presets, "cifar", NULL, " (did you mean one of cifar10-*?)"},
        {presets, "cifar10-cd", NULL, " (did you mean 'cifar10-cd-l1' or 'cifar10-cd-l2'?)"},
        {presets, "cd-imagenet", NULL, " (did you mean 'imagenet64-cd-l2'?)"},
        {presets, "digits", NULL, " (did you mean one of digits-*?)"},
        {presets, "ict", NULL, " (did you mean 'digits-ict-30min', 'cifar10-ict', 'imagenet64-ict' or another?)"},
        {presets, "smokey", NULL, " (did you mean 'smoke'?)"},
        {presets, "SMOKE", NULL, " (did you mean 'smoke'?)"},
    };
    char text[256], longest[400];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = cm_name_hint(rows[i].word, rows[i].names, rows[i].before, text, sizeof text);
        ck_assert_msg(strcmp(text, rows[i].hint) == 0, "%s: '%s', expected '%s'", rows[i].word, text, rows[i].hint);
        ck_assert_uint_eq(n, strlen(text));
    }
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    ck_assert_uint_eq(cm_name_hint(longest, settings, NULL, text, sizeof text), 0);
    ck_assert_uint_eq(cm_name_hint("lr", (const char *const[]){longest, NULL}, NULL, text, sizeof text), 0);
    ck_assert_uint_eq(cm_name_hint(NULL, settings, NULL, text, sizeof text), 0);
    ck_assert_uint_eq(cm_name_hint("lr", NULL, NULL, text, sizeof text), 0);
    ck_assert_uint_eq(cm_name_hint("learning_rate", settings, NULL, text, 9), 8);
    ck_assert_str_eq(text, " (did yo");
    ck_assert_uint_eq(cm_name_hint("learning_rate", settings, NULL, NULL, 0), 0);
}
END_TEST

START_TEST(numbers_are_read)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},       {"-0", 0},       {"12", 12},   {"-1.5", -1.5}, {"1e3", 1000},
                {"1E+3", 1000}, {"2.5e-1", .25}, {" 7 \n", 7}, {"1e-400", 0},  {"18446744073709551616", 0x1p64}};
    static const char *const bad[] = {"",    " ",  "-",   "+1",  ".5",  "5.",  "01",    "1e",  "1e+",   "1.e3",
                                      "0x1", "1a", "1 2", "nan", "inf", "1,5", "1e999", "--1", "1e5.0", "\v1"};
    char text[500];
    double v;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        v = -1;
        ck_assert_msg(cmi_number_read(good[i].text, &v) && v == good[i].value, "'%s' became %g", good[i].text, v);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        v = -1;
        ck_assert_msg(!cmi_number_read(bad[i], &v) && v == -1, "'%s' became %g", bad[i], v);
    }
    for (int length = 399; length <= 400; length++) { /* the longest, and one more */
        snprintf(text, sizeof text, "0.%0*d1", length - 3, 0);
        ck_assert_int_eq(cmi_number_read(text, &v), length < 400);
    }
}
END_TEST

START_TEST(numbers_as_people_write_them)
{
    static const struct {
        double v;
        const char *text;
    } rows[] = {{0, "0"},
                {1, "1"},
                {-1, "-1"},
                {0.0004, "0.0004"},
                {4e-4, "0.0004"},
                {5e-5, "0.00005"},
                {1e-6, "0.000001"},
                {1e-7, "1e-7"},
                {4.5e-8, "4.5e-8"},
                {80, "80"},
                {0.1, "0.1"},
                {1e6, "1000000"},
                {123456789, "123456789"},
                {1e14, "100000000000000"},
                {1e15, "1e15"},
                {1.7976931348623157e308, "1.7976931348623157e308"},
                {0.9999432189950708, "0.9999432189950708"},
                {-2.5, "-2.5"},
                {100.25, "100.25"},
                {1e-300, "1e-300"},
                {INFINITY, "inf"},
                {-INFINITY, "-inf"},
                {NAN, "nan"}};
    char text[CM_NUMBER_SIZE];
    uint64_t state = seeded(3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_str_eq(cmi_number_text(rows[i].v, text), rows[i].text);
    for (int i = 0; i < 2000; i++) { /* every digit counts */
        double v = (double)random_float(&state) * pow(10, random_int(&state, -20, 20));
        ck_assert_msg(strtod(cmi_number_text(v, text), NULL) == v, "%.17g became %s", v, text);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("base");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, status_names);
    tcase_add_test(t, older_and_newer_structs);
    tcase_add_test(t, structs_that_end_within_a_member);
    tcase_add_test(t, context_arguments);
    tcase_add_test(t, memory_is_the_callers);
    tcase_add_test(t, philox_known_answers);
    tcase_add_test(t, normals_for_ever);
    tcase_add_test(t, normals_are_normal);
    tcase_add_test(t, box_muller_matches_libm);
    tcase_add_test(t, streams_are_independent_of_length);
    tcase_add_test(t, parallel_pieces);
    tcase_add_test(t, turns_are_kept);
    tcase_add_test(t, calls_and_requests);
    tcase_add_test(t, quotas_of_control_groups);
    tcase_add_test(t, calls_inside_a_callback);
    tcase_add_test(t, no_request_is_lost);
    tcase_add_test(t, half_precision);
    tcase_add_test(t, versions);
    tcase_add_test(t, lists_grow);
    tcase_add_test(t, names_are_guessed);
    tcase_add_test(t, numbers_as_people_write_them);
    tcase_add_test(t, numbers_are_read);
    suite_add_tcase(s, t);
    return s;
}
