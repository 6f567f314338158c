"""Tokenizers: GPT-2's ids on every text, the text back byte for byte, and own vocabularies.

What the reference tokenizers give was recorded by ``recordings/record_tokenizer.py``, which says
what is in the recordings.
"""

from __future__ import annotations

import itertools
import json
import os
import lzma
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_transformer.data import tokenizers
from numpy_transformer.data.tokenizers import ByteLevelBPE, Characters, TokenizerError
from numpy_transformer.data.tokenizers import byte_level_bpe, learning, merging
from numpy_transformer.data.tokenizers.pattern import pieces

RECORDINGS = Path(__file__).parent / "recordings"
END = "<|endoftext|>"

GROUPS = (
    "rows",
    "categories",
    "numbers",
    "marks",
    "orders",
    "spaces",
    "contractions",
    "control",
    "ascii",
    "sentences",
    "code",
    "emoji",
    "long",
    "special",
)

# The characters that stand for bytes, in the order of GPT-2's ids.
BYTES = [*map(chr, [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 256 + 68)])]

# The same examples in every run, and nothing that depends on how busy the machine is.
SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)

SHORT = "low lower lowest low low"  # four merges of it are worked out below


def unpacked(name):
    return lzma.decompress((RECORDINGS / name).read_bytes()).decode("utf-8")


@pytest.fixture(scope="module")
def recorded():
    return json.loads(unpacked("gpt2_ids.json.xz"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """GPT-2's files, made of its merges alone."""
    folder = tmp_path_factory.mktemp("gpt2")
    merges = unpacked("gpt2_merges.txt.xz")
    tokens = [*BYTES, *(line.replace(" ", "") for line in merges.split("\n")[1:-1]), END]
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    ids = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def gpt2(folder):
    return ByteLevelBPE.read(folder)


@pytest.fixture(scope="module")
def trained(recorded):
    special = (END, "<pad>", "<|end", "é€")
    return ByteLevelBPE.train(recorded["trained"]["text"], 400, special)


# Against the reference tokenizers.


def test_what_is_recorded(recorded):
    assert tuple(recorded["strings"]) == GROUPS
    assert sum(map(len, recorded["strings"].values())) > 6000


@pytest.mark.parametrize("group", GROUPS)
def test_ids_are_gpt2s_and_give_the_text_back(gpt2, recorded, group):
    for text, ids in recorded["strings"][group]:
        assert gpt2.encode(text) == ids, ascii(text)
        assert gpt2.decode(ids) == text, ascii(text)
        assert gpt2.decode_bytes(np.array(ids, int)) == text.encode(), ascii(text)


def test_special_tokens_as_ordinary_text(gpt2, recorded):
    for text, ids in recorded["ordinary"]:
        assert gpt2.encode(text, special=False) == ids, text
        assert gpt2.end_of_text not in ids


def test_bytes_that_are_no_utf8_become_replacement_characters(gpt2, recorded):
    assert sum("\ufffd" in text for _, text in recorded["decoded"]) > 200
    for ids, text in recorded["decoded"]:
        assert gpt2.decode(ids) == text, ids


def test_the_class_of_every_character(recorded):
    """Letter, number, space or other: of all that are assigned in Unicode 13.

    Later characters are left out: what they are depends on the Python that runs.
    """
    members = {"L": [], "N": [], "S": [], "O": []}
    code = 0
    for name, count in recorded["classes"]:
        if name != "-":
            members[name] += map(chr, range(code, code + count))
        code += count
    assert code == sys.maxunicode + 1
    assert [len(members[name]) for name in "LNS"] == [131_241, 1_781, 25]
    assert members["S"][:7] == list("\t\n\v\f\r \x85")
    for name, characters in members.items():
        together = "".join(characters)
        assert list(pieces(together)) == [together], f"{name} are cut apart"
    for first, second in itertools.product("LNO", "LNSO"):
        if first != second:
            two = [members[first][-1], members[second][-1]]
            assert list(pieces("".join(two))) == two, f"{first} and {second} are not cut apart"


def test_merges_that_hugging_face_learns_are_learned(recorded):
    text, size, merges = (recorded["trained"][name] for name in ("text", "size", "merges"))
    assert ByteLevelBPE.train(text, size, special=()).merges == tuple(map(tuple, merges))


# Cutting into pieces.


@pytest.mark.parametrize(
    "text, expected",
    [
        ("we've we'VE we\u2019ve", ["we", "'ve", " we", "'", "VE", " we", "\u2019", "ve"]),
        ("'s'x''s", ["'s", "'", "x", "''", "s"]),
        ("a   b \n c  ", ["a", "  ", " b", " \n", " c", "  "]),
        ("a\tb\n\nc", ["a", "\t", "b", "\n", "\n", "c"]),
        ("x1.5²Ⅷ½", ["x", "1", ".", "5²Ⅷ½"]),
        ("a\x1c\x1c b", ["a", "\x1c\x1c", " b"]),  # no spaces for Unicode, but for `re`
        ("a\x85\x85b", ["a", "\x85", "\x85", "b"]),
        ("e\u0301te\u0301", ["e", "\u0301", "te", "\u0301"]),  # marks are no letters
        ("", []),
    ],
)
def test_pieces(text, expected):
    assert list(pieces(text)) == expected


@SETTINGS
@given(st.text())
def test_pieces_joined_are_the_text(text):
    assert "".join(pieces(text)) == text


# Round trips.

MIXED = st.lists(st.text() | st.sampled_from([END, "<pad>", "<|end", "é€", " ", "the", "'s"]))


@SETTINGS
@given(MIXED.map("".join))
def test_ids_give_the_text_back(gpt2, trained, text):
    for tokenizer in (gpt2, trained):
        for special in (True, False):
            ids = tokenizer.encode(text, special=special)
            assert all(type(i) is int and 0 <= i < len(tokenizer) for i in ids)
            assert tokenizer.decode(ids) == text
            assert tokenizer.decode_bytes(ids) == text.encode("utf-8")


@SETTINGS
@given(st.data())
def test_any_ids_have_bytes_and_a_text(trained, data):
    ids = data.draw(st.lists(st.integers(0, len(trained) - 1)))
    content = trained.decode_bytes(ids)
    assert content == b"".join(trained.decode_bytes([i]) for i in ids)
    assert trained.decode(iter(ids)) == content.decode("utf-8", errors="replace")


@SETTINGS
@given(st.text(min_size=1))
def test_characters_give_the_text_back(text):
    tokenizer = Characters.build(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode("utf-8")
    assert tokenizer.characters == "".join(sorted(set(text)))
    assert tokenizers.from_json(json.loads(json.dumps(tokenizer.to_json()))) == tokenizer


# Merging.


def merged_the_slow_way(symbols, merges):
    """GPT-2's own loop: the pair of lowest rank, everywhere, from left to right, and again."""
    while True:
        present = set(zip(symbols, symbols[1:])) & set(merges)
        if not present:
            return symbols
        symbols = replaced(symbols, min(present, key=merges.index))


def replaced(symbols, pair):
    """The symbols with a pair put together wherever it stands, from left to right."""
    done = []
    for symbol in symbols:
        if done and (done[-1], symbol) == pair:
            done[-1] += symbol
        else:
            done.append(symbol)
    return done


SMALL = st.text("ab c", max_size=60)


@SETTINGS
@given(SMALL, st.text("ab c", max_size=40))
def test_merging_is_gpt2s_loop(learned_from, text):
    tokenizer = ByteLevelBPE.train(learned_from, 300)
    tokens = {i: token for token, i in tokenizer.vocabulary.items()}
    expected = [
        token
        for piece in pieces(text)
        for token in merged_the_slow_way(list(piece.replace(" ", "\u0120")), tokenizer.merges)
    ]
    assert [tokens[i] for i in tokenizer.encode(text)] == expected


class Counting(dict):
    """A dictionary that counts how often it is asked."""

    asked = 0

    def get(self, key, default=None):
        self.asked += 1
        return super().get(key, default)

    def __contains__(self, key):
        self.asked += 1
        return super().__contains__(key)


@pytest.mark.parametrize("unit", ["a", " ", "the", "acgtgca", "\U0001f600"])
def test_a_word_of_twice_the_length_takes_twice_the_steps(gpt2, unit):
    asked = []
    for times in (1_000, 2_000):
        ranks = Counting(gpt2._ranks)
        symbols = [gpt2._byte_ids[byte] for byte in (unit * times).encode()]
        merging.merge(symbols, ranks, gpt2._results)
        asked.append(ranks.asked / len(symbols))
    assert asked[1] < 1.01 * asked[0] < 10


def test_a_word_without_end(gpt2):
    for text in ("a" * 100_000, " " * 200_000):
        assert gpt2.decode(gpt2.encode(text)) == text


def test_every_piece_is_merged_once_and_few_are_kept(monkeypatch):
    tokenizer = ByteLevelBPE.train(SHORT, 261)
    calls = []
    merge = merging.merge
    monkeypatch.setattr(merging, "merge", lambda *given: calls.append(given) or merge(*given))
    first = tokenizer.encode("low lower " * 1000)
    assert len(calls) == 4  # "low", " lower", " low", " "
    first.clear()  # what was handed out is not what is kept
    assert tokenizer.encode("low") == [257]
    assert len(calls) == 4

    monkeypatch.setattr(byte_level_bpe, "KEPT", 10)
    text = " ".join(f"{'x' * (i % 9)}{i}" for i in range(100))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert 0 < len(tokenizer._kept) <= 10
    tokenizer.encode("y" * (byte_level_bpe.LONGEST + 1))
    assert max(map(len, tokenizer._kept)) <= byte_level_bpe.LONGEST


# Learning.


def learned_the_slow_way(counts, size):
    """The merges, with all pairs counted anew for each of them."""
    words = [(list(piece), count) for piece, count in counts.items()]
    tokens = list(BYTES)
    merges = []
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
        merges.append((left, right))
        tokens.append(left + right)
        words = [(replaced(word, (left, right)), count) for word, count in words]
    assert len(set(tokens)) == len(tokens)
    return merges


COUNTS = st.dictionaries(st.text("abc", min_size=1, max_size=20), st.integers(1, 5))


@SETTINGS
@given(COUNTS, st.integers(0, 40))
def test_learning_is_counting_anew_for_every_merge(counts, more):
    merges = learning.learn(counts, 256 + more)
    assert merges == learned_the_slow_way(counts, 256 + more)
    turned = dict(reversed(counts.items()))
    assert learning.learn(turned, 256 + more) == merges


def test_a_vocabulary_worked_out_by_hand():
    """Pieces: low, ' lower', ' lowest', ' low' twice.

    l o and o w stand in all five, and l has the lower id; then ' ' low in four; then ' low' e in
    two. (All others are in one: e r, e s, s t.)
    """
    tokenizer = ByteLevelBPE.train(SHORT, 261)
    tokens = [*BYTES, "lo", "low", "Ġlow", "Ġlowe", END]
    assert tokenizer.merges == (("l", "o"), ("lo", "w"), ("Ġ", "low"), ("Ġlow", "e"))
    assert tokenizer.vocabulary == {token: i for i, token in enumerate(tokens)}
    assert tokenizer.end_of_text == len(tokenizer) - 1 == 260
    assert tokenizer.special == {END: 260}


def test_learning_ends_when_every_piece_is_one_token():
    tokenizer = ByteLevelBPE.train("abc abc", 1000)
    assert len(tokenizer) == 256 + 3 + 1
    assert len(tokenizer.encode("abc abc")) == 2
    assert len(ByteLevelBPE.train("", 1000)) == 257
    assert len(ByteLevelBPE.train("abc abc", 257)) == 257


def test_special_tokens_are_taken_out_of_the_text():
    text = f"ab{END}<pad>ab{END}"
    tokenizer = ByteLevelBPE.train(text, 300, special=(END, "<pad>"))
    assert tokenizer.merges == (("a", "b"),)
    assert tokenizer.special == {END: 257, "<pad>": 258}
    assert tokenizer.encode(text) == [256, 257, 258, 256, 257]
    without = ByteLevelBPE.train(text, 300, special=())
    assert without.end_of_text is None
    assert without.decode(without.encode(text)) == text


def test_the_longer_special_token_is_meant(trained):
    ids = trained.special
    assert trained.encode(f"<|end{END}é€<|endo") == [
        ids["<|end"], ids[END], ids["é€"], ids["<|end"], *trained.encode("o")
    ]  # fmt: skip


@pytest.mark.parametrize("letters", ["ab", "acgt", "a"])
def test_learning_touches_a_place_no_more_than_twice_for_every_byte(monkeypatch, letters):
    """However many merges are learned from one word without an end."""
    touched = []
    add = learning.Words.add
    monkeypatch.setattr(learning.Words, "add", lambda *given: touched.append(1) or add(*given))
    word = "".join(random.Random(0).choices(letters, k=5_000))
    merges = learning.learn({word: 1}, 256 + 600)
    assert len(merges) == 600 or letters == "a"
    assert len(touched) <= 2 * len(word)


@pytest.mark.parametrize(
    "size, special, message",
    [
        (256, (END,), "vocab_size is 256; expected at least 257: 256 bytes and 1 special tokens"),
        (-1, (), "vocab_size is -1; expected at least 256"),
        (300, ("<s>", "<s>"), "'<s>' cannot be a special token: it stands twice"),
        (300, ("a",), "'a' cannot be a special token: it is an ordinary one already"),
        (300, ("",), "the empty string cannot be a token"),
        (300, ("\ud800",), r"the text holds U\+D800 at place 0: half of a surrogate pair"),
    ],
)
def test_no_vocabulary_to_learn(size, special, message):
    with pytest.raises(TokenizerError, match=message):
        ByteLevelBPE.train("abc", size, special)


# Files.


def as_tokenizer_json(tokenizer, **changes):
    """What Hugging Face's newer versions write."""
    added = [
        {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for token, i in tokenizer.special.items()
    ]  # fmt: skip
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
             "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": False, "vocab": tokenizer.vocabulary,
             "merges": list(map(list, tokenizer.merges))}  # fmt: skip
    values = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "post_processor": None, "decoder": {"type": "ByteLevel"}, "model": model,
    }  # fmt: skip
    for name, value in changes.items():
        (model if name in model else values)[name] = value
    return values


def test_files_are_written_as_hugging_face_does(tmp_path, gpt2, folder):
    ByteLevelBPE.train(SHORT, 259).write(tmp_path / "new" / "folder")
    vocabulary = (tmp_path / "new" / "folder" / "vocab.json").read_text(encoding="utf-8")
    assert vocabulary.startswith('{"!":0,"\\"":1,"#":2,')
    assert vocabulary.endswith(',"Ń":255,"lo":256,"low":257,"<|endoftext|>":258}')
    merges = (tmp_path / "new" / "folder" / "merges.txt").read_bytes()
    assert merges == b"#version: 0.2\nl o\nlo w\n"
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2

    gpt2.write(tmp_path)
    assert (tmp_path / "merges.txt").read_bytes() == (folder / "merges.txt").read_bytes()
    assert ByteLevelBPE.read(tmp_path) == gpt2


@pytest.mark.parametrize("merges", [1, 0, 40])
def test_written_and_read_it_is_the_same(tmp_path, merges):
    tokenizer = ByteLevelBPE.train("the cat, the hat\n\n" * 3, 256 + merges + 2, (END, "<é>"))
    tokenizer.write(tmp_path)
    assert json.loads((tmp_path / "added_tokens.json").read_bytes()) == {"<é>": len(tokenizer) - 1}
    assert ByteLevelBPE.read(tmp_path) == tokenizer
    (tmp_path / "tokenizer.json").write_text(json.dumps(as_tokenizer_json(tokenizer)))
    with pytest.raises(TokenizerError, match="tokenizer.json would be read instead"):
        tokenizer.write(tmp_path)
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        (tmp_path / name).unlink()
    assert ByteLevelBPE.read(tmp_path) == tokenizer


def test_special_tokens_of_what_stood_there_before_are_gone(tmp_path):
    ByteLevelBPE.train("ab", 300, (END, "<pad>")).write(tmp_path)
    tokenizer = ByteLevelBPE.train("cd", 300)
    tokenizer.write(tmp_path)
    assert ByteLevelBPE.read(tmp_path) == tokenizer


@pytest.mark.parametrize("change", ["crlf", "no version", "openai", "no end", "bom"])
def test_other_ways_to_write_the_same(tmp_path, change):
    tokenizer = ByteLevelBPE.train(SHORT, 261)
    tokenizer.write(tmp_path)
    path = tmp_path / "merges.txt"
    content = path.read_bytes()
    if change == "crlf":
        path.write_bytes(content.replace(b"\n", b"\r\n"))
    elif change == "no version":
        path.write_bytes(content.split(b"\n", 1)[1])
    elif change == "no end":
        path.write_bytes(content.rstrip(b"\n"))
    elif change == "bom":
        path.write_bytes(b"\xef\xbb\xbf" + content)
    else:
        path.rename(tmp_path / "vocab.bpe")
        spaced = json.dumps(tokenizer.vocabulary, indent=1)  # all but ASCII as \uxxxx
        (tmp_path / "vocab.json").unlink()
        (tmp_path / "encoder.json").write_text(spaced)
    assert ByteLevelBPE.read(tmp_path) == tokenizer


def test_special_tokens_beside_the_vocabulary(tmp_path):
    """The older versions of Hugging Face write tokens that came later to a file of their own."""
    ByteLevelBPE.train(SHORT, 261).write(tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"<pad>": 261, "<|endoftext|>": 260}')
    tokenizer = ByteLevelBPE.read(tmp_path)
    assert tokenizer.special == {END: 260, "<pad>": 261}
    assert tokenizer.encode("low<pad>") == [257, 261]


def test_special_tokens_may_come_first(tmp_path):
    """So does Hugging Face's trainer number them."""
    own = ByteLevelBPE.train(SHORT, 261)
    vocabulary = {END: 0} | {t: i + 1 for t, i in own.vocabulary.items() if t != END}
    other = ByteLevelBPE(vocabulary, own.merges)
    text = f"lowest{END} lower"
    assert other.encode(text) == [(i + 1) % 261 for i in own.encode(text)]
    assert other.decode(other.encode(text)) == text
    assert tokenizers.from_json(json.loads(json.dumps(other.to_json()))) == other
    other.write(tmp_path)
    assert (tmp_path / "vocab.json").read_bytes().startswith(b'{"<|endoftext|>":0,"!":1,')
    assert ByteLevelBPE.read(tmp_path) == other


def test_special_tokens_are_listed_by_id():
    vocabulary = {"<b>": 257, END: 256} | {token: i for i, token in enumerate(BYTES)}
    tokenizer = ByteLevelBPE(vocabulary, ())
    assert list(tokenizer.special.items()) == [(END, 256), ("<b>", 257)]
    assert "ids" not in tokenizer.to_json()


def test_older_kinds_of_tokenizer_json(tmp_path):
    """Merges as strings, no type of the model, no word on the pattern."""
    tokenizer = ByteLevelBPE.train(SHORT, 261)
    values = as_tokenizer_json(
        tokenizer,
        merges=[" ".join(merge) for merge in tokenizer.merges],
        pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
    )
    del values["model"]["type"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    assert ByteLevelBPE.read(tmp_path) == tokenizer


SPLIT = {"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel"}]}
ADDED = {"id": 260, "content": END}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"type": "WordPiece"}, "a model of type 'WordPiece'; expected byte-level BPE"),
        ({"model": None}, 'is no tokenizer.json: expected a dictionary with "model"'),
        ({"model": {"vocab": []}}, "a model of type None; expected byte-level BPE"),
        ({"model": {"merges": []}}, '"vocab" is no table of tokens and their ids'),
        ({"normalizer": {"type": "NFC"}}, 'its normalizer is {"type": "NFC"}'),
        ({"pre_tokenizer": SPLIT}, "does not cut and merge as GPT-2's does: its pre_tokenizer is"),
        ({"pre_tokenizer": None}, "its pre_tokenizer is null"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "add_prefix_space"),
        ({"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}}, "its pre_tokenizer is"),
        ({"ignore_merges": True}, "its ignore_merges is true"),
        ({"byte_fallback": True}, "its byte_fallback is true"),
        ({"end_of_word_suffix": "</w>"}, "its end_of_word_suffix"),
        ({"dropout": 0.1}, "its dropout is 0.1"),
        ({"merges": None}, 'no list "merges"'),
        ({"merges": [["l", "o"], 7]}, "something else than pairs of tokens"),
        ({"merges": [["l", "o"], ["l", "o", "w"]]}, "line 3: 'l o w' is no merge"),
        ({"merges": ["lo"]}, "line 2: 'lo' is no merge"),
        ({"merges": ["l o\nlo w"]}, "something else than pairs of tokens"),
        ({"vocab": {"a": "b"}}, '"vocab" is no table of tokens and their ids'),
        ({"added_tokens": 5}, '"added_tokens" is no list of dictionaries'),
        ({"added_tokens": [5]}, '"added_tokens" is no list of dictionaries'),
        ({"added_tokens": [{"id": 1}]}, '"added_tokens" is no table of tokens and their ids'),
        ({"added_tokens": [ADDED | {"lstrip": True}]}, "'<|endoftext|>' has lstrip"),
        ({"added_tokens": [ADDED | {"id": 7}]}, "has the id 7, but the id 260 in the vocabulary"),
    ],
)
def test_tokenizer_json_of_other_kinds(tmp_path, changes, message):
    values = as_tokenizer_json(ByteLevelBPE.train(SHORT, 261), **changes)
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(TokenizerError) as error:
        ByteLevelBPE.read(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path / "tokenizer.json") in str(error.value)


VERSION = "#version: 0.2\n"


def vocabulary_of(*more):
    return json.dumps({token: i for i, token in enumerate([*BYTES, *more])})


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("vocab.json", None, "holds no vocab.json and no encoder.json; expected vocab.json (or"),
        ("merges.txt", None, "holds no merges.txt and no vocab.bpe; expected"),
        ("vocab.json", "{", "vocab.json is damaged, not JSON: "),
        ("vocab.json", "[" * 100_000, "vocab.json is damaged, not JSON: "),
        ("vocab.json", b"\xff\xff", "vocab.json is damaged: not UTF-8"),
        ("vocab.json", "[1, 2]", "vocab.json is no table of tokens and their ids"),
        ("vocab.json", '{"a": 1.0}', "vocab.json is no table of tokens and their ids"),
        ("vocab.json", '{"a": true}', "vocab.json is no table of tokens and their ids"),
        ("vocab.json", '{"a": 1, "b": 10}', "token 'b' has the id 10; expected 0 to 1"),
        ("vocab.json", '{"a": -1}', "token 'a' has the id -1; expected 0 to 0, as there are 1"),
        ("vocab.json", '{"a": 1, "b": 1}', "'a' and 'b' have the same id 1"),
        ("vocab.json", "{}", "lacks 256 of the 256 bytes, '!' among them"),
        ("vocab.json", vocabulary_of(), "merge 1 makes 'lo', which has no id"),
        ("vocab.json", vocabulary_of("lo", "low", ""), "the empty string cannot be a token"),
        ("vocab.json", vocabulary_of("lo", "low", "\ud800"), "U+D800 at place 0: half of a surr"),
        ("merges.txt", b"#version: 0.2\nl o\n\xff w\n", "merges.txt is damaged: not UTF-8"),
        ("merges.txt", VERSION + "l o\nlow\n", "merges.txt, line 3: 'low' is no merge, expected"),
        ("merges.txt", VERSION + "l o\n\nlo w\n", "merges.txt, line 3: '' is no merge"),
        ("merges.txt", VERSION + "l  o\n", "merges.txt, line 2: 'l  o' is no merge"),
        ("merges.txt", VERSION + "l o \n", "merges.txt, line 2: 'l o ' is no merge"),
        ("merges.txt", VERSION + "lo w\nl o\n", "merge 1 puts together 'lo' and 'w', but 'lo' is"),
        ("merges.txt", VERSION + "l 字\n", "merge 1 puts together 'l' and '字', but '字' is no byte"),
        ("merges.txt", VERSION + "l o\nl o\n", "a merge stands twice"),
        ("merges.txt", VERSION + "l o\nl l\n", "merge 2 makes 'll', which has no id"),
        ("vocab.json", vocabulary_of("lo", "low", "Ġlow"), "'Ġlow', which is written as an ord"),
        ("added_tokens.json", '{"low": 3}', "the added token 'low' has the id 3, but the id 257"),
        ("added_tokens.json", '{"<pad>": 300}', "token '<pad>' has the id 300; expected 0 to 259"),
        ("added_tokens.json", '{"<pad>": 5}', "'&' and '<pad>' have the same id 5"),
        ("added_tokens.json", "7", "added_tokens.json is no table of tokens and their ids"),
        ("tokenizer.json", "{", "tokenizer.json is damaged, not JSON"),
        ("tokenizer.json", "[]", "is no tokenizer.json"),
    ],
)
def test_files_that_are_missing_damaged_or_inconsistent(tmp_path, name, content, message):
    ByteLevelBPE.train(SHORT, 259).write(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        content = content.encode("utf-8") if isinstance(content, str) else content
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerError) as error:
        ByteLevelBPE.read(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_file_of_merges_that_ends_early(tmp_path, folder, gpt2):
    gpt2.write(tmp_path)
    lines = (folder / "merges.txt").read_bytes().split(b"\n")
    (tmp_path / "merges.txt").write_bytes(b"\n".join(lines[:40_000]))
    with pytest.raises(TokenizerError, match="is inconsistent: no merge makes .*: merges are miss"):
        ByteLevelBPE.read(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(TokenizerError, match="nowhere holds no vocab.json"):
        ByteLevelBPE.read(tmp_path / "nowhere")
    (tmp_path / "vocab.json").mkdir()
    with pytest.raises(TokenizerError, match="vocab.json cannot be read: Is a directory"):
        ByteLevelBPE.read(tmp_path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    old, new = ByteLevelBPE.train(SHORT, 259), ByteLevelBPE.train("abc abc", 300)
    old.write(tmp_path)

    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(TokenizerError, match="No space left"):
        patch.setattr(os, "fsync", full)
        new.write(tmp_path)
    assert ByteLevelBPE.read(tmp_path) == old
    new.write(tmp_path)
    assert ByteLevelBPE.read(tmp_path) == new


# JSON.


def test_gpt2_in_json_is_compact_and_the_same(gpt2):
    content = json.dumps(gpt2.to_json(), ensure_ascii=False).encode()
    assert len(content) < 520_000
    assert b'"ids"' not in content
    assert tokenizers.from_json(json.loads(content)) == gpt2


@pytest.mark.parametrize(
    "values, message",
    [
        (None, '"kind" characters or byte-level-bpe or wordpiece or special_tokens, given NoneT'),
        ([], "given list"),
        ({}, "given kind None"),
        ({"kind": "words"}, "given kind 'words'"),
        ({"kind": ["characters"]}, r"given kind \['characters'\]"),
        ({"kind": "characters"}, 'expected "characters" as one string'),
        ({"kind": "characters", "characters": ["a"]}, 'expected "characters" as one string'),
        ({"kind": "characters", "characters": ""}, "there are no characters"),
        ({"kind": "characters", "characters": "aba"}, "a character stands twice"),
        ({"kind": "characters", "characters": "a\ud800"}, r"U\+D800 at place 1"),
        ({"kind": "byte-level-bpe"}, 'expected "merges" as one string'),
        ({"kind": "byte-level-bpe", "merges": ""}, 'expected "special" as a list of strings'),
        ({"kind": "byte-level-bpe", "merges": "", "special": [1]}, '"special" as a list of str'),
        ({"kind": "byte-level-bpe", "merges": "ab", "special": []}, "line 1: 'ab' is no merge"),
        ({"kind": "byte-level-bpe", "merges": "ab c", "special": []}, "'ab' is no byte"),
        ({"kind": "byte-level-bpe", "merges": "a b", "special": ["ab"]}, "cannot be a special"),
        ({"kind": "byte-level-bpe", "merges": "", "special": [], "ids": [0]}, "expected 256 whole"),
        (
            {"kind": "byte-level-bpe", "merges": "", "special": [], "ids": [0] * 256},
            "'!' and '\"' have the same id 0",
        ),
        (
            {"kind": "byte-level-bpe", "merges": "", "special": [], "ids": [0.0] * 256},
            "expected 256 whole numbers",
        ),
    ],
)
def test_values_that_are_no_tokenizer(values, message):
    with pytest.raises(TokenizerError, match=message):
        tokenizers.from_json(values)


def test_values_of_another_kind():
    with pytest.raises(TokenizerError, match='not a tokenizer of kind "characters"'):
        Characters.from_json(ByteLevelBPE.train("", 257).to_json())
    with pytest.raises(TokenizerError, match='not a tokenizer of kind "byte-level-bpe"'):
        ByteLevelBPE.from_json(Characters("ab").to_json())


# Texts and ids that are refused.

BOTH = [Characters("abc"), ByteLevelBPE.train("abc abc", 260)]


@pytest.mark.parametrize("tokenizer", BOTH, ids=lambda tokenizer: tokenizer.KIND)
@pytest.mark.parametrize(
    "ids, message",
    [
        ([0, -1], "id -1 at place 1 is not in the vocabulary, which has the ids 0 to "),
        ([0, 1, 260], "id 260 at place 2 is not in the vocabulary"),
        ([10**30], "object numbers"),
        ([1.0], "expected ids in one sequence of whole numbers, .* given float64 numbers"),
        ([True], "given bool numbers"),
        (["a"], "given <U1 numbers"),
        ([None], "given object numbers"),
        ([[1, 2]], "given sequences in a sequence"),
        ([[1], [2, 3]], "given sequences in a sequence"),
        (np.zeros((2, 2), int), "given sequences in a sequence"),
    ],
)
def test_ids_that_are_none(tokenizer, ids, message):
    for decode in (tokenizer.decode, tokenizer.decode_bytes):
        with pytest.raises(TokenizerError, match=message):
            decode(ids)


@pytest.mark.parametrize("tokenizer", BOTH, ids=lambda tokenizer: tokenizer.KIND)
def test_nothing_is_nothing(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == tokenizer.decode(np.zeros(0, np.int64)) == ""
    assert tokenizer.decode_bytes(iter([])) == b""


@pytest.mark.parametrize("half", ["\ud800", "\udfff"])
def test_half_of_a_surrogate_pair_is_no_text(gpt2, half):
    for refuse in (gpt2.encode, lambda text: ByteLevelBPE.train(text, 300), Characters.build):
        with pytest.raises(TokenizerError, match=rf"U\+{ord(half):04X} at place 2: half of"):
            refuse(f"ab{half}")


# Characters.


def test_characters_sorted_without_special_tokens():
    tokenizer = Characters.build("zebra\n Zé")
    assert tokenizer.characters == "\n Zaberzé"
    assert tokenizer.encode("Zeb") == [2, 5, 4]
    assert (len(tokenizer), tokenizer.end_of_text) == (9, None)


def test_an_unknown_character_is_named_with_its_place():
    tokenizer = Characters.build("abcdefghijklmnopqrstuvwxyz")
    with pytest.raises(TokenizerError) as error:
        tokenizer.encode("caf\u00e9 \u00e9")
    assert str(error.value) == (
        "the character '\u00e9' (U+00E9) at place 3 is none of the 26 that this tokenizer knows "
        "('a', 'b', 'c', 'd', 'e', ...): take it out of the text, build the tokenizer from a text "
        "that has it, or use ByteLevelBPE, which knows every text"
    )


def test_no_characters():
    with pytest.raises(TokenizerError, match="there are no characters .* empty text"):
        Characters.build("")
