/* ledger.c - see the header. */
#include "ledger.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

void ledger_fact(ledger *l, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    l->facts[l->n_facts].name = name;
    (void)vsnprintf(l->facts[l->n_facts++].value, LEDGER_TEXT, format, args);
    va_end(args);
}

static void put(ledger *l, const char *key, double score)
{
    ledger_entry *more = realloc(l->entries, (l->n + 1) * sizeof *more);
    if (!more) {
        fprintf(stderr, "%s: out of memory\n", l->c->program);
        exit(CLI_FAILED);
    }
    l->entries = more;
    (void)snprintf(more[l->n].key, LEDGER_KEY, "%s", key);
    more[l->n++].score = score;
}

static void check_facts(const ledger *l, const json_t *facts)
{
    for (size_t i = 0; i < l->n_facts; i++) {
        const char *own = l->facts[i].value, *theirs = json_string_value(json_object_get(facts, l->facts[i].name));
        if (!theirs || strcmp(own, theirs) != 0)
            cli_usage_error(
                l->c,
                "%s holds scores of another search: its %s is %s, not %s. Remove it, or name another file "
                "with --write",
                l->path, l->facts[i].name, theirs ? theirs : "not there", own);
    }
}

static void read_entries(ledger *l, json_t *file)
{
    const char *key;
    json_t *score, *scores = json_object_get(file, "scores");
    if (!json_is_object(json_object_get(file, "of")) || !json_is_object(scores))
        cli_usage_error(l->c, "%s is no file of scores: remove it, or name another file with --write", l->path);
    check_facts(l, json_object_get(file, "of"));
    json_object_foreach(scores, key, score)
    {
        if (!json_is_number(score) || strlen(key) >= LEDGER_KEY)
            cli_usage_error(l->c, "%s: the score of %.100s is no number", l->path, key);
        put(l, key, json_number_value(score));
    }
}

void ledger_open(ledger *l, const cli *c, const char *path)
{
    json_error_t error;
    const size_t room = strlen(path) + 8;
    l->c = c;
    l->path = malloc(room);
    if (!l->path) return;
    (void)snprintf(l->path, room, "%s.state", path);
    cli_check_file(c, l->path, 1);
    if (access(l->path, F_OK) != 0) return;
    json_t *file = json_load_file(l->path, 0, &error);
    if (!file)
        cli_usage_error(c, "%s cannot be read (%s): remove it, or name another file with --write", l->path,
                        error.text);
    read_entries(l, file);
    json_decref(file);
}

const ledger_entry *ledger_find(const ledger *l, const char *key)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->entries[i].key, key) == 0) return &l->entries[i];
    return NULL;
}

static void print(const ledger *l, FILE *out)
{
    fprintf(out, "{\"of\": {");
    for (size_t i = 0; i < l->n_facts; i++) {
        fprintf(out, "%s\n  \"%s\": ", i ? "," : "", l->facts[i].name);
        cli_json_string(out, l->facts[i].value);
    }
    fprintf(out, "},\n \"scores\": {");
    for (size_t i = 0; i < l->n; i++) {
        fprintf(out, "%s\n  ", i ? "," : "");
        cli_json_string(out, l->entries[i].key);
        fprintf(out, ": ");
        cli_json_number(out, 17, l->entries[i].score);
    }
    fprintf(out, "}}\n");
}

void ledger_add(ledger *l, const char *key, double score)
{
    char *text = NULL;
    size_t size = 0;
    put(l, key, score);
    FILE *out = open_memstream(&text, &size);
    if (!out) return;
    print(l, out);
    if (fclose(out) == 0) cli_write_file(l->c, l->path, text, size, 1);
    free(text);
}

void ledger_close(ledger *l, int finished)
{
    if (finished && l->path) (void)unlink(l->path);
    free(l->path);
    free(l->entries);
}
