/* torch.h - what PyTorch's two containers share: storages, views of them, and which tensors are the model's.
 *
 * A storage is a block of elements in the file; a tensor is a view of one, with an offset, a size and strides in
 * elements, and several may share a storage.  A view that lies in memory as a tensor of ours does is used where it
 * is; any other one is gathered when it is read. */
#ifndef CM_IO_TORCH_H
#define CM_IO_TORCH_H

#include <jansson.h>

#include "io/pickle.h"

typedef struct cm_torch_storage {
    const char *key; /* borrowed from the pickle */
    cm_tensor_type type;
    size_t count; /* elements */
    size_t at;    /* in the input, once `placed` */
    int placed;
    size_t bytes; /* of its stream, which `at` is the place of until it is read */
} cm_torch_storage;

typedef struct cm_torch_view {
    size_t at; /* the first element, in the input */
    int64_t strides[CM_TENSOR_RANK];
    int gathered; /* does not lie in the file as in memory */
} cm_torch_view;

/* The state of a list of tensors of either container. */
typedef struct cm_torch {
    cm_pickle *pickle;
    cm_torch_storage *storages; /* by key, each once */
    size_t n_storages;
    cm_torch_view *views; /* cm_tensor.offset is the index */
    size_t listed;        /* bytes of all tensors that were added */
    int swapped;          /* elements are big-endian */
    int nested;           /* storages stand in streams of their own */
    char weights[192];    /* what was chosen (cm_torch_choice.name) */
    char prefix[128];     /* and what was taken off its names       */
    json_t *metadata;     /* of a file that we have written, or NULL */
} cm_torch;

/* Fills t->state in; it ends with cmi_torch_close. */
cm_status cmi_torch_begin(cm_tensors *tensors, size_t pickle_size, cm_torch **out);
/* The storages that the pickle has named; FORMAT where one key has two classes or lengths, or where they stand in
 * streams of their own and not beside the pickle, or the other way round (torch->nested). */
cm_status cmi_torch_collect(cm_tensors *tensors);
/* Reads the legacy stream that holds one storage and nothing else. */
cm_status cmi_torch_read_stream(const cm_tensors *tensors, cm_torch_storage *storage, int *swapped);
/* Whether a pickle begins with the magic number of legacy streams. */
int cmi_torch_is_stream(const unsigned char *first, size_t n);
cm_torch_storage *cmi_torch_find(const cm_torch *torch, const char *key);
/* The tensors of the unpickled object, once every storage is placed. */
cm_status cmi_torch_list(cm_tensors *tensors, cm_pickled *top);

/* What that is made of: room for n tensors, and one more of them, by a value that describes it. */
cm_status cmi_torch_reserve(cm_tensors *tensors, size_t n);
cm_status cmi_torch_add(cm_tensors *tensors, const char *name, const cm_pickled *value);

/* Where the object is read as data.  All its tensors by their paths, "state.0.exp_avg", where the choice among them
 * was refused with that status; it is given back where there are none.  Then the sets and what stands beside. */
cm_status cmi_torch_list_all(cm_tensors *tensors, const cm_pickled *top, cm_status refused);
cm_status cmi_torch_describe(cm_tensors *tensors, const cm_pickled *top);

cm_status cmi_torch_read(const cm_tensor *tensor, void *out);
void cmi_torch_forget(const cm_tensor *tensor);
void cmi_torch_close(cm_tensors *tensors);

/* The object with the tensors of each module of it in the module's place, a dictionary under the names of its
 * state_dict; and the module that `name` stands for, or NULL. */
cm_status cmi_torch_flatten(const cm_tensors *tensors, cm_pickled *top, cm_pickled **out);
const cm_pickled *cmi_torch_module(const cm_pickled *top, const char *name);
/* What a module of EDM's code is, as notes and as the JSON of a native file's metadata (edm_network.c). */
cm_status cmi_edm_describe(cm_tensors *tensors, const cm_pickled *module, const cm_pickled *top);

/* Which dictionary of the object holds the weights, and what their names begin with there. */
typedef struct cm_torch_choice {
    const cm_pickled *tensors;
    char prefix[128];
    char name[192]; /* "ema", "net_ema", "the whole file" */
} cm_torch_choice;

/* By the caller's wish (input->weights), else the average where there is one. */
cm_status cmi_torch_choose(const cm_input *input, const cm_pickled *top, cm_torch_choice *out);
/* The names that input->weights could be. */
cm_status cmi_torch_add_sets(cm_tensors *tensors, const cm_pickled *top);
int cmi_torch_is_optimizer(const cm_pickled *top);

#endif
