/* Noise levels of every rule by value: schedules, lists, indices, what a model says, and what is refused.  The models
 * have a preconditioning and no network. */
#include "support/bare_models.h"

#include <math.h>
#include <sys/mman.h>

#include "diffusion/schedule.h"

enum { MOST = 8 };

typedef struct {
    const char *precond;
    int method, steps, steps_of; /* cm_edm_discretization */
    double smin, smax, rho;
    int n;               /* of the solver */
    double levels[MOST]; /* as many as it has */
} level_case;

static void check_levels(const cm_times *t, int n, const double *levels, int count, const char *what, size_t row)
{
    ck_assert_msg(t->solver.n == n, "%s, row %zu: n is %d, expected %d", what, row, t->solver.n, n);
    ck_assert(t->solver.sigma == t->sigma);
    for (int i = 0; i < count; i++)
        ck_assert_msg(fabs(t->solver.sigma[i] - levels[i]) <= 1e-9 * levels[i],
                      "%s, row %zu: level %d is %.15g, expected %.15g", what, row, i, t->solver.sigma[i], levels[i]);
}

/* Schedules by rule and method; after the last of those that end at 0 stands 0. */
START_TEST(levels_of_schedules)
{
    static const level_case rows[] = {
        {"\"edm\"", CM_METHOD_HEUN, 3, 0, 1, 4, 1, 3, {4, 2.5, 1, 0}},
        {"\"edm\"", CM_METHOD_EULER, 3, 0, 1, 4, 0, 3, {4, 2.0697116887946906, 1, 0}},
        {"\"edm\"", CM_METHOD_ANCESTRAL, 2, 0, 0, 0, 0, 2, {80, 0.002, 0}},
        {"\"edm\"", CM_METHOD_DPM, 1, 0, 0, 0, 0, 1, {80, 0}},
        {"\"edm\"", CM_METHOD_HEUN, 3, 0, 1, 9, 2, 3, {9, 4, 1, 0}},
        {"\"cm\"", CM_METHOD_HEUN, 3, 0, 0, 0, 0, 3, {80, 2.5152189761471586, 0.002, 0}},
        {"\"edm\"", CM_METHOD_PROGDIST, 2, 0, 1, 4, 1, 2, {4, 2.5, 1}},
        {"\"edm\"", CM_METHOD_PROGDIST, 2, 0, 1, 4, 0, 2, {4, 2.0697116887946906, 1}},
        {"\"edm\"", CM_METHOD_PROGDIST, 1, 0, 1, 4, 0, 1, {4, 1}},
        {"\"edm\"", CM_METHOD_DPMPP, 2, 0, 1, 4, 0, 2, {4, 2, 1}},
        {"\"edm\"", CM_METHOD_DPMPP, 2, 0, 1, 4, 1, 2, {4, 2.5, 1}},
        {"\"edm\"", CM_METHOD_PC, 3, 0, 1, 4, 0, 3, {4, 2, 1, 0}},
        {"\"edm\"", CM_METHOD_PC, 1, 0, 1, 4, 0, 1, {4, 0}},
        {"\"edm\"", CM_METHOD_PC, 3, 0, 1, 4, 1, 3, {4, 2.5, 1, 0}},
        {"\"edm\"", CM_METHOD_RK45, 0, 0, 1, 4, 0, 1, {4, 1}},
        {"\"edm\"", CM_METHOD_RK45, 0, 0, 0, 0, 0, 1, {80, 0.002}},
        {"\"average-velocity\"", CM_METHOD_FLOWMAP, 4, 0, 0, 3, 0, 4, {3, 9.0 / 7, 0.6, 3.0 / 13, 0}},
        {"\"average-velocity\"", CM_METHOD_FLOWMAP, 0, 0, 0, 3, 0, 1, {3, 0}},
        {"\"average-velocity\"", CM_METHOD_FLOWMAP, 3, 0, 1, 4, 1, 3, {4, 2.5, 1, 0}},
        {"\"edm\"", CM_METHOD_EDM, 3, CM_EDM_STEPS_EDM, 1, 4, 1, 3, {4, 2.5, 1, 0}},
        {"\"edm\"", CM_METHOD_EDM, 3, CM_EDM_STEPS_VE, 1, 4, 0, 3, {4, 2, 1, 0}},
        {"\"edm\"", CM_METHOD_EDM, 1, CM_EDM_STEPS_VE, 0, 0, 0, 1, {100, 0}},
        {"\"edm\"", CM_METHOD_EDM, 3, CM_EDM_STEPS_VE, 0, 0, 0, 3, {100, 1.4142135623730951, 0.02, 0}},
        /* sqrt(exp(19.9 t^2 / 2 + 0.1 t) - 1) at 1, 0.5005 and 0.001. */
        {"\"edm\"",
         CM_METHOD_EDM,
         3,
         CM_EDM_STEPS_VP,
         0,
         0,
         0,
         3,
         {152.16697028394647, 3.4222447625721584, 0.010485992786702986, 0}},
        {"\"edm\"", CM_METHOD_EDM, 1, CM_EDM_STEPS_VP, 0, 0, 0, 1, {152.16697028394647, 0}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const level_case *c = &rows[i];
        cm_model m;
        cm_times t;
        cm_sample_options o = options_of(c->method);
        const int above =
            c->method == CM_METHOD_PROGDIST || c->method == CM_METHOD_DPMPP || c->method == CM_METHOD_RK45;
        double levels[MOST];
        model_of(&m, c->precond);
        o.steps = c->steps, o.edm_discretization = c->steps_of;
        o.sigma_min = c->smin, o.sigma_max = c->smax, o.rho = c->rho;
        memcpy(levels, c->levels, sizeof levels);
        OK(cmi_times_resolve(&m, &o, &t));
        check_levels(&t, c->n, levels, c->n + 1, "schedule", i);
        ck_assert(above ? t.solver.sigma[c->n] > 0 : t.solver.sigma[c->n] == 0);
        ck_assert(t.solver.start == t.solver.sigma[0]);
        cmi_times_release(&m, &t);
        release(&m);
    }
}
END_TEST

/* A schedule without a range: the model's or the customary one, whichever the model's file decides. */
START_TEST(ranges_of_models)
{
    static const struct {
        const char *precond;
        int method, steps_of;
        double first, last, highest;
    } rows[] = {
        {"\"edm\"", CM_METHOD_HEUN, 0, 80, 0.002, 80},
        {"\"edm\", \"sigma_max\": 200", CM_METHOD_HEUN, 0, 200, 0.002, 200},
        {"\"edm\", \"sigma_min\": 0.05", CM_METHOD_HEUN, 0, 80, 0.05, 80},
        {"\"edm\", \"sigma_min\": 0", CM_METHOD_HEUN, 0, 80, 0.002, 80},
        {"\"edm\"", CM_METHOD_EDM, CM_EDM_STEPS_VP, 152.16697028394647, 0.010485992786702986, 152.16697028394647},
        {"\"edm\"", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.02, 100},
        {"\"edm\", \"sigma_min\": 0.05", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.05, 100},
        {"\"edm\", \"sigma_min\": 0.001", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.001, 100},
        {"\"edm\", \"sigma_max\": 50", CM_METHOD_EDM, CM_EDM_STEPS_VE, 50, 0.02, 50},
        {"\"edm\", \"sigma_max\": 500", CM_METHOD_EDM, CM_EDM_STEPS_VE, 500, 0.02, 500},
        {"\"cm\"", CM_METHOD_HEUN, 0, 80, 0.002, 80},
        {"\"cm\"", CM_METHOD_EDM, CM_EDM_STEPS_VP, 80, 0.002, 80},
        {"\"cm\"", CM_METHOD_EDM, CM_EDM_STEPS_VE, 80, 0.002, 80},
        {"\"cm\", \"sigma_min\": 0.05", CM_METHOD_EDM, CM_EDM_STEPS_VE, 80, 0.05, 80},
        {"\"vp\"", CM_METHOD_HEUN, 0, 80, 0.002, 152.16697028394647},
        {"\"vp\"", CM_METHOD_EDM, CM_EDM_STEPS_VP, 152.16697028394647, 0.010485992786702986, 152.16697028394647},
        {"\"vp\"", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.02, 152.16697028394647},
        {"\"vp\", \"sigma_max\": 90", CM_METHOD_EDM, CM_EDM_STEPS_VP, 90, 0.010485992786702986, 90},
        {"\"ve\"", CM_METHOD_HEUN, 0, 80, 0.02, 100},
        {"\"ve\"", CM_METHOD_EDM, CM_EDM_STEPS_VP, 100, 0.02, 100},
        {"\"ve\"", CM_METHOD_EDM, CM_EDM_STEPS_VE, 100, 0.02, 100},
        {"\"ve\", \"sigma_min\": 0.001", CM_METHOD_HEUN, 0, 80, 0.001, 100},
        {"\"iddpm\"", CM_METHOD_HEUN, 0, 80, 0.0064254127711271708, 20291.169610021508},
        {"\"average-velocity\"", CM_METHOD_HEUN, 0, 1e8, 0.002, 1e8},
        {"\"imm\"", CM_METHOD_HEUN, 0, 0.5 * 0.994 / 0.006, 0.5 * 0.006 / 0.994, 0.5 * 0.994 / 0.006},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_model m;
        cm_times t;
        cm_sample_options o = options_of(rows[i].method);
        const double ends[] = {rows[i].first, rows[i].last};
        char word[64], what[32];
        model_of(&m, rows[i].precond);
        o.steps = 2, o.edm_discretization = rows[i].steps_of;
        OK(cmi_times_resolve(&m, &o, &t));
        check_levels(&t, 2, ends, 2, "range", i);
        cmi_times_release(&m, &t);
        o.sigma_max = rows[i].highest * (1 + 0.9e-6);
        (void)snprintf(what, sizeof what, "row %zu", i);
        taken(&m, &o, NULL, what);
        o.sigma_max = rows[i].highest * (1 + 1.1e-6);
        (void)snprintf(word, sizeof word, "; this model's noise levels end at %g", rows[i].highest);
        taken(&m, &o, word, what);
        release(&m);
    }
}
END_TEST

/* A consistency function is not asked below its boundary; others have none. */
START_TEST(lowest_levels)
{
    cm_model m, edm;
    model_of(&m, "\"cm\"");
    model_of(&edm, "\"edm\"");
    cm_sample_options o = options_of(CM_METHOD_HEUN);
    o.steps = 2, o.sigma_min = 0.002 * (1 - 0.9e-6);
    taken(&m, &o, NULL, "at the boundary");
    o.sigma_min = 0.002 * (1 - 1.1e-6);
    taken(&m, &o, "option sigma_min is 0.002; this model's noise levels begin at 0.002", "below the boundary");
    o.sigma_min = 1e-5;
    taken(&edm, &o, NULL, "without one");
    o.sigma_max = o.sigma_min = 4;
    taken(&edm, &o, "sigma_min 4 has to be below sigma_max 4", "no range");
    o.sigma_max = 3;
    taken(&edm, &o, "sigma_min 4 has to be below sigma_max 3", "a range that rises");
    o.method = CM_METHOD_RK45, o.steps = 0;
    taken(&edm, &o, "sigma_min 4 has to be below sigma_max 3", "the same of two levels");
    o.sigma_max = 0.001, o.sigma_min = 0, o.method = CM_METHOD_ONESTEP;
    taken(&edm, &o, NULL, "one level needs no range");
    static const int32_t ts[2] = {0, 1};
    o.method = CM_METHOD_MULTISTEP, o.ts = ts, o.ts_count = 2, o.grid = 2;
    taken(&edm, &o, "sigma_min 0.002 has to be below sigma_max 0.001", "indices do");
    release(&m);
    release(&edm);
}
END_TEST

/* Memory behind which nothing can be read: pages without access follow each block. */
typedef struct {
    char *begin;
    size_t size;
} mapping;

static void *guarded(void *user, size_t size, size_t alignment)
{
    enum { GUARD = 1 << 16 }; /* a multiple of every size of pages */
    const size_t room = (size + alignment - 1) / alignment * alignment,
                 usable = (room + alignment + GUARD - 1) / GUARD * GUARD;
    (void)user;
    char *p = mmap(NULL, usable + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    const mapping m = {p, usable + GUARD};
    ck_assert_int_eq(mprotect(p + usable, GUARD, PROT_NONE), 0);
    memcpy(p + usable - room - sizeof m, &m, sizeof m);
    return p + usable - room;
}

static void let_go(void *user, void *block)
{
    mapping m;
    (void)user;
    memcpy(&m, (char *)block - sizeof m, sizeof m);
    ck_assert_int_eq(munmap(m.begin, m.size), 0);
}

/* As many levels of iDDPM's table as there are between the ends, which count; one more is too many. */
START_TEST(levels_of_the_table)
{
    enum { M = 1000 };
    static double u[M + 1];
    static const struct {
        int first, last, n;
        int at[MOST];
    } rows[] = {{0, 3, 4, {0, 1, 2, 3}},
                {0, 3, 2, {0, 3}},
                {500, 504, 5, {500, 501, 502, 503, 504}},
                {500, 504, 3, {500, 502, 504}},
                {500, 503, 3, {500, 502, 503}},
                {500, 505, 3, {500, 502, 505}},
                {500, 507, 3, {500, 504, 507}},
                {995, 999, 4, {995, 996, 998, 999}},
                {7, 7, 1, {7}},
                {500, 504, 1, {500}},
                {0, 999, 2, {0, 999}}};
    cm_model m;
    cm_context *plain;
    cm_context_options options = CM_CONTEXT_OPTIONS_INIT;
    options.alloc = guarded, options.free = let_go;
    cmi_iddpm_table(M, 0.001, 0.008, u);
    model_of(&m, "\"iddpm\"");
    plain = m.context;
    OK(cm_context_create(&options, &m.context));
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_times t;
        double levels[MOST];
        char word[64];
        cm_sample_options o = options_of(CM_METHOD_EDM);
        o.edm_discretization = CM_EDM_STEPS_IDDPM;
        o.sigma_max = u[rows[i].first], o.sigma_min = u[rows[i].last], o.steps = rows[i].n;
        if (rows[i].first == rows[i].last) o.sigma_min = nextafter(o.sigma_min, 0);
        for (int k = 0; k < rows[i].n; k++) levels[k] = u[rows[i].at[k]];
        OK(cmi_times_resolve(&m, &o, &t));
        check_levels(&t, rows[i].n, levels, rows[i].n, "table", i);
        ck_assert(t.solver.sigma[rows[i].n] == 0);
        cmi_times_release(&m, &t);
        o.steps = rows[i].last - rows[i].first + 2;
        (void)snprintf(word, sizeof word, "the iddpm table has fewer than %d levels between ", o.steps);
        taken(&m, &o, word, "too many");
    }
    cm_sample_options o = options_of(CM_METHOD_EDM);
    o.edm_discretization = CM_EDM_STEPS_IDDPM, o.steps = 1;
    o.sigma_max = nextafter(u[7], 0), o.sigma_min = nextafter(u[8], 1e6);
    taken(&m, &o, "fewer than 1 levels between", "between two levels");
    cm_context_free(m.context);
    m.context = plain;
    release(&m);
}
END_TEST

/* Lists of the caller. */
START_TEST(levels_of_lists)
{
    static const struct {
        int method;
        size_t count;
        double list[3];
        int n;
        const char *word;
    } rows[] = {
        {CM_METHOD_HEUN, 3, {4, 2, 1}, 3, NULL},
        {CM_METHOD_HEUN, 1, {4}, 1, NULL},
        {CM_METHOD_PROGDIST, 3, {4, 2, 1}, 2, NULL},
        {CM_METHOD_PROGDIST, 2, {4, 1}, 1, NULL},
        {CM_METHOD_PROGDIST, 1, {4}, 0, "method progdist needs at least two sigmas"},
        {CM_METHOD_DPMPP, 3, {4, 2, 1}, 2, NULL},
        {CM_METHOD_RK45, 2, {4, 1}, 1, NULL},
        {CM_METHOD_RK45, 1, {4}, 0, "method rk45 needs at least two sigmas"},
        {CM_METHOD_RK45, 3, {4, 2, 1}, 0, "rk45 takes two sigmas, its first and its last, found 3"},
        {CM_METHOD_ONESTEP, 1, {4}, 1, NULL},
        {CM_METHOD_ONESTEP, 2, {4, 1}, 0, "method onestep takes one time, found 2 sigmas"},
        {CM_METHOD_MULTISTEP, 1, {4}, 1, NULL},
        {CM_METHOD_MULTISTEP, 3, {4, 2, 1}, 3, NULL},
        {CM_METHOD_HEUN, 2, {4, 4}, 0, "sigmas have to fall strictly: sigmas[1] is 4 after 4"},
        {CM_METHOD_HEUN, 3, {4, 2, 3}, 0, "sigmas have to fall strictly: sigmas[2] is 3 after 2"},
        {CM_METHOD_HEUN, 1, {80 * (1 + 0.9e-6)}, 1, NULL},
        {CM_METHOD_HEUN, 1, {80 * (1 + 1.1e-6)}, 0, "sigmas[0] is 80.0001; this model's noise levels are in (0, 80]"},
        {CM_METHOD_HEUN, 2, {80, INFINITY}, 0, "sigmas[1] is inf"},
        {CM_METHOD_HEUN, 2, {80, NAN}, 0, "sigmas[1] is nan"},
        {CM_METHOD_HEUN, 2, {80, 0}, 0, "sigmas[1] is 0; this"},
        {CM_METHOD_HEUN, 2, {80, -1}, 0, "sigmas[1] is -1; this"},
        {CM_METHOD_HEUN, 2, {80, 1e-30}, 2, NULL},
        {CM_METHOD_HEUN, 2, {80, 0.9e-30}, 0, "noise level 1 of 2 is 9e-31; this model's end at 80"},
        {CM_METHOD_ONESTEP, 1, {1e-31}, 0, "noise level 0 of 1 is 1e-31"},
        {CM_METHOD_PROGDIST, 2, {80, 1e-31}, 0, "noise level 1 of 2 is 1e-31"},
        {CM_METHOD_PROGDIST, 2, {80, 1e-30}, 1, NULL}};
    cm_model m;
    model_of(&m, "\"edm\"");
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_times t;
        char what[32];
        cm_sample_options o = options_of(rows[i].method);
        o.sigmas = rows[i].list, o.sigma_count = rows[i].count;
        (void)snprintf(what, sizeof what, "row %zu", i);
        taken(&m, &o, rows[i].word, what);
        if (rows[i].word) continue;
        OK(cmi_times_resolve(&m, &o, &t));
        check_levels(&t, rows[i].n, rows[i].list, (int)rows[i].count, "list", i);
        ck_assert(t.solver.start == rows[i].list[0] && t.solver.final_draw == 0);
        if (rows[i].method == CM_METHOD_HEUN) ck_assert(t.solver.sigma[rows[i].count] == 0);
        cmi_times_release(&m, &t);
    }
    release(&m);
    /* [boundary, sigma_max] */
    cm_sample_options o = options_of(CM_METHOD_MULTISTEP);
    double list[2] = {80, 0.002 * (1 - 0.9e-6)};
    cm_times t;
    model_of(&m, "\"cm\"");
    o.sigmas = list, o.sigma_count = 2;
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.boundary == 0.002 && t.solver.closing == 0.002 && t.solver.start == 80);
    cmi_times_release(&m, &t);
    list[1] = 0.002 * (1 - 1.1e-6);
    taken(&m, &o, "sigmas[1] is 0.002; this model's noise levels are in [0.002, 80]", "below the boundary");
    release(&m);
}
END_TEST

/* Of steps that cannot be told apart the first two are named. */
START_TEST(levels_that_do_not_fall)
{
    const double low = 80 * (1 - 1e-15);
    double levels[11];
    char word[128];
    int at = 0;
    cm_model m;
    model_of(&m, "\"edm\"");
    cm_sample_options o = options_of(CM_METHOD_EULER);
    o.steps = 11, o.sigma_min = low, o.rho = 1;
    for (int i = 0; i < 11; i++) levels[i] = cmi_karras_sigma(i, 11, low, 80, 1);
    for (int i = 10; i > 0; i--)
        if (!(levels[i] < levels[i - 1])) at = i;
    ck_assert_int_gt(at, 0);
    (void)snprintf(word, sizeof word, "noise levels %d and %d of 11 are %g and %g; they have to fall", at - 1, at,
                   levels[at - 1], levels[at]);
    taken(&m, &o, word, "too many steps");
    o.method = CM_METHOD_PROGDIST, o.steps = 10;
    taken(&m, &o, word, "the same with a level at the end");
    o = options_of(CM_METHOD_EDM); /* sigma(t) of these ends is higher between them */
    o.steps = 3, o.edm_discretization = CM_EDM_STEPS_VP, o.sigma_min = 0.1, o.sigma_max = 4;
    taken(&m, &o, "noise levels 0 and 1 of 3 are 4 and 4.84", "levels that rise");
    m.sampling.n_sigmas = 1, m.sampling.sigmas[0] = 80 * (1 + 1.1e-6);
    o = options_of(CM_METHOD_ONESTEP);
    taken(&m, &o, "noise level 0 of 1 is 80.0001; this model's end at 80", "a default above the model");
    m.sampling.sigmas[0] = 80 * (1 + 0.9e-6);
    taken(&m, &o, NULL, "within rounding");
    release(&m);
}
END_TEST

/* Indices into a Karras schedule: noise is added down to the last one. */
START_TEST(levels_of_indices)
{
    static const struct {
        size_t count;
        int32_t ts[3], grid;
        const char *word;
    } bad[] = {{2, {0, 1}, 1, "option grid is 1; ts are indices into a grid of 2..1000000 points"},
               {2, {0, 1}, 0, "option grid is 0; ts"},
               {2, {0, 1}, 1000001, "option grid is 1000001; ts"},
               {1, {0}, 40, "ts needs at least two entries: the last one only closes the list (0,39 for one step)"},
               {2, {-1, 1}, 40, "ts have to rise strictly within 0..39: ts[0] is -1"},
               {2, {0, 40}, 40, "within 0..39: ts[1] is 40"},
               {3, {0, 39, 39}, 40, "within 0..39: ts[2] is 39"},
               {3, {5, 4, 39}, 40, "within 0..39: ts[1] is 4"}};
    static const int32_t usual[] = {0, 10, 22, 39}, low[] = {10, 20}, least[] = {0, 1}, wide[] = {0, 999999};
    cm_model m;
    cm_times t;
    model_of(&m, "\"cm\"");
    for (size_t i = 0; i < COUNT(bad); i++) {
        cm_sample_options o = options_of(CM_METHOD_MULTISTEP);
        o.ts = bad[i].ts, o.ts_count = bad[i].count, o.grid = bad[i].grid;
        taken(&m, &o, bad[i].word, "indices");
    }
    cm_sample_options o = options_of(CM_METHOD_MULTISTEP);
    o.ts = usual, o.ts_count = 4, o.grid = 40;
    OK(cmi_times_resolve(&m, &o, &t));
    check_levels(&t, 3, (const double[]){80, 16.779889498560654, 1.3823679566485084}, 3, "indices", 0);
    ck_assert(t.solver.start == 80 && t.solver.boundary == 0.002 && t.solver.final_draw == 1);
    ck_assert(t.solver.closing >= 0.002 && t.solver.closing < 0.002 * (1 + 1e-12));
    cmi_times_release(&m, &t);
    o.ts = low, o.ts_count = 2;
    OK(cmi_times_resolve(&m, &o, &t));
    check_levels(&t, 1, (const double[]){16.779889498560654}, 1, "indices", 1);
    ck_assert(t.solver.start == 80 && fabs(t.solver.closing - 2.2404397589312005) < 1e-12);
    cmi_times_release(&m, &t);
    o.rho = 1, o.sigma_min = 1, o.sigma_max = 4, o.ts = least, o.grid = 2;
    OK(cmi_times_resolve(&m, &o, &t));
    check_levels(&t, 1, (const double[]){4}, 1, "indices", 2);
    ck_assert(t.solver.start == 4 && t.solver.boundary == 1 && t.solver.closing == 1);
    cmi_times_release(&m, &t);
    o.ts = wide, o.grid = 1000000;
    taken(&m, &o, NULL, "the widest grid");
    release(&m);
}
END_TEST

/* A list, indices and a schedule of many levels each. */
START_TEST(many_levels)
{
    enum { MANY = 200000 };
    static double sigmas[MANY];
    static int32_t ts[MANY + 1];
    cm_model m;
    cm_times t;
    model_of(&m, "\"edm\"");
    for (int i = 0; i < MANY; i++) sigmas[i] = 80 - i * 1e-4, ts[i] = i;
    ts[MANY] = MANY;
    for (int way = 0; way < 3; way++) {
        cm_sample_options o = options_of(way == 1 ? CM_METHOD_MULTISTEP : CM_METHOD_HEUN);
        if (way == 0) o.sigmas = sigmas, o.sigma_count = MANY;
        if (way == 1) o.ts = ts, o.ts_count = MANY + 1, o.grid = MANY + 1;
        if (way == 2) o.steps = MANY;
        OK(cmi_times_resolve(&m, &o, &t));
        ck_assert_int_eq(t.solver.n, MANY);
        ck_assert(t.solver.sigma[0] > 79.9999 && t.solver.sigma[MANY - 1] < 61);
        ck_assert(way == 1 || t.solver.sigma[MANY] == 0);
        cmi_times_release(&m, &t);
    }
    release(&m);
}
END_TEST

/* What member "sampling" says, or nothing does. */
START_TEST(levels_of_the_model)
{
    static const cm_sampling_defaults none = {0}, one = {.n_sigmas = 1, .sigmas = {2.5}},
                                      two = {.n_sigmas = 2, .sigmas = {0, 0.8}},
                                      high = {.n_sigmas = 2, .sigmas = {60, 0.8}},
                                      three = {.n_sigmas = 3, .sigmas = {60, 5, 0.8}},
                                      last = {.n_sigmas = 2, .sigmas = {0, 0.002}},
                                      same = {.n_sigmas = 3, .sigmas = {60, 5, 5}},
                                      ts = {.n_ts = 3, .ts = {0, 22, 39}, .grid = 40}, walk = {.steps = 5};
    static const struct {
        const char *precond;
        const cm_sampling_defaults *own;
        int method, steps;
        double smax;
        int n;
        double levels[MOST];
        const char *word;
    } rows[] = {
        {"\"cm\"", &none, CM_METHOD_ONESTEP, 0, 0, 1, {80}, NULL},
        {"\"cm\"", &none, CM_METHOD_ONESTEP, 1, 5, 1, {5}, NULL},
        {"\"cm\"", &one, CM_METHOD_ONESTEP, 0, 0, 1, {2.5}, NULL},
        {"\"cm\"", &one, CM_METHOD_ONESTEP, 0, 5, 1, {5}, NULL},
        {"\"cm\"", &two, CM_METHOD_ONESTEP, 0, 0, 1, {80}, NULL},
        {"\"cm\"", &high, CM_METHOD_ONESTEP, 0, 0, 1, {60}, NULL},
        {"\"cm\"", &ts, CM_METHOD_ONESTEP, 0, 0, 1, {80}, NULL},
        {"\"cm\"", &high, CM_METHOD_ONESTEP, 0, 1, 1, {1}, NULL},
        {"\"cm\"", &high, CM_METHOD_ONESTEP, 0, 0.5, 1, {0.5}, NULL},
        {"\"cm\"", &two, CM_METHOD_MULTISTEP, 0, 0, 2, {80, 0.8}, NULL},
        {"\"cm\"", &two, CM_METHOD_MULTISTEP, 2, 0, 2, {80, 0.8}, NULL},
        {"\"cm\"", &two, CM_METHOD_MULTISTEP, 0, 70, 2, {70, 0.8}, NULL},
        {"\"cm\"", &high, CM_METHOD_MULTISTEP, 0, 0, 2, {60, 0.8}, NULL},
        {"\"cm\"", &high, CM_METHOD_MULTISTEP, 0, 70, 2, {70, 0.8}, NULL},
        {"\"cm\"", &three, CM_METHOD_MULTISTEP, 0, 0, 3, {60, 5, 0.8}, NULL},
        {"\"cm\"", &three, CM_METHOD_MULTISTEP, 1, 0, 1, {60}, NULL},
        {"\"cm\"", &ts, CM_METHOD_MULTISTEP, 0, 0, 2, {80, 1.3823679566485084}, NULL},
        {"\"cm\"", &none, CM_METHOD_MULTISTEP, 1, 0, 1, {80}, NULL},
        {"\"cm\"", &one, CM_METHOD_MULTISTEP, 1, 0, 1, {2.5}, NULL},
        {"\"cm\"",
         &none,
         CM_METHOD_MULTISTEP,
         0,
         0,
         0,
         {0},
         "no default times for 2 steps with this model: give them as sigmas, for example sigmas = 80, 0.8"},
        {"\"cm\"", &one, CM_METHOD_MULTISTEP, 0, 0, 0, {0}, "no default times for 2 steps"},
        {"\"cm\"", &two, CM_METHOD_MULTISTEP, 3, 0, 0, {0}, "no default times for 3 steps"},
        {"\"cm\"", &three, CM_METHOD_MULTISTEP, 2, 0, 0, {0}, "no default times for 2 steps"},
        {"\"cm\"", &last, CM_METHOD_MULTISTEP, 0, 0, 0, {0}, "no default times for 2 steps"},
        {"\"ecm\"", &last, CM_METHOD_MULTISTEP, 0, 0, 2, {80, 0.002}, NULL},
        {"\"cm\"", &same, CM_METHOD_MULTISTEP, 0, 0, 0, {0}, "no default times for 3 steps"},
        {"\"cm\"", &two, CM_METHOD_MULTISTEP, 0, 0.8, 0, {0}, "for example sigmas = 0.8, 0.4"},
        {"\"cm\"", &two, CM_METHOD_MULTISTEP, 0, 0.5, 0, {0}, "for example sigmas = 0.5, 0.25"},
        {"\"cm\"", &none, CM_METHOD_MULTISTEP, 0, 1.7, 0, {0}, "for example sigmas = 1.7, 0.8"},
        {"\"edm\"", &none, CM_METHOD_MULTISTEP, 1, 0, 1, {80}, NULL},
        {"\"edm\"",
         &none,
         CM_METHOD_MULTISTEP,
         0,
         0,
         0,
         {0},
         "method multistep on precond edm: give the times as sigmas"},
        {"\"edm\"", &two, CM_METHOD_MULTISTEP, 2, 0, 0, {0}, "give the times as sigmas"},
        {"\"average-velocity\"", &none, CM_METHOD_MULTISTEP, 4, 3, 4, {3, 9.0 / 7, 0.6, 3.0 / 13}, NULL},
        {"\"average-velocity\"", &none, CM_METHOD_MULTISTEP, 0, 3, 2, {3, 0.6}, NULL},
        {"\"average-velocity\"", &none, CM_METHOD_MULTISTEP, 1, 3, 1, {3}, NULL},
        {"\"average-velocity\"", &three, CM_METHOD_MULTISTEP, 3, 0, 3, {60, 5, 0.8}, NULL},
        {"\"average-velocity\"", &high, CM_METHOD_MULTISTEP, 1, 3, 1, {3}, NULL},
        {"\"cm\"", &walk, CM_METHOD_EULER, 2, 0, 2, {80, 0.002}, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_model m;
        cm_times t;
        char what[32];
        cm_sample_options o = options_of(rows[i].method);
        model_of(&m, rows[i].precond);
        m.sampling = *rows[i].own;
        o.steps = rows[i].steps, o.sigma_max = rows[i].smax;
        (void)snprintf(what, sizeof what, "row %zu", i);
        taken(&m, &o, rows[i].word, what);
        if (!rows[i].word) {
            OK(cmi_times_resolve(&m, &o, &t));
            check_levels(&t, rows[i].n, rows[i].levels, rows[i].n, "defaults", i);
            ck_assert(t.solver.start == t.solver.sigma[0] && t.solver.final_draw == 0);
            if (rows[i].method == CM_METHOD_MULTISTEP)
                ck_assert(t.solver.boundary == cmi_precond_boundary(&m.precond) &&
                          t.solver.closing == t.solver.boundary);
            cmi_times_release(&m, &t);
        }
        release(&m);
    }
    cm_model m;
    cm_times t;
    cm_sample_options o = options_of(CM_METHOD_EULER);
    model_of(&m, "\"edm\"");
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert_int_eq(t.solver.n, 18);
    cmi_times_release(&m, &t);
    m.sampling.steps = 5;
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert_int_eq(t.solver.n, 5);
    cmi_times_release(&m, &t);
    o.steps = 300; /* more than there is room for by default */
    OK(cmi_times_resolve(&m, &o, &t));
    ck_assert(t.solver.n == 300 && t.solver.sigma[300] == 0);
    cmi_times_release(&m, &t);
    release(&m);
}
END_TEST

/* A level may be raised to twice the model's highest, 80: with gamma = sqrt(2) - 1 it becomes sqrt(1 + s_noise^2) of
 * itself, with gamma = 0.1 sqrt(1 + 0.21 s_noise^2). */
START_TEST(churn_stays_near_the_model)
{
    static const struct {
        size_t count;
        double list[2], churn, noise, tmin, tmax;
        const char *word;
    } rows[] = {{1, {80}, 9, 1.732, 0, 0, NULL},
                {1, {80}, 9, 1.7321, 0, 0, "raise the level 80 to 160.003; this model's end at 80"},
                {1, {80}, 0.1, 3.77, 0, 0, NULL},
                {1, {80}, 0.1, 3.79, 0, 0, "raise the level 80 to 160.3"},
                {2, {80, 1}, 0.2, 3.77, 0, 0, NULL},
                {2, {80, 1}, 0.2, 3.79, 0, 0, "raise the level 80 to 160.3"},
                {2, {80, 1}, 0.4, 3.77, 0, 0, "raise the level 80 to"},
                {2, {80, 60}, 9, 3, 0, 79, "raise the level 60 to 189.737"},
                {2, {80, 40}, 9, 3, 0, 79, NULL},
                {2, {80, 40}, 9, 3, 0, 80, "raise the level 80 to 252.982"},
                {2, {80, 40}, 9, 3, 80, 0, "raise the level 80 to 252.982"},
                {2, {80, 40}, 9, 3, 81, 0, NULL},
                {2, {80, 60}, 9, 3, 61, 79, NULL},
                {1, {50}, 9, 3.04, 0, 0, "raise the level 50 to 160.012"},
                {1, {50}, 9, 3.03, 0, 0, NULL}};
    cm_model m;
    model_of(&m, "\"edm\"");
    for (size_t i = 0; i < COUNT(rows); i++) {
        char what[32];
        cm_sample_options o = options_of(CM_METHOD_HEUN);
        o.sigmas = rows[i].list, o.sigma_count = rows[i].count;
        o.s_churn = rows[i].churn, o.s_noise = rows[i].noise, o.s_tmin = rows[i].tmin, o.s_tmax = rows[i].tmax;
        (void)snprintf(what, sizeof what, "row %zu", i);
        taken(&m, &o, rows[i].word, what);
    }
    release(&m);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("levels");
    TCase *t = tcase_create("levels");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, levels_of_schedules);
    tcase_add_test(t, ranges_of_models);
    tcase_add_test(t, lowest_levels);
    tcase_add_test(t, levels_of_the_table);
    tcase_add_test(t, levels_of_lists);
    tcase_add_test(t, levels_that_do_not_fall);
    tcase_add_test(t, levels_of_indices);
    tcase_add_test(t, many_levels);
    tcase_add_test(t, levels_of_the_model);
    tcase_add_test(t, churn_stays_near_the_model);
    suite_add_tcase(s, t);
    return s;
}
