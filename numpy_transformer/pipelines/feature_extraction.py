"""Feature extraction: texts as vectors, one for each token or one for a whole text.

Names, arguments and results are those of Hugging Face's pipeline of the same name. ``pooling`` and
``normalize``, with which a text becomes one vector, are as in its transformers.js.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numpy_transformer.models import text_encoder_inference
from numpy_transformer.ops import pooling as pooled
from numpy_transformer.pipelines import arguments, encoder_inputs
from numpy_transformer.pipelines.encoder_model import EncoderModel

POOLING = {"none": None, "mean": "mean", "cls": "first"}  # and what ops/pooling.py calls it
SHORTEST = 1e-12  # a vector shorter than this is not made longer than 1 when it is normalized


class FeatureExtraction:
    """Makes vectors of texts; ``pipeline("feature-extraction")`` makes one."""

    def __init__(self, model: EncoderModel) -> None:
        """Use this model, an encoder, and its tokenizer."""
        self.model = model

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        pooling: str = "none",
        normalize: bool = False,
        truncation: bool = False,
        return_tensors: bool = False,
    ) -> np.ndarray | list:
        """The vectors of a text, or of each of several.

        ``pooling`` says what a text becomes:

        - ``"none"``: a vector for each token, ``[CLS]`` and ``[SEP]`` included: nested lists of the
          shape (1, T, D), or with ``return_tensors=True`` an array; for several texts a list of
          these;
        - ``"mean"`` or ``"cls"``: one vector, the mean of all tokens' or that of ``[CLS]``. The
          result is an array ``(B, D)``, with B = 1 for a text that is not in a list.

        ``normalize=True`` makes every vector 1 long, so that the product of two is the cosine of
        the angle between them. ``truncation=True`` cuts off the end of what is longer than the
        model reads.

        Raises ``ValueError`` for another ``pooling``, and without ``truncation`` for what is too
        long; ``TypeError`` for what is no text.

        >>> from numpy_transformer.data.tokenizers import Characters, WithSpecialTokens
        >>> from numpy_transformer.models import text_encoder
        >>> tokenizer = WithSpecialTokens(Characters("acht"))
        >>> config = text_encoder.Config(vocab=9, N=1, d_model=8, d_ff=8, h=2, pad_id=4)
        >>> params = text_encoder.init(np.random.default_rng(0), config)
        >>> features = FeatureExtraction(EncoderModel("text_encoder", params, config, tokenizer))
        >>> features("cat", return_tensors=True).shape
        (1, 5, 8)
        >>> vectors = features(["cat", "chat"], pooling="mean", normalize=True)
        >>> (vectors @ vectors.T).round(4).diagonal().tolist()
        [1.0, 1.0]
        """
        arguments.check_choice("pooling", pooling, tuple(POOLING))
        texts = arguments.texts("inputs", inputs)
        rows = encoder_inputs.read(self.model, [(text,) for text in texts], truncation)
        params, config = self.model.params, self.model.config
        of_texts = np.zeros((len(rows), config.d_model), config.dtype)  # (B, D)
        of_tokens: list = [None] * len(rows)
        for batch in encoder_inputs.batches(self.model, rows, encoder_inputs.BATCH_TOKENS):
            h = text_encoder_inference.encode(batch.ids, batch.segments, params, config)
            if pooling == "none":
                for row, vectors in zip(batch.rows, _normalized(h) if normalize else h):
                    vectors = vectors[None, : len(rows[row].ids)]  # (1, T, D), without padding
                    of_tokens[row] = vectors.copy() if return_tensors else vectors.tolist()
            else:
                mask = batch.ids != config.pad_id  # (B, T)
                of_texts[batch.rows], _ = pooled.forward(h, mask, POOLING[pooling])
        if pooling != "none":
            return _normalized(of_texts) if normalize else of_texts
        return of_tokens[0] if isinstance(inputs, str) else of_tokens


def _normalized(x: np.ndarray) -> np.ndarray:
    """Vectors along the last axis, each 1 long."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), SHORTEST)
