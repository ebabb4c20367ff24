/* note.h - what a PNG of cm-sample says of how it was drawn: an object of JSON in its note. */
#ifndef NOTE_H
#define NOTE_H

#include "times.h"

enum { NOTE_LEVELS = 256 };

/* What holds for all pictures of a run. */
typedef struct note {
    const cli *c;
    const char *const *values; /* of the program's options, as given */
    const char *model;         /* its name, as given                 */
    char weights[TIMES_MODEL]; /* the hash of its weights            */
    const char *method;
    uint64_t seed;
    double levels[NOTE_LEVELS]; /* noise levels at which the network was evaluated, in order */
    size_t n_levels;            /* more than NOTE_LEVELS: they are left out                  */
} note;

/* What holds for one picture: it is a page of `count` images of the seed from `first` on. */
typedef struct note_page {
    uint64_t first;
    size_t count;
    int32_t columns, margin;
    const char *labels; /* as --labels takes them; NULL: none were given */
} note_page;

/* The text of the note; free() ends it.  NULL: out of memory. */
char *note_text(const note *n, const note_page *page);

/* Options that picture `path` was drawn with into values[c->n_options], where there is none yet; returns its model,
 * and in `weights` the hash of that.  What is no such picture ends the program.  The strings live until the program
 * ends. */
const char *note_like(const cli *c, const char *path, const char **values, char weights[TIMES_MODEL]);

/* The text of a picture's note, or NULL; free() ends it. */
cm_status note_read(const char *path, char **text);

/* Whether the file of that name is a PNG or a JPEG. */
int note_is_picture(const char *path);
/* cm-info of a picture: its size and its note. */
cm_status note_describe(const char *path, int json, int quiet);

#endif
