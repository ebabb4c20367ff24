/* precond.h - D(x; sigma) = c_skip x + c_out F(c_in x, c_noise) (algorithms
 * 1.3, networks A.6 and B.5). */
#ifndef CM_DIFFUSION_PRECOND_H
#define CM_DIFFUSION_PRECOND_H

#include <jansson.h>

#include "base/context.h"

enum {
    CM_PRECOND_CM,  /* consistency model, boundary at sigma_min            */
    CM_PRECOND_EDM, /* diffusion model of Karras et al. 2022               */
    CM_PRECOND_ECM, /* consistency model with EDM scalings, boundary at 0  */
    CM_PRECOND_VP,
    CM_PRECOND_VE,
    CM_PRECOND_IDDPM,
    CM_PRECOND_TRIGFLOW,
    CM_PRECOND_NONE /* the raw network; sigma is its time input            */
};
enum { CM_TIME_DEFAULT, CM_TIME_250LN, CM_TIME_LN4 };

typedef struct cm_precond {
    cm_context *context;
    int32_t type, time;
    double sigma_data, sigma_min, sigma_max;
    int32_t own_min, own_max;                     /* 1: the file's number, which is not the family's default */
    double beta_d, beta_min, epsilon_t, C_1, C_2; /* VP and iDDPM               */
    int32_t M;
    double *table; /* iDDPM: M + 1 values        */
} cm_precond;

/* adm: whether the network is of that type, which decides the time rule. */
cm_status cm_precond_read(cm_context *context, const json_t *object, int adm, cm_precond *out);
void cm_precond_release(cm_precond *precond);

typedef struct cm_scalings {
    double c_in, c_skip, c_out, c_noise;
} cm_scalings;
cm_scalings cm_precond_scalings(const cm_precond *precond, double sigma);

const char *cm_precond_name(const cm_precond *precond);
int cm_precond_is_consistency(const cm_precond *precond);
/* Where f(x, sigma) = x: sigma_min for cm, 0 for ecm. */
double cm_precond_boundary(const cm_precond *precond);

#endif
