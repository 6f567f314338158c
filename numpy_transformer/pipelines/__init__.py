"""Pipelines: a trained model for a task, from text to text, with one call.

``pipeline(task, model)`` makes one; names, arguments and results are those of Hugging Face's
``transformers``. ``language_model.py`` says what a model can be loaded from.
"""

from __future__ import annotations

from pathlib import Path

from numpy_transformer.pipelines import language_model
from numpy_transformer.pipelines.text_generation import TextGeneration

TASKS = {"text-generation": TextGeneration}


def pipeline(task: str, model: str | Path | None = None) -> TextGeneration:
    """A function that does ``task`` with the model in the folder ``model``.

    The tasks: ``"text-generation"``. The folder is that of a GPT-2 checkpoint as Hugging Face lays
    it out, or of a run that ``numpy-transformer train-lm`` made. Without one, a small model that
    comes with this package is used, and a line in the log (on the standard error) says so.

    Raises ``ValueError`` for a task that there is not, and for a folder that is no model.

    >>> generator = pipeline("text-generation", model=language_model.BUILT_IN)
    >>> text = generator("The print function", max_length=20, seed=0)
    >>> text[0]["generated_text"].startswith("The print function")
    True
    """
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}, expected one of {', '.join(TASKS)}")
    return TASKS[task](language_model.load(model))
