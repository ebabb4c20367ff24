/* edm_tensors.c - see the header. */
#include "nets/edm_tensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const cm_tensor *cmi_edm_tensor(const cm_edm_tensors *e, const char *format, ...)
{
    char name[128];
    va_list args;
    const size_t n = strlen(e->prefix);
    va_start(args, format);
    memcpy(name, e->prefix, n);
    (void)vsnprintf(name + n, sizeof name - n, format, args);
    va_end(args);
    return cmi_tensors_find(e->file, name);
}

int64_t cmi_edm_dimension(const cm_tensor *t, int which)
{
    return t && which < t->rank ? t->shape[which] : 0;
}

/* One pass over the names: a search for each side would be one for each of 65,536. */
int cmi_edm_side(const cm_edm_tensors *e)
{
    const size_t n = strlen(e->prefix);
    for (size_t i = 0; i < e->file->count; i++) {
        const char *name = e->file->tensors[i].name;
        int a = 0, b = 0, end = 0;
        if (strncmp(name, e->prefix, n) != 0) continue;
        (void)sscanf(name + n, "enc.%5dx%5d_conv.weight%n", &a, &b, &end);
        if (end && a == b && a > 0 && !name[n + (size_t)end]) return a;
    }
    return 0;
}
