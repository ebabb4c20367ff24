/* likelihood.c - cm_model_bits_per_dim: its arguments. */
#include <string.h>

#include <consistency/model.h>

#include "base/options.h"
#include "base/pool.h"
#include "diffusion/condition.h"
#include "diffusion/likelihood.h"
#include "tensor/finite.h"

static cm_status read_options(const cm_likelihood_options *theirs, cm_likelihood_options *o, cm_condition *condition)
{
    memset(o, 0, sizeof *o);
    if (theirs) CM_TRY(cm_options_read(o, sizeof *o, theirs, "cm_likelihood_options"));
    CM_TRY(cmi_condition_read(o->condition, condition));
    o->condition = condition;
    if (o->probes < 0 || o->probes > 1000)
        CM_FAIL(CM_ERR_ARGUMENT, "option probes is %d, expected 1..1000 or 0 for the default", o->probes);
    if (o->continuous < 0 || o->continuous > 1)
        CM_FAIL(CM_ERR_ARGUMENT, "option continuous is %d, expected 0 or 1", o->continuous);
    if (!o->probes) o->probes = 1;
    return CM_OK;
}

cm_status cm_model_bits_per_dim(cm_model *model, const cm_likelihood_options *options, size_t n, const float *x,
                                double *bits)
{
    cm_likelihood_options o;
    cm_condition condition;
    if (!model || !x || !bits) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_bits_per_dim: model, x or bits is NULL");
    if (n == 0) CM_FAIL(CM_ERR_ARGUMENT, "cm_model_bits_per_dim: n is 0");
    CM_TRY(cmi_context_check_process(model->context));
    CM_TRY(read_options(options, &o, &condition));
    const size_t size = (size_t)model->channels * (size_t)model->height * (size_t)model->width;
    CM_TRY(cmi_check_array("cm_model_bits_per_dim: x", n, size * sizeof *x));
    const size_t i = cmi_first_nonfinite_f32(n * size, x);
    if (i < n * size)
        CM_FAIL(CM_ERR_NUMERIC, "x: image %zu is %g at value %zu, expected finite numbers", i / size, (double)x[i],
                i % size);
    CM_TRY(cmi_model_check_labels(model, condition.labels, n));
    CM_TRY(cmi_condition_refuse_guidance(&condition, "likelihoods"));
    return cmi_likelihood(model, &o, n, x, bits);
}
