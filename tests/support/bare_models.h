/* bare_models.h - models that have a preconditioning and no network, and what becomes of sample options with them. */
#ifndef TESTS_SUPPORT_BARE_MODELS_H
#define TESTS_SUPPORT_BARE_MODELS_H

#include <stdio.h>

#include "support/suite.h"

#include "diffusion/resolver.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static inline void model_of(cm_model *m, const char *precond)
{
    char text[256];
    json_t *o;
    memset(m, 0, sizeof *m);
    OK(cm_context_create(NULL, &m->context));
    (void)snprintf(text, sizeof text, "{\"type\": %s}", precond);
    ck_assert_ptr_nonnull(o = json_loads(text, 0, NULL));
    OK(cmi_precond_read(m->context, o, CM_TIME_LN4, &m->precond));
    json_decref(o);
}

static inline void release(cm_model *m)
{
    cmi_precond_release(&m->precond);
    cm_context_free(m->context);
}

static inline cm_sample_options options_of(int method)
{
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    o.method = method;
    return o;
}

/* The options end in a run, or in a message with this word. */
static inline void taken(const cm_model *m, const cm_sample_options *o, const char *word, const char *what)
{
    cm_times t;
    const cm_status status = cmi_times_resolve(m, o, &t);
    if (!word) {
        ck_assert_msg(status == CM_OK, "%s: %s", what, cm_last_message());
        cmi_times_release(m, &t);
        return;
    }
    ck_assert_msg(status == CM_ERR_ARGUMENT && strstr(cm_last_message(), word), "%s: '%s' lacks '%s'", what,
                  status == CM_OK ? "accepted" : cm_last_message(), word);
    ck_assert_ptr_null(t.sigma);
}

#endif
