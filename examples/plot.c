/* plot.c - see the header. */
#include "plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 760, HEIGHT = 460, LEFT = 80, RIGHT = 24, TOP = 44, LINE = 18, BOTTOM = 58, MOST_TICKS = 9 };
static const char *const colours[] = {"#1f5fa8", "#c8501e", "#2e8b57", "#7b3fa0", "#a8761a", "#444444"};

/* One of the two axes: the numbers low..high at places from..to. */
typedef struct {
    double low, high, from, to;
    int is_log, n;
    double ticks[64];
} axis;

static double place(const axis *a, double v)
{
    const double share = a->is_log ? log(v / a->low) / log(a->high / a->low) : (v - a->low) / (a->high - a->low);
    return a->from + share * (a->to - a->from);
}

/* --- ticks ------------------------------------------------------------------------ */

static void tick(axis *a, double v)
{
    const double slack = 1e-9 * (a->is_log ? v : a->high - a->low);
    if (v >= a->low - slack && v <= a->high + slack && a->n < 64) a->ticks[a->n++] = v;
}

static void linear_ticks(axis *a)
{
    static const double steps[] = {1, 2, 5, 10};
    const double power = pow(10, floor(log10((a->high - a->low) / 4)));
    double step = power;
    for (int i = 0; i < 4 && (a->high - a->low) / step > 6; i++) step = power * steps[i];
    a->n = 0;
    for (double k = ceil(a->low / step - 1e-9); k <= a->high / step + 1e-9; k++) tick(a, k * step);
}

/* 1, 2, 5 of each power of ten, or 1 and 3, or 1 alone, so that there is room. */
static void log_ticks(axis *a)
{
    static const double digits[3][4] = {{1, 2, 5, 0}, {1, 3, 0, 0}, {1, 0, 0, 0}};
    for (int i = 0; i < 3; i++) {
        a->n = 0;
        for (double e = floor(log10(a->low)) - 1; e <= log10(a->high) + 1; e++)
            for (int k = 0; digits[i][k] > 0; k++) tick(a, digits[i][k] * pow(10, e));
        if (a->n <= MOST_TICKS) break;
    }
    if (a->n < 2) linear_ticks(a);
}

/* Each x that occurs, where they do not crowd each other. */
static void ticks_at_points(axis *a, const plot *p)
{
    a->n = 0;
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->series[i].n; k++) {
            const double x = place(a, p->series[i].x[k]);
            int crowded = 0;
            for (int t = 0; t < a->n; t++) crowded |= fabs(place(a, a->ticks[t]) - x) < 24;
            if (!crowded) tick(a, p->series[i].x[k]);
        }
}

/* --- ranges ------------------------------------------------------------------------- */

static void widen(double v, double *low, double *high)
{
    if (!isfinite(v)) return;
    *low = fmin(*low, v);
    *high = fmax(*high, v);
}

static void find_ranges(const plot *p, axis *x, axis *y)
{
    x->low = y->low = INFINITY;
    x->high = y->high = -INFINITY;
    for (size_t i = 0; i < p->n; i++) {
        for (size_t k = 0; k < p->series[i].n; k++) {
            widen(p->series[i].x[k], &x->low, &x->high);
            widen(p->series[i].y[k], &y->low, &y->high);
        }
        if (p->series[i].has_level) widen(p->series[i].level, &y->low, &y->high);
    }
    x->is_log = 1;
    y->is_log = y->low > 0 && y->high / y->low > 8;
}

/* Some room beyond the outermost numbers, and around a single one. */
static void pad(axis *a, double share)
{
    if (!(a->low <= a->high)) a->low = a->high = 1; /* no numbers */
    if (a->is_log) {
        const double factor = a->high / a->low > 1.01 ? pow(a->high / a->low, share) : 1.5;
        a->low /= factor;
        a->high *= factor;
        return;
    }
    const double more =
        a->high - a->low > 1e-9 * fabs(a->high) ? share * (a->high - a->low) : fabs(a->high) / 10 + 1e-9;
    a->low -= more;
    a->high += more;
}

/* --- drawing ---------------------------------------------------------------------------- */

static void put_text(FILE *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        const size_t n = cli_character(s);
        if (n == 0 || *s < 32 || *s == 127) fputc('?', out);
        else if (*s == '&') fputs("&amp;", out);
        else if (*s == '<') fputs("&lt;", out);
        else if (*s == '>') fputs("&gt;", out);
        else fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
}

static void put_word(FILE *out, double x, double y, const char *anchor, const char *more, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor, more);
    put_text(out, text);
    fprintf(out, "</text>\n");
}

static void put_line(FILE *out, double x1, double y1, double x2, double y2, const char *colour, const char *more)
{
    fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"%s/>\n", x1, y1, x2, y2, colour,
            more);
}

static void draw_axes(FILE *out, const plot *p, const axis *x, const axis *y)
{
    char number[40];
    for (int i = 0; i < x->n; i++) {
        const double at = place(x, x->ticks[i]);
        put_line(out, at, y->to, at, y->from, "#e4e4e4", "");
        (void)snprintf(number, sizeof number, "%.6g", x->ticks[i]);
        put_word(out, at, y->from + 18, "middle", "", number);
    }
    for (int i = 0; i < y->n; i++) {
        const double at = place(y, y->ticks[i]);
        put_line(out, x->from, at, x->to, at, "#e4e4e4", "");
        (void)snprintf(number, sizeof number, "%.6g",
                       fabs(y->ticks[i]) < 1e-12 * (y->high - y->low) ? 0 : y->ticks[i]);
        put_word(out, x->from - 8, at + 4, "end", "", number);
    }
    fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" stroke=\"#888888\"/>\n",
            x->from, y->to, x->to - x->from, y->from - y->to);
    put_word(out, (x->from + x->to) / 2, HEIGHT - 14, "middle", "", p->x_name);
    fprintf(out, "<g transform=\"translate(20 %.1f) rotate(-90)\">", (y->from + y->to) / 2);
    put_word(out, 0, 0, "middle", "", p->y_name);
    fprintf(out, "</g>\n");
}

/* The label of a lowest point stands below it, of another above, inside the frame and clear of the lines. */
static void draw_best(FILE *out, const plot_series *s, const axis *x, const axis *y, const char *colour)
{
    const double at_x = place(x, s->x[s->best]), at_y = place(y, s->y[s->best]);
    const double half = 4.0 * (double)strlen(s->label);
    int lowest = 1;
    char more[160];
    for (size_t i = 0; i < s->n; i++) lowest &= !(s->y[i] < s->y[s->best]);
    fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"7\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", at_x,
            at_y, colour);
    (void)snprintf(more, sizeof more,
                   " fill=\"%s\" font-weight=\"bold\" stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke\"",
                   colour);
    put_word(out, fmin(fmax(at_x, x->from + half), x->to - half), at_y + (lowest ? 23 : -13), "middle", more,
             s->label);
}

static void draw_series(FILE *out, const plot_series *s, const axis *x, const axis *y, const char *colour)
{
    if (s->has_level)
        put_line(out, x->from, place(y, s->level), x->to, place(y, s->level), colour,
                 " stroke-dasharray=\"6 4\" stroke-opacity=\"0.7\"");
    fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", colour);
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(s->y[i])) fprintf(out, "%.1f,%.1f ", place(x, s->x[i]), place(y, s->y[i]));
    fprintf(out, "\"/>\n");
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(s->y[i]))
            fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" fill=\"%s\"/>\n", place(x, s->x[i]),
                    place(y, s->y[i]), colour);
}

static void draw(FILE *out, const plot *p)
{
    const size_t n_colours = sizeof colours / sizeof *colours;
    axis x = {.from = LEFT, .to = WIDTH - RIGHT}, y = {.from = HEIGHT - BOTTOM, .to = TOP + LINE * (double)p->n};
    find_ranges(p, &x, &y);
    pad(&x, 0.05);
    pad(&y, 0.1);
    if (p->at_points) ticks_at_points(&x, p);
    else log_ticks(&x);
    if (y.is_log) log_ticks(&y);
    else linear_ticks(&y);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222222\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_word(out, LEFT, 24, "start", " font-size=\"16\"", p->title);
    for (size_t i = 0; i < p->n; i++) {
        const double at = TOP + LINE * (double)i;
        put_line(out, LEFT, at - 4, LEFT + 24, at - 4, colours[i % n_colours], " stroke-width=\"3\"");
        put_word(out, LEFT + 32, at, "start", "", p->series[i].name);
    }
    draw_axes(out, p, &x, &y);
    for (size_t i = 0; i < p->n; i++) draw_series(out, &p->series[i], &x, &y, colours[i % n_colours]);
    for (size_t i = 0; i < p->n; i++)
        if (p->series[i].marked) draw_best(out, &p->series[i], &x, &y, colours[i % n_colours]);
    fprintf(out, "</svg>\n");
}

void plot_write(const cli *c, const plot *p, const char *path, int overwrite)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return;
    draw(out, p);
    if (fclose(out) == 0) cli_write_file(c, path, text, size, overwrite);
    free(text);
}
