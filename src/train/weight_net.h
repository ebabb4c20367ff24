/* weight_net.h - the adaptive weight of a loss: -w(t), the log variance, as a small trained function of the time
 * (Lu and Song 2024; networks-edm2 5, derivatives 6).
 *
 *   linear    one linear layer on [cos(t f_i), sin(t f_i)], f_i = 10000^-(i / (features/2 - 1))
 *   fourier   EDM2's: sqrt(2) cos(t freqs + phases) and a row of weights that is normalised where it is used */
#ifndef CM_TRAIN_WEIGHT_NET_H
#define CM_TRAIN_WEIGHT_NET_H

#include <stdint.h>

#include "base/choice.h"

enum { CM_WEIGHT_NET_NONE, CM_WEIGHT_NET_LINEAR, CM_WEIGHT_NET_FOURIER };
enum { CM_WEIGHT_NET_FEATURES = 128, CM_WEIGHT_NET_MOST = CM_WEIGHT_NET_FEATURES + 1 };
extern const cm_choice_list cmi_weight_net_choices;

typedef struct cm_weight_net {
    int32_t kind, features;
    /* Of each feature: the frequency and, of fourier, the phase.  They are not trained. */
    double freqs[CM_WEIGHT_NET_FEATURES], phases[CM_WEIGHT_NET_FEATURES];
} cm_weight_net;

/* Frequencies of `features` features; those of fourier are drawn from the seed. */
void cmi_weight_net_open(int32_t kind, int32_t features, uint64_t seed, cm_weight_net *out);
/* Trained values: a weight a feature, and with linear a bias. */
int32_t cmi_weight_net_size(const cm_weight_net *net);
/* Those it begins with, from the same seed. */
void cmi_weight_net_begin(const cm_weight_net *net, uint64_t seed, double *values);
/* The log variance at t; and gradient += share times its gradient by the values. */
double cmi_weight_net_value(const cm_weight_net *net, const double *values, double t);
void cmi_weight_net_pull(const cm_weight_net *net, const double *values, double t, double share, double *gradient);

#endif
