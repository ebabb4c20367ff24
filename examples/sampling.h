/* sampling.h - the options of sampling, which cm-sample and cm-edit share. */
#ifndef SAMPLING_H
#define SAMPLING_H

#include "times.h"

enum { SAMPLING_MOST = 1024 }; /* entries of a list */

typedef struct sampling {
    cm_sampler_options sampler;
    cm_sample_options sample;
    const char *config, *weights; /* for cm_load_options           */
    const char *below;            /* a file of another model, or NULL */
    double sigmas[SAMPLING_MOST]; /* behind sample.sigmas          */
    int32_t ts[SAMPLING_MOST];    /* behind sample.ts              */
    int32_t cycle[SAMPLING_MOST]; /* --labels, used in turn        */
    size_t n_cycle;
    cm_condition condition;        /* of guidance alone, for what is asked before images are drawn */
    const char *times;             /* a file of noise levels, or NULL */
    char times_model[TIMES_MODEL]; /* the model that it is for        */
} sampling;

void sampling_init(sampling *s);
/* Takes the option that is called `name`; one that is not of sampling is a defect of the program.  A wrong
 * value ends the program with exit code 2. */
void sampling_option(sampling *s, const cli *c, const char *name, const char *value);
/* After the last option: reads the file of --times, of which --steps says the list.  What does not go with it ends
 * the program. */
void sampling_times(sampling *s, const cli *c);
/* Images that are computed at a time. */
size_t sampling_batch(const sampling *s);
/* What the noise that images begin with is multiplied by; the scale of guidance; and what is not usual of these, as
 * ", guidance 2". */
double sampling_temperature(const sampling *s);
double sampling_guidance(const sampling *s);
enum { SAMPLING_UNUSUAL = 80 };
const char *sampling_unusual(const sampling *s, char text[SAMPLING_UNUSUAL]);

/* The file to load: of a run's directory the one that cm_run_model_path names, which is said on standard error unless
 * `quiet`; anything else as it is.  `found` has room for it. */
enum { SAMPLING_PATH = 4096 };
const char *sampling_path(const cli *c, const char *path, int quiet, char found[SAMPLING_PATH]);
/* The same for the first `n` operands, in their place, or as many as there are; they live until the program ends. */
void sampling_paths(cli *c, int n, int quiet);
/* The model with --config and --weights, for which --times has to be, and what it says of itself; *seconds is what
 * loading took, may be NULL.  The library's warnings are printed; `c` lives as long as the model. */
cm_status sampling_load(const sampling *s, cli *c, const char *path, cm_model **model, cm_model_info *info,
                        double *seconds);

/* Network evaluations that images took, of which an adaptive method has an own number for each. */
typedef struct sampling_nfe {
    int32_t least, most;
    uint64_t all, images;
} sampling_nfe;
void sampling_count(sampling_nfe *c, size_t n, const int32_t *evaluations);
/* "2 network evaluations", "20 to 44 network evaluations". */
const char *sampling_nfe_text(const sampling_nfe *c, char text[64]);
double sampling_nfe_mean(const sampling_nfe *c);

/* The model of --below, where it is asked for: with the average of its weights, and as its file says it is. */
cm_status sampling_load_below(sampling *s, cli *c, cm_model **below);

/* What cm-sample says at its end. */
typedef struct sampling_result {
    size_t count; /* images                                                     */
    sampling_nfe nfe;
    double load, run;   /* seconds                                              */
    const char *output; /* what was written; NULL: nothing, it was a benchmark */
} sampling_result;
void sampling_report(const sampling *s, const cm_sampler *sampler, const sampling_result *r, int json);

#endif
