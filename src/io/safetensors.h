/* safetensors.h - the container of native models (networks F.5).
 *
 * 8 bytes little-endian length N, N bytes of JSON, then the data, which the
 * tensors have to tile exactly.  Everything is checked before it is used. */
#ifndef CM_IO_SAFETENSORS_H
#define CM_IO_SAFETENSORS_H

#include <jansson.h>

#include "io/file.h"

/* A header is read as it stands, token by token, so it takes its own size and at most 20 MB for its tensors and
 * metadata, whatever it holds; reading stops at the first thing over a limit. */
enum {
    CM_TENSOR_RANK = 8,
    CM_TENSOR_NAME = 4096,
    CM_TENSORS_MAX = 65536,
    CM_TENSORS_MAX_METADATA = 65536,
    CM_SAFETENSORS_HEADER = 100000000
};

/* Types the format knows; values of ours where we compute with them. */
typedef enum cm_tensor_type {
    CM_TENSOR_BOOL,
    CM_TENSOR_U8,
    CM_TENSOR_I8,
    CM_TENSOR_U16,
    CM_TENSOR_I16,
    CM_TENSOR_F16,
    CM_TENSOR_BF16,
    CM_TENSOR_U32,
    CM_TENSOR_I32,
    CM_TENSOR_F32,
    CM_TENSOR_U64,
    CM_TENSOR_I64,
    CM_TENSOR_F64
} cm_tensor_type;

typedef struct cm_tensor {
    const char *name; /* borrowed from the header */
    cm_tensor_type type;
    int rank;
    int64_t shape[CM_TENSOR_RANK];
    size_t count, bytes;
    const unsigned char *data; /* not aligned; NULL when opened for CM_TENSORS_FETCHED */
    size_t offset;             /* in the data; not used when writing */
} cm_tensor;

typedef struct cm_tensor_note {
    const char *key, *value; /* borrowed from the header */
} cm_tensor_note;

/* Where the data of the tensors is. */
typedef enum cm_tensor_access {
    CM_TENSORS_MAPPED, /* in the mapped file, which has to stay as it is */
    CM_TENSORS_COPIED, /* in memory of the context                       */
    CM_TENSORS_FETCHED /* nowhere: cm_safetensors_fetch                  */
} cm_tensor_access;

typedef struct cm_safetensors {
    cm_context *context;
    cm_file_reader reader; /* open for CM_TENSORS_FETCHED */
    size_t data_begin;     /* in the file */
    cm_mapping mapping;    /* of the whole file, or nothing */
    unsigned char *copy;
    char *header;             /* decoded in place            */
    cm_tensor_note *metadata; /* in the order of their keys  */
    size_t metadata_count;
    cm_tensor *tensors; /* in the order of their data */
    size_t count;
} cm_safetensors;

/* Mapped. */
cm_status cm_safetensors_open(cm_context *context, const char *path, cm_safetensors *out);
cm_status cm_safetensors_open_as(cm_context *context, const char *path, cm_tensor_access access, cm_safetensors *out);
/* The same from memory that the caller keeps (`name` for messages). */
cm_status cm_safetensors_parse(cm_context *context, const char *name, const void *data, size_t size,
                               cm_safetensors *out);
/* Reads the bytes of a tensor of a file opened for that. */
cm_status cm_safetensors_fetch(const cm_safetensors *file, const cm_tensor *tensor, void *out);
void cm_safetensors_close(cm_safetensors *file);

/* NULL when there is no such tensor or entry. */
const cm_tensor *cm_safetensors_find(const cm_safetensors *file, const char *name);
const char *cm_safetensors_metadata(const cm_safetensors *file, const char *key);

const char *cm_tensor_type_name(cm_tensor_type type);
size_t cm_tensor_type_size(cm_tensor_type type);
/* Widened to float32; integers and F64 are converted. */
void cm_tensor_widen(const cm_tensor *tensor, float *out);

/* Writes tensors in the order given, the header padded so that the data starts
 * at a multiple of 8.  `metadata` is an object of strings or NULL. */
cm_status cm_safetensors_write(cm_context *context, const char *path, int overwrite, const json_t *metadata,
                               const cm_tensor *tensors, size_t count);

#endif
