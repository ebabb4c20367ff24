/* Any bytes as JSON, by both readers: what becomes a tree can be stepped over token by token, and a tree that is
 * written is read again as it was. */
#include "fuzz/watched.h"
#include "io/json_text.h"
#include "io/json_tree.h"

/* Through lists and objects by the calls that parsers make. */
static int walk(cm_json_text *t, int depth)
{
    int64_t number;
    const char next = cmi_json_next(t);
    if (depth > CM_JSON_DEPTH || next == 0) return 0;
    if (next == '"') return cmi_json_string(t) != NULL;
    if (next != '{' && next != '[') return depth % 2 ? cmi_json_integer(t, &number) : cmi_json_skip(t);
    const char close = next == '{' ? '}' : ']';
    if (!cmi_json_expect(t, next)) return 0;
    if (cmi_json_take(t, close)) return 1;
    do {
        if (next == '{' && !cmi_json_key(t)) return 0;
        if (!walk(t, depth + 1)) return 0;
    } while (cmi_json_more(t, close));
    return t->error == NULL;
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    cm_json_text t;
    json_t *tree = NULL, *again = NULL;
    char *copy = malloc(size + 1);
    (void)context;
    memcpy(copy, data, size);
    cmi_json_begin(&t, copy, size);
    (void)walk(&t, 0);
    if (t.at < t.begin || t.at > t.end || cmi_json_place(&t) > size) fuzz_fail("a place outside");
    memcpy(copy, data, size);
    cmi_json_begin(&t, copy, size);
    const int skipped = cmi_json_skip(&t) && cmi_json_end(&t);
    free(copy);
    CM_TRY(cmi_json_tree("input", (const char *)data, size, &tree));
    if (!skipped) fuzz_fail("a tree that cannot be stepped over");
    char *text = json_dumps(tree, JSON_ENCODE_ANY);
    if (text && cmi_json_tree("again", text, strlen(text), &again) == CM_OK) {
        if (!json_equal(tree, again)) fuzz_fail("a tree changes in writing");
        json_decref(again);
    }
    free(text);
    json_decref(tree);
    return CM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_watched(work, data, size, fuzz_bound(size));
}
