"""What pre-training gains: the same classifier from it and from scratch, a part of ``finetune``.

For each number of labels and each seed two models are trained alike: one begins at the pre-trained
encoder, the other at random weights. Both see the same examples in the same order, and are judged
by the same held-out examples, after the last step. The trainings run side by side, each in a
process of its own on one core. What is done is kept in a file, so that a comparison that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import multiprocessing
import os
import shlex
import signal
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer import files
from numpy_transformer.cli import classification, further, labels
from numpy_transformer.models import text_encoder
from numpy_transformer.pipelines.encoder_model import EncoderModel, encoder_of
from numpy_transformer.training.memory import keep_freed_memory
from numpy_transformer.training.progress import Progress, duration
from numpy_transformer.training.trainer import State, train

RESULTS = "comparison.jsonl"
SEEDS = 5
ARMS = ("pre-trained", "from scratch")
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")  # of libraries of NumPy's
_work: tuple = ()  # in a process of its own: what is the same for all its trainings


class Job(NamedTuple):
    """One training."""

    labels: int
    seed: int
    arm: str


def add_options(group: Any) -> None:
    """``--compare``, ``--seeds`` and ``--jobs``."""
    group.add_argument(
        "--compare",
        metavar="N,N,...",
        help="train with N labels, from the pre-trained encoder and from scratch, and show a table",
    )
    group.add_argument(
        "--seeds", type=int, metavar="N", help=f"trainings of each kind for a mean ({SEEDS})"
    )
    group.add_argument(
        "--jobs", type=int, metavar="N", help="trainings at the same time (one on each core)"
    )


def run(options: argparse.Namespace, start: EncoderModel) -> int:
    """Train all, and show the table."""
    jobs = _jobs(options)
    data = labels.from_options(options, seed=0)
    settings = classification.training_settings(options)
    settings = replace(settings, evaluate_every=settings.steps)  # judged once, after the last step
    own = classification.model_settings(options, data)
    classification.under_new_head(start, data, 0, **own)  # refuses what does not fit
    for count in {job.labels for job in jobs}:
        labels.draw(data.train, data.labels, count, seed=0, option="--compare")
    finetuning = further.finetuning(options)
    described = {
        "data": data.description,
        "training": asdict(settings) | {"seed": None},
        "model": own,
        "finetuning": finetuning,
    }
    name = Path(options.data).stem if options.data else "library"
    folder = Path(options.run or Path("runs") / f"{name}-comparison")
    done = _begin(folder, described, options.overwrite)
    left = [job for job in jobs if job not in done]
    progress = Progress()
    progress.message(
        f"{len(data.train):,} examples to draw from, {len(data.held_out):,} held out; "
        f"{len(jobs)} trainings of {settings.steps} steps"
        + (f", of which {len(jobs) - len(left)} are done" if len(left) < len(jobs) else "")
    )
    begun = time.monotonic()
    work = (start, data, settings, own, options.class_weights, finetuning)
    try:
        with _workers(min(options.jobs or os.cpu_count() or 1, max(len(left), 1)), work) as pool:
            for job, result in pool.imap_unordered(_train, left):
                done[job] = result
                _write(folder, described, done)
                progress.message(
                    f"{len(done)} of {len(jobs)}: {job.labels:,} labels, {job.arm}, seed "
                    f"{job.seed}: accuracy {result['accuracy']:.2%}"
                )
    except KeyboardInterrupt:
        print(f"stopped; what is done is kept in {folder}: the same command goes on")
        return 130
    print(f"\n{table(done, jobs)}")
    print(
        f"\naccuracy on {len(data.held_out):,} held-out examples, mean and standard deviation of "
        f"{options.seeds or SEEDS} trainings; in {duration(time.monotonic() - begun)}"
    )
    print(f"each training is in {shlex.quote(str(folder / RESULTS))}")
    return 0


def _jobs(options) -> list[Job]:
    """The trainings that the options ask for."""
    seeds = SEEDS if options.seeds is None else options.seeds
    if seeds < 2:
        raise ValueError(f"--seeds is {seeds}, expected at least 2: of one there is no spread")
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs is {options.jobs}, expected at least 1")
    if options.labels is not None or options.seed is not None:
        raise ValueError("--compare says how many labels, and takes the seeds 0, 1, ...")
    try:
        counts = [int(part) for part in options.compare.split(",")]
    except ValueError:
        raise ValueError(
            f"--compare is {options.compare!r}, expected numbers of labels, such as 50,200,1000"
        ) from None
    counts = list(dict.fromkeys(counts))
    return [Job(count, seed, arm) for count in counts for seed in range(seeds) for arm in ARMS]


@contextmanager
def _workers(count: int, work: tuple):
    """Processes of which each multiplies on one core."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ |= dict.fromkeys(THREADS, "1")  # read when a process begins
    try:
        pool = multiprocessing.get_context("spawn").Pool(count, _prepare, (work,))
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    try:
        yield pool
    finally:
        pool.terminate()
        pool.join()


def _prepare(work: tuple) -> None:
    """Keep what is the same for all trainings of a process; Ctrl-C is for the one that waits."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    _work = work


def _train(job: Job) -> tuple[Job, dict[str, float]]:
    """One training, and how well it does."""
    start, data, settings, own, weights, finetuning = _work
    settings = replace(settings, seed=job.seed)
    train_on = labels.draw(data.train, data.labels, job.labels, job.seed)
    data = data._replace(train=train_on)
    own = own | {"class_weights": classification.class_weights(weights, data)}
    if job.arm != ARMS[0]:
        # Of the seed, 0 is for the head, 1 for dropout and 2 for the draw of the examples.
        rng = np.random.default_rng([job.seed, 3])
        start = start._replace(params=text_encoder.init(rng, encoder_of(start).config))
    model = classification.under_new_head(start, data, job.seed, **own)
    task = classification.make_task(model, data, settings, finetuning)
    state = State(model.params, settings)
    with tempfile.TemporaryDirectory() as folder:
        train(state, task, settings, Path(folder), Progress(io.StringIO()))
    return job, state.best


def _begin(folder: Path, described: dict, overwrite: bool) -> dict[Job, dict[str, float]]:
    """What is done already of the same comparison; refuse a folder that holds another."""
    path = folder / RESULTS
    if path.exists() and not overwrite:
        try:
            first, *others = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            done = {Job(**line["job"]): line["result"] for line in others}
            for result in done.values():
                float(result["accuracy"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged: {error}; replace it (--overwrite) or choose another folder "
                "(--run FOLDER)"
            ) from error
        if first == json.loads(json.dumps(described)):
            return done
        raise ValueError(
            f"{path} is of another comparison; replace it (--overwrite) or choose another folder "
            "(--run FOLDER)"
        )
    if folder.exists() and not path.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is no comparison; choose another with --run")
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, described, {})
    return {}


def _write(folder: Path, described: dict, done: dict[Job, dict[str, float]]) -> None:
    lines = [described, *({"job": job._asdict(), "result": result} for job, result in done.items())]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    files.write_bytes(folder / RESULTS, text.encode())


def table(done: dict[Job, dict[str, float]], jobs: list[Job]) -> str:
    """A line for each number of labels: both means with their deviations, and the gain.

    The standard error is that of the difference of two means, taken as independent.

    >>> jobs = [Job(50, seed, arm) for seed in (0, 1) for arm in ARMS]
    >>> print(table(dict(zip(jobs, [{"accuracy": a} for a in (0.92, 0.7, 0.9, 0.74)])), jobs))
    | labels | pre-trained | from scratch | gain | standard error |
    |---:|---:|---:|---:|---:|
    | 50 | 91.0 % ± 1.4 | 72.0 % ± 2.8 | 19.0 | 2.2 |
    """
    lines = [f"| labels | {ARMS[0]} | {ARMS[1]} | gain | standard error |", "|" + "---:|" * 5]
    for count in dict.fromkeys(job.labels for job in jobs):
        mean, deviation = {}, {}
        for arm in ARMS:
            some = [done[job]["accuracy"] for job in jobs if (job.labels, job.arm) == (count, arm)]
            mean[arm], deviation[arm] = 100 * np.mean(some), 100 * np.std(some, ddof=1)
        error = math.sqrt(sum(d * d for d in deviation.values()) / len(some))
        cells = [f"{mean[arm]:.1f} % ± {deviation[arm]:.1f}" for arm in ARMS]
        gain = mean[ARMS[0]] - mean[ARMS[1]]
        lines.append(f"| {count:,} | {cells[0]} | {cells[1]} | {gain:.1f} | {error:.1f} |")
    return "\n".join(lines)
