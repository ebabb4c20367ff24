/* cpus.h - how many CPUs the process may use. */
#ifndef CM_BASE_CPUS_H
#define CM_BASE_CPUS_H

/* The CPUs of the affinity mask, or the share of them that a control group grants
 * (cpu.max, cpu.cfs_quota_us), rounded up; at least 1, at most CM_MAX_THREADS. */
int cmi_cpus(void);

/* The share that the control groups at and above `path` of the hierarchy mounted at `mount`
 * grant, in CPUs rounded up; 0 where none limits it.  For cmi_cpus and its test. */
int cmi_cpus_of_group(const char *mount, const char *path);

#endif
