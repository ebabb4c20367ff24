/* bench_jvp.c MODEL BATCH THREADS WORK [DROPOUT] - a server of tests/bench_jvp.py: for each line that it is given it
 * does its work once and prints a JSON object of seconds by the clock and of the processor, of all threads together,
 * and the peak memory of the process.  WORK is value: D(x; sigma); both: D and its derivative in a direction of x and
 * sigma; or the objective of a training step on made-up images. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <consistency.h>

#include "base/context.h"
#include "diffusion/denoiser.h"
#include "diffusion/inputs.h"

typedef struct {
    cm_model *model;
    size_t n;
    int threads;
    /* value, both */
    cm_denoiser *denoiser;
    cm_evaluation evaluation;
    /* a step */
    cm_trainer *trainer;
    float *images;
} work;

static double seconds(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cm_status open_denoiser(work *w, int moves)
{
    const cm_model *m = w->model;
    const size_t n = w->n, in = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
    const size_t out = (size_t)m->out_channels * (size_t)m->height * (size_t)m->width;
    double *all = calloc(n * (2 * in + 2 * out + 2), sizeof *all), *sigma = all + n * (2 * in + 2 * out);
    if (!all) return CM_ERR_MEMORY;
    for (size_t i = 0; i < 2 * n * in; i++) all[i] = (double)(i * 7 % 11) - 5;
    for (size_t i = 0; i < n; i++) sigma[i] = 2 + (double)i, sigma[n + i] = -1;
    w->evaluation = (cm_evaluation){.n = n, .x = all, .sigma = sigma, .sigma_step = 1, .d = all + 2 * n * in};
    if (moves) {
        w->evaluation.x_tangent = all + n * in;
        w->evaluation.sigma_tangent = sigma + n;
        w->evaluation.d_tangent = w->evaluation.d + n * out;
    }
    return cmi_denoiser_create_tangent(w->model, w->threads, n, (cm_arithmetic){0, 0},
                                       moves ? CM_TANGENT_X | CM_TANGENT_SIGMA : 0, &w->denoiser);
}

static cm_status open_trainer(work *w, const char *objective, char **argv, const char *dropout)
{
    const size_t values = w->n * (size_t)(w->model->channels * w->model->height * w->model->width);
    const int scm = strcmp(objective, "sct") == 0;
    const char *const options[][2] = {
        {"objective", objective}, {"optimizer", strcmp(objective, "meanflow") ? "radam" : "adam"},
        {"ema", "none"},          {"batch", argv[2]},
        {"threads", argv[3]},     {"lr", "0.0001"},
        {"dropout", dropout},     {"weight_net", "none"}};
    cm_train_options *o;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    CM_TRY(cm_train_options_create(NULL, &o));
    for (int i = 0; i < (scm ? 8 : 7); i++) CM_TRY(cm_train_options_set(o, options[i][0], options[i][1]));
    w->images = malloc(values * sizeof *w->images);
    if (!w->images) return CM_ERR_MEMORY;
    for (size_t i = 0; i < values; i++) w->images[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    inputs.model = w->model;
    CM_TRY(cm_trainer_create(&inputs, o, &w->trainer));
    cm_train_options_free(o);
    return CM_OK;
}

static cm_status step(work *w)
{
    const cm_model *m = w->model;
    const cm_images view = cm_images_f32(w->n, m->channels, m->height, m->width, w->images);
    cm_train_report report;
    cm_train_report_init(&report, sizeof report);
    return cm_trainer_step(w->trainer, &view, NULL, &report);
}

/* A line in, the work, a line out. */
static cm_status serve(work *w)
{
    char line[16];
    struct rusage usage;
    while (fgets(line, sizeof line, stdin)) {
        const double before = seconds(CLOCK_MONOTONIC), worked = seconds(CLOCK_PROCESS_CPUTIME_ID);
        CM_TRY(w->trainer ? step(w) : cmi_denoiser_run(w->denoiser, &w->evaluation));
        const double took = seconds(CLOCK_MONOTONIC) - before, cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - worked;
        getrusage(RUSAGE_SELF, &usage);
        printf("{\"seconds\": %.6f, \"processor\": %.6f, \"peak_bytes\": %lld, \"activations\": %zu}\n", took, cpu,
               (long long)usage.ru_maxrss * 1024, w->denoiser ? cmi_denoiser_bytes(w->denoiser) : 0);
        (void)fflush(stdout);
    }
    return CM_OK;
}

static cm_status run(char **argv, int argc)
{
    work w = {.n = (size_t)atoi(argv[2]), .threads = atoi(argv[3])};
    const int value = strcmp(argv[4], "value") == 0, both = strcmp(argv[4], "both") == 0;
    cm_context *context;
    cm_context_options options;
    cm_context_options_init(&options, sizeof options);
    options.threads = w.threads;
    CM_TRY(cm_context_create(&options, &context));
    CM_TRY(cm_model_load(context, argv[1], NULL, &w.model));
    if (value || both) CM_TRY(open_denoiser(&w, both));
    else CM_TRY(open_trainer(&w, argv[4], argv, argc > 5 ? argv[5] : "0"));
    CM_TRY(serve(&w));
    if (w.denoiser) free((void *)(uintptr_t)w.evaluation.x);
    cmi_denoiser_free(w.denoiser);
    cm_trainer_free(w.trainer);
    free(w.images);
    cm_model_free(w.model);
    cm_context_free(context);
    return CM_OK;
}

int main(int argc, char **argv)
{
    if (argc < 5 || atoi(argv[2]) < 1) {
        fprintf(stderr, "usage: bench_jvp MODEL BATCH THREADS WORK [DROPOUT]\n");
        return 2;
    }
    if (run(argv, argc) == CM_OK) return 0;
    fprintf(stderr, "bench_jvp: %s\n", cm_last_message());
    return 1;
}
