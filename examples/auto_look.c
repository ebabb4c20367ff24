/* auto_look.c - what is to be known before a plan: the pictures, and the seconds of real steps. */
#include <stdlib.h>
#include <string.h>

#include "auto.h"

/* --- the data set ----------------------------------------------------------------------------------- */

static cm_status open_part(const auto_run *a, int side, int32_t part, cm_dataset **out)
{
    const auto_data *d = &a->data;
    cm_dataset_options o = CM_DATASET_OPTIONS_INIT;
    o.channels = d->channels;
    o.height = o.width = side;
    o.labels = d->labels;
    o.class_names = *d->class_names ? d->class_names : NULL;
    o.random_crop = d->random_crop;
    o.stop_on_bad = d->stop_on_bad;
    o.seed = d->seed;
    o.part = part;
    o.held_out = part == CM_PART_ALL ? 0 : d->held_share;
    return cm_dataset_open(a->context, d->path, &o, out);
}

void auto_close(auto_run *a)
{
    auto_free_looks(a);
    cm_dataset_free(a->set);
    cm_dataset_free(a->held);
    a->set = a->held = NULL;
}

cm_status auto_open(auto_run *a, int side)
{
    const int parts = a->data.held_share > 0;
    auto_close(a);
    cm_status status = open_part(a, side, parts ? CM_PART_TRAINING : CM_PART_ALL, &a->set);
    return status == CM_OK && parts ? open_part(a, side, CM_PART_HELD_OUT, &a->held) : status;
}

/* --- looking ---------------------------------------------------------------------------------------- */

typedef struct {
    double until;
    int stopped;
} deadline;

static int32_t is_over(void *user, uint64_t done, uint64_t total)
{
    deadline *d = user;
    (void)done, (void)total;
    return d->stopped = cli_interrupted() || cli_seconds() > d->until;
}

/* Every picture is read, as far as the time goes. */
static cm_status check(auto_run *a, cm_dataset *set, double until, cm_dataset_report *report)
{
    deadline d = {until, 0};
    cm_dataset_check_options o = CM_DATASET_CHECK_OPTIONS_INIT;
    o.progress = is_over;
    o.progress_user = &d;
    const cm_status status = cm_dataset_check(set, &o, report);
    a->data.looked_at_all = status == CM_OK;
    if (status == CM_ERR_CANCELLED && d.stopped && !cli_interrupted()) return CM_OK;
    return status;
}

/* Letters and digits are others in a mirror: classes whose names are one character say so, and so does a set of
 * MNIST's kind, unless its classes were given names. */
static int may_be_mirrored(const cm_dataset *set, const cm_dataset_info *info)
{
    int short_names = 0, n = 0;
    if (strcmp(info->kind, "idx") == 0 && !cm_dataset_class_name(set, 0)) return 0;
    for (const char *name; (name = cm_dataset_class_name(set, n)) != NULL; n++)
        short_names += cli_character((const unsigned char *)name) == strlen(name);
    return n == 0 || short_names < n;
}

/* Images of these sets have the size that they have. */
static int is_raw(const char *kind)
{
    return strcmp(kind, "idx") == 0 || strcmp(kind, "npz") == 0 || strncmp(kind, "cifar", 5) == 0;
}

/* From the largest; those below 28 are for pictures that are smaller still. */
static const int all_sides[] = {64, 48, 32, 28, 24, 20, 16};
enum { ALL_SIDES = sizeof all_sides / sizeof *all_sides };

/* The set at the largest of the sides that at most a tenth of the pictures are smaller than, else at the last one.
 * Where there is no time to look at all of them, the first picture says it: `first` is its side. */
static cm_status fit(auto_run *a, int first, double seconds, cm_dataset **set, cm_dataset_report *report)
{
    cm_status status = CM_OK;
    for (int i = 0; i < ALL_SIDES && status == CM_OK; i++, seconds /= 2) {
        cm_dataset_free(*set);
        *set = NULL;
        status = open_part(a, all_sides[i], CM_PART_ALL, set);
        if (status == CM_OK) status = check(a, *set, cli_seconds() + seconds, report);
        if (status != CM_OK) break;
        if (a->data.looked_at_all ? report->enlarged * 10 <= report->images : all_sides[i] <= first) break;
    }
    return status;
}

/* The sides in question, from the largest. */
static void list_sides(plan_facts *f, int largest, int is_settled)
{
    f->n_sides = 0;
    if (is_settled) f->sides[f->n_sides++] = largest;
    for (int i = 0; i < ALL_SIDES && !is_settled; i++)
        if (largest >= all_sides[i] && (all_sides[i] > 28 || f->n_sides == 0)) f->sides[f->n_sides++] = all_sides[i];
}

/* Classes of a handful of pictures teach nothing but those. */
static int too_many_classes(const cm_dataset_info *info)
{
    enum { PICTURES = 10, CLASSES = 1000 };
    return info->classes > CLASSES || (uint64_t)info->classes * PICTURES > info->images;
}

static void note(auto_run *a, const cm_dataset *set, const cm_dataset_info *info, const cm_dataset_report *report)
{
    auto_data *d = &a->data;
    (void)snprintf(d->kind, sizeof d->kind, "%s", info->kind);
    (void)snprintf(d->classes_from, sizeof d->classes_from, "%s", info->classes_from ? info->classes_from : "");
    d->pictures = info->images - (d->looked_at_all ? report->damaged : 0);
    d->damaged = report->damaged;
    d->duplicates = report->duplicates;
    d->small = report->enlarged;
    d->classes = info->classes;
    d->channels = d->channels ? d->channels : info->channels;
    if (d->looked_at_all && report->gray == report->images) d->channels = 1;
    a->facts.may_mirror = may_be_mirrored(set, info);
    if (d->labels == CM_LABELS_AUTO && too_many_classes(info)) {
        if (!a->quiet)
            fprintf(stderr,
                    "%s: %d classes of %llu pictures are too many to be learnt: they are left out "
                    "(--labels folder keeps them)\n",
                    a->c->program, info->classes, (unsigned long long)info->images);
        d->labels = CM_LABELS_NONE;
        d->classes = 0;
    }
}

/* The whole set, looked at, and the sides in question. */
static cm_status look_through(auto_run *a, int said, cm_dataset **set, cm_dataset_info *info,
                              cm_dataset_report *report)
{
    enum { MOST_SECONDS = 120 };
    static const double share = 0.03; /* of the budget */
    const double seconds = share * a->budget < MOST_SECONDS ? share * a->budget : MOST_SECONDS;
    cm_status status = open_part(a, said, CM_PART_ALL, set);
    if (status != CM_OK || (status = cm_dataset_info_get(*set, info)) != CM_OK) return status;
    const int is_settled = said || is_raw(info->kind);
    status =
        is_settled ? check(a, *set, cli_seconds() + seconds, report) : fit(a, info->height, seconds, set, report);
    if (status == CM_OK) status = cm_dataset_info_get(*set, info);
    if (status == CM_OK) list_sides(&a->facts, info->height, is_settled);
    return status;
}

cm_status auto_look(auto_run *a, const auto_request *request)
{
    cm_dataset *set = NULL;
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    cm_dataset_report report = CM_DATASET_REPORT_INIT;
    auto_data *d = &a->data;
    const int said = request->size ? (int)cli_integer(a->c, "size", request->size, 8, 256) : a->facts.sides[0];
    cm_status status = look_through(a, said, &set, &info, &report);
    if (status == CM_OK) note(a, set, &info, &report);
    cm_dataset_free(set);
    if (status != CM_OK) return status;
    if (d->held_share < 0) d->held_share = plan_held_out(d->pictures);
    status = auto_open(a, a->facts.sides[0]);
    if (status == CM_OK) status = cm_dataset_info_get(a->set, &info);
    a->facts.pictures = info.images;
    a->facts.channels = d->channels;
    a->facts.classes = d->classes;
    if (status == CM_OK && a->held) status = cm_dataset_info_get(a->held, &info);
    d->held_out = a->held ? info.images : 0;
    return status;
}

/* --- timing ------------------------------------------------------------------------------------------ */

typedef struct {
    double seconds[8];
    int n;
    double until;
} watch;

static int32_t take_time(void *user, const cm_train_report *report)
{
    watch *w = user;
    if (w->n < 8) w->seconds[w->n++] = report->seconds;
    return cli_interrupted() || (w->n >= 3 && cli_seconds() > w->until);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first step, which prepares what the others use, does not count. */
static double middle(watch *w)
{
    if (w->n < 2) return 0;
    qsort(w->seconds + 1, (size_t)w->n - 1, sizeof *w->seconds, by_size);
    return w->seconds[1 + (w->n - 2) / 2];
}

static cm_status run_steps(auto_run *a, const plan_measure *m, const char *network, int batch, watch *w)
{
    cm_train_inputs inputs = CM_TRAIN_INPUTS_INIT;
    cm_train_options *o = NULL;
    cm_trainer *trainer = NULL;
    const plan_kind *kind = plan_kind_of(&a->facts, &a->wishes, m->stage);
    const double guidance = kind->teacher == PLAN_GUIDED ? plan_guidance(&a->facts, &a->wishes) : 1;
    cm_status status = cm_model_create(a->context, network, 0, &inputs.model);
    if (status == CM_OK && kind->teacher) status = cm_model_create(a->context, network, 1, &inputs.teacher);
    if (status == CM_OK) status = cm_train_options_create(a->context, &o);
    if (status == CM_OK) status = cm_train_options_set(o, "objective", kind->objective);
    if (status == CM_OK && guidance != 1) status = cm_train_options_set_number(o, "guidance", guidance);
    if (status == CM_OK) status = cm_train_options_set_number(o, "batch", batch);
    if (status == CM_OK) status = cm_train_options_set_number(o, "threads", a->threads);
    if (status == CM_OK) status = cm_train_options_set(o, "precision", m->precision == PLAN_BF16 ? "bf16" : "f32");
    if (status == CM_OK) status = cm_trainer_create(&inputs, o, &trainer);
    if (status == CM_OK) status = cm_trainer_run(trainer, a->set, 8, take_time, w);
    if (status == CM_ERR_CANCELLED && w->n >= 2 && !cli_interrupted()) status = CM_OK;
    cm_trainer_free(trainer);
    cm_train_options_free(o);
    cm_model_free(inputs.teacher);
    cm_model_free(inputs.model);
    return status;
}

static cm_status time_one(auto_run *a, plan_measure *m)
{
    enum { LEAST_BATCH = 16, BATCH = 64 };
    char network[PLAN_NETWORK];
    const int batch = a->wishes.batch ? a->wishes.batch : a->facts.pictures >= BATCH ? BATCH : LEAST_BATCH;
    watch w = {.until = cli_seconds() + (a->budget < 400 ? a->budget / 200 : 2)};
    if (m->rung >= 0 && !plan_network(m->rung, m->side, a->facts.channels, a->facts.classes, 0, network))
        cli_usage_error(a->c,
                        "images of %d x %d pixels cannot be halved as often as the network does it: give --size",
                        m->side, m->side);
    cm_dataset_info info = CM_DATASET_INFO_INIT;
    cm_status status = cm_dataset_info_get(a->set, &info);
    if (status == CM_OK && (info.height != m->side || info.channels != a->facts.channels))
        status = auto_open(a, m->side);
    if (status == CM_OK) status = run_steps(a, m, m->rung < 0 ? a->data.network : network, batch, &w);
    m->seconds = middle(&w) / batch;
    if (status != CM_OK && m->precision == PLAN_BF16 && !cli_interrupted()) {
        m->seconds = PLAN_NEVER;
        return CM_OK;
    }
    if (status == CM_OK && !a->quiet)
        fprintf(stderr, "timed: %s of '%s' at %d x %d in %s: %.4g images a second\n",
                plan_kind_of(&a->facts, &a->wishes, m->stage)->objective,
                m->rung < 0 ? "the given network" : recipe.rungs[m->rung].name, m->side, m->side,
                m->precision == PLAN_BF16 ? "bfloat16" : "float32", 1 / m->seconds);
    return status;
}

cm_status auto_measure(auto_run *a)
{
    plan_measure wanted;
    cm_status status = CM_OK;
    a->facts.budget =
        auto_left(a); /* the plan is made with what it was at the last measurement, so that none is missing */
    while (status == CM_OK && plan_next(&a->facts, &a->wishes, &wanted) && a->facts.n_measures < PLAN_MEASURES) {
        status = time_one(a, &wanted);
        if (status == CM_OK) a->facts.measures[a->facts.n_measures++] = wanted;
        a->facts.budget = auto_left(a);
    }
    return status;
}
