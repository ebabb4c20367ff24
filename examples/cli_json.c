/* cli_json.c - strings and numbers of JSON. */
#include "cli.h"

#include <math.h>

size_t cli_character(const unsigned char *s)
{
    size_t n = *s < 0x80                 ? 1
               : *s >= 0xc2 && *s < 0xe0 ? 2
               : *s >= 0xe0 && *s < 0xf0 ? 3
               : *s >= 0xf0 && *s < 0xf5 ? 4
                                         : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    /* Forms that are too long, surrogates, and what is above U+10FFFF. */
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
        (*s == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

void cli_json_string(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t n = cli_character(s);
        if (n == 0) fprintf(out, "\\ufffd");
        else if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
        else if (*s < 32) fprintf(out, "\\u%04x", *s);
        else fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
    putc('"', out);
}

void cli_json_number(FILE *out, int digits, double value)
{
    if (isfinite(value)) fprintf(out, "%.*g", digits, value);
    else fprintf(out, "null");
}
