/* nearest.c - by the letters that have to be changed, added or dropped. */
#include "nets/nearest.h"

#include <string.h>

enum { LONGEST = 160, CANDIDATES = 600 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to change, drop or add between two texts; `most` where there are more. */
static size_t distance(const char *a, size_t n, const char *b, size_t m, size_t most)
{
    size_t row[LONGEST + 1];
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t before = row[0], least = row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t replaced = before + (a[i - 1] != b[j - 1]);
            before = row[j];
            row[j] = smaller(replaced, smaller(row[j], row[j - 1]) + 1);
            least = smaller(least, row[j]);
        }
        if (least >= most) return most;
    }
    return smaller(row[m], most);
}

/* Of two names without what they begin and end with in common. */
static size_t apart(const char *a, const char *b, size_t most)
{
    size_t n = strlen(a), m = strlen(b);
    if ((n > m ? n - m : m - n) >= most || n > LONGEST || m > LONGEST) return most;
    while (n && m && a[0] == b[0]) a++, b++, n--, m--;
    while (n && m && a[n - 1] == b[m - 1]) n--, m--;
    return distance(a, n, b, m, most);
}

const char *cmi_nearest_name(const char *word, const char *(*name_at)(const void *list, size_t i), const void *list,
                             size_t n)
{
    const char *best = NULL;
    const size_t length = strlen(word);
    size_t looked_at = 0, most = 2 + length / 3; /* a third of the letters may differ */
    if (length > LONGEST) return NULL;
    for (size_t i = 0; i < n && looked_at < CANDIDATES; i++) {
        const char *name = name_at(list, i);
        if (!name) continue;
        looked_at++;
        const size_t d = apart(word, name, most);
        if (d < most) best = name, most = d;
    }
    return best;
}
