/* tar.c - ustar and pax archives: regular members that are pictures.  The archive
 * is mapped; nothing is unpacked. */
#include <stdlib.h>
#include <string.h>

#include "data/source.h"
#include "io/directory.h"

enum { BLOCK = 512, MAX_MEMBERS = 100000000, MAX_PAX = 1 << 20 };

typedef struct {
    size_t offset, size;
} member;

typedef struct {
    cm_mapping file;
    member *members;
    size_t capacity;
} state;

static int recognise(const char *path)
{
    cm_mapping file;
    if (cm_path_kind(path) != 2 || cm_mapping_open(path, &file) != CM_OK) return 0;
    int tar = file.size >= BLOCK && memcmp(file.data + 257, "ustar", 5) == 0;
    cm_mapping_close(&file);
    return tar;
}

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

static cm_status add(cm_source *s, const char *name, size_t offset, size_t size)
{
    state *st = s->state;
    if (s->count == st->capacity) {
        size_t wanted = st->capacity ? 2 * st->capacity : 256;
        member *members = cm_calloc(s->context, wanted, sizeof *members);
        char **names = cm_calloc(s->context, wanted, sizeof *names);
        if (!members || !names) {
            cm_free(s->context, members);
            cm_free(s->context, names);
            return CM_ERR_MEMORY;
        }
        if (s->count) {
            memcpy(members, st->members, s->count * sizeof *members);
            memcpy(names, s->names, s->count * sizeof *names);
        }
        cm_free(s->context, st->members);
        cm_free(s->context, s->names);
        st->members = members;
        s->names = names;
        st->capacity = wanted;
    }
    s->names[s->count] = cm_strdup(s->context, name);
    if (!s->names[s->count]) return CM_ERR_MEMORY;
    st->members[s->count++] = (member){offset, size};
    s->bytes += size;
    return CM_OK;
}

/* "LENGTH path=NAME\n" records; others are skipped. */
static void pax_path(const unsigned char *data, size_t size, char *name, size_t limit)
{
    size_t at = 0;
    while (at < size) {
        size_t length = 0, digits = 0;
        while (at + digits < size && data[at + digits] >= '0' && data[at + digits] <= '9' && digits < 9)
            length = 10 * length + (size_t)(data[at + digits++] - '0');
        if (digits == 0 || length < digits + 3 || length > size - at || data[at + digits] != ' ') return;
        const unsigned char *record = data + at + digits + 1;
        size_t rest = length - digits - 2; /* without the newline */
        if (rest > 5 && memcmp(record, "path=", 5) == 0 && rest - 5 < limit) {
            memcpy(name, record + 5, rest - 5);
            name[rest - 5] = '\0';
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

static cm_status take_json(cm_source *s, const unsigned char *data, size_t size)
{
    cm_free(s->context, s->dataset_json);
    s->dataset_json = cm_malloc(s->context, size + 1, 1);
    if (!s->dataset_json) return CM_ERR_MEMORY;
    memcpy(s->dataset_json, data, size);
    s->dataset_json[size] = '\0';
    return CM_OK;
}

static cm_status read_members(cm_source *s, const char *path)
{
    state *st = s->state;
    char name[4096] = "", longer[4096] = "";
    for (size_t at = 0; at + BLOCK <= st->file.size;) {
        const unsigned char *h = st->file.data + at;
        uint64_t size;
        if (h[0] == '\0') break; /* the end: blocks of zeros */
        if (!checksum_fits(h) || !number(h + 124, 12, &size))
            CM_FAIL(CM_ERR_FORMAT, "%s: the header at byte %zu is damaged", path, at);
        at += BLOCK;
        if (size > st->file.size - at)
            CM_FAIL(CM_ERR_FORMAT, "%s: truncated: a member at byte %zu claims %llu bytes, %zu are there", path, at,
                    (unsigned long long)size, st->file.size - at);
        const unsigned char *data = st->file.data + at;
        char type = (char)h[156];
        if (type == 'x' && size <= MAX_PAX) {
            pax_path(data, (size_t)size, longer, sizeof longer);
        } else if (type == 'L' && size < sizeof longer) { /* GNU's long name */
            memcpy(longer, data, (size_t)size);
            longer[size] = '\0';
        } else if (type == '0' || type == '\0') {
            if (longer[0]) memcpy(name, longer, sizeof name);
            else ustar_name(h, name);
            longer[0] = '\0';
            CM_TRY(cm_source_check_name(path, name));
            if (cm_source_is_picture(name)) CM_TRY(add(s, name, at, (size_t)size));
            else if (strcmp(name, "dataset.json") == 0) CM_TRY(take_json(s, data, (size_t)size));
        } else if (type != 'g') {
            longer[0] = '\0';
        }
        size_t padded = ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
        at = padded > st->file.size - at ? st->file.size : at + padded;
    }
    return CM_OK;
}

static cm_status open_tar(cm_source *s, const char *path)
{
    state *st = cm_calloc(s->context, 1, sizeof *st);
    if (!st) return CM_ERR_MEMORY;
    s->state = st;
    CM_TRY(cm_mapping_open(path, &st->file));
    return read_members(s, path);
}

static void close_tar(cm_source *s)
{
    state *st = s->state;
    cm_mapping_close(&st->file);
    cm_free(s->context, st->members);
    cm_free(s->context, st);
}

static cm_status picture(cm_source *s, size_t i, int32_t channels, cm_picture *out)
{
    const state *st = s->state;
    return cm_source_decode(s, s->names[i], st->file.data + st->members[i].offset, st->members[i].size, channels, out);
}

const cm_source_kind cm_source_tar = {"tar", recognise, open_tar, close_tar, picture};
