/* suite.c - the main() of every Check program; see the header. */
#include "suite.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/cpu_level.h"
#include "kernels/kernels.h"

enum { SHORT, USUAL, LONG, MOST_SKIPS = 64, TEXT = 200 };
static const char *const efforts[] = {"short", "usual", "long"};

/* Check runs each case in a process of its own: what they tell lies in memory that they share. */
static struct {
    atomic_int skips;
    atomic_uint levels;
    char text[MOST_SKIPS][TEXT];
} * told;

void assertion_held(const char *file, int line)
{
    enum { LINES = 4096 };
    static atomic_bool seen[LINES];
    if (!atomic_exchange(&seen[line % LINES], 1)) _mark_point(file, line);
}

static int effort(void)
{
    const char *text = getenv("CHECK_EFFORT");
    for (int i = SHORT; text && i <= LONG; i++)
        if (strcmp(text, efforts[i]) == 0) return i;
    if (!text || !*text) return USUAL;
    fprintf(stderr, "CHECK_EFFORT is '%s', expected short, usual or long\n", text);
    exit(2);
}

int by_effort(int in_short, int usual, int in_long)
{
    const int numbers[] = {in_short, usual, in_long};
    return numbers[effort()];
}

static uint64_t chosen_seed(void)
{
    const char *text = getenv("CHECK_SEED");
    char *end;
    if (!text || !*text) return 0;
    const uint64_t number = strtoull(text, &end, 10);
    if (!*end && *text != '-') return number;
    fprintf(stderr, "CHECK_SEED is '%s', expected a whole number\n", text);
    exit(2);
}

uint64_t seeded(uint64_t own)
{
    return own + chosen_seed() * 0x9E3779B97F4A7C15u;
}

void skipped(const char *format, ...)
{
    va_list args;
    const int n = atomic_fetch_add(&told->skips, 1);
    if (n >= MOST_SKIPS) return;
    va_start(args, format);
    (void)vsnprintf(told->text[n], TEXT, format, args);
    va_end(args);
}

int tried(int level)
{
    if (level <= cmi_cpu_level()) atomic_fetch_or(&told->levels, 1u << level);
    return level;
}

static void print_levels(int with)
{
    const char *before = "";
    for (int level = CM_CPU_BASELINE; level <= CM_CPU_AMX_BF16; level++) {
        if ((atomic_load(&told->levels) >> level & 1) != (unsigned)with) continue;
        printf("%s%s", before, cmi_kernels_for(level)->name);
        before = ", ";
    }
    printf("%s", *before ? "" : "none");
}

static void print_skips(const char *program)
{
    const char *path = getenv("CHECK_SKIPS");
    FILE *file = path && *path ? fopen(path, "a") : NULL;
    const int n = atomic_load(&told->skips);
    for (int i = 0; i < n && i < MOST_SKIPS; i++) {
        printf("SKIPPED in %s: %s\n", program, told->text[i]);
        if (file) fprintf(file, "%s: %s\n", program, told->text[i]);
    }
    if (file) fclose(file);
}

int main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL, *program = slash ? slash + 1 : "this program";
    const char *chosen = efforts[effort()];
    const unsigned long long seed = chosen_seed();
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED) return EXIT_FAILURE;
    tried(cmi_cpu_level());
    /* The limits of the cases are there to end what hangs, on a slow and busy machine too. */
    (void)setenv("CK_TIMEOUT_MULTIPLIER", "10", 0);
    SRunner *runner = srunner_create(make_suite());
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    printf("%s: effort %s, seed %llu, CPU levels tried: ", program, chosen, seed);
    print_levels(1);
    printf("; not tried: ");
    print_levels(0);
    printf("; skipped: %d\n", atomic_load(&told->skips));
    print_skips(program);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
