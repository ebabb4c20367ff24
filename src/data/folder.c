/* folder.c - JPEG and PNG files at any depth, in byte order at every level.  Links
 * are followed behind everything else, so that a folder or a picture that the tree
 * holds itself keeps its own name; each folder is read once. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/listing.h"
#include "data/names.h"
#include "io/directory.h"

enum { MAX_DEPTH = 64, MAX_PATH = 4096 };

typedef struct {
    char *root;
} state;

static cm_status recognise(cm_context *context, const char *path, cm_path_kind kind, int *is)
{
    (void)context;
    (void)path;
    *is = kind == CM_PATH_DIRECTORY;
    return CM_OK;
}

/* --- what was seen -------------------------------------------------------------------- */

typedef struct {
    dev_t device;
    ino_t inode;
    int used;
} identity;

/* Folders or files by device and inode: a table with open addresses. */
typedef struct {
    cm_context *context;
    identity *slot;
    size_t count, capacity; /* capacity a power of two */
} seen_set;

static identity *slot_of(const seen_set *set, dev_t device, ino_t inode)
{
    size_t at = ((size_t)inode * 0x9e3779b97f4a7c15u ^ (size_t)device * 0xc2b2ae3d27d4eb4fu) >> 7;
    for (;; at++) {
        identity *s = &set->slot[at & (set->capacity - 1)];
        if (!s->used || (s->device == device && s->inode == inode)) return s;
    }
}

static cm_status grow(seen_set *set)
{
    seen_set larger = {set->context, NULL, set->count, set->capacity ? 2 * set->capacity : 64};
    larger.slot = cmi_calloc(set->context, larger.capacity, sizeof *larger.slot);
    if (!larger.slot) return CM_ERR_MEMORY;
    for (size_t i = 0; i < set->capacity; i++)
        if (set->slot[i].used) *slot_of(&larger, set->slot[i].device, set->slot[i].inode) = set->slot[i];
    cmi_free(set->context, set->slot);
    *set = larger;
    return CM_OK;
}

/* *new is 1 when it was not there. */
static cm_status see(seen_set *set, const struct stat *info, int *new)
{
    if (2 * set->count >= set->capacity) CM_TRY(grow(set));
    identity *s = slot_of(set, info->st_dev, info->st_ino);
    *new = !s->used;
    if (*new) set->count++;
    *s = (identity){info->st_dev, info->st_ino, 1};
    return CM_OK;
}

/* --- the walk -------------------------------------------------------------------------- */

typedef struct {
    cm_context *context;
    const char *root;
    cm_listing *listing;
    cm_names links, file_links; /* relative */
    seen_set folders, files;
} walker;

/* "x" within "a": "a/x"; within the root: "x". */
static char *within(walker *w, const char *folder, const char *name)
{
    return *folder ? cmi_path_join(w->context, folder, name) : cmi_strdup(w->context, name);
}

static cm_status add_file(walker *w, const char *relative, const struct stat *info)
{
    int new;
    size_t before = w->listing->count;
    CM_TRY(cmi_listing_add(w->listing, relative, 0, (uint64_t)info->st_size));
    return w->listing->count > before ? see(&w->files, info, &new) : CM_OK;
}

static cm_status walk(walker *w, const char *relative, const struct stat *info, int depth);

static cm_status visit(walker *w, const char *relative, int depth)
{
    struct stat info;
    char *path = cmi_path_join(w->context, w->root, relative);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = CM_OK;
    if (lstat(path, &info) != 0) {
        if (errno != ENOENT) status = cmi_file_fail("look at", path); /* else gone since it was listed */
    } else if (S_ISLNK(info.st_mode)) {
        status = cmi_names_add(&w->links, relative);
    } else if (S_ISDIR(info.st_mode)) {
        status = walk(w, relative, &info, depth + 1);
    } else if (S_ISREG(info.st_mode)) {
        status = add_file(w, relative, &info);
    }
    cmi_free(w->context, path);
    return status;
}

/* Adds what lies under root/relative ("" for the root). */
static cm_status walk(walker *w, const char *relative, const struct stat *info, int depth)
{
    cm_names names;
    int new;
    if (depth > MAX_DEPTH)
        CM_FAIL(CM_ERR_LIMIT, "'%s/%s' is nested deeper than %d folders", w->root, relative, MAX_DEPTH);
    CM_TRY(see(&w->folders, info, &new));
    if (!new) {
        cmi_listing_skip_link(w->listing, relative, 0);
        return CM_OK;
    }
    char *folder = within(w, w->root, relative);
    if (!folder) return CM_ERR_MEMORY;
    cm_status status = cmi_directory_list(w->context, folder, &names);
    for (size_t i = 0; status == CM_OK && i < names.count; i++) {
        char *inner = within(w, relative, names.name[i]);
        int whole = !strchr(names.name[i], '\\'); /* a file of that name is judged when cleaned */
        if (!inner) status = CM_ERR_MEMORY;
        else if (whole && cmi_name_is_system(names.name[i], strlen(names.name[i])))
            cmi_listing_skip_system(w->listing, inner);
        else status = visit(w, inner, depth);
        cmi_free(w->context, inner);
    }
    cmi_names_free(&names);
    cmi_free(w->context, folder);
    return status;
}

/* --- links -------------------------------------------------------------------------------- */

/* Whether the folder that holds `path` is, or lies in, the folder of `target`. */
static int leads_up(const char *path, const struct stat *target)
{
    char up[MAX_PATH];
    struct stat here, above;
    const char *slash = strrchr(path, '/');
    size_t n = (size_t)(slash - path);
    if (n + 4 >= sizeof up) return 0;
    memcpy(up, path, n);
    memcpy(up + n, "/", 2);
    if (stat(up, &here) != 0) return 0;
    for (n++;;) {
        if (here.st_dev == target->st_dev && here.st_ino == target->st_ino) return 1;
        if (n + 4 >= sizeof up) return 0;
        memcpy(up + n, "../", 4);
        n += 3;
        if (stat(up, &above) != 0 || (above.st_dev == here.st_dev && above.st_ino == here.st_ino)) return 0;
        here = above;
    }
}

static cm_status leads_nowhere(walker *w, const char *relative, const char *path)
{
    if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) return cmi_file_fail("look at", path);
    const char *slash = strrchr(relative, '/');
    if (strcmp(slash ? slash + 1 : relative, "dataset.json") == 0)
        CM_FAIL(CM_ERR_IO, "'%s' is a link that leads nowhere", path);
    cmi_listing_skip_link(w->listing, relative, 1);
    return CM_OK;
}

static cm_status follow(walker *w, const char *relative)
{
    struct stat info;
    char *path = cmi_path_join(w->context, w->root, relative);
    if (!path) return CM_ERR_MEMORY;
    int depth = 0;
    for (const char *c = relative; *c; c++) depth += *c == '/';
    cm_status status = CM_OK;
    if (stat(path, &info) != 0) status = leads_nowhere(w, relative, path);
    else if (S_ISREG(info.st_mode)) status = cmi_names_add(&w->file_links, relative);
    else if (S_ISDIR(info.st_mode) && leads_up(path, &info)) cmi_listing_skip_link(w->listing, relative, 0);
    else if (S_ISDIR(info.st_mode)) status = walk(w, relative, &info, depth + 1);
    cmi_free(w->context, path);
    return status;
}

/* A picture that is read under its own name is not taken again. */
static cm_status follow_to_file(walker *w, const char *relative)
{
    struct stat info;
    int ending;
    char *path = cmi_path_join(w->context, w->root, relative);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = CM_OK;
    if (stat(path, &info) != 0) status = leads_nowhere(w, relative, path);
    else if (w->files.count && slot_of(&w->files, info.st_dev, info.st_ino)->used &&
             cmi_name_kind_of(relative, &ending) != CM_NAME_OTHER)
        cmi_listing_skip_link(w->listing, relative, 0);
    else status = add_file(w, relative, &info);
    cmi_free(w->context, path);
    return status;
}

/* Links to folders first: a picture behind one may be what another leads to. */
static cm_status walk_all(walker *w)
{
    struct stat info;
    if (stat(w->root, &info) != 0) return cmi_file_fail("look at", w->root);
    CM_TRY(walk(w, "", &info, 0));
    for (size_t i = 0; i < w->links.count; i++) CM_TRY(follow(w, w->links.name[i]));
    for (size_t i = 0; i < w->file_links.count; i++) CM_TRY(follow_to_file(w, w->file_links.name[i]));
    return CM_OK;
}

/* --- the table's functions ------------------------------------------------------------------- */

/* What cannot be opened here was no picture by its name either. */
static cm_status read_head(void *user, const char *relative, uint64_t location, unsigned char *out, size_t n,
                           size_t *got)
{
    cm_source *s = user;
    int fd;
    ssize_t r;
    (void)location;
    *got = 0;
    char *path = cmi_path_join(s->context, ((state *)s->state)->root, relative);
    if (!path) return CM_ERR_MEMORY;
    fd = cmi_file_open(path, O_RDONLY | O_NONBLOCK, 0);
    cm_status status = fd < 0 && errno != EACCES && errno != ENOENT ? cmi_file_fail("open", path) : CM_OK;
    while (fd >= 0 && status == CM_OK && *got < n) {
        do r = read(fd, out + *got, n - *got);
        while (r < 0 && errno == EINTR);
        if (r < 0) status = cmi_file_fail("read", path);
        if (r <= 0) break;
        *got += (size_t)r;
    }
    if (fd >= 0) (void)close(fd);
    cmi_free(s->context, path);
    return status;
}

static cm_status read_json(cm_source *s, const char *root, const cm_entry *json)
{
    unsigned char *text;
    size_t size;
    if (!json->name) return CM_OK;
    char *path = cmi_path_join(s->context, root, json->path ? json->path : json->name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_file_read(s->context, path, CM_SOURCE_JSON, &text, &size);
    s->dataset_json = (char *)text;
    cmi_free(s->context, path);
    return status;
}

static cm_status open_folder(cm_source *s, const char *root)
{
    cm_listing listing;
    state *st = cmi_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    st->root = cmi_strdup(s->context, root);
    if (!st->root) return CM_ERR_MEMORY;
    walker w = {.context = s->context, .root = root, .listing = &listing};
    w.links.context = w.file_links.context = w.folders.context = w.files.context = s->context;
    cmi_listing_begin(&listing, s->context, root, read_head, s);
    cm_status status = walk_all(&w);
    if (status == CM_OK) status = cmi_listing_finish(&listing, s, 1);
    if (status == CM_OK) status = read_json(s, root, &listing.json);
    cmi_listing_end(&listing);
    cmi_names_free(&w.links);
    cmi_names_free(&w.file_links);
    cmi_free(s->context, w.folders.slot);
    cmi_free(s->context, w.files.slot);
    return status;
}

static void close_folder(cm_source *s)
{
    state *st = s->state;
    cmi_free(s->context, st->root);
    cmi_free(s->context, st);
}

static char *path_of(const cm_source *s, size_t i)
{
    return cmi_path_join(s->context, ((const state *)s->state)->root, s->paths[i] ? s->paths[i] : s->names[i]);
}

static cm_status bytes(cm_source *s, size_t i, unsigned char **data, size_t *size)
{
    char *path = path_of(s, i);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = cmi_file_read(s->context, path, CM_PICTURE_FILE, data, size);
    cmi_free(s->context, path);
    return status;
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    unsigned char *data;
    size_t size;
    CM_TRY(bytes(s, i, &data, &size));
    char *path = path_of(s, i); /* for messages */
    cm_status status = path ? cmi_source_decode(s, path, data, size, channels, out) : CM_ERR_MEMORY;
    cmi_free(s->context, data);
    cmi_free(s->context, path);
    return status;
}

const cm_source_kind cmi_source_folder = {"folder", recognise, open_folder, close_folder, picture, bytes};
