/* The files of a checkpoint: which there are, what state.json says and may say, which checkpoint is read, which are
 * removed, and how options and data are compared. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/directory.h"
#include "nets/checkpoint.h"
#include "support/trainers.h"
#include "train/split.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* --- a run with two checkpoints ---------------------------------------------------------------------- */

static char notes[4096];

static void note(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level <= CM_LOG_INFO && strlen(notes) + strlen(message) + 2 < sizeof notes)
        strcat(strcat(notes, message), "\n");
}

static const char *inside(const char *run, int step, const char *file)
{
    static char path[4][300];
    static int turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s/checkpoints/step-%09d%s%s", dir, run, step, *file ? "/" : "",
                   file);
    return path[turn];
}

static void write_bytes(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

/* A trainer whose log is kept, at step 2, with checkpoints of steps 1 and 2: copies of those that the first caller
 * saves. */
static cm_context *context;

static cm_trainer *saved_twice(const char *run, const cm_train_settings *o)
{
    cm_context_options co = CM_CONTEXT_OPTIONS_INIT;
    cm_trainer *t = NULL;
    char command[200];
    co.log = note;
    OK(cm_context_create(&co, &context));
    if (access(in_dir("first"), F_OK) != 0) {
        OK(open_trainer(context, "edm", o, &t));
        for (int i = 1; i <= 2; i++) {
            OK(steps(t, i, NULL));
            OK(cm_trainer_save(t, in_dir("first"), 0));
        }
        cm_trainer_free(t);
    }
    (void)snprintf(command, sizeof command, "cp -r %s/first %s/%s", dir, dir, run);
    ck_assert_int_eq(system(command), 0);
    OK(open_trainer(context, "edm", o, &t));
    OK(cm_trainer_resume(t, in_dir(run), NULL, 0));
    notes[0] = '\0';
    return t;
}

static void done(cm_trainer *t)
{
    cm_trainer_free(t);
    cm_context_free(context);
}

static json_t *read_state(const char *run, int step)
{
    json_t *state = json_load_file(inside(run, step, "state.json"), 0, NULL);
    ck_assert_ptr_nonnull(state);
    return state;
}

/* With a hash of its own that is right, unless told otherwise. */
static void write_state(const char *run, int step, json_t *state, int sealed)
{
    char hash[33];
    if (sealed) {
        OK(cmi_state_own_hash(state, hash));
        ck_assert_int_eq(json_object_set_new(state, CM_STATE_HASH, json_string(hash)), 0);
    }
    char *text = cmi_state_text(state);
    ck_assert_ptr_nonnull(text);
    write_bytes(inside(run, step, "state.json"), text, strlen(text));
    free(text);
}

/* The members of `change`; null: without that one. */
static void merge(json_t *state, const char *change)
{
    json_t *members = json_loads(change, 0, NULL), *value;
    const char *key;
    ck_assert_msg(members != NULL, "%s", change);
    json_object_foreach(members, key, value)
    {
        if (json_is_null(value)) (void)json_object_del(state, key);
        else ck_assert_int_eq(json_object_set(state, key, value), 0);
    }
    json_decref(members);
}

/* state.json says where the run is, which files there are, and with which options. */
START_TEST(what_a_state_says)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = saved_twice("said", &o);
    json_t *state = read_state("said", 2), *files = json_object_get(state, "files"), *entry;
    static const char *const members[] = {"config",  "files",   "format", "images",  "last_scales", "library",
                                          "options", "skipped", "step",   "updates", "xxh3_128"};
    static const char *const names_of_files[] = {"model.safetensors", "ema-0.9.safetensors",
                                                 "ema-warmup-0.99.safetensors", "optimizer.safetensors"};
    char hash[33], latest[32] = "";
    const char *name;
    size_t size, seen = 0;
    ck_assert_uint_eq(json_object_size(state), COUNT(members));
    for (size_t i = 0; i < COUNT(members); i++)
        ck_assert_msg(json_object_get(state, members[i]) != NULL, "%s", members[i]);
    ck_assert_int_eq(json_integer_value(json_object_get(state, "format")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(state, "step")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(state, "images")), 2 * BATCH);
    ck_assert_int_eq(json_integer_value(json_object_get(state, "updates")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(state, "skipped")), 0);
    ck_assert_str_eq(json_string_value(json_object_get(state, "library")), cm_version());
    ck_assert(json_number_value(json_object_get(json_object_get(state, "options"), "lr")) == 1e-2);
    ck_assert_ptr_null(json_object_get(json_object_get(state, "options"), "threads"));
    ck_assert(json_equal(json_object_get(state, "config"), t->config));
    ck_assert_uint_eq(json_object_size(files), COUNT(names_of_files));
    json_object_foreach(files, name, entry)
    {
        seen += strcmp(name, names_of_files[0]) == 0 || strcmp(name, names_of_files[1]) == 0 ||
                strcmp(name, names_of_files[2]) == 0 || strcmp(name, names_of_files[3]) == 0;
        OK(cmi_state_hash(context, inside("said", 2, name), &size, hash));
        ck_assert_int_eq(json_integer_value(json_object_get(entry, "bytes")), (json_int_t)size);
        ck_assert_str_eq(json_string_value(json_object_get(entry, "xxh3_128")), hash);
    }
    ck_assert_uint_eq(seen, COUNT(names_of_files));
    OK(cmi_state_own_hash(state, hash));
    ck_assert_str_eq(json_string_value(json_object_get(state, "xxh3_128")), hash);
    json_decref(state);
    FILE *f = fopen(in_dir("said/checkpoints/LATEST"), "rb");
    ck_assert_uint_eq(fread(latest, 1, sizeof latest - 1, f), 15);
    ck_assert_str_eq(latest, "step-000000002\n");
    ck_assert_int_eq(fclose(f), 0);
    done(t);
}
END_TEST

/* What may stand in state.json: each count up to its bound, formats, hashes, files. */
START_TEST(states_that_are_read)
{
    static const struct {
        const char *change;
        int sealed;
        const char *word; /* NULL: it is read */
    } rows[] = {
        {"{}", 1, NULL},
        {"{\"step\": 0}", 1, NULL},
        {"{\"step\": 9007199254740992}", 1, NULL},
        {"{\"step\": 9007199254740993}", 1,
         "'step' is 9007199254740993, expected a whole number of 0 to 9007199254740992"},
        {"{\"step\": -1}", 1, "'step' is -1, expected"},
        {"{\"step\": 2.5}", 1, "'step' is no integer, read as 0, expected"},
        {"{\"step\": \"2\"}", 1, "'step' is no integer, read as 0, expected"},
        {"{\"step\": null}", 1, NULL},
        {"{\"images\": 9007199254740992}", 1, NULL},
        {"{\"images\": 9007199254740993}", 1, "'images' is 9007199254740993"},
        {"{\"updates\": 9007199254740992}", 1, NULL},
        {"{\"updates\": 9007199254740993}", 1, "'updates' is 9007199254740993"},
        {"{\"skipped\": 2147483647}", 1, NULL},
        {"{\"skipped\": 2147483648}", 1, "'skipped' is 2147483648, expected a whole number of 0 to 2147483647"},
        {"{\"last_scales\": 2147483647}", 1, NULL},
        {"{\"last_scales\": 2147483648}", 1, "'last_scales' is 2147483648"},
        {"{\"parts\": 0}", 1, NULL},
        {"{\"parts\": 10000}", 1, "'parts' is 10000, expected a whole number of 0 to 9999"},
        {"{\"format\": 1, \"xxh3_128\": null}", 0, NULL},
        {"{\"format\": 0}", 1, "its format is not 1 or 2: written by a newer version?"},
        {"{\"format\": 3}", 1, "its format is not 1 or 2"},
        {"{\"format\": -1}", 1, "its format is not 1 or 2"},
        {"{\"format\": null}", 1, "its format is not 1 or 2"},
        {"{\"xxh3_128\": null}", 0, ", expected none: damaged"},
        {"{\"xxh3_128\": \"0123\"}", 0, ", expected 0123: damaged"},
        {"{\"xxh3_128\": 7}", 0, ", expected none: damaged"},
        {"{\"step\": 1}", 0, "its members have the hash "},
        {"{\"files\": null}", 1, NULL},
        {"{\"files\": {\"a/b\": {}}}", 1, "the file name 'a/b' has a slash"},
        {"{\"files\": {\"absent\": {}}}", 1, "absent: is missing"},
        {"{\"files\": {\"model.safetensors\": {}}}", 1, ", expected 0 with none: damaged"},
    };
    cm_train_settings o = options("edm");
    cm_trainer *t = saved_twice("states", &o);
    ck_assert_int_eq(rename(inside("states", 1, ""), in_dir("states/one")), 0);
    json_t *whole = read_state("states", 2);
    for (size_t i = 0; i < COUNT(rows); i++) {
        json_t *state = json_deep_copy(whole);
        merge(state, rows[i].change);
        write_state("states", 2, state, rows[i].sealed);
        const cm_status status = cm_trainer_resume(t, in_dir("states"), NULL, 0);
        if (rows[i].word) {
            ck_assert_msg(status == CM_ERR_FORMAT && strstr(cm_last_message(), rows[i].word), "%s: %s",
                          rows[i].change, status == CM_OK ? "read" : cm_last_message());
        } else {
            ck_assert_msg(status == CM_OK, "%s: %s", rows[i].change, cm_last_message());
            ck_assert_int_eq(t->step, json_integer_value(json_object_get(state, "step")));
            ck_assert_int_eq((int64_t)t->images, json_integer_value(json_object_get(state, "images")));
            ck_assert_int_eq(t->updates, json_integer_value(json_object_get(state, "updates")));
            ck_assert_int_eq(t->skipped, json_integer_value(json_object_get(state, "skipped")));
            ck_assert_int_eq(t->last_scales, json_integer_value(json_object_get(state, "last_scales")));
        }
        json_decref(state);
    }
    json_decref(whole);
    done(t);
}
END_TEST

/* A state is read as it was written, to the byte; one of format 1 may have been edited. */
START_TEST(texts_of_states)
{
    static const struct {
        const char *before, *behind;
        int first; /* of format 1 */
        const char *word;
        int blank; /* in place of a new line */
    } rows[] = {{"", "", 0, NULL, 0},
                {"", "", 0, "not as it was written: damaged", 1},
                {"", "\n", 0, "not as it was written: damaged", 0},
                {" ", "", 0, "not as it was written: damaged", 0},
                {"", "\n", 1, NULL, 0},
                {" ", "", 1, NULL, 0},
                {"", "}", 1, "something follows its end", 0},
                {"[", "]", 1, "not a checkpoint's state", 0},
                {"x", "", 1, "'{' or '[' expected", 0}};
    cm_train_settings o = options("edm");
    cm_trainer *t = saved_twice("texts", &o);
    ck_assert_int_eq(rename(inside("texts", 1, ""), in_dir("texts/one")), 0);
    json_t *state = read_state("texts", 2);
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].first) merge(state, "{\"format\": 1, \"xxh3_128\": null}");
        char *text = cmi_state_text(state);
        const size_t n = strlen(text) + 3;
        char *all = malloc(n);
        (void)snprintf(all, n, "%s%s%s", rows[i].before, text, rows[i].behind);
        if (rows[i].blank) *strchr(all, '\n') = ' ';
        write_bytes(inside("texts", 2, "state.json"), all, strlen(all));
        free(text);
        free(all);
        const cm_status status = cm_trainer_resume(t, in_dir("texts"), NULL, 0);
        if (!rows[i].word) ck_assert_msg(status == CM_OK, "row %zu: %s", i, cm_last_message());
        else
            ck_assert_msg(status == CM_ERR_FORMAT && strstr(cm_last_message(), rows[i].word), "row %zu: %s", i,
                          cm_last_message());
    }
    json_decref(state);
    done(t);
}
END_TEST

/* Size and hash of each file; with the older checkpoint there it is read instead, and why is said. */
START_TEST(records_of_files)
{
    static const struct {
        int longer; /* than it is */
        const char *hash;
        const char *word;
    } rows[] = {{0, NULL, NULL},
                {1, NULL, " with "},
                {-1, NULL, " with "},
                {0, "00000000000000000000000000000000", "with 0000"}};
    cm_train_settings o = options("edm");
    cm_trainer *t = saved_twice("records", &o);
    json_t *whole = read_state("records", 2);
    for (size_t i = 0; i < COUNT(rows); i++) {
        json_t *state = json_deep_copy(whole);
        json_t *entry = json_object_get(json_object_get(state, "files"), "optimizer.safetensors");
        const json_int_t bytes = json_integer_value(json_object_get(entry, "bytes"));
        ck_assert_int_eq(json_object_set_new(entry, "bytes", json_integer(bytes + rows[i].longer)), 0);
        if (rows[i].hash) ck_assert_int_eq(json_object_set_new(entry, "xxh3_128", json_string(rows[i].hash)), 0);
        write_state("records", 2, state, 1);
        json_decref(state);
        notes[0] = '\0';
        OK(cm_trainer_resume(t, in_dir("records"), NULL, 0));
        ck_assert_int_eq(t->step, rows[i].word ? 1 : 2);
        if (!rows[i].word) ck_assert_str_eq(notes, "");
        else
            ck_assert_msg(strstr(notes, "step-000000001, because ") && strstr(notes, rows[i].word) &&
                              strstr(notes, "optimizer.safetensors: "),
                          "%s", notes);
    }
    json_decref(whole);
    ck_assert_int_eq(remove(inside("records", 2, "state.json")), 0);
    notes[0] = '\0';
    OK(cm_trainer_resume(t, in_dir("records"), NULL, 0));
    ck_assert(t->step == 1 && strstr(notes, "state.json: is missing"));
    ck_assert_int_eq(remove(in_dir("records/checkpoints/LATEST")),
                     0); /* the oldest is the first of the folder then */
    OK(cm_trainer_resume(t, in_dir("records"), NULL, 0));
    ck_assert_int_eq(t->step, 1);
    done(t);
}
END_TEST

/* Whatever the file's record says, its tensors have to be this network's. */
START_TEST(tensors_of_files)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = saved_twice("tensors", &o);
    ck_assert_int_eq(rename(inside("tensors", 1, ""), in_dir("tensors/one")), 0);
    json_t *state = read_state("tensors", 2);
    for (int way = 0; way < 4; way++) {
        static const char *const words[] = {"is missing; this run's network has ",
                                            "is of another size; this run's network has ",
                                            "is of another size; this run's network has ", NULL};
        cm_tensors file;
        cm_tensor tensors[512];
        char hash[33];
        size_t size;
        const char *path = inside("tensors", 2, "optimizer.safetensors");
        OK(cmi_tensors_open_file(context, path, CM_INPUT_FETCHED, &file));
        ck_assert_uint_lt(file.count, 512);
        unsigned char *all[512];
        for (size_t i = 0; i < file.count; i++) {
            tensors[i] = file.tensors[i];
            all[i] = malloc(tensors[i].bytes);
            OK(cmi_tensor_fetch(&file.tensors[i], all[i]));
            tensors[i].data = all[i], tensors[i].from = NULL;
        }
        const size_t last = file.count - 1;
        char name[200];
        (void)snprintf(name, sizeof name, "tensor '%s' ", tensors[way == 0 ? last : 0].name);
        if (way == 1) tensors[0].rank = 1, tensors[0].shape[0] = 1, tensors[0].count = 1, tensors[0].bytes = 4;
        if (way == 2) tensors[0].type = CM_TENSOR_I32;
        OK(cmi_checkpoint_write(context, in_dir("other"), 1, NULL, tensors, way == 0 ? last : file.count, NULL));
        for (size_t i = 0; i < file.count; i++) free(all[i]);
        cmi_tensors_close(&file);
        ck_assert_int_eq(rename(path, in_dir("kept")), 0);
        ck_assert_int_eq(rename(in_dir("other"), path), 0);
        OK(cmi_state_hash(context, path, &size, hash));
        json_t *entry = json_object_get(json_object_get(state, "files"), "optimizer.safetensors");
        ck_assert_int_eq(json_object_set_new(entry, "bytes", json_integer((json_int_t)size)), 0);
        ck_assert_int_eq(json_object_set_new(entry, "xxh3_128", json_string(hash)), 0);
        write_state("tensors", 2, state, 1);
        const cm_status status = cm_trainer_resume(t, in_dir("tensors"), NULL, 0);
        if (words[way])
            ck_assert_msg(status == CM_ERR_SHAPE && strstr(cm_last_message(), words[way]) &&
                              strstr(cm_last_message(), name),
                          "way %d: %d %s", way, status, cm_last_message());
        else ck_assert_msg(status == CM_OK, "%s", cm_last_message());
        ck_assert_int_eq(rename(in_dir("kept"), path), 0);
    }
    json_decref(state);
    done(t);
}
END_TEST

/* --- which one is read --------------------------------------------------------------------------------- */

/* LATEST names a checkpoint in a whole line; else the newest good one is taken, and why is said. */
START_TEST(what_latest_says)
{
#define ZEROS "00000000000000000000000000000000000000000000000000000000" /* 56 */
    static const struct {
        const char *text;
        size_t size;
        int step, told;
    } rows[] = {{"step-000000002\n", 15, 2, 0},
                {"step-000000001\n", 15, 1, 1}, /* of the newer one beside it */
                {"step-000000001", 14, 2, 1},
                {"step-000000001 \n", 16, 2, 1},
                {"step-000000001\n\n", 16, 2, 1},
                {"step-000000001\0\n", 16, 2, 1},
                {"\n", 1, 2, 1},
                {"x", 1, 2, 1},
                {"", 0, 2, 1},
                {"LATEST\n", 7, 2, 1},
                {"step-\n", 6, 2, 1},
                {"step-000000007\n", 15, 2, 1},
                {"step-" ZEROS "1\n", 63, 1, 1},
                {"step-" ZEROS "01\n", 64, 2, 1},
                {"step-" ZEROS "001\n", 65, 2, 1}};
    cm_train_settings o = options("edm");
    cm_trainer *t = saved_twice("latest", &o);
    write_bytes(in_dir("latest/checkpoints/zzz"), "x", 1); /* no checkpoint */
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].size == 63)
            ck_assert_int_eq(rename(inside("latest", 1, ""), in_dir("latest/checkpoints/step-" ZEROS "1")), 0);
        if (rows[i].size == 64)
            ck_assert_int_eq(
                rename(in_dir("latest/checkpoints/step-" ZEROS "1"), in_dir("latest/checkpoints/step-" ZEROS "01")),
                0);
        write_bytes(in_dir("latest/checkpoints/LATEST"), rows[i].text, rows[i].size);
        notes[0] = '\0';
        OK(cm_trainer_resume(t, in_dir("latest"), NULL, 0));
        ck_assert_msg(t->step == rows[i].step, "row %zu: step %d", i, (int)t->step);
        ck_assert_msg((notes[0] != '\0') == rows[i].told, "row %zu: '%s'", i, notes);
        if (rows[i].step == 2 && rows[i].told)
            ck_assert_msg(
                strstr(notes, rows[i].size == 15 ? "state.json: is missing" : "LATEST: it names no checkpoint"),
                "row %zu: %s", i, notes);
        if (rows[i].step == 1) ck_assert_msg(strstr(notes, "although step-000000002 stands beside it"), "%s", notes);
    }
    ck_assert_int_eq(remove(in_dir("latest/checkpoints/LATEST")), 0);
    notes[0] = '\0';
    OK(cm_trainer_resume(t, in_dir("latest"), NULL, 0));
    ck_assert(t->step == 2 && !notes[0]);
    ck_assert_int_eq(mkdir(in_dir("latest/checkpoints/LATEST"), 0777), 0);
    OK(cm_trainer_resume(t, in_dir("latest"), NULL, 0));
    ck_assert(t->step == 2 && strstr(notes, "LATEST: it names no checkpoint"));
    done(t);
    /* Of a damaged one that LATEST names nothing else is said than that. */
    t = saved_twice("latest2", &o);
    write_bytes(in_dir("latest2/checkpoints/LATEST"), "step-000000001\n", 15);
    ck_assert_int_eq(remove(inside("latest2", 1, "model.safetensors")), 0);
    OK(cm_trainer_resume(t, in_dir("latest2"), NULL, 0));
    ck_assert(t->step == 2 && strstr(notes, "model.safetensors: is missing") && !strstr(notes, "although"));
    done(t);
}
END_TEST

/* Without a good one: nothing there, or the reason of the first that was tried. */
START_TEST(no_checkpoint_is_good)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = saved_twice("bad", &o);
    FAILS(cm_trainer_resume(t, in_dir("nowhere"), NULL, 0), CM_ERR_STATE, "there is no checkpoint in '");
    ck_assert_int_eq(mkdir(in_dir("file"), 0777), 0);
    write_bytes(in_dir("file/checkpoints"), "x", 1);
    FAILS(cm_trainer_resume(t, in_dir("file"), NULL, 0), CM_ERR_STATE, "there is no checkpoint in '");
    ck_assert_int_eq(mkdir(in_dir("empty"), 0777), 0);
    ck_assert_int_eq(mkdir(in_dir("empty/checkpoints"), 0777), 0);
    FAILS(cm_trainer_resume(t, in_dir("empty"), NULL, 0), CM_ERR_STATE, "there is no checkpoint in ");
    ck_assert_int_eq(mkdir(in_dir("empty/checkpoints/other"), 0777), 0);
    FAILS(cm_trainer_resume(t, in_dir("empty"), NULL, 0), CM_ERR_STATE, "there is no checkpoint in ");
    for (int i = 1; i <= 2; i++) ck_assert_int_eq(remove(inside("bad", i, "model.safetensors")), 0);
    FAILS(cm_trainer_resume(t, in_dir("bad"), NULL, 0), CM_ERR_FORMAT, "no good checkpoint in ");
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "step-000000002/model.safetensors: is missing"));
    write_bytes(in_dir("bad/checkpoints/LATEST"), "step-000000001\n", 15);
    FAILS(cm_trainer_resume(t, in_dir("bad"), NULL, 0), CM_ERR_FORMAT,
          "step-000000001/model.safetensors: is missing");
    done(t);
}
END_TEST

/* --- what is removed ------------------------------------------------------------------------------------- */

static int is_there(const char *run, const char *name)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s/checkpoints/%s", dir, run, name);
    return access(path, F_OK) == 0;
}

/* Folders of older checkpoints. */
static void make_steps(const char *run, int first, int last)
{
    char path[300];
    ck_assert_int_eq(mkdir(in_dir(run), 0777), 0);
    (void)snprintf(path, sizeof path, "%s/%s/checkpoints", dir, run);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    for (int i = first; i <= last; i++) ck_assert_int_eq(mkdir(inside(run, i, ""), 0777), 0);
}

/* Leftovers of killed saves go, and all but the newest `keep` checkpoints, at least two; nothing else does. */
START_TEST(what_a_save_removes)
{
    static const int keeps[] = {0, 1, 2, 3, 4, 6}, kept[] = {5, 2, 2, 3, 4, 5}; /* of five */
    static const char *const others[] = {"notes", "tmp-1", "step-x", "LATEST.old", "hidden", "step-000000009.bak"};
    static const char *const left[] = {".tmp-3-77", ".tmp-replaced", "LATEST.tmp-77-1"};
    cm_train_settings o = options("edm");
    for (size_t row = 0; row < COUNT(keeps); row++) {
        const int keep = keeps[row];
        char run[32], name[64];
        (void)snprintf(run, sizeof run, "keep%d", keep);
        cm_trainer *t = trainer("edm", &o);
        make_steps(run, 1, 4);
        for (size_t k = 0; k < COUNT(others) + COUNT(left); k++) {
            (void)snprintf(name, sizeof name, "%s/checkpoints/%s", run,
                           k < COUNT(others) ? others[k] : left[k - COUNT(others)]);
            write_bytes(in_dir(name), "x", 1);
        }
        t->step = 5;
        OK(cm_trainer_save(t, in_dir(run), keep));
        for (int i = 1; i <= 5; i++) {
            (void)snprintf(name, sizeof name, "step-%09d", i);
            ck_assert_msg(is_there(run, name) == (i > 5 - kept[row]), "keep %d: %s", keep, name);
        }
        for (size_t k = 0; k < COUNT(others); k++) ck_assert_msg(is_there(run, others[k]), "%s", others[k]);
        for (size_t k = 0; k < COUNT(left); k++) ck_assert_msg(!is_there(run, left[k]), "%s", left[k]);
        cm_trainer_free(t);
    }
}
END_TEST

/* The one that was just written stays, though others have higher numbers. */
START_TEST(the_newest_stays)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o);
    make_steps("back", 3, 6);
    t->step = 2;
    OK(cm_trainer_save(t, in_dir("back"), 2));
    ck_assert(is_there("back", "step-000000002") && is_there("back", "step-000000006") &&
              is_there("back", "step-000000005"));
    ck_assert(!is_there("back", "step-000000003") && !is_there("back", "step-000000004"));
    cm_trainer_free(t);
    t = trainer("edm", &o);
    OK(cm_trainer_resume(t, in_dir("back"), NULL, 0));
    ck_assert_int_eq(t->step, 2);
    cm_trainer_free(t);
}
END_TEST

/* A step that is saved twice is there once, as it was the second time. */
START_TEST(a_step_is_saved_again)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o), *other;
    OK(steps(t, 1, NULL));
    OK(cm_trainer_save(t, in_dir("again"), 0));
    t->images = 99;
    OK(cm_trainer_save(t, in_dir("again"), 0));
    ck_assert(!is_there("again", ".tmp-replaced"));
    cm_trainer_free(t);
    other = trainer("edm", &o);
    OK(cm_trainer_resume(other, in_dir("again"), NULL, 0));
    ck_assert_uint_eq(other->images, 99);
    cm_trainer_free(other);
    /* One that fails leaves nothing behind, and its reason. */
    t = trainer("edm", &o);
    write_bytes(in_dir("blocked"), "x", 1);
    FAILS(cm_trainer_save(t, in_dir("blocked"), 0), CM_ERR_IO, "blocked");
    ck_assert_uint_eq(t->locks.count, 0);
    static char path[CM_STATE_PATH];
    memset(path, 'a', sizeof path);
    path[CM_STATE_PATH - 1] = '\0';
    ck_assert_int_ne(cm_trainer_save(t, path, 0), CM_OK);
    ck_assert_uint_eq(t->locks.count, 0);
    cm_trainer_free(t);
}
END_TEST

/* --- which files ------------------------------------------------------------------------------------------- */

START_TEST(files_of_objectives)
{
    static const struct {
        const char *objective, *optimizer;
        const char *files[6];
    } rows[] = {
        {"edm", "radam", {"model", "ema-0.9", "ema-warmup-0.99", "optimizer"}},
        {"edm", "sgd", {"model", "ema-0.9", "ema-warmup-0.99"}},
        {"cd", "radam", {"model", "ema-0.9", "ema-warmup-0.99", "target", "optimizer"}},
        {"pd", "radam", {"model", "ema-0.9", "ema-warmup-0.99", "teacher", "optimizer"}},
        {"sct", "radam", {"model", "ema-0.9", "ema-warmup-0.99", "optimizer", "weight-net"}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_train_settings o = options(rows[i].objective);
        cm_state_part parts[CM_STATE_FILES];
        OK(cmi_settings_set(&o, "optimizer", rows[i].optimizer));
        cm_trainer *t = trainer(rows[i].objective, &o);
        const int n = cmi_state_parts(t, parts);
        for (int k = 0; k < n; k++) {
            char name[80];
            ck_assert(k < 6 && rows[i].files[k]);
            (void)snprintf(name, sizeof name, "%s.safetensors", rows[i].files[k]);
            ck_assert_str_eq(parts[k].name, name);
            const int average = strncmp(name, "ema", 3) == 0, moments = strncmp(name, "opt", 3) == 0,
                      weighing = strncmp(name, "weight", 6) == 0;
            ck_assert_int_eq(parts[k].is_model, average ? 1 + k : moments || weighing ? 0 : 1);
            ck_assert_int_eq(parts[k].is_weighing, weighing);
            ck_assert(!parts[k].is_split && (parts[k].second != NULL) == moments &&
                      (parts[k].block == NULL) == weighing);
            if (average) ck_assert_ptr_eq(parts[k].block, t->ema[k - 1]);
        }
        ck_assert(n == 6 || !rows[i].files[n]);
        cm_trainer_free(t);
    }
}
END_TEST

/* Each says what it is; averages that can be reconstructed from say their profile. */
START_TEST(what_files_are)
{
    static const struct {
        const char *name;
        int32_t kind;
        const char *average; /* in its configuration, or NULL: none there */
    } rows[] = {{"model.safetensors", CM_CHECKPOINT_MODEL, NULL},
                {"ema-power-0.1.safetensors", CM_CHECKPOINT_MODEL, "\"average\":{\"form\":\"power\",\"value\":0.1"},
                {"ema-0.9.safetensors", CM_CHECKPOINT_MODEL, NULL},
                {"ema-power-0.05.safetensors", CM_CHECKPOINT_MODEL, "\"average\":{\"form\":\"power\",\"value\":0.05"},
                {"optimizer.safetensors", CM_CHECKPOINT_OPTIMIZER, NULL},
                {"weight-net.safetensors", CM_CHECKPOINT_TENSORS, NULL}};
    cm_train_settings o = options("sct");
    OK(cmi_settings_set(&o, "ema", "power:0.1,0.9,power:0.05"));
    cm_trainer *t = trainer("sct", &o);
    OK(cm_trainer_save(t, in_dir("kinds"), 0));
    for (size_t i = 0; i < COUNT(rows); i++) {
        cm_checkpoint *c;
        cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
        OK(cm_checkpoint_open(NULL, inside("kinds", 0, rows[i].name), NULL, &c));
        OK(cm_checkpoint_info_get(c, &info));
        ck_assert_msg(info.kind == rows[i].kind, "%s is of kind %d", rows[i].name, info.kind);
        cm_checkpoint_free(c);
        if (info.kind != CM_CHECKPOINT_MODEL) continue;
        cm_model *m;
        OK(cm_model_load(NULL, inside("kinds", 0, rows[i].name), NULL, &m));
        const char *average = strstr(m->config_text, "\"average\"");
        if (!rows[i].average) ck_assert_msg(!average, "%s: %s", rows[i].name, average);
        else
            ck_assert_msg(average && strncmp(average, rows[i].average, strlen(rows[i].average)) == 0, "%s: %s",
                          rows[i].name, average ? average : "none");
        cm_model_free(m);
    }
    cm_trainer_free(t);
}
END_TEST

/* --- options and data of another run --------------------------------------------------------------------------- */

START_TEST(other_options_and_data)
{
    static const struct {
        const char *options, *dataset; /* changes of the checkpoint's */
        int32_t allow;
        const char *word, *said;
    } rows[] = {
        {"{}", NULL, CM_RESUME_SAME, NULL, ""},
        {"{\"lr\": null}", NULL, CM_RESUME_SAME, "other options: lr was 0.001, is 0.01 (allow_changes takes them)",
         ""},
        {"{\"weight_decay\": null}", NULL, CM_RESUME_SAME, NULL, ""}, /* as it is by default */
        {"{\"lr\": 0.5}", NULL, CM_RESUME_SAME, "other options: lr was 0.5, is 0.01", ""},
        {"{\"lr\": 0.5}", NULL, CM_RESUME_MORE_STEPS, "other options: lr was 0.5, is 0.01", ""},
        {"{\"lr\": 0.5}", NULL, CM_RESUME_ANY, NULL, "continuing with other options: lr was 0.5, is 0.01\n"},
        {"{\"new\": 0.5}", NULL, CM_RESUME_SAME, "new was 0.5, is unknown to this library", ""},
        {"{\"steps\": 10}", NULL, CM_RESUME_SAME, "steps was 10, is 20", ""},
        {"{\"steps\": 10}", NULL, CM_RESUME_MORE_STEPS, NULL, "the run is made longer: 20 steps in place of 10\n"},
        {"{\"steps\": 10}", NULL, CM_RESUME_ANY, NULL, "continuing with other options: steps was 10, is 20\n"},
        {"{\"steps\": 30}", NULL, CM_RESUME_MORE_STEPS, "steps was 30, is 20", ""},
        {"{\"steps\": 20}", NULL, CM_RESUME_MORE_STEPS, NULL, ""},
        {"{\"steps\": 10, \"lr\": 0.5}", NULL, CM_RESUME_MORE_STEPS, "other options: lr was 0.5, is 0.01", ""},
        {"{}", "{\"images\": 7}", CM_RESUME_SAME, NULL, ""},
        {"{}", "{\"images\": 8}", CM_RESUME_SAME, "other data: images was 8, is 7", ""},
        {"{}", "{\"images\": 8}", CM_RESUME_MORE_STEPS, "other data: images was 8, is 7", ""},
        {"{}", "{\"images\": 8}", CM_RESUME_ANY, NULL, "continuing with other data: images was 8, is 7\n"},
    };
    cm_train_settings o = options("edm");
    cm_trainer *t = saved_twice("compared", &o);
    json_t *whole = read_state("compared", 2);
    for (size_t i = 0; i < COUNT(rows); i++) {
        json_t *state = json_deep_copy(whole);
        merge(json_object_get(state, "options"), rows[i].options);
        for (int known = 0; known < 2; known++) { /* a run without a data set takes any */
            if (rows[i].dataset)
                ck_assert_int_eq(json_object_set_new(state, "dataset", json_loads(rows[i].dataset, 0, NULL)), 0);
            if (known) t->dataset = json_loads("{\"images\": 7}", 0, NULL);
            notes[0] = '\0';
            const char *word = rows[i].dataset && !known ? NULL : rows[i].word;
            const cm_status status = cmi_state_compare(t, state, rows[i].allow);
            if (!word) ck_assert_msg(status == CM_OK, "row %zu: %s", i, cm_last_message());
            else
                ck_assert_msg(status == CM_ERR_ARGUMENT && strstr(cm_last_message(), word), "row %zu: %s", i,
                              status == CM_OK ? "taken" : cm_last_message());
            ck_assert_str_eq(notes, rows[i].dataset && !known ? "" : rows[i].said);
        }
        json_decref(t->dataset);
        t->dataset = NULL;
        json_decref(state);
    }
    (void)json_object_del(whole, "options");
    FAILS(cmi_state_compare(t, whole, CM_RESUME_ANY), CM_ERR_FORMAT, "the checkpoint's state.json has no options");
    json_decref(whole);
    done(t);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("state_files");
    TCase *t = tcase_create("files");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, what_a_state_says);
    tcase_add_test(t, states_that_are_read);
    tcase_add_test(t, texts_of_states);
    tcase_add_test(t, records_of_files);
    tcase_add_test(t, tensors_of_files);
    tcase_add_test(t, what_latest_says);
    tcase_add_test(t, no_checkpoint_is_good);
    tcase_add_test(t, what_a_save_removes);
    tcase_add_test(t, the_newest_stays);
    tcase_add_test(t, a_step_is_saved_again);
    tcase_add_test(t, files_of_objectives);
    tcase_add_test(t, what_files_are);
    tcase_add_test(t, other_options_and_data);
    suite_add_tcase(s, t);
    return s;
}
