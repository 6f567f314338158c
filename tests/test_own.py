"""A person's own operation: how it is found, how its arguments are drawn, and what is refused."""

from __future__ import annotations

import os
import py_compile
import re
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_transformer.gradcheck import own
from numpy_transformer.ops import attention, embedding, linear, relu

SETTINGS = settings(max_examples=150, derandomize=True, deadline=None, database=None)

# Twice its argument, in every form in which an operation may be written.
MODULE = """
    def forward(x):
        return 2 * x, None

    def backward(dy, cache):
        return 2 * dy
"""
PAIR = """
    def double_forward(x):
        return 2 * x, None

    def double_backward(dy, cache):
        return 2 * dy
"""
STATIC = """
    class Double:
        @staticmethod
        def forward(x):
            return 2 * x, None

        @staticmethod
        def backward(dy, cache):
            return 2 * dy
"""
METHODS = """
    class Double:
        factor = 2

        def forward(self, x):
            return self.factor * x, None

        def backward(self, dy, cache):
            return self.factor * dy
"""
OBJECT = (
    METHODS
    + """
    double = Double()
"""
)
NESTED = """
    class Outer:
        class Double:
            @staticmethod
            def forward(x):
                return 2 * x, None

            @staticmethod
            def backward(dy, cache):
                return 2 * dy
"""
FUNCTION_AND_PAIR = (
    PAIR
    + """
    def double(x):
        return double_forward(x)[0]
"""
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Each test is in a folder of its own, and leaves no modules and no paths behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("own_", "file ")):
            del sys.modules[name]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def rng(seed=0):
    return np.random.default_rng(seed)


def doubles(op):
    y, cache = op.forward(np.array([1.0, 3.0]))
    return y.tolist() == [2, 6] and op.backward(np.array([5.0]), cache).tolist() == [10]


def refusal(function, *args):
    """The sentence with which something is refused."""
    with pytest.raises(ValueError) as caught:
        function(*args)
    return str(caught.value)


# Finding.


@pytest.mark.parametrize(
    ("text", "target", "name"),
    [
        (MODULE, "my_ops.py", "my_ops"),
        (PAIR, "my_ops.py:double", "double"),
        (FUNCTION_AND_PAIR, "my_ops.py:double", "double"),
        (STATIC, "my_ops.py:Double", "Double"),
        (METHODS, "my_ops.py:Double", "Double"),
        (OBJECT, "my_ops.py:double", "double"),
        (NESTED, "my_ops.py:Outer.Double", "Double"),
    ],
)
def test_every_form_in_a_file(folder, text, target, name):
    write(folder / "my_ops.py", text)
    for target in (target, f"{folder}/{target}", f"./{target}"):
        found = own.load(target)
        assert found.name == name
        assert found.sample is None
        assert doubles(found.op)


@pytest.mark.parametrize(
    ("text", "rest", "name"),
    [
        (MODULE, "", None),
        (PAIR, ":double", "double"),
        (PAIR, ".double", "double"),
        (METHODS, ":Double", "Double"),
        (NESTED, ":Outer.Double", "Double"),
        (NESTED, ".Outer.Double", "Double"),
        (NESTED, ".Outer:Double", "Double"),
    ],
)
def test_every_form_in_a_module_of_the_current_folder(folder, text, rest, name):
    write(folder / "own_package" / "__init__.py", "")
    write(folder / "own_package" / "inner.py", text)
    write(folder / "own_alone.py", text)
    path = list(sys.path)
    for module in ("own_package.inner", "own_alone"):
        found = own.load(module + rest)
        assert found.name == (name or module.rpartition(".")[2])
        assert doubles(found.op)
    assert sys.path == path


def test_the_modules_of_this_package():
    assert own.load("numpy_transformer.ops.relu").op is relu
    assert own.load("numpy_transformer.ops:relu").op is relu


def test_a_file_takes_nobodys_name_and_leaves_the_path_as_it_is(folder):
    write(folder / "json.py", MODULE)
    import json

    path = list(sys.path)
    assert doubles(own.load("json.py").op)
    assert sys.modules["json"] is json
    assert sys.path == path


def test_a_file_with_dots_and_blanks_in_its_name(folder):
    write(folder / "a. b" / "my.own ops.py", PAIR)
    assert doubles(own.load("a. b/my.own ops.py:double").op)


def test_a_file_imports_its_neighbours_and_each_folder_has_its_own(folder):
    importing = "from own_helper import forward\nfrom own_helpers.back import backward\n"
    for factor in (2, 3):
        inside = folder / f"times{factor}"
        write(inside / "own_op.py", importing)
        write(inside / "own_helper.py", f"def forward(x):\n    return {factor} * x, None\n")
        write(inside / "own_helpers" / "__init__.py", "")
        back = f"def backward(dy, cache):\n    return {factor} * dy\n"
        write(inside / "own_helpers" / "back.py", back)
    two, three = own.load("times2/own_op.py").op, own.load("times3/own_op.py").op
    assert [op.forward(1)[0] for op in (two, three)] == [2, 3]
    assert [op.backward(1, None) for op in (two, three)] == [2, 3]


def test_a_file_that_has_just_changed_is_read_anew(folder):
    path = write(folder / "my_ops.py", MODULE)
    py_compile.compile(str(path))
    changed = os.stat(path)
    path.write_text(path.read_text().replace("2", "5"))  # as long as before, within a second
    os.utime(path, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    assert own.load("my_ops.py").op.forward(1)[0] == 5


def test_installed_packages_are_kept_even_if_they_lie_beside_the_file(folder):
    write(folder / "venv" / "site-packages" / "own_installed.py", "")
    lines = 'import sys\nsys.path.append("venv/site-packages")\nimport own_installed\n'
    write(folder / "my_ops.py", lines + textwrap.dedent(MODULE))
    assert doubles(own.load("my_ops.py").op)
    assert "own_installed" in sys.modules


def test_dataclasses_and_named_tuples_with_postponed_annotations(folder):
    kinds = """
        from __future__ import annotations

        from dataclasses import dataclass
        from typing import ClassVar, NamedTuple

        @dataclass
        class Config:
            factor: int = 2
            count: ClassVar[int] = 0

        class Cache(NamedTuple):
            factor: int
    """
    write(folder / "my_ops.py", textwrap.dedent(kinds) + textwrap.dedent(MODULE))
    assert doubles(own.load("my_ops.py").op)


# What is refused, and in which words.


def test_a_file_that_is_not_there(folder):
    write(folder / "my_ops.py", MODULE)
    write(folder / "gelu.py", MODULE)
    (folder / "folder.py").mkdir()
    (folder / "my_op.txt").touch()
    assert refusal(own.load, "my_op.py:x").startswith("there is no file 'my_op.py'")
    assert refusal(own.load, "my_op.py").endswith("; the folder has my_ops.py")
    assert "gelu.py" in refusal(own.load, "zzzzzzzz.py")
    assert "there is no file 'nowhere/a.py'" in refusal(own.load, "nowhere/a.py")
    assert "there is no file 'folder.py'" in refusal(own.load, "folder.py")


@pytest.mark.parametrize(
    "target", ["", ":", "my_ops.py:", "my_ops.py:2", "a/b", "-x", "a..b", ":a", "a:b:c"]
)
def test_what_names_nothing(folder, target):
    write(folder / "my_ops.py", MODULE)
    said = refusal(own.load, target)
    assert said.startswith(f"{target!r} does not name an operation; expected a file (my_ops.py, ")


def test_a_module_that_is_not_there(folder):
    write(folder / "own_ops.py", MODULE)
    said = refusal(own.load, "own_op")
    assert said.startswith("there is no module 'own_op'; expected a file")
    assert said.endswith("; the folder has own_ops.py")
    assert "there is no module 'own_op'" in refusal(own.load, "own_op.deeper:still")


@pytest.mark.parametrize("target", ["own_broken.py", "own_broken", "own_broken:name"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("own_broken", "NameError: name 'own_broken' is not defined"),
        ("import own_absent", "ModuleNotFoundError: No module named 'own_absent'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise BaseException('at last')", "BaseException: at last"),
        ("np.zeros('x')", "TypeError"),
        ("import json; json.loads('!')", "JSONDecodeError"),
    ],
)
def test_a_file_that_raises(folder, target, line, said):
    text = f"import numpy as np\n\ndef run():\n    {line}\n\nrun()\n"
    path = write(folder / "own_broken.py", text)
    found = refusal(own.load, target)
    assert found.startswith(f"{target.partition(':')[0]} raised {said}")
    assert found.endswith(f" (line 4 of {path.resolve()}: {line})")


def test_a_file_with_a_syntax_error(folder):
    write(folder / "own_broken.py", "x = 1\ndef forward(x:\n")
    for target in ("own_broken.py", "own_broken"):
        said = refusal(own.load, target)
        assert said.startswith(f"{target} raised SyntaxError: ")
        assert "(own_broken.py, line 2)" in said
    for content in (b"x = 'caf\xe9'", b"x = 1\x00"):
        (folder / "own_broken.py").write_bytes(content)
        assert refusal(own.load, "own_broken.py").startswith("own_broken.py raised ")


def test_ctrl_c_stops(folder):
    write(folder / "my_ops.py", "raise KeyboardInterrupt")
    write(folder / "own_ops.py", "raise KeyboardInterrupt")
    for target in ("my_ops.py", "own_ops"):
        with pytest.raises(KeyboardInterrupt):
            own.load(target)


def test_an_attribute_that_is_not_there(folder):
    helper = "LIMIT = 3\n\ndef helper():\n    pass\n\nclass Config:\n    pass\n"
    write(folder / "my_ops.py", textwrap.dedent(STATIC + PAIR) + helper)
    said = refusal(own.load, "my_ops.py:duoble")
    assert said.startswith("my_ops.py:duoble: there is no 'duoble'; there is Double, double, ")
    assert "helper" in said and "Config" in said and "LIMIT" not in said
    said = refusal(own.load, "my_ops.py:Double.inner")
    assert said == "my_ops.py:Double.inner: there is no 'inner'; there is backward, forward"
    write(folder / "own_package" / "__init__.py", "from own_package import inner")
    write(folder / "own_package" / "inner.py", MODULE)
    said = refusal(own.load, "own_package.other")
    assert said == "own_package.other: there is no 'other'; there is inner"


@pytest.mark.parametrize(
    ("text", "rest", "lacking"),
    [
        (PAIR, "", "forward"),
        (MODULE.replace("backward", "back"), "", "backward"),
        (MODULE + "    forward = 3\n", "", "forward"),
        (PAIR.replace("backward", "back"), ":double", "backward"),
        (PAIR.replace("forward", "for"), ":double", "forward"),
        (PAIR, ":double_forward", "forward"),
        (METHODS.replace("backward", "back"), ":Double", "backward"),
    ],
)
def test_what_does_not_have_the_face(folder, text, rest, lacking):
    write(folder / "my_ops.py", text)
    said = refusal(own.load, f"my_ops.py{rest}")
    assert said.startswith(f"my_ops.py{rest} has no function {lacking}; ")
    assert said.endswith(
        "; expected two functions:\n  y, cache = forward(*args)\n  gradients = backward(dy, cache)"
    )
    assert ("; there is double, double_backward;" in said) == (text == PAIR and not rest)


def test_a_class_that_needs_arguments(folder):
    init = "\n        def __init__(self, width):\n            pass\n"
    write(folder / "my_ops.py", METHODS + init)
    said = refusal(own.load, "my_ops.py:Double")
    assert said.startswith(
        "my_ops.py:Double is a class; name an object of it, as Double() raised TypeError: "
    )
    assert "width" in said


def test_attributes_that_cannot_be_looked_at(folder):
    broken = """
        class Broken:
            @property
            def forward(self):
                raise RuntimeError("not now")

        broken = Broken()
    """
    write(folder / "my_ops.py", broken)
    assert "my_ops.py:broken has no function forward" in refusal(own.load, "my_ops.py:broken")
    assert "there is Broken" in refusal(own.load, "my_ops.py:other")


targets = st.lists(
    st.sampled_from([".", ":", "/", ".py", "own_zz", "own_yy", "-", " ", "é", "1", "\0", "\n", "'"])
)


@SETTINGS
@given(targets)
def test_any_name_of_nothing_is_refused(parts):
    assert refusal(own.load, "".join(parts))


# Samples.


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        ("Double.sample = lambda rng: 1\ndef Double_sample(rng): return 2\n", 1),
        ("def Double_sample(rng): return 2\ndef sample(rng): return 3\n", 2),
        ("def sample(rng): return 3\ndef other_sample(rng): return 4\n", 3),
        ("Double_sample = 5\ndef sample(rng): return 3\n", 3),
    ],
)
def test_where_the_sample_is(folder, samples, wanted):
    write(folder / "own_ops.py", textwrap.dedent(STATIC) + samples)
    for target in ("own_ops.py:Double", "own_ops:Double", "own_ops.Double"):
        assert own.load(target).sample(rng()) == wanted


def test_the_sample_of_a_file_of_a_pair_and_of_an_object(folder):
    function = "\n    def sample(rng):\n        return (rng.random(2),)\n"
    write(folder / "my_ops.py", MODULE + function)
    assert own.load("my_ops.py").sample(rng())[0].shape == (2,)
    write(folder / "pairs.py", PAIR + "\n    def double_sample(rng):\n        return 7\n")
    assert own.load("pairs.py:double").sample(rng()) == 7
    method = "\n        def sample(self, rng):\n            return self.factor\n"
    write(folder / "objects.py", METHODS + method)
    assert own.load("objects.py:Double").sample(rng()) == 2


def test_a_sample_is_a_tuple_or_a_dictionary():
    def drawn(value):
        return own.sampled(own.Own("double", None, lambda rng: value), rng())

    assert drawn((1, 2)) == ((1, 2), {})
    assert drawn(()) == ((), {})
    assert drawn({"x": 1}) == ((), {"x": 1})
    for value in (np.ones(2), [1], None, {1: 2}):
        assert refusal(drawn, value) == (
            f"double: sample(rng) returned a {type(value).__name__}; "
            "expected a tuple of arguments, such as (x,), or a dict by name"
        )


def test_a_sample_gets_the_generator():
    args, _ = own.sampled(own.Own("double", None, lambda rng: (rng.random(),)), rng(3))
    assert args == (rng(3).random(),)


def test_a_sample_that_raises(folder):
    function = "\n    def sample(rng):\n        return rng.nothing()\n"
    path = write(folder / "my_ops.py", MODULE + function)
    found = own.load("my_ops.py")
    said = refusal(own.sampled, found, rng())
    assert said.startswith("my_ops: sample(rng) raised AttributeError: ")
    assert said.endswith(f"of {path.resolve()}: return rng.nothing())")
    with pytest.raises(KeyboardInterrupt):
        own.sampled(found._replace(sample=interrupt), rng())


def interrupt(rng):
    raise KeyboardInterrupt


def test_without_sample_and_description():
    found = own.Own("linear", linear, None)
    assert refusal(own.sampled, found, rng()) == own.missing_inputs(found)


@pytest.mark.parametrize(
    "forward",
    [
        linear.forward,
        attention.forward,
        embedding.forward,
        lambda: None,
        lambda x=1, y=2: None,
        lambda x, *, rng, token_ids, attention_mask, dropout_rate: None,
        lambda x, **others: None,
    ],
)
def test_the_example_of_a_description_can_be_drawn(forward):
    op = SimpleNamespace(forward=forward)
    said = own.missing_inputs(own.Own("mine", op, None))
    assert said.startswith("mine: ") and "sample(rng)" in said
    example = re.search('--inputs "(.*)"', said)[1]
    if forward.__code__.co_argcount:
        assert own.draw(op, example, rng())
    else:
        assert example == "x: (2, 3)" or "rng: generator" in example


# Descriptions.


def anything(**named):
    """Takes whatever is described."""


ANY = SimpleNamespace(forward=anything)


def drawn(text, seed=0):
    """The one value that ``text`` describes."""
    (value,) = own.draw(ANY, f"x: {text}", rng(seed)).values()
    return value


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 4), (0,), (2, 0, 3)])
@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        ("", "float64"),
        ("float64", "float64"),
        ("float32", "float32"),
        ("positive", "float64"),
        ("positive  float32", "float32"),
        ("bool", "bool"),
        ("int 7", "int64"),
        ("int 1", "int64"),
    ],
)
def test_arrays(shape, words, dtype):
    array = drawn(f"{shape} {words}")
    assert type(array) is np.ndarray
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.writeable


def test_the_numbers():
    normal = drawn("(200, 50)")
    assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05
    np.testing.assert_array_equal(drawn("(200, 50) float32"), normal.astype(np.float32))
    positive = drawn("(1000,) positive")
    assert 0.5 <= positive.min() < 0.6 and 1.9 < positive.max() <= 2
    assert set(drawn("(100,) int 7")) == set(range(7))
    for seed in range(20):
        ids = drawn("(2, 2) int 1000000", seed)
        assert len(np.unique(ids)) < ids.size
        mask = drawn("(5, 1, 3) bool", seed)
        assert mask.any(axis=-1).all() and not mask.all(axis=-1).any()
        assert drawn("(5, 1) bool", seed).all()
    masks = np.stack([drawn("(3,) bool", seed) for seed in range(40)])
    assert len(np.unique(masks, axis=0)) == 6  # all but none and all


def test_the_same_generator_draws_the_same():
    text = "x: (3,), ids: (4,) int 9, mask: (2, 3) bool, rng: generator"
    first, second, other = (own.draw(ANY, text, rng(seed)) for seed in (1, 1, 2))
    for name in ("x", "ids", "mask"):
        np.testing.assert_array_equal(first[name], second[name])
    assert first.pop("rng").random() == second.pop("rng").random() != other.pop("rng").random()
    assert (first["x"] != other["x"]).all()


@pytest.mark.parametrize(
    "value",
    [
        0.1, 2, -3, 1e-5, True, None, "tanh", "a, b: (c)", "it's", 'a "word"', "back\\slash, 'x",
        [1, 2], [], {"a": 1, "b": 2}, b"bytes", 2j,
    ],
)  # fmt: skip
def test_values(value):
    assert drawn(repr(value)) == value
    named = own.draw(ANY, f"first: {value!r}, x: (2,), last: {value!r},", rng())
    assert named["first"] == named["last"] == value
    assert named["x"].shape == (2,)


def test_names():
    text = "x:(2,3),\n  weight : (4,) ,rate:0.1 , "
    named = own.draw(ANY, text, rng())
    assert list(named) == ["x", "weight", "rate"]
    text = "x: (2,), params.query.weight: (4, 5), params.query.bias: (5,), params.0: 1"
    named = own.draw(ANY, text, rng())
    assert list(named) == ["x", "params"]
    assert list(named["params"]) == ["query", "0"]
    assert named["params"]["query"]["weight"].shape == (4, 5)
    assert named["params"]["query"]["bias"].shape == (5,)


def test_what_is_drawn_can_be_run():
    named = own.draw(linear, "weight: (3, 4), x: (2, 3)", rng())
    assert linear.forward(**named)[0].shape == (2, 4)
    text = "query: (2, 3, 4), key: (2, 5, 4), value: (2, 5, 6), mask: (2, 1, 5) bool, " \
        "dropout_rate: 0.1, rng: generator"  # fmt: skip
    assert attention.forward(**own.draw(attention, text, rng()))[0].shape == (2, 3, 6)


SHAPE = "expected one such as (2, 3), (4,) or ()"
VALUE = "expected a shape such as (2, 3), the word generator, or a value such as 0.1 or 'tanh'"
ENTRY = "expected name: value, with all quotes and brackets closed"
WORDS = "expected float32, positive, positive float32, bool, or int and how many, such as int 7"
MANY = f"int {10**18}"
LARGE = "an array may have 32 axes and 10,000,000 numbers, but not more"


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("", "", ENTRY),
        ("  ", "", ENTRY),
        (",", ",", ENTRY),
        ("x: (2,),, bias: (3,)", ", bias: (3,)", ENTRY),
        ("x (2,)", "x (2,)", ENTRY),
        ("x: (2, 3", "x: (2, 3", ENTRY),
        ("x: 'tanh", "x: 'tanh", ENTRY),
        ("2x: (2,)", "2x: (2,)", ENTRY),
        ("x..y: (2,)", "x..y: (2,)", ENTRY),
        ("x: (2,), 3", "3", ENTRY),
        ("x:", "x:", VALUE),
        ("x: tanh", "x: tanh", VALUE),
        ("x: (2, B)", "x: (2, B)", VALUE),
        ("x: 2 3", "x: 2 3", VALUE),
        ("x: {[]}", "x: {[]}", VALUE),
        (f"x: {'-' * 9000}1", f"x: {'-' * 9000}1", VALUE),
        ("x: (4)", "x: (4)", f"(4) is not a shape; {SHAPE}"),
        ("x: (2, -3)", "x: (2, -3)", f"(2, -3) is not a shape; {SHAPE}"),
        ("x: (2, 3.0)", "x: (2, 3.0)", f"(2, 3.0) is not a shape; {SHAPE}"),
        ("x: (2, True)", "x: (2, True)", f"(2, True) is not a shape; {SHAPE}"),
        ("x: (10000001,)", "x: (10000001,)", LARGE),
        ("x: (4000, 4000)", "x: (4000, 4000)", LARGE),
        (f"x: (0, {10**30})", f"x: (0, {10**30})", LARGE),
        (f"x: ({'1,' * 33})", f"x: ({'1,' * 33})", LARGE),
        ("x: (2,) half", "x: (2,) half", f"'half' after a shape is unknown; {WORDS}"),
        ("x: (2,) int", "x: (2,) int", f"'int' after a shape is unknown; {WORDS}"),
        ("x: (2,) int 0", "x: (2,) int 0", f"'int 0' after a shape is unknown; {WORDS}"),
        (f"x: () {MANY}", f"x: () {MANY}", f"{MANY!r} after a shape is unknown; {WORDS}"),
        ("x: (2,), y: (3,)", "y: (3,)", "forward takes x, weight, bias, but no y"),
        ("x: (2,), x: (3,)", "x: (3,)", "x, or a part of it, has a value already"),
        ("x: (2,), x.a: (3,)", "x.a: (3,)", "x.a, or a part of it, has a value already"),
        ("x.a: (2,), x.a.b: (3,)", "x.a.b: (3,)", "x.a.b, or a part of it, has a value already"),
        ("x: (2,), x.a.b: (3,)", "x.a.b: (3,)", "x.a.b, or a part of it, has a value already"),
        ("x.a: (2,), x: (3,)", "x: (3,)", "x, or a part of it, has a value already"),
    ],
    ids=lambda part: part[:20],
)
def test_descriptions_that_are_refused(text, at, said):
    assert refusal(own.draw, linear, text, rng()) == f"the inputs {text!r}, at {at!r}: {said}"


def test_what_forward_needs():
    said = refusal(own.draw, linear, "bias: (3,)", rng())
    assert said == "the inputs 'bias: (3,)' lack x, weight, which forward needs"
    only = SimpleNamespace(forward=lambda *args: None)
    assert "forward takes nothing, but no x" in refusal(own.draw, only, "x: (2,)", rng())
    some = SimpleNamespace(forward=lambda x, *, y, z=1, **others: None)
    assert list(own.draw(some, "x: 1, y: 2, w: 3", rng())) == ["x", "y", "w"]
    assert "lack y," in refusal(own.draw, some, "x: 1, w: 3", rng())
    builtin = SimpleNamespace(forward=max)
    assert refusal(own.draw, builtin, "x: 1", rng())


def test_ten_million_numbers_are_not_too_many():
    assert drawn("(10000000,) bool").size == 10_000_000


pieces = st.sampled_from(
    ["x", "weight", "bias", "params", ".", ":", ": ", ", ", "(", ")", "()", "(2,)", "(2, 3)",
     "(0,)", "(1, 2, 3)", " ", "int", " 7", "0", " bool", " positive", " float32", "generator",
     "'tanh'", "'", '"', "\\", "[", "]", "{", "}", "-", "1e5", "9" * 5000, "(" * 300, "None",
     "\n", "\0", "\ud800", "²", "x: (2, 3)", "weight: (4,)", "bias: 0.1"]
)  # fmt: skip
descriptions = st.text() | st.lists(pieces, max_size=12).map("".join)


@SETTINGS
@given(descriptions, st.sampled_from([linear, ANY, relu]))
def test_any_text_is_drawn_or_refused(text, op):
    try:
        named = own.draw(op, text, rng())
    except ValueError as error:
        assert str(error).startswith("the inputs ")
    else:
        assert named and all(isinstance(name, str) for name in named)


entries = st.tuples(
    st.sampled_from(["x", "weight", "bias", "params.a.b", "params.c", "rate"]),
    st.sampled_from(["(2, 3)", "()", "(3,) int 4", "(2, 1, 3) bool", "(4,) positive", "0.1",
                     "'a, b'", "generator", "[1, 2]", "(2,) float32"]),
)  # fmt: skip


@SETTINGS
@given(st.lists(entries, min_size=1, unique_by=lambda entry: entry[0]), st.booleans())
def test_what_is_well_written_is_drawn(entries, comma):
    text = ", ".join(f"{name}: {value}" for name, value in entries) + "," * comma
    named = own.draw(ANY, text, rng())
    assert set(named) == {name.partition(".")[0] for name, _ in entries}
