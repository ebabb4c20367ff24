/* direct_conv.c - see the header. */
#include "conv/direct_conv.h"

#include <string.h>

#include "tensor/desc.h"

struct cm_direct_calls {
    cm_context *context;
    int32_t n;
    cm_dnnl_call *call[];
};

enum { FIRST, INNER, LAST };

static int32_t out_rows(const cm_dnnl_conv_shape *s)
{
    return cmi_conv_size(s->h, s->kernel, s->stride, s->pad);
}

/* Of a strip: its output rows, and the input rows that they reach. */
typedef struct {
    int32_t first, rows, from, h, top;
} strip;

static strip strip_of(const cm_direct_conv *c, int index)
{
    const cm_dnnl_conv_shape *s = &c->shape;
    const int32_t left = out_rows(s) - index * c->rows;
    strip t = {.first = index * c->rows, .rows = left < c->rows ? left : c->rows};
    int32_t begin = t.first * s->stride - s->pad, end = begin + (t.rows - 1) * s->stride + s->kernel;
    t.top = begin < 0 ? -begin : 0;
    t.from = begin + t.top;
    t.h = (end < s->h ? end : s->h) - t.from;
    return t;
}

static int kind_of(const cm_direct_conv *c, int index)
{
    return index == 0 ? FIRST : index == c->strips - 1 ? LAST : INNER;
}

/* Sums by matrix product, and those of channels that are no multiples of 16 (first and last
 * layers: little work), may be split differently for another number of rows. */
static int may_be_cut(const cm_direct_conv *c)
{
    const cm_dnnl_conv_shape *s = &c->shape;
    return c->threads.count > 1 && s->n == 1 && s->c % 16 == 0 && s->oc % 16 == 0 && out_rows(s) > 1 &&
           s->pad < s->kernel && !strstr(cmi_dnnl_kernel_name(c->part[FIRST]), "gemm");
}

static void free_parts(cm_direct_conv *c)
{
    for (int i = 0; i < 3; i++) {
        cmi_dnnl_primitive_free(c->part[i]);
        c->part[i] = NULL;
    }
}

static cm_status create_strips(cm_dnnl_engine *engine, cm_direct_conv *c)
{
    const int last = c->strips - 1;
    for (int kind = FIRST; kind <= LAST; kind++) {
        const strip t = strip_of(c, kind == FIRST ? 0 : kind == LAST ? last : 1);
        cm_dnnl_conv_shape s = c->shape;
        if (kind == INNER && c->strips < 3) continue;
        s.h = t.h, s.top = t.top, s.rows = t.rows;
        CM_TRY(cmi_dnnl_conv_create(engine, &s, &c->part[kind]));
    }
    return CM_OK;
}

/* Whether one primitive serves all inner strips: not where a kernel reaches beyond the strips next to its own. */
static int inner_alike(const cm_direct_conv *c)
{
    const strip first = strip_of(c, 1);
    for (int i = 2; i < c->strips - 1; i++) {
        const strip t = strip_of(c, i);
        if (t.top != first.top || t.h != first.h || t.rows != first.rows) return 0;
    }
    return 1;
}

/* Whether the strips are done by one kernel, with weights packed alike. */
static int alike(const cm_direct_conv *c, const cm_dnnl_primitive *whole)
{
    for (int i = 0; i < 3; i++)
        if (c->part[i] && (strcmp(cmi_dnnl_kernel_name(c->part[i]), cmi_dnnl_kernel_name(whole)) != 0 ||
                           !cmi_dnnl_same_layout(c->part[i], whole)))
            return 0;
    return 1;
}

/* The strips take the place of the whole where they are done alike. */
static cm_status cut(cm_dnnl_engine *engine, cm_direct_conv *c)
{
    const int32_t rows = out_rows(&c->shape), wanted = 2 * c->threads.count;
    cm_direct_conv strips = *c;
    memset(strips.part, 0, sizeof strips.part);
    strips.rows = (rows + wanted - 1) / wanted;
    strips.strips = (rows + strips.rows - 1) / strips.rows;
    if (!inner_alike(&strips)) return CM_OK;
    cm_status status = create_strips(engine, &strips);
    if (status == CM_OK && alike(&strips, c->part[FIRST])) {
        free_parts(c);
        *c = strips;
    } else {
        free_parts(&strips);
    }
    return status;
}

cm_status cmi_direct_conv_create(cm_dnnl_engine *engine, const cm_dnnl_conv_shape *shape, cm_threads threads,
                                 cm_direct_conv *conv)
{
    *conv = (cm_direct_conv){.shape = *shape, .threads = threads, .strips = 1, .rows = out_rows(shape)};
    CM_TRY(cmi_dnnl_conv_create(engine, shape, &conv->part[FIRST]));
    cm_status status = may_be_cut(conv) ? cut(engine, conv) : CM_OK;
    if (status != CM_OK) free_parts(conv);
    return status;
}

void cmi_direct_conv_release(cm_direct_conv *conv)
{
    free_parts(conv);
}

/* Of one worker. */
static size_t worker_bytes(const cm_direct_conv *c)
{
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        size_t bytes = c->part[i] ? cmi_dnnl_scratch_bytes(c->part[i]) : 0;
        if (bytes > most) most = bytes;
    }
    return (most + 63) / 64 * 64;
}

size_t cmi_direct_conv_scratch_bytes(const cm_direct_conv *conv)
{
    if (!conv->part[FIRST]) return 0;
    return (size_t)(conv->strips > 1 ? conv->threads.count : 1) * worker_bytes(conv);
}

cm_status cmi_direct_calls_create(cm_context *context, const cm_direct_conv *conv, cm_direct_calls **out)
{
    *out = cmi_calloc(context, 1, sizeof **out + (size_t)conv->strips * sizeof(*out)->call[0]);
    if (!*out) return CM_ERR_MEMORY;
    (*out)->context = context;
    (*out)->n = conv->strips;
    for (int i = 0; i < conv->strips; i++)
        CM_TRY(cmi_dnnl_call_create(conv->part[kind_of(conv, i)], &(*out)->call[i])); /* freed with *out */
    return CM_OK;
}

void cmi_direct_calls_free(cm_direct_calls *calls)
{
    if (!calls) return;
    for (int32_t i = 0; i < calls->n; i++) cmi_dnnl_call_free(calls->call[i]);
    cmi_free(calls->context, calls);
}

typedef struct {
    const cm_direct_conv *conv;
    const cm_direct_calls *calls;
    const float *x, *bias;
    const void *packed;
    float *y;
    unsigned char *scratch;
} job;

static cm_status strip_piece(void *user, int index, int worker)
{
    const job *j = user;
    const cm_dnnl_conv_shape *s = &j->conv->shape;
    const strip t = strip_of(j->conv, index);
    const size_t in_row = (size_t)s->w * (size_t)s->c;
    const size_t out_row = (size_t)cmi_conv_size(s->w, s->kernel_w, s->stride, s->pad_w) * (size_t)s->oc;
    return cmi_dnnl_execute(j->calls->call[index], j->x + (size_t)t.from * in_row, j->packed, j->bias,
                            j->y + (size_t)t.first * out_row, j->scratch + (size_t)worker * worker_bytes(j->conv));
}

cm_status cmi_direct_conv_run(const cm_direct_conv *conv, const cm_direct_calls *calls, const float *x,
                              const void *packed, const float *bias, float *y, void *scratch)
{
    job j = {conv, calls, x, bias, packed, y, scratch};
    if (conv->strips == 1) return cmi_dnnl_execute(calls->call[0], x, packed, bias, y, scratch);
    return cmi_parallel(conv->threads, conv->strips, strip_piece, &j);
}
