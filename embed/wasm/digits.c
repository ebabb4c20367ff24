/* digits.c - what the page calls: one model, one sampler, one picture a call.
 *
 * Picture i of a run depends on the seed and first_index + i, not on what runs beside it, so sixteen calls give the
 * sixteen pictures of one.  Between two calls the browser's thread hears whether it shall stop. */
#include <math.h>
#include <string.h>

#include <consistency/edit.h>

#include <emscripten.h>

enum { MOST_STEPS = 64 };

static cm_model *model;
static cm_sampler *sampler;
static cm_model_info info;
static const char *message = ""; /* of the last failure */

static int said(int status)
{
    if (status) message = cm_last_message();
    return status;
}

/* The bytes of a model file, which stay where they are.  0 is success, as with all that follow. */
EMSCRIPTEN_KEEPALIVE int digits_open(const void *bytes, size_t size)
{
    cm_context_options context_options = CM_CONTEXT_OPTIONS_INIT;
    cm_sampler_options options = CM_SAMPLER_OPTIONS_INIT;
    cm_context *context = NULL;
    context_options.threads = 1;
    options.max_batch = 1;
    cm_model_info_init(&info, sizeof info);
    cm_status status = cm_context_create(&context_options, &context);
    if (status == CM_OK) status = cm_model_load_memory(context, bytes, size, NULL, &model);
    if (status == CM_OK) status = cm_model_info_get(model, &info);
    if (status == CM_OK) status = cm_sampler_create(model, &options, &sampler);
    cm_context_free(context);
    return said(status);
}

EMSCRIPTEN_KEEPALIVE const char *digits_message(void)
{
    return message;
}

/* Channels, height, width and classes by `index`. */
EMSCRIPTEN_KEEPALIVE int digits_info(int index)
{
    const int all[4] = {info.channels, info.height, info.width, info.num_classes};
    return index >= 0 && index < 4 ? all[index] : 0;
}

/* Picture number `index` of `seed`, height x width x channels bytes.  Without a picture it is drawn; with one and a
 * mask of height x width (255 = make anew) it is filled in.  Label -1: of any class. */
EMSCRIPTEN_KEEPALIVE int digits_run(int label, int steps, unsigned seed, unsigned index, const uint8_t *picture,
                                    const uint8_t *mask, uint8_t *out)
{
    const cm_images to = cm_images_u8(1, info.height, info.width, info.channels, out);
    const int32_t labels[1] = {label};
    double sigmas[MOST_STEPS];
    cm_sample_options options = CM_SAMPLE_OPTIONS_INIT;
    cm_condition condition = CM_CONDITION_INIT;
    if (steps < 1 || steps > MOST_STEPS) {
        message = "steps is 1 to 64";
        return CM_ERR_ARGUMENT;
    }
    condition.labels = labels;
    if (label != -1) options.condition = &condition;
    options.seed = seed;
    options.first_index = index;
    if (picture) {
        const cm_images given = cm_images_u8(1, info.height, info.width, info.channels, picture);
        const cm_images made_anew = cm_images_u8(1, info.height, info.width, 1, mask);
        cm_edit_options edit = CM_EDIT_OPTIONS_INIT;
        options.steps = steps;
        edit.sampling = &options;
        return said(cm_sampler_inpaint(sampler, &edit, &given, &made_anew, &to));
    }
    /* One level is the model's highest.  More of them fall from it by equal factors to 0.8, below which another
     * evaluation changes digits little. */
    for (int i = 0; i < steps; i++)
        sigmas[i] = i ? info.sigma_max * pow(0.8 / info.sigma_max, i / (steps - 1.0)) : info.sigma_max;
    options.method = steps == 1 ? CM_METHOD_ONESTEP : CM_METHOD_MULTISTEP;
    options.sigmas = sigmas;
    options.sigma_count = (size_t)steps;
    return said(cm_sampler_run_images(sampler, &options, &to));
}
