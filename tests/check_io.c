/* Files that appear whole or not at all, safetensors both ways, pictures. */
#include "support/suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/picture.h"
#include "io/safetensors.h"
#include "nets/checkpoint.h"

static char dir[32];
static cm_context *context;

static void setup(void)
{
    strcpy(dir, "/tmp/cm-io-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    OK(cm_context_create(NULL, &context));
}

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int files_in_dir(void)
{
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void teardown(void)
{
    char command[128];
    cm_context_free(context);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(whole_or_nothing)
{
    cm_file_writer w;
    cm_mapping m;
    OK(cm_file_create(context, in_dir("a"), 0, &w));
    OK(cm_file_write(&w, "hello", 5));
    ck_assert_int_ne(access(in_dir("a"), F_OK), 0); /* not under its name yet */
    OK(cm_file_commit(&w));
    OK(cm_mapping_open(in_dir("a"), &m));
    ck_assert(m.size == 5 && memcmp(m.data, "hello", 5) == 0);
    cm_mapping_close(&m);
    FAILS(cm_file_create(context, in_dir("a"), 0, &w), CM_ERR_IO, "exists");
    OK(cm_file_create(context, in_dir("a"), 1, &w));
    OK(cm_file_write(&w, "other", 5));
    cm_file_abort(&w);
    OK(cm_mapping_open(in_dir("a"), &m));
    ck_assert(memcmp(m.data, "hello", 5) == 0); /* as it was */
    cm_mapping_close(&m);
    ck_assert_int_eq(files_in_dir(), 1);
    FAILS(cm_file_create(context, in_dir("no/such/dir"), 0, &w), CM_ERR_IO, "No such file");
    FAILS(cm_mapping_open(dir, &m), CM_ERR_IO, "regular");
    FAILS(cm_mapping_open("/dev/zero", &m), CM_ERR_IO, "regular");
    ck_assert_int_eq(mkfifo(in_dir("pipe"), 0600), 0);
    FAILS(cm_mapping_open(in_dir("pipe"), &m), CM_ERR_IO, "regular");
}
END_TEST

/* The disk is full after 64 KiB. */
START_TEST(full_disk)
{
    static char block[1 << 20];
    struct rlimit small, before;
    cm_file_writer w;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 65536;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    OK(cm_file_create(context, in_dir("big"), 0, &w));
    FAILS(cm_file_write(&w, block, sizeof block), CM_ERR_IO, "big");
    cm_file_abort(&w);
    ck_assert_int_eq(files_in_dir(), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
}
END_TEST

START_TEST(safetensors_round_trip)
{
    static const float values[6] = {0, 1, 2, 3, -4, 5.5f};
    static const unsigned char bytes[3] = {7, 8, 9};
    cm_st_tensor t[3] = {{"b\"\\\n\xc3\xa9", CM_ST_F32, 2, {2, 3}, 6, 24, (const unsigned char *)values},
                         {"empty", CM_ST_F32, 2, {0, 4}, 0, 0, (const unsigned char *)values},
                         {"u8", CM_ST_U8, 1, {3}, 3, 3, bytes}};
    cm_safetensors st;
    json_t *metadata = json_pack("{s:s}", "key", "value");
    OK(cm_safetensors_write(context, in_dir("t"), 0, metadata, t, 3));
    json_decref(metadata);
    OK(cm_safetensors_open(context, in_dir("t"), &st));
    ck_assert_uint_eq(st.count, 3);
    ck_assert_str_eq(cm_safetensors_metadata(&st, "key"), "value");
    const cm_st_tensor *b = cm_safetensors_find(&st, t[0].name);
    ck_assert(b && b->rank == 2 && b->shape[1] == 3 && memcmp(b->data, values, 24) == 0);
    ck_assert_uint_eq((size_t)(b->data - st.mapping.data) % 8, 0);
    ck_assert(cm_safetensors_find(&st, "u8")->data[2] == 9);
    ck_assert_ptr_null(cm_safetensors_find(&st, "nothing"));
    cm_safetensors_close(&st);
}
END_TEST

/* header text, then what the message has to say */
START_TEST(safetensors_refusals)
{
    static const struct {
        const char *header;
        size_t data;
        cm_status status;
        const char *word;
    } rows[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT, "need 8 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, CM_ERR_FORMAT, "trailing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, CM_ERR_FORMAT, "hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT, "integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT, "integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, CM_ERR_FORMAT,
         "overflow"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, CM_ERR_UNSUPPORTED, "F33"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, CM_ERR_LIMIT, "rank"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, CM_ERR_FORMAT,
         "unknown member"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, CM_ERR_FORMAT, "shape"},
        {"{\"a\":[]}", 0, CM_ERR_FORMAT, "object"},
        {"{\"__metadata__\":{\"k\":1}}", 0, CM_ERR_FORMAT, "string"},
        {"{\"a\":1,\"a\":2}", 0, CM_ERR_FORMAT, "JSON"},
        {"{} x", 0, CM_ERR_FORMAT, "JSON"},
        {"{", 0, CM_ERR_FORMAT, "JSON"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char file[1024] = {0};
        size_t n = strlen(rows[i].header);
        cm_safetensors st;
        file[0] = (unsigned char)n, file[1] = (unsigned char)(n >> 8);
        memcpy(file + 8, rows[i].header, n);
        FAILS(cm_safetensors_parse(context, "file", file, 8 + n + rows[i].data, &st), rows[i].status, rows[i].word);
    }
}
END_TEST

static uint8_t *noise_picture(int h, int w, int c)
{
    uint64_t seed = 9;
    uint8_t *p = malloc((size_t)(h * w * c));
    for (int i = 0; i < h * w * c; i++) p[i] = (uint8_t)(random_int(&seed, 0, 30) + i % 200);
    return p;
}

START_TEST(png_both_ways)
{
    static const int shapes[4][3] = {{1, 1, 1}, {3, 5, 3}, {17, 2, 1}, {40, 33, 3}};
    for (int i = 0; i < 4; i++) {
        int32_t h = shapes[i][0], w = shapes[i][1], c = shapes[i][2], rc = 0, rh, rw;
        uint8_t *p = noise_picture(h, w, c), *q;
        OK(cm_image_write(context, in_dir("p.png"), c, h, w, p, 0, 1));
        OK(cm_image_read(context, in_dir("p.png"), &rc, &rh, &rw, &q));
        ck_assert(rc == c && rh == h && rw == w && memcmp(p, q, (size_t)(h * w * c)) == 0);
        cm_image_free(context, q);
        free(p);
    }
}
END_TEST

START_TEST(jpeg_both_ways)
{
    int32_t c = 0, h, w;
    uint8_t p[32 * 32 * 3], *q;
    for (int i = 0; i < 32 * 32; i++)
        p[3 * i] = (uint8_t)(8 * (i % 32)), p[3 * i + 1] = (uint8_t)(i / 4), p[3 * i + 2] = 100;
    OK(cm_image_write(context, in_dir("p.jpg"), 3, 32, 32, p, 0, 0));
    FAILS(cm_image_write(context, in_dir("p.jpg"), 3, 32, 32, p, 90, 0), CM_ERR_IO, "exists");
    OK(cm_image_read(context, in_dir("p.jpg"), &c, &h, &w, &q));
    ck_assert(c == 3 && h == 32 && w == 32);
    for (int i = 0; i < 32 * 32 * 3; i++) ck_assert_int_le(abs(p[i] - q[i]), 24);
    cm_image_free(context, q);
    c = 1;
    OK(cm_image_read(context, in_dir("p.jpg"), &c, &h, &w, &q));
    cm_image_free(context, q);
}
END_TEST

/* Cut at every byte and with flipped bits: a picture or an error, never more. */
START_TEST(damaged_pictures)
{
    static const char *const names[2] = {"d.png", "d.jpg"};
    uint8_t *p = noise_picture(20, 20, 3);
    for (int kind = 0; kind < 2; kind++) {
        cm_mapping m;
        cm_picture out;
        OK(cm_image_write(context, in_dir(names[kind]), 3, 20, 20, p, 0, 1));
        OK(cm_mapping_open(in_dir(names[kind]), &m));
        unsigned char *copy = malloc(m.size);
        memcpy(copy, m.data, m.size);
        for (size_t n = 0; n < m.size; n++) {
            cm_status s =
                kind ? cm_jpeg_read(context, "cut", copy, n, 0, &out) : cm_png_read(context, "cut", copy, n, 0, &out);
            ck_assert_msg(s != CM_OK || n + 2 >= m.size || (kind == 0 && n + 12 > m.size),
                          "%s cut at %zu of %zu was read", names[kind], n, m.size);
            if (s == CM_OK) cm_free(context, out.pixels);
        }
        for (size_t i = 0; i < 3000; i++) {
            size_t at = i * 7919 % m.size;
            copy[at] ^= (unsigned char)(1 << i % 8);
            cm_status s = kind ? cm_jpeg_read(context, "flip", copy, m.size, 0, &out)
                               : cm_png_read(context, "flip", copy, m.size, 0, &out);
            if (s == CM_OK) cm_free(context, out.pixels);
            copy[at] = m.data[at];
        }
        free(copy);
        cm_mapping_close(&m);
    }
    free(p);
}
END_TEST

START_TEST(hostile_pictures)
{
    /* IHDR of 65,536 x 65,536 and a JPEG header of 65,500 x 65,500 */
    unsigned char png[] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0,
                           1,    0,   0,   0,   1,  0,  0,  8,  2, 0, 0, 0,  0,   0,   0,   0};
    unsigned char jpg[] = {0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0xff, 0xdc, 0xff, 0xdc, 1, 1,
                           0x11, 0,    0xff, 0xda, 0, 8,  1, 1,    0,    0,    63,   0};
    cm_picture out;
    ck_assert_int_ne(cm_png_read(context, "huge.png", png, sizeof png, 0, &out), CM_OK);
    ck_assert(strstr(cm_last_message(), "huge.png") != NULL);
    FAILS(cm_jpeg_read(context, "huge.jpg", jpg, sizeof jpg, 0, &out), CM_ERR_LIMIT, "65500");
    jpg[7] = 0, jpg[9] = 9; /* 220 x 2524 pixels: within the limits, but not in 25 bytes */
    FAILS(cm_jpeg_read(context, "big.jpg", jpg, sizeof jpg, 0, &out), CM_ERR_FORMAT, "cannot hold");
    int32_t c = 0, h, w;
    uint8_t *q;
    FAILS(cm_image_read(context, "Makefile", &c, &h, &w, &q), CM_ERR_FORMAT, "neither");
    FAILS(cm_image_read(context, in_dir("none.png"), &c, &h, &w, &q), CM_ERR_IO, "none.png");
}
END_TEST

START_TEST(u8_conversion)
{
    float x[256];
    uint8_t u[256], v[256];
    for (int i = 0; i < 256; i++) u[i] = (uint8_t)i;
    OK(cm_image_from_u8(1, 1, 16, 16, u, x));
    ck_assert(x[0] == -1 && x[255] == 1);
    OK(cm_image_to_u8(1, 1, 16, 16, x, v));
    ck_assert_mem_eq(u, v, 256);
    float edge[4] = {-7, 7, 0.0f / 0.0f, 0};
    OK(cm_image_to_u8(1, 1, 2, 2, edge, v));
    ck_assert(v[0] == 0 && v[1] == 255 && v[2] == 0 && v[3] == 128);
    float planes[6] = {-1, 0, 1, 1, 0, -1}; /* 3 channels of 1 x 2 */
    OK(cm_image_to_u8(1, 3, 1, 2, planes, v));
    static const uint8_t mixed[6] = {0, 255, 128, 128, 255, 0};
    ck_assert_mem_eq(v, mixed, 6);
    FAILS(cm_image_to_u8(0, 1, 2, 2, edge, v), CM_ERR_ARGUMENT, "at least one");
    FAILS(cm_image_to_u8(1, 2, 2, 2, edge, v), CM_ERR_ARGUMENT, "channels");
    FAILS(cm_image_to_u8(1, 1, 0, 2, edge, v), CM_ERR_ARGUMENT, "pixels");
}
END_TEST

START_TEST(grids)
{
    int32_t h, w;
    uint8_t pixels[5] = {1, 2, 3, 4, 5}, page[64];
    OK(cm_image_grid_size(5, 3, 1, 1, 1, &h, &w));
    ck_assert(h == 5 && w == 7);
    OK(cm_image_grid(5, 3, 1, 9, 1, 1, 1, pixels, page));
    static const uint8_t want[35] = {9, 9, 9, 9, 9, 9, 9, 9, 1, 9, 2, 9, 3, 9, 9, 9, 9, 9,
                                     9, 9, 9, 9, 4, 9, 5, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    ck_assert_mem_eq(page, want, 35);
    FAILS(cm_image_grid_size(5, 0, 1, 1, 1, &h, &w), CM_ERR_ARGUMENT, "columns");
    FAILS(cm_image_grid_size(1000000, 1, 0, 100, 100, &h, &w), CM_ERR_LIMIT, "limits");
}
END_TEST

START_TEST(picture_arguments)
{
    uint8_t p[4] = {0};
    FAILS(cm_image_write(context, in_dir("x.gif"), 1, 2, 2, p, 0, 0), CM_ERR_ARGUMENT, ".png");
    FAILS(cm_image_write(context, in_dir("x.png"), 1, 2, 2, p, 90, 0), CM_ERR_ARGUMENT, "quality");
    FAILS(cm_image_write(context, in_dir("x.jpg"), 1, 2, 2, p, 101, 0), CM_ERR_ARGUMENT, "101");
    FAILS(cm_image_write(context, in_dir("no/x.png"), 1, 2, 2, p, 0, 0), CM_ERR_IO, "no/x.png");
    FAILS(cm_image_write(context, NULL, 1, 2, 2, p, 0, 0), CM_ERR_ARGUMENT, "NULL");
    ck_assert_int_eq(files_in_dir(), 0);
}
END_TEST

/* One NaN or infinity anywhere among values of any type, at any address; the largest number is none. */
START_TEST(finite_values)
{
    static const struct {
        cm_st_type type;
        size_t bytes;
        uint32_t largest, special[4];
    } types[3] = {{CM_ST_F32, 4, 0x7f7fffff, {0x7f800000, 0xff800000, 0x7fc00000, 0xff800001}},
                  {CM_ST_BF16, 2, 0xff7f, {0x7f80, 0xff80, 0x7fc0, 0xff81}},
                  {CM_ST_F16, 2, 0xfbff, {0x7c00, 0xfc00, 0x7e00, 0xfc01}}};
    enum { MOST = 70 };
    unsigned char data[4 * MOST + 1];
    for (size_t t = 0; t < 3; t++)
        for (size_t n = 0; n < MOST; n++) {
            const cm_st_tensor tensor = {.type = types[t].type, .count = n, .data = data + 1};
            const cm_param_source source = {.user = &tensor};
            for (size_t i = 0; i < n; i++) memcpy(data + 1 + i * types[t].bytes, &types[t].largest, types[t].bytes);
            ck_assert_msg(cm_checkpoint_finite(&source), "type %zu, %zu values", t, n);
            for (size_t i = 0; i < n; i++) {
                memcpy(data + 1 + i * types[t].bytes, &types[t].special[i % 4], types[t].bytes);
                ck_assert_msg(!cm_checkpoint_finite(&source), "type %zu, %zu values: [%zu] was not seen", t, n, i);
                memcpy(data + 1 + i * types[t].bytes, &types[t].largest, types[t].bytes);
            }
        }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("io");
    TCase *t = tcase_create("io");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, whole_or_nothing);
    tcase_add_test(t, full_disk);
    tcase_add_test(t, safetensors_round_trip);
    tcase_add_test(t, safetensors_refusals);
    tcase_add_test(t, finite_values);
    tcase_add_test(t, png_both_ways);
    tcase_add_test(t, jpeg_both_ways);
    tcase_add_test(t, damaged_pictures);
    tcase_add_test(t, hostile_pictures);
    tcase_add_test(t, u8_conversion);
    tcase_add_test(t, grids);
    tcase_add_test(t, picture_arguments);
    suite_add_tcase(s, t);
    return s;
}
