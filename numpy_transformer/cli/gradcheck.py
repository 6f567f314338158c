"""Check gradients: of this package, with bugs planted in it, or of an operation of your own.

  numpy-transformer gradcheck                        everything, a line for each module
  numpy-transformer gradcheck layer_norm             one in full: a line for each gradient
  numpy-transformer gradcheck encoder_decoder --method direction

  numpy-transformer gradcheck my_ops.py:my_op --inputs "x: (2,3,4), weight: (4,)"
  numpy-transformer gradcheck my_package.my_ops      its arguments from sample(rng) beside it

  numpy-transformer gradcheck --bug layer_norm.mean-term-dropped
  numpy-transformer gradcheck --bugs                 every bug against every way of checking
  numpy-transformer gradcheck --sweep layer_norm     the error against the step size

An operation of your own is anything with forward(*args), which returns the output and a cache, and
backward(dy, cache), which returns the gradients.

Methods: central (central differences on every entry), complex (the complex step on every entry),
direction (random directions through everything at once), taylor (the order of Taylor's remainder),
combined (the default: complex where it can be trusted, otherwise central, and taylor).

Exit status: 0 all right; 1 a gradient is wrong; 2 the check could not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from numpy_transformer.gradcheck import matrix, own, points, sweep
from numpy_transformer.gradcheck.bugs import BUGS
from numpy_transformer.gradcheck.checker import METHODS, check
from numpy_transformer.gradcheck.face import Call, FaceError
from numpy_transformer.gradcheck.report import Report
from numpy_transformer.files import write_bytes


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a module of this package, or an operation of your own: file.py, file.py:name or "
        "package.module:name (default: all modules)",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="combined",
        help="how derivatives are measured (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the points, cotangents and directions (%(default)s)"
    )
    parser.add_argument(
        "--inputs",
        metavar="TEXT",
        help='what to call your own operation with, such as "x: (2,3,4), ids: (2,3) int 7, '
        'rate: 0.1"; see the top of gradcheck/own.py',
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--bug", metavar="BUG", help="plant this bug, then check where it is")
    other.add_argument(
        "--bugs", action="store_true", help="the matrix: every bug (of NAME) against every check"
    )
    other.add_argument(
        "--sweep", action="store_true", help="the error of NAME against the step, 1e-1 to 1e-14"
    )
    parser.add_argument("--csv", metavar="FILE", help="write what --sweep measured as CSV as well")
    parser.add_argument(
        "--picture",
        metavar="FILE",
        help="draw what --sweep measured, as .png, .svg or .pdf (needs the extra 'plot')",
    )


def run(options: argparse.Namespace) -> int:
    """Do what is asked for; return 1 if a gradient is wrong."""
    if options.seed < 0:
        raise ValueError(f"--seed is {options.seed}, expected a whole number from 0 on")
    for option in ("csv", "picture"):
        if getattr(options, option) and not options.sweep:
            raise ValueError(f"--{option} goes with --sweep NAME")
    if options.inputs is not None and (options.bug or options.bugs):
        raise ValueError("--inputs goes with an operation of your own, not with --bug or --bugs")
    if options.bug and options.names:
        raise ValueError("--bug says by itself where to look; leave out the names")
    try:
        if options.bug:
            return _bug(options)
        if options.bugs:
            return _bugs(options)
        if options.sweep:
            return _sweep(options)
        return _check(options)
    except FaceError as error:
        raise ValueError(str(error)) from error


def _check(options: argparse.Namespace) -> int:
    start, reports = time.monotonic(), []
    for call, zero in _calls(options):
        report = check(call, options.method, options.seed, zero=zero)
        reports.append(report)
        if not options.json:
            # What is wrong is shown in full in any case.
            in_full = options.names or not report.ok
            print(report.table() + "\n" if in_full else report.line(), flush=True)
    if options.json:
        print(_json(options, reports))
    elif len(reports) > 1:
        print(_summary(reports, time.monotonic() - start))
    return 0 if all(report.ok for report in reports) else 1


def _summary(reports: list[Report], seconds: float) -> str:
    wrong = [report for report in reports if not report.ok]
    count = sum(len(report.gradients) for report in reports)
    lines = [
        f"{count} gradients of {len(reports)} modules and settings: "
        f"{f'{len(wrong)} WRONG' if wrong else 'all right'}; largest relative error "
        f"{max(report.relative for report in reports):.1e}; {seconds:.0f} s"
    ]
    return "\n".join(lines + [f"  {report.line()}" for report in wrong])


def _json(options: argparse.Namespace, reports: list[Report]) -> str:
    found = {
        "ok": all(report.ok for report in reports),
        "seed": options.seed,
        "reports": [report.as_dict() for report in reports],
    }
    return json.dumps(found, indent=1)


def _calls(options: argparse.Namespace) -> Iterator[tuple[Call, tuple[str, ...]]]:
    """What is to be checked, and which of its gradients are zero for a good reason."""
    # Everything is found before anything is checked, so that a slip is told at once.
    if options.names:
        found = [call for name in options.names for call in _named(name, options)]
    else:
        found = [_at_point(name, options.seed) for name in points.POINTS]
    if options.inputs is not None and not any(_is_own(name) for name in options.names):
        raise ValueError(
            "--inputs describes the arguments of an operation of your own (file.py:name); the "
            "modules of this package bring theirs"
        )
    return iter(found)


def _named(name: str, options: argparse.Namespace) -> list[tuple[Call, tuple[str, ...]]]:
    if not _is_own(name):
        return [_at_point(point, options.seed) for point in _points_of(name)]
    found = own.load(name)
    rng = np.random.default_rng(options.seed)
    args, settings = (), {}
    if options.inputs is not None:
        settings = own.draw(found.op, options.inputs, rng)
    elif found.sample is not None:
        args, settings = own.sampled(found, rng)
    else:
        raise ValueError(own.missing_inputs(found))
    return [(Call(found.op, args, settings, found.name), ())]


def _at_point(name: str, seed: int) -> tuple[Call, tuple[str, ...]]:
    call, point = matrix.call_at(name, seed)
    return call, point.zero


def _is_own(name: str) -> bool:
    """Whether a name is a person's own operation: names of this package's points have no dot."""
    return name not in points.POINTS and any(mark in name for mark in ".:/")


def _points_of(name: str) -> list[str]:
    """The points of the module called ``name``, or the one point of this name."""
    found = [p for p in points.POINTS if name in (p, p.partition(",")[0])]
    if not found:
        modules = dict.fromkeys(point.partition(",")[0] for point in points.POINTS)
        raise ValueError(
            f"no module {name!r} to check; there is {', '.join(modules)}; or name an operation of "
            "your own as file.py:name or package.module:name"
        )
    return found


def _bug(options: argparse.Namespace) -> int:
    if options.bug not in BUGS:
        place = options.bug.partition(".")[0]
        near = [name for name in BUGS if name.startswith(place + ".")] or list(BUGS)
        raise ValueError(f"no bug {options.bug!r}; there is {', '.join(near)}")
    bug = BUGS[options.bug]
    report = matrix.report(bug, options.seed, options.method)
    if options.json:
        print(_json(options, [report]))
        return 0 if report.ok else 1
    print(f"{bug.name}: {bug.what}\nSeen: {bug.seen}")
    if bug.invisible:
        print(f"No gradient can show it: {bug.invisible}")
    print(f"\n{report.table()}")
    return 0 if report.ok else 1


def _bugs(options: argparse.Namespace) -> int:
    chosen = [
        bug
        for bug in BUGS.values()
        if not options.names or bug.name.partition(".")[0] in options.names
    ]
    for name in options.names:
        if not any(bug.name.partition(".")[0] == name for bug in chosen):
            modules = dict.fromkeys(bug.name.partition(".")[0] for bug in BUGS.values())
            raise ValueError(f"no bugs in {name!r}; there are some in {', '.join(modules)}")
    table, found = matrix.Table(), []
    if not options.json:
        print(table.head())
    for row in matrix.rows(chosen, options.seed, workers=os.cpu_count() or 1):
        found.append(row)
        if not options.json:
            print(table.line(row), flush=True)
    if options.json:
        print(json.dumps([row._asdict() for row in found], indent=1))
    else:
        print(table.foot())
    ok = all(row.found["combined"] == row.planted for row in found)
    return 0 if ok else 1


def _sweep(options: argparse.Namespace) -> int:
    if len(options.names) != 1:
        raise ValueError("--sweep takes one NAME, such as: gradcheck --sweep layer_norm")
    call, _ = _named(options.names[0], options)[0]
    found = sweep.sweep(call, options.seed)
    if options.csv:
        write_bytes(Path(options.csv), sweep.csv(found).encode())
    if options.picture:
        sweep.picture(call.name, found, Path(options.picture))
    if options.json:
        print(json.dumps([point._asdict() for point in found], indent=1))
    else:
        print(sweep.table(call.name, found))
    return 0
