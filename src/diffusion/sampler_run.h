/* sampler_run.h - one run of a sampler, whatever it draws. */
#ifndef CM_DIFFUSION_SAMPLER_RUN_H
#define CM_DIFFUSION_SAMPLER_RUN_H

#include "diffusion/sampler.h"

typedef struct cm_sampler_job {
    const cm_sample_options *options; /* complete                                        */
    const cm_edit *edit;              /* or NULL                                         */
    int shared;                       /* labels and later draws are image 0's (noise.h)  */
    size_t n;                         /* out->n                                          */
    const cm_view *out;
} cm_sampler_job;

cm_status cmi_sampler_run_job(cm_sampler *s, const cm_sampler_job *j);

#endif
