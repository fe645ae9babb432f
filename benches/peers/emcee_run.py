"""Run emcee's ensemble on the targets."""

from common import Run, arguments, main  # first: it sets the threads of the linear algebra

import logging
from functools import partial
from time import perf_counter

import emcee
import numpy as np

# R-hat tells of chains that are too short.
logging.getLogger("emcee.autocorr").setLevel(logging.ERROR)

WALKERS = 32
# Warm-up steps per step kept.
WARMUP = 0.2

MOVES = {
    "stretch": [(emcee.moves.StretchMove(), 1.0)],
    # The mixture that emcee's documentation recommends for several modes.
    "de": [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)],
}


def prepare(target, steps, moves):
    walkers = max(WALKERS, 4 * target.dim)
    # A high dimension decorrelates in thousands of steps, and would fill the memory.
    thin = max(1, target.dim // 10)
    warmup = int(WARMUP * steps)

    def run(seed):
        generator = np.random.default_rng(seed)
        density = partial(target.log_density, np)
        start = generator.uniform(*target.start, (1000 * walkers, target.dim))
        start = start[np.isfinite(density(start))][:walkers]
        np.random.seed(seed)  # emcee draws from NumPy's global state
        sampler = emcee.EnsembleSampler(walkers, target.dim, density, moves=moves, vectorize=True)
        begin = perf_counter()
        state = sampler.run_mcmc(start, warmup, store=False)
        middle = perf_counter()
        sampler.run_mcmc(state, steps // thin, thin_by=thin)
        end = perf_counter()
        draws = sampler.get_chain().swapaxes(0, 1)
        ess = draws.shape[0] * draws.shape[1] / sampler.get_autocorr_time(quiet=True).max()
        extra = {"steps": steps, "ess_autocorr": ess, "ess_autocorr_per_second": ess / (end - begin)}
        return Run(draws, warmup, middle - begin, end - middle, extra=extra)

    return run


if __name__ == "__main__":
    parser = arguments(__doc__, 10_000)
    parser.add_argument("--move", choices=MOVES, default="stretch")
    options = parser.parse_args()
    main("emcee", options.move, options, lambda t: prepare(t, options.draws, MOVES[options.move]), gradient=False)
