/* mpi.c - see consistency_mpi.h.
 *
 * Everything goes from process to process, so that a rank that is missing has a name.  A sum of n values is cut into
 * as many parts as there are ranks: part r of every rank goes to rank r, which adds them in the order of the ranks,
 * and then sends the sum to all.  Each rank sends and receives 2 (size - 1) / size n values, and the bits do not
 * depend on what arrives first.
 *
 * All calls of MPI are made by one thread.  It sleeps while there is no operation, and looks at those there are with
 * pauses that grow while nothing moves, since the processors belong to the computation. */
#include "consistency_mpi.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mpi.h>

enum { SUM, BROADCAST, GATHER, COLLECT };
enum { TAG_LEAVING = 1, TAG_FIRST = 2, TAGS = 30000 };
enum { WHAT = 80, TEXT = 640 };
enum { PIECE = 1 << 28 }; /* bytes of a message */
enum { LEAVES_FAILED, LEAVES_LAST };

/* What a rank says when it takes part in nothing more. */
typedef struct {
    uint64_t number; /* the first operation that it has not begun */
    int32_t kind, status;
    char text[TEXT];
} leaving;

typedef struct operation {
    struct operation *next;
    int kind, stage, done, finished; /* done: the thread's word; finished: the same, with the lock */
    uint64_t number;
    unsigned char *data, *all, *here; /* here: of a collection, which ranks take part */
    size_t n;                         /* floats of a sum, else bytes */
    char what[WHAT];
    float *parts;        /* of a sum: the others' values of this rank's part */
    int abandoned;       /* of a collection: MPI may still look at the memory of what was not waited for */
    unsigned char *came; /* ... which is this: what comes to rank 0 */
    MPI_Request *request;
    int *peer; /* of each request; those that receive have the sign of ~peer */
    int requests, pending;
    double moved; /* when something did */
    cm_status status;
    char text[TEXT];
} operation;

typedef struct engine {
    MPI_Comm communicator;
    int rank, size, initialised_here;
    double seconds;
    cm_mpi_options options;
    char name[64];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* With the lock: */
    operation *first, **last; /* begun and not yet waited for */
    uint64_t next;
    int ready, closing, well, leaves;
    cm_status opened;
    char text[TEXT];
    leaving own; /* to be sent where `leaves` */
    /* Of the thread: */
    char (*heard)[WHAT]; /* of each rank: the last operation that it has answered in */
    leaving *others;     /* of each rank what it said when it left; number UINT64_MAX: nothing */
    int *farewell;       /* of each rank: it has closed */
    leaving heard_now;
    MPI_Request hears, *says;
    int broken;       /* MPI itself has failed: no more calls */
    int misses_first; /* rank 0 has not answered in time */
    int gives_up;     /* what runs ends soon */
    int has_begun;    /* MPI_Init is over */
    int abandoned;    /* nobody waits for MPI_Init any more */
} engine;

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_for(double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&t, NULL);
}

/* --- messages ------------------------------------------------------------------------ */

static size_t pieces(size_t bytes)
{
    return bytes ? (bytes + PIECE - 1) / PIECE : 0;
}

static int post(engine *e, operation *o, int peer, int receives, void *bytes, size_t n, int tag)
{
    int code = MPI_SUCCESS;
    for (size_t at = 0; at < n && code == MPI_SUCCESS; at += PIECE) {
        const int count = (int)(n - at < PIECE ? n - at : PIECE);
        unsigned char *from = (unsigned char *)bytes + at;
        MPI_Request *request = &o->request[o->requests];
        code = receives ? MPI_Irecv(from, count, MPI_BYTE, peer, tag, e->communicator, request)
                        : MPI_Isend(from, count, MPI_BYTE, peer, tag, e->communicator, request);
        o->peer[o->requests] = receives ? ~peer : peer;
        if (code == MPI_SUCCESS) o->requests++, o->pending++;
    }
    return code;
}

static int tag_of(const operation *o)
{
    return TAG_FIRST + (int)((o->number * 2 + (uint64_t)o->stage) % TAGS);
}

/* Part r of the n values of a sum: from here to that of r + 1. */
static size_t part(const engine *e, size_t n, int r)
{
    return n / (size_t)e->size * (size_t)r + n % (size_t)e->size * (size_t)r / (size_t)e->size;
}

static int post_sum(engine *e, operation *o)
{
    float *values = (float *)(void *)o->data;
    const size_t own = part(e, o->n, e->rank), many = part(e, o->n, e->rank + 1) - own;
    int code = MPI_SUCCESS;
    for (int k = 0, at = 0; k < e->size && code == MPI_SUCCESS; k++) {
        if (k == e->rank) continue;
        const size_t theirs = part(e, o->n, k), count = part(e, o->n, k + 1) - theirs;
        float *in = o->stage == 0 ? o->parts + (size_t)at++ * many : values + theirs;
        float *out = values + (o->stage == 0 ? theirs : own);
        code = post(e, o, k, 1, in, (o->stage == 0 ? many : count) * sizeof(float), tag_of(o));
        if (code == MPI_SUCCESS)
            code = post(e, o, k, 0, out, (o->stage == 0 ? count : many) * sizeof(float), tag_of(o));
    }
    return code;
}

static int post_gather(engine *e, operation *o)
{
    int code = MPI_SUCCESS;
    memcpy(o->all + (size_t)e->rank * o->n, o->data, o->n);
    for (int k = 0; k < e->size && code == MPI_SUCCESS; k++) {
        if (k == e->rank) continue;
        code = post(e, o, k, 1, o->all + (size_t)k * o->n, o->n, tag_of(o));
        if (code == MPI_SUCCESS) code = post(e, o, k, 0, o->data, o->n, tag_of(o));
    }
    return code;
}

static int post_broadcast(engine *e, operation *o)
{
    int code = MPI_SUCCESS;
    if (e->rank != 0) return post(e, o, 0, 1, o->data, o->n, tag_of(o));
    for (int k = 1; k < e->size && code == MPI_SUCCESS; k++) code = post(e, o, k, 0, o->data, o->n, tag_of(o));
    return code;
}

/* To rank 0, and then from there who was heard. */
static int post_collect(engine *e, operation *o)
{
    int code = MPI_SUCCESS;
    const int back = o->stage == 1;
    unsigned char *bytes = back ? o->here : o->data;
    const size_t n = back ? (size_t)e->size : o->n;
    if (e->rank != 0) return post(e, o, 0, back, bytes, n, tag_of(o));
    for (int k = 1; k < e->size && code == MPI_SUCCESS; k++)
        if (o->here[k]) code = post(e, o, k, !back, back ? bytes : o->came + (size_t)k * n, n, tag_of(o));
    return code;
}

static int post_stage(engine *e, operation *o)
{
    o->requests = o->pending = 0;
    o->moved = now();
    switch (o->kind) {
    case SUM: return post_sum(e, o);
    case GATHER: return post_gather(e, o);
    case COLLECT: return post_collect(e, o);
    default: return post_broadcast(e, o);
    }
}

/* This rank's part: neighbours first (cm_group_sum_fn).  `parts` has the other ranks' in their order. */
static void add_parts(const engine *e, operation *o)
{
    const size_t own = part(e, o->n, e->rank), many = part(e, o->n, e->rank + 1) - own;
    float *values = (float *)(void *)o->data + own;
    for (int gap = 1; gap < e->size; gap *= 2)
        for (int r = 0; r + gap < e->size; r += 2 * gap) {
            float *to = r == e->rank ? values : o->parts + (size_t)(r - (r > e->rank)) * many;
            const float *from =
                r + gap == e->rank ? values : o->parts + (size_t)(r + gap - (r + gap > e->rank)) * many;
            for (size_t i = 0; i < many; i++) to[i] += from[i];
        }
    if (e->rank) memcpy(values, o->parts, many * sizeof *values);
}

/* --- an operation ---------------------------------------------------------------------- */

static void fail(operation *o, cm_status status, const char *text)
{
    o->done = 1;
    o->status = status;
    (void)snprintf(o->text, sizeof o->text, "%.*s", TEXT - 1, text);
}

static void fail_by_mpi(engine *e, operation *o, int code)
{
    char text[WHAT + 320], words[MPI_MAX_ERROR_STRING] = "";
    int n;
    e->broken = 1;
    (void)MPI_Error_string(code, words, &n);
    (void)snprintf(text, sizeof text, "%.79s: MPI: %.200s", o->what, words);
    fail(o, CM_ERR_PEER, text);
}

/* Which ranks have not answered, and where each was heard of last. */
static void fail_late(engine *e, operation *o)
{
    char text[TEXT];
    size_t n = (size_t)snprintf(text, sizeof text, "%s: nothing has moved for %g s:", o->what, e->seconds);
    for (int k = 0; k < e->size && n + 2 * WHAT < sizeof text; k++) {
        int waits = 0;
        for (int i = 0; i < o->requests; i++)
            waits |= o->request[i] != MPI_REQUEST_NULL && (o->peer[i] == k || o->peer[i] == ~k);
        e->misses_first |= waits && k == 0;
        if (waits)
            n += (size_t)snprintf(text + n, sizeof text - n, " rank %d is missing (last heard of: %s)", k,
                                  e->heard[k][0] ? e->heard[k] : "never");
    }
    fail(o, CM_ERR_PEER, text);
}

/* Rank 0 does not wait for a rank of a collection.  In the second stage the others know already who was heard. */
static void leave_out(operation *o, int rank)
{
    o->abandoned = 1;
    if (o->stage == 0) o->here[rank] = 0;
    for (int i = 0; i < o->requests; i++) {
        if (o->request[i] == MPI_REQUEST_NULL || (o->peer[i] != rank && o->peer[i] != ~rank)) continue;
        if (o->peer[i] < 0) (void)MPI_Cancel(&o->request[i]);
        (void)MPI_Request_free(&o->request[i]);
        o->pending--;
    }
}

static int leave_out_late(const engine *e, operation *o)
{
    if (o->kind != COLLECT || e->rank != 0) return 0;
    for (int i = 0; i < o->requests; i++)
        if (o->request[i] != MPI_REQUEST_NULL) leave_out(o, o->peer[i] < 0 ? ~o->peer[i] : o->peer[i]);
    return 1;
}

/* A rank has left that has not begun this operation. */
static int fail_left(const engine *e, operation *o)
{
    char text[TEXT + 40];
    for (int k = 0; k < e->size; k++) {
        if (k == e->rank || e->others[k].number > o->number) continue;
        if (o->kind == COLLECT && k != 0 && (!o->here[k] || e->others[k].status != CM_ERR_CANCELLED)) {
            if (e->rank == 0) leave_out(o, k);
            continue;
        }
        (void)snprintf(text, sizeof text, "rank %d: %.600s", k, e->others[k].text);
        fail(o, e->others[k].status == CM_ERR_CANCELLED ? CM_ERR_CANCELLED : CM_ERR_PEER, text);
        return 1;
    }
    return 0;
}

/* Looks at the messages; 1 where something has moved. */
static int look(engine *e, operation *o)
{
    int many = 0, index[64];
    MPI_Status statuses[64];
    for (int at = 0; at < o->requests; at += 64) {
        const int n = o->requests - at < 64 ? o->requests - at : 64;
        int found = 0;
        const int code = MPI_Testsome(n, o->request + at, &found, index, statuses);
        if (code != MPI_SUCCESS) {
            fail_by_mpi(e, o, code);
            return 1;
        }
        for (int i = 0; found != MPI_UNDEFINED && i < found; i++) {
            const int peer = o->peer[at + index[i]];
            if (peer < 0) memcpy(e->heard[~peer], o->what, WHAT);
        }
        if (found != MPI_UNDEFINED) many += found;
    }
    o->pending -= many;
    if (many) o->moved = now();
    return many > 0;
}

static void take_collected(const engine *e, operation *o)
{
    if (e->rank != 0) return;
    memcpy(o->all, o->data, o->n);
    for (int k = 1; k < e->size; k++)
        if (o->here[k]) memcpy(o->all + (size_t)k * o->n, o->came + (size_t)k * o->n, o->n);
}

/* Seconds for which an operation may stand still.  In a collection the others wait for rank 0, which may be waiting
 * for somebody that is missing. */
static double patience(const engine *e, const operation *o)
{
    if (e->gives_up) return 0.2;
    return o->kind == COLLECT && e->rank != 0 ? 2 * e->seconds + 1 : e->seconds;
}

static int advance(engine *e, operation *o)
{
    int code = MPI_SUCCESS, moved = 0;
    if (o->stage < 0) {
        o->stage = 0;
        moved = 1;
        code = post_stage(e, o);
    }
    if (code == MPI_SUCCESS && o->pending) moved |= look(e, o);
    if (!o->done && code == MPI_SUCCESS && o->pending == 0) {
        moved = 1;
        if ((o->kind == SUM || o->kind == COLLECT) && o->stage == 0) {
            if (o->kind == SUM) add_parts(e, o);
            else take_collected(e, o);
            o->stage = 1;
            code = post_stage(e, o);
        } else o->done = 1;
    }
    if (code != MPI_SUCCESS) fail_by_mpi(e, o, code);
    if (!o->done && !moved && !fail_left(e, o) && now() - o->moved > patience(e, o) && !leave_out_late(e, o))
        fail_late(e, o);
    return moved || o->done;
}

/* --- the thread -------------------------------------------------------------------------- */

static int hear(engine *e)
{
    int there = 0;
    MPI_Status status;
    if (MPI_Test(&e->hears, &there, &status) != MPI_SUCCESS || !there) return 0;
    const int from = status.MPI_SOURCE;
    if (e->heard_now.kind == LEAVES_LAST) e->farewell[from] = 1;
    else if (e->others[from].number == UINT64_MAX) e->others[from] = e->heard_now;
    (void)MPI_Irecv(&e->heard_now, (int)sizeof e->heard_now, MPI_BYTE, MPI_ANY_SOURCE, TAG_LEAVING, e->communicator,
                    &e->hears);
    return 1;
}

/* To all the others; waits for a moment only. */
static void say(engine *e, const leaving *words)
{
    const double until = now() + 0.5;
    MPI_Status status;
    int gone = 0, all = 0;
    for (int k = 0; k < e->size; k++) {
        e->says[k] = MPI_REQUEST_NULL;
        if (k != e->rank)
            (void)MPI_Isend(words, (int)sizeof *words, MPI_BYTE, k, TAG_LEAVING, e->communicator, &e->says[k]);
    }
    while (!all && now() < until) {
        all = 1;
        for (int k = 0; k < e->size; k++) {
            if (MPI_Test(&e->says[k], &gone, &status) != MPI_SUCCESS) return;
            all &= gone;
        }
        if (!all) pause_for(1e-4);
    }
}

/* With the lock: the first operation that is not done; NULL: none. */
static operation *first_open(engine *e)
{
    operation *o = e->first;
    while (o && o->finished) o = o->next;
    return o;
}

/* Goes through the operations without the lock, which only guards the list. */
static int round_of(engine *e)
{
    int moved = 0;
    (void)pthread_mutex_lock(&e->lock);
    operation *o = first_open(e);
    while (o) {
        (void)pthread_mutex_unlock(&e->lock);
        if (e->broken) fail(o, CM_ERR_PEER, "MPI has failed before");
        else moved |= advance(e, o);
        (void)pthread_mutex_lock(&e->lock);
        if (o->done) {
            o->finished = 1;
            (void)pthread_cond_broadcast(&e->changed);
        }
        do o = o->next;
        while (o && o->finished);
    }
    (void)pthread_mutex_unlock(&e->lock);
    return moved;
}

/* Waits for work; 0: there will be none. */
static int await_work(engine *e, int *leaves)
{
    (void)pthread_mutex_lock(&e->lock);
    while (!first_open(e) && !e->closing && !e->leaves) (void)pthread_cond_wait(&e->changed, &e->lock);
    const int goes_on = first_open(e) || !e->closing || e->leaves;
    *leaves = e->leaves;
    e->leaves = 0;
    (void)pthread_mutex_unlock(&e->lock);
    return goes_on;
}

static void serve(engine *e)
{
    double rest = 0;
    int leaves;
    while (await_work(e, &leaves)) {
        e->gives_up |= leaves;
        if (leaves && !e->broken) say(e, &e->own);
        int moved = round_of(e);
        if (!e->broken) moved |= hear(e);
        rest = moved ? 0 : rest < 2e-5 ? 2e-5 : rest < 5e-4 ? 2 * rest : rest;
        if (rest > 0) pause_for(rest);
    }
}

/* Rank 0 says that it is here; the others wait for that, where it was a cancel as long as for an operation. */
static void part_company(engine *e)
{
    leaving last = {UINT64_MAX, LEAVES_LAST, CM_OK, ""};
    int cancelled = e->own.status == CM_ERR_CANCELLED;
    for (int k = 0; k < e->size; k++) cancelled |= e->others[k].status == CM_ERR_CANCELLED;
    const double until = now() + (cancelled ? e->seconds : e->misses_first ? 0 : 3);
    if (e->rank == 0) {
        say(e, &last);
        return;
    }
    while (!e->farewell[0] && now() < until) {
        (void)hear(e);
        pause_for(1e-3);
    }
}

static cm_status refuse(engine *e, cm_status status, const char *text)
{
    (void)snprintf(e->text, sizeof e->text, "%s", text);
    return status;
}

static cm_status start_mpi(engine *e)
{
    int is_there, is_over, level = MPI_THREAD_FUNNELED;
    if (MPI_Initialized(&is_there) != MPI_SUCCESS || MPI_Finalized(&is_over) != MPI_SUCCESS || is_over)
        return refuse(e, CM_ERR_STATE, "MPI is finalised already");
    if (!is_there) {
        if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
            return refuse(e, CM_ERR_PEER, "MPI_Init_thread fails");
        e->initialised_here = 1;
        if (level < MPI_THREAD_FUNNELED)
            return refuse(e, CM_ERR_UNSUPPORTED, "this MPI knows no threads: MPI_THREAD_FUNNELED is needed");
        return CM_OK;
    }
    if (MPI_Query_thread(&level) != MPI_SUCCESS || level < MPI_THREAD_MULTIPLE)
        return refuse(e, CM_ERR_STATE,
                      "MPI was initialised without MPI_THREAD_MULTIPLE, which a thread beside the program needs");
    return CM_OK;
}

static cm_status prepare(engine *e)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int n;
    const MPI_Comm from =
        e->options.has_communicator ? MPI_Comm_f2c((MPI_Fint)e->options.communicator) : MPI_COMM_WORLD;
    if (MPI_Comm_dup(from, &e->communicator) != MPI_SUCCESS) return refuse(e, CM_ERR_PEER, "MPI_Comm_dup fails");
    (void)MPI_Comm_set_errhandler(e->communicator, MPI_ERRORS_RETURN);
    (void)MPI_Comm_rank(e->communicator, &e->rank);
    (void)MPI_Comm_size(e->communicator, &e->size);
    (void)MPI_Get_library_version(version, &n);
    (void)snprintf(e->name, sizeof e->name, "%.*s", (int)strcspn(version, ",\n"), version);
    for (char *at = e->name; (at = strchr(at, '\t')) != NULL;) *at = ' ';
    const size_t size = (size_t)e->size;
    e->heard = calloc(size, sizeof *e->heard);
    e->others = calloc(size, sizeof *e->others);
    e->farewell = calloc(size, sizeof *e->farewell);
    e->says = calloc(size, sizeof(MPI_Request));
    if (!e->heard || !e->others || !e->farewell || !e->says)
        return refuse(e, CM_ERR_MEMORY, "out of memory: MPI's ranks");
    for (size_t k = 0; k < size; k++) e->others[k].number = UINT64_MAX;
    (void)MPI_Irecv(&e->heard_now, (int)sizeof e->heard_now, MPI_BYTE, MPI_ANY_SOURCE, TAG_LEAVING, e->communicator,
                    &e->hears);
    return CM_OK;
}

static void end_mpi(engine *e)
{
    if (!e->well) {
        if (!e->broken) part_company(e);
        return;
    }
    MPI_Status status;
    (void)MPI_Cancel(&e->hears);
    (void)MPI_Wait(&e->hears, &status);
    (void)MPI_Comm_free(&e->communicator);
    if (e->initialised_here) (void)MPI_Finalize();
}

static void *run(void *user)
{
    engine *e = user;
    cm_status status = start_mpi(e);
    (void)pthread_mutex_lock(&e->lock);
    const int abandoned = e->abandoned;
    e->has_begun = 1;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
    if (abandoned) return NULL;
    if (status == CM_OK) status = prepare(e);
    (void)pthread_mutex_lock(&e->lock);
    e->opened = status;
    e->ready = 1;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
    if (status != CM_OK) return NULL;
    serve(e);
    end_mpi(e);
    return NULL;
}

/* --- the calls of the table ------------------------------------------------------------- */

static void free_operation(operation *o)
{
    if (!o) return;
    free(o->parts);
    free(o->came);
    free(o->request);
    free(o->peer);
    free(o);
}

static operation *make(const engine *e, int kind, void *data, void *all, size_t n, const char *what)
{
    operation *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    const size_t own = kind == SUM ? (n / (size_t)e->size + 1) * sizeof(float) : n;
    const size_t most = 2 * (size_t)e->size * (pieces(own) + 1);
    o->kind = kind;
    o->stage = -1;
    o->data = data;
    o->all = all;
    o->n = n;
    (void)snprintf(o->what, sizeof o->what, "%s", what);
    o->request = calloc(most, sizeof(MPI_Request));
    o->peer = calloc(most, sizeof *o->peer);
    if (kind == SUM) o->parts = malloc(own * (size_t)e->size);
    const int comes = kind == COLLECT && e->rank == 0;
    if (comes) o->came = malloc(n * (size_t)e->size + 1);
    if (o->request && o->peer && (kind != SUM || o->parts) && (!comes || o->came)) return o;
    free_operation(o);
    return NULL;
}

static cm_status begin(engine *e, operation *o, uint64_t *number)
{
    (void)pthread_mutex_lock(&e->lock);
    if (!o) (void)snprintf(e->text, sizeof e->text, "out of memory: a message of MPI");
    else {
        *number = o->number = e->next++;
        *e->last = o;
        e->last = &o->next;
        (void)pthread_cond_broadcast(&e->changed);
    }
    (void)pthread_mutex_unlock(&e->lock);
    return o ? CM_OK : CM_ERR_MEMORY;
}

/* Takes the operation out of the list once it is done. */
static cm_status finish(engine *e, uint64_t number)
{
    cm_status status = CM_ERR_ARGUMENT;
    (void)pthread_mutex_lock(&e->lock);
    operation **at = &e->first;
    while (*at && (*at)->number != number) at = &(*at)->next;
    operation *o = *at;
    if (!o) (void)snprintf(e->text, sizeof e->text, "there is no operation %llu", (unsigned long long)number);
    while (o && !o->finished) (void)pthread_cond_wait(&e->changed, &e->lock);
    if (o) {
        for (at = &e->first; *at != o;) at = &(*at)->next;
        *at = o->next;
        if (!o->next) e->last = at;
        status = o->status;
        if (status != CM_OK) (void)snprintf(e->text, sizeof e->text, "%s", o->text);
    }
    (void)pthread_mutex_unlock(&e->lock);
    /* MPI may still look at the requests of one that has failed, or that has left out a rank. */
    if (o && status == CM_OK && !o->abandoned) free_operation(o);
    return status;
}

static cm_status sum(void *user, float *values, size_t n, const char *what, uint64_t *request)
{
    engine *e = user;
    return begin(e, make(e, SUM, values, NULL, n, what), request);
}

static cm_status wait_for(void *user, uint64_t request)
{
    return finish(user, request);
}

static cm_status at_once(engine *e, operation *o)
{
    uint64_t number;
    const cm_status status = begin(e, o, &number);
    return status == CM_OK ? finish(e, number) : status;
}

static cm_status broadcast(void *user, void *bytes, size_t n, const char *what)
{
    engine *e = user;
    return at_once(e, make(e, BROADCAST, bytes, NULL, n, what));
}

static cm_status gather(void *user, const void *mine, size_t n, void *all, const char *what)
{
    engine *e = user;
    return at_once(e, make(e, GATHER, (void *)(uintptr_t)mine, all, n, what));
}

cm_status cm_mpi_collect(const cm_group *group, const void *mine, size_t n, void *all, unsigned char *here,
                         const char *what)
{
    engine *e = group->user;
    unsigned char *in = (unsigned char *)(uintptr_t)mine;
    operation *o = make(e, COLLECT, in, all, n, what);
    if (o) o->here = here;
    return at_once(e, o);
}

static void give_up(void *user, cm_status status, const char *message)
{
    engine *e = user;
    (void)pthread_mutex_lock(&e->lock);
    e->own = (leaving){e->next, LEAVES_FAILED, status, ""};
    (void)snprintf(e->own.text, sizeof e->own.text, "%s", message);
    e->leaves = 1;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
}

static const char *message(void *user)
{
    const engine *e = user;
    return e->text;
}

/* --- opening and closing ------------------------------------------------------------------- */

/* Signals are the program's. */
static int start_thread(engine *e)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    const int failed = pthread_create(&e->thread, NULL, run, e);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !failed;
}

static void free_engine(engine *e)
{
    (void)pthread_cond_destroy(&e->changed);
    (void)pthread_mutex_destroy(&e->lock);
    free(e->heard);
    free(e->others);
    free(e->farewell);
    free(e->says);
    free(e);
}

static cm_status say_why(char *text, size_t size, cm_status status, const char *words)
{
    if (text && size) (void)snprintf(text, size, "%s", words);
    return status;
}

/* MPI_Init waits for all processes and knows no end where one of them has died in it (mpirun --enable-recovery). */
static int await_begin(engine *e)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1 + (time_t)(e->seconds < 1e9 ? e->seconds : 1e9);
    (void)pthread_mutex_lock(&e->lock);
    int late = 0;
    while (!e->has_begun && !late) late = pthread_cond_timedwait(&e->changed, &e->lock, &until) == ETIMEDOUT;
    e->abandoned = !e->has_begun;
    while (!e->ready && !e->abandoned) (void)pthread_cond_wait(&e->changed, &e->lock);
    const int begun = !e->abandoned;
    (void)pthread_mutex_unlock(&e->lock);
    return begun;
}

static void make_locks(engine *e)
{
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&e->lock, NULL);
    (void)pthread_cond_init(&e->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

cm_status cm_mpi_open(const cm_mpi_options *options, cm_group *group, char *text, size_t size)
{
    const cm_mpi_options usual = CM_MPI_OPTIONS_INIT;
    if (!group) return say_why(text, size, CM_ERR_ARGUMENT, "cm_mpi_open: group is NULL");
    memset(group, 0, sizeof *group);
    if (options && (options->struct_size != sizeof *options || options->reserved || !(options->seconds >= 0)))
        return say_why(text, size, CM_ERR_ARGUMENT, "cm_mpi_open: struct_size, reserved or seconds");
    engine *e = calloc(1, sizeof *e);
    if (!e) return say_why(text, size, CM_ERR_MEMORY, "out of memory: MPI's thread");
    e->options = options ? *options : usual;
    e->seconds = e->options.seconds > 0 ? e->options.seconds : 600;
    e->last = &e->first;
    make_locks(e);
    if (!start_thread(e)) {
        free_engine(e);
        return say_why(text, size, CM_ERR_MEMORY, "the system gives no thread for MPI");
    }
    if (!await_begin(e)) { /* the thread and what it stands on stay until the process ends */
        char words[100];
        (void)snprintf(words, sizeof words,
                       "MPI has not begun within %g s: a process that was started with this one is missing",
                       e->seconds);
        return say_why(text, size, CM_ERR_PEER, words);
    }
    if (e->opened != CM_OK) {
        const cm_status status = say_why(text, size, e->opened, e->text);
        (void)pthread_join(e->thread, NULL);
        free_engine(e);
        return status;
    }
    *group = (cm_group){sizeof *group, e->rank,  e->size,   0,      e,       e->name,
                        sum,           wait_for, broadcast, gather, give_up, message};
    return CM_OK;
}

void cm_mpi_close(cm_group *group, int32_t well)
{
    if (!group || !group->user) return;
    engine *e = group->user;
    (void)pthread_mutex_lock(&e->lock);
    e->closing = 1;
    e->well = well != 0;
    (void)pthread_cond_broadcast(&e->changed);
    (void)pthread_mutex_unlock(&e->lock);
    (void)pthread_join(e->thread, NULL);
    memset(group, 0, sizeof *group);
    if (well) free_engine(e); /* after a failure MPI may still look at it */
}
