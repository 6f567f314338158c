"""Bugs in dropout, in attention and its masks, and in multi-head attention."""

from __future__ import annotations

import math

import numpy as np

from numpy_transformer.gradcheck.bugs.bug import catalogue, cut, under
from numpy_transformer.layers import multi_head_attention
from numpy_transformer.ops import attention, dropout, masks

CATALOGUE, bug = catalogue()


# dropout


@bug(
    "mask-forgotten",
    dropout,
    "dx",
    kind="mask",
    seen="code that does not keep the mask",
)
def mask_forgotten(right, dy, cache):
    """The gradient also reaches what was dropped."""
    return dy * cache.scale


@bug(
    "scale-forgotten",
    dropout,
    "dx",
    kind="factor",
    seen="code that keeps the mask before it is divided by 1 - rate",
)
def dropout_scale_forgotten(right, dy, cache):
    """What was kept is not divided by 1 - rate on the way back."""
    return right(dy, cache._replace(scale=1.0))


@bug(
    "not-scaled-in-forward",
    dropout,
    "dx",
    function="forward",
    kind="factor",
    seen="dropout as first published is scaled when the model is used, not in training",
)
def not_scaled_in_forward(right, x, rate, rng):
    """Forward does not divide by 1 - rate, backward does."""
    y, cache = right(x, rate, rng)
    return y / cache.scale, cache


@bug(
    "another-mask",
    dropout,
    "dx",
    seen="code that calls its dropout function a second time in the backward pass",
)
def another_mask(right, dy, cache):
    """The backward pass draws a mask of its own."""
    if cache.keep is None:
        return dy
    _, other = dropout.forward(dy, 1 - 1 / cache.scale, np.random.default_rng(0))
    return right(dy, other)


@bug(
    "never-off",
    dropout,
    function="forward",
    seen="public NumPy Transformers that still drop while they generate",
    invisible="whatever mask is drawn, backward uses the same one; only what is generated suffers",
)
def never_off(right, x, rate, rng):
    """Without a generator, which is to say dropout off, entries are dropped all the same."""
    return right(x, rate, np.random.default_rng(0) if rng is None else rng)


@bug(
    "one-mask-everywhere",
    dropout,
    function="forward",
    seen="a seed set anew within the function, for results that repeat",
    invisible="each place keeps the mask it used, so forward and backward agree at every place",
)
def one_mask_everywhere(right, x, rate, rng):
    """Every call starts from the same seed, so all places of the same size drop the same units."""
    return right(x, rate, None if rng is None else np.random.default_rng(0))


# attention


@bug(
    "key-reshaped",
    attention,
    "dkey",
    kind="transpose",
    seen="public NumPy Transformers: query^T dscores is (K, S), and a reshape hides that",
)
def key_reshaped(right, dy, cache):
    """The gradient of the keys is made as (K, S), then reshaped instead of transposed."""
    dquery, dkey, dvalue = right(dy, cache)
    return dquery, dkey.swapaxes(-1, -2).reshape(dkey.shape), dvalue


@bug(
    "scale-forgotten",
    attention,
    "dquery",
    "dkey",
    kind="factor",
    seen="the scale is part of the scores in forward, and not thought of as a step of its own",
)
def scale_forgotten(right, dy, cache):
    """The gradient of the scores is not divided by sqrt(K)."""
    dquery, dkey, dvalue = right(dy, cache)
    scale = math.sqrt(cache.query.shape[-1])
    return dquery * scale, dkey * scale, dvalue


@bug(
    "divided-by-K-in-forward",
    attention,
    "dquery",
    "dkey",
    function="forward",
    kind="factor",
    seen="the root is lost in one of the two passes",
)
def divided_by_k_in_forward(right, query, key, value, mask=None, dropout_rate=0.0, rng=None):
    """Forward divides the scores by K, backward by sqrt(K)."""
    scaled = query * (1 / math.sqrt(query.shape[-1]))
    y, cache = right(scaled, key, value, mask, dropout_rate, rng)
    return y, cache._replace(query=query)


@bug(
    "value-before-dropout",
    attention,
    "dvalue",
    seen="backward passes copied from the case without dropout",
)
def value_before_dropout(right, dy, cache):
    """The gradient of the values is mixed by the weights as they were before dropout."""
    return right(dy, cache._replace(dropped=cache.weights))


@bug(
    "softmax-of-the-dropped",
    attention,
    "dquery",
    "dkey",
    seen="code that keeps one array of weights, the one after dropout",
)
def softmax_of_the_dropped(right, dy, cache):
    """Softmax's derivative is taken at the weights as they were after dropout."""
    return right(dy, cache._replace(weights=cache.dropped))


@bug(
    "last-head-left-out",
    attention,
    "dquery",
    "dkey",
    "dvalue",
    kind="part",
    seen="loops over the heads that end one too early; a test with one head shows zeros only",
)
def last_head_left_out(right, dy, cache):
    """The last head gets no gradient."""
    gradients = right(dy, cache)
    for gradient in gradients:
        gradient[:, -1] = 0
    return gradients


@bug(
    "recomputed-without-mask",
    attention,
    "dquery",
    "dkey",
    "dvalue",
    seen="weights that are computed again to save memory, and the mask with them is forgotten",
)
def recomputed_without_mask(right, dy, cache):
    """Backward makes the weights anew, and lets all keys be seen: in a decoder, the future."""
    _, again = attention.forward(cache.query, cache.key, cache.value)
    dropped = dropout.backward(again.weights, cache.dropout)  # what forward did, as well
    return right(dy, cache._replace(weights=again.weights, dropped=dropped))


@bug(
    "mask-after-softmax",
    attention,
    "dquery",
    "dkey",
    function="forward",
    seen="masks multiplied with the weights, as dropout's mask is",
)
def mask_after_softmax(right, query, key, value, mask=None, dropout_rate=0.0, rng=None):
    """Forward sets weights to 0 after softmax, and what is left does not add up to 1."""
    _, cache = right(query, key, value)
    weights = cache.weights if mask is None else cache.weights * mask
    dropped, kept = dropout.forward(weights, dropout_rate, rng)
    return dropped @ value, attention.Cache(query, key, value, weights, dropped, kept)


@bug(
    "float64-scale",
    attention,
    "dquery",
    "dkey",
    seen="under NumPy 2 a scale of np.sqrt(K) does this; here an array does, under any version",
)
def float64_scale(right, dy, cache):
    """The scale is an array of float64, so that float32 gradients come back as float64."""
    dquery, dkey, dvalue = right(dy, cache)
    factor = np.ones(1)  # the values stay as they are
    return dquery * factor, dkey * factor, dvalue


@bug(
    "mask-inverted",
    attention,
    function="forward",
    seen="PyTorch's key_padding_mask, in which True means ignore",
    invisible="forward and backward agree about the weights, whoever may attend to whom",
)
def mask_inverted(right, query, key, value, mask=None, dropout_rate=0.0, rng=None):
    """Queries attend to what the mask hides, and only to that."""
    return right(query, key, value, None if mask is None else ~mask, dropout_rate, rng)


# masks


@bug(
    "next-token-seen",
    masks,
    function="causal_mask",
    point="encoder_decoder, pre-norm, tied",
    seen="public Transformers; the loss falls faster, and what is generated is worthless",
    invisible="forward and backward agree about a mask that allows too much",
)
def next_token_seen(right, length):
    """The diagonal of the causal mask is one off: each position sees what it has to predict."""
    return np.tri(length, k=1, dtype=bool)


@bug(
    "upside-down",
    masks,
    function="causal_mask",
    point="causal_lm, tied",
    seen="triu for tril: the upper triangle is what to hide in PyTorch, and here what may be seen",
    invisible="forward and backward agree about a mask that shows the future and hides the past",
)
def upside_down(right, length):
    """Each position sees itself and what comes after it, and nothing that came before."""
    return np.tri(length, dtype=bool).T


# multi_head_attention


@bug(
    "memory-from-values-only",
    multi_head_attention,
    "dmemory",
    seen="memory goes in twice, and the second gradient is assigned over the first",
)
def memory_from_values_only(right, dy, cache):
    """What comes back to the memory through the keys is lost."""
    return right(dy, cache._replace(key=cut(cache.key)))


@bug(
    "memory-from-keys-only",
    multi_head_attention,
    "dmemory",
    seen="memory goes in twice, and the gradient through the values is forgotten",
)
def memory_from_keys_only(right, dy, cache):
    """What comes back to the memory through the values is lost."""
    return right(dy, cache._replace(value=cut(cache.value)))


@bug(
    "memory-added-to-x",
    multi_head_attention,
    "dx",
    seen="cross-attention copied from self-attention, where x and memory are one",
)
def memory_added_to_x(right, dy, cache):
    """The gradient of the memory is added to dx as well, as far as the positions go."""
    dx, dmemory, dparams = right(dy, cache)
    both = min(dx.shape[1], dmemory.shape[1])
    dx[:, :both] += dmemory[:, :both]
    return dx, dmemory, dparams


@bug(
    "heads-merged-by-reshape",
    multi_head_attention,
    "dx",
    "dmemory",
    *under("dparams", ("query.weight", "query.bias", "key.weight", "key.bias")),
    *under("dparams", ("value.weight", "value.bias")),
    function="merge_heads",
    seen="a reshape gives the right shape, with positions where heads should be",
)
def heads_merged_by_reshape(right, x):
    """(B, H, T, K) becomes (B, T, H K) without the transpose in between."""
    B, H, T, K = x.shape
    return x.reshape(B, T, H * K)


@bug(
    "output-weight-transposed",
    multi_head_attention,
    "dparams.output.weight",
    kind="transpose",
    seen="ports from weights stored as (out, in); the weight is square, so nothing complains",
)
def output_weight_transposed(right, dy, cache):
    """The gradient of the output's weight is transposed."""
    dx, dmemory, dparams = right(dy, cache)
    dparams["output"]["weight"] = dparams["output"]["weight"].T
    return dx, dmemory, dparams


@bug(
    "key-and-value-swapped",
    multi_head_attention,
    "dparams.key.weight",
    "dparams.value.weight",
    kind="swapped",
    seen="two of several gradients that are returned together, unpacked in the wrong order",
)
def key_and_value_swapped(right, dy, cache):
    """The gradients of the weights of key and value change places."""
    dx, dmemory, dparams = right(dy, cache)
    key, value = dparams["key"], dparams["value"]
    key["weight"], value["weight"] = value["weight"], key["weight"]
    return dx, dmemory, dparams


@bug(
    "fused-and-split-by-heads",
    multi_head_attention,
    *under("dparams", ("query.weight", "key.weight", "value.weight")),
    point="multi_head_attention, no bias",
    seen="one matrix for all three: GPT-2 lays them side by side, others head by head",
)
def fused_and_split_by_heads(right, dy, cache):
    """One gradient (D, 3 D), query, key, value, is taken apart as if each head had its three."""
    dx, dmemory, dparams = right(dy, cache)
    _, heads, _, size = cache.attention.query.shape
    names = ("query", "key", "value")
    fused = np.concatenate([dparams[name]["weight"] for name in names], axis=1)  # (D, 3 D)
    by_head = fused.reshape(-1, heads, 3, size)  # (D, H, 3, K)
    for i, name in enumerate(names):
        dparams[name]["weight"] = by_head[:, :, i].reshape(-1, heads * size)
    return dx, dmemory, dparams


@bug(
    "last-head-of-the-query",
    multi_head_attention,
    "dparams.query.weight",
    "dparams.query.bias",
    kind="part",
    seen="weights kept for each head by itself, and a loop over the heads that ends too early",
)
def last_head_of_the_query(right, dy, cache):
    """The query's map gets no gradient from the last head."""
    dx, dmemory, dparams = right(dy, cache)
    last = slice(-cache.attention.query.shape[-1], None)
    dparams["query"]["weight"][:, last] = 0
    dparams["query"]["bias"][last] = 0
    return dx, dmemory, dparams
