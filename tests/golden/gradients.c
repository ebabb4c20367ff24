/* gradients.c - grad.x, grad.param.* and grad_proj of golden/networks: one image
 * at a time through a plan in mode TRAIN, summed over the batch in double. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/fill.h"
#include "../support/probe.h"
#include "diffusion/inputs.h"
#include "nets/fold.h"
#include "networks.h"
#include "tensor/convert.h"

typedef struct {
    cm_model *m;
    cm_precond precond; /* with sigma_min as float32, as the denoiser takes it */
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    cm_unpacking *unpacking;
    size_t *offsets;
    float *plain;   /* one image's parameter gradients */
    float *values;  /* of parameters, where others follow from them and only these run; or NULL */
    double *sum;    /* of all images                   */
    double *grad_x; /* n x C x H x W                   */
    size_t floats;
    const gradient_direction *along; /* or NULL */
} backward;

static void backward_free(backward *b)
{
    cmi_unpacking_free(b->unpacking);
    cmi_exec_free(b->exec);
    cmi_weights_free(b->weights);
    cmi_plan_free(b->plan);
    fill_model_free(b->m);
    free(b->offsets), free(b->plain), free(b->values), free(b->sum), free(b->grad_x);
}

/* In a block of all parameters of the graph that runs. */
static cm_status copy_values(backward *b)
{
    const cm_graph *g = b->m->inference;
    b->values = calloc(b->floats, sizeof *b->values);
    if (!b->values) CM_FAIL(CM_ERR_MEMORY, "out of memory");
    for (int i = 0; i < b->m->graph->n_params; i++)
        memcpy(b->values + b->offsets[i], fill_param(b->m, i), cmi_param_elements(&g->params[i]) * sizeof *b->values);
    return CM_OK;
}

/* Gradients of what follows from the file's parameters become gradients of these. */
static cm_status unfold(const backward *b)
{
    const cm_graph *g = b->m->inference;
    size_t *offsets = calloc((size_t)g->n_params, sizeof *offsets);
    void *scratch = malloc(cmi_fold_scratch_bytes(g));
    cm_status status = offsets && scratch ? CM_OK : CM_ERR_MEMORY;
    if (offsets) (void)cmi_param_offsets(g, offsets);
    for (int k = 0; k < cmi_fold_pieces(g) && status == CM_OK; k++)
        status = cmi_fold_gradients(g, offsets, k, b->values, b->plain, scratch);
    free(offsets), free(scratch);
    return status;
}

static cm_status open_backward(const golden_file *f, const net_case *c, const json_t *precond, const inputs *in,
                               const double *table, backward *b)
{
    cm_plan_options options = {
        .slice = 1, .threads = 1, .share = 1, .mode = CM_MODE_TRAIN, .output = CM_OUT_D, .inputs = 1u << CM_IN_X};
    if (b->along) {
        options.mode = CM_MODE_TRAIN_JVP;
        options.inputs = options.tangents =
            b->along->second ? CM_TANGENT_X | 1 << CM_IN_TIME | CM_TANGENT_SECOND : CM_TANGENT_X | CM_TANGENT_SIGMA;
    }
    b->m = fill_model(f->context, c->network, precond, in->h, in->w, c->family == FLAX, c->fill, c->seed);
    if (!b->m) return CM_ERR_INTERNAL;
    if (table && b->m->precond.table)
        memcpy(b->m->precond.table, table, ((size_t)b->m->precond.M + 1) * sizeof *table);
    b->precond = cmi_inputs_precond(&b->m->precond);
    const cm_graph *graph = b->m->net.family->unit_rows ? b->m->inference : b->m->graph;
    b->offsets = calloc((size_t)graph->n_params, sizeof *b->offsets);
    if (!b->offsets) CM_FAIL(CM_ERR_MEMORY, "out of memory");
    b->floats = cmi_param_offsets(graph, b->offsets);
    if (graph == b->m->inference) CM_TRY(copy_values(b));
    b->floats = cmi_param_offsets(b->m->graph, b->offsets); /* the same places, without what follows */
    b->sum = calloc(b->floats, sizeof *b->sum);
    b->grad_x = calloc(in->n * (size_t)in->h * (size_t)in->w * (size_t)in->channels, sizeof *b->grad_x);
    if (!b->sum || !b->grad_x) CM_FAIL(CM_ERR_MEMORY, "out of memory");
    /* Every second case computes its activations again instead of keeping them. */
    if (c->seed % 2) options.recompute = 5;
    CM_TRY(cmi_plan_create(graph, &options, &b->plan));
    CM_TRY(cmi_weights_create(b->plan, b->m->params, &b->weights));
    CM_TRY(cmi_exec_create(b->plan, &b->exec));
    probe_poison(b->exec);
    b->plain = calloc(cmi_plan_gradient_floats(b->plan), sizeof *b->plain);
    return b->plain ? cmi_unpacking_create(b->plan, 1, &b->unpacking) : CM_ERR_MEMORY;
}

/* d/dsigma of what the network is told of it, and of the tangents of that. */
static double by_sigma(const backward *b, double sigma, double moves)
{
    static const int input[4] = {CM_IN_C_IN, CM_IN_C_SKIP, CM_IN_C_OUT, CM_IN_TIME};
    const double h = 1e-5 * sigma;
    double slope[3][4], sum = 0;
    for (int i = -1; i < 2; i++) {
        const cm_scalings s = cmi_precond_slopes(&b->precond, sigma + i * h);
        const double all[4] = {s.c_in, s.c_skip, s.c_out, s.c_noise};
        memcpy(slope[i + 1], all, sizeof all);
    }
    for (int k = 0; k < 4; k++) {
        sum += (double)*cmi_exec_input_gradient(b->exec, input[k]) * slope[1][k];
        sum += (double)*cmi_exec_input_tangent_gradient(b->exec, input[k]) * (slope[2][k] - slope[0][k]) / (2 * h) *
               moves;
    }
    return sum;
}

static void write_direction(backward *b, const inputs *in, size_t i)
{
    const size_t per = (size_t)in->h * (size_t)in->w * (size_t)in->channels;
    const double level = cmi_inputs_level(in->sigma[i]);
    cm_inputs_tangent t = cmi_inputs_tangent(&b->precond, level, b->along->x + i * per, b->along->sigma[i]);
    if (b->along->second) t.second = b->along->second[i];
    cmi_inputs_write_tangent(b->m, &t, b->exec, 0);
}

/* The gradient of D, or 0 and that of its tangent. */
static void write_cotangent(backward *b, const double *cotangent)
{
    const size_t pixels = (size_t)b->m->height * (size_t)b->m->width;
    if (!b->along) {
        cmi_cotangent_write(b->m, CM_OUT_D, cotangent, b->exec, 0);
        return;
    }
    memset(cmi_exec_cotangent(b->exec), 0, pixels * (size_t)b->m->out_channels * sizeof(float));
    cmi_planes_to_channels_last(b->m->out_channels, pixels, cotangent, cmi_exec_tangent_cotangent(b->exec));
}

static cm_status run_image(backward *b, const inputs *in, const double *x, const double *cotangent, size_t i)
{
    size_t pixels = (size_t)in->h * (size_t)in->w, per = pixels * (size_t)in->channels;
    size_t out = (size_t)b->m->out_channels * pixels, dim = (size_t)b->m->net.augment_dim;
    const cm_inputs image = {x + i * per,
                             in->sigma[i],
                             in->labels ? in->labels[i] : -1,
                             in->augment ? in->augment + i * dim : NULL,
                             in->second ? in->second[i] : 0,
                             NULL};
    cmi_inputs_write(b->m, &b->precond, &image, b->exec, 0);
    if (b->along) write_direction(b, in, i);
    CM_TRY(cmi_exec_run(b->exec, b->weights));
    write_cotangent(b, cotangent + i * out);
    CM_TRY(cmi_exec_backward(b->exec, b->weights));
    if (b->along && b->along->by_sigma)
        b->along->by_sigma[i] = by_sigma(b, cmi_inputs_level(in->sigma[i]), b->along->sigma[i]);
    cmi_channels_last_to_planes(in->channels, pixels, cmi_exec_input_gradient(b->exec, CM_IN_X), b->grad_x + i * per);
    memcpy(b->plain, cmi_exec_gradients(b->exec), cmi_plan_gradient_floats(b->plan) * sizeof *b->plain);
    CM_TRY(cmi_unpacking_run(b->unpacking, b->plain));
    if (b->values) CM_TRY(unfold(b));
    for (size_t k = 0; k < b->floats; k++) b->sum[k] += (double)b->plain[k];
    return CM_OK;
}

/* --- comparing --------------------------------------------------------------- */

/* The rule of the goldens' own README, of the largest gradient, the parameter's and the row's norm: log(1 + sigma^2)
 * of VP loses digits in float32; "sin" fills nearly cancel. */
static gradient_rule rule_of(const golden_file *f, const net_case *c)
{
    const char *name = cmi_tensors_metadata(&f->st, "case");
    gradient_rule t = {"", "", "x", 1e-4, 1e-3, 1e-6, 2e-3};
    if (strncmp(c->wrapper, "VP", 2) == 0) t.x = t.param = 2e-3;
    if (name && strcmp(name, "adm_uncond_updown") == 0) t.row = 5e-3;
    if (c->fill == FILL_SIN) t.x = 5e-3, t.row = 2e-2;
    return t;
}

static void compare_x(const golden_file *g, const net_case *c, const inputs *in, const gradients *b,
                      const gradient_rule *rule, golden_result *r)
{
    size_t per = 0;
    const cm_name name = cmi_name_of("%sgrad.%s%s", rule->prefix, rule->input, rule->suffix);
    double *want = golden_images_read(g, c, name.text, in, &per);
    for (size_t i = 0; want && i < in->n; i++) {
        double most = 0, off = 0;
        for (size_t k = 0; k < per; k++) {
            double d = fabs(b->x[i * per + k] - want[i * per + k]);
            most = fmax(most, fabs(want[i * per + k]));
            if (!(d <= off)) off = d;
        }
        golden_compare(r, name.text, most > 0 ? off / most : off, rule->x);
    }
    free(want);
}

/* Our gradient of one reference tensor, in its layout. */
static double *tensor_of(const gradients *b, const fill_name *name)
{
    double *g = malloc((name->count + 1) * sizeof *g);
    for (size_t i = 0; i < name->count; i++) g[i] = b->sum[b->offsets[name->param] + fill_place(name, b->m, i)];
    return g;
}

static const char *plain_name(const char *name)
{
    if (strncmp(name, "unet.", 5) == 0) return name + 5;
    return strncmp(name, "model.", 6) == 0 ? name + 6 : name;
}

static const fill_name *find_name(const fill_name *names, int n, const char *name)
{
    for (int k = 0; k < n; k++)
        if (strcmp(names[k].name, plain_name(name)) == 0) return &names[k];
    return NULL;
}

static int listed(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(plain_name(json_string_value(json_array_get(list, i))), name) == 0) return 1;
    return 0;
}

/* Of EDM2's wrapper, not of its network (edm2.c). */
static int is_aside(const char *name)
{
    return strncmp(name, "logvar_", 7) == 0;
}

/* The parameter that a tensor is the gradient of; "" for other tensors. */
static cm_name parameter_of(const char *tensor, const gradient_rule *rule)
{
    const cm_name begins = cmi_name_of("%sgrad.param.", rule->prefix);
    const size_t n = strlen(tensor), front = strlen(begins.text), end = strlen(rule->suffix);
    if (n < front + end || strncmp(tensor, begins.text, front) != 0 || strcmp(tensor + n - end, rule->suffix) != 0)
        return cmi_name_of("%s", "");
    return cmi_name_of("%.*s", (int)(n - front - end), tensor + front);
}

static void compare_params(const golden_file *g, const gradients *b, const fill_name *names, int n,
                           const json_t *dead, const gradient_rule *rule, golden_result *r)
{
    double largest = 0;
    for (size_t k = 0; k < b->floats; k++) largest = fmax(largest, fabs(b->sum[k]));
    for (size_t t = 0; t < g->st.count; t++) {
        const char *full = g->st.tensors[t].name;
        const cm_name parameter = parameter_of(full, rule);
        if (!*parameter.text || is_aside(parameter.text)) continue;
        const fill_name *name = find_name(names, n, parameter.text);
        size_t count = 0;
        double *want = golden_read(g, full, &count), most = 0, off = 0;
        if (!name || count != name->count) {
            golden_fail(r, "no parameter %s of %zu values", parameter.text, count);
        } else {
            double *got = tensor_of(b, name);
            int zero = listed(dead, name->name);
            for (size_t i = 0; i < count; i++) {
                double d = fabs(got[i] - (zero ? 0 : want[i]));
                most = fmax(most, zero ? 0 : fabs(want[i]));
                if (!(d <= off)) off = d;
            }
            golden_compare(r, full, off, rule->param * most + rule->all * largest);
            free(got);
        }
        free(want);
    }
}

static void compare_rows(const golden_file *g, const gradients *b, const fill_name *names, int n, const json_t *dead,
                         const gradient_rule *rule, golden_result *r)
{
    json_t *keys = golden_json(g, "grad_proj_keys");
    size_t count = 0;
    double *want = golden_read(g, cmi_name_of("%sgrad_proj%s", rule->prefix, rule->suffix).text, &count), most = 0;
    size_t rows = keys ? json_array_size(keys) : (size_t)(n < 0 ? 0 : n);
    if (want && count != 3 * rows) golden_fail(r, "grad_proj has %zu values", count);
    for (size_t k = 0; want && k < count / 3; k++) most = fmax(most, want[3 * k + 1]);
    for (size_t k = 0; want && k < count / 3 && r->outcome == GOLDEN_OK; k++) {
        const char *key = json_string_value(json_array_get(keys, k));
        if (key && is_aside(key)) continue;
        const fill_name *name = keys ? find_name(names, n, key) : &names[k];
        if (!name) {
            golden_fail(r, "grad_proj row %zu has no parameter", k);
            break;
        }
        double *v = tensor_of(b, name), got[3] = {0, 0, 0};
        for (size_t i = 0; i < name->count; i++) {
            got[0] += v[i];
            got[1] += v[i] * v[i];
            got[2] += v[i] * fill_value(FILL_HASH, 777, k, i);
        }
        got[1] = sqrt(got[1]);
        int zero = listed(dead, name->name);
        for (size_t j = 0; j < 3; j++)
            golden_compare(r, name->name, fabs(got[j] - (zero ? 0 : want[3 * k + j])),
                           (zero ? 0 : rule->row * want[3 * k + 1]) + 1e-6 * most);
        free(v);
    }
    free(want);
    json_decref(keys);
}

void golden_gradients_compare(const golden_file *f, const golden_file *grads, const net_case *c, const inputs *in,
                              const gradients *got, const gradient_rule *rule, golden_result *r)
{
    fill_name *names;
    int n = fill_names(got->m, c->family == FLAX, &names);
    json_t *dead = golden_json(f, "dead_params");
    compare_x(grads, c, in, got, rule, r);
    compare_params(grads, got, names, n, dead, rule, r);
    compare_rows(grads, got, names, n, dead, rule, r);
    for (int k = 0; k < n; k++) free(names[k].name);
    free(names);
    json_decref(dead);
}

/* ------------------------------------------------------------------------------ */

static double *read_cotangent(const golden_file *f, const net_case *c, const inputs *in)
{
    size_t per, count = in->n * (size_t)in->h * (size_t)in->w * (size_t)in->channels;
    const json_t *key = json_object_get(c->fill_json, "cotangent_key_index");
    if (cmi_tensors_find(&f->st, "cotangent")) return golden_images_read(f, c, "cotangent", in, &per);
    if (!json_is_integer(key)) return NULL;
    double *v = malloc(count * sizeof *v), *planes = v;
    for (size_t i = 0; i < count; i++)
        v[i] = (double)(float)fill_value(c->fill, c->seed, (uint64_t)json_integer_value(key), i);
    if (c->family == FLAX) { /* made in NHWC order */
        size_t pixels = (size_t)in->h * (size_t)in->w, channels = (size_t)in->channels;
        planes = malloc(count * sizeof *planes);
        for (size_t i = 0; i < in->n; i++)
            for (size_t p = 0; p < pixels; p++)
                for (size_t k = 0; k < channels; k++)
                    planes[(i * channels + k) * pixels + p] = v[(i * pixels + p) * channels + k];
        free(v);
    }
    return planes;
}

/* Image by image. */
static void run_gradients(const golden_file *f, const golden_file *grads, const net_case *c, const json_t *precond,
                          const inputs *in, const double *x, const double *cotangent, const gradient_direction *along,
                          const gradient_rule *rule, golden_result *r)
{
    backward b;
    double *table = golden_read(f, "u", NULL);
    memset(&b, 0, sizeof b);
    b.along = along;
    cm_status status = open_backward(f, c, precond, in, table, &b);
    for (size_t i = 0; i < in->n && status == CM_OK; i++) status = run_image(&b, in, x, cotangent, i);
    const gradients got = {b.m, b.offsets, b.sum, b.grad_x, b.floats};
    if (status != CM_OK) golden_fail(r, "%s", cm_last_message());
    else golden_gradients_compare(f, grads, c, in, &got, rule, r);
    backward_free(&b);
    free(table);
}

void golden_gradients_of(const golden_file *f, const net_case *c, const json_t *precond, const inputs *in,
                         const double *cotangent, const gradient_direction *along, const gradient_rule *rule,
                         golden_result *r)
{
    run_gradients(f, f, c, precond, in, in->x, cotangent, along, rule, r);
}

void golden_gradients(const golden_file *f, const golden_file *grads, const net_case *c, golden_result *r)
{
    inputs in;
    json_t *none = json_pack("{s:s}", "type", "none"), *cm = json_pack("{s:s}", "type", "cm");
    const gradient_rule rule = rule_of(f, c);
    double *x = NULL, *cotangent = NULL;
    if (!golden_inputs_read(f, c, "x", c->family == ADM ? "timesteps" : "sigma", &in) ||
        !golden_labels_read(f, "y", "class_labels", &in)) {
        golden_fail(r, "no inputs that can be read");
    } else {
        if (c->family == EDM) golden_augment_read(f, c, &in);
        if (c->family != ADM && !cmi_tensors_find(&f->st, "x")) x = golden_scaled(&in);
        cotangent = read_cotangent(f, c, &in);
        if (!cotangent) golden_fail(r, "no cotangent");
        else
            run_gradients(f, grads, c,
                          c->family == ADM    ? none
                          : c->family == FLAX ? cm
                                              : c->precond,
                          &in, x ? x : in.x, cotangent, NULL, &rule, r);
    }
    golden_inputs_free(&in);
    free(x), free(cotangent);
    json_decref(none);
    json_decref(cm);
}
