/* torch_zip.c - PyTorch's zip files (version 1.6 and later): ROOT/data.pkl and a member ROOT/data/KEY for each
 * storage, as they are in memory. */
#include <stdio.h>
#include <string.h>

#include "io/json_tree.h"
#include "io/torch.h"
#include "io/torch_write.h"
#include "io/zip_directory.h"

enum { PATH = CM_TENSOR_NAME + 64 };

static const cm_zip_member *find(const cm_zip_directory *d, const char *root, const char *folder, const char *name)
{
    char path[PATH];
    int n = snprintf(path, sizeof path, "%s/%s%s", root, folder, name);
    return n > 0 && (size_t)n < sizeof path ? cmi_zip_directory_find(d, path) : NULL;
}

/* All members lie in one folder. */
static cm_status find_root(const cm_input *in, const cm_zip_directory *d, char root[CM_TENSOR_NAME + 1])
{
    const char *first = d->count ? d->members[0].name : "", *slash = strchr(first, '/');
    size_t n = slash ? (size_t)(slash - first) + 1 : 0;
    for (size_t i = 0; n && i < d->count; i++)
        if (strncmp(d->members[i].name, first, n) != 0)
            CM_FAIL(CM_ERR_FORMAT, "%s: zip members '%s' and '%s' are in two folders; PyTorch's files have one root",
                    in->name, first, d->members[i].name);
    (void)snprintf(root, CM_TENSOR_NAME + 1, "%.*s", n ? (int)n - 1 : 0, first);
    if (n && find(d, root, "", "constants.pkl"))
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: a TorchScript archive, which is a program: save its state_dict instead",
                in->name);
    if (!n || !find(d, root, "", "data.pkl"))
        CM_FAIL(CM_ERR_FORMAT, "%s: a zip archive without a member data.pkl in one root folder: not PyTorch's",
                in->name);
    return CM_OK;
}

static cm_status read_byte_order(const cm_input *in, const cm_zip_member *m, int *swapped)
{
    char text[7] = "";
    if (!m) return CM_OK;
    if (m->size < sizeof text) CM_TRY(cmi_input_read(in, m->at, text, m->size));
    *swapped = strcmp(text, "big") == 0;
    if (!*swapped && strcmp(text, "little") != 0)
        CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s' is '%.6s'; 'little' and 'big' are known", in->name, m->name,
                text);
    return CM_OK;
}

static cm_status place_storages(const cm_tensors *t, const cm_zip_directory *d, const char *root)
{
    cm_torch *torch = t->state;
    for (size_t i = 0; i < torch->n_storages; i++) {
        cm_torch_storage *s = &torch->storages[i];
        const cm_zip_member *m = find(d, root, "data/", s->key);
        size_t size = s->count * cmi_tensor_type_size(s->type);
        if (!m)
            CM_FAIL(CM_ERR_FORMAT, "%s: storage '%s': there is no zip member '%.200s/data/%s'", t->input.name, s->key,
                    root, s->key);
        if (m->size != size)
            CM_FAIL(CM_ERR_FORMAT,
                    "%s: storage '%s': %zu elements of type %s need %zu bytes, zip member '%.200s' has %zu",
                    t->input.name, s->key, s->count, cmi_tensor_type_name(s->type), size, m->name, m->size);
        s->at = m->at;
        s->placed = 1;
    }
    return CM_OK;
}

static cm_status check_sums(cm_tensors *t, const cm_zip_directory *d)
{
    for (size_t i = 0; i < d->count; i++) {
        CM_TRY(cmi_zip_member_check(&t->input, &d->members[i]));
        if (d->members[i].crc || !d->members[i].size) t->checksums++;
        else t->without_checksum++;
    }
    return CM_OK;
}

/* What our writer puts beside the pickle: texts by key, of which those of a native file's metadata count. */
static cm_status list_metadata(cm_tensors *t, const char *member)
{
    const cm_torch *torch = t->state;
    const char *key;
    json_t *value;
    if (!json_is_object(torch->metadata))
        CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s' is no JSON object", t->input.name, member);
    json_object_foreach(torch->metadata, key, value)
    {
        if (!json_is_string(value))
            CM_FAIL(CM_ERR_FORMAT, "%s: zip member '%s': entry '%.64s' is not a string", t->input.name, member, key);
        if (strncmp(key, "consistency.", 12) == 0) CM_TRY(cmi_tensors_add_metadata(t, key, json_string_value(value)));
    }
    return CM_OK;
}

static cm_status read_metadata(cm_tensors *t, const cm_zip_member *m)
{
    cm_torch *torch = t->state;
    if (!m) return CM_OK;
    if (m->size > CM_JSON_TEXT)
        CM_FAIL(CM_ERR_LIMIT, "%s: zip member '%s' of %zu bytes is over the limit of %d", t->input.name, m->name,
                m->size, CM_JSON_TEXT);
    char *text = cmi_malloc(t->context, m->size, 1);
    if (!text) return CM_ERR_MEMORY;
    cm_status status = cmi_input_read(&t->input, m->at, text, m->size);
    if (status == CM_OK) status = cmi_json_tree(m->name, text, m->size, &torch->metadata);
    cmi_free(t->context, text);
    return status == CM_OK ? list_metadata(t, m->name) : status;
}

static cm_status open_members(cm_tensors *t, const cm_zip_directory *d)
{
    char root[CM_TENSOR_NAME + 1];
    cm_torch *torch;
    cm_pickled *top;
    const unsigned char *held;
    size_t after;
    CM_TRY(find_root(&t->input, d, root));
    const cm_zip_member *m = find(d, root, "", "data.pkl");
    CM_TRY(cmi_torch_begin(t, m->size, &torch));
    CM_TRY(read_byte_order(&t->input, find(d, root, "", "byteorder"), &torch->swapped));
    CM_TRY(cmi_pickle_run(torch->pickle, "data.pkl", m->at, m->at + m->size, &top, &after));
    if (after != m->at + m->size)
        CM_FAIL(CM_ERR_FORMAT, "%s: data.pkl has %zu bytes behind its STOP", t->input.name, m->at + m->size - after);
    CM_TRY(cmi_torch_collect(t));
    CM_TRY(place_storages(t, d, root));
    CM_TRY(read_metadata(t, find(d, root, "extra/", CM_TORCH_METADATA)));
    CM_TRY(cmi_input_hold(&t->input, 0, &held));
    CM_TRY(check_sums(t, d)); /* of what is used from here on */
    return cmi_torch_list(t, top);
}

static cm_status open_tensors(cm_tensors *t)
{
    cm_zip_directory directory;
    CM_TRY(cmi_zip_directory_read(&t->input, &directory));
    cm_status status = open_members(t, &directory);
    cmi_zip_directory_close(&directory);
    return status;
}

static int recognise(const cm_input *input, const unsigned char *first, size_t n)
{
    (void)input;
    return n >= 4 && memcmp(first, "PK\3\4", 4) == 0;
}

const cm_tensor_format cmi_format_torch_zip = {.name = "PyTorch (zip)",
                                               .recognise = recognise,
                                               .open = open_tensors,
                                               .read = cmi_torch_read,
                                               .close = cmi_torch_close,
                                               .forget = cmi_torch_forget,
                                               .has_sets = 1};
