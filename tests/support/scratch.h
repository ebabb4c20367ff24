/* scratch.h - a context and a directory of a test's own, and the names of files in it; the fixture of a case. */
#ifndef TESTS_SUPPORT_SCRATCH_H
#define TESTS_SUPPORT_SCRATCH_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/suite.h"

static char dir[32];
static cm_context *context;

static inline void setup(void)
{
    strcpy(dir, "/tmp/cm-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    OK(cm_context_create(NULL, &context));
}

/* Four names stand at a time. */
static inline const char *in_dir(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static inline int files_in_dir(void)
{
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static inline void teardown(void)
{
    char command[128];
    cm_context_free(context);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

#endif
