/* auto.h - cm-train --preset auto: a plan of several runs in one directory (docs/training.md).
 *
 *   RUN/plan.json           what was seen, measured and chosen; written once, before the first stage
 *   RUN/stages/N-NAME/      a stage: a run as any other one (run.h)
 *   RUN/clock.json          the seconds that the plan has been at work, and the stage at hand
 *   RUN/log.jsonl           a line for each stage and each look at the pictures that were held out
 *   RUN/samples/            the last page of each stage, and nearest.png
 *   RUN/report.html, RUN/model.safetensors, RUN/.lock
 *
 * What is done stands in the stages themselves: one that has a model.safetensors has ended, one with a checkpoint
 * goes on, another begins anew. */
#ifndef AUTO_H
#define AUTO_H

#include "cli.h"
#include "plan.h"

enum { AUTO_PATH = 4096, AUTO_GIVEN = 96 };

/* An option that was given, for one stage or, -1, for all that read it. */
typedef struct auto_given {
    int stage;
    char *key, *value;
} auto_given;

/* What the command line says. */
typedef struct auto_request {
    const char *data, *out, *budget, *shares, *held_out, *size, *labels, *class_names, *network, *batch, *seed,
        *threads, *objective, *guidance;
    int random_crop, stop_on_bad, is_gray, resume, only_plan, quiet;
    auto_given given[AUTO_GIVEN];
    int n_given;
} auto_request;

/* What stands in plan.json beside the plan. */
typedef struct auto_data {
    char path[AUTO_PATH], kind[32], classes_from[32], class_names[AUTO_PATH],
        network[PLAN_NETWORK * 8]; /* network: one that was given */
    int labels, random_crop, stop_on_bad, channels, classes, looked_at_all;
    uint64_t seed, pictures, damaged, duplicates, small, held_out;
    double held_share; /* before the look: negative, the plan's own one */
} auto_data;

/* Pictures that are looked at again and again; in memory, since a run that is at work reads the set. */
enum { AUTO_LOOK = 64 };
typedef struct auto_look_at {
    size_t n;
    float *images;
    int32_t labels[AUTO_LOOK];
} auto_look_at;

typedef struct auto_run {
    const cli *c;
    cm_context *context;
    const char *out;
    int quiet, threads; /* 0: all */
    int lock;
    double budget;        /* seconds, of all of it */
    double began, before; /* when this process began, and the seconds of those before it */
    auto_data data;
    plan_facts facts;
    plan_wishes wishes;
    plan plan;
    auto_given given[AUTO_GIVEN];
    int n_given;
    int stage;              /* the one at hand */
    double stage_ends;      /* seconds of the plan at which it has to end */
    double slowness;        /* of steps, against what was measured */
    cm_dataset *set, *held; /* to learn from; those that are held out, or NULL */
    auto_look_at looks[2];  /* some of each; no images: nothing is held out */
} auto_run;

/* auto.c: returns the exit code. */
int auto_train(cli *c, auto_request *request);
/* Whether the directory is one of a plan. */
int auto_is_plan(const char *out);
/* Seconds that the plan has been at work. */
double auto_spent(const auto_run *a);
double auto_left(const auto_run *a); /* for the stages */
/* "OUT/NAME", "OUT/stages/2-mid/NAME" */
void auto_path(const auto_run *a, const char *name, char path[AUTO_PATH]);
void auto_stage_path(const auto_run *a, int stage, const char *name, char path[AUTO_PATH]);
int auto_exists(const char *path);

/* Ends the program: "PROGRAM: 'PATH': REASON". */
void auto_fail(const auto_run *a, const char *path, const char *reason);

/* auto_look.c: what the pictures are, and what steps take. */
cm_status auto_look(auto_run *a, const auto_request *request);
cm_status auto_open(auto_run *a, int side); /* a->set and a->held anew */
void auto_close(auto_run *a);
cm_status auto_measure(auto_run *a);

/* auto_file.c: plan.json, clock.json and log.jsonl. */
void auto_write_plan(const auto_run *a);
void auto_read_plan(auto_run *a);
void auto_write_clock(const auto_run *a);
void auto_read_clock(auto_run *a);
void auto_log(const auto_run *a, const char *format, ...); /* a line of JSON without its braces */
void auto_mend_log(const auto_run *a);
void auto_copy(const auto_run *a, const char *from, const char *to); /* whole or not at all */

/* auto_stage.c: the stage at hand to its end. */
cm_status auto_stage(auto_run *a);
/* Whether its options go together, before there are models for it. */
cm_status auto_stage_check(const auto_run *a);
/* Whether an option of training is read by an objective; options of a run are read by all. */
int auto_is_read(const char *key, const char *objective);
/* The scale of guidance that a stage of the plan learns; 1: none. */
double auto_guidance(const auto_run *a, int stage);
/* Whether a key was given for all stages or for this one. */
int auto_is_given(const auto_run *a, const plan_stage *s, const char *key);

/* auto_watch.c */
typedef struct auto_losses {
    double training, held_out;
} auto_losses;
/* Reads what is looked at, once the sets are open; frees it with the sets. */
cm_status auto_read_looks(auto_run *a);
void auto_free_looks(auto_run *a);
/* The loss of denoising, weighted as edm weighs it, of so many pictures of each side, always the same noise. */
cm_status auto_losses_of(auto_run *a, cm_model *model, auto_losses *losses);
/* n images of noises that are always the same: of a consistency model in one step or more, of a diffusion model by so
 * many of Heun, with the guidance that a stage learns. */
cm_status auto_draw(const auto_run *a, cm_model *model, int steps, int stage, size_t n, const int32_t *labels,
                    float *images);
/* A page of samples of a stage's model; steps 2: two of a consistency model. */
cm_status auto_page(auto_run *a, cm_model *model, int steps, const char *name);
typedef struct auto_nearest {
    int samples, repeats;    /* of so many samples so many have a training picture nearer than every one held out */
    uint64_t looked_through; /* training pictures */
} auto_nearest;
/* Samples beside the training and the held-out pictures that are nearest to them: RUN/samples/nearest.png. */
cm_status auto_find_nearest(auto_run *a, cm_model *model, auto_nearest *nearest);

/* auto_average.c: the best of the averages of a stage that has ended becomes its model, and a line of the log says
 * which one. */
cm_status auto_choose_average(auto_run *a, int stage);

/* auto_report.c: RUN/report.html. */
void auto_print_plan(const auto_run *a, FILE *out);
void auto_report(const auto_run *a);

#endif
