/* evaluating.h - a set of images that is compared: pictures, statistics of a file, or a model that is sampled from.
 */
#ifndef EVALUATING_H
#define EVALUATING_H

#include "rounds.h"
#include "sampling.h"

/* What of a set is asked for besides mean and covariance of its features. */
typedef struct wanted {
    int images;  /* images have to be there: statistics alone will not do */
    int values;  /* features of each image are held                      */
    int logits;  /* ... and its logits                                   */
    int spatial; /* statistics of the spatial features                   */
    int scores;  /* logits without bias instead of logits                */
} wanted;

typedef struct side_options {
    int resize;               /* cut and scale pictures to the network's size */
    uint64_t limit;           /* images at most; 0: all                       */
    int keep;                 /* rows of spatial features too, to be written */
    uint64_t samples;         /* images that are drawn of a model             */
    const sampling *sampling; /* how                                          */
    cm_progress_fn progress;  /* instead of a line of its own; may be NULL    */
    void *progress_user;
    ranks *ranks; /* that share the images; NULL: this process is alone */
    int retry;    /* rounds.h */
} side_options;

typedef struct side {
    const char *path;
    wanted wanted;
    cm_statistics *given, *given_spatial; /* of a file                  */
    cm_dataset *set;                      /* pictures, or ...           */
    cm_model *model;                      /* ... what they are drawn of */
    cm_sampler *sampler;
    sampling_nfe nfe;     /* of what was drawn */
    cm_dataset_info info; /* of a model: sizes and classes alone */
    uint64_t n;
    uint64_t held;                    /* rows in a file of features, of which the first n count */
    int kept;                         /* features of a file: no images have to be looked at */
    float *values, *logits, *spatial; /* of each image where they are wanted, else NULL     */
    int32_t *labels;
    cm_statistics *gathered, *gathered_spatial;
} side;

/* Finds out what s->path is and opens it for a network. */
cm_status side_open(cli *c, cm_context *context, const cm_features *network, const cm_features_info *net,
                    const side_options *o, side *s);
/* Writes its features as a file that stands for it afterwards. */
cm_status side_keep(const side *s, const cm_features *network, const char *path, int overwrite);
/* Features of all its images, where it has images; of several processes rank 0 has them. */
cm_status side_gather(cli *c, cm_context *context, side *s, cm_features *network, const cm_features_info *net,
                      const side_options *o, int quiet);
/* What was gathered is gone, so that samples of other noise levels can be. */
void side_forget(side *s);
void side_close(side *s);

/* A line of what the set is, which ranks compare. */
void side_describe(const side *s, char *text, size_t size);

/* Whether there are images, not statistics alone. */
static inline int side_has_images(const side *s)
{
    return s->set || s->model || s->kept;
}
static inline const cm_statistics *side_statistics(const side *s, int spatial)
{
    if (spatial) return s->given_spatial ? s->given_spatial : s->gathered_spatial;
    return s->given ? s->given : s->gathered;
}

#endif
