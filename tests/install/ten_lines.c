#include <stdio.h>
#include <consistency.h>
int main(int argc, char **argv)
{
    static float images[10 * 32 * 32];
    cm_model *model;
    cm_sampler *sampler;
    if (argc != 2 || cm_model_load(NULL, argv[1], NULL, &model) || cm_sampler_create(model, NULL, &sampler) ||
        cm_sampler_run(sampler, NULL, 10, images)) {
        puts(cm_last_message());
        return 1;
    }
    printf("%s: ten images, first value %g\n", cm_version(), (double)images[500]);
    cm_sampler_free(sampler);
    cm_model_free(model);
    return 0;
}
