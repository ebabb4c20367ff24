/* pickle_machine.c - the memory of the machine, the bytes of its program, its stack. */
#include "io/pickle_machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BASE_MEMORY = 8 << 20, MEMORY_PER_BYTE = 8, CHUNK = 16 << 10, WORDS = 256 };

cm_status cmi_pickle_fail(const cm_pickle *p, cm_status status, const char *format, ...)
{
    char words[WORDS];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    CM_FAIL(status, "%s: %s, byte %zu: %s", p->input->name, p->what, p->opcode - p->begin, words);
}

/* --- memory ----------------------------------------------------------------------------- */

static cm_status charge(cm_pickle *p, size_t bytes)
{
    if (bytes > p->most - p->memory)
        return cmi_pickle_fail(p, CM_ERR_LIMIT, "its values need more than the limit of %zu bytes", p->most);
    p->memory += bytes;
    return CM_OK;
}

cm_status cmi_pickle_allocate(cm_pickle *p, size_t bytes, void **out)
{
    cm_pickle_chunk *c = p->chunks;
    bytes = (bytes + 7) / 8 * 8;
    if (!c || bytes > c->size - c->used) {
        size_t size = bytes > CHUNK ? bytes : CHUNK;
        CM_TRY(charge(p, size + sizeof *c));
        c = cmi_malloc(p->context, size + sizeof *c, 1);
        if (!c) return CM_ERR_MEMORY;
        *c = (cm_pickle_chunk){p->chunks, 0, size};
        p->chunks = c;
    }
    *out = (unsigned char *)(c + 1) + c->used;
    c->used += bytes;
    return CM_OK;
}

/* Room for one element more in an array of the machine. */
cm_status cmi_pickle_grow(cm_pickle *p, void **list, size_t size, size_t count, size_t *capacity)
{
    size_t before = *capacity;
    if (count < before) return CM_OK;
    CM_TRY(charge(p, (before ? before : 64) * size));
    void *larger = cmi_grown(p->context, *list, size, count, capacity);
    if (!larger) return CM_ERR_MEMORY;
    *list = larger;
    return CM_OK;
}

cm_status cmi_pickle_make(cm_pickle *p, cm_pickled_kind kind, cm_pickled **out)
{
    void *memory;
    CM_TRY(cmi_pickle_allocate(p, sizeof **out, &memory));
    *out = memory;
    memset(*out, 0, sizeof **out);
    (*out)->kind = (uint8_t)kind;
    return CM_OK;
}

cm_status cmi_pickle_keep(cm_pickle *p, const char *text, const char **out)
{
    const size_t n = strlen(text) + 1;
    void *memory;
    CM_TRY(cmi_pickle_allocate(p, n, &memory));
    memcpy(memory, text, n);
    *out = memory;
    return CM_OK;
}

cm_status cmi_pickle_make_text(cm_pickle *p, const char *text, cm_pickled **out)
{
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_TEXT, out));
    CM_TRY(cmi_pickle_keep(p, text, &(*out)->u.text));
    (*out)->count = (uint32_t)strlen(text);
    return CM_OK;
}

cm_status cmi_pickle_append(cm_pickle *p, cm_pickled *to, cm_pickled *item)
{
    if (item->depth >= CM_PICKLE_DEPTH)
        return cmi_pickle_fail(p, CM_ERR_LIMIT, "values nest deeper than the limit of %d", CM_PICKLE_DEPTH);
    if (to->count == to->capacity) {
        uint32_t capacity = to->capacity ? 2 * to->capacity : 2;
        void *memory;
        if (to->capacity > UINT32_MAX / 4) return cmi_pickle_fail(p, CM_ERR_LIMIT, "too many items");
        CM_TRY(cmi_pickle_allocate(p, capacity * sizeof *to->u.items, &memory));
        if (to->count) memcpy(memory, to->u.items, to->count * sizeof *to->u.items);
        to->u.items = memory;
        to->capacity = capacity;
    }
    to->u.items[to->count++] = item;
    if (to->depth < item->depth + 1) to->depth = (uint8_t)(item->depth + 1);
    return CM_OK;
}

cm_status cmi_pickle_name_storage(cm_pickle *p, cm_pickled *storage)
{
    void *list = p->storages;
    CM_TRY(cmi_pickle_grow(p, &list, sizeof *p->storages, p->n_storages, &p->storage_room));
    p->storages = list;
    p->storages[p->n_storages++] = storage;
    return CM_OK;
}

/* --- bytes ------------------------------------------------------------------------------ */

cm_status cmi_pickle_check_left(const cm_pickle *p, uint64_t n, const char *of)
{
    if (n > p->end - p->at)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "truncated: %s needs %llu bytes, %zu are left", of,
                               (unsigned long long)n, p->end - p->at);
    return CM_OK;
}

/* The next n bytes, at most CM_PICKLE_WINDOW. */
cm_status cmi_pickle_take(cm_pickle *p, size_t n, const char *of, const unsigned char **out)
{
    CM_TRY(cmi_pickle_check_left(p, n, of));
    if (p->at < p->window_at || p->at - p->window_at > p->window_size ||
        n > p->window_size - (p->at - p->window_at)) {
        size_t size = p->end - p->at < CM_PICKLE_WINDOW ? p->end - p->at : CM_PICKLE_WINDOW;
        p->window_size = 0;
        CM_TRY(cmi_input_read(p->input, p->at, p->window, size));
        p->window_at = p->at;
        p->window_size = size;
    }
    *out = p->window + (p->at - p->window_at);
    p->at += n;
    return CM_OK;
}

uint64_t cmi_pickle_little_endian(const unsigned char *bytes, size_t n)
{
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | bytes[n];
    return v;
}

cm_status cmi_pickle_number(cm_pickle *p, size_t n, const char *of, uint64_t *out)
{
    const unsigned char *bytes;
    CM_TRY(cmi_pickle_take(p, n, of, &bytes));
    *out = cmi_pickle_little_endian(bytes, n);
    return CM_OK;
}

/* --- the stack -------------------------------------------------------------------------- */

size_t cmi_pickle_floor(const cm_pickle *p)
{
    return p->n_marks ? p->marks[p->n_marks - 1] : 0;
}

cm_status cmi_pickle_push(cm_pickle *p, cm_pickled *v)
{
    void *list = p->stack;
    CM_TRY(cmi_pickle_grow(p, &list, sizeof *p->stack, p->depth, &p->stack_room));
    p->stack = list;
    p->stack[p->depth++] = v;
    return CM_OK;
}

cm_status cmi_pickle_pop(cm_pickle *p, cm_pickled **out)
{
    if (p->depth == cmi_pickle_floor(p)) return cmi_pickle_fail(p, CM_ERR_FORMAT, "the stack is empty");
    *out = p->stack[--p->depth];
    return CM_OK;
}

cm_status cmi_pickle_top(cm_pickle *p, cm_pickled **out)
{
    CM_TRY(cmi_pickle_pop(p, out));
    p->depth++;
    return CM_OK;
}

/* The values above the last mark: *from is the place of the first. */
cm_status cmi_pickle_pop_mark(cm_pickle *p, size_t *from)
{
    if (!p->n_marks) return cmi_pickle_fail(p, CM_ERR_FORMAT, "there is no mark on the stack");
    *from = p->marks[--p->n_marks];
    return CM_OK;
}

cm_status cmi_pickle_push_new(cm_pickle *p, cm_pickled_kind kind, cm_pickled **out)
{
    CM_TRY(cmi_pickle_make(p, kind, out));
    return cmi_pickle_push(p, *out);
}

/* --- its beginning and end ---------------------------------------------------------------- */

cm_status cmi_pickle_open(const cm_input *input, size_t size, cm_pickle **out)
{
    cm_pickle *p = cmi_calloc(input->context, 1, sizeof *p);
    *out = p;
    if (!p) return CM_ERR_MEMORY;
    p->context = input->context;
    p->input = input;
    p->most = size < (SIZE_MAX - BASE_MEMORY) / MEMORY_PER_BYTE ? BASE_MEMORY + size * MEMORY_PER_BYTE : SIZE_MAX;
    return CM_OK;
}

void cmi_pickle_close(cm_pickle *p)
{
    if (!p) return;
    for (cm_pickle_chunk *c = p->chunks, *next; c; c = next) {
        next = c->next;
        cmi_free(p->context, c);
    }
    cmi_free(p->context, p->stack);
    cmi_free(p->context, p->memo);
    cmi_free(p->context, p->marks);
    cmi_free(p->context, p->storages);
    cmi_free(p->context, p);
}
