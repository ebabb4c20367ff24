/* estimate.c - what a run will take, before anything of its size is made. */
#include <stdio.h>
#include <string.h>

#include "run/memory.h"
#include "run/run.h"

/* All that a run holds at a time: trainer, weights it began with, batches that are read ahead, and a page of samples
 * or an evaluation with its snapshot.  The feature network is there already. */
static cm_status memory_of(const cm_run *r, cm_model *model, const cm_train_options *options, int32_t batch,
                           uint64_t *bytes)
{
    enum { OTHERS = 64000000 };
    cm_model_info m;
    cm_sampler_info s;
    cm_sampler_options so;
    uint64_t trainer;
    cm_train_inputs inputs = cmi_run_inputs(r->options);
    inputs.model = model;
    cm_model_info_init(&m, sizeof m);
    cm_sampler_info_init(&s, sizeof s);
    cm_sampler_options_init(&so, sizeof so);
    so.threads = r->options->n.threads;
    CM_TRY(cm_trainer_estimate(&inputs, options, &trainer));
    CM_TRY(cm_model_info_get(model, &m));
    if (r->pace.sample || r->metric) CM_TRY(cm_sampler_estimate(model, &so, &s));
    *bytes = OTHERS + trainer + 4 * m.parameters * (r->pace.sample || r->metric ? 2 : 1) +
             (r->metric ? cmi_metric_bytes(r->metric) : 0) +
             8 * (uint64_t)batch * (uint64_t)m.channels * (uint64_t)m.height * (uint64_t)m.width +
             s.activation_bytes + s.packed_bytes;
    return CM_OK;
}

/* The largest size of a network of our own that fits. */
static cm_status propose_size(const cm_run *r, cm_run_needs *n)
{
    cm_dataset_info d;
    cm_model *model;
    cm_dataset_info_init(&d, sizeof d);
    CM_TRY(cm_dataset_info_get(r->options->dataset, &d));
    int32_t side = d.height > 256 ? 256 : d.height / 2 / 4 * 4;
    for (; side >= 16 && !n->size; side = side / 2 / 4 * 4) {
        CM_TRY(cmi_run_default_model(r->options, side, &model));
        cm_status status = memory_of(r, model, r->options->train, r->options->n.batch, &n->size_bytes);
        cm_model_free(model);
        CM_TRY(status);
        if (n->size_bytes < n->free_bytes) n->size = side;
    }
    if (!n->size) n->size_bytes = 0;
    return CM_OK;
}

static cm_status propose_batch(const cm_run *r, cm_run_needs *n)
{
    cm_train_options *o;
    CM_TRY(cm_train_options_copy(r->options->train, &o));
    cm_status status = CM_OK;
    for (int32_t batch = r->options->n.batch / 2; batch >= 1 && status == CM_OK && !n->batch; batch /= 2) {
        status = cm_train_options_set_number(o, "batch", batch);
        if (status == CM_OK && cm_train_options_check(o) != CM_OK) break; /* so few do not go with the others */
        if (status == CM_OK) status = memory_of(r, cmi_run_learner(r->options), o, batch, &n->batch_bytes);
        if (status == CM_OK && n->batch_bytes < n->free_bytes) n->batch = batch;
    }
    cm_train_options_free(o);
    if (!n->batch) n->batch_bytes = 0;
    return status;
}

/* "this run needs .. and ULIMIT leaves ..: give --size 32 (.. GB) or --batch 4 (.. GB)" */
static cm_status refuse(const cm_run *r, const cm_run_needs *n)
{
    const char *p = r->options->prefix;
    char size[80] = "", batch[80] = "";
    if (n->size)
        (void)snprintf(size, sizeof size, "give %ssize %d (%.2g GB)", p, n->size, (double)n->size_bytes / 1e9);
    if (n->batch)
        (void)snprintf(batch, sizeof batch, "%s%sbatch %d (%.2g GB)", n->size ? " or " : "give ", p, n->batch,
                       (double)n->batch_bytes / 1e9);
    CM_FAIL(CM_ERR_MEMORY, "this run needs about %.2g GB of memory, and %s leaves %.2g GB: %s%s",
            (double)n->bytes / 1e9, n->free_of, (double)n->free_bytes / 1e9, size,
            n->size || n->batch ? batch : "no batch fits: it takes a smaller network, or a larger machine");
}

static cm_status measure_memory(const cm_run *r, cm_run_needs *n)
{
    const cm_memory_bound left = cmi_memory_left();
    CM_TRY(memory_of(r, cmi_run_learner(r->options), r->options->train, r->options->n.batch, &n->bytes));
    n->free_bytes = left.bytes;
    n->free_of = left.who;
    n->fits = n->bytes <= left.bytes;
    if (n->fits) return CM_OK;
    if (r->options->default_network) CM_TRY(propose_size(r, n));
    CM_TRY(propose_batch(r, n));
    return refuse(r, n);
}

cm_status cmi_run_page_form(const cm_run *r, cm_page_form *form)
{
    cm_model_info m;
    cm_model_info_init(&m, sizeof m);
    CM_TRY(cm_model_info_get(cmi_run_learner(r->options), &m));
    m.is_consistency = r->options->n.is_consistency;
    *form = cmi_pages_form(&r->pages, &m);
    return CM_OK;
}

/* The share of the run that pages of samples take.  An evaluation is a third of a step of one network at most. */
static cm_status share_of_pages(const cm_run *r, double *share)
{
    cm_page_form f;
    *share = r->pace.share;
    if (!r->pace.sample || r->pace.share > 0) return CM_OK;
    CM_TRY(cmi_run_page_form(r, &f));
    *share = (double)f.rows * f.columns * f.evaluations / 3 / r->options->n.batch / (double)r->pace.sample;
    return CM_OK;
}

/* The same of evaluations. */
static double share_of_metric(const cm_run *r, double step_seconds)
{
    if (!r->metric || r->pace.metric_share > 0) return r->pace.metric_share;
    return cmi_metric_seconds(r->metric, step_seconds / r->options->n.batch / 3) /
           (step_seconds * (double)r->pace.metric);
}

static int32_t keep_report(void *user, const cm_train_report *report)
{
    *(cm_train_report *)user = *report;
    return 0;
}

/* Two steps of a trainer that is then thrown away. */
static cm_status measure_time(const cm_run *r, cm_run_needs *n)
{
    enum { STEPS = 2 };
    const cm_run_options *o = r->options;
    const cm_train_inputs inputs = cmi_run_inputs(o);
    cm_trainer *probe;
    cm_train_report report;
    cm_train_report_init(&report, sizeof report);
    CM_TRY(cm_trainer_create(&inputs, o->train, &probe));
    cm_status status = cm_trainer_run(probe, o->dataset, STEPS, keep_report, &report);
    cm_trainer_free(probe);
    CM_TRY(status);
    CM_TRY(share_of_pages(r, &n->sample_share));
    n->step_seconds = report.seconds;
    n->metric_share = share_of_metric(r, report.seconds);
    n->seconds = report.seconds * (double)o->n.steps * (1 + n->sample_share + n->metric_share);
    return CM_OK;
}

cm_status cmi_run_measure(const cm_run *r, int32_t parts, cm_run_needs *n)
{
    memset(n, 0, sizeof *n);
    if (r->trainer) CM_FAIL(CM_ERR_STATE, "cm_run_estimate: the run has begun: what it takes is taken");
    if (parts & CM_RUN_MEMORY) CM_TRY(measure_memory(r, n));
    return parts & CM_RUN_TIME ? measure_time(r, n) : CM_OK;
}
