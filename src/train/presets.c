/* presets.c - named sets of numbers: rows of the papers' tables, and budgets. */
#include <stdio.h>
#include <string.h>

#include "base/hint.h"
#include "io/json_tree.h"
#include "train/presets.h"

/* --- networks: every argument written out ----------------------------------------- */

#define IMAGE(c, side, labels)                                                                                       \
    ", \"image\": {\"channels\": " #c ", \"height\": " #side ", \"width\": " #side ", \"labels\": " #labels "}}"
#define REST(time, c, side, labels)                                                                                  \
    "}, \"precond\": {\"type\": \"edm\", \"time\": \"" time "\", \"sigma_data\": 0.5, \"sigma_min\": 0.002, "        \
    "\"sigma_max\": 80}" IMAGE(c, side, labels)

/* kind: what distinguishes DDPM++ from NCSN++; the rest is common to both. */
#define SONG_NETWORK(side, c, out, labels, augment, width, mult, blocks, attention, dropout, kind)                   \
    "{\"network\": {\"type\": \"songunet\", \"img_resolution\": " #side ", \"in_channels\": " #c                     \
    ", \"out_channels\": " #out ", \"label_dim\": " #labels ", \"augment_dim\": " #augment                           \
    ", \"model_channels\": " #width ", \"channel_mult\": [" mult                                                     \
    "], \"channel_mult_emb\": 4, \"num_blocks\": " #blocks ", \"attn_resolutions\": [" attention                     \
    "], \"dropout\": " #dropout ", \"label_dropout\": 0, " kind ", \"decoder_type\": \"standard\""
#define SONG(side, c, labels, augment, width, mult, blocks, attention, dropout, kind)                                \
    SONG_NETWORK(side, c, c, labels, augment, width, mult, blocks, attention, dropout, kind)                         \
    REST("ln/4", c, side, labels)
/* Of two times, told as t and t - r. */
#define SONG_FLOW(side, c, out, labels, augment, width, mult, blocks, attention, dropout, kind, layout, more)        \
    SONG_NETWORK(side, c, out, labels, augment, width, mult, blocks, attention, dropout, kind)                       \
    ", \"attention_layout\": \"" layout "\", \"second_time\": \"concat\", \"second_input\": \"interval\"" more "}, " \
    "\"precond\": {\"type\": \"average-velocity\", \"sigma_data\": 0.5, \"sigma_min\": 0.002, "                      \
    "\"sigma_max\": 1e8}" IMAGE(c, side, labels)
#define DDPMPP                                                                                                       \
    "\"embedding_type\": \"positional\", \"channel_mult_noise\": 1, \"encoder_type\": \"standard\", "                \
    "\"resample_filter\": [1, 1]"
#define DDPMPP_FLOW                                                                                                  \
    "\"embedding_type\": \"positional\", \"channel_mult_noise\": 2, \"encoder_type\": \"standard\", "                \
    "\"resample_filter\": [1, 3, 3, 1]"
#define NCSNPP_OF(scale)                                                                                             \
    "\"embedding_type\": \"fourier\", \"fourier_scale\": " #scale ", \"channel_mult_noise\": 2, "                    \
    "\"encoder_type\": \"residual\", \"resample_filter\": [1, 3, 3, 1]"
#define NCSNPP NCSNPP_OF(16)

#define ADM(side, width, mult, blocks, rates, scale_shift, classes, labels, dropout)                                 \
    "{\"network\": {\"type\": \"adm\", \"image_size\": " #side ", \"in_channels\": 3, \"out_channels\": 3, "         \
    "\"model_channels\": " #width ", \"num_res_blocks\": " #blocks ", \"channel_mult\": [" mult                      \
    "], \"attention_resolutions\": [" rates "], \"num_heads\": 1, \"num_head_channels\": 64, "                       \
    "\"num_heads_upsample\": -1, \"use_scale_shift_norm\": " #scale_shift ", \"resblock_updown\": true, "            \
    "\"conv_resample\": true, \"attention_layout\": \"qkv\", \"num_classes\": " #classes                             \
    ", \"dropout\": " #dropout REST("250ln", 3, side, labels)
#define DHARIWAL64                                                                                                   \
    "{\"network\": {\"type\": \"dhariwal\", \"img_resolution\": 64, \"in_channels\": 3, \"out_channels\": 3, "       \
    "\"label_dim\": 1000, \"augment_dim\": 0, \"model_channels\": 192, \"channel_mult\": [1, 2, 3, 4], "             \
    "\"channel_mult_emb\": 4, \"num_blocks\": 3, \"attn_resolutions\": [32, 16, 8], \"dropout\": 0.1, "              \
    "\"label_dropout\": 0" REST("ln/4", 3, 64, 1000)

/* EDM2; dropout in blocks of at most so many points a side. */
#define EDM2(c, width, dropout, dropout_side)                                                                        \
    "{\"network\": {\"type\": \"edm2\", \"img_resolution\": 64, \"in_channels\": " #c ", \"out_channels\": " #c      \
    ", \"label_dim\": 1000, \"model_channels\": " #width ", \"channel_mult\": [1, 2, 3, 4], "                        \
    "\"channel_mult_noise\": 1, \"channel_mult_emb\": 4, \"num_blocks\": 3, \"attn_resolutions\": [16, 8], "         \
    "\"label_balance\": 0.5, \"concat_balance\": 0.5, \"res_balance\": 0.3, \"attn_balance\": 0.3, "                 \
    "\"clip_act\": 256, \"channels_per_head\": 64, \"resample_filter\": [1, 1], \"dropout\": " #dropout              \
    ", \"dropout_res\": " #dropout_side ", \"label_dropout\": 0, \"embedding_type\": \"fourier\", "                  \
    "\"bandwidth\": 1" REST("ln/4", c, 64, 1000)
/* Size S. */
#define EDM2_64(dropout) EDM2(3, 192, dropout, 16)

#define TINY SONG(32, 1, 10, 0, 8, "1, 2", 1, "", 0, DDPMPP)
#define DIGITS SONG(32, 1, 10, 0, 16, "1, 2, 4", 1, "8", 0, DDPMPP)
/* Beside the mean velocity the velocity itself, and three numbers of guidance. */
#define DIGITS_IFLOW                                                                                                 \
    SONG_FLOW(32, 1, 2, 10, 0, 16, "1, 2, 4", 1, "8", 0, DDPMPP, "interleaved", ", \"conditions\": 3")
#define DIGITS_FLOW SONG_FLOW(32, 1, 1, 10, 0, 16, "1, 2, 4", 1, "8", 0, DDPMPP, "interleaved", "")
#define CIFAR_SMALL SONG(32, 3, 10, 0, 32, "1, 2, 2", 1, "8", 0, DDPMPP)
#define CIFAR(labels, augment, dropout, kind) SONG(32, 3, labels, augment, 128, "2, 2, 2", 4, "16", dropout, kind)
#define CIFAR_FLOW(dropout, layout)                                                                                  \
    SONG_FLOW(32, 3, 3, 0, 6, 128, "2, 2, 2", 4, "16", dropout, DDPMPP_FLOW, layout, "")
#define FACES(dropout, kind) SONG(64, 3, 0, 9, 128, "1, 2, 2, 2", 4, "16", dropout, kind)
#define IMAGENET64(dropout) ADM(64, 192, "1, 2, 3, 4", 3, "2, 4, 8", true, 1000, 1000, dropout)
#define LSUN256(dropout) ADM(256, 256, "1, 1, 2, 2, 4, 4", 2, "8, 16, 32", false, null, 0, dropout)

/* --- numbers ------------------------------------------------------------------------ */

/* NVlabs/edm counts images: 200 million of them, or 2,500; warm-up over 10 million. */
#define EDM_RUN "objective=edm optimizer=adam sum_pixels=1 flip=0 "
#define EDM_CIFAR                                                                                                    \
    EDM_RUN "batch=512 steps=390625 lr=0.001 warmup_steps=19531 dropout=0.13 augment=0.12 ema=halflife:500000:0.05"
#define EDM_64 EDM_RUN "batch=256 steps=781250 lr=0.0002 warmup_steps=39062 augment=0.15 ema=halflife:500000:0.05 "
#define CIFAR_CM "batch=512 steps=800000 optimizer=radam dropout=0 flip=0.5 ema=0.9999 "
#define CIFAR_CD "objective=cd " CIFAR_CM "start_scales=18 end_scales=18 mu=0 "
#define CIFAR_SCM "batch=512 optimizer=radam lr=0.0001 beta2=0.99 p_mean=-1 p_std=1.4 flip=0.5 ema=halflife:500000 "
#define CIFAR_CT "objective=ct " CIFAR_CM "lr=0.0004 distance=l2 "
#define CD_40                                                                                                        \
    "objective=cd steps=600000 optimizer=radam dropout=0 flip=0.5 distance=l2 start_scales=40 end_scales=40 "        \
    "mu=0.95 "
#define CT_OF(end)                                                                                                   \
    "objective=ct optimizer=radam dropout=0 flip=0.5 distance=l2 start_scales=2 end_scales=" #end " mu=0.95 "
#define IMAGENET_EMAS "ema=0.999,0.9999,0.9999432189950708"
#define LSUN_EMAS "ema=0.9999,0.99994,0.9999432189950708"
#define TABLE3_EMA "ema=0.999943"

/* 38.4 and 12.8 million pairs; LPIPS of VGG-16 at the images' own size. */
#define CMT_RUN                                                                                                      \
    "objective=cmt batch=128 steps=300000 optimizer=radam lr=0.0002 anneal_end=300000 cmt_nfe=16 cmt_order=3 "       \
    "scrub_gradients=1 flip=0 ema=0.999 "
#define CMT_LPIPS "distance=lpips lpips_pooling=max lpips_resize=none lpips_weights=vgg16-397923af.pth"
#define JCM_LPIPS "distance=lpips lpips_pooling=max lpips_resize=always lpips_weights=vgg16-397923af.pth"
#define CMT_ECT                                                                                                      \
    "objective=ect batch=128 steps=100000 optimizer=radam lr=0.0001 anneal_end=100000 ect_stages=1 "                 \
    "scrub_gradients=1 flip=0 ema=0.9999 "
#define TCM_RUN                                                                                                      \
    "optimizer=radam huber_c=0.00000001 ect_q=2 ratio_limit=0.999 grad_clip=1000000 dropout=0.2 flip=0 ema=0.9999 "

/* A row of the table of sizes: 2^20 images are 512 steps; the rate rises over 10 million images. */
#define EDM2_TEACHER(rate, dropout, steps)                                                                           \
    "objective=edm batch=2048 steps=" #steps " optimizer=adam beta1=0.9 beta2=0.99 lr=" #rate                        \
    " warmup_steps=4883 dropout=" #dropout " flip=0 weight_net=fourier sum_pixels=1 ema=power:0.05,power:0.1 "
#define EDM2_IMG64 "p_mean=-0.8 p_std=1.6 lr_decay_steps=35000"
#define EDM2_IMG512 "p_mean=-0.4 p_std=1 lr_decay_steps=70000"
#define LATENTS "latents of 64x64 with 4 channels, made elsewhere, as data"
#define EDM2_PAPER "Karras et al. 2024; NVlabs/edm2 train_edm2.py"
#define EDM2_RUN "optimizer=adam beta1=0.9 beta2=0.99 ect_q=4 huber_c=0.06 p_mean=-0.8 p_std=1.6 dropout=0.4 flip=0 "
#define EDM2_TCM "ratio_limit=0.9961 pair_weighting=c-out-squared grad_clip=1000000 ema=gamma:16.97 "

#define OURS "this library: docs/recipes.md"
#define KARRAS "Karras et al. 2022, Table 7; NVlabs/edm train.py"
#define JCM "Song et al. 2023; configs and launch.sh of consistency_models_cifar10"
#define SCRIPT "Song et al. 2023; scripts/launch.sh of consistency_models"
#define TABLE3 "Song et al. 2023, Table 3"
#define ICT "Song and Dhariwal 2023"
#define SCM "Lu and Song 2024"
#define CMT "Hu et al. 2025; sony/cmt"
#define TCM "Lee et al. 2025; NVlabs/TCM"
#define GENG "Geng et al. 2024; run_ecm.sh of locuslab/ect"

static const cm_preset presets[] = {
    {"smoke", "a tiny network, a few seconds: is everything in place?", OURS,
     "objective=edm batch=16 steps=20 lr=0.001 ema=warmup:0.9", TINY},
    {"pictures-teacher", "diffusion model of one's own pictures, of any size and with any classes", OURS,
     "objective=edm batch=64 steps=20000 optimizer=adam lr=0.001 warmup_steps=4% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 grad_clip=1 flip=0.5 ema=halflife:4%:0.05",
     NULL},
    {"pictures-ect", "consistency tuning of that teacher (--init)", OURS,
     "objective=ect batch=64 steps=20000 lr=0.0004 warmup_steps=4% anneal_begin=60% anneal_end=100% lr_final=0.02 "
     "grad_clip=1 flip=0.5 huber_c=0.3 ema=halflife:4%:0.05",
     NULL},
    {"digits-teacher-30min", "diffusion model of 32x32 digits, about half an hour on two cores", OURS,
     "objective=edm batch=64 steps=5000 optimizer=adam lr=0.001 warmup_steps=4% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 grad_clip=1 ema=warmup:0.999",
     DIGITS},
    {"digits-ect-30min", "consistency tuning of that teacher (--init), about half an hour", OURS,
     "objective=ect batch=64 steps=5000 lr=0.0004 warmup_steps=4% anneal_begin=60% anneal_end=100% lr_final=0.02 "
     "grad_clip=1 huber_c=0.1728 ema=warmup:0.999",
     DIGITS},
    {"digits-cd-30min", "consistency distillation of that teacher (--teacher)", OURS,
     "objective=cd batch=64 steps=4000 lr=0.0004 warmup_steps=5% anneal_begin=60% anneal_end=100% lr_final=0.02 "
     "grad_clip=1 distance=pseudo-huber huber_c=0.1728 start_scales=18 mu=0 ema=warmup:0.999",
     DIGITS},
    {"digits-pd-30min", "progressive distillation of that teacher (--teacher), from 32 steps to one", OURS,
     "objective=pd batch=64 steps=4000 lr=0.0004 grad_clip=1 clip_rule=torch start_scales=32 distill_steps=12.5% "
     "anneal_stages=1 ema=warmup:0.999",
     DIGITS},
    {"digits-ct-30min", "consistency training from nothing: far from done in half an hour, see digits-ict-30min",
     OURS,
     "objective=ct batch=64 steps=6000 lr=0.0004 warmup_steps=3.3333% anneal_begin=60% anneal_end=100% lr_final=0.02 "
     "grad_clip=1 distance=pseudo-huber huber_c=0.1728 start_scales=2 end_scales=80 ema=warmup:0.999",
     DIGITS},
    {"digits-ict-30min", "improved consistency training from nothing", OURS,
     "objective=ict batch=64 steps=6000 lr=0.0004 warmup_steps=3.3333% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 "
     "grad_clip=1 huber_c=0.1728 start_scales=10 end_scales=160 ema=warmup:0.999",
     DIGITS},
    {"digits-cmt-30min", "mid-training on the trajectories of that teacher (--teacher)", OURS,
     "objective=cmt batch=64 steps=4000 lr=0.0004 warmup_steps=5% anneal_begin=60% anneal_end=100% lr_final=0.02 "
     "grad_clip=1 huber_c=0.1728 ema=warmup:0.999",
     DIGITS},
    {"digits-tcm-30min", "truncated consistency of that teacher's weights (--init), the first stage", OURS,
     "objective=tcm batch=64 steps=5000 lr=0.0004 warmup_steps=4% anneal_begin=60% anneal_end=100% lr_final=0.02 "
     "grad_clip=1 huber_c=0.1728 ect_stages=8 ema=warmup:0.999",
     DIGITS},
    {"digits-tcm2-30min", "the second stage (--teacher is a model of digits-tcm-30min or digits-ect-30min)", OURS,
     "objective=tcm2 batch=64 steps=4000 lr=0.0002 warmup_steps=5% anneal_begin=60% anneal_end=100% lr_final=0.02 "
     "grad_clip=1 huber_c=0.1728 ect_first_stage=7 ect_stages=1 ema=warmup:0.999",
     DIGITS},
    {"digits-ccd-30min", "consistency distillation of that teacher in continuous time (--teacher)", OURS,
     "objective=ccd batch=64 steps=3000 lr=0.0001 warmup_steps=6.6667% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 "
     "grad_clip=1 ema=warmup:0.999",
     DIGITS},
    {"digits-cct-30min", "consistency training in continuous time from that teacher's weights (--init)", OURS,
     "objective=cct batch=64 steps=3500 lr=0.0001 warmup_steps=5.7143% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 "
     "grad_clip=1 ema=warmup:0.999",
     DIGITS},
    {"digits-sct-30min", "sCT from that teacher's weights (--init)", OURS,
     "objective=sct batch=64 steps=3500 lr=0.0004 warmup_steps=5.7143% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 "
     "grad_clip=1 tangent_warmup=20% ema=warmup:0.999",
     DIGITS},
    {"digits-scd-30min", "sCD of that teacher (--teacher)", OURS,
     "objective=scd batch=64 steps=3000 lr=0.0004 warmup_steps=6.6667% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 "
     "grad_clip=1 tangent_warmup=20% ema=warmup:0.999",
     DIGITS},
    {"digits-dscd-30min", "the same by steps of the teacher (--teacher)", OURS,
     "objective=dscd batch=64 steps=3000 lr=0.0004 warmup_steps=6.6667% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 "
     "grad_clip=1 tangent_warmup=20% ema=warmup:0.999",
     DIGITS},
    {"digits-meanflow-30min", "MeanFlow from nothing: a network of two times", OURS,
     "objective=meanflow batch=64 steps=3500 lr=0.001 warmup_steps=5.7143% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 grad_clip=1 ema=warmup:0.999",
     DIGITS_FLOW},
    {"digits-imeanflow-30min", "improved MeanFlow from nothing: a network of two outputs, which is told of guidance",
     OURS,
     "objective=imeanflow batch=64 steps=3000 lr=0.001 warmup_steps=6.6667% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 grad_clip=1 ema=warmup:0.999",
     DIGITS_IFLOW},
    {"digits-soflow-30min", "SoFlow from nothing, of the same network", OURS,
     "objective=soflow batch=64 steps=4400 lr=0.001 warmup_steps=4.5455% anneal_begin=60% anneal_end=100% "
     "lr_final=0.02 grad_clip=1 ema=warmup:0.999",
     DIGITS_FLOW},
    {"cifar10-3h", "diffusion model of 32x32 colour pictures in 10 classes: first half of three hours", OURS,
     "objective=edm batch=64 steps=7000 optimizer=adam lr=0.001 warmup_steps=2.8571% anneal_begin=60% "
     "anneal_end=100% "
     "lr_final=0.02 grad_clip=1 flip=0.5 ema=warmup:0.999",
     CIFAR_SMALL},
    {"cifar10-ect-3h", "consistency tuning of that model (--init): second half", OURS,
     "objective=ect batch=64 steps=5000 lr=0.0004 warmup_steps=4% anneal_begin=60% anneal_end=100% lr_final=0.02 "
     "grad_clip=1 flip=0.5 huber_c=0.2993 ema=warmup:0.999",
     CIFAR_SMALL},

    {"cifar10-edm", "EDM, CIFAR-10 without classes, DDPM++ (vp); the --init of cifar10-ect", KARRAS, EDM_CIFAR,
     CIFAR(0, 9, 0.13, DDPMPP)},
    {"cifar10-edm-ve", "EDM, CIFAR-10 without classes, NCSN++ (ve)", KARRAS, EDM_CIFAR, CIFAR(0, 9, 0.13, NCSNPP)},
    {"cifar10-edm-cond", "EDM, CIFAR-10 with classes, DDPM++ (vp)", KARRAS, EDM_CIFAR, CIFAR(10, 9, 0.13, DDPMPP)},
    {"cifar10-edm-cond-ve", "EDM, CIFAR-10 with classes, NCSN++ (ve)", KARRAS, EDM_CIFAR, CIFAR(10, 9, 0.13, NCSNPP)},
    {"ffhq64-edm", "EDM, FFHQ 64x64, DDPM++ (vp)", KARRAS, EDM_64 "dropout=0.05", FACES(0.05, DDPMPP)},
    {"ffhq64-edm-ve", "EDM, FFHQ 64x64, NCSN++ (ve)", KARRAS, EDM_64 "dropout=0.05", FACES(0.05, NCSNPP)},
    {"afhqv2-64-edm", "EDM, AFHQv2 64x64, DDPM++ (vp)", KARRAS, EDM_64 "dropout=0.25", FACES(0.25, DDPMPP)},
    {"afhqv2-64-edm-ve", "EDM, AFHQv2 64x64, NCSN++ (ve)", KARRAS, EDM_64 "dropout=0.25", FACES(0.25, NCSNPP)},
    {"imagenet64-edm-karras", "EDM, ImageNet 64x64 with classes, ADM as NVlabs/edm has it", KARRAS,
     EDM_RUN "batch=4096 steps=610351 lr=0.0001 warmup_steps=2441 dropout=0.1 ema=halflife:50000000:0.05",
     DHARIWAL64},

    {"cifar10-teacher", "EDM, the --teacher of cifar10-cd-l1, -cd-l2 and -pd: NCSN++ without augmentation", JCM,
     "objective=edm batch=512 steps=400000 optimizer=adam lr=0.001 warmup_steps=19531 sum_pixels=1 dropout=0.13 "
     "flip=0.5 "
     "ema=halflife:500000",
     CIFAR(0, 0, 0.13, NCSNPP)},
    {"cifar10-cd-l1", "CD with l1", JCM, CIFAR_CD "lr=0.0002 distance=l1", CIFAR(0, 0, 0, NCSNPP)},
    {"cifar10-cd-l2", "CD with l2", JCM, CIFAR_CD "lr=0.0004 distance=l2", CIFAR(0, 0, 0, NCSNPP)},
    {"cifar10-ct", "CT, adaptive schedules (l2 where the paper has LPIPS)", JCM,
     CIFAR_CT "start_scales=2 end_scales=150 mu=0.9", CIFAR(0, 0, 0, NCSNPP)},
    {"cifar10-ct-fixed", "CT, N 120 and mu 0.99 fixed (l2 where the paper has LPIPS)", JCM,
     CIFAR_CT "scales_mode=fixed start_scales=120 mu_mode=fixed mu=0.99", CIFAR(0, 0, 0, NCSNPP)},
    {"cifar10-ccd-l2", "CD in continuous time with l2, of cifar10-teacher (--teacher and --init)", JCM,
     "objective=ccd " CIFAR_CM "lr=0.001 stop_gradient=0 dropout=0.3", CIFAR(0, 0, 0.3, NCSNPP)},
    {"cifar10-ccd-l2-stop", "the same with stop-gradient", JCM,
     "objective=ccd " CIFAR_CM "lr=0.000005 stop_gradient=1 dropout=0.3", CIFAR(0, 0, 0.3, NCSNPP)},
    {"cifar10-ccd-lpips-stop", "the same with stop-gradient and LPIPS (--set lpips_weights)", JCM,
     "objective=ccd " CIFAR_CM "lr=0.000005 stop_gradient=1 dropout=0.3 " JCM_LPIPS, CIFAR(0, 0, 0.3, NCSNPP)},
    {"cifar10-cct-l2-stop", "CT in continuous time with l2 and stop-gradient, from cifar10-teacher (--init)", JCM,
     "objective=cct " CIFAR_CM "lr=0.000005 stop_gradient=1 dropout=0.3", CIFAR(0, 0, 0.3, NCSNPP)},
    {"cifar10-cct-lpips-stop", "the same with LPIPS (--set lpips_weights)", JCM,
     "objective=cct " CIFAR_CM "lr=0.000005 stop_gradient=1 dropout=0.3 " JCM_LPIPS, CIFAR(0, 0, 0.3, NCSNPP)},
    {"cifar10-sct", "sCT of cifar10-edm (--init); 350,000 steps are those of NVlabs/FastGen", SCM,
     "objective=sct " CIFAR_SCM "steps=350000 dropout=0.2", CIFAR(0, 9, 0.2, DDPMPP)},
    {"cifar10-scd", "sCD of cifar10-edm (--teacher and --init); 500,000 steps are those of NVlabs/FastGen", SCM,
     "objective=scd " CIFAR_SCM "steps=500000 dropout=0", CIFAR(0, 9, 0, DDPMPP)},
    {"cifar10-pd",
     "progressive distillation, lr falling to 0 in every stage; at step 800,000 theirs has had rate 0 for 50,000 "
     "steps",
     JCM,
     "objective=pd batch=512 steps=750000 optimizer=adam lr=0.00005 grad_clip=1 clip_rule=optax start_scales=4096 "
     "distill_steps=50000 anneal_stages=1 dropout=0 flip=0.5 ema=none",
     CIFAR(0, 0, 0, NCSNPP)},
    {"cifar10-ict", "iCT, NCSN++ with frequencies of scale 0.02", ICT,
     "objective=ict batch=1024 steps=400000 optimizer=radam lr=0.0001 dropout=0.3 flip=0.5 ema=0.99993",
     SONG(32, 3, 0, 0, 128, "2, 2, 2", 4, "16", 0.3, NCSNPP_OF(0.02))},
    {"cifar10-ict-deep", "iCT-deep: twice as many blocks", ICT,
     "objective=ict batch=1024 steps=400000 optimizer=radam lr=0.0001 dropout=0.3 flip=0.5 ema=0.99993",
     SONG(32, 3, 0, 0, 128, "2, 2, 2", 8, "16", 0.3, NCSNPP_OF(0.02))},
    {"imagenet64-ict", "iCT (dropout at every resolution; the paper's only up to 16x16)", ICT,
     "objective=ict batch=4096 steps=800000 optimizer=radam lr=0.0001 dropout=0.2 flip=0.5 ema=0.99997",
     IMAGENET64(0.2)},
    {"imagenet64-ict-deep", "iCT-deep: twice as many blocks (dropout likewise)", ICT,
     "objective=ict batch=4096 steps=800000 optimizer=radam lr=0.0001 dropout=0.2 flip=0.5 ema=0.99997",
     ADM(64, 192, "1, 2, 3, 4", 6, "2, 4, 8", true, 1000, 1000, 0.2)},
    {"cifar10-ect", "ECT of cifar10-edm (--init)", GENG,
     "objective=ect batch=128 steps=200000 optimizer=radam lr=0.0001 ect_stage_steps=25000 dropout=0.2 flip=0 "
     "ema=0.9999",
     CIFAR(0, 9, 0.2, DDPMPP)},
    {"cifar10-ect-fast", "ECT of cifar10-edm (--init), the one-hour run: q 256, one stage",
     "Geng et al. 2024; run_ecm_1hour.sh of locuslab/ect",
     "objective=ect batch=128 steps=200000 optimizer=radam lr=0.0001 ect_q=256 ect_stages=1 dropout=0.2 flip=0 "
     "ema=0.9993",
     CIFAR(0, 9, 0.2, DDPMPP)},

    {"cifar10-cmt",
     "mid-training of cifar10-edm (--teacher) with LPIPS (--set lpips_weights), before cifar10-cmt-ect", CMT,
     CMT_RUN "dropout=0.2 " CMT_LPIPS, CIFAR(0, 9, 0.2, DDPMPP)},
    {"cifar10-cmt-ect", "ECT of cifar10-cmt (--init): one stage of q 4096", CMT, CMT_ECT "ect_q=4096 dropout=0.2",
     CIFAR(0, 9, 0.2, DDPMPP)},
    {"ffhq64-cmt", "mid-training of ffhq64-edm (--teacher) with LPIPS (--set lpips_weights), before ffhq64-cmt-ect",
     CMT, CMT_RUN "dropout=0.2 " CMT_LPIPS, FACES(0.2, DDPMPP)},
    {"ffhq64-cmt-ect", "ECT of ffhq64-cmt (--init): one stage of q 512", CMT, CMT_ECT "ect_q=512 dropout=0.2",
     FACES(0.2, DDPMPP)},
    {"afhqv2-64-cmt",
     "mid-training of afhqv2-64-edm (--teacher) with LPIPS (--set lpips_weights), before afhqv2-64-cmt-ect", CMT,
     CMT_RUN "dropout=0.2 " CMT_LPIPS, FACES(0.2, DDPMPP)},
    {"afhqv2-64-cmt-ect", "ECT of afhqv2-64-cmt (--init): one stage of q 1024", CMT, CMT_ECT "ect_q=1024 dropout=0.2",
     FACES(0.2, DDPMPP)},
    {"cifar10-tcm", "truncated consistency of cifar10-edm (--init), the first stage; 3,000,000 steps are a cap", TCM,
     "objective=tcm batch=512 steps=3000000 " TCM_RUN
     "lr=0.0001 p_mean=-1.1 p_std=2 ect_stages=10 ect_stage_steps=25000",
     CIFAR(0, 9, 0.2, DDPMPP)},
    {"cifar10-tcm2",
     "the second stage of cifar10-tcm (--teacher; ect_first_stage is where that one ended); 800,000 steps are a cap",
     TCM,
     "objective=tcm2 batch=1024 steps=800000 " TCM_RUN
     "lr=0.00005 p_mean=0 p_std=0.2 student_nu=0.01 transition=1 boundary_share=0.25 boundary_weight=0.1 "
     "ect_first_stage=9 ect_stages=1",
     CIFAR(0, 9, 0.2, DDPMPP)},
    {"cifar10-meanflow", "MeanFlow from nothing: a network of two times; 16,000 epochs",
     "Geng et al. 2025; Gsunshine/py-meanflow",
     "objective=meanflow batch=1024 steps=781250 optimizer=adam lr=0.0006 warmup_steps=9766 flow_sampler=v0 "
     "p_mean=-2 "
     "p_std=2 flow_ratio=0.75 adaptive_p=0.75 adaptive_eps=0.001 dropout=0.2 augment=0.12 flip=0 "
     "ema=every16:0.9999,every16:0.99995,every16:0.9996",
     CIFAR_FLOW(0.2, "qkv")},
    {"cifar10-soflow", "SoFlow from nothing: a network of two times", "SoFlow; zlab-princeton/SoFlow",
     "objective=soflow batch=1024 steps=800000 optimizer=radam lr=0.0001 velocity_share=0 p_mean=-0.9 p_std=1.6 "
     "r_mean=-4 r_std=1.6 ratio_schedule=exponent ratio_begin=1 ratio_end=0.0003125 adaptive_p=0.75 "
     "adaptive_eps=0.001 dropout=0.3 augment=0.12 flip=0 ema=every16:0.9999",
     CIFAR_FLOW(0.3, "interleaved")},
    {"edm2-img64-xs", "EDM2-XS, ImageNet 64x64 with classes", EDM2_PAPER, EDM2_TEACHER(0.012, 0, 524288) EDM2_IMG64,
     EDM2(3, 128, 0, 65536)},
    {"edm2-img64-s", "EDM2-S, ImageNet 64x64 with classes", EDM2_PAPER, EDM2_TEACHER(0.01, 0, 524288) EDM2_IMG64,
     EDM2(3, 192, 0, 65536)},
    {"edm2-img64-m", "EDM2-M, ImageNet 64x64 with classes", EDM2_PAPER, EDM2_TEACHER(0.009, 0.1, 1048576) EDM2_IMG64,
     EDM2(3, 256, 0.1, 65536)},
    {"edm2-img64-l", "EDM2-L, ImageNet 64x64 with classes", EDM2_PAPER, EDM2_TEACHER(0.008, 0.1, 524288) EDM2_IMG64,
     EDM2(3, 320, 0.1, 65536)},
    {"edm2-img64-xl", "EDM2-XL, ImageNet 64x64 with classes", EDM2_PAPER, EDM2_TEACHER(0.007, 0.1, 327680) EDM2_IMG64,
     EDM2(3, 384, 0.1, 65536)},
    {"edm2-img512-xxs", "EDM2-XXS, " LATENTS, EDM2_PAPER, EDM2_TEACHER(0.017, 0, 1048576) EDM2_IMG512,
     EDM2(4, 64, 0, 65536)},
    {"edm2-img512-xs", "EDM2-XS, " LATENTS, EDM2_PAPER, EDM2_TEACHER(0.012, 0, 1048576) EDM2_IMG512,
     EDM2(4, 128, 0, 65536)},
    {"edm2-img512-s", "EDM2-S, " LATENTS, EDM2_PAPER, EDM2_TEACHER(0.01, 0, 1048576) EDM2_IMG512,
     EDM2(4, 192, 0, 65536)},
    {"edm2-img512-m", "EDM2-M, " LATENTS, EDM2_PAPER, EDM2_TEACHER(0.009, 0.1, 1048576) EDM2_IMG512,
     EDM2(4, 256, 0.1, 65536)},
    {"edm2-img512-l", "EDM2-L, " LATENTS, EDM2_PAPER, EDM2_TEACHER(0.008, 0.1, 917504) EDM2_IMG512,
     EDM2(4, 320, 0.1, 65536)},
    {"edm2-img512-xl", "EDM2-XL, " LATENTS, EDM2_PAPER, EDM2_TEACHER(0.007, 0.1, 655360) EDM2_IMG512,
     EDM2(4, 384, 0.1, 65536)},
    {"edm2-img512-xxl", "EDM2-XXL, " LATENTS, EDM2_PAPER, EDM2_TEACHER(0.0065, 0.1, 458752) EDM2_IMG512,
     EDM2(4, 448, 0.1, 65536)},
    {"imagenet64-ect", "ECT of EDM2-S (--init edm2-img64-s-1073741-0.075.pkl)",
     "Geng et al. 2024; locuslab/ect, imgnet",
     "objective=ect batch=128 steps=100000 " EDM2_RUN "lr=0.001 lr_decay_steps=2000 pair_weighting=karras "
     "ect_stages=4 ect_stage_steps=25000 scrub_gradients=1 ema=power:0.05,power:0.1",
     EDM2_64(0.4)},
    {"imagenet64-tcm", "truncated consistency of EDM2-S (--init), the first stage; 3,000,000 steps are a cap", TCM,
     "objective=tcm batch=2048 steps=3000000 " EDM2_RUN EDM2_TCM
     "lr=0.001 lr_decay_steps=2000 ect_stages=5 ect_stage_steps=10000",
     EDM2_64(0.4)},
    {"imagenet64-tcm2", "the second stage of imagenet64-tcm (--teacher); 800,000 steps are a cap", TCM,
     "objective=tcm2 batch=1024 steps=800000 " EDM2_RUN EDM2_TCM
     "lr=0.0005 lr_decay_steps=8000 p_mean=0 p_std=0.2 student_nu=0.01 transition=1 boundary_share=0.25 "
     "boundary_weight=0.1 ect_first_stage=4 ect_stages=1",
     EDM2_64(0.4)},

    {"imagenet64-edm", "EDM, the --teacher of imagenet64-cd-l2; how long is not published: 600,000 steps are ours",
     SCRIPT, "objective=edm batch=4096 steps=600000 optimizer=radam lr=0.0001 dropout=0.1 flip=0.5 " IMAGENET_EMAS,
     IMAGENET64(0.1)},
    {"imagenet64-cd-l2", "CD with l2; Table 3 agrees", SCRIPT, CD_40 "batch=2048 lr=0.000008 " IMAGENET_EMAS,
     IMAGENET64(0)},
    {"imagenet64-ct", "CT (l2 where the paper has LPIPS); lr 0.0001, Table 3 has 0.000008", SCRIPT,
     CT_OF(200) "batch=2048 steps=800000 lr=0.0001 " IMAGENET_EMAS, IMAGENET64(0)},
    {"lsun256-edm", "EDM, the --teacher of lsun256-cd-l2; how long is not published: 600,000 steps are ours", SCRIPT,
     "objective=edm batch=256 steps=600000 optimizer=radam lr=0.0001 dropout=0.1 flip=0.5 " IMAGENET_EMAS,
     LSUN256(0.1)},
    {"lsun256-cd-l2", "CD with l2; batch 256, Table 3 has 2,048", SCRIPT, CD_40 "batch=256 lr=0.00001 " LSUN_EMAS,
     LSUN256(0)},
    {"lsun256-ct", "CT (l2 where the paper has LPIPS); batch 256, lr 0.00005, Table 3 has 2,048 and 0.00001", SCRIPT,
     CT_OF(150) "batch=256 steps=1000000 lr=0.00005 " LSUN_EMAS, LSUN256(0)},
    {"imagenet64-ct-table3", "CT (l2 where the paper has LPIPS); lr 0.000008, the script has 0.0001", TABLE3,
     CT_OF(200) "batch=2048 steps=800000 lr=0.000008 " TABLE3_EMA, IMAGENET64(0)},
    {"lsun256-cd-l2-table3", "CD with l2; batch 2,048, the script has 256", TABLE3,
     CD_40 "batch=2048 lr=0.00001 " TABLE3_EMA, LSUN256(0)},
    {"lsun256-ct-table3",
     "CT (l2 where the paper has LPIPS); batch 2,048, lr 0.00001, the script has 256 and 0.00005", TABLE3,
     CT_OF(150) "batch=2048 steps=1000000 lr=0.00001 " TABLE3_EMA, LSUN256(0)},
};
enum { PRESETS = sizeof presets / sizeof *presets };

/* --- by name -------------------------------------------------------------------------- */

const cm_preset *cmi_preset_at(size_t index)
{
    return index < PRESETS ? &presets[index] : NULL;
}

static cm_status find(const char *name, const cm_preset **out)
{
    for (size_t i = 0; i < PRESETS; i++)
        if (strcmp(presets[i].name, name) == 0) {
            *out = &presets[i];
            return CM_OK;
        }
    const char *names[PRESETS + 1] = {NULL};
    char hint[CM_HINT_SIZE];
    for (size_t i = 0; i < PRESETS; i++) names[i] = presets[i].name;
    (void)cm_name_hint(name, names, NULL, hint, sizeof hint);
    CM_FAIL(CM_ERR_ARGUMENT, "no preset is called '%.64s'%s", name, hint);
}

static cm_status apply(cm_train_settings *o, const char *text)
{
    char word[128];
    while (*text) {
        size_t n = strcspn(text, " ");
        memcpy(word, text, n);
        word[n] = '\0';
        char *value = strchr(word, '=');
        *value++ = '\0';
        CM_TRY(cmi_settings_set(o, word, value));
        text += n + strspn(text + n, " ");
    }
    return CM_OK;
}

cm_status cmi_preset_apply(cm_train_settings *o, const char *name)
{
    const cm_preset *preset = NULL;
    CM_TRY(find(name, &preset));
    return apply(o, preset->fields);
}

cm_status cmi_preset_check(const char *name, const cm_net_config *net)
{
    const cm_preset *preset = NULL;
    cm_net_config theirs;
    char text[1400];
    CM_TRY(find(name, &preset));
    if (!preset->config) return CM_OK;
    json_t *config;
    CM_TRY(cmi_json_tree(name, preset->config, strlen(preset->config), &config));
    cm_status status = cmi_net_config_read(json_object_get(config, "network"), &theirs);
    json_decref(config);
    CM_TRY(status);
    if (cmi_net_config_differences(&theirs, net, " in the preset", " in the model", text, sizeof text))
        CM_FAIL(CM_ERR_ARGUMENT, "the model's network is another than that of preset %s: %s", preset->name, text);
    return CM_OK;
}
