/* train_program.c RUN UNTIL [OBJECTIVE]: trains a tiny network, from RUN's newest checkpoint
 * when there is one, to step UNTIL; saves after every step and says so.  Exit 0, 3 for an
 * IO error, 1 for any other.  Without arguments it prints the names of the objectives.
 * kill_resume.py runs it under the shim. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <consistency.h>

enum { BATCH = 2, VALUES = 64 };

static int report(const char *what, cm_status status)
{
    if (status == CM_OK) return 0;
    fprintf(stderr, "%s: %s: %s\n", what, cm_status_name(status), cm_last_message());
    return status == CM_ERR_IO ? 3 : 1;
}

/* Networks of one time, one of two, and one that is told of guidance too. */
#define MODEL(outputs, more, precond)                                                                                \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"in_channels\": 1, \"model_channels\": 4, "      \
    "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": [], \"out_channels\": " outputs more            \
    "}, \"precond\": {\"type\": \"" precond "\"}}"
#define DENOISER MODEL("1", "", "edm")
#define JUMP MODEL("1", "", "ecm")
#define TWO_TIMES MODEL("1", ", \"second_time\": \"concat\"", "average-velocity")
#define GUIDED MODEL("2", ", \"second_time\": \"concat\", \"conditions\": 3, \"label_dim\": 2", "average-velocity")

static cm_status open_with(const cm_train_options *o, const char *model, const char *teacher, cm_trainer **out)
{
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_status status = cm_model_create(NULL, model, 1, &inputs.model);
    if (status == CM_OK && teacher) status = cm_model_create(NULL, teacher, 2, &inputs.teacher);
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, out);
    cm_model_free(inputs.model); /* the trainer keeps what it needs */
    cm_model_free(inputs.teacher);
    return status;
}

/* Each objective accepts one of these pairs, of which the last has classes. */
static cm_status open_trainer(const cm_train_options *o, cm_trainer **out, int *has_classes)
{
    static const char *const pairs[][2] = {
        {DENOISER, NULL}, {DENOISER, DENOISER}, {DENOISER, JUMP}, {TWO_TIMES, NULL}, {GUIDED, NULL}};
    const size_t n = sizeof pairs / sizeof *pairs;
    cm_status status = CM_ERR_ARGUMENT;
    for (size_t i = 0; i < n && (status == CM_ERR_ARGUMENT || status == CM_ERR_SHAPE); i++) {
        status = open_with(o, pairs[i][0], pairs[i][1], out);
        *has_classes = i == n - 1;
    }
    return status;
}

int main(int argc, char **argv)
{
    char path[512];
    struct stat st;
    cm_trainer *trainer = NULL;
    cm_train_options *o = NULL;
    uint64_t step = 0;
    float images[BATCH * VALUES];
    const int32_t labels[BATCH] = {0, 1};
    cm_condition condition = CM_CONDITION_INIT;
    int has_classes = 0;
    const cm_images view = cm_images_f32(BATCH, 1, 8, 8, images);
    for (size_t i = 0; argc == 1 && cm_choice_name("objectives", i); i++) puts(cm_choice_name("objectives", i));
    if (argc == 1) return 0;
    if (argc != 3 && argc != 4) return 2;
    int code = report("options", cm_train_options_create(NULL, &o));
    if (code == 0 && argc == 4) code = report("objective", cm_train_options_set(o, "objective", argv[3]));
    /* An image gives several pairs to cmt, which are what its batch counts. */
    const int pairs = argc == 4 && strcmp(argv[3], "cmt") == 0 ? 3 : 1;
    if (code == 0 && pairs > 1) code = report("cmt_nfe", cm_train_options_set_number(o, "cmt_nfe", pairs));
    if (code == 0) code = report("batch", cm_train_options_set_number(o, "batch", BATCH * pairs));
    if (code == 0) code = report("steps", cm_train_options_set(o, "steps", "10"));
    if (code == 0) code = report("threads", cm_train_options_set(o, "threads", "1"));
    if (code == 0) code = report("trainer", open_trainer(o, &trainer, &has_classes));
    cm_train_options_free(o);
    if (code) return code;
    snprintf(path, sizeof path, "%s/checkpoints/LATEST", argv[1]);
    if (stat(path, &st) == 0) code = report("resume", cm_trainer_resume(trainer, argv[1], NULL, 0));
    (void)cm_trainer_steps(trainer, &step);
    if (has_classes) condition.labels = labels;
    printf("begins at %llu\n", (unsigned long long)step);
    fflush(stdout);
    while (!code && step < strtoull(argv[2], NULL, 10)) {
        for (int i = 0; i < BATCH * VALUES; i++) images[i] = (float)((i * 7 + (int)step * 3) % 11) / 5 - 1;
        code = report("step", cm_trainer_step(trainer, &view, &condition, NULL));
        if (!code) code = report("save", cm_trainer_save(trainer, argv[1], 2));
        if (!code) printf("saved %llu\n", (unsigned long long)++step);
        fflush(stdout);
    }
    cm_trainer_free(trainer);
    return code;
}
