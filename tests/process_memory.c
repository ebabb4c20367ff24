/* process_memory.c [POINTS] - the memory of the process runs out within each operation of support/operations.h, under
 * malloc_shim.so: what the libraries take that ours calls, and what threads take, fails too.
 *
 *   single   one request fails and all others succeed
 *   limits   what is alive at a time stays within a bound, from nothing to what is needed: as it is for a process
 * under `ulimit -v`
 *
 * Each case runs in a child.  None may crash or go on for ever; the call succeeds or says MEMORY, and when there
 * is memory again the same call succeeds.  Of an archive libzip says "not a zip archive" where it had no memory for
 * the directory: that other status is counted, and any other is a fault.  POINTS of each kind for an operation, by
 * chance (0: all). */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/operations.h"

static void (*arm)(long), (*limit)(long);
static long (*seen)(void), (*peak)(void);
static char top[40], out[60];

/* A child exits with OWN and what came out: a library that calls exit() is a crash. */
enum { OWN = 100 };
enum { GOOD, MEMORY, OTHER, NO_RETRY, WRONG, CRASHED, OUTCOMES };
static const char *const faults[OUTCOMES] = {
    [NO_RETRY] = "the same call fails afterwards", [WRONG] = "another status than MEMORY", [CRASHED] = "a crash"};
typedef struct {
    long counts[OUTCOMES];
} tally;

static void empty(void)
{
    char command[200];
    snprintf(command, sizeof command, "rm -rf %s && mkdir %s", out, out);
    if (system(command) != 0) exit(2);
}

/* In a child: the outcome, and what a run without faults counts to `told`. */
static int child(int index, void (*set)(long), long n, int told)
{
    const cm_context_options options = CM_CONTEXT_OPTIONS_INIT;
    cm_context_options o = options;
    place at = {.options = &o, .in = top, .out = out};
    const operation *row = operation_at(index, &at);
    o.threads = 1;
    if (cm_context_create(&o, &at.context) != CM_OK) return NO_RETRY;
    alarm(60);
    limit(-1);
    set(n);
    cm_status status = row->run(&at);
    const long counts[2] = {seen(), peak()};
    arm(-1);
    limit(-1);
    if (told >= 0) return status == CM_OK && write(told, counts, sizeof counts) == sizeof counts ? GOOD : NO_RETRY;
    const int outcome = status == CM_OK                                                       ? GOOD
                        : status == CM_ERR_MEMORY                                             ? MEMORY
                        : status == CM_ERR_FORMAT && strstr(cm_last_message(), "zip archive") ? OTHER
                                                                                              : WRONG;
    if (outcome >= OTHER)
        fprintf(stderr, "%s: %s: %s\n", operation_name(row, &at), cm_status_name(status), cm_last_message());
    empty();
    status = row->run(&at);
    if (status != CM_OK) fprintf(stderr, "%s: then: %s\n", operation_name(row, &at), cm_last_message());
    return status == CM_OK ? outcome : NO_RETRY;
}

static int run(int index, void (*set)(long), long n)
{
    int status;
    empty();
    const pid_t pid = fork();
    if (pid == 0) _exit(OWN + child(index, set, n, -1));
    if (waitpid(pid, &status, 0) != pid) return CRASHED;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) - OWN : CRASHED;
    return code >= 0 && code < CRASHED ? code : CRASHED;
}

static int measure(int index, long counts[2])
{
    int pipes[2], status;
    if (pipe(pipes) != 0) return 0;
    empty();
    const pid_t pid = fork();
    if (pid == 0) _exit(child(index, arm, -1, pipes[1]));
    close(pipes[1]);
    const int good = read(pipes[0], counts, 2 * sizeof *counts) == (ssize_t)(2 * sizeof *counts);
    close(pipes[0]);
    return waitpid(pid, &status, 0) == pid && good;
}

static void sweep(int index, const char *what, void (*set)(long), long last, long points, uint64_t *state, tally *all)
{
    place at = {0};
    const long cases = points && points < last ? points : last;
    for (long i = 1; i <= cases; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        const long n = points && points < last ? 1 + (long)((*state >> 20) % (uint64_t)last) : i;
        const int outcome = run(index, set, n);
        all->counts[outcome]++;
        if (outcome < NO_RETRY) continue;
        const operation *row = operation_at(index, &at);
        printf("FAIL %s: %s %ld of %ld: %s\n", operation_name(row, &at), what, n, last, faults[outcome]);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    const long points = argc > 1 ? atol(argv[1]) : 20;
    uint64_t state = 5;
    place at = {0};
    tally single = {0}, limits = {0};
    int index = 0;
    *(void **)&arm = dlsym(RTLD_DEFAULT, "malloc_shim_arm");
    *(void **)&limit = dlsym(RTLD_DEFAULT, "malloc_shim_limit");
    *(void **)&seen = dlsym(RTLD_DEFAULT, "malloc_shim_seen");
    *(void **)&peak = dlsym(RTLD_DEFAULT, "malloc_shim_peak");
    if (!arm || !limit || !seen || !peak) {
        puts("process_memory: run it under malloc_shim.so");
        return 2;
    }
    strcpy(top, "/tmp/cm-process-XXXXXX");
    if (!mkdtemp(top)) return 2;
    snprintf(out, sizeof out, "%s/out", top);
    pid_t pid = fork(); /* the parent never computes */
    int status;
    if (pid == 0) _exit(operations_prepare(top) ? 0 : 1);
    if (waitpid(pid, &status, 0) != pid || status != 0) return 2;
    for (; operation_at(index, &at); index++) {
        long counts[2];
        if (!measure(index, counts)) {
            printf("FAIL %s without faults\n", operation_name(operation_at(index, &at), &at));
            single.counts[CRASHED]++;
            continue;
        }
        sweep(index, "request", arm, counts[0], points, &state, &single);
        const long steps = points && points < 25 ? points / 2 + 1 : 25;
        for (long i = 1; i <= steps; i++) {
            const int outcome = run(index, limit, (long)((double)counts[1] * 1.25 * (double)i / (double)steps) + 1);
            limits.counts[outcome]++;
            if (outcome < NO_RETRY) continue;
            printf("FAIL %s: bound %ld of %ld: %s\n", operation_name(operation_at(index, &at), &at), i, steps,
                   faults[outcome]);
        }
    }
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", top);
    if (system(command) != 0) return 2;
    const tally *const both[2] = {&single, &limits};
    for (int i = 0; i < 2; i++)
        printf(
            "memory of the process: %d operations, %s: %ld harmless, %ld MEMORY, %ld another status of archives, %ld "
            "another status, %ld fail afterwards, %ld crashed\n",
            index, i ? "bounds on all of it" : "requests failing in turn", both[i]->counts[GOOD],
            both[i]->counts[MEMORY], both[i]->counts[OTHER], both[i]->counts[WRONG], both[i]->counts[NO_RETRY],
            both[i]->counts[CRASHED]);
    long bad = 0;
    for (int i = NO_RETRY; i < OUTCOMES; i++) bad += single.counts[i] + limits.counts[i];
    return bad > 0;
}
