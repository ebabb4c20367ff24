/* recipe.c - what cm-train --preset auto knows of training, in one table.
 *
 * The numbers come from the runs of docs/recipes.md and from papers, and nothing else in the planner is a matter of
 * taste: who has the time to train can better them here alone. */
#include "plan.h"

/* name, channels, multipliers, blocks, attention at the lowest level, images that the teacher learns from, pictures
 */
static const plan_rung ladder[] = {
    {"tiny", 16, "1, 2, 2", 1, 0, 0, 0},
    {"small", 16, "1, 2, 4", 1, 1, 100e3, 0},
    {"middle", 32, "1, 2, 2", 1, 1, 1500e3, 2000},
    {"large", 64, "1, 2, 2", 1, 1, 4000e3, 5000},
    {"largest", 64, "1, 2, 2", 3, 1, 10000e3, 10000},
};

#define SCHEDULE "warmup_steps=4% anneal_begin=60% anneal_end=100% lr_final=0.02 grad_clip=1"

#define TUNING 0.6 /* the share, whichever it is */

/* Lu and Song 2024, training and distillation; Geng et al. 2024. */
static const plan_kind tunings[] = {
    {"tune", "sct", TUNING, "optimizer=radam lr=0.0004 tangent_warmup=20% " SCHEDULE, 0, PLAN_NO_TEACHER},
    {"tune", "ect", TUNING, "optimizer=radam lr=0.0004 " SCHEDULE, 1, PLAN_NO_TEACHER},
    {"tune", "scd", TUNING, "optimizer=radam lr=0.0004 tangent_warmup=20% " SCHEDULE, 0, PLAN_GUIDED},
};

const plan_recipe recipe = {
    .rungs = ladder,
    .n_rungs = sizeof ladder / sizeof *ladder,
    .tunings = tunings,
    .n_tunings = sizeof tunings / sizeof *tunings,
    .guidance = 1,
    .unlabelled = "label_dropout=0.1",
    .stages =
        {
            /* Karras et al. 2022, then Hu et al. 2025 where it is asked for. */
            {"teacher", "edm", 0.4, "optimizer=adam lr=0.001 " SCHEDULE, 0, PLAN_NO_TEACHER},
            {"mid", "cmt", 0, "optimizer=radam lr=0.0004 " SCHEDULE, 1, PLAN_FOLLOWS},
            {"tune", "", TUNING, "", 0, PLAN_NO_TEACHER},
        },
    .work = 0.93,
    .bf16_gain = 1.3,
    .batches = {16, 32, 64, 128},
    .least_steps = 4000,
    .held_out = 0.05,
    .held_out_most = 2000,
    .held_out_from = 200,
    .augment_below = 20000,
    .augment = "augment=0.12",
    .augment_dim = 6,
    .dropout_below = 5000,
    .dropout = "dropout=0.1",
    .mirrored = "flip=0.5",
    .huber = 0.0054,
    .averages = {0.04, 0.01, 0.1},
};
