/* choice.h - what an option can be: one entry of a list that users are shown. */
#ifndef CM_BASE_CHOICE_H
#define CM_BASE_CHOICE_H

typedef struct cm_choice {
    const char *name, *about; /* NULL past the end of a list */
} cm_choice;

#endif
