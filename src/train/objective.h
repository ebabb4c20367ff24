/* objective.h - what a network learns from: one page per paper, one table each.
 *
 * An objective sees images, noise and numbers; networks it asks for.  Everything
 * is in double here, so the same pages are checked against the reference to
 * 1e-11 with a toy network. */
#ifndef CM_TRAIN_OBJECTIVE_H
#define CM_TRAIN_OBJECTIVE_H

#include "base/choice.h"
#include "diffusion/solver.h"
#include "diffusion/weighting.h"
#include "train/axis.h"
#include "train/distance.h"
#include "train/option_rows.h"
#include "train/weight_net.h"

/* Which network besides the one that learns. */
enum {
    CM_ROLE_TARGET,                /* the target, in training mode: dropout as `online`    */
    CM_ROLE_TEACHER,               /* without dropout                                      */
    CM_ROLE_PLAIN,                 /* the weights that learn, without dropout; the label is never dropped */
    CM_ROLE_UNCONDITIONAL,         /* the same without a label                             */
    CM_ROLE_TEACHER_UNCONDITIONAL, /* the teacher without a label */
    CM_ROLE_FIRST                  /* the frozen network of a first stage, in training mode as the target */
};

/* Numbers of one step. */
typedef struct cm_objective_settings {
    cm_image_distance distance;
    cm_loss_weighting weighting; /* never the default */
    int32_t ode, levels, mapping;
    double sigma_min, sigma_max, rho, sigma_data; /* of the time points */
    int32_t scales;                               /* N at this step     */
    double p_mean, p_std;                         /* of ln sigma        */
    double q, k, b;                               /* ECT's mapping      */
    int32_t pairs;                                /* cm_pair_weighting of what is compared at two levels */
    int32_t stage;
    int32_t stop_gradient, squared;    /* of continuous time */
    int32_t form, tangent_norm;        /* of sCM: CM_SCM_*, CM_TANGENT_NORM_* */
    double tangent_share, tangent_c;   /* r of this step, c */
    double discrete_from, discrete_to; /* t'/t of the discrete form: uniform between these */
    /* Of truncated consistency: the largest r/t; Student's degrees of freedom, the level from which the network
     * learns and the weight of that border; 1: the point at r is one step of the teacher. */
    double ratio_limit, nu, transition, boundary_weight;
    int32_t distil;
    int32_t flow_sampler; /* of MeanFlow, CM_FLOW_SAMPLER_*: of t by p_mean and p_std, and of r by */
    double r_mean, r_std, flow_ratio;
    /* Of SoFlow: CM_FLOW_*; of the time at which the velocity is learnt; (t - l) / (t - s) of this step; where the
     * guidance begins to fall. */
    int32_t path, solution;
    double velocity_mean, velocity_std, ratio, guidance_decay;
    double adaptive_p, adaptive_eps; /* the divisor (l + eps)^p of its loss */
    int32_t heads; /* 2: networks answer two images, one behind the other, which have that much room in the buffers */
    double guidance_beta; /* of the distribution of improved MeanFlow's w */
    double guidance, guidance_mix, guidance_from,
        guidance_to;      /* w and k of its guidance, and the times that have it */
    int32_t views, order; /* pairs of an image where its objective has several, else 0; of their solver */
} cm_objective_settings;

/* n images, each of distance.channels x height x width values in planes. */
typedef struct cm_objective_batch {
    size_t n;
    const double *x0, *z;     /* data in [-1, 1], unit normals               */
    const double *u, *normal; /* per image: uniform in (0, 1), unit normal   */
    double *loss;             /* out: weighted distance of each image, or pair */
    const double *share;      /* of each image in the gradient: 1 / batch, 0 for padding */
    double *work;             /* cmi_objective_work() doubles                 */
    /* Further draws of each image, k n + i: for those that take several times. */
    const double *more_u, *more_normal; /* CM_MORE_UNIFORMS, CM_MORE_NORMALS of them */
    /* Of the whole step, for objectives that choose: which images are chosen, of how many. */
    const unsigned char *chosen;
    size_t all, n_chosen;
    const int32_t *labels; /* as they are learnt, -1 none; NULL: the networks have no classes */
} cm_objective_batch;
enum { CM_MORE_UNIFORMS = 3, CM_MORE_NORMALS = 2 };

/* A point of n images, or a direction there.  r: the second time, NULL where the network has one. */
typedef struct cm_objective_point {
    const double *x, *t, *r;
} cm_objective_point;

/* Networks on the objective's axis.  r may be NULL everywhere: a network with one time. */
typedef struct cm_objective_nets {
    void *user;
    /* d = D of n images without gradient. */
    cm_status (*evaluate)(void *user, int role, const double *x, const double *t, const double *r, double *d);
    /* The same and its derivative in a direction, without gradient: tangent = D'(at) along. */
    cm_status (*tangent)(void *user, int role, const cm_objective_point *at, const cm_objective_point *along,
                         double *d, double *tangent);
    /* D of the network that learns; `backward` then adds the gradients of sum(D * cotangent). */
    cm_status (*online)(void *user, const double *x, const double *t, const double *r, double *d);
    cm_status (*backward)(void *user, const double *cotangent);
    /* D and its derivative in a direction, of the network that learns; the second then adds the gradients of
     * sum(D * cotangent) + sum(tangent * of_tangent), one of them NULL for zeros. */
    cm_status (*online_tangent)(void *user, const cm_objective_point *at, const cm_objective_point *along, double *d,
                                double *tangent);
    cm_status (*backward_tangent)(void *user, const double *cotangent, const double *of_tangent);
    /* d(a, b) of one image and its gradient with respect to a, for distances of a network; else NULL. */
    cm_status (*distance)(void *user, const double *a, const double *b, double *value, double *gradient);
    /* hv = H v with the Hessian H of x -> d(x, a) at x = a, of that distance and one image; slope (may be NULL) is
     * the gradient of <v, H v> by a.  NULL as `distance`. */
    cm_status (*curvature)(void *user, const double *a, const double *v, double *hv, double *slope);
    /* What the networks are told of each image from here on beside its times: w, t_min and t_max of guidance. */
    cm_status (*condition)(void *user, const double *numbers);
    /* w(t) of the adaptive weight of n images, and the gradient of the loss by each of these; NULL: there is none. */
    cm_status (*weigh)(void *user, const double *t, double *w);
    cm_status (*weigh_back)(void *user, const double *t, const double *of_w);
} cm_objective_nets;

enum { CM_SCM_PAPER, CM_SCM_FASTGEN, CM_SCM_RCM };
enum { CM_TANGENT_NORM_L2, CM_TANGENT_NORM_RMS, CM_TANGENT_NORM_NONE };
enum { CM_FLOW_SAMPLER_V0, CM_FLOW_SAMPLER_V1 };
enum { CM_RATIO_EXPONENT, CM_RATIO_LINEAR, CM_RATIO_COSINE, CM_RATIO_CONST };
enum { CM_FLOW_LINEAR = 0, CM_FLOW_EULER = 0, CM_FLOW_TRIG = 1 };
extern const cm_choice_list cmi_ratio_schedule_choices;
extern const cm_choice_list cmi_scm_form_choices, cmi_tangent_norm_choices, cmi_flow_sampler_choices;

/* Where an objective's target is evaluated. */
typedef enum cm_objective_target {
    CM_TARGET_NONE,   /* no network                                                       */
    CM_TARGET_ONLINE, /* the weights that learn, without gradient                         */
    CM_TARGET_AVERAGE /* a network of its own, an average at rate mu; the online one at 0 */
} cm_objective_target;

typedef struct cm_objective_default {
    const char *option;
    double value; /* of a choice its number */
} cm_objective_default;

/* The n images of a step from number `first` on, which lie `apart`. */
typedef struct cm_choosing {
    uint64_t seed, first;
    size_t n, apart;
} cm_choosing;

/* Everything that the rest of the library asks of an objective.  Its row stands in the file of its page. */
typedef struct cm_objective {
    int32_t number;           /* cm_train_objective, and the place in the table of objective.c */
    const char *name, *about; /* about: one sentence */
    int needs_teacher;
    int takes_teacher; /* ... if one is given */
    int first_stage;   /* the teacher is the frozen network of a first stage */
    /* Marks the images of a step that are chosen, and says how many; order: n numbers of work.  NULL: none are. */
    size_t (*choose)(const cm_train_settings *s, const cm_choosing *c, unsigned char *marks, uint32_t *order);
    /* cm_objective_settings.ratio, when the share `done` of the run is; NULL: it has none. */
    double (*ratio_at)(const cm_train_settings *s, double done);
    int teacher_denoises;        /* it has to be a diffusion model, at every level of the one that learns */
    int student_becomes_teacher; /* when N changes: the teacher is of the same network with precond edm */
    cm_objective_target target;
    int is_discrete;    /* uses N(k) */
    int differentiates; /* it asks for tangents of the weights that learn */
    int curves;         /* it asks for the curvature of the distance, not for its values */
    int heads; /* 2: of a network of two outputs with conditions, both of which it asks for; else it has one */
    /* Whether it asks for a network that knows "no label" with and without labels; NULL: never.  That network is the
     * one that learns (the roles PLAIN and UNCONDITIONAL), or the teacher. */
    int (*guides)(const cm_train_settings *s);
    int teacher_guides;
    cm_objective_axis axis;          /* what x and t are, and the networks' answer */
    const char *precond;             /* what it trains a network as: "edm", "cm", "ecm" */
    const char *precond_trigflow;    /* ... one of TrigFlow's; NULL: that is an error */
    const char *precond_two_times;   /* ... one of two times, in the same way */
    int32_t distance, weighting;     /* what the choices "default" are: CM_DISTANCE_*, CM_WEIGHTING_* */
    double huber_scale, huber_least; /* huber_c "auto": scale sqrt(C H W), or least */
    const char *published;           /* CM_PUBLISHED_*: whose two levels its models are sampled at; NULL: none's */
    const char *const *options;      /* those it reads beside the shared ones; NULL at the end */
    const cm_objective_default *defaults; /* where they are others than the table's; {NULL} at the end */
    /* Pairs that an image gives, all with gradient; NULL: one. */
    int32_t (*views)(const cm_train_settings *s);
    /* Options that do not go together, against the defaults d; may be NULL. */
    cm_status (*check)(const cm_train_settings *s, const cm_train_settings *d);
    /* Options against the model's range of noise levels; may be NULL. */
    cm_status (*check_levels)(const cm_train_settings *s, const cm_objective_settings *o);
    cm_status (*run)(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets);
} cm_objective;

extern const cm_objective cmi_objective_edm, cmi_objective_cd, cmi_objective_ct, cmi_objective_pd, cmi_objective_ict,
    cmi_objective_ect, cmi_objective_ccd, cmi_objective_cct, cmi_objective_cmt, cmi_objective_sct, cmi_objective_scd,
    cmi_objective_dscd, cmi_objective_tcm, cmi_objective_tcm2;
extern const cm_objective cmi_objective_meanflow, cmi_objective_soflow, cmi_objective_improved_meanflow;

/* Whether the settings have it evaluate with and without labels: any network, and the one that learns. */
int cmi_objective_guides(const cm_train_settings *s);
int cmi_objective_guides_itself(const cm_train_settings *s);
/* By number, and by name; NULL when there is none. */
const cm_objective *cmi_objective_at(int32_t number);
const cm_objective *cmi_objective_by_name(const char *name);
extern const cm_choice_list cmi_objective_choices;
/* Pairs that an image gives, at most CM_MAX_VIEWS. */
enum { CM_MAX_VIEWS = 1000 };
int32_t cmi_objective_views(const cm_train_settings *s);
/* Whether an option has an effect on it. */
int cmi_objective_reads(const cm_objective *objective, const cm_option_row *option);
/* The distance that the settings choose, CM_DISTANCE_*. */
int32_t cmi_objective_distance(const cm_train_settings *s);
/* What the settings make of an objective for images of channels x height x width; the range of noise levels is the
 * model's and zero here. */
cm_objective_settings cmi_objective_settings_of(const cm_train_settings *s, int32_t channels, int32_t height,
                                                int32_t width);

/* Doubles of work for a batch of n images. */
size_t cmi_objective_work(const cm_objective_settings *s, size_t n);

/* --- what the pages share ------------------------------------------------------ */

/* Buffers of a batch in its work: n images each, and n numbers each. */
typedef struct cm_objective_buffers {
    size_t size;                                      /* values of an image */
    double *x_t, *online, *x_t2, *target, *slope, *d; /* images  */
    double *t, *t2, *t3, *weight;                     /* numbers */
    double *told;                                     /* 6 numbers, with two heads */
    double *more;     /* CM_SOLVER_WORK images of the batch, where an image has several pairs */
    double *distance; /* work of cmi_distance_of */
} cm_objective_buffers;
cm_objective_buffers cmi_objective_buffers_of(const cm_objective_settings *s, const cm_objective_batch *b);

/* 1 / (1 + exp(-x)): of ln(t / (1 - t)) it is t. */
double cmi_sigmoid(double x);
/* NaN becomes 0 and an infinity the largest float, as the references do. */
double cmi_scrub(double v);
/* x = x0 + t z */
void cmi_add_noise(const cm_objective_batch *b, size_t size, const double *t, double *x);
/* Online evaluation at (x_t, t), the distance to `target` times `weight`, and the
 * gradient back. */
cm_status cmi_compare_and_learn(const cm_objective_settings *s, const cm_objective_batch *b,
                                const cm_objective_nets *nets, cm_objective_buffers *r);

/* Whether guidance has an effect, and its options that have none or do not go together. */
int cmi_guides_by_scale(const cm_train_settings *s);
cm_status cmi_check_guidance(const cm_train_settings *s, const cm_train_settings *d);
/* Options of the mapping that have no effect. */
cm_status cmi_check_mapping(const cm_train_settings *s, const cm_train_settings *d);
/* p_mean: at most half of the levels may be above sigma_max, or, with `lowest`, below sigma_min. */
cm_status cmi_check_p_mean(const cm_train_settings *s, const cm_objective_settings *o, int lowest);

/* ECT's r < t of a noise level and t - r, computed without cancellation. */
void cmi_ect_pair(const cm_objective_settings *s, double t, double *r, double *gap);
/* The weight of a pair t, r = t - gap. */
double cmi_pair_weight(const cm_objective_settings *s, double t, double gap);
/* TCM's pair: r is at least 1e-6, and r/t at most the limit. */
void cmi_tcm_pair(const cm_objective_settings *s, double t, double *r, double *gap);
/* ln t at the share u: normal between the model's levels; of the second stage Student's, above the border. */
double cmi_tcm_log_time(const cm_objective_settings *s, int second, double u);
/* Marks floor(share n) of the n images from number `first` on, or, where that is none, each with that probability;
 * order: n numbers of work.  Returns how many. */
size_t cmi_tcm_choose(uint64_t seed, uint64_t first, size_t n, size_t apart, double share, unsigned char *chosen,
                      uint32_t *order);
/* MeanFlow's t and r <= t from two normals and a uniform number. */
void cmi_meanflow_times(const cm_objective_settings *s, double n_t, double n_r, double uniform, double *t, double *r);
/* SoFlow: the time at which the velocity is learnt; t, s and l < t from two normals; the ratio by a schedule when the
 * share `done` of the run is; c(t) of its guidance, which is 1 up to `from`. */
double cmi_soflow_velocity_time(const cm_objective_settings *s, double normal);
void cmi_soflow_times(const cm_objective_settings *s, double n_s, double n_t, double *t, double *second, double *l);
double cmi_soflow_ratio(int32_t schedule, double begin, double end, double done);
double cmi_soflow_decay(double t, double from);
/* f(x, t, s) = a x + b N(x; t, s), and the slope of b by s at s = t. */
typedef struct cm_soflow_map {
    double a, b, slope;
} cm_soflow_map;
cm_soflow_map cmi_soflow_map(int32_t solution, double t, double s);
/* A batch at times that stand in the buffers: t, s in t2, l in t3. */
cm_status cmi_soflow_learn(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                           cm_objective_buffers *r);
/* iCT: the levels j = 0 .. scales - 1, rising, and the erf of each in the lognormal.  Pair j has the difference of
 * those of j + 1 and j as a share of that of the last and the first. */
double cmi_ict_level(const cm_objective_settings *s, int32_t j);
double cmi_ict_cumulated(const cm_objective_settings *s, int32_t j);

#endif
