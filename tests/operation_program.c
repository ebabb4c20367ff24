/* operation_program.c IN OUT [NUMBER]: does operation NUMBER of support/operations.h, which writes into OUT.  Exit 0,
 * 3 when it failed with IO, 4 with MEMORY, 1 with any other status; the message goes to standard error, and where
 * descriptors are left open it says so and exits 1.  `prepare` instead of a number makes the files in IN; without a
 * number it prints the names of all operations.  io_faults.py runs it under the shim. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/operations.h"

static int descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) n++;
    if (d) closedir(d);
    return n;
}

static int code_of(cm_status status)
{
    return status == CM_OK ? 0 : status == CM_ERR_IO ? 3 : status == CM_ERR_MEMORY ? 4 : 1;
}

int main(int argc, char **argv)
{
    cm_context_options options = CM_CONTEXT_OPTIONS_INIT;
    place at = {.options = &options};
    const operation *o;
    for (int i = 0; argc == 1 && (o = operation_at(i, &at)) != NULL; i++) puts(operation_name(o, &at));
    if (argc == 1) return 0;
    if (argc != 4) return 2;
    at.in = argv[1], at.out = argv[2];
    options.threads = 1;
    if (strcmp(argv[3], "prepare") == 0) return operations_prepare(at.in) ? 0 : 1;
    o = operation_at(atoi(argv[3]), &at);
    if (!o || cm_context_create(&options, &at.context) != CM_OK) return 2;
    const int before = descriptors();
    const cm_status status = o->run(&at);
    if (status != CM_OK)
        fprintf(stderr, "%s: %s: %s\n", operation_name(o, &at), cm_status_name(status), cm_last_message());
    cm_context_free(at.context);
    if (descriptors() != before) fprintf(stderr, "%d descriptors are left open\n", descriptors() - before);
    return descriptors() != before ? 1 : code_of(status);
}
