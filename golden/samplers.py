"""Writes golden/schedule.txt and golden/samplers.txt: diffusers' schedulers, in double.   python golden/samplers.py

diffusers works in float32 here and there. Its scheduler modules are given a torch and a numpy whose float32 is float64, so its own code runs in double
throughout; the script fails if a result is not. One thing is set from outside: between whole timesteps diffusers interpolates sigma, k-diffusion and the
web UI log sigma, as this project does; so the levels of "uniform" are put in.

schedule.txt   table KIND START END  T AC SNR NOISED V        NOISED, V: x_0 = 0.3, e = -1.7
               sigma T SIGMA | time SIGMA T                   of SD 1.x's table
samplers.txt   SAMPLER SCHEDULER PREDICTION STEPS, then STEPS + 1 sigmas, STEPS times, and the STEPS + 1 states, N numbers each, in k-space
               (x = x_0 + sigma e), the last as the sampler returns it. The model is eps(x, t) below; step i adds noise(i + 1), the start is noise(0).
"""
import pathlib
import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler
from diffusers.schedulers import scheduling_ddim, scheduling_ddpm, scheduling_dpmsolver_multistep, scheduling_euler_discrete
from diffusers.schedulers import scheduling_euler_ancestral_discrete


class Double:
    """A module whose float32 is float64."""
    def __init__(self, module):
        self.module, self.float32 = module, module.float64

    def __getattr__(self, name):
        return getattr(self.module, name)


for module in scheduling_ddim, scheduling_ddpm, scheduling_dpmsolver_multistep, scheduling_euler_ancestral_discrete, scheduling_euler_discrete:
    module.torch, module.np = Double(torch), Double(np)

here = pathlib.Path(__file__).parent
SD = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
N, STEPS = 8, 7
J = torch.arange(N, dtype=torch.float64)


def eps(x, t):
    return 0.9 * torch.tanh(0.7 * x + 0.3 * torch.sin(0.1 * J + t / 250)) + 0.05 * x


def noise(i):
    return 1.5 * torch.sin(1 + 12.9898 * (i * N + J))


def numbers(*values):
    return " ".join(float(v).hex() for v in values)


# ---- schedule.txt
lines = []
for kind, start, end in ("scaled_linear", 0.00085, 0.012), ("linear", 1e-4, 0.02):
    s = DDPMScheduler(num_train_timesteps=1000, beta_start=start, beta_end=end, beta_schedule=kind)
    assert s.alphas_cumprod.dtype == torch.float64
    x0, e = torch.full((1,), 0.3, dtype=torch.float64), torch.full((1,), -1.7, dtype=torch.float64)
    for t in 0, 1, 100, 147, 250, 500, 750, 998, 999:
        ac, at = s.alphas_cumprod[t], torch.tensor([t])
        lines.append(f"table {kind} {start} {end} {t} " + numbers(ac, ac / (1 - ac), s.add_noise(x0, e, at), s.get_velocity(x0, e, at)))
ac = DDPMScheduler(**SD).alphas_cumprod.numpy()
log_sigma = np.log(((1 - ac) / ac) ** 0.5)
for t in 0, 0.25, 0.999, 1, 17.5, 333.3, 500, 998.7, 999:
    lines.append("sigma " + numbers(t, np.exp(np.interp(t, np.arange(1000), log_sigma))))
for sigma in 0.01, 0.0292, 0.03, 0.1, 1, 3.3, 14.6, 14.7, 100:
    lines.append("time " + numbers(sigma, EulerDiscreteScheduler(**SD)._sigma_to_t(np.array(sigma), log_sigma)))
(here / "schedule.txt").write_text("\n".join(lines) + "\n")


# ---- samplers.txt
def levels(schedule):
    """sigmas and times of a k sampler."""
    s = EulerDiscreteScheduler(**SD, use_karras_sigmas=schedule == "karras", use_exponential_sigmas=schedule == "exponential")
    s.set_timesteps(STEPS)
    if schedule == "uniform":
        s.sigmas = torch.from_numpy(np.append(np.exp(np.interp(s.timesteps.numpy(), np.arange(1000), log_sigma)), 0))
    assert s.sigmas.dtype == s.timesteps.dtype == torch.float64
    return s.sigmas, s.timesteps


def run(name, schedule, prediction):
    options = dict(SD, prediction_type={"eps": "epsilon", "v": "v_prediction"}[prediction])
    vp = name in ("ddim", "dpmpp_2m")               # diffusers runs these on x_k sqrt(ac) = x_k / sqrt(1 + sigma^2)
    if name == "ddim":
        s = DDIMScheduler(**options, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        s.set_timesteps(STEPS)
        ac = torch.cat([s.alphas_cumprod[s.timesteps], s.final_alpha_cumprod[None]])
        sigmas, times = ((1 - ac) / ac) ** 0.5, s.timesteps.double()
    else:
        s = {"euler": EulerDiscreteScheduler, "euler_a": EulerAncestralDiscreteScheduler, "dpmpp_2m": DPMSolverMultistepScheduler}[name](**options)
        s.set_timesteps(STEPS)
        sigmas, times = s.sigmas, s.timesteps = levels(schedule)
        s.is_scale_input_called = True

    def k(x, sigma):
        return x * (1 + sigma**2) ** 0.5 if vp else x

    x = noise(0) if name == "ddim" else noise(0) * sigmas[0] / (1 + sigmas[0] ** 2) ** 0.5 if vp else noise(0) * sigmas[0]
    states = [k(x, sigmas[0])]
    for i, t in enumerate(times):
        scheduling_euler_ancestral_discrete.randn_tensor = lambda *_, **__: noise(i + 1)
        x = s.step(eps(k(x, sigmas[i]) / (1 + sigmas[i] ** 2) ** 0.5, t), t.long() if name == "ddim" else t, x).prev_sample
        assert x.dtype == torch.float64
        states.append(k(x, sigmas[i + 1]))
    states[-1] = x
    return [f"{name} {schedule} {prediction} {STEPS}", numbers(*sigmas), numbers(*times), *[numbers(*x) for x in states]]


lines = run("ddim", "automatic", "eps") + run("ddim", "automatic", "v")
for name in "euler", "euler_a", "dpmpp_2m":
    for schedule in "uniform", "karras", "exponential":
        lines += run(name, schedule, "eps")
    lines += run(name, "karras", "v")
(here / "samplers.txt").write_text("\n".join(lines) + "\n")
