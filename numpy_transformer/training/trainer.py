"""The training loop.

A step is always the same: a batch, the loss, its gradient, clipping, Adam::

    loss, cache = loss_module.forward(*batch, params, config, rng)
    dparams     = loss_module.backward(1.0, cache)

The loop knows the face of the loss module and not what it computes. Everything that the next step
depends on is in ``State`` and goes into the checkpoint, so a run that was stopped anywhere and
taken up again ends with the same weights, bit for bit, as one that was not.
"""

from __future__ import annotations

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
    batch_tokens: int = 2048  # padded tokens in a batch, source and target together
    evaluate_every: int = 500  # steps between evaluations, each with a checkpoint
    seed: int = 0  # of initial weights, order of the data and dropout

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("steps", "warmup", "batch_tokens", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("weight_decay", "clip", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 0")
        if not self.lr > 0:
            raise ValueError(f"lr is {self.lr}, expected above 0")
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
        except (KeyError, TypeError, ValueError) as error:
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
    batches: Any  # count(epoch) batches in an epoch, at(epoch, index) one of them
    evaluate: Callable[[Tree], dict[str, float]]  # of the held-out part
    better: Callable[[dict, dict], bool]  # whether the first evaluation beats the second
    describe: dict[str, Any]  # all settings, kept in the checkpoint
    vocabularies: dict[str, Any]  # kept in the checkpoint


def train(state: State, task: Task, settings: Settings, run: Path, progress: Progress) -> bool:
    """Train from ``state`` to the last step; return whether it was reached.

    Ctrl-C ends the run after the step that is under way, with a checkpoint; a second Ctrl-C ends
    it at once. Raises ``NotFinite`` when the loss or a gradient is infinite or NaN; the last
    checkpoint stays as it is.
    """
    schedule = schedules.make(settings.schedule, settings.lr, settings.warmup, settings.steps)
    gradient = np.empty_like(state.weights)
    start, start_step, seconds_before = time.monotonic(), state.step, state.seconds
    tokens, tokens_since = 0, start
    losses: list[float] = []

    def clock() -> float:
        state.seconds = seconds_before + time.monotonic() - start
        return state.seconds

    def save(best: bool) -> None:
        clock()
        saved = state.to_checkpoint(task.describe, task.vocabularies)
        checkpoint.save(run, saved, best)

    with _ctrl_c() as interrupted:
        while state.step < settings.steps:
            batch = _next_batch(state, task.batches)
            lr = schedule(state.step + 1)
            loss, norm = _step(state, task, batch, gradient, lr, settings.clip)
            losses.append(loss)
            tokens += sum(np.count_nonzero(ids) for ids in batch)
            last = state.step == settings.steps
            evaluating = state.step % settings.evaluate_every == 0 or last
            logging = evaluating or state.step % LOG_EVERY == 0
            if logging:
                measured = {"loss": float(np.mean(losses)), "lr": lr, "gradient_norm": norm}
                _log(run, state, clock(), measured)
                losses.clear()
            if progress.due() or evaluating:
                now = time.monotonic()
                rate = tokens / max(now - tokens_since, 1e-9)
                tokens, tokens_since = 0, now
                left = (now - start) / (state.step - start_step) * (settings.steps - state.step)
                progress.status(
                    f"step {state.step:,}/{settings.steps:,}  loss {loss:.4f}  "
                    f"lr {lr:.2e}  {rate:,.0f} tokens/s  {duration(left)} left"
                )
            if evaluating:
                result = task.evaluate(state.params)
                best = state.best is None or task.better(result, state.best)
                state.best = result if best else state.best
                _log(run, state, clock(), result)
                parts = "  ".join(f"{name.replace('_', ' ')} {v:.4f}" for name, v in result.items())
                progress.message(f"step {state.step:,}: held out: {parts}{'  (best)' if best else ''}")
                save(best)
                tokens_since = time.monotonic()
            if interrupted() and not last:
                save(best=False)
                return False
    return True


def _step(state, task, batch, gradient, lr, clip) -> tuple[float, float]:
    """One step; return the loss and the norm of the gradient before clipping."""
    # What overflows is noticed here, with its name, and not by a warning from within.
    with np.errstate(over="ignore", invalid="ignore"):
        loss, cache = task.loss.forward(*batch, state.params, task.config, state.rng)
        if not np.isfinite(loss):
            raise NotFinite(_where_not_finite(state, "the loss", float(loss), state.params))
        dparams = task.loss.backward(1.0, cache)
        parameters.gather(dparams, out=gradient)
        norm = clip_by_global_norm(gradient, clip or float("inf"))
    if not np.isfinite(norm):
        raise NotFinite(_where_not_finite(state, "the gradient's norm", norm, dparams))
    state.adam.step(state.weights, gradient, lr)
    state.step += 1
    return float(loss), norm


def _where_not_finite(state: State, what: str, value: float, tree: Tree) -> str:
    kind = "parameter" if tree is state.params else "gradient of"
    first = next(
        (name for name, array in parameters.items(tree) if not np.isfinite(array).all()), None
    )
    where = f"the first {kind} {first}" if first else "every parameter is still finite"
    found = f"{where} holds values that are not" if first else where
    return (
        f"{what} is {value} at step {state.step + 1}: {found}. "
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
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C instead of stopping in the middle of a step."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return

    def note(signum, frame):
        noted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
