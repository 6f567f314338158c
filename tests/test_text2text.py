"""The pipeline for encoder-decoders: results, search, what is unknown or too long, models."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from numpy_transformer import parameters, pipeline
from numpy_transformer.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary, pad
from numpy_transformer.generation.beam import beam
from numpy_transformer.generation.greedy import greedy
from numpy_transformer.models import causal_lm, encoder_decoder
from numpy_transformer.pipelines import encoder_decoder_model
from numpy_transformer.pipelines.encoder_decoder_model import EncoderDecoderModel
from numpy_transformer.pipelines.text2text_generation import Text2TextGeneration
from numpy_transformer.training import checkpoint

SOURCE = Vocabulary.build(["abcdefgh"])
TEXTS = ["abc", "h", "hgfedcba", "aabb"]


def made(target=Vocabulary.build(["tuvwxyz"])):
    """A model with random weights, whose answers are of many lengths."""
    sizes = {"N": 1, "d_model": 16, "d_ff": 24, "h": 2, "max_length": 12, "pad_id": PAD}
    sizes |= {"source_vocab": len(SOURCE), "target_vocab": len(target)}
    config = encoder_decoder.Config(tie_output=False, **sizes)
    rng = np.random.default_rng(10)
    params = encoder_decoder.init(rng, config)
    for _, array in parameters.items(params):
        if array.ndim == 2:
            array += (0.5 * rng.standard_normal(array.shape)).astype(array.dtype)
    params["output"]["weight"][:, UNK] = 0  # seldom the likeliest
    return EncoderDecoderModel(params, config, SOURCE, target)


def save(model, run):
    """A model as a run: its only checkpoint."""
    saved = checkpoint.Checkpoint(
        dict(parameters.items(model.params)),
        {},
        {"step": 1},
        {"model": vars(model.config)},
        {"source": model.source.to_json(), "target": model.target.to_json()},
    )
    checkpoint.save(run, saved, best=True)


@pytest.fixture(scope="module")
def translate():
    return Text2TextGeneration(made())


def texts(found):
    """The texts in a result, whose shape is checked."""
    assert isinstance(found, list) and all(list(answer) == ["generated_text"] for answer in found)
    return [answer["generated_text"] for answer in found]


def test_the_results_have_the_shape_of_those_of_hugging_face(translate):
    (one,) = texts(translate("abc"))
    assert one and set(one) <= set("tuvwxyz")
    assert translate([]) == [] and translate(["abc"]) == translate("abc")
    assert len(texts(translate(TEXTS))) == 4


def test_answers_are_those_of_the_search(translate):
    model = translate.model
    for text in TEXTS:
        source = pad([SOURCE.encode(text)])
        (expected,) = greedy(source, model.params, model.config, BOS, EOS, 12)
        assert texts(translate(text)) == [model.target.decode(expected.ids)]
        for width, alpha in ((3, 0.6), (4, 0.0), (4, 5.0)):
            ((expected, *_),) = beam(source, model.params, model.config, BOS, EOS, 12, width, alpha)
            found = translate(text, num_beams=width, length_penalty=alpha)
            assert texts(found) == [model.target.decode(expected.ids)]


def test_the_width_of_the_search_and_the_penalty_matter(translate):
    ways = [{"num_beams": 1}, {"num_beams": 4, "length_penalty": 0}, {"num_beams": 4,
            "length_penalty": 5.0}]  # fmt: skip
    found = [texts(translate(TEXTS, **way)) for way in ways]
    assert found[0] != found[1] != found[2] != found[0]
    assert sum(map(len, found[1])) < sum(map(len, found[2]))  # more penalty favours longer answers


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}])
def test_a_batch_equals_its_texts_one_at_a_time(translate, settings):
    given = [*TEXTS, "", "bad", "h"]
    assert translate(given, **settings) == [translate(text, **settings)[0] for text in given]


def test_an_empty_text_has_an_empty_answer(translate):
    assert texts(translate("")) == [""]
    assert texts(translate(["", "abc", ""]))[::2] == ["", ""]


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3, "length_penalty": 5.0}])
def test_the_length_of_an_answer(translate, settings):
    whole = texts(translate(TEXTS, **settings))
    assert max(map(len, whole)) > 4
    short = texts(translate(TEXTS, max_new_tokens=4, **settings))
    assert 0 < max(map(len, short)) <= 4
    assert texts(translate(TEXTS, max_length=5, **settings)) == short
    if not settings:  # greedy search does not look ahead
        assert short == [text[:4] for text in whole]
    assert texts(translate(TEXTS, max_new_tokens=1000, **settings)) == whole


def test_tokens_of_words():
    model = made(Vocabulary.build(["one two three"], "tokens"))
    (found,) = texts(Text2TextGeneration(model)("abc", max_new_tokens=3))
    assert found and set(found.split(" ")) <= {"one", "two", "three", "<unk>"}


def test_what_is_unknown_is_told_once_and_read_as_such(translate, caplog):
    with caplog.at_level(logging.WARNING):
        translate(["abc", "abX", "éXa"])
    (record,) = caplog.records
    assert record.getMessage() == "unknown to the model and read as <unk>: 'X' 'é'"
    caplog.clear()
    assert translate("abé") == translate("abX")
    translate("".join(map(chr, range(65, 77))))
    assert caplog.records[-1].getMessage().endswith("'I' 'J' ...")
    caplog.clear()
    translate(TEXTS)
    assert not caplog.records


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ((["a", "abcabcabcabca"], {}), "the text 'abcabcabcabca': 13 characters, .* at most 12;"),
        (("a", {"num_beams": 0}), "num_beams is 0, expected a whole number, at least 1"),
        (("a", {"num_beams": 2.0}), "num_beams is 2.0, expected a whole number"),
        (("a", {"length_penalty": -1}), "length_penalty is -1, expected a number, at least 0"),
        (("a", {"length_penalty": float("nan")}), "length_penalty is nan"),
        (("a", {"length_penalty": "x"}), "length_penalty is 'x'"),
        (("a", {"max_new_tokens": 0}), "max_new_tokens is 0, expected a whole number, at least 1"),
        (("a", {"max_length": 1}), "max_length is 1, expected a whole number, at least 2"),
        (("a", {"max_length": 4, "max_new_tokens": 4}), "expected one of them"),
    ],
)
def test_what_cannot_be_is_refused(translate, arguments, sentence):
    text, settings = arguments
    with pytest.raises(ValueError, match=sentence):
        translate(text, **settings)


@pytest.mark.parametrize("given", [3, None, ["a", 3], b"a"])
def test_what_is_no_text(translate, given):
    with pytest.raises(TypeError, match="text_inputs is .*, expected a text or a list of texts"):
        translate(given)


# Models.


def test_a_run_is_a_model(tmp_path, translate):
    save(translate.model, tmp_path / "run")
    again = pipeline("text2text-generation", model=tmp_path / "run")
    assert again(TEXTS) == translate(TEXTS)


def test_without_a_model(tmp_path, monkeypatch, caplog, translate):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="'text2text-.*numpy-transformer train' puts it into runs"):
        pipeline("text2text-generation")
    save(translate.model, Path("runs/dates"))
    with caplog.at_level(logging.WARNING):
        assert pipeline("text2text-generation")("abc") == translate("abc")
    assert "no model was named, so this is the one in runs/dates" in caplog.text


def test_a_run_for_another_task_and_a_folder_that_is_none(tmp_path, translate):
    save(translate.model, tmp_path / "run")
    for task in ("text-generation", "fill-mask"):
        sentence = f"holds an encoder-decoder, which is for 'text2text-generation'; '{task}' needs"
        with pytest.raises(ValueError, match=sentence):
            pipeline(task, model=tmp_path / "run")
    with pytest.raises(ValueError, match="there is no folder"):
        pipeline("text2text-generation", model=tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no checkpoint"):
        pipeline("text2text-generation", model=tmp_path / "empty")


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ([], "this run holds no encoder-decoder"),
        ({"kind": "causal_lm"}, "this run holds a language model; use 'numpy-transformer gen"),
        ({"kind": "masked_lm"}, "this run holds no encoder-decoder, as 'numpy-transformer train'"),
        ({}, "does not fit together: 'model'"),
        ({"model": {"N": 10**9}}, "does not fit together: .*1000000000 layers, but"),
        ({"model": {"source_vocab": 5}}, "the vocabularies do not have the sizes in the settings"),
        ({"model": {"d_model": 32}}, "does not fit together"),
    ],
)
def test_a_checkpoint_that_holds_no_such_model(translate, settings, sentence):
    model = translate.model
    if isinstance(settings, dict) and "model" in settings:
        settings = {"model": vars(model.config) | settings["model"]}
    vocabularies = {"source": model.source.to_json(), "target": model.target.to_json()}
    saved = checkpoint.Checkpoint(
        dict(parameters.items(model.params)), {}, {}, settings, vocabularies
    )
    with pytest.raises(checkpoint.CheckpointError, match=sentence):
        encoder_decoder_model.model_of(saved)


def test_the_default_of_text_generation_is_still_in_the_package():
    assert isinstance(pipeline("text-generation").model.config, causal_lm.Config)
