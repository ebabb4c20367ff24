/* write_tensors.c - see the header. */
#include "io/write_tensors.h"

cm_status cmi_write_ask(const cm_write_report *report, const char *path)
{
    if (report && report->progress && report->progress(report->user, report->done, report->total))
        CM_FAIL(CM_ERR_CANCELLED, "writing '%s' was cancelled", path);
    return CM_OK;
}

cm_status cmi_write_weights(cm_file_writer *w, cm_write_report *report, const unsigned char *bytes, size_t size)
{
    enum { PIECE = 4 << 20 };
    for (size_t at = 0; at < size; at += PIECE) {
        size_t n = size - at < PIECE ? size - at : PIECE;
        CM_TRY(cmi_write_ask(report, w->path));
        CM_TRY(cmi_file_write(w, bytes + at, n));
        if (report) report->done += n;
    }
    return CM_OK;
}

cm_status cmi_write_fetch(cm_context *context, const cm_tensor *t, const unsigned char **bytes, unsigned char **copy)
{
    *bytes = t->data;
    *copy = NULL;
    if (t->data) return CM_OK;
    *bytes = *copy = cmi_malloc(context, t->bytes, 1);
    if (!*copy) return CM_ERR_MEMORY;
    cm_status status = cmi_tensor_fetch(t, *copy);
    if (status == CM_OK) return CM_OK;
    cmi_free(context, *copy);
    *copy = NULL;
    return status;
}

cm_status cmi_write_tensor(cm_file_writer *w, cm_write_report *report, const cm_tensor *t)
{
    const unsigned char *bytes;
    unsigned char *copy;
    CM_TRY(cmi_write_fetch(w->context, t, &bytes, &copy));
    cm_status status = cmi_write_weights(w, report, bytes, t->bytes);
    cmi_free(w->context, copy);
    return status;
}
