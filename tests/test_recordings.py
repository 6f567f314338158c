"""Outputs and gradients against those that PyTorch computed.

The files in ``recordings`` were made by ``recordings/record.py``, which says what is in them, and
by ``recordings/record_text_models.py``. Each holds inputs, an output, a random cotangent and the
gradient of every input. Here the same inputs go through our forward and backward.
"""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from numpy_transformer import parameters
from numpy_transformer.layers import multi_head_attention
from numpy_transformer.models import (
    causal_lm,
    classifier,
    encoder_decoder,
    text_encoder,
    token_classifier,
)
from numpy_transformer.ops import attention, dropout, positions
from numpy_transformer.ops.erf import erf

FOLDER = Path(__file__).parent / "recordings"

# All that are compared by `test_float64` and `test_float32`.
NAMES = (
    "linear",
    "linear_no_bias",
    "relu",
    "gelu",
    "gelu_tanh",
    "tanh",
    "softmax",
    "softmax_masked",
    "layer_norm",
    "layer_norm_large_eps",
    "embedding",
    "positions",
    "dropout",
    "attention",
    "attention_masked",
    "attention_dropout",
    "unpad",
    "pad",
    "pooling_first",
    "pooling_mean",
    "cross_entropy",
    "cross_entropy_ignore",
    "cross_entropy_smoothed",
    "cross_entropy_ignore_smoothed",
    "cross_entropy_large_logits",
    "cross_entropy_weighted",
    "multi_head_attention_self",
    "multi_head_attention_cross",
    "multi_head_attention_mask_per_head",
    "feed_forward_relu",
    "feed_forward_gelu",
    "feed_forward_gelu_tanh",
    "input_embedding",
    "encoder_layer_pre_relu",
    "encoder_layer_pre_gelu",
    "encoder_layer_post_relu",
    "encoder_layer_post_gelu",
    "encoder_pre",
    "encoder_post",
    "decoder_layer_pre_relu",
    "decoder_layer_pre_gelu",
    "decoder_layer_post_relu",
    "decoder_layer_post_gelu",
    "decoder_pre",
    "decoder_post",
    "encoder_decoder_pre",
    "encoder_decoder_post",
    "encoder_decoder_pre_halves",
    "encoder_decoder_loss_pre",
    "encoder_decoder_loss_pre_unscaled",
    "encoder_decoder_loss_post",
    "encoder_decoder_loss_post_learned",
    "causal_lm",
    "causal_lm_untied",
    "causal_lm_loss",
    "causal_lm_loss_untied",
    "text_encoder_post",
    "text_encoder_pre",
    "masked_lm_pre",
    "masked_lm_loss_post",
    "masked_lm_loss_pre",
    "classifier_post",
    "classifier_loss_post",
    "classifier_loss_pre",
    "token_classifier_pre",
    "token_classifier_loss_post",
    "token_classifier_loss_pre",
)
OTHERS = ("erf", "sinusoids", "adam", "adamw", "clip")  # files that have tests of their own

TOLERANCE = 1e-10
TOLERANCE_FLOAT32 = 2e-5

# Entries smaller than this share of the largest one are measured against that share: their own
# last digits are rounding.
SMALL = 1e-3

# A gradient whose largest entry is below this share of the largest in the file is zero.
ZERO = 1e-9


def load(name):
    """The arrays of a recording by name, and its settings; an error if there is no such file."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays.pop("settings")))


class SelfAttention:
    """Multi-head attention of a sequence to itself: what is asked is what answers."""

    @staticmethod
    def forward(x, params, heads, mask):
        return multi_head_attention.forward(x, x, params, heads, mask)

    @staticmethod
    def backward(dy, cache):
        dx, dmemory, dparams = multi_head_attention.backward(dy, cache)
        return dx + dmemory, dparams


class Bits:
    """In place of a random generator: the bits with which dropout keeps what ``keep`` says."""

    def __init__(self, keep):
        self.bits = np.where(keep.reshape(-1), 2**16 - 1, 0).astype(np.uint16)

    def integers(self, low, high, size, dtype):
        return np.resize(self.bits, 4 * size).view(dtype)


class DropoutAsRecorded:
    """Dropout with a mask that is given."""

    @staticmethod
    def forward(x, keep, rate):
        return dropout.forward(x, rate, Bits(keep))

    backward = staticmethod(dropout.backward)


class AttentionAsRecorded:
    """Attention with dropout, whose mask is given."""

    @staticmethod
    def forward(query, key, value, mask, keep, dropout_rate):
        return attention.forward(query, key, value, mask, dropout_rate, Bits(keep))

    backward = staticmethod(attention.backward)


# The settings of a model, by the module whose recording has them.
CONFIGS = {
    "models.encoder_decoder": encoder_decoder.Config,
    "models.encoder_decoder_loss": encoder_decoder.Config,
    "models.causal_lm": causal_lm.Config,
    "models.causal_lm_loss": causal_lm.Config,
    "models.text_encoder": text_encoder.Config,
    "models.masked_lm": text_encoder.Config,
    "models.masked_lm_loss": text_encoder.Config,
    "models.classifier": classifier.Config,
    "models.classifier_loss": classifier.Config,
    "models.token_classifier": token_classifier.Config,
    "models.token_classifier_loss": token_classifier.Config,
}

SPECIAL = {
    "multi_head_attention_self": SelfAttention,
    "dropout": DropoutAsRecorded,
    "attention_dropout": AttentionAsRecorded,
}


def run(name, dtype):
    """Our output and gradients at the recorded inputs, and the recorded ones, by name.

    Every gradient has to be in both, with the same shape.
    """
    arrays, settings = load(name)
    op = SPECIAL.get(name) or importlib.import_module(f"numpy_transformer.{settings['module']}")
    keywords = settings["keywords"]
    if settings["module"] in CONFIGS:
        config = CONFIGS[settings["module"]](**keywords, dtype=np.dtype(dtype).name)
        keywords = {"config": config}

    # No input has a name that begins with d.
    recorded = {key: array for key, array in arrays.items() if key == "y" or key.startswith("d")}
    dy = recorded.pop("dy").astype(dtype)
    inputs = {
        key: array.astype(dtype) if array.dtype.kind == "f" else array
        for key, array in arrays.items()
        if key not in ("dy", *recorded)
    }
    arguments = parameters.nest(inputs)
    y, cache = op.forward(**arguments, **keywords)
    gradients = op.backward(dy, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    # Gradients come in the order of forward's signature; None belongs to an input that is None.
    gradients = [gradient for gradient in gradients if gradient is not None]
    differentiated = [
        argument
        for argument in inspect.signature(op.forward).parameters
        if isinstance(arguments.get(argument), dict)
        or (argument in arguments and arguments[argument].dtype.kind == "f")
    ]
    assert len(gradients) == len(differentiated), "backward returns another number of gradients"
    tree = {f"d{argument}": gradient for argument, gradient in zip(differentiated, gradients)}
    ours = {"y": y} | dict(parameters.items(tree))
    shapes = {key: array.shape for key, array in recorded.items()}
    assert {key: array.shape for key, array in ours.items()} == shapes
    return ours, recorded


def largest_gradient(recorded):
    """Find the largest entry of all gradients in a recording."""
    return max(np.abs(array).max() for name, array in recorded.items() if name != "y")


def deviations(ours, recorded):
    """For each array, the largest deviation of an entry, relative to what was recorded.

    A bias of the key has no gradient, but for rounding: it adds the same number to all scores of
    a query, and softmax takes that out. Such a gradient is measured against the largest of all.
    """
    found = {}
    for name, expected in recorded.items():
        largest = np.abs(expected).max()
        if name != "y" and largest <= ZERO * largest_gradient(recorded):
            assert name.endswith("key.bias"), f"{name} is zero, so nothing is shown"
            largest = largest_gradient(recorded)
        size = np.maximum(np.abs(expected), SMALL * largest)
        found[name] = (np.abs(ours[name] - expected) / size).max()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_float64(name):
    """The output and every gradient are PyTorch's, to ten digits."""
    ours, recorded = run(name, np.float64)
    assert {key: array.dtype for key, array in ours.items()} == dict.fromkeys(ours, np.float64)
    found = deviations(ours, recorded)
    wrong = {key: error for key, error in found.items() if not error <= TOLERANCE}
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_float32(name):
    """Float32 stays float32, and deviates by no more than its few digits make it."""
    ours, recorded = run(name, np.float32)
    assert {key: array.dtype for key, array in ours.items()} == dict.fromkeys(ours, np.float32)
    for key, expected in recorded.items():
        zero = key.endswith("key.bias")  # but for rounding
        size = largest_gradient(recorded) if zero else np.abs(expected).max()
        assert np.abs(ours[key] - expected).max() <= TOLERANCE_FLOAT32 * size, key


def test_erf():
    """The error is no larger than ``erf`` promises, and the digits are PyTorch's."""
    arrays, _ = load("erf")
    y = erf(arrays["x"])
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, arrays["exact"], rtol=0, atol=1e-15)
    np.testing.assert_allclose(y, arrays["y"], rtol=TOLERANCE)
    y = erf(arrays["x_float32"])
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.astype(np.float64), arrays["exact_float32"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(y, arrays["y_float32"], rtol=TOLERANCE_FLOAT32)


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_sinusoids(layout):
    """The table is that of loops over the paper's formula."""
    arrays, settings = load("sinusoids")
    table = positions.sinusoids(**settings["keywords"], layout=layout, dtype=np.float64)
    np.testing.assert_allclose(table, arrays[layout], rtol=0, atol=1e-13)


def test_every_recording_has_a_test():
    """A new file belongs into ``NAMES``, or into ``OTHERS`` if it has tests of its own."""
    assert {path.stem for path in FOLDER.glob("*.npz")} == {*NAMES, *OTHERS}
