/* recipe.c - what cm-train --preset auto knows of training, in one table.
 *
 * The numbers come from the runs of docs/recipes.md and from papers, and nothing else in the planner is a matter of
 * taste: who has the time to train can better them here alone. */
#include "plan.h"

/* name, channels, multipliers, blocks, attention at the lowest level, images that the teacher learns from, pictures
 */
static const plan_rung ladder[] = {
    {"tiny", 16, "1, 2, 2", 1, 0, 0, 0},
    {"small", 16, "1, 2, 4", 1, 1, 150e3, 0},
    {"middle", 32, "1, 2, 2", 1, 1, 400e3, 2000},
    {"large", 48, "1, 2, 2", 2, 1, 1500e3, 5000},
    {"largest", 64, "1, 2, 2", 3, 1, 5000e3, 10000},
};

#define SCHEDULE "warmup_steps=4% anneal_begin=60% anneal_end=100% lr_final=0.02 grad_clip=1"

const plan_recipe recipe = {
    .rungs = ladder,
    .n_rungs = sizeof ladder / sizeof *ladder,
    .stages =
        {
            /* Karras et al. 2022, then Hu et al. 2025, then Geng et al. 2024. */
            {"teacher", "edm", 0.45, "optimizer=adam lr=0.001 " SCHEDULE},
            {"mid", "cmt", 0.15, "optimizer=radam lr=0.0004 " SCHEDULE},
            {"tune", "ect", 0.40, "optimizer=radam lr=0.0004 " SCHEDULE},
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
    .tuning_after_mid = "ect_stages=1 ect_first_stage=7",
    .huber = 0.0054,
    .average = 0.04,
};
