/* each_request.h - a piece of work, with each of its requests for memory failing once. */
#ifndef TESTS_SUPPORT_EACH_REQUEST_H
#define TESTS_SUPPORT_EACH_REQUEST_H

#include "support/memory.h"
#include "support/suite.h"

/* Each failure is told of and leaves nothing behind; there are more than `least` requests. */
static inline void fail_each_request(cm_status (*work)(cm_context *c, const char *path), const char *path, long least)
{
    memory m;
    memory_reset(&m);
    cm_context *c;
    cm_context_options o = memory_options(&m, 1);
    OK(cm_context_create(&o, &c));
    OK(work(c, path));
    const long live = m.live;
    for (long k = 1;; k++) {
        m.requests = 0;
        m.fail_at = k;
        const cm_status status = work(c, path);
        const int reached = m.requests >= k;
        ck_assert_int_eq(m.live, live);
        if (!reached) {
            OK(status);
            ck_assert_int_gt(k, least);
            break;
        }
        ck_assert_msg(status == CM_ERR_MEMORY, "request %ld: %s", k, cm_last_message());
        ck_assert_int_lt(k, 3000);
    }
    m.fail_at = 0;
    cm_context_free(c);
    ck_assert_int_eq(m.live, 0);
}

#endif
