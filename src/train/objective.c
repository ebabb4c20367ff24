/* objective.c - the table, and what every objective ends with. */
#include "train/objective.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const cm_objective *const all[] = {&cmi_objective_edm,
                                          &cmi_objective_cd,
                                          &cmi_objective_ct,
                                          &cmi_objective_pd,
                                          &cmi_objective_ict,
                                          &cmi_objective_ect,
                                          &cmi_objective_ccd,
                                          &cmi_objective_cct,
                                          &cmi_objective_cmt,
                                          &cmi_objective_sct,
                                          &cmi_objective_scd,
                                          &cmi_objective_dscd,
                                          &cmi_objective_tcm,
                                          &cmi_objective_tcm2,
                                          &cmi_objective_meanflow,
                                          &cmi_objective_soflow,
                                          &cmi_objective_improved_meanflow};
enum { OBJECTIVES = sizeof all / sizeof *all };

const cm_objective *cmi_objective_at(int32_t number)
{
    return number >= 0 && number < OBJECTIVES ? all[number] : NULL;
}

static cm_choice choice_at(size_t index)
{
    return index < OBJECTIVES ? (cm_choice){all[index]->name, all[index]->about} : (cm_choice){NULL, NULL};
}
const cm_choice_list cmi_objective_choices = {"objectives", choice_at};

const cm_objective *cmi_objective_by_name(const char *name)
{
    return cmi_objective_at(cmi_choice_find(&cmi_objective_choices, name));
}

int cmi_objective_reads(const cm_objective *objective, const cm_option_row *option)
{
    if (option->flags & CM_ROW_SHARED) return 1;
    for (const char *const *name = objective->options; *name; name++)
        if (strcmp(*name, option->name) == 0) return 1;
    return 0;
}

/* --- from the settings ------------------------------------------------------------------ */

int32_t cmi_objective_distance(const cm_train_settings *s)
{
    return s->distance != CM_DISTANCE_DEFAULT ? s->distance : cmi_objective_at(s->objective)->distance;
}

int32_t cmi_objective_views(const cm_train_settings *s)
{
    const cm_objective *objective = cmi_objective_at(s->objective);
    return objective->views ? objective->views(s) : 1;
}

int cmi_objective_guides(const cm_train_settings *s)
{
    const cm_objective *objective = cmi_objective_at(s->objective);
    return objective->guides && objective->guides(s);
}

int cmi_objective_guides_itself(const cm_train_settings *s)
{
    return cmi_objective_guides(s) && !cmi_objective_at(s->objective)->teacher_guides;
}

cm_objective_settings cmi_objective_settings_of(const cm_train_settings *s, int32_t channels, int32_t height,
                                                int32_t width)
{
    const cm_objective *objective = cmi_objective_at(s->objective);
    cm_objective_settings o;
    memset(&o, 0, sizeof o);
    o.distance = (cm_image_distance){cmi_objective_distance(s), s->huber_c, channels, height, width, s->sum_pixels};
    if (s->huber_c < 0)
        o.distance.huber_c =
            fmax(objective->huber_least, objective->huber_scale * sqrt((double)channels * height * width));
    o.weighting = (cm_loss_weighting)(s->weighting != CM_WEIGHTING_DEFAULT ? s->weighting : objective->weighting);
    o.ode = s->ode, o.levels = s->levels, o.mapping = s->mapping;
    o.rho = s->rho;
    o.p_mean = s->p_mean, o.p_std = s->p_std;
    o.stop_gradient = s->stop_gradient, o.squared = s->squared;
    o.views = objective->views ? objective->views(s) : 0, o.order = s->cmt_order;
    o.form = s->scm_form, o.tangent_norm = s->tangent_norm, o.tangent_c = s->tangent_c;
    o.discrete_from = s->discrete_from, o.discrete_to = s->discrete_to;
    o.pairs = s->pair_weighting, o.ratio_limit = s->ratio_limit;
    o.nu = s->student_nu, o.transition = s->transition, o.boundary_weight = s->boundary_weight;
    o.flow_sampler = s->flow_sampler, o.r_mean = s->r_mean, o.r_std = s->r_std, o.flow_ratio = s->flow_ratio;
    o.adaptive_p = s->adaptive_p, o.adaptive_eps = s->adaptive_eps;
    o.guidance = s->guidance, o.guidance_mix = s->guidance_mix;
    o.heads = objective->heads, o.guidance_beta = s->guidance_beta;
    o.guidance_from = s->guidance_from, o.guidance_to = s->guidance_to;
    o.guidance_decay = s->guidance_decay;
    o.velocity_mean = s->velocity_mean, o.velocity_std = s->velocity_std;
    o.q = s->ect_q, o.k = s->ect_k, o.b = s->ect_b;
    return o;
}

int cmi_guides_by_scale(const cm_train_settings *s)
{
    return s->guidance != 1 || s->guidance_mix != 0;
}

cm_status cmi_check_guidance(const cm_train_settings *s, const cm_train_settings *d)
{
    if (!cmi_guides_by_scale(s) && (s->guidance_from != d->guidance_from || s->guidance_to != d->guidance_to))
        CM_FAIL(CM_ERR_ARGUMENT, "guidance_from and guidance_to have no effect with guidance 1%s",
                cmi_objective_reads(cmi_objective_at(s->objective), cmi_option_row_find("guidance_mix"))
                    ? " and guidance_mix 0"
                    : "");
    if (s->guidance_from > s->guidance_to)
        CM_FAIL(CM_ERR_ARGUMENT, "guidance_from %g is above guidance_to %g", s->guidance_from, s->guidance_to);
    return CM_OK;
}

cm_status cmi_check_p_mean(const cm_train_settings *s, const cm_objective_settings *o, int lowest)
{
    double middle = exp(s->p_mean);
    if (middle <= o->sigma_max && (!lowest || middle >= o->sigma_min)) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "p_mean is %g: half of the levels are above exp(p_mean) = %g; the model's are %g to %g",
            s->p_mean, middle, o->sigma_min, o->sigma_max);
}

/* --- what the pages share -------------------------------------------------------------- */

enum { IMAGES = 6, NUMBERS = 4, TOLD = 6 };

static size_t heads(const cm_objective_settings *s)
{
    return s->heads > 1 ? (size_t)s->heads : 1;
}

static size_t image_size(const cm_objective_settings *s)
{
    return (size_t)s->distance.channels * (size_t)s->distance.height * (size_t)s->distance.width;
}

static size_t views_of(const cm_objective_settings *s)
{
    return s->views > 1 ? (size_t)s->views : 1;
}

size_t cmi_objective_work(const cm_objective_settings *s, size_t n)
{
    const size_t more = s->views ? n * CM_SOLVER_WORK * image_size(s) : 0;
    const size_t told = s->heads > 1 ? n * TOLD : 0;
    return n * views_of(s) * (IMAGES * heads(s) * image_size(s) + NUMBERS) + more + told +
           cmi_distance_work(&s->distance);
}

cm_objective_buffers cmi_objective_buffers_of(const cm_objective_settings *s, const cm_objective_batch *b)
{
    cm_objective_buffers r;
    r.size = image_size(s);
    const size_t n = b->n * views_of(s), images = n * r.size * heads(s);
    r.x_t = b->work;
    r.online = r.x_t + images;
    r.x_t2 = r.online + images;
    r.target = r.x_t2 + images;
    r.slope = r.target + images;
    r.d = r.slope + images;
    r.t = r.d + images;
    r.t2 = r.t + n;
    r.t3 = r.t2 + n;
    r.weight = r.t3 + n;
    r.more = r.weight + n;
    r.told = r.more + (s->views ? b->n * CM_SOLVER_WORK * r.size : 0);
    r.distance = r.told + (s->heads > 1 ? b->n * TOLD : 0);
    return r;
}

double cmi_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double cmi_scrub(double v)
{
    if (isnan(v)) return 0;
    return v > FLT_MAX ? FLT_MAX : v < -FLT_MAX ? -FLT_MAX : v;
}

void cmi_add_noise(const cm_objective_batch *b, size_t size, const double *t, double *x)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * size; k < (i + 1) * size; k++) x[k] = b->x0[k] + t[i] * b->z[k];
}

cm_status cmi_compare_and_learn(const cm_objective_settings *s, const cm_objective_batch *b,
                                const cm_objective_nets *nets, cm_objective_buffers *r)
{
    double *gradient = r->slope;
    CM_TRY(nets->online(nets->user, r->x_t, r->t, NULL, r->online));
    for (size_t i = 0; i < b->n; i++) {
        size_t at = i * r->size;
        double d;
        if (nets->distance) CM_TRY(nets->distance(nets->user, r->online + at, r->target + at, &d, gradient + at));
        else d = cmi_distance_of(&s->distance, r->online + at, r->target + at, gradient + at, r->distance);
        double factor = r->weight[i] * b->share[i];
        b->loss[i] = r->weight[i] * d;
        for (size_t k = at; k < at + r->size; k++) gradient[k] *= factor;
    }
    return nets->backward(nets->user, gradient);
}
