/* torch_choice.c - which tensors of a saved object are the model's: those at its top, or those of one of the
 * dictionaries that training programs put them into; the average where there is one. */
#include <stdio.h>
#include <string.h>

#include "io/quoted.h"
#include "io/torch.h"

/* Of the names that are listed for a caller to choose from. */
enum { MOST_SETS = 1024, MOST_LOOKS = 1 << 24 };

/* Names under which programs keep averaged weights, and the weights themselves. */
static const char *const averages[] = {"ema",        "ema_model", "model_ema", "net_ema", "ema_net", "ema_state_dict",
                                       "params_ema", "G_ema",     NULL};
static const char *const plain[] = {"state_dict", "model_state_dict", "model",  "net",
                                    "network",    "params",           "module", NULL};
/* What wrappers of modules put before every name. */
static const char *const wrappers[] = {"module.", "_orig_mod.", "model.", "net.", "network.", NULL};

static size_t tensors_in(const cm_pickled *dict, const char *prefix)
{
    size_t n = 0, length = strlen(prefix);
    if (dict->kind != CM_PICKLED_DICT) return 0;
    for (uint32_t i = 0; i < dict->count; i += 2) {
        if (dict->u.items[i + 1]->kind != CM_PICKLED_TENSOR) continue;
        const char *name = cmi_pickled_text(dict->u.items[i]);
        n += !length || (name && strncmp(name, prefix, length) == 0);
    }
    return n;
}

static int has_tensors(const cm_pickled *dict)
{
    for (uint32_t i = 0; dict->kind == CM_PICKLED_DICT && i < dict->count; i += 2)
        if (dict->u.items[i + 1]->kind == CM_PICKLED_TENSOR) return 1;
    return 0;
}

static int has_set(const cm_pickled *dict, const char *name)
{
    const cm_pickled *inner = cmi_pickled_get(dict, name);
    char prefix[64];
    (void)snprintf(prefix, sizeof prefix, "%s.", name);
    return (inner && tensors_in(inner, "")) || tensors_in(dict, prefix);
}

/* The most tensors that a dictionary of one of these names has. */
static size_t most_within(const cm_pickled *dict, const char *const *names)
{
    size_t most = 0;
    for (; *names; names++) {
        const cm_pickled *inner = cmi_pickled_get(dict, *names);
        size_t n = inner ? tensors_in(inner, "") : 0;
        if (n > most) most = n;
    }
    return most;
}

static void add_sets(const cm_pickled *dict, const char *const *names, cm_quoted *list)
{
    for (; *names; names++)
        if (has_set(dict, *names)) cmi_quoted_add(list, *names);
}

/* --- one set of several -------------------------------------------------------------------- */

static void take_set(const cm_pickled *dict, const char *name, cm_torch_choice *out)
{
    const cm_pickled *inner = cmi_pickled_get(dict, name);
    (void)snprintf(out->name, sizeof out->name, "%.64s", name);
    if (inner && tensors_in(inner, "")) out->tensors = inner;
    else (void)snprintf(out->prefix, sizeof out->prefix, "%.62s.", name);
}

/* The dictionary that has the set: the top, or one of the usual dictionaries in it. */
static const cm_pickled *find_set(const cm_pickled *dict, const char *name)
{
    if (has_set(dict, name)) return dict;
    for (const char *const *usual = plain; *usual; usual++) {
        const cm_pickled *inner = cmi_pickled_get(dict, *usual);
        if (inner && has_set(inner, name)) return inner;
    }
    return NULL;
}

static cm_status choose_wanted(const cm_input *in, const cm_pickled *dict, cm_torch_choice *out)
{
    cm_quoted list = {.count = 0};
    const cm_pickled *holder = strlen(in->weights) < 60 ? find_set(dict, in->weights) : NULL;
    if (holder) {
        out->tensors = holder;
        take_set(holder, in->weights, out);
        return CM_OK;
    }
    add_sets(dict, averages, &list);
    add_sets(dict, plain, &list);
    CM_FAIL(CM_ERR_ARGUMENT, "%s: there are no weights '%.64s'; %s%s", in->name, in->weights,
            list.count ? "there are " : "the tensors have no other names than their own", list.text);
}

/* The one set of that kind; *found is 0 where there is none. */
static cm_status choose_only(const cm_input *in, const cm_pickled *dict, const char *const *names,
                             cm_torch_choice *out, int *found)
{
    cm_quoted list = {.count = 0};
    add_sets(dict, names, &list);
    *found = list.count > 0;
    if (list.count > 1)
        CM_FAIL(CM_ERR_FORMAT, "%s: it holds several sets of weights, %s: say which (option 'weights')", in->name,
                list.text);
    for (; *found && *names; names++)
        if (has_set(dict, *names)) take_set(dict, *names, out);
    return CM_OK;
}

static void strip_wrappers(cm_torch_choice *c)
{
    for (int again = 1; again;) {
        again = 0;
        for (int i = 0; wrappers[i]; i++) {
            char longer[sizeof c->prefix];
            if (strlen(c->prefix) + strlen(wrappers[i]) >= sizeof longer) return;
            (void)snprintf(longer, sizeof longer, "%.100s%s", c->prefix, wrappers[i]);
            if (tensors_in(c->tensors, longer) != tensors_in(c->tensors, c->prefix)) continue;
            memcpy(c->prefix, longer, sizeof longer);
            again = 1;
        }
    }
}

/* --- objects that are no model ----------------------------------------------------------------- */

int cmi_torch_is_optimizer(const cm_pickled *top)
{
    return cmi_pickled_get(top, "param_groups") && cmi_pickled_get(top, "state");
}

static cm_status refuse(const cm_input *in, const cm_pickled *top)
{
    cm_quoted keys = {.count = 0};
    if (top->kind != CM_PICKLED_DICT)
        CM_FAIL(CM_ERR_FORMAT, "%s: the saved object is %s, not a dictionary of tensors by name", in->name,
                cmi_pickled_name(top));
    if (cmi_torch_is_optimizer(top))
        CM_FAIL(CM_ERR_UNSUPPORTED,
                "%s: this is the state of an optimizer (state, param_groups), not a model's "
                "weights",
                in->name);
    for (uint32_t i = 0; i < top->count && keys.count < 6; i += 2)
        if (cmi_pickled_text(top->u.items[i])) cmi_quoted_add(&keys, cmi_pickled_text(top->u.items[i]));
    CM_FAIL(CM_ERR_FORMAT,
            "%s: a pickle with no tensors by name, neither at the top of the saved dictionary nor under a known name "
            "such as "
            "'state_dict', 'model' or 'ema'; its keys are %s",
            in->name, keys.count ? keys.text : "no strings");
}

/* Of the top: in a dictionary of it where there are no more tensors beside it, as the state of a generator. */
static cm_status choose_within(const cm_input *in, cm_torch_choice *out)
{
    const cm_torch_choice whole = *out;
    const cm_pickled *dict = out->tensors;
    int found = 0;
    if (in->weights) return choose_wanted(in, dict, out);
    CM_TRY(choose_only(in, dict, averages, out, &found));
    if (found && 2 * tensors_in(out->tensors, out->prefix) < most_within(dict, plain)) { /* counters of an average */
        *out = whole;
        found = 0;
    }
    if (!found && tensors_in(dict, "") <= most_within(dict, plain)) CM_TRY(choose_only(in, dict, plain, out, &found));
    return CM_OK;
}

cm_status cmi_torch_choose(const cm_input *in, const cm_pickled *top, cm_torch_choice *out)
{
    memset(out, 0, sizeof *out);
    (void)snprintf(out->name, sizeof out->name, "the whole file");
    out->tensors = top;
    CM_TRY(choose_within(in, out));
    if (!tensors_in(out->tensors, "")) return refuse(in, top);
    /* Averages may stand beside the weights inside of a dictionary too: state_dict with net.* and net_ema.* */
    if (out->tensors != top && !in->weights) {
        int found = 0;
        CM_TRY(choose_only(in, out->tensors, averages, out, &found));
    }
    strip_wrappers(out);
    return CM_OK;
}

/* --- what could be asked for ---------------------------------------------------------------------- */

static int is_usual(const char *name)
{
    for (const char *const *n = averages; *n; n++)
        if (strcmp(*n, name) == 0) return 1;
    for (const char *const *n = plain; *n; n++)
        if (strcmp(*n, name) == 0) return 1;
    return 0;
}

/* The usual names, whether they name a dictionary or begin the names of some tensors but not of all. */
static cm_status add_usual(cm_tensors *t, const cm_pickled *dict, const char *const *names)
{
    for (; *names; names++) {
        const cm_pickled *inner = cmi_pickled_get(dict, *names);
        char prefix[64];
        (void)snprintf(prefix, sizeof prefix, "%s.", *names);
        const size_t n = tensors_in(dict, prefix);
        if ((inner && tensors_in(inner, "")) || (n && n < tensors_in(dict, "")))
            CM_TRY(cmi_tensors_add_set(t, *names));
    }
    return CM_OK;
}

/* Dictionaries of tensors by names of their own, the first MOST_SETS.  One that stands there under many names is
 * looked through each time, so that all looks together have a limit. */
static cm_status add_others(cm_tensors *t, const cm_pickled *dict)
{
    size_t looks = 0;
    for (uint32_t i = 0; i < dict->count && t->sets_count < MOST_SETS && looks < MOST_LOOKS; i += 2) {
        const char *name = cmi_pickled_text(dict->u.items[i]);
        const cm_pickled *inner = dict->u.items[i + 1];
        if (!name || strlen(name) >= 60 || is_usual(name) || inner->kind != CM_PICKLED_DICT) continue;
        looks += inner->count;
        if (has_tensors(inner)) CM_TRY(cmi_tensors_add_set(t, name));
    }
    return CM_OK;
}

cm_status cmi_torch_add_sets(cm_tensors *t, const cm_pickled *top)
{
    if (top->kind != CM_PICKLED_DICT) return CM_OK;
    CM_TRY(add_usual(t, top, averages));
    CM_TRY(add_usual(t, top, plain));
    for (const char *const *usual = plain; *usual; usual++) {
        const cm_pickled *inner = cmi_pickled_get(top, *usual);
        if (inner && inner->kind == CM_PICKLED_DICT) CM_TRY(add_usual(t, inner, averages));
    }
    return add_others(t, top);
}
