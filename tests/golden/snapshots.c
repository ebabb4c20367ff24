/* snapshots.c - a snapshot of EDM's training: X_io.safetensors has the configuration that its pickle says, the names
 * and shapes of its tensors, the seed that they were filled from, an input and the output of D. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <consistency/model.h>

#include "../support/fill.h"
#include "golden.h"
#include "networks.h"

static json_t *metadata(const cm_tensors *io, const char *key)
{
    const char *text = cmi_tensors_metadata(io, key);
    return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

static int same_shape(const cm_tensor *t, const json_t *shape)
{
    int same = (size_t)t->rank == json_array_size(shape);
    for (int i = 0; i < t->rank && same; i++)
        same = t->shape[i] == json_integer_value(json_array_get(shape, (size_t)i));
    return same;
}

static void compare_names(const cm_tensors *st, const cm_tensors *io, golden_result *r)
{
    json_t *keys = metadata(io, "keys"), *pair;
    size_t k;
    json_array_foreach(keys, k, pair)
    {
        const char *name = json_string_value(json_array_get(pair, 0));
        const cm_tensor *t = cmi_tensors_find(st, name);
        if (!t || !same_shape(t, json_array_get(pair, 1)))
            golden_fail(r, "'%s' is missing or of another shape", name);
        r->compared++;
    }
    if (!k || st->count != k) golden_fail(r, "%zu tensors for %zu names", st->count, k);
    json_decref(keys);
}

/* Every argument that the reference was made with, and every weight. */
static void compare_network(cm_context *context, const cm_model *m, const cm_tensors *io, golden_result *r)
{
    json_t *network = metadata(io, "config"), *fill = metadata(io, "fill"),
           *precond = json_pack("{s:s}", "type", "edm");
    cm_net_config expected;
    char text[1000];
    json_object_set_new(network, "type", json_string("songunet"));
    json_object_del(network, "model_type");
    if (cmi_net_config_read(network, &expected) != CM_OK) golden_fail(r, "%s", cm_last_message());
    else if (cmi_net_config_differences(&m->net, &expected, " in ours", " in theirs", text, sizeof text))
        golden_fail(r, "%s", text);
    cm_model *filled = fill_model(context, network, precond, m->height, m->width, 0, FILL_HASH,
                                  (uint64_t)json_integer_value(json_object_get(fill, "seed")));
    if (!filled) golden_fail(r, "%s", cm_last_message());
    else golden_weights(filled, m, "ema", r);
    fill_model_free(filled);
    json_decref(network), json_decref(fill), json_decref(precond);
}

static void compare_outputs(cm_model *m, const cm_tensors *io, golden_result *r)
{
    const cm_tensor *x = cmi_tensors_find(io, "x"), *s = cmi_tensors_find(io, "sigma"),
                    *y = cmi_tensors_find(io, "class_labels"), *want = cmi_tensors_find(io, "D_x");
    size_t n = (size_t)x->shape[0], classes = (size_t)y->shape[1];
    float *in = malloc(x->bytes), *sigma = malloc(s->bytes), *onehot = malloc(y->bytes), *out = malloc(x->bytes);
    int32_t *labels = calloc(n, sizeof *labels);
    double off = 0, most = 0;
    (void)cmi_tensor_read(x, in), (void)cmi_tensor_read(s, sigma), (void)cmi_tensor_read(y, onehot);
    for (size_t i = 0; i < n * classes; i++)
        if (onehot[i] != 0) labels[i / classes] = (int32_t)(i % classes);
    if (cm_model_denoise(m, n, in, sigma, labels, out) != CM_OK) golden_fail(r, "%s", cm_last_message());
    (void)cmi_tensor_read(want, in);
    for (size_t i = 0; i < x->count; i++) {
        off = fmax(off, fabs((double)out[i] - (double)in[i]));
        most = fmax(most, fabs((double)in[i]));
    }
    golden_compare(r, "D_x", off / most, 5e-5);
    free(in), free(sigma), free(onehot), free(out), free(labels);
}

void golden_snapshot(cm_context *context, const char *path, const cm_tensors *st, const cm_tensors *io,
                     golden_result *r)
{
    cm_model *m;
    compare_names(st, io, r);
    if (cm_model_load(context, path, NULL, &m) != CM_OK) {
        golden_fail(r, "%s", cm_last_message());
        return;
    }
    compare_network(context, m, io, r);
    compare_outputs(m, io, r);
    cm_model_free(m);
}
