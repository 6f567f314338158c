"""Adam and AdamW, and clipping by global norm, on one flat vector.

Adam keeps running means of the gradient and of its square, and divides one by the root of the
other, so that every parameter moves by about the learning rate, whatever the size of its
gradient::

    m = beta1 m + (1 - beta1) g
    v = beta2 v + (1 - beta2) g^2
    weight -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

The divisions by ``1 - beta^t`` correct for means that start at zero. AdamW first shrinks the
weights, apart from the gradient: ``weight -= lr * decay * weight``. Biases and norms (all that has
one axis) do not decay.

Convention: eps is added outside the root, after the bias correction, as in PyTorch; TensorFlow adds
it before. Clipping divides by the norm as it is; PyTorch adds 1e-6 to it.

Source: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1; Loshchilov
and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2; Pascanu et al. 2013, "On the
difficulty of training recurrent neural networks", algorithm 1, for the clipping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.ops.blocks import blocks
from numpy_transformer.parameters import Tree


class Adam:
    """Adam on one flat vector. It holds the state of the optimizer: ``m``, ``v`` and ``steps``.

    >>> weights = np.array([1.0, -2.0])
    >>> adam = Adam(weights.size, weights.dtype)
    >>> adam.step(weights, gradient=np.array([0.5, 100.0]), lr=0.1)
    >>> weights.round(6)
    array([ 0.9, -2.1])
    """

    def __init__(
        self,
        size: int,
        dtype: type = np.float32,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decayed: Sequence[slice] = (),
    ) -> None:
        """An optimizer for ``size`` parameters; see ``adamw`` for the decay."""
        if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1):
            raise ValueError(f"Adam: betas are {betas}, expected two numbers in [0, 1)")
        if eps <= 0 or weight_decay < 0:
            raise ValueError(f"Adam: eps is {eps}, weight_decay {weight_decay}: expected > 0, >= 0")
        self.betas, self.eps = betas, eps
        self.weight_decay, self.decayed = weight_decay, tuple(decayed)
        self.m, self.v = np.zeros(size, dtype), np.zeros(size, dtype)
        self.steps = 0

    def step(
        self,
        weights: np.ndarray,
        gradient: np.ndarray,
        lr: float,
        scales: np.ndarray | None = None,
    ) -> None:
        """Move ``weights`` in place, one step against ``gradient``.

        ``scales``, as many as weights, multiply ``lr``, each that of its weight.
        """
        if not weights.shape == gradient.shape == self.m.shape:
            raise ValueError(
                f"Adam: {self.m.size} parameters, but weights are {weights.shape} "
                f"and the gradient {gradient.shape}"
            )
        self.steps += 1
        beta1, beta2 = self.betas
        correction1 = 1 - beta1**self.steps
        correction2 = math.sqrt(1 - beta2**self.steps)
        if self.weight_decay:
            for part in self.decayed:
                rate = lr if scales is None else lr * scales[part]
                weights[part] *= 1 - rate * self.weight_decay
        for part in blocks(weights.size):
            g, m, v = gradient[part], self.m[part], self.v[part]
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * (g * g)
            scale = np.sqrt(v)
            scale /= correction2
            scale += self.eps
            change = m / scale * (lr / correction1)
            weights[part] -= change if scales is None else change * scales[part]


def adamw(params: Tree, weight_decay: float, **settings) -> Adam:
    """Adam with decoupled weight decay on all of ``params`` that has two axes or more.

    >>> tree = {"weight": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    >>> adamw(tree, weight_decay=0.1).decayed
    (slice(0, 4, None),)
    """
    arrays = dict(parameters.items(params))
    where = parameters.slices(params)
    dtype = next(iter(arrays.values())).dtype
    decayed = [where[name] for name, array in arrays.items() if array.ndim >= 2]
    size = parameters.count(params)
    return Adam(size, dtype, weight_decay=weight_decay, decayed=decayed, **settings)


def clip_by_global_norm(gradient: np.ndarray, limit: float) -> float:
    """Scale ``gradient`` in place so that its norm is at most ``limit``; return the norm before.

    >>> gradient = np.array([3.0, 4.0])
    >>> float(clip_by_global_norm(gradient, limit=1.0)), gradient
    (5.0, array([0.6, 0.8]))
    """
    norm = math.sqrt(gradient @ gradient)
    if norm > limit:
        gradient *= limit / norm
    return norm
