/* damage.h - a file of tensors that is cut short, changed, or opened without memory. */
#ifndef TESTS_SUPPORT_DAMAGE_H
#define TESTS_SUPPORT_DAMAGE_H

#include <stdlib.h>

#include "support/memory.h"
#include "support/suite.h"
#include "support/tensors.h"

/* Each beginning of the bytes is refused; from `all` bytes on one of 61 is tried. */
static inline void refuse_beginnings(cm_context *context, const char *name, const unsigned char *bytes, size_t size,
                                     size_t all)
{
    cm_tensors t;
    for (size_t n = 0; n < size; n += n < all ? 1 : 61) {
        unsigned char *exact = malloc(n + 1);
        memcpy(exact + 1, bytes, n); /* tools see a read past its end */
        ck_assert_msg(open_bytes(context, name, exact + 1, n, &t) != CM_OK, "%s: %zu bytes are enough", name, n);
        free(exact);
    }
}

static inline void read_all(const cm_tensors *t)
{
    for (size_t i = 0; i < t->count; i++) {
        float *v = malloc((t->tensors[i].count + 1) * sizeof *v);
        OK(cmi_tensor_read(&t->tensors[i], v));
        free(v);
    }
}

/* Bytes with one changed, `count` times: read whole or refused; returns how many were refused.  `also` (or NULL)
 * tries them too. */
static inline int change_bytes(cm_context *context, const char *name, unsigned char *bytes, size_t size, int count,
                               uint64_t *state, void (*also)(const unsigned char *bytes, size_t size))
{
    int refused = 0;
    for (int k = 0; k < count; k++) {
        cm_tensors t;
        int at = random_int(state, 0, (int)size - 1);
        unsigned char before = bytes[at];
        bytes[at] = (unsigned char)random_int(state, 0, 255);
        cm_status status = open_bytes(context, name, bytes, size, &t);
        if (status == CM_OK) {
            read_all(&t);
            cmi_tensors_close(&t);
        } else {
            ck_assert_msg(status == CM_ERR_FORMAT || status == CM_ERR_LIMIT || status == CM_ERR_UNSUPPORTED, "%s: %s",
                          name, cm_last_message());
            refused++;
        }
        if (also) also(bytes, size);
        bytes[at] = before;
    }
    return refused;
}

/* What a file that is refused makes us take: at most 16 bytes for each of its bytes, and 16 MiB. */
static inline void refused_within_bounds(const char *name, const unsigned char *bytes, size_t size)
{
    memory counted;
    cm_tensors t;
    cm_context *own;
    memory_reset(&counted);
    cm_context_options o = memory_options(&counted, 1);
    OK(cm_context_create(&o, &own));
    cm_status status = open_bytes(own, name, bytes, size, &t);
    if (status == CM_OK) cmi_tensors_close(&t);
    ck_assert_msg(status == CM_ERR_FORMAT || status == CM_ERR_LIMIT, "%s: %s", cm_status_name(status),
                  cm_last_message());
    ck_assert_msg(counted.peak < 16 * (long long)size + (16 << 20), "%s of %zu bytes: %lld bytes taken", name, size,
                  counted.peak);
    cm_context_free(own);
    ck_assert_int_eq((int)counted.live, 0);
}

/* The attempt with its first request for memory refused, then with that `step` later, until one succeeds: the others
 * give MEMORY, and nothing is left behind. */
static inline void without_each_request(cm_status (*attempt)(cm_context *own, void *user), void *user, long step)
{
    cm_status status = CM_ERR_MEMORY;
    for (long n = 1; status != CM_OK; n += step) {
        memory counted;
        cm_context *own;
        memory_reset(&counted);
        cm_context_options o = memory_options(&counted, 1);
        OK(cm_context_create(&o, &own));
        const long live = counted.live;
        counted.fail_at = counted.requests + n;
        status = attempt(own, user);
        ck_assert_msg(status == CM_OK || status == CM_ERR_MEMORY, "request %ld: %s: %s", n, cm_status_name(status),
                      cm_last_message());
        ck_assert_int_eq((int)counted.live, (int)live);
        cm_context_free(own);
    }
}

#endif
