/* packer.c - oneDNN's layouts and Winograd's behind one set of calls. */
#include "ops/packer.h"

#include <string.h>

size_t cm_packer_bytes(const cm_packer *p)
{
    if (p->own) return cm_own_conv_packed_bytes(p->own);
    return p->dnnl ? cm_dnnl_packed_bytes(p->dnnl) : 0;
}

const char *cm_packer_kernel(const cm_packer *p)
{
    if (p->own) return cm_own_conv_name(p->own);
    return p->dnnl ? cm_dnnl_kernel_name(p->dnnl) : "";
}

cm_status cm_packed_form_of(const cm_packer *p, cm_packed_form *out)
{
    memset(out, 0, sizeof *out);
    if (p->dnnl) return cm_dnnl_layout_of(p->dnnl, &out->layout);
    if (p->own) out->own = *p->own;
    if (p->gradient) out->gradient = *p->gradient;
    return CM_OK;
}

cm_status cm_packed_form_ready(cm_packed_form *f, const cm_packer *p)
{
    return !p->dnnl || f->packing ? CM_OK : cm_dnnl_packing_create(p->dnnl, &f->packing);
}

int cm_packed_form_fits(const cm_packed_form *f, const cm_packer *p)
{
    if (p->own) return cm_own_conv_same_weights(&f->own, p->own);
    return f->layout && cm_dnnl_layout_fits(f->layout, p->dnnl);
}

cm_status cm_packed_form_run(const cm_packed_form *f, const float *plain, void *packed)
{
    if (f->own.kind == CM_OWN_NONE) return cm_dnnl_packing_run(f->packing, plain, packed);
    cm_own_conv_pack(&f->own, plain, packed);
    return CM_OK;
}

size_t cm_packer_gradient_bytes(const cm_packer *p)
{
    if (p->gradient) return cm_winograd_folded_bytes(p->gradient);
    return cm_dnnl_packed_bytes(p->dnnl);
}

cm_status cm_packed_form_unpack(const cm_packed_form *f, const float *packed, float *plain)
{
    if (!f->gradient.kernels) return cm_dnnl_packing_run(f->packing, packed, plain);
    cm_winograd_unfold(&f->gradient, packed, plain);
    return CM_OK;
}

void cm_packed_form_release(cm_packed_form *f)
{
    cm_dnnl_layout_free(f->layout);
    cm_dnnl_packing_free(f->packing);
    memset(f, 0, sizeof *f);
}
