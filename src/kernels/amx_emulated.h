/* amx_emulated.h - the same as amx_tiles.h, written out: for every processor,
 * and what the instructions are held to; bf16.c includes it. */
#ifndef CM_KERNELS_AMX_EMULATED_H
#define CM_KERNELS_AMX_EMULATED_H

#include "kernels/bf16_values.h"
#include "kernels/pointwise_bf16.h"
#include "kernels/amx_kernels.h"

static void begin(void)
{
}

static void end(void)
{
}

/* sums [16][32 apart] += a [16][32] b [16][16][2]. */
static void multiply(const uint16_t *a, size_t row, const uint16_t *b, float *sums)
{
    for (size_t i = 0; i < 16; i++, a += row, sums += 32) {
        float even[16] = {0}, odd[16] = {0};
        for (size_t k = 0; k < 16; k++)
            for (size_t j = 0; j < 16; j++) {
                even[j] += widened(a[2 * k]) * widened(b[32 * k + 2 * j]);
                odd[j] += widened(a[2 * k + 1]) * widened(b[32 * k + 2 * j + 1]);
            }
        for (size_t j = 0; j < 16; j++) sums[j] += even[j] + odd[j];
    }
}

/* sums += the products of 32 channels: of their parts, or of one tile. */
static void multiply_channels(const cm_amx_strip *s, const uint16_t *a, const uint16_t *b, float *sums)
{
    static const size_t order[6][2] = {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}};
    const size_t wide = (size_t)s->width / 16;
    for (size_t g = 0; g < wide; g++)
        for (size_t n = s->part ? 0 : 5; n < 6; n++)
            multiply(a + order[n][0] * s->part, s->row, b + (order[n][1] * wide + g) * 512, sums + 16 * g);
}

static void strip(const cm_amx_strip *s)
{
    const size_t step = (s->part ? 3 : 1) * (size_t)s->width * 32;
    for (size_t t = 0; t < s->tiles; t++) {
        const uint16_t *a = s->a + (size_t)s->starts[t] * s->row, *b = s->b;
        float sums[16 * 32] = {0};
        for (size_t k = 0; k < s->depth; k++)
            for (size_t i = 0; i < s->side; i++)
                for (size_t j = 0; j < s->side; j++, b += step)
                    multiply_channels(s, a + (i * s->down + j) * s->row + 32 * k, b, sums);
        for (size_t i = 0; i < 16 && s->points; i++) finish_row(s, s->points[16 * t + i], sums + 32 * i);
        for (size_t i = 0; i < 16 && !s->points; i++)
            memcpy((float *)s->y + (16 * t + i) * s->oc, sums + 32 * i, (size_t)s->width * sizeof *sums);
    }
}

static void outer(size_t rows, size_t columns, size_t depth, const uint16_t *a, size_t a_row, const uint16_t *b,
                  size_t b_apart, float *y, size_t y_row, int add)
{
    for (size_t r = 0; r < rows; r += 16)
        for (size_t j = 0; j < columns; j += 16) {
            float sums[16 * 32] = {0};
            for (size_t i = 0; i < 16 && add; i++) memcpy(sums + 32 * i, y + (r + i) * y_row + j, 16 * sizeof *y);
            for (size_t k = 0; k < depth; k++)
                multiply(a + r * a_row + 32 * k, a_row, b + j / 16 * b_apart + 512 * k, sums);
            for (size_t i = 0; i < 16; i++) memcpy(y + (r + i) * y_row + j, sums + 32 * i, 16 * sizeof *y);
        }
}

static void taps(size_t count, size_t depth, const uint16_t *a, size_t a_row, const uint16_t *const *b,
                 float *const *y, size_t y_row, int add)
{
    for (size_t i = 0; i < count; i++) outer(16, 16, depth, a, a_row, b[i], 0, y[i], y_row, add);
}

static void pairs(size_t n, const float *first, const float *second, uint32_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        uint16_t low[16], high[16];
        round_values(16, first + i, low);
        round_values(16, second + i, high);
        for (size_t k = 0; k < 16; k++) out[i + k] = low[k] | (uint32_t)high[k] << 16;
    }
}

static void transpose(const uint32_t *from, size_t from_row, uint16_t *to, size_t to_row)
{
    for (size_t i = 0; i < 16; i++)
        for (size_t k = 0; k < 16; k++) {
            to[i * to_row + 2 * k] = (uint16_t)from[k * from_row + i];
            to[i * to_row + 2 * k + 1] = (uint16_t)(from[k * from_row + i] >> 16);
        }
}

#endif
