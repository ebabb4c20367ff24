/* likelihood.c - see the header. */
#include "likelihood.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16 };

typedef struct {
    const likelihood_options *o;
    const char *paths[2]; /* the model, the pictures */
    cm_model *model;
    cm_model_info info;
    cm_dataset *set;
    cm_dataset_info found;
    uint64_t n;
    sampling_nfe nfe;
    double sum, squares;
    float *images;
    cli_progress progress;
} measuring;

/* --- what goes together ------------------------------------------------------------------------ */

static cm_status open_both(cli *c, measuring *m)
{
    cm_context *context = NULL;
    cm_dataset_options d = CM_DATASET_OPTIONS_INIT;
    m->found = (cm_dataset_info)CM_DATASET_INFO_INIT;
    cm_status status = sampling_load(m->o->sampling, c, m->paths[0], &m->model, &m->info, NULL);
    if (status == CM_OK) status = cli_context(c, &context);
    d.channels = m->info.channels;
    d.height = d.width = m->o->resize ? m->info.height : 0;
    d.stop_on_bad = CM_BAD_STOP;
    d.random_crop = m->o->resize ? CM_CROP_CENTER : CM_CROP_NONE;
    d.shuffle = CM_SHUFFLE_NO;
    if (status == CM_OK) status = cm_dataset_open(context, m->paths[1], &d, &m->set);
    if (status == CM_OK) status = cm_dataset_info_get(m->set, &m->found);
    m->n = m->o->limit && m->o->limit < m->found.images ? m->o->limit : m->found.images;
    cm_context_free(context); /* the data set keeps it */
    return status;
}

static void refuse(const cli *c, const measuring *m)
{
    const cm_dataset_info *d = &m->found;
    if (d->height != m->info.height || d->width != m->info.width)
        cli_usage_error(c, "%s has pictures of %d x %d and %s takes %d x %d: --resize cuts them to its size",
                        m->paths[1], d->height, d->width, m->paths[0], m->info.height, m->info.width);
    if (m->info.needs_label && !d->classes)
        cli_usage_error(c, "%s needs a class of each picture, and %s has none", m->paths[0], m->paths[1]);
    if (m->info.num_classes && d->classes > m->info.num_classes)
        cli_usage_error(c, "%s has %d classes, and %s knows %d", m->paths[1], d->classes, m->paths[0],
                        m->info.num_classes);
}

/* --- the pictures ------------------------------------------------------------------------------- */

static int32_t is_stopped(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return cli_interrupted();
}

static cm_status measure_batch(measuring *m, uint64_t at, size_t n)
{
    int32_t labels[BATCH], evaluations[BATCH];
    double bits[BATCH];
    cm_condition condition = CM_CONDITION_INIT;
    cm_likelihood_options o = CM_LIKELIHOOD_OPTIONS_INIT;
    cm_images images = cm_images_f32(n, m->info.channels, m->info.height, m->info.width, m->images);
    cm_status status = cm_dataset_read(m->set, at, &images, labels);
    condition.labels = m->info.num_classes && m->found.classes ? labels : NULL;
    o.probes = m->o->probes;
    o.seed = m->o->sampling->sample.seed;
    o.first_index = at;
    o.condition = &condition;
    o.evaluations = evaluations;
    o.progress = is_stopped;
    if (status == CM_OK) status = cm_model_bits_per_dim(m->model, &o, n, m->images, bits);
    if (status != CM_OK) return status;
    sampling_count(&m->nfe, n, evaluations);
    for (size_t i = 0; i < n; i++) m->sum += bits[i], m->squares += bits[i] * bits[i];
    return cli_progress_step(&m->progress, at + n, m->n) ? CM_ERR_CANCELLED : CM_OK;
}

static cm_status measure(const cli *c, measuring *m)
{
    cm_status status = CM_OK;
    m->images =
        malloc(BATCH * sizeof(float) * (size_t)m->info.channels * (size_t)m->info.height * (size_t)m->info.width);
    if (!m->images) cli_usage_error(c, "%d pictures do not fit into memory", BATCH);
    cli_progress_begin(&m->progress, "pictures", m->o->quiet || m->o->json);
    for (uint64_t at = 0; at < m->n && status == CM_OK; at += BATCH)
        status = measure_batch(m, at, m->n - at < BATCH ? (size_t)(m->n - at) : BATCH);
    cli_progress_end(&m->progress);
    return status;
}

/* The mean and the standard deviation over the pictures. */
static void print(const measuring *m)
{
    const double n = (double)m->n, mean = m->sum / n, deviation = sqrt(fmax(m->squares / n - mean * mean, 0));
    const unsigned long long seed = m->o->sampling->sample.seed;
    char text[64];
    if (m->o->json) {
        printf("{\"model\": ");
        cli_json_string(stdout, m->paths[0]);
        printf(", \"pictures\": ");
        cli_json_string(stdout, m->paths[1]);
        printf(
            ", \"kind\": \"%s\", \"images\": %llu, \"seed\": %llu, \"probes\": %d, \"nfe\": %d, \"nfe_mean\": %.6g",
            m->found.kind, (unsigned long long)m->n, seed, m->o->probes ? m->o->probes : 1, m->nfe.most,
            sampling_nfe_mean(&m->nfe));
        printf(", \"bpd\": ");
        cli_json_number(stdout, 6, mean);
        printf(", \"bpd-deviation\": ");
        cli_json_number(stdout, 4, deviation);
        printf("}\n");
        return;
    }
    printf("%llu pictures of %d x %d (%s), %s each, seed %llu\n", (unsigned long long)m->n, m->info.height,
           m->info.width, m->found.kind, sampling_nfe_text(&m->nfe, text), seed);
    printf("%-22s %.5g\n%-22s %.3g\n", "bpd", mean, "bpd-deviation", deviation);
}

cm_status likelihood_measure(cli *c, const likelihood_options *o, const char *model, const char *pictures)
{
    measuring m;
    memset(&m, 0, sizeof m);
    m.o = o;
    m.paths[0] = model, m.paths[1] = pictures;
    cm_status status = open_both(c, &m);
    if (status == CM_OK) refuse(c, &m);
    if (status == CM_OK) status = measure(c, &m);
    if (status == CM_OK) print(&m);
    free(m.images);
    cm_dataset_free(m.set);
    cm_model_free(m.model);
    return status;
}
