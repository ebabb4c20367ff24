/* ranks.h - a run whose moments and averages are split among ranks (option split_state).
 *
 * A checkpoint, and a model of an average, are then work of all ranks, but only rank 0 knows when one is due: pages
 * and pauses go by its clock.  So it calls for them, and the others attend; where a rank is asked to stop all of them
 * stop after the same step, with their group whole, since a checkpoint needs it.  In other runs nothing here does
 * anything.
 */
#ifndef CM_RUN_RANKS_H
#define CM_RUN_RANKS_H

#include "run/run.h"

int cmi_run_is_split(const cm_run *run);
/* Whether it is, and the group can do no more. */
int cmi_run_is_parted(const cm_run *run);
/* Of rank 0, before it makes that call of the trainer. */
enum { CM_RANKS_GO_ON, CM_RANKS_AVERAGE, CM_RANKS_SAVE };
cm_status cmi_run_call_ranks(const cm_run *run, int32_t what);
/* Of all ranks at the same places: what rank 0 has called for is done, by the others here, once it goes on. */
cm_status cmi_run_attend(const cm_run *run);
/* Whether any rank is asked to stop; cm_trainer_run then ends without telling the others. */
cm_status cmi_run_agree(const cm_run *run, int is_asked, int *all);
/* The first average, or the weights themselves; of rank 0. */
cm_status cmi_run_snapshot(const cm_run *run, cm_model **out);

#endif
