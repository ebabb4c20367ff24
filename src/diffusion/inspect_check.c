/* inspect_check.c - every value of a file read and counted where it is not finite. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "diffusion/inspect.h"

enum { NAMED = 100 }; /* tensors, in findings */

typedef struct {
    const cm_checkpoint *checkpoint;
    const cm_checkpoint_check_options *o;
    cm_checkpoint_report *r;
} check;

static void find(const check *c, const char *format, ...) CM_PRINTF(2, 3);
static void find(const check *c, const char *format, ...)
{
    char text[2400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->r->findings++;
    if (c->o->found) c->o->found(c->o->found_user, text);
}

static cm_status report(const check *c, uint64_t total)
{
    if (c->o->progress && c->o->progress(c->o->progress_user, c->r->bytes, total))
        CM_FAIL(CM_ERR_CANCELLED, "cancelled by the progress callback");
    return CM_OK;
}

static void name_nonfinite(const check *c, const cm_tensor *t, uint64_t nans, uint64_t infinities)
{
    c->r->nan_values += nans;
    c->r->infinite_values += infinities;
    if (c->checkpoint->kind == CM_CHECKPOINT_MODEL) c->r->is_sound = 0;
    if (c->r->nonfinite_tensors++ < NAMED)
        find(c, "tensor '%s' has values that are not finite: %llu NaN and %llu infinite of %zu", t->name,
             (unsigned long long)nans, (unsigned long long)infinities, t->count);
}

static cm_status look_at(const check *c, const cm_tensor *t)
{
    uint64_t nans = 0, infinities = 0;
    const int is_model = c->checkpoint->kind == CM_CHECKPOINT_MODEL; /* whose doubles are used as float32 */
    cm_status status = cmi_tensor_count_nonfinite(t, is_model, &nans, &infinities);
    if (status == CM_ERR_MEMORY) return status;
    if (status != CM_OK) {
        c->r->is_sound = 0;
        find(c, "tensor '%s' cannot be read: %s", t->name, cm_last_message());
    }
    if (nans || infinities) name_nonfinite(c, t, nans, infinities);
    c->r->bytes += t->bytes;
    return CM_OK;
}

/* What is told as a finding is no failure: the thread's message stays. */
cm_status cmi_inspect_check(const cm_checkpoint *checkpoint, const cm_checkpoint_check_options *options,
                            cm_checkpoint_report *r)
{
    const check c = {checkpoint, options, r};
    char before[2048];
    (void)snprintf(before, sizeof before, "%s", cm_last_message());
    const cm_tensors *t = cmi_inspect_tensors(checkpoint);
    uint64_t total = 0;
    r->is_sound = 1;
    r->checksums = t->checksums;
    r->without_checksum = t->without_checksum;
    for (size_t i = 0; i < t->count; i++) total += t->tensors[i].bytes;
    if (checkpoint->kind == CM_CHECKPOINT_MISFIT) {
        r->is_sound = 0;
        find(&c, "%s", checkpoint->problem);
    }
    for (size_t i = 0; i < t->count; i++) {
        CM_TRY(report(&c, total));
        CM_TRY(look_at(&c, &t->tensors[i]));
    }
    CM_TRY(report(&c, total));
    cmi_message_set(before);
    return CM_OK;
}
