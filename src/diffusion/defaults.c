/* defaults.c - member "sampling" of a configuration, checked, and what stands in its place. */
#include "diffusion/defaults.h"

#include <string.h>

#include "diffusion/method.h"
#include "diffusion/schedule.h"
#include "nets/net.h"
#include "nets/published.h"

static const char what[] = "consistency.sampling";

#define AT(member) offsetof(cm_sampling_defaults, member)
enum { METHOD, FIELDS = 5 };
static const cm_field fields[FIELDS] = {
    {"method", CM_FIELD_CHOICE, AT(method), 0, 0, 0, NULL, 0},
    {"steps", CM_FIELD_INT, AT(steps), 0, 1, 1000000, NULL, 0},
    {"sigmas", CM_FIELD_NUMBERS, AT(sigmas), AT(n_sigmas), 0, CM_DEFAULT_LEVELS, NULL, 0},
    {"ts", CM_FIELD_INTS, AT(ts), AT(n_ts), 0, CM_DEFAULT_LEVELS + 1, NULL, 0},
    {"grid", CM_FIELD_INT, AT(grid), 0, 2, 1000000, NULL, 0},
};

static cm_status check_sigmas(const cm_sampling_defaults *d, const cm_precond *p)
{
    double low = cmi_precond_boundary(p);
    for (int32_t i = 0; i < d->n_sigmas; i++) {
        double s = d->sigmas[i];
        if (!(s > 0) || s < low || s > p->sigma_max * (1 + 1e-6))
            CM_FAIL(CM_ERR_FORMAT, "%s: sigmas[%d] is %g; this model's noise levels are in %s%g, %g]", what, i, s,
                    low > 0 ? "[" : "(", low, p->sigma_max);
        if (i && !(s < d->sigmas[i - 1]))
            CM_FAIL(CM_ERR_FORMAT, "%s: sigmas have to fall: sigmas[%d] is %g after %g", what, i, s,
                    d->sigmas[i - 1]);
    }
    return CM_OK;
}

static cm_status check_ts(const cm_sampling_defaults *d)
{
    if ((d->n_ts > 0) != (d->grid > 0)) CM_FAIL(CM_ERR_FORMAT, "%s: 'ts' and 'grid' belong together", what);
    if (d->n_ts && d->n_sigmas) CM_FAIL(CM_ERR_FORMAT, "%s: 'sigmas' and 'ts' say the same: one of them", what);
    if (d->n_ts == 1 || (d->n_ts && d->ts[0] != 0))
        CM_FAIL(CM_ERR_FORMAT, "%s: 'ts' has to begin with 0 and to have two entries or more", what);
    for (int32_t i = 0; i < d->n_ts; i++)
        if (d->ts[i] >= d->grid || (i && d->ts[i] <= d->ts[i - 1]))
            CM_FAIL(CM_ERR_FORMAT, "%s: ts have to rise strictly within 0..%d: ts[%d] is %d", what, d->grid - 1, i,
                    d->ts[i]);
    return CM_OK;
}

static cm_status read_member(const json_t *sampling, const cm_precond *precond, cm_sampling_defaults *out)
{
    enum { MOST = 16 };
    const char *names[MOST + 1] = {NULL};
    cm_field all[FIELDS];
    for (size_t i = 0; i < MOST && cmi_method_at(i); i++) names[i] = cmi_method_at(i)->name;
    memcpy(all, fields, sizeof all);
    all[METHOD].choices = names;
    CM_TRY(cmi_fields_read(what, sampling, all, FIELDS, out));
    CM_TRY(check_ts(out));
    return check_sigmas(out, precond);
}

/* Whether the file says that the model comes from consistency training, not
 * distillation: the published lists differ. */
static int trained_without_teacher(const json_t *config)
{
    const char *objective = json_string_value(json_object_get(json_object_get(config, "training"), "objective"));
    return objective && strcmp(objective, "ct") == 0;
}

static void take_published(const cm_published *p, cm_sampling_defaults *out)
{
    out->grid = p->grid;
    if (p->grid) {
        out->n_ts = 3;
        out->ts[1] = p->index;
        out->ts[2] = p->grid - 1;
    } else if (p->levels[1] > 0) {
        out->n_sigmas = 2;
        memcpy(out->sigmas, p->levels, sizeof p->levels);
    }
}

cm_status cmi_sampling_defaults_read(const json_t *config, const cm_net_config *net, const cm_precond *precond,
                                     int32_t side, cm_sampling_defaults *out)
{
    const json_t *sampling = json_object_get(config, "sampling");
    memset(out, 0, sizeof *out);
    if (sampling) return read_member(sampling, precond, out);
    const cm_published *p = cmi_published_find(trained_without_teacher(config) ? CM_PUBLISHED_CT : CM_PUBLISHED_CD,
                                               net->family->name, side, NULL);
    if (p && side) take_published(p, out);
    return CM_OK;
}

int32_t cmi_sampling_defaults_count(const cm_sampling_defaults *d)
{
    return d->n_ts ? d->n_ts - 1 : d->n_sigmas;
}

double cmi_sampling_defaults_level(const cm_sampling_defaults *d, int32_t i, double smin, double smax)
{
    if (d->n_ts) return i ? cmi_karras_sigma(d->ts[i], d->grid, smin, smax, 7) : smax;
    return d->sigmas[i] > 0 ? d->sigmas[i] : smax;
}
