/* averages.h - the averages of the weights that a run keeps: the option "ema". */
#ifndef CM_TRAIN_AVERAGES_H
#define CM_TRAIN_AVERAGES_H

#include <jansson.h>

#include <consistency/trainer.h>

#include "train/ema.h"

typedef struct cm_averages {
    int32_t count;
    cm_ema_rate rates[CM_MAX_EMAS];
    double shares[CM_MAX_EMAS]; /* half-lives that are this share of the run's images, whatever those come to be; else
                                   0 */
} cm_averages;

enum { CM_AVERAGES_SIZE = 1024 };

/* "0.999,warmup:0.999,halflife:500000:0.05,halflife:4%" or "none".  ARGUMENT names the average and its range. */
cm_status cmi_averages_read(const char *text, cm_averages *out);
/* Gives those that are shares their half-lives in images. */
void cmi_averages_of_run(cm_averages *averages, double images);
/* Whether each has a name of its own, once those that are shares have their half-lives; ARGUMENT. */
cm_status cmi_averages_check(const cm_averages *averages);
void cmi_averages_text(const cm_averages *averages, char text[CM_AVERAGES_SIZE]);
/* [{"form", "value", "ramp"}, ...] */
json_t *cmi_averages_json(const cm_averages *averages);
cm_status cmi_averages_from_json(const json_t *list, cm_averages *out);
/* "0.999", "warmup-0.999", "halflife-500000": a part of a file's name. */
void cmi_average_label(const cm_ema_rate *rate, char *out, size_t size);

#endif
