/* condition.c - structs of callers of any version, with defaults where they give none. */
#include "diffusion/condition.h"

#include <string.h>

#include "base/options.h"

cm_status cmi_condition_read(const cm_condition *theirs, cm_condition *out)
{
    memset(out, 0, sizeof *out);
    if (!theirs) return CM_OK;
    CM_TRY(cm_options_read(out, sizeof *out, theirs, "cm_condition"));
    return cmi_reserved_check("cm_condition", out->reserved);
}

/* A network that is not told of guidance is asked with and without labels. */
static cm_status check_guided(const cm_model *m)
{
    const cm_precond_kind *kind = m->precond.kind;
    if (m->net.num_classes == 0) CM_FAIL(CM_ERR_ARGUMENT, "guidance has no effect on a model without classes");
    if (cmi_model_needs_label(m))
        CM_FAIL(CM_ERR_ARGUMENT, "guidance needs a network that knows \"no label\"; this one always takes one");
    if (kind->is_consistency || kind->two_times || kind->raw)
        CM_FAIL(CM_ERR_ARGUMENT,
                "guidance is for diffusion models and for networks that are told of it (conditions 3); a model of "
                "precond "
                "\"%s\" has what guidance it learnt",
                cmi_precond_name(&m->precond));
    return CM_OK;
}

cm_status cmi_condition_check(const cm_model *m, const cm_condition *c)
{
    if (c->guidance == 0) return CM_OK;
    if (!(c->guidance > 0 && c->guidance <= 1e6))
        CM_FAIL(CM_ERR_ARGUMENT, "guidance is %g, expected a number above 0, or 0 for none", c->guidance);
    return cmi_condition_evaluations(m, c->guidance) > 1 ? check_guided(m) : CM_OK;
}

cm_status cmi_condition_check_labels(const cm_model *m, const cm_condition *c, const int32_t *labels, size_t n)
{
    size_t i = 0;
    if (cmi_condition_evaluations(m, c->guidance) == 1) return CM_OK;
    while (labels && i < n && labels[i] < 0) i++;
    if (!labels || i == n) CM_FAIL(CM_ERR_ARGUMENT, "guidance has no effect on images without labels");
    return CM_OK;
}

int cmi_condition_evaluations(const cm_model *m, double guidance)
{
    return m->net.conditions || guidance == 0 || guidance == 1 ? 1 : 2;
}

cm_status cmi_condition_refuse_guidance(const cm_condition *c, const char *what)
{
    if (c->guidance == 0) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "guidance has no effect on %s", what);
}

cm_status cmi_sample_options_read(const cm_sample_options *theirs, cm_sample_options *out, cm_condition *condition)
{
    memset(out, 0, sizeof *out);
    if (theirs) CM_TRY(cm_options_read(out, sizeof *out, theirs, "cm_sample_options"));
    CM_TRY(cmi_reserved_check("cm_sample_options", out->reserved));
    if (out->reserved2) CM_FAIL(CM_ERR_ARGUMENT, "cm_sample_options: reserved2 is %d, expected 0", out->reserved2);
    CM_TRY(cmi_condition_read(out->condition, condition));
    out->condition = condition;
    return CM_OK;
}
