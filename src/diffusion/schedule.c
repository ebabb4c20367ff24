/* schedule.c - see the header for the formulas. */
#include "diffusion/schedule.h"

#include <math.h>

double cmi_karras_sigma(double i, int n, double smin, double smax, double rho)
{
    double top = pow(smax, 1 / rho), bottom = pow(smin, 1 / rho);
    if (n < 2) return smax;
    return pow(top + i / (n - 1) * (bottom - top), rho);
}

double cmi_flow_time_sigma(int i, int n, double smax)
{
    const double t = (1 - (double)i / n) * (smax / (1 + smax));
    return i == 0 ? smax : t / (1 - t);
}

double cmi_vp_sigma(double t, double beta_d, double beta_min)
{
    return sqrt(exp(0.5 * beta_d * t * t + beta_min * t) - 1);
}

double cmi_vp_sigma_inverse(double sigma, double beta_d, double beta_min)
{
    return (sqrt(beta_min * beta_min + 2 * beta_d * log(1 + sigma * sigma)) - beta_min) / beta_d;
}

double cmi_vp_sigma_slope(double t, double beta_d, double beta_min)
{
    double sigma = cmi_vp_sigma(t, beta_d, beta_min);
    return 0.5 * (beta_min + beta_d * t) * (sigma + 1 / sigma);
}

void cmi_vp_betas(double smin, double smax, double eps_s, double *beta_d, double *beta_min)
{
    *beta_d = 2 * (log(smin * smin + 1) / eps_s - log(smax * smax + 1)) / (eps_s - 1);
    *beta_min = log(smax * smax + 1) - 0.5 * *beta_d;
}

double cmi_ve_sigma(double u, double smin, double smax)
{
    return smin * pow(smax / smin, u);
}

static double alpha_bar(int j, int M, double C_2)
{
    double s = sin(1.57079632679489661923 * j / M / (C_2 + 1));
    return s * s;
}

void cmi_iddpm_table(int M, double C_1, double C_2, double *u)
{
    u[M] = 0;
    for (int j = M; j >= 1; j--) {
        const double ratio = fmax(alpha_bar(j - 1, M, C_2) / alpha_bar(j, M, C_2), C_1);
        u[j - 1] = sqrt((u[j] * u[j] + 1) / ratio - 1);
    }
}

int cmi_iddpm_nearest(const double *u, int M, double sigma)
{
    int best = 0;
    for (int j = 1; j <= M; j++)
        if (fabs(sigma - u[j]) < fabs(sigma - u[best])) best = j;
    return best;
}

void cmi_ancestral_split(double from, double to, double *down, double *up)
{
    double variance = to * to * (from * from - to * to) / (from * from);
    *up = sqrt(fmax(variance, 0));
    variance = to * to - *up * *up;
    *down = sqrt(fmax(variance, 0));
}
