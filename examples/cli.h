/* cli.h - what the programs share: options, progress, failure. */
#ifndef CLI_H
#define CLI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <consistency.h>

enum { CLI_OPERANDS = 1024 };
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

/* One option of a program: --name VALUE (or --name alone without `value`),
 * -letter when that is not 0. */
typedef struct cli_option {
    const char *name;
    char letter;
    const char *value; /* what the help calls its value; NULL for a flag */
    const char *help;
} cli_option;

/* The next option's index, -1 at the end; *value is its value.  Arguments that
 * are not options are collected in operands[0..*count).  Unknown options end
 * the program with exit code 2 and the nearest name; --help and --version end
 * it with 0. */
typedef struct cli {
    const char *program, *usage;
    const cli_option *options;
    int n_options, argc, at;
    char **argv;
    const char *operands[CLI_OPERANDS];
    int n_operands;
} cli;
int cli_next(cli *c, const char **value);

/* Numbers, checked; a wrong one ends the program with exit code 2.  Sizes take
 * k, M, G. */
double cli_number(const cli *c, const char *name, const char *text, double low, double high);
int64_t cli_integer(const cli *c, const char *name, const char *text, int64_t low, int64_t high);
/* "80,0.821" to numbers; returns how many. */
size_t cli_list(const cli *c, const char *name, const char *text, double *out, size_t most);
/* The index of text among NULL-terminated names. */
int cli_choice(const cli *c, const char *name, const char *text, const char *const *names);
/* Whether a name holds exactly one %d, possibly with a width; and the name it
 * makes for a number. */
int cli_good_pattern(const char *pattern);
void cli_pattern_path(const char *pattern, uint64_t number, char *path, size_t size);
/* A JSON text given directly, or the contents of the file of that name
 * (malloc'ed; lives until the program ends). */
const char *cli_json_argument(const cli *c, const char *name, const char *text);
void cli_usage_error(const cli *c, const char *format, ...);

/* Prints "program: message" of a failed call; returns the exit code. */
int cli_fail(const cli *c, cm_status status);

/* Progress with time left on standard error: a live line on a terminal, else a
 * line every ten seconds.  Stops after Ctrl-C (installed by cli_catch_signals). */
typedef struct cli_progress {
    const char *what;
    double began, shown;
    int quiet;
} cli_progress;
void cli_progress_begin(cli_progress *p, const char *what, int quiet);
int32_t cli_progress_step(void *progress, uint64_t done, uint64_t total);
void cli_progress_end(cli_progress *p);
void cli_catch_signals(void);

double cli_seconds(void);
/* A JSON string with quotes and escapes. */
void cli_json_string(FILE *out, const char *text);

#endif
