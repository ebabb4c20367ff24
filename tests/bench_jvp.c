/* bench_jvp.c MODEL [THREADS [BATCH ...]] - value and tangent beside the value alone: seconds an image of D(x;
 * sigma), and of D and its derivative in a direction of x and sigma, in turns, the best of several runs, and the
 * ratio of both by the clock and by the time of the processor; activations of each.  A JSON object a batch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/context.h"
#include "diffusion/denoiser.h"
#include "diffusion/inputs.h"

enum { VALUES, BOTH, LEAST = 5, SECONDS = 4 };

typedef struct {
    cm_denoiser *denoiser;
    size_t activations;
    double best, cpu; /* seconds; of all threads together */
} side;

static double seconds(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cm_status run(side *s, const cm_evaluation *e)
{
    const double before = seconds(CLOCK_MONOTONIC), worked = seconds(CLOCK_PROCESS_CPUTIME_ID);
    CM_TRY(cmi_denoiser_run(s->denoiser, e));
    const double took = seconds(CLOCK_MONOTONIC) - before, cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - worked;
    if (s->best == 0 || took < s->best) s->best = took;
    if (s->cpu == 0 || cpu < s->cpu) s->cpu = cpu;
    return CM_OK;
}

static cm_status open_side(cm_model *m, int threads, size_t n, uint32_t tangents, side *s)
{
    CM_TRY(cmi_denoiser_create_tangent(m, threads, n, (cm_arithmetic){0, 0}, tangents, &s->denoiser));
    s->activations = cmi_denoiser_bytes(s->denoiser);
    return CM_OK;
}

static cm_status time_batch(cm_model *m, int threads, size_t n)
{
    const size_t in = (size_t)m->channels * (size_t)m->height * (size_t)m->width;
    const size_t out = (size_t)m->out_channels * (size_t)m->height * (size_t)m->width;
    side s[2];
    memset(s, 0, sizeof s);
    double *all = calloc(n * (2 * in + 2 * out + 2), sizeof *all), *sigma = all + n * (2 * in + 2 * out);
    cm_evaluation values = {.n = n, .x = all, .sigma = sigma, .sigma_step = 1, .d = all + 2 * n * in};
    for (size_t i = 0; i < 2 * n * in; i++) all[i] = (double)(i * 7 % 11) - 5;
    for (size_t i = 0; i < n; i++) sigma[i] = 2 + (double)i, sigma[n + i] = -1;
    cm_evaluation moving = values;
    moving.x_tangent = all + n * in, moving.sigma_tangent = sigma + n, moving.d_tangent = values.d + n * out;
    CM_TRY(open_side(m, threads, n, 0, &s[VALUES]));
    CM_TRY(open_side(m, threads, n, CM_TANGENT_X | CM_TANGENT_SIGMA, &s[BOTH]));
    const double began = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < LEAST || seconds(CLOCK_MONOTONIC) - began < SECONDS; i++) {
        CM_TRY(run(&s[VALUES], &values));
        CM_TRY(run(&s[BOTH], &moving));
    }
    printf("{\"batch\": %zu, \"threads\": %d, \"value\": %.5f, \"both\": %.5f, \"ratio\": %.3f, \"ratio_cpu\": %.3f, "
           "\"value_bytes\": %zu, "
           "\"both_bytes\": %zu}\n",
           n, threads, s[VALUES].best / (double)n, s[BOTH].best / (double)n, s[BOTH].best / s[VALUES].best,
           s[BOTH].cpu / s[VALUES].cpu, s[VALUES].activations, s[BOTH].activations);
    for (int k = 0; k < 2; k++) cmi_denoiser_free(s[k].denoiser);
    free(all);
    return CM_OK;
}

int main(int argc, char **argv)
{
    cm_model *m;
    const int threads = argc > 2 ? atoi(argv[2]) : 2;
    cm_context *context;
    cm_context_options options;
    cm_context_options_init(&options, sizeof options);
    options.threads = threads;
    if (argc < 2 || cm_context_create(&options, &context) != CM_OK ||
        cm_model_load(context, argv[1], NULL, &m) != CM_OK) {
        fprintf(stderr, "bench_jvp: %s\n", argc < 2 ? "MODEL [THREADS [BATCH ...]]" : cm_last_message());
        return 2;
    }
    cm_status status = argc > 3 ? CM_OK : time_batch(m, threads, 1);
    if (argc <= 3 && status == CM_OK) status = time_batch(m, threads, 8);
    for (int i = 3; i < argc && status == CM_OK; i++) status = time_batch(m, threads, (size_t)atoi(argv[i]));
    if (status != CM_OK) fprintf(stderr, "bench_jvp: %s\n", cm_last_message());
    cm_model_free(m);
    cm_context_free(context);
    return status != CM_OK;
}
