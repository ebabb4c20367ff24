/* packer.c - oneDNN's layouts and Winograd's behind one set of calls. */
#include "ops/packer.h"

#include <string.h>

size_t cm_packer_bytes(const cm_packer *p)
{
    if (p->winograd) return cm_winograd_packed_bytes(p->winograd);
    return p->dnnl ? cm_dnnl_packed_bytes(p->dnnl) : 0;
}

const char *cm_packer_kernel(const cm_packer *p)
{
    if (p->winograd) return cm_winograd_name(p->winograd);
    return p->dnnl ? cm_dnnl_kernel_name(p->dnnl) : "";
}

cm_status cm_packed_form_of(const cm_packer *p, cm_packed_form *out)
{
    memset(out, 0, sizeof *out);
    if (!p->winograd) return cm_dnnl_layout_of(p->dnnl, &out->layout);
    out->winograd = *p->winograd;
    return CM_OK;
}

cm_status cm_packed_form_ready(cm_packed_form *f, const cm_packer *p)
{
    return f->winograd.kernels || f->packing ? CM_OK : cm_dnnl_packing_create(p->dnnl, &f->packing);
}

int cm_packed_form_fits(const cm_packed_form *f, const cm_packer *p)
{
    if (p->winograd) return f->winograd.kernels && cm_winograd_same_weights(&f->winograd, p->winograd);
    return f->layout && cm_dnnl_layout_fits(f->layout, p->dnnl);
}

cm_status cm_packed_form_run(const cm_packed_form *f, const float *plain, void *packed)
{
    if (!f->winograd.kernels) return cm_dnnl_packing_run(f->packing, plain, packed);
    cm_winograd_pack(&f->winograd, plain, packed);
    return CM_OK;
}

size_t cm_packer_gradient_bytes(const cm_packer *p)
{
    if (p->winograd) return cm_winograd_folded_bytes(p->winograd);
    return cm_dnnl_packed_bytes(p->dnnl);
}

cm_status cm_packed_form_unpack(const cm_packed_form *f, const float *packed, float *plain)
{
    if (!f->winograd.kernels) return cm_dnnl_packing_run(f->packing, packed, plain);
    cm_winograd_unfold(&f->winograd, packed, plain);
    return CM_OK;
}

void cm_packed_form_release(cm_packed_form *f)
{
    cm_dnnl_layout_free(f->layout);
    cm_dnnl_packing_free(f->packing);
    memset(f, 0, sizeof *f);
}
