/* method.h - a row for each sampling method (algorithms 2), and what its step function works with.
 *
 * A new method is a file with its step function and its row, a line in methods.c, and a value of cm_method. */
#ifndef CM_DIFFUSION_METHOD_H
#define CM_DIFFUSION_METHOD_H

#include "base/choice.h"
#include "diffusion/solver.h"

/* The state of one run; `y` and `z` are free for the step function between its calls. */
typedef struct cm_solver_state {
    const cm_solver *s;
    const cm_solver_io *io;
    int evaluations, draws;
    double *x, *d, *y, *z; /* state, estimate or slope, trial state, noise */
} cm_solver_state;

/* Which noise levels a method takes. */
typedef enum cm_level_rule {
    CM_LEVEL_RULE_ONE,     /* one                                          */
    CM_LEVEL_RULE_EACH,    /* a list, an evaluation at each                */
    CM_LEVEL_RULE_TO_ZERO, /* n levels of a schedule or a list, and then 0 */
    CM_LEVEL_RULE_TO_LAST, /* n + 1 levels of a schedule or a list         */
    CM_LEVEL_RULE_RANGE    /* the first and the last level                 */
} cm_level_rule;

/* How the levels of a schedule without a rho lie. */
typedef enum cm_level_spacing {
    CM_LEVELS_KARRAS,     /* as with rho 7                                           */
    CM_LEVELS_LOGARITHMS, /* equally far apart in ln sigma                           */
    CM_LEVELS_FLOW_TIMES  /* in t = sigma / (1 + sigma), 0 being the next of the last */
} cm_level_spacing;

/* Options that only some methods read. */
enum {
    CM_READS_TS = 1,
    CM_READS_CHURN = 2,
    CM_READS_EDM = 4,
    CM_READS_DPMPP = 8,
    CM_READS_RK45 = 16,
    CM_READS_PC = 32
};

struct cm_method_kind {
    const char *name, *about;
    cm_level_rule levels;
    cm_level_spacing spacing; /* of its schedule without a rho */
    unsigned reads;
    /* Takes the state from unit normals times `start` to the sample. */
    cm_status (*run)(cm_solver_state *r);
    /* Network evaluations of a run; of an adaptive method the most that it may take. */
    int32_t (*evaluations)(const cm_solver *s);
    /* Noise tensors that a run draws after the one it starts from; NULL: none. */
    int32_t (*draws)(const cm_solver *s);
    /* The standard deviation of the first state; NULL: that of the first level. */
    double (*start)(const cm_solver *s);
    int clip;          /* clamps its estimates unless told, where the preconditioning does */
    int float64_draws; /* torch's generators make its later draws in float64              */
    int edits;         /* editing can run by it                                           */
    int two_times;     /* for networks of two times alone                                 */
    int32_t steps;     /* without a number of steps; 0: as many as customary              */
};

extern const cm_method_kind cmi_method_onestep, cmi_method_multistep, cmi_method_heun, cmi_method_euler,
    cmi_method_ancestral, cmi_method_dpm, cmi_method_edm, cmi_method_progdist, cmi_method_dpmpp, cmi_method_rk45,
    cmi_method_pc, cmi_method_flowmap;

/* Whether its last level is one that it arrives at. */
static inline int cmi_method_ends_above_0(const cm_method_kind *method)
{
    return method->levels == CM_LEVEL_RULE_TO_LAST || method->levels == CM_LEVEL_RULE_RANGE;
}

/* The row of a cm_method; row 0 has a name and nothing else.  NULL past the end. */
const cm_method_kind *cmi_method_at(size_t method);

/* What the options of cmi_method_edm can be. */
cm_choice cmi_edm_discretization_choice(size_t index);
cm_choice cmi_edm_schedule_choice(size_t index);
cm_choice cmi_edm_scaling_choice(size_t index);
cm_choice cmi_edm_solver_choice(size_t index);

/* What the options of cmi_method_dpmpp can be. */
cm_choice cmi_dpmpp_form_choice(size_t index);
cm_choice cmi_dpmpp_end_choice(size_t index);
/* The order of a step, 1 .. n: that of the solver, fewer at the beginning and, unless `full`, at the end. */
int32_t cmi_dpmpp_order_at(const cm_solver *s, int32_t step);
/* phi_1 = exp(-h) - 1, phi_2 = phi_1 / h + 1, phi_3 = phi_2 / h - 1/2, without their cancellation; h > 0. */
double cmi_dpmpp_phi(int k, double h);

/* --- for step functions ------------------------------------------------------------ */

/* out = D(x; sigma), clamped when asked; x may be out. */
cm_status cmi_solver_evaluate(cm_solver_state *r, double sigma, const double *x, double *out);
/* The same of a network of two times; its second is told as the level `to`. */
cm_status cmi_solver_evaluate_to(cm_solver_state *r, double sigma, double to, const double *x, double *out);
/* d = (x - D(x; sigma)) / sigma, the slope of the probability-flow ODE. */
cm_status cmi_solver_slope(cm_solver_state *r, double sigma, const double *x, double *d);
/* The next noise tensor into z.  One that will be multiplied by 0 still counts as drawn, so that streams stay in
 * step, but need not be made. */
cm_status cmi_solver_draw(cm_solver_state *r, int needed);
/* to = from + k v */
void cmi_solver_advance(const cm_solver_state *r, double *to, const double *from, double k, const double *v);
/* By how much churn raises the level sigma: gamma of algorithm 2 of Karras et al. 2022. */
double cmi_solver_gamma(const cm_solver *s, double sigma);

/* Counts of evaluations and draws that several methods have. */
int32_t cmi_solver_once_a_step(const cm_solver *s);
int32_t cmi_solver_twice_but_last(const cm_solver *s);

#endif
