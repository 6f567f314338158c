"""The settings of a BERT, as Hugging Face's ``config.json`` has them, and as ours are.

What is there under another name and means the same stands in ``SETTINGS``; what would make it
another function stands in ``ALWAYS``. A *kind* says which model is meant, by the name of the module
in ``models/`` that computes it; ``KINDS`` has theirs beside it.

Source: ``BertConfig`` of https://github.com/huggingface/transformers (``models/bert``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from numpy_transformer.models import classifier, text_encoder, token_classifier
from numpy_transformer.porting import config_values
from numpy_transformer.porting.errors import PortingError, shown

# kind: the class that computes the same in transformers, and our settings of it.
KINDS = {
    "text_encoder": ("BertModel", text_encoder.Config),
    "masked_lm": ("BertForMaskedLM", text_encoder.Config),
    "classifier": ("BertForSequenceClassification", classifier.Config),
    "token_classifier": ("BertForTokenClassification", token_classifier.Config),
}
WITH_CLASSES = ("classifier", "token_classifier")

# ours: theirs, and what transformers takes when config.json does not say.
SETTINGS = {
    "vocab": ("vocab_size", 30522),
    "N": ("num_hidden_layers", 12),
    "d_model": ("hidden_size", 768),
    "d_ff": ("intermediate_size", 3072),
    "h": ("num_attention_heads", 12),
    "max_length": ("max_position_embeddings", 512),
    "segments": ("type_vocab_size", 2),
    "P_drop": ("hidden_dropout_prob", 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", 0.1),
    "norm_eps": ("layer_norm_eps", 1e-12),
    "activation": ("hidden_act", "gelu"),
    "pad_id": ("pad_token_id", 0),
}
# Theirs alone: with any other value it is another function than ours.
ALWAYS = {
    "add_cross_attention": False,
    "is_decoder": False,
    "position_embedding_type": "absolute",
    "pruned_heads": {},
}
TIED = {"tie_word_embeddings": True}  # beside ALWAYS for a masked_lm
ONE_CLASS_A_TEXT = "single_label_classification"  # the only problem_type that is ours


def check_kind(kind: Any) -> None:
    """Raise ``PortingError`` unless it is one of ``KINDS``."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise PortingError(f"kind is {shown(kind)}, expected one of {', '.join(KINDS)}")


def architectures(values: Mapping[str, Any]) -> list[str]:
    """The classes of transformers' that wrote the file; none where it does not say."""
    names = values.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PortingError(f"architectures is {shown(names)}, expected names of classes")
    return names


def check_type(values: Mapping[str, Any]) -> None:
    """Raise ``PortingError`` unless this is a BERT.

    Files of before 2020 do not say what they are. They are taken for one, unless ``architectures``
    names a model of another sort.

    >>> check_type({"model_type": "roberta"})
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: this is a model of type 'roberta' (model_type), \
expected 'bert'
    """
    names = architectures(values)
    if values.get("model_type", "bert") != "bert":
        raise PortingError(
            f"this is a model of type {shown(values['model_type'])} (model_type), expected 'bert'"
        )
    if "model_type" not in values and not all(name.startswith("Bert") for name in names):
        raise PortingError(f"this is a model of type {shown(names)} (architectures), not a BERT")


def to_config(
    values: Mapping[str, Any], kind: str, classes: int | None = None
) -> text_encoder.Config:
    """Their settings, the values of a ``config.json``, as ours: those of the module ``kind``.

    What is not said has the value that transformers gives it. ``classes`` is how many the weights
    have; without it, the settings are asked: ``num_labels``, ``id2label``, or else 2. ``P_drop`` is
    ours for heads as well; if ``classifier_dropout`` is another number, a ``UserWarning`` says so.

    Raises ``PortingError`` for a model of another type, for settings that make it another function
    than ours, and for values that no model can have.

    >>> to_config({"hidden_size": 64, "num_attention_heads": 4}, "masked_lm").d_model
    64
    >>> to_config({"problem_type": "regression"}, "classifier")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: problem_type is 'regression', but classifier \
gives each text one of several classes; the encoder alone can be read (kind='text_encoder')
    """
    check_kind(kind)
    check_type(values)
    config_values.check_always(values, ALWAYS | (TIED if kind == "masked_lm" else {}), kind)
    found = config_values.take(values, SETTINGS)
    found["activation"] = config_values.activation("hidden_act", found["activation"])
    if kind in WITH_CLASSES:
        found["classes"] = _classes(values) if classes is None else classes
    if kind == "classifier":
        _check_problem(values.get("problem_type"), found["classes"])
    names = SETTINGS | {"classes": ("num_labels", 2)}
    config = config_values.made(KINDS[kind][1], names, found)
    if kind in WITH_CLASSES:
        _tell_of_dropout(values, config.P_drop)
    return config


def _classes(values: Mapping[str, Any]) -> int:
    """How many classes the settings name."""
    usual = len(_named(values)) or 2
    return config_values.take(values, {"classes": ("num_labels", usual)})["classes"]


def _check_problem(problem: Any, classes: int) -> None:
    """Raise ``PortingError`` for a model that gives a text a number, or several classes at once."""
    if problem not in (None, ONE_CLASS_A_TEXT):
        what = f"problem_type is {shown(problem)}"
    elif classes == 1:
        what = "there is one class alone, which makes it a regression"
    else:
        return
    raise PortingError(
        f"{what}, but classifier gives each text one of several classes; the encoder alone can be "
        "read (kind='text_encoder')"
    )


def _tell_of_dropout(values: Mapping[str, Any], P_drop: float) -> None:
    """Warn if theirs drops at another rate in the head than elsewhere."""
    rate = values.get("classifier_dropout")
    if rate is None:
        return
    config_values.check_type("classifier_dropout", rate, 0.0)
    if rate != P_drop:
        warnings.warn(
            f"classifier_dropout is {shown(rate)}, but in training the head drops at the rate of "
            f"the rest here: hidden_dropout_prob, which is {P_drop}",
            stacklevel=4,
        )


def _named(values: Mapping[str, Any]) -> dict[str, str]:
    """``id2label``, the names of the classes by their numbers."""
    names = values.get("id2label")
    names = {} if names is None else names
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise PortingError(f"id2label is {shown(names)}, expected a name for each number")
    if set(names) != {str(i) for i in range(len(names))}:
        raise PortingError(f"id2label numbers {shown(list(names))}, expected '0', '1' and so on")
    return names


def labels(values: Mapping[str, Any], kind: str, classes: int) -> tuple[str, ...]:
    """The names of the classes, in order; ``LABEL_0`` and so on where ``id2label`` does not fit.

    Real files name the first two of fifty classes ``LABEL_0`` and ``LABEL_1``, and leave out the
    others; transformers then takes these names for all.

    >>> labels({"id2label": {"0": "bad", "1": "good"}}, "classifier", 2)
    ('bad', 'good')
    >>> labels({"id2label": {"0": "bad", "1": "good"}}, "classifier", 3)
    ('LABEL_0', 'LABEL_1', 'LABEL_2')
    >>> labels({}, "masked_lm", 0)
    ()
    """
    if kind not in WITH_CLASSES:
        return ()
    names = _named(values)
    if len(names) != classes:
        return usual_labels(classes)
    return tuple(names[str(i)] for i in range(classes))


def usual_labels(classes: int) -> tuple[str, ...]:
    """The names that transformers gives to classes without any.

    >>> usual_labels(2)
    ('LABEL_0', 'LABEL_1')
    """
    return tuple(f"LABEL_{i}" for i in range(classes))


def from_config(
    config: text_encoder.Config,
    kind: str,
    labels: Sequence[str] = (),
    dtype: str | None = None,
) -> dict[str, Any]:
    """Our settings as theirs, the values for a ``config.json``.

    ``labels`` are the names of the classes; without any, they are ``LABEL_0`` and so on. What a
    BERT has no place for but acts in training alone, ``activation_dropout`` and ``class_weights``,
    is not written, and a ``UserWarning`` says so.

    Raises ``PortingError`` for what makes ours another function than a BERT is, and for labels that
    do not fit the classes.

    >>> values = from_config(classifier.Config(vocab=30522, classes=2), "classifier", ["no", "yes"])
    >>> values["architectures"], values["id2label"], values["hidden_act"]
    (['BertForSequenceClassification'], {'0': 'no', '1': 'yes'}, 'gelu')
    """
    check_config(config, kind)
    given = labels or (usual_labels(config.classes) if kind in WITH_CLASSES else ())
    _check_labels(given, config.classes if kind in WITH_CLASSES else 0)
    _tell_what_is_lost(config, kind)
    of_classes = {}
    if kind in WITH_CLASSES:
        of_classes = {
            "id2label": {str(i): name for i, name in enumerate(given)},
            "label2id": {name: i for i, name in enumerate(given)},
        }
    return {
        "architectures": [KINDS[kind][0]],
        "model_type": "bert",
        **{theirs: getattr(config, ours) for ours, (theirs, _) in SETTINGS.items()},
        **ALWAYS,
        **TIED,
        **of_classes,
        "hidden_act": config_values.their_activation(config.activation),
        "classifier_dropout": None,  # as hidden_dropout_prob
        "initializer_range": text_encoder.INITIAL_STD,
        "use_cache": True,
        "dtype": dtype or config.dtype,
    }


def check_config(config: text_encoder.Config, kind: str) -> None:
    """Raise ``PortingError`` unless a BERT of this kind computes the same."""
    check_kind(kind)
    expected = KINDS[kind][1]
    if not isinstance(config, expected):
        raise PortingError(
            f"the settings are of {type(config).__module__}, but a {kind} has those of "
            f"{expected.__module__}"
        )
    if config.norm != "post":
        raise PortingError(
            f"this model has its norms before the sub-layers (norm={config.norm!r}), and a BERT "
            "has them behind: train one with norm='post'"
        )
    if kind == "classifier" and config.pooling != "first":
        raise PortingError(
            f"this model classifies the mean of all tokens (pooling={config.pooling!r}), and a "
            "BERT the first one: train one with pooling='first'"
        )
    if kind == "classifier":
        _check_problem(None, config.classes)


def _check_labels(names: Sequence[str], classes: int) -> None:
    """Raise ``PortingError`` unless there is another name for each class."""
    fits = isinstance(names, (tuple, list)) and all(isinstance(name, str) for name in names)
    if not fits or len(names) != classes or len(set(names)) < classes:
        raise PortingError(f"labels are {shown(names)}, expected {classes} different names")


def _tell_what_is_lost(config: text_encoder.Config, kind: str) -> None:
    """Warn of what a BERT has no place for, and does not need to compute the same."""
    lost = ["activation_dropout"] if config.activation_dropout else []
    if kind in WITH_CLASSES and config.class_weights is not None:
        lost.append("class_weights")
    for name in lost:
        warnings.warn(
            f"{name}={getattr(config, name)} is not written: a BERT has no place for it, and it "
            "acts in training alone",
            stacklevel=4,
        )
