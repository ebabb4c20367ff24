/* choices.c - the lists behind cm_choice_name: a line for each.  Compiled with CM_INFERENCE it has those of models,
 * sampling, editing and pictures, and refers to nothing else. */
#include <string.h>

#include <consistency/base.h>

#include "base/choice.h"
#include "data/fit.h"
#include "diffusion/method.h"
#include "diffusion/noise.h"
#include "diffusion/precond.h"
#include "graph/arithmetic.h"
#include "nets/export.h"
#include "nets/net.h"
#ifndef CM_INFERENCE
#include "data/dataset.h"
#include "nets/feature_net.h"
#include "nets/perceptual.h"
#include "run/options.h"
#include "train/distance.h"
#include "train/objective.h"
#include "train/optim.h"
#include "train/option_rows.h"
#include "train/weight_net.h"
#endif

static cm_choice method_at(size_t i)
{
    const cm_method_kind *kind = cmi_method_at(i);
    return kind ? (cm_choice){kind->name, kind->about} : (cm_choice){NULL, NULL};
}

static cm_choice precond_at(size_t i)
{
    const cm_precond_kind *kind = cmi_precond_kind_at(i);
    return kind ? (cm_choice){kind->name, kind->about} : (cm_choice){NULL, NULL};
}

static cm_choice network_at(size_t i)
{
    const cm_net_family *family = cmi_net_family_at(i);
    return family ? (cm_choice){family->name, family->about} : (cm_choice){NULL, NULL};
}

#ifndef CM_INFERENCE
static cm_choice feature_network_at(size_t i)
{
    const cm_feature_family *family = cmi_feature_family_at(i);
    return family ? (cm_choice){family->name, family->about} : (cm_choice){NULL, NULL};
}

static cm_choice lpips_network_at(size_t i)
{
    const cm_perceptual_family *family = cmi_perceptual_family_at(i);
    return family ? (cm_choice){family->name, family->about} : (cm_choice){NULL, NULL};
}
#endif

#define LIST(name, at)                                                                                               \
    &(const cm_choice_list)                                                                                          \
    {                                                                                                                \
        name, at                                                                                                     \
    }
static const cm_choice_list *const lists[] = {
    LIST("methods", method_at),
    LIST("networks", network_at),
    LIST("model_formats", cmi_export_choice),
    LIST("preconds", precond_at),
    LIST("edm_discretizations", cmi_edm_discretization_choice),
    LIST("edm_schedules", cmi_edm_schedule_choice),
    LIST("edm_scalings", cmi_edm_scaling_choice),
    LIST("edm_solvers", cmi_edm_solver_choice),
    LIST("dpmpp_forms", cmi_dpmpp_form_choice),
    LIST("dpmpp_ends", cmi_dpmpp_end_choice),
    LIST("noise_sources", cmi_noise_source_choice),
    LIST("precisions", cmi_precision_choice),
    LIST("memories", cmi_memory_choice),
    &cmi_fit_choices,
#ifndef CM_INFERENCE
    LIST("feature_networks", feature_network_at),
    LIST("lpips_networks", lpips_network_at),
    LIST("run_options", cmi_run_option_choice),
    &cmi_label_rule_choices,
    &cmi_dataset_finding_choices,
    &cmi_dataset_part_choices,
    &cmi_objective_choices,
    &cmi_distance_choices,
    &cmi_optimizer_choices,
    &cmi_weighting_choices,
    &cmi_clip_rule_choices,
    &cmi_level_choices,
    &cmi_ode_choices,
    &cmi_scales_choices,
    &cmi_mu_choices,
    &cmi_mapping_choices,
    &cmi_pair_weighting_choices,
    &cmi_scm_form_choices,
    &cmi_tangent_norm_choices,
    &cmi_flow_sampler_choices,
    &cmi_ratio_schedule_choices,
    &cmi_weight_net_choices,
    &cmi_lpips_pooling_choices,
    &cmi_lpips_resize_choices,
#endif
};

static cm_choice find(const char *list, size_t index)
{
    for (size_t i = 0; list && i < sizeof lists / sizeof *lists; i++)
        if (strcmp(list, lists[i]->name) == 0) return lists[i]->at(index);
    return (cm_choice){NULL, NULL};
}

const char *cm_choice_name(const char *list, size_t index)
{
    return find(list, index).name;
}

const char *cm_choice_about(const char *list, size_t index)
{
    return find(list, index).about;
}
