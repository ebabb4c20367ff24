/* zip.c - see the header. */
#include "io/zip.h"

#include <string.h>
#include <sys/stat.h>

#include <zip.h>

enum { MAX_ENTRIES = 100000000, MAX_RATIO = 1032 };

struct cm_zip {
    cm_context *context;
    zip_t *archive;
    char *path;
    size_t count;
    struct stat opened; /* the file as it was then */
};

/* What libzip's error is: the system's, of memory, or the archive's. */
static cm_status kind_of(zip_error_t *error)
{
    switch (zip_error_code_zip(error)) {
    case ZIP_ER_MEMORY: return CM_ERR_MEMORY;
    case ZIP_ER_OPEN:
    case ZIP_ER_NOENT:
    case ZIP_ER_READ:
    case ZIP_ER_SEEK:
    case ZIP_ER_TELL: return CM_ERR_IO;
    default: return CM_ERR_FORMAT;
    }
}

int cmi_zip_is(const char *path)
{
    char first[4];
    if (cmi_file_peek(path, first, sizeof first) != sizeof first) return 0;
    return memcmp(first, "PK\3\4", 4) == 0 || memcmp(first, "PK\5\6", 4) == 0;
}

/* With all that libzip can compare, but for names that stand there twice: `zip` never writes
 * them, yet programs that append do. */
static zip_t *open_archive(const char *path, int *error)
{
    zip_t *archive = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, error);
    return archive || *error != ZIP_ER_EXISTS ? archive : zip_open(path, ZIP_RDONLY, error);
}

cm_status cmi_zip_open(cm_context *context, const char *path, cm_zip **out)
{
    int error = 0;
    *out = NULL;
    cm_zip *z = cmi_calloc(context, 1, sizeof *z);
    if (!z) return CM_ERR_MEMORY;
    z->context = context;
    z->path = cmi_strdup(context, path);
    (void)stat(path, &z->opened); /* where it fails the next line says why */
    const int regular = !z->opened.st_mode || S_ISREG(z->opened.st_mode);
    z->archive = z->path && regular ? open_archive(path, &error) : NULL;
    cm_status status = z->path ? CM_OK : CM_ERR_MEMORY;
    if (z->path && !regular) {
        status = cmi_fail(CM_ERR_IO, "cannot read '%s': it is not a regular file", path);
    } else if (z->path && !z->archive) {
        zip_error_t reason;
        zip_error_init_with_code(&reason, error);
        status = kind_of(&reason) == CM_ERR_FORMAT
                     ? cmi_fail(CM_ERR_FORMAT, "%s: not a good zip archive: %s", path, zip_error_strerror(&reason))
                     : cmi_fail(kind_of(&reason), "cannot read '%s': %s", path, zip_error_strerror(&reason));
        zip_error_fini(&reason);
    }
    if (status == CM_OK) {
        zip_int64_t n = zip_get_num_entries(z->archive, 0);
        z->count = n > 0 ? (size_t)n : 0;
        if (z->count > MAX_ENTRIES) status = cmi_fail(CM_ERR_LIMIT, "%s: %zu entries", path, z->count);
    }
    if (status != CM_OK) cmi_zip_close(z);
    else *out = z;
    return status;
}

void cmi_zip_close(cm_zip *z)
{
    if (!z) return;
    if (z->archive) zip_discard(z->archive);
    cmi_free(z->context, z->path);
    cmi_free(z->context, z);
}

size_t cmi_zip_count(const cm_zip *z)
{
    return z->count;
}

const char *cmi_zip_name(const cm_zip *z, size_t index)
{
    const char *name = zip_get_name(z->archive, index, ZIP_FL_ENC_GUESS);
    return name ? name : "";
}

uint64_t cmi_zip_size(const cm_zip *z, size_t index)
{
    zip_stat_t st;
    return zip_stat_index(z->archive, index, 0, &st) == 0 && st.valid & ZIP_STAT_SIZE ? st.size : 0;
}

int cmi_zip_is_link(const cm_zip *z, size_t index)
{
    zip_uint8_t system;
    zip_uint32_t attributes;
    if (zip_file_get_external_attributes(z->archive, index, 0, &system, &attributes) != 0) return 0;
    return system == ZIP_OPSYS_UNIX && (attributes >> 16 & 0170000) == 0120000;
}

/* Whether somebody has cut or rewritten the open file: what is wrong with it then says
 * nothing about its pictures.  One that was replaced by rename is as it was. */
static int changed(const cm_zip *z)
{
    struct stat is;
    const struct stat *was = &z->opened;
    if (stat(z->path, &is) != 0 || is.st_ino != was->st_ino || is.st_dev != was->st_dev) return 0;
    return is.st_size != was->st_size || is.st_mtim.tv_sec != was->st_mtim.tv_sec ||
           is.st_mtim.tv_nsec != was->st_mtim.tv_nsec;
}

static cm_status damaged(const cm_zip *z, size_t index, const char *reason)
{
    if (changed(z))
        CM_FAIL(CM_ERR_IO, "cannot read '%s', which has changed since it was opened: entry '%.200s': %s", z->path,
                cmi_zip_name(z, index), reason);
    CM_FAIL(CM_ERR_FORMAT, "%s: entry '%.200s': %s", z->path, cmi_zip_name(z, index), reason);
}

/* Of libzip's error, which the message ends with. */
static cm_status failed(const cm_zip *z, size_t index, zip_error_t *error)
{
    if (kind_of(error) == CM_ERR_FORMAT) return damaged(z, index, zip_error_strerror(error));
    CM_FAIL(kind_of(error), "%s: entry '%.200s': %s", z->path, cmi_zip_name(z, index), zip_error_strerror(error));
}

cm_status cmi_zip_head(cm_zip *z, size_t index, unsigned char *out, size_t n, size_t *got)
{
    zip_file_t *f = zip_fopen_index(z->archive, index, 0);
    zip_int64_t r = 1;
    *got = 0;
    for (; f && *got < n && (r = zip_fread(f, out + *got, n - *got)) > 0; *got += (size_t)r) {
    }
    zip_error_t *error = f ? zip_file_get_error(f) : zip_get_error(z->archive);
    cm_status status =
        (!f || r < 0) && (kind_of(error) != CM_ERR_FORMAT || changed(z)) ? failed(z, index, error) : CM_OK;
    if (f) (void)zip_fclose(f);
    return status;
}

static cm_status read_all(cm_zip *z, size_t index, unsigned char *data, size_t size)
{
    unsigned char more;
    zip_file_t *f = zip_fopen_index(z->archive, index, 0);
    if (!f) return failed(z, index, zip_get_error(z->archive));
    cm_status status = CM_OK;
    for (size_t at = 0; status == CM_OK && at < size;) {
        zip_int64_t n = zip_fread(f, data + at, size - at);
        if (n <= 0)
            status = n < 0 ? failed(z, index, zip_file_get_error(f)) : damaged(z, index, "shorter than it says");
        else at += (size_t)n;
    }
    /* The read at the end is the one that checks the CRC. */
    if (status == CM_OK) {
        zip_int64_t n = zip_fread(f, &more, 1);
        if (n != 0)
            status = n < 0 ? failed(z, index, zip_file_get_error(f)) : damaged(z, index, "longer than it says");
    }
    (void)zip_fclose(f);
    return status;
}

cm_status cmi_zip_read(cm_zip *z, size_t index, unsigned char **data, size_t *size)
{
    zip_stat_t st;
    *data = NULL;
    if (zip_stat_index(z->archive, index, 0, &st) != 0 || !(st.valid & ZIP_STAT_SIZE) ||
        !(st.valid & ZIP_STAT_COMP_SIZE))
        return damaged(z, index, "its size is unknown");
    if (st.size > st.comp_size * MAX_RATIO + 1024 || st.size > SIZE_MAX / 2)
        return damaged(z, index, "it claims more bytes than deflate can make of it");
    *size = (size_t)st.size;
    *data = cmi_malloc(z->context, *size + 1, 1);
    if (!*data) return CM_ERR_MEMORY;
    (*data)[*size] = '\0';
    cm_status status = read_all(z, index, *data, *size);
    if (status == CM_OK) return CM_OK;
    cmi_free(z->context, *data);
    *data = NULL;
    return status;
}
