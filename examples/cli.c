/* cli.c - what every program begins, reads its options and ends with. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* What stands in the first braces of a help, and where they are; 0 where there are none. */
static int find_braces(const char *help, const char **open, const char **close, char list[80])
{
    *open = strchr(help, '{');
    *close = *open ? strchr(*open, '}') : NULL;
    if (!*close || *close - *open > 79) return 0;
    snprintf(list, 80, "%.*s", (int)(*close - *open - 1), *open + 1);
    return strchr(list, '|') || cm_choice_name(list, 0); /* else they are those of JSON */
}

/* Name i of a list of cm_choice_name, but "default", or word i of "a|b"; NULL after the last. */
static const char *listed_word(const char *list, size_t i, char word[80])
{
    if (!strchr(list, '|')) return cm_choice_name(list, i + (strcmp(cm_choice_name(list, 0), "default") == 0));
    for (; i && list; i--) list = strchr(list, '|') ? strchr(list, '|') + 1 : NULL;
    if (!list) return NULL;
    snprintf(word, 80, "%.*s", (int)strcspn(list, "|"), list);
    return word;
}

void cli_print_help(FILE *out, const char *help)
{
    const char *open, *close, *name;
    char list[80], word[80];
    while (find_braces(help, &open, &close, list)) {
        fprintf(out, "%.*s", (int)(open - help), help);
        for (size_t i = 0; (name = listed_word(list, i, word)) != NULL; i++) {
            fputs(name, out);
            if (listed_word(list, i + 1, word)) fputs(listed_word(list, i + 2, word) ? ", " : " or ", out);
        }
        help = close + 1;
    }
    fputs(help, out);
}

void cli_print_words(FILE *out, const cli_option *option)
{
    const char *open, *close, *name;
    char list[80], word[80];
    if (strcmp(option->name, "preset") == 0)
        for (size_t i = 0; (name = cm_train_preset_name(i)) != NULL; i++) fprintf(out, " %s", name);
    else if (option->value && find_braces(option->help, &open, &close, list))
        for (size_t i = 0; (name = listed_word(list, i, word)) != NULL; i++) fprintf(out, " %s", name);
}

static void print_help(const cli *c)
{
    printf("usage: %s %s\n\n", c->program, c->usage);
    for (int i = 0; i < c->n_options; i++) {
        const cli_option *o = &c->options[i];
        char left[64];
        snprintf(left, sizeof left, "%c%c --%s %s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->name,
                 o->value ? o->value : "");
        printf("  %-30s ", left);
        cli_print_help(stdout, o->help);
        putchar('\n');
    }
    printf("     %-27s %s\n     %-27s %s\n     %-27s %s\n", "--help", "this text", "--version", "version and build",
           "--completion SHELL", "print the completion of these options for bash, zsh or fish");
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
        if (strcmp(arg, "--completion") == 0) {
            if (++c->at >= c->argc) cli_usage_error(c, "option --completion needs a value");
            cli_print_completion(c, c->argv[c->at]);
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

/* --- messages ------------------------------------------------------------------------ */

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
static const struct {
    const char *library, *program;
} words[] = {{"ask for overwriting to replace it", "--force replaces it"},
             {"as config_json", "by --config"},
             {"config_json", "--config"},
             {"(option 'weights')", "(--weights)"}};

/* Prints up to the first of the library's words and the program's word for it; returns what follows. */
static const char *print_piece(const char *message)
{
    char piece[2048];
    const char *end = message + strlen(message), *next = end, *word = "";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *at = strstr(message, words[i].library);
        if (!at || at >= end) continue;
        end = at;
        next = at + strlen(words[i].library);
        word = words[i].program;
    }
    (void)snprintf(piece, sizeof piece, "%.*s", (int)(end - message), message);
    cli_print_text(stderr, piece, 0);
    fputs(word, stderr);
    return next;
}

static void print_message(const char *message)
{
    size_t name = strspn(message, "abcdefghijklmnopqrstuvwxyz0123456789_"); /* "cm_image_write: " */
    if (strncmp(message, "cm_", 3) == 0 && strncmp(message + name, ": ", 2) == 0) message += name + 2;
    while (*message) message = print_piece(message);
    putc('\n', stderr);
}

int cli_fail(const cli *c, cm_status status)
{
    if (cli_interrupted() && status == CM_ERR_CANCELLED) {
        fprintf(stderr, "%s: interrupted\n", c->program);
        return CLI_SIGNALLED + cli_interrupted();
    }
    const char *message = cm_last_message();
    if (status == CM_ERR_MEMORY && !strstr(message, "memory")) message = "out of memory"; /* of the program itself */
    fprintf(stderr, "%s: ", c->program);
    print_message(message);
    return CLI_FAILED;
}

static void log_once(void *user, int32_t level, const char *message)
{
    enum { SAID = 256 };
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t said[SAID]; /* hashes (FNV-1a) of what has been said */
    static int n;
    const cli *c = user;
    uint64_t hash = 14695981039346656037u;
    if (level > CM_LOG_WARNING || c->silent) return;
    if (c->unsaid && strncmp(message, c->unsaid, strlen(c->unsaid)) == 0) return;
    for (const char *at = message; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    pthread_mutex_lock(&lock);
    int known = 0;
    for (int i = 0; i < n; i++) known |= said[i] == hash;
    if (!known && n < SAID) said[n++] = hash;
    if (!known) cli_clear_line();
    if (!known) {
        fprintf(stderr, "%s%s: %s", c->prefix ? c->prefix : "", c->program,
                level == CM_LOG_WARNING ? "warning: " : "");
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
    o.threads = c->threads;
    return cm_context_create(&o, out);
}
