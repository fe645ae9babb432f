"""Run nuts-rs, the sampler of nutpie, on three targets with gradients written by hand (package `nuts_rs`)."""

from common import CHAINS, Run, arguments, main  # first: it sets the threads of the linear algebra

import json
import subprocess
from pathlib import Path

import numpy as np

PACKAGE = Path(__file__).with_name("nuts_rs")
DATA = {
    "gaussian_100": lambda: [],
    "eight_schools": lambda y, sigma: [y, sigma],
    "blr": lambda design, y, **_: [design.T.ravel(), y],
}


def build():
    """The path of the program, which cargo tells."""
    command = ["cargo", "build", "--release", "--message-format=json"]
    messages = subprocess.run(command, cwd=PACKAGE, check=True, stdout=subprocess.PIPE).stdout.splitlines()
    return next(path for m in messages if (path := json.loads(m).get("executable")))


def prepare(target, program, draws):
    data = DATA[target.name](**getattr(target.log_density, "keywords", {}))
    data = b"".join(np.asarray(d, float).tobytes() for d in data)

    def run(seed):
        command = [program, target.name, str(target.dim), str(draws), str(seed)]
        output = np.frombuffer(subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout)
        warmup, seconds_warmup, seconds_sampling, gradients = output[:4]
        kept = output[4:].reshape(CHAINS, draws, target.dim)
        return Run(kept, int(warmup), seconds_warmup, seconds_sampling, gradients=int(gradients))

    return run


if __name__ == "__main__":
    options = arguments(__doc__, 1000).parse_args()
    options.targets = [name for name in options.targets if name in DATA]
    program = build()
    main("nuts-rs", "nuts", options, lambda target: prepare(target, program, options.draws))
