/* class_names.c - names of classes that the caller gives, in place of those of the set. */
#include <string.h>

#include "base/utf8.h"
#include "data/dataset.h"

static int is_printable(const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) return 0;
    return n > 0 && cmi_is_utf8(name, n);
}

static void release(const cm_dataset *d, char **names, int32_t count)
{
    for (int32_t i = 0; names && i < count; i++) cmi_free(d->context, names[i]);
    cmi_free(d->context, names);
}

/* Name i from `at` on, unlike those before it; returns what is behind it, at the comma or the end. */
static cm_status take_one(const cm_dataset *d, const char **at, int32_t i, char **names)
{
    const size_t n = strcspn(*at, ",");
    if (!is_printable(*at, n))
        CM_FAIL(CM_ERR_ARGUMENT, "class_names: name %d of '%.100s' is empty, no UTF-8 or has control characters", i,
                d->o.class_names);
    names[i] = cmi_calloc(d->context, n + 1, 1);
    if (!names[i]) return CM_ERR_MEMORY;
    memcpy(names[i], *at, n);
    *at += n;
    for (int32_t k = 0; k < i; k++)
        if (strcmp(names[k], names[i]) == 0)
            CM_FAIL(CM_ERR_ARGUMENT, "class_names: names %d and %d are both '%.100s'", k, i, names[i]);
    return CM_OK;
}

static int32_t count_of(const char *list)
{
    int32_t n = *list != '\0';
    for (; *list && n < INT32_MAX; list++) n += *list == ',';
    return n;
}

cm_status cmi_dataset_take_names(cm_dataset *d)
{
    const char *at = d->o.class_names;
    if (!at) return CM_OK;
    if (!d->labels) CM_FAIL(CM_ERR_ARGUMENT, "class_names has no effect: the set has no classes");
    if (count_of(at) != d->n_classes)
        CM_FAIL(CM_ERR_ARGUMENT, "class_names has %d names, and the set has %d classes", count_of(at), d->n_classes);
    char **names = cmi_calloc(d->context, (size_t)d->n_classes, sizeof *names);
    cm_status status = names ? CM_OK : CM_ERR_MEMORY;
    for (int32_t i = 0; i < d->n_classes && status == CM_OK; i++, at += *at == ',')
        status = take_one(d, &at, i, names);
    if (status == CM_OK) {
        release(d, d->classes, d->n_classes);
        d->classes = names;
    } else release(d, names, d->n_classes);
    d->o.class_names = NULL; /* the caller's text may go */
    return status;
}
