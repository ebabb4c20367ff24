/* op_times.c MODEL [SLICE [small|train|jvp|bf16|bf16-1|bf16-2|bf16-3|bf16-4] [train|jvp]] - where the time of an
 * evaluation goes: seconds an image and share of each kind of op, one thread, the best of several runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu_level.h"
#include "diffusion/model.h"
#include "graph/arithmetic.h"
#include "graph/exec.h"

typedef struct {
    char name[64];
    double now, best;
} kind;
typedef struct {
    kind kinds[64];
    int n;
    double last;
} clock_of_kinds;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void count(clock_of_kinds *c, const char *op, const char *kernel)
{
    char name[64];
    double now = seconds();
    int i = 0;
    snprintf(name, sizeof name, "%s%s%s", op, *kernel ? " " : "", kernel);
    while (i < c->n && strcmp(c->kinds[i].name, name)) i++;
    if (i == c->n && c->n < 64) strcpy(c->kinds[c->n++].name, name);
    if (i < 64) c->kinds[i].now += now - c->last;
    c->last = seconds();
}

/* All steps of a run, and the time of each to its op and kernel. */
static cm_status run_steps(clock_of_kinds *c, cm_exec *exec, const cm_weights *weights)
{
    const cm_program *p = &exec->plan->program;
    c->last = seconds();
    for (int i = 0; i < p->n_steps; i++) {
        CM_TRY(cmi_exec_step(exec, weights, i));
        if (p->steps[i].kind == CM_STEP_PAUSE) continue;
        const cm_op_plan *op = exec->runs[i].p;
        count(c, op->op->name, cmi_conv_name(op->packer[0]));
    }
    return CM_OK;
}

int main(int argc, char **argv)
{
    cm_model *m;
    cm_plan *plan;
    cm_weights *weights;
    cm_exec *exec;
    clock_of_kinds c;
    double total = 0;
    memset(&c, 0, sizeof c);
    if (argc < 2) return 2;
    int slice = argc > 2 ? atoi(argv[2]) : 4, train = argc > 3 && strcmp(argv[argc - 1], "train") == 0;
    const int jvp = argc > 3 && strcmp(argv[argc - 1], "jvp") == 0;
    if (cm_model_load(NULL, argv[1], NULL, &m) != CM_OK) goto failed;
    const char *how = argc > 3 ? argv[3] : "";
    cm_arithmetic arithmetic;
    const int bf16 = strncmp(how, "bf16", 4) == 0, tile = strlen(how) > 5 ? atoi(how + 5) : 0;
    char debug[64];
    (void)snprintf(debug, sizeof debug, "bf16_emulate=1,bf16_tile=%d", tile);
    if (cmi_arithmetic_choose("op_times", cmi_cpu_level(), bf16 ? CM_PRECISION_BF16 : CM_PRECISION_F32,
                              strcmp(how, "small") == 0 ? CM_MEMORY_SMALL : CM_MEMORY_FAST, bf16 ? debug : NULL,
                              train ? CM_BF16_TILE_TRAINING : CM_BF16_TILE_SAMPLING, &arithmetic) != CM_OK)
        goto failed;
    const cm_plan_options o = {.slice = slice,
                               .threads = 1,
                               .share = 1,
                               .arithmetic = arithmetic,
                               .mode = train ? CM_MODE_TRAIN
                                       : jvp ? CM_MODE_JVP
                                             : CM_MODE_INFER,
                               .inputs = jvp ? 1u << CM_IN_X | 1u << CM_IN_TIME : 0,
                               .output = CM_OUT_D};
    if (cmi_plan_create(train ? m->graph : m->inference, &o, &plan) != CM_OK ||
        cmi_weights_create(plan, m->params, &weights) != CM_OK || cmi_exec_create(plan, &exec) != CM_OK)
        goto failed;
    for (int run = 0; run < 5; run++) {
        memset(cmi_exec_input(exec, CM_IN_LABEL), 0,
               (size_t)slice * sizeof(int32_t)); /* the run before may have used its memory */
        if (run_steps(&c, exec, weights) != CM_OK) goto failed;
        for (int i = 0; i < c.n; i++) {
            if (run == 0 || c.kinds[i].now < c.kinds[i].best) c.kinds[i].best = c.kinds[i].now;
            c.kinds[i].now = 0;
        }
    }
    for (int i = 0; i < c.n; i++) total += c.kinds[i].best;
    printf("%.4f s an image, slices of %d\n", total / slice, slice);
    for (int i = 0; i < c.n; i++)
        printf("%-32s %8.4f s %5.1f %%\n", c.kinds[i].name, c.kinds[i].best / slice, 100 * c.kinds[i].best / total);
    cmi_exec_free(exec);
    cmi_weights_free(weights);
    cmi_plan_free(plan);
    cm_model_free(m);
    return 0;
failed:
    fprintf(stderr, "op_times: %s\n", cm_last_message());
    return 1;
}
