/* training_schedules.c - golden/algorithms: averages, clipping, schedules over k, bilinear. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/curriculum.h"
#include "train/ema.h"
#include "train/optim.h"
#include "training_toy.h"

/* --- ema_misc --------------------------------------------------------------------------------- */

static void check_averages(const golden_file *f, golden_result *r)
{
    size_t all = 0, n = 0;
    double *src = golden_read(f, "src", &all), *init = golden_read(f, "init", &n);
    for (size_t t = 0; t < f->st.count; t++) {
        const char *name = f->st.tensors[t].name;
        size_t length = strlen(name);
        if (strncmp(name, "ema.", 4) != 0 || strcmp(name + length - 5, ".traj") != 0) continue;
        double rate = strtod(name + 4, NULL), *path = calloc(all, sizeof *path);
        float e[64], p[64];
        for (size_t k = 0; k < n; k++) e[k] = (float)init[k];
        for (size_t step = 0; step < all / n; step++) {
            for (size_t k = 0; k < n; k++) p[k] = (float)src[step * n + k];
            cmi_ema_apply(rate, n, e, p);
            for (size_t k = 0; k < n; k++) path[step * n + k] = (double)e[k];
        }
        compare(f, r, name, all, path, FLOAT32);
        free(path);
    }
    free(src), free(init);
}

static const char *find_table(const golden_file *f, const char *prefix)
{
    for (size_t t = 0; t < f->st.count; t++)
        if (strncmp(f->st.tensors[t].name, prefix, strlen(prefix)) == 0) return f->st.tensors[t].name;
    return "";
}

/* Rows (batch, halflife in kimg, ramp, images so far, beta). */
static void check_halflife(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *rows = golden_read(f, find_table(f, "halflife_rows"), &n);
    for (size_t i = 0; rows && i < n / 5; i++) {
        const double *row = rows + 5 * i;
        const cm_ema_rate rate = {CM_EMA_HALFLIFE, row[1] * 1000, row[2] > 0 ? row[2] : 0};
        /* k steps of the batch have been taken: images = k batch */
        double beta = cmi_ema_rate_at(&rate, (int64_t)llround(row[3] / row[0]),
                                      (double)llround(row[3] / row[0]) * row[0], row[0]);
        if (fmod(row[3], row[0]) != 0) continue; /* no whole number of steps */
        golden_compare(r, "halflife", fabs(beta - row[4]), 1e-12);
    }
    if (!rows) golden_fail(r, "no half-life table");
    free(rows);
}

static void check_clipping(const golden_file *f, golden_result *r)
{
    size_t n[2];
    double *g[2] = {golden_read(f, "clip.g0", &n[0]), golden_read(f, "clip.g1", &n[1])}, norm = 0;
    float all[64];
    for (size_t i = 0; i < n[0] + n[1]; i++) all[i] = (float)(i < n[0] ? g[0][i] : g[1][i - n[0]]);
    (void)cmi_gradient_norm(cmi_one_thread(), n[0] + n[1], all, &norm);
    compare(f, r, "clip.norm", 1, &norm, FLOAT32);
    for (size_t t = 0; t < f->st.count; t++) {
        const char *name = f->st.tensors[t].name, *rules[] = {"torch", "optax"};
        for (int rule = 0; rule < 2; rule++) {
            char prefix[32];
            double *got = calloc(n[0] + n[1], sizeof *got);
            int length = snprintf(prefix, sizeof prefix, "clip.%s.", rules[rule]);
            if (strncmp(name, prefix, (size_t)length) == 0 && name[strlen(name) - 2] == 'g') { /* clip.torch.1.0.g0 */
                double max = strtod(name + length, NULL);
                char which = name[strlen(name) - 1];
                size_t count = which == '0' ? n[0] : n[1];
                double factor = cmi_clip_factor(rule ? CM_CLIP_RULE_OPTAX : CM_CLIP_RULE_TORCH, norm, max);
                for (size_t i = 0; i < count; i++) got[i] = factor * g[which - '0'][i];
                compare(f, r, name, count, got, FLOAT32);
            }
            free(got);
        }
    }
    free(g[0]), free(g[1]);
}

static void check_loss_scale(const golden_file *f, golden_result *r)
{
    size_t n = 0, overflows = 0;
    double *after = golden_read(f, "fp16.lg_loss_scale_after", &n), *took = golden_read(f, "fp16.took_step", NULL);
    static const char *const known[] = {"initial_lg_loss_scale", "growth", NULL};
    json_t *fp16 = golden_json(f, "fp16");
    double *at = golden_read(f, "fp16.overflow_steps", &overflows), lg = member(fp16, "initial_lg_loss_scale", 20);
    double growth = member(fp16, "growth", 1e-3);
    golden_members(r, "fp16", fp16, known);
    json_decref(fp16);
    for (size_t k = 0; after && k < n; k++) {
        int overflow = 0;
        for (size_t i = 0; i < overflows; i++) overflow |= (size_t)at[i] == k;
        golden_compare(r, "fp16.took_step", fabs(cmi_loss_scale_step(&lg, growth, overflow) - took[k]), 0);
        golden_compare(r, "fp16.lg_loss_scale_after", fabs(lg - after[k]), 1e-11 * 20);
    }
    if (!after) golden_fail(r, "no loss scale trace");
    free(after), free(took), free(at);
}

/* Rows (lr, ramp in kimg, images so far, lr then): a ramp of ramp / batch steps,
 * of which ours takes the first at 1 / ramp instead of 0. */
static void check_warmup(const golden_file *f, golden_result *r)
{
    size_t n = 0;
    double *rows = golden_read(f, find_table(f, "edm_lr_rows"), &n);
    for (size_t i = 0; rows && i < n / 4; i++) {
        const double *row = rows + 4 * i;
        cm_curriculum c = {.lr = row[0], .warmup = (int64_t)llround(row[1] * 1000)};
        if (row[2] < 1) continue;
        golden_compare(r, "edm_lr", fabs(cmi_curriculum_at(&c, (int64_t)llround(row[2]) - 1).lr - row[3]),
                       1e-12 * row[0]);
    }
    if (!rows) golden_fail(r, "no warm-up table");
    free(rows);
}

void run_ema_misc(golden_file *f, golden_result *r)
{
    check_averages(f, r);
    check_halflife(f, r);
    check_clipping(f, r);
    check_loss_scale(f, r);
    check_warmup(f, r);
}

/* --- scale_ema_schedules, bilinear -------------------------------------------------------------- */

void run_scales(golden_file *f, golden_result *r)
{
    static const char *const known[] = {"target_ema_mode",        "start_ema",  "scale_mode",
                                        "start_scales",           "end_scales", "total_steps",
                                        "distill_steps_per_iter", NULL};
    json_t *configs = golden_json(f, "configs"), *v;
    const char *key;
    json_object_foreach(configs, key, v)
    {
        golden_members(r, key, v, known);
        char name[96];
        size_t n = 0;
        cm_curriculum c = {.start = (int32_t)member(v, "start_scales", 2),
                           .end = (int32_t)member(v, "end_scales", 2),
                           .mu0 = member(v, "start_ema", 0),
                           .total = (int64_t)member(v, "total_steps", 1),
                           .distill_steps = (int64_t)member(v, "distill_steps_per_iter", 1)};
        c.scales = cmi_choice_find(&cmi_scales_choices, json_string_value(json_object_get(v, "scale_mode")));
        c.mu = cmi_choice_find(&cmi_mu_choices, json_string_value(json_object_get(v, "target_ema_mode")));
        if (c.scales < 0 || c.mu < 0) {
            golden_fail(r, "%s: a mode that is not known", key);
            continue;
        }
        (void)snprintf(name, sizeof name, "%s.k", key);
        double *k = golden_read(f, name, &n);
        (void)snprintf(name, sizeof name, "%s.N", key);
        double *scales = golden_read(f, name, NULL);
        (void)snprintf(name, sizeof name, "%s.mu", key);
        double *mu = golden_read(f, name, NULL);
        (void)snprintf(name, sizeof name, "%s.mu_paper", key);
        double *paper = golden_read(f, name, NULL);
        for (size_t i = 0; k && i < n; i++) {
            /* Beyond K the reference's N keeps growing; ours stops (algorithms 4.5). */
            if (c.scales == CM_SCALES_PROGRESSIVE && k[i] > (double)c.total) continue;
            cm_moment now = cmi_curriculum_at(&c, (int64_t)k[i]);
            golden_compare(r, name, fabs(now.scales - scales[i]), 0);
            golden_compare(r, name, fabs(now.mu - mu[i]), 1e-11);
            if (!paper) continue;
            c.mu = CM_MU_ADAPTIVE_PAPER;
            golden_compare(r, name, fabs(cmi_curriculum_at(&c, (int64_t)k[i]).mu - paper[i]), 1e-11);
            c.mu = CM_MU_ADAPTIVE;
        }
        free(k), free(scales), free(mu), free(paper);
    }
    json_decref(configs);
}

void run_bilinear(golden_file *f, golden_result *r)
{
    golden_says(f, r, "mode", "bilinear, align_corners=False, antialias off");
    for (size_t t = 0; t < f->st.count; t++) {
        const cm_tensor *to = &f->st.tensors[t];
        const char *name = to->name, *end = strstr(name, ".f64");
        if (to->rank != 4 || !end) continue;
        /* The source is the input of the same batch and channels that is not itself a result. */
        for (size_t k = 0; k < f->st.count; k++) {
            const cm_tensor *from = &f->st.tensors[k];
            if (from->rank != 4 || from->name[0] != 'x' || strstr(from->name, ".f64") ||
                from->shape[0] != to->shape[0])
                continue;
            double *in = golden_read(f, from->name, NULL), *out = calloc(to->count, sizeof *out);
            int32_t h = (int32_t)from->shape[2], w = (int32_t)from->shape[3], oh = (int32_t)to->shape[2],
                    ow = (int32_t)to->shape[3];
            for (int64_t plane = 0; plane < from->shape[0] * from->shape[1]; plane++)
                cmi_bilinear(h, w, in + plane * h * w, oh, ow, out + plane * oh * ow);
            char base[96];
            (void)snprintf(base, sizeof base, "%.*s", (int)(end - name), name);
            compare(f, r, base, to->count, out, DOUBLE);
            free(in), free(out);
        }
    }
}
