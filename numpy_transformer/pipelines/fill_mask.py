"""Filling in masks: a masked language model says what a hidden token of a text may be.

Names, arguments and results are those of Hugging Face's pipeline of the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_transformer.data.tokenizers.special_names import MASK
from numpy_transformer.models import masked_lm, text_encoder_inference
from numpy_transformer.ops import softmax
from numpy_transformer.pipelines import arguments, encoder_inputs
from numpy_transformer.pipelines.encoder_model import EncoderModel

# In a batch. Fewer than elsewhere, as each of them may be a mask, and have a row of logits.
BATCH_TOKENS = 1024

Answer = dict[str, Any]  # score, token, token_str, sequence


class FillMask:
    """Fills in masks; ``pipeline("fill-mask")`` makes one."""

    mask_token = MASK  # what to write for a hidden token

    def __init__(self, model: EncoderModel) -> None:
        """Use this model, a masked language model, and its tokenizer."""
        self.model = model

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
    ) -> list[Answer] | list[list[Answer]] | list[list[list[Answer]]]:
        """Say what ``[MASK]`` may stand for in a text, or in each of several.

        Returns the ``top_k`` likeliest tokens, best first, each as a dictionary:

        - ``score``: its probability, a ``float``;
        - ``token``: its id, an ``int``;
        - ``token_str``: the token as a text;
        - ``sequence``: the text with the token in the place of the mask, as the tokenizer writes
          it, without special tokens.

        A text with several masks has a list for each of them, from left to right. Each mask is
        filled by itself, as if the others stayed, and ``sequence`` shows these, and ``[CLS]`` and
        ``[SEP]``. Several texts have a list of all that; a list of one text has what the text has.

        ``targets`` are the only tokens that are looked at, and their probabilities are still those
        among all tokens. A target is a token as the vocabulary has it, or a text that is one token.

        Raises ``ValueError`` for a text without a mask or longer than the model reads, and for
        targets that are not one token (Hugging Face takes the first of several, with a warning);
        ``TypeError`` for what is no text.

        >>> from numpy_transformer.data.tokenizers import Characters, WithSpecialTokens
        >>> from numpy_transformer.models import text_encoder
        >>> tokenizer = WithSpecialTokens(Characters("acht"))
        >>> config = text_encoder.preset("nano", vocab=len(tokenizer), pad_id=tokenizer.pad_id)
        >>> params = masked_lm.init(np.random.default_rng(0), config)
        >>> fill = FillMask(EncoderModel("masked_lm", params, config, tokenizer))
        >>> found = fill("c[MASK]t", targets=["a", "h"])
        >>> sorted(answer["sequence"] for answer in found)
        ['cat', 'cht']
        >>> list(found[0])
        ['score', 'token', 'token_str', 'sequence']
        """
        arguments.check_whole("top_k", top_k, least=1)
        texts = arguments.texts("inputs", inputs)
        tokens = None if targets is None else self._target_ids(targets)
        rows = encoder_inputs.read(self.model, [(text,) for text in texts])
        for text, row in zip(texts, rows):
            if self.model.tokenizer.mask_id not in row.ids:
                raise ValueError(
                    f"there is no {MASK} in {encoder_inputs.shown([text])}: write it where a token "
                    "is to be filled in"
                )
        answers: list[Any] = [None] * len(rows)
        for batch in encoder_inputs.batches(self.model, rows, BATCH_TOKENS):
            for row, scores in zip(batch.rows, self._scores(batch)):
                answers[row] = self._answers(rows[row].ids, scores, tokens, top_k)
        return answers[0] if len(answers) == 1 else answers

    def _scores(self, batch: encoder_inputs.Batch) -> list[np.ndarray]:
        """For each text of a batch the probabilities of all tokens at its masks, ``(masks, V)``."""
        chosen = batch.ids == self.model.tokenizer.mask_id  # (B, T)
        params, config = self.model.params, self.model.config
        h = text_encoder_inference.encode(batch.ids, batch.segments, params, config)
        logits, _ = masked_lm.head(h[chosen], params, config)  # (M, V)
        probabilities, _ = softmax.forward(logits)  # (M, V)
        ends = chosen.sum(axis=1).cumsum()
        return np.split(probabilities, ends[:-1])

    def _answers(
        self, ids: list[int], scores: np.ndarray, tokens: np.ndarray | None, top_k: int
    ) -> list[Answer] | list[list[Answer]]:
        """What one text gets: the best tokens for its mask, or for each of its masks."""
        tokenizer = self.model.tokenizer
        places = [place for place, token in enumerate(ids) if token == tokenizer.mask_id]
        left_out = {tokenizer.pad_id} if len(places) > 1 else set(tokenizer.special_ids)
        found = []
        for place, row in zip(places, scores):
            considered = np.arange(len(row)) if tokens is None else tokens
            best = considered[np.argsort(-row[considered], kind="stable")[:top_k]]
            answers = []
            for token in best.tolist():
                filled = [*ids[:place], token, *ids[place + 1 :]]
                answers.append(
                    {
                        "score": float(row[token]),
                        "token": token,
                        "token_str": tokenizer.decode([token]),
                        "sequence": tokenizer.decode(i for i in filled if i not in left_out),
                    }
                )
            found.append(answers)
        return found[0] if len(found) == 1 else found

    def _target_ids(self, targets: str | Sequence[str]) -> np.ndarray:
        """The ids of the targets, each once."""
        words = arguments.texts("targets", targets)
        if not words:
            raise ValueError("targets is empty, expected at least one; or leave it out")
        return np.unique([self._target_id(word) for word in words])

    def _target_id(self, word: str) -> int:
        """The id of a target: a token as in the vocabulary, or else a text that is one token."""
        tokenizer = self.model.tokenizer
        if word in tokenizer.ids:
            return tokenizer.ids[word]
        found = tokenizer.encode(word)
        if len(found) != 1 or found[0] == tokenizer.unknown_id:
            parts = " ".join(map(tokenizer.token, found)) or "nothing"
            raise ValueError(
                f"the target {word!r} is no token of this model, which reads it as {parts}; "
                "expected targets that are one token each"
            )
        return found[0]
