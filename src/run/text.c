/* text.c - see the header. */
#include "run/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void cmi_text_begin(cm_text *t, cm_context *context)
{
    *t = (cm_text){.context = context};
}

/* Space for `more` bytes and a NUL. */
static int reserve(cm_text *t, size_t more)
{
    if (!t->failed && t->capacity - t->length > more) return 1;
    size_t capacity = 2 * t->capacity + more + 64;
    char *text = t->failed ? NULL : cmi_malloc(t->context, capacity, 1);
    if (!text) return t->failed = 1, 0;
    if (t->text) memcpy(text, t->text, t->length);
    cmi_free(t->context, t->text);
    t->text = text;
    t->capacity = capacity;
    return 1;
}

static void add_bytes(cm_text *t, const char *bytes, size_t n)
{
    if (!reserve(t, n)) return;
    memcpy(t->text + t->length, bytes, n);
    t->length += n;
    t->text[t->length] = '\0';
}

void cmi_text_add(cm_text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n < 0) t->failed = 1;
    else if (reserve(t, (size_t)n)) {
        (void)vsnprintf(t->text + t->length, (size_t)n + 1, format, again);
        t->length += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void cmi_text_add_string(cm_text *t, const char *string)
{
    const size_t length = strlen(string);
    add_bytes(t, "\"", 1);
    for (size_t i = 0; i < length;) {
        const unsigned char c = (unsigned char)string[i];
        const size_t n = cmi_utf8_length(string + i, length - i);
        if (n == 0) add_bytes(t, "\\ufffd", 6);
        else if (c == '"' || c == '\\') cmi_text_add(t, "\\%c", c);
        else if (c < 32) cmi_text_add(t, "\\u%04x", c);
        else add_bytes(t, string + i, n);
        i += n ? n : 1;
    }
    add_bytes(t, "\"", 1);
}

void cmi_text_add_number(cm_text *t, int digits, double value)
{
    char text[64];
    if (!isfinite(value)) {
        cmi_text_add(t, "null");
        return;
    }
    (void)snprintf(text, sizeof text, "%.*g", digits, value);
    const size_t whole = strspn(text, "-0123456789e+"); /* what follows is the point of the host's locale */
    const size_t fraction = whole + strcspn(text + whole, "0123456789");
    cmi_text_add(t, "%.*s%s%s", (int)whole, text, text[whole] ? "." : "", text + fraction);
}

cm_status cmi_text_check(const cm_text *t)
{
    if (t->failed) CM_FAIL(CM_ERR_MEMORY, "out of memory: a text of %zu bytes", t->length);
    return CM_OK;
}
