"""Pipelines: a trained model for a task, from text to text, with one call.

``pipeline(task, model)`` makes one; names, arguments and results are those of Hugging Face's
``transformers``.

======================== =======================================================================
``text-generation``      a language model goes on with a text
``fill-mask``            a masked language model says what a hidden token may be
``text-classification``  a classifier says which class a text belongs to; ``sentiment-analysis``
                         is another name for it
``feature-extraction``   an encoder, which is in every model of the two above, makes vectors
``text2text-generation`` an encoder-decoder answers a text
======================== =======================================================================

``language_model.py``, ``encoder_model.py`` and ``encoder_decoder_model.py`` say what a model can be
loaded from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numpy_transformer.pipelines import (
    encoder_decoder_model,
    encoder_model,
    kinds,
    language_model,
)
from numpy_transformer.pipelines.feature_extraction import FeatureExtraction
from numpy_transformer.pipelines.fill_mask import FillMask
from numpy_transformer.pipelines.text2text_generation import Text2TextGeneration
from numpy_transformer.pipelines.text_classification import TextClassification
from numpy_transformer.pipelines.text_generation import TextGeneration
from numpy_transformer.training import checkpoint

Pipeline = (
    TextGeneration | FillMask | TextClassification | FeatureExtraction | Text2TextGeneration
)

PRETRAIN = "'numpy-transformer pretrain'"
FINETUNE = "'numpy-transformer finetune --from runs/pydoc-mlm'"


class Task(NamedTuple):
    """What does a task, and the models that it can be done with."""

    make: Callable[[Any], Pipeline]  # of a model
    load: Callable[[Path | None], Any]  # the model in a folder
    kinds: tuple[str, ...]  # of models, as in kinds.py; the first is what is asked for
    run: Path | None = None  # used when no model is named; None: the model in the package
    command: str = ""  # makes that run


TASKS = {
    "text-generation": Task(TextGeneration, language_model.load, ("causal_lm",)),
    "fill-mask": Task(
        FillMask,
        lambda folder: encoder_model.load(folder, "masked_lm"),
        ("masked_lm",),
        Path("runs/pydoc-mlm"),
        PRETRAIN,
    ),
    "text-classification": Task(
        TextClassification,
        lambda folder: encoder_model.load(folder, "classifier"),
        ("classifier",),
        Path("runs/library"),
        f"{PRETRAIN}, then {FINETUNE},",
    ),
    "feature-extraction": Task(
        FeatureExtraction,
        lambda folder: encoder_model.load(folder, "text_encoder"),
        ("text_encoder", "masked_lm", "classifier", "token_classifier"),
        Path("runs/pydoc-mlm"),
        PRETRAIN,
    ),
    "text2text-generation": Task(
        Text2TextGeneration,
        encoder_decoder_model.load,
        ("encoder_decoder",),
        Path("runs/dates"),
        "'numpy-transformer train'",
    ),
}
ALIASES = {"sentiment-analysis": "text-classification"}


def pipeline(task: str, model: str | Path | None = None) -> Pipeline:
    """A function that does ``task`` with the model in the folder ``model``.

    The folder is that of a run, as the commands of this package make it, or of a checkpoint as
    Hugging Face lays it out: GPT-2 for ``"text-generation"``, BERT for ``"fill-mask"``,
    ``"text-classification"`` and ``"feature-extraction"``.

    Without ``model``, ``"text-generation"`` uses a small one that comes with this package. The
    other tasks use the run that ``pretrain``, ``finetune`` or ``train`` makes without options, if
    it is there, in the folder ``runs`` of the current one. A line in the log (on the standard
    error) says so.

    Raises ``ValueError`` for a task that there is not, for a folder that is no model or one for
    another task, and where no model is named and there is none.

    >>> generator = pipeline("text-generation", model=language_model.BUILT_IN)
    >>> text = generator("The print function", max_length=20, seed=0)
    >>> text[0]["generated_text"].startswith("The print function")
    True
    >>> pipeline("fill-mask", model=language_model.BUILT_IN)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: ... holds a language model, which is for 'text-generation'; 'fill-mask' needs a \
masked language model
    """
    task = ALIASES.get(task, task) if isinstance(task, str) else task
    if task not in tuple(TASKS):
        raise ValueError(
            f"there is no task {task!r}, expected one of {', '.join([*TASKS, *ALIASES])}"
        )
    folder = _default(task) if model is None else Path(model)
    if folder is not None:
        _check_kind(folder, task)
    return TASKS[task].make(TASKS[task].load(folder))


def _default(task: str) -> Path | None:
    """The run to use when no model is named; None: the model in the package."""
    run = TASKS[task].run
    if run is None:
        return None
    if not (run / checkpoint.INDEX).exists():
        raise ValueError(
            f"no model was named for {task!r}, and none comes with this package: name a folder "
            f"(model=...), or make one: {TASKS[task].command} puts it into {run}, where it is "
            "found"
        )
    logging.getLogger(__name__).warning("no model was named, so this is the one in %s", run)
    return run


def _check_kind(folder: Path, task: str) -> None:
    """Raise ``ValueError`` for a model that is for another task."""
    kind = kinds.found(folder)
    if kind is None or kind in TASKS[task].kinds:
        return
    others = [name for name, other in TASKS.items() if kind in other.kinds]
    raise ValueError(
        f"{folder} holds {kinds.named(kind)}, which is for {' and '.join(map(repr, others))}; "
        f"{task!r} needs {kinds.named(TASKS[task].kinds[0])}"
    )
