/* fit.h - how a picture comes to another size. */
#ifndef CM_DATA_FIT_H
#define CM_DATA_FIT_H

#include <consistency/image.h>

#include "base/choice.h"
#include "io/picture.h"
#include "tensor/images.h"

typedef struct cm_fitting {
    int32_t fit; /* cm_fit */
    uint8_t background;
} cm_fitting;

extern const cm_choice_list cmi_fit_choices;

/* Every image of `from`, of 1 or 3 channels, into the one of `to` with its number. */
cm_status cmi_fit(cm_context *context, const cm_fitting *how, const cm_view *from, const cm_view *to);

#endif
