/* features.h - a feature network at work: images in, rows of features and logits out. */
#ifndef CM_METRICS_FEATURES_H
#define CM_METRICS_FEATURES_H

#include <consistency/metrics.h>

#include "tensor/images.h"

/* `network` NULL: the one whose tensors the file has. */
cm_status cmi_features_open(cm_context *context, const char *path, const char *network, cm_features **out);
void cmi_features_free(cm_features *features);
void cmi_features_describe(const cm_features *features, cm_features_info *out);
/* The memory that images are given back to, and whose threads work. */
cm_context *cmi_features_context(const cm_features *features);
/* Images that the network takes; rows: of each output of nets/feature_net.h where they go, or NULL. */
cm_status cmi_features_run(cm_features *features, const cm_view *images, float *const *rows);

/* features_file.c: rows and labels (or NULL) of n images of the network that `info` describes. */
cm_status cmi_features_write(cm_context *context, const cm_features_info *info, const char *path, size_t n,
                             float *const *rows, const int32_t *labels, int32_t overwrite);
/* rows NULL: only *n.  ARGUMENT: another network or other weights; FORMAT: no file of features. */
cm_status cmi_features_read(cm_context *context, const cm_features_info *info, const char *path, size_t *n,
                            float *const *rows, int32_t *labels);

#endif
