/* torch_rng.c - MT19937 and torch's normals. */
#include "base/torch_rng.h"

#include <math.h>

static const double two_pi = 6.283185307179586476925;

void cmi_torch_seed(cm_torch_rng *rng, uint64_t seed)
{
    rng->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < 624; i++)
        rng->state[i] = 1812433253u * (rng->state[i - 1] ^ (rng->state[i - 1] >> 30)) + i;
    rng->position = 624;
    rng->has_cached = 0;
    rng->cached = 0;
}

static void refill(cm_torch_rng *rng)
{
    uint32_t *s = rng->state;
    for (int i = 0; i < 624; i++) {
        uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % 624] & 0x7fffffffu);
        s[i] = s[(i + 397) % 624] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    rng->position = 0;
}

static uint32_t next_u32(cm_torch_rng *rng)
{
    if (rng->position == 624) refill(rng);
    uint32_t y = rng->state[rng->position++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static double uniform_double(cm_torch_rng *rng)
{
    uint64_t high = next_u32(rng), u = high << 32 | next_u32(rng);
    return (double)(u & 0x1fffffffffffffu) * 0x1p-53;
}

static float uniform_float(cm_torch_rng *rng)
{
    return (float)(next_u32(rng) & 0xffffffu) * 0x1p-24f;
}

void cmi_torch_uniform(cm_torch_rng *rng, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = uniform_float(rng);
}

int64_t cmi_torch_below(cm_torch_rng *rng, uint32_t range)
{
    return next_u32(rng) % range;
}

/* Fewer than 16 values: scalar pairs in double, the second one kept. */
static double scalar_normal(cm_torch_rng *rng)
{
    if (rng->has_cached) {
        rng->has_cached = 0;
        return rng->cached;
    }
    double u1 = uniform_double(rng), u2 = uniform_double(rng);
    double r = sqrt(-2 * log1p(-u2)), theta = two_pi * u1;
    rng->has_cached = 1;
    rng->cached = r * sin(theta);
    return r * cos(theta);
}

/* 16 uniforms become 16 normals: entry j pairs with entry j + 8. */
static void transform16(double *a)
{
    for (int j = 0; j < 8; j++) {
        double r = sqrt(-2 * log(1 - a[j])), theta = two_pi * a[j + 8];
        a[j] = r * cos(theta);
        a[j + 8] = r * sin(theta);
    }
}

/* torch works in float32 here: its angle and radius are rounded to that. */
static void transform16_float(float *a)
{
    for (int j = 0; j < 8; j++) {
        float log_u = (float)log(1 - (double)a[j]);
        double r = (double)sqrtf(-2 * log_u), theta = (double)((float)two_pi * a[j + 8]);
        a[j] = (float)(r * cos(theta));
        a[j + 8] = (float)(r * sin(theta));
    }
}

void cmi_torch_normal(cm_torch_rng *rng, size_t n, float *out)
{
    if (n < 16) {
        for (size_t i = 0; i < n; i++) out[i] = (float)scalar_normal(rng);
        return;
    }
    cmi_torch_uniform(rng, n, out);
    for (size_t i = 0; i + 16 <= n; i += 16) transform16_float(out + i);
    if (n % 16) { /* the last 16 are drawn anew */
        cmi_torch_uniform(rng, 16, out + n - 16);
        transform16_float(out + n - 16);
    }
}

void cmi_torch_normal64(cm_torch_rng *rng, size_t n, double *out)
{
    if (n < 16) {
        for (size_t i = 0; i < n; i++) out[i] = scalar_normal(rng);
        return;
    }
    for (size_t i = 0; i < n; i++) out[i] = uniform_double(rng);
    for (size_t i = 0; i + 16 <= n; i += 16) transform16(out + i);
    if (n % 16) {
        for (size_t i = n - 16; i < n; i++) out[i] = uniform_double(rng);
        transform16(out + n - 16);
    }
}
