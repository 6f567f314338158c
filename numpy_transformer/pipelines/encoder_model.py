"""An encoder-only model with its tokenizer, loaded from a folder.

The folder is one of two:

- a BERT checkpoint as Hugging Face lays it out: ``config.json``, weights and ``vocab.txt``
  (``porting/bert.py`` says which weights);
- a run, as ``numpy-transformer pretrain`` and ``finetune`` make it; its best checkpoint is taken.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer.data import tokenizers
from numpy_transformer.data.tokenizers import MaskableTokenizer, WordPiece
from numpy_transformer.models import classifier, masked_lm, text_encoder, token_classifier
from numpy_transformer.models.text_encoder import Config
from numpy_transformer.parameters import Tree
from numpy_transformer.porting import bert
from numpy_transformer.training import checkpoint
from numpy_transformer.training.checkpoint import CheckpointError
from numpy_transformer.training.trainer import restore_weights

# What computes each kind of model, and the class of its settings.
KINDS = {
    "masked_lm": (masked_lm, Config),
    "classifier": (classifier, classifier.Config),
    "token_classifier": (token_classifier, token_classifier.Config),
    "text_encoder": (text_encoder, Config),
}
NAMES = {  # as a person calls them
    "masked_lm": "masked language model",
    "classifier": "classifier of texts",
    "token_classifier": "classifier of tokens",
    "text_encoder": "encoder",
}


class EncoderModel(NamedTuple):
    """An encoder-only model with its tokenizer."""

    kind: str  # one of KINDS
    params: Tree
    config: Config
    tokenizer: MaskableTokenizer
    labels: tuple[str, ...] = ()  # the names of the classes, in the order of the logits


def load(folder: str | Path, kind: str | None = None) -> EncoderModel:
    """The model in a folder; with ``kind``, of that kind.

    ``"text_encoder"`` is in every model of another kind as well. Raises ``ValueError`` where the
    folder holds no model that can be used, or one of another kind, saying why.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        return _with_known_tokens(bert.read(folder, kind=kind), WordPiece.read(folder))
    if not (folder / checkpoint.INDEX).exists():
        raise ValueError(
            f"{folder} is no folder with an encoder-only model: expected a BERT checkpoint "
            "(config.json, weights, vocab.txt) or a run of 'numpy-transformer pretrain' or "
            f"'finetune' ({checkpoint.INDEX}). Models are not fetched from anywhere."
        )
    model = model_of(checkpoint.load(folder, "best", optimizer=False))
    if kind in (None, model.kind):
        return model
    if kind == "text_encoder":
        return encoder_of(model)
    raise ValueError(f"{folder} holds a {NAMES[model.kind]}, expected a {NAMES[kind]}")


def model_of(saved: checkpoint.Checkpoint) -> EncoderModel:
    """The encoder-only model that a checkpoint holds; ``CheckpointError`` where it holds none."""
    kind = saved.settings.get("kind") if isinstance(saved.settings, dict) else None
    if kind not in tuple(KINDS):  # it may be anything that JSON has
        raise CheckpointError(
            "this run holds no encoder-only model, as 'numpy-transformer pretrain' and "
            "'finetune' make it"
        )
    if "text" not in saved.vocabularies:
        raise CheckpointError("text_vocabulary.json is missing. Restore it or train again.")
    module, settings = KINDS[kind]
    try:
        config = settings(**saved.settings["model"])
        if config.N > len(saved.weights):
            raise ValueError(f"{config.N} layers, but {len(saved.weights)} arrays of weights")
        tokenizer = tokenizers.from_json(saved.vocabularies["text"])
        if len(tokenizer) != config.vocab:
            raise ValueError(f"{len(tokenizer)} tokens, but the settings say {config.vocab}")
        labels = _labels(saved.settings.get("labels", []))
        if len(labels) != getattr(config, "classes", 0):
            raise ValueError(f"{len(labels)} labels, but the settings say {config.classes}")
        params = module.init(np.random.default_rng(0), config)
        restore_weights(params, saved)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint does not fit together: {error}. Restore its files or train again."
        ) from error
    return EncoderModel(kind, params, config, tokenizer, labels)


def _labels(saved: Any) -> tuple[str, ...]:
    """The names of the classes; ``ValueError`` where they are no list of names, all different."""
    if (
        not isinstance(saved, list)
        or not all(isinstance(label, str) for label in saved)
        or len(set(saved)) < len(saved)
    ):
        raise ValueError(f"the labels are {saved!r}, expected a list of names, each once")
    return tuple(saved)


def encoder_of(model: EncoderModel) -> EncoderModel:
    """The encoder of a model, without its head."""
    own = {name: getattr(model.config, name) for name in Config.__dataclass_fields__}
    params = text_encoder.part_of(model.params)
    return EncoderModel("text_encoder", params, Config(**own), model.tokenizer)


def _with_known_tokens(model: bert.Bert, tokenizer: WordPiece) -> EncoderModel:
    """The model without the rows of its tables that no token belongs to, so that none is chosen.

    Some checkpoints have a vocabulary that is rounded up to a multiple of 64 or 128.
    """
    kind, params, config, labels = model
    known = len(tokenizer)
    if known > config.vocab:
        raise ValueError(
            f"the tokenizer has {known} tokens, but the model only {config.vocab}; "
            "vocab.txt and the weights are not of the same model"
        )
    if known < config.vocab:
        params = params | {"embedding": {"weight": params["embedding"]["weight"][:known]}}
        if kind == "masked_lm":
            output = {"bias": params["prediction"]["output"]["bias"][:known]}
            params = params | {"prediction": params["prediction"] | {"output": output}}
    config = replace(config, vocab=known, pad_id=tokenizer.pad_id)
    return EncoderModel(kind, params, config, tokenizer, labels)
