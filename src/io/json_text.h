/* json_text.h - JSON read token by token where it lies: no tree, no memory, no recursion.
 *
 * For texts that a stranger's file may make large: whoever reads knows what has to come next, and stops at the first
 * thing that is too much.  Every function skips white space before its token; after a failure `error` says why. */
#ifndef CM_IO_JSON_TEXT_H
#define CM_IO_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>

typedef struct cm_json_text {
    char *at, *end;    /* what is left; strings are decoded in place */
    const char *begin; /* for the place of an error                  */
    const char *error; /* NULL: none so far                          */
} cm_json_text;

enum { CM_JSON_DEPTH = 64 };

void cmi_json_begin(cm_json_text *text, char *bytes, size_t size);
/* The next byte that is no white space, not taken; 0 at the end. */
char cmi_json_next(cm_json_text *text);
/* 1 when the next byte is `c`, which is taken; else 0, which is no error. */
int cmi_json_take(cm_json_text *text, char c);
/* Takes `c` or fails. */
int cmi_json_expect(cm_json_text *text, char c);
/* After an element of a list or object: 1 when another one follows, 0 when `close` ended it or on an error. */
int cmi_json_more(cm_json_text *text, char close);
/* A string, decoded, with a NUL behind it; NULL for anything else, for broken UTF-8 and for a NUL inside. */
char *cmi_json_string(cm_json_text *text);
/* A name and its colon. */
char *cmi_json_key(cm_json_text *text);
/* A whole number that fits; a fraction or an exponent fails. */
int cmi_json_integer(cm_json_text *text, int64_t *out);
/* Any number, over which it steps; *is_whole: without fraction and exponent. */
int cmi_json_number(cm_json_text *text, int *is_whole);
/* true, false or null. */
int cmi_json_word(cm_json_text *text);
/* Any value, at most CM_JSON_DEPTH levels deep. */
int cmi_json_skip(cm_json_text *text);
/* Nothing but white space is left. */
int cmi_json_end(cm_json_text *text);
size_t cmi_json_place(const cm_json_text *text);

#endif
