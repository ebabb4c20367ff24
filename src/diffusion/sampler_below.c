/* sampler_below.c - a sampler of two models: one from a noise level on, the other below it, as truncated consistency
 * trains them (Lee et al. 2025). */
#include <math.h>

#include "diffusion/method.h"
#include "diffusion/sampler.h"

/* What of the second model differs, or NULL. */
static const char *difference(const cm_model *a, const cm_model *b)
{
    const cm_precond *p = &a->precond, *q = &b->precond;
    if (a->channels != b->channels || a->height != b->height || a->width != b->width) return "images of another size";
    if (a->net.num_classes != b->net.num_classes) return "another number of classes";
    if (cmi_model_needs_label(a) != cmi_model_needs_label(b)) return "a network that takes other labels";
    if (p->kind != q->kind) return "another precond";
    if (a->net.conditions != b->net.conditions) return "a network that is told other things of guidance";
    if (p->sigma_data != q->sigma_data || p->sigma_min != q->sigma_min || p->boundary != q->boundary)
        return "another sigma_data, sigma_min or boundary";
    return NULL;
}

cm_status cmi_sampler_check_below(const cm_model *model, const cm_model *below, double border)
{
    const char *other = below ? difference(model, below) : NULL;
    if (!below && border != 0)
        CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_options: border %g has no effect without a model below it", border);
    if (!below) return CM_OK;
    if (other) CM_FAIL(CM_ERR_ARGUMENT, "cm_sampler_options: the model below the border has %s", other);
    if (!(border > cmi_precond_boundary(&model->precond) && border <= model->precond.sigma_max &&
          border <= below->precond.sigma_max))
        CM_FAIL(
            CM_ERR_ARGUMENT,
            "cm_sampler_options: border is %g, expected a noise level above %g and at most sigma_max of both models",
            border, cmi_precond_boundary(&model->precond));
    return CM_OK;
}

cm_status cmi_sampler_add_below(cm_sampler *s, cm_model *below, double border, cm_arithmetic arithmetic)
{
    cmi_model_retain(below);
    s->below_model = below;
    s->border = border;
    return cmi_denoiser_create(below, s->threads, s->max_batch, arithmetic, &s->below);
}

cm_status cmi_sampler_check_border(const cm_sampler *s, const cm_solver *solver)
{
    if (!s->below) return CM_OK;
    const int range = solver->method->levels == CM_LEVEL_RULE_RANGE;
    const double first = solver->sigma[0], last = solver->sigma[range ? 1 : solver->n - 1];
    if (first >= s->border && last < s->border) return CM_OK;
    CM_FAIL(
        CM_ERR_ARGUMENT,
        "the network is evaluated at levels from %g to %g, which lie on one side of the border %g: the other model "
        "has no effect",
        first, last, s->border);
}

cm_status cmi_sampler_evaluate(const cm_sampler *s, const cm_evaluation *e)
{
    const size_t size = cmi_sampler_image_size(s->model), step = e->sigma_step;
    if (!s->below) return cmi_denoiser_run(s->denoiser, e);
    for (size_t i = 0, n; i < e->n; i += n) { /* a stretch of images on one side */
        const int low = e->sigma[i * step] < s->border;
        cm_evaluation part = *e;
        for (n = 1; i + n < e->n && (e->sigma[(i + n) * step] < s->border) == low; n++) continue;
        part.n = n;
        part.x += i * size;
        part.d += i * size;
        if (part.without) part.without += i * size;
        part.sigma += i * step;
        if (part.labels) part.labels += i;
        if (part.second) part.second += i * step;
        CM_TRY(cmi_denoiser_run(low ? s->below : s->denoiser, &part));
    }
    return CM_OK;
}
