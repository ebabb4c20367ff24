/* catalogue_program.c - opens files as lines on standard input say, for tests/catalogue.py: "WAY PATH", the line's
 * end after the path.  For each prints a line: status, milliseconds, most bytes taken, message (or what was read).
 * What opens is read whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <consistency.h>

#include "support/memory.h"

static char said[512];

static cm_status tensors(cm_context *context, const char *path)
{
    cm_checkpoint *file;
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    cm_checkpoint_report report = CM_CHECKPOINT_REPORT_INIT;
    cm_status status = cm_checkpoint_open(context, path, NULL, &file);
    if (status != CM_OK) return status;
    status = cm_checkpoint_info_get(file, &info);
    if (status == CM_OK) status = cm_checkpoint_check(file, NULL, &report);
    for (size_t i = 0; status == CM_OK && i < info.tensors; i++) {
        int64_t shape[8], n = 1;
        int32_t rank;
        status = cm_checkpoint_tensor(file, i, NULL, &rank, shape, NULL);
        for (int k = 0; k < rank; k++) n *= shape[k];
        float *values = malloc(((size_t)n + 1) * sizeof *values);
        if (status == CM_OK) status = cm_checkpoint_read_f32(file, i, (size_t)n, values);
        free(values);
    }
    (void)snprintf(said, sizeof said, "%zu tensors, %llu not finite", (size_t)info.tensors,
                   (unsigned long long)(report.nan_values + report.infinite_values));
    cm_checkpoint_free(file);
    return status;
}

static cm_status model(cm_context *context, const char *path)
{
    cm_model *m;
    cm_status status = cm_model_load(context, path, NULL, &m);
    if (status != CM_OK) return status;
    (void)snprintf(said, sizeof said, "%zu parameters", cm_model_param_count(m));
    cm_model_free(m);
    return CM_OK;
}

static cm_status picture(cm_context *context, const char *path)
{
    cm_images out = CM_IMAGES_INIT;
    cm_status status = cm_image_read(context, path, NULL, &out);
    if (status != CM_OK) return status;
    const uint8_t *p = out.data;
    (void)snprintf(said, sizeof said, "%d x %d x %d first %d %d %d", out.channels, out.height, out.width, p[0],
                   out.channels > 1 ? p[1] : p[0], out.channels > 1 ? p[2] : p[0]);
    cm_image_free(context, &out);
    return CM_OK;
}

static cm_status dataset(cm_context *context, const char *path)
{
    cm_dataset *d;
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    cm_status status = cm_dataset_open(context, path, NULL, &d);
    if (status != CM_OK) return status;
    status = cm_dataset_info_get(d, &info);
    const size_t values = (size_t)info.channels * (size_t)info.height * (size_t)info.width;
    float *image = values < 1 << 24 ? malloc(values * sizeof *image) : NULL;
    char first[40] = "";
    for (uint64_t i = 0; status == CM_OK && image && i < info.images && i < 64; i++) {
        const cm_images out = cm_images_f32(1, info.channels, info.height, info.width, image);
        status = cm_dataset_read(d, i, &out, NULL);
        if (status == CM_OK && i == 0 && values > 1)
            (void)snprintf(first, sizeof first, ", first %.0f %.0f", ((double)image[0] + 1) * 127.5,
                           ((double)image[1] + 1) * 127.5);
    }
    free(image);
    if (status == CM_OK) status = cm_dataset_info_get(d, &info);
    (void)snprintf(said, sizeof said, "%s of %llu images %d x %d x %d, %d classes, %llu bad%s", info.kind,
                   (unsigned long long)info.images, info.channels, info.height, info.width, info.classes,
                   (unsigned long long)info.bad, first);
    cm_dataset_free(d);
    return status;
}

static cm_status statistics(cm_context *context, const char *path)
{
    cm_statistics *s;
    cm_status status = cm_statistics_read(context, path, NULL, &s);
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    if (status != CM_OK) return status;
    status = cm_statistics_info_get(s, &info);
    (void)snprintf(said, sizeof said, "dimension %d of %llu", info.dimension, (unsigned long long)info.count);
    cm_statistics_free(s);
    return status;
}

static char *text_of(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    if (!f || !text) exit(2);
    (void)!fread(text, 1, (1 << 20) - 1, f);
    (void)fclose(f);
    return text;
}

static cm_status config(cm_context *context, const char *path)
{
    char *text = text_of(path);
    uint64_t n;
    const cm_status status = cm_model_count(context, text, &n);
    if (status == CM_OK) (void)snprintf(said, sizeof said, "%llu parameters", (unsigned long long)n);
    free(text);
    return status;
}

static cm_status options(cm_context *context, const char *path)
{
    char *text = text_of(path);
    cm_train_options *o;
    cm_status status = cm_train_options_create(context, &o);
    if (status == CM_OK) status = cm_train_options_read(o, text);
    if (status == CM_OK) status = cm_train_options_check(o);
    cm_train_options_free(o);
    free(text);
    return status;
}

static const struct {
    const char *name;
    cm_status (*open)(cm_context *context, const char *path);
} ways[] = {{"tensors", tensors},       {"model", model},   {"picture", picture}, {"dataset", dataset},
            {"statistics", statistics}, {"config", config}, {"options", options}};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void try_line(const char *way, const char *path)
{
    memory counted;
    cm_context *context;
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(ways[i].name, way) != 0) continue;
        if (cm_context_create(&o, &context) != CM_OK) exit(2);
        const double begin = now();
        said[0] = '\0';
        const cm_status status = ways[i].open(context, path);
        printf("%s\t%.0f\t%lld\t%s\n", cm_status_name(status), now() - begin, counted.peak,
               status == CM_OK ? said : cm_last_message());
        fflush(stdout);
        cm_context_free(context);
        if (counted.live) printf("%ld blocks are left\n", counted.live);
        return;
    }
    printf("no way to open: %s\n", way);
}

int main(int argc, char **argv)
{
    static char line[1 << 16];
    /* Files that only their owner may read are tried by somebody else. */
    if (argc > 1 && strcmp(argv[1], "--nobody") == 0 && geteuid() == 0 && seteuid(65534) != 0) return 2;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        char *path = strchr(line, ' ');
        if (!path) return 2;
        *path++ = '\0';
        try_line(line, path);
    }
    return 0;
}
