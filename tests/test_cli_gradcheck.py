"""``numpy-transformer gradcheck``: what it prints, what it refuses, and its exit status."""

from __future__ import annotations

import csv
import importlib
import json
import pkgutil
import re

import pytest

from numpy_transformer.cli import main
from numpy_transformer.gradcheck import points
from numpy_transformer.gradcheck.bugs import BUGS
from numpy_transformer.ops import relu

MINE = '''
import numpy as np


class scale:
    @staticmethod
    def forward(x, weight):
        return x * weight, (x, weight)

    @staticmethod
    def backward(dy, cache):
        x, weight = cache
        return dy * weight, (dy * x).sum(axis=tuple(range(x.ndim - 1)))


class unsummed(scale):
    @staticmethod
    def backward(dy, cache):
        x, weight = cache
        return dy * weight, dy * x


class narrow(scale):
    @staticmethod
    def backward(dy, cache):
        return tuple(gradient.astype(np.float32) for gradient in scale.backward(dy, cache))


class few(scale):
    @staticmethod
    def backward(dy, cache):
        return dy * cache[1]


class half:
    @staticmethod
    def forward(x, weight):
        return x * weight, None


def square_forward(x):
    return x * x, x


def square_backward(dy, x):
    return 2 * dy * x


def square_sample(rng):
    return (rng.standard_normal((2, 3)),)
'''


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """The command in a folder with a file of a person's own operations."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        try:
            status = main(["gradcheck", *arguments])
        except SystemExit as error:
            status = error.code
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


# Modules of the package


def test_without_a_name_there_is_a_line_for_each_module(command):
    status, output, _ = command("--method", "direction")
    assert status == 0
    lines = output.splitlines()
    assert len(lines) == len(points.POINTS) + 1
    for name, line in zip(points.POINTS, lines):
        assert re.match(rf"{re.escape(name)} +\d+ gradients +\d\.\de[-+]\d\d  right", line)
    assert re.match(r"829 gradients of 53 modules and settings: all right; largest", lines[-1])


def test_a_name_gives_a_line_for_each_gradient(command):
    status, output, _ = command("layer_norm", "linear", "--seed", "3")
    assert status == 0
    assert re.search(r"\n  dweight +8 +\d\.\de-\d\d .*right\n", output)
    assert "every entry measured by complex step" in output
    assert re.search(r"8 gradients of 3 modules and settings: all right", output)


def test_what_is_wrong_is_shown_in_full_and_the_status_is_1(command, monkeypatch):
    monkeypatch.setattr(relu, "backward", lambda dy, cache: dy)
    status, output, _ = command("--method", "direction")
    assert status == 1
    assert re.search(r"relu \(direction\)\n +gradient .*\n  dx .* wrong\n", output)
    assert "WRONG" in output.splitlines()[-1] or "wrong: dx" in output


def test_every_module_with_a_backward_pass_has_a_point():
    found = set()
    for folder in ("ops", "layers", "models"):
        package = importlib.import_module(f"numpy_transformer.{folder}")
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            if hasattr(module, "backward"):
                found.add(info.name)
    # The residual takes a function, and the activation is the name of three that have points:
    # neither has a point of its own, and the layers check both.
    without = {"residual", "activation"}
    assert found - without == {name.partition(",")[0] for name in points.POINTS}


def test_json_is_for_programs(command):
    status, output, _ = command("softmax", "linear", "--json")
    found = json.loads(output)
    assert status == 0 and found["ok"] is True and found["seed"] == 0
    assert [report["name"] for report in found["reports"]] == [
        "softmax", "linear", "linear, no bias",
    ]  # fmt: skip
    assert found["reports"][0]["gradients"][0]["verdict"] == "right"


# A person's own operation

INPUTS = ("--inputs", "x: (2,3,4), weight: (4,)")


def test_an_operation_of_one_s_own_is_right(command):
    status, output, _ = command("mine.py:scale", *INPUTS)
    assert status == 0 and output.startswith("scale (combined)\n")
    assert re.search(r"dx +2x3x4 .* right\n  dweight +4 .* right\n", output)


def test_a_sample_beside_it_gives_the_arguments(command):
    status, output, _ = command("mine.py:square", "--method", "taylor")
    assert status == 0 and re.search(r"dx +2x3 ", output) and "of order 2.00" in output


def test_a_dotted_name_will_do(command):
    status, output, _ = command("numpy_transformer.ops.layer_norm", "--inputs",
                                "x: (2,5), weight: (5,), bias: (5,), eps: 1e-3")  # fmt: skip
    assert status == 0 and "dbias" in output


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("unsummed", r"dweight .*wrong\n +it is \(2, 3, 4\), but its argument is \(4,\); summed"),
        ("narrow", r"dx .*wrong\n +it is float32, but its argument is float64"),
    ],
)
def test_an_operation_of_one_s_own_is_wrong(command, name, sentence):
    status, output, _ = command(f"mine.py:{name}", *INPUTS)
    assert status == 1 and re.search(sentence, output)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["mine.py:half", *INPUTS], "no function .?backward"),
        (["mine.py:few", *INPUTS], r"few: backward returned 1 gradient, but forward has 2 argu"),
        (["mine.py:scale"], r"no arguments to check it at.*\n +--inputs \"x: "),
        (["mine.py:scale", "--inputs", "x: (2,3)"], "weight"),
        (["mine.py:scale", "--inputs", "x: (2,3), weight: (4,)"], "forward raised ValueError"),
        (["mine.py:scale", "--inputs", "x; (2,3)"], "x; "),
        (["mine.py:nothing", *INPUTS], "there is no 'nothing'"),
        (["yours.py:scale", *INPUTS], "no file 'yours.py'"),
        (["softmin"], "no module 'softmin' to check; there is linear, relu.*or name an operation"),
        (["layer_norm", *INPUTS], "--inputs describes the arguments of an operation of your own"),
        (["layer_norm", "--csv", "x.csv"], "--csv goes with --sweep"),
        (["layer_norm", "--seed", "-1"], "--seed is -1, expected a whole number from 0 on"),
        (["--bug", "layer_norm.typo"], "no bug 'layer_norm.typo'; there is layer_norm.w"),
        (["relu", "--bug", "relu.leaks"], "leave out the names"),
        (["--bugs", "residue"], "no bugs in 'residue'; there are some in linear"),
        (["--sweep"], "--sweep takes one NAME"),
        (["--sweep", "relu", "gelu"], "--sweep takes one NAME"),
        (["relu", "--method", "exact"], "invalid choice: 'exact'"),
        (["relu", "--bugs", "--sweep"], "not allowed with"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_a_sentence(command, arguments, sentence):
    status, output, error = command(*arguments)
    assert status == 2 and output == ""
    assert re.search(sentence, error, re.DOTALL), error
    assert "Traceback" not in error


# Bugs


def test_one_bug_is_shown_with_what_it_does_to_the_report(command):
    status, output, _ = command("--bug", "layer_norm.mean-term-dropped")
    assert status == 1
    bug = BUGS["layer_norm.mean-term-dropped"]
    assert output.startswith(f"{bug.name}: {bug.what}\nSeen: {bug.seen}\n")
    assert "has a mean not been subtracted there?" in output
    assert output.endswith("wrong: dx\n")


def test_a_bug_that_no_gradient_shows_says_so(command):
    status, output, _ = command("--bug", "dropout.never-off")
    assert status == 0 and "No gradient can show it: " in output


def test_the_matrix_of_some_bugs(command):
    status, output, _ = command("--bugs", "softmax", "relu")
    assert status == 0
    assert output.splitlines()[0].split()[:5] == [
        "combined", "central", "direction", "complex", "taylor",
    ]  # fmt: skip
    assert re.search(r"softmax.divided-by-the-batch +(found +){5}- ", output)
    assert re.search(r"correct: relu +(\. +){5}", output)


def test_the_matrix_as_json(command):
    status, output, _ = command("--bugs", "relu", "--json")
    rows = json.loads(output)
    assert status == 0
    assert rows[0]["name"] == "relu.handed-on" and rows[0]["found"]["combined"] is True
    assert rows[-1]["planted"] is False


# Sweeps


def test_a_sweep_is_a_table_and_a_file(command, tmp_path):
    status, output, _ = command("--sweep", "relu", "--csv", "relu.csv")
    assert status == 0
    rows = [line for line in output.splitlines() if re.match(r"1e-\d\d ", line)]
    assert len(rows) == 14
    with open(tmp_path / "relu.csv", newline="") as file:
        points = list(csv.DictReader(file))
    assert {point["dtype"] for point in points} == {"float32", "float64"}
    assert len({point["step"] for point in points}) == 14
    status, output, _ = command("--sweep", "mine.py:square", "--json")
    assert status == 0 and json.loads(output)[0]["method"] == "central"


def test_a_picture_of_something_else_is_no_option(command):
    status, _, error = command("--sweep", "relu", "--picture", "relu.doc")
    assert status == 2 and ".png" in error
