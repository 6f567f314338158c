"""WordPiece: BERT's tokenizer, which cuts words into the longest pieces that it knows.

A text becomes ids in three steps:

1. special tokens such as ``[MASK]`` that stand in it, written just so, are taken out: one id each;
2. what is between them is cut into words (``bert_text``), which forgets spaces, and in most
   vocabularies accents and capitals as well;
3. each word is cut from left to right: the longest token that it begins with, then the longest that
   the rest begins with, and so on. Tokens that continue a word are written with ``##`` before them,
   so that "unaffable" may become ``un ##aff ##able``. A word is unknown as a whole, ``[UNK]``, when
   a rest begins with no token, or when it has more than 100 characters.

Source: Wu et al. 2016, "Google's Neural Machine Translation System", section 4.1; Devlin et al.
2018, "BERT", section 3, and ``tokenization.py``, which was published with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from numpy_transformer.data.tokenizers import bert_text, learning, wordpiece_files
from numpy_transformer.data.tokenizers.checks import TokenizerError, check_text, checked_ids
from numpy_transformer.data.tokenizers.special_names import SPECIAL, Span, WithSpecialIds

CONTINUES = "##"  # before a token that continues a word

LONGEST_WORD = 100  # characters in a word that is not unknown

KEPT = 2**16  # chunks whose ids are remembered
LONGEST = 32  # characters in a chunk that is remembered

# Tokens that decoding puts behind the one before without a space: those that begin so.
ATTACHED = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")

SPECIAL_PATTERN = re.compile(f"({'|'.join(map(re.escape, SPECIAL))})")


@dataclass(frozen=True)
class WordPiece(WithSpecialIds):
    """The tokens in the order of their ids, and how a text is cut into words.

    ``lowercase``: letters become small. ``strip_accents``: letters lose their accents; None stands
    for the same as ``lowercase``. ``chinese``: each ideograph is a word of its own.

    The five special tokens may stand anywhere among the tokens. Raises ``TokenizerError`` when one
    of them is missing, and when a token stands twice or could not be a line of ``vocab.txt``.

    >>> special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    >>> tokenizer = WordPiece((*special, "un", "##aff", "##able", "!"))
    >>> tokenizer.encode("Unaffable! Adorable!"), tokenizer.encode("un[MASK]")
    ([5, 6, 7, 8, 1, 8], [5, 4])
    >>> tokenizer.decode([2, 5, 6, 7, 8, 3])
    '[CLS] unaffable! [SEP]'
    >>> tokenizer.mask_id, tokenizer.special_ids
    (4, (0, 1, 2, 3, 4))
    """

    KIND: ClassVar[str] = "wordpiece"
    end_of_text: ClassVar[None] = None

    tokens: tuple[str, ...] = field(repr=False)
    lowercase: bool = True
    strip_accents: bool | None = None
    chinese: bool = True

    def __post_init__(self) -> None:
        """Check that no token stands twice, and that the special ones are there."""
        for number, token in enumerate(self.tokens):
            if self.ids[token] != number:
                raise TokenizerError(
                    f"the token {token!r} stands twice, with the ids {number} and {self.ids[token]}"
                )
            if "\n" in token or token != token.rstrip(bert_text.WHITE_SPACE):
                raise TokenizerError(
                    f"the token {token!r} with the id {number} ends in white space or holds a "
                    "newline: it cannot be written to vocab.txt, and no word of a text is like it"
                )
            check_text(token)
        missing = [token for token in SPECIAL if token not in self.ids]
        if missing:
            raise TokenizerError(
                f"the vocabulary of {len(self)} tokens lacks {', '.join(missing)}; expected all of "
                f"{', '.join(SPECIAL)}, as BERT's has them"
            )

    @classmethod
    def read(cls, path: str | Path) -> WordPiece:
        """The tokenizer in a ``vocab.txt``, or in a folder with BERT's files: ``wordpiece_files``.

        In a folder, ``tokenizer_config.json`` says how texts are cut into words. Without it, and
        for a file alone, it is BERT's way for vocabularies of small letters ("uncased"): a
        vocabulary with capitals needs ``dataclasses.replace(tokenizer, lowercase=False)``.

        Raises ``TokenizerError``, naming the file, for what is missing, damaged or inconsistent.
        """
        tokens, settings = wordpiece_files.read(Path(path))
        try:
            return cls(tokens, **settings)
        except TokenizerError as error:
            raise TokenizerError(f"the vocabulary in {path} cannot be used: {error}") from None

    def write(self, folder: str | Path) -> None:
        """Put ``vocab.txt`` and ``tokenizer_config.json`` into a folder.

        Hugging Face's ``BertTokenizer`` reads them and gives the same ids. Raises
        ``TokenizerError`` where it would read something else, or when it cannot be written.
        """
        settings = {name: getattr(self, name) for name in wordpiece_files.SETTINGS}
        wordpiece_files.write(Path(folder), self.tokens, settings)

    @classmethod
    def train(
        cls, text: str, size: int, lowercase: bool = True, strip_accents: bool | None = None
    ) -> WordPiece:
        """Learn a vocabulary of ``size`` tokens from a text, the special ones included.

        The order of the ids: special tokens, all characters of words by code point, those that
        continue a word (with ``##``) by code point, results of merges. The most frequent pair of
        neighbours in words is merged first, as in byte pair encoding: see ``learning`` for ties.
        Special tokens that stand in the text are taken out before. The vocabulary is smaller than
        asked for when the text is used up: when each word is one token.

        Raises ``TokenizerError`` when there is no room for the special tokens and the characters.

        >>> tokenizer = WordPiece.train("low lower lowest low low", size=20)
        >>> tokenizer.tokens[5:]
        ('e', 'l', 'o', 'r', 's', 't', 'w', '##e', '##o', '##r', '##s', '##t', '##w', 'lo', 'low')
        """
        empty = cls(SPECIAL, lowercase, strip_accents)
        check_text(text)
        chunks = Counter(
            chunk
            for part in SPECIAL_PATTERN.split(text)
            if part not in SPECIAL
            for chunk in bert_text.CHUNK.findall(part)
        )
        counts: Counter[str] = Counter()
        for chunk, count in chunks.items():
            for word, _ in empty._words(chunk):
                counts[word] += count
        learned = learning.learn_words(counts, CONTINUES, size - len(SPECIAL))
        tokens = (*SPECIAL, *learned)
        if len(tokens) > size:
            raise TokenizerError(
                f"size is {size}; expected at least {len(tokens)}: {len(SPECIAL)} special tokens "
                f"and the {len(learned)} characters that begin and continue the words of the text"
            )
        return cls(tokens, lowercase, strip_accents)

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.tokens)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of every token."""
        return {token: number for number, token in enumerate(self.tokens)}

    def token(self, id: int) -> str:
        """The token of an id, as it is written in the vocabulary.

        Raises ``TokenizerError`` for an id that is not in the vocabulary.
        """
        (number,) = checked_ids([id], len(self))
        return self.tokens[number]

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without ``[CLS]`` and ``[SEP]``, in time proportional to its length.

        Raises ``TokenizerError`` for half of a surrogate pair, which is no character.
        """
        ids: list[int] = []
        for _, found, _ in self._parts(text):
            ids += found
        return ids

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        """The ids of a text, and from where to where in it each stands, in characters.

        What was taken out of a word, such as an accent written as a character of its own, belongs
        to no token, unless it stands inside one.

        >>> tokenizer = WordPiece((*SPECIAL, "caf", "##e"))
        >>> tokenizer.encode_with_offsets("un Caf\u00e9")
        ([1, 5, 6], [(0, 2), (3, 6), (6, 7)])
        """
        ids: list[int] = []
        offsets: list[Span] = []
        for start, found, spans in self._parts(text):
            ids += found
            offsets += [(start + first, start + end) for first, end in spans]
        return ids, offsets

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids: words with spaces between, but none before ``. , ! ?``.

        It is not the text that was encoded: where spaces were is not known any more.

        Raises ``TokenizerError`` for an id that is not in the vocabulary.
        """
        given = checked_ids(ids, len(self))
        if not given:
            return ""
        first, *rest = given
        return self.tokens[first] + "".join(map(self._behind.__getitem__, rest))

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` needs to make the same tokenizer; the tokens as in ``vocab.txt``.

        >>> WordPiece((*SPECIAL, "a")).to_json()["tokens"]
        '[PAD]\\n[UNK]\\n[CLS]\\n[SEP]\\n[MASK]\\na'
        """
        return {
            "kind": self.KIND,
            "tokens": "\n".join(self.tokens),
            "lowercase": self.lowercase,
            "strip_accents": self.strip_accents,
            "chinese": self.chinese,
        }

    @classmethod
    def from_json(cls, values: Any) -> WordPiece:
        """The tokenizer that ``to_json`` described; ``TokenizerError`` for anything else."""
        if not isinstance(values, dict) or values.get("kind") != cls.KIND:
            raise TokenizerError(f'this is not a tokenizer of kind "{cls.KIND}"')
        if not isinstance(values.get("tokens"), str):
            raise TokenizerError('this is not a tokenizer: expected "tokens" as one string')
        settings = {name: values.get(name) for name in wordpiece_files.SETTINGS}
        for name, value in settings.items():
            if not isinstance(value, bool) and (value is not None or name != "strip_accents"):
                raise TokenizerError(f'this is not a tokenizer: expected "{name}" as true or false')
        return cls(tuple(values["tokens"].split("\n")), **settings)

    def _parts(self, text: str) -> Iterator[tuple[int, list[int], list[Span]]]:
        """The chunks and special tokens of a text: where each begins, its ids, where they stand."""
        check_text(text)
        start = 0
        for part in SPECIAL_PATTERN.split(text):
            if part in SPECIAL:
                yield start, [self.ids[part]], [(0, len(part))]
            else:
                for match in bert_text.CHUNK.finditer(part):
                    yield start + match.start(), *self._pieces(match.group())
            start += len(part)

    def _pieces(self, chunk: str) -> tuple[list[int], list[Span]]:
        """The ids of a chunk and where they stand, remembered if it is not too long."""
        kept = self._kept
        found = kept.get(chunk)
        if found is not None:
            return found
        ids: list[int] = []
        spans: list[Span] = []
        for word, places in self._words(chunk):
            start = 0
            for number, end in self._cut(word):
                ids.append(number)
                spans.append((places[start], places[end - 1] + 1))
                start = end
        if len(chunk) <= LONGEST:
            if len(kept) >= KEPT:
                kept.clear()  # simpler than to find the least used, and seldom needed
            kept[chunk] = ids, spans
        return ids, spans

    def _words(self, chunk: str) -> list[tuple[str, list[int]]]:
        """The words of a chunk, with the places of their characters."""
        strip = self.lowercase if self.strip_accents is None else self.strip_accents
        return bert_text.words(chunk, self.lowercase, strip, self.chinese)

    def _cut(self, word: str) -> list[tuple[int, int]]:
        """The ids of a word's pieces, and where in the word each ends."""
        ids, end = self.ids, len(word)
        if end > LONGEST_WORD:
            return [(self.unknown_id, end)]
        if word in ids:  # as most are
            return [(ids[word], end)]
        found: list[tuple[int, int]] = []
        start = 0
        while start < end:
            prefix = CONTINUES if start else ""
            for stop in range(min(end, start + self._longest), start, -1):
                number = ids.get(prefix + word[start:stop])
                if number is not None:
                    break
            else:
                return [(self.unknown_id, end)]
            found.append((number, stop))
            start = stop
        return found

    @cached_property
    def _longest(self) -> int:
        """The number of characters in the longest token: no piece is longer."""
        return max(map(len, self.tokens))

    @cached_property
    def _kept(self) -> dict[str, tuple[list[int], list[Span]]]:
        """The ids of chunks that came up before: most words of a text do, again and again."""
        return {}

    @cached_property
    def _behind(self) -> list[str]:
        """How decoding writes each id behind another one."""
        return [
            token.removeprefix(CONTINUES) if token.startswith(CONTINUES)
            else token if token.startswith(ATTACHED)
            else " " + token
            for token in self.tokens
        ]  # fmt: skip
