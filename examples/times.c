/* times.c - see the header. */
#include "times.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static const uint64_t basis = 14695981039346656037u;

/* FNV-1a over words of 32 bits. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word = 0;
        memcpy(&word, (const char *)bytes + i, size - i < 4 ? size - i : 4);
        hash = (hash ^ word) * 1099511628211u;
    }
    return hash;
}

void times_hash(const void *bytes, size_t size, char text[TIMES_MODEL])
{
    (void)snprintf(text, TIMES_MODEL, "%016llx", (unsigned long long)mix(basis, bytes, size));
}

cm_status times_model(const cm_model *model, char text[TIMES_MODEL])
{
    uint64_t hash = basis;
    for (size_t i = 0; i < cm_model_param_count(model); i++) {
        const char *name;
        int64_t shape[8];
        int32_t rank;
        size_t n = 1;
        cm_status status = cm_model_param_info(model, i, &name, &rank, shape, NULL);
        for (int32_t k = 0; status == CM_OK && k < rank; k++) n *= (size_t)shape[k];
        float *values = malloc(n * sizeof *values + 1);
        if (!values) return CM_ERR_MEMORY;
        if (status == CM_OK) status = cm_model_param_read(model, i, n, values);
        if (status == CM_OK) hash = mix(mix(hash, name, strlen(name)), values, n * sizeof *values);
        free(values);
        if (status != CM_OK) return status;
    }
    (void)snprintf(text, TIMES_MODEL, "%016llx", (unsigned long long)hash);
    return CM_OK;
}

/* The list of `steps` levels; the file's own one where steps is 0. */
static const json_t *list_of(const json_t *file, int32_t steps)
{
    const json_t *lists = json_object_get(file, "lists"), *list;
    size_t i;
    if (!steps) return json_object_get(file, "sigmas");
    json_array_foreach(lists, i, list)
    {
        const json_t *sigmas = json_object_get(list, "sigmas");
        if (json_array_size(sigmas) == (size_t)steps) return sigmas;
    }
    return NULL;
}

size_t times_read(const cli *c, const char *path, int32_t steps, double *sigmas, size_t most, char model[TIMES_MODEL])
{
    json_error_t error;
    json_t *file = json_load_file(path, 0, &error), *sigma;
    if (!file) cli_usage_error(c, "--times %s: %s", path, error.text);
    const char *weights = json_string_value(json_object_get(json_object_get(file, "model"), "weights"));
    if (!weights || strlen(weights) + 1 != TIMES_MODEL || !json_is_array(json_object_get(file, "lists")))
        cli_usage_error(c, "--times %s: no file of cm-eval --search-times", path);
    const json_t *list = list_of(file, steps);
    const size_t n = json_array_size(list);
    if (!n && steps) cli_usage_error(c, "--times %s: no list of %d levels is in it", path, steps);
    if (!n || n > most) cli_usage_error(c, "--times %s: a list of %zu levels", path, n);
    for (size_t i = 0; i < n; i++) {
        sigma = json_array_get(list, i);
        if (!json_is_number(sigma)) cli_usage_error(c, "--times %s: level %zu is no number", path, i);
        sigmas[i] = json_number_value(sigma);
    }
    strcpy(model, weights);
    json_decref(file);
    return n;
}

void times_text(const double *sigmas, size_t n, char *text, size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%.9g", i ? "," : "", sigmas[i]);
}
