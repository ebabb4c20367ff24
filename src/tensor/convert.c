/* convert.c - half precision, planes and channels-last. */
#include "tensor/convert.h"

#include <string.h>

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t load16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

void cmi_bf16_to_f32(size_t n, const void *in, float *out)
{
    const unsigned char *p = in;
    for (size_t i = 0; i < n; i++) out[i] = from_bits(load16(p + 2 * i) << 16);
}

/* IEEE half: 1 sign, 5 exponent (bias 15), 10 mantissa bits. */
static float half_to_float(uint32_t h)
{
    uint32_t sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31u, mantissa = h & 0x3ffu;
    if (exponent == 31) return from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent > 0) return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float tiny = (float)mantissa * 0x1p-24f; /* subnormal or zero */
    return sign ? -tiny : tiny;
}

void cmi_f16_to_f32(size_t n, const void *in, float *out)
{
    const unsigned char *p = in;
    for (size_t i = 0; i < n; i++) out[i] = half_to_float(load16(p + 2 * i));
}

static uint32_t to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static void store16(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

/* v without its lowest n bits, to the nearest, ties to even. */
static uint32_t rounded(uint32_t v, int n)
{
    return (v + (1u << (n - 1)) - 1 + (v >> n & 1u)) >> n;
}

void cmi_f32_to_bf16(size_t n, const float *in, void *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = to_bits(in[i]);
        int nan = (bits & 0x7fffffffu) > 0x7f800000u;
        store16((unsigned char *)out + 2 * i, nan ? bits >> 16 | 0x40u : rounded(bits, 16));
    }
}

static uint32_t float_to_half(uint32_t bits)
{
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu, exponent = magnitude >> 23;
    if (magnitude > 0x7f800000u) return sign | 0x7e00u | (magnitude >> 13 & 0x3ffu);
    if (exponent >= 143) return sign | 0x7c00u;                               /* 2^16 and more */
    if (exponent >= 113) return sign | rounded(magnitude - (112u << 23), 13); /* may carry into infinity */
    if (exponent < 102) return sign;                                          /* below half the smallest */
    return sign | rounded((magnitude & 0x7fffffu) | 0x800000u, 126 - (int)exponent);
}

void cmi_f32_to_f16(size_t n, const float *in, void *out)
{
    for (size_t i = 0; i < n; i++) store16((unsigned char *)out + 2 * i, float_to_half(to_bits(in[i])));
}

void cmi_planes_to_channels_last(int channels, size_t pixels, const double *in, float *out)
{
    size_t C = (size_t)channels;
    for (size_t c = 0; c < C; c++)
        for (size_t i = 0; i < pixels; i++) out[i * C + c] = (float)in[c * pixels + i];
}

void cmi_channels_last_to_planes(int channels, size_t pixels, const float *in, double *out)
{
    size_t C = (size_t)channels;
    for (size_t c = 0; c < C; c++)
        for (size_t i = 0; i < pixels; i++) out[c * pixels + i] = (double)in[i * C + c];
}
