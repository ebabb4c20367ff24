/* formula_weights.h - weights that follow from their names ("formula v1" of golden/metrics), as a file of
 * safetensors. */
#ifndef TESTS_SUPPORT_FORMULA_WEIGHTS_H
#define TESTS_SUPPORT_FORMULA_WEIGHTS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formula.h"

/* A weight by its name (README, "formula v1"). */
static inline float formula_weight(const char *name, int rank, size_t fan_in, size_t i)
{
    const double u = formula_uniform(name, i);
    const char *last = strrchr(name, '.') + 1;
    if (strcmp(last, "running_var") == 0 || strcmp(last, "var") == 0) return (float)(1 + 0.5 * u);
    if (strcmp(last, "running_mean") == 0 || strcmp(last, "mean") == 0 || strcmp(last, "beta") == 0)
        return (float)(0.1 * u);
    if (rank > 1) return (float)(u * sqrt(6.0 / (double)fan_in));
    return strcmp(last, "bias") == 0 ? (float)(0.1 * u) : (float)(1 + 0.2 * u);
}

typedef struct {
    char name[160];
    size_t shape[4], count;
    int rank;
} listed;

/* "32x3x3x3"; a scalar's rank is 0. */
static inline void read_shape(const char *text, listed *t)
{
    t->rank = 0, t->count = 1;
    while (t->rank < 4 && *text >= '0' && *text <= '9') {
        char *end;
        t->shape[t->rank] = strtoul(text, &end, 10);
        t->count *= t->shape[t->rank++];
        text = *end == 'x' ? end + 1 : end;
    }
}

static inline size_t read_list(const char *path, listed *list, size_t most)
{
    char shape[64];
    size_t n = 0;
    FILE *in = fopen(path, "r");
    while (in && n < most && fscanf(in, "%159s %63s", list[n].name, shape) == 2) {
        read_shape(shape, &list[n]);
        n += list[n].rank > 0;
    }
    if (in) (void)fclose(in);
    return n;
}

static inline void write_header(FILE *out, const listed *list, size_t n)
{
    static char text[200000];
    size_t at = 0, offset = 0;
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[", i ? ',' : '{',
                               list[i].name);
        for (int k = 0; k < list[i].rank; k++)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu", k ? "," : "", list[i].shape[k]);
        at += (size_t)snprintf(text + at, sizeof text - at, "],\"data_offsets\":[%zu,%zu]}", offset,
                               offset + 4 * list[i].count);
        offset += 4 * list[i].count;
    }
    text[at++] = '}';
    while (at % 8) text[at++] = ' ';
    const uint64_t length = at;
    (void)fwrite(&length, sizeof length, 1, out);
    (void)fwrite(text, 1, at, out);
}

/* The weights that a list of names and shapes asks for, as a file; 0 when it could not be written. */
static inline int write_formula_weights(const char *keys, FILE *out)
{
    enum { MOST = 1000, PART = 4096 };
    static listed list[MOST];
    static float part[PART];
    const size_t n = read_list(keys, list, MOST);
    write_header(out, list, n);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < list[t].count; i += PART) {
            const size_t left = list[t].count - i, count = left < PART ? left : PART;
            for (size_t k = 0; k < count; k++)
                part[k] = formula_weight(list[t].name, list[t].rank, list[t].count / list[t].shape[0], i + k);
            (void)fwrite(part, sizeof *part, count, out);
        }
    return n > 0 && fflush(out) == 0 && !ferror(out);
}

#endif
