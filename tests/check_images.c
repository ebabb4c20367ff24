/* Images in memory: views of any layout against the formula of the header, encoding and decoding, grids. */
#include "support/files.h"
#include "support/suite.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "support/memory.h"
#include "support/pictures.h"
#include "support/scratch.h"

/* --- pictures of any layout ------------------------------------------------------------- */

enum { BUFFER = 1 << 16 };

/* Value (i, c, y, x) of a view, by the formula of the header. */
static unsigned char *value_at(const cm_images *v, size_t i, int c, int y, int x)
{
    return (unsigned char *)v->data + (int64_t)i * v->image_stride + c * v->channel_stride + y * v->row_stride +
           x * v->pixel_stride;
}

static int64_t item_of(const cm_images *v)
{
    return v->dtype == CM_U8 ? 1 : 4;
}

/* A view somewhere in the buffer: its four sizes in any order of nesting, with gaps, some of them backwards, floats
 * at any byte. */
static cm_images random_view(uint64_t *state, unsigned char *buffer, const int sizes[4], int dtype)
{
    cm_images v = dtype == CM_U8 ? cm_images_u8(1, 1, 1, 1, NULL) : cm_images_f32(1, 1, 1, 1, NULL);
    int order[4] = {0, 1, 2, 3};
    int64_t stride[4], reached = item_of(&v), first = 0;
    for (int k = 3; k > 0; k--) {
        int j = random_int(state, 0, k), swap = order[k];
        order[k] = order[j], order[j] = swap;
    }
    for (int k = 0; k < 4; k++) {
        int64_t s = reached + random_int(state, 0, 2);
        reached += (sizes[order[k]] - 1) * s;
        if (random_int(state, 0, 2) == 0) first += (sizes[order[k]] - 1) * s, s = -s;
        stride[order[k]] = s;
    }
    ck_assert_int_lt(reached, BUFFER - 8);
    v.n = (size_t)sizes[0], v.channels = sizes[1], v.height = sizes[2], v.width = sizes[3];
    v.image_stride = stride[0], v.channel_stride = stride[1], v.row_stride = stride[2], v.pixel_stride = stride[3];
    v.data = buffer + first + random_int(state, 0, 7);
    return v;
}

static uint8_t byte_of(float x)
{
    double v = trunc((double)(x * 127.5f + 128.0f));
    return (uint8_t)(v > 255 ? 255 : v > 0 ? v : 0);
}

static void compare_value(const cm_images *from, const cm_images *to, size_t i, int c, int y, int x)
{
    const unsigned char *a = value_at(from, i, c, y, x), *b = value_at(to, i, c, y, x);
    float f = 0, g = 0;
    if (from->dtype != CM_U8) memcpy(&f, a, 4);
    if (to->dtype != CM_U8) memcpy(&g, b, 4);
    if (from->dtype == to->dtype) ck_assert_int_eq(memcmp(a, b, (size_t)item_of(to)), 0);
    else if (to->dtype == CM_U8) ck_assert_uint_eq(*b, byte_of(f));
    else ck_assert_float_eq(g, (float)*a / 127.5f - 1.0f);
}

START_TEST(views_against_the_formula)
{
    static unsigned char in[BUFFER], before[BUFFER], out[BUFFER], kept[BUFFER];
    uint64_t state = 25;
    for (int trial = 0; trial < 400; trial++) {
        int sizes[4];
        for (int k = 0; k < 4; k++) sizes[k] = random_int(&state, 1, k == 1 ? 4 : 6);
        cm_images from = random_view(&state, in, sizes, trial & 1 ? CM_U8 : CM_F32);
        cm_images to = random_view(&state, out, sizes, trial & 2 ? CM_U8 : CM_F32);
        for (int i = 0; i < BUFFER; i++) in[i] = (unsigned char)random_int(&state, 0, 255), out[i] = (unsigned char)i;
        for (size_t i = 0; i < from.n && from.dtype == CM_F32; i++)
            for (int k = 0; k < sizes[1] * sizes[2] * sizes[3]; k++) {
                float x = random_float(&state) * 1.3f;
                memcpy(value_at(&from, i, k % sizes[1], k / sizes[1] % sizes[2], k / sizes[1] / sizes[2]), &x, 4);
            }
        memcpy(before, in, BUFFER), memcpy(kept, out, BUFFER);
        OK(cm_images_convert(&from, &to));
        ck_assert_mem_eq(in, before, BUFFER);
        for (size_t i = 0; i < from.n; i++)
            for (int k = 0; k < sizes[1] * sizes[2] * sizes[3]; k++) {
                int c = k % sizes[1], y = k / sizes[1] % sizes[2], x = k / sizes[1] / sizes[2];
                compare_value(&from, &to, i, c, y, x);
                memcpy(kept + (value_at(&to, i, c, y, x) - out), value_at(&to, i, c, y, x), (size_t)item_of(&to));
            }
        ck_assert_mem_eq(out, kept, BUFFER); /* nothing between the values */
    }
}
END_TEST

/* Marks the bytes of the view's values in the map; 1 when one was marked before. */
static int mark(const cm_images *v, const unsigned char *buffer, unsigned char *map)
{
    int twice = 0;
    for (size_t i = 0; i < v->n; i++)
        for (int c = 0; c < v->channels; c++)
            for (int y = 0; y < v->height; y++)
                for (int x = 0; x < v->width; x++)
                    for (int64_t b = 0; b < item_of(v); b++) {
                        unsigned char *m = map + (value_at(v, i, c, y, x) - buffer) + b;
                        twice |= *m;
                        *m = 1;
                    }
    return twice;
}

static int64_t any_stride(uint64_t *state)
{
    return random_int(state, 0, 3) ? random_int(state, -40, 40) : 4 * random_int(state, -9, 9);
}

START_TEST(overlaps_are_refused)
{
    static unsigned char in[BUFFER], out[BUFFER], map[BUFFER];
    uint64_t state = 7;
    int seen[2] = {0, 0}, pairs[2] = {0, 0};
    for (int trial = 0; trial < 20000; trial++) {
        cm_images v = trial & 1 ? cm_images_u8(1, 1, 1, 1, out + BUFFER / 2)
                                : cm_images_f32(1, 1, 1, 1, (float *)(void *)(out + BUFFER / 2));
        v.n = (size_t)random_int(&state, 1, 3), v.channels = random_int(&state, 1, 3);
        v.height = random_int(&state, 1, 4), v.width = random_int(&state, 1, 4);
        v.image_stride = any_stride(&state), v.channel_stride = any_stride(&state);
        v.row_stride = any_stride(&state), v.pixel_stride = any_stride(&state);
        if (!v.image_stride && !v.channel_stride && !v.row_stride && !v.pixel_stride) continue;
        cm_images from = cm_images_f32(v.n, v.channels, v.height, v.width, (float *)(void *)in);
        memset(map, 0, sizeof map);
        int twice = mark(&v, out, map);
        seen[twice]++;
        if (twice) {
            FAILS(cm_images_convert(&from, &v), CM_ERR_ARGUMENT, "same bytes");
            continue;
        }
        OK(cm_images_convert(&from, &v));
        /* Two parts of one buffer, of the same strides. */
        from = v;
        from.data = (unsigned char *)v.data + any_stride(&state);
        twice = mark(&from, out, map);
        pairs[twice]++;
        if (twice) FAILS(cm_images_convert(&from, &v), CM_ERR_ARGUMENT, "memory of what it is made from");
        else OK(cm_images_convert(&from, &v));
    }
    ck_assert(seen[0] > 1000 && seen[1] > 1000 && pairs[0] > 300 && pairs[1] > 300);
}
END_TEST

/* Large views whose steps interlock are answered soon: exactly, or with a refusal. */
START_TEST(overlaps_are_found_in_time)
{
    static const int64_t strides[][4] = {
        {10000000019, 10000000033, 10000000061, 10000000069},
        {30000000001, 29999999999, 7000000001, 6999999999},
        {100000000003, 1, 999983, 1000000007},
        {1, 1999993, 20000003000, 2000003},
        {1001, 1003, 1007, 100000000003},
        {-10000000019, 10000000033, 0, 10000000069},
    };
    static uint8_t line[1000];
    uint8_t *const nowhere =
        (uint8_t *)((uintptr_t)1 << 60); /* far from both ends of the memory, and never written */
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
        cm_images from = cm_images_u8(1000, 1000, 1000, 1000, line),
                  to = cm_images_u8(1000, 1000, 1000, 1000, nowhere);
        from.pixel_stride = 1;
        from.channels = to.channels = 1000, from.height = to.height = 1000, from.width = to.width = 1000;
        to.image_stride = strides[i][0], to.channel_stride = strides[i][1];
        to.row_stride = strides[i][2], to.pixel_stride = strides[i][3];
        const double began = (double)clock();
        FAILS(cm_images_convert(&from, &to), CM_ERR_ARGUMENT, "same bytes");
        const double seconds = ((double)clock() - began) / CLOCKS_PER_SEC;
        /* Under valgrind, which asks for the short effort, all takes some thirty times as long. */
        ck_assert_msg(seconds < by_effort(60, 1, 1), "row %zu took %g s", i, seconds);
    }
    /* Every third byte, and rows that begin between: 3 a = 1001 b has no solution within 1000. */
    enum { PLANE = 999 * 1001 + 999 * 3 + 1 };
    uint8_t *interlocked = malloc(6 * PLANE);
    cm_images from = cm_images_u8(2, 1000, 1000, 3, line), to = from;
    ck_assert_ptr_nonnull(interlocked);
    from.pixel_stride = 1;
    to.data = interlocked;
    to.pixel_stride = 3, to.row_stride = 1001, to.channel_stride = PLANE, to.image_stride = 3 * (int64_t)PLANE;
    OK(cm_images_convert(&from, &to));
    to.row_stride = 999; /* 333 pixels on */
    FAILS(cm_images_convert(&from, &to), CM_ERR_ARGUMENT, "values lie in the same bytes");
    free(interlocked);
}
END_TEST

START_TEST(view_arguments)
{
    float values[8] = {0};
    uint8_t bytes[8];
    const cm_images good = cm_images_f32(1, 2, 2, 2, values), to = cm_images_u8(1, 2, 2, 2, bytes);
    cm_images init, macro = CM_IMAGES_INIT, v;
    cm_image_read_options read, macro_read = CM_IMAGE_READ_OPTIONS_INIT;
    cm_image_write_options wanted, macro_write = CM_IMAGE_WRITE_OPTIONS_INIT;
    cm_images_init(&init, sizeof init);
    cm_image_read_options_init(&read, sizeof read);
    cm_image_write_options_init(&wanted, sizeof wanted);
    ck_assert(memcmp(&init, &macro, sizeof init) == 0 && memcmp(&read, &macro_read, sizeof read) == 0);
    ck_assert_int_eq(memcmp(&wanted, &macro_write, sizeof wanted), 0);
    OK(cm_images_convert(&good, &to));
#define BAD(set, status, word)                                                                                       \
    do {                                                                                                             \
        v = good;                                                                                                    \
        set;                                                                                                         \
        FAILS(cm_images_convert(&v, &to), status, word);                                                             \
    } while (0)
    FAILS(cm_images_convert(NULL, &to), CM_ERR_ARGUMENT, "from is NULL");
    FAILS(cm_images_convert(&good, NULL), CM_ERR_ARGUMENT, "to is NULL");
    BAD(v.struct_size = 0, CM_ERR_ARGUMENT, "cm_images_init");
    BAD(v.struct_size = 68, CM_ERR_ARGUMENT, "struct_size is 68"); /* half of a stride */
    BAD(v.dtype = CM_F16, CM_ERR_ARGUMENT, "dtype is 3");
    BAD(v.dtype = -1, CM_ERR_ARGUMENT, "dtype is -1");
    BAD(v.layout = 2, CM_ERR_ARGUMENT, "layout is 2");
    BAD(v.n = 0, CM_ERR_ARGUMENT, "0 images");
    BAD(v.channels = 0, CM_ERR_ARGUMENT, "0 x 2 x 2");
    BAD(v.height = -1, CM_ERR_ARGUMENT, "2 x -1 x 2");
    BAD(v.width = INT32_MIN, CM_ERR_ARGUMENT, "2 x 2 x -2147483648");
    BAD(v.data = NULL, CM_ERR_ARGUMENT, "data is NULL");
    BAD(v.n = 2, CM_ERR_SHAPE, "2 images from, but 1 to");
    BAD(v.channels = 1, CM_ERR_SHAPE, "2 x 2 x 2 (channels, height, width), expected 1 x 2 x 2");
    BAD((v.channels = v.height = v.width = INT32_MAX), CM_ERR_LIMIT, "memory");
    BAD(v.n = SIZE_MAX, CM_ERR_LIMIT, "memory");
    BAD(v.row_stride = INT64_MAX, CM_ERR_LIMIT, "memory");
    BAD(v.row_stride = INT64_MIN, CM_ERR_LIMIT, "memory");
    BAD((v.row_stride = (int64_t)1 << 46, v.pixel_stride = (int64_t)1 << 46, v.channel_stride = (int64_t)1 << 46),
        CM_ERR_LIMIT, "memory");
    BAD((v.data = bytes, v.row_stride = -((int64_t)1 << 47)), CM_ERR_LIMIT, "memory");
    BAD((v.data = &v, v.dtype = CM_U8, v.row_stride = 1, v.data = (void *)(uintptr_t)8, v.pixel_stride = -100),
        CM_ERR_LIMIT, "out of the memory");
    BAD((v.data = (void *)(UINTPTR_MAX - 10), v.pixel_stride = 100), CM_ERR_LIMIT, "out of the memory");
#undef BAD
    /* A stride that leads to no second value may be anything. */
    float single = 1;
    uint8_t byte = 3;
    cm_images alone = cm_images_f32(1, 1, 1, 1, &single), there = cm_images_u8(1, 1, 1, 1, &byte);
    alone.pixel_stride = there.pixel_stride = INT64_MIN, alone.row_stride = there.image_stride = INT64_MAX;
    OK(cm_images_convert(&alone, &there));
    ck_assert_uint_eq(byte, 255);
    OK(cm_images_convert(&there, &alone));
    ck_assert_float_eq(single, 1);
    /* That of a single picture does not make it a view of strides. */
    cm_images one = good;
    one.image_stride = 32;
    values[7] = 1;
    OK(cm_images_convert(&one, &to));
    ck_assert(bytes[0] == 128 && bytes[7] == 255);
    one = to, one.image_stride = 8;
    OK(cm_images_convert(&good, &one));
    /* A stride of 0 repeats what is read: gray as colours, one picture as many. */
    float gray[4] = {-1, 0, 0.5f, 1};
    uint8_t colours[2 * 4 * 3];
    cm_images repeated = cm_images_f32(2, 3, 2, 2, gray);
    const cm_images all = cm_images_u8(2, 2, 2, 3, colours);
    repeated.row_stride = 8, repeated.pixel_stride = 4;
    OK(cm_images_convert(&repeated, &all));
    for (int i = 0; i < 24; i++) ck_assert_uint_eq(colours[i], byte_of(gray[i / 3 % 4]));
}
END_TEST

/* --- pictures in memory ----------------------------------------------------------------- */

START_TEST(encoded_in_memory)
{
    enum { H = 20, W = 30 };
    uint8_t *pixels = noise_picture(H, W, 3), screen[H * W * 4], *bytes, *again;
    float planes[3 * H * W];
    size_t size, again_size;
    const cm_images dense = cm_images_u8(1, H, W, 3, pixels), floats = cm_images_f32(1, 3, H, W, planes);
    OK(cm_images_convert(&dense, &floats));
    /* The same picture as a window has it: B, G, R, A, bottom up. */
    cm_images window = cm_images_u8(1, H, W, 3, screen + (H - 1) * W * 4 + 2);
    window.row_stride = -W * 4, window.pixel_stride = 4, window.channel_stride = -1;
    memset(screen, 200, sizeof screen);
    OK(cm_images_convert(&dense, &window));
    for (int kind = CM_IMAGE_FORMAT_PNG; kind <= CM_IMAGE_FORMAT_JPEG; kind++) {
        const char *name = kind == CM_IMAGE_FORMAT_PNG ? "memory.png" : "memory.jpeg";
        cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
        o.format = kind;
        o.quality = kind == CM_IMAGE_FORMAT_PNG ? 0 : 80;
        const cm_images *const same[3] = {&dense, &floats, &window};
        for (int k = 0; k < 3; k++) {
            OK(cm_image_encode(context, same[k], &o, &bytes, &size));
            o.overwrite = CM_OVERWRITE_YES;
            OK(cm_image_write(context, in_dir(name), same[k], &o));
            o.overwrite = CM_OVERWRITE_NO;
            unsigned char *file = read_bytes(in_dir(name), &again_size);
            ck_assert(size == again_size && memcmp(bytes, file, size) == 0);
            free(file);
            cm_images back = CM_IMAGES_INIT, as_floats = CM_IMAGES_INIT;
            cm_image_read_options r = CM_IMAGE_READ_OPTIONS_INIT;
            OK(cm_image_decode(context, bytes, size, NULL, &back));
            r.dtype = CM_F32;
            OK(cm_image_decode(NULL, bytes, size, &r, &as_floats));
            ck_assert(back.n == 1 && back.channels == 3 && back.height == H && back.width == W &&
                      back.dtype == CM_U8);
            ck_assert(as_floats.dtype == CM_F32 && as_floats.layout == CM_LAYOUT_PLANAR && as_floats.height == H);
            if (kind == CM_IMAGE_FORMAT_PNG) ck_assert_mem_eq(back.data, pixels, 3 * H * W);
            for (int i = 0; i < 3 * H * W; i++)
                ck_assert_float_eq(((float *)as_floats.data)[i % 3 * H * W + i / 3],
                                   (float)((uint8_t *)back.data)[i] / 127.5f - 1.0f);
            OK(cm_image_encode(NULL, &back, &o, &again, &again_size));
            if (kind == CM_IMAGE_FORMAT_PNG) ck_assert(again_size == size && memcmp(again, bytes, size) == 0);
            cm_bytes_free(NULL, again);
            cm_image_free(context, &back);
            cm_image_free(NULL, &as_floats);
            ck_assert(!back.data && back.n == 0);
            cm_image_free(context, &back); /* nothing any more */
            for (size_t cut = 0; cut < size; cut += 1 + size / 40) {
                FAILS(cm_image_decode(context, bytes, cut, NULL, &back), CM_ERR_FORMAT, "cm_image_decode");
                ck_assert_ptr_null(back.data);
            }
            cm_bytes_free(context, bytes);
        }
    }
    free(pixels);
}
END_TEST

START_TEST(alpha_is_written)
{
    uint8_t pixels[2 * 2 * 4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}, *bytes;
    size_t size;
    for (int32_t channels = 1; channels <= 4; channels++) {
        const cm_images image = cm_images_u8(1, 2, 2, channels, pixels);
        cm_images back = CM_IMAGES_INIT;
        cm_image_read_options r = CM_IMAGE_READ_OPTIONS_INIT;
        r.channels = channels;
        OK(cm_image_encode(context, &image, NULL, &bytes, &size));
        OK(cm_image_decode(context, bytes, size, &r, &back));
        ck_assert(back.channels == channels && memcmp(back.data, pixels, 4 * (size_t)channels) == 0);
        cm_image_free(context, &back);
        back.struct_size = offsetof(cm_images, data); /* the picture would be lost */
        FAILS(cm_image_decode(context, bytes, size, &r, &back), CM_ERR_ARGUMENT, "does not reach its member data");
        cm_image_free(context, &back);
        cm_bytes_free(context, bytes);
    }
}
END_TEST

START_TEST(memory_arguments)
{
    uint8_t pixels[16] = {0}, *bytes = pixels;
    size_t size = 3;
    cm_images image = cm_images_u8(1, 2, 2, 1, pixels), out = CM_IMAGES_INIT;
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    cm_image_read_options r = CM_IMAGE_READ_OPTIONS_INIT;
    FAILS(cm_image_encode(context, &image, NULL, NULL, &size), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_image_encode(context, &image, NULL, &bytes, NULL), CM_ERR_ARGUMENT, "NULL");
    FAILS(cm_image_encode(context, NULL, NULL, &bytes, &size), CM_ERR_ARGUMENT, "NULL");
    ck_assert(!bytes && !size);
    o.overwrite = CM_OVERWRITE_YES;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "overwrite has no effect");
    o.overwrite = 2;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "overwrite is 2");
    o.overwrite = 0, o.quality = 5;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "quality 5 has no effect");
    o.quality = -1;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "quality is -1");
    o.quality = 0, o.format = 3;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_ARGUMENT, "format is 3");
    o.format = CM_IMAGE_FORMAT_JPEG;
    FAILS(cm_image_write(context, in_dir("name.png"), &image, &o), CM_ERR_ARGUMENT, "is the name of another");
    image.n = 2;
    FAILS(cm_image_encode(context, &image, NULL, &bytes, &size), CM_ERR_SHAPE, "2 images");
    image.n = 1, image.channels = 2;
    FAILS(cm_image_encode(context, &image, &o, &bytes, &size), CM_ERR_UNSUPPORTED, "no alpha");
    image.channels = 5, image.height = image.width = 1;
    FAILS(cm_image_encode(context, &image, NULL, &bytes, &size), CM_ERR_SHAPE, "5 channels");
    FAILS(cm_image_decode(context, NULL, 4, NULL, &out), CM_ERR_ARGUMENT, "bytes is NULL");
    FAILS(cm_image_decode(context, pixels, 4, NULL, NULL), CM_ERR_ARGUMENT, "out is NULL");
    FAILS(cm_image_decode(context, pixels, SIZE_MAX, NULL, &out), CM_ERR_LIMIT, "at most");
    r.channels = 5;
    FAILS(cm_image_decode(context, pixels, 4, &r, &out), CM_ERR_ARGUMENT, "0..4");
    r.channels = 0, r.dtype = CM_I32;
    FAILS(cm_image_read(context, in_dir("none.png"), &r, &out), CM_ERR_ARGUMENT, "dtype is 5");
    out.struct_size = 0;
    FAILS(cm_image_decode(context, pixels, 4, NULL, &out), CM_ERR_ARGUMENT, "cm_images_init");
    /* A format makes any name a picture's. */
    image = cm_images_u8(1, 2, 2, 1, pixels);
    OK(cm_image_write(context, in_dir("no_ending"), &image, &o));
    cm_images_init(&out, sizeof out);
    OK(cm_image_read(context, in_dir("no_ending"), NULL, &out));
    cm_image_free(context, &out);
}
END_TEST

/* Every allocation of encoding and decoding may fail; nothing stays behind. */
START_TEST(coding_without_memory)
{
    uint8_t *pixels = noise_picture(40, 33, 3), *bytes;
    const cm_images image = cm_images_u8(1, 40, 33, 3, pixels);
    size_t size;
    memory m;
    cm_context *poor;
    memory_reset(&m);
    cm_context_options co = memory_options(&m, 1);
    OK(cm_context_create(&co, &poor));
    for (int kind = CM_IMAGE_FORMAT_PNG; kind <= CM_IMAGE_FORMAT_JPEG; kind++) {
        cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
        cm_image_read_options r = CM_IMAGE_READ_OPTIONS_INIT;
        cm_status status = CM_ERR_MEMORY;
        long live = m.live, failed = 0;
        o.format = kind, r.dtype = CM_F32;
        for (long k = 1; status != CM_OK && k < 1000; k++) {
            cm_images back = CM_IMAGES_INIT;
            bytes = NULL;
            m.requests = 0, m.fail_at = k;
            status = cm_image_encode(poor, &image, &o, &bytes, &size);
            if (status == CM_OK) status = cm_image_decode(poor, bytes, size, &r, &back);
            m.fail_at = 0;
            ck_assert_msg(status == CM_OK || status == CM_ERR_MEMORY, "request %ld: %s", k, cm_last_message());
            failed += status != CM_OK;
            cm_image_free(poor, &back);
            cm_bytes_free(poor, bytes);
            ck_assert_int_eq(m.live, live);
        }
        ck_assert(status == CM_OK && failed > 4);
    }
    free(pixels);
    cm_context_free(poor);
}
END_TEST

START_TEST(u8_conversion)
{
    float x[256];
    uint8_t u[256], v[256];
    for (int i = 0; i < 256; i++) u[i] = (uint8_t)i;
    OK(bytes_to_floats(1, 1, 16, 16, u, x));
    ck_assert(x[0] == -1 && x[255] == 1);
    OK(floats_to_bytes(1, 1, 16, 16, x, v));
    ck_assert_mem_eq(u, v, 256);
    float edge[4] = {-7, 7, 0.0f / 0.0f, 0};
    OK(floats_to_bytes(1, 1, 2, 2, edge, v));
    ck_assert(v[0] == 0 && v[1] == 255 && v[2] == 0 && v[3] == 128);
    float planes[6] = {-1, 0, 1, 1, 0, -1}; /* 3 channels of 1 x 2 */
    OK(floats_to_bytes(1, 3, 1, 2, planes, v));
    static const uint8_t mixed[6] = {0, 255, 128, 128, 255, 0};
    ck_assert_mem_eq(v, mixed, 6);
    FAILS(floats_to_bytes(0, 1, 2, 2, edge, v), CM_ERR_ARGUMENT, "at least one");
    FAILS(floats_to_bytes(1, 1, 0, 2, edge, v), CM_ERR_ARGUMENT, "one pixel");
}
END_TEST

START_TEST(grids)
{
    int32_t h, w;
    uint8_t pixels[5] = {1, 2, 3, 4, 5}, page[64];
    cm_images images = cm_images_u8(5, 1, 1, 1, pixels), paper = cm_images_u8(1, 5, 7, 1, page);
    OK(cm_image_grid_size(&images, 3, 1, &h, &w));
    ck_assert(h == 5 && w == 7);
    OK(cm_image_grid(&images, 3, 1, 9, &paper));
    static const uint8_t want[35] = {9, 9, 9, 9, 9, 9, 9, 9, 1, 9, 2, 9, 3, 9, 9, 9, 9, 9,
                                     9, 9, 9, 9, 4, 9, 5, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    ck_assert_mem_eq(page, want, 35);
    FAILS(cm_image_grid_size(&images, 0, 1, &h, &w), CM_ERR_ARGUMENT, "cm_image_grid_size: 0 columns");
    FAILS(cm_image_grid_size(&images, 1, -1, &h, &w), CM_ERR_ARGUMENT, "margin");
    FAILS(cm_image_grid_size(&images, 1, 1, &h, NULL), CM_ERR_ARGUMENT, "NULL");
    paper.width = 8;
    FAILS(cm_image_grid(&images, 3, 1, 9, &paper), CM_ERR_SHAPE,
          "1 x 5 x 8 (channels, height, width), expected 1 x 5 x 7");
    paper.width = 7, paper.n = 2;
    FAILS(cm_image_grid(&images, 3, 1, 9, &paper), CM_ERR_SHAPE, "2 pages");
    paper.n = 1, images.data = page + 3;
    FAILS(cm_image_grid(&images, 3, 1, 9, &paper), CM_ERR_ARGUMENT, "memory of what it is made from");
    images = cm_images_u8(1000000, 100, 100, 1, NULL);
    FAILS(cm_image_grid_size(&images, 1, 0, &h, &w), CM_ERR_LIMIT, "limits");
}
END_TEST

/* Names stand above the grid, which is that of cm_image_grid, and nothing of them reaches the next column's. */
START_TEST(named_grids)
{
    enum { SIDE = 16, MARGIN = 2, WIDTH = 2 * SIDE + 3 * MARGIN, HEIGHT = SIDE + 2 * MARGIN, MOST = 3 * 9 + MARGIN };
    static uint8_t pixels[2 * SIDE * SIDE], plain[HEIGHT * WIDTH], page[(HEIGHT + MOST) * WIDTH];
    const char *names[2] = {"cat", NULL};
    int32_t h, w;
    memset(pixels, 7, sizeof pixels);
    cm_images images = cm_images_u8(2, SIDE, SIDE, 1, pixels), paper = cm_images_u8(1, HEIGHT, WIDTH, 1, plain);
    OK(cm_image_grid(&images, 2, MARGIN, 100, &paper));
    OK(cm_image_named_grid_size(&images, 2, MARGIN, NULL, &h, &w));
    ck_assert(h == HEIGHT && w == WIDTH);
    OK(cm_image_named_grid_size(&images, 2, MARGIN, names, &h, &w));
    ck_assert(h == HEIGHT + 9 + MARGIN && w == WIDTH);
    paper = cm_images_u8(1, h, w, 1, page);
    OK(cm_image_named_grid(&images, 2, MARGIN, 100, names, &paper));
    ck_assert_mem_eq(page + (9 + MARGIN) * WIDTH, plain, sizeof plain);
    int ink = 0;
    for (int i = 0; i < (9 + MARGIN) * WIDTH; i++) {
        ck_assert(page[i] == 100 || (page[i] == 255 && i % WIDTH < SIDE + MARGIN));
        ink += page[i] == 255;
    }
    ck_assert_int_eq(ink, 7 + 11 + 10); /* c, a and t as they are drawn */
    names[1] = "a word without an end and \xc3\xbc";
    OK(cm_image_named_grid_size(&images, 2, MARGIN, names, &h, &w));
    ck_assert_int_eq(h, HEIGHT + MOST);
    paper = cm_images_u8(1, h, w, 1, page);
    OK(cm_image_named_grid(&images, 2, MARGIN, 200, names, &paper));
    ck_assert_mem_ne(page + MOST * WIDTH, plain, sizeof plain); /* another background */
    FAILS(cm_image_named_grid(&images, 2, MARGIN, 200, NULL, &paper), CM_ERR_SHAPE, "cm_image_named_grid: page");
    FAILS(cm_image_named_grid_size(&images, 0, 1, names, &h, &w), CM_ERR_ARGUMENT, "cm_image_named_grid_size: 0");
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("images");
    TCase *t = tcase_create("images");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, views_against_the_formula);
    tcase_add_test(t, overlaps_are_refused);
    tcase_add_test(t, overlaps_are_found_in_time);
    tcase_add_test(t, view_arguments);
    tcase_add_test(t, encoded_in_memory);
    tcase_add_test(t, alpha_is_written);
    tcase_add_test(t, memory_arguments);
    tcase_add_test(t, coding_without_memory);
    tcase_add_test(t, u8_conversion);
    tcase_add_test(t, grids);
    tcase_add_test(t, named_grids);
    suite_add_tcase(s, t);
    return s;
}
