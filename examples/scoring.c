/* scoring.c - see the header. */
#include "scoring.h"

#include <stdio.h>
#include <string.h>

enum { FEWEST = 2000 };
static const char *const kinds[] = {"fd", "sfd", "pr", "kid", "is", "right", NULL};
static const char *const inceptions[] = {"fid", "sfid", "pr", "kid", "is", NULL};
static const char *const of_pairs[] = {"psnr", "ssim", "lpips", NULL};
static const char *const parts[] = {"", "-precision", "-recall"};

/* --- names ------------------------------------------------------------------------- */

/* Cuts -precision or -recall off. */
static int cut_part(char *word)
{
    const size_t n = strlen(word);
    for (int i = 1; i < 3; i++) {
        const size_t k = strlen(parts[i]);
        if (n <= k || strncmp(word, "pr-", 3) != 0 || strcmp(word + n - k, parts[i]) != 0) continue;
        word[n - k] = '\0';
        return i;
    }
    return 0;
}

void metric_read(const cli *c, char *word, metric *m)
{
    (void)snprintf(m->name, sizeof m->name, "%s", word);
    m->part = cut_part(word);
    char *dash = strchr(word, '-');
    for (int i = 0; of_pairs[i]; i++)
        if (strncmp(word, of_pairs[i], strlen(of_pairs[i])) == 0)
            cli_usage_error(c, "--metric %s compares image i of A with image i of B: give --pairs too", word);
    if (strcmp(word, "bpd") == 0) cli_usage_error(c, "--metric bpd is about a model and pictures, and stands alone");
    if (!dash) {
        for (int i = 0; inceptions[i]; i++)
            if (strcmp(word, inceptions[i]) == 0) {
                m->what = (metric_kind)i;
                return;
            }
        cli_usage_error(c, "--metric %s: name the network, as in %s-resnet56, or give fid, sfid, is, pr or kid", word,
                        word);
    }
    *dash = '\0';
    m->what = (metric_kind)cli_choice(c, "metric", word, kinds);
    m->net = dash + 1;
    (void)cli_listed(c, "metric", m->net, "feature_networks");
}

void metric_need_one(const cli *c, const metric *m)
{
    if (m->what == PR && !m->part)
        cli_usage_error(c, "--metric %s has two numbers: say %s-precision or %s-recall", m->name, m->name, m->name);
}

int metric_larger_is_better(const metric *m)
{
    return m->what == PR || m->what >= IS;
}

/* --- what cannot be said --------------------------------------------------------------- */

void metrics_refuse_network(const cli *c, const metric *metrics, size_t n, const cm_features_info *net, int resize)
{
    for (size_t i = 0; i < n; i++) {
        const metric *m = &metrics[i];
        if (strcmp(m->net, net->network) != 0) continue;
        if (m->what == SFD && !net->spatial)
            cli_usage_error(c, "%s: %s has no spatial features, which sfid has", m->name, net->network);
        if (m->what == RIGHT && net->spatial)
            cli_usage_error(c, "%s: the classes of %s have no names in data sets", m->name, net->network);
    }
    if (resize && net->resizes)
        cli_usage_error(c, "--resize has no effect with %s, which resizes by its own rule", net->network);
}

/* Whether class numbers mean what the network means: those that a file holds may leave some out, names may not. */
static int same_classes(const side *s, int32_t classes)
{
    const char *from = s->info.classes_from;
    if (s->model) return s->info.classes == classes;
    if (!from) return 0;
    if (strcmp(from, "folder names") == 0 || strcmp(from, "file names") == 0) return s->info.classes == classes;
    return s->info.classes <= classes;
}

void metrics_refuse_sets(const cli *c, const metric *metrics, size_t n, const cm_features_info *net,
                         const side_options *o, int few, const side *a, const side *b)
{
    const side *const both[] = {a, b};
    if (o->resize && !a->set && !b->set) cli_usage_error(c, "--resize has no effect: neither set is pictures");
    if (o->limit && !side_has_images(a) && !side_has_images(b))
        cli_usage_error(c, "--limit has no effect: there are no images, statistics alone");
    for (size_t i = 0; i < 2 && !few; i++)
        if (both[i]->path && both[i]->n < FEWEST && !(both[i]->given && !both[i]->n))
            cli_usage_error(c, "%s has %llu images, and fewer than %d say little: --few compares them all the same",
                            both[i]->path, (unsigned long long)both[i]->n, FEWEST);
    for (size_t i = 0; i < n; i++) {
        const metric *m = &metrics[i];
        const int lacks_a = !side_has_images(a), lacks_b = b->given && !side_has_images(b) && m->what < IS;
        if (strcmp(m->net, net->network) == 0 && m->what != FD && m->what != SFD && (lacks_a || lacks_b))
            cli_usage_error(c, "%s needs images, and %s holds statistics", m->name, lacks_a ? a->path : b->path);
        if (strcmp(m->net, net->network) == 0 && m->what == RIGHT && !same_classes(a, net->classes))
            cli_usage_error(c, "%s counts images of %d classes, and %s has %d", m->name, net->classes, a->path,
                            a->info.classes);
    }
}

wanted metrics_wanted(const metric *metrics, size_t n, const cm_features_info *net, int second)
{
    wanted w = {.scores = net->spatial != 0};
    for (size_t i = 0; i < n; i++) {
        const metric_kind what = metrics[i].what;
        if (strcmp(metrics[i].net, net->network) != 0) continue;
        w.spatial |= what == SFD;
        w.values |= what == PR || what == KID;
        w.logits |= !second && (what == IS || what == RIGHT);
    }
    w.images = w.values || w.logits;
    return w;
}

/* --- numbers ---------------------------------------------------------------------------- */

static void put(measured *out, const char *more, double value)
{
    out->values[out->n].more = more;
    out->values[out->n++].value = value;
}

static cm_status frechet(const metric *m, int32_t count, int infinity, const side *a, const side *b, measured *out)
{
    double distance, deviation;
    cm_subset_options subsets = CM_SUBSET_OPTIONS_INIT;
    subsets.subsets = count;
    const int spatial = m->what == SFD;
    cm_status status = cm_frechet_distance(side_statistics(a, spatial), side_statistics(b, spatial), &distance);
    if (status == CM_OK) put(out, "", distance);
    if (spatial) return status;
    if (status == CM_OK && count) {
        status = cm_frechet_subsets(side_statistics(b, 0), (size_t)a->n, a->values, &subsets, &distance, &deviation);
        if (status == CM_OK) put(out, "-halves", distance);
        if (status == CM_OK) put(out, "-deviation", deviation);
    }
    if (status == CM_OK && infinity) {
        status = cm_frechet_infinity(side_statistics(b, 0), (size_t)a->n, a->values, NULL, &distance);
        if (status == CM_OK) put(out, "-infinity", distance);
    }
    return status;
}

/* How many images have their largest logit at their own class. */
static double count_right(const side *s, const cm_features_info *net)
{
    double right = 0;
    for (uint64_t i = 0; i < s->n; i++) {
        const float *logits = s->logits + i * (uint64_t)net->classes;
        int32_t best = 0;
        for (int32_t k = 1; k < net->classes; k++)
            if (logits[k] > logits[best]) best = k;
        right += best == s->labels[i];
    }
    return right;
}

cm_status metric_measure(cm_context *context, const metric *m, int32_t subsets, int infinity,
                         const cm_features_info *net, const side *a, const side *b, measured *out)
{
    double first, second;
    cm_status status = CM_OK;
    out->n = 0;
    switch (m->what) {
    case FD:
    case SFD: return frechet(m, subsets, infinity, a, b, out);
    case PR:
        status = cm_precision_recall(context, net->features, (size_t)b->n, b->values, (size_t)a->n, a->values, NULL,
                                     &first, &second);
        if (status == CM_OK && m->part != 2) put(out, m->part ? "" : parts[1], first);
        if (status == CM_OK && m->part != 1) put(out, m->part ? "" : parts[2], second);
        return status;
    case KID:
        status = cm_kernel_distance(context, net->features, (size_t)a->n, a->values, (size_t)b->n, b->values, NULL,
                                    &first, &second);
        break;
    case RIGHT: first = count_right(a, net); break;
    default:
        status = cm_inception_score(context, net->classes, (size_t)a->n, a->logits, NULL, &first, &second);
        break;
    }
    if (status == CM_OK) put(out, "", first);
    if (status == CM_OK && m->what == KID) put(out, "-deviation", second);
    return status;
}
