/* sources.h - data sets as the library lists them, with what the log was told and nothing left in memory. */
#ifndef TESTS_SUPPORT_SOURCES_H
#define TESTS_SUPPORT_SOURCES_H

#include "data/source.h"
#include "support/memory.h"
#include "support/sets.h"

/* Fails with exactly this message. */
#define SAYS(call, status, text)                                                                                     \
    do {                                                                                                             \
        ck_assert_int_eq((int)(call), (int)(status));                                                                \
        ck_assert_str_eq(cm_last_message(), text);                                                                   \
    } while (0)

static memory counted;
static cm_context *own;
static char heard[4096]; /* a line each, with "W " or "I " */

static inline void hear(void *user, int32_t level, const char *message)
{
    size_t n = strlen(heard);
    (void)user;
    snprintf(heard + n, sizeof heard - n, "%c %s\n", level == CM_LOG_WARNING ? 'W' : 'I', message);
}

static inline void setup_sources(void)
{
    setup();
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    o.log = hear;
    OK(cm_context_create(&o, &own));
}

static inline void teardown_sources(void)
{
    cm_context_free(own);
    ck_assert_int_eq((int)counted.live, 0);
    teardown();
}

/* Opens with `heard` filled in. */
static inline cm_status open_source(const char *path, cm_source **out)
{
    heard[0] = '\0';
    return cmi_source_open(own, path, out);
}

/* The names, with a blank between them. */
static inline const char *names_of(const cm_source *s)
{
    static char text[20000];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < s->count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, i ? " %s" : "%s", s->names[i]);
    return text;
}

#endif
