/* pages.c - see the header. */
#include "run/pages.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <consistency/image.h>

#include "diffusion/model.h"

enum { HEUN_STEPS = 5, MARGIN = 2, BACKGROUND = 128 };

double cmi_run_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

cm_page_form cmi_pages_form(const cm_pages *p, const cm_model_info *model)
{
    cm_page_form f = {8, 8, model->is_consistency ? 1 : 2 * HEUN_STEPS - 1};
    if (model->num_classes > 0 && model->num_classes < 9) f.columns = model->num_classes;
    if (model->num_classes == 10) f.columns = 10, f.rows = 6;
    if (p->rows) f.rows = p->rows;
    if (p->columns) f.columns = p->columns;
    return f;
}

int32_t cmi_pages_rows(const cm_pages *p, const cm_page_form *form, double elapsed, double evaluation)
{
    const double row = p->row > 0 ? p->row : form->columns * form->evaluations * evaluation;
    int32_t rows = form->rows;
    while (p->share > 0 && rows > 0 && row * rows > p->share * elapsed - p->spent) rows /= 2;
    return rows;
}

static cm_status draw(const cm_pages *p, cm_model *model, const cm_model_info *info, const cm_page_form *form,
                      cm_sample_options *s, size_t n, float *images)
{
    cm_sampler *sampler;
    cm_sampler_options so;
    cm_condition condition = CM_CONDITION_INIT;
    int32_t labels[CM_PAGE_SIDE * CM_PAGE_SIDE];
    cm_sampler_options_init(&so, sizeof so);
    so.threads = p->threads;
    for (size_t i = 0; i < n; i++)
        labels[i] = info->num_classes ? (int32_t)i % form->columns % info->num_classes : -1;
    condition.labels = labels;
    if (!info->is_consistency) s->method = CM_METHOD_HEUN, s->steps = HEUN_STEPS;
    CM_TRY(cm_sampler_create(model, &so, &sampler));
    s->condition = &condition;
    const cm_status status = cm_sampler_run(sampler, s, n, images);
    s->condition = NULL;
    cm_sampler_free(sampler);
    return status;
}

typedef struct {
    const char *names[CM_PAGE_SIDE];
    char numbers[CM_PAGE_SIDE][12];
} column_names;

/* Every column is a class: its name, or its number where it has none. */
static void name_columns(const cm_model *model, const cm_model_info *m, int32_t columns, column_names *out)
{
    memset(out, 0, sizeof *out);
    for (int32_t k = 0; k < columns && m->num_classes; k++) {
        const int32_t label = k % m->num_classes;
        (void)snprintf(out->numbers[k], sizeof out->numbers[k], "%d", label);
        out->names[k] = cm_model_class_name(model, label);
        if (!out->names[k]) out->names[k] = out->numbers[k];
    }
}

static cm_status write_page(const cm_model *model, const cm_model_info *m, int32_t columns, size_t n,
                            const float *values, const char *path)
{
    cm_context *context = model->context;
    column_names names;
    int32_t height, width;
    const cm_images images = cm_images_f32(n, m->channels, m->height, m->width, values);
    cm_image_write_options options = CM_IMAGE_WRITE_OPTIONS_INIT;
    options.overwrite = CM_OVERWRITE_YES;
    name_columns(model, m, columns, &names);
    CM_TRY(cm_image_named_grid_size(&images, columns, MARGIN, names.names, &height, &width));
    uint8_t *pixels = cmi_malloc(context, (size_t)height * (size_t)width, (size_t)m->channels);
    if (!pixels) return CM_ERR_MEMORY;
    const cm_images page = cm_images_u8(1, height, width, m->channels, pixels);
    cm_status status = cm_image_named_grid(&images, columns, MARGIN, BACKGROUND, names.names, &page);
    if (status == CM_OK) status = cm_image_write(context, path, &page, &options);
    cmi_free(context, pixels);
    return status;
}

cm_status cmi_pages_draw(cm_pages *p, cm_model *model, int32_t rows, cm_progress_fn stop, void *user,
                         const char *path)
{
    cm_model_info info;
    cm_sample_options s;
    const double began = cmi_run_seconds();
    cm_model_info_init(&info, sizeof info);
    cm_sample_options_init(&s, sizeof s);
    s.progress = stop;
    s.progress_user = user;
    CM_TRY(cm_model_info_get(model, &info));
    const cm_page_form form = cmi_pages_form(p, &info);
    const size_t n = (size_t)rows * (size_t)form.columns;
    float *images =
        cmi_calloc(model->context, n, (size_t)info.channels * (size_t)info.height * (size_t)info.width * 4);
    cm_status status = images ? draw(p, model, &info, &form, &s, n, images) : CM_ERR_MEMORY;
    if (status == CM_OK) status = write_page(model, &info, form.columns, n, images, path);
    cmi_free(model->context, images);
    p->spent += cmi_run_seconds() - began;
    p->row = (cmi_run_seconds() - began) / rows;
    return status;
}
