"""Text-to-text generation: an encoder-decoder answers a text, translates it for example.

Names, arguments and results are those of Hugging Face's pipeline of the same name (which
transformers has up to version 4).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from numpy_transformer.pipelines import arguments
from numpy_transformer.pipelines.encoder_decoder_model import EncoderDecoderModel

MOST_SHOWN = 10  # unknown tokens in a message


class Text2TextGeneration:
    """Answers texts; ``pipeline("text2text-generation")`` makes one."""

    def __init__(self, model: EncoderDecoderModel) -> None:
        """Use this model and its vocabularies."""
        self.model = model

    def __call__(
        self,
        text_inputs: str | Sequence[str],
        *,
        num_beams: int = 1,
        length_penalty: float = 0.6,
        max_new_tokens: int | None = None,
        max_length: int | None = None,
    ) -> list[dict[str, str]]:
        """Answer a text, or each of several: ``[{"generated_text": ...}, ...]``, one for each.

        ``num_beams`` is the width of the beam search; 1 is greedy search. ``length_penalty`` is the
        alpha of Wu et al. 2016: log probabilities are divided by ``((5 + length) / 6)**alpha``, so
        0 is no penalty, and more favours longer answers. (In Hugging Face it is another one: there
        they are divided by ``length**length_penalty``.)

        ``max_new_tokens`` is the largest number of tokens of an answer, ``<eos>`` included, and
        ``max_length`` the same with ``<bos>``; one of them may be given. No answer is longer than
        the model's own ``max_length``.

        What the model does not know in a text is read as ``<unk>``, and a line in the log says so.
        An empty text has an empty answer.

        Raises ``ValueError`` for a wrong setting and for a text that is longer than the model
        takes; ``TypeError`` for what is no text.

        >>> import numpy as np
        >>> from numpy_transformer.data.vocabulary import Vocabulary
        >>> from numpy_transformer.models import encoder_decoder
        >>> letters = Vocabulary.build(["cat"])
        >>> sizes = {"source_vocab": len(letters), "target_vocab": len(letters)}
        >>> config = encoder_decoder.preset("tiny", max_length=8, **sizes)
        >>> params = encoder_decoder.init(np.random.default_rng(0), config)
        >>> answer = Text2TextGeneration(EncoderDecoderModel(params, config, letters, letters))
        >>> [list(found) for found in answer(["cat", "act"], max_new_tokens=3)]
        [['generated_text'], ['generated_text']]
        """
        arguments.check_whole("num_beams", num_beams, least=1)
        if not isinstance(length_penalty, (int, float)) or not length_penalty >= 0:
            raise ValueError(f"length_penalty is {length_penalty!r}, expected a number, at least 0")
        limit = _limit(max_new_tokens, max_length)
        texts = arguments.texts("text_inputs", text_inputs)
        sources = [self.model.encode(text, f"the text {text!r}") for text in texts]
        self._tell_unknown(texts)
        found = iter(self.model.answer([s for s in sources if s], num_beams, length_penalty, limit))
        answers = [self.model.target.decode(next(found).ids) if s else "" for s in sources]
        return [{"generated_text": answer} for answer in answers]

    def _tell_unknown(self, texts: list[str]) -> None:
        """Say in the log what of the texts the model does not know."""
        unknown = sorted({token for text in texts for token in self.model.source.unknown(text)})
        if unknown:
            more = " ..." if len(unknown) > MOST_SHOWN else ""
            logging.getLogger(__name__).warning(
                "unknown to the model and read as <unk>: %s%s",
                " ".join(map(repr, unknown[:MOST_SHOWN])),
                more,
            )


def _limit(max_new_tokens: int | None, max_length: int | None) -> int | None:
    """The largest number of tokens of an answer, or None for that of the model."""
    if max_length is None:
        if max_new_tokens is not None:
            arguments.check_whole("max_new_tokens", max_new_tokens, least=1)
        return max_new_tokens
    if max_new_tokens is not None:
        raise ValueError("max_new_tokens and max_length are given; expected one of them")
    arguments.check_whole("max_length", max_length, least=2)
    return max_length - 1  # without <bos>
