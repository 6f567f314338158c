"""GPT-2 in the layout of Hugging Face, against what transformers wrote and computed.

The folders and numbers in ``recordings/gpt2`` were made by ``recordings/record_gpt2.py``, which
says what is in them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_recordings import SMALL, TOLERANCE, ZERO

from numpy_transformer import parameters
from numpy_transformer.models import causal_lm, causal_lm_loss
from numpy_transformer.porting import gpt2, gpt2_settings, hugging_face, safetensors, table
from numpy_transformer.porting.errors import PortingError

FOLDER = Path(__file__).parent / "recordings" / "gpt2"
MODELS = ("tied", "untied")
SAME_AS_TIED = ("sharded", "bare", "bin", "bin_sharded")
TOLERANCE_FLOAT32 = 1e-5


def small(**changes):
    """A small model whose extents all differ, with every parameter away from 0 and 1."""
    sizes = {"vocab": 11, "N": 3, "d_model": 8, "d_ff": 13, "h": 2, "max_length": 6}
    config = causal_lm.Config(**sizes | changes)
    rng = np.random.default_rng(5)
    params = causal_lm.init(rng, config)
    for _, array in parameters.items(params):
        array[...] = rng.standard_normal(array.shape)
    return params, config


def logits(params, config):
    """What a model says about some tokens."""
    ids = np.random.default_rng(6).integers(0, config.vocab, (2, config.max_length))
    return causal_lm.forward(ids, params, config)[0]


def assert_same(params, expected):
    """The same names in the same order, and the same bits."""
    ours, theirs = parameters.items(params), parameters.items(expected)
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    for (name, array), (_, other) in zip(ours, theirs):
        assert array.dtype == other.dtype, name
        np.testing.assert_array_equal(array, other, err_msg=name)


def message(function, *arguments, **keywords):
    """What the ``PortingError`` says that ``function`` raises."""
    with pytest.raises(PortingError) as caught:
        function(*arguments, **keywords)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    """A copy of the folder ``tied``, to be damaged."""
    return shutil.copytree(FOLDER / "tied", tmp_path / "model")


def change_config(folder, **changes):
    """Change settings in ``config.json``; None removes one."""
    path = folder / "config.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def change_tensors(folder, change):
    """Write ``model.safetensors`` anew after ``change(tensors)``, whose names have no prefix."""
    path = folder / "model.safetensors"
    tensors = {
        name.removeprefix("transformer."): np.array(array)
        for name, array in safetensors.read(path).items()
    }
    change(tensors)
    path.unlink()
    safetensors.write(path, tensors)


# Parity: what transformers computes.


def compare(name, dtype, kept=""):
    """Ours and theirs, by our names: logits, loss, and the gradients of both."""
    params, config = gpt2.read(FOLDER / name, dtype)
    with np.load(FOLDER / f"{name}.npz") as file:
        recorded = dict(file)
    ids, dlogits = recorded["ids"], recorded["dlogits"].astype(dtype)
    y, cache = causal_lm.forward(ids, params, config)
    loss, loss_cache = causal_lm_loss.forward(ids, params, config)
    ours = {"logits": y, "loss": loss}
    expected = {key: recorded[kept + key] for key in ours}
    for kind, gradients in {
        "gradients": causal_lm.backward(dlogits, cache),
        "loss_gradients": causal_lm_loss.backward(1.0, loss_cache),
    }.items():
        start = f"{kept}{kind}."
        tensors = {
            key.removeprefix(start): array
            for key, array in recorded.items()
            if key.startswith(start)
        }
        as_recorded = replace(config, dtype=expected["logits"].dtype.name)
        theirs = gpt2.from_tensors(tensors, as_recorded)  # the same table for gradients
        ours |= {f"{kind}.{key}": array for key, array in parameters.items(gradients)}
        expected |= {f"{kind}.{key}": array for key, array in parameters.items(theirs)}
    assert list(ours) == list(expected)
    return ours, expected


def sizes(expected):
    """The largest entry of each array; of a gradient that is zero but for rounding, of all.

    That is the bias of the key: it adds the same number to all scores of a query, and softmax
    takes that out.
    """
    found = {key: np.abs(array).max() for key, array in expected.items()}
    for kind in ("gradients", "loss_gradients"):
        largest = max(found[key] for key in found if key.startswith(f"{kind}."))
        zero = {key for key in found if key.startswith(f"{kind}.") and key.endswith("key.bias")}
        assert len(zero) == 2
        for key in zero:
            assert found[key] <= max(ZERO, np.finfo(expected[key].dtype).eps) * largest
            found[key] = largest
        assert all(found[key] > 1e-6 * largest for key in found if key.startswith(f"{kind}."))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_parity_float64(name):
    """Logits, loss and all gradients are those of transformers, to ten digits, entry by entry."""
    ours, expected = compare(name, "float64")
    for key, size in sizes(expected).items():
        assert ours[key].dtype == np.float64
        smallest = np.maximum(np.abs(expected[key]), SMALL * size)
        assert (np.abs(ours[key] - expected[key]) <= TOLERANCE * smallest).all(), key


@pytest.mark.parametrize(
    ("name", "kept"),
    [("tied", ""), ("untied", ""), ("tied", "float32.")],
    ids=["tied", "untied", "tied-against-float32"],
)
def test_parity_float32(name, kept):
    """In float32 they deviate by no more than its few digits make them."""
    ours, expected = compare(name, "float32", kept)
    for key, size in sizes(expected).items():
        assert ours[key].dtype == np.float32
        assert np.abs(ours[key] - expected[key]).max() <= TOLERANCE_FLOAT32 * size, key


# Reading: layouts, dtypes, views.


@pytest.mark.parametrize("name", SAME_AS_TIED)
def test_all_layouts_hold_the_same_model(name):
    params, config = gpt2.read(FOLDER / "tied")
    again, again_config = gpt2.read(FOLDER / name)
    assert again_config == config
    assert_same(again, params)


def test_settings_are_read():
    sizes = {"vocab": 23, "N": 2, "d_model": 12, "h": 2, "max_length": 9}
    rates = {"P_drop": 0.1, "attention_dropout": 0.1}
    _, config = gpt2.read(FOLDER / "tied")
    assert config == causal_lm.Config(**sizes, **rates, d_ff=31, activation="gelu_tanh")
    _, config = gpt2.read(str(FOLDER / "untied"))
    assert config == causal_lm.Config(
        **sizes, **rates, d_ff=48, activation="gelu", norm_eps=1e-3, tie_output=False,
        dtype="float64",
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_parameters_are_those_of_the_model(name):
    """With the names, the order and the shapes that ``causal_lm.init`` gives them."""
    params, config = gpt2.read(FOLDER / name)
    made = causal_lm.init(np.random.default_rng(0), config)
    assert [(key, array.shape, array.dtype) for key, array in parameters.items(params)] == [
        (key, array.shape, array.dtype) for key, array in parameters.items(made)
    ]
    vector, views = parameters.pack(params)  # as for training
    vector += 1
    assert vector.flags.writeable
    assert not np.array_equal(views["decoder"]["norm"]["bias"], params["decoder"]["norm"]["bias"])


@pytest.mark.parametrize("name", MODELS)
def test_the_table_names_every_tensor_with_its_shape(name):
    _, config = gpt2.read(FOLDER / name)
    tensors = safetensors.read(FOLDER / name / "model.safetensors")
    rows = gpt2.rows(config)
    assert {gpt2.their_name(row.ours): row.shape for row in rows} == {
        key: tensor.shape for key, tensor in tensors.items()
    }
    made = parameters.items(causal_lm.init(np.random.default_rng(0), config))
    assert [(row.ours, table.our_shape(row)) for row in rows] == [(k, a.shape) for k, a in made]


@pytest.mark.parametrize(
    "name",
    ["output.bias", "h.0.ln_1.weight", "decoder.layers.x.feed_forward.hidden.bias", "decoder", ""],
)
def test_a_name_that_they_do_not_have(name):
    assert message(gpt2.their_name, name) == f"a GPT-2 has nothing for {name!r}"


@pytest.mark.parametrize("name", [*MODELS, *SAME_AS_TIED])
def test_nothing_is_copied_that_need_not_be(name):
    """Every array is a read-only view; query, key and value are columns of one matrix."""
    params, config = gpt2.read(FOLDER / name)
    for key, array in parameters.items(params):
        assert not array.flags.owndata and not array.flags.writeable, key
    attention = params["decoder"]["layers"]["1"]["self_attention"]
    weights = [attention[part]["weight"] for part in ("query", "key", "value")]
    width = 12 * weights[0].itemsize
    addresses = [weight.__array_interface__["data"][0] for weight in weights]
    assert [weight.strides[0] for weight in weights] == [3 * width] * 3
    assert np.diff(addresses).tolist() == [width, width]


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
@pytest.mark.parametrize("asked", [None, "float32", "float64"])
def test_dtypes(folder, stored, asked):
    expected = asked or ("float64" if stored == "float64" else "float32")
    original, _ = gpt2.read(folder)
    change_tensors(
        folder,
        lambda tensors: tensors.update({k: a.astype(stored) for k, a in tensors.items()}),
    )
    params, config = gpt2.read(folder, asked)
    assert config.dtype == expected
    for (name, array), (_, other) in zip(parameters.items(params), parameters.items(original)):
        assert array.dtype == expected
        np.testing.assert_array_equal(array, other.astype(stored).astype(expected), err_msg=name)


def test_one_tensor_in_float64_makes_all_of_them_float64(folder):
    """None is rounded."""
    bias = np.linspace(0, 1, 12)
    change_tensors(folder, lambda tensors: tensors.update({"ln_f.bias": bias}))
    params, config = gpt2.read(folder)
    assert config.dtype == "float64"
    assert {array.dtype.name for _, array in parameters.items(params)} == {"float64"}
    np.testing.assert_array_equal(params["decoder"]["norm"]["bias"], bias)


def test_a_dtype_that_the_model_does_not_have():
    assert message(gpt2.read, FOLDER / "tied", "float16") == (
        "dtype is 'float16', expected one of float32, float64"
    )


@pytest.mark.parametrize("there", ["both", "output alone"])
def test_a_tied_output_under_its_own_name(folder, there):
    """As PyTorch's files have it, and as those of ``safetensors.torch.save_model``."""
    params, config = gpt2.read(folder)

    def change(tensors):
        tensors["lm_head.weight"] = tensors["wte.weight"]
        if there == "output alone":
            del tensors["wte.weight"]

    change_tensors(folder, change)
    again, again_config = gpt2.read(folder)
    assert again_config == config
    assert_same(again, params)


def test_the_first_layout_of_several_is_read(folder):
    """As in transformers: safetensors before PyTorch's, one file before several."""
    for name in ("sharded", "bin", "bin_sharded"):
        shutil.copytree(FOLDER / name, folder, dirs_exist_ok=True)
    change_tensors(folder, lambda tensors: tensors["ln_f.bias"].fill(7))
    params, _ = gpt2.read(folder)
    assert (params["decoder"]["norm"]["bias"] == 7).all()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"damaged")
    gpt2.read(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert "pytorch_model.bin begins with" in message(gpt2.read, folder)


# Reading: what is refused.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "bert"}, "this is a model of type 'bert' (model_type), expected 'gpt2'"),
        ({"model_type": None}, "this is a model of no type (model_type), expected 'gpt2'"),
        (
            {"activation_function": "silu"},
            "activation_function is 'silu', "
            "expected one of gelu_new, gelu_pytorch_tanh, gelu, relu",
        ),
        (
            {"scale_attn_weights": False},
            "scale_attn_weights is False, but causal_lm computes only what True means",
        ),
        (
            {"scale_attn_by_inverse_layer_idx": True},
            "scale_attn_by_inverse_layer_idx is True, "
            "but causal_lm computes only what False means",
        ),
        (
            {"add_cross_attention": True},
            "add_cross_attention is True, but causal_lm computes only what False means",
        ),
        ({"n_head": 5}, "n_head=5 heads do not divide n_embd=12"),
        ({"n_layer": -1}, "n_layer=-1, expected a whole number above 0"),
        ({"n_layer": "2"}, "n_layer is '2', expected a whole number"),
        ({"n_inner": 3.5}, "n_inner is 3.5, expected a whole number"),
        ({"resid_pdrop": 1.5}, "resid_pdrop=1.5, expected at least 0 and below 1"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon=0, expected above 0"),
        ({"layer_norm_epsilon": True}, "layer_norm_epsilon is True, expected a number"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings is 1, expected true or false"),
        ({"activation_function": ["gelu"]}, "activation_function is ['gelu'], expected a text"),
    ],
)
def test_settings_that_are_refused(folder, changes, said):
    change_config(folder, **changes)
    assert message(gpt2.read, folder) == f"{folder / 'config.json'}: {said}"


NUMBERS = (0, -1, 2.5, 10**19, 1e300, float("nan"), True, False)
BAD = (*NUMBERS, "x", "\x1b[2J", "a" * 999, [], {}, [[1]])


@pytest.mark.filterwarnings("ignore:embd_pdrop")
@pytest.mark.parametrize(
    "name",
    [
        *(theirs for theirs, _ in gpt2_settings.SETTINGS.values()),
        *gpt2_settings.ALWAYS,
        "model_type",
        "embd_pdrop",
        "n_ctx",
    ],
)
def test_whatever_a_setting_is_the_error_is_for_people(folder, name):
    """It is taken, or refused with a short message that names it; never anything else."""
    refused = 0
    for value in BAD:
        change_config(folder, **{name: value})
        try:
            gpt2.read(folder)
        except PortingError as error:
            refused += 1
            assert len(str(error)) < 1000 and "\x1b" not in str(error)
    # n_ctx is not looked at beside n_positions; embd_pdrop has no place here.
    assert (refused == 0) == (name in ("embd_pdrop", "n_ctx"))


def test_settings_that_are_not_there_are_those_of_transformers():
    assert gpt2_settings.to_config({"model_type": "gpt2"}) == causal_lm.preset(
        "gpt2", vocab=50257, P_drop=0.1, attention_dropout=0.1
    )
    assert gpt2_settings.to_config({"model_type": "gpt2", "n_ctx": 7}).max_length == 7
    both = {"model_type": "gpt2", "n_ctx": 7, "n_positions": 8}
    assert gpt2_settings.to_config(both).max_length == 8


@pytest.mark.parametrize(
    ("theirs", "ours"), [("gelu_pytorch_tanh", "gelu_tanh"), ("relu", "relu"), ("gelu", "gelu")]
)
def test_activations(theirs, ours):
    values = {"model_type": "gpt2", "activation_function": theirs}
    assert gpt2_settings.to_config(values).activation == ours


def test_another_dropout_on_the_embeddings_is_told(folder):
    change_config(folder, embd_pdrop=0.3, resid_pdrop=0.2)
    with pytest.warns(UserWarning, match="embd_pdrop is 0.3, but .*: resid_pdrop, which is 0.2"):
        _, config = gpt2.read(folder)
    assert (config.P_drop, config.attention_dropout) == (0.2, 0.1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b'{"model_type": "gpt2",', "is damaged: "),
        (b"\xff\xfe", "is damaged: "),
        (b"[1, 2]", "holds [1, 2], expected a JSON object"),
        (b'{"n_layer": ' + b"9" * 3000 + b"}", "is damaged: a number is '9999"),
        (b"[" * 200_000, "nests far too deep"),
        (None, "is missing"),
    ],
    ids=["empty", "cut off", "no text", "a list", "a long number", "deep", "missing"],
)
def test_a_damaged_config(folder, content, said):
    path = folder / "config.json"
    path.unlink() if content is None else path.write_bytes(content)
    text = message(gpt2.read, folder)
    assert text.startswith(f"{path} {said}") and len(text) < 1000


def test_no_folder_and_no_weights(folder, tmp_path):
    nowhere = tmp_path / "nowhere"
    assert message(gpt2.read, nowhere).startswith(f"there is no folder {nowhere}; give one with")
    path = folder / "model.safetensors"
    assert message(gpt2.read, path).startswith(f"there is no folder {path}; ")
    path.rename(folder / "tf_model.h5")
    assert message(gpt2.read, folder) == (
        f"{folder} holds no weights, expected model.safetensors or model.safetensors.index.json or "
        "pytorch_model.bin or pytorch_model.bin.index.json; there is 'config.json', 'tf_model.h5'"
    )


def test_missing_unknown_and_misshapen_tensors_are_named(folder):
    def change(tensors):
        del tensors["h.1.attn.c_attn.bias"], tensors["ln_f.weight"]
        tensors["score.weight"] = np.ones((2, 12), np.float32)
        tensors["wpe.weight"] = np.ones((8, 12), np.float32)
        tensors["h.0.attn.c_attn.weight"] = np.ones((36, 12), np.float32)
        tensors["h.0.mlp.c_fc.bias"] = np.ones(31, np.int8)

    change_tensors(folder, change)
    assert message(gpt2.read, folder) == (
        f"{folder}: the weights do not fit the settings: "
        "2 missing: 'h.1.attn.c_attn.bias', 'ln_f.weight'; "
        "1 unknown: 'score.weight'; "
        "2 of another shape: wpe.weight is (8, 12), expected (9, 12), "
        "h.0.attn.c_attn.weight is (36, 12), expected (12, 36); "
        "1 not floating-point: h.0.mlp.c_fc.bias is int8"
    )


def test_a_list_of_names_ends(folder):
    change_config(folder, n_layer=4)
    text = message(gpt2.read, folder)
    assert "24 missing: 'h.2.ln_1.weight', 'h.2.ln_1.bias', " in text
    assert text.endswith(" and 16 more")
    change_config(folder, n_layer=1)
    assert re.search(r"12 unknown: 'h\.1\.[^;]* and 4 more$", message(gpt2.read, folder))
    change_config(folder, n_layer=10**15)
    assert message(gpt2.read, folder) == (
        f"{folder}: n_layer is 1000000000000000, but there are only 28 tensors"
    )


def test_outputs_that_do_not_fit(folder):
    change_config(folder, tie_word_embeddings=False)
    assert message(gpt2.read, folder).endswith("settings: 1 missing: 'lm_head.weight'")
    change_tensors(
        folder, lambda tensors: tensors.update({"lm_head.weight": tensors["wte.weight"] + 1})
    )
    params, _ = gpt2.read(folder)
    assert params["output"]["weight"].shape == (12, 23)
    change_config(folder, tie_word_embeddings=True)
    assert message(gpt2.read, folder) == (
        f"{folder}: the settings say that lm_head.weight is wte.weight (tie_word_embeddings), but "
        "the two differ; if they are meant to, set tie_word_embeddings to false"
    )


def test_a_tensor_with_and_without_the_prefix(folder):
    change_tensors(
        folder, lambda tensors: tensors.update({"transformer.ln_f.bias": tensors["ln_f.bias"]})
    )
    assert message(gpt2.read, folder) == (
        f"{folder}: 'ln_f.bias' is there twice, with transformer. before it and without"
    )


# Reading: shards.


def change_index(folder, change):
    """Write the index anew after ``change(weight_map)``."""
    path = folder / "model.safetensors.index.json"
    values = json.loads(path.read_text())
    change(values["weight_map"])
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def sharded(tmp_path):
    """A copy of the folder ``sharded``, to be damaged."""
    return shutil.copytree(FOLDER / "sharded", tmp_path / "model")


def test_missing_shards_are_named(sharded):
    (sharded / "model-00002-of-00002.safetensors").unlink()
    path = sharded / "model.safetensors.index.json"
    assert message(gpt2.read, sharded) == (
        f"of the 2 files that {path} names, 1 cannot be found: 'model-00002-of-00002.safetensors'"
    )


@pytest.mark.parametrize(
    "file", ["../tied/model.safetensors", "/etc/passwd", "..", "", "a/b", "a\\b", "./a"]
)
def test_an_index_names_no_file_outside_of_its_folder(sharded, file):
    path = change_index(sharded, lambda names: names.update({"transformer.wpe.weight": file}))
    assert message(gpt2.read, sharded) == f"{path} names {file!r}, expected files beside it"


@pytest.mark.parametrize("file", ["a\0b", "\ud800", "x" * 5000, "config.json", "model"])
def test_an_index_that_names_what_is_no_shard(sharded, file):
    (sharded / "model").mkdir()
    change_index(sharded, lambda names: names.update({"transformer.wpe.weight": file}))
    assert len(message(gpt2.read, sharded)) < 1000


@pytest.mark.parametrize("index", [[], {}, {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_an_index_that_is_none(sharded, index):
    path = sharded / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    said = "holds [], " if index == [] else "is damaged: weight_map must say in which file each"
    assert message(gpt2.read, sharded).startswith(f"{path} {said}")


def test_an_index_and_shards_that_do_not_agree(sharded):
    path = change_index(
        sharded, lambda names: names.update({"more": "model-00001-of-00002.safetensors"})
    )
    assert message(gpt2.read, sharded) == (
        f"{path} names tensors that are in none of its files: 'more'"
    )
    shutil.copy(FOLDER / "tied" / "model.safetensors", sharded / "third.safetensors")
    change_index(sharded, lambda names: names.update({"more": "third.safetensors"}))
    assert re.match(
        rf"{re.escape(str(sharded))}/third.safetensors holds once more: 'transformer.h.0.*20 more",
        message(gpt2.read, sharded),
    )


def test_a_file_of_pytorch_with_more_than_tensors(folder, monkeypatch):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    read = {"pytorch_model.bin": lambda path: {"wte.weight": np.ones(2), "epoch": 3}}
    monkeypatch.setattr(hugging_face, "READERS", read)
    assert message(gpt2.read, folder) == (
        f"{folder / 'pytorch_model.bin'} holds 3 as 'epoch', expected a tensor"
    )


# Writing.


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_is_what_save_pretrained_writes(name, tmp_path):
    """The weights byte for byte; the settings but for what a GPT-2 does not compute with."""
    params, config = gpt2.read(FOLDER / name)
    gpt2.write(tmp_path, params, config, end_of_text=22)
    written, theirs = tmp_path / "model.safetensors", FOLDER / name / "model.safetensors"
    assert written.read_bytes() == theirs.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    values = json.loads((FOLDER / name / "config.json").read_text())
    expected = {
        key: value
        for key, value in values.items()
        if not key.startswith("summary_") and key != "transformers_version"
    }
    expected["n_inner"] = config.d_ff  # None there, where it is 4 D
    assert json.loads((tmp_path / "config.json").read_text()) == expected


@pytest.mark.parametrize("tie_output", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
def test_what_was_written_is_read_again(tmp_path, tie_output, dtype, activation):
    changes = {"P_drop": 0.25, "attention_dropout": 0.5, "norm_eps": 1e-4}
    params, config = small(tie_output=tie_output, dtype=dtype, activation=activation, **changes)
    gpt2.write(tmp_path / "new" / "model", params, config)
    again, again_config = gpt2.read(tmp_path / "new" / "model")
    assert again_config == config
    assert_same(again, params)


def test_written_as_float16(tmp_path):
    params, config = small()
    gpt2.write(tmp_path, params, config, dtype="float16")
    tensors = safetensors.read(tmp_path / "model.safetensors")
    assert {tensor.dtype.name for tensor in tensors.values()} == {"float16"}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    again, again_config = gpt2.read(tmp_path)
    assert again_config == config
    for (_, array), (_, other) in zip(parameters.items(again), parameters.items(params)):
        np.testing.assert_array_equal(array, other.astype(np.float16))


def test_numbers_that_a_dtype_cannot_hold(tmp_path):
    params, config = small()
    params["decoder"]["layers"]["1"]["feed_forward"]["hidden"]["bias"][2] = -70000
    assert message(gpt2.write, tmp_path / "model", params, config, dtype="float16") == (
        "decoder.layers.1.feed_forward.hidden.bias holds numbers of up to 7e+04, which float16 "
        "cannot hold; leave dtype out to write them as they are"
    )
    assert message(gpt2.write, tmp_path / "model", params, config, dtype="int8") == (
        "dtype is 'int8', expected one of float16, float32, float64"
    )
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": False},
        {"positions": "sinusoidal"},
        {"positions": "sinusoidal", "sinusoids": "halves", "attention_bias": False},
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_function_with_more_parameters(tmp_path, changes, dtype):
    """No biases become zeros, sinusoids a table: what is read gives the same logits."""
    params, config = small(dtype=dtype, **changes)
    gpt2.write(tmp_path, params, config)
    again, again_config = gpt2.read(tmp_path)
    assert again_config == replace(
        config, attention_bias=True, positions="learned", sinusoids="interleaved"
    )
    np.testing.assert_array_equal(logits(again, again_config), logits(params, config))


def test_a_bias_of_the_output_has_no_place(tmp_path):
    params, config = small(output_bias=True)
    assert message(gpt2.write, tmp_path, params, config) == (
        "this model has a bias on its output (output_bias=True), and a GPT-2 has no place for it: "
        "train one with output_bias=False"
    )


def test_dropout_of_hidden_units_is_told(tmp_path):
    params, config = small(activation_dropout=0.5)
    with pytest.warns(UserWarning, match="activation_dropout=0.5 is not written: a GPT-2 has no"):
        gpt2.write(tmp_path, params, config)
    assert gpt2.read(tmp_path)[1] == replace(config, activation_dropout=0.0)


@pytest.mark.parametrize("end_of_text", [-1, 11, 1.5, "x"])
def test_an_end_of_text_outside_of_the_vocabulary(tmp_path, end_of_text):
    params, config = small()
    assert message(gpt2.write, tmp_path, params, config, end_of_text=end_of_text) == (
        f"end_of_text is {end_of_text!r}, expected an id below 11"
    )


def test_parameters_that_are_not_those_of_the_settings(tmp_path):
    params, config = small()
    del params["positions"]
    params["decoder"]["norm"]["bias"] = np.ones(9, np.float32)
    params["more"] = {"weight": np.ones(3, np.float32)}
    params["decoder"]["norm"]["weight"] = np.ones(8, complex)
    assert message(gpt2.write, tmp_path / "model", params, config) == (
        "the weights do not fit the settings: 1 missing: 'positions.weight'; "
        "1 unknown: 'more.weight'; "
        "1 of another shape: decoder.norm.bias is (9,), expected (8,); "
        "1 not floating-point: decoder.norm.weight is complex128"
    )
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "pytorch_model.bin.index.json"]
)
def test_a_model_that_is_there_is_not_written_over(tmp_path, name):
    params, config = small()
    (tmp_path / name).write_text("precious")
    assert message(gpt2.write, tmp_path, params, config) == (
        f"{tmp_path} already holds {name!r}, and nothing is written over: "
        "give another folder, or remove them"
    )
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


def test_other_files_of_a_folder_stay(tmp_path):
    params, config = small()
    (tmp_path / "vocab.json").write_text("{}")
    gpt2.write(tmp_path, params, config)
    assert (tmp_path / "vocab.json").read_text() == "{}"
    assert_same(gpt2.read(tmp_path)[0], params)


def test_a_folder_that_cannot_be_made(tmp_path):
    params, config = small()
    (tmp_path / "file").write_text("")
    assert message(gpt2.write, tmp_path / "file", params, config) == (
        f"{tmp_path / 'file'} cannot be written: File exists"
    )


def test_what_could_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    params, config = small()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    allowed = iter([True, False])  # config.json still has room
    synchronize = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synchronize if next(allowed) else full)(file))
    assert message(gpt2.write, tmp_path, params, config).endswith("No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_writing_and_reading_change_nothing_that_was_given(tmp_path):
    params, config = small()
    before = [array.copy() for _, array in parameters.items(params)]
    gpt2.write(tmp_path, params, config)
    tensors = {name: array.copy() for name, array in gpt2.to_tensors(params, config).items()}
    kept = dict(tensors)
    gpt2.from_tensors(tensors, config)
    assert tensors.keys() == kept.keys()
    for (_, array), other in zip(parameters.items(params), before):
        np.testing.assert_array_equal(array, other)


# Where ours lies in theirs, by hand: what the round trips above cannot show.


def test_conv1d_holds_query_key_and_value_side_by_side():
    """The first D columns make the query: a layer computed from their tensors by their formula."""
    params, config = small(dtype="float64")
    tensors = gpt2.to_tensors(params, config)
    x = np.random.default_rng(7).standard_normal((4, 8))
    joint = x @ tensors["transformer.h.2.attn.c_attn.weight"]
    joint += tensors["transformer.h.2.attn.c_attn.bias"]
    attention = params["decoder"]["layers"]["2"]["self_attention"]
    for part, columns in zip(("query", "key", "value"), np.split(joint, 3, axis=1)):
        expected = x @ attention[part]["weight"] + attention[part]["bias"]
        np.testing.assert_allclose(columns, expected, rtol=1e-12)
