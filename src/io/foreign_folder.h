/* foreign_folder.h - what a folder is that no format knows. */
#ifndef CM_IO_FOREIGN_FOLDER_H
#define CM_IO_FOREIGN_FOLDER_H

#include "io/input.h"

/* IO or UNSUPPORTED: what the folder is by the files in it, or which of them could be given in its place. */
cm_status cmi_foreign_folder(const cm_input *input);

#endif
