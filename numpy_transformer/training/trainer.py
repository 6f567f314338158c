"""The training loop.

A step is always the same: a batch, the loss, its gradient, clipping, Adam::

    loss, cache = loss_module.forward(*batch, params, config, rng)
    dparams     = loss_module.backward(1.0, cache)

The loop knows the face of the loss module and not what it computes. Everything that the next step
depends on is in ``State`` and goes into the checkpoint, so a run that was stopped anywhere and
taken up again ends with the same weights, bit for bit, as one that was not.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.parameters import Tree
from numpy_transformer.training import checkpoint, schedules
from numpy_transformer.training.checkpoint import Checkpoint, CheckpointError
from numpy_transformer.training.optimizers import adamw, clip_by_global_norm
from numpy_transformer.training.progress import Progress, duration

LOG_EVERY = 50  # steps between two lines in metrics.jsonl


class NotFinite(ArithmeticError):
    """A loss or a gradient is infinite or NaN; the message says where and what to do."""


@dataclass(frozen=True)
class Settings:
    """The settings of training; checked when made."""

    steps: int  # in all
    lr: float = 1e-3  # the largest learning rate
    schedule: str = "cosine"  # "constant", "inverse-square-root" or "cosine"
    warmup: int = 100  # steps until the learning rate is largest
    beta2: float = 0.98  # Adam's memory of squares, as in the paper; beta1 is 0.9
    weight_decay: float = 0.0  # AdamW's, on everything but biases and norms
    clip: float = 1.0  # the largest global norm of a gradient; 0 switches clipping off
    # Padded tokens in a batch, source and target together; for a classifier of texts, examples.
    batch_tokens: int = 2048
    evaluate_every: int = 500  # steps between evaluations, each with a checkpoint
    seed: int = 0  # of initial weights, order of the data and dropout

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("steps", "warmup", "batch_tokens", "evaluate_every"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("weight_decay", "clip", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 0")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}, expected above 0")
        if not self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}, expected a finite number")
        if not 0 <= self.beta2 < 1:
            raise ValueError(f"beta2 is {self.beta2}, expected at least 0 and below 1")
        schedules.make(self.schedule, self.lr, self.warmup, self.steps)


class State:
    """What changes from step to step."""

    def __init__(self, params: Tree, settings: Settings) -> None:
        """The state before the first step; ``params`` are copied into one flat vector."""
        self.weights, self.params = parameters.pack(params)
        self.adam = adamw(params, settings.weight_decay, betas=(0.9, settings.beta2))
        self.rng = np.random.default_rng([settings.seed, 1])  # dropout; 0 was for the weights
        self.step = 0
        self.epoch = 0
        self.index = 0  # of the next batch in the epoch
        self.seconds = 0.0  # of training, evaluation included
        self.best: dict[str, Any] | None = None  # the best evaluation so far

    def to_checkpoint(self, settings: dict, vocabularies: dict) -> Checkpoint:
        """All of it, as a checkpoint holds it."""
        names = ("step", "epoch", "index", "seconds", "best")
        state = {name: getattr(self, name) for name in names}
        state["random"] = self.rng.bit_generator.state
        state["adam_steps"] = self.adam.steps
        optimizer = {"m": self.adam.m, "v": self.adam.v}
        weights = dict(parameters.items(self.params))
        return Checkpoint(weights, optimizer, state, settings, vocabularies)

    def restore(self, saved: Checkpoint) -> None:
        """Go back to a checkpoint; ``CheckpointError`` when it does not fit."""
        try:
            restore_weights(self.params, saved)
            self.adam.m[...], self.adam.v[...] = saved.optimizer["m"], saved.optimizer["v"]
            self.adam.steps = saved.state["adam_steps"]
            self.rng.bit_generator.state = saved.state["random"]
            for name in ("step", "epoch", "index", "seconds", "best"):
                setattr(self, name, saved.state[name])
            if not all(isinstance(n, int) for n in (self.step, self.epoch, self.index)):
                raise TypeError("step, epoch and index must be whole numbers")
            best = {} if self.best is None else self.best
            if not all(isinstance(n, (int, float)) for n in (self.seconds, *best.values())):
                raise TypeError("seconds and the best results must be numbers")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit: {error}") from error


def restore_weights(params: Tree, saved: Checkpoint) -> None:
    """Copy the weights of a checkpoint into ``params``."""
    loaded = parameters.from_items(saved.weights, like=params)
    for (_, array), (_, values) in zip(parameters.items(params), parameters.items(loaded)):
        array[...] = values


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how it is judged."""

    loss: ModuleType  # forward(*batch, params, config, rng), backward(dloss, cache)
    config: Any  # the settings of the model
    batches: Any  # count(epoch) batches in an epoch, at(epoch, index) one, tokens(batch) in it
    evaluate: Callable[[Tree], dict[str, float]]  # of the held-out part
    better: Callable[[dict, dict], bool]  # whether the first evaluation beats the second
    describe: dict[str, Any]  # all settings, kept in the checkpoint
    vocabularies: dict[str, Any]  # kept in the checkpoint
    sample: Callable[[Tree], str] = lambda params: ""  # shown at each evaluation
    scales: np.ndarray | None = None  # of the learning rate, for each weight; 0 freezes it


def train(state: State, task: Task, settings: Settings, run: Path, progress: Progress) -> bool:
    """Train from ``state`` to the last step; return whether it was reached.

    Ctrl-C ends the run after the step that is under way, with a checkpoint; a second Ctrl-C ends
    it at once. Raises ``NotFinite`` when the loss or a gradient is infinite or NaN; the last
    checkpoint stays as it is.
    """
    schedule = schedules.make(settings.schedule, settings.lr, settings.warmup, settings.steps)
    gradient = np.empty_like(state.weights)
    meter = _Meter(state, settings.steps)

    def save(best: bool) -> None:
        state.seconds = meter.seconds()
        saved = state.to_checkpoint(task.describe, task.vocabularies)
        checkpoint.save(run, saved, best)

    if state.step == 0:
        save(best=True)  # so that a run can be taken up again from its first moment
    with _ctrl_c(progress) as interrupted:
        while state.step < settings.steps:
            batch = _next_batch(state, task.batches)
            lr = schedule(state.step + 1)
            loss, norm = _step(state, task, batch, gradient, lr, settings.clip)
            meter.add(loss, task.batches.tokens(batch))
            last = state.step == settings.steps
            evaluating = last or state.step % settings.evaluate_every == 0
            if evaluating or state.step % LOG_EVERY == 0:
                values = {"lr": lr, "gradient_norm": norm} | meter.read()
                _log(run, state, meter.seconds(), values)
            if evaluating or progress.due():
                progress.status(meter.line(state.step, loss, lr))
            if evaluating:
                result = _evaluate(state, task)
                best = state.best is None or task.better(result, state.best)
                state.best = result if best else state.best
                _log(run, state, meter.seconds(), result)
                parts = "  ".join(f"{name.replace('_', ' ')} {v:.4f}" for name, v in result.items())
                mark = "  (best)" if best else ""
                progress.message(f"step {state.step:,}: held out: {parts}{mark}")
                save(best)
                if sample := task.sample(state.params):
                    progress.message(sample)
                meter.restart()
            if interrupted() and not last:
                save(best=state.best is None)  # until one is judged, the last is the best
                return False
    return True


def _evaluate(state: State, task: Task) -> dict[str, float]:
    """Judge the weights; refuse those that are not finite, so that they are never saved."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = task.evaluate(state.params)
    bad = {name: value for name, value in result.items() if not np.isfinite(value)}
    if bad or not np.isfinite(state.weights).all():
        what, value = next(iter(bad.items()), ("a weight", float("nan")))
        raise NotFinite(_not_finite(state, f"of the held-out part, {what}", value, state.params))
    return result


class _Meter:
    """Time, speed and mean loss."""

    def __init__(self, state: State, steps: int) -> None:
        self.first_step, self.steps = state.step, steps
        self.seconds_before = state.seconds
        self.start = time.monotonic()
        self.losses: list[float] = []  # since the last reading
        self.restart()

    def restart(self) -> None:
        """Begin to measure the speed anew, so that an evaluation does not count."""
        self.since, self.tokens = time.monotonic(), 0

    def add(self, loss: float, tokens: int) -> None:
        """Count a step, and the tokens in its batch."""
        self.losses.append(loss)
        self.tokens += tokens

    def seconds(self) -> float:
        """Of training, evaluation and earlier sessions included."""
        return self.seconds_before + time.monotonic() - self.start

    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / max(time.monotonic() - self.since, 1e-9)

    def read(self) -> dict[str, float]:
        """The mean loss since the last reading, and the speed."""
        mean = float(np.mean(self.losses))
        self.losses.clear()
        return {"loss": mean, "tokens_per_second": round(self.speed(), 1)}

    def line(self, step: int, loss: float, lr: float) -> str:
        """Where things stand, in one line."""
        elapsed = time.monotonic() - self.start
        left = elapsed / (step - self.first_step) * (self.steps - step)
        return (
            f"step {step:,}/{self.steps:,}  loss {loss:.4f}  lr {lr:.2e}  "
            f"{self.speed():,.0f} tokens/s  {duration(left)} left"
        )


def _step(state, task, batch, gradient, lr, clip) -> tuple[float, float]:
    """One step; return the loss and the norm of the gradient before clipping."""
    # What overflows is noticed here, with its name, and not by a warning from within.
    with np.errstate(over="ignore", invalid="ignore"):
        loss, cache = task.loss.forward(*batch, state.params, task.config, state.rng)
        dparams = task.loss.backward(1.0, cache)
        if not np.isfinite(loss):
            raise NotFinite(_not_finite(state, "the loss", float(loss), state.params, dparams))
        parameters.gather(dparams, out=gradient, like=state.params)
        if task.scales is not None:
            gradient *= task.scales > 0  # what is frozen has no part in the norm
        norm = clip_by_global_norm(gradient, clip or float("inf"))
    if not np.isfinite(norm):
        raise NotFinite(_not_finite(state, "the gradient's norm", norm, {}, dparams))
    state.adam.step(state.weights, gradient, lr, task.scales)
    state.step += 1
    return float(loss), norm


def _not_finite(state: State, what: str, value: float, params: Tree, dparams: Tree = {}) -> str:
    """Say what is not finite, and the first parameter or gradient where it shows."""
    found = [
        f"the first {kind} that is not finite is that of {name}"
        for kind, tree in (("value", params), ("gradient", dparams))
        for name, array in parameters.items(tree)
        if not np.isfinite(array).all()
    ]
    where = found[0] if found else "every single number is still finite"
    return (
        f"{what} is {value} at step {state.step + 1}: {where}. "
        "The last checkpoint is as it was; try a smaller learning rate or a longer warm-up."
    )


def _next_batch(state: State, batches: Any) -> tuple[np.ndarray, ...]:
    """The batch at the state's position in the data, and the position moved on by one."""
    if state.index >= batches.count(state.epoch):
        state.epoch, state.index = state.epoch + 1, 0
    batch = batches.at(state.epoch, state.index)
    state.index += 1
    return batch


def _log(run: Path, state: State, seconds: float, values: dict[str, Any]) -> None:
    line = {"step": state.step, "epoch": state.epoch, "seconds": round(seconds, 3)} | values
    checkpoint.append_metrics(run, line)


@contextmanager
def _ctrl_c(progress: Progress) -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C instead of stopping in the middle of a step."""
    noted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    # Whoever started the process with Ctrl-C ignored wants it ignored.
    if threading.current_thread() is not threading.main_thread() or before == signal.SIG_IGN:
        yield noted.is_set
        return

    def note(signum, frame):
        noted.set()
        signal.signal(signal.SIGINT, before)
        progress.message("stopping after this step; Ctrl-C again stops at once")

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
        progress.close()
