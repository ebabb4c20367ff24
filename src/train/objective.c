/* objective.c - the table, and what every objective ends with. */
#include "train/objective.h"

#include <string.h>

const char *const cm_ode_names[] = {"heun", "euler", NULL};
const char *const cm_levels_names[] = {"lognormal", "vp", "ve", NULL};
const char *const cm_mapping_names[] = {"sigmoid", "const", NULL};
const char *const cm_weighting_names[] = {"uniform", "snr", "snr+1", "karras", "truncated-snr", NULL};
const char cm_objective_list[] = "edm, cd, ct, pd, ict, ect";

static const cm_objective *const all[] = {&cm_objective_edm, &cm_objective_cd,  &cm_objective_ct,
                                          &cm_objective_pd,  &cm_objective_ict, &cm_objective_ect};

const cm_objective *cm_objective_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0) return all[i];
    return NULL;
}

enum { IMAGES = 6, NUMBERS = 4 };

static size_t image_size(const cm_objective_settings *s)
{
    return (size_t)s->distance.channels * (size_t)s->distance.height * (size_t)s->distance.width;
}

size_t cm_objective_work(const cm_objective_settings *s, size_t n)
{
    return n * (IMAGES * image_size(s) + NUMBERS) + cm_distance_work(&s->distance);
}

cm_objective_room cm_objective_split(const cm_objective_settings *s, const cm_objective_batch *b)
{
    cm_objective_room r;
    r.size = image_size(s);
    size_t images = b->n * r.size;
    r.x_t = b->work;
    r.online = r.x_t + images;
    r.x_t2 = r.online + images;
    r.target = r.x_t2 + images;
    r.slope = r.target + images;
    r.d = r.slope + images;
    r.t = r.d + images;
    r.t2 = r.t + b->n;
    r.t3 = r.t2 + b->n;
    r.weight = r.t3 + b->n;
    r.distance = r.weight + b->n;
    return r;
}

void cm_add_noise(const cm_objective_batch *b, size_t size, const double *t, double *x)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * size; k < (i + 1) * size; k++) x[k] = b->x0[k] + t[i] * b->z[k];
}

cm_status cm_compare_and_learn(const cm_objective_settings *s, const cm_objective_batch *b,
                               const cm_objective_nets *nets, cm_objective_room *room)
{
    double *gradient = room->slope;
    CM_TRY(nets->online(nets->user, room->x_t, room->t, room->online));
    for (size_t i = 0; i < b->n; i++) {
        size_t at = i * room->size;
        double d = cm_distance_of(&s->distance, room->online + at, room->target + at, gradient + at, room->distance);
        double factor = room->weight[i] * b->share[i];
        b->loss[i] = room->weight[i] * d;
        for (size_t k = at; k < at + room->size; k++) gradient[k] *= factor;
    }
    return nets->backward(nets->user, gradient);
}
