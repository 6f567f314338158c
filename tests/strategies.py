"""Hypothesis strategies for this project's own modules: settings, and calls of every module.

A call is a ``Point``: a module, its arguments and its settings. ``calls`` draws its shapes, extents
1 and, where that makes sense, 0 among them; ``points_of`` takes the package's own points. The
arrays come from ``numpy_transformer.gradcheck.strategies``.
"""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from functools import partial

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from numpy_transformer import parameters
from numpy_transformer.gradcheck import points
from numpy_transformer.gradcheck.points import Point
from numpy_transformer.gradcheck.strategies import (
    dtypes,
    extents,
    floats,
    ids,
    masks,
    seeds,
    shapes,
)
from numpy_transformer.layers import (
    decoder_layer,
    encoder_layer,
    feed_forward,
    input_embedding,
    multi_head_attention,
)
from numpy_transformer.models import (
    causal_lm,
    causal_lm_loss,
    classifier,
    classifier_loss,
    encoder_decoder,
    encoder_decoder_loss,
    masked_lm,
    masked_lm_loss,
    text_encoder,
    token_classifier,
    token_classifier_loss,
)
from numpy_transformer.ops import (
    attention,
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    pad,
    pooling,
    positions,
    relu,
    softmax,
    tanh,
    unpad,
)
from numpy_transformer.ops.cross_entropy import IGNORED

# The same examples in every run, and nothing that depends on how busy the machine is.
SETTINGS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
FEW = settings(SETTINGS, max_examples=8)  # where a test runs for each module

LONGEST = 8  # positions of the models

leading = shapes(smallest=0)
rates = st.sampled_from([0.0, 0.3])

# Values at which every operation is smooth, and far from where it is not.
smooth = partial(floats, away_from=0, ties=False, margin=0.25)


@st.composite
def configs(draw, dtype=np.float64, **settings):
    """Settings of a small encoder-decoder without dropout; ``settings`` are taken as given."""
    heads = draw(extents(1, 2))
    tie_source = settings.get("tie_source", draw(st.booleans()))
    drawn = {
        "source_vocab": 6,
        "target_vocab": 6 if tie_source else 7,
        "N": draw(extents(1, 2)),
        "d_model": heads * draw(extents(1, 3)),
        "d_ff": draw(extents(1, 5)),
        "h": heads,
        "P_drop": 0.0,
        "epsilon_ls": draw(st.sampled_from([0.0, 0.1])),
        "norm": draw(st.sampled_from(["pre", "post"])),
        "activation": draw(st.sampled_from(["relu", "gelu", "gelu_tanh"])),
        "positions": draw(st.sampled_from(["sinusoidal", "learned"])),
        "sinusoids": draw(st.sampled_from(["interleaved", "halves"])),
        "scale_embeddings": draw(st.booleans()),
        "tie_source": tie_source,
        "tie_output": draw(st.booleans()),
        "max_length": LONGEST,
        "dtype": np.dtype(dtype).name,
    }
    return encoder_decoder.Config(**drawn | settings)


@st.composite
def language_configs(draw, dtype=np.float64, **settings):
    """Settings of a small language model without dropout; ``settings`` are taken as given."""
    heads = draw(extents(1, 2))
    drawn = {
        "vocab": 6,
        "N": draw(extents(1, 2)),
        "d_model": heads * draw(extents(1, 3)),
        "d_ff": draw(extents(1, 5)),
        "h": heads,
        "activation": draw(st.sampled_from(["relu", "gelu", "gelu_tanh"])),
        "positions": draw(st.sampled_from(["sinusoidal", "learned"])),
        "sinusoids": draw(st.sampled_from(["interleaved", "halves"])),
        "tie_output": draw(st.booleans()),
        "output_bias": draw(st.booleans()),
        "attention_bias": draw(st.booleans()),
        "max_length": LONGEST,
        "dtype": np.dtype(dtype).name,
    }
    return causal_lm.Config(**drawn | settings)


# The model that is checked with a loss, and whose settings and parameters the loss takes.
MODEL_OF = {
    masked_lm_loss: masked_lm,
    classifier_loss: classifier,
    token_classifier_loss: token_classifier,
}


@st.composite
def text_configs(draw, model, dtype=np.float64, **settings):
    """Settings of a small text encoder under the head of ``model``, without dropout."""
    heads = draw(extents(1, 2))
    drawn = {
        "vocab": 6,
        "N": draw(extents(1, 2)),
        "d_model": heads * draw(extents(1, 3)),
        "d_ff": draw(extents(1, 5)),
        "h": heads,
        "segments": draw(extents(1, 3)),
        "norm": draw(st.sampled_from(["post", "pre"])),
        "activation": draw(st.sampled_from(["relu", "gelu", "gelu_tanh"])),
        "positions": draw(st.sampled_from(["sinusoidal", "learned"])),
        "sinusoids": draw(st.sampled_from(["interleaved", "halves"])),
        "pad_id": draw(st.integers(0, 5)),
        "max_length": LONGEST,
        "dtype": np.dtype(dtype).name,
    }
    if model in (classifier, token_classifier):
        weights = st.tuples(*3 * [st.sampled_from([0.5, 1.0, 3.0])])
        drawn |= {"classes": 3, "class_weights": draw(st.none() | weights)}
    if model is classifier:
        drawn["pooling"] = draw(st.sampled_from(["first", "mean"]))
    return model.Config(**drawn | settings)


@st.composite
def texts(draw, config, columns=5, rows=1, shortest=1):
    """Ids ``(B, T)``, of at most ``columns`` columns, and their segments, or ``None`` for them."""
    shape = draw(extents(rows)), draw(extents(shortest, columns))
    found = draw(ids(shape, config.vocab, config.pad_id))
    return found, draw(st.none() | ids(shape, config.segments))


def jittered(tree, seed):
    """The same tree, no array of it at its special initial values."""
    vector, tree = parameters.pack(tree)
    vector += np.random.default_rng(seed).normal(0, 0.5, vector.shape)
    return tree


def random_params(config, seed=0, model=None):
    """Parameters away from their initial values, of the model whose settings these are.

    ``model`` says which, where it is not the one whose file has the class of the settings.
    """
    models = (encoder_decoder, causal_lm, text_encoder, classifier, token_classifier)
    model = model or next(model for model in models if model.Config is type(config))
    return jittered(model.init(np.random.default_rng(seed), config), seed + 1)


def cast(point, dtype):
    """The same call in another precision."""

    def changed(arg):
        if isinstance(arg, dict):
            return {key: changed(value) for key, value in arg.items()}
        if is_dataclass(arg):
            return replace(arg, dtype=np.dtype(dtype).name)
        floating = isinstance(arg, np.ndarray) and arg.dtype.kind == "f"
        return arg.astype(dtype) if floating else arg

    return point._replace(args=tuple(map(changed, point.args)))


def points_of(name):
    """The package's own point called ``name``, in both precisions."""
    return st.builds(lambda seed, dtype: cast(points.point(name, seed), dtype), seeds(), dtypes())


def _linear(draw, dtype, values):
    rows, width, out = draw(leading), draw(extents(0)), draw(extents(0))
    bias = draw(st.none() | values(out, dtype))
    x, weight = draw(values((*rows, width), dtype)), draw(values((width, out), dtype))
    return Point(linear, (x, weight, bias))


def _relu(draw, dtype, values):
    return Point(relu, (draw(values(draw(leading), dtype)),))


def _gelu(draw, dtype, values):
    form = draw(st.sampled_from(["none", "tanh"]))
    return Point(gelu, (draw(values(draw(leading), dtype)), form))


def _tanh(draw, dtype, values):
    return Point(tanh, (draw(values(draw(leading), dtype)),))


def _softmax(draw, dtype, values):
    shape = draw(shapes(extents(0), smallest=0))
    mask = draw(masks(shape))
    return Point(softmax, (np.where(mask, draw(values(shape, dtype)), dtype(-np.inf)),))


def _layer_norm(draw, dtype, values):
    rows, D = draw(leading), draw(extents())
    x, weight, bias = (draw(values(shape, dtype)) for shape in [(*rows, D), D, D])
    return Point(layer_norm, (x, weight, bias))


def _embedding(draw, dtype, values):
    V, D = draw(extents()), draw(extents(0))
    return Point(embedding, (draw(ids(leading, V)), draw(values((V, D), dtype))))


def _positions(draw, dtype, values):
    rows, T, D = draw(leading), draw(extents(0)), draw(extents(0))
    table = draw(values((T + draw(extents(0, 2)), D), dtype))
    return Point(positions, (draw(values((*rows, T, D), dtype)), table))


def _dropout(draw, dtype, values):
    x = draw(values(draw(leading), dtype))
    return Point(dropout, (x, draw(rates), np.random.default_rng(draw(seeds()))))


def _attention(draw, dtype, values):
    rows, T, S = draw(leading), draw(extents(0)), draw(extents(0))
    K, Kv = draw(extents()), draw(extents(0))
    query, key, value = (
        draw(values((*rows, *shape), dtype)) for shape in [(T, K), (S, K), (S, Kv)]
    )
    mask = draw(st.none() | masks((T, S)) | masks((*rows, 1, S)) | masks((*rows, T, S)))
    rng = np.random.default_rng(draw(seeds()))
    return Point(attention, (query, key, value, mask, draw(rates), rng))


def _unpad(draw, dtype, values):
    B, T, D = draw(extents(0)), draw(extents(0)), draw(extents(0))
    return Point(unpad, (draw(values((B, T, D), dtype)), draw(masks((B, T)))))


def _pad(draw, dtype, values):
    tokens, D = draw(masks((draw(extents(0)), draw(extents(0))))), draw(extents(0))
    return Point(pad, (draw(values((int(tokens.sum()), D), dtype)), tokens))


def _pooling(draw, dtype, values):
    B, T, D = draw(extents(0)), draw(extents()), draw(extents(0))
    how = draw(st.sampled_from(pooling.WAYS))
    return Point(pooling, (draw(values((B, T, D), dtype)), draw(masks((B, T))), how))


def _cross_entropy(draw, dtype, values):
    """With label smoothing, with class weights, of which some may be 0, or with neither."""
    rows, V = draw(leading), draw(extents())
    ignored = draw(st.sampled_from([None, 0, -100]))
    targets = draw(ids(rows, V, ignored))
    settings = {"ignore_index": ignored, "label_smoothing": draw(rates)}
    if not settings["label_smoothing"]:
        weights = st.tuples(*V * [st.sampled_from([0.0, 0.5, 1.0, 3.0])])
        settings["class_weights"] = draw(st.none() | weights)
    return Point(cross_entropy, (draw(values((*rows, V), dtype)), targets), settings)


def _input_embedding(draw, dtype, values):
    B, T, D = draw(extents(0)), draw(extents(0)), draw(extents(0))
    tables = draw(values((5, D), dtype)), draw(values((6, D), dtype))
    rng = np.random.default_rng(draw(seeds()))
    args = (draw(ids((B, T), 5, pad_id=0)), *tables, 1.7, draw(rates), rng)
    return Point(input_embedding, args)


def _layer(draw, dtype, values, module):
    """A layer: sizes, then data, then parameters, then the mask of each attention in it."""
    B, T, S, H = draw(extents(0)), draw(extents(0)), draw(extents(0)), draw(extents(1, 2))
    D, seed = H * draw(extents(1, 3)), draw(seeds())
    rng, rate = np.random.default_rng(seed), draw(rates)
    x, memory = draw(values((B, T, D), dtype)), draw(values((B, S, D), dtype))
    mask = draw(st.none() | masks((T, T)) | masks((B, 1, 1, T)))
    memory_mask = draw(st.none() | masks((T, S)) | masks((B, 1, 1, S)))
    if module is multi_head_attention:
        params = jittered(module.init(rng, D, dtype), seed)
        return Point(module, (x, memory, params, H, memory_mask, rate, rng))
    params = jittered(module.init(rng, D, draw(extents()), dtype), seed)
    activation = draw(st.sampled_from(["relu", "gelu", "gelu_tanh"]))
    if module is feed_forward:
        return Point(module, (x, params, activation, rate, rng))
    settings = {"norm": draw(st.sampled_from(["pre", "post"])), "activation": activation}
    settings |= dict.fromkeys(("dropout_rate", "attention_dropout", "activation_dropout"), rate)
    if module is encoder_layer:
        return Point(module, (x, params, H, mask, rng), settings)
    return Point(module, (x, memory, params, H, mask, memory_mask, rng), settings)


def _model(draw, dtype, values, module):
    """A whole model, with dropout or without, and also no rows or no tokens at all."""
    rate, seed = draw(rates), draw(seeds())
    config = draw(configs(dtype, P_drop=rate, attention_dropout=rate, activation_dropout=rate))
    B, S, T = draw(extents(0)), draw(extents(0)), draw(extents())
    source = draw(ids((B, S), config.source_vocab, config.pad_id))
    target = draw(ids((B, T), config.target_vocab, config.pad_id))
    params, rng = random_params(config, seed), np.random.default_rng(seed)
    return Point(module, (source, target, params, config, rng))


def _language_model(draw, dtype, values, module):
    """A language model, with dropout or without, and also no rows or no tokens at all."""
    rate, seed = draw(rates), draw(seeds())
    rates_of = dict.fromkeys(("P_drop", "attention_dropout", "activation_dropout"), rate)
    config = draw(language_configs(dtype, **rates_of))
    shortest = 2 if module is causal_lm_loss else 0
    tokens = draw(ids((draw(extents(0)), draw(extents(shortest))), config.vocab))
    return Point(module, (tokens, random_params(config, seed), config, np.random.default_rng(seed)))


def _text_model(draw, dtype, values, module):
    """A model of texts, with dropout or without, and also no rows or, but to pool, no tokens."""
    rate, seed = draw(rates), draw(seeds())
    rates_of = dict.fromkeys(("P_drop", "attention_dropout", "activation_dropout"), rate)
    model = MODEL_OF.get(module, module)
    config = draw(text_configs(model, dtype, **rates_of))
    tokens, segments = draw(texts(config, 4, rows=0, shortest=int(model is classifier)))
    between = ()
    if model is masked_lm:
        between = (draw(masks(tokens.shape)),)
    if module is masked_lm_loss:
        between = (np.where(between[0], draw(ids(tokens.shape, config.vocab)), IGNORED),)
    if module in (classifier_loss, token_classifier_loss):
        shape = tokens.shape[:1] if model is classifier else tokens.shape
        between = (draw(ids(shape, config.classes, IGNORED)),)
    params = random_params(config, seed, model)
    return Point(module, (tokens, segments, *between, params, config, np.random.default_rng(seed)))


_OPS = {
    "linear": _linear,
    "relu": _relu,
    "gelu": _gelu,
    "tanh": _tanh,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "positions": _positions,
    "dropout": _dropout,
    "attention": _attention,
    "unpad": _unpad,
    "pad": _pad,
    "pooling": _pooling,
    "cross_entropy": _cross_entropy,
}
OPS = tuple(_OPS)
_CALLS = _OPS | {"input_embedding": _input_embedding}
_LAYERS = (multi_head_attention, feed_forward, encoder_layer, decoder_layer)
_MODELS = (encoder_decoder, encoder_decoder_loss)
_LANGUAGE_MODELS = (causal_lm, causal_lm_loss)
_TEXT_MODELS = (text_encoder, masked_lm, classifier, token_classifier, *MODEL_OF)
for _draw, _modules in (
    (_layer, _LAYERS),
    (_model, _MODELS),
    (_language_model, _LANGUAGE_MODELS),
    (_text_model, _TEXT_MODELS),
):
    for _module in _modules:
        _CALLS[_module.__name__.rpartition(".")[2]] = partial(_draw, module=_module)


@st.composite
def calls(draw, name, values=floats):
    """A call of the module ``name``, of any small shape and in either precision."""
    return _CALLS[name](draw, draw(dtypes()), values)


# For every module, calls of any shape, and the package's own points.
MODULES = tuple(_CALLS)
EVERY_CALL = {f"{name}, any shape": calls(name) for name in _CALLS}
EVERY_CALL |= {name: points_of(name) for name in points.POINTS}
