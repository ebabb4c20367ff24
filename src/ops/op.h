/* op.h - what an op is, and the list of them.
 *
 * An op is one file with one table.  To add one: its file, one line at the end
 * of this header, its attributes in cm_attr, one line in the Makefile, one test
 * (docs/adding-an-op.md).
 *
 * Shapes: N images, H x W points, C channels, channels-last; T = H W tokens;
 * d = channels per head. */
#ifndef CM_OPS_OP_H
#define CM_OPS_OP_H

#include "base/context.h"
#include "base/parallel.h"
#include "conv/conv.h"
#include "kernels/kernels.h"
#include "tensor/desc.h"

enum { CM_OP_MAX_IN = 4, CM_OP_MAX_PARAMS = 2, CM_FIR_MAX = 8 };
/* What a plan is for: values; values, then gradients; values and tangents; values and tangents, then gradients
 * through both. */
enum { CM_MODE_INFER = 0, CM_MODE_TRAIN = 1, CM_MODE_JVP = 2, CM_MODE_TRAIN_JVP = 3 };

typedef struct cm_op cm_op;

/* Which order q, k, v have in the 3C channels of attention (networks A.5). */
enum { CM_QKV_PLAIN = 0, CM_QKV_PER_HEAD = 1, CM_QKV_INTERLEAVED = 2 };
/* What the embedding does to a group norm: nothing; (x + s) before it; (1 + a)
 * and b after it. */
enum { CM_GN_PLAIN = 0, CM_GN_ADD = 1, CM_GN_SCALE_SHIFT = 2 };
/* Frequencies of the time embedding: 10000^(-i/half); with the end point,
 * 10000^(-i/(half-1)); or a parameter times 2 pi. */
enum { CM_TIME_POSITIONAL = 0, CM_TIME_POSITIONAL_ENDPOINT = 1, CM_TIME_FOURIER = 2 };

/* The attributes of one node; each op reads its own member. */
typedef union cm_attr {
    struct {
        int32_t out, kernel, stride, pad, bias;
        float scale;             /* of the sum, when there is a second input */
        int32_t up;              /* x is repeated to twice its sides before  */
        int32_t kernel_w, pad_w; /* of the columns; 0 and 0: as of the rows */
    } conv;
    struct {
        int32_t out, bias;
    } linear;
    struct {
        int32_t groups, mode, silu;
        float eps;
        int32_t whole_factor; /* of mode SCALE_SHIFT: the factor is a, not 1 + a */
    } groupnorm;
    struct {
        int32_t heads, layout;
    } attention;
    struct {
        float scale;
    } add;
    struct {
        int32_t up, stride, pad, n;
        double f[CM_FIR_MAX];
    } fir;
    struct {
        int32_t kind, size, sin_first;
    } time;
    struct {
        int32_t classes, out, bias, transposed;
        float scale;
    } label;
    struct {
        double p;
        int32_t layer; /* number of the dropout in its network: whose masks differ */
    } dropout;
    struct {
        int32_t mean; /* else the maximum */
        int32_t kernel, stride, pad, ceil;
    } pool;
    struct {
        int32_t h, w;
    } resize;
    struct {
        int32_t channels; /* of the output; a single one of the input is copied to all */
        float shift[4], scale[4];
    } standardize;
    struct {
        int32_t map; /* 1: of each point, 0: the mean over the points */
    } distance;
    struct {
        int32_t heads, parts; /* vectors of a point: 1 and 1: all its channels; heads and 3: (head, d, q k v) */
        float eps;            /* added to the root mean square */
    } unit_norm;
    struct {
        float limit;
    } clamp;
    struct {
        float scale[2];
    } balance;
    struct {
        int32_t size;
    } fourier;
    struct {
        int32_t size, back; /* points a side of a patch; from patches to points */
    } space_to_depth;
} cm_attr;

/* Where the random bits of dropout come from: a mask is a function of (seed,
 * image, layer), so an evaluation can be repeated with the same masks. */
typedef struct cm_op_random {
    uint64_t seed;
    const uint64_t *image; /* one per image of the slice */
    int still;             /* 1: nothing is dropped      */
} cm_op_random;

/* One node of a plan, shared by all threads that run it. */
typedef struct cm_op_plan {
    const cm_op *op;
    const cm_attr *attr;
    cm_context *context;
    const cm_kernels *kernels;
    cm_desc in[CM_OP_MAX_IN], out;
    int n_in;
    cm_threads threads;      /* inside the op; one in mode TRAIN            */
    int mode;                /* CM_MODE_*                                       */
    unsigned stored_bf16;    /* what is held in bfloat16, of what `offers_bf16` of the op offers */
    int small_memory;        /* direct convolutions only                        */
    int bf16;                /* bfloat16 products, largest Winograd tile (1: none); or 0 */
    unsigned needs_gradient; /* TRAIN: bit k = the gradient of input k is wanted */
    int frozen;              /* TRAIN: the parameters get no gradients          */
    unsigned has_tangent;    /* JVP: bit k = input k has a tangent              */
    /* Set by prepare: */
    size_t scratch_bytes; /* for one run, all inner threads together         */
    size_t aux_bytes;     /* TRAIN: what forward writes for backward         */
    void *state;          /* what release frees                              */
    /* What a parameter is packed for, and the gradient of param 0 unpacked by; NULL: plain, float32. */
    const cm_convolution *packer[CM_OP_MAX_PARAMS];
    const cm_convolution *back_packer; /* param 0 once more, as backward reads it */
    const cm_conv_gradient *unpacker;
} cm_op_plan;

typedef struct cm_op_run {
    const cm_op_plan *p;
    const void *in[CM_OP_MAX_IN]; /* float or, for labels, int32              */
    void *out;
    const void *param[CM_OP_MAX_PARAMS]; /* packed or plain, as the plan says */
    const void *back_param;              /* of back_packer                    */
    void *scratch;
    const cm_op_random *random;
    /* TRAIN: what forward wrote for backward; the gradient of the output; where
     * the gradients of the inputs (NULL: not wanted) and parameters go. */
    void *aux;
    int again; /* forward runs for backward, aux is there from the first time */
    const float *dout;
    float *din[CM_OP_MAX_IN];
    void *dparam[CM_OP_MAX_PARAMS]; /* NULL: frozen */
    /* JVP: tangents of the inputs (NULL: zero) and of the output. */
    const float *tin[CM_OP_MAX_IN];
    float *tout;
    /* TRAIN_JVP: the gradient of the output's tangent, and where those of the inputs' tangents go. */
    const float *dtout;
    float *dtin[CM_OP_MAX_IN];
} cm_op_run;

enum {
    CM_OP_INPLACE = 1,   /* the output may take over input 0                       */
    CM_OP_CHEAP = 2,     /* TRAIN: where small made again for backward, not held   */
    CM_OP_FREEZES = 4,   /* its parameters may be frozen                           */
    CM_OP_SAVES_OUT = 8, /* backward and jvp read the output                       */
    /* Gradients through tangents are those of values once more: with the tangents in the place of the inputs (what
     * the parameters get of both is added, the last one's, a bias's, is of values alone), or with the inputs as they
     * are. */
    CM_OP_LINEAR = 16,
    CM_OP_SELECTS = 32
};
#define CM_BF16_OUT (1u << 31) /* of a mask whose bit k is input k               */

struct cm_op {
    const char *name;
    unsigned flags;
    unsigned saves;            /* bit k: backward reads input k                         */
    unsigned saves_for_params; /* those of them that only gradients of parameters are made of */
    /* Output shape; refuses inputs that do not fit. */
    cm_status (*shape)(const cm_attr *attr, const cm_desc *in, int n_in, cm_desc *out);
    /* Multiply-adds of a run; NULL: it passes over its values and does little with each. */
    double (*work)(const cm_op_plan *p);
    /* Which inputs it could read and whether it could write its output in bfloat16,
     * before prepare; NULL: none. */
    unsigned (*offers_bf16)(const cm_op_plan *p);
    /* State and scratch; NULL when there is nothing to prepare. */
    cm_status (*prepare)(cm_op_plan *p);
    void (*release)(cm_op_plan *p);
    cm_status (*forward)(const cm_op_run *r);
    /* Writes (never adds) the gradients of the inputs that are wanted and of
     * the parameters.  One thread; din may not overlap dout unless the op is
     * pointwise.  out: as forward left it, of ops that save it; else nothing. */
    cm_status (*backward)(const cm_op_run *r);
    /* Runs after forward; writes the tangent of the output. */
    cm_status (*jvp)(const cm_op_run *r);
    /* The output and its tangent in one go, for what both read; in place where the op may be so, both of them.  NULL:
     * forward, then jvp. */
    cm_status (*both)(const cm_op_run *r);
    /* Gradients through values and tangents, of ops that are neither LINEAR nor SELECT; reads tin as well
     * (derivatives 3).  With dtout NULL it is `backward`, which is called then. */
    cm_status (*both_backward)(const cm_op_run *r);
};

/* Whether gradients are made, and whether there are tangents. */
static inline int cmi_op_trains(const cm_op_plan *p)
{
    return p->mode == CM_MODE_TRAIN || p->mode == CM_MODE_TRAIN_JVP;
}
static inline int cmi_op_moves(const cm_op_plan *p)
{
    return p->mode == CM_MODE_JVP || p->mode == CM_MODE_TRAIN_JVP;
}

/* Work over points (rows of c values) is cut into pieces of 64, whatever the
 * number of threads. */
static inline int cmi_op_row_pieces(size_t rows)
{
    return (int)((rows + 63) / 64);
}
static inline size_t cmi_op_piece_rows(size_t rows, int piece)
{
    size_t first = (size_t)piece * 64;
    return rows - first < 64 ? rows - first : 64;
}

extern const cm_op cmi_op_conv2d;         /* x, [r]; weight [out, C, k, k_w], bias [out]   */
extern const cm_op cmi_op_conv2d_relu;    /* the same, then max(y, 0)                      */
extern const cm_op cmi_op_linear;         /* x [N,1,1,k]; weight [out, k], bias [out]       */
extern const cm_op cmi_op_groupnorm;      /* x, [embedding]; weight [C], bias [C]           */
extern const cm_op cmi_op_attention;      /* qkv [N,H,W,3C], or q and k = v -> [N,H,W,C]    */
extern const cm_op cmi_op_silu;           /* x                                              */
extern const cm_op cmi_op_add;            /* (a + b) scale                                  */
extern const cm_op cmi_op_concat;         /* up to four, along channels                       */
extern const cm_op cmi_op_fir;            /* depthwise FIR, up or down by 2                 */
extern const cm_op cmi_op_scale;          /* x s, s [N]                                     */
extern const cm_op cmi_op_mix;            /* s x + t f[..C], s and t [N]                    */
extern const cm_op cmi_op_embed_time;     /* t [N] -> cos and sin features; [freqs]         */
extern const cm_op cmi_op_embed_label;    /* e, labels int32 [N]: e + scale table[label]    */
extern const cm_op cmi_op_dropout;        /* x m / (1 - p), m 0 with probability p         */
extern const cm_op cmi_op_relu;           /* max(x, 0)                                      */
extern const cm_op cmi_op_pool;           /* maximum or mean of windows                     */
extern const cm_op cmi_op_resize;         /* bilinear, to h x w points                      */
extern const cm_op cmi_op_standardize;    /* (x - shift) / scale of each channel            */
extern const cm_op cmi_op_distance;       /* f, g; weight [C]: of unit vectors over channels */
extern const cm_op cmi_op_speed;          /* f; weight [C]: of its unit vectors along its tangent */
extern const cm_op cmi_op_unit_norm;      /* x / (eps + rms x) over channels, or of q, k and v  */
extern const cm_op cmi_op_modulate;       /* x, s [N,1,1,C]: SiLU(x (1 + s))                    */
extern const cm_op cmi_op_clamp;          /* x within [-limit, limit]                           */
extern const cm_op cmi_op_balance;        /* a s, b t along channels                            */
extern const cm_op cmi_op_ones;           /* x and a channel of ones                            */
extern const cm_op cmi_op_fourier;        /* t [N] -> sqrt2 cos(t f + p); f [size], p [size]    */
extern const cm_op cmi_op_space_to_depth; /* [N, H, W, C] <-> [N, H / p, W / p, p p C]          */

#endif
