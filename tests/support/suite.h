/* suite.h - one main() for every Check program, and small helpers. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>
#include <stdint.h>
#include <string.h>

#include <consistency.h>

/* Check writes to a file at every assertion that holds, which takes most of the time of a loop over values: here each
 * line of a test does so once, and a crash is reported behind the last line that held for the first time. */
void assertion_held(const char *file, int line);
#undef ck_assert_msg
#undef ck_assert
#define ck_assert_msg(expr, ...) ((expr) ? assertion_held(__FILE__, __LINE__) : ck_abort_msg(__VA_ARGS__))
#define ck_assert(expr) ck_assert_msg(expr, "%s", "Assertion '" #expr "' failed")

#define OK(call) ck_assert_msg((call) == CM_OK, "%s: %s", #call, cm_last_message())
/* Fails with this status, and the message has this word. */
#define FAILS(call, status, word)                                                                                    \
    do {                                                                                                             \
        cm_status got_ = (call);                                                                                     \
        ck_assert_msg(got_ == (status), "%s gave %s (%s), expected %s", #call, cm_status_name(got_),                 \
                      cm_last_message(), cm_status_name(status));                                                    \
        ck_assert_msg(strstr(cm_last_message(), word) != NULL, "message '%s' lacks '%s'", cm_last_message(), word);  \
    } while (0)

/* A condition of these labels, which lives as long as the block it stands in. */
#define LABELS(list) (&(cm_condition){.struct_size = sizeof(cm_condition), .labels = (list)})

/* Reproducible numbers in [-1, 1]. */
static inline float random_float(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

static inline int random_int(uint64_t *state, int low, int high)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return low + (int)((*state >> 33) % (uint64_t)(high - low + 1));
}

/* --- what a run does and what it says of itself ------------------------------------------
 *
 * A program prints its effort, its seed, the CPU levels that it tried and those that this processor has not, and each
 * case or part of one that did not run, with the reason; CHECK_SKIPS=FILE collects these lines of several programs.
 */

/* CHECK_EFFORT=short (for slow tools), usual (the same as nothing) or long. */
int by_effort(int in_short, int usual, int in_long);

/* The beginning of random cases: `own` unless CHECK_SEED=N asks for others. */
uint64_t seeded(uint64_t own);

/* The case, or a part of it, does not run: it is counted apart from what passed. */
void skipped(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The loops of this CPU level are run, if the processor has it: for (int level = 0; tried(level) <= cmi_cpu_level();
 * level++).  Returns it. */
int tried(int level);

Suite *make_suite(void);

#endif
