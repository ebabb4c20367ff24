/* number.c - the digits by printf, their place by us. */
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fewest digits of |v| = 0.d1d2d3.. x 10^*point; the locale's point is left out. */
static int shortest(double v, char digits[20], int *point)
{
    char text[CM_NUMBER_SIZE];
    int n = 0;
    for (int precision = 0; precision < 17; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision, v);
        if (strtod(text, NULL) == v) break;
    }
    const char *c = text;
    for (; *c && *c != 'e'; c++)
        if (*c >= '0' && *c <= '9') digits[n++] = *c;
    *point = (*c ? atoi(c + 1) : 0) + 1;
    digits[n] = '\0';
    return n;
}

const char *cmi_number_text(double v, char text[CM_NUMBER_SIZE])
{
    char digits[20];
    int point, n;
    const char *sign = v < 0 ? "-" : "";
    if (!isfinite(v) || v == 0) {
        (void)snprintf(text, CM_NUMBER_SIZE, "%s%s", sign, isnan(v) ? "nan" : isinf(v) ? "inf" : "0");
        return text;
    }
    n = shortest(fabs(v), digits, &point);
    if (point < -5 || point > 15)
        (void)snprintf(text, CM_NUMBER_SIZE, "%s%c%s%se%d", sign, digits[0], n > 1 ? "." : "", digits + 1, point - 1);
    else if (point <= 0) (void)snprintf(text, CM_NUMBER_SIZE, "%s0.%.*s%s", sign, -point, "00000", digits);
    else if (point >= n) (void)snprintf(text, CM_NUMBER_SIZE, "%s%s%.*s", sign, digits, point - n, "00000000000000");
    else (void)snprintf(text, CM_NUMBER_SIZE, "%s%.*s.%s", sign, point, digits, digits + point);
    return text;
}

/* --- reading ------------------------------------------------------------------------------ */

static const char *skip_digits(const char *c)
{
    while (*c >= '0' && *c <= '9') c++;
    return c;
}

static const char *skip_space(const char *c)
{
    while (*c == ' ' || *c == '\t' || *c == '\n' || *c == '\r') c++;
    return c;
}

/* -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?: where it ends and its point is (NULL: none); 0 where it is none. */
static int spells_number(const char *c, const char **end, const char **point)
{
    const char *from = c += *c == '-';
    *point = NULL;
    c = skip_digits(c);
    if (c == from || (*from == '0' && c > from + 1)) return 0;
    if (*c == '.') {
        *point = c;
        from = c + 1;
        if ((c = skip_digits(from)) == from) return 0;
    }
    if (*c == 'e' || *c == 'E') {
        from = c + 1 + (c[1] == '+' || c[1] == '-');
        if ((c = skip_digits(from)) == from) return 0;
    }
    *end = c;
    return 1;
}

/* What strtod takes for a point: printf says it. */
static void locale_point(char text[16])
{
    char half[24];
    const int n = snprintf(half, sizeof half, "%.1f", 0.5);
    (void)snprintf(text, 16, "%.*s", n - 2, half + 1);
}

/* By strtod and without memory, so that a number is refused for no other reason than its spelling. */
int cmi_number_read(const char *text, double *out)
{
    enum { LONGEST = 400 };
    char copy[LONGEST + 16], here[16];
    const char *end, *point, *from = skip_space(text);
    if (!spells_number(from, &end, &point) || *skip_space(end) || end - from >= LONGEST) return 0;
    locale_point(here);
    if (point)
        (void)snprintf(copy, sizeof copy, "%.*s%s%.*s", (int)(point - from), from, here, (int)(end - point - 1),
                       point + 1);
    else (void)snprintf(copy, sizeof copy, "%.*s", (int)(end - from), from);
    const double v = strtod(copy, NULL) + 0.0; /* one zero */
    if (!isfinite(v)) return 0;
    *out = v;
    return 1;
}
