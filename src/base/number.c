/* number.c - the digits by printf, their place by us. */
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

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

int cmi_number_read(const char *text, double *out)
{
    json_t *v = strnlen(text, 400) < 400 ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    int ok = json_is_number(v);
    if (ok) *out = json_number_value(v);
    json_decref(v);
    return ok;
}
