/* auto_report.c - the plan as a table, and the page that tells how it went. */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"

enum { FEW = 500 /* pictures; a network of the ladder has some 100,000 parameters and more */ };

/* --- the table ------------------------------------------------------------------------------------- */

static const char *clock_text(double seconds, char text[40])
{
    if (seconds < 600) snprintf(text, 40, "%.0f s", seconds);
    else snprintf(text, 40, "%d:%02d h", (int)(seconds / 3600), (int)(seconds / 60) % 60);
    return text;
}

static void print_row(FILE *out, const char *name, const char *format, ...)
{
    va_list args;
    fprintf(out, "%-10s ", name);
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    fprintf(out, "\n");
}

static void print_data(const auto_run *a, FILE *out)
{
    const auto_data *d = &a->data;
    print_row(out, "data", "%llu pictures (%s), %s, %d classes%s%s%s", (unsigned long long)d->pictures, d->kind,
              d->channels == 1 ? "gray" : "in colour", d->classes, *d->classes_from ? " from " : "", d->classes_from,
              d->looked_at_all ? "" : "; there was no time to look at each of them");
    if (d->damaged || d->duplicates || d->small)
        print_row(out, "", "%llu damaged, %llu there twice, %llu smaller than the images",
                  (unsigned long long)d->damaged, (unsigned long long)d->duplicates, (unsigned long long)d->small);
    if (d->pictures < FEW)
        print_row(out, "",
                  "so few pictures are learned by heart: samples will be copies of them and mixtures of copies");
    if (d->held_out)
        print_row(out, "held out", "%llu pictures, whose loss is watched", (unsigned long long)d->held_out);
    else
        print_row(out, "held out", "none%s",
                  plan_held_out(d->pictures) > 0 ? ", as it was given" : ": there are too few");
}

static void print_network(const auto_run *a, FILE *out)
{
    const plan *p = &a->plan;
    uint64_t parameters = 0;
    (void)cm_model_count(a->context, p->rung < 0 ? a->data.network : p->network, &parameters);
    print_row(out, "network", "%s; %llu parameters", p->why_network, (unsigned long long)parameters);
}

/* The first stage says what is done with the pictures. */
static void print_pictures(const auto_run *a, FILE *out)
{
    const plan_stage *first = &a->plan.stages[0];
    const char *options = first->options;
    if (!auto_is_given(a, first, "flip"))
        print_row(out, "mirrored", "%s",
                  strstr(options, "flip=")
                      ? "half of them; --set flip=0 mirrors none, as letters want it"
                      : "none: they may be digits or letters; --set flip=0.5 mirrors half of them");
    if (strstr(options, "augment=") && !auto_is_given(a, first, "augment"))
        print_row(out, "augmented", "for the teacher: the set has fewer than %llu pictures",
                  (unsigned long long)recipe.augment_below);
    if (strstr(options, "dropout=") && !auto_is_given(a, first, "dropout"))
        print_row(out, "dropout", "in every stage: the set has fewer than %llu pictures",
                  (unsigned long long)recipe.dropout_below);
}

void auto_print_plan(const auto_run *a, FILE *out)
{
    char time[40], all[40];
    const plan *p = &a->plan;
    print_data(a, out);
    print_row(out, "size", "%d x %d (%s)", p->side, p->side, p->why_side);
    print_network(a, out);
    print_pictures(a, out);
    print_row(out, "precision", "%s (%s)", p->precision == PLAN_BF16 ? "bfloat16" : "float32", p->why_precision);
    print_row(out, "batch", "%d (%s)", p->batch, p->why_batch);
    for (int k = 0; k < p->n_stages; k++) {
        const plan_stage *s = &p->stages[k];
        print_row(out, s->kind->name, "%-5s %8lld steps of %.3g s  %8s  %s", s->kind->objective, (long long)s->steps,
                  s->seconds_image * p->batch, clock_text(s->seconds, time), s->options);
        for (int i = 0; i < a->n_given; i++)
            if (a->given[i].stage == s->number ||
                (a->given[i].stage < 0 && auto_is_read(a->given[i].key, s->kind->objective)))
                print_row(out, "", "%s=%s, as given", a->given[i].key, a->given[i].value);
    }
    print_row(out, "in all", "%s of %s, with pages, checkpoints and the report", clock_text(p->seconds, time),
              clock_text(a->budget, all));
}

/* --- text of the page ---------------------------------------------------------------------------------- */

static void escaped(FILE *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        const size_t n = cli_character(s);
        if (n == 0) fprintf(out, "&#65533;");
        else if (strchr("<>&\"", *s)) fprintf(out, "&#%d;", *s);
        else if (*s < 32 && *s != '\n') fputc('?', out);
        else fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
}

static void base64(FILE *out, FILE *in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char b[3];
    for (size_t n; (n = fread(b, 1, 3, in)) > 0;) {
        const unsigned bits = (unsigned)b[0] << 16 | (n > 1 ? (unsigned)b[1] << 8 : 0) | (n > 2 ? b[2] : 0);
        for (size_t i = 0; i < 4; i++) fputc(i <= n ? digits[bits >> (18 - 6 * i) & 63] : '=', out);
    }
}

static void picture(const auto_run *a, FILE *out, const char *name, const char *title)
{
    char path[AUTO_PATH], within[80];
    (void)snprintf(within, sizeof within, "samples/%s", name);
    auto_path(a, within, path);
    FILE *in = fopen(path, "rb");
    if (!in) return;
    fprintf(out, "<figure><img alt=\"\" src=\"data:image/png;base64,");
    base64(out, in);
    fprintf(out, "\"><figcaption>%s</figcaption></figure>\n", title);
    (void)fclose(in);
}

/* --- what the log tells --------------------------------------------------------------------------------- */

enum { POINTS = 64 };
typedef struct {
    double step[PLAN_STAGES][POINTS], training[PLAN_STAGES][POINTS], held_out[PLAN_STAGES][POINTS];
    int n[PLAN_STAGES];
    double ended[PLAN_STAGES]; /* seconds of the plan */
    long long steps[PLAN_STAGES];
    char average[PLAN_STAGES][64]; /* the file of the one that was taken; "": there was no choice */
    int samples, repeats, is_finished;
    double looked_through, finished;
} story;

static double number(json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

/* A step that was taken again after a kill counts once. */
static void add_look(story *s, int k, json_t *row)
{
    const double step = number(row, "step");
    while (s->n[k] > 0 && s->step[k][s->n[k] - 1] >= step) s->n[k]--;
    if (s->n[k] == POINTS) return;
    s->step[k][s->n[k]] = step;
    s->training[k][s->n[k]] = number(row, "training");
    s->held_out[k][s->n[k]++] = number(row, "held_out");
}

static void add_row(const auto_run *a, story *s, json_t *row)
{
    const char *event = json_string_value(json_object_get(row, "event"));
    const char *stage = json_string_value(json_object_get(row, "stage"));
    for (int k = 0; k < a->plan.n_stages && event && stage; k++) {
        if (strcmp(a->plan.stages[k].kind->name, stage) != 0) continue;
        if (strcmp(event, "look") == 0) add_look(s, k, row);
        if (strcmp(event, "averages") == 0) {
            const char *best = json_string_value(json_object_get(row, "best"));
            (void)snprintf(s->average[k], sizeof s->average[k], "%s", best ? best : "");
        }
        if (strcmp(event, "ended") == 0)
            s->ended[k] = number(row, "spent_s"), s->steps[k] = (long long)number(row, "steps");
    }
    if (!event || strcmp(event, "finished") != 0) return;
    s->is_finished = 1;
    s->samples = (int)number(row, "samples");
    s->repeats = (int)number(row, "repeats");
    s->looked_through = number(row, "looked_through");
    s->finished = number(row, "spent_s");
}

static void read_story(const auto_run *a, story *s)
{
    char path[AUTO_PATH], line[1100];
    memset(s, 0, sizeof *s);
    auto_path(a, "log.jsonl", path);
    FILE *log = fopen(path, "r");
    while (log && fgets(line, sizeof line, log)) {
        json_t *row = json_loads(line, 0, NULL);
        if (row) add_row(a, s, row);
        json_decref(row);
    }
    if (log) (void)fclose(log);
}

/* --- the curve ------------------------------------------------------------------------------------------- */

enum { WIDTH = 860, HEIGHT = 260, LEFT = 60, RIGHT = 10, TOP = 20, BOTTOM = 30 };

typedef struct {
    double low, high; /* logarithms of the losses */
    int stages;
} scale;

static double x_of(const scale *c, const story *s, int k, double step)
{
    const double part = (double)(WIDTH - LEFT - RIGHT) / c->stages, last = s->step[k][s->n[k] - 1];
    return LEFT + part * (k + (last > 0 ? step / last : 0));
}

static double y_of(const scale *c, double loss)
{
    return TOP + (c->high - log(loss)) / (c->high - c->low) * (HEIGHT - TOP - BOTTOM);
}

static void line_of(FILE *out, const scale *c, const story *s, int k, const double *losses, const char *colour)
{
    fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour);
    for (int i = 0; i < s->n[k]; i++)
        if (losses[i] > 0) fprintf(out, "%.1f,%.1f ", x_of(c, s, k, s->step[k][i]), y_of(c, losses[i]));
    fprintf(out, "\"/>");
}

static int bounds(const auto_run *a, const story *s, scale *c)
{
    *c = (scale){INFINITY, -INFINITY, a->plan.n_stages};
    for (int k = 0; k < c->stages; k++)
        for (int i = 0; i < s->n[k]; i++) {
            const double both[2] = {s->training[k][i], s->held_out[k][i]};
            for (int j = 0; j < 2; j++)
                if (both[j] > 0) c->low = fmin(c->low, log(both[j])), c->high = fmax(c->high, log(both[j]));
        }
    c->high += 0.05, c->low -= 0.05;
    return isfinite(c->low) && isfinite(c->high);
}

static void curve(const auto_run *a, FILE *out, const story *s)
{
    scale c;
    if (!bounds(a, s, &c)) return;
    fprintf(out,
            "<h2>The loss of denoising: <span style=\"color:#1f4e9c\">training pictures</span>, "
            "<span style=\"color:#c0392b\">pictures that were held out</span></h2>\n"
            "<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    for (int i = 0; i <= 4; i++) {
        const double loss = exp(c.low + (c.high - c.low) * i / 4), y = y_of(&c, loss);
        fprintf(out,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" "
                "text-anchor=\"end\">%.3g</text>",
                LEFT, WIDTH - RIGHT, y, y, LEFT - 6, y + 4, loss);
    }
    for (int k = 0; k < c.stages; k++) {
        const double x = LEFT + (double)(WIDTH - LEFT - RIGHT) / c.stages * k;
        fprintf(out, "<text x=\"%.1f\" y=\"%d\">%s</text>", x + 4, HEIGHT - 10, a->plan.stages[k].kind->name);
        if (s->n[k] == 0) continue;
        line_of(out, &c, s, k, s->training[k], "#1f4e9c");
        line_of(out, &c, s, k, s->held_out[k], "#c0392b");
    }
    fprintf(
        out,
        "</svg>\n<p>It is weighted as the objective edm weighs it, with the same noise at every look, so it compares "
        "over the stages of this run. A consistency model's is higher by nature: it answers with one image, not "
        "with the mean of all that are possible. Where the red line rises while the blue one falls, the network "
        "learns pictures by heart.</p>\n");
}

/* --- the page --------------------------------------------------------------------------------------------- */

static void stages(const auto_run *a, FILE *out, const story *s)
{
    char planned[40], took[40];
    double before = 0;
    fprintf(out, "<table><tr><th>stage</th><th>objective</th><th>steps</th><th>planned</th><th>ended "
                 "after</th><th>average</th></tr>");
    for (int k = 0; k < a->plan.n_stages; k++) {
        const plan_stage *p = &a->plan.stages[k];
        fprintf(out, "<tr><td>%s</td><td>%s</td><td>%lld</td><td>%s</td><td>%s</td><td>", p->kind->name,
                p->kind->objective, s->ended[k] > 0 ? s->steps[k] : (long long)p->steps,
                clock_text(before += p->seconds, planned), s->ended[k] > 0 ? clock_text(s->ended[k], took) : "-");
        escaped(out, s->average[k]);
        fprintf(out, "</td></tr>\n");
    }
    fprintf(out, "</table>\n");
}

static void repeats(FILE *out, const story *s)
{
    if (!s->is_finished || !s->samples) return;
    fprintf(
        out,
        "<p>%d of %d samples are nearer to one of as many training pictures than were held out than to one of those "
        "that were held out, by the distance of their pixels; half of them would be by chance.%s The nearest of "
        "%.0f training pictures stands beside each sample.</p>\n",
        s->repeats, s->samples,
        s->repeats * 10 > s->samples * 8 ? " So many say that the network repeats the pictures that it has learnt."
                                         : "",
        s->looked_through);
}

static void pages(const auto_run *a, FILE *out)
{
    char name[60], title[160];
    for (int k = a->plan.n_stages - 1; k >= 0; k--) {
        const plan_kind *s = a->plan.stages[k].kind;
        (void)snprintf(name, sizeof name, "%d-%s-two-steps.png", k + 1, s->name);
        (void)snprintf(title, sizeof title, "%s, two steps", s->name);
        picture(a, out, name, title);
        (void)snprintf(name, sizeof name, "%d-%s.png", k + 1, s->name);
        (void)snprintf(title, sizeof title, "%s%s", s->name,
                       strcmp(s->objective, "edm") == 0 ? ", 10 steps of Heun" : ", one step");
        picture(a, out, name, title);
    }
}

static void whole_page(const auto_run *a, FILE *out, const story *s)
{
    char time[40];
    fprintf(out, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>");
    escaped(out, a->out);
    fprintf(out,
            "</title><style>body{font:15px sans-serif;margin:2em auto;max-width:900px;color:#222}"
            "h2{font-size:1em;margin:1.5em 0 .3em}svg text{font-size:11px;fill:#555}"
            "figure{display:inline-block;margin:0 1em 1em 0;vertical-align:top}figcaption{font-size:12px;color:#555}"
            "img{image-rendering:pixelated;max-width:100%%}td,th{padding:.2em .8em;text-align:left}"
            "pre{background:#f5f5f5;padding:1em;overflow:auto;font-size:12px}</style>\n<h1>");
    escaped(out, a->out);
    fprintf(out, "</h1>\n<p>%s after %s. Sample from it with <code>cm-sample ",
            s->is_finished ? "The plan is finished" : "The plan is at work",
            clock_text(s->is_finished ? s->finished : auto_spent(a), time));
    escaped(out, a->out);
    fprintf(out, "</code>; the model is <code>model.safetensors</code>.</p>\n");
    stages(a, out, s);
    pages(a, out);
    repeats(out, s);
    picture(a, out, "nearest.png", "samples and the training pictures that are nearest to them");
    curve(a, out, s);
    fprintf(out, "<h2>The plan</h2><pre>");
    char *text = NULL;
    size_t size = 0;
    FILE *plan_text = open_memstream(&text, &size);
    if (plan_text) auto_print_plan(a, plan_text);
    if (plan_text && fclose(plan_text) == 0) escaped(out, text);
    free(text);
    fprintf(out, "</pre></html>\n");
}

void auto_report(const auto_run *a)
{
    char path[AUTO_PATH], *text = NULL;
    size_t size = 0;
    static story s;
    read_story(a, &s);
    FILE *out = open_memstream(&text, &size);
    if (!out) return;
    whole_page(a, out, &s);
    auto_path(a, "report.html", path);
    if (fclose(out) == 0) cli_write_file(a->c, path, text, size, 1);
    free(text);
}
