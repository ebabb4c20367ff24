/* draw MODEL PICTURE.png: one image from noise, in one network evaluation. */
#include <stdio.h>
#include <stdlib.h>

#include <consistency.h>

static cm_status write_picture(const cm_model_info *info, const float *image, const char *path)
{
    cm_images picture = cm_images_f32(1, info->channels, info->height, info->width, image);
    cm_image_write_options options = CM_IMAGE_WRITE_OPTIONS_INIT;
    options.overwrite = CM_OVERWRITE_YES;
    return cm_image_write(NULL, path, &picture, &options);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: draw MODEL PICTURE.png\n");
        return 2;
    }
    cm_model *model = NULL;
    cm_sampler *sampler = NULL;
    float *image = NULL;
    cm_model_info info;
    cm_model_info_init(&info, sizeof info);

    cm_status status = cm_model_load(NULL, argv[1], NULL, &model); /* NULL: the default context and options */
    if (status == CM_OK) status = cm_model_info_get(model, &info);
    if (status == CM_OK) status = cm_sampler_create(model, NULL, &sampler);
    if (status == CM_OK) {
        image = (float *)malloc(sizeof(float) * (size_t)info.channels * (size_t)info.height * (size_t)info.width);
        status = image ? cm_sampler_run(sampler, NULL, 1, image) : CM_ERR_MEMORY;
    }
    if (status == CM_OK) status = write_picture(&info, image, argv[2]);
    if (status != CM_OK) fprintf(stderr, "draw: %s: %s\n", cm_status_name(status), cm_last_message());

    free(image);
    cm_sampler_free(sampler);
    cm_model_free(model);
    return status == CM_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
