/* choice.h - what an option can be: one entry of a list that users are shown. */
#ifndef CM_BASE_CHOICE_H
#define CM_BASE_CHOICE_H

#include <stddef.h>

typedef struct cm_choice {
    const char *name, *about; /* NULL past the end of a list */
} cm_choice;

typedef struct cm_choice_list {
    const char *name; /* as cm_choice_name knows it */
    cm_choice (*at)(size_t index);
} cm_choice_list;

/* The number of a name; -1 when there is none. */
int cmi_choice_find(const cm_choice_list *list, const char *name);

/* A list over a static array whose last element is {NULL, NULL}. */
#define CM_CHOICE_LIST(variable, title, array)                                                                       \
    static cm_choice variable##_at(size_t index)                                                                     \
    {                                                                                                                \
        const size_t last = sizeof(array) / sizeof *(array)-1;                                                       \
        return (array)[index < last ? index : last];                                                                 \
    }                                                                                                                \
    const cm_choice_list variable = {title, variable##_at}

#endif
