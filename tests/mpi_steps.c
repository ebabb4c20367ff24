/* mpi_steps.c - mpi_steps PLUGIN|none STEPS SHARDS|FILE [OBJECTIVE...]: steps of each objective (none given: of all)
 * by the processes that mpirun has started.  With a number it is micro_shards, and rank 0 prints of each a hash of
 * everything that a checkpoint holds, and the last loss.  With a file there are none, steps are of plain descent, and
 * rank 0 appends the weights to the file, so that those of other numbers of processes can be compared. */
#include "support/suite.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "../plugins/consistency_mpi.h"
#include "support/trainers.h"
#include "train/state.h"

enum { IMAGES = 16 };

/* What suite.c has for programs of Check. */
void assertion_held(const char *file, int line)
{
    (void)file, (void)line;
}
uint64_t seeded(uint64_t own)
{
    return own;
}

static cm_mpi_close_fn close_group;

static int open_group(const char *path, cm_group *group)
{
    char text[300];
    cm_mpi_open_fn open;
    void *plugin = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    void *found[2] = {plugin ? dlsym(plugin, "cm_mpi_open") : NULL, plugin ? dlsym(plugin, "cm_mpi_close") : NULL};
    if (!found[0] || !found[1]) return fprintf(stderr, "mpi_steps: %s\n", dlerror()), 0;
    memcpy(&open, &found[0], sizeof open);
    memcpy(&close_group, &found[1], sizeof close_group);
    if (open(NULL, group, text, sizeof text) == CM_OK) return 1;
    return fprintf(stderr, "mpi_steps: %s\n", text), 0;
}

static cm_train_settings settings_of(const char *objective, int32_t shards)
{
    cm_train_settings o = options(objective);
    o.batch = IMAGES;
    o.threads = 1;
    o.micro_shards = shards;
    if (!shards) o.optimizer = CM_OPTIMIZER_SGD;
    if (strcmp(objective, "cmt") == 0) o.cmt_nfe = 2, o.cmt_order = 2, o.microbatch = 2;
    if (strcmp(objective, "sct") == 0) (void)cmi_settings_set(&o, "weight_net", "fourier");
    return o;
}

static uint64_t hash_of(cm_trainer *t)
{
    cm_state_part parts[CM_STATE_FILES];
    const size_t bytes = t->learner->floats * sizeof(float);
    const int n = cmi_state_parts(t, parts);
    XXH64_hash_t hash = 0;
    for (int i = 0; i < n; i++) {
        if (parts[i].block) hash = XXH3_64bits_withSeed(parts[i].block, bytes, hash);
        if (parts[i].second) hash = XXH3_64bits_withSeed(parts[i].second, bytes, hash);
    }
    return XXH3_64bits_withSeed(t->learner->weighing.values, (size_t)t->learner->weighing.size * sizeof(float), hash);
}

static int put_weights(const cm_trainer *t, const char *path)
{
    FILE *file = fopen(path, "ab");
    const size_t n = t->learner->floats;
    const int well = file && fwrite(t->learner->online.values, sizeof(float), n, file) == n;
    return (file ? fclose(file) == 0 : 0) && well;
}

static int run(const cm_group *group, const char *objective, int64_t steps, const char *how)
{
    static float images[IMAGES * VALUES];
    int32_t labels[IMAGES];
    const cm_train_settings o = settings_of(objective, atoi(how));
    cm_trainer *t = NULL;
    cm_train_report r;
    cm_status status = open_trainer_in(group, NULL, objective, &o, &t);
    cm_train_report_init(&r, sizeof r);
    while (status == CM_OK && t->step < steps) {
        uint64_t state = 91 + (uint64_t)t->step;
        for (size_t i = 0; i < IMAGES; i++) labels[i] = (int32_t)(state + i) % CLASSES;
        for (size_t i = 0; i < IMAGES * VALUES; i++) images[i] = 0.5f * random_float(&state);
        status = step_of(t, cmi_trainer_batch(t), images, labels, &r);
    }
    int well = status == CM_OK;
    if (!well) fprintf(stderr, "mpi_steps: %s: %s\n", objective, cm_last_message());
    if (well && (!group || group->rank == 0)) {
        if (o.micro_shards) printf("%s %016llx %.17g\n", objective, (unsigned long long)hash_of(t), r.loss);
        else {
            well = put_weights(t, how);
            printf("%s %zu\n", objective, t->learner->floats);
        }
    }
    cm_trainer_free(t);
    return well;
}

int main(int argc, char **argv)
{
    cm_group group = CM_GROUP_INIT;
    int well = 1;
    if (argc < 4) return 2;
    const int several = strcmp(argv[1], "none") != 0;
    if (several && !open_group(argv[1], &group)) return 1;
    const cm_group *all = several ? &group : NULL;
    for (int i = 4; i < argc && well; i++) well = run(all, argv[i], atoll(argv[2]), argv[3]);
    for (size_t i = 0; argc == 4 && i < OBJECTIVES && well; i++) well = run(all, names[i], atoll(argv[2]), argv[3]);
    fflush(stdout);
    if (several) close_group(&group, well);
    return !well;
}
