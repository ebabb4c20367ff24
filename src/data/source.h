/* source.h - a set of pictures by number, whatever holds them.
 *
 * A kind of source is one table: open recognises a path and lists what is there;
 * picture gives number i as 8-bit pixels. */
#ifndef CM_DATA_SOURCE_H
#define CM_DATA_SOURCE_H

#include <consistency/dataset.h>

#include "io/directory.h"
#include "io/picture.h"

typedef struct cm_source cm_source;

/* The largest dataset.json that is read. */
enum { CM_SOURCE_JSON = 256 << 20 };

typedef struct cm_source_kind {
    const char *name;
    /* *is becomes 1 when the path, a folder or a regular file, is of this kind (looked at in order). */
    cm_status (*recognise)(cm_context *context, const char *path, cm_path_kind kind, int *is);
    /* Sets count, labels where the container has them, names, state. */
    cm_status (*open)(cm_source *source, const char *path);
    void (*close)(cm_source *source);
    /* Decodes picture i; channels 1 or 3 as wanted, by cmi_picture_to_gray where colour
     * is stored. */
    cm_status (*picture)(cm_source *source, size_t i, int32_t channels, cm_picture *out);
    /* The file of picture i, in memory of the context; NULL where pictures are no files. */
    cm_status (*bytes)(cm_source *source, size_t i, unsigned char **data, size_t *size);
} cm_source_kind;

/* Why a file of a folder or an archive is no picture of the set. */
typedef enum cm_left_reason {
    CM_LEFT_FORMAT, /* another picture format             */
    CM_LEFT_OTHER,  /* no picture                         */
    CM_LEFT_LOST,   /* a link that leads nowhere          */
    CM_LEFT_AGAIN,  /* a link to what is listed anyway    */
    CM_LEFT_TWICE   /* one of the same name comes later   */
} cm_left_reason;
typedef struct cm_left_out {
    char *name;
    cm_left_reason reason;
} cm_left_out;
enum { CM_LEFT_NAMES = 10000 }; /* that are kept at most */

struct cm_source {
    cm_context *context;
    const cm_source_kind *kind;
    size_t count;
    char **names;                /* of each picture, relative and cleaned; NULL where there are none */
    char **paths;                /* as the container has them; NULL: like the name       */
    uint64_t *locations, *sizes; /* of files: where it lies in an archive, bytes */
    int32_t *labels;             /* of each picture, or NULL: from the names             */
    const char *labels_from;     /* "labels file"; as in cm_dataset_info          */
    char *dataset_json;          /* its text, or NULL                                  */
    size_t json_folder;          /* bytes of every name that are the folder it lies in */
    uint64_t bytes;              /* of all pictures, for the fingerprint                 */
    int raw;                     /* 1: pixels are taken as they are, no crop             */
    cm_left_out *left;           /* the first left_names of what was left out */
    size_t left_names;
    uint64_t left_all;
    void *state;
};

extern const cm_source_kind cmi_source_folder, cmi_source_tar, cmi_source_zip, cmi_source_cifar, cmi_source_idx,
    cmi_source_npz;

/* Finds the kind and opens. */
cm_status cmi_source_open(cm_context *context, const char *path, cm_source **out);
void cmi_source_close(cm_source *source);

/* Shared by kinds that hold files: a JPEG or PNG in memory. */
cm_status cmi_source_decode(cm_source *source, const char *name, const void *data, size_t size, int32_t channels,
                            cm_picture *out);

/* FORMAT when the file is known to be something else: "PATH: not EXPECTED but ...". */
cm_status cmi_source_refuse_foreign(const char *path, const char *expected);

#endif
