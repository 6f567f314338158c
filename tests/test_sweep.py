"""The error against the step: the curves are the ones that the theory says, and are shown whole."""

from __future__ import annotations

import importlib.util
import math
import sys
import types

import numpy as np
import pytest

from numpy_transformer.gradcheck import Call, FaceError, points
from numpy_transformer.gradcheck.face import independent
from numpy_transformer.gradcheck.sweep import (
    ENDINGS,
    METHODS,
    STEPS,
    Point,
    csv,
    picture,
    sweep,
    table,
)
from numpy_transformer.ops import dropout, gelu, linear, relu, softmax

COLUMNS = [(method, dtype) for method in METHODS for dtype in ("float64", "float32")]
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float64", "float32")}


def run(op, args, settings=None, name="", rng=0):
    return sweep(Call(op, args, settings, name), rng)


def at(name):
    point = points.point(name)
    return run(point.op, point.args, point.settings, name=name)


def errors(found, method, dtype="float64"):
    """Errors by step."""
    return {p.step: p.error for p in found if (p.method, p.dtype) == (method, dtype)}


def slope(curve, long, short):
    """The order at which the error falls from one step to a shorter one."""
    return math.log(curve[long] / curve[short]) / math.log(long / short)


@pytest.fixture(scope="module")
def layer_norm():
    return at("layer_norm")


def test_every_method_has_a_point_a_step(layer_norm):
    assert STEPS == tuple(float(f"1e-{k}") for k in range(1, 15))
    assert [point[:3] for point in layer_norm] == [(*c, step) for c in COLUMNS for step in STEPS]
    assert all(type(point.error) is float and point.error >= 0 for point in layer_norm)


def test_differences_have_a_best_step(layer_norm):
    """Truncation falls as h^4 from the left, rounding grows as 1/h to the right."""
    for method in ("central", "direction"):
        curve = errors(layer_norm, method)
        best = min(curve, key=curve.get)
        assert 1e-5 <= best <= 1e-2
        assert curve[best] < 1e-11
        assert min(curve[1e-1], curve[1e-12]) > 1000 * curve[best]
        assert 3.8 < slope(curve, 1e-1, 1e-2) < 4.2
        assert -1.4 < slope(curve, 1e-6, 1e-12) < -0.6


def test_a_complex_step_is_never_too_short(layer_norm):
    curve = errors(layer_norm, "complex")
    assert 1.95 < slope(curve, 1e-2, 1e-5) < 2.05
    assert max(error for step, error in curve.items() if step <= 1e-9) < 1e-14
    single = errors(layer_norm, "complex", "float32")
    assert 1e-9 < single[1e-14] < 1e-5


def test_the_one_sided_remainder_is_of_first_order(layer_norm):
    curve = errors(layer_norm, "taylor")
    assert 0.95 < slope(curve, 1e-3, 1e-6) < 1.05
    best = min(curve, key=curve.get)
    assert 1e-9 <= best <= 1e-7
    assert 1e-10 < curve[best] < 1e-7
    assert curve[1e-12] > 100 * curve[best]


def test_float32_is_worse_and_has_longer_best_steps(layer_norm):
    for method in METHODS:
        double, single = (errors(layer_norm, method, dtype) for dtype in ("float64", "float32"))
        assert min(single.values()) > 1000 * min(double.values())
        assert min(single, key=single.get) > min(double, key=double.get) or method == "complex"
    central = errors(layer_norm, "central", "float32")
    assert 1e-7 < min(central.values()) < 1e-4


def test_in_float32_a_short_step_is_no_step_at_all(layer_norm):
    """x + h is x, the derivative 0, and the error that of 0: exactly 1."""
    for method in ("central", "direction", "taylor"):
        curve = errors(layer_norm, method, "float32")
        assert {curve[step] for step in STEPS if step <= 1e-11} == {1.0}


def cubic(power=1.0):
    """y = x^3, the derivative times ``power``."""

    def forward(x):
        return x * x * x, x

    def backward(dy, cache):
        return power * 3 * dy * cache * cache

    return types.SimpleNamespace(forward=forward, backward=backward, __name__="cubic")


def test_the_error_is_what_the_docstring_says():
    """For y = x^3 the complex step is off by h^2 exactly: imag((x + ih)^3)/h = 3x^2 - h^2."""
    x = np.array([2.0, -1.0, 0.5])
    curve = errors(run(cubic(), (x,), rng=3), "complex")
    dy = independent(3).standard_normal(3)
    h = 1e-2 * np.sqrt(np.mean(x * x))
    expected = np.abs(dy * h * h).max() / np.abs(3 * dy * x * x).max()
    assert curve[1e-2] == pytest.approx(expected, rel=1e-9)


def test_a_polynomial_of_fourth_order_has_no_truncation():
    curve = errors(run(cubic(), (np.array([2.0, -1.0, 0.5]),)), "central")
    assert curve[1e-1] < 1e-14 < curve[1e-6]


def test_where_backward_is_wrong_every_curve_stays_at_its_error():
    found = run(cubic(1.01), (np.array([2.0, -1.0, 0.5]),))
    for method in METHODS:
        curve = errors(found, method)
        assert curve[1e-8] == pytest.approx(0.01 / 1.01, rel=1e-3), method
    assert "backward is wrong" in table("cubic", found)
    assert "backward is wrong" not in table("cubic", run(cubic(), (np.array([2.0, -1.0, 0.5]),)))


def test_a_kink_within_the_step():
    """ReLU is straight: either the step reaches over the kink, or there is no truncation."""
    x = np.array([0.05, -2.0, 1.0])  # of size 1.3
    found = run(relu, (x,))
    for method in ("central", "direction"):
        curve = errors(found, method)
        assert curve[1e-1] > 1e-2, method
        assert curve[1e-2] < 1e-12, method
    assert max(errors(found, "complex").values()) < 1e-15


@pytest.mark.parametrize("op", [gelu, softmax])
def test_other_operations_have_the_same_curves(op):
    found = run(op, (np.array([[0.7, -1.2, 2.0], [0.1, 0.4, -0.8]]),))
    central = errors(found, "central")
    assert 3.8 < slope(central, 1e-1, 1e-2) < 4.2
    assert min(central.values()) < 1e-11
    assert errors(found, "complex")[1e-14] < 1e-14


def test_entries_are_drawn_where_there_are_many(monkeypatch):
    """100 of all gradients together, and the largest of each; 4 forwards each, for each step."""
    count = 0

    def forward(x, weight):
        nonlocal count
        count += 1
        return linear.forward(x, weight, None)

    def backward(dy, cache):
        return linear.backward(dy, cache)[:2]

    rng = np.random.default_rng(0)
    op = types.SimpleNamespace(forward=forward, backward=backward, __name__="linear")
    args = rng.standard_normal((20, 30)), rng.standard_normal((30, 40))
    monkeypatch.setattr(f"{sweep.__module__}.STEPS", (1e-3,))
    found = run(op, args)
    assert max(p.error for p in found if p.dtype == "float64" and p.method != "taylor") < 1e-11
    # In each precision: central, complex, direction and taylor, and two to look at the output.
    assert 100 * 5 + 6 <= count / 2 <= 102 * 5 + 8


def test_the_largest_entry_of_a_gradient_is_always_drawn(monkeypatch):
    monkeypatch.setattr(f"{sweep.__module__}.STEPS", (1e-12,))
    weight = np.ones(3000)
    weight[1234] = 1e5
    found = run(unary(lambda x: weight.astype(x.dtype) * x, lambda x: weight), (np.ones(3000),))
    assert errors(found, "central", "float32") == {1e-12: 1.0}


def test_entries_that_are_not_finite_stay():
    found = run(softmax, (np.array([[0.7, -np.inf, 2.0]]),))
    assert min(errors(found, "central").values()) < 1e-11


def test_the_same_seed_gives_the_same_points_and_changes_nothing():
    x, state = np.array([0.3, -1.2, 2.0]), np.random.default_rng(1)
    args = (x, 0.4, state)  # dropout draws its mask from the generator
    before = x.copy(), state.bit_generator.state
    first = run(dropout, args, rng=5)
    assert run(dropout, args, {}, rng=5) == first
    assert run(dropout, args, rng=np.random.default_rng(5)) == first
    assert run(dropout, args, rng=6) != first
    assert np.array_equal(x, before[0]) and state.bit_generator.state == before[1]


def test_settings_and_trees_of_parameters(monkeypatch):
    monkeypatch.setattr(f"{sweep.__module__}.STEPS", (1e-3,))
    found = at("feed_forward, gelu")
    assert errors(found, "central")[1e-3] < 1e-11
    assert errors(found, "complex")[1e-3] < 1e-5
    tanh = run(gelu, (np.array([1.0, -2.0]),), {"approximate": "tanh"})
    assert tanh != run(gelu, (np.array([1.0, -2.0]),))


def test_a_gradient_of_zero_is_no_division_by_rounding(monkeypatch):
    """The bias of the keys has a gradient of 1e-17, which no measurement can come near."""
    monkeypatch.setattr(f"{sweep.__module__}.STEPS", (1e-3, 1e-10))
    found = at("multi_head_attention")
    assert errors(found, "central")[1e-3] < 1e-9
    assert errors(found, "complex")[1e-10] < 1e-13


def unary(forward, derivative):
    return types.SimpleNamespace(
        forward=lambda x: (forward(x), x),
        backward=lambda dy, cache: dy * derivative(cache),
        __name__="unary",
    )


def test_both_precisions_stand_at_the_same_point():
    """Between 1 and the next number of float32 but one, a rounded x has quite another gradient."""
    found = run(unary(lambda x: (x - 1) * (x - 1), lambda x: 2 * (x - 1)), (np.array([1 + 3e-7]),))
    assert errors(found, "complex", "float32")[1e-10] < 1e-6


def no_complex(x):
    if x.dtype.kind == "c":
        raise TypeError("no complex numbers")
    return x * x


def test_without_complex_numbers_there_is_no_complex_column():
    found = run(unary(no_complex, lambda x: 2 * x), (np.array([1.0, 2.0]),))
    assert {point.method for point in found} == {"central", "direction", "taylor"}
    assert "complex" not in table("unary", found)


def test_complex_numbers_that_are_treated_as_others_are_named():
    found = run(unary(lambda x: np.abs(x) + 0 * x, np.sign), (np.array([1.0, 2.0]),))
    assert min(errors(found, "complex").values()) > 0.5
    assert "complex step is wrong" in table("unary", found)
    assert "complex step is wrong" not in table("unary", run(gelu, (np.array([1.0, 2.0]),)))


def refuses(x):
    if x.dtype == np.float32:
        raise TypeError("float64 only")
    return x * x


@pytest.mark.parametrize("forward", [refuses, lambda x: x * np.array([1.0, 2.0]) * x])
def test_without_float32_there_is_no_column_of_it(forward):
    found = run(unary(forward, lambda x: 2 * x), (np.array([1.0, 2.0]),))
    assert {point.dtype for point in found} == {"float64"}
    rows = table("unary", found).splitlines()
    assert rows[2].split() == list(METHODS)
    assert rows[3].split() == ["step", *["float64"] * 4]


def test_what_is_not_finite_is_a_dash():
    found = run(unary(np.log, lambda x: 1 / x), (np.array([1.0, 0.1]),))
    assert math.isnan(errors(found, "central")[1e-1])
    assert min(e for e in errors(found, "central").values() if not math.isnan(e)) < 1e-11
    row = next(line for line in table("log", found).splitlines() if line.startswith("1e-01"))
    assert row.split()[:3] == ["1e-01", "-", "-"]
    assert "error nan" not in table("log", found)


def test_nothing_to_compare_with_is_said():
    with pytest.raises(ValueError, match="finite output"):
        run(unary(np.log, lambda x: 1 / x), (np.array([1.0, -1.0]),))
    with pytest.raises(ValueError, match="dx is missing, not finite"):
        run(unary(np.square, lambda x: np.full(2, np.nan)), (np.array([1.0, -1.0]),))
    with pytest.raises(ValueError, match=r"not of shape \(2,\)"):
        op = types.SimpleNamespace(forward=lambda x: (x, x), backward=lambda dy, cache: dy[:1])
        run(op, (np.array([1.0, -1.0]),), name="first")
    with pytest.raises(FaceError):
        run(types.SimpleNamespace(forward=lambda x: (x, x)), (np.array([1.0]),), name="none")


def test_a_scalar_and_an_empty_argument():
    op = types.SimpleNamespace(
        forward=lambda x, empty: (x * x * x, x),
        backward=lambda dy, cache: (3 * dy * cache * cache, np.zeros((0, 3))),
    )
    found = run(op, (np.array(2.0), np.zeros((0, 3))), name="scalar")
    assert errors(found, "complex")[1e-2] == pytest.approx(1e-4 / 3, rel=1e-6)


def test_the_table_has_a_row_a_step_and_names_the_best(layer_norm):
    text = table("layer_norm", layer_norm)
    rows = text.splitlines()
    assert "layer_norm" in rows[0]
    assert rows[2].split() == list(METHODS)
    assert rows[3].split() == ["step", *["float64", "float32"] * 4]
    for row, step in zip(rows[4:18], STEPS):
        shown = [f"{errors(layer_norm, *column)[step]:.1e}" for column in COLUMNS]
        assert row.split() == [f"{step:.0e}", *shown]
    assert not rows[18]
    for row, (method, dtype) in zip(rows[19:27], COLUMNS):
        curve = errors(layer_norm, method, dtype)
        words = row.replace(",", "").replace(":", "").split()
        assert words[:2] == [method, dtype]
        assert curve[float(words[4])] <= 2 * min(curve.values())
        assert words[6] == f"{curve[float(words[4])]:.1e}"
    assert "h^4" in text and "h^2" in text and "1/h" in text
    assert max(map(len, rows)) < 80


def test_of_equal_steps_the_longest_is_the_best():
    curve = {0.1: 1.0, 0.01: 3e-16, 0.001: 2e-16}
    found = [Point("complex", "float64", step, error) for step, error in curve.items()]
    assert "best step 1e-02, error 3.0e-16" in table("f", found)


def test_csv_reads_back(layer_norm):
    header, *rows = csv(layer_norm).splitlines()
    assert header == "method,dtype,step,error"
    back = [Point(m, d, float(h), float(e)) for m, d, h, e in (row.split(",") for row in rows)]
    assert back == layer_norm
    assert csv([Point("central", "float32", 0.1, math.nan)]).endswith("central,float32,0.1,nan\n")


class Paper:
    """Stands in for matplotlib's Figure and Axes, and remembers what is asked of it."""

    def __init__(self, calls, broken=False):
        self.calls, self.broken = calls, broken

    def __getattr__(self, name):
        def method(*args, **settings):
            self.calls.append((name, args, settings))
            return self if name in ("Figure", "subplots") else None

        return method

    def savefig(self, file, **settings):
        self.calls.append(("savefig", (), settings))
        file.write(b"half of it")
        if self.broken:
            raise RuntimeError("no ink")
        file.write(b", and the rest")


def pretend(monkeypatch, **settings):
    """A matplotlib that draws nothing; returns what is asked of it."""
    calls = []
    package, figure = types.ModuleType("matplotlib"), types.ModuleType("matplotlib.figure")
    package.figure, figure.Figure = figure, Paper(calls, **settings).Figure
    monkeypatch.setitem(sys.modules, "matplotlib", package)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", figure)
    return calls


def test_a_picture_has_every_curve(monkeypatch, tmp_path, layer_norm):
    calls = pretend(monkeypatch)
    changed = [p._replace(error=0.0) if p.step == 1e-9 else p for p in layer_norm]
    changed = [p._replace(error=math.nan) if p.step == 1e-1 else p for p in changed]
    picture("layer_norm", changed, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == b"half of it, and the rest"
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
    curves = [(args, settings) for name, args, settings in calls if name == "loglog"]
    assert [settings["label"] for _, settings in curves] == [" ".join(c) for c in COLUMNS]
    for (steps, drawn, line), settings in curves:
        assert line == (".-" if settings["label"].endswith("64") else ".--")
        curve = errors(changed, *settings["label"].split())
        assert steps == list(STEPS)
        assert math.isnan(drawn[0])
        assert 0 < drawn[8] < 1e-16  # 0 has no place on a logarithmic axis
        assert drawn[9:] == [max(curve[step], 1e-17) for step in STEPS[9:]]
    names = [name for name, _, _ in calls]
    assert {"invert_xaxis", "legend"} <= set(names)
    assert calls[-1] == ("savefig", (), {"format": "png", "dpi": 150})
    assert any(settings.get("title") == "layer_norm" for _, _, settings in calls)


@pytest.mark.parametrize("ending", [*ENDINGS, ".PNG"])
def test_the_ending_says_of_which_kind(monkeypatch, tmp_path, ending):
    calls = pretend(monkeypatch)
    picture("f", [Point("central", "float64", 0.1, 0.1)], str(tmp_path / f"curves{ending}"))
    assert calls[-1][2]["format"] == ending[1:].lower()


def test_a_picture_that_fails_leaves_the_old_one(monkeypatch, tmp_path):
    pretend(monkeypatch, broken=True)
    (tmp_path / "curves.png").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="no ink"):
        picture("f", [Point("central", "float64", 0.1, 0.1)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_picture_is_written_beside_and_renamed(monkeypatch, tmp_path):
    pretend(monkeypatch)
    seen = []
    monkeypatch.setattr("os.replace", lambda old, new: seen.append((old.read_bytes(), new)))
    picture("f", [Point("central", "float64", 0.1, 0.1)], tmp_path / "curves.png")
    assert seen == [(b"half of it, and the rest", tmp_path / "curves.png")]
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("name", ["curves.txt", "curves", "png", "curves.png.gz"])
def test_an_unknown_ending_is_said(monkeypatch, tmp_path, name):
    calls = pretend(monkeypatch)
    with pytest.raises(ValueError, match=r"a picture ends in \.png, \.svg, \.pdf"):
        picture("f", [Point("central", "float64", 0.1, 0.1)], tmp_path / name)
    assert not calls and not list(tmp_path.iterdir())


def test_without_matplotlib_it_is_said_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"matplotlib.*pip install 'numpy-transformer\[plot\]'"):
        picture("f", [Point("central", "float64", 0.1, 0.1)], tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="matplotlib is not there")
@pytest.mark.filterwarnings("default")  # those of other packages are not for this test to judge
def test_a_real_picture(tmp_path, layer_norm):
    """What a Figure has and its stand-in does not know: each kind of file, and gaps in a curve."""
    loaded = "matplotlib.pyplot" in sys.modules
    beginnings = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    changed = [p._replace(error=math.inf) if p.step == 1e-1 else p for p in layer_norm]
    for ending, beginning in beginnings.items():
        picture("layer_norm", changed, tmp_path / f"curves{ending}")
        content = (tmp_path / f"curves{ending}").read_bytes()
        assert content.startswith(beginning) and len(content) > 5000
    assert ("matplotlib.pyplot" in sys.modules) == loaded  # nothing global is touched
