/* counted.h - a context whose memory is counted: whatever a case did or was refused, nothing of it is left. */
#ifndef TESTS_SUPPORT_COUNTED_H
#define TESTS_SUPPORT_COUNTED_H

#include "support/memory.h"

static memory counted;
static cm_context *context;

static inline void setup(void)
{
    memory_reset(&counted);
    const cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &context));
}

static inline void teardown(void)
{
    cm_context_free(context);
    ck_assert_int_eq((int)counted.live, 0);
}

#endif
