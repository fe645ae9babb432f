"""Time Euler's method and DDIM in PyTorch, for the ratios of `cargo bench --bench generative`.

    torch-venv/bin/pip install torch==2.15.0 numpy
    cargo bench --bench generative                          # writes generative_ours.jsonl
    torch-venv/bin/python benches/peers/generative.py       # prints the table, ratios included

Let nothing else run meanwhile. Both sides draw 16 fields of 32 x 32 at once with the same two networks, random weights and
20 evaluations: a plain loop without gradients, once contiguous and once with channels last, of which the faster counts.
The networks are those of `torch_networks.py`, which `networks.py --check` compares with the reference data. A ratio is our
samples per second over theirs: above 1, ours is faster.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter

import torch

import torch_networks as networks

OURS = Path(__file__).with_name("generative_ours.jsonl")
BATCH, SIDE, STEPS, LEVELS = 16, 32, 20, 1000
NETWORKS = {
    "simple_unet": lambda: networks.SimpleUNet(32, cond_dim=2, channel_mults=(1, 2, 4)),
    "attention_unet": lambda: networks.DiffusionHmcUNet(32, dim_mults=(1, 2, 4)),
}


def euler(net, x, c):
    """The probability flow of straight paths, from noise at t = 1 to data at t = 0."""
    for step in range(STEPS):
        t = torch.full((len(x),), 1000 * (1 - step / STEPS))
        x = x - net(x, t, c) / STEPS
    return x


def ddim(net, x, c):
    """Implicit sampling (Song et al. 2021) of a chain of linear noise levels, with a network that predicts the noise."""
    levels = torch.cumprod(1 - torch.linspace(1e-4, 0.02, LEVELS), 0)
    levels = torch.cat([torch.ones(1), levels])
    places = torch.linspace(LEVELS, 0, STEPS + 1).round().long()
    for now, then in zip(places, places[1:]):
        noise = net(x, torch.full((len(x),), float(now - 1)), c)
        data = (x - (1 - levels[now]).sqrt() * noise) / levels[now].sqrt()
        x = levels[then].sqrt() * data + (1 - levels[then]).sqrt() * noise
    return x


def rate(name, sampler, repeats):
    """Samples per second of the better layout."""
    least = float("inf")
    for layout in (torch.contiguous_format, torch.channels_last):
        net = NETWORKS[name]().eval().to(memory_format=layout)
        x = torch.randn(BATCH, 1, SIDE, SIDE).to(memory_format=layout)
        c = torch.full((BATCH, 2), 0.5)
        for repeat in range(repeats + 1):
            begin = perf_counter()
            with torch.inference_mode():
                sampler(net, x, c)
            if repeat > 0:
                least = min(least, perf_counter() - begin)
    return BATCH / least


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [json.loads(line) for line in OURS.read_text().splitlines()] if OURS.exists() else []
    ours = {(line["network"], line["solver"]): line for line in lines}
    print(f"{'network':<18}{'solver':>8}{'samples/s':>12}{'ours':>12}{'ratio':>8}")
    for name in NETWORKS:
        for sampler in (euler, ddim):
            theirs = rate(name, sampler, options.repeats)
            row = f"{name:<18}{sampler.__name__:>8}{theirs:>12.2f}"
            if (line := ours.get((name, sampler.__name__))) and line["evaluations"] == STEPS:
                row += f"{line['samples_per_second']:>12.2f}{line['samples_per_second'] / theirs:>8.2f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
