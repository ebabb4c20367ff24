/* plan.h - from facts about pictures, a machine and a budget to a plan of training.
 *
 * Pure functions of their arguments: nothing here opens a file, looks at a clock or calls the library.  What has to
 * be found out by trying is asked for: plan_next names a measurement that is missing, and who calls makes it. */
#ifndef PLAN_H
#define PLAN_H

#include <stddef.h>
#include <stdint.h>

enum {
    PLAN_STAGES = 3,
    PLAN_AVERAGES = 3,
    PLAN_MEASURES = 64,
    PLAN_OPTIONS = 1024,
    PLAN_NETWORK = 1024,
    PLAN_WHY = 200
};
enum { PLAN_F32 = 0, PLAN_BF16 = 1, PLAN_PRECISIONS = 2 };
enum { PLAN_GIVEN = -1 }; /* the rung of a network that was given */
/* A stage begins with the weights of the one before; or it follows the first one; or its guided images, where the set
 * has classes. */
enum { PLAN_NO_TEACHER = 0, PLAN_FOLLOWS = 1, PLAN_GUIDED = 2 };

/* --- the recipe: recipe.c ------------------------------------------------------------------------- */

/* A rung of the ladder of networks: songunets, whose lowest level has attention where `attention` is 1. */
typedef struct plan_rung {
    const char *name;
    int channels;
    const char *multipliers; /* of three levels; a fourth like the last one from 64 pixels on */
    int blocks, attention;
    double images;     /* that the teacher has to be able to learn from, in all, for this rung to be taken */
    uint64_t pictures; /* that the set needs to have */
} plan_rung;

typedef struct plan_kind {
    const char *name, *objective; /* of a stage */
    double share;                 /* of the budget; 0: left out unless shares are given */
    const char *options;          /* KEY=VALUE with blanks between them; schedules in shares of the steps */
    int has_huber;                /* 1: its distance is pseudo-Huber, whose c follows the size of an image */
    int teacher;                  /* PLAN_NO_TEACHER, ...: what it takes the first stage for */
} plan_kind;

typedef struct plan_recipe {
    const plan_rung *rungs; /* from the smallest to the largest */
    int n_rungs;
    plan_kind stages[PLAN_STAGES]; /* of the last one the name and the share: what it is, tunings say */
    const plan_kind *tunings;      /* the first, unless another objective or guidance was asked for */
    int n_tunings;
    double guidance;        /* the scale that the tuning learns of a set with classes; 1: none */
    const char *unlabelled; /* options of the teacher of a guided stage */
    double work;        /* the part of a stage's time that its steps take; the others: pages, looks, checkpoints */
    double bf16_gain;   /* bfloat16 is taken where it is so many times as fast as float32 */
    int batches[4];     /* from the smallest to the largest: the largest that leaves ... */
    double least_steps; /* ... so many steps to the teacher is taken */
    double held_out;    /* the share of the pictures that is kept back, ... */
    uint64_t held_out_most;         /* ... at most so many, ... */
    uint64_t held_out_from;         /* ... and none of sets smaller than this */
    uint64_t augment_below;         /* sets that are smaller than this are augmented, ... */
    const char *augment;            /* ... the teacher with these options, */
    int augment_dim;                /* for which its network has this argument */
    uint64_t dropout_below;         /* and sets smaller than this ... */
    const char *dropout;            /* ... in every stage with these */
    const char *mirrored;           /* options of all stages where pictures may be mirrored */
    double huber;                   /* c of pseudo-Huber is this times the root of the values of an image */
    double averages[PLAN_AVERAGES]; /* half-lives: these shares of the images of a stage; the best one is taken */
} plan_recipe;
extern const plan_recipe recipe;

/* --- what a plan is made of ---------------------------------------------------------------------- */

/* Seconds that an image of a training step takes. */
typedef struct plan_measure {
    int side, rung, precision, stage; /* stage: its index; the objective costs what it costs */
    double seconds;                   /* PLAN_NEVER: this machine has no such steps */
} plan_measure;
#define PLAN_NEVER 1e6

typedef struct plan_facts {
    double budget;         /* seconds, for all that is still to be done */
    uint64_t pictures;     /* to learn from, those that are held out not among them */
    int sides[4], n_sides; /* that the images may have, from the largest to the smallest; at least one */
    int channels, classes;
    int may_mirror; /* 1: a mirrored picture is still one of the kind */
    plan_measure measures[PLAN_MEASURES];
    int n_measures;
} plan_facts;

/* What was said by options.  0, or a negative precision: the plan chooses. */
typedef struct plan_wishes {
    int batch, precision;
    int tuning;                 /* counted from 1 */
    double guidance;            /* 1: none */
    int is_network_given;       /* measures have the rung PLAN_GIVEN then */
    int rung;                   /* of the ladder, counted from 1 */
    double shares[PLAN_STAGES]; /* all 0: those of the recipe; a stage of share 0 is left out */
    int64_t steps[PLAN_STAGES]; /* of single stages; their share gives way */
} plan_wishes;

typedef struct plan_stage {
    const plan_kind *kind;
    int number;           /* its index in the recipe */
    double share;         /* of what is planned by shares */
    double seconds_image; /* measured, of a step */
    int64_t steps;
    int is_fixed;   /* 1: the steps were said, the clock changes nothing */
    double seconds; /* that it will take, pages and checkpoints included */
    char options[PLAN_OPTIONS];
} plan_stage;

typedef struct plan {
    int side, rung, batch, precision;
    char network[PLAN_NETWORK]; /* JSON; empty where it was given */
    plan_stage stages[PLAN_STAGES];
    int n_stages;
    double seconds; /* of all stages */
    char why_side[PLAN_WHY], why_network[PLAN_WHY], why_precision[PLAN_WHY], why_batch[PLAN_WHY];
} plan;

/* --- planning --------------------------------------------------------------------------------------- */

/* What a stage is. */
const plan_kind *plan_kind_of(const plan_facts *facts, const plan_wishes *wishes, int stage);
/* The scale of guidance that the last stage learns; 1: none. */
double plan_guidance(const plan_facts *facts, const plan_wishes *wishes);
/* Whether a measurement is missing; then *wanted is what, without its seconds. */
int plan_next(const plan_facts *facts, const plan_wishes *wishes, plan_measure *wanted);
/* The plan, once plan_next wants nothing more for the same facts, the budget among them.  NULL, or a sentence that
 * says why there is none. */
const char *plan_make(const plan_facts *facts, const plan_wishes *wishes, plan *out);
/* The JSON of a network of the ladder; fails (0) where `side` cannot be halved as often as it needs. */
int plan_network(int rung, int side, int channels, int classes, int augment_dim, char text[PLAN_NETWORK]);
/* How many of so many pictures are held out, as a share; 0: none. */
double plan_held_out(uint64_t pictures);

/* --- while it runs ------------------------------------------------------------------------------------ */

/* Seconds for stage `at` of the stages from `at` on, of which `left` are left in all; the seconds of those that are
 * fixed are as planned, and `slowness` is how many times as long steps take as was measured. */
double plan_allowance(const plan *p, int at, double left, double slowness);
/* The steps of a stage of which `step` are taken and `steps` were planned, when a step takes `seconds_step` with all
 * that goes with it and `left` seconds are left for the stage: fewer where it would end more than `tolerance` seconds
 * late, more where it would end more than twice that early, but for its last steps, whose learning rate has fallen.
 */
int64_t plan_revised(int64_t step, int64_t steps, double seconds_step, double left, double tolerance);

#endif
