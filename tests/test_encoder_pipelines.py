"""The pipelines of encoder-only models: what transformers' give, and what they say to wrong input.

``recordings/record_pipelines.py`` made the models and the results.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from numpy_transformer import parameters, pipeline
from numpy_transformer.data.tokenizers import ByteLevelBPE, Characters, WithSpecialTokens, WordPiece
from numpy_transformer.models import (
    causal_lm,
    classifier,
    masked_lm,
    text_encoder,
    text_encoder_inference,
)
from numpy_transformer.models import token_classifier
from numpy_transformer.pipelines import encoder_inputs, encoder_model, fill_mask
from numpy_transformer.pipelines.encoder_model import EncoderModel
from numpy_transformer.pipelines.feature_extraction import FeatureExtraction
from numpy_transformer.pipelines.fill_mask import FillMask
from numpy_transformer.pipelines.text_classification import TextClassification
from numpy_transformer.porting import bert, gpt2
from numpy_transformer.training import checkpoint

RECORDED = Path(__file__).parent / "recordings" / "pipelines"
CALLS = json.loads((RECORDED / "results.json").read_text())
TASKS = {call["folder"]: call["task"] for call in CALLS}

LETTERS = WithSpecialTokens(Characters("abcdefgh "))
LABELS = ("noun", "verb", "neither")
MODULES = {
    "masked_lm": (masked_lm, text_encoder.Config, {}),
    "classifier": (classifier, classifier.Config, {"classes": 3}),
    "token_classifier": (token_classifier, token_classifier.Config, {"classes": 3}),
    "text_encoder": (text_encoder, text_encoder.Config, {}),
}


def made(kind, tokenizer=LETTERS, **changes):
    """A model in float64 with random weights of size about 1."""
    module, config, more = MODULES[kind]
    sizes = {"N": 2, "d_model": 12, "d_ff": 20, "h": 2, "max_length": 12, "dtype": "float64"}
    sizes |= {"vocab": len(tokenizer), "pad_id": tokenizer.pad_id}
    config = config(**sizes | more | changes)
    rng = np.random.default_rng(0)
    params = module.init(rng, config)
    for _, array in parameters.items(params):
        array += rng.standard_normal(array.shape) * (0.6 if array.ndim == 2 else 0.2)
    labels = LABELS if more else ()
    return EncoderModel(kind, params, config, tokenizer, labels)


def save(model, run):
    """A model as a run: its only checkpoint."""
    settings = {"kind": model.kind, "model": vars(model.config), "labels": model.labels}
    weights = dict(parameters.items(model.params))
    vocabulary = {"text": model.tokenizer.to_json()}
    saved = checkpoint.Checkpoint(weights, {}, {"step": 1}, settings, vocabulary)
    checkpoint.save(run, saved, best=True)


@pytest.fixture(scope="module")
def recorded():
    """The pipelines of the recorded models, by their folders."""
    return {name: pipeline(task, model=RECORDED / name) for name, task in TASKS.items()}


@pytest.fixture(scope="module")
def fill():
    return FillMask(made("masked_lm"))


@pytest.fixture(scope="module")
def classify():
    return TextClassification(made("classifier"))


@pytest.fixture(scope="module")
def features():
    return FeatureExtraction(made("text_encoder"))


def assert_same(found, expected, rel=1e-5, abs=0.0):
    """The same lists, dictionaries, texts and whole numbers; floats up to rounding in float32."""
    assert type(found) is type(expected)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert_same(a, b, rel, abs)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same(found[name], expected[name], rel, abs)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=rel, abs=abs)
    else:
        assert found == expected


# What transformers gives.


@pytest.mark.parametrize(
    "call", CALLS, ids=lambda call: f"{call['folder']} {call['inputs']} {call['settings']}"[:90]
)
def test_results_are_those_of_transformers(recorded, call):
    found = recorded[call["folder"]](call["inputs"], **call["settings"])
    features = call["task"] == "feature-extraction"  # numbers near 0 among those of size 1
    assert_same(found, call["result"], abs=1e-5 if features else 0.0)


def test_there_is_a_recording_for_each_task_and_they_are_no_trivial_ones():
    assert set(TASKS.values()) == {"fill-mask", "text-classification", "feature-extraction"}
    best = {
        answer["label"]
        for call in CALLS
        if call["folder"] == "classifier" and not call["settings"]
        for answer in (call["result"] if isinstance(call["result"], list) else [call["result"]])
    }
    assert len(best) > 1


def test_a_folder_that_was_written_here_gives_the_same(recorded, tmp_path):
    """``bert.write`` and ``WordPiece.write``, and back through the pipeline."""
    for name, task in TASKS.items():
        model = recorded[name].model
        bert.write(tmp_path / name, model.kind, model.params, model.config, model.labels)
        model.tokenizer.write(tmp_path / name)
        text = "the [MASK] of x"
        assert pipeline(task, model=tmp_path / name)(text) == recorded[name](text)


def test_sentiment_analysis_is_another_name(recorded):
    again = pipeline("sentiment-analysis", model=str(RECORDED / "classifier"))
    assert again("print x", top_k=None) == recorded["classifier"]("print x", top_k=None)


# What transformers does not say, or says otherwise.


def test_pooled_features_are_those_of_the_tokens(recorded):
    features = recorded["text_encoder"]
    texts = ["Print", "unreadable files", "the value of a list"]
    tokens = [array[0] for array in features(texts, return_tensors=True)]
    assert [array.shape for array in tokens] == [(3, 12), (7, 12), (7, 12)]
    means = features(texts, pooling="mean")
    np.testing.assert_allclose(means, [t.mean(axis=0) for t in tokens], rtol=0, atol=1e-6)
    first = features(texts, pooling="cls")
    np.testing.assert_allclose(first, [t[0] for t in tokens], rtol=0, atol=1e-6)
    assert means.dtype == first.dtype == np.float32 and means.shape == (3, 12)
    for pooling, plain in (("mean", means), ("cls", first)):
        found = features(texts, pooling=pooling, normalize=True)
        expected = plain / np.sqrt((plain * plain).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_forms_of_features(features):
    nested = features("abc")
    assert isinstance(nested, list) and np.shape(nested) == (1, 5, 12)
    array = features("abc", return_tensors=True)
    assert isinstance(array, np.ndarray) and array.tolist() == nested
    assert [np.shape(n) for n in features(["abc", "a"])] == [(1, 5, 12), (1, 3, 12)]
    assert features("abc", pooling="mean").shape == (1, 12)
    assert features([], pooling="mean").shape == (0, 12) and features([]) == []
    lengths = np.linalg.norm(features("abc", normalize=True), axis=-1)
    np.testing.assert_allclose(lengths, np.ones((1, 5)), rtol=1e-12)


def test_features_come_from_a_model_of_any_kind(tmp_path):
    for kind in MODULES:
        if kind != "text_encoder":  # such a run is not made
            model = made(kind)
            save(model, tmp_path / kind)
            expected = FeatureExtraction(encoder_model.encoder_of(model))("bad")
            assert pipeline("feature-extraction", model=tmp_path / kind)("bad") == expected


def test_a_batch_equals_its_texts_one_at_a_time(fill, classify, features, monkeypatch):
    texts = ["a[MASK]c", "[MASK]", "bad [MASK]e", "cab[MASK][MASK]f", "h[MASK]", "[MASK]a"]
    pairs = [*texts, {"text": "bad", "text_pair": "cab"}, {"text": "a", "text_pair": "a a a a"}]
    for batch_tokens in (4096, 16, 1):
        monkeypatch.setattr(fill_mask, "BATCH_TOKENS", batch_tokens)
        monkeypatch.setattr(encoder_inputs, "BATCH_TOKENS", batch_tokens)
        assert_same(fill(texts), [fill(text) for text in texts], rel=1e-12)
        assert_same(
            classify(pairs, top_k=None), [classify(pair, top_k=None) for pair in pairs], rel=1e-12
        )
        assert_same(features(texts), [features(text) for text in texts], rel=0, abs=1e-12)
        one = np.concatenate([features(text, pooling="mean") for text in texts])
        np.testing.assert_allclose(features(texts, pooling="mean"), one, rtol=0, atol=1e-12)


def test_how_many_batches_there_are(features, monkeypatch):
    """Texts of like length go together, so that there is little padding."""
    seen = []
    encode = text_encoder_inference.encode

    def spy(ids, *arguments):
        seen.append(ids.shape)
        return encode(ids, *arguments)

    monkeypatch.setattr(text_encoder_inference, "encode", spy)
    monkeypatch.setattr(encoder_inputs, "BATCH_TOKENS", 40)
    features(["abcdefgh", "a", "abcdefgh", "b"] * 4)
    assert seen == [(8, 3), (4, 10), (4, 10)]


def test_scores_are_probabilities(fill, classify):
    for answers in (fill("a[MASK]", top_k=10**6), classify("abc", top_k=None)):
        scores = [answer["score"] for answer in answers]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, rel=1e-12)
    assert len(fill("a[MASK]", top_k=10**6)) == len(LETTERS)


def test_a_logit_of_any_size_has_a_sigmoid():
    model = made("classifier")
    model.params["output"]["bias"][:] = [-2000, 0, 2000]
    found = TextClassification(model)("abc", function_to_apply="sigmoid", top_k=None)
    assert [answer["score"] for answer in found][::2] == [1.0, 0.0]


def test_the_second_text_of_a_pair_is_told_from_the_first(classify):
    one = classify({"text": "ab", "text_pair": "cd"}, top_k=None)
    other = classify({"text": "cd", "text_pair": "ab"}, top_k=None)
    assert one != other and classify({"text": "ab"}) == classify("ab")[0]


def test_targets_of_tokens_that_begin_with_a_space():
    """In a byte-level vocabulary they are written with another letter: a person writes a space."""
    tokenizer = WithSpecialTokens(ByteLevelBPE.train("the cat the cat the hat " * 9, 275, ()))
    fill = FillMask(made("masked_lm", tokenizer))
    (answer,) = fill("the[MASK]", targets=" cat")
    assert (answer["token_str"], answer["sequence"]) == (" cat", "the cat")
    assert fill("the[MASK]", targets=["Ġcat"]) == [answer]


def test_targets_are_read_as_texts_are(recorded):
    """Only small letters are in the vocabulary."""
    fill = recorded["masked_lm"]
    assert fill("the [MASK]", targets="LIST") == fill("the [MASK]", targets="list")


def test_the_mask_token(fill):
    assert fill.mask_token == "[MASK]" and len(fill(f"a{fill.mask_token}", top_k=2)) == 2


# What is refused.


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("abc", {}), r"there is no \[MASK\] in 'abc': write it where"),
        ((["a[MASK]", "abc"], {}), r"there is no \[MASK\] in 'abc'"),
        (("[MASK]" * 11, {}), r"is 13 tokens long, \[CLS\] and \[SEP\] included, .* at most 12;"),
        (("a[MASK]", {"top_k": 0}), "top_k is 0, expected a whole number, at least 1"),
        (("a[MASK]", {"top_k": None}), "top_k is None, expected a whole number"),
        (("a[MASK]", {"targets": "ab"}), "the target 'ab' is no token .* which reads it as a b;"),
        (("a[MASK]", {"targets": ["a", "é"]}), r"the target 'é' is .* reads it as \[UNK\];"),
        (("a[MASK]", {"targets": ""}), "the target '' is .* reads it as nothing;"),
        (("a[MASK]", {"targets": []}), "targets is empty, expected at least one"),
    ],
)
def test_what_cannot_be_filled(fill, arguments, sentence):
    inputs, settings = arguments
    with pytest.raises(ValueError, match=sentence):
        fill(inputs, **settings)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"top_k": 0}, "top_k is 0, expected a whole number, at least 1"),
        ({"top_k": "all"}, "top_k is 'all', expected a whole number"),
        ({"function_to_apply": "relu"}, "is 'relu', expected one of 'softmax', 'sigmoid', 'none'"),
    ],
)
def test_settings_of_classification_that_there_are_not(classify, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        classify("abc", **settings)


def test_too_long_a_text_is_cut_only_if_asked(classify, features):
    text = "abcdefgh" * 9
    sentence = r"^'(abcdefgh){4}abcde\.\.\.' is 74 tokens long, .* truncation=True$"
    for pipe in (classify, features):
        with pytest.raises(ValueError, match=sentence):
            pipe(["a", text])
        assert pipe(text, truncation=True) == pipe(text[:10])
    pair = {"text": text, "text_pair": "ab"}
    with pytest.raises(ValueError, match=r"and 'ab' is 77 tokens long"):
        classify(pair)
    assert classify(pair, truncation=True) == classify({"text": text[:7], "text_pair": "ab"})


def test_a_pair_for_a_model_of_single_texts():
    classify = TextClassification(made("classifier", segments=1))
    assert len(classify("abc")) == 1
    with pytest.raises(ValueError, match=r"given a pair of texts, 'a' and 'b', but .*segments=1"):
        classify({"text": "a", "text_pair": "b"})


@pytest.mark.parametrize("pooling", ["first", "max", None])
def test_another_pooling(features, pooling):
    with pytest.raises(ValueError, match="expected one of 'none', 'mean', 'cls'"):
        features("a", pooling=pooling)


@pytest.mark.parametrize("given", [3, None, ["a", 3], b"a"])
def test_what_is_no_text(fill, features, given):
    for pipe in (fill, features):
        with pytest.raises(TypeError, match="inputs is .*, expected a text or a list of texts"):
            pipe(given)


@pytest.mark.parametrize(
    "given", [3, ["a", 3], [["a", "b"]], {"text_pair": "a"}, {"text": 3}, {"text": "a", "x": "b"}]
)
def test_what_is_neither_a_text_nor_a_pair(classify, given):
    with pytest.raises(TypeError, match=r'to classify, expected a text, or a pair .* \{"text"'):
        classify(given)


# Models.


def test_runs_are_models(tmp_path, fill, classify):
    for pipe, task in ((fill, "fill-mask"), (classify, "text-classification")):
        save(pipe.model, tmp_path / task)
        assert pipeline(task, model=tmp_path / task)("a[MASK]c") == pipe("a[MASK]c")


@pytest.mark.parametrize(
    "task, kind, run",
    [
        ("fill-mask", "masked_lm", "runs/pydoc-mlm"),
        ("feature-extraction", "masked_lm", "runs/pydoc-mlm"),
        ("text-classification", "classifier", "runs/library"),
    ],
)
def test_without_a_model(tmp_path, monkeypatch, caplog, task, kind, run):
    """The run that the commands make, if it is there; if not, which commands make it."""
    monkeypatch.chdir(tmp_path)
    command = "'numpy-transformer pretrain'.*" + ("finetune --from runs" if "kinds" in run else "")
    with pytest.raises(ValueError, match=f"no model was named for '{task}'.*{command}.*into {run}"):
        pipeline(task)
    model = made(kind)
    save(model, Path(run))
    with caplog.at_level(logging.WARNING):
        found = pipeline(task)("a[MASK]c")
    assert f"no model was named, so this is the one in {run}" in caplog.text
    caplog.clear()
    assert found == pipeline(task, model=run)("a[MASK]c") and not caplog.text


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each kind, as a run and as Hugging Face has it."""
    root = tmp_path_factory.mktemp("kinds")
    pieces = WordPiece(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"))
    for kind in MODULES:
        model = made(kind, pieces)
        bert.write(root / f"bert {kind}", kind, model.params, model.config, model.labels)
        pieces.write(root / f"bert {kind}")
        if kind != "text_encoder":
            save(model, root / f"run {kind}")
    bpe = ByteLevelBPE.train("", 257)
    config = causal_lm.preset("nano", vocab=257)
    params = causal_lm.init(np.random.default_rng(0), config)
    gpt2.write(root / "gpt2", params, config)
    bpe.write(root / "gpt2")
    return root


@pytest.mark.parametrize(
    "task, name, sentence",
    [
        ("fill-mask", "run classifier", "a classifier of texts, which is for 'text-classification'"
         " and 'feature-extraction'; 'fill-mask' needs a masked language model"),
        ("fill-mask", "bert text_encoder", "an encoder, which is for 'feature-extraction'; "),
        ("text-classification", "bert masked_lm", "a masked language model, which is for "
         "'fill-mask' and 'feature-extraction'; 'text-classification' needs a classifier of texts"),
        ("text-classification", "bert token_classifier", "a classifier of tokens, which is for"),
        ("sentiment-analysis", "run masked_lm", "a masked .* 'text-classification' needs a class"),
        ("feature-extraction", "gpt2", "a language model, .*'feature-extraction' needs an encoder"),
        ("text-generation", "run masked_lm", "a masked language model, which is for 'fill-mask'"),
        ("text2text-generation", "bert classifier", "a class.* needs an encoder-decoder"),
    ],
)  # fmt: skip
def test_a_model_for_another_task(folders, task, name, sentence):
    with pytest.raises(ValueError, match=f"{name} holds {sentence}"):
        pipeline(task, model=folders / name)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_that_is_no_model(tmp_path, name):
    (tmp_path / "empty").mkdir()
    for task in ("fill-mask", "text-classification", "feature-extraction"):
        with pytest.raises(ValueError, match=f"{name} is no folder with an encoder-only model"):
            pipeline(task, model=tmp_path / name)


@pytest.mark.parametrize("content", ["{", "[]", '{"architectures": 3}', '{"model_type": "gpt"}'])
def test_a_damaged_config_is_told_by_who_reads_it(tmp_path, content):
    shutil.copytree(RECORDED / "masked_lm", tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json"):
        pipeline("fill-mask", model=tmp_path / "model")


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": []}', '{"kind": "x"}', "{}"])
def test_damaged_settings_of_a_run_are_told_by_who_reads_them(tmp_path, content, fill):
    save(fill.model, tmp_path / "run")
    (tmp_path / "run" / "step-00000001" / "settings.json").write_text(content)
    with pytest.raises(ValueError, match="settings.json|no encoder-only model|encoder-decoder"):
        pipeline("fill-mask", model=tmp_path / "run")
