"""Tokenizers: from text to ids and back.

===================== =======================================================================
``Characters``        one id for each character of a text, nothing to learn
``ByteLevelBPE``      GPT-2's: any text in Unicode, ids of frequent strings; reads GPT-2's files,
                      and learns new vocabularies
``WordPiece``         BERT's: words, and pieces of those that are rare; reads BERT's files, and
                      learns new vocabularies
``WithSpecialTokens`` one of the first two, with the special tokens of BERT
===================== =======================================================================

All have the same face:

- ``encode(text)``: the ids, a list of ``int``; a ``ValueError`` where a character has none;
- ``decode(ids)``: the text; bytes that are no UTF-8 (a character that was cut in two) become
  U+FFFD, the replacement character;
- ``len(tokenizer)``: the number of ids, which are 0, 1, 2, ... without gaps;
- ``end_of_text``: the id of ``<|endoftext|>``, which stands between documents, or None;
- ``to_json()``: what ``from_json`` here needs to make the same tokenizer: a dictionary with
  ``"kind"`` in it, of values that JSON can hold.

The first two (``Tokenizer``) are for language models, which write on: they lose nothing, and
``decode_bytes(ids)`` gives the bytes as they are. The last two (``MaskableTokenizer``) are for
encoder-only models, which fill in what was masked or judge a whole text. These have also:

- ``pad_id``, ``unknown_id``, ``cls_id``, ``sep_id``, ``mask_id``: the ids of ``[PAD]``, ``[UNK]``,
  ``[CLS]``, ``[SEP]``, ``[MASK]``; ``special_ids``: all five, in rising order. ``encode`` gives
  neither ``[CLS]`` nor ``[SEP]``; a ``[MASK]`` that stands in the text becomes ``mask_id``;
- ``encode_with_offsets(text)``: the ids, and for each of them from where to where in the text it
  stands, in characters: ``(first, behind the last)``;
- ``token(id)``: the token as it is written in the vocabulary; ``ids``: the id of every token.

>>> tokenizer = Characters.build("to be or not to be")
>>> tokenizer.encode("not")
[3, 4, 6]
>>> from_json(tokenizer.to_json()) == tokenizer
True
>>> WithSpecialTokens(tokenizer).encode("no[MASK]")
[3, 4, 11]
"""

from __future__ import annotations

from typing import Any

from numpy_transformer.data.tokenizers.byte_level_bpe import ByteLevelBPE
from numpy_transformer.data.tokenizers.characters import Characters
from numpy_transformer.data.tokenizers.checks import TokenizerError
from numpy_transformer.data.tokenizers.special_tokens import WithSpecialTokens
from numpy_transformer.data.tokenizers.wordpiece import WordPiece

Tokenizer = Characters | ByteLevelBPE  # of language models
MaskableTokenizer = WordPiece | WithSpecialTokens  # of encoder-only models

KINDS = (Characters, ByteLevelBPE, WordPiece, WithSpecialTokens)

__all__ = [
    "ByteLevelBPE",
    "Characters",
    "MaskableTokenizer",
    "Tokenizer",
    "TokenizerError",
    "WithSpecialTokens",
    "WordPiece",
    "from_json",
]


def from_json(values: Any) -> Tokenizer | MaskableTokenizer:
    """The tokenizer that ``to_json`` described; ``TokenizerError`` for anything else.

    >>> from_json({"kind": "characters", "characters": " abc"}).decode([1, 2, 0, 3])
    'ab c'
    """
    kinds = {kind.KIND: kind for kind in KINDS}
    given = values.get("kind") if isinstance(values, dict) else None
    for name, kind in kinds.items():
        if given == name:
            return kind.from_json(values)
    found = f"kind {given!r}" if isinstance(values, dict) else type(values).__name__
    raise TokenizerError(
        f'this is not a tokenizer: expected a dictionary with "kind" {" or ".join(kinds)}, '
        f"given {found}"
    )
