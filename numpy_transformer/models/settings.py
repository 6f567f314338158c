"""What the settings of all models have in common: how they are checked, and what a layer takes.

The settings of a model are a frozen dataclass called ``Config``, checked when it is made. A wrong
setting is refused with ``ValueError``: its name, what was given, what is allowed.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from numpy_transformer.layers import residual
from numpy_transformer.ops import activation, pooling, positions

POSITIONS = ("sinusoidal", "learned")
DTYPES = ("float32", "float64")

# What the settings with one of these names may be.
CHOICES = {
    "norm": residual.NORMS,
    "activation": activation.NAMES,
    "positions": POSITIONS,
    "sinusoids": positions.LAYOUTS,
    "dtype": DTYPES,
    "pooling": pooling.WAYS,
}


def check_sizes(config: Any, *names: str) -> None:
    """Each is a whole number above 0; made an ``int``, as a NumPy integer cannot go into JSON."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}={value!r}, expected a whole number above 0")
        object.__setattr__(config, name, int(value))


def check_rates(config: Any, *names: str) -> None:
    """Each is a number, at least 0 and below 1."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, Real) or not 0 <= value < 1:
            raise ValueError(f"{name}={value!r}, expected at least 0 and below 1")


def check_flags(config: Any, *names: str) -> None:
    """Each is ``True`` or ``False``."""
    for name in names:
        if not isinstance(getattr(config, name), bool):
            raise ValueError(f"{name}={getattr(config, name)!r}, expected True or False")


def check_choices(config: Any, *names: str) -> None:
    """Each is one of its names in ``CHOICES``."""
    for name in names:
        if getattr(config, name) not in CHOICES[name]:
            raise ValueError(f"{name}={getattr(config, name)!r}, expected one of {CHOICES[name]}")


def check_class_weights(config: Any) -> None:
    """None, or one finite number above 0 for each class; made a tuple, as JSON has lists alone."""
    given = config.class_weights
    if given is None:
        return
    fits = isinstance(given, (tuple, list)) and len(given) == config.classes
    if not fits or not all(isinstance(w, Real) and 0 < w < math.inf for w in given):
        raise ValueError(
            f"class_weights={given!r}, "
            f"expected {config.classes} numbers above 0, one for each class"
        )
    object.__setattr__(config, "class_weights", tuple(map(float, given)))


def check_layers(config: Any) -> None:
    """What every model has: layers, widths, heads that divide the width, eps, dropout, dtype."""
    check_sizes(config, "N", "d_model", "d_ff", "h", "max_length")
    check_rates(config, "P_drop", "attention_dropout", "activation_dropout")
    check_choices(config, "activation", "positions", "sinusoids", "dtype")
    if not isinstance(config.norm_eps, Real) or not 0 < config.norm_eps < math.inf:
        raise ValueError(f"norm_eps={config.norm_eps!r}, expected above 0")
    if config.d_model % config.h:
        raise ValueError(f"h={config.h} heads do not divide d_model={config.d_model}")


def layer_settings(config: Any, norm: str) -> dict[str, Any]:
    """The keyword arguments that every layer takes; ``norm`` is the place of the norms."""
    return {
        "norm": norm,
        "eps": config.norm_eps,
        "activation": config.activation,
        "dropout_rate": config.P_drop,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
    }
