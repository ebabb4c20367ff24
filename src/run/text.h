/* text.h - a text that grows, and JSON in it. */
#ifndef CM_RUN_TEXT_H
#define CM_RUN_TEXT_H

#include "base/context.h"

typedef struct cm_text {
    cm_context *context;
    char *text; /* NULL before anything was added */
    size_t length, capacity;
    int failed; /* 1: there was no memory for something, and what was added since is lost */
} cm_text;

/* Ends with cmi_free(context, text). */
void cmi_text_begin(cm_text *text, cm_context *context);
void cmi_text_add(cm_text *text, const char *format, ...) CM_PRINTF(2, 3);
/* A string with quotes and escapes; bytes that are no UTF-8 become U+FFFD. */
void cmi_text_add_string(cm_text *text, const char *string);
/* A number of so many digits, or null, since JSON has neither NaN nor infinity. */
void cmi_text_add_number(cm_text *text, int digits, double value);
/* MEMORY where something is lost. */
cm_status cmi_text_check(const cm_text *text);

#endif
