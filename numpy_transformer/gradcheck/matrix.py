"""Every bug of the catalogue against every way of checking: who finds what?

A row is a bug, planted at its point; a column is a method of this package or one of the protocols
that are in common use. The last rows are correct code, where nothing must be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

from numpy_transformer.gradcheck import points
from numpy_transformer.gradcheck.bugs import BUGS, Bug
from numpy_transformer.gradcheck.checker import METHODS, check
from numpy_transformer.gradcheck.face import Call, FaceError, independent
from numpy_transformer.gradcheck.protocols import PROTOCOLS
from numpy_transformer.gradcheck.report import Report

COLUMNS = (*METHODS, *PROTOCOLS)


class Row(NamedTuple):
    """One line of the matrix."""

    name: str  # of the bug, or of the point where the code is correct
    planted: bool  # whether there is something to find
    invisible: str  # why there is nothing that a gradient could show; "" for nearly all
    found: dict[str, bool]  # by column


def call_at(name: str, seed: int) -> tuple[Call, points.Point]:
    """The call of the module at the point called ``name``."""
    point = points.point(name, seed)
    return Call(point.op, point.args, point.settings, name), point


def report(bug: Bug, seed: int, method: str = "combined") -> Report:
    """The check of a bug's module at its point, with the bug in it."""
    call, point = call_at(bug.point, seed)
    with bug.planted():
        return check(call, method, seed, zero=point.zero)


def rows(
    bugs: Iterable[Bug] = tuple(BUGS.values()),
    seed: int = 0,
    columns: Iterable[str] = COLUMNS,
    workers: int = 1,
) -> Iterator[Row]:
    """A row for each bug, then a row for each point that they were at, without any bug.

    With more than one of ``workers`` in as many processes; the rows and their order are the same.
    """
    bugs = tuple(bugs)
    used = dict.fromkeys(bug.point for bug in bugs)
    tasks = [(bug.name, bug.point) for bug in bugs] + [("", point) for point in used]
    one = partial(_row, seed, tuple(columns))
    if workers == 1:
        yield from map(one, tasks)
    else:
        with ProcessPoolExecutor(workers) as pool:
            yield from pool.map(one, tasks)


def _row(seed: int, columns: tuple[str, ...], task: tuple[str, str]) -> Row:
    """One bug at its point, or with no bug the point alone."""
    name, place = task
    bug = BUGS.get(name)
    call, point = call_at(place, seed)
    with bug.planted() if bug else nullcontext():
        found = {column: _finds(column, call, point, seed) for column in columns}
    invisible = bug.invisible if bug else ""
    return Row(name or place, bool(bug) and not invisible, invisible, found)


def _finds(column: str, call: Call, point: points.Point, seed: int) -> bool:
    """Whether this way of checking raises an alarm."""
    try:
        if column in PROTOCOLS:
            return PROTOCOLS[column](call, independent(seed))
        return not check(call, column, seed, zero=point.zero).ok
    except FaceError:
        return True


class Table:
    """The matrix as text, a line at a time, as the rows come."""

    def __init__(self, columns: Iterable[str] = COLUMNS):
        """The columns in the order in which they are to be printed."""
        self.columns = tuple(columns)
        self._rows: list[Row] = []

    def head(self) -> str:
        """The titles of the columns."""
        return f"{'':<52}" + " ".join(f"{column:>{_width(column)}}" for column in self.columns)

    def line(self, row: Row) -> str:
        """One row: what found the bug, what missed it, what raised a false alarm."""
        self._rows.append(row)
        cells = (_cell(row, row.found[column]) for column in self.columns)
        marks = (f"{cell:>{_width(column)}}" for cell, column in zip(cells, self.columns))
        name = row.name if row.planted or row.invisible else f"correct: {row.name}"
        return f"{name:<52}" + " ".join(marks)

    def foot(self) -> str:
        """How many bugs each column found, what it missed, and its false alarms."""
        planted = [row for row in self._rows if row.planted]
        others = [row for row in self._rows if not row.planted]
        lines = [
            self._totals(f"found, of {len(planted)}", planted),
            self._totals(f"false alarms, of {len(others)}", others),
            "",
        ]
        for column in self.columns:
            missed = [row.name for row in planted if not row.found[column]]
            if missed:
                lines.append(f"{column} missed {len(missed)}: {', '.join(missed)}")
        hidden = [row for row in self._rows if row.invisible]
        if hidden:
            lines += ["", "What no check of gradients can show:"]
            lines += [f"  {row.name}: {row.invisible}" for row in hidden]
        return "\n".join(lines)

    def _totals(self, title: str, rows: list[Row]) -> str:
        totals = (sum(row.found[column] for row in rows) for column in self.columns)
        cells = (f"{total:>{_width(column)}}" for total, column in zip(totals, self.columns))
        return f"{title:<52}" + " ".join(cells)


def _width(column: str) -> int:
    return max(len(column), 6)


def _cell(row: Row, found: bool) -> str:
    if row.planted:
        return "found" if found else "-"
    return "alarm" if found else "."
