/* The planner of cm-train --preset auto: what it asks for and what it chooses, from made-up machines; and whether a
 * plan that is revised on the way ends in time on machines that change their speed. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../examples/plan.h"

/* --- machines ------------------------------------------------------------------------------------- */

/* Seconds of an image: a machine of so many multiply-adds a second, whose networks cost by channels and blocks. */
static double cost(const plan_measure *m, double speed, double bf16)
{
    static const double objectives[PLAN_STAGES] = {1, 1.1, 1.35};
    const plan_rung *r = &recipe.rungs[m->rung < 0 ? 1 : m->rung];
    const double pixels = (double)m->side * m->side;
    const double of_network = pixels * r->channels * r->channels * (r->blocks + 1) * 4e2;
    return of_network * objectives[m->stage] / speed / (m->precision == PLAN_BF16 ? bf16 : 1);
}

static plan_facts facts_of(double budget, uint64_t pictures, int side)
{
    plan_facts f;
    memset(&f, 0, sizeof f);
    f.budget = budget;
    f.pictures = pictures;
    f.channels = 3;
    f.may_mirror = 1;
    static const int sides[] = {64, 48, 32};
    for (int i = 0; i < 3; i++)
        if (sides[i] <= side) f.sides[f.n_sides++] = sides[i];
    if (!f.n_sides) f.sides[f.n_sides++] = side;
    return f;
}

static plan_wishes no_wishes(void)
{
    plan_wishes w;
    memset(&w, 0, sizeof w);
    w.precision = -1;
    return w;
}

/* All three stages. */
static plan_wishes three_stages(void)
{
    plan_wishes w = no_wishes();
    w.shares[0] = 45, w.shares[1] = 15, w.shares[2] = 40;
    return w;
}

/* Answers every question; returns how many there were. */
static int measure_all(plan_facts *f, const plan_wishes *w, double speed, double bf16)
{
    plan_measure m;
    while (plan_next(f, w, &m)) {
        ck_assert_int_lt(f->n_measures, PLAN_MEASURES);
        for (int i = 0; i < f->n_measures; i++) {
            const plan_measure *o = &f->measures[i];
            ck_assert(o->side != m.side || o->rung != m.rung || o->precision != m.precision || o->stage != m.stage);
        }
        m.seconds = cost(&m, speed, bf16);
        f->measures[f->n_measures++] = m;
    }
    return f->n_measures;
}

static plan made(plan_facts *f, const plan_wishes *w, double speed, double bf16)
{
    plan p;
    (void)measure_all(f, w, speed, bf16);
    const char *wrong = plan_make(f, w, &p);
    ck_assert_msg(!wrong, "%s", wrong);
    return p;
}

/* --- what is chosen ---------------------------------------------------------------------------------- */

/* From 20 minutes to 24 hours, 1,000 to 100,000 pictures, 28 to 64 pixels, on slow and fast machines. */
START_TEST(plans_of_every_size)
{
    static const double budgets[] = {1200, 3600, 3 * 3600, 24 * 3600}, speeds[] = {2e9, 2e10, 5e11};
    static const uint64_t pictures[] = {1000, 10000, 100000};
    static const int sides[] = {28, 32, 48, 64};
    for (size_t b = 0; b < 4; b++)
        for (size_t v = 0; v < 3; v++)
            for (size_t n = 0; n < 3; n++)
                for (size_t s = 0; s < 4; s++) {
                    plan_facts f = facts_of(budgets[b], pictures[n], sides[s]);
                    const plan_wishes w = no_wishes();
                    const plan p = made(&f, &w, speeds[v], 1.1);
                    ck_assert_int_eq(p.n_stages, 2);
                    ck_assert_double_le(p.seconds, budgets[b]);
                    ck_assert_double_ge(p.seconds, 0.98 * budgets[b]);
                    ck_assert_int_le(p.side, sides[s]);
                    ck_assert_uint_ge(pictures[n], recipe.rungs[p.rung].pictures);
                    ck_assert_int_eq(p.precision, PLAN_F32);
                    for (int k = 0; k < 2; k++) {
                        ck_assert_int_ge(p.stages[k].steps, 2);
                        ck_assert_double_eq_tol(p.stages[k].seconds / p.seconds, p.stages[k].kind->share, 0.01);
                    }
                }
}
END_TEST

/* More time, a faster machine or more pictures never give a smaller network, and at last a larger one. */
START_TEST(larger_networks_for_more_time)
{
    int before = 0, last = 0;
    const plan_wishes w = no_wishes();
    for (double budget = 600; budget < 3e6; budget *= 1.5) {
        plan_facts f = facts_of(budget, 50000, 32);
        const plan p = made(&f, &w, 1e11, 1);
        ck_assert_int_ge(p.rung, before);
        before = last = p.rung;
    }
    ck_assert_int_eq(last, recipe.n_rungs - 1);
    plan_facts f = facts_of(1e6, 1500, 32);
    const plan p = made(&f, &w, 2e10, 1);
    ck_assert_int_eq(p.rung, 1);
    ck_assert_ptr_nonnull(strstr(p.why_network, "sets of"));
}
END_TEST

START_TEST(smaller_images_for_less_time)
{
    const plan_wishes w = no_wishes();
    plan_facts f = facts_of(36000, 20000, 64);
    ck_assert_int_eq(made(&f, &w, 2e10, 1).side, 64);
    f = facts_of(600, 20000, 64);
    ck_assert_int_eq(made(&f, &w, 2e9, 1).side, 32);
}
END_TEST

START_TEST(precision_by_speed)
{
    plan_wishes w = no_wishes();
    plan_facts f = facts_of(3600, 20000, 32);
    ck_assert_int_eq(made(&f, &w, 2e10, 1.5).precision, PLAN_BF16);
    plan_facts without = facts_of(3600, 20000, 32);
    const plan never = made(&without, &w, 2e10, 1e-9); /* a machine without such steps */
    ck_assert_int_eq(never.precision, PLAN_F32);
    ck_assert_str_eq(never.why_precision, "this processor has no steps in bfloat16");
    plan p = made(&f, &w, 2e10, 1.5);
    ck_assert_ptr_nonnull(strstr(p.stages[1].options, "precision=bf16"));
    f = facts_of(3600, 20000, 32);
    ck_assert_int_eq(made(&f, &w, 2e10, 1.2).precision, PLAN_F32);
    w.precision = PLAN_F32;
    f = facts_of(3600, 20000, 32);
    ck_assert_int_eq(made(&f, &w, 2e10, 9).precision, PLAN_F32);
    for (int i = 0; i < f.n_measures; i++) ck_assert_int_eq(f.measures[i].precision, PLAN_F32);
}
END_TEST

/* Small sets are augmented, smaller ones have dropout; what must not be mirrored is not, nor augmented, which
 * mirrors. */
START_TEST(options_by_pictures)
{
    const plan_wishes w = three_stages();
    plan_facts f = facts_of(3600, 50000, 32);
    plan p = made(&f, &w, 2e10, 1);
    ck_assert_ptr_null(strstr(p.stages[0].options, "augment"));
    ck_assert_ptr_null(strstr(p.stages[0].options, "dropout"));
    ck_assert_ptr_nonnull(strstr(p.stages[0].options, "flip=0.5"));
    ck_assert_ptr_nonnull(strstr(p.network, "\"augment_dim\": 0"));
    f.pictures = 3000;
    p = made(&f, &w, 2e10, 1);
    ck_assert_ptr_nonnull(strstr(p.stages[0].options, "augment=0.12"));
    ck_assert_ptr_null(strstr(p.stages[1].options, "augment="));
    ck_assert_ptr_nonnull(strstr(p.stages[2].options, "dropout=0.1"));
    ck_assert_ptr_nonnull(strstr(p.network, "\"augment_dim\": 6"));
    f.may_mirror = 0;
    p = made(&f, &w, 2e10, 1);
    for (int k = 0; k < 3; k++) ck_assert_ptr_null(strstr(p.stages[k].options, "flip"));
    ck_assert_ptr_null(strstr(p.stages[0].options, "augment"));
    ck_assert_ptr_nonnull(strstr(p.stages[1].options, "objective=cmt"));
    ck_assert_ptr_nonnull(strstr(p.stages[1].options, "huber_c=0.2993"));
    ck_assert_ptr_nonnull(strstr(p.stages[2].options, "objective=sct"));
    ck_assert_ptr_null(strstr(p.stages[2].options, "huber_c"));
    plan_wishes ect = w;
    ect.tuning = 2;
    f.n_measures = 0;
    p = made(&f, &ect, 2e10, 1);
    ck_assert_ptr_nonnull(strstr(p.stages[2].options, "objective=ect"));
    ck_assert_ptr_nonnull(strstr(p.stages[2].options, "huber_c=0.2993"));
}
END_TEST

/* Sets with classes learn the guided images of a teacher that learns without labels too. */
START_TEST(guidance_of_classes)
{
    plan_wishes w = no_wishes(), other;
    plan_facts f = facts_of(3600, 50000, 32);
    f.classes = 10;
    w.guidance = 3.5;
    plan p = made(&f, &w, 2e10, 1);
    ck_assert_ptr_nonnull(strstr(p.stages[0].options, " label_dropout=0.1"));
    ck_assert_ptr_nonnull(strstr(p.stages[1].options, "objective=scd "));
    ck_assert_ptr_nonnull(strstr(p.stages[1].options, " guidance=3.5 "));
    ck_assert_double_eq(plan_guidance(&f, &w), 3.5);
    w.tuning = 3;
    p = made(&f, &w, 2e10, 1);
    ck_assert_ptr_nonnull(strstr(p.stages[1].options, " guidance=3.5 "));
    const struct {
        double guidance;
        int tuning, classes, teacher;
        const char *objective;
    } unguided[] = {{1, 0, 10, 1, "sct"}, {1, 3, 10, 1, "scd"}, {2, 1, 10, 1, "sct"}, {2, 2, 10, 1, "ect"},
                    {2, 0, 0, 1, "sct"},  {2, 0, 1, 1, "sct"},  {2, 3, 0, 1, "scd"},  {2, 0, 10, 0, "sct"}};
    for (size_t k = 0; k < sizeof unguided / sizeof *unguided; k++) {
        char words[40];
        other = no_wishes();
        other.guidance = unguided[k].guidance, other.tuning = unguided[k].tuning;
        if (!unguided[k].teacher) other.shares[2] = 1;
        f.classes = unguided[k].classes, f.n_measures = 0;
        p = made(&f, &other, 2e10, 1);
        (void)snprintf(words, sizeof words, "objective=%s ", unguided[k].objective);
        ck_assert_msg(strstr(p.stages[p.n_stages - 1].options, words), "%zu: %s", k,
                      p.stages[p.n_stages - 1].options);
        for (int i = 0; i < p.n_stages; i++) ck_assert_ptr_null(strstr(p.stages[i].options, "label_dropout"));
        for (int i = 0; i < p.n_stages; i++) ck_assert_ptr_null(strstr(p.stages[i].options, "guidance"));
        ck_assert_double_eq(plan_guidance(&f, &other), 1);
    }
    other = no_wishes();
    other.tuning = 3, other.shares[2] = 1, f.classes = 10, f.n_measures = 0;
    (void)measure_all(&f, &other, 2e10, 1);
    ck_assert_ptr_nonnull(strstr(plan_make(&f, &other, &p), "needs a teacher"));
}
END_TEST

/* Every rung at every side is a network that the library makes. */
START_TEST(every_network_is_one)
{
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    static const int sides[] = {28, 32, 48, 64}, channels[] = {1, 3}, classes[] = {0, 10}, augment_dims[] = {0, 6};
    for (int r = 0; r < recipe.n_rungs; r++)
        for (int i = 0; i < 4; i++)
            for (int kind = 0; kind < 2; kind++) {
                char text[PLAN_NETWORK];
                cm_model *model = NULL;
                ck_assert(plan_network(r, sides[i], channels[kind], classes[kind], augment_dims[kind], text));
                ck_assert_msg(cm_model_create(context, text, 0, &model) == CM_OK, "%s at %d: %s",
                              recipe.rungs[r].name, sides[i], cm_last_message());
                cm_model_free(model);
            }
    cm_context_free(context);
}
END_TEST

START_TEST(wishes_are_kept)
{
    plan_wishes w = three_stages();
    plan_facts f = facts_of(3600, 50000, 32);
    w.batch = 48;
    w.steps[1] = 123;
    plan p = made(&f, &w, 2e10, 1);
    ck_assert_int_eq(p.batch, 48);
    ck_assert_int_eq(p.stages[1].steps, 123);
    ck_assert_int_eq(p.stages[1].is_fixed, 1);
    ck_assert_double_eq_tol(p.seconds, 3600, 36);
    ck_assert_double_eq_tol(p.stages[0].seconds / p.stages[2].seconds, 0.45 / 0.4, 0.01);
    w = no_wishes();
    w.shares[2] = 1; /* from nothing */
    f = facts_of(3600, 50000, 32);
    p = made(&f, &w, 2e10, 1);
    ck_assert_int_eq(p.n_stages, 1);
    ck_assert_int_eq(p.stages[0].number, 2);
    for (int i = 0; i < f.n_measures; i++) ck_assert_int_eq(f.measures[i].stage, 2);
    w = no_wishes();
    w.is_network_given = 1;
    f = facts_of(3600, 50000, 64);
    f.n_sides = 1;
    p = made(&f, &w, 2e10, 1);
    ck_assert_int_eq(p.rung, PLAN_GIVEN);
    ck_assert_str_eq(p.network, "");
    for (int i = 0; i < f.n_measures; i++) ck_assert_int_eq(f.measures[i].rung, PLAN_GIVEN);
    w = no_wishes();
    w.rung = 4; /* counted from 1, and no other one is timed */
    f = facts_of(3600, 1000, 64);
    p = made(&f, &w, 2e10, 1);
    ck_assert_int_eq(p.rung, 3);
    ck_assert_ptr_nonnull(strstr(p.network, "\"model_channels\": 64"));
    for (int i = 0; i < f.n_measures; i++) ck_assert_int_eq(f.measures[i].rung, 3);
}
END_TEST

START_TEST(no_plan)
{
    plan_wishes w = no_wishes();
    plan p;
    plan_facts f = facts_of(3600, 50000, 32);
    ck_assert_str_eq(plan_make(&f, &w, &p), "a measurement is missing");
    f = facts_of(1, 50000, 64);
    (void)measure_all(&f, &w, 1e7, 1);
    ck_assert_ptr_nonnull(strstr(plan_make(&f, &w, &p), "too short"));
    f = facts_of(3600, 10, 32);
    (void)measure_all(&f, &w, 2e10, 1);
    ck_assert_ptr_nonnull(strstr(plan_make(&f, &w, &p), "fewer pictures"));
    f = facts_of(3600, 500, 30);
    (void)measure_all(&f, &w, 2e10, 1);
    ck_assert_ptr_nonnull(strstr(plan_make(&f, &w, &p), "halved"));
    ck_assert_double_eq(plan_held_out(199), 0);
    ck_assert_double_eq(plan_held_out(1000), 0.05);
    ck_assert_double_eq_tol(plan_held_out(100000), 0.02, 1e-12);
}
END_TEST

/* --- on the way --------------------------------------------------------------------------------------- */

/* What the program does with the clock, on a machine that is `slow(t)` times as slow as it was when it was measured;
 * now and then a page is drawn. */
static double simulate(const plan *p, double budget, double (*slow)(double part), int64_t steps[PLAN_STAGES])
{
    enum { PAGES = 12 };
    double now = 0, slowness = 1;
    for (int k = 0; k < p->n_stages; k++) {
        const plan_stage *s = &p->stages[k];
        const double own = s->seconds_image * p->batch, allowed = plan_allowance(p, k, budget - now, slowness);
        const double ends = now + allowed;
        int64_t all = s->is_fixed ? s->steps : (int64_t)(allowed / (own / recipe.work * slowness)), taken = 0,
                drawn = 0;
        double since = now, seconds = 0;
        for (int64_t step = 0; step < all;) {
            const double of_step = own * slow(now / budget);
            now += of_step, seconds += of_step, step++, taken++;
            if ((step - drawn) * PAGES >= all) now += 0.05 / PAGES * allowed, drawn = step;
            if (now - since < budget / 200 || taken < 3 || s->is_fixed) continue;
            const double rate = seconds / (double)taken / recipe.work;
            all = plan_revised(step, all, rate, ends - now, 0.01 * budget);
            slowness = rate / (own / recipe.work);
            taken = 0, seconds = 0, since = now;
        }
        steps[k] = all;
    }
    return now;
}

static double steady(double part)
{
    (void)part;
    return 1;
}

static double twice(double part)
{
    (void)part;
    return 2;
}

static double faster(double part)
{
    (void)part;
    return 0.5;
}

static double busy_at_times(double part)
{
    return 1 + 0.8 * sin(40 * part);
}

static double slower_and_slower(double part)
{
    return 1 + 3 * part;
}

static double busy_at_the_end(double part)
{
    return part > 0.8 ? 4 : 1;
}

/* Within the budget and 5 %, and, where there is warning, not far below it. */
START_TEST(ends_in_time)
{
    static double (*const machines[])(double) = {steady,         twice, faster, busy_at_times, slower_and_slower,
                                                 busy_at_the_end};
    static const double budgets[] = {30, 1200, 20000};
    const plan_wishes w = no_wishes();
    for (size_t b = 0; b < 3; b++)
        for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
            int64_t steps[PLAN_STAGES];
            plan_facts f = facts_of(budgets[b], 50000, 32);
            const plan p = made(&f, &w, 1e10, 1);
            const double took = simulate(&p, budgets[b], machines[i], steps);
            ck_assert_msg(took <= 1.05 * budgets[b], "machine %zu took %g of %g", i, took, budgets[b]);
            ck_assert_msg(took >= 0.85 * budgets[b], "machine %zu took only %g of %g", i, took, budgets[b]);
            if (machines[i] == steady)
                for (int k = 0; k < 3; k++)
                    ck_assert_double_eq_tol((double)steps[k], (double)p.stages[k].steps, 0.04 * (double)steps[k] + 1);
        }
}
END_TEST

START_TEST(revisions)
{
    ck_assert_int_eq(plan_revised(100, 1000, 1, 900, 10), 1000);
    ck_assert_int_eq(plan_revised(100, 1000, 1, 891, 10), 1000); /* within the tolerance */
    ck_assert_int_eq(plan_revised(100, 1000, 1.1, 900, 10), 918);
    ck_assert_int_eq(plan_revised(100, 1000, 0.5, 900, 10), 1900);
    ck_assert_int_eq(plan_revised(900, 1000, 0.5, 100, 10), 1000); /* the learning rate has fallen */
    ck_assert_int_eq(plan_revised(700, 1000, 2, 300, 10), 850);
    ck_assert_int_eq(plan_revised(700, 1000, 2, -5, 10), 700); /* there is no time left */
    ck_assert_int_eq(plan_revised(0, 1000, 0, 100, 10), 1000);
}
END_TEST

/* The stages that are fixed cost what they cost, the others share the rest. */
START_TEST(allowances)
{
    plan_wishes w = three_stages();
    plan_facts f = facts_of(1000, 50000, 32);
    w.steps[1] = 50;
    const plan p = made(&f, &w, 1e10, 1);
    const double fixed = plan_allowance(&p, 1, 500, 1);
    ck_assert_double_eq_tol(fixed, p.stages[1].seconds, 1e-9);
    ck_assert_double_eq_tol(plan_allowance(&p, 1, 500, 2), 2 * fixed, 1e-9);
    ck_assert_double_eq_tol(plan_allowance(&p, 0, 1000, 1), (1000 - fixed) * 0.45 / 0.85, 1e-9);
    ck_assert_double_eq_tol(plan_allowance(&p, 2, 333, 1), 333, 1e-9);
    ck_assert_double_eq(plan_allowance(&p, 0, 0, 1), 0);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("plan");
    TCase *t = tcase_create("plan");
    tcase_add_test(t, plans_of_every_size);
    tcase_add_test(t, larger_networks_for_more_time);
    tcase_add_test(t, smaller_images_for_less_time);
    tcase_add_test(t, precision_by_speed);
    tcase_add_test(t, options_by_pictures);
    tcase_add_test(t, guidance_of_classes);
    tcase_add_test(t, every_network_is_one);
    tcase_add_test(t, wishes_are_kept);
    tcase_add_test(t, no_plan);
    tcase_add_test(t, ends_in_time);
    tcase_add_test(t, revisions);
    tcase_add_test(t, allowances);
    suite_add_tcase(s, t);
    return s;
}
