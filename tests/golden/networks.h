/* networks.h - a case of golden/networks: its description, its inputs, its
 * gradients. */
#ifndef TESTS_GOLDEN_NETWORKS_H
#define TESTS_GOLDEN_NETWORKS_H

#include "golden.h"

enum { ADM, EDM, FLAX };

/* What a file's metadata says of its case. */
typedef struct {
    int family, fill;
    uint64_t seed;
    json_t *network; /* as in a native file */
    json_t *config, *fill_json;
    char wrapper[32]; /* EDMPrecond, ... */
    json_t *precond;  /* of the wrapper, as in a native file */
} net_case;

int golden_case_read(const golden_file *f, net_case *c);
/* The file of the same folder that describes case `name`. */
int golden_case_open(const golden_file *f, const char *name, golden_file *out, net_case *c);
void golden_case_free(net_case *c);
/* The arguments of a flax network, which are taken out of `config`, as those of a SongUNet. */
void golden_flax_network(json_t *config, json_t *to);

/* Inputs of one evaluation, planes; sizes from the model. */
typedef struct {
    size_t n;
    int32_t h, w, channels;
    double *x, *sigma, *second; /* second: NULL in networks of one time */
    int32_t *labels;
    float *augment;
} inputs;

int golden_inputs_read(const golden_file *f, const net_case *c, const char *x_name, const char *sigma_name,
                       inputs *in);
int golden_labels_read(const golden_file *f, const char *y, const char *onehot, inputs *in);
void golden_augment_read(const golden_file *f, const net_case *c, inputs *in);
/* A reference array of images as planes. */
double *golden_images_read(const golden_file *f, const net_case *c, const char *name, const inputs *in,
                           size_t *per_image);
/* x sigma, as float32. */
double *golden_scaled(const inputs *in);
void golden_inputs_free(inputs *in);

/* Gradients of the case in `f` against the grad.* tensors of `grads`. */
void golden_gradients(const golden_file *f, const golden_file *grads, const net_case *c, golden_result *r);

/* Gradients of a batch, summed over the images, and where those of a parameter stand. */
typedef struct {
    const cm_model *m;
    const size_t *offsets;
    const double *sum, *x; /* x: n x C x H x W */
    size_t floats;
} gradients;
/* The names of the tensors that they are compared with, prefix "rof." of "rof.grad.x.f64", and the rule: of the
 * largest gradient of an image, of the tensor's and of all, and of the row's norm. */
typedef struct {
    const char *prefix, *suffix, *input; /* input: "x" */
    double x, param, all, row;
} gradient_rule;
void golden_gradients_compare(const golden_file *f, const golden_file *grads, const net_case *c, const inputs *in,
                              const gradients *got, const gradient_rule *rule, golden_result *r);
/* A direction of x and sigma, and where the gradients by sigma go. */
typedef struct {
    const double *x, *sigma, *second; /* second: NULL in networks of one time */
    double *by_sigma;                 /* may be NULL                          */
} gradient_direction;
/* The gradient of <cotangent, D>, or of <cotangent, D'> in a direction (or NULL), for one preconditioning, by the
 * same rule. */
void golden_gradients_of(const golden_file *f, const net_case *c, const json_t *precond, const inputs *in,
                         const double *cotangent, const gradient_direction *along, const gradient_rule *rule,
                         golden_result *r);

/* What EDM2's network has beside others: its wrapper's u(sigma), forced normalisation of weights; and its averages.
 */
void golden_edm2(const golden_file *f, const net_case *c, const inputs *in, golden_result *r);
void golden_phema(golden_file *f, golden_result *r);

/* Each weight of a loaded model, bit for bit, against those of one that was filled; `set` names them in words. */
void golden_weights(const cm_model *filled, const cm_model *loaded, const char *set, golden_result *r);

#endif
