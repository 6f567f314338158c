"""WordPiece and special tokens: BERT's ids and places on every text, and own vocabularies.

What the reference gives was recorded by ``recordings/record_wordpiece.py``, which says what is in
the recording.
"""

from __future__ import annotations

import json
import lzma
import os
import sys
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_transformer.data import tokenizers
from numpy_transformer.data.tokenizers import ByteLevelBPE, Characters, TokenizerError
from numpy_transformer.data.tokenizers import WithSpecialTokens, WordPiece
from numpy_transformer.data.tokenizers import bert_text, learning, wordpiece

RECORDING = Path(__file__).parent / "recordings" / "wordpiece.json.xz"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SHORT = "low lower lowest low low"

# The same examples in every run, and nothing that depends on how busy the machine is.
SETTINGS = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def recorded():
    return json.loads(lzma.decompress(RECORDING.read_bytes()).decode("utf-8"))


@pytest.fixture(scope="module")
def uncased(recorded):
    return WordPiece(tuple(recorded["tokens"]))


@pytest.fixture(scope="module")
def cased(recorded):
    return WordPiece(tuple(recorded["tokens"]), lowercase=False)


@pytest.fixture(scope="module")
def of_each_setting(recorded):
    """The tokenizers of all settings, by lowercase, strip_accents and chinese."""
    tokens = tuple(recorded["tokens"])
    return {tuple(setting): WordPiece(tokens, *setting) for setting, _ in recorded["strings"]}


@pytest.fixture(scope="module")
def bpe(recorded):
    return ByteLevelBPE.train(recorded["trained"][0][1], 400)


# Against the reference tokenizer.


def test_what_is_recorded(recorded):
    counts = {tuple(setting): len(texts) for setting, texts in recorded["strings"]}
    assert len(counts) == 12
    assert counts[True, None, True] == counts[False, None, True] > 3500
    assert all(count > 550 for count in counts.values())


@pytest.mark.parametrize("number", range(12))
def test_ids_and_places_are_the_references(recorded, number):
    setting, texts = recorded["strings"][number]
    tokenizer = WordPiece(tuple(recorded["tokens"]), *setting)
    for text, ids, spans in texts:
        offsets, last = [], 0
        for gap, length in zip(spans[::2], spans[1::2]):
            offsets.append((last + gap, last + gap + length))
            last = offsets[-1][1]
        assert tokenizer.encode_with_offsets(text) == (ids, offsets), ascii(text)
        assert tokenizer.encode(text) == ids, ascii(text)


def test_decoded_as_by_the_reference(uncased, recorded):
    assert len(recorded["decoded"]) == 400
    for ids, text in recorded["decoded"]:
        assert uncased.decode(ids) == text, ids
        assert uncased.decode(np.array(ids, int)) == text


def class_of(character):
    """What becomes of a character, as the recording has it."""
    if not bert_text.CHUNK.match(character):
        return "S"
    if not bert_text.cleaned(character):
        return "R"
    around = bert_text.words(f"a{character}b", False, False, True)
    stripped = bert_text.words(character, False, True, True)
    if not stripped:
        return "M"
    if len(around) == 1:
        return "P" if len(bert_text.words(f"a{stripped[0][0]}b", False, False, True)) == 3 else "W"
    return "C" if len(bert_text.words(f"a{character}b", False, False, False)) == 1 else "P"


def test_what_becomes_of_every_character(recorded):
    """Of those that are in Unicode 13 what they are for the reference."""
    code, counts = 0, Counter()
    for name, count in recorded["classes"]:
        if name != "-":
            counts[name] += count
            # Many are of one kind, and of each run some are enough: the first, the last, and more.
            for place in {*range(code, code + count, 97), code + count - 1}:
                assert class_of(chr(place)) == name, f"U+{place:04X}"
        code += count
    assert code == sys.maxunicode + 1
    assert counts["S"] == 22 and counts["C"] == 81_190
    assert all(counts[name] > 500 for name in "RPMW"), counts


def test_what_letters_become(recorded):
    """All whose capitals or accents are taken away, but for Hangul."""
    assert len(recorded["changed"]) > 2000
    for character, small in recorded["changed"].items():
        found = bert_text.words(character, lowercase=True, strip_accents=True, chinese=True)
        assert found == [(small, [0] * len(small))], ascii(character)


def test_files_as_the_reference_reads_them(tmp_path, recorded):
    assert len(recorded["files"]) == 6
    for content, ids in recorded["files"].values():
        (tmp_path / "vocab.txt").write_bytes(content.encode("utf-8"))
        assert WordPiece.read(tmp_path / "vocab.txt").ids == ids
        assert WordPiece.read(tmp_path).ids == ids


def test_vocabularies_that_the_references_trainer_learns(recorded):
    for (lowercase, strip_accents, _), text, size, tokens in recorded["trained"]:
        tokenizer = WordPiece.train(text, size, lowercase, strip_accents)
        assert tokenizer.tokens == tuple(tokens)
    assert len(tokenizer) < size == 10_000  # the text is used up


# What holds for every text.

# Often with what is special: marks, capitals, ideographs, words without end, special tokens.
HARD = ["[MASK]", "[MASK", "[mask]", "[SEP]", "##", "the", "un", "Stra\u00dfe", "a" * 99]
HARD += [*"\u302e\U0001d165\u0301\u0323\u0130\u4e2d\ud55c\u00e9 \t\x00\u200b\ufffd\xa0.'"]
TEXTS = st.lists(st.text(max_size=8) | st.sampled_from(HARD), max_size=12).map("".join)


@SETTINGS
@given(TEXTS, st.booleans(), st.sampled_from([None, True, False]), st.booleans())
def test_pieces_stand_where_they_are_said_to(
    of_each_setting, text, lowercase, strip_accents, chinese
):
    tokenizer = of_each_setting[lowercase, strip_accents, chinese]
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert tokenizer.encode(text) == ids
    assert len(ids) == len(offsets)
    last = (0, 0)
    for number, (start, end) in zip(ids, offsets):
        assert type(number) is int and 0 <= number < len(tokenizer)
        assert 0 <= start < end <= len(text)
        assert start >= last[0] and end >= last[1]
        last = (start, end)
        token = tokenizer.token(number)
        if number == tokenizer.unknown_id:
            continue
        if number in tokenizer.special_ids:
            assert text[start:end] == token
            continue
        # Marks may have changed places with those around: letters are where they are said to be.
        strip = lowercase if strip_accents is None else strip_accents
        part = text[start:end]
        if lowercase:
            part = part.lower().replace("\u03c2", "\u03c3")
            token = token.replace("\u03c2", "\u03c3")
        part, token = (unicodedata.normalize("NFD", t) if strip else t for t in (part, token))
        letters = [c for c in token.removeprefix("##") if not unicodedata.combining(c)]
        assert "".join(letters) in "".join(c for c in part if not unicodedata.combining(c))


@SETTINGS
@given(TEXTS)
def test_a_decoded_text_stays_as_it_is(uncased, cased, text):
    for tokenizer in (uncased, cased):
        ids = tokenizer.encode(text)
        once = tokenizer.decode(ids)
        assert tokenizer.encode(once) == ids
        assert tokenizer.decode(tokenizer.encode(once)) == once


@SETTINGS
@given(TEXTS)
def test_white_space_parts_texts(uncased, text):
    """What is on one side of it changes nothing on the other."""
    ids, offsets = uncased.encode_with_offsets(text)
    twice, places = uncased.encode_with_offsets(f"{text}\n{text}")
    assert twice == ids + ids
    shift = len(text) + 1
    assert places == offsets + [(start + shift, end + shift) for start, end in offsets]


def words_the_short_way(chunk, lowercase, strip, chinese):
    """The words alone, with no word on where they stand: whole texts at each step."""
    chunk = "".join(c for c, _ in bert_text.cleaned(chunk))
    if chinese:
        chunk = bert_text.IDEOGRAPHS.sub(r" \g<0> ", chunk)
    if strip:
        chunk = unicodedata.normalize("NFD", chunk)
        chunk = "".join(c for c in chunk if unicodedata.category(c) != "Mn")
    if lowercase:
        chunk = chunk.replace("\u03a3", "\u03c3").lower()
    for character in set(chunk):
        if character in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" or (
            unicodedata.category(character)[0] == "P"
        ):
            chunk = chunk.replace(character, f" {character} ")
    return [word for word in chunk.split(" ") if word]


@SETTINGS
@given(TEXTS, st.booleans(), st.booleans(), st.booleans())
def test_words_are_those_of_whole_texts(text, lowercase, strip, chinese):
    for chunk in bert_text.CHUNK.findall(text):
        found = bert_text.words(chunk, lowercase, strip, chinese)
        assert [word for word, _ in found] == words_the_short_way(chunk, lowercase, strip, chinese)
        places = [place for _, places in found for place in places]
        assert places == sorted(places)
        assert all(len(word) == len(places) for word, places in found)


def cut_the_slow_way(word, tokenizer):
    """Every cut of a word, the longest pieces first."""

    def cuts(rest, prefix):
        if not rest:
            return []
        known = [n for n in range(len(rest), 0, -1) if prefix + rest[:n] in tokenizer.ids]
        if not known:
            return None
        others = cuts(rest[known[0] :], "##")
        return None if others is None else [tokenizer.ids[prefix + rest[: known[0]]], *others]

    found = cuts(word, "")
    return [tokenizer.unknown_id] if found is None else found


@SETTINGS
@given(st.text("abc", min_size=1, max_size=20), st.sets(st.text("abc", min_size=1, max_size=4)))
def test_the_longest_piece_is_taken(word, pieces):
    begin = sorted(pieces)
    tokenizer = WordPiece((*SPECIAL, *begin, *("##" + piece[::-1] for piece in begin)))
    assert tokenizer.encode(word) == cut_the_slow_way(word, tokenizer)


# Worked out by hand.

PIECES = WordPiece((*SPECIAL, "un", "##aff", "##able", "able", "a", "##a", ".", "\u4e2d", "cafe"))


@pytest.mark.parametrize(
    "text, tokens, offsets",
    [
        ("", [], []),
        ("Unaffable", ["un", "##aff", "##able"], [(0, 2), (2, 5), (5, 9)]),
        ("able unable", ["able", "un", "##able"], [(0, 4), (5, 7), (7, 11)]),
        ("unaffected a", ["[UNK]", "a"], [(0, 10), (11, 12)]),
        ("\u00e0a\u0301. ", ["a", "##a", "."], [(0, 1), (1, 2), (3, 4)]),
        ("cafe\u0301 caf\u00c9", ["cafe", "cafe"], [(0, 4), (6, 10)]),
        ("ca\u0301fe", ["cafe"], [(0, 5)]),
        ("a\u4e2d\u4e2da", ["a", "\u4e2d", "\u4e2d", "a"], [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("a\u200ba", ["a", "##a"], [(0, 1), (2, 3)]),
        ("a[MASK]a", ["a", "[MASK]", "a"], [(0, 1), (1, 7), (7, 8)]),
        ("[MASK][SEP]", ["[MASK]", "[SEP]"], [(0, 6), (6, 11)]),
        ("[mask]", ["[UNK]"] * 3, [(0, 1), (1, 5), (5, 6)]),
        ("a" * 100, ["a", *["##a"] * 99], [(i, i + 1) for i in range(100)]),
        ("a" * 101, ["[UNK]"], [(0, 101)]),
    ],
)
def test_places_worked_out_by_hand(text, tokens, offsets):
    ids, found = PIECES.encode_with_offsets(text)
    assert [PIECES.token(number) for number in ids] == tokens
    assert found == offsets


@pytest.mark.parametrize(
    "tokens, text",
    [
        (["un", "##aff", "##able", "."], "unaffable."),
        (["##able", "a"], "##able a"),  # nothing before it that it could continue
        (["[MASK]", "##a", "[SEP]"], "[MASK]a [SEP]"),
        (["a", "[UNK]", ".", "."], "a [UNK].."),
    ],
)
def test_texts_worked_out_by_hand(tokens, text):
    assert PIECES.decode([PIECES.ids[token] for token in tokens]) == text


def test_special_tokens_may_stand_anywhere():
    tokenizer = WordPiece(("a", "[MASK]", "[CLS]", "b", "[PAD]", "[SEP]", "[UNK]"))
    ids = [tokenizer.pad_id, tokenizer.unknown_id, tokenizer.cls_id, tokenizer.sep_id]
    assert (*ids, tokenizer.mask_id) == (4, 6, 2, 5, 1)
    assert tokenizer.special_ids == (1, 2, 4, 5, 6)
    assert tokenizer.end_of_text is None
    assert tokenizer.encode("a[MASK]c") == [0, 1, 6]
    assert [tokenizer.token(i) for i in range(7)] == list(tokenizer.tokens) == list(tokenizer.ids)


# Long texts.


@pytest.mark.parametrize("unit", ["a", "\u0301\u0323", "e\u0301", "\u4e2d", "\u200b", "[MASK]"])
def test_a_text_without_end(uncased, unit):
    size = 20_000
    ids, offsets = uncased.encode_with_offsets(unit * size)
    assert uncased.encode(unit * size) == ids
    assert len(ids) == len(offsets)
    one = {"a": 1, "\u0301\u0323": 0, "e\u0301": 1, "\u200b": 0}
    assert len(ids) == one.get(unit, size)


class Counting(dict):
    """A dictionary that counts how often it is asked."""

    asked = 0

    def get(self, key, default=None):
        self.asked += 1
        return super().get(key, default)


@pytest.mark.parametrize("word", ["a" * 100, "ab" * 50, "a" * 99 + "\u4e00", "aab" * 33])
def test_a_word_is_cut_with_few_questions(word):
    """No more for each character than the longest token has."""
    tokenizer = WordPiece((*SPECIAL, "a", "##a", "##b", "##abababab", "un##able"))
    tokenizer.__dict__["ids"] = asked = Counting(tokenizer.ids)
    tokenizer._cut(word)
    assert 0 < asked.asked <= len(word) * len("##abababab")


def test_every_chunk_is_cut_once_and_few_are_kept(monkeypatch):
    tokenizer = replace(PIECES)
    calls = []
    words = bert_text.words
    monkeypatch.setattr(bert_text, "words", lambda *given: calls.append(given) or words(*given))
    first = tokenizer.encode("unable. a " * 1000)
    assert [chunk for chunk, *_ in calls] == ["unable.", "a"]
    first.clear()  # what was handed out is not what is kept
    ids, offsets = tokenizer.encode_with_offsets("unable.")
    offsets.clear()
    assert tokenizer.encode_with_offsets("unable.") == (ids, [(0, 2), (2, 6), (6, 7)])
    assert len(calls) == 2

    monkeypatch.setattr(wordpiece, "KEPT", 10)
    tokenizer.encode(" ".join(f"{'x' * (i % 9)}{i}" for i in range(100)))
    assert 0 < len(tokenizer._kept) <= 10
    tokenizer.encode("y" * (wordpiece.LONGEST + 1))
    assert max(map(len, tokenizer._kept)) <= wordpiece.LONGEST


# Learning.


def learned_the_slow_way(counts, size):
    """The tokens, with all pairs counted anew for each merge."""
    characters = {character for word in counts for character in word}
    continuing = {character for word in counts for character in word[1:]}
    tokens = [*sorted(characters), *("##" + character for character in sorted(continuing))]
    words = [([word[0], *("##" + c for c in word[1:])], count) for word, count in counts.items()]
    while len(tokens) < size:
        pairs = Counter()
        for word, count in words:
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        left, right = min(
            pairs, key=lambda pair: (-pairs[pair], tokens.index(pair[0]), tokens.index(pair[1]))
        )
        tokens.append(left + right.removeprefix("##"))
        for word, _ in words:
            place = 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == (left, right):
                    word[place : place + 2] = [tokens[-1]]
                place += 1
    assert len(set(tokens)) == len(tokens)
    return tokens


COUNTS = st.dictionaries(st.text("abc", min_size=1, max_size=20), st.integers(1, 5))


@SETTINGS
@given(COUNTS, st.integers(0, 30))
def test_learning_is_counting_anew_for_every_merge(counts, size):
    tokens = learning.learn_words(counts, "##", size)
    assert tokens == learned_the_slow_way(counts, size)
    assert learning.learn_words(dict(reversed(counts.items())), "##", size) == tokens


@SETTINGS
@given(st.text("ab c\u00c9.\u4e2d", max_size=80), st.integers(19, 60))
def test_what_was_learned_from_is_known(text, size):
    tokenizer = WordPiece.train(text, size)
    assert len(tokenizer) <= size
    assert tokenizer.unknown_id not in tokenizer.encode(text)


def test_a_vocabulary_worked_out_by_hand():
    """Words: low three times, lower, lowest.

    l ##o and ##o ##w stand in all five, and l has the lower id; then lo ##w in all; then low ##e
    in two, then ##r behind it before ##s, as it has the lower id.
    """
    tokenizer = WordPiece.train(SHORT, 22)
    letters = [*"elorstw", "##e", "##o", "##r", "##s", "##t", "##w"]
    assert tokenizer.tokens == (*SPECIAL, *letters, "lo", "low", "lowe", "##st")
    assert WordPiece.train(SHORT, 1000).tokens[-2:] == ("lower", "lowest")


def test_special_tokens_are_taken_out_of_the_text():
    text = "ab[MASK]ab[SEP] ab"
    tokenizer = WordPiece.train(text, 30)
    assert tokenizer.tokens == (*SPECIAL, "a", "b", "##b", "ab")
    assert tokenizer.encode(text) == [8, 4, 8, 3, 8]


def test_settings_of_training():
    text = "\u00c9t\u00e9 \u00c9t\u00e9"
    assert WordPiece.train(text, 50).tokens[5:] == ("e", "t", "##e", "##t", "et", "ete")
    cased = WordPiece.train(text, 50, lowercase=False)
    assert cased.tokens[-1] == "\u00c9t\u00e9" and not cased.lowercase
    accents = WordPiece.train(text, 50, strip_accents=False)
    assert accents.tokens[-1] == "\u00e9t\u00e9" and accents.strip_accents is False
    stripped = WordPiece.train(text, 50, lowercase=False, strip_accents=True)
    assert stripped.tokens[-1] == "Ete"


def test_a_text_without_words():
    assert WordPiece.train("", 5).tokens == WordPiece.train(" \n\u200b", 50).tokens == SPECIAL


@pytest.mark.parametrize("size", [-1, 0, 5, 17])
def test_no_vocabulary_to_learn(size):
    message = f"size is {size}; expected at least 18: 5 special tokens and the 13 characters that"
    with pytest.raises(TokenizerError, match=message):
        WordPiece.train(SHORT, size)
    assert len(WordPiece.train(SHORT, 18)) == 18


# Files and JSON.


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False, None])
@pytest.mark.parametrize("chinese", [True, False])
def test_written_and_read_it_is_the_same(tmp_path, lowercase, strip_accents, chinese):
    tokenizer = replace(PIECES, lowercase=lowercase, strip_accents=strip_accents, chinese=chinese)
    folder = tmp_path / "new" / "folder"
    tokenizer.write(folder)
    assert WordPiece.read(folder) == WordPiece.read(str(folder)) == tokenizer
    assert WordPiece.read(folder / "vocab.txt") == PIECES
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    assert config == {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": lowercase,
        "strip_accents": strip_accents,
        "tokenize_chinese_chars": chinese,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    lines = (folder / "vocab.txt").read_bytes().decode("utf-8").split("\n")
    assert lines == [*PIECES.tokens, ""]
    assert len(list(folder.iterdir())) == 2
    assert tokenizers.from_json(json.loads(json.dumps(tokenizer.to_json()))) == tokenizer


def test_without_settings_it_is_for_small_letters(tmp_path):
    PIECES.write(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    assert WordPiece.read(tmp_path) == PIECES
    values = {"do_lower_case": None, "strip_accents": None, "mask_token": {"content": "[MASK]"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values))
    assert WordPiece.read(tmp_path) == PIECES


def whole(**changes):
    """What Hugging Face's newer versions write, as far as it is read."""
    vocabulary = dict(reversed(PIECES.ids.items()))
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 100, "vocab": vocabulary}  # fmt: skip
    return json.dumps({"version": "1.0", "model": model | changes})


def test_the_vocabulary_in_a_tokenizer_json(tmp_path):
    (tmp_path / "tokenizer.json").write_text(whole())
    assert WordPiece.read(tmp_path) == PIECES
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert WordPiece.read(tmp_path) == replace(PIECES, lowercase=False)
    with pytest.raises(TokenizerError, match="tokenizer.json would be read instead"):
        PIECES.write(tmp_path)


LINES = "".join(f"{token}\n" for token in SPECIAL)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("vocab.txt", None, "holds no vocab.txt and no tokenizer.json; expected one of them"),
        ("vocab.txt", LINES + "a\nb\na\n", "vocab.txt, line 8: 'a' is in line 6 already; a token"),
        ("vocab.txt", LINES + "a\n\nb\n\n", "vocab.txt, line 9: '' is in line 7 already"),
        ("vocab.txt", LINES + "a\n\u3000a\na\u3000\n", "line 8: 'a' is in line 6 already"),
        ("vocab.txt", LINES[6:], "lacks [PAD]; expected all of [PAD], [UNK], [CLS], [SEP], [MASK]"),
        ("vocab.txt", "\ufeff" + LINES, "the vocabulary of 5 tokens lacks [PAD]"),
        ("vocab.txt", "", "lacks [PAD], [UNK], [CLS], [SEP], [MASK]"),
        ("vocab.txt", LINES.encode() + b"\xff\n", "vocab.txt is damaged: not UTF-8"),
        ("tokenizer_config.json", "{", "tokenizer_config.json is damaged: "),
        ("tokenizer_config.json", "[" * 100_000, "is damaged: brackets in brackets without end"),
        ("tokenizer_config.json", "[]", "is damaged: expected a dictionary"),
        ("tokenizer_config.json", b"\xff", "tokenizer_config.json is damaged"),
        ("tokenizer_config.json", '{"do_lower_case": 1}', '"do_lower_case" is 1; expected true or'),
        ("tokenizer_config.json", '{"strip_accents": "no"}', "\"strip_accents\" is 'no'; expected"),
        ("tokenizer_config.json", '{"mask_token": "<mask>"}', "is '<mask>'; in BERT it is '[MA"),
        ("tokenizer_config.json", '{"sep_token": {"content": 5}}', '"sep_token" is 5; in BERT it'),
        ("tokenizer_config.json", '{"pad_token": null}', '"pad_token" is None; in BERT it is'),
        ("tokenizer.json", whole(type="BPE"), "\"type\" is 'BPE'; in BERT it is 'WordPiece'"),
        ("tokenizer.json", whole(max_input_chars_per_word=7), "is 7; in BERT it is 100"),
        ("tokenizer.json", whole(continuing_subword_prefix="@"), "is '@'; in BERT it is '##'"),
        ("tokenizer.json", whole(vocab=["a"]), 'expected a "model" with a "vocab"'),
        ("tokenizer.json", '{"model": 5}', 'expected a "model" with a "vocab"'),
        ("tokenizer.json", whole(vocab={"a": 0.0}), "an id that is no whole number"),
        ("tokenizer.json", whole(vocab={"a": 0, "b": 2}), "'b' has the id 2; expected 1, as ids"),
        ("tokenizer.json", whole(vocab={"a": 0, "b": 0}), "'b' has the id 0; expected 1, as ids"),
        ("tokenizer.json", whole(vocab={"a": 0}), "the vocabulary of 1 tokens lacks [PAD]"),
        ("tokenizer.json", whole(vocab={"a ": 0}), "'a ' with the id 0 ends in white space"),
    ],
)
def test_files_that_are_missing_damaged_or_inconsistent(tmp_path, name, content, message):
    PIECES.write(tmp_path)
    if content is None or name == "tokenizer.json":
        (tmp_path / "vocab.txt").unlink()
    if content is not None:
        content = content.encode("utf-8") if isinstance(content, str) else content
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerError) as error:
        WordPiece.read(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(TokenizerError, match="nowhere cannot be read: No such file or directory"):
        WordPiece.read(tmp_path / "nowhere")
    (tmp_path / "vocab.txt").mkdir()
    with pytest.raises(TokenizerError, match="vocab.txt cannot be read: Is a directory"):
        WordPiece.read(tmp_path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    PIECES.write(tmp_path)

    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(TokenizerError, match="No space left"):
        patch.setattr(os, "fsync", full)
        WordPiece.train(SHORT, 30).write(tmp_path)
    assert WordPiece.read(tmp_path) == PIECES


@pytest.mark.parametrize(
    "tokens, message",
    [
        ((), r"the vocabulary of 0 tokens lacks \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]; exp"),
        (("[pad]", *SPECIAL[1:]), r"the vocabulary of 5 tokens lacks \[PAD\]; expected all of"),
        ((*SPECIAL, "a", "b", "a"), "the token 'a' stands twice, with the ids 5 and 7"),
        ((*SPECIAL, "a\nb"), r"the token 'a\\nb' with the id 5 ends in white space or holds a"),
        ((*SPECIAL, "a\u2003"), "ends in white space"),
        ((*SPECIAL, "a\ud800"), r"the text holds U\+D800 at place 1"),
    ],
)
def test_tokens_that_are_no_vocabulary(tokens, message):
    with pytest.raises(TokenizerError, match=message):
        WordPiece(tokens)


GOOD = {"kind": "wordpiece", "tokens": "\n".join(SPECIAL), "lowercase": True, "chinese": True}


@pytest.mark.parametrize(
    "kind, values, message",
    [
        (WordPiece, {"kind": "characters"}, 'not a tokenizer of kind "wordpiece"'),
        (WordPiece, {"kind": "wordpiece"}, 'expected "tokens" as one string'),
        (WordPiece, GOOD | {"tokens": list(SPECIAL)}, 'expected "tokens" as one string'),
        (WordPiece, GOOD | {"tokens": ""}, "lacks"),
        (WordPiece, GOOD | {"lowercase": None}, 'expected "lowercase" as true or false'),
        (WordPiece, GOOD | {"chinese": 1}, 'expected "chinese" as true or false'),
        (WordPiece, GOOD | {"strip_accents": "yes"}, 'expected "strip_accents" as true or false'),
        (WithSpecialTokens, GOOD, 'not a tokenizer of kind "special_tokens"'),
        (WithSpecialTokens, {"kind": "special_tokens"}, "byte-level-bpe, given None"),
        (
            WithSpecialTokens,
            {"kind": "special_tokens", "tokenizer": GOOD},
            "\"tokenizer\" of kind characters or byte-level-bpe, given 'wordpiece'",
        ),
        (
            WithSpecialTokens,
            {"kind": "special_tokens", "tokenizer": {"kind": "characters", "characters": ""}},
            "there are no characters",
        ),
    ],
)
def test_values_that_are_no_tokenizer(kind, values, message):
    with pytest.raises(TokenizerError, match=message):
        kind.from_json(values)
    if values["kind"] == kind.KIND:
        with pytest.raises(TokenizerError, match=message):
            tokenizers.from_json(values)


# Special tokens for the other tokenizers.


@pytest.fixture(scope="module", params=["characters", "bytes"])
def wrapped(request, bpe):
    own = Characters.build("abc d\u00e9\u4e2d") if request.param == "characters" else bpe
    return WithSpecialTokens(own)


def test_the_special_ids_are_behind_the_others(wrapped):
    own = len(wrapped.tokenizer)
    assert len(wrapped) == own + 5 == len(wrapped.ids)
    ids = [wrapped.pad_id, wrapped.unknown_id, wrapped.cls_id, wrapped.sep_id, wrapped.mask_id]
    assert wrapped.special_ids == tuple(ids) == tuple(range(own, own + 5))
    assert [wrapped.token(number) for number in ids] == list(SPECIAL)
    assert all(wrapped.ids[wrapped.token(number)] == number for number in range(len(wrapped)))
    assert wrapped.end_of_text is None
    assert tokenizers.from_json(json.loads(json.dumps(wrapped.to_json()))) == wrapped


PLAIN = st.lists(st.text("abc d\u00e9\u4e2d[]MASK", max_size=8) | st.just("[MASK]")).map("".join)


@SETTINGS
@given(st.lists(st.text("abc d\u00e9\u4e2d", max_size=8), min_size=1))
def test_the_other_ids_are_as_they_were(wrapped, parts):
    ids = []
    for part in parts:
        ids += [*wrapped.tokenizer.encode(part), wrapped.mask_id]
    text = "[MASK]".join([*parts, ""])
    assert wrapped.encode(text) == ids
    assert wrapped.decode(ids) == text
    assert wrapped.encode_with_offsets(text)[0] == ids


@SETTINGS
@given(PLAIN | TEXTS)
def test_places_cover_the_text(wrapped, text):
    ids, offsets = wrapped.encode_with_offsets(text)
    assert wrapped.encode(text) == ids
    assert len(ids) == len(offsets)
    last = (0, 0)
    for number, (start, end) in zip(ids, offsets):
        assert 0 <= number < len(wrapped) and 0 <= start < end <= len(text)
        # The next character, or the rest of one that was begun.
        assert start == last[1] or (start == last[1] - 1 and start >= last[0])
        last = (start, end)
        if number in wrapped.special_ids:
            assert wrapped.token(number) in ("[UNK]", text[start:end])
        elif "\ufffd" not in wrapped.decode([number]):
            assert wrapped.decode([number]) == text[start:end]
    assert last[1] == len(text)


def test_only_the_mask_is_recognised():
    tokenizer = WithSpecialTokens(Characters("abM[]"))
    known = [tokenizer.ids[c] if c in "abM[]" else 6 for c in "[MAS]"]
    assert tokenizer.encode("[MAS]a[MASK]") == [*known, 0, 9]
    assert tokenizer.encode("[CLS]")[0] == tokenizer.ids["["]
    assert tokenizer.decode([7, 0, 6, 9, 9, 8]) == "[CLS]a[UNK][MASK][MASK][SEP]"


def test_the_end_of_a_text_is_text(bpe):
    tokenizer = WithSpecialTokens(bpe)
    ids = tokenizer.encode("a<|endoftext|>")
    assert bpe.end_of_text not in ids
    assert ids == bpe.encode("a<|endoftext|>", special=False)
    assert tokenizer.decode([bpe.end_of_text, tokenizer.sep_id]) == "<|endoftext|>[SEP]"


def test_parts_of_a_character_stand_where_it_does():
    tokenizer = WithSpecialTokens(ByteLevelBPE.train("", 257))
    text = "a\u4e2d[MASK]\u00e9"
    spans = [(0, 1), (1, 2), (1, 2), (1, 2), (2, 8), (8, 9), (8, 9)]
    assert tokenizer.encode_with_offsets(text)[1] == spans


def test_what_cannot_be_given_special_tokens(bpe):
    with pytest.raises(TokenizerError, match="given a WordPiece; expected Characters or a Byte"):
        WithSpecialTokens(PIECES)
    has = ByteLevelBPE.train("", 257, special=("[MASK]",))
    with pytest.raises(TokenizerError, match=r"has a token '\[MASK\]' already, with the id 256"):
        WithSpecialTokens(has)


# Texts and ids that are refused.

ALL = [PIECES, WithSpecialTokens(Characters("abc"))]


@pytest.mark.parametrize("tokenizer", ALL, ids=lambda tokenizer: tokenizer.KIND)
def test_half_of_a_surrogate_pair_is_no_text(tokenizer):
    encode = (tokenizer.encode, tokenizer.encode_with_offsets)
    for refuse in (*encode, lambda text: WordPiece.train(text, 50)):
        with pytest.raises(TokenizerError, match=r"U\+D800 at place 2: half of a surrogate pair"):
            refuse("ab\ud800")


@pytest.mark.parametrize("tokenizer", ALL, ids=lambda tokenizer: tokenizer.KIND)
@pytest.mark.parametrize("number, message", [(-1, "id -1 at"), (99, "id 99 at"), (0.0, "float64")])
def test_ids_that_are_none(tokenizer, number, message):
    for refuse in (tokenizer.token, lambda number: tokenizer.decode([0, number])):
        with pytest.raises(TokenizerError, match=message):
            refuse(number)


@pytest.mark.parametrize("tokenizer", ALL, ids=lambda tokenizer: tokenizer.KIND)
def test_nothing_is_nothing(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.encode_with_offsets("") == ([], [])
    assert tokenizer.decode([]) == tokenizer.decode(np.zeros(0, np.int64)) == ""
