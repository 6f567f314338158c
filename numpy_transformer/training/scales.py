"""Learning rates layer by layer: what a fine-tuning may change much, little or not at all.

The layers near the input know what is common to all texts, those near the output what the model
was trained for last. So the rate of each layer is ``decay`` times that of the one above it, and the
lowest layers can be frozen.

Source: Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification",
section 3.2 (discriminative fine-tuning).
"""

from __future__ import annotations

import re

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.parameters import Tree

INPUT = re.compile(r"(source_|target_)?(embedding|positions|segments)(_norm)?\.")


def depth(name: str, layers: int) -> int:
    """How far from the input a parameter is: 0 embeddings, 1 to ``layers``, above them the head.

    >>> depth("embedding.weight", 4), depth("encoder.layers.2.feed_forward.output.bias", 4)
    (0, 3)
    >>> depth("encoder.norm.weight", 4), depth("pooler.weight", 4)
    (5, 5)
    """
    if found := re.search(r"\.layers\.(\d+)\.", name):
        return int(found[1]) + 1
    return 0 if INPUT.match(name) else layers + 1


def scales(
    params: Tree, layers: int, decay: float = 1.0, freeze: int | None = None
) -> np.ndarray | None:
    """What the learning rate of each weight is multiplied by, in the order of the flat vector.

    ``freeze=n`` freezes the embeddings and the first n layers. ``None`` where nothing is to be
    frozen or lowered. Raises ``ValueError`` for a ``decay`` that is not above 0 and at most 1, and
    for layers to freeze that there are not.

    >>> params = {"embedding": {"weight": np.ones(2)}, "output": {"weight": np.ones(1)}}
    >>> scales(params, layers=0, decay=0.5)
    array([0.5, 0.5, 1. ])
    >>> scales(params, layers=0, freeze=0)
    array([0., 0., 1.])
    """
    if not 0 < decay <= 1:
        raise ValueError(f"the decay of the layers is {decay}, expected above 0 and at most 1")
    if freeze is not None and not 0 <= freeze <= layers:
        raise ValueError(f"{freeze} layers are to be frozen, expected 0 to {layers}")
    if decay == 1 and freeze is None:
        return None
    parts = []
    for name, array in parameters.items(params):
        at = depth(name, layers)
        frozen = freeze is not None and at <= freeze
        parts.append(np.full(array.size, 0 if frozen else decay ** (layers + 1 - at), array.dtype))
    return np.concatenate(parts)
