/* npzset.c - arr_0: u8 [n, H, W, C] or [n, H, W], arr_1: labels. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "data/source.h"
#include "io/directory.h"
#include "io/npz.h"

typedef struct {
    unsigned char *bytes;
    cm_npy images;
} state;

static cm_status recognise(cm_context *context, const char *path, cm_path_kind kind, int *is)
{
    (void)context;
    const size_t n = strlen(path);
    *is = n > 4 && strcasecmp(path + n - 4, ".npz") == 0 && kind == CM_PATH_FILE;
    return CM_OK;
}

/* The last entry of that name, or *bytes NULL when there is none. */
static cm_status read_array(cm_source *s, cm_zip *zip, const char *path, const char *name, unsigned char **bytes,
                            cm_npy *out)
{
    char what[512];
    *bytes = NULL;
    (void)snprintf(what, sizeof what, "%.400s: %.64s", path, name);
    for (size_t i = cmi_zip_count(zip); i-- > 0;) {
        if (strcmp(cmi_zip_name(zip, i), name) != 0) continue;
        return cmi_npz_member(s->context, zip, i, what, bytes, out);
    }
    return CM_OK;
}

static cm_status read_labels(cm_source *s, cm_zip *zip, const char *path)
{
    unsigned char *bytes;
    cm_npy labels;
    cm_status status = CM_OK;
    CM_TRY(read_array(s, zip, path, "arr_1.npy", &bytes, &labels));
    if (!bytes) return CM_OK;
    s->labels_from = "arr_1";
    if (labels.rank != 1 || labels.count != s->count || labels.kind == 'f')
        status = cmi_fail(CM_ERR_FORMAT, "%s: arr_1 has to be %zu whole numbers", path, s->count);
    if (status == CM_OK && !(s->labels = cmi_calloc(s->context, s->count, sizeof *s->labels))) status = CM_ERR_MEMORY;
    for (size_t i = 0; status == CM_OK && i < s->count; i++) {
        double v = cmi_npy_value(&labels, i);
        if (!(v >= -1 && v < 1 << 24)) status = cmi_fail(CM_ERR_FORMAT, "%s: label %zu is %g", path, i, v);
        else s->labels[i] = (int32_t)v;
    }
    cmi_free(s->context, bytes);
    return status;
}

static cm_status read_images(cm_source *s, cm_zip *zip, const char *path)
{
    state *st = s->state;
    const cm_npy *a = &st->images;
    CM_TRY(read_array(s, zip, path, "arr_0.npy", &st->bytes, &st->images));
    if (!st->bytes) CM_FAIL(CM_ERR_FORMAT, "%s: there is no arr_0", path);
    if (a->kind != 'u' || a->bytes != 1 || a->fortran || (a->rank != 3 && a->rank != 4))
        CM_FAIL(CM_ERR_FORMAT, "%s: arr_0 has to be uint8 [n, H, W, C] or [n, H, W] in C order", path);
    size_t c = a->rank == 4 ? a->shape[3] : 1;
    if (c != 1 && c != 3) CM_FAIL(CM_ERR_FORMAT, "%s: arr_0 has %zu channels, expected 1 or 3", path, c);
    if (a->shape[0] &&
        (a->shape[1] < 1 || a->shape[2] < 1 || a->shape[1] > CM_PICTURE_SIDE || a->shape[2] > CM_PICTURE_SIDE))
        CM_FAIL(CM_ERR_LIMIT, "%s: images of %zu x %zu", path, a->shape[1], a->shape[2]);
    s->count = a->shape[0];
    s->bytes = a->count;
    s->raw = 1;
    return CM_OK;
}

static cm_status open_npz(cm_source *s, const char *path)
{
    cm_zip *zip;
    int is_zip;
    state *st = cmi_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    CM_TRY(cmi_zip_is(path, &is_zip));
    if (!is_zip) CM_TRY(cmi_source_refuse_foreign(path, "an .npz file"));
    CM_TRY(cmi_zip_open(s->context, path, &zip));
    cm_status status = read_images(s, zip, path);
    if (status == CM_OK) status = read_labels(s, zip, path);
    cmi_zip_close(zip);
    return status;
}

static void close_npz(cm_source *s)
{
    state *st = s->state;
    cmi_free(s->context, st->bytes);
    cmi_free(s->context, st);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    const cm_npy *a = &((const state *)s->state)->images;
    size_t c = a->rank == 4 ? a->shape[3] : 1, pixels = a->shape[1] * a->shape[2], wanted = channels == 3 ? 3 : c;
    *out = (cm_picture){(int32_t)wanted, (int32_t)a->shape[1], (int32_t)a->shape[2],
                        cmi_malloc(s->context, pixels, wanted)};
    if (!out->pixels) return CM_ERR_MEMORY;
    for (size_t k = 0; k < pixels * wanted; k++) out->pixels[k] = a->data[i * pixels * c + (wanted == c ? k : k / 3)];
    if (channels == 1 && c == 3) cmi_picture_to_gray(out);
    return CM_OK;
}

const cm_source_kind cmi_source_npz = {"npz", recognise, open_npz, close_npz, picture, NULL};
