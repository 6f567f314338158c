"""Adam, AdamW, clipping and schedules: against PyTorch's recordings and against their formulas."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from numpy_transformer import parameters
from numpy_transformer.training import schedules
from numpy_transformer.training.optimizers import Adam, adamw, clip_by_global_norm

FOLDER = Path(__file__).parent / "recordings"


def recording(name):
    """The arrays of a file and the keywords that it was made with."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays.pop("settings")))["keywords"]


def tree(arrays, prefix):
    """All arrays whose name is ``prefix`` with a tensor's name in the place of the star."""
    before, _, after = prefix.partition("*")
    return {
        name.removeprefix(before).removesuffix(after): array
        for name, array in arrays.items()
        if name.startswith(before) and name.endswith(after)
    }


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_six_steps_equal_pytorch(name):
    arrays, keywords = recording(name)
    weights, params = parameters.pack(tree(arrays, "params.*.step0"))
    decay = keywords.get("weight_decay", 0.0)
    adam = adamw(params, decay, betas=tuple(keywords["betas"]), eps=keywords["eps"])
    if decay:
        # PyTorch was told to decay the tensors with two axes only.
        assert sorted(keywords["decayed"]) == sorted(n for n, a in params.items() if a.ndim > 1)
    for step, lr in enumerate(arrays["lr"], 1):
        adam.step(weights, parameters.gather(tree(arrays, f"gradients.*.step{step}")), float(lr))
        for tensor, expected in tree(arrays, f"params.*.step{step}").items():
            np.testing.assert_allclose(params[tensor], expected, rtol=1e-10)


@pytest.mark.parametrize("case", ["above", "below"])
def test_clipping_equals_pytorch_but_for_its_1e_6(case):
    arrays, _ = recording("clip")
    gradient = parameters.gather(tree(arrays, f"{case}.gradients.*"))
    norm = clip_by_global_norm(gradient, float(arrays[f"{case}.limit"]))
    np.testing.assert_allclose(norm, arrays[f"{case}.norm"], rtol=1e-12)
    clipped = parameters.gather(tree(arrays, f"{case}.clipped.*"))
    if case == "above":
        clipped = clipped * (norm + 1e-6) / norm  # PyTorch divides by the norm plus 1e-6
    np.testing.assert_allclose(gradient, clipped, rtol=1e-12)


def test_one_step_by_hand():
    """The first step is lr * sign(g), as m and v are corrected for their start at zero."""
    weights, gradient = np.array([1.0, -2.0, 3.0]), np.array([1e-3, -50.0, 0.0])
    Adam(3, np.float64).step(weights, gradient, lr=0.1)
    np.testing.assert_allclose(weights, [0.9, -1.9, 3.0], rtol=1e-5)


def test_a_long_vector_is_updated_to_its_end():
    """The vector is updated in parts; each entry depends on its own gradient only."""
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal(100_001)
    together, alone = np.ones(100_001), np.ones(1)
    Adam(100_001, np.float64).step(together, gradient, lr=0.1)
    for index in (0, 32_767, 32_768, 100_000):
        alone[:] = 1
        Adam(1, np.float64).step(alone, gradient[index : index + 1], lr=0.1)
        assert together[index] == alone[0]


def test_biases_and_norms_do_not_decay():
    params = {
        "linear": {"weight": np.ones((2, 3)), "bias": np.ones(3)},
        "norm": {"weight": np.ones(2), "bias": np.ones(2)},
    }
    weights, views = parameters.pack(params)
    adamw(params, weight_decay=0.5).step(weights, np.zeros_like(weights), lr=0.1)
    assert (views["linear"]["weight"] == 0.95).all()
    assert all((views[name]["bias"] == 1).all() for name in views)
    assert (views["norm"]["weight"] == 1).all()


def test_float32_stays_float32():
    weights = np.ones(5, np.float32)
    adam = Adam(5, np.float32, weight_decay=0.1, decayed=[slice(0, 5)])
    adam.step(weights, np.ones(5, np.float32), lr=np.float64(0.1))
    assert weights.dtype == adam.m.dtype == adam.v.dtype == np.float32


def test_wrong_sizes_and_settings_are_refused():
    with pytest.raises(ValueError, match=r"3 parameters.*\(4,\)"):
        Adam(3).step(np.ones(4), np.ones(4), lr=0.1)
    with pytest.raises(ValueError, match="betas"):
        Adam(3, betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="warmup is 0"):
        schedules.cosine(1.0, warmup=0, steps=10)
    with pytest.raises(ValueError, match="no schedule 'linear'"):
        schedules.make("linear", 1.0, 1, 1)


def test_the_paper_s_schedule():
    """Equation 3: d_model^-0.5 * min(step^-0.5, step * warmup^-1.5)."""
    d_model, warmup = 512, 4000
    rate = schedules.inverse_square_root(1 / math.sqrt(d_model * warmup), warmup)
    for step in (1, 100, 4000, 4001, 100_000):
        expected = d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert rate(step) == pytest.approx(expected, rel=1e-12)


def test_cosine_begins_and_ends_as_it_should():
    rate = schedules.make("cosine", 0.3, warmup=10, steps=110)
    assert rate(1) == pytest.approx(0.03)
    assert rate(10) == pytest.approx(0.3)
    assert rate(60) == pytest.approx(0.15)
    assert rate(110) == pytest.approx(0, abs=1e-12)
    assert all(rate(step) > rate(step + 1) for step in range(10, 110))
