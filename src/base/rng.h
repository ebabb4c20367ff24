/* rng.h - random numbers that mean the same for ever.
 *
 * Philox4x32-10 (Salmon et al. 2011): a number is a function of a key and a
 * counter, so image i of seed s is the same whatever draws it.  Our counter is
 * (block, draw, image), the key the seed.  Normals by Box-Muller in arithmetic
 * that uses +, -, *, / and sqrt only: no math library's last bit enters. */
#ifndef CM_BASE_RNG_H
#define CM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

void cmi_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* One stream: `draw` numbers the tensors drawn for one image: 0 the start
 * noise, 1 the label, 2 + k the noise of step k. */
typedef struct cm_stream {
    uint64_t seed, image;
    uint32_t draw;
} cm_stream;

/* The index-th four words of the stream. */
void cmi_stream_block(const cm_stream *stream, uint32_t index, uint32_t out[4]);
/* n unit normals, as float32 values. */
void cmi_stream_normal(const cm_stream *stream, size_t n, float *out);
/* Uniform on 0..range-1, range >= 1. */
uint32_t cmi_stream_below(const cm_stream *stream, uint32_t range);
/* n uniforms in (0, 1): (u32 + 1/2) / 2^32. */
void cmi_stream_uniform(const cm_stream *stream, size_t n, double *out);

#endif
