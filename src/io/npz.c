/* npz.c - arrays of a zip archive by name, over zip.h; archives of stored arrays, written here as NumPy does. */
#include "io/npz.h"

#include <stdio.h>
#include <string.h>

#include "io/zip_write.h"

struct cm_npz {
    cm_context *context;
    cm_zip *zip;
    char *path;
    unsigned char *bytes; /* of the array that was read last */
};

cm_status cmi_npz_open(cm_context *context, const char *path, cm_npz **out)
{
    *out = NULL;
    cm_npz *npz = cmi_calloc(context, 1, sizeof *npz);
    if (!npz) return CM_ERR_MEMORY;
    npz->context = context;
    npz->path = cmi_strdup(context, path);
    cm_status status = npz->path ? cmi_zip_open(context, path, &npz->zip) : CM_ERR_MEMORY;
    if (status != CM_OK) cmi_npz_close(npz);
    else *out = npz;
    return status;
}

void cmi_npz_close(cm_npz *npz)
{
    if (!npz) return;
    cmi_zip_close(npz->zip);
    cmi_free(npz->context, npz->bytes);
    cmi_free(npz->context, npz->path);
    cmi_free(npz->context, npz);
}

/* The last member counts, as for NumPy; the number of members where there is none. */
static size_t find(const cm_npz *npz, const char *name)
{
    char member[256];
    const size_t n = cmi_zip_count(npz->zip);
    (void)snprintf(member, sizeof member, "%s.npy", name);
    for (size_t i = n; i-- > 0;)
        if (strcmp(cmi_zip_name(npz->zip, i), member) == 0) return i;
    return n;
}

int cmi_npz_has(const cm_npz *npz, const char *name)
{
    return find(npz, name) < cmi_zip_count(npz->zip);
}

cm_status cmi_npz_member(cm_context *context, cm_zip *zip, size_t index, const char *what, unsigned char **bytes,
                         cm_npy *out)
{
    unsigned char head[CM_NPY_HEAD];
    size_t n, size;
    const uint64_t claimed = cmi_zip_size(zip, index);
    *bytes = NULL;
    CM_TRY(cmi_zip_head(zip, index, head, sizeof head, &n));
    if (claimed > SIZE_MAX / 2) CM_FAIL(CM_ERR_FORMAT, "%s: %llu bytes", what, (unsigned long long)claimed);
    if (claimed > sizeof head) CM_TRY(cmi_npy_check(what, head, n, (size_t)claimed, out));
    CM_TRY(cmi_zip_read(zip, index, bytes, &size));
    const cm_status status = cmi_npy_parse(what, *bytes, size, out);
    if (status == CM_OK) return CM_OK;
    cmi_free(context, *bytes);
    *bytes = NULL;
    return status;
}

cm_status cmi_npz_read(cm_npz *npz, const char *name, cm_npy *out)
{
    char what[512];
    const size_t at = find(npz, name);
    (void)snprintf(what, sizeof what, "%.400s: %.64s", npz->path, name);
    if (at == cmi_zip_count(npz->zip)) CM_FAIL(CM_ERR_FORMAT, "%s: there is no array '%s'", npz->path, name);
    cmi_free(npz->context, npz->bytes);
    npz->bytes = NULL;
    return cmi_npz_member(npz->context, npz->zip, at, what, &npz->bytes, out);
}

cm_status cmi_npz_read_text(cm_npz *npz, const char *name, size_t size, char *text)
{
    cm_npy array;
    CM_TRY(cmi_npz_read(npz, name, &array));
    if (array.kind != 'u' || array.bytes != 1 || array.rank != 1 || memchr(array.data, '\0', array.count))
        CM_FAIL(CM_ERR_FORMAT, "%s: %s is no text", npz->path, name);
    if (array.count >= size)
        CM_FAIL(CM_ERR_FORMAT, "%s: %s is a text of %zu bytes, expected less than %zu", npz->path, name, array.count,
                size);
    memcpy(text, array.data, array.count);
    text[array.count] = '\0';
    return CM_OK;
}

cm_npz_array cmi_npz_text(const char *name, const char *text)
{
    return (cm_npz_array){name, "|u1", 1, {strlen(text)}, 1, text};
}

/* Fortran's order has the first index fastest: element `at` of C order stands there. */
static size_t fortran_place(const cm_npy *a, size_t at)
{
    size_t index[8], place = 0;
    for (int i = a->rank; i-- > 0; at /= a->shape[i]) index[i] = at % a->shape[i];
    for (int i = a->rank; i-- > 0;) place = place * a->shape[i] + index[i];
    return place;
}

void cmi_npy_doubles(const cm_npy *a, double *out)
{
    for (size_t i = 0; i < a->count; i++) out[i] = cmi_npy_value(a, a->fortran ? fortran_place(a, i) : i);
}

/* --- writing ------------------------------------------------------------------- */

enum { HEADER = 256 };

static size_t elements(const cm_npz_array *a)
{
    size_t n = 1;
    for (int i = 0; i < a->rank; i++) n *= a->shape[i];
    return n;
}

/* Magic, version 1.0, length, and a dict padded to a multiple of 64 bytes; returns how many. */
static size_t describe(const cm_npz_array *a, unsigned char *out)
{
    char text[HEADER - 16] = "";
    size_t n = (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", a->descr);
    for (int i = 0; i < a->rank; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%zu,%s", a->shape[i], i + 1 < a->rank ? " " : "");
    if (a->rank > 1) n--; /* only one of rank 1 ends in a comma */
    n += (size_t)snprintf(text + n, sizeof text - n, "), }");
    const size_t length = (10 + n + 1 + 63) / 64 * 64;
    memset(out, ' ', length);
    memcpy(out, "\x93NUMPY\1\0", 8);
    out[8] = (unsigned char)(length - 10);
    out[9] = (unsigned char)((length - 10) >> 8);
    memcpy(out + 10, text, n);
    out[length - 1] = '\n';
    return length;
}

static cm_status write_array(cm_context *context, cm_zip_writer *zip, const cm_npz_array *a)
{
    char name[CM_ZIP_NAME];
    const size_t bytes = elements(a) * a->bytes;
    unsigned char *member = cmi_malloc(context, HEADER + bytes, 1);
    if (!member) return CM_ERR_MEMORY;
    (void)snprintf(name, sizeof name, "%.40s.npy", a->name);
    const size_t header = describe(a, member);
    memcpy(member + header, a->data, bytes);
    cm_status status = cmi_zip_add(zip, name, member, header + bytes, NULL);
    cmi_free(context, member);
    return status;
}

cm_status cmi_npz_write(cm_context *context, const char *path, int overwrite, const cm_npz_array *arrays, size_t n)
{
    cm_zip_writer zip;
    CM_TRY(cmi_zip_begin(context, path, overwrite, n, &zip));
    cm_status status = CM_OK;
    for (size_t i = 0; i < n && status == CM_OK; i++) status = write_array(context, &zip, &arrays[i]);
    if (status == CM_OK) return cmi_zip_commit(&zip);
    cmi_zip_abort(&zip);
    return status;
}
