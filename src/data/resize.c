/* resize.c - two passes with integer weights of 22 bits. */
#include "data/resize.h"

#include <math.h>
#include <string.h>

/* What makes one output position: sources first .. first + count - 1. */
typedef struct {
    int32_t first, count;
    int32_t *weight;
} taps;

static double kernel(int filter, double x)
{
    const double a = -0.5;
    if (filter == CM_FILTER_BOX) return x > -0.5 && x <= 0.5 ? 1 : 0;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static int32_t most_taps(int32_t in, int32_t out, int filter)
{
    double scale = (double)in / out;
    return (int32_t)ceil((filter == CM_FILTER_BOX ? 0.5 : 2.0) * (scale > 1 ? scale : 1)) * 2 + 2;
}

/* weight has room for most_taps; work for as many doubles. */
static void find_taps(int32_t i, int32_t in, int32_t out, int filter, double *work, taps *t)
{
    double scale = (double)in / out, fs = scale > 1 ? scale : 1;
    double support = (filter == CM_FILTER_BOX ? 0.5 : 2.0) * fs, centre = (i + 0.5) * scale, sum = 0;
    int32_t low = (int32_t)(centre - support + 0.5), high = (int32_t)(centre + support + 0.5);
    if (centre - support + 0.5 < 0) low = 0;
    if (high > in) high = in;
    t->first = low;
    t->count = high - low;
    for (int32_t k = 0; k < t->count; k++) sum += work[k] = kernel(filter, (low + k - centre + 0.5) / fs);
    for (int32_t k = 0; k < t->count; k++) {
        double w = work[k] / sum * (1 << 22);
        t->weight[k] = (int32_t)(w >= 0 ? w + 0.5 : w - 0.5);
    }
}

static uint8_t weighted(const taps *t, const uint8_t *from, size_t step)
{
    int32_t sum = 1 << 21;
    for (int32_t k = 0; k < t->count; k++) sum += t->weight[k] * from[(size_t)(t->first + k) * step];
    sum >>= 22;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* One pass: `lines` lines of `in` samples to `out`; a sample is `step` bytes from the
 * next, a line `in_line` (`out_line`) bytes, of `inner` interleaved values. */
typedef struct {
    int32_t in, out;
    size_t lines, inner, step, in_line, out_line;
} pass;

static cm_status run_pass(cm_context *context, const pass *p, int filter, const uint8_t *from, uint8_t *to)
{
    int32_t most = most_taps(p->in, p->out, filter);
    double *work = cm_malloc(context, (size_t)most, sizeof *work);
    taps t = {0, 0, cm_malloc(context, (size_t)most, sizeof *t.weight)};
    cm_status status = work && t.weight ? CM_OK : CM_ERR_MEMORY;
    for (int32_t i = 0; i < p->out && status == CM_OK; i++) {
        find_taps(i, p->in, p->out, filter, work, &t);
        for (size_t line = 0; line < p->lines; line++)
            for (size_t k = 0; k < p->inner; k++)
                to[line * p->out_line + (size_t)i * p->step + k] = weighted(&t, from + line * p->in_line + k, p->step);
    }
    cm_free(context, work);
    cm_free(context, t.weight);
    return status;
}

cm_status cm_resize(cm_context *context, const cm_picture *in, int32_t height, int32_t width, int filter,
                    cm_picture *out)
{
    size_t c = (size_t)in->channels, w = (size_t)in->width, h = (size_t)in->height, ow = (size_t)width;
    /* Across: a line is a row.  Down: one line whose samples are whole rows. */
    const pass across = {in->width, width, h, c, c, w * c, ow * c};
    const pass down = {in->height, height, 1, ow * c, ow * c, 0, 0};
    uint8_t *middle = NULL;
    *out = (cm_picture){in->channels, height, width, NULL};
    const uint8_t *from = in->pixels;
    cm_status status = CM_OK;
    if (width != in->width) {
        middle = cm_malloc(context, h * ow, c);
        status = middle ? run_pass(context, &across, filter, from, middle) : CM_ERR_MEMORY;
        from = middle;
    }
    if (status == CM_OK && !(out->pixels = cm_malloc(context, (size_t)height * ow, c))) status = CM_ERR_MEMORY;
    if (status == CM_OK) {
        if (height != in->height) status = run_pass(context, &down, filter, from, out->pixels);
        else memcpy(out->pixels, from, h * ow * c);
    }
    cm_free(context, middle);
    if (status != CM_OK) {
        cm_free(context, out->pixels);
        out->pixels = NULL;
    }
    return status;
}

static cm_status replace(cm_context *context, cm_picture *picture, int32_t height, int32_t width, int filter)
{
    cm_picture out;
    if (height == picture->height && width == picture->width) return CM_OK;
    CM_TRY(cm_resize(context, picture, height, width, filter, &out));
    cm_free(context, picture->pixels);
    *picture = out;
    return CM_OK;
}

static int32_t shorter(const cm_picture *p)
{
    return p->width < p->height ? p->width : p->height;
}

cm_status cm_shrink_to(cm_context *context, cm_picture *p, int32_t d)
{
    while (shorter(p) >= 2 * d) CM_TRY(replace(context, p, p->height / 2, p->width / 2, CM_FILTER_BOX));
    double scale = (double)d / shorter(p);
    /* nearbyint in round-to-nearest mode is Python's round: half to even */
    return replace(context, p, (int32_t)nearbyint(p->height * scale), (int32_t)nearbyint(p->width * scale),
                   CM_FILTER_BICUBIC);
}

cm_status cm_crop(cm_context *context, cm_picture *p, int32_t s, int32_t y, int32_t x)
{
    size_t c = (size_t)p->channels, side = (size_t)s;
    if (p->height == s && p->width == s) return CM_OK;
    uint8_t *cut = cm_malloc(context, side * side, c);
    if (!cut) return CM_ERR_MEMORY;
    for (size_t row = 0; row < side; row++)
        memcpy(cut + row * side * c, p->pixels + (((size_t)y + row) * (size_t)p->width + (size_t)x) * c, side * c);
    cm_free(context, p->pixels);
    *p = (cm_picture){p->channels, s, s, cut};
    return CM_OK;
}

cm_status cm_center_crop(cm_context *context, cm_picture *p, int32_t s)
{
    CM_TRY(cm_shrink_to(context, p, s));
    return cm_crop(context, p, s, (p->height - s) / 2, (p->width - s) / 2);
}
