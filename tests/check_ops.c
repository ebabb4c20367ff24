/* Every op but convolutions (check_convs.c) against plain loops in double (support/node_case.h). */
#include "support/node_case.h"

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

START_TEST(space_to_depth)
{
    for (int i = 0; i < ROUNDS; i++) {
        const int size = pick(1, 4), back = pick(0, 1), h = pick(1, 5), w = pick(1, 5), c = pick(1, 9);
        node_case t = {.op = &cmi_op_space_to_depth, .attr = {.space_to_depth = {size, back}}, .n_in = 1};
        t.in[0] = back ? (cm_desc){1, h, w, size * size * c} : (cm_desc){1, size * h, size * w, c};
        open_case(&t, NULL, NULL);
        check_case(&t, 1e-6);
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
            .size = 1, /* a mean of hundreds of numbers around 1 may be near 0 */
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

/* `speed` of image n in double (src/ops/speed.c), with the features and their tangent moved by h of `change`. */
static double naive_speed(const node_case *t, int n, const float *tangent, double h, const float *change,
                          int of_tangent)
{
    const size_t c = (size_t)t->in[0].c, points = (size_t)t->in[0].h * (size_t)t->in[0].w;
    double sum = 0;
    for (size_t i = 0; i < points; i++) {
        const size_t at = ((size_t)n * points + i) * c;
        double f[70], v[70], s = 0, along = 0;
        for (size_t k = 0; k < c; k++) {
            f[k] = (double)t->x[0][at + k] + (of_tangent ? 0 : h * (double)change[at + k]);
            v[k] = (double)tangent[at + k] + (of_tangent ? h * (double)change[at + k] : 0);
            s += f[k] * f[k], along += f[k] * v[k];
        }
        s = sqrt(s);
        for (size_t k = 0; k < c && s > 0; k++) {
            const double y = v[k] / s - f[k] * along / (s * s * s);
            sum += (double)t->p[0][k] * y * y;
        }
    }
    return sum / (double)points;
}

/* The gradient by the features, or by their tangent, along a random direction beside differences. */
static void check_speed_gradient(const node_case *t, const float *tangent, const float *u, const float *g,
                                 int of_tangent)
{
    const size_t m = cmi_desc_count(t->in[0]);
    float *change = numbers(m, 1, 0);
    const double h = 1e-4;
    double want = 0, ours = 0;
    if (t->x[0][0] == 0) memset(change, 0, (size_t)t->in[0].c * sizeof *change); /* the dead point */
    for (int n = 0; n < N; n++)
        want +=
            (double)u[n] *
            (naive_speed(t, n, tangent, h, change, of_tangent) - naive_speed(t, n, tangent, -h, change, of_tangent)) /
            (2 * h);
    for (size_t k = 0; k < m; k++) ours += (double)g[k] * (double)change[k];
    ck_assert_msg(fabs(ours - want) <= 1e-4 * size_of(m, NULL, g) * size_of(m, NULL, change) + 1e-6,
                  "speed of %d channels: gradient by the %s %.9g, expected %.9g", t->in[0].c,
                  of_tangent ? "tangent" : "features", ours, want);
    free(change);
}

/* Its plans are for gradients through tangents with frozen weights, and refused for all else. */
START_TEST(speed)
{
    for (int i = 0; i < ROUNDS; i++) {
        const int c = i ? pick(2, 70) : 1;
        const int64_t shapes[1][4] = {{1, c, 1, 1}};
        const int ranks[2] = {4, 0};
        node_case t = {.op = &cmi_op_speed, .n_in = 1, .in = {image(1, 9, c)}};
        cm_plan_options options = {
            .slice = N, .threads = 1, .share = 1, .mode = CM_MODE_TRAIN_JVP, .inputs = 1, .tangents = 1, .frozen = 1};
        cm_plan *plan;
        open_case(&t, shapes, ranks);
        const size_t m = cmi_desc_count(t.in[0]);
        float *tangent = numbers(m, 1, 0), *u = numbers(N, 1, 0);
        if (i % 3 == 0) memset(t.x[0], 0, (size_t)c * sizeof(float));
        const runner r = open_runner(&t, &options);
        load(&t, r.exec);
        memcpy(cmi_exec_tangent_input(r.exec, 0), tangent, m * sizeof *tangent);
        OK(cmi_exec_run(r.exec, r.weights));
        for (int n = 0; n < N; n++) {
            const double want = naive_speed(&t, n, tangent, 0, tangent, 0);
            ck_assert_msg(fabs((double)cmi_exec_output(r.exec, 0)[n] - want) <= 1e-5 * fabs(want) + 1e-9,
                          "speed of %d channels: %g, expected %g", c, (double)cmi_exec_output(r.exec, 0)[n], want);
            ck_assert(cmi_exec_tangent_output(r.exec, 0)[n] == 0);
            cmi_exec_tangent_cotangent(r.exec)[n] = 3; /* goes no further */
        }
        memcpy(cmi_exec_cotangent(r.exec), u, N * sizeof *u);
        OK(cmi_exec_backward(r.exec, r.weights));
        check_speed_gradient(&t, tangent, u, cmi_exec_input_gradient(r.exec, 0), 0);
        check_speed_gradient(&t, tangent, u, cmi_exec_input_tangent_gradient(r.exec, 0), 1);
        for (int k = 0; i % 3 == 0 && k < c; k++)
            ck_assert(cmi_exec_input_gradient(r.exec, 0)[k] == 0 &&
                      cmi_exec_input_tangent_gradient(r.exec, 0)[k] == 0);
        close_runner(&r);
        options.frozen = 0;
        FAILS(cmi_plan_create(t.graph, &options, &plan), CM_ERR_INTERNAL, "speed");
        options.frozen = 1, options.mode = CM_MODE_JVP;
        FAILS(cmi_plan_create(t.graph, &options, &plan), CM_ERR_INTERNAL, "speed");
        free(tangent), free(u);
        close_case(&t);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("ops");
    TCase *t = tcase_create("ops");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, linear);
    tcase_add_test(t, groupnorm);
    tcase_add_test(t, attention);
    tcase_add_test(t, attention_in_panels);
    tcase_add_test(t, attention_in_bf16);
    tcase_add_test(t, fir);
    tcase_add_test(t, pointwise);
    tcase_add_test(t, space_to_depth);
    tcase_add_test(t, relu);
    tcase_add_test(t, pool);
    tcase_add_test(t, resize);
    tcase_add_test(t, standardize);
    tcase_add_test(t, distance);
    tcase_add_test(t, distance_of_dead_points);
    tcase_add_test(t, speed);
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
