/* images.c - checking pictures of any layout and copying between them. */
#include "tensor/images.h"

#include <stdlib.h>
#include <math.h>
#include <string.h>

#include "base/options.h"

enum { DIMENSIONS = 4 };

/* The sizes of a view and the steps in bytes that belong to them. */
typedef struct {
    int64_t count[DIMENSIONS], stride[DIMENSIONS];
    int64_t item; /* bytes of a value */
} grid;

static grid grid_of(const cm_view *v)
{
    const grid g = {{(int64_t)v->n, (int64_t)v->channels, (int64_t)v->height, (int64_t)v->width},
                    {v->image, v->channel, v->row, v->pixel},
                    v->is_u8 ? 1 : (int64_t)sizeof(float)};
    return g;
}

/* --- where the bytes lie -------------------------------------------------------------- */

/* The lowest byte and the one behind the highest, from `data` on. */
static void reach(const grid *g, int64_t *low, int64_t *high)
{
    *low = 0;
    *high = g->item;
    for (int i = 0; i < DIMENSIONS; i++) {
        int64_t far = (g->count[i] - 1) * g->stride[i];
        *(far < 0 ? low : high) += far;
    }
}

static cm_status check_reach(const char *what, const cm_view *v)
{
    const int64_t most = (int64_t)1 << 47;
    const grid g = grid_of(v);
    int64_t low, high, far, sum = 0;
    for (int i = 0; i < DIMENSIONS; i++) {
        int64_t step = g.stride[i] < 0 ? -(g.stride[i] + 1) : g.stride[i]; /* one less where negative: no overflow */
        if (__builtin_mul_overflow(g.count[i] - 1, step, &far) || far > most - sum)
            CM_FAIL(CM_ERR_LIMIT, "%s: %lld steps of %lld bytes do not fit into memory", what,
                    (long long)g.count[i] - 1, (long long)g.stride[i]);
        sum += far;
    }
    reach(&g, &low, &high);
    uint64_t at = (uint64_t)(uintptr_t)v->data;
    if (v->data && (at < (uint64_t)-low || UINTPTR_MAX - at < (uint64_t)high))
        CM_FAIL(CM_ERR_LIMIT, "%s: strides lead out of the memory", what);
    return CM_OK;
}

/* Sorted by stride, each step leads past all that the smaller ones reach: so in every part of a dense buffer. */
static int is_nested(const grid *g)
{
    int64_t reached = g->item;
    int used[DIMENSIONS] = {0};
    for (int k = 0; k < DIMENSIONS; k++) {
        int next = -1;
        for (int i = 0; i < DIMENSIONS; i++) {
            if (used[i] || g->count[i] == 1) continue;
            if (next < 0 || llabs(g->stride[i]) < llabs(g->stride[next])) next = i;
        }
        if (next < 0) return 1;
        used[next] = 1;
        if (llabs(g->stride[next]) < reached) return 0;
        reached += (g->count[next] - 1) * llabs(g->stride[next]);
    }
    return 1;
}

typedef enum { APART, MEETS, UNDECIDED } meeting;

/* The search for a difference of two places that is shorter than a value.  The longest steps come first: the shorter
 * ones have to bring it back, so that few differences of the longer ones need to be tried. */
typedef struct {
    int64_t count[DIMENSIONS], stride[DIMENSIONS];
    int64_t rest[DIMENSIONS]; /* as far as the sizes behind lead, and a value */
    int64_t item, tries;
    int same;
} search;

static search search_of(const grid *g, int same)
{
    enum { TRIES = 10000000 }; /* less than a second */
    search s = {.item = g->item, .tries = TRIES, .same = same};
    for (int i = 0; i < DIMENSIONS; i++) {
        const int64_t stride = g->count[i] > 1 ? llabs(g->stride[i]) : 0; /* differences have both signs */
        int at = i;
        for (; at > 0 && s.stride[at - 1] < stride; at--)
            s.stride[at] = s.stride[at - 1], s.count[at] = s.count[at - 1];
        s.stride[at] = stride, s.count[at] = g->count[i];
    }
    int64_t reached = s.item - 1;
    for (int i = DIMENSIONS - 1; i >= 0; i--) {
        s.rest[i] = reached;
        reached += (s.count[i] - 1) * s.stride[i];
    }
    return s;
}

/* Of a positive b, rounded down. */
static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* From the difference `at` on, by steps of the sizes from `level` on; moved: it is one of two different values. */
static meeting try_from(search *s, int level, int64_t at, int moved)
{
    if (level == DIMENSIONS) return llabs(at) < s->item && (moved || !s->same) ? MEETS : APART;
    const int64_t most = s->count[level] - 1, stride = s->stride[level];
    int64_t first = 0, last = 0;
    if (stride > 0) {
        first = -floor_divide(s->rest[level] + at, stride), last = floor_divide(s->rest[level] - at, stride);
        if (first < -most) first = -most;
        if (last > most) last = most;
    }
    for (int64_t d = first; d <= last; d++) {
        if (--s->tries < 0) return UNDECIDED;
        meeting m = try_from(s, level + 1, at + d * stride, moved || d);
        if (m != APART) return m;
    }
    return APART;
}

/* Whether two values of grids of these steps share bytes, where one grid begins `offset` bytes behind the other; of
 * one grid with itself (offset 0) where they are two different values.  Exact; gives up where that takes long. */
static meeting meets(const grid *g, int64_t offset, int same)
{
    search s = search_of(g, same);
    for (int i = 0; i < DIMENSIONS && same; i++)
        if (s.count[i] > 1 && s.stride[i] == 0) return MEETS;
    return try_from(&s, 0, offset, 0);
}

static cm_status check_overlap(const char *what, const cm_view *v)
{
    const grid g = grid_of(v);
    int64_t low, high;
    if (is_nested(&g)) return CM_OK;
    reach(&g, &low, &high);
    size_t values = v->n * cmi_view_size(v);
    meeting met = (uint64_t)(high - low) / (uint64_t)g.item < values ? MEETS : meets(&g, 0, 1);
    if (met == APART) return CM_OK;
    CM_FAIL(CM_ERR_ARGUMENT,
            "%s: with strides of %lld, %lld, %lld and %lld bytes (image, channel, row, pixel) %s the same bytes; "
            "what is written to has to lie apart",
            what, (long long)v->image, (long long)v->channel, (long long)v->row, (long long)v->pixel,
            met == MEETS ? "values lie in" : "it takes too long to tell whether values lie in");
}

cm_status cmi_views_apart(const char *what, const cm_view *from, const cm_view *to)
{
    const grid a = grid_of(from), b = grid_of(to);
    int64_t low[2], high[2];
    reach(&a, &low[0], &high[0]);
    reach(&b, &low[1], &high[1]);
    uint64_t x = (uint64_t)(uintptr_t)from->data, y = (uint64_t)(uintptr_t)to->data;
    if (x + (uint64_t)high[0] <= y + (uint64_t)low[1] || y + (uint64_t)high[1] <= x + (uint64_t)low[0]) return CM_OK;
    if (memcmp(&a, &b, sizeof a) == 0 && meets(&a, (int64_t)(y - x), 0) == APART)
        return CM_OK; /* two tiles of a page */
    CM_FAIL(CM_ERR_ARGUMENT, "%s: the result may not lie in the memory of what it is made from", what);
}

/* --- opening -------------------------------------------------------------------------- */

static void dense_strides(cm_view *v, int layout)
{
    ptrdiff_t item = v->is_u8 ? 1 : (ptrdiff_t)sizeof(float);
    int interleaved = layout == CM_LAYOUT_INTERLEAVED;
    v->pixel = interleaved ? (ptrdiff_t)v->channels * item : item;
    v->row = (ptrdiff_t)v->width * v->pixel;
    v->channel = interleaved ? item : (ptrdiff_t)v->height * v->row;
    v->image = (ptrdiff_t)cmi_view_size(v) * item;
}

static cm_status check_fields(const char *what, const cm_images *i, cm_view_use use)
{
    size_t values;
    if (i->dtype != CM_DTYPE_DEFAULT && i->dtype != CM_F32 && i->dtype != CM_U8)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: dtype is %d, expected CM_F32 (%d) or CM_U8 (%d)", what, i->dtype, CM_F32,
                CM_U8);
    if (i->layout != CM_LAYOUT_PLANAR && i->layout != CM_LAYOUT_INTERLEAVED)
        CM_FAIL(CM_ERR_ARGUMENT, "%s: layout is %d, expected %d or %d", what, i->layout, CM_LAYOUT_PLANAR,
                CM_LAYOUT_INTERLEAVED);
    if (i->n == 0 || i->channels < 1 || i->height < 1 || i->width < 1)
        CM_FAIL(CM_ERR_ARGUMENT,
                "%s: %zu images of %d x %d x %d (channels, height, width); expected at least one image of at least "
                "one channel and one pixel",
                what, i->n, i->channels, i->height, i->width);
    if (!i->data && use != CM_VIEW_SHAPE) CM_FAIL(CM_ERR_ARGUMENT, "%s: data is NULL", what);
    if (!cmi_mul_size((size_t)i->channels, (size_t)i->height, &values) ||
        !cmi_mul_size(values, (size_t)i->width, &values) || values > SIZE_MAX / sizeof(float) ||
        (uint64_t)values > (uint64_t)1 << 45)
        CM_FAIL(CM_ERR_LIMIT, "%s: %d x %d x %d values (channels, height, width) do not fit into memory", what,
                i->channels, i->height, i->width);
    return cmi_check_array(what, i->n, values * sizeof(float));
}

cm_status cmi_view_open(const char *what, const cm_images *images, cm_view_use use, cm_view *v)
{
    cm_images i;
    memset(&i, 0, sizeof i);
    if (!images) CM_FAIL(CM_ERR_ARGUMENT, "%s is NULL", what);
    CM_TRY(cm_options_read(&i, sizeof i, images, "cm_images"));
    CM_TRY(check_fields(what, &i, use));
    *v = (cm_view){i.data, i.n, (size_t)i.channels, (size_t)i.height, (size_t)i.width, 0, 0, 0, 0, i.dtype == CM_U8};
    if (i.n == 1) i.image_stride = 0; /* unused: it decides nothing either */
    if (i.image_stride || i.channel_stride || i.row_stride || i.pixel_stride) {
        v->image = (ptrdiff_t)i.image_stride;
        v->channel = (ptrdiff_t)i.channel_stride;
        v->row = (ptrdiff_t)i.row_stride;
        v->pixel = (ptrdiff_t)i.pixel_stride;
    } else {
        dense_strides(v, i.layout);
    }
    CM_TRY(check_reach(what, v));
    return use == CM_VIEW_WRITE ? check_overlap(what, v) : CM_OK;
}

cm_view cmi_view_planes(size_t n, size_t channels, size_t height, size_t width, const void *values, int is_u8)
{
    cm_view v = {(unsigned char *)(uintptr_t)values, n, channels, height, width, 0, 0, 0, 0, is_u8};
    dense_strides(&v, CM_LAYOUT_PLANAR);
    return v;
}

cm_view cmi_view_bytes(size_t n, size_t height, size_t width, size_t channels, const uint8_t *values)
{
    cm_view v = {(unsigned char *)(uintptr_t)values, n, channels, height, width, 0, 0, 0, 0, 1};
    dense_strides(&v, CM_LAYOUT_INTERLEAVED);
    return v;
}

cm_view cmi_view_part(const cm_view *view, size_t first, size_t count)
{
    cm_view v = *view;
    v.data += (ptrdiff_t)first * v.image;
    v.n = count;
    return v;
}

cm_status cmi_view_expect(const char *what, const cm_view *v, size_t channels, size_t height, size_t width)
{
    if (v->channels != channels || v->height != height || v->width != width)
        CM_FAIL(CM_ERR_SHAPE, "%s is %zu x %zu x %zu (channels, height, width), expected %zu x %zu x %zu", what,
                v->channels, v->height, v->width, channels, height, width);
    return CM_OK;
}

/* 1 where all values of row y of channel k of image i are finite; else *x is the first that is not. */
static int row_is_finite(const cm_view *v, size_t i, size_t k, size_t y, size_t *x)
{
    const unsigned char *at = v->data + (ptrdiff_t)i * v->image + (ptrdiff_t)k * v->channel + (ptrdiff_t)y * v->row;
    for (*x = 0; *x < v->width; ++*x, at += v->pixel) {
        float value;
        memcpy(&value, at, sizeof value);
        if (!isfinite(value)) return 0;
    }
    return 1;
}

cm_status cmi_view_expect_finite(const char *what, const cm_view *v)
{
    size_t x;
    for (size_t i = 0; !v->is_u8 && i < v->n; i++)
        for (size_t k = 0; k < v->channels; k++)
            for (size_t y = 0; y < v->height; y++)
                if (!row_is_finite(v, i, k, y, &x))
                    CM_FAIL(CM_ERR_NUMERIC, "%s: image %zu is NaN or infinite at row %zu, column %zu, channel %zu",
                            what, i, y, x, k);
    return CM_OK;
}

/* --- copying -------------------------------------------------------------------------- */

/* 127.5 x + 128 in float32, clamped and cut; the comparisons are false for NaN. */
static inline uint8_t to_u8(float x)
{
    float v = x * 127.5f + 128.0f;
    return (uint8_t)(v >= 255.0f ? 255.0f : v > 0.0f ? v : 0.0f);
}

/* n values, steps in bytes.  A caller's float may stand at any byte. */
typedef void copy_line(size_t n, const unsigned char *from, ptrdiff_t from_step, unsigned char *to,
                       ptrdiff_t to_step);

static void copy_floats(size_t n, const unsigned char *from, ptrdiff_t from_step, unsigned char *to,
                        ptrdiff_t to_step)
{
    if (from_step == sizeof(float) && to_step == sizeof(float)) {
        memcpy(to, from, n * sizeof(float));
        return;
    }
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) memcpy(to + i * to_step, from + i * from_step, sizeof(float));
}

static void copy_bytes(size_t n, const unsigned char *from, ptrdiff_t from_step, unsigned char *to, ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) to[i * to_step] = from[i * from_step];
}

static void floats_to_bytes(size_t n, const unsigned char *from, ptrdiff_t from_step, unsigned char *to,
                            ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) {
        float v;
        memcpy(&v, from + i * from_step, sizeof v);
        to[i * to_step] = to_u8(v);
    }
}

static void widen(size_t n, const unsigned char *restrict from, float *restrict to)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) to[i] = (float)from[i] / 127.5f - 1.0f;
}

/* The bytes of a plane are gathered first: then they are divided several at a time. */
static void bytes_to_plane(size_t n, const unsigned char *from, ptrdiff_t step, float *to)
{
    enum { CHUNK = 256 };
    unsigned char chunk[CHUNK];
    if (step == 1) {
        widen(n, from, to);
        return;
    }
    for (size_t done = 0, some; done < n; done += some) {
        some = n - done < CHUNK ? n - done : CHUNK;
        for (size_t i = 0; i < some; i++) chunk[i] = from[(ptrdiff_t)(done + i) * step];
        widen(some, chunk, to + done);
    }
}

static void bytes_to_floats(size_t n, const unsigned char *from, ptrdiff_t from_step, unsigned char *to,
                            ptrdiff_t to_step)
{
    if (to_step == sizeof(float) && (uintptr_t)to % sizeof(float) == 0) {
        bytes_to_plane(n, from, from_step, (float *)(void *)to);
        return;
    }
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) {
        const float v = (float)from[i * from_step] / 127.5f - 1.0f;
        memcpy(to + i * to_step, &v, sizeof v);
    }
}

void cmi_view_copy(const cm_view *from, const cm_view *to)
{
    static copy_line *const copies[2][2] = {{copy_floats, floats_to_bytes}, {bytes_to_floats, copy_bytes}};
    copy_line *copy = copies[from->is_u8][to->is_u8];
    const ptrdiff_t width = (ptrdiff_t)to->width;
    const int joined = from->row == width * from->pixel && to->row == width * to->pixel; /* rows form one line */
    const size_t lines = joined ? 1 : to->height, n = joined ? to->width * to->height : to->width;
    for (size_t i = 0; i < to->n; i++)
        for (size_t c = 0; c < to->channels; c++) {
            const unsigned char *a = from->data + (ptrdiff_t)i * from->image + (ptrdiff_t)c * from->channel;
            unsigned char *b = to->data + (ptrdiff_t)i * to->image + (ptrdiff_t)c * to->channel;
            for (size_t y = 0; y < lines; y++)
                copy(n, a + (ptrdiff_t)y * from->row, from->pixel, b + (ptrdiff_t)y * to->row, to->pixel);
        }
}

void cmi_view_fill(const cm_view *to, uint8_t value)
{
    const cm_view still = {&value, to->n, to->channels, to->height, to->width, 0, 0, 0, 0, 1}; /* its strides are 0 */
    cmi_view_copy(&still, to);
}
