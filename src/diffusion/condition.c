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

cm_status cmi_sample_options_read(const cm_sample_options *theirs, cm_sample_options *out, cm_condition *condition)
{
    memset(out, 0, sizeof *out);
    if (theirs) CM_TRY(cm_options_read(out, sizeof *out, theirs, "cm_sample_options"));
    CM_TRY(cmi_reserved_check("cm_sample_options", out->reserved));
    CM_TRY(cmi_reserved_check("cm_sample_options", out->reserved2));
    CM_TRY(cmi_condition_read(out->condition, condition));
    out->condition = condition;
    return CM_OK;
}
