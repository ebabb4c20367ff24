/* scoring.h - metrics by their names: what is computed of the features of one network. */
#ifndef SCORING_H
#define SCORING_H

#include "evaluating.h"

/* The first ones compare two sets. */
typedef enum metric_kind { FD, SFD, PR, KID, IS, RIGHT } metric_kind;

typedef struct metric {
    metric_kind what;
    int part;        /* of PR: 0 both, 1 precision, 2 recall                       */
    char name[64];   /* as it was asked for                                        */
    const char *net; /* NULL until the options are known: the Inception network's */
} metric;

/* fid, or fd-NET; pr-NET-recall.  `word` is changed and has to stay; a wrong one ends the program. */
void metric_read(const cli *c, char *word, metric *m);
/* The number that a search looks at: a metric of two is refused. */
void metric_need_one(const cli *c, const metric *m);
int metric_larger_is_better(const metric *m);

/* What the network, or sets like these, cannot say ends the program.  b->path NULL: there is one set. */
void metrics_refuse_network(const cli *c, const metric *metrics, size_t n, const cm_features_info *net, int resize);
void metrics_refuse_sets(const cli *c, const metric *metrics, size_t n, const cm_features_info *net,
                         const side_options *o, int few, const side *a, const side *b);

/* What those of the network ask of A (second: B). */
wanted metrics_wanted(const metric *metrics, size_t n, const cm_features_info *net, int second);

typedef struct measured {
    struct {
        const char *more; /* what follows the metric's name */
        double value;
    } values[4];
    int n;
} measured;

/* subsets and infinity as the options of cm-eval are called. */
cm_status metric_measure(cm_context *context, const metric *m, int32_t subsets, int infinity,
                         const cm_features_info *net, const side *a, const side *b, measured *out);

#endif
