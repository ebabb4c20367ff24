/* hint.c - what somebody may have meant, by ever looser resemblance: the same but
 * for case and punctuation, another program's word for it, its first parts whole, a slip
 * of the fingers, the name's beginning, parts of it, more than one slip. */
#include "base/hint.h"

#include <stdio.h>
#include <string.h>

enum { WORD = 64, MOST = 3, FURTHEST = 3 };
enum { SAME, ALIAS, FIRST_PARTS, SLIP, BEGINNING, PART, INSIDE, FAR, NONE }; /* resemblances */

/* Words that other programs use.  Both sides plain (see below). */
static const char *const aliases[][2] = {
    {"learning-rate", "lr"},
    {"lr-rate", "lr"},
    {"rate", "lr"},
    {"alpha", "lr"},
    {"batch-size", "batch"},
    {"batchsize", "batch"},
    {"bs", "batch"},
    {"global-batch-size", "batch"},
    {"iterations", "steps"},
    {"iters", "steps"},
    {"n-iters", "steps"},
    {"max-steps", "steps"},
    {"num-steps", "steps"},
    {"total-training-steps", "steps"},
    {"epochs", "steps"},
    {"duration", "steps"},
    {"microbatch-size", "microbatch"},
    {"wd", "weight-decay"},
    {"decay", "weight-decay"},
    {"l2-regularization", "weight-decay"},
    {"clip", "grad-clip"},
    {"max-norm", "grad-clip"},
    {"max-grad-norm", "grad-clip"},
    {"gradient-clipping", "grad-clip"},
    {"gradient-clip", "grad-clip"},
    {"warmup", "warmup-steps"},
    {"optim", "optimizer"},
    {"optimiser", "optimizer"},
    {"loss", "distance"},
    {"loss-norm", "distance"},
    {"metric", "distance"},
    {"norm", "distance"},
    {"loss-weighting", "weighting"},
    {"weight-schedule", "weighting"},
    {"solver", "ode"},
    {"solver", "method"},
    {"sampler", "method"},
    {"num-scales", "start-scales"},
    {"n", "start-scales"},
    {"target-ema", "mu"},
    {"start-ema", "mu"},
    {"target-ema-mode", "mu-mode"},
    {"scale-mode", "scales-mode"},
    {"ema-rate", "ema"},
    {"ema-decay", "ema"},
    {"ema-beta", "ema"},
    {"averages", "ema"},
    {"horizontal-flip", "flip"},
    {"xflip", "flip"},
    {"mirror", "flip"},
    {"augmentation", "augment"},
    {"drop", "dropout"},
    {"dtype", "precision"},
    {"bf16-emulate", "debug"},
    {"mode", "objective"},
    {"training-mode", "objective"},
    {"task", "objective"},
    {"recipe", "preset"},
    {"random-seed", "seed"},
    {"workers", "threads"},
    {"num-threads", "threads"},
    {"jobs", "threads"},
    {"cpus", "threads"},
    {"nproc", "threads"},
    {"data-dir", "data"},
    {"dataset", "data"},
    {"outdir", "out"},
    {"output", "out"},
    {"output-dir", "out"},
    {"out", "output"},
    {"run", "out"},
    {"continue", "resume"},
    {"model", "init"},
    {"pretrained", "init"},
    {"checkpoint", "init"},
    {"transfer", "init"},
    {"teacher-model-path", "teacher"},
    {"config", "network"},
    {"arch", "network"},
    {"resolution", "size"},
    {"image-size", "size"},
    {"class", "labels"},
    {"classes", "labels"},
    {"cond", "labels"},
    {"num-samples", "count"},
    {"number", "count"},
    {"overwrite", "force"},
    {"silent", "quiet"},
    {"noise", "sigma"},
    {"noise-level", "sigma"},
    {"strength", "sigma"},
    {"scale", "factor"},
    {"upscale", "factor"},
    {"diffusion", "edm"},
    {"denoising", "edm"},
    {"teacher", "edm"},
    {"score", "edm"},
    {"distillation", "cd"},
    {"consistency-distillation", "cd"},
    {"consistency-training", "ct"},
    {"consistency", "ct"},
    {"progressive-distillation", "pd"},
    {"progdist", "pd"},
    {"improved-consistency-training", "ict"},
    {"easy-consistency-tuning", "ect"},
    {"tuning", "ect"},
    {"ecm", "ect"},
    {"mse", "l2"},
    {"mae", "l1"},
    {"huber", "pseudo-huber"},
    {"rectified-adam", "radam"},
    {"momentum", "sgd"},
    {"float32", "f32"},
    {"fp32", "f32"},
    {"float", "f32"},
    {"bfloat16", "bf16"},
    {"float16", "f16"},
    {"fp16", "f16"},
    {"half", "f16"},
    {"one-step", "onestep"},
    {"single", "onestep"},
    {"multi-step", "multistep"},
    {"euler-ancestral", "ancestral"},
    {"dpm-2", "dpm"},
    {"dpm2", "dpm"},
    {"superres", "super-resolve"},
    {"super-resolution", "super-resolve"},
    {"upscale", "super-resolve"},
    {"colourize", "colorize"},
    {"colourise", "colorize"},
    {"colorise", "colorize"},
    {"fill", "inpaint"},
    {"inpainting", "inpaint"},
    {"sdedit", "stroke"},
    {"slerp", "interpolate"},
    {"morph", "interpolate"},
    {"cosine", "progressive"},
    {"constant", "fixed"},
    {"halflife", "half-life"},
};

/* Lower case, one kind of punctuation; 0 when too long. */
static int plain(const char *word, char out[WORD])
{
    size_t n = strlen(word), begin = strspn(word, "-");
    if (n - begin >= WORD) return 0;
    for (size_t i = begin; i <= n; i++) {
        char c = word[i];
        out[i - begin] = (char)(c == '_' || c == ' ' || c == '.' || c == '+' ? '-'
                                : c >= 'A' && c <= 'Z'                       ? c - 'A' + 'a'
                                                                             : c);
    }
    return 1;
}

/* Letters to change, drop, add or swap to get from one word to the other. */
static int slips(const char *a, const char *b)
{
    int row[3][WORD + 1], n = (int)strlen(b), m = (int)strlen(a);
    for (int i = 0; i <= m; i++) {
        int *now = row[i % 3];
        const int *up = row[(i + 2) % 3], *above = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= n; j++) {
            if (i == 0) {
                now[j] = j;
                continue;
            }
            int least = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < least) least = up[j] + 1;
            if (now[j - 1] + 1 < least) least = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && above[j - 2] + 1 < least)
                least = above[j - 2] + 1;
            now[j] = least;
        }
    }
    return row[m % 3][n];
}

static int is_alias(const char *word, const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (aliases[i][0][0] == word[0] && strcmp(aliases[i][0], word) == 0 && strcmp(aliases[i][1], name) == 0)
            return 1;
    return 0;
}

/* How many of the word's parts are parts of the name (two letters or more), or begin
 * one (three or more). */
static int shared_parts(const char *word, const char *name)
{
    int found = 0;
    for (const char *w = word; *w;) {
        size_t n = strcspn(w, "-");
        for (const char *p = name; n > 1 && *p;) {
            size_t k = strcspn(p, "-");
            if ((k == n || (k > n && n > 2)) && strncmp(w, p, n) == 0) {
                found++;
                break;
            }
            p += k + strspn(p + k, "-");
        }
        w += n + strspn(w + n, "-");
    }
    return found;
}

/* The closest resemblance that holds, and how good it is within its kind (less is
 * better). */
static int resemblance(const char *word, const char *name, int *rank)
{
    const size_t n = strlen(word), m = strlen(name);
    *rank = 0;
    if (strcmp(word, name) == 0) return SAME;
    if (is_alias(word, name)) return ALIAS;
    if (n > 1 && strncmp(word, name, n) == 0 && name[n] == '-') return FIRST_PARTS;
    /* Words are at least as far apart as their lengths: most are not compared letter by letter. */
    const int near = (n > m ? n - m : m - n) <= FURTHEST;
    int apart = near ? slips(word, name) : FURTHEST + 1;
    *rank = apart;
    if (apart == 1 && n > 2 && m > 2) return SLIP;
    *rank = 0;
    if (n > 1 && strncmp(word, name, n) == 0) return BEGINNING;
    const int parts = shared_parts(word, name);
    *rank = -parts;
    if (parts) return PART;
    if ((n > 2 && strstr(name, word)) || (m > 2 && 2 * m > n && strstr(word, name))) {
        *rank = near ? apart : slips(word, name);
        return INSIDE;
    }
    *rank = apart;
    return n > 3 && apart <= FURTHEST && (size_t)apart * 2 <= n ? FAR : NONE;
}

typedef struct {
    const char *names[MOST]; /* the first of the best */
    char shared[WORD];       /* what all of the best begin with */
    int kind, rank, n;
} candidates;

static void consider(candidates *c, const char *word, const char *name)
{
    char other[WORD];
    int rank, kind;
    if (!plain(name, other)) return;
    kind = resemblance(word, other, &rank);
    if (kind == NONE || kind > c->kind || (kind == c->kind && rank > c->rank)) return;
    if (kind < c->kind || rank < c->rank) c->n = 0;
    c->kind = kind, c->rank = rank;
    if (c->n == 0) (void)snprintf(c->shared, sizeof c->shared, "%s", name);
    size_t same = 0;
    while (c->shared[same] && c->shared[same] == name[same]) same++;
    c->shared[same] = '\0';
    if (c->n < MOST) c->names[c->n] = name;
    c->n++;
}

size_t cm_name_hint(const char *word, const char *const *names, const char *before, char *text, size_t size)
{
    candidates c = {.kind = NONE};
    char w[WORD], list[3 * WORD + 64] = "";
    size_t n = 0;
    const char *quote = before && *before ? "" : "'";
    if (!text || size == 0) return 0;
    text[0] = '\0';
    if (!word || !names || !plain(word, w)) return 0;
    for (; *names; names++) consider(&c, w, *names);
    if (c.n == 0) return 0;
    if (!before) before = "";
    int family = c.n > MOST && strlen(c.shared) > 1, shown = c.n > MOST ? MOST : c.n;
    if (family) (void)snprintf(list, sizeof list, "one of %s%s*", before, c.shared);
    for (int i = 0; !family && i < shown && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s%s%s%s",
                              i == 0         ? ""
                              : i == c.n - 1 ? " or "
                                             : ", ",
                              quote, before, c.names[i], quote);
    if (!family && c.n > MOST && n < sizeof list) (void)snprintf(list + n, sizeof list - n, " or another");
    (void)snprintf(text, size, " (did you mean %s?)", list);
    return strlen(text);
}
