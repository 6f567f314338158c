"""The values of a ``config.json``: taken by name, checked by type, and put into settings of ours.

``gpt2_settings.py`` and ``bert_settings.py`` say what is called how; nothing here knows of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from numpy_transformer.porting.errors import PortingError, shown

Config = TypeVar("Config")
Names = Mapping[str, tuple[str, Any]]  # ours: theirs, and what it is where nothing is said

# theirs: ours. Of two names for one function, the first is written.
ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}


def take(values: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """The settings in ``names`` under our names; what is not said has its usual value.

    Raises ``PortingError`` for a value of another type than the usual one. If that is None, a
    whole number or None is expected.

    >>> take({"n_embd": 64}, {"d_model": ("n_embd", 768), "h": ("n_head", 12)})
    {'d_model': 64, 'h': 12}
    >>> take({"n_embd": "64"}, {"d_model": ("n_embd", 768)})
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: n_embd is '64', expected a whole number
    """
    found = {ours: values.get(theirs, usual) for ours, (theirs, usual) in names.items()}
    for ours, (theirs, usual) in names.items():
        check_type(theirs, found[ours], usual)
    return found


def check_type(name: str, value: Any, like: Any) -> None:
    """Raise ``PortingError`` unless a setting has the type of ``like``; None stays None."""
    if like is None and value is None:
        return
    expected, fits = {
        bool: ("true or false", isinstance(value, bool)),
        str: ("a text", isinstance(value, str)),
        float: ("a number", isinstance(value, (int, float)) and not isinstance(value, bool)),
    }.get(type(like), ("a whole number", isinstance(value, int) and not isinstance(value, bool)))
    if not fits:
        raise PortingError(f"{name} is {shown(value)}, expected {expected}")


def check_always(values: Mapping[str, Any], always: Mapping[str, Any], model: str) -> None:
    """Raise ``PortingError`` where a setting makes it another function than ``model`` is.

    >>> check_always({"is_decoder": True}, {"is_decoder": False}, "text_encoder")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: is_decoder is True, but text_encoder computes \
only what False means
    """
    for theirs, only in always.items():
        value = values.get(theirs, only)
        if type(value) is not type(only) or value != only:  # 0 is equal to False
            raise PortingError(
                f"{theirs} is {shown(value)}, but {model} computes only what {only} means"
            )


def activation(name: str, value: str) -> str:
    """Our name of an activation; ``name`` is what the setting is called.

    >>> activation("hidden_act", "gelu_new")
    'gelu_tanh'
    """
    if value not in ACTIVATIONS:
        raise PortingError(
            f"{name} is {shown(value)}, expected one of {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[value]


def their_activation(ours: str) -> str:
    """The name under which an activation of ours is written.

    >>> their_activation("gelu_tanh")
    'gelu_new'
    """
    return next(theirs for theirs, name in ACTIVATIONS.items() if name == ours)


def made(config: Callable[..., Config], names: Names, settings: Mapping[str, Any]) -> Config:
    """``config(**settings)``; what it refuses is told with their names.

    Our message says ``h=5``; the file has no ``h``, but a ``num_attention_heads``.
    """
    try:
        return config(**settings)
    except ValueError as error:
        theirs = {ours: theirs for ours, (theirs, _) in names.items()}
        message = re.sub(r"(\w+)=", lambda match: f"{theirs.get(match[1], match[1])}=", str(error))
        raise PortingError(message) from error
