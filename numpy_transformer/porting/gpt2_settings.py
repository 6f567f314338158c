"""The settings of a GPT-2, as Hugging Face's ``config.json`` has them, and as ``causal_lm`` does.

What is there under another name and means the same stands in ``SETTINGS``; what would make it
another function stands in ``ALWAYS``.

Source: ``GPT2Config`` of https://github.com/huggingface/transformers (``models/gpt2``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from numpy_transformer.models import causal_lm
from numpy_transformer.porting import config_values
from numpy_transformer.porting.errors import PortingError, shown

# ours: theirs, and what transformers takes when config.json does not say.
SETTINGS = {
    "vocab": ("vocab_size", 50257),
    "N": ("n_layer", 12),
    "d_model": ("n_embd", 768),
    "d_ff": ("n_inner", None),  # None: 4 n_embd
    "h": ("n_head", 12),
    "max_length": ("n_positions", 1024),
    "P_drop": ("resid_pdrop", 0.1),  # theirs has embd_pdrop beside it
    "attention_dropout": ("attn_pdrop", 0.1),
    "norm_eps": ("layer_norm_epsilon", 1e-5),
    "activation": ("activation_function", "gelu_new"),
    "tie_output": ("tie_word_embeddings", True),
}
# Theirs alone: with any other value it is another function than causal_lm.
ALWAYS = {
    "add_cross_attention": False,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
}


def to_config(values: Mapping[str, Any]) -> causal_lm.Config:
    """Their settings, the values of a ``config.json``, as ours.

    What is not said has the value that transformers gives it. ``P_drop``, ours for all that goes
    into the residuals and for the embeddings, is their ``resid_pdrop``; if ``embd_pdrop`` is
    another number, a ``UserWarning`` says so: in training the embeddings are dropped at the rate
    of the rest.

    Raises ``PortingError`` for a model of another type, for settings that make it another function
    than ``causal_lm`` is, and for values that no model can have.

    >>> to_config({"model_type": "gpt2", "n_embd": 64, "n_head": 4}).d_ff
    256
    >>> to_config({"model_type": "bert"})
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: this is a model of type 'bert' (model_type), \
expected 'gpt2'
    """
    if values.get("model_type") != "gpt2":
        what = f"of type {shown(values['model_type'])}" if "model_type" in values else "of no type"
        raise PortingError(f"this is a model {what} (model_type), expected 'gpt2'")
    config_values.check_always(values, ALWAYS, "causal_lm")
    if "n_ctx" in values:  # the older name
        values = {"n_positions": values["n_ctx"]} | dict(values)
    found = config_values.take(values, SETTINGS)
    found["activation"] = config_values.activation("activation_function", found["activation"])
    if found["d_ff"] is None:
        found["d_ff"] = 4 * found["d_model"]
    config = config_values.made(causal_lm.Config, SETTINGS, found)
    embedding_dropout = values.get("embd_pdrop", 0.1)
    if embedding_dropout != config.P_drop:
        warnings.warn(
            f"embd_pdrop is {shown(embedding_dropout)}, but in training the embeddings are dropped "
            f"at the rate of the rest here: resid_pdrop, which is {config.P_drop}",
            stacklevel=2,
        )
    return config


def from_config(
    config: causal_lm.Config, end_of_text: int | None = None, dtype: str | None = None
) -> dict[str, Any]:
    """Our settings as theirs, the values for a ``config.json``.

    ``end_of_text`` is the id of the token that begins and ends a text, if the vocabulary has one.
    A GPT-2 has no dropout on the hidden units: ``activation_dropout`` is not written, and a
    ``UserWarning`` says so. It acts in training alone.

    >>> values = from_config(causal_lm.preset("gpt2", vocab=50257), end_of_text=50256)
    >>> values["n_inner"], values["activation_function"], values["eos_token_id"]
    (3072, 'gelu_new', 50256)
    """
    if end_of_text is not None and end_of_text not in range(config.vocab):
        raise PortingError(f"end_of_text is {end_of_text!r}, expected an id below {config.vocab}")
    if config.activation_dropout:
        warnings.warn(
            f"activation_dropout={config.activation_dropout} is not written: "
            "a GPT-2 has no dropout on its hidden units",
            stacklevel=2,
        )
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{theirs: getattr(config, ours) for ours, (theirs, _) in SETTINGS.items()},
        **ALWAYS,
        "activation_function": config_values.their_activation(config.activation),
        "embd_pdrop": config.P_drop,
        "initializer_range": causal_lm.INITIAL_STD,
        "reorder_and_upcast_attn": False,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": None,
        "use_cache": True,
        "dtype": dtype or config.dtype,
    }
