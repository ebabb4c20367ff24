/* input.c - files, memory and callers' functions behind one way to read. */
#include "io/input.h"

#include <string.h>

#include "io/directory.h"

static cm_status begin(cm_context *context, const char *name, cm_input_access access, cm_input *in)
{
    memset(in, 0, sizeof *in);
    in->context = context;
    in->access = access;
    in->file.descriptor = -1;
    in->name = cmi_strdup(context, name);
    return in->name ? CM_OK : CM_ERR_MEMORY;
}

cm_status cmi_input_file(cm_context *context, const char *path, cm_input_access access, cm_input *in)
{
    cm_path_kind kind;
    CM_TRY(begin(context, path, access, in));
    cm_status status = cmi_path_look(path, &kind);
    in->is_folder = status == CM_OK && kind == CM_PATH_DIRECTORY;
    if (in->is_folder) return CM_OK;
    if (status == CM_OK) status = cmi_file_reader_open(context, path, &in->file);
    in->size = in->file.size;
    if (status != CM_OK) cmi_input_close(in);
    return status;
}

cm_status cmi_input_memory(cm_context *context, const char *name, const void *bytes, size_t size,
                           cm_input_access access, cm_input *in)
{
    CM_TRY(begin(context, name, access, in));
    in->memory = bytes;
    in->size = size;
    return CM_OK;
}

cm_status cmi_input_reader(cm_context *context, const cm_reader *reader, cm_input_access access, cm_input *in)
{
    CM_TRY(begin(context, "stream", access, in));
    in->reader = *reader;
    in->size = (size_t)reader->size;
    return CM_OK;
}

void cmi_input_close(cm_input *in)
{
    if (!in->context) return;
    cmi_file_reader_close(&in->file);
    cmi_mapping_close(&in->mapping);
    cmi_free(in->context, in->copy);
    cmi_free(in->context, in->name);
    memset(in, 0, sizeof *in);
}

/* --- reading ---------------------------------------------------------------------------- */

enum { PIECE = 4 << 20 }; /* bytes at a time, so that who waits can stop */

/* The function may give fewer bytes than it is asked for, and is asked again. */
static cm_status read_stream(const cm_input *in, size_t offset, unsigned char *out, size_t size)
{
    for (size_t done = 0; done < size;) {
        size_t piece = size - done < PIECE ? size - done : PIECE;
        int32_t n = in->reader.read(in->reader.user, offset + done, out + done, piece);
        if (n < 0)
            CM_FAIL(CM_ERR_IO, "cannot read the stream at byte %zu: its function failed (%d)", offset + done, n);
        if (n == 0)
            CM_FAIL(CM_ERR_IO, "cannot read the stream: it ends at byte %zu and was said to have %zu", offset + done,
                    in->size);
        if ((size_t)n > piece)
            CM_FAIL(CM_ERR_IO, "cannot read the stream at byte %zu: its function was asked for %zu bytes and says %d",
                    offset + done, piece, n);
        done += (size_t)n;
    }
    return CM_OK;
}

cm_status cmi_input_read(const cm_input *in, size_t offset, void *out, size_t size)
{
    if (offset > in->size || size > in->size - offset)
        CM_FAIL(CM_ERR_FORMAT, "%s: truncated: %zu bytes from byte %zu on are missing, %zu are there", in->name, size,
                offset, in->size);
    const unsigned char *at = in->held && offset >= in->held_from ? in->held + (offset - in->held_from)
                              : in->memory                        ? in->memory + offset
                                                                  : NULL;
    if (!size) return CM_OK;
    if (at) {
        memcpy(out, at, size);
        return CM_OK;
    }
    if (in->reader.read) return read_stream(in, offset, out, size);
    if (in->file.path) return cmi_file_reader_read(&in->file, offset, out, size);
    CM_FAIL(CM_ERR_INTERNAL, "%s: read after it was closed", in->name);
}

cm_status cmi_input_report(const cm_input *in, uint64_t done)
{
    if (in->report && in->report(in->report_user, done, in->work))
        CM_FAIL(CM_ERR_CANCELLED, "loading %s was cancelled", in->name);
    return CM_OK;
}

static cm_status copy_from(cm_input *in, size_t offset)
{
    size_t size = in->size - offset;
    in->copy = cmi_malloc(in->context, size, 1);
    if (!in->copy) return CM_ERR_MEMORY;
    for (size_t at = 0; at < size; at += PIECE) {
        CM_TRY(cmi_input_report(in, offset + at));
        CM_TRY(cmi_input_read(in, offset + at, in->copy + at, size - at < PIECE ? size - at : PIECE));
    }
    return CM_OK;
}

cm_status cmi_input_hold(cm_input *in, size_t offset, const unsigned char **out)
{
    *out = NULL;
    if (in->access == CM_INPUT_FETCHED) return CM_OK;
    if (in->access == CM_INPUT_COPIED) {
        CM_TRY(copy_from(in, offset));
        *out = in->copy;
    } else if (in->memory) {
        *out = in->memory + offset;
    } else {
        CM_TRY(cmi_file_reader_map(&in->file, &in->mapping));
        *out = in->mapping.data + offset;
    }
    in->held = *out;
    in->held_from = offset;
    return CM_OK;
}

void cmi_input_settle(cm_input *in)
{
    if (in->access == CM_INPUT_FETCHED) return;
    if (in->access == CM_INPUT_COPIED) in->memory = NULL;
    in->reader.read = NULL;
    cmi_file_reader_close(&in->file);
}

int cmi_input_is_mapped(const cm_input *in, const void *pointer)
{
    uintptr_t p = (uintptr_t)pointer, begins = (uintptr_t)in->mapping.data;
    return in->mapping.data && p >= begins && p - begins <= in->mapping.size;
}
