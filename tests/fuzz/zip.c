/* Any bytes as a zip archive, by both readers: refused, or every member readable; members of our own directory lie in
 * the file and do not overlap. */
#include "fuzz/watched.h"
#include "io/zip.h"
#include "io/zip_directory.h"

static cm_status own_directory(cm_context *context, const uint8_t *data, size_t size)
{
    cm_input in;
    cm_zip_directory d;
    CM_TRY(cmi_input_memory(context, "input", data, size, CM_INPUT_IN_PLACE, &in));
    cm_status status = cmi_zip_directory_read(&in, &d);
    if (status == CM_OK) {
        size_t bytes = 0;
        for (size_t i = 0; i < d.count; i++) {
            const cm_zip_member *m = &d.members[i];
            if (m->at > size || m->size > size - m->at) fuzz_fail("a member outside");
            bytes += m->size;
            (void)cmi_zip_member_check(&in, m);
            if (cmi_zip_directory_find(&d, m->name) != m) fuzz_fail("a name that is not found");
        }
        if (bytes > size) fuzz_fail("members overlap");
        cmi_zip_directory_close(&d);
    }
    cmi_input_close(&in);
    return status;
}

static cm_status by_libzip(cm_context *context, const uint8_t *data, size_t size)
{
    char path[64];
    cm_zip *zip;
    const int fd = fuzz_file(data, size, path);
    if (fd < 0) return CM_OK;
    cm_status status = cmi_zip_open(context, path, &zip);
    if (status == CM_OK) {
        for (size_t i = 0; i < cmi_zip_count(zip) && i < 64 && status != CM_ERR_MEMORY; i++) {
            unsigned char head[16], *bytes;
            size_t got;
            if (!cmi_zip_name(zip, i)) fuzz_fail("a member without a name");
            (void)cmi_zip_is_link(zip, i);
            status = cmi_zip_head(zip, i, head, sizeof head, &got);
            if (status == CM_OK && got > sizeof head) fuzz_fail("more than was asked for");
            if (status == CM_ERR_MEMORY || cmi_zip_size(zip, i) > 1 << 24) continue;
            status = cmi_zip_read(zip, i, &bytes, &got);
            if (status == CM_OK && bytes[got] != 0) fuzz_fail("no NUL behind");
            if (status == CM_OK) cmi_free(context, bytes);
        }
        cmi_zip_close(zip);
        if (status != CM_ERR_MEMORY) status = CM_OK;
    }
    (void)close(fd);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)fuzz_watched(own_directory, data, size, fuzz_bound(size));
    return fuzz_watched(by_libzip, data, size, 0);
}
