"""Time the same work as `cargo bench --bench data` in h5py, NumPy, and Pylians where it is installed.

    cargo bench --bench data
    python benches/peers/data.py

Files are read from the system's cache: `batches` are 16 times 32 random maps, which h5py reads one by one or the sorted batch
at once, whichever is faster; `single` is the same maps one by one, `whole` all of them. Particles are uniform and in no order. NumPy spreads them with `np.add.at` (`np.bincount` is shown beside it, which sums
the same), and measures spectra with `np.fft.rfftn`. Ratios are theirs over ours: how often ours would have been done.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np

OURS = Path(__file__).with_name("data_ours.jsonl")
FILES = Path(__file__).parents[2] / "target" / "bench-data"
BATCHES, BATCH = 16, 32
BOX = 25.0
PARTICLES = 4_000_000
ORDERS = {"ngp": 1, "cic": 2, "tsc": 3, "pcs": 4}


def least(run, seconds):
    """The least time of several calls."""
    start, best = time.perf_counter(), np.inf
    while True:
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
        if time.perf_counter() - start > seconds:
            return best


def weights(u, order):
    """The first node and the weights of all, for coordinates in cells."""
    if order == 1:
        return np.floor(u + 0.5).astype(np.int64), [np.ones_like(u)]
    if order == 2:
        first = np.floor(u).astype(np.int64)
        d = u - first
        return first, [1 - d, d]
    if order == 3:
        nearest = np.floor(u + 0.5).astype(np.int64)
        d = u - nearest
        return nearest - 1, [0.5 * (0.5 - d) ** 2, 0.75 - d**2, 0.5 * (0.5 + d) ** 2]
    first = np.floor(u).astype(np.int64)
    d = u - first
    e = 1 - d
    return first - 1, [e**3 / 6, (4 - 6 * d**2 + 3 * d**3) / 6, (4 - 6 * e**2 + 3 * e**3) / 6, d**3 / 6]


def deposit(positions, size, order, add_at):
    """A periodic mesh of as many dimensions as the positions have columns."""
    dimension = positions.shape[1]
    mesh = np.zeros(size**dimension)
    axes = [weights(positions[:, a] * (size / BOX), order) for a in range(dimension)]
    for nodes in itertools.product(range(order), repeat=dimension):
        index, weight = 0, 1.0
        for (first, by), k in zip(axes, nodes):
            index = index * size + (first + k) % size
            weight = weight * by[k]
        if add_at:
            np.add.at(mesh, index, weight)
        else:
            mesh += np.bincount(index, weight, size**dimension)
    return mesh


def spectrum(field):
    """The power of a map or grid in rings of width k_F."""
    size, dimension = field.shape[0], field.ndim
    modes = np.abs(np.fft.rfftn(field)) ** 2
    full, half = np.fft.fftfreq(size, 1 / size), np.arange(size // 2 + 1)
    squares = [(full if a < dimension - 1 else half) ** 2 for a in range(dimension)]
    length = np.sqrt(sum(np.ix_(*squares)))
    twice = np.full(modes.shape, 2.0)
    twice[..., 0] = twice[..., -1] = 1.0
    ring = length.astype(np.int64).ravel()
    count = np.bincount(ring, twice.ravel())
    return np.bincount(ring, (twice * modes).ravel())[1:] / count[1:] * (BOX / size**2) ** dimension


def reading():
    """Random batches, single maps and whole files, as far as h5py is installed."""
    random = np.random.default_rng(2)
    for case, name in [("hdf5_contiguous", "contiguous.h5"), ("hdf5_gzip", "gzip.h5"), ("npy", "maps.npy")]:
        if not (FILES / name).exists():
            print(f"{FILES / name} is missing: run `cargo bench --bench data` first")
            continue
        if case == "npy":
            peer, maps = "np.memmap", np.load(FILES / name, mmap_mode="r")
        else:
            import h5py

            peer, maps = "h5py", h5py.File(FILES / name)["maps"]
        batches = [random.integers(0, len(maps), BATCH) for _ in range(BATCHES)]

        def one_by_one(maps=maps, batches=batches):
            for batch in batches:
                out = np.empty((BATCH, *maps.shape[1:]), maps.dtype)
                for row, i in zip(out, batch):
                    row[...] = maps[i]

        def at_once(maps=maps, batches=batches):
            for batch in batches:
                picks, back = np.unique(batch, return_inverse=True)
                maps[picks][back]

        def single(maps=maps, batches=batches):
            for i in np.concatenate(batches):
                np.array(maps[i])

        faster = min(one_by_one, at_once, key=lambda run: least(run, 0))
        yield f"{case}_batches", peer, faster
        yield f"{case}_single", peer, single
        yield f"{case}_whole", peer, lambda maps=maps: np.array(maps[:])


def cases():
    """(case, peer, what it runs) for all that there is to compare."""
    random = np.random.default_rng(1)
    positions = random.random((PARTICLES, 3)) * BOX
    try:
        import MAS_library
        import Pk_library
    except ImportError:
        MAS_library = Pk_library = None
        print("Pylians is not installed")
    for kind, dimension in [("map", 2), ("grid", 3)]:
        part = np.ascontiguousarray(positions[:, :dimension])
        single = part.astype(np.float32)
        for name, order in ORDERS.items():
            case = f"{kind}_256_{name}"
            # Four to the third power nodes take NumPy minutes, and say nothing new.
            if order**dimension <= 27:
                yield case, "np.add.at", lambda p=part, o=order: deposit(p, 256, o, True)
                yield case, "np.bincount", lambda p=part, o=order: deposit(p, 256, o, False)
            if MAS_library:

                def pylians(single=single, dimension=dimension, name=name):
                    mesh = np.zeros((256,) * dimension, dtype=np.float32)
                    MAS_library.MA(single, mesh, BOX, name.upper(), verbose=False)

                yield case, "Pylians", pylians
    maps = random.random((100, 256, 256))
    yield "spectra_100_maps_256", "np.fft", lambda: [spectrum(field) for field in maps]
    if Pk_library:
        singles = maps.astype(np.float32)
        yield "spectra_100_maps_256", "Pylians", lambda: [
            Pk_library.Pk_plane(field, BOX, "None", 1, verbose=False) for field in singles
        ]
    for size in [128, 256]:
        grid = random.random((size, size, size))
        yield f"spectrum_grid_{size}", "np.fft", lambda grid=grid: spectrum(grid)
        if Pk_library:
            yield f"spectrum_grid_{size}", "Pylians", lambda grid=grid: Pk_library.Pk(
                grid.astype(np.float32), BOX, 0, "None", 1, verbose=False
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2, help="of repeats for each case (%(default)s)")
    options = parser.parse_args()
    ours = {}
    if OURS.exists():
        ours = {line["case"]: line for line in map(json.loads, OURS.read_text().splitlines()) if line}
    print(f"{'case':<26}{'peer':<14}{'seconds':>10}{'ours':>10}{'ratio':>8}")
    for case, peer, run in itertools.chain(reading(), cases()):
        theirs = least(run, options.seconds)
        mine = ours.get(case, {}).get("seconds")
        ending = f"{mine:>10.4f}{theirs / mine:>8.1f}" if mine else f"{'–':>10}{'–':>8}"
        print(f"{case:<26}{peer:<14}{theirs:>10.4f}{ending}", flush=True)


if __name__ == "__main__":
    main()
