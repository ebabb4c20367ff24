/* Ways to a model's bytes: from a file, from memory, through a function; sources that are damaged, that fail or end
 * early; callers who stop; and what a new format of tensors needs. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/context.h"
#include "io/safetensors.h"
#include "nets/checkpoint.h"
#include "support/files.h"
#include "support/memory.h"

#define MODEL "tests/data/models/digits_consistency.safetensors"
enum { SIZE = 1024 };

static unsigned char *bytes; /* of MODEL */
static size_t size;
static float want[SIZE]; /* what it makes of the input below */

static void evaluate(cm_model *m, float *out)
{
    float x[SIZE], sigma = 2;
    for (int i = 0; i < SIZE; i++) x[i] = (float)sin(i);
    OK(cm_model_denoise(m, 1, x, &sigma, NULL, out));
}

static void setup(void)
{
    cm_model *m;
    bytes = read_bytes(MODEL, &size);
    OK(cm_model_load(NULL, MODEL, NULL, &m));
    evaluate(m, want);
    cm_model_free(m);
}

static void teardown(void)
{
    free(bytes);
}

/* --- a function that reads ------------------------------------------------------------------ */

typedef struct {
    size_t most;   /* bytes given at a time; 0: as many as are asked for     */
    size_t breaks; /* from this byte on `answer` is given; 0: never          */
    int32_t answer;
    size_t calls, total;
} stream;

static int32_t give(void *user, uint64_t offset, void *to, size_t n)
{
    stream *s = user;
    s->calls++;
    s->total += n;
    if (n == 0 || n > (4u << 20) || offset + n > size) return -7; /* against the contract */
    if (s->breaks && offset + n > s->breaks) return s->answer;
    if (s->most && n > s->most) n = s->most;
    memcpy(to, bytes + offset, n);
    return (int32_t)n;
}

static cm_reader reader_of(stream *s)
{
    cm_reader r = CM_READER_INIT;
    r.size = size;
    r.read = give;
    r.user = s;
    return r;
}

/* The same bits whatever the way, also when the source goes away where it was copied. */
START_TEST(every_way)
{
    enum { PATH, PATH_COPIED, MEMORY, MEMORY_ODD, MEMORY_COPIED, STREAM, STREAM_SHORT, WAYS };
    for (int way = 0; way < WAYS; way++) {
        cm_model *m = NULL;
        float got[SIZE];
        stream s = {.most = way == STREAM_SHORT ? 1009 : 0};
        cm_reader r = reader_of(&s);
        cm_load_options o = CM_LOAD_OPTIONS_INIT;
        unsigned char *block = malloc(size + 1), *own = block + (way == MEMORY_ODD);
        memcpy(own, bytes, size);
        o.copy = way == PATH_COPIED || way == MEMORY_COPIED;
        switch (way) {
        case PATH:
        case PATH_COPIED: OK(cm_model_load(NULL, MODEL, &o, &m)); break;
        case STREAM:
        case STREAM_SHORT: OK(cm_model_load_stream(NULL, &r, &o, &m)); break;
        default: OK(cm_model_load_memory(NULL, own, size, &o, &m)); break;
        }
        if (way == MEMORY_COPIED) memset(own, 0xff, size);
        size_t calls = s.calls;
        memset(&r, 0, sizeof r);
        evaluate(m, got);
        ck_assert_msg(memcmp(got, want, sizeof got) == 0, "way %d gives other bits", way);
        ck_assert_uint_eq(calls, s.calls); /* nobody reads after the call */
        char path[] = "/tmp/cm-load-XXXXXX";
        cm_save_options so = CM_SAVE_OPTIONS_INIT;
        so.overwrite = 1;
        close(mkstemp(path));
        OK(cm_model_save(m, path, &so));
        cm_model_free(m);
        OK(cm_model_load(NULL, path, NULL, &m));
        evaluate(m, got);
        ck_assert_msg(memcmp(got, want, sizeof got) == 0, "way %d saves other weights", way);
        cm_model_free(m);
        unlink(path);
        free(block);
    }
}
END_TEST

/* A stream and a copy take the file's size once more than the model does without; memory in place takes nothing. */
START_TEST(memory_of_each_way)
{
    long long peak[3];
    for (int way = 0; way < 3; way++) {
        memory counted;
        cm_context *context;
        cm_model *m;
        stream s = {0};
        cm_reader r = reader_of(&s);
        memory_reset(&counted);
        cm_context_options co = memory_options(&counted, 1);
        OK(cm_context_create(&co, &context));
        if (way == 0) OK(cm_model_load(context, MODEL, NULL, &m));
        if (way == 1) OK(cm_model_load_memory(context, bytes, size, NULL, &m));
        if (way == 2) OK(cm_model_load_stream(context, &r, NULL, &m));
        peak[way] = counted.peak;
        cm_model_free(m);
        cm_context_free(context);
        ck_assert_int_eq((int)counted.live, 0);
    }
    ck_assert_int_lt(peak[0], (long long)size / 2);
    ck_assert_int_lt(llabs(peak[1] - peak[0]), 4096);
    ck_assert_int_lt(peak[2], peak[0] + (long long)size + 4096);
}
END_TEST

START_TEST(streams_that_fail)
{
    static const struct {
        size_t breaks;
        int32_t answer;
        const char *word;
    } rows[] = {{1, -1, "byte 0: its function failed (-1)"},
                {1, 0, "it ends at byte 0"},
                {9, 4097, "says 4097"},
                {5000, -5, "failed (-5)"},
                {1 << 20, 0, "ends at byte"},
                {1 << 20, INT32_MAX, "says 2147483647"},
                {1 << 20, INT32_MIN, "failed"}};
    cm_model *m;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        stream s = {0, rows[i].breaks, rows[i].answer, 0, 0};
        cm_reader r = reader_of(&s);
        FAILS(cm_model_load_stream(NULL, &r, NULL, &m), CM_ERR_IO, rows[i].word);
        ck_assert_ptr_null(m);
    }
    static const struct {
        uint64_t size;
        cm_status status;
        const char *word;
    } sizes[] = {{0, CM_ERR_ARGUMENT, "size is 0"},
                 {1, CM_ERR_FORMAT, "what is read: safetensors"},
                 {8, CM_ERR_FORMAT, "too few"},
                 {100, CM_ERR_FORMAT, "truncated"},
                 {1 << 20, CM_ERR_FORMAT, "data_offsets"},
                 {UINT64_MAX, CM_ERR_ARGUMENT, "size is 18446744073709551615"}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        stream s = {0};
        cm_reader r = reader_of(&s);
        r.size = sizes[i].size;
        FAILS(cm_model_load_stream(NULL, &r, NULL, &m), sizes[i].status, sizes[i].word);
        ck_assert_ptr_null(m);
    }
    stream s = {0};
    cm_reader r = reader_of(&s);
    r.size = (uint64_t)1
             << 60; /* more than the header's tensors have: refused before anything of that size is asked for */
    FAILS(cm_model_load_stream(NULL, &r, NULL, &m), CM_ERR_FORMAT, "trailing");
}
END_TEST

/* --- who waits ------------------------------------------------------------------------------ */

typedef struct {
    uint64_t calls, last, total, stop_at;
} watch;

static int32_t watching(void *user, uint64_t done, uint64_t total)
{
    watch *w = user;
    ck_assert_uint_ge(done, w->last);
    ck_assert_uint_le(done, total);
    if (w->calls) ck_assert_uint_eq(total, w->total);
    w->last = done;
    w->total = total;
    return ++w->calls == w->stop_at;
}

static cm_status load_by(int way, const cm_load_options *o, cm_model **m)
{
    stream s = {0};
    cm_reader r = reader_of(&s);
    if (way == 0) return cm_model_load(NULL, MODEL, o, m);
    if (way == 1) return cm_model_load_memory(NULL, bytes, size, o, m);
    return cm_model_load_stream(NULL, &r, o, m);
}

START_TEST(progress_and_stop)
{
    for (int way = 0; way < 3; way++) {
        watch w = {0};
        cm_load_options o = CM_LOAD_OPTIONS_INIT;
        cm_model *m;
        o.progress = watching, o.progress_user = &w;
        OK(load_by(way, &o, &m));
        cm_model_free(m);
        ck_assert_uint_eq(w.last, w.total);
        uint64_t calls = w.calls;
        ck_assert_uint_gt(calls, 10);
        for (uint64_t at = 1; at <= calls; at += at < 5 ? 1 : calls / 7) {
            w = (watch){.stop_at = at};
            FAILS(load_by(way, &o, &m), CM_ERR_CANCELLED, "cancelled");
            ck_assert_ptr_null(m);
            ck_assert_uint_eq(w.calls, at);
        }
    }
}
END_TEST

START_TEST(arguments)
{
    cm_model *m = NULL;
    stream s = {0};
    cm_reader r = reader_of(&s), filled;
    cm_load_options o = CM_LOAD_OPTIONS_INIT, loaded;
    cm_save_options so = CM_SAVE_OPTIONS_INIT, saved;
    cm_model_info info = CM_MODEL_INFO_INIT, empty;
    cm_model_info_init(&empty, sizeof empty);
    ck_assert_mem_eq(&info, &empty, sizeof info);
    cm_load_options_init(&loaded, sizeof loaded);
    ck_assert_mem_eq(&o, &loaded, sizeof o);
    cm_save_options_init(&saved, sizeof saved);
    ck_assert_mem_eq(&so, &saved, sizeof so);
    cm_reader_init(&filled, sizeof filled);
    r = (cm_reader)CM_READER_INIT;
    ck_assert_mem_eq(&filled, &r, sizeof filled);
    r = reader_of(&s);
    FAILS(cm_model_load_memory(NULL, NULL, 1, NULL, &m), CM_ERR_ARGUMENT, "bytes is NULL");
    FAILS(cm_model_load_memory(NULL, bytes, 0, NULL, &m), CM_ERR_ARGUMENT, "size is 0");
    FAILS(cm_model_load_memory(NULL, bytes, size, NULL, NULL), CM_ERR_ARGUMENT, "out");
    FAILS(cm_model_load_stream(NULL, NULL, NULL, &m), CM_ERR_ARGUMENT, "reader is NULL");
    FAILS(cm_model_load_stream(NULL, &r, NULL, NULL), CM_ERR_ARGUMENT, "out");
    r.read = NULL;
    FAILS(cm_model_load_stream(NULL, &r, NULL, &m), CM_ERR_ARGUMENT, "read is NULL");
    r = reader_of(&s), r.reserved = 1;
    FAILS(cm_model_load_stream(NULL, &r, NULL, &m), CM_ERR_ARGUMENT, "cm_reader: reserved is 1");
    r = reader_of(&s), r.struct_size = 8;
    FAILS(cm_model_load_stream(NULL, &r, NULL, &m), CM_ERR_ARGUMENT, "size is 0");
    r.struct_size = 0;
    FAILS(cm_model_load_stream(NULL, &r, NULL, &m), CM_ERR_ARGUMENT, "struct_size");
    o.reserved = 2;
    FAILS(cm_model_load_memory(NULL, bytes, size, &o, &m), CM_ERR_ARGUMENT, "cm_load_options: reserved is 2");
    o.reserved = 0, o.copy = 2;
    FAILS(cm_model_load_memory(NULL, bytes, size, &o, &m), CM_ERR_ARGUMENT, "copy is 2");
    ck_assert_ptr_null(m);
}
END_TEST

/* Each allocation of each way fails once: a status, and nothing is lost. */
START_TEST(allocations_fail)
{
    for (int way = 1; way < 3; way++)
        for (long at = 1;; at++) {
            memory counted;
            cm_context *context;
            cm_model *m;
            stream s = {0};
            cm_reader r = reader_of(&s);
            memory_reset(&counted);
            cm_context_options co = memory_options(&counted, 1);
            OK(cm_context_create(&co, &context));
            counted.fail_at = counted.requests + at;
            cm_status status = way == 1 ? cm_model_load_memory(context, bytes, size, NULL, &m)
                                        : cm_model_load_stream(context, &r, NULL, &m);
            cm_model_free(m);
            cm_context_free(context);
            ck_assert_int_eq((int)counted.live, 0);
            if (status == CM_OK) {
                ck_assert_int_gt((int)at, 20);
                break;
            }
            ck_assert_int_eq(status, CM_ERR_MEMORY);
        }
}
END_TEST

/* Every damage that fits into the header, cut short or turned: a status, and no byte outside of the block. */
START_TEST(damaged_memory)
{
    cm_model *m;
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | bytes[i];
    for (size_t n = 0; n < header + 8; n += n < 64 ? 1 : 977) {
        unsigned char *cut = malloc(n + !n);
        memcpy(cut, bytes, n);
        ck_assert_int_ne(cm_model_load_memory(NULL, cut, n, NULL, &m), CM_OK);
        ck_assert_ptr_null(m);
        free(cut);
    }
    for (size_t at = 0; at < header + 8; at += at < 64 ? 1 : 1009) {
        bytes[at] ^= 0x11;
        if (cm_model_load_memory(NULL, bytes, size, NULL, &m) == CM_OK) cm_model_free(m);
        bytes[at] ^= 0x11;
    }
}
END_TEST

/* --- a format of a test's own ------------------------------------------------------------------
 *
 * "TOY\n", then one kernel as float64 in the order height, width, in, out: what other frameworks' formats bring
 * together.  It is listed in the shape and type that networks ask for, and rearranged when it is read. */

enum { OUT = 3, IN = 2, SIDE = 2, VALUES = OUT * IN * SIDE * SIDE };

static int toy_recognise(const cm_input *input, const unsigned char *first, size_t n)
{
    (void)input;
    return n >= 4 && memcmp(first, "TOY\n", 4) == 0;
}

static cm_status toy_open(cm_tensors *t)
{
    static const int64_t shape[4] = {OUT, IN, SIDE, SIDE};
    const unsigned char *held;
    cm_tensor *k;
    CM_TRY(cmi_input_hold(&t->input, 0, &held));
    CM_TRY(cmi_tensors_add(t, "kernel", &k));
    k->type = CM_TENSOR_F32;
    k->rank = 4;
    memcpy(k->shape, shape, sizeof shape);
    k->count = VALUES;
    k->bytes = VALUES * sizeof(float);
    k->offset = 4;
    return cmi_tensors_add_metadata(t, "consistency.network", "{}");
}

static cm_status toy_read(const cm_tensor *t, void *out)
{
    double stored[VALUES];
    float *values = out;
    CM_TRY(cmi_input_read(&t->from->input, t->offset, stored, sizeof stored));
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++)
            for (int s = 0; s < SIDE * SIDE; s++)
                values[(o * IN + i) * SIDE * SIDE + s] = (float)stored[(s * IN + i) * OUT + o];
    return CM_OK;
}

static void toy_close(cm_tensors *t)
{
    (void)t;
}

static const cm_tensor_format toy = {
    .name = "toy", .recognise = toy_recognise, .open = toy_open, .read = toy_read, .close = toy_close};

START_TEST(another_format)
{
    static const cm_tensor_format *const formats[] = {&cmi_format_safetensors, &toy, NULL};
    unsigned char file[4 + 8 * VALUES] = "TOY\n";
    double stored[VALUES];
    float values[VALUES];
    cm_context *context;
    cm_tensors t;
    cm_input in;
    for (int i = 0; i < VALUES; i++) stored[i] = i;
    memcpy(file + 4, stored, sizeof stored);
    OK(cm_context_create(NULL, &context));
    OK(cmi_input_memory(context, "toy", file, sizeof file, CM_INPUT_IN_PLACE, &in));
    OK(cmi_tensors_open_as(formats, &in, &t));
    ck_assert_str_eq(t.format->name, "toy");
    const cm_tensor *k = cmi_tensors_find(&t, "kernel");
    ck_assert_ptr_null(k->data);
    OK(cmi_tensor_read(k, values));
    ck_assert(values[0] == 0 && values[1] == IN * OUT && values[SIDE * SIDE] == OUT && values[IN * SIDE * SIDE] == 1);
    const cm_param_source source = {.user = k};
    int finite;
    OK(cmi_checkpoint_finite(&source, &finite));
    ck_assert_int_eq(finite, 1);
    char path[] = "/tmp/cm-load-XXXXXX";
    close(mkstemp(path));
    OK(cmi_safetensors_write(context, path, 1, NULL, k, 1, NULL)); /* the same values in a native file */
    stored[5] = INFINITY;
    memcpy(file + 4, stored, sizeof stored);
    OK(cmi_checkpoint_finite(&source, &finite));
    ck_assert_int_eq(finite, 0);
    cmi_tensors_close(&t);
    OK(cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &t));
    ck_assert_mem_eq(cmi_tensors_find(&t, "kernel")->data, values, sizeof values);
    cmi_tensors_close(&t);
    OK(cmi_input_memory(context, "toy", "\x89PNG\r\n\x1a\n........", 16, CM_INPUT_IN_PLACE, &in));
    FAILS(cmi_tensors_open_as(formats, &in, &t), CM_ERR_FORMAT,
          "this is a PNG picture; what is read: safetensors, toy");
    unlink(path);
    cm_context_free(context);
}
END_TEST

/* Wherever the bytes come from, a tensor that is read later is not read from what the caller has taken back. */
START_TEST(another_format_read_later)
{
    static const cm_tensor_format *const formats[] = {&cmi_format_safetensors, &toy, NULL};
    unsigned char *whole = bytes;
    size_t whole_size = size;
    float values[VALUES];
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    for (int way = 0; way < 3; way++) {
        unsigned char file[4 + 8 * VALUES] = "TOY\n";
        stream s = {.most = 5};
        cm_tensors t;
        cm_input in;
        for (int i = 0; i < VALUES; i++) memcpy(file + 4 + 8 * i, &(double){i}, 8);
        bytes = file, size = sizeof file;
        cm_reader r = reader_of(&s);
        char path[] = "/tmp/cm-load-XXXXXX";
        close(mkstemp(path));
        write_bytes(path, file, sizeof file);
        if (way == 0) OK(cmi_input_memory(context, "toy", file, sizeof file, CM_INPUT_COPIED, &in));
        if (way == 1) OK(cmi_input_reader(context, &r, CM_INPUT_COPIED, &in));
        if (way == 2) OK(cmi_input_file(context, path, CM_INPUT_COPIED, &in));
        OK(cmi_tensors_open_as(formats, &in, &t));
        memset(file, 0, sizeof file);
        write_bytes(path, file, 1);
        size_t calls = s.calls;
        OK(cmi_tensor_read(cmi_tensors_find(&t, "kernel"), values));
        ck_assert_uint_eq(s.calls, calls);
        ck_assert(values[0] == 0 && values[VALUES - 1] == VALUES - 1);
        cmi_tensors_close(&t);
        unlink(path);
    }
    bytes = whole, size = whole_size;
    cm_context_free(context);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("load");
    TCase *t = tcase_create("load");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_way);
    tcase_add_test(t, memory_of_each_way);
    tcase_add_test(t, streams_that_fail);
    tcase_add_test(t, progress_and_stop);
    tcase_add_test(t, arguments);
    tcase_add_test(t, allocations_fail);
    tcase_add_test(t, damaged_memory);
    tcase_add_test(t, another_format);
    tcase_add_test(t, another_format_read_later);
    suite_add_tcase(s, t);
    return s;
}
