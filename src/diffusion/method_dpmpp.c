/* method_dpmpp.c - DPM-Solver++, multistep, in ln sigma (Lu et al. 2022, algorithm 2 and appendix B).
 *
 * With lambda = -ln sigma and the estimates as they come (data prediction) the solution from level s to level t < s
 * is
 *
 *   x_t = (t/s) x_s + int_0^h exp(-(h - u)) D(x; lambda_s + u) du,   h = ln(s/t)
 *
 * and D is replaced by a polynomial in u through the estimates of the last levels: of degree 0, 1 or 2 in orders 1, 2
 * and 3.  The integrals of 1, u and u^2/2 are -phi_1, phi_2 and -phi_3 of cmi_dpmpp_phi (times powers of h, which the
 * divided differences d0, d1 hold already).  An evaluation a step; the last level is arrived at and not evaluated. */
#include <math.h>

#include "diffusion/method.h"

double cmi_dpmpp_phi(int k, double h)
{
    enum { TERMS = 24 };
    const double sign = k == 2 ? -1 : 1;
    double sum = 0, term = 1;
    if (h >= 1) {
        double phi = expm1(-h);
        if (k > 1) phi = phi / h + 1;
        return k > 2 ? phi / h - 0.5 : phi;
    }
    /* The plain forms cancel for a small h; their series does not. */
    for (int i = 2; i < k + 1; i++) term /= i - 1;
    for (int i = 1; i <= TERMS; i++) {
        term *= -h / (i + k - 1);
        sum += term;
    }
    return sign * sum;
}

int32_t cmi_dpmpp_order_at(const cm_solver *s, int32_t step)
{
    int32_t order = s->dpmpp.order < step ? s->dpmpp.order : step, left = s->n + 1 - step;
    return !s->dpmpp.full && left < order ? left : order;
}

/* h of a step (from 1), which ends at sigma[step]. */
static double width(const cm_solver *s, int32_t step)
{
    return log(s->sigma[step - 1] / s->sigma[step]);
}

/* m0, m1, m2: the estimates at this level and at the two before, as far as the order asks for them. */
static void step_to(const cm_solver_state *r, int32_t step, const double *m0, const double *m1, const double *m2)
{
    const cm_solver *s = r->s;
    const int32_t order = cmi_dpmpp_order_at(s, step);
    const double h = width(s, step), keep = s->sigma[step] / s->sigma[step - 1];
    const double p1 = cmi_dpmpp_phi(1, h), p2 = cmi_dpmpp_phi(2, h), p3 = cmi_dpmpp_phi(3, h);
    const double r0 = order > 1 ? width(s, step - 1) / h : 1, r1 = order > 2 ? width(s, step - 2) / h : 1;
    const double slope = s->dpmpp.form == CM_DPMPP_TAYLOR ? p2 : -p1 / 2;
    for (size_t i = 0; i < r->io->n; i++) {
        double x = keep * r->x[i] - p1 * m0[i];
        if (order == 2) x += slope * (m0[i] - m1[i]) / r0;
        if (order == 3) {
            const double d0 = (m0[i] - m1[i]) / r0, d1 = (m1[i] - m2[i]) / r1, bend = (d0 - d1) / (r0 + r1);
            x += p2 * (d0 + r0 * bend) - p3 * bend;
        }
        r->x[i] = x;
    }
}

static cm_status dpmpp(cm_solver_state *r)
{
    double *m[3] = {r->d, r->y, r->z};
    for (int32_t step = 1; step <= r->s->n; step++) {
        double *oldest = m[2];
        m[2] = m[1], m[1] = m[0], m[0] = oldest;
        CM_TRY(cmi_solver_evaluate(r, r->s->sigma[step - 1], r->x, m[0]));
        step_to(r, step, m[0], m[1], m[2]);
    }
    return CM_OK;
}

const cm_method_kind cmi_method_dpmpp = {
    .name = "dpmpp",
    .about = "DPM-Solver++ multistep of order 1 to 3: Lu et al. 2022, down to sigma_min",
    .levels = CM_LEVEL_RULE_TO_LAST,
    .spacing = CM_LEVELS_LOGARITHMS,
    .reads = CM_READS_DPMPP,
    .run = dpmpp,
    .evaluations = cmi_solver_once_a_step};

/* In the order of cm_dpmpp_form. */
cm_choice cmi_dpmpp_form_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"dpmsolver", "the slope of a step of order 2 is weighted by (1 - exp(-h)) / 2"},
        {"taylor", "it is weighted by (exp(-h) - 1) / h + 1, as order 3 does"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}

/* In the order of cm_dpmpp_end. */
cm_choice cmi_dpmpp_end_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"lower", "the last steps are of lower orders, the last one of order 1"},
        {"full", "the last steps are of the full order"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}
