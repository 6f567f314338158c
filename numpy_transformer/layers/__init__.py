"""Layers: operations with parameters, each a module with ``init``, ``forward`` and ``backward``.

The order in which to read them: multi_head_attention, feed_forward, residual, encoder_layer,
decoder_layer, then the two stacks, encoder and decoder, and input_embedding.
"""
