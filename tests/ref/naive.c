/* naive.c - see the header. */
#include "naive.h"

#include <math.h>
#include <stdlib.h>

static size_t at(cm_desc d, int n, int h, int w, int c)
{
    return (((size_t)n * (size_t)d.h + (size_t)h) * (size_t)d.w + (size_t)w) * (size_t)d.c + (size_t)c;
}

#define EACH(d)                                                                                                      \
    for (int n = 0; n < (d).n; n++)                                                                                  \
        for (int h = 0; h < (d).h; h++)                                                                              \
            for (int w = 0; w < (d).w; w++)                                                                          \
                for (int c = 0; c < (d).c; c++)

static double silu(double v)
{
    return v / (1 + exp(-v));
}

/* The weights of tap (i, j) and channel ic as a row of outputs: the sums of a point's outputs go side by side, each
 * in the order of taps and channels. */
static double *rows_of_weights(int k, int k_w, int c, int out, const double *w)
{
    double *rows = malloc((size_t)(k * k_w * c * out) * sizeof *rows), *to = rows;
    for (int tap = 0; tap < k * k_w; tap++)
        for (int ic = 0; ic < c; ic++)
            for (int oc = 0; oc < out; oc++) *to++ = w[(oc * c + ic) * k * k_w + tap];
    return rows;
}

static void add_row(int n, double v, const double *restrict row, double *restrict sum)
{
    for (int i = 0; i < n; i++) sum[i] += v * row[i];
}

static void conv(const cm_attr *a, cm_desc in, const double *x, const double *r, const double *const *p, cm_desc out,
                 double *y)
{
    const int k = a->conv.kernel, scale = a->conv.up ? 2 : 1;
    const int k_w = a->conv.kernel_w ? a->conv.kernel_w : k, pad_w = a->conv.kernel_w ? a->conv.pad_w : a->conv.pad;
    double *rows = rows_of_weights(k, k_w, in.c, out.c, p[0]);
    for (int n = 0; n < out.n; n++)
        for (int h = 0; h < out.h; h++)
            for (int w = 0; w < out.w; w++) {
                const size_t first = at(out, n, h, w, 0);
                for (int c = 0; c < out.c; c++) y[first + (size_t)c] = p[1] ? p[1][c] : 0;
                for (int i = 0; i < k; i++)
                    for (int j = 0; j < k_w; j++) {
                        const int yy = h * a->conv.stride - a->conv.pad + i, xx = w * a->conv.stride - pad_w + j;
                        if (yy < 0 || xx < 0 || yy >= scale * in.h || xx >= scale * in.w) continue;
                        const double *from = x + at(in, n, yy / scale, xx / scale, 0);
                        for (int ic = 0; ic < in.c; ic++)
                            add_row(out.c, from[ic], rows + ((i * k_w + j) * in.c + ic) * out.c, y + first);
                    }
                for (size_t c = first; r && c < first + (size_t)out.c; c++)
                    y[c] = (y[c] + r[c]) * (double)a->conv.scale;
            }
    free(rows);
}

/* What is normalised, and its mean and variance in a group of image n. */
static double before_norm(const cm_attr *a, cm_desc d, const double *x, const double *e, int e_size, int n, int h,
                          int w, int c)
{
    return x[at(d, n, h, w, c)] + (a->groupnorm.mode == CM_GN_ADD ? e[n * e_size + c] : 0);
}

static void moments_of_group(const cm_attr *a, cm_desc d, const double *x, const double *e, int e_size, int n,
                             int first, double *mean, double *variance)
{
    const int width = d.c / a->groupnorm.groups;
    const double count = (double)width * d.h * d.w;
    double sum = 0, square = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < d.h; i++)
            for (int j = 0; j < d.w; j++)
                for (int k = first; k < first + width; k++) {
                    const double v = before_norm(a, d, x, e, e_size, n, i, j, k);
                    if (pass == 0) sum += v;
                    else square += (v - sum / count) * (v - sum / count);
                }
    *mean = sum / count, *variance = square / count;
}

static void groupnorm(const cm_attr *a, cm_desc d, const double *x, const double *e, int e_size,
                      const double *const *p, double *y)
{
    const int width = d.c / a->groupnorm.groups;
    for (int n = 0; n < d.n; n++)
        for (int first = 0; first < d.c; first += width) {
            double mean, variance;
            moments_of_group(a, d, x, e, e_size, n, first, &mean, &variance);
            for (int h = 0; h < d.h; h++)
                for (int w = 0; w < d.w; w++)
                    for (int c = first; c < first + width; c++) {
                        double v = before_norm(a, d, x, e, e_size, n, h, w, c);
                        v = (v - mean) / sqrt(variance + (double)a->groupnorm.eps) * p[0][c] + p[1][c];
                        if (a->groupnorm.mode == CM_GN_SCALE_SHIFT)
                            v = v * ((a->groupnorm.whole_factor ? 0 : 1) + e[n * e_size + c]) +
                                e[n * e_size + d.c + c];
                        y[at(d, n, h, w, c)] = a->groupnorm.silu ? silu(v) : v;
                    }
        }
}

/* Of q, k, v in x[0], or of q in x[0] and k = v in x[1]. */
static double part_of(const cm_attr *a, const double *const *x, int C, int D, size_t token, int head, int j, int i)
{
    const int layout = a->attention.layout;
    if (x[1]) return x[j > 0][token * (size_t)C + (size_t)(head * D + i)];
    int channel = layout == CM_QKV_PER_HEAD      ? head * 3 * D + j * D + i
                  : layout == CM_QKV_INTERLEAVED ? (head * D + i) * 3 + j
                                                 : j * C + head * D + i;
    return x[0][token * (size_t)(3 * C) + (size_t)channel];
}

/* q, k or v (j) of a head of image n: [T, D], the caller's to free. */
static double *matrix_of(const cm_attr *a, const double *const *x, int C, int D, int T, int n, int head, int j)
{
    double *m = malloc((size_t)(T * D) * sizeof *m);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < D; i++) m[t * D + i] = part_of(a, x, C, D, (size_t)(n * T + t), head, j, i);
    return m;
}

static void attend(int T, int D, const double *q, const double *k, const double *v, double *s, double *y, int y_row)
{
    for (int t = 0; t < T; t++) {
        double most = -1e300, sum = 0;
        for (int u = 0; u < T; u++) {
            s[u] = 0;
            for (int i = 0; i < D; i++) s[u] += q[t * D + i] * k[u * D + i];
            s[u] /= sqrt(D);
            most = s[u] > most ? s[u] : most;
        }
        for (int u = 0; u < T; u++) sum += s[u] = exp(s[u] - most);
        for (int i = 0; i < D; i++) y[t * y_row + i] = 0;
        for (int u = 0; u < T; u++) add_row(D, s[u] / sum, v + u * D, y + t * y_row);
    }
}

static void attention(const cm_attr *a, cm_desc in, const double *const *x, cm_desc out, double *y)
{
    const int T = in.h * in.w, C = out.c, H = a->attention.heads, D = C / H;
    double *s = malloc((size_t)T * sizeof *s);
    for (int n = 0; n < in.n; n++)
        for (int head = 0; head < H; head++) {
            double *m[3];
            for (int j = 0; j < 3; j++) m[j] = matrix_of(a, x, C, D, T, n, head, j);
            attend(T, D, m[0], m[1], m[2], s, y + n * T * C + head * D, C);
            for (int j = 0; j < 3; j++) free(m[j]);
        }
    free(s);
}

/* Through the whole zero-stuffed or padded image, as the definition says. */
static void fir(const cm_attr *a, cm_desc in, const double *x, cm_desc out, double *y)
{
    double sum = 0;
    for (int i = 0; i < a->fir.n; i++) sum += a->fir.f[i];
    EACH(out)
    {
        double v = 0;
        for (int i = 0; i < in.h; i++)
            for (int j = 0; j < in.w; j++) {
                int ky = a->fir.up ? h + a->fir.pad - 2 * i : i - (h * a->fir.stride - a->fir.pad);
                int kx = a->fir.up ? w + a->fir.pad - 2 * j : j - (w * a->fir.stride - a->fir.pad);
                if (ky < 0 || kx < 0 || ky >= a->fir.n || kx >= a->fir.n) continue;
                v += x[at(in, n, i, j, c)] * a->fir.f[ky] * a->fir.f[kx] / (sum * sum) * (a->fir.up ? 4 : 1);
            }
        y[at(out, n, h, w, c)] = v;
    }
}

static void embed_time(const cm_attr *a, const double *t, const double *freqs, cm_desc out, double *y)
{
    int half = out.c / 2;
    for (int n = 0; n < out.n; n++)
        for (int i = 0; i < out.c; i++) {
            int k = i % half, second = i / half;
            double f = a->time.kind == CM_TIME_FOURIER
                           ? 2 * acos(-1) * freqs[k < half ? k : 0]
                           : pow(10000, -(double)k / (a->time.kind == CM_TIME_POSITIONAL_ENDPOINT ? half - 1 : half));
            double angle = t[n] * f;
            y[n * out.c + i] = i >= 2 * half ? 0 : (second == a->time.sin_first) ? cos(angle) : sin(angle);
        }
}

static void embed_label(const cm_attr *a, const double *e, const int32_t *labels, const double *const *p, cm_desc out,
                        double *y)
{
    for (int n = 0; n < out.n; n++)
        for (int i = 0; i < out.c; i++) {
            int l = labels[n];
            double v = l < 0 ? 0 : a->label.transposed ? p[0][i * a->label.classes + l] : p[0][l * out.c + i];
            y[n * out.c + i] = e[n * out.c + i] + (double)a->label.scale * v + (p[1] ? p[1][i] : 0);
        }
}

static void pool(const cm_attr *a, cm_desc in, const double *x, cm_desc out, double *y)
{
    EACH(out)
    {
        const int k = a->pool.kernel, s = a->pool.stride, pad = a->pool.pad;
        double largest = -INFINITY, sum = 0;
        int count = 0;
        for (int i = 0; i < in.h; i++)
            for (int j = 0; j < in.w; j++) {
                if (k && (i < h * s - pad || i >= h * s - pad + k || j < w * s - pad || j >= w * s - pad + k))
                    continue;
                const double v = x[at(in, n, i, j, c)];
                largest = v > largest ? v : largest;
                sum += v;
                count++;
            }
        y[at(out, n, h, w, c)] = a->pool.mean ? sum / count : largest;
    }
}

static double between(cm_desc in, const double *x, int n, double row, double column, int c)
{
    const double r = fmin(fmax(row, 0), in.h - 1), k = fmin(fmax(column, 0), in.w - 1);
    const int i = (int)r, j = (int)k, below = i + 1 < in.h ? i + 1 : i, right = j + 1 < in.w ? j + 1 : j;
    const double top = x[at(in, n, i, j, c)] * (1 - (k - j)) + x[at(in, n, i, right, c)] * (k - j);
    const double bottom = x[at(in, n, below, j, c)] * (1 - (k - j)) + x[at(in, n, below, right, c)] * (k - j);
    return top * (1 - (r - i)) + bottom * (r - i);
}

static void resize(cm_desc in, const double *x, cm_desc out, double *y)
{
    EACH(out)
    y[at(out, n, h, w, c)] = between(in, x, n, (h + 0.5) * in.h / out.h - 0.5, (w + 0.5) * in.w / out.w - 0.5, c);
}

static double norm(cm_desc d, const double *x, int n, int h, int w)
{
    double sum = 0;
    for (int c = 0; c < d.c; c++) sum += x[at(d, n, h, w, c)] * x[at(d, n, h, w, c)];
    return sqrt(sum) + 1e-10;
}

static void distance(const cm_attr *a, cm_desc in, const double *const *x, const double *weight, cm_desc out,
                     double *y)
{
    double lengths[2] = {0, 0};
    EACH(out) y[at(out, n, h, w, c)] = 0;
    EACH(in)
    {
        const size_t i = at(in, n, h, w, c);
        for (int k = 0; c == 0 && k < 2; k++) lengths[k] = norm(in, x[k], n, h, w);
        const double d = x[0][i] / lengths[0] - x[1][i] / lengths[1];
        if (a->distance.map) y[at(out, n, h, w, 0)] += weight[c] * d * d;
        else y[at(out, n, 0, 0, 0)] += weight[c] * d * d / (in.h * in.w);
    }
}

/* Of channels (head, d, part): those of the head and the part of c. */
static double vector_norm(const cm_attr *a, cm_desc d, const double *x, int n, int h, int w, int c)
{
    const int parts = a->unit_norm.parts, size = d.c / a->unit_norm.heads / parts;
    const int head = c / (size * parts), part = c % parts;
    double sum = 0;
    for (int i = 0; i < size; i++) {
        const double v = x[at(d, n, h, w, (head * size + i) * parts + part)];
        sum += v * v;
    }
    return (double)a->unit_norm.eps + sqrt(sum / size);
}

static double clamp(double x, double limit)
{
    return fmin(fmax(x, -limit), limit);
}

/* The ops of EDM2's network; 0 for others. */
static int edm2_value(const cm_op *op, const cm_attr *a, const cm_desc *in, const double *const *x,
                      const double *const *p, int n, int h, int w, int c, double *y)
{
    const size_t i = c < in[0].c ? at(in[0], n, h, w, c) : 0;
    if (op == &cmi_op_unit_norm) *y = x[0][i] / vector_norm(a, in[0], x[0], n, h, w, c);
    else if (op == &cmi_op_modulate) *y = silu(x[0][i] * (1 + x[1][at(in[1], n, 0, 0, c)]));
    else if (op == &cmi_op_clamp) *y = clamp(x[0][i], (double)a->clamp.limit);
    else if (op == &cmi_op_ones) *y = c < in[0].c ? x[0][i] : 1;
    else if (op == &cmi_op_fourier) *y = sqrt(2.0) * cos(x[0][n] * p[0][c] + p[1][c]);
    else if (op == &cmi_op_balance)
        *y = c < in[0].c ? x[0][i] * (double)a->balance.scale[0]
                         : x[1][at(in[1], n, h, w, c - in[0].c)] * (double)a->balance.scale[1];
    else return 0;
    return 1;
}

void naive_forward(const cm_op *op, const cm_attr *a, const cm_desc *in, const double *const *x,
                   const int32_t *labels, const double *const *p, cm_desc out, double *y)
{
    if (op == &cmi_op_conv2d || op == &cmi_op_conv2d_relu) {
        conv(a, in[0], x[0], a->conv.scale != 0 ? x[1] : NULL, p, out, y);
        for (size_t i = 0; op == &cmi_op_conv2d_relu && i < cmi_desc_count(out); i++) y[i] = y[i] > 0 ? y[i] : 0;
    } else if (op == &cmi_op_groupnorm) groupnorm(a, in[0], x[0], x[1], in[1].c, p, y);
    else if (op == &cmi_op_attention) attention(a, in[0], x, out, y);
    else if (op == &cmi_op_fir) fir(a, in[0], x[0], out, y);
    else if (op == &cmi_op_pool) pool(a, in[0], x[0], out, y);
    else if (op == &cmi_op_resize) resize(in[0], x[0], out, y);
    else if (op == &cmi_op_distance) distance(a, in[0], x, p[0], out, y);
    else if (op == &cmi_op_embed_time) embed_time(a, x[0], p[0], out, y);
    else if (op == &cmi_op_embed_label) embed_label(a, x[0], labels, p, out, y);
    else EACH(out)
        {
            size_t i = at(out, n, h, w, c);
            if (edm2_value(op, a, in, x, p, n, h, w, c, &y[i])) continue;
            if (op == &cmi_op_silu) y[i] = silu(x[0][i]);
            else if (op == &cmi_op_relu) y[i] = x[0][i] > 0 ? x[0][i] : 0;
            else if (op == &cmi_op_standardize)
                y[i] = (x[0][at(in[0], n, h, w, in[0].c > 1 ? c : 0)] - (double)a->standardize.shift[c]) /
                       (double)a->standardize.scale[c];
            else if (op == &cmi_op_add) y[i] = (x[0][i] + x[1][i]) * (double)a->add.scale;
            else if (op == &cmi_op_scale) y[i] = x[0][i] * x[1][n];
            else if (op == &cmi_op_mix) y[i] = x[2][n] * x[0][i] + x[3][n] * x[1][at(in[1], n, h, w, c)];
            else if (op == &cmi_op_concat) {
                int k = 0, of = c;
                for (; of >= in[k].c; k++) of -= in[k].c;
                y[i] = x[k][at(in[k], n, h, w, of)];
            } else if (op == &cmi_op_space_to_depth) {
                const int s = a->space_to_depth.size,
                          k = a->space_to_depth.back ? (h % s * s + w % s) * out.c + c : c % in[0].c;
                const int spot = c / in[0].c; /* within the patch */
                y[i] = a->space_to_depth.back ? x[0][at(in[0], n, h / s, w / s, k)]
                                              : x[0][at(in[0], n, h * s + spot / s, w * s + spot % s, k)];
            } else if (op == &cmi_op_linear) {
                y[i] = p[1] ? p[1][c] : 0;
                for (int k = 0; k < in[0].c; k++) y[i] += p[0][c * in[0].c + k] * x[0][at(in[0], n, 0, 0, k)];
            }
        }
}
