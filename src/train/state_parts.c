/* state_parts.c - the files of a checkpoint, their tensors, hashes and paths. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/json.h"
#include "train/split.h"

int cmi_state_parts(cm_trainer *t, cm_state_part *parts)
{
    const int split = cmi_split(t);
    int n = 0;
    parts[n++] = (cm_state_part){"model.safetensors", t->learner->online.values, NULL, 1, 0, 0};
    for (int i = 0; i < t->o.ema.count; i++) {
        char average[48];
        cmi_average_label(&t->o.ema.rates[i], average, sizeof average);
        parts[n] = (cm_state_part){"", t->ema[i], NULL, 2 + i, 0, split};
        (void)snprintf(parts[n++].name, sizeof parts[0].name, "ema-%s.safetensors", average);
    }
    if (t->learner->target.values)
        parts[n++] = (cm_state_part){"target.safetensors", t->learner->target.values, NULL, 1, 0, 0};
    if (t->learner->teacher_set.values)
        parts[n++] = (cm_state_part){"teacher.safetensors", t->learner->teacher_set.values, NULL, 1, 0, 0};
    if (t->m) parts[n++] = (cm_state_part){"optimizer.safetensors", t->m, t->v, 0, 0, split};
    if (t->learner->weighing.size) parts[n++] = (cm_state_part){"weight-net.safetensors", NULL, NULL, 0, 1, 0};
    return n;
}

cm_status cmi_state_path(char *out, const char *a, const char *b)
{
    if ((size_t)snprintf(out, CM_STATE_PATH, "%s/%s", a, b) >= CM_STATE_PATH)
        CM_FAIL(CM_ERR_ARGUMENT, "the path '%.200s...' is too long", a);
    return CM_OK;
}

int cmi_state_is_step(const char *name)
{
    return strncmp(name, "step-", 5) == 0 && strspn(name + 5, "0123456789") == strlen(name + 5) && name[5];
}

cm_status cmi_state_lock(cm_trainer *t, const char *run)
{
    char path[CM_STATE_PATH];
    CM_TRY(cmi_state_path(path, run, ".lock"));
    return cmi_locks_take(&t->locks, path);
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
        tensors[n] = cmi_checkpoint_describe(p, names[n], block + l->offsets[i]);
        n++;
    }
    return n;
}

cm_tensor cmi_state_vector(const char *name, float *values, size_t n)
{
    cm_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.name = name;
    tensor.type = CM_TENSOR_F32;
    tensor.rank = 1;
    tensor.shape[0] = (int64_t)n;
    tensor.count = n;
    tensor.bytes = n * sizeof *values;
    tensor.data = (unsigned char *)values;
    return tensor;
}

static cm_status use_weighing(cm_trainer *t, cm_state_use use, const char *path)
{
    const size_t n = (size_t)t->learner->weighing.size;
    const cm_tensor tensors[] = {cmi_state_vector("values", t->learner->weighing.values, n),
                                 cmi_state_vector("exp_avg", t->weighing_m, n),
                                 cmi_state_vector("exp_avg_sq", t->weighing_v, n)};
    return use(t, path, tensors, sizeof tensors / sizeof *tensors, 0);
}

cm_status cmi_state_tensors(cm_trainer *t, const cm_state_part *f, cm_state_use use, const char *path)
{
    if (f->is_weighing) return use_weighing(t, use, path);
    size_t most = 2 * (size_t)t->learner->graph->n_params;
    cm_tensor *tensors = cmi_calloc(t->context, most, sizeof *tensors);
    char(*names)[160] = cmi_calloc(t->context, most, sizeof *names);
    cm_status status = tensors && names ? CM_OK : CM_ERR_MEMORY;
    if (status == CM_OK) {
        size_t n = describe(t, f->block, f->is_model ? "" : "exp_avg.", tensors, names);
        if (f->second) n += describe(t, f->second, "exp_avg_sq.", tensors + n, names + n);
        status = use(t, path, tensors, n, f->is_model);
    }
    cmi_free(t->context, tensors);
    cmi_free(t->context, names);
    return status;
}

/* --- hashes ---------------------------------------------------------------------------- */

static void hash_text(XXH128_hash_t h, char text[33])
{
    (void)snprintf(text, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

char *cmi_state_text(const json_t *state)
{
    return cmi_json_print(state, JSON_INDENT(1) | JSON_SORT_KEYS);
}

/* Of the shortest text: a number comes back from its digits as it was. */
cm_status cmi_state_own_hash(const json_t *state, char text[33])
{
    json_t *rest = cmi_json_copy(state);
    if (rest) (void)json_object_del(rest, CM_STATE_HASH);
    char *members = rest ? cmi_json_print(rest, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (members) hash_text(XXH3_128bits(members, strlen(members)), text);
    free(members);
    json_decref(rest);
    if (!members) CM_FAIL(CM_ERR_MEMORY, "out of memory: the hash of a state");
    return CM_OK;
}

static cm_status hash_blocks(XXH3_state_t *state, const cm_file_reader *r, unsigned char *block, size_t size)
{
    (void)XXH3_128bits_reset(state);
    for (size_t at = 0; at < r->size; at += size) {
        size_t n = r->size - at < size ? r->size - at : size;
        CM_TRY(cmi_file_reader_read(r, at, block, n));
        (void)XXH3_128bits_update(state, block, n);
    }
    return CM_OK;
}

cm_status cmi_state_hash(cm_context *context, const char *path, size_t *size, char text[33])
{
    enum { BLOCK = 1 << 20 };
    cm_file_reader r;
    cm_path_kind kind;
    CM_TRY(cmi_path_look(path, &kind));
    if (kind == CM_PATH_MISSING) CM_FAIL(CM_ERR_FORMAT, "%s: is missing", path);
    CM_TRY(cmi_file_reader_open(context, path, &r));
    unsigned char *block = cmi_malloc(context, BLOCK, 1);
    XXH3_state_t *state = block ? XXH3_createState() : NULL;
    cm_status status = block ? CM_OK : CM_ERR_MEMORY;
    if (block && !state) status = cmi_fail(CM_ERR_MEMORY, "out of memory: the hash of '%s'", path);
    if (status == CM_OK) status = hash_blocks(state, &r, block, BLOCK);
    if (status == CM_OK) {
        *size = r.size;
        hash_text(XXH3_128bits_digest(state), text);
    }
    (void)XXH3_freeState(state);
    cmi_free(context, block);
    cmi_file_reader_close(&r);
    return status;
}
