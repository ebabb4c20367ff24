/* cpus.c - the affinity mask and the quotas of control groups, versions 1 and 2. */
#include "base/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/pool.h"

static int in_affinity_mask(void)
{
#ifdef CPU_COUNT
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN); /* or more CPUs than the set holds */
    return n > 0 && n < CM_MAX_THREADS ? (int)n : CM_MAX_THREADS;
}

/* The first line of a file, "" when there is none. */
static void read_line(const char *directory, const char *name, char *line, int size)
{
    char path[1200];
    line[0] = '\0';
    int n = snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    if (!file) return;
    if (!fgets(line, size, file)) line[0] = '\0';
    (void)fclose(file);
}

static int rounded_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0) return 0;
    long long n = (quota + period - 1) / period;
    return n < CM_MAX_THREADS ? (int)n : CM_MAX_THREADS;
}

/* What one group grants, 0 = no limit ("max", -1, or no such file). */
static int quota_of(const char *directory)
{
    char line[64];
    long long quota = 0, period = 0;
    read_line(directory, "cpu.max", line, sizeof line);
    if (sscanf(line, "%lld %lld", &quota, &period) == 2) return rounded_up(quota, period);
    read_line(directory, "cpu.cfs_quota_us", line, sizeof line);
    if (sscanf(line, "%lld", &quota) != 1) return 0;
    read_line(directory, "cpu.cfs_period_us", line, sizeof line);
    return sscanf(line, "%lld", &period) == 1 ? rounded_up(quota, period) : 0;
}

int cmi_cpus_of_group(const char *mount, const char *path)
{
    char directory[1024];
    int least = 0;
    const size_t root = strlen(mount);
    int n = snprintf(directory, sizeof directory, "%s%s", mount, path);
    if (n < 0 || (size_t)n >= sizeof directory) return 0;
    for (;;) {
        int here = quota_of(directory);
        if (here && (!least || here < least)) least = here;
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < root) return least;
        *slash = '\0';
    }
}

/* The groups of this process: lines of "number:controllers:path". */
static int in_groups(void)
{
    char line[1024];
    int least = 0;
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *controllers++ = '\0', *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        const int first = controllers[0] == '\0', second = strstr(controllers, "cpu") != NULL;
        if (!first && !second) continue;
        if (strcmp(path, "/") == 0) path[0] = '\0';
        int n = cmi_cpus_of_group(first ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu", path);
        if (n && (!least || n < least)) least = n;
    }
    (void)fclose(file);
    return least;
}

int cmi_cpus(void)
{
    int n = in_affinity_mask(), granted = in_groups();
    if (granted && granted < n) n = granted;
    return n < 1 ? 1 : n > CM_MAX_THREADS ? CM_MAX_THREADS : n;
}
