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
#include "train/option_rows.h"

static int counts[3];
static json_t *missing; /* kind: how many files */
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

void golden_missing(golden_result *r, const char *kind)
{
    if (r->outcome == GOLDEN_FAIL) return;
    r->outcome = GOLDEN_MISSING;
    (void)snprintf(r->note, sizeof r->note, "%s", kind);
}

void golden_compare(golden_result *r, const char *what, double deviation, double tolerance)
{
    int first = r->compared++ == 0;
    if (!(deviation <= tolerance)) golden_fail(r, "%s off by %.3g, allowed %.3g", what, deviation, tolerance);
    if (first || isnan(deviation) || (r->tolerance == 0 && tolerance > 0) ||
        deviation * r->tolerance > r->deviation * tolerance) {
        r->deviation = deviation;
        r->tolerance = tolerance;
        if (r->outcome == GOLDEN_OK) (void)snprintf(r->note, sizeof r->note, "%s", what);
    }
}

static double as_double(const cm_tensor *t, size_t i)
{
    const unsigned char *p = t->data + i * cmi_tensor_type_size(t->type);
    double d;
    float s;
    int64_t n;
    int32_t k;
    switch (t->type) {
    case CM_TENSOR_F64: memcpy(&d, p, 8); return d;
    case CM_TENSOR_F32: memcpy(&s, p, 4); return (double)s;
    case CM_TENSOR_I64: memcpy(&n, p, 8); return (double)n;
    case CM_TENSOR_I32: memcpy(&k, p, 4); return k;
    case CM_TENSOR_U8:
    case CM_TENSOR_BOOL: return p[0];
    default: return NAN;
    }
}

double *golden_read(const golden_file *f, const char *name, size_t *count)
{
    const cm_tensor *t = cmi_tensors_find(&f->st, name);
    if (!t) return NULL;
    double *out = malloc((t->count + 1) * sizeof *out);
    for (size_t i = 0; i < t->count; i++) out[i] = as_double(t, i);
    if (count) *count = t->count;
    return out;
}

const char *golden_metadata(const golden_file *f, const char *key)
{
    const char *text = cmi_tensors_metadata(&f->st, key);
    if (text && f->used) json_object_set_new(f->used, key, json_true());
    return text;
}

json_t *golden_json(const golden_file *f, const char *key)
{
    const char *text = golden_metadata(f, key);
    if (!text) return NULL;
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value ? value : json_string(text); /* plain text entries */
}

int golden_weighting(const char *name)
{
    return cmi_choice_find(&cmi_weighting_choices, name);
}

double golden_value(const json_t *v)
{
    const char *text = json_string_value(v);
    char *end;
    if (json_is_number(v)) return json_number_value(v);
    if (json_is_boolean(v)) return json_is_true(v);
    if (!text || !*text) return NAN;
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) return text[0] == 't';
    double d = strtod(text, &end);
    return *end ? NAN : d;
}

void golden_says(const golden_file *f, golden_result *r, const char *key, const char *words)
{
    const char *text = golden_metadata(f, key);
    if (text && strcmp(text, words) != 0)
        golden_fail(r, "%s is '%.80s', this runner knows '%.80s'", key, text, words);
}

void golden_agrees(const golden_file *f, golden_result *r, const char *key, double found)
{
    json_t *v = golden_json(f, key);
    if (v && !(json_is_number(v) && json_number_value(v) == found))
        golden_fail(r, "%s is '%.80s', found %g", key, golden_metadata(f, key), found);
    json_decref(v);
}

void golden_members(golden_result *r, const char *what, const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        int i = 0;
        while (known[i] && strcmp(known[i], key) != 0) i++;
        if (!known[i]) golden_fail(r, "member '%s' of '%s' is not used", key, what);
    }
}

/* Said for people: where the numbers are from, how far float32 was off. */
static int is_prose(const char *key)
{
    static const char *const prose[] = {
        "note",         "note2",           "provenance",           "torch",
        "source",       "max_abs_f32_f64", "loss_max_abs_f32_f64", "f32_vs_f64_worst_relative",
        "fp32_vs_fp64", "measured"};
    for (size_t i = 0; i < sizeof prose / sizeof *prose; i++)
        if (strcmp(prose[i], key) == 0) return 1;
    return 0;
}

static void check_used(const golden_file *f, golden_result *r)
{
    for (size_t i = 0; i < f->st.metadata_count; i++) {
        const char *key = f->st.metadata[i].key;
        if (!json_object_get(f->used, key) && !is_prose(key))
            golden_fail(r, "member '%s' of the metadata is not used", key);
    }
}

static void report(const char *folder, const char *name, const golden_result *r, double seconds)
{
    static const char *const words[] = {"ok", "FAIL", "missing"};
    counts[r->outcome]++;
    if (r->outcome == GOLDEN_MISSING) {
        json_t *n = json_object_get(missing, r->note);
        json_object_set_new(missing, r->note, json_integer(1 + json_integer_value(n)));
    }
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
    golden_file f = {context, path, directory, name, {0}, json_object()};
    if (cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &f.st) != CM_OK) {
        golden_fail(r, "%s", cm_last_message());
        json_decref(f.used);
        return;
    }
    check(&f, r);
    if (r->outcome == GOLDEN_OK && r->compared == 0) golden_fail(r, "nothing was compared");
    if (r->outcome == GOLDEN_OK) check_used(&f, r);
    cmi_tensors_close(&f.st);
    json_decref(f.used);
}

/* Where a kind lies below the root. */
static const char *place_of(const char *folder)
{
    return strcmp(folder, "keys") == 0 ? "networks/keys" : folder;
}

static void run_entry(cm_context *context, const char *root, const char *folder, const char *name)
{
    golden_result r;
    struct timespec a, b;
    char directory[4096];
    memset(&r, 0, sizeof r);
    r.tolerance = 1;
    (void)snprintf(directory, sizeof directory, "%s/%s", root, place_of(folder));
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (strcmp(folder, "networks") == 0) run_tensor_file(context, root, folder, name, golden_network, &r);
    else if (strcmp(folder, "derivatives") == 0) run_tensor_file(context, root, folder, name, golden_derivative, &r);
    else if (strcmp(folder, "algorithms") == 0) run_tensor_file(context, root, folder, name, golden_algorithm, &r);
    else if (strcmp(folder, "keys") == 0) golden_keys(context, directory, name, &r);
    else if (strcmp(folder, "checkpoints") == 0) golden_checkpoint(context, directory, name, &r);
    else if (ends_with(name, ".safetensors")) run_tensor_file(context, root, folder, name, golden_metric, &r);
    else if (!golden_data(context, directory, name, &r) && !golden_metric_keys(context, directory, name, &r))
        golden_missing(&r, "metrics");
    clock_gettime(CLOCK_MONOTONIC, &b);
    report(folder, name, &r, (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec));
}

/* Tensor files of the first two folders; everything but READMEs elsewhere. */
static int wanted(const char *root, const char *folder, const struct dirent *e)
{
    struct stat st;
    char path[4096];
    if (e->d_name[0] == '.' || ends_with(e->d_name, ".md")) return 0;
    (void)snprintf(path, sizeof path, "%s/%s/%s", root, place_of(folder), e->d_name);
    if (stat(path, &st) != 0) return 0;
    if (strcmp(folder, "networks") == 0 || strcmp(folder, "algorithms") == 0 || strcmp(folder, "derivatives") == 0)
        return S_ISREG(st.st_mode) && ends_with(e->d_name, ".safetensors");
    return 1;
}

static int run_folder(cm_context *context, const char *root, const char *folder)
{
    char path[4096];
    struct dirent **entries;
    (void)snprintf(path, sizeof path, "%s/%s", root, place_of(folder));
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
    static const char *const folders[] = {"networks", "algorithms", "derivatives", "metrics", "checkpoints", "keys"};
    cm_context *context;
    int found = 0;
    if (argc > 1 && strcmp(argv[1], "-v") == 0) verbose = 1, argv++, argc--;
    if (argc > 1 && strcmp(argv[1], "-l") == 0) golden_lean = 1, argv++, argc--;
    if (argc < 2) {
        fprintf(stderr,
                "usage: golden [-v] [-l] DIR [networks|algorithms|derivatives|metrics|checkpoints|keys [FILE]]\n");
        return 2;
    }
    if (cm_context_create(NULL, &context) != CM_OK) return 1;
    missing = json_object();
    if (argc > 3) {
        run_entry(context, argv[1], argv[2], argv[3]);
        found = 1;
    }
    for (int i = 0; i < 6 && argc <= 3; i++)
        if (argc < 3 || strcmp(argv[2], folders[i]) == 0) found += run_folder(context, argv[1], folders[i]);
    cm_context_free(context);
    if (!found) {
        printf("FAIL no golden files under %s\n0 ok, 1 failed, 0 missing\n", argv[1]);
        return 1;
    }
    if (verbose) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        printf("peak memory %.0f MiB\n", (double)usage.ru_maxrss / 1024);
    }
    const char *kind;
    json_t *n;
    json_object_foreach(missing, kind, n) printf("missing: %s (%d)\n", kind, (int)json_integer_value(n));
    printf("%d ok, %d failed, %d missing: of kinds that nobody implemented\n", counts[GOLDEN_OK], counts[GOLDEN_FAIL],
           counts[GOLDEN_MISSING]);
    json_decref(missing);
    return counts[GOLDEN_FAIL] != 0;
}
