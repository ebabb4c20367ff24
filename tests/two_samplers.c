/* two_samplers.c MODEL - images a second of two samplers of one thread each, in two
 * threads of a program, over those of one alone; one JSON object. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <consistency.h>

enum { IMAGES = 8, ROUNDS = 3 };

static cm_model *model;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct {
    cm_sampler *sampler;
    float *images;
    cm_status status;
} runner;

static void *draw(void *user)
{
    runner *r = user;
    cm_sample_options o;
    cm_sample_options_init(&o, sizeof o);
    o.method = CM_METHOD_ONESTEP;
    r->status = cm_sampler_run(r->sampler, &o, IMAGES, r->images);
    return NULL;
}

static double time_of(runner *runners, int n)
{
    pthread_t threads[2];
    double before = seconds();
    for (int i = 0; i < n; i++) pthread_create(&threads[i], NULL, draw, &runners[i]);
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
    return seconds() - before;
}

int main(int argc, char **argv)
{
    runner r[2];
    cm_model_info info;
    cm_sampler_options so;
    double one = 1e9, two = 1e9;
    if (argc != 2 || cm_model_load(NULL, argv[1], NULL, &model) != CM_OK) goto failed;
    cm_model_info_init(&info, sizeof info);
    cm_sampler_options_init(&so, sizeof so);
    so.threads = 1;
    so.max_batch = IMAGES;
    if (cm_model_info_get(model, &info) != CM_OK) goto failed;
    for (int i = 0; i < 2; i++) {
        r[i].images = malloc(IMAGES * sizeof(float) * (size_t)(info.channels * info.height * info.width));
        if (!r[i].images || cm_sampler_create(model, &so, &r[i].sampler) != CM_OK) goto failed;
    }
    for (int k = 0; k <= ROUNDS; k++) { /* the first warms up */
        double a = time_of(r, 1), b = time_of(r, 2);
        if (r[0].status != CM_OK || r[1].status != CM_OK) goto failed;
        if (k && a < one) one = a;
        if (k && b < two) two = b;
    }
    printf("{\"one\": %.5f, \"two\": %.5f, \"ratio\": %.4f}\n", one, two, 2 * one / two);
    for (int i = 0; i < 2; i++) {
        cm_sampler_free(r[i].sampler);
        free(r[i].images);
    }
    cm_model_free(model);
    return 0;
failed:
    fprintf(stderr, "two_samplers: %s\n", cm_last_message());
    return 1;
}
