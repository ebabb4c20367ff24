/* headings.h - names over the columns of a page, in small letters of this library's own. */
#ifndef CM_DATA_HEADINGS_H
#define CM_DATA_HEADINGS_H

#include "tensor/images.h"

/* The columns of a page and what is called for each. */
typedef struct cm_headings {
    const char *const *names; /* UTF-8, of which ASCII is drawn; NULL: no name */
    size_t count;             /* columns                                       */
    size_t width, margin;     /* of an image; around it                        */
} cm_headings;

/* Rows of pixels that the names take above a page; 0 without any. */
size_t cmi_headings_height(const cm_headings *headings);
/* Draws them into the first rows of a page, which have one value each. */
void cmi_headings_draw(const cm_headings *headings, uint8_t ink, const cm_view *page);

#endif
