/* choice.c - looking a name up. */
#include "base/choice.h"

#include <string.h>

int cmi_choice_find(const cm_choice_list *list, const char *name)
{
    for (int i = 0; list->at((size_t)i).name; i++)
        if (strcmp(list->at((size_t)i).name, name) == 0) return i;
    return -1;
}
