/* Lines "name=value" as training options: whatever is accepted can be printed and
 * checked. */
#include <stdint.h>
#include <string.h>

#include <consistency/trainer.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[4096], json[8192];
    cm_train_options *o;
    if (size >= sizeof text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (cm_train_options_create(NULL, &o) != CM_OK) return 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        char *value = strchr(line, '=');
        if (!value) continue;
        *value++ = '\0';
        (void)cm_train_options_set(o, line, value);
    }
    (void)cm_train_options_check(o);
    (void)cm_train_options_json(o, json, sizeof json, NULL);
    cm_train_options_free(o);
    return 0;
}
