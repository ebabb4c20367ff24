/* write_tensors.h - what the writers of model files share: the bytes of a tensor, pieces of them, and progress. */
#ifndef CM_IO_WRITE_TENSORS_H
#define CM_IO_WRITE_TENSORS_H

#include "io/tensors.h"

/* Who is asked while the weights are written, over all files of a call. */
typedef struct cm_write_report {
    cm_progress_fn progress; /* NULL: nobody */
    void *user;
    uint64_t done, total; /* bytes of weights */
} cm_write_report;

/* CANCELLED when the caller wants to stop; `report` may be NULL. */
cm_status cmi_write_ask(const cm_write_report *report, const char *path);
/* Bytes of weights, with questions before them and between their pieces. */
cm_status cmi_write_weights(cm_file_writer *writer, cm_write_report *report, const unsigned char *bytes, size_t size);

/* The bytes of a tensor where they lie, or a copy: *copy is to be freed. */
cm_status cmi_write_fetch(cm_context *context, const cm_tensor *tensor, const unsigned char **bytes,
                          unsigned char **copy);
/* Fetches and writes. */
cm_status cmi_write_tensor(cm_file_writer *writer, cm_write_report *report, const cm_tensor *tensor);

#endif
