/* Every op against plain loops in double, on random odd shapes, for 1, 2, 3 and 8
 * threads inside the op (same bits) and slices of 1 to 3 images (same bits). */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "graph/plan.h"
#include "ops/attention_tiles.h"
#include "ref/naive.h"

enum { N = 3 };

/* CHECK_SHORT: for slow tools. */
#define ROUNDS (getenv("CHECK_SHORT") ? 4 : 40)

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

static uint64_t seed;

static cm_context *context(void)
{
    static cm_context *c;
    if (!c) OK(cm_context_create(NULL, &c));
    return c;
}

static float *numbers(size_t n, float scale, float offset)
{
    float *v = aligned_alloc(64, (n * sizeof *v + 63) / 64 * 64);
    for (size_t i = 0; i < n; i++) v[i] = random_float(&seed) * scale + offset;
    return v;
}

static void read_copy(const cm_param_source *s, float *out)
{
    memcpy(out, s->data, s->bytes);
}

/* Parameter shapes: rank 0 ends the list. */
static void open_case(node_case *t, const int64_t (*shapes)[4], const int *ranks)
{
    cm_value in[CM_OP_MAX_IN];
    cm_param_source sources[CM_OP_MAX_PARAMS];
    int index[CM_OP_MAX_PARAMS] = {-1, -1};
    OK(cm_graph_create(context(), &t->graph));
    for (int i = 0; i < t->n_in; i++) {
        in[i] = cm_graph_input(t->graph, t->in[i]);
        t->in[i].n = N;
        t->x[i] = numbers(cm_desc_count(t->in[i]), 2, t->op == &cm_op_groupnorm && i == 0 ? 5 : 0);
    }
    for (int k = 0; k < CM_OP_MAX_PARAMS && ranks && ranks[k]; k++) {
        index[k] = cm_graph_param(t->graph, ranks[k], shapes[k], "p%d", k);
        size_t n = cm_param_elements(&t->graph->params[index[k]]);
        t->p[k] = numbers(n, 0.5f, 0.25f);
        sources[k] = (cm_param_source){t->p[k], n * sizeof(float), t->p[k], read_copy, NULL, NULL};
        t->n_params++;
    }
    cm_value y = cm_graph_node(t->graph, t->op, &t->attr, in, t->n_in, index[0], index[1]);
    t->out = cm_graph_desc(t->graph, y);
    t->out.n = N;
    cm_graph_output(t->graph, y);
    OK(cm_graph_finish(t->graph));
    OK(cm_params_create(t->graph, sources, &t->params));
}

static void close_case(node_case *t)
{
    for (int i = 0; i < t->n_in; i++) free(t->x[i]);
    cm_params_free(t->params);
    for (int k = 0; k < t->n_params; k++) free(t->p[k]);
    cm_graph_free(t->graph);
}

/* All N images by plans of the given slice. */
static void run_case(const node_case *t, int slice, int threads, float *y)
{
    const cm_plan_options options = {
        .slice = slice, .threads = threads, .share = 1, .arithmetic.bf16 = t->bf16};
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    OK(cm_plan_create(t->graph, &options, &plan));
    OK(cm_weights_create(plan, t->params, &weights));
    OK(cm_exec_create(plan, &exec));
    cm_exec_poison(exec);
    for (int first = 0; first < N; first += slice) {
        for (int i = 0; i < t->n_in; i++) {
            size_t n = cm_desc_count(t->in[i]) / N;
            const void *from = t->op == &cm_op_embed_label && i == 1 ? (const void *)(t->labels + first)
                                                                     : (const void *)(t->x[i] + (size_t)first * n);
            memcpy(cm_exec_input(exec, i), from, (size_t)slice * n * sizeof(float));
        }
        OK(cm_exec_run(exec, weights));
        size_t n = cm_desc_count(t->out) / N;
        memcpy(y + (size_t)first * n, cm_exec_output(exec, 0), (size_t)slice * n * sizeof *y);
    }
    cm_exec_free(exec);
    cm_weights_free(weights);
    cm_plan_free(plan);
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
    return t->op == &cm_op_embed_label && i == 1;
}

/* J v of the naive loops in double, by central differences along (tx, tp). */
static void directional(const node_case *t, double *const *x, double *const *p, double *const *tx, double *const *tp,
                        double *out)
{
    size_t n = cm_desc_count(t->out);
    const double h = 1e-5;
    double *y[2] = {calloc(n, sizeof(double)), calloc(n, sizeof(double))};
    for (int side = 0; side < 2; side++) {
        double step = side ? -h : h, *xs[CM_OP_MAX_IN] = {0}, *ps[CM_OP_MAX_PARAMS] = {0};
        for (int i = 0; i < t->n_in; i++) {
            size_t m = cm_desc_count(t->in[i]);
            xs[i] = calloc(m, sizeof(double));
            for (size_t k = 0; k < m; k++) xs[i][k] = x[i][k] + (tx && tx[i] ? step * tx[i][k] : 0);
        }
        for (int i = 0; i < t->n_params; i++) {
            size_t m = cm_param_elements(&t->graph->params[i]);
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
        memcpy(cm_exec_input(exec, i), is_labels(t, i) ? (const void *)t->labels : (const void *)t->x[i],
               cm_desc_count(t->in[i]) * sizeof(float));
}

/* The largest error of bfloat16 over the largest value: 2^-9 an operand, some terms
 * of a sum adding up, and what the transforms make of it. */
static double bf16_error(const node_case *t)
{
    return t->bf16 == 0 ? 0 : t->bf16 == 4 ? 0.04 : 0.012;
}

/* For random directions v of each input and parameter and a random u:
 * <u, J v> (differences of the reference) = <J^T u, v> (our backward) = <u, our
 * jvp of v>; one direction at a time, so every gradient is seen on its own. */
static void check_gradients(node_case *t, double *const *x, double *const *p)
{
    size_t n = cm_desc_count(t->out), offsets[CM_OP_MAX_PARAMS] = {0}, floats = 0;
    uint32_t all = 0;
    const int frozen = t->op == &cm_op_embed_time; /* its frequencies are constants */
    for (int i = 0; i < t->n_in; i++) all |= is_labels(t, i) ? 0 : 1u << i;
    const cm_plan_options train = {.slice = N,
                                   .threads = 1,
                                   .share = 1,
                                   .mode = CM_MODE_TRAIN,
                                   .inputs = all,
                                   .arithmetic.bf16 = t->bf16};
    const double coarse = bf16_error(t); /* of values, data gradients and by tiles weight gradients; 0 in float32 */
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    cm_unpacking *unpacking;
    OK(cm_plan_create(t->graph, &train, &plan));
    OK(cm_weights_create(plan, t->params, &weights));
    OK(cm_exec_create(plan, &exec));
    for (int k = 0; k < t->n_params; k++) {
        offsets[k] = floats;
        floats += cm_param_elements(&t->graph->params[k]);
    }
    OK(cm_unpacking_create(plan, offsets, &unpacking));
    float *u = numbers(n, 1, 0), *dp = calloc(floats + 1, sizeof *dp);
    cm_exec_poison(exec);
    load(t, exec);
    OK(cm_exec_run(exec, weights));
    memcpy(cm_exec_cotangent(exec), u, n * sizeof *u);
    OK(cm_exec_backward(exec, weights));
    OK(cm_unpacking_run(unpacking, 1, cm_exec_gradients(exec), dp));
    double *jv = calloc(n, sizeof *jv);
    /* The absolute part: differences of values around 10 at h = 1e-5 carry 1e-15 * 10 / 1e-5 of noise. */
    for (int i = 0; i < t->n_in + t->n_params; i++) {
        int is_param = i >= t->n_in, k = is_param ? i - t->n_in : i;
        if (is_param ? frozen : is_labels(t, k)) continue;
        size_t m = is_param ? cm_param_elements(&t->graph->params[k]) : cm_desc_count(t->in[k]);
        float *v = numbers(m, 1, 0);
        double *tangent[CM_OP_MAX_IN] = {0}, *wide = tangent[k] = widen(v, m);
        directional(t, x, p, is_param ? NULL : tangent, is_param ? tangent : NULL, jv);
        const float *g = is_param ? dp + offsets[k] : cm_exec_input_gradient(exec, k);
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
            OK(cm_plan_create(t->graph, &options, &jplan));
            OK(cm_weights_create(jplan, t->params, &jweights));
            OK(cm_exec_create(jplan, &jexec));
            cm_exec_poison(jexec);
            load(t, jexec);
            memcpy(cm_exec_tangent_input(jexec, k), v, m * sizeof *v);
            OK(cm_exec_run(jexec, jweights));
            const float *ours = cm_exec_tangent_output(jexec, 0);
            double most = 0;
            for (size_t j = 0; j < n; j++) most = fmax(most, fabs(jv[j]));
            for (size_t j = 0; j < n; j++)
                ck_assert_msg(fabs((double)ours[j] - jv[j]) <= (2e-5 + coarse) * most + 5e-7,
                              "%s: tangent %zu of input %d is %g, expected %g", t->op->name, j, k, (double)ours[j],
                              jv[j]);
            double both = dot(n, jv, u);
            for (size_t j = 0; j < n; j++) jv[j] = (double)ours[j];
            ck_assert_msg(fabs(dot(n, jv, u) - both) <= (1e-5 + coarse) * scale + floor, "%s: <u, J v>", t->op->name);
            cm_exec_free(jexec);
            cm_weights_free(jweights);
            cm_plan_free(jplan);
        }
        free(v), free(wide);
    }
    free(jv), free(u), free(dp);
    cm_unpacking_free(unpacking);
    cm_exec_free(exec);
    cm_weights_free(weights);
    cm_plan_free(plan);
}

/* tolerance: of the largest value of the result, per element of its sums. */
static void check_case(node_case *t, double tolerance)
{
    size_t n = cm_desc_count(t->out);
    float *y = calloc(n, sizeof *y), *other = calloc(n, sizeof *other);
    double *x[CM_OP_MAX_IN] = {0}, *p[CM_OP_MAX_PARAMS] = {0}, *want = calloc(n, sizeof *want), most = 0;
    for (int i = 0; i < t->n_in; i++) x[i] = widen(t->x[i], cm_desc_count(t->in[i]));
    for (int k = 0; k < t->n_params; k++) p[k] = widen(t->p[k], cm_param_elements(&t->graph->params[k]));
    naive_forward(t->op, &t->attr, t->in, (const double *const *)x, t->labels, (const double *const *)p, t->out,
                  want);
    run_case(t, 1, 1, y);
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(want[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)y[i] - want[i]) <= tolerance * most,
                      "%s [%d,%d,%d,%d]: value %zu is %g, expected %g", t->op->name, t->out.n, t->out.h, t->out.w,
                      t->out.c, i, (double)y[i], want[i]);
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
    for (int i = 0; i < t->n_in; i++) free(x[i]);
    for (int k = 0; k < t->n_params; k++) free(p[k]);
    free(want), free(y), free(other);
    close_case(t);
}

static int pick(int low, int high)
{
    return random_int(&seed, low, high);
}

static cm_desc image(int low, int high, int channels)
{
    return (cm_desc){1, pick(low, high), pick(low, high), channels};
}

START_TEST(conv2d)
{
    for (int i = 0; i < ROUNDS; i++) {
        static const int kernels[] = {1, 3, 5};
        int k = kernels[pick(0, 2)], c = pick(1, 40), out = pick(1, 40), stride = pick(1, 2), pad = pick(0, k / 2),
            bias = pick(0, 1);
        const float scale = pick(0, 1) ? 0.7f : 0; /* 0: nothing is added */
        node_case t = {
            .op = &cm_op_conv2d, .attr = {.conv = {out, k, stride, pad, bias, scale}}, .n_in = scale != 0 ? 2 : 1};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = image(k, 13, c);
        OK(cm_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        check_case(&t, 3e-6);
    }
}
END_TEST

/* 3 x 3 over multiples of 16 channels: tiles of 4 x 4 from side 16 on, of 2 x 2
 * below, with sides that tiles do not divide. */
START_TEST(winograd)
{
    for (int i = 0; i < ROUNDS / 4 + 4; i++) {
        static const int wide[] = {16, 48, 64, 112, 32, 288};
        int c = wide[pick(0, i % 4 ? 4 : 5)], out = wide[pick(0, 4)], bias = pick(0, 1), large = i % 2;
        const float scale = pick(0, 1) ? 0.7f : 0;
        node_case t = {
            .op = &cm_op_conv2d, .attr = {.conv = {out, 3, 1, 1, bias, scale}}, .n_in = scale != 0 ? 2 : 1};
        const int64_t shapes[2][4] = {{out, c, 3, 3}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = large ? image(16, 21, c) : i == 0 ? image(4, 4, c) /* fewer tiles than threads */ : image(4, 15, c);
        OK(cm_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        ck_assert_int_eq(cm_winograd_rule(0, 3, 1, 1, c, out, t.in[0].h, t.in[0].w), large ? 4 : 2);
        open_case(&t, shapes, ranks);
        check_case(&t, 3e-6);
    }
    ck_assert_int_eq(cm_winograd_rule(0, 3, 1, 1, 24, 32, 16, 16), 0);
    ck_assert_int_eq(cm_winograd_rule(0, 3, 2, 1, 32, 32, 16, 16), 0);
    ck_assert_int_eq(cm_winograd_rule(0, 1, 1, 0, 32, 32, 16, 16), 0);
    ck_assert_int_eq(cm_winograd_rule(0, 3, 1, 1, 32, 32, 3, 16), 0);
}
END_TEST

/* The same and 1 x 1 in bfloat16, emulated where there are no instructions for it. */
START_TEST(conv2d_bf16)
{
    for (int i = 0; i < ROUNDS / 4 + 4; i++) {
        static const int wide[] = {16, 48, 64, 112, 32, 288};
        int c = wide[pick(0, i % 4 ? 4 : 5)], out = wide[pick(0, 4)], bias = pick(0, 1), k = i % 3 ? 3 : 1;
        const float scale = pick(0, 1) ? 0.7f : 0;
        node_case t = {.op = &cm_op_conv2d,
                       .attr = {.conv = {out, k, 1, k / 2, bias, scale}},
                       .n_in = scale != 0 ? 2 : 1,
                       .bf16 = 1 << pick(0, 2)};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = i % 2 ? image(16, 21, c) : i == 0 ? image(1, 4, c) /* fewer tiles than threads */ : image(4, 15, c);
        OK(cm_op_conv2d.shape(&t.attr, t.in, 1, &t.in[1]));
        open_case(&t, shapes, ranks);
        check_case(&t, bf16_error(&t));
    }
    ck_assert_int_eq(cm_winograd_rule(2, 3, 1, 1, 32, 32, 16, 16), 2);
    ck_assert_int_eq(cm_winograd_rule(4, 3, 1, 1, 32, 32, 16, 16), 4);
    ck_assert_int_eq(cm_winograd_rule(2, 1, 1, 0, 32, 32, 1, 1), 1);
    ck_assert_int_eq(cm_winograd_rule(2, 1, 1, 0, 32, 24, 8, 8), 0);
}
END_TEST

static float widened(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* The products of every level give the bits of the plain loop: the higher channel of
 * a word first.  Of the instructions the manual says the same; they are held to the
 * rounding of a few sums. */
START_TEST(bf16_products)
{
    enum { MOST_ROWS = 20, COLUMNS = 64, K = 544 };
    static uint16_t a[MOST_ROWS * K], packed[COLUMNS * K], b[K][COLUMNS];
    static float c[MOST_ROWS * COLUMNS];
    for (int level = 0; level <= cm_dnnl_cpu_level(); level++) {
        const cm_winograd_operands *o = cm_winograd_bf16_for(level);
        const cm_winograd_kernels *kernels = cm_winograd_for(level);
        size_t rows = (size_t)pick(1, MOST_ROWS), columns = 16 * (size_t)pick(1, 4), k = 16 * (size_t)pick(1, K / 16);
        for (size_t i = 0; i < MOST_ROWS * K; i++) a[i] = (uint16_t)pick(0x3e00, 0x4080) | (uint16_t)(pick(0, 1) << 15);
        size_t at = 0;
        for (size_t j = 0, width; j < columns; j += width) {
            width = kernels->panel(columns - j);
            for (size_t i = 0; i < k; i += 2)
                for (size_t w = 0; w < width; w++)
                    for (size_t half = 0; half < 2; half++)
                        packed[at++] = b[i + half][j + w] = (uint16_t)pick(0xbe00, 0xc080);
        }
        o->product(rows, columns, k, a, K, packed, c, columns);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < columns; j++) {
                float sum = 0, size = 0;
                for (size_t i = 0; i < k; i++) size += fabsf(widened(a[r * K + i]) * widened(b[i][j]));
                for (size_t i = 0; i < k; i += 2) {
                    sum += widened(a[r * K + i + 1]) * widened(b[i + 1][j]);
                    sum += widened(a[r * K + i]) * widened(b[i][j]);
                }
                float allowed = level < CM_CPU_AVX512_BF16 ? 0 : 1e-6f * size;
                ck_assert_msg(fabsf(c[r * columns + j] - sum) <= allowed, "level %d, %zu x %zu x %zu: [%zu][%zu] is %.9g, expected %.9g",
                              level, rows, columns, k, r, j, (double)c[r * columns + j], (double)sum);
            }
    }
}
END_TEST

/* The instructions of AMX give the bits of the same sums written out, where the processor
 * has them; any threads and parts of a batch the same. */
START_TEST(tile_sums)
{
    for (int i = 0; i < ROUNDS; i++) {
        int side = pick(0, 2) ? 3 : 1, n = pick(1, 3), h = pick(1, 20), w = pick(0, 1) ? pick(1, 40) : 16 * pick(1, 2);
        int c = 16 * pick(1, 6), oc = 16 * pick(1, 6), turned = pick(0, 1), threads = pick(1, 3);
        int parts = side == 1 && pick(0, 1) ? 3 : 1;
        size_t in = (size_t)(h * w * c), out = (size_t)(h * w * oc);
        float *x = numbers((size_t)n * in, 1, 0), *weights = numbers((size_t)(side * side * c * oc), 1, 0);
        float *bias = pick(0, 1) ? numbers((size_t)oc, 1, 0) : NULL, *r = pick(0, 1) ? numbers((size_t)n * out, 1, 0) : NULL;
        float *dy = numbers((size_t)n * out, 1, 0), *y[2], *dw[2];
        for (int k = 0; k < 2; k++) { /* plain, all images; what the processor has, one by one */
            cm_tiles t;
            const int level = k ? cm_dnnl_cpu_level() : CM_CPU_BASELINE;
            cm_tiles_init(&t, level, parts, side, turned, k ? threads : 1, k ? 1 : n, h, w, c, oc);
            void *packed = aligned_alloc(64, cm_tiles_packed_bytes(&t));
            size_t bytes = (cm_tiles_scratch_bytes(&t) + 63) / 64 * 64;
            void *scratch = aligned_alloc(64, bytes);
            memset(scratch, 0xff, bytes);
            y[k] = calloc((size_t)n * out, sizeof *y[k]);
            cm_tiles_pack(&t, weights, packed);
            for (int image = 0; image < n; image += k ? 1 : n)
                OK(cm_tiles_run(&t, x + (size_t)image * in, packed, bias, r ? r + (size_t)image * out : NULL, 0.7f,
                                y[k] + (size_t)image * out, scratch));
            free(packed);
            free(scratch);
            cm_tiles_init(&t, level, 1, side, turned, 1, n, h, w, c, oc);
            bytes = (cm_tiles_gradient_bytes(&t) + 63) / 64 * 64;
            scratch = aligned_alloc(64, bytes);
            memset(scratch, 0xff, bytes);
            dw[k] = calloc((size_t)(side * side * c * oc), sizeof *dw[k]);
            cm_tiles_gradient(&t, x, dy, dw[k], scratch);
            free(scratch);
        }
        ck_assert_msg(memcmp(dw[0], dw[1], (size_t)(side * side * c * oc) * sizeof *dw[0]) == 0,
                      "gradient of %d images %d x %d, %d to %d channels, kernel %d", n, h, w, c, oc, side);
        ck_assert_msg(memcmp(y[0], y[1], (size_t)n * out * sizeof *y[0]) == 0, "%d images %d x %d, %d to %d channels, kernel %d",
                      n, h, w, c, oc, side);
        for (int k = 0; k < 2; k++) free(y[k]), free(dw[k]);
        free(dy), free(x), free(weights), free(bias), free(r);
    }
}
END_TEST

/* float32 by tiles is float32: against sums of doubles, values over nine decades, images cut and
 * whole, any threads.  2^-24 a product and what float32 loses in adding. */
START_TEST(tile_float32)
{
    static const int shapes[][4] = {{3, 5, 16, 48}, {4, 4, 32, 16}, {1, 33, 80, 32}, {32, 32, 144, 32}, {6, 64, 512, 32}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int h = shapes[i][0], w = shapes[i][1], c = shapes[i][2], oc = shapes[i][3], n = 2;
        const size_t points = (size_t)(n * h * w);
        cm_tiles t;
        cm_tiles_init(&t, cm_dnnl_cpu_level(), 3, 1, 0, pick(1, 3), n, h, w, c, oc);
        ck_assert_int_eq(t.n * t.h, n * h);
        ck_assert_int_eq(t.n > n, i >= 3); /* what leaves the cache is cut */
        float *x = numbers(points * (size_t)c, 1, 0), *weights = numbers((size_t)(c * oc), 1, 0);
        for (size_t k = 0; k < points * (size_t)c; k++) x[k] *= powf(10, (float)pick(-6, 3));
        float *y = calloc(points * (size_t)oc, sizeof *y);
        void *packed = aligned_alloc(64, cm_tiles_packed_bytes(&t));
        void *scratch = aligned_alloc(64, (cm_tiles_scratch_bytes(&t) + 63) / 64 * 64);
        cm_tiles_pack(&t, weights, packed);
        OK(cm_tiles_run(&t, x, packed, NULL, NULL, 1, y, scratch));
        double worst = 0;
        for (size_t p = 0; p < points; p++)
            for (size_t o = 0; o < (size_t)oc; o++) {
                double sum = 0, size = 0;
                for (size_t k = 0; k < (size_t)c; k++) {
                    const double product = (double)x[p * (size_t)c + k] * (double)weights[o * (size_t)c + k];
                    sum += product, size += fabs(product);
                }
                worst = fmax(worst, fabs((double)y[p * (size_t)oc + o] - sum) / size);
            }
        ck_assert_msg(worst < 6e-7, "%d x %d, %d to %d channels: off by %g of the sum of sizes", h, w, c, oc, worst);
        free(x), free(weights), free(y), free(packed), free(scratch);
    }
}
END_TEST

/* The passes that write bfloat16, to half of its last place (2^-8) and 1e-4: norm and SiLU of floats and of
 * bfloat16, small, large and not a number; softmax times its factor. */
START_TEST(tile_passes)
{
    enum { COUNT = 64 };
    for (int k = 0; k < 2; k++) {
        const cm_tile_kernels *kernels = cm_tiles_for(k ? cm_dnnl_cpu_level() : CM_CPU_BASELINE);
        float *x = numbers(COUNT, 8, 0), *m = numbers(COUNT, 1, 0), *a = numbers(COUNT, 2, 0), *b = numbers(COUNT, 1, 0);
        uint16_t half[COUNT], out[COUNT];
        float wide[COUNT], inverse;
        for (int i = 0; i < 24; i++) x[i] *= 20;
        x[5] = NAN;
        for (int form = 0; form < 4; form++) {
            int is_half = form & 1, silu = form >> 1;
            kernels->round(COUNT, x, half);
            for (int i = 0; i < COUNT; i++) wide[i] = is_half ? widened(half[i]) : x[i];
            kernels->affine(1, COUNT, is_half ? (const void *)half : x, is_half, m, a, b, silu, out);
            for (int i = 0; i < COUNT; i++) {
                double v = (double)a[i] * ((double)wide[i] - (double)m[i]) + (double)b[i];
                if (silu) v /= 1 + exp(-v);
                double slack = 0.0040 * fabs(v) + 3e-6 * (fabs((double)(a[i] * wide[i])) + 1);
                ck_assert_msg(isnan(v) ? isnan(widened(out[i])) : fabs((double)widened(out[i]) - v) <= slack,
                              "level %d, form %d: %g is %g, expected %g", k, form, (double)wide[i], (double)widened(out[i]), v);
            }
        }
        x[5] = -300;
        double top = -1e9, sum = 0;
        for (int i = 0; i < COUNT; i++) top = fmax(top, 0.3 * (double)x[i]);
        for (int i = 0; i < COUNT; i++) sum += exp(0.3 * (double)x[i] - top);
        kernels->softmax(1, COUNT, 0.3f, x, COUNT, out, COUNT, 0, &inverse);
        for (int i = 0; i < COUNT; i++) {
            double want = exp(0.3 * (double)x[i] - top) / sum, got = (double)widened(out[i]) * (double)inverse;
            ck_assert_msg(fabs(got - want) <= 0.0040 * want + 1e-30, "level %d: %g, expected %g", k, got, want);
        }
        free(x), free(m), free(a), free(b);
    }
}
END_TEST

/* To the nearest, ties to even; NaN and infinity stay. */
START_TEST(bf16_rounding)
{
    static const uint32_t in[16] = {0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0xbf80c000,
                                    0x7f800000, 0xff800000, 0x7f800001, 0x7fffffff, 0xffffffff, 0x7f7fffff,
                                    0x00000000, 0x80000000, 0x47c35000, 0x3eaaaaab};
    static const uint16_t out[16] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x3f80, 0xbf81, 0x7f80, 0xff80,
                                     0x7fc0, 0x7fff, 0xffff, 0x7f80, 0x0000, 0x8000, 0x47c3, 0x3eab};
    for (int level = 0; level <= cm_dnnl_cpu_level(); level++) {
        float x[16];
        uint16_t y[16];
        const float *points[1] = {x};
        memcpy(x, in, sizeof x);
        cm_winograd_bf16_for(level)->input(1, 16, points, y, 0);
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < 16; i++)
                ck_assert_msg(y[i] == out[i], "level %d: %08x is %04x, expected %04x", level, in[i], y[i], out[i]);
            cm_tiles_for(level)->round(16, x, y);
        }
    }
}
END_TEST

START_TEST(linear)
{
    for (int i = 0; i < ROUNDS; i++) {
        int k = pick(1, 300), out = pick(1, 200), bias = pick(0, 1);
        node_case t = {.op = &cm_op_linear, .attr = {.linear = {out, bias}}, .n_in = 1};
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
        node_case t = {
            .op = &cm_op_groupnorm, .attr = {.groupnorm = {groups, mode, pick(0, 1), 1e-5f}}, .n_in = mode ? 2 : 1};
        const int64_t shapes[2][4] = {{c, 0, 0, 0}, {c, 0, 0, 0}};
        const int ranks[2] = {1, 1};
        t.in[0] = image(1, 19, c);
        t.in[1] = (cm_desc){1, 1, 1, mode == CM_GN_SCALE_SHIFT ? 2 * c : c};
        open_case(&t, shapes, ranks);
        check_case(&t, 5e-6);
    }
}
END_TEST

START_TEST(attention)
{
    for (int i = 0; i < ROUNDS / 2; i++) {
        int heads = pick(1, 4), d = pick(1, 24);
        node_case t = {.op = &cm_op_attention, .attr = {.attention = {heads, pick(0, 2)}}, .n_in = 1};
        t.in[0] = image(1, 13, 3 * heads * d); /* up to 169 tokens: whole blocks and a tail */
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
        node_case t = {.op = &cm_op_attention, .attr = {.attention = {heads, i % 3}}, .n_in = 1};
        t.in[0] = (cm_desc){1, side[0], side[1], 3 * heads * d};
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
        node_case t = {.op = &cm_op_attention, .attr = {.attention = {heads, i / 6 % 3}}, .n_in = 1, .bf16 = 1};
        t.in[0] = (cm_desc){1, side[0], side[1], 3 * heads * d};
        open_case(&t, NULL, NULL);
        check_case(&t, bf16_error(&t));
    }
}
END_TEST

/* Element i of q, k or v of a token and head. */
static double part_of_qkv(const cm_attention_tiles *a, const float *qkv, size_t token, size_t head, size_t kind, size_t i)
{
    return (double)qkv[token * 3 * a->heads * a->d + head * a->by_head + kind * a->by_kind + i * a->step];
}

/* One query's softmax(q k^T / sqrt(d)) v in doubles. */
static void exact_attention(const cm_attention_tiles *a, const float *qkv, size_t query, size_t head, double *out)
{
    double sum = 0, scores[128], top = -INFINITY;
    for (size_t t = 0; t < a->tokens; t++) {
        scores[t] = 0;
        for (size_t i = 0; i < a->d; i++)
            scores[t] += part_of_qkv(a, qkv, query, head, 0, i) * part_of_qkv(a, qkv, t, head, 1, i) / sqrt((double)a->d);
        top = fmax(top, scores[t]);
    }
    for (size_t i = 0; i < a->d; i++) out[i] = 0;
    for (size_t t = 0; t < a->tokens; t++) sum += exp(scores[t] - top);
    for (size_t t = 0; t < a->tokens; t++)
        for (size_t i = 0; i < a->d; i++) out[i] += exp(scores[t] - top) / sum * part_of_qkv(a, qkv, t, head, 2, i);
}

/* float32 attention on tiles, written out and with the processor's instructions, is float32: 2.1e-6 off
 * for values up to 4 (scores up to some 30, whose rounding exp multiplies); with one of the six products
 * left out 1.3e-5. */
START_TEST(attention_float32_on_tiles)
{
    for (int i = 0; i < ROUNDS / 8 + 1; i++) {
        const size_t heads = (size_t)pick(1, 3), d = 32 * (size_t)pick(1, 2), tokens = 32 * (size_t)pick(1, 4), c = heads * d;
        float *qkv = numbers(tokens * 3 * c, 4, 0), *out = calloc(tokens * c, sizeof *out);
        double exact[64];
        for (int layout = 0; layout < 3; layout++)
            for (int real = 0; real < 2; real++) {
                const int level = real ? cm_dnnl_cpu_level() : CM_CPU_BASELINE;
                const size_t by[3][3] = {{d, c, 1}, {3 * d, d, 1}, {3 * d, 1, 3}};
                const cm_attention_tiles a = {.tiles = cm_tiles_for(level), .kernels = cm_kernels_for(level), .parts = 3,
                                              .threads = pick(1, 3), .tokens = tokens, .heads = heads, .d = d,
                                              .by_head = by[layout][0], .by_kind = by[layout][1], .step = by[layout][2]};
                void *scratch = aligned_alloc(64, (cm_attention_tiles_scratch_bytes(&a) + 63) / 64 * 64);
                OK(cm_attention_tiles_run(&a, qkv, out, scratch));
                for (size_t t = 0; t < tokens; t += 7)
                    for (size_t h = 0; h < heads; h++) {
                        exact_attention(&a, qkv, t, h, exact);
                        for (size_t k = 0; k < d; k++)
                            ck_assert_msg(fabs((double)out[t * c + h * d + k] - exact[k]) < 5e-6,
                                          "layout %d, level %d, %zu tokens, d %zu: %.9g, exactly %.9g", layout, level, tokens,
                                          d, (double)out[t * c + h * d + k], exact[k]);
                    }
                free(scratch);
            }
        free(qkv), free(out);
    }
}
END_TEST

START_TEST(fir)
{
    static const double filters[4][4] = {{1, 1}, {1, 3, 3, 1}, {1, 2, 1}, {1, 2, 4, 3}};
    static const int lengths[4] = {2, 4, 3, 4};
    for (int i = 0; i < ROUNDS; i++) {
        int which = pick(0, 3), up = pick(0, 1), n = lengths[which];
        node_case t = {.op = &cm_op_fir, .n_in = 1};
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
        node_case silu = {.op = &cm_op_silu, .n_in = 1, .in = {d}};
        node_case add = {.op = &cm_op_add, .attr = {.add = {0.70710678f}}, .n_in = 2, .in = {d, d}};
        node_case scale = {.op = &cm_op_scale, .n_in = 2, .in = {d, one}};
        node_case mix = {.op = &cm_op_mix, .n_in = 4, .in = {d, {1, d.h, d.w, f}, one, one}};
        node_case concat = {.op = &cm_op_concat, .n_in = 2, .in = {d, {1, d.h, d.w, f}}};
        node_case *const all[] = {&silu, &add, &scale, &mix, &concat};
        for (size_t k = 0; k < 5; k++) {
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
        node_case time = {.op = &cm_op_embed_time,
                          .attr = {.time = {kind, kind ? size / 2 * 2 : size, pick(0, 1)}},
                          .n_in = 1,
                          .in = {{1, 1, 1, 1}}};
        const int64_t freqs[1][4] = {{size / 2, 0, 0, 0}};
        const int rank[2] = {1, 0};
        open_case(&time, freqs, kind == CM_TIME_FOURIER ? rank : NULL);
        check_case(&time, 1e-6);
        node_case label = {.op = &cm_op_embed_label,
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

START_TEST(kernels_at_the_edges)
{
    const cm_kernels *tables[3] = {cm_kernels_for(0), cm_kernels_for(1), cm_kernels_for(2)};
    int levels = cm_dnnl_cpu_level() < 2 ? cm_dnnl_cpu_level() + 1 : 3;
    for (int l = 0; l < levels; l++) {
        float x[7] = {-200, -88, -1e-3f, 0, 1e-3f, 100, NAN}, y[7];
        tables[l]->silu(7, x, y);
        ck_assert_msg(fabs((double)y[0]) < 1e-30 && y[3] == 0 && y[5] == 100 && isnan(y[6]), "%s", tables[l]->name);
        float s[4] = {1000, -1000, 999, -INFINITY};
        tables[l]->softmax(1, 4, 1, s);
        ck_assert_double_le(fabs((double)s[0] - 1 / (1 + exp(-1))), 1e-6);
        ck_assert(s[1] < 1e-30f && s[3] < 1e-30f);
    }
}
END_TEST

/* A mean a million times the spread: E[x^2] - E[x]^2 would lose everything. */
START_TEST(groupnorm_far_from_zero)
{
    node_case t = {
        .op = &cm_op_groupnorm, .attr = {.groupnorm = {2, CM_GN_PLAIN, 0, 1e-5f}}, .n_in = 1, .in = {{1, 8, 8, 16}}};
    const int64_t shapes[2][4] = {{16, 0, 0, 0}, {16, 0, 0, 0}};
    const int ranks[2] = {1, 1};
    open_case(&t, shapes, ranks);
    for (size_t i = 0; i < cm_desc_count(t.in[0]); i++) t.x[0][i] = 1e4f + (float)(i % 7) * 0.01f;
    check_case(&t, 1e-5);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("ops");
    TCase *t = tcase_create("ops");
    tcase_set_timeout(t, 120);
    seed = 20261123;
    tcase_add_test(t, conv2d);
    tcase_add_test(t, winograd);
    tcase_add_test(t, conv2d_bf16);
    tcase_add_test(t, tile_sums);
    tcase_add_test(t, tile_float32);
    tcase_add_test(t, tile_passes);
    tcase_add_test(t, bf16_products);
    tcase_add_test(t, bf16_rounding);
    tcase_add_test(t, linear);
    tcase_add_test(t, groupnorm);
    tcase_add_test(t, attention);
    tcase_add_test(t, attention_in_panels);
    tcase_add_test(t, attention_in_bf16);
    tcase_add_test(t, attention_float32_on_tiles);
    tcase_add_test(t, fir);
    tcase_add_test(t, pointwise);
    tcase_add_test(t, embeddings);
    tcase_add_test(t, kernels_at_the_edges);
    tcase_add_test(t, groupnorm_far_from_zero);
    suite_add_tcase(s, t);
    return s;
}
