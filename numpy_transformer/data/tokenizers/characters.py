"""One id for each character: the simplest tokenizer, and all that a small text needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from numpy_transformer.data.tokenizers.checks import TokenizerError, check_text, checked_ids


@dataclass(frozen=True)
class Characters:
    """The characters that are known, in the order of their ids; there are no special tokens.

    A character is a code point: an e with an accent may be one or two, as it stands in the text.

    >>> tokenizer = Characters.build("hello")
    >>> tokenizer.characters, len(tokenizer)
    ('ehlo', 4)
    >>> tokenizer.encode("hole")
    [1, 3, 2, 0]
    >>> tokenizer.decode([1, 3, 2, 0])
    'hole'
    """

    KIND: ClassVar[str] = "characters"
    end_of_text: ClassVar[None] = None

    characters: str

    def __post_init__(self) -> None:
        """Check that there are characters, and none twice."""
        if not self.characters:
            raise TokenizerError("there are no characters to make a vocabulary of: empty text")
        check_text(self.characters)
        if len(self.ids) != len(self.characters):
            raise TokenizerError("a character stands twice in the vocabulary")

    @classmethod
    def build(cls, text: str) -> Characters:
        """The vocabulary of all the characters of ``text``, sorted by code point.

        Raises ``TokenizerError`` for an empty text, and for one that has no UTF-8.
        """
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.characters)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of every character."""
        return {character: i for i, character in enumerate(self.characters)}

    def encode(self, text: str) -> list[int]:
        """The id of each character of ``text``; ``TokenizerError`` at the first unknown one.

        >>> Characters("abc").encode("cat")
        Traceback (most recent call last):
            ...
        numpy_transformer.data.tokenizers.checks.TokenizerError: the character 't' (U+0074) at \
place 2 is none of the 3 that this tokenizer knows ('a', 'b', 'c'): take it out of the text, \
build the tokenizer from a text that has it, or use ByteLevelBPE, which knows every text
        """
        ids = self.ids
        try:
            return [ids[character] for character in text]
        except KeyError as error:
            (unknown,) = error.args
        known = ", ".join(map(repr, self.characters[:5])) + ", ..." * (len(self) > 5)
        raise TokenizerError(
            f"the character {unknown!r} (U+{ord(unknown):04X}) at place "
            f"{text.index(unknown)} is none of the {len(self)} that this tokenizer knows "
            f"({known}): take it out of the text, build the tokenizer from a text that has it, "
            "or use ByteLevelBPE, which knows every text"
        )

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; ``TokenizerError`` for an id that is not in the vocabulary."""
        return "".join(self.characters[i] for i in checked_ids(ids, len(self)))

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The text of some ids, in UTF-8."""
        return self.decode(ids).encode("utf-8")

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` needs to make the same tokenizer.

        >>> Characters.build("to be").to_json()
        {'kind': 'characters', 'characters': ' beot'}
        """
        return {"kind": self.KIND, "characters": self.characters}

    @classmethod
    def from_json(cls, values: Any) -> Characters:
        """The tokenizer that ``to_json`` described; ``TokenizerError`` for anything else."""
        if not isinstance(values, dict) or values.get("kind") != cls.KIND:
            raise TokenizerError(f'this is not a tokenizer of kind "{cls.KIND}"')
        if not isinstance(values.get("characters"), str):
            raise TokenizerError('this is not a tokenizer: expected "characters" as one string')
        return cls(values["characters"])
