/* ranks.h - a program that is one of several processes: it loads the plugin for MPI when it was started by mpirun or
 * srun, or when it is asked to. */
#ifndef RANKS_H
#define RANKS_H

#include "cli.h"

typedef struct ranks {
    cm_group group; /* size 0: the program is alone */
    void *plugin;
    unsigned char *here; /* 1 for each rank that has not been missing; NULL: the program is alone */
    int failed;          /* an operation of the group has: its words are the group's */
    char prefix[24];     /* "rank 3: " */
} ranks;

/* How many processes mpirun (Open MPI; MPICH and its kin) or srun has started; 0: none of them has. */
int ranks_launched(void);
/* Joins the other processes, where there are any or `asked` is 1; seconds: after which a message that does not come
 * is a failure.  What goes wrong ends the program with exit code 1. */
void ranks_join(ranks *r, const cli *c, int asked, double seconds);
/* With the program's exit code, before it ends; returns it.  After a failure the processes cannot part in order:
 * mpirun ends those that are left. */
int ranks_leave(ranks *r, int code);
/* Rank 0 prints, unless it is quiet, on which machine and which processors each rank runs, and with how many threads.
 * The library's messages are from then on rank 0's alone or, with log_ranks, those of every rank, with its number. */
void ranks_introduce(ranks *r, cli *c, int threads, int quiet, int log_ranks);
/* Ends the program of every rank with exit code 1 where a rank has another program, other options or another model
 * than rank 0: `lines` are those of this rank, each "NAME: VALUE" and a newline, the first one the library's version.
 */
void ranks_compare(ranks *r, const cli *c, const char *lines);
/* n bytes of every rank to rank 0 (cm_mpi_collect); who is missing is then no longer in r->here. */
cm_status ranks_collect(ranks *r, const void *mine, size_t n, void *all, const char *what);
/* Tells the other ranks and the user of a failure, each once; returns the exit code. */
int ranks_fail(ranks *r, const cli *c, cm_status status);
/* Whether this process speaks for all. */
int ranks_speaks(const ranks *r);
/* Threads for this process: the processors that it may use, or its share of them where others on this machine may use
 * the same. */
int ranks_threads(void);

#endif
