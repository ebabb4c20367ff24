/* exit_program.c MODEL MICROSECONDS [THREADS]: returns from main after that time, while threads make samplers, use
 * and free them.  Exit 0; anything else is a crash of what runs at exit.  exit.sh runs it many times. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <consistency.h>

enum { VALUES = 64 };

/* Until main has returned, and beyond: what it gets back then does not matter. */
static void *work(void *user)
{
    for (;;) {
        cm_model *model;
        cm_sampler *sampler;
        float images[2 * VALUES * 16];
        if (cm_model_load(NULL, user, NULL, &model) != CM_OK) continue;
        if (cm_sampler_create(model, NULL, &sampler) == CM_OK) {
            (void)cm_sampler_run(sampler, NULL, 2, images);
            cm_sampler_free(sampler);
        }
        cm_model_free(model);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    long us = atol(argv[2]);
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    for (int i = 0; i < (argc > 3 ? atoi(argv[3]) : 1); i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, argv[1]) != 0) return 2;
    }
    (void)nanosleep(&t, NULL);
    return 0;
}
