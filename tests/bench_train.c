/* bench_train.c MODEL BATCH THREADS STEPS [MICROBATCH [f32|bf16 [DROPOUT]]] - seconds of the fastest
 * training step (objective edm, RAdam, without dropout unless said) on made-up images, as one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <consistency.h>

static int fail(void)
{
    fprintf(stderr, "bench_train: %s\n", cm_last_message());
    return 1;
}

static int set(cm_train_options *o, const char *name, const char *value)
{
    return cm_train_options_set(o, name, value) != CM_OK;
}

int main(int argc, char **argv)
{
    cm_load_options lo;
    cm_model *model;
    cm_model_info info;
    cm_trainer *trainer;
    cm_train_options *o;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_train_report r;
    struct rusage usage;
    double best = 1e9;
    if (argc < 5) return 2;
    cm_load_options_init(&lo, sizeof lo);
    if (cm_model_load(NULL, argv[1], &lo, &model) != CM_OK) return fail();
    cm_model_info_init(&info, sizeof info);
    cm_train_report_init(&r, sizeof r);
    (void)cm_model_info_get(model, &info);
    if (cm_train_options_create(NULL, &o) != CM_OK || set(o, "optimizer", "radam") || set(o, "ema", "none") ||
        set(o, "batch", argv[2]) || set(o, "threads", argv[3]) || set(o, "lr", "0.0001") ||
        set(o, "microbatch", argc > 5 ? argv[5] : "0") || set(o, "precision", argc > 6 ? argv[6] : "f32") ||
        set(o, "dropout", argc > 7 ? argv[7] : "0"))
        return fail();
    size_t values = (size_t)atoi(argv[2]) * (size_t)(info.channels * info.height * info.width);
    float *images = malloc(values * sizeof *images);
    for (size_t i = 0; images && i < values; i++) images[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    const cm_images view = cm_images_f32((size_t)atoi(argv[2]), info.channels, info.height, info.width, images);
    inputs.model = model;
    if (!images || cm_trainer_create(&inputs, o, &trainer) != CM_OK) return fail();
    for (int i = 0; i <= atoi(argv[4]); i++) {
        if (cm_trainer_step(trainer, &view, NULL, &r) != CM_OK) return fail();
        if (i && r.seconds < best) best = r.seconds;
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"seconds\": %.6f, \"peak_bytes\": %lld}\n", best, (long long)usage.ru_maxrss * 1024);
    cm_trainer_free(trainer);
    cm_train_options_free(o);
    cm_model_free(model);
    free(images);
    return 0;
}
