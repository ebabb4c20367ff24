/* folder.c - JPEG and PNG files at any depth, in byte order at every level. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/source.h"
#include "io/directory.h"

enum { MAX_DEPTH = 64, MAX_FILES = 100000000 };

typedef struct {
    char *root;
} state;

static int recognise(const char *path)
{
    return cm_path_kind(path) == 1;
}

/* Adds what lies under root/relative ("" for the root). */
static cm_status walk(cm_source *s, const char *root, const char *relative, int depth, cm_names *files)
{
    cm_names names;
    if (depth > MAX_DEPTH) CM_FAIL(CM_ERR_LIMIT, "'%s/%s' is nested deeper than %d folders", root, relative, MAX_DEPTH);
    char *directory = *relative ? cm_path_join(s->context, root, relative) : cm_strdup(s->context, root);
    if (!directory) return CM_ERR_MEMORY;
    cm_status status = cm_directory_list(s->context, directory, &names);
    for (size_t i = 0; status == CM_OK && i < names.count; i++) {
        char *path = cm_path_join(s->context, directory, names.name[i]);
        char *inner = *relative ? cm_path_join(s->context, relative, names.name[i])
                                : cm_strdup(s->context, names.name[i]);
        int kind = path ? cm_path_kind(path) : 0;
        if (!path || !inner) status = CM_ERR_MEMORY;
        else if (kind == 1) status = walk(s, root, inner, depth + 1, files);
        else if (kind == 2 && cm_source_is_picture(names.name[i])) status = cm_names_add(files, inner);
        if (status == CM_OK && files->count > MAX_FILES) status = cm_fail(CM_ERR_LIMIT, "more than %d files", MAX_FILES);
        cm_free(s->context, path);
        cm_free(s->context, inner);
    }
    cm_names_free(&names);
    cm_free(s->context, directory);
    return status;
}

static cm_status read_json(cm_source *s, const char *root)
{
    cm_mapping file;
    char *path = cm_path_join(s->context, root, "dataset.json");
    if (!path) return CM_ERR_MEMORY;
    cm_status status = CM_OK;
    if (cm_path_kind(path) == 2) {
        status = cm_mapping_open(path, &file);
        if (status == CM_OK) {
            s->dataset_json = cm_malloc(s->context, file.size + 1, 1);
            if (s->dataset_json) {
                if (file.size) memcpy(s->dataset_json, file.data, file.size);
                s->dataset_json[file.size] = '\0';
            } else {
                status = CM_ERR_MEMORY;
            }
            cm_mapping_close(&file);
        }
    }
    cm_free(s->context, path);
    return status;
}

static cm_status open_folder(cm_source *s, const char *root)
{
    cm_names files;
    memset(&files, 0, sizeof files);
    files.context = s->context;
    state *st = cm_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    st->root = cm_strdup(s->context, root);
    cm_status status = st->root ? walk(s, root, "", 0, &files) : CM_ERR_MEMORY;
    if (status == CM_OK) {
        s->names = files.name; /* handed over */
        s->count = files.count;
        files.name = NULL;
        files.count = 0;
        status = read_json(s, root);
    }
    cm_names_free(&files);
    for (size_t i = 0; status == CM_OK && i < s->count; i++) {
        struct stat info;
        char *path = cm_path_join(s->context, root, s->names[i]);
        if (!path) return CM_ERR_MEMORY;
        if (stat(path, &info) == 0) s->bytes += (uint64_t)info.st_size;
        cm_free(s->context, path);
    }
    return status;
}

static void close_folder(cm_source *s)
{
    state *st = s->state;
    cm_free(s->context, st->root);
    cm_free(s->context, st);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    cm_mapping file;
    char *path = cm_path_join(s->context, ((state *)s->state)->root, s->names[i]);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cm_mapping_open(path, &file);
    if (status == CM_OK) {
        status = cm_source_decode(s, path, file.data ? (const void *)file.data : "", file.size, channels, out);
        cm_mapping_close(&file);
    }
    cm_free(s->context, path);
    return status;
}

const cm_source_kind cm_source_folder = {"folder", recognise, open_folder, close_folder, picture};
