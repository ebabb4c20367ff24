/* precond.c - the scalings of each family. */
#include "diffusion/precond.h"

#include <math.h>
#include <string.h>

#include "diffusion/schedule.h"
#include "nets/config.h"

static const char *const names[] = {"cm", "edm", "ecm", "vp", "ve", "iddpm", "trigflow", "none", NULL};
static const char *const times[] = {"default", "250ln", "ln/4", NULL};

#define AT(member) offsetof(cm_precond, member)
#define NUMBER(name, low, high)                                                                                      \
    {                                                                                                                \
#name, CM_FIELD_NUMBER, AT(name), 0, low, high, NULL, 0                                                      \
    }

enum { COMMON = 3 }; /* fields of every type: type, time, sigma_data */
static const cm_field fields[] = {
    {"type", CM_FIELD_CHOICE, AT(type), 0, 0, 0, names, 1},
    {"time", CM_FIELD_CHOICE, AT(time), 0, 0, 0, times, 0},
    NUMBER(sigma_data, 1e-6, 1e6),
    NUMBER(sigma_min, 0, 1e6),
    NUMBER(sigma_max, 1e-6, 1e9),
    NUMBER(beta_d, 1e-6, 1e6),
    NUMBER(beta_min, 0, 1e6),
    NUMBER(epsilon_t, 1e-12, 1),
    NUMBER(C_1, 0, 1),
    NUMBER(C_2, 0, 10),
    {"M", CM_FIELD_INT, AT(M), 0, 2, 1000000, NULL, 0},
};

static void set_defaults(cm_precond *p)
{
    p->sigma_data = 0.5;
    p->beta_d = 19.9;
    p->beta_min = 0.1;
    p->M = 1000;
    p->epsilon_t = 1e-5;
    p->C_1 = 0.001;
    p->C_2 = 0.008;
    p->sigma_min = p->sigma_max = -1; /* by type, below */
}

/* Beyond what writing a number into a file changes. */
static int differs(double a, double b)
{
    return fabs(a - b) > 1e-9 * b;
}

/* The range of noise levels the family was made for, where none is given. */
static void default_range(cm_precond *p)
{
    double low = 0.002, high = 80;
    if (p->type == CM_PRECOND_VP) {
        low = cm_vp_sigma(p->epsilon_t, p->beta_d, p->beta_min);
        high = cm_vp_sigma(1, p->beta_d, p->beta_min);
    } else if (p->type == CM_PRECOND_VE) {
        low = 0.02;
        high = 100;
    } else if (p->type == CM_PRECOND_IDDPM) {
        low = p->table[p->M - 1];
        high = p->table[0];
    }
    p->own_min = p->sigma_min >= 0 && differs(p->sigma_min, low);
    p->own_max = p->sigma_max >= 0 && differs(p->sigma_max, high);
    if (p->sigma_min < 0) p->sigma_min = low;
    if (p->sigma_max < 0) p->sigma_max = high;
}

static cm_status check_members(const json_t *object, int type)
{
    static const char *const only[][6] = {{"beta_d", "beta_min", "epsilon_t", NULL}, {"C_1", "C_2", NULL}};
    for (int family = 0; family < 2; family++)
        for (int i = 0; only[family][i]; i++)
            if (json_object_get(object, only[family][i]) && type != (family ? CM_PRECOND_IDDPM : CM_PRECOND_VP))
                CM_FAIL(CM_ERR_FORMAT, "consistency.precond: '%s' has no effect on type \"%s\"", only[family][i],
                        names[type]);
    if (json_object_get(object, "M") && type != CM_PRECOND_VP && type != CM_PRECOND_IDDPM)
        CM_FAIL(CM_ERR_FORMAT, "consistency.precond: 'M' has no effect on type \"%s\"", names[type]);
    const json_t *time = json_object_get(object, "time");
    if (time && !json_is_null(time) && type > CM_PRECOND_ECM)
        CM_FAIL(CM_ERR_FORMAT, "consistency.precond: 'time' has no effect on type \"%s\"", names[type]);
    return CM_OK;
}

cm_status cm_precond_read(cm_context *context, const json_t *object, int adm, cm_precond *p)
{
    static const char what[] = "consistency.precond";
    memset(p, 0, sizeof *p);
    p->context = context;
    set_defaults(p);
    CM_TRY(cm_fields_read(what, object, fields, sizeof fields / sizeof *fields, p));
    CM_TRY(check_members(object, p->type));
    if (p->type == CM_PRECOND_TRIGFLOW)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: type \"trigflow\" is not supported by this version", what);
    if (p->time == CM_TIME_DEFAULT) p->time = adm ? CM_TIME_250LN : CM_TIME_LN4;
    if (p->type == CM_PRECOND_IDDPM) {
        p->table = cm_calloc(context, (size_t)p->M + 1, sizeof *p->table);
        if (!p->table) return CM_ERR_MEMORY;
        cm_iddpm_table(p->M, p->C_1, p->C_2, p->table);
    }
    default_range(p);
    if (!(p->sigma_min < p->sigma_max)) {
        cm_precond_release(p);
        CM_FAIL(CM_ERR_FORMAT, "%s: sigma_min %g is not below sigma_max %g", what, p->sigma_min, p->sigma_max);
    }
    return CM_OK;
}

void cm_precond_release(cm_precond *precond)
{
    if (precond->context) cm_free(precond->context, precond->table);
    precond->table = NULL;
}

static cm_scalings edm_scalings(const cm_precond *p, double s)
{
    double d = p->sigma_data, v = s * s + d * d;
    cm_scalings out = {1 / sqrt(v), d * d / v, s * d / sqrt(v), 0};
    /* 1e-44 guards s = 0 as the reference does: a float32 denormal there. */
    out.c_noise = p->time == CM_TIME_250LN ? 250 * log(s + 1e-44) : 0.25 * log(s);
    return out;
}

cm_scalings cm_precond_scalings(const cm_precond *p, double s)
{
    cm_scalings out;
    switch (p->type) {
    case CM_PRECOND_VP:
        out = (cm_scalings){1 / sqrt(s * s + 1), 1, -s, (p->M - 1) * cm_vp_sigma_inverse(s, p->beta_d, p->beta_min)};
        return out;
    case CM_PRECOND_VE: out = (cm_scalings){1, 1, s, log(0.5 * s)}; return out;
    case CM_PRECOND_IDDPM:
        out = (cm_scalings){1 / sqrt(s * s + 1), 1, -s, p->M - 1 - cm_iddpm_nearest(p->table, p->M, s)};
        return out;
    case CM_PRECOND_NONE: out = (cm_scalings){1, 0, 1, s}; return out;
    case CM_PRECOND_CM: {
        double d = p->sigma_data, above = s - p->sigma_min;
        out = edm_scalings(p, s);
        out.c_skip = d * d / (above * above + d * d);
        out.c_out = above * d / sqrt(s * s + d * d); /* the root keeps plain sigma */
        return out;
    }
    default: return edm_scalings(p, s);
    }
}

const char *cm_precond_name(const cm_precond *precond)
{
    return names[precond->type];
}

int cm_precond_is_consistency(const cm_precond *precond)
{
    return precond->type == CM_PRECOND_CM || precond->type == CM_PRECOND_ECM;
}

double cm_precond_boundary(const cm_precond *precond)
{
    return precond->type == CM_PRECOND_CM ? precond->sigma_min : 0;
}
