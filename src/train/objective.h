/* objective.h - what a network learns from: one page per paper, one table each.
 *
 * An objective sees images, noise and numbers; networks it asks for.  Everything
 * is in double here, so the same pages are checked against the reference to
 * 1e-11 with a toy network. */
#ifndef CM_TRAIN_OBJECTIVE_H
#define CM_TRAIN_OBJECTIVE_H

#include "diffusion/weighting.h"
#include "train/distance.h"

/* Which network besides the one that learns. */
enum { CM_ROLE_TARGET, CM_ROLE_TEACHER };
enum { CM_ODE_HEUN, CM_ODE_EULER };
/* Where noise levels come from in denoising: exp(p_mean + p_std n); the VP and VE
 * processes at uniform times. */
enum { CM_LEVELS_LOGNORMAL, CM_LEVELS_VP, CM_LEVELS_VE };
enum { CM_MAPPING_SIGMOID, CM_MAPPING_CONST };
extern const char *const cm_ode_names[], *const cm_levels_names[], *const cm_mapping_names[],
                                                                       *const cm_weighting_names[];

typedef struct cm_objective_settings {
    cm_distance distance;
    int32_t weighting, ode, levels, mapping;
    double sigma_min, sigma_max, rho, sigma_data; /* of the time points */
    int32_t scales;                               /* N at this step     */
    double p_mean, p_std;                         /* of ln sigma        */
    double q, k, b;                               /* ECT's mapping      */
    int32_t stage;
} cm_objective_settings;

/* n images, each of distance.channels x height x width values in planes. */
typedef struct cm_objective_batch {
    size_t n;
    const double *x0, *z;     /* data in [-1, 1], unit normals               */
    const double *u, *normal; /* per image: uniform in (0, 1), unit normal   */
    double *loss;             /* out: weighted distance of each image        */
    const double *share;      /* of each image in the gradient: 1 / batch, 0 for padding */
    double *work;             /* cm_objective_work() doubles                 */
} cm_objective_batch;

typedef struct cm_objective_nets {
    void *user;
    /* d = D(x; sigma) of n images without gradient; the target in training mode
     * (dropout as `online`), the teacher not. */
    cm_status (*evaluate)(void *user, int role, const double *x, const double *sigma, double *d);
    /* The same of the network that learns; `backward` then adds the gradients of
     * sum(D * cotangent). */
    cm_status (*online)(void *user, const double *x, const double *sigma, double *d);
    cm_status (*backward)(void *user, const double *cotangent);
} cm_objective_nets;

typedef struct cm_objective {
    const char *name;
    int needs_teacher;
    int has_target;                   /* 1: a network of its own, by EMA; 0: none or the online weights */
    int is_discrete;                  /* uses N(k)                                                      */
    int metric, weighting, optimizer; /* defaults */
    const char *precond;              /* what the trained network is: "edm", "cm", "ecm" */
    cm_status (*run)(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets);
} cm_objective;

extern const cm_objective cm_objective_edm; /* denoising: Karras et al. 2022           */
extern const cm_objective cm_objective_cd;  /* consistency distillation: Song et al. 2023, Algorithm 2 */
extern const cm_objective cm_objective_ct;  /* consistency training: Algorithm 3       */
extern const cm_objective cm_objective_pd;  /* progressive distillation: Salimans and Ho 2022 */
extern const cm_objective cm_objective_ict; /* improved consistency training: Song and Dhariwal 2023 */
extern const cm_objective cm_objective_ect; /* easy consistency tuning: Geng et al. 2024 */

/* By name; NULL when there is none. */
const cm_objective *cm_objective_by_name(const char *name);
/* "edm, cd, ct, ..." for messages. */
extern const char cm_objective_list[];

size_t cm_objective_work(const cm_objective_settings *s, size_t n);

/* --- what the pages share ------------------------------------------------------ */

/* Buffers of a batch in its work: n images each, and n numbers each. */
typedef struct cm_objective_room {
    size_t size;                                      /* values of an image */
    double *x_t, *online, *x_t2, *target, *slope, *d; /* images  */
    double *t, *t2, *t3, *weight;                     /* numbers */
    double *distance;                                 /* work of cm_distance_of */
} cm_objective_room;
cm_objective_room cm_objective_split(const cm_objective_settings *s, const cm_objective_batch *b);

/* x = x0 + t z */
void cm_add_noise(const cm_objective_batch *b, size_t size, const double *t, double *x);
/* Online evaluation at (x_t, t), the distance to `target` times `weight`, and the
 * gradient back. */
cm_status cm_compare_and_learn(const cm_objective_settings *s, const cm_objective_batch *b,
                               const cm_objective_nets *nets, cm_objective_room *room);

/* ECT's r < t of a noise level and t - r, computed without cancellation. */
void cm_ect_pair(const cm_objective_settings *s, double t, double *r, double *gap);
/* iCT: probabilities (n - 1) and levels (n) of the pairs, rising. */
void cm_ict_levels(const cm_objective_settings *s, double *levels, double *probability);

#endif
