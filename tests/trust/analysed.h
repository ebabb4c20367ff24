/* analysed.h - what gcc -fanalyzer is told before each file of src (tests/trust/matrix.sh): a failure is never CM_OK,
 * which it cannot see from a prototype, so that CM_TRY ends a function whose callee has failed. */
#ifndef TESTS_TRUST_ANALYSED_H
#define TESTS_TRUST_ANALYSED_H

#include "base/status.h"

#define cmi_fail(...)                                                                                                \
    ({                                                                                                               \
        cm_status failed_ = cmi_fail(__VA_ARGS__);                                                                   \
        if (failed_ == CM_OK) __builtin_unreachable();                                                               \
        failed_;                                                                                                     \
    })

#endif
