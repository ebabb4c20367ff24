/* few_outputs.c - convolutions to few channels, row by row. */
#include "conv/few_outputs.h"

#include <string.h>

#include "base/parallel.h"

enum { TAPS = 9, MOST = 3, POINTS = 4 };

int cm_narrow_rule(int32_t kernel, int32_t stride, int32_t pad, int32_t c, int32_t oc)
{
    return kernel == 3 && stride == 1 && pad == 1 && c % 16 == 0 && oc <= MOST;
}

void cm_narrow_init(cm_narrow *narrow, const cm_kernels *kernels, cm_threads threads, int32_t n, int32_t h, int32_t w,
                    int32_t c, int32_t oc)
{
    *narrow = (cm_narrow){kernels, threads, n, h, w, c, oc};
}

size_t cm_narrow_packed_bytes(const cm_narrow *narrow)
{
    return TAPS * MOST * (size_t)narrow->c * sizeof(float);
}

int cm_narrow_same_weights(const cm_narrow *a, const cm_narrow *b)
{
    return a->c == b->c && a->oc == b->oc;
}

void cm_narrow_pack(const cm_narrow *narrow, const float *plain, float *packed)
{
    const size_t c = (size_t)narrow->c, oc = (size_t)narrow->oc;
    memset(packed, 0, cm_narrow_packed_bytes(narrow));
    for (size_t o = 0; o < oc; o++)
        for (size_t k = 0; k < c; k++)
            for (size_t tap = 0; tap < TAPS; tap++) packed[(tap * MOST + o) * c + k] = *plain++;
}

size_t cm_narrow_scratch_bytes(const cm_narrow *narrow)
{
    return (size_t)narrow->c * sizeof(float); /* zeros: what is outside the image */
}

typedef struct {
    const cm_narrow *narrow;
    const float *x, *packed, *bias, *residual, *zero;
    float scale;
    float *y;
} job;

/* The points that four outputs of a row from `first` on see, tap by tap. */
static void find_points(const job *j, int32_t image, int32_t row, int32_t first, const float **src)
{
    const cm_narrow *s = j->narrow;
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
    const size_t oc = (size_t)j->narrow->oc;
    for (size_t o = 0; o < oc; o++) {
        float v = sums[o] + (j->bias ? j->bias[o] : 0);
        j->y[point * oc + o] = j->residual ? (v + j->residual[point * oc + o]) * j->scale : v;
    }
}

/* Piece: one row of one image. */
static cm_status row_piece(void *user, int piece, int worker)
{
    const job *j = user;
    const cm_narrow *s = j->narrow;
    const float *src[TAPS * POINTS];
    float sums[POINTS * MOST];
    (void)worker;
    for (int32_t first = 0; first < s->w; first += POINTS) {
        const int32_t count = s->w - first < POINTS ? s->w - first : POINTS;
        find_points(j, piece / s->h, piece % s->h, first, src);
        s->kernels->pointwise->narrow((size_t)s->c, src, j->packed, sums);
        for (int32_t p = 0; p < count; p++)
            finish(j, (size_t)piece * (size_t)s->w + (size_t)(first + p), sums + MOST * p);
    }
    return CM_OK;
}

cm_status cm_narrow_run(const cm_narrow *narrow, const float *x, const float *packed, const float *bias,
                        const float *residual, float scale, float *y, void *scratch)
{
    job j = {narrow, x, packed, bias, residual, scratch, scale, y};
    memset(scratch, 0, cm_narrow_scratch_bytes(narrow));
    return cm_parallel(narrow->threads, narrow->n * narrow->h, row_piece, &j);
}
