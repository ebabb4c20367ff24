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
    cm_train_options o;
    uint64_t step = 0;
    float images[BATCH * VALUES];
    if (argc != 3) return 2;
    if (cm_model_create(
            NULL,
            "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 1, \"model_channels\": "
            "4, "
            "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {\"type\": \"edm\"}}",
            1, &model) != CM_OK)
        return report("create", CM_ERR_INTERNAL);
    cm_train_options_init(&o, sizeof o);
    o.batch = BATCH;
    o.steps = 10;
    o.threads = 1;
    int code = report("trainer", cm_trainer_create(model, NULL, &o, &trainer));
    if (code) return code;
    snprintf(path, sizeof path, "%s/checkpoints/LATEST", argv[1]);
    if (stat(path, &st) == 0) code = report("resume", cm_trainer_resume(trainer, argv[1], NULL, 0));
    (void)cm_trainer_steps(trainer, &step);
    printf("begins at %llu\n", (unsigned long long)step);
    fflush(stdout);
    while (!code && step < strtoull(argv[2], NULL, 10)) {
        for (int i = 0; i < BATCH * VALUES; i++) images[i] = (float)((i * 7 + (int)step * 3) % 11) / 5 - 1;
        code = report("step", cm_trainer_step(trainer, images, NULL, NULL));
        if (!code) code = report("save", cm_trainer_save(trainer, argv[1], 2));
        if (!code) printf("saved %llu\n", (unsigned long long)++step);
        fflush(stdout);
    }
    cm_trainer_free(trainer);
    cm_model_free(model);
    return code;
}
