/* status.h - failing is one line: a code and a sentence.
 *
 * The message is set where the failure arises and never changed on the way
 * up.  It belongs to the thread. */
#ifndef CM_BASE_STATUS_H
#define CM_BASE_STATUS_H

#include <consistency/base.h>

#if defined(__GNUC__)
#define CM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CM_PRINTF(fmt, args)
#endif

#define CM_TRY(expression)                                                                                           \
    do {                                                                                                             \
        cm_status cm_try_ = (expression);                                                                            \
        if (cm_try_ != CM_OK) return cm_try_;                                                                        \
    } while (0)

/* For functions that clean up: needs a `cm_status status` and a label `done`. */
#define CM_TRY_DONE(expression)                                                                                      \
    do {                                                                                                             \
        status = (expression);                                                                                       \
        if (status != CM_OK) goto done;                                                                              \
    } while (0)

#define CM_FAIL(code, ...) return cmi_fail((code), __VA_ARGS__)

/* Sets the message and returns the code. */
cm_status cmi_fail(cm_status code, const char *format, ...) CM_PRINTF(2, 3);

/* Carries a message from a worker thread to the thread that waits for it. */
void cmi_message_set(const char *text);

#endif
