/* msan.c - what MemorySanitizer is told in the replay of the corpora (tests/trust/matrix.sh): libjansson, libzip,
 * zlib, libpng and libjpeg are compiled without it, so what they write counts as written.  The linker gives the calls
 * of the library to these (--wrap), and the files that hand our memory to them take it from matrix_malloc. */
#include <png.h>
#include <sanitizer/msan_interface.h>
#include <zip.h>
#include <zlib.h>

#include "base/context.h"

void *matrix_malloc(cm_context *context, size_t count, size_t size);
void *matrix_malloc(cm_context *context, size_t count, size_t size)
{
    void *memory = cmi_malloc(context, count, size);
    if (memory) __msan_unpoison(memory, count * size);
    return memory;
}

/* Of libpng's message, which it made on its stack. */
size_t matrix_strlen(const char *text);
__attribute__((no_sanitize("memory"))) size_t matrix_strlen(const char *text)
{
    size_t n = 0;
    while (text[n]) n++;
    __msan_unpoison(text, n + 1);
    return n;
}

#define REAL(name) __real_##name
#define WRAP(name) __wrap_##name

int REAL(zip_stat_index)(zip_t *archive, zip_uint64_t index, zip_flags_t flags, zip_stat_t *out);
int WRAP(zip_stat_index)(zip_t *archive, zip_uint64_t index, zip_flags_t flags, zip_stat_t *out);
int WRAP(zip_stat_index)(zip_t *archive, zip_uint64_t index, zip_flags_t flags, zip_stat_t *out)
{
    const int code = REAL(zip_stat_index)(archive, index, flags, out);
    if (code == 0) __msan_unpoison(out, sizeof *out);
    return code;
}

int REAL(zip_file_get_external_attributes)(zip_t *archive, zip_uint64_t index, zip_flags_t flags, zip_uint8_t *system,
                                           zip_uint32_t *attributes);
int WRAP(zip_file_get_external_attributes)(zip_t *archive, zip_uint64_t index, zip_flags_t flags, zip_uint8_t *system,
                                           zip_uint32_t *attributes);
int WRAP(zip_file_get_external_attributes)(zip_t *archive, zip_uint64_t index, zip_flags_t flags, zip_uint8_t *system,
                                           zip_uint32_t *attributes)
{
    const int code = REAL(zip_file_get_external_attributes)(archive, index, flags, system, attributes);
    if (code == 0) __msan_unpoison(system, sizeof *system), __msan_unpoison(attributes, sizeof *attributes);
    return code;
}

zip_int64_t REAL(zip_fread)(zip_file_t *file, void *out, zip_uint64_t size);
zip_int64_t WRAP(zip_fread)(zip_file_t *file, void *out, zip_uint64_t size);
zip_int64_t WRAP(zip_fread)(zip_file_t *file, void *out, zip_uint64_t size)
{
    const zip_int64_t n = REAL(zip_fread)(file, out, size);
    if (n > 0) __msan_unpoison(out, (size_t)n);
    return n;
}

int REAL(inflate)(z_stream *z, int flush);
int WRAP(inflate)(z_stream *z, int flush);
int WRAP(inflate)(z_stream *z, int flush)
{
    unsigned char *out = z->next_out;
    const int code = REAL(inflate)(z, flush);
    __msan_unpoison(z, sizeof *z);
    __msan_unpoison(out, (size_t)(z->next_out - out));
    return code;
}

static png_rw_ptr write_further;
static void write_bytes(png_structp png, png_bytep bytes, png_size_t n)
{
    __msan_unpoison(bytes, n);
    write_further(png, bytes, n);
}

void REAL(png_set_write_fn)(png_structp png, png_voidp user, png_rw_ptr write, png_flush_ptr flush);
void WRAP(png_set_write_fn)(png_structp png, png_voidp user, png_rw_ptr write, png_flush_ptr flush);
void WRAP(png_set_write_fn)(png_structp png, png_voidp user, png_rw_ptr write, png_flush_ptr flush)
{
    write_further = write;
    REAL(png_set_write_fn)(png, user, write_bytes, flush);
}
