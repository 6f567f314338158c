"""GPT-2's tokenizer: byte pair encoding over bytes, which knows every text.

A text becomes ids in three steps:

1. special tokens such as ``<|endoftext|>`` that stand in it are taken out: one id each;
2. what is between them is cut into pieces, words mostly, with the space before them (``pattern``);
3. each piece starts as its bytes in UTF-8, and bytes are merged with their neighbours in the order
   in which the merges were learned (``merging``).

As all 256 bytes are tokens, nothing is unknown, and the ids give back the text byte for byte.

Ids in GPT-2's vocabulary: 0 to 255 the bytes in the order of ``byte_characters``, 256 to 50255 the
results of its 50,000 merges in their order, 50256 ``<|endoftext|>``.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from numpy_transformer.data.tokenizers import byte_characters, files, learning, merging
from numpy_transformer.data.tokenizers.checks import TokenizerError, check_text, checked_ids
from numpy_transformer.data.tokenizers.files import END_OF_TEXT
from numpy_transformer.data.tokenizers.pattern import pieces

SPACE = byte_characters.CHARACTERS[ord(" ")]

KEPT = 2**16  # pieces whose ids are remembered
LONGEST = 32  # characters in a piece that is remembered


@dataclass(frozen=True)
class ByteLevelBPE:
    """A vocabulary of bytes, results of merges, and special tokens, in any order of ids.

    ``vocabulary`` has the id of every token, ``merges`` the pairs of tokens that were learned,
    first to last. Both are written as in GPT-2's files, special tokens as they are. What is
    neither a byte nor the result of a merge is a special token.

    Raises ``TokenizerError`` when the two do not fit together.

    >>> tokenizer = ByteLevelBPE.train("low lower lowest low low", vocab_size=261)
    >>> tokenizer.merges
    (('l', 'o'), ('lo', 'w'), ('\u0120', 'low'), ('\u0120low', 'e'))
    >>> tokenizer.encode("lowest<|endoftext|> lower")
    [257, 68, 82, 83, 260, 259, 81]
    >>> tokenizer.decode([257, 68, 82, 83, 260, 259, 81])
    'lowest<|endoftext|> lower'
    """

    KIND: ClassVar[str] = "byte-level-bpe"

    vocabulary: dict[str, int] = field(repr=False)
    merges: tuple[tuple[str, str], ...] = field(repr=False)

    def __post_init__(self) -> None:
        """Check that ids have no gaps, and that every merge makes a token out of known ones."""
        size = len(self.vocabulary)
        tokens: list[str | None] = [None] * size  # by id
        for token, number in self.vocabulary.items():
            if not 0 <= number < size:
                raise TokenizerError(
                    f"token {token!r} has the id {number}; expected 0 to {size - 1}, as there are "
                    f"{size} tokens"
                )
            if tokens[number] is not None:
                raise TokenizerError(f"{tokens[number]!r} and {token!r} have the same id {number}")
            tokens[number] = token
        known = set(byte_characters.CHARACTERS.values())
        missing = sorted(known - self.vocabulary.keys())
        if missing:
            raise TokenizerError(
                f"the vocabulary lacks {len(missing)} of the 256 bytes, {missing[0]!r} among them: "
                "this is no byte-level vocabulary, or not all of it"
            )
        for number, pair in enumerate(self.merges, 1):
            unknown = [token for token in pair if token not in known]
            result = "".join(pair)
            if unknown:
                raise TokenizerError(
                    f"merge {number} puts together {' and '.join(map(repr, pair))}, but "
                    f"{unknown[0]!r} is no byte, and no result of an earlier merge"
                )
            if result not in self.vocabulary:
                raise TokenizerError(f"merge {number} makes {result!r}, which has no id")
            known.add(result)
        if len(self._ranks) != len(self.merges):
            raise TokenizerError("a merge stands twice among the merges")
        for token in self.special:
            if not token:
                raise TokenizerError("the empty string cannot be a token")
            if SPACE in token:
                raise TokenizerError(
                    f"no merge makes {token!r}, which is written as an ordinary token, with a "
                    f"{SPACE} for its space: merges are missing"
                )
            check_text(token)

    @classmethod
    def read(cls, folder: str | Path) -> ByteLevelBPE:
        """The tokenizer in a folder with GPT-2's files or Hugging Face's, see ``files``.

        Whatever Hugging Face would put before or after the text's own ids (a model's
        ``post_processor``) is not added here.

        Raises ``TokenizerError``, naming the file, for what is missing, damaged, inconsistent or
        no tokenizer of this kind.
        """
        vocabulary, merges = files.read(Path(folder))
        try:
            return cls(vocabulary, merges)
        except TokenizerError as error:
            raise TokenizerError(f"the tokenizer in {folder} is inconsistent: {error}") from None

    def write(self, folder: str | Path) -> None:
        """Put ``vocab.json`` and ``merges.txt`` into a folder, as Hugging Face does.

        Its ``GPT2Tokenizer`` reads them and gives the same ids. See ``files.write`` for special
        tokens and for the one refusal.
        """
        files.write(Path(folder), self.vocabulary, self.merges, list(self.special))

    @classmethod
    def train(
        cls, text: str, vocab_size: int, special: Sequence[str] = (END_OF_TEXT,)
    ) -> ByteLevelBPE:
        """Learn a vocabulary of ``vocab_size`` tokens from a text, the special ones included.

        The ids are in GPT-2's order: bytes, results of merges, special tokens. Special tokens that
        stand in the text are taken out before. The same text gives the same vocabulary; see
        ``learning.learn`` for pairs that are equally frequent. The vocabulary is smaller than asked
        for when the text is used up: when no piece has two tokens left that could be merged.

        Raises ``TokenizerError`` when there is no room for the bytes and the special tokens.
        """
        least = len(byte_characters.CHARACTERS) + len(special)
        if vocab_size < least:
            raise TokenizerError(
                f"vocab_size is {vocab_size}; expected at least {least}: 256 bytes and "
                f"{len(special)} special tokens"
            )
        empty = cls(numbered((), special), ())
        check_text(text)
        counts = Counter(
            piece for part, number in empty._parts(text) if number is None for piece in pieces(part)
        )
        merges = tuple(learning.learn(counts, vocab_size - len(special)))
        return cls(numbered(merges, special), merges)

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.vocabulary)

    @cached_property
    def special(self) -> dict[str, int]:
        """The special tokens and their ids, by id."""
        results = {left + right for left, right in self.merges}
        ordinary = results.union(byte_characters.CHARACTERS.values())
        found = [(number, t) for t, number in self.vocabulary.items() if t not in ordinary]
        return {token: number for number, token in sorted(found)}

    @property
    def end_of_text(self) -> int | None:
        """The id of ``<|endoftext|>``, if it is one of the special tokens."""
        return self.special.get(END_OF_TEXT)

    def encode(self, text: str, special: bool = True) -> list[int]:
        """The ids of a text, in time proportional to its length but for very long words.

        A special token in the text becomes its id. With ``special=False`` it is text like any
        other: for texts from people who should not be able to end a document.

        Raises ``TokenizerError`` for half of a surrogate pair, which has no UTF-8.

        >>> tokenizer = ByteLevelBPE.train("", vocab_size=257)
        >>> tokenizer.encode("a<|endoftext|>")
        [64, 256]
        >>> len(tokenizer.encode("a<|endoftext|>", special=False))
        14
        """
        check_text(text)
        ids: list[int] = []
        kept = self._kept
        for part, number in self._parts(text) if special else [(text, None)]:
            if number is not None:
                ids.append(number)
                continue
            for piece in pieces(part):
                found = kept.get(piece)
                ids += self._merged(piece) if found is None else found
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD, the replacement character.

        Raises ``TokenizerError`` for an id that is not in the vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of some ids; ``TokenizerError`` for an id that is not in the vocabulary."""
        return b"".join(map(self._bytes.__getitem__, checked_ids(ids, len(self))))

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` needs to make the same tokenizer.

        The merges are one string, as in ``merges.txt``. ``ids``, of bytes, results of merges and
        special tokens, is there only when it is not 0, 1, 2, ...

        >>> ByteLevelBPE.train("ababa", vocab_size=259).to_json()
        {'kind': 'byte-level-bpe', 'merges': 'a b\\nab a', 'special': ['<|endoftext|>']}
        """
        special = list(self.special)
        ids = [self.vocabulary[token] for token in numbered(self.merges, special)]
        values = {"kind": self.KIND, "merges": files.to_lines(self.merges), "special": special}
        return values if ids == list(range(len(ids))) else values | {"ids": ids}

    @classmethod
    def from_json(cls, values: Any) -> ByteLevelBPE:
        """The tokenizer that ``to_json`` described; ``TokenizerError`` for anything else."""
        if not isinstance(values, dict) or values.get("kind") != cls.KIND:
            raise TokenizerError(f'this is not a tokenizer of kind "{cls.KIND}"')
        lines, special, ids = (values.get(name) for name in ("merges", "special", "ids"))
        if not isinstance(lines, str):
            raise TokenizerError('this is not a tokenizer: expected "merges" as one string')
        if not isinstance(special, list) or not all(isinstance(token, str) for token in special):
            raise TokenizerError('this is not a tokenizer: expected "special" as a list of strings')
        merges = files.from_lines(lines)
        vocabulary = numbered(merges, special)
        if ids is not None:
            if (
                not isinstance(ids, list)
                or len(ids) != len(vocabulary)
                or not all(type(number) is int for number in ids)
            ):
                raise TokenizerError(
                    f'this is not a tokenizer: expected {len(vocabulary)} whole numbers as "ids"'
                )
            vocabulary = dict(zip(vocabulary, ids))
        return cls(vocabulary, merges)

    def _parts(self, text: str) -> Iterator[tuple[str, int | None]]:
        """The text in parts: special tokens with their ids, and what is between them with None."""
        if not self.special:
            yield text, None
            return
        # Where one special token is the beginning of another, the longer one is meant.
        longest_first = sorted(self.special, key=len, reverse=True)
        # In brackets, so that `split` gives what it splits at as well: every second part.
        for part in re.split(f"({'|'.join(map(re.escape, longest_first))})", text):
            yield part, self.special.get(part)

    def _merged(self, piece: str) -> list[int]:
        """The ids of a piece, remembered for the next time if it is not too long."""
        symbols = [self._byte_ids[byte] for byte in piece.encode("utf-8")]
        ids = merging.merge(symbols, self._ranks, self._results)
        if len(piece) <= LONGEST:
            if len(self._kept) >= KEPT:
                self._kept.clear()  # simpler than to find the least used, and seldom needed
            self._kept[piece] = ids
        return ids

    @cached_property
    def _kept(self) -> dict[str, list[int]]:
        """The ids of pieces that came up before: most words of a text do, again and again."""
        return {}

    @cached_property
    def _ranks(self) -> dict[merging.Pair, int]:
        """The rank of every pair of ids that can be merged."""
        ids = self.vocabulary
        return {(ids[left], ids[right]): i for i, (left, right) in enumerate(self.merges)}

    @cached_property
    def _results(self) -> list[int]:
        """The id that the merge of each rank makes."""
        return [self.vocabulary[left + right] for left, right in self.merges]

    @cached_property
    def _byte_ids(self) -> list[int]:
        """The id of each byte."""
        return [self.vocabulary[byte_characters.CHARACTERS[byte]] for byte in range(256)]

    @cached_property
    def _bytes(self) -> list[bytes]:
        """The bytes of each id."""
        tokens = sorted(self.vocabulary, key=self.vocabulary.__getitem__)
        return [
            token.encode("utf-8") if token in self.special else byte_characters.to_bytes(token)
            for token in tokens
        ]


def numbered(merges: Iterable[tuple[str, str]], special: Sequence[str]) -> dict[str, int]:
    """The ids of all tokens in GPT-2's order: bytes, results of merges, special tokens.

    A merge whose result is a token already adds none.

    >>> vocabulary = numbered([("a", "b")], ["<|endoftext|>"])
    >>> vocabulary["!"], vocabulary["ab"], vocabulary["<|endoftext|>"]
    (0, 256, 257)
    """
    results = [left + right for left, right in merges]
    ordinary = dict.fromkeys([*byte_characters.CHARACTERS.values(), *results])
    for i, token in enumerate(special):
        if token in ordinary or token in special[:i]:
            raise TokenizerError(
                f"{token!r} cannot be a special token: "
                + ("it stands twice" if token in special[:i] else "it is an ordinary one already")
            )
    return {token: i for i, token in enumerate([*ordinary, *special])}
