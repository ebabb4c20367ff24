/* cifar.c - CIFAR-10's binary batches: records of a label and 3 planes of 32 x 32;
 * one file, or a folder's data_batch_1.bin to data_batch_5.bin. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "data/source.h"
#include "io/directory.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE, MAX_BATCHES = 5 };

typedef struct {
    cm_file_reader file[MAX_BATCHES];
    size_t records[MAX_BATCHES];
    int n;
} state;

static cm_status find_batch(const char *folder, int k, char *out, size_t size, int *found)
{
    cm_path_kind kind;
    *found = 0;
    if ((size_t)snprintf(out, size, "%s/data_batch_%d.bin", folder, k + 1) >= size) return CM_OK;
    CM_TRY(cmi_path_look(out, &kind));
    *found = kind == CM_PATH_FILE;
    return CM_OK;
}

static cm_status recognise(cm_context *context, const char *path, cm_path_kind kind, int *is)
{
    (void)context;
    char file[4096];
    const size_t n = strlen(path);
    *is = kind == CM_PATH_FILE && n > 4 && strcasecmp(path + n - 4, ".bin") == 0;
    for (int k = 0; k < MAX_BATCHES && kind == CM_PATH_DIRECTORY && !*is; k++)
        CM_TRY(find_batch(path, k, file, sizeof file, is));
    return CM_OK;
}

static cm_status open_batch(cm_source *s, const char *path)
{
    state *st = s->state;
    CM_TRY(cmi_file_reader_open(s->context, path, &st->file[st->n]));
    size_t size = st->file[st->n].size;
    st->records[st->n++] = size / RECORD;
    if (size % RECORD || size == 0) CM_TRY(cmi_source_refuse_foreign(path, "CIFAR-10's binary batch"));
    if (size % RECORD)
        CM_FAIL(CM_ERR_FORMAT,
                "%s: %zu bytes are not a multiple of a CIFAR-10 record's %d (truncated, or CIFAR-100?)", path, size,
                RECORD);
    return CM_OK;
}

/* The first `size` bytes of record i. */
static cm_status read_record(const cm_source *s, size_t i, unsigned char *out, size_t size)
{
    const state *st = s->state;
    int k = 0;
    while (i >= st->records[k]) i -= st->records[k++];
    return cmi_file_reader_read(&st->file[k], i * RECORD, out, size);
}

/* Those of a folder; what is missing among them is logged. */
static cm_status open_batches(cm_source *s, const char *folder)
{
    state *st = s->state;
    char file[4096], missing[64] = "";
    size_t used = 0;
    for (int k = 0, found; k < MAX_BATCHES; k++) {
        CM_TRY(find_batch(folder, k, file, sizeof file, &found));
        if (found) CM_TRY(open_batch(s, file));
        else used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%d", used ? ", " : "", k + 1);
    }
    if (used)
        cmi_log(s->context, CM_LOG_WARNING,
                "%s: of data_batch_1.bin to data_batch_5.bin, %s %s missing; the other %d are read", folder, missing,
                strchr(missing, ',') ? "are" : "is", st->n);
    return CM_OK;
}

static cm_status open_cifar(cm_source *s, const char *path)
{
    state *st = cmi_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    cm_path_kind kind;
    CM_TRY(cmi_path_look(path, &kind));
    if (kind == CM_PATH_FILE) CM_TRY(open_batch(s, path));
    else CM_TRY(open_batches(s, path));
    for (int k = 0; k < st->n; k++) s->count += st->records[k];
    s->bytes = (uint64_t)s->count * RECORD;
    s->raw = 1;
    s->labels = cmi_calloc(s->context, s->count, sizeof *s->labels);
    if (!s->labels) return CM_ERR_MEMORY;
    s->labels_from = "records";
    for (size_t i = 0; i < s->count; i++) {
        unsigned char label;
        CM_TRY(read_record(s, i, &label, 1));
        s->labels[i] = label;
        if (s->labels[i] > 9)
            CM_FAIL(CM_ERR_FORMAT, "%s: record %zu has label %d, expected 0..9", path, i, s->labels[i]);
    }
    return CM_OK;
}

static void close_cifar(cm_source *s)
{
    state *st = s->state;
    for (int k = 0; k < st->n; k++) cmi_file_reader_close(&st->file[k]);
    cmi_free(s->context, st);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    unsigned char whole[RECORD], *planes = whole + 1;
    CM_TRY(read_record(s, i, whole, RECORD));
    *out = (cm_picture){3, SIDE, SIDE, cmi_malloc(s->context, 3 * PLANE, 1)};
    if (!out->pixels) return CM_ERR_MEMORY;
    for (size_t k = 0; k < PLANE; k++)
        for (size_t c = 0; c < 3; c++) out->pixels[3 * k + c] = planes[c * PLANE + k];
    if (channels == 1) cmi_picture_to_gray(out);
    return CM_OK;
}

const cm_source_kind cmi_source_cifar = {"cifar10", recognise, open_cifar, close_cifar, picture, NULL};
