/* winograd_parts.h - what Winograd's forward and its weight gradient share: groups of columns, and where the
 * points of a tile stand. */
#ifndef CM_CONV_WINOGRAD_PARTS_H
#define CM_CONV_WINOGRAD_PARTS_H

#include "conv/winograd.h"

/* Columns of the products are served in groups of 64, whose results stay in the
 * nearest cache until they are transformed. */
enum { CM_WINOGRAD_GROUP = 64 };

/* Matrices a power of two apart collide in the cache: so many floats more lie between them. */
enum { CM_WINOGRAD_PAD = 48 };

static inline size_t cmi_winograd_groups(size_t columns)
{
    return (columns + CM_WINOGRAD_GROUP - 1) / CM_WINOGRAD_GROUP;
}

static inline size_t cmi_winograd_group_columns(const cm_winograd *w, size_t first)
{
    size_t left = (size_t)w->oc - first;
    return left < CM_WINOGRAD_GROUP ? left : CM_WINOGRAD_GROUP;
}

/* Of a tile. */
static inline size_t cmi_winograd_outputs(const cm_winograd *w)
{
    return w->geometry->down * w->geometry->across;
}

/* Tile number `tile`, in rows: of `inputs` the points of x [n][h][w][c] that it depends on, else those
 * of its outputs in an x like these; `zero` outside the image. */
static inline void cmi_winograd_find_points(const cm_winograd *w, const float *x, size_t c, size_t tile, int inputs,
                                            const float *zero, const float **points)
{
    if (!w->geometry->rim) {
        points[0] = x + tile * c;
        return;
    }
    const cm_winograd_span *s = &w->span;
    const int32_t down = inputs ? s->step_down : s->down, across = inputs ? s->step_across : s->across;
    const int32_t below = inputs ? down + 2 * s->rim_down : down,
                  right = inputs ? across + 2 * s->rim_across : across;
    const int32_t rows = inputs ? w->h : (int32_t)w->out_h, columns = inputs ? w->w : (int32_t)w->out_w;
    size_t per = w->tiles_down * w->tiles_across;
    const float *image = x + tile / per * (size_t)rows * (size_t)columns * c;
    int32_t top = (int32_t)(tile % per / w->tiles_across) * down - (inputs ? s->pad_down : 0);
    int32_t left = (int32_t)(tile % w->tiles_across) * across - (inputs ? s->pad_across : 0);
    for (int32_t row = top; row < top + below; row++)
        for (int32_t column = left; column < left + right; column++) {
            int inside = row >= 0 && row < rows && column >= 0 && column < columns;
            *points++ = inside ? image + ((size_t)row * (size_t)columns + (size_t)column) * c : zero;
        }
}

#endif
