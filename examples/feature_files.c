/* feature_files.c - see the header. */
#include "feature_files.h"

#include <string.h>
#include <unistd.h>

int feature_file(const char *name, char *path, size_t size)
{
    char self[4096];
    static const char *const places[] = {"/../../models/features/", "/../share/consistency/features/"};
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) *slash = '\0';
    for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
        (void)snprintf(path, size, "%s%s%s", self, places[i], name);
        if (access(path, R_OK) == 0) return 1;
    }
    (void)snprintf(path, size, "models/features/%s", name);
    return access(path, R_OK) == 0;
}

/* The Inception network's are not part of the project: a user may have put them there. */
const char *feature_weights(const cli *c, const char *option, const char *net)
{
    static char path[4400];
    static const char *const files[] = {"inception.safetensors", "pt_inception-2015-12-05-6726825d.pth",
                                        "inception-2015-12-05.pt"};
    char name[128];
    if (strncmp(net, "inception", 9) != 0) {
        (void)snprintf(name, sizeof name, "%s.safetensors", net);
        (void)feature_file(name, path, sizeof path);
        return path;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (feature_file(files[i], path, sizeof path)) return path;
    cli_usage_error(c,
                    "the weights of the Inception network are not part of this project: give pytorch-fid's file with "
                    "--%s %s, or put it into models/features; fd-resnet56 needs no such file",
                    option, files[1]);
    return NULL;
}
