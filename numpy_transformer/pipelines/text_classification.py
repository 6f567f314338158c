"""Classification of texts, or of pairs of texts: which of the classes, and how likely.

Names, arguments and results are those of Hugging Face's pipeline of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_transformer.models import classifier, text_encoder_inference
from numpy_transformer.ops import softmax
from numpy_transformer.pipelines import arguments, encoder_inputs
from numpy_transformer.pipelines.encoder_model import EncoderModel

BEST = "best"
FUNCTIONS = ("softmax", "sigmoid", "none")

Input = str | Mapping[str, str]
Answer = dict[str, Any]  # label, score


class TextClassification:
    """Classifies texts; ``pipeline("text-classification")`` makes one."""

    def __init__(self, model: EncoderModel) -> None:
        """Use this model, a classifier, and its tokenizer."""
        self.model = model

    def __call__(
        self,
        inputs: Input | Sequence[Input],
        *,
        top_k: int | str | None = BEST,
        function_to_apply: str = "softmax",
        truncation: bool = False,
    ) -> Answer | list[Answer] | list[list[Answer]]:
        """Classify a text, or each of several.

        A pair of texts is given as ``{"text": ..., "text_pair": ...}``. An answer is a dictionary
        of a ``label`` and its ``score``. What is returned is what Hugging Face returns::

            top_k             a text          a pair         a list
            "best" (default)  [best]          best           [best, best, ...]
            a number          [best, ...]     [best, ...]    [[best, ...], [best, ...], ...]
            None              all, best first; otherwise as for a number

        ``function_to_apply`` makes scores of logits: ``"softmax"``, which gives probabilities that
        sum to 1; ``"sigmoid"``, for each class by itself; or ``"none"``. ``truncation=True`` cuts
        off the end of what is longer than the model reads.

        Raises ``ValueError`` for settings that there are not, and without ``truncation`` for what
        is too long; ``TypeError`` for what is neither a text nor a pair.

        >>> from numpy_transformer.data.tokenizers import Characters, WithSpecialTokens
        >>> tokenizer = WithSpecialTokens(Characters("acht"))
        >>> config = classifier.Config(vocab=9, N=1, d_model=8, d_ff=8, h=2, pad_id=4)
        >>> params = classifier.init(np.random.default_rng(0), config)
        >>> params["output"]["bias"][:] = 0, 3
        >>> model = EncoderModel("classifier", params, config, tokenizer, ("dog", "cat"))
        >>> classify = TextClassification(model)
        >>> [answer] = classify("cat")
        >>> answer["label"], round(answer["score"], 2)
        ('cat', 0.95)
        >>> [answer["label"] for answer in classify("cat", top_k=None)]
        ['cat', 'dog']
        """
        if top_k not in (BEST, None):
            arguments.check_whole("top_k", top_k, least=1)
        arguments.check_choice("function_to_apply", function_to_apply, FUNCTIONS)
        several = isinstance(inputs, (list, tuple))
        given = [_texts(item) for item in (inputs if several else [inputs])]
        answers = self._ranked(given, function_to_apply, truncation)
        if top_k == BEST:
            best = [ranked[0] for ranked in answers]
            return best if several or isinstance(inputs, str) else best[0]
        answers = [ranked[:top_k] for ranked in answers]
        return answers if several else answers[0]

    def _ranked(
        self, texts: list[tuple[str, ...]], function: str, truncation: bool
    ) -> list[list[Answer]]:
        """For each input all classes with their scores, best first."""
        rows = encoder_inputs.read(self.model, texts, truncation)
        params, config = self.model.params, self.model.config
        answers: list[Any] = [None] * len(rows)
        for batch in encoder_inputs.batches(self.model, rows, encoder_inputs.BATCH_TOKENS):
            h = text_encoder_inference.encode(batch.ids, batch.segments, params, config)
            logits, _ = classifier.head(h, batch.ids, params, config)  # (B, C)
            for row, scores in zip(batch.rows, _scores(logits, function)):
                order = np.argsort(-scores, kind="stable")
                answers[row] = [
                    {"label": self.model.labels[i], "score": float(scores[i])} for i in order
                ]
        return answers


def _scores(logits: np.ndarray, function: str) -> np.ndarray:
    """Scores ``(B, C)`` of logits."""
    if function == "softmax":
        return softmax.forward(logits)[0]
    if function == "sigmoid":
        return np.exp(-np.logaddexp(0, -logits))  # 1 / (1 + exp(-x)), which may overflow
    return logits


def _texts(given: Any) -> tuple[str, ...]:
    """The text, or the two texts, of one input."""
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Mapping) and set(given) in ({"text"}, {"text", "text_pair"}):
        texts = (given["text"], *(given[name] for name in ("text_pair",) if name in given))
        if all(isinstance(text, str) for text in texts):
            return texts
    raise TypeError(
        f"given {given!r} to classify, expected a text, or a pair of texts as "
        '{"text": ..., "text_pair": ...}, or a list of these'
    )
