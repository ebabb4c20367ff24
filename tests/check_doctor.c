/* The rules of cm-train --doctor, on made-up logs: a healthy one has no finding, and each fault has just its own. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../examples/doctor.h"

enum { LINES = 400, METRICS = 6 };
static doctor_line lines[LINES];
static doctor_metric metrics[METRICS];

/* A run that learns: the loss falls with some noise, the rate rises, stays and falls. */
static doctor_run healthy(const char *objective)
{
    doctor_run r;
    uint64_t state = seeded(28);
    memset(&r, 0, sizeof r);
    (void)snprintf(r.objective, sizeof r.objective, "%s", objective);
    (void)snprintf(r.metric, sizeof r.metric, "fd-lenet");
    r.batch = 64;
    r.steps = 10 * LINES;
    r.lr = 1e-3;
    r.pictures = 60000;
    r.warmup_steps = 100;
    r.is_finished = 1;
    r.begins_as_new = 1;
    r.p_mean = -1.2;
    r.p_std = 1.2;
    r.averages[r.n_averages++] = (doctor_average){"warmup", 0.999, 0};
    r.lines = lines;
    r.n_lines = LINES;
    r.metrics = metrics;
    r.n_metrics = METRICS;
    for (int i = 0; i < LINES; i++) {
        const double at = (i + 1.0) / LINES, noise = random_float(&state);
        lines[i] = (doctor_line){.step = 10 * (i + 1),
                                 .images = 640 * (i + 1),
                                 .loss = (0.3 + 0.9 * exp(-30 * at)) * (1 + 0.2 * noise),
                                 .grad_norm = 2 + noise,
                                 .lr = 1e-3 * (at < 0.04  ? at / 0.04
                                               : at < 0.6 ? 1
                                                          : 1 - 0.98 * (at - 0.6) / 0.4),
                                 .images_per_second = 200 + 20 * noise,
                                 .data_wait = 1e-5,
                                 .peak_bytes = 132e6};
    }
    for (int i = 0; i < METRICS; i++) metrics[i] = (doctor_metric){600 * (i + 1), 40 - 5 * i};
    return r;
}

/* Just this rule speaks, and with words in both texts; NULL: none does. */
static void expect(const doctor_run *r, const char *name)
{
    char found[DOCTOR_TEXT], advice[DOCTOR_TEXT];
    for (size_t i = 0; i < doctor_n_rules; i++) {
        *found = *advice = '\0';
        const int says = doctor_rules[i].look(r, found, advice);
        const int should = name && strcmp(name, doctor_rules[i].name) == 0;
        ck_assert_msg(says == should, "%s: rule %s %s: %s", name ? name : "a healthy run", doctor_rules[i].name,
                      says ? "speaks" : "is silent", found);
        ck_assert(!says || (strlen(found) > 10 && strlen(advice) > 10));
        ck_assert(strlen(found) < DOCTOR_TEXT - 1 && strlen(advice) < DOCTOR_TEXT - 1);
    }
}

START_TEST(healthy_runs)
{
    static const char *const objectives[] = {"edm", "ect", "sct", "cmt", "meanflow"};
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++) {
        doctor_run r = healthy(objectives[i]);
        expect(&r, NULL);
        r.n_lines = 0, r.n_metrics = 0; /* before its first line */
        r.is_finished = 0;
        expect(&r, NULL);
    }
}
END_TEST

/* --- one fault each ---------------------------------------------------------------------------- */

static void not_a_number(doctor_run *r)
{
    r->lines[300].loss = (double)NAN;
}

static void never_learned(doctor_run *r)
{
    for (int i = 0; i < LINES; i++) r->lines[i].loss = 1.2;
}

static void rises(doctor_run *r)
{
    for (int i = LINES / 2; i < LINES; i++) r->lines[i].loss *= 1 + 0.8 * (i - LINES / 2.0) / (LINES / 2.0);
}

static void jumps(doctor_run *r)
{
    for (int i = 60; i < LINES; i += 20) r->lines[i].grad_norm = 100;
}

static void flat(doctor_run *r)
{
    for (int i = 10; i < LINES; i++) r->lines[i].grad_norm = 0;
}

static void constant_rate(doctor_run *r)
{
    for (int i = 0; i < LINES; i++) r->lines[i].lr = 1e-3;
}

static void long_warmup(doctor_run *r)
{
    r->warmup_steps = 2000;
}

static void long_average(doctor_run *r)
{
    r->averages[0] = (doctor_average){"rate", 0.9999, 0};
}

static void long_halflife(doctor_run *r)
{
    r->averages[0] = (doctor_average){"halflife", 500000, 0};
}

static void many_pictures(doctor_run *r)
{
    r->pictures = 1e6;
}

static void few_pictures(doctor_run *r)
{
    r->pictures = 1000;
}

static void waits(doctor_run *r)
{
    for (int i = 0; i < LINES; i++) r->lines[i].data_wait = 0.1; /* of 0.42 s in all */
}

static void slow(doctor_run *r)
{
    for (int i = LINES - 60; i < LINES; i++) r->lines[i].images_per_second = 60;
}

static void grows(doctor_run *r)
{
    for (int i = LINES / 2; i < LINES; i++) r->lines[i].peak_bytes = 132e6 + 1e6 * (i - LINES / 2);
}

static void still(doctor_run *r)
{
    r->is_finished = 0;
    r->seconds = 7200;
}

static void worse(doctor_run *r)
{
    r->metrics[METRICS - 1].distance = 30;
}

static void short_stage(doctor_run *r)
{
    for (int i = LINES - 10; i < LINES; i++) r->lines[i].stage = 7;
}

static void damaged(doctor_run *r)
{
    r->n_damaged = 2;
}

static const struct {
    const char *rule, *objective;
    void (*fault)(doctor_run *r);
} faults[] = {{"losses_that_are_no_numbers", "edm", not_a_number},
              {"loss_above_the_curve", "edm", never_learned},
              {"loss_that_rises", "cmt", rises},
              {"gradients_that_jump", "edm", jumps},
              {"gradients_of_zero", "ect", flat},
              {"rate_that_is_still_high", "edm", constant_rate},
              {"warmup_that_fills_the_run", "edm", long_warmup},
              {"averages_that_are_too_long", "edm", long_average},
              {"averages_that_are_too_long", "edm", long_halflife},
              {"pictures_that_were_not_seen", "edm", many_pictures},
              {"pictures_that_were_seen_too_often", "edm", few_pictures},
              {"steps_that_wait_for_data", "edm", waits},
              {"steps_that_became_slow", "edm", slow},
              {"memory_that_grows", "edm", grows},
              {"run_that_stands_still", "edm", still},
              {"distance_that_grows", "edm", worse},
              {"last_stage_that_is_short", "ect", short_stage},
              {"lines_that_are_damaged", "edm", damaged}};
enum { FAULTS = sizeof faults / sizeof *faults };

START_TEST(each_fault_has_its_rule)
{
    doctor_run r = healthy(faults[_i].objective);
    faults[_i].fault(&r);
    expect(&r, faults[_i].rule);
}
END_TEST

START_TEST(each_rule_has_a_fault)
{
    for (size_t i = 0; i < doctor_n_rules; i++) {
        int has = 0;
        for (int k = 0; k < FAULTS; k++) has |= strcmp(faults[k].rule, doctor_rules[i].name) == 0;
        ck_assert_msg(has, "no test for rule %s", doctor_rules[i].name);
    }
}
END_TEST

/* What is said about those whose loss tells nothing, or whose gradients are clipped. */
START_TEST(no_false_alarms)
{
    doctor_run r = healthy("sct");
    rises(&r); /* the loss of sct has the network on both sides */
    expect(&r, NULL);
    r = healthy("edm");
    jumps(&r);
    r.grad_clip = 1;
    expect(&r, NULL);
    r = healthy("edm");
    few_pictures(&r);
    r.augment = 0.12;
    expect(&r, NULL);
    r = healthy("ect");
    for (int i = 0; i < LINES; i++) r.lines[i].stage = i / 50, r.lines[i].loss *= 1 + i / 50;
    expect(&r, NULL); /* stages do not compare */
    r = healthy("edm");
    never_learned(&r);
    r.p_mean = 0; /* other noise levels have other losses */
    expect(&r, NULL);
}
END_TEST

START_TEST(shares_of_averages)
{
    const doctor_average rate = {"rate", 0.99, 0}, half = {"halflife", 6400, 0}, power = {"power", 0.1, 0};
    ck_assert_double_eq_tol(doctor_share_before(&rate, 0, 100, 64), pow(0.99, 100), 1e-12);
    ck_assert_double_eq_tol(doctor_share_before(&half, 100, 200, 64), 0.5, 1e-12);
    ck_assert_double_eq(doctor_share_before(&power, 0, 1000, 64), 0);
    const doctor_average warm = {"warmup", 0.9999, 0};
    ck_assert(doctor_share_before(&warm, 0, 100, 64) < 1e-8); /* the first rate is 0.1 */
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("doctor");
    TCase *t = tcase_create("all");
    tcase_add_test(t, healthy_runs);
    tcase_add_loop_test(t, each_fault_has_its_rule, 0, FAULTS);
    tcase_add_test(t, each_rule_has_a_fault);
    tcase_add_test(t, no_false_alarms);
    tcase_add_test(t, shares_of_averages);
    suite_add_tcase(s, t);
    return s;
}
