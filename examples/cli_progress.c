/* cli_progress.c - how far the work is, and the signals that stop it. */
#include "cli.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;
static cm_run *volatile stopped_run; /* what a signal stops, NULL: it only leaves a note */

double cli_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *cli_duration(double seconds, char text[40])
{
    if (seconds < 90) snprintf(text, 40, "%.0f seconds", seconds < 1 ? 1 : seconds);
    else if (seconds < 90 * 60) snprintf(text, 40, "%.0f minutes", seconds / 60);
    else if (seconds < 48 * 3600) snprintf(text, 40, "%.1f hours", seconds / 3600);
    else snprintf(text, 40, "%.1f days", seconds / 86400);
    return text;
}

void cli_clear_line(void)
{
    if (isatty(2)) fprintf(stderr, "\r\033[K");
}

static void on_signal(int number)
{
    if (interrupted && (!stopped_run || number == SIGINT))
        _exit(CLI_SIGNALLED + number); /* the second time at once */
    interrupted = number;
    cm_run_stop(stopped_run);
}

void cli_catch_signals_for(cm_run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    stopped_run = run;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
}

int cli_interrupted(void)
{
    return interrupted;
}

void cli_catch_signals(void)
{
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
}

void cli_progress_begin(cli_progress *p, const char *what, int quiet)
{
    memset(p, 0, sizeof *p);
    p->what = what;
    p->began = p->shown = cli_seconds();
    p->quiet = quiet;
}

int32_t cli_progress_step(void *progress, uint64_t done, uint64_t total)
{
    cli_progress *p = progress;
    if (p->now) { /* evaluations an image times images */
        done += total / p->now * p->before;
        total = total / p->now * p->all;
    }
    double now = cli_seconds(), pause = isatty(2) ? 0.1 : 10, spent = now - p->began;
    if (!p->quiet && now - p->shown > pause && total) {
        double left = done ? spent * ((double)total / (double)done - 1) : 0;
        fprintf(stderr, "%s%s %3.0f%%  %.0f s, about %.0f s left%s", isatty(2) ? "\r" : "", p->what,
                100 * (double)done / (double)total, spent, left, isatty(2) ? "\033[K" : "\n");
        fflush(stderr);
        p->shown = now;
    }
    return interrupted;
}

void cli_progress_end(cli_progress *p)
{
    if (!p->quiet) cli_clear_line();
}
