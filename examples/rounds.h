/* rounds.h - pieces of work that ranks share: in each round every rank takes one, and rank 0 gets what was made of
 * them, in the order of their numbers.  Who takes which piece follows from which ranks are there, so that nobody has
 * to be asked; the piece of a rank that has died is taken again in the next round. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include "ranks.h"

typedef struct rounds_made {
    size_t piece;
    unsigned char *bytes;
} rounds_made;

typedef struct rounds {
    ranks *ranks;
    const cli *c;
    const char *what; /* for messages: "the samples" */
    int retry;        /* the others take over what a rank that dies has not done */
    size_t pieces, bytes;
    size_t next, taken; /* the first piece that nobody has had; pieces that rank 0 has given out */
    size_t *again;      /* pieces of ranks that have died */
    size_t n_again;
    size_t *piece;        /* of each rank in this round, SIZE_MAX: none */
    unsigned char *here;  /* of each rank; the ranks' */
    unsigned char *all;   /* what this round has made, of each rank */
    unsigned char *given; /* the last one that rounds_next gave */
    rounds_made *made;    /* on rank 0, not yet given out */
    size_t n_made;
    int is_again, size, rank;
} rounds;

/* Pieces 0 .. pieces - 1, of each of which `bytes` bytes are made; `what` is borrowed. */
cm_status rounds_begin(rounds *w, ranks *r, const cli *c, const char *what, int retry, size_t pieces, size_t bytes);
/* The next round; 0: all pieces are made.  *mine: this rank's piece, SIZE_MAX where there is none for it;
 * w->is_again: another rank has had it. */
int rounds_deal(rounds *w, size_t *mine);
/* Pieces of this round. */
size_t rounds_dealt(const rounds *w);
/* What this rank has made of its piece.  PEER: a rank has died, and nobody takes over its share. */
cm_status rounds_collect(rounds *w, const void *mine);
/* On rank 0: the bytes of the next piece, if it is there; good until the next call.  NULL: not yet. */
unsigned char *rounds_next(rounds *w, size_t *piece);
void rounds_end(rounds *w);

#endif
