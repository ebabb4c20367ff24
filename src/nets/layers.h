/* layers.h - what the networks' descriptions are written in: layers that name
 * their parameters as the reference does ("NAME.weight", "NAME.bias"). */
#ifndef CM_NETS_LAYERS_H
#define CM_NETS_LAYERS_H

#include "graph/graph.h"

enum { CM_RESAMPLE_NONE = 0, CM_RESAMPLE_UP = 1, CM_RESAMPLE_DOWN = 2 };

/* A FIR filter as networks are configured with it. */
typedef struct cm_filter {
    int32_t n;
    const double *f;
} cm_filter;

extern const cm_filter cmi_filter_box; /* [1, 1] */

/* A name in a bounded buffer: cm_name("%s.norm", prefix).text */
typedef struct cm_name {
    char text[192];
} cm_name;
cm_name cmi_name_of(const char *format, ...) CM_PRINTF(1, 2);

int32_t cmi_channels(const cm_graph *g, cm_value x);

/* kernel k, stride s, zero padding `pad`. */
cm_value cmi_conv(cm_graph *g, const char *name, cm_value x, int32_t out, int32_t k, int32_t s, int32_t pad);
/* (conv(x) + r) scale at stride 1, odd k.  The parameters are declared apart, so that
 * they keep their place among the others while r is described. */
typedef struct cm_filters {
    int32_t out, k;
    int weight, bias;
} cm_filters;
cm_filters cmi_conv_filters(cm_graph *g, const char *name, int32_t in, int32_t out, int32_t k);
cm_value cmi_conv_add(cm_graph *g, cm_filters filters, cm_value x, cm_value r, double scale);
cm_value cmi_linear(cm_graph *g, const char *name, cm_value x, int32_t out, int bias);
cm_value cmi_groupnorm(cm_graph *g, const char *name, cm_value x, int32_t groups, double eps, int silu);
/* mode CM_GN_ADD or CM_GN_SCALE_SHIFT with the embedding e; or sCM's adaptive double normalisation, where the factor
 * (not less 1) and the shift are divided by their root mean squares over the channels, plus 1e-4 (algorithms 7.4). */
enum { CM_GN_DOUBLE = 3 };
cm_value cmi_groupnorm_embedded(cm_graph *g, const char *name, cm_value x, cm_value e, int mode, int32_t groups,
                                double eps);
/* (proj(attention(qkv(x))) + r) scale, maps of 1 x 1; of one head over a multiple of 16 channels
 * with half of them where the graph is to be folded (fold.h). */
cm_value cmi_self_attention(cm_graph *g, const char *qkv, const char *proj, cm_value x, cm_value r, int32_t heads,
                            int layout, double scale);
cm_value cmi_silu(cm_graph *g, cm_value x);
cm_value cmi_relu(cm_graph *g, cm_value x);
/* Of windows of kernel x kernel points; 0: of the whole image. */
cm_value cmi_max_pool(cm_graph *g, cm_value x, int32_t kernel, int32_t stride);
/* ... where windows that hang over the border count. */
cm_value cmi_max_pool_ceil(cm_graph *g, cm_value x, int32_t kernel, int32_t stride);
cm_value cmi_mean_pool_ceil(cm_graph *g, cm_value x, int32_t kernel, int32_t stride);
cm_value cmi_mean_pool(cm_graph *g, cm_value x, int32_t kernel, int32_t stride);
/* Bilinear, half-pixel centres, edges clamped, no antialiasing. */
cm_value cmi_resize(cm_graph *g, cm_value x, int32_t h, int32_t w);
/* Dropout with the graph's probability; x itself when that is 0. */
cm_value cmi_dropout(cm_graph *g, cm_value x);
cm_value cmi_add(cm_graph *g, cm_value a, cm_value b, double scale);
cm_value cmi_concat(cm_graph *g, cm_value a, cm_value b);
/* Patches of size x size points as channels of one, and back; size 1 gives x. */
cm_value cmi_to_patches(cm_graph *g, cm_value x, int32_t size);
cm_value cmi_from_patches(cm_graph *g, cm_value x, int32_t size);
/* Depthwise FIR by 2 up or down; NONE gives x back. */
cm_value cmi_resample(cm_graph *g, cm_value x, int direction, cm_filter filter);
/* Resampling, then the k x k convolution, odd k, stride 1.  Up by [1, 1] each point is repeated: a
 * 1 x 1 convolution may as well come first, with a quarter of the products, and others read the
 * small image. */
cm_value cmi_resampled_conv(cm_graph *g, const char *name, cm_value x, int32_t out, int32_t k, int direction,
                            cm_filter filter);
/* FIR at stride 1 with `pad` zeros around. */
cm_value cmi_smooth(cm_graph *g, cm_value x, cm_filter filter, int32_t pad);
/* The buffer "NAME.resample_filter" that reference files carry. */
void cmi_filter_buffer(cm_graph *g, const char *name, cm_filter filter);
/* kind CM_TIME_*; freqs: parameter name for CM_TIME_FOURIER, else NULL. */
cm_value cmi_embed_time(cm_graph *g, cm_value t, int kind, int32_t size, int sin_first, const char *freqs);

#endif
