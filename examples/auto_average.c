/* auto_average.c - which of the averages of a stage that has ended is its model.
 *
 * A teacher is the better the less it errs about pictures that were held out.  A consistency model is meant to take a
 * noise to where the teacher's trajectory from it ends, so the better one ends nearer to it. */
#include <dirent.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"

/* So many noises whatever the clock says: where the steps of all stages are given, the models are the same bytes in
 * every run. */
enum { NOISES = 64, STEPS = 9, MOST = 8, NAME = 256 };

typedef struct {
    int n;
    char names[MOST][NAME]; /* of the files of the last checkpoint */
    double scores[MOST];    /* the least is the best */
} averages;

/* --- the candidates ------------------------------------------------------------------------------- */

static int in_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* "" where there is no checkpoint. */
static void last_checkpoint(const auto_run *a, int stage, char path[AUTO_PATH])
{
    char name[NAME] = "", within[NAME + 16];
    auto_stage_path(a, stage, "checkpoints/LATEST", path);
    FILE *file = fopen(path, "r");
    const int is_read = file && fgets(name, sizeof name, file) != NULL;
    if (file) (void)fclose(file);
    name[strcspn(name, "\r\n")] = '\0';
    (void)snprintf(within, sizeof within, "checkpoints/%s", name);
    auto_stage_path(a, stage, within, path);
    if (!is_read) path[0] = '\0';
}

static void find(const char *checkpoint, averages *all)
{
    all->n = 0;
    DIR *folder = *checkpoint ? opendir(checkpoint) : NULL;
    for (struct dirent *e; folder && all->n < MOST && (e = readdir(folder)) != NULL;) {
        const char *end = strrchr(e->d_name, '.');
        if (strncmp(e->d_name, "ema-", 4) == 0 && end && strcmp(end, ".safetensors") == 0)
            (void)snprintf(all->names[all->n++], NAME, "%s", e->d_name);
    }
    if (folder) (void)closedir(folder);
    qsort(all->names, (size_t)all->n, NAME, in_order);
}

static cm_status open_one(const auto_run *a, const char *checkpoint, const char *name, cm_model **model)
{
    char path[AUTO_PATH + NAME];
    (void)snprintf(path, sizeof path, "%s/%s", checkpoint, name);
    return cm_model_load(a->context, path, NULL, model);
}

/* --- where trajectories end ------------------------------------------------------------------------ */

typedef struct {
    size_t values; /* of all images */
    int32_t labels[NOISES];
    float *ends, *images; /* of the teacher; of a candidate */
} solutions;

/* As the stage follows them. */
static cm_status solve(const auto_run *a, int stage, solutions *out)
{
    char path[AUTO_PATH];
    cm_model *teacher;
    cm_model_info m = CM_MODEL_INFO_INIT;
    auto_stage_path(a, 0, "model.safetensors", path);
    cm_status status = cm_model_load(a->context, path, NULL, &teacher);
    if (status != CM_OK) return status;
    status = cm_model_info_get(teacher, &m);
    out->values = NOISES * (size_t)(m.channels * m.height * m.width);
    for (int32_t i = 0; i < NOISES; i++) out->labels[i] = m.num_classes ? i % m.num_classes : -1;
    out->ends = calloc(2 * out->values, sizeof *out->ends);
    out->images = out->ends ? out->ends + out->values : NULL;
    if (status == CM_OK && !out->ends) status = CM_ERR_MEMORY;
    if (status == CM_OK) status = auto_draw(a, teacher, STEPS, stage, NOISES, out->labels, out->ends);
    cm_model_free(teacher);
    return status;
}

/* The mean square of the distance of one step to them. */
static cm_status distance(const auto_run *a, cm_model *model, const solutions *to, double *score)
{
    double sum = 0;
    const cm_status status = auto_draw(a, model, 1, 0, NOISES, to->labels, to->images);
    for (size_t i = 0; i < to->values; i++) {
        const double apart = (double)to->images[i] - (double)to->ends[i];
        sum += apart * apart;
    }
    *score = sum / (double)to->values;
    return status;
}

/* --- the choice --------------------------------------------------------------------------------------- */

static cm_status score(auto_run *a, const char *checkpoint, const solutions *to, averages *all)
{
    cm_status status = CM_OK;
    for (int i = 0; i < all->n && status == CM_OK; i++) {
        cm_model *model;
        auto_losses losses = {0, 0};
        status = open_one(a, checkpoint, all->names[i], &model);
        if (status != CM_OK) return status;
        if (to->ends) status = distance(a, model, to, &all->scores[i]);
        else status = auto_losses_of(a, model, &losses), all->scores[i] = losses.held_out;
        if (!isfinite(all->scores[i])) all->scores[i] = DBL_MAX; /* worse than any, and a number of JSON */
        cm_model_free(model);
    }
    return status;
}

static void tell(const auto_run *a, int stage, const averages *all, int best)
{
    char text[900] = "";
    for (int i = 0; i < all->n; i++) {
        const size_t at = strlen(text);
        (void)snprintf(text + at, sizeof text - at, "%s\"%.60s\": %.6g", i ? ", " : "", all->names[i],
                       all->scores[i]);
    }
    auto_log(a, "\"event\": \"averages\", \"stage\": \"%s\", \"best\": \"%.60s\", \"by\": \"%s\", \"scores\": {%s}",
             a->plan.stages[stage].kind->name, all->names[best], stage ? "distance to the teacher" : "held-out loss",
             text);
}

static void take(const auto_run *a, int stage, const char *checkpoint, const averages *all)
{
    int best = 0;
    char from[AUTO_PATH + NAME], to[AUTO_PATH];
    for (int i = 1; i < all->n; i++)
        if (all->scores[i] < all->scores[best]) best = i;
    (void)snprintf(from, sizeof from, "%s/%s", checkpoint, all->names[best]);
    auto_stage_path(a, stage, "model.safetensors", to);
    auto_copy(a, from, to);
    tell(a, stage, all, best);
}

/* Whether there is something to compare with: a choice that was made by a metric stands. */
static int is_comparable(const auto_run *a, int stage)
{
    char path[AUTO_PATH];
    auto_stage_path(a, stage, "best.safetensors", path);
    if (auto_exists(path) || strcmp(a->plan.stages[0].kind->objective, "edm") != 0) return 0;
    return stage > 0 || a->looks[0].images;
}

cm_status auto_choose_average(auto_run *a, int stage)
{
    static averages all;
    static solutions to;
    char checkpoint[AUTO_PATH];
    cm_status status = auto_read_looks(a);
    if (status != CM_OK) return status;
    last_checkpoint(a, stage, checkpoint);
    find(checkpoint, &all);
    if (all.n < 2 || !is_comparable(a, stage)) return CM_OK;
    memset(&to, 0, sizeof to);
    status = stage ? solve(a, stage, &to) : CM_OK;
    if (status == CM_OK) status = score(a, checkpoint, &to, &all);
    if (status == CM_OK) take(a, stage, checkpoint, &all);
    free(to.ends);
    return status;
}
