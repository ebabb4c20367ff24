/* pickled.h - a pickle that is run where it stands in other bytes, and what it has made as text. */
#ifndef TESTS_SUPPORT_PICKLED_H
#define TESTS_SUPPORT_PICKLED_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/pickle_machine.h"
#include "support/suite.h"

static cm_context *context;

static inline void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static inline void teardown(void)
{
    cm_context_free(context);
}

/* --- values as text -------------------------------------------------------------------------------- */

static char text[4096];

static inline void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void say(const char *format, ...)
{
    va_list args;
    size_t n = strlen(text);
    va_start(args, format);
    ck_assert_int_lt(vsnprintf(text + n, sizeof text - n, format, args), (int)(sizeof text - n));
    va_end(args);
}

static inline void describe(const cm_pickled *v);

static inline void describe_items(const cm_pickled *v, const char *open, const char *close)
{
    say("%s", open);
    for (uint32_t i = 0; i < v->count; i++) {
        if (i) say("%c", v->kind == CM_PICKLED_DICT && i % 2 ? ':' : ' ');
        describe(v->u.items[i]);
    }
    say("%s", close);
}

/* None, True, 5, magic, 0.5f, 'a', text[5000], bytes[3]@17, (1 2), [1 2], <1 2>, {1:2}, torch Size, storage(..) ...
 */
static inline void describe(const cm_pickled *v)
{
    switch ((cm_pickled_kind)v->kind) {
    case CM_PICKLED_NONE: say("None"); break;
    case CM_PICKLED_BOOL: say("%s", v->u.integer == 1 ? "True" : v->u.integer == 0 ? "False" : "neither"); break;
    case CM_PICKLED_INT: say("%lld", (long long)v->u.integer); break;
    case CM_PICKLED_MAGIC: say("magic"); break;
    case CM_PICKLED_FLOAT: say("%.9gf", v->u.number); break;
    case CM_PICKLED_TEXT:
        if (v->u.text) ck_assert_int_eq(v->u.text[v->count], 0);
        if (v->u.text) say("'%s'", v->u.text);
        else say("text[%u]", v->count);
        break;
    case CM_PICKLED_BYTES: say("bytes[%u]@%lld", v->count, (long long)v->u.integer); break;
    case CM_PICKLED_TUPLE: describe_items(v, "(", ")"); break;
    case CM_PICKLED_LIST: describe_items(v, "[", "]"); break;
    case CM_PICKLED_SET: describe_items(v, "<", ">"); break;
    case CM_PICKLED_DICT: describe_items(v, "{", "}"); break;
    case CM_PICKLED_SYMBOL: say("%s %s", v->u.symbol->module, v->u.symbol->name); break;
    case CM_PICKLED_STORAGE: describe_items(v, "storage(", ")"); break;
    case CM_PICKLED_TENSOR: describe_items(v, "tensor(", ")"); break;
    case CM_PICKLED_OBJECT: describe_items(v, "object(", ")"); break;
    case CM_PICKLED_OPAQUE: say("opaque"); break;
    }
}

/* --- running ------------------------------------------------------------------------------------------ */

enum { BEFORE = 5 }; /* bytes before a pickle, and others behind it */

typedef struct {
    unsigned char *bytes;
    cm_input in;
    cm_pickle *p;
    size_t size;
} machine;

/* In `m`, which stays where it is. */
static inline void make_machine(machine *m, const char *pickle, size_t n)
{
    m->size = n;
    m->bytes = malloc(n + BEFORE + 8);
    memcpy(m->bytes, "(((((", BEFORE);
    memcpy(m->bytes + BEFORE, pickle, n);
    memcpy(m->bytes + BEFORE + n, "NNNNNN..", 8);
    OK(cmi_input_memory(context, "x", m->bytes, n + BEFORE + 8, CM_INPUT_IN_PLACE, &m->in));
    OK(cmi_pickle_open(&m->in, n, &m->p));
}

static inline void end_machine(machine *m)
{
    cmi_pickle_close(m->p);
    cmi_input_close(&m->in);
    free(m->bytes);
}

static inline void gives(const char *pickle, size_t n, const char *value)
{
    machine m;
    make_machine(&m, pickle, n);
    cm_pickled *v;
    size_t after;
    cm_status status = cmi_pickle_run(m.p, "it", BEFORE, BEFORE + n, &v, &after);
    ck_assert_msg(status == CM_OK, "%s: %s", value, cm_last_message());
    ck_assert_uint_eq(after, BEFORE + n);
    text[0] = '\0';
    describe(v);
    ck_assert_str_eq(text, value);
    end_machine(&m);
}

static inline void refused(const char *pickle, size_t n, cm_status status, const char *words)
{
    machine m;
    make_machine(&m, pickle, n);
    cm_pickled *v;
    size_t after;
    FAILS(cmi_pickle_run(m.p, "it", BEFORE, BEFORE + n, &v, &after), status, words);
    ck_assert_ptr_nonnull(strstr(cm_last_message(), "x: it, byte "));
    end_machine(&m);
}

#define GIVES(pickle, value) gives(pickle, sizeof(pickle) - 1, value)
#define REFUSED(pickle, words) refused(pickle, sizeof(pickle) - 1, CM_ERR_FORMAT, words)
#define OVER_LIMIT(pickle, words) refused(pickle, sizeof(pickle) - 1, CM_ERR_LIMIT, words)
#define NOT_SUPPORTED(pickle, words) refused(pickle, sizeof(pickle) - 1, CM_ERR_UNSUPPORTED, words)

#endif
