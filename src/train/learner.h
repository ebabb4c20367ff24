/* learner.h - a batch to gradients: slices over threads, networks for the
 * objective, and a sum whose bits do not depend on the threads.
 *
 * A batch is cut into slices of fixed size (the last one padded with images of
 * no weight).  A worker takes a slice through the whole objective with plans of
 * one thread each; the slices' gradients of a parameter are added in their order, as
 * soon as they are there. */
#ifndef CM_TRAIN_LEARNER_H
#define CM_TRAIN_LEARNER_H

#include "base/call.h"
#include "base/turns.h"
#include "diffusion/model.h"
#include "graph/plan.h"
#include "train/gradient_sum.h"
#include "train/objective.h"
#include "train/perceptual_distance.h"

/* Values of all parameters in one block (cmi_param_offsets) and their packed copies. */
typedef struct cm_weight_set {
    float *values;
    int folded; /* holds folded values too */
    cm_param_source *sources;
    cm_params *params;
} cm_weight_set;

typedef struct cm_learner_options {
    int threads;
    size_t batch, slice; /* images of a usual batch that this rank has, of a slice */
    cm_share share;      /* of the ranks */
    cm_peers *peers;     /* borrowed */
    size_t views;        /* pairs of an image: the networks that learn take slice x views at a time */
    double dropout;
    int recompute;
    cm_arithmetic arithmetic;
    cm_objective_axis axis;                 /* of the objective                                   */
    int differentiates;                     /* ... likewise: there are tangents                   */
    int learns_through;                     /* ... and the gradient passes through them           */
    int heads;                              /* ... networks answer two images: F itself; else D   */
    int evaluates_target;                   /* ...                                                */
    int separate_target;                    /* ... whose weights are not the online ones          */
    const cm_perceptual_distance *distance; /* borrowed; NULL: the distance is of no network */
    int first_stage;                        /* the teacher is the frozen network of a first stage */
    int separate_teacher;                   /* the teacher's weights will change: they are copied */
    int32_t weight_net;                     /* CM_WEIGHT_NET_* */
    uint64_t seed;                          /* of what that begins with */
} cm_learner_options;

/* The adaptive weight of the loss, which is trained beside the network. */
typedef struct cm_weighing {
    cm_weight_net net;
    int32_t size; /* trained values; 0: there is none */
    float values[CM_WEIGHT_NET_MOST], gradient[CM_WEIGHT_NET_MOST];
    double exact[CM_WEIGHT_NET_MOST], sum[CM_WEIGHT_NET_MOST]; /* of the batch at work: values, gradient */
    double level[CM_SHARD_LEVELS][CM_WEIGHT_NET_MOST];         /* sums of shards that wait, as of gradients */
} cm_weighing;

typedef struct cm_learner_worker cm_learner_worker;

typedef struct cm_learner {
    cm_context *context;
    cm_learner_options options;
    const cm_model *model;               /* borrowed: network and image */
    cm_model *teacher;                   /* borrowed, or NULL            */
    cm_precond precond, teacher_precond; /* sigma_min as float32; tables borrowed */
    cm_graph *graph;                     /* of the network that learns, with dropout */
    cm_graph *folded;                    /* the same in the form that runs (nets/fold.h), or NULL: as it is */
    size_t floats, *offsets;             /* of the file's parameters; folded ones are behind */
    size_t all_floats;
    void **fold_scratch; /* of each of the threads that fold */
    int folders;
    cm_weight_set online, target, teacher_set; /* the last two: only where they are separate */
    cm_weight_set first;                       /* frozen, in the form that runs: of a first stage */
    cm_weights *first_weights;                 /* ... bound to the target's plan */
    cm_plan *train_plan, *target_plan, *teacher_plan, *tangent_plan; /* the last three: NULL where nobody asks */
    cm_weights *train_weights, *target_weights, *teacher_weights, *tangent_weights;
    cm_unpacking *unpacking;
    cm_learner_worker *workers;
    int n_workers;
    cm_turns *turns; /* of each parameter: the slices add their gradients in order */
    float *gradient; /* sum of the slices' blocks, then plain tensors in its first `floats` values */
    cm_gradient_sum *sum;
    double *records; /* of a step: what the ranks tell each other beside gradients (learner_peers.c) */
    size_t n_records;
    size_t image_size;
    double sigma_data; /* of the objective */
    cm_weighing weighing;
} cm_learner;

/* precond: what the network that learns is trained as. */
cm_status cmi_learner_create(const cm_model *model, const cm_precond *precond, cm_model *teacher,
                             const cm_objective_settings *settings, const cm_learner_options *options,
                             cm_learner **out);
void cmi_learner_free(cm_learner *learner);
/* cmi_learner_bytes of a learner that is not made: plans without weights and memory.
 * *floats: of a block of all parameters. */
cm_status cmi_learner_estimate(const cm_model *model, const cm_precond *precond, cm_model *teacher,
                               const cm_learner_options *options, size_t *bytes, size_t *floats);

typedef struct cm_learner_batch {
    size_t all;            /* images of the step: any number from 1    */
    size_t begin, n;       /* of them this rank's: n from number `begin` on (share.h), whose data follow */
    const float *images;   /* n x C x H x W                            */
    const int32_t *labels; /* or NULL = -1                             */
    const float *augment;  /* n x augment_dim, or NULL                 */
    uint64_t seed, first;  /* image i of the n has number first + i x views in the run */
    double label_dropout;
    const unsigned char *chosen; /* n marks for the objective, or NULL */
    size_t n_chosen;             /* of the step                        */
    double *loss;                /* out: of each image of the step               */
    const char *what;            /* phrase for messages of the group, "the gradients of step 7" */
    const cm_call *call;         /* looked at before every evaluation           */
} cm_learner_batch;

/* learner->gradient = d mean(loss) / d parameters, and learner->weighing.gradient likewise. */
cm_status cmi_learner_run(cm_learner *learner, const cm_objective *objective, const cm_objective_settings *settings,
                          const cm_learner_batch *batch);

/* Forced normalisation of a set's weights, where the network has rows of one length (nets/unit_rows.h): once in the
 * beginning and after every update, before refreshing. */
cm_status cmi_learner_force(cm_learner *learner, cm_weight_set *set);
/* After the values of a set have changed. */
cm_status cmi_learner_refresh(cm_learner *learner, cm_weight_set *set);

/* Bytes of weights, gradients, packed copies and activations. */
size_t cmi_learner_bytes(const cm_learner *learner);
/* Name of the first parameter with a gradient that is not finite, NULL for none. */
const char *cmi_learner_nonfinite(const cm_learner *learner);

/* What an image's streams are numbered: apart from the samplers' images. */
static inline uint64_t cmi_learner_stream(uint64_t image)
{
    return image | 1ull << 63;
}
/* Draws of an image beside dropout's masks. */
enum {
    CM_DRAW_NOISE = 0,
    CM_DRAW_UNIFORM = 1,
    CM_DRAW_NORMAL = 2,
    CM_DRAW_LABEL = 3,
    CM_DRAW_AUGMENT = 4,
    CM_DRAW_MORE_UNIFORM = 5,
    CM_DRAW_MORE_NORMAL = 6,
    CM_DRAW_CHOICE = 7
};

#endif
