"""The gradient laboratory: is a backward pass right, and if not, where is it wrong, and why?

``gradcheck`` works on anything with ``forward`` and ``backward`` of the project's face, and knows
nothing else of it. "Checking gradients" in ``README.md`` explains the ideas, with a command for
each; the files explain how it is done, and are best read in this order:

``face``
    the operation at a point, evaluated again and again with fresh copies of its arguments
``lines``
    the derivative along a straight line, by differences and by the complex step; kinks
``entries``, ``projections``
    the four methods, as lines along one entry or along a random direction
``conduct``
    the rules of the face: nothing is changed, ``backward`` repeats itself and is linear, ...
``judge``, ``diagnosis``
    from numbers to a verdict, and what a wrong gradient looks like
``checker``, ``report``
    all of it put together, and what comes out
``points``, ``bugs``, ``protocols``, ``matrix``
    where the package's own modules are checked; mistakes on purpose; what is commonly done
    instead; and all of these against each other
``sweep``
    the error of a measured derivative against the step
``own``
    a person's own operation, found by the name of its file
``strategies``
    for tests with hypothesis, which nothing else needs

>>> import numpy as np
>>> from numpy_transformer.ops import relu
>>> print(gradcheck(relu, np.array([[-1.5, 0.5], [2.0, -0.25]])).verdict)
right
"""

from numpy_transformer.gradcheck.checker import METHODS, check, gradcheck
from numpy_transformer.gradcheck.face import Call, FaceError
from numpy_transformer.gradcheck.report import Gradient, Report, Rule

__all__ = ["METHODS", "Call", "FaceError", "Gradient", "Report", "Rule", "check", "gradcheck"]
