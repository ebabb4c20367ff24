/* zip.c - see the header. */
#include "io/zip.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <zip.h>
#include <zlib.h>

enum { MAX_ENTRIES = 100000000, MAX_RATIO = 1032 };

enum { AHEAD = 1 << 14 };

struct cm_zip {
    cm_context *context;
    zip_t *archive;
    const char *path;    /* of `file` */
    cm_file_reader file; /* which libzip reads, through `source` */
    size_t at;
    unsigned char ahead[AHEAD]; /* of the file from `begin` on */
    size_t begin, held;
    zip_error_t error; /* of the source */
    int failed;        /* errno of its read that failed, which libzip may call an early end */
    size_t count;
    struct stat opened; /* the file as it was then */
};

/* --- the file as libzip reads it --------------------------------------------------------- */

static zip_int64_t source_read(cm_zip *z, unsigned char *out, zip_uint64_t size)
{
    errno = 0;
    const size_t left = z->file.size - z->at, n = size < left ? (size_t)size : left;
    size_t begin = z->at - z->begin; /* within what was read ahead */
    cm_status status = CM_OK;
    if (z->at < z->begin || begin > z->held || n > z->held - begin) {
        if (n >= AHEAD) {
            status = cmi_file_reader_read(&z->file, z->at, out, n);
        } else {
            z->held = 0;
            z->begin = z->at;
            const size_t ahead = left < AHEAD ? left : AHEAD;
            status = cmi_file_reader_read(&z->file, z->at, z->ahead, ahead);
            if (status == CM_OK) z->held = ahead;
        }
        begin = 0;
    }
    if (status != CM_OK) {
        z->failed = errno ? errno : EIO;
        zip_error_set(&z->error, ZIP_ER_READ, z->failed);
        return -1;
    }
    if (n < AHEAD) memcpy(out, z->ahead + begin, n);
    z->at += n;
    return (zip_int64_t)n;
}

static zip_int64_t source_stat(const cm_zip *z, zip_stat_t *out)
{
    zip_stat_init(out);
    out->valid = ZIP_STAT_SIZE;
    out->size = z->file.size;
    return sizeof *out;
}

static zip_int64_t source(void *user, void *data, zip_uint64_t size, zip_source_cmd_t command)
{
    cm_zip *z = user;
    zip_int64_t to;
    switch (command) {
    case ZIP_SOURCE_OPEN: z->at = 0; return 0; /* the archive, once */
    case ZIP_SOURCE_READ: return source_read(z, data, size);
    case ZIP_SOURCE_STAT: return source_stat(z, data);
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&z->error, data, size);
    case ZIP_SOURCE_TELL: return (zip_int64_t)z->at;
    case ZIP_SOURCE_SEEK:
        to = zip_source_seek_compute_offset(z->at, z->file.size, data, size, &z->error);
        if (to < 0) return -1;
        z->at = (size_t)to;
        z->held = 0; /* an entry is read as the file is when it is asked for */
        return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
                                              ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL,
                                              ZIP_SOURCE_SUPPORTS, -1);
    default: return 0; /* closing, freeing: nothing */
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

/* What libzip's error is: the system's, of memory, or the archive's. */
static cm_status kind_of(zip_error_t *error)
{
    switch (zip_error_code_zip(error)) {
    case ZIP_ER_MEMORY: return CM_ERR_MEMORY;
    case ZIP_ER_ZLIB: return zip_error_code_system(error) == Z_MEM_ERROR ? CM_ERR_MEMORY : CM_ERR_FORMAT;
    case ZIP_ER_OPEN:
    case ZIP_ER_NOENT:
    case ZIP_ER_READ:
    case ZIP_ER_SEEK:
    case ZIP_ER_TELL: return CM_ERR_IO;
    default: return CM_ERR_FORMAT;
    }
}

cm_status cmi_zip_is(const char *path, int *is)
{
    char first[4];
    size_t n;
    *is = 0;
    CM_TRY(cmi_file_peek(path, first, sizeof first, &n));
    *is = n == sizeof first && (memcmp(first, "PK\3\4", 4) == 0 || memcmp(first, "PK\5\6", 4) == 0);
    return CM_OK;
}

/* With all that libzip can compare, but for names that stand there twice: `zip` never writes
 * them, yet programs that append do. */
static zip_t *open_archive(cm_zip *z, zip_error_t *error)
{
    static const int flags[] = {ZIP_RDONLY | ZIP_CHECKCONS, ZIP_RDONLY};
    zip_t *archive = NULL;
    for (int i = 0; i < 2 && !archive; i++) {
        if (i && zip_error_code_zip(error) != ZIP_ER_EXISTS) break;
        zip_source_t *s = zip_source_function_create(source, z, error);
        archive = s ? zip_open_from_source(s, flags[i], error) : NULL;
        if (s && !archive) zip_source_free(s);
    }
    return archive;
}

static cm_status open_file(cm_zip *z, const char *path)
{
    zip_error_t reason;
    CM_TRY(cmi_file_reader_open(z->context, path, &z->file));
    z->path = z->file.path;
    if (fstat(z->file.descriptor, &z->opened) != 0) return cmi_file_fail("look at", path);
    zip_error_init(&reason);
    z->archive = open_archive(z, &reason);
    cm_status status = CM_OK;
    if (!z->archive && z->failed) {
        errno = z->failed;
        status = cmi_file_fail("read", path);
    } else if (!z->archive)
        status = kind_of(&reason) == CM_ERR_FORMAT
                     ? cmi_fail(CM_ERR_FORMAT, "%s: not a good zip archive: %s", path, zip_error_strerror(&reason))
                     : cmi_fail(kind_of(&reason), "cannot read '%s': %s", path, zip_error_strerror(&reason));
    zip_error_fini(&reason);
    CM_TRY(status);
    const zip_int64_t n = zip_get_num_entries(z->archive, 0);
    z->count = n > 0 ? (size_t)n : 0;
    if (z->count > MAX_ENTRIES) CM_FAIL(CM_ERR_LIMIT, "%s: %zu entries", path, z->count);
    return CM_OK;
}

cm_status cmi_zip_open(cm_context *context, const char *path, cm_zip **out)
{
    *out = NULL;
    cm_zip *z = cmi_calloc(context, 1, sizeof *z);
    if (!z) return CM_ERR_MEMORY;
    z->context = context;
    zip_error_init(&z->error);
    const cm_status status = open_file(z, path);
    if (status != CM_OK) cmi_zip_close(z);
    else *out = z;
    return status;
}

void cmi_zip_close(cm_zip *z)
{
    if (!z) return;
    if (z->archive) zip_discard(z->archive);
    zip_error_fini(&z->error);
    cmi_file_reader_close(&z->file);
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
    if (z->failed) {
        errno = z->failed;
        return cmi_file_fail("read", z->path);
    }
    CM_FAIL(CM_ERR_FORMAT, "%s: entry '%.200s': %s", z->path, cmi_zip_name(z, index), reason);
}

/* Of libzip's error, which the message ends with. */
static cm_status failed(const cm_zip *z, size_t index, zip_error_t *error)
{
    if (kind_of(error) == CM_ERR_FORMAT || z->failed || changed(z))
        return damaged(z, index, zip_error_strerror(error));
    CM_FAIL(kind_of(error), "%s: entry '%.200s': %s", z->path, cmi_zip_name(z, index), zip_error_strerror(error));
}

cm_status cmi_zip_head(cm_zip *z, size_t index, unsigned char *out, size_t n, size_t *got)
{
    z->failed = 0;
    zip_file_t *f = zip_fopen_index(z->archive, index, 0);
    zip_int64_t r = 1;
    *got = 0;
    for (; f && *got < n && (r = zip_fread(f, out + *got, n - *got)) > 0; *got += (size_t)r) {
    }
    zip_error_t *error = f ? zip_file_get_error(f) : zip_get_error(z->archive);
    cm_status status = (!f || r < 0) && (kind_of(error) != CM_ERR_FORMAT || z->failed || changed(z))
                           ? failed(z, index, error)
                           : CM_OK;
    if (f) (void)zip_fclose(f);
    return status;
}

static cm_status read_all(cm_zip *z, size_t index, unsigned char *data, size_t size)
{
    unsigned char more;
    z->failed = 0;
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
