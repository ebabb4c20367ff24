/* plain_kernels.c - the loops of the plain level beside sums in float64, on any processor: within 1e-5 of the size of
 * what is summed, which is a hundred roundings of float32.  Prints how many values; 0 when all are. */
#include <math.h>
#include <stdio.h>

#include "base/cpu_level.h"
#include "kernels/kernels.h"

enum { N = 1031, ROWS = 7, K = 64 };

static long compared;
static int wrong;

static void compare(const char *what, size_t i, float got, double want, double size)
{
    compared++;
    if (fabs((double)got - want) <= 1e-5 * (fabs(size) + 1e-3)) return;
    if (wrong++ < 5) printf("%s[%zu] is %g, expected %g\n", what, i, (double)got, want);
}

static float value(size_t i)
{
    return (float)sin(0.37 * (double)i + 1) * (float)(i % 13 == 0 ? 20 : 3);
}

enum { TALL = 6, WIDE = 32, DEEP = 200 }; /* deeper than a part of a sum (gemm_loops.h) */

static void products(const cm_gemm *g)
{
    static float a[DEEP * DEEP], b[DEEP * WIDE], packed[DEEP * WIDE], c[TALL * WIDE], t[TALL * WIDE];
    for (size_t i = 0; i < DEEP * DEEP; i++) a[i] = value(5 * i + 1);
    for (size_t i = 0; i < DEEP * WIDE; i++) b[i] = value(11 * i + 4);
    for (size_t j = 0, width; j < WIDE; j += width) {
        width = g->panel(WIDE - j);
        for (size_t k = 0; k < DEEP; k++)
            for (size_t n = 0; n < width; n++) packed[j * DEEP + k * width + n] = b[k * WIDE + j + n];
    }
    g->product(TALL, WIDE, DEEP, a, DEEP, packed, c, WIDE);
    g->product_transposed(TALL, WIDE, DEEP, a, DEEP, b, WIDE, t, 0);
    for (size_t i = 0; i < TALL; i++)
        for (size_t j = 0; j < WIDE; j++) {
            double sum[2] = {0}, size[2] = {0};
            for (size_t k = 0; k < DEEP; k++) {
                const double terms[2] = {(double)a[i * DEEP + k] * (double)b[k * WIDE + j],
                                         (double)a[k * DEEP + i] * (double)b[k * WIDE + j]};
                for (int n = 0; n < 2; n++) sum[n] += terms[n], size[n] += fabs(terms[n]);
            }
            compare("product", i * WIDE + j, c[i * WIDE + j], sum[0], size[0]);
            compare("product_transposed", i * WIDE + j, t[i * WIDE + j], sum[1], size[1]);
        }
}

static void squares(const cm_sums_f64 *s)
{
    enum { SIDE = CM_SUMS_SIDE, DEPTH = 5 };
    static double a[DEPTH * SIDE], b[DEPTH * SIDE], c[SIDE * SIDE], d[SIDE * SIDE];
    for (size_t i = 0; i < DEPTH * SIDE; i++) a[i] = (double)value(i), b[i] = (double)value(3 * i + 2);
    s->products(DEPTH, a, b, c);
    s->differences(DEPTH, a, b, d);
    for (size_t i = 0; i < SIDE; i++)
        for (size_t j = 0; j < SIDE; j++) {
            double product = 0, difference = 0, size = 0;
            for (size_t k = 0; k < DEPTH; k++) {
                const double x = a[k * SIDE + i], y = b[k * SIDE + j];
                product += x * y, difference += (x - y) * (x - y), size += fabs(x * y);
            }
            compare("products", i * SIDE + j, (float)c[i * SIDE + j], product, size);
            compare("differences", i * SIDE + j, (float)d[i * SIDE + j], difference, difference);
        }
}

int main(void)
{
    static float x[N], y[N], out[N], w[ROWS * K], bias[ROWS], rows[ROWS * K];
    const cm_pointwise *p = cmi_kernels_for(CM_CPU_BASELINE)->pointwise;
    for (size_t i = 0; i < N; i++) x[i] = value(i), y[i] = value(3 * i + 5);
    for (size_t i = 0; i < ROWS * K; i++) w[i] = value(7 * i + 2), rows[i] = value(i * i % 101);
    for (size_t i = 0; i < ROWS; i++) bias[i] = value(i);
    p->silu(N, x, out);
    for (size_t i = 0; i < N; i++) compare("silu", i, out[i], (double)x[i] / (1 + exp(-(double)x[i])), x[i]);
    p->silu_back(N, x, y, out);
    for (size_t i = 0; i < N; i++) {
        const double s = 1 / (1 + exp(-(double)x[i])), slope = s * (1 + (double)x[i] * (1 - s));
        compare("silu_back", i, out[i], (double)y[i] * slope, (double)y[i] * (1 + fabs((double)x[i])));
    }
    p->add(N, x, y, 0.7f, out);
    for (size_t i = 0; i < N; i++)
        compare("add", i, out[i], ((double)x[i] + (double)y[i]) * (double)0.7f,
                fabs((double)x[i]) + fabs((double)y[i]));
    p->scale(N, -1.3f, x, out);
    for (size_t i = 0; i < N; i++) compare("scale", i, out[i], (double)-1.3f * (double)x[i], x[i]);
    for (size_t i = 0; i < N; i++) out[i] = y[i];
    p->axpy(N, 0.3f, x, out);
    for (size_t i = 0; i < N; i++)
        compare("axpy", i, out[i], (double)y[i] + (double)0.3f * (double)x[i],
                fabs((double)x[i]) + fabs((double)y[i]));
    p->matvec(ROWS, K, w, x, bias, out);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = (double)bias[r], size = 0;
        for (size_t k = 0; k < K; k++)
            sum += (double)w[r * K + k] * (double)x[k], size += fabs((double)w[r * K + k] * (double)x[k]);
        compare("matvec", r, out[r], sum, size);
    }
    for (size_t i = 0; i < ROWS * K; i++) out[i] = rows[i];
    p->softmax(ROWS, K, K, 0.5f, out);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0, most = -INFINITY;
        for (size_t k = 0; k < K; k++) most = fmax(most, 0.5 * (double)rows[r * K + k]);
        for (size_t k = 0; k < K; k++) sum += exp(0.5 * (double)rows[r * K + k] - most);
        for (size_t k = 0; k < K; k++)
            compare("softmax", r * K + k, out[r * K + k], exp(0.5 * (double)rows[r * K + k] - most) / sum, 1);
    }
    products(cmi_kernels_for(CM_CPU_BASELINE)->gemm);
    squares(cmi_kernels_for(CM_CPU_BASELINE)->sums);
    printf("%ld values of the plain kernels beside float64%s\n", compared, wrong ? ": WRONG" : "");
    return wrong > 0;
}
