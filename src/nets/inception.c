/* inception.c - the Inception network of FID: "inception-2015-12-05" over 299 x 299 points (metrics 2).
 *
 * Torchvision's Inception v3 with mean pools that leave the padding out, a maximum in the last block, 1008 classes
 * and the first epsilon of batch normalisation.  A file has its tensors by the names of pytorch-fid or by those of
 * StyleGAN3 and OpenAI's evaluator, which have no gamma. */
#include "nets/feature_net.h"

static const double EPS = 1e-3;
static const char TORCH[] = "Conv2d_1a_3x3.conv.weight", TENSORFLOW[] = "layers.conv.weight";

/* Both names of a block or of a layer. */
typedef struct {
    const char *torch, *tensorflow;
} names;

/* What is described, and where. */
typedef struct {
    cm_feature_net *net;
    cm_graph *g;
    int by_torch; /* else by the names of TensorFlow's graph */
    names block;  /* NULL: outside of one                    */
} place;

/* norm(conv(x)) of k x k_w points. */
static cm_value linear_layer(const place *at, names name, cm_value x, int32_t out, int32_t k, int32_t k_w,
                             int32_t stride, int padded)
{
    static const char *const tensorflow_norm[4] = {NULL, "beta", "mean", "var"};
    const int32_t w = k_w == k ? 0 : k_w; /* square kernels go by the faster algorithms */
    const cm_attr attr = {.conv = {out, k, stride, padded ? k / 2 : 0, 1, 0, 0, w, w && padded ? k_w / 2 : 0}};
    const char *block = at->by_torch ? at->block.torch : at->block.tensorflow;
    const char *own = at->by_torch ? name.torch : name.tensorflow, *dot = block ? "." : "";
    cm_name prefix;
    if (!block) block = "";
    if (at->by_torch) {
        prefix = cmi_name_of("%s%s%s", block, dot, own);
        return cmi_feature_conv_normed(at->net, cmi_name_of("%s.conv", prefix.text).text,
                                       cmi_name_of("%s.bn", prefix.text).text, cmi_feature_norm, EPS, x, NULL, &attr);
    }
    prefix = cmi_name_of("layers.%s%s%s", block, dot, own);
    return cmi_feature_conv_normed(at->net, prefix.text, prefix.text, tensorflow_norm, EPS, x, NULL, &attr);
}

/* relu(norm(conv(x))) */
static cm_value layer(const place *at, names name, cm_value x, int32_t out, int32_t k, int32_t k_w, int32_t stride,
                      int padded)
{
    return cmi_relu(at->g, linear_layer(at, name, x, out, k, k_w, stride, padded));
}

/* Of k x k points that keep the image's size. */
static cm_value same(const place *at, names name, cm_value x, int32_t out, int32_t k, int32_t k_w)
{
    return layer(at, name, x, out, k, k_w, 1, 1);
}

/* 3 x 3 without padding and with stride 2. */
static cm_value halved(const place *at, names name, cm_value x, int32_t out)
{
    return layer(at, name, x, out, 3, 3, 2, 0);
}

/* Windows of 3 x 3 that keep the image's size. */
static cm_value pooled(const place *at, cm_value x, int mean)
{
    const cm_attr attr = {.pool = {mean, 3, 1, 1, 0}};
    return cmi_graph_node(at->g, &cmi_op_pool, &attr, &x, 1, -1, -1);
}

/* A 1 x 1 layer of the pooled image.  Behind means it is the means of the layer of each point, which are fewer. */
static cm_value pooled_layer(const place *at, names name, cm_value x, int32_t out, int mean)
{
    if (!mean) return same(at, name, pooled(at, x, 0), out, 1, 1);
    return cmi_relu(at->g, pooled(at, linear_layer(at, name, x, out, 1, 1, 1, 1), 1));
}

static cm_value join(const place *at, cm_value a, cm_value b, cm_value c, cm_value d)
{
    const cm_value in[4] = {a, b, c, d};
    return cmi_graph_node(at->g, &cmi_op_concat, NULL, in, 4, -1, -1);
}

static cm_value join3(const place *at, cm_value a, cm_value b, cm_value c)
{
    const cm_value in[3] = {a, b, c};
    return cmi_graph_node(at->g, &cmi_op_concat, NULL, in, 3, -1, -1);
}

static cm_value block_a(place *at, names block, cm_value x, int32_t width)
{
    at->block = block;
    const cm_value one = same(at, (names){"branch1x1", "conv"}, x, 64, 1, 1);
    cm_value five = same(at, (names){"branch5x5_1", "tower.conv"}, x, 48, 1, 1);
    five = same(at, (names){"branch5x5_2", "tower.conv_1"}, five, 64, 5, 5);
    cm_value three = same(at, (names){"branch3x3dbl_1", "tower_1.conv"}, x, 64, 1, 1);
    three = same(at, (names){"branch3x3dbl_2", "tower_1.conv_1"}, three, 96, 3, 3);
    three = same(at, (names){"branch3x3dbl_3", "tower_1.conv_2"}, three, 96, 3, 3);
    const cm_value pool = pooled_layer(at, (names){"branch_pool", "tower_2.conv"}, x, width, 1);
    return join(at, one, five, three, pool);
}

static cm_value block_b(place *at, names block, cm_value x)
{
    at->block = block;
    const cm_value three = halved(at, (names){"branch3x3", "conv"}, x, 384);
    cm_value twice = same(at, (names){"branch3x3dbl_1", "tower.conv"}, x, 64, 1, 1);
    twice = same(at, (names){"branch3x3dbl_2", "tower.conv_1"}, twice, 96, 3, 3);
    twice = halved(at, (names){"branch3x3dbl_3", "tower.conv_2"}, twice, 96);
    return join3(at, three, twice, cmi_max_pool(at->g, x, 3, 2));
}

/* *first is the first branch. */
static cm_value block_c(place *at, names block, cm_value x, int32_t w, cm_value *first)
{
    at->block = block;
    const cm_value one = same(at, (names){"branch1x1", "conv"}, x, 192, 1, 1);
    cm_value seven = same(at, (names){"branch7x7_1", "tower.conv"}, x, w, 1, 1);
    seven = same(at, (names){"branch7x7_2", "tower.conv_1"}, seven, w, 1, 7);
    seven = same(at, (names){"branch7x7_3", "tower.conv_2"}, seven, 192, 7, 1);
    cm_value twice = same(at, (names){"branch7x7dbl_1", "tower_1.conv"}, x, w, 1, 1);
    twice = same(at, (names){"branch7x7dbl_2", "tower_1.conv_1"}, twice, w, 7, 1);
    twice = same(at, (names){"branch7x7dbl_3", "tower_1.conv_2"}, twice, w, 1, 7);
    twice = same(at, (names){"branch7x7dbl_4", "tower_1.conv_3"}, twice, w, 7, 1);
    twice = same(at, (names){"branch7x7dbl_5", "tower_1.conv_4"}, twice, 192, 1, 7);
    const cm_value pool = pooled_layer(at, (names){"branch_pool", "tower_2.conv"}, x, 192, 1);
    if (first) *first = one;
    return join(at, one, seven, twice, pool);
}

static cm_value block_d(place *at, names block, cm_value x)
{
    at->block = block;
    cm_value three = same(at, (names){"branch3x3_1", "tower.conv"}, x, 192, 1, 1);
    three = halved(at, (names){"branch3x3_2", "tower.conv_1"}, three, 320);
    cm_value seven = same(at, (names){"branch7x7x3_1", "tower_1.conv"}, x, 192, 1, 1);
    seven = same(at, (names){"branch7x7x3_2", "tower_1.conv_1"}, seven, 192, 1, 7);
    seven = same(at, (names){"branch7x7x3_3", "tower_1.conv_2"}, seven, 192, 7, 1);
    seven = halved(at, (names){"branch7x7x3_4", "tower_1.conv_3"}, seven, 192);
    return join3(at, three, seven, cmi_max_pool(at->g, x, 3, 2));
}

static cm_value block_e(place *at, names block, cm_value x, int mean)
{
    at->block = block;
    const cm_value one = same(at, (names){"branch1x1", "conv"}, x, 320, 1, 1);
    cm_value three = same(at, (names){"branch3x3_1", "tower_conv"}, x, 384, 1, 1);
    three = cmi_concat(at->g, same(at, (names){"branch3x3_2a", "tower_mixed_conv"}, three, 384, 1, 3),
                       same(at, (names){"branch3x3_2b", "tower_mixed_conv_1"}, three, 384, 3, 1));
    cm_value twice = same(at, (names){"branch3x3dbl_1", "tower_1_conv"}, x, 448, 1, 1);
    twice = same(at, (names){"branch3x3dbl_2", "tower_1_conv_1"}, twice, 384, 3, 3);
    twice = cmi_concat(at->g, same(at, (names){"branch3x3dbl_3a", "tower_1_mixed_conv"}, twice, 384, 1, 3),
                       same(at, (names){"branch3x3dbl_3b", "tower_1_mixed_conv_1"}, twice, 384, 3, 1));
    const cm_value pool = pooled_layer(at, (names){"branch_pool", "tower_2_conv"}, x, 192, mean);
    return join(at, one, three, twice, pool);
}

/* The layers before the blocks; early: the first two blocks of pytorch-fid. */
static cm_value stem(const place *at, cm_value x, cm_value early[3])
{
    x = layer(at, (names){"Conv2d_1a_3x3", "conv"}, x, 32, 3, 3, 2, 0);
    x = layer(at, (names){"Conv2d_2a_3x3", "conv_1"}, x, 32, 3, 3, 1, 0);
    x = layer(at, (names){"Conv2d_2b_3x3", "conv_2"}, x, 64, 3, 3, 1, 1);
    early[0] = x = cmi_max_pool(at->g, x, 3, 2);
    x = layer(at, (names){"Conv2d_3b_1x1", "conv_3"}, x, 80, 1, 1, 1, 0);
    x = layer(at, (names){"Conv2d_4a_3x3", "conv_4"}, x, 192, 3, 3, 1, 0);
    return early[1] = cmi_max_pool(at->g, x, 3, 2);
}

static cm_value blocks(place *at, cm_value x, cm_value early[3], cm_value *spatial)
{
    x = block_a(at, (names){"Mixed_5b", "mixed"}, x, 32);
    x = block_a(at, (names){"Mixed_5c", "mixed_1"}, x, 64);
    x = block_a(at, (names){"Mixed_5d", "mixed_2"}, x, 64);
    x = block_b(at, (names){"Mixed_6a", "mixed_3"}, x);
    x = block_c(at, (names){"Mixed_6b", "mixed_4"}, x, 128, NULL);
    x = block_c(at, (names){"Mixed_6c", "mixed_5"}, x, 160, NULL);
    x = block_c(at, (names){"Mixed_6d", "mixed_6"}, x, 160, spatial);
    early[2] = x = block_c(at, (names){"Mixed_6e", "mixed_7"}, x, 192, NULL);
    x = block_d(at, (names){"Mixed_7a", "mixed_8"}, x);
    x = block_e(at, (names){"Mixed_7b", "mixed_9"}, x, 1);
    return block_e(at, (names){"Mixed_7c", "mixed_10"}, x, 0);
}

static void describe(cm_feature_net *net, cm_value x)
{
    cm_graph *g = net->graph;
    place at = {net, g, !cmi_tensors_find(net->file, TENSORFLOW), {NULL, NULL}};
    const char *linear = at.by_torch ? "fc" : "output";
    cm_value early[3], spatial = 0;
    x = blocks(&at, stem(&at, x, early), early, &spatial);
    x = cmi_mean_pool(g, x, 0, 1);
    cmi_graph_output(g, x);
    cmi_graph_output(g, cmi_feature_linear(net, linear, x, net->family->classes, 1));
    cmi_graph_output(g, cmi_feature_linear(net, linear, x, net->family->classes, 0));
    cmi_graph_output(g, spatial);
    for (int i = 0; i < 3; i++) cmi_graph_output(g, cmi_mean_pool(g, early[i], 0, 1));
}

#define INCEPTION(title, text, rule, tensor, unit, middle, half)                                                     \
    {                                                                                                                \
        .name = title, .about = text, .channels = 3, .side = 299, .features = 2048, .classes = 1008, .resize = rule, \
        .spatial = {17 * 17, 7}, .early = {64, 192, 768}, .slice = 4, .marker = tensor, .divisor = unit,             \
        .shift = {middle, middle, middle}, .scale = {half, half, half}, .describe = describe                         \
    }
const cm_feature_family cmi_feature_inception =
                            INCEPTION("inception", "the network of FID, with inputs as OpenAI's evaluator has them",
                                      CM_FEATURE_BY_CORNERS, TENSORFLOW, 1, 128, 128),
                        cmi_feature_inception_pytorch =
                            INCEPTION("inception-pytorch", "the network of FID, with inputs as pytorch-fid has them",
                                      CM_FEATURE_BY_CENTRES, TORCH, 255, 0.5f, 0.5f);
