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

int main(int argc, char **argv)
{
    cm_load_options lo;
    cm_model *model;
    cm_model_info info;
    cm_trainer *trainer;
    cm_train_options o;
    cm_train_report r;
    struct rusage usage;
    double best = 1e9;
    if (argc < 5) return 2;
    cm_load_options_init(&lo, sizeof lo);
    if (cm_model_load(NULL, argv[1], &lo, &model) != CM_OK) return fail();
    cm_model_info_init(&info, sizeof info);
    cm_train_options_init(&o, sizeof o);
    cm_train_report_init(&r, sizeof r);
    (void)cm_model_info_get(model, &info);
    (void)cm_train_options_set(&o, "optimizer", "radam");
    (void)cm_train_options_set(&o, "ema", "none");
    o.batch = atoi(argv[2]);
    o.threads = atoi(argv[3]);
    o.lr = 1e-4;
    if (argc > 5) o.microbatch = atoi(argv[5]);
    if (argc > 6 && cm_train_options_set(&o, "dtype", argv[6]) != CM_OK) return fail();
    o.dropout = argc > 7 ? atof(argv[7]) : 0;
    size_t values = (size_t)o.batch * (size_t)(info.channels * info.height * info.width);
    float *images = malloc(values * sizeof *images);
    for (size_t i = 0; images && i < values; i++) images[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    if (!images || cm_trainer_create(model, NULL, &o, &trainer) != CM_OK) return fail();
    for (int i = 0; i <= atoi(argv[4]); i++) {
        if (cm_trainer_step(trainer, images, NULL, &r) != CM_OK) return fail();
        if (i && r.seconds < best) best = r.seconds;
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"seconds\": %.6f, \"peak_bytes\": %lld}\n", best, (long long)usage.ru_maxrss * 1024);
    cm_trainer_free(trainer);
    cm_model_free(model);
    free(images);
    return 0;
}
