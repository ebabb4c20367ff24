/* cli_files.c - files of text that appear whole or not at all. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const cli *c, const char *path, const char *reason)
{
    cli_clear_line();
    fprintf(stderr, "%s: cannot write '", c->program);
    cli_print_text(stderr, path, 0);
    fprintf(stderr, "': %s\n", reason);
    exit(CLI_FAILED);
}

void cli_check_file(const cli *c, const char *path, int overwrite)
{
    struct stat st;
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
    if (slash) slash[slash == folder] = '\0';
    if (stat(path, &st) == 0) {
        if (!S_ISREG(st.st_mode)) fail(c, path, "it is no regular file");
        if (!overwrite) fail(c, path, "it exists (--force replaces it)");
    }
    if (access(slash ? folder : ".", W_OK | X_OK) != 0) fail(c, path, strerror(errno));
    free(folder);
}

static int write_all(int file, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t n = write(file, text, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        text += n;
        size -= (size_t)n;
    }
    return fsync(file);
}

void cli_write_file(const cli *c, const char *path, const char *text, size_t size, int overwrite)
{
    cli_check_file(c, path, overwrite);
    char *end = realpath(path, NULL); /* a link stays, and what it leads to is written */
    const char *target = end ? end : path;
    const size_t room = strlen(target) + 32;
    char *temporary = malloc(room);
    if (!temporary) fail(c, path, "out of memory");
    (void)snprintf(temporary, room, "%s.tmp-%ld", target, (long)getpid());
    const int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int failed = file < 0 || write_all(file, text, size) != 0;
    int reason = errno;
    if (file >= 0 && close(file) != 0 && !failed) failed = 1, reason = errno;
    if (!failed && rename(temporary, target) != 0) failed = 1, reason = errno;
    if (failed) {
        if (file >= 0) (void)unlink(temporary);
        fail(c, path, strerror(reason));
    }
    free(temporary);
    free(end);
}
