/* dnnl_faults.c - memory runs out while oneDNN makes, packs and runs a convolution and a matrix product (under
 * malloc_shim.so; each case in a child; a retry in the same process has to succeed).
 *
 *   limits   what is alive at a time stays within a bound, from nothing to what is needed: as it is for a process
 * under `ulimit -v`.  No case may crash. single   one request fails and all others succeed, which no system does.  At
 * least 90 % must end in success or CM_ERR_MEMORY.  What is left is in oneDNN, and nobody can catch it: constructors
 * of dnnl_primitive_create, dnnl_stream_create and dnnl_memory_create that write to the NULL they got (its `operator
 * new` does not throw and is not declared so), and the code generator, which writes through the NULL of a failed
 * mmap. Code generation allocates some thousand times for AVX-512 and ten thousands for AVX2: of so many, CASES fail,
 * spread evenly. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dnnl/backend.h"

enum { CASES = 1000, LIMITS = 400 };

static void (*arm)(long), (*limit)(long);
static long (*seen)(void), (*peak)(void);

static cm_status whole(cm_context *context)
{
    static float x[8 * 8 * 32], w[32 * 32 * 9], bias[32], y[8 * 8 * 32], scratch[1 << 20], packed[1 << 16];
    const cm_dnnl_conv_shape conv = {.n = 1,
                                     .h = 8,
                                     .w = 8,
                                     .c = 32,
                                     .oc = 32,
                                     .kernel = 3,
                                     .kernel_w = 3,
                                     .stride = 1,
                                     .pad = 1,
                                     .pad_w = 1,
                                     .has_bias = 1};
    const cm_dnnl_matmul_shape product = {32, 32, 32, 0, 0};
    cm_dnnl_engine *engine = NULL;
    cm_dnnl_primitive *p[2] = {NULL, NULL};
    cm_dnnl_call *call[2] = {NULL, NULL};
    cm_dnnl_packing *packing = NULL;
    cm_status status = cmi_dnnl_engine_create(context, &engine);
    if (status == CM_OK) status = cmi_dnnl_conv_create(engine, &conv, &p[0]);
    if (status == CM_OK) status = cmi_dnnl_matmul_create(engine, &product, &p[1]);
    if (status == CM_OK) status = cmi_dnnl_packing_create(p[0], &packing);
    if (status == CM_OK) status = cmi_dnnl_packing_run(packing, w, packed);
    for (int i = 0; i < 2 && status == CM_OK; i++) status = cmi_dnnl_call_create(p[i], &call[i]);
    if (status == CM_OK) status = cmi_dnnl_execute(call[0], x, packed, bias, y, scratch);
    if (status == CM_OK) status = cmi_dnnl_execute(call[1], x, w, NULL, y, scratch);
    cmi_dnnl_packing_free(packing);
    for (int i = 0; i < 2; i++) {
        cmi_dnnl_call_free(call[i]);
        cmi_dnnl_primitive_free(p[i]);
    }
    cmi_dnnl_engine_free(engine);
    return status;
}

/* Exit: 0 success, 1 MEMORY and the retry succeeded, 2 anything else. */
static void child(void (*set)(long), long n)
{
    cm_context *context;
    if (cm_context_create(NULL, &context) != CM_OK) _exit(2);
    set(n);
    cm_status status = whole(context);
    set(-1);
    if (status == CM_OK) _exit(0);
    _exit(status == CM_ERR_MEMORY && whole(context) == CM_OK ? 1 : 2);
}

static int run(void (*set)(long), long n)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        child(set, n);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

/* What `set` counts in a run without faults, in a child: the parent never computes. */
static long measure(void (*set)(long), long (*counted)(void))
{
    int pipes[2];
    long total = 0;
    if (pipe(pipes) != 0) return 0;
    if (fork() == 0) {
        cm_context *context;
        if (cm_context_create(NULL, &context) != CM_OK) _exit(1);
        set(-1);
        if (whole(context) != CM_OK) _exit(1);
        total = counted();
        _exit(write(pipes[1], &total, sizeof total) == sizeof total ? 0 : 1);
    }
    close(pipes[1]);
    if (read(pipes[0], &total, sizeof total) != sizeof total) total = 0;
    close(pipes[0]);
    return total;
}

/* Faults at `cases` numbers up to `last`; returns the percentage that ended well. */
static double sweep(const char *what, void (*set)(long), long last, long cases)
{
    int count[4] = {0, 0, 0, 0};
    for (long i = 1; i <= cases; i++) count[run(set, (long)((double)last * (double)i / (double)cases)) & 3]++;
    printf("oneDNN's memory: %ld %s: %d harmless, %d MEMORY and a good retry, %d wrong, %d crashed\n", cases, what,
           count[0], count[1], count[2], count[3]);
    return count[1] ? 100.0 * (count[0] + count[1]) / (double)cases : 0;
}

int main(void)
{
    *(void **)&arm = dlsym(RTLD_DEFAULT, "malloc_shim_arm");
    *(void **)&limit = dlsym(RTLD_DEFAULT, "malloc_shim_limit");
    *(void **)&seen = dlsym(RTLD_DEFAULT, "malloc_shim_seen");
    *(void **)&peak = dlsym(RTLD_DEFAULT, "malloc_shim_peak");
    if (!arm || !limit || !seen || !peak) {
        puts("dnnl_faults: run it under malloc_shim.so");
        return 2;
    }
    long total = measure(arm, seen), most = measure(limit, peak);
    if (total < 50 || most < 100000) return 2;
    double limits = sweep("bounds on all memory", limit, most + most / 4, LIMITS);
    double single = sweep("requests failing in turn", arm, total, total < CASES ? total : CASES);
    return limits < 100 || single < 90;
}
