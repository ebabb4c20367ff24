/* ledger.h - scores that are kept in a file, so that a search goes on where it was stopped. */
#ifndef LEDGER_H
#define LEDGER_H

#include "cli.h"

enum { LEDGER_FACTS = 12, LEDGER_TEXT = 512, LEDGER_KEY = 1024 };

typedef struct ledger_entry {
    char key[LEDGER_KEY];
    double score;
} ledger_entry;

typedef struct ledger {
    const cli *c;
    char *path;
    /* What the scores are of; a file with other facts is refused by the name of the first one that differs. */
    struct {
        const char *name;
        char value[LEDGER_TEXT];
    } facts[LEDGER_FACTS];
    size_t n_facts, n;
    ledger_entry *entries;
} ledger;

void ledger_fact(ledger *l, const char *name, const char *format, ...);
/* Reads the file of that name, if there is one, when all facts are known; what is wrong with it ends the program. */
void ledger_open(ledger *l, const cli *c, const char *path);
/* NULL where there is none. */
const ledger_entry *ledger_find(const ledger *l, const char *key);
/* The file has the score when this returns. */
void ledger_add(ledger *l, const char *key, double score);
/* `finished`: the file is removed. */
void ledger_close(ledger *l, int finished);

#endif
