/* pack.c - a set of pictures as one tar archive, in its order and with its classes. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "data/dataset.h"
#include "data/tar_write.h"

enum { SHORT_NAME = 24, LINE = 64 };

/* Bytes that grow. */
typedef struct {
    cm_context *context;
    unsigned char *at;
    size_t size, capacity;
} buffer;

static cm_status append(void *user, const void *bytes, size_t size)
{
    buffer *b = user;
    if (size > b->capacity - b->size) {
        const size_t capacity = 2 * (b->size + size) + 4096;
        unsigned char *more = cmi_malloc(b->context, capacity, 1);
        if (!more) return CM_ERR_MEMORY;
        if (b->size) memcpy(more, b->at, b->size);
        cmi_free(b->context, b->at);
        b->at = more;
        b->capacity = capacity;
    }
    memcpy(b->at + b->size, bytes, size);
    b->size += size;
    return CM_OK;
}

typedef struct {
    cm_dataset *d;
    const cm_dataset_pack_options *o;
    cm_tar_writer tar;
    buffer picture, json;
    uint64_t done;
    uint64_t *counts; /* pictures of each class that were written */
    int as_files;     /* the bytes of files are written, else PNG */
    int keeps_names;  /* else img00000000.png and a dataset.json where there are classes */
} packing;

/* --- one picture ------------------------------------------------------------------------------ */

static cm_status encode(packing *p, size_t i)
{
    cm_dataset *d = p->d;
    cm_picture picture;
    const cm_byte_sink sink = {append, &p->picture};
    CM_TRY(d->source->kind->picture(d->source, i, d->o.channels, &picture));
    cm_status status = cmi_dataset_cut(d, 0, i, &picture);
    if (status == CM_OK) {
        const cm_view view = cmi_view_bytes(1, (size_t)picture.height, (size_t)picture.width,
                                            (size_t)picture.channels, picture.pixels);
        status = cmi_png_write(d->context, &view, NULL, &sink);
    }
    cmi_free(d->context, picture.pixels);
    return status;
}

/* The file as it is, once it has been seen to decode. */
static cm_status take_file(packing *p, size_t i)
{
    cm_dataset *d = p->d;
    cm_picture picture;
    unsigned char *data;
    size_t size;
    CM_TRY(d->source->kind->bytes(d->source, i, &data, &size));
    cm_status status = cmi_source_decode(d->source, d->source->names[i], data, size, 0, &picture);
    if (status == CM_OK) {
        cmi_free(d->context, picture.pixels);
        status = append(&p->picture, data, size);
    }
    cmi_free(d->context, data);
    return status;
}

static int is_png_name(const char *name)
{
    const size_t n = strlen(name);
    return n > 4 && strcasecmp(name + n - 4, ".png") == 0;
}

static cm_status add_named(packing *p, const char *name)
{
    if (p->as_files || is_png_name(name)) return cmi_tar_add(&p->tar, name, p->picture.at, p->picture.size);
    char *longer = cmi_malloc(p->d->context, strlen(name) + 5, 1);
    if (!longer) return CM_ERR_MEMORY;
    (void)sprintf(longer, "%s.png", name);
    cm_status status = cmi_tar_add(&p->tar, longer, p->picture.at, p->picture.size);
    cmi_free(p->d->context, longer);
    return status;
}

/* With its entry of dataset.json. */
static cm_status add_numbered(packing *p, size_t i)
{
    const cm_dataset *d = p->d;
    char name[SHORT_NAME + 8], line[LINE], text[300];
    (void)snprintf(name, sizeof name, "img%08zu.%s", i,
                   cmi_picture_is_png(p->picture.at, p->picture.size) ? "png" : "jpg");
    if (d->labels && d->labels[i] < 0)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s has no class: dataset.json says the class of every picture or of none",
                cmi_dataset_picture_name(d, i, text, sizeof text));
    if (d->labels) {
        const int n =
            snprintf(line, sizeof line, "%s\n[\"%s\", %d]", p->done ? "," : "{\"labels\": [", name, d->labels[i]);
        CM_TRY(append(&p->json, line, (size_t)n));
    }
    return cmi_tar_add(&p->tar, name, p->picture.at, p->picture.size);
}

static cm_status add(packing *p, size_t i)
{
    cm_dataset *d = p->d;
    p->picture.size = 0;
    cm_status status = p->as_files ? take_file(p, i) : encode(p, i);
    if (cmi_dataset_is_damage(status) && d->o.stop_on_bad != CM_BAD_STOP) {
        cmi_dataset_note_bad(d, i);
        return CM_OK;
    }
    CM_TRY(status);
    CM_TRY(p->keeps_names ? add_named(p, d->source->names[i]) : add_numbered(p, i));
    if (d->labels && d->labels[i] >= 0) p->counts[d->labels[i]]++;
    p->done++;
    return CM_OK;
}

/* --- the archive ------------------------------------------------------------------------------ */

/* Another class without pictures would change the numbers of those behind it. */
static cm_status check_classes(const packing *p)
{
    const cm_dataset *d = p->d;
    if (!p->done) CM_FAIL(CM_ERR_FORMAT, "none of the %zu pictures can be read", d->source->count);
    for (int32_t k = 0; d->classes && k < d->n_classes; k++)
        if (!p->counts[k])
            CM_FAIL(CM_ERR_ARGUMENT, "no picture of class %d ('%.200s') can be read: the set would lose it", k,
                    d->classes[k]);
    return CM_OK;
}

static cm_status add_all(packing *p)
{
    const size_t n = p->d->source->count;
    for (size_t i = 0; i < n; i++) {
        CM_TRY(cmi_call_check(&p->d->call));
        if (p->o->progress && p->o->progress(p->o->progress_user, i, n)) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
        CM_TRY(add(p, i));
    }
    if (p->o->progress && p->o->progress(p->o->progress_user, n, n)) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    CM_TRY(check_classes(p));
    if (p->keeps_names || !p->d->labels) return CM_OK;
    CM_TRY(append(&p->json, "\n]}\n", 4));
    return cmi_tar_add(&p->tar, "dataset.json", p->json.at, p->json.size);
}

static cm_status check(const cm_dataset *d, const char *path, const cm_dataset_pack_options *o)
{
    const size_t n = strlen(path);
    if (n < 5 || strcasecmp(path + n - 4, ".tar") != 0)
        CM_FAIL(CM_ERR_ARGUMENT, "'%s' does not end in .tar, which a packed set is", path);
    if (o->form == CM_PACK_FILES) return CM_OK;
    if (!d->source->kind->bytes)
        CM_FAIL(CM_ERR_ARGUMENT, "a %s set has images and no files: CM_PACK_IMAGES has no effect on it",
                d->source->kind->name);
    if (d->o.random_crop == CM_CROP_RANDOM)
        CM_FAIL(CM_ERR_ARGUMENT, "random crops are cut anew in every epoch: images of one crop cannot be packed");
    return CM_OK;
}

cm_status cmi_dataset_pack(cm_dataset *d, const char *path, const cm_dataset_pack_options *o, uint64_t *packed)
{
    packing p = {.d = d, .o = o, .picture = {.context = d->context}, .json = {.context = d->context}};
    CM_TRY(check(d, path, o));
    p.as_files = d->source->kind->bytes && o->form == CM_PACK_FILES;
    const char *from = d->labels ? d->classes_from : NULL;
    p.keeps_names = from ? strcmp(from, "folder names") == 0 || strcmp(from, "file names") == 0
                         : p.as_files && !d->labels && !d->source->dataset_json;
    p.counts = cmi_calloc(d->context, (size_t)d->n_classes + 1, sizeof *p.counts);
    if (!p.counts) return CM_ERR_MEMORY;
    cm_status status = cmi_tar_begin(d->context, path, o->overwrite == CM_OVERWRITE_YES, &p.tar);
    if (status == CM_OK) {
        status = add_all(&p);
        if (status == CM_OK) status = cmi_tar_commit(&p.tar);
        else cmi_tar_abort(&p.tar);
    }
    *packed = status == CM_OK ? p.done : 0;
    cmi_free(d->context, p.counts);
    cmi_free(d->context, p.picture.at);
    cmi_free(d->context, p.json.at);
    return status;
}
