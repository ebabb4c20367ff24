/* fill MODEL PICTURE.png: a digit is drawn, its lower half forgotten and filled in again. */
#include <stdio.h>
#include <stdlib.h>

#include <consistency.h>

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    cm_model *model = NULL;
    cm_sampler *sampler = NULL;
    cm_model_info info = CM_MODEL_INFO_INIT;
    cm_status status = cm_model_load(NULL, argv[1], NULL, &model);
    if (status == CM_OK) status = cm_model_info_get(model, &info);
    if (status == CM_OK) status = cm_sampler_create(model, NULL, &sampler);
    const size_t side = (size_t)info.height, size = (size_t)info.channels * side * (size_t)info.width;
    float *image = (float *)calloc(3 * size + 1, sizeof(float)), *mask = image + size, *out = mask + size;
    const int32_t label = 4;
    cm_condition condition = CM_CONDITION_INIT;
    cm_sample_options sampling = CM_SAMPLE_OPTIONS_INIT;
    cm_edit_options editing = CM_EDIT_OPTIONS_INIT;
    condition.labels = &label;
    sampling.condition = &condition;
    editing.sampling = &sampling;
    if (status == CM_OK) status = image ? cm_sampler_run(sampler, &sampling, 1, image) : CM_ERR_MEMORY;
    for (size_t i = size / 2; status == CM_OK && i < size; i++) mask[i] = 1;
    const cm_images given = cm_images_f32(1, info.channels, info.height, info.width, image);
    const cm_images hole = cm_images_f32(1, info.channels, info.height, info.width, mask);
    const cm_images result = cm_images_f32(1, info.channels, info.height, info.width, out);
    if (status == CM_OK) status = cm_sampler_inpaint(sampler, &editing, &given, &hole, &result);
    if (status == CM_OK) status = cm_image_write(NULL, argv[2], &result, NULL);
    if (status != CM_OK) fprintf(stderr, "fill: %s: %s\n", cm_status_name(status), cm_last_message());
    free(image);
    cm_sampler_free(sampler);
    cm_model_free(model);
    return status == CM_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
