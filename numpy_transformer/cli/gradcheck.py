"""Check every gradient: compare each backward pass with differences of its forward pass.

  numpy-transformer gradcheck                      every operation, layer and model
  numpy-transformer gradcheck layer_norm attention  these alone

In float64, every entry of every gradient, by central differences, at points where a mistake shows.
A line per gradient: name, shape, largest relative error of an entry, verdict. Exit status 1 if one
is wrong. Gradients that are zero for a good reason (a bias of the keys adds the same number to all
scores of a query, and softmax takes it out again) are marked "zero".
"""

from __future__ import annotations

import argparse
import time

from numpy_transformer import points
from numpy_transformer.gradcheck import TOLERANCE, gradcheck


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="modules to check (default: all)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the points and the cotangents (%(default)s)"
    )
    parser.add_argument(
        "--brief", action="store_true", help="a line per module instead of a line per gradient"
    )


def run(options: argparse.Namespace) -> int:
    """Check, print the tables, return 1 if a gradient is wrong."""
    chosen = _chosen(options.names)
    start, gradients, wrong, worst = time.monotonic(), 0, [], 0.0
    for name in chosen:
        point = points.point(name, options.seed)
        report = gradcheck(
            point.op, *point.args, seed=options.seed, zero=point.zero, name=name, **point.settings
        )
        if options.brief and report.ok:
            line = f"{name:<40} {len(report.gradients):3} gradients  {report.error:8.1e}"
            print(line, flush=True)
        else:
            print(report.table(), flush=True)
        gradients += len(report.gradients)
        worst = max(worst, report.error)
        wrong += [f"{name}: {g.name}" for g in report.gradients if not g.ok]
    verdict = f"{len(wrong)} WRONG" if wrong else "all right"
    print(
        f"\n{gradients} gradients of {len(chosen)} modules and settings: {verdict}; "
        f"largest relative error {worst:.1e}, allowed {TOLERANCE:.0e}; "
        f"{time.monotonic() - start:.0f} s"
    )
    for name in wrong:
        print(f"  wrong: {name}")
    return 1 if wrong else 0


def _chosen(names: list[str]) -> list[str]:
    """The points of the modules called ``names``; all for none."""
    for name in names:
        if not any(_matches(point, name) for point in points.POINTS):
            modules = list(dict.fromkeys(point.partition(",")[0] for point in points.POINTS))
            raise ValueError(f"no module {name!r} to check; there is {', '.join(modules)}")
    return [p for p in points.POINTS if not names or any(_matches(p, name) for name in names)]


def _matches(point: str, name: str) -> bool:
    return point == name or point.partition(",")[0] == name
