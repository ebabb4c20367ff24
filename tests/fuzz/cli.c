/* Any bytes as a command line, arguments ending with NUL: the readers of options, numbers, lists and labels that the
 * programs share take them or end with exit code 0 or 2.  exit() comes back here. */
#include <setjmp.h>

#include "../examples/cli.h"
#include "fuzz/watched.h"

static jmp_buf back;
static int code, inside;

/* What examples/cli*.c call as exit (tests/tests.mk renames it there). */
_Noreturn void fuzz_exit(int with);
_Noreturn void fuzz_exit(int with)
{
    if (!inside) _exit(with);
    code = with;
    longjmp(back, 1);
}

static const cli_option options[] = {{"number", 'n', "N", "a number"},
                                     {"seed", 's', "N", "a seed"},
                                     {"list", 'l', "LIST", "numbers"},
                                     {"whole", 'w', "LIST", "whole numbers"},
                                     {"method", 'm', "NAME", "one of {methods}"},
                                     {"set", 0, "KEY=VALUE", "an option of training"},
                                     {"json", 'j', "JSON", "a text"},
                                     {"quiet", 'q', NULL, "no words"}};

static void use(const cli *c, int option, const char *value)
{
    double numbers[8];
    int32_t whole[8];
    char key[CLI_KEY];
    if (option == 0) {
        const double v = cli_number(c, "number", value, -10, 1e6);
        if (!(v >= -10 && v <= 1e6)) fuzz_fail("a number outside its range");
        const int64_t n = cli_integer(c, "number", value, 0, 1000);
        if (n < 0 || n > 1000) fuzz_fail("a whole number outside its range");
    } else if (option == 1) {
        (void)cli_seed(c, "seed", value);
    } else if (option == 2) {
        if (cli_list(c, "list", value, numbers, 8) > 8) fuzz_fail("too many numbers");
    } else if (option == 3) {
        if (cli_integers(c, "whole", value, 0, whole, 8) > 8) fuzz_fail("too many numbers");
        if (cli_labels(c, NULL, value, whole, 8) > 8) fuzz_fail("too many labels");
    } else if (option == 4) {
        if (!cm_choice_name("methods", (size_t)cli_listed(c, "method", value, "methods")))
            fuzz_fail("no such method");
    } else if (option == 5) {
        (void)cli_pair(c, value, key);
    } else if (option == 6 && value[0] == '{') {
        (void)cli_json_argument(c, "json", value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[4096];
    static char *argv[64];
    static int quiet;
    int n = 1;
    if (size >= sizeof text) return 0;
    if (!quiet++ &&
        (!freopen("/dev/null", "w", stdout) || (getenv("FUZZ_QUIET") && !freopen("/dev/null", "w", stderr))))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    argv[0] = (char *)(uintptr_t) "fuzz";
    for (size_t at = 0; at < size && n < 63; at += strlen(text + at) + 1) argv[n++] = text + at;
    argv[n] = NULL;
    cli c = {.program = "fuzz",
             .usage = "",
             .options = options,
             .argc = n,
             .argv = argv,
             .n_options = sizeof options / sizeof *options,
             .other_hint = cli_setting_hint};
    inside = 1;
    if (setjmp(back) == 0) {
        const char *value;
        for (int option; (option = cli_next(&c, &value)) >= 0;) use(&c, option, value);
    } else if (code != CLI_OK && code != CLI_USAGE) {
        fuzz_fail("another exit code");
    }
    inside = 0;
    return 0;
}
