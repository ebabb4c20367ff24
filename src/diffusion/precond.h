/* precond.h - D(x; sigma) = c_skip x + c_out F(c_in x, c_noise) (algorithms
 * 1.3, networks A.6 and B.5). */
#ifndef CM_DIFFUSION_PRECOND_H
#define CM_DIFFUSION_PRECOND_H

#include <jansson.h>

#include "base/context.h"

typedef struct cm_scalings {
    double c_in, c_skip, c_out, c_noise;
} cm_scalings;

typedef struct cm_precond cm_precond;

/* One kind of preconditioning.  Everything that depends on the kind stands in its row. */
typedef struct cm_precond_kind {
    const char *name, *about;
    /* Members of the configuration that this kind reads besides type and the common ones; NULL at the end. */
    const char *const *members;
    /* NULL: known, but not supported by this version. */
    cm_scalings (*scalings)(const cm_precond *precond, double sigma);
    /* Their derivatives by sigma. */
    cm_scalings (*slopes)(const cm_precond *precond, double sigma);
    /* The range of noise levels that the kind was made for. */
    void (*range)(const cm_precond *precond, double *low, double *high);
    const char *scheduler; /* the class of diffusers that has these scalings, or NULL */
    const char *table;     /* the tensor that holds the levels the network was trained on (precond.table), or NULL */
    int is_consistency;    /* D is a consistency function: the identity at the boundary */
    int bounded;           /* D is not defined below sigma_min, which is the boundary; else that is 0 */
    int identity_at_0;     /* D(x; 0) = x, where the network has no value */
    int any_level;         /* D is defined at every sigma: sigma_min and sigma_max bound only what is trained */
    int unit_input;        /* c_in is 1 */
    int raw;               /* D is the network itself, sigma its time input */
    int two_times;         /* the network has a second time, in D that of the level 0 */
    int second_from_min;   /* ... which is told as sigma_min, and so is all below that */
    int second_head;       /* the network may have twice the channels; the second half is not read by D: a velocity */
    int trigflow;          /* the network is TrigFlow's: its time is arctan(sigma / sigma_data) */
    int edm_input;         /* c_in is EDM's and, with the boundary at 0, so are c_skip and c_out */
    int variances;         /* the network has twice the channels; the second half are variances, not read here */
    int clip;              /* samplers clamp its estimates unless told */
    int trainable;
} cm_precond_kind;

/* Kind `index` of the table, NULL past its end; and the one of that name, or NULL. */
const cm_precond_kind *cmi_precond_kind_at(size_t index);
const cm_precond_kind *cmi_precond_kind_find(const char *name);

struct cm_precond {
    cm_context *context;
    const cm_precond_kind *kind;
    int32_t index, time; /* of the kind in the table; CM_TIME_  */
    double sigma_data, sigma_min, sigma_max;
    int32_t sets_min, sets_max;                   /* 1: the file's number, which is not the kind's default */
    double boundary;                              /* ECT's, while it is evaluated: D(x; boundary) = x */
    double beta_d, beta_min, epsilon_t, C_1, C_2; /* VP and iDDPM               */
    int32_t M;
    double *table; /* iDDPM: M + 1 values        */
};

/* time: the rule of the network's family (CM_TIME_*, nets/net.h), which "time" overrides. */
cm_status cmi_precond_read(cm_context *context, const json_t *object, int32_t time, cm_precond *out);
void cmi_precond_release(cm_precond *precond);

cm_scalings cmi_precond_scalings(const cm_precond *precond, double sigma);
/* The derivatives of these by sigma (derivatives 4); the 1e-44 that guards ln at 0 does not enter. */
cm_scalings cmi_precond_slopes(const cm_precond *precond, double sigma);

const char *cmi_precond_name(const cm_precond *precond);
int cmi_precond_is_consistency(const cm_precond *precond);
/* Below this level D is not defined; a consistency function is the identity there. */
double cmi_precond_boundary(const cm_precond *precond);

#endif
