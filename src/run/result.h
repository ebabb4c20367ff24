/* result.h - RUN/model.safetensors, and which file of a directory to sample from. */
#ifndef CM_RUN_RESULT_H
#define CM_RUN_RESULT_H

#include "run/run.h"

/* The weights whose distance is the least, where a metric was evaluated, else the first average: whole or as it was.
 */
cm_status cmi_result_write(const cm_run *run);
cm_status cmi_result_look(const cm_run *run, int *is_there);
/* As cm_run_model_path. */
cm_status cmi_result_find(cm_context *context, const char *directory, char *path, size_t size);

#endif
