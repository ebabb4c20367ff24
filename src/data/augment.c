/* augment.c - draws, their map, and resampling through a doubled image. */
#include "data/augment.h"

#include <math.h>
#include <string.h>

/* --- the map: centred output positions to centred input positions ------------------- */

static void multiply(double a[9], const double b[9])
{
    double c[9];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            c[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
    memcpy(a, c, sizeof c);
}

static void rotate(double g[9], double angle)
{
    const double r[9] = {cos(angle), -sin(angle), 0, sin(angle), cos(angle), 0, 0, 0, 1};
    multiply(g, r);
}

static void stretch(double g[9], double x, double y)
{
    const double s[9] = {x, 0, 0, 0, y, 0, 0, 0, 1};
    multiply(g, s);
}

static void move(double g[9], double x, double y)
{
    const double t[9] = {1, 0, x, 0, 1, y, 0, 0, 1};
    multiply(g, t);
}

/* --- resampling --------------------------------------------------------------------------- */

/* Low-pass filter of the sym6 wavelet. */
static const double taps[12] = {0.015404109327027373, 0.0034907120842174702, -0.11799011114819057,
                                -0.048311742585633,   0.4910559419267466,    0.787641141030194,
                                0.3379294217276218,   -0.07263752278646252,  -0.021060292512300564,
                                0.04472490177066578,  0.0017677118642428036, -0.007800708325034148};

static int32_t mirror(int32_t i, int32_t n)
{
    int32_t period = 2 * (n - 1);
    if (n == 1) return 0;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i;
}

/* Doubled sample j of a line of n: zeros between, 6 at both ends, the filter reversed. */
static double doubled(const double *line, size_t step, int32_t n, int32_t j)
{
    double sum = 0;
    for (int32_t k = 0; k < 12; k++) {
        int32_t at = j + k - 6; /* in the stuffed line of 2 n - 1 */
        if (at < 0 || at > 2 * (n - 1) || at % 2) continue;
        sum += taps[11 - k] * line[(size_t)(at / 2) * step];
    }
    return sum;
}

/* Every second sample through the filter; 5 zeros at both ends, 3 dropped. */
static double halved(const double *line, size_t step, int32_t n, int32_t j)
{
    double sum = 0;
    for (int32_t k = 0; k < 12; k++) {
        int32_t at = 2 * (j + 3) + k - 5;
        if (at >= 0 && at < n) sum += taps[k] * line[(size_t)at * step];
    }
    return sum;
}

static double at_zero_outside(const double *image, int32_t h, int32_t w, int32_t y, int32_t x)
{
    return y < 0 || x < 0 || y >= h || x >= w ? 0 : image[(size_t)y * (size_t)w + (size_t)x];
}

static double bilinear(const double *image, int32_t h, int32_t w, double y, double x)
{
    double fy = floor(y), fx = floor(x), v = y - fy, u = x - fx;
    if (!(fy >= -2 && fx >= -2 && fy <= h && fx <= w)) return 0;
    int32_t i = (int32_t)fy, j = (int32_t)fx;
    return (1 - v) * ((1 - u) * at_zero_outside(image, h, w, i, j) + u * at_zero_outside(image, h, w, i, j + 1)) +
           v * ((1 - u) * at_zero_outside(image, h, w, i + 1, j) + u * at_zero_outside(image, h, w, i + 1, j + 1));
}

/* Margins that the mapped corners ask for: left, right, top, bottom. */
static void margins(const double g[9], int32_t w, int32_t h, int32_t out[4])
{
    double cx = (w - 1) / 2.0, cy = (h - 1) / 2.0, most[4] = {-1e300, -1e300, -1e300, -1e300};
    for (int corner = 0; corner < 4; corner++) {
        double x = corner & 1 ? cx : -cx, y = corner & 2 ? cy : -cy;
        double mx = g[0] * x + g[1] * y + g[2], my = g[3] * x + g[4] * y + g[5];
        most[0] = fmax(most[0], -mx), most[1] = fmax(most[1], mx);
        most[2] = fmax(most[2], -my), most[3] = fmax(most[3], my);
    }
    for (int i = 0; i < 4; i++) {
        double v = most[i] + 6 - (i < 2 ? cx : cy), limit = (i < 2 ? w : h) - 1;
        out[i] = (int32_t)ceil(v < 0 ? 0 : v > limit ? limit : v);
    }
}

struct cm_augmenter {
    cm_context *context;
    int32_t channels, h, w;
    int32_t ph, pw; /* with margins */
    double p, flip;
    int32_t labels;
    double *padded, *wide, *big, *grid, *half;
    float *mirrored;
};

static void resample_plane(const cm_augmenter *b, const double g[9], const int32_t m[4], const float *in, float *out)
{
    int32_t dw = 2 * b->pw, dh = 2 * b->ph, gw = 2 * (b->w + 6), gh = 2 * (b->h + 6);
    for (int32_t y = 0; y < b->ph; y++)
        for (int32_t x = 0; x < b->pw; x++)
            b->padded[(size_t)y * (size_t)b->pw + (size_t)x] =
                (double)in[(size_t)mirror(y - m[2], b->h) * (size_t)b->w + (size_t)mirror(x - m[0], b->w)];
    for (int32_t y = 0; y < b->ph; y++)
        for (int32_t x = 0; x < dw; x++)
            b->wide[(size_t)y * (size_t)dw + (size_t)x] = doubled(b->padded + (size_t)y * (size_t)b->pw, 1, b->pw, x);
    for (int32_t y = 0; y < dh; y++)
        for (int32_t x = 0; x < dw; x++)
            b->big[(size_t)y * (size_t)dw + (size_t)x] = doubled(b->wide + x, (size_t)dw, b->ph, y);
    for (int32_t y = 0; y < gh; y++)
        for (int32_t x = 0; x < gw; x++) {
            double qx = x + 0.5 - gw / 2.0, qy = y + 0.5 - gh / 2.0;
            double px = g[0] * qx + g[1] * qy + g[2], py = g[3] * qx + g[4] * qy + g[5];
            b->grid[(size_t)y * (size_t)gw + (size_t)x] =
                bilinear(b->big, dh, dw, py + dh / 2.0 - 0.5, px + dw / 2.0 - 0.5);
        }
    for (int32_t y = 0; y < gh; y++)
        for (int32_t x = 0; x < b->w; x++)
            b->half[(size_t)y * (size_t)b->w + (size_t)x] = halved(b->grid + (size_t)y * (size_t)gw, 1, gw, x);
    for (int32_t y = 0; y < b->h; y++)
        for (int32_t x = 0; x < b->w; x++)
            out[(size_t)y * (size_t)b->w + (size_t)x] = (float)halved(b->half + x, (size_t)b->w, gh, y);
}

void cmi_augmenter_resample(cm_augmenter *a, const double G[9], const float *in, float *out)
{
    static const double half_up[9] = {2, 0, 0, 0, 2, 0, 0, 0, 1}, half_down[9] = {0.5, 0, 0, 0, 0.5, 0, 0, 0, 1};
    double g[9], t[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    int32_t m[4];
    size_t plane = (size_t)a->h * (size_t)a->w;
    margins(G, a->w, a->h, m);
    a->pw = a->w + m[0] + m[1];
    a->ph = a->h + m[2] + m[3];
    /* T((left - right)/2, ..) G; then to doubled positions:
     * T(-1/2, -1/2) S(2, 2) G S(1/2, 1/2) T(1/2, 1/2) */
    move(t, -0.5, -0.5);
    multiply(t, half_up);
    move(t, (m[0] - m[1]) / 2.0, (m[2] - m[3]) / 2.0);
    memcpy(g, t, sizeof g);
    multiply(g, G);
    multiply(g, half_down);
    move(g, 0.5, 0.5);
    for (int32_t c = 0; c < a->channels; c++)
        resample_plane(a, g, m, in + (size_t)c * plane, out + (size_t)c * plane);
}

/* --- draws --------------------------------------------------------------------------------- */

static double normal_of(double u1, double u2)
{
    return sqrt(-2 * log(u1)) * cos(6.283185307179586476925 * u2);
}

static void mirror_image(const cm_augmenter *a, int across, int down, const float *in, float *out)
{
    for (int32_t row = 0; row < a->channels * a->h; row++) {
        int32_t y = row % a->h, from = down ? row - y + a->h - 1 - y : row;
        for (int32_t x = 0; x < a->w; x++)
            out[(size_t)row * (size_t)a->w + (size_t)x] =
                in[(size_t)from * (size_t)a->w + (size_t)(across ? a->w - 1 - x : x)];
    }
}

/* Rows 3 to 6 of the table, without row 4 where nothing is turned: the map G, labels 2 to 8. */
static void draw_map(const double *u, double p, int turns, int32_t w, int32_t h, double g[9],
                     double labels[CM_AUGMENT_LABELS])
{
    static const double pi = 3.14159265358979323846;
    double scale = u[0] < p ? normal_of(u[1], u[2]) : 0, s = pow(2, 0.2 * scale);
    double angle = turns && u[3] < p ? (2 * u[4] - 1) * pi : 0;
    double uneven = u[5] < p ? normal_of(u[6], u[7]) : 0, axis = u[8] < 0.5 ? (2 * u[9] - 1) * pi : 0;
    double q = pow(2, 0.2 * uneven), x = 0, y = 0;
    if (u[10] < p) x = normal_of(u[11], u[12]), y = normal_of(u[13], u[14]);
    stretch(g, 1 / s, 1 / s);
    rotate(g, angle);
    rotate(g, -axis);
    stretch(g, 1 / q, q);
    rotate(g, axis);
    move(g, -w * x / 8, -h * y / 8);
    const double values[7] = {scale, cos(angle) - 1, sin(angle), uneven * cos(axis), uneven * sin(axis), x, y};
    memcpy(labels + 2, values, sizeof values);
}

/* Those of what is not in the pipeline are left out. */
static void write_labels(const cm_augmenter *a, const double all[CM_AUGMENT_LABELS], float *labels)
{
    static const int fewer[CM_AUGMENT_FEWER] = {0, 2, 5, 6, 7, 8};
    for (int i = 0; i < a->labels; i++) labels[i] = (float)all[a->labels == CM_AUGMENT_FEWER ? fewer[i] : i];
}

void cmi_augmenter_image(cm_augmenter *a, const cm_stream *stream, const float *in, float *out, float *labels)
{
    double u[24], l[CM_AUGMENT_LABELS] = {0}, g[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    cmi_stream_uniform(stream, 24, u);
    const int whole = a->labels == CM_AUGMENT_LABELS;
    int across = u[0] < a->flip, down = 0;
    if (a->p > 0) {
        int labelled = u[1] < 0.5; /* never gated, as in the reference */
        across ^= labelled;
        l[0] = labelled;
        l[1] = down = whole && u[2] < a->p && u[3] < 0.5;
        draw_map(u + 4, a->p, whole, a->w, a->h, g, l);
        mirror_image(a, across, down, in, a->mirrored);
        cmi_augmenter_resample(a, g, a->mirrored, out);
    } else {
        mirror_image(a, across, 0, in, out);
    }
    write_labels(a, l, labels);
}

/* --- making -------------------------------------------------------------------------------- */

cm_status cmi_augmenter_create(cm_context *context, int32_t channels, int32_t height, int32_t width, double p,
                               double flip, int32_t labels, cm_augmenter **out)
{
    size_t w = (size_t)width, h = (size_t)height, pw = 3 * w, ph = 3 * h;
    *out = NULL;
    cm_augmenter *a = cmi_calloc(context, 1, sizeof *a);
    if (!a) return CM_ERR_MEMORY;
    a->context = context;
    a->channels = channels, a->h = height, a->w = width;
    a->p = p, a->flip = flip, a->labels = labels;
    int whole = 1;
    if (p > 0) {
        a->padded = cmi_malloc(context, pw * ph, sizeof *a->padded);
        a->wide = cmi_malloc(context, 2 * pw * ph, sizeof *a->wide);
        a->big = cmi_malloc(context, 4 * pw * ph, sizeof *a->big);
        a->grid = cmi_malloc(context, 4 * (w + 6) * (h + 6), sizeof *a->grid);
        a->half = cmi_malloc(context, 2 * w * (h + 6), sizeof *a->half);
        a->mirrored = cmi_malloc(context, (size_t)channels * w * h, sizeof *a->mirrored);
        whole = a->padded && a->wide && a->big && a->grid && a->half && a->mirrored;
    }
    if (!whole) {
        cmi_augmenter_free(a);
        return CM_ERR_MEMORY;
    }
    *out = a;
    return CM_OK;
}

void cmi_augmenter_free(cm_augmenter *a)
{
    if (!a) return;
    cmi_free(a->context, a->padded);
    cmi_free(a->context, a->wide);
    cmi_free(a->context, a->big);
    cmi_free(a->context, a->grid);
    cmi_free(a->context, a->half);
    cmi_free(a->context, a->mirrored);
    cmi_free(a->context, a);
}
