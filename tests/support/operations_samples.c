/* operations_samples.c - rows of operations.h: drawing and editing. */
#include <string.h>

#include "support/operations_parts.h"

cm_status open_sampler(const place *at, const char *model, cm_model **m, cm_sampler **s)
{
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    o.max_batch = BATCH;
    cm_status status = cm_model_load(at->context, path_of(at->in, "%s.safetensors", model), NULL, m);
    return status == CM_OK ? cm_sampler_create(*m, &o, s) : status;
}

static int32_t number_of(const char *list, const char *name)
{
    for (size_t i = 0; cm_choice_name(list, i); i++)
        if (strcmp(cm_choice_name(list, i), name) == 0) return (int32_t)i;
    return -1;
}

static const double two_levels[] = {80, 0.8};

static cm_status sample(const place *at)
{
    cm_model *m = NULL;
    cm_sampler *s = NULL;
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    float images[BATCH * VALUES];
    CONDITION_OF_TWO;
    const int jumps = strcmp(at->choice, "onestep") == 0 || strcmp(at->choice, "multistep") == 0;
    o.method = number_of("methods", at->choice);
    o.condition = &condition;
    if (strcmp(at->choice, "multistep") == 0) o.sigmas = two_levels, o.sigma_count = 2;
    if (!jumps) o.steps = strcmp(at->choice, "rk45") == 0 ? 0 : 2;
    if (strcmp(at->choice, "rk45") == 0) o.rk45_rtol = o.rk45_atol = 0.5;
    const char *model = jumps ? "jump" : strcmp(at->choice, "flowmap") == 0 ? "two" : "denoiser";
    cm_status status = open_sampler(at, model, &m, &s);
    if (status == CM_OK) status = cm_sampler_run(s, &o, BATCH, images);
    cm_sampler_free(s);
    cm_model_free(m);
    return status;
}

/* What a sampler says before and after it is made, and bytes drawn in place of values. */
static cm_status sample_bytes(const place *at)
{
    cm_model *m = NULL;
    cm_sampler *s = NULL;
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    cm_sampler_info info = CM_SAMPLER_INFO_INIT;
    static uint8_t pixels[BATCH * VALUES];
    const cm_images out = cm_images_u8(BATCH, SIDE, SIDE, CHANNELS, pixels);
    int32_t nfe;
    o.max_batch = BATCH;
    cm_status status = cm_model_load(at->context, path_of(at->in, "jump.safetensors"), NULL, &m);
    if (status == CM_OK) status = cm_sampler_estimate(m, &o, &info);
    if (status == CM_OK) status = cm_sampler_create(m, &o, &s);
    if (status == CM_OK) status = cm_sampler_info_get(s, &info);
    if (status == CM_OK) status = cm_sampler_nfe(s, NULL, &nfe);
    if (status == CM_OK) status = cm_sampler_run_images(s, NULL, &out);
    cm_sampler_free(s);
    cm_model_free(m);
    return status;
}

static const char *const tasks[] = {"inpaint", "colorize",    "super-resolve", "stroke",
                                    "denoise", "interpolate", "edit",          NULL};
static cm_status edit(const place *at)
{
    cm_model *m = NULL;
    cm_sampler *s = NULL;
    cm_edit_options o = CM_EDIT_OPTIONS_INIT;
    cm_sample_options sampling = CM_SAMPLE_OPTIONS_INIT;
    CONDITION_OF_TWO;
    static float images[BATCH * VALUES], small[BATCH * VALUES], mask[VALUES], out[BATCH * VALUES];
    const cm_images given = cm_images_f32(1, CHANNELS, SIDE, SIDE, images);
    const cm_images less = cm_images_f32(1, CHANNELS, SIDE / 2, SIDE / 2, small);
    const cm_images where = cm_images_f32(1, 1, SIDE, SIDE, mask);
    const cm_images to = cm_images_f32(1, CHANNELS, SIDE, SIDE, out),
                    frames = cm_images_f32(2, CHANNELS, SIDE, SIDE, out);
    for (int i = 0; i < VALUES; i++) mask[i] = (float)(i % 2), images[i] = small[i] = 0.1f;
    if (strcmp(at->choice, "interpolate") == 0) sampling.sigmas = two_levels, sampling.sigma_count = 2;
    else sampling.steps = 2;
    sampling.condition = &condition;
    o.sampling = &sampling;
    cm_status status = open_sampler(at, "jump", &m, &s);
    if (status != CM_OK) goto end;
    if (strcmp(at->choice, "inpaint") == 0) status = cm_sampler_inpaint(s, &o, &given, &where, &to);
    else if (strcmp(at->choice, "colorize") == 0) status = cm_sampler_colorize(s, &o, &given, &to);
    else if (strcmp(at->choice, "super-resolve") == 0) status = cm_sampler_super_resolve(s, &o, &less, &to);
    else if (strcmp(at->choice, "stroke") == 0) status = cm_sampler_stroke(s, &o, &given, &to);
    else if (strcmp(at->choice, "interpolate") == 0) status = cm_sampler_interpolate(s, &o, &frames);
    else if (strcmp(at->choice, "edit") == 0) status = cm_sampler_edit(s, &o, NULL, &given, &where, &to);
    else {
        sampling.steps = 0;
        o.sigma = 0.5;
        status = cm_sampler_denoise(s, &o, &given, &to);
    }
end:
    cm_sampler_free(s);
    cm_model_free(m);
    return status;
}

const operation operations_of_samples[] = {
    {"sample", sample, "methods", NULL, 1},
    {"sample bytes", sample_bytes, NULL, NULL, 1},
    {"edit", edit, NULL, tasks, 1},
    {NULL, NULL, NULL, NULL, 0},
};
