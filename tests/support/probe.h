/* probe.h - what tests see of plans and execs that the library itself never asks for. */
#ifndef TESTS_PROBE_H
#define TESTS_PROBE_H

#include "graph/plan.h"

/* Name of the kernel behind node i ("" when it is ours), NULL past the end. */
const char *probe_kernel(const cm_plan *plan, int node, const char **scope);
/* Fills everything but the inputs with NaN, so that stale reads are seen. */
void probe_poison(cm_exec *exec);

#endif
