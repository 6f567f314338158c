"""Tokenizers: from text to ids and back, without loss.

===================== =======================================================================
``Characters``        one id for each character of a text, nothing to learn
``ByteLevelBPE``      GPT-2's: any text in Unicode, ids of frequent strings; reads GPT-2's files,
                      and learns new vocabularies
===================== =======================================================================

Both have the same face:

- ``encode(text)``: the ids, a list of ``int``; a ``ValueError`` where a character has none;
- ``decode(ids)``: the text; bytes that are no UTF-8 (a character that was cut in two) become
  U+FFFD, the replacement character. ``decode_bytes(ids)``: the bytes as they are;
- ``len(tokenizer)``: the number of ids, which are 0, 1, 2, ... without gaps;
- ``end_of_text``: the id of ``<|endoftext|>``, which stands between documents, or None;
- ``to_json()``: what ``from_json`` here needs to make the same tokenizer: a dictionary with
  ``"kind"`` in it, of values that JSON can hold.

>>> tokenizer = Characters.build("to be or not to be")
>>> tokenizer.encode("not")
[3, 4, 6]
>>> from_json(tokenizer.to_json()) == tokenizer
True
"""

from __future__ import annotations

from typing import Any

from numpy_transformer.data.tokenizers.byte_level_bpe import ByteLevelBPE
from numpy_transformer.data.tokenizers.characters import Characters
from numpy_transformer.data.tokenizers.checks import TokenizerError

Tokenizer = Characters | ByteLevelBPE

__all__ = ["ByteLevelBPE", "Characters", "Tokenizer", "TokenizerError", "from_json"]


def from_json(values: Any) -> Tokenizer:
    """The tokenizer that ``to_json`` described; ``TokenizerError`` for anything else.

    >>> from_json({"kind": "characters", "characters": " abc"}).decode([1, 2, 0, 3])
    'ab c'
    """
    kinds = {kind.KIND: kind for kind in (Characters, ByteLevelBPE)}
    given = values.get("kind") if isinstance(values, dict) else None
    for name, kind in kinds.items():
        if given == name:
            return kind.from_json(values)
    found = f"kind {given!r}" if isinstance(values, dict) else type(values).__name__
    raise TokenizerError(
        f'this is not a tokenizer: expected a dictionary with "kind" {" or ".join(kinds)}, '
        f"given {found}"
    )
