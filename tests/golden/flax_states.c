/* flax_states.c - training states of flax: X_io.safetensors has the arguments of the network, the seed that each set
 * of weights was filled from, an input, and the outputs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/fill.h"
#include "golden.h"
#include "networks.h"

/* A loaded model counts no constants. */
void golden_weights(const cm_model *filled, const cm_model *loaded, const char *set, golden_result *r)
{
    size_t index = 0;
    for (int i = 0; i < filled->graph->n_params && r->outcome == GOLDEN_OK; i++) {
        const cm_param_desc *p = &filled->graph->params[i];
        size_t n = cmi_param_elements(p);
        float *values = malloc((n + 1) * sizeof *values);
        if (!p->constant && cm_model_param_read(loaded, index++, n, values) != CM_OK)
            golden_fail(r, "%s", cm_last_message());
        if (!p->constant && memcmp(values, fill_param(filled, i), n * sizeof *values) != 0)
            golden_fail(r, "%s: '%s' has other values", set, p->name);
        free(values);
        r->compared++;
    }
    if (index != cm_model_param_count(loaded)) golden_fail(r, "%s: other tensors", set);
}

/* [n, pixels, c] as planes, or back. */
static void turn(const float *from, size_t n, size_t pixels, size_t c, float *to)
{
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < pixels; p++)
            for (size_t k = 0; k < c; k++) to[(i * c + k) * pixels + p] = from[(i * pixels + p) * c + k];
}

static void compare_outputs(cm_model *m, const cm_tensors *io, const char *set, golden_result *r)
{
    char name[64];
    (void)snprintf(name, sizeof name, "F_x.%s", set);
    const cm_tensor *x = cmi_tensors_find(io, "x"), *t = cmi_tensors_find(io, "c_noise"),
                    *want = cmi_tensors_find(io, name);
    if (!want) return; /* the state has no such set */
    size_t n = (size_t)x->shape[0], c = (size_t)x->shape[3], pixels = x->count / (n * c);
    float *given = malloc(x->bytes), *planes = malloc(x->bytes), *got = malloc(x->bytes), *times = malloc(t->bytes);
    double off = 0, most = 0;
    (void)cmi_tensor_read(x, given), (void)cmi_tensor_read(t, times);
    turn(given, n, pixels, c, planes);
    if (cm_model_denoise(m, n, planes, times, NULL, got) != CM_OK) golden_fail(r, "%s", cm_last_message());
    (void)cmi_tensor_read(want, given);
    turn(given, n, pixels, c, planes);
    for (size_t i = 0; i < x->count; i++) {
        off = fmax(off, fabs((double)got[i] - (double)planes[i]));
        most = fmax(most, fabs((double)planes[i]));
    }
    golden_compare(r, name, off / most, 5e-5);
    free(given), free(planes), free(got), free(times);
}

/* `config` NULL: nothing is said of the network. */
static void run_set(cm_context *context, const char *path, const char *set, const json_t *network, uint64_t seed,
                    const cm_tensors *io, golden_result *r)
{
    const cm_tensor *x = cmi_tensors_find(io, "x");
    json_t *none = json_pack("{s:s}", "type", "none"),
           *image =
               json_pack("{s:i, s:i, s:i}", "channels", 3, "height", (int)x->shape[1], "width", (int)x->shape[2]);
    for (int given = 0; given < 2; given++) {
        json_t *config = json_pack("{s:O, s:O}", "precond", none, "image", image);
        if (given) json_object_set(config, "network", (json_t *)(uintptr_t)network);
        char *text = json_dumps(config, 0);
        cm_load_options o = CM_LOAD_OPTIONS_INIT;
        cm_model *m;
        o.config_json = text;
        o.weights = strcmp(set, "params_ema") == 0 ? NULL : set; /* which is the default */
        cm_model *filled =
            fill_model(context, network, none, (int32_t)x->shape[1], (int32_t)x->shape[2], 1, FILL_HASH, seed);
        if (cm_model_load(context, path, &o, &m) != CM_OK || !filled) golden_fail(r, "%s", cm_last_message());
        else if (given) golden_weights(filled, m, set, r);
        if (m) compare_outputs(m, io, set, r);
        cm_model_free(m);
        fill_model_free(filled);
        json_decref(config);
        free(text);
    }
    json_decref(none);
    json_decref(image);
}

void golden_flax_state(cm_context *context, const char *path, const cm_tensors *io, golden_result *r)
{
    json_t *config = json_loads(cmi_tensors_metadata(io, "config"), 0, NULL), *seed;
    json_t *seeds = json_loads(cmi_tensors_metadata(io, "fill"), 0, NULL), *network = json_object();
    const char *set;
    golden_flax_network(config, network);
    json_object_foreach(seeds, set, seed)
    {
        int target = strcmp(set, "target_params") == 0;
        if (target && !strstr(path, "target")) continue; /* the other state has none */
        run_set(context, path, set, network, (uint64_t)json_integer_value(seed), io, r);
    }
    json_decref(config);
    json_decref(seeds);
    json_decref(network);
}
