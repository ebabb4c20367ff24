/* net.h - families of networks, each a row of one table.
 *
 * To add one: a file like adm.c with its row, a line at the end of this header and one in net.c.  Nothing
 * outside of a row asks which family a network is of. */
#ifndef CM_NETS_NET_H
#define CM_NETS_NET_H

#include "nets/config.h"
#include "nets/init.h"
#include "nets/layers.h"
#include "nets/names.h"
#include "nets/recognise.h"

struct cm_export;
struct cm_diffusers_layout;

/* The inputs of a raw network. */
typedef struct cm_net_inputs {
    cm_value x;       /* [H, W, in_channels], already scaled           */
    cm_value time;    /* [1]: 250 ln sigma, ln(sigma)/4, ...           */
    cm_value label;   /* int32 [1], -1 = none; unused without classes  */
    cm_value augment; /* [augment_dim]; unused when that is 0          */
    cm_value second;  /* [1]: the second time; unused in networks of one */
    cm_value told;    /* [conditions]; unused when that is 0 */
} cm_net_inputs;

/* How a consistency model or an EDM teacher tells a network the noise level. */
enum { CM_TIME_DEFAULT, CM_TIME_250LN, CM_TIME_LN4 };

typedef struct cm_net_family {
    const char *name, *about;
    const cm_field *fields; /* of cm_net_config */
    size_t n_fields;
    void (*defaults)(cm_net_config *config); /* into zeros */
    /* What the fields do not say: arguments to refuse with words of their own, before they are read (NULL: none);
     * values that follow from others, after (NULL: none). */
    cm_status (*refuse)(const char *what, const json_t *network);
    cm_status (*complete)(const char *what, const json_t *network, cm_net_config *config);
    /* Adds the network to the graph and returns F, [H, W, out_channels]. */
    cm_value (*describe)(cm_graph *graph, const cm_net_config *config, const cm_net_inputs *in);
    cm_status (*recognise)(const cm_tensors *file, cm_recognised *out); /* NULL: by its configuration alone */
    /* The arguments of diffusers' network that is the same, UNSUPPORTED where there is none; NULL: never. */
    cm_status (*diffusers)(const struct cm_export *model, struct cm_diffusers_layout *layout, json_t **unet);
    const cm_naming *names;      /* another framework's names; NULL: none                  */
    cm_init_rule *initial;       /* what fresh weights are drawn from                      */
    const char *const *prefixes; /* names in files may begin with one of these; ended by NULL; NULL: they do not */
    const char *leaves;          /* names of no use to D begin so and are left aside; NULL: none */
    int32_t time;                /* CM_TIME_*                                              */
    int whole_widths;            /* channel_mult x model_channels has to be a whole number */
    int needs_label;             /* with classes, label -1 ("none") is an error            */
    int unit_rows; /* weights are used with rows of one length (unit_rows.h): the folded graph alone runs */
} cm_net_family;

/* Family `index` of the table, NULL past its end; and the one of that name, or NULL. */
const cm_net_family *cmi_net_family_at(size_t index);
const cm_net_family *cmi_net_family_find(const char *name);

cm_status cmi_adm_diffusers(const struct cm_export *model, struct cm_diffusers_layout *layout, json_t **unet);

extern const cm_net_family cmi_net_adm, cmi_net_songunet, cmi_net_dhariwal, cmi_net_edm2;

#endif
