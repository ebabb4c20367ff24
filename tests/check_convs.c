/* Convolutions of every algorithm against a plain loop in double (support/node_case.h). */
#include "support/node_case.h"

#include "base/cpu_level.h"
#include "conv/conv.h"

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

/* One algorithm serves every layer; with small memory, and where nothing else does, that of patches. */
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
        if (s.c % 16 && s.oc % 16) ck_assert_ptr_eq(conv.algorithm, &cmi_conv_patches);
        options.small_memory = 1;
        cmi_conv_init(&conv, &options, &s);
        ck_assert_ptr_eq(conv.algorithm, &cmi_conv_patches);
        s.up = 1;
        cmi_conv_init(&conv, &options, &s);
        ck_assert_ptr_null(conv.algorithm);
    }
}
END_TEST

/* Packed weights stay when the plan they were packed for goes: the next plan shares them, and they follow changed
 * values.  Of patches, of Winograd, of few outputs. */
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

Suite *make_suite(void)
{
    Suite *s = suite_create("convs");
    TCase *t = tcase_create("convs");
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
    tcase_add_test(t, conv2d_relu);
    suite_add_tcase(s, t);
    return s;
}
