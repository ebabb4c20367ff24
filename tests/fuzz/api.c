/* Bytes as calls of the interface in any order: handles are made, used, cancelled, made of others and freed, with
 * options of any value.  Every call ends with a status; what has the same inputs has the same result, whatever was
 * called in between; and no memory is left. */
#include <math.h>

#include <consistency.h>

#define FUZZ_KEPT 8
#include "fuzz/watched.h"

enum { SIDE = 4, PIXELS = SIDE * SIDE, MOST = 2, HANDLES = 3 };

/* The bytes not read yet; zeros follow them. */
typedef struct {
    const uint8_t *at, *end;
} stream;

static unsigned next(stream *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

/* Numbers at edges, and a few in between. */
static double number(stream *s)
{
    static const double values[] = {0, 1, -1, 0.5, 2, 80, 0.002, 1e-300, 1e300, 1e9, 7, 18, 0.0 / 1, -0.0};
    const unsigned k = next(s);
    if (k % 16 == 14) return (double)INFINITY;
    if (k % 16 == 15) return (double)NAN;
    return values[k % 14];
}

static int32_t whole(stream *s)
{
    static const int32_t values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, -1, 16, INT32_MAX, INT32_MIN, 18, 1000};
    const unsigned k = next(s);
    /* Times of a call grow with these: what is too large to wait for is left to other tests. */
    return values[k % 16];
}

typedef struct {
    cm_context *context;
    cm_model *models[HANDLES];
    cm_sampler *samplers[HANDLES];
    cm_trainer *trainers[HANDLES];
    cm_train_options *options[HANDLES];
    cm_statistics *statistics[HANDLES];
    float first[PIXELS];
    int drawn, failed; /* failed: an allocation */
} world;

static void note(world *w, cm_status status)
{
    if (status == CM_ERR_INTERNAL || status == CM_ERR_BACKEND) fuzz_fail("a defect by its own word");
    if (status < CM_ERR_PEER || status > CM_OK) fuzz_fail("a status that is none");
    if (status != CM_OK && !cm_last_message()[0]) fuzz_fail("a failure without a message");
    w->failed |= status == CM_ERR_MEMORY;
}

static const char *config_of(unsigned kind)
{
    static const char *const configs[] = {
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 4, \"img_channels\": 1, \"model_channels\": 4, "
        "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": []}, \"precond\": {\"type\": \"cm\"}}",
        "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 4, \"img_channels\": 1, \"model_channels\": 4, "
        "\"channel_mult\": [1], \"num_blocks\": 1, \"attn_resolutions\": [], \"label_dim\": 2}, \"precond\": "
        "{\"type\": \"edm\"}}",
        "{\"network\": {\"type\": \"songunet\"}}", "{", ""};
    return configs[kind % 5];
}

static void make_model(world *w, stream *s)
{
    const unsigned i = next(s) % HANDLES;
    cm_model_free(w->models[i]);
    w->models[i] = NULL;
    note(w, cm_model_create(w->context, config_of(next(s)), next(s), &w->models[i]));
}

static void make_sampler(world *w, stream *s)
{
    const unsigned i = next(s) % HANDLES;
    cm_sampler_options o = CM_SAMPLER_OPTIONS_INIT;
    cm_sampler_free(w->samplers[i]);
    w->samplers[i] = NULL;
    o.max_batch = (int32_t)(next(s) % 6) - 1, o.threads = (int32_t)(next(s) % 4) - 1;
    o.memory = next(s) % 4 == 0 ? whole(s) : 0;
    if (next(s) % 4 == 0) o.below = w->models[next(s) % HANDLES], o.border = number(s);
    note(w, cm_sampler_create(w->models[next(s) % HANDLES], &o, &w->samplers[i]));
}

/* Fields at edges, of which a few are changed at a time. */
static void change(cm_sample_options *o, stream *s, const double *levels)
{
    for (unsigned n = next(s) % 4; n > 0; n--) {
        switch (next(s) % 24) {
        case 0: o->method = whole(s); break;
        case 1: o->steps = whole(s) % 20; break;
        case 2: o->rho = number(s); break;
        case 3: o->sigma_min = number(s); break;
        case 4: o->sigma_max = number(s); break;
        case 5: o->clip_denoised = whole(s); break;
        case 6: o->clip_output = whole(s); break;
        case 7: o->s_churn = number(s); break;
        case 8: o->s_tmin = number(s); break;
        case 9: o->s_tmax = number(s); break;
        case 10: o->s_noise = number(s), o->temperature = number(s); break;
        case 11: o->edm_discretization = whole(s); break;
        case 12: o->edm_schedule = whole(s); break;
        case 13: o->edm_scaling = whole(s); break;
        case 14: o->edm_solver = whole(s); break;
        case 15: o->edm_alpha = number(s); break;
        case 16: o->noise_source = whole(s); break;
        case 17: o->dpmpp_order = whole(s), o->dpmpp_form = whole(s), o->dpmpp_end = whole(s); break;
        case 18: o->rk45_rtol = number(s), o->rk45_max_nfe = whole(s) % 100; break;
        case 19: o->pc_snr = number(s), o->pc_corrections = whole(s) % 8; break;
        case 20: o->sigmas = levels, o->sigma_count = next(s) % 4; break;
        case 21: o->grid = whole(s); break;
        case 22: o->struct_size = (uint32_t)whole(s); break;
        default: o->num_samples = next(s); break;
        }
    }
}

static int32_t stop(void *user, uint64_t done, uint64_t total)
{
    if (done > total) fuzz_fail("more is done than there is");
    return --*(int *)user < 0;
}

static void draw(world *w, stream *s)
{
    static const double levels[3] = {80, 2, 0.5};
    float images[MOST * PIXELS];
    int32_t labels[MOST], left = (int32_t)next(s);
    cm_condition condition = CM_CONDITION_INIT;
    cm_sample_options o = CM_SAMPLE_OPTIONS_INIT;
    cm_sampler *sampler = w->samplers[next(s) % HANDLES];
    change(&o, s, levels);
    if (left < 40) o.progress = stop, o.progress_user = &left;
    for (int i = 0; i < MOST; i++) labels[i] = (int32_t)(next(s) % 4) - 1;
    if (next(s) % 3 == 0) condition.labels = labels, o.condition = &condition;
    if (next(s) % 8 == 0) cm_sampler_cancel(sampler);
    note(w, cm_sampler_run(sampler, &o, next(s) % (MOST + 1), images));
}

/* A picture of a model and a seed that are always the same. */
static void draw_the_same(world *w)
{
    cm_model *m = NULL;
    cm_sampler *sampler = NULL;
    float image[PIXELS];
    cm_status status = cm_model_create(w->context, config_of(0), 7, &m);
    if (status == CM_OK) status = cm_sampler_create(m, NULL, &sampler);
    if (status == CM_OK) status = cm_sampler_run(sampler, NULL, 1, image);
    note(w, status);
    if (status == CM_OK && w->drawn && memcmp(image, w->first, sizeof image) != 0) fuzz_fail("another picture");
    if (status == CM_OK) memcpy(w->first, image, sizeof image), w->drawn = 1;
    if (status != CM_OK && status != CM_ERR_MEMORY) fuzz_fail("what worked does not");
    cm_sampler_free(sampler);
    cm_model_free(m);
}

static void edit(world *w, stream *s)
{
    float given[PIXELS] = {0}, mask[PIXELS] = {1, 1, 1}, out[MOST * PIXELS];
    const cm_images y = cm_images_f32(1, 1, SIDE, SIDE, given), m = cm_images_f32(1, 1, SIDE, SIDE, mask);
    const cm_images images = cm_images_f32(1 + next(s) % MOST, 1, SIDE, SIDE, out);
    cm_edit_options o = CM_EDIT_OPTIONS_INIT;
    cm_sampler *sampler = w->samplers[next(s) % HANDLES];
    o.variations = (int32_t)(next(s) % 4);
    o.start = whole(s) % 4;
    switch (next(s) % 6) {
    case 0: note(w, cm_sampler_inpaint(sampler, &o, &y, &m, &images)); break;
    case 1: note(w, cm_sampler_colorize(sampler, &o, &y, &images)); break;
    case 2: note(w, cm_sampler_super_resolve(sampler, &o, &y, &images)); break;
    case 3: note(w, cm_sampler_stroke(sampler, &o, &y, &images)); break;
    case 4: note(w, cm_sampler_denoise(sampler, &o, &y, &images)); break;
    default: note(w, cm_sampler_interpolate(sampler, &o, &images)); break;
    }
}

static void set_option(world *w, stream *s)
{
    const unsigned i = next(s) % HANDLES;
    const size_t count = cm_train_option_count();
    cm_option_info info = CM_OPTION_INFO_INIT;
    if (!w->options[i]) {
        note(w, cm_train_options_create(w->context, &w->options[i]));
        if (w->options[i]) note(w, cm_train_options_set(w->options[i], "batch", "2"));
        return;
    }
    note(w, cm_train_option_describe(next(s) % (count + 1), &info));
    if (info.name) note(w, cm_train_options_set_number(w->options[i], info.name, next(s) % 2 ? number(s) : whole(s)));
    if (next(s) % 8 == 0) note(w, cm_train_options_preset(w->options[i], cm_train_preset_name(next(s) % 8)));
    if (next(s) % 16 == 0) {
        cm_train_options_free(w->options[i]);
        w->options[i] = NULL;
    }
}

static void train(world *w, stream *s)
{
    const unsigned i = next(s) % HANDLES;
    float images[MOST * PIXELS] = {0};
    int32_t labels[MOST] = {0, 1};
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_train_report report = CM_TRAIN_REPORT_INIT;
    cm_condition condition = CM_CONDITION_INIT;
    cm_train_options *o = w->options[next(s) % HANDLES];
    if (!w->trainers[i] || next(s) % 4 == 0) {
        double batch = 0;
        cm_trainer_free(w->trainers[i]);
        w->trainers[i] = NULL;
        if (o) note(w, cm_train_options_get_number(o, "batch", &batch));
        if (batch > 8) return;
        inputs.model = w->models[next(s) % HANDLES];
        inputs.teacher = next(s) % 4 == 0 ? w->models[next(s) % HANDLES] : NULL;
        note(w, cm_trainer_create(&inputs, o, &w->trainers[i]));
    }
    const cm_images batch = cm_images_f32(MOST, 1, SIDE, SIDE, images);
    if (next(s) % 2) condition.labels = labels;
    if (next(s) % 8 == 0) cm_trainer_cancel(w->trainers[i]);
    if (next(s) % 16 == 0) images[next(s) % PIXELS] = (float)number(s);
    note(w, cm_trainer_step(w->trainers[i], &batch, &condition, &report));
    if (next(s) % 4 == 0) {
        const unsigned k = next(s) % HANDLES;
        cm_model_free(w->models[k]);
        w->models[k] = NULL;
        note(w, cm_trainer_model(w->trainers[i], whole(s), whole(s), &w->models[k]));
    }
}

static void measure(world *w, stream *s)
{
    const unsigned i = next(s) % HANDLES, k = next(s) % HANDLES;
    float rows[4 * 3];
    double distance;
    for (int n = 0; n < 12; n++) rows[n] = (float)(next(s) % 32 ? next(s) : number(s));
    switch (next(s) % 4) {
    case 0:
        cm_statistics_free(w->statistics[i]);
        w->statistics[i] = NULL;
        note(w, cm_statistics_create(w->context, whole(s) % 4, &w->statistics[i]));
        break;
    case 1: note(w, cm_statistics_merge(w->statistics[i], w->statistics[k])); break;
    case 2: note(w, cm_frechet_distance(w->statistics[i], w->statistics[k], &distance)); break;
    default: {
        cm_statistics_info info = CM_STATISTICS_INFO_INIT;
        const cm_status status = cm_statistics_info_get(w->statistics[i], &info);
        note(w, status);
        if (status == CM_OK && info.dimension <= 3) note(w, cm_statistics_add(w->statistics[i], 4, rows));
    }
    }
}

static void clean(world *w)
{
    for (int i = 0; i < HANDLES; i++) {
        cm_model_free(w->models[i]);
        cm_sampler_free(w->samplers[i]);
        cm_trainer_free(w->trainers[i]);
        cm_train_options_free(w->options[i]);
        cm_statistics_free(w->statistics[i]);
    }
}

static cm_status work(cm_context *context, const uint8_t *data, size_t size)
{
    world w = {.context = context};
    stream s = {data, data + size};
    while (s.at < s.end) {
        switch (next(&s) % 10) {
        case 0:
        case 1: make_model(&w, &s); break;
        case 2: make_sampler(&w, &s); break;
        case 3:
        case 4: draw(&w, &s); break;
        case 5: edit(&w, &s); break;
        case 6: set_option(&w, &s); break;
        case 7: train(&w, &s); break;
        case 8: measure(&w, &s); break;
        default: draw_the_same(&w); break;
        }
    }
    clean(&w);
    return w.failed ? CM_ERR_MEMORY : CM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return size > 200 ? 0 : fuzz_watched(work, data, size, 0);
}
