/* colours.c - whether pictures that are read as gray have colours. */
#include "data/dataset.h"

enum { LOOKED_AT = 8, SPREAD = 16 };

/* More than a hundredth of the pixels is no gray: a gray picture that was saved as a
 * JPEG in colour differs by less. */
static int has_colours(const cm_picture *p)
{
    size_t pixels = (size_t)p->height * (size_t)p->width, coloured = 0;
    for (size_t i = 0; p->channels == 3 && i < pixels; i++) {
        const uint8_t *v = p->pixels + 3 * i;
        int low = v[0] < v[1] ? v[0] : v[1], high = v[0] < v[1] ? v[1] : v[0];
        low = v[2] < low ? v[2] : low;
        high = v[2] > high ? v[2] : high;
        coloured += high - low > SPREAD;
    }
    return 100 * coloured > pixels;
}

cm_status cmi_dataset_look_for_colours(cm_dataset *d)
{
    const cm_source *s = d->source;
    size_t n = s->count < LOOKED_AT ? s->count : LOOKED_AT, coloured = 0, seen = 0;
    if (d->o.channels != 1 || s->kind == &cmi_source_idx) return CM_OK;
    for (size_t k = 0; k < n; k++) {
        cm_picture p;
        cm_status status = s->kind->picture(d->source, k * (s->count / n), 3, &p);
        if (status == CM_ERR_MEMORY || status == CM_ERR_IO) return status;
        if (status != CM_OK) continue; /* logged when it is read */
        coloured += (size_t)has_colours(&p);
        seen++;
        cmi_free(d->context, p.pixels);
    }
    if (coloured)
        cmi_log(d->context, CM_LOG_WARNING,
                "the pictures are in colour (%zu of the %zu looked at) and are read as gray, since one channel is "
                "asked for",
                coloured, seen);
    return CM_OK;
}
