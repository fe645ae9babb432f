"""Read the files of `cargo bench --bench data` with h5py and NumPy, and print the ratios.

    data-venv/bin/pip install h5py numpy
    cargo bench --bench data                  # writes the files and data_ours.jsonl
    data-venv/bin/python benches/peers/data.py

Let nothing else run meanwhile. One function for each table, as in `benches/data.rs`. Every time is the least of seven, after
one that warms up; files are in the system's cache. Ratios are their time over ours: above 1, ours is faster.

- `batches`: 16 batches of 32 random maps. h5py reads each map on its own or the sorted batch at once, whichever is
  faster; NumPy indexes a memory map.
- `single`: the same maps one by one.
- `whole`: all maps into memory.
"""

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

OURS = Path(__file__).with_name("data_ours.jsonl")
FILES = Path(__file__).parents[2] / "target" / "bench-data"
BATCHES, BATCH = 16, 32


def least(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(7):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


def read() -> dict[tuple[str, str, str], float]:
    import h5py

    random = np.random.default_rng(2)
    seconds = {}
    for case, name in [("hdf5_contiguous", "contiguous.h5"), ("hdf5_gzip", "gzip.h5"), ("npy", "maps.npy")]:
        maps = np.load(FILES / name, mmap_mode="r") if case == "npy" else h5py.File(FILES / name)["maps"]
        batches = [random.integers(0, len(maps), BATCH) for _ in range(BATCHES)]

        def one_by_one():
            for batch in batches:
                out = np.empty((BATCH, *maps.shape[1:]), maps.dtype)
                for row, i in zip(out, batch):
                    row[...] = maps[i]

        def at_once():
            for batch in batches:
                if case == "npy":
                    maps[batch]
                else:
                    picks, back = np.unique(batch, return_inverse=True)
                    maps[picks][back]

        def single():
            for i in np.concatenate(batches):
                np.array(maps[i])

        seconds["read", case, "batches"] = min(least(one_by_one), least(at_once))
        seconds["read", case, "single"] = least(single)
        seconds["read", case, "whole"] = least(lambda: np.array(maps[:]))
    return seconds


TABLES = {"read": read}


def main() -> None:
    ours = [json.loads(line) for line in OURS.read_text().splitlines()]
    for table, run in TABLES.items():
        rows = [row for row in ours if row["table"] == table]
        if not rows:
            continue
        theirs = run()
        print(f"{table:<20}{'pass':>12}{'ours (s)':>12}{'theirs (s)':>12}{'ratio':>10}")
        for row in rows:
            seconds = theirs.get((table, row["case"], row["pass"]))
            if seconds is None:
                continue
            print(
                f"{row['case']:<20}{row['pass']:>12}{row['seconds']:>12.4f}{seconds:>12.4f}"
                f"{seconds / row['seconds']:>10.2f}"
            )


if __name__ == "__main__":
    main()
