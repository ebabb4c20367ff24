/* metrics.h - how close sets of images are, in numbers that agree with the literature.
 *
 * Images are compared by their features: for each image d numbers that a network makes of it,
 * float32, row after row.  Where features come from is the caller's choice; values compare only
 * when they were made by the same network, with the same preparation of the images.
 *
 *   Frechet distance   of mean and covariance of two sets.  Of the 2048 features of the FID
 *                      Inception network it is called FID, of its 2023 spatial features sFID
 *   Inception Score    of the class probabilities of one set
 *   precision, recall  of the nearest neighbours of two sets (Kynkaanniemi et al. 2019)
 *   kernel distance    KID with those features (Binkowski et al. 2018)
 *   search             for the noise level of a step that makes any such number best
 *
 * A feature that is NaN or infinite is NUMERIC wherever it is met, with the number of the image and
 * of the feature; every other value is used as it is.  Sets are ordered only for the parts of an
 * Inception Score and the choice of subsets.  Nothing is written before all of a call's features
 * have been looked at.
 *
 * Where an image is missing in one of two sets the values still compare, but not with those of the
 * whole sets: state the numbers of images.  Samples that are float32 become bytes first, by
 * rounding (image.h), since files of samples hold bytes.
 *
 * All sums are made in double.  A result is the same, bit for bit, for any number of threads and
 * however the images were divided into calls.
 *
 *     float *features = (float *)malloc(sizeof(float) * 50 * 2048);   // of 50 images
 *     cm_statistics *ours = NULL, *reference = NULL;
 *     double distance = 0;
 *     cm_status status = cm_statistics_create(NULL, 2048, &ours);
 *     if (status == CM_OK) status = cm_statistics_add(ours, 50, features);
 *     if (status == CM_OK) status = cm_statistics_read(NULL, "reference.npz", NULL, &reference);
 *     if (status == CM_OK) status = cm_frechet_distance(ours, reference, &distance);
 *     if (status != CM_OK) fprintf(stderr, "%s\n", cm_last_message());
 *     cm_statistics_free(reference);
 *     cm_statistics_free(ours);
 *
 * Few images make a Frechet distance too large, by about c / n: values compare for equal n, by
 * convention 50,000.  cm_frechet_subsets says how far a value may be off by chance, and
 * cm_frechet_infinity what it would be with infinitely many.  A value is worth nothing without
 * the name of the network, the number of images and how they were resized and made into bytes.
 *
 * Threads: one call at a time for statistics that are added to or merged into.  Everything else
 * only reads, from any thread at any time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_METRICS_H
#define CONSISTENCY_METRICS_H

#include "image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- features of images -------------------------------------------------------------------- */

/* A network that makes features of images, with its weights.
 *
 *     cm_features *network = NULL;
 *     float *rows = (float *)malloc(sizeof(float) * 16 * 64);
 *     cm_images pictures = cm_images_f32(16, 3, 32, 32, images);
 *     cm_status status = cm_features_open(NULL, "cifar10_resnet56.safetensors", NULL, &network);
 *     if (status == CM_OK) status = cm_features_run(network, &pictures, rows, NULL);
 *     cm_features_free(network);
 *
 * Networks, by cm_choice_name("feature_networks", i):
 *   lenet                64 features of 28 x 28 gray images (of 32 x 32 the middle), MNIST
 *   resnet20, resnet56   64 features of 32 x 32 colour images, CIFAR-10
 *   inception            2048 features of colour images of any size: the network of FID, with
 *                        inputs as OpenAI's evaluator, EDM and StyleGAN3 have them (TensorFlow's)
 *   inception-pytorch    the same network with inputs as pytorch-fid has them
 * The distances that the first three give are FD-lenet, FD-resnet20 and FD-resnet56: they compare
 * with each other, never with a published FID.
 *
 * The two Inception networks are one set of weights, which is not part of this library: a file with
 * the tensors of pytorch-fid ("pt_inception-2015-12-05-6726825d.pth") or with those of OpenAI's and
 * StyleGAN3's translation serves both.  They differ in how an image comes to 299 x 299 points and
 * to its range: inception takes the point i in / 299 of the image and (u - 128) / 128 of its bytes,
 * inception-pytorch (i + 0.5) in / 299 - 0.5 and 2 u / 255 - 1; both bilinear, without smoothing.
 * Values of the two differ a little and do not compare; published ones are mostly inception's. */
typedef struct cm_features cm_features;

/* Opens the weights of a feature network, in any format of tensors that models are read from.
 * network: its name, or NULL for the one whose tensors the file holds (with pytorch-fid's names
 * inception-pytorch, with OpenAI's inception).  *out is the caller's and ends with
 * cm_features_free.  The file is mapped and has to stay as it is.
 * FORMAT, naming the tensor: the weights are of another network.  ARGUMENT: no network of that
 * name.  NUMERIC: a weight is NaN or infinite.  IO, MEMORY, LIMIT. */
CM_API cm_status cm_features_open(cm_context *context, const char *path, const char *network, cm_features **out);
CM_API void cm_features_free(cm_features *features);

typedef struct cm_features_info {
    uint32_t struct_size;
    int32_t channels, height, width; /* of the images, or what they are resized to              */
    int32_t padded;                  /* images of this side are taken too, their middle counts; 0 = none */
    int32_t features;                /* of an image                                             */
    int32_t classes;                 /* of the logits; 0 = there are none                       */
    int32_t resizes;                 /* 1: images of any size are taken and resized by its own rule */
    const char *network;             /* its name; borrowed                                      */
    const char *weights;             /* XXH3-128 of the tensors' names and values by name, 32 digits; borrowed */
    int32_t spatial;                 /* spatial features, of sFID; 0: there are none            */
    int32_t early[3];                /* features of earlier blocks; 0: there are none           */
} cm_features_info;

/* clang-format off */
#define CM_FEATURES_INFO_INIT {sizeof(cm_features_info), 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, {0, 0, 0}}
/* clang-format on */
CM_API void cm_features_info_init(cm_features_info *info, size_t struct_size);
CM_API cm_status cm_features_info_get(const cm_features *features, cm_features_info *info);

/* Features of images->n images into `values`, one row each, and their logits into `logits`; either
 * may be NULL.  float32 images become bytes first, by rounding, as those of files are: the values
 * are the same as those of the pictures written and read again.  The rows of an image do not
 * depend on the others, nor on threads.
 * SHAPE: images of another size; they are not resized here.  NUMERIC: a value is NaN or infinite.
 * STATE: another call is running.  ARGUMENT, MEMORY. */
CM_API cm_status cm_features_run(cm_features *features, const cm_images *images, float *values, float *logits);

/* Where the numbers of images go, one row each; NULL: they are not wanted. */
typedef struct cm_feature_rows {
    uint32_t struct_size;
    int32_t reserved; /* must be 0                                                              */
    float *values;    /* info.features                                                          */
    float *logits;    /* info.classes                                                           */
    float *scores;    /* info.classes: logits without the bias, of which the Inception Score is */
    float *spatial;   /* info.spatial, in the order of rows, columns and channels               */
    float *early[3];  /* info.early[i]: means of earlier blocks, pytorch-fid's 64, 192 and 768  */
} cm_feature_rows;

/* clang-format off */
#define CM_FEATURE_ROWS_INIT {sizeof(cm_feature_rows), 0, NULL, NULL, NULL, NULL, {NULL, NULL, NULL}}
/* clang-format on */
CM_API void cm_feature_rows_init(cm_feature_rows *rows, size_t struct_size);

/* cm_features_run with all that the network has.  ARGUMENT besides: it does not have what is asked
 * for (only the Inception networks have more than values and logits). */
CM_API cm_status cm_features_run_rows(cm_features *features, const cm_images *images, const cm_feature_rows *rows);

/* Keeps features of n images in an .npz file, so that they are computed once: the arrays features
 * (values, which must be there), logits, scores, spatial, early0, early1 and early2 where they are
 * given, float32; labels where they are not NULL; and network and weights, the texts of
 * cm_features_info, as bytes.  overwrite: cm_overwrite.  The file appears whole or not at all.
 * ARGUMENT: no images, no values, or rows that the network does not have.  NUMERIC.  LIMIT, IO, MEMORY. */
CM_API cm_status cm_features_write(const cm_features *features, const char *path, size_t n,
                                   const cm_feature_rows *rows, const int32_t *labels, int32_t overwrite);
/* Reads them again.  rows NULL: *n becomes the number of images, and nothing else is read.  Else *n has
 * to be that number, and what rows names is filled in; labels (or NULL) are -1 where the file has none.
 * ARGUMENT: the features are of another network or of other weights, which do not compare; another *n.
 * FORMAT: no such file, or it lacks rows that are asked for.  NUMERIC.  IO, LIMIT, MEMORY. */
CM_API cm_status cm_features_read(const cm_features *features, const char *path, size_t *n,
                                  const cm_feature_rows *rows, int32_t *labels);

/* --- pairs of images ---------------------------------------------------------------------- */

/* LPIPS (Zhang et al. 2018): how far two images are apart to the features of a network that was
 * trained to name what is in pictures.  0 for the same image; lower is nearer.
 *
 *     cm_lpips *lpips = NULL;
 *     double apart = 0;
 *     cm_images one = cm_images_f32(1, 3, 32, 32, images), other = cm_images_f32(1, 3, 32, 32, images + 3072);
 *     cm_status status = cm_lpips_open(NULL, NULL, "vgg16.pth", "lpips_lin.safetensors", NULL, &lpips);
 *     if (status == CM_OK) status = cm_lpips_run(lpips, &one, &other, &apart, NULL, NULL);
 *     cm_lpips_free(lpips);
 *
 * Networks, by cm_choice_name("lpips_networks", i):
 *   vgg       VGG16, five layers; what consistency models are trained with
 *   alex      AlexNet, five layers; the usual one for reported values
 *   squeeze   SqueezeNet 1.1, seven layers
 *
 * Values agree with version 0.1 of the reference.  Images have three channels, or one, which
 * then stands for all three; float32 values are in [-1, 1] and nothing is clamped. */
typedef struct cm_lpips cm_lpips;

typedef enum cm_lpips_pooling {
    CM_LPIPS_POOLING_MAX = 0, /* as the networks were trained, and as the reference measures        */
    CM_LPIPS_POOLING_MEAN = 1 /* means instead of maxima: what OpenAI's consistency models were trained with */
} cm_lpips_pooling;

/* Bilinear to 224 x 224, half-pixel centres, no antialiasing; the aspect is not kept.  Nothing is cut out of the
 * images: neither of the two programs draws a crop. */
typedef enum cm_lpips_resize {
    CM_LPIPS_RESIZE_NONE = 0,  /* images as they are: the reference                          */
    CM_LPIPS_RESIZE_SMALL = 1, /* those whose width is below 256: openai/consistency_models  */
    CM_LPIPS_RESIZE_ALWAYS = 2 /* all: openai/consistency_models_cifar10                     */
} cm_lpips_resize;

typedef struct cm_lpips_options {
    uint32_t struct_size;
    int32_t pooling; /* cm_lpips_pooling                                             */
    int32_t resize;  /* cm_lpips_resize                                              */
    int32_t uniform; /* 1: every channel counts the same, and there are no lin weights */
} cm_lpips_options;

/* clang-format off */
#define CM_LPIPS_OPTIONS_INIT {sizeof(cm_lpips_options), CM_LPIPS_POOLING_MAX, CM_LPIPS_RESIZE_NONE, 0}
/* clang-format on */
CM_API void cm_lpips_options_init(cm_lpips_options *options, size_t struct_size);

/* Opens the weights of a network: torchvision's file of vgg16, alexnet or squeezenet1_1, or a
 * checkpoint of the whole LPIPS module, in any format of tensors that models are read from; tensors
 * of a classifier are passed over.  network: its name, or NULL for the one that the file holds.
 * lin: the file of the layers' weights (lin0.model.1.weight, ..., or vgg.lin0..., alex.lin0...), NULL
 * where `weights` holds them too or options say `uniform`.  Both files are mapped and have to stay as
 * they are.  *out is the caller's and ends with cm_lpips_free.
 * FORMAT, naming the tensor: the weights are of another network or not there.  ARGUMENT: no
 * network of that name, lin weights that have no effect.  NUMERIC: a weight is NaN or infinite.
 * IO, MEMORY, LIMIT. */
CM_API cm_status cm_lpips_open(cm_context *context, const char *network, const char *weights, const char *lin,
                               const cm_lpips_options *options, cm_lpips **out);
/* NULL is fine.  No call may be using it. */
CM_API void cm_lpips_free(cm_lpips *lpips);

typedef struct cm_lpips_info {
    uint32_t struct_size;
    int32_t layers;      /* whose distances are added                                     */
    const char *network; /* its name; borrowed                                            */
    const char *weights; /* XXH3-128 of names and values of all weights, 32 digits; borrowed */
} cm_lpips_info;

/* clang-format off */
#define CM_LPIPS_INFO_INIT {sizeof(cm_lpips_info), 0, NULL, NULL}
/* clang-format on */
CM_API void cm_lpips_info_init(cm_lpips_info *info, size_t struct_size);
CM_API cm_status cm_lpips_info_get(const cm_lpips *lpips, cm_lpips_info *info);

/* Distances of a->n pairs of images: image i of `a` with image i of `b`, which has the same sizes.
 * layers: `layers` numbers a pair, whose sum the distance is.  maps: height x width distances a pair,
 * where the images differ (each layer's map resized, then added; its mean is near the distance,
 * not equal to it); they take a pass of their own.  Each output may be NULL.
 * Bytes are u / 127.5 - 1.  A pair's values do not depend on the others, nor on threads; each thread
 * takes one pair at a time.  Memory is made for the images' size at the first call and kept until a
 * call has another size: of VGG16, 224 x 224 and two threads 230 MB.
 * SHAPE: sizes that differ, images too small for the network (alex: 31 points a side, vgg: 16,
 * squeeze: 17).  NUMERIC: a distance is not finite.  STATE: another call is running.  MEMORY. */
CM_API cm_status cm_lpips_run(cm_lpips *lpips, const cm_images *a, const cm_images *b, double *distances,
                              float *layers, float *maps);

/* Distances (may be NULL) and the gradient of their sum with respect to the values of `a` in [-1, 1]:
 * a->n images of channels x height x width in planes.  It takes about twice the time of
 * cm_lpips_run, and of VGG16, 224 x 224 and two threads 410 MB besides.
 * Where all channels of a layer are 0 at a point, that point adds nothing to the gradient.
 * Errors as of cm_lpips_run. */
CM_API cm_status cm_lpips_gradient(cm_lpips *lpips, const cm_images *a, const cm_images *b, double *distances,
                                   float *gradient);

/* --- samples in a file ------------------------------------------------------------------------ */

/* How a float32 value of [-1, 1] becomes a byte. */
typedef enum cm_rounding {
    CM_ROUNDING_NEAREST = 0, /* trunc(clamp(127.5 x + 128)): a byte comes back as it was (EDM's)     */
    CM_ROUNDING_DOWN = 1     /* trunc(clamp(127.5 (x + 1))): of OpenAI's sampler, for comparison with
                                published values; 63 of the 256 bytes come back one lower       */
} cm_rounding;

typedef struct cm_samples_options {
    uint32_t struct_size;
    int32_t overwrite; /* cm_overwrite                                                           */
    int32_t rounding;  /* cm_rounding; DOWN is an error for bytes                                */
    int32_t reserved;  /* must be 0                                                              */
} cm_samples_options;

/* clang-format off */
#define CM_SAMPLES_OPTIONS_INIT {sizeof(cm_samples_options), CM_OVERWRITE_NO, CM_ROUNDING_NEAREST, 0}
/* clang-format on */
CM_API void cm_samples_options_init(cm_samples_options *options, size_t struct_size);

/* Writes images as an .npz file: arr_0, bytes n x height x width x channels, and where labels are
 * given arr_1, as 64-bit integers: what OpenAI's evaluator and cm_dataset_open read.  The file
 * appears whole or not at all; a copy of the images is held meanwhile.
 * IO: the file exists and may not be replaced, or the system refuses.  NUMERIC: a value is NaN or
 * infinite.  ARGUMENT, MEMORY. */
CM_API cm_status cm_samples_write(cm_context *context, const char *path, const cm_images *images,
                                  const int32_t *labels, const cm_samples_options *options);

/* --- mean and covariance ---------------------------------------------------------------- */

/* Mean and covariance of features, gathered from images or given. */
typedef struct cm_statistics cm_statistics;

/* Empty statistics of `dimension` features, 1..65536, which take 8 dimension^2 bytes (34 MB for
 * 2048); *out is the caller's and ends with cm_statistics_free.  ARGUMENT, MEMORY. */
CM_API cm_status cm_statistics_create(cm_context *context, int32_t dimension, cm_statistics **out);
/* NULL is fine.  No call may be using the statistics. */
CM_API void cm_statistics_free(cm_statistics *statistics);

/* Adds n images with `dimension` features each; any n, 0 too.  Many images in one call go faster
 * than one after the other: each call passes over the whole matrix.
 * NUMERIC, naming the first one: a feature is NaN or infinite, and nothing is added.  STATE: the
 * statistics were given (cm_statistics_given, cm_statistics_read).  ARGUMENT, MEMORY. */
CM_API cm_status cm_statistics_add(cm_statistics *statistics, size_t n, const float *features);

/* Adds all images of `from`, which stays as it is: so parts of a set may be gathered in several
 * threads, each in statistics of its own.  Parts of several runs go through features that are kept,
 * since statistics from a file have no sums that others could be added to.  The last digits of a result follow from
 * which parts are merged in which order.  SHAPE: other numbers of features.  STATE: either was given.  ARGUMENT. */
CM_API cm_status cm_statistics_merge(cm_statistics *into, const cm_statistics *from);

/* Statistics from `dimension` means and dimension x dimension covariances (divisor n - 1), both
 * copied; count: of how many images, at most 2^53, 0 = unknown.  Whether the matrix can be a covariance is
 * looked at when a distance is asked for.  NUMERIC: a value is NaN or infinite.  ARGUMENT,
 * MEMORY. */
CM_API cm_status cm_statistics_given(cm_context *context, int32_t dimension, uint64_t count, const double *mean,
                                     const double *covariance, cm_statistics **out);

/* Says that the features are those of a network, whose name and weights' hash cm_statistics_write
 * keeps: networks of different weights may have as many features, and only this tells them apart.
 * cm_frechet_distance and cm_statistics_merge refuse statistics of two networks, or of one with two
 * sets of weights, where both are known.  Statistics that a file gave without a network take the one
 * that is named here.
 * ARGUMENT: they are known to be of another network or of other weights.  SHAPE: the network has
 * no such number of features. */
CM_API cm_status cm_statistics_mark(cm_statistics *statistics, const cm_features *features);

/* Reads the arrays mu and sigma of an .npz file, in any type and order of elements, and the arrays
 * count, network and weights where they are there.  suffix: NULL, or what follows both names ("_s" for the
 * spatial features in files of OpenAI's evaluator), at most 32 characters.
 * FORMAT: no .npz file, a damaged one, no such arrays, images instead of statistics, sizes that
 * do not fit together; the message says which.  NUMERIC: a value is NaN or infinite.  IO, LIMIT,
 * MEMORY. */
CM_API cm_status cm_statistics_read(cm_context *context, const char *path, const char *suffix, cm_statistics **out);

/* Writes an .npz file with mu, sigma and count, with mu_s and sigma_s where `spatial` is not NULL, and
 * with network and weights, as bytes, where they are known: doubles in C order, as numpy.savez writes them, which
 * pytorch-fid, EDM and OpenAI's evaluator read.  overwrite: cm_overwrite.  The file appears whole or not at all.
 * STATE: fewer than two images. IO, MEMORY.
 */
CM_API cm_status cm_statistics_write(const cm_statistics *statistics, const cm_statistics *spatial, const char *path,
                                     int32_t overwrite);

typedef struct cm_statistics_info {
    uint32_t struct_size;
    int32_t dimension; /* features of an image                                          */
    uint64_t count;    /* images; of given statistics 0 where the number is unknown     */
    /* As of cm_features_info: the network that the features are of, and its weights; NULL where
       nobody has said so.  Borrowed until the statistics are freed or marked again. */
    const char *network, *weights;
} cm_statistics_info;

/* clang-format off */
#define CM_STATISTICS_INFO_INIT {sizeof(cm_statistics_info), 0, 0, NULL, NULL}
/* clang-format on */
CM_API void cm_statistics_info_init(cm_statistics_info *info, size_t struct_size);

/* Fills in what the caller's struct has room for.  ARGUMENT. */
CM_API cm_status cm_statistics_info_get(const cm_statistics *statistics, cm_statistics_info *info);

/* Writes `dimension` means and dimension x dimension covariances, row after row, divisor n - 1;
 * either may be NULL.  Those of statistics that were given are the values that were given, whether
 * symmetric or not.  STATE: fewer than two images (one for the mean alone). */
CM_API cm_status cm_statistics_values(const cm_statistics *statistics, double *mean, double *covariance);

/* |mu - mu'|^2 + tr S + tr S' - 2 tr (S S')^(1/2), at least 0.  The root is not taken by a general
 * square root of a matrix: sets of fewer images than features lose no digits (src/metrics/frechet.c).
 * Two sets of 2048 features take memory for ten matrices of 34 MB and some seconds.
 * SHAPE: other numbers of features.  ARGUMENT: features of two networks (cm_statistics_mark).  STATE:
 * fewer than two images.  NUMERIC: a covariance that is
 * none (not symmetric, a variance below 0, features that go together more than their variances allow), as far as it
 * shows by more than a thousandth, which the rounding of files is let pass.  MEMORY. */
CM_API cm_status cm_frechet_distance(const cm_statistics *a, const cm_statistics *b, double *distance);

/* --- over subsets -------------------------------------------------------------------------- */

/* Random subsets, without repetition inside one.  Subset i follows from the seed, i, the number of
 * images and the size alone, so a call that is made again gives the same bits. */
typedef struct cm_subset_options {
    uint32_t struct_size;
    int32_t subsets;  /* how many; 0 = 10 (cm_frechet_subsets), 15 (_infinity), 100 (kernel distance) */
    int32_t size;     /* images of one, at least 2; cm_frechet_infinity: of the smallest.  0 = half of
                         the images, a tenth of them, at most 1000                             */
    int32_t reserved; /* must be 0                                                             */
    uint64_t seed;    /* of the choice                                                         */
} cm_subset_options;

/* clang-format off */
#define CM_SUBSET_OPTIONS_INIT {sizeof(cm_subset_options), 0, 0, 0, 0}
/* clang-format on */
CM_API void cm_subset_options_init(cm_subset_options *options, size_t struct_size);

/* Mean and standard deviation (NULL: not wanted) of the distances between `reference` and random
 * subsets of n images with `features`: how far a value may be off by chance.
 * Each subset costs what cm_statistics_add and cm_frechet_distance cost for as many images: of 2048
 * features some seconds.  A row has as many features as the reference.  ARGUMENT: sizes that the set does not have.
 * NUMERIC, STATE, MEMORY. */
CM_API cm_status cm_frechet_subsets(const cm_statistics *reference, size_t n, const float *features,
                                    const cm_subset_options *options, double *mean, double *deviation);

/* The distance that infinitely many images would have: the line through distances of subsets of
 * growing size over 1 / size, at 0 (Chong and Forsyth 2020).  It may be a little below 0.  The
 * reference keeps the bias of its own number of images.
 * Errors as of cm_frechet_subsets. */
CM_API cm_status cm_frechet_infinity(const cm_statistics *reference, size_t n, const float *features,
                                     const cm_subset_options *options, double *distance);

/* The kernel distance of two sets by the kernel (x y / dimension + 1)^3, without bias, so that it
 * may be below 0: mean and standard deviation (NULL: not wanted) over subsets of both sets.  The
 * literature has 100 subsets of 1000 images, and often prints 1000 times the value.
 * ARGUMENT: subsets larger than the smaller set.  NUMERIC, MEMORY. */
CM_API cm_status cm_kernel_distance(cm_context *context, int32_t dimension, size_t n_a, const float *a, size_t n_b,
                                    const float *b, const cm_subset_options *options, double *mean,
                                    double *deviation);

/* --- scores ---------------------------------------------------------------------------------- */

typedef struct cm_score_options {
    uint32_t struct_size;
    int32_t split;         /* images of one part; 0 = 5000.  The last part may be smaller       */
    int32_t probabilities; /* 1: rows are probabilities, 0: logits                              */
    int32_t reserved;      /* must be 0                                                         */
} cm_score_options;

/* clang-format off */
#define CM_SCORE_OPTIONS_INIT {sizeof(cm_score_options), 0, 0, 0}
/* clang-format on */
CM_API void cm_score_options_init(cm_score_options *options, size_t struct_size);

/* exp of the mean of sum p log(p / mean p), for consecutive parts of n images; their mean, and
 * their standard deviation (NULL: not wanted; 0 of one part).  `values` has `classes` numbers a
 * row.  The Inception Score of the literature has the 1008 logits without bias.  Parts are
 * consecutive, so images ought not to be sorted by class: a part of one class has the score 1.
 * Other programs make ten equal parts (split = n / 10).
 * ARGUMENT: no images, probabilities that do not add up to 1.  NUMERIC, MEMORY. */
CM_API cm_status cm_inception_score(cm_context *context, int32_t classes, size_t n, const float *values,
                                    const cm_score_options *options, double *score, double *deviation);

typedef struct cm_neighbour_options {
    uint32_t struct_size;
    int32_t neighbours; /* 1..64, which of them bounds a point's neighbourhood; 0 = 3, as the
                           literature has it                                                   */
} cm_neighbour_options;

/* clang-format off */
#define CM_NEIGHBOUR_OPTIONS_INIT {sizeof(cm_neighbour_options), 0}
/* clang-format on */
CM_API void cm_neighbour_options_init(cm_neighbour_options *options, size_t struct_size);

/* Precision asks whether samples look like the reference, recall whether all that is in the
 * reference occurs among the samples.  A point lies within a set where some point of the set is no farther from it
 * than from its own third neighbour.  precision: the share of the samples within the reference; recall: the share of
 * the reference within the samples.  A point is its own nearest one, and points that are the same have radius 0,
 * within which others of them lie.  Distances are sums of squared differences in double.  Memory grows with the
 * number of images, never with its square; time grows with the square.  ARGUMENT: a set with no more images than
 * neighbours.  NUMERIC, MEMORY. */
CM_API cm_status cm_precision_recall(cm_context *context, int32_t dimension, size_t n_reference,
                                     const float *reference, size_t n_samples, const float *samples,
                                     const cm_neighbour_options *options, double *precision, double *recall);

/* --- search for a time point ----------------------------------------------------------------- */

/* Says how good candidate `point` is.  A search calls it once for each point that it looks at, on the thread that
 * made the call.  It must return normally (no longjmp, no exception).  A positive result stops the search; a negative
 * one is the cm_status of a call that failed, which the search hands on with its message. */
typedef int32_t (*cm_point_fn)(void *user, int32_t point, double *score);

typedef struct cm_search_options {
    uint32_t struct_size;
    int32_t left, right; /* the first and the last candidate, 0 <= left <= right           */
    int32_t larger;      /* 1: a larger score is better; 0: a smaller one                  */
    /* After each point, with how many have been looked at and how many there can be at most. */
    cm_progress_fn progress;
    void *progress_user;
} cm_search_options;

/* clang-format off */
#define CM_SEARCH_OPTIONS_INIT {sizeof(cm_search_options), 0, 0, 0, NULL, NULL}
/* clang-format on */
CM_API void cm_search_options_init(cm_search_options *options, size_t struct_size);

/* The ternary search of Song et al. (2023) for the time points of multistep sampling, for any score: of two points,
 * at a third and at two thirds of what is left, the better one says which third cannot hold the best point, until two
 * or three neighbours are left, of which *best is the best one (the smallest of equal ones).  About
 * 3.4 log2(right - left) points are looked at; the one candidate of left = right is not.
 *
 * It finds the best of all points where the score falls up to it and rises after it.  Where chance ripples the score,
 * another point that was looked at may have been better; the callback has seen all of them.
 *
 * A list of several levels is searched greedily: with the levels so far, the next one between the last of them and
 * the end of the grid.  The score of a list of levels is a metric of samples that were drawn at them
 * (cm_sample_options.sigmas), always with the same seed.
 *
 *     static int32_t distance_from_seven(void *user, int32_t point, double *score)
 *     {
 *         (void)user;
 *         *score = point < 7 ? 7 - point : point - 7;
 *         return 0;
 *     }
 *
 *     cm_search_options options = CM_SEARCH_OPTIONS_INIT;
 *     int32_t best;
 *     options.right = 39;
 *     cm_status status = cm_search_point(&options, distance_from_seven, NULL, &best);
 *
 * ARGUMENT: left, right or larger.  NUMERIC: a score is NaN.  CANCELLED: a callback said so.  Besides
 * what `score` returns. */
CM_API cm_status cm_search_point(const cm_search_options *options, cm_point_fn score, void *user, int32_t *best);

#ifdef __cplusplus
}
#endif
#endif
