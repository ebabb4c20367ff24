/* Every op against plain loops in double, on random odd shapes, for 1 to 3
 * threads inside the op (same bits) and slices of 1 to 3 images (same bits). */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "graph/plan.h"
#include "ref/naive.h"

enum { N = 3 };

/* CHECK_SHORT: for slow tools. */
#define ROUNDS (getenv("CHECK_SHORT") ? 4 : 40)

/* One node as a graph, with random inputs and parameters. */
typedef struct {
    const cm_op *op;
    cm_attr attr;
    cm_desc in[CM_OP_MAX_IN], out;
    int n_in, n_params;
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
    const cm_plan_options options = {slice, threads, 1};
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
    for (int threads = 2; threads <= 3; threads++) {
        run_case(t, 1, threads, other);
        ck_assert_msg(memcmp(y, other, n * sizeof *y) == 0, "%s: %d threads change the bits", t->op->name, threads);
    }
    run_case(t, 3, 1, other);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)other[i] - want[i]) <= tolerance * most, "%s: a slice of 3 is off", t->op->name);
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
        node_case t = {.op = &cm_op_conv2d, .attr = {.conv = {out, k, stride, pad, bias}}, .n_in = 1};
        const int64_t shapes[2][4] = {{out, c, k, k}, {out, 0, 0, 0}};
        const int ranks[2] = {4, bias};
        t.in[0] = image(k, 13, c);
        open_case(&t, shapes, ranks);
        check_case(&t, 3e-6);
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
    int levels = cm_dnnl_cpu_level() + 1;
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
    tcase_add_test(t, linear);
    tcase_add_test(t, groupnorm);
    tcase_add_test(t, attention);
    tcase_add_test(t, fir);
    tcase_add_test(t, pointwise);
    tcase_add_test(t, embeddings);
    tcase_add_test(t, kernels_at_the_edges);
    tcase_add_test(t, groupnorm_far_from_zero);
    suite_add_tcase(s, t);
    return s;
}
