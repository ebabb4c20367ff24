/* json_tree.h - small JSON texts as jansson's trees; base/json.h prints and copies them.
 *
 * jansson takes its memory from the process, some hundred bytes for two of text at worst ("{},"), so the text is
 * bounded first: a tree takes at most CM_JSON_VALUES times 400 bytes and twice the text.  Texts that can be larger
 * are read with json_text.h. */
#ifndef CM_IO_JSON_TREE_H
#define CM_IO_JSON_TREE_H

#include <jansson.h>

#include "base/context.h"

enum { CM_JSON_TEXT = 4 << 20, CM_JSON_VALUES = 100000, CM_JSON_LEVELS = 64 };

/* `what` begins the messages.  LIMIT for a text over one of the bounds, MEMORY when there is none left, FORMAT for
 * what is not JSON or has a name twice. */
cm_status cmi_json_tree(const char *what, const char *text, size_t length, json_t **out);

#endif
