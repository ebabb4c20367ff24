/* packer.h - how an op reads a parameter (or writes its gradient): plain, packed
 * for a oneDNN primitive or for an algorithm of conv/conv.h. */
#ifndef CM_OPS_PACKER_H
#define CM_OPS_PACKER_H

#include "conv/conv.h"
#include "dnnl/backend.h"

/* At most one of them; none, or one that packs on the way: plain float32. */
typedef struct cm_packer {
    const cm_dnnl_primitive *dnnl;
    const cm_convolution *conv;
    const cm_conv_gradient_layout *gradient; /* of an unpacker */
} cm_packer;

/* One packed copy: what layout it has, and what makes it again. */
typedef struct cm_packed_form {
    cm_dnnl_layout *layout;
    cm_dnnl_packing *packing;
    cm_convolution conv;              /* algorithm NULL: oneDNN's or a gradient */
    cm_conv_gradient_layout gradient; /* taps 0: oneDNN's                       */
} cm_packed_form;

static inline int cmi_packer_plain(const cm_packer *packer)
{
    return !packer->dnnl && !(packer->conv && !packer->conv->plain) && !packer->gradient;
}
size_t cmi_packer_bytes(const cm_packer *packer);
/* What computes with it: oneDNN's name, "winograd 4x4", "" when plain. */
const char *cmi_packer_kernel(const cm_packer *packer);

/* The form of a packer; `ready` once more before it runs. */
cm_status cmi_packed_form_of(const cm_packer *packer, cm_packed_form *out);
cm_status cmi_packed_form_ready(cm_packed_form *form, const cm_packer *packer);
int cmi_packed_form_fits(const cm_packed_form *form, const cm_packer *packer);
cm_status cmi_packed_form_run(const cm_packed_form *form, const float *plain, void *packed);
/* Of a gradient: its floats as it comes, and from there to plain. */
size_t cmi_packer_gradient_bytes(const cm_packer *packer);
cm_status cmi_packed_form_unpack(const cm_packed_form *form, const float *packed, float *plain);
void cmi_packed_form_release(cm_packed_form *form);

#endif
