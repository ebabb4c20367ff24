/* turns.h - places that pieces of work visit in the order of their numbers, however
 * the threads that do them come along. */
#ifndef CM_BASE_TURNS_H
#define CM_BASE_TURNS_H

#include "base/context.h"

typedef struct cm_turns cm_turns;

cm_status cmi_turns_create(cm_context *context, size_t places, cm_turns **out);
void cmi_turns_free(cm_turns *turns);
/* Before a round: piece 0 is next everywhere. */
void cmi_turns_begin(cm_turns *turns);
/* Waits until all pieces before `piece` have left the place.  CANCELLED once one of
 * them has failed.  The smallest piece not yet done has to be running. */
cm_status cmi_turns_enter(cm_turns *turns, size_t place, int piece);
void cmi_turns_leave(cm_turns *turns, size_t place);
/* Nobody waits for this piece any more. */
void cmi_turns_fail(cm_turns *turns, int piece);

#endif
