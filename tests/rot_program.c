/* rot_program.c RUN BITS [OBJECTIVE]: bits of a checkpoint flip.
 *
 * Trains two steps with a checkpoint each into RUN.  Then BITS bits by chance, one at a time, flip in each file of
 * the newer checkpoint and in LATEST: cm_trainer_resume has to tell of each, by a status or by a warning and the
 * older checkpoint.  Prints how many were told; exit 1 where one was not. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <consistency.h>

#include "support/tiny_trainer.h"

typedef struct {
    unsigned char *bytes;
    size_t size;
} content;

static content read_whole(const char *path)
{
    content c = {NULL, 0};
    FILE *f = fopen(path, "rb");
    if (!f) return c;
    (void)fseek(f, 0, SEEK_END);
    c.size = (size_t)ftell(f);
    rewind(f);
    c.bytes = malloc(c.size + 1);
    if (c.bytes && fread(c.bytes, 1, c.size, f) != c.size) c.size = 0;
    (void)fclose(f);
    return c;
}

static int write_whole(const char *path, const content *c)
{
    FILE *f = fopen(path, "wb");
    if (!f) return 0;
    const size_t n = fwrite(c->bytes, 1, c->size, f);
    return fclose(f) == 0 && n == c->size;
}

static void count_warnings(void *user, int32_t level, const char *message)
{
    (void)message;
    if (level <= CM_LOG_WARNING) ++*(int *)user;
}

/* Flips bits of one file; returns how many nobody told of. */
static long flip(cm_trainer *t, const char *run, const char *path, long bits, int *warnings)
{
    uint64_t state = 11;
    long untold = 0;
    content c = read_whole(path);
    if (!c.size) exit(2);
    for (long i = 0; i < bits; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const size_t bit = (size_t)((state >> 20) % (8 * (uint64_t)c.size));
        c.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (!write_whole(path, &c)) exit(2);
        *warnings = 0;
        const cm_status status = cm_trainer_resume(t, run, NULL, 0);
        if (status == CM_OK && *warnings == 0) {
            if (untold++ < 5) fprintf(stderr, "FAIL bit %zu of %s: nothing is told\n", bit, path);
        }
        c.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    if (!write_whole(path, &c)) exit(2);
    free(c.bytes);
    return untold;
}

int main(int argc, char **argv)
{
    int warnings = 0, files = 0;
    long untold = 0;
    char folder[400], path[700];
    if (argc < 3) return 2;
    cm_context_options options = CM_CONTEXT_OPTIONS_INIT;
    cm_context *context;
    options.threads = 1;
    options.log = count_warnings;
    options.log_user = &warnings;
    cm_trainer *t = NULL;
    if (cm_context_create(&options, &context) != CM_OK) return 2;
    const char *objective = argc > 3 ? argv[3] : "edm";
    cm_status status = tiny_trainer_open(context, objective, &t);
    for (int i = 0; i < 2 && status == CM_OK; i++) {
        status = tiny_trainer_step(t);
        if (status == CM_OK) status = cm_trainer_save(t, argv[1], 2);
    }
    if (status != CM_OK) {
        fprintf(stderr, "FAIL %s\n", cm_last_message());
        return 2;
    }
    const long bits = atol(argv[2]);
    (void)snprintf(folder, sizeof folder, "%s/checkpoints/step-000000002", argv[1]);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        untold += flip(t, argv[1], path, bits, &warnings);
        files++;
    }
    if (d) closedir(d);
    (void)snprintf(path, sizeof path, "%s/checkpoints/LATEST", argv[1]);
    untold += flip(t, argv[1], path, bits, &warnings);
    files++;
    if (cm_trainer_resume(t, argv[1], NULL, 0) != CM_OK) untold++;
    printf("bit rot of %s: %d files, %ld bits flipped in each, %ld not told\n", objective, files, bits, untold);
    cm_trainer_free(t);
    cm_context_free(context);
    return untold || files < 5;
}
