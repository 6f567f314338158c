"""A trained model, as the commands use it: its weights, its settings and its vocabularies."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer.data.metrics import Accuracy, accuracy
from numpy_transformer.data.vocabulary import BOS, EOS, Vocabulary
from numpy_transformer.generation.answer import answer
from numpy_transformer.generation.hypothesis import Hypothesis
from numpy_transformer.models import encoder_decoder
from numpy_transformer.parameters import Tree
from numpy_transformer.training import checkpoint
from numpy_transformer.training.checkpoint import CheckpointError
from numpy_transformer.training.trainer import restore_weights


class Model(NamedTuple):
    """A model with its vocabularies."""

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

    def answer(self, sources: Sequence[list[int]], width: int, alpha: float) -> list[Hypothesis]:
        """The best answer to each source."""
        return answer(sources, self.params, self.config, BOS, EOS, width, alpha)

    def accuracy(
        self, references: dict[str, list[str]], width: int = 1, alpha: float = 0.6
    ) -> tuple[Accuracy, list[str]]:
        """Answer every source of ``references`` and compare; return the answers, too."""
        sources = [self.encode(text, f"the source {text!r}") for text in references]
        found = self.answer(sources, width, alpha)
        answers = [[self.target.tokens[i] for i in hypothesis.ids] for hypothesis in found]
        targets = [[self.target.split(text) for text in texts] for texts in references.values()]
        return accuracy(answers, targets), [self.target.decode(h.ids) for h in found]


def load(run: str, which: str = "best") -> tuple[Model, dict[str, Any]]:
    """The model of a run and all settings; ``CheckpointError`` saying what to do if it cannot."""
    saved = checkpoint.load(Path(run), which, optimizer=False)
    model = model_of(saved)
    return model, saved.settings


def model_of(saved: checkpoint.Checkpoint) -> Model:
    """The model that a checkpoint holds."""
    if saved.settings.get("kind") is not None:
        raise CheckpointError(
            "this run holds a language model; use 'numpy-transformer generate' and "
            "'train-lm --resume'"
        )
    try:
        config = encoder_decoder.Config(**saved.settings["model"])
        vocabularies = [Vocabulary.from_json(saved.vocabularies[s]) for s in ("source", "target")]
        if tuple(map(len, vocabularies)) != (config.source_vocab, config.target_vocab):
            raise ValueError("the vocabularies do not have the sizes in the settings")
        params = encoder_decoder.init(np.random.default_rng(0), config)
        restore_weights(params, saved)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint does not fit together: {error}. Restore its files or train again."
        ) from error
    return Model(params, config, *vocabularies)


def add_run_option(parser: argparse.ArgumentParser) -> None:
    """``--run``, for commands that use a trained model."""
    parser.add_argument(
        "--run",
        default="runs/dates",
        metavar="FOLDER",
        help="the folder of a run, as 'train' makes it (%(default)s); its best checkpoint is used",
    )


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """``--beam`` and ``--length-penalty``."""
    parser.add_argument(
        "--beam",
        type=int,
        default=1,
        metavar="WIDTH",
        help="beginnings kept at each step; 1 is greedy search, more is slower and often a "
        "little better (%(default)s)",
    )
    parser.add_argument(
        "--length-penalty",
        type=float,
        default=0.6,
        metavar="ALPHA",
        help="beam search divides log probabilities by ((5 + length) / 6)^ALPHA; 0: no penalty, "
        "more favours longer answers (%(default)s)",
    )


def check_search_options(options: argparse.Namespace) -> None:
    """Refuse a beam that is none."""
    if options.beam < 1:
        raise ValueError(f"--beam is {options.beam}, expected at least 1")
    if not options.length_penalty >= 0:
        raise ValueError(f"--length-penalty is {options.length_penalty}, expected at least 0")
