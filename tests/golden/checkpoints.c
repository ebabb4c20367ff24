/* checkpoints.c - golden/checkpoints, the formats that are read: h_* files must be
 * refused (also cut short and with flipped bytes nothing may break), all others must
 * load; where X_io.safetensors gives outputs, X_expected.safetensors or X.safetensors
 * tensors, they are compared. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <consistency/model.h>

#include "golden.h"
#include "support/tensors.h"

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static int acceptable(cm_status s)
{
    return s == CM_ERR_FORMAT || s == CM_ERR_LIMIT || s == CM_ERR_UNSUPPORTED || s == CM_ERR_SHAPE || s == CM_ERR_IO;
}

/* Parses a damaged copy: any answer but a clean one is for the sanitizers. */
static void parse_copy(cm_context *context, const unsigned char *data, size_t size, golden_result *r)
{
    cm_tensors st;
    unsigned char *exact = malloc(size ? size : 1); /* so that reading past the end shows */
    memcpy(exact, data, size);
    cm_status status = open_bytes(context, "damaged", exact, size, &st);
    if (status == CM_OK) cmi_tensors_close(&st);
    else if (!acceptable(status)) golden_fail(r, "damaged copy: status %s", cm_status_name(status));
    r->compared++;
    free(exact);
}

static void damage(cm_context *context, const char *path, golden_result *r)
{
    unsigned char *copy;
    size_t size;
    if (cmi_file_read(context, path, SIZE_MAX / 2, &copy, &size) != CM_OK) return;
    size_t most = size < 512 ? size : 512;
    for (size_t n = 0; n < most; n++) parse_copy(context, copy, n, r);
    for (size_t i = 0; i < 400 && size; i++) {
        size_t at = (i * 2654435761u) % (i % 2 ? size : most);
        unsigned char before = copy[at];
        copy[at] ^= (unsigned char)(1u << (i * 7 % 8));
        parse_copy(context, copy, size, r);
        copy[at] = before;
    }
    cmi_free(context, copy);
}

static void run_hostile(cm_context *context, const char *path, golden_result *r)
{
    cm_model *model;
    cm_tensors st;
    cm_status parsed = cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &st),
              loaded = cm_model_load(context, path, NULL, &model);
    if (parsed == CM_OK) {
        golden_fail(r, "was read although it has to be refused");
        cmi_tensors_close(&st);
    } else if (!acceptable(parsed) || !acceptable(loaded) || model) {
        golden_fail(r, "status %s", cm_status_name(parsed));
    } else if (strlen(cm_last_message()) < 20 || !strstr(cm_last_message(), path)) {
        golden_fail(r, "a message that does not say what and where: '%s'", cm_last_message());
    }
    r->compared++;
    damage(context, path, r);
    if (access("PWNED", F_OK) == 0) golden_fail(r, "the file PWNED was created");
}

/* --- files with outputs --------------------------------------------------------------------- */

/* X_io.safetensors with X inside `name`; the longest X. */
static int find_io(cm_context *context, const char *folder, const char *name, cm_tensors *out)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    char best[sizeof e->d_name] = "", path[4096];
    size_t longest = 0;
    while (d && (e = readdir(d)) != NULL) {
        size_t n = strlen(e->d_name);
        if (!ends_with(e->d_name, "_io.safetensors")) continue;
        char stem[sizeof e->d_name];
        (void)snprintf(stem, sizeof stem, "%.*s", (int)(n - strlen("_io.safetensors")), e->d_name);
        if (strstr(name, stem) && strlen(stem) > longest) {
            longest = strlen(stem);
            (void)snprintf(best, sizeof best, "%s", e->d_name);
        }
    }
    if (d) closedir(d);
    if (!longest) return 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, best);
    return cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, out) == CM_OK;
}

static char *make_config(const cm_tensors *io)
{
    json_t *config = json_loads(cmi_tensors_metadata(io, "config"), 0, NULL);
    json_object_set_new(config, "type", json_string("adm"));
    json_t *all = json_pack("{s:o,s:{s:s}}", "network", config, "precond", "type", "none");
    char *text = json_dumps(all, 0);
    json_decref(all);
    return text;
}

static float *floats(const cm_tensors *st, const char *name, size_t *count)
{
    const cm_tensor *t = cmi_tensors_find(st, name);
    if (!t) return NULL;
    float *out = malloc((t->count + 1) * sizeof *out);
    (void)cmi_tensor_read(t, out);
    *count = t->count;
    return out;
}

static void compare_output(cm_model *model, const cm_tensors *io, int half, golden_result *r)
{
    size_t n = 0, nx = 0, nout = 0, ny = 0;
    float *x = floats(io, "x", &nx), *t = floats(io, "timesteps", &n), *y = floats(io, "y", &ny);
    float *want = floats(io, half ? "out_from_fp16_weights" : "out", &nout), *got = calloc(nout + 1, sizeof *got);
    int32_t *labels = calloc(n + 1, sizeof *labels);
    double off = 0, most = 0;
    for (size_t i = 0; y && i < n; i++) labels[i] = (int32_t)y[i];
    if (!x || !t || !want) golden_fail(r, "the io file has no x, timesteps and out");
    else if (cm_model_denoise(model, n, x, t, y ? labels : NULL, got) != CM_OK)
        golden_fail(r, "%s", cm_last_message());
    for (size_t i = 0; i < nout; i++) {
        off = fmax(off, fabs((double)got[i] - (double)want[i]));
        most = fmax(most, fabs((double)want[i]));
    }
    golden_compare(r, "out", off / most, 5e-5);
    free(x), free(t), free(y), free(want), free(got), free(labels);
}

/* --- files with known tensors --------------------------------------------------------------- */

/* The bits of a as float32 against those of b, any NaN like any other; the nearest half where only a is one. */
static int same_values(int rounded, size_t n, const float *a, const float *b)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t x, y;
        double most = ldexp(fabs((double)b[i]), -11) + ldexp(1, -25);
        memcpy(&x, &a[i], 4);
        memcpy(&y, &b[i], 4);
        if (rounded ? !(fabs((double)a[i] - (double)b[i]) <= most) : x != y && !(isnan(a[i]) && isnan(b[i])))
            return 0;
    }
    return 1;
}

static void compare_tensors(const cm_tensors *got, const cm_tensors *want, int half, golden_result *r)
{
    if (got->count != want->count) golden_fail(r, "%zu tensors, expected %zu", got->count, want->count);
    for (size_t i = 0; i < want->count; i++) {
        const cm_tensor *w = &want->tensors[i], *g = cmi_tensors_find(got, w->name);
        size_t n = 0, m = 0;
        /* numpy has written the scalar as one value */
        int same = g && (g->rank == w->rank || (g->rank == 0 && w->count == 1));
        if (!same || memcmp(g->shape, w->shape, (size_t)g->rank * sizeof *w->shape) != 0) {
            golden_fail(r, "tensor '%s' is missing or of another shape", w->name);
            continue;
        }
        float *a = floats(got, w->name, &n), *b = floats(want, w->name, &m);
        if (n != m || !same_values(half && g->type == CM_TENSOR_F16, n, a, b))
            golden_fail(r, "tensor '%s' has other values", w->name);
        r->compared++;
        free(a), free(b);
    }
}

/* w is 0..5, as 2 x 3 where it has two dimensions; b is 0.5, -1; h is w, n has nothing, s (scalar) is checked apart.
 */
static void compare_small(const cm_tensors *st, golden_result *r)
{
    size_t n = 0, m = 0;
    float *w = floats(st, "w", &n), *b = floats(st, "b", &m);
    const cm_tensor *h = cmi_tensors_find(st, "h"), *none = cmi_tensors_find(st, "n");
    float halves[6] = {0};
    if (!w || n != 6) golden_fail(r, "there is no w of six values");
    if (h && (h->type != CM_TENSOR_F16 || h->count != 6 || cmi_tensor_read(h, halves) != CM_OK))
        golden_fail(r, "h is not the half copy of w");
    for (size_t i = 0; h && i < 6; i++) golden_compare(r, "h", fabs((double)halves[i] - (double)i), 0);
    if (none && (none->count != 0 || none->rank != 2 || none->shape[1] != 3)) golden_fail(r, "n is not empty");
    for (size_t i = 0; w && i < n; i++) golden_compare(r, "w", fabs((double)w[i] - (double)i), 0);
    for (size_t i = 0; b && i < m; i++) golden_compare(r, "b", fabs((double)b[i] - (i ? -1 : 0.5)), 0);
    free(w), free(b);
}

static void compare_with(cm_context *context, const char *folder, const char *other, const cm_tensors *st,
                         golden_result *r)
{
    cm_tensors want;
    char path[8192];
    (void)snprintf(path, sizeof path, "%s/%s", folder, other);
    if (cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &want) != CM_OK) {
        golden_fail(r, "%s", cm_last_message());
        return;
    }
    compare_tensors(st, &want, strstr(other, "fp32") != NULL, r);
    cmi_tensors_close(&want);
}

static void compare_known(cm_context *context, const char *folder, const char *name, const cm_tensors *st,
                          golden_result *r)
{
    if (strncmp(name, "odd_views", 9) == 0) compare_with(context, folder, "odd_views_expected.safetensors", st, r);
    if (strncmp(name, "tiny_adm", 8) == 0) compare_with(context, folder, "tiny_adm_fp32.safetensors", st, r);
    if (strncmp(name, "small", 5) == 0 || strncmp(name, "handmade", 8) == 0) compare_small(st, r);
    if (strcmp(name, "flax_ok_small.msgpack") == 0 || strcmp(name, "flax_ok_chunked.msgpack") == 0)
        compare_small(st, r);
    if (strcmp(name, "flax_ok_bfloat16.msgpack") == 0) {
        size_t n = 0;
        float *w = floats(st, "w", &n);
        if (!w || n != 2 || w[0] != 1 || w[1] != -2 || st->tensors[0].type != CM_TENSOR_BF16)
            golden_fail(r, "w is not bfloat16 1, -2");
        free(w);
    }
}

static void run_good(cm_context *context, const char *folder, const char *name, const char *path, golden_result *r)
{
    cm_tensors st, io;
    cm_model *model;
    cm_load_options o;
    if (cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &st) != CM_OK) {
        golden_fail(r, "%s", cm_last_message());
        return;
    }
    r->compared++;
    const cm_tensor *s = cmi_tensors_find(&st, "s");
    float v = 0, one = ends_with(name, ".msgpack") ? 2.5f : 1;
    if (s && s->rank == 0)
        (void)cmi_tensor_read(s, &v), golden_compare(r, "scalar s", fabs((double)v - (double)one), 0);
    if (strstr(name, "escaped") && !cmi_tensors_find(&st, "ab\"\\\xc3\xa9"))
        golden_fail(r, "the name ab\"\\\xc3\xa9 is not there");
    compare_known(context, folder, name, &st, r);
    /* Of the half convolutions and whole rest of a mixed file nobody has recorded outputs. */
    if (ends_with(name, ".msgpack") && find_io(context, folder, name, &io)) {
        golden_flax_state(context, path, &io, r);
        cmi_tensors_close(&io);
    } else if (ends_with(name, ".pkl") && find_io(context, folder, name, &io)) {
        golden_snapshot(context, path, &st, &io, r);
        cmi_tensors_close(&io);
    } else if (!strstr(name, "mixed") && find_io(context, folder, name, &io)) {
        char *config = make_config(&io);
        const int half = st.count && st.tensors[0].type == CM_TENSOR_F16;
        /* With its configuration given, and the tiny one also by what its tensors are called: of others' heads
         * nothing tells the number. */
        const char *const configs[] = {config, "{\"precond\": {\"type\": \"none\"}}"};
        for (int i = 0; i < (strncmp(name, "tiny_adm", 8) == 0 ? 2 : 1); i++) {
            cm_load_options_init(&o, sizeof o);
            o.config_json = configs[i];
            if (cm_model_load(context, path, &o, &model) != CM_OK) golden_fail(r, "%s", cm_last_message());
            else compare_output(model, &io, half, r);
            cm_model_free(model);
        }
        free(config);
        cmi_tensors_close(&io);
    }
    cmi_tensors_close(&st);
    damage(context, path, r);
}

void golden_checkpoint(cm_context *context, const char *folder, const char *name, golden_result *r)
{
    char path[8192];
    cm_tensors st;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int is_folder = strncmp(name, "diffusers_", 10) == 0;
    if (!is_folder && !ends_with(name, ".safetensors") && !ends_with(name, ".pt") && !ends_with(name, ".msgpack") &&
        !ends_with(name, ".pkl")) {
        const char *end = strrchr(name, '.');
        char kind[64];
        (void)snprintf(kind, sizeof kind, "checkpoints %.32s", end ? end : name);
        golden_missing(r, kind);
    } else if (strncmp(name, "h_", 2) == 0) {
        run_hostile(context, path, r);
    } else if (ends_with(name, "_io.safetensors") || ends_with(name, "_expected.safetensors")) {
        if (cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &st) != CM_OK)
            golden_fail(r, "%s", cm_last_message());
        else cmi_tensors_close(&st); /* the numbers themselves are used by the files they belong to */
        r->compared++;
    } else {
        run_good(context, folder, name, path, r);
    }
}
