/* cli_completion.c - the completion of a program's options for the shells, from its table. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* What follows an option. */
typedef enum { NOTHING, TEXT, FILES, WORDS, PAIRS } value_kind;

static int is_file(const char *value)
{
    static const char *const names[] = {"FILE", "PATTERN", "PATH", "RUN", "JSON"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(value, names[i]) == 0) return 1;
    return 0;
}

/* The words of an option, of a pair its keys with their "="; free() ends them. */
static char *words_of(const cli_option *o)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    cli_print_words(out, o);
    for (size_t i = 0; o->value && strcmp(o->value, "KEY=VALUE") == 0 && i < cm_train_option_count(); i++) {
        cm_option_info info = CM_OPTION_INFO_INIT;
        if (cm_train_option_describe(i, &info) == CM_OK) fprintf(out, " %s=", info.name);
    }
    fclose(out);
    return text;
}

static value_kind kind_of(const cli_option *o, const char *words)
{
    if (!o->value) return NOTHING;
    if (strcmp(o->value, "KEY=VALUE") == 0) return PAIRS;
    if (words && words[0]) return WORDS;
    return is_file(o->value) ? FILES : TEXT;
}

/* The table of the program, and what every program has after it. */
static const cli_option common[] = {
    {"help", 0, NULL, "this text"},
    {"version", 0, NULL, "version and build"},
    {"completion", 0, "SHELL", "print the completion of these options for {bash|zsh|fish}"},
};
enum { N_COMMON = sizeof common / sizeof *common };

static const cli_option *option_at(const cli *c, int i)
{
    return i < c->n_options ? &c->options[i] : &common[i - c->n_options];
}

/* The help for a quoted word of the shell, with a backslash before each character of `marked`.  A quote ends the
 * word, stands alone behind a backslash, and the word goes on. */
static void print_quoted(const char *help, const char *marked)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return;
    cli_print_help(out, help);
    fclose(out);
    for (const char *at = text; at && *at; at++) {
        if (*at == '\'') fputs("'\\''", stdout);
        else printf("%s%c", strchr(marked, *at) ? "\\" : "", *at);
    }
    free(text);
}

/* --- bash -------------------------------------------------------------------------------- */

static void bash_case(const cli_option *o)
{
    char *words = words_of(o);
    const value_kind kind = kind_of(o, words);
    if (kind != NOTHING && o->letter) printf("    -%c | --%s)", o->letter, o->name);
    else if (kind != NOTHING) printf("    --%s)", o->name);
    if (kind == TEXT) puts(" return ;;");
    if (kind == FILES) puts(" _files=1 ;;");
    if (kind == WORDS) printf(" words='%s' ;;\n", words + 1);
    if (kind == PAIRS) printf(" words='%s' && compopt -o nospace 2>/dev/null ;;\n", words && *words ? words + 1 : "");
    free(words);
}

static void print_bash(const cli *c, const char *function)
{
    const int n = c->n_options + N_COMMON;
    printf("# The completion of %s for bash, as %s --completion bash prints it.\n%s()\n{\n", c->program, c->program,
           function);
    puts("    local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} words='' _files=''\n"
         "    COMPREPLY=()\n"
         "    # --name=VALUE comes as three words.\n"
         "    if [ \"$cur\" = = ]; then\n"
         "        cur=''\n"
         "    elif [ \"$option\" = = ] && [ \"$COMP_CWORD\" -ge 2 ]; then\n"
         "        option=${COMP_WORDS[COMP_CWORD - 2]}\n"
         "        case $option in -*) ;; *) return ;; esac\n"
         "    fi\n"
         "    case $option in");
    for (int i = 0; i < n; i++) bash_case(option_at(c, i));
    printf("    *)\n        case $cur in\n        -*) words='");
    for (int i = 0; i < n; i++) printf("%s--%s", i ? " " : "", option_at(c, i)->name);
    puts("' ;;");
    if (c->first) printf("        *) if [ \"$COMP_CWORD\" = 1 ]; then words='%s'; else _files=1; fi ;;\n", c->first);
    else puts("        *) _files=1 ;;");
    puts("        esac\n        ;;\n    esac\n"
         "    if [ -n \"$_files\" ]; then\n"
         "        compopt -o filenames 2>/dev/null\n"
         "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
         "    else\n"
         "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
         "    fi\n}");
    printf("complete -F %s %s\n", function, c->program);
}

/* --- zsh --------------------------------------------------------------------------------- */

static void zsh_option(const cli_option *o)
{
    char *words = words_of(o);
    const value_kind kind = kind_of(o, words);
    const char *equals = o->value ? "=" : "", *many = kind == PAIRS ? "*" : "";
    if (o->letter) printf("    '(-%c --%s)'{-%c,--%s%s}'[", o->letter, o->name, o->letter, o->name, equals);
    else printf("    '%s--%s%s[", many, o->name, equals);
    print_quoted(o->help, "[]\\");
    putchar(']');
    if (o->value) printf(":%s:", o->value);
    if (kind == FILES) printf("_files");
    if (kind == WORDS) printf("(%s)", words + 1);
    if (kind == PAIRS) printf("{compadd -S \"\" --%s}", words ? words : "");
    puts("' \\");
    free(words);
}

static void print_zsh(const cli *c)
{
    printf("#compdef %s\n# The completion of %s for zsh, as %s --completion zsh prints it.\n_arguments \\\n",
           c->program, c->program, c->program);
    for (int i = 0; i < c->n_options + N_COMMON; i++) zsh_option(option_at(c, i));
    if (c->first) printf("    '1:task:(%s)' \\\n", c->first);
    puts("    '*:file:_files'");
}

/* --- fish -------------------------------------------------------------------------------- */

static void fish_option(const cli *c, const cli_option *o)
{
    char *words = words_of(o);
    const value_kind kind = kind_of(o, words);
    printf("complete -c %s -l %s", c->program, o->name);
    if (o->letter) printf(" -s %c", o->letter);
    if (kind == FILES) printf(" -r -F");
    else if (kind != NOTHING) printf(" -x");
    if (words && *words) printf(" -a '%s'", words + 1);
    printf(" -d '");
    print_quoted(o->help, "\\");
    puts("'");
    free(words);
}

static void print_fish(const cli *c)
{
    printf("# The completion of %s for fish, as %s --completion fish prints it.\n", c->program, c->program);
    if (c->first) printf("complete -c %s -n __fish_is_first_arg -f -a '%s'\n", c->program, c->first);
    for (int i = 0; i < c->n_options + N_COMMON; i++) fish_option(c, option_at(c, i));
}

void cli_print_completion(const cli *c, const char *shell)
{
    static const char *const shells[] = {"bash", "zsh", "fish", NULL};
    char function[CLI_KEY + 1];
    cli_key(c->program, '-', '_', function + 1);
    function[0] = '_';
    switch (cli_choice(c, "completion", shell, shells)) {
    case 0: print_bash(c, function); break;
    case 1: print_zsh(c); break;
    default: print_fish(c);
    }
}
