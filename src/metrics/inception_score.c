/* inception_score.c - exp of the mean of KL(p(y|x) || p(y)), over consecutive parts of the images (metrics 4). */
#include <math.h>
#include <string.h>

#include "metrics/scores.h"
#include "metrics/statistics.h"

/* Row of log p from logits or probabilities; -infinity stands for a probability of 0. */
static void log_probabilities(size_t classes, const float *values, int are_probabilities, double *out)
{
    double largest = (double)values[0], sum = 0;
    if (are_probabilities) {
        for (size_t k = 0; k < classes; k++) out[k] = log((double)values[k]);
        return;
    }
    for (size_t k = 1; k < classes; k++) largest = fmax(largest, (double)values[k]);
    for (size_t k = 0; k < classes; k++) sum += exp((double)values[k] - largest);
    for (size_t k = 0; k < classes; k++) out[k] = (double)values[k] - largest - log(sum);
}

/* mean over images of sum p log p, less sum q log q of the mean q: the same, in one pass. */
static double score_of(const cm_feature_set *set, size_t first, size_t n, int are_probabilities, double *logs,
                       double *q)
{
    double own = 0, common = 0;
    memset(q, 0, set->d * sizeof *q);
    for (size_t i = first; i < first + n; i++) {
        log_probabilities(set->d, set->values + i * set->d, are_probabilities, logs);
        for (size_t k = 0; k < set->d; k++) {
            const double p = exp(logs[k]);
            if (p > 0) own += p * logs[k];
            q[k] += p;
        }
    }
    for (size_t k = 0; k < set->d; k++)
        if (q[k] > 0) common += q[k] / (double)n * log(q[k] / (double)n);
    return exp(own / (double)n - common);
}

static cm_status check_probabilities(const cm_feature_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        double sum = 0;
        for (size_t k = 0; k < set->d; k++) {
            const double p = (double)set->values[i * set->d + k];
            if (p < 0) CM_FAIL(CM_ERR_ARGUMENT, "inception score: probability %zu of image %zu is %g", k, i, p);
            sum += p;
        }
        if (!(fabs(sum - 1) < 1e-3))
            CM_FAIL(CM_ERR_ARGUMENT, "inception score: the probabilities of image %zu add up to %g (logits?)", i,
                    sum);
    }
    return CM_OK;
}

cm_status cmi_inception_score(cm_context *context, const cm_feature_set *set, const cm_score_options *o,
                              double *score, double *deviation)
{
    const size_t split = o->split ? (size_t)o->split : 5000;
    CM_TRY(cmi_features_check("inception score", set->n, set->d, set->values));
    if (o->probabilities) CM_TRY(check_probabilities(set));
    const size_t parts = (set->n + split - 1) / split;
    double *work = cmi_calloc(context, parts + 2 * set->d, sizeof *work);
    if (!work) return CM_ERR_MEMORY;
    for (size_t i = 0; i < parts; i++) {
        const size_t left = set->n - i * split;
        work[i] = score_of(set, i * split, left < split ? left : split, o->probabilities, work + parts,
                           work + parts + set->d);
    }
    cmi_mean_and_deviation(parts, work, score, deviation);
    cmi_free(context, work);
    return CM_OK;
}
