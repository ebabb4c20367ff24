/* objective_cmt.c - consistency mid-training on a teacher's trajectories (Hu et al. 2025; successors 2):
 *
 *   x_0 = x0 + T z,  x_j: DPM-Solver++ of the teacher from T = sigma_max to sigma_min in NFE steps, evenly in ln t
 *   loss = d( f(x_j, t_j), x_NFE ),  j = 0 .. NFE-1
 *
 * An image gives NFE pairs with one target; the points of all images of a batch stand behind each other, those of
 * j = 0 first.  The trajectory begins with the image in the noise, not with noise alone, and ends at sigma_min as the
 * solver leaves it.  The solver is the sampler's (diffusion/method_dpmpp.c): it asks for estimates at the very points
 * that are learnt. */
#include <math.h>
#include <string.h>

#include <consistency/metrics.h>

#include "diffusion/method.h"
#include "io/tensors.h"
#include "train/objective.h"

/* What the solver asks for, and where its points are kept. */
typedef struct {
    const cm_objective_batch *b;
    const cm_objective_nets *nets;
    cm_objective_buffers *r;
} trajectory;

static cm_status denoise(void *user, int evaluation, double sigma, const double *x, double *out)
{
    const trajectory *p = user;
    const size_t n = p->b->n, first = (size_t)evaluation * n;
    double *t = p->r->t + first;
    for (size_t i = 0; i < n; i++) t[i] = sigma;
    for (size_t k = 0; k < n * p->r->size; k++) p->r->x_t[first * p->r->size + k] = cmi_scrub(x[k]);
    return p->nets->evaluate(p->nets->user, CM_ROLE_TEACHER, x, t, NULL, out);
}

/* The end of the trajectory into r->target, the points into r->x_t and their levels into r->t. */
static cm_status follow(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets,
                        cm_objective_buffers *r)
{
    double sigma[CM_MAX_VIEWS + 1];
    trajectory p = {b, nets, r};
    const size_t values = b->n * r->size;
    const cm_solver_io io = {.user = &p, .n = values, .denoise = denoise};
    const cm_solver solver = {.method = &cmi_method_dpmpp,
                              .sigma = sigma,
                              .n = s->views,
                              .start = 1, /* the state is made here */
                              .dpmpp = {s->order, CM_DPMPP_DPMSOLVER, 0}};
    for (int j = 0; j <= s->views; j++)
        sigma[j] = s->sigma_max * pow(s->sigma_min / s->sigma_max, (double)j / s->views);
    for (size_t k = 0; k < values; k++) r->target[k] = b->x0[k] + s->sigma_max * b->z[k];
    return cmi_solver_run(&solver, &io, r->target, r->more);
}

/* The pairs as a batch of their own. */
static cm_objective_batch pairs_of(const cm_objective_settings *s, const cm_objective_batch *b,
                                   const cm_objective_buffers *r)
{
    const size_t views = (size_t)s->views, values = b->n * r->size;
    cm_objective_batch pairs = *b;
    pairs.n = b->n * views;
    pairs.share = r->t2;
    for (size_t k = 0; k < values; k++) r->target[k] = cmi_scrub(r->target[k]);
    for (size_t j = 1; j < views; j++) memcpy(r->target + j * values, r->target, values * sizeof *r->target);
    for (size_t i = 0; i < pairs.n; i++) {
        r->t2[i] = b->share[i % b->n] / (double)views;
        r->weight[i] = 1;
    }
    return pairs;
}

static cm_status run(const cm_objective_settings *s, const cm_objective_batch *b, const cm_objective_nets *nets)
{
    cm_objective_buffers r = cmi_objective_buffers_of(s, b);
    CM_TRY(follow(s, b, nets, &r));
    const cm_objective_batch pairs = pairs_of(s, b, &r);
    return cmi_compare_and_learn(s, &pairs, nets, &r);
}

static int32_t views(const cm_train_settings *s)
{
    return s->cmt_nfe;
}

static cm_status check(const cm_train_settings *s, const cm_train_settings *d)
{
    (void)d;
    if (s->cmt_order > s->cmt_nfe)
        CM_FAIL(CM_ERR_ARGUMENT, "cmt_order is %d, and the trajectory has %d step%s", s->cmt_order, s->cmt_nfe,
                s->cmt_nfe == 1 ? "" : "s");
    if (s->batch < s->cmt_nfe)
        CM_FAIL(CM_ERR_ARGUMENT, "batch is %d; it counts pairs, and an image has cmt_nfe %d of them", s->batch,
                s->cmt_nfe);
    if (s->microbatch && s->microbatch < s->cmt_nfe)
        CM_FAIL(CM_ERR_ARGUMENT, "microbatch is %d; the cmt_nfe %d pairs of an image stay together", s->microbatch,
                s->cmt_nfe);
    return CM_OK;
}

static cm_status check_levels(const cm_train_settings *s, const cm_objective_settings *o)
{
    (void)s;
    if (o->sigma_min > 0) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT, "objective cmt needs a precond with sigma_min above 0: the trajectories end there");
}

static const char *const options[] = {"distance",     "huber_c",    "lpips_weights", "lpips_lin", "lpips_pooling",
                                      "lpips_resize", "sum_pixels", "cmt_nfe",       "cmt_order", NULL};
static const cm_objective_default defaults[] = {
    {"lr", 2e-4}, {"lpips_pooling", CM_LPIPS_POOLING_MAX}, {"lpips_resize", CM_LPIPS_RESIZE_NONE}, {NULL, 0}};
const cm_objective cmi_objective_cmt = {
    .number = CM_TRAIN_CMT,
    .name = "cmt",
    .about = "Mid-training on the trajectories of a diffusion model, before ect: Hu et al. 2025.",
    .needs_teacher = 1,
    .teacher_denoises = 1,
    .views = views,
    .precond = "ecm",
    .distance = CM_DISTANCE_PSEUDO_HUBER,
    .weighting = CM_WEIGHTING_UNIFORM,
    .published = CM_PUBLISHED_CMT,
    .options = options,
    .defaults = defaults,
    .check = check,
    .check_levels = check_levels,
    .run = run,
};
