"""The Transformer and its gradients, written out by hand in NumPy.

Every operation, layer and model is a module with the same two functions::

    y, cache = layer_norm.forward(x, weight, bias)
    dx, dweight, dbias = layer_norm.backward(dy, cache)

A trained model is used with one call::

    generator = pipeline("text-generation", model="path/to/gpt2")
    text = generator("The world is changing rapidly", max_length=50)
    print(text[0]["generated_text"])

Where to start reading: ``ops`` (one operation a file), then ``layers``, then
``models/encoder_decoder.py``. ``README.md`` gives the order.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["pipeline"]


def __getattr__(name: str) -> Any:
    """Load the pipelines when they are asked for: who wants an operation needs none of them."""
    if name == "pipeline":
        from numpy_transformer.pipelines import pipeline

        return pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
