/* peers.c - see the header. */
#include "train/peers.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/options.h"

cm_status cmi_peers_open(const cm_group *theirs, cm_peers *out)
{
    cm_group *g = &out->group;
    memset(g, 0, sizeof *g);
    atomic_init(&out->ended, 0);
    if (!theirs) return CM_OK;
    CM_TRY(cm_options_read(g, sizeof *g, theirs, "cm_group"));
    CM_TRY(cmi_reserved_check("cm_group", g->reserved));
    if (g->size < 1 || g->rank < 0 || g->rank >= g->size)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_group: rank %d of size %d, expected 0..size-1 of 1 or more", g->rank, g->size);
    const char *missing = !g->sum         ? "sum"
                          : !g->wait      ? "wait"
                          : !g->broadcast ? "broadcast"
                          : !g->gather    ? "gather"
                          : !g->give_up   ? "give_up"
                          : !g->message   ? "message"
                                          : NULL;
    if (missing) CM_FAIL(CM_ERR_ARGUMENT, "cm_group: %s is NULL", missing);
    return CM_OK;
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cm_status check(cm_peers *p)
{
    if (!atomic_load(&p->ended)) return CM_OK;
    CM_FAIL(CM_ERR_STATE,
            "rank %d has left its group after a failure: the run goes on from its last checkpoint, in "
            "new processes",
            p->group.rank);
}

static cm_status outcome(cm_peers *p, cm_status status)
{
    if (status == CM_OK) return CM_OK;
    CM_FAIL(status < 0 ? status : CM_ERR_PEER, "%s", p->group.message(p->group.user));
}

cm_status cmi_peers_sum(cm_peers *p, float *values, size_t n, const char *what, uint64_t *request)
{
    CM_TRY(check(p));
    return outcome(p, p->group.sum(p->group.user, values, n, what, request));
}

/* The outcome of a call that began at that time. */
static cm_status waited(cm_peers *p, double began, cm_status status)
{
    p->waited += seconds() - began;
    return outcome(p, status);
}

cm_status cmi_peers_wait(cm_peers *p, uint64_t request)
{
    const double began = seconds();
    return waited(p, began, p->group.wait(p->group.user, request));
}

cm_status cmi_peers_broadcast(cm_peers *p, void *bytes, size_t n, const char *what)
{
    const double began = seconds();
    CM_TRY(check(p));
    return waited(p, began, p->group.broadcast(p->group.user, bytes, n, what));
}

cm_status cmi_peers_gather(cm_peers *p, const void *mine, size_t n, void *all, const char *what)
{
    const double began = seconds();
    CM_TRY(check(p));
    return waited(p, began, p->group.gather(p->group.user, mine, n, all, what));
}

void cmi_peers_give_up(cm_peers *p, cm_status status)
{
    int ended = 0;
    if (cmi_peers_alone(p) || !atomic_compare_exchange_strong(&p->ended, &ended, 1)) return;
    p->group.give_up(p->group.user, status, cm_last_message());
}

cm_status cmi_peers_text(cm_context *context, cm_peers *p, const char *mine, const char *what, char **text)
{
    uint64_t size = p->group.rank == 0 ? strlen(mine) + 1 : 0;
    *text = NULL;
    CM_TRY(cmi_peers_broadcast(p, &size, sizeof size, what));
    char *copy = cmi_malloc(context, (size_t)size, 1);
    if (!copy) return CM_ERR_MEMORY;
    if (p->group.rank == 0) memcpy(copy, mine, (size_t)size);
    cm_status status = cmi_peers_broadcast(p, copy, (size_t)size, what);
    if (status == CM_OK) *text = copy;
    else cmi_free(context, copy);
    return status;
}
