/* no_onednn.c - what src/dnnl tells of the processor, where oneDNN is absent: the plain level. */
#include "base/cpu_level.h"

int cmi_cpu_level(void)
{
    return CM_CPU_BASELINE;
}
