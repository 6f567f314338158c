"""An encoder-decoder with its vocabularies, loaded from a folder.

The folder is that of a run, as ``numpy-transformer train`` makes it; its best checkpoint is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_transformer.data.metrics import Accuracy, accuracy
from numpy_transformer.data.vocabulary import BOS, EOS, Vocabulary
from numpy_transformer.generation.answer import answer
from numpy_transformer.generation.hypothesis import Hypothesis
from numpy_transformer.models import encoder_decoder
from numpy_transformer.parameters import Tree
from numpy_transformer.pipelines import language_model
from numpy_transformer.training import checkpoint
from numpy_transformer.training.checkpoint import CheckpointError
from numpy_transformer.training.trainer import restore_weights


class EncoderDecoderModel(NamedTuple):
    """An encoder-decoder with its vocabularies."""

    params: Tree
    config: encoder_decoder.Config
    source: Vocabulary
    target: Vocabulary

    def encode(self, text: str, where: str) -> list[int]:
        """The ids of a source; ``ValueError``, beginning with ``where``, if it is too long."""
        ids = self.source.encode(text)
        if len(ids) > self.config.max_length:
            raise ValueError(
                f"{where}: {len(ids)} {self.source.unit}, but the model takes at most "
                f"{self.config.max_length}; shorten it, or train with a larger --max-length"
            )
        return ids

    def answer(
        self, sources: Sequence[list[int]], width: int, alpha: float, limit: int | None = None
    ) -> list[Hypothesis]:
        """The best answer to each source, of at most ``limit`` tokens, ``<eos>`` included."""
        return answer(sources, self.params, self.config, BOS, EOS, width, alpha, limit)

    def accuracy(
        self, references: dict[str, list[str]], width: int = 1, alpha: float = 0.6
    ) -> tuple[Accuracy, list[str]]:
        """Answer every source of ``references`` and compare; return the answers, too."""
        sources = [self.encode(text, f"the source {text!r}") for text in references]
        found = self.answer(sources, width, alpha)
        answers = [[self.target.tokens[i] for i in hypothesis.ids] for hypothesis in found]
        targets = [[self.target.split(text) for text in texts] for texts in references.values()]
        return accuracy(answers, targets), [self.target.decode(h.ids) for h in found]


def load(folder: str | Path) -> EncoderDecoderModel:
    """The model of a run; ``CheckpointError`` saying what to do if it cannot be used."""
    return model_of(checkpoint.load(Path(folder), "best", optimizer=False))


def model_of(saved: checkpoint.Checkpoint) -> EncoderDecoderModel:
    """The encoder-decoder that a checkpoint holds; ``CheckpointError`` where it holds none."""
    kind = saved.settings.get("kind") if isinstance(saved.settings, dict) else "unknown"
    if kind == language_model.KIND:
        raise CheckpointError(
            "this run holds a language model; use 'numpy-transformer generate' and "
            "'train-lm --resume'"
        )
    if kind is not None:
        raise CheckpointError(
            "this run holds no encoder-decoder, as 'numpy-transformer train' makes it"
        )
    try:
        config = encoder_decoder.Config(**saved.settings["model"])
        if config.N > len(saved.weights):
            raise ValueError(f"{config.N} layers, but {len(saved.weights)} arrays of weights")
        vocabularies = [Vocabulary.from_json(saved.vocabularies[s]) for s in ("source", "target")]
        if tuple(map(len, vocabularies)) != (config.source_vocab, config.target_vocab):
            raise ValueError("the vocabularies do not have the sizes in the settings")
        params = encoder_decoder.init(np.random.default_rng(0), config)
        restore_weights(params, saved)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint does not fit together: {error}. Restore its files or train again."
        ) from error
    return EncoderDecoderModel(params, config, *vocabularies)
