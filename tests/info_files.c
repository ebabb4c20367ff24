/* info_files.c CM-INFO FOLDER...: the program over every file and folder in them, each in an empty folder, with 4 GiB
 * of address space and 20 seconds.  What is called h_* has to be refused with exit code 1 and one sentence that names
 * the file; everything else has to read, with --check --json --tensors too.  Nothing may be written, and no run may
 * take more memory than 16 times the file and 16 MiB. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 20, ARGUMENTS = 8, TEXT = 4096 };
static const rlim_t address_space = (rlim_t)4 << 30;

typedef struct {
    int code;       /* 128 + N for signal N */
    long long peak; /* bytes */
    char text[TEXT];
} outcome;

static char program[PATH_MAX], place[PATH_MAX];
static int failures, runs;
static double worst;

static void fail(const char *path, const char *what, const outcome *o)
{
    failures++;
    printf("FAIL info_files: %s: %s; exit code %d, %.1f MiB, it says: %s\n", path, what, o->code,
           (double)o->peak / 1048576, o->text);
}

static long long size_of(const char *path, int is_folder)
{
    struct stat s;
    long long sum = 0;
    DIR *folder = is_folder ? opendir(path) : NULL;
    if (!is_folder) return stat(path, &s) == 0 ? (long long)s.st_size : 0;
    for (struct dirent *e; folder && (e = readdir(folder)) != NULL;) {
        char inner[PATH_MAX];
        if (e->d_name[0] == '.') continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner) continue;
        sum += stat(inner, &s) == 0 && S_ISDIR(s.st_mode) ? size_of(inner, 1) : size_of(inner, 0);
    }
    if (folder) closedir(folder);
    return sum;
}

static int is_empty(const char *path)
{
    int n = 0;
    DIR *folder = opendir(path);
    for (struct dirent *e; folder && (e = readdir(folder)) != NULL;) n += e->d_name[0] != '.';
    if (folder) closedir(folder);
    return n == 0;
}

/* The child: no return. */
static void become(char *const *arguments, int words)
{
    const struct rlimit limit = {address_space, address_space};
    if (chdir(place) != 0 || setrlimit(RLIMIT_AS, &limit) != 0 || !freopen("/dev/null", "w", stdout)) _exit(99);
    (void)dup2(words, 2);
    (void)alarm(SECONDS);
    execv(program, arguments);
    _exit(98);
}

static outcome run(const char *path, const char *const *options)
{
    outcome o = {.code = -1};
    char *arguments[ARGUMENTS] = {program, (char *)path};
    int words[2], status = 0;
    size_t n = 0;
    struct rusage used;
    for (int i = 0; options[i]; i++) arguments[i + 2] = (char *)options[i];
    if (pipe(words) != 0) return o;
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) become(arguments, words[1]);
    (void)close(words[1]);
    for (ssize_t got; (got = read(words[0], o.text + n, sizeof o.text - 1 - n)) > 0;) n += (size_t)got;
    (void)close(words[0]);
    if (child < 0 || wait4(child, &status, 0, &used) != child) return o;
    o.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    o.peak = (long long)used.ru_maxrss * 1024;
    runs++;
    return o;
}

/* The last line, which is the failure: warnings may stand above it. */
static const char *last_line(char *text)
{
    size_t n = strlen(text);
    while (n && text[n - 1] == '\n') text[--n] = '\0';
    const char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static void try_one(const char *path, const char *name, long long size, const char *const *options)
{
    outcome o = run(path, options);
    const long long most = 16 * size + (16 << 20);
    const char *line = last_line(o.text), *said = strstr(line, path);
    if (strncmp(name, "h_", 2) != 0) {
        if (o.code != 0) fail(path, "it does not read", &o);
    } else if (o.code != 1) {
        fail(path, "it is not refused", &o);
    } else if (!said || strlen(said) < strlen(path) + 20) {
        fail(path, "the message does not say what is wrong and where", &o);
    }
    if (o.peak > most) fail(path, "it takes too much memory", &o);
    if ((double)o.peak / (double)most > worst) worst = (double)o.peak / (double)most;
    if (!is_empty(place)) fail(path, "something was written", &o);
}

static int compare(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int wanted(const struct dirent *e)
{
    const char *end = strrchr(e->d_name, '.');
    return e->d_name[0] != '.' && !(end && strcmp(end, ".md") == 0);
}

static void try_folder(const char *folder)
{
    static const char *const none[] = {NULL}, *const all[] = {"--check", "--json", "--tensors", NULL};
    struct dirent **entries = NULL;
    const int n = scandir(folder, &entries, wanted, compare);
    if (n <= 0) {
        printf("FAIL info_files: %s has no files\n", folder);
        failures++;
    }
    for (int i = 0; i < n; i++) {
        char joined[PATH_MAX + 300], path[PATH_MAX];
        struct stat s;
        (void)snprintf(joined, sizeof joined, "%s/%s", folder, entries[i]->d_name);
        if (realpath(joined, path) && stat(path, &s) == 0) {
            const long long size = size_of(path, S_ISDIR(s.st_mode));
            try_one(path, entries[i]->d_name, size, none);
            try_one(path, entries[i]->d_name, size, all);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    const char *temporary = getenv("TMPDIR");
    if (argc < 3 || !realpath(argv[1], program)) {
        fprintf(stderr, "usage: info_files CM-INFO FOLDER...\n");
        return 2;
    }
    (void)snprintf(place, sizeof place, "%s/info_files.XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(place)) {
        perror(place);
        return 2;
    }
    for (int i = 2; i < argc; i++) try_folder(argv[i]);
    (void)rmdir(place);
    printf("info_files: %d runs, %d failures, at most %.0f %% of the memory that is allowed\n", runs, failures,
           100 * worst);
    return failures > 0;
}
