"""Run a peer on the targets, judge its draws with ArviZ and write one JSON line per target."""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

# The chains are what runs in parallel; threads inside a product of small matrices only hinder them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import arviz

from targets import TARGETS, Target

CHAINS = 4
# Versions that Python does not know.
PEERS_OUTSIDE_PYTHON = {"nuts-rs": "0.19.1"}
# Standard errors between a moment and its reference beyond which a run is called wrong.
LARGEST_Z = 5.0


@dataclass
class Run:
    """What one run gives: draws of shape (chains, draws, dim) on the real line, and its cost."""

    draws: np.ndarray
    warmup: int
    seconds_warmup: float
    seconds_sampling: float
    # Of the log density, over all chains and the warm-up; None for a peer without.
    gradients: int | None = None
    extra: dict | None = None


def statistic(function, draws, **options):
    """An ArviZ statistic of each parameter."""
    return function(arviz.convert_to_dataset(draws), **options)["x"].values


def moments(draws):
    """Means, standard deviations and their Monte Carlo errors, each of shape (2, columns)."""
    mean, sd = draws.mean((0, 1)), draws.std((0, 1))
    # That of the standard deviation by the squared deviations, as d(sd) = d(variance) / (2 sd).
    error = statistic(arviz.mcse, draws, method="mean")
    error_sd = statistic(arviz.mcse, (draws - mean) ** 2, method="mean") / (2 * sd)
    return np.stack([mean, sd]), np.stack([error, error_sd])


def largest_z(target, draws):
    """The largest distance of a mean or standard deviation from its reference, in standard errors."""
    value, error = moments(target.columns(draws))
    if target.reference is None:
        known, known_error = target.moments.T, 0.0
    else:
        known, known_error = moments(target.reference)
    return float(np.nanmax(abs(value - known) / np.hypot(error, known_error)))


def judge(peer, method, target, run):
    """The JSON line of one run."""
    seconds = run.seconds_warmup + run.seconds_sampling
    ess = float(statistic(arviz.ess, run.draws, method="bulk").min())
    chains, draws, _ = run.draws.shape
    return {
        "peer": peer,
        "version": PEERS_OUTSIDE_PYTHON.get(peer) or version(peer),
        "target": target.name,
        "method": method,
        "draws": draws,
        "chains": chains,
        "warmup": run.warmup,
        "seconds_sampling": run.seconds_sampling,
        "seconds_warmup": run.seconds_warmup,
        "ess_min": ess,
        "ess_per_second": ess / seconds,
        "gradients": run.gradients,
        "max_rhat": float(statistic(arviz.rhat, run.draws).max()),
        "max_z": largest_z(target, run.draws),
        **(run.extra or {}),
    }


def arguments(description, draws):
    """The options that all peers have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--draws", type=int, default=draws, help="after the warm-up, per chain (%(default)s)")
    parser.add_argument("--repeat", type=int, default=1, help="seeds; the median run is written (%(default)s)")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results.jsonl"))
    return parser


def main(peer, method, options, prepare: Callable[[Target], Callable[[int], Run]], gradient=True):
    """Append to the output the run of median ESS per second of each target.

    `prepare(target)` compiles, and returns what runs under a seed; targets without a gradient are left out where the
    peer needs one.
    """
    for name in options.targets:
        try:
            target = TARGETS[name]()
        except FileNotFoundError as error:
            print(f"{peer} {name}: skipped, no reference data at {error.filename}", file=sys.stderr)
            continue
        if gradient and not target.gradient:
            continue
        sample = prepare(target)
        lines = [judge(peer, method, target, sample(seed)) for seed in range(options.repeat)]
        lines.sort(key=lambda line: line["ess_per_second"])
        line = lines[len(lines) // 2] | {"repeats": options.repeat}
        if line["max_z"] > LARGEST_Z:
            print(f"{peer} {name}: warning, moments {line['max_z']:.1f} standard errors off", file=sys.stderr)
        with options.output.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(
            f"{peer:<8} {name:<14} {method:<16} {line['ess_min']:>9.0f} ESS in {line['seconds_warmup']:>7.3f}"
            f" + {line['seconds_sampling']:>7.3f} s {line['ess_per_second']:>10.1f} /s"
            f"   R-hat {line['max_rhat']:.3f}   |z| {line['max_z']:.1f}",
            flush=True,
        )
