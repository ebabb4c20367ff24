/* rounds.c - see the header. */
#include "rounds.h"

#include <stdlib.h>
#include <string.h>

static unsigned char alone = 1;

cm_status rounds_begin(rounds *w, ranks *r, const cli *c, const char *what, int retry, size_t pieces, size_t bytes)
{
    *w = (rounds){.ranks = r, .c = c, .what = what, .retry = retry, .pieces = pieces, .bytes = bytes};
    w->size = r->group.size > 1 ? r->group.size : 1;
    w->rank = r->group.size > 1 ? r->group.rank : 0;
    const size_t size = (size_t)w->size;
    if (bytes > SIZE_MAX / size) return CM_ERR_MEMORY;
    w->again = calloc(size, sizeof *w->again);
    w->piece = calloc(size, sizeof *w->piece);
    w->all = malloc(w->rank == 0 ? size * bytes + 1 : 1);
    w->made = calloc(2 * size, sizeof *w->made);
    if (!w->again || !w->piece || !w->all || !w->made) return CM_ERR_MEMORY;
    w->here = size > 1 ? r->here : &alone;
    return CM_OK;
}

/* Pieces that were lost come first: rank 0 holds what follows them until they are there. */
int rounds_deal(rounds *w, size_t *mine)
{
    if (w->next == w->pieces && !w->n_again) return 0;
    for (int k = 0; k < w->size; k++) {
        const int again = w->here[k] && w->n_again > 0;
        w->piece[k] = again ? w->again[--w->n_again] : w->here[k] && w->next < w->pieces ? w->next++ : SIZE_MAX;
        if (k == w->rank) w->is_again = again;
    }
    *mine = w->piece[w->rank];
    return 1;
}

size_t rounds_dealt(const rounds *w)
{
    size_t n = 0;
    for (int k = 0; k < w->size; k++) n += w->piece[k] != SIZE_MAX;
    return n;
}

/* Rank 0 keeps what has come. */
static cm_status keep(rounds *w)
{
    rounds_made *more = realloc(w->made, (w->n_made + (size_t)w->size) * sizeof *more);
    if (!more) return CM_ERR_MEMORY;
    w->made = more;
    for (int k = 0; k < w->size; k++) {
        if (w->piece[k] == SIZE_MAX || !w->here[k]) continue;
        unsigned char *copy = malloc(w->bytes + 1);
        if (!copy) return CM_ERR_MEMORY;
        memcpy(copy, w->all + (size_t)k * w->bytes, w->bytes);
        w->made[w->n_made++] = (rounds_made){w->piece[k], copy};
    }
    return CM_OK;
}

/* The pieces of ranks that were there when the round began. */
static cm_status note_missing(rounds *w, const unsigned char *before)
{
    for (int k = 0; k < w->size; k++) {
        if (w->here[k] || !before[k]) continue;
        if (w->piece[k] != SIZE_MAX) w->again[w->n_again++] = w->piece[k];
        if (w->rank == 0)
            fprintf(stderr, "%s: %s: rank %d of %d is missing%s\n", w->c->program, w->what, k, w->size,
                    w->retry ? ": the others take over its share" : "; --retry lets the others take over its share");
        if (!w->retry) return CM_ERR_PEER;
    }
    return CM_OK;
}

cm_status rounds_collect(rounds *w, const void *mine)
{
    if (w->size == 1) {
        memcpy(w->all, mine, w->bytes);
        return keep(w);
    }
    unsigned char *before = malloc((size_t)w->size);
    if (!before) return CM_ERR_MEMORY;
    memcpy(before, w->here, (size_t)w->size);
    cm_status status = ranks_collect(w->ranks, mine, w->bytes, w->all, w->what);
    if (status == CM_OK) status = note_missing(w, before);
    if (status == CM_OK && w->rank == 0) status = keep(w);
    free(before);
    return status;
}

unsigned char *rounds_next(rounds *w, size_t *piece)
{
    for (size_t i = 0; i < w->n_made; i++) {
        if (w->made[i].piece != w->taken) continue;
        *piece = w->taken++;
        free(w->given);
        w->given = w->made[i].bytes;
        w->made[i] = w->made[--w->n_made];
        return w->given;
    }
    return NULL;
}

void rounds_end(rounds *w)
{
    for (size_t i = 0; i < w->n_made; i++) free(w->made[i].bytes);
    free(w->made);
    free(w->again);
    free(w->piece);
    free(w->all);
    free(w->given);
    *w = (rounds){0};
}
