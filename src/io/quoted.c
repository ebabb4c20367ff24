/* quoted.c - names in quotes with commas between them. */
#include "io/quoted.h"

#include <stdio.h>

void cmi_quoted_add(cm_quoted *list, const char *name)
{
    int n = snprintf(list->text + list->length, sizeof list->text - list->length, "%s'%.40s'",
                     list->count ? ", " : "", name);
    list->count++;
    list->length += (size_t)n;
    if (list->length >= sizeof list->text) list->length = sizeof list->text - 1;
}
