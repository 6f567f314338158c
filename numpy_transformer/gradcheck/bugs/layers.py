"""Bugs in the layers, from feed-forward to the decoder."""

from __future__ import annotations

import numpy as np

from numpy_transformer.gradcheck.bugs.bug import catalogue, cut, under
from numpy_transformer.layers import (
    decoder,
    decoder_layer,
    encoder,
    encoder_layer,
    feed_forward,
    residual,
)
from numpy_transformer.ops import gelu, layer_norm, relu

CATALOGUE, bug = catalogue()


# What has a gradient; the bias of the key has none but zero.
NORM = ("weight", "bias")
ATTENTION = (
    *("query.weight", "query.bias", "key.weight"),
    *("value.weight", "value.bias", "output.weight", "output.bias"),
)
FEED_FORWARD = ("hidden.weight", "hidden.bias", "output.weight", "output.bias")
SELF_ATTENTION = (*under("self_attention_norm", NORM), *under("self_attention", ATTENTION))
CROSS_ATTENTION = (*under("cross_attention_norm", NORM), *under("cross_attention", ATTENTION))
TRANSFORM = (*under("feed_forward_norm", NORM), *under("feed_forward", FEED_FORWARD))
ENCODER_LAYER = (*SELF_ATTENTION, *TRANSFORM)
WITHOUT_BIASES = tuple(
    name for name in ENCODER_LAYER if not name.endswith(("query.bias", "key.bias", "value.bias"))
)
DECODER_LAYER = (*SELF_ATTENTION, *CROSS_ATTENTION, *TRANSFORM)


# feed_forward


@bug(
    "activation-skipped",
    feed_forward,
    "dx",
    "dparams.hidden.weight",
    "dparams.hidden.bias",
    point="feed_forward, relu",
    seen="the two matrix products are there, and what stands between them is not",
)
def activation_skipped(right, dy, cache):
    """The gradient does not go back through the activation."""
    return right(dy, cache._replace(activation=relu.Cache(np.ones_like(cache.output.x))))


@bug(
    "output-weight-before-dropout",
    feed_forward,
    "dparams.output.weight",
    point="feed_forward, relu",
    seen="backward passes copied from the case without dropout",
)
def output_weight_before_dropout(right, dy, cache):
    """The second weight's gradient is made of the hidden units as they were before dropout."""
    return right(dy, cache._replace(output=cache.output._replace(x=cache.activation.y)))


@bug(
    "derivative-at-the-output",
    feed_forward,
    "dx",
    "dparams.hidden.weight",
    "dparams.hidden.bias",
    point="feed_forward, gelu",
    seen="right for ReLU, for which the output is all that has to be kept",
)
def derivative_at_the_output(right, dy, cache):
    """GELU's derivative is taken at its output instead of its input."""
    x, probability, approximate = cache.activation
    _, activation = gelu.forward(x * probability, approximate)
    return right(dy, cache._replace(activation=activation))


@bug(
    "divided-by-the-batch",
    feed_forward,
    *under("dparams", FEED_FORWARD),
    kind="factor",
    point="feed_forward, gelu_tanh",
    seen="1/m in every layer, as it is taught where dy itself is not yet averaged",
)
def divided_by_the_batch(right, dy, cache):
    """The gradients of the parameters are divided by the size of the batch, which the loss did."""
    dx, dparams = right(dy, cache)
    return dx, {
        name: {key: gradient / len(dy) for key, gradient in tree.items()}
        for name, tree in dparams.items()
    }


# residual


@bug(
    "skip-forgotten",
    residual,
    *("dx", "dmemory"),
    *under("dparams", (*SELF_ATTENTION, *CROSS_ATTENTION)),
    point="decoder_layer, pre-norm, relu",
    seen="the sum of forward is one + in a line, and its second gradient is easily lost",
)
def skip_forgotten(right, dy, cache, sublayer_backward):
    """With pre-norm, the gradient comes back through the sub-layer only."""
    dx, *others = right(dy, cache, sublayer_backward)
    return (dx - dy if cache.pre else dx), *others


@bug(
    "norm-in-the-other-place",
    residual,
    *("dx", *under("dparams", ENCODER_LAYER)),
    point="encoder_layer, post-norm, gelu",
    seen="a model changed from post-norm to pre-norm in one of the two passes",
)
def norm_in_the_other_place(right, dy, cache, sublayer_backward):
    """Backward takes pre-norm for post-norm, and post-norm for pre-norm."""
    return right(dy, cache._replace(pre=not cache.pre), sublayer_backward)


@bug(
    "skip-around-the-norm",
    residual,
    *("dx", *under("dparams", SELF_ATTENTION)),
    point="encoder_layer, post-norm, gelu",
    seen="right with pre-norm, where nothing stands after the sum",
)
def skip_around_the_norm(right, dy, cache, sublayer_backward):
    """With post-norm, what comes straight through has not been through the norm."""
    dx, *others = right(dy, cache, sublayer_backward)
    return (dx if cache.pre else dx - layer_norm.backward(dy, cache.norm)[0] + dy), *others


@bug(
    "dy-overwritten",
    residual,
    point="encoder_layer, pre-norm, relu",
    seen="dy += dh saves an array, and changes what belongs to the caller",
)
def dy_overwritten(right, dy, cache, sublayer_backward):
    """With pre-norm the two gradients are added up in dy; the result is right."""
    dx, *others = right(dy, cache, sublayer_backward)
    if cache.pre:
        dy[...] = dx
    return dx, *others


# encoder_layer


@bug(
    "asks-but-does-not-answer",
    encoder_layer,
    *("dx", "dparams.self_attention_norm.weight", "dparams.self_attention_norm.bias"),
    point="encoder_layer, pre-norm, relu",
    seen="x goes into self-attention three times, and only one way back is thought of",
)
def asks_but_does_not_answer(right, dy, cache):
    """What comes back from self-attention through keys and values is lost."""
    attended = cache.self_attention
    attended = attended._replace(key=cut(attended.key), value=cut(attended.value))
    return right(dy, cache._replace(self_attention=attended))


@bug(
    "one-mask-of-dropout",
    encoder_layer,
    *("dx", *under("dparams", SELF_ATTENTION)),
    point="encoder_layer, pre-norm, relu",
    seen="public NumPy Transformers: one dropout object at two places keeps the last mask only",
)
def one_mask_of_dropout(right, dy, cache):
    """Both sub-layers go back through the second one's mask of dropout."""
    return right(dy, cache._replace(self_attention_dropout=cache.feed_forward_dropout))


@bug(
    "norms-swapped",
    encoder_layer,
    *under("dparams.self_attention_norm", NORM),
    *under("dparams.feed_forward_norm", NORM),
    kind="swapped",
    point="encoder_layer, post-norm, gelu",
    seen="norm1 and norm2 are met in the other order on the way back",
)
def norms_swapped(right, dy, cache):
    """The gradients of the two norms change places."""
    dx, dparams = right(dy, cache)
    first, second = dparams["self_attention_norm"], dparams["feed_forward_norm"]
    return dx, dparams | {"self_attention_norm": second, "feed_forward_norm": first}


# decoder_layer


@bug(
    "attentions-swapped",
    decoder_layer,
    *under("dparams.self_attention", ATTENTION),
    *under("dparams.cross_attention", ATTENTION),
    kind="swapped",
    point="decoder_layer, post-norm, gelu",
    seen="easily made: the two have the same names and shapes, and are met in the other order",
)
def attentions_swapped(right, dy, cache):
    """The gradients of self-attention and of cross-attention change places."""
    dx, dmemory, dparams = right(dy, cache)
    own, cross = dparams["self_attention"], dparams["cross_attention"]
    return dx, dmemory, dparams | {"self_attention": cross, "cross_attention": own}


# encoder


@bug(
    "last-norm-skipped",
    encoder,
    *("dx", *under("dparams.layers.0", ENCODER_LAYER), *under("dparams.layers.1", ENCODER_LAYER)),
    seen="the norm at the end is part of no layer, and was added with pre-norm",
)
def last_norm_skipped(right, dy, cache):
    """The layers get dy as it was before it went through the last norm."""
    dx, dparams = right(dy, cache._replace(norm=None))
    return dx, right(dy, cache)[1] | dparams


@bug(
    "layers-reversed",
    encoder,
    *under("dparams.layers.0", ENCODER_LAYER),
    *under("dparams.layers.1", ENCODER_LAYER),
    kind="swapped",
    seen="backward meets the last layer first, and puts its gradient first",
)
def layers_reversed(right, dy, cache):
    """The gradients of the layers are listed from the last layer to the first."""
    dx, dparams = right(dy, cache)
    layers = dparams["layers"]
    return dx, dparams | {"layers": dict(zip(layers, reversed(layers.values())))}


# decoder


@bug(
    "memory-of-the-last-layer",
    decoder,
    "dmemory",
    seen="easily made: assigned in each layer, where it has to be added",
)
def memory_of_the_last_layer(right, dy, cache):
    """The gradient of the memory is that of the last layer, not the sum over all layers."""
    dx, _, dparams = right(dy, cache)
    _, dmemory, _ = right(dy, cache._replace(layers=cache.layers[-1:]))
    return dx, dmemory, dparams


@bug(
    "memory-taken-for-a-constant",
    decoder,
    *under("dparams.encoder.layers.0", ENCODER_LAYER),
    "dparams.source_embedding.weight",
    kind="zero",
    point="encoder_decoder, post-norm, untied",
    seen="easily made, and hardly noticed: the loss falls with an encoder that never learns",
)
def memory_taken_for_a_constant(right, dy, cache):
    """The memory gets no gradient, and so nothing in the encoder does."""
    dx, dmemory, dparams = right(dy, cache)
    return dx, np.zeros_like(dmemory), dparams
