/* state.c - checkpoints that are whole or not there (reliability R3, R4).
 *
 *   run/checkpoints/.tmp-STEP-PID/   written and flushed file by file; state.json,
 *                                    with sizes and hashes of the others, last
 *   rename to step-NNNNNNNNN         then the directory is flushed
 *   LATEST                           replaced the same way
 *   older ones                       removed only then
 *
 * model, ema-* and target are native model files; optimizer holds the moments;
 * teacher is there where it changes.  No file holds a time, a path or a host. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "io/directory.h"
#include "io/json_tree.h"
#include "io/tensors.h"
#include "train/trainer.h"

enum { PATH = 2048, MAX_FILES = CM_MAX_EMAS + 4 };

/* A file of the checkpoint and the blocks behind it. */
typedef struct {
    char name[80];
    float *block, *second; /* second: the other moments */
    int native;
} part;

static int list_parts(cm_trainer *t, part *parts)
{
    int n = 0;
    parts[n++] = (part){"model.safetensors", t->learner->online.values, NULL, 1};
    for (int i = 0; i < t->o.ema.count; i++) {
        char average[48];
        cm_average_label(&t->o.ema.rates[i], average, sizeof average);
        parts[n] = (part){"", t->ema[i], NULL, 1};
        (void)snprintf(parts[n++].name, sizeof parts[0].name, "ema-%s.safetensors", average);
    }
    if (t->learner->target.values) parts[n++] = (part){"target.safetensors", t->learner->target.values, NULL, 1};
    if (t->learner->teacher_set.values)
        parts[n++] = (part){"teacher.safetensors", t->learner->teacher_set.values, NULL, 1};
    if (t->m) parts[n++] = (part){"optimizer.safetensors", t->m, t->v, 0};
    return n;
}

static cm_status join(char *out, const char *a, const char *b)
{
    if ((size_t)snprintf(out, PATH, "%s/%s", a, b) >= PATH)
        CM_FAIL(CM_ERR_ARGUMENT, "the path '%.200s...' is too long", a);
    return CM_OK;
}

/* --- tensors ------------------------------------------------------------------------- */

/* Describes a block's tensors under prefix NAME; returns how many. */
static size_t describe(const cm_trainer *t, const float *block, const char *prefix, cm_tensor *tensors,
                       char (*names)[160])
{
    const cm_learner *l = t->learner;
    size_t n = 0;
    for (int i = 0; i < l->graph->n_params; i++) {
        const cm_param_desc *p = &l->graph->params[i];
        if (l->offsets[i] == SIZE_MAX) continue;
        (void)snprintf(names[n], sizeof names[n], "%s%.140s", prefix, p->name);
        tensors[n] = cm_checkpoint_describe(p, names[n], block + l->offsets[i]);
        n++;
    }
    return n;
}

static cm_status with_tensors(cm_trainer *t, const part *f,
                              cm_status (*use)(cm_trainer *, const char *, const cm_tensor *, size_t, int),
                              const char *path)
{
    size_t most = 2 * (size_t)t->learner->graph->n_params;
    cm_tensor *tensors = cm_calloc(t->context, most, sizeof *tensors);
    char(*names)[160] = cm_calloc(t->context, most, sizeof *names);
    cm_status status = tensors && names ? CM_OK : CM_ERR_MEMORY;
    if (status == CM_OK) {
        size_t n = describe(t, f->block, f->native ? "" : "exp_avg.", tensors, names);
        if (f->second) n += describe(t, f->second, "exp_avg_sq.", tensors + n, names + n);
        status = use(t, path, tensors, n, f->native);
    }
    cm_free(t->context, tensors);
    cm_free(t->context, names);
    return status;
}

static cm_status write_part(cm_trainer *t, const char *path, const cm_tensor *tensors, size_t n, int native)
{
    json_t *config = native ? cm_trainer_config(t) : NULL;
    if (native && !config) CM_FAIL(CM_ERR_MEMORY, "out of memory: metadata");
    cm_status status = cm_checkpoint_write(t->context, path, 1, config, tensors, n);
    json_decref(config);
    return status;
}

static cm_status read_part(cm_trainer *t, const char *path, const cm_tensor *tensors, size_t n, int native)
{
    cm_tensors file;
    cm_status status = CM_OK;
    (void)native;
    CM_TRY(cm_tensors_open_file(t->context, path, CM_INPUT_FETCHED, &file));
    for (size_t i = 0; i < n && status == CM_OK; i++) {
        const cm_tensor *s = cm_tensors_find(&file, tensors[i].name);
        if (!s || s->type != CM_TENSOR_F32 || s->count != tensors[i].count)
            status = cm_fail(CM_ERR_SHAPE, "%s: tensor '%s' is %s; this run's network has %zu values there", path,
                             tensors[i].name, s ? "of another size" : "missing", tensors[i].count);
        else status = cm_tensor_fetch(s, (void *)(uintptr_t)tensors[i].data);
    }
    cm_tensors_close(&file);
    return status;
}

/* --- hashes ---------------------------------------------------------------------------- */

static cm_status hash_blocks(XXH3_state_t *state, const cm_file_reader *r, unsigned char *block, size_t size)
{
    (void)XXH3_128bits_reset(state);
    for (size_t at = 0; at < r->size; at += size) {
        size_t n = r->size - at < size ? r->size - at : size;
        CM_TRY(cm_file_reader_read(r, at, block, n));
        (void)XXH3_128bits_update(state, block, n);
    }
    return CM_OK;
}

static cm_status hash_file(cm_context *context, const char *path, size_t *size, char text[33])
{
    enum { BLOCK = 1 << 20 };
    cm_file_reader r;
    int kind;
    CM_TRY(cm_path_look(path, &kind));
    if (!kind) CM_FAIL(CM_ERR_FORMAT, "%s: is missing", path);
    CM_TRY(cm_file_reader_open(context, path, &r));
    unsigned char *block = cm_malloc(context, BLOCK, 1);
    XXH3_state_t *state = block ? XXH3_createState() : NULL;
    cm_status status = block ? CM_OK : CM_ERR_MEMORY;
    if (block && !state) status = cm_fail(CM_ERR_MEMORY, "out of memory: the hash of '%s'", path);
    if (status == CM_OK) status = hash_blocks(state, &r, block, BLOCK);
    if (status == CM_OK) {
        XXH128_hash_t h = XXH3_128bits_digest(state);
        *size = r.size;
        (void)snprintf(text, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
    }
    (void)XXH3_freeState(state);
    cm_free(context, block);
    cm_file_reader_close(&r);
    return status;
}

/* --- saving ------------------------------------------------------------------------------ */

static cm_status take_lock(cm_trainer *t, const char *run)
{
    char path[PATH];
    CM_TRY(join(path, run, ".lock"));
    return cm_locks_take(&t->locks, path);
}

static json_t *describe_state(cm_trainer *t, json_t *files)
{
    json_t *state =
        json_pack("{s:i, s:s, s:I, s:I, s:I, s:i, s:i, s:o, s:o, s:o*}", "format", 1, "library", cm_version(), "step",
                  (json_int_t)t->step, "images", (json_int_t)t->images, "updates", (json_int_t)t->updates, "skipped",
                  t->skipped, "last_scales", t->last_scales, "files", json_incref(files), "options",
                  cm_settings_json(&t->o, 1), "config", json_incref(t->config));
    if (state && t->dataset) (void)json_object_set(state, "dataset", t->dataset);
    return state;
}

static cm_status write_text(cm_trainer *t, const char *path, const char *text)
{
    cm_file_writer w;
    CM_TRY(cm_file_create(t->context, path, 1, &w));
    cm_status status = cm_file_write(&w, text, strlen(text));
    if (status == CM_OK) return cm_file_commit(&w);
    cm_file_abort(&w);
    return status;
}

static cm_status write_state(cm_trainer *t, const char *directory, json_t *files)
{
    char path[PATH];
    json_t *state = describe_state(t, files);
    char *text = state ? json_dumps(state, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    cm_status status = text ? join(path, directory, "state.json") : cm_fail(CM_ERR_MEMORY, "out of memory: state");
    if (status == CM_OK) status = write_text(t, path, text);
    free(text);
    json_decref(state);
    return status;
}

static cm_status write_parts(cm_trainer *t, const char *directory, json_t *files)
{
    part parts[MAX_FILES];
    int n = list_parts(t, parts);
    for (int i = 0; i < n; i++) {
        char path[PATH], hash[33];
        size_t size;
        CM_TRY(join(path, directory, parts[i].name));
        CM_TRY(with_tensors(t, &parts[i], write_part, path));
        CM_TRY(hash_file(t->context, path, &size, hash));
        json_t *entry = json_pack("{s:I, s:s}", "bytes", (json_int_t)size, "xxh3_128", hash);
        if (json_object_set_new(files, parts[i].name, entry) != 0) CM_FAIL(CM_ERR_MEMORY, "out of memory: state");
    }
    return CM_OK;
}

static cm_status write_checkpoint(cm_trainer *t, const char *directory)
{
    json_t *files = json_object();
    if (!files) CM_FAIL(CM_ERR_MEMORY, "out of memory: state");
    cm_status status = cm_directory_make(directory);
    if (status == CM_OK) status = write_parts(t, directory, files);
    if (status == CM_OK) status = write_state(t, directory, files);
    if (status == CM_OK) status = cm_directory_sync(directory);
    json_decref(files);
    return status;
}

static int is_step(const char *name)
{
    return strncmp(name, "step-", 5) == 0 && strspn(name + 5, "0123456789") == strlen(name + 5) && name[5];
}

/* Leftovers of killed saves; then all but the newest `keep`, never `newest`. */
static cm_status tidy(cm_trainer *t, const char *checkpoints, int32_t keep, const char *newest)
{
    cm_names names;
    size_t steps = 0, seen = 0;
    char path[PATH];
    CM_TRY(cm_directory_list(t->context, checkpoints, &names));
    cm_status status = CM_OK;
    for (size_t i = 0; i < names.count; i++) steps += (size_t)is_step(names.name[i]);
    for (size_t i = 0; i < names.count && status == CM_OK; i++) {
        const char *name = names.name[i];
        int old = is_step(name) && keep > 0 && seen++ + (size_t)(keep < 2 ? 2 : keep) < steps;
        if (newest && strcmp(name, newest) == 0) old = 0;
        if (!old && strncmp(name, ".tmp-", 5) != 0 && !strstr(name, "LATEST.tmp-")) continue;
        status = join(path, checkpoints, name);
        if (status == CM_OK) status = cm_directory_remove(t->context, path);
    }
    cm_names_free(&names);
    return status;
}

static cm_status publish(cm_trainer *t, const char *checkpoints, const char *temporary, int32_t keep)
{
    char name[32], path[PATH], aside[PATH];
    (void)snprintf(name, sizeof name, "step-%09lld", (long long)t->step);
    CM_TRY(join(path, checkpoints, name));
    if (cm_path_exists(path)) { /* saved before: the new one takes its place */
        CM_TRY(join(aside, checkpoints, ".tmp-replaced"));
        CM_TRY(cm_directory_remove(t->context, aside));
        CM_TRY(cm_path_rename(path, aside));
    }
    CM_TRY(cm_path_rename(temporary, path));
    CM_TRY(cm_directory_sync(checkpoints));
    char latest[PATH], line[40];
    CM_TRY(join(latest, checkpoints, "LATEST"));
    (void)snprintf(line, sizeof line, "%s\n", name);
    CM_TRY(write_text(t, latest, line));
    return tidy(t, checkpoints, keep, name);
}

static cm_status save(cm_trainer *t, const char *run, int32_t keep)
{
    char checkpoints[PATH], temporary[PATH], name[64];
    CM_TRY(cm_directory_make(run));
    CM_TRY(take_lock(t, run));
    CM_TRY(join(checkpoints, run, "checkpoints"));
    CM_TRY(cm_directory_make(checkpoints));
    CM_TRY(tidy(t, checkpoints, 0, NULL));
    (void)snprintf(name, sizeof name, ".tmp-%lld-%ld", (long long)t->step, (long)getpid());
    CM_TRY(join(temporary, checkpoints, name));
    cm_status status = write_checkpoint(t, temporary);
    if (status == CM_OK) status = publish(t, checkpoints, temporary, keep);
    if (status != CM_OK) { /* keep the message of what went wrong */
        char text[512];
        (void)snprintf(text, sizeof text, "%s", cm_last_message());
        (void)cm_directory_remove(t->context, temporary);
        cm_message_set(text);
    }
    return status;
}

/* A call that fails gives back the lock that it took. */
cm_status cm_state_save(cm_trainer *t, const char *run, int32_t keep)
{
    size_t held = t->locks.count;
    cm_status status = save(t, run, keep);
    if (status != CM_OK) cm_locks_release(&t->locks, held);
    return status;
}

/* --- resuming -------------------------------------------------------------------------------- */

static cm_status read_state(cm_trainer *t, const char *path, json_t **out)
{
    unsigned char *text;
    size_t size;
    CM_TRY(cm_file_read(t->context, path, CM_JSON_TEXT, &text, &size));
    cm_status status = cm_json_tree(path, (const char *)text, size, out);
    cm_free(t->context, text);
    if (status != CM_OK || json_is_object(*out)) return status;
    json_decref(*out);
    CM_FAIL(CM_ERR_FORMAT, "%s: not a checkpoint's state", path);
}

/* Reads state.json and compares every file with it. */
static cm_status verify(cm_trainer *t, const char *directory, json_t **out)
{
    char path[PATH], hash[33];
    const char *name;
    json_t *entry, *state;
    int kind;
    CM_TRY(join(path, directory, "state.json"));
    CM_TRY(cm_path_look(path, &kind));
    if (!kind) CM_FAIL(CM_ERR_FORMAT, "%s: is missing", path);
    CM_TRY(read_state(t, path, &state));
    cm_status status = CM_OK;
    if (json_integer_value(json_object_get(state, "format")) != 1)
        status = cm_fail(CM_ERR_UNSUPPORTED, "%s: its format is not 1: written by a newer version?", path);
    json_object_foreach(json_object_get(state, "files"), name, entry)
    {
        size_t size = 0;
        if (status != CM_OK) break;
        if (strchr(name, '/'))
            status = cm_fail(CM_ERR_FORMAT, "%s: the file name '%.80s' has a slash", directory, name);
        if (status == CM_OK) status = join(path, directory, name);
        if (status == CM_OK) status = hash_file(t->context, path, &size, hash);
        const char *want = json_string_value(json_object_get(entry, "xxh3_128"));
        if (status == CM_OK && (json_integer_value(json_object_get(entry, "bytes")) != (json_int_t)size || !want ||
                                strcmp(want, hash) != 0))
            status =
                cm_fail(CM_ERR_FORMAT, "%s: %zu bytes with hash %s, expected %lld with %s: damaged", path, size, hash,
                        (long long)json_integer_value(json_object_get(entry, "bytes")), want ? want : "none");
    }
    if (status != CM_OK) json_decref(state);
    else *out = state;
    return status;
}

static void read_latest(const char *checkpoints, char *name, size_t size)
{
    char path[PATH];
    size_t n = join(path, checkpoints, "LATEST") == CM_OK ? cm_file_peek(path, name, size) : 0;
    name[n > 1 && n < size ? n - 1 : 0] = '\0'; /* without the newline */
    if (!is_step(name)) name[0] = '\0';
}

/* The newest checkpoint that verifies; LATEST's first. */
static cm_status find_good(cm_trainer *t, const char *checkpoints, char *directory, json_t **state)
{
    char latest[64], reason[512] = "";
    cm_names names;
    CM_TRY(cm_directory_list(t->context, checkpoints, &names));
    read_latest(checkpoints, latest, sizeof latest);
    cm_status status = CM_ERR_STATE;
    for (size_t i = 0; i <= names.count && status != CM_OK; i++) {
        const char *name = i == 0 ? latest : names.name[names.count - i];
        if (!is_step(name) || (i > 0 && strcmp(name, latest) == 0)) continue;
        status = join(directory, checkpoints, name);
        if (status == CM_OK) status = verify(t, directory, state);
        if (status == CM_ERR_IO || status == CM_ERR_MEMORY) break; /* no damage: the next call may read it */
        if (status == CM_OK && reason[0])
            cm_log(t->context, CM_LOG_WARNING, "continuing from %s, because %s", directory, reason);
        if (status != CM_OK && !reason[0]) (void)snprintf(reason, sizeof reason, "%s", cm_last_message());
    }
    cm_names_free(&names);
    if (status == CM_OK || status == CM_ERR_IO || status == CM_ERR_MEMORY) return status;
    if (reason[0]) CM_FAIL(CM_ERR_FORMAT, "no good checkpoint in %s: %s", checkpoints, reason);
    CM_FAIL(CM_ERR_STATE, "there is no checkpoint in %s", checkpoints);
}

/* Lists members that differ, up to a few. */
static void differences(const json_t *theirs, const json_t *ours, char *text, size_t size)
{
    const char *key;
    json_t *value;
    text[0] = '\0';
    json_object_foreach((json_t *)(uintptr_t)ours, key, value)
    {
        const json_t *other = json_object_get(theirs, key);
        if (other && (json_equal(other, value) || (json_is_number(other) && json_is_number(value) &&
                                                   json_number_value(other) == json_number_value(value))))
            continue;
        char *a = other ? json_dumps(other, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        char *b = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        size_t n = strlen(text);
        (void)snprintf(text + n, size - n, "%s%s was %.60s, is %.60s", n ? "; " : "", key, a ? a : "absent",
                       b ? b : "?");
        free(a);
        free(b);
    }
}

/* what: options or data; text: how they differ, if they do. */
static cm_status take_changes(const cm_trainer *t, const char *what, const char *text, int32_t allow_changes)
{
    if (!text[0]) return CM_OK;
    if (allow_changes != CM_RESUME_ANY)
        CM_FAIL(CM_ERR_ARGUMENT, "the checkpoint was made with other %s: %s (allow_changes takes them)", what, text);
    cm_log(t->context, CM_LOG_WARNING, "continuing with other %s: %s", what, text);
    return CM_OK;
}

static cm_status compare(cm_trainer *t, const json_t *state, int32_t allow_changes)
{
    char text[400];
    json_t *options = cm_settings_json(&t->o, 1), *before = json_copy(json_object_get(state, "options"));
    /* An option that the checkpoint's library did not know had its default. */
    const cm_train_settings defaults = cm_settings_defaults(t->o.objective);
    json_t *missing = cm_settings_json(&defaults, 1);
    (void)json_object_update_missing(before, missing);
    int64_t steps = json_integer_value(json_object_get(before, "steps"));
    if (allow_changes == CM_RESUME_MORE_STEPS && t->o.steps > steps) {
        cm_log(t->context, CM_LOG_INFO, "the run is made longer: %lld steps in place of %lld", (long long)t->o.steps,
               (long long)steps);
        json_object_set(before, "steps", json_object_get(options, "steps"));
    }
    differences(before, options, text, sizeof text);
    json_decref(missing);
    json_decref(before);
    json_decref(options);
    CM_TRY(take_changes(t, "options", text, allow_changes));
    text[0] = '\0';
    if (t->dataset && json_object_get(state, "dataset"))
        differences(json_object_get(state, "dataset"), t->dataset, text, sizeof text);
    return take_changes(t, "data", text, allow_changes);
}

static cm_status load_parts(cm_trainer *t, const char *directory)
{
    part parts[MAX_FILES];
    int n = list_parts(t, parts);
    for (int i = 0; i < n; i++) {
        char path[PATH];
        CM_TRY(join(path, directory, parts[i].name));
        CM_TRY(with_tensors(t, &parts[i], read_part, path));
    }
    return CM_OK;
}

static int64_t integer(const json_t *state, const char *key)
{
    return json_integer_value(json_object_get(state, key));
}

static cm_status resume(cm_trainer *t, const char *run, int32_t allow_changes)
{
    char checkpoints[PATH], directory[PATH];
    json_t *state = NULL;
    CM_TRY(join(checkpoints, run, "checkpoints"));
    if (cm_path_kind(checkpoints) != 1) CM_FAIL(CM_ERR_STATE, "there is no checkpoint in '%s'", run);
    CM_TRY(take_lock(t, run));
    CM_TRY(find_good(t, checkpoints, directory, &state));
    cm_status status = cm_trainer_compare_names(t, json_object_get(state, "config"), allow_changes);
    if (status == CM_OK) status = compare(t, state, allow_changes);
    if (status == CM_OK) status = load_parts(t, directory);
    if (status == CM_OK) {
        t->step = integer(state, "step");
        t->images = (uint64_t)integer(state, "images");
        t->updates = integer(state, "updates");
        t->skipped = (int32_t)integer(state, "skipped");
        t->last_scales = (int32_t)integer(state, "last_scales");
        status = cm_trainer_refresh(t);
    }
    if (status == CM_OK) status = cm_trainer_adopt_names(t, json_object_get(state, "config"));
    json_decref(state);
    return status;
}

cm_status cm_state_resume(cm_trainer *t, const char *run, int32_t allow_changes)
{
    size_t held = t->locks.count;
    cm_status status = resume(t, run, allow_changes);
    if (status != CM_OK) cm_locks_release(&t->locks, held);
    return status;
}
