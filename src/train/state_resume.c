/* state_resume.c - continues from the newest checkpoint whose files are undamaged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/directory.h"
#include "io/json_tree.h"
#include "train/split.h"
#include "train/together.h"

static cm_status read_part(cm_trainer *t, const char *path, const cm_tensor *tensors, size_t n, int is_model)
{
    cm_tensors file;
    cm_status status = CM_OK;
    (void)is_model;
    CM_TRY(cmi_tensors_open_file(t->context, path, CM_INPUT_FETCHED, &file));
    for (size_t i = 0; i < n && status == CM_OK; i++) {
        const cm_tensor *s = cmi_tensors_find(&file, tensors[i].name);
        if (!s || s->type != CM_TENSOR_F32 || s->count != tensors[i].count)
            status = cmi_fail(CM_ERR_SHAPE, "%s: tensor '%s' is %s; this run's network has %zu values there", path,
                              tensors[i].name, s ? "of another size" : "missing", tensors[i].count);
        else status = cmi_tensor_fetch(s, (void *)(uintptr_t)tensors[i].data);
    }
    cmi_tensors_close(&file);
    return status;
}

/* Byte for byte: a flipped bit can make an E of an e, which is the same number. */
static cm_status check_text(const char *path, const json_t *state, const unsigned char *text, size_t size)
{
    if (json_integer_value(json_object_get(state, "format")) != CM_STATE_FORMAT) return CM_OK;
    char *written = cmi_state_text(state);
    if (!written) CM_FAIL(CM_ERR_MEMORY, "out of memory: %s", path);
    const int same = strlen(written) == size && memcmp(written, text, size) == 0;
    free(written);
    if (!same) CM_FAIL(CM_ERR_FORMAT, "%s: not as it was written: damaged", path);
    return CM_OK;
}

static cm_status read_state(cm_trainer *t, const char *path, json_t **out)
{
    unsigned char *text;
    size_t size;
    CM_TRY(cmi_file_read(t->context, path, CM_JSON_TEXT, &text, &size));
    cm_status status = cmi_json_tree(path, (const char *)text, size, out);
    if (status == CM_OK && !json_is_object(*out))
        status = cmi_fail(CM_ERR_FORMAT, "%s: not a checkpoint's state", path);
    if (status == CM_OK) status = check_text(path, *out, text, size);
    cmi_free(t->context, text);
    if (status != CM_OK) json_decref(*out);
    return status;
}

/* The counts of state.json; one that is missing is 0. */
static const struct {
    const char *key;
    int64_t most;
} counts[] = {{"step", (int64_t)1 << 53}, {"images", (int64_t)1 << 53}, {"updates", (int64_t)1 << 53},
              {"skipped", INT32_MAX},     {"last_scales", INT32_MAX},   {"parts", 9999}};

static cm_status check_counts(const char *path, const json_t *state)
{
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const json_t *v = json_object_get(state, counts[i].key);
        const json_int_t n = json_integer_value(v);
        if (v && (!json_is_integer(v) || n < 0 || n > counts[i].most))
            CM_FAIL(CM_ERR_FORMAT, "%s: '%s' is %s%lld, expected a whole number of 0 to %lld", path, counts[i].key,
                    json_is_integer(v) ? "" : "no integer, read as ", (long long)n, (long long)counts[i].most);
    }
    return CM_OK;
}

/* Whether this version reads it, and whether it is as it was written. */
static cm_status check_state(const char *path, const json_t *state)
{
    char hash[33];
    const json_int_t format = json_integer_value(json_object_get(state, "format"));
    const char *expected = json_string_value(json_object_get(state, CM_STATE_HASH));
    if (format < 1 || format > CM_STATE_FORMAT)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: its format is not 1 or %d: written by a newer version?", path,
                CM_STATE_FORMAT);
    if (format == 1) return CM_OK;
    CM_TRY(cmi_state_own_hash(state, hash));
    if (!expected || strcmp(expected, hash) != 0)
        CM_FAIL(CM_ERR_FORMAT, "%s: its members have the hash %s, expected %.40s: damaged", path, hash,
                expected ? expected : "none");
    return CM_OK;
}

/* Reads state.json and compares every file with it. */
static cm_status verify(cm_trainer *t, const char *directory, json_t **out)
{
    char path[CM_STATE_PATH], hash[33];
    const char *name;
    json_t *entry, *state;
    cm_path_kind kind;
    CM_TRY(cmi_state_path(path, directory, "state.json"));
    CM_TRY(cmi_path_look(path, &kind));
    if (kind == CM_PATH_MISSING) CM_FAIL(CM_ERR_FORMAT, "%s: is missing", path);
    CM_TRY(read_state(t, path, &state));
    cm_status status = check_state(path, state);
    if (status == CM_OK) status = check_counts(path, state);
    json_object_foreach(json_object_get(state, "files"), name, entry)
    {
        size_t size = 0;
        if (status != CM_OK) break;
        if (strchr(name, '/'))
            status = cmi_fail(CM_ERR_FORMAT, "%s: the file name '%.80s' has a slash", directory, name);
        if (status == CM_OK) status = cmi_state_path(path, directory, name);
        if (status == CM_OK) status = cmi_state_hash(t->context, path, &size, hash);
        const char *expected = json_string_value(json_object_get(entry, "xxh3_128"));
        if (status == CM_OK && (json_integer_value(json_object_get(entry, "bytes")) != (json_int_t)size ||
                                !expected || strcmp(expected, hash) != 0))
            status = cmi_fail(CM_ERR_FORMAT, "%s: %zu bytes with hash %s, expected %lld with %s: damaged", path, size,
                              hash, (long long)json_integer_value(json_object_get(entry, "bytes")),
                              expected ? expected : "none");
    }
    if (status != CM_OK) json_decref(state);
    else *out = state;
    return status;
}

/* The name in LATEST, or "" with the reason why there is none. */
static cm_status read_latest(const char *checkpoints, char *name, size_t size, char *reason, size_t reason_size)
{
    char path[CM_STATE_PATH];
    cm_path_kind kind;
    size_t n = 0;
    CM_TRY(cmi_state_path(path, checkpoints, "LATEST"));
    CM_TRY(cmi_path_look(path, &kind));
    if (kind == CM_PATH_FILE) CM_TRY(cmi_file_peek(path, name, size, &n));
    const int is_whole = n > 1 && n < size && name[n - 1] == '\n' && !memchr(name, '\0', n);
    name[is_whole ? n - 1 : 0] = '\0';
    if (cmi_state_is_step(name)) return CM_OK;
    name[0] = '\0';
    if (cmi_path_exists(path)) (void)snprintf(reason, reason_size, "%.400s: it names no checkpoint", path);
    return CM_OK;
}

/* What LATEST names is trusted, though a save that was killed before it got there may have left a newer one. */
static void tell_of_newer(cm_trainer *t, const cm_names *names, const char *latest, const char *directory)
{
    const char *newest = latest;
    for (size_t i = 0; i < names->count; i++)
        if (cmi_state_is_step(names->name[i]) && strcmp(names->name[i], newest) > 0) newest = names->name[i];
    if (*latest && newest != latest)
        cmi_log(t->context, CM_LOG_WARNING, "continuing from %s, which LATEST names, although %s stands beside it",
                directory, newest);
}

/* The newest checkpoint that verifies; LATEST's first. */
static cm_status find_good(cm_trainer *t, const char *checkpoints, char *directory, json_t **state)
{
    char latest[64], reason[512] = "";
    cm_names names;
    CM_TRY(read_latest(checkpoints, latest, sizeof latest, reason, sizeof reason));
    CM_TRY(cmi_directory_list(t->context, checkpoints, &names));
    cm_status status = CM_ERR_STATE;
    for (size_t i = 0; i <= names.count && status != CM_OK; i++) {
        const char *name = i == 0 ? latest : names.name[names.count - i];
        if (!cmi_state_is_step(name) || (i > 0 && strcmp(name, latest) == 0)) continue;
        status = cmi_state_path(directory, checkpoints, name);
        if (status == CM_OK) status = verify(t, directory, state);
        if (status == CM_ERR_IO || status == CM_ERR_MEMORY) break; /* no damage: the next call may read it */
        if (status == CM_OK && i == 0) tell_of_newer(t, &names, latest, directory);
        if (status == CM_OK && reason[0])
            cmi_log(t->context, CM_LOG_WARNING, "continuing from %s, because %s", directory, reason);
        if (status != CM_OK && !reason[0]) (void)snprintf(reason, sizeof reason, "%s", cm_last_message());
    }
    cmi_names_free(&names);
    if (status == CM_OK || status == CM_ERR_IO || status == CM_ERR_MEMORY) return status;
    if (reason[0]) CM_FAIL(CM_ERR_FORMAT, "no good checkpoint in %s: %s", checkpoints, reason);
    CM_FAIL(CM_ERR_STATE, "there is no checkpoint in %s", checkpoints);
}

/* A checkpoint that is read. */
typedef struct {
    char directory[CM_STATE_PATH];
    int64_t parts;        /* its moments and averages are split into so many; 0: whole */
    cm_averages averages; /* that it has; none where they cannot be told */
} source;

/* Where changes are allowed an average may have another number than before: it goes on from the one of its form that
 * stood in its place. */
static void name_as_before(const cm_trainer *t, const source *from, cm_state_part *part)
{
    char label[48], before[48] = "";
    const int i = part->is_model - 2;
    if (i < 0 || i >= from->averages.count) return;
    cmi_average_label(&t->o.ema.rates[i], label, sizeof label);
    for (int k = 0; k < from->averages.count; k++) {
        cmi_average_label(&from->averages.rates[k], before, sizeof before);
        if (strcmp(before, label) == 0) return;
    }
    if (from->averages.rates[i].form != t->o.ema.rates[i].form) return;
    cmi_average_label(&from->averages.rates[i], before, sizeof before);
    (void)snprintf(part->name, sizeof part->name, "ema-%s.safetensors", before);
}

/* The blocks of a file, whole. */
static cm_status load_part(cm_trainer *t, const source *from, const cm_state_part *part)
{
    char path[CM_STATE_PATH];
    if (from->parts && (part->second || part->is_model > 1))
        return cmi_split_read(t, from->directory, from->parts, part);
    CM_TRY(cmi_state_path(path, from->directory, part->name));
    return cmi_state_tensors(t, part, read_part, path);
}

/* Of those that are split it waits for the other ranks. */
static cm_status load_parts(cm_trainer *t, const source *from)
{
    cm_state_part parts[CM_STATE_FILES];
    const int n = cmi_state_parts(t, parts);
    for (int i = 0; i < n; i++) {
        name_as_before(t, from, &parts[i]);
        if (!parts[i].is_split) CM_TRY(load_part(t, from, &parts[i]));
    }
    return CM_OK;
}

/* A file's blocks, which rank 0 reads whole, to the ranks that have a part each. */
static cm_status load_and_spread(cm_trainer *t, const source *from, const cm_state_part *part)
{
    const size_t floats = t->learner->floats;
    const int reads = t->peers.group.rank == 0;
    cm_state_part whole = *part;
    float *both = reads ? cmi_malloc(t->context, floats, (part->second ? 2 : 1) * sizeof *both) : NULL;
    if (reads && !both) return CM_ERR_MEMORY;
    whole.block = both;
    whole.second = reads && part->second ? both + floats : NULL;
    cm_status status = reads ? load_part(t, from, &whole) : CM_OK;
    if (status == CM_OK) status = cmi_split_spread(t, part, whole.block, whole.second);
    cmi_free(t->context, both);
    return status;
}

static cm_status spread_parts(cm_trainer *t, const source *from)
{
    cm_state_part parts[CM_STATE_FILES];
    const int n = cmi_state_parts(t, parts);
    for (int i = 0; i < n; i++) {
        name_as_before(t, from, &parts[i]);
        if (parts[i].is_split) CM_TRY(load_and_spread(t, from, &parts[i]));
    }
    return CM_OK;
}

static int64_t integer(const json_t *state, const char *key)
{
    return json_integer_value(json_object_get(state, key));
}

static cm_status resume(cm_trainer *t, const char *run, int32_t allow_changes, source *from)
{
    char checkpoints[CM_STATE_PATH];
    json_t *state = NULL;
    CM_TRY(cmi_state_path(checkpoints, run, "checkpoints"));
    cm_path_kind kind;
    CM_TRY(cmi_path_look(checkpoints, &kind));
    if (kind != CM_PATH_DIRECTORY) CM_FAIL(CM_ERR_STATE, "there is no checkpoint in '%s'", run);
    CM_TRY(cmi_state_lock(t, run));
    CM_TRY(find_good(t, checkpoints, from->directory, &state));
    cm_status status = cmi_trainer_compare_names(t, json_object_get(state, "config"), allow_changes);
    if (status == CM_OK) status = cmi_state_compare(t, state, allow_changes);
    from->parts = integer(state, "parts");
    if (cmi_averages_from_json(json_object_get(json_object_get(state, "options"), "ema"), &from->averages) != CM_OK)
        from->averages.count = 0;
    if (status == CM_OK) status = load_parts(t, from);
    if (status == CM_OK) {
        t->step = integer(state, "step");
        t->images = (uint64_t)integer(state, "images");
        t->updates = integer(state, "updates");
        t->skipped = (int32_t)integer(state, "skipped");
        t->last_scales = (int32_t)integer(state, "last_scales");
        status = cmi_trainer_refresh(t);
    }
    if (status == CM_OK) status = cmi_trainer_adopt_names(t, json_object_get(state, "config"));
    json_decref(state);
    return status;
}

/* Rank 0 reads for all. */
cm_status cmi_state_resume(cm_trainer *t, const char *run, int32_t allow_changes)
{
    size_t held = t->locks.count;
    source from = {.directory = ""};
    const int reads = cmi_peers_alone(&t->peers) || t->peers.group.rank == 0;
    cm_status status = reads ? resume(t, run, allow_changes, &from) : CM_OK;
    if (status == CM_OK) status = cmi_together_adopt(t);
    if (status == CM_OK) status = spread_parts(t, &from);
    if (status != CM_OK) cmi_locks_release(&t->locks, held);
    return status;
}
