/* packer.c - oneDNN's layouts and those of conv behind one set of calls. */
#include "ops/packer.h"

#include <string.h>

size_t cmi_packer_bytes(const cm_packer *p)
{
    if (p->conv) return p->conv->packed_bytes;
    return p->dnnl ? cmi_dnnl_packed_bytes(p->dnnl) : 0;
}

const char *cmi_packer_kernel(const cm_packer *p)
{
    if (p->conv) return p->conv->name;
    return p->dnnl ? cmi_dnnl_kernel_name(p->dnnl) : "";
}

cm_status cmi_packed_form_of(const cm_packer *p, cm_packed_form *out)
{
    memset(out, 0, sizeof *out);
    if (p->dnnl) return cmi_dnnl_layout_of(p->dnnl, &out->layout);
    if (p->conv) out->conv = *p->conv;
    if (p->gradient) out->gradient = *p->gradient;
    return CM_OK;
}

cm_status cmi_packed_form_ready(cm_packed_form *f, const cm_packer *p)
{
    return !p->dnnl || f->packing ? CM_OK : cmi_dnnl_packing_create(p->dnnl, &f->packing);
}

int cmi_packed_form_fits(const cm_packed_form *f, const cm_packer *p)
{
    if (p->conv) return cmi_conv_same_weights(p->conv, &f->conv);
    return f->layout && cmi_dnnl_layout_fits(f->layout, p->dnnl);
}

cm_status cmi_packed_form_run(const cm_packed_form *f, const float *plain, void *packed)
{
    if (!f->conv.algorithm) return cmi_dnnl_packing_run(f->packing, plain, packed);
    f->conv.algorithm->pack(&f->conv, plain, packed);
    return CM_OK;
}

size_t cmi_packer_gradient_bytes(const cm_packer *p)
{
    if (p->gradient) return cmi_conv_gradient_bytes(p->gradient);
    return cmi_dnnl_packed_bytes(p->dnnl);
}

cm_status cmi_packed_form_unpack(const cm_packed_form *f, const float *packed, float *plain)
{
    if (!f->gradient.taps) return cmi_dnnl_packing_run(f->packing, packed, plain);
    cmi_conv_gradient_unpack(&f->gradient, packed, plain);
    return CM_OK;
}

void cmi_packed_form_release(cm_packed_form *f)
{
    cmi_dnnl_layout_free(f->layout);
    cmi_dnnl_packing_free(f->packing);
    memset(f, 0, sizeof *f);
}
