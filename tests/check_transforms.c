/* What becomes of a picture on its way to a network: crops and sizes, and EDM's augmentations. */
#include "support/suite.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/context.h"
#include "data/augment.h"
#include "data/resize.h"
#include "support/memory.h"
#include "support/pictures.h"
#include "support/sets.h"

START_TEST(crops)
{
    cm_dataset_options o = in_order();
    cm_dataset *d;
    static uint8_t wide[40 * 100 * 3];
    float a[3 * 16 * 16], b[3 * 16 * 16];
    ck_assert_int_eq(mkdir(in_dir("wide"), 0777), 0);
    for (size_t i = 0; i < sizeof wide; i++) wide[i] = (uint8_t)(i * 7);
    OK(write_picture(NULL, in_dir("wide/a.png"), 3, 40, 100, wide, 0, 1));
    d = open_set(in_dir("wide"), &o);
    ck_assert_int_eq(info_of(d).height, 40); /* the shorter side */
    cm_dataset_free(d);
    o.height = 16;
    o.random_crop = 1;
    d = open_set(in_dir("wide"), &o);
    int differ = 0;
    for (uint64_t p = 1; p < 6; p++) {
        OK(read_floats(d, 0, 1, a, NULL));
        OK(read_floats(d, p, 1, b, NULL));
        differ += memcmp(a, b, sizeof a) != 0;
        OK(read_floats(d, 0, 1, b, NULL));
        ck_assert_mem_eq(a, b, sizeof a);
    }
    ck_assert_int_ge(differ, 3);
    cm_dataset_free(d);
    o.width = 8;
    FAILS(cm_dataset_open(NULL, in_dir("wide"), &o, &d), CM_ERR_ARGUMENT, "only squares");
}
END_TEST

/* A region of a resized picture is the region of the whole one, in every direction. */
START_TEST(parts_of_resized_pictures)
{
    enum { SIDE = 61 };
    static uint8_t pixels[SIDE * SIDE * 3];
    uint64_t seed = seeded(4);
    cm_context *own;
    OK(cm_context_create(NULL, &own));
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)random_int(&seed, 0, 255);
    for (int k = 0; k < 400; k++) {
        int32_t c = k % 2 ? 1 : 3, h = random_int(&seed, 1, SIDE), w = random_int(&seed, 1, SIDE);
        int32_t oh = k % 5 ? random_int(&seed, 1, 90) : h, ow = k % 7 ? random_int(&seed, 1, 90) : w,
                filter = k % 3 != 0;
        const cm_picture in = {c, h, w, pixels};
        cm_picture whole, piece;
        cm_part region = {random_int(&seed, 0, oh - 1), random_int(&seed, 0, ow - 1), 0, 0};
        region.height = random_int(&seed, 1, oh - (int32_t)region.y),
        region.width = random_int(&seed, 1, ow - (int32_t)region.x);
        OK(cmi_resize_part(own, &in, oh, ow, filter, &(cm_part){0, 0, oh, ow}, &whole));
        OK(cmi_resize_part(own, &in, oh, ow, filter, &region, &piece));
        ck_assert(whole.height == oh && whole.width == ow && piece.height == region.height &&
                  piece.width == region.width);
        for (int32_t y = 0; y < region.height; y++)
            ck_assert_msg(memcmp(piece.pixels + y * region.width * c,
                                 whole.pixels + ((region.y + y) * ow + region.x) * c,
                                 (size_t)(region.width * c)) == 0,
                          "case %d, row %d", k, y);
        cmi_free(own, whole.pixels), cmi_free(own, piece.pixels);
    }
    cm_context_free(own);
}
END_TEST

/* Pictures of one pixel by very many cost what they hold, whichever way they lie. */
START_TEST(thin_pictures)
{
    enum { LONG = 60000, SIDE = 256 };
    static uint8_t pixels[LONG], page[SIDE * SIDE];
    static float image[SIDE * SIDE];
    memory m;
    for (int i = 0; i < LONG; i++) pixels[i] = (uint8_t)(i / 300); /* the middle is 100 */
    for (int lying = 0; lying < 2; lying++)
        for (int random = 0; random < 2; random++) {
            cm_dataset_options o = in_order();
            cm_context_options co;
            cm_context *own;
            cm_dataset *d;
            memory_reset(&m);
            co = memory_options(&m, 1);
            o.channels = 1, o.height = SIDE, o.random_crop = random;
            (void)mkdir(in_dir("thin"), 0777);
            OK(write_picture(NULL, in_dir("thin/a.png"), 1, lying ? 1 : LONG, lying ? LONG : 1, pixels, 0, 1));
            OK(cm_context_create(&co, &own));
            OK(cm_dataset_open(own, in_dir("thin"), &o, &d));
            OK(read_floats(d, 0, 1, image, NULL));
            if (!random)
                for (int i = 0; i < SIDE * SIDE; i++) ck_assert(fabs((double)image[i] - (100 / 127.5 - 1)) < 0.01);
            ck_assert_msg(m.peak < 4 << 20, "lying %d, random %d: %lld bytes", lying, random, m.peak);
            cm_dataset_free(d);
            cm_context_free(own);
            memory_reset(&m);
            OK(cm_context_create(&co, &own));
            OK(fit_bytes(own, CM_FIT_CROP, 0, 1, lying ? 1 : LONG, lying ? LONG : 1, pixels, SIDE, SIDE, page));
            for (int i = 0; i < SIDE * SIDE; i++) ck_assert(page[i] == 100 || page[i] == 99);
            OK(fit_bytes(own, CM_FIT_PAD, 7, 1, lying ? 1 : LONG, lying ? LONG : 1, pixels, SIDE, SIDE, page));
            OK(fit_bytes(own, CM_FIT_RESIZE, 0, 1, lying ? 1 : LONG, lying ? LONG : 1, pixels, SIDE, SIDE, page));
            ck_assert_msg(m.peak < 32 << 20, "lying %d: %lld bytes", lying, m.peak);
            cm_context_free(own);
        }
    /* as wide as a picture may be, at the largest size: no number overflows */
    int64_t height, width;
    cmi_shrunk_size(1, 65535, 65535, &height, &width);
    ck_assert(height == 65535 && width == 65535ll * 65535);
}
END_TEST

/* --- augmentations -------------------------------------------------------------------------------------- */

START_TEST(augmentation_without_change_gives_the_image_back)
{
    cm_context *own;
    cm_augmenter *a;
    const double identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, quarter[9] = {0, -1, 0, 1, 0, 0, 0, 0, 1};
    float in[2 * 20 * 20], out[2 * 20 * 20];
    uint64_t state = seeded(4);
    OK(cm_context_create(NULL, &own));
    OK(cmi_augmenter_create(own, 2, 20, 20, 0.5, 0, 9, &a));
    for (size_t i = 0; i < 800; i++) in[i] = random_float(&state);
    cmi_augmenter_resample(a, identity, in, out);
    for (size_t i = 0; i < 800; i++) /* algorithms 4.11: within 4e-6 */
        ck_assert_msg(fabs((double)out[i] - (double)in[i]) < 4e-6, "value %zu: %g, was %g", i, (double)out[i],
                      (double)in[i]);
    /* A quarter turn of a smooth image, away from the edges: out(q) = in(G q).  The
     * filter is not quite symmetric, so this holds to three hundredths only. */
    for (int i = 0; i < 400; i++) in[i] = (float)sin(0.2 * (i % 20) + 0.1 * (i / 20));
    cmi_augmenter_resample(a, quarter, in, out);
    for (int y = 5; y < 15; y++)
        for (int x = 5; x < 15; x++)
            ck_assert_msg(fabs((double)out[20 * y + x] - (double)in[20 * x + 19 - y]) < 0.03,
                          "%d %d: %g, expected %g", y, x, (double)out[20 * y + x], (double)in[20 * x + 19 - y]);
    cmi_augmenter_free(a);
    cm_context_free(own);
}
END_TEST

START_TEST(augmentation_labels_tell_what_was_done)
{
    cm_context *own;
    cm_augmenter *a;
    float in[16 * 16], out[16 * 16], labels[9];
    int seen[9] = {0};
    OK(cm_context_create(NULL, &own));
    OK(cmi_augmenter_create(own, 1, 16, 16, 0.12, 0, 9, &a));
    for (int i = 0; i < 256; i++) in[i] = (float)(i % 16) / 8 - 1;
    for (uint64_t k = 0; k < 2000; k++) {
        const cm_stream s = {1, k, 4};
        cmi_augmenter_image(a, &s, in, out, labels);
        int none = 1;
        for (int i = 0; i < 9; i++) seen[i] += labels[i] != 0;
        for (int i = 1; i < 9; i++) none &= labels[i] == 0;
        for (int i = 0; none && i < 256; i++) { /* mirrored or not, nothing else */
            float want = in[labels[0] != 0 ? i / 16 * 16 + 15 - i % 16 : i];
            ck_assert_msg(fabs((double)out[i] - (double)want) < 4e-6, "image %d value %d", (int)k, i);
        }
    }
    ck_assert_msg(abs(seen[0] - 1000) < 120, "mirrored %d of 2000", seen[0]);
    ck_assert_msg(abs(seen[1] - 120) < 50, "upside down %d of 2000", seen[1]);
    for (int i = 2; i < 9; i++) { /* the axis of label 6 is 0 half of the time */
        int expected = i == 6 ? 120 : 240;
        ck_assert_msg(abs(seen[i] - expected) < 75, "label %d: %d of 2000", i, seen[i]);
    }
    cmi_augmenter_free(a);
    cm_context_free(own);
}
END_TEST

/* The same draws without two of the rows: where the whole pipeline had these off too, the same image. */
START_TEST(six_labels_are_those_without_turns)
{
    static const int kept[6] = {0, 2, 5, 6, 7, 8};
    cm_context *own;
    cm_augmenter *whole, *fewer;
    float in[3 * 12 * 12], out[3 * 12 * 12], other[3 * 12 * 12], labels[9], six[7];
    int same = 0, changed = 0, seen[6] = {0};
    uint64_t state = seeded(6);
    OK(cm_context_create(NULL, &own));
    OK(cmi_augmenter_create(own, 3, 12, 12, 0.3, 0, 9, &whole));
    OK(cmi_augmenter_create(own, 3, 12, 12, 0.3, 0, 6, &fewer));
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) in[i] = random_float(&state);
    for (uint64_t k = 0; k < 400; k++) {
        const cm_stream s = {1, k, 4};
        six[6] = 17;
        cmi_augmenter_image(whole, &s, in, out, labels);
        cmi_augmenter_image(fewer, &s, in, other, six);
        ck_assert(six[6] == 17); /* no more than that is written */
        for (int i = 0; i < 6; i++) ck_assert(six[i] == labels[kept[i]]);
        for (int i = 0; i < 6; i++) seen[i] += six[i] != 0;
        const int turned = labels[1] != 0 || labels[3] != 0 || labels[4] != 0;
        ck_assert_int_eq(memcmp(out, other, sizeof out) != 0, turned);
        if (turned) changed++;
        else same++;
    }
    ck_assert(same > 150 && changed > 100);
    for (int i = 0; i < 6; i++) ck_assert_int_gt(seen[i], i == 0 ? 150 : 30);
    cmi_augmenter_free(whole);
    cmi_augmenter_free(fewer);
    cm_context_free(own);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("transforms");
    TCase *t = tcase_create("transforms");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, crops);
    tcase_add_test(t, parts_of_resized_pictures);
    tcase_add_test(t, thin_pictures);
    tcase_add_test(t, augmentation_without_change_gives_the_image_back);
    tcase_add_test(t, augmentation_labels_tell_what_was_done);
    tcase_add_test(t, six_labels_are_those_without_turns);
    suite_add_tcase(s, t);
    return s;
}
