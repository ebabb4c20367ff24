/* trials.h - scores of models at noise levels, kept in a ledger, with progress, and what is written of them.
 *
 * Every score is of the same images: the same seed, labels in turn.  So two lists of levels differ by their levels
 * and not by chance, and a score that is in the ledger need not be computed again. */
#ifndef TRIALS_H
#define TRIALS_H

#include "ledger.h"
#include "searching.h"

enum { TRIALS_PATH = 4400, TRIALS_TEXT = LEDGER_KEY - 64 };

/* A list of levels, or a number of steps, with its score. */
typedef struct trial {
    double sigmas[SEARCH_MOST];
    size_t n; /* levels; 0: those of the method */
    int32_t steps, nfe;
    double score;
} trial;

typedef struct trials {
    const searching *o;
    cm_features *network;
    cm_features_info net;
    side models[SEARCH_MODELS], reference;
    cm_model_info infos[SEARCH_MODELS];
    char weights[SEARCH_MODELS][TIMES_MODEL];
    sampling own; /* how the next samples are drawn */
    side_options sides;
    ledger ledger;
    char result[TRIALS_PATH], plot[TRIALS_PATH];
    /* Progress, in evaluations of the network for all images; left: about, the one at hand included. */
    cli_progress progress;
    char what[128];
    double done, cost, left;
} trials;

/* Opens everything, and the scores that are known.  `usual`: the name of the result where --write gives none. */
cm_status trials_begin(trials *w, const searching *o, const char *usual);
/* Tells where a stopped search goes on, or removes what it would need for that; closes everything. */
void trials_end(trials *w, cm_status status);

/* The score of what `own` says, which `times` says in words; from the ledger where it is known. */
cm_status trials_score(trials *w, size_t model, const char *times, double *score);
void trials_take_sigmas(trials *w, const double *sigmas, size_t n);
/* Of p's levels. */
cm_status trials_score_sigmas(trials *w, size_t model, trial *p);
/* A level of Karras's scale, 0 the highest and 1 the lowest one of the model, rounded to what is printed of it. */
double trials_level(const cm_model_info *m, double share);

/* The last part of a path. */
const char *trials_name(const char *path);
/* Parts of the result. */
void trials_print_sigmas(FILE *out, const trial *p);
void trials_print_facts(FILE *out, const trials *w);
void trials_print_model(FILE *out, const trials *w, size_t i);
/* Writes the text that `print` makes, and shows it where --json asks for it. */
cm_status trials_write(const trials *w, void (*print)(FILE *out, const trials *w, const void *found),
                       const void *found);

#endif
