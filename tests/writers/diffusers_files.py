"""diffusers: folders that it writes, and its UNet2DModel as a forward of the ADM network that owes nothing to ours."""
import os
import shutil

import diffusers
import numpy
import torch

from . import networks
from .checks import check, close, cm

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()

NETWORKS = {
    "conditional, scale-shift": dict(block_out_channels=(64, 128), layers_per_block=1, num_class_embeds=10,
                                     resnet_time_scale_shift="scale_shift", attn_norm_num_groups=32),
    "unconditional, three levels": dict(block_out_channels=(32, 32, 64), layers_per_block=2, attention_head_dim=32,
                                        attn_norm_num_groups=32),
    "unconditional, without attn_norm_num_groups": dict(block_out_channels=(64, 128), layers_per_block=1),
}


def network(block_out_channels, layers_per_block, seed=3, attention_head_dim=64, **options):
    levels = len(block_out_channels)
    down = ["AttnDownBlock2D" if i else "ResnetDownsampleBlock2D" for i in range(levels)]
    up = ["AttnUpBlock2D" if i < levels - 1 else "ResnetUpsampleBlock2D" for i in range(levels)]
    torch.manual_seed(seed)
    unet = diffusers.UNet2DModel(
        sample_size=8 << (levels - 1), in_channels=3, out_channels=3, center_input_sample=False,
        time_embedding_type="positional", freq_shift=0, flip_sin_to_cos=True, down_block_types=down,
        up_block_types=up, block_out_channels=block_out_channels, layers_per_block=layers_per_block,
        attention_head_dim=attention_head_dim, downsample_type="resnet", upsample_type="resnet", norm_num_groups=32,
        norm_eps=1e-5, **options)
    with torch.no_grad():
        for name, p in unet.named_parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return unet.eval()


def scheduler(points=40):
    return diffusers.CMStochasticIterativeScheduler(num_train_timesteps=points, sigma_min=0.002, sigma_max=80.0,
                                                    sigma_data=0.5, s_noise=1.0, rho=7.0, clip_denoised=True)


def theirs(unet, x, sigmas, classes):
    """The consistency function around their network."""
    sigma = numpy.array(sigmas, numpy.float64).reshape(-1, 1, 1, 1)
    c_in = 1 / numpy.sqrt(sigma ** 2 + 0.25)
    c_skip = 0.25 / ((sigma - 0.002) ** 2 + 0.25)
    c_out = (sigma - 0.002) * 0.5 / numpy.sqrt(sigma ** 2 + 0.25)
    labels = torch.tensor([i % classes for i in range(len(x))]) if classes else None
    with torch.no_grad():
        f = unet.float()(torch.tensor((c_in * x).astype(numpy.float32)),
                         torch.tensor(250 * numpy.log(sigma.reshape(-1)), dtype=torch.float32),
                         class_labels=labels).sample
    return c_out * f.numpy().astype(numpy.float64) + c_skip * x


def compare(folder, unet, tolerance=5e-5):
    with cm.Model.load(folder) as model:
        check(model.network == "adm" and model.precond == "cm", "it is %s, %s", model.network, model.precond)
        x, sigmas = networks.noise(model)
        close(networks.outputs(model), theirs(unet, x, sigmas, model.num_classes), tolerance)
        return model.config


def pipeline(unet, folder, points=40, **options):
    shutil.rmtree(folder, ignore_errors=True)
    diffusers.ConsistencyModelPipeline(unet=unet, scheduler=scheduler(points)).save_pretrained(folder, **options)
    return folder


def run(report, folder):
    group = "diffusers, in"

    def at(name):
        return os.path.join(folder, name.replace(" ", "_").replace(",", ""))
    for name, options in NETWORKS.items():
        report.run(group, name, lambda: compare(pipeline(network(**options), at(name)), network(**options)))
    options = NETWORKS["conditional, scale-shift"]
    report.run(group, "sharded", lambda: sharded(network(**options), at("sharded")))
    report.run(group, "as .bin", lambda: compare(
        pipeline(network(**options), at("bin"), safe_serialization=False), network(**options)))
    for dtype in (torch.float16, torch.bfloat16):
        report.run(group, str(dtype), lambda: compare(pipeline(network(**options).to(dtype), at(str(dtype))),
                                                      network(**options).to(dtype).float()))
    report.run(group, "the unet's folder alone", lambda: alone(network(**options), at("alone")))
    report.run(group, "a grid of 201", lambda: steps(at("grid")))
    report.run(group, "multistep samples", lambda: samples(network(**options), at("samples")))


def sharded(unet, folder):
    pipeline(unet, folder, max_shard_size="1MB")
    parts = [f for f in os.listdir(os.path.join(folder, "unet")) if f.endswith(".safetensors")]
    check(len(parts) > 1, "it wrote one file")
    compare(folder, unet)


def alone(unet, folder):
    shutil.rmtree(folder, ignore_errors=True)
    unet.save_pretrained(folder)
    compare(folder, unet)


def steps(folder):
    """The times of a published model trained alone follow from the grid of its scheduler."""
    unet = network((32, 32, 64, 64), 1, attention_head_dim=32, attn_norm_num_groups=32)
    config = compare(pipeline(unet, folder, 201), unet)
    check(config.get("sampling") == {"ts": [0, 106, 200], "grid": 201}, "sampling times: %s", config.get("sampling"))


def samples(unet, folder):
    """Two steps of their scheduler and of our sampler, from the same noise."""
    pipeline(unet, folder)
    generator = numpy.random.default_rng(9)
    noise, again = (generator.standard_normal((2, 3, 16, 16)).astype(numpy.float32) for _ in range(2))
    plan = scheduler()
    plan.set_timesteps(timesteps=[22, 0])
    x = torch.tensor(noise) * plan.init_noise_sigma
    labels = torch.tensor([1, 7])
    draws = iter([torch.tensor(again), torch.tensor(again)])
    module = diffusers.schedulers.scheduling_consistency_models
    original, module.randn_tensor = module.randn_tensor, lambda *a, **k: next(draws)
    try:
        with torch.no_grad():
            for t in plan.timesteps:
                f = unet(plan.scale_model_input(x, t), t, class_labels=labels).sample
                x = plan.step(f, t, x).prev_sample
    finally:
        module.randn_tensor = original
    with cm.Model.load(folder) as model:
        sampler = cm.Sampler(model, "multistep", ts=[0, 22, 39], grid=40, batch=2)
        ours = sampler.sample(2, labels=[1, 7], noise=noise, step_noise=numpy.stack([again, again]))
        close(ours, x.numpy().clip(-1, 1), 2e-4)
