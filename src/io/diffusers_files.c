/* diffusers_files.c - see the header. */
#include "io/diffusers_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/directory.h"
#include "io/json_tree.h"

static const cm_tensor_format *const inside[] = {&cmi_format_safetensors, &cmi_format_torch_zip,
                                                 &cmi_format_torch_legacy, NULL};

cm_status cmi_diffusers_read_json(cm_context *context, const char *path, json_t **out)
{
    unsigned char *text;
    size_t size;
    *out = NULL;
    CM_TRY(cmi_file_read(context, path, CM_JSON_TEXT, &text, &size));
    cm_status status = cmi_json_tree(path, (const char *)text, size, out);
    cmi_free(context, text);
    return status;
}

/* --- which file it is ----------------------------------------------------------------------- */

typedef struct {
    const char *plain, *variant; /* the second with %s for its name */
    int is_index;
} candidate;

/* The first that is there is taken, as diffusers does. */
static const candidate candidates[] = {
    {CM_DIFFUSERS_WEIGHTS ".safetensors", CM_DIFFUSERS_WEIGHTS ".%s.safetensors", 0},
    {CM_DIFFUSERS_WEIGHTS ".safetensors.index.json", CM_DIFFUSERS_WEIGHTS ".safetensors.index.%s.json", 1},
    {CM_DIFFUSERS_WEIGHTS ".bin", CM_DIFFUSERS_WEIGHTS ".%s.bin", 0},
    {CM_DIFFUSERS_WEIGHTS ".bin.index.json", CM_DIFFUSERS_WEIGHTS ".bin.index.%s.json", 1},
};

static void name_of(const candidate *c, const char *variant, char name[192])
{
    if (!variant[0]) {
        (void)snprintf(name, 192, "%s", c->plain);
        return;
    }
    const char *at = strstr(c->variant, "%s");
    (void)snprintf(name, 192, "%.*s%.63s%s", (int)(at - c->variant), c->variant, variant, at + 2);
}

static cm_status find_weights(cm_context *context, const char *folder, const char *variant, char name[192],
                              int *is_index, int *found)
{
    *found = 0;
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates && !*found; i++) {
        name_of(&candidates[i], variant, name);
        char *path = cmi_path_join(context, folder, name);
        if (!path) return CM_ERR_MEMORY;
        cm_path_kind kind;
        const cm_status status = cmi_path_look(path, &kind);
        *found = status == CM_OK && kind == CM_PATH_FILE;
        *is_index = candidates[i].is_index;
        cmi_free(context, path);
        if (status != CM_OK) return status;
    }
    return CM_OK;
}

/* The variant in the name of a file: what stands between two parts of one of the candidates. */
static int variant_of(const char *name, char variant[64])
{
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        const char *pattern = candidates[i].variant, *at = strstr(pattern, "%s");
        size_t before = (size_t)(at - pattern), behind = strlen(at + 2), n = strlen(name);
        if (n <= before + behind || n - before - behind > 63 || strncmp(name, pattern, before) != 0 ||
            strcmp(name + n - behind, at + 2) != 0)
            continue;
        (void)snprintf(variant, 64, "%.*s", (int)(n - before - behind), name + before);
        if (!strchr(variant, '.') && !strchr(variant, '-')) return 1;
    }
    return 0;
}

/* Where there is no plain one: the only variant. */
static cm_status only_variant(cm_context *context, const char *folder, char variant[64])
{
    cm_names names;
    char one[64];
    cm_status status = CM_OK;
    CM_TRY(cmi_directory_list(context, folder, &names));
    for (size_t i = 0; i < names.count && status == CM_OK; i++) {
        if (!variant_of(names.name[i], one)) continue;
        if (variant[0] && strcmp(variant, one) != 0)
            status = cmi_fail(CM_ERR_FORMAT,
                              "%s: it holds several variants of the weights, '%s' and '%s': say which "
                              "(option 'weights')",
                              folder, variant, one);
        memcpy(variant, one, sizeof one);
    }
    cmi_names_free(&names);
    return status;
}

static cm_status choose(const cm_input *whole, const char *folder, cm_diffusers_files *f, char name[192],
                        int *is_index)
{
    int found = 0;
    const char *wanted = whole->weights ? whole->weights : "";
    if (strlen(wanted) > 63 || strpbrk(wanted, "/\\.") || (whole->weights && !*wanted))
        CM_FAIL(CM_ERR_ARGUMENT, "%s: weights is '%.64s', which is no name of a variant", folder, wanted);
    (void)snprintf(f->variant, sizeof f->variant, "%s", wanted);
    CM_TRY(find_weights(whole->context, folder, f->variant, name, is_index, &found));
    if (!found && !whole->weights) {
        CM_TRY(only_variant(whole->context, folder, f->variant));
        if (f->variant[0]) CM_TRY(find_weights(whole->context, folder, f->variant, name, is_index, &found));
    }
    if (found) return CM_OK;
    if (whole->weights)
        CM_FAIL(CM_ERR_ARGUMENT,
                "%s: there are no weights '%.64s': no file " CM_DIFFUSERS_WEIGHTS ".%.63s.safetensors", folder,
                wanted, wanted);
    CM_FAIL(CM_ERR_IO,
            "cannot read '%s': it has no file " CM_DIFFUSERS_WEIGHTS ".safetensors, none that ends in .bin "
            "instead and no index of several",
            folder);
}

/* --- shards --------------------------------------------------------------------------------- */

static int32_t report_part(void *user, uint64_t done, uint64_t total)
{
    const cm_diffusers_files *f = user;
    (void)total;
    return f->report(f->report_user, f->before + done, f->total);
}

/* The name of a file beside the index and nothing else. */
static cm_status check_name(const char *what, const char *key, const json_t *value)
{
    const char *name = json_string_value(value);
    if (!name) CM_FAIL(CM_ERR_FORMAT, "%s: weight_map: the entry of '%.64s' is not the name of a file", what, key);
    if (!*name || name[0] == '.' || strlen(name) > 255 || strpbrk(name, "/\\"))
        CM_FAIL(CM_ERR_FORMAT,
                "%s: weight_map: '%.64s' lies in '%.128s', which is not the name of a file beside the index", what,
                key, name);
    return CM_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files of an index, each once and in the order of their names; borrowed from it. */
static cm_status list_shards(cm_context *context, const char *what, const json_t *index, const char ***out,
                             size_t *count)
{
    json_t *map = json_object_get(index, "weight_map"), *value;
    const char *key;
    size_t n = 0;
    *count = 0;
    if (!json_is_object(map)) CM_FAIL(CM_ERR_FORMAT, "%s: weight_map is missing or not an object", what);
    *out = cmi_calloc(context, json_object_size(map) + 1, sizeof **out);
    if (!*out) return CM_ERR_MEMORY;
    json_object_foreach(map, key, value)
    {
        CM_TRY(check_name(what, key, value));
        (*out)[n++] = json_string_value(value);
    }
    qsort(*out, n, sizeof **out, by_text);
    for (size_t i = 0; i < n; i++)
        if (!i || strcmp((*out)[*count - 1], (*out)[i]) != 0) (*out)[(*count)++] = (*out)[i];
    if (!*count) CM_FAIL(CM_ERR_FORMAT, "%s: weight_map is empty", what);
    if (*count > CM_DIFFUSERS_SHARDS)
        CM_FAIL(CM_ERR_LIMIT, "%s: %zu files of weights are over the limit of %d", what, *count, CM_DIFFUSERS_SHARDS);
    return CM_OK;
}

static cm_status begin_shard(const cm_input *whole, const char *folder, const char *name, cm_input *out)
{
    char *path = cmi_path_join(whole->context, folder, name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_input_file(whole->context, path, whole->access, out);
    if (status == CM_OK && out->is_folder) {
        status = cmi_fail(CM_ERR_IO, "cannot read '%s': not a regular file", path);
        cmi_input_close(out);
    }
    cmi_free(whole->context, path);
    return status;
}

/* Sizes first, so that progress knows the whole. */
static cm_status begin_shards(cm_input *whole, const char *folder, const char *const *names, cm_input *inputs,
                              cm_diffusers_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        CM_TRY(begin_shard(whole, folder, names[i], &inputs[i]));
        inputs[i].as_data = whole->as_data;
        if (!cmi_add_size(whole->size, inputs[i].size, &whole->size))
            CM_FAIL(CM_ERR_LIMIT, "%s: its files are too large", folder);
    }
    whole->work = whole->access == CM_INPUT_COPIED ? 2 * (uint64_t)whole->size : whole->size;
    f->report = whole->report;
    f->report_user = whole->report_user;
    f->total = whole->work;
    return CM_OK;
}

static cm_status open_shards(cm_input *inputs, cm_diffusers_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        size_t size = inputs[i].size;
        if (f->report) {
            inputs[i].report = report_part;
            inputs[i].report_user = f;
        }
        CM_TRY(cmi_tensors_open_as(inside, &inputs[i], &f->shards[i]));
        f->opened++;
        f->shards[i].input.report = NULL;
        f->before += size;
    }
    return CM_OK;
}

static cm_status open_files(cm_input *whole, const char *folder, const char *const *names, cm_diffusers_files *f)
{
    cm_context *context = whole->context;
    cm_input *inputs = cmi_calloc(context, f->count, sizeof *inputs);
    f->shards = cmi_calloc(context, f->count, sizeof *f->shards);
    cm_status status = inputs && f->shards ? begin_shards(whole, folder, names, inputs, f) : CM_ERR_MEMORY;
    if (status == CM_OK) status = open_shards(inputs, f);
    for (size_t i = 0; inputs && i < f->count; i++)
        cmi_input_close(&inputs[i]); /* those that nobody has taken over */
    cmi_free(context, inputs);
    return status;
}

/* --- an index beside its shards --------------------------------------------------------------- */

static size_t shard_of(const char *const *names, size_t count, const char *name)
{
    const char *const *at = bsearch(&name, names, count, sizeof *names, by_text);
    return (size_t)(at - names); /* list_shards has it from the same index */
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const cm_tensor *const *)a)->name, (*(const cm_tensor *const *)b)->name);
}

/* Each tensor of the index is in the file that it names, and there are no others. */
static cm_status check_map(const char *what, const json_t *index, const char *const *names,
                           const cm_diffusers_files *f, const cm_tensor **order, size_t n)
{
    json_t *map = json_object_get(index, "weight_map"), *value;
    const char *key;
    qsort(order, n, sizeof *order, by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(order[i - 1]->name, order[i]->name) == 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s' is in two files", what, order[i]->name);
    json_object_foreach(map, key, value)
    {
        const cm_tensor wanted = {.name = key}, *pointer = &wanted;
        const char *file = json_string_value(value);
        const cm_tensor **found = bsearch(&pointer, order, n, sizeof *order, by_name);
        if (!found || (*found)->from != &f->shards[shard_of(names, f->count, file)])
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%.128s' is not in the file %.128s that weight_map names", what, key,
                    file);
    }
    for (size_t i = 0; i < n; i++)
        if (!json_object_get(map, order[i]->name))
            CM_FAIL(CM_ERR_FORMAT, "%s: tensor '%s' is in a file, but not in weight_map", what, order[i]->name);
    return CM_OK;
}

static cm_status check_index(cm_context *context, const char *what, const json_t *index, const char *const *names,
                             const cm_diffusers_files *f)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < f->count; i++) n += f->shards[i].count;
    const cm_tensor **order = cmi_calloc(context, n + 1, sizeof *order);
    if (!order) return CM_ERR_MEMORY;
    for (size_t i = 0; i < f->count; i++)
        for (size_t k = 0; k < f->shards[i].count; k++) order[at++] = &f->shards[i].tensors[k];
    cm_status status = check_map(what, index, names, f, order, n);
    cmi_free(context, order);
    return status;
}

static cm_status open_index(cm_input *whole, const char *folder, const char *name, cm_diffusers_files *f)
{
    cm_context *context = whole->context;
    json_t *index = NULL;
    const char **names = NULL;
    char *path = cmi_path_join(context, folder, name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_diffusers_read_json(context, path, &index);
    if (status == CM_OK) status = list_shards(context, path, index, &names, &f->count);
    if (status == CM_OK) status = open_files(whole, folder, names, f);
    if (status == CM_OK) status = check_index(context, path, index, names, f);
    cmi_free(context, names);
    json_decref(index);
    cmi_free(context, path);
    return status;
}

cm_status cmi_diffusers_files_open(cm_input *whole, const char *path, cm_diffusers_files *f)
{
    char name[192];
    const char *one = name;
    int is_index = 0;
    memset(f, 0, sizeof *f);
    CM_TRY(choose(whole, path, f, name, &is_index));
    if (is_index) return open_index(whole, path, name, f);
    f->count = 1;
    return open_files(whole, path, &one, f);
}

void cmi_diffusers_files_close(cm_context *context, cm_diffusers_files *f)
{
    for (size_t i = 0; i < f->opened; i++) cmi_tensors_close(&f->shards[i]);
    cmi_free(context, f->shards);
    memset(f, 0, sizeof *f);
}
