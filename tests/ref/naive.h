/* naive.h - the ops as plain loops in double, straight from their formulas:
 * the oracle of check_ops and check_convs.  Shapes n, h, w, c channels-last. */
#ifndef TESTS_NAIVE_H
#define TESTS_NAIVE_H

#include "ops/op.h"

/* Computes the op's output; params in double, plain layouts. */
void naive_forward(const cm_op *op, const cm_attr *attr, const cm_desc *in, const double *const *x,
                   const int32_t *labels, const double *const *param, cm_desc out, double *y);

#endif
