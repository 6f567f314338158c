"""The check itself: which methods are used on what, and what follows from what they find."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from numpy_transformer.gradcheck import conduct, entries, lines, projections
from numpy_transformer.gradcheck.face import Call, FaceError, independent
from numpy_transformer.gradcheck.judge import EXACT, TOLERANCE, Judge
from numpy_transformer.gradcheck.report import Gradient, Report, Rule

METHODS = ("combined", "central", "direction", "complex", "taylor")

DIRECTIONS = 6  # of the method ``direction``
ENTRIES = 20_000  # with more entries than these, the combined method looks at directions first
_SOME = 500  # and at so many entries of a gradient that directions found wrong
_FEW = 20  # entries that are looked at where a kink excuses a direction


def gradcheck(
    op: Any,
    *args: Any,
    method: str = "combined",
    rng: np.random.Generator | int = 0,
    step: float | None = None,
    tolerance: float | None = None,
    zero: Collection[str] = (),
    name: str | None = None,
    **settings: Any,
) -> Report:
    """Check the gradients of ``op`` at the point ``args``, and the rules of its face.

    ``op`` is any module, class or object with ``forward`` and ``backward`` of the project's face.
    Float arrays among the arguments, and those in trees of parameters, are differentiated; ids,
    masks, generators and settings are passed on as they are. All float arrays must be float64
    (or all float32: then their derivatives are measured in float64 where ``forward`` follows the
    dtype of its arguments, and the rounding of float32 is allowed for).

    ``method``
        ``"central"`` (central differences on every entry), ``"complex"`` (the complex step on
        every entry), ``"direction"`` (random directions through everything at once), ``"taylor"``
        (the order of Taylor's remainder), or ``"combined"``: the complex step where differences
        confirm that ``forward`` takes complex numbers, central differences elsewhere, on every
        entry, and Taylor's remainder of the whole.
    ``rng``
        Draws the cotangent and the directions: a generator, or a seed. A ``forward`` that has a
        parameter of this name gets a copy of the generator as well.
    ``step``
        Of central differences, relative to the size of each tensor; by default ``2^-13``.
    ``tolerance``
        The largest relative error of a right gradient; by default 1e-6 for differences and 1e-9
        for the complex step (float64). An entry's error is relative to its size, or to a
        thousandth of the largest entry of the same gradient if it is smaller than that.
    ``zero``
        Names of gradients that are zero for a good reason, such as ``"dparams.key.bias"``. Any
        other that is zero throughout has shown nothing, and is not ok.

    Raises ``FaceError`` (a ``TypeError``) where ``op`` does not have the face or there is nothing
    to differentiate, and ``ValueError`` for a method that there is not.

    >>> from numpy_transformer.ops import softmax
    >>> report = gradcheck(softmax, np.array([[0.3, -1.0, 2.0]]))
    >>> report.ok, report.relative < 1e-12
    (True, True)
    """
    if isinstance(rng, np.random.Generator) and callable(getattr(op, "forward", None)):
        if "rng" in list(inspect.signature(op.forward).parameters)[len(args) :]:
            settings["rng"] = copy.deepcopy(rng)
    call = Call(op, args, settings, name or "")
    return check(call, method, rng, step, tolerance, zero)


def check(
    call: Call,
    method: str = "combined",
    rng: np.random.Generator | int = 0,
    step: float | None = None,
    tolerance: float | None = None,
    zero: Collection[str] = (),
) -> Report:
    """``gradcheck`` for a call that was made before; the same settings, the same report."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    for value, what in ((step, "step"), (tolerance, "tolerance")):
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{what} is {value}, expected a number above 0")
    unknown = set(zero) - {f"d{leaf}" for leaf in call.leaves}
    if unknown:
        raise ValueError(
            f"zero names {', '.join(sorted(unknown))}, but there is only "
            f"{', '.join(f'd{leaf}' for leaf in call.leaves)}"
        )
    return _Check(call, method, independent(rng), step, tolerance, frozenset(zero)).report()


class _Check:
    """One check: the point, the cotangent, and what each method needs of them."""

    def __init__(self, call, method, rng, step, tolerance, zero):
        self.call, self.method, self.rng = call, method, rng
        self.notes: list[str] = []
        y, cache = call.forward()
        if y.dtype.kind != "f":
            raise FaceError(f"{call.name}: the output of forward is {y.dtype}; expected floats")
        self.y, self.is_default = np.array(y), tolerance is None
        self.dy, self.other = self._cotangent(), self._cotangent()
        self.finite = bool(np.isfinite(self.y).all())
        analytic = call.gradients(self.dy.copy(), cache) if self.finite else {}
        self.point = _in_double(call)
        # Where float32 is measured in float64, only its own rounding has to be allowed for.
        roughly = (EXACT if self.point.dtype != call.dtype else TOLERANCE)[call.dtype]
        self.judge = Judge(
            call,
            self.point,
            self.dy,
            self.y,
            cache,
            analytic,
            roughly if tolerance is None else tolerance,
            EXACT[call.dtype] if tolerance is None else tolerance,
            step or lines.step_size(self.point),
            zero,
        )

    def report(self) -> Report:
        """Try the rules of the face, then the method."""
        call, judge = self.call, self.judge
        if not self.finite:
            gradients = tuple(judge.unmeasured(leaf) for leaf in call.leaves)
            return Report(call.name, self.method, gradients, (self._not_finite(),))
        rules = list(conduct.rules(call, self.dy, self.other, self.y, judge.analytic))
        if any(rule.name == conduct.REPEATS and not rule.ok for rule in rules):
            raise FaceError(
                f"{call.name}: forward gives another output each time for the same arguments, so "
                "no derivative can be measured; random numbers must come from a generator among "
                "the arguments"
            )
        unusable = {leaf: judge.unusable(leaf) for leaf in call.leaves}
        self.usable = {leaf: judge.analytic[leaf] for leaf in call.leaves if not unusable[leaf]}
        found = {gradient.name: gradient for gradient in getattr(self, f"_{self.method}")()}
        gradients = tuple(unusable[leaf] or found[f"d{leaf}"] for leaf in call.leaves)
        if self.method == "combined":
            rules += self._taylor_rule(gradients)
        return Report(call.name, self.method, gradients, tuple(rules), tuple(self.notes))

    def _cotangent(self) -> np.ndarray:
        return np.asarray(self.rng.standard_normal(self.y.shape), self.y.real.dtype)

    def _not_finite(self) -> Rule:
        index = np.argwhere(~np.isfinite(self.y))[0]
        value = self.y[tuple(index)]
        reason = f"it is {value} at {index.tolist()}, so there is nothing to compare with"
        return Rule("the output is finite", False, reason)

    # The methods, each of which returns a line for every usable gradient

    def _central(self) -> list[Gradient]:
        return self._compare(dict.fromkeys(self.usable, False))

    def _complex(self) -> list[Gradient]:
        for leaf in self.usable:
            problem = self._problem_of_complex(leaf, kinks_are_fine=True)
            if problem:
                raise FaceError(f"{self.call.name}: the complex step says nothing here: {problem}")
        return self._compare(dict.fromkeys(self.usable, True))

    def _direction(self) -> list[Gradient]:
        found = []
        for _ in range(DIRECTIONS):
            found.append(self._project(self.usable))
            if found[-1].broken or not found[-1].ok:
                self.notes.append("all gradients together are off, so each has its own direction")
                alone = {leaf: self._project([leaf]) for leaf in self.usable}
                return self._closer({n: self.judge.projected(n, one) for n, one in alone.items()})
        worst = max(found, key=lambda one: one.relative)
        kink = ", with a kink within the step" if any(one.kinks for one in found) else ""
        self.notes.append(
            f"{DIRECTIONS} directions, each through all gradients at once; the worst: backward "
            f"{worst.analytic:.6g}, forward {worst.numeric:.6g}{kink}"
        )
        return self._shared(self.judge.projected, worst)

    def _taylor(self) -> list[Gradient]:
        together = self._remainder(self.usable)
        if together.broken or not together.ok:
            self.notes.append("all gradients together are off, so each has its own direction")
            alone = {leaf: self._remainder([leaf]) for leaf in self.usable}
            return self._closer({n: self.judge.expanded(n, one) for n, one in alone.items()})
        self.notes.append(f"one direction through all gradients: remainder {together.say()}")
        return self._shared(self.judge.expanded, together)

    def _shared(self, verdict, found) -> list[Gradient]:
        """What is known of all gradients together; nobody knows how much of it is whose."""
        shared = [verdict(leaf, found._replace(kinks=0)) for leaf in self.usable]
        return [replace(line, analytic=np.nan, numeric=np.nan) for line in shared]

    def _closer(self, found: dict[str, Gradient]) -> list[Gradient]:
        """Look at some entries where a kink excuses a whole direction: it excuses too much."""
        for leaf, gradient in found.items():
            if gradient.verdict in ("kink", "jump"):
                entry = self._some_entries(leaf, _FEW, False)
                found[leaf] = gradient if entry.ok else entry
        return list(found.values())

    def _combined(self) -> list[Gradient]:
        exact = {leaf: not self._problem_of_complex(leaf) for leaf in self.usable}
        entries_in_all = sum(array.size for array in self.usable.values())
        if entries_in_all > ENTRIES:
            self.notes.append(
                f"{entries_in_all} entries are too many: each gradient has {DIRECTIONS} "
                f"directions, and up to {_SOME} entries where these are off"
            )
            return [self._large(leaf, exact[leaf]) for leaf in self.usable]
        by_differences = [f"d{leaf}" for leaf in exact if not exact[leaf]]
        how = "by complex step"
        if by_differences:
            how += f", but {', '.join(by_differences)} by central differences"
        if len(by_differences) == len(exact):
            how = "by central differences"
        self.notes.append(f"every entry measured {how}")
        return self._compare(exact)

    def _large(self, leaf: str, exact: bool) -> Gradient:
        """One of very many gradients: a few directions, and entries if these are off."""
        found = [self._project([leaf]) for _ in range(DIRECTIONS)]
        gradient = self.judge.projected(leaf, max(found, key=lambda one: one.relative))
        if gradient.verdict in ("right", "zero"):
            return gradient
        also = self._worst_entry(leaf) if gradient.verdict == "wrong" else None
        entry = self._some_entries(leaf, _SOME, exact, also)
        return gradient if entry.ok else entry

    def _some_entries(self, leaf: str, count: int, exact: bool, also: int | None = None):
        """The verdict by some entries, drawn at random, and by the entry ``also``."""
        shape, size = self.usable[leaf].shape, self.usable[leaf].size
        chosen = np.zeros(size, bool)
        chosen[self.rng.permutation(size)[:count]] = True
        if also is not None:
            chosen[also] = True
        numeric = self._measure(leaf, exact, chosen.reshape(shape))
        return self.judge.compare({leaf: numeric}, {leaf: exact})[0]

    def _worst_entry(self, leaf: str) -> int:
        """Where a gradient is wrong, by halves: the half whose projection is further off."""
        array = self.usable[leaf]
        start, stop = 0, array.size
        while stop - start > 1:
            middle, errors = (start + stop) // 2, []
            for half in (slice(start, middle), slice(middle, stop)):
                there = np.zeros(array.size)
                there[half] = 1.0
                found = self._project([leaf], there.reshape(array.shape))
                errors.append(abs(found.numeric - found.analytic))
            start, stop = (start, middle) if errors[0] >= errors[1] else (middle, stop)
        return start

    def _taylor_rule(self, gradients) -> list[Rule]:
        """Taylor's remainder of the whole, where nothing is amiss so far."""
        if not self.usable or not all(g.ok and not g.kinks for g in gradients):
            return []
        if not self.is_default:  # it knows no tolerance, and would find what was to be allowed
            return []
        together = self._remainder(self.usable)
        self.notes.append(f"Taylor's remainder {together.say()}")
        reason = "" if together.ok else f"along a random direction it is {together.say()}"
        return [Rule("Taylor's remainder is of order 2", together.ok, reason)]

    # What the methods are made of

    def _compare(self, exact: dict[str, bool]) -> list[Gradient]:
        measured = {leaf: self._measure(leaf, exact[leaf]) for leaf in self.usable}
        return self.judge.compare(measured, exact)

    def _measure(self, leaf, exact, chosen=None) -> np.ndarray:
        ways = (lines.complex_step,) if exact else entries.shorter_and_shorter(self.judge.step)
        return entries.measure(self.point, leaf, self.dy, ways, chosen)

    def _project(self, leaves, there=1.0) -> projections.Projection:
        """The derivative along a random direction, of the entries where ``there`` is 1."""
        towards = projections.direction(self.point, leaves, self.rng)
        towards = {leaf: direction * there for leaf, direction in towards.items()}
        judge = self.judge
        return projections.project(
            self.point, judge.analytic, self.dy, towards, judge.step, judge.tolerance, judge.exact
        )

    def _remainder(self, leaves) -> projections.Remainder:
        towards = projections.direction(self.point, leaves, self.rng)
        return projections.taylor(self.point, self.judge.analytic, self.dy, towards)

    def _problem_of_complex(self, leaf: str, kinks_are_fine: bool = False) -> str:
        """Why the complex step says nothing about ``leaf``, or an empty string.

        It is trusted where differences of real numbers agree with it: a ``forward`` with an
        ``abs`` in it takes complex numbers, but gives something else for them. What ``backward``
        says plays no part in this.
        """
        if not self.usable[leaf].size:
            return ""
        line = lines.Line(self.point, projections.direction(self.point, [leaf], self.rng))
        try:
            exact = lines.complex_step(line)
        except FaceError as error:
            return str(error)
        doubtful = np.ones(self.y.shape, bool)  # outputs that are not confirmed yet
        if kinks_are_fine:
            found = lines.find_break(line, self.dy, self.judge.step * projections.FINER[1])
            doubtful = doubtful if found is None else ~found.where
        for finer in projections.FINER:
            step = self.judge.step * finer
            real = lines.central(line, step)
            size = np.maximum(np.abs(real), np.abs(exact))
            rounding = 10 * line.eps * (np.abs(self.y) + lines.size(self.y)) / step
            close = np.abs(real - exact) <= self.judge.tolerance * size + rounding
            # With ever shorter steps everything drowns in rounding, which confirms nothing.
            doubtful &= ~(close & ((finer == 1.0) | (rounding <= 0.25 * size)))
            if not doubtful.any():
                return ""
        return (
            f"forward of complex numbers has another derivative for {leaf} than forward of real "
            "ones (is there an abs, a conj, a real or a kink on the way?)"
        )


def _in_double(call: Call) -> Call:
    """The same call in float64, if ``forward`` follows the dtype of its arguments.

    In float32 differences are good for three digits at best; what ``backward`` says in float32 is
    better held against a derivative that was measured in float64.
    """
    if call.dtype == np.float64:
        return call
    double = call.as_type(np.float64)
    try:
        y, _ = double.forward()
    except FaceError:
        return call
    return double if y.dtype == np.float64 else call
