/* tiles.h - sums over one index of two arrays of features or matrices, in double, by squares of 64 x 64 results.
 *
 * A result is one sum in the order of k, so its bits depend neither on the threads nor on how k is cut into calls. */
#ifndef CM_METRICS_TILES_H
#define CM_METRICS_TILES_H

#include "base/parallel.h"
#include "kernels/kernels.h"

/* Element (k, i) of an operand: values[k * stride + i], or values[i * stride + k] where it is transposed. */
typedef struct cm_operand {
    const float *floats; /* one of the two */
    const double *doubles;
    size_t stride;
    int transposed;
    const double *shift; /* [i], which is taken off; or NULL */
} cm_operand;

static inline cm_operand cmi_operand_features(const float *values, size_t stride, int transposed)
{
    return (cm_operand){values, NULL, stride, transposed, NULL};
}
static inline cm_operand cmi_operand_matrix(const double *values, size_t stride, int transposed)
{
    return (cm_operand){NULL, values, stride, transposed, NULL};
}

typedef void (*cm_square_sums)(size_t depth, const double *a, const double *b, double *c);

enum { CM_TILE = CM_SUMS_SIDE, CM_TILE_DEPTH = 128 };
/* Doubles that one worker needs beside its square. */
enum { CM_TILE_WORK = 2 * CM_TILE_DEPTH * CM_TILE };

/* Adds to one square c [64][64]: results (first_i + i, first_j + j), i < rows and j < columns of at most 64 each. */
void cmi_tile_add(cm_square_sums sums, size_t depth, const cm_operand *a, size_t first_i, size_t rows,
                  const cm_operand *b, size_t first_j, size_t columns, double *work, double *c);

/* Adds to a matrix c [rows][columns], its rows `apart`; `lower`: the squares on and below the diagonal alone. */
typedef struct cm_tiling {
    cm_context *context;
    cm_square_sums sums;
    size_t rows, columns, depth, apart;
    cm_operand a, b;
    int lower;
} cm_tiling;
cm_status cmi_tiles_add(const cm_tiling *tiling, double *c);

/* All threads of the context, and its loops. */
cm_threads cmi_tiles_threads(cm_context *context);
const cm_sums_f64 *cmi_tiles_sums(const cm_context *context);

#endif
