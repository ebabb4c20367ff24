/* pairs.c - PSNR, SSIM (Wang et al. 2004) and LPIPS of pairs of images. */
#include "pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PSNR, SSIM, LPIPS, METRICS, BATCH = 8, WINDOW = 11, CHANNELS = 3 };
static const char *const names[] = {"psnr", "ssim", "lpips-vgg", "lpips-alex", "lpips-squeeze", NULL};

/* What is known of one metric so far. */
typedef struct {
    const char *name; /* NULL: not asked for */
    double sum, squares;
    uint64_t n;
} tally;

typedef struct {
    cm_dataset *sets[2];
    cm_dataset_info info[2];
    cm_lpips *lpips;
    cm_lpips_info network;
    uint64_t n, same; /* pairs; those that do not differ */
    tally tallies[METRICS];
    uint8_t *bytes[2];
    double *work;
} pairs;

static void count(tally *t, double value)
{
    t->sum += value;
    t->squares += value * value;
    t->n++;
}

/* --- what is asked for --------------------------------------------------------------- */

static void read_metrics(const cli *c, const pairs_options *o, pairs *p)
{
    char *list = strdup(o->metrics ? o->metrics : "psnr,ssim"), *rest = list; /* lives until the program ends */
    for (char *word; list && (word = strtok_r(rest, ",", &rest)) != NULL;) {
        const int which = cli_choice(c, "metric", word, names), kind = which < LPIPS ? which : LPIPS;
        if (p->tallies[kind].name && strcmp(p->tallies[kind].name, names[which]) != 0)
            cli_usage_error(c, "--metric: one network of LPIPS at a time, not %s and %s", p->tallies[kind].name,
                            word);
        p->tallies[kind].name = names[which];
    }
    if (p->tallies[LPIPS].name && !o->features)
        cli_usage_error(
            c,
            "%s needs --features FILE, torchvision's vgg16, alexnet or squeezenet1_1, which is not part of "
            "this project",
            p->tallies[LPIPS].name);
    if (o->features && !p->tallies[LPIPS].name) cli_usage_error(c, "--features has no effect without lpips-NET");
}

static cm_status open_set(cm_context *context, const char *path, cm_dataset **set, cm_dataset_info *info)
{
    cm_dataset_options d = CM_DATASET_OPTIONS_INIT;
    d.channels = CHANNELS;
    d.stop_on_bad = CM_BAD_STOP;
    d.random_crop = CM_CROP_NONE;
    d.shuffle = CM_SHUFFLE_NO;
    *info = (cm_dataset_info)CM_DATASET_INFO_INIT;
    const cm_status status = cm_dataset_open(context, path, &d, set);
    return status == CM_OK ? cm_dataset_info_get(*set, info) : status;
}

static void refuse(const cli *c, const pairs *p, const char *a, const char *b)
{
    const cm_dataset_info *x = &p->info[0], *y = &p->info[1];
    if (x->images != y->images)
        cli_usage_error(c, "%s has %llu images and %s has %llu: pairs need as many of both", a,
                        (unsigned long long)x->images, b, (unsigned long long)y->images);
    if (x->height != y->height || x->width != y->width)
        cli_usage_error(c, "%s has images of %d x %d and %s of %d x %d: pairs need one size", a, x->height, x->width,
                        b, y->height, y->width);
    if (p->tallies[SSIM].name && (x->height < WINDOW || x->width < WINDOW))
        cli_usage_error(c, "ssim needs images of at least %d x %d, and %s has %d x %d", WINDOW, WINDOW, a, x->height,
                        x->width);
}

/* --- PSNR and SSIM ---------------------------------------------------------------------- */

static double psnr(size_t n, const uint8_t *a, const uint8_t *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return 10 * log10(255.0 * 255.0 * (double)n / sum);
}

/* The weighted sums of a window of 11 x 11 around each point that has one, rows first: out has (h - 10) x (w - 10).
 */
static void blur(size_t h, size_t w, const double *in, double *rows, double *out)
{
    double weight[WINDOW], all = 0;
    for (int i = 0; i < WINDOW; i++) all += weight[i] = exp(-(i - 5) * (i - 5) / (2 * 1.5 * 1.5));
    const size_t across = w - WINDOW + 1, down = h - WINDOW + 1;
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < across; x++) {
            double sum = 0;
            for (size_t k = 0; k < WINDOW; k++) sum += weight[k] / all * in[y * w + x + k];
            rows[y * across + x] = sum;
        }
    for (size_t y = 0; y < down; y++)
        for (size_t x = 0; x < across; x++) {
            double sum = 0;
            for (size_t k = 0; k < WINDOW; k++) sum += weight[k] / all * rows[(y + k) * across + x];
            out[y * across + x] = sum;
        }
}

/* Of one channel; work: seven planes. */
static double channel_ssim(size_t h, size_t w, const uint8_t *a, const uint8_t *b, double *work)
{
    const double c1 = 0.01 * 255 * 0.01 * 255, c2 = 0.03 * 255 * 0.03 * 255;
    const size_t plane = h * w, n = (h - WINDOW + 1) * (w - WINDOW + 1);
    double *product = work, *rows = work + plane, *means[5], sum = 0;
    for (int m = 0; m < 5; m++) {
        means[m] = work + (size_t)(2 + m) * plane;
        for (size_t i = 0; i < plane; i++) {
            const double u = a[i * CHANNELS], v = b[i * CHANNELS], values[5] = {u, v, u * u, v * v, u * v};
            product[i] = values[m];
        }
        blur(h, w, product, rows, means[m]);
    }
    for (size_t i = 0; i < n; i++) {
        const double u = means[0][i], v = means[1][i];
        const double uu = means[2][i] - u * u, vv = means[3][i] - v * v, uv = means[4][i] - u * v;
        sum += (2 * u * v + c1) * (2 * uv + c2) / ((u * u + v * v + c1) * (uu + vv + c2));
    }
    return sum / (double)n;
}

static double ssim(size_t h, size_t w, const uint8_t *a, const uint8_t *b, double *work)
{
    double sum = 0;
    for (size_t k = 0; k < CHANNELS; k++) sum += channel_ssim(h, w, a + k, b + k, work);
    return sum / CHANNELS;
}

/* --- all pairs ---------------------------------------------------------------------------- */

static void compare_bytes(pairs *p, size_t pair)
{
    const size_t h = (size_t)p->info[0].height, w = (size_t)p->info[0].width, size = h * w * CHANNELS;
    const uint8_t *a = p->bytes[0] + pair * size, *b = p->bytes[1] + pair * size;
    const int differ = memcmp(a, b, size) != 0;
    if (!differ) p->same++;
    if (p->tallies[PSNR].name && differ) count(&p->tallies[PSNR], psnr(size, a, b));
    if (p->tallies[SSIM].name) count(&p->tallies[SSIM], ssim(h, w, a, b, p->work));
}

static cm_status compare_batch(pairs *p, uint64_t at, size_t n)
{
    double distances[BATCH];
    cm_images images[2];
    cm_status status = CM_OK;
    for (int i = 0; i < 2 && status == CM_OK; i++) {
        images[i] = cm_images_u8(n, p->info[0].height, p->info[0].width, CHANNELS, p->bytes[i]);
        status = cm_dataset_read(p->sets[i], at, &images[i], NULL);
    }
    if (status == CM_OK && p->lpips) status = cm_lpips_run(p->lpips, &images[0], &images[1], distances, NULL, NULL);
    for (size_t i = 0; i < n && status == CM_OK; i++) {
        compare_bytes(p, i);
        if (p->lpips) count(&p->tallies[LPIPS], distances[i]);
    }
    return status;
}

static cm_status compare_all(pairs *p, int quiet)
{
    cli_progress progress;
    const size_t plane = (size_t)p->info[0].height * (size_t)p->info[0].width;
    cm_status status = CM_OK;
    for (int i = 0; i < 2; i++) p->bytes[i] = malloc(BATCH * plane * CHANNELS);
    p->work = malloc(7 * plane * sizeof *p->work);
    if (!p->bytes[0] || !p->bytes[1] || !p->work) return CM_ERR_MEMORY;
    cli_progress_begin(&progress, "pairs", quiet);
    for (uint64_t at = 0; at < p->n && status == CM_OK; at += BATCH) {
        const size_t n = p->n - at < BATCH ? (size_t)(p->n - at) : BATCH;
        status = compare_batch(p, at, n);
        if (status == CM_OK && cli_progress_step(&progress, at + n, p->n)) status = CM_ERR_CANCELLED;
    }
    cli_progress_end(&progress);
    return status;
}

/* --- what is printed ------------------------------------------------------------------------ */

static void print_number(const char *name, const char *more, int digits, double value, int json)
{
    char whole[64];
    (void)snprintf(whole, sizeof whole, "%s%s", name, more);
    if (!json) printf("%-22s %.*g\n", whole, digits, value);
    else {
        printf(", \"%s\": ", whole);
        cli_json_number(stdout, digits, value);
    }
}

/* Mean and standard deviation over the pairs; without one that differs, PSNR is infinite. */
static void print_tally(const tally *t, int json)
{
    const double n = (double)t->n, mean = t->n ? t->sum / n : INFINITY;
    if (!t->name) return;
    print_number(t->name, "", 6, mean, json);
    if (t->n) print_number(t->name, "-deviation", 4, sqrt(fmax(t->squares / n - mean * mean, 0)), json);
}

static void print_all(const pairs *p, const pairs_options *o, const char *a, const char *b)
{
    if (o->json) {
        printf("{\"a\": ");
        cli_json_string(stdout, a);
        printf(", \"b\": ");
        cli_json_string(stdout, b);
        printf(", \"pairs\": %llu, \"same\": %llu, \"height\": %d, \"width\": %d", (unsigned long long)p->n,
               (unsigned long long)p->same, p->info[0].height, p->info[0].width);
        if (p->lpips) printf(", \"%s\": {\"weights\": \"%s\"}", p->network.network, p->network.weights);
    } else {
        printf("%llu pairs of %d x %d, of which %llu do not differ\n", (unsigned long long)p->n, p->info[0].height,
               p->info[0].width, (unsigned long long)p->same);
        if (p->lpips) printf("%s with weights %s; resize: none\n", p->network.network, p->network.weights);
    }
    for (int i = 0; i < METRICS; i++) print_tally(&p->tallies[i], o->json);
    if (o->json) printf("}\n");
}

static cm_status open_all(const cli *c, cm_context *context, const pairs_options *o, const char *const *paths,
                          pairs *p)
{
    cm_status status = CM_OK;
    read_metrics(c, o, p);
    for (int i = 0; i < 2 && status == CM_OK; i++) status = open_set(context, paths[i], &p->sets[i], &p->info[i]);
    if (status != CM_OK) return status;
    refuse(c, p, paths[0], paths[1]);
    p->n = o->limit && o->limit < p->info[0].images ? o->limit : p->info[0].images;
    if (!p->tallies[LPIPS].name) return CM_OK;
    p->network = (cm_lpips_info)CM_LPIPS_INFO_INIT;
    status = cm_lpips_open(context, strchr(p->tallies[LPIPS].name, '-') + 1, o->features, o->lin, NULL, &p->lpips);
    return status == CM_OK ? cm_lpips_info_get(p->lpips, &p->network) : status;
}

cm_status pairs_compare(const cli *c, cm_context *context, const pairs_options *o, const char *a, const char *b)
{
    const char *const paths[2] = {a, b};
    pairs p;
    memset(&p, 0, sizeof p);
    cm_status status = open_all(c, context, o, paths, &p);
    if (status == CM_OK) status = compare_all(&p, o->quiet || o->json);
    if (status == CM_OK) print_all(&p, o, a, b);
    for (int i = 0; i < 2; i++) {
        cm_dataset_free(p.sets[i]);
        free(p.bytes[i]);
    }
    free(p.work);
    cm_lpips_free(p.lpips);
    return status;
}
