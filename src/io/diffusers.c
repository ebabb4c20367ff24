/* diffusers.c - a folder that the library diffusers has written, as a list of tensors: that of a pipeline
 * (model_index.json, unet, scheduler) or its folder unet alone (networks D).
 *
 * What the three JSON files say becomes the metadata of a native file, and the tensors get ADM's names; queries, keys
 * and values, which are three tensors there, are joined when they are read.  A network of diffusers that ADM is not
 * is listed under its own names, with the reason why it cannot be run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/diffusers_config.h"
#include "io/diffusers_files.h"
#include "io/directory.h"
#include "io/recast.h"

enum { TEXTS = 3, SPELLING = CM_DIFFUSERS_NAME + 8 };

typedef struct {
    cm_diffusers_files files;
    cm_diffusers_config config;
    cm_diffusers_names names;
    char *texts[TEXTS];          /* of the configuration, from jansson       */
    char (*spellings)[SPELLING]; /* ADM's names with suffixes, one a tensor */
    cm_recast *recasts;          /* of joined tensors, by their offset       */
    size_t *joined, n_recasts;   /* where they are among the tensors         */
    int per_head;                /* queries, keys and values of each head together */
    char about[128], assumed[160], grid[24];
    char reason[512]; /* why it cannot be run, or "" */
    int is_pipeline;
} state;

/* --- configuration ---------------------------------------------------------------------------- */

/* Reads a JSON file below the folder and hands it to `then`. */
static cm_status with_json(const cm_tensors *t, const char *folder, const char *name,
                           cm_status (*then)(const char *path, const json_t *json, state *s))
{
    json_t *json = NULL;
    char *path = cmi_path_join(t->context, folder, name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_diffusers_read_json(t->context, path, &json);
    if (status == CM_OK) status = then(path, json, t->state);
    json_decref(json);
    cmi_free(t->context, path);
    return status;
}

static cm_status take_index(const char *path, const json_t *json, state *s)
{
    (void)s;
    return cmi_diffusers_read_index(path, json);
}

static cm_status take_unet(const char *path, const json_t *json, state *s)
{
    return cmi_diffusers_read_unet(path, json, &s->config);
}

static cm_status take_scheduler(const char *path, const json_t *json, state *s)
{
    return cmi_diffusers_read_scheduler(path, json, &s->config);
}

static cm_status read_scheduler(const cm_tensors *t)
{
    state *s = t->state;
    if (!s->is_pipeline) return cmi_diffusers_read_scheduler("", NULL, &s->config);
    char *folder = cmi_path_join(t->context, t->input.name, CM_DIFFUSERS_SCHEDULER);
    if (!folder) return CM_ERR_MEMORY;
    cm_status status = with_json(t, folder, CM_DIFFUSERS_SCHEDULER_CONFIG, take_scheduler);
    cmi_free(t->context, folder);
    return status;
}

static cm_status read_config(const cm_tensors *t, const char *unet)
{
    state *s = t->state;
    if (s->is_pipeline) CM_TRY(with_json(t, t->input.name, CM_DIFFUSERS_INDEX, take_index));
    CM_TRY(with_json(t, unet, CM_DIFFUSERS_CONFIG, take_unet));
    return read_scheduler(t);
}

static cm_status add_json(cm_tensors *t, const char *key, const json_t *value, char **text)
{
    *text = cmi_json_print(value, JSON_COMPACT);
    if (!*text) CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    return cmi_tensors_add_metadata(t, key, *text);
}

static cm_status add_config(cm_tensors *t)
{
    state *s = t->state;
    const cm_diffusers_config *c = &s->config;
    (void)snprintf(s->about, sizeof s->about,
                   s->is_pipeline ? "a %s of diffusers" : "a %s of diffusers, without its pipeline",
                   s->is_pipeline ? CM_DIFFUSERS_PIPELINE_CLASS : CM_DIFFUSERS_UNET_CLASS);
    (void)snprintf(s->assumed, sizeof s->assumed, "%s%s%s",
                   s->is_pipeline ? "" : "precond cm with sigma 0.002 to 80 and sigma_data 0.5",
                   !s->is_pipeline && c->assumed_size ? ", " : "",
                   c->assumed_size ? "images of 8 x 2^(levels - 1) pixels a side" : "");
    (void)snprintf(s->grid, sizeof s->grid, "%lld", (long long)c->grid);
    if (json_object_set_new(c->network, "attention_layout", json_string(s->per_head ? "per_head" : "qkv")) != 0)
        CM_FAIL(CM_ERR_MEMORY, "out of memory: configuration");
    CM_TRY(add_json(t, "consistency.network", c->network, &s->texts[0]));
    CM_TRY(add_json(t, "consistency.precond", c->precond, &s->texts[1]));
    CM_TRY(add_json(t, "consistency.image", c->image, &s->texts[2]));
    CM_TRY(cmi_tensors_add_metadata(t, CM_NOTE_ABOUT, s->about));
    if (s->assumed[0]) CM_TRY(cmi_tensors_add_metadata(t, CM_NOTE_ASSUMED, s->assumed));
    if (c->grid) CM_TRY(cmi_tensors_add_metadata(t, CM_NOTE_GRID, s->grid));
    return CM_OK;
}

/* Members that our writer puts into the files of the weights, since no JSON file of diffusers has a place for them.
 */
static cm_status add_own_members(cm_tensors *t)
{
    static const char *const keys[] = {"consistency.classes", "consistency.training", "consistency.sampling"};
    state *s = t->state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = cmi_tensors_metadata(&s->files.shards[0], keys[i]);
        if (value) CM_TRY(cmi_tensors_add_metadata(t, keys[i], value));
    }
    const char *layout = cmi_tensors_metadata(&s->files.shards[0], CM_DIFFUSERS_ATTENTION);
    s->per_head = layout && strcmp(layout, "per_head") == 0;
    return CM_OK;
}

/* --- tensors ------------------------------------------------------------------------------------ */

static cm_status add_as_it_is(cm_tensors *t, const char *name, const cm_tensor *of)
{
    cm_tensor *tensor;
    CM_TRY(cmi_tensors_add(t, name, &tensor));
    *tensor = *of; /* and who reads it: its own file */
    tensor->name = name;
    return CM_OK;
}

/* [C, C] to [C, C, 1, 1], as ADM's convolutions have it. */
static void to_convolution(cm_tensor *t)
{
    if (t->rank != 2) return;
    t->rank = 4;
    t->shape[2] = t->shape[3] = 1;
}

static int is_attention(const cm_diffusers_name *name)
{
    const char *last = strrchr(name->adm, '.');
    return name->part >= 0 || (last && strcmp(last, ".proj_out") == 0);
}

/* One of the three that are joined: the tensor comes with the first of them. */
static cm_status add_part(cm_tensors *t, const cm_diffusers_name *name, const cm_tensor *of, char *spelling)
{
    state *s = t->state;
    cm_tensor *tensor = NULL;
    for (size_t i = s->n_recasts; i-- > 0 && !tensor;)
        if (strcmp(t->tensors[s->joined[i]].name, spelling) == 0) tensor = &t->tensors[s->joined[i]];
    if (!tensor) {
        CM_TRY(cmi_tensors_add(t, spelling, &tensor));
        tensor->offset = s->n_recasts;
        s->joined[s->n_recasts++] = t->count - 1;
    }
    if (s->recasts[tensor->offset].of[name->part])
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s' is there twice, under an old name and a new one", t->input.name,
                of->name);
    s->recasts[tensor->offset].of[name->part] = of;
    return CM_OK;
}

static cm_status add_tensor(cm_tensors *t, const cm_tensor *of, char spelling[SPELLING])
{
    state *s = t->state;
    const char *suffix;
    const cm_diffusers_name *name = cmi_diffusers_names_find(&s->names, 0, of->name, &suffix);
    if (!name) return add_as_it_is(t, of->name, of); /* the network will say that it is too much */
    (void)snprintf(spelling, SPELLING, "%s%s", name->adm, suffix);
    if (name->part >= 0) return add_part(t, name, of, spelling);
    CM_TRY(add_as_it_is(t, spelling, of));
    if (is_attention(name)) to_convolution(&t->tensors[t->count - 1]);
    return CM_OK;
}

static int same_kind(const cm_tensor *a, const cm_tensor *b)
{
    return a->type == b->type && a->rank == b->rank &&
           memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0;
}

/* In how many pieces each of the three lies in the whole. */
static size_t blocks_of(const state *s, int64_t channels)
{
    int64_t head = json_integer_value(json_object_get(s->config.network, "num_head_channels"));
    return s->per_head && head > 0 && channels % head == 0 && channels ? (size_t)(channels / head) : 1;
}

/* The type and shape of three tensors that are now all known. */
static cm_status join(const cm_tensors *t, cm_tensor *tensor)
{
    static const char *const parts[] = {"to_q", "to_k", "to_v"};
    const state *s = t->state;
    cm_recast *r = &s->recasts[tensor->offset];
    const cm_tensor *first = r->of[0];
    for (int i = 0; i < CM_RECAST_PARTS; i++)
        if (!r->of[i])
            CM_FAIL(CM_ERR_SHAPE, "%s: attention '%s' of diffusers lacks its %s", t->input.name, tensor->name,
                    parts[i]);
    for (int i = 1; i < CM_RECAST_PARTS; i++)
        if (!same_kind(first, r->of[i]))
            CM_FAIL(CM_ERR_SHAPE,
                    "%s: '%s' and '%s' differ in shape or type, so they cannot be those of one attention",
                    t->input.name, first->name, r->of[i]->name);
    tensor->type = first->type;
    tensor->rank = first->rank;
    memcpy(tensor->shape, first->shape, sizeof first->shape);
    if (first->rank < 1 || first->shape[0] > INT64_MAX / CM_RECAST_PARTS)
        CM_FAIL(CM_ERR_SHAPE, "%s: '%s' is not of a shape that attention has", t->input.name, first->name);
    r->blocks = blocks_of(s, first->shape[0]);
    tensor->shape[0] *= CM_RECAST_PARTS;
    to_convolution(tensor);
    if (!cmi_tensor_measure(tensor))
        CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s': the shape's product overflows", t->input.name, first->name);
    return CM_OK;
}

static cm_status reserve(cm_tensors *t, size_t *count)
{
    state *s = t->state;
    *count = 0;
    for (size_t i = 0; i < s->files.count; i++) *count += s->files.shards[i].count;
    s->spellings = cmi_calloc(t->context, *count + 1, sizeof *s->spellings);
    s->recasts = cmi_calloc(t->context, *count + 1, sizeof *s->recasts);
    s->joined = cmi_calloc(t->context, *count + 1, sizeof *s->joined);
    return s->spellings && s->recasts && s->joined ? CM_OK : CM_ERR_MEMORY;
}

static cm_status list_tensors(cm_tensors *t)
{
    state *s = t->state;
    size_t count, at = 0;
    CM_TRY(reserve(t, &count));
    if (!s->reason[0]) CM_TRY(cmi_diffusers_names_make(t->context, &s->config.layout, 0, &s->names));
    for (size_t i = 0; i < s->files.count; i++)
        for (size_t k = 0; k < s->files.shards[i].count; k++)
            CM_TRY(add_tensor(t, &s->files.shards[i].tensors[k], s->spellings[at++]));
    for (size_t i = 0; i < s->n_recasts; i++) CM_TRY(join(t, &t->tensors[s->joined[i]]));
    return CM_OK;
}

/* --- the row -------------------------------------------------------------------------------------- */

/* A valid folder of diffusers that this library has no network for is data all the same. */
static cm_status understand(cm_tensors *t, const char *unet)
{
    state *s = t->state;
    cm_status status = read_config(t, unet);
    if (status != CM_ERR_UNSUPPORTED) return status;
    (void)snprintf(s->reason, sizeof s->reason, "%s", cm_last_message());
    return cmi_tensors_add_metadata(t, CM_NOTE_UNSUPPORTED, s->reason);
}

static void count_checksums(cm_tensors *t)
{
    const state *s = t->state;
    for (size_t i = 0; i < s->files.count; i++) {
        t->checksums += s->files.shards[i].checksums;
        t->without_checksum += s->files.shards[i].without_checksum;
    }
}

static cm_status open_unet(cm_tensors *t, const char *unet)
{
    state *s = t->state;
    CM_TRY(understand(t, unet));
    CM_TRY(cmi_diffusers_files_open(&t->input, unet, &s->files));
    if (s->files.variant[0]) CM_TRY(cmi_tensors_add_metadata(t, "weights", s->files.variant));
    CM_TRY(add_own_members(t));
    if (!s->reason[0]) CM_TRY(add_config(t));
    count_checksums(t);
    return list_tensors(t);
}

/* Without memory of the context: recognising cannot say that there is none. */
static cm_status look_for(const cm_input *in, const char *name, int *found)
{
    char path[4096];
    cm_path_kind kind;
    const int n = snprintf(path, sizeof path, "%s/%s", in->name, name);
    *found = n > 0 && (size_t)n < sizeof path;
    if (!*found) return CM_OK;
    CM_TRY(cmi_path_look(path, &kind));
    *found = kind == CM_PATH_FILE;
    return CM_OK;
}

static cm_status open_tensors(cm_tensors *t)
{
    state *s = t->state = cmi_calloc(t->context, 1, sizeof *s);
    if (!s) return CM_ERR_MEMORY;
    CM_TRY(look_for(&t->input, CM_DIFFUSERS_INDEX, &s->is_pipeline));
    if (!s->is_pipeline) return open_unet(t, t->input.name);
    char *unet = cmi_path_join(t->context, t->input.name, CM_DIFFUSERS_UNET);
    if (!unet) return CM_ERR_MEMORY;
    cm_status status = open_unet(t, unet);
    cmi_free(t->context, unet);
    return status;
}

static int recognise(const cm_input *in, const unsigned char *first, size_t n)
{
    (void)first;
    (void)n;
    if (!in->is_folder) return 0;
    /* What cannot be looked at may be one: opening it says why not. */
    static const char *const names[] = {CM_DIFFUSERS_INDEX, CM_DIFFUSERS_CONFIG};
    for (int i = 0, found; i < 2; i++)
        if (look_for(in, names[i], &found) != CM_OK || found) return 1;
    return 0;
}

static cm_status read_joined(const cm_tensor *tensor, void *out)
{
    const state *s = tensor->from->state;
    return cmi_recast_read(tensor, &s->recasts[tensor->offset], out);
}

static void close_tensors(cm_tensors *t)
{
    state *s = t->state;
    if (!s) return;
    cmi_diffusers_files_close(t->context, &s->files);
    cmi_diffusers_config_release(&s->config);
    cmi_diffusers_names_free(&s->names);
    for (int i = 0; i < TEXTS; i++) free(s->texts[i]);
    cmi_free(t->context, s->spellings);
    cmi_free(t->context, s->recasts);
    cmi_free(t->context, s->joined);
    cmi_free(t->context, s);
}

static void forget_joined(const cm_tensor *tensor)
{
    const state *s = tensor->from->state;
    for (int p = 0; p < CM_RECAST_PARTS; p++) cmi_tensor_forget(s->recasts[tensor->offset].of[p]);
}

const cm_tensor_format cmi_format_diffusers = {.name = "diffusers",
                                               .recognise = recognise,
                                               .open = open_tensors,
                                               .read = read_joined,
                                               .close = close_tensors,
                                               .forget = forget_joined,
                                               .has_sets = 1};
