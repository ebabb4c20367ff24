/* What a snapshot of EDM's code says of its network, its preconditioning and who has trained it, from the names of
 * classes, arguments and attributes: the whole description of small modules, compared as text. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/snapshot_file.h"
#include "support/tensors.h"

static cm_context *context;

static void setup(void)
{
    OK(cm_context_create(NULL, &context));
}

static void teardown(void)
{
    cm_context_free(context);
}

typedef struct {
    const char *class, *attributes; /* of the wrapper, as JSON; NULL: there is none */
    const char *args, *kwargs;      /* its arguments by place and by name; or NULL  */
    const char *part;               /* what it calls its network; NULL: model       */
    const char *network, *network_args, *network_kwargs;
    const char *loss, *loss_attributes;
    const char *also;   /* more parts of the wrapper, before its network */
    const char *beside; /* more entries of the file, as JSON */
} module;

static void put_text_of_json(block *b, const char *text)
{
    json_t *v = json_loads(text, 0, NULL);
    ck_assert_msg(v != NULL, "%s", text);
    put_json(b, v);
    json_decref(v);
}

/* Entries of a dictionary that is being filled. */
static void put_entries(block *b, const char *text)
{
    const char *key;
    json_t *value, *v = json_loads(text ? text : "{}", 0, NULL);
    ck_assert_msg(v != NULL, "%s", text);
    json_object_foreach(v, key, value) put_text(b, key), put_json(b, value);
    json_decref(v);
}

static void put_arguments_of(block *b, const char *args, const char *kwargs)
{
    if (args) {
        size_t i;
        json_t *value, *v = json_loads(args, 0, NULL);
        ck_assert_msg(v != NULL, "%s", args);
        put_text(b, "_init_args"), PUT(b, "(");
        json_array_foreach(v, i, value) put_json(b, value);
        PUT(b, "t");
        json_decref(v);
    }
    if (kwargs) put_text(b, "_init_kwargs"), put_text_of_json(b, kwargs);
}

static block file_of(const module *m)
{
    static const float values[2] = {1, 2};
    static const int64_t shape[1] = {2};
    const snapshot how = {.wrapper = m->class};
    block b = {NULL, 0, 0};
    PUT(&b, "\200\4}(");
    put_entries(&b, m->beside);
    put_text(&b, "ema");
    if (m->class) {
        begin_object(&b, m->class);
        PUT(&b, "}(");
        put_text(&b, "_modules"), PUT(&b, ORDERED);
        put_entries(&b, m->also);
        if (m->network) put_text(&b, m->part ? m->part : "model");
    }
    if (m->network) begin_object(&b, m->network), PUT(&b, "}(");
    else PUT(&b, "u"); /* the wrapper has its tensors itself */
    put_text(&b, "_parameters"), PUT(&b, ORDERED), put_text(&b, "w");
    put_parameter(&b, values, 1, shape, &how, 0);
    PUT(&b, "u");
    if (m->network) {
        put_arguments_of(&b, m->network_args, m->network_kwargs);
        PUT(&b, "u" END_OBJECT);
    }
    if (m->class) {
        if (m->network) PUT(&b, "u");
        put_entries(&b, m->attributes);
        put_arguments_of(&b, m->args, m->kwargs);
        PUT(&b, "u" END_OBJECT);
    }
    if (m->loss) {
        put_text(&b, "loss_fn");
        begin_object(&b, m->loss);
        if (m->loss_attributes && strcmp(m->loss_attributes, "none") == 0) {
            PUT(&b, "N" END_OBJECT);
        } else {
            PUT(&b, "}(");
            put_entries(&b, m->loss_attributes);
            PUT(&b, "u" END_OBJECT);
        }
    }
    PUT(&b, "u.");
    return b;
}

/* All notes, a line each. */
static void describe(const module *m, char *out, size_t room)
{
    block b = file_of(m);
    cm_tensors t;
    size_t n = 0;
    out[0] = '\0';
    OK(open_bytes(context, "x", b.bytes, b.size, &t));
    ck_assert_uint_eq(t.count, 1);
    for (size_t i = 0; i < t.metadata_count; i++) {
        const char *key = t.metadata[i].key;
        if (strcmp(key, "weights") == 0) continue;
        key = strncmp(key, "consistency.", 12) == 0 ? key + 12 : key + 5;
        n += (size_t)snprintf(out + n, room - n, "%s%s: %s", n ? "\n" : "", key, t.metadata[i].value);
        ck_assert_uint_lt(n, room);
    }
    cmi_tensors_close(&t);
    free(b.bytes);
}

/* What stands in many of them. */
#define ABOUT "about: a snapshot of NVlabs' EDM code or one of its kind: "
#define SONG                                                                                                         \
    "network: "                                                                                                      \
    "{\"type\":\"songunet\",\"img_resolution\":16,\"in_channels\":3,\"out_channels\":4,\"label_dim\":10,\"augment_"  \
    "dim\":9,\"model_channels\":128,\"channel_mult\":[1,2],\"channel_mult_emb\":5,\"num_blocks\":6,\"attn_"          \
    "resolutions\":[8],\"dropout\":0.125,\"label_dropout\":0.25,\"embedding_type\":\"fourier\",\"channel_mult_"      \
    "noise\":2,\"encoder_type\":\"residual\",\"decoder_type\":\"skip\",\"resample_filter\":[1,3]}"
#define ALL_NAMED                                                                                                    \
    "\"img_resolution\":16,\"in_channels\":3,\"out_channels\":4,\"label_dim\":10,\"augment_dim\":9,\"model_"         \
    "channels\":128,\"channel_mult\":[1,2],\"channel_mult_emb\":5,\"num_blocks\":6,\"attn_resolutions\":[8],"        \
    "\"dropout\":0.125,\"label_dropout\":0.25,\"embedding_type\":\"fourier\",\"channel_mult_noise\":2,\"encoder_"    \
    "type\":\"residual\",\"decoder_type\":\"skip\",\"resample_filter\":[1,3]"
#define SONG_DEFAULTS                                                                                                \
    "augment_dim, model_channels, channel_mult, channel_mult_emb, num_blocks, attn_resolutions, dropout, "           \
    "label_dropout, embedding_type, channel_mult_noise, encoder_type, decoder_type, resample_filter as the "         \
    "constructor has them"
#define EDM2_DEFAULTS                                                                                                \
    "model_channels, channel_mult, channel_mult_noise, channel_mult_emb, num_blocks, attn_resolutions, "             \
    "label_balance, concat_balance as the constructor has them"
#define NOT_HERE                                                                                                     \
    ", which this library does not have; it has SongUNet, DhariwalUNet and EDM2's UNet in EDMPrecond, ECMPrecond, "  \
    "VPPrecond, VEPrecond, iDDPMPrecond, IMMPrecond and Precond"
#define PUBLISHED " as in the published models"

static const struct {
    module m;
    const char *notes;
} rows[] = {
#define ALL_EDM                                                                                                      \
    "[16, 3, 4, 10, 9, 128, [1, 2], 5, 6, [8], 0.125, 0.25, \"fourier\", 2, \"residual\", \"skip\", [1, 3]]"
    {{.network = "SongUNet", .network_args = ALL_EDM}, ABOUT "SongUNet\n" SONG},
    {{.network = "DhariwalUNet", .network_args = ALL_EDM},
     ABOUT "DhariwalUNet\nnetwork: {\"type\":\"dhariwal\"," ALL_NAMED "}"},
    {{.network = "UNet", .network_args = "[16, 3, 10, 128, [1, 2], null, null, 3, [8], 0.5, 0.25]"},
     ABOUT "UNet\nnetwork: "
           "{\"type\":\"edm2\",\"img_resolution\":16,\"img_channels\":3,\"label_dim\":10,\"model_channels\":128,"
           "\"channel_mult\":[1,2],\"channel_mult_noise\":null,\"channel_mult_emb\":null,\"num_blocks\":3,\"attn_"
           "resolutions\":[8],\"label_balance\":0.5,\"concat_balance\":0.25}"},
    {{.network = "SongUNet", .network_args = "[]", .network_kwargs = "{}"},
     ABOUT "SongUNet\nnetwork: {\"type\":\"songunet\"}\nassumed: " SONG_DEFAULTS},
    {{.network = "DhariwalUNet", .network_args = "[16, 3]"},
     ABOUT "DhariwalUNet\nnetwork: {\"type\":\"dhariwal\",\"img_resolution\":16,\"in_channels\":3}\nassumed: "
           "augment_dim, model_channels, channel_mult, channel_mult_emb, num_blocks, attn_resolutions, dropout, "
           "label_dropout as the constructor has them"},
    {{.network = "UNet", .network_kwargs = "{\"img_resolution\": 8}"},
     ABOUT "UNet\nnetwork: {\"type\":\"edm2\",\"img_resolution\":8}\nassumed: " EDM2_DEFAULTS},
    {{.network = "SongUNet",
      .network_args = "[16]",
      .network_kwargs =
          "{\"img_resolution\": 8, \"use_fp16\": true, \"s_embed\": 1, \"more\": [[1, [2]], \"x\", null, true, -3]}"},
     ABOUT
     "SongUNet\nnetwork: "
     "{\"type\":\"songunet\",\"img_resolution\":8,\"more\":[[1,[2]],\"x\",null,true,-3]}\nassumed: " SONG_DEFAULTS},
    /* What cannot be said or has no name. */
    {{.network = "UNet", .network_args = "[16, 3, 10, 128, [1, 2], null, null, 3, [8], 0.5, 0.25, 1]"},
     ABOUT "UNet\nunsupported: class UNet has more than 11 arguments without names"},
    {{.network = "SongUNet", .network_kwargs = "{\"a\": {}}"},
     ABOUT "SongUNet\nunsupported: argument 'a' of its network is a dictionary, not a finite number, a short string "
           "or a list of such"},
    {{.network = "SongUNet", .network_kwargs = "{\"a\": [[[[1]]]]}"},
     ABOUT "SongUNet\nunsupported: argument 'a' of its network is a list, not a finite number, a short string or a "
           "list of such"},
    {{.network = "SongUNet", .network_kwargs = "{\"a\": \"inf\"}"},
     ABOUT "SongUNet\nunsupported: argument 'a' of its network is a number, not a finite number, a short string or a "
           "list of such"},
/* Wrappers */
#define BARE .network = "SongUNet", .network_args = ALL_EDM
    {{.class = "EDMPrecond", .attributes = "{\"sigma_data\": 0.5, \"sigma_min\": 0.25, \"sigma_max\": 80}", BARE},
     ABOUT "EDMPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.5,\"sigma_min\":0.25,\"sigma_max\":80.0}\npublished: edm"},
    {{.class = "EDMPrecond", .attributes = "{\"sigma_data\": 1, \"sigma_min\": 0, \"sigma_max\": \"inf\"}", BARE},
     ABOUT
     "EDMPrecond of SongUNet\n" SONG
     "\nprecond: {\"type\":\"edm\",\"sigma_data\":1.0}\npublished: edm\nassumed: sigma_min, sigma_max" PUBLISHED},
    {{.class = "EDMPrecond",
      .attributes = "{}",
      .kwargs = "{\"sigma_data\": 0.25, \"sigma_min\": 1, \"sigma_max\": 2}",
      BARE},
     ABOUT "EDMPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.25,\"sigma_min\":1.0,\"sigma_max\":2.0}\npublished: edm"},
    {{.class = "EDMPrecond", .attributes = "{\"sigma_data\": \"x\"}", .kwargs = "{\"sigma_data\": 0.25}", BARE},
     ABOUT
     "EDMPrecond of SongUNet\n" SONG
     "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.25}\npublished: edm\nassumed: sigma_min, sigma_max" PUBLISHED},
    {{.class = "EDMPrecond",
      .attributes = "{\"sigma_data\": 0.75}",
      .kwargs = "{\"sigma_data\": 0.25, \"img_resolution\": 4, \"label_dim\": 3, \"img_channels\": 7, \"use_fp16\": "
                "true, \"model_type\": \"x\", \"extra\": 1}",
      BARE},
     ABOUT
     "EDMPrecond of SongUNet\nnetwork: "
     "{\"type\":\"songunet\",\"img_resolution\":16,\"label_dim\":10,\"extra\":1,\"in_channels\":3,\"out_channels\":4,"
     "\"augment_dim\":9,\"model_channels\":128,\"channel_mult\":[1,2],\"channel_mult_emb\":5,\"num_blocks\":6,\"attn_"
     "resolutions\":[8],\"dropout\":0.125,\"label_dropout\":0.25,\"embedding_type\":\"fourier\",\"channel_mult_"
     "noise\":2,\"encoder_type\":\"residual\",\"decoder_type\":\"skip\",\"resample_filter\":[1,3]}\nprecond: "
     "{\"type\":\"edm\",\"sigma_data\":0.75}\npublished: edm\nassumed: sigma_min, sigma_max" PUBLISHED},
    {{.class = "EDMPrecond", .attributes = "{}", .args = "[32, 5, 2, true]", .network = "SongUNet"},
     ABOUT "EDMPrecond of SongUNet\nnetwork: "
           "{\"type\":\"songunet\",\"img_resolution\":32,\"img_channels\":5,\"label_dim\":2}\nprecond: "
           "{\"type\":\"edm\"}\npublished: edm\nassumed: " SONG_DEFAULTS
           "; sigma_data, sigma_min, sigma_max" PUBLISHED},
    {{.class = "EDMPrecond", .attributes = "{}", .args = "[32, 5, 2, true, 1]", BARE},
     ABOUT "EDMPrecond of SongUNet\nunsupported: class EDMPrecond has more than 4 arguments without names"},
    {{.class = "ECMPrecond", .attributes = "{\"sigma_data\": 0.5, \"sigma_max\": 80, \"sigma_min\": 0.25}", BARE},
     ABOUT "ECMPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"ecm\",\"sigma_data\":0.5,\"sigma_max\":80.0,\"boundary\":0.25}\npublished: ect"},
    {{.class = "ECMPrecond", .attributes = "{\"sigma_data\": 0.5, \"sigma_max\": 80, \"sigma_min\": 0}", BARE},
     ABOUT "ECMPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"ecm\",\"sigma_data\":0.5,\"sigma_max\":80.0}\npublished: ect"},
    {{.class = "VPPrecond",
      .attributes = "{\"beta_d\": 19.5, \"beta_min\": 0.25, \"M\": 500, \"epsilon_t\": 0.125}",
      BARE},
     ABOUT "VPPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"vp\",\"beta_d\":19.5,\"beta_min\":0.25,\"M\":500,\"epsilon_t\":0.125}"},
    {{.class = "VPPrecond", .attributes = "{\"M\": 500.0}", BARE},
     ABOUT "VPPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"vp\",\"M\":500}\nassumed: beta_d, beta_min, epsilon_t" PUBLISHED},
    {{.class = "VEPrecond", .attributes = "{\"sigma_min\": 0.25, \"sigma_max\": 50}", BARE},
     ABOUT "VEPrecond of SongUNet\n" SONG "\nprecond: {\"type\":\"ve\",\"sigma_min\":0.25,\"sigma_max\":50.0}"},
    {{.class = "VEPrecond", .attributes = "{\"sigma_min\": 0}", BARE},
     ABOUT "VEPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"ve\",\"sigma_min\":0.0}\nassumed: sigma_max" PUBLISHED},
    {{.class = "iDDPMPrecond", .attributes = "{\"C_1\": 0.25, \"C_2\": 0.125, \"M\": 70}", BARE},
     ABOUT "iDDPMPrecond of SongUNet\n" SONG "\nprecond: {\"type\":\"iddpm\",\"C_1\":0.25,\"C_2\":0.125,\"M\":70}"},
    {{.class = "Precond", .attributes = "{\"sigma_data\": 0.5}", BARE},
     ABOUT "Precond of SongUNet\n" SONG "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.5}"},
    {{.class = "Precond",
      .attributes = "{\"sigma_data\": 0.5}",
      .part = "unet",
      .network = "UNet",
      .network_args = "[16, 3, 10]"},
     ABOUT "Precond of UNet\nnetwork: "
           "{\"type\":\"edm2\",\"img_resolution\":16,\"img_channels\":3,\"label_dim\":10}\nprecond: "
           "{\"type\":\"edm\",\"sigma_data\":0.5}\npublished: edm2\nassumed: " EDM2_DEFAULTS},
    {{.class = "Precond",
      .attributes = "{\"sigma_data\": 0.5, \"sigma_min\": 0.25}",
      .part = "unet",
      .network = "UNet",
      .network_args = "[16, 3, 10]",
      .loss = "ECMLoss"},
     ABOUT "Precond of UNet\nnetwork: "
           "{\"type\":\"edm2\",\"img_resolution\":16,\"img_channels\":3,\"label_dim\":10}\nprecond: "
           "{\"type\":\"ecm\",\"sigma_data\":0.5,\"boundary\":0.25}\npublished: ect\nassumed: " EDM2_DEFAULTS},
    {{.class = "Precond",
      .attributes = "{\"sigma_data\": 0.5}",
      .part = "unet",
      .network = "UNet",
      .network_args = "[16, 3, 10]",
      .loss = "EDM2Loss"},
     ABOUT "Precond of UNet\nnetwork: "
           "{\"type\":\"edm2\",\"img_resolution\":16,\"img_channels\":3,\"label_dim\":10}\nprecond: "
           "{\"type\":\"edm\",\"sigma_data\":0.5}\npublished: edm2\nassumed: " EDM2_DEFAULTS},
    {{.class = "EDMPrecond", .attributes = "{\"sigma_data\": 0.5}", BARE, .loss = "SiDLoss"},
     ABOUT
     "EDMPrecond of SongUNet\n" SONG
     "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.5}\npublished: sid\nassumed: sigma_min, sigma_max" PUBLISHED},
    {{.class = "EDMPrecond", .attributes = "{\"sigma_data\": 0.5}", BARE, .loss = "SID_EDMLoss"},
     ABOUT
     "EDMPrecond of SongUNet\n" SONG
     "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.5}\npublished: sid\nassumed: sigma_min, sigma_max" PUBLISHED},
    {{.class = "EDMPrecond", .attributes = "{\"sigma_data\": 0.5}", BARE, .loss = "SinLoss"},
     ABOUT
     "EDMPrecond of SongUNet\n" SONG
     "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.5}\npublished: edm\nassumed: sigma_min, sigma_max" PUBLISHED},
    {{.class = "ECMPrecond",
      .attributes = "{\"sigma_data\": 0.5, \"sigma_min\": 0.25}",
      BARE,
      .loss = "L",
      .loss_attributes = "{\"boundary_prob\": 1}"},
     ABOUT "ECMPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"ecm\",\"sigma_data\":0.5}\npublished: tcm\nassumed: sigma_max" PUBLISHED},
    {{.class = "ECMPrecond",
      .attributes = "{\"sigma_data\": 0.5}",
      BARE,
      .loss = "L",
      .loss_attributes = "{\"ratio_limit\": 1}"},
     ABOUT "ECMPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"ecm\",\"sigma_data\":0.5}\npublished: tcm\nassumed: sigma_max" PUBLISHED},
    {{.class = "VPPrecond", .attributes = "{}", BARE, .loss = "SiDLoss"},
     ABOUT "VPPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"vp\"}\nassumed: beta_d, beta_min, M, epsilon_t" PUBLISHED},
    {{.class = "EDMPrecond", .attributes = "{\"sigma_data\": 0.5}", BARE, .beside = "{\"loss_fn\": 1}"},
     ABOUT
     "EDMPrecond of SongUNet\n" SONG
     "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.5}\npublished: edm\nassumed: sigma_min, sigma_max" PUBLISHED},
    {{.class = "IMMPrecond",
      .attributes = "{\"sigma_data\": 0.5, \"T\": 0.75, \"eps\": 0.25, \"temb_type\": \"stride\", \"time_scale\": "
                    "500, \"f_type\": \"simple_edm\", \"noise_schedule\": \"fm\"}",
      BARE},
     ABOUT "IMMPrecond of SongUNet\nnetwork: {\"type\":\"songunet\"," ALL_NAMED
           ",\"second_time\":\"tower\",\"second_input\":\"interval\",\"time_factor\":500.0}\nprecond: "
           "{\"type\":\"imm\",\"sigma_data\":0.5,\"sigma_min\":0.16666666666666666,\"sigma_max\":1.5}"},
    {{.class = "IMMPrecond",
      .attributes = "{\"T\": 1, \"eps\": 0}",
      .kwargs = "{\"temb_type\": \"identity\", \"time_scale\": 500, \"mixed_precision\": \"fp16\"}",
      BARE},
     ABOUT "IMMPrecond of SongUNet\nnetwork: {\"type\":\"songunet\"," ALL_NAMED
           ",\"second_time\":\"tower\",\"second_input\":\"time\",\"time_factor\":500.0}\nprecond: "
           "{\"type\":\"imm\"}\nassumed: sigma_data, eps, T" PUBLISHED},
    {{.class = "IMMPrecond", .attributes = "{\"temb_type\": \"both\"}", BARE},
     ABOUT "IMMPrecond of SongUNet\nunsupported: its temb_type is 'both'; identity and stride are known"},
    {{.class = "IMMPrecond", .attributes = "{\"f_type\": \"x\"}", BARE},
     ABOUT "IMMPrecond of SongUNet\nunsupported: its f_type is 'x'; simple_edm is known"},
    {{.class = "IMMPrecond", .attributes = "{\"noise_schedule\": \"x\"}", BARE},
     ABOUT "IMMPrecond of SongUNet\nunsupported: its noise_schedule is 'x'; fm is known"},
    /* Others' classes */
    {{.class = "EDMPrecond", .attributes = "{}"},
     ABOUT "EDMPrecond\nunsupported: the wrapper EDMPrecond holds no network"},
    {{.class = "EDMPrecond", .attributes = "{}", .part = "other", BARE},
     ABOUT "EDMPrecond\nunsupported: the wrapper EDMPrecond holds no network"},
    /* The wrapper's channels are the network's where that has not its own of both kinds. */
    {{.class = "EDMPrecond",
      .attributes = "{\"sigma_data\": 0.5, \"sigma_min\": 0.25, \"sigma_max\": 80}",
      .args = "[32, 5]",
      .network = "UNet",
      .network_kwargs = "{\"in_channels\": 4, \"model_channels\": 8}"},
     ABOUT "EDMPrecond of UNet\nnetwork: "
           "{\"type\":\"edm2\",\"img_resolution\":32,\"img_channels\":5,\"in_channels\":4,\"model_channels\":8}"
           "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.5,\"sigma_min\":0.25,\"sigma_max\":80.0}\npublished: "
           "edm\nassumed: channel_mult, channel_mult_noise, channel_mult_emb, num_blocks, attn_resolutions, "
           "label_balance, concat_balance as the constructor has them"},
    /* What stands where a network is looked for and is no module. */
    {{.class = "EDMPrecond",
      .attributes = "{}",
      .also = "{\"model\": 1}",
      .part = "unet",
      .network = "UNet",
      .network_args = "[16, 3, 10]"},
     ABOUT "EDMPrecond of UNet\nnetwork: "
           "{\"type\":\"edm2\",\"img_resolution\":16,\"img_channels\":3,\"label_dim\":10}\nprecond: "
           "{\"type\":\"edm\"}\npublished: edm\nassumed: " EDM2_DEFAULTS
           "; sigma_data, sigma_min, sigma_max" PUBLISHED},
    {{.class = "EDMPrecond", .attributes = "{}", .also = "{\"model\": 1}", .part = "other", BARE},
     ABOUT "EDMPrecond\nunsupported: the wrapper EDMPrecond holds no network"},
    {{.class = "EDMPrecond", .attributes = "{}", .also = "{\"unet\": 1}", .part = "other", BARE},
     ABOUT "EDMPrecond\nunsupported: the wrapper EDMPrecond holds no network"},
    {{.class = "EDMPrecond",
      .attributes = "{\"sigma_data\": 0.5, \"sigma_min\": 0.25, \"sigma_max\": 80}",
      BARE,
      .loss = "L",
      .loss_attributes = "none"},
     ABOUT "EDMPrecond of SongUNet\n" SONG
           "\nprecond: {\"type\":\"edm\",\"sigma_data\":0.5,\"sigma_min\":0.25,\"sigma_max\":80.0}\npublished: edm"},
    {{.class = "EDMPrecond", .attributes = "{}", .network = "DiT"},
     ABOUT "EDMPrecond of DiT\nunsupported: it holds a network of class 'DiT': a diffusion transformer" NOT_HERE},
    {{.class = "CTPrecond", .attributes = "{}", BARE},
     ABOUT "CTPrecond\nunsupported: it holds a module of class 'CTPrecond': a consistency trajectory model, whose "
           "network takes two times (Kim et al. 2024)" NOT_HERE},
    {{.class = "MeanFlow", .attributes = "{}", BARE},
     ABOUT "MeanFlow\nunsupported: it holds a module of class 'MeanFlow': a mean flow, whose network takes two times "
           "(Geng et al. 2025)" NOT_HERE},
    {{.network = "Thing"}, ABOUT "Thing\nunsupported: it holds a network of class 'Thing'" NOT_HERE},
    {{.class = "ECMPrecond",
      .attributes = "{\"sigma_data\": 1, \"sigma_max\": 80}",
      BARE,
      .beside = "{\"optimizer_state\": {}}"},
     "about: a training state of NVlabs' EDM code or one of its kind: ECMPrecond of SongUNet\n" SONG
     "\nprecond: {\"type\":\"ecm\",\"sigma_data\":1.0,\"sigma_max\":80.0}\npublished: ect"},
    {{.class = "IMMPrecond",
      .attributes = "{\"temb_type\": 5, \"time_scale\": \"inf\", \"T\": 0.5, \"eps\": 0.5}",
      BARE},
     ABOUT
     "IMMPrecond of SongUNet\nnetwork: {\"type\":\"songunet\"," ALL_NAMED
     ",\"second_time\":\"tower\",\"second_input\":\"time\",\"time_factor\":1000.0}\nprecond: "
     "{\"type\":\"imm\",\"sigma_min\":0.5,\"sigma_max\":0.5}\nassumed: temb_type, time_scale, sigma_data" PUBLISHED},
    /* A name of one letter alone, by itself and behind others. */
    {{.class = "IMMPrecond",
      .attributes = "{\"temb_type\": \"stride\", \"time_scale\": 2, \"sigma_data\": 0.5, \"eps\": 0.5}",
      BARE},
     ABOUT "IMMPrecond of SongUNet\nnetwork: {\"type\":\"songunet\"," ALL_NAMED
           ",\"second_time\":\"tower\",\"second_input\":\"interval\",\"time_factor\":2.0}\nprecond: "
           "{\"type\":\"imm\",\"sigma_data\":0.5,\"sigma_min\":0.5}\nassumed: T" PUBLISHED},
    {{.class = "VPPrecond",
      .attributes = "{\"beta_d\": 19.5, \"beta_min\": 0.5, \"epsilon_t\": 0.25}",
      .network = "UNet",
      .network_args = "[16, 3, 10]"},
     ABOUT "VPPrecond of UNet\nnetwork: "
           "{\"type\":\"edm2\",\"img_resolution\":16,\"img_channels\":3,\"label_dim\":10}\nprecond: "
           "{\"type\":\"vp\",\"beta_d\":19.5,\"beta_min\":0.5,\"epsilon_t\":0.25}\nassumed: " EDM2_DEFAULTS
           "; M" PUBLISHED},
};

START_TEST(descriptions)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[4000];
        describe(&rows[i].m, got, sizeof got);
        ck_assert_msg(strcmp(got, rows[i].notes) == 0, "row %zu: %s", i, got);
    }
}
END_TEST

/* All arguments together have at most 4096 values. */
START_TEST(values_of_arguments)
{
    for (int n = 4094; n <= 4096; n++) { /* and the list itself is one */
        char *list = malloc((size_t)n * 2 + 16), *at = list, got[10000];
        at += sprintf(at, "{\"a\":[");
        for (int i = 0; i < n; i++) at += sprintf(at, i ? ",1" : "1");
        strcpy(at, "]}");
        const module m = {.network = "SongUNet", .network_kwargs = list};
        describe(&m, got, sizeof got);
        ck_assert_int_eq(
            strstr(got, "unsupported: the arguments of its network have more than the limit of 4096 values") != NULL,
            n > 4095);
        ck_assert_int_eq(strstr(got, "\"a\":[1,1,") != NULL, n <= 4095);
        free(list);
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("edm_notes");
    TCase *t = tcase_create("notes");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, descriptions);
    tcase_add_test(t, values_of_arguments);
    suite_add_tcase(s, t);
    return s;
}
