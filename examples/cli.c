/* cli.c - option parsing and progress for the programs; nothing of the library's
 * work. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
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

/* --- standard descriptors ------------------------------------------------------------ */

void cli_begin(void)
{
    int fd;
    do fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2) (void)close(fd);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file beyond the limit of its size is an error of the write */
}

int cli_end(const cli *c, int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    fprintf(stderr, "%s: cannot write to the standard output%s%s\n", c->program, errno ? ": " : "",
            errno ? strerror(errno) : "");
    return code == CLI_OK ? CLI_FAILED : code;
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
    printf("\nexit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C, 128 + N by signal N%s%s\n",
           c->exits ? ", " : "", c->exits ? c->exits : "");
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

static void unknown(const cli *c, const char *name)
{
    const char *names[128] = {NULL};
    char word[80], hint[256];
    for (int i = 0; i < c->n_options && i < 127; i++) names[i] = c->options[i].name;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(name, "="), name);
    hint[0] = '\0';
    if (c->other_hint) c->other_hint(word, 1, hint, sizeof hint);
    if (!hint[0] && cm_name_hint(word, names, "--", hint, sizeof hint) == 0 && c->other_hint)
        c->other_hint(word, 0, hint, sizeof hint);
    cli_usage_error(c, "unknown option --%s%s", word, hint);
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

static void add_operand(cli *c, const char *arg)
{
    if (c->n_operands == CLI_OPERANDS) cli_usage_error(c, "too many arguments");
    c->operands[c->n_operands++] = arg;
}

int cli_next(cli *c, const char **value)
{
    while (++c->at < c->argc) {
        const char *arg = c->argv[c->at];
        if (arg[0] != '-' || !arg[1]) {
            add_operand(c, arg);
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            while (++c->at < c->argc) add_operand(c, c->argv[c->at]);
            return -1;
        }
        if (strcmp(arg, "--help") == 0) {
            print_help(c);
            exit(cli_end(c, CLI_OK));
        }
        if (strcmp(arg, "--version") == 0) {
            printf("%s %s\n%s\n", c->program, cm_version(), cm_build_info());
            exit(cli_end(c, CLI_OK));
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

void cli_key(const char *word, char from, char to, char key[CLI_KEY])
{
    snprintf(key, CLI_KEY, "%s", word);
    for (char *at = key; *at; at++)
        if (*at == from) *at = to;
}

void cli_setting_hint(const char *word, int exact, char *text, size_t size)
{
    char key[CLI_KEY];
    cm_train_options *o;
    cli_key(word, '-', '_', key);
    if (cm_train_options_create(NULL, &o) != CM_OK) return;
    cm_status status = cm_train_options_set(o, key, "?");
    cm_train_options_free(o);
    if (status == CM_OK) return;
    const char *hint = strstr(cm_last_message(), " (did you mean");
    if (!strstr(cm_last_message(), "unknown training option"))
        snprintf(text, size, ": a training option, give it as --set %s=VALUE", key);
    else if (hint && !exact) snprintf(text, size, "%s; training options go as --set NAME=VALUE", hint);
}

const char *cli_pair(const cli *c, const char *pair, char key[CLI_KEY])
{
    char name[CLI_KEY], hint[256] = "";
    const size_t n = strcspn(pair, "=");
    if (!pair[n] || n >= CLI_KEY) cli_usage_error(c, "--set: '%s' is not KEY=VALUE", pair);
    snprintf(key, CLI_KEY, "%.*s", (int)n, pair);
    if (c->other_hint) c->other_hint(key, 1, hint, sizeof hint);
    cli_key(key, '_', '-', name);
    for (int i = 0; i < c->n_options && !hint[0]; i++)
        if (strcmp(c->options[i].name, name) == 0)
            cli_usage_error(c, "--set %s: give this one as --%s%s%s", pair, name, c->options[i].value ? " " : "",
                            c->options[i].value ? pair + n + 1 : "");
    return pair + n + 1;
}

void cli_all(cli *c, const char **values, int repeated, const char **list, int most)
{
    const char *value;
    int option, n = 0;
    while ((option = cli_next(c, &value)) >= 0) {
        if (option == repeated && n == most) cli_usage_error(c, "more than %d --%s", most, c->options[option].name);
        if (option == repeated) list[n++] = value;
        values[option] = c->options[option].value ? value : "1";
    }
}

/* --- numbers ---------------------------------------------------------------------- */

/* Decimals alone: strtod also takes "nan", "0x1p3" and blanks.  Returns what stands behind, NULL for no number. */
static const char *read_decimal(const char *text, double *out)
{
    size_t n = strspn(text, "0123456789+-.eE");
    char *end;
    *out = strtod(text, &end);
    return end == text || end != text + n || *text == '+' || !isfinite(*out) ? NULL : end;
}

/* Digits with a minus at most, and k, M or G behind them. */
static const char *read_whole(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-');
    size_t n = strspn(digits, "0123456789");
    errno = 0;
    long long v = strtoll(text, NULL, 10), unit = 1;
    if (n == 0 || errno) return NULL;
    const char *end = digits + n;
    if (*end == 'k') unit = 1000, end++;
    else if (*end == 'M') unit = 1000000, end++;
    else if (*end == 'G') unit = 1000000000, end++;
    if (v > INT64_MAX / unit || v < INT64_MIN / unit) return NULL;
    *out = v * unit;
    return end;
}

/* A bound as people write it: 0.000001, not 1e-06. */
static const char *limit(double v, char text[40])
{
    snprintf(text, 40, fabs(v) < 1e15 && (fabs(v) >= 1e-9 || !(fabs(v) > 0)) ? "%.9f" : "%g", v);
    if (!strchr(text, 'e') && strpbrk(text, ".,")) {
        char *end = text + strlen(text);
        while (end[-1] == '0') *--end = '\0';
        if (end[-1] == '.' || end[-1] == ',') *--end = '\0';
    }
    return text;
}

double cli_number(const cli *c, const char *name, const char *text, double low, double high)
{
    char lowest[40], highest[40];
    double v;
    const char *end = read_decimal(text, &v);
    if (!end || *end || !(v >= low && v <= high))
        cli_usage_error(c, "--%s: '%s' is not a number in %s..%s", name, text, limit(low, lowest),
                        limit(high, highest));
    return v;
}

int64_t cli_integer(const cli *c, const char *name, const char *text, int64_t low, int64_t high)
{
    int64_t v;
    const char *end = read_whole(text, &v);
    if (!end || *end || v < low || v > high)
        cli_usage_error(c, "--%s: '%s' is not a whole number in %lld..%lld", name, text, (long long)low,
                        (long long)high);
    return v;
}

uint64_t cli_seed(const cli *c, const char *name, const char *text)
{
    errno = 0;
    unsigned long long v = strtoull(text, NULL, 10);
    if (!*text || text[strspn(text, "0123456789")] || errno)
        cli_usage_error(c, "--%s: '%s' is not a whole number in 0..%llu", name, text, (unsigned long long)UINT64_MAX);
    return v;
}

size_t cli_list(const cli *c, const char *name, const char *text, double *out, size_t most)
{
    size_t n = 0;
    for (const char *at = text;; n++) {
        if (n == most) cli_usage_error(c, "--%s: more than %zu numbers", name, most);
        const char *end = read_decimal(at, &out[n]);
        if (!end || (*end && *end != ','))
            cli_usage_error(c, "--%s: '%s' is not a list of numbers like 80,0.821", name, text);
        if (!*end) return n + 1;
        at = end + 1;
    }
}

size_t cli_integers(const cli *c, const char *name, const char *text, int32_t low, int32_t *out, size_t most)
{
    size_t n = 0;
    for (const char *at = text;; n++) {
        int64_t v;
        if (n == most) cli_usage_error(c, "--%s: more than %zu numbers", name, most);
        const char *end = read_whole(at, &v);
        if (!end || (*end && *end != ','))
            cli_usage_error(c, "--%s: '%s' is not a list of whole numbers like 0,22,39", name, text);
        if (v < low || v > INT32_MAX)
            cli_usage_error(c, "--%s: %lld in '%s' is outside %d..%d", name, (long long)v, text, low, INT32_MAX);
        out[n] = (int32_t)v;
        if (!*end) return n + 1;
        at = end + 1;
    }
}

/* A number is what was typed; told when a class of another number is called so. */
static int32_t label_number(const cli *c, const cm_model *model, const char *piece, int64_t v)
{
    const char *name;
    if (v < -1 || v > INT32_MAX)
        cli_usage_error(c, "--labels: %lld in '%s' is outside %d..%d", (long long)v, piece, -1, INT32_MAX);
    for (int32_t k = 0; (name = cm_model_class_name(model, k)) != NULL; k++)
        if (k != v && strcmp(name, piece) == 0)
            fprintf(
                stderr,
                "%s: warning: --labels: %s is taken for the number; the class that is called '%s' has number %d\n",
                c->program, piece, piece, k);
    return (int32_t)v;
}

size_t cli_labels(const cli *c, const cm_model *model, const char *text, int32_t *out, size_t most)
{
    size_t n = 0;
    if (strcmp(text, "none") == 0) {
        out[0] = -1;
        return 1;
    }
    for (const char *at = text;; n++) {
        int64_t v;
        size_t length = strcspn(at, ",");
        char *piece = strndup(at, length);
        if (n == most) cli_usage_error(c, "--labels: more than %zu", most);
        if (!piece || !*piece) cli_usage_error(c, "--labels: '%s' is not a list like 3,7 or cat,dog", text);
        const char *end = read_whole(piece, &v);
        if (end && !*end) out[n] = label_number(c, model, piece, v);
        else if (cm_model_find_class(model, piece, &out[n]) != CM_OK)
            cli_usage_error(c, "--labels: %s", cm_last_message());
        free(piece);
        if (!at[length]) return n + 1;
        at += length + 1;
    }
}

int cli_choice(const cli *c, const char *name, const char *text, const char *const *names)
{
    char list[256] = "", hint[256];
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) return i;
        if (strlen(list) + strlen(names[i]) + 3 < sizeof list) strcat(strcat(list, i ? ", " : ""), names[i]);
    }
    cm_name_hint(text, names, NULL, hint, sizeof hint);
    cli_usage_error(c, "%s%s%s'%s' is none of %s%s", name ? "--" : "", name ? name : "", name ? ": " : "", text, list,
                    hint);
    return -1;
}

const char *cli_json_argument(const cli *c, const char *name, const char *text)
{
    enum { MOST = 1 << 20 };
    if (text[strspn(text, " \t\r\n")] == '{') return text;
    FILE *file = fopen(text, "rb");
    char *content = calloc(1, MOST + 1);
    if (!file || !content) cli_usage_error(c, "--%s: '%s' is neither JSON nor a file that can be read", name, text);
    size_t n = fread(content, 1, MOST + 1, file);
    int failed = ferror(file);
    fclose(file);
    if (failed) cli_usage_error(c, "--%s: '%s' cannot be read", name, text);
    if (n > MOST) cli_usage_error(c, "--%s: '%s' is over 1 MiB", name, text);
    if (memchr(content, '\0', n)) cli_usage_error(c, "--%s: '%s' holds a NUL: it is no text", name, text);
    return content;
}

void cli_print_text(FILE *out, const char *text, int width)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; s++, width--) {
        const int second = s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0; /* U+0080 to U+009F */
        putc(*s < 32 || *s == 127 || second ? '?' : *s, out);
        s += second;
    }
    while (width-- > 0) putc(' ', out);
}

/* What the library calls otherwise is told in the words of the command line. */
static void print_message(const char *message)
{
    static const char asked[] = "ask for overwriting to replace it";
    const char *at = strstr(message, asked);
    size_t name = strspn(message, "abcdefghijklmnopqrstuvwxyz0123456789_"); /* "cm_image_write: " */
    if (strncmp(message, "cm_", 3) == 0 && strncmp(message + name, ": ", 2) == 0) message += name + 2;
    if (at) fprintf(stderr, "%.*s--force replaces it%s", (int)(at - message), message, at + sizeof asked - 1);
    else cli_print_text(stderr, message, 0);
    putc('\n', stderr);
}

int cli_fail(const cli *c, cm_status status)
{
    if (interrupted && status == CM_ERR_CANCELLED) {
        fprintf(stderr, "%s: interrupted\n", c->program);
        return CLI_SIGNALLED + interrupted;
    }
    const char *message = cm_last_message();
    if (status == CM_ERR_MEMORY && !strstr(message, "memory")) message = "out of memory"; /* of the program itself */
    fprintf(stderr, "%s: ", c->program);
    print_message(message);
    return CLI_FAILED;
}

void cli_clear_line(void)
{
    if (isatty(2)) fprintf(stderr, "\r\033[K");
}

static void log_once(void *user, int32_t level, const char *message)
{
    enum { SAID = 256 };
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t said[SAID]; /* hashes (FNV-1a) of what has been said */
    static int n;
    const cli *c = user;
    uint64_t hash = 14695981039346656037u;
    if (level > CM_LOG_WARNING) return;
    for (const char *at = message; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    pthread_mutex_lock(&lock);
    int known = 0;
    for (int i = 0; i < n; i++) known |= said[i] == hash;
    if (!known && n < SAID) said[n++] = hash;
    if (!known) cli_clear_line();
    if (!known) {
        fprintf(stderr, "%s: %s", c->program, level == CM_LOG_WARNING ? "warning: " : "");
        cli_print_text(stderr, message, 0);
        putc('\n', stderr);
    }
    pthread_mutex_unlock(&lock);
}

cm_status cli_context(cli *c, cm_context **out)
{
    cm_context_options o;
    cm_context_options_init(&o, sizeof o);
    o.log = log_once;
    o.log_user = c;
    return cm_context_create(&o, out);
}

const char *cli_duration(double seconds, char text[40])
{
    if (seconds < 90) snprintf(text, 40, "%.0f seconds", seconds < 1 ? 1 : seconds);
    else if (seconds < 90 * 60) snprintf(text, 40, "%.0f minutes", seconds / 60);
    else if (seconds < 48 * 3600) snprintf(text, 40, "%.1f hours", seconds / 3600);
    else snprintf(text, 40, "%.1f days", seconds / 86400);
    return text;
}

/* --- progress --------------------------------------------------------------------- */

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

/* Bytes of the UTF-8 character that begins at s; 0 where none does. */
static size_t character(const unsigned char *s)
{
    size_t n = *s < 0x80                 ? 1
               : *s >= 0xc2 && *s < 0xe0 ? 2
               : *s >= 0xe0 && *s < 0xf0 ? 3
               : *s >= 0xf0 && *s < 0xf5 ? 4
                                         : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    /* Forms that are too long, surrogates, and what is above U+10FFFF. */
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
        (*s == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

void cli_json_string(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t n = character(s);
        if (n == 0) fprintf(out, "\\ufffd");
        else if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
        else if (*s < 32) fprintf(out, "\\u%04x", *s);
        else fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
    putc('"', out);
}

void cli_json_number(FILE *out, int digits, double value)
{
    if (isfinite(value)) fprintf(out, "%.*g", digits, value);
    else fprintf(out, "null");
}
