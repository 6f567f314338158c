"""How well the gradient checker checks, and what it costs.

  python benchmarks/gradcheck.py cost                 time of the check by directions, in passes
  python benchmarks/gradcheck.py bugs --seeds 20      every bug of the catalogue, at 20 seeds
  python benchmarks/gradcheck.py alarms --seeds 200   correct code, at 200 seeds: false alarms

``bugs`` and ``alarms`` use all cores. ``alarms`` takes every method with ``--method all``.
"""

from __future__ import annotations

import argparse
import collections
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: one process a core is enough

import numpy as np

from numpy_transformer.gradcheck import METHODS, Call, check, lines, matrix, points, projections
from numpy_transformer.gradcheck.bugs import BUGS
from numpy_transformer.gradcheck.checker import DIRECTIONS
from numpy_transformer.models import encoder_decoder, encoder_decoder_loss


def cost(repeats: int = 5) -> None:
    """Print the time of one direction through a model of the size of the dates' in passes."""
    rng = np.random.default_rng(0)
    config = encoder_decoder.preset("tiny", source_vocab=64, target_vocab=64, dtype="float64")
    params = encoder_decoder.init(rng, config)
    source, target = rng.integers(1, 64, (16, 24)), rng.integers(1, 64, (16, 13))
    call = Call(encoder_decoder_loss, (source, target, params, config), {}, "encoder_decoder_loss")
    dy = np.array(1.0)
    gradients = call.gradients(dy, call.forward()[1])
    towards = projections.direction(call, call.leaves, rng)
    # A bias of the keys adds the same to all scores of a query, and softmax takes it out again.
    zero = [f"d{leaf}" for leaf in call.leaves if leaf.endswith("key.bias")]
    passes, directions, wholes = [], [], []
    for _ in range(repeats):
        start = time.perf_counter()
        call.gradients(dy, call.forward()[1])
        passes.append(time.perf_counter() - start)
        start = time.perf_counter()
        projections.project(call, gradients, dy, towards, lines.step_size(call), 1e-6, 1e-9)
        directions.append(time.perf_counter() - start)
        start = time.perf_counter()
        check(call, "direction", zero=zero).raise_if_wrong()
        wholes.append(time.perf_counter() - start)
    one = statistics.median(passes)
    count = sum(array.size for array in call.leaves.values())
    print(f"encoder_decoder_loss, {count} parameters, batch 16, {repeats} repeats, medians:")
    print(f"  one forward and backward pass  1.0 ({one * 1e3:.0f} ms)")
    print(f"  one direction                  {statistics.median(directions) / one:.1f}")
    whole = statistics.median(wholes) / one
    print(f"  the whole check                {whole:.1f}, with {DIRECTIONS} directions")
    print(f"  of it a direction              {whole / DIRECTIONS:.1f}")


def bugs(seeds: int) -> int:
    """Check every bug at every seed by the default method; print what was missed."""
    start = time.monotonic()
    visible = [name for name, bug in BUGS.items() if not bug.invisible]
    missed: collections.Counter = collections.Counter()
    with ProcessPoolExecutor() as pool:
        tasks = [(name, seed) for name in BUGS for seed in range(seeds)]
        for (name, seed), found in zip(tasks, pool.map(_found, tasks, chunksize=seeds)):
            if found == bool(BUGS[name].invisible):
                missed[name] += 1
                print(f"{name}, seed {seed}: {'an alarm' if found else 'missed'}", flush=True)
    caught = sum(seeds - missed[name] for name in visible)
    print(
        f"{len(visible)} bugs at {seeds} seeds: found {caught} of {len(visible) * seeds}; "
        f"{len(BUGS) - len(visible)} that no gradient shows: "
        f"{sum(missed[name] for name in BUGS if BUGS[name].invisible)} alarms; "
        f"{time.monotonic() - start:.0f} s"
    )
    return 1 if missed else 0


def _found(task: tuple[str, int]) -> bool:
    name, seed = task
    return not matrix.report(BUGS[name], seed).ok


def alarms(seeds: int, methods: tuple[str, ...]) -> int:
    """Check correct code at every point and seed; print every alarm."""
    status = 0
    for method in methods:
        start, count, worst = time.monotonic(), 0, 0.0
        tasks = [(name, seed, method) for seed in range(seeds) for name in points.POINTS]
        with ProcessPoolExecutor() as pool:
            chunks = pool.map(_checked, tasks, chunksize=len(points.POINTS))
            for (name, seed, _), (line, relative) in zip(tasks, chunks):
                worst = max(worst, relative)
                if line:
                    count += 1
                    print(f"seed {seed}: {line}", flush=True)
        print(
            f"{method}: {len(tasks)} checks of correct code ({len(points.POINTS)} points, {seeds} "
            f"seeds), {count} false alarms; largest relative error {worst:.1e}; "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )
        status = status or int(count > 0)
    return status


def _checked(task: tuple[str, int, str]) -> tuple[str, float]:
    name, seed, method = task
    call, point = matrix.call_at(name, seed)
    report = check(call, method, seed, zero=point.zero)
    return ("" if report.ok else report.line()), report.relative


def main() -> int:
    """Run one of the three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("cost", "bugs", "alarms"), help="what to measure")
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0, 1, ... (%(default)s)")
    parser.add_argument(
        "--method", choices=(*METHODS, "all"), default="combined", help="for alarms (%(default)s)"
    )
    options = parser.parse_args()
    if options.what == "bugs":
        return bugs(options.seeds)
    if options.what == "alarms":
        return alarms(options.seeds, METHODS if options.method == "all" else (options.method,))
    cost()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
