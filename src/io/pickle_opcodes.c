/* pickle_opcodes.c - the closed list of opcodes: a function each, and those that are refused by name. */
#include <string.h>

#include "base/utf8.h"
#include "io/pickle_machine.h"

static cm_status op_proto(cm_pickle *p, const cm_opcode *op)
{
    uint64_t version;
    CM_TRY(cmi_pickle_number(p, 1, op->name, &version));
    if (version < 2 || version > 5)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "PROTO %d: protocols 2 to 5 are known", (int)version);
    return CM_OK;
}

/* The size of the bytes that follow; they need no look of their own. */
static cm_status op_frame(cm_pickle *p, const cm_opcode *op)
{
    uint64_t size;
    CM_TRY(cmi_pickle_number(p, 8, op->name, &size));
    return cmi_pickle_check_left(p, size, op->name);
}

static cm_status op_mark(cm_pickle *p, const cm_opcode *op)
{
    void *list = p->marks;
    (void)op;
    if (p->depth > UINT32_MAX) return cmi_pickle_fail(p, CM_ERR_LIMIT, "the stack is too high");
    CM_TRY(cmi_pickle_grow(p, &list, sizeof *p->marks, p->n_marks, &p->mark_room));
    p->marks = list;
    p->marks[p->n_marks++] = (uint32_t)p->depth;
    return CM_OK;
}

static cm_status op_constant(cm_pickle *p, const cm_opcode *op)
{
    cm_pickled *v;
    CM_TRY(cmi_pickle_push_new(p, op->value < 0 ? CM_PICKLED_NONE : CM_PICKLED_BOOL, &v));
    v->u.integer = op->value;
    return CM_OK;
}

static cm_status op_int(cm_pickle *p, const cm_opcode *op)
{
    uint64_t bits;
    cm_pickled *v;
    CM_TRY(cmi_pickle_number(p, (size_t)op->size, op->name, &bits));
    CM_TRY(cmi_pickle_push_new(p, CM_PICKLED_INT, &v));
    v->u.integer = op->size == 4 ? (int32_t)(uint32_t)bits : (int64_t)bits;
    return CM_OK;
}

/* Two's complement of any length: up to 8 bytes, or the magic number. */
static cm_status op_long(cm_pickle *p, const cm_opcode *op)
{
    static const unsigned char magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    const unsigned char *bytes;
    uint64_t n;
    cm_pickled *v;
    CM_TRY(cmi_pickle_number(p, 1, op->name, &n));
    CM_TRY(cmi_pickle_take(p, (size_t)n, op->name, &bytes));
    int is_magic = n == sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
    if (n > 8 && !is_magic)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "LONG1: an integer of %d bytes; at most 8 are read", (int)n);
    uint64_t bits = is_magic ? 0 : cmi_pickle_little_endian(bytes, (size_t)n);
    if (n > 0 && n < 8 && bytes[n - 1] & 0x80) bits |= UINT64_MAX << (8 * n);
    CM_TRY(cmi_pickle_push_new(p, is_magic ? CM_PICKLED_MAGIC : CM_PICKLED_INT, &v));
    v->u.integer = (int64_t)bits;
    return CM_OK;
}

static cm_status op_float(cm_pickle *p, const cm_opcode *op)
{
    const unsigned char *bytes;
    uint64_t bits = 0;
    cm_pickled *v;
    CM_TRY(cmi_pickle_take(p, 8, op->name, &bytes));
    for (int i = 0; i < 8; i++) bits = bits << 8 | bytes[i];
    CM_TRY(cmi_pickle_push_new(p, CM_PICKLED_FLOAT, &v));
    memcpy(&v->u.number, &bits, sizeof bits);
    return CM_OK;
}

static cm_status keep_text(cm_pickle *p, const cm_opcode *op, size_t n, const char **out)
{
    const unsigned char *bytes;
    void *memory;
    CM_TRY(cmi_pickle_take(p, n, op->name, &bytes));
    for (size_t i = 0, step; i < n; i += step) {
        step = cmi_utf8_length((const char *)bytes + i, n - i);
        if (!step) return cmi_pickle_fail(p, CM_ERR_FORMAT, "%s: a string that is not valid UTF-8", op->name);
    }
    CM_TRY(cmi_pickle_allocate(p, n + 1, &memory));
    memcpy(memory, bytes, n);
    ((char *)memory)[n] = '\0';
    *out = memory;
    return CM_OK;
}

/* Text and bytes of a length of 1, 4 or 8 bytes.  Long text (source code, say) and all bytes are passed over. */
static cm_status op_string(cm_pickle *p, const cm_opcode *op)
{
    uint64_t n;
    cm_pickled *v;
    CM_TRY(cmi_pickle_number(p, (size_t)op->size, op->name, &n));
    CM_TRY(cmi_pickle_check_left(p, n, op->name));
    if (n > UINT32_MAX) return cmi_pickle_fail(p, CM_ERR_LIMIT, "%s: more than 4 GiB", op->name);
    CM_TRY(cmi_pickle_push_new(p, (cm_pickled_kind)op->value, &v));
    v->count = (uint32_t)n;
    if (v->kind == CM_PICKLED_TEXT && n <= CM_TENSOR_NAME) return keep_text(p, op, (size_t)n, &v->u.text);
    if (v->kind == CM_PICKLED_BYTES) v->u.integer = (int64_t)p->at;
    p->at += (size_t)n;
    return CM_OK;
}

static cm_status op_empty(cm_pickle *p, const cm_opcode *op)
{
    cm_pickled *v;
    return cmi_pickle_push_new(p, (cm_pickled_kind)op->value, &v);
}

/* op->value: how many of the stack; -1: those above the mark. */
static cm_status op_tuple(cm_pickle *p, const cm_opcode *op)
{
    size_t from = 0, n = (size_t)op->value;
    cm_pickled *v;
    if (op->value < 0) CM_TRY(cmi_pickle_pop_mark(p, &from));
    else if (p->depth - cmi_pickle_floor(p) < n) return cmi_pickle_fail(p, CM_ERR_FORMAT, "the stack is empty");
    else from = p->depth - n;
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_TUPLE, &v));
    for (size_t i = from; i < p->depth; i++) CM_TRY(cmi_pickle_append(p, v, p->stack[i]));
    p->depth = from;
    return cmi_pickle_push(p, v);
}

/* Appends to what lies under the values; op->value is what that has to be, op->size whether there is a mark. */
static cm_status op_fill(cm_pickle *p, const cm_opcode *op)
{
    size_t step = op->value == CM_PICKLED_DICT ? 2 : 1, from = p->depth - step;
    cm_pickled *to;
    if (op->size) CM_TRY(cmi_pickle_pop_mark(p, &from));
    else if (p->depth - cmi_pickle_floor(p) < step) return cmi_pickle_fail(p, CM_ERR_FORMAT, "the stack is empty");
    size_t n = p->depth - from;
    if (n % step) return cmi_pickle_fail(p, CM_ERR_FORMAT, "%s: a key without a value", op->name);
    if (from == cmi_pickle_floor(p)) return cmi_pickle_fail(p, CM_ERR_FORMAT, "the stack is empty");
    to = p->stack[from - 1];
    if (to->kind == CM_PICKLED_OPAQUE) { /* an array of objects, say */
        p->depth = from;
        return CM_OK;
    }
    if (to->kind != op->value)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "%s: %s cannot take items", op->name, cmi_pickled_name(to));
    for (size_t i = from; i < p->depth; i++) CM_TRY(cmi_pickle_append(p, to, p->stack[i]));
    p->depth = from;
    return CM_OK;
}

static cm_status put(cm_pickle *p, uint64_t index)
{
    cm_pickled *v = NULL;
    CM_TRY(cmi_pickle_top(p, &v));
    if (index > 2 * p->operations + 256)
        return cmi_pickle_fail(p, CM_ERR_LIMIT, "memo index %llu is far beyond the %llu opcodes before it",
                               (unsigned long long)index, (unsigned long long)p->operations);
    while (p->memo_count <= index) {
        void *list = p->memo;
        CM_TRY(cmi_pickle_grow(p, &list, sizeof *p->memo, p->memo_count, &p->memo_room));
        p->memo = list;
        p->memo[p->memo_count++] = NULL;
    }
    p->memo[index] = v;
    return CM_OK;
}

static cm_status op_put(cm_pickle *p, const cm_opcode *op)
{
    uint64_t index;
    CM_TRY(cmi_pickle_number(p, (size_t)op->size, op->name, &index));
    return put(p, index);
}

static cm_status op_memoize(cm_pickle *p, const cm_opcode *op)
{
    (void)op;
    return put(p, p->memo_count);
}

static cm_status op_get(cm_pickle *p, const cm_opcode *op)
{
    uint64_t index;
    CM_TRY(cmi_pickle_number(p, (size_t)op->size, op->name, &index));
    if (index >= p->memo_count || !p->memo[index])
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "%s: the memo has nothing at index %llu", op->name,
                               (unsigned long long)index);
    return cmi_pickle_push(p, p->memo[index]);
}

static cm_status push_symbol(cm_pickle *p, const char *module, const char *name)
{
    cm_pickled *v;
    const cm_pickle_symbol *s = cmi_pickle_symbol_find(module, name);
    if (!s)
        return cmi_pickle_fail(p, CM_ERR_FORMAT,
                               "symbol '%.64s %.64s' is not allowed: nothing that a file names is run", module, name);
    if (!s->describe && s->type < 0)
        return cmi_pickle_fail(p, CM_ERR_UNSUPPORTED, "'%s %s' is not supported", module, name);
    CM_TRY(cmi_pickle_push_new(p, CM_PICKLED_SYMBOL, &v));
    v->u.symbol = s;
    return CM_OK;
}

/* A line of at most `size` - 1 bytes. */
static cm_status take_line(cm_pickle *p, char *out, size_t size)
{
    const unsigned char *byte;
    for (size_t i = 0; i < size; i++) {
        CM_TRY(cmi_pickle_take(p, 1, "GLOBAL", &byte));
        out[i] = (char)(*byte == '\n' ? '\0' : *byte);
        if (*byte == '\n') return CM_OK;
        if (*byte < ' ' || *byte > '~')
            return cmi_pickle_fail(p, CM_ERR_FORMAT, "GLOBAL: a name with the byte 0x%02x", *byte);
    }
    return cmi_pickle_fail(p, CM_ERR_LIMIT, "GLOBAL: a name of more than %zu bytes", size - 1);
}

static cm_status op_global(cm_pickle *p, const cm_opcode *op)
{
    char module[256], name[256];
    (void)op;
    CM_TRY(take_line(p, module, sizeof module));
    CM_TRY(take_line(p, name, sizeof name));
    return push_symbol(p, module, name);
}

static cm_status op_stack_global(cm_pickle *p, const cm_opcode *op)
{
    cm_pickled *module = NULL, *name = NULL;
    CM_TRY(cmi_pickle_pop(p, &name));
    CM_TRY(cmi_pickle_pop(p, &module));
    if (!cmi_pickled_text(module) || !cmi_pickled_text(name))
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "%s: its names are not strings", op->name);
    return push_symbol(p, cmi_pickled_text(module), cmi_pickled_text(name));
}

static cm_status op_reduce(cm_pickle *p, const cm_opcode *op)
{
    cm_pickled *arguments = NULL, *callable = NULL, *v;
    CM_TRY(cmi_pickle_pop(p, &arguments));
    CM_TRY(cmi_pickle_pop(p, &callable));
    if (callable->kind != CM_PICKLED_SYMBOL || !callable->u.symbol->describe)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "%s: %s is called", op->name, cmi_pickled_name(callable));
    if (arguments->kind != CM_PICKLED_TUPLE)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "%s: the arguments are %s", op->name, cmi_pickled_name(arguments));
    CM_TRY(callable->u.symbol->describe(p, arguments, &v));
    return cmi_pickle_push(p, v);
}

/* The attributes that a dictionary carries besides its entries say nothing about tensors; those of a module hold
 * them. */
static cm_status op_build(cm_pickle *p, const cm_opcode *op)
{
    cm_pickled *state = NULL, *to = NULL;
    CM_TRY(cmi_pickle_pop(p, &state));
    CM_TRY(cmi_pickle_top(p, &to));
    if (to->kind == CM_PICKLED_OBJECT && to->count == 1 && state->kind == CM_PICKLED_DICT)
        return cmi_pickle_append(p, to, state);
    if (to->kind != CM_PICKLED_OPAQUE && (to->kind != CM_PICKLED_DICT || state->kind != CM_PICKLED_DICT))
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "%s: %s gets %s for its state", op->name, cmi_pickled_name(to),
                               cmi_pickled_name(state));
    return CM_OK;
}

/* ('storage', class, key, location, number of elements[, view]) */
static cm_status check_storage(const cm_pickle *p, const cm_pickled *id)
{
    const char *word = id->kind == CM_PICKLED_TUPLE && id->count > 0 ? cmi_pickled_text(id->u.items[0]) : NULL;
    if (!word || id->count < 5 || id->count > 6)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "BINPERSID: not the five or six parts of a storage");
    if (strcmp(word, "module") == 0)
        return cmi_pickle_fail(p, CM_ERR_FORMAT,
                               "BINPERSID: a module with its source text: a whole model was saved, "
                               "not its state_dict");
    const cm_pickled *class = id->u.items[1], *key = id->u.items[2], *count = id->u.items[4];
    if (strcmp(word, "storage") != 0 || class->kind != CM_PICKLED_SYMBOL || class->u.symbol->type < 0 ||
        cmi_pickle_symbol_is_dtype(class->u.symbol))
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "BINPERSID: not a storage of a known class");
    const char *text = cmi_pickled_text(key);
    if (!text || !*text || key->count > 20 || strspn(text, "0123456789") != key->count)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "storage key '%.64s' is not a decimal number", text ? text : "");
    if (count->kind != CM_PICKLED_INT || count->u.integer < 0)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "storage '%s': its number of elements is not a number", text);
    return CM_OK;
}

static cm_status op_persistent(cm_pickle *p, const cm_opcode *op)
{
    cm_pickled *id = NULL, *v;
    (void)op;
    CM_TRY(cmi_pickle_pop(p, &id));
    CM_TRY(check_storage(p, id));
    CM_TRY(cmi_pickle_push_new(p, CM_PICKLED_STORAGE, &v));
    v->count = v->capacity = id->count;
    v->depth = id->depth;
    v->u.items = id->u.items; /* tuples never change */
    return cmi_pickle_name_storage(p, v);
}

const cm_opcode cmi_opcodes[256] = {
    [0x80] = {"PROTO", op_proto, 0, 0},
    [0x95] = {"FRAME", op_frame, 0, 0},
    ['('] = {"MARK", op_mark, 0, 0},
    ['N'] = {"NONE", op_constant, 0, -1},
    [0x88] = {"NEWTRUE", op_constant, 0, 1},
    [0x89] = {"NEWFALSE", op_constant, 0, 0},
    ['K'] = {"BININT1", op_int, 1, 0},
    ['M'] = {"BININT2", op_int, 2, 0},
    ['J'] = {"BININT", op_int, 4, 0},
    [0x8a] = {"LONG1", op_long, 0, 0},
    ['G'] = {"BINFLOAT", op_float, 0, 0},
    ['X'] = {"BINUNICODE", op_string, 4, CM_PICKLED_TEXT},
    [0x8c] = {"SHORT_BINUNICODE", op_string, 1, CM_PICKLED_TEXT},
    [0x8d] = {"BINUNICODE8", op_string, 8, CM_PICKLED_TEXT},
    ['T'] = {"BINSTRING", op_string, 4, CM_PICKLED_TEXT}, /* of Python 2; more than ASCII is refused as no UTF-8 */
    ['U'] = {"SHORT_BINSTRING", op_string, 1, CM_PICKLED_TEXT},
    ['B'] = {"BINBYTES", op_string, 4, CM_PICKLED_BYTES},
    ['C'] = {"SHORT_BINBYTES", op_string, 1, CM_PICKLED_BYTES},
    [0x8e] = {"BINBYTES8", op_string, 8, CM_PICKLED_BYTES},
    ['}'] = {"EMPTY_DICT", op_empty, 0, CM_PICKLED_DICT},
    [']'] = {"EMPTY_LIST", op_empty, 0, CM_PICKLED_LIST},
    [')'] = {"EMPTY_TUPLE", op_empty, 0, CM_PICKLED_TUPLE},
    [0x8f] = {"EMPTY_SET", op_empty, 0, CM_PICKLED_SET},
    ['t'] = {"TUPLE", op_tuple, 0, -1},
    [0x85] = {"TUPLE1", op_tuple, 0, 1},
    [0x86] = {"TUPLE2", op_tuple, 0, 2},
    [0x87] = {"TUPLE3", op_tuple, 0, 3},
    ['s'] = {"SETITEM", op_fill, 0, CM_PICKLED_DICT},
    ['u'] = {"SETITEMS", op_fill, 1, CM_PICKLED_DICT},
    ['a'] = {"APPEND", op_fill, 0, CM_PICKLED_LIST},
    ['e'] = {"APPENDS", op_fill, 1, CM_PICKLED_LIST},
    [0x90] = {"ADDITEMS", op_fill, 1, CM_PICKLED_SET},
    ['q'] = {"BINPUT", op_put, 1, 0},
    ['r'] = {"LONG_BINPUT", op_put, 4, 0},
    [0x94] = {"MEMOIZE", op_memoize, 0, 0},
    ['h'] = {"BINGET", op_get, 1, 0},
    ['j'] = {"LONG_BINGET", op_get, 4, 0},
    ['c'] = {"GLOBAL", op_global, 0, 0},
    [0x93] = {"STACK_GLOBAL", op_stack_global, 0, 0},
    ['R'] = {"REDUCE", op_reduce, 0, 0},
    [0x81] = {"NEWOBJ", op_reduce, 0, 0}, /* a class and arguments: the same description */
    ['b'] = {"BUILD", op_build, 0, 0},
    ['Q'] = {"BINPERSID", op_persistent, 0, 0},
    ['0'] = {"POP", NULL, 0, 0},
    ['1'] = {"POP_MARK", NULL, 0, 0},
    ['2'] = {"DUP", NULL, 0, 0},
    ['F'] = {"FLOAT", NULL, 0, 0},
    ['I'] = {"INT", NULL, 0, 0},
    ['L'] = {"LONG", NULL, 0, 0},
    ['S'] = {"STRING", NULL, 0, 0},
    ['V'] = {"UNICODE", NULL, 0, 0},
    ['P'] = {"PERSID", NULL, 0, 0},
    ['d'] = {"DICT", NULL, 0, 0},
    ['l'] = {"LIST", NULL, 0, 0},
    ['g'] = {"GET", NULL, 0, 0},
    ['p'] = {"PUT", NULL, 0, 0},
    ['i'] = {"INST", NULL, 0, 0},
    ['o'] = {"OBJ", NULL, 0, 0},
    [0x82] = {"EXT1", NULL, 0, 0},
    [0x83] = {"EXT2", NULL, 0, 0},
    [0x84] = {"EXT4", NULL, 0, 0},
    [0x8b] = {"LONG4", NULL, 0, 0},
    [0x91] = {"FROZENSET", NULL, 0, 0},
    [0x92] = {"NEWOBJ_EX", NULL, 0, 0},
    [0x96] = {"BYTEARRAY8", NULL, 0, 0},
    [0x97] = {"NEXT_BUFFER", NULL, 0, 0},
    [0x98] = {"READONLY_BUFFER", NULL, 0, 0},
};
