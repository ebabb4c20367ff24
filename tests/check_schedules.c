/* Schedules as numbers: noise levels, what changes with the steps of a run, averages and their reconstruction,
 * scalings on an objective's axis.  The numbers were computed from the papers' formulas with 40 digits. */
#include "support/suite.h"

#include <math.h>
#include <string.h>

#include "diffusion/precond.h"
#include "diffusion/schedule.h"
#include "nets/net.h"
#include "train/axis.h"
#include "train/curriculum.h"
#include "train/ema.h"
#include "train/phema.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* Within the rounding of a few operations in double. */
static void near(double value, double expected, const char *what, size_t row)
{
    ck_assert_msg(fabs(value - expected) <= 1e-13 * fabs(expected), "%s %zu is %.17g, expected %.17g", what, row,
                  value, expected);
}

/* --- noise levels --------------------------------------------------------------------------- */

START_TEST(levels_of_formulas)
{
    static const struct {
        double i;
        int n;
        double smin, smax, rho, sigma;
    } karras[] = {{0, 18, 0.002, 80, 7, 80},
                  {1, 18, 0.002, 80, 7, 57.585984721248158},
                  {9, 18, 0.002, 80, 7, 1.9233398370400499},
                  {1, 3, 0.5, 8, 1, 4.25},
                  {1, 3, 1, 9, 2, 4},
                  {0, 2, 1, 4, 2, 4},
                  {1, 2, 1, 4, 2, 1},
                  {0, 1, 1, 4, 2, 4}};
    static const double flow[] = {3, 9.0 / 7, 0.6, 3.0 / 13};
    static const double ve[][2] = {{0, 0.02}, {0.25, 0.16817928305074291}, {1, 100}};
    for (size_t i = 0; i < COUNT(karras); i++)
        near(cmi_karras_sigma(karras[i].i, karras[i].n, karras[i].smin, karras[i].smax, karras[i].rho),
             karras[i].sigma, "Karras level", i);
    ck_assert(fabs(cmi_karras_sigma(17, 18, 0.002, 80, 7) - 0.002) < 1e-15);
    for (int i = 0; i < 4; i++) near(cmi_flow_time_sigma(i, 4, 3), flow[i], "flow level", (size_t)i);
    for (size_t i = 0; i < COUNT(ve); i++) near(cmi_ve_sigma(ve[i][0], 0.02, 100), ve[i][1], "VE level", i);
}
END_TEST

START_TEST(variance_preserving)
{
    static const struct {
        double t, beta_d, beta_min, sigma, slope;
    } rows[] = {{0.5, 19.9, 0.1, 3.4129183090691207, 18.622261493226508},
                {1, 19.9, 0.1, 152.16697028394647, 1521.7354201234544},
                {2, 1, 0.5, 4.3686996833368699, 5.7470009325080432}};
    static const struct {
        double smin, smax, eps, beta_d, beta_min;
    } ends[] = {{0.002, 80, 1e-3, 17.537956987271235, -0.0047689864936142844},
                {0.02, 100, 0.1, 20.45875814836277, -1.0189387072048692}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        near(cmi_vp_sigma(rows[i].t, rows[i].beta_d, rows[i].beta_min), rows[i].sigma, "level", i);
        near(cmi_vp_sigma_slope(rows[i].t, rows[i].beta_d, rows[i].beta_min), rows[i].slope, "slope", i);
        near(cmi_vp_sigma_inverse(rows[i].sigma, rows[i].beta_d, rows[i].beta_min), rows[i].t, "time", i);
    }
    for (size_t i = 0; i < COUNT(ends); i++) {
        double beta_d, beta_min;
        cmi_vp_betas(ends[i].smin, ends[i].smax, ends[i].eps, &beta_d, &beta_min);
        near(beta_d, ends[i].beta_d, "beta_d", i);
        ck_assert(fabs(beta_min - ends[i].beta_min) < 1e-13 * beta_d); /* a difference of numbers like beta_d */
    }
}
END_TEST

START_TEST(iddpm_levels)
{
    enum { M = 1000 };
    static const double plain[] = {83.248705526830613, 2.4354356842037438, 1.0123895639480042, 0.42499481500694469,
                                   0};
    static const double clamped[] = {8.2704675442827147, 4.0435329045598775,  1.8797635203124737,
                                     1.0820445430988213, 0.59836910201056495, 0};
    static const struct {
        int j;
        double u;
    } usual[] = {{0, 20291.169610021508},
                 {1, 641.66234511825641},
                 {2, 320.83039327255118},
                 {500, 1.0123895639480042},
                 {998, 0.0093504928356045528},
                 {999, 0.0064254127711271708},
                 {1000, 0}};
    static const struct {
        double sigma;
        int j;
    } nearest[] = {{100, 0}, {8, 0},     {6, 0},     {5.999, 1}, {4, 1},   {3.001, 1},
                   {3, 1},   {2.999, 2}, {1.001, 2}, {1, 2},     {0.9, 3}, {0, 3}};
    static const double list[] = {8, 4, 2, 0};
    double u[M + 1];
    cmi_iddpm_table(4, 0.001, 0.008, u);
    for (size_t i = 0; i < COUNT(plain); i++) near(u[i], plain[i], "level", i);
    cmi_iddpm_table(5, 0.25, 0.5, u);
    for (size_t i = 0; i < COUNT(clamped); i++) near(u[i], clamped[i], "clamped level", i);
    cmi_iddpm_table(M, 0.001, 0.008, u);
    for (size_t i = 0; i < COUNT(usual); i++) /* a product of many */
        ck_assert(fabs(u[usual[i].j] - usual[i].u) <= 1e-10 * usual[i].u);
    for (size_t i = 0; i < COUNT(nearest); i++)
        ck_assert_int_eq(cmi_iddpm_nearest(list, 3, nearest[i].sigma), nearest[i].j);
    ck_assert_int_eq(cmi_iddpm_nearest(list, 2, 0), 2);
}
END_TEST

/* down^2 + up^2 is the square of the level that is stepped to. */
START_TEST(ancestral_steps)
{
    static const double rows[][4] = {{2, 1, 0.5, 0.86602540378443865},
                                     {80, 24, 7.2, 22.894540834006696},
                                     {1, 0.5, 0.25, 0.43301270189221932},
                                     {3, 3, 3, 0},
                                     {3, 0, 0, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        double down, up;
        cmi_ancestral_split(rows[i][0], rows[i][1], &down, &up);
        near(down, rows[i][2], "level", i);
        near(up, rows[i][3], "noise", i);
    }
}
END_TEST

/* --- what changes with the steps ---------------------------------------------------------------- */

/* Every option reaches the curriculum, those of stages of the objectives that have them. */
START_TEST(curriculum_of_options)
{
    cm_train_settings s = cmi_settings_defaults(CM_TRAIN_ECT);
    s.scales_mode = CM_SCALES_ICT, s.mu_mode = CM_MU_ADAPTIVE, s.start_scales = 3, s.end_scales = 5, s.mu = 0.7;
    s.steps = 11, s.distill_steps = 13, s.ect_stages = 17, s.ect_stage_steps = 19, s.tangent_warmup = 23;
    s.ect_first_stage = 29, s.lr_decay_steps = 31, s.lr = 0.37, s.lr_final = 0.41, s.warmup_steps = 43;
    s.anneal_begin = 47, s.anneal_end = 53, s.anneal_stages = 1;
    cm_curriculum c = cmi_curriculum_of(&s);
    ck_assert(c.scales == CM_SCALES_ICT && c.mu == CM_MU_ADAPTIVE && c.start == 3 && c.end == 5 && c.mu0 == 0.7);
    ck_assert(c.total == 11 && c.distill_steps == 13 && c.stages == 17 && c.stage_steps == 19);
    ck_assert(c.tangent_warmup == 23 && c.first_stage == 29 && c.decay == 31 && c.lr == 0.37 && c.lr_final == 0.41);
    ck_assert(c.warmup == 43 && c.anneal_begin == 47 && c.anneal_end == 53 && c.anneal_stages == 1);
    s.objective = CM_TRAIN_EDM;
    ck_assert_int_eq(cmi_curriculum_of(&s).stages, 0);
    s.objective = CM_TRAIN_TCM;
    ck_assert_int_eq(cmi_curriculum_of(&s).stages, 17);
}
END_TEST

typedef struct {
    int64_t k;
    int32_t n;
} scale_at;

static void check_scales(const cm_curriculum *c, const scale_at *rows, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t scales = cmi_curriculum_at(c, rows[i].k).scales;
        ck_assert_msg(scales == rows[i].n, "%s: N is %d at step %d, expected %d", what, scales, (int)rows[i].k,
                      rows[i].n);
    }
}

START_TEST(numbers_of_levels)
{
    static const scale_at fixed[] = {{0, 9}, {99, 9}};
    /* sqrt(k + 4) - 1 of (4 + 1)^2 - 2^2 = 21 steps. */
    static const scale_at small[] = {{0, 2},  {1, 3},  {5, 3},  {6, 4},  {12, 4},
                                     {13, 5}, {20, 5}, {21, 5}, {22, 5}, {100, 5}};
    static const scale_at one[] = {{0, 2}, {1, 2}, {3, 2}};
    static const scale_at halved[] = {{0, 16}, {3, 16}, {4, 8},  {7, 8},  {8, 4},
                                      {11, 4}, {12, 2}, {19, 2}, {20, 1}, {400, 1}};
    static const scale_at two[] = {{0, 2}, {7, 2}, {8, 1}};
    /* The published formula from 7, which training does not take: 1 from 4 (log2 7 - 1) + 8 = 15.2 on. */
    static const scale_at seven[] = {{0, 7}, {3, 7}, {4, 3}, {7, 3}, {8, 2}, {15, 2}, {16, 1}};
    static const scale_at long_one[] = {{0, 1 << 20}, {1, 1 << 19}, {18, 4}, {19, 2}, {20, 2}, {21, 1}, {70, 1}};
    static const scale_at published[] = {{0, 11},       {49999, 11},    {50000, 21},    {99999, 21},   {100000, 41},
                                         {349999, 641}, {350000, 1281}, {399999, 1281}, {400000, 1281}};
    /* log2 of floor(25 / 4) and one: 3.58 stages, of floor(20 / 3.58) = 5 steps. */
    static const scale_at between[] = {{0, 5}, {4, 5}, {5, 9}, {9, 9}, {10, 17}, {14, 17}, {15, 26}, {19, 26}};
    static const scale_at at_once[] = {{0, 17}, {1, 17}};
    static const scale_at step_each[] = {{0, 5}, {1, 9}, {2, 17}, {3, 17}};
    check_scales(&(cm_curriculum){.scales = CM_SCALES_FIXED, .start = 9, .end = 12, .total = 10}, fixed, COUNT(fixed),
                 "fixed");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_PROGRESSIVE, .start = 2, .end = 4, .total = 21}, small,
                 COUNT(small), "progressive");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_PROGRESSIVE, .start = 1, .end = 1, .total = 3}, one, COUNT(one),
                 "progressive from 1");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_PROGDIST, .start = 16, .distill_steps = 4, .total = 400},
                 halved, COUNT(halved), "progdist");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_PROGDIST, .start = 2, .distill_steps = 4, .total = 40}, two,
                 COUNT(two), "progdist from 2");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_PROGDIST, .start = 7, .distill_steps = 4, .total = 40}, seven,
                 COUNT(seven), "progdist from 7");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_PROGDIST, .start = 1 << 20, .distill_steps = 1, .total = 70},
                 long_one, COUNT(long_one), "progdist of a step each");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_ICT, .start = 10, .end = 1280, .total = 400000}, published,
                 COUNT(published), "ict");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_ICT, .start = 4, .end = 25, .total = 20}, between,
                 COUNT(between), "ict to 25");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_ICT, .start = 4, .end = 16, .total = 2}, at_once,
                 COUNT(at_once), "ict of fewer steps than stages");
    check_scales(&(cm_curriculum){.scales = CM_SCALES_ICT, .start = 4, .end = 16, .total = 3}, step_each,
                 COUNT(step_each), "ict of a step each");
}
END_TEST

/* mu of the target: as it is told, or exp(s0 ln(mu0) / (N - 1)) and / N; copied where N is halved. */
START_TEST(rates_of_the_target)
{
    cm_curriculum c = {.start = 2, .end = 4, .mu0 = 0.5, .total = 21, .scales = CM_SCALES_PROGRESSIVE};
    ck_assert(cmi_curriculum_at(&c, 0).mu == 0.5 && cmi_curriculum_at(&c, 21).mu == 0.5);
    c.mu = CM_MU_ADAPTIVE;
    near(cmi_curriculum_at(&c, 0).mu, 0.25, "mu", 0);
    near(cmi_curriculum_at(&c, 1).mu, 0.5, "mu", 1);
    near(cmi_curriculum_at(&c, 21).mu, 0.70710678118654752, "mu", 2);
    c.mu = CM_MU_ADAPTIVE_PAPER;
    near(cmi_curriculum_at(&c, 0).mu, 0.5, "mu", 3);
    near(cmi_curriculum_at(&c, 1).mu, 0.62996052494743658, "mu", 4);
    near(cmi_curriculum_at(&c, 21).mu, 0.75785828325519904, "mu", 5);
    c.scales = CM_SCALES_FIXED;
    near(cmi_curriculum_at(&c, 3).mu, 0.5, "mu", 6);
    c.mu = CM_MU_ADAPTIVE;
    near(cmi_curriculum_at(&c, 3).mu, 0.5, "mu", 7);
    c = (cm_curriculum){.start = 4, .mu0 = 0.5, .total = 21, .scales = CM_SCALES_PROGDIST, .distill_steps = 4};
    ck_assert(cmi_curriculum_at(&c, 0).mu == 1 && cmi_curriculum_at(&c, 20).mu == 1);
}
END_TEST

START_TEST(numbers_of_stages)
{
    cm_curriculum c = {.start = 2, .total = 20, .stages = 4, .first_stage = 3};
    static const struct {
        int64_t total, length, k;
        int32_t stage;
    } rows[] = {{20, 0, 0, 3},  {20, 0, 4, 3},  {20, 0, 5, 4}, {20, 0, 14, 5}, {20, 0, 15, 6},
                {20, 0, 19, 6}, {20, 0, 99, 6}, {20, 2, 1, 3}, {20, 2, 2, 4},  {20, 2, 7, 6},
                {20, 2, 8, 6},  {20, 1, 0, 3},  {20, 1, 1, 4}, {20, 1, 3, 6},  {20, 1, 4, 6},
                {4, 0, 0, 3},   {4, 0, 1, 4},   {4, 0, 3, 6},  {3, 0, 0, 6},   {3, 0, 2, 6}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        c.total = rows[i].total, c.stage_steps = rows[i].length;
        ck_assert_msg(cmi_curriculum_at(&c, rows[i].k).stage == rows[i].stage, "row %zu: stage %d", i,
                      cmi_curriculum_at(&c, rows[i].k).stage);
    }
    c.stages = 0, c.stage_steps = 0;
    ck_assert_int_eq(cmi_curriculum_at(&c, 7).stage, 0);
    c.stages = 1, c.total = 1;
    ck_assert_int_eq(cmi_curriculum_at(&c, 0).stage, 3);
}
END_TEST

/* Warm-up, 1/sqrt, a line down; each alone and together; the line of each stage of progressive distillation. */
START_TEST(rates_of_learning)
{
    static const struct {
        cm_curriculum c;
        int64_t k;
        double rate;
    } rows[] = {
        {{.lr = 0.5}, 0, 0.5},
        {{.lr = 0.5}, 1000, 0.5},
        {{.lr = 0.5, .warmup = 4}, 0, 0.125},
        {{.lr = 0.5, .warmup = 4}, 2, 0.375},
        {{.lr = 0.5, .warmup = 4}, 3, 0.5},
        {{.lr = 0.5, .warmup = 4}, 4, 0.5},
        {{.lr = 0.5, .warmup = 1}, 0, 0.5},
        {{.lr = 0.5, .decay = 10}, 0, 0.5},
        {{.lr = 0.5, .decay = 10}, 10, 0.5},
        {{.lr = 0.5, .decay = 10}, 40, 0.25},
        {{.lr = 0.5, .decay = 1}, 4, 0.25},
        {{.lr = 0.5, .decay = 10, .warmup = 82}, 40, 0.125},
        {{.lr = 0.5, .anneal_begin = 10, .anneal_end = 20}, 0, 0.5},
        {{.lr = 0.5, .anneal_begin = 10, .anneal_end = 20}, 10, 0.5},
        {{.lr = 0.5, .anneal_begin = 10, .anneal_end = 20}, 12, 0.4},
        {{.lr = 0.5, .anneal_begin = 10, .anneal_end = 20}, 20, 0},
        {{.lr = 0.5, .anneal_begin = 10, .anneal_end = 20}, 30, 0},
        {{.lr = 0.5, .lr_final = 0.25, .anneal_begin = 10, .anneal_end = 20}, 14, 0.35},
        {{.lr = 0.5, .lr_final = 0.25, .anneal_begin = 10, .anneal_end = 20}, 20, 0.125},
        {{.lr = 0.5, .lr_final = 0.25, .anneal_begin = 10, .anneal_end = 20}, 99, 0.125},
        {{.lr = 0.5, .anneal_end = 10}, 0, 0.5},
        {{.lr = 0.5, .anneal_end = 10}, 1, 0.45},
        {{.lr = 0.5, .anneal_end = 1}, 0, 0.5},
        {{.lr = 0.5, .anneal_end = 1}, 1, 0},
        {{.lr = 0.5, .lr_final = 0.5, .anneal_end = 10, .warmup = 8}, 5, 0.5 * 0.75 * 0.75},
    };
    /* N is 8, 4 and 2 of 4, 4 and 8 steps, and then 1; rates in sixteenths. */
    static const struct {
        int64_t k;
        double sixteenths;
    } stages[] = {{0, 16}, {1, 12}, {3, 4},  {4, 16},  {5, 12},  {7, 4}, {8, 16},
                  {9, 14}, {12, 8}, {15, 2}, {16, 16}, {17, 14}, {23, 2}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const double rate = cmi_curriculum_at(&rows[i].c, rows[i].k).lr;
        ck_assert_msg(fabs(rate - rows[i].rate) < 1e-15, "row %zu: %.17g, expected %.17g", i, rate, rows[i].rate);
    }
    const cm_curriculum c = {.lr = 1, .start = 8, .distill_steps = 4, .anneal_stages = 1, .total = 24};
    for (size_t i = 0; i < COUNT(stages); i++)
        near(cmi_curriculum_at(&c, stages[i].k).lr, stages[i].sixteenths / 16, "rate of a stage", i);
    const cm_curriculum cut = {.lr = 1, .start = 8, .distill_steps = 4, .anneal_stages = 1, .total = 6};
    near(cmi_curriculum_at(&cut, 4).lr, 1, "rate of a stage that is cut short", 4);
    near(cmi_curriculum_at(&cut, 5).lr, 0.5, "rate of a stage that is cut short", 5);
}
END_TEST

START_TEST(shares_of_the_tangent)
{
    const cm_curriculum none = {.start = 2}, some = {.start = 2, .tangent_warmup = 4},
                        one = {.start = 2, .tangent_warmup = 1};
    static const double shares[] = {0, 0.25, 0.5, 0.75, 1, 1};
    for (int k = 0; k < 6; k++) {
        ck_assert(cmi_curriculum_at(&none, k).tangent_share == 1);
        ck_assert(cmi_curriculum_at(&some, k).tangent_share == shares[k]);
        ck_assert(cmi_curriculum_at(&one, k).tangent_share == (k > 0));
    }
}
END_TEST

/* --- averages -------------------------------------------------------------------------------------- */

START_TEST(rates_of_averages)
{
    static const struct {
        cm_ema_rate rate;
        int64_t k;
        double seen, batch, r;
    } rows[] = {
        {{CM_EMA_RATE, 0.75, 0}, 3, 30, 10, 0.75},
        {{CM_EMA_RATE, 0, 0}, 0, 0, 10, 0},
        {{CM_EMA_HALFLIFE, 20, 0}, 0, 0, 20, 0.5},
        {{CM_EMA_HALFLIFE, 20, 0}, 5, 100, 10, 0.70710678118654752},
        {{CM_EMA_HALFLIFE, 20, 0.5}, 1, 20, 10, 0.5},
        {{CM_EMA_HALFLIFE, 20, 0.5}, 3, 40, 10, 0.70710678118654752},
        {{CM_EMA_HALFLIFE, 20, 0.5}, 9, 90, 10, 0.70710678118654752},
        {{CM_EMA_HALFLIFE, 20, 0.5}, 0, 0, 10, 0},
        {{CM_EMA_HALFLIFE, 20, 2}, 1, 5, 10, 0.5},
        {{CM_EMA_WARMUP, 0.999, 0}, 0, 0, 10, 0.1},
        {{CM_EMA_WARMUP, 0.999, 0}, 8, 80, 10, 0.5},
        {{CM_EMA_WARMUP, 0.25, 0}, 1, 10, 10, 2.0 / 11},
        {{CM_EMA_WARMUP, 0.25, 0}, 2, 20, 10, 0.25},
        {{CM_EMA_WARMUP, 0.25, 0}, 3, 30, 10, 0.25},
        {{CM_EMA_GAMMA, 2, 0}, 0, 0, 10, 0},
        {{CM_EMA_GAMMA, 2, 0}, 1, 10, 10, 0.125},
        {{CM_EMA_GAMMA, 2, 0}, 3, 30, 10, 0.421875},
        {{CM_EMA_POWER, 0.1, 0}, 0, 0, 10, 0},
        {{CM_EMA_POWER, 0.1, 0}, 1, 10, 10, 0.0040800316596501926},
        {{CM_EMA_POWER, 0.1, 0}, 99, 990, 10, 0.92332724226952345},
        {{CM_EMA_EVERY16, 0.5, 0}, 0, 0, 10, 1},
        {{CM_EMA_EVERY16, 0.5, 0}, 14, 140, 10, 1},
        {{CM_EMA_EVERY16, 0.5, 0}, 15, 150, 10, 1.0 / 65536},
        {{CM_EMA_EVERY16, 0.5, 0}, 16, 160, 10, 1},
        {{CM_EMA_EVERY16, 0.5, 0}, 31, 310, 10, 1.0 / 65536},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        near(cmi_ema_rate_at(&rows[i].rate, rows[i].k, rows[i].seen, rows[i].batch), rows[i].r, "rate", i);
}
END_TEST

/* A rate of 0 copies, whatever stood there. */
START_TEST(averages_are_taken)
{
    static const float p[] = {4, -8, 0.5f, 16, 0};
    float e[] = {8, 8, 0.5f, -16, 4};
    cmi_ema_apply(0.75, 4, e, p);
    ck_assert(e[0] == 7 && e[1] == 4 && e[2] == 0.5f && e[3] == -8 && e[4] == 4);
    cmi_ema_apply(1, 5, e, p);
    ck_assert(e[0] == 7 && e[4] == 4);
    e[1] = NAN, e[3] = INFINITY;
    cmi_ema_apply(0, 5, e, p);
    ck_assert_mem_eq(e, p, sizeof p);
}
END_TEST

START_TEST(widths_and_exponents)
{
    static const double rows[][2] = {{0.01, 96.994897823709829},
                                     {0.05, 16.97219860230345},
                                     {0.1, 6.9372039376018075},
                                     {0.15, 3.5578687748994662},
                                     {0.2, 1.8262137798958394}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        near(cmi_power_exponent(rows[i][0]), rows[i][1], "exponent", i);
        near(cmi_power_std(rows[i][1]), rows[i][0], "width", i);
    }
    ck_assert(fabs(cmi_power_exponent(0.28) - 0.16934399376949928) < 1e-12); /* where the curve is flat */
    near(cmi_power_std(0), 0.28867513459481288, "width", 0);
}
END_TEST

/* The integral of the product of two profiles. */
START_TEST(correlations)
{
    static const struct {
        cm_profile a, b;
        double value;
    } rows[] = {{{1, 0.1}, {1, 0.1}, 4.2354093605369313},
                {{1, 0.1}, {2, 0.1}, 0.017280604282569452},
                {{2, 0.1}, {1, 0.05}, 0.023365171355698528},
                {{3, 0.2}, {2, 0.05}, 0.40782544075706362},
                {{1000, 0.05}, {4000, 0.15}, 6.858153517303004e-6}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        near(cmi_profile_correlation(rows[i].a, rows[i].b), rows[i].value, "correlation", i);
        near(cmi_profile_correlation(rows[i].b, rows[i].a), rows[i].value, "the same, in turn,", i);
    }
}
END_TEST

/* Weights to 1e-9: a solution in more digits; stored ones in any order; one that is stored twice shares its weight.
 */
START_TEST(weights_of_profiles)
{
    static const struct {
        size_t n;
        cm_profile stored[4], wanted;
        double weights[4];
    } rows[] = {{4,
                 {{1, 0.05}, {2, 0.1}, {4, 0.05}, {4, 0.1}},
                 {4, 0.07},
                 {-5.6310804730367831e-7, -0.0020607265508552383, 0.43914441317622564, 0.5629168764826769}},
                {2, {{1, 0.05}, {4, 0.1}}, {3, 0.07}, {-3.1079778664850507e-6, 1.0000031079778665}},
                {2, {{4, 0.05}, {1, 0.2}}, {2, 0.1}, {0.00088176481661231747, 0.99911823518338768}},
                {1, {{4, 0.05}}, {2, 0.1}, {1}}};
    static const int turns[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}, {0, 3, 1, 2}};
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t k = 0; k < COUNT(turns); k++) {
            cm_profile stored[8];
            double weights[8];
            size_t n = 0, of[8] = {0};
            for (int j = 0; j < 4; j++)
                if ((size_t)turns[k][j] < rows[i].n)
                    of[n] = (size_t)turns[k][j], stored[n++] = rows[i].stored[turns[k][j]];
            OK(cmi_profile_weights(context, n, stored, rows[i].wanted, weights));
            for (size_t j = 0; j < n; j++)
                ck_assert_msg(fabs(weights[j] - rows[i].weights[of[j]]) < 1e-9,
                              "row %zu, order %zu: weight %zu is %.17g", i, k, j, weights[j]);
            /* each before the others once more */
            memmove(stored + n, stored, n * sizeof *stored);
            OK(cmi_profile_weights(context, 2 * n, stored, rows[i].wanted, weights));
            for (size_t j = 0; j < n; j++) {
                ck_assert(fabs(weights[j] + weights[n + j] - rows[i].weights[of[j]]) < 1e-9);
                ck_assert(weights[j] == 0 || weights[n + j] == 0);
            }
            for (size_t j = 0; j < n; j++) stored[2 * j] = stored[2 * j + 1] = rows[i].stored[of[j]];
            OK(cmi_profile_weights(context, 2 * n, stored, rows[i].wanted, weights));
            for (size_t j = 0; j < n; j++)
                ck_assert(fabs(weights[2 * j] + weights[2 * j + 1] - rows[i].weights[of[j]]) < 1e-9);
        }
    /* Of three the third is all that is new. */
    for (int k = 0; k < 2; k++) {
        const cm_profile three[] = {rows[1].stored[k], rows[1].stored[k], rows[1].stored[!k]};
        double weights[3];
        OK(cmi_profile_weights(context, 3, three, rows[1].wanted, weights));
        ck_assert(fabs(weights[0] + weights[1] - rows[1].weights[k]) < 1e-9);
        ck_assert(fabs(weights[2] - rows[1].weights[!k]) < 1e-9);
    }
    double weight;
    FAILS(cmi_profile_weights(context, 1, &(cm_profile){1e-300, 0.05}, (cm_profile){1e300, 0.05}, &weight),
          CM_ERR_NUMERIC, "ends at 1e+300 with std 0.05");
    cm_context_free(context);
}
END_TEST

/* --- an objective's axis ------------------------------------------------------------------------------ */

typedef struct {
    const char *config;
    double sigma_data;
    int plain;
} axis_case;

static const axis_case axis_cases[] = {
    {"{\"type\": \"edm\", \"sigma_data\": 0.5}", 0.5, 1},
    {"{\"type\": \"edm\", \"sigma_data\": 0.5}", 0.25, 0},
    {"{\"type\": \"edm\", \"sigma_data\": 0.5, \"time\": \"250ln\"}", 0.5, 1},
    {"{\"type\": \"cm\", \"sigma_data\": 0.5}", 0.5, 0},
    {"{\"type\": \"ecm\", \"sigma_data\": 0.5}", 0.5, 1},
    {"{\"type\": \"ecm\", \"sigma_data\": 0.5, \"boundary\": 0.002}", 0.5, 0},
    {"{\"type\": \"trigflow\", \"sigma_data\": 0.5}", 0.5, 1},
    {"{\"type\": \"trigflow\", \"sigma_data\": 0.5}", 1, 0},
    {"{\"type\": \"vp\"}", 0.5, 0},
    {"{\"type\": \"ve\"}", 0.5, 0},
};

static void read_precond(const char *text, cm_precond *p)
{
    json_t *o = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(o);
    OK(cmi_precond_read(NULL, o, CM_TIME_LN4, p));
    json_decref(o);
}

/* On TrigFlow's axis the answer is (cos(t) x_t - D(x_t / cos t)) / (sigma_data sin t), whatever the network says:
 * here a value and x itself. */
START_TEST(answers_on_the_axis)
{
    static const double times[] = {0.1, 0.7853981633974483, 1.2, 1.5};
    for (size_t i = 0; i < COUNT(axis_cases); i++) {
        cm_precond p;
        const double d = axis_cases[i].sigma_data;
        read_precond(axis_cases[i].config, &p);
        ck_assert_msg(cmi_axis_is_plain(&p, d) == axis_cases[i].plain, "%s: plain", axis_cases[i].config);
        for (size_t k = 0; k < COUNT(times); k++) {
            const double t = times[k], sigma = d * tan(t), x = 0.3, f = -0.7;
            const cm_scalings own = cmi_precond_scalings(&p, sigma), on = cmi_axis_scalings(CM_AXIS_TRIG, &p, d, t);
            const double x_sigma = x * d / cos(t), denoised = own.c_skip * x_sigma + own.c_out * f;
            near(cmi_trig_sigma(d, t), sigma, "level", k);
            ck_assert(fabs(on.c_in * x - own.c_in * x_sigma) < 1e-12);
            ck_assert(on.c_noise == own.c_noise);
            const double answer = (cos(t) * x * d - denoised) / (d * sin(t));
            ck_assert_msg(fabs(on.c_skip * x + on.c_out * f - answer) < 1e-11, "%s at %g: %.17g, expected %.17g",
                          axis_cases[i].config, t, on.c_skip * x + on.c_out * f, answer);
            if (axis_cases[i].plain)
                ck_assert(on.c_in == 1 && on.c_skip == 0 && on.c_out == (p.kind->trigflow ? 1 : -1));
            const cm_scalings same = cmi_axis_scalings(CM_AXIS_SIGMA, &p, d, sigma);
            ck_assert(same.c_in == own.c_in && same.c_skip == own.c_skip && same.c_out == own.c_out &&
                      same.c_noise == own.c_noise);
        }
        const cm_scalings raw = cmi_axis_scalings(CM_AXIS_RAW, &p, d, 0.3);
        ck_assert(raw.c_in == 1 && raw.c_skip == 0 && raw.c_out == 1 && raw.c_noise == 0.3);
        cmi_precond_release(&p);
    }
}
END_TEST

START_TEST(slopes_on_the_axis)
{
    static const double times[] = {0.1, 0.7, 1.2, 1.5};
    const double h = 1e-5;
    for (size_t i = 0; i < COUNT(axis_cases); i++) {
        cm_precond p;
        const double d = axis_cases[i].sigma_data;
        read_precond(axis_cases[i].config, &p);
        for (size_t k = 0; k < COUNT(times) && axis_cases[i].plain; k++) {
            const cm_scalings slope = cmi_axis_slopes(CM_AXIS_TRIG, &p, times[k]);
            const double rise = cmi_axis_scalings(CM_AXIS_TRIG, &p, d, times[k] + h).c_noise -
                                cmi_axis_scalings(CM_AXIS_TRIG, &p, d, times[k] - h).c_noise;
            ck_assert(slope.c_in == 0 && slope.c_skip == 0 && slope.c_out == 0);
            ck_assert_msg(fabs(slope.c_noise - rise / (2 * h)) < 1e-6 * fabs(slope.c_noise), "%s at %g: %.9g, %.9g",
                          axis_cases[i].config, times[k], slope.c_noise, rise / (2 * h));
        }
        const cm_scalings own = cmi_precond_slopes(&p, 0.3), same = cmi_axis_slopes(CM_AXIS_SIGMA, &p, 0.3);
        ck_assert(same.c_in == own.c_in && same.c_skip == own.c_skip && same.c_out == own.c_out &&
                  same.c_noise == own.c_noise);
        const cm_scalings raw = cmi_axis_slopes(CM_AXIS_RAW, &p, 0.3);
        ck_assert(raw.c_in == 0 && raw.c_skip == 0 && raw.c_out == 0 && raw.c_noise == 1);
        cmi_precond_release(&p);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("schedules");
    TCase *t = tcase_create("schedules");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, levels_of_formulas);
    tcase_add_test(t, variance_preserving);
    tcase_add_test(t, iddpm_levels);
    tcase_add_test(t, ancestral_steps);
    tcase_add_test(t, curriculum_of_options);
    tcase_add_test(t, numbers_of_levels);
    tcase_add_test(t, rates_of_the_target);
    tcase_add_test(t, numbers_of_stages);
    tcase_add_test(t, rates_of_learning);
    tcase_add_test(t, shares_of_the_tangent);
    tcase_add_test(t, rates_of_averages);
    tcase_add_test(t, averages_are_taken);
    tcase_add_test(t, widths_and_exponents);
    tcase_add_test(t, correlations);
    tcase_add_test(t, weights_of_profiles);
    tcase_add_test(t, answers_on_the_axis);
    tcase_add_test(t, slopes_on_the_axis);
    suite_add_tcase(s, t);
    return s;
}
