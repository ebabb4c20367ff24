/* consistency_mpi.h - a group of processes (consistency/group.h) that hear of each other by MPI.
 *
 * The plugin (CM_MPI_PLUGIN) has three functions.  It is a library of its own, so that libconsistency depends
 * on no MPI, and there is one for each MPI: Open MPI and MPICH cannot take the place of each other.  A program either
 * links it or loads it with dlopen(RTLD_NOW | RTLD_GLOBAL), as Open MPI asks for, and looks up their names.
 *
 * A thread of the plugin makes all calls of MPI, so messages go on while the program computes.  MPI is initialised
 * there where it is not yet; a program that has initialised it itself has to have asked for MPI_THREAD_MULTIPLE.
 *
 * SPDX-License-Identifier: MIT */
#ifndef CONSISTENCY_MPI_H
#define CONSISTENCY_MPI_H

#include <consistency/group.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The plugin's file, as dlopen takes it.  Its number is that of the library that it goes with. */
#define CM_MPI_PLUGIN "libconsistency-mpi.so.0"

typedef struct cm_mpi_options {
    uint32_t struct_size;
    int32_t has_communicator; /* 0: MPI_COMM_WORLD                                            */
    int32_t communicator;     /* else MPI_Comm_c2f of the program's; a duplicate of it is used */
    int32_t reserved;         /* 0                                                            */
    double seconds;           /* after which an operation fails in which nothing has moved; 0: 600 */
} cm_mpi_options;

/* clang-format off */
#define CM_MPI_OPTIONS_INIT {sizeof(cm_mpi_options), 0, 0, 0, 0.0}
/* clang-format on */

/* Fills in the table of this process.  Every process of the communicator has to call it.  options NULL: the defaults.
 * Where it fails, text (of `size` bytes, or NULL) has the words.  Errors: ARGUMENT, MEMORY, STATE: MPI was
 * initialised without MPI_THREAD_MULTIPLE or is finalised already; PEER: MPI fails. */
typedef cm_status (*cm_mpi_open_fn)(const cm_mpi_options *options, cm_group *group, char *text, size_t size);
CM_API cm_status cm_mpi_open(const cm_mpi_options *options, cm_group *group, char *text, size_t size);
/* For work that goes on without a rank that dies: the n bytes of every rank to rank 0, there to all + r n (elsewhere
 * `all` may be NULL).  here[0 .. size) has 1 for each rank that takes part, the same everywhere.  Afterwards it is 0
 * for those too that were missing: that have failed, or of which rank 0 has heard nothing for the time of the group.
 * It is again the same on every rank that is there.  From the thread that calls the group's other operations, and in
 * their order.  Errors: PEER: rank 0 is missing, or goes on without this rank; CANCELLED: a rank was cancelled. */
typedef cm_status (*cm_mpi_collect_fn)(const cm_group *group, const void *mine, size_t n, void *all,
                                       unsigned char *here, const char *what);
CM_API cm_status cm_mpi_collect(const cm_group *group, const void *mine, size_t n, void *all, unsigned char *here,
                                const char *what);
/* Ends the group, after the trainers that use it.  well: 1 where nothing has failed: MPI is then finalised, if it was
 * initialised here, which waits for every process.  0: it is not, since that may wait for ever; the process has to
 * end, and mpirun then ends the others.  A rank other than 0 first waits until rank 0 gets here too, because rank 0
 * may be writing its last checkpoint. */
typedef void (*cm_mpi_close_fn)(cm_group *group, int32_t well);
CM_API void cm_mpi_close(cm_group *group, int32_t well);

#ifdef __cplusplus
}
#endif
#endif
