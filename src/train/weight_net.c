/* weight_net.c - see the header. */
#include "train/weight_net.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

static const cm_choice kinds[] = {
    {"none", "The loss has no adaptive weight."},
    {"linear", "A linear layer on cosines and sines of the time, trained with the network."},
    {"fourier", "EDM2's: a normalised row of weights on Fourier features of the time, trained with the network."},
    {NULL, NULL},
};
CM_CHOICE_LIST(cmi_weight_net_choices, "weight_nets", kinds);

#define PI 3.14159265358979323846

/* Streams beside those of images: numbers that no image has. */
enum { STREAM_FREQS, STREAM_PHASES, STREAM_VALUES };

static cm_stream stream(uint64_t seed, uint32_t draw)
{
    return (cm_stream){seed, UINT64_MAX, draw};
}

void cmi_weight_net_open(int32_t kind, int32_t features, uint64_t seed, cm_weight_net *net)
{
    const cm_stream freqs = stream(seed, STREAM_FREQS), phases = stream(seed, STREAM_PHASES);
    float normal[CM_WEIGHT_NET_FEATURES];
    double uniform[CM_WEIGHT_NET_FEATURES];
    memset(net, 0, sizeof *net);
    net->kind = kind;
    net->features = features;
    cmi_stream_normal(&freqs, (size_t)features, normal);
    cmi_stream_uniform(&phases, (size_t)features, uniform);
    for (int32_t i = 0, half = features / 2; i < features; i++) {
        if (kind == CM_WEIGHT_NET_FOURIER) {
            net->freqs[i] = 2 * PI * (double)normal[i];
            net->phases[i] = 2 * PI * uniform[i];
        } else {
            net->freqs[i] = pow(10000, -(double)(i % half) / (half - 1));
        }
    }
}

int32_t cmi_weight_net_size(const cm_weight_net *net)
{
    return net->kind == CM_WEIGHT_NET_NONE ? 0 : net->features + (net->kind == CM_WEIGHT_NET_LINEAR);
}

/* Linear layers as torch begins them, uniform within 1 / sqrt(inputs); EDM2's weights are unit normals. */
void cmi_weight_net_begin(const cm_weight_net *net, uint64_t seed, double *values)
{
    const cm_stream s = stream(seed, STREAM_VALUES);
    const size_t n = (size_t)cmi_weight_net_size(net);
    float normal[CM_WEIGHT_NET_MOST];
    if (net->kind == CM_WEIGHT_NET_FOURIER) cmi_stream_normal(&s, n, normal);
    else cmi_stream_uniform(&s, n, values);
    for (size_t i = 0; i < n; i++)
        values[i] = net->kind == CM_WEIGHT_NET_FOURIER ? (double)normal[i]
                                                       : (2 * values[i] - 1) / sqrt((double)net->features);
}

static double feature(const cm_weight_net *net, int32_t i, double t)
{
    if (net->kind == CM_WEIGHT_NET_FOURIER) return sqrt(2.0) * cos(t * net->freqs[i] + net->phases[i]);
    return i < net->features / 2 ? cos(t * net->freqs[i]) : sin(t * net->freqs[i]);
}

/* The divisor of a normalised row: 1e-4 and the root of its mean square; and that root. */
static double divisor(const cm_weight_net *net, const double *values, double *rms)
{
    double sum = 0;
    for (int32_t i = 0; i < net->features; i++) sum += values[i] * values[i];
    *rms = sqrt(sum / net->features);
    return 1e-4 + *rms;
}

static double product(const cm_weight_net *net, const double *values, double t)
{
    double sum = 0;
    for (int32_t i = 0; i < net->features; i++) sum += values[i] * feature(net, i, t);
    return sum;
}

double cmi_weight_net_value(const cm_weight_net *net, const double *values, double t)
{
    double rms;
    switch (net->kind) {
    case CM_WEIGHT_NET_LINEAR: return product(net, values, t) + values[net->features];
    case CM_WEIGHT_NET_FOURIER:
        return product(net, values, t) / (divisor(net, values, &rms) * sqrt((double)net->features));
    default: return 0;
    }
}

void cmi_weight_net_pull(const cm_weight_net *net, const double *values, double t, double share, double *gradient)
{
    const double n = net->features;
    if (net->kind == CM_WEIGHT_NET_LINEAR) {
        for (int32_t i = 0; i < net->features; i++) gradient[i] += share * feature(net, i, t);
        gradient[net->features] += share;
    } else if (net->kind == CM_WEIGHT_NET_FOURIER) {
        double rms;
        const double whole = divisor(net, values, &rms), scale = share / (whole * sqrt(n));
        const double along = rms > 0 ? product(net, values, t) / (whole * rms * n) : 0;
        for (int32_t i = 0; i < net->features; i++) gradient[i] += scale * (feature(net, i, t) - along * values[i]);
    }
}
