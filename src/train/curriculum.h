/* curriculum.h - what changes with the step counter k (0 for the first step):
 * the number of time points N(k), the target's rate mu(k), ECT's stage, the
 * learning rate, the share of sCM's derivative (algorithms 4.5, 4.7, 6, 7.2).  All are functions of k alone, so a
 * resumed run needs nothing but k. */
#ifndef CM_TRAIN_CURRICULUM_H
#define CM_TRAIN_CURRICULUM_H

#include "train/settings.h"

typedef struct cm_curriculum {
    int32_t scales, mu;                       /* cm_scales_mode, cm_mu_mode */
    int32_t start, end;                       /* s0, s1               */
    double mu0;                               /* mu, or mu0           */
    int64_t total;                            /* K: steps in all      */
    int64_t distill_steps;                    /* S of progressive distillation: steps a stage */
    int32_t stages;                           /* of ECT               */
    int64_t stage_steps;                      /* of ECT; 0 = total / stages */
    int32_t first_stage;                      /* of ECT: the number of its first stage */
    double lr, lr_final;                      /* lr_final: the factor reached at the end of annealing */
    int64_t warmup, anneal_begin, anneal_end; /* steps; anneal_end 0 = constant */
    int64_t decay;                            /* steps of 1/sqrt(max(k/decay, 1)); 0 = 1 */
    int64_t tangent_warmup;                   /* of sCM; 0: none */
    int32_t anneal_stages;                    /* progressive distillation: annealed in every stage instead */
} cm_curriculum;

typedef struct cm_moment {
    int32_t scales; /* N */
    double mu;
    int32_t stage; /* of ECT */
    double lr;
    double tangent_share; /* of sCM */
} cm_moment;

cm_curriculum cmi_curriculum_of(const cm_train_settings *s);
cm_moment cmi_curriculum_at(const cm_curriculum *c, int64_t k);

#endif
