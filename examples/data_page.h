/* data_page.h - a page of the images of a set, a class in each column where it has classes. */
#ifndef DATA_PAGE_H
#define DATA_PAGE_H

#include "cli.h"

typedef struct data_page {
    cm_dataset *set;
    cm_dataset_info info;
    int32_t rows, columns, margin; /* columns 0: by the classes */
    double flip;                   /* the share of images that are mirrored */
    uint64_t seed;
    const char *path;
    int force;
    size_t drawn, empty; /* filled in: images, and places without one */
} data_page;

/* Reads the set in its shuffled order until every place is filled, once through at most, and writes the page. */
cm_status data_page_draw(data_page *page, const cli *c, cli_progress *progress);

#endif
