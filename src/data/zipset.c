/* zipset.c - a zip of pictures, with EDM's dataset.json understood. */
#include <string.h>
#include <strings.h>

#include "data/listing.h"
#include "io/directory.h"
#include "io/zip.h"

typedef struct {
    cm_zip *zip;
} state;

static cm_status recognise(cm_context *context, const char *path, cm_path_kind kind, int *is)
{
    (void)context;
    const size_t n = strlen(path);
    *is = kind == CM_PATH_FILE && !(n > 4 && strcasecmp(path + n - 4, ".npz") == 0);
    return *is ? cmi_zip_is(path, is) : CM_OK;
}

static cm_status read_head(void *user, const char *path, uint64_t location, unsigned char *out, size_t n, size_t *got)
{
    (void)path;
    return cmi_zip_head(user, (size_t)location, out, n, got);
}

static cm_status collect(cm_source *s, cm_zip *zip, cm_listing *listing)
{
    size_t n = cmi_zip_count(zip), size;
    unsigned char *text;
    for (size_t i = 0; i < n; i++) {
        const char *name = cmi_zip_name(zip, i);
        if (cmi_zip_is_link(zip, i)) cmi_listing_skip_link(listing, name, 0);
        else CM_TRY(cmi_listing_add(listing, name, i, cmi_zip_size(zip, i)));
    }
    CM_TRY(cmi_listing_finish(listing, s, 1));
    if (!listing->json.name) return CM_OK;
    CM_TRY(cmi_zip_read(zip, (size_t)listing->json.location, &text, &size));
    s->dataset_json = (char *)text;
    return CM_OK;
}

static cm_status open_zip(cm_source *s, const char *path)
{
    cm_listing listing;
    state *st = cmi_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    CM_TRY(cmi_zip_open(s->context, path, &st->zip));
    cmi_listing_begin(&listing, s->context, path, read_head, st->zip);
    cm_status status = collect(s, st->zip, &listing);
    cmi_listing_end(&listing);
    return status;
}

static void close_zip(cm_source *s)
{
    state *st = s->state;
    cmi_zip_close(st->zip);
    cmi_free(s->context, st);
}

static cm_status bytes(cm_source *s, size_t i, unsigned char **data, size_t *size)
{
    return cmi_zip_read(((const state *)s->state)->zip, (size_t)s->locations[i], data, size);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    unsigned char *data;
    size_t size;
    CM_TRY(bytes(s, i, &data, &size));
    cm_status status = cmi_source_decode(s, s->names[i], data, size, channels, out);
    cmi_free(s->context, data);
    return status;
}

const cm_source_kind cmi_source_zip = {"zip", recognise, open_zip, close_zip, picture, bytes};
