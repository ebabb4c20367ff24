/* bench_metrics.c inception WEIGHTS BATCH THREADS, or vgg WEIGHTS LIN BATCH THREADS [SIDE] - times feature networks
 * for tests/bench_metrics.py: each line of the input is a call, answered with its seconds, seconds of processor time,
 * the peak of the memory in bytes and a number to compare with another program's.
 *
 * inception: features of 299 x 299 images.  vgg: LPIPS of pairs of 224 x 224 and its gradient. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <consistency.h>

typedef struct {
    cm_features *features;
    cm_lpips *lpips;
    size_t batch, values; /* values: of an image */
    uint8_t *bytes;
    float *a, *b, *out;
    cm_images images, others;
} bench;

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fail(void)
{
    fprintf(stderr, "bench_metrics: %s\n", cm_last_message());
    return 1;
}

/* The same in tests/peers/torch_metrics.py. */
static uint32_t byte_of(size_t i)
{
    return (uint32_t)i * 2654435761u >> 24;
}

static int allocate(bench *b, size_t side, size_t outputs)
{
    const size_t n = b->batch * 3 * side * side;
    b->values = 3 * side * side;
    b->bytes = malloc(n);
    b->a = malloc(n * sizeof *b->a), b->b = malloc(n * sizeof *b->b);
    b->out = malloc(outputs * b->batch * sizeof *b->out);
    if (!b->bytes || !b->a || !b->b || !b->out) return 0;
    for (size_t i = 0; i < n; i++) {
        b->bytes[i] = (uint8_t)byte_of(i);
        b->a[i] = (float)byte_of(i) / 127.5f - 1;
        b->b[i] = (float)byte_of(i + 12345) / 127.5f - 1;
    }
    return 1;
}

static int call(bench *b, double *value)
{
    *value = 0;
    if (b->features) {
        if (cm_features_run(b->features, &b->images, b->out, NULL) != CM_OK) return 0;
        for (size_t i = 0; i < 2048; i++) *value += (double)b->out[i];
        return 1;
    }
    if (cm_lpips_gradient(b->lpips, &b->images, &b->others, NULL, b->out) != CM_OK) return 0;
    for (size_t i = 0; i < b->values; i++) *value += fabs((double)b->out[i]);
    return 1;
}

static int serve(bench *b)
{
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        struct rusage usage;
        double value;
        const double wall = seconds(CLOCK_MONOTONIC), own = seconds(CLOCK_PROCESS_CPUTIME_ID);
        if (!call(b, &value)) return fail();
        const double wall_end = seconds(CLOCK_MONOTONIC), own_end = seconds(CLOCK_PROCESS_CPUTIME_ID);
        getrusage(RUSAGE_SELF, &usage);
        printf("{\"seconds\": %.6f, \"processor\": %.6f, \"peak\": %lld, \"value\": %.9g}\n", wall_end - wall,
               own_end - own, (long long)usage.ru_maxrss * 1024, value);
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    cm_context *context;
    cm_context_options options;
    bench b = {NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, {0}, {0}};
    const int vgg = argc > 1 && strcmp(argv[1], "vgg") == 0, at = vgg ? 4 : 3;
    if (argc < at + 2) return 2;
    const size_t side = vgg ? (argc > at + 2 ? (size_t)atoi(argv[at + 2]) : 224) : 299;
    b.batch = (size_t)atoi(argv[at]);
    cm_context_options_init(&options, sizeof options);
    options.threads = atoi(argv[at + 1]);
    if (!allocate(&b, side, vgg ? 3 * side * side : 2048)) return 1;
    if (cm_context_create(&options, &context) != CM_OK) return fail();
    const int32_t s = (int32_t)side;
    if (vgg) {
        b.images = cm_images_f32(b.batch, 3, s, s, b.a), b.others = cm_images_f32(b.batch, 3, s, s, b.b);
        if (cm_lpips_open(context, "vgg", argv[2], argv[3], NULL, &b.lpips) != CM_OK) return fail();
    } else {
        b.images = cm_images_u8(b.batch, s, s, 3, b.bytes);
        if (cm_features_open(context, argv[2], "inception-pytorch", &b.features) != CM_OK) return fail();
    }
    const int status = serve(&b);
    cm_features_free(b.features);
    cm_lpips_free(b.lpips);
    cm_context_free(context);
    free(b.bytes), free(b.a), free(b.b), free(b.out);
    return status;
}
