/* noise.c - the caller's tensors, Philox streams, torch's generators. */
#include "diffusion/noise.h"

#include "base/rng.h"
#include "diffusion/condition.h"
#include "tensor/finite.h"

static uint64_t index_of(const cm_noise *noise, size_t i)
{
    return noise->options->first_index + (noise->shared ? 0 : noise->first + i);
}

cm_status cmi_noise_check(const cm_sample_options *o, size_t n, size_t size, int32_t draws)
{
    size_t all = n * size;
    size_t i = o->noise ? cmi_first_nonfinite_f32(all, o->noise) : all;
    if (i < all)
        CM_FAIL(CM_ERR_NUMERIC, "noise of image %zu is %g at value %zu, expected finite numbers", i / size,
                (double)o->noise[i], i % size);
    for (int32_t k = 0; o->step_noise && k < draws; k++) {
        const float *draw = o->step_noise + (size_t)k * all;
        i = cmi_first_nonfinite_f32(all, draw);
        if (i < all)
            CM_FAIL(CM_ERR_NUMERIC, "step_noise, draw %d of image %zu is %g at value %zu, expected finite numbers", k,
                    i / size, (double)draw[i], i % size);
    }
    return CM_OK;
}

void cmi_noise_begin(cm_noise *noise)
{
    const cm_sample_options *o = noise->options;
    for (size_t i = 0; noise->torch && i < noise->count; i++) {
        uint64_t index = index_of(noise, i);
        uint64_t seed = o->noise_source == CM_NOISE_TORCH_INDIV ? index + o->num_samples * o->seed : o->seed + index;
        cmi_torch_seed(&noise->torch[i], seed);
    }
}

static cm_stream stream(const cm_noise *noise, size_t i, uint32_t draw)
{
    cm_stream s = {noise->options->seed, index_of(noise, i), draw};
    return s;
}

static void widen(size_t n, const float *in, double *out)
{
    for (size_t i = 0; i < n; i++) out[i] = (double)in[i];
}

/* One image's normals of draw `tag`; out NULL advances torch's stream only. */
static void normals(cm_noise *noise, size_t i, uint32_t tag, int in_double, double *out)
{
    float *floats = (float *)(void *)noise->buffer;
    if (noise->torch && in_double) {
        cmi_torch_normal64(&noise->torch[i], noise->size, out ? out : noise->buffer);
        return;
    }
    if (noise->torch) {
        cmi_torch_normal(&noise->torch[i], noise->size, floats);
    } else if (out) {
        cm_stream s = stream(noise, i, tag);
        cmi_stream_normal(&s, noise->size, floats);
    }
    if (out) widen(noise->size, floats, out);
}

void cmi_noise_start(cm_noise *noise, double *out)
{
    const float *given = noise->options->noise;
    const double temperature = noise->options->temperature > 0 ? noise->options->temperature : 1;
    for (size_t i = 0; i < noise->count; i++, out += noise->size) {
        if (given) widen(noise->size, given + (noise->first + i) * noise->size, out);
        else normals(noise, i, 0, 0, out);
        for (size_t k = 0; k < noise->size; k++) out[k] *= temperature;
    }
}

void cmi_noise_labels(cm_noise *noise, int32_t classes, int32_t *labels)
{
    const int32_t *given = cmi_condition_labels(noise->options);
    for (size_t i = 0; i < noise->count; i++) {
        cm_stream s = stream(noise, i, 1);
        /* EDM's script draws a label even when the caller overrides it. */
        int32_t drawn = noise->torch ? (int32_t)cmi_torch_below(&noise->torch[i], (uint32_t)classes)
                                     : (int32_t)cmi_stream_below(&s, (uint32_t)classes);
        labels[i] = given ? given[noise->first + i] : drawn;
    }
}

void cmi_noise_draw(cm_noise *noise, int draw, double *out)
{
    const float *given = noise->options->step_noise;
    for (size_t i = 0; i < noise->count; i++) {
        double *to = out ? out + i * noise->size : NULL;
        if (!given) normals(noise, i, 2 + (uint32_t)draw, noise->double_steps, to);
        else if (to) widen(noise->size, given + ((size_t)draw * noise->n + noise->first + i) * noise->size, to);
    }
}

cm_choice cmi_noise_source_choice(size_t index)
{
    static const cm_choice choices[] = {
        {"philox", "the library's own streams, the same numbers in every version"},
        {"torch-image", "a torch generator for each image, seeded seed + index"},
        {"torch-indiv", "a torch generator for each image, seeded index + num_samples * seed"},
    };
    return index < sizeof choices / sizeof *choices ? choices[index] : (cm_choice){NULL, NULL};
}
