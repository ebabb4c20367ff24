/* config.h - a network's constructor arguments, read from JSON under the
 * reference's names (networks A.1, B.3, B.4, model-file 1). */
#ifndef CM_NETS_CONFIG_H
#define CM_NETS_CONFIG_H

#include "nets/fields.h"
#include "ops/op.h"

enum { CM_NET_LEVELS = 12 };
enum { CM_ENCODER_STANDARD = 0, CM_ENCODER_SKIP = 1, CM_ENCODER_RESIDUAL = 2 };
enum { CM_DECODER_STANDARD = 0, CM_DECODER_SKIP = 1 };
enum { CM_EMBEDDING_POSITIONAL = 0, CM_EMBEDDING_FOURIER = 1 };
/* How the embedding of a second time joins the first one's: it does not, beside it in one vector, or as the sum of
 * two perceptrons' outputs; and what the network is given of it, how far it lies below the first, or itself. */
enum { CM_SECOND_NONE = 0, CM_SECOND_CONCAT = 1, CM_SECOND_TOWER = 2 };
enum { CM_SECOND_INTERVAL = 0, CM_SECOND_TIME = 1 };

typedef struct cm_net_config {
    const struct cm_net_family *family;
    int32_t resolution; /* image_size, img_resolution          */
    int32_t in_channels, out_channels, img_channels;
    int32_t model_channels, num_blocks, levels, n_attn;
    double channel_mult[CM_NET_LEVELS];
    int32_t attn[CM_NET_LEVELS * 2]; /* adm: rates; others: pixel sizes     */
    int32_t num_classes;             /* num_classes, label_dim; 0 = none    */
    double dropout, label_dropout;
    /* adm */
    int32_t num_heads, num_head_channels, num_heads_upsample;
    int32_t scale_shift, double_norm; /* songunet and dhariwal too */
    int32_t updown, conv_resample, attention_layout;
    int32_t dims;       /* of convolutions; the reference's default 2 is all there is */
    int32_t model_type; /* the family's name at the reference; the only one it accepts */
    /* songunet, dhariwal */
    int32_t augment_dim, channel_mult_emb, channel_mult_noise;
    int32_t patch_size; /* points a side that are channels of one inside the network      */
    int32_t embedding, encoder, decoder, n_filter;
    double filter[CM_FIR_MAX];
    double fourier_scale; /* of the frequencies that fresh weights get */
    /* all but edm2 */
    int32_t second_time, second_input; /* CM_SECOND_*                                   */
    double time_factor;                /* what the times are multiplied by; 1 elsewhere */
    int32_t conditions;                /* numbers about guidance that it is told, 3 or none */
    /* edm2: in mp_sum and mp_cat the share of the second; what activations are cut to; where dropout is */
    double label_balance, concat_balance, res_balance, attn_balance, clip_act;
    int32_t channels_per_head, dropout_res;
} cm_net_config;
/* Where a field of it lies. */
#define CM_NET_AT(member) offsetof(cm_net_config, member)

/* Of families whose networks may take two times, and the check of these: after the fields were read. */
extern const char *const cmi_second_times[], *const cmi_second_inputs[];
#define CM_TIMES_FIELDS                                                                                              \
    CM_CHOICE_FIELD("second_time", CM_NET_AT(second_time), cmi_second_times),                                        \
        CM_CHOICE_FIELD("second_input", CM_NET_AT(second_input), cmi_second_inputs),                                 \
        CM_NUMBER_FIELD("time_factor", CM_NET_AT(time_factor), 1e-6, 1e6),                                           \
        CM_BOOL_FIELD("double_norm", CM_NET_AT(double_norm))
cm_status cmi_times_complete(const char *what, const json_t *network, const cm_net_config *config);

/* Unknown, missing, mistyped and out-of-range arguments are errors that name
 * them. */
cm_status cmi_net_config_read(const json_t *network, cm_net_config *out);

/* Whether there is attention at that number of the list: a rate, or pixels a side. */
int cmi_net_attends(const cm_net_config *config, int32_t at);
/* Channels of a level, and its points a side for images of the size that the network is made for. */
int32_t cmi_net_width(const cm_net_config *config, int level);
int32_t cmi_net_side(const cm_net_config *config, int level);

/* How many arguments that decide the tensors or the function differ; text lists
 * them, each value followed by of_a and of_b (" in the preset"). */
int cmi_net_config_differences(const cm_net_config *a, const cm_net_config *b, const char *of_a, const char *of_b,
                               char *text, size_t size);

#endif
