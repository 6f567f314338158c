"""The Transformer and its gradients, written out by hand in NumPy.

Every operation, layer and model is a module with the same two functions::

    y, cache = layer_norm.forward(x, weight, bias)
    dx, dweight, dbias = layer_norm.backward(dy, cache)

Where to start reading: ``ops`` (one operation a file), then ``layers``, then
``models/encoder_decoder.py``. ``README.md`` gives the order.
"""

__version__ = "0.1.0"
