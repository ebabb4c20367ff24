/* trainer_data.c - steps over a data set: whether it fits, which one it is, batches read ahead. */
#include <stdio.h>
#include <string.h>

#include "data/loader.h"
#include "train/together.h"

cm_status cmi_train_check_dataset(const cm_model *m, const cm_dataset *d, int32_t batch)
{
    int32_t classes = m->net.num_classes;
    if (d->o.channels != m->channels || d->o.height != m->height || d->o.width != m->width)
        CM_FAIL(CM_ERR_SHAPE, "the data set gives images of %d x %d x %d (C x H x W), the network takes %d x %d x %d",
                d->o.channels, d->o.height, d->o.width, m->channels, m->height, m->width);
    if (classes && d->labels && d->largest_label >= classes)
        CM_FAIL(CM_ERR_ARGUMENT, "the data set has class %d%s%s, the network knows %d classes", d->largest_label,
                d->classes ? ", " : "", d->classes ? d->classes[d->largest_label] : "", classes);
    if (cmi_model_needs_label(m) && !d->labels)
        CM_FAIL(CM_ERR_ARGUMENT, "this network needs labels 0..%d and the data set has none", classes - 1);
    if (cmi_dataset_count(d) < (size_t)batch)
        CM_FAIL(CM_ERR_ARGUMENT, "the data set has %zu images, fewer than a batch of %d", cmi_dataset_count(d),
                batch);
    return CM_OK;
}

/* What is odd about a set that fits, said when a trainer first sees it. */
static void remark_dataset(const cm_trainer *t, const cm_dataset *d)
{
    int32_t classes = t->model->net.num_classes;
    if (classes && !d->labels)
        cmi_log(t->context, CM_LOG_WARNING, "the network knows %d classes, but the data set has no labels", classes);
    if (d->o.shuffle != CM_SHUFFLE_NO && d->o.seed != t->o.seed)
        cmi_log(t->context, CM_LOG_INFO, "the data set is shuffled by seed %llu", (unsigned long long)d->o.seed);
}

static json_t *fingerprint(const cm_dataset *d)
{
    char hash[20];
    (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)d->fingerprint);
    return json_pack("{s:I, s:I, s:s, s:I, s:i}", "images", (json_int_t)cmi_dataset_count(d), "bytes",
                     (json_int_t)d->source->bytes, "xxh3_64", hash, "seed", (json_int_t)d->o.seed, "shuffle",
                     d->o.shuffle);
}

static cm_status loop(cm_trainer *t, cm_loader *loader, int64_t until, cm_train_fn progress, void *user)
{
    while (t->step < until) {
        const float *images;
        const int32_t *labels;
        cm_train_report report;
        double waited;
        memset(&report, 0, sizeof report);
        report.struct_size = sizeof report;
        CM_TRY(cmi_loader_next(loader, &images, &labels, &waited));
        if (!t->model->net.num_classes) labels = NULL;
        CM_TRY(cmi_trainer_advance(t, cmi_trainer_batch(t), images, labels, &report));
        report.data_wait = waited;
        report.seconds += waited;
        cmi_call_pause(&t->call);
        int stop = progress && progress(user, &report);
        cmi_call_resume(&t->call);
        if (stop || cmi_call_asked(&t->call))
            CM_FAIL(CM_ERR_CANCELLED, "training was stopped after step %lld", (long long)t->step);
    }
    return CM_OK;
}

cm_status cmi_trainer_note_dataset(cm_trainer *t, const cm_dataset *d)
{
    CM_TRY(cmi_train_check_dataset(t->model, d, (int32_t)cmi_trainer_batch(t)));
    if (cmi_objective_guides(&t->o) && !d->labels)
        CM_FAIL(CM_ERR_ARGUMENT, "guidance needs labels, and the data set has none");
    if (!t->dataset) remark_dataset(t, d);
    CM_TRY(cmi_trainer_take_names(t, d));
    json_t *print = fingerprint(d);
    if (!print) CM_FAIL(CM_ERR_MEMORY, "out of memory: fingerprint");
    if (t->dataset && !json_equal(t->dataset, print)) {
        json_decref(print);
        CM_FAIL(CM_ERR_ARGUMENT, "this is another data set than the one the trainer has been run on");
    }
    json_decref(t->dataset);
    t->dataset = print;
    return cmi_together_compare_data(t);
}

/* This rank's images of each batch. */
static cm_status open_loader(cm_trainer *t, cm_dataset *dataset, int64_t count, cm_loader **out)
{
    const size_t batch = cmi_trainer_batch(t);
    size_t first, own;
    CM_TRY(cmi_trainer_share(t, batch, &first, &own));
    return cmi_loader_create(dataset, t->images / t->views + first, own, batch, count, &t->call, out);
}

cm_status cmi_trainer_loop(cm_trainer *t, cm_dataset *dataset, int64_t until, cm_train_fn progress, void *user)
{
    cm_loader *loader = NULL;
    cm_status status;
    CM_TRY(cmi_trainer_note_dataset(t, dataset));
    if (t->step >= until) return CM_OK;
    CM_TRY(cmi_call_begin(&dataset->call, "data set"));
    status = open_loader(t, dataset, until - t->step, &loader);
    if (status == CM_OK) status = loop(t, loader, until, progress, user);
    cmi_loader_free(loader);
    (void)cmi_call_end(&dataset->call);
    return status;
}
