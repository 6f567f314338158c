"""What kind of model lies in a folder, as far as can be said before its weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy_transformer import files
from numpy_transformer.pipelines import encoder_model, language_model
from numpy_transformer.porting import bert_settings, hugging_face
from numpy_transformer.training import checkpoint

# Every kind, as a person calls it. Those of encoder-only models are named after their modules.
NAMES = encoder_model.NAMES | {
    language_model.KIND: "language model",
    "encoder_decoder": "encoder-decoder",
}
# The classes of transformers that a config.json may name.
ARCHITECTURES = {name: kind for kind, (name, _) in bert_settings.KINDS.items()} | {
    "GPT2LMHeadModel": language_model.KIND,
    "GPT2Model": language_model.KIND,
}


def named(kind: str) -> str:
    """A kind in a sentence.

    >>> named("classifier"), named("text_encoder")
    ('a classifier of texts', 'an encoder')
    """
    return f"{'an' if NAMES[kind].startswith('e') else 'a'} {NAMES[kind]}"


def found(folder: Path) -> str | None:
    """The kind of the model in a folder, one of ``NAMES``; None where it is not known.

    What is damaged is not known: whoever reads the weights will say what is wrong with it.

    >>> found(language_model.BUILT_IN)
    'causal_lm'
    >>> found(Path("no/such/folder")) is None
    True
    """
    try:
        if (folder / hugging_face.CONFIG).exists():
            names = bert_settings.architectures(hugging_face.read_config(folder))
            return next((ARCHITECTURES[name] for name in names if name in ARCHITECTURES), None)
        settings = _settings(folder)
    except ValueError:
        return None
    kind = settings.get("kind", "encoder_decoder") if isinstance(settings, dict) else None
    return kind if kind in tuple(NAMES) else None


def _settings(run: Path) -> Any:
    """The settings of the best checkpoint of a run; None where there is none."""
    best = checkpoint.read_index(run).get("best")
    for path in checkpoint.folders(run):
        if path.name == best:
            return files.read_json(path / "settings.json")
    return None
