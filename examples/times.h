/* times.h - files of noise levels that cm-eval --search-times has found. */
#ifndef TIMES_H
#define TIMES_H

#include "cli.h"

enum { TIMES_MODEL = 17 };

/* What stands in for a model: a hash of the names and values of its weights, 16 digits. */
cm_status times_model(const cm_model *model, char text[TIMES_MODEL]);

/* The levels for `steps` network evaluations (0: the list that the search was made for) into sigmas[most], and the
 * model that they were found for.  Returns how many; a file without them ends the program with exit code 2. */
size_t times_read(const cli *c, const char *path, int32_t steps, double *sigmas, size_t most,
                  char model[TIMES_MODEL]);

/* The same kind of hash of any values. */
void times_hash(const void *bytes, size_t size, char text[TIMES_MODEL]);

/* "80,0.821". */
void times_text(const double *sigmas, size_t n, char *text, size_t size);

#endif
