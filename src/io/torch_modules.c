/* torch_modules.c - modules that were saved whole: their tensors, under the names that their state_dict would give.
 */
#include <stdio.h>
#include <string.h>

#include "io/pickle_machine.h"
#include "io/torch.h"

enum { MOST_MODULES = CM_TENSORS_MAX, MOST_LOOKS = 1 << 24 };

typedef struct {
    const cm_tensors *t;
    cm_pickle *pickle;
    cm_pickled *out;
    size_t modules, looks;         /* visited, entries that were looked at: an object may be its own part */
    char name[CM_TENSOR_NAME + 1]; /* of the module, with a dot behind it */
} walk;

static const cm_pickled *attributes(const cm_pickled *module)
{
    return module->count > 1 ? module->u.items[1] : NULL;
}

/* Whether a set names it. */
static int is_listed(const cm_pickled *set, const char *name)
{
    for (uint32_t i = 0; set && set->kind == CM_PICKLED_SET && i < set->count; i++) {
        const char *text = cmi_pickled_text(set->u.items[i]);
        if (text && strcmp(text, name) == 0) return 1;
    }
    return 0;
}

static cm_status extend(walk *w, const cm_pickled *key, const char *behind, size_t *before)
{
    const char *text = cmi_pickled_text(key);
    size_t n = strlen(w->name);
    if (!text)
        CM_FAIL(CM_ERR_FORMAT, "%s: a part of module '%.64s' is named by %s", w->t->input.name, w->name,
                cmi_pickled_name(key));
    if (n + strlen(text) + strlen(behind) > CM_TENSOR_NAME)
        CM_FAIL(CM_ERR_LIMIT, "%s: the name of a tensor in module '%.64s' is over the limit of %d bytes",
                w->t->input.name, w->name, CM_TENSOR_NAME);
    *before = n;
    (void)snprintf(w->name + n, sizeof w->name - n, "%s%s", text, behind);
    return CM_OK;
}

static cm_status look(walk *w, size_t n)
{
    w->looks += n;
    if (w->looks > MOST_LOOKS)
        CM_FAIL(CM_ERR_LIMIT, "%s: its modules have more than the limit of %d entries", w->t->input.name, MOST_LOOKS);
    return CM_OK;
}

/* Those of a dictionary of the module's; what is None or no tensor has no values. */
static cm_status add_tensors(walk *w, const cm_pickled *dict, const cm_pickled *leave_out)
{
    if (!dict || dict->kind != CM_PICKLED_DICT) return CM_OK;
    CM_TRY(
        look(w, dict->count +
                    (leave_out && leave_out->kind == CM_PICKLED_SET ? (size_t)leave_out->count * dict->count : 0)));
    for (uint32_t i = 0; i < dict->count; i += 2) {
        cm_pickled *value = dict->u.items[i + 1], *name;
        const char *key = cmi_pickled_text(dict->u.items[i]);
        size_t before;
        if (value->kind != CM_PICKLED_TENSOR || (key && is_listed(leave_out, key))) continue;
        CM_TRY(extend(w, dict->u.items[i], "", &before));
        CM_TRY(cmi_pickle_make_text(w->pickle, w->name, &name));
        w->name[before] = '\0';
        CM_TRY(cmi_pickle_append(w->pickle, w->out, name));
        CM_TRY(cmi_pickle_append(w->pickle, w->out, value));
    }
    return CM_OK;
}

/* Parameters, buffers, then the modules inside, as PyTorch goes through them. */
static cm_status visit(walk *w, const cm_pickled *module, int depth)
{
    const cm_pickled *all = attributes(module), *inner = all ? cmi_pickled_get(all, "_modules") : NULL;
    if (!all) return CM_OK;
    if (depth > CM_PICKLE_DEPTH || ++w->modules > MOST_MODULES)
        CM_FAIL(CM_ERR_LIMIT, "%s: modules nest deeper than %d or are more than %d", w->t->input.name,
                CM_PICKLE_DEPTH, MOST_MODULES);
    CM_TRY(look(w, all->count));
    CM_TRY(add_tensors(w, cmi_pickled_get(all, "_parameters"), NULL));
    CM_TRY(add_tensors(w, cmi_pickled_get(all, "_buffers"), cmi_pickled_get(all, "_non_persistent_buffers_set")));
    if (!inner || inner->kind != CM_PICKLED_DICT) return CM_OK;
    CM_TRY(look(w, inner->count));
    for (uint32_t i = 0; i < inner->count; i += 2) {
        size_t before;
        if (inner->u.items[i + 1]->kind != CM_PICKLED_OBJECT) continue;
        CM_TRY(extend(w, inner->u.items[i], ".", &before));
        CM_TRY(visit(w, inner->u.items[i + 1], depth + 1));
        w->name[before] = '\0';
    }
    return CM_OK;
}

/* The names of one module; what was visited before counts on. */
static cm_status flatten(walk *w, const cm_pickled *module, cm_pickled **out)
{
    w->name[0] = '\0';
    CM_TRY(cmi_pickle_make(w->pickle, CM_PICKLED_DICT, &w->out));
    CM_TRY(visit(w, module, 0));
    *out = w->out;
    return CM_OK;
}

static cm_status flatten_entries(walk *w, const cm_pickled *top, cm_pickled **out)
{
    CM_TRY(cmi_pickle_make(w->pickle, CM_PICKLED_DICT, out));
    for (uint32_t i = 0; i < top->count; i += 2) {
        cm_pickled *value = top->u.items[i + 1];
        if (value->kind == CM_PICKLED_OBJECT) CM_TRY(flatten(w, value, &value));
        CM_TRY(cmi_pickle_append(w->pickle, *out, top->u.items[i]));
        CM_TRY(cmi_pickle_append(w->pickle, *out, value));
    }
    return CM_OK;
}

cm_status cmi_torch_flatten(const cm_tensors *t, cm_pickled *top, cm_pickled **out)
{
    const cm_torch *torch = t->state;
    int modules = top->kind == CM_PICKLED_OBJECT;
    *out = top;
    for (uint32_t i = 0; top->kind == CM_PICKLED_DICT && i < top->count; i += 2)
        modules += top->u.items[i + 1]->kind == CM_PICKLED_OBJECT;
    if (!modules) return CM_OK;
    walk *w = cmi_calloc(t->context, 1, sizeof *w);
    if (!w) return CM_ERR_MEMORY;
    w->t = t;
    w->pickle = torch->pickle;
    cm_status status = top->kind == CM_PICKLED_OBJECT ? flatten(w, top, out) : flatten_entries(w, top, out);
    cmi_free(t->context, w);
    return status;
}

const cm_pickled *cmi_torch_module(const cm_pickled *top, const char *name)
{
    const cm_pickled *named = top->kind == CM_PICKLED_OBJECT ? top : cmi_pickled_get(top, name);
    return named && named->kind == CM_PICKLED_OBJECT ? named : NULL;
}
