"""Time the networks and their heaviest operations in PyTorch, for the ratios of `cargo bench --bench networks`.

    torch-venv/bin/pip install torch==2.15.0 safetensors numpy
    torch-venv/bin/python benches/peers/networks.py --check     # the definitions against the reference data
    cargo bench --bench networks                                # writes networks_ours.jsonl
    torch-venv/bin/python benches/peers/networks.py             # writes networks.jsonl, prints the tables
    torch-venv/bin/python benches/peers/networks.py --print     # prints them again, ratios included

Let nothing else run meanwhile. Each line of `networks.jsonl` is one case and pass; the last of several holds. Passes are

- `forward`: in evaluation mode, nothing recorded;
- `gradient`: forward and backward to the field and the condition, the weights held;
- `train`: of a network in training mode, forward, mean squared error, backward to the weights, and a step of (fused)
  Adam; of an operation, forward and backward to its input and its weights.

Every case runs eagerly in a process of its own, once contiguous and once with channels last, and the faster layout is
kept. `seconds` is the least and `median` the middle of the repeats, after two that warm up. `gflops` counts products of
convolutions and matrices alone, as they are written, whatever the algorithm. `peak_mb` is the largest resident size of
the process, of which `import_mb` was there before the network.

Ratios are ours over theirs, in time and in memory: below 1, ours takes less. Memory is `peak_mb` with, in brackets,
`import_mb` taken off theirs. Where ours has a pass `reduced`, forward with products of bf16, its line stands below
`forward`, over PyTorch's `forward` in single precision.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import torch_networks as networks

DATA = Path(os.environ.get("ARMILLA_REFERENCE_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
OURS = Path(__file__).with_name("networks_ours.jsonl")
PARAMETERS = {
    networks.SimpleUNet: 146_229_505,
    networks.DiffusionHmcUNet: 31_265_503,
    networks.LatentVelocityEstimator: 1_378_752,
}
# Of the largest value of each output, and of the largest weight gradient of the network: in f32, the gradients that
# vanish (a bias before a norm of its own channel alone) are rounding.
TOLERANCE = 1e-5
LEAST_REPEATS = 3


@dataclass
class Case:
    """What is timed, and the shapes of what it takes: a field, and for some a time up to `t_max` and a condition."""

    make: Callable[[], Callable]
    x: tuple
    t_max: float = 0
    cond_dim: int = 0
    passes: tuple = ("forward", "gradient", "train")

    def inputs(self):
        batch = self.x[0]
        t = [torch.rand(batch) * self.t_max] if self.t_max else []
        cond = [torch.rand(batch, self.cond_dim)] if self.cond_dim else []
        return [torch.randn(self.x), *t, *cond]


def operation(make, x, passes=("forward", "gradient", "train")):
    return Case(make, x, passes=passes)


def hmc(batch):
    return Case(networks.DiffusionHmcUNet, (batch, 1, 64, 64), t_max=1000, cond_dim=2)


def conv2d(channels):
    return lambda: nn.Conv2d(channels, channels, 3, padding=1)


def attention(function, *x):
    return operation(lambda: function, x, passes=("forward", "gradient"))


NETWORKS = {
    "n2_base64_batch4": Case(lambda: networks.SimpleUNet(64), (4, 1, 64, 64), t_max=1, cond_dim=6),
    "n3_batch1": hmc(1),
    "n3_batch10": hmc(10),
    "n4_batch2": Case(networks.LatentVelocityEstimator, (2, 128, 8, 16, 16), t_max=1),
}
OPERATIONS = {
    # What the machine can do: its peak is the rate of this product, or above.
    "matmul_2048": operation(lambda: nn.Linear(2048, 2048, bias=False), (2048, 2048), passes=("forward",)),
    "conv2d_8x64x64x64": operation(conv2d(64), (8, 64, 64, 64)),
    "conv2d_8x128x32x32": operation(conv2d(128), (8, 128, 32, 32)),
    "conv2d_1x64x64x64": operation(conv2d(64), (1, 64, 64, 64)),
    "conv3d_2x128to64x8x16x16": operation(lambda: nn.Conv3d(128, 64, 3, padding=1), (2, 128, 8, 16, 16)),
    "group_norm_silu_10x64x64x64": operation(lambda: nn.Sequential(nn.GroupNorm(8, 64), nn.SiLU()), (10, 64, 64, 64)),
    "linear_attention_10x384x64x64": attention(networks.linear_attention, 10, 384, 64, 64),
    "full_attention_10x384x8x8": attention(networks.full_attention, 10, 384, 8, 8),
    "full_attention_10x384x32x32": attention(networks.full_attention, 10, 384, 32, 32),
}
CASES = NETWORKS | OPERATIONS


def prepare(name, what, layout):
    """What one repeat calls."""
    case = CASES[name]
    net, (x, *rest) = case.make(), case.inputs()
    weights = []
    if isinstance(net, nn.Module):
        net.train(what == "train")
        weights = list(net.parameters())
    if layout == "channels last":
        layout = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
        x = x.to(memory_format=layout)
        if weights:
            net.to(memory_format=layout)
    with torch.no_grad():
        target = torch.randn_like(net(x, *rest))
    for weight in weights:
        weight.requires_grad_(what == "train")

    def forward():
        with torch.inference_mode():
            net(x, *rest)

    # The condition is the last of what follows the field.
    towards = [x, *rest[-1:]] if case.cond_dim else [x]

    def gradient():
        for tensor in towards + weights:
            tensor.grad = None
        (net(x, *rest) * target).sum().backward()

    def train():
        optimiser.zero_grad()
        F.mse_loss(net(x, *rest), target).backward()
        optimiser.step()

    if what == "forward":
        return forward
    if what == "train" and name in NETWORKS:
        optimiser = torch.optim.Adam(weights, lr=1e-4, fused=True)
        return train
    for tensor in towards:
        tensor.requires_grad_()
    return gradient


def resident_mb():
    """The largest resident size of this process so far; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name, what, layout, threads, seconds):
    """The line of one case, pass and layout."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    import_mb = resident_mb()
    repeat = prepare(name, what, layout)
    with FlopCounterMode(display=False) as counter:
        repeat()
    repeat()
    times, start = [], perf_counter()
    while len(times) < LEAST_REPEATS or perf_counter() - start < seconds:
        begin = perf_counter()
        repeat()
        times.append(perf_counter() - begin)
    least = min(times)
    return {
        "case": name,
        "pass": what,
        "seconds": least,
        "median": statistics.median(times),
        "repeats": len(times),
        "layout": layout,
        "gflops": counter.get_total_flops() / least / 1e9 or None,
        "peak_mb": resident_mb(),
        "import_mb": import_mb,
        "threads": threads,
        "version": torch.__version__,
    }


def run(options):
    """Append to the output the better layout of each case and pass."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
        for name in options.cases:
            for what in CASES[name].passes:
                layouts = ("contiguous", "channels last") if len(CASES[name].x) > 2 else ("contiguous",)
                lines = [
                    fresh.apply(measure, (name, what, layout, options.threads, options.seconds)) for layout in layouts
                ]
                line = min(lines, key=lambda line: line["seconds"])
                print(f"{name} {what}: {line['seconds']:.4g} s, {line['layout']}", flush=True)
                with options.output.open("a") as file:
                    file.write(json.dumps(line) + "\n")


def read(path):
    """The last line of each case and pass."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {(line["case"], line["pass"]): line for line in lines}


def table(names, theirs, ours):
    """Print theirs, and ours over theirs where there are both."""
    columns = f"{'ms':>9} {'median':>9} {'GFLOP/s':>8} {'MB':>7} {'import':>7}  {'layout':<13}"
    print(f"\n{'':<30} {'pass':<9}{columns}" + (f"{'ours ms':>9} {'ratio':>6} {'memory':>14}" if ours else ""))
    for name in names:
        for what in CASES[name].passes:
            if not (line := theirs.get((name, what))):
                continue
            rate = f"{line['gflops']:.0f}" if line["gflops"] else ""
            row = (
                f"{name:<30} {what:<9}{1e3 * line['seconds']:>9.2f} {1e3 * line['median']:>9.2f} {rate:>8}"
                f" {line['peak_mb']:>7.0f} {line['import_mb']:>7.0f}  {line['layout']:<13}"
            )
            if own := ours.get((name, what)):
                row += compared(own, line)
            print(row)
            if what == "forward" and (own := ours.get((name, "reduced"))):
                print(f"{name:<30} {'reduced':<9}{'':<{len(columns)}}" + compared(own, line))


def compared(own, line):
    """Ours, and ours over theirs."""
    text = f"{1e3 * own['seconds']:>9.2f} {own['seconds'] / line['seconds']:>6.2f}"
    if peak := own.get("peak_mb"):
        own_part = line["peak_mb"] - line["import_mb"]
        text += f" {peak / line['peak_mb']:>6.2f} ({peak / own_part:.2f})"
    return text


def close(what, value, expected, scale=None):
    """The error as a share of the scale, which is that of what is expected unless told."""
    error = ((value - expected).abs().max() / (scale or expected.abs().max())).item()
    if not error < TOLERANCE:
        raise SystemExit(f"{what}: off by {error:.1e} of scale")
    return error


def check_file(path):
    """Compare output, gradients and forward derivative with a file of the reference data; the largest error."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}

    def part(prefix):
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    io, gradients = part("io."), part("grad.")
    net = networks.from_metadata(metadata, io["x"].shape[1]).eval()
    # How many batches BatchNorm has seen is of no use to evaluation, and not in the file.
    counts = {key: value for key, value in net.state_dict().items() if key.endswith("num_batches_tracked")}
    net.load_state_dict(part("weights.") | counts, strict=True)
    names = ["x", "cond"] if "cond" in io else ["x"]

    def function(x, *cond):
        return net(x, io["t"], *cond)

    inputs = [io[name].requires_grad_() for name in names]
    y = function(*inputs)
    (y * io["probe"]).sum().backward()
    # The fast kernel of full attention has no forward derivative.
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        directions = tuple(io[f"d{name}"] for name in names)
        _, jvp = torch.func.jvp(function, tuple(i.detach() for i in inputs), directions)
    largest = max(gradient.abs().max() for gradient in gradients.values())
    found = dict(net.named_parameters())
    return max(
        [close(f"{path}: y", y, io["y"]), close(f"{path}: jvp", jvp, io["jvp"])]
        + [close(f"{path}: grad_{name}", io[name].grad, io[f"grad_{name}"]) for name in names]
        + [close(f"{path}: grad.{key}", found[key].grad, value, largest) for key, value in gradients.items()]
    )


def check():
    """Count the parameters of the full sizes, and compare the small ones with the reference data."""
    for network, parameters in PARAMETERS.items():
        with torch.device("meta"):
            count = sum(weight.numel() for weight in network().parameters())
        if count != parameters:
            raise SystemExit(f"{network.__name__}: {count} parameters, not {parameters}")
        print(f"{network.__name__}: {count} parameters")
    paths = sorted((DATA / "torch").glob("*.safetensors"))
    if not paths:
        print(f"skipped: no reference data at {DATA / 'torch'}")
    for path in paths:
        print(f"{path.stem}: within {check_file(path):.1e} of scale")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="of repeats, for each layout (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("networks.jsonl"))
    parser.add_argument("--check", action="store_true", help="compare with the reference data, and time nothing")
    parser.add_argument("--print", action="store_true", help="print what was measured before, and time nothing")
    options = parser.parse_args()
    if options.check:
        check()
    else:
        if not options.print:
            run(options)
        theirs, ours = read(options.output), read(OURS)
        table(NETWORKS, theirs, ours)
        table(OPERATIONS, theirs, ours)
