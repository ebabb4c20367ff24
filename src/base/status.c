/* status.c - status names and the per-thread message. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[2048];

cm_status cmi_fail(cm_status code, const char *format, ...)
{
    /* Apart first: an argument may be the message before. */
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cmi_message_set(text);
    return code;
}

void cmi_message_set(const char *text)
{
    size_t n = strlen(text);
    if (n >= sizeof message) n = sizeof message - 1;
    memmove(message, text, n);
    message[n] = '\0';
}

const char *cm_last_message(void)
{
    return message;
}

const char *cm_status_name(cm_status status)
{
    switch (status) {
    case CM_OK: return "CM_OK";
    case CM_ERR_ARGUMENT: return "CM_ERR_ARGUMENT";
    case CM_ERR_MEMORY: return "CM_ERR_MEMORY";
    case CM_ERR_IO: return "CM_ERR_IO";
    case CM_ERR_FORMAT: return "CM_ERR_FORMAT";
    case CM_ERR_SHAPE: return "CM_ERR_SHAPE";
    case CM_ERR_UNSUPPORTED: return "CM_ERR_UNSUPPORTED";
    case CM_ERR_CANCELLED: return "CM_ERR_CANCELLED";
    case CM_ERR_STATE: return "CM_ERR_STATE";
    case CM_ERR_NUMERIC: return "CM_ERR_NUMERIC";
    case CM_ERR_BACKEND: return "CM_ERR_BACKEND";
    case CM_ERR_INTERNAL: return "CM_ERR_INTERNAL";
    case CM_ERR_LIMIT: return "CM_ERR_LIMIT";
    case CM_ERR_FORKED: return "CM_ERR_FORKED";
    case CM_ERR_PEER: return "CM_ERR_PEER";
    }
    return "unknown status";
}
