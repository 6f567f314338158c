"""A wrong gradient is recognised for what it is: each kind of distortion, and what is none."""

from __future__ import annotations

import re

import numpy as np
import pytest

from numpy_transformer.gradcheck.diagnosis import Surroundings, diagnose, name_factor

RNG = np.random.default_rng(0)
B, T, K = 3, 5, 4
RIGHT, DY, NORMED = (RNG.standard_normal((B, T, K)) for _ in range(3))
WEIGHT, RSTD = RNG.standard_normal(K), 0.5 + RNG.random((B, T, 1))
SQUARE = RNG.standard_normal((4, 4))
AROUND = Surroundings(
    DY,
    arrays={"weight": WEIGHT, "cache.normed": NORMED, "cache.rstd": RSTD},
    others={"other": RNG.standard_normal((B, T, K)), "square": SQUARE},
    numbers={"x.shape[0]": B, "y.shape[0]": B, "x.shape[1]": T, "x.shape[2]": K, "": 2,
             "the number of rows of x": B * T, "rate": 0.3},
)  # fmt: skip


def spoiled(change):
    wrong = RIGHT.copy()
    change(wrong)
    return wrong


def zeros_in(right):
    return np.where(NORMED > 0, right, 0.0)


def one_row(wrong):
    wrong[1] *= 2


def one_position(wrong):
    wrong[:, 3] = 0


def block(wrong):
    wrong[..., 2:] += 1.5 * NORMED[..., 2:]


# wrong, right, kind, what the sentence must say
CASES = {
    "zero": (0 * RIGHT, RIGHT, "zero", "zero throughout"),
    "sign": (-RIGHT, RIGHT, "sign", "opposite sign"),
    "1/B": (RIGHT / B, RIGHT, "factor", "0.333333 times.*1/3, where 3 = x.shape.0. = y.shape.0."),
    "sqrt(K)": (RIGHT / np.sqrt(K), RIGHT, "factor", "0.5 times .*: 1/2, or 1/sqrt.4., where 4 ="),
    "T": (RIGHT * T, RIGHT, "factor", "5 times.*: 5, where 5 = x.shape.1.$"),
    "2": (RIGHT * 2, RIGHT, "factor", "2 times the right gradient throughout: 2, or sqrt.4."),
    "minus 2": (RIGHT * -2, RIGHT, "factor", "-2 times.*: -2, or -sqrt.4."),
    "unbiased": (RIGHT * (K - 1) / K, RIGHT, "factor", r"\(4 - 1\)/4, where 4 = x.shape.2."),
    "keep": (RIGHT / 0.7, RIGHT, "factor", r"1/\(1 - 0.3\), where 0.3 = rate"),
    "counted": (RIGHT * 11 / 15, RIGHT, "factor", "11/15, where 15 = the number of rows of x"),
    "no name": (RIGHT * 1.2345, RIGHT, "factor", "1.2345 times the right gradient throughout$"),
    "transposed": (SQUARE.T, SQUARE + 0.0, "transpose", r"axes in the order \(1, 0\)"),
    "other shape": (RIGHT.transpose(0, 2, 1), RIGHT, "transpose", r"axes in the order \(0, 2, 1\)"),
    "reshaped": (RIGHT.swapaxes(1, 2).reshape(B, T, K), RIGHT, "transpose", "wrong places"),
    "shuffled": (np.roll(RIGHT, 1, axis=1), RIGHT, "transpose", "in another order"),
    "not summed": (DY, DY.sum((0, 1)), "sum", r"summed over the axes \(0, 1\), it is right"),
    "swapped": (AROUND.others["other"], RIGHT, "swapped", "right gradient dother in the wrong"),
    "through": (DY, RIGHT, "through", "it is dy"),
    "mask": (RIGHT, zeros_in(RIGHT), "mask", "entries that have to be 0: a mask is missing"),
    "batch row": (spoiled(one_row), RIGHT, "part", "index 1 .3 in all. of axis 0.*it is 2 times"),
    "position": (spoiled(one_position), RIGHT, "part", "index 3 .5 in all. of axis 1.*is zero$"),
    "head": (spoiled(block), RIGHT, "part", r"indices 2 to 3 \(4 in all, block 2 of 2\) of axis 2"),
    "mean": (RIGHT + RSTD, RIGHT, "mean", "constant along axis 2"),
    "column mean": (RIGHT + WEIGHT, RIGHT, "mean", "constant along axis 0 and 1"),
    "weight": (RIGHT * WEIGHT, RIGHT, "scale", "right gradient times weight"),
    "rstd": (RIGHT / RSTD, RIGHT, "scale", "right gradient divided by cache.rstd"),
    "row factor": (RIGHT * RSTD * RSTD, RIGHT, "scale", "along axis 2 .* one factor a row"),
    "term": (RIGHT + RSTD * NORMED, RIGHT, "term", "off by cache.normed times one number for each"),
    "noise": (RIGHT + RNG.standard_normal(RIGHT.shape), RIGHT, "", "^$"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_kind_and_the_sentence(case):
    wrong, right, kind, sentence = CASES[case]
    found, said = diagnose(wrong, right, AROUND, 1e-9)
    assert found == kind
    assert re.search(sentence, said), said


@pytest.mark.parametrize("case", CASES)
def test_rounding_of_what_was_measured_does_not_hide_it(case):
    wrong, right, kind, _ = CASES[case]
    noise = 1e-9 * np.abs(right).max() * np.random.default_rng(1).uniform(-1, 1, right.shape)
    found, _ = diagnose(wrong, right + noise, AROUND, 1e-7)
    # Some entries that have to be 0 are not measured as 0, but are known to be as small as that.
    assert found == kind


def test_a_single_number_is_a_multiple_of_any_other():
    """So a factor is named only if it is made of something."""
    assert diagnose(np.array([2.7]), np.array([1.0]), AROUND, 1e-9) == ("", "")
    assert diagnose(np.array([2.0]), np.array([1.0]), AROUND, 1e-9)[0] == "factor"


def test_a_factor_of_nothing_has_no_name():
    assert name_factor(1.2345, AROUND.numbers) == ""
