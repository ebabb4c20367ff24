/* zipset.c - a zip of pictures, with EDM's dataset.json understood. */
#include <stdlib.h>
#include <string.h>

#include "data/source.h"
#include "io/directory.h"
#include "io/zip.h"

typedef struct {
    cm_zip *zip;
    size_t *entry; /* of each picture */
} state;

static int recognise(const char *path)
{
    cm_mapping file;
    size_t n = strlen(path);
    if (cm_path_kind(path) != 2 || (n > 4 && strcmp(path + n - 4, ".npz") == 0)) return 0;
    if (cm_mapping_open(path, &file) != CM_OK) return 0;
    int zip = file.size >= 4 && (memcmp(file.data, "PK\3\4", 4) == 0 || memcmp(file.data, "PK\5\6", 4) == 0);
    cm_mapping_close(&file);
    return zip;
}

typedef struct {
    const char *name;
    size_t entry;
} item;

static int in_byte_order(const void *a, const void *b)
{
    return strcmp(((const item *)a)->name, ((const item *)b)->name);
}

static cm_status collect(cm_source *s, state *st, const char *path, item *items)
{
    size_t total = cm_zip_count(st->zip), n = 0;
    for (size_t i = 0; i < total; i++) {
        const char *name = cm_zip_name(st->zip, i);
        CM_TRY(cm_source_check_name(path, name));
        if (strcmp(name, "dataset.json") == 0) {
            unsigned char *text;
            size_t size;
            CM_TRY(cm_zip_read(st->zip, i, &text, &size));
            s->dataset_json = (char *)text;
        }
        if (cm_source_is_picture(name)) items[n++] = (item){name, i};
    }
    if (n > 1) qsort(items, n, sizeof *items, in_byte_order);
    s->names = cm_calloc(s->context, n, sizeof *s->names);
    st->entry = cm_calloc(s->context, n, sizeof *st->entry);
    if (!s->names || !st->entry) return CM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        s->names[i] = cm_strdup(s->context, items[i].name);
        if (!s->names[i]) return CM_ERR_MEMORY;
        s->count++;
        st->entry[i] = items[i].entry;
        s->bytes += cm_zip_size(st->zip, items[i].entry);
    }
    return CM_OK;
}

static cm_status open_zip(cm_source *s, const char *path)
{
    state *st = cm_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    CM_TRY(cm_zip_open(s->context, path, &st->zip));
    item *items = cm_calloc(s->context, cm_zip_count(st->zip), sizeof *items);
    if (!items) return CM_ERR_MEMORY;
    cm_status status = collect(s, st, path, items);
    cm_free(s->context, items);
    return status;
}

static void close_zip(cm_source *s)
{
    state *st = s->state;
    cm_zip_close(st->zip);
    cm_free(s->context, st->entry);
    cm_free(s->context, st);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    const state *st = s->state;
    unsigned char *data;
    size_t size;
    CM_TRY(cm_zip_read(st->zip, st->entry[i], &data, &size));
    cm_status status = cm_source_decode(s, s->names[i], data, size, channels, out);
    cm_free(s->context, data);
    return status;
}

const cm_source_kind cm_source_zip = {"zip", recognise, open_zip, close_zip, picture};
