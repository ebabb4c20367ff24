/* Every op against plain loops in double, on random odd shapes, for 1, 2, 3 and 8
 * threads inside the op (same bits) and slices of 1 to 3 images (same bits). */
#include "support/cases.h"
#include "support/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu_level.h"
#include "conv/conv.h"
#include "graph/plan.h"
#include "ref/naive.h"

enum { N = 3 };

/* One node as a graph, with random inputs and parameters. */
typedef struct {
    const cm_op *op;
    cm_attr attr;
    cm_desc in[CM_OP_MAX_IN], out;
    int n_in, n_params, bf16; /* bf16: largest Winograd tile of bfloat16, or 0 */
    cm_graph *graph;
    cm_params *params;
    float *x[CM_OP_MAX_IN], *p[CM_OP_MAX_PARAMS];
    int32_t labels[N];
} node_case;

static cm_context *context(void)
{
    static cm_context *c;
    if (!c) OK(cm_context_create(NULL, &c));
    return c;
}

static cm_status read_copy(const cm_param_source *s, float *out)
{
    memcpy(out, s->data, s->bytes);
    return CM_OK;
}

/* Parameter shapes: rank 0 ends the list. */
static void open_case(node_case *t, const int64_t (*shapes)[4], const int *ranks)
{
    cm_value in[CM_OP_MAX_IN];
    cm_param_source sources[CM_OP_MAX_PARAMS];
    int index[CM_OP_MAX_PARAMS] = {-1, -1};
    OK(cmi_graph_create(context(), &t->graph));
    for (int i = 0; i < t->n_in; i++) {
        in[i] = cmi_graph_input(t->graph, t->in[i]);
        t->in[i].n = N;
        t->x[i] = numbers(cmi_desc_count(t->in[i]), 2, t->op == &cmi_op_groupnorm && i == 0 ? 5 : 0);
    }
    for (int k = 0; k < CM_OP_MAX_PARAMS && ranks && ranks[k]; k++) {
        index[k] = cmi_graph_param(t->graph, ranks[k], shapes[k], "p%d", k);
        size_t n = cmi_param_elements(&t->graph->params[index[k]]);
        t->p[k] = numbers(n, 0.5f, 0.25f);
        sources[k] = (cm_param_source){t->p[k], n * sizeof(float), t->p[k], read_copy, NULL, NULL};
        t->n_params++;
    }
    cm_value y = cmi_graph_node(t->graph, t->op, &t->attr, in, t->n_in, index[0], index[1]);
    t->out = cmi_graph_desc(t->graph, y);
    t->out.n = N;
    cmi_graph_output(t->graph, y);
    OK(cmi_graph_finish(t->graph));
    OK(cmi_params_create(t->graph, sources, &t->params));
}

static void close_case(node_case *t)
{
    for (int i = 0; i < t->n_in; i++) free(t->x[i]);
    cmi_params_free(t->params);
    for (int k = 0; k < t->n_params; k++) free(t->p[k]);
    cmi_graph_free(t->graph);
}

/* All N images by plans of the given slice. */
static void run_case(const node_case *t, int slice, int threads, float *y)
{
    const cm_plan_options options = {
        .slice = slice, .threads = threads, .all_ops = 1, .share = 1, .arithmetic.bf16 = t->bf16};
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    OK(cmi_plan_create(t->graph, &options, &plan));
    OK(cmi_weights_create(plan, t->params, &weights));
    OK(cmi_exec_create(plan, &exec));
    probe_poison(exec);
    for (int first = 0; first < N; first += slice) {
        for (int i = 0; i < t->n_in; i++) {
            size_t n = cmi_desc_count(t->in[i]) / N;
            const void *from = t->op == &cmi_op_embed_label && i == 1 ? (const void *)(t->labels + first)
                                                                      : (const void *)(t->x[i] + (size_t)first * n);
            memcpy(cmi_exec_input(exec, i), from, (size_t)slice * n * sizeof(float));
        }
        OK(cmi_exec_run(exec, weights));
        size_t n = cmi_desc_count(t->out) / N;
        memcpy(y + (size_t)first * n, cmi_exec_output(exec, 0), (size_t)slice * n * sizeof *y);
    }
    cmi_exec_free(exec);
    cmi_weights_free(weights);
    cmi_plan_free(plan);
}

static double *widen(const float *v, size_t n)
{
    double *d = malloc((n + 1) * sizeof *d);
    for (size_t i = 0; v && i < n; i++) d[i] = (double)v[i];
    return d;
}

/* --- gradients and tangents -------------------------------------------------- */

static int is_labels(const node_case *t, int i)
{
    return t->op == &cmi_op_embed_label && i == 1;
}

/* J v of the naive loops in double, by central differences along (tx, tp). */
static void directional(const node_case *t, double *const *x, double *const *p, double *const *tx, double *const *tp,
                        double *out)
{
    size_t n = cmi_desc_count(t->out);
    const double h = 1e-5;
    double *y[2] = {calloc(n, sizeof(double)), calloc(n, sizeof(double))};
    for (int side = 0; side < 2; side++) {
        double step = side ? -h : h, *xs[CM_OP_MAX_IN] = {0}, *ps[CM_OP_MAX_PARAMS] = {0};
        for (int i = 0; i < t->n_in; i++) {
            size_t m = cmi_desc_count(t->in[i]);
            xs[i] = calloc(m, sizeof(double));
            for (size_t k = 0; k < m; k++) xs[i][k] = x[i][k] + (tx && tx[i] ? step * tx[i][k] : 0);
        }
        for (int i = 0; i < t->n_params; i++) {
            size_t m = cmi_param_elements(&t->graph->params[i]);
            ps[i] = calloc(m, sizeof(double));
            for (size_t k = 0; k < m; k++) ps[i][k] = p[i][k] + (tp && tp[i] ? step * tp[i][k] : 0);
        }
        naive_forward(t->op, &t->attr, t->in, (const double *const *)xs, t->labels, (const double *const *)ps, t->out,
                      y[side]);
        for (int i = 0; i < t->n_in; i++) free(xs[i]);
        for (int i = 0; i < t->n_params; i++) free(ps[i]);
    }
    for (size_t k = 0; k < n; k++) out[k] = (y[0][k] - y[1][k]) / (2 * h);
    free(y[0]), free(y[1]);
}

static double dot(size_t n, const double *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * (double)b[i];
    return sum;
}

static double size_of(size_t n, const double *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (a ? a[i] * a[i] : 0) + (b ? (double)b[i] * (double)b[i] : 0);
    return sqrt(sum);
}

static void load(const node_case *t, cm_exec *exec)
{
    for (int i = 0; i < t->n_in; i++)
        memcpy(cmi_exec_input(exec, i), is_labels(t, i) ? (const void *)t->labels : (const void *)t->x[i],
               cmi_desc_count(t->in[i]) * sizeof(float));
}

/* The largest error of bfloat16 over the largest value: 2^-9 an operand, some terms
 * of a sum adding up, and what the transforms make of it. */
static double bf16_error(const node_case *t)
{
    static const double of[] = {0, 0.012, 0.012, 0.02, 0.04};
    return of[t->bf16];
}

/* ... and the root mean square of all errors over that of the values: a bias, or a digit lost everywhere, hides
 * below the largest. */
static void check_rms(const node_case *t, size_t n, const float *y, const double *want)
{
    static const double of[] = {0, 0.005, 0.007, 0.012, 0.02}; /* found: 0.0034, 0.0048, 0.0081, 0.0139 */
    double off = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        off += ((double)y[i] - want[i]) * ((double)y[i] - want[i]);
        all += want[i] * want[i];
    }
    ck_assert_msg(off <= of[t->bf16] * of[t->bf16] * all, "%s, bf16 %d: the errors' rms is %g of the values'",
                  t->op->name, t->bf16, sqrt(off / all));
}

/* For random directions v of each input and parameter and a random u:
 * <u, J v> (differences of the reference) = <J^T u, v> (our backward) = <u, our
 * jvp of v>; one direction at a time, so every gradient is seen on its own. */
static void check_gradients(node_case *t, double *const *x, double *const *p)
{
    size_t n = cmi_desc_count(t->out), offsets[CM_OP_MAX_PARAMS] = {0};
    uint32_t all = 0;
    const int fixed = t->op == &cmi_op_distance;
    const int tables = t->op == &cmi_op_embed_time || t->op == &cmi_op_fourier; /* their frequencies are constants */
    const int frozen = fixed || tables;
    for (int i = 0; i < t->n_in; i++) all |= is_labels(t, i) ? 0 : 1u << i;
    const cm_plan_options train = {.slice = N,
                                   .threads = 1,
                                   .share = 1,
                                   .mode = CM_MODE_TRAIN,
                                   .inputs = all,
                                   .arithmetic.bf16 = t->bf16,
                                   .frozen = fixed};
    const double coarse = bf16_error(t); /* of values, data gradients and by tiles weight gradients; 0 in float32 */
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    cm_unpacking *unpacking;
    OK(cmi_plan_create(t->graph, &train, &plan));
    OK(cmi_weights_create(plan, t->params, &weights));
    OK(cmi_exec_create(plan, &exec));
    (void)cmi_param_offsets(t->graph, offsets);
    OK(cmi_unpacking_create(plan, 1, &unpacking));
    const size_t floats = cmi_plan_gradient_floats(plan);
    float *u = numbers(n, 1, 0), *dp = calloc(floats + 1, sizeof *dp);
    probe_poison(exec);
    load(t, exec);
    OK(cmi_exec_run(exec, weights));
    float *y = calloc(n, sizeof *y);
    memcpy(y, cmi_exec_output(exec, 0), n * sizeof *y);
    memcpy(cmi_exec_cotangent(exec), u, n * sizeof *u);
    OK(cmi_exec_backward(exec, weights));
    memcpy(dp, cmi_exec_gradients(exec), floats * sizeof *dp);
    OK(cmi_unpacking_run(unpacking, dp));
    double *jv = calloc(n, sizeof *jv);
    /* The absolute part: differences of values around 10 at h = 1e-5 carry 1e-15 * 10 / 1e-5 of noise. */
    for (int i = 0; i < t->n_in + t->n_params; i++) {
        int is_param = i >= t->n_in, k = is_param ? i - t->n_in : i;
        if (is_param ? frozen : is_labels(t, k)) continue;
        size_t m = is_param ? cmi_param_elements(&t->graph->params[k]) : cmi_desc_count(t->in[k]);
        float *v = numbers(m, 1, 0);
        double *tangent[CM_OP_MAX_IN] = {0}, *wide = tangent[k] = widen(v, m);
        directional(t, x, p, is_param ? NULL : tangent, is_param ? tangent : NULL, jv);
        const float *g = is_param ? dp + offsets[k] : cmi_exec_input_gradient(exec, k);
        double left = dot(n, jv, u), right = dot(m, wide, g);
        /* Where a norm takes away all that v adds, J v = 0 and float leaves a few of its 1.2e-7. */
        double floor = 1e-8 + 2e-7 * size_of(n, NULL, u) * size_of(m, NULL, v);
        double scale = size_of(n, jv, NULL) * size_of(n, NULL, u) + size_of(m, NULL, g) * size_of(m, NULL, v);
        ck_assert_msg(fabs(left - right) <= (3e-6 + coarse * (!is_param || (t->bf16 == 1 && k == 0))) * scale + floor,
                      "%s [%d,%d,%d]: %s %d: <u, J v> %.9g, <J^T u, v> %.9g", t->op->name, t->out.h, t->out.w,
                      t->out.c, is_param ? "parameter" : "input", k, left, right);
        if (!is_param) {
            const cm_plan_options options = {.slice = N,
                                             .threads = 1,
                                             .share = 1,
                                             .mode = CM_MODE_JVP,
                                             .inputs = 1u << k,
                                             .arithmetic.bf16 = t->bf16};
            cm_plan *jplan;
            cm_weights *jweights;
            cm_exec *jexec;
            OK(cmi_plan_create(t->graph, &options, &jplan));
            OK(cmi_weights_create(jplan, t->params, &jweights));
            OK(cmi_exec_create(jplan, &jexec));
            probe_poison(jexec);
            load(t, jexec);
            memcpy(cmi_exec_tangent_input(jexec, k), v, m * sizeof *v);
            OK(cmi_exec_run(jexec, jweights));
            for (size_t j = 0; j < n && !t->bf16; j++)
                ck_assert_msg(memcmp(&y[j], &cmi_exec_output(jexec, 0)[j], sizeof *y) == 0,
                              "%s: beside the tangent of input %d, value %zu is %.9g instead of %.9g", t->op->name, k,
                              j, (double)cmi_exec_output(jexec, 0)[j], (double)y[j]);
            const float *ours = cmi_exec_tangent_output(jexec, 0);
            double most = 0;
            for (size_t j = 0; j < n; j++) most = fmax(most, fabs(jv[j]));
            for (size_t j = 0; j < n; j++)
                ck_assert_msg(fabs((double)ours[j] - jv[j]) <= (2e-5 + coarse) * most + 5e-7,
                              "%s: tangent %zu of input %d is %g, expected %g", t->op->name, j, k, (double)ours[j],
                              jv[j]);
            double both = dot(n, jv, u);
            for (size_t j = 0; j < n; j++) jv[j] = (double)ours[j];
            ck_assert_msg(fabs(dot(n, jv, u) - both) <= (1e-5 + coarse) * scale + floor, "%s: <u, J v>", t->op->name);
            cmi_exec_free(jexec);
            cmi_weights_free(jweights);
            cmi_plan_free(jplan);
        }
        free(v), free(wide);
    }
    free(jv), free(u), free(dp), free(y);
    cmi_unpacking_free(unpacking);
    cmi_exec_free(exec);
    cmi_weights_free(weights);
    cmi_plan_free(plan);
}

/* The slope along `change` of x, of the tangents `along` or of p (the others NULL) of <u, y> + <w, ty>, by
 * differences of the naive loops. */
static double slope_of_both(const node_case *t, double *const *x, double *const *p, double *const *along, int i,
                            double *change, const float *u, const float *w)
{
    const size_t n = cmi_desc_count(t->out);
    const double h = 1e-4;
    const int kind = i < t->n_in       ? 0
                     : i < 2 * t->n_in ? 1
                                       : 2,
              k = kind == 0   ? i
                  : kind == 1 ? i - t->n_in
                              : i - 2 * t->n_in;
    const size_t m = kind < 2 ? cmi_desc_count(t->in[k]) : cmi_param_elements(&t->graph->params[k]);
    double *only[CM_OP_MAX_IN] = {0}, *out = calloc(n, sizeof *out), sum = 0;
    only[k] = change;
    if (kind == 1) { /* ty is linear in the tangents */
        directional(t, x, p, only, NULL, out);
        sum = dot(n, out, w);
        free(out);
        return sum;
    }
    directional(t, x, p, kind == 0 ? only : NULL, kind == 2 ? only : NULL, out);
    sum = dot(n, out, u);
    double *moved = (kind == 0 ? x : p)[k];
    for (int side = 1; side > -2; side -= 2) {
        for (size_t j = 0; j < m; j++) moved[j] += side * h * change[j];
        directional(t, x, p, along, NULL, out);
        for (size_t j = 0; j < m; j++) moved[j] -= side * h * change[j];
        sum += side * dot(n, out, w) / (2 * h);
    }
    free(out);
    return sum;
}

/* Gradients of <u, y> + <w, ty> with tangents of all inputs, one random direction at a time. */
static void check_through_tangents(node_case *t, double *const *x, double *const *p)
{
    const size_t n = cmi_desc_count(t->out);
    uint32_t all = 0;
    for (int i = 0; i < t->n_in; i++) all |= is_labels(t, i) ? 0 : 1u << i;
    const cm_plan_options options = {
        .slice = N, .threads = 1, .share = 1, .mode = CM_MODE_TRAIN_JVP, .inputs = all, .tangents = all};
    const int tables = t->op == &cmi_op_embed_time || t->op == &cmi_op_fourier;
    size_t offsets[CM_OP_MAX_PARAMS] = {0};
    double *along[CM_OP_MAX_IN] = {0};
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    cm_unpacking *unpacking;
    OK(cmi_plan_create(t->graph, &options, &plan));
    OK(cmi_weights_create(plan, t->params, &weights));
    OK(cmi_exec_create(plan, &exec));
    OK(cmi_unpacking_create(plan, 1, &unpacking));
    (void)cmi_param_offsets(t->graph, offsets);
    const size_t floats = cmi_plan_gradient_floats(plan);
    float *u = numbers(n, 1, 0), *w = numbers(n, 1, 0), *dp = calloc(floats + 1, sizeof *dp);
    probe_poison(exec);
    load(t, exec);
    for (int i = 0; i < t->n_in; i++) {
        if (is_labels(t, i)) continue;
        const size_t m = cmi_desc_count(t->in[i]);
        float *v = numbers(m, 1, 0);
        along[i] = widen(v, m);
        memcpy(cmi_exec_tangent_input(exec, i), v, m * sizeof *v);
        free(v);
    }
    OK(cmi_exec_run(exec, weights));
    memcpy(cmi_exec_cotangent(exec), u, n * sizeof *u);
    memcpy(cmi_exec_tangent_cotangent(exec), w, n * sizeof *w);
    OK(cmi_exec_backward(exec, weights));
    memcpy(dp, cmi_exec_gradients(exec), floats * sizeof *dp);
    OK(cmi_unpacking_run(unpacking, dp));
    for (int i = 0; i < 2 * t->n_in + t->n_params; i++) {
        const int k = i < t->n_in ? i : i < 2 * t->n_in ? i - t->n_in : i - 2 * t->n_in, is_param = i >= 2 * t->n_in;
        if (is_param ? tables : is_labels(t, k)) continue;
        const size_t m = is_param ? cmi_param_elements(&t->graph->params[k]) : cmi_desc_count(t->in[k]);
        const float *g = is_param      ? dp + offsets[k]
                         : i < t->n_in ? cmi_exec_input_gradient(exec, k)
                                       : cmi_exec_input_tangent_gradient(exec, k);
        float *v = numbers(m, 1, 0);
        double *wide = widen(v, m);
        const double left = slope_of_both(t, x, p, along, i, wide, u, w), right = dot(m, wide, g);
        const double scale = size_of(m, NULL, g) * size_of(m, NULL, v);
        /* Differences of differences leave some 1e-5 of values around 10. */
        ck_assert_msg(fabs(left - right) <= 1e-4 * scale + 1e-4 * (1 + size_of(n, NULL, w)),
                      "%s [%d,%d,%d]: gradient %d through the tangent: %.9g, expected %.9g of %g", t->op->name,
                      t->out.h, t->out.w, t->out.c, i, right, left, scale);
        free(v), free(wide);
    }
    for (int i = 0; i < t->n_in; i++) free(along[i]);
    free(u), free(w), free(dp);
    cmi_unpacking_free(unpacking);
    cmi_exec_free(exec);
    cmi_weights_free(weights);
    cmi_plan_free(plan);
}

/* tolerance: of the largest value of the result, per element of its sums. */
static void check_case(node_case *t, double tolerance)
{
    size_t n = cmi_desc_count(t->out);
    float *y = calloc(n, sizeof *y), *other = calloc(n, sizeof *other);
    double *x[CM_OP_MAX_IN] = {0}, *p[CM_OP_MAX_PARAMS] = {0}, *want = calloc(n, sizeof *want), most = 0;
    for (int i = 0; i < t->n_in; i++) x[i] = widen(t->x[i], cmi_desc_count(t->in[i]));
    for (int k = 0; k < t->n_params; k++) p[k] = widen(t->p[k], cmi_param_elements(&t->graph->params[k]));
    naive_forward(t->op, &t->attr, t->in, (const double *const *)x, t->labels, (const double *const *)p, t->out,
                  want);
    run_case(t, 1, 1, y);
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)y[i] - want[i]) <= tolerance * most,
                      "%s [%d,%d,%d,%d]: value %zu is %g, expected %g", t->op->name, t->out.n, t->out.h, t->out.w,
                      t->out.c, i, (double)y[i], want[i]);
    if (t->bf16) check_rms(t, n, y, want);
    static const int threads[] = {2, 3, 8};
    for (int k = 0; k < 3; k++) {
        run_case(t, 1, threads[k], other);
        ck_assert_msg(memcmp(y, other, n * sizeof *y) == 0, "%s: %d threads change the bits", t->op->name,
                      threads[k]);
    }
    run_case(t, 3, 1, other);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)other[i] - want[i]) <= tolerance * most, "%s: a slice of 3 is off", t->op->name);
    check_gradients(t, (double *const *)x, (double *const *)p);
    /* What selects has a kink where differences would be taken; a distance has no gradient through its derivative. */
    static int turn; /* every fourth case of a test, of ReLU's each: differences of differences take long */
    if (!t->bf16 && !(t->op->flags & CM_OP_SELECTS) && t->op != &cmi_op_distance &&
        (t->op == &cmi_op_conv2d_relu || turn++ % 4 == 0))
        check_through_tangents(t, (double *const *)x, (double *const *)p);
    for (int i = 0; i < t->n_in; i++) free(x[i]);
    for (int k = 0; k < t->n_params; k++) free(p[k]);
    free(want), free(y), free(other);
    close_case(t);
}

static cm_desc image(int low, int high, int channels)
{
    return (cm_desc){1, pick(low, high), pick(low, high), channels};
}

static void in_quarters(size_t n, float *x, float shift)
{
    for (size_t i = 0; i < n; i++) x[i] = rintf(4 * x[i]) / 4 + shift;
}

static const char *algorithm_of(const node_case *t)
{
    const cm_conv_options options = {.kernels = cmi_kernels_for(cmi_cpu_level()), .threads = cmi_one_thread()};
    const cm_conv_shape shape = {.n = 1,
                                 .h = t->in[0].h,
                                 .w = t->in[0].w,
                                 .c = t->in[0].c,
                                 .oc = t->attr.conv.out,
                                 .kernel = t->attr.conv.kernel,
                                 .stride = t->attr.conv.stride,
                                 .pad = t->attr.conv.pad,
                                 .kernel_w = t->attr.conv.kernel_w,
                                 .pad_w = t->attr.conv.pad_w};
    static cm_convolution conv;
    cmi_conv_init(&conv, &options, &shape);
    return conv.name ? conv.name : "";
}

/* Of direct sums, and of those behind Winograd's transforms. */
static double tolerance_of(const node_case *t)
{
    const char *name = algorithm_of(t);
    return strcmp(name, "winograd line of 7") == 0 ? 1e-5 : strncmp(name, "winograd", 8) == 0 ? 6e-6 : 3e-6;
}

START_TEST(conv2d)
{
    for (int i = 0; i < ROUNDS; i++) {
        static const int kernels[] = {1, 3, 5};
        int k = kernels[pick(0, 2)], c = pick(1, 40), out = pick(1, 40), stride = pick(1, 2), pad = pick(0, k / 2),
            bias = pick(0, 1);
        if (i % 16 == 0)
            k = 1, stride = 1, pad = 0, c = 16 * pick(8, 10), out = 16 * pick(9, 10); /* with AMX by tiles */
        const float scale = pick(0, 1) ? 0.7f : 0;                                    /* 0: nothing is added */
        node_case t = {.op = &cmi_op_conv2d,
                       .attr = {.conv = {out, k, stride, pad, bias, scale, 0, 0, 0}},
                       .n_in = scale != 0 ? 2 : 1};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = image(k, 13, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        check_case(&t, tolerance_of(&t));
    }
}
END_TEST

/* Large kernels over few rows, which several threads cut into strips that reach beyond their neighbours. */
START_TEST(conv2d_few_rows)
{
    for (int i = 0; i < ROUNDS; i++) {
        const int k = i % 2 ? 5 : 7, pad = pick(1, k / 2), stride = i % 4 == 0 ? 2 : 1;
        const int c = 16 * pick(1, 4), out = 16 * pick(1, 4);
        node_case t = {.op = &cmi_op_conv2d, .attr = {.conv = {out, k, stride, pad, 1, 0, 0, 0, 0}}, .n_in = 1};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, 1};
        t.in[0] = image(7, 13, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        check_case(&t, tolerance_of(&t));
    }
}
END_TEST

/* Rows and columns of a kernel that differ, as 1 x 7 and 7 x 1; with many channels too. */
START_TEST(conv2d_oblong)
{
    for (int i = 0; i < ROUNDS; i++) {
        static const int kernels[] = {1, 3, 7};
        const int k = kernels[pick(0, 2)], k_w = kernels[pick(0, 2)], stride = i % 4 ? 1 : 2, bias = pick(0, 1);
        const int c = i % 3 ? pick(1, 40) : 16 * pick(1, 9), out = i % 3 ? pick(1, 40) : 16 * pick(1, 9);
        const int pad = pick(0, k / 2), pad_w = pick(0, k_w / 2);
        const float scale = pick(0, 1) ? 0.7f : 0;
        node_case t = {.op = &cmi_op_conv2d,
                       .attr = {.conv = {out, k, stride, pad, bias, scale, 0, k_w, pad_w}},
                       .n_in = scale != 0 ? 2 : 1};
        const int64_t shapes[2][4] = {{out, c, k, k_w}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = image(7, 13, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        check_case(&t, tolerance_of(&t));
    }
}
END_TEST

/* Kernels of one row or column, 5 x 5 and 3 x 3 without padding over multiples of 16 channels go by tiles of their
 * own, with sides that these do not divide.  Largest errors over the largest value in 33 draws of lines of 7: 6.6e-6
 * (mean 3.8e-6), in 46 of 5 x 5: 2.3e-6, in 33 of lines of 3: 1.1e-6. */
START_TEST(winograd_others)
{
    static const struct {
        int k, k_w, pad, pad_w, low;
        const char *name;
    } kinds[] = {{1, 7, 0, 3, 4, "winograd line of 7"},  {7, 1, 3, 0, 4, "winograd line of 7"},
                 {1, 3, 0, 1, 4, "winograd line of 3"},  {3, 1, 1, 0, 4, "winograd line of 3"},
                 {5, 0, 2, 0, 4, "winograd 2x2 of 5x5"}, {3, 0, 0, 0, 18, "winograd 4x4"},
                 {3, 0, 0, 0, 6, "winograd 2x2"}};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    for (int i = 0; i < by_effort(1, 2, 2) * KINDS + ROUNDS / 4; i++) {
        static const int wide[] = {16, 48, 64, 112, 32, 192};
        const int widest = by_effort(2, 5, 5), c = wide[pick(0, widest)], out = wide[pick(0, widest)],
                  bias = pick(0, 1), kind = i % KINDS;
        const int k = kinds[kind].k, k_w = kinds[kind].k_w, low = kinds[kind].low;
        const float scale = pick(0, 1) ? 0.7f : 0;
        node_case t = {.op = &cmi_op_conv2d,
                       .attr = {.conv = {out, k, 1, kinds[kind].pad, bias, scale, 0, k_w, kinds[kind].pad_w}},
                       .n_in = scale != 0 ? 2 : 1};
        const int64_t shapes[2][4] = {{out, c, k, k_w ? k_w : k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = image(low, low + 3, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        ck_assert_str_eq(algorithm_of(&t), kinds[kind].name);
        open_case(&t, shapes, ranks);
        check_case(&t, tolerance_of(&t));
    }
}
END_TEST

/* 3 x 3 over multiples of 16 channels: tiles of 4 x 4 from side 16 on, with at most 128 channels
 * from 8 on, of 2 x 2 below, with sides that tiles do not divide.  Largest errors over the largest
 * value in 3000 draws of such layers: 4.1e-6 (mean 1.5e-6), of 2 x 2 1.1e-6 (0.4e-6). */
START_TEST(winograd)
{
    for (int i = 0; i < ROUNDS / 4 + 4; i++) {
        static const int wide[] = {16, 48, 64, 112, 32, 288};
        int c = wide[pick(0, i % 4 ? 4 : 5)], out = wide[pick(0, 4)], bias = pick(0, 1), large = i % 2;
        const int side = c > 128 ? 16 : 8;
        const float scale = pick(0, 1) ? 0.7f : 0;
        node_case t = {
            .op = &cmi_op_conv2d, .attr = {.conv = {out, 3, 1, 1, bias, scale, 0, 0, 0}}, .n_in = scale != 0 ? 2 : 1};
        const int64_t shapes[2][4] = {{out, c, 3, 3}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = large    ? image(side, side + 5, c)
                  : i == 0 ? image(4, 4, c) /* fewer tiles than threads */
                           : image(4, side - 1, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        ck_assert_int_eq(cmi_winograd_rule(0, 3, 1, 1, c, out, t.in[0].h, t.in[0].w),
                         large ? CM_WINOGRAD_4X4 : CM_WINOGRAD_2X2);
        open_case(&t, shapes, ranks);
        check_case(&t, large ? 6e-6 : 2e-6);
    }
    ck_assert_int_eq(cmi_winograd_rule(0, 3, 1, 1, 24, 32, 16, 16), 0);
    ck_assert_int_eq(cmi_winograd_rule(0, 3, 2, 1, 32, 32, 16, 16), 0);
    ck_assert_int_eq(cmi_winograd_rule(0, 1, 1, 0, 32, 32, 16, 16), 0);
    ck_assert_int_eq(cmi_winograd_rule(0, 3, 1, 1, 32, 32, 3, 16), 0);
}
END_TEST

/* Points that each stand for four: by the tile of its own, from sides of 2 on and where tiles end
 * inside, gradients by theirs; where channels do not divide of the large image. */
START_TEST(conv2d_up)
{
    for (int i = 0; i < ROUNDS / 4 + 6; i++) {
        static const int wide[] = {16, 48, 64, 112, 32, 288};
        const int own = i % 3, c = own ? wide[pick(0, 5)] : pick(1, 20), out = own ? wide[pick(0, 4)] : pick(1, 20);
        const int bias = pick(0, 1), k = own || pick(0, 1) ? 3 : 5;
        const float scale = pick(0, 1) ? 0.7f : 0;
        node_case t = {.op = &cmi_op_conv2d,
                       .attr = {.conv = {out, k, 1, k / 2, bias, scale, 1, 0, 0}},
                       .n_in = scale != 0 ? 2 : 1,
                       .bf16 = own == 2 ? pick(1, 4) : 0};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        const cm_conv_shape small = {
            .n = 1, .h = 2, .w = 2, .c = c, .oc = out, .kernel = k, .stride = 1, .pad = k / 2, .up = 1};
        const cm_conv_options options = {
            .kernels = cmi_kernels_for(cmi_cpu_level()), .threads = cmi_one_thread(), .bf16 = t.bf16};
        cm_convolution conv;
        cmi_conv_init(&conv, &options, &small);
        if (own) ck_assert_ptr_eq(conv.algorithm, t.bf16 == 1 ? NULL : &cmi_conv_winograd);
        t.in[0] = i < 3 ? image(2, 2, c) : image(2, 9, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        check_case(&t, t.bf16 ? bf16_error(&t) : 3e-6);
    }
}
END_TEST

/* What serves a layer's values serves its data gradient, whose channels change places, at every level. */
START_TEST(conv2d_transposed)
{
    for (int i = 0; i < 1000; i++) {
        const int k = pick(0, 1) ? 3 : 1, level = pick(CM_CPU_BASELINE, CM_CPU_AMX_BF16), bf16 = pick(0, 4);
        const int up = pick(0, 1), scale = up ? 2 : 1;
        cm_conv_shape s = {.n = 1,
                           .h = pick(1, 20),
                           .w = pick(1, 20),
                           .c = 16 * pick(1, 20),
                           .oc = 16 * pick(1, 20),
                           .kernel = k,
                           .stride = 1,
                           .pad = k / 2,
                           .up = up};
        const cm_conv_options options = {
            .kernels = cmi_kernels_for(level), .threads = cmi_one_thread(), .bf16 = bf16};
        cm_convolution values, gradient;
        cmi_conv_init(&values, &options, &s);
        s = (cm_conv_shape){.n = 1,
                            .h = scale * s.h,
                            .w = scale * s.w,
                            .c = s.oc,
                            .oc = s.c,
                            .kernel = k,
                            .stride = 1,
                            .pad = k / 2,
                            .transposed = 1,
                            .up = up};
        cmi_conv_init(&gradient, &options, &s);
        ck_assert_msg(values.algorithm == gradient.algorithm,
                      "level %d, bf16 %d, kernel %d, %d to %d channels, %d x %d: %s and %s", level, bf16, k, s.oc,
                      s.c, s.h, s.w, values.name ? values.name : "none", gradient.name ? gradient.name : "none");
    }
}
END_TEST

/* One algorithm serves every layer; with small memory, and where nothing else does, oneDNN's. */
START_TEST(conv2d_always_served)
{
    for (int i = 0; i < 1000; i++) {
        const int k = pick(1, 5), bf16 = pick(0, 4);
        cm_conv_options options = {.kernels = cmi_kernels_for(pick(CM_CPU_BASELINE, CM_CPU_AMX_BF16)),
                                   .threads = cmi_one_thread(),
                                   .bf16 = bf16};
        cm_conv_shape s = {.n = 1,
                           .h = pick(k, 20),
                           .w = pick(k, 20),
                           .c = pick(1, 40),
                           .oc = pick(1, 40),
                           .kernel = k,
                           .stride = pick(1, 2),
                           .pad = pick(0, k / 2),
                           .transposed = pick(0, 1)};
        cm_convolution conv;
        cmi_conv_init(&conv, &options, &s);
        ck_assert_ptr_nonnull(conv.algorithm);
        if (s.c % 16 && s.oc % 16) ck_assert_ptr_eq(conv.algorithm, &cmi_conv_dnnl);
        options.small_memory = 1;
        cmi_conv_init(&conv, &options, &s);
        ck_assert_ptr_eq(conv.algorithm, &cmi_conv_dnnl);
        s.up = 1;
        cmi_conv_init(&conv, &options, &s);
        ck_assert_ptr_null(conv.algorithm);
    }
}
END_TEST

/* Packed weights stay when the plan they were packed for goes: the next plan shares them, and they follow changed
 * values.  Of oneDNN, of Winograd, of few outputs. */
START_TEST(conv2d_weights_outlive_plans)
{
    static const struct {
        int c, out, kernel;
    } layers[] = {{7, 9, 5}, {24, 40, 3}, {16, 32, 3}, {32, 3, 3}};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int c = layers[i].c, out = layers[i].out, k = layers[i].kernel;
        node_case t = {.op = &cmi_op_conv2d,
                       .attr = {.conv = {out, k, 1, k / 2, 1, 0, 0, 0, 0}},
                       .n_in = 1,
                       .in = {{1, 16, 16, c}}};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, 1};
        open_case(&t, shapes, ranks);
        const size_t n = cmi_desc_count(t.out), weights = (size_t)out * (size_t)c * (size_t)k * (size_t)k;
        float *first = calloc(n, sizeof *first), *later = calloc(n, sizeof *later), *fresh = calloc(n, sizeof *fresh);
        run_case(&t, N, 1, first);
        const size_t bytes = cmi_params_copied_bytes(t.params);
        ck_assert_uint_ge(bytes, weights * sizeof(float));
        run_case(&t, N, 1, later);
        ck_assert_mem_eq(first, later, n * sizeof *first);
        ck_assert_uint_eq(cmi_params_copied_bytes(t.params), bytes);

        for (size_t j = 0; j < weights; j++) t.p[0][j] = 0.5f - t.p[0][j];
        OK(cmi_params_refresh(t.params, 2));
        run_case(&t, N, 1, later);
        cmi_params_free(t.params);
        const cm_param_source sources[2] = {{t.p[0], weights * sizeof(float), t.p[0], read_copy, NULL, NULL},
                                            {t.p[1], (size_t)out * sizeof(float), t.p[1], read_copy, NULL, NULL}};
        OK(cmi_params_create(t.graph, sources, &t.params));
        run_case(&t, N, 1, fresh);
        ck_assert_mem_ne(later, first, n * sizeof *first);
        ck_assert_mem_eq(later, fresh, n * sizeof *later);
        free(first);
        free(later);
        free(fresh);
        close_case(&t);
    }
}
END_TEST

/* To at most three channels: odd sides, one row, one column; float32 whatever the network's arithmetic. */
START_TEST(few_outputs)
{
    for (int i = 0; i < ROUNDS / 4 + 4; i++) {
        int c = 16 * pick(1, 9), out = pick(1, 3), bias = pick(0, 1);
        const float scale = pick(0, 1) ? 0.7f : 0;
        node_case t = {.op = &cmi_op_conv2d,
                       .attr = {.conv = {out, 3, 1, 1, bias, scale, 0, 0, 0}},
                       .n_in = scale != 0 ? 2 : 1,
                       .bf16 = i % 3 == 2};
        const int64_t shapes[2][4] = {{out, c, 3, 3}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = i == 0 ? image(1, 1, c) : image(1, 20, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        check_case(&t, 3e-6);
    }
    ck_assert_int_eq(cmi_few_outputs_rule(3, 1, 1, 32, 4), 0);
    ck_assert_int_eq(cmi_few_outputs_rule(3, 1, 1, 24, 3), 0);
    ck_assert_int_eq(cmi_few_outputs_rule(3, 2, 1, 32, 3), 0);
    ck_assert_int_eq(cmi_few_outputs_rule(1, 1, 0, 32, 3), 0);
    ck_assert_int_eq(cmi_few_outputs_rule(3, 1, 1, 32, 3), 1);
}
END_TEST

/* The same and 1 x 1 in bfloat16, emulated where there are no instructions for it. */
START_TEST(conv2d_bf16)
{
    for (int i = 0; i < ROUNDS / 4 + 4; i++) {
        static const int wide[] = {16, 48, 64, 112, 32, 288};
        int c = wide[pick(0, i % 4 ? 4 : 5)], out = wide[pick(0, 4)], bias = pick(0, 1), k = i % 3 ? 3 : 1;
        const float scale = pick(0, 1) ? 0.7f : 0;
        node_case t = {.op = &cmi_op_conv2d,
                       .attr = {.conv = {out, k, 1, k / 2, bias, scale, 0, 0, 0}},
                       .n_in = scale != 0 ? 2 : 1,
                       .bf16 = pick(1, 4)};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = i % 2 ? image(16, 21, c) : i == 0 ? image(1, 4, c) /* fewer tiles than threads */ : image(4, 15, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        check_case(&t, bf16_error(&t));
    }
    for (int tile = CM_WINOGRAD_2X2; tile <= CM_WINOGRAD_4X4; tile++) {
        ck_assert_int_eq(cmi_winograd_rule(tile, 3, 1, 1, 32, 32, 16, 16), tile);
        ck_assert_int_eq(cmi_winograd_rule(tile, 3, 1, 1, 32, 32, 16, 15), CM_WINOGRAD_2X2);
    }
    ck_assert_int_eq(cmi_winograd_rule(2, 1, 1, 0, 32, 32, 1, 1), CM_WINOGRAD_1X1);
    ck_assert_int_eq(cmi_winograd_rule(2, 1, 1, 0, 32, 24, 8, 8), 0);
}
END_TEST

START_TEST(linear)
{
    for (int i = 0; i < ROUNDS; i++) {
        int k = pick(1, 300), out = pick(1, 200), bias = pick(0, 1);
        node_case t = {.op = &cmi_op_linear, .attr = {.linear = {out, bias}}, .n_in = 1};
        const int64_t shapes[2][4] = {{out, k, 0, 0}, {out, 0, 0, 0}};
        const int ranks[2] = {2, bias};
        t.in[0] = (cm_desc){1, 1, 1, k};
        open_case(&t, shapes, ranks);
        check_case(&t, 3e-6);
    }
}
END_TEST

START_TEST(groupnorm)
{
    for (int i = 0; i < ROUNDS; i++) {
        int groups = pick(1, 8), c = groups * pick(1, 9), mode = pick(0, 2);
        node_case t = {.op = &cmi_op_groupnorm,
                       .attr = {.groupnorm = {groups, mode, pick(0, 1), 1e-5f, 0}},
                       .n_in = mode ? 2 : 1};
        const int64_t shapes[2][4] = {{c, 0, 0, 0}, {c, 0, 0, 0}};
        const int ranks[2] = {1, 1};
        t.in[0] = image(1, 19, c);
        t.in[1] = (cm_desc){1, 1, 1, mode == CM_GN_SCALE_SHIFT ? 2 * c : c};
        t.attr.groupnorm.whole_factor = mode == CM_GN_SCALE_SHIFT && i % 2;
        open_case(&t, shapes, ranks);
        check_case(&t, 5e-6);
    }
}
END_TEST

/* Of one input with q, k, v or of two, q and k = v. */
static node_case attention_case(int heads, int layout, int d, cm_desc points)
{
    const int n_in = pick(1, 2);
    node_case t = {.op = &cmi_op_attention, .attr = {.attention = {heads, layout}}, .n_in = n_in};
    points.c = (n_in > 1 ? 1 : 3) * heads * d;
    t.in[0] = t.in[1] = points;
    return t;
}

START_TEST(attention)
{
    for (int i = 0; i < ROUNDS / 2; i++) {
        int heads = pick(1, 4), d = pick(1, 24);
        node_case t =
            attention_case(heads, pick(0, 2), d, image(1, 13, 1)); /* up to 169 tokens: whole blocks and a tail */
        open_case(&t, NULL, NULL);
        check_case(&t, 1e-5);
    }
}
END_TEST

/* Tokens and d multiples of 16: our own products, panels of every width. */
START_TEST(attention_in_panels)
{
    static const int sides[8][2] = {{4, 4}, {4, 12}, {8, 10}, {7, 16}, {12, 12}, {16, 11}, {2, 8}, {16, 16}};
    static const int sizes[6] = {16, 32, 48, 64, 80, 112};
    for (int i = 0; i < ROUNDS / 4 + 4; i++) {
        const int *side = sides[i % 8];
        int heads = pick(1, 3), d = sizes[pick(0, i % 8 == 7 ? 1 : 5)];
        node_case t = attention_case(heads, i % 3, d, (cm_desc){1, side[0], side[1], 1});
        open_case(&t, NULL, NULL);
        check_case(&t, 1e-5);
    }
}
END_TEST

/* Tokens and d multiples of 32, on tiles, and others, which stay float32. */
START_TEST(attention_in_bf16)
{
    static const int sides[6][2] = {{8, 4}, {8, 8}, {16, 6}, {4, 8}, {16, 16}, {7, 8}};
    for (int i = 0; i < ROUNDS / 4 + 6; i++) {
        const int *side = sides[i % 6];
        int heads = pick(1, 3), d = 32 * pick(1, i % 6 == 4 ? 2 : 4);
        node_case t = attention_case(heads, i / 6 % 3, d, (cm_desc){1, side[0], side[1], 1});
        t.bf16 = 1;
        open_case(&t, NULL, NULL);
        check_case(&t, bf16_error(&t));
    }
}
END_TEST

START_TEST(fir)
{
    static const double filters[4][4] = {{1, 1}, {1, 3, 3, 1}, {1, 2, 1}, {1, 2, 4, 3}};
    static const int lengths[4] = {2, 4, 3, 4};
    for (int i = 0; i < ROUNDS; i++) {
        int which = pick(0, 3), up = pick(0, 1), n = lengths[which];
        node_case t = {.op = &cmi_op_fir, .n_in = 1};
        t.attr.fir.up = up;
        t.attr.fir.stride = up ? 2 : pick(1, 2);
        t.attr.fir.pad = pick(0, 1) ? (n - 1) / 2 : up ? 0 : pick(0, 3);
        t.attr.fir.n = n;
        memcpy(t.attr.fir.f, filters[which], sizeof filters[which]);
        t.in[0] = image(4, 11, pick(1, 40));
        open_case(&t, NULL, NULL);
        check_case(&t, 1e-6);
    }
}
END_TEST

START_TEST(pointwise)
{
    for (int i = 0; i < ROUNDS; i++) {
        int c = pick(1, 70), f = c + pick(0, 1) * pick(1, 30);
        cm_desc d = image(1, 17, c), one = {1, 1, 1, 1};
        node_case silu = {.op = &cmi_op_silu, .n_in = 1, .in = {d}};
        node_case add = {.op = &cmi_op_add, .attr = {.add = {0.70710678f}}, .n_in = 2, .in = {d, d}};
        node_case scale = {.op = &cmi_op_scale, .n_in = 2, .in = {d, one}};
        node_case mix = {.op = &cmi_op_mix, .n_in = 4, .in = {d, {1, d.h, d.w, f}, one, one}};
        node_case concat = {.op = &cmi_op_concat, .n_in = 2, .in = {d, {1, d.h, d.w, f}}};
        node_case four = {.op = &cmi_op_concat, .n_in = pick(3, 4), .in = {d, {1, d.h, d.w, f}, d, {1, d.h, d.w, 3}}};
        node_case *const all[] = {&silu, &add, &scale, &mix, &concat, &four};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            open_case(all[k], NULL, NULL);
            check_case(all[k], 1e-6);
        }
    }
}
END_TEST

START_TEST(embeddings)
{
    for (int i = 0; i < ROUNDS; i++) {
        int size = pick(4, 65), kind = pick(0, 2), classes = pick(1, 12), transposed = pick(0, 1), bias = pick(0, 1);
        node_case time = {.op = &cmi_op_embed_time,
                          .attr = {.time = {kind, kind ? size / 2 * 2 : size, pick(0, 1)}},
                          .n_in = 1,
                          .in = {{1, 1, 1, 1}}};
        const int64_t freqs[1][4] = {{size / 2, 0, 0, 0}};
        const int rank[2] = {1, 0};
        open_case(&time, freqs, kind == CM_TIME_FOURIER ? rank : NULL);
        check_case(&time, 1e-6);
        node_case label = {.op = &cmi_op_embed_label,
                           .attr = {.label = {classes, size, bias, transposed, 1.5f}},
                           .n_in = 2,
                           .in = {{1, 1, 1, size}, {1, 1, 1, 1}}};
        const int64_t table[2][4] = {{transposed ? size : classes, transposed ? classes : size, 0, 0},
                                     {size, 0, 0, 0}};
        const int ranks[2] = {2, bias};
        for (int n = 0; n < N; n++) label.labels[n] = pick(-1, classes - 1);
        open_case(&label, table, ranks);
        check_case(&label, 1e-6);
    }
}
END_TEST

START_TEST(unit_norm)
{
    for (int i = 0; i < ROUNDS; i++) {
        const int heads = i % 2 ? pick(1, 3) : 1, parts = i % 2 ? 3 : 1, size = pick(2, 40);
        node_case t = {.op = &cmi_op_unit_norm,
                       .attr = {.unit_norm = {heads, parts, 0.05f}},
                       .n_in = 1,
                       .in = {image(1, 17, heads * parts * size)}};
        open_case(&t, NULL, NULL);
        check_case(&t, 1e-6);
    }
    cm_desc out, in = {1, 6, 2, 16};
    const cm_attr attr = {.unit_norm = {2, 3, 0}};
    FAILS(cmi_op_unit_norm.shape(&attr, &in, 1, &out), CM_ERR_SHAPE, "16 channels");
}
END_TEST

/* A vector of zeros stays one, with the slope 1 / eps. */
START_TEST(unit_norm_of_zeros)
{
    node_case t = {.op = &cmi_op_unit_norm, .attr = {.unit_norm = {1, 1, 1e-4f}}, .n_in = 1, .in = {{1, 2, 2, 5}}};
    open_case(&t, NULL, NULL);
    memset(t.x[0], 0, 5 * sizeof(float));
    const cm_plan_options train = {.slice = N, .threads = 1, .share = 1, .mode = CM_MODE_TRAIN, .inputs = 1};
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    OK(cmi_plan_create(t.graph, &train, &plan));
    OK(cmi_weights_create(plan, t.params, &weights));
    OK(cmi_exec_create(plan, &exec));
    load(&t, exec);
    OK(cmi_exec_run(exec, weights));
    for (int i = 0; i < 5; i++) ck_assert(cmi_exec_output(exec, 0)[i] == 0);
    for (size_t i = 0; i < cmi_desc_count(t.out); i++) cmi_exec_cotangent(exec)[i] = 1;
    OK(cmi_exec_backward(exec, weights));
    for (int i = 0; i < 5; i++) ck_assert_float_eq_tol(cmi_exec_input_gradient(exec, 0)[i], 1e4f, 0.01f);
    cmi_exec_free(exec);
    cmi_weights_free(weights);
    cmi_plan_free(plan);
    close_case(&t);
}
END_TEST

START_TEST(modulate)
{
    for (int i = 0; i < ROUNDS; i++) {
        const cm_desc d = image(1, 17, pick(1, 70));
        node_case t = {.op = &cmi_op_modulate, .n_in = 2, .in = {d, {1, 1, 1, d.c}}};
        open_case(&t, NULL, NULL);
        check_case(&t, 1e-6);
    }
    cm_desc out, in[2] = {{1, 6, 2, 16}, {1, 1, 1, 15}};
    FAILS(cmi_op_modulate.shape(NULL, in, 2, &out), CM_ERR_SHAPE, "vector of 15");
}
END_TEST

/* No value within what differences step over around the limit. */
START_TEST(clamp)
{
    for (int i = 0; i < ROUNDS; i++) {
        node_case t = {.op = &cmi_op_clamp, .attr = {.clamp = {1.25f}}, .n_in = 1, .in = {image(1, 17, pick(1, 70))}};
        open_case(&t, NULL, NULL);
        for (size_t k = 0; k < cmi_desc_count(t.in[0]); k++)
            if (fabs(fabs((double)t.x[0][k]) - 1.25) < 1e-3) t.x[0][k] = 0;
        check_case(&t, 1e-6);
    }
    cm_desc out, in = {1, 6, 2, 16};
    const cm_attr attr = {.clamp = {0}};
    FAILS(cmi_op_clamp.shape(&attr, &in, 1, &out), CM_ERR_ARGUMENT, "more than 0");
}
END_TEST

START_TEST(balance_and_ones)
{
    for (int i = 0; i < ROUNDS; i++) {
        const cm_desc d = image(1, 17, pick(1, 70)), e = {1, d.h, d.w, pick(1, 40)};
        node_case balance = {.op = &cmi_op_balance, .attr = {.balance = {{0.5f, 1.5f}}}, .n_in = 2, .in = {d, e}};
        node_case ones = {.op = &cmi_op_ones, .n_in = 1, .in = {d}};
        open_case(&balance, NULL, NULL);
        check_case(&balance, 1e-6);
        open_case(&ones, NULL, NULL);
        check_case(&ones, 1e-6);
    }
}
END_TEST

START_TEST(fourier)
{
    for (int i = 0; i < ROUNDS; i++) {
        const int64_t size = pick(1, 65), tables[2][4] = {{size, 0, 0, 0}, {size, 0, 0, 0}};
        const int ranks[2] = {1, 1};
        node_case t = {.op = &cmi_op_fourier, .attr = {.fourier = {(int32_t)size}}, .n_in = 1, .in = {{1, 1, 1, 1}}};
        open_case(&t, tables, ranks);
        check_case(&t, 1e-6);
    }
    cm_desc out, in = {1, 1, 1, 2};
    const cm_attr attr = {.fourier = {4}};
    FAILS(cmi_op_fourier.shape(&attr, &in, 1, &out), CM_ERR_SHAPE, "a number per image");
}
END_TEST

/* A mean a million times the spread: E[x^2] - E[x]^2 would lose everything. */
START_TEST(groupnorm_far_from_zero)
{
    node_case t = {.op = &cmi_op_groupnorm,
                   .attr = {.groupnorm = {2, CM_GN_PLAIN, 0, 1e-5f, 0}},
                   .n_in = 1,
                   .in = {{1, 8, 8, 16}}};
    const int64_t shapes[2][4] = {{16, 0, 0, 0}, {16, 0, 0, 0}};
    const int ranks[2] = {1, 1};
    open_case(&t, shapes, ranks);
    for (size_t i = 0; i < cmi_desc_count(t.in[0]); i++) t.x[0][i] = 1e4f + (float)(i % 7) * 0.01f;
    check_case(&t, 1e-5);
}
END_TEST

/* Values that differ by more than finite differences move them: no two are equal, none is at a kink. */
static void spread_out(node_case *t)
{
    const size_t n = cmi_desc_count(t->in[0]);
    for (size_t i = 0; i < n; i++) {
        const double v = (double)(i * 48271u % n) / (double)n * 10 - 5;
        t->x[0][i] = (float)(fabs(v) < 1e-3 ? 7 : v);
    }
}

/* With ReLU behind it, by every algorithm and kind of sum.  All numbers are quarters, so that no sum lies at the
 * kink. */
START_TEST(conv2d_relu)
{
    static const struct {
        int k, stride, pad, c, out, low;
    } kinds[] = {{3, 1, 1, 16, 32, 12}, {3, 1, 1, 32, 16, 4}, {3, 1, 1, 48, 3, 5},   {1, 1, 0, 160, 144, 6},
                 {3, 2, 0, 32, 32, 7},  {5, 1, 2, 16, 16, 6}, {3, 1, 0, 16, 16, 18}, {3, 1, 1, 3, 16, 9}};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    for (int i = 0; i < 2 * KINDS; i++) {
        const int kind = i % KINDS, k = kinds[kind].k, out = kinds[kind].out, c = kinds[kind].c;
        const float scale = i < KINDS ? 0 : 0.5f;
        node_case t = {.op = &cmi_op_conv2d_relu,
                       .attr = {.conv = {out, k, kinds[kind].stride, kinds[kind].pad, 1, scale, 0, 0, 0}},
                       .n_in = scale != 0 ? 2 : 1};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, 1};
        t.in[0] = image(kinds[kind].low, kinds[kind].low + 3, c);
        OK(cmi_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        for (int n = 0; n < t.n_in; n++) in_quarters(cmi_desc_count(t.in[n]), t.x[n], 0);
        in_quarters((size_t)(out * c * k * k), t.p[0], 0);
        in_quarters((size_t)out, t.p[1], 0.03125f);
        check_case(&t, 6e-6);
    }
}
END_TEST

START_TEST(relu)
{
    for (int i = 0; i < ROUNDS; i++) {
        node_case t = {.op = &cmi_op_relu, .n_in = 1, .in = {image(1, 17, pick(1, 70))}};
        open_case(&t, NULL, NULL);
        spread_out(&t);
        check_case(&t, 1e-6);
    }
}
END_TEST

START_TEST(pool)
{
    static const struct {
        int kernel, stride, pad, ceil;
    } windows[] = {{2, 2, 0, 0}, {3, 2, 0, 0}, {3, 2, 0, 1}, {3, 1, 1, 0}, {2, 3, 1, 1}, {0, 1, 0, 0}};
    for (int i = 0; i < ROUNDS; i++) {
        const int w = i % 6;
        node_case t = {
            .op = &cmi_op_pool,
            .attr = {.pool = {pick(0, 1), windows[w].kernel, windows[w].stride, windows[w].pad, windows[w].ceil}},
            .n_in = 1,
            .in = {image(3, 17, pick(1, 70))}};
        open_case(&t, NULL, NULL);
        spread_out(&t);
        check_case(&t, 1e-6);
    }
    cm_desc out, in = {1, 6, 2, 8};
    cm_attr attr = {.pool = {0, 3, 2, 0, 1}};
    FAILS(cmi_op_pool.shape(&attr, &in, 1, &out), CM_ERR_SHAPE, "6 x 2");
    in.w = 6; /* 0..2, 2..4, 4..6: the third hangs over */
    OK(cmi_op_pool.shape(&attr, &in, 1, &out));
    ck_assert_int_eq(out.h, 3);
    attr.pool.ceil = 0;
    OK(cmi_op_pool.shape(&attr, &in, 1, &out));
    ck_assert_int_eq(out.h, 2);
}
END_TEST

START_TEST(resize)
{
    for (int i = 0; i < ROUNDS; i++) {
        node_case t = {.op = &cmi_op_resize, .n_in = 1, .in = {image(1, 17, pick(1, 9))}};
        t.attr.resize.h = pick(1, 40), t.attr.resize.w = pick(1, 40);
        open_case(&t, NULL, NULL);
        check_case(&t, 1e-6);
    }
}
END_TEST

START_TEST(standardize)
{
    for (int i = 0; i < ROUNDS; i++) {
        node_case t = {.op = &cmi_op_standardize, .n_in = 1, .in = {image(1, 17, i % 2 ? 1 : 3)}};
        const cm_attr attr = {.standardize = {3, {-0.5f, 0, 0.25f, 0}, {0.5f, 2, 0.75f, 1}}};
        t.attr = attr;
        open_case(&t, NULL, NULL);
        check_case(&t, 1e-6);
    }
    cm_desc out, in = {1, 6, 2, 2};
    const cm_attr attr = {.standardize.channels = 3};
    FAILS(cmi_op_standardize.shape(&attr, &in, 1, &out), CM_ERR_SHAPE, "2 channels");
}
END_TEST

START_TEST(distance)
{
    for (int i = 0; i < ROUNDS; i++) {
        const cm_desc features = image(1, 9, pick(2, 70));
        const int64_t shapes[1][4] = {{1, features.c, 1, 1}};
        const int ranks[2] = {4, 0};
        node_case t = {.op = &cmi_op_distance, .n_in = 2, .in = {features, features}};
        t.attr.distance.map = i % 2;
        open_case(&t, shapes, ranks);
        check_case(&t, 1e-5);
    }
    cm_desc out, in[2] = {{1, 6, 2, 2}, {1, 6, 3, 2}};
    const cm_attr attr = {.distance.map = 0};
    FAILS(cmi_op_distance.shape(&attr, in, 2, &out), CM_ERR_SHAPE, "differ");
}
END_TEST

/* Where all channels are 0 there is no slope, and what is not reached gets none. */
START_TEST(distance_of_dead_points)
{
    const cm_desc features = {1, 2, 2, 5};
    const int64_t shapes[1][4] = {{1, 5, 1, 1}};
    const int ranks[2] = {4, 0};
    node_case t = {.op = &cmi_op_distance, .n_in = 2, .in = {features, features}};
    open_case(&t, shapes, ranks);
    memset(t.x[0], 0, 5 * sizeof(float));
    const cm_plan_options train = {
        .slice = N, .threads = 1, .share = 1, .mode = CM_MODE_TRAIN, .inputs = 1, .frozen = 1};
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    OK(cmi_plan_create(t.graph, &train, &plan));
    ck_assert_uint_eq(cmi_plan_gradient_floats(plan), 0);
    OK(cmi_weights_create(plan, t.params, &weights));
    OK(cmi_exec_create(plan, &exec));
    load(&t, exec);
    OK(cmi_exec_run(exec, weights));
    for (int i = 0; i < N; i++) cmi_exec_cotangent(exec)[i] = 1;
    OK(cmi_exec_backward(exec, weights));
    const float *g = cmi_exec_input_gradient(exec, 0);
    for (int i = 0; i < 5; i++) ck_assert(g[i] == 0);
    ck_assert(g[5] != 0 && isfinite((double)g[5]));
    cmi_exec_free(exec);
    cmi_weights_free(weights);
    cmi_plan_free(plan);
    close_case(&t);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("ops");
    TCase *t = tcase_create("ops");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, conv2d);
    tcase_add_test(t, conv2d_few_rows);
    tcase_add_test(t, conv2d_oblong);
    tcase_add_test(t, winograd_others);
    tcase_add_test(t, winograd);
    tcase_add_test(t, conv2d_up);
    tcase_add_test(t, conv2d_transposed);
    tcase_add_test(t, conv2d_always_served);
    tcase_add_test(t, conv2d_weights_outlive_plans);
    tcase_add_test(t, few_outputs);
    tcase_add_test(t, conv2d_bf16);
    tcase_add_test(t, linear);
    tcase_add_test(t, groupnorm);
    tcase_add_test(t, attention);
    tcase_add_test(t, attention_in_panels);
    tcase_add_test(t, attention_in_bf16);
    tcase_add_test(t, fir);
    tcase_add_test(t, pointwise);
    tcase_add_test(t, conv2d_relu);
    tcase_add_test(t, relu);
    tcase_add_test(t, pool);
    tcase_add_test(t, resize);
    tcase_add_test(t, standardize);
    tcase_add_test(t, distance);
    tcase_add_test(t, distance_of_dead_points);
    tcase_add_test(t, unit_norm);
    tcase_add_test(t, unit_norm_of_zeros);
    tcase_add_test(t, modulate);
    tcase_add_test(t, clamp);
    tcase_add_test(t, balance_and_ones);
    tcase_add_test(t, fourier);
    tcase_add_test(t, embeddings);
    tcase_add_test(t, groupnorm_far_from_zero);
    suite_add_tcase(s, t);
    return s;
}
