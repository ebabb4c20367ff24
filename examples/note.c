/* note.c - see the header. */
#include "note.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

/* Where the picture goes, and what changes no pixel of it. */
static const char *const unsaid[] = {"output",      "images",    "npz",     "force",   "bench", "json",
                                     "quiet",       "batch",     "threads", "no-note", "like",  "mpi",
                                     "mpi-timeout", "log-ranks", "retry",   NULL};
/* Of the picture, not of the run. */
static const char *const of_page[] = {"count", "first", "columns", "margin", "labels", NULL};

/* Options that a line of their own says in full. */
static const char *const in_full[] = {"method", "seed", "sigmas", NULL};

static int is_among(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0) return 1;
    return 0;
}

/* A text; of a name of a file, which need not be UTF-8, with U+FFFD where it is none. */
static json_t *text_value(const char *text)
{
    json_t *value = json_string(text);
    char *quoted = NULL;
    size_t size;
    FILE *out = value ? NULL : open_memstream(&quoted, &size);
    if (!out) return value;
    cli_json_string(out, text);
    if (fclose(out) == 0) value = json_loads(quoted, JSON_DECODE_ANY, NULL);
    free(quoted);
    return value;
}

static json_t *option_strings(const note *n, const note_page *page)
{
    json_t *options = json_object();
    const struct {
        const char *name;
        long long value;
    } numbers[] = {{"count", (long long)page->count},
                   {"first", (long long)page->first},
                   {"columns", page->columns},
                   {"margin", page->margin}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(options, numbers[i].name, json_sprintf("%lld", numbers[i].value));
    if (page->labels) json_object_set_new(options, "labels", json_string(page->labels));
    for (int i = 0; i < n->c->n_options; i++)
        if (n->values[i] && !is_among(n->c->options[i].name, unsaid) && !is_among(n->c->options[i].name, of_page))
            json_object_set_new(options, n->c->options[i].name, text_value(n->values[i]));
    return options;
}

char *note_text(const note *n, const note_page *page)
{
    json_t *object = json_object(), *levels = json_array();
    json_object_set_new(object, "program", json_sprintf("%s %s", n->c->program, cm_version()));
    json_object_set_new(object, "model", text_value(n->model));
    json_object_set_new(object, "weights", json_string(n->weights));
    json_object_set_new(object, "method", json_string(n->method));
    json_object_set_new(object, "seed", json_sprintf("%llu", (unsigned long long)n->seed));
    for (size_t i = 0; i < n->n_levels && n->n_levels <= NOTE_LEVELS; i++)
        json_array_append_new(levels, json_real(n->levels[i]));
    if (json_array_size(levels)) json_object_set(object, "sigmas", levels);
    json_object_set_new(object, "options", option_strings(n, page));
    char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    json_decref(levels);
    json_decref(object);
    return text;
}

cm_status note_read(const char *path, char **text)
{
    uint8_t *bytes;
    size_t size;
    *text = NULL;
    cm_status status = cm_image_note(NULL, path, &bytes, &size);
    if (status != CM_OK || !bytes) return status;
    *text = strdup((const char *)bytes);
    cm_bytes_free(NULL, bytes);
    return *text ? CM_OK : CM_ERR_MEMORY;
}

static int find(const cli *c, const char *name)
{
    for (int i = 0; i < c->n_options; i++)
        if (strcmp(c->options[i].name, name) == 0) return i;
    return -1;
}

/* What a note names is opened unseen, and a FIFO or a device would be waited for. */
static void refuse_waiting(const cli *c, const char *path, const char *value)
{
    struct stat st;
    if (stat(value, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) return;
    cli_usage_error(c, "--like %s: the note names '%s', which is neither a file nor a folder", path, value);
}

const char *note_like(const cli *c, const char *path, const char **values, char weights[TIMES_MODEL])
{
    char *text;
    const char *name, *begin;
    json_t *value;
    json_error_t error;
    if (note_read(path, &text) != CM_OK) exit(cli_fail(c, CM_ERR_IO));
    json_t *object = text ? json_loads(text, JSON_REJECT_DUPLICATES, &error) : NULL;
    const char *model = json_string_value(json_object_get(object, "model"));
    const char *hash = json_string_value(json_object_get(object, "weights"));
    begin = json_string_value(json_object_get(object, "program"));
    if (!begin || strncmp(begin, c->program, strlen(c->program)) != 0 || begin[strlen(c->program)] != ' ' || !model ||
        !hash || strlen(hash) >= TIMES_MODEL)
        cli_usage_error(c, "--like %s: the picture does not say how it was drawn", path);
    strcpy(weights, hash);
    if (c->n_operands == 0) refuse_waiting(c, path, model);
    json_object_foreach(json_object_get(object, "options"), name, value)
    {
        const int i = find(c, name);
        if (i < 0 || !json_is_string(value) || is_among(name, unsaid))
            cli_usage_error(c, "--like %s: the picture was drawn with --%s, which this program does not know", path,
                            name);
        if (values[i]) continue;
        refuse_waiting(c, path, json_string_value(value));
        values[i] = json_string_value(value);
    }
    free(text); /* the object lives on with its strings */
    return model;
}

int note_is_picture(const char *path)
{
    unsigned char head[4] = {0};
    struct stat st;
    FILE *file = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
    if (!file) return 0;
    const size_t n = fread(head, 1, 4, file);
    fclose(file);
    return n == 4 && (memcmp(head, "\x89PNG", 4) == 0 || memcmp(head, "\xff\xd8\xff", 3) == 0);
}

static void print_value(const char *name, const json_t *value)
{
    char *text = json_is_string(value) ? strdup(json_string_value(value))
                                       : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    fputs("  ", stdout);
    cli_print_text(stdout, name, 12);
    putchar(' ');
    cli_print_text(stdout, text ? text : "", 0);
    putchar('\n');
    free(text);
}

static void print_note(const char *text)
{
    json_error_t error;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &error), *value;
    const char *name, *key;
    json_t *option;
    if (!json_is_object(object)) {
        json_t *plain = json_string(text);
        print_value("note", plain);
        json_decref(plain);
    } else json_object_foreach(object, name, value)
        {
            if (strcmp(name, "options") == 0 && json_is_object(value)) json_object_foreach(value, key, option)
                {
                    if (!is_among(key, in_full) || !json_object_get(object, key)) print_value(key, option);
                }
            else print_value(name, value);
        }
    json_decref(object);
}

static void print_json(const char *path, const cm_images *p, const char *text)
{
    json_error_t error;
    json_t *object = text ? json_loads(text, JSON_REJECT_DUPLICATES, &error) : NULL;
    char *again = object ? json_dumps(object, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) : NULL;
    printf("{\"file\": ");
    cli_json_string(stdout, path);
    printf(", \"kind\": \"picture\", \"width\": %d, \"height\": %d, \"channels\": %d, \"note\": ", p->width,
           p->height, p->channels);
    if (again) fputs(again, stdout);
    else if (text) cli_json_string(stdout, text);
    else fputs("null", stdout);
    printf("}\n");
    free(again);
    json_decref(object);
}

cm_status note_describe(const char *path, int json, int quiet)
{
    cm_images picture = CM_IMAGES_INIT;
    char *text = NULL;
    cm_status status = cm_image_read(NULL, path, NULL, &picture);
    if (status == CM_OK) status = note_read(path, &text);
    if (status == CM_OK && json) print_json(path, &picture, text);
    else if (status == CM_OK && !quiet) {
        cli_print_text(stdout, path, 0);
        printf("\n  picture      %d x %d, %s\n", picture.width, picture.height,
               picture.channels == 1 ? "gray" : "colours");
        if (text) print_note(text);
        else printf("  note         none: the picture does not say how it was drawn\n");
    }
    free(text);
    cm_image_free(NULL, &picture);
    return status;
}
