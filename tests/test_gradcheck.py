"""The checker: the project's gradients are right, mistakes are told from kinks, and no false alarm.

That it finds bugs is tested with the whole catalogue, in ``test_bugs.py``.
"""

from __future__ import annotations

import json
import types
from dataclasses import replace

import numpy as np
import pytest
import workers

from numpy_transformer.gradcheck import METHODS, Call, FaceError, check, gradcheck, points
from numpy_transformer.ops import attention, dropout, layer_norm, linear, relu, softmax

X = np.random.default_rng(0).standard_normal((3, 4))


def at(name, seed=0, method="combined"):
    point = points.point(name, seed)
    call = Call(point.op, point.args, point.settings, name)
    return call, check(call, method, seed, zero=point.zero)


def operation(forward, backward, name="op"):
    return types.SimpleNamespace(__name__=name, forward=forward, backward=backward)


# The project's own gradients


def checked(name):
    """The report on a point, and of each gradient the largest entry, to compare errors with."""
    call, report = at(name)
    y, cache = call.forward()
    dy = np.random.default_rng(0).standard_normal(y.shape)  # as in the check
    gradients = call.gradients(dy, cache)
    return report, [np.abs(array).max() for array in gradients.values()]


@pytest.fixture(scope="module")
def reports(request):
    with workers.Workers(checked) as found:
        found.start(workers.chosen(request, "name"))
        yield found


@pytest.mark.parametrize("name", points.POINTS)
def test_every_gradient_is_right_and_the_complex_step_agrees_to_1e_12(name, reports):
    report, largest = reports(name)
    report.raise_if_wrong()
    assert "every entry measured by complex step" in report.notes
    assert len(report.rules) == 10 and report.rules[-1].name.startswith("Taylor")
    for found, own in zip(report.gradients, largest):
        size = max(largest) if found.verdict == "zero" else own
        assert found.absolute <= 1e-12 * size, found.name


@pytest.mark.parametrize("method", ["direction", "taylor"])
@pytest.mark.parametrize("seed", range(1, 4))  # benchmarks/gradcheck.py has 200
def test_no_false_alarm_at_other_points(method, seed):
    for name in points.POINTS:
        at(name, seed, method)[1].raise_if_wrong()


@pytest.mark.parametrize("seed", [1, 2])
def test_no_false_alarm_of_central_differences(seed):
    for name in points.POINTS:
        if points.point(name).op.__name__.startswith("numpy_transformer.ops"):
            at(name, seed, "central")[1].raise_if_wrong()


@pytest.mark.parametrize("method", METHODS)
def test_no_false_alarm_in_single_precision(method):
    for name in ("linear", "gelu", "softmax", "layer_norm", "attention", "feed_forward, relu"):
        point = points.point(name)
        call = Call(point.op, point.args, point.settings, name).as_type(np.float32)
        check(call, method, zero=point.zero).raise_if_wrong()


@pytest.mark.parametrize("method", ["central", "direction", "taylor"])
@pytest.mark.parametrize("seed", [168, 228])
def test_a_kink_within_the_step_is_no_false_alarm(seed, method):
    """With these seeds a hidden unit lies so near to 0 that a step crosses ReLU's kink."""
    call, report = at("feed_forward, relu", seed, method)
    _, cache = call.forward()
    hidden = cache.hidden.x @ cache.hidden.weight + call.leaves["params.hidden.bias"]
    assert 0 < np.abs(hidden).min() < 2e-4
    report.raise_if_wrong()
    if method == "central":
        assert any(gradient.kinks for gradient in report.gradients)
        assert "kinks met" in report.line()


def test_kinks_within_long_steps_do_not_spoil_the_order():
    """With this seed only the two longest steps leave a remainder, as they cross a kink."""
    _, report = at("relu", 64)
    report.raise_if_wrong()
    assert report.rules[-1].name.startswith("Taylor")


# What a gradient can be beside right and wrong


@pytest.mark.parametrize("method", METHODS)
def test_a_kink_at_the_point_is_named(method):
    x = X.copy()
    x[0, 1] = 0
    report = gradcheck(relu, x, method=method)
    (found,) = report.gradients
    assert report.ok and found.verdict == "kink" and "kink" in found.reason
    if found.where is not None:
        assert "the first at [0, 1]" in found.reason


def test_a_tie_is_a_kink():
    largest = operation(
        lambda x: (x.max(axis=-1), x),
        lambda dy, x: dy[:, None] * (x == x.max(axis=-1, keepdims=True)),
    )
    x = X.copy()
    x[1, :2] = 5
    (found,) = gradcheck(largest, x).gradients
    assert found.verdict == "kink" and "2 of 12 entries, the first at [1, 0]" in found.reason
    gradcheck(largest, X).raise_if_wrong()


def test_a_kink_is_no_excuse_for_a_wrong_gradient():
    """At 0 any slope from 0 to 1 will do for ReLU, but not 2."""
    twice = operation(relu.forward, lambda dy, cache: 2 * dy)
    for method in ("combined", "central", "complex"):
        assert gradcheck(twice, np.zeros(5), method=method).verdict == "wrong"


def test_two_kinks_that_cancel_are_kinks_all_the_same():
    """relu(x) - relu(-x) is x, but at 0 backward passes, taking 0 there, say 0."""
    identity = operation(
        lambda x: (np.stack([relu.forward(x)[0], relu.forward(-x)[0]]), x),
        lambda dy, x: dy[0] * (x > 0) - dy[1] * (x < 0),
    )
    (found,) = gradcheck(identity, np.zeros(4)).gradients
    assert found.ok and found.verdict == "kink"


def test_a_jump_is_named():
    rounded = operation(lambda x: (np.round(x) + x, None), lambda dy, cache: dy)
    (found,) = gradcheck(rounded, np.full(3, 0.5)).gradients
    assert found.verdict == "jump" and "forward jumps" in found.reason
    gradcheck(rounded, np.full(3, 0.3)).raise_if_wrong()


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_of_zeros_has_shown_nothing(method):
    unused = operation(lambda x, w: (2 * x + 0 * w, None), lambda dy, _: (2 * dy, 0 * dy))
    report = gradcheck(unused, X, X, method=method)
    assert [(g.name, g.verdict, g.ok) for g in report.gradients] == [
        ("dx", "right", True), ("dw", "zero", False),
    ]  # fmt: skip
    assert report.verdict == "zero" and "vacuous" in report.gradients[1].reason
    assert report.gradients[1].zeros == 1
    assert gradcheck(unused, X, X, method=method, zero=("dw",)).ok


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_far_smaller_than_the_others_is_not_zero(method):
    def forward(x, w):
        return 1e5 * x + 1e-5 * w * w, w

    small = operation(forward, lambda dy, w: (1e5 * dy, 2e-5 * dy * w))
    assert [g.verdict for g in gradcheck(small, X, X, method=method).gradients] == 2 * ["right"]
    wrong = operation(forward, lambda dy, w: (1e5 * dy, 3e-5 * dy * w))
    if method in ("combined", "complex"):  # along one line it is lost beside the other
        assert gradcheck(wrong, X, X, method=method).amiss == ("dw",)


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_of_zeros_that_should_not_be_is_wrong(method):
    forgotten = operation(lambda x, w: (x * w, w), lambda dy, w: (dy * w, 0 * dy))
    report = gradcheck(forgotten, X, X + 3, method=method)
    assert [(g.verdict, g.kind) for g in report.gradients][1] == ("wrong", "zero")
    assert report.amiss == ("dw",)


def test_what_is_not_finite_is_named_with_its_place():
    logarithm = operation(lambda x: (np.log(x), x), lambda dy, x: dy / x)
    report = gradcheck(logarithm, np.array([[1.0, 2.0], [3.0, -1.0]]))
    assert "the output is finite: no. it is nan at [1, 1]" in report.table()
    root = operation(
        lambda x: (np.sqrt(x), x), lambda dy, x: np.where(x > 2, dy * np.inf, dy / np.sqrt(x) / 2)
    )
    (found,) = gradcheck(root, np.array([[1.0, 2.0], [3.0, 1.0]])).gradients
    assert found.verdict == "wrong" and "inf at [1, 0]" in found.reason


def test_an_argument_that_is_not_finite_stays_where_it_is():
    """-inf is how a softmax is told to leave something out."""
    x = X.copy()
    x[0, 2] = -np.inf
    gradcheck(softmax, x).raise_if_wrong()
    gradcheck(softmax, x, method="direction").raise_if_wrong()


def test_an_array_without_entries_is_no_mistake():
    empty = operation(
        lambda x, w: (w + 0.0, x.shape), lambda dy, shape: (np.zeros(shape, dy.dtype), dy)
    )
    report = gradcheck(empty, np.zeros((0, 3)), X)
    assert report.ok and report.gradients[0].where is None


# The complex step is not believed where it says nothing


def test_forward_with_an_abs_in_it_is_measured_by_differences():
    absolute = operation(lambda x: (np.abs(x), x), lambda dy, x: dy * np.sign(x))
    report = gradcheck(absolute, X)
    assert report.ok and "every entry measured by central differences" in report.notes
    with pytest.raises(FaceError, match="the complex step says nothing here.*is there an abs"):
        gradcheck(absolute, X, method="complex")


def test_a_backward_that_is_right_for_the_complex_step_alone_is_wrong():
    """x * real(x): as a function of complex numbers its slope is x, in truth it is 2x."""
    half = operation(lambda x: (x * x.real, x), lambda dy, x: dy * x)
    report = gradcheck(half, X)
    assert report.verdict == "wrong" and report.gradients[0].kind == "factor"


def test_forward_that_takes_no_complex_numbers_is_measured_by_differences():
    def forward(x):
        return np.floor(x) * 0 + x * x, x  # floor takes real numbers only

    square = operation(forward, lambda dy, x: 2 * dy * x)
    gradcheck(square, X).raise_if_wrong()
    with pytest.raises(FaceError, match="floor"):
        gradcheck(square, X, method="complex")


# The rules of the face


def broken(report):
    return [rule.name for rule in report.rules if not rule.ok]


def test_writing_into_what_was_given_is_found():
    def forward(x):
        x *= 2
        return x, None

    report = gradcheck(operation(forward, lambda dy, cache: 2 * dy), X)
    assert "arguments stay as they are" in broken(report) and not report.ok
    into_dy = operation(lambda x: (2 * x, None), lambda dy, cache: np.multiply(dy, 2, out=dy))
    assert broken(gradcheck(into_dy, X))[0] == "dy stays as it is"


def test_a_cache_that_is_used_up_is_found():
    def backward(dy, cache):
        cache *= 2
        return dy * cache

    report = gradcheck(operation(lambda x: (x * x, x.copy()), backward), X)
    assert broken(report) == ["backward repeats itself"]
    assert report.amiss == ("dx",) and "does it write into the cache?" in report.table()


def test_a_backward_that_cannot_be_called_twice_is_found():
    used_up = operation(lambda x: (x * x, [x]), lambda dy, cache: 2 * dy * cache.pop())
    report = gradcheck(used_up, X)
    assert broken(report) == ["backward repeats itself"]
    assert "called a second time with the same cache, op: backward raised IndexE" in report.table()


def test_a_gradient_that_does_not_depend_on_dy_is_found():
    report = gradcheck(operation(lambda x: ((x * x).sum(), x), lambda dy, x: 2 * x), X)
    assert "nothing comes of nothing" in broken(report)
    squared = operation(lambda x: (x + 0.0, None), lambda dy, cache: dy * np.abs(dy))
    assert broken(gradcheck(squared, X)) == ["backward is linear in dy"]


def test_memory_layout_is_tried():
    def backward(dy, x):
        return dy.ravel(order="K").reshape(dy.shape)  # in the order of memory

    report = gradcheck(operation(lambda x: (x + 0.0, x), backward), X)
    assert broken(report) == ["any memory layout will do"]

    def in_place(x):
        x = x.view()
        x.shape = (-1,)  # not possible without a copy if x is not contiguous
        return x + 0.0, None

    report = gradcheck(operation(in_place, lambda dy, cache: dy.reshape(3, 4)), X)
    assert broken(report) == ["any memory layout will do"]


def test_float64_that_creeps_in_is_found():
    root = np.sqrt(np.array([4.0]))
    wide = operation(lambda x: (x / 2, None), lambda dy, cache: dy / root)
    report = gradcheck(wide, X)
    assert broken(report) == ["float32 stays float32"] and report.amiss == ("dx",)
    assert "of float32 arguments dx is float64" in report.table()


def test_a_gradient_of_another_dtype_is_wrong():
    narrow = operation(lambda x: (2 * x, None), lambda dy, cache: (2 * dy).astype(np.float32))
    (found,) = gradcheck(narrow, X).gradients
    assert found.reason == "it is float32, but its argument is float64"


def test_random_numbers_come_from_copies_of_the_generators():
    rng = np.random.default_rng(5)
    before = rng.bit_generator.state
    gradcheck(dropout, X, 0.5, rng).raise_if_wrong()
    assert rng.bit_generator.state == before
    # forward's parameter of the same name gets the checker's generator
    report = gradcheck(dropout, X, 0.5, rng=np.random.default_rng(5))
    report.raise_if_wrong()
    assert report.gradients[0].zeros > 0


def test_other_random_numbers_are_refused():
    rng = np.random.default_rng(0)
    noisy = operation(lambda x: (x + rng.random(), None), lambda dy, cache: dy)
    with pytest.raises(FaceError, match="another output each time.*from a generator among"):
        gradcheck(noisy, X)


def test_the_caller_s_arrays_stay_as_they_are():
    x = X.copy()
    x.setflags(write=False)
    gradcheck(softmax, x).raise_if_wrong()
    np.testing.assert_array_equal(x, X)


# What has the face, and what has not


def test_classes_and_objects_will_do():
    class Square:
        def forward(self, x):
            return x * x, x

        def backward(self, dy, x):
            return 2 * dy * x

    class Static:
        forward = staticmethod(lambda x: (x * x, x))
        backward = staticmethod(lambda dy, x: 2 * dy * x)

    for op in (Square, Square(), Static, Static()):
        report = gradcheck(op, X)
        report.raise_if_wrong()
    assert report.name == "Static"


def test_arguments_may_be_given_by_name():
    x, weight, bias = points.point("layer_norm").args
    report = gradcheck(layer_norm, x, bias=bias, weight=weight)
    assert report.ok and [g.name for g in report.gradients] == ["dx", "dweight", "dbias"]


def test_trees_of_parameters_may_hold_lists_integers_and_nothing():
    params = {"weights": [X[0] + 2, X[1] + 2], "ids": np.arange(3), "bias": None}

    def forward(x, params):
        return x * params["weights"][0] * params["weights"][1], (x, params["weights"])

    def backward(dy, cache):
        x, (a, b) = cache
        return dy * a * b, {"weights": [(dy * x * b).sum(0), (dy * x * a).sum(0)], "bias": None}

    report = gradcheck(operation(forward, backward), X, params)
    report.raise_if_wrong()
    assert [g.name for g in report.gradients] == ["dx", "dparams.weights.0", "dparams.weights.1"]


def handed_on(dy, cache):
    return dy


IDENTITY = operation(lambda x: (x + 0.0, None), handed_on)


@pytest.mark.parametrize(
    "op, args, message",
    [
        (softmax, (np.ones(3, int),), "nothing to differentiate"),
        (types.SimpleNamespace(forward=lambda x: x), (X,), "no function 'backward'; expected y, c"),
        (types.SimpleNamespace(backward=lambda x: x), (X,), "no function 'forward'"),
        (operation(lambda x: x, None), (X,), "no function 'backward'"),
        (operation(lambda x: x, handed_on), (X,), r"an array \(3, 4\) of float64; ex"),
        (operation(lambda x: (x > 0, 1), handed_on), (X,), "of bool; expected an array of floats"),
        (IDENTITY, (X, X), r"the arguments do not fit forward\(x\): too many"),
        (IDENTITY, (X.astype("f2"),), "expected all float64, or all float32; given x float16"),
        (linear, (X, X.T.astype(np.float32)), "given x float64, weight float32"),
        (operation(lambda x, w: (x * w, 0), lambda dy, c: dy), (X, X),
         r"returned 1 gradient, but forward has 2 arguments to differentiate \(x, w\); expected"),
        (operation(lambda x: (x, 0), lambda dy, c: (dy, dy)), (X,), "returned 2 gradients, but f"),
        (operation(lambda x: (x, 0), lambda dy, c: "dy"), (X,), "dx is of type str; expected an"),
        (operation(lambda p: (p["w"] * 2, 0), lambda dy, c: {"v": dy}), ({"w": X},),
         "a gradient dp.v, but there is no such argument; there is p.w"),
        (operation(lambda x: (x, 0), lambda dy, c: 1 / 0), (X,), "backward raised ZeroDivision"),
        (operation(lambda x: (x @ x, 0), lambda dy, c: dy), (X,), "forward raised ValueError"),
    ],
)  # fmt: skip
def test_what_has_not_the_face_is_refused_with_a_sentence(op, args, message):
    with pytest.raises(FaceError, match=message):
        gradcheck(op, *args)


def test_a_class_that_needs_arguments_is_refused():
    class Needy:
        def __init__(self, size):
            self.size = size

        forward = backward = print

    with pytest.raises(FaceError, match="cannot be made without arguments.*pass an object of it"):
        gradcheck(Needy, X)


def test_missing_and_misshapen_gradients_are_wrong():
    none = operation(lambda x, w: (x * w, (x, w)), lambda dy, c: (dy * c[1], None))
    report = gradcheck(none, X, X + 3)
    assert [g.verdict for g in report.gradients] == ["right", "wrong"]
    assert report.gradients[1].reason == "backward returned nothing for it"
    missing = operation(lambda p: (p["w"] * p["b"], p), lambda dy, p: {"w": dy * p["b"]})
    report = gradcheck(missing, {"w": X, "b": X})
    assert report.amiss == ("dp.b",)
    unsummed = operation(lambda x, b: (x + b, None), lambda dy, c: (dy, dy))
    found = gradcheck(unsummed, X, X[0]).gradients[1]
    assert found.kind == "sum" and found.reason.startswith("it is (3, 4), but its argument is (4,)")
    turned = operation(lambda x: (2 * x, None), lambda dy, c: 2 * dy.T)
    (found,) = gradcheck(turned, X).gradients
    assert found.kind == "transpose"


def test_a_method_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="method is 'exact', expected one of combined, central"):
        gradcheck(softmax, X, method="exact")


# Many entries


def test_large_operations_are_measured_along_directions():
    weight = np.random.default_rng(0).standard_normal((200, 150))
    report = gradcheck(linear, X @ X.T @ np.ones((3, 200)), weight, None)
    report.raise_if_wrong()
    assert "30600 entries are too many" in report.notes[0]

    def backward(dy, cache):
        dx, dweight, _ = linear.backward(dy, cache)
        dweight[7, 9] *= 1.001
        return dx, dweight, None

    wrong = operation(linear.forward, backward)
    assert gradcheck(wrong, X @ X.T @ np.ones((3, 200)), weight, None).amiss == ("dweight",)


# The report


def test_the_table_names_every_gradient():
    table = at("layer_norm")[1].table()
    assert [line.split()[:2] for line in table.splitlines()[2:5]] == [
        ["dx", "3x5x8"], ["dweight", "8"], ["dbias", "8"],
    ]  # fmt: skip
    assert table.splitlines()[-1] == "  right"


def test_a_wrong_gradient_is_shown_with_its_place_and_both_values():
    def backward(dy, cache):
        dx = 2 * dy
        dx[1, 2] += 0.5
        return dx

    wrong = operation(lambda x: (2 * x, None), backward)
    for method in ("combined", "central", "complex"):
        report = gradcheck(wrong, X, method=method, rng=3)
        (found,) = report.gradients
        assert found.where == (1, 2) and found.kind == "part"
        assert found.analytic - found.numeric == pytest.approx(0.5)
        assert found.absolute == pytest.approx(0.5)
        with pytest.raises(AssertionError, match=r"dx .*\[1, 2\].*wrong"):
            report.raise_if_wrong()


def test_the_dictionary_is_plain_json():
    report = gradcheck(operation(lambda x: (2 * x, 0), lambda dy, c: dy * np.nan), X)
    found = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert found["ok"] is False and found["verdict"] == "wrong" and found["amiss"] == ["dx"]
    (gradient,) = found["gradients"]
    assert gradient["name"] == "dx" and gradient["shape"] == [3, 4]
    assert gradient["where"] == [0, 0] and gradient["relative"] == "inf"


def test_the_same_seed_gives_the_same_report():
    first, second = (at("attention", 4)[1] for _ in range(2))
    assert first == second
    assert replace(first, name="other") != first


def test_a_tolerance_may_be_given():
    off = operation(lambda x: (2 * x, None), lambda dy, cache: 2.0001 * dy)
    assert not gradcheck(off, X).ok
    assert not gradcheck(off, X, method="central").ok
    loose = gradcheck(off, X, method="central", tolerance=1e-3)
    assert [g.verdict for g in loose.gradients] == ["right"]


def test_attention_s_point_has_a_query_that_may_attend_to_nothing():
    point = points.point("attention")
    _, cache = attention.forward(*point.args)
    assert (cache.weights == 0).all(axis=-1).any()
    assert not (cache.weights == 0).all(axis=-1).all()
