/* label_folders.h - how the pictures lie in folders, to see whether these are classes. */
#ifndef CM_DATA_LABEL_FOLDERS_H
#define CM_DATA_LABEL_FOLDERS_H

#include "data/source.h"

typedef struct cm_folder_survey {
    size_t at_top;      /* pictures in the deepest folder that holds all of them */
    size_t names;       /* different names of the folders below it               */
    size_t at_root;     /* pictures in no folder at all                          */
    char a_folder[100]; /* one of those below, "" for none                   */
    char within[100];   /* a folder of pictures inside another below the top; "" for none */
    char twin[2][100];  /* two folders of the same name; "" for none         */
} cm_folder_survey;

cm_status cmi_survey_folders(const cm_source *source, cm_folder_survey *out);

/* All are NNNNN/imgNNNNNNNN.xxx: folders of EDM's tool, which count. */
int cmi_folders_are_counters(const cm_source *source);

#endif
