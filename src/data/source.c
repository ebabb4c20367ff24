/* source.c - which kind a path is; what kinds of files share. */
#include "data/source.h"

#include <string.h>

#include "io/directory.h"
#include "io/foreign.h"

static const cm_source_kind *const kinds[] = {&cm_source_cifar, &cm_source_idx, &cm_source_npz,
                                              &cm_source_zip,   &cm_source_tar, &cm_source_folder};

cm_status cm_source_refuse_foreign(const char *path, const char *expected)
{
    unsigned char first[4096];
    const cm_foreign *kind = cm_foreign_kind(first, cm_file_peek(path, first, sizeof first));
    if (kind) CM_FAIL(CM_ERR_FORMAT, "%s: not %s but %s", path, expected, kind->what);
    return CM_OK;
}

cm_status cm_source_open(cm_context *context, const char *path, cm_source **out)
{
    static const char *const known =
        "a data set known here (a folder of JPEG or PNG files, .tar, .zip, .npz, CIFAR-10's "
        "binary version or MNIST idx)";
    const cm_source_kind *kind = NULL;
    *out = NULL;
    if (cm_path_kind(path) != 1) {
        cm_file_reader probe; /* for its message: missing, a pipe, not permitted, no descriptor left */
        CM_TRY(cm_file_reader_open(context, path, &probe));
        cm_file_reader_close(&probe);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !kind; i++)
        if (kinds[i]->recognise(path)) kind = kinds[i];
    if (!kind) {
        CM_TRY(cm_source_refuse_foreign(path, known));
        CM_FAIL(CM_ERR_FORMAT, "'%s' is not %s", path, known);
    }
    cm_source *s = cm_calloc(context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    s->context = context;
    s->kind = kind;
    cm_status status = kind->open(s, path);
    if (status == CM_OK && s->count == 0)
        status = cm_fail(CM_ERR_ARGUMENT, "'%s' (%s) holds no picture", path, kind->name);
    if (status != CM_OK) cm_source_close(s);
    else *out = s;
    return status;
}

void cm_source_close(cm_source *s)
{
    if (!s) return;
    if (s->state) s->kind->close(s);
    for (size_t i = 0; s->names && i < s->count; i++) cm_free(s->context, s->names[i]);
    for (size_t i = 0; s->paths && i < s->count; i++) cm_free(s->context, s->paths[i]);
    cm_free(s->context, s->names);
    cm_free(s->context, s->paths);
    cm_free(s->context, s->locations);
    cm_free(s->context, s->sizes);
    cm_free(s->context, s->labels);
    cm_free(s->context, s->dataset_json);
    cm_free(s->context, s);
}

cm_status cm_source_decode(cm_source *source, const char *name, const void *data, size_t size, int32_t channels,
                           cm_picture *out)
{
    return cm_picture_read(source->context, name, data, size, channels, out);
}
