/* samplers.h - what the tests of samplers share: the digit models, samplers and options. */
#ifndef TESTS_SUPPORT_SAMPLERS_H
#define TESTS_SUPPORT_SAMPLERS_H

#include <stdlib.h>

#include "support/suite.h"

#define CONSISTENCY "tests/data/models/digits_consistency.safetensors"
#define TEACHER "tests/data/models/digits_teacher.safetensors"

static inline cm_model *load_model(const char *path)
{
    cm_model *m;
    OK(cm_model_load(NULL, path, NULL, &m));
    return m;
}

static inline cm_sampler *sampler_of(cm_model *m, int threads, int batch)
{
    cm_sampler *s;
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    o.threads = threads, o.max_batch = batch;
    OK(cm_sampler_create(m, &o, &s));
    return s;
}

static inline cm_sample_options sample_options(int method)
{
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    o.method = method;
    o.seed = 11;
    return o;
}

/* n images of so many values, the caller's to free. */
static inline float *draw_images(cm_sampler *s, const cm_sample_options *o, size_t n, size_t size)
{
    float *x = malloc(n * size * sizeof *x);
    OK(cm_sampler_run(s, o, n, x));
    return x;
}

static inline int has_bf16(void)
{
    return strstr(cm_build_info(), " with bfloat16") != NULL;
}

#endif
