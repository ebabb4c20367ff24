/* turns.h - event counts (Reed and Kanodia 1979): each lets numbered pieces of work pass in the order of their
 * numbers, whatever thread does them and whenever it comes. */
#ifndef CM_BASE_TURNS_H
#define CM_BASE_TURNS_H

#include "base/context.h"

typedef struct cm_turns cm_turns;

cm_status cmi_turns_create(cm_context *context, size_t counts, cm_turns **out);
void cmi_turns_free(cm_turns *turns);
/* Before a round: piece 0 is the next of every count. */
void cmi_turns_begin(cm_turns *turns);
/* Waits until all pieces before `piece` have advanced the count.  CANCELLED once one of
 * them has failed.  The smallest piece not yet done has to be running. */
cm_status cmi_turns_await(cm_turns *turns, size_t count, int piece);
void cmi_turns_advance(cm_turns *turns, size_t count);
/* Nobody waits for this piece any more. */
void cmi_turns_fail(cm_turns *turns, int piece);

#endif
