/* dataset.c - the calls of dataset.h. */
#include <string.h>

#include <consistency/dataset.h>

#include "base/options.h"
#include "data/dataset.h"

void cm_dataset_options_init(cm_dataset_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_dataset_info_init(cm_dataset_info *info, size_t struct_size)
{
    cmi_options_zero(info, struct_size);
}

static cm_status check_choice(const char *name, int32_t value, int32_t last)
{
    if (value < 0 || value > last)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_options: %s is %d, expected 0..%d", name, value, last);
    return CM_OK;
}

static cm_status check(const cm_dataset_options *o)
{
    if (o->channels != 0 && o->channels != 1 && o->channels != 3)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_options: channels is %d, expected 0, 1 or 3", o->channels);
    if (o->height < 0 || o->height > 65535 || o->width < 0 || o->width > 65535)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_options: %d x %d, expected 0..65535", o->height, o->width);
    CM_TRY(check_choice("random_crop", o->random_crop, CM_CROP_NONE));
    CM_TRY(check_choice("stop_on_bad", o->stop_on_bad, CM_BAD_STOP));
    CM_TRY(check_choice("labels", o->labels, CM_LABELS_PREFIX));
    CM_TRY(check_choice("shuffle", o->shuffle, CM_SHUFFLE_NO));
    CM_TRY(check_choice("part", o->part, CM_PART_HELD_OUT));
    if (o->part == CM_PART_ALL && o->held_out != 0)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_options: held_out is %g and has no effect on a whole set: choose a part",
                o->held_out);
    if (o->part != CM_PART_ALL && !(o->held_out > 0 && o->held_out <= 0.5))
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_options: held_out is %g, expected above 0 to 0.5", o->held_out);
    return cmi_reserved_check("cm_dataset_options", o->reserved);
}

cm_status cm_dataset_open(cm_context *context, const char *path, const cm_dataset_options *options, cm_dataset **out)
{
    cm_dataset_options o;
    if (!out) CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_open: out is NULL");
    *out = NULL;
    if (!path || !*path) CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_open: path is NULL or empty");
    memset(&o, 0, sizeof o);
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_dataset_options"));
    CM_TRY(check(&o));
    return cmi_dataset_make(context, path, &o, out);
}

void cm_dataset_free(cm_dataset *dataset)
{
    cmi_dataset_release(dataset);
}

cm_status cm_dataset_info_get(const cm_dataset *d, cm_dataset_info *info)
{
    cm_dataset_info i;
    if (!d || !info) CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_info_get: dataset or info is NULL");
    memset(&i, 0, sizeof i);
    i.channels = d->o.channels;
    i.height = d->o.height;
    i.width = d->o.width;
    i.images = cmi_dataset_count(d);
    i.classes = d->labels ? d->n_classes : 0;
    i.largest_label = d->largest_label;
    i.bad = d->bad;
    i.fingerprint = d->fingerprint;
    i.kind = d->source->kind->name;
    i.classes_from = d->labels ? d->classes_from : NULL;
    return cm_info_write(info, &i, sizeof i, "cm_dataset_info");
}

const char *cm_dataset_class_name(const cm_dataset *d, int32_t label)
{
    return d && d->classes && label >= 0 && label < d->n_classes ? d->classes[label] : NULL;
}

cm_status cm_dataset_read(cm_dataset *d, uint64_t position, const cm_images *out, int32_t *labels)
{
    cm_view view;
    if (!d) CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_read: dataset is NULL");
    CM_TRY(cmi_view_open("cm_dataset_read: the images", out, CM_VIEW_WRITE, &view));
    CM_TRY(cmi_view_expect("cm_dataset_read: the images", &view, (size_t)d->o.channels, (size_t)d->o.height,
                           (size_t)d->o.width));
    if (position > UINT64_MAX / 4)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_read: position %llu is out of range", (unsigned long long)position);
    CM_TRY(cmi_context_check_process(d->context));
    CM_TRY(cmi_call_begin(&d->call, "data set"));
    cm_status status = cmi_dataset_get(d, position, &view, labels);
    if (cmi_call_end(&d->call) && status == CM_OK) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    return status;
}

void cm_dataset_cancel(cm_dataset *dataset)
{
    if (dataset) cmi_call_ask(&dataset->call);
}

/* --- the whole set ------------------------------------------------------------------------- */

cm_status cm_dataset_class_counts(const cm_dataset *d, size_t count, uint64_t *counts)
{
    if (!d || !counts) CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_class_counts: dataset or counts is NULL");
    const size_t classes = d->labels ? (size_t)d->n_classes : 0;
    if (count != classes || !classes)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_class_counts: count is %zu, and the set has %zu classes", count,
                classes);
    memset(counts, 0, count * sizeof *counts);
    for (size_t i = 0; i < cmi_dataset_count(d); i++) {
        const int32_t label = d->labels[cmi_dataset_member(d, i)];
        if (label >= 0) counts[label]++;
    }
    return CM_OK;
}

void cm_dataset_check_options_init(cm_dataset_check_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

void cm_dataset_report_init(cm_dataset_report *report, size_t struct_size)
{
    cmi_options_zero(report, struct_size);
}

void cm_dataset_pack_options_init(cm_dataset_pack_options *options, size_t struct_size)
{
    cmi_options_zero(options, struct_size);
}

static cm_status begin(cm_dataset *d)
{
    CM_TRY(cmi_context_check_process(d->context));
    return cmi_call_begin(&d->call, "data set");
}

cm_status cm_dataset_check(cm_dataset *d, const cm_dataset_check_options *options, cm_dataset_report *report)
{
    cm_dataset_check_options o = CM_DATASET_CHECK_OPTIONS_INIT;
    cm_dataset_report r = CM_DATASET_REPORT_INIT;
    if (!d || !report) CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_check: dataset or report is NULL");
    CM_TRY(cmi_dataset_expect_whole(d, "cm_dataset_check"));
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_dataset_check_options"));
    if (o.class_least < 0)
        CM_FAIL(CM_ERR_ARGUMENT,
                "cm_dataset_check_options: class_least is %d, expected at least 1 or 0 for the default",
                o.class_least);
    CM_TRY(cm_info_check(report, "cm_dataset_report"));
    CM_TRY(begin(d));
    cm_status status = cmi_dataset_check(d, &o, &r);
    if (cmi_call_end(&d->call) && status == CM_OK) CM_FAIL(CM_ERR_CANCELLED, "cancelled");
    CM_TRY(status);
    return cm_info_write(report, &r, sizeof r, "cm_dataset_report");
}

cm_status cm_dataset_pack(cm_dataset *d, const char *path, const cm_dataset_pack_options *options, uint64_t *packed)
{
    cm_dataset_pack_options o = CM_DATASET_PACK_OPTIONS_INIT;
    uint64_t written = 0;
    if (packed) *packed = 0;
    if (!d || !path || !*path) CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_pack: dataset is NULL, or path is NULL or empty");
    CM_TRY(cmi_dataset_expect_whole(d, "cm_dataset_pack"));
    if (options) CM_TRY(cm_options_read(&o, sizeof o, options, "cm_dataset_pack_options"));
    CM_TRY(cmi_reserved_check("cm_dataset_pack_options", o.reserved));
    if (o.form != CM_PACK_FILES && o.form != CM_PACK_IMAGES)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_pack_options: form is %d, expected 0..%d", o.form, CM_PACK_IMAGES);
    if (o.overwrite != CM_OVERWRITE_NO && o.overwrite != CM_OVERWRITE_YES)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_dataset_pack_options: overwrite is %d, expected %d or %d", o.overwrite,
                CM_OVERWRITE_NO, CM_OVERWRITE_YES);
    CM_TRY(begin(d));
    cm_status status = cmi_dataset_pack(d, path, &o, &written);
    (void)cmi_call_end(&d->call); /* a request that comes behind the last picture is too late */
    if (packed) *packed = written;
    return status;
}
