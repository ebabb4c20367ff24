/* truncated.c - the distribution functions, and their inverse between two bounds. */
#include "train/truncated.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* --- the incomplete beta function ------------------------------------------------------- */

static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign); /* lgamma writes a global */
}

/* a B(a, b); finite for a small a. */
static double scaled_beta(double a, double b)
{
    return exp(log_gamma(a + 1) + log_gamma(b) - log_gamma(a + b));
}

/* The continued fraction of I_x(a, b) by Lentz' method; it converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    enum { MOST = 2000 };
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), f;
    d = 1 / (fabs(d) < tiny ? tiny : d);
    f = d;
    for (int i = 1; i <= MOST; i++) {
        const double j = 2.0 * i, even = i * (b - i) * x / ((a + j - 1) * (a + j)),
                     odd = -(a + i) * (a + b + i) * x / ((a + j) * (a + j + 1));
        for (int k = 0; k < 2; k++) {
            const double term = k ? odd : even;
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            if (fabs(c) < tiny) c = tiny;
            f *= d * c;
        }
        if (fabs(d * c - 1) < 1e-16) break;
    }
    return f;
}

/* I_x(a, b) where the fraction converges; y = 1 - x, exact where x is near 1. */
static double beta_below(double a, double b, double x, double y)
{
    return x > 0 ? exp(a * log(x) + b * log(y)) / scaled_beta(a, b) * beta_fraction(a, b, x) : 0;
}

/* --- distributions of mean 0 -------------------------------------------------------------- */

/* P(0 < X < x) for x >= 0: half of I(x^2 / (nu + x^2); 1/2, nu/2), or of its complement. */
static double student_middle(double nu, double x)
{
    const double a = 0.5, b = nu / 2, z = x * x / (nu + x * x), w = nu / (nu + x * x);
    if (z < (a + 1) / (a + b + 2)) return beta_below(a, b, z, w) / 2;
    return 0.5 - beta_below(b, a, w, z) / 2;
}

static double middle(double nu, double x)
{
    if (isinf(nu)) return erf(x / sqrt(2)) / 2;
    return x < 0 ? -student_middle(nu, -x) : student_middle(nu, x);
}

/* P(X > x) for x >= 0, to the last digits. */
static double above(double nu, double x)
{
    if (isinf(nu)) return erfc(x / sqrt(2)) / 2;
    const double w = nu / (nu + x * x), z = x * x / (nu + x * x);
    if (z < 1.5 / (0.5 + nu / 2 + 2)) return 0.5 - beta_below(0.5, nu / 2, z, w) / 2;
    return beta_below(nu / 2, 0.5, w, z) / 2;
}

static double density(double nu, double x)
{
    if (isinf(nu)) return exp(-x * x / 2) / sqrt(2 * pi);
    return exp(log_gamma((nu + 1) / 2) - log_gamma(nu / 2) - (nu + 1) / 2 * log1p(x * x / nu)) / sqrt(nu * pi);
}

double cmi_student_below(double nu, double x)
{
    return x < 0 ? above(nu, -x) : 0.5 + middle(nu, x);
}

/* --- the inverse ------------------------------------------------------------------------------ */

/* The share of the probability between a and x, of a total: what is to be u.  Both on one side are taken from that
 * side's tail, which keeps its digits. */
static double between(double nu, double a, double x)
{
    if (a >= 0) return above(nu, a) - above(nu, x);
    if (x <= 0) return above(nu, -x) - above(nu, -a);
    return middle(nu, x) - middle(nu, a);
}

double cmi_truncated_at(const cm_truncated *t, double u)
{
    enum { MOST = 300 };
    const double a = (t->low - t->m) / t->s, b = (t->high - t->m) / t->s, wanted = u * between(t->nu, a, b);
    double low = a, high = b, x = a <= 0 && b >= 0 ? 0 : (a + b) / 2;
    if (u <= 0) return t->low;
    if (u >= 1) return t->high;
    for (int i = 0; i < MOST; i++) { /* Newton's step, and halves where it leaves the bounds or is slow */
        const double off = between(t->nu, a, x) - wanted, slope = density(t->nu, x);
        if (off < 0) low = x;
        else high = x;
        double next = x - off / slope;
        if (off == 0 || fabs(next - x) <= 2e-16 * fabs(x) || !(low < high)) break;
        if (!(next > low && next < high) || i % 3 == 2) next = low + (high - low) / 2;
        x = next;
    }
    return t->m + t->s * x;
}
