"""Many cases that take long, worked through by as many processes as there are processors."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any


class Workers:
    """``workers(case)`` is ``function(case)``, worked out in another process.

    Cases that are started early are ready, or nearly so, when they are asked for. The function has
    to be one of a module, as it is found by its name in the other processes. Should one of these
    crash, then all tests fail from there on; the first is of the case that did it, or of one that
    was worked out beside it.
    """

    def __init__(self, function: Callable) -> None:
        """Begin the processes, as soon as there is something to do."""
        context = multiprocessing.get_context("spawn")
        # Warnings are errors there as they are here.
        start = {"initializer": warnings.simplefilter, "initargs": ("error",)}
        self.function = function
        self.pool = ProcessPoolExecutor(os.cpu_count(), context, **start)
        self.started: dict[Any, Future] = {}

    def start(self, cases: Iterable) -> None:
        """Work out these cases, in this order, while other things go on."""
        for case in cases:
            if case not in self.started:
                self.started[case] = self.pool.submit(self.function, case)

    def __call__(self, case: Any) -> Any:
        """The result, made once."""
        self.start([case])
        return self.started[case].result()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(cancel_futures=True)


def chosen(request, argument: str) -> list:
    """The values of an argument in all tests of this module that are going to run."""
    found = [
        item.callspec.params[argument]
        for item in request.session.items
        if getattr(item, "module", None) is request.module  # a doctest has none
        and argument in getattr(item, "fixturenames", ())
    ]
    return list(dict.fromkeys(found))
