/* together.c - see the header. */
#include "train/together.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/json.h"
#include "io/json_tree.h"
#include "train/split.h"

/* --- descriptions ------------------------------------------------------------------ */

enum { DIFFERENCE = 400 };

/* Fails on every rank with the words of the first that has any; there as an argument of its own. */
static cm_status agree(cm_trainer *t, const char *what, const char mine[DIFFERENCE])
{
    const int32_t ranks = t->peers.group.size;
    char(*all)[DIFFERENCE] = cmi_calloc(t->context, (size_t)ranks, sizeof *all);
    if (!all) return CM_ERR_MEMORY;
    cm_status status = cmi_peers_gather(&t->peers, mine, DIFFERENCE, all, what);
    for (int32_t r = 0; r < ranks && status == CM_OK; r++)
        if (all[r][0])
            status = cmi_fail(r == t->peers.group.rank ? CM_ERR_ARGUMENT : CM_ERR_PEER,
                              "rank %d of %d has other %s than rank 0: %.*s", r, ranks, what, DIFFERENCE - 1, all[r]);
    cmi_free(t->context, all);
    return status;
}

/* A description, a flat object, compared with rank 0's; it is given up. */
static cm_status compare(cm_trainer *t, const char *what, json_t *mine)
{
    char difference[DIFFERENCE] = "", *theirs = NULL;
    json_t *first = NULL;
    char *text = mine ? cmi_json_print(mine, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    cm_status status = text ? CM_OK : cmi_fail(CM_ERR_MEMORY, "out of memory: %s", what);
    if (status == CM_OK) status = cmi_peers_text(t->context, &t->peers, text, what, &theirs);
    if (status == CM_OK) status = cmi_json_tree(what, theirs, strlen(theirs), &first);
    if (status == CM_OK) {
        cmi_state_differences(first, mine, difference, sizeof difference);
        status = agree(t, what, difference);
    }
    cmi_free(t->context, theirs);
    free(text);
    json_decref(first);
    json_decref(mine);
    return status;
}

static int put_hash(json_t *object, const char *key, XXH64_hash_t hash)
{
    char text[20];
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    return json_object_set_new(object, key, json_string(text));
}

static cm_status hash_of_model(cm_context *context, const cm_model *m, XXH64_hash_t *hash)
{
    size_t *offsets = cmi_calloc(context, (size_t)m->graph->n_params, sizeof *offsets);
    if (!offsets) return CM_ERR_MEMORY;
    const size_t floats = cmi_param_offsets(m->graph, offsets);
    cmi_free(context, offsets);
    float *values = cmi_calloc(context, floats, sizeof *values);
    if (!values) return CM_ERR_MEMORY;
    cm_status status = cmi_model_values(m, values);
    if (status == CM_OK) *hash = XXH3_64bits(values, floats * sizeof *values);
    cmi_free(context, values);
    return status;
}

/* What decides the bits of a step beside the data.  The layout of gradients follows from the kind of processor. */
static json_t *describe(const cm_trainer *t, XXH64_hash_t teacher)
{
    const cm_learner *l = t->learner;
    json_t *all = cmi_settings_json(&t->o, 1);
    int failed = !all;
    if (failed) return NULL;
    failed |= json_object_set_new(all, "library", json_string(cm_version()));
    /* They decide no bits, but what the ranks say to each other. */
    failed |= json_object_set_new(all, "compare_every", json_integer((json_int_t)t->o.compare_every));
    failed |= json_object_set_new(all, "split_state", json_integer(t->o.split_state));
    failed |= json_object_set_new(all, "processes", json_integer(t->peers.group.size));
    failed |= json_object_set_new(all, "kernels of processor level", json_integer(cmi_context_cpu_level(t->context)));
    failed |= json_object_set_new(all, "floats of a gradient",
                                  json_integer((json_int_t)cmi_plan_gradient_floats(l->train_plan)));
    failed |= json_object_set(all, "network", json_object_get(t->config, "network"));
    failed |= json_object_set(all, "precond", json_object_get(t->config, "precond"));
    failed |= put_hash(all, "hash of the weights", XXH3_64bits(l->online.values, l->floats * sizeof(float)));
    failed |= put_hash(all, "hash of the teacher", teacher);
    if (!failed) return all;
    json_decref(all);
    return NULL;
}

cm_status cmi_together_begin(cm_trainer *t)
{
    XXH64_hash_t teacher = 0;
    if (cmi_peers_alone(&t->peers)) return CM_OK;
    if (t->teacher) CM_TRY(hash_of_model(t->context, t->teacher, &teacher));
    return compare(t, "options", describe(t, teacher));
}

cm_status cmi_together_compare_data(cm_trainer *t)
{
    return cmi_peers_alone(&t->peers) ? CM_OK : compare(t, "data", cmi_json_copy(t->dataset));
}

/* --- states ------------------------------------------------------------------------- */

typedef cm_status (*use_block)(cm_trainer *t, void *user, void *bytes, size_t n);

/* Everything that a checkpoint holds and every rank has, block by block, in the same order on every rank. */
static cm_status each_block(cm_trainer *t, use_block use, void *user)
{
    cm_state_part parts[CM_STATE_FILES];
    cm_learner *l = t->learner;
    const size_t bytes = l->floats * sizeof(float), few = (size_t)l->weighing.size * sizeof(float);
    const int n = cmi_state_parts(t, parts);
    for (int i = 0; i < n; i++) {
        if (parts[i].is_split) continue;
        if (parts[i].block) CM_TRY(use(t, user, parts[i].block, bytes));
        if (parts[i].second) CM_TRY(use(t, user, parts[i].second, bytes));
    }
    if (!few) return CM_OK;
    CM_TRY(use(t, user, l->weighing.values, few));
    CM_TRY(use(t, user, t->weighing_m, few));
    return use(t, user, t->weighing_v, few);
}

static cm_status hash_block(cm_trainer *t, void *user, void *bytes, size_t n)
{
    XXH64_hash_t *hash = user;
    (void)t;
    *hash = XXH3_64bits_withSeed(bytes, n, *hash);
    return CM_OK;
}

/* How many ranks have the hash of rank r. */
static int32_t count_same(const uint64_t *all, int32_t ranks, int32_t r)
{
    int32_t same = 0;
    for (int32_t i = 0; i < ranks; i++) same += all[i] == all[r];
    return same;
}

/* The ranks that are not with the most; of two camps of one size that of the smaller rank is right. */
static cm_status name_different(const cm_trainer *t, const uint64_t *all, int32_t ranks)
{
    char text[300] = "";
    int32_t right = 0;
    for (int32_t r = 1; r < ranks; r++)
        if (count_same(all, ranks, r) > count_same(all, ranks, right)) right = r;
    for (int32_t r = 0; r < ranks && strlen(text) + 20 < sizeof text; r++)
        if (all[r] != all[right])
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", *text ? ", " : "", r);
    if (!*text) return CM_OK;
    CM_FAIL(CM_ERR_PEER,
            "after step %lld the weights, averages or moments of rank %s are not those of rank %d: a fault of that "
            "machine, or another build there; the last checkpoint before it is good",
            (long long)t->step, text, right);
}

cm_status cmi_together_compare_state(cm_trainer *t)
{
    const int32_t ranks = t->peers.group.size;
    uint64_t mine = (uint64_t)t->step;
    if (cmi_peers_alone(&t->peers)) return CM_OK;
    uint64_t *all = cmi_calloc(t->context, (size_t)ranks, sizeof *all);
    cm_status status = all ? each_block(t, hash_block, &mine) : CM_ERR_MEMORY;
    if (status == CM_OK)
        status = cmi_peers_gather(&t->peers, &mine, sizeof mine, all, "the comparison of the weights");
    if (status == CM_OK) status = name_different(t, all, ranks);
    cmi_free(t->context, all);
    return status;
}

static cm_status send_block(cm_trainer *t, void *user, void *bytes, size_t n)
{
    (void)user;
    return cmi_peers_broadcast(&t->peers, bytes, n, "the checkpoint");
}

static void take_counts(cm_trainer *t, const json_t *state)
{
    t->step = json_integer_value(json_object_get(state, "step"));
    t->images = (uint64_t)json_integer_value(json_object_get(state, "images"));
    t->updates = json_integer_value(json_object_get(state, "updates"));
    t->skipped = (int32_t)json_integer_value(json_object_get(state, "skipped"));
    t->last_scales = (int32_t)json_integer_value(json_object_get(state, "last_scales"));
}

static cm_status adopt(cm_trainer *t, json_t *state)
{
    take_counts(t, state);
    CM_TRY(each_block(t, send_block, NULL));
    if (t->peers.group.rank == 0) return CM_OK; /* it has read them */
    CM_TRY(cmi_trainer_refresh(t));
    return cmi_trainer_adopt_names(t, json_object_get(state, "config"));
}

cm_status cmi_together_adopt(cm_trainer *t)
{
    char *theirs = NULL;
    json_t *state = NULL;
    if (cmi_peers_alone(&t->peers)) return CM_OK;
    json_t *mine = json_pack("{s:I, s:I, s:I, s:i, s:i, s:O}", "step", (json_int_t)t->step, "images",
                             (json_int_t)t->images, "updates", (json_int_t)t->updates, "skipped", t->skipped,
                             "last_scales", t->last_scales, "config", t->config);
    char *text = mine ? cmi_json_print(mine, JSON_COMPACT) : NULL;
    cm_status status = text ? CM_OK : cmi_fail(CM_ERR_MEMORY, "out of memory: state");
    if (status == CM_OK) status = cmi_peers_text(t->context, &t->peers, text, "the checkpoint", &theirs);
    if (status == CM_OK) status = cmi_json_tree("the checkpoint of rank 0", theirs, strlen(theirs), &state);
    if (status == CM_OK) status = adopt(t, state);
    json_decref(state);
    json_decref(mine);
    free(text);
    cmi_free(t->context, theirs);
    return status;
}
