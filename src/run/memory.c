/* memory.c - see the header. */
#include "run/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PATH = 4096 };

/* The number behind `key` at the beginning of a line ("" = the first line's). */
static int read_number(const char *path, const char *key, uint64_t *out)
{
    char line[256];
    size_t n = strlen(key);
    int found = 0;
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0) found = sscanf(line + n, "%" SCNu64, out) == 1;
    if (f) (void)fclose(f);
    return found;
}

static void bound(cm_memory_bound *m, uint64_t limit, uint64_t used, const char *who)
{
    uint64_t left = limit > used ? limit - used : 0;
    if (left >= m->bytes) return;
    m->bytes = left;
    m->who = who;
}

/* One directory of a control group; the cache of files gives way. */
static void bound_by_group(cm_memory_bound *m, const char *directory, const char *limit_name, const char *used_name,
                           const char *cache_key)
{
    char path[PATH];
    uint64_t limit, used, cache = 0;
    (void)snprintf(path, sizeof path, "%.3900s/%s", directory, limit_name);
    if (!read_number(path, "", &limit)) return; /* "max", or there is none */
    (void)snprintf(path, sizeof path, "%.3900s/%s", directory, used_name);
    if (!read_number(path, "", &used)) return;
    (void)snprintf(path, sizeof path, "%.3900s/memory.stat", directory);
    (void)read_number(path, cache_key, &cache);
    bound(m, limit, used > cache ? used - cache : 0, "its control group");
}

/* The group of this process and all above it; in a container the path may be one of outside, then the root counts. */
static void bound_by_groups(cm_memory_bound *m, const char *root, char *group, int version)
{
    char directory[PATH];
    for (;;) {
        (void)snprintf(directory, sizeof directory, "%s%.3800s", root, group);
        if (version == 2) bound_by_group(m, directory, "memory.max", "memory.current", "inactive_file ");
        else bound_by_group(m, directory, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ");
        char *slash = strrchr(group, '/');
        if (!slash || !group[0]) return;
        *slash = '\0';
    }
}

static void bound_by_all_groups(cm_memory_bound *m)
{
    char line[PATH];
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        if (strcmp(controllers, ":") == 0) bound_by_groups(m, "/sys/fs/cgroup", group, 2);
        else if (strstr(controllers, "memory")) bound_by_groups(m, "/sys/fs/cgroup/memory", group, 1);
    }
    if (f) (void)fclose(f);
}

cm_memory_bound cmi_memory_left(void)
{
    cm_memory_bound m = {UINT64_MAX, "unknown"};
    uint64_t value;
    struct rlimit limit;
    if (read_number("/proc/meminfo", "MemAvailable:", &value)) bound(&m, value * 1024, 0, "the machine");
    bound_by_all_groups(&m);
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        read_number("/proc/self/statm", "", &value))
        bound(&m, limit.rlim_cur, value * (uint64_t)sysconf(_SC_PAGESIZE), "ulimit -v");
    return m;
}
