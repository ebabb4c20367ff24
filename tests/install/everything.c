/* everything MODEL FOLDER: one use of every header of the library, from memory to a training run, in FOLDER. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <consistency.h>

enum { N = 6, SIDE = 32, PIXELS = SIDE * SIDE };

/* Leaves the function that it stands in with the status of a call that failed. */
#define TRY(call)                                                                                                    \
    do {                                                                                                             \
        cm_status status_ = (call);                                                                                  \
        if (status_ != CM_OK) {                                                                                      \
            fprintf(stderr, "%s: %s: %s\n", #call, cm_status_name(status_), cm_last_message());                      \
            return status_;                                                                                          \
        }                                                                                                            \
    } while (0)

typedef struct program {
    const char *folder;
    char path[512];
    unsigned char *file; /* the model's, borrowed by the model */
    long size;
    cm_context *context;
    cm_model *model;
    cm_sampler *sampler;
    cm_dataset *dataset;
    cm_train_options *training;
    cm_trainer *trainer;
    cm_run_options *options;
    cm_run *run;
    uint8_t pixels[N * PIXELS];
} program;

static const char *in_folder(program *p, const char *name)
{
    snprintf(p->path, sizeof p->path, "%s/%s", p->folder, name);
    return p->path;
}

/* base.h and model.h: a context of two threads, a model from memory. */
static cm_status load(program *p, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) || (p->size = ftell(f)) <= 0 || fseek(f, 0, SEEK_SET)) return CM_ERR_IO;
    p->file = (unsigned char *)malloc((size_t)p->size);
    if (!p->file || fread(p->file, 1, (size_t)p->size, f) != (size_t)p->size) return CM_ERR_IO;
    fclose(f);
    cm_context_options how = CM_CONTEXT_OPTIONS_INIT;
    how.threads = 2;
    TRY(cm_context_create(&how, &p->context));
    TRY(cm_model_load_memory(p->context, p->file, (size_t)p->size, NULL, &p->model));
    cm_model_info info = CM_MODEL_INFO_INIT;
    TRY(cm_model_info_get(p->model, &info));
    return info.height == SIDE && info.channels == 1 ? CM_OK : CM_ERR_SHAPE;
}

/* checkpoint.h: the same file as data. */
static cm_status inspect(program *p)
{
    cm_checkpoint *file;
    cm_checkpoint_report report = CM_CHECKPOINT_REPORT_INIT;
    TRY(cm_checkpoint_open_memory(p->context, p->file, (size_t)p->size, NULL, &file));
    cm_status status = cm_checkpoint_check(file, NULL, &report);
    cm_checkpoint_free(file);
    return status != CM_OK || report.is_sound ? status : CM_ERR_FORMAT;
}

/* sampler.h: digits into interleaved bytes. */
static cm_status sample(program *p)
{
    static const int32_t digits[N] = {0, 1, 0, 1, 0, 1};
    cm_condition condition = CM_CONDITION_INIT;
    cm_sample_options how = CM_SAMPLE_OPTIONS_INIT;
    cm_images view = cm_images_u8(N, SIDE, SIDE, 1, p->pixels);
    condition.labels = digits;
    how.condition = &condition;
    how.seed = 1;
    TRY(cm_sampler_create(p->model, NULL, &p->sampler));
    return cm_sampler_run_images(p->sampler, &how, &view);
}

/* image.h: PNG in memory and back; a file for each picture. */
static cm_status pictures(program *p)
{
    if (mkdir(in_folder(p, "pictures"), 0777)) return CM_ERR_IO;
    for (int i = 0; i < N; i++) {
        uint8_t *bytes = NULL;
        size_t size = 0;
        cm_images one = cm_images_u8(1, SIDE, SIDE, 1, p->pixels + i * PIXELS), read = CM_IMAGES_INIT;
        cm_image_write_options how = CM_IMAGE_WRITE_OPTIONS_INIT;
        how.format = CM_IMAGE_FORMAT_PNG;
        TRY(cm_image_encode(p->context, &one, &how, &bytes, &size));
        TRY(cm_image_decode(p->context, bytes, size, NULL, &read));
        int same = read.height == SIDE && memcmp(read.data, one.data, PIXELS) == 0;
        cm_bytes_free(p->context, bytes);
        cm_image_free(p->context, &read);
        if (!same) return CM_ERR_INTERNAL;
        char name[64];
        snprintf(name, sizeof name, "pictures/%d_%d.png", i % 2, i);
        TRY(cm_image_write(p->context, in_folder(p, name), &one, NULL));
    }
    return CM_OK;
}

/* edit.h: the lower half of a picture is drawn anew, the upper half stays. */
static cm_status edit(program *p)
{
    static const int32_t digit = 0;
    static float mask[PIXELS];
    static uint8_t result[PIXELS];
    for (int i = PIXELS / 2; i < PIXELS; i++) mask[i] = 1;
    cm_images given = cm_images_u8(1, SIDE, SIDE, 1, p->pixels), out = cm_images_u8(1, SIDE, SIDE, 1, result);
    cm_images where = cm_images_f32(1, 1, SIDE, SIDE, mask);
    cm_condition condition = CM_CONDITION_INIT;
    cm_sample_options how = CM_SAMPLE_OPTIONS_INIT;
    cm_edit_options options = CM_EDIT_OPTIONS_INIT;
    condition.labels = &digit;
    how.condition = &condition;
    options.sampling = &how;
    TRY(cm_sampler_inpaint(p->sampler, &options, &given, &where, &out));
    return memcmp(result, p->pixels, PIXELS / 2) == 0 ? CM_OK : CM_ERR_INTERNAL;
}

/* dataset.h and trainer.h: one step on the pictures. */
static cm_status train(program *p)
{
    static float images[4 * PIXELS];
    int32_t labels[4];
    cm_dataset_options how = CM_DATASET_OPTIONS_INIT;
    cm_images batch = cm_images_f32(4, 1, SIDE, SIDE, images);
    how.channels = 1;
    TRY(cm_dataset_open(p->context, in_folder(p, "pictures"), &how, &p->dataset));
    TRY(cm_dataset_read(p->dataset, 0, &batch, labels));

    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_train_report report = CM_TRAIN_REPORT_INIT;
    cm_condition condition = CM_CONDITION_INIT;
    inputs.model = p->model;
    condition.labels = labels;
    TRY(cm_train_options_create(p->context, &p->training));
    TRY(cm_train_options_set(p->training, "objective", "edm"));
    TRY(cm_train_options_set_number(p->training, "batch", 4));
    TRY(cm_trainer_create(&inputs, p->training, &p->trainer));
    TRY(cm_trainer_step(p->trainer, &batch, &condition, &report));
    return report.step == 1 && report.loss > 0 ? CM_OK : CM_ERR_INTERNAL;
}

static int32_t one_step(void *user, const cm_run_report *report)
{
    *(int *)user += report->event == CM_RUN_STEP;
    return 0;
}

/* run.h: two steps with a checkpoint. */
static cm_status run(program *p)
{
    int steps = 0;
    TRY(cm_run_options_create(p->context, &p->options));
    TRY(cm_run_options_set(p->options, "steps", "2"));
    TRY(cm_run_options_set(p->options, "batch", "4"));
    TRY(cm_run_options_set(p->options, "sample_every", "0"));
    TRY(cm_run_options_inputs(p->options, p->model, NULL, p->dataset));
    TRY(cm_run_create(p->options, in_folder(p, "run"), &p->run));
    TRY(cm_run_execute(p->run, 2, one_step, &steps));
    return steps == 2 ? CM_OK : CM_ERR_INTERNAL;
}

int main(int argc, char **argv)
{
    static program p;
    if (argc != 3) return 2;
    p.folder = argv[2];
    cm_status status = load(&p, argv[1]);
    if (status == CM_OK) status = inspect(&p);
    if (status == CM_OK) status = sample(&p);
    if (status == CM_OK) status = pictures(&p);
    if (status == CM_OK) status = edit(&p);
    if (status == CM_OK) status = train(&p);
    if (status == CM_OK) status = run(&p);
    cm_run_free(p.run);
    cm_run_options_free(p.options);
    cm_trainer_free(p.trainer);
    cm_train_options_free(p.training);
    cm_dataset_free(p.dataset);
    cm_sampler_free(p.sampler);
    cm_model_free(p.model);
    cm_context_free(p.context);
    free(p.file);
    if (status == CM_OK) printf("everything: libconsistency %s\n", cm_version());
    return status == CM_OK ? 0 : 1;
}
