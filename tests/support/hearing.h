/* hearing.h - sets as a folder, a tar or a zip of the same files, and what the log is told of them. */
#ifndef TESTS_SUPPORT_HEARING_H
#define TESTS_SUPPORT_HEARING_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "support/pictures.h"
#include "support/sets.h"
#include "support/suite.h"

static char heard[8192]; /* what the log was told, a line each, with "W " or "I " */

static inline void hear(void *user, int32_t level, const char *message)
{
    size_t n = strlen(heard);
    (void)user;
    snprintf(heard + n, sizeof heard - n, "%c %s\n", level == CM_LOG_WARNING ? 'W' : 'I', message);
}

/* Opens with `heard` filled in; the status is the caller's to look at. */
static inline cm_status open_hearing(const char *path, const cm_dataset_options *o, cm_dataset **d)
{
    cm_context_options co;
    cm_context *own;
    cm_context_options_init(&co, sizeof co);
    co.log = hear;
    heard[0] = '\0';
    OK(cm_context_create(&co, &own));
    cm_status status = cm_dataset_open(own, path, o, d);
    cm_context_free(own);
    return status;
}

static inline cm_dataset *hearing(const char *path)
{
    cm_dataset_options o = in_order();
    cm_dataset *d;
    OK(open_hearing(path, &o, &d));
    return d;
}

static inline int count_of(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)) != NULL; text++) n++;
    return n;
}

#define HEARD(word) ck_assert_msg(count_of(heard, word) == 1, "the log has not once '%s':\n%s", word, heard)
#define QUIET() ck_assert_msg(!strstr(heard, "W "), "the log warned:\n%s", heard)

static const char *const containers[] = {"folder", "tar", "zip"};
enum { CONTAINERS = 3 };

static inline void make_folders_of(const char *path)
{
    char folder[400];
    ck_assert_int_lt(snprintf(folder, sizeof folder, "%s", path), 400);
    for (char *c = folder + 1; *c; c++) {
        if (*c != '/') continue;
        *c = '\0';
        (void)mkdir(folder, 0777);
        *c = '/';
    }
}

/* The same files as a folder, a tar or a zip; gives its path. */
static inline const char *contain(int how, const char *name, const part *parts, int n)
{
    static char path[300], inner[400];
    const char *names[64];
    const void *data[64];
    size_t sizes[64], at = 0;
    snprintf(path, sizeof path, "%s/%s.%s", dir, name, containers[how]);
    if (how == 0) {
        for (int i = 0; i < n; i++) {
            snprintf(inner, sizeof inner, "%s/%s", path, parts[i].name);
            make_folders_of(inner);
            write_bytes(inner, parts[i].data, parts[i].size);
        }
    } else if (how == 1) {
        size_t room = 4096;
        for (int i = 0; i < n; i++) room += parts[i].size + 2048;
        unsigned char *archive = calloc(room, 1);
        for (int i = 0; i < n; i++) at += tar_member(archive + at, parts[i].name, '0', parts[i].data, parts[i].size);
        write_bytes(path, archive, at + 1024);
        free(archive);
    } else {
        for (int i = 0; i < n; i++) names[i] = parts[i].name, data[i] = parts[i].data, sizes[i] = parts[i].size;
        make_zip(path, names, data, sizes, n, 0);
    }
    return path;
}

/* A small PNG of one gray; the caller frees it. */
static inline unsigned char *a_png(int value, size_t *size)
{
    write_png(in_dir("some.png"), value);
    return read_bytes(in_dir("some.png"), size);
}

#endif
