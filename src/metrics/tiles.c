/* tiles.c - see the header. */
#include "metrics/tiles.h"

#include <string.h>

cm_threads cmi_tiles_threads(cm_context *context)
{
    return (cm_threads){context, cmi_context_threads(context)};
}

const cm_sums_f64 *cmi_tiles_sums(const cm_context *context)
{
    return cmi_kernels_for(cmi_context_cpu_level(context))->sums;
}

static double element(const cm_operand *o, size_t at)
{
    return o->floats ? (double)o->floats[at] : o->doubles[at];
}

/* A whole row of floats less what is taken off: a count that the compiler knows, so that it makes vectors. */
static void pack_row(const float *restrict from, const double *restrict shift, double *restrict out)
{
    for (size_t i = 0; i < CM_TILE; i++) out[i] = (double)from[i] - shift[i];
}

/* Elements (first_k + k, first + i) to out[k][i], zeros behind `count` of them. */
static void pack(const cm_operand *o, size_t first_k, size_t depth, size_t first, size_t count, double *out)
{
    if (o->floats && o->shift && !o->transposed && count == CM_TILE) {
        for (size_t k = 0; k < depth; k++)
            pack_row(o->floats + (first_k + k) * o->stride + first, o->shift + first, out + k * CM_TILE);
        return;
    }
    if (count < CM_TILE) memset(out, 0, depth * CM_TILE * sizeof *out);
    for (size_t k = 0; k < depth && !o->transposed; k++)
        for (size_t i = 0; i < count; i++) out[k * CM_TILE + i] = element(o, (first_k + k) * o->stride + first + i);
    for (size_t i = 0; i < count && o->transposed; i++)
        for (size_t k = 0; k < depth; k++) out[k * CM_TILE + i] = element(o, (first + i) * o->stride + first_k + k);
    for (size_t k = 0; k < depth && o->shift; k++)
        for (size_t i = 0; i < count; i++) out[k * CM_TILE + i] -= o->shift[first + i];
}

void cmi_tile_add(cm_square_sums sums, size_t depth, const cm_operand *a, size_t first_i, size_t rows,
                  const cm_operand *b, size_t first_j, size_t columns, double *work, double *c)
{
    double *left = work, *right = work + CM_TILE_DEPTH * CM_TILE;
    for (size_t k = 0; k < depth; k += CM_TILE_DEPTH) {
        const size_t part = depth - k < CM_TILE_DEPTH ? depth - k : CM_TILE_DEPTH;
        pack(a, k, part, first_i, rows, left);
        pack(b, k, part, first_j, columns, right);
        sums(part, left, right, c);
    }
}

typedef struct {
    const cm_tiling *t;
    double *c, *work;
    size_t across; /* squares of a row */
} adding;

static size_t at_most_a_tile(size_t left)
{
    return left < CM_TILE ? left : CM_TILE;
}

static cm_status add_piece(void *user, int piece, int worker)
{
    const adding *s = user;
    const cm_tiling *t = s->t;
    const size_t i = (size_t)piece / s->across * CM_TILE, j = (size_t)piece % s->across * CM_TILE;
    if (t->lower && j > i) return CM_OK;
    const size_t rows = at_most_a_tile(t->rows - i), columns = at_most_a_tile(t->columns - j);
    double *work = s->work + (size_t)worker * (CM_TILE_WORK + CM_TILE * CM_TILE), *square = work + CM_TILE_WORK;
    double *c = s->c + i * t->apart + j;
    memset(square, 0, CM_TILE * CM_TILE * sizeof *square);
    for (size_t r = 0; r < rows; r++) memcpy(square + r * CM_TILE, c + r * t->apart, columns * sizeof *c);
    cmi_tile_add(t->sums, t->depth, &t->a, i, rows, &t->b, j, columns, work, square);
    for (size_t r = 0; r < rows; r++) memcpy(c + r * t->apart, square + r * CM_TILE, columns * sizeof *c);
    return CM_OK;
}

cm_status cmi_tiles_add(const cm_tiling *t, double *c)
{
    const cm_threads threads = cmi_tiles_threads(t->context);
    const size_t across = (t->columns + CM_TILE - 1) / CM_TILE, down = (t->rows + CM_TILE - 1) / CM_TILE;
    adding s = {t, c, NULL, across};
    s.work = cmi_malloc(t->context, (size_t)threads.count * (CM_TILE_WORK + CM_TILE * CM_TILE), sizeof *s.work);
    if (!s.work) return CM_ERR_MEMORY;
    cm_status status = cmi_parallel(threads, (int)(across * down), add_piece, &s);
    cmi_free(t->context, s.work);
    return status;
}
