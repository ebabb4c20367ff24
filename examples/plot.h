/* plot.h - a plot of numbers over positive numbers, as SVG. */
#ifndef PLOT_H
#define PLOT_H

#include "cli.h"

enum { PLOT_SERIES = 16 };

typedef struct plot_series {
    char name[128];
    size_t n;
    const double *x, *y; /* rising in x      */
    int marked;          /* `best` is one of them and stands out, with a label */
    size_t best;
    char label[128];
    int has_level; /* a dashed line across at `level` */
    double level;
} plot_series;

typedef struct plot {
    const char *title, *x_name, *y_name;
    int at_points; /* ticks of x stand at the points: few whole numbers */
    size_t n;
    plot_series series[PLOT_SERIES];
} plot;

/* x is logarithmic; so is y where its numbers are positive and far apart.  The file appears whole or not at all; what
 * cannot be written ends the program. */
void plot_write(const cli *c, const plot *p, const char *path, int overwrite);

#endif
