"""Text generation: a language model goes on with a text.

The names and the shape of the results are those of Hugging Face's pipeline of the same name.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from numpy_transformer.generation import continuation
from numpy_transformer.pipelines import arguments
from numpy_transformer.pipelines.language_model import LanguageModel


KNOWN = {field.name for field in fields(continuation.Settings)}


class TextGeneration:
    """Goes on with texts; ``pipeline("text-generation")`` makes one."""

    def __init__(self, model: LanguageModel) -> None:
        """Use this model and its tokenizer."""
        self.model = model

    def __call__(
        self,
        text_inputs: str | Sequence[str],
        *,
        num_return_sequences: int = 1,
        return_full_text: bool = True,
        stop_strings: str | Sequence[str] | None = None,
        seed: int | None = None,
        **settings: Any,
    ) -> list[dict[str, str]] | list[list[dict[str, str]]]:
        """Go on with a text, or with each of several.

        Returns ``[{"generated_text": ...}, ...]``, ``num_return_sequences`` of them, and for
        several texts a list of such lists. The text comes with the prompt, or without it
        (``return_full_text=False``), and ends with the first of ``stop_strings`` that the model
        writes, if any.

        ``settings`` are those of ``generation/continuation.py``: ``max_new_tokens``,
        ``max_length``, ``min_new_tokens``, ``min_length``, ``do_sample``, ``temperature``,
        ``top_k``, ``top_p``, ``repetition_penalty``, ``overflow``, ``use_cache``.

        The same ``seed`` draws the same texts, whatever else is in the batch (but for rounding: a
        draw that falls between two tokens to the last digit may tip). For that, the n-th text of
        every prompt is drawn with the n-th generator; so with a seed two equal prompts get the same
        text, and for several texts of one prompt there is ``num_return_sequences``. Without a seed,
        every text is drawn by itself.

        Raises ``ValueError`` for a wrong setting, an empty prompt to a model without a token that
        begins a text, and what the tokenizer or the context cannot take; ``TypeError`` for
        arguments that there are not, and for prompts that are no text.
        """
        arguments.check_whole("num_return_sequences", num_return_sequences, least=1)
        if num_return_sequences > 1 and settings.get("do_sample") is False:
            raise ValueError(
                f"num_return_sequences is {num_return_sequences}, but do_sample is False: "
                "the texts would all be the same"
            )
        one = isinstance(text_inputs, str)
        prompts = arguments.texts("text_inputs", text_inputs)
        repeated = [prompt for prompt in prompts for _ in range(num_return_sequences)]
        texts = [prompt if return_full_text else "" for prompt in repeated]
        pieces = self._pieces(repeated, num_return_sequences, stop_strings, seed, settings)
        for row, piece in pieces:
            texts[row] += piece
        answers = [{"generated_text": text} for text in texts]
        if one:
            return answers
        return [
            answers[start : start + num_return_sequences]
            for start in range(0, len(answers), num_return_sequences)
        ]

    def stream(
        self,
        prompt: str,
        *,
        stop_strings: str | Sequence[str] | None = None,
        seed: int | None = None,
        **settings: Any,
    ) -> Iterator[str]:
        """What follows the prompt, piece by piece as it comes; no character is broken in two.

        Joined, the pieces are the text that a call with the same arguments returns without the
        prompt.
        """
        if not isinstance(prompt, str):
            raise TypeError(f"the prompt is {prompt!r}, expected one text")
        return (piece for _, piece in self._pieces([prompt], 1, stop_strings, seed, settings))

    def _pieces(self, prompts, samples, stop_strings, seed, settings) -> Iterator[tuple[int, str]]:
        """Pairs of the number of a prompt and a piece of what follows it.

        Everything is checked at once, before the first piece is asked for.
        """
        params, config, tokenizer = self.model
        unknown = sorted(settings.keys() - KNOWN)
        if unknown:
            raise TypeError(
                f"text generation takes no argument {unknown[0]!r}; it takes "
                f"{', '.join(sorted(KNOWN))}, num_return_sequences, return_full_text, "
                "stop_strings, seed"
            )
        stops = [] if stop_strings is None else arguments.texts("stop_strings", stop_strings)
        if not all(stops):
            raise ValueError("a stop string is empty, and would stop at once")
        writers = [_Writer([stop.encode() for stop in stops]) for _ in prompts]

        def stop(row: int, token: int) -> bool:
            writers[row].add(tokenizer.decode_bytes([token]))
            return writers[row].stopped

        if seed is None:
            rngs = [np.random.default_rng() for _ in prompts]
        else:
            arguments.check_whole("seed", seed, least=0)
            rngs = [np.random.default_rng([seed, row % samples]) for row in range(len(prompts))]
        end = tokenizer.end_of_text
        found = continuation.generate(
            [self._encode(prompt) for prompt in prompts],
            params,
            config,
            continuation.Settings(**settings),
            rngs,
            end,
            stop,
        )

        def pieces():
            for row, token in found:
                if piece := writers[row].take():
                    yield row, piece
            for row, writer in enumerate(writers):
                if piece := writer.take(final=True):
                    yield row, piece

        return pieces()

    def _encode(self, prompt: str) -> list[int]:
        """The ids of a prompt; an empty one begins with the token that stands between texts."""
        ids = self.model.tokenizer.encode(prompt)
        if ids:
            return ids
        end = self.model.tokenizer.end_of_text
        if end is None:
            raise ValueError(
                "the prompt is empty, and this model has no token that begins a text; "
                "give at least one character"
            )
        return [end]


class _Writer:
    """Puts bytes together to text, as far as they are whole characters, up to a stop string."""

    def __init__(self, stops: list[bytes]) -> None:
        self.stops = stops
        self.written = b""  # all bytes so far
        self.taken = 0  # of them, how many went into the text
        self.stopped = False
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, new: bytes) -> None:
        """Add bytes; cut off what comes after a stop string."""
        longest = max(map(len, self.stops), default=0)
        begin = max(0, len(self.written) - longest)  # a stop string may have begun before
        self.written += new
        ends = [
            at + len(stop)
            for stop in self.stops
            if (at := self.written.find(stop, begin)) >= 0
        ]
        if ends:
            self.written, self.stopped = self.written[: min(ends)], True

    def take(self, final: bool = False) -> str:
        """The text that has come since the last time."""
        new = self.written[self.taken :]
        self.taken = len(self.written)
        return self.decoder.decode(new, final)
