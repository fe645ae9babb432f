"""Run NumPyro's NUTS on the targets, on the processor and in double precision."""

from common import CHAINS, Run, arguments, main  # first: it sets the threads of the linear algebra

from functools import partial
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import lax

numpyro.set_platform("cpu")
numpyro.set_host_device_count(CHAINS)
numpyro.enable_x64()

WARMUP = 1000

# Each maps a function over the leading axis of its arguments, and compiles it once.
CHAIN_METHODS = {"parallel": jax.pmap, "vectorized": lambda f: jax.jit(jax.vmap(f))}


def prepare(target, draws, chain_method):
    """Drive NumPyro's kernel by compiled loops of our own: `MCMC.run` traces, and may compile, at every call."""
    density = partial(target.log_density, jnp)
    kernel = numpyro.infer.NUTS(potential_fn=lambda x: -density(x))

    def step(carry, _):
        state, gradients = carry
        state = kernel.sample(state, (), {})
        return (state, gradients + state.num_steps), state.z

    def warm(key, start):
        state = kernel.init(key, WARMUP, start, (), {})
        return lax.fori_loop(0, WARMUP, lambda _, carry: step(carry, None)[0], (state, 0))

    def draw(carry):
        (_, gradients), x = lax.scan(step, carry, length=draws)
        return gradients, x

    warm, draw = CHAIN_METHODS[chain_method](warm), CHAIN_METHODS[chain_method](draw)

    def run(seed):
        keys = jax.random.split(jax.random.key(seed), CHAINS)
        start = np.random.default_rng(seed).uniform(*target.start, (CHAINS, target.dim))
        begin = perf_counter()
        carry = jax.block_until_ready(warm(keys, start))
        middle = perf_counter()
        gradients, x = jax.block_until_ready(draw(carry))
        end = perf_counter()
        return Run(np.asarray(x), WARMUP, middle - begin, end - middle, gradients=int(gradients.sum()))

    run(0)  # compiles
    return run


if __name__ == "__main__":
    parser = arguments(__doc__, 1000)
    parser.add_argument("--chain-method", choices=CHAIN_METHODS, default="parallel")
    options = parser.parse_args()
    method = f"nuts {options.chain_method}"
    main("numpyro", method, options, lambda t: prepare(t, options.draws, options.chain_method))
