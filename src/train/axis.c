/* axis.c - see the header. */
#include "train/axis.h"

#include <math.h>

#include "nets/net.h"

double cmi_trig_sigma(double sigma_data, double t)
{
    return sigma_data * tan(t);
}

int cmi_axis_is_plain(const cm_precond *p, double sigma_data)
{
    return p->sigma_data == sigma_data && (p->kind->trigflow || (p->kind->edm_input && !(p->boundary > 0)));
}

static cm_scalings trig_scalings(const cm_precond *p, double sigma_data, double t)
{
    const double c = cos(t), s = sin(t);
    const cm_scalings own = cmi_precond_scalings(p, cmi_trig_sigma(sigma_data, t));
    if (cmi_axis_is_plain(p, sigma_data)) return (cm_scalings){1, 0, p->kind->trigflow ? 1 : -1, own.c_noise};
    return (cm_scalings){own.c_in * sigma_data / c, (c - own.c_skip / c) / s, -own.c_out / (sigma_data * s),
                         own.c_noise};
}

/* d sigma / dt = sigma_data / cos^2 t, so that ln sigma has the slope 1 / (sin t cos t). */
static cm_scalings trig_slopes(const cm_precond *p, double t)
{
    const double share = p->time == CM_TIME_250LN ? 250 : 0.25;
    return (cm_scalings){0, 0, 0, p->kind->trigflow ? 1 : share / (sin(t) * cos(t))};
}

cm_scalings cmi_axis_scalings(cm_objective_axis axis, const cm_precond *p, double sigma_data, double t)
{
    switch (axis) {
    case CM_AXIS_TRIG: return trig_scalings(p, sigma_data, t);
    case CM_AXIS_RAW: return (cm_scalings){1, 0, 1, t};
    default: return cmi_precond_scalings(p, t);
    }
}

cm_scalings cmi_axis_slopes(cm_objective_axis axis, const cm_precond *p, double t)
{
    switch (axis) {
    case CM_AXIS_TRIG: return trig_slopes(p, t);
    case CM_AXIS_RAW: return (cm_scalings){0, 0, 0, 1};
    default: return cmi_precond_slopes(p, t);
    }
}
