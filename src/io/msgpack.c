/* msgpack.c - see the header. */
#include "io/msgpack.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/utf8.h"

/* The bytes c0 to df: what they begin, and how wide its number or length is; a width of 0 and a size is a fixed
 * extension. */
static const struct {
    unsigned char kind, width, size;
} tags[32] = {
    {CM_MSGPACK_NIL, 0, 0},        {CM_MSGPACK_RESERVED, 0, 0},  {CM_MSGPACK_BOOL, 0, 0},
    {CM_MSGPACK_BOOL, 0, 0},       {CM_MSGPACK_BYTES, 1, 0},     {CM_MSGPACK_BYTES, 2, 0},
    {CM_MSGPACK_BYTES, 4, 0},      {CM_MSGPACK_EXTENSION, 1, 0}, {CM_MSGPACK_EXTENSION, 2, 0},
    {CM_MSGPACK_EXTENSION, 4, 0},  {CM_MSGPACK_FLOAT, 4, 0},     {CM_MSGPACK_FLOAT, 8, 0},
    {CM_MSGPACK_INT, 1, 0},        {CM_MSGPACK_INT, 2, 0},       {CM_MSGPACK_INT, 4, 0},
    {CM_MSGPACK_INT, 8, 0},        {CM_MSGPACK_INT, 1, 0},       {CM_MSGPACK_INT, 2, 0},
    {CM_MSGPACK_INT, 4, 0},        {CM_MSGPACK_INT, 8, 0},       {CM_MSGPACK_EXTENSION, 0, 1},
    {CM_MSGPACK_EXTENSION, 0, 2},  {CM_MSGPACK_EXTENSION, 0, 4}, {CM_MSGPACK_EXTENSION, 0, 8},
    {CM_MSGPACK_EXTENSION, 0, 16}, {CM_MSGPACK_TEXT, 1, 0},      {CM_MSGPACK_TEXT, 2, 0},
    {CM_MSGPACK_TEXT, 4, 0},       {CM_MSGPACK_LIST, 2, 0},      {CM_MSGPACK_LIST, 4, 0},
    {CM_MSGPACK_MAP, 2, 0},        {CM_MSGPACK_MAP, 4, 0},
};

const char *cmi_msgpack_name(cm_msgpack_kind kind)
{
    static const char *const names[] = {"a reserved byte", "nil",         "a truth value", "a whole number",
                                        "a number",        "a text",      "bytes",         "a list",
                                        "a map",           "an extension"};
    return names[kind];
}

/* --- a value --------------------------------------------------------------------------------- */

static cm_status truncated(const cm_input *in, size_t at, const cm_msgpack *v, size_t need, size_t left)
{
    CM_FAIL(CM_ERR_FORMAT, "%s: truncated: at byte %zu %s claims %zu bytes, %zu are left", in->name, at,
            cmi_msgpack_name(v->kind), need, left);
}

static cm_status read_bytes(const cm_input *in, size_t *at, size_t end, unsigned char *out, size_t n)
{
    if (n > end - *at)
        CM_FAIL(CM_ERR_FORMAT, "%s: truncated: at byte %zu a value needs %zu bytes, %zu are left", in->name, *at, n,
                end - *at);
    CM_TRY(cmi_input_read(in, *at, out, n));
    *at += n;
    return CM_OK;
}

/* Values whose first byte says it all. */
static int is_short(unsigned char tag, cm_msgpack *out)
{
    if (tag < 0x80) *out = (cm_msgpack){.kind = CM_MSGPACK_INT, .bits = tag};
    else if (tag >= 0xe0) *out = (cm_msgpack){.kind = CM_MSGPACK_INT, .negative = 1, .bits = (uint64_t)(tag - 256)};
    else if (tag < 0x90) *out = (cm_msgpack){.kind = CM_MSGPACK_MAP, .size = tag & 15u};
    else if (tag < 0xa0) *out = (cm_msgpack){.kind = CM_MSGPACK_LIST, .size = tag & 15u};
    else if (tag < 0xc0) *out = (cm_msgpack){.kind = CM_MSGPACK_TEXT, .size = tag & 31u};
    else return 0;
    return 1;
}

/* The number behind the tag: a value, or how long it is. */
static cm_status read_number(const cm_input *in, size_t *at, size_t end, unsigned char tag, cm_msgpack *out)
{
    unsigned char bytes[8], width = tags[tag - 0xc0].width;
    CM_TRY(read_bytes(in, at, end, bytes, width));
    for (int i = 0; i < width; i++) out->bits = out->bits << 8 | bytes[i];
    if (tag >= 0xd0 && tag <= 0xd3 && bytes[0] >> 7) {
        out->negative = 1;
        if (width < 8) out->bits |= UINT64_MAX << (8 * width);
    }
    if (out->kind == CM_MSGPACK_BOOL) out->bits = tag == 0xc3;
    if (out->kind >= CM_MSGPACK_TEXT) out->size = width ? (size_t)out->bits : tags[tag - 0xc0].size;
    return CM_OK;
}

/* The type of an extension, then the bytes of what has some. */
static cm_status take_bytes(const cm_input *in, size_t *at, size_t end, cm_msgpack *out)
{
    unsigned char type;
    size_t begin = *at;
    if (out->kind == CM_MSGPACK_EXTENSION) {
        CM_TRY(read_bytes(in, at, end, &type, 1));
        out->type = type < 128 ? type : type - 256;
    }
    if (out->size > end - *at) return truncated(in, begin, out, out->size, end - *at);
    out->at = *at;
    *at += out->size;
    return CM_OK;
}

cm_status cmi_msgpack_next(const cm_input *in, size_t *at, size_t end, cm_msgpack *out)
{
    unsigned char tag;
    size_t begin = *at;
    CM_TRY(read_bytes(in, at, end, &tag, 1));
    if (!is_short(tag, out)) {
        *out = (cm_msgpack){.kind = (cm_msgpack_kind)tags[tag - 0xc0].kind};
        CM_TRY(read_number(in, at, end, tag, out));
    }
    switch (out->kind) {
    case CM_MSGPACK_RESERVED:
        CM_FAIL(CM_ERR_FORMAT, "%s: the reserved byte c1 at byte %zu begins no value", in->name, begin);
    case CM_MSGPACK_TEXT:
    case CM_MSGPACK_BYTES:
    case CM_MSGPACK_EXTENSION: return take_bytes(in, at, end, out);
    case CM_MSGPACK_LIST:
    case CM_MSGPACK_MAP: {
        size_t need = out->kind == CM_MSGPACK_MAP ? 2 * out->size : out->size;
        if (need > end - *at)
            CM_FAIL(CM_ERR_FORMAT, "%s: truncated: at byte %zu %s claims %zu values, %zu bytes are left", in->name,
                    begin, cmi_msgpack_name(out->kind), need, end - *at);
        return CM_OK;
    }
    default: return CM_OK;
    }
}

cm_status cmi_msgpack_skip(const cm_input *in, size_t *at, size_t end)
{
    cm_msgpack v;
    for (size_t left = 1; left > 0;) {
        CM_TRY(cmi_msgpack_next(in, at, end, &v));
        left--;
        if (v.kind == CM_MSGPACK_LIST) left += v.size;
        if (v.kind == CM_MSGPACK_MAP) left += 2 * v.size;
        if (left > end - *at)
            CM_FAIL(CM_ERR_FORMAT, "%s: truncated: at byte %zu %zu values are still to come, %zu bytes are left",
                    in->name, *at, left, end - *at);
    }
    return CM_OK;
}

cm_status cmi_msgpack_is(const cm_input *in, const cm_msgpack *v, const char *text, int *same)
{
    char bytes[256];
    *same = 0;
    if (v->kind != CM_MSGPACK_TEXT || v->size != strlen(text) || v->size > sizeof bytes) return CM_OK;
    CM_TRY(cmi_input_read(in, v->at, bytes, v->size));
    *same = memcmp(bytes, text, v->size) == 0;
    return CM_OK;
}

cm_status cmi_msgpack_find(const cm_input *in, const cm_msgpack *map, size_t at, size_t end, const char *key,
                           size_t *begin, int *found)
{
    cm_msgpack v;
    *found = 0;
    for (size_t i = 0; i < map->size && !*found; i++) {
        CM_TRY(cmi_msgpack_next(in, &at, end, &v));
        CM_TRY(cmi_msgpack_is(in, &v, key, found));
        if (!*found) CM_TRY(cmi_msgpack_skip(in, &at, end));
    }
    *begin = at;
    return CM_OK;
}

/* --- the whole ------------------------------------------------------------------------------- */

typedef struct {
    uint64_t hash;
    size_t at;
} key;

/* An open list or map. */
typedef struct {
    size_t left; /* values to come */
    int is_map;
    key *keys;
    size_t n_keys;
} level;

typedef struct {
    const cm_input *in;
    size_t at, end, promised; /* values to come of all levels */
    level levels[CM_MSGPACK_DEPTH];
    int depth;
} check;

static int by_hash(const void *a, const void *b)
{
    const key *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static cm_status check_keys(const check *c, level *l)
{
    if (l->n_keys) qsort(l->keys, l->n_keys, sizeof *l->keys, by_hash);
    for (size_t i = 1; i < l->n_keys; i++) {
        cm_msgpack v;
        char text[65] = "";
        size_t at = l->keys[i].at;
        if (l->keys[i].hash != l->keys[i - 1].hash) continue;
        CM_TRY(cmi_msgpack_next(c->in, &at, c->end, &v));
        CM_TRY(cmi_input_read(c->in, v.at, text, v.size < 64 ? v.size : 64));
        CM_FAIL(CM_ERR_FORMAT, "%s: the key '%s' stands twice in a map, one of them at byte %zu", c->in->name, text,
                v.at);
    }
    return CM_OK;
}

static cm_status add_key(const check *c, level *l, const cm_msgpack *v, size_t begin)
{
    char text[CM_MSGPACK_KEY];
    if (v->kind != CM_MSGPACK_TEXT)
        CM_FAIL(CM_ERR_FORMAT, "%s: the key at byte %zu is not a text but %s", c->in->name, begin,
                cmi_msgpack_name(v->kind));
    if (v->size > sizeof text)
        CM_FAIL(CM_ERR_LIMIT, "%s: a key of %zu bytes at byte %zu is over the limit of %d", c->in->name, v->size,
                v->at, CM_MSGPACK_KEY);
    CM_TRY(cmi_input_read(c->in, v->at, text, v->size));
    for (size_t i = 0, n; i < v->size; i += n) {
        n = text[i] ? cmi_utf8_length(text + i, v->size - i) : 0;
        if (!n) CM_FAIL(CM_ERR_FORMAT, "%s: the key at byte %zu is not UTF-8 without NUL", c->in->name, v->at);
    }
    l->keys[l->n_keys++] = (key){XXH3_64bits(text, v->size), begin};
    return CM_OK;
}

static cm_status open_level(check *c, const cm_msgpack *v)
{
    level *l = &c->levels[c->depth];
    if (c->depth == CM_MSGPACK_DEPTH)
        CM_FAIL(CM_ERR_LIMIT, "%s: lists and maps are nested more than %d deep at byte %zu", c->in->name,
                CM_MSGPACK_DEPTH, c->at);
    *l = (level){.left = v->size, .is_map = v->kind == CM_MSGPACK_MAP};
    if (l->is_map) l->left *= 2;
    c->promised += l->left;
    if (c->promised > c->end - c->at)
        CM_FAIL(CM_ERR_FORMAT, "%s: truncated: at byte %zu %zu values are still to come, %zu bytes are left",
                c->in->name, c->at, c->promised, c->end - c->at);
    if (l->is_map && v->size > CM_MSGPACK_KEYS)
        CM_FAIL(CM_ERR_LIMIT, "%s: a map of %zu entries at byte %zu is over the limit of %d", c->in->name, v->size,
                c->at, CM_MSGPACK_KEYS);
    if (l->is_map && v->size) {
        l->keys = cmi_calloc(c->in->context, v->size, sizeof *l->keys);
        if (!l->keys) return CM_ERR_MEMORY;
    }
    c->depth++;
    return CM_OK;
}

static cm_status check_value(check *c)
{
    cm_msgpack v;
    const size_t begin = c->at;
    level *l = c->depth ? &c->levels[c->depth - 1] : NULL;
    CM_TRY(cmi_msgpack_next(c->in, &c->at, c->end, &v));
    c->promised--;
    if (l && l->is_map && l->left % 2 == 0) CM_TRY(add_key(c, l, &v, begin));
    if (l) l->left--;
    if (v.kind == CM_MSGPACK_LIST || v.kind == CM_MSGPACK_MAP) CM_TRY(open_level(c, &v));
    for (; c->depth && c->levels[c->depth - 1].left == 0; c->depth--) {
        l = &c->levels[c->depth - 1];
        CM_TRY(check_keys(c, l));
        cmi_free(c->in->context, l->keys);
        l->keys = NULL;
    }
    return CM_OK;
}

cm_status cmi_msgpack_check(const cm_input *in, size_t at, size_t end)
{
    check c = {.in = in, .at = at, .end = end, .promised = 1};
    cm_status status = CM_OK;
    while (status == CM_OK && c.promised) status = check_value(&c);
    for (int i = 0; i < c.depth; i++) cmi_free(in->context, c.levels[i].keys);
    if (status == CM_OK && c.at != end)
        status =
            cmi_fail(CM_ERR_FORMAT, "%s: %zu bytes follow the end of its one msgpack value", in->name, end - c.at);
    return status;
}
