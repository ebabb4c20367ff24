/* packer.c - oneDNN's layouts and those of conv behind one set of calls. */
#include "ops/packer.h"

#include <string.h>

size_t cm_packer_bytes(const cm_packer *p)
{
    if (p->conv) return p->conv->packed_bytes;
    return p->dnnl ? cm_dnnl_packed_bytes(p->dnnl) : 0;
}

const char *cm_packer_kernel(const cm_packer *p)
{
    if (p->conv) return p->conv->name;
    return p->dnnl ? cm_dnnl_kernel_name(p->dnnl) : "";
}

cm_status cm_packed_form_of(const cm_packer *p, cm_packed_form *out)
{
    memset(out, 0, sizeof *out);
    if (p->dnnl) return cm_dnnl_layout_of(p->dnnl, &out->layout);
    if (p->conv) out->conv = *p->conv;
    if (p->gradient) out->gradient = *p->gradient;
    return CM_OK;
}

cm_status cm_packed_form_ready(cm_packed_form *f, const cm_packer *p)
{
    return !p->dnnl || f->packing ? CM_OK : cm_dnnl_packing_create(p->dnnl, &f->packing);
}

int cm_packed_form_fits(const cm_packed_form *f, const cm_packer *p)
{
    if (p->conv) return cm_conv_same_weights(p->conv, &f->conv);
    return f->layout && cm_dnnl_layout_fits(f->layout, p->dnnl);
}

cm_status cm_packed_form_run(const cm_packed_form *f, const float *plain, void *packed)
{
    if (!f->conv.algorithm) return cm_dnnl_packing_run(f->packing, plain, packed);
    f->conv.algorithm->pack(&f->conv, plain, packed);
    return CM_OK;
}

size_t cm_packer_gradient_bytes(const cm_packer *p)
{
    if (p->gradient) return cm_conv_gradient_bytes(p->gradient);
    return cm_dnnl_packed_bytes(p->dnnl);
}

cm_status cm_packed_form_unpack(const cm_packed_form *f, const float *packed, float *plain)
{
    if (!f->gradient.taps) return cm_dnnl_packing_run(f->packing, packed, plain);
    cm_conv_gradient_unpack(&f->gradient, packed, plain);
    return CM_OK;
}

void cm_packed_form_release(cm_packed_form *f)
{
    cm_dnnl_layout_free(f->layout);
    cm_dnnl_packing_free(f->packing);
    memset(f, 0, sizeof *f);
}
