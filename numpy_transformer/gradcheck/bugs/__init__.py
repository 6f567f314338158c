"""Bugs on purpose: a catalogue of mistakes, each of which can be planted in the package.

A bug takes the place of one function of one module, nearly always a backward pass, while it is
planted; everything above that module uses it as well. Each one says what it is, where such a bug
has been seen or why it is easily made, at which point (``gradcheck/points/``) to look for it,
which gradients it spoils there, and, where the damage is of a kind that the checker can name,
which kind::

    with BUGS["layer_norm.mean-term-dropped"].planted():
        ...

The function of a bug gets what it replaces as its first argument, so that it can start from the
right result. Bugs that no gradient check can ever show are in the catalogue too, with the reason.
"""

from __future__ import annotations

from numpy_transformer.gradcheck.bugs import (
    attention,
    layers,
    models,
    ops,
    text_models,
    tokens,
)
from numpy_transformer.gradcheck.bugs.bug import Bug

BUGS: dict[str, Bug] = {
    bug.name: bug
    for module in (ops, attention, tokens, layers, models, text_models)
    for bug in module.CATALOGUE
}

__all__ = ["BUGS", "Bug"]
