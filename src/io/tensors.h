/* tensors.h - the tensors of a model by name, whatever format holds them.
 *
 * A format is one row: `recognise` looks at the first bytes (or at the name of a folder), `open` lists the
 * tensors and the metadata, `read` gives the values of a tensor that does not lie in memory as the list says.
 * What a tensor is called, its shape, type and order are what the rest of the library asks for: PyTorch's
 * (docs/model-file.md).  A format that stores kernels as height, width, in, out, compresses them or holds
 * doubles lists the shape it gives, leaves `data` NULL and rearranges in `read`.  One that knows its network
 * in another form writes the JSON of the native file's metadata; one that holds several sets of weights lists
 * the tensors of one. */
#ifndef CM_IO_TENSORS_H
#define CM_IO_TENSORS_H

#include "io/input.h"

enum {
    CM_TENSOR_RANK = 8,
    CM_TENSOR_NAME = 4096, /* bytes */
    CM_TENSORS_MAX = 65536,
    CM_TENSORS_MAX_METADATA = 65536
};

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
/* "F32"; 4. */
const char *cmi_tensor_type_name(cm_tensor_type type);
size_t cmi_tensor_type_size(cm_tensor_type type);
/* -1 when there is no type of that name. */
int cmi_tensor_type_of(const char *name);

typedef struct cm_tensors cm_tensors;

/* Row-major, little-endian. */
typedef struct cm_tensor {
    const char *name; /* borrowed */
    cm_tensor_type type;
    int rank;
    int64_t shape[CM_TENSOR_RANK];
    size_t count, bytes;
    const unsigned char *data; /* not aligned; NULL: the format reads it      */
    size_t offset;             /* in the input, where the format has use for it */
    const cm_tensors *from;    /* NULL where there is no file                 */
} cm_tensor;

typedef struct cm_tensor_note {
    const char *key, *value; /* borrowed */
} cm_tensor_note;

/* Entries of the metadata that formats write about a file, in words for people but for the last two. */
#define CM_NOTE_ABOUT "read.about"     /* what it is: "a snapshot of EDM's training: EDMPrecond of SongUNet" */
#define CM_NOTE_ASSUMED "read.assumed" /* what it does not say and was taken as in the published models */
#define CM_NOTE_UNSUPPORTED "read.unsupported" /* why this library cannot run the network in it                 */
#define CM_NOTE_PUBLISHED "read.published"     /* one of the following: decides the default noise levels       */
#define CM_NOTE_PREFIX "read.prefix"           /* what all names began with in the file; here they do not */
#define CM_NOTE_GRID "read.grid"               /* points of the training's grid of noise levels: "40"           */

#define CM_PUBLISHED_CD "cd"             /* distilled from a diffusion model      */
#define CM_PUBLISHED_CT "ct"             /* trained without one                   */
#define CM_PUBLISHED_TEACHER "teacher"   /* a diffusion model that is distilled   */
#define CM_PUBLISHED_CIFAR "cifar"       /* openai/consistency_models_cifar10     */
#define CM_PUBLISHED_CIFAR_CD "cifar-cd" /* of those, distilled                   */
#define CM_PUBLISHED_ECT "ect"           /* Geng et al. 2024                      */
#define CM_PUBLISHED_CMT "cmt"           /* Hu et al. 2025, before ECT            */
#define CM_PUBLISHED_TCM "tcm"           /* Lee et al. 2024                       */
#define CM_PUBLISHED_SCM "scm"           /* Lu and Song 2024                        */
#define CM_PUBLISHED_EDM "edm"           /* a diffusion model of EDM's code       */
#define CM_PUBLISHED_EDM2 "edm2"         /* a diffusion model of EDM2's code      */
#define CM_PUBLISHED_SID "sid"           /* Zhou et al. 2024: one level           */

typedef struct cm_tensor_format {
    const char *name;
    /* Of the first n bytes, at most 4096; more can be read from the input. */
    int (*recognise)(const cm_input *input, const unsigned char *first, size_t n);
    /* Fills in tensors, metadata and state; what it leaves when it fails is closed. */
    cm_status (*open)(cm_tensors *tensors);
    /* All bytes of a tensor; from the input where `open` has called cmi_input_hold. */
    cm_status (*read)(const cm_tensor *tensor, void *out);
    void (*close)(cm_tensors *tensors);
    /* A tensor that `read` gives will not be asked for again soon (NULL: nothing is held for it). */
    void (*forget)(const cm_tensor *tensor);
    int has_sets; /* a file may hold several sets of weights: `open` looks at input.weights */
} cm_tensor_format;

extern const cm_tensor_format cmi_format_safetensors, cmi_format_torch_zip, cmi_format_torch_legacy,
    cmi_format_edm_pickle, cmi_format_flax, cmi_format_diffusers;

struct cm_tensors {
    cm_context *context;
    const cm_tensor_format *format;
    cm_input input;
    cm_tensor *tensors;
    size_t count, capacity;
    cm_tensor_note *metadata;
    size_t metadata_count, metadata_capacity;
    /* What a file has that holds several sets of weights: their names, borrowed. */
    const char **sets;
    size_t sets_count, sets_capacity;
    size_t checksums, without_checksum; /* found right while it was opened; parts that carry none            */
    char *refusal;                      /* why these are no model's weights (input.as_data), or NULL         */
    int of_optimizer;                   /* with a refusal: the moments of an optimizer                       */
    void *state;                        /* the format's */
};

/* Finds the format and opens; the input is taken over, also when that fails.  `out` stays where it is until it is
 * closed: tensors point to it. */
cm_status cmi_tensors_open(cm_input *input, cm_tensors *out);
/* The same by formats of the caller's: NULL ends them, the first says what is wrong with what nobody recognises. */
cm_status cmi_tensors_open_as(const cm_tensor_format *const *formats, cm_input *input, cm_tensors *out);
cm_status cmi_tensors_open_file(cm_context *context, const char *path, cm_input_access access, cm_tensors *out);
void cmi_tensors_close(cm_tensors *tensors);

/* NULL when there is no such tensor or entry. */
const cm_tensor *cmi_tensors_find(const cm_tensors *tensors, const char *name);
const char *cmi_tensors_metadata(const cm_tensors *tensors, const char *key);

/* The bytes as they are; widened to float32 (integers and F64 are converted). */
cm_status cmi_tensor_fetch(const cm_tensor *tensor, void *out);
cm_status cmi_tensor_read(const cm_tensor *tensor, float *out);
/* How many values are no number, and how many infinite; as_float32: as a weight is used, where doubles are rounded.
 */
cm_status cmi_tensor_count_nonfinite(const cm_tensor *tensor, int as_float32, uint64_t *nans, uint64_t *infinities);
/* The pages of the mapped file that hold it may leave memory: they are read again when somebody asks. */
void cmi_tensor_forget(const cm_tensor *tensor);

/* For formats: one element more, of rank 0 and without data; LIMIT, MEMORY.  Texts are borrowed. */
cm_status cmi_tensors_add(cm_tensors *tensors, const char *name, cm_tensor **out);
cm_status cmi_tensors_add_metadata(cm_tensors *tensors, const char *key, const char *value);
/* A name that input.weights could be. */
cm_status cmi_tensors_add_set(cm_tensors *tensors, const char *name);

#endif
