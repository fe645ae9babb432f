"""Run nutpie on PyMC models of the targets, compiled by Numba."""

from common import CHAINS, Run, arguments, main  # first: it sets the threads of the linear algebra

from time import perf_counter

import numpy as np
import nutpie
import pyarrow
import pymc
import pytensor.tensor

CORES = 2


def prepare(target, draws):
    with pymc.Model() as model:
        x = pymc.Flat("x", shape=target.dim)
        pymc.Potential("log_density", target.log_density(pytensor.tensor, x))
    compiled = nutpie.compile_pymc_model(model, backend="numba")

    def run(seed, draws=draws):
        # The raw trace, since building ArviZ's tables is not part of sampling.
        options = {"chains": CHAINS, "cores": CORES, "progress_bar": False, "return_raw_trace": True}
        begin = perf_counter()
        trace = nutpie.sample(compiled, draws=draws, seed=seed, **options)
        seconds = perf_counter() - begin

        points, statistics = trace.get_arrow_trace()
        points = np.stack([pyarrow.array(p.column("x")).flatten().to_numpy() for p in points])
        steps = np.stack([s.column("n_steps").to_numpy() for s in statistics])
        warmup = int(statistics[0].column("tuning").to_numpy().sum())
        # nutpie does not time its phases; the share of the gradients is the share of the time.
        share = steps[:, :warmup].sum() / steps.sum()
        return Run(
            points.reshape(*steps.shape, target.dim)[:, warmup:],
            warmup,
            seconds * share,
            seconds * (1 - share),
            gradients=int(steps.sum()),
        )

    run(0, draws=10)  # whatever compiles late
    return run


if __name__ == "__main__":
    options = arguments(__doc__, 1000).parse_args()
    main("nutpie", "nuts", options, lambda target: prepare(target, options.draws))
