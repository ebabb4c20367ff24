/* cli.c - option parsing and progress for the programs; nothing of the library's
 * work. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

double cli_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- options ---------------------------------------------------------------------- */

static void print_help(const cli *c)
{
    printf("usage: %s %s\n\n", c->program, c->usage);
    for (int i = 0; i < c->n_options; i++) {
        const cli_option *o = &c->options[i];
        char left[64];
        snprintf(left, sizeof left, "%c%c --%s %s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->name,
                 o->value ? o->value : "");
        printf("  %-30s %s\n", left, o->help);
    }
    printf("     %-27s %s\n     %-27s %s\n", "--help", "this text", "--version", "version and build");
}

void cli_usage_error(const cli *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", c->program);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry '%s --help'.\n", c->program);
    exit(CLI_USAGE);
}

/* Letters to change to get from one word to the other. */
static int distance(const char *a, const char *b)
{
    int row[64], n = (int)strlen(b);
    if (n > 62) return 99;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int least = row[j - 1] < row[j] ? row[j - 1] + 1 : row[j] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[n];
}

static void unknown(const cli *c, const char *name)
{
    const char *best = NULL;
    int least = 4;
    for (int i = 0; i < c->n_options; i++) {
        int d = distance(name, c->options[i].name);
        if (d < least) least = d, best = c->options[i].name;
    }
    if (best) cli_usage_error(c, "unknown option --%s (did you mean --%s?)", name, best);
    cli_usage_error(c, "unknown option --%s", name);
}

static int find(const cli *c, const char *arg, const char **value)
{
    const char *equals = strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - arg) : strlen(arg);
    *value = equals ? equals + 1 : NULL;
    for (int i = 0; i < c->n_options; i++) {
        const cli_option *o = &c->options[i];
        if (n > 2 && strlen(o->name) == n - 2 && strncmp(o->name, arg + 2, n - 2) == 0) return i;
        if (n == 2 && o->letter && arg[1] == o->letter) return i;
    }
    return -1;
}

int cli_next(cli *c, const char **value)
{
    while (++c->at < c->argc) {
        const char *arg = c->argv[c->at];
        if (arg[0] != '-' || !arg[1]) {
            if (c->n_operands == CLI_OPERANDS) cli_usage_error(c, "too many arguments");
            c->operands[c->n_operands++] = arg;
            continue;
        }
        if (strcmp(arg, "--help") == 0) {
            print_help(c);
            exit(CLI_OK);
        }
        if (strcmp(arg, "--version") == 0) {
            printf("%s %s\n%s\n", c->program, cm_version(), cm_build_info());
            exit(CLI_OK);
        }
        int i = find(c, arg, value);
        if (i < 0) unknown(c, arg + (arg[1] == '-' ? 2 : 1));
        if (!c->options[i].value && *value) cli_usage_error(c, "option --%s takes no value", c->options[i].name);
        if (c->options[i].value && !*value) {
            if (++c->at >= c->argc) cli_usage_error(c, "option --%s needs a value", c->options[i].name);
            *value = c->argv[c->at];
        }
        return i;
    }
    return -1;
}

double cli_number(const cli *c, const char *name, const char *text, double low, double high)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= low && v <= high))
        cli_usage_error(c, "--%s: '%s' is not a number in %g..%g", name, text, low, high);
    return v;
}

int64_t cli_integer(const cli *c, const char *name, const char *text, int64_t low, int64_t high)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10), unit = 1;
    if (*end == 'k') unit = 1000, end++;
    else if (*end == 'M') unit = 1000000, end++;
    else if (*end == 'G') unit = 1000000000, end++;
    if (end == text || *end || errno || v > INT64_MAX / unit || v < INT64_MIN / unit || v * unit < low ||
        v * unit > high)
        cli_usage_error(c, "--%s: '%s' is not a whole number in %lld..%lld", name, text, (long long)low,
                        (long long)high);
    return v * unit;
}

size_t cli_list(const cli *c, const char *name, const char *text, double *out, size_t most)
{
    size_t n = 0;
    for (const char *at = text;; n++) {
        char *end;
        if (n == most) cli_usage_error(c, "--%s: more than %zu numbers", name, most);
        out[n] = strtod(at, &end);
        if (end == at || (*end && *end != ','))
            cli_usage_error(c, "--%s: '%s' is not a list of numbers like 80,0.821", name, text);
        if (!*end) return n + 1;
        at = end + 1;
    }
}

int cli_choice(const cli *c, const char *name, const char *text, const char *const *names)
{
    char list[256] = "";
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) return i;
        if (strlen(list) + strlen(names[i]) + 3 < sizeof list) strcat(strcat(list, i ? ", " : ""), names[i]);
    }
    cli_usage_error(c, "--%s: '%s' is none of %s", name, text, list);
    return -1;
}

int cli_good_pattern(const char *pattern)
{
    const char *percent = strchr(pattern, '%');
    if (!percent) return 0;
    const char *end = percent + 1 + strspn(percent + 1, "0123456789");
    return *end == 'd' && end - percent < 4 && !strchr(end, '%');
}

void cli_pattern_path(const char *pattern, uint64_t number, char *path, size_t size)
{
    const char *percent = strchr(pattern, '%');
    snprintf(path, size, "%.*s%0*llu%s", (int)(percent - pattern), pattern, atoi(percent + 1),
             (unsigned long long)number, strchr(percent, 'd') + 1);
}

const char *cli_json_argument(const cli *c, const char *name, const char *text)
{
    enum { MOST = 1 << 20 };
    if (text[strspn(text, " \t\r\n")] == '{') return text;
    FILE *file = fopen(text, "rb");
    char *content = calloc(1, MOST + 1);
    if (!file || !content) cli_usage_error(c, "--%s: '%s' is neither JSON nor a file that can be read", name, text);
    size_t n = fread(content, 1, MOST + 1, file);
    fclose(file);
    if (n > MOST) cli_usage_error(c, "--%s: '%s' is over 1 MiB", name, text);
    content[n] = '\0';
    return content;
}

int cli_fail(const cli *c, cm_status status)
{
    if (interrupted && status == CM_ERR_CANCELLED) {
        fprintf(stderr, "%s: interrupted\n", c->program);
        return CLI_INTERRUPTED;
    }
    fprintf(stderr, "%s: %s\n", c->program, cm_last_message());
    return CLI_FAILED;
}

/* --- progress --------------------------------------------------------------------- */

static void on_signal(int number)
{
    if (interrupted) _exit(128 + number); /* the second time at once */
    interrupted = 1;
}

void cli_catch_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void cli_progress_begin(cli_progress *p, const char *what, int quiet)
{
    p->what = what;
    p->began = p->shown = cli_seconds();
    p->quiet = quiet;
}

int32_t cli_progress_step(void *progress, uint64_t done, uint64_t total)
{
    cli_progress *p = progress;
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
    if (!p->quiet && isatty(2)) fprintf(stderr, "\r\033[K");
}

void cli_json_string(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
        else if (*s < 32) fprintf(out, "\\u%04x", *s);
        else putc(*s, out);
    }
    putc('"', out);
}
