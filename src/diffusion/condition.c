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

cm_status cmi_condition_check(const cm_model *m, const cm_condition *c)
{
    if (c->guidance == 0) return CM_OK;
    if (!m->net.conditions)
        CM_FAIL(CM_ERR_ARGUMENT, "guidance is for networks that are told of it (conditions 3); this model's is not");
    if (!(c->guidance > 0 && c->guidance <= 1e6))
        CM_FAIL(CM_ERR_ARGUMENT, "guidance is %g, expected a number above 0, or 0 for none", c->guidance);
    return CM_OK;
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
