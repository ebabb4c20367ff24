/* cli_values.c - values of options: numbers, lists of them, labels, names, JSON; a wrong one ends the program. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Decimals alone: strtod also takes "nan", "0x1p3" and blanks.  Returns what stands behind, NULL for no number. */
static const char *read_decimal(const char *text, double *out)
{
    size_t n = strspn(text, "0123456789+-.eE");
    char *end;
    *out = strtod(text, &end);
    return end == text || end != text + n || *text == '+' || !isfinite(*out) ? NULL : end;
}

/* Digits with a minus at most, and k (or K), M or G behind them. */
static const char *read_whole(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-');
    size_t n = strspn(digits, "0123456789");
    errno = 0;
    long long v = strtoll(text, NULL, 10), unit = 1;
    if (n == 0 || errno) return NULL;
    const char *end = digits + n;
    if (*end == 'k' || *end == 'K') unit = 1000, end++;
    else if (*end == 'M') unit = 1000000, end++;
    else if (*end == 'G') unit = 1000000000, end++;
    if (v > INT64_MAX / unit || v < INT64_MIN / unit) return NULL;
    *out = v * unit;
    return end;
}

/* A bound as people write it: 0.000001, not 1e-06. */
static const char *limit(double v, char text[40])
{
    snprintf(text, 40, fabs(v) < 1e15 && (fabs(v) >= 1e-9 || !(fabs(v) > 0)) ? "%.9f" : "%g", v);
    if (!strchr(text, 'e') && strpbrk(text, ".,")) {
        char *end = text + strlen(text);
        while (end[-1] == '0') *--end = '\0';
        if (end[-1] == '.' || end[-1] == ',') *--end = '\0';
    }
    return text;
}

double cli_number(const cli *c, const char *name, const char *text, double low, double high)
{
    char lowest[40], highest[40];
    double v;
    const char *end = read_decimal(text, &v);
    if (!end || *end || !(v >= low && v <= high))
        cli_usage_error(c, "--%s: '%s' is not a number in %s..%s", name, text, limit(low, lowest),
                        limit(high, highest));
    return v;
}

int64_t cli_integer(const cli *c, const char *name, const char *text, int64_t low, int64_t high)
{
    int64_t v;
    const char *end = read_whole(text, &v);
    if (!end || *end || v < low || v > high)
        cli_usage_error(c, "--%s: '%s' is not a whole number in %lld..%lld", name, text, (long long)low,
                        (long long)high);
    return v;
}

uint64_t cli_seed(const cli *c, const char *name, const char *text)
{
    errno = 0;
    unsigned long long v = strtoull(text, NULL, 10);
    if (!*text || text[strspn(text, "0123456789")] || errno)
        cli_usage_error(c, "--%s: '%s' is not a whole number in 0..%llu", name, text, (unsigned long long)UINT64_MAX);
    return v;
}

size_t cli_list(const cli *c, const char *name, const char *text, double *out, size_t most)
{
    size_t n = 0;
    for (const char *at = text;; n++) {
        if (n == most) cli_usage_error(c, "--%s: more than %zu numbers", name, most);
        const char *end = read_decimal(at, &out[n]);
        if (!end || (*end && *end != ','))
            cli_usage_error(c, "--%s: '%s' is not a list of numbers like 80,0.821", name, text);
        if (!*end) return n + 1;
        at = end + 1;
    }
}

size_t cli_integers(const cli *c, const char *name, const char *text, int32_t low, int32_t *out, size_t most)
{
    size_t n = 0;
    for (const char *at = text;; n++) {
        int64_t v;
        if (n == most) cli_usage_error(c, "--%s: more than %zu numbers", name, most);
        const char *end = read_whole(at, &v);
        if (!end || (*end && *end != ','))
            cli_usage_error(c, "--%s: '%s' is not a list of whole numbers like 0,22,39", name, text);
        if (v < low || v > INT32_MAX)
            cli_usage_error(c, "--%s: %lld in '%s' is outside %d..%d", name, (long long)v, text, low, INT32_MAX);
        out[n] = (int32_t)v;
        if (!*end) return n + 1;
        at = end + 1;
    }
}

/* A number is what was typed; told when a class of another number is called so. */
static int32_t label_number(const cli *c, const cm_model *model, const char *piece, int64_t v)
{
    const char *name;
    if (v < -1 || v > INT32_MAX)
        cli_usage_error(c, "--labels: %lld in '%s' is outside %d..%d", (long long)v, piece, -1, INT32_MAX);
    for (int32_t k = 0; (name = cm_model_class_name(model, k)) != NULL; k++)
        if (k != v && strcmp(name, piece) == 0)
            fprintf(
                stderr,
                "%s: warning: --labels: %s is taken for the number; the class that is called '%s' has number %d\n",
                c->program, piece, piece, k);
    return (int32_t)v;
}

/* Each class once. */
static size_t all_labels(const cli *c, const cm_model *model, int32_t *out, size_t most)
{
    cm_model_info info = CM_MODEL_INFO_INIT;
    const size_t n = cm_model_info_get(model, &info) == CM_OK ? (size_t)info.num_classes : 0;
    if (n == 0) cli_usage_error(c, "--labels all: the model has no classes");
    if (n > most) cli_usage_error(c, "--labels all: the model has %zu classes, and a list holds %zu", n, most);
    for (size_t k = 0; k < n; k++) out[k] = (int32_t)k;
    return n;
}

size_t cli_labels(const cli *c, const cm_model *model, const char *text, int32_t *out, size_t most)
{
    size_t n = 0;
    if (strcmp(text, "all") == 0) return all_labels(c, model, out, most);
    if (strcmp(text, "none") == 0) {
        out[0] = -1;
        return 1;
    }
    for (const char *at = text;; n++) {
        int64_t v;
        size_t length = strcspn(at, ",");
        char *piece = strndup(at, length);
        if (n == most) cli_usage_error(c, "--labels: more than %zu", most);
        if (!piece || !*piece) cli_usage_error(c, "--labels: '%s' is not a list like 3,7 or cat,dog", text);
        const char *end = read_whole(piece, &v);
        if (end && !*end) out[n] = label_number(c, model, piece, v);
        else if (cm_model_find_class(model, piece, &out[n]) != CM_OK)
            cli_usage_error(c, "--labels: %s", cm_last_message());
        free(piece);
        if (!at[length]) return n + 1;
        at += length + 1;
    }
}

int cli_choice(const cli *c, const char *name, const char *text, const char *const *names)
{
    char list[256] = "", hint[256];
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) return i;
        if (strlen(list) + strlen(names[i]) + 3 < sizeof list) strcat(strcat(list, i ? ", " : ""), names[i]);
    }
    cm_name_hint(text, names, NULL, hint, sizeof hint);
    cli_usage_error(c, "%s%s%s'%s' is none of %s%s", name ? "--" : "", name ? name : "", name ? ": " : "", text, list,
                    hint);
    return -1;
}

int32_t cli_listed(const cli *c, const char *name, const char *text, const char *list)
{
    const char *names[64] = {NULL};
    for (size_t i = 0; i < 63 && cm_choice_name(list, i); i++) names[i] = cm_choice_name(list, i);
    return (int32_t)cli_choice(c, name, text, names);
}

const char *cli_json_argument(const cli *c, const char *name, const char *text)
{
    enum { MOST = 1 << 20 };
    if (text[strspn(text, " \t\r\n")] == '{') return text;
    FILE *file = fopen(text, "rb");
    char *content = calloc(1, MOST + 1);
    if (!file || !content) cli_usage_error(c, "--%s: '%s' is neither JSON nor a file that can be read", name, text);
    size_t n = fread(content, 1, MOST + 1, file);
    int failed = ferror(file);
    fclose(file);
    if (failed) cli_usage_error(c, "--%s: '%s' cannot be read", name, text);
    if (n > MOST) cli_usage_error(c, "--%s: '%s' is over 1 MiB", name, text);
    if (memchr(content, '\0', n)) cli_usage_error(c, "--%s: '%s' holds a NUL: it is no text", name, text);
    return content;
}
