/* listing.c - see the header. */
#include "data/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/names.h"
#include "io/foreign.h"

enum { MAX_PICTURES = 100000000 };

void cmi_listing_begin(cm_listing *l, cm_context *context, const char *container, cm_head_fn head, void *user)
{
    memset(l, 0, sizeof *l);
    l->context = context;
    l->container = container;
    l->head = head;
    l->user = user;
}

static void free_entry(cm_context *context, cm_entry *e)
{
    cmi_free(context, e->name);
    cmi_free(context, e->path);
    cmi_free(context, e->target);
    memset(e, 0, sizeof *e);
}

void cmi_listing_end(cm_listing *l)
{
    for (size_t i = 0; i < l->count; i++) free_entry(l->context, &l->entry[i]);
    free_entry(l->context, &l->json);
    for (size_t i = 0; i < l->left_names; i++) cmi_free(l->context, l->left[i].name);
    if (l->context) cmi_free(l->context, l->left);
    if (l->context) cmi_free(l->context, l->entry);
    memset(l, 0, sizeof *l);
}

/* --- adding ----------------------------------------------------------------------------- */

static cm_status reserve_entry(cm_listing *l)
{
    if (l->count >= MAX_PICTURES) CM_FAIL(CM_ERR_LIMIT, "%s: more than %d pictures", l->container, MAX_PICTURES);
    cm_entry *list = cmi_grown(l->context, l->entry, sizeof *list, l->count, &l->capacity);
    if (!list) return CM_ERR_MEMORY;
    l->entry = list;
    return CM_OK;
}

/* The first name of each kind of omission is kept for the message. */
static void note(size_t *n, char *first, size_t size, const char *name)
{
    if ((*n)++ == 0) (void)snprintf(first, size, "%s", name);
}
#define NOTE(what, name) note(&(what).n, (what).first, sizeof(what).first, name)

/* All names are kept, within bounds, for whoever asks for them. */
static void keep_left_out(cm_listing *l, const char *name, cm_left_reason reason)
{
    if (l->left_all++ >= CM_LEFT_NAMES || l->failed != CM_OK) return;
    cm_left_out *list = cmi_grown(l->context, l->left, sizeof *list, l->left_names, &l->left_capacity);
    char *copy = list ? cmi_strdup(l->context, name) : NULL;
    if (list) l->left = list;
    if (copy) l->left[l->left_names++] = (cm_left_out){copy, reason};
    else l->failed = CM_ERR_MEMORY;
}

void cmi_listing_skip_link(cm_listing *l, const char *path, int dangling)
{
    if (dangling) NOTE(l->dangling, path);
    else NOTE(l->again, path);
    keep_left_out(l, path, dangling ? CM_LEFT_LOST : CM_LEFT_AGAIN);
}

void cmi_listing_skip_system(cm_listing *l, const char *path)
{
    NOTE(l->system, path);
}

static int is_picture_content(const unsigned char *head, size_t n)
{
    return n >= 4 && (memcmp(head, "\x89PNG", 4) == 0 || memcmp(head, "\xff\xd8\xff", 3) == 0);
}

static void note_foreign(cm_listing *l, const char *name, const unsigned char *head, size_t n)
{
    const cm_foreign *kind = l->foreign[0] ? NULL : cmi_foreign_kind(head, n);
    if (kind) (void)snprintf(l->foreign, sizeof l->foreign, "'%.60s' is %s", name, kind->what);
}

/* Whether a file is a picture of the set; what is left out is counted. */
static cm_status wanted(cm_listing *l, const cm_entry *e, int *yes)
{
    unsigned char head[64];
    size_t got = 0;
    int ending;
    cm_name_kind kind = cmi_name_kind_of(e->name, &ending);
    *yes = kind == CM_NAME_PICTURE;
    if (kind == CM_NAME_SYSTEM) cmi_listing_skip_system(l, e->name);
    if (kind == CM_NAME_PLAIN || kind == CM_NAME_FORMAT) {
        CM_TRY(l->head(l->user, e->path ? e->path : e->name, e->location, head, sizeof head, &got));
        *yes = is_picture_content(head, got < e->size ? got : (size_t)e->size);
        if (!*yes && kind == CM_NAME_PLAIN) note_foreign(l, e->name, head, got);
    }
    if (!*yes && ending >= 0) l->endings[ending]++;
    if (*yes || kind == CM_NAME_SYSTEM || !e->name[0] || e->name[strlen(e->name) - 1] == '/') return CM_OK;
    if (kind == CM_NAME_FORMAT) NOTE(l->format, e->name);
    if (kind == CM_NAME_OTHER || kind == CM_NAME_PLAIN) NOTE(l->other, e->name);
    keep_left_out(l, e->name, kind == CM_NAME_FORMAT ? CM_LEFT_FORMAT : CM_LEFT_OTHER);
    return CM_OK;
}

static size_t depth_of(const char *name)
{
    size_t depth = 0;
    for (; *name; name++) depth += *name == '/';
    return depth;
}

static int is_json(const char *name)
{
    const char *slash = strrchr(name, '/');
    int ending;
    return strcmp(slash ? slash + 1 : name, "dataset.json") == 0 && cmi_name_kind_of(name, &ending) != CM_NAME_SYSTEM;
}

/* The one nearest to the root is kept; of two members of one name the last. */
static void offer_json(cm_listing *l, cm_entry *e)
{
    size_t old = l->json.name ? depth_of(l->json.name) : SIZE_MAX, mine = depth_of(e->name);
    if (mine > old) {
        free_entry(l->context, e);
        return;
    }
    if (mine < old || strcmp(l->json.name, e->name) != 0) l->jsons = mine < old ? 1 : l->jsons + 1;
    free_entry(l->context, &l->json);
    l->json = *e;
}

/* Fills the names of an entry: cleaned, and as they were where that differs. */
static cm_status name_entry(cm_listing *l, cm_entry *e, const char *path)
{
    e->name = cmi_strdup(l->context, path);
    if (!e->name) return CM_ERR_MEMORY;
    CM_TRY(cmi_name_clean(l->container, e->name));
    if (strcmp(e->name, path) == 0) return CM_OK;
    e->path = cmi_strdup(l->context, path);
    return e->path ? CM_OK : CM_ERR_MEMORY;
}

cm_status cmi_listing_add(cm_listing *l, const char *path, uint64_t location, uint64_t size)
{
    cm_entry e = {.location = location, .size = size};
    int yes = 0;
    cm_status status = reserve_entry(l);
    if (status == CM_OK) status = name_entry(l, &e, path);
    if (status == CM_OK && is_json(e.name)) {
        offer_json(l, &e);
        return CM_OK;
    }
    if (status == CM_OK) status = wanted(l, &e, &yes);
    if (status == CM_OK && yes) l->entry[l->count++] = e;
    else free_entry(l->context, &e);
    return status;
}

cm_status cmi_listing_add_hard_link(cm_listing *l, const char *path, const char *target)
{
    cm_entry e = {0};
    int ending;
    cm_status status = reserve_entry(l);
    if (status == CM_OK) status = name_entry(l, &e, path);
    if (status == CM_OK && !(e.target = cmi_strdup(l->context, target))) status = CM_ERR_MEMORY;
    if (status == CM_OK) status = cmi_name_clean(l->container, e.target);
    cm_name_kind kind = status == CM_OK ? cmi_name_kind_of(e.name, &ending) : CM_NAME_OTHER;
    if (kind == CM_NAME_SYSTEM) cmi_listing_skip_system(l, e.name);
    if (kind == CM_NAME_PICTURE || kind == CM_NAME_PLAIN) l->entry[l->count++] = e;
    else free_entry(l->context, &e);
    return status;
}

/* --- finishing --------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const cm_entry *x = *(cm_entry *const *)a, *y = *(cm_entry *const *)b;
    int order = cmi_name_order(x->name, y->name);
    return order ? order : x < y ? -1 : x > y; /* positions in the list: as they were added */
}

/* The last entry of that name among the sorted, or NULL. */
static const cm_entry *find(cm_entry *const *sorted, size_t n, const char *name)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cmi_name_order(sorted[middle]->name, name) <= 0) low = middle + 1;
        else high = middle;
    }
    return low && strcmp(sorted[low - 1]->name, name) == 0 ? sorted[low - 1] : NULL;
}

/* Hard links take the place of what they name; of entries with one name the last stays.
 * What goes has its name freed. */
static void settle(cm_listing *l, cm_entry **sorted)
{
    for (size_t i = 0; i < l->count; i++) {
        cm_entry *e = &l->entry[i];
        const cm_entry *to = e->target ? find(sorted, l->count, e->target) : NULL;
        if (!to || to->target) continue;
        e->location = to->location;
        e->size = to->size;
        cmi_free(l->context, e->target);
        e->target = NULL;
    }
    for (size_t i = 0; i < l->count; i++) {
        cm_entry *e = sorted[i];
        int repeated = i + 1 < l->count && strcmp(e->name, sorted[i + 1]->name) == 0;
        if (!repeated && !e->target) continue;
        if (repeated) NOTE(l->twice, e->name), keep_left_out(l, e->name, CM_LEFT_TWICE);
        else cmi_listing_skip_link(l, e->name, 1);
        e->size = UINT64_MAX; /* marked; its name is still compared with the next one's */
    }
}

static cm_status hand_over(cm_listing *l, cm_source *s, cm_entry *const *order)
{
    s->names = cmi_calloc(s->context, l->count, sizeof *s->names);
    s->paths = cmi_calloc(s->context, l->count, sizeof *s->paths);
    s->locations = cmi_calloc(s->context, l->count, sizeof *s->locations);
    s->sizes = cmi_calloc(s->context, l->count, sizeof *s->sizes);
    if (!s->names || !s->paths || !s->locations || !s->sizes) return CM_ERR_MEMORY;
    for (size_t i = 0; i < l->count; i++) {
        cm_entry *e = order[i];
        if (e->size == UINT64_MAX) continue;
        s->names[s->count] = e->name;
        s->paths[s->count] = e->path;
        s->locations[s->count] = e->location;
        s->sizes[s->count++] = e->size;
        s->bytes += e->size;
        e->name = e->path = NULL;
    }
    s->left = l->left;
    s->left_names = l->left_names;
    s->left_all = l->left_all;
    l->left = NULL;
    l->left_names = 0;
    return l->failed;
}

/* "37 .webp, 3 .gif and 5 others" */
static void describe(const cm_listing *l, int packed, char *text, size_t size)
{
    size_t used = 0, others = 0, shown = 0;
    text[0] = '\0';
    for (int i = 0; cmi_name_ending(i); i++) {
        if (!l->endings[i] || cmi_name_ending_packed(i) != packed) continue;
        if (shown == 6 || used >= size) {
            others += l->endings[i];
            continue;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%zu %s", shown ? ", " : "", l->endings[i],
                                 cmi_name_ending(i));
        shown++;
    }
    if (others && used < size) (void)snprintf(text + used, size - used, " and %zu others", others);
}

#define S(n) ((n) == 1 ? "" : "s")
static void log_left_out(const cm_listing *l)
{
    char text[160];
    describe(l, 0, text, sizeof text);
    if (text[0])
        cmi_log(l->context, CM_LOG_WARNING,
                "%s: %s files were left out: only JPEG and PNG are read, convert them (the first: '%s')",
                l->container, text, l->format.first);
    if (l->dangling.n)
        cmi_log(l->context, CM_LOG_WARNING, "%s: left out, since they lead nowhere: %zu link%s (the first: '%s')",
                l->container, l->dangling.n, S(l->dangling.n), l->dangling.first);
    if (l->again.n)
        cmi_log(
            l->context, CM_LOG_WARNING,
            "%s: left out, since every folder and every picture is read once, under its own name: %zu link%s (the "
            "first: "
            "'%s')",
            l->container, l->again.n, S(l->again.n), l->again.first);
    if (l->twice.n)
        cmi_log(l->context, CM_LOG_WARNING,
                "%s: left out, since one of the same name comes later: %zu picture%s (the first: '%s')", l->container,
                l->twice.n, S(l->twice.n), l->twice.first);
    if (l->system.n)
        cmi_log(l->context, CM_LOG_INFO,
                "%s: no data, since hidden, a system's or unfinished: %zu file%s or folder%s (the first: '%s')",
                l->container, l->system.n, S(l->system.n), S(l->system.n), l->system.first);
}
#undef S

/* Says why no picture is there. */
static cm_status fail_empty(const cm_listing *l, const char *kind)
{
    char formats[160], packed[160], text[700];
    size_t used = 0;
    describe(l, 0, formats, sizeof formats);
    describe(l, 1, packed, sizeof packed);
#define MORE(...)                                                                                                    \
    if (used < sizeof text) used += (size_t)snprintf(text + used, sizeof text - used, __VA_ARGS__)
    text[0] = '\0';
    if (formats[0]) MORE("; %s files were left out: convert them", formats);
    if (packed[0]) MORE("; %s files were left out: unpack or convert them", packed);
    if (l->other.n) MORE("; %zu of no picture's name ('%.60s')", l->other.n, l->other.first);
    if (l->foreign[0]) MORE("; %s", l->foreign);
    if (l->system.n)
        MORE("; %zu hidden, system or unfinished ones were left out ('%.80s')", l->system.n, l->system.first);
    if (l->dangling.n) MORE("; %zu links lead nowhere ('%.80s')", l->dangling.n, l->dangling.first);
    if (l->again.n) MORE("; %zu links lead back ('%.80s')", l->again.n, l->again.first);
#undef MORE
    CM_FAIL(CM_ERR_ARGUMENT, "'%s' (%s) holds no picture: no JPEG or PNG pictures%s", l->container, kind, text);
}

/* The folder of dataset.json, to which its names are relative: the root, or one that
 * holds everything. */
static cm_status place_json(cm_listing *l, cm_source *s)
{
    if (!l->json.name) return CM_OK;
    char *slash = strrchr(l->json.name, '/');
    size_t n = slash ? (size_t)(slash - l->json.name) + 1 : 0;
    int fits = l->jsons == 1;
    for (size_t i = 0; i < s->count && fits; i++) fits = strncmp(s->names[i], l->json.name, n) == 0;
    if (!fits) {
        cmi_log(l->context, CM_LOG_WARNING,
                "%s: '%s' was not used, since there are pictures outside of its folder: open that folder, or put one "
                "dataset.json at the root",
                l->container, l->json.name);
        free_entry(l->context, &l->json);
        return CM_OK;
    }
    s->json_folder = n;
    return CM_OK;
}

cm_status cmi_listing_finish(cm_listing *l, cm_source *s, int sorted)
{
    cm_entry **order = cmi_calloc(l->context, l->count, sizeof *order);
    if (!order) return CM_ERR_MEMORY;
    for (size_t i = 0; i < l->count; i++) order[i] = &l->entry[i];
    if (l->count > 1) qsort(order, l->count, sizeof *order, by_name);
    settle(l, order);
    for (size_t i = 0; i < l->count && !sorted; i++) order[i] = &l->entry[i];
    cm_status status = hand_over(l, s, order);
    cmi_free(l->context, order);
    if (status == CM_OK && s->count == 0) return fail_empty(l, s->kind->name);
    if (status == CM_OK) log_left_out(l);
    return status == CM_OK ? place_json(l, s) : status;
}
