/* finite.h - where the first NaN or infinity stands among n values; n when there
 * is none. */
#ifndef CM_TENSOR_FINITE_H
#define CM_TENSOR_FINITE_H

#include <stddef.h>

size_t cmi_first_nonfinite(size_t n, const double *values);
size_t cmi_first_nonfinite_f32(size_t n, const float *values);

#endif
