/* train.c - trains on a folder of pictures, or goes on where it was stopped: ./train PICTURES RUN STEPS */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <consistency.h>

static cm_run *run; /* what Ctrl-C stops */

static void on_interrupt(int number)
{
    (void)number;
    cm_run_stop(run);
}

static int32_t show(void *user, const cm_run_report *report)
{
    (void)user;
    if (report->event == CM_RUN_STEP)
        printf("step %lld of %lld: loss %.4f, %.0f seconds left\n", (long long)report->step, (long long)report->steps,
               report->loss, report->seconds_left);
    else printf("written: %s\n", report->path);
    return 0;
}

/* The options of a new run, or those of the one that stands in the directory. */
static cm_status choose(cm_run_options *options, const char *pictures, const char *directory, const char *steps)
{
    cm_status status;
    char config[1024];
    FILE *file;
    snprintf(config, sizeof config, "%s/config.json", directory);
    file = fopen(config, "rb");
    if (file) {
        fclose(file);
        return cm_run_options_load(options, directory);
    }
    status = cm_run_options_set(options, "data", pictures);
    if (status == CM_OK) status = cm_run_options_set(options, "preset", "smoke");
    if (status == CM_OK) status = cm_run_options_set(options, "batch", "4");
    if (status == CM_OK) status = cm_run_options_set(options, "steps", steps);
    return status;
}

int main(int argc, char **argv)
{
    cm_run_options *options = NULL;
    cm_run_needs needs = CM_RUN_NEEDS_INIT;
    cm_run_info info = CM_RUN_INFO_INIT;
    cm_status status;
    if (argc != 4) {
        fprintf(stderr, "usage: train PICTURES RUN STEPS\n");
        return EXIT_FAILURE;
    }
    status = cm_run_options_create(NULL, &options);
    if (status == CM_OK) status = choose(options, argv[1], argv[2], argv[3]);
    if (status == CM_OK) status = cm_run_create(options, argv[2], &run);
    if (status == CM_OK) status = cm_run_estimate(run, CM_RUN_MEMORY, &needs); /* MEMORY: it does not fit */
    if (status == CM_OK) status = cm_run_info_get(run, &info);
    if (status == CM_OK) {
        printf("%lld steps with %.1f GB of memory\n", (long long)info.steps, (double)needs.bytes / 1e9);
        signal(SIGINT, on_interrupt);
        status = cm_run_execute(run, info.steps, show, NULL);
        signal(SIGINT, SIG_DFL);
    }
    if (status == CM_ERR_CANCELLED) printf("stopped; the same command goes on\n");
    else if (status != CM_OK) fprintf(stderr, "train: %s: %s\n", cm_status_name(status), cm_last_message());
    cm_run_free(run);
    cm_run_options_free(options);
    return status == CM_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
