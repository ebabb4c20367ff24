/* pages.h - pages of samples on the way of a run, at a stated share of its time. */
#ifndef CM_RUN_PAGES_H
#define CM_RUN_PAGES_H

#include <consistency/sampler.h>

enum { CM_PAGE_SIDE = 32 }; /* the most rows, and images in a row */

/* Image i of a page depends on i alone: a page with fewer rows is the beginning of the whole one. */
typedef struct cm_pages {
    double share;          /* of the run's time that they may take; 0: whole pages, whatever they take */
    int32_t rows, columns; /* of a whole page; 0: by the model       */
    int32_t threads;       /* 0 = the context's                      */
    double spent;          /* seconds so far                         */
    double row;            /* seconds of a row of the last page; 0: not known */
} cm_pages;

/* Rows of a whole page, images in a row, network evaluations of an image: one for
 * consistency models, nine (Heun, five steps) for others. */
typedef struct cm_page_form {
    int32_t rows, columns, evaluations;
} cm_page_form;
cm_page_form cmi_pages_form(const cm_pages *pages, const cm_model_info *model);

/* How many rows there is time for now, 0 for none: `elapsed` seconds of the run have
 * gone; until a page was drawn an evaluation is taken to be `evaluation` seconds an image. */
int32_t cmi_pages_rows(const cm_pages *pages, const cm_page_form *form, double elapsed, double evaluation);

/* Draws and writes a page.  stop as cm_progress_fn: CM_ERR_CANCELLED within one
 * network evaluation, and no file. */
cm_status cmi_pages_draw(cm_pages *pages, cm_model *model, int32_t rows, cm_progress_fn stop, void *user,
                         const char *path);

/* Of a clock that only goes forward. */
double cmi_run_seconds(void);

#endif
