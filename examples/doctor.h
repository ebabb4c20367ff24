/* doctor.h - what is suspicious in the log of a run.
 *
 * The rules are pure functions of what the log and the configuration say; doctor_read takes both from a directory. */
#ifndef DOCTOR_H
#define DOCTOR_H

#include <stddef.h>

enum { DOCTOR_TEXT = 400, DOCTOR_NAME = 64, DOCTOR_AVERAGES = 8 };

/* A line of log.jsonl about a step.  A loss or norm that was not finite is NaN. */
typedef struct doctor_line {
    double step, images, loss, grad_norm, lr, images_per_second, data_wait, peak_bytes;
    int stage, scales;
} doctor_line;

/* A line of it about an evaluation. */
typedef struct doctor_metric {
    double step, distance;
} doctor_metric;

/* An average: what option "ema" calls its form, and its two numbers. */
typedef struct doctor_average {
    char form[DOCTOR_NAME];
    double value, ramp;
} doctor_average;

typedef struct doctor_run {
    char objective[DOCTOR_NAME], metric[DOCTOR_NAME];
    double batch, steps, lr, grad_clip, warmup_steps, dropout, augment, p_mean, p_std;
    double pictures;   /* of the data set */
    double seconds;    /* since the last line was written; negative: unknown */
    int is_finished;   /* 1: all steps are taken, or RUN/model.safetensors stands there */
    int begins_as_new; /* 1: neither init nor teacher */
    doctor_average averages[DOCTOR_AVERAGES];
    int n_averages;
    doctor_line *lines; /* in the order of their steps */
    size_t n_lines;
    doctor_metric *metrics;
    size_t n_metrics, n_damaged; /* n_damaged: lines that are no JSON of ours, the last one not counted */
} doctor_run;

/* A rule writes a sentence of what it found and one of what to do, and returns 1; or returns 0. */
typedef struct doctor_rule {
    const char *name;
    int (*look)(const doctor_run *run, char found[DOCTOR_TEXT], char advice[DOCTOR_TEXT]);
} doctor_rule;
extern const doctor_rule doctor_rules[];
extern const size_t doctor_n_rules;

/* The share of an average's weight that lies on the weights from before step `before`, after `steps` steps. */
double doctor_share_before(const doctor_average *average, double before, double steps, double batch);

/* doctor.c: looks at a run, or at each stage of a plan, and prints what it finds; returns the exit code: 0, or
 * DOCTOR_FOUND where something is suspicious. */
enum { DOCTOR_FOUND = 3 };
struct cli;
int doctor(const struct cli *c, const char *directory);

#endif
