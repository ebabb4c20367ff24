/* resize.c - two passes with integer weights of 22 bits.  Only what is wanted of the
 * result is made, so that a long thin picture costs no more than its own pixels. */
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

static double support_of(int32_t in, int64_t out, int filter)
{
    double scale = (double)in / (double)out;
    return (filter == CM_FILTER_BOX ? 0.5 : 2.0) * (scale > 1 ? scale : 1);
}

static int32_t most_taps(int32_t in, int64_t out, int filter)
{
    return (int32_t)ceil(support_of(in, out, filter)) * 2 + 2;
}

/* The sources [low, high) of output i. */
static void find_sources(int64_t i, int32_t in, int64_t out, int filter, int32_t *low, int32_t *high)
{
    double support = support_of(in, out, filter), centre = ((double)i + 0.5) * ((double)in / (double)out);
    *low = centre - support + 0.5 < 0 ? 0 : (int32_t)(centre - support + 0.5);
    *high = (int32_t)(centre + support + 0.5);
    if (*high > in) *high = in;
}

/* weight has most_taps elements, and work as many doubles. */
static void find_taps(int64_t i, int32_t in, int64_t out, int filter, double *work, taps *t)
{
    double scale = (double)in / (double)out, fs = scale > 1 ? scale : 1, centre = ((double)i + 0.5) * scale, sum = 0;
    int32_t low, high;
    find_sources(i, in, out, filter, &low, &high);
    t->first = low;
    t->count = high - low;
    for (int32_t k = 0; k < t->count; k++) sum += work[k] = kernel(filter, (low + k - centre + 0.5) / fs);
    for (int32_t k = 0; k < t->count; k++) {
        double w = work[k] / sum * (1 << 22);
        t->weight[k] = (int32_t)(w >= 0 ? w + 0.5 : w - 0.5);
    }
}

/* `from` is the first of the sources. */
static uint8_t weighted(const taps *t, const uint8_t *from, size_t step)
{
    int32_t sum = 1 << 21;
    for (int32_t k = 0; k < t->count; k++) sum += t->weight[k] * from[(size_t)k * step];
    sum >>= 22;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* One pass from `in` samples to `out`, of which [first, first + count) are made: in each
 * of `lines` lines of `inner` interleaved values.  What is given of the input begins at
 * sample `begin`. */
typedef struct {
    int32_t in, begin, count;
    int64_t out, first;
    size_t lines, inner;
    size_t in_step, in_line, out_step, out_line; /* bytes from a sample, from a line, to the next */
} pass;

static cm_status run_pass(cm_context *context, const pass *p, int filter, const uint8_t *from, uint8_t *to)
{
    int32_t most = most_taps(p->in, p->out, filter);
    double *work = cmi_malloc(context, (size_t)most, sizeof *work);
    taps t = {0, 0, cmi_malloc(context, (size_t)most, sizeof *t.weight)};
    cm_status status = work && t.weight ? CM_OK : CM_ERR_MEMORY;
    for (int32_t i = 0; i < p->count && status == CM_OK; i++) {
        find_taps(p->first + i, p->in, p->out, filter, work, &t);
        const uint8_t *first = from + (size_t)(t.first - p->begin) * p->in_step;
        for (size_t line = 0; line < p->lines; line++)
            for (size_t k = 0; k < p->inner; k++)
                to[line * p->out_line + (size_t)i * p->out_step + k] =
                    weighted(&t, first + line * p->in_line + k, p->in_step);
    }
    cmi_free(context, work);
    cmi_free(context, t.weight);
    return status;
}

cm_status cmi_resize_part(cm_context *context, const cm_picture *in, int64_t height, int64_t width, int filter,
                          const cm_part *part, cm_picture *out)
{
    size_t c = (size_t)in->channels, line = (size_t)in->width * c, row = (size_t)part->width * c;
    int32_t begin = (int32_t)part->y, end = begin + part->height, unused; /* the rows that are needed */
    if (height != in->height) {
        find_sources(part->y, in->height, height, filter, &begin, &unused);
        find_sources(part->y + part->height - 1, in->height, height, filter, &unused, &end);
    }
    size_t rows = (size_t)(end - begin);
    const uint8_t *from = in->pixels + (size_t)begin * line;
    uint8_t *middle = NULL;
    cm_status status = CM_OK;
    *out = (cm_picture){in->channels, part->height, part->width, cmi_malloc(context, (size_t)part->height, row)};
    if (!out->pixels) return CM_ERR_MEMORY;
    if (width != in->width) {
        const pass across = {in->width, 0, part->width, width, part->x, rows, c, c, line, c, row};
        middle = cmi_malloc(context, rows, row);
        status = middle ? run_pass(context, &across, filter, from, middle) : CM_ERR_MEMORY;
        from = middle;
        line = row;
    } else {
        from += (size_t)part->x * c;
    }
    if (status == CM_OK && height != in->height) { /* one line whose samples are whole rows */
        const pass down = {in->height, begin, part->height, height, part->y, 1, row, line, 0, row, 0};
        status = run_pass(context, &down, filter, from, out->pixels);
    } else if (status == CM_OK) {
        for (size_t y = 0; y < rows; y++) memcpy(out->pixels + y * row, from + y * line, row);
    }
    cmi_free(context, middle);
    if (status != CM_OK) {
        cmi_free(context, out->pixels);
        out->pixels = NULL;
    }
    return status;
}

static cm_status replace(cm_context *context, cm_picture *picture, int64_t height, int64_t width, int filter,
                         const cm_part *part)
{
    cm_picture out;
    if (height == picture->height && width == picture->width && part->height == height && part->width == width)
        return CM_OK;
    CM_TRY(cmi_resize_part(context, picture, height, width, filter, part, &out));
    cmi_free(context, picture->pixels);
    *picture = out;
    return CM_OK;
}

static int32_t shorter(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

void cmi_shrunk_size(int32_t height, int32_t width, int32_t d, int64_t *to_height, int64_t *to_width)
{
    while (shorter(height, width) >= 2 * d) height /= 2, width /= 2;
    double scale = (double)d / shorter(height, width);
    /* nearbyint in round-to-nearest mode is Python's round: half to even */
    *to_height = (int64_t)nearbyint(height * scale);
    *to_width = (int64_t)nearbyint(width * scale);
}

cm_status cmi_shrink_and_cut(cm_context *context, cm_picture *p, int32_t d, const cm_part *part)
{
    int64_t height, width;
    cmi_shrunk_size(p->height, p->width, d, &height, &width);
    while (shorter(p->height, p->width) >= 2 * d) {
        const cm_part whole = {0, 0, p->height / 2, p->width / 2};
        CM_TRY(replace(context, p, whole.height, whole.width, CM_FILTER_BOX, &whole));
    }
    return replace(context, p, height, width, CM_FILTER_BICUBIC, part);
}

cm_status cmi_center_crop(cm_context *context, cm_picture *p, int32_t s)
{
    int64_t height, width;
    cmi_shrunk_size(p->height, p->width, s, &height, &width);
    return cmi_shrink_and_cut(context, p, s, &(cm_part){(height - s) / 2, (width - s) / 2, s, s});
}
