/* precond.c - a row for each kind of preconditioning: its scalings and its range. */
#include "diffusion/precond.h"

#include <math.h>
#include <string.h>

#include "diffusion/schedule.h"
#include "nets/net.h"

/* --- scalings --------------------------------------------------------------------- */

static cm_scalings edm_scalings(const cm_precond *p, double s)
{
    double d = p->sigma_data, v = s * s + d * d;
    cm_scalings out = {1 / sqrt(v), d * d / v, s * d / sqrt(v), 0};
    /* 1e-44 guards s = 0 as the reference does: a float32 denormal there. */
    out.c_noise = p->time == CM_TIME_250LN ? 250 * log(s + 1e-44) : 0.25 * log(s);
    return out;
}

/* The identity at `boundary`. */
static cm_scalings bounded_scalings(const cm_precond *p, double s, double boundary)
{
    double d = p->sigma_data, above = s - boundary;
    cm_scalings out = edm_scalings(p, s);
    out.c_skip = d * d / (above * above + d * d);
    out.c_out = above * d / sqrt(s * s + d * d); /* the root keeps plain sigma */
    return out;
}

static cm_scalings consistency_scalings(const cm_precond *p, double s)
{
    return bounded_scalings(p, s, p->sigma_min);
}

static cm_scalings ecm_scalings(const cm_precond *p, double s)
{
    return p->boundary > 0 ? bounded_scalings(p, s, p->boundary) : edm_scalings(p, s);
}

/* F(x_t / sigma_data, t) of x_t = cos(t) x at t = arctan(sigma / sigma_data); D = cos(t) x_t - sin(t) sigma_data F.
 */
static cm_scalings trigflow_scalings(const cm_precond *p, double s)
{
    cm_scalings out = edm_scalings(p, s);
    out.c_out = -out.c_out;
    out.c_noise = atan(s / p->sigma_data);
    return out;
}

static cm_scalings vp_scalings(const cm_precond *p, double s)
{
    return (cm_scalings){1 / sqrt(s * s + 1), 1, -s, (p->M - 1) * cmi_vp_sigma_inverse(s, p->beta_d, p->beta_min)};
}

static cm_scalings ve_scalings(const cm_precond *p, double s)
{
    (void)p;
    return (cm_scalings){1, 1, s, log(0.5 * s)};
}

static cm_scalings iddpm_scalings(const cm_precond *p, double s)
{
    return (cm_scalings){1 / sqrt(s * s + 1), 1, -s, p->M - 1 - cmi_iddpm_nearest(p->table, p->M, s)};
}

/* u(x_t; t, r) of x_t = (1 - t) x0 + t z at r = 0, t = sigma / (1 + sigma); D = x_t - t u. */
static cm_scalings velocity_scalings(const cm_precond *p, double s)
{
    (void)p;
    return (cm_scalings){1 / (1 + s), 1 / (1 + s), -s / (1 + s), s / (1 + s)};
}

/* F(x_t; t, r) of x_t = (1 - t) x0 + t sigma_data z, so that t = sigma / (sigma_data + sigma).  With n = sigma /
 * sigma_data the point of another level m sigma_data is (1 + n m) / (1 + n^2) x - sigma_data (n - m) / sqrt(1 + n^2)
 * F on the axis of sigma, which D extends to m = 0. */
static cm_scalings imm_scalings(const cm_precond *p, double s)
{
    cm_scalings out = edm_scalings(p, s);
    out.c_out = -out.c_out;
    out.c_noise = s / (p->sigma_data + s);
    return out;
}

static cm_scalings no_scalings(const cm_precond *p, double s)
{
    (void)p;
    return (cm_scalings){1, 0, 1, s};
}

/* --- and their slopes over sigma ----------------------------------------------------- */

static cm_scalings edm_slopes(const cm_precond *p, double s)
{
    const double d = p->sigma_data, q = s * s + d * d, root = sqrt(q);
    const double share = p->time == CM_TIME_250LN ? 250 : 0.25;
    return (cm_scalings){-s / (q * root), -2 * s * d * d / (q * q), d * d * d / (q * root), share / s};
}

static cm_scalings bounded_slopes(const cm_precond *p, double s, double boundary)
{
    const double d = p->sigma_data, above = s - boundary, q = s * s + d * d, v = above * above + d * d;
    cm_scalings out = edm_slopes(p, s);
    out.c_skip = -2 * above * d * d / (v * v);
    out.c_out = d * (d * d + s * boundary) / (q * sqrt(q));
    return out;
}

static cm_scalings consistency_slopes(const cm_precond *p, double s)
{
    return bounded_slopes(p, s, p->sigma_min);
}

static cm_scalings ecm_slopes(const cm_precond *p, double s)
{
    return p->boundary > 0 ? bounded_slopes(p, s, p->boundary) : edm_slopes(p, s);
}

static cm_scalings trigflow_slopes(const cm_precond *p, double s)
{
    cm_scalings out = edm_slopes(p, s);
    out.c_out = -out.c_out;
    out.c_noise = p->sigma_data / (s * s + p->sigma_data * p->sigma_data);
    return out;
}

/* Of 1 / sqrt(s^2 + 1). */
static double variance_slope(double s)
{
    return -s / ((s * s + 1) * sqrt(s * s + 1));
}

static cm_scalings vp_slopes(const cm_precond *p, double s)
{
    const double t = cmi_vp_sigma_inverse(s, p->beta_d, p->beta_min);
    return (cm_scalings){variance_slope(s), 0, -1, (p->M - 1) / cmi_vp_sigma_slope(t, p->beta_d, p->beta_min)};
}

static cm_scalings ve_slopes(const cm_precond *p, double s)
{
    (void)p;
    return (cm_scalings){0, 0, 1, 1 / s};
}

/* The level's own number is a step function. */
static cm_scalings iddpm_slopes(const cm_precond *p, double s)
{
    (void)p;
    return (cm_scalings){variance_slope(s), 0, -1, 0};
}

static cm_scalings velocity_slopes(const cm_precond *p, double s)
{
    const double slope = 1 / ((1 + s) * (1 + s));
    (void)p;
    return (cm_scalings){-slope, -slope, -slope, slope};
}

static cm_scalings imm_slopes(const cm_precond *p, double s)
{
    cm_scalings out = edm_slopes(p, s);
    out.c_out = -out.c_out;
    out.c_noise = p->sigma_data / ((p->sigma_data + s) * (p->sigma_data + s));
    return out;
}

static cm_scalings no_slopes(const cm_precond *p, double s)
{
    (void)p, (void)s;
    return (cm_scalings){0, 0, 0, 1};
}

/* --- ranges ----------------------------------------------------------------------- */

static void edm_range(const cm_precond *p, double *low, double *high)
{
    (void)p;
    *low = 0.002;
    *high = 80;
}

static void vp_range(const cm_precond *p, double *low, double *high)
{
    *low = cmi_vp_sigma(p->epsilon_t, p->beta_d, p->beta_min);
    *high = cmi_vp_sigma(1, p->beta_d, p->beta_min);
}

static void ve_range(const cm_precond *p, double *low, double *high)
{
    (void)p;
    *low = 0.02;
    *high = 100;
}

static void iddpm_range(const cm_precond *p, double *low, double *high)
{
    *low = p->table[p->M - 1];
    *high = p->table[0];
}

/* Up to a level where t is 1 in float32. */
static void velocity_range(const cm_precond *p, double *low, double *high)
{
    (void)p;
    *low = 0.002;
    *high = 1e8;
}

/* From t 0.006 to 0.994. */
static void imm_range(const cm_precond *p, double *low, double *high)
{
    *low = p->sigma_data * 0.006 / 0.994;
    *high = p->sigma_data * 0.994 / 0.006;
}

/* --- rows ------------------------------------------------------------------------- */

static const char *const edm_members[] = {"time", NULL};
static const char *const ecm_members[] = {"time", "boundary", NULL};
static const char *const vp_members[] = {"beta_d", "beta_min", "epsilon_t", "M", NULL};
static const char *const iddpm_members[] = {"C_1", "C_2", "M", NULL};
static const char *const no_members[] = {NULL};

static const cm_precond_kind kinds[] = {
    {.name = "cm",
     .about = "a consistency function with its boundary at sigma_min (Song et al. 2023)",
     .members = edm_members,
     .scalings = consistency_scalings,
     .slopes = consistency_slopes,
     .range = edm_range,
     .scheduler = "CMStochasticIterativeScheduler",
     .is_consistency = 1,
     .bounded = 1,
     .clip = 1,
     .trainable = 1},
    {.name = "edm",
     .about = "a diffusion model of Karras et al. 2022",
     .members = edm_members,
     .scalings = edm_scalings,
     .slopes = edm_slopes,
     .range = edm_range,
     .edm_input = 1,
     .any_level = 1,
     .clip = 1,
     .trainable = 1},
    {.name = "ecm",
     .about = "a consistency function with the scalings of EDM and its boundary at 0 (Geng et al. 2024)",
     .members = ecm_members,
     .scalings = ecm_scalings,
     .slopes = ecm_slopes,
     .range = edm_range,
     .edm_input = 1,
     .is_consistency = 1,
     .identity_at_0 = 1,
     .any_level = 1,
     .trainable = 1},
    {.name = "vp",
     .about = "the variance-preserving diffusion of Song et al. 2021 (DDPM++)",
     .members = vp_members,
     .scalings = vp_scalings,
     .slopes = vp_slopes,
     .range = vp_range,
     .clip = 1},
    {.name = "ve",
     .about = "the variance-exploding diffusion of Song et al. 2021 (NCSN++)",
     .members = no_members,
     .scalings = ve_scalings,
     .slopes = ve_slopes,
     .range = ve_range,
     .unit_input = 1,
     .clip = 1},
    {.name = "iddpm",
     .about = "the discrete levels of Nichol and Dhariwal 2021, as used by ADM",
     .members = iddpm_members,
     .scalings = iddpm_scalings,
     .slopes = iddpm_slopes,
     .range = iddpm_range,
     .table = "u",
     .variances = 1,
     .clip = 1},
    {.name = "trigflow",
     .about = "a consistency function in TrigFlow's form, the identity at 0 (Lu and Song 2024)",
     .members = no_members,
     .scalings = trigflow_scalings,
     .slopes = trigflow_slopes,
     .range = edm_range,
     .trigflow = 1,
     .is_consistency = 1,
     .identity_at_0 = 1,
     .any_level = 1,
     .trainable = 1},
    {.name = "trigflow-edm",
     .about = "a diffusion model in TrigFlow's form (Lu and Song 2024)",
     .members = no_members,
     .scalings = trigflow_scalings,
     .slopes = trigflow_slopes,
     .range = edm_range,
     .trigflow = 1,
     .any_level = 1,
     .clip = 1,
     .trainable = 1},
    {.name = "average-velocity",
     .about = "the mean velocity from a time down to another, 0 in D (MeanFlow, SoFlow)",
     .members = no_members,
     .scalings = velocity_scalings,
     .slopes = velocity_slopes,
     .range = velocity_range,
     .two_times = 1,
     .second_head = 1,
     .is_consistency = 1,
     .identity_at_0 = 1,
     .any_level = 1,
     .trainable = 1},
    {.name = "imm",
     .about = "a jump from a time down to another, in D to the data (IMM; Zhou et al. 2025)",
     .members = no_members,
     .scalings = imm_scalings,
     .slopes = imm_slopes,
     .range = imm_range,
     .two_times = 1,
     .second_from_min = 1,
     .is_consistency = 1,
     .identity_at_0 = 1,
     .any_level = 1},
    {.name = "edm-flow",
     .about = "the mean slope of x0 + sigma z from a level down to another, in EDM's form (FastGen's two times)",
     .members = edm_members,
     .scalings = edm_scalings,
     .slopes = edm_slopes,
     .range = edm_range,
     .two_times = 1,
     .second_from_min = 1,
     .is_consistency = 1,
     .identity_at_0 = 1,
     .any_level = 1},
    {.name = "none",
     .about = "the network itself; it can be evaluated, not sampled from",
     .members = no_members,
     .scalings = no_scalings,
     .slopes = no_slopes,
     .range = edm_range,
     .unit_input = 1,
     .raw = 1,
     .clip = 1},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

const cm_precond_kind *cmi_precond_kind_at(size_t index)
{
    return index < KINDS ? &kinds[index] : NULL;
}

const cm_precond_kind *cmi_precond_kind_find(const char *name)
{
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(name, kinds[i].name) == 0) return &kinds[i];
    return NULL;
}

/* --- the configuration ------------------------------------------------------------ */

static const char *const times[] = {"default", "250ln", "ln/4", NULL};

#define AT(member) offsetof(cm_precond, member)
#define NUMBER(name, low, high)                                                                                      \
    {                                                                                                                \
#name, CM_FIELD_NUMBER, AT(name), 0, low, high, NULL, 0                                                      \
    }

/* Members that every kind reads; those after them are only for kinds whose row lists them. */
enum { TYPE, COMMON = 4 };
static const cm_field fields[] = {
    {"type", CM_FIELD_CHOICE, AT(index), 0, 0, 0, NULL, 1},
    NUMBER(sigma_data, 1e-6, 1e6),
    NUMBER(sigma_min, 0, 1e6),
    NUMBER(sigma_max, 1e-6, 1e9),
    {"time", CM_FIELD_CHOICE, AT(time), 0, 0, 0, times, 0},
    NUMBER(boundary, 0, 1),
    NUMBER(beta_d, 1e-6, 1e6),
    NUMBER(beta_min, 0, 1e6),
    NUMBER(epsilon_t, 1e-12, 1),
    NUMBER(C_1, 0, 1),
    NUMBER(C_2, 0, 10),
    {"M", CM_FIELD_INT, AT(M), 0, 2, 1000000, NULL, 0},
};
enum { FIELDS = sizeof fields / sizeof *fields };

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

static void default_range(cm_precond *p)
{
    double low, high;
    p->kind->range(p, &low, &high);
    p->sets_min = p->sigma_min >= 0 && differs(p->sigma_min, low);
    p->sets_max = p->sigma_max >= 0 && differs(p->sigma_max, high);
    if (p->sigma_min < 0) p->sigma_min = low;
    if (p->sigma_max < 0) p->sigma_max = high;
}

static int reads(const cm_precond_kind *kind, const char *member)
{
    int i = 0;
    while (kind->members[i] && strcmp(member, kind->members[i]) != 0) i++;
    return kind->members[i] != NULL;
}

static cm_status check_members(const json_t *object, const cm_precond_kind *kind)
{
    for (size_t i = COMMON; i < FIELDS; i++) {
        const json_t *value = json_object_get(object, fields[i].name);
        if (value && !json_is_null(value) && !reads(kind, fields[i].name))
            CM_FAIL(CM_ERR_FORMAT, "consistency.precond: '%s' has no effect on type \"%s\"", fields[i].name,
                    kind->name);
    }
    return CM_OK;
}

/* The members as the file has them. */
static cm_status read_members(const char *what, const json_t *object, cm_precond *p)
{
    const char *names[KINDS + 1] = {NULL};
    cm_field all[FIELDS];
    for (size_t i = 0; i < KINDS; i++) names[i] = kinds[i].name;
    memcpy(all, fields, sizeof all);
    all[TYPE].choices = names;
    CM_TRY(cmi_fields_read(what, object, all, FIELDS, p));
    p->kind = &kinds[p->index];
    return check_members(object, p->kind);
}

cm_status cmi_precond_read(cm_context *context, const json_t *object, int32_t time, cm_precond *p)
{
    static const char what[] = "consistency.precond";
    memset(p, 0, sizeof *p);
    p->context = context;
    set_defaults(p);
    CM_TRY(read_members(what, object, p));
    if (!p->kind->scalings)
        CM_FAIL(CM_ERR_UNSUPPORTED, "%s: type \"%s\" is not supported by this version", what, p->kind->name);
    if (p->time == CM_TIME_DEFAULT) p->time = time;
    if (p->kind->table) {
        p->table = cmi_calloc(context, (size_t)p->M + 1, sizeof *p->table);
        if (!p->table) return CM_ERR_MEMORY;
        cmi_iddpm_table(p->M, p->C_1, p->C_2, p->table);
    }
    default_range(p);
    if (!(p->sigma_min < p->sigma_max)) {
        cmi_precond_release(p);
        CM_FAIL(CM_ERR_FORMAT, "%s: sigma_min %g is not below sigma_max %g", what, p->sigma_min, p->sigma_max);
    }
    return CM_OK;
}

void cmi_precond_release(cm_precond *precond)
{
    if (precond->context) cmi_free(precond->context, precond->table);
    precond->table = NULL;
}

cm_scalings cmi_precond_scalings(const cm_precond *precond, double sigma)
{
    return precond->kind->scalings(precond, sigma);
}

cm_scalings cmi_precond_slopes(const cm_precond *precond, double sigma)
{
    return precond->kind->slopes(precond, sigma);
}

const char *cmi_precond_name(const cm_precond *precond)
{
    return precond->kind->name;
}

int cmi_precond_is_consistency(const cm_precond *precond)
{
    return precond->kind->is_consistency;
}

double cmi_precond_boundary(const cm_precond *precond)
{
    return precond->kind->bounded ? precond->sigma_min : 0;
}
