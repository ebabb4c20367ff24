/* editing.h - the tasks of editing and their options, by name. */
#ifndef EDITING_H
#define EDITING_H

#include "given.h"
#include "sampling.h"

typedef enum editing_task { INPAINT, COLORIZE, SUPER_RESOLVE, STROKE, INTERPOLATE, DENOISE } editing_task;

typedef struct editing {
    editing_task task;
    const char *name; /* of the task */
    cm_edit_options options;
    int32_t factor, frames;
    int no_cut;
    given pictures;
    double *levels; /* noise that was estimated, of every picture; or NULL */
} editing;

/* The task of the first operand, the model of the second, the pictures of the others; wrong ones end the program. */
void editing_begin(editing *e, const cli *c);
/* Takes the option that is called `name`; one that is not of editing is a defect of the program.  A wrong value ends
 * the program with exit code 2. */
void editing_option(editing *e, const char *name, const char *value);
/* After all options: those that the task needs and those without effect end the program; the others get their
 * defaults. */
void editing_check(editing *e);

/* Reads the pictures for that model, and estimates their noise where nothing says it. */
cm_status editing_read(editing *e, const cm_model_info *model, const sampling *s);
/* How many pictures a page shows before the results of each, and number k of them. */
int32_t editing_shown(const editing *e);
void editing_show(const editing *e, size_t i, int32_t k, const cm_model_info *model, float *out);

/* The results of n pictures from picture i on, `per` of each, of which the first is result `first` of all; or that
 * many frames. */
cm_status editing_change(const editing *e, cm_sampler *sampler, const cm_sample_options *sample, size_t i, size_t n,
                         size_t per, size_t first, const cm_images *out);
/* What cm-edit says at its end. */
void editing_report(const editing *e, size_t results, double seconds, const char *output, int json);
void editing_free(editing *e);

#endif
