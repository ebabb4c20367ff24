/* direct_conv.h - oneDNN's convolutions over the threads of an op.
 *
 * A primitive runs on one thread.  With several threads an image is cut into strips of
 * output rows, each a convolution of the input rows that it reaches: the first with the
 * padding above, the last with that below.  A value's sum has the same terms in the same
 * order, so the bits are those of the whole image. */
#ifndef CM_CONV_DIRECT_CONV_H
#define CM_CONV_DIRECT_CONV_H

#include "base/parallel.h"
#include "dnnl/backend.h"

typedef struct cm_direct_conv {
    cm_dnnl_conv_shape shape;
    cm_threads threads;
    int32_t strips, rows;       /* strips of `rows` output rows, the last perhaps fewer */
    cm_dnnl_primitive *part[3]; /* first or only strip, inner ones, last                */
} cm_direct_conv;

/* What a thread that runs it holds: a call a strip. */
typedef struct cm_direct_calls cm_direct_calls;

cm_status cmi_direct_conv_create(cm_dnnl_engine *engine, const cm_dnnl_conv_shape *shape, cm_threads threads,
                                 cm_direct_conv *conv);
void cmi_direct_conv_release(cm_direct_conv *conv);
size_t cmi_direct_conv_scratch_bytes(const cm_direct_conv *conv);

cm_status cmi_direct_calls_create(cm_context *context, const cm_direct_conv *conv, cm_direct_calls **out);
void cmi_direct_calls_free(cm_direct_calls *calls);

/* y of x, packed weights and a bias or NULL. */
cm_status cmi_direct_conv_run(const cm_direct_conv *conv, const cm_direct_calls *calls, const float *x,
                              const void *packed, const float *bias, float *y, void *scratch);

#endif
