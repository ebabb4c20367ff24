/* doctor_rules.c - the rules of cm-train --doctor, one function each, and the table of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

enum { FEW = 20 /* lines: with fewer a rule about the course of a run says nothing */ };

#define SAY(text, ...) (void)snprintf(text, DOCTOR_TEXT, __VA_ARGS__)

/* --- figures of parts of a run ------------------------------------------------------------------ */

typedef double (*doctor_value)(const doctor_line *line);

static double loss_of(const doctor_line *l)
{
    return l->loss;
}

static double norm_of(const doctor_line *l)
{
    return l->grad_norm;
}

static double speed_of(const doctor_line *l)
{
    return l->images_per_second;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of lines [from, to), those that are not finite left out; NaN where none is left. */
static double median(const doctor_run *run, size_t from, size_t to, doctor_value value)
{
    double *v = calloc(to - from + 1, sizeof *v);
    size_t n = 0;
    for (size_t i = from; v && i < to; i++)
        if (isfinite(value(&run->lines[i]))) v[n++] = value(&run->lines[i]);
    if (v) qsort(v, n, sizeof *v, ascending);
    const double result = n ? v[n / 2] : (double)NAN;
    free(v);
    return result;
}

/* The first line of the last stage, since the loss of one stage does not compare with that of another. */
static size_t last_stage(const doctor_run *run)
{
    size_t i = run->n_lines;
    if (!i) return 0;
    const doctor_line *end = &run->lines[i - 1];
    while (i && run->lines[i - 1].stage == end->stage && run->lines[i - 1].scales == end->scales) i--;
    return i;
}

static const doctor_line *last(const doctor_run *run)
{
    return run->n_lines ? &run->lines[run->n_lines - 1] : NULL;
}

/* --- the loss ----------------------------------------------------------------------------------- */

static int losses_that_are_no_numbers(const doctor_run *run, char *found, char *advice)
{
    size_t bad = 0;
    for (size_t i = 0; i < run->n_lines; i++)
        bad += !isfinite(run->lines[i].loss) || !isfinite(run->lines[i].grad_norm);
    if (!bad) return 0;
    SAY(found, "%zu of %zu lines have a loss or a gradient that is no number", bad, run->n_lines);
    SAY(advice,
        "go back to a checkpoint before the first of them with a lower rate (--set lr=%.3g) or with "
        "--set grad_clip=1",
        run->lr / 3);
    return 1;
}

/* The denoising loss of edm is weighted so that a network that knows nothing has about 1.  After 10,000 images, with
 * the noise levels of its paper, the presets for digits and CIFAR-10 are at 0.4 and 0.33, and digits after 30,000 at
 * 0.17: a run that is above these has a fault, unless its pictures are noise. */
static const struct {
    double images, loss;
} denoising[] = {{10e3, 0.75}, {30e3, 0.6}, {100e3, 0.5}};

static int loss_above_the_curve(const doctor_run *run, char *found, char *advice)
{
    const doctor_line *end = last(run);
    double most = 0;
    if (strcmp(run->objective, "edm") != 0 || run->n_lines < FEW || !run->begins_as_new) return 0;
    if (run->p_mean != -1.2 || run->p_std != 1.2) return 0;
    for (size_t i = 0; i < sizeof denoising / sizeof *denoising; i++)
        if (end->images >= denoising[i].images) most = denoising[i].loss;
    const double now = median(run, run->n_lines - run->n_lines / 8 - 1, run->n_lines, loss_of);
    if (most == 0 || !(now > most)) return 0;
    SAY(found, "the loss is %.3g after %.3g images, where the runs of docs/recipes.md were below %.3g", now,
        end->images, most);
    SAY(advice,
        "look at a page of the pictures (cm-data show), and compare the rate (%.3g) and the warm-up (%.0f steps) "
        "with a preset of the same size",
        run->lr, run->warmup_steps);
    return 1;
}

/* Objectives whose loss falls where the network gets better, within a stage.  That of the continuous-time and of some
 * consistency objectives has the network on both sides and says nothing. */
static int loss_tells(const doctor_run *run)
{
    static const char *const those[] = {"edm", "pd", "cmt", "ect", "meanflow", "soflow"};
    for (size_t i = 0; i < sizeof those / sizeof *those; i++)
        if (strcmp(run->objective, those[i]) == 0) return 1;
    return 0;
}

/* The standard error of a median, from the median distance of lines [from, to) to it (for a normal spread). */
static double error_of(const doctor_run *run, size_t from, size_t to, double middle)
{
    double *v = calloc(to - from + 1, sizeof *v);
    size_t n = 0;
    for (size_t i = from; v && i < to; i++)
        if (isfinite(run->lines[i].loss)) v[n++] = fabs(run->lines[i].loss - middle);
    if (v) qsort(v, n, sizeof *v, ascending);
    const double result = n ? 1.25 * 1.48 * v[n / 2] / sqrt((double)n) : 0;
    free(v);
    return result;
}

static int loss_that_rises(const doctor_run *run, char *found, char *advice)
{
    const size_t from = last_stage(run), n = run->n_lines - from, tail = run->n_lines - n / 4;
    if (!loss_tells(run) || n < 2 * FEW) return 0;
    const double middle = median(run, from + n / 4, from + n / 2, loss_of);
    const double end = median(run, tail, run->n_lines, loss_of);
    const double chance =
        hypot(error_of(run, from + n / 4, from + n / 2, middle), error_of(run, tail, run->n_lines, end));
    if (!(end > 1.1 * middle && end - middle > 4 * chance)) return 0;
    SAY(found, "the loss rises: %.3g in the second quarter of the lines that compare, %.3g in the last one", middle,
        end);
    SAY(advice,
        "a lower rate (--set lr=%.3g), or clipped gradients (--set grad_clip=1), from a checkpoint before it rose",
        run->lr / 3);
    return 1;
}

/* --- the gradient and the rate -------------------------------------------------------------------- */

static int gradients_that_jump(const doctor_run *run, char *found, char *advice)
{
    const double usual = median(run, 0, run->n_lines, norm_of);
    size_t jumps = 0;
    if (run->n_lines < FEW || run->grad_clip > 0) return 0; /* a clipped gradient may jump */
    for (size_t i = run->n_lines / 10; i < run->n_lines; i++) jumps += run->lines[i].grad_norm > 20 * usual;
    if (jumps < 2 || jumps * 200 < run->n_lines) return 0;
    SAY(found, "%zu of %zu gradients are more than 20 times as long as the median of %.3g", jumps, run->n_lines,
        usual);
    SAY(advice, "--set grad_clip=%.2g keeps single batches from moving the weights far; a lower rate does too",
        usual);
    return 1;
}

static int gradients_of_zero(const doctor_run *run, char *found, char *advice)
{
    if (run->n_lines < FEW || !(median(run, run->n_lines / 2, run->n_lines, norm_of) == 0)) return 0;
    SAY(found, "the gradient is 0 in most steps: nothing is learned");
    SAY(advice, "look at the pictures (cm-data show) and at the weights that the run began with");
    return 1;
}

static int rate_that_is_still_high(const doctor_run *run, char *found, char *advice)
{
    const doctor_line *end = last(run);
    double most = 0;
    for (size_t i = 0; i < run->n_lines; i++) most = fmax(most, run->lines[i].lr);
    if (!run->is_finished || run->n_lines < FEW || end->lr < 0.5 * most) return 0;
    SAY(found, "the run has ended with %.0f %% of its highest rate, %.3g", 100 * end->lr / most, end->lr);
    SAY(advice,
        "the last steps count most with a falling rate: --steps N --set anneal_begin=60%% --set anneal_end=100%%");
    return 1;
}

static int warmup_that_fills_the_run(const doctor_run *run, char *found, char *advice)
{
    if (run->steps <= 0 || run->warmup_steps < 0.3 * run->steps) return 0;
    SAY(found, "the rate is warmed up over %.0f of the %.0f steps", run->warmup_steps, run->steps);
    SAY(advice, "--set warmup_steps=4%%; the presets of papers are made for more steps");
    return 1;
}

/* --- averages --------------------------------------------------------------------------------------- */

/* The rate of an average at step k, from 0 (option "ema" of cm_train_options). */
static double rate_at(const doctor_average *a, double k, double batch)
{
    const double warm = (1 + k) / (10 + k);
    if (strcmp(a->form, "warmup") == 0) return warm < a->value ? warm : a->value;
    if (strcmp(a->form, "halflife") == 0) {
        const double ramped = a->ramp > 0 && k * batch * a->ramp < a->value ? k * batch * a->ramp : a->value;
        return pow(0.5, batch / fmax(ramped, 1e-8));
    }
    return a->value; /* of a rate, and of one that is applied every 16th step to the power of 16 */
}

double doctor_share_before(const doctor_average *a, double before, double steps, double batch)
{
    double logarithm = 0;
    if (strcmp(a->form, "power") == 0 || strcmp(a->form, "gamma") == 0) return 0; /* they grow with the run */
    for (double k = before; k < steps; k++) {
        const double r = rate_at(a, k, batch);
        if (r <= 0) return 0;
        logarithm += log(r);
        if (logarithm < -50) return 0;
    }
    return exp(logarithm);
}

static int averages_that_are_too_long(const doctor_run *run, char *found, char *advice)
{
    const doctor_line *end = last(run);
    for (int i = 0; i < run->n_averages && end; i++) {
        const double share = doctor_share_before(&run->averages[i], 0.2 * end->step, end->step, run->batch);
        if (share < 0.1) continue;
        SAY(found,
            "average %s:%g is too long for %.0f steps: %.0f %% of it are the weights of the first fifth of them",
            run->averages[i].form, run->averages[i].value, end->step, 100 * share);
        SAY(advice,
            "--set ema=halflife:5%% is a twentieth of the run's images; a page of samples from model.safetensors of "
            "the checkpoint shows what the weights themselves are worth");
        return 1;
    }
    return 0;
}

/* --- the data and the machine ------------------------------------------------------------------------ */

static int pictures_that_were_not_seen(const doctor_run *run, char *found, char *advice)
{
    const doctor_line *end = last(run);
    if (!end || run->pictures <= 0 || !run->is_finished || end->images >= run->pictures) return 0;
    SAY(found, "the run has ended after %.0f of the %.0f pictures", end->images, run->pictures);
    SAY(advice, "more steps: --resume --steps %.0f sees each of them five times",
        ceil(5 * run->pictures / fmax(run->batch, 1)));
    return 1;
}

static int pictures_that_were_seen_too_often(const doctor_run *run, char *found, char *advice)
{
    const doctor_line *end = last(run);
    if (!end || run->pictures <= 0 || run->dropout > 0 || run->augment > 0 || end->images < 200 * run->pictures)
        return 0;
    SAY(found, "each of the %.0f pictures was seen %.0f times, without dropout and without augmentation",
        run->pictures, end->images / run->pictures);
    SAY(advice,
        "samples may be copies of them: --set augment=0.12 (the network needs augment_dim 6) or --set dropout=0.1; "
        "--preset auto holds pictures out and shows the nearest ones");
    return 1;
}

static int steps_that_wait_for_data(const doctor_run *run, char *found, char *advice)
{
    double waited = 0, worked = 0;
    for (size_t i = 0; i < run->n_lines; i++)
        if (run->lines[i].images_per_second > 0) {
            waited += run->lines[i].data_wait;
            worked += run->batch / run->lines[i].images_per_second;
        }
    if (run->n_lines < FEW || waited < 0.05 * (waited + worked)) return 0;
    SAY(found, "%.0f %% of the time is spent waiting for pictures", 100 * waited / (waited + worked));
    SAY(advice,
        "cm-data pack PICTURES -o FILE.tar --images --size N makes one file of small pictures, which reads faster");
    return 1;
}

static int steps_that_became_slow(const doctor_run *run, char *found, char *advice)
{
    const size_t n = run->n_lines;
    if (n < FEW) return 0;
    const double best = median(run, 0, n, speed_of), now = median(run, n - n / 8 - 1, n, speed_of);
    if (!(now < 0.6 * best)) return 0;
    SAY(found, "the last steps make %.3g images a second, and half of all steps more than %.3g", now, best);
    SAY(advice,
        "something else uses the processors, or they have become hot; the time that is left is longer than said");
    return 1;
}

static int memory_that_grows(const doctor_run *run, char *found, char *advice)
{
    const doctor_line *end = last(run);
    const double before = run->n_lines >= FEW ? run->lines[run->n_lines / 4].peak_bytes : 0;
    if (before <= 0 || end->peak_bytes < 1.25 * before + 64e6) return 0;
    SAY(found, "memory has grown from %.0f to %.0f MB since the first quarter", before / 1e6, end->peak_bytes / 1e6);
    SAY(advice,
        "pages of samples and evaluations take some when they begin; if it goes on, it is a fault: report it");
    return 1;
}

/* --- the course of the run --------------------------------------------------------------------------- */

static int run_that_stands_still(const doctor_run *run, char *found, char *advice)
{
    const doctor_line *end = last(run);
    if (!end || run->is_finished || run->seconds < 900) return 0;
    SAY(found, "step %.0f of %.0f was the last one, %.2g hours ago", end->step, run->steps, run->seconds / 3600);
    SAY(advice, "unless log_every is that long it was stopped or killed: cm-train --out RUN --resume goes on");
    return 1;
}

static int distance_that_grows(const doctor_run *run, char *found, char *advice)
{
    const doctor_metric *best = run->metrics;
    if (run->n_metrics < 3) return 0;
    for (size_t i = 0; i < run->n_metrics; i++)
        if (run->metrics[i].distance < best->distance) best = &run->metrics[i];
    const doctor_metric *end = &run->metrics[run->n_metrics - 1];
    if (!(end->distance > 1.1 * best->distance)) return 0;
    SAY(found, "%s was %.3g at step %.0f and is %.3g at step %.0f", run->metric, best->distance, best->step,
        end->distance, end->step);
    SAY(advice, "RUN/best.safetensors is the better model; a falling rate (--set anneal_end=100%%) often mends it");
    return 1;
}

static int last_stage_that_is_short(const doctor_run *run, char *found, char *advice)
{
    const size_t from = last_stage(run);
    if (!run->is_finished || run->n_lines < 2 * FEW || from == 0 || last(run)->stage == 0 ||
        (run->n_lines - from) * 20 >= run->n_lines)
        return 0;
    SAY(found, "the last stage of the mapping, %d, has only the last %.0f %% of the steps", last(run)->stage,
        100.0 * (double)(run->n_lines - from) / (double)run->n_lines);
    SAY(advice, "one-step samples are made in the last stages: fewer of them (--set ect_stages=N) or more steps");
    return 1;
}

static int lines_that_are_damaged(const doctor_run *run, char *found, char *advice)
{
    if (!run->n_damaged) return 0;
    SAY(found, "%zu lines of log.jsonl are damaged", run->n_damaged);
    SAY(advice, "something else has written to the file, or the disk has a fault");
    return 1;
}

const doctor_rule doctor_rules[] = {
    {"losses_that_are_no_numbers", losses_that_are_no_numbers},
    {"loss_above_the_curve", loss_above_the_curve},
    {"loss_that_rises", loss_that_rises},
    {"gradients_that_jump", gradients_that_jump},
    {"gradients_of_zero", gradients_of_zero},
    {"rate_that_is_still_high", rate_that_is_still_high},
    {"warmup_that_fills_the_run", warmup_that_fills_the_run},
    {"averages_that_are_too_long", averages_that_are_too_long},
    {"pictures_that_were_not_seen", pictures_that_were_not_seen},
    {"pictures_that_were_seen_too_often", pictures_that_were_seen_too_often},
    {"steps_that_wait_for_data", steps_that_wait_for_data},
    {"steps_that_became_slow", steps_that_became_slow},
    {"memory_that_grows", memory_that_grows},
    {"run_that_stands_still", run_that_stands_still},
    {"distance_that_grows", distance_that_grows},
    {"last_stage_that_is_short", last_stage_that_is_short},
    {"lines_that_are_damaged", lines_that_are_damaged},
};
const size_t doctor_n_rules = sizeof doctor_rules / sizeof *doctor_rules;
