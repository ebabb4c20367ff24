/* pages.h - pages of samples on the way of a run, at a stated share of its time. */
#ifndef PAGES_H
#define PAGES_H

#include <consistency.h>

/* Image i of a page depends on i alone: a page with fewer rows is the beginning of the whole one. */
typedef struct pages {
    double share;    /* of the run's time that they may take; 0: whole pages, whatever they take */
    int32_t threads; /* 0 = the context's                  */
    double spent;    /* seconds so far                     */
    double row;      /* seconds of a row of the last page; 0: not known */
    int64_t drawn;
} pages;

/* Rows of a whole page, images in a row, network evaluations of an image: one for
 * consistency models, nine (Heun, five steps) for others. */
typedef struct page_form {
    int32_t rows, columns, evaluations;
} page_form;
page_form pages_form(const cm_model_info *model);

/* How many rows there is time for now, 0 for none: `elapsed` seconds of the run have
 * gone; until a page was drawn an evaluation is taken to be `evaluation` seconds an image. */
int32_t pages_rows(const pages *p, const page_form *form, double elapsed, double evaluation);

/* Draws and writes a page.  stop as cm_progress_fn: CM_ERR_CANCELLED within one
 * network evaluation, and no file. */
cm_status pages_draw(pages *p, cm_model *model, int32_t rows, cm_progress_fn stop, void *user, const char *path);

#endif
