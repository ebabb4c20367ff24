/* presets.c - named sets of numbers: rows of the papers' tables, and budgets. */
#include <stdio.h>
#include <string.h>

#include "train/settings.h"

#define IMAGE(c, side, labels)                                                                                       \
    ", \"image\": {\"channels\": " #c ", \"height\": " #side ", \"width\": " #side ", \"labels\": " #labels "}}"
#define TIMES "\"sigma_data\": 0.5, \"sigma_min\": 0.002, \"sigma_max\": 80}"

#define TINY                                                                                                         \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 1, \"label_dim\": 10, "        \
    "\"model_channels\": 8, \"channel_mult\": [1, 2], \"num_blocks\": 1, \"attn_resolutions\": [], "                 \
    "\"dropout\": 0}, \"precond\": {\"type\": \"edm\", " TIMES IMAGE(1, 32, 10)
#define DIGITS                                                                                                       \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 1, \"label_dim\": 10, "        \
    "\"model_channels\": 16, \"channel_mult\": [1, 2, 4], \"num_blocks\": 1, \"attn_resolutions\": [8], "            \
    "\"dropout\": 0}, \"precond\": {\"type\": \"edm\", " TIMES IMAGE(1, 32, 10)
#define CIFAR_SMALL                                                                                                  \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 3, \"label_dim\": 10, "        \
    "\"model_channels\": 32, \"channel_mult\": [1, 2, 2], \"num_blocks\": 1, \"attn_resolutions\": [8], "            \
    "\"dropout\": 0}, \"precond\": {\"type\": \"edm\", " TIMES IMAGE(3, 32, 10)
#define CIFAR_DDPMPP                                                                                                 \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 3, \"augment_dim\": 9, "       \
    "\"model_channels\": 128, \"channel_mult\": [2, 2, 2], \"num_blocks\": 4, \"attn_resolutions\": [16], "          \
    "\"dropout\": 0.13}, \"precond\": {\"type\": \"edm\", " TIMES IMAGE(3, 32, 0)
#define CIFAR_NCSNPP                                                                                                 \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": 32, \"img_channels\": 3, \"model_channels\": 128, "  \
    "\"channel_mult\": [2, 2, 2], \"num_blocks\": 4, \"attn_resolutions\": [16], \"dropout\": 0, "                   \
    "\"embedding_type\": \"fourier\", \"encoder_type\": \"residual\", \"channel_mult_noise\": 2, "                   \
    "\"resample_filter\": [1, 3, 3, 1]}, \"precond\": {\"type\": \"edm\", " TIMES IMAGE(3, 32, 0)
#define IMAGENET64                                                                                                   \
    "{\"network\": {\"type\": \"adm\", \"image_size\": 64, \"in_channels\": 3, \"out_channels\": 3, "                \
    "\"model_channels\": 192, \"num_res_blocks\": 3, \"channel_mult\": [1, 2, 3, 4], "                               \
    "\"attention_resolutions\": [2, 4, 8], \"num_head_channels\": 64, \"use_scale_shift_norm\": true, "              \
    "\"resblock_updown\": true, \"num_classes\": 1000, \"dropout\": 0}, \"precond\": {\"type\": \"edm\", " TIMES     \
    IMAGE(3, 64, 1000)
#define LSUN256                                                                                                      \
    "{\"network\": {\"type\": \"adm\", \"image_size\": 256, \"in_channels\": 3, \"out_channels\": 3, "               \
    "\"model_channels\": 256, \"num_res_blocks\": 2, \"channel_mult\": [1, 1, 2, 2, 4, 4], "                         \
    "\"attention_resolutions\": [8, 16, 32], \"num_head_channels\": 64, \"use_scale_shift_norm\": true, "            \
    "\"resblock_updown\": true, \"dropout\": 0}, \"precond\": {\"type\": \"edm\", " TIMES IMAGE(3, 256, 0)

#define IMAGENET_EMAS "ema=0.999,0.9999,0.9999432189950708"
#define LSUN_EMAS "ema=0.9999,0.99994,0.9999432189950708"

static const cm_preset presets[] = {
    {"smoke", "a tiny network, a few seconds: is everything in place?",
     "objective=edm batch=16 steps=20 lr=0.001 ema=warmup:0.9", TINY},
    {"digits-teacher-30min", "diffusion model of 32x32 digits, 744,401 parameters, about half an hour on two cores",
     "objective=edm batch=64 steps=5000 optimizer=adam lr=0.001 warmup_steps=200 anneal_begin=3000 anneal_end=5000 "
     "lr_final=0.02 grad_clip=1 ema=warmup:0.999",
     DIGITS},
    {"digits-ect-30min", "consistency tuning of that teacher (--init), about half an hour",
     "objective=ect batch=64 steps=5000 lr=0.0004 warmup_steps=200 anneal_begin=3000 anneal_end=5000 lr_final=0.02 "
     "grad_clip=1 huber_c=0.1728 ema=warmup:0.999",
     DIGITS},
    {"digits-cd-30min", "consistency distillation of that teacher (--teacher)",
     "objective=cd batch=64 steps=4000 lr=0.0004 warmup_steps=200 anneal_begin=2400 anneal_end=4000 lr_final=0.02 "
     "grad_clip=1 metric=pseudo-huber huber_c=0.1728 start_scales=18 mu=0 ema=warmup:0.999",
     DIGITS},
    {"digits-ct-30min", "consistency training from nothing: far from done in half an hour, see digits-ict-30min",
     "objective=ct batch=64 steps=6000 lr=0.0004 warmup_steps=200 anneal_begin=3600 anneal_end=6000 lr_final=0.02 "
     "grad_clip=1 metric=pseudo-huber huber_c=0.1728 start_scales=2 end_scales=80 ema=warmup:0.999",
     DIGITS},
    {"digits-ict-30min", "improved consistency training from nothing",
     "objective=ict batch=64 steps=6000 lr=0.0004 warmup_steps=200 anneal_begin=3600 anneal_end=6000 lr_final=0.02 "
     "grad_clip=1 huber_c=0.1728 start_scales=10 end_scales=160 ema=warmup:0.999",
     DIGITS},
    {"cifar10-3h", "diffusion model of 32x32 colour pictures in 10 classes, 1.3 million parameters: first half of three hours",
     "objective=edm batch=64 steps=7000 optimizer=adam lr=0.001 warmup_steps=200 anneal_begin=4200 anneal_end=7000 "
     "lr_final=0.02 grad_clip=1 flip=0.5 ema=warmup:0.999",
     CIFAR_SMALL},
    {"cifar10-ect-3h", "consistency tuning of that model (--init): second half",
     "objective=ect batch=64 steps=5000 lr=0.0004 warmup_steps=200 anneal_begin=3000 anneal_end=5000 lr_final=0.02 "
     "grad_clip=1 flip=0.5 huber_c=0.2993 ema=warmup:0.999",
     CIFAR_SMALL},
    {"cifar10-edm", "Karras et al. 2022, CIFAR-10 unconditional, DDPM++",
     "objective=edm batch=512 steps=400000 optimizer=adam lr=0.001 warmup_steps=19531 sum_pixels=1 flip=0 augment=0.12 "
     "ema=halflife:500000:0.05",
     CIFAR_DDPMPP},
    {"cifar10-cd-l1", "Song et al. 2023, CD with l1", "objective=cd batch=512 steps=800000 lr=0.0002 metric=l1 flip=0.5 ema=0.9999",
     CIFAR_NCSNPP},
    {"cifar10-cd-l2", "Song et al. 2023, CD with l2", "objective=cd batch=512 steps=800000 lr=0.0004 metric=l2 flip=0.5 ema=0.9999",
     CIFAR_NCSNPP},
    {"cifar10-ct", "Song et al. 2023, CT (l2 where the paper has LPIPS)",
     "objective=ct batch=512 steps=800000 lr=0.0004 start_scales=2 end_scales=150 mu=0.9 flip=0.5 ema=0.9999", CIFAR_NCSNPP},
    {"cifar10-ict", "Song and Dhariwal 2023",
     "objective=ict batch=1024 steps=400000 lr=0.0001 dropout=0.3 flip=0.5 ema=0.99993", CIFAR_NCSNPP},
    {"cifar10-ect", "Geng et al. 2024, from an EDM checkpoint (--init)",
     "objective=ect batch=128 steps=200000 lr=0.0001 ect_stage_steps=25000 dropout=0.2 ema=0.9999", CIFAR_DDPMPP},
    {"cifar10-pd", "progressive distillation in Song et al. 2023",
     "objective=pd batch=512 steps=800000 lr=5e-05 start_scales=4096 distill_steps=50000 flip=0.5 ema=0.9999", CIFAR_NCSNPP},
    {"imagenet64-edm", "Song et al. 2023, the teacher",
     "objective=edm batch=4096 steps=600000 optimizer=radam lr=0.0001 dropout=0.1 flip=0.5 " IMAGENET_EMAS, IMAGENET64},
    {"imagenet64-cd-l2", "Song et al. 2023, CD with l2",
     "objective=cd batch=2048 steps=600000 lr=8e-06 start_scales=40 end_scales=40 mu=0.95 flip=0.5 " IMAGENET_EMAS, IMAGENET64},
    {"imagenet64-ct", "Song et al. 2023, CT (l2 where the paper has LPIPS)",
     "objective=ct batch=2048 steps=800000 lr=0.0001 start_scales=2 end_scales=200 mu=0.95 flip=0.5 " IMAGENET_EMAS, IMAGENET64},
    {"lsun256-cd-l2", "Song et al. 2023, CD with l2",
     "objective=cd batch=256 steps=600000 lr=1e-05 start_scales=40 end_scales=40 mu=0.95 flip=0.5 " LSUN_EMAS, LSUN256},
    {"lsun256-ct", "Song et al. 2023, CT (l2 where the paper has LPIPS)",
     "objective=ct batch=256 steps=1000000 lr=5e-05 start_scales=2 end_scales=150 mu=0.95 flip=0.5 " LSUN_EMAS, LSUN256},
};
enum { PRESETS = sizeof presets / sizeof *presets };

const cm_preset *cm_preset_at(size_t index)
{
    return index < PRESETS ? &presets[index] : NULL;
}

static cm_status apply(cm_train_options *o, const char *text)
{
    char word[128];
    while (*text) {
        size_t n = strcspn(text, " ");
        memcpy(word, text, n);
        word[n] = '\0';
        char *value = strchr(word, '=');
        *value++ = '\0';
        CM_TRY(cm_settings_set(o, word, value));
        text += n + strspn(text + n, " ");
    }
    return CM_OK;
}

cm_status cm_preset_apply(cm_train_options *o, const char *name)
{
    for (size_t i = 0; i < PRESETS; i++)
        if (strcmp(presets[i].name, name) == 0) return apply(o, presets[i].fields);
    CM_FAIL(CM_ERR_ARGUMENT, "no preset is called '%.64s'", name);
}
