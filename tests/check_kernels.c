/* The loops below the ops, called as they are, at every level the processor has: against
 * the same sums written out, or sums of doubles. */
#include "support/cases.h"

#include <math.h>
#include <stdio.h>

#include "attention/attention_amx.h"
#include "base/cpu_level.h"
#include "base/rng.h"
#include "conv/amx.h"
#include "conv/winograd.h"
#include "kernels/kernels.h"
#include "ref/naive.h"

static cm_context *context; /* whose threads help */

static void open_context(void)
{
    OK(cm_context_create(NULL, &context));
}

static void close_context(void)
{
    cm_context_free(context);
}

static float widened(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Of a bfloat16 product: parts of 256 channels, each from zero, the higher channel of a word first. */
static float plain_sum(const uint16_t *a, const uint16_t *b, size_t b_apart, size_t k)
{
    float sum = 0;
    for (size_t first = 0; first < k; first += 256) {
        float part = 0;
        for (size_t i = first; i < k && i < first + 256; i += 2) {
            part += widened(a[i + 1]) * widened(b[(i + 1) * b_apart]);
            part += widened(a[i]) * widened(b[i * b_apart]);
        }
        sum = first ? sum + part : part;
    }
    return sum;
}

/* The products of every level give the bits of the plain loop.  Of the instructions the manual says
 * the same; they are held to the rounding of a few sums. */
START_TEST(bf16_products)
{
    enum { MOST_ROWS = 20, COLUMNS = 64, K = 544 };
    static uint16_t a[MOST_ROWS * K], packed[COLUMNS * K], b[K][COLUMNS];
    static float c[MOST_ROWS * COLUMNS];
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++) {
        const cm_gemm *gemm = cmi_kernels_for(level)->gemm_bf16;
        size_t rows = (size_t)pick(1, MOST_ROWS), columns = 16 * (size_t)pick(1, 4), k = 16 * (size_t)pick(1, K / 16);
        for (size_t i = 0; i < MOST_ROWS * K; i++)
            a[i] = (uint16_t)pick(0x3e00, 0x4080) | (uint16_t)(pick(0, 1) << 15);
        size_t at = 0;
        for (size_t j = 0, width; j < columns; j += width) {
            width = gemm->panel(columns - j);
            for (size_t i = 0; i < k; i += 2)
                for (size_t w = 0; w < width; w++)
                    for (size_t half = 0; half < 2; half++)
                        packed[at++] = b[i + half][j + w] = (uint16_t)pick(0xbe00, 0xc080);
        }
        gemm->product(rows, columns, k, a, K, packed, c, columns);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < columns; j++) {
                float sum = plain_sum(a + r * K, &b[0][j], COLUMNS, k), size = 0;
                for (size_t i = 0; i < k; i++) size += fabsf(widened(a[r * K + i]) * widened(b[i][j]));
                float allowed = level < CM_CPU_AVX512_BF16 ? 0 : 1e-6f * size;
                ck_assert_msg(fabsf(c[r * columns + j] - sum) <= allowed,
                              "level %d, %zu x %zu x %zu: [%zu][%zu] is %.9g, expected %.9g", level, rows, columns, k,
                              r, j, (double)c[r * columns + j], (double)sum);
            }
    }
}
END_TEST

static double *doubles(size_t n, const float *from)
{
    double *to = calloc(n, sizeof *to);
    for (size_t i = 0; i < n; i++) to[i] = (double)from[i];
    return to;
}

/* Errors of Winograd's sums do not grow beyond 128 channels: 1536 of them are no further off (measured
 * 1.1e-6 of the result's rms by tiles of 4 x 4 and 3.8e-7 by 2 x 2; sums from end to end 3.4e-6 and
 * 1.2e-6). */
START_TEST(winograd_rounding)
{
    enum { C = 1536, OUTPUTS = 16 };
    const cm_attr attr = {.conv = {.out = OUTPUTS, .kernel = 3, .stride = 1, .pad = 1}};
    for (int side = 8; side <= 16; side *= 2)
        for (int level = CM_CPU_BASELINE; tried(level) <= cmi_cpu_level() && level <= CM_CPU_AVX512; level++) {
            cm_winograd w;
            const int tile = cmi_winograd_rule(0, 3, 1, 1, C, OUTPUTS, side, side);
            cmi_winograd_init(&w, cmi_kernels_for(level), 0, tile, 0, cmi_one_thread(), 1, side, side, C, OUTPUTS);
            const cm_desc in = {1, side, side, C}, out = {1, side, side, OUTPUTS};
            float *x = numbers(cmi_desc_count(in), 1, 0), *weights = numbers(OUTPUTS * C * 9, 1, 0);
            float *y = calloc(cmi_desc_count(out), sizeof *y);
            double *wide[2] = {doubles(cmi_desc_count(in), x), doubles(OUTPUTS * C * 9, weights)};
            double *want = calloc(cmi_desc_count(out), sizeof *want);
            naive_forward(&cmi_op_conv2d, &attr, &in, (const double *const[]){wide[0]}, NULL,
                          (const double *const[]){wide[1], NULL}, out, want);
            void *packed = aligned_alloc(64, (w.packed_bytes + 63) / 64 * 64);
            void *scratch = aligned_alloc(64, (w.scratch_bytes + 63) / 64 * 64);
            cmi_winograd_pack(&w, weights, packed);
            OK(cmi_winograd_run(&w, x, packed, NULL, NULL, 1, y, scratch));
            double off = 0, size = 0;
            for (size_t i = 0; i < cmi_desc_count(out); i++)
                off += pow((double)y[i] - want[i], 2), size += pow(want[i], 2);
            ck_assert_msg(sqrt(off / size) < (tile == CM_WINOGRAD_4X4 ? 1.5e-6 : 6e-7),
                          "level %d, %s: off by %g of the rms", level, cmi_winograd_name(&w), sqrt(off / size));
            free(x), free(weights), free(y), free(packed), free(scratch);
            free(wide[0]), free(wide[1]), free(want);
        }
}
END_TEST

/* One number of a weight gradient against its sum in double, of factors in bfloat16. */
static void check_gradient(const cm_amx_conv *t, const float *x, const float *dy, const float *dw)
{
    const int side = t->side, tap = pick(0, side * side - 1), k = pick(0, t->c - 1), o = pick(0, t->oc - 1);
    double sum = 0, size = 0;
    for (int image = 0; image < t->n; image++)
        for (int row = 0; row < t->h; row++)
            for (int column = 0; column < t->w; column++) {
                const int from_row = row + tap / side - side / 2, from = column + tap % side - side / 2;
                if (from_row < 0 || from_row >= t->h || from < 0 || from >= t->w) continue;
                float two[16] = {x[((image * t->h + from_row) * t->w + from) * t->c + k],
                                 dy[((image * t->h + row) * t->w + column) * t->oc + o]};
                uint16_t rounded[16];
                t->kernels->round(16, two, rounded);
                const double product = (double)widened(rounded[0]) * (double)widened(rounded[1]);
                sum += product, size += fabs(product);
            }
    const double got = (double)dw[(tap * t->c + k) * t->oc + o];
    ck_assert_msg(fabs(got - sum) <= 1e-5 * size, "tap %d from %d to %d is %g, expected %g", tap, k, o, got, sum);
}

/* The instructions of AMX give the bits of the same sums written out, where the processor
 * has them; any threads and parts of a batch the same. */
START_TEST(tile_sums)
{
    for (int i = 0; i < ROUNDS; i++) {
        int side = pick(0, 2) ? 3 : 1, n = pick(1, 3), h = pick(1, 20),
            w = pick(0, 1) ? pick(1, 40) : 16 * pick(1, 2);
        int c = 16 * pick(1, 6), oc = 16 * pick(1, 6), turned = pick(0, 1), threads = pick(1, 3);
        int parts = side == 1 && pick(0, 1) ? 3 : 1;
        if (i == 0) side = 3, parts = 1, n = 3, h = w = 40; /* more points than a gradient takes at a time */
        size_t in = (size_t)(h * w * c), out = (size_t)(h * w * oc);
        float *x = numbers((size_t)n * in, 1, 0), *weights = numbers((size_t)(side * side * c * oc), 1, 0);
        float *bias = pick(0, 1) ? numbers((size_t)oc, 1, 0) : NULL,
              *r = pick(0, 1) ? numbers((size_t)n * out, 1, 0) : NULL;
        float *dy = numbers((size_t)n * out, 1, 0), *y[2], *dw[2];
        for (int k = 0; k < 2; k++) { /* plain, all images; what the processor has, one by one */
            cm_amx_conv t;
            const int level = k ? cmi_cpu_level() : CM_CPU_BASELINE;
            cmi_amx_conv_init(&t, cmi_kernels_for(level), parts, side, turned, (cm_threads){context, k ? threads : 1},
                              k ? 1 : n, h, w, c, oc);
            void *packed = aligned_alloc(64, t.packed_bytes);
            size_t bytes = (t.scratch_bytes + 63) / 64 * 64;
            void *scratch = aligned_alloc(64, bytes);
            memset(scratch, 0xff, bytes);
            y[k] = calloc((size_t)n * out, sizeof *y[k]);
            cmi_amx_conv_pack(&t, weights, packed);
            for (int image = 0; image < n; image += k ? 1 : n)
                OK(cmi_amx_conv_run(&t, x + (size_t)image * in, packed, bias, r ? r + (size_t)image * out : NULL,
                                    0.7f, y[k] + (size_t)image * out, scratch));
            free(packed);
            free(scratch);
            cmi_amx_conv_init(&t, cmi_kernels_for(level), 1, side, turned, cmi_one_thread(), n, h, w, c, oc);
            bytes = (cmi_amx_conv_gradient_bytes(&t) + 63) / 64 * 64;
            scratch = aligned_alloc(64, bytes);
            memset(scratch, 0xff, bytes);
            dw[k] = calloc((size_t)(side * side * c * oc), sizeof *dw[k]);
            cmi_amx_conv_gradient(&t, x, dy, dw[k], scratch);
            for (int number = 0; number < 20; number++) check_gradient(&t, x, dy, dw[k]);
            free(scratch);
        }
        ck_assert_msg(memcmp(dw[0], dw[1], (size_t)(side * side * c * oc) * sizeof *dw[0]) == 0,
                      "gradient of %d images %d x %d, %d to %d channels, kernel %d", n, h, w, c, oc, side);
        ck_assert_msg(memcmp(y[0], y[1], (size_t)n * out * sizeof *y[0]) == 0,
                      "%d images %d x %d, %d to %d channels, kernel %d", n, h, w, c, oc, side);
        for (int k = 0; k < 2; k++) free(y[k]), free(dw[k]);
        free(dy), free(x), free(weights), free(bias), free(r);
    }
}
END_TEST

/* float32 by tiles is float32: against sums of doubles, values over nine decades, images cut and
 * whole, any threads.  2^-24 a product and what float32 loses in adding. */
START_TEST(tile_float32)
{
    static const int shapes[][4] = {
        {3, 5, 16, 48}, {4, 4, 32, 16}, {1, 33, 80, 32}, {32, 32, 144, 32}, {6, 64, 512, 32}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int h = shapes[i][0], w = shapes[i][1], c = shapes[i][2], oc = shapes[i][3], n = 2;
        const size_t points = (size_t)(n * h * w);
        cm_amx_conv t;
        cmi_amx_conv_init(&t, cmi_kernels_for(cmi_cpu_level()), 3, 1, 0, (cm_threads){context, pick(1, 3)}, n, h, w,
                          c, oc);
        ck_assert_int_eq(t.n * t.h, n * h);
        ck_assert_int_eq(t.n > n, i >= 3); /* what leaves the cache is cut */
        float *x = numbers(points * (size_t)c, 1, 0), *weights = numbers((size_t)(c * oc), 1, 0);
        for (size_t k = 0; k < points * (size_t)c; k++) x[k] *= powf(10, (float)pick(-6, 3));
        float *y = calloc(points * (size_t)oc, sizeof *y);
        void *packed = aligned_alloc(64, t.packed_bytes);
        void *scratch = aligned_alloc(64, (t.scratch_bytes + 63) / 64 * 64);
        cmi_amx_conv_pack(&t, weights, packed);
        OK(cmi_amx_conv_run(&t, x, packed, NULL, NULL, 1, y, scratch));
        double worst = 0;
        for (size_t p = 0; p < points; p++)
            for (size_t o = 0; o < (size_t)oc; o++) {
                double sum = 0, size = 0;
                for (size_t k = 0; k < (size_t)c; k++) {
                    const double product = (double)x[p * (size_t)c + k] * (double)weights[o * (size_t)c + k];
                    sum += product, size += fabs(product);
                }
                worst = fmax(worst, fabs((double)y[p * (size_t)oc + o] - sum) / size);
            }
        ck_assert_msg(worst < 6e-7, "%d x %d, %d to %d channels: off by %g of the sum of sizes", h, w, c, oc, worst);
        free(x), free(weights), free(y), free(packed), free(scratch);
    }
}
END_TEST

/* The passes that write bfloat16, to half of its last place (2^-8) and 1e-4: norm and SiLU of floats and of
 * bfloat16, small, large and not a number; softmax times its factor. */
START_TEST(tile_passes)
{
    enum { COUNT = 64 };
    for (int k = 0; k < 2; k++) {
        const cm_amx_kernels *kernels = cmi_kernels_for(k ? cmi_cpu_level() : CM_CPU_BASELINE)->amx;
        float *x = numbers(COUNT, 8, 0), *m = numbers(COUNT, 1, 0), *a = numbers(COUNT, 2, 0),
              *b = numbers(COUNT, 1, 0);
        uint16_t half[COUNT], out[COUNT];
        float wide[COUNT], inverse;
        for (int i = 0; i < 24; i++) x[i] *= 20;
        x[5] = NAN;
        for (int form = 0; form < 4; form++) {
            int is_bf16 = form & 1, silu = form >> 1;
            kernels->round(COUNT, x, half);
            for (int i = 0; i < COUNT; i++) wide[i] = is_bf16 ? widened(half[i]) : x[i];
            kernels->affine(1, COUNT, is_bf16 ? (const void *)half : x, is_bf16, m, a, b, silu, out);
            for (int i = 0; i < COUNT; i++) {
                double v = (double)a[i] * ((double)wide[i] - (double)m[i]) + (double)b[i];
                if (silu) v /= 1 + exp(-v);
                double slack = 0.0040 * fabs(v) + 3e-6 * (fabs((double)(a[i] * wide[i])) + 1);
                ck_assert_msg(isnan(v) ? isnan(widened(out[i])) : fabs((double)widened(out[i]) - v) <= slack,
                              "level %d, form %d: %g is %g, expected %g", k, form, (double)wide[i],
                              (double)widened(out[i]), v);
            }
        }
        x[5] = -300;
        double top = -1e9, sum = 0;
        for (int i = 0; i < COUNT; i++) top = fmax(top, 0.3 * (double)x[i]);
        for (int i = 0; i < COUNT; i++) sum += exp(0.3 * (double)x[i] - top);
        kernels->softmax(1, COUNT, 0.3f, x, COUNT, out, COUNT, 0, &inverse);
        for (int i = 0; i < COUNT; i++) {
            double want = exp(0.3 * (double)x[i] - top) / sum, got = (double)widened(out[i]) * (double)inverse;
            ck_assert_msg(fabs(got - want) <= 0.0040 * want + 1e-30, "level %d: %g, expected %g", k, got, want);
        }
        free(x), free(m), free(a), free(b);
    }
}
END_TEST

/* To the nearest, ties to even; NaN and infinity stay. */
START_TEST(bf16_rounding)
{
    static const uint32_t in[16] = {0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0xbf80c000,
                                    0x7f800000, 0xff800000, 0x7f800001, 0x7fffffff, 0xffffffff, 0x7f7fffff,
                                    0x00000000, 0x80000000, 0x47c35000, 0x3eaaaaab};
    static const uint16_t out[16] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x3f80, 0xbf81, 0x7f80, 0xff80,
                                     0x7fc0, 0x7fff, 0xffff, 0x7f80, 0x0000, 0x8000, 0x47c3, 0x3eab};
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++) {
        float x[16];
        uint16_t y[16];
        const float *points[1] = {x};
        memcpy(x, in, sizeof x);
        cmi_kernels_for(level)->winograd_bf16->input(1, 16, points, y, 0);
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < 16; i++)
                ck_assert_msg(y[i] == out[i], "level %d: %08x is %04x, expected %04x", level, in[i], y[i], out[i]);
            cmi_kernels_for(level)->amx->round(16, x, y);
        }
    }
}
END_TEST

/* Element i of q, k or v of a token and head. */
static double part_of_qkv(const cm_attention_amx *a, const float *qkv, size_t token, size_t head, size_t kind,
                          size_t i)
{
    const cm_qkv *p = &a->qkv[kind];
    return (double)qkv[token * p->row + p->first + head * p->by_head + i * p->step];
}

/* One query's softmax(q k^T / sqrt(d)) v in doubles. */
static void exact_attention(const cm_attention_amx *a, const float *qkv, size_t query, size_t head, double *out)
{
    double sum = 0, scores[128], top = -INFINITY;
    for (size_t t = 0; t < a->tokens; t++) {
        scores[t] = 0;
        for (size_t i = 0; i < a->d; i++)
            scores[t] +=
                part_of_qkv(a, qkv, query, head, 0, i) * part_of_qkv(a, qkv, t, head, 1, i) / sqrt((double)a->d);
        top = fmax(top, scores[t]);
    }
    for (size_t i = 0; i < a->d; i++) out[i] = 0;
    for (size_t t = 0; t < a->tokens; t++) sum += exp(scores[t] - top);
    for (size_t t = 0; t < a->tokens; t++)
        for (size_t i = 0; i < a->d; i++) out[i] += exp(scores[t] - top) / sum * part_of_qkv(a, qkv, t, head, 2, i);
}

/* float32 attention on tiles, written out and with the processor's instructions, is float32: 2.1e-6 off
 * for values up to 4 (scores up to some 30, whose rounding exp multiplies), and 5.1e-6 in one of the 63 shapes of the
 * long effort; with one of the six products left out 1.3e-5. */
START_TEST(attention_float32_on_tiles)
{
    for (int i = 0; i < ROUNDS / 8 + 1; i++) {
        const size_t heads = (size_t)pick(1, 3), d = 32 * (size_t)pick(1, 2), tokens = 32 * (size_t)pick(1, 4),
                     c = heads * d;
        float *qkv = numbers(tokens * 3 * c, 4, 0), *out = calloc(tokens * c, sizeof *out);
        double exact[64];
        for (int layout = 0; layout < 3; layout++)
            for (int real = 0; real < 2; real++) {
                const int level = real ? cmi_cpu_level() : CM_CPU_BASELINE;
                const size_t by[3][3] = {{d, c, 1}, {3 * d, d, 1}, {3 * d, 1, 3}};
                cm_attention_amx a = {.kernels = cmi_kernels_for(level),
                                      .parts = 3,
                                      .threads = {context, pick(1, 3)},
                                      .tokens = tokens,
                                      .heads = heads,
                                      .d = d};
                for (size_t kind = 0; kind < 3; kind++)
                    a.qkv[kind] = (cm_qkv){0, 3 * c, kind * by[layout][1], by[layout][0], by[layout][2]};
                const void *in[2] = {qkv, NULL};
                void *scratch = aligned_alloc(64, (cmi_attention_amx_scratch_bytes(&a) + 63) / 64 * 64);
                OK(cmi_attention_amx_run(&a, in, out, scratch));
                for (size_t t = 0; t < tokens; t += 7)
                    for (size_t h = 0; h < heads; h++) {
                        exact_attention(&a, qkv, t, h, exact);
                        for (size_t k = 0; k < d; k++)
                            ck_assert_msg(fabs((double)out[t * c + h * d + k] - exact[k]) < 8e-6,
                                          "layout %d, level %d, %zu tokens, d %zu: %.9g, exactly %.9g", layout, level,
                                          tokens, d, (double)out[t * c + h * d + k], exact[k]);
                    }
                free(scratch);
            }
        free(qkv), free(out);
    }
}
END_TEST

/* Dropout's words are the stream's, of any count: block i / 4, word i % 4. */
START_TEST(dropout_words)
{
    enum { MOST = 300 };
    const float scale = 1.25f;
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++)
        for (size_t n = 1; n < MOST; n++) {
            uint32_t stream[5], limit = (uint32_t)pick(0, 0xffff) << 16;
            float *x = numbers(n, 1, 2), y[MOST];
            unsigned char mask[MOST / 8 + 2];
            for (int i = 0; i < 5; i++) stream[i] = (uint32_t)pick(0, 0xffff) << 16 | (uint32_t)pick(0, 0xffff);
            y[n] = 7, mask[(n + 7) / 8] = 7;
            cmi_kernels_for(level)->pointwise->dropout_mask(n, stream, limit, mask);
            cmi_kernels_for(level)->pointwise->masked(n, mask, scale, x, y);
            for (size_t i = 0; i < n; i++) {
                const uint32_t counter[4] = {(uint32_t)(i / 4), stream[2], stream[3], stream[4]};
                uint32_t words[4];
                cmi_philox4x32(counter, stream, words);
                const float want = words[i % 4] < limit ? 0 : x[i] * scale;
                ck_assert_int_eq(mask[i / 8] >> i % 8 & 1, words[i % 4] >= limit);
                ck_assert_msg(y[i] == want, "%s, %zu values: [%zu] is %g, expected %g", cmi_kernels_for(level)->name,
                              n, i, (double)y[i], (double)want);
            }
            ck_assert_msg(y[n] == 7 && mask[(n + 7) / 8] == 7, "%zu values: one more was written", n);
            free(x);
        }
}
END_TEST

/* Rows of any length and number, which kernels take eight of at a time, between values that are not theirs; one has
 * its largest value first, one last, one has a NaN.  The power is rounded twice, by 2^-24 of it each, before exp. */
START_TEST(softmax_rows)
{
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++)
        for (int i = 0; i < 60; i++) {
            const size_t rows = (size_t)pick(1, 20), n = (size_t)pick(1, 70), apart = n + (size_t)pick(0, 5);
            const float scale = 0.125f * (float)pick(1, 8);
            const cm_kernels *kernels = cmi_kernels_for(level);
            float *x = numbers(rows * apart, 4, 0), *y = numbers(rows * apart, 1, 0),
                  *d = numbers(rows * apart, 2, 0);
            x[0] = 9, x[(rows - 1) * apart + n - 1] = 11;
            if (rows > 2) x[apart + n / 2] = NAN;
            memcpy(y, x, rows * apart * sizeof *y);
            float *dx = numbers(rows * apart, 1, 0);
            memcpy(dx, d, rows * apart * sizeof *dx);
            kernels->pointwise->softmax(rows, n, apart, scale, y);
            kernels->pointwise->softmax_back(rows, n, apart, scale, y, dx);
            for (size_t r = 0; r < rows; r++) {
                const float *from = x + r * apart, *to = y + r * apart;
                double top = -1e9, sum = 0, dot = 0;
                for (size_t k = 0; k < n; k++) top = from[k] > top ? (double)from[k] : top;
                for (size_t k = 0; k < n; k++) sum += exp((double)scale * ((double)from[k] - top));
                for (size_t k = 0; k < n; k++) dot += (double)to[k] * (double)d[r * apart + k];
                for (size_t k = 0; k < n; k++) {
                    const double power = (double)scale * ((double)from[k] - top), want = exp(power) / sum;
                    const double slope = (double)scale * (double)to[k] * ((double)d[r * apart + k] - dot);
                    if (isnan(sum)) ck_assert(isnan(to[k]));
                    else
                        ck_assert_msg(fabs((double)to[k] - want) < (1e-6 - 1.3e-7 * power) * want + 1e-30 &&
                                          fabs((double)dx[r * apart + k] - slope) < 1e-6,
                                      "%s, %zu x %zu: [%zu][%zu] is %g, expected %g; gradient %g, expected %g",
                                      kernels->name, rows, n, r, k, (double)to[k], want, (double)dx[r * apart + k],
                                      slope);
                }
                for (size_t k = n; k < apart; k++)
                    ck_assert(to[k] == from[k] && dx[r * apart + k] == d[r * apart + k]);
            }
            free(x), free(y), free(d), free(dx);
        }
}
END_TEST

/* What only moves values moves all of them, and nothing else. */
START_TEST(moved_values)
{
    enum { MOST = 80 };
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++)
        for (size_t n = 1; n < MOST; n++) {
            const cm_kernels *kernels = cmi_kernels_for(level);
            float *x = numbers(3 * n, 1, 0), part[3][MOST], back[3 * MOST];
            part[0][n] = part[1][n] = part[2][n] = back[3 * n] = 7;
            kernels->pointwise->split3(n, x, part[0], part[1], part[2]);
            for (size_t i = 0; i < 3 * n; i++) ck_assert(part[i % 3][i / 3] == x[i]);
            kernels->pointwise->join3(n, part[0], part[1], part[2], back);
            ck_assert(memcmp(x, back, 3 * n * sizeof *x) == 0);
            ck_assert(part[0][n] == 7 && part[1][n] == 7 && part[2][n] == 7 && back[3 * n] == 7);
            free(x);
        }
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++)
        for (int i = 0; i < 40; i++) {
            const size_t rows = 4 * (size_t)pick(1, 9), columns = 4 * (size_t)pick(1, 9);
            const size_t from_row = columns + (size_t)pick(0, 3), to_row = rows + (size_t)pick(0, 3);
            float *from = numbers(rows * from_row, 1, 0), *to = numbers(columns * to_row, 1, 0),
                  *before = numbers(columns * to_row, 1, 0);
            memcpy(before, to, columns * to_row * sizeof *to);
            cmi_kernels_for(level)->pointwise->transpose(rows, columns, from, from_row, to, to_row);
            for (size_t k = 0; k < columns; k++)
                for (size_t r = 0; r < to_row; r++)
                    ck_assert(to[k * to_row + r] == (r < rows ? from[r * from_row + k] : before[k * to_row + r]));
            free(from), free(to), free(before);
        }
}
END_TEST

/* SiLU over the range where it is neither 0 nor x, against double: the error of its exponential and three roundings.
 */
START_TEST(silu_is_exact)
{
    enum { N = 1000 };
    for (int level = 0; tried(level) <= cmi_cpu_level(); level++)
        for (int part = -80; part < 80; part++) {
            float x[N], y[N];
            for (int i = 0; i < N; i++) x[i] = (float)part + (float)i / N;
            cmi_kernels_for(level)->pointwise->silu(N, x, y);
            for (int i = 0; i < N; i++) {
                const double want = (double)x[i] / (1 + exp(-(double)x[i]));
                ck_assert_msg(fabs((double)y[i] - want) <= 4e-7 * fabs(want),
                              "%s: SiLU of %.9g is %.9g, expected %.9g", cmi_kernels_for(level)->name, (double)x[i],
                              (double)y[i], want);
            }
        }
}
END_TEST

START_TEST(kernels_at_the_edges)
{
    const cm_kernels *tables[3] = {cmi_kernels_for(0), cmi_kernels_for(1), cmi_kernels_for(2)};
    int levels = cmi_cpu_level() < 2 ? cmi_cpu_level() + 1 : 3;
    for (int l = 0; l < levels; l++) {
        float x[7] = {-200, -88, -1e-3f, 0, 1e-3f, 100, NAN}, y[7];
        tables[l]->pointwise->silu(7, x, y);
        ck_assert_msg(fabs((double)y[0]) < 1e-30 && y[3] == 0 && y[5] == 100 && isnan(y[6]), "%s", tables[l]->name);
        float s[4] = {1000, -1000, 999, -INFINITY};
        tables[l]->pointwise->softmax(1, 4, 4, 1, s);
        ck_assert_double_le(fabs((double)s[0] - 1 / (1 + exp(-1))), 1e-6);
        ck_assert(s[1] < 1e-30f && s[3] < 1e-30f);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("kernels");
    TCase *t = tcase_create("kernels");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, bf16_products);
    tcase_add_test(t, winograd_rounding);
    tcase_add_test(t, tile_sums);
    tcase_add_test(t, tile_float32);
    tcase_add_test(t, tile_passes);
    tcase_add_test(t, bf16_rounding);
    tcase_add_test(t, attention_float32_on_tiles);
    tcase_add_test(t, dropout_words);
    tcase_add_test(t, softmax_rows);
    tcase_add_test(t, moved_values);
    tcase_add_test(t, silu_is_exact);
    tcase_add_test(t, kernels_at_the_edges);
    tcase_add_checked_fixture(t, open_context, close_context);
    suite_add_tcase(s, t);
    return s;
}
