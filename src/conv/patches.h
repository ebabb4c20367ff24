/* patches.h - convolutions of every shape by the matrix product (kernels/gemm.h), in float32.
 *
 * The values that an output sees are a patch of kernel x kernel_w points; patches of a block of outputs are gathered
 * as the rows of a matrix, which is multiplied by the weights.  The data gradient is the transpose: dy times the
 * weights makes patches, which are added where they lie.  The weight gradient is the patches' transpose times dy.  A
 * 1 x 1 layer of stride 1 needs no patches: x is the matrix.  The bits of an output depend on its own patch alone. */
#ifndef CM_CONV_PATCHES_H
#define CM_CONV_PATCHES_H

#include "base/parallel.h"
#include "kernels/kernels.h"

/* Of x [n][h][w][c] and y [n][oh][ow][oc], or of their gradients where `transposed`. */
typedef struct cm_patches {
    const cm_kernels *kernels;
    cm_threads threads; /* of a run */
    int32_t n, h, w, c, oh, ow, oc, kernel, kernel_w, stride, pad, pad_w, relu, transposed;
    size_t depth, columns; /* of the packed weights [depth][columns], columns in multiples of 16 */
    size_t block;          /* outputs of a piece of work */
} cm_patches;

#endif
