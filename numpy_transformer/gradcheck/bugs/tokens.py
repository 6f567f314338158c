"""Bugs on the way from tokens to numbers, and from numbers to a loss.

These are embedding, positions, input_embedding and cross_entropy.
"""

from __future__ import annotations

import numpy as np

from numpy_transformer.gradcheck.bugs.bug import catalogue
from numpy_transformer.layers import input_embedding
from numpy_transformer.ops import cross_entropy, embedding, positions, softmax

CATALOGUE, bug = catalogue()


# embedding


@bug(
    "repeated-ids-assigned",
    embedding,
    "dweight",
    kind="part",
    seen="public NumPy Transformers: += on an indexed array adds once for each id, not each time",
)
def repeated_ids_assigned(right, dy, cache):
    """A token that stands more than once gets what arrives at one of its places."""
    dweight = np.zeros(cache.weight.shape, dy.dtype)
    dweight[cache.ids] += dy
    return dweight


@bug(
    "padding-row-zeroed",
    embedding,
    "dweight",
    kind="part",
    seen="ports of PyTorch's padding_idx, which stops that row's gradient on purpose",
)
def padding_row_zeroed(right, dy, cache):
    """Row 0, which forward looks up like any other, gets no gradient."""
    dweight = right(dy, cache)
    dweight[0] = 0
    return dweight


# positions


@bug(
    "averaged-over-the-batch",
    positions,
    "dweight",
    kind="factor",
    seen="forward broadcasts the table, and a mean seems as good a way back as a sum",
)
def averaged_over_the_batch(right, dy, cache):
    """The gradient of the table is the mean over the batch, not the sum."""
    dx, dweight = right(dy, cache)
    return dx, dweight / len(dy)


@bug(
    "last-sequence-only",
    positions,
    "dweight",
    seen="a loop over the batch that assigns each sequence's gradient where it has to add it",
)
def last_sequence_only(right, dy, cache):
    """The table gets the gradient of the last sequence of the batch alone."""
    dx, _ = right(dy, cache)
    return dx, right(dy[-1:], cache)[1]


@bug(
    "rows-shifted",
    positions,
    "dweight",
    kind="transpose",
    seen="easily made where positions count from 1 in one place and from 0 in the other",
)
def rows_shifted(right, dy, cache):
    """Row t gets the gradient of row t - 1."""
    dx, dweight = right(dy, cache)
    return dx, np.roll(dweight, 1, axis=0)


@bug(
    "taken-for-a-constant",
    positions,
    "dweight",
    kind="zero",
    seen="code in which a learned table took the place of the sinusoids",
)
def taken_for_a_constant(right, dy, cache):
    """The table gets no gradient."""
    dx, dweight = right(dy, cache)
    return dx, np.zeros_like(dweight)


@bug(
    "argument-overwritten",
    positions,
    function="forward",
    seen="x += table saves an array, and changes what belongs to the caller",
)
def argument_overwritten(right, x, weight):
    """Forward adds the positions in place."""
    x += weight[: x.shape[-2]]
    return x, positions.Cache(weight)


# input_embedding


@bug(
    "scale-forgotten",
    input_embedding,
    "dweight",
    kind="factor",
    seen="public NumPy Transformers: sqrt(D) is in forward only",
)
def scale_forgotten(right, dy, cache):
    """The gradient of the token table is not multiplied by the scale."""
    return right(dy, cache._replace(scale=1.0))


@bug(
    "positions-scaled",
    input_embedding,
    "dpositions",
    kind="factor",
    seen="forward scales the tokens before the sum, and backward scales before it parts them",
)
def positions_scaled(right, dy, cache):
    """The gradient of the positions is multiplied by the scale as well."""
    dweight, dpositions = right(dy, cache)
    return dweight, dpositions * cache.scale


@bug(
    "scale-left-out",
    input_embedding,
    function="forward",
    seen="GPT and BERT do not scale, and much is copied from them",
    invisible="both passes leave it out: it is another model, and its gradients are right",
)
def scale_left_out(right, ids, weight, positions, scale=1.0, dropout_rate=0.0, rng=None):
    """The embeddings are not multiplied by sqrt(D)."""
    return right(ids, weight, positions, 1.0, dropout_rate, rng)


# cross_entropy


@bug(
    "dloss-ignored",
    cross_entropy,
    "dlogits",
    kind="factor",
    seen="the loss is the end of the chain, so dloss is nearly always 1 and not thought of",
)
def dloss_ignored(right, dloss, cache):
    """The gradient is that of dloss = 1, whatever dloss is."""
    return right(1.0, cache)


@bug(
    "divided-by-all-positions",
    cross_entropy,
    "dlogits",
    kind="factor",
    seen="public NumPy Transformers: a mean over padding, too, in one of the two passes",
)
def divided_by_all_positions(right, dloss, cache):
    """The gradient is divided by the number of all positions, not of those that count."""
    return right(dloss, cache) * float(cache.weights.mean())


@bug(
    "divided-by-the-batch",
    cross_entropy,
    "dlogits",
    kind="factor",
    seen="code copied from a classifier, with one target a row",
)
def divided_by_the_batch(right, dloss, cache):
    """The gradient is divided by the size of the batch, not by the number of tokens."""
    return right(dloss, cache) * float(cache.weights.sum() / len(cache.logits))


@bug(
    "padding-not-zeroed",
    cross_entropy,
    "dlogits",
    kind="mask",
    seen="the loss is masked in forward, and its gradient is not",
)
def padding_not_zeroed(right, dloss, cache):
    """Rows that do not count get a gradient as if they did."""
    dlogits = right(dloss, cache._replace(weights=np.ones_like(cache.weights)))
    return dlogits / float(cache.weights.mean())


@bug(
    "smoothing-forgotten",
    cross_entropy,
    "dlogits",
    point="cross_entropy, smoothed",
    seen="smoothing that was added to forward later",
)
def smoothing_forgotten(right, dloss, cache):
    """Backward compares with the target alone, as if there were no label smoothing."""
    return right(dloss, cache._replace(label_smoothing=0.0))


@bug(
    "another-smoothing",
    cross_entropy,
    "dlogits",
    point="cross_entropy, smoothed",
    seen="two conventions that are both in use, one in each pass",
)
def another_smoothing(right, dloss, cache):
    """Backward smooths by e / (V - 1) on all but the target, forward by e / V on all."""
    V = cache.logits.shape[-1]
    return right(dloss, cache._replace(label_smoothing=cache.label_smoothing * V / (V - 1)))


@bug(
    "sign-turned",
    cross_entropy,
    "dlogits",
    kind="sign",
    seen="q - p for p - q: the gradient of the log-likelihood, not of the loss",
)
def sign_turned(right, dloss, cache):
    """The difference is taken the wrong way round."""
    return -right(dloss, cache)


@bug(
    "softmax-twice",
    cross_entropy,
    "dlogits",
    seen="p - q is the gradient of the logits already, and is often sent through softmax again",
)
def softmax_twice(right, dloss, cache):
    """The result goes back through softmax once more."""
    return softmax.backward(right(dloss, cache), softmax.forward(cache.logits)[1])


@bug(
    "class-weights-forgotten",
    cross_entropy,
    "dlogits",
    kind="scale",
    point="cross_entropy, weighted",
    seen="class weights that were added to forward later",
)
def class_weights_forgotten(right, dloss, cache):
    """Backward takes the plain mean, as if all classes weighed the same."""
    return right(dloss, cache._replace(weights=(cache.weights > 0).astype(cache.weights.dtype)))


@bug(
    "divided-by-rows",
    cross_entropy,
    "dlogits",
    kind="factor",
    point="cross_entropy, weighted",
    seen="a division by the number of rows, which was right until rows had weights",
)
def divided_by_rows(right, dloss, cache):
    """The weighted gradient is divided by how many rows count, not by what they weigh."""
    return right(dloss, cache) * float(cache.weights[cache.weights > 0].mean())


@bug(
    "divided-by-rows-in-both-passes",
    cross_entropy,
    function="_total",
    point="cross_entropy, weighted",
    seen="a convention of its own: Keras divides so, PyTorch by the sum of the weights",
    invisible="it is another loss, and its gradient is right",
)
def divided_by_rows_in_both_passes(right, weights):
    """Both passes divide by how many rows count, whatever they weigh."""
    return float(np.count_nonzero(weights)) or 1.0


@bug(
    "another-smoothing-in-both-passes",
    cross_entropy,
    function="forward",
    point="cross_entropy, smoothed",
    seen="a convention of its own in many a port, e / (V - 1)",
    invisible="it is another loss, and its gradient is right",
)
def another_smoothing_in_both_passes(
    right, logits, targets, ignore_index=None, label_smoothing=0.0, class_weights=None
):
    """Both passes smooth by e / (V - 1) on all but the target."""
    V = logits.shape[-1]
    return right(logits, targets, ignore_index, label_smoothing * V / (V - 1), class_weights)


@bug(
    "padding-counts",
    cross_entropy,
    function="forward",
    seen="public NumPy Transformers: a mean over all positions, in both passes",
    invisible="it is another loss, and its gradient is right",
)
def padding_counts(
    right, logits, targets, ignore_index=None, label_smoothing=0.0, class_weights=None
):
    """Padding is a target like any other, in both passes."""
    return right(logits, targets, None, label_smoothing, class_weights)
