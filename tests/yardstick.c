/* yardstick.c [THREADS] - seconds of a fixed amount of multiply-adds on every thread
 * at once: how fast this machine is right now. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { LANES = 16, CHAINS = 12, STEPS = 40000000 };
typedef float vec __attribute__((vector_size(4 * LANES)));

static float work(void)
{
    vec v[CHAINS], sum = {0};
    for (int k = 0; k < CHAINS; k++) v[k] = (vec){0} + (float)k;
    for (int i = 0; i < STEPS; i++)
        for (int k = 0; k < CHAINS; k++) v[k] = v[k] * 0.999f + 0.001f;
    for (int k = 0; k < CHAINS; k++) sum += v[k];
    return sum[0];
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 2;
    volatile float sink = 0;
    double before = omp_get_wtime();
#pragma omp parallel num_threads(threads)
    {
        float x = work();
#pragma omp critical
        sink += x;
    }
    printf("%.5f\n", omp_get_wtime() - before);
    return 0;
}
