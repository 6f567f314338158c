"""Bugs in the whole models and their losses."""

from __future__ import annotations

import math
from dataclasses import replace

from numpy_transformer.gradcheck.bugs.bug import catalogue
from numpy_transformer.gradcheck.bugs.layers import (
    DECODER_LAYER,
    ENCODER_LAYER,
    NORM,
    WITHOUT_BIASES,
    under,
)
from numpy_transformer.models import (
    causal_lm,
    causal_lm_loss,
    encoder_decoder,
    encoder_decoder_loss,
)
from numpy_transformer.ops import cross_entropy, linear, positions

CATALOGUE, bug = catalogue()


# encoder_decoder


@bug(
    "tied-output-forgotten",
    encoder_decoder,
    "dparams.source_embedding.weight",
    point="encoder_decoder, pre-norm, tied",
    seen="public NumPy Transformers: the table gets the gradient of one of its uses",
)
def tied_output_forgotten(right, dlogits, cache):
    """The table of embeddings, tied to the output, gets nothing from its use there."""
    dparams = right(dlogits, cache._replace(config=replace(cache.config, tie_output=False)))
    return _only(dparams, right(dlogits, cache))


@bug(
    "tied-source-forgotten",
    encoder_decoder,
    "dparams.source_embedding.weight",
    point="encoder_decoder, pre-norm, tied",
    seen="public NumPy Transformers: the table gets the gradient of one of its uses",
)
def tied_source_forgotten(right, dlogits, cache):
    """The table of embeddings, of both languages, gets nothing from the target's side."""
    dparams = right(dlogits, cache._replace(config=replace(cache.config, tie_source=False)))
    return _only(dparams, right(dlogits, cache))


@bug(
    "tied-output-reshaped",
    encoder_decoder,
    "dparams.source_embedding.weight",
    point="encoder_decoder, pre-norm, tied",
    seen="(D, V) has to become (V, D), and a reshape does that without a complaint",
)
def tied_output_reshaped(right, dlogits, cache):
    """The output's share in the gradient of the table is reshaped instead of transposed."""
    dparams = right(dlogits, cache)
    if cache.config.tie_output:
        _, doutput, _ = linear.backward(dlogits, cache.output)  # (D, V)
        name = "source_embedding" if cache.config.tie_source else "target_embedding"
        dparams[name]["weight"] += doutput.reshape(doutput.T.shape) - doutput.T
    return dparams


@bug(
    "positions-swapped",
    encoder_decoder,
    "dparams.source_positions.weight",
    "dparams.target_positions.weight",
    kind="swapped",
    point="encoder_decoder_loss, pre-norm, untied",
    seen="easily made: the two tables have one shape, and are met in the other order",
)
def positions_swapped(right, dlogits, cache):
    """The gradients of the two tables of positions change places."""
    dparams = right(dlogits, cache)
    if cache.config.positions == "learned":
        source, target = dparams["source_positions"], dparams["target_positions"]
        dparams |= {"source_positions": target, "target_positions": source}
    return dparams


@bug(
    "sinusoids-in-float64",
    positions,
    function="constant_sinusoids",
    point="encoder_decoder, pre-norm, tied",
    seen="np.sin of whole numbers is float64; added to float32 it makes all that follows float64",
)
def sinusoids_in_float64(right, length, width, layout, dtype):
    """The table of sinusoids is float64 in a float32 model."""
    return right(length, width, layout, "float64")


def _only(dparams, like):
    """Of the gradients, those of parameters that there are."""
    return {name: dparams[name] for name in like}


# encoder_decoder_loss


@bug(
    "divided-twice",
    encoder_decoder_loss,
    *under("dparams", ("source_embedding.weight", "target_embedding.weight", "output.weight")),
    *under("dparams", ("source_positions.weight", "target_positions.weight")),
    *under("dparams.encoder.layers.0", ENCODER_LAYER),
    *under("dparams.encoder.norm", NORM),
    *under("dparams.decoder.layers.0", DECODER_LAYER),
    *under("dparams.decoder.norm", NORM),
    kind="factor",
    point="encoder_decoder_loss, pre-norm, untied",
    seen="the loss is a mean already, and the gradients are averaged once more before the step",
)
def divided_twice(right, dloss, cache):
    """All gradients are divided by the number of target tokens, which the loss was before."""
    return right(dloss / float(cache.loss.weights.sum()), cache)


@bug(
    "target-not-shifted",
    encoder_decoder_loss,
    function="forward",
    point="encoder_decoder_loss, pre-norm, untied",
    seen="easily made: the loss falls to nearly 0, and what is generated is worthless",
    invisible="it is another loss, to say again what was read, and its gradient is right",
)
def target_not_shifted(right, source, target, params, config, rng=None):
    """The decoder reads the very tokens that it has to predict."""
    target = target[:, 1:]
    logits, model_cache = encoder_decoder.forward(source, target, params, config, rng)
    loss, loss_cache = cross_entropy.forward(logits, target, config.pad_id, config.epsilon_ls)
    return loss, encoder_decoder_loss.Cache(model_cache, loss_cache)


# causal_lm


@bug(
    "tied-output-forgotten",
    causal_lm,
    "dparams.embedding.weight",
    point="causal_lm, tied",
    seen="the gradient of the output is made first, and that of the tokens is assigned over it",
)
def tied_output_of_a_language_model_forgotten(right, dlogits, cache):
    """The table of embeddings gets what arrives where tokens come in, and nothing else."""
    dparams = right(dlogits, cache)
    if cache.config.tie_output:
        dparams["embedding"]["weight"] -= _tied_output(dlogits, cache)
    return dparams


@bug(
    "tied-embedding-forgotten",
    causal_lm,
    "dparams.embedding.weight",
    point="causal_lm, tied",
    seen="a table of tokens is a lookup, and that it has a gradient there, too, is overlooked",
)
def tied_embedding_forgotten(right, dlogits, cache):
    """The table of embeddings gets what arrives where logits go out, and nothing else."""
    dparams = right(dlogits, cache)
    if cache.config.tie_output:
        dparams["embedding"]["weight"] = _tied_output(dlogits, cache)
    return dparams


@bug(
    "embeddings-scaled",
    causal_lm,
    "dparams.embedding.weight",
    kind="factor",
    point="causal_lm, untied",
    seen="a backward pass taken over from the encoder-decoder, which scales; GPT does not",
)
def embeddings_scaled(right, dlogits, cache):
    """The gradient of the embeddings is multiplied by sqrt(D), which forward did not do."""
    root = math.sqrt(cache.config.d_model)
    return right(dlogits, cache._replace(embedding=cache.embedding._replace(scale=root)))


def _tied_output(dlogits, cache):
    """The output's share in the gradient of the embeddings, (V, D)."""
    _, doutput, _ = linear.backward(dlogits, cache.output)  # (D, V)
    return doutput.T


# causal_lm_loss


@bug(
    "divided-by-all-tokens",
    causal_lm_loss,
    *under("dparams", ("embedding.weight", "positions.weight", "output.weight", "output.bias")),
    *under("dparams.decoder.layers.0", WITHOUT_BIASES),
    *under("dparams.decoder.norm", NORM),
    kind="factor",
    point="causal_lm_loss, untied",
    seen="T + 1 tokens are read from the file, and only T of them are predicted",
)
def divided_by_all_tokens(right, dloss, cache):
    """Backward divides by the number of all tokens, the first of each sequence among them."""
    T = cache.loss.logits.shape[1]
    return right(dloss * (T / (T + 1)), cache)


@bug(
    "shifted-twice",
    causal_lm_loss,
    function="forward",
    point="causal_lm_loss, tied",
    seen="data that is shifted already, given to a loss that shifts: libraries differ in who does",
    invisible="it is another loss, to predict the token after the next, and its gradient is right",
)
def shifted_twice(right, ids, params, config, rng=None):
    """The model has to say not the next token but the one after it."""
    logits, model_cache = causal_lm.forward(ids[:, :-2], params, config, rng)
    loss, loss_cache = cross_entropy.forward(logits, ids[:, 2:])
    return loss, causal_lm_loss.Cache(model_cache, loss_cache)
