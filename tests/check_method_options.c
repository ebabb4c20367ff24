/* Sample options: which numbers are in their range, which a method reads, and what they are where none is given.  The
 * models have a preconditioning and no network. */
#include "support/bare_models.h"

#include <math.h>
#include <stddef.h>

/* --- ranges ------------------------------------------------------------------------------------------ */

static cm_status in_range(const cm_sample_options *o)
{
    const cm_resolver r = {.o = o};
    return cmi_options_check_ranges(&r);
}

START_TEST(numbers_in_their_ranges)
{
#define ROW(member, low, high)                                                                                       \
    {                                                                                                                \
#member, offsetof(cm_sample_options, member), low, high                                                      \
    }
    static const struct {
        const char *name;
        size_t at;
        double low, high;
    } rows[] = {ROW(rho, 0.5, 1000),     ROW(sigma_min, 1e-30, 1e30), ROW(sigma_max, 1e-30, 1e30),
                ROW(s_churn, 0, 1e9),    ROW(s_tmin, 0, 1e30),        ROW(s_noise, 0.1, 10),
                ROW(edm_alpha, 0.01, 1), ROW(rk45_rtol, 1e-10, 1),    ROW(rk45_atol, 1e-10, 1),
                ROW(pc_snr, 1e-6, 10),   ROW(s_tmax, 0, INFINITY),    ROW(temperature, 0.1, 2)};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const double good[] = {rows[i].low, 0, rows[i].high, rows[i].low * 1.5};
        const double bad[] = {nextafter(rows[i].low, -1), nextafter(rows[i].high, INFINITY), -rows[i].high, NAN};
        for (size_t k = 0; k < 4; k++) {
            cm_sample_options o = options_of(0);
            char word[64];
            memcpy((char *)&o + rows[i].at, &good[k], sizeof(double));
            OK(in_range(&o));
            if (bad[k] > 0 && isinf(bad[k])) continue;
            memcpy((char *)&o + rows[i].at, &bad[k], sizeof(double));
            (void)snprintf(word, sizeof word, "option %s is %g, expected ", rows[i].name, bad[k]);
            FAILS(in_range(&o), CM_ERR_ARGUMENT, word);
        }
    }
}
END_TEST

START_TEST(whole_numbers_in_their_ranges)
{
    static const struct {
        const char *name;
        size_t at;
        int32_t least, most; /* and 0 */
    } rows[] = {ROW(steps, 0, 1000000),        ROW(clip_denoised, 0, 2),      ROW(clip_output, 0, 2),
                ROW(edm_discretization, 0, 3), ROW(edm_schedule, 0, 2),       ROW(edm_scaling, 0, 1),
                ROW(edm_solver, 0, 1),         ROW(dpmpp_order, 0, 3),        ROW(dpmpp_form, 0, 1),
                ROW(dpmpp_end, 0, 1),          ROW(rk45_max_nfe, 8, 1000000), ROW(pc_corrections, 0, 100)};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const int32_t good[] = {0, rows[i].least, rows[i].most};
        const int32_t bad[] = {rows[i].least - 1, rows[i].most + 1, -rows[i].most, INT32_MIN};
        for (size_t k = 0; k < COUNT(bad); k++) {
            cm_sample_options o = options_of(0);
            char word[64];
            if (k < COUNT(good)) memcpy((char *)&o + rows[i].at, &good[k], sizeof *good);
            OK(in_range(&o));
            memcpy((char *)&o + rows[i].at, &bad[k], sizeof *bad);
            (void)snprintf(word, sizeof word, "option %s is %d, expected ", rows[i].name, bad[k]);
            FAILS(in_range(&o), CM_ERR_ARGUMENT, word);
        }
    }
}
END_TEST

START_TEST(lists_and_their_counts)
{
    static const double sigmas[2] = {2, 1};
    static const int32_t ts[2] = {0, 1};
    static const struct {
        const double *sigmas;
        size_t sigma_count;
        const int32_t *ts;
        size_t ts_count;
        const char *word; /* NULL: good */
    } rows[] = {{NULL, 0, NULL, 0, NULL},
                {sigmas, 2, NULL, 0, NULL},
                {NULL, 0, ts, 2, NULL},
                {sigmas, 1000000, NULL, 0, NULL},
                {NULL, 0, ts, 1000000, NULL},
                {sigmas, 0, NULL, 0, "given together"},
                {NULL, 2, NULL, 0, "given together"},
                {NULL, 0, ts, 0, "given together"},
                {NULL, 0, NULL, 2, "given together"},
                {sigmas, 0, ts, 0, "given together"},
                {sigmas, 2, ts, 2, "give one of them"},
                {sigmas, 1000001, NULL, 0, "sigma_count is 1000001, at most 1000000"},
                {NULL, 0, ts, 1000001, "ts_count is 1000001, at most 1000000"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_sample_options o = options_of(0);
        o.sigmas = rows[i].sigmas, o.sigma_count = rows[i].sigma_count;
        o.ts = rows[i].ts, o.ts_count = rows[i].ts_count;
        const cm_status status = in_range(&o);
        if (!rows[i].word) ck_assert_msg(status == CM_OK, "row %zu: %s", i, cm_last_message());
        else ck_assert_msg(status != CM_OK && strstr(cm_last_message(), rows[i].word), "row %zu: %d", i, status);
    }
}
END_TEST

/* --- what a method reads ------------------------------------------------------------------------------ */

static int32_t see(void *user, int32_t evaluation, double sigma, size_t first, const cm_images *images)
{
    (void)user, (void)evaluation, (void)sigma, (void)first, (void)images;
    return 0;
}

/* Every option with every method: those that read it take it, for the others it has no effect and is refused. */
START_TEST(options_of_each_method)
{
    static const double two[2] = {4, 1};
    static const int32_t ts[2] = {0, 39};
    static const float noise[1];
    enum {
        ONE = 1 << CM_METHOD_ONESTEP,
        MULTI = 1 << CM_METHOD_MULTISTEP,
        HEUN = 1 << CM_METHOD_HEUN,
        EULER = 1 << CM_METHOD_EULER,
        ANCESTRAL = 1 << CM_METHOD_ANCESTRAL,
        DPM = 1 << CM_METHOD_DPM,
        EDM = 1 << CM_METHOD_EDM,
        PROGDIST = 1 << CM_METHOD_PROGDIST,
        DPMPP = 1 << CM_METHOD_DPMPP,
        RK45 = 1 << CM_METHOD_RK45,
        PC = 1 << CM_METHOD_PC,
        CHURN = HEUN | DPM | EDM,
        WALK = CHURN | EULER | ANCESTRAL | PROGDIST | DPMPP | PC,
        ALL = WALK | ONE | MULTI | RK45
    };
#define FOR(methods, ...)                                                                                            \
    do {                                                                                                             \
        for (int method = 1; method <= CM_METHOD_PC; method++) {                                                     \
            cm_sample_options o = options_of(method);                                                                \
            char what[200];                                                                                          \
            if (method == CM_METHOD_MULTISTEP) o.steps = 1; /* what the models of this test can do */                \
            __VA_ARGS__;                                                                                             \
            (void)snprintf(what, sizeof what, "method %d, %s", method, #__VA_ARGS__);                                \
            taken(&m, &o, (methods) >> method & 1 ? NULL : "has no effect", what);                                   \
        }                                                                                                            \
    } while (0)
    cm_model m;
    model_of(&m, "\"ecm\"");
    FOR(ALL, );
    FOR(WALK & ~ONE, o.steps = 2; if (method == CM_METHOD_MULTISTEP) o.method = CM_METHOD_RK45);
    FOR(ALL & ~RK45, o.steps = 1);
    FOR(WALK, o.rho = 6);
    FOR(ALL, o.rho = 7);
    FOR(ALL & ~ONE & ~MULTI, o.sigma_min = 0.5);
    FOR(ALL, o.sigma_min = 0.002);
    FOR(ALL, o.sigma_max = 40);
    FOR(ALL, o.sigma_max = 80);
    FOR(MULTI, o.steps = 0, o.ts = ts, o.ts_count = 2, o.grid = 40);
    FOR(MULTI, o.steps = 0, o.ts = ts, o.ts_count = 2, o.grid = 40, o.rho = 6, o.sigma_min = 0.5);
    FOR(0, o.grid = 40);
    FOR(0, o.steps = 1, o.ts = ts, o.ts_count = 2, o.grid = 40);
    FOR(CHURN, o.s_churn = 0.1);
    FOR(CHURN, o.s_churn = 0.1, o.s_tmin = 0.5, o.s_tmax = 5, o.s_noise = 1.5);
    FOR(0, o.s_tmin = 0.5);
    FOR(0, o.s_tmax = 5);
    FOR(0, o.s_noise = 1.5);
    FOR(ALL, o.temperature = 0.5);
    FOR(0, o.s_noise = 0.5);
    FOR(ALL, o.s_tmax = INFINITY, o.s_noise = 1, o.edm_alpha = 1);
    FOR(EDM, o.edm_discretization = CM_EDM_STEPS_VE);
    FOR(EDM, o.edm_schedule = CM_EDM_SCHEDULE_VP);
    FOR(EDM, o.edm_scaling = CM_EDM_SCALING_VP);
    FOR(EDM, o.edm_solver = CM_EDM_SOLVER_EULER);
    FOR(EDM, o.edm_alpha = 0.5);
    FOR(EDM, o.edm_alpha = 1, o.edm_solver = CM_EDM_SOLVER_EULER);
    FOR(0, o.edm_alpha = 0.5, o.edm_solver = CM_EDM_SOLVER_EULER);
    FOR(0, o.edm_discretization = CM_EDM_STEPS_VP, o.rho = 6);
    FOR(EDM, o.edm_discretization = CM_EDM_STEPS_VP, o.rho = 7);
    FOR(DPMPP, o.dpmpp_order = 2);
    FOR(DPMPP, o.dpmpp_form = CM_DPMPP_TAYLOR);
    FOR(DPMPP, o.dpmpp_end = CM_DPMPP_FULL);
    FOR(RK45, o.rk45_rtol = 0.1);
    FOR(RK45, o.rk45_atol = 0.1);
    FOR(RK45, o.rk45_max_nfe = 8);
    FOR(PC, o.pc_snr = 0.1);
    FOR(PC, o.pc_corrections = 1);
    FOR(ALL & ~RK45, o.step = see);
    FOR(0, o.num_samples = 3);
    FOR(ALL, o.noise_source = CM_NOISE_TORCH_INDIV, o.num_samples = 3);
    FOR(CHURN | ANCESTRAL | PC | MULTI, o.step_noise = noise, o.noise_steps = 100);
    /* Beside a list of levels. */
    FOR(ALL & ~ONE, o.steps = 0, o.sigmas = two, o.sigma_count = 2;
        if (method == CM_METHOD_ONESTEP) o.grid = 40); /* which takes no list of two */
    FOR(WALK | MULTI, o.steps = 2, o.sigmas = two, o.sigma_count = 2);
    FOR(0, o.steps = 3, o.sigmas = two, o.sigma_count = 2);
    FOR(0, o.steps = 0, o.sigmas = two, o.sigma_count = 2, o.rho = 6);
    FOR(0, o.steps = 0, o.sigmas = two, o.sigma_count = 2, o.sigma_min = 0.5);
    FOR(0, o.steps = 0, o.sigmas = two, o.sigma_count = 2, o.sigma_max = 40);
    FOR(WALK | MULTI | RK45, o.steps = 0, o.sigmas = two, o.sigma_count = 2, o.sigma_max = 80, o.sigma_min = 0.002;
        if (method == CM_METHOD_ONESTEP) o.grid = 40);
    FOR(0, o.steps = 0, o.sigmas = two, o.sigma_count = 2, o.edm_discretization = CM_EDM_STEPS_VE);
    release(&m);
}
END_TEST

/* The flow map needs no lowest level, unless a rho asks for Karras's. */
START_TEST(options_of_the_flow_map)
{
    cm_model m, other;
    model_of(&m, "\"average-velocity\"");
    model_of(&other, "\"edm\"");
    cm_sample_options o = options_of(CM_METHOD_FLOWMAP);
    taken(&m, &o, NULL, "as it is");
    taken(&other, &o, "method flowmap is for networks of two times; this model, of precond edm,", "of one time");
    o.sigma_min = 0.002;
    taken(&m, &o, NULL, "the model's own lowest level");
    o.sigma_min = 0.5;
    taken(&m, &o, "option sigma_min has no effect without a rho on method flowmap", "a lowest level");
    o.rho = 6;
    taken(&m, &o, NULL, "a lowest level and rho");
    o.sigma_min = 0;
    taken(&m, &o, NULL, "rho");
    release(&m);
    release(&other);
}
END_TEST

/* Orders, and what depends on them, one step more and fewer. */
START_TEST(orders_of_dpmpp)
{
    static const struct {
        int steps, order, form, end;
        const char *word;
        int32_t resolved;
    } rows[] = {
        {1, 0, 0, 0, NULL, 1},
        {2, 0, 0, 0, NULL, 2},
        {3, 0, 0, 0, NULL, 3},
        {4, 0, 0, 0, NULL, 3},
        {0, 0, 0, 0, NULL, 3},
        {4, 1, 0, 0, NULL, 1},
        {1, 1, 0, 0, NULL, 1},
        {2, 2, 0, 0, NULL, 2},
        {3, 3, 0, 0, NULL, 3},
        {1, 2, 0, 0, "dpmpp_order is 2, but the run has 1 step; a step of order q needs q - 1 before it", 0},
        {2, 3, 0, 0, "dpmpp_order is 3, but the run has 2 steps; a step", 0},
        {3, 2, CM_DPMPP_TAYLOR, 0, NULL, 2},
        {2, 2, CM_DPMPP_TAYLOR, 0, "dpmpp_form has no effect without a step of order 2 on method dpmpp", 0},
        {2, 2, CM_DPMPP_TAYLOR, CM_DPMPP_FULL, NULL, 2},
        {5, 3, CM_DPMPP_TAYLOR, 0, NULL, 3},
        {5, 1, CM_DPMPP_TAYLOR, 0, "dpmpp_form has no effect", 0},
        {5, 2, 0, CM_DPMPP_FULL, NULL, 2},
        {5, 1, 0, CM_DPMPP_FULL, "dpmpp_end has no effect with order 1 on method dpmpp", 0},
        {1, 0, 0, CM_DPMPP_FULL, "dpmpp_end has no effect with order 1", 0},
    };
    cm_model m;
    model_of(&m, "\"edm\"");
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_sample_options o = options_of(CM_METHOD_DPMPP);
        cm_times t;
        char what[32];
        o.steps = rows[i].steps, o.dpmpp_order = rows[i].order, o.dpmpp_form = rows[i].form;
        o.dpmpp_end = rows[i].end;
        (void)snprintf(what, sizeof what, "row %zu", i);
        taken(&m, &o, rows[i].word, what);
        if (rows[i].word) continue;
        OK(cmi_times_resolve(&m, &o, &t));
        ck_assert_int_eq(t.solver.dpmpp.order, rows[i].resolved);
        ck_assert(t.solver.dpmpp.form == rows[i].form && t.solver.dpmpp.full == (rows[i].end == CM_DPMPP_FULL));
        cmi_times_release(&m, &t);
    }
    release(&m);
}
END_TEST

START_TEST(random_numbers_of_the_caller)
{
    static const float noise[1];
    const int32_t label[1] = {0};
    cm_model m;
    model_of(&m, "\"edm\"");
    cm_sample_options o = options_of(CM_METHOD_ANCESTRAL);
    o.steps = 5, o.step_noise = noise, o.noise_steps = 5;
    taken(&m, &o, NULL, "as many draws as steps");
    o.noise_steps = 6;
    taken(&m, &o, NULL, "more");
    o.noise_steps = 4;
    taken(&m, &o, "step_noise has 4 draws, this run makes 5", "fewer");
    o.noise_steps = 0;
    taken(&m, &o, "step_noise and noise_steps have to be given together", "none");
    o.step_noise = NULL, o.noise_steps = 5;
    taken(&m, &o, "step_noise and noise_steps have to be given together", "a number alone");
    o.noise_steps = 0, o.noise_source = CM_NOISE_TORCH_INDIV + 1;
    taken(&m, &o, "option noise_source is 3, expected 0..2", "a source that is none");
    o.noise_source = -1;
    taken(&m, &o, "option noise_source is -1, expected 0..2", "a source that is none");
    o.noise_source = CM_NOISE_TORCH_IMAGE;
    taken(&m, &o, NULL, "a generator for each image");
    o.noise_source = CM_NOISE_TORCH_INDIV;
    taken(&m, &o, "needs num_samples, the images of the whole job", "a generator without the job's images");
    o.num_samples = 1;
    taken(&m, &o, NULL, "without classes");
    m.net.num_classes = 1;
    taken(&m, &o, "does not draw labels: give them", "with classes");
    o.condition = LABELS(label);
    taken(&m, &o, NULL, "with labels");
    o.noise_source = 0, o.num_samples = 0, o.condition = NULL;
    taken(&m, &o, NULL, "labels that are drawn");
    release(&m);
}
END_TEST

/* --- methods and defaults ----------------------------------------------------------------------------- */

/* Which method a call has that names none. */
START_TEST(methods_of_models)
{
    static const double list[2] = {4, 1};
    static const int32_t ts[2] = {0, 1};
    static const struct {
        const char *precond;
        int own; /* of member "sampling" */
        int steps, sigmas, ts;
        const cm_method_kind *method;
    } rows[] = {{"\"cm\"", 0, 0, 0, 0, &cmi_method_onestep},
                {"\"cm\"", 0, 1, 0, 0, &cmi_method_onestep},
                {"\"average-velocity\"", 0, 2, 0, 0, &cmi_method_multistep},
                {"\"cm\"", 0, 0, 1, 0, &cmi_method_onestep},
                {"\"cm\"", 0, 0, 2, 0, &cmi_method_multistep},
                {"\"cm\"", 0, 0, 0, 2, &cmi_method_multistep},
                {"\"edm\"", 0, 0, 0, 0, &cmi_method_heun},
                {"\"edm\"", 0, 2, 0, 0, &cmi_method_heun},
                {"\"edm\"", 0, 0, 2, 0, &cmi_method_heun},
                {"\"cm\"", CM_METHOD_EULER, 0, 0, 0, &cmi_method_euler},
                {"\"cm\"", CM_METHOD_EULER, 3, 0, 0, &cmi_method_euler},
                {"\"cm\"", CM_METHOD_EULER, 0, 2, 0, &cmi_method_multistep},
                {"\"cm\"", CM_METHOD_EULER, 0, 0, 2, &cmi_method_multistep},
                {"\"edm\"", CM_METHOD_PC, 0, 0, 0, &cmi_method_pc},
                {"\"edm\"", CM_METHOD_PC, 0, 1, 0, &cmi_method_heun}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_model m;
        cm_times t;
        cm_sample_options o = options_of(CM_METHOD_DEFAULT);
        model_of(&m, rows[i].precond);
        m.sampling.method = rows[i].own;
        o.steps = rows[i].steps;
        if (rows[i].sigmas) o.sigmas = list, o.sigma_count = (size_t)rows[i].sigmas;
        if (rows[i].ts) o.ts = ts, o.ts_count = (size_t)rows[i].ts, o.grid = 2;
        OK(cmi_times_resolve(&m, &o, &t));
        ck_assert_msg(t.solver.method == rows[i].method, "row %zu: %s", i, t.solver.method->name);
        cmi_times_release(&m, &t);
        release(&m);
    }
    cm_model m;
    cm_times t;
    cm_sample_options o = options_of(CM_METHOD_DEFAULT);
    model_of(&m, "\"none\"");
    FAILS(cmi_times_resolve(&m, &o, &t), CM_ERR_UNSUPPORTED, "precond none cannot be sampled from");
    o.method = CM_METHOD_FLOWMAP + 1;
    FAILS(cmi_times_resolve(&m, &o, &t), CM_ERR_ARGUMENT, "option method is 13, expected a cm_method");
    o.method = -1;
    FAILS(cmi_times_resolve(&m, &o, &t), CM_ERR_ARGUMENT, "option method is -1, expected a cm_method");
    release(&m);
}
END_TEST

/* Options of 0 are their defaults, and others arrive as they are. */
START_TEST(defaults_are_values)
{
    cm_model m;
    cm_times t;
    model_of(&m, "\"edm\"");
    cm_sample_options o = options_of(CM_METHOD_RK45);
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.rk45.rtol == 1e-5 && t.solver.rk45.atol == 1e-5 && t.solver.rk45.most == 1000);
    cmi_times_release(&m, &t);
    o.rk45_rtol = 0.25, o.rk45_atol = 0.125, o.rk45_max_nfe = 8;
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.rk45.rtol == 0.25 && t.solver.rk45.atol == 0.125 && t.solver.rk45.most == 8);
    cmi_times_release(&m, &t);
    o = options_of(CM_METHOD_PC);
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.pc.snr == 0.16 && t.solver.pc.corrections == 1);
    cmi_times_release(&m, &t);
    o.pc_snr = 0.25, o.pc_corrections = 3;
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.pc.snr == 0.25 && t.solver.pc.corrections == 3);
    cmi_times_release(&m, &t);
    o = options_of(CM_METHOD_EDM);
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.s_churn == 0 && t.solver.s_tmin == 0 && isinf(t.solver.s_tmax) && t.solver.s_noise == 1);
    ck_assert(t.solver.edm.alpha == 1 && t.solver.edm.schedule == 0 && t.solver.edm.scaling == 0);
    ck_assert(t.solver.edm.solver == 0 && t.solver.edm.M == 0 && !t.solver.edm.levels && t.solver.n == 18);
    /* beta_d and beta_min of 0.002 to 80, with 40 digits. */
    ck_assert(fabs(t.solver.edm.beta_d - 17.537956987271235) < 1e-12);
    ck_assert(fabs(t.solver.edm.beta_min + 0.0047689864936142844) < 1e-12);
    cmi_times_release(&m, &t);
    o.s_churn = 2, o.s_tmin = 3, o.s_tmax = 5, o.s_noise = 1.5, o.edm_alpha = 0.75;
    o.edm_schedule = CM_EDM_SCHEDULE_VE, o.edm_scaling = CM_EDM_SCALING_VP;
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.s_churn == 2 && t.solver.s_tmin == 3 && t.solver.s_tmax == 5 && t.solver.s_noise == 1.5);
    ck_assert(t.solver.edm.alpha == 0.75 && t.solver.edm.schedule == 2 && t.solver.edm.scaling == 1);
    cmi_times_release(&m, &t);
    o.edm_alpha = 0, o.edm_solver = CM_EDM_SOLVER_EULER;
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert_int_eq(t.solver.edm.solver, CM_EDM_SOLVER_EULER);
    cmi_times_release(&m, &t);
    release(&m);
    model_of(&m, "\"iddpm\", \"M\": 70");
    o = options_of(CM_METHOD_EDM);
    o.edm_discretization = CM_EDM_STEPS_VE;
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.edm.levels == m.precond.table && t.solver.edm.M == 70);
    cmi_times_release(&m, &t);
    release(&m);
}
END_TEST

/* Estimates are clamped where method and model do so, unless told. */
START_TEST(estimates_are_clamped)
{
    static const struct {
        const char *precond;
        int method, clip;
    } rows[] = {{"\"edm\"", CM_METHOD_HEUN, 1},      {"\"cm\"", CM_METHOD_ONESTEP, 1},
                {"\"edm\"", CM_METHOD_DPMPP, 0},     {"\"ecm\"", CM_METHOD_HEUN, 0},
                {"\"ecm\"", CM_METHOD_DPMPP, 0},     {"\"vp\"", CM_METHOD_EULER, 1},
                {"\"trigflow\"", CM_METHOD_HEUN, 0}, {"\"edm\"", CM_METHOD_EDM, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_model m;
        model_of(&m, rows[i].precond);
        for (int told = CM_CLIP_DEFAULT; told <= CM_CLIP_NO; told++) {
            cm_times t;
            cm_sample_options o = options_of(rows[i].method);
            o.clip_denoised = told;
            OK(cmi_times_resolve(&m, &o, &t));
            ck_assert_int_eq(t.solver.clip, told == CM_CLIP_DEFAULT ? rows[i].clip : told == CM_CLIP_YES);
            cmi_times_release(&m, &t);
        }
        release(&m);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("method_options");
    TCase *t = tcase_create("method_options");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, numbers_in_their_ranges);
    tcase_add_test(t, whole_numbers_in_their_ranges);
    tcase_add_test(t, lists_and_their_counts);
    tcase_add_test(t, options_of_each_method);
    tcase_add_test(t, options_of_the_flow_map);
    tcase_add_test(t, orders_of_dpmpp);
    tcase_add_test(t, random_numbers_of_the_caller);
    tcase_add_test(t, methods_of_models);
    tcase_add_test(t, defaults_are_values);
    tcase_add_test(t, estimates_are_clamped);
    suite_add_tcase(s, t);
    return s;
}
