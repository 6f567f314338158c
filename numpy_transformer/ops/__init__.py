"""Operations: arrays in, arrays out, one a file, each with its derivative.

The order in which to read them: linear, relu, gelu, softmax, layer_norm, embedding, positions,
dropout, masks, attention, cross_entropy.
"""
