"""What has to hold for any input, by hypothesis over shapes, values and both precisions."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from calls import (
    arrays_in,
    backward,
    close,
    close_trees,
    complex_step,
    cotangent,
    forward,
    leaves,
    mapped,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import (
    EVERY_CALL,
    FEW,
    LONGEST,
    MODEL_OF,
    SETTINGS,
    cast,
    configs,
    jittered,
    language_configs,
    leading,
    random_params,
    text_configs,
    texts,
)

from numpy_transformer import parameters
from numpy_transformer.generation import incremental
from numpy_transformer.gradcheck import points
from numpy_transformer.gradcheck.strategies import (
    dtypes,
    extents,
    floats,
    ids,
    masks,
    seeds,
    shapes,
)
from numpy_transformer.layers import encoder_layer
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
)
from numpy_transformer.ops import (
    attention,
    cross_entropy,
    dropout,
    embedding,
    layer_norm,
    pooling,
    softmax,
)
from numpy_transformer.ops.cross_entropy import IGNORED

every_call = pytest.mark.parametrize("name", EVERY_CALL)


@every_call
@FEW
@given(data=st.data())
def test_shapes_and_dtypes_are_kept(name, data):
    """Output, what is kept, and gradients have the inputs' precision; gradients their shapes."""
    point = data.draw(EVERY_CALL[name])
    y, cache = forward(point)
    expected = {key: (array.shape, array.dtype) for key, array in leaves(point).items()}
    (dtype,) = {dtype for _, dtype in expected.values()}
    assert y.dtype == dtype
    assert {a.dtype for a in arrays_in(cache) if a.dtype.kind == "f"} <= {dtype}
    found = backward(point, cotangent(y), cache)
    assert {key: (array.shape, array.dtype) for key, array in found.items()} == expected


@every_call
@FEW
@given(data=st.data())
def test_nothing_is_changed(name, data):
    """Arguments and ``dy`` stay as they are, and both functions repeat themselves exactly."""
    point = data.draw(EVERY_CALL[name])
    before = copy.deepcopy(point.args)
    y, cache = forward(point)
    dy = cotangent(y)
    first = copy.deepcopy(backward(point, dy, cache))
    np.testing.assert_equal(dy, cotangent(y))
    np.testing.assert_equal(backward(point, dy, cache), first)
    np.testing.assert_equal(forward(point)[0], y)
    for arg, old in zip(point.args, before):
        if isinstance(arg, (dict, np.ndarray)):
            np.testing.assert_equal(arg, old)


@every_call
@FEW
@given(data=st.data())
def test_backward_is_linear(name, data):
    """No gradient comes of a ``dy`` of zero, and those of a sum are the sums."""
    point = cast(data.draw(EVERY_CALL[name]), np.float64)
    y, cache = forward(point)
    dy_1, dy_2 = cotangent(y, 1), cotangent(y, 2)
    zero = backward(point, np.zeros_like(dy_1), cache)
    first, second = backward(point, dy_1, cache), backward(point, dy_2, cache)
    both = backward(point, 2 * dy_1 - dy_2, cache)
    for leaf in both:
        assert not zero[leaf].any(), leaf
        close(both[leaf], 2 * first[leaf] - second[leaf])


def _fortran(array):
    return np.asfortranarray(array).reshape(array.shape)  # it gives () an axis


def _strided(array):
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def _reversed(array):
    return np.flip(np.flip(array).copy()) if array.ndim else array


def _read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


@every_call
@FEW
@given(data=st.data(), layout=st.sampled_from([_fortran, _strided, _reversed, _read_only]))
def test_memory_layout_does_not_matter(name, data, layout):
    """Arrays that are not contiguous, or may not be written to, give the same results."""
    point = cast(data.draw(EVERY_CALL[name]), np.float64)
    y, cache = forward(point)
    expected = backward(point, cotangent(y), cache)
    point = point._replace(args=tuple(mapped(arg, layout) for arg in point.args))
    y_2, cache = forward(point)
    close(y_2, y)
    found = backward(point, layout(cotangent(y)), cache)
    for leaf in expected:
        close(found[leaf], expected[leaf])


@pytest.mark.parametrize("name", points.POINTS)
def test_complex_step(name):
    """``forward`` takes complex numbers, in all arguments or in one alone; see ``backward``."""
    point = points.point(name)
    y, cache = forward(point)
    dy = cotangent(y)
    gradients = backward(point, dy, cache)
    directions = {leaf: cotangent(array, 1) for leaf, array in leaves(point).items()}
    products = {leaf: directions[leaf] * gradients[leaf] for leaf in directions}
    size = sum(np.abs(product).sum() for product in products.values())
    total = sum(product.sum() for product in products.values())
    assert abs(complex_step(point, directions, dy) - total) <= 1e-12 * size
    for leaf, product in products.items():
        if f"d{leaf}" not in point.zero:
            size = np.abs(product).sum()
            assert size > 0, leaf
        found = complex_step(point, {leaf: directions[leaf]}, dy)
        assert abs(found - product.sum()) <= 1e-12 * size, leaf


# Softmax


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_softmax(data, dtype):
    """Rows sum to 1; ``-inf`` gets 0; a row of ``-inf`` gives zeros; the gradient sums to 0."""
    shape = data.draw(shapes(1, extents(), smallest=0))
    allowed = data.draw(masks(shape))
    x = np.where(allowed, data.draw(floats(shape, dtype, largest=100)), dtype(-np.inf))
    y, cache = softmax.forward(x)
    assert (y >= 0).all()
    assert not y[~allowed].any()
    close(y.sum(axis=-1), allowed.any(axis=-1).astype(dtype))
    dx = softmax.backward(cotangent(y), cache)
    assert not dx[~allowed].any()
    close(dx.sum(axis=-1), np.zeros(shape[:-1], dtype))


@SETTINGS
@given(data=st.data(), dtype=dtypes(), shift=st.floats(-1e4, 1e4, width=32))
def test_softmax_and_cross_entropy_are_shift_invariant(data, dtype, shift):
    """A number added to all entries of a row changes nothing, not even where ``exp`` overflows."""
    shape = (data.draw(extents()), data.draw(extents()))
    x = data.draw(floats(shape, dtype))
    shifts = shift * np.arange(shape[0], dtype=dtype)[:, None]
    rounding = np.finfo(dtype).eps * (8 + 4 * np.abs(shifts).max())
    close(softmax.forward(x + shifts)[0], softmax.forward(x)[0], rounding)
    targets = np.zeros(shape[0], int)
    shifted, _ = cross_entropy.forward(x + shifts, targets)
    close(shifted, cross_entropy.forward(x, targets)[0], rounding)


# Attention


@st.composite
def attentions(draw, dtype):
    """Query, key, value and a mask of every score, some of whose rows allow nothing."""
    rows, T, S, K, Kv = draw(leading), *(draw(extents()) for _ in range(4))
    shapes = [(*rows, T, K), (*rows, S, K), (*rows, S, Kv)]
    return *(draw(floats(shape, dtype, 2)) for shape in shapes), draw(masks((*rows, T, S)))


def attend(query, key, value, mask):
    """The output, the three gradients and the weights; ``dy`` depends on shapes alone."""
    y, cache = attention.forward(query, key, value, mask)
    return y, *attention.backward(cotangent(y), cache), cache.weights


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_attention_is_permutation_equivariant_in_keys(data, dtype):
    """The order of keys does not matter, if values, mask and gradients have the same order."""
    query, key, value, mask = data.draw(attentions(dtype))
    order = data.draw(st.permutations(range(key.shape[-2])))
    y, dquery, dkey, dvalue, _ = attend(query, key, value, mask)
    permuted = attend(query, key[..., order, :], value[..., order, :], mask[..., order])
    expected = (y, dquery, dkey[..., order, :], dvalue[..., order, :])
    for found, array in zip(permuted, expected):
        close(found, array)


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_attention_is_permutation_equivariant_in_queries(data, dtype):
    """Each query is answered by itself: another order of queries is that order of outputs."""
    query, key, value, mask = data.draw(attentions(dtype))
    order = data.draw(st.permutations(range(query.shape[-2])))
    y, cache = attention.forward(query, key, value, mask)
    dy = cotangent(y)
    dquery, dkey, dvalue = attention.backward(dy, cache)
    y_2, cache = attention.forward(query[..., order, :], key, value, mask[..., order, :])
    close(y_2, y[..., order, :])
    found = attention.backward(dy[..., order, :], cache)
    for gradient, expected in zip(found, (dquery[..., order, :], dkey, dvalue)):
        close(gradient, expected)


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_masked_keys_are_as_good_as_absent(data, dtype):
    """A key that no query may attend to changes nothing, and no gradient arrives there."""
    query, key, value, mask = data.draw(attentions(dtype))
    there = data.draw(masks((1, key.shape[-2])))[0]
    y, dquery, dkey, dvalue, _ = attend(query, key, value, mask & there)
    without = attend(query, key[..., there, :], value[..., there, :], mask[..., there])
    expected = (y, dquery, dkey[..., there, :], dvalue[..., there, :])
    for found, array in zip(without, expected):
        close(found, array)
    assert not dkey[..., ~there, :].any()
    assert not dvalue[..., ~there, :].any()


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_a_fully_masked_row_gives_zeros(data, dtype):
    """A query that may attend to nothing gets zeros, and leaves the others' gradients alone."""
    query, key, value, mask = data.draw(attentions(dtype))
    mask[..., 0, :] = False
    y, dquery, dkey, dvalue, weights = attend(query, key, value, mask)
    for array in (y, dquery, weights):
        assert np.isfinite(array).all()
        assert not array[..., 0, :].any()
    _, cache = attention.forward(query[..., 1:, :], key, value, mask[..., 1:, :])
    others = attention.backward(cotangent(y)[..., 1:, :], cache)
    for found, expected in zip((dquery[..., 1:, :], dkey, dvalue), others):
        close(found, expected)


# The whole model


@st.composite
def batches(draw, config, columns=5):
    """Source ``(B, S)`` and target ``(B, T)``, of at most ``columns`` columns."""
    B, S, T = draw(extents()), *(draw(extents(1, columns)) for _ in range(2))
    source = draw(ids((B, S), config.source_vocab, config.pad_id))
    return source, draw(ids((B, T), config.target_vocab, config.pad_id))


@SETTINGS
@given(data=st.data(), config=configs())
def test_no_output_sees_a_later_token(data, config):
    """Whatever stands after position t, the logits up to t are the same."""
    params = random_params(config)
    source, target = data.draw(batches(config))
    t = data.draw(st.integers(0, target.shape[1] - 1))
    other = target.copy()
    later = other[:, t + 1 :]
    later[:] = data.draw(ids(later.shape, config.target_vocab, config.pad_id))
    y, _ = encoder_decoder.forward(source, target, params, config)
    y_2, _ = encoder_decoder.forward(source, other, params, config)
    close(y_2[:, : t + 1], y[:, : t + 1])


@SETTINGS
@given(
    data=st.data(),
    config=configs(tie_source=False, tie_output=False, target_vocab=30, positions="learned"),
)
def test_no_gradient_arrives_from_a_later_token(data, config):
    """With each token only once, its row of the gradient shows what arrives at its position."""
    params = random_params(config)
    B, T = 2, data.draw(extents())
    source = data.draw(ids((B, 3), config.source_vocab, config.pad_id))
    target = 1 + np.arange(B * T).reshape(B, T)
    t = data.draw(st.integers(0, T - 1))
    y, cache = encoder_decoder.forward(source, target, params, config)
    dy = cotangent(y)
    dy[:, t + 1 :] = 0
    dparams = encoder_decoder.backward(dy, cache)
    assert not dparams["target_embedding"]["weight"][target[:, t + 1 :]].any()
    assert not dparams["target_positions"]["weight"][t + 1 :].any()
    if config.d_model > 2:  # below, layer norm leaves nearly no gradient
        assert dparams["target_embedding"]["weight"][target[:, : t + 1]].any(axis=-1).all()


@SETTINGS
@given(data=st.data(), config=configs())
def test_padding_changes_nothing(data, config):
    """More columns of padding: the same logits at real positions, loss and gradients."""
    params = random_params(config)
    source, target = data.draw(batches(config))
    T = target.shape[1]

    def padded(array):
        more = data.draw(st.integers(0, LONGEST - array.shape[1]))
        return np.pad(array, ((0, 0), (0, more)), constant_values=config.pad_id)

    wide_source, wide_target = padded(source), padded(target)
    y, _ = encoder_decoder.forward(source, target, params, config)
    wide, _ = encoder_decoder.forward(wide_source, wide_target, params, config)
    real = target != config.pad_id
    close(wide[:, :T][real], y[real])
    loss, cache = encoder_decoder_loss.forward(source, target, params, config)
    wide_loss, wide_cache = encoder_decoder_loss.forward(wide_source, wide_target, params, config)
    close(wide_loss, loss)
    close_trees(
        encoder_decoder_loss.backward(1.0, wide_cache), encoder_decoder_loss.backward(1.0, cache)
    )


@SETTINGS
@given(data=st.data(), config=configs())
def test_a_batch_equals_its_rows(data, config):
    """Rows do not see each other: their logits are the same alone, and their gradients add up."""
    params = random_params(config)
    source, target = data.draw(batches(config))
    y, cache = encoder_decoder.forward(source, target, params, config)
    dy = cotangent(y)
    dparams, _ = parameters.pack(encoder_decoder.backward(dy, cache))
    total = np.zeros_like(dparams)
    for b in range(len(source)):
        row = slice(b, b + 1)
        alone, cache = encoder_decoder.forward(source[row], target[row], params, config)
        close(alone, y[row])
        total += parameters.gather(encoder_decoder.backward(dy[row], cache))
    close(total, dparams)


@SETTINGS
@given(data=st.data(), config=configs())
def test_cached_decoding_equals_the_full_pass(data, config):
    """Token by token, with keys and values kept, the logits are those of all tokens at once."""
    params = random_params(config)
    source, target = data.draw(batches(config))
    target = np.where(target == config.pad_id, 1, target)  # who decodes feeds no padding
    full, _ = encoder_decoder.forward(source, target, params, config)
    state = incremental.start(source, params, config)
    for t in range(target.shape[1]):
        logits, state = incremental.step(target[:, t], state, params, config)
        close(logits, full[:, t])


# The language model


@SETTINGS
@given(data=st.data(), config=language_configs())
def test_no_logits_of_a_language_model_see_a_later_token(data, config):
    """Whatever stands after position t, and if nothing does, the logits up to t are the same."""
    params = random_params(config)
    tokens = data.draw(ids((data.draw(extents()), data.draw(extents(1, 5))), config.vocab))
    end = data.draw(st.integers(1, tokens.shape[1]))
    other = tokens.copy()
    other[:, end:] = data.draw(ids(other[:, end:].shape, config.vocab))
    y, _ = causal_lm.forward(tokens, params, config)
    y_2, _ = causal_lm.forward(other, params, config)
    close(y_2[:, :end], y[:, :end])
    prefix, _ = causal_lm.forward(tokens[:, :end], params, config)
    close(prefix, y[:, :end])


@SETTINGS
@given(data=st.data(), config=language_configs(vocab=30, positions="learned", tie_output=False))
def test_no_gradient_arrives_from_a_later_token_of_a_language_model(data, config):
    """With each token only once, its row of the gradient shows what arrives at its position."""
    params = random_params(config)
    B, T = 2, data.draw(extents())
    tokens = np.arange(B * T).reshape(B, T)
    t = data.draw(st.integers(0, T - 1))
    y, cache = causal_lm.forward(tokens, params, config)
    dy = cotangent(y)
    dy[:, t + 1 :] = 0
    dparams = causal_lm.backward(dy, cache)
    assert not dparams["embedding"]["weight"][tokens[:, t + 1 :]].any()
    assert not dparams["positions"]["weight"][t + 1 :].any()
    if config.d_model > 2:  # below, layer norm leaves nearly no gradient
        assert dparams["embedding"]["weight"][tokens[:, : t + 1]].any(axis=-1).all()


@SETTINGS
@given(data=st.data(), config=language_configs())
def test_a_batch_of_a_language_model_equals_its_rows(data, config):
    """Logits are those of each row alone; the loss and its gradients are the means over rows."""
    params = random_params(config)
    tokens = data.draw(ids((data.draw(extents()), data.draw(extents(2, 5))), config.vocab))
    y, _ = causal_lm.forward(tokens, params, config)
    loss, cache = causal_lm_loss.forward(tokens, params, config)
    dparams = parameters.gather(causal_lm_loss.backward(1.0, cache))
    losses, total = [], np.zeros_like(dparams)
    for b, row in enumerate(tokens[:, None]):
        close(causal_lm.forward(row, params, config)[0][0], y[b])
        alone, cache = causal_lm_loss.forward(row, params, config)
        losses.append(alone)
        total += parameters.gather(causal_lm_loss.backward(1.0, cache))
    close(loss, np.mean(losses))
    close(dparams, total / len(tokens))


@SETTINGS
@given(data=st.data(), config=language_configs())
def test_names_of_tokens_do_not_matter(data, config):
    """Ids and rows renamed together: the same loss and gradients. No id means padding, not even 0.

    ``names[i]`` is the new id of the token that was ``i``.
    """
    params = random_params(config)
    tokens = data.draw(ids((data.draw(extents()), data.draw(extents(2, 5))), config.vocab))
    names = np.array(data.draw(st.permutations(range(config.vocab))))

    def renamed(tree):
        """Each array with one entry a token, in the order of the new ids."""
        old = np.argsort(names)  # of each new id
        table = {"embedding": {"weight": tree["embedding"]["weight"][old]}}
        output = {name: array[..., old] for name, array in tree.get("output", {}).items()}
        return tree | table | ({"output": output} if output else {})

    loss, cache = causal_lm_loss.forward(tokens, params, config)
    other, other_cache = causal_lm_loss.forward(names[tokens], renamed(params), config)
    close(other, loss)
    close_trees(
        causal_lm_loss.backward(1.0, other_cache), renamed(causal_lm_loss.backward(1.0, cache))
    )


# The models of texts


def name_of(module):
    """The last part of its dotted name."""
    return module.__name__.rpartition(".")[2]


def with_labels(data, module, config, tokens):
    """What a loss takes between the texts and the parameters."""
    if module is masked_lm_loss:
        return data.draw(ids(tokens.shape, config.vocab, IGNORED))
    shape = tokens.shape[:1] if module is classifier_loss else tokens.shape
    return data.draw(ids(shape, config.classes, IGNORED))


@pytest.mark.parametrize("module", MODEL_OF, ids=name_of)
@SETTINGS
@given(data=st.data())
def test_padding_of_texts_changes_nothing(module, data):
    """More columns of padding: the same vectors of tokens, the same loss, the same gradients."""
    config = data.draw(text_configs(MODEL_OF[module]))
    params = random_params(config, model=MODEL_OF[module])
    tokens, segments = data.draw(texts(config))
    labels = with_labels(data, module, config, tokens)
    T = tokens.shape[1]
    more = ((0, 0), (0, data.draw(st.integers(0, LONGEST - T))))
    wide = np.pad(tokens, more, constant_values=config.pad_id)
    # Padding is of any segment.
    wide_segments = None if segments is None else np.pad(segments, more, mode="edge")
    wide_labels = labels if labels.ndim == 1 else np.pad(labels, more, constant_values=IGNORED)
    h, _ = text_encoder.forward(tokens, segments, params, config)
    wide_h, _ = text_encoder.forward(wide, wide_segments, params, config)
    real = tokens != config.pad_id
    close(wide_h[:, :T][real], h[real])
    loss, cache = module.forward(tokens, segments, labels, params, config)
    wide_loss, wide_cache = module.forward(wide, wide_segments, wide_labels, params, config)
    close(wide_loss, loss)
    close_trees(module.backward(1.0, wide_cache), module.backward(1.0, cache))


@SETTINGS
@given(data=st.data(), dtype=dtypes(), norm=st.sampled_from(["pre", "post"]))
def test_a_layer_of_rows_without_padding_equals_that_of_the_batch(data, dtype, norm):
    """The same outputs and gradients at tokens, wherever in the batch padding is."""
    there = data.draw(masks((data.draw(extents(0)), data.draw(extents(0)))))  # (B, T)
    H, seed = data.draw(extents(1, 2)), data.draw(seeds())
    D, rng = 3 * H, np.random.default_rng(seed)
    params = jittered(encoder_layer.init(rng, D, 5, dtype), seed)
    x = data.draw(floats((*there.shape, D), dtype))
    mask = there[:, None, None]  # (B, 1, 1, T)
    y, cache = encoder_layer.forward(x, params, H, mask, norm=norm)
    rows, rows_cache = encoder_layer.forward(x[there], params, H, mask, norm=norm)
    close(rows, y[there])
    dy = cotangent(y)
    dy[~there] = 0
    dx, dparams = encoder_layer.backward(dy, cache)
    drows, from_rows = encoder_layer.backward(dy[there], rows_cache)
    close(drows, dx[there])
    close_trees(from_rows, dparams)


@pytest.mark.parametrize("module", [text_encoder, classifier, token_classifier], ids=name_of)
@SETTINGS
@given(data=st.data())
def test_a_batch_of_texts_equals_its_rows(module, data):
    """A text does not see those beside it, nor its own padding: alone, it needs none of it."""
    config = data.draw(text_configs(module))
    params = random_params(config)
    tokens, segments = data.draw(texts(config))
    y, cache = module.forward(tokens, segments, params, config)
    dy = cotangent(y)
    lengths = np.maximum((tokens != config.pad_id).sum(axis=1), 1)
    if module is not classifier:  # what comes out in the places of padding means nothing
        dy[np.arange(tokens.shape[1]) >= lengths[:, None]] = 0
    dparams = parameters.gather(module.backward(dy, cache))
    total = np.zeros_like(dparams)
    for b, length in enumerate(lengths):
        row = np.s_[b : b + 1, :length]
        own = None if segments is None else segments[row]
        alone, cache = module.forward(tokens[row], own, params, config)
        kept = np.s_[b : b + 1] if module is classifier else row
        close(alone, y[kept])
        total += parameters.gather(module.backward(dy[kept], cache))
    close(total, dparams)


@SETTINGS
@given(data=st.data())
def test_order_is_in_the_positions_alone(data):
    """Tokens in another order, each with its segment and its position: the same vectors."""
    config = data.draw(text_configs(text_encoder, positions="learned"))
    params = random_params(config)
    tokens, segments = data.draw(texts(config))
    T = tokens.shape[1]
    order = np.array(data.draw(st.permutations(range(T))))

    def ordered(tree):
        table = tree["positions"]["weight"].copy()
        table[:T] = table[:T][order]
        return tree | {"positions": {"weight": table}}

    h, cache = text_encoder.forward(tokens, segments, params, config)
    other = None if segments is None else segments[:, order]
    h_2, cache_2 = text_encoder.forward(tokens[:, order], other, ordered(params), config)
    close(h_2, h[:, order])
    dh = cotangent(h)
    expected = ordered(text_encoder.backward(dh, cache))
    close_trees(text_encoder.backward(dh[:, order], cache_2), expected)


@SETTINGS
@given(data=st.data())
def test_each_chosen_token_has_its_own_logits(data):
    """Whatever else is chosen, in the order of reading, they and what comes back are the same."""
    config = data.draw(text_configs(masked_lm))
    params = random_params(config, model=masked_lm)
    tokens, segments = data.draw(texts(config))
    every = np.full(tokens.shape, True)
    chosen = data.draw(masks(tokens.shape))
    all_logits, all_cache = masked_lm.forward(tokens, segments, every, params, config)
    logits, cache = masked_lm.forward(tokens, segments, chosen, params, config)
    all_logits = all_logits.reshape(*tokens.shape, config.vocab)
    close(logits, all_logits[chosen])
    dlogits = cotangent(all_logits) * chosen[..., None]
    found = masked_lm.backward(dlogits[chosen], cache)
    close_trees(found, masked_lm.backward(dlogits.reshape(-1, config.vocab), all_cache))


@SETTINGS
@given(data=st.data())
def test_the_loss_is_that_of_the_chosen_tokens(data):
    """``targets`` say which are chosen, and the mean is over these."""
    config = data.draw(text_configs(masked_lm))
    params = random_params(config, model=masked_lm)
    tokens, segments = data.draw(texts(config))
    targets = with_labels(data, masked_lm_loss, config, tokens)
    loss, cache = masked_lm_loss.forward(tokens, segments, targets, params, config)
    chosen = targets != IGNORED
    logits, model_cache = masked_lm.forward(tokens, segments, chosen, params, config)
    log_p = np.log(softmax.forward(logits)[0])  # (M, V)
    at_target = np.arange(len(logits)), targets[chosen]
    close(loss, -log_p[at_target].sum() / max(1, len(logits)))
    dlogits = np.exp(log_p)
    dlogits[at_target] -= 1
    expected = masked_lm.backward(dlogits / max(1, len(logits)), model_cache)
    close_trees(masked_lm_loss.backward(1.0, cache), expected)


# Pooling


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_pooling_does_not_see_what_the_mask_hides(data, dtype):
    """Not even infinities or NaN; a text is pooled as if alone, without what is hidden."""
    shape = tuple(data.draw(extents()) for _ in range(3))
    x, mask = data.draw(floats(shape, dtype)), data.draw(masks(shape[:2]))
    y, cache = pooling.forward(x, mask, "mean")
    garbage = np.where(mask[..., None], x, dtype(data.draw(st.sampled_from([np.nan, np.inf]))))
    np.testing.assert_array_equal(pooling.forward(garbage, mask, "mean")[0], y)
    dy = cotangent(y)
    dx = pooling.backward(dy, cache)
    assert not dx[~mask].any()
    for b, there in enumerate(mask):
        kept = x[b, there]  # (n, D)
        close(y[b], kept.mean(axis=0) if len(kept) else np.zeros_like(y[b]))
        close(dx[b, there], np.tile(dy[b] / max(1, len(kept)), (len(kept), 1)))


# Layer norm


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_layer_norm_brings_rows_to_mean_0_and_variance_1(data, dtype):
    """Before weight and bias; with what eps takes away where a row hardly varies."""
    shape = (*data.draw(leading), data.draw(extents()))
    x = data.draw(floats(shape, dtype))
    y, cache = layer_norm.forward(x, np.ones(shape[-1], dtype), np.zeros(shape[-1], dtype))
    var = x.astype(np.float64).var(axis=-1)
    tolerance = 1e-3 if dtype == np.float32 else 1e-10
    close(y, cache.normed)
    close(y.mean(axis=-1), np.zeros(shape[:-1], dtype), tolerance)
    close(y.var(axis=-1), var / (var + 1e-5), tolerance)


# Cross-entropy


@st.composite
def losses(draw, dtype):
    """Logits ``(N, V)``, targets ``(N,)`` and a label smoothing."""
    N, V = draw(extents()), draw(st.integers(2, 5))
    targets = draw(hnp.arrays(int, N, elements=st.integers(0, V - 1)))
    return draw(floats((N, V), dtype)), targets, draw(st.sampled_from([0.0, 0.1, 1.0]))


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_cross_entropy_is_minus_log_softmax(data, dtype):
    """The mean of ``-sum_j q_j log p_j``, with q as PyTorch smooths: 1 - e, and e / V more."""
    logits, targets, smoothing = data.draw(losses(dtype))
    N, V = logits.shape
    q = (1 - smoothing) * np.eye(V)[targets] + smoothing / V  # (N, V)
    p, _ = softmax.forward(logits.astype(np.float64))
    loss, cache = cross_entropy.forward(logits, targets, label_smoothing=smoothing)
    close(loss, -(q * np.log(p)).sum() / N)
    close(cross_entropy.backward(1.0, cache), (p - q) / N)


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_ignored_rows_are_as_good_as_absent(data, dtype):
    """In the loss, in the count that it is divided by, and in the gradient."""
    logits, targets, smoothing = data.draw(losses(dtype))
    counts = targets != 0
    loss, cache = cross_entropy.forward(logits, targets, 0, smoothing)
    expected, kept = cross_entropy.forward(logits[counts], targets[counts], None, smoothing)
    close(loss, expected)
    dlogits = cross_entropy.backward(1.0, cache)
    assert not dlogits[~counts].any()
    close(dlogits[counts], cross_entropy.backward(1.0, kept))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_row_counts(dtype):
    """A batch of nothing but ignored rows has loss 0 and a gradient of zeros, not NaN."""
    logits = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(dtype)
    loss, cache = cross_entropy.forward(logits, np.full((2, 3), -100), -100, 0.1)
    assert loss == 0
    np.testing.assert_array_equal(cross_entropy.backward(1.0, cache), np.zeros((2, 3, 4)))


# Embedding


@SETTINGS
@given(data=st.data(), dtype=dtypes())
def test_repeated_ids_add_up(data, dtype):
    """The gradient of a row is the sum over all places where its id stands."""
    found = data.draw(ids(leading, 4))
    weight = data.draw(floats((4, data.draw(extents(0))), dtype))
    y, cache = embedding.forward(found, weight)
    np.testing.assert_array_equal(y, weight[found])
    dy = data.draw(floats(y.shape, dtype))
    expected = np.zeros_like(weight)
    for place in np.ndindex(found.shape):
        expected[found[place]] += dy[place]
    close(embedding.backward(dy, cache), expected)


# Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_drops_its_share(rate, dtype):
    """About ``rate`` of all entries; the others are scaled, so the mean stays about the same."""
    x = np.ones((400, 500), dtype)
    y, _ = dropout.forward(x, rate, np.random.default_rng(0))
    deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert abs((y == 0).mean() - rate) < 4 * deviation
    assert abs(y.mean(dtype=np.float64) - 1) < 4 * deviation / (1 - rate)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)
    neighbours = ((y[:, 1:] == 0) & (y[:, :-1] == 0)).mean()  # independent of each other
    assert abs(neighbours - rate * rate) < 8 * deviation


@SETTINGS
@given(data=st.data(), dtype=dtypes(), seed=seeds(), rate=st.floats(0.01, 0.99))
def test_dropout_goes_back_through_the_same_mask(data, dtype, seed, rate):
    """An entry and its gradient are kept, and scaled, together."""
    shape = (*data.draw(leading), data.draw(extents(0)))
    x, dy = data.draw(floats(shape, dtype)), data.draw(floats(shape, dtype))
    y, cache = dropout.forward(x, rate, np.random.default_rng(seed))
    dx = dropout.backward(dy, cache)
    for found, given_ in ((y, x), (dx, dy)):
        expected = np.where(cache.keep, given_ / (1 - rate), 0).astype(dtype)
        np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)


def test_two_calls_of_dropout_draw_different_masks():
    """Two calls with one generator; and the same seed gives the same two masks again."""

    def two_masks():
        rng = np.random.default_rng(0)
        return [dropout.forward(np.ones((8, 8)), 0.5, rng)[1].keep for _ in range(2)]

    first, second = two_masks()
    assert (first != second).any()
    np.testing.assert_array_equal([first, second], two_masks())


@pytest.mark.parametrize("rate, seed", [(0.0, 0), (0.5, None)])
def test_dropout_that_is_off_returns_its_argument(rate, seed):
    """With rate 0, and without a generator; no number is drawn."""
    rng = None if seed is None else np.random.default_rng(seed)
    before = copy.deepcopy(rng)
    x = np.ones((2, 3))
    y, cache = dropout.forward(x, rate, rng)
    assert y is x
    assert cache.keep is None
    np.testing.assert_array_equal(dropout.backward(2 * x, cache), 2 * x)
    if rng is not None:
        assert rng.bit_generator.state == before.bit_generator.state
