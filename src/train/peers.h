/* peers.h - the other processes of a run, heard of through the caller's table (group.h). */
#ifndef CM_TRAIN_PEERS_H
#define CM_TRAIN_PEERS_H

#include <stdatomic.h>

#include <consistency/group.h>

#include "base/context.h"

typedef struct cm_peers {
    cm_group group;   /* size 0 or 1: this process is alone, and nothing is called */
    atomic_int ended; /* this rank has given up */
    double waited;    /* seconds that this step's calls have waited */
} cm_peers;

/* A copy of the caller's table; NULL: alone.  ARGUMENT: a rank that is none, or a member that is missing. */
cm_status cmi_peers_open(const cm_group *theirs, cm_peers *out);

static inline int cmi_peers_alone(const cm_peers *p)
{
    return p->group.size < 2;
}

static inline size_t cmi_peers_count(const cm_peers *p)
{
    return p->group.size < 2 ? 1 : (size_t)p->group.size;
}

/* The calls of the table, whose failure is that of the status, with its words.  STATE after this rank has given up.
 */
cm_status cmi_peers_sum(cm_peers *peers, float *values, size_t n, const char *what, uint64_t *request);
cm_status cmi_peers_wait(cm_peers *peers, uint64_t request);
cm_status cmi_peers_broadcast(cm_peers *peers, void *bytes, size_t n, const char *what);
cm_status cmi_peers_gather(cm_peers *peers, const void *mine, size_t n, void *all, const char *what);
/* A call fails on this rank with `status` and the message at hand, which stays: the others are told, once. */
void cmi_peers_give_up(cm_peers *peers, cm_status status);
/* A text of rank 0, NUL at the end, to every rank; *text is the caller's to cmi_free. */
cm_status cmi_peers_text(cm_context *context, cm_peers *peers, const char *mine, const char *what, char **text);

#endif
