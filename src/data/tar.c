/* tar.c - ustar and pax archives: regular members that are pictures.  A member is
 * read when it is asked for; nothing is unpacked. */
#include <string.h>

#include "data/listing.h"
#include "io/directory.h"

enum { BLOCK = 512, MAX_PAX = 1 << 20, LOOK_BEHIND = 1 << 20 };

typedef struct {
    cm_file_reader file;
} state;

/* Octal digits, or base 256 when the first bit is set. */
static int number(const unsigned char *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    if (p[0] & 0x80) {
        for (size_t i = 0; i < n; i++) {
            if (v >> 55) return 0;
            v = v << 8 | (i ? p[i] : p[i] & 0x7f);
        }
    } else {
        size_t i = 0;
        while (i < n && p[i] == ' ') i++;
        for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
            if (v >> 60) return 0;
            v = v << 3 | (uint64_t)(p[i] - '0');
        }
        if (i < n && p[i] != ' ' && p[i] != '\0') return 0;
    }
    *out = v;
    return 1;
}

static int checksum_fits(const unsigned char *h)
{
    uint64_t stated, sum = 0;
    for (size_t i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? ' ' : h[i];
    return number(h + 148, 8, &stated) && stated == sum;
}

/* The value of the record `key` ("path=") among "LENGTH KEY=VALUE\n"; others are skipped. */
static void pax_value(const unsigned char *data, size_t size, const char *key, char *value, size_t limit)
{
    size_t at = 0, n = strlen(key);
    while (at < size) {
        size_t length = 0, digits = 0;
        while (at + digits < size && data[at + digits] >= '0' && data[at + digits] <= '9' && digits < 9)
            length = 10 * length + (size_t)(data[at + digits++] - '0');
        if (digits == 0 || length < digits + 3 || length > size - at || data[at + digits] != ' ') return;
        const unsigned char *record = data + at + digits + 1;
        size_t rest = length - digits - 2; /* without the newline */
        if (rest > n && memcmp(record, key, n) == 0 && rest - n < limit) {
            memcpy(value, record + n, rest - n);
            value[rest - n] = '\0';
        }
        at += length;
    }
}

static void ustar_name(const unsigned char *h, char *name)
{
    size_t prefix = strnlen((const char *)h + 345, 155), n = strnlen((const char *)h, 100), at = 0;
    if (memcmp(h + 257, "ustar\0", 6) == 0 && prefix) {
        memcpy(name, h + 345, prefix);
        name[prefix] = '/';
        at = prefix + 1;
    }
    memcpy(name + at, h, n);
    name[at + n] = '\0';
}

static cm_status recognise(cm_context *context, const char *path, cm_path_kind kind, int *is)
{
    (void)context;
    unsigned char first[BLOCK];
    size_t n;
    *is = 0;
    if (kind != CM_PATH_FILE) return CM_OK;
    CM_TRY(cmi_file_peek(path, first, BLOCK, &n));
    /* the oldest tars have no mark, only the sum */
    *is = n == BLOCK && (memcmp(first + 257, "ustar", 5) == 0 || (first[0] && checksum_fits(first)));
    return CM_OK;
}

/* What stands before a member and belongs to it. */
typedef struct {
    char name[4096], link[4096];
} longer;

static void copy_name(char *to, const void *from, size_t size, size_t capacity)
{
    if (size >= capacity) return;
    memcpy(to, from, size);
    to[size] = '\0';
}

/* A member's bytes in memory of the context, with a NUL behind. */
static cm_status fetch(const cm_source *s, const char *name, size_t at, size_t size, size_t limit,
                       unsigned char **out)
{
    const state *st = s->state;
    *out = NULL;
    if (size > limit)
        CM_FAIL(CM_ERR_LIMIT, "%s: the member '%.200s' of %zu bytes is over the limit of %zu", st->file.path, name,
                size, limit);
    *out = cmi_malloc(s->context, size + 1, 1);
    if (!*out) return CM_ERR_MEMORY;
    (*out)[size] = '\0';
    cm_status status = cmi_file_reader_read(&st->file, at, *out, size);
    if (status == CM_OK) return CM_OK;
    cmi_free(s->context, *out);
    *out = NULL;
    return status;
}

static void note_longer(longer *l, char type, const unsigned char *data, size_t size)
{
    if (type == 'x') {
        pax_value(data, size, "path=", l->name, sizeof l->name);
        pax_value(data, size, "linkpath=", l->link, sizeof l->link);
    } else if (type == 'L') { /* GNU's long names */
        copy_name(l->name, data, size, sizeof l->name);
    } else if (type == 'K') {
        copy_name(l->link, data, size, sizeof l->link);
    }
}

static cm_status read_longer(const cm_source *s, longer *l, char type, size_t at, size_t size)
{
    unsigned char *data;
    if (size > MAX_PAX) return CM_OK;
    CM_TRY(fetch(s, "of a long name", at, size, MAX_PAX, &data));
    note_longer(l, type, data, size);
    cmi_free(s->context, data);
    return CM_OK;
}

static cm_status take_member(cm_listing *listing, const longer *l, const unsigned char *h, size_t at, size_t size)
{
    char name[sizeof l->name], link[101] = "", type = (char)h[156];
    if (l->name[0]) memcpy(name, l->name, sizeof name);
    else ustar_name(h, name);
    memcpy(link, h + 157, 100);
    if (type == '0' || type == '\0' || type == '7') return cmi_listing_add(listing, name, at, size);
    if (type == '1') return cmi_listing_add_hard_link(listing, name, l->link[0] ? l->link : link);
    if (type == '2') cmi_listing_skip_link(listing, name, 0);
    return CM_OK;
}

/* Behind the end mark are zeros; an archive that was appended with cat is not read, which is said. */
static cm_status look_behind(const cm_source *s, const char *path, size_t at)
{
    static const unsigned char zeros[BLOCK];
    const state *st = s->state;
    size_t end = st->file.size - at > LOOK_BEHIND ? at + LOOK_BEHIND : st->file.size;
    for (; at + BLOCK <= end; at += BLOCK) {
        unsigned char h[BLOCK];
        CM_TRY(cmi_file_reader_read(&st->file, at, h, BLOCK));
        if (memcmp(h, zeros, BLOCK) == 0) continue;
        cmi_log(
            s->context, CM_LOG_WARNING,
            "%s: what follows the archive's end at byte %zu is left out; archives joined by cat have to be joined by "
            "tar -A",
            path, at);
        break;
    }
    return CM_OK;
}

static cm_status read_members(cm_source *s, const char *path, cm_listing *listing)
{
    const state *st = s->state;
    longer names;
    names.name[0] = names.link[0] = '\0';
    size_t at = 0;
    while (at + BLOCK <= st->file.size) {
        unsigned char h[BLOCK];
        uint64_t size;
        CM_TRY(cmi_file_reader_read(&st->file, at, h, BLOCK));
        if (h[0] == '\0') return look_behind(s, path, at); /* the end: blocks of zeros */
        if (!checksum_fits(h) || !number(h + 124, 12, &size))
            CM_FAIL(CM_ERR_FORMAT, "%s: the header at byte %zu is damaged", path, at);
        char type = (char)h[156];
        if (type >= '1' && type <= '6') size = 0; /* links, folders and devices have no content */
        at += BLOCK;
        if (size > st->file.size - at)
            CM_FAIL(CM_ERR_FORMAT, "%s: truncated: a member at byte %zu claims %llu bytes, %zu are there", path, at,
                    (unsigned long long)size, st->file.size - at);
        if (type == 'x' || type == 'L' || type == 'K') {
            CM_TRY(read_longer(s, &names, type, at, (size_t)size));
        } else if (type != 'g') {
            CM_TRY(take_member(listing, &names, h, at, (size_t)size));
            names.name[0] = names.link[0] = '\0';
        }
        size_t padded = ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
        at = padded > st->file.size - at ? st->file.size + 1 : at + padded;
    }
    if (at != st->file.size)
        CM_FAIL(CM_ERR_FORMAT, "%s: truncated after %zu bytes, in the middle of a block of %d", path, st->file.size,
                BLOCK);
    cmi_log(s->context, CM_LOG_WARNING,
            "%s has no end mark (two blocks of zeros): unless it was made so, it was cut off and has lost members",
            path);
    return CM_OK;
}

static cm_status read_head(void *user, const char *path, uint64_t location, unsigned char *out, size_t n, size_t *got)
{
    const state *st = user;
    (void)path;
    *got = st->file.size - location < n ? st->file.size - (size_t)location : n;
    return cmi_file_reader_read(&st->file, (size_t)location, out, *got);
}

static cm_status take_json(cm_source *s, const cm_entry *json)
{
    unsigned char *text;
    if (!json->name) return CM_OK;
    CM_TRY(fetch(s, json->name, (size_t)json->location, (size_t)json->size, CM_SOURCE_JSON, &text));
    s->dataset_json = (char *)text;
    return CM_OK;
}

static cm_status open_tar(cm_source *s, const char *path)
{
    cm_listing listing;
    state *st = cmi_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    CM_TRY(cmi_file_reader_open(s->context, path, &st->file));
    cmi_listing_begin(&listing, s->context, path, read_head, st);
    cm_status status = read_members(s, path, &listing);
    if (status == CM_OK) status = cmi_listing_finish(&listing, s, 0);
    if (status == CM_OK) status = take_json(s, &listing.json);
    cmi_listing_end(&listing);
    return status;
}

static void close_tar(cm_source *s)
{
    state *st = s->state;
    cmi_file_reader_close(&st->file);
    cmi_free(s->context, st);
}

static cm_status bytes(cm_source *s, size_t i, unsigned char **data, size_t *size)
{
    *size = (size_t)s->sizes[i];
    return fetch(s, s->names[i], (size_t)s->locations[i], *size, CM_PICTURE_FILE, data);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    unsigned char *data;
    size_t size;
    CM_TRY(bytes(s, i, &data, &size));
    cm_status status = cmi_source_decode(s, s->names[i], data, size, channels, out);
    cmi_free(s->context, data);
    return status;
}

const cm_source_kind cmi_source_tar = {"tar", recognise, open_tar, close_tar, picture, bytes};
