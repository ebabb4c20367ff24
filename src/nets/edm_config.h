/* edm_config.h - the arguments that SongUNet and DhariwalUNet share (networks B.3, B.4). */
#ifndef CM_NETS_EDM_CONFIG_H
#define CM_NETS_EDM_CONFIG_H

#include "nets/net.h"

/* Rows of a table of fields. */
#define CM_EDM_FIELDS(model_types)                                                                                   \
    CM_IGNORED_FIELD("type"), CM_CHOICE_FIELD("model_type", CM_NET_AT(model_type), model_types),                     \
        CM_INT_FIELD("img_resolution", CM_NET_AT(resolution), 1, 65536, 1),                                          \
        CM_INT_FIELD("in_channels", CM_NET_AT(in_channels), 1, 1024, 0),                                             \
        CM_INT_FIELD("out_channels", CM_NET_AT(out_channels), 1, 1024, 0),                                           \
        CM_INT_FIELD("img_channels", CM_NET_AT(img_channels), 1, 1024, 0),                                           \
        CM_INT_FIELD("label_dim", CM_NET_AT(num_classes), 0, 1 << 24, 0),                                            \
        CM_INT_FIELD("augment_dim", CM_NET_AT(augment_dim), 0, 1024, 0),                                             \
        CM_INT_FIELD("model_channels", CM_NET_AT(model_channels), 1, 16384, 0),                                      \
        {"channel_mult", CM_FIELD_NUMBERS, CM_NET_AT(channel_mult), CM_NET_AT(levels), 0, CM_NET_LEVELS, NULL, 0},   \
        CM_INT_FIELD("channel_mult_emb", CM_NET_AT(channel_mult_emb), 1, 64, 0),                                     \
        CM_INT_FIELD("num_blocks", CM_NET_AT(num_blocks), 1, 64, 0),                                                 \
        {"attn_resolutions", CM_FIELD_INTS, CM_NET_AT(attn), CM_NET_AT(n_attn), 1, 2 * CM_NET_LEVELS, NULL, 0},      \
        CM_NUMBER_FIELD("dropout", CM_NET_AT(dropout), 0, 1),                                                        \
        CM_NUMBER_FIELD("label_dropout", CM_NET_AT(label_dropout), 0, 1), CM_IGNORED_FIELD("use_fp16")

void cmi_edm_defaults(cm_net_config *config, const double mult[4]);
/* img_channels for both counts; fourier_scale without frequencies is an error. */
cm_status cmi_edm_complete(const char *what, const json_t *network, cm_net_config *config);

#endif
