"""Operations that once fooled the checker, in one direction or the other."""

from __future__ import annotations

import types

import numpy as np
import pytest

from numpy_transformer.gradcheck import METHODS, FaceError, gradcheck, matrix, points
from numpy_transformer.gradcheck.face import independent
from numpy_transformer.ops import linear, relu

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
SQUARE = np.random.default_rng(0).standard_normal((4, 4))


def operation(forward, backward):
    return types.SimpleNamespace(__name__="op", forward=forward, backward=backward)


def verdicts(op, *args, methods=METHODS, **settings):
    """The verdict of each method; "refused" where it says that it cannot be used."""
    found = {}
    for method in methods:
        try:
            found[method] = gradcheck(op, *args, method=method, **settings).verdict
        except FaceError:
            found[method] = "refused"
    return found


def right(op, *args, refused=(), **settings):
    """Every method says that it is right, but for those that cannot be used."""
    expected = {method: "refused" if method in refused else "right" for method in METHODS}
    assert verdicts(op, *args, **settings) == expected


# The cotangent has nothing to do with the arguments, though both are drawn from one seed


@pytest.mark.parametrize("name", ["relu", "softmax", "dropout", "linear", "gelu"])
def test_the_cotangent_is_not_the_argument(name):
    x = points.point(name, 0).args[0]
    call, _ = matrix.call_at(name, 0)
    y, _ = call.forward()
    count = min(x.size, y.size)
    dy = independent(0).standard_normal(y.shape)
    assert abs(np.corrcoef(x.ravel()[:count], dy.ravel()[:count])[0, 1]) < 0.4


def test_a_bug_that_swaps_argument_and_cotangent_is_found():
    """With x for dy, as the same seed once made it, both of these are the same."""
    right(operation(lambda x: (x @ x, x), lambda dy, x: dy @ x.T + x.T @ dy), SQUARE)
    swapped = operation(lambda x: (x @ x, x), lambda dy, x: x @ dy.T + dy.T @ x)
    assert set(verdicts(swapped, SQUARE).values()) == {"wrong"}


def test_a_norm_is_no_special_point():
    """The gradient of x / |x| is 0 where dy is x."""

    def forward(x):
        norm = np.sqrt((x * x).sum(-1, keepdims=True))
        return x / norm, (x / norm, norm)

    def backward(dy, cache):
        y, norm = cache
        return (dy - y * (dy * y).sum(-1, keepdims=True)) / norm

    right(operation(forward, backward), np.random.default_rng(0).standard_normal((3, 4)))


# Kinks excuse what lies between two slopes, and nothing else


@pytest.mark.parametrize(
    "factor, verdict", [(0.0, "wrong"), (1.0, "right"), (1.2, "wrong"), (5.0, "wrong")]
)
@pytest.mark.parametrize("shape", [(5, 10), (30, 1000)])
def test_many_kinks_do_not_excuse_a_wrong_factor(factor, verdict, shape):
    x = np.random.default_rng(1).standard_normal(shape)
    x[:, ::3] = 0
    op = operation(relu.forward, lambda dy, cache: factor * relu.backward(dy, cache))
    assert set(verdicts(op, x, methods=("combined", "direction", "taylor")).values()) == {verdict}


def test_a_kink_of_one_argument_does_not_excuse_another():
    x, w = np.random.default_rng(1).standard_normal((5, 10)), SQUARE[:, :1].repeat(10, 0)[:10]
    x[:, ::3] = 0

    def forward(x, w):
        h, cache = relu.forward(x)
        return h @ w, (cache, w)

    def backward(dy, cache):
        kept, w = cache
        return relu.backward(dy @ w.T, kept), 1.2 * kept.y.T @ dy

    for method in ("combined", "central", "direction", "taylor"):
        assert gradcheck(operation(forward, backward), x, w, method=method).amiss == ("dw",)


@pytest.mark.parametrize("distance", [1e-6, 3e-7, 1e-7])
@pytest.mark.parametrize("side", [1, -1])
def test_a_point_very_near_to_a_kink_is_no_false_alarm(distance, side):
    x = X.copy()
    x[1, 2] = side * distance
    for method in ("combined", "central"):
        gradcheck(relu, x, method=method).raise_if_wrong()


def test_kinks_are_recognised_at_any_scale():
    report = gradcheck(relu, np.array([-1e-8, 0.0, 2e-8]))
    assert report.ok and report.gradients[0].verdict == "kink"


def test_a_jump_excuses_the_slope_of_its_own_side_alone():
    def op(slope):
        return operation(lambda x: (np.floor(x) * x, x), lambda dy, x: dy * slope(x))

    whole = np.array([1.0, 2.0, -3.0])
    assert gradcheck(op(np.floor), whole).gradients[0].verdict == "jump"
    for method in ("combined", "central", "direction", "taylor"):
        assert gradcheck(op(lambda x: 42), whole, method=method).verdict == "wrong"


def test_noise_is_no_jump():
    """A forward that rounds to float32 inside; its differences say little, but no jump is seen."""
    noisy = operation(
        lambda x: (np.square(x.astype(np.float32)).astype(x.dtype), x), lambda dy, x: 5 * dy * x
    )
    for method in ("direction", "taylor"):
        assert not gradcheck(noisy, X, method=method).ok


# What cannot be measured is not right


def test_log_near_to_zero_is_measured_with_shorter_steps():
    x = np.array([1e-6, 1.0, 2.0, 3.0])
    right(operation(lambda x: (np.log(x), x), lambda dy, x: dy / x), x)

    def backward(dy, x):
        return dy / x * np.array([7.0, 1, 1, 1])

    found = verdicts(operation(lambda x: (np.log(x), x), backward), x)
    assert set(found.values()) == {"wrong"}


def test_what_forward_is_not_finite_beside_is_not_right():
    edge = operation(lambda x: (np.where(x == 1.0, x, np.nan), x), lambda dy, x: 2 * dy)
    for method in ("combined", "central", "direction", "taylor"):
        assert gradcheck(edge, np.ones(3), method=method).verdict == "wrong"
    assert "forward is not finite beside the point" in gradcheck(edge, np.ones(3)).table()


# The complex step is believed where differences confirm it


@pytest.mark.parametrize("weight", [1e-2, 1e-4])
def test_a_small_abs_is_not_overlooked(weight):
    """An L1 penalty: the complex step does not see it, whether backward has it or not."""

    def forward(w):
        # A number of the same dtype: in NumPy 1.26 a Python float turns a 0-d float32 into float64.
        return (w * w).sum() + w.real.dtype.type(weight) * np.abs(w).sum(), w

    whole = operation(forward, lambda dy, w: dy * (2 * w + weight * np.sign(w)))
    right(whole, X, refused=("complex",))
    forgotten = operation(forward, lambda dy, w: dy * 2 * w)
    assert gradcheck(forgotten, X).verdict == "wrong"


def test_an_abs_beside_something_large_is_not_overlooked():
    both = operation(
        lambda x: (np.stack([1e6 * x, np.abs(x)]), x),
        lambda dy, x: 1e6 * dy[0] + dy[1] * np.sign(x),
    )
    right(both, X, refused=("complex",))


def test_an_offset_does_not_hide_that_forward_is_not_analytic():
    def forward(x):
        return (x * x.real).sum() + x.real.dtype.type(1e4), x

    assert gradcheck(operation(forward, lambda dy, x: dy * x), X).verdict == "wrong"
    assert gradcheck(operation(forward, lambda dy, x: 2 * dy * x), X).ok


# Scales


def test_arguments_of_very_different_size_are_right():
    matmul = operation(lambda a, b: (a @ b, (a, b)), lambda dy, c: (dy @ c[1].T, c[0].T @ dy))
    right(matmul, 1e6 * X, 1e-6 * X.T)
    off = operation(matmul.forward, lambda dy, c: (dy @ c[1].T, 2 * c[0].T @ dy))
    for method in METHODS:
        assert gradcheck(off, 1e6 * X, 1e-6 * X.T, method=method).amiss == ("db",)


def test_a_gradient_that_is_zero_for_a_reason_may_be_declared():
    constant = operation(lambda x: (np.exp(x) / np.exp(x), x), lambda dy, x: 0 * dy)
    assert gradcheck(constant, X).verdict == "zero"
    right(constant, X, zero=("dx",))


# The face


def test_what_is_kept_in_the_object_is_found():
    class Stateful:
        def forward(self, x):
            self.x = x
            return x * x, None

        def backward(self, dy, cache):
            return 2 * dy * self.x

    (rule,) = (rule for rule in gradcheck(Stateful, X).rules if not rule.ok)
    assert rule.name == "backward needs the cache alone" and "in the object" in rule.reason


@pytest.mark.parametrize(
    "gradient, sentence",
    [
        (lambda x: x > 0, r"dx is an array \(3, 4\) of bool; expected floats"),
        (lambda x: np.ones(x.shape, int), "of int64; expected floats"),
        (lambda x: x.astype(object), "of object; expected floats"),
        (lambda x: 1j * x, "of complex128; expected floats"),
    ],
)
def test_gradients_that_are_no_floats_are_refused(gradient, sentence):
    op = operation(lambda x: (x + 0.0, x), lambda dy, x: gradient(x))
    for method in METHODS:
        with pytest.raises(FaceError, match=sentence):
            gradcheck(op, X, method=method)


def test_other_odd_ends_are_refused_with_a_sentence():
    class Broken:
        def __init__(self):
            raise RuntimeError("no")

        forward = backward = print

    with pytest.raises(FaceError, match="cannot be made"):
        gradcheck(Broken, X)

    def leave(x):
        raise SystemExit(3)

    with pytest.raises(FaceError, match="forward raised SystemExit"):
        gradcheck(operation(leave, leave), X)
    with pytest.raises(FaceError, match="the output of forward is complex128; expected floats"):
        gradcheck(operation(lambda x: (np.fft.fft(x), None), lambda dy, c: dy), X)


def test_settings_of_the_check_are_checked():
    with pytest.raises(ValueError, match="tolerance is 0, expected a number above 0"):
        gradcheck(relu, X, tolerance=0)
    with pytest.raises(ValueError, match="step is -1, expected a number above 0"):
        gradcheck(relu, X, step=-1)
    with pytest.raises(ValueError, match="zero names dy, but there is only dx"):
        gradcheck(relu, X, zero=("dy",))
    infinite = operation(lambda x, limit: (2 * x, 0), lambda dy, c: 3.1 * dy)
    assert gradcheck(infinite, X, float("inf")).verdict == "wrong"  # and its factor has no name


def test_a_tolerance_holds_for_the_default_method():
    off = operation(lambda x: (2 * x, None), lambda dy, cache: 2.0001 * dy)
    assert gradcheck(off, X, tolerance=1e-3).ok


def test_a_large_gradient_of_the_wrong_shape_is_not_measured():
    weight = np.ones((150, 200))
    op = operation(
        lambda x, weight: linear.forward(x, weight), lambda dy, c: (dy @ c.weight.T, dy.T @ c.x)
    )
    (found,) = (g for g in gradcheck(op, np.ones((3, 150)), weight).gradients if not g.ok)
    assert found.kind == "transpose" and "that is the shape of the transpose" in found.reason


def test_float32_is_measured_in_float64_and_shows_an_error_of_a_few_thousandths():
    off = operation(lambda x: (2 * x, None), lambda dy, cache: dy * dy.dtype.type(2.005))
    single = X.astype(np.float32)
    methods = ("combined", "central", "complex", "direction")  # one line may be too little for it
    assert set(verdicts(off, single, methods=methods).values()) == {"wrong"}
    right(operation(off.forward, lambda dy, cache: 2 * dy), single)
