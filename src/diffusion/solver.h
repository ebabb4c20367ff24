/* solver.h - how a sequence of evaluations of D becomes a sample, on a state in double.
 *
 * A solver knows neither networks nor random numbers: it asks for both. */
#ifndef CM_DIFFUSION_SOLVER_H
#define CM_DIFFUSION_SOLVER_H

#include <consistency/sampler.h>

#include "base/status.h"

/* sigma(t), s(t) and their slopes of EDM's general sampler. */
typedef struct cm_edm_form {
    int32_t schedule, scaling, solver; /* cm_edm_schedule, _scaling, _solver */
    double alpha, beta_d, beta_min;
    const double *levels; /* levels the network knows (iDDPM), or NULL */
    int32_t M;
} cm_edm_form;

/* Of DPM-Solver++. */
typedef struct cm_dpmpp_rule {
    int32_t order, form; /* 1..3, cm_dpmpp_form                  */
    int32_t full;        /* the order does not fall at the end */
} cm_dpmpp_rule;

/* Of the adaptive Runge-Kutta method, and of predictor-corrector. */
typedef struct cm_rk45_rule {
    double rtol, atol;
    int32_t most; /* evaluations of an image */
} cm_rk45_rule;

typedef struct cm_pc_rule {
    double snr;
    int32_t corrections; /* of a level */
} cm_pc_rule;

typedef struct cm_method_kind cm_method_kind; /* method.h */

typedef struct cm_solver {
    const cm_method_kind *method;
    /* Noise levels, as many as the method's rule says (method.h). */
    const double *sigma;
    int32_t n;          /* evaluations of multistep, steps of the others              */
    double start;       /* standard deviation of the first state                      */
    double boundary;    /* multistep: eps of sqrt(t^2 - eps^2)                         */
    double closing;     /* multistep: level of noise added at the end; boundary = none */
    int32_t final_draw; /* multistep by indices draws for the closing entry too        */
    int32_t clip;       /* clamp estimates to [-1, 1]                                  */
    double s_churn, s_tmin, s_tmax, s_noise;
    cm_edm_form edm;
    cm_dpmpp_rule dpmpp;
    cm_rk45_rule rk45;
    cm_pc_rule pc;
} cm_solver;

typedef struct cm_solver_io {
    void *user;
    size_t n; /* values of the state */
    /* out = D(x; sigma), not clamped; x may be out. */
    cm_status (*denoise)(void *user, int evaluation, double sigma, const double *x, double *out);
    /* The same of a network of two times, whose second is told as the level `to`; NULL: the network has one. */
    cm_status (*denoise_to)(void *user, int evaluation, double sigma, double to, const double *x, double *out);
    /* Unit normals, draw k = 0, 1, ...; out NULL: only count it as drawn. */
    cm_status (*noise)(void *user, int draw, double *out);
    /* After the clamp: what editing keeps of the given images is put back.  May be NULL. */
    cm_status (*keep)(void *user, double *denoised);
    /* After both; may be NULL. */
    cm_status (*estimate)(void *user, int evaluation, double sigma, const double *denoised);
    /* For methods to which images are something: how many the state has (n is a multiple), the number of the first in
     * messages, and for those of an adaptive method where their counts of evaluations go (or NULL). */
    size_t images, first;
    int32_t *evaluations;
    cm_context *context;
    /* As denoise, of images which[0 .. count - 1] in that order, each at its own level. */
    cm_status (*denoise_each)(void *user, int evaluation, size_t count, const size_t *which, const double *sigma,
                              const double *x, double *out);
} cm_solver_io;

/* x: unit normals in, the sample out.  work: cm_solver_work() x io->n values. */
enum { CM_SOLVER_WORK = 3 };
cm_status cmi_solver_run(const cm_solver *solver, const cm_solver_io *io, double *x, double *work);

/* Network evaluations one run makes. */
int32_t cmi_solver_nfe(const cm_solver *solver);
/* Noise tensors it draws after the one it starts from. */
int32_t cmi_solver_draws(const cm_solver *solver);

#endif
