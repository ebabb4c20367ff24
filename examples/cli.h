/* cli.h - what the programs share: options, progress, failure. */
#ifndef CLI_H
#define CLI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <consistency.h>

enum { CLI_OPERANDS = 1024, CLI_KEY = 128 };
/* Exit codes.  A program that a signal stopped ends with CLI_SIGNALLED plus its number. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_SIGNALLED = 128, CLI_INTERRUPTED = 130 };

/* One option of a program: --name VALUE (or --name alone without `value`),
 * -letter when that is not 0. */
typedef struct cli_option {
    const char *name;
    char letter;
    const char *value; /* what the help calls its value; NULL for a flag */
    const char *help;  /* {LIST}: the names of a list of cm_choice_name; {a|b}: just these words */
} cli_option;

/* The next option's index, -1 at the end; *value is its value.  Arguments that
 * are not options, and all after "--", are collected in operands[0..*count).
 * Unknown options end the program with exit code 2 and the nearest name; --help
 * and --version end it with 0. */
typedef struct cli {
    const char *program, *usage;
    const cli_option *options;
    int n_options, argc, at;
    char **argv;
    const char *operands[CLI_OPERANDS];
    int n_operands;
    const char *exits; /* exit codes besides 0, 1, 2 and those of signals, for the help; may be NULL */
    const char *first; /* the words that the first operand may be, with spaces between; NULL: a file */
    /* Names that are no options of the program but something else of it: writes what, or "".
     * exact: only for just that name.  May be NULL. */
    void (*other_hint)(const char *word, int exact, char *text, size_t size);
    const char *unsaid; /* warnings of contexts that begin so are not printed; may be NULL */
    int threads;        /* of contexts; 0: all processors that the process may use */
    int silent;         /* the library's messages are not printed */
    const char *prefix; /* of those messages; NULL: none */
} cli;
int cli_next(cli *c, const char **value);

/* The help of an option with the names that its braces stand for. */
void cli_print_help(FILE *out, const char *help);
/* The words that the option's value may be, each after a space; nothing where they are not listed. */
void cli_print_words(FILE *out, const cli_option *option);
/* cli_completion.c: the completion of the program's options for a shell, bash, zsh or fish, from its table. */
void cli_print_completion(const cli *c, const char *shell);

/* The first call of a program: standard descriptors that are closed are opened on
 * /dev/null, since the next file would get their numbers and whatever is printed; a limit on
 * the size of files (SIGXFSZ) becomes an error of the write that meets it. */
void cli_begin(void);
/* The last one: an output that could not be written whole makes success a failure. */
int cli_end(const cli *c, int code);

/* Decimal numbers, checked; a wrong one ends the program with exit code 2.  Whole
 * ones take k, M, G. */
double cli_number(const cli *c, const char *name, const char *text, double low, double high);
int64_t cli_integer(const cli *c, const char *name, const char *text, int64_t low, int64_t high);
/* 0 to 2^64 - 1. */
uint64_t cli_seed(const cli *c, const char *name, const char *text);
/* "80,0.821" to numbers, "0,22,39" to whole ones; both return how many. */
size_t cli_list(const cli *c, const char *name, const char *text, double *out, size_t most);
size_t cli_integers(const cli *c, const char *name, const char *text, int32_t low, int32_t *out, size_t most);
/* Labels of a model: "3,7" or "cat,dog", numbers and names of its classes mixed; "none"
 * alone is -1, and "all" alone each class once.  A whole number is that number even where a class is called so, and a
 * name that holds a comma is given by its number. */
size_t cli_labels(const cli *c, const cm_model *model, const char *text, int32_t *out, size_t most);
/* "log-every" to "log_every", or back. */
void cli_key(const char *word, char from, char to, char key[CLI_KEY]);
/* For other_hint of a program whose --set takes options of training: --lr and --learning-rate are
 * meant for --set. */
void cli_setting_hint(const char *word, int exact, char *text, size_t size);
/* The value of "KEY=VALUE", and its key.  Keys that are options of the program, but no options of
 * training, end it with exit code 2. */
const char *cli_pair(const cli *c, const char *pair, char key[CLI_KEY]);
/* The value of every option into values[n_options], that of a flag as "1"; of an option that may be
 * repeated, number `repeated`, all of them into list[most], the rest of which is NULL. */
void cli_all(cli *c, const char **values, int repeated, const char **list, int most);
/* Writes a file, which appears whole or not at all; what cannot be written ends the program with exit code 1. */
void cli_write_file(const cli *c, const char *path, const char *text, size_t size, int overwrite);
/* Whether that can be expected to work, before the work begins; else it ends the program. */
void cli_check_file(const cli *c, const char *path, int overwrite);
/* The index of text among NULL-terminated names. */
int cli_choice(const cli *c, const char *name, const char *text, const char *const *names);
/* The same for a list of cm_choice_name. */
int32_t cli_listed(const cli *c, const char *name, const char *text, const char *list);
/* A JSON text given directly, or the contents of the file of that name
 * (malloc'ed; lives until the program ends). */
const char *cli_json_argument(const cli *c, const char *name, const char *text);
void cli_usage_error(const cli *c, const char *format, ...);

/* Prints "program: message" of a failed call; returns the exit code. */
int cli_fail(const cli *c, cm_status status);

/* Progress with time left on standard error: a live line on a terminal, else a
 * line every ten seconds.  Stops after Ctrl-C (installed by cli_catch_signals).
 * Work of several calls: `now` images of `all`, after `before` of them; else 0. */
typedef struct cli_progress {
    const char *what;
    double began, shown;
    int quiet;
    uint64_t before, now, all;
} cli_progress;
void cli_progress_begin(cli_progress *p, const char *what, int quiet);
int32_t cli_progress_step(void *progress, uint64_t done, uint64_t total);
void cli_progress_end(cli_progress *p);
/* SIGINT, SIGTERM and, unless it is ignored, SIGHUP ask for a stop; the second one ends
 * the program at once. */
void cli_catch_signals(void);
/* They and SIGUSR1 stop the run instead, with a checkpoint; what is ignored when the program begins
 * stays ignored, and only a second Ctrl-C ends the program at once.  NULL: before the run is freed. */
void cli_catch_signals_for(cm_run *run);
/* The number of the signal that has asked for a stop, 0 for none. */
int cli_interrupted(void);

/* A context whose errors and warnings go to standard error, each once. */
cm_status cli_context(cli *c, cm_context **out);
/* listing.c: the presets by their source, with the parameters of their networks; returns the exit code. */
int cli_list_presets(const cli *c);
/* The options of training with their values, defaults and the objectives that read them; returns the exit code. */
int cli_list_options(const cli *c);
/* Clears the live line of a terminal, before other words. */
void cli_clear_line(void);
/* Seconds as people say them: "40 seconds", "2.5 hours". */
const char *cli_duration(double seconds, char text[40]);

double cli_seconds(void);
/* Text of a file or a message: control characters, which a terminal would obey, become '?'.  At least `width`
 * columns. */
void cli_print_text(FILE *out, const char *text, int width);
/* Bytes of the UTF-8 character that begins at s; 0 where none does. */
size_t cli_character(const unsigned char *s);
/* A JSON string with quotes and escapes; bytes that are no UTF-8 become U+FFFD. */
void cli_json_string(FILE *out, const char *text);
/* A number of `digits` digits, or null where JSON has none for it. */
void cli_json_number(FILE *out, int digits, double value);

#endif
