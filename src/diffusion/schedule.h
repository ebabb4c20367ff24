/* schedule.h - noise levels (algorithms 1.1, 1.2, 2.6), in double. */
#ifndef CM_DIFFUSION_SCHEDULE_H
#define CM_DIFFUSION_SCHEDULE_H

#include <stddef.h>

/* sigma_i = (smax^(1/rho) + i/(n-1) (smin^(1/rho) - smax^(1/rho)))^rho, i =
 * 0..n-1, falling; n = 1 gives smax. */
double cmi_karras_sigma(double i, int n, double smin, double smax, double rho);
/* Level i of n whose times t = sigma / (1 + sigma) are (1 - i/n) of that of smax, i = 0..n-1. */
double cmi_flow_time_sigma(int i, int n, double smax);

/* Variance-preserving SDE: sigma(t) = sqrt(exp(bd t^2/2 + bmin t) - 1). */
double cmi_vp_sigma(double t, double beta_d, double beta_min);
double cmi_vp_sigma_inverse(double sigma, double beta_d, double beta_min);
double cmi_vp_sigma_slope(double t, double beta_d, double beta_min);
/* beta_d and beta_min with sigma(eps_s) = smin and sigma(1) = smax. */
void cmi_vp_betas(double smin, double smax, double eps_s, double *beta_d, double *beta_min);

/* Variance-exploding: smin (smax/smin)^u. */
double cmi_ve_sigma(double u, double smin, double smax);

/* iDDPM's table: u[M] = 0 < ... < u[0]; M + 1 values (networks B.5). */
void cmi_iddpm_table(int M, double C_1, double C_2, double *u);
/* Index of the entry nearest to sigma; the smaller index of two. */
int cmi_iddpm_nearest(const double *u, int M, double sigma);

/* Euler ancestral: noise to add and level to step to, between two levels. */
void cmi_ancestral_split(double from, double to, double *down, double *up);

#endif
