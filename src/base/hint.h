/* hint.h - the names of a list that somebody may have meant. */
#ifndef CM_BASE_HINT_H
#define CM_BASE_HINT_H

#include <consistency/base.h>

enum { CM_HINT_SIZE = 256 }; /* bytes that cm_name_hint writes at most */

#endif
