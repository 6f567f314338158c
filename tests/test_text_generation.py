"""The pipeline for text generation: arguments, results, streams, stop strings, and models."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

import numpy_transformer
from numpy_transformer import parameters, pipeline
from numpy_transformer.data.tokenizers import ByteLevelBPE, Characters
from numpy_transformer.models import causal_lm
from numpy_transformer.pipelines import language_model
from numpy_transformer.pipelines.language_model import LanguageModel
from numpy_transformer.pipelines.text_generation import TextGeneration, _Writer
from numpy_transformer.porting import gpt2

TEXT = "the cat sat on the mat, the dog sat on the log; 12 naïve cafés 🙂 – и всё.\n" * 3


def made(tokenizer, context=16, **changes):
    """A model with random weights of size about 1."""
    config = causal_lm.preset("nano", vocab=len(tokenizer), max_length=context, **changes)
    rng = np.random.default_rng(0)
    params = causal_lm.init(rng, config)
    for _, array in parameters.items(params):
        size = 4 / np.sqrt(len(array)) if array.ndim == 2 else 0.1
        array += (size * rng.standard_normal(array.shape)).astype(array.dtype)
    return LanguageModel(params, config, tokenizer)


BPE = ByteLevelBPE.train(TEXT, 300)


@pytest.fixture(scope="module")
def generator():
    return TextGeneration(made(BPE))


def test_the_results_have_the_shape_of_those_of_hugging_face(generator):
    one = generator("the cat", max_new_tokens=5, seed=0)
    assert isinstance(one, list) and list(one[0]) == ["generated_text"] and len(one) == 1
    assert one[0]["generated_text"].startswith("the cat")
    many = generator(["the cat", "a"], max_new_tokens=5, seed=0, num_return_sequences=3)
    assert [len(texts) for texts in many] == [3, 3]
    assert len({text["generated_text"] for text in many[0]}) > 1
    assert all(text["generated_text"].startswith("a") for text in many[1])


def test_the_text_can_come_without_the_prompt(generator):
    (whole,) = generator("the cat", max_new_tokens=5, seed=0)
    (new,) = generator("the cat", max_new_tokens=5, seed=0, return_full_text=False)
    assert "the cat" + new["generated_text"] == whole["generated_text"]


def test_a_seed_reproduces_whatever_else_is_in_the_batch(generator):
    settings = {"max_new_tokens": 12, "num_return_sequences": 2, "temperature": 1.0}
    alone = generator("the cat", seed=3, **settings)
    assert generator("the cat", seed=3, **settings) == alone
    assert generator("the cat", seed=4, **settings) != alone
    prompts = ["on", "the cat", "the dog sat on the log"]
    assert generator(prompts, seed=3, **settings)[1] == alone
    assert generator("the cat", **settings) != generator("the cat", **settings)


def test_greedy_does_not_draw(generator):
    greedy = {"do_sample": False, "max_new_tokens": 8}
    assert generator("the", **greedy) == generator("the", seed=5, **greedy)


def test_a_stream_is_the_text_in_pieces(generator):
    settings = {"max_new_tokens": 40, "seed": 1, "temperature": 1.5, "top_k": 0}
    (whole,) = generator("the cat", return_full_text=False, **settings)
    pieces = list(generator.stream("the cat", **settings))
    assert "".join(pieces) == whole["generated_text"] and len(pieces) > 5


@pytest.fixture
def parrot(monkeypatch):
    """A generator whose model says what it is told to, token by token."""
    from numpy_transformer.generation import incremental_lm

    generator = TextGeneration(made(BPE, context=64))

    def told(text):
        ids = iter(BPE.encode(text) + [BPE.end_of_text])

        def extend(read, state, params, config):
            logits = np.zeros((len(read), config.vocab))
            logits[:, next(ids)] = 1e3
            return logits, state

        monkeypatch.setattr(incremental_lm, "extend", extend)
        return generator

    return told


def test_no_character_is_broken_in_two(parrot):
    text = " 𝄞 ϰ 😀"
    assert len(BPE.encode(text)) > len(text)  # several tokens for a character
    pieces = list(parrot(text).stream("the", do_sample=False))
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces) and "" not in pieces


def test_what_is_no_character_in_the_end_is_shown_as_such(parrot):
    half = BPE.encode("🙂")[:-1]
    pieces = list(parrot("a" + BPE.decode(half)).stream("the", do_sample=False))
    assert "".join(pieces).startswith("a") and "\ufffd" in "".join(pieces)


def test_the_end_of_the_text_ends_it_and_is_not_shown(parrot):
    (found,) = parrot(" cat")("the", do_sample=False)
    assert found["generated_text"] == "the cat"


@pytest.mark.parametrize(
    "stops, expected",
    [
        ("dog", " cat and the dog"),  # within a token or over several
        (["d the"], " cat and the"),
        (["zzz", "sat", "and"], " cat and"),  # the first that comes
        (["."], " cat and the dog sat."),
        (["the"], " cat and the"),  # not the one in the prompt
        ([], " cat and the dog sat. The end"),
    ],
)
def test_stop_strings(parrot, stops, expected):
    text = " cat and the dog sat. The end"
    (found,) = parrot(text)("the", do_sample=False, stop_strings=stops)
    assert found["generated_text"] == "the" + expected
    pieces = parrot(text).stream("the", do_sample=False, stop_strings=stops)
    assert "".join(pieces) == expected


def test_of_two_stop_strings_in_one_token_the_first_counts():
    for stops in ([b"at", b"c"], [b"c", b"at"]):
        writer = _Writer(stops)
        writer.add(b" cat")
        assert writer.stopped and writer.take(final=True) == " c"


def test_each_of_a_batch_has_its_own_stop(generator):
    settings = {"max_new_tokens": 30, "temperature": 2.0, "top_k": 0, "num_return_sequences": 6}
    plain = generator("the", seed=0, return_full_text=False, **settings)
    stopped = generator("the", seed=0, return_full_text=False, stop_strings=["a"], **settings)
    for before, after in zip(plain, stopped):
        found = re.match(".*?a|.*", before["generated_text"], re.DOTALL)
        assert after["generated_text"] == found[0]
    assert stopped != plain


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"stop_strings": ["a", ""]}, "a stop string is empty"),
        ({"num_return_sequences": 0}, "num_return_sequences is 0, expected a whole number, at least 1"),
        ({"num_return_sequences": 1.5}, "num_return_sequences is 1.5, expected a whole number"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"seed": -1}, "seed is -1, expected a whole number, at least 0"),
        ({"seed": 3.0}, "seed is 3.0"),
    ],
)
def test_wrong_arguments_are_refused(generator, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        generator("the", **arguments)


def test_an_unknown_argument_is_refused_by_name(generator):
    with pytest.raises(TypeError, match="no argument 'num_beams'; it takes do_sample, max_length"):
        generator("the", num_beams=3)


@pytest.mark.parametrize("arguments", [(["the", 3],), ("the", [3])])
def test_what_is_no_text_is_refused(generator, arguments):
    texts, *stops = arguments
    with pytest.raises(TypeError, match="expected a text or a list of texts"):
        generator(texts, stop_strings=stops[0] if stops else ())


def test_equal_prompts_get_the_same_text_and_samples_differ(generator):
    settings = {"temperature": 2.0, "num_return_sequences": 2}
    first, second = generator(["the", "the"], seed=0, **settings)
    assert first == second and first[0] != first[1]
    first, second = generator(["the", "the"], **settings)  # without a seed each is drawn by itself
    assert first != second


def test_a_stream_checks_before_its_first_piece_is_asked_for(generator):
    with pytest.raises(ValueError, match="top_p is 7"):
        generator.stream("the", top_p=7)


def test_an_empty_prompt_begins_with_the_end_of_the_text_before(generator):
    (found,) = generator("", max_new_tokens=3, seed=0)
    assert isinstance(found["generated_text"], str)
    characters = TextGeneration(made(Characters.build("abc")))
    with pytest.raises(ValueError, match="the prompt is empty, and this model has no token"):
        characters("")
    with pytest.raises(ValueError, match="'x'"):
        characters("abx")


def test_no_prompts_give_no_texts(generator):
    assert generator([]) == []


def test_a_longer_text_than_the_context_goes_on(generator):
    (found,) = generator(TEXT, max_new_tokens=40, seed=0, return_full_text=False)
    assert found["generated_text"]
    with pytest.raises(ValueError, match="the model looks at 16"):
        generator(TEXT, max_new_tokens=40, overflow="refuse")


# Models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GPT-2 checkpoint, and the model that it was made from."""
    folder = tmp_path_factory.mktemp("gpt2")
    model = made(BPE)
    gpt2.write(folder / "model", model.params, model.config, end_of_text=BPE.end_of_text)
    BPE.write(folder / "model")
    return folder / "model", model


def test_the_example_of_the_readme_runs_with_a_gpt2_folder(folder):
    path, model = folder
    generator = pipeline("text-generation", model=str(path))
    text = generator("The world is changing rapidly", max_length=50, do_sample=False)
    expected = TextGeneration(model)("The world is changing rapidly", max_length=50, do_sample=False)
    assert text == expected
    assert text[0]["generated_text"].startswith("The world is changing rapidly")


def test_rows_that_no_token_belongs_to_are_never_chosen(tmp_path):
    """A vocabulary that was rounded up, as many a checkpoint's is."""
    for tied in (True, False):
        model = made(BPE, tie_output=tied, activation="relu")
        size = len(BPE) + 12
        config = causal_lm.Config(**{**vars(model.config), "vocab": size})
        params = causal_lm.init(np.random.default_rng(0), config)
        (tmp_path / str(tied)).mkdir()
        gpt2.write(tmp_path / str(tied) / "model", params, config)
        BPE.write(tmp_path / str(tied) / "model")
        loaded = language_model.load(tmp_path / str(tied) / "model")
        assert loaded.config.vocab == len(BPE) == len(loaded.params["embedding"]["weight"])
        found = TextGeneration(loaded)("the", max_new_tokens=30, top_k=0, temperature=9.0, seed=0)
        assert len(found[0]["generated_text"]) > 10


def test_a_tokenizer_of_another_model_is_refused(tmp_path, folder):
    model = made(ByteLevelBPE.train(TEXT, 280))
    gpt2.write(tmp_path / "model", model.params, model.config)
    BPE.write(tmp_path / "model")
    with pytest.raises(ValueError, match="the tokenizer has 300 tokens, but the model only 280"):
        language_model.load(tmp_path / "model")


def test_without_a_model_the_one_in_the_package_is_used_and_it_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        generator = pipeline("text-generation")
    assert "no model was named, so this is the small one in the package" in caplog.text
    (found,) = generator("The print function", max_new_tokens=20, do_sample=False)
    assert len(found["generated_text"]) > len("The print function") + 20


def test_the_model_in_the_package_is_small_and_has_learned_something():
    size = sum(path.stat().st_size for path in language_model.BUILT_IN.iterdir())
    assert size <= 2_000_000
    model = language_model.load(language_model.BUILT_IN)
    text = (
        "The \"return\" statement may only occur syntactically nested in a function\n"
        "definition, not within a nested class definition."
    )
    ids = model.tokenizer.encode(text)
    logits, _ = causal_lm.forward(np.array([ids[:-1]]), model.params, model.config)
    logits = logits[0].astype(float)
    lse = np.log(np.exp(logits).sum(axis=-1))
    nats = (lse - logits[np.arange(len(ids) - 1), ids[1:]]).mean()
    assert nats < 0.6 * np.log(len(model.tokenizer))


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_that_is_no_model_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"{name} is no folder with a language model.*train-lm"):
        pipeline("text-generation", model=tmp_path / name)


def test_a_task_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no task 'translation', expected one of text-generation"):
        pipeline("translation")


def test_the_package_has_no_other_name():
    with pytest.raises(AttributeError, match="no attribute 'pipelin'"):
        numpy_transformer.pipelin  # noqa: B018
