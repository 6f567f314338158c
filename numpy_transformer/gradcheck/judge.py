"""From what was measured to a verdict: one line of the report for each gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from numpy_transformer.gradcheck import entries, lines
from numpy_transformer.gradcheck.diagnosis import Surroundings, arrays_in, diagnose
from numpy_transformer.gradcheck.face import Call
from numpy_transformer.gradcheck.projections import Projection, Remainder
from numpy_transformer.gradcheck.report import Gradient

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

# Relative errors that are allowed. The complex step is exact but for rounding in ``forward``.
TOLERANCE = {FLOAT64: 1e-6, FLOAT32: 2e-2}
EXACT = {FLOAT64: 1e-9, FLOAT32: 1e-3}

# Entries smaller than this share of the largest entry of the same gradient are measured against
# that share: their own last digits are rounding.
SMALL = {FLOAT64: 1e-3, FLOAT32: 1e-1}

# A gradient whose largest entry is below this share of the operation's largest is zero.
ZERO = {FLOAT64: 1e-12, FLOAT32: 1e-6}

# A gradient of the wrong shape is measured, to say what it is, if it has no more entries than this.
_FEW = 2_000


@dataclass
class Judge:
    """What all verdicts of one check have in common."""

    call: Call
    point: Call  # the same in float64, to be measured
    dy: np.ndarray
    y: np.ndarray
    cache: Any
    analytic: Mapping[str, np.ndarray | None]  # what backward returned
    tolerance: float  # for differences
    exact: float  # for the complex step
    step: float
    zero: frozenset[str]  # gradients that are zero for a good reason

    def unusable(self, leaf: str) -> Gradient | None:
        """The verdict on what cannot be compared: nothing, another shape, or not finite."""
        array, gradient = self.call.leaves[leaf], self.analytic[leaf]
        if gradient is None:
            return self._wrong(leaf, "backward returned nothing for it")
        if gradient.shape != array.shape:
            reason = f"it is {gradient.shape}, but its argument is {array.shape}"
            kind = sentence = ""
            if array.size <= _FEW:
                numeric = entries.measure(
                    self.point, leaf, self.dy, entries.shorter_and_shorter(self.step)
                )
                kind, sentence = diagnose(gradient, numeric, self._around({}), self.tolerance)
            elif gradient.shape == array.T.shape:
                kind, sentence = "transpose", "that is the shape of the transpose"
            return self._wrong(leaf, reason + (f"; {sentence}" if sentence else ""), kind)
        bad = np.argwhere(~np.isfinite(gradient))
        if len(bad):
            index = tuple(map(int, bad[0]))
            more = f" and is not finite at {len(bad) - 1} other places" if len(bad) > 1 else ""
            reason = f"backward says {gradient[index]} at {list(index)}{more}"
            return self._wrong(leaf, reason, "", index, float(gradient[index]))
        return None

    def unmeasured(self, leaf: str) -> Gradient:
        """The verdict where ``forward`` gives nothing to measure."""
        return self._wrong(leaf, "not compared, as the output is not finite")

    def compare(
        self, measured: Mapping[str, np.ndarray], exact: Mapping[str, bool]
    ) -> list[Gradient]:
        """Hold what was measured against what ``backward`` says, entry by entry.

        NaN stands where nothing was measured; ``exact`` says what the complex step measured.
        """
        return [self._entries(leaf, measured, exact[leaf]) for leaf in measured]

    def _entries(self, leaf, measured, exact) -> Gradient:
        analytic, dtype = self.analytic[leaf], self.call.dtype
        tolerance = self.exact if exact else self.tolerance
        complete = not np.isnan(measured[leaf]).any()
        numeric = measured[leaf] if complete else np.where(
            np.isnan(measured[leaf]), analytic, measured[leaf]
        )
        noise, zero = self._noise(leaf, exact), self._zero_below(leaf)
        peaks = np.abs(analytic).max(initial=0), np.abs(numeric).max(initial=0)
        is_zero = peaks[0] <= zero and peaks[1] <= max(zero, noise)

        def errors(numeric):
            size = np.maximum(np.abs(analytic), np.abs(numeric))
            scale = np.maximum(size, max(SMALL[dtype] * max(peaks), noise / tolerance))
            scale = np.full_like(scale, zero / ZERO[dtype] or 1.0) if is_zero else scale
            absolute = np.abs(analytic - numeric)
            with np.errstate(invalid="ignore"):  # where nothing can be measured
                return absolute, absolute / np.where(scale, scale, 1.0)

        absolute, relative = errors(numeric)
        kinks, broken = 0, ""
        if not (relative <= tolerance).all():
            bad = ~(relative <= tolerance)
            settled = entries.settle(
                self.point, leaf, self.dy, analytic, numeric, bad, self.step, exact
            )
            numeric, kinks = settled.numeric, int(settled.kinks.sum())
            absolute, relative = errors(numeric)
            broken = self._broken(settled) if settled.broken.any() else ""
        bad = ~(relative <= tolerance)
        relative = np.where(np.isnan(relative), np.inf, relative)
        where = None
        if bad.size:
            where = tuple(map(int, np.unravel_index(np.argmax(relative), relative.shape)))
        values = (float(analytic[where]), float(numeric[where])) if bad.size else (0.0, 0.0)
        verdict, reason, kind, ok = "right", "", "", True
        if analytic.dtype != dtype:
            verdict, reason, ok = "wrong", self._other_dtype(analytic), False
        elif bad.any():
            verdict, ok = "wrong", False
            if not np.isfinite(numeric).all():
                place = np.argwhere(~np.isfinite(numeric))[0].tolist()
                reason = f"it cannot be measured at {place}: forward is not finite beside the point"
            elif complete:
                others = {n: m for n, m in measured.items() if n != leaf and not np.isnan(m).any()}
                kind, reason = diagnose(analytic, numeric, self._around(others), tolerance)
            looked = bad.size if complete else int((~np.isnan(measured[leaf])).sum())
            share = "everywhere" if bad.all() else f"at {int(bad.sum())} of {looked} entries"
            reason = reason or (
                f"wrong {share}; at {list(where)} backward says {values[0]:.6g}, forward "
                f"{values[1]:.6g}"
            )
        elif broken:
            verdict, reason = settled.kind, broken
        elif is_zero and bad.size:
            verdict, ok = "zero", f"d{leaf}" in self.zero
            reason = "" if ok else _vacuous(analytic)
        return Gradient(
            f"d{leaf}",
            analytic.shape,
            float(relative.max(initial=0)),
            float(absolute.max(initial=0)),
            where,
            *values,
            _share_of_zeros(analytic),
            verdict,
            reason,
            ok,
            kind,
            kinks,
        )

    def _noise(self, leaf, exact) -> float:
        """The rounding in an entry that is measured: smaller errors than this mean nothing.

        That of ``backward`` and, where they were used, that of differences.
        """
        size = lines.size(self.point.leaves[leaf])
        noise = 64 * np.finfo(self.call.dtype).eps * self.largest / size
        if not exact:
            noise += 8 * np.finfo(self.point.dtype).eps * self.total / (self.step * size)
        return float(noise)

    def _zero_below(self, leaf) -> float:
        """What counts as zero: next to nothing of what the other gradients do to the output."""
        return ZERO[self.call.dtype] * self.largest / lines.size(self.point.leaves[leaf])

    @cached_property
    def total(self) -> float:
        """The size of ``sum(dy * y)``, of which everything is the derivative."""
        return float(np.abs(self.dy * self.y).sum())

    @cached_property
    def largest(self) -> float:
        """The most that any entry does: the largest of all gradients, in units of the output."""
        found = [self.total]
        for leaf, gradient in self.analytic.items():
            if gradient is not None and np.isfinite(gradient).all():
                size = lines.size(self.point.leaves[leaf])
                found.append(float(np.abs(gradient).max(initial=0)) * size)
        return max(found)

    def _broken(self, settled: entries.Entries) -> str:
        count, index = int(settled.broken.sum()), np.argwhere(settled.broken)[0]
        place = f"for {count} of {settled.broken.size} entries, the first at {index.tolist()}"
        if settled.kind == "jump":
            return f"forward jumps at the point {place}, so there is no derivative"
        return (
            f"forward has a kink at the point {place}: there is no derivative there, and "
            "backward's value lies between those of the two sides"
        )

    def projected(self, leaf: str, found: Projection) -> Gradient:
        """The verdict by the derivative along a direction."""
        reason = (
            f"along a random direction backward says {found.analytic:.6g}, forward "
            f"{found.numeric:.6g}"
        )
        return self._summary(leaf, found, found.ok, reason, None)

    def expanded(self, leaf: str, found: Remainder) -> Gradient:
        """The verdict by the order of Taylor's remainder."""
        reason = f"along a random direction Taylor's remainder is {found.say()}, not 2"
        return self._summary(leaf, found, found.ok, reason, found.order)

    def _summary(self, leaf, found, ok, reason, order) -> Gradient:
        """A line about a gradient of which only a projection is known."""
        analytic = self.analytic[leaf]
        negligible = np.abs(analytic).max(initial=0) <= self._zero_below(leaf)
        is_zero = negligible and (ok or abs(found.numeric) <= self.tolerance * self.largest)
        absolute = abs(found.analytic - found.numeric)
        relative = absolute / (self.largest or 1.0) if is_zero else found.relative
        kind = ""
        if analytic.dtype != self.call.dtype:
            verdict, reason, ok = "wrong", self._other_dtype(analytic), False
        elif found.broken:
            verdict, ok = found.broken, True
            reason = f"forward has a {found.broken} at the point, so there is no derivative"
        elif is_zero and analytic.size:
            verdict, ok = "zero", f"d{leaf}" in self.zero
            reason = "" if ok else _vacuous(analytic)
        elif not ok:
            verdict = "wrong"
            if not analytic.any():
                kind, reason = "zero", "it is zero throughout"
        else:
            verdict, reason = "right", ""
        return Gradient(
            f"d{leaf}",
            analytic.shape,
            relative,
            absolute,
            None,
            found.analytic,
            found.numeric,
            _share_of_zeros(analytic),
            verdict,
            reason,
            ok,
            kind,
            found.kinks,
            order,
        )

    def _other_dtype(self, analytic) -> str:
        return f"it is {analytic.dtype}, but its argument is {self.call.dtype}"

    def _wrong(self, leaf, reason, kind="", where=None, analytic=np.nan) -> Gradient:
        shape = self.call.leaves[leaf].shape
        return Gradient(
            f"d{leaf}", shape, np.inf, np.inf, where, analytic, np.nan, 0.0, "wrong", reason,
            False, kind,
        )  # fmt: skip

    def _around(self, others) -> Surroundings:
        """What a mistake may have to do with: extents, settings, arguments, the cache."""
        arrays = dict(self.call.leaves) | dict(arrays_in(self.cache, "cache")) | {"y": self.y}
        return Surroundings(self.dy, arrays, others, dict(_numbers(self.call, self.y)))


def _numbers(call: Call, y: np.ndarray) -> Iterator[tuple[str, float]]:
    """Extents and settings that a forgotten factor may be made of."""
    arguments = call.arguments
    shapes = {name: arg.shape for name, arg in arguments.items() if isinstance(arg, np.ndarray)}
    shapes |= {leaf: array.shape for leaf, array in call.leaves.items()} | {"y": y.shape}
    settings = {
        name: value
        for name, value in arguments.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    for name, shape in shapes.items():
        yield from ((f"{name}.shape[{axis}]", extent) for axis, extent in enumerate(shape))
    for name, shape in shapes.items():
        if len(shape) > 1:
            yield f"the number of rows of {name}", int(np.prod(shape[:-1]))
            yield f"{name}.size", int(np.prod(shape))
    yield from ((name, float(value)) for name, value in settings.items())
    for setting, value in settings.items():
        for name, shape in shapes.items():
            if shape and isinstance(value, int) and value > 1 and shape[-1] % value == 0:
                yield f"{name}.shape[-1] / {setting}", shape[-1] // value
    yield "", 2


def _vacuous(gradient: np.ndarray) -> str:
    what = "every entry is 0" if not gradient.any() else "all of it is rounding"
    return f"{what}, so nothing was shown: a vacuous gradient"


def _share_of_zeros(array: np.ndarray) -> float:
    return float(np.mean(array == 0)) if array.size else 0.0
