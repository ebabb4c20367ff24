/* model.h - a loaded network: its file, its weights and the graph of D(x; sigma). */
#ifndef CM_DIFFUSION_MODEL_H
#define CM_DIFFUSION_MODEL_H

#include <pthread.h>
#include <stdatomic.h>

#include <consistency/model.h>

#include "diffusion/defaults.h"
#include "diffusion/precond.h"
#include "graph/params.h"
#include "nets/checkpoint.h"
#include "nets/net.h"

/* Inputs of the graph in order; scalars are one float an image. */
enum {
    CM_IN_X,
    CM_IN_C_IN,
    CM_IN_C_SKIP,
    CM_IN_C_OUT,
    CM_IN_TIME,
    CM_IN_LABEL,
    CM_IN_AUGMENT,
    CM_IN_SECOND,
    CM_IN_TOLD
};
/* Outputs: the raw network F, and D (the same value for precond none). */
enum { CM_OUT_F, CM_OUT_D };

struct cm_model {
    cm_context *context;
    atomic_int references;
    cm_model_file file;
    cm_net_config net;
    cm_precond precond;
    cm_sampling_defaults sampling;
    int32_t channels, height, width; /* of the images          */
    int32_t out_channels;            /* of D                   */
    cm_graph *graph;                 /* parameters are the file's */
    cm_graph *inference;             /* the same function; a few more follow from those (nets/fold.h) */
    cm_param_source *sources;        /* one per parameter of `inference` */
    struct cm_folded *folded;        /* behind the last sources          */
    cm_params *params;               /* for plans of either graph        */
    char *config_text;
    /* A model that is not from a file: all values in one block (cmi_param_offsets),
     * and a description of each tensor in it. */
    float *block;
    cm_tensor *tensors;
    pthread_mutex_t lock;         /* of the members below   */
    struct cm_denoiser *denoiser; /* of cm_model_denoise */
    /* of cm_model_denoise_tangent: with tangents of x (1), of sigma (2), of the second time (4) and their sums */
    struct cm_denoiser *tangents[8];
};

/* A model of the context (NULL: one of its own) without anything in it, then everything that follows from the
 * configuration in m->file.config, then the configuration as text. */
cm_status cmi_model_new(cm_context *context, cm_model **out);
cm_status cmi_model_configure(cm_model *model);
cm_status cmi_model_keep_config(cm_model *model);

/* The graph of D for images of the given size; see the enums above.  Folded: attention of one head in
 * its short form (nets/fold.h), derived parameters behind the file's. */
cm_status cmi_model_describe(cm_context *context, const cm_net_config *net, const cm_precond *precond, int32_t height,
                             int32_t width, double dropout, int folded, cm_graph **out);
/* Both graphs of a model whose configuration stands, and memory for the sources. */
cm_status cmi_model_describe_both(cm_model *model);
/* All of this for a model whose file's tensors are open: its configuration (config_json as in cm_load_options), the
 * graphs, and every parameter found among the tensors. */
cm_status cmi_model_fit(cm_model *model, const char *config_json);
/* The parameters, of the file's sources. */
cm_status cmi_model_bind(cm_model *model);

/* Where the bytes of a model come from: one of the three. */
typedef struct cm_model_source {
    const char *path;
    const cm_reader *reader;
    const void *bytes;
    size_t size; /* of `bytes` */
} cm_model_source;
cm_status cmi_model_open(cm_context *context, const cm_model_source *source, const cm_load_options *options,
                         cm_model **out);
/* From a configuration ({"network", "precond"[, "image", "classes", "training", "sampling"]}) instead of
 * a file: fresh weights of `seed` when values is NULL, else a copy of a block
 * laid out by cmi_param_offsets. */
cm_status cmi_model_make(cm_context *context, const json_t *config, uint64_t seed, const float *values,
                         cm_model **out);
/* How many values such a model has, without making it. */
cm_status cmi_model_parameters(cm_context *context, const json_t *config, uint64_t *out);
/* All values but constants into such a block. */
cm_status cmi_model_values(const cm_model *model, float *block);
/* Writes a file or a folder of the format that the options say; they are checked there. */
cm_status cmi_model_write(const cm_model *model, const char *path, const cm_save_options *options);
void cmi_model_retain(cm_model *model);
void cmi_model_release(cm_model *model);
/* 1 when label -1 ("no label") is an error. */
int cmi_model_needs_label(const cm_model *model);
/* ARGUMENT for a label the model does not have; NULL is all -1. */
cm_status cmi_model_check_labels(const cm_model *model, const int32_t *labels, size_t n);

#endif
