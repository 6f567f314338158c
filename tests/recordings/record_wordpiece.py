"""Record what BERT's tokenizer makes of texts, for the tests to compare with.

Run it with Python 3.10, in an environment that has tokenizers (0.23), and tiktoken for
``record_tokenizer.py``, from which it has its sentences::

    python tests/recordings/record_wordpiece.py

It writes ``wordpiece.json.xz`` beside itself, in JSON:

- ``versions``: of the package and of Unicode;
- ``tokens``: a vocabulary of 4,000 tokens, most of which Hugging Face's trainer learned from the
  texts below;
- ``strings``: by setting, ``[text, ids, spans]``. Every text is recorded for a vocabulary of small
  letters ("uncased") and for one with capitals ("cased"), every sixth for all other settings of
  ``lowercase``, ``strip_accents`` and ``chinese``. For each id, ``spans`` holds two numbers: how
  far behind the end of the one before it begins, and how long it is, in characters;
- ``decoded``: ``[ids, text]``, from random ids;
- ``classes``: what becomes of every code point, in runs of ``[class, how many]`` from U+0000 on:
  ``R`` taken out, ``S`` white space, ``P`` punctuation, ``C`` Chinese, ``M`` a mark that is taken
  out with the accents, ``W`` part of a word, and ``-`` where nothing is recorded;
- ``changed``: what the characters of class ``W`` become when letters are made small and lose their
  accents, where it is another; without Hangul, which ``strings`` has;
- ``files``: contents of a ``vocab.txt``, and the table of tokens and ids that is read from it;
- ``trained``: by settings, ``text``, ``size`` and the ``tokens`` that the trainer learns.

The tokenizer is put together as ``BertTokenizer`` of transformers (5.24) does.

The reference's tables are old ones, but for small letters. The project takes those of the Python
that runs. Python 3.10 has the oldest that the project meets (13.0), and what is recorded uses only
characters that are in it and that are there what they are for the reference. U+1734 is left out,
too: it has become another kind of mark in Unicode 14.

The trainer numbers characters that continue a word (``##a``) in the order of a hash table, another
one each time, and which of two equally frequent pairs is merged first depends on it. So these are
given to it in the order that the project has, by code point, as if they were special tokens.

Nothing here imports ``numpy_transformer``.
"""

from __future__ import annotations

import itertools
import json
import lzma
import random
import string
import sys
import tempfile
import unicodedata
from importlib.metadata import version
from pathlib import Path

from record_tokenizer import CODE, EMOJI, NEAR_SPACES, SENTENCES, SPACES, assigned
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import WordPieceTrainer

FOLDER = Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZE = 4000

# Tokens that no text has, as there is punctuation in them, but that decoding knows.
ENDINGS = ["'s", "n't", "'m", "'ve", "'re", "'ll", "...", "?!", "!x", ",000", "##.", "##'s"]

UNCASED = (True, None, True)  # lowercase, strip_accents, chinese
CASED = (False, None, True)
OTHERS = [
    setting
    for setting in itertools.product([True, False], [None, True, False], [True, False])
    if setting not in (UNCASED, CASED)
]

HARD = """\
Straße STRASSE STRAẞE
İstanbul İİ İ ı DIŞI
ΟΔΟΣ ΣΣ οδός ΑΣ. Σ
Ångström Ω K ẛ̣ ﬁn ＦＵＬＬ Ǆ ǅ
한국어 한국 가́각
ẹ́ ẹ́ ẹ́ ẹ́ ệ̱̈ aཱཱི ̣̈́
שּׁ שּׁ בְּ क़ क़ ୋ ේ й̆
中́文 豈⾁﨎 中文abc中 㐀𠀀𪛟𫠠 〇あ一ア
a𝅥〮b 가𝅥〯𝅭 ẹ𝅥〮́ a̴᭄᭄〮
don't do n't we 've it 's I 'm they 're . , ! ? ' "x" a.b,c!d?e ... ?! $5 + 5 = 10 < 20
‘quoted’ “low„ – — … ¿qué? ¡ya! 、。「」 ！？ ،؟ । • § ¶
[MASK] a[MASK]b [mask] [Mask] [ MASK ] [[MASK]] [MASK][MASK]. [MASK]́e [MA​SK] ［MASK］
[CLS]first[SEP]second[SEP][PAD][PAD] [UNK] [unk]known MASK] [MASK [CLS]中[SEP]
zero​width joi‍ner soft­hyphen ﻿bom nul\x00l re�placed \ue000private\ue000 ⁦iso⁩
a\x1cb\x1db\x1ee\x1ff a\x0bb\x0cc\x85d a b c d　e \t\r\n
""".split("\n")


def built(tokens: list[str], setting: tuple) -> Tokenizer:
    """The tokenizer of a vocabulary, as transformers builds it."""
    lowercase, strip_accents, chinese = setting
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    return tokenizer


def learned(text: str, size: int, setting: tuple) -> list[str]:
    """The vocabulary that the trainer learns, the characters in their order."""
    untrained = built(SPECIAL, setting)
    shown = untrained.normalizer.normalize_str(text)
    words = [word for word, _ in untrained.pre_tokenizer.pre_tokenize_str(shown)]
    characters = sorted(set("".join(words)))
    continuing = sorted(set("".join(word[1:] for word in words)))
    given = [*SPECIAL, *characters, *("##" + character for character in continuing)]
    untrained.train_from_iterator(
        [text], WordPieceTrainer(vocab_size=size, special_tokens=given, show_progress=False)
    )
    ids = untrained.get_vocab()
    tokens = sorted(ids, key=ids.__getitem__)
    if len(tokens) > size or tokens[: len(given)] != given:
        raise ValueError(f"{size} tokens are too few, or characters are not where they should be")
    return tokens


def is_punctuation(character: str) -> bool:
    """By BERT's rule, and Python's table."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")


class Table:
    """What the reference makes of single characters."""

    def __init__(self) -> None:
        """Make what is needed to ask it."""
        self.clean, self.chinese, self.strip, self.low = (
            normalizers.BertNormalizer(
                clean_text=step == 0,
                handle_chinese_chars=step == 1,
                strip_accents=step == 2,
                lowercase=step == 3,
            ).normalize_str
            for step in range(4)
        )
        self.nfd = normalizers.NFD().normalize_str
        self.words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str

    def agrees(self, character: str) -> bool:
        """Whether the character is for the reference what it is in Python's table."""
        if character == "\u1734":
            return False
        category = unicodedata.category(character)
        gone = category in ("Cc", "Cf", "Co") and character not in "\t\n\r"
        marks = [character + "\u0334", "\u0345" + character, "\u0301" + character]
        decomposed = unicodedata.normalize("NFD", character)
        kept = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
        return (
            (self.clean(character) == "") == (gone or character == "\ufffd")
            and all(self.nfd(t) == unicodedata.normalize("NFD", t) for t in [character, *marks])
            and self.strip(character) == kept
            and self.low(character) == character.lower()
            and (len(self.words(f"a{character}b")) == 3) == is_punctuation(character)
        )

    def class_of(self, character: str) -> str:
        """The class of a character, in the order of the reference's steps."""
        cleaned = self.clean(character)
        if not cleaned:
            return "R"
        if cleaned == " ":
            return "S"
        if self.chinese(character) != character:
            return "C"
        left = self.strip(character)
        if not left:
            return "M"
        return "P" if len(self.words(f"a{left}b")) == 3 else "W"


def in_rows(characters: list[str]) -> list[list[str]]:
    """The characters in rows of 128 code points, or of 1,024 where there is one script alone."""
    rows: dict[int, list[str]] = {}
    for character in characters:
        code = ord(character)
        large = code >= 0x20000 or 0x3400 <= code <= 0x9FFF or 0xAC00 <= code <= 0xF8FF
        large = large or 0x17000 <= code <= 0x18BFF
        rows.setdefault(code // 1024 * 8 if large else code // 128, []).append(character)
    return list(rows.values())


def strings(characters: list[str], tokens: list[str]) -> list[str]:
    """The texts to be recorded."""
    rng = random.Random(2018)
    of_category: dict[str, list[str]] = {}
    for character in characters:
        of_category.setdefault(unicodedata.category(character), []).append(character)

    def few(of: list[str], n: int) -> str:
        return "".join(rng.choice(of) for _ in range(n))

    marks = [c for c in characters if unicodedata.combining(c)]
    composed = [
        c
        for c in characters
        if len(unicodedata.normalize("NFD", c)) > 1 and not 0xAC00 <= ord(c) <= 0xD7A3
    ]
    between = ["", "", " ", " ", "-", "1", "\u200b", "a", "\n", "[MASK]", "\u0301"]
    texts = [*SENTENCES, *CODE, *EMOJI, *HARD, "", " ", " \t\n\u3000 ", "\u200b\ufffd", "\u0301"]
    for sentence in SENTENCES:
        texts += [unicodedata.normalize(form, sentence) for form in ("NFD", "NFKC")]
        texts += [sentence.upper(), sentence.title(), sentence.replace(" ", "")]
    for row in in_rows(characters):
        for _ in range(2):
            texts.append(
                "".join(few(row, rng.randint(1, 3)) + rng.choice(between) for _ in range(4))
            )
    for of in of_category.values():
        for other in of_category:
            texts.append(few(of, 2) + few(of_category[other], 2))
    texts += [f"a{space * n}b{space}" for space in SPACES + NEAR_SPACES for n in (1, 2)]
    texts += [
        text
        for code in [*range(0x20), *range(0x7F, 0xA0), *map(ord, string.punctuation)]
        for text in (chr(code), f"a{chr(code)}{chr(code)}b {chr(code)}")
    ]
    for _ in range(250):  # marks in any order
        texts.append(few(characters, 1) + few(composed, 1) + few(marks, rng.randint(1, 4)) + "a")
    pieces = [*SPECIAL, "[mask]", " ", " ", "the", "un", "\u00c9", "\u4e2d", ".", "'", "\u0301"]
    for _ in range(250):
        texts.append("".join(rng.choice(pieces) for _ in range(rng.randint(2, 9))))
    for _ in range(700):  # what is in the vocabulary
        some = [rng.choice(tokens).removeprefix("##") for _ in range(rng.randint(1, 6))]
        texts.append("".join(token + rng.choice(["", "", " "]) for token in some))
    for letter in ["a", "\u00e9", "e\u0301", "\ud55c", "\u0130", "\u4e2d", ".", "ab"]:
        texts += [letter * n for n in (33, 49, 50, 51, 99, 100, 101, 102)]
    known = set(characters)
    return list(dict.fromkeys("".join(c for c in text if c in known) for text in texts))


def recorded(tokenizer: Tokenizer, texts: list[str]) -> list[list]:
    """The ids of the texts, and where they stand."""
    found = []
    for text in texts:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        last, spans = 0, []
        for start, end in encoding.offsets:
            spans += [start - last, end - start]
            last = end
        found.append([text, encoding.ids, spans])
    return found


FILES = {
    "newlines": "a\nb\n",
    "no end": "a\nb",
    "carriage returns": "a\r\nb\r\n",
    "white space": "a \nb\t\u3000\n c\nd\re\nf\x1c\ng\x85\n\u2003h\u2028\n",
    "empty": "a\n\nb\n",
    "empty at the end": "a\nb\n\n",
}


def files() -> dict[str, list]:
    """What the reference reads from files of different kinds."""
    found = {}
    for name, end in FILES.items():
        content = "".join(f"{token}\n" for token in SPECIAL) + end
        with tempfile.NamedTemporaryFile(suffix="vocab.txt") as file:
            file.write(content.encode("utf-8"))
            file.flush()
            ids = models.WordPiece.read_file(file.name)
            found[name] = [content, dict(sorted(ids.items(), key=lambda item: item[1]))]
    return found


def main() -> None:
    """Record."""
    if unicodedata.unidata_version != "13.0.0":
        raise SystemExit("run this with Python 3.10, whose Unicode is 13.0")
    table = Table()
    characters = [character for character in assigned() if table.agrees(character)]
    known = set(characters)
    classes = [
        table.class_of(c) if c in known else "-" for c in map(chr, range(sys.maxunicode + 1))
    ]
    changed = {
        c: small
        for c in characters
        if classes[ord(c)] == "W" and not 0xAC00 <= ord(c) <= 0xD7A3
        for small in [table.low(table.strip(c))]
        if small != c
    }
    # Special tokens in a text are no text for the project's own training.
    lines = [t for t in SENTENCES + CODE + HARD if not any(name in t for name in SPECIAL)]
    sentences = "\n".join(lines)
    # Each text in both ways, so that there are capitals and accents in the vocabulary; and a word
    # of two characters from every row.
    rng = random.Random(7)
    rare = " ".join(rng.choice(row) + rng.choice(row) for row in in_rows(characters))
    tokens = learned(
        f"{sentences} {table.low(table.strip(sentences))} {rare}", SIZE - len(ENDINGS), CASED
    )
    tokens += ENDINGS
    texts = strings(characters, tokens)

    settings = [(UNCASED, texts), (CASED, texts)]
    settings += [(other, texts[number % 6 :: 6]) for number, other in enumerate(OTHERS)]
    uncased = built(tokens, UNCASED)
    decoded = []
    for _ in range(400):
        ids = [rng.randrange(rng.choice([6, 200, SIZE])) for _ in range(rng.randrange(9))]
        ids += [SIZE - rng.randint(1, len(ENDINGS)) for _ in range(rng.randrange(3))]
        decoded.append([ids, uncased.decode(ids, skip_special_tokens=False)])
    trained = [
        [setting, sentences, size, learned(sentences, size, setting)]
        for setting, size in ((UNCASED, 1200), (CASED, 1400), ((True, False, True), 10_000))
    ]
    values = {
        "versions": {"tokenizers": version("tokenizers"), "unicode": unicodedata.unidata_version},
        "tokens": tokens,
        "strings": [[setting, recorded(built(tokens, setting), of)] for setting, of in settings],
        "decoded": decoded,
        "classes": [[name, sum(1 for _ in run)] for name, run in itertools.groupby(classes)],
        "changed": changed,
        "files": files(),
        "trained": trained,
    }
    content = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    packed = lzma.compress(content.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)
    (FOLDER / "wordpiece.json.xz").write_bytes(packed)
    print(len(packed), "bytes,", len(texts), "texts,", sum(len(of) for _, of in settings))
    ids = [number for _, ids, _ in values["strings"][0][1] for number in ids]
    print(len(ids), "ids in uncased,", ids.count(1), "unknown,", len(set(ids)), "different")
    for name in values:
        part = json.dumps(values[name], ensure_ascii=False).encode("utf-8")
        print(name, len(lzma.compress(part, preset=9)))


if __name__ == "__main__":
    main()
