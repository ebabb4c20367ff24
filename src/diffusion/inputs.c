/* inputs.c - see the header. */
#include "diffusion/inputs.h"

#include <string.h>

#include "tensor/convert.h"

static size_t pixels(const cm_model *m)
{
    return (size_t)m->height * (size_t)m->width;
}

double cmi_inputs_level(double sigma)
{
    return (double)(float)sigma;
}

cm_precond cmi_inputs_precond(const cm_precond *precond)
{
    cm_precond rounded = *precond;
    rounded.sigma_min = cmi_inputs_level(precond->sigma_min);
    rounded.boundary = cmi_inputs_level(precond->boundary);
    return rounded;
}

double cmi_inputs_second(const cm_precond *precond, double sigma)
{
    const double least = precond->kind->second_from_min ? precond->sigma_min : 0;
    if (!precond->kind->two_times) return precond->kind->raw ? sigma : 0;
    return cmi_precond_scalings(precond, cmi_inputs_level(sigma > least ? sigma : least)).c_noise;
}

double cmi_inputs_second_slope(const cm_precond *precond, double sigma)
{
    if (precond->kind->second_from_min && sigma < precond->sigma_min) return 0;
    return cmi_precond_slopes(precond, cmi_inputs_level(sigma)).c_noise;
}

static void write_number(cm_exec *exec, int input, size_t k, double value)
{
    ((float *)cmi_exec_input(exec, input))[k] = (float)value;
}

/* What the network is told of its second time, or the tangent of that. */
static double told_of_second(const cm_model *m, double first, double second)
{
    return m->net.time_factor * (m->net.second_input == CM_SECOND_INTERVAL ? first - second : second);
}

/* Zeros stand for no guidance over all times: 1 - 1/w, the first time and how far the last is from 1. */
static void write_guidance(const cm_model *m, const double *guidance, cm_exec *exec, size_t k)
{
    const size_t n = m->net.conditions ? (size_t)m->net.conditions : 1; /* one unused number without */
    float *told = (float *)cmi_exec_input(exec, CM_IN_TOLD) + k * n;
    memset(told, 0, n * sizeof *told);
    if (!m->net.conditions || !guidance) return;
    told[0] = (float)(1 - 1 / guidance[0]), told[1] = (float)guidance[1], told[2] = (float)(1 - guidance[2]);
}

void cmi_inputs_write(const cm_model *m, const cm_precond *precond, const cm_inputs *in, cm_exec *exec, size_t k)
{
    const cm_scalings s = cmi_precond_scalings(precond, cmi_inputs_level(in->sigma));
    cmi_inputs_write_scaled(m, &s, in, exec, k);
}

void cmi_inputs_write_scaled(const cm_model *m, const cm_scalings *s, const cm_inputs *in, cm_exec *exec, size_t k)
{
    const size_t values = pixels(m) * (size_t)m->channels;
    const size_t dim = (size_t)m->net.augment_dim, size = dim ? dim : 1; /* one unused number without */
    float *augment = (float *)cmi_exec_input(exec, CM_IN_AUGMENT) + k * size;
    cmi_planes_to_channels_last(m->channels, pixels(m), in->x, (float *)cmi_exec_input(exec, CM_IN_X) + k * values);
    write_number(exec, CM_IN_C_IN, k, s->c_in);
    write_number(exec, CM_IN_C_SKIP, k, s->c_skip);
    write_number(exec, CM_IN_C_OUT, k, s->c_out);
    write_number(exec, CM_IN_TIME, k, m->net.time_factor * s->c_noise);
    write_number(exec, CM_IN_SECOND, k, told_of_second(m, s->c_noise, in->second));
    write_guidance(m, in->guidance, exec, k);
    ((int32_t *)cmi_exec_input(exec, CM_IN_LABEL))[k] = in->label;
    if (dim && in->augment) memcpy(augment, in->augment, dim * sizeof *augment);
    else memset(augment, 0, size * sizeof *augment);
}

/* --- tangents ------------------------------------------------------------------- */

cm_inputs_tangent cmi_inputs_tangent(const cm_precond *precond, double sigma, const double *x_tangent,
                                     double sigma_tangent)
{
    cm_inputs_tangent t = {x_tangent, {0, 0, 0, 0}, 0};
    if (sigma_tangent == 0) return t; /* slopes may be infinite */
    const cm_scalings slope = cmi_precond_slopes(precond, cmi_inputs_level(sigma));
    t.scalar = (cm_scalings){slope.c_in * sigma_tangent, slope.c_skip * sigma_tangent, slope.c_out * sigma_tangent,
                             slope.c_noise * sigma_tangent};
    return t;
}

static void write_tangent(cm_exec *exec, int input, size_t k, double value)
{
    float *to = cmi_exec_tangent_input(exec, input);
    if (to) to[k] = (float)value;
}

void cmi_inputs_write_tangent(const cm_model *m, const cm_inputs_tangent *t, cm_exec *exec, size_t k)
{
    const size_t values = pixels(m) * (size_t)m->channels;
    float *x = cmi_exec_tangent_input(exec, CM_IN_X);
    if (x && t->x) cmi_planes_to_channels_last(m->channels, pixels(m), t->x, x + k * values);
    else if (x) memset(x + k * values, 0, values * sizeof *x);
    write_tangent(exec, CM_IN_C_IN, k, t->scalar.c_in);
    write_tangent(exec, CM_IN_C_SKIP, k, t->scalar.c_skip);
    write_tangent(exec, CM_IN_C_OUT, k, t->scalar.c_out);
    write_tangent(exec, CM_IN_TIME, k, m->net.time_factor * t->scalar.c_noise);
    write_tangent(exec, CM_IN_SECOND, k, told_of_second(m, t->scalar.c_noise, t->second));
}

/* --- outputs -------------------------------------------------------------------- */

static int32_t channels_of(const cm_model *m, int output)
{
    return output == CM_OUT_F ? m->net.out_channels : m->out_channels;
}

static void read_image(const cm_model *m, int output, const float *values, size_t k, double *planes)
{
    const int32_t channels = channels_of(m, output);
    cmi_channels_last_to_planes(channels, pixels(m), values + k * pixels(m) * (size_t)channels, planes);
}

void cmi_outputs_read(const cm_model *m, int output, const cm_exec *exec, size_t k, double *planes)
{
    read_image(m, output, cmi_exec_output(exec, output), k, planes);
}

void cmi_tangent_read(const cm_model *m, int output, const cm_exec *exec, size_t k, double *planes)
{
    read_image(m, output, cmi_exec_tangent_output(exec, output), k, planes);
}

static void write_cotangent(const cm_model *m, int output, const double *planes, float *block, size_t k)
{
    const int32_t channels = channels_of(m, output);
    const size_t values = pixels(m) * (size_t)channels;
    if (planes) cmi_planes_to_channels_last(channels, pixels(m), planes, block + k * values);
    else memset(block + k * values, 0, values * sizeof *block);
}

void cmi_cotangent_write(const cm_model *m, int output, const double *planes, cm_exec *exec, size_t k)
{
    write_cotangent(m, output, planes, cmi_exec_cotangent(exec), k);
}

void cmi_tangent_cotangent_write(const cm_model *m, int output, const double *planes, cm_exec *exec, size_t k)
{
    write_cotangent(m, output, planes, cmi_exec_tangent_cotangent(exec), k);
}
