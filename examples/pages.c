/* pages.c - see the header. */
#include "pages.h"

#include <stdlib.h>

#include "output.h"

enum { HEUN_STEPS = 5, MOST = 80 };

page_form pages_form(const cm_model_info *model)
{
    page_form f = {8, 8, model->is_consistency ? 1 : 2 * HEUN_STEPS - 1};
    if (model->num_classes > 0 && model->num_classes < 9) f.columns = model->num_classes;
    if (model->num_classes == 10) f.columns = 10, f.rows = 6;
    return f;
}

int32_t pages_rows(const pages *p, const page_form *form, double elapsed, double evaluation)
{
    double row = p->row > 0 ? p->row : form->columns * form->evaluations * evaluation;
    int32_t rows = form->rows;
    while (p->share > 0 && rows > 0 && row * rows > p->share * elapsed - p->spent) rows /= 2;
    return rows;
}

static cm_status draw(cm_model *model, const cm_model_info *info, const page_form *form, int32_t threads, size_t n,
                      const cm_sample_options *common, float *images)
{
    cm_sampler *sampler;
    cm_sampler_options so;
    cm_sample_options s = *common;
    cm_condition condition = CM_CONDITION_INIT;
    int32_t labels[MOST];
    cm_sampler_options_init(&so, sizeof so);
    so.threads = threads;
    for (size_t i = 0; i < n; i++)
        labels[i] = info->num_classes ? (int32_t)i % form->columns % info->num_classes : -1;
    condition.labels = labels;
    s.condition = &condition;
    if (!info->is_consistency) s.method = CM_METHOD_HEUN, s.steps = HEUN_STEPS;
    cm_status status = cm_sampler_create(model, &so, &sampler);
    if (status != CM_OK) return status;
    status = cm_sampler_run(sampler, &s, n, images);
    cm_sampler_free(sampler);
    return status;
}

static cm_status write_page(const cm_model_info *info, int32_t columns, size_t n, const float *images,
                            const char *path)
{
    output page = {.page = path,
                   .force = 1,
                   .margin = 2,
                   .columns = columns,
                   .channels = info->channels,
                   .height = info->height,
                   .width = info->width,
                   .count = n};
    cm_status status = output_open(&page);
    if (status == CM_OK) status = output_put(&page, n, images);
    if (status == CM_OK) status = output_finish(&page);
    output_free(&page);
    return status;
}

cm_status pages_draw(pages *p, cm_model *model, int32_t rows, cm_progress_fn stop, void *user, const char *path)
{
    cm_model_info info;
    cm_sample_options s;
    double began = cli_seconds();
    cm_model_info_init(&info, sizeof info);
    cm_sample_options_init(&s, sizeof s);
    s.progress = stop;
    s.progress_user = user;
    cm_status status = cm_model_info_get(model, &info);
    if (status != CM_OK) return status;
    const page_form form = pages_form(&info);
    size_t n = (size_t)rows * (size_t)form.columns;
    float *images = calloc(n, (size_t)info.channels * (size_t)info.height * (size_t)info.width * sizeof *images);
    if (!images) return CM_ERR_MEMORY;
    status = draw(model, &info, &form, p->threads, n, &s, images);
    if (status == CM_OK) status = write_page(&info, form.columns, n, images, path);
    free(images);
    p->spent += cli_seconds() - began;
    p->row = (cli_seconds() - began) / rows;
    p->drawn += status == CM_OK;
    return status;
}
