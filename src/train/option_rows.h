/* option_rows.h - the table of training options: everything that is known of one stands in its row. */
#ifndef CM_TRAIN_OPTION_ROWS_H
#define CM_TRAIN_OPTION_ROWS_H

#include <stddef.h>

#include "base/choice.h"
#include "train/settings.h"

/* How the member of cm_train_settings is stored. */
typedef enum cm_option_store {
    CM_STORE_INT32,
    CM_STORE_INT64,
    CM_STORE_UINT64,
    CM_STORE_DOUBLE,
    CM_STORE_AVERAGES,
    CM_STORE_TEXT
} cm_option_store;

enum {
    CM_ROW_SHARED = 1, /* every objective reads it; else those whose rows name it      */
    CM_ROW_COURSE = 2, /* decides the course of training, so that a resume compares it */
    CM_ROW_AUTO = 4,   /* "auto" is a value: 0 of an integer, -1 of a real              */
    CM_ROW_SHARE = 8   /* a share of the steps of the run, as "60%", is one too         */
};

/* `low` of a number that has to be above 0. */
#define CM_ROW_ABOVE_0 1e-300

typedef struct cm_option_row {
    const char *name;
    int32_t kind; /* cm_option_kind */
    int32_t store;
    size_t offset;
    double low, high, usual; /* usual: the default where the objective's row names no other */
    const cm_choice_list *choices;
    int32_t flags;
    const char *about; /* one sentence */
} cm_option_row;

/* Of the rows with CM_ROW_SHARE: which place of cm_train_settings.shares is the row's; -1 for others. */
int cmi_option_share(const cm_option_row *row);
/* Row i; NULL past the end.  Row 0 is "objective". */
const cm_option_row *cmi_option_row_at(size_t index);
/* By name; NULL when there is none. */
const cm_option_row *cmi_option_row_find(const char *name);

/* The value of a row with a number: all but averages and texts. */
double cmi_option_value(const cm_option_row *row, const cm_train_settings *s);
void cmi_option_put(const cm_option_row *row, cm_train_settings *s, double value);
/* Of a row with CM_STORE_TEXT; row->high is the longest that is put. */
const char *cmi_option_text(const cm_option_row *row, const cm_train_settings *s);
void cmi_option_put_text(const cm_option_row *row, cm_train_settings *s, const char *text);
/* The largest value; of a choice the number of the last one. */
double cmi_option_high(const cm_option_row *row);
/* The number that "auto" stands for. */
double cmi_option_auto(const cm_option_row *row);
/* ARGUMENT with the range, or the number of choices. */
cm_status cmi_option_check_range(const cm_option_row *row, double value);
/* Whether two settings have the same value there. */
int cmi_option_same(const cm_option_row *row, const cm_train_settings *a, const cm_train_settings *b);

extern const cm_choice_list cmi_clip_rule_choices, cmi_weighting_choices, cmi_level_choices, cmi_ode_choices,
    cmi_scales_choices, cmi_mu_choices, cmi_mapping_choices, cmi_pair_weighting_choices, cmi_lpips_pooling_choices,
    cmi_lpips_resize_choices;

#endif
