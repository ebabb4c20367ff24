/* augment.h - flips, and the augmentation pipeline of Karras et al. 2022
 * (algorithms 4.11), with the labels that the network is given. */
#ifndef CM_DATA_AUGMENT_H
#define CM_DATA_AUGMENT_H

#include "base/context.h"
#include "base/rng.h"

/* Labels of the whole pipeline, and of that without mirroring top-bottom and turning, which MeanFlow and SoFlow have.
 */
enum { CM_AUGMENT_LABELS = 9, CM_AUGMENT_FEWER = 6 };

typedef struct cm_augmenter cm_augmenter;

/* p: probability of each geometric change, 0 = none of them; flip: probability of
 * mirroring left-right, without a label; labels: which pipeline, by its number of them. */
cm_status cmi_augmenter_create(cm_context *context, int32_t channels, int32_t height, int32_t width, double p,
                               double flip, int32_t labels, cm_augmenter **out);
void cmi_augmenter_free(cm_augmenter *augmenter);

/* in to out (planes of C x H x W, different memory); labels gets as many values as the pipeline has. */
void cmi_augmenter_image(cm_augmenter *augmenter, const cm_stream *stream, const float *in, float *out,
                         float *labels);

/* The resampling alone: G is 3 x 3, from centred output to centred input
 * positions. */
void cmi_augmenter_resample(cm_augmenter *augmenter, const double G[9], const float *in, float *out);

#endif
