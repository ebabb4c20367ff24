/* make_weights.c - make_weights LIST FILE: weights that follow from the names of a list, as a file. */
#include <stdio.h>

#include "support/formula_weights.h"

int main(int argc, char **argv)
{
    FILE *out = argc == 3 ? fopen(argv[2], "w") : NULL;
    if (!out) {
        fprintf(stderr, "usage: make_weights LIST FILE\n");
        return 2;
    }
    const int done = write_formula_weights(argv[1], out);
    return fclose(out) == 0 && done ? 0 : 1;
}
