/* json_text.c - see the header; RFC 8259, strict. */
#include "io/json_text.h"

#include <string.h>

#include "base/utf8.h"

void cmi_json_begin(cm_json_text *t, char *bytes, size_t size)
{
    *t = (cm_json_text){bytes, bytes + size, bytes, NULL};
}

size_t cmi_json_place(const cm_json_text *t)
{
    return (size_t)(t->at - t->begin);
}

static int fail(cm_json_text *t, const char *reason)
{
    if (!t->error) t->error = reason;
    return 0;
}

char cmi_json_next(cm_json_text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r')) t->at++;
    return t->at < t->end && !t->error ? *t->at : '\0';
}

int cmi_json_take(cm_json_text *t, char c)
{
    if (cmi_json_next(t) != c) return 0;
    t->at++;
    return 1;
}

int cmi_json_expect(cm_json_text *t, char c)
{
    if (cmi_json_take(t, c)) return 1;
    if (cmi_json_next(t) == '\0') return fail(t, "it ends too early");
    switch (c) {
    case '{': return fail(t, "'{' expected");
    case '[': return fail(t, "'[' expected");
    case ':': return fail(t, "':' expected");
    case '}': return fail(t, "',' or '}' expected");
    default: return fail(t, "',' or ']' expected");
    }
}

int cmi_json_more(cm_json_text *t, char close)
{
    if (cmi_json_take(t, ',')) return 1;
    (void)cmi_json_expect(t, close);
    return 0;
}

int cmi_json_end(cm_json_text *t)
{
    (void)cmi_json_next(t);
    return t->at == t->end ? !t->error : fail(t, "something follows its end");
}

/* --- strings -------------------------------------------------------------------------- */

/* Four hexadecimal digits behind "\u"; UINT32_MAX when they are not there. */
static uint32_t hex4(cm_json_text *t)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *found = t->at < t->end && *t->at ? strchr(digits, *t->at) : NULL;
        if (!found) return UINT32_MAX;
        v = v << 4 | (uint32_t)((found - digits) & 15);
        t->at++;
    }
    return v;
}

static char *put_utf8(char *out, uint32_t c)
{
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char first[4] = {0, 0xc0, 0xe0, 0xf0};
    *out++ = (char)(first[more] | c >> (6 * more));
    while (more-- > 0) *out++ = (char)(0x80 | (c >> (6 * more) & 0x3f));
    return out;
}

/* What follows "\u": one code point, of two surrogates where it takes two. */
static char *unicode(cm_json_text *t, char *out)
{
    uint32_t c = hex4(t), low;
    if (c == UINT32_MAX) return fail(t, "four hexadecimal digits expected"), NULL;
    if (c == 0) return fail(t, "a NUL in a string"), NULL;
    if (c >= 0xd800 && c < 0xe000) {
        int pair = c < 0xdc00 && t->end - t->at > 2 && t->at[0] == '\\' && t->at[1] == 'u';
        if (pair) t->at += 2;
        low = pair ? hex4(t) : 0;
        if (low < 0xdc00 || low >= 0xe000) return fail(t, "half a surrogate pair"), NULL;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(out, c);
}

static char *escape(cm_json_text *t, char *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = t->at < t->end ? *t->at : '\0';
    const char *found = c ? strchr(names, c) : NULL;
    if (c != 'u' && !found) return fail(t, "an unknown escape"), NULL;
    t->at++;
    if (c == 'u') return unicode(t, out);
    *out = values[found - names];
    return out + 1;
}

/* Decoded text is never longer than its source, so it overtakes nothing that is still to be read. */
char *cmi_json_string(cm_json_text *t)
{
    if (!cmi_json_take(t, '"')) return fail(t, "a string expected"), NULL;
    char *begin = t->at, *out = begin;
    while (t->at < t->end && *t->at != '"') {
        size_t n = cmi_utf8_length(t->at, (size_t)(t->end - t->at));
        if (n == 0) return fail(t, "broken UTF-8"), NULL;
        if ((unsigned char)*t->at < 0x20) return fail(t, "a control character in a string"), NULL;
        if (*t->at == '\\') {
            t->at++;
            out = escape(t, out);
            if (!out) return NULL;
        } else {
            memmove(out, t->at, n);
            out += n;
            t->at += n;
        }
    }
    if (t->at >= t->end) return fail(t, "a string without its end"), NULL;
    t->at++;
    *out = '\0';
    return begin;
}

char *cmi_json_key(cm_json_text *t)
{
    char *key = cmi_json_string(t);
    return key && cmi_json_expect(t, ':') ? key : NULL;
}

/* --- numbers and the rest ---------------------------------------------------------------- */

static int digit(const cm_json_text *t)
{
    return t->at < t->end && *t->at >= '0' && *t->at <= '9';
}

static int is_fraction(const cm_json_text *t)
{
    return t->at < t->end && (*t->at == '.' || *t->at == 'e' || *t->at == 'E');
}

int cmi_json_integer(cm_json_text *t, int64_t *out)
{
    uint64_t v = 0;
    int minus = cmi_json_take(t, '-');
    if (!digit(t)) return fail(t, "a whole number expected");
    if (*t->at == '0' && t->at + 1 < t->end && t->at[1] >= '0' && t->at[1] <= '9')
        return fail(t, "a number with a leading zero");
    for (; digit(t); t->at++) {
        if (v > (uint64_t)INT64_MAX / 10 || 10 * v > (uint64_t)INT64_MAX - (uint64_t)(*t->at - '0'))
            return fail(t, "a number too large");
        v = 10 * v + (uint64_t)(*t->at - '0');
    }
    if (is_fraction(t)) return fail(t, "a whole number expected");
    *out = minus ? -(int64_t)v : (int64_t)v;
    return 1;
}

int cmi_json_number(cm_json_text *t, int *is_whole)
{
    (void)cmi_json_take(t, '-');
    if (!digit(t)) return fail(t, "a value expected");
    if (*t->at == '0') t->at++;
    else
        while (digit(t)) t->at++;
    *is_whole = !is_fraction(t);
    if (t->at < t->end && *t->at == '.') {
        t->at++;
        if (!digit(t)) return fail(t, "a digit expected");
        while (digit(t)) t->at++;
    }
    if (t->at < t->end && (*t->at == 'e' || *t->at == 'E')) {
        t->at++;
        if (t->at < t->end && (*t->at == '+' || *t->at == '-')) t->at++;
        if (!digit(t)) return fail(t, "a digit expected");
        while (digit(t)) t->at++;
    }
    return 1;
}

int cmi_json_word(cm_json_text *t)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(t->end - t->at) < n || memcmp(t->at, words[i], n) != 0) continue;
        t->at += n;
        return 1;
    }
    return fail(t, "a value expected");
}

static int skip_simple(cm_json_text *t, char next)
{
    int is_whole;
    return next == 't' || next == 'f' || next == 'n' ? cmi_json_word(t) : cmi_json_number(t, &is_whole);
}

/* The brackets that are open stand in `open`; a value is followed by what closes them. */
int cmi_json_skip(cm_json_text *t)
{
    char open[CM_JSON_DEPTH];
    int depth = 0;
    for (;;) {
        char c = cmi_json_next(t), close = c == '{' ? '}' : ']';
        if (c == '{' || c == '[') {
            if (depth == CM_JSON_DEPTH) return fail(t, "it is nested too deeply");
            t->at++;
            if (!cmi_json_take(t, close)) {
                open[depth++] = close;
                if (c == '{' && !cmi_json_key(t)) return 0;
                continue;
            }
        } else if (c == '"' ? cmi_json_string(t) == NULL : !skip_simple(t, c)) {
            return 0;
        }
        while (depth > 0 && !cmi_json_more(t, open[depth - 1])) {
            if (t->error) return 0;
            depth--;
        }
        if (depth == 0) return !t->error;
        if (open[depth - 1] == '}' && !cmi_json_key(t)) return 0;
    }
}
