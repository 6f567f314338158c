"""Points of the text encoder, of the models that are it with a head, and of their losses.

Texts of two segments with ragged padding, and repeated tokens in each.
"""

from __future__ import annotations

import numpy as np

from numpy_transformer.gradcheck.points.drawing import (
    RATES,
    Point,
    generator,
    ids,
    key_biases,
    random_tree,
    with_,
)
from numpy_transformer.models import (
    classifier,
    classifier_loss,
    masked_lm,
    masked_lm_loss,
    text_encoder,
    token_classifier,
    token_classifier_loss,
)
from numpy_transformer.ops.cross_entropy import IGNORED

# All different where they meet, and smaller than elsewhere: these are many points.
B, H, K, T, F, V, C = 4, 2, 3, 5, 7, 9, 3
D = H * K
SETTINGS = {"vocab": V, "N": 1, "d_model": D, "d_ff": F, "h": H, "max_length": 8} | RATES
POST = {"norm": "post", "activation": "gelu", "positions": "learned"}
# No ReLU: before the norm of the head it may leave one unit of each row, with any value of which
# the norm gives the same, and then nothing comes back.
PRE = {"norm": "pre", "activation": "gelu_tanh", "positions": "sinusoidal"}

# Of the tokens, which belong to the second segment; padding belongs to the first.
SECOND = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0]])
# Of the tokens, which are to be predicted: several in a row, and none of the third text.
CHOSEN = np.array(
    [[1, 1, 0, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=bool
)


def _point(rng, module, settings, *between, config=text_encoder.Config):
    """A call of a model: the texts, then what is ``between`` them and the parameters."""
    config = config(**SETTINGS | settings, dtype="float64")
    params = random_tree(rng, module.init(rng, config))
    args = (ids(rng, B, T, V), SECOND, *between, params, config, generator(rng))
    return Point(module, args, {}, key_biases(params))


def _text_encoder(rng, **settings):
    return _point(rng, text_encoder, settings)


def _masked_lm(rng, **settings):
    return _point(rng, masked_lm, settings, CHOSEN)


def _masked_lm_loss(rng, **settings):
    targets = np.where(CHOSEN, rng.integers(1, V, CHOSEN.shape), IGNORED)
    return _point(rng, masked_lm, settings, targets)._replace(op=masked_lm_loss)


def _classifier(rng, **settings):
    settings |= {"classes": C}
    return _point(rng, classifier, settings, config=classifier.Config)


def _classifier_loss(rng, **settings):
    """A text of each class, and one without a label."""
    settings |= {"classes": C}
    labels = rng.permutation([*range(C), IGNORED])
    point = _point(rng, classifier, settings, labels, config=classifier.Config)
    return point._replace(op=classifier_loss)


def _token_classifier(rng, **settings):
    settings |= {"classes": C}
    return _point(rng, token_classifier, settings, config=token_classifier.Config)


def _token_classifier_loss(rng, **settings):
    """Padding has no label, nor has the first token of each text."""
    settings |= {"classes": C}
    labels = rng.integers(C, size=(B, T))
    labels[0, 1:4] = 0, 1, 2
    labels[:, 0] = IGNORED
    for row in range(1, B):
        labels[row, T - row :] = IGNORED
    point = _point(rng, token_classifier, settings, labels, config=token_classifier.Config)
    return point._replace(op=token_classifier_loss)


WEIGHTED = {"class_weights": (0.5, 1.75, 3.0)}

POINTS = {
    "text_encoder, post-norm": with_(_text_encoder, **POST),
    "text_encoder, pre-norm": with_(_text_encoder, **PRE),
    "masked_lm, post-norm": with_(_masked_lm, **POST),
    "masked_lm, pre-norm": with_(_masked_lm, **PRE),
    "masked_lm_loss, post-norm": with_(_masked_lm_loss, **POST),
    "masked_lm_loss, pre-norm": with_(_masked_lm_loss, **PRE),
    "classifier, first": with_(_classifier, pooling="first", **POST),
    "classifier, mean": with_(_classifier, pooling="mean", **PRE),
    "classifier_loss, first, weighted": with_(
        _classifier_loss, pooling="first", **PRE, **WEIGHTED
    ),
    "classifier_loss, mean": with_(_classifier_loss, pooling="mean", **POST),
    "token_classifier": with_(_token_classifier, **PRE),
    "token_classifier_loss, weighted": with_(_token_classifier_loss, **POST, **WEIGHTED),
}
