/* Training options: refused, by name, read back, in JSON, without memory; numbers that look like mistakes. */
#include "train/option_rows.h"
#include "support/suite.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/cpu_level.h"
#include "support/memory.h"
#include "support/trainers.h"
#include "train/presets.h"
#include "train/trainer.h"

static cm_status json_of(const cm_train_settings *s, char text[4096])
{
    const cm_train_options options = {NULL, *s};
    return cm_train_options_json(&options, text, 4096, NULL);
}

static cm_status read_json(cm_train_settings *s, const char *json)
{
    cm_train_options options = {NULL, *s};
    cm_status status = cm_train_options_read(&options, json);
    *s = options.s;
    return status;
}

/* --- errors --------------------------------------------------------------------------------- */

START_TEST(options_refused)
{
    static const struct {
        const char *objective, *set, *word;
    } rows[] = {
        {"edm", "lr=0", "above 0"},
        {"edm", "lr=-1", "above 0"},
        {"edm", "lr=nan", "expected a number"},
        {"edm", "batch=0", "batch is 0"},
        {"edm", "batch=2.5", "whole number"},
        {"edm", "bacth=2", "did you mean 'batch'"},
        {"edm", "learning_rate=0.1", "did you mean 'lr'"},
        {"edm", "objective=consistency-distillation", "did you mean 'cd'"},
        {"ict", "distance=huber", "did you mean 'pseudo-huber'"},
        {"edm", "objective=cm", "one of edm, cd"},
        {"edm", "ema=1.5", "expected 0..1"},
        {"edm", "ema=-0.1", "expected 0..1"},
        {"edm", "ema=0.9,0.9", "are the same"},
        {"edm", "ema=halflife:0", "half-life"},
        {"edm", "ema=power:0.5", "relative length"},
        {"edm", "ema=0.9:3", "no effect"},
        {"edm", "ema=fast", "not a number"},
        {"edm", "ema=halflife:0%", "no share of the run's images"},
        {"edm", "ema=halflife:101%", "no share of the run's images"},
        {"edm", "ema=halflife:%", "no share of the run's images"},
        {"edm", "ema=warmup:4%", "no share of the run's images"},
        {"edm", "ema=halflife:4%:x", "'x' is not a number, which a ramp is"},
        {"edm", "ema=halflife:x:0.1", "'x' is not a number (rates"},
        {"edm", "ema=halflife:4:5%", "'5%' is not a number, which a ramp is"},
        {"edm", "steps=100;batch=64;ema=halflife:4%:0.1,0.9,halflife:256",
         "averages 0 and 2 of this run would have one"},
        {"edm", "ema=halflife:4%,halflife:4.0%:0.05", "are the same"},
        {"edm", "mu=0.9", "no effect on objective edm"},
        {"edm", "start_scales=40", "no effect on objective edm"},
        {"cd", "start_scales=1", "expected 2"},
        {"ct", "end_scales=1", "expected 2"},
        {"ct", "start_scales=200", "below start_scales"},
        {"ct", "ode=euler", "no effect on objective ct"},
        {"ct", "mu=0", "between 0 and 1"},
        {"ect", "weighting=snr", "no effect on objective ect"},
        {"cd", "huber_c=0.1", "no effect on distance"},
        {"ccd", "distance=l1", "needs stop_gradient 0"},
        {"ccd", "distance=linf", "second derivative"},
        {"ccd", "distance=pseudo-huber", "needs huber_c, and above 0"},
        {"ccd", "distance=lpips", "needs lpips_weights"},
        {"cct", "lpips_pooling=mean", "no effect on distance l2"},
        {"cct", "distance=lpips;lpips_weights=vgg16.pth;squared=1;stop_gradient=0", "squared has no effect"},
        {"cct", "sum_pixels=1", "no effect on distance l2"},
        {"cct", "squared=1", "no effect"},
        {"sct", "scm_form=rcm", "objective scd"},
        {"sct", "distance=l1", "distance has no effect on objective sct"},
        {"dscd", "distance=pseudo-huber;huber_c=0.1", "distance has no effect on objective dscd"},
        {"meanflow", "distance=linf", "distance has no effect on objective meanflow"},
        {"soflow", "huber_c=0.1", "huber_c has no effect on objective soflow"},
        {"scd", "scm_form=rcm", "weight_net"},
        {"sct", "discrete_to=0.5", "no effect on objective sct"},
        {"dscd", "discrete_from=0.999", "above discrete_to"},
        {"scd", "guidance_from=0.2", "guidance_from and guidance_to have no effect with guidance 1"},
        {"dscd", "guidance=2;guidance_from=0.6;guidance_to=0.5", "guidance_from 0.6 is above guidance_to 0.5"},
        {"scd", "guidance=2;label_dropout=1", "guidance has no effect with label_dropout 1"},
        {"scd", "guidance_mix=0.5", "guidance_mix has no effect on objective scd"},
        {"meanflow", "guidance_from=0.2", "no effect with guidance 1 and guidance_mix 0"},
        {"meanflow", "guidance=2;guidance_from=0.6;guidance_to=0.5", "guidance_from 0.6 is above guidance_to 0.5"},
        {"meanflow", "guidance=2;label_dropout=1", "guidance has no effect with label_dropout 1"},
        {"tcm2", "boundary_share=0;boundary_weight=0.5", "boundary_weight has no effect with boundary_share 0"},
        {"tcm2", "boundary_share=1;student_nu=1", "student_nu have no effect with boundary_share 1"},
        {"imeanflow", "label_dropout=1", "guidance has no effect with label_dropout 1"},
        {"meanflow", "guidance_mix=1", "guidance_mix is 1"},
        {"meanflow", "guidance=-1", "guidance is -1"},
        {"soflow", "velocity_mean=0", "no effect with velocity_share 0"},
        {"soflow", "velocity_share=1;r_mean=0",
         "p_mean, p_std, r_mean and r_std have no effect with velocity_share 1"},
        {"soflow", "velocity_share=1;ratio_end=0.1", "the options ratio_* have no effect with velocity_share 1"},
        {"soflow", "ratio_schedule=const;ratio_begin=0.5", "ratio_begin has no effect with ratio_schedule const"},
        {"soflow", "ratio_begin=0.001;ratio_end=0.1", "ratio_end is 0.1, expected at most ratio_begin, 0.001"},
        {"soflow", "ratio_begin=2", "ratio_begin is 2"},
        {"soflow", "ratio_end=0", "ratio_end is 0"},
        {"soflow", "velocity_share=1.5", "velocity_share is 1.5"},
        {"soflow", "adaptive_p=0;adaptive_eps=0.1", "adaptive_eps has no effect with adaptive_p 0"},
        {"soflow", "guidance_decay=0.5", "guidance_decay has no effect with guidance 1"},
        {"soflow", "guidance=2;label_dropout=1", "guidance has no effect with label_dropout 1"},
        {"soflow", "flow_ratio=0.5", "flow_ratio has no effect on objective soflow"},
        {"meanflow", "ratio_end=0.5", "ratio_end has no effect on objective meanflow"},
        {"sct", "guidance=2", "guidance has no effect on objective sct"},
        {"cd", "distance=lpips", "needs lpips_weights"},
        {"cd", "lpips_weights=vgg16.pth", "no effect on distance l2"},
        {"ct", "lpips_resize=none", "no effect on distance l2"},
        {"edm", "distance=lpips", "does not belong to objective edm"},
        {"cd", "distance=linf;sum_pixels=1", "sum_pixels has no effect on distance linf"},
        {"cd", "distance=linf;huber_c=0.1", "no effect on distance linf"},
        {"edm", "lpips_lin=lin", "no effect on objective edm"},
        {"cd", "distance=lpips;lpips_weights=vgg16.pth;lpips_pooling=median", "one of max, mean"},
        {"cd", "distance=lpips;lpips_weights=vgg16.pth;sum_pixels=1", "sum_pixels has no effect on distance lpips"},
        {"pd", "start_scales=12", "power of two"},
        {"edm", "p_std=0", "p_std is 0, expected 0.000001.."},
        {"edm", "lr=1e7", "lr is 10000000, expected 1000000 or less"},
        {"edm", "eps=-0.00004", "eps is -0.00004, expected 0..1"},
        {"edm", "steps=-3", "steps is -3, expected 1 or more"},
        {"edm", "batch=2.50", "batch is 2.50, expected a whole number"},
        {"edm", "grad_clip=-1", "grad_clip is -1, expected 0 or more"},
        {"edm", "optimizer=7", "optimizer is 7, expected a name or 0..3"},
        {"cd", "end_scales=30", "end_scales 30 has no effect on scales_mode fixed"},
        {"cd", "scales_mode=ict;end_scales=12", "end_scales 12 is below start_scales 18"},
        {"edm", "optimizer=sgd;beta1=0.5", "no effect on optimizer sgd"},
        {"edm", "distance=pseudo-huber;sum_pixels=1", "sum_pixels has no effect on distance pseudo-huber"},
        {"ect", "mapping=const;ect_k=3", "no effect on mapping const"},
        {"ect", "ect_stages=1;ect_stage_steps=5", "ect_stage_steps has no effect with ect_stages 1"},
        {"pd", "anneal_end=50", "no effect beside anneal_stages 1"},
        {"edm", "p_mean=21", "p_mean is 21"},
        {"ect", "p_std=11", "p_std is 11"},
        {"cd", "rho=0.1", "rho is 0.1"},
        {"edm", "steps=0", "steps is 0"},
        {"edm", "anneal_begin=5", "without anneal_end"},
        {"edm", "beta2=1", "below 1"},
        {"edm", "sum_microbatches=1", "needs microbatch"},
        {"edm", "flip=2", "flip is 2"},
        {"edm", "seed=-1", "below 2^64"},
        {"edm", "precision=bfloat16", "one of default, f32, bf16"},
        {"edm", "debug=bf16_emulate=1", "no effect without precision bf16"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_train_settings o;
        cm_status status = CM_OK;
        o = cmi_settings_defaults(CM_TRAIN_EDM);
        OK(cmi_settings_set(&o, "objective", rows[i].objective));
        for (const char *at = rows[i].set; *at && status == CM_OK;) { /* key=value;key=value */
            char key[64], value[64];
            int n = 0;
            ck_assert_int_eq(sscanf(at, "%63[^=]=%63[^;]%n", key, value, &n), 2);
            status = cmi_settings_set(&o, key, value);
            at += n + (at[n] == ';');
        }
        if (status == CM_OK) status = cmi_settings_check(&o, cmi_cpu_level());
        ck_assert_msg(status != CM_OK && strstr(cm_last_message(), rows[i].word), "%s %s: '%s' lacks '%s'",
                      rows[i].objective, rows[i].set, status == CM_OK ? "accepted" : cm_last_message(), rows[i].word);
    }
}
END_TEST

/* What is printed is read back, of every preset, whatever stood there before. */
START_TEST(options_are_read_back)
{
    char text[4096], again[4096];
    for (size_t n = 0; cm_train_preset_name(n); n++) {
        cm_train_settings o, back;
        o = cmi_settings_defaults(CM_TRAIN_EDM);
        back = cmi_settings_defaults(CM_TRAIN_EDM);
        OK(cmi_preset_apply(&o, cm_train_preset_name(n)));
        o.seed = n % 2 ? UINT64_MAX : n;
        if (n == 1) o.ema.count = 0;
        OK(json_of(&o, text));
        OK(cmi_preset_apply(&back, cm_train_preset_name(n ? n - 1 : 1)));
        OK(read_json(&back, text));
        OK(json_of(&back, again));
        ck_assert_str_eq(text, again);
    }
    cm_train_settings o = options("ect"), before = o;
    OK(read_json(&o, "{\"lr\": 0.5}"));
    ck_assert(o.lr == 0.5 && o.objective == before.objective && o.batch == BATCH);
    FAILS(read_json(&o, "{\"batch\": 3, \"lrr\": 1}"), CM_ERR_ARGUMENT, "unknown training option 'lrr'");
    FAILS(read_json(&o, "{\"batch\": [3]}"), CM_ERR_FORMAT, "neither a number nor a name");
    FAILS(read_json(&o, "{\"batch\": 2000000}"), CM_ERR_ARGUMENT, "batch is 2000000, expected 1048576 or less");
    FAILS(read_json(&o, "{\"seed\": -1}"), CM_ERR_ARGUMENT, "seed is '-1', expected a whole number below 2^64");
    OK(read_json(&o, "{\"seed\": 9223372036854775807}"));
    ck_assert(o.seed == INT64_MAX);
    FAILS(read_json(&o, "[]"), CM_ERR_FORMAT, "expected a JSON object");
    FAILS(read_json(&o, "{"), CM_ERR_FORMAT, "not valid JSON");
    FAILS(read_json(&o, "{\"ema\": [{\"form\": \"rate\"}]}"), CM_ERR_FORMAT, "ema");
    ck_assert(o.lr == 0.5 && o.batch == BATCH);
}
END_TEST

static void check_text(const cm_train_options *o, const char *name, const char *expected)
{
    char text[1024];
    size_t length = 0;
    OK(cm_train_options_get(o, name, text, sizeof text, &length));
    ck_assert_str_eq(text, expected);
    ck_assert_uint_eq(length, strlen(expected));
}

/* The handle: values by name as text and as numbers, copies, failures that change nothing. */
START_TEST(options_by_name)
{
    memory m;
    cm_context *context;
    cm_train_options *o, *copy;
    memory_reset(&m);
    const cm_context_options co = memory_options(&m, 1);
    OK(cm_context_create(&co, &context));
    double v;
    char small[4] = "xyz";
    size_t length;
    OK(cm_train_options_create(context, &o));
    OK(cm_train_options_set(o, "objective", "cd"));
    OK(cm_train_options_set_number(o, "mu", 0.8));
    OK(cm_train_options_set_number(o, "optimizer", 3));
    OK(cm_train_options_set(o, "ema", "0.9,warmup:0.99,halflife:500000:0.05"));
    check_text(o, "objective", "cd");
    check_text(o, "mu", "0.8");
    check_text(o, "optimizer", "sgd");
    check_text(o, "ema", "0.9,warmup:0.99,halflife:500000:0.05");
    OK(cm_train_options_get_number(o, "objective", &v));
    ck_assert(v == CM_TRAIN_CD);
    OK(cm_train_options_get(o, "ema", small, sizeof small, &length));
    ck_assert(strcmp(small, "0.9") == 0 && length == 36);
    OK(cm_train_options_get(o, "ema", NULL, 0, &length));
    OK(cm_train_options_copy(o, &copy));
    OK(cm_train_options_set(o, "seed", "18446744073709551615"));
    check_text(o, "seed", "18446744073709551615");
    check_text(copy, "seed", "0");
    FAILS(cm_train_options_get_number(o, "seed", &v), CM_ERR_ARGUMENT, "no double holds");
    FAILS(cm_train_options_set_number(o, "seed", 1e17), CM_ERR_ARGUMENT, "up to 2^53");
    FAILS(cm_train_options_set_number(o, "seed", NAN), CM_ERR_ARGUMENT, "up to 2^53");
    OK(cm_train_options_set_number(o, "seed", 9007199254740992.0));
    OK(cm_train_options_get_number(o, "seed", &v));
    ck_assert(v == 9007199254740992.0);
    FAILS(cm_train_options_set_number(o, "ema", 0.9), CM_ERR_ARGUMENT, "ema is a text");
    FAILS(cm_train_options_get_number(o, "ema", &v), CM_ERR_ARGUMENT, "ema is a text");
    FAILS(cm_train_options_set_number(o, "batch", 2.5), CM_ERR_ARGUMENT, "batch is 2.5, expected a whole number");
    FAILS(cm_train_options_set_number(o, "batch", NAN), CM_ERR_ARGUMENT, "batch is");
    FAILS(cm_train_options_set_number(o, "batch", INFINITY), CM_ERR_ARGUMENT, "batch is");
    FAILS(cm_train_options_set_number(o, "objective", 17), CM_ERR_ARGUMENT, "objective is 17");
    FAILS(cm_train_options_set(o, "batch", "-1"), CM_ERR_ARGUMENT, "batch is -1");
    FAILS(cm_train_options_get(o, "batches", small, sizeof small, NULL), CM_ERR_ARGUMENT, "did you mean 'batch'");
    FAILS(cm_train_options_get_number(o, "batches", &v), CM_ERR_ARGUMENT, "did you mean 'batch'");
    FAILS(cm_train_options_set_number(o, "batches", 3), CM_ERR_ARGUMENT, "did you mean 'batch'");
    FAILS(cm_train_options_get(o, "batch", NULL, 3, NULL), CM_ERR_ARGUMENT, "NULL");
    cm_train_options_free(copy);
    FAILS(cm_train_options_copy(NULL, &copy), CM_ERR_ARGUMENT, "NULL");
    ck_assert_ptr_null(copy);
    check_text(o, "batch", "64");
    check_text(o, "objective", "cd");
    cm_train_options_free(o);
    cm_train_options_free(NULL);
    cm_context_free(context);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

/* Schedules in shares of the run follow its steps, in any order, until they get a number. */
START_TEST(shares_of_the_steps)
{
    static const char *const counted[] = {"warmup_steps",  "lr_decay_steps",  "anneal_begin",  "anneal_end",
                                          "distill_steps", "ect_stage_steps", "tangent_warmup"};
    const cm_option_row *row;
    cm_train_options *o;
    int shares = 0;
    for (size_t i = 0; (row = cmi_option_row_at(i)); i++)
        if (cmi_option_share(row) >= 0) ck_assert_int_eq(cmi_option_share(row), shares++);
    ck_assert_int_eq(shares, CM_STEP_SHARES);
    OK(cm_train_options_create(NULL, &o));
    for (size_t i = 0; i < CM_STEP_SHARES; i++) {
        OK(cm_train_options_set(o, "steps", "1000"));
        OK(cm_train_options_set(o, counted[i], "60%"));
        check_text(o, counted[i], "600");
        OK(cm_train_options_set(o, "steps", "7"));
        check_text(o, counted[i], "4");
        OK(cm_train_options_set_number(o, "steps", 50));
        check_text(o, counted[i], "30");
        FAILS(cm_train_options_set(o, counted[i], "101%"), CM_ERR_ARGUMENT, "up to 100%");
        FAILS(cm_train_options_set(o, counted[i], "0%"), CM_ERR_ARGUMENT, "above 0%");
        FAILS(cm_train_options_set(o, counted[i], "%"), CM_ERR_ARGUMENT, "share of the steps");
        FAILS(cm_train_options_set(o, counted[i], "6 0%"), CM_ERR_ARGUMENT, "share of the steps");
        check_text(o, counted[i], "30");
        OK(cm_train_options_set(o, counted[i], "12"));
        OK(cm_train_options_set(o, "steps", "1000"));
        check_text(o, counted[i], "12");
    }
    FAILS(cm_train_options_set(o, "batch", "5%"), CM_ERR_ARGUMENT, "batch is '5%', expected a number");
    /* Half-lives follow the images: steps times batch. */
    OK(cm_train_options_set(o, "ema", "0.9,halflife:4%:0.05,halflife:50%,halflife:64"));
    OK(cm_train_options_set(o, "steps", "100"));
    OK(cm_train_options_set(o, "batch", "32"));
    check_text(o, "ema", "0.9,halflife:128:0.05,halflife:1600,halflife:64");
    OK(cm_train_options_set_number(o, "steps", 3));
    check_text(o, "ema", "0.9,halflife:3.84:0.05,halflife:48,halflife:64");
    OK(cm_train_options_set(o, "ema", "halflife:7"));
    OK(cm_train_options_set(o, "steps", "9"));
    check_text(o, "ema", "halflife:7");
    OK(cm_train_options_set(o, "distill_steps", "1%"));
    OK(cm_train_options_set(o, "steps", "3"));
    check_text(o, "distill_steps", "1"); /* its least value */
    OK(cm_train_options_preset(o, "digits-sct-30min"));
    check_text(o, "steps", "3500");
    check_text(o, "warmup_steps", "200");
    check_text(o, "anneal_begin", "2100");
    check_text(o, "tangent_warmup", "700");
    OK(cm_train_options_set(o, "steps", "350"));
    check_text(o, "warmup_steps", "20");
    check_text(o, "anneal_begin", "210");
    check_text(o, "anneal_end", "350");
    check_text(o, "tangent_warmup", "70");
    cm_train_options_free(o);
}
END_TEST

/* JSON's true and false are values of a flag alone. */
START_TEST(options_from_json)
{
    static const char *const bad[][2] = {{"{\"batch\": true}", "\"batch\" is true, expected a number"},
                                         {"{\"lr\": false}", "\"lr\" is false, expected a number"},
                                         {"{\"seed\": true}", "\"seed\" is true, expected a number"},
                                         {"{\"objective\": true}", "\"objective\" is true, expected a name"},
                                         {"{\"ema\": true}", "\"ema\" is true, expected a text"},
                                         {"{\"sum_pixels\": null}", "neither a number nor a name"}};
    cm_train_options *o;
    OK(cm_train_options_create(NULL, &o));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(cm_train_options_read(o, bad[i][0]), CM_ERR_FORMAT, bad[i][1]);
    FAILS(cm_train_options_read(o, "{\"batches\": true}"), CM_ERR_ARGUMENT, "did you mean 'batch'");
    OK(cm_train_options_read(o, "{\"sum_pixels\": true}"));
    check_text(o, "sum_pixels", "1");
    OK(cm_train_options_read(o, "{\"sum_pixels\": false, \"sum_microbatches\": 1}"));
    check_text(o, "sum_pixels", "0");
    check_text(o, "sum_microbatches", "1");
    cm_train_options_free(o);
}
END_TEST

static long json_requests, json_fails_at;

static void *json_memory(size_t size)
{
    return ++json_requests == json_fails_at ? NULL : malloc(size);
}

/* Of every request for memory while JSON is made: the whole text or MEMORY, never a text that lacks something. */
START_TEST(json_without_memory)
{
    static char whole[4096], text[4096];
    cm_train_options *o;
    size_t length;
    OK(cm_train_options_create(NULL, &o));
    OK(cm_train_options_set(o, "ema", "0.9,halflife:500000:0.05"));
    OK(cm_train_options_json(o, whole, sizeof whole, &length));
    ck_assert_uint_lt(length, sizeof whole);
    json_set_alloc_funcs(json_memory, free);
    json_requests = json_fails_at = 0;
    OK(cm_train_options_json(o, text, sizeof text, &length));
    const long requests = json_requests;
    long refused = 0;
    for (long n = 1; n <= requests; n++) {
        json_requests = 0;
        json_fails_at = n;
        const cm_status status = cm_train_options_json(o, text, sizeof text, &length);
        ck_assert_msg(status == CM_ERR_MEMORY || strcmp(text, whole) == 0, "request %ld of %ld failing gave %s:\n%s",
                      n, requests, cm_status_name(status), text);
        refused += status == CM_ERR_MEMORY;
    }
    json_set_alloc_funcs(malloc, free);
    ck_assert_int_gt(refused, requests / 4); /* a number that was not read back is only written longer */
    cm_train_options_free(o);
}
END_TEST

/* Numbers of 16 and 17 digits come back from JSON as they were, others keep their few; what a
 * text may not hold is refused where it is set, with the option's name. */
START_TEST(texts_are_exact)
{
    const double awkward[] = {1.0 / 3, 0.1 + 0.2, 1e-3 / 7, 0.1};
    char text[4096];
    for (size_t i = 0; i < sizeof awkward / sizeof *awkward; i++) {
        cm_train_settings o = options("edm"), back = options("edm");
        o.lr = awkward[i];
        OK(json_of(&o, text));
        OK(read_json(&back, text));
        ck_assert_double_eq(back.lr, o.lr);
    }
    ck_assert_ptr_nonnull(strstr(text, "\"lr\": 0.1,"));
    cm_train_settings o = options("edm");
    FAILS(cmi_settings_set(&o, "debug", "\xff"), CM_ERR_ARGUMENT, "debug");
    FAILS(cmi_settings_set(&o, "ema", "0.9,1.5"), CM_ERR_ARGUMENT, "ema: average 1");
    FAILS(cmi_settings_set(&o, "ema", "0.9,0.9"), CM_ERR_ARGUMENT, "ema: averages 0 and 1");
}
END_TEST

/* --- warnings ----------------------------------------------------------------------------------- */

static char warnings[4096];
static void note(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level == CM_LOG_WARNING && strlen(warnings) + strlen(message) + 2 < sizeof warnings)
        strcat(strcat(warnings, message), "\n");
}

START_TEST(suspicious_numbers_are_named)
{
    cm_context_options co;
    cm_context *context;
    cm_trainer *t;
    cm_train_settings o = options("ct");
    cm_context_options_init(&co, sizeof co);
    co.log = note;
    warnings[0] = '\0';
    OK(cm_context_create(&co, &context));
    OK(cmi_settings_set(&o, "ema", "0.9999"));
    o.warmup_steps = 500;
    o.scales_mode = CM_SCALES_FIXED;
    o.start_scales = o.end_scales = 18;
    OK(open_trainer(context, "ct", &o, &t));
    ck_assert_msg(strstr(warnings, "steps 100 % of it are the weights it began with; a warm-up"), "%s", warnings);
    ck_assert_msg(strstr(warnings, "warmup_steps 500"), "%s", warnings);
    ck_assert_msg(strstr(warnings, "mu is adaptive but N is fixed"), "%s", warnings);
    cm_trainer_free(t);
    warnings[0] = '\0'; /* a warm-up forgets them */
    OK(cmi_settings_set(&o, "ema", "warmup:0.9999,0.5"));
    OK(open_trainer(context, "ct", &o, &t));
    ck_assert_msg(!strstr(warnings, "average"), "%s", warnings);
    cm_trainer_free(t);
    cm_context_free(context);
}
END_TEST

/* Everything that the handle of options can do. */
static cm_status use_options(cm_context *context)
{
    cm_train_options *o = NULL, *copy = NULL;
    char text[4096];
    size_t length;
    cm_status status = cm_train_options_create(context, &o);
    if (status == CM_OK) status = cm_train_options_preset(o, "smoke");
    if (status == CM_OK) status = cm_train_options_set(o, "ema", "0.9,halflife:500000:0.05");
    if (status == CM_OK) status = cm_train_options_set_number(o, "lr", 1e-4);
    if (status == CM_OK) status = cm_train_options_copy(o, &copy);
    if (status == CM_OK) status = cm_train_options_json(copy, text, sizeof text, &length);
    if (status == CM_OK) status = cm_train_options_read(copy, text);
    if (status == CM_OK) status = cm_train_options_check(copy);
    if (status == CM_OK) status = cm_train_options_get(copy, "ema", text, sizeof text, &length);
    if (status == CM_OK) ck_assert_str_eq(text, "0.9,halflife:500000:0.05");
    cm_train_options_free(o);
    cm_train_options_free(copy);
    return status;
}

START_TEST(options_without_memory)
{
    memory m;
    cm_context *context;
    memory_reset(&m);
    const cm_context_options co = memory_options(&m, 1);
    OK(cm_context_create(&co, &context));
    OK(use_options(context));
    const long idle = m.live, before = m.requests;
    OK(use_options(context));
    const long requests = m.requests - before;
    ck_assert_int_gt(requests, 1);
    for (int persistent = 0; persistent < 2; persistent++)
        for (long n = 1; n <= requests; n++) {
            m.requests = 0;
            m.fail_at = n;
            m.persistent = persistent;
            const cm_status status = use_options(context);
            ck_assert_msg(status == CM_ERR_MEMORY, "request %ld of %ld failing gave %s: %s", n, requests,
                          cm_status_name(status), cm_last_message());
            ck_assert_int_eq(m.live, idle);
            m.fail_at = 0;
            OK(use_options(context));
        }
    cm_context_free(context);
    ck_assert_int_eq(m.live, 0);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("train_options");
    TCase *t = tcase_create("options");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_test(t, options_refused);
    tcase_add_test(t, texts_are_exact);
    tcase_add_test(t, options_are_read_back);
    tcase_add_test(t, options_by_name);
    tcase_add_test(t, shares_of_the_steps);
    tcase_add_test(t, options_from_json);
    tcase_add_test(t, json_without_memory);
    tcase_add_test(t, suspicious_numbers_are_named);
    tcase_add_test(t, options_without_memory);
    suite_add_tcase(s, t);
    return s;
}
