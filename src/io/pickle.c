/* pickle.c - running a pickle, and looking at what it has made. */
#include "io/pickle_machine.h"

#include <string.h>

/* --- running ------------------------------------------------------------------------------ */

static cm_status refuse(const cm_pickle *p, unsigned char code)
{
    if (cmi_opcodes[code].name)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "opcode %s is not allowed", cmi_opcodes[code].name);
    return cmi_pickle_fail(p, CM_ERR_FORMAT, "0x%02x is no opcode", code);
}

static cm_status run_to_stop(cm_pickle *p)
{
    for (;;) {
        const unsigned char *code;
        p->opcode = p->at;
        if (p->at == p->end) return cmi_pickle_fail(p, CM_ERR_FORMAT, "truncated: it ends without STOP");
        CM_TRY(cmi_pickle_take(p, 1, "an opcode", &code));
        if (*code == '.') return CM_OK;
        const cm_opcode *op = &cmi_opcodes[*code];
        if (!op->run) return refuse(p, *code);
        CM_TRY(op->run(p, op));
        p->operations++;
    }
}

cm_status cmi_pickle_run(cm_pickle *p, const char *what, size_t at, size_t end, cm_pickled **value, size_t *after)
{
    p->what = what;
    p->begin = p->at = p->opcode = at;
    p->end = end;
    p->depth = p->n_marks = p->memo_count = 0;
    p->operations = 0;
    CM_TRY(run_to_stop(p));
    if (p->depth != 1 || p->n_marks)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "STOP with %zu values on the stack, expected 1", p->depth);
    *value = p->stack[0];
    *after = p->at;
    return CM_OK;
}

/* --- looking at values ---------------------------------------------------------------------- */

cm_pickled *const *cmi_pickle_storages(const cm_pickle *p, size_t *count)
{
    *count = p->n_storages;
    return p->storages;
}

const char *cmi_pickled_name(const cm_pickled *v)
{
    static const char *const names[] = {
        "None",   "a truth value", "a number",     "a long number", "a number",  "a string", "bytes",    "a tuple",
        "a list", "a set",         "a dictionary", "a symbol",      "a storage", "a tensor", "a module", "an object"};
    return names[v->kind];
}

const char *cmi_pickled_text(const cm_pickled *v)
{
    if (v->kind != CM_PICKLED_TEXT || !v->u.text || strlen(v->u.text) != v->count) return NULL;
    return v->u.text;
}

cm_pickled *cmi_pickled_get(const cm_pickled *dict, const char *key)
{
    for (uint32_t i = 0; dict->kind == CM_PICKLED_DICT && i + 1 < dict->count; i += 2) {
        const char *text = cmi_pickled_text(dict->u.items[i]);
        if (text && strcmp(text, key) == 0) return dict->u.items[i + 1];
    }
    return NULL;
}
