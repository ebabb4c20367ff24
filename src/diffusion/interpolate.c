/* interpolate.c - the great circle between two noises. */
#include <math.h>

#include "diffusion/edit.h"

void cm_slerp(size_t n, const double *z1, const double *z2, double alpha, double *out)
{
    double dot = 0, square1 = 0, square2 = 0;
    for (size_t i = 0; i < n; i++) {
        dot += z1[i] * z2[i];
        square1 += z1[i] * z1[i];
        square2 += z2[i] * z2[i];
    }
    double lengths = sqrt(square1) * sqrt(square2), cosine = lengths > 0 ? dot / lengths : 1;
    double psi = acos(cosine < -1 ? -1 : cosine > 1 ? 1 : cosine), s = sin(psi);
    double a = s < 1e-6 ? 1 - alpha : sin((1 - alpha) * psi) / s, b = s < 1e-6 ? alpha : sin(alpha * psi) / s;
    for (size_t i = 0; i < n; i++) out[i] = a * z1[i] + b * z2[i];
}
