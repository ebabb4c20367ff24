/* ranks.h - a group of threads in one process: each is a rank, and a sum is made by whoever comes last. */
#ifndef TESTS_SUPPORT_RANKS_H
#define TESTS_SUPPORT_RANKS_H

#include <pthread.h>
#include <stdint.h>

#include <consistency/group.h>

enum { MOST_RANKS = 8, MOST_OPERATIONS = 4096, RANK_TEXT = 600 };

typedef struct ranks ranks;

typedef struct {
    ranks *all;
    int32_t rank;
    uint64_t begun; /* operations */
    char message[RANK_TEXT];
    cm_group group;
} member;

/* Operation number k of every rank. */
typedef struct {
    int kind, arrived, done, broken; /* broken: a rank has stopped waiting, and its memory is not touched */
    size_t n;
    void *data[MOST_RANKS], *out[MOST_RANKS];
    char what[80];
} operation;

struct ranks {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int32_t size;
    double seconds; /* after which an operation has failed */
    member members[MOST_RANKS];
    operation operations[MOST_OPERATIONS]; /* number modulo that */
    uint64_t gone_at[MOST_RANKS];          /* the first operation in which a rank takes no part, UINT64_MAX: none */
    cm_status gone_as[MOST_RANKS];
    char gone_with[MOST_RANKS][RANK_TEXT];
};

void ranks_open(ranks *r, int32_t size, double seconds);
void ranks_close(ranks *r);

/* Runs work(user, group) once a rank, each on a thread. */
typedef void (*rank_work)(void *user, const cm_group *group);
void ranks_run(ranks *r, rank_work work, void *user);

#endif
