/* Lines "name=value" as options of a training and of a run: whatever is accepted is printed, read back and printed as
 * before. */
#include <consistency/run.h>

#include "fuzz/watched.h"

enum { TEXT = 4096, JSON = 16384 };

typedef cm_status (*set_option)(void *options, const char *name, const char *value);

static cm_status set_training(void *options, const char *name, const char *value)
{
    return cm_train_options_set(options, name, value);
}

static cm_status set_run(void *options, const char *name, const char *value)
{
    return cm_run_options_set(options, name, value);
}

/* MEMORY where a line met it.  The first few lines that are refused are the last: to find what each unknown name may
 * have meant takes longer than all the rest. */
static cm_status set_lines(void *options, set_option set, const uint8_t *data, size_t size)
{
    enum { REFUSED = 4 };
    char text[TEXT];
    int refused = 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *line = text, *next; line && refused < REFUSED; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        char *value = strchr(line, '=');
        if (!value) continue;
        *value++ = '\0';
        const cm_status status = set(options, line, value);
        if (status == CM_ERR_MEMORY) return status;
        refused += status != CM_OK;
    }
    return CM_OK;
}

static cm_status training(cm_context *context, const uint8_t *data, size_t size)
{
    static char json[JSON], again[JSON];
    cm_train_options *o, *other;
    CM_TRY(cm_train_options_create(context, &o));
    cm_status status = set_lines(o, set_training, data, size);
    if (status == CM_OK) status = cm_train_options_check(o) == CM_ERR_MEMORY ? CM_ERR_MEMORY : CM_OK;
    if (status == CM_OK) status = cm_train_options_json(o, json, sizeof json, NULL);
    if (status == CM_OK && (status = cm_train_options_create(context, &other)) == CM_OK) {
        status = cm_train_options_read(other, json);
        if (status != CM_OK && status != CM_ERR_MEMORY) fuzz_fail("options that were printed are refused");
        if (status == CM_OK) status = cm_train_options_json(other, again, sizeof again, NULL);
        if (status == CM_OK && strcmp(json, again) != 0) fuzz_fail("options change in printing");
        cm_train_options_free(other);
    }
    cm_train_options_free(o);
    return status;
}

static cm_status run(cm_context *context, const uint8_t *data, size_t size)
{
    static char json[JSON], again[JSON];
    cm_run_options *o, *other;
    CM_TRY(cm_run_options_create(context, &o));
    cm_status status = set_lines(o, set_run, data, size);
    if (status == CM_OK) status = cm_run_options_json(o, json, sizeof json, NULL);
    if (status == CM_OK && (status = cm_run_options_create(context, &other)) == CM_OK) {
        status = cm_run_options_read(other, json);
        if (status != CM_OK && status != CM_ERR_MEMORY) fuzz_fail("a run's options that were printed are refused");
        if (status == CM_OK) status = cm_run_options_json(other, again, sizeof again, NULL);
        if (status == CM_OK && strcmp(json, again) != 0) fuzz_fail("a run's options change in printing");
        cm_run_options_free(other);
    }
    cm_run_options_free(o);
    return status;
}

/* The bytes as the JSON itself. */
static cm_status as_json(cm_context *context, const uint8_t *data, size_t size)
{
    char text[TEXT];
    cm_run_options *o;
    memcpy(text, data, size);
    text[size] = '\0';
    CM_TRY(cm_run_options_create(context, &o));
    const cm_status status = cm_run_options_read(o, text);
    cm_run_options_free(o);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= TEXT) return 0;
    if (size && data[0] == '{') return fuzz_watched(as_json, data, size, 0);
    (void)fuzz_watched(training, data, size, 0);
    return fuzz_watched(run, data, size, 0);
}
