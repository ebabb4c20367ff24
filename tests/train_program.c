/* train_program.c RUN UNTIL: trains a tiny network, from RUN's newest checkpoint when
 * there is one, to step UNTIL; saves after every step and says so.  Exit 0, 3 for an
 * IO error, 1 for any other.  kill_resume.py runs it under the shim. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <consistency.h>

enum { BATCH = 2, VALUES = 64 };

static int report(const char *what, cm_status status)
{
    if (status == CM_OK) return 0;
    fprintf(stderr, "%s: %s: %s\n", what, cm_status_name(status), cm_last_message());
    return status == CM_ERR_IO ? 3 : 1;
}

int main(int argc, char **argv)
{
    char path[512];
    struct stat st;
    cm_model *model;
    cm_trainer *trainer;
    cm_train_options *o = NULL;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    uint64_t step = 0;
    float images[BATCH * VALUES];
    const cm_images view = cm_images_f32(BATCH, 1, 8, 8, images);
    if (argc != 3) return 2;
    if (cm_model_create(
            NULL,
            "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": "
            "4, "
            "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {\"type\": \"edm\"}}",
            1, &model) != CM_OK)
        return report("create", CM_ERR_INTERNAL);
    int code = report("options", cm_train_options_create(NULL, &o));
    if (code == 0) code = report("batch", cm_train_options_set_number(o, "batch", BATCH));
    if (code == 0) code = report("steps", cm_train_options_set(o, "steps", "10"));
    if (code == 0) code = report("threads", cm_train_options_set(o, "threads", "1"));
    inputs.model = model;
    if (code == 0) code = report("trainer", cm_trainer_create(&inputs, o, &trainer));
    cm_train_options_free(o);
    if (code) return code;
    snprintf(path, sizeof path, "%s/checkpoints/LATEST", argv[1]);
    if (stat(path, &st) == 0) code = report("resume", cm_trainer_resume(trainer, argv[1], NULL, 0));
    (void)cm_trainer_steps(trainer, &step);
    printf("begins at %llu\n", (unsigned long long)step);
    fflush(stdout);
    while (!code && step < strtoull(argv[2], NULL, 10)) {
        for (int i = 0; i < BATCH * VALUES; i++) images[i] = (float)((i * 7 + (int)step * 3) % 11) / 5 - 1;
        code = report("step", cm_trainer_step(trainer, &view, NULL, NULL));
        if (!code) code = report("save", cm_trainer_save(trainer, argv[1], 2));
        if (!code) printf("saved %llu\n", (unsigned long long)++step);
        fflush(stdout);
    }
    cm_trainer_free(trainer);
    cm_model_free(model);
    return code;
}
