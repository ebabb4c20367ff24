/* dataset.h - pictures and their classes, by number and in training order.
 *
 *     cm_dataset *set = NULL;
 *     cm_dataset_options options = CM_DATASET_OPTIONS_INIT;
 *     options.height = options.width = 64;
 *     float *values = (float *)malloc(sizeof(float) * 16 * 3 * 64 * 64);
 *     int32_t labels[16];
 *     cm_images images = cm_images_f32(16, 3, 64, 64, values);
 *     cm_status status = cm_dataset_open(NULL, "pictures", &options, &set);
 *     if (status == CM_OK) status = cm_dataset_read(set, 0, &images, labels);
 *     if (status != CM_OK) fprintf(stderr, "%s\n", cm_last_message());
 *     cm_dataset_free(set);
 *
 * What a path is, is found from its content:
 *   a folder     JPEG and PNG files at any depth, in byte order of their names level
 *                by level
 *   .tar         ustar, pax and GNU's long names; in the order of the archive.  One that
 *                ends within a block is FORMAT (cut off); the log warns where the end
 *                mark is missing or something follows it
 *   .zip         stored or deflated; ordered like a folder
 *   CIFAR-10     binary batches (3,073-byte records): a file NAME.bin, or a folder with
 *                data_batch_1.bin to data_batch_5.bin; those missing are named in the log
 *   MNIST        idx images and the labels beside them, each gzip or plain: a file, or
 *                a folder that holds them (itself, in raw/ or in MNIST/raw/), training
 *                images before others; 28 x 28 is padded to 32 x 32 with black.
 *                The labels are in the file whose name has "labels" for "images" and
 *                "idx1" for "idx3"; capitals, "." and "_" for "-", and ".gz" do not
 *                count in the comparison
 *   .npz         arr_0 u8 [n, H, W, C], arr_1 integer labels
 *
 * Which files of a folder, tar or zip are pictures, by their names:
 *   - Endings .jpg, .jpeg, .jpe, .jfif and .png, in capitals or not.  A file without an
 *     ending, or with that of another picture format, is one when its content is JPEG
 *     or PNG.  Other formats (.webp, .gif, .bmp, .tif, .heic, .avif, ...) are left out;
 *     the log counts them, and the message of an empty set does.
 *   - What is hidden or belongs to a system or a program is no data, and nothing below
 *     such a folder is: names that begin with "." (.git, .DS_Store, .ipynb_checkpoints,
 *     .thumbnails, ._NAME), __MACOSX, Thumbs.db, desktop.ini, $RECYCLE.BIN, RECYCLER,
 *     System Volume Information, lost+found, @eaDir, #recycle and the like; editors'
 *     copies (NAME~, #NAME#, .bak, .swp) and unfinished files (.part, .partial,
 *     .crdownload, .download, .tmp).  The path that is opened may have any name.
 *   - In names "\" is "/"; "./" and repeated slashes do not count.  Archives with
 *     absolute names or ".." are refused (FORMAT).  Of members of one name the last one
 *     counts, which the log says.
 *   - Symbolic links of a folder are followed, behind everything else: each folder is
 *     read once (by device and inode), under its own name if it lies in the set, else
 *     under that of the first link; so is a picture behind a link to a file.  Links to a
 *     folder they lie in are left out, links that lead nowhere too; the log counts them.
 *     Hard links are pictures of their own, in a tar too.  Symbolic links in archives
 *     are left out.
 * JPEG and PNG files are read as cm_image_read (image.h) does it: turned upright by
 * EXIF's orientation, colours as luminance where channels is 1 (those of CIFAR-10 and
 * .npz too).
 *
 * Classes, by CM_LABELS_AUTO; the first rule that applies:
 *   1. dataset.json (EDM's) at the root, or in a folder that holds every picture:
 *      {"labels": [[name, number], ...]}, names relative to its folder, or
 *      {"labels": null} for none.  FORMAT when a picture has no entry, when one is
 *      listed with two labels, or a label is no whole number from 0; UNSUPPORTED for
 *      vectors.  Entries without a picture are told in the log.
 *   2. The labels that the container holds (idx, CIFAR-10, npz).
 *   3. The name of the folder that a picture lies in, where there are at least two of
 *      different names.  A folder below another that has pictures is a class of its own,
 *      and folders of one name are one class; the log says so.  Pictures beside two
 *      or more such folders: ARGUMENT, since their class is unknown.  Pictures beside one: no
 *      classes, and a warning.  EDM's folders NNNNN/imgNNNNNNNN.EXT count pictures and
 *      are no classes.
 *   4. The file name up to the first "_" where every name has one, behind its first
 *      character, and there are at least two different ones.
 * Classes are numbered in the order of their names: names that are numbers first, by
 * their value (-1, 0, 0.5, 2, 10), the others behind them in natural order, which is byte
 * order but for runs of digits, compared as numbers (cat, dog2, dog10); where that makes
 * no difference (1, 01), byte order.  The order of the pictures is not touched by it.
 * Sets without names (idx, npz) can be given some, and others other ones: class_names.  ARGUMENT where there are not
 * as many as classes, where two are the same, and where one is empty, no UTF-8 or has control characters.
 * A trainer writes the names into its models (cm_model_class_name).  Every doubt is one warning in the context's log
 * that says what was decided and what would change it.
 *
 * Position p of a shuffled set is image perm(seed, epoch)[p mod n], epoch p div n:
 * a function of (seed, p) alone.
 *
 * Threads: one cm_dataset_read or cm_trainer_run at a time on a data set, from any
 * thread: a second one gets STATE.  The other functions may be called at any time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_DATASET_H
#define CONSISTENCY_DATASET_H

#include "image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cm_dataset cm_dataset;

typedef enum cm_label_rule {
    CM_LABELS_AUTO = 0,   /* the rules above                                                   */
    CM_LABELS_NONE = 1,   /* no classes                                                        */
    CM_LABELS_FOLDER = 2, /* the innermost folder; ARGUMENT for a picture that is in none      */
    CM_LABELS_PREFIX = 3  /* the file name up to the first "_", all of it without one          */
} cm_label_rule;

/* Which part of a picture becomes an image.  The picture is scaled first: halved by a box
 * filter while its short side is at least twice what is wanted, then by a bicubic one. */
typedef enum cm_crop {
    CM_CROP_CENTER = 0, /* the short side becomes the image's, the middle is cut out           */
    CM_CROP_RANDOM = 1, /* the image is 80 to 100 % of the short side, somewhere: a function of
                           the seed and the position                                           */
    CM_CROP_NONE = 2    /* pictures are taken as they are, which need not be squares: one of another
                           size than the images ends the call that meets it with SHAPE, naming it */
} cm_crop;

/* What happens to a picture that is damaged. */
typedef enum cm_bad_pictures {
    CM_BAD_SKIP = 0, /* it is named in the log, counted, and the next one is taken             */
    CM_BAD_STOP = 1  /* the call that meets it fails                                           */
} cm_bad_pictures;

typedef enum cm_shuffle {
    CM_SHUFFLE_DEFAULT = 0, /* YES */
    CM_SHUFFLE_YES = 1,     /* another order in every epoch */
    CM_SHUFFLE_NO = 2       /* the order of the set, again and again */
} cm_shuffle;

/* Which pictures of a set are opened.  A picture is held out by a hash of its name (of its number where it has none),
 * so that pictures that are added later move no other one. */
typedef enum cm_dataset_part {
    CM_PART_ALL = 0,      /* all of them                                 */
    CM_PART_TRAINING = 1, /* all but those that are held out             */
    CM_PART_HELD_OUT = 2  /* those that are held out, and no others      */
} cm_dataset_part;

typedef struct cm_dataset_options {
    uint32_t struct_size;
    int32_t channels;        /* of the images: 1 or 3; 0 = 3, of idx files 1.  One channel of pictures
                                in colour is their luminance, and a warning                        */
    int32_t height;          /* of the images, 1..65535; equal to width; 0 = the width, or the short
                                side of the first picture.  With CM_CROP_NONE height and width may
                                differ, and 0 is that of the first picture                         */
    int32_t width;           /* likewise; other than the pictures' an error for idx, CIFAR-10, npz   */
    int32_t random_crop;     /* cm_crop; RANDOM is an error for idx, CIFAR-10 and npz              */
    int32_t labels;          /* cm_label_rule                                                      */
    int32_t stop_on_bad;     /* cm_bad_pictures                                                    */
    int32_t shuffle;         /* cm_shuffle                                                         */
    uint64_t seed;           /* of the order and the crops                                         */
    double held_out;         /* with a part, the share of the pictures that is held out, above 0 to 0.5; else 0 */
    int32_t part;            /* cm_dataset_part; classes and sizes are those of the whole set      */
    int32_t reserved;        /* 0                                                                  */
    const char *class_names; /* NULL, or a name for each class from 0 on with commas between them, in
                            place of those that the set has; it is copied                      */
} cm_dataset_options;

/* clang-format off */
#define CM_DATASET_OPTIONS_INIT \
    {sizeof(cm_dataset_options), 0, 0, 0, CM_CROP_CENTER, CM_LABELS_AUTO, CM_BAD_SKIP, CM_SHUFFLE_DEFAULT, 0, \
     0, CM_PART_ALL, 0, NULL}
/* clang-format on */
CM_API void cm_dataset_options_init(cm_dataset_options *options, size_t struct_size);

typedef struct cm_dataset_info {
    uint32_t struct_size;
    int32_t channels, height, width;
    uint64_t images;
    int32_t classes; /* 0 = no labels                         */
    int32_t largest_label;
    uint64_t bad;         /* pictures found damaged so far         */
    uint64_t fingerprint; /* of names, sizes and count             */
    const char *kind;     /* "folder", "tar", "idx", ...; borrowed */
    /* Where the classes come from: "dataset.json", "folder names", "file names",
     * "labels file" (idx), "records" (CIFAR-10), "arr_1" (npz); NULL without classes.
     * Borrowed. */
    const char *classes_from;
} cm_dataset_info;

/* clang-format off */
#define CM_DATASET_INFO_INIT {sizeof(cm_dataset_info), 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL}
/* clang-format on */
CM_API void cm_dataset_info_init(cm_dataset_info *info, size_t struct_size);

/* Opens the set at `path`; *out is the caller's and ends with cm_dataset_free.  The call looks
 * at every name and cannot be cancelled: it takes 0.6 s of a processor for a folder of 100,000
 * files, beside what the disk takes.
 * ARGUMENT: a set or part without pictures, an option out of range or without effect.  IO, FORMAT
 * (the message says what is wrong with which file), LIMIT, UNSUPPORTED, MEMORY. */
CM_API cm_status cm_dataset_open(cm_context *context, const char *path, const cm_dataset_options *options,
                                 cm_dataset **out);
CM_API void cm_dataset_free(cm_dataset *dataset);
CM_API cm_status cm_dataset_info_get(const cm_dataset *dataset, cm_dataset_info *info);
/* The name of class `label`, borrowed from the set; NULL past the end and where classes have
 * no names. */
CM_API const char *cm_dataset_class_name(const cm_dataset *dataset, int32_t label);

/* Reads the images at positions position .. position + out->n - 1, position below 2^62, into
 * `out`, which has the channels, height and width of the set (cm_dataset_info) and any element
 * type, layout and strides; and their classes into labels, which holds out->n numbers (-1 = no
 * class) or is NULL.  Bytes are those of the scaled picture, and float32 values are u / 127.5 - 1 of
 * them.
 * SHAPE, with nothing written: `out` has another size.  A picture that is damaged (FORMAT,
 * LIMIT, UNSUPPORTED of its content) is left out or ends the call, as stop_on_bad says.  IO, a
 * file that cannot be opened or read (too many open files, not permitted, gone, a network drive
 * that is away), and MEMORY end the call and mark nothing: once the trouble is over the same
 * call gives the same images.  CANCELLED; STATE: another call is running.  After an error the
 * contents of `out` and labels are unspecified. */
CM_API cm_status cm_dataset_read(cm_dataset *dataset, uint64_t position, const cm_images *out, int32_t *labels);

/* Asks a running cm_dataset_read (or cm_trainer_run over this set) to stop: from any
 * thread or signal handler.  It returns CM_ERR_CANCELLED after the picture at hand,
 * with the contents of its arrays unspecified.  Without a running call nothing happens. */
CM_API void cm_dataset_cancel(cm_dataset *dataset);

/* counts[k] becomes the number of pictures of class k, damaged ones too; `count` is the number of classes of
 * cm_dataset_info.  ARGUMENT: another count, a NULL, a set without classes. */
CM_API cm_status cm_dataset_class_counts(const cm_dataset *dataset, size_t count, uint64_t *counts);

/* --- a look through the whole set ----------------------------------------------------------- */

/* What cm_dataset_check finds.  A set with one of the first kind, up to CM_FINDING_SIZE, is not
 * sound; the others are worth knowing. */
typedef enum cm_dataset_finding {
    CM_FINDING_DAMAGED = 0,       /* a picture that cannot be read: training leaves it out         */
    CM_FINDING_FORMAT = 1,        /* a picture of a format that is not read: it is no part of the set */
    CM_FINDING_CONTRADICTION = 2, /* one picture in two classes                                    */
    CM_FINDING_CLASS = 3,         /* a class with too few pictures, or with none                   */
    CM_FINDING_SIZE = 4,          /* with CM_CROP_NONE, a picture of another size than the images  */
    CM_FINDING_LEFT_OUT = 5,      /* a file that is no picture, a link, a name that comes twice    */
    CM_FINDING_DUPLICATE = 6,     /* a picture whose pixels are those of another one               */
    CM_FINDING_ENLARGED = 7,      /* pictures are smaller than the images; said once               */
    CM_FINDING_GRAY = 8           /* no picture has a colour and the images have three channels; said once */
} cm_dataset_finding;

typedef struct cm_dataset_check_options {
    uint32_t struct_size;
    int32_t class_least; /* pictures that a class needs, at least 1; 0 = 20 */
    /* Called with the pictures looked at and those in all; non-zero stops the call (CANCELLED). */
    cm_progress_fn progress;
    void *progress_user;
    /* Called with each finding: a cm_dataset_finding, and a sentence that stands during the call, on the
     * thread of cm_dataset_check.  It must return normally.  NULL: findings are counted alone. */
    void (*found)(void *user, int32_t kind, const char *finding);
    void *found_user;
} cm_dataset_check_options;

/* clang-format off */
#define CM_DATASET_CHECK_OPTIONS_INIT {sizeof(cm_dataset_check_options), 0, NULL, NULL, NULL, NULL}
/* clang-format on */
CM_API void cm_dataset_check_options_init(cm_dataset_check_options *options, size_t struct_size);

typedef struct cm_dataset_report {
    uint32_t struct_size;
    int32_t is_sound;        /* 1: no finding of the kinds up to CM_FINDING_SIZE                 */
    uint64_t images;         /* pictures that can be read                                        */
    uint64_t damaged;        /* and those that cannot                                            */
    uint64_t left_out;       /* files of the folder or archive that are no pictures of the set;
                                hidden ones and those of a system do not count                   */
    uint64_t duplicates;     /* pictures that are there before, by their pixels                  */
    uint64_t contradictions; /* of them, those with another class than the first                 */
    uint64_t enlarged;       /* pictures with a side that is shorter than the images'            */
    uint64_t gray;           /* pictures without a colour                                        */
    uint64_t findings;       /* that `found` was called with                                     */
    int32_t least_height;    /* of the pictures that can be read, as they are stored             */
    int32_t least_width;
    int32_t most_height;
    int32_t most_width;
} cm_dataset_report;

/* clang-format off */
#define CM_DATASET_REPORT_INIT {sizeof(cm_dataset_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
/* clang-format on */
CM_API void cm_dataset_report_init(cm_dataset_report *report, size_t struct_size);

/* Reads every picture once, compares them all by their pixels, and counts.  It takes what an epoch
 * of reading takes, and 32 bytes of memory a picture.  Names of the first 10,000 files that were
 * left out are told.  cm_dataset_cancel stops it.
 * IO and MEMORY end the call as in cm_dataset_read; CANCELLED; STATE: another call is running;
 * ARGUMENT: a NULL, an option out of range, a part of a set.  What is wrong with the set is no error of the call. */
CM_API cm_status cm_dataset_check(cm_dataset *dataset, const cm_dataset_check_options *options,
                                  cm_dataset_report *report);

/* What stands in a packed set. */
typedef enum cm_pack_form {
    CM_PACK_FILES = 0, /* the files as they are: the set stays the same, in every crop and size    */
    CM_PACK_IMAGES = 1 /* the images of the set, cut and scaled as it was opened, as PNG: smaller and
                          faster where pictures are large.  Sets of files, not with CM_CROP_RANDOM */
} cm_pack_form;

typedef struct cm_dataset_pack_options {
    uint32_t struct_size;
    int32_t form;            /* cm_pack_form; pictures that are no files (idx, CIFAR-10, npz) become PNG
                                in any form, and IMAGES is an error for them                             */
    int32_t overwrite;       /* cm_overwrite                                                             */
    int32_t reserved;        /* 0                                                                        */
    cm_progress_fn progress; /* with the pictures done and in all; non-zero stops the call         */
    void *progress_user;
} cm_dataset_pack_options;

/* clang-format off */
#define CM_DATASET_PACK_OPTIONS_INIT {sizeof(cm_dataset_pack_options), CM_PACK_FILES, CM_OVERWRITE_NO, 0, NULL, NULL}
/* clang-format on */
CM_API void cm_dataset_pack_options_init(cm_dataset_pack_options *options, size_t struct_size);

/* Writes the set into one tar archive, which cm_dataset_open reads without unpacking it: with the same
 * pictures in the same order and, opened with the same labels, the same classes.  Names are kept where
 * they say the classes; where a number does (dataset.json, idx, CIFAR-10, npz), pictures are called
 * img00000000.png and so on, and a dataset.json says it.  Names that were given (class_names) are
 * not in it.  Pictures that are damaged are left out, as
 * stop_on_bad says.  *packed, which may be NULL, is how many were written.
 * Equal sets give equal bytes: the archive holds no time and no owner.  It appears whole or not
 * at all.  The name has to end in .tar (ARGUMENT).
 * ARGUMENT: a class would be left without a picture; an option out of range or without effect; a part of a set.
 * UNSUPPORTED: a picture of a set with class numbers has none.  IO, MEMORY, CANCELLED, STATE. */
CM_API cm_status cm_dataset_pack(cm_dataset *dataset, const char *path, const cm_dataset_pack_options *options,
                                 uint64_t *packed);

#ifdef __cplusplus
}
#endif
#endif
