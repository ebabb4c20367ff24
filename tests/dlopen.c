/* dlopen.c LIBRARY: a hundred times in and out; memory stays bounded. */
#include <dlfcn.h>
#include <stdio.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    struct rusage a = {0}, b;
    for (int i = 0; i < 100 && argc == 2; i++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (!library || !dlsym(library, "cm_version")) {
            puts(dlerror());
            return 1;
        }
        dlclose(library);
        if (i == 10) getrusage(RUSAGE_SELF, &a);
    }
    getrusage(RUSAGE_SELF, &b);
    printf("dlopen: 100 times, %ld KiB more\n", b.ru_maxrss - a.ru_maxrss);
    return b.ru_maxrss > a.ru_maxrss + 1024;
}
