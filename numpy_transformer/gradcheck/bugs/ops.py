"""Bugs in the smaller operations: linear, relu, gelu, tanh, softmax, layer_norm."""

from __future__ import annotations

import math

import numpy as np

from numpy_transformer.gradcheck.bugs.bug import catalogue
from numpy_transformer.ops import gelu, layer_norm, linear, relu, softmax, tanh

CATALOGUE, bug = catalogue()


# linear


@bug(
    "weight-reshaped",
    linear,
    "dweight",
    kind="transpose",
    seen="ports from weights stored as (out, in); the shape is right, so nothing complains",
)
def weight_reshaped(right, dy, cache):
    """The gradient of the weight is made as (out, in), then reshaped instead of transposed."""
    dx, dweight, dbias = right(dy, cache)
    return dx, dweight.T.reshape(dweight.shape), dbias


@bug(
    "bias-averaged",
    linear,
    "dbias",
    kind="factor",
    seen="a mean over the batch belongs to the loss, and is easily taken here once more",
)
def bias_averaged(right, dy, cache):
    """The gradient of the bias is the mean over all rows instead of the sum."""
    dx, dweight, dbias = right(dy, cache)
    return dx, dweight, None if dbias is None else dbias / math.prod(dy.shape[:-1])


@bug(
    "bias-of-the-first-row",
    linear,
    "dbias",
    seen="code written for one sequence, to which a batch axis was added later",
)
def bias_of_the_first_row(right, dy, cache):
    """The gradient of the bias is summed over the positions of the first batch row only."""
    dx, dweight, dbias = right(dy, cache)
    return dx, dweight, None if dbias is None else dy[0].reshape(-1, dy.shape[-1]).sum(axis=0)


@bug(
    "bias-never-filled",
    linear,
    "dbias",
    kind="zero",
    seen="code that makes all gradients as zeros first; a bias that stays 0 is hardly missed",
)
def bias_never_filled(right, dy, cache):
    """The gradient of the bias is made as zeros and never filled."""
    dx, dweight, dbias = right(dy, cache)
    return dx, dweight, None if dbias is None else np.zeros_like(dbias)


@bug(
    "last-batch-row-left-out",
    linear,
    "dx",
    kind="part",
    seen="loops over the batch that end one too early",
)
def last_batch_row_left_out(right, dy, cache):
    """A loop over ``range(len(x) - 1)`` leaves the last batch row of dx at zero."""
    dx, dweight, dbias = right(dy, cache)
    dx[-1] = 0
    return dx, dweight, dbias


# relu


@bug(
    "handed-on",
    relu,
    "dx",
    kind="through",
    seen="backward passes that treat the activation as if it were not there",
)
def handed_on(right, dy, cache):
    """The slope is forgotten: dy is handed on as it is."""
    return dy.copy()


@bug(
    "leaks",
    relu,
    "dx",
    kind="mask",
    seen="a leaky ReLU was tried once, and only forward was changed back",
)
def leaks(right, dy, cache):
    """The backward pass is that of a leaky ReLU, with slope 0.01 where the input is negative."""
    return np.where(cache.y > 0, dy, 0.01 * dy)


@bug(
    "mask-of-dy",
    relu,
    "dx",
    seen="the variable that holds the output has been used again for its gradient",
)
def mask_of_dy(right, dy, cache):
    """The slope is taken from the sign of dy, not of the output; so it is not linear in dy."""
    return dy * (dy > 0)


@bug(
    "dy-overwritten",
    relu,
    seen="in-place code that saves an array; what else uses dy, such as a residual, gets it spoilt",
)
def relu_overwrites_dy(right, dy, cache):
    """The result is right, but it is written into dy, which belongs to the caller."""
    dy[...] = right(dy, cache)
    return dy


# gelu


@bug(
    "tanh-derivative-of-the-exact-form",
    gelu,
    "dx",
    seen="code that has both forms in forward and one of them in backward; the error is below 1e-3",
)
def tanh_derivative_of_the_exact_form(right, dy, cache):
    """The exact form is taken back by the derivative of the tanh form."""
    return right(dy, gelu.forward(cache.x, "tanh")[1])


@bug(
    "exact-derivative-of-the-tanh-form",
    gelu,
    "dx",
    point="gelu, tanh",
    seen="GPT-2's form in a forward pass, above a backward pass that was there for BERT's",
)
def exact_derivative_of_the_tanh_form(right, dy, cache):
    """The tanh form is taken back by the derivative of the exact form."""
    return right(dy, gelu.forward(cache.x)[1])


@bug(
    "factor-3-left-out",
    gelu,
    "dx",
    point="gelu, tanh",
    seen="the derivative of the cubic term, written down from memory",
)
def factor_3_left_out(right, dy, cache):
    """In the tanh form, the derivative of 0.044715 x^3 is taken to be 0.044715 x^2."""
    if cache.approximate != "tanh":
        return right(dy, cache)
    x, p = cache.x, cache.probability
    du = math.sqrt(2 / math.pi) * (1 + 0.044715 * (x * x))
    return dy * (p + x * (2 * p * (1 - p) * du))


@bug(
    "sigmoid-in-forward",
    gelu,
    "dx",
    function="forward",
    seen="the form x sigmoid(1.702 x) is a third one that goes by the same name",
)
def sigmoid_in_forward(right, x, approximate="none"):
    """Forward computes x sigmoid(1.702 x), backward differentiates the exact form."""
    _, cache = right(x, approximate)
    return x / (1 + np.exp(-1.702 * x)), cache


# tanh


@bug(
    "input-for-output",
    tanh,
    "dx",
    seen="a helper for the derivative that takes what was activated, called with what was not",
)
def input_for_output(right, dy, cache):
    """The slope is made of the input, 1 - x^2, where 1 - y^2 is meant."""
    x = np.arctanh(cache.y)
    return dy * (1 - x * x)


# softmax


@bug(
    "sum-left-out",
    softmax,
    "dx",
    kind="term",
    seen="softmax taken for an activation of each entry by itself, as ReLU is",
)
def sum_left_out(right, dy, cache):
    """Only ``y dy`` is left of ``y (dy - sum of y dy)``."""
    return cache.y * dy


@bug(
    "divided-by-the-batch",
    softmax,
    "dx",
    kind="factor",
    seen="public NumPy Transformers, in the softmax within attention",
)
def divided_by_the_batch(right, dy, cache):
    """The gradient is divided by the size of the batch, which belongs to the loss if anywhere."""
    return right(dy, cache) / len(dy)


@bug(
    "y-left-out",
    softmax,
    "dx",
    kind="scale",
    seen="the last line of the derivation is lost, and the shapes do not tell",
)
def y_left_out(right, dy, cache):
    """``dy - sum of y dy`` is not multiplied by y."""
    return dy - (cache.y * dy).sum(axis=-1, keepdims=True)


@bug(
    "sign-turned",
    softmax,
    "dx",
    kind="sign",
    seen="off-diagonal entries of the Jacobian are negative, and the minus goes before all of it",
)
def sign_turned(right, dy, cache):
    """The difference is taken the wrong way round: ``y (sum of y dy - dy)``."""
    return -right(dy, cache)


@bug(
    "cache-overwritten",
    softmax,
    seen="in-place code that saves an array; it shows when backward is called twice",
)
def softmax_overwrites_its_cache(right, dy, cache):
    """The result is right, but it is written into the y of the cache."""
    cache.y[...] = right(dy, cache)
    return cache.y


# layer_norm


@bug(
    "weight-taken-as-1",
    layer_norm,
    "dx",
    seen="public NumPy Transformers; a test at the initial weight of 1 cannot tell",
)
def weight_taken_as_1(right, dy, cache):
    """The weight is left out of dx."""
    return right(dy, cache._replace(weight=np.ones_like(cache.weight)))


@bug(
    "mean-term-dropped",
    layer_norm,
    "dx",
    kind="mean",
    seen="many a first version: the mean is taken for a constant",
)
def mean_term_dropped(right, dy, cache):
    """The mean that forward subtracts is not subtracted from the gradient."""
    dx, dweight, dbias = right(dy, cache)
    return dx + cache.rstd * (dy * cache.weight).mean(-1, keepdims=True), dweight, dbias


@bug(
    "variance-term-dropped",
    layer_norm,
    "dx",
    kind="term",
    seen="many a first version: the deviation is taken for a constant",
)
def variance_term_dropped(right, dy, cache):
    """What comes back through the deviation is left out."""
    dx, dweight, dbias = right(dy, cache)
    slope = (dy * cache.weight * cache.normed).mean(-1, keepdims=True)
    return dx + cache.rstd * cache.normed * slope, dweight, dbias


@bug(
    "weight-as-bias",
    layer_norm,
    "dweight",
    kind="swapped",
    seen="a line copied from the bias and not changed",
)
def weight_as_bias(right, dy, cache):
    """The gradient of the weight is the sum of dy, without the normed input."""
    dx, _, dbias = right(dy, cache)
    return dx, dbias.copy(), dbias


@bug(
    "deviation-left-out",
    layer_norm,
    "dx",
    kind="scale",
    seen="easily missed where the inputs of a test have a deviation of 1 already",
)
def deviation_left_out(right, dy, cache):
    """The gradient is not divided by the deviation at the end."""
    dx, dweight, dbias = right(dy, cache)
    return dx / cache.rstd, dweight, dbias


@bug(
    "eps-left-out",
    layer_norm,
    "dx",
    seen="code that keeps x and computes its moments again; the error is tiny",
)
def eps_left_out(right, dy, cache):
    """For dx the input is normed once more, and this time without eps."""
    std = cache.normed.std(axis=-1, keepdims=True)  # a little below 1, because of eps
    dx, _, _ = right(dy, cache._replace(normed=cache.normed / std, rstd=cache.rstd / std))
    return dx, *right(dy, cache)[1:]


@bug(
    "unbiased-in-forward",
    layer_norm,
    "dx",
    function="forward",
    kind="term",
    seen="the Annotated Transformer's norm, put together with the usual derivation of dx",
)
def unbiased_in_forward(right, x, weight, bias, eps=1e-5):
    """Forward divides the variance by D - 1, backward differentiates a division by D."""
    centred = x - x.mean(axis=-1, keepdims=True)
    var = (centred * centred).sum(axis=-1, keepdims=True) / (x.shape[-1] - 1)
    rstd = 1 / np.sqrt(var + eps)
    return centred * rstd * weight + bias, layer_norm.Cache(centred * rstd, rstd, weight)


@bug(
    "eps-outside-in-forward",
    layer_norm,
    "dx",
    function="forward",
    kind="term",
    seen="the Annotated Transformer's norm has eps outside the root; the error is tiny",
)
def eps_outside_in_forward(right, x, weight, bias, eps=1e-5):
    """Forward adds eps to the deviation, backward differentiates a sum within the root."""
    centred = x - x.mean(axis=-1, keepdims=True)
    rstd = 1 / (np.sqrt((centred * centred).mean(axis=-1, keepdims=True)) + eps)
    return centred * rstd * weight + bias, layer_norm.Cache(centred * rstd, rstd, weight)
