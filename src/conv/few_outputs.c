/* few_outputs.c - convolutions to few outputs, row by row. */
#include "conv/conv.h"

#include <string.h>

#include "base/parallel.h"

enum { TAPS = 9, MOST = 3, POINTS = 4 };

int cmi_few_outputs_rule(int32_t kernel, int32_t stride, int32_t pad, int32_t c, int32_t oc)
{
    return kernel == 3 && stride == 1 && pad == 1 && c % 16 == 0 && oc <= MOST;
}

/* Float32 whatever the network's arithmetic. */
static int fits(cm_convolution *conv, const cm_conv_options *o, const cm_conv_shape *s)
{
    if (s->up || s->transposed || !cmi_few_outputs_rule(s->kernel, s->stride, s->pad, s->c, s->oc)) return 0;
    conv->as.few_outputs = (cm_few_outputs){o->kernels, o->threads, s->n, s->h, s->w, s->c, s->oc};
    conv->name = "few outputs 3x3";
    conv->packed_bytes = TAPS * MOST * (size_t)s->c * sizeof(float);
    conv->scratch_bytes = (size_t)s->c * sizeof(float); /* zeros: what is outside the image */
    return 1;
}

static int same_weights(const cm_convolution *a, const cm_convolution *b)
{
    return a->as.few_outputs.c == b->as.few_outputs.c && a->as.few_outputs.oc == b->as.few_outputs.oc;
}

/* plain [oc][c][3][3] to [9][3][c]. */
static cm_status pack(const cm_convolution *conv, const float *plain, void *packed)
{
    const size_t c = (size_t)conv->as.few_outputs.c, oc = (size_t)conv->as.few_outputs.oc;
    float *to = packed;
    memset(packed, 0, conv->packed_bytes);
    for (size_t o = 0; o < oc; o++)
        for (size_t k = 0; k < c; k++)
            for (size_t tap = 0; tap < TAPS; tap++) to[(tap * MOST + o) * c + k] = *plain++;
    return CM_OK;
}

typedef struct {
    const cm_few_outputs *conv;
    const float *x, *packed, *bias, *residual, *zero;
    float scale;
    float *y;
} job;

/* The points that four outputs of a row from `first` on see, tap by tap. */
static void find_points(const job *j, int32_t image, int32_t row, int32_t first, const float **src)
{
    const cm_few_outputs *s = j->conv;
    for (int32_t tap = 0; tap < TAPS; tap++) {
        const int32_t at = row + tap / 3 - 1;
        const int outside = at < 0 || at >= s->h;
        const float *line = j->x + (size_t)(image * s->h + (outside ? 0 : at)) * (size_t)s->w * (size_t)s->c;
        for (int32_t p = first + tap % 3 - 1, last = p + POINTS; p < last; p++)
            *src++ = outside || p < 0 || p >= s->w ? j->zero : line + (size_t)p * (size_t)s->c;
    }
}

/* A point's outputs from their sums. */
static void finish(const job *j, size_t point, const float *sums)
{
    const size_t oc = (size_t)j->conv->oc;
    for (size_t o = 0; o < oc; o++) {
        float v = sums[o] + (j->bias ? j->bias[o] : 0);
        j->y[point * oc + o] = j->residual ? (v + j->residual[point * oc + o]) * j->scale : v;
    }
}

/* Piece: one row of one image. */
static cm_status row_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_few_outputs *s = j->conv;
    const float *src[TAPS * POINTS];
    float sums[POINTS * MOST];
    (void)worker;
    for (int32_t first = 0; first < s->w; first += POINTS) {
        const int32_t count = s->w - first < POINTS ? s->w - first : POINTS;
        find_points(j, piece / s->h, piece % s->h, first, src);
        s->kernels->pointwise->few_outputs((size_t)s->c, src, j->packed, sums);
        for (int32_t p = 0; p < count; p++)
            finish(j, (size_t)piece * (size_t)s->w + (size_t)(first + p), sums + MOST * p);
    }
    return CM_OK;
}

static cm_status run(const cm_convolution *conv, const cm_conv_run *r)
{
    const cm_few_outputs *f = &conv->as.few_outputs;
    job j = {f, r->x, r->weights, r->bias, r->residual, r->scratch, r->scale, r->y};
    memset(r->scratch, 0, conv->scratch_bytes);
    return cmi_parallel(f->threads, f->n * f->h, row_piece, &j);
}

const cm_conv_algorithm cmi_conv_few_outputs = {.name = "few outputs",
                                                .fits = fits,
                                                .same_weights = same_weights,
                                                .pack = pack,
                                                .run = run,
                                                .weight_gradient = &cmi_patches_weight_gradient};
