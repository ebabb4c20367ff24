/* Several trainers that are one run: shares, sums in a fixed order, the same bits for any number of ranks, faults. */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "support/memory.h"
#include "support/ranks.h"
#include "support/trainers.h"
#include "train/share.h"
#include "train/split.h"
#include "train/together.h"
#include "train/trainer.h"

enum { STEPS = 4, IMAGES = 16 };

/* --- shares --------------------------------------------------------------------------- */

START_TEST(shares_cover_a_step)
{
    for (size_t count = 1; count <= 6; count++)
        for (size_t images = 1; images < 70; images++)
            for (size_t slice = 1; slice < 9; slice++) {
                size_t at = 0, most = 0;
                for (size_t rank = 0; rank < count; rank++) {
                    cm_share s;
                    OK(cmi_share_of(4 * count, rank, count, &s));
                    if ((images + slice - 1) / slice < s.shards) {
                        FAILS(cmi_share_check(&s, images, slice), CM_ERR_ARGUMENT, "fewer than");
                        continue;
                    }
                    OK(cmi_share_check(&s, images, slice));
                    ck_assert_uint_eq(cmi_share_first(&s, images, slice), at);
                    ck_assert_uint_gt(cmi_share_count(&s, images, slice), 0);
                    at += cmi_share_count(&s, images, slice);
                    most = cmi_share_largest(&s, images, slice);
                    ck_assert_uint_ge(most, cmi_share_count(&s, images, slice));
                    ck_assert(at == images || at % slice == 0);
                }
                ck_assert(at == 0 || at == images);
            }
}
END_TEST

START_TEST(shards_that_nobody_can_share)
{
    cm_share s;
    FAILS(cmi_share_of(4, 0, 3, &s), CM_ERR_ARGUMENT, "power of two");
    FAILS(cmi_share_of(12, 0, 2, &s), CM_ERR_ARGUMENT, "power of two");
    FAILS(cmi_share_of(2, 0, 4, &s), CM_ERR_ARGUMENT, "micro_shards 2");
    OK(cmi_share_of(12, 2, 3, &s));
    ck_assert_uint_eq(s.first, 8);
    ck_assert_uint_eq(s.own, 4);
    ck_assert_int_eq(cmi_share_levels(&s), 2);
    OK(cmi_share_of(0, 2, 3, &s));
    ck_assert_uint_eq(s.own, 1);
    ck_assert_int_eq(cmi_share_levels(&s), 0);
}
END_TEST

/* --- runs of several ranks --------------------------------------------------------------- */

/* What the ranks of a case do; of each rank its trainer and how its last call ended. */
typedef struct {
    const char *objective;
    cm_train_settings settings[MOST_RANKS];
    int64_t until;
    const char *save, *resume;
    int stops_at, stops; /* the step before which rank `stops` is cancelled, 0: none */
    void (*spoil)(cm_trainer *t, int32_t rank);
    cm_trainer *trainer[MOST_RANKS];
    cm_status status[MOST_RANKS];
    char text[MOST_RANKS][600];
    double loss[MOST_RANKS][STEPS];
    int draws; /* at the end every rank makes a model of the last average */
    cm_model *average[MOST_RANKS];
    memory *counts; /* of each rank: its requests after the second step; or NULL */
} scene;

static cm_train_settings shared_settings(const char *objective, int32_t shards)
{
    cm_train_settings o = options(objective);
    o.batch = IMAGES;
    o.threads = 1;
    o.micro_shards = shards;
    if (strcmp(objective, "cmt") == 0) o.cmt_nfe = 2, o.cmt_order = 2, o.microbatch = 2;
    if (strcmp(objective, "pd") == 0) o.distill_steps = 3;
    if (strcmp(objective, "sct") == 0) OK(cmi_settings_set(&o, "weight_net", "fourier"));
    return o;
}

static void draw_batch(int64_t k, size_t n, float *images, int32_t *labels)
{
    uint64_t state = 91 + (uint64_t)k;
    for (size_t i = 0; i < n; i++) {
        labels[i] = random_int(&state, 0, CLASSES - 1);
        for (size_t j = 0; j < VALUES; j++)
            images[i * VALUES + j] = 0.3f * random_float(&state) + 0.5f * (float)(labels[i] - 1);
    }
}

static cm_status take_steps(scene *s, cm_trainer *t, int32_t rank)
{
    float *images = calloc(IMAGES * VALUES, sizeof *images);
    int32_t labels[IMAGES];
    cm_status status = CM_OK;
    while (t->step < s->until && status == CM_OK) {
        cm_train_report r;
        cm_train_report_init(&r, sizeof r);
        draw_batch(t->step, cmi_trainer_batch(t), images, labels);
        if (s->stops_at && t->step + 1 == s->stops_at && rank == s->stops) images[0] = NAN;
        status = step_of(t, cmi_trainer_batch(t), images, labels, &r);
        if (status == CM_OK) s->loss[rank][r.step - 1] = r.loss;
        if (s->spoil) s->spoil(t, rank);
        if (s->counts && t->step == 2) s->counts[rank].requests = 0;
    }
    free(images);
    return status;
}

static void play(void *user, const cm_group *group)
{
    scene *s = user;
    const int32_t rank = group->size ? group->rank : 0;
    cm_context *context = NULL;
    cm_status status = CM_OK;
    if (s->counts) {
        const cm_context_options counted = memory_options(&s->counts[rank], 1);
        status = cm_context_create(&counted, &context);
    }
    if (status == CM_OK)
        status =
            open_trainer_in(group->size ? group : NULL, context, s->objective, &s->settings[rank], &s->trainer[rank]);
    cm_context_free(context); /* the trainer keeps it */
    if (status == CM_OK && s->resume) status = cm_trainer_resume(s->trainer[rank], s->resume, NULL, CM_RESUME_SAME);
    if (status == CM_OK) status = take_steps(s, s->trainer[rank], rank);
    if (status == CM_OK && s->save) status = cm_trainer_save(s->trainer[rank], s->save, 2);
    if (status == CM_OK && s->draws)
        status = cm_trainer_model(s->trainer[rank], CM_WEIGHTS_EMA, 1, &s->average[rank]);
    s->status[rank] = status;
    (void)snprintf(s->text[rank], sizeof s->text[rank], "%s", status == CM_OK ? "" : cm_last_message());
}

/* By so many ranks; 0: alone, without a group. */
static void perform(scene *s, int32_t size)
{
    static ranks r;
    if (size == 0) {
        const cm_group none = CM_GROUP_INIT;
        play(s, &none);
        return;
    }
    ranks_open(&r, size, 20);
    ranks_run(&r, play, s);
    ranks_close(&r);
}

static void set_stage(scene *s, const char *objective, int32_t shards)
{
    memset(s, 0, sizeof *s);
    s->objective = objective;
    s->until = STEPS;
    for (int i = 0; i < MOST_RANKS; i++) s->settings[i] = shared_settings(objective, shards);
}

static void clear(scene *s)
{
    for (int i = 0; i < MOST_RANKS; i++) cm_trainer_free(s->trainer[i]), cm_model_free(s->average[i]);
}

static void all_well(const scene *s, int32_t size)
{
    for (int32_t k = 0; k < (size ? size : 1); k++)
        ck_assert_msg(s->status[k] == CM_OK, "%s, rank %d: %s", s->objective, k, s->text[k]);
}

/* With micro_shards 1, 2 and 4 ranks, and none, give the same bytes and the same losses, with any threads.  All of
 * these numbers are tried of two objectives, in the long suite of all; else of each 2 or 4. */
START_TEST(micro_shards_fix_the_bits)
{
    static scene alone, several;
    const char *objective = names[_i];
    const int all = by_effort(0, 0, 1) || strcmp(objective, "cd") == 0 || strcmp(objective, "sct") == 0;
    set_stage(&alone, objective, 4);
    perform(&alone, 0);
    all_well(&alone, 0);
    for (int32_t size = 1; size <= 4; size *= 2) {
        if (!all && size != 2 + 2 * (_i % 2)) continue;
        set_stage(&several, objective, 4);
        for (int i = 0; i < MOST_RANKS; i++) several.settings[i].threads = size == 2 ? 2 : 1;
        perform(&several, size);
        all_well(&several, size);
        for (int32_t k = 0; k < size; k++) {
            ck_assert_msg(same_state(alone.trainer[0], several.trainer[k]), "%s: rank %d of %d", objective, k, size);
            ck_assert(same_weighing(alone.trainer[0], several.trainer[k]));
            ck_assert_mem_eq(alone.loss[0], several.loss[k], sizeof alone.loss[0]);
        }
        clear(&several);
    }
    clear(&alone);
}
END_TEST

/* The largest difference of two blocks, in the largest value of the first. */
static double relative_difference(const float *a, const float *b, size_t n)
{
    double most = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) most = d;
        if (fabs((double)a[i]) > largest) largest = fabs((double)a[i]);
    }
    return most / largest;
}

/* Without it the leaves of the tree are the ranks' shares, so all ranks are equal, and as one process but for the
 * rounding of sums in another order.  What is close is the gradient of the first step, and after some steps the
 * weights of plain descent.  The weights of Adam are not: it divides a gradient by about its own size, and where that
 * is 1e-9, less than the rounding of the largest gradients, rounding decides a part of a step of lr.  (Bounds in the
 * largest value, of the gradients about four of its roundings; 9.3e-8 and 4.7e-10 were measured.) */
START_TEST(ranks_agree_and_are_close_to_one)
{
    static scene alone, several;
    const int64_t until = _i ? STEPS : 1;
    for (int32_t size = 0; size <= 3; size++) {
        scene *s = size ? &several : &alone;
        if (size == 1) continue;
        set_stage(s, "edm", 0);
        s->until = until;
        for (int i = 0; i < MOST_RANKS && _i; i++) s->settings[i].optimizer = CM_OPTIMIZER_SGD;
        perform(s, size);
        all_well(s, size);
        if (!size) continue;
        for (int32_t k = 1; k < size; k++) ck_assert(same_state(s->trainer[0], s->trainer[k]));
        const cm_learner *one = alone.trainer[0]->learner, *first = s->trainer[0]->learner;
        const double d = _i ? relative_difference(one->online.values, first->online.values, one->floats)
                            : relative_difference(one->gradient, first->gradient, one->floats);
        ck_assert_msg(d < (_i ? 4e-9 : 4e-7), "%s of %d ranks differ by %g from one", _i ? "weights" : "gradients",
                      size, d);
        clear(s);
    }
    clear(&alone);
}
END_TEST

/* Saved by two ranks, continued by four and by one: the bytes of a run that never stopped. */
START_TEST(resume_with_other_numbers)
{
    static const int32_t sizes[] = {0, 1, 4};
    static scene whole, part;
    char run[160];
    (void)snprintf(run, sizeof run, "%s/run", dir);
    set_stage(&whole, "cd", 4);
    perform(&whole, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        set_stage(&part, "cd", 4);
        part.until = 3, part.save = run;
        perform(&part, 2);
        all_well(&part, 2);
        clear(&part);
        set_stage(&part, "cd", 4);
        part.resume = run;
        perform(&part, sizes[i]);
        all_well(&part, sizes[i]);
        for (int32_t k = 0; k < (sizes[i] ? sizes[i] : 1); k++)
            ck_assert(same_state(whole.trainer[0], part.trainer[k]));
        clear(&part);
        teardown();
        ck_assert_int_eq(mkdir(dir, 0700), 0);
    }
    clear(&whole);
}
END_TEST

/* --- moments and averages that are split -------------------------------------------------------- */

/* What this rank has of them is a part of what one process has, and the rest is equal. */
static int same_parts(const cm_trainer *whole, const cm_trainer *part)
{
    const size_t begin = part->held_begin, bytes = (part->held_end - begin) * sizeof(float);
    const size_t all = whole->learner->floats * sizeof(float);
    int same = memcmp(whole->learner->online.values, part->learner->online.values, all) == 0;
    if (whole->learner->target.values)
        same &= memcmp(whole->learner->target.values, part->learner->target.values, all) == 0;
    same &= memcmp(whole->m + begin, part->m, bytes) == 0 && memcmp(whole->v + begin, part->v, bytes) == 0;
    for (int i = 0; i < whole->o.ema.count; i++) same &= memcmp(whole->ema[i] + begin, part->ema[i], bytes) == 0;
    return same && same_weighing(whole, part);
}

static void split(scene *s, const char *objective, int64_t until)
{
    set_stage(s, objective, 4);
    for (int i = 0; i < MOST_RANKS; i++) s->settings[i].split_state = 1;
    s->until = until;
}

static int is_there(const char *run, const char *name)
{
    struct stat info;
    char path[300];
    (void)snprintf(path, sizeof path, "%s/checkpoints/step-000000002/%s", run, name);
    return stat(path, &info) == 0;
}

static void same_average(const scene *a, const scene *b, int32_t rank, size_t floats)
{
    float *of_a = calloc(2 * floats, sizeof *of_a), *of_b = of_a + floats;
    OK(cmi_model_values(a->average[0], of_a));
    OK(cmi_model_values(b->average[rank], of_b));
    ck_assert_mem_eq(of_a, of_b, floats * sizeof *of_a);
    free(of_a);
}

/* The bytes of a run that is not split; its checkpoint has a file of each rank, and any number of ranks goes on from
 * it, split or not. */
START_TEST(split_state_changes_no_bits)
{
    static const char *const objectives[] = {"cd", "pd", "sct"};
    static const int32_t sizes[] = {4, -2, 0, 2};
    static scene whole, part;
    char run[160];
    (void)snprintf(run, sizeof run, "%s/run", dir);
    set_stage(&whole, objectives[_i], 4);
    whole.draws = 1;
    perform(&whole, 0);
    all_well(&whole, 0);
    split(&part, objectives[_i], 2);
    part.save = run;
    perform(&part, 2);
    all_well(&part, 2);
    ck_assert_uint_lt(part.trainer[0]->held_end, whole.trainer[0]->learner->floats);
    ck_assert_uint_eq(part.trainer[0]->held_end, part.trainer[1]->held_begin);
    clear(&part);
    ck_assert(is_there(run, "part-0000-of-0002.safetensors") && is_there(run, "part-0001-of-0002.safetensors"));
    ck_assert(!is_there(run, "optimizer.safetensors") && !is_there(run, "ema-0.9.safetensors"));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int32_t size = abs(sizes[i]);
        if (sizes[i] < 0) set_stage(&part, objectives[_i], 4);
        else split(&part, objectives[_i], STEPS);
        part.resume = run, part.draws = 1;
        perform(&part, size);
        all_well(&part, size);
        for (int32_t k = 0; k < (size ? size : 1); k++) {
            ck_assert_msg(same_parts(whole.trainer[0], part.trainer[k]), "rank %d of %d", k, size);
            same_average(&whole, &part, k, whole.trainer[0]->learner->floats);
        }
        clear(&part);
    }
    clear(&whole);
}
END_TEST

/* What the ranks send each other in a step is made with the trainer. */
START_TEST(split_steps_take_no_memory)
{
    static memory counts[2];
    scene s;
    split(&s, "cd", STEPS);
    s.counts = counts;
    for (int k = 0; k < 2; k++) memory_reset(&counts[k]);
    perform(&s, 2);
    all_well(&s, 2);
    for (int k = 0; k < 2; k++) ck_assert_int_eq(counts[k].requests, 0);
    clear(&s);
    for (int k = 0; k < 2; k++) ck_assert_int_eq(counts[k].live, 0);
}
END_TEST

/* A file of a rank that is missing is damage, and told by name on every rank. */
START_TEST(a_part_that_is_missing)
{
    static scene s;
    char run[160], path[300];
    (void)snprintf(run, sizeof run, "%s/run", dir);
    (void)snprintf(path, sizeof path, "%s/checkpoints/step-000000002/part-0001-of-0002.safetensors", run);
    split(&s, "edm", 2);
    s.save = run;
    perform(&s, 2);
    all_well(&s, 2);
    clear(&s);
    ck_assert_int_eq(remove(path), 0);
    for (int32_t size = 0; size <= 2; size += 2) {
        split(&s, "edm", STEPS);
        s.resume = run;
        perform(&s, size);
        ck_assert_int_eq(s.status[0], CM_ERR_FORMAT);
        ck_assert_msg(strstr(s.text[0], "part-0001-of-0002.safetensors: is missing") != NULL, "%s", s.text[0]);
        if (size) ck_assert_int_eq(s.status[1], CM_ERR_PEER);
        if (size) ck_assert_msg(strstr(s.text[1], "is missing") != NULL, "%s", s.text[1]);
        clear(&s);
    }
}
END_TEST

START_TEST(parts_of_a_block)
{
    size_t begin, end, at = 0;
    for (size_t count = 1; count <= 5; count++, at = 0) {
        for (size_t rank = 0; rank < count; rank++) {
            cmi_split_part(1000, rank, count, &begin, &end);
            ck_assert_uint_eq(begin, at);
            ck_assert_uint_gt(end, begin);
            at = end;
        }
        ck_assert_uint_eq(at, 1000);
    }
    cmi_split_part(20, 3, 4, &begin, &end);
    ck_assert_uint_eq(begin, end);
}
END_TEST

/* --- faults --------------------------------------------------------------------------------- */

/* Every rank fails, and the message of each has the words. */
static void all_fail(const scene *s, int32_t size, cm_status own, int32_t at, const char *words)
{
    for (int32_t k = 0; k < size; k++) {
        const cm_status expected = k == at || at < 0 ? own : CM_ERR_PEER;
        ck_assert_msg(s->status[k] == expected, "rank %d: %s: %s", k, cm_status_name(s->status[k]), s->text[k]);
        ck_assert_msg(strstr(s->text[k], words) != NULL, "rank %d: '%s' lacks '%s'", k, s->text[k], words);
    }
}

START_TEST(another_configuration_is_refused)
{
    static scene s;
    set_stage(&s, "edm", 0);
    s.settings[1].lr = 0.5;
    perform(&s, 3);
    all_fail(&s, 3, CM_ERR_ARGUMENT, 1, "rank 1 of 3 has other options than rank 0: lr was 0.01, is 0.5");
    clear(&s);
    set_stage(&s, "edm", 0);
    s.settings[2].seed = 6;
    perform(&s, 3);
    all_fail(&s, 3, CM_ERR_ARGUMENT, 2, "rank 2 of 3 has other options than rank 0: seed was 5, is 6");
    clear(&s);
    set_stage(&s, "edm", 0);
    s.settings[1].split_state = 1;
    perform(&s, 2);
    all_fail(&s, 2, CM_ERR_ARGUMENT, 1, "rank 1 of 2 has other options than rank 0: split_state was 0, is 1");
    clear(&s);
    set_stage(&s, "edm", 0);
    s.settings[1].compare_every = 2;
    perform(&s, 2);
    all_fail(&s, 2, CM_ERR_ARGUMENT, 1, "compare_every was 100, is 2");
    clear(&s);
}
END_TEST

/* A step fails on one rank: it does on all, after the same last whole step, and the trainers take no more. */
START_TEST(a_failure_is_everybodys)
{
    static scene s;
    for (int32_t rank = 0; rank < 3; rank++) {
        set_stage(&s, "edm", 0);
        s.stops_at = 3, s.stops = rank;
        perform(&s, 3);
        all_fail(&s, 3, CM_ERR_NUMERIC, rank, "image 0 is nan");
        for (int32_t k = 0; k < 3; k++) {
            ck_assert_int_eq(s.trainer[k]->step, 2);
            ck_assert(same_state(s.trainer[0], s.trainer[k]));
        }
        float images[VALUES] = {0};
        int32_t labels[1] = {0};
        (void)labels;
        FAILS(step_of(s.trainer[0], 1, images, labels, NULL), CM_ERR_ARGUMENT, "fewer than");
        clear(&s);
    }
}
END_TEST

static void spoil_rank_one(cm_trainer *t, int32_t rank)
{
    if (rank == 1 && t->step == 2) t->m[7] += 1;
}

START_TEST(a_rank_that_differs_is_named)
{
    static scene s;
    set_stage(&s, "edm", 0);
    for (int i = 0; i < MOST_RANKS; i++) s.settings[i].compare_every = 4;
    s.spoil = spoil_rank_one;
    perform(&s, 3);
    all_fail(&s, 3, CM_ERR_PEER, -1,
             "after step 4 the weights, averages or moments of rank 1 are not those of rank 0");
    clear(&s);
}
END_TEST

START_TEST(wrong_tables)
{
    cm_train_settings o = shared_settings("edm", 0);
    const cm_train_options all = {NULL, o};
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_trainer *t = NULL;
    ranks r;
    ranks_open(&r, 2, 1);
    cm_group g = r.members[0].group;
    inputs.model = tiny(NULL, 3);
    inputs.group = &g;
    g.rank = 2;
    FAILS(cm_trainer_create(&inputs, &all, &t), CM_ERR_ARGUMENT, "rank 2 of size 2");
    g.rank = 0, g.gather = NULL;
    FAILS(cm_trainer_create(&inputs, &all, &t), CM_ERR_ARGUMENT, "gather is NULL");
    g = r.members[0].group, g.struct_size = 3;
    FAILS(cm_trainer_create(&inputs, &all, &t), CM_ERR_ARGUMENT, "cm_group");
    g = r.members[0].group;
    FAILS(cm_trainer_create(&inputs, &all, &t), CM_ERR_PEER, "missing: 1");
    ranks_close(&r);
    inputs.group = NULL;
    /* What only several processes have a use for is taken, so that one can continue their run. */
    o.compare_every = 5, o.split_state = 1;
    const cm_train_options shared = {NULL, o};
    OK(cm_trainer_create(&inputs, &shared, &t));
    cm_trainer_free(t);
    cm_model_free(inputs.model);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("group");
    TCase *c = tcase_create("shares");
    tcase_add_test(c, shares_cover_a_step);
    tcase_add_test(c, shards_that_nobody_can_share);
    suite_add_tcase(s, c);
    c = tcase_create("bits");
    tcase_set_timeout(c, 300);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_loop_test(c, micro_shards_fix_the_bits, 0, OBJECTIVES);
    tcase_add_loop_test(c, ranks_agree_and_are_close_to_one, 0, 2);
    tcase_add_test(c, resume_with_other_numbers);
    suite_add_tcase(s, c);
    c = tcase_create("split");
    tcase_set_timeout(c, 300);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, parts_of_a_block);
    tcase_add_loop_test(c, split_state_changes_no_bits, 0, 3);
    tcase_add_test(c, split_steps_take_no_memory);
    tcase_add_test(c, a_part_that_is_missing);
    suite_add_tcase(s, c);
    c = tcase_create("faults");
    tcase_set_timeout(c, 300);
    tcase_add_test(c, another_configuration_is_refused);
    tcase_add_test(c, a_failure_is_everybodys);
    tcase_add_test(c, a_rank_that_differs_is_named);
    tcase_add_test(c, wrong_tables);
    suite_add_tcase(s, c);
    return s;
}
