/* dnnl_faults.c - oneDNN's own allocations fail, one after the other, while a
 * convolution and a matrix product are made, packed and run (under
 * malloc_shim.so; each case in a child).  At least 90 % must end in success or
 * CM_ERR_MEMORY, and a retry in the same process must succeed: what is left
 * are crashes inside oneDNN's code generation, which nobody can catch.  That code
 * generation allocates some thousand times for AVX-512 and ten thousands for AVX2: of
 * so many, CASES fail, spread evenly. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dnnl/backend.h"

enum { CASES = 1000 };

static void (*arm)(long);
static long (*seen)(void);

static cm_status whole(cm_context *context)
{
    static float x[8 * 8 * 32], w[32 * 32 * 9], bias[32], y[8 * 8 * 32], scratch[1 << 20], packed[1 << 16];
    const cm_dnnl_conv_shape conv = {1, 8, 8, 32, 32, 3, 1, 1, 1};
    const cm_dnnl_matmul_shape product = {32, 32, 32, 0, 0};
    cm_dnnl_engine *engine = NULL;
    cm_dnnl_primitive *p[2] = {NULL, NULL};
    cm_dnnl_call *call[2] = {NULL, NULL};
    cm_dnnl_packing *packing = NULL;
    cm_status status = cm_dnnl_engine_create(context, &engine);
    if (status == CM_OK) status = cm_dnnl_conv_create(engine, &conv, 1, &p[0]);
    if (status == CM_OK) status = cm_dnnl_matmul_create(engine, &product, &p[1]);
    if (status == CM_OK) status = cm_dnnl_packing_create(p[0], &packing);
    if (status == CM_OK) status = cm_dnnl_packing_run(packing, w, packed);
    for (int i = 0; i < 2 && status == CM_OK; i++) status = cm_dnnl_call_create(p[i], &call[i]);
    if (status == CM_OK) status = cm_dnnl_execute(call[0], x, packed, bias, y, scratch);
    if (status == CM_OK) status = cm_dnnl_execute(call[1], x, w, NULL, y, scratch);
    cm_dnnl_packing_free(packing);
    for (int i = 0; i < 2; i++) {
        cm_dnnl_call_free(call[i]);
        cm_dnnl_primitive_free(p[i]);
    }
    cm_dnnl_engine_free(engine);
    return status;
}

/* Exit: 0 success, 1 MEMORY and the retry succeeded, 2 anything else. */
static void child(long n)
{
    cm_context *context;
    if (cm_context_create(NULL, &context) != CM_OK) _exit(2);
    arm(n);
    cm_status status = whole(context);
    arm(-1);
    if (status == CM_OK) _exit(0);
    _exit(status == CM_ERR_MEMORY && whole(context) == CM_OK ? 1 : 2);
}

static int run(long n)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        child(n);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

int main(void)
{
    int count[4] = {0, 0, 0, 0}, pipes[2];
    long total = 0;
    *(void **)&arm = dlsym(RTLD_DEFAULT, "malloc_shim_arm");
    *(void **)&seen = dlsym(RTLD_DEFAULT, "malloc_shim_seen");
    if (!arm || !seen || pipe(pipes) != 0) {
        puts("dnnl_faults: run it under malloc_shim.so");
        return 2;
    }
    if (fork() == 0) { /* how many there are, counted in a child: the parent never computes */
        cm_context *context;
        if (cm_context_create(NULL, &context) != CM_OK) _exit(1);
        arm(-1);
        if (whole(context) != CM_OK) _exit(1);
        total = seen();
        _exit(write(pipes[1], &total, sizeof total) == sizeof total ? 0 : 1);
    }
    if (read(pipes[0], &total, sizeof total) != sizeof total || total < 50) return 2;
    long cases = total < CASES ? total : CASES;
    for (long i = 1; i <= cases; i++) count[run(total * i / cases) & 3]++;
    int caught = count[0] + count[1];
    printf("oneDNN's memory: %ld of %ld allocations failing in turn: %d harmless, %d MEMORY and a good retry, %d wrong, %d "
           "crashed (%.0f %%)\n",
           cases, total, count[0], count[1], count[2], count[3], 100.0 * caught / (double)cases);
    return caught * 10 < cases * 9;
}
