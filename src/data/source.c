/* source.c - which kind a path is; what kinds of files share. */
#include "data/source.h"

#include <string.h>

#include "io/directory.h"
#include "io/foreign.h"

static const cm_source_kind *const kinds[] = {&cmi_source_cifar, &cmi_source_idx, &cmi_source_npz,
                                              &cmi_source_zip,   &cmi_source_tar, &cmi_source_folder};

cm_status cmi_source_refuse_foreign(const char *path, const char *expected)
{
    unsigned char first[4096];
    size_t n;
    CM_TRY(cmi_file_peek(path, first, sizeof first, &n));
    const cm_foreign *kind = cmi_foreign_kind(first, n);
    if (kind) CM_FAIL(CM_ERR_FORMAT, "%s: not %s but %s", path, expected, kind->what);
    return CM_OK;
}

cm_status cmi_source_open(cm_context *context, const char *path, cm_source **out)
{
    static const char *const known =
        "a data set known here (a folder of JPEG or PNG files, .tar, .zip, .npz, CIFAR-10's "
        "binary version or MNIST idx)";
    const cm_source_kind *kind = NULL;
    cm_path_kind path_kind;
    int is = 0;
    *out = NULL;
    CM_TRY(cmi_path_look(path, &path_kind));
    if (path_kind != CM_PATH_DIRECTORY) {
        cm_file_reader probe; /* for its message: missing, a pipe, not permitted, no descriptor left */
        CM_TRY(cmi_file_reader_open(context, path, &probe));
        cmi_file_reader_close(&probe);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !is; i++)
        CM_TRY((kind = kinds[i])->recognise(context, path, path_kind, &is));
    if (!is) {
        CM_TRY(cmi_source_refuse_foreign(path, known));
        CM_FAIL(CM_ERR_FORMAT, "'%s' is not %s", path, known);
    }
    cm_source *s = cmi_calloc(context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    s->context = context;
    s->kind = kind;
    cm_status status = kind->open(s, path);
    if (status == CM_OK && s->count == 0)
        status = cmi_fail(CM_ERR_ARGUMENT, "'%s' (%s) holds no picture", path, kind->name);
    if (status != CM_OK) cmi_source_close(s);
    else *out = s;
    return status;
}

void cmi_source_close(cm_source *s)
{
    if (!s) return;
    if (s->state) s->kind->close(s);
    for (size_t i = 0; s->names && i < s->count; i++) cmi_free(s->context, s->names[i]);
    for (size_t i = 0; s->paths && i < s->count; i++) cmi_free(s->context, s->paths[i]);
    cmi_free(s->context, s->names);
    cmi_free(s->context, s->paths);
    cmi_free(s->context, s->locations);
    cmi_free(s->context, s->sizes);
    cmi_free(s->context, s->labels);
    for (size_t i = 0; i < s->left_names; i++) cmi_free(s->context, s->left[i].name);
    cmi_free(s->context, s->left);
    cmi_free(s->context, s->dataset_json);
    cmi_free(s->context, s);
}

cm_status cmi_source_decode(cm_source *source, const char *name, const void *data, size_t size, int32_t channels,
                            cm_picture *out)
{
    return cmi_picture_read(source->context, name, data, size, channels, out);
}
