/* group.h - several processes that train together.
 *
 * A group is a table of calls that a trainer makes so that it hears of the trainers in the other processes.  The
 * library has no network protocol and is not linked to MPI.  Two makers are thought of: the plugin
 * libconsistency-mpi (consistency_mpi.h), which cm-train loads when it runs under mpirun or srun, and a program that
 * has a communicator, a job system or threads of its own and fills in the table itself.
 *
 * With a group every process makes the same trainer (cm_train_inputs.group), and makes the same calls on it in the
 * same order: cm_trainer_create, _run or _step, _resume.  Each takes its share of the images of a step; gradients,
 * loss and the adaptive weight are summed over the processes, so that all take the same step and keep the same
 * weights.
 *
 * Which images.  A step has the images that it has in one process: a rank takes a part of them that follows from
 * (step, rank, size).  cm_trainer_run reads no others from the data set; cm_trainer_step is given all of them, on
 * every rank.
 *
 * The same bits.  With the same size of the group a run gives the same bytes by any engine.  With the option
 * micro_shards it gives the same bytes for every size of which micro_shards is a multiple by a power of two.
 *
 * Files.  cm_trainer_save writes on rank 0 and does nothing elsewhere.  cm_trainer_resume reads on rank 0 and sends
 * what it has read.
 *
 * Memory.  With the option split_state a rank holds 1/size of the optimizer's moments and of the averages instead of
 * all.  The bits are the same.  cm_trainer_save, and cm_trainer_model of an average, are then calls of all ranks:
 * each writes its part to a file of its own, which the others have to be able to see, and rank 0 what is left.  Any
 * number of ranks reads such a checkpoint, with the option or without.  After a failure such a trainer cannot be
 * saved.
 *
 * Failure.  Where a call fails on one rank, the running call of every rank fails: on the others with CM_ERR_PEER, or
 * with CM_ERR_CANCELLED where that one was cancelled.  The trainers are then all as after the same last whole step;
 * they can be saved and read, and their next step is CM_ERR_STATE.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_GROUP_H
#define CONSISTENCY_GROUP_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Starts to replace values[0..n) by their sum over the ranks, and returns; *request is a number for cm_group_wait_fn,
 * until which the values are the group's.  For the trainer to go on with its work meanwhile, the sum has to make
 * progress without further calls.  The sum is float32 in a fixed order, whatever arrives first: neighbours are added,
 * 0 + 1, 2 + 3, ..., then the neighbours among these sums, and so on; one without a neighbour waits for the next
 * round.  what: a phrase for messages, the same on every rank: "the gradients of step 7".  It is copied. */
typedef cm_status (*cm_group_sum_fn)(void *user, float *values, size_t n, const char *what, uint64_t *request);
/* Returns once that sum is there on this rank; each request is waited for once. */
typedef cm_status (*cm_group_wait_fn)(void *user, uint64_t request);
/* bytes[0..n) of rank 0 to every rank. */
typedef cm_status (*cm_group_broadcast_fn)(void *user, void *bytes, size_t n, const char *what);
/* The n bytes of every rank to every rank: those of rank r to all + r n.  `mine` is not inside of `all`. */
typedef cm_status (*cm_group_gather_fn)(void *user, const void *mine, size_t n, void *all, const char *what);
/* This rank fails with `status` (CM_ERR_CANCELLED: it was asked to stop) and takes part in nothing more.  On the
 * others every operation that has not begun here fails soon: with CM_ERR_CANCELLED for that status, else with
 * CM_ERR_PEER, and with words that name this rank and have its message.  Does not wait. */
typedef void (*cm_group_give_up_fn)(void *user, cm_status status, const char *message);
/* The words of the last failure, good until the next call; never NULL. */
typedef const char *(*cm_group_message_fn)(void *user);

/* The calls of a group, of which there is one table a process.  What `user` points to is the caller's and has to stay
 * until the trainer is freed; the table itself is copied.
 *
 * Order.  Every rank starts the same operations in the same order: number k of one rank meets number k of the others.
 * `sum` may come from any of the trainer's threads, one at a time; the other calls come from the thread that called
 * the trainer, none of them beside a `sum`.
 *
 * Failure.  A call that fails gives a status, and `message` then gives its words: which ranks are missing, in which
 * operation, and where each was heard of last.  No operation may wait for ever: its maker sets a time after which it
 * fails with CM_ERR_PEER.  After a failure of its own or of the group's the trainer calls `give_up`, once, and then
 * nothing but `wait` for the sums that it has started, which has to return soon. */
typedef struct cm_group {
    uint32_t struct_size;
    int32_t rank, size;    /* this process is number `rank`, 0 .. size - 1, of `size` */
    int32_t reserved;      /* 0 */
    void *user;            /* handed to every call */
    const char *engine;    /* what carries the messages, "Open MPI 4.1.4": for messages; NULL: nothing to say */
    cm_group_sum_fn sum;   /* begins a sum over the ranks    */
    cm_group_wait_fn wait; /* ends it                        */
    cm_group_broadcast_fn broadcast; /* bytes of rank 0                */
    cm_group_gather_fn gather;       /* some bytes of every rank       */
    cm_group_give_up_fn give_up;     /* this rank has failed           */
    cm_group_message_fn message;     /* the words of the last failure  */
} cm_group;

/* clang-format off */
#define CM_GROUP_INIT {sizeof(cm_group), 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
/* clang-format on */
/* Fills in what CM_GROUP_INIT lists; struct_size is sizeof of the caller's struct. */
CM_API void cm_group_init(cm_group *group, size_t struct_size);

#ifdef __cplusplus
}
#endif
#endif
