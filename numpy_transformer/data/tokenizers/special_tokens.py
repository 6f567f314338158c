"""Special tokens for the tokenizers that have none, so that they serve a masked language model too.

The tokens that were there keep their ids, and the five special ones get those behind them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any, ClassVar

from numpy_transformer.data.tokenizers.byte_level_bpe import ByteLevelBPE
from numpy_transformer.data.tokenizers.characters import Characters
from numpy_transformer.data.tokenizers.checks import TokenizerError, check_text, checked_ids
from numpy_transformer.data.tokenizers.special_names import MASK, SPECIAL, Span, WithSpecialIds


@dataclass(frozen=True)
class WithSpecialTokens(WithSpecialIds):
    """A tokenizer with ``[PAD] [UNK] [CLS] [SEP] [MASK]`` behind its own tokens, in this order.

    Of the five only ``[MASK]`` is recognised in a text, where a person writes it to have it
    predicted. All else is text like any other, the special tokens of a ``ByteLevelBPE`` included.
    With ``Characters``, a character that has no id becomes ``[UNK]``.

    Raises ``TokenizerError`` when one of the five is a token of the tokenizer's own.

    >>> tokenizer = WithSpecialTokens(Characters("abc"))
    >>> tokenizer.encode("cab[MASK]e"), tokenizer.decode([5, 2, 0, 7, 6])
    ([2, 0, 1, 7, 4], '[CLS]ca[MASK][SEP]')
    >>> tokenizer.pad_id, tokenizer.special_ids, len(tokenizer)
    (3, (3, 4, 5, 6, 7), 8)
    """

    KIND: ClassVar[str] = "special_tokens"
    end_of_text: ClassVar[None] = None

    tokenizer: Characters | ByteLevelBPE

    def __post_init__(self) -> None:
        """Check that there is one id for each token."""
        if not isinstance(self.tokenizer, Characters | ByteLevelBPE):
            raise TokenizerError(
                f"given a {type(self.tokenizer).__name__}; expected Characters or a ByteLevelBPE: "
                "a WordPiece has its special tokens"
            )
        for token in SPECIAL:
            if token in self._own:
                raise TokenizerError(
                    f"the tokenizer has a token {token!r} already, with the id {self._own[token]}: "
                    "train one from a text in which it does not stand"
                )

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.tokenizer) + len(SPECIAL)

    @property
    def _own(self) -> dict[str, int]:
        """The ids of the tokenizer's own tokens."""
        wrapped = self.tokenizer
        return wrapped.ids if isinstance(wrapped, Characters) else wrapped.vocabulary

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of every token; those of a ``ByteLevelBPE`` as they are written in its files."""
        return self._own | {token: len(self._own) + i for i, token in enumerate(SPECIAL)}

    def token(self, id: int) -> str:
        """The token of an id, as it is written in ``ids``.

        Raises ``TokenizerError`` for an id that is not in the vocabulary.
        """
        (number,) = checked_ids([id], len(self))
        return self._tokens[number]

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without ``[CLS]`` and ``[SEP]``.

        Raises ``TokenizerError`` for half of a surrogate pair, which is no character.
        """
        return [number for _, ids in self._parts(text) for number in ids]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        """The ids of a text, and from where to where in it each stands, in characters.

        A token that is a part of a character, as there are in a ``ByteLevelBPE``, stands where the
        character does.

        >>> tokenizer = WithSpecialTokens(ByteLevelBPE.train("", vocab_size=256, special=()))
        >>> tokenizer.encode_with_offsets("[MASK]\u00e9!")
        ([260, 127, 102, 0], [(0, 6), (6, 7), (6, 7), (7, 8)])
        """
        ids: list[int] = []
        offsets: list[Span] = []
        start = 0
        for part, found in self._parts(text):
            ids += found
            if part == MASK:
                offsets.append((start, start + len(part)))
            elif isinstance(self.tokenizer, Characters):
                offsets += [(place, place + 1) for place in range(start, start + len(part))]
            else:
                # The character that each byte of the part belongs to.
                places = [i for i, c in enumerate(part, start) for _ in c.encode("utf-8")]
                ends = list(accumulate(self._lengths[number] for number in found))
                starts = [0, *ends[:-1]]
                offsets += [(places[s], places[e - 1] + 1) for s, e in zip(starts, ends)]
            start += len(part)
        return ids, offsets

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, special tokens by their names.

        Raises ``TokenizerError`` for an id that is not in the vocabulary.
        """
        parts = []
        for special, run in groupby(checked_ids(ids, len(self)), self.special_ids.__contains__):
            parts += map(self._tokens.__getitem__, run) if special else [self.tokenizer.decode(run)]
        return "".join(parts)

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` needs to make the same tokenizer.

        >>> WithSpecialTokens(Characters("abc")).to_json()
        {'kind': 'special_tokens', 'tokenizer': {'kind': 'characters', 'characters': 'abc'}}
        """
        return {"kind": self.KIND, "tokenizer": self.tokenizer.to_json()}

    @classmethod
    def from_json(cls, values: Any) -> WithSpecialTokens:
        """The tokenizer that ``to_json`` described; ``TokenizerError`` for anything else."""
        if not isinstance(values, dict) or values.get("kind") != cls.KIND:
            raise TokenizerError(f'this is not a tokenizer of kind "{cls.KIND}"')
        wrapped = values.get("tokenizer")
        given = wrapped.get("kind") if isinstance(wrapped, dict) else None
        for kind in (Characters, ByteLevelBPE):
            if given == kind.KIND:
                return cls(kind.from_json(wrapped))
        raise TokenizerError(
            'this is not a tokenizer: expected "tokenizer" of kind '
            f"{Characters.KIND} or {ByteLevelBPE.KIND}, given {given!r}"
        )

    def _parts(self, text: str) -> Iterator[tuple[str, list[int]]]:
        """The text in parts, each ``[MASK]`` or what is between, and their ids."""
        check_text(text)
        for part in re.split(f"({re.escape(MASK)})", text):
            if part == MASK:
                yield part, [self.mask_id]
            elif isinstance(self.tokenizer, Characters):
                known = self.tokenizer.ids
                unknown = self.unknown_id
                yield part, [known.get(character, unknown) for character in part]
            else:
                yield part, self.tokenizer.encode(part, special=False)

    @cached_property
    def _tokens(self) -> list[str]:
        """The tokens in the order of their ids."""
        return sorted(self.ids, key=self.ids.__getitem__)

    @cached_property
    def _lengths(self) -> list[int]:
        """The number of bytes of each of the tokenizer's own tokens."""
        return [len(self.tokenizer.decode_bytes([i])) for i in range(len(self.tokenizer))]
