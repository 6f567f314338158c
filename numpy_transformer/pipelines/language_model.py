"""A language model with its tokenizer, loaded from a folder.

The folder is one of three:

- a GPT-2 checkpoint as Hugging Face lays it out: ``config.json``, weights, ``vocab.json`` and
  ``merges.txt`` (``porting/gpt2.py`` says which weights);
- a run, as ``numpy-transformer train-lm`` makes it; its best checkpoint is taken;
- the model in this package, ``pydoc``, which is laid out like the first: a small one that has read
  the documentation of Python's language and nothing else.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_transformer.data import tokenizers
from numpy_transformer.data.tokenizers import Tokenizer
from numpy_transformer.models import causal_lm
from numpy_transformer.parameters import Tree
from numpy_transformer.porting import gpt2
from numpy_transformer.training import checkpoint
from numpy_transformer.training.checkpoint import CheckpointError
from numpy_transformer.training.trainer import restore_weights

KIND = "causal_lm"  # in the settings of a run
BUILT_IN = Path(__file__).with_name("pydoc")


class LanguageModel(NamedTuple):
    """A language model with its tokenizer."""

    params: Tree
    config: causal_lm.Config
    tokenizer: Tokenizer


def load(folder: str | Path | None = None) -> LanguageModel:
    """The model in a folder, or without one the model in this package, with a line in the log.

    Raises ``ValueError`` where the folder holds no model that can be used, saying why.
    """
    if folder is None:
        logging.getLogger(__name__).warning(
            "no model was named, so this is the small one in the package, which knows nothing "
            "but the documentation of Python"
        )
        folder = BUILT_IN
    folder = Path(folder)
    if (folder / "config.json").exists():
        return _with_known_tokens(*gpt2.read(folder), tokenizers.ByteLevelBPE.read(folder))
    if (folder / checkpoint.INDEX).exists():
        return model_of(checkpoint.load(folder, "best", optimizer=False))
    raise ValueError(
        f"{folder} is no folder with a language model: expected a GPT-2 checkpoint (config.json, "
        "weights, vocab.json, merges.txt) or a run of 'numpy-transformer train-lm' "
        f"({checkpoint.INDEX}). Models are not fetched from anywhere."
    )


def model_of(saved: checkpoint.Checkpoint) -> LanguageModel:
    """The language model that a checkpoint holds; ``CheckpointError`` where it holds none."""
    if not isinstance(saved.settings, dict) or saved.settings.get("kind") != KIND:
        raise CheckpointError(
            "this run holds no language model; for an encoder-decoder use 'numpy-transformer "
            "predict' and 'train --resume'"
        )
    if "text" not in saved.vocabularies:
        raise CheckpointError("text_vocabulary.json is missing. Restore it or train again.")
    try:
        config = causal_lm.Config(**saved.settings["model"])
        if config.N > len(saved.weights):
            raise ValueError(f"{config.N} layers, but {len(saved.weights)} arrays of weights")
        tokenizer = tokenizers.from_json(saved.vocabularies["text"])
        if len(tokenizer) != config.vocab:
            raise ValueError(f"{len(tokenizer)} tokens, but the settings say {config.vocab}")
        params = causal_lm.init(np.random.default_rng(0), config)
        restore_weights(params, saved)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint does not fit together: {error}. Restore its files or train again."
        ) from error
    return LanguageModel(params, config, tokenizer)


def _with_known_tokens(
    params: Tree, config: causal_lm.Config, tokenizer: Tokenizer
) -> LanguageModel:
    """The model without the rows of its tables that no token belongs to, so that none is chosen.

    Some checkpoints have a vocabulary that is rounded up to a multiple of 64 or 128.
    """
    known = len(tokenizer)
    if known > config.vocab:
        raise ValueError(
            f"the tokenizer has {known} tokens, but the model only {config.vocab}; "
            "vocab.json and the weights are not of the same model"
        )
    if known < config.vocab:
        params = params | {"embedding": {"weight": params["embedding"]["weight"][:known]}}
        if "output" in params:
            output = {name: array[..., :known] for name, array in params["output"].items()}
            params = params | {"output": output}
    return LanguageModel(params, replace(config, vocab=known), tokenizer)
