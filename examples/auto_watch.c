/* auto_watch.c - whether the network learns the pictures or learns them by heart; and what its samples look like. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "output.h"

enum { COLUMNS = 8, ROWS = 8, MARGIN = 2, BACKGROUND = 128 };

/* --- the loss that compares ------------------------------------------------------------------------ */

/* The seed decides everything: the same noise for every look. */
static double uniform(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return ((double)((z ^ z >> 31) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(uint64_t *state)
{
    const double pi = 3.14159265358979323846, r = sqrt(-2 * log(uniform(state)));
    return r * cos(2 * pi * uniform(state));
}

static cm_status read_some(cm_dataset *set, auto_look_at *look)
{
    cm_dataset_info i = CM_DATASET_INFO_INIT;
    cm_status status = cm_dataset_info_get(set, &i);
    if (status != CM_OK) return status;
    look->n = i.images < AUTO_LOOK ? (size_t)i.images : AUTO_LOOK;
    look->images = calloc(look->n * (size_t)(i.channels * i.height * i.width), sizeof *look->images);
    if (!look->images) return CM_ERR_MEMORY;
    const cm_images images = cm_images_f32(look->n, i.channels, i.height, i.width, look->images);
    return cm_dataset_read(set, 0, &images, look->labels);
}

cm_status auto_read_looks(auto_run *a)
{
    if (!a->held || a->looks[0].images) return CM_OK;
    const cm_status status = read_some(a->set, &a->looks[0]);
    return status == CM_OK ? read_some(a->held, &a->looks[1]) : status;
}

void auto_free_looks(auto_run *a)
{
    for (int i = 0; i < 2; i++) {
        free(a->looks[i].images);
        memset(&a->looks[i], 0, sizeof a->looks[i]);
    }
}

/* ln sigma at the middles of equal parts of its distribution, which edm draws from: a normal one, by its logistic
 * likeness, which is exact enough for a ladder of levels. */
static double level(size_t i, size_t n)
{
    const double mean = -1.2, deviation = 1.2, u = ((double)i + 0.5) / (double)n;
    return exp(mean + deviation * log(u / (1 - u)) / 1.702);
}

/* noisy, denoised: room for the images. */
static cm_status loss_of(cm_model *model, const cm_model_info *m, const auto_look_at *look, float *noisy,
                         float *denoised, double *loss)
{
    const size_t values = (size_t)(m->channels * m->height * m->width);
    const double of_data = m->sigma_data;
    float sigma[AUTO_LOOK];
    uint64_t state = 29;
    double sum = 0;
    for (size_t i = 0; i < look->n; i++) {
        sigma[i] = (float)level(i, look->n);
        for (size_t k = i * values; k < (i + 1) * values; k++)
            noisy[k] = look->images[k] + sigma[i] * (float)normal(&state);
    }
    const int32_t *labels = m->num_classes ? look->labels : NULL;
    const cm_status status = cm_model_denoise(model, look->n, noisy, sigma, labels, denoised);
    for (size_t i = 0; i < look->n && status == CM_OK; i++) {
        const double s = sigma[i];
        double square = 0;
        for (size_t k = i * values; k < (i + 1) * values; k++)
            square += pow((double)denoised[k] - (double)look->images[k], 2);
        sum += square / (double)values * (s * s + of_data * of_data) / (s * s * of_data * of_data);
    }
    *loss = sum / (double)look->n;
    return status;
}

cm_status auto_losses_of(auto_run *a, cm_model *model, auto_losses *losses)
{
    cm_model_info m = CM_MODEL_INFO_INIT;
    cm_status status = cm_model_info_get(model, &m);
    if (status != CM_OK) return status;
    const size_t values = AUTO_LOOK * (size_t)(m.channels * m.height * m.width);
    float *noisy = calloc(2 * values, sizeof *noisy);
    if (!noisy) return CM_ERR_MEMORY;
    status = loss_of(model, &m, &a->looks[0], noisy, noisy + values, &losses->training);
    if (status == CM_OK) status = loss_of(model, &m, &a->looks[1], noisy, noisy + values, &losses->held_out);
    free(noisy);
    return status;
}

/* --- samples ---------------------------------------------------------------------------------------- */

static int32_t stop(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return cli_interrupted();
}

cm_status auto_draw(const auto_run *a, cm_model *model, int steps, int stage, size_t n, const int32_t *labels,
                    float *images)
{
    cm_sampler *sampler;
    cm_model_info m = CM_MODEL_INFO_INIT;
    cm_sampler_options so;
    cm_sample_options s;
    cm_condition condition = CM_CONDITION_INIT;
    cm_sampler_options_init(&so, sizeof so);
    cm_sample_options_init(&s, sizeof s);
    cm_status status = cm_model_info_get(model, &m);
    so.threads = a->threads;
    condition.labels = labels;
    if (!m.is_consistency) condition.guidance = auto_guidance(a, stage);
    s.condition = m.num_classes ? &condition : NULL;
    s.progress = stop;
    if (!m.is_consistency) s.method = CM_METHOD_HEUN, s.steps = steps;
    else if (steps > 1) s.method = CM_METHOD_MULTISTEP; /* at the levels that stand in the model */
    if (status == CM_OK) status = cm_sampler_create(model, &so, &sampler);
    if (status != CM_OK) return status;
    status = cm_sampler_run(sampler, &s, n, images);
    cm_sampler_free(sampler);
    return status;
}

static cm_status write_page(const auto_run *a, const cm_images *images, int32_t columns, const char *const *names,
                            const char *name)
{
    char path[AUTO_PATH], within[80];
    int32_t height, width;
    (void)snprintf(within, sizeof within, "samples/%s", name);
    auto_path(a, within, path);
    cm_image_write_options options = CM_IMAGE_WRITE_OPTIONS_INIT;
    options.overwrite = CM_OVERWRITE_YES;
    cm_status status = cm_image_named_grid_size(images, columns, MARGIN, names, &height, &width);
    if (status != CM_OK) return status;
    uint8_t *pixels = malloc((size_t)height * (size_t)width * (size_t)images->channels);
    if (!pixels) return CM_ERR_MEMORY;
    const cm_images page = cm_images_u8(1, height, width, images->channels, pixels);
    status = cm_image_named_grid(images, columns, MARGIN, BACKGROUND, names, &page);
    if (status == CM_OK) status = cm_image_write(a->context, path, &page, &options);
    free(pixels);
    return status;
}

/* Small images at a whole multiple of their size: people look at them.  Names over the columns where every column is
 * a class. */
static cm_status write_grid(const auto_run *a, const cm_images *images, int32_t columns, const char *const *names,
                            const char *name)
{
    enum { SEEN = 64 };
    const int32_t side = images->width > images->height ? images->width : images->height;
    const int32_t times = side < SEEN ? SEEN / side : 1;
    const size_t lines = images->n * (size_t)images->channels * (size_t)images->height;
    float *points = output_enlarged(images->data, lines, (size_t)images->width, sizeof *points, times);
    if (!points) return CM_ERR_MEMORY;
    const cm_images shown =
        cm_images_f32(images->n, images->channels, images->height * times, images->width * times, points);
    const cm_status status = write_page(a, &shown, columns, names, name);
    free(points);
    return status;
}

cm_status auto_page(auto_run *a, cm_model *model, int steps, const char *name)
{
    enum { MOST = 16 };
    cm_model_info m = CM_MODEL_INFO_INIT;
    int32_t labels[MOST * ROWS];
    const char *names[MOST] = {NULL};
    char numbers[MOST][12];
    cm_status status = cm_model_info_get(model, &m);
    if (status != CM_OK) return status;
    const int32_t columns = m.num_classes > 0 && m.num_classes <= MOST ? m.num_classes : COLUMNS;
    const size_t n = (size_t)columns * ROWS, values = (size_t)m.channels * (size_t)m.height * (size_t)m.width;
    for (size_t i = 0; i < n; i++) labels[i] = m.num_classes ? (int32_t)i % columns % m.num_classes : -1;
    for (int32_t k = 0; k < columns && m.num_classes; k++) {
        (void)snprintf(numbers[k], sizeof numbers[k], "%d", k);
        names[k] = cm_model_class_name(model, k) ? cm_model_class_name(model, k) : numbers[k];
    }
    float *images = calloc(n * values, sizeof *images);
    status = images ? auto_draw(a, model, steps, a->plan.n_stages - 1, n, labels, images) : CM_ERR_MEMORY;
    const cm_images grid = cm_images_f32(n, m.channels, m.height, m.width, images);
    if (status == CM_OK) status = write_grid(a, &grid, columns, m.num_classes ? names : NULL, name);
    free(images);
    return status;
}

/* --- the nearest pictures ------------------------------------------------------------------------------ */

enum { SAMPLES = 32, SHOWN = 12, CHUNK = 64 };

typedef struct {
    size_t n, values;
    const float *samples;
    float *chunk;
    double nearest[SAMPLES];
    float *pictures; /* the nearest ones */
} search_state;

static void compare(search_state *s, size_t count)
{
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < count; k++) {
            const float *a = s->samples + i * s->values, *b = s->chunk + k * s->values;
            double sum = 0;
            for (size_t v = 0; v < s->values && sum < s->nearest[i]; v += 64)
                for (size_t w = v; w < v + 64 && w < s->values; w++) sum += (double)((a[w] - b[w]) * (a[w] - b[w]));
            if (sum >= s->nearest[i]) continue;
            s->nearest[i] = sum;
            memcpy(s->pictures + i * s->values, b, s->values * sizeof *b);
        }
}

/* The first `most` pictures of the set's order, as far as the time goes. */
static cm_status search(search_state *s, cm_dataset *set, const cm_model_info *m, uint64_t most, double until,
                        uint64_t *done)
{
    cm_status status = CM_OK;
    for (*done = 0; *done < most && status == CM_OK && cli_seconds() < until;) {
        const size_t count = most - *done < CHUNK ? (size_t)(most - *done) : CHUNK;
        const cm_images images = cm_images_f32(count, m->channels, m->height, m->width, s->chunk);
        if (cli_interrupted()) return CM_ERR_CANCELLED;
        status = cm_dataset_read(set, *done, &images, NULL);
        if (status == CM_OK) compare(s, count);
        *done += count;
    }
    return status;
}

static void forget(search_state *s)
{
    for (size_t i = 0; i < s->n; i++) s->nearest[i] = INFINITY;
}

/* Rows of a sample and its nearest training picture, side by side twice. */
static cm_status write_nearest(const auto_run *a, const cm_model_info *m, const search_state *s)
{
    static const char *const names[] = {"drawn", "nearest", "drawn", "nearest"};
    const size_t shown = s->n < SHOWN ? s->n : SHOWN;
    float *pairs = malloc(2 * shown * s->values * sizeof *pairs);
    if (!pairs) return CM_ERR_MEMORY;
    for (size_t i = 0; i < shown; i++) {
        memcpy(pairs + 2 * i * s->values, s->samples + i * s->values, s->values * sizeof *pairs);
        memcpy(pairs + (2 * i + 1) * s->values, s->pictures + i * s->values, s->values * sizeof *pairs);
    }
    const cm_images grid = cm_images_f32(2 * shown, m->channels, m->height, m->width, pairs);
    const cm_status status = write_grid(a, &grid, 4, names, "nearest.png");
    free(pairs);
    return status;
}

/* As many training pictures as are held out say whether the samples are nearer to the one kind than to the other,
 * which half of them are by chance; then all of them say which is nearest. */
static cm_status find(auto_run *a, const cm_model_info *m, search_state *s, auto_nearest *out)
{
    static const double share = 0.01, least = 2; /* of the budget; seconds */
    const double seconds = share * a->budget > least ? share * a->budget : least, until = cli_seconds() + seconds;
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    double held[SAMPLES];
    uint64_t done;
    cm_status status = CM_OK;
    for (size_t i = 0; i < s->n; i++) held[i] = INFINITY;
    if (a->held) {
        forget(s);
        status = search(s, a->held, m, a->data.held_out, cli_seconds() + seconds, &done);
        memcpy(held, s->nearest, sizeof held);
        forget(s);
        if (status == CM_OK) status = search(s, a->set, m, done, until + seconds, &out->looked_through);
        for (size_t i = 0; i < s->n; i++) out->repeats += s->nearest[i] < held[i];
    }
    if (status == CM_OK) status = cm_dataset_info_get(a->set, &info);
    forget(s);
    if (status == CM_OK) status = search(s, a->set, m, info.images, until, &out->looked_through);
    return status == CM_OK ? write_nearest(a, m, s) : status;
}

cm_status auto_find_nearest(auto_run *a, cm_model *model, auto_nearest *out)
{
    cm_model_info m = CM_MODEL_INFO_INIT;
    search_state s = {.n = SAMPLES};
    int32_t labels[SAMPLES];
    cm_status status = cm_model_info_get(model, &m);
    memset(out, 0, sizeof *out);
    if (status != CM_OK) return status;
    out->samples = SAMPLES;
    s.values = (size_t)m.channels * (size_t)m.height * (size_t)m.width;
    for (int i = 0; i < SAMPLES; i++) labels[i] = m.num_classes ? i % m.num_classes : -1;
    float *samples = calloc(SAMPLES * s.values, sizeof *samples);
    s.samples = samples;
    s.chunk = calloc(CHUNK * s.values, sizeof *s.chunk);
    s.pictures = calloc(SAMPLES * s.values, sizeof *s.pictures);
    status = samples && s.chunk && s.pictures ? CM_OK : CM_ERR_MEMORY;
    if (status == CM_OK)
        status = auto_draw(a, model, m.is_consistency ? 2 : 10, a->plan.n_stages - 1, SAMPLES, labels, samples);
    if (status == CM_OK) status = find(a, &m, &s, out);
    free(samples);
    free(s.chunk);
    free(s.pictures);
    return status;
}
