/* files.c - see the header. */
#include "run/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/directory.h"
#include "run/text.h"

enum { PATH = 4096 };
static const char log_name[] = "log.jsonl";

/* --- the directory ------------------------------------------------------------------ */

/* The folder that a new directory would be made in. */
static void parent_of(const char *path, char parent[PATH])
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    (void)snprintf(parent, PATH, "%.*s", n ? (int)n : 1, n ? path : ".");
}

int cmi_run_is_inside(const char *directory, const char *folder)
{
    char parent[PATH];
    if (strlen(directory) >= PATH / 2) return 0;
    parent_of(directory, parent);
    char *inner = realpath(parent, NULL), *outer = realpath(folder, NULL);
    const size_t n = outer ? strlen(outer) : 0;
    const int inside = inner && outer && strncmp(inner, outer, n) == 0 && (inner[n] == '/' || !inner[n]);
    free(inner);
    free(outer);
    return inside;
}

static int is_empty(const cm_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->name[i], "lost+found") != 0) return 0;
    return 1;
}

static cm_status check_existing(cm_context *context, const char *directory, const char *prefix)
{
    cm_names names;
    CM_TRY(cmi_directory_list(context, directory, &names));
    const int empty = is_empty(&names);
    cmi_names_free(&names);
    if (!empty)
        CM_FAIL(CM_ERR_IO, "'%s' is not empty: give a new directory, or %sresume to continue the run in it",
                directory, prefix);
    if (access(directory, W_OK | X_OK) != 0) return cmi_file_fail("write to", directory);
    return CM_OK;
}

cm_status cmi_run_check_directory(cm_context *context, const char *directory, const char *prefix)
{
    char parent[PATH];
    struct stat st;
    if (strlen(directory) >= PATH / 2) errno = ENAMETOOLONG;
    else if (stat(directory, &st) == 0 && S_ISDIR(st.st_mode)) return check_existing(context, directory, prefix);
    else if (lstat(directory, &st) == 0) errno = S_ISLNK(st.st_mode) ? ENOENT : ENOTDIR;
    else if (errno == ENOENT) {
        parent_of(directory, parent);
        if (access(parent, W_OK | X_OK) == 0) return CM_OK;
    }
    return cmi_file_fail("write to", directory);
}

/* --- whole files --------------------------------------------------------------------- */

static int is_left(const char *name)
{
    static const char *const of[] = {"config.json.tmp-", "log.jsonl.tmp-", "best.safetensors.tmp-",
                                     "model.safetensors.tmp-"};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (strncmp(name, of[i], strlen(of[i])) == 0) return 1;
    return 0;
}

cm_status cmi_run_tidy(cm_context *context, const char *directory)
{
    cm_names names;
    CM_TRY(cmi_directory_list(context, directory, &names));
    cm_status status = CM_OK;
    for (size_t i = 0; i < names.count && status == CM_OK; i++) {
        if (!is_left(names.name[i])) continue;
        char *path = cmi_path_join(context, directory, names.name[i]);
        status = path ? cmi_directory_remove(path) : CM_ERR_MEMORY;
        cmi_free(context, path);
    }
    cmi_names_free(&names);
    return status;
}

cm_status cmi_run_write(cm_context *context, const char *directory, const char *name, const char *text, size_t size)
{
    cm_file_writer writer;
    char *path = cmi_path_join(context, directory, name);
    cm_status status = path ? cmi_file_create(context, path, 1, &writer) : CM_ERR_MEMORY;
    cmi_free(context, path);
    CM_TRY(status);
    status = cmi_file_write(&writer, text, size);
    if (status == CM_OK) return cmi_file_commit(&writer);
    cmi_file_abort(&writer);
    return status;
}

/* --- the log -------------------------------------------------------------------------- */

enum { BLOCK = 1 << 16 }; /* no line of the log is as long */

/* What is kept of a log, and what was found on the way. */
typedef struct {
    int64_t last;    /* lines of later steps go                            */
    const char *key; /* "\"fd-lenet\": " of the lines that are looked for */
    int64_t found;   /* the step of the last of them                       */
} log_lines;

/* The whole lines that stay, moved to the beginning; returns their bytes, and how many were looked at. */
static size_t keep_lines(char *text, size_t size, log_lines *lines, size_t *seen)
{
    size_t kept = 0, at = 0;
    for (char *end; (end = memchr(text + at, '\n', size - at)) != NULL;) {
        const size_t n = (size_t)(end - text) + 1 - at;
        *end = '\0';
        const char *step = strstr(text + at, "\"step\": ");
        const int64_t at_step = step ? strtoll(step + 8, NULL, 10) : INT64_MAX;
        const int stays = at_step <= lines->last;
        if (stays && strstr(text + at, lines->key)) lines->found = at_step;
        *end = '\n';
        if (stays) memmove(text + kept, text + at, n);
        kept += stays ? n : 0;
        at += n;
    }
    *seen = at;
    return kept;
}

/* A last line that is cut off is left out. */
static cm_status copy_lines(const cm_file_reader *reader, log_lines *lines, char *block, cm_file_writer *writer)
{
    size_t seen, held = 0;
    for (size_t at = 0; at < reader->size;) {
        const size_t n = reader->size - at < BLOCK - held ? reader->size - at : BLOCK - held;
        CM_TRY(cmi_file_reader_read(reader, at, block + held, n));
        at += n;
        held += n;
        CM_TRY(cmi_file_write(writer, block, keep_lines(block, held, lines, &seen)));
        held -= seen;
        memmove(block, block + seen, held);
        if (held == BLOCK) held = 0; /* no line of ours */
    }
    return CM_OK;
}

static cm_status copy_log(cm_context *context, const char *path, log_lines *lines, cm_file_writer *writer)
{
    cm_file_reader reader;
    cm_path_kind kind;
    CM_TRY(cmi_path_look(path, &kind));
    if (kind != CM_PATH_FILE) return CM_OK;
    CM_TRY(cmi_file_reader_open(context, path, &reader));
    char *block = cmi_malloc(context, BLOCK, 1);
    cm_status status = block ? copy_lines(&reader, lines, block, writer) : CM_ERR_MEMORY;
    cmi_free(context, block);
    cmi_file_reader_close(&reader);
    return status;
}

static cm_status rewrite_log(cm_context *context, const char *path, log_lines *lines)
{
    cm_file_writer writer;
    CM_TRY(cmi_file_create(context, path, 1, &writer));
    cm_status status = copy_log(context, path, lines, &writer);
    if (status == CM_OK) return cmi_file_commit(&writer);
    cmi_file_abort(&writer);
    return status;
}

cm_status cmi_run_log_open(cm_context *context, const char *directory, int64_t last, const char *metric,
                           int *descriptor, int64_t *evaluated)
{
    char key[80];
    log_lines lines = {last, key, 0};
    (void)snprintf(key, sizeof key, "\"%.64s\": ", metric ? metric : "\n"); /* no line holds that */
    char *path = cmi_path_join(context, directory, log_name);
    if (!path) return CM_ERR_MEMORY;
    cm_status status = rewrite_log(context, path, &lines);
    *descriptor = status == CM_OK ? cmi_file_open(path, O_WRONLY | O_APPEND, 0) : -1;
    if (status == CM_OK && *descriptor < 0) status = cmi_file_fail("write", path);
    cmi_free(context, path);
    *evaluated = lines.found;
    return status;
}

static void add_number(cm_text *t, const char *name, int digits, double value)
{
    cmi_text_add(t, ", \"%s\": ", name);
    cmi_text_add_number(t, digits, value);
}

static void describe(cm_text *t, const cm_run_line *line)
{
    const cm_train_report *r = line->report;
    cmi_text_add(t, "{\"step\": %lld, \"images\": %llu", (long long)r->step, (unsigned long long)r->images);
    add_number(t, "epoch", 6, line->epoch);
    add_number(t, "loss", 17, r->loss);
    add_number(t, "grad_norm", 17, r->grad_norm);
    add_number(t, "lr", 10, r->lr);
    cmi_text_add(t, ", \"scales\": %d", r->scales);
    add_number(t, "mu", 10, r->mu);
    cmi_text_add(t, ", \"stage\": %d", r->ect_stage);
    add_number(t, "img_per_s", 6, line->step_rate);
    add_number(t, "data_wait_s", 6, r->data_wait);
    if (r->group_wait > 0) add_number(t, "group_wait_s", 6, r->group_wait);
    cmi_text_add(t, ", \"peak_rss\": %llu", (unsigned long long)r->peak_bytes);
    add_number(t, "eta_s", 6, line->seconds_left);
}

static void describe_metric(cm_text *t, const cm_run_metric_line *line)
{
    cmi_text_add(t, "{\"step\": %lld", (long long)line->step);
    add_number(t, line->metric, 17, line->distance);
    cmi_text_add(t, ", \"samples\": %lld", (long long)line->samples);
    add_number(t, "best", 17, line->best);
    cmi_text_add(t, ", \"best_step\": %lld", (long long)line->best_step);
    add_number(t, "metric_s", 6, line->seconds);
}

/* In one write, so that a line is whole or, when the disk is full, the last one is cut off. */
static cm_status end_line(cm_text *t, int descriptor)
{
    cmi_text_add(t, ", \"wall\": %lld.000}\n", (long long)time(NULL));
    cm_status status = cmi_text_check(t);
    for (size_t done = 0; status == CM_OK && done < t->length;) {
        ssize_t n = write(descriptor, t->text + done, t->length - done);
        if (n < 0 && errno != EINTR) status = cmi_file_fail("write", log_name);
        else if (n > 0) done += (size_t)n;
    }
    cmi_free(t->context, t->text);
    return status;
}

cm_status cmi_run_log_add(cm_context *context, int descriptor, const cm_run_line *line)
{
    cm_text t;
    cmi_text_begin(&t, context);
    describe(&t, line);
    return end_line(&t, descriptor);
}

cm_status cmi_run_log_add_metric(cm_context *context, int descriptor, const cm_run_metric_line *line)
{
    cm_text t;
    cmi_text_begin(&t, context);
    describe_metric(&t, line);
    return end_line(&t, descriptor);
}

cm_status cmi_run_log_flush(int descriptor)
{
    return cmi_file_flush(descriptor, log_name);
}
