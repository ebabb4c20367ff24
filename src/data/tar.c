/* tar.c - ustar and pax archives: regular members that are pictures.  The archive
 * is mapped; nothing is unpacked. */
#include <string.h>

#include "data/listing.h"
#include "io/directory.h"

enum { BLOCK = 512, MAX_PAX = 1 << 20 };

typedef struct {
    cm_mapping file;
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

static int recognise(const char *path)
{
    cm_mapping file;
    if (cm_path_kind(path) != 2 || cm_mapping_open(path, &file) != CM_OK) return 0;
    /* the oldest tars have no mark, only the sum */
    int tar = file.size >= BLOCK && (memcmp(file.data + 257, "ustar", 5) == 0 || (file.data[0] && checksum_fits(file.data)));
    cm_mapping_close(&file);
    return tar;
}

/* What stands before a member and belongs to it. */
typedef struct {
    char name[4096], link[4096];
} longer;

static void copy_name(char *to, const void *from, size_t size, size_t room)
{
    if (size >= room) return;
    memcpy(to, from, size);
    to[size] = '\0';
}

static void note_longer(longer *l, char type, const unsigned char *data, size_t size)
{
    if (type == 'x' && size <= MAX_PAX) {
        pax_value(data, size, "path=", l->name, sizeof l->name);
        pax_value(data, size, "linkpath=", l->link, sizeof l->link);
    } else if (type == 'L') { /* GNU's long names */
        copy_name(l->name, data, size, sizeof l->name);
    } else if (type == 'K') {
        copy_name(l->link, data, size, sizeof l->link);
    }
}

static cm_status take_member(cm_listing *listing, const longer *l, const unsigned char *h, size_t at, size_t size)
{
    char name[sizeof l->name], link[101] = "", type = (char)h[156];
    if (l->name[0]) memcpy(name, l->name, sizeof name);
    else ustar_name(h, name);
    memcpy(link, h + 157, 100);
    if (type == '0' || type == '\0' || type == '7') return cm_listing_add(listing, name, at, size);
    if (type == '1') return cm_listing_add_hard_link(listing, name, l->link[0] ? l->link : link);
    if (type == '2') cm_listing_skip_link(listing, name, 0);
    return CM_OK;
}

static cm_status read_members(cm_source *s, const char *path, cm_listing *listing)
{
    const state *st = s->state;
    longer names;
    names.name[0] = names.link[0] = '\0';
    for (size_t at = 0; at + BLOCK <= st->file.size;) {
        const unsigned char *h = st->file.data + at;
        uint64_t size;
        if (h[0] == '\0') break; /* the end: blocks of zeros */
        if (!checksum_fits(h) || !number(h + 124, 12, &size))
            CM_FAIL(CM_ERR_FORMAT, "%s: the header at byte %zu is damaged", path, at);
        char type = (char)h[156];
        if (type >= '1' && type <= '6') size = 0; /* links, folders and devices have no content */
        at += BLOCK;
        if (size > st->file.size - at)
            CM_FAIL(CM_ERR_FORMAT, "%s: truncated: a member at byte %zu claims %llu bytes, %zu are there", path, at,
                    (unsigned long long)size, st->file.size - at);
        if (type == 'x' || type == 'L' || type == 'K') {
            note_longer(&names, type, st->file.data + at, (size_t)size);
        } else if (type != 'g') {
            CM_TRY(take_member(listing, &names, h, at, (size_t)size));
            names.name[0] = names.link[0] = '\0';
        }
        size_t padded = ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
        at = padded > st->file.size - at ? st->file.size : at + padded;
    }
    return CM_OK;
}

static cm_status read_head(void *user, const char *path, uint64_t place, unsigned char *out, size_t n, size_t *got)
{
    const state *st = user;
    (void)path;
    *got = st->file.size - place < n ? st->file.size - (size_t)place : n;
    memcpy(out, st->file.data + place, *got);
    return CM_OK;
}

static cm_status take_json(cm_source *s, const cm_entry *json)
{
    const state *st = s->state;
    if (!json->name) return CM_OK;
    s->dataset_json = cm_malloc(s->context, json->size + 1, 1);
    if (!s->dataset_json) return CM_ERR_MEMORY;
    memcpy(s->dataset_json, st->file.data + json->place, json->size);
    s->dataset_json[json->size] = '\0';
    return CM_OK;
}

static cm_status open_tar(cm_source *s, const char *path)
{
    cm_listing listing;
    state *st = cm_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    CM_TRY(cm_mapping_open(path, &st->file));
    cm_listing_begin(&listing, s->context, path, read_head, st);
    cm_status status = read_members(s, path, &listing);
    if (status == CM_OK) status = cm_listing_finish(&listing, s, 0);
    if (status == CM_OK) status = take_json(s, &listing.json);
    cm_listing_end(&listing);
    return status;
}

static void close_tar(cm_source *s)
{
    state *st = s->state;
    cm_mapping_close(&st->file);
    cm_free(s->context, st);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    const state *st = s->state;
    return cm_source_decode(s, s->names[i], st->file.data + s->places[i], (size_t)s->sizes[i], channels, out);
}

const cm_source_kind cm_source_tar = {"tar", recognise, open_tar, close_tar, picture};
