/* state_save.c - writes checkpoints that are whole or not there (reliability R3, R4). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "io/directory.h"
#include "io/json_tree.h"
#include "train/split.h"

static cm_status write_part(cm_trainer *t, const char *path, const cm_tensor *tensors, size_t n, int is_model)
{
    json_t *config = is_model ? cmi_trainer_config(t, is_model - 2) : NULL;
    if (is_model && !config) CM_FAIL(CM_ERR_MEMORY, "out of memory: metadata");
    cm_status status = cmi_checkpoint_write(t->context, path, 1, config, tensors, n, NULL);
    json_decref(config);
    return status;
}

static json_t *describe_state(cm_trainer *t, json_t *files)
{
    json_t *state =
        json_pack("{s:i, s:s, s:I, s:I, s:I, s:i, s:i, s:o, s:o, s:o*}", "format", CM_STATE_FORMAT, "library",
                  cm_version(), "step", (json_int_t)t->step, "images", (json_int_t)t->images, "updates",
                  (json_int_t)t->updates, "skipped", t->skipped, "last_scales", t->last_scales, "files",
                  json_incref(files), "options", cmi_settings_json(&t->o, 1), "config", json_incref(t->config));
    int failed = !state;
    if (state && t->dataset) failed |= json_object_set(state, "dataset", t->dataset);
    if (state && cmi_split(t)) failed |= json_object_set_new(state, "parts", json_integer(t->peers.group.size));
    if (!failed) return state;
    json_decref(state);
    return NULL;
}

static cm_status write_text(cm_trainer *t, const char *path, const char *text)
{
    cm_file_writer w;
    CM_TRY(cmi_file_create(t->context, path, 1, &w));
    cm_status status = cmi_file_write(&w, text, strlen(text));
    if (status == CM_OK) return cmi_file_commit(&w);
    cmi_file_abort(&w);
    return status;
}

static cm_status write_state(cm_trainer *t, const char *directory, json_t *files)
{
    char path[CM_STATE_PATH];
    json_t *state = describe_state(t, files);
    char hash[33], *text = NULL;
    cm_status status = state ? cmi_state_own_hash(state, hash) : cmi_fail(CM_ERR_MEMORY, "out of memory: state");
    if (status == CM_OK && json_object_set_new(state, CM_STATE_HASH, json_string(hash)) == 0)
        text = cmi_state_text(state);
    if (status == CM_OK && !text) status = cmi_fail(CM_ERR_MEMORY, "out of memory: state");
    if (status == CM_OK) status = cmi_state_path(path, directory, "state.json");
    if (status == CM_OK) status = write_text(t, path, text);
    free(text);
    json_decref(state);
    return status;
}

static cm_status write_parts(cm_trainer *t, const char *directory, json_t *files)
{
    cm_state_part parts[CM_STATE_FILES];
    int n = cmi_state_parts(t, parts);
    for (int i = 0; i < n; i++) {
        char path[CM_STATE_PATH], hash[33];
        size_t size;
        if (parts[i].is_split) continue;
        CM_TRY(cmi_state_path(path, directory, parts[i].name));
        CM_TRY(cmi_state_tensors(t, &parts[i], write_part, path));
        CM_TRY(cmi_state_hash(t->context, path, &size, hash));
        json_t *entry = json_pack("{s:I, s:s}", "bytes", (json_int_t)size, "xxh3_128", hash);
        if (json_object_set_new(files, parts[i].name, entry) != 0) CM_FAIL(CM_ERR_MEMORY, "out of memory: state");
    }
    return CM_OK;
}

static cm_status write_checkpoint(cm_trainer *t, const char *directory)
{
    json_t *files = json_object();
    if (!files) CM_FAIL(CM_ERR_MEMORY, "out of memory: state");
    cm_status status = cmi_directory_make(directory);
    if (status == CM_OK) status = cmi_split_write(t, directory, files);
    if (status == CM_OK) status = write_parts(t, directory, files);
    if (status == CM_OK) status = write_state(t, directory, files);
    if (status == CM_OK) status = cmi_directory_sync(directory);
    json_decref(files);
    return status;
}

/* Leftovers of killed saves; then all but the newest `keep`, never `newest`. */
static cm_status tidy(cm_trainer *t, const char *checkpoints, int32_t keep, const char *newest)
{
    cm_names names;
    size_t steps = 0, seen = 0;
    char path[CM_STATE_PATH];
    CM_TRY(cmi_directory_list(t->context, checkpoints, &names));
    cm_status status = CM_OK;
    for (size_t i = 0; i < names.count; i++) steps += (size_t)cmi_state_is_step(names.name[i]);
    for (size_t i = 0; i < names.count && status == CM_OK; i++) {
        const char *name = names.name[i];
        int old = cmi_state_is_step(name) && keep > 0 && seen++ + (size_t)(keep < 2 ? 2 : keep) < steps;
        if (newest && strcmp(name, newest) == 0) old = 0;
        if (!old && strncmp(name, ".tmp-", 5) != 0 && !strstr(name, "LATEST.tmp-")) continue;
        status = cmi_state_path(path, checkpoints, name);
        if (status == CM_OK) status = cmi_directory_remove(path);
    }
    cmi_names_free(&names);
    return status;
}

static cm_status publish(cm_trainer *t, const char *checkpoints, const char *temporary, int32_t keep)
{
    char name[32], path[CM_STATE_PATH], aside[CM_STATE_PATH];
    (void)snprintf(name, sizeof name, "step-%09lld", (long long)t->step);
    CM_TRY(cmi_state_path(path, checkpoints, name));
    if (cmi_path_exists(path)) { /* saved before: the new one takes its place */
        CM_TRY(cmi_state_path(aside, checkpoints, ".tmp-replaced"));
        CM_TRY(cmi_directory_remove(aside));
        CM_TRY(cmi_path_rename(path, aside));
    }
    CM_TRY(cmi_path_rename(temporary, path));
    CM_TRY(cmi_directory_sync(checkpoints));
    char latest[CM_STATE_PATH], line[40];
    CM_TRY(cmi_state_path(latest, checkpoints, "LATEST"));
    (void)snprintf(line, sizeof line, "%s\n", name);
    CM_TRY(write_text(t, latest, line));
    return tidy(t, checkpoints, keep, name);
}

static cm_status save(cm_trainer *t, const char *run, int32_t keep)
{
    char checkpoints[CM_STATE_PATH], temporary[CM_STATE_PATH], name[64];
    CM_TRY(cmi_directory_make(run));
    CM_TRY(cmi_state_lock(t, run));
    CM_TRY(cmi_state_path(checkpoints, run, "checkpoints"));
    CM_TRY(cmi_directory_make(checkpoints));
    CM_TRY(tidy(t, checkpoints, 0, NULL));
    (void)snprintf(name, sizeof name, ".tmp-%lld-%ld", (long long)t->step, (long)getpid());
    CM_TRY(cmi_state_path(temporary, checkpoints, name));
    cm_status status = write_checkpoint(t, temporary);
    if (status == CM_OK) status = publish(t, checkpoints, temporary, keep);
    if (status != CM_OK) { /* keep the message of what went wrong */
        char text[512];
        (void)snprintf(text, sizeof text, "%s", cm_last_message());
        (void)cmi_directory_remove(temporary);
        cmi_message_set(text);
    }
    return status;
}

/* Of a rank that is not the first. */
static cm_status follow(cm_trainer *t)
{
    CM_TRY(cmi_split_write(t, NULL, NULL));
    return cmi_split_written(t);
}

/* A call that fails gives back the lock that it took. */
cm_status cmi_state_save(cm_trainer *t, const char *run, int32_t keep)
{
    size_t held = t->locks.count;
    const int follows = !cmi_peers_alone(&t->peers) && t->peers.group.rank > 0;
    if (follows && !cmi_split(t)) return CM_OK; /* rank 0 has it */
    cm_status status = follows ? follow(t) : save(t, run, keep);
    if (status == CM_OK && !follows) status = cmi_split_written(t);
    if (status != CM_OK) cmi_locks_release(&t->locks, held);
    if (status != CM_OK && cmi_split(t)) cmi_peers_give_up(&t->peers, status);
    return status;
}
