"""State each target once, as a log density on the real line in the array language that the frameworks share.

`log_density(xp, x)` takes the array module (`numpy`, `jax.numpy` or `pytensor.tensor`) and points of shape (..., dim),
and returns (...). Positive parameters enter by their logarithm, with its Jacobian; additive constants are left out.
`columns` turns draws into the parameters of the reference.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("ARMILLA_REFERENCE_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")


@dataclass
class Target:
    name: str
    dim: int
    log_density: Callable
    # Exact (mean, sd) of each column (nan where there is none to check), or reference draws (chains, draws, columns).
    moments: np.ndarray | None = None
    reference: np.ndarray | None = None
    columns: Callable = staticmethod(lambda x: x)
    # Edges of the initial uniform draw on the real line, as in Stan.
    start: tuple[float, float] = (-2.0, 2.0)
    gradient: bool = True


def gaussian(xp, x, correlation=0.9):
    """Unit variances and correlation 0.9^|i-j|: the autoregression x_i ~ N(0.9 x_{i-1}, 1 - 0.9^2)."""
    step = x[..., 1:] - correlation * x[..., :-1]
    return -0.5 * (x[..., 0] ** 2 + (step**2).sum(-1) / (1 - correlation**2))


def funnel(xp, x):
    """Neal (2003): v ~ N(0, 3), x_i ~ N(0, exp(v/2)), i = 1..9, sampled as it stands."""
    v, rest = x[..., 0], x[..., 1:]
    return -(v**2) / 18 - 4.5 * v - 0.5 * xp.exp(-v) * (rest**2).sum(-1)


def banana(xp, x):
    """x0 ~ N(0, 10), x1 ~ N(0.03 (x0^2 - 100), 1) (Haario, Saksman & Tamminen 1999)."""
    return -(x[..., 0] ** 2) / 200 - 0.5 * (x[..., 1] - 0.03 * (x[..., 0] ** 2 - 100)) ** 2


def eight_schools(xp, x, y, sigma):
    """Rubin (1981), non-centred: (mu, log tau, eta)."""
    mu, log_tau, eta = x[..., 0:1], x[..., 1:2], x[..., 2:]
    theta = mu + xp.exp(log_tau) * eta
    prior = -(mu**2) / 50 - xp.log1p(xp.exp(2 * log_tau) / 25) + log_tau
    return prior[..., 0] - 0.5 * (eta**2).sum(-1) - 0.5 * (((y - theta) / sigma) ** 2).sum(-1)


def regression(xp, x, design, y, log_scale_prior):
    """Coefficients ~ N(0, 10) and log sigma; y ~ N(coefficients @ design, sigma), design of shape (columns, rows)."""
    coefficients, log_sigma = x[..., :-1], x[..., -1]
    sigma = xp.exp(log_sigma)
    residual = y - coefficients @ design
    prior = -(coefficients**2).sum(-1) / 200 + log_scale_prior(xp, sigma) + log_sigma
    return prior - len(y) * log_sigma - 0.5 * (residual**2).sum(-1) / sigma**2


def two_moons(xp, x, observation):
    """The task of sbibm (Lueckmann et al. 2021, arXiv 2101.04653): the likelihood in polar coordinates, prior U(-1, 1)."""
    total, difference = x[..., 0] + x[..., 1], x[..., 1] - x[..., 0]
    p0 = observation[0] + abs(total) / 2**0.5 - 0.25
    p1 = observation[1] - difference / 2**0.5
    r = xp.hypot(p0, p1)
    inside = (p0 > 0) & (abs(x) < 1).all(-1)
    # Where p0 > 0, r is positive; elsewhere any radius serves.
    safe = xp.where(inside, r, 1.0)
    return xp.where(inside, -0.5 * ((safe - 0.1) / 0.01) ** 2 - xp.log(safe), -np.inf)


def posterior(name):
    """Data and reference draws of a posterior of posteriordb."""
    folder = DATA / "posteriordb" / name
    return json.loads((folder / "data.json").read_text()), np.load(folder / "draws.npy")[None]


def make_gaussian(dim):
    return Target(f"gaussian_{dim}", dim, gaussian, moments=np.tile([0.0, 1.0], (dim, 1)))


def make_funnel():
    # The x_i have tails too heavy to check moments by sampling.
    return Target("funnel", 10, funnel, moments=np.array([[0.0, 3.0]] + [[np.nan, np.nan]] * 9))


def make_banana():
    return Target("banana", 2, banana, moments=np.array([[0.0, 10.0], [0.0, 19**0.5]]))


def make_eight_schools():
    data, reference = posterior("eight_schools-eight_schools_noncentered")
    y, sigma = np.array(data["y"], float), np.array(data["sigma"], float)

    def columns(x):
        mu, tau = x[..., 0:1], np.exp(x[..., 1:2])
        return np.concatenate([mu + tau * x[..., 2:], mu, tau], -1)

    density = partial(eight_schools, y=y, sigma=sigma)
    return Target("eight_schools", 10, density, reference=reference, columns=columns)


def positive_last(x):
    return np.concatenate([x[..., :-1], np.exp(x[..., -1:])], -1)


def make_blr():
    data, reference = posterior("sblri-blr")
    design, y = np.ascontiguousarray(np.transpose(data["X"])), np.array(data["y"])
    density = partial(regression, design=design, y=y, log_scale_prior=lambda xp, s: -(s**2) / 200)
    return Target("blr", len(design) + 1, density, reference=reference, columns=positive_last)


def make_ark():
    data, reference = posterior("arK-arK")
    y, order = np.array(data["y"]), data["K"]
    design = np.stack([np.ones(len(y) - order)] + [y[order - k : len(y) - k] for k in range(1, order + 1)])
    density = partial(
        regression, design=design, y=y[order:], log_scale_prior=lambda xp, s: -xp.log1p((s / 2.5) ** 2)
    )
    return Target("arK", order + 2, density, reference=reference, columns=positive_last)


def make_two_moons():
    folder = DATA / "sbibm" / "two_moons" / "observation_1"
    reference = np.load(folder / "reference_posterior.npy").astype(float)[None]
    density = partial(two_moons, observation=np.load(folder / "observation.npy").ravel())
    return Target("two_moons", 2, density, reference=reference, start=(-1.0, 1.0), gradient=False)


TARGETS = {
    "gaussian_2": partial(make_gaussian, 2),
    "gaussian_10": partial(make_gaussian, 10),
    "gaussian_100": partial(make_gaussian, 100),
    "funnel": make_funnel,
    "banana": make_banana,
    "eight_schools": make_eight_schools,
    "blr": make_blr,
    "arK": make_ark,
    "two_moons": make_two_moons,
}
