/* node_case.h - one node as a graph, with random inputs and parameters: against a plain loop in double, on random odd
 * shapes, for 1, 2, 3 and 8 threads inside the op (same bits) and slices of 1 to 3 images; its gradients and tangents
 * against differences of that loop. */
#ifndef TESTS_SUPPORT_NODE_CASE_H
#define TESTS_SUPPORT_NODE_CASE_H

#include <math.h>
#include <stdlib.h>

#include "graph/plan.h"
#include "ref/naive.h"
#include "support/cases.h"
#include "support/probe.h"

enum { N = 3 };

/* One node as a graph, with random inputs and parameters. */
typedef struct {
    const cm_op *op;
    cm_attr attr;
    cm_desc in[CM_OP_MAX_IN], out;
    int n_in, n_params, bf16; /* bf16: largest Winograd tile of bfloat16, or 0 */
    double size;              /* of numbers that may cancel in the result, or 0 */
    cm_graph *graph;
    cm_params *params;
    float *x[CM_OP_MAX_IN], *p[CM_OP_MAX_PARAMS];
    int32_t labels[N];
} node_case;

static inline cm_context *context(void)
{
    static cm_context *c;
    if (!c) OK(cm_context_create(NULL, &c));
    return c;
}

static inline cm_status read_copy(const cm_param_source *s, float *out)
{
    memcpy(out, s->data, s->bytes);
    return CM_OK;
}

/* Parameter shapes: rank 0 ends the list. */
static inline void open_case(node_case *t, const int64_t (*shapes)[4], const int *ranks)
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

static inline void close_case(node_case *t)
{
    for (int i = 0; i < t->n_in; i++) free(t->x[i]);
    cmi_params_free(t->params);
    for (int k = 0; k < t->n_params; k++) free(t->p[k]);
    cmi_graph_free(t->graph);
}

/* A plan of the node and what runs it. */
typedef struct {
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
} runner;

static inline runner open_runner(const node_case *t, const cm_plan_options *options)
{
    runner r;
    OK(cmi_plan_create(t->graph, options, &r.plan));
    OK(cmi_weights_create(r.plan, t->params, &r.weights));
    OK(cmi_exec_create(r.plan, &r.exec));
    probe_poison(r.exec);
    return r;
}

static inline void close_runner(const runner *r)
{
    cmi_exec_free(r->exec);
    cmi_weights_free(r->weights);
    cmi_plan_free(r->plan);
}

/* All N images by plans of the given slice. */
static inline void run_case(const node_case *t, int slice, int threads, float *y)
{
    const cm_plan_options options = {
        .slice = slice, .threads = threads, .all_ops = 1, .share = 1, .arithmetic.bf16 = t->bf16};
    const runner r = open_runner(t, &options);
    for (int first = 0; first < N; first += slice) {
        for (int i = 0; i < t->n_in; i++) {
            size_t n = cmi_desc_count(t->in[i]) / N;
            const void *from = t->op == &cmi_op_embed_label && i == 1 ? (const void *)(t->labels + first)
                                                                      : (const void *)(t->x[i] + (size_t)first * n);
            memcpy(cmi_exec_input(r.exec, i), from, (size_t)slice * n * sizeof(float));
        }
        OK(cmi_exec_run(r.exec, r.weights));
        size_t n = cmi_desc_count(t->out) / N;
        memcpy(y + (size_t)first * n, cmi_exec_output(r.exec, 0), (size_t)slice * n * sizeof *y);
    }
    close_runner(&r);
}

static inline double *widen(const float *v, size_t n)
{
    double *d = malloc((n + 1) * sizeof *d);
    for (size_t i = 0; v && i < n; i++) d[i] = (double)v[i];
    return d;
}

/* --- gradients and tangents -------------------------------------------------- */

static inline int is_labels(const node_case *t, int i)
{
    return t->op == &cmi_op_embed_label && i == 1;
}

/* J v of the naive loops in double, by central differences along (tx, tp). */
static inline void directional(const node_case *t, double *const *x, double *const *p, double *const *tx,
                               double *const *tp, double *out)
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

static inline double dot(size_t n, const double *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * (double)b[i];
    return sum;
}

static inline double size_of(size_t n, const double *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (a ? a[i] * a[i] : 0) + (b ? (double)b[i] * (double)b[i] : 0);
    return sqrt(sum);
}

static inline void load(const node_case *t, cm_exec *exec)
{
    for (int i = 0; i < t->n_in; i++)
        memcpy(cmi_exec_input(exec, i), is_labels(t, i) ? (const void *)t->labels : (const void *)t->x[i],
               cmi_desc_count(t->in[i]) * sizeof(float));
}

/* The largest error of bfloat16 over the largest value: 2^-9 an operand, some terms
 * of a sum adding up, and what the transforms make of it. */
static inline double bf16_error(const node_case *t)
{
    static const double of[] = {0, 0.012, 0.012, 0.02, 0.04};
    return of[t->bf16];
}

/* ... and the root mean square of all errors over that of the values: a bias, or a digit lost everywhere, hides
 * below the largest. */
static inline void check_rms(const node_case *t, size_t n, const float *y, const double *want)
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

/* Frequencies and phases are constants. */
static inline int has_tables(const node_case *t)
{
    return t->op == &cmi_op_embed_time || t->op == &cmi_op_fourier;
}

/* Bits of the inputs that have gradients. */
static inline uint32_t all_inputs(const node_case *t)
{
    uint32_t all = 0;
    for (int i = 0; i < t->n_in; i++) all |= is_labels(t, i) ? 0 : 1u << i;
    return all;
}

/* The gradients of the parameters as plain tensors, after backward; the caller's to free. */
static inline float *plain_gradients(const node_case *t, const runner *r, size_t offsets[CM_OP_MAX_PARAMS])
{
    const size_t floats = cmi_plan_gradient_floats(r->plan);
    float *dp = calloc(floats + 1, sizeof *dp);
    cm_unpacking *unpacking;
    OK(cmi_unpacking_create(r->plan, 1, &unpacking));
    (void)cmi_param_offsets(t->graph, offsets);
    memcpy(dp, cmi_exec_gradients(r->exec), floats * sizeof *dp);
    OK(cmi_unpacking_run(unpacking, dp));
    cmi_unpacking_free(unpacking);
    return dp;
}

/* Our jvp of direction v of input k beside jv, the differences of the reference, value by value, and beside y, what
 * the node gives without a tangent.  jv becomes ours. */
static inline void check_tangent(const node_case *t, int k, const float *v, const float *y, double *jv)
{
    const size_t n = cmi_desc_count(t->out), m = cmi_desc_count(t->in[k]);
    const cm_plan_options options = {
        .slice = N, .threads = 1, .share = 1, .mode = CM_MODE_JVP, .inputs = 1u << k, .arithmetic.bf16 = t->bf16};
    const runner r = open_runner(t, &options);
    load(t, r.exec);
    memcpy(cmi_exec_tangent_input(r.exec, k), v, m * sizeof *v);
    OK(cmi_exec_run(r.exec, r.weights));
    for (size_t j = 0; j < n && !t->bf16; j++)
        ck_assert_msg(memcmp(&y[j], &cmi_exec_output(r.exec, 0)[j], sizeof *y) == 0,
                      "%s: beside the tangent of input %d, value %zu is %.9g instead of %.9g", t->op->name, k, j,
                      (double)cmi_exec_output(r.exec, 0)[j], (double)y[j]);
    const float *ours = cmi_exec_tangent_output(r.exec, 0);
    double most = 0;
    for (size_t j = 0; j < n; j++) most = fmax(most, fabs(jv[j]));
    for (size_t j = 0; j < n; j++)
        ck_assert_msg(fabs((double)ours[j] - jv[j]) <= (2e-5 + bf16_error(t)) * most + 5e-7,
                      "%s: tangent %zu of input %d is %g, expected %g", t->op->name, j, k, (double)ours[j], jv[j]);
    for (size_t j = 0; j < n; j++) jv[j] = (double)ours[j];
    close_runner(&r);
}

/* A random direction v of input or parameter k: <u, J v> (differences of the reference) = <g, v> with g = J^T u (our
 * backward) = <u, our jvp of v>. */
static inline void check_direction(const node_case *t, double *const *x, double *const *p, int is_param, int k,
                                   const float *g, const float *u, const float *y)
{
    const size_t n = cmi_desc_count(t->out);
    const size_t m = is_param ? cmi_param_elements(&t->graph->params[k]) : cmi_desc_count(t->in[k]);
    const double coarse = bf16_error(t); /* of values, data gradients and by tiles weight gradients; 0 in float32 */
    float *v = numbers(m, 1, 0);
    double *tangent[CM_OP_MAX_IN] = {0}, *wide = tangent[k] = widen(v, m), *jv = calloc(n, sizeof *jv);
    directional(t, x, p, is_param ? NULL : tangent, is_param ? tangent : NULL, jv);
    const double left = dot(n, jv, u), right = dot(m, wide, g);
    /* Differences of values around 10 at h = 1e-5 carry 1e-15 * 10 / 1e-5 of noise.  Where a norm takes away all that
     * v adds, J v = 0 and float leaves a few of its 1.2e-7. */
    const double floor = 1e-8 + 2e-7 * size_of(n, NULL, u) * size_of(m, NULL, v);
    const double scale = size_of(n, jv, NULL) * size_of(n, NULL, u) + size_of(m, NULL, g) * size_of(m, NULL, v);
    ck_assert_msg(fabs(left - right) <= (3e-6 + coarse * (!is_param || (t->bf16 == 1 && k == 0))) * scale + floor,
                  "%s [%d,%d,%d]: %s %d: <u, J v> %.9g, <J^T u, v> %.9g", t->op->name, t->out.h, t->out.w, t->out.c,
                  is_param ? "parameter" : "input", k, left, right);
    if (!is_param) {
        check_tangent(t, k, v, y, jv);
        ck_assert_msg(fabs(dot(n, jv, u) - left) <= (1e-5 + coarse) * scale + floor, "%s: <u, J v>", t->op->name);
    }
    free(v), free(wide), free(jv);
}

/* For a random u, one direction at a time, so every gradient is seen on its own. */
static inline void check_gradients(const node_case *t, double *const *x, double *const *p)
{
    const size_t n = cmi_desc_count(t->out);
    const int fixed = t->op == &cmi_op_distance;
    const cm_plan_options train = {.slice = N,
                                   .threads = 1,
                                   .share = 1,
                                   .mode = CM_MODE_TRAIN,
                                   .inputs = all_inputs(t),
                                   .arithmetic.bf16 = t->bf16,
                                   .frozen = fixed};
    const runner r = open_runner(t, &train);
    size_t offsets[CM_OP_MAX_PARAMS] = {0};
    float *u = numbers(n, 1, 0), *y = calloc(n, sizeof *y);
    load(t, r.exec);
    OK(cmi_exec_run(r.exec, r.weights));
    memcpy(y, cmi_exec_output(r.exec, 0), n * sizeof *y);
    memcpy(cmi_exec_cotangent(r.exec), u, n * sizeof *u);
    OK(cmi_exec_backward(r.exec, r.weights));
    float *dp = plain_gradients(t, &r, offsets);
    for (int k = 0; k < t->n_in; k++)
        if (!is_labels(t, k)) check_direction(t, x, p, 0, k, cmi_exec_input_gradient(r.exec, k), u, y);
    for (int k = 0; k < t->n_params && !fixed && !has_tables(t); k++)
        check_direction(t, x, p, 1, k, dp + offsets[k], u, y);
    free(u), free(dp), free(y);
    close_runner(&r);
}

/* --- gradients through tangents ------------------------------------------------ */

/* The slope along `change` of x, of the tangents `along` or of p (the others NULL) of <u, y> + <w, ty>, by
 * differences of the naive loops. */
static inline double slope_of_both(const node_case *t, double *const *x, double *const *p, double *const *along,
                                   int i, double *change, const float *u, const float *w)
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

/* Random tangents of all inputs; returned in double, the caller's to free. */
static inline void load_tangents(const node_case *t, cm_exec *exec, double *along[CM_OP_MAX_IN])
{
    for (int i = 0; i < t->n_in; i++) {
        if (is_labels(t, i)) continue;
        const size_t m = cmi_desc_count(t->in[i]);
        float *v = numbers(m, 1, 0);
        along[i] = widen(v, m);
        memcpy(cmi_exec_tangent_input(exec, i), v, m * sizeof *v);
        free(v);
    }
}

/* Gradients of <u, y> + <w, ty> with tangents of all inputs, one random direction at a time. */
static inline void check_through_tangents(const node_case *t, double *const *x, double *const *p)
{
    const size_t n = cmi_desc_count(t->out);
    const cm_plan_options options = {.slice = N,
                                     .threads = 1,
                                     .share = 1,
                                     .mode = CM_MODE_TRAIN_JVP,
                                     .inputs = all_inputs(t),
                                     .tangents = all_inputs(t)};
    const runner r = open_runner(t, &options);
    size_t offsets[CM_OP_MAX_PARAMS] = {0};
    double *along[CM_OP_MAX_IN] = {0};
    float *u = numbers(n, 1, 0), *w = numbers(n, 1, 0);
    load(t, r.exec);
    load_tangents(t, r.exec, along);
    OK(cmi_exec_run(r.exec, r.weights));
    memcpy(cmi_exec_cotangent(r.exec), u, n * sizeof *u);
    memcpy(cmi_exec_tangent_cotangent(r.exec), w, n * sizeof *w);
    OK(cmi_exec_backward(r.exec, r.weights));
    float *dp = plain_gradients(t, &r, offsets);
    for (int i = 0; i < 2 * t->n_in + t->n_params; i++) {
        const int k = i < t->n_in ? i : i < 2 * t->n_in ? i - t->n_in : i - 2 * t->n_in, is_param = i >= 2 * t->n_in;
        if (is_param ? has_tables(t) : is_labels(t, k)) continue;
        const size_t m = is_param ? cmi_param_elements(&t->graph->params[k]) : cmi_desc_count(t->in[k]);
        const float *g = is_param      ? dp + offsets[k]
                         : i < t->n_in ? cmi_exec_input_gradient(r.exec, k)
                                       : cmi_exec_input_tangent_gradient(r.exec, k);
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
    close_runner(&r);
}

/* --- all of it ------------------------------------------------------------------- */

/* tolerance: of the largest value of the result, or of `size`, per element of its sums. */
static inline void check_case(node_case *t, double tolerance)
{
    size_t n = cmi_desc_count(t->out);
    float *y = calloc(n, sizeof *y), *other = calloc(n, sizeof *other);
    double *x[CM_OP_MAX_IN] = {0}, *p[CM_OP_MAX_PARAMS] = {0}, *want = calloc(n, sizeof *want), most = t->size;
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

static inline cm_desc image(int low, int high, int channels)
{
    return (cm_desc){1, pick(low, high), pick(low, high), channels};
}

/* Values that differ by more than finite differences move them: no two are equal, none is at a kink. */
static inline void spread_out(node_case *t)
{
    const size_t n = cmi_desc_count(t->in[0]);
    for (size_t i = 0; i < n; i++) {
        const double v = (double)(i * 48271u % n) / (double)n * 10 - 5;
        t->x[0][i] = (float)(fabs(v) < 1e-3 ? 7 : v);
    }
}

#endif
