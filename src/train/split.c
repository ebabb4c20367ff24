/* split.c - see the header. */
#include "train/split.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 16, CHUNK = 1 << 20 }; /* floats: parts begin at whole lines; what is sent at a time by all ranks */
enum { MOST_PARTS = 9999 };

/* --- parts -------------------------------------------------------------------------- */

static size_t part_size(size_t floats, size_t ranks)
{
    const size_t part = (floats + ranks - 1) / ranks;
    return (part + LINE - 1) / LINE * LINE;
}

void cmi_split_part(size_t floats, size_t rank, size_t ranks, size_t *begin, size_t *end)
{
    const size_t part = part_size(floats, ranks);
    *begin = rank * part < floats ? rank * part : floats;
    *end = floats - *begin < part ? floats : *begin + part;
}

cm_status cmi_split_find(cm_trainer *t, size_t floats)
{
    const size_t ranks = cmi_peers_count(&t->peers);
    size_t first;
    t->held_begin = 0, t->held_end = floats;
    if (!cmi_split(t)) return CM_OK;
    cmi_split_part(floats, ranks - 1, ranks, &first, &t->held_end);
    if (first >= floats || ranks > MOST_PARTS)
        CM_FAIL(CM_ERR_ARGUMENT, "split_state: %zu processes are too many for the %zu values of this network", ranks,
                floats);
    cmi_split_part(floats, (size_t)t->peers.group.rank, ranks, &t->held_begin, &t->held_end);
    return CM_OK;
}

/* --- messages ------------------------------------------------------------------------ */

/* Values of a part that are sent at a time. */
static size_t chunk_of(size_t part, size_t ranks)
{
    const size_t chunk = CHUNK / ranks > LINE ? CHUNK / ranks : LINE;
    return chunk < part ? chunk : part;
}

/* What lies in a block from `at` of a rank's part on. */
static size_t there(size_t floats, size_t rank, size_t ranks, size_t at, size_t chunk, size_t *first)
{
    size_t begin, end;
    cmi_split_part(floats, rank, ranks, &begin, &end);
    *first = begin + at < end ? begin + at : end;
    return end - *first < chunk ? end - *first : chunk;
}

size_t cmi_split_messages(const cm_trainer *t, size_t floats)
{
    const size_t ranks = cmi_peers_count(&t->peers);
    return cmi_split(t) ? chunk_of(part_size(floats, ranks), ranks) * (ranks + 1) : 0;
}

cm_status cmi_split_gather(cm_trainer *t, const float *held, float *block, const char *what)
{
    const size_t floats = t->learner->floats, ranks = cmi_peers_count(&t->peers), part = part_size(floats, ranks);
    const size_t chunk = chunk_of(part, ranks);
    cm_status status = CM_OK;
    size_t first;
    float *mine = t->messages, *all = mine + chunk;
    for (size_t at = 0; at < part && status == CM_OK; at += chunk) {
        const size_t own = there(floats, (size_t)t->peers.group.rank, ranks, at, chunk, &first);
        memcpy(mine, held + (first - t->held_begin), own * sizeof *mine);
        status = cmi_peers_gather(&t->peers, mine, chunk * sizeof *mine, all, what);
        for (size_t r = 0; r < ranks && status == CM_OK; r++) {
            const size_t n = there(floats, r, ranks, at, chunk, &first);
            memcpy(block + first, all + r * chunk, n * sizeof *block);
        }
    }
    return status;
}

cm_status cmi_split_any(cm_trainer *t, int mine, const char *what, int *any)
{
    const size_t ranks = cmi_peers_count(&t->peers);
    unsigned char *byte = (unsigned char *)t->messages, *all = byte + 1;
    *byte = mine != 0;
    CM_TRY(cmi_peers_gather(&t->peers, byte, 1, all, what));
    *any = 0;
    for (size_t r = 0; r < ranks; r++) *any |= all[r];
    return CM_OK;
}

static cm_status spread(cm_trainer *t, const float *block, float *held)
{
    const size_t floats = t->learner->floats;
    cm_status status = CM_OK;
    float *chunk = cmi_malloc(t->context, CHUNK, sizeof *chunk);
    if (!chunk) return CM_ERR_MEMORY;
    for (size_t at = 0; at < floats && status == CM_OK; at += CHUNK) {
        const size_t n = floats - at < CHUNK ? floats - at : CHUNK, end = at + n;
        const size_t begin = at > t->held_begin ? at : t->held_begin, until = end < t->held_end ? end : t->held_end;
        if (block) memcpy(chunk, block + at, n * sizeof *chunk);
        status = cmi_peers_broadcast(&t->peers, chunk, n * sizeof *chunk, "the checkpoint");
        if (status == CM_OK && begin < until)
            memcpy(held + (begin - t->held_begin), chunk + (begin - at), (until - begin) * sizeof *held);
    }
    cmi_free(t->context, chunk);
    return status;
}

cm_status cmi_split_spread(cm_trainer *t, const cm_state_part *part, float *block, float *second)
{
    CM_TRY(spread(t, block, part->block));
    return part->second ? spread(t, second, part->second) : CM_OK;
}

/* --- files --------------------------------------------------------------------------- */

enum { NAME = 80, MOST_VECTORS = CM_MAX_EMAS + 2 };

static void name_of(size_t rank, size_t parts, char name[NAME])
{
    (void)snprintf(name, NAME, "part-%04zu-of-%04zu.safetensors", rank, parts);
}

/* The blocks of a part: "ema-0.9" of an average's file, the moments of the optimizer's. */
static int vectors_of(const cm_state_part *part, char names[2][NAME], float *blocks[2])
{
    blocks[0] = part->block, blocks[1] = part->second;
    if (part->second) {
        (void)snprintf(names[0], NAME, "exp_avg");
        (void)snprintf(names[1], NAME, "exp_avg_sq");
        return 2;
    }
    (void)snprintf(names[0], NAME, "%.*s", (int)(strlen(part->name) - strlen(".safetensors")), part->name);
    return 1;
}

static cm_status write_own(cm_trainer *t, const char *path)
{
    cm_state_part parts[CM_STATE_FILES];
    cm_tensor tensors[MOST_VECTORS];
    char names[MOST_VECTORS + 1][NAME];
    float *blocks[MOST_VECTORS + 1];
    const int n_parts = cmi_state_parts(t, parts);
    size_t n = 0;
    for (int i = 0; i < n_parts; i++)
        if (parts[i].is_split) n += (size_t)vectors_of(&parts[i], &names[n], &blocks[n]);
    for (size_t i = 0; i < n; i++) tensors[i] = cmi_state_vector(names[i], blocks[i], t->held_end - t->held_begin);
    return cmi_checkpoint_write(t->context, path, 1, NULL, tensors, n, NULL);
}

/* What a rank says of the file that it has written. */
typedef struct {
    uint64_t bytes;
    char hash[40];
} record;

static cm_status add_files(cm_trainer *t, const record *all, json_t *files)
{
    const size_t ranks = cmi_peers_count(&t->peers);
    for (size_t r = 0; r < ranks; r++) {
        char name[NAME];
        name_of(r, ranks, name);
        json_t *entry = json_pack("{s:I, s:s}", "bytes", (json_int_t)all[r].bytes, "xxh3_128", all[r].hash);
        if (json_object_set_new(files, name, entry) != 0) CM_FAIL(CM_ERR_MEMORY, "out of memory: state");
    }
    return CM_OK;
}

static cm_status write_part(cm_trainer *t, const char *directory, record *mine)
{
    char path[CM_STATE_PATH], name[NAME], hash[33];
    size_t size = 0;
    name_of((size_t)t->peers.group.rank, cmi_peers_count(&t->peers), name);
    CM_TRY(cmi_state_path(path, directory, name));
    CM_TRY(write_own(t, path));
    CM_TRY(cmi_state_hash(t->context, path, &size, hash));
    mine->bytes = size;
    memcpy(mine->hash, hash, sizeof hash);
    return CM_OK;
}

cm_status cmi_split_write(cm_trainer *t, const char *directory, json_t *files)
{
    char *where = NULL;
    record mine = {0, ""};
    if (!cmi_split(t)) return CM_OK;
    CM_TRY(cmi_peers_text(t->context, &t->peers, directory, "the checkpoint", &where));
    record *all = cmi_calloc(t->context, cmi_peers_count(&t->peers), sizeof *all);
    cm_status status = all ? write_part(t, where, &mine) : CM_ERR_MEMORY;
    if (status == CM_OK) status = cmi_peers_gather(&t->peers, &mine, sizeof mine, all, "the checkpoint");
    if (status == CM_OK && files) status = add_files(t, all, files);
    cmi_free(t->context, where);
    cmi_free(t->context, all);
    return status;
}

cm_status cmi_split_written(cm_trainer *t)
{
    int32_t whole = 1;
    return cmi_split(t) ? cmi_peers_broadcast(&t->peers, &whole, sizeof whole, "the checkpoint") : CM_OK;
}

static cm_status read_vectors(cm_trainer *t, const char *path, const cm_state_part *part, size_t begin, size_t end)
{
    cm_tensors file;
    char names[2][NAME];
    float *blocks[2];
    cm_status status = CM_OK;
    const int n = vectors_of(part, names, blocks);
    CM_TRY(cmi_tensors_open_file(t->context, path, CM_INPUT_FETCHED, &file));
    for (int i = 0; i < n && status == CM_OK; i++) {
        const cm_tensor *s = cmi_tensors_find(&file, names[i]);
        if (!s || s->type != CM_TENSOR_F32 || s->count != end - begin)
            status = cmi_fail(CM_ERR_SHAPE, "%s: tensor '%s' is %s; this run's network has %zu values there", path,
                              names[i], s ? "of another size" : "missing", end - begin);
        else status = cmi_tensor_fetch(s, blocks[i] + begin);
    }
    cmi_tensors_close(&file);
    return status;
}

cm_status cmi_split_read(cm_trainer *t, const char *directory, int64_t parts, const cm_state_part *part)
{
    for (size_t r = 0; r < (size_t)parts; r++) {
        char path[CM_STATE_PATH], name[NAME];
        size_t begin, end;
        name_of(r, (size_t)parts, name);
        CM_TRY(cmi_state_path(path, directory, name));
        cmi_split_part(t->learner->floats, r, (size_t)parts, &begin, &end);
        CM_TRY(read_vectors(t, path, part, begin, end));
    }
    return CM_OK;
}
