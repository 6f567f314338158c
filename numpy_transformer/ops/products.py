"""The product of a few rows with a large matrix, as generating text takes one for every token.

A matrix library copies large matrices into blocks of an order of its own before it multiplies them.
That pays where each block meets many rows; where it meets a few, copying takes longer than
multiplying. Small matrices are multiplied as they lie. So the large matrix is taken here in parts
that count as small, along the axis along which they lie in one piece: by rows of the matrix, and
then the results add up, or, where it is transposed (the table of a tied output), by columns.

What counts as small is a rule of OpenBLAS, the library in NumPy's own packages, on processors with
AVX-512. There, on one thread, a product of 2 to 16 rows with a matrix that has more columns than
rows takes about half the time; with others there is nothing to gain, as there is elsewhere, where
it takes as long as the plain product. ``benchmarks/generate.py`` measures what comes of it.

Source: OpenBLAS, ``kernel/x86_64/sgemm_small_kernel_permit_skylakex.c``.
"""

from __future__ import annotations

import numpy as np

from numpy_transformer.ops.blocks import blocks

SMALL_PRODUCT = 10**6  # multiplications
SMALL_RESULT = 1200  # entries, of one in which the matrix is transposed, besides
MOST_ROWS = 16


def few_rows(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``x @ weight`` for ``x (N, in)`` with few rows and ``weight (in, out)``: ``(N, out)``.

    >>> few_rows(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    rows, inputs, outputs = *x.shape, weight.shape[1]
    small = rows * weight.size <= SMALL_PRODUCT
    if small or not 2 <= rows <= MOST_ROWS or outputs <= inputs:
        return x @ weight
    y = np.empty((rows, outputs), np.result_type(x, weight))
    if weight.flags.f_contiguous:
        size = _sixteens(min(SMALL_PRODUCT / (rows * inputs), SMALL_RESULT / rows))
        for part in blocks(outputs, size):
            np.matmul(x, weight[:, part], out=y[:, part])
        return y
    first, *others = blocks(inputs, _sixteens(SMALL_PRODUCT / (rows * outputs)))
    np.matmul(x[:, first], weight[first], out=y)
    summand = np.empty_like(y)
    for part in others:
        y += np.matmul(x[:, part], weight[part], out=summand)
    return y


def _sixteens(size: float) -> int:
    """The largest multiple of 16 up to ``size``, at least 16: what the processor does at once."""
    return max(16, int(size) // 16 * 16)
