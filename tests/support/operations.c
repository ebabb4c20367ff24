/* operations.c - all rows of operations.h, one after the other. */
#include <stdio.h>

#include "support/operations_parts.h"

static const operation *const groups[] = {operations_of_models, operations_of_samples, operations_of_pictures,
                                          operations_of_training, operations_of_metrics};

static const char *choice_of(const operation *o, size_t index)
{
    if (o->list) return cm_choice_name(o->list, index);
    if (o->choices) return o->choices[index];
    return index == 0 ? "" : NULL;
}

const operation *operation_at(int index, place *at)
{
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (const operation *o = groups[g]; o->name; o++)
            for (size_t k = 0; (at->choice = choice_of(o, k)); k++)
                if (index-- == 0) return o;
    return NULL;
}

const char *operation_name(const operation *o, const place *at)
{
    static char name[100];
    (void)snprintf(name, sizeof name, "%s%s%s", o->name, *at->choice ? " " : "", at->choice);
    return name;
}
