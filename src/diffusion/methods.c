/* methods.c - the list of methods, in the order of cm_method. */
#include "diffusion/method.h"

static const cm_method_kind by_model = {.name = "default",
                                        .about = "onestep or multistep for consistency models, heun for others"};

static const cm_method_kind *const kinds[] = {
    [CM_METHOD_DEFAULT] = &by_model,
    [CM_METHOD_ONESTEP] = &cmi_method_onestep,
    [CM_METHOD_MULTISTEP] = &cmi_method_multistep,
    [CM_METHOD_HEUN] = &cmi_method_heun,
    [CM_METHOD_EULER] = &cmi_method_euler,
    [CM_METHOD_ANCESTRAL] = &cmi_method_ancestral,
    [CM_METHOD_DPM] = &cmi_method_dpm,
    [CM_METHOD_EDM] = &cmi_method_edm,
    [CM_METHOD_PROGDIST] = &cmi_method_progdist,
    [CM_METHOD_DPMPP] = &cmi_method_dpmpp,
    [CM_METHOD_RK45] = &cmi_method_rk45,
    [CM_METHOD_PC] = &cmi_method_pc,
    [CM_METHOD_FLOWMAP] = &cmi_method_flowmap,
};

const cm_method_kind *cmi_method_at(size_t method)
{
    return method < sizeof kinds / sizeof *kinds ? kinds[method] : NULL;
}
