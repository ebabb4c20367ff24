/* ranks.c - see the header. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "ranks.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../plugins/consistency_mpi.h"

/* A number that a launcher leaves in the environment; 0 where it does not. */
static int from_environment(const char *const *names)
{
    for (; *names; names++) {
        const char *text = getenv(*names);
        const int n = text ? atoi(text) : 0;
        if (n > 0) return n;
    }
    return 0;
}

/* SLURM_NTASKS stands in the environment of a batch script too, SLURM_PROCID only in that of a task. */
int ranks_launched(void)
{
    static const char *const of_mpi[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", NULL};
    static const char *const of_slurm[] = {"SLURM_STEP_NUM_TASKS", NULL};
    const int n = from_environment(of_mpi);
    return n || !getenv("SLURM_PROCID") ? n : from_environment(of_slurm);
}

int ranks_threads(void)
{
    /* Slurm's is a list of all machines, as in "2(x3),1", which begins with the largest as a rule. */
    static const char *const here[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE",
                                       NULL};
    cpu_set_t set;
    CPU_ZERO(&set);
    const int may = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    const int all = (int)sysconf(_SC_NPROCESSORS_ONLN), ranks_here = from_environment(here);
    if (ranks_here < 2 || may * ranks_here <= all) return may;
    return all / ranks_here > 0 ? all / ranks_here : 1;
}

static void refuse(const cli *c, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", c->program, what, why);
    exit(CLI_FAILED);
}

/* POSIX lets dlsym give functions, ISO C has no cast for it. */
static void find(const ranks *r, const cli *c, const char *name, void *function)
{
    void *found = dlsym(r->plugin, name);
    if (!found) refuse(c, CM_MPI_PLUGIN, dlerror());
    memcpy(function, &found, sizeof found);
}

void ranks_join(ranks *r, const cli *c, int asked, double seconds)
{
    cm_mpi_options o = CM_MPI_OPTIONS_INIT;
    cm_mpi_open_fn open;
    char text[300] = "";
    const int n = ranks_launched();
    memset(r, 0, sizeof *r);
    if (n < 2 && !asked) return;
    r->plugin = dlopen(CM_MPI_PLUGIN, RTLD_NOW | RTLD_GLOBAL);
    if (!r->plugin)
        refuse(c, n < 2 ? "--mpi needs the plugin for MPI" : "several processes need the plugin for MPI", dlerror());
    find(r, c, "cm_mpi_open", &open);
    o.seconds = seconds;
    if (open(&o, &r->group, text, sizeof text) != CM_OK) refuse(c, "MPI", text);
    if (r->group.size < n)
        refuse(c, "MPI",
               "this process was started with others but does not hear of them: mpirun and the plugin are of "
               "different MPIs");
    if (r->group.size < 2) fprintf(stderr, "%s: one process: it was not started by mpirun or srun\n", c->program);
    r->here = malloc((size_t)r->group.size);
    if (!r->here) refuse(c, "MPI", "out of memory");
    memset(r->here, 1, (size_t)r->group.size);
}

/* --- what every rank has to have in common ---------------------------------------------- */

enum { LINES = 4096 };

/* The first line of `mine` that rank 0 does not have there. */
static void first_difference(const char *first, const char *mine, char text[LINES])
{
    while (*first && *mine) {
        const size_t a = strcspn(first, "\n"), b = strcspn(mine, "\n");
        if (a != b || memcmp(first, mine, a) != 0) {
            (void)snprintf(text, LINES, "'%.*s' instead of '%.*s'", (int)b, mine, (int)a, first);
            return;
        }
        first += a + (first[a] != 0);
        mine += b + (mine[b] != 0);
    }
    if (*first || *mine) (void)snprintf(text, LINES, "'%.1000s' instead of '%.1000s'", mine, first);
}

static void check_words(ranks *r, const cli *c, cm_status status)
{
    r->failed = status != CM_OK;
    if (status != CM_OK) exit(ranks_leave(r, ranks_fail(r, c, status)));
}

void ranks_compare(ranks *r, const cli *c, const char *lines)
{
    char mine[LINES] = "", first[LINES], text[LINES] = "";
    cm_group *g = &r->group;
    if (g->size < 2) return;
    (void)snprintf(mine, sizeof mine, "%s", lines);
    memcpy(first, mine, sizeof first);
    check_words(r, c, g->broadcast(g->user, first, sizeof first, "the options"));
    first_difference(first, mine, text);
    char *all = malloc((size_t)g->size * LINES);
    if (!all) refuse(c, "MPI", "out of memory");
    check_words(r, c, g->gather(g->user, text, LINES, all, "the options"));
    for (int32_t k = 0; k < g->size; k++) {
        if (!all[k * LINES]) continue;
        if (ranks_speaks(r))
            fprintf(stderr, "%s: rank %d of %d does not do what rank 0 does: %.*s\n", c->program, k, g->size,
                    LINES - 1, all + k * LINES);
        exit(ranks_leave(r, CLI_FAILED));
    }
    free(all);
}

/* --- where the ranks run ------------------------------------------------------------------ */

enum { PLACE = 160 };

/* "0-3,8" */
static void processors(char *text, size_t size)
{
    cpu_set_t set;
    size_t n = 0;
    text[0] = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return;
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        size_t last = i;
        if (!CPU_ISSET(i, &set)) continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) last++;
        const char *comma = n ? "," : "";
        const int k = last > i ? snprintf(text + n, size - n, "%s%zu-%zu", comma, i, last)
                               : snprintf(text + n, size - n, "%s%zu", comma, i);
        if (k < 0 || (size_t)k >= size - n) return;
        n += (size_t)k;
        i = last;
    }
}

void ranks_introduce(ranks *r, cli *c, int threads, int quiet, int log_ranks)
{
    char mine[PLACE] = "", host[64] = "", list[60];
    const int32_t size = r->group.size;
    if (size < 2) return;
    (void)snprintf(r->prefix, sizeof r->prefix, "rank %d: ", r->group.rank);
    c->silent = !ranks_speaks(r) && !log_ranks;
    c->prefix = log_ranks ? r->prefix : NULL;
    (void)gethostname(host, sizeof host - 1);
    processors(list, sizeof list);
    (void)snprintf(mine, sizeof mine, "%s, processors %s, %d thread%s", host, list, threads, threads == 1 ? "" : "s");
    char(*all)[PLACE] = malloc((size_t)size * PLACE);
    if (!all) refuse(c, "MPI", "out of memory");
    check_words(r, c, r->group.gather(r->group.user, mine, PLACE, all, "the beginning"));
    if (ranks_speaks(r) && !quiet) fprintf(stderr, "%d processes (%s)\n", size, r->group.engine);
    for (int32_t k = 0, end; k < size && ranks_speaks(r) && !quiet; k = end) {
        for (end = k + 1; end < size && strcmp(all[k], all[end]) == 0;) end++;
        if (end - k > 1) fprintf(stderr, "ranks %d-%d: %s each\n", k, end - 1, all[k]);
        else fprintf(stderr, "rank %d: %s\n", k, all[k]);
    }
    free(all);
}

/* --- work and failure ------------------------------------------------------------------------ */

cm_status ranks_collect(ranks *r, const void *mine, size_t n, void *all, const char *what)
{
    cm_mpi_collect_fn collect;
    void *found = dlsym(r->plugin, "cm_mpi_collect");
    if (!found) return CM_ERR_UNSUPPORTED;
    memcpy(&collect, &found, sizeof found);
    const cm_status status = collect(&r->group, mine, n, all, r->here, what);
    r->failed = status != CM_OK;
    return status;
}

int ranks_fail(ranks *r, const cli *c, cm_status status)
{
    const int ours = r->group.size > 1 && !r->failed && status != CM_ERR_PEER;
    if (r->group.size < 2) return cli_fail(c, status);
    if (ours) {
        r->group.give_up(r->group.user, status, cm_last_message());
        fprintf(stderr, "rank %d: ", r->group.rank);
        return cli_fail(c, status);
    }
    if (ranks_speaks(r) && r->failed)
        fprintf(stderr, "rank 0: %s: %s\n", c->program, r->group.message(r->group.user));
    return CLI_FAILED;
}

int ranks_leave(ranks *r, int code)
{
    cm_mpi_close_fn close;
    void *found = r->plugin ? dlsym(r->plugin, "cm_mpi_close") : NULL;
    if (!found) return code;
    memcpy(&close, &found, sizeof found);
    int well = code == CLI_OK;
    for (int k = 0; r->here && k < r->group.size; k++) well &= r->here[k];
    close(&r->group, well);
    free(r->here);
    r->here = NULL;
    return code;
}

int ranks_speaks(const ranks *r)
{
    return r->group.rank == 0;
}
