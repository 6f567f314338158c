"""The five special tokens of a model that reads a whole text at once, such as BERT.

========== ===================================================================================
``[PAD]``  fills up the shorter texts of a batch
``[UNK]``  stands for what is not in the vocabulary
``[CLS]``  before a text: its output stands for the whole text
``[SEP]``  after a text, and between two
``[MASK]`` in the place of what is to be predicted
========== ===================================================================================

Source: Devlin et al. 2018, "BERT", sections 3 and 3.1.
"""

from __future__ import annotations

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

Span = tuple[int, int]  # of characters in a text: the first, and the one behind the last


class WithSpecialIds:
    """The ids of the five for a tokenizer whose ``ids`` are a dictionary, from token to id."""

    ids: dict[str, int]

    @property
    def pad_id(self) -> int:
        """The id of ``[PAD]``."""
        return self.ids[PAD]

    @property
    def unknown_id(self) -> int:
        """The id of ``[UNK]``."""
        return self.ids[UNKNOWN]

    @property
    def cls_id(self) -> int:
        """The id of ``[CLS]``."""
        return self.ids[CLS]

    @property
    def sep_id(self) -> int:
        """The id of ``[SEP]``."""
        return self.ids[SEP]

    @property
    def mask_id(self) -> int:
        """The id of ``[MASK]``."""
        return self.ids[MASK]

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of all five, in rising order."""
        return tuple(sorted(self.ids[token] for token in SPECIAL))
