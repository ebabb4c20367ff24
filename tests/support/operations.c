#include "support/operations.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/tiny_trainer.h"

enum { PICTURES = 6, ROWS = 40, FEATURES = 8 };
enum { SIDE = TINY_SIDE, CHANNELS = TINY_CHANNELS, VALUES = TINY_VALUES, BATCH = TINY_BATCH };

/* Without attention and classes, as diffusers has it too. */
#define PLAIN                                                                                                        \
    "{\"network\": {\"type\": \"adm\", \"image_size\": 8, \"in_channels\": 3, \"out_channels\": 3, "                 \
    "\"model_channels\": 32, \"num_res_blocks\": 1, \"channel_mult\": [1], \"attention_resolutions\": [], "          \
    "\"resblock_updown\": true}, \"precond\": {\"type\": \"cm\"}}"

static const char lin_file[] = "models/features/lpips_lin.safetensors";

/* A path; the last few stay. */
static const char *path_of(const char *folder, const char *format, ...)
{
    static _Thread_local char paths[8][400];
    static _Thread_local unsigned turn;
    char *path = paths[turn++ % 8];
    const int n = snprintf(path, 200, "%s/", folder);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path + n, 200, format, args);
    va_end(args);
    return path;
}

static void fill(size_t n, uint64_t state, float *x)
{
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) / 2147483648.0f;
    }
}

#define CONDITION_OF_TWO                                                                                             \
    const int32_t labels[BATCH] = {0, 1};                                                                            \
    cm_condition condition = CM_CONDITION_INIT;                                                                      \
    condition.labels = labels

/* --- models ----------------------------------------------------------------------------------------------------- */

static cm_status create_context(const place *at)
{
    cm_context *c = NULL;
    const cm_status status = cm_context_create(at->options, &c);
    cm_context_free(c);
    return status;
}

static cm_status load(const place *at)
{
    cm_model *m = NULL;
    const cm_status status = cm_model_load(at->context, path_of(at->in, "model.%s", at->choice), NULL, &m);
    cm_model_free(m);
    return status;
}

/* The caller's bytes: a shim that fails the library's calls does not see these. */
static unsigned char *whole_file(const char *path, size_t *size)
{
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    const long end = fd >= 0 ? syscall(SYS_lseek, fd, 0, SEEK_END) : -1;
    unsigned char *bytes = end >= 0 ? malloc((size_t)end + 1) : NULL;
    *size = bytes ? (size_t)end : 0;
    if (bytes && (syscall(SYS_lseek, fd, 0, SEEK_SET) != 0 || syscall(SYS_read, fd, bytes, *size) != end)) *size = 0;
    if (fd >= 0) (void)syscall(SYS_close, fd);
    return bytes;
}

static cm_status load_memory(const place *at)
{
    cm_model *m = NULL;
    size_t size = 0;
    unsigned char *bytes = whole_file(path_of(at->in, "model.%s", at->choice), &size);
    if (!bytes) return CM_ERR_MEMORY; /* of the test */
    const cm_status status = cm_model_load_memory(at->context, bytes, size, NULL, &m);
    cm_model_free(m);
    free(bytes);
    return status;
}

typedef struct {
    const unsigned char *bytes;
    size_t size;
} held;

static int32_t read_held(void *user, uint64_t offset, void *bytes, size_t size)
{
    const held *h = user;
    memcpy(bytes, h->bytes + offset, size);
    return (int32_t)size;
}

static cm_status load_stream(const place *at)
{
    cm_model *m = NULL;
    size_t size = 0;
    unsigned char *bytes = whole_file(path_of(at->in, "model.%s", at->choice), &size);
    if (!bytes) return CM_ERR_MEMORY;
    held h = {bytes, size};
    cm_reader reader = {sizeof reader, 0, size, read_held, &h};
    const cm_status status = cm_model_load_stream(at->context, &reader, NULL, &m);
    cm_model_free(m);
    free(bytes);
    return status;
}

static cm_status open_checkpoint(const place *at)
{
    cm_checkpoint *c = NULL;
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    cm_checkpoint_report report = CM_CHECKPOINT_REPORT_INIT;
    const char *path = strchr(at->choice, '.') ? path_of("tests/data/golden/checkpoints", "%s", at->choice)
                                               : path_of(at->in, "model.%s", at->choice);
    cm_status status = cm_checkpoint_open(at->context, path, NULL, &c);
    if (status == CM_OK) status = cm_checkpoint_info_get(c, &info);
    if (status == CM_OK) status = cm_checkpoint_check(c, NULL, &report);
    cm_checkpoint_free(c);
    return status;
}

/* All that a checkpoint tells: sets, notes, tensors by number and by name, the values of the first. */
static cm_status read_checkpoint(const place *at)
{
    cm_checkpoint *c = NULL;
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    const char *key, *text, *name = "";
    size_t size = 0, count = 1, first = 0;
    int64_t shape[8];
    int32_t rank = 0;
    unsigned char *bytes = whole_file(path_of(at->in, "model.%s", at->choice), &size);
    if (!bytes) return CM_ERR_MEMORY;
    cm_status status = cm_checkpoint_open_memory(at->context, bytes, size, NULL, &c);
    if (status == CM_OK) status = cm_checkpoint_info_get(c, &info);
    for (size_t i = 0; i < info.sets; i++) (void)cm_checkpoint_set_name(c, i);
    for (size_t i = 0; i < info.notes && status == CM_OK; i++) status = cm_checkpoint_note(c, i, &key, &text);
    if (status == CM_OK) status = cm_checkpoint_tensor(c, 0, &name, &rank, shape, NULL);
    if (status == CM_OK) status = cm_checkpoint_find(c, name, &first);
    for (int32_t i = 0; i < rank; i++) count *= (size_t)shape[i];
    float *values = malloc(count * sizeof *values);
    if (!values && status == CM_OK) status = CM_ERR_MEMORY;
    if (status == CM_OK) status = cm_checkpoint_read(c, first, count * sizeof *values, values);
    if (status == CM_OK) status = cm_checkpoint_read_f32(c, first, count, values);
    if (status == CM_OK && !cm_checkpoint_model(c)) status = CM_ERR_INTERNAL;
    free(values);
    cm_checkpoint_free(c);
    free(bytes);
    return status;
}

/* All that a model tells, and the values of its first parameter. */
static cm_status read_model(const place *at)
{
    cm_model *m = NULL;
    cm_model_info info = CM_MODEL_INFO_INIT;
    const char *name;
    int64_t shape[8];
    int32_t rank = 0, label;
    size_t count = 1;
    cm_status status = cm_model_load(at->context, path_of(at->in, "model.%s", at->choice), NULL, &m);
    if (status == CM_OK) status = cm_model_info_get(m, &info);
    for (size_t i = 0; status == CM_OK && i < cm_model_param_count(m); i++)
        status = cm_model_param_info(m, i, &name, &rank, shape, NULL);
    for (int32_t i = 0; i < rank; i++) count *= (size_t)shape[i];
    float *values = malloc(count * sizeof *values);
    if (!values && status == CM_OK) status = CM_ERR_MEMORY;
    if (status == CM_OK) status = cm_model_param_read(m, cm_model_param_count(m) - 1, count, values);
    free(values);
    cm_model_free(m);
    if (status == CM_OK) status = cm_model_load(at->context, path_of(at->in, "jump.safetensors"), NULL, &m);
    if (status == CM_OK) (void)cm_model_class_name(m, 0);
    if (status == CM_OK) status = cm_model_find_class(m, "1", &label);
    if (status == CM_OK) cm_model_free(m);
    return status;
}

static cm_status create(const place *at)
{
    cm_model *m = NULL;
    uint64_t count;
    cm_status status = cm_model_create(at->context, TINY_JUMP, 1, &m);
    if (status == CM_OK) status = cm_model_count(at->context, TINY_JUMP, &count);
    cm_model_free(m);
    return status;
}

static cm_status save(const place *at)
{
    cm_model *m = NULL;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES;
    o.format = strcmp(at->choice, "pt") == 0       ? CM_MODEL_TORCH
               : strcmp(at->choice, "folder") == 0 ? CM_MODEL_DIFFUSERS
                                                   : CM_MODEL_NATIVE;
    if (o.format == CM_MODEL_DIFFUSERS) o.shard_bytes = 60000;
    cm_status status = cm_model_load(at->context, path_of(at->in, "model.safetensors"), NULL, &m);
    if (status == CM_OK) status = cm_model_save(m, path_of(at->out, "saved.%s", at->choice), &o);
    cm_model_free(m);
    return status;
}

static cm_status denoise(const place *at)
{
    cm_model *m = NULL;
    float x[BATCH * VALUES], y[BATCH * VALUES], t[BATCH * VALUES], sigma[BATCH] = {1, 2}, moves[BATCH] = {0.5f, 1};
    CONDITION_OF_TWO;
    cm_denoise_options o = CM_DENOISE_OPTIONS_INIT;
    o.condition = &condition;
    fill(BATCH * VALUES, 1, x);
    cm_status status = cm_model_load(at->context, path_of(at->in, "jump.safetensors"), NULL, &m);
    if (status == CM_OK && strcmp(at->choice, "tangent") == 0)
        status = cm_model_denoise_tangent(m, &o, BATCH, x, sigma, x, moves, y, t);
    else if (status == CM_OK && strcmp(at->choice, "classes") == 0)
        status = cm_model_denoise(m, BATCH, x, sigma, labels, y);
    else if (status == CM_OK) status = cm_model_denoise_with(m, &o, BATCH, x, sigma, y);
    cm_model_free(m);
    return status;
}

static cm_status likelihood(const place *at)
{
    cm_model *m = NULL;
    float x[VALUES];
    double bits;
    cm_likelihood_options o = CM_LIKELIHOOD_OPTIONS_INIT;
    o.rk45_rtol = o.rk45_atol = 0.1;
    fill(VALUES, 2, x);
    for (int i = 0; i < VALUES; i++) x[i] = roundf((x[i] + 1) * 127.5f) / 127.5f - 1;
    cm_status status = cm_model_create(at->context, TINY_DENOISER, 1, &m);
    if (status == CM_OK) status = cm_model_bits_per_dim(m, &o, 1, x, &bits);
    cm_model_free(m);
    return status;
}

/* --- sampling and editing -----------------------------------------------------------------------------------------
 */

static cm_status open_sampler(const place *at, const char *model, cm_model **m, cm_sampler **s)
{
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    o.max_batch = BATCH;
    cm_status status = cm_model_load(at->context, path_of(at->in, "%s.safetensors", model), NULL, m);
    return status == CM_OK ? cm_sampler_create(*m, &o, s) : status;
}

static int32_t number_of(const char *list, const char *name)
{
    for (size_t i = 0; cm_choice_name(list, i); i++)
        if (strcmp(cm_choice_name(list, i), name) == 0) return (int32_t)i;
    return -1;
}

static const double two_levels[] = {80, 0.8};

static cm_status sample(const place *at)
{
    cm_model *m = NULL;
    cm_sampler *s = NULL;
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    float images[BATCH * VALUES];
    CONDITION_OF_TWO;
    const int jumps = strcmp(at->choice, "onestep") == 0 || strcmp(at->choice, "multistep") == 0;
    o.method = number_of("methods", at->choice);
    o.condition = &condition;
    if (strcmp(at->choice, "multistep") == 0) o.sigmas = two_levels, o.sigma_count = 2;
    if (!jumps) o.steps = strcmp(at->choice, "rk45") == 0 ? 0 : 2;
    if (strcmp(at->choice, "rk45") == 0) o.rk45_rtol = o.rk45_atol = 0.5;
    const char *model = jumps ? "jump" : strcmp(at->choice, "flowmap") == 0 ? "two" : "denoiser";
    cm_status status = open_sampler(at, model, &m, &s);
    if (status == CM_OK) status = cm_sampler_run(s, &o, BATCH, images);
    cm_sampler_free(s);
    cm_model_free(m);
    return status;
}

/* What a sampler says before and after it is made, and bytes drawn in place of values. */
static cm_status sample_bytes(const place *at)
{
    cm_model *m = NULL;
    cm_sampler *s = NULL;
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    cm_sampler_info info = CM_SAMPLER_INFO_INIT;
    static uint8_t pixels[BATCH * VALUES];
    const cm_images out = cm_images_u8(BATCH, SIDE, SIDE, CHANNELS, pixels);
    int32_t nfe;
    o.max_batch = BATCH;
    cm_status status = cm_model_load(at->context, path_of(at->in, "jump.safetensors"), NULL, &m);
    if (status == CM_OK) status = cm_sampler_estimate(m, &o, &info);
    if (status == CM_OK) status = cm_sampler_create(m, &o, &s);
    if (status == CM_OK) status = cm_sampler_info_get(s, &info);
    if (status == CM_OK) status = cm_sampler_nfe(s, NULL, &nfe);
    if (status == CM_OK) status = cm_sampler_run_images(s, NULL, &out);
    cm_sampler_free(s);
    cm_model_free(m);
    return status;
}

static const char *const tasks[] = {"inpaint", "colorize",    "super-resolve", "stroke",
                                    "denoise", "interpolate", "edit",          NULL};
static cm_status edit(const place *at)
{
    cm_model *m = NULL;
    cm_sampler *s = NULL;
    cm_edit_options o = CM_EDIT_OPTIONS_INIT;
    cm_sample_options sampling = CM_SAMPLE_OPTIONS_INIT;
    CONDITION_OF_TWO;
    static float images[BATCH * VALUES], small[BATCH * VALUES], mask[VALUES], out[BATCH * VALUES];
    const cm_images given = cm_images_f32(1, CHANNELS, SIDE, SIDE, images);
    const cm_images less = cm_images_f32(1, CHANNELS, SIDE / 2, SIDE / 2, small);
    const cm_images where = cm_images_f32(1, 1, SIDE, SIDE, mask);
    const cm_images to = cm_images_f32(1, CHANNELS, SIDE, SIDE, out),
                    frames = cm_images_f32(2, CHANNELS, SIDE, SIDE, out);
    for (int i = 0; i < VALUES; i++) mask[i] = (float)(i % 2), images[i] = small[i] = 0.1f;
    if (strcmp(at->choice, "interpolate") == 0) sampling.sigmas = two_levels, sampling.sigma_count = 2;
    else sampling.steps = 2;
    sampling.condition = &condition;
    o.sampling = &sampling;
    cm_status status = open_sampler(at, "jump", &m, &s);
    if (status != CM_OK) goto end;
    if (strcmp(at->choice, "inpaint") == 0) status = cm_sampler_inpaint(s, &o, &given, &where, &to);
    else if (strcmp(at->choice, "colorize") == 0) status = cm_sampler_colorize(s, &o, &given, &to);
    else if (strcmp(at->choice, "super-resolve") == 0) status = cm_sampler_super_resolve(s, &o, &less, &to);
    else if (strcmp(at->choice, "stroke") == 0) status = cm_sampler_stroke(s, &o, &given, &to);
    else if (strcmp(at->choice, "interpolate") == 0) status = cm_sampler_interpolate(s, &o, &frames);
    else if (strcmp(at->choice, "edit") == 0) status = cm_sampler_edit(s, &o, NULL, &given, &where, &to);
    else {
        sampling.steps = 0;
        o.sigma = 0.5;
        status = cm_sampler_denoise(s, &o, &given, &to);
    }
end:
    cm_sampler_free(s);
    cm_model_free(m);
    return status;
}

/* --- pictures and data --------------------------------------------------------------------------------------------
 */

static const char *const picture_formats[] = {"png", "jpg", NULL};
static void paint(uint8_t *pixels, int value)
{
    for (int i = 0; i < 16 * 16 * 3; i++) pixels[i] = (uint8_t)(value * 20 + i % 7);
}

static cm_status write_picture_to(cm_context *c, const char *path, int value)
{
    uint8_t pixels[16 * 16 * 3];
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    paint(pixels, value);
    o.overwrite = CM_OVERWRITE_YES;
    const cm_images picture = cm_images_u8(1, 16, 16, 3, pixels);
    return cm_image_write(c, path, &picture, &o);
}

static cm_status write_image(const place *at)
{
    return write_picture_to(at->context, path_of(at->out, "written.%s", at->choice), 3);
}

static cm_status read_image(const place *at)
{
    cm_images picture = CM_IMAGES_INIT;
    const cm_status status = cm_image_read(at->context, path_of(at->in, "folder/a/0.%s", at->choice), NULL, &picture);
    if (status == CM_OK) cm_image_free(at->context, &picture);
    return status;
}

static cm_status code_image(const place *at)
{
    uint8_t pixels[16 * 16 * 3], other[8 * 12 * 3], *bytes = NULL;
    size_t size = 0;
    double sigma;
    cm_images back = CM_IMAGES_INIT;
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    paint(pixels, 5);
    const cm_images picture = cm_images_u8(1, 16, 16, 3, pixels), fitted = cm_images_u8(1, 8, 12, 3, other);
    o.format = strcmp(at->choice, "png") == 0 ? CM_IMAGE_FORMAT_PNG : CM_IMAGE_FORMAT_JPEG;
    cm_status status = cm_image_encode(at->context, &picture, &o, &bytes, &size);
    if (status == CM_OK) status = cm_image_decode(at->context, bytes, size, NULL, &back);
    if (status == CM_OK) cm_image_free(at->context, &back);
    if (bytes) cm_bytes_free(at->context, bytes);
    if (status == CM_OK) status = cm_image_fit(at->context, CM_FIT_CROP, 0, &picture, &fitted);
    if (status == CM_OK) status = cm_image_noise_level(at->context, &picture, &sigma);
    return status;
}

/* A picture with a note, and a page of pictures with and without names. */
static cm_status page_of_images(const place *at)
{
    static const char *const names[] = {"one", "another"};
    static float values[2 * 16 * 16 * 3];
    static uint8_t page[200 * 200 * 3];
    int32_t h = 0, w = 0;
    uint8_t *note = NULL;
    size_t size;
    const cm_images from = cm_images_f32(2, 3, 16, 16, values);
    uint8_t pixels[2 * 16 * 16 * 3];
    const cm_images bytes = cm_images_u8(2, 16, 16, 3, pixels);
    cm_image_write_options o = CM_IMAGE_WRITE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES, o.note = "a note";
    const char *path = path_of(at->out, "page.png");
    cm_status status = cm_images_convert(&from, &bytes);
    if (status == CM_OK) status = cm_image_grid_size(&bytes, 2, 1, &h, &w);
    cm_images plain = cm_images_u8(1, h, w, 3, page);
    if (status == CM_OK) status = cm_image_grid(&bytes, 2, 1, 0, &plain);
    if (status == CM_OK) status = cm_image_named_grid_size(&bytes, 2, 1, names, &h, &w);
    plain = cm_images_u8(1, h, w, 3, page);
    if (status == CM_OK) status = cm_image_named_grid(&bytes, 2, 1, 0, names, &plain);
    if (status == CM_OK) status = cm_image_write_check(at->context, path, &plain, &o);
    if (status == CM_OK) status = cm_image_write(at->context, path, &plain, &o);
    if (status == CM_OK) status = cm_image_note(at->context, path, &note, &size);
    if (note) cm_bytes_free(at->context, note);
    return status;
}

static const char *const set_kinds[] = {"folder", "set.tar", "set.zip", "set.npz", "idx", "cifar", NULL};
static cm_status open_set_of(const place *at, const char *kind, cm_dataset **d)
{
    cm_dataset_options o = CM_DATASET_OPTIONS_INIT;
    if (strcmp(kind, "idx") != 0 && strcmp(kind, "cifar") != 0) o.width = o.height = SIDE;
    return cm_dataset_open(at->context, path_of(at->in, "%s", kind), &o, d);
}

static cm_status read_set(const place *at)
{
    cm_dataset *d = NULL;
    static float values[4 * 32 * 32 * 3];
    int32_t labels[4];
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    cm_status status = open_set_of(at, at->choice, &d);
    if (status == CM_OK) status = cm_dataset_info_get(d, &info);
    const cm_images out = cm_images_f32(4, info.channels, info.height, info.width, values);
    if (status == CM_OK) status = cm_dataset_read(d, 0, &out, labels);
    uint64_t *counts = calloc((size_t)info.classes + 1, sizeof *counts);
    if (!counts && status == CM_OK) status = CM_ERR_MEMORY;
    if (status == CM_OK && info.classes) status = cm_dataset_class_counts(d, (size_t)info.classes, counts);
    if (status == CM_OK) (void)cm_dataset_class_name(d, 0);
    free(counts);
    cm_dataset_free(d);
    return status;
}

/* Looks at the pictures of a set and writes them into one file. */
static cm_status pack_set(const place *at)
{
    cm_dataset *d = NULL;
    cm_dataset_report report = CM_DATASET_REPORT_INIT;
    uint64_t packed;
    cm_status status = open_set_of(at, at->choice, &d);
    if (status == CM_OK) status = cm_dataset_check(d, NULL, &report);
    if (status == CM_OK) status = cm_dataset_pack(d, path_of(at->out, "packed.tar"), NULL, &packed);
    cm_dataset_free(d);
    return status;
}

/* --- training -----------------------------------------------------------------------------------------------------
 */

/* A step, a checkpoint, a step of a trainer that goes on from there. */
static cm_status train(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL, *u = NULL;
    const char *run = path_of(at->out, "run");
    char kept[400];
    (void)snprintf(kept, sizeof kept, "%s", run);
    cm_status status = tiny_options(at->context, at->choice, &o);
    if (status == CM_OK) status = tiny_trainer_with(at->context, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    if (status == CM_OK) status = cm_trainer_save(t, kept, 2);
    cm_trainer_free(t);
    if (status == CM_OK) status = tiny_trainer_with(at->context, o, &u);
    if (status == CM_OK) status = cm_trainer_resume(u, kept, NULL, 0);
    if (status == CM_OK) status = tiny_trainer_step(u);
    cm_trainer_free(u);
    cm_train_options_free(o);
    return status;
}

static cm_status optimize(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_model *m = NULL;
    cm_status status = tiny_options(at->context, "edm", &o);
    if (status == CM_OK) status = cm_train_options_set(o, "optimizer", at->choice);
    if (status == CM_OK) status = tiny_trainer_with(at->context, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    if (status == CM_OK) status = cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m);
    cm_model_free(m);
    cm_trainer_free(t);
    cm_train_options_free(o);
    return status;
}

static cm_status train_on_set(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_dataset *d = NULL;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_status status = tiny_options(at->context, "edm", &o);
    if (status == CM_OK) status = open_set_of(at, "folder", &d);
    if (status == CM_OK) status = cm_model_create(at->context, TINY_DENOISER, 1, &inputs.model);
    if (status == CM_OK) status = cm_train_data_check(inputs.model, d, o);
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, &t);
    if (status == CM_OK) status = cm_trainer_run(t, d, 2, NULL, NULL);
    cm_trainer_free(t);
    cm_model_free(inputs.model);
    cm_dataset_free(d);
    cm_train_options_free(o);
    return status;
}

/* A group of two ranks of which the other one has and does what this one does. */
static cm_status mirror_sum(void *user, float *values, size_t n, const char *what, uint64_t *request)
{
    (void)user, (void)what;
    for (size_t i = 0; i < n; i++) values[i] += values[i];
    *request = 0;
    return CM_OK;
}

static cm_status mirror_wait(void *user, uint64_t request)
{
    (void)user, (void)request;
    return CM_OK;
}

static cm_status mirror_broadcast(void *user, void *bytes, size_t n, const char *what)
{
    (void)user, (void)bytes, (void)n, (void)what;
    return CM_OK;
}

static cm_status mirror_gather(void *user, const void *mine, size_t n, void *all, const char *what)
{
    (void)user, (void)what;
    memcpy(all, mine, n);
    memcpy((char *)all + n, mine, n);
    return CM_OK;
}

static void mirror_give_up(void *user, cm_status status, const char *message)
{
    (void)user, (void)status, (void)message;
}

static const char *mirror_message(void *user)
{
    (void)user;
    return "";
}

static const cm_group mirror = {sizeof mirror,
                                0,
                                2,
                                0,
                                NULL,
                                "a mirror",
                                mirror_sum,
                                mirror_wait,
                                mirror_broadcast,
                                mirror_gather,
                                mirror_give_up,
                                mirror_message};

/* A step and a checkpoint of one of them, and a resume. */
static cm_status train_in_group(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    char run[400];
    (void)snprintf(run, sizeof run, "%s", path_of(at->out, "group"));
    inputs.group = &mirror;
    cm_status status = tiny_options(at->context, "edm", &o);
    if (status == CM_OK) status = cm_train_options_set(o, "micro_shards", "2");
    if (status == CM_OK) status = cm_model_create(at->context, TINY_DENOISER, 1, &inputs.model);
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    if (status == CM_OK) status = cm_trainer_save(t, run, 2);
    if (status == CM_OK) status = cm_trainer_resume(t, run, NULL, 0);
    cm_trainer_free(t);
    cm_model_free(inputs.model);
    cm_train_options_free(o);
    return status;
}

static cm_status options(const place *at)
{
    cm_train_options *o = NULL, *copy = NULL;
    char text[8000];
    size_t length;
    cm_status status = cm_train_options_create(at->context, &o);
    if (status == CM_OK) status = cm_train_options_preset(o, "digits-ict-30min");
    if (status == CM_OK) status = cm_train_options_copy(o, &copy);
    if (status == CM_OK) status = cm_train_options_json(copy, text, sizeof text, &length);
    if (status == CM_OK) status = cm_train_options_read(copy, text);
    cm_train_options_free(copy);
    cm_train_options_free(o);
    return status;
}

/* What options say of themselves and of a training that they would be, without one. */
static cm_status ask_options(const place *at)
{
    cm_train_options *o = NULL;
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_option_info info = CM_OPTION_INFO_INIT;
    cm_trainer *t = NULL;
    char text[2000];
    double number;
    uint64_t bytes, steps;
    cm_status status = tiny_options(at->context, "edm", &o);
    for (size_t i = 0; status == CM_OK && i < cm_train_option_count(); i++) {
        status = cm_train_option_describe(i, &info);
        if (status == CM_OK) status = cm_train_option_default(i, CM_TRAIN_EDM, text, sizeof text, NULL);
        if (status == CM_OK) status = cm_train_options_get(o, info.name, text, sizeof text, NULL);
    }
    if (status == CM_OK) status = cm_train_options_get_number(o, "lr", &number);
    if (status == CM_OK) status = cm_train_options_check(o);
    const char *network = cm_train_preset_config(0);
    if (status == CM_OK) status = cm_model_create(at->context, network, 1, &inputs.model);
    if (status == CM_OK) status = cm_train_preset_check(cm_train_preset_name(0), inputs.model);
    cm_model_free(inputs.model);
    inputs.model = NULL;
    if (status == CM_OK) status = cm_model_create(at->context, TINY_DENOISER, 1, &inputs.model);
    if (status == CM_OK) status = cm_trainer_estimate(&inputs, o, &bytes);
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, &t);
    if (status == CM_OK) status = cm_trainer_bytes(t, &bytes);
    if (status == CM_OK) status = cm_trainer_steps(t, &steps);
    cm_trainer_free(t);
    cm_model_free(inputs.model);
    cm_train_options_free(o);
    return status;
}

/* A step whose loss is by a network of LPIPS. */
static cm_status train_by_lpips(const place *at)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_status status = tiny_options(at->context, "ct", &o);
    if (status == CM_OK) status = cm_train_options_set(o, "distance", "lpips");
    if (status == CM_OK) status = cm_train_options_set(o, "lpips_weights", path_of(at->in, "alex.safetensors"));
    if (status == CM_OK) status = cm_train_options_set(o, "lpips_lin", lin_file);
    if (status == CM_OK) status = cm_train_options_set(o, "lpips_resize", "small");
    if (status == CM_OK) status = tiny_trainer_with(at->context, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    cm_trainer_free(t);
    cm_train_options_free(o);
    return status;
}

/* Options of a run, asked, written, read, taken from a directory; and the file that the directory is about. */
static cm_status ask_run(const place *at)
{
    cm_run_options *o = NULL, *other = NULL, *given = NULL;
    cm_run *r = NULL;
    cm_model *m = NULL;
    cm_dataset *d = NULL;
    cm_run_info info = CM_RUN_INFO_INIT;
    char text[16000], path[600];
    cm_status status = cm_run_options_create(at->context, &o);
    if (status == CM_OK) cm_run_options_prefix(o, "--");
    if (status == CM_OK) status = cm_run_options_load(o, path_of(at->in, "kept"));
    if (status == CM_OK) status = cm_run_options_json(o, text, sizeof text, NULL);
    if (status == CM_OK) status = cm_run_options_create(at->context, &other);
    if (status == CM_OK) status = cm_run_options_read(other, text);
    if (status == CM_OK) status = cm_run_options_set_number(other, "steps", 3);
    if (status == CM_OK) status = cm_run_options_check(other);
    if (status == CM_OK) status = open_set_of(at, "folder", &d);
    if (status == CM_OK) status = cm_model_create(at->context, TINY_DENOISER, 1, &m);
    if (status == CM_OK) status = cm_run_options_create(at->context, &given);
    if (status == CM_OK) status = cm_run_options_inputs(given, m, NULL, d);
    if (status == CM_OK) status = cm_run_options_set(given, "batch", "2");
    if (status == CM_OK) status = cm_run_options_group(given, &mirror);
    if (status == CM_OK) status = cm_run_create(given, path_of(at->out, "asked"), &r);
    if (status == CM_OK) status = cm_run_info_get(r, &info);
    if (status == CM_OK) (void)cm_run_trainer(r);
    if (status == CM_OK) status = cm_run_model_path(at->context, path_of(at->in, "kept"), path, sizeof path);
    cm_run_free(r);
    cm_dataset_free(d);
    cm_model_free(m);
    cm_run_options_free(given);
    cm_run_options_free(other);
    cm_run_options_free(o);
    return status;
}

static cm_status run_in(const place *at, const char *directory)
{
    cm_run_options *o = NULL;
    cm_run *r = NULL;
    cm_run_needs needs = CM_RUN_NEEDS_INIT;
    const char *const set[][2] = {{"objective", "edm"},
                                  {"batch", "2"},
                                  {"steps", "2"},
                                  {"threads", "1"},
                                  {"network", TINY_DENOISER},
                                  {"checkpoint_every", "1"},
                                  {"log_every", "1"},
                                  {"sample_every", "1"},
                                  {"data", path_of(at->in, "folder")},
                                  {"size", "8"}};
    cm_status status = cm_run_options_create(at->context, &o);
    for (size_t i = 0; i < sizeof set / sizeof *set && status == CM_OK; i++)
        status = cm_run_options_set(o, set[i][0], set[i][1]);
    if (status == CM_OK) status = cm_run_create(o, directory, &r);
    if (status == CM_OK) status = cm_run_estimate(r, 1, &needs);
    if (status == CM_OK) status = cm_run_begin(r);
    if (status == CM_OK) status = cm_run_execute(r, 2, NULL, NULL);
    cm_run_free(r);
    cm_run_options_free(o);
    return status;
}

static cm_status run_directory(const place *at)
{
    return run_in(at, path_of(at->out, "directory"));
}

/* --- metrics ------------------------------------------------------------------------------------------------------
 */

static cm_status features(const place *at)
{
    cm_features *f = NULL;
    cm_feature_rows rows = CM_FEATURE_ROWS_INIT, back = CM_FEATURE_ROWS_INIT;
    static float images[BATCH * 28 * 28], values[BATCH * 64];
    static double mean[64], covariance[64 * 64];
    cm_features_info info = CM_FEATURES_INFO_INIT;
    cm_statistics *s = NULL;
    size_t n = BATCH;
    const cm_images view = cm_images_f32(BATCH, 1, 28, 28, images);
    fill(BATCH * 28 * 28, 5, images);
    rows.values = back.values = values;
    cm_status status = cm_features_open(at->context, "models/features/lenet.safetensors", NULL, &f);
    if (status == CM_OK) status = cm_features_info_get(f, &info);
    if (status == CM_OK) status = cm_features_run(f, &view, values, NULL);
    if (status == CM_OK) status = cm_features_run_rows(f, &view, &rows);
    if (status == CM_OK)
        status = cm_features_write(f, path_of(at->out, "rows.npz"), BATCH, &rows, NULL, CM_OVERWRITE_YES);
    if (status == CM_OK) status = cm_features_read(f, path_of(at->out, "rows.npz"), &n, &back, NULL);
    if (status == CM_OK) status = cm_statistics_given(at->context, info.features, 10, mean, covariance, &s);
    if (status == CM_OK) status = cm_statistics_mark(s, f);
    cm_statistics_free(s);
    cm_features_free(f);
    return status;
}

static cm_status statistics(const place *at)
{
    cm_statistics *a = NULL, *b = NULL, *c = NULL;
    float x[ROWS * FEATURES];
    double distance, mean, deviation, means[FEATURES];
    cm_statistics_info info = CM_STATISTICS_INFO_INIT;
    cm_subset_options subsets = CM_SUBSET_OPTIONS_INIT;
    fill(ROWS * FEATURES, 6, x);
    subsets.size = 20, subsets.subsets = 3;
    cm_status status = cm_statistics_create(at->context, FEATURES, &a);
    if (status == CM_OK) status = cm_statistics_create(at->context, FEATURES, &b);
    if (status == CM_OK) status = cm_statistics_add(a, ROWS, x);
    if (status == CM_OK) status = cm_statistics_add(b, ROWS - 10, x);
    if (status == CM_OK) status = cm_statistics_merge(b, a);
    if (status == CM_OK) status = cm_statistics_info_get(b, &info);
    if (status == CM_OK) status = cm_statistics_values(b, means, NULL);
    if (status == CM_OK) status = cm_frechet_distance(a, b, &distance);
    if (status == CM_OK) status = cm_frechet_subsets(a, ROWS, x, &subsets, &mean, &deviation);
    if (status == CM_OK) status = cm_frechet_infinity(a, ROWS, x, &subsets, &distance);
    if (status == CM_OK) status = cm_statistics_write(a, NULL, path_of(at->out, "statistics.npz"), CM_OVERWRITE_YES);
    if (status == CM_OK) status = cm_statistics_read(at->context, path_of(at->out, "statistics.npz"), NULL, &c);
    cm_statistics_free(c);
    cm_statistics_free(b);
    cm_statistics_free(a);
    return status;
}

static cm_status scores(const place *at)
{
    float x[ROWS * FEATURES], y[ROWS * FEATURES];
    double a, b;
    cm_subset_options subsets = CM_SUBSET_OPTIONS_INIT;
    cm_score_options parts = CM_SCORE_OPTIONS_INIT;
    cm_neighbour_options neighbours = CM_NEIGHBOUR_OPTIONS_INIT;
    subsets.size = 20, subsets.subsets = 3, parts.split = 10, neighbours.neighbours = 3;
    fill(ROWS * FEATURES, 7, x);
    fill(ROWS * FEATURES, 8, y);
    cm_status status = cm_kernel_distance(at->context, FEATURES, ROWS, x, ROWS, y, &subsets, &a, &b);
    if (status == CM_OK) status = cm_inception_score(at->context, FEATURES, ROWS, x, &parts, &a, &b);
    if (status == CM_OK) status = cm_precision_recall(at->context, FEATURES, ROWS, x, ROWS, y, &neighbours, &a, &b);
    return status;
}

/* Two pairs of pictures by LPIPS, and the gradient of their distances. */
static cm_status pairs(const place *at)
{
    enum { WIDE = 35 };
    static float a[2 * 3 * WIDE * WIDE], b[2 * 3 * WIDE * WIDE], slope[2 * 3 * WIDE * WIDE];
    cm_lpips *l = NULL;
    cm_lpips_info info = CM_LPIPS_INFO_INIT;
    double distances[2];
    fill(2 * 3 * WIDE * WIDE, 10, a);
    fill(2 * 3 * WIDE * WIDE, 11, b);
    const cm_images one = cm_images_f32(2, 3, WIDE, WIDE, a), other = cm_images_f32(2, 3, WIDE, WIDE, b);
    cm_status status = cm_lpips_open(at->context, NULL, path_of(at->in, "alex.safetensors"), lin_file, NULL, &l);
    if (status == CM_OK) status = cm_lpips_info_get(l, &info);
    if (status == CM_OK) status = cm_lpips_run(l, &one, &other, distances, NULL, NULL);
    if (status == CM_OK) status = cm_lpips_gradient(l, &one, &other, distances, slope);
    cm_lpips_free(l);
    return status;
}

/* The level at which a jump gives the nearest pictures: each point draws. */
typedef struct {
    cm_sampler *sampler;
    cm_status status;
} searched;

static int32_t score_level(void *user, int32_t point, double *score)
{
    searched *s = user;
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    const double levels[2] = {80, 0.5 + point};
    float images[VALUES];
    o.method = CM_METHOD_MULTISTEP, o.sigmas = levels, o.sigma_count = 2;
    const cm_status status = cm_sampler_run(s->sampler, &o, 1, images);
    *score = fabs((double)images[0]);
    return (int32_t)status;
}

static cm_status search(const place *at)
{
    cm_model *m = NULL;
    searched s = {NULL, CM_OK};
    cm_search_options o = CM_SEARCH_OPTIONS_INIT;
    int32_t best;
    o.right = 4;
    cm_status status = open_sampler(at, "jump", &m, &s.sampler);
    if (status == CM_OK) status = cm_search_point(&o, score_level, &s, &best);
    cm_sampler_free(s.sampler);
    cm_model_free(m);
    return status;
}

static cm_status write_samples(const place *at)
{
    float images[BATCH * VALUES];
    cm_samples_options o = CM_SAMPLES_OPTIONS_INIT;
    fill(BATCH * VALUES, 9, images);
    o.overwrite = CM_OVERWRITE_YES;
    const cm_images view = cm_images_f32(BATCH, CHANNELS, SIDE, SIDE, images);
    return cm_samples_write(at->context, path_of(at->out, "samples.npz"), &view, NULL, &o);
}

static cm_status reconstruct(const place *at)
{
    char paths[2][400];
    const char *const both[2] = {paths[0], paths[1]};
    cm_model *m = NULL;
    for (int i = 0; i < 2; i++)
        (void)snprintf(paths[i], sizeof paths[i], "%s/averages/checkpoints/step-000000001/ema-power-%s.safetensors",
                       at->in, i ? "0.1" : "0.05");
    cm_average_options o = CM_AVERAGE_OPTIONS_INIT;
    o.std = 0.08;
    const cm_status status = cm_average_reconstruct(at->context, both, 2, &o, &m);
    cm_model_free(m);
    return status;
}

/* --- the table
 * ------------------------------------------------------------------------------------------------------ */

static const char *const model_files[] = {"safetensors", "pt", "folder", NULL};
static const char *const single_files[] = {"safetensors", "pt", NULL};
static const char *const checkpoints[] = {"safetensors",         "pt", "folder", "flax_ok_small.msgpack",
                                          "odd_views_legacy.pt", NULL};
static const char *const denoisings[] = {"values", "classes", "tangent", NULL};

static const operation operations[] = {
    {"create a context", create_context, NULL, NULL, 0},
    {"create a model", create, NULL, NULL, 0},
    {"load a model", load, NULL, model_files, 0},
    {"load from memory", load_memory, NULL, single_files, 0},
    {"load by a function", load_stream, NULL, single_files, 0},
    {"save a model", save, NULL, model_files, 0},
    {"open a checkpoint", open_checkpoint, NULL, checkpoints, 0},
    {"read a checkpoint", read_checkpoint, NULL, single_files, 0},
    {"read a model", read_model, NULL, model_files, 0},
    {"denoise", denoise, NULL, denoisings, 1},
    {"likelihood", likelihood, NULL, NULL, 1},
    {"sample", sample, "methods", NULL, 1},
    {"sample bytes", sample_bytes, NULL, NULL, 1},
    {"edit", edit, NULL, tasks, 1},
    {"write a picture", write_image, NULL, picture_formats, 0},
    {"read a picture", read_image, NULL, picture_formats, 0},
    {"code a picture", code_image, NULL, picture_formats, 0},
    {"a page of pictures", page_of_images, NULL, NULL, 0},
    {"read a data set", read_set, NULL, set_kinds, 0},
    {"check and pack a data set", pack_set, NULL, set_kinds, 0},
    {"train", train, "objectives", NULL, 1},
    {"optimize", optimize, "optimizers", NULL, 1},
    {"train on a data set", train_on_set, NULL, NULL, 1},
    {"train by LPIPS", train_by_lpips, NULL, NULL, 1},
    {"train in a group", train_in_group, NULL, NULL, 1},
    {"training options", options, NULL, NULL, 0},
    {"ask training options", ask_options, NULL, NULL, 1},
    {"ask a run", ask_run, NULL, NULL, 0},
    {"run in a directory", run_directory, NULL, NULL, 1},
    {"features", features, NULL, NULL, 1},
    {"statistics", statistics, NULL, NULL, 0},
    {"scores", scores, NULL, NULL, 0},
    {"pairs of pictures", pairs, NULL, NULL, 1},
    {"search a level", search, NULL, NULL, 1},
    {"write samples", write_samples, NULL, NULL, 0},
    {"average of two widths", reconstruct, NULL, NULL, 0},
};

static const char *choice_of(const operation *o, size_t index)
{
    if (o->list) return cm_choice_name(o->list, index);
    if (o->choices) return o->choices[index];
    return index == 0 ? "" : NULL;
}

const operation *operation_at(int index, place *at)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        for (size_t k = 0; (at->choice = choice_of(&operations[i], k)); k++)
            if (index-- == 0) return &operations[i];
    return NULL;
}

const char *operation_name(const operation *o, const place *at)
{
    static char name[100];
    (void)snprintf(name, sizeof name, "%s%s%s", o->name, *at->choice ? " " : "", at->choice);
    return name;
}

/* --- the files
 * ------------------------------------------------------------------------------------------------------ */

static cm_status write_model(const char *in, const char *config, const char *name, int32_t format)
{
    cm_model *m = NULL;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.overwrite = CM_OVERWRITE_YES;
    o.format = format;
    cm_status status = cm_model_create(NULL, config, 1, &m);
    if (status == CM_OK) status = cm_model_save(m, path_of(in, "%s", name), &o);
    cm_model_free(m);
    return status;
}

static cm_status write_models(const char *in)
{
    cm_status status = write_model(in, PLAIN, "model.safetensors", CM_MODEL_NATIVE);
    if (status == CM_OK) status = write_model(in, PLAIN, "model.pt", CM_MODEL_TORCH);
    if (status == CM_OK) status = write_model(in, PLAIN, "model.folder", CM_MODEL_DIFFUSERS);
    if (status == CM_OK) status = write_model(in, TINY_JUMP, "jump.safetensors", CM_MODEL_NATIVE);
    if (status == CM_OK) status = write_model(in, TINY_DENOISER, "denoiser.safetensors", CM_MODEL_NATIVE);
    if (status == CM_OK) status = write_model(in, TINY_TWO_TIMES, "two.safetensors", CM_MODEL_NATIVE);
    return status;
}

static int write_file(const char *path, const void *head, size_t head_size, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f) return 0;
    (void)fwrite(head, 1, head_size, f);
    for (size_t i = head_size; i < size; i++) (void)fputc((int)(i * 7 % 10), f);
    return fclose(f) == 0;
}

/* Six pictures of two classes, in every container. */
static int write_sets(const char *in)
{
    static const unsigned char pictures[16] = {0, 0, 8, 3, 0, 0, 0, PICTURES, 0, 0, 0, 28, 0, 0, 0, 28};
    static const unsigned char classes[8] = {0, 0, 8, 1, 0, 0, 0, PICTURES};
    char command[1200];
    (void)snprintf(command, sizeof command, "cd %s && mkdir -p folder/a folder/b idx cifar", in);
    if (system(command) != 0) return 0;
    for (int i = 0; i < PICTURES; i++) {
        for (int k = 0; k < (i == 0 ? 2 : 1); k++)
            if (write_picture_to(NULL, path_of(in, "folder/%s/%d.%s", i % 2 ? "b" : "a", i, k ? "jpg" : "png"), i) !=
                CM_OK)
                return 0;
    }
    (void)snprintf(command, sizeof command,
                   "cd %s && tar cf set.tar -C folder a b && cd folder && python3 -c 'import shutil; "
                   "shutil.make_archive(\"../set\", \"zip\", \".\")'",
                   in);
    if (system(command) != 0) return 0;
    place at = {.out = in, .in = in, .choice = ""};
    if (write_samples(&at) != CM_OK || rename(path_of(in, "samples.npz"), path_of(in, "set.npz")) != 0) return 0;
    return write_file(path_of(in, "idx/train-images-idx3-ubyte"), pictures, sizeof pictures, 16 + PICTURES * 784) &&
           write_file(path_of(in, "idx/train-labels-idx1-ubyte"), classes, sizeof classes, 8 + PICTURES) &&
           write_file(path_of(in, "cifar/data_batch_1.bin"), "", 1, 2 * 3073);
}

/* AlexNet's layers for LPIPS, as a file of safetensors. */
static int write_backbone(const char *path)
{
    static const int layers[5][4] = {
        {0, 64, 3, 11}, {3, 192, 64, 5}, {6, 384, 192, 3}, {8, 256, 384, 3}, {10, 256, 256, 3}};
    char head[2048];
    size_t n = 8, offset = 0;
    for (int i = 0; i < 5; i++) {
        const int *l = layers[i];
        const size_t weights = (size_t)l[1] * (size_t)l[2] * (size_t)(l[3] * l[3]) * 4, bias = (size_t)l[1] * 4;
        n += (size_t)snprintf(head + n, sizeof head - n,
                              "%c\"features.%d.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d,%d,%d],"
                              "\"data_offsets\":[%zu,%zu]},\"features.%d.bias\":{\"dtype\":\"F32\","
                              "\"shape\":[%d],\"data_offsets\":[%zu,%zu]}",
                              i ? ',' : '{', l[0], l[1], l[2], l[3], l[3], offset, offset + weights, l[0], l[1],
                              offset + weights, offset + weights + bias);
        offset += weights + bias;
    }
    head[n++] = '}';
    while (n % 8) head[n++] = ' ';
    for (int i = 0; i < 8; i++) head[i] = (char)((n - 8) >> (8 * i) & 255);
    float *values = malloc(offset);
    FILE *f = fopen(path, "wb");
    if (values) fill(offset / 4, 12, values);
    for (size_t i = 0; values && i < offset / 4; i++) values[i] *= 0.02f;
    const int done = values && f && fwrite(head, 1, n, f) == n && fwrite(values, 1, offset, f) == offset;
    free(values);
    return f && fclose(f) == 0 && done;
}

/* Two stored averages of a step. */
static cm_status write_averages(const char *in)
{
    cm_train_options *o = NULL;
    cm_trainer *t = NULL;
    cm_status status = tiny_options(NULL, "edm", &o);
    if (status == CM_OK) status = cm_train_options_set(o, "ema", "power:0.05,power:0.1");
    if (status == CM_OK) status = tiny_trainer_with(NULL, o, &t);
    if (status == CM_OK) status = tiny_trainer_step(t);
    if (status == CM_OK) status = cm_trainer_save(t, path_of(in, "averages"), 2);
    cm_trainer_free(t);
    cm_train_options_free(o);
    return status;
}

int operations_prepare(const char *in)
{
    const place at = {.in = in, .out = in, .choice = ""};
    if (write_models(in) == CM_OK && write_sets(in) && write_averages(in) == CM_OK &&
        write_backbone(path_of(in, "alex.safetensors")) && run_in(&at, path_of(in, "kept")) == CM_OK)
        return 1;
    fprintf(stderr, "the files of the operations: %s\n", cm_last_message());
    return 0;
}
