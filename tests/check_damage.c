/* Files of every format that is read, cut short and with bytes changed: each copy opens or is refused with a message,
 * every value of one that opens can be read, and neither takes more memory than 16 times the file and 16 MiB.
 * CHECKPOINTS=FOLDER tries the files there in place of those of the tree. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "support/suite.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/files.h"
#include "support/memory.h"

enum { CUTS = 512, CUT_STEP = 64, STRUCTURE = 4096, NAME = 1024, MOST_FILES = 256 };

static char made[] = "/tmp/check_damage.made.XXXXXX"; /* has a folder of diffusers */

/* Where files are looked for; NULL past the last place. */
static const char *folder(int place)
{
    const char *const of_the_tree[] = {"tests/data/golden/checkpoints", "tests/fuzz/corpus/edm", made};
    const char *given = getenv("CHECKPOINTS");
    if (given) return place == 0 ? given : NULL;
    return place < 3 ? of_the_tree[place] : NULL;
}

/* --- one copy ------------------------------------------------------------------------------ */

static void read_values(const cm_checkpoint *file)
{
    cm_checkpoint_info info = CM_CHECKPOINT_INFO_INIT;
    cm_checkpoint_report report = CM_CHECKPOINT_REPORT_INIT;
    OK(cm_checkpoint_info_get(file, &info));
    ck_assert_ptr_nonnull(info.about);
    ck_assert((info.kind == CM_CHECKPOINT_MODEL) == (info.problem == NULL));
    OK(cm_checkpoint_check(file, NULL, &report));
    ck_assert_uint_eq(report.bytes, info.tensor_bytes);
    for (size_t i = 0; i < info.notes; i++) {
        const char *key, *value;
        OK(cm_checkpoint_note(file, i, &key, &value));
        ck_assert(strlen(key) + strlen(value) < 1u << 30);
    }
    for (size_t i = 0; i < info.sets; i++) ck_assert_ptr_nonnull(cm_checkpoint_set_name(file, i));
    for (size_t i = 0; i < info.tensors; i++) {
        int64_t shape[8], n = 1;
        int32_t rank;
        OK(cm_checkpoint_tensor(file, i, NULL, &rank, shape, NULL));
        for (int k = 0; k < rank; k++) n *= shape[k];
        float *values = malloc(((size_t)n + 1) * sizeof *values);
        (void)cm_checkpoint_read_f32(file, i, (size_t)n, values); /* a tensor may be found broken when it is read */
        free(values);
    }
}

static void judge(const char *what, cm_status status)
{
    ck_assert_msg(status == CM_OK || status == CM_ERR_FORMAT || status == CM_ERR_LIMIT || status == CM_ERR_IO ||
                      status == CM_ERR_UNSUPPORTED || status == CM_ERR_SHAPE || status == CM_ERR_ARGUMENT,
                  "%s: %s: %s", what, cm_status_name(status), cm_last_message());
    ck_assert_msg(status == CM_OK || strlen(cm_last_message()) > 20, "%s: '%s'", what, cm_last_message());
}

/* From memory, or where bytes are NULL from the path; `size` is that of the file or of all files of the folder. */
static void try_copy(const char *what, const unsigned char *bytes, const char *path, size_t size)
{
    memory counted;
    cm_context *context;
    cm_checkpoint *file;
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &context));
    unsigned char *exact = bytes ? malloc(size) : NULL; /* so that tools see what is read past its end */
    if (exact) memcpy(exact, bytes, size);
    const cm_status status = exact ? cm_checkpoint_open_memory(context, exact, size, NULL, &file)
                                   : cm_checkpoint_open(context, path, NULL, &file);
    judge(what, status);
    if (status == CM_OK) read_values(file);
    cm_checkpoint_free(file);
    cm_context_free(context);
    free(exact);
    ck_assert_msg(!counted.live, "%s: %ld blocks are left", what, counted.live);
    ck_assert_msg(counted.peak <= 16 * (long long)size + (16 << 20), "%s: %lld bytes", what, counted.peak);
}

/* --- all copies of one ---------------------------------------------------------------------- */

/* A file; `within` is the folder that it is a part of, which is opened in its place, or NULL. */
typedef struct {
    const char *path, *within;
    unsigned char *bytes;
    size_t size, whole; /* of the folder */
    uint64_t state;
    long copies;
} victim;

static void put(victim *v, const char *what, size_t size)
{
    v->copies++;
    if (v->within) {
        write_bytes(v->path, v->bytes, size);
        try_copy(what, NULL, v->within, v->whole);
    } else if (size) {
        try_copy(what, v->bytes, NULL, size);
    }
}

static void cut(victim *v)
{
    char what[NAME];
    for (size_t n = 0; n < v->size; n += n < CUTS ? 1 : 1 + v->size / CUT_STEP) {
        snprintf(what, sizeof what, "%s cut at %zu", v->path, n);
        put(v, what, n);
    }
}

/* Three of four where the lists of most formats stand: at the beginning or the end. */
static void change(victim *v, int count)
{
    const int most = (int)v->size - 1, near = v->size < STRUCTURE ? most : STRUCTURE - 1;
    char what[NAME];
    for (int i = 0; i < count && most >= 0; i++) {
        int at = random_int(&v->state, 0, i % 4 == 3 ? most : near);
        if (i % 4 == 2) at = most - at;
        const unsigned char before = v->bytes[at];
        v->bytes[at] ^= (unsigned char)random_int(&v->state, 1, 255);
        snprintf(what, sizeof what, "%s with byte %d as %u", v->path, at, v->bytes[at]);
        put(v, what, v->size);
        v->bytes[at] = before;
    }
}

static long damage(const char *path, const char *within, size_t whole, int count)
{
    victim v = {.path = path, .within = within, .whole = whole, .state = seeded(7)};
    v.bytes = read_bytes(path, &v.size);
    cut(&v);
    change(&v, count);
    if (within) write_bytes(path, v.bytes, v.size);
    free(v.bytes);
    return v.copies;
}

/* --- files and folders ---------------------------------------------------------------------- */

/* What files of one format have in common here: the last ending, "legacy" of PyTorch's older files, "/" of folders.
 */
static const char *kind_of(const char *path)
{
    struct stat s;
    const char *name = strrchr(path, '/') + 1, *dot = strrchr(name, '.');
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) return "/";
    return strstr(name, "legacy") ? "legacy" : dot ? dot : name;
}

static char *paths[MOST_FILES];
static size_t n_paths, whole;

static int keep(const char *path, const struct stat *s, int type, struct FTW *place)
{
    (void)place;
    if (type != FTW_F || n_paths == MOST_FILES) return 0;
    paths[n_paths++] = strdup(path);
    whole += (size_t)s->st_size;
    return 0;
}

/* The files of a copy of the folder, one after the other. */
static long damage_folder(const char *path, int count)
{
    char copy[] = "/tmp/check_damage.XXXXXX", command[NAME];
    long copies = 0;
    ck_assert_ptr_nonnull(mkdtemp(copy));
    snprintf(command, sizeof command, "cp -r '%s'/. '%s'", path, copy);
    ck_assert_int_eq(system(command), 0);
    n_paths = whole = 0;
    ck_assert_int_eq(nftw(copy, keep, 16, FTW_PHYS), 0);
    ck_assert_uint_gt(n_paths, 0);
    for (size_t i = 0; i < n_paths; i++) {
        copies += damage(paths[i], copy, whole, count / (int)n_paths + 1);
        free(paths[i]);
    }
    snprintf(command, sizeof command, "rm -r '%s'", copy);
    ck_assert_int_eq(system(command), 0);
    return copies;
}

/* The files to be read of that kind in all places; returns how many. */
static size_t find(const char *kind, char names[MOST_FILES][NAME])
{
    size_t n = 0;
    for (int i = 0; folder(i); i++) {
        DIR *d = opendir(folder(i));
        ck_assert_ptr_nonnull(d);
        for (struct dirent *e; (e = readdir(d)) != NULL && n < MOST_FILES;) {
            if (e->d_name[0] == '.' || strncmp(e->d_name, "h_", 2) == 0) continue;
            snprintf(names[n], NAME, "%s/%s", folder(i), e->d_name);
            n += strcmp(kind_of(names[n]), kind) == 0;
        }
        closedir(d);
    }
    return n;
}

static void make_folder(void)
{
    const char *config =
        "{\"network\": {\"type\": \"adm\", \"image_size\": 16, \"in_channels\": 3, \"out_channels\": 3, "
        "\"model_channels\": 32, \"num_res_blocks\": 1, \"channel_mult\": [1, 2], \"num_head_channels\": 16, "
        "\"attention_resolutions\": [2], \"num_classes\": 5, \"use_scale_shift_norm\": true, "
        "\"resblock_updown\": true}, \"precond\": {\"type\": \"cm\"}}";
    char path[NAME];
    cm_model *model;
    cm_save_options o = CM_SAVE_OPTIONS_INIT;
    o.format = CM_MODEL_DIFFUSERS;
    ck_assert_ptr_nonnull(mkdtemp(made));
    snprintf(path, sizeof path, "%s/folder", made);
    OK(cm_model_create(NULL, config, 1, &model));
    OK(cm_model_save(model, path, &o));
    cm_model_free(model);
}

static void remove_folder(void)
{
    char command[NAME];
    snprintf(command, sizeof command, "rm -r '%s'", made);
    ck_assert_int_eq(system(command), 0);
}

static void damage_kind(const char *kind)
{
    static char names[MOST_FILES][NAME];
    const size_t n = find(kind, names);
    long copies = 0;
    if (!n) skipped("there are no %s in %s", kind, folder(0));
    for (size_t i = 0; i < n; i++) {
        const int count = by_effort(40, 400, 10000) / (int)n + 1;
        copies += *kind == '/' ? damage_folder(names[i], count) : damage(names[i], NULL, 0, count);
    }
    printf("damage: %zu %s, %ld copies\n", n, kind, copies);
}

START_TEST(safetensors)
{
    damage_kind(".safetensors");
}
END_TEST

START_TEST(torch)
{
    damage_kind(".pt");
}
END_TEST

START_TEST(torch_legacy)
{
    damage_kind("legacy");
}
END_TEST

START_TEST(edm)
{
    damage_kind(".pkl");
}
END_TEST

START_TEST(flax)
{
    damage_kind(".msgpack");
}
END_TEST

START_TEST(diffusers)
{
    damage_kind("/");
}
END_TEST

Suite *make_suite(void)
{
    Suite *suite = suite_create("damage");
    TCase *c = tcase_create("damage");
    tcase_set_timeout(c, 3600);
    tcase_add_unchecked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, safetensors);
    tcase_add_test(c, torch);
    tcase_add_test(c, torch_legacy);
    tcase_add_test(c, edm);
    tcase_add_test(c, flax);
    tcase_add_test(c, diffusers);
    suite_add_tcase(suite, c);
    return suite;
}
