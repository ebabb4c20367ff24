/* Distances of training: each goes down along its own gradient and is what its formula says; LPIPS with its files and
 * memory. */
#include "support/suite.h"

#include <math.h>
#include <stdlib.h>

#include "nets/perceptual.h"
#include "support/backbone.h"
#include "support/trainers.h"
#include "train/perceptual_distance.h"

static cm_train_settings with_lpips(const char *objective)
{
    cm_train_settings o = options(objective);
    OK(cmi_settings_set(&o, "distance", "lpips"));
    OK(cmi_settings_set(&o, "lpips_weights", in_dir("alex.safetensors")));
    OK(cmi_settings_set(&o, "lpips_lin", "models/features/lpips_lin.safetensors"));
    return o;
}

/* The mean loss of a batch with the weights moved by `step` along `direction`. */
static double loss_at(cm_trainer *t, const cm_learner_batch *b, const float *start, const float *direction,
                      double step)
{
    double sum = 0;
    for (size_t i = 0; i < t->learner->floats; i++)
        t->learner->online.values[i] = (float)((double)start[i] + (direction ? step * (double)direction[i] : 0));
    OK(cmi_trainer_refresh(t));
    OK(cmi_learner_run(t->learner, t->objective, &t->settings, b));
    for (size_t i = 0; i < b->n; i++) sum += b->loss[i] / (double)b->n;
    return sum;
}

/* One step's loss along its own gradient. */
static void follow_gradient(const char *objective)
{
    cm_train_settings o = with_lpips(objective);
    cm_trainer *t = trainer(objective, &o);
    static float images[BATCH * VALUES];
    int32_t labels[BATCH];
    double loss[BATCH], norm = 0, apart = 0, first, second;
    const size_t floats = t->learner->floats;
    float *start = malloc(floats * sizeof *start), *gradient = malloc(floats * sizeof *gradient);
    batch(3, images, labels);
    OK(steps(t, 1, NULL)); /* fresh weights have gradients of zero */
    memcpy(start, t->learner->online.values, floats * sizeof *start);
    t->settings.scales = 8;
    const cm_learner_batch b = {
        .all = 4, .n = 4, .images = images, .labels = labels, .seed = 5, .first = 40, .loss = loss};
    (void)loss_at(t, &b, start, NULL, 0);
    memcpy(gradient, t->learner->gradient, floats * sizeof *gradient);
    for (size_t i = 0; i < floats; i++) norm += (double)gradient[i] * (double)gradient[i];
    norm = sqrt(norm);
    ck_assert_msg(norm > 0 && isfinite(norm), "%s: gradient %g", objective, norm);
    const double h = 4e-3 / norm;
    /* Where the target has the weights that learn, it would move with them, which the gradient leaves out. */
    const int target_moves = t->learner->target_weights && !t->learner->target.values;
    first = loss_at(t, &b, start, gradient, h), second = loss_at(t, &b, start, gradient, -h);
    apart = (first - second) / (2 * h * norm);
    ck_assert_msg(target_moves || fabs(apart / norm - 1) < 0.03, "%s: slope %g, gradient %g", objective, apart, norm);
    free(start), free(gradient);
    cm_trainer_free(t);
}

START_TEST(lpips_along_its_gradient)
{
    static const char *const distilled[] = {"cd", "ct", "pd", "ict", "ect"};
    cm_train_settings o = options("cd");
    cm_trainer *t = NULL;
    uint64_t said = 0, held = 0;
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    OK(backbone_write(context, in_dir("alex.safetensors")));
    cm_context_free(context);
    for (int i = 0; i < 5; i++) follow_gradient(distilled[i]);
    o = with_lpips("ct");
    cm_model *m = tiny(NULL, 3);
    OK(estimate(m, NULL, &o, &said));
    OK(create(m, NULL, &o, &t));
    OK(cm_trainer_bytes(t, &held));
    ck_assert_msg(fabs((double)said / (double)held - 1) < 0.05, "%llu said, %llu held", (unsigned long long)said,
                  (unsigned long long)held);
    cm_trainer_free(t);
    cm_model_free(m);
    OK(cmi_settings_set(&o, "lpips_weights", "models/features/lenet.safetensors"));
    FAILS(open_trainer(NULL, "ct", &o, &t), CM_ERR_FORMAT, "no network of LPIPS");
    OK(cmi_settings_set(&o, "lpips_weights", in_dir("nothing")));
    FAILS(open_trainer(NULL, "ct", &o, &t), CM_ERR_IO, "nothing");
}
END_TEST

/* The distance of an objective is that of metrics.h by the same rules, with its gradient; nothing is drawn or cut. */
START_TEST(the_distance_of_metrics)
{
    static const char *const resizes[] = {"none", "small", "always"};
    enum { EDGE = 40, MOST = 3 * EDGE * EDGE };
    static float a[MOST], b[MOST], slope[MOST];
    static double wide_a[MOST], wide_b[MOST], gradient[MOST];
    cm_context *context;
    uint64_t random = seeded(11);
    OK(cm_context_create(NULL, &context));
    OK(backbone_write(context, in_dir("alex.safetensors")));
    for (int i = 0; i < MOST; i++) a[i] = random_float(&random), b[i] = random_float(&random);
    for (int i = 0; i < MOST; i++) wide_a[i] = (double)a[i], wide_b[i] = (double)b[i];
    for (int k = 0; k < 6; k++) {
        cm_train_settings o = with_lpips("cd");
        const int32_t channels = k < 3 ? 3 : 1;
        cm_lpips_options same = CM_LPIPS_OPTIONS_INIT;
        cm_lpips *lpips;
        cm_perceptual_distance *d;
        cm_exec *exec;
        double wanted, found;
        OK(cmi_settings_set(&o, "lpips_resize", resizes[k % 3]));
        same.pooling = CM_LPIPS_POOLING_MEAN;
        same.resize = k % 3;
        const cm_image_distance shape = {CM_DISTANCE_LPIPS, 0, channels, EDGE, EDGE, 0};
        const cm_images one = cm_images_f32(1, channels, EDGE, EDGE, a),
                        other = cm_images_f32(1, channels, EDGE, EDGE, b);
        OK(cmi_perceptual_distance_open(context, &o, &shape, CM_PERCEPTUAL_VALUE, &d));
        OK(cmi_perceptual_distance_exec(d, &exec));
        OK(cmi_perceptual_distance_of(d, exec, wide_a, wide_b, &found, gradient));
        OK(cm_lpips_open(context, NULL, in_dir("alex.safetensors"), "models/features/lpips_lin.safetensors", &same,
                         &lpips));
        OK(cm_lpips_gradient(lpips, &one, &other, &wanted, slope));
        ck_assert_double_eq_tol(found, wanted, 1e-6 * wanted);
        for (int i = 0; i < channels * EDGE * EDGE; i++) ck_assert_double_eq(gradient[i], (double)slope[i]);
        cm_lpips_free(lpips);
        cmi_exec_free(exec);
        cmi_perceptual_distance_close(d);
    }
    cm_context_free(context);
    /* Images of 256 and more are as they are, as the published models were trained. */
    ck_assert_int_eq(cmi_perceptual_side(CM_LPIPS_RESIZE_SMALL, 255), 224);
    ck_assert_int_eq(cmi_perceptual_side(CM_LPIPS_RESIZE_SMALL, 256), 0);
    ck_assert_int_eq(cmi_perceptual_side(CM_LPIPS_RESIZE_ALWAYS, 256), 224);
    ck_assert_int_eq(cmi_perceptual_side(CM_LPIPS_RESIZE_NONE, 32), 0);
}
END_TEST

/* In both gradient forms, with objective ccd and cct: threads and a resume change no bits, the estimate holds, and
 * the forms differ. */
START_TEST(continuous_with_lpips)
{
    const char *objective = _i % 2 ? "cct" : "ccd";
    cm_train_settings o = with_lpips(objective);
    cm_context *context;
    uint64_t said = 0, held = 0;
    OK(cm_context_create(NULL, &context));
    OK(backbone_write(context, in_dir("alex.safetensors")));
    cm_context_free(context);
    o.stop_gradient = _i / 2;
    o.threads = 1;
    cm_trainer *first = trainer(objective, &o);
    OK(steps(first, 1, NULL));
    OK(cm_trainer_save(first, in_dir("run"), 0));
    cm_trainer_free(first);
    cm_trainer *one = trainer(objective, &o);
    OK(steps(one, 2, NULL));
    for (int threads = 2; threads <= 4; threads++) {
        o.threads = threads;
        cm_trainer *t = trainer(objective, &o);
        if (threads == 3) OK(cm_trainer_resume(t, in_dir("run"), NULL, 0));
        OK(steps(t, 2, NULL));
        ck_assert_msg(same_state(one, t), "%s: %d threads change the bits", objective, threads);
        cm_trainer_free(t);
    }
    cm_model *m = tiny(NULL, 3), *teacher = _i % 2 ? NULL : tiny(NULL, 4);
    OK(estimate(m, teacher, &o, &said));
    cm_trainer *t = NULL;
    OK(create(m, teacher, &o, &t));
    OK(cm_trainer_bytes(t, &held));
    ck_assert_msg(fabs((double)said / (double)held - 1) < 0.05, "%llu said, %llu held", (unsigned long long)said,
                  (unsigned long long)held);
    cm_trainer_free(t);
    cm_model_free(m), cm_model_free(teacher);
    o.stop_gradient = !o.stop_gradient;
    cm_trainer *other = trainer(objective, &o);
    OK(steps(other, 2, NULL));
    ck_assert(!same_state(one, other));
    cm_trainer_free(other);
    cm_trainer_free(one);
}
END_TEST

/* --- curvature ---------------------------------------------------------------------------- */

enum { FACE = 40, FACE_VALUES = 3 * FACE * FACE };

typedef struct {
    cm_perceptual_distance *d;
    cm_exec *exec;
} opened;

static opened open_use(cm_context *context, const cm_train_settings *o, int32_t channels, cm_perceptual_use use)
{
    const cm_image_distance shape = {CM_DISTANCE_LPIPS, 0, channels, FACE, FACE, 0};
    opened l;
    OK(cmi_perceptual_distance_open(context, o, &shape, use, &l.d));
    OK(cmi_perceptual_distance_exec(l.d, &l.exec));
    return l;
}

static void close_use(opened l)
{
    cmi_exec_free(l.exec);
    cmi_perceptual_distance_close(l.d);
}

static double product(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void moved_by(size_t n, const double *a, double h, const double *v, double *out)
{
    for (size_t i = 0; i < n; i++) out[i] = a[i] + h * v[i];
}

/* |a - b| / |b| */
static double apart_by(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum / product(n, b, b));
}

/* The slope of <v, H v>, from differences along it: in how many of ten places they agree.  A feature that has its
 * kink between the two points spoils a place. */
static int count_slopes(opened l, size_t n, double *a, const double *v, uint64_t *random)
{
    static double slope[FACE_VALUES], at[FACE_VALUES], hv[FACE_VALUES];
    int agree = 0;
    for (int k = 0; k < 10; k++) {
        const double h = 2e-5;
        double found = 0;
        for (size_t i = 0; i < n; i++) a[i] = 0.5 * (double)random_float(random);
        OK(cmi_perceptual_curvature_of(l.d, l.exec, a, v, hv, slope));
        const double length = sqrt(product(n, slope, slope) / (double)n);
        for (int side = -1; side <= 1; side += 2) {
            moved_by(n, a, side * h / length, slope, at);
            OK(cmi_perceptual_curvature_of(l.d, l.exec, at, v, hv, NULL));
            found += side * product(n, v, hv) / (2 * h);
        }
        agree += fabs(found / (length * (double)n) - 1) < 1e-2;
    }
    return agree;
}

/* H v is the slope of the gradient of the distance, H is symmetric, and the slope of <v, H v> that of its values. */
static void compare_curvature(cm_context *context, const cm_train_settings *o, int32_t channels)
{
    static double a[FACE_VALUES], v[FACE_VALUES], u[FACE_VALUES], hv[FACE_VALUES], hu[FACE_VALUES],
        slope[FACE_VALUES], there[FACE_VALUES], back[FACE_VALUES], at[FACE_VALUES];
    const opened value = open_use(context, o, channels, CM_PERCEPTUAL_VALUE);
    const opened curved = open_use(context, o, channels, CM_PERCEPTUAL_CURVATURE);
    const opened sloped = open_use(context, o, channels, CM_PERCEPTUAL_SLOPE);
    const size_t n = (size_t)channels * FACE * FACE;
    uint64_t random = seeded(21);
    double d, h = 3e-5; /* features have kinks everywhere */
    for (size_t i = 0; i < n; i++) {
        a[i] = 0.5 * (double)random_float(&random);
        v[i] = (double)random_float(&random), u[i] = (double)random_float(&random);
    }
    OK(cmi_perceptual_curvature_of(curved.d, curved.exec, a, v, hv, NULL));
    OK(cmi_perceptual_curvature_of(sloped.d, sloped.exec, a, v, at, slope));
    for (size_t i = 0; i < n; i++) ck_assert_double_eq(at[i], hv[i]);
    OK(cmi_perceptual_curvature_of(curved.d, curved.exec, a, u, hu, NULL));
    ck_assert_double_eq_tol(product(n, u, hv), product(n, v, hu), 1e-4 * sqrt(product(n, hv, hv) * product(n, u, u)));

    moved_by(n, a, h, v, at);
    OK(cmi_perceptual_distance_of(value.d, value.exec, at, a, &d, there));
    moved_by(n, a, -h, v, at);
    OK(cmi_perceptual_distance_of(value.d, value.exec, at, a, &d, back));
    for (size_t i = 0; i < n; i++) there[i] = (there[i] - back[i]) / (2 * h);
    ck_assert_msg(apart_by(n, there, hv) < 0.05, "H v is %g from differences of gradients", apart_by(n, there, hv));

    h = 2e-3;
    /* 224 x 224 points have kinks without end. */
    if (o->lpips_resize == CM_LPIPS_RESIZE_NONE) ck_assert_int_ge(count_slopes(sloped, n, a, v, &random), 3);

    a[5] = NAN;
    OK(cmi_perceptual_curvature_of(curved.d, curved.exec, a, v, hv, NULL));
    ck_assert(isnan(hv[7]));
    close_use(value), close_use(curved), close_use(sloped);
}

START_TEST(the_curvature_of_lpips)
{
    static const char *const resizes[] = {"none", "small"}, *const poolings[] = {"max", "mean"};
    cm_context *context;
    OK(cm_context_create(NULL, &context));
    OK(backbone_write(context, in_dir("alex.safetensors")));
    for (int k = 0; k < 4; k++) {
        cm_train_settings o = with_lpips("cd");
        OK(cmi_settings_set(&o, "lpips_resize", resizes[k % 2]));
        OK(cmi_settings_set(&o, "lpips_pooling", poolings[k / 2]));
        compare_curvature(context, &o, k == 1 ? 1 : 3);
    }
    cm_context_free(context);
}
END_TEST

/* --- formulas ---------------------------------------------------------------------------- */

static double along(const cm_image_distance *d, const double *a, const double *b, const double *direction,
                    double step, double *work)
{
    double moved[192];
    for (size_t i = 0; i < 192; i++) moved[i] = a[i] + step * direction[i];
    return cmi_distance_of(d, moved, b, NULL, work);
}

/* The slope of every distance that is a formula, in double, along directions that are made up. */
START_TEST(slopes_of_formulas)
{
    double a[192], b[192], direction[192], gradient[192];
    uint64_t random = seeded(12);
    for (int32_t kind = CM_DISTANCE_L1; cmi_distance_at(kind); kind++) {
        const cm_distance_row *row = cmi_distance_at(kind);
        if (row->of_network) continue;
        for (int sum = 0; sum <= row->reads_sum; sum++) {
            const cm_image_distance d = {kind, row->reads_c ? 0.03 : 0, 3, 8, 8, sum};
            double *work = calloc(cmi_distance_work(&d) + 1, sizeof *work), slope = 0;
            for (int i = 0; i < 192; i++) {
                a[i] = (double)random_float(&random), b[i] = (double)random_float(&random);
                direction[i] = (double)random_float(&random);
            }
            (void)cmi_distance_of(&d, a, b, gradient, work);
            for (int i = 0; i < 192; i++) slope += gradient[i] * direction[i];
            const double h = 1e-7;
            const double found =
                (along(&d, a, b, direction, h, work) - along(&d, a, b, direction, -h, work)) / (2 * h);
            ck_assert_msg(fabs(found - slope) <= 1e-6 * (fabs(slope) + 1e-3), "%s: slope %g, gradient %g", row->name,
                          found, slope);
            ck_assert_double_eq(cmi_distance_of(&d, a, a, gradient, work), 0);
            for (int i = 0; i < 192; i++) ck_assert_double_eq(gradient[i], 0);
            free(work);
        }
    }
}
END_TEST

/* Of equal images: the difference of gradients along v; l1, the largest and l2-32 are not asked for theirs. */
START_TEST(curvature_of_formulas)
{
    double a[192], v[192], hv[192], there[192], moved[192];
    uint64_t random = seeded(13);
    int known = 0;
    for (int32_t kind = CM_DISTANCE_L1; cmi_distance_at(kind); kind++) {
        const cm_distance_row *row = cmi_distance_at(kind);
        if (!row->curvature) continue;
        known++;
        for (int sum = 0; sum <= row->reads_sum; sum++) {
            const cm_image_distance d = {kind, row->reads_c ? 0.3 : 0, 3, 8, 8, sum};
            const double h = 1e-6;
            for (int i = 0; i < 192; i++) {
                a[i] = (double)random_float(&random), v[i] = (double)random_float(&random);
                moved[i] = a[i] + h * v[i];
            }
            cmi_distance_curvature(&d, v, hv);
            (void)cmi_distance_of(&d, moved, a, there, NULL);
            for (int i = 0; i < 192; i++)
                ck_assert_msg(fabs(there[i] / h - hv[i]) <= 1e-8, "%s: %g, by differences %g", row->name, hv[i],
                              there[i] / h);
        }
    }
    ck_assert_int_eq(known, 2);
}
END_TEST

START_TEST(the_largest_difference)
{
    const cm_image_distance d = {CM_DISTANCE_LINF, 0, 1, 2, 2, 0};
    const double a[] = {1, -2, 0.5, 3}, b[] = {0.5, 1, 3.5, 3};
    double gradient[4], lost[] = {1, NAN, 9, 3};
    ck_assert_double_eq(cmi_distance_of(&d, a, b, gradient, NULL), 3); /* twice, of which the first one counts */
    ck_assert(gradient[0] == 0 && gradient[1] == -1 && gradient[2] == 0 && gradient[3] == 0);
    ck_assert(isnan(cmi_distance_of(&d, lost, b, gradient, NULL)));
    lost[1] = 0, lost[3] = NAN;
    ck_assert(isnan(cmi_distance_of(&d, lost, b, gradient, NULL)));
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("distance");
    TCase *t = tcase_create("lpips"), *formulas = tcase_create("formulas");
    tcase_add_test(formulas, slopes_of_formulas);
    tcase_add_test(formulas, curvature_of_formulas);
    tcase_add_test(formulas, the_largest_difference);
    suite_add_tcase(s, formulas);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, lpips_along_its_gradient);
    tcase_add_test(t, the_distance_of_metrics);
    tcase_add_test(t, the_curvature_of_lpips);
    tcase_add_loop_test(t, continuous_with_lpips, 0, 4);
    suite_add_tcase(s, t);
    return s;
}
