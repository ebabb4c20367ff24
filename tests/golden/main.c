/* main.c - make check-golden: finds files, runs what we know of them, prints
 * a line a file.  Exit 0 when nothing failed. */
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "golden.h"

static int counts[3];
static int verbose;
int golden_lean;

static void note(golden_result *r, int outcome, const char *format, va_list args)
{
    if (r->outcome == GOLDEN_FAIL) return; /* the first failure is told */
    r->outcome = outcome;
    (void)vsnprintf(r->note, sizeof r->note, format, args);
}

void golden_fail(golden_result *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(r, GOLDEN_FAIL, format, args);
    va_end(args);
}

void golden_skip(golden_result *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(r, GOLDEN_SKIP, format, args);
    va_end(args);
}

void golden_compare(golden_result *r, const char *what, double deviation, double tolerance)
{
    int first = r->compared++ == 0;
    if (!(deviation <= tolerance)) golden_fail(r, "%s off by %.3g, allowed %.3g", what, deviation, tolerance);
    if (first || isnan(deviation) || (r->tolerance == 0 && tolerance > 0) || deviation * r->tolerance > r->deviation * tolerance) {
        r->deviation = deviation;
        r->tolerance = tolerance;
        if (r->outcome == GOLDEN_OK) (void)snprintf(r->note, sizeof r->note, "%s", what);
    }
}

static double as_double(const cm_st_tensor *t, size_t i)
{
    const unsigned char *p = t->data + i * cm_st_type_size(t->type);
    double d;
    float s;
    int64_t n;
    int32_t k;
    switch (t->type) {
    case CM_ST_F64: memcpy(&d, p, 8); return d;
    case CM_ST_F32: memcpy(&s, p, 4); return (double)s;
    case CM_ST_I64: memcpy(&n, p, 8); return (double)n;
    case CM_ST_I32: memcpy(&k, p, 4); return k;
    case CM_ST_U8:
    case CM_ST_BOOL: return p[0];
    default: return NAN;
    }
}

double *golden_read(const golden_file *f, const char *name, size_t *count)
{
    const cm_st_tensor *t = cm_safetensors_find(&f->st, name);
    if (!t) return NULL;
    double *out = malloc((t->count + 1) * sizeof *out);
    for (size_t i = 0; i < t->count; i++) out[i] = as_double(t, i);
    if (count) *count = t->count;
    return out;
}

json_t *golden_json(const golden_file *f, const char *key)
{
    const char *text = cm_safetensors_metadata(&f->st, key);
    if (!text) return NULL;
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value ? value : json_string(text); /* plain text entries */
}

static void report(const char *folder, const char *name, const golden_result *r, double seconds)
{
    static const char *const words[] = {"ok", "FAIL", "skip"};
    counts[r->outcome]++;
    printf("%s %s/%s %.2g/%.2g", words[r->outcome], folder, name, r->deviation, r->tolerance);
    if (r->outcome != GOLDEN_OK) printf("  %s", r->note);
    else if (verbose) printf("  %s (%d comparisons, %.2f s)", r->note, r->compared, seconds);
    putchar('\n');
    fflush(stdout);
}

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void run_tensor_file(cm_context *context, const char *root, const char *folder, const char *name,
                            void (*check)(golden_file *, golden_result *), golden_result *r)
{
    char path[4096], directory[4096];
    (void)snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    (void)snprintf(directory, sizeof directory, "%s/%s", root, folder);
    golden_file f = {context, path, directory, name, {0}};
    if (cm_safetensors_open(context, path, &f.st) != CM_OK) {
        golden_fail(r, "%s", cm_last_message());
        return;
    }
    check(&f, r);
    if (r->outcome == GOLDEN_OK && r->compared == 0) golden_fail(r, "nothing was compared");
    cm_safetensors_close(&f.st);
}

static void run_entry(cm_context *context, const char *root, const char *folder, const char *name)
{
    golden_result r;
    struct timespec a, b;
    char directory[4096];
    memset(&r, 0, sizeof r);
    r.tolerance = 1;
    (void)snprintf(directory, sizeof directory, "%s/%s", root, folder);
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (strcmp(folder, "networks") == 0) run_tensor_file(context, root, folder, name, golden_network, &r);
    else if (strcmp(folder, "algorithms") == 0) run_tensor_file(context, root, folder, name, golden_algorithm, &r);
    else if (strcmp(folder, "checkpoints") == 0) golden_checkpoint(context, directory, name, &r);
    else if (!golden_data(context, directory, name, &r)) golden_skip(&r, "metrics: no issue so far has asked for them");
    clock_gettime(CLOCK_MONOTONIC, &b);
    report(folder, name, &r, (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec));
}

/* Tensor files of the first two folders; everything but READMEs elsewhere. */
static int wanted(const char *root, const char *folder, const struct dirent *e)
{
    struct stat st;
    char path[4096];
    if (e->d_name[0] == '.' || ends_with(e->d_name, ".md")) return 0;
    (void)snprintf(path, sizeof path, "%s/%s/%s", root, folder, e->d_name);
    if (stat(path, &st) != 0) return 0;
    if (strcmp(folder, "networks") == 0 || strcmp(folder, "algorithms") == 0)
        return S_ISREG(st.st_mode) && ends_with(e->d_name, ".safetensors");
    return 1;
}

static int run_folder(cm_context *context, const char *root, const char *folder)
{
    char path[4096];
    struct dirent **entries;
    (void)snprintf(path, sizeof path, "%s/%s", root, folder);
    int n = scandir(path, &entries, NULL, alphasort), found = 0;
    for (int i = 0; i < n; i++) {
        if (wanted(root, folder, entries[i])) {
            run_entry(context, root, folder, entries[i]->d_name);
            found++;
        }
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    return found;
}

int main(int argc, char **argv)
{
    static const char *const folders[] = {"networks", "algorithms", "metrics", "checkpoints"};
    cm_context *context;
    int found = 0;
    if (argc > 1 && strcmp(argv[1], "-v") == 0) verbose = 1, argv++, argc--;
    if (argc > 1 && strcmp(argv[1], "-l") == 0) golden_lean = 1, argv++, argc--;
    if (argc < 2) {
        fprintf(stderr, "usage: golden [-v] [-l] DIR [networks|algorithms|metrics|checkpoints [FILE]]\n");
        return 2;
    }
    if (cm_context_create(NULL, &context) != CM_OK) return 1;
    if (argc > 3) {
        run_entry(context, argv[1], argv[2], argv[3]);
        found = 1;
    }
    for (int i = 0; i < 4 && argc <= 3; i++)
        if (argc < 3 || strcmp(argv[2], folders[i]) == 0) found += run_folder(context, argv[1], folders[i]);
    cm_context_free(context);
    if (!found) {
        printf("FAIL no golden files under %s\n0 ok, 1 failed, 0 skipped\n", argv[1]);
        return 1;
    }
    if (verbose) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        printf("peak memory %.0f MiB\n", (double)usage.ru_maxrss / 1024);
    }
    printf("%d ok, %d failed, %d skipped\n", counts[GOLDEN_OK], counts[GOLDEN_FAIL], counts[GOLDEN_SKIP]);
    return counts[GOLDEN_FAIL] != 0;
}
