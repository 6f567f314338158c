"""For every module of the project, points at which to check it.

A point is a set of arguments at which a mistake shows: all extents different, weights of size
about 1, a layer norm's weight away from 1 and its bias away from 0, repeated ids, ragged padding,
a row that may attend to nothing, dropout on. ``POINTS`` maps a name to a function from a random
generator to a ``Point``; ``numpy-transformer gradcheck`` and the tests use them.

``drawing.py`` has what a point is and how its arrays are drawn; the points themselves stand by
floor in ``ops.py`` and ``layers.py``, then ``models.py`` and, for models of texts that are an
encoder alone, ``text_models.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_transformer.gradcheck.points import layers, models, ops, text_models
from numpy_transformer.gradcheck.points.drawing import Point

POINTS: dict[str, Callable[[np.random.Generator], Point]] = (
    ops.POINTS | layers.POINTS | models.POINTS | text_models.POINTS
)

__all__ = ["POINTS", "Point", "point"]


def point(name: str, seed: int = 0) -> Point:
    """The point called ``name``, drawn from ``seed``.

    >>> point("softmax").args[0].shape
    (3, 5, 6)
    """
    return POINTS[name](np.random.default_rng(seed))
