"""The rules of the face, apart from the derivative itself.

A module may have the right derivative and still not be fit to stand in a larger one: if
``backward`` writes into ``dy``, what comes after it is wrong; if it returns float64 for float32,
everything becomes slower; if it gives another result when called a second time, something is kept
that should not be. Each rule is tried on the operation by ``forward`` and ``backward`` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from numpy_transformer.gradcheck.face import Call, FaceError
from numpy_transformer.gradcheck.report import Rule

REPEATS, TWICE = "forward repeats itself", "backward repeats itself"

Gradients = Mapping[str, "np.ndarray | None"]

# What rounding may amount to in sums that are taken in another order: against the largest entry of
# the same gradient, and against the largest of all gradients.
_ROUNDING = {
    np.dtype(np.float32): (1e-3, 1e-4),
    np.dtype(np.float64): (1e-9, 1e-12),
}


def rules(
    call: Call, dy: np.ndarray, other: np.ndarray, y: np.ndarray, gradients: Gradients
) -> Iterator[Rule]:
    """Try every rule; ``y`` and ``gradients`` (for ``dy``) are what the operation gave at first.

    ``other`` is a second cotangent.
    """
    total = float(np.abs(dy * y).sum())  # the size of what is differentiated
    unchanged = list(_nothing_is_changed(call, dy, y, gradients))
    yield from unchanged
    if unchanged[-1].ok:  # a cache that changes would break this rule as well
        yield from _linear(call, dy, other, gradients, total)
    yield _layouts(call, dy, y, gradients, total)
    yield _single_precision(call)


def _nothing_is_changed(call, dy, y, gradients) -> Iterator[Rule]:
    """Arguments, ``dy`` and the cache stay as they are, and all results can be had again."""
    given: list[tuple[np.ndarray, np.ndarray]] = []

    def watched(array):
        given.append((array, array.copy()))
        return given[-1][1]

    again, cache = call.forward(change=watched)
    again = again.copy()  # the cache may hold the output, and backward may write into it
    with suppress(FaceError):  # another call in between must not matter
        call.with_leaves({name: 1.25 * array for name, array in call.leaves.items()}).forward()
    seeing = dy.copy()
    first = call.gradients(seeing, cache)
    try:
        second = call.gradients(dy.copy(), cache)
    except FaceError as error:
        yield Rule(TWICE, False, f"called a second time with the same cache, {error}")
        return
    changed = sum(not _same(before, after) for before, after in given)
    yield Rule(
        "arguments stay as they are",
        not changed,
        f"forward or backward writes into {changed} of the arrays that it was given; "
        "make a copy first" if changed else "",
    )
    yield Rule(
        "dy stays as it is",
        _same(seeing, dy),
        "" if _same(seeing, dy) else "backward writes into dy; make a copy first",
    )
    yield Rule(
        REPEATS,
        _same(again, y),
        "" if _same(again, y) else "forward gave another output for the same arguments",
    )
    elsewhere = tuple(f"d{n}" for n in gradients if not _same(first[n], gradients[n]))
    yield Rule(
        "backward needs the cache alone",
        not elsewhere or not _same(again, y),
        f"with a call of forward at other arguments in between, it gave another "
        f"{_listed(elsewhere)}; what it needs belongs in the cache, not in the object"
        if elsewhere else "",
        elsewhere,
    )
    different = tuple(f"d{n}" for n in gradients if not _same(first[n], second[n]))
    yield Rule(
        TWICE,
        not different,
        f"called a second time with the same cache, backward gave another {_listed(different)}; "
        "does it write into the cache?" if different else "",
        different,
    )


def _linear(call, dy, other, gradients, total) -> Iterator[Rule]:
    """Gradients are linear in ``dy``: nothing comes of nothing, and sums are kept."""
    _, cache = call.forward()
    zero = call.gradients(np.zeros_like(dy), cache)
    something = tuple(f"d{n}" for n, g in zero.items() if g is not None and _max(g) > 0)
    yield Rule(
        "nothing comes of nothing",
        not something,
        f"with dy = 0, {_listed(something)} is not 0; is dy used at all?" if something else "",
        something,
    )
    second = call.gradients(other.copy(), cache)
    largest = max(_largest(gradients), _largest(second), total)
    both = call.gradients(np.asarray(2 * dy - 3 * other, dy.dtype), cache)
    bent = tuple(
        f"d{n}"
        for n, g in gradients.items()
        if not _close(both[n], _combined(g, second[n]), call.dtype, largest)
    )
    yield Rule(
        "backward is linear in dy",
        not bent,
        f"{_listed(bent)} of 2 dy - 3 dy' is not twice the one less three times the other"
        if bent else "",
        bent,
    )


def _layouts(call, dy, y, gradients, total) -> Rule:
    """Arrays that are not contiguous, and that may not be written to, give the same results."""

    def scattered(array):
        # Column after column, a vector as every other entry of a longer one; and read-only.
        other = np.repeat(array, 2)[::2] if array.ndim == 1 else np.array(array, order="F")
        other.setflags(write=False)
        return other

    name = "any memory layout will do"
    try:
        found, cache = call.forward(change=scattered)
        again = call.gradients(scattered(dy), cache)
    except FaceError as error:
        return Rule(name, False, f"with arrays that are strided and read-only, {error}")
    different = tuple(
        f"d{n}"
        for n, g in gradients.items()
        if not _close(again[n], g, call.dtype, max(_largest(gradients), total))
    )
    if not _close(found, y, call.dtype, _max(y)):
        return Rule(name, False, "with arrays that are not contiguous the output is another")
    reason = f"with arrays that are not contiguous {_listed(different)} is another"
    return Rule(name, not different, reason if different else "", different)


def _single_precision(call) -> Rule:
    """float32 in, float32 out: the output and every gradient."""
    name = "float32 stays float32"
    single = call.as_type(np.float32)
    try:
        y, cache = single.forward()
        gradients = single.gradients(np.ones(y.shape, np.float32), cache)
    except FaceError as error:
        return Rule(name, False, f"with float32 arguments, {error}")
    if y.dtype != np.float32:
        return Rule(name, False, f"the output of float32 arguments is {y.dtype}")
    other = {
        f"d{n}": g.dtype for n, g in gradients.items() if g is not None and g.dtype != np.float32
    }
    dtypes = " and ".join(sorted({str(dtype) for dtype in other.values()}))
    reason = f"of float32 arguments {_listed(tuple(other))} is {dtypes}" if other else ""
    return Rule(name, not other, reason, tuple(other))


def _same(a: Any, b: Any) -> bool:
    return (a is None and b is None) or (
        a is not None and b is not None and np.array_equal(a, b, equal_nan=True)
    )


def _combined(first, second):
    with np.errstate(all="ignore"):
        return None if first is None or second is None else 2 * first - 3 * second


def _largest(gradients: Gradients) -> float:
    return max((_max(array) for array in gradients.values() if array is not None), default=0.0)


def _max(array) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def _close(a, b, dtype, largest: float) -> bool:
    """Equal but for rounding; ``largest`` is the largest entry of everything."""
    if a is None or b is None:
        return a is None and b is None
    if a.shape != b.shape:
        return False
    with np.errstate(all="ignore"):
        apart = np.where(np.isfinite(a) & np.isfinite(b), np.abs(a - b), 0)
    if (np.isfinite(a) != np.isfinite(b)).any():
        return False
    own, overall = _ROUNDING[min(dtype, a.dtype, key=lambda d: d.itemsize)]
    return bool(apart.max(initial=0) <= own * _max(b) + overall * largest)


def _listed(names: tuple[str, ...], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
