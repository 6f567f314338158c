"""Bugs in the text encoder, its heads and their losses, and in pooling, unpad and pad."""

from __future__ import annotations

import numpy as np

from numpy_transformer.gradcheck.bugs.bug import catalogue, under
from numpy_transformer.gradcheck.bugs.layers import ENCODER_LAYER, NORM
from numpy_transformer.layers import encoder, input_embedding
from numpy_transformer.models import (
    classifier,
    classifier_loss,
    masked_lm,
    masked_lm_loss,
    text_encoder,
    token_classifier,
    token_classifier_loss,
)
from numpy_transformer.ops import (
    activation,
    dropout,
    embedding,
    layer_norm,
    linear,
    pad,
    pooling,
    unpad,
)

CATALOGUE, bug = catalogue()

# What has a gradient in the encoder: post-norm with learned positions, pre-norm with sinusoids.
POST = under(
    "dparams",
    (
        *("embedding.weight", "positions.weight", "segments.weight"),
        *under("embedding_norm", NORM),
        *under("encoder.layers.0", ENCODER_LAYER),
    ),
)
PRE = (*(name for name in POST if "positions" not in name), *under("dparams.encoder.norm", NORM))
PREDICTION = under(
    "dparams.prediction", (*under("dense", NORM), *under("norm", NORM), "output.bias")
)
POOLER = under("dparams.pooler", ("weight", "bias"))
OUTPUT = under("dparams.output", ("weight", "bias"))


# unpad and pad


@bug(
    "position-by-position",
    unpad,
    "dx",
    seen="batches laid out (T, B): the rows are in the order of the texts, and not of these",
)
def position_by_position(right, dy, cache):
    """The rows are handed out by position, the first of every text first, not text by text."""
    texts, length = cache.tokens.shape
    dx = np.zeros((length, texts, dy.shape[1]), dy.dtype)
    dx[cache.tokens.T] = dy
    return dx.swapaxes(0, 1)


@bug(
    "holes-closed",
    unpad,
    "dx",
    seen="rows copied back in one piece, as if the batch had no padding between its texts",
)
def holes_closed(right, dy, cache):
    """The rows fill the batch from its beginning, over the places of padding."""
    dx = np.zeros((cache.tokens.size, dy.shape[1]), dy.dtype)
    dx[: len(dy)] = dy
    return dx.reshape(*cache.tokens.shape, dy.shape[1])


@bug(
    "padding-repeats-the-last",
    pad,
    "dx",
    function="forward",
    seen="an index for padding that is clipped to the last row instead of leaving a zero",
)
def padding_repeats_the_last(right, x, tokens):
    """Forward puts the last row into the places of padding, backward knows nothing of it."""
    y, cache = right(x, tokens)
    y = y.copy()
    y[~tokens] = x[-1]
    return y, cache


# pooling


@bug(
    "padding-included",
    pooling,
    "dx",
    kind="mask",
    point="pooling, mean",
    seen="the mask is applied to the sum in forward, and not on the way back",
)
def padding_included(right, dy, cache):
    """Padding gets the same share of the gradient as the tokens."""
    if cache.share is None:
        return right(dy, cache)
    share = cache.share.max(axis=1, keepdims=True)  # (B, 1, 1)
    return right(dy, cache._replace(share=np.broadcast_to(share, cache.share.shape)))


@bug(
    "divided-by-T",
    pooling,
    "dx",
    point="pooling, mean",
    seen="np.mean in one of the two passes, and a sum over the mask in the other",
)
def divided_by_t(right, dy, cache):
    """The gradient is divided by the length of the batch, not by that of each text."""
    if cache.share is None:
        return right(dy, cache)
    return right(dy, cache._replace(share=np.sign(cache.share) / cache.shape[1]))


@bug(
    "first-for-all",
    pooling,
    "dx",
    kind="mask",
    point="pooling, first",
    seen="x[:, 0] loses an axis, and dy[:, None] brings it back for all tokens at once",
)
def first_for_all(right, dy, cache):
    """Every token gets the gradient that belongs to the first."""
    if cache.share is not None:
        return right(dy, cache)
    return np.repeat(dy[:, None], cache.shape[1], axis=1)


@bug(
    "padding-pooled",
    pooling,
    function="forward",
    point="pooling, mean",
    seen="public code: h.mean(axis=1); a text's vector changes with the texts beside it",
    invisible="both passes take padding for tokens: it is another mean, and its gradient is right",
)
def padding_pooled(right, x, mask, how="mean"):
    """The mean is over all positions, padding as well."""
    return right(x, np.ones_like(mask), how)


# text_encoder


@bug(
    "segments-assigned",
    text_encoder,
    "dparams.segments.weight",
    point="text_encoder, post-norm",
    seen="public NumPy Transformers: += on an indexed array adds once for each id, not each time",
)
def segments_assigned(right, dh, cache):
    """A segment gets what arrives at one of its tokens, not the sum over all of them."""
    dparams = right(dh, cache)
    dsegments = dparams["segments"]["weight"]
    dsegments[:] = 0
    dsegments[cache.segments.ids] += _at_the_tables(dh, cache)
    return dparams


@bug(
    "norm-skipped",
    text_encoder,
    *under("dparams", ("embedding.weight", "positions.weight", "segments.weight")),
    point="text_encoder, post-norm",
    seen="the norm of the embeddings is part of no layer, and GPT and the paper have none there",
)
def norm_skipped(right, dh, cache):
    """What arrives at the tables has not been through the norm of the embeddings."""
    dx, _ = encoder.backward(pad.backward(dh, cache.pad), cache.encoder)
    dx = unpad.backward(dropout.backward(dx, cache.dropout), cache.unpad)
    dembedding, dpositions = input_embedding.backward(dx, cache.embedding)
    tables = {"embedding": dembedding, "segments": embedding.backward(dx, cache.segments)}
    if cache.config.positions == "learned":
        tables["positions"] = dpositions
    return right(dh, cache) | {name: {"weight": table} for name, table in tables.items()}


def _at_the_tables(dh, cache):
    """What arrives at each of the three tables, (B, T, D)."""
    dx, _ = encoder.backward(pad.backward(dh, cache.pad), cache.encoder)
    dx, _, _ = layer_norm.backward(dropout.backward(dx, cache.dropout), cache.embedding_norm)
    return unpad.backward(dx, cache.unpad)


# masked_lm


@bug(
    "tied-output-forgotten",
    masked_lm,
    "dparams.embedding.weight",
    point="masked_lm, post-norm",
    seen="the head comes first on the way back, and the encoder's gradient is assigned over it",
)
def tied_output_forgotten(right, dlogits, cache):
    """The table of embeddings gets what arrives where tokens come in, and nothing else."""
    dparams = right(dlogits, cache)
    dparams["embedding"]["weight"] -= _tied_output(dlogits, cache)
    return dparams


@bug(
    "hidden-tokens-taken-for-constants",
    masked_lm,
    "dparams.embedding.weight",
    point="masked_lm, pre-norm",
    seen="[MASK] is no word, and that its row has to be learned as well is overlooked",
)
def hidden_tokens_taken_for_constants(right, dlogits, cache):
    """What stands at the chosen places gets no gradient as an input."""
    dparams = right(dlogits, cache)
    dx = _at_the_tables(_at_the_encoder(dlogits, cache), cache.encoder)
    tokens = cache.encoder.embedding.tokens
    dhidden = embedding.backward(np.where(cache.chosen[..., None], dx, 0), tokens)
    dparams["embedding"]["weight"] -= dhidden
    return dparams


@bug(
    "order-transposed",
    masked_lm,
    *(name for name in POST if not name.endswith("feed_forward_norm.bias")),  # a sum over all
    point="masked_lm, post-norm",
    seen="texts that are stored (T, B): their chosen tokens come in another order",
)
def order_transposed(right, dlogits, cache):
    """The gradients of the chosen tokens are put back column by column, not row by row."""
    dh = _at_the_encoder(dlogits, cache)  # (B, T, D)
    dh.swapaxes(0, 1)[cache.chosen.T] = dh[cache.chosen]
    dparams = right(dlogits, cache) | text_encoder.backward(dh, cache.encoder)
    dparams["embedding"]["weight"] += _tied_output(dlogits, cache)
    return dparams


def _tied_output(dlogits, cache):
    """The head's share in the gradient of the embeddings, (V, D)."""
    _, doutput, _ = linear.backward(dlogits, cache.output)  # (D, V)
    return doutput.T


def _at_the_encoder(dlogits, cache):
    """What the head hands on to the encoder, (B, T, D)."""
    dz, _, _ = linear.backward(dlogits, cache.output)
    dz, _, _ = layer_norm.backward(dz, cache.norm)
    dz, _, _ = linear.backward(activation.backward(dz, cache.activation), cache.dense)
    dh = np.zeros((*cache.chosen.shape, dz.shape[1]), dz.dtype)
    dh[cache.chosen] = dz
    return dh


# masked_lm_loss


@bug(
    "divided-by-all-tokens",
    masked_lm_loss,
    *POST,
    *PREDICTION,
    kind="factor",
    point="masked_lm_loss, post-norm",
    seen="the mean of a loss over (B, T) that is 0 where nothing was chosen",
)
def divided_by_all_tokens(right, dloss, cache):
    """The gradient is divided by the number of all tokens, not of those that are chosen."""
    return right(dloss * float(cache.model.chosen.mean()), cache)


# classifier


@bug(
    "pooler-skipped",
    classifier,
    *POST,
    point="classifier, first",
    seen="two linear maps and a tanh, one way back; the weight is square, so nothing complains",
)
def pooler_skipped(right, dlogits, cache):
    """What comes through the tanh is handed to the encoder, past the pooler's weight."""
    identity = np.eye(len(cache.pooler.weight), dtype=cache.pooler.weight.dtype)
    return right(dlogits, cache._replace(pooler=cache.pooler._replace(weight=identity)))


# classifier_loss


@bug(
    "divided-by-all-texts",
    classifier_loss,
    *(*PRE, *POOLER, *OUTPUT),
    kind="factor",
    point="classifier_loss, first, weighted",
    seen="a mean over the batch, and texts without a label or with a weight came later",
)
def divided_by_all_texts(right, dloss, cache):
    """The gradient is divided by the number of texts, not by what those with a label weigh."""
    return right(dloss * float(cache.loss.weights.mean()), cache)


# token_classifier


@bug(
    "dropout-skipped",
    token_classifier,
    *PRE,
    point="token_classifier",
    seen="dropout between two parts of a model, which belongs to neither of them",
)
def dropout_skipped(right, dlogits, cache):
    """The gradient does not go back through the dropout before the head."""
    return right(dlogits, cache._replace(dropout=dropout.Cache(None, 1.0)))


# token_classifier_loss


@bug(
    "no-label-taken-for-class-0",
    token_classifier_loss,
    *(*POST, *OUTPUT),
    point="token_classifier_loss, weighted",
    seen="labels padded with 0, which is a class as well, most often that of nothing special",
)
def no_label_taken_for_class_0(right, dloss, cache):
    """Backward takes tokens without a label for tokens of class 0."""
    of_class_0 = cache.model.encoder.config.class_weights[0]
    weights = np.where(cache.loss.weights > 0, cache.loss.weights, of_class_0)
    loss = cache.loss._replace(weights=weights.astype(cache.loss.weights.dtype))
    return right(dloss, cache._replace(loss=loss))
