/* tar_write.c - headers of POSIX's ustar, and GNU's members of type L for long names. */
#include "data/tar_write.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK = 512, NAME = 100, END = 2 /* blocks of zeros */ };
static const unsigned char zeros[BLOCK];

cm_status cmi_tar_begin(cm_context *context, const char *path, int overwrite, cm_tar_writer *w)
{
    return cmi_file_create(context, path, overwrite, &w->file);
}

/* 11 octal digits hold 8 GiB, more than any picture's file. */
static cm_status write_header(cm_tar_writer *w, const char *name, size_t length, char type, size_t size)
{
    unsigned char h[BLOCK] = {0};
    unsigned sum = 0;
    char number[16];
    memcpy(h, name, length < NAME ? length : NAME);
    memcpy(h + 100, "0000644", 8);
    memcpy(h + 108, "0000000", 8);
    memcpy(h + 116, "0000000", 8);
    (void)snprintf(number, sizeof number, "%011llo", (unsigned long long)size);
    memcpy(h + 124, number, 12);
    memcpy(h + 136, "00000000000", 12); /* 1970 */
    memset(h + 148, ' ', 8);
    h[156] = (unsigned char)type;
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < BLOCK; i++) sum += h[i];
    (void)snprintf(number, sizeof number, "%06o", sum);
    memcpy(h + 148, number, 7);
    return cmi_file_write(&w->file, h, BLOCK);
}

static cm_status write_content(cm_tar_writer *w, const void *bytes, size_t size)
{
    CM_TRY(cmi_file_write(&w->file, bytes, size));
    return cmi_file_write(&w->file, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

cm_status cmi_tar_add(cm_tar_writer *w, const char *name, const void *bytes, size_t size)
{
    const size_t length = strlen(name);
    if (length > NAME) {
        static const char marker[] = "././@LongLink";
        CM_TRY(write_header(w, marker, sizeof marker - 1, 'L', length + 1));
        CM_TRY(write_content(w, name, length + 1));
    }
    CM_TRY(write_header(w, name, length, '0', size));
    return write_content(w, bytes, size);
}

cm_status cmi_tar_commit(cm_tar_writer *w)
{
    cm_status status = CM_OK;
    for (int i = 0; i < END && status == CM_OK; i++) status = cmi_file_write(&w->file, zeros, BLOCK);
    if (status == CM_OK) return cmi_file_commit(&w->file);
    cmi_file_abort(&w->file);
    return status;
}

void cmi_tar_abort(cm_tar_writer *w)
{
    cmi_file_abort(&w->file);
}
