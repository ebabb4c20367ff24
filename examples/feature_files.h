/* feature_files.h - files of feature networks that come with the project, or that a user has put beside them. */
#ifndef FEATURE_FILES_H
#define FEATURE_FILES_H

#include "cli.h"

/* A file of models/features beside the program, in a build or an installation; 0 where there is none: the path is
 * then the one below the current directory. */
int feature_file(const char *name, char *path, size_t size);
/* The file of a network's weights, which stays until the next call.  Where the Inception network's is missing the
 * program ends and names `option`, which gives it. */
const char *feature_weights(const cli *c, const char *option, const char *net);

#endif
