/* net.c - the table of families. */
#include "nets/net.h"

#include <string.h>

static const cm_net_family *const families[] = {&cmi_net_adm, &cmi_net_songunet, &cmi_net_dhariwal, &cmi_net_edm2};

const cm_net_family *cmi_net_family_at(size_t index)
{
    return index < sizeof families / sizeof *families ? families[index] : NULL;
}

const cm_net_family *cmi_net_family_find(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i]->name, name) == 0) return families[i];
    return NULL;
}
