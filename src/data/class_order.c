/* class_order.c - the order that gives classes their numbers: names that are numbers
 * first, by their value; the others behind them, their runs of digits compared as
 * numbers, everything else as bytes. */
#include <string.h>

#include "data/dataset.h"

/* A run of digits: without its leading zeros. */
typedef struct {
    const char *first;
    size_t length;
} digits;

static digits take_digits(const char **at)
{
    while (**at == '0') (*at)++;
    digits d = {*at, strspn(*at, "0123456789")};
    *at += d.length;
    return d;
}

static int compare_digits(digits a, digits b)
{
    if (a.length != b.length) return a.length < b.length ? -1 : 1;
    return memcmp(a.first, b.first, a.length);
}

typedef struct {
    int negative;
    digits whole, fraction;
} decimal;

/* "-12", "007", "0.25"; 0 for any other name. */
static int read_decimal(const char *name, decimal *out)
{
    const char *at = name + (name[0] == '-' || name[0] == '+');
    if (*at < '0' || *at > '9') return 0;
    out->negative = name[0] == '-';
    out->whole = take_digits(&at);
    out->fraction = (digits){at, 0};
    if (*at == '.') {
        out->fraction = (digits){at + 1, strspn(at + 1, "0123456789")};
        if (out->fraction.length == 0) return 0;
        at += 1 + out->fraction.length;
    }
    while (out->fraction.length && out->fraction.first[out->fraction.length - 1] == '0') out->fraction.length--;
    return *at == '\0';
}

static int compare_decimals(const decimal *a, const decimal *b)
{
    int zero = a->whole.length + a->fraction.length + b->whole.length + b->fraction.length == 0;
    if (a->negative != b->negative) return zero ? 0 : a->negative ? -1 : 1;
    int order = compare_digits(a->whole, b->whole);
    size_t shared = a->fraction.length < b->fraction.length ? a->fraction.length : b->fraction.length;
    if (!order) order = memcmp(a->fraction.first, b->fraction.first, shared);
    if (!order) order = (a->fraction.length > b->fraction.length) - (a->fraction.length < b->fraction.length);
    return a->negative ? -order : order;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int compare_natural(const char *a, const char *b)
{
    while (*a && *b) {
        if (is_digit(*a) && is_digit(*b)) {
            int order = compare_digits(take_digits(&a), take_digits(&b));
            if (order) return order;
        } else {
            if (*a != *b) break;
            a++, b++;
        }
    }
    return (int)(unsigned char)*a - (int)(unsigned char)*b;
}

int cmi_class_order(const char *a, const char *b)
{
    decimal x, y;
    int first = read_decimal(a, &x), second = read_decimal(b, &y), order;
    if (first != second) return first ? -1 : 1;
    order = first ? compare_decimals(&x, &y) : compare_natural(a, b);
    return order ? order : strcmp(a, b);
}
