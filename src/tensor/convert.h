/* convert.h - between element types and between layouts. */
#ifndef CM_TENSOR_CONVERT_H
#define CM_TENSOR_CONVERT_H

#include <stddef.h>
#include <stdint.h>

/* n values of 2 bytes (unaligned, little-endian) to float32, exactly. */
void cmi_bf16_to_f32(size_t n, const void *in, float *out);
void cmi_f16_to_f32(size_t n, const void *in, float *out);
/* Back, to the nearest, ties to even; what is over the largest number becomes infinite, and a NaN stays one. */
void cmi_f32_to_bf16(size_t n, const float *in, void *out);
void cmi_f32_to_f16(size_t n, const float *in, void *out);

/* One image, C x H x W of doubles (planes) to H x W x C of floats and back. */
void cmi_planes_to_channels_last(int channels, size_t pixels, const double *in, float *out);
void cmi_channels_last_to_planes(int channels, size_t pixels, const float *in, double *out);

#endif
