/* The state of a run: checkpoints and their damage, resuming, snapshots, trouble that passes, names of classes. */
#include "support/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/pictures.h"
#include "support/trainers.h"

/* --- checkpoints -------------------------------------------------------------------------- */

static const char *const files[] = {"model.safetensors",      "ema-0.9.safetensors", "ema-warmup-0.99.safetensors",
                                    "optimizer.safetensors",  "target.safetensors",  "teacher.safetensors",
                                    "weight-net.safetensors", "state.json"};

static int same_files(const char *run_a, const char *run_b, int step)
{
    char command[700];
    int compared = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/checkpoints/step-%09d/%s", run_a, step, files[i]);
        if (access(path, F_OK) != 0) continue;
        snprintf(command, sizeof command, "cmp %s %s/checkpoints/step-%09d/%s", path, run_b, step, files[i]);
        if (system(command) != 0) return 0;
        compared++;
    }
    return compared >= 5;
}

/* Stops at 1, in the middle, at a change of schedule; each optimizer in turn. */
START_TEST(resume_is_exact)
{
    const char *name = names[_i / 3];
    cm_train_settings o = options(name);
    const int stops[3] = {1, 4, 11};
    double whole[16], parts[16];
    char a[64], b[64];
    o.optimizer = _i % 3;
    o.weight_decay = _i % 3 == 2 ? 0.01 : 0;
    snprintf(a, sizeof a, "%s/a%d", dir, _i);
    snprintf(b, sizeof b, "%s/b%d", dir, _i);
    cm_trainer *t = trainer(name, &o);
    OK(steps(t, 16, whole));
    OK(cm_trainer_save(t, a, 0));
    cm_trainer *first = trainer(name, &o);
    OK(steps(first, stops[_i % 3], parts));
    OK(cm_trainer_save(first, b, 0));
    cm_trainer_free(first);
    o.threads = 2; /* of no consequence */
    cm_trainer *second = trainer(name, &o);
    OK(cm_trainer_resume(second, b, NULL, 0));
    ck_assert_int_eq(second->step, stops[_i % 3]);
    OK(steps(second, 16, parts));
    OK(cm_trainer_save(second, b, 0));
    ck_assert_msg(same_state(t, second), "%s: the resumed run differs", name);
    ck_assert_mem_eq(whole, parts, sizeof whole);
    ck_assert_msg(same_files(a, b, 16), "%s: the files differ", name);
    cm_trainer_free(t);
    cm_trainer_free(second);
}
END_TEST

/* Where changes are allowed, an average goes on from the one of its name, or else from the one of its form in its
 * place. */
START_TEST(other_averages)
{
    static const struct {
        const char *ema;
        int from[2]; /* the average whose weights are read, -1: there is none */
    } rows[] = {{"halflife:50:0.5,0.9", {0, 1}}, {"halflife:80:0.5,0.9", {0, 1}}, {"0.9,halflife:50:0.5", {1, 0}},
                {"halflife:60,0.95", {0, 1}},    {"power:0.1,0.9", {-1, -1}},     {"0.9,halflife:60", {-1, -1}}};
    cm_train_settings o = options("edm");
    char run[100];
    double losses[4];
    float *kept[2];
    snprintf(run, sizeof run, "%s/other-averages", dir);
    OK(cmi_settings_set(&o, "ema", rows[0].ema));
    cm_trainer *t = trainer("edm", &o);
    OK(steps(t, 4, losses));
    OK(cm_trainer_save(t, run, 0));
    const size_t size = t->learner->floats * sizeof(float);
    for (int k = 0; k < 2; k++) {
        kept[k] = malloc(size);
        ck_assert_ptr_nonnull(kept[k]);
        memcpy(kept[k], t->ema[k], size);
    }
    ck_assert_int_ne(memcmp(kept[0], kept[1], size), 0);
    cm_trainer_free(t);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        OK(cmi_settings_set(&o, "ema", rows[i].ema));
        cm_trainer *other = trainer("edm", &o);
        if (i > 0) FAILS(cm_trainer_resume(other, run, NULL, 0), CM_ERR_ARGUMENT, "other options: ema was");
        const cm_status status = cm_trainer_resume(other, run, NULL, CM_RESUME_ANY);
        ck_assert_msg(status == (rows[i].from[0] < 0 ? CM_ERR_IO : CM_OK), "%s: %s", rows[i].ema, cm_last_message());
        for (int k = 0; k < 2 && status == CM_OK; k++)
            ck_assert_msg(memcmp(other->ema[k], kept[rows[i].from[k]], size) == 0, "average %d of %s", k,
                          rows[i].ema);
        cm_trainer_free(other);
    }
    free(kept[0]);
    free(kept[1]);
}
END_TEST

static void damage(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    fseek(f, at % size, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at % size, SEEK_SET);
    fputc(c ^ (1 << at % 8), f);
    fclose(f);
}

START_TEST(damage_is_found)
{
    cm_train_settings o = options("cd");
    cm_trainer *t = trainer("cd", &o), *other;
    char run[64];
    uint64_t state = seeded(3);
    int tries = by_effort(40, 40, 1000);
    snprintf(run, sizeof run, "%s/damaged", dir);
    OK(steps(t, 2, NULL));
    OK(cm_trainer_save(t, run, 0));
    OK(steps(t, 3, NULL));
    OK(cm_trainer_save(t, run, 0));
    cm_trainer_free(t);
    for (int i = 0; i < tries; i++) {
        char path[256];
        long at = random_int(&state, 0, 1 << 30);
        snprintf(path, sizeof path, "%s/checkpoints/step-000000003/%s", run, files[i % 5]);
        damage(path, at);
        other = trainer("cd", &o);
        OK(cm_trainer_resume(other, run, NULL, 0)); /* from the one before */
        ck_assert_int_eq(other->step, 2);
        cm_trainer_free(other);
        damage(path, at);
    }
    other = trainer("cd", &o);
    OK(cm_trainer_resume(other, run, NULL, 0));
    ck_assert_int_eq(other->step, 3);
    cm_trainer_free(other);
}
END_TEST

START_TEST(checkpoints_refused)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o), *other;
    FAILS(cm_trainer_resume(t, in_dir("nowhere"), NULL, 0), CM_ERR_STATE, "no checkpoint");
    OK(steps(t, 2, NULL));
    OK(cm_trainer_save(t, in_dir("run"), 2));
    cm_trainer_free(t);
    o.lr = 0.5;
    other = trainer("edm", &o);
    FAILS(cm_trainer_resume(other, in_dir("run"), NULL, 0), CM_ERR_ARGUMENT, "lr was 0.01");
    OK(cm_trainer_resume(other, in_dir("run"), NULL, 1));
    ck_assert_int_eq(other->step, 2);
    cm_trainer_free(other);
    /* An option of another version of the library: what it did to the run is not known here. */
    char command[300];
    snprintf(command, sizeof command,
             "sed -i 's/\"distance\"/\"metric\"/; s/\"format\": 2/\"format\": 1/' "
             "%s/run/checkpoints/step-000000002/state.json",
             dir);
    ck_assert_int_eq(system(command), 0);
    o.lr = 1e-2;
    other = trainer("edm", &o);
    FAILS(cm_trainer_resume(other, in_dir("run"), NULL, 0), CM_ERR_ARGUMENT,
          "metric was \"default\", is unknown to this library");
    OK(cm_trainer_resume(other, in_dir("run"), NULL, 1));
    cm_trainer_free(other);
}
END_TEST

/* Each file says what it is; a bit that makes an E of an e in state.json is damage though the number is the same. */
START_TEST(files_of_a_checkpoint)
{
    static const struct {
        const char *name;
        int32_t kind;
        const char *first; /* what the names of its tensors begin with */
    } rows[] = {{"model.safetensors", CM_CHECKPOINT_MODEL, ""},
                {"ema-warmup-0.9999.safetensors", CM_CHECKPOINT_MODEL, ""},
                {"optimizer.safetensors", CM_CHECKPOINT_OPTIMIZER, "exp_avg"}};
    char path[300], command[400];
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o);
    OK(steps(t, 1, NULL));
    OK(cm_trainer_save(t, in_dir("kinds"), 2));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm_checkpoint *c;
        cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
        const char *name;
        snprintf(path, sizeof path, "%s/kinds/checkpoints/step-000000001/%s", dir, rows[i].name);
        if (access(path, F_OK) != 0) continue;
        OK(cm_checkpoint_open(NULL, path, NULL, &c));
        OK(cm_checkpoint_info_get(c, &info));
        ck_assert_msg(info.kind == rows[i].kind, "%s is of kind %d", rows[i].name, info.kind);
        OK(cm_checkpoint_tensor(c, 0, &name, NULL, NULL, NULL));
        ck_assert_msg(strncmp(name, rows[i].first, strlen(rows[i].first)) == 0, "%s has %s", rows[i].name, name);
        cm_checkpoint_free(c);
    }
    snprintf(command, sizeof command,
             "sed -i 's/\\([0-9]\\)e-/\\1E-/' %s/kinds/checkpoints/step-000000001/state.json", dir);
    ck_assert_int_eq(system(command), 0);
    FAILS(cm_trainer_resume(t, in_dir("kinds"), NULL, 0), CM_ERR_FORMAT, "not as it was written");
    cm_trainer_free(t);
}
END_TEST

/* LATEST says which checkpoint is the newest that was finished, whatever others lie beside it. */
START_TEST(latest_is_followed)
{
    char command[256];
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o);
    for (int i = 1; i < 4; i++) {
        OK(steps(t, i, NULL));
        OK(cm_trainer_save(t, in_dir("latest"), 0));
    }
    cm_trainer_free(t);
    snprintf(command, sizeof command, "echo step-000000002 > %s/latest/checkpoints/LATEST", dir);
    ck_assert_int_eq(system(command), 0);
    t = trainer("edm", &o);
    OK(cm_trainer_resume(t, in_dir("latest"), NULL, 0));
    ck_assert_int_eq(t->step, 2);
    cm_trainer_free(t);
}
END_TEST

/* Counts that no run has. */
/* Of a file of format 1, which has no hash of its own. */
START_TEST(counts_of_a_state)
{
    static const char *const changes[][2] = {
        {"\"step\": 2", "\"step\": -2"},          {"\"step\": 2", "\"step\": 9223372036854775807"},
        {"\"step\": 2", "\"step\": 2.5"},         {"\"images\": 24", "\"images\": -1"},
        {"\"updates\": 2", "\"updates\": \"2\""}, {"\"skipped\": 0", "\"skipped\": 4294967297"}};
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o);
    OK(steps(t, 2, NULL));
    OK(cm_trainer_save(t, in_dir("run"), 0));
    cm_trainer_free(t);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char command[512], word[32];
        snprintf(command, sizeof command,
                 "cd %s && rm -rf other && cp -r run other && sed -i 's/%s/%s/; s/\"format\": 2/\"format\": 1/' "
                 "other/checkpoints/step-000000002/state.json"
                 " && ! cmp -s run/checkpoints/step-000000002/state.json other/checkpoints/step-000000002/state.json",
                 dir, changes[i][0], changes[i][1]);
        ck_assert_int_eq(system(command), 0);
        snprintf(word, sizeof word, "'%.*s'", (int)strcspn(changes[i][0] + 1, "\""), changes[i][0] + 1);
        t = trainer("edm", &o);
        FAILS(cm_trainer_resume(t, in_dir("other"), NULL, 0), CM_ERR_FORMAT, word);
        cm_trainer_free(t);
    }
}
END_TEST

/* --- trouble that passes ------------------------------------------------------------------ */

static void write_set(const char *folder)
{
    static uint8_t pixels[SIDE * SIDE * CHANNELS];
    char path[300];
    ck_assert_int_eq(mkdir(folder, 0777), 0);
    for (int i = 0; i < 30; i++) {
        memset(pixels, 8 * i, sizeof pixels);
        snprintf(path, sizeof path, "%s/%s_%02d.png", folder, i % 3 == 0 ? "ape" : i % 3 == 1 ? "cat" : "dog", i);
        OK(write_picture(NULL, path, CHANNELS, SIDE, SIDE, pixels, 0, 0));
    }
}

static char set_path[60], set_away[60];

/* Takes the pictures away after step 3. */
static int32_t away_after_three(void *user, const cm_train_report *r)
{
    (void)user;
    if (r->step == 3) ck_assert_int_eq(rename(set_path, set_away), 0);
    return 0;
}

/* A drive that goes away stops the run; with the drive back it goes on as if nothing had been. */
START_TEST(trouble_with_data)
{
    cm_train_settings o = options("edm");
    cm_dataset_options d_o;
    cm_dataset *d;
    snprintf(set_path, sizeof set_path, "%s/set", dir);
    snprintf(set_away, sizeof set_away, "%s/away", dir);
    write_set(set_path);
    cm_dataset_options_init(&d_o, sizeof d_o);
    d_o.seed = 5;
    OK(cm_dataset_open(NULL, set_path, &d_o, &d));
    cm_trainer *a = trainer("edm", &o), *b = trainer("edm", &o);
    OK(cm_trainer_run(a, d, 8, NULL, NULL));
    FAILS(cm_trainer_run(b, d, 8, away_after_three, NULL), CM_ERR_IO, ".png");
    ck_assert(b->step >= 3 && b->step <= 5);
    FAILS(cm_trainer_run(b, d, 8, NULL, NULL), CM_ERR_IO, ".png");
    ck_assert_int_eq(rename(set_away, set_path), 0);
    OK(cm_trainer_run(b, d, 8, NULL, NULL));
    ck_assert(same_state(a, b));
    cm_trainer_free(a), cm_trainer_free(b);
    cm_dataset_free(d);
}
END_TEST

/* Root may read every file, so it becomes somebody else, to whom the test's directory is given first. */
static void give_to_nobody(void)
{
    enum { NOBODY = 65534 };
    char command[80];
    (void)snprintf(command, sizeof command, "chown -R %d %s", NOBODY, dir);
    if (system(command) == 0 && seteuid(NOBODY) != 0) ck_assert_int_eq(errno, EINVAL); /* no such user here */
}

/* A checkpoint that cannot be opened for now is not passed over for an older one; a missing file is damage. */
START_TEST(trouble_with_checkpoints)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o);
    struct rlimit before, none;
    char path[200];
    for (int i = 1; i <= 2; i++) {
        OK(steps(t, i, NULL));
        OK(cm_trainer_save(t, in_dir("held"), 0));
    }
    cm_trainer_free(t);
    t = trainer("edm", &o);
    OK(cm_trainer_resume(t, in_dir("held"), NULL, 0)); /* has the lock */
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0);
    close(lowest);
    none = before;
    none.rlim_cur = (rlim_t)lowest + 1; /* room to list the folder, none to read while it is listed */
    for (int k = 0; k < 2; k++, none.rlim_cur--) {
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        cm_status status = cm_trainer_resume(t, in_dir("held"), NULL, 0);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        ck_assert_msg(k == 0 ? status == CM_OK && t->step == 2 : status == CM_ERR_IO, "%d: %s", k, cm_last_message());
    }
    snprintf(path, sizeof path, "%s/held/checkpoints/step-000000002/model.safetensors", dir);
    ck_assert_int_eq(chmod(path, 0), 0);
    const uid_t user = geteuid();
    if (user == 0) give_to_nobody();
    if (geteuid() == 0) skipped("a file without permission: root may read it");
    else FAILS(cm_trainer_resume(t, in_dir("held"), NULL, 0), CM_ERR_IO, "Permission denied");
    ck_assert_int_eq(seteuid(user), 0);
    ck_assert_int_eq(remove(path), 0);
    OK(cm_trainer_resume(t, in_dir("held"), NULL, 0));
    ck_assert_int_eq(t->step, 1);
    cm_trainer_free(t);
}
END_TEST

/* --- names of classes ----------------------------------------------------------------------- */

static cm_dataset *open_data(const char *path)
{
    cm_dataset_options o;
    cm_dataset *d;
    cm_dataset_options_init(&o, sizeof o);
    o.seed = 5;
    OK(cm_dataset_open(NULL, path, &o, &d));
    return d;
}

static void rename_class(const char *folder, const char *from, const char *to)
{
    char a[300], b[300];
    for (int i = 0; i < 30; i++) {
        snprintf(a, sizeof a, "%s/%s_%02d.png", folder, from, i);
        snprintf(b, sizeof b, "%s/%s_%02d.png", folder, to, i);
        if (access(a, F_OK) == 0) ck_assert_int_eq(rename(a, b), 0);
    }
}

/* From the data set into the snapshots and every file of a checkpoint; another mapping is refused, by name. */
START_TEST(class_names)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o);
    cm_model *m;
    char set[100], run[100], path[300];
    int32_t label;
    snprintf(set, sizeof set, "%s/named", dir), snprintf(run, sizeof run, "%s/named-run", dir);
    write_set(set);
    cm_dataset *d = open_data(set);
    OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m));
    ck_assert_ptr_null(cm_model_class_name(m, 0));
    FAILS(cm_model_find_class(m, "cat", &label), CM_ERR_ARGUMENT, "have no names, give numbers 0..2");
    cm_model_free(m);
    OK(cm_trainer_run(t, d, 2, NULL, NULL));
    OK(cm_trainer_model(t, CM_WEIGHTS_EMA, 1, &m));
    ck_assert_str_eq(cm_model_class_name(m, 1), "cat");
    cm_model_free(m);
    OK(cm_trainer_save(t, run, 0));
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/checkpoints/step-000000002/%s", run, files[i]);
        OK(cm_model_load(NULL, path, NULL, &m));
        ck_assert_str_eq(cm_model_class_name(m, 0), "ape");
        ck_assert_str_eq(cm_model_class_name(m, 2), "dog");
        ck_assert_ptr_null(cm_model_class_name(m, 3));
        ck_assert_ptr_null(cm_model_class_name(m, -1));
        OK(cm_model_find_class(m, "dog", &label));
        ck_assert_int_eq(label, 2);
        OK(cm_model_find_class(m, "-1", &label));
        ck_assert_int_eq(label, -1);
        FAILS(cm_model_find_class(m, "Dgo", &label), CM_ERR_ARGUMENT,
              "no class 'Dgo' (did you mean 'dog'?); the model knows ape, cat, dog");
        FAILS(cm_model_find_class(m, "xyzzy", &label), CM_ERR_ARGUMENT, "no class 'xyzzy'; the model knows");
        FAILS(cm_model_find_class(m, "3", &label), CM_ERR_ARGUMENT, "no class 3: the model knows -1..2");
        FAILS(cm_model_find_class(m, "99999999999999999999999", &label), CM_ERR_ARGUMENT, "-1..2");
        FAILS(cm_model_find_class(m, "", &label), CM_ERR_ARGUMENT, "no class ''");
        OK(cm_model_save(m, in_dir("copy.safetensors"),
                         &(cm_save_options){.struct_size = sizeof(cm_save_options), .overwrite = 1}));
        cm_model_free(m);
        OK(cm_model_load(NULL, in_dir("copy.safetensors"), NULL, &m));
        ck_assert_str_eq(cm_model_class_name(m, 2), "dog");
        cm_model_free(m);
    }
    cm_trainer_free(t);
    /* a run that goes on without a data set keeps them, and refuses another mapping later */
    t = trainer("edm", &o);
    OK(cm_trainer_resume(t, run, NULL, 0));
    OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m));
    ck_assert_str_eq(cm_model_class_name(m, 1), "cat");
    cm_model_free(m);
    cm_dataset_free(d);
    rename_class(set, "cat", "cow");
    d = open_data(set);
    FAILS(cm_trainer_run(t, d, 3, NULL, NULL), CM_ERR_ARGUMENT, "class 1 was 'cat', is 'cow'");
    cm_trainer_free(t);
    t = trainer("edm", &o);
    FAILS(cm_trainer_resume(t, run, d, 0), CM_ERR_ARGUMENT, "other classes: class 1 was 'cat', is 'cow'");
    OK(cm_trainer_resume(t, run, d, 1));
    OK(cm_trainer_run(t, d, 3, NULL, NULL));
    OK(cm_trainer_model(t, CM_WEIGHTS_ONLINE, 0, &m));
    ck_assert_str_eq(cm_model_class_name(m, 1), "cow");
    cm_model_free(m);
    cm_trainer_free(t);
    cm_dataset_free(d);
}
END_TEST

/* What a file may say of names, and names in bytes that are no UTF-8. */
START_TEST(class_names_of_files)
{
    static const struct {
        const char *names, *word;
    } bad[] = {{"{}", "list"},
               {"\"cat\"", "list"},
               {"[\"a\", \"b\", \"c\", \"d\"]", "4 names, but the network knows 3"},
               {"[1]", "entry 0"},
               {"[\"a\", \"\"]", "entry 1"},
               {"[[\"a\"]]", "entry 0"}};
    static const char network[] =
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 8, \"img_channels\": 3, "
        "\"label_dim\": 3, \"model_channels\": 8, \"channel_mult\": [1], \"num_blocks\": 1, "
        "\"attn_resolutions\": []}, \"precond\": {\"type\": \"edm\"}, \"classes\": %s}";
    char text[700];
    cm_model *m;
    int32_t label;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, network, bad[i].names);
        FAILS(cm_model_create(NULL, text, 1, &m), CM_ERR_FORMAT, bad[i].word);
    }
    snprintf(text, sizeof text, network, "[\"2\", null, \"caf\\u00e9\"]");
    OK(cm_model_create(NULL, text, 1, &m));
    ck_assert_ptr_null(cm_model_class_name(m, 1));
    OK(cm_model_find_class(m, "caf\xc3\xa9", &label)); /* UTF-8 */
    ck_assert_int_eq(label, 2);
    OK(cm_model_find_class(m, "caf\xe9", &label)); /* Latin-1 */
    ck_assert_int_eq(label, 2);
    OK(cm_model_find_class(m, "2", &label)); /* a number, whatever a class is called */
    ck_assert_int_eq(label, 2);
    FAILS(cm_model_find_class(m, "7", &label), CM_ERR_ARGUMENT, "-1..2");
    cm_model_free(m);
    snprintf(text, sizeof text, network, "null");
    OK(cm_model_create(NULL, text, 1, &m));
    ck_assert_ptr_null(cm_model_class_name(m, 0));
    cm_model_free(m);
}
END_TEST

START_TEST(old_checkpoints_go)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o);
    char path[200];
    for (int i = 1; i <= 6; i++) {
        OK(steps(t, i, NULL));
        OK(cm_trainer_save(t, in_dir("kept"), 3));
    }
    for (int i = 1; i <= 6; i++) {
        snprintf(path, sizeof path, "%s/kept/checkpoints/step-%09d", dir, i);
        ck_assert_int_eq(access(path, F_OK) == 0, i > 3);
    }
    OK(cm_trainer_save(t, in_dir("kept"), 3)); /* the same step once more */
    cm_trainer_free(t);
}
END_TEST

START_TEST(snapshots)
{
    cm_train_settings o = options("ct");
    cm_trainer *t = trainer("ct", &o);
    cm_model *m;
    cm_model_info info;
    float images[2 * VALUES], again[2 * VALUES];
    OK(steps(t, 3, NULL));
    OK(cm_trainer_save(t, in_dir("snap"), 0));
    for (int which = 0; which < 3; which++) {
        static const char *const same[] = {"model", "ema-warmup-0.99", "target"};
        char path[256];
        cm_sampler *s;
        OK(cm_trainer_model(t, which, which == 1, &m));
        cm_model_info_init(&info, sizeof info);
        OK(cm_model_info_get(m, &info));
        ck_assert_str_eq(info.precond, "cm");
        ck_assert_ptr_nonnull(strstr(info.config_json, "\"objective\":\"ct\""));
        OK(cm_sampler_create(m, NULL, &s));
        OK(cm_sampler_run(s, NULL, 2, images));
        cm_sampler_free(s);
        cm_model_free(m);
        snprintf(path, sizeof path, "%s/snap/checkpoints/step-000000003/%s.safetensors", dir, same[which]);
        OK(cm_model_load(NULL, path, NULL, &m));
        OK(cm_sampler_create(m, NULL, &s));
        OK(cm_sampler_run(s, NULL, 2, again));
        ck_assert_mem_eq(images, again, sizeof images);
        cm_sampler_free(s);
        cm_model_free(m);
    }
    FAILS(cm_trainer_model(t, CM_WEIGHTS_EMA, 2, &m), CM_ERR_ARGUMENT, "average 2 of 2");
    cm_trainer_free(t);
}
END_TEST

/* More steps alone, where that is asked for. */
START_TEST(a_run_is_made_longer)
{
    cm_train_settings o = options("edm");
    cm_trainer *t = trainer("edm", &o);
    OK(steps(t, 3, NULL));
    OK(cm_trainer_save(t, in_dir("longer"), 2));
    cm_trainer_free(t);
    o.steps = 40;
    t = trainer("edm", &o);
    FAILS(cm_trainer_resume(t, in_dir("longer"), NULL, CM_RESUME_SAME), CM_ERR_ARGUMENT,
          "other options: steps was 20, is 40");
    OK(cm_trainer_resume(t, in_dir("longer"), NULL, CM_RESUME_MORE_STEPS));
    cm_trainer_free(t);
    o.lr = 0.5;
    t = trainer("edm", &o);
    FAILS(cm_trainer_resume(t, in_dir("longer"), NULL, CM_RESUME_MORE_STEPS), CM_ERR_ARGUMENT, "lr was 0.01, is 0.5");
    cm_trainer_free(t);
    o = options("edm");
    o.steps = 10;
    t = trainer("edm", &o);
    FAILS(cm_trainer_resume(t, in_dir("longer"), NULL, CM_RESUME_MORE_STEPS), CM_ERR_ARGUMENT, "steps was 20, is 10");
    FAILS(cm_trainer_resume(t, in_dir("longer"), NULL, 3), CM_ERR_ARGUMENT, "0..2");
    cm_trainer_free(t);
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("train_state");
    TCase *t = tcase_create("state");
    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, resume_is_exact, 0, 3 * OBJECTIVES);
    tcase_add_test(t, damage_is_found);
    tcase_add_test(t, checkpoints_refused);
    tcase_add_test(t, counts_of_a_state);
    tcase_add_test(t, files_of_a_checkpoint);
    tcase_add_test(t, latest_is_followed);
    tcase_add_test(t, trouble_with_data);
    tcase_add_test(t, trouble_with_checkpoints);
    tcase_add_test(t, other_averages);
    tcase_add_test(t, class_names);
    tcase_add_test(t, class_names_of_files);
    tcase_add_test(t, old_checkpoints_go);
    tcase_add_test(t, snapshots);
    tcase_add_test(t, a_run_is_made_longer);
    suite_add_tcase(s, t);
    return s;
}
