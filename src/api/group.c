/* group.c - the calls of group.h. */
#include <consistency/group.h>

#include "base/options.h"

void cm_group_init(cm_group *group, size_t struct_size)
{
    cmi_options_zero(group, struct_size);
}
