/* ranks.c - see the header. */
#include "run/ranks.h"

#include "diffusion/model.h"
#include "train/split.h"

int cmi_run_is_split(const cm_run *r)
{
    return r->trainer && cmi_split(r->trainer);
}

int cmi_run_is_parted(const cm_run *r)
{
    return cmi_run_is_split(r) && atomic_load(&r->trainer->peers.ended);
}

/* A rank that fails here tells the others. */
static cm_status outcome(const cm_run *r, cm_status status)
{
    if (status != CM_OK) cmi_peers_give_up(&r->trainer->peers, status);
    return status;
}

/* From rank 0 to all. */
static cm_status send(const cm_run *r, int32_t *what)
{
    return outcome(r, cmi_peers_broadcast(&r->trainer->peers, what, sizeof *what, "what is due after the step"));
}

cm_status cmi_run_call_ranks(const cm_run *r, int32_t what)
{
    return cmi_run_is_split(r) ? send(r, &what) : CM_OK;
}

static cm_status take_average(const cm_run *r)
{
    cm_model *model;
    CM_TRY(cm_trainer_model(r->trainer, CM_WEIGHTS_EMA, 0, &model));
    cmi_model_release(model);
    return CM_OK;
}

cm_status cmi_run_attend(const cm_run *r)
{
    int32_t what = CM_RANKS_GO_ON;
    if (!cmi_run_is_split(r)) return CM_OK;
    if (r->trainer->peers.group.rank == 0) return cmi_run_call_ranks(r, CM_RANKS_GO_ON);
    for (;;) {
        CM_TRY(send(r, &what));
        if (what == CM_RANKS_GO_ON) return CM_OK;
        CM_TRY(what == CM_RANKS_SAVE ? cm_trainer_save(r->trainer, r->directory, r->pace.keep) : take_average(r));
    }
}

cm_status cmi_run_agree(const cm_run *r, int is_asked, int *all)
{
    *all = is_asked;
    if (!cmi_run_is_split(r)) return CM_OK;
    const cm_status status = cmi_split_any(r->trainer, is_asked, "whether to stop", all);
    if (status == CM_OK) r->trainer->agreed = *all;
    return outcome(r, status);
}

cm_status cmi_run_snapshot(const cm_run *r, cm_model **out)
{
    if (!r->options->n.averages) return cm_trainer_model(r->trainer, CM_WEIGHTS_ONLINE, 0, out);
    CM_TRY(cmi_run_call_ranks(r, CM_RANKS_AVERAGE));
    return cm_trainer_model(r->trainer, CM_WEIGHTS_EMA, 0, out);
}
