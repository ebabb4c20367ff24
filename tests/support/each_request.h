/* each_request.h - a piece of work, with each of its requests for memory failing once, or some of them. */
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

/* The same of long work, with at most about `tries` of its requests, evenly spread. */
static inline void fail_some_requests(cm_status (*work)(cm_context *c), long tries)
{
    memory m;
    cm_context *c;
    memory_reset(&m);
    cm_context_options o = memory_options(&m, 1);
    OK(cm_context_create(&o, &c));
    OK(work(c));
    const long live = m.live, before = m.requests;
    OK(work(c));
    const long requests = m.requests - before;
    for (long n = 1; n <= requests; n += requests / tries ? requests / tries : 1) {
        memory_reset(&m);
        m.live = live;
        m.fail_at = n;
        const cm_status status = work(c);
        ck_assert_msg(status == CM_ERR_MEMORY && m.live == live, "request %ld of %ld failing gave %s, %ld blocks: %s",
                      n, requests, cm_status_name(status), m.live - live, cm_last_message());
    }
    cm_context_free(c);
    ck_assert_int_eq(m.live, 0);
}

#endif
