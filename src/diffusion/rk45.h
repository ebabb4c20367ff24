/* rk45.h - Runge-Kutta of order 5 with an error estimate of order 4 (Dormand and Prince 1980), many states at a time.
 *
 * Each image chooses its steps by its own error, so what it becomes does not depend on the others. */
#ifndef CM_DIFFUSION_RK45_H
#define CM_DIFFUSION_RK45_H

#include "base/context.h"

typedef struct cm_rk45 {
    cm_context *context;
    size_t images, size; /* the state is images x size                          */
    double from, to;     /* either may be the larger                            */
    double rtol, atol;   /* a step's error is within atol + rtol |x|, as an RMS */
    int32_t most;        /* evaluations of an image                             */
    void *user;
    /* slope[k] at time t[k] and state x[k] of image which[k], for k < count. */
    cm_status (*slope)(void *user, size_t count, const size_t *which, const double *t, const double *x,
                       double *slope);
} cm_rk45;

/* Moves x from `from` to `to`; evaluations (images, or NULL) receives how many each image took.  NUMERIC for an
 * image that would take more than `most` or steps too small for double, named by `first` + its place. */
cm_status cmi_rk45_run(const cm_rk45 *rk, size_t first, double *x, int32_t *evaluations);

#endif
