/* data.c - golden/metrics: images (decoding, crops, tensors: byte for byte) and npz
 * (arrays, good and damaged). */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consistency/image.h"
#include "data/resize.h"
#include "data/source.h"
#include "golden.h"
#include "io/npy.h"
#include "io/zip.h"

#include "support/pictures.h"

static int open_expected(cm_context *context, const char *folder, golden_file *f, golden_result *r)
{
    static char path[4096];
    (void)snprintf(path, sizeof path, "%s/expected.safetensors", folder);
    *f = (golden_file){context, path, folder, "expected.safetensors", {0}, NULL};
    if (cmi_tensors_open_file(context, path, CM_INPUT_IN_PLACE, &f->st) == CM_OK) return 1;
    golden_fail(r, "%s", cm_last_message());
    return 0;
}

/* As stored: the reference does not turn pictures. */
static cm_status load_picture(cm_context *context, const char *folder, const char *name, cm_picture *out)
{
    char path[4096];
    unsigned char *data;
    size_t size;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    CM_TRY(cmi_file_read(context, path, CM_PICTURE_FILE, &data, &size));
    cm_status status = cmi_picture_is_png(data, size) ? cmi_png_read(context, name, data, size, 3, out)
                                                      : cmi_jpeg_read(context, name, data, size, 3, out);
    cmi_free(context, data);
    return status;
}

static void same_bytes(golden_result *r, const cm_tensor *t, const void *got, size_t bytes)
{
    golden_compare(r, t->name, bytes != t->bytes || memcmp(got, t->data, bytes) != 0, 0);
}

/* x = v / 127.5 - 1 in planes, mirrored or not. */
static void compare_tensor(golden_result *r, const cm_tensor *t, const cm_picture *p, int flip)
{
    size_t side = (size_t)p->width, n = 3 * side * side;
    float *x = calloc(n, sizeof *x), *y = calloc(n, sizeof *y);
    (void)bytes_to_floats(1, 3, p->height, p->width, p->pixels, x);
    for (size_t i = 0; i < n; i++) y[i] = flip ? x[i / side * side + side - 1 - i % side] : x[i];
    same_bytes(r, t, y, n * sizeof *y);
    free(x), free(y);
}

/* FILE/what: rgb, cropS, rcrop_S_D_Y_X, crop32_f32_chw, crop32_flip_f32_chw. */
static void check_picture(cm_context *context, const char *folder, const cm_tensor *t, golden_result *r)
{
    char name[256];
    int s, d, y, x;
    const char *what = strchr(t->name, '/') + 1;
    (void)snprintf(name, sizeof name, "%.*s", (int)(what - 1 - t->name), t->name);
    cm_picture p;
    int gray16 = strncmp(name, "pgray16", 7) == 0;
    if (gray16 && strcmp(what, "rgb_shift8") != 0) return; /* Pillow's clipping, not wanted (README) */
    cm_status status = load_picture(context, folder, name, &p);
    if (strncmp(name, "jcmyk", 5) == 0) { /* a documented refusal */
        golden_compare(r, t->name, status != CM_ERR_UNSUPPORTED, 0);
        if (status == CM_OK) cmi_free(context, p.pixels);
        return;
    }
    if (strncmp(name, "odd_", 4) == 0 && status == CM_ERR_FORMAT) { /* an error or these pixels */
        golden_compare(r, t->name, 0, 0);
        return;
    }
    if (status != CM_OK) {
        golden_fail(r, "%s", cm_last_message());
        return;
    }
    if (sscanf(what, "rcrop_%d_%d_%d_%d", &s, &d, &y, &x) == 4) {
        status = cmi_shrink_and_cut(context, &p, d, &(cm_part){y, x, s, s});
    } else if (sscanf(what, "crop%d", &s) == 1) {
        status = cmi_center_crop(context, &p, s);
    }
    if (status != CM_OK) golden_fail(r, "%s", cm_last_message());
    else if (strstr(what, "f32_chw")) compare_tensor(r, t, &p, strstr(what, "flip") != NULL);
    else same_bytes(r, t, p.pixels, (size_t)p.width * (size_t)p.height * 3);
    cmi_free(context, p.pixels);
}

static void check_to_u8(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *x = golden_read(f, "sample_to_u8.x", &n);
    const cm_tensor *edm = cmi_tensors_find(&f->st, "sample_to_u8.edm");
    float *v = calloc(n, sizeof *v);
    uint8_t *u = calloc(n, 1);
    for (size_t i = 0; i < n; i++) v[i] = (float)x[i];
    (void)floats_to_bytes(1, 1, 1, (int32_t)n, v, u);
    same_bytes(r, edm, u, n);
    free(x), free(v), free(u);
}

static void check_bad_pictures(cm_context *context, const char *folder, golden_result *r)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        cm_picture p;
        if (strncmp(e->d_name, "bad_", 4) != 0) continue;
        cm_status status = load_picture(context, folder, e->d_name, &p);
        golden_compare(r, e->d_name, status != CM_ERR_FORMAT, 0);
        if (status == CM_OK) cmi_free(context, p.pixels);
    }
    if (d) closedir(d);
}

static void check_images(cm_context *context, const char *folder, golden_result *r)
{
    golden_file f;
    if (!open_expected(context, folder, &f, r)) return;
    for (size_t i = 0; i < f.st.count; i++)
        if (strchr(f.st.tensors[i].name, '/')) check_picture(context, folder, &f.st.tensors[i], r);
    check_to_u8(&f, r);
    check_bad_pictures(context, folder, r);
    cmi_tensors_close(&f.st);
}

/* --- npz -------------------------------------------------------------------------- */

/* Which expected tensor an entry of a file is. */
static const char *expected_name(const char *file, const char *entry)
{
    static char name[64];
    if (strncmp(entry, "arr_0", 5) == 0) return "images";
    if (strncmp(entry, "arr_1", 5) == 0) return "labels";
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(entry, "."), entry);
    if (strstr(file, "fortran") && strcmp(name, "sigma") == 0) return "sigma_fortran_f32";
    if (strstr(file, "f16")) return strcmp(name, "mu") == 0 ? "mu_f16_as_f32" : "sigma_f16_as_f32";
    return name;
}

/* Element i of C order. */
static double c_order(const cm_npy *a, size_t i)
{
    if (!a->fortran || a->rank != 2) return cmi_npy_value(a, i);
    return cmi_npy_value(a, i % a->shape[1] * a->shape[0] + i / a->shape[1]);
}

static void check_entry(const golden_file *f, const char *file, const char *entry, const unsigned char *bytes,
                        size_t size, golden_result *r)
{
    cm_npy a;
    size_t count = 0;
    if (cmi_npy_parse(entry, bytes, size, &a) != CM_OK) {
        golden_fail(r, "%s: %s", file, cm_last_message());
        return;
    }
    double *want = golden_read(f, expected_name(file, entry), &count);
    int f32 = strstr(file, "f32") != NULL;
    if (!want && a.rank == 0) golden_compare(r, entry, fabs(cmi_npy_value(&a, 0) - 2.5), 0);
    if (!want && a.count == 0) golden_compare(r, entry, a.rank != 2 || a.shape[1] != 3, 0);
    for (size_t i = 0; !want && a.rank && i < a.count; i++) /* 0, 1, 2, ... of other versions of the header */
        golden_compare(r, entry, fabs(cmi_npy_value(&a, i) - (double)i), 0);
    /* files of part of the images hold the first ones */
    if (want && a.count > count) golden_fail(r, "%s/%s has %zu values", file, entry, a.count);
    for (size_t i = 0; want && i < a.count && i < count; i++)
        golden_compare(r, entry, fabs(c_order(&a, i) - (f32 ? (double)(float)want[i] : want[i])), 0);
    free(want);
}

static void check_archive(cm_context *context, const golden_file *f, const char *folder, const char *file,
                          golden_result *r)
{
    char path[8192];
    cm_zip *zip;
    int bad = strncmp(file, "bad_", 4) == 0, failed;
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    failed = cmi_zip_open(context, path, &zip) != CM_OK;
    for (size_t i = 0; !failed && i < cmi_zip_count(zip); i++) {
        unsigned char *bytes = NULL;
        size_t size;
        cm_npy a;
        if (cmi_zip_read(zip, i, &bytes, &size) != CM_OK || cmi_npy_parse(file, bytes, size, &a) != CM_OK) {
            failed = 1;
            if (!bad) golden_fail(r, "%s: %s", file, cm_last_message());
        } else if (!bad) {
            check_entry(f, file, cmi_zip_name(zip, i), bytes, size, r);
        }
        cmi_free(context, bytes);
    }
    if (!failed || zip) cmi_zip_close(zip);
    if (bad) golden_compare(r, file, !failed, 0);
    else if (failed) golden_fail(r, "%s: %s", file, cm_last_message());
}

static void check_npz(cm_context *context, const char *folder, golden_result *r)
{
    golden_file f;
    struct dirent *e;
    DIR *d = opendir(folder);
    if (!open_expected(context, folder, &f, r)) return;
    while (d && (e = readdir(d)) != NULL) {
        size_t n = strlen(e->d_name);
        if (n > 4 && strcmp(e->d_name + n - 4, ".npz") == 0) check_archive(context, &f, folder, e->d_name, r);
    }
    if (d) closedir(d);
    cmi_tensors_close(&f.st);
}

int golden_data(cm_context *context, const char *folder, const char *name, golden_result *r)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (strcmp(name, "images") == 0) check_images(context, path, r);
    else if (strcmp(name, "npz") == 0) check_npz(context, path, r);
    else return 0;
    return 1;
}
