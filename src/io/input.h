/* input.h - the bytes of a model: a file's, a block of memory, or what a caller's function reads. */
#ifndef CM_IO_INPUT_H
#define CM_IO_INPUT_H

#include <consistency/model.h>

#include "io/file.h"

/* What becomes of the bytes once they are understood. */
typedef enum cm_input_access {
    CM_INPUT_IN_PLACE, /* used where they are: the mapped file, the caller's memory */
    CM_INPUT_COPIED,   /* copied into memory of the context                         */
    CM_INPUT_FETCHED   /* read again each time: the file stays open                 */
} cm_input_access;

typedef struct cm_input {
    cm_context *context;
    char *name; /* the path, or "memory" or "stream" in messages */
    cm_input_access access;
    int is_folder; /* without bytes of its own: a format may know what to do with its name */
    size_t size;
    /* One of the three is where the bytes come from. */
    cm_file_reader file;
    const unsigned char *memory;
    cm_reader reader;
    cm_mapping mapping;        /* of the file, or nothing */
    unsigned char *copy;       /* or nothing              */
    const unsigned char *held; /* the bytes from held_from on, where cmi_input_hold was called */
    size_t held_from;
    int as_data;           /* whatever the tensors are they are listed: no model is asked for       */
    const char *weights;   /* which of several sets is wanted (NULL: the format's choice); while it is opened */
    cm_progress_fn report; /* NULL, or asked while copies are made: bytes done, of `work` in all */
    void *report_user;
    uint64_t work;
} cm_input;

/* Each leaves `out` closed when it fails. */
cm_status cmi_input_file(cm_context *context, const char *path, cm_input_access access, cm_input *out);
cm_status cmi_input_memory(cm_context *context, const char *name, const void *bytes, size_t size,
                           cm_input_access access, cm_input *out);
/* Copied, or fetched as long as the caller's function stands. */
cm_status cmi_input_reader(cm_context *context, const cm_reader *reader, cm_input_access access, cm_input *out);
void cmi_input_close(cm_input *input);

/* Exactly these bytes; IO where there are fewer or the caller's function fails. */
cm_status cmi_input_read(const cm_input *input, size_t offset, void *out, size_t size);
/* The bytes from `offset` to the end, as long as the input is open; *out is NULL where they are fetched. */
cm_status cmi_input_hold(cm_input *input, size_t offset, const unsigned char **out);
/* The end of opening: what is neither held nor to be fetched is not read any more, so the file is closed and the
 * caller's function is not called again. */
void cmi_input_settle(cm_input *input);
/* CANCELLED when the caller asks to stop. */
cm_status cmi_input_report(const cm_input *input, uint64_t done);
/* Whether the pointer is into the mapped file. */
int cmi_input_is_mapped(const cm_input *input, const void *pointer);

#endif
