"""Safetensors: against files of the reference, and against files that are no safetensors."""

from __future__ import annotations

import json
import mmap
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from numpy_transformer.porting import safetensors
from numpy_transformer.porting.errors import PortingError

FOLDER = Path(__file__).parent / "recordings" / "porting"

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
EIGHT = bytes(8)


def content(header, data=EIGHT, length=None):
    """The bytes of a file; ``header`` is a text, or values that become one in JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    return length.to_bytes(8, "little") + text + data


@pytest.fixture
def put(tmp_path):
    """A function that puts bytes into a file."""

    def put(content):
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        return path

    return put


def assert_same(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        wanted = expected[name]
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), name
        assert array.tobytes() == wanted.tobytes(), name


def recorded():
    """What is in ``types.safetensors``."""
    with np.load(FOLDER / "expected_safetensors.npz") as file:
        return {name: file[str(i)] for i, name in enumerate(json.loads(str(file["names"])))}


# Reading what is good.


def test_every_type_is_read_as_the_reference_wrote_it():
    arrays = safetensors.read(FOLDER / "types.safetensors")
    assert_same(arrays, recorded())
    assert len({array.dtype for array in arrays.values()}) == 12  # bfloat16 is float32
    assert safetensors.metadata(FOLDER / "types.safetensors") == {"format": "pt"}


def test_arrays_are_read_only_views_of_a_memory_map():
    for name, array in safetensors.read(FOLDER / "types.safetensors").items():
        assert not array.flags.writeable
        if name != "bfloat16":
            while isinstance(array, np.ndarray):
                array = array.base
            assert isinstance(array.obj if isinstance(array, memoryview) else array, mmap.mmap)


def test_numbers_that_lie_at_odd_places_are_read(put):
    header = {
        "byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "doubles": {"dtype": "F64", "shape": [2], "data_offsets": [1, 17]},
        "bfloat16": {"dtype": "BF16", "shape": [2], "data_offsets": [17, 21]},
    }
    data = b"\7" + np.array([1.5, -2.5]).tobytes() + b"\x80\x3f\xc0\xbf"
    arrays = safetensors.read(put(content(header, data)))
    assert not arrays["doubles"].flags.aligned
    assert_same(
        arrays,
        {
            "byte": np.array([7], np.uint8),
            "doubles": np.array([1.5, -2.5]),
            "bfloat16": np.array([1, -1.5], np.float32),
        },
    )
    assert arrays["doubles"] @ arrays["doubles"] == 8.5


def test_the_order_in_the_header_need_not_be_that_of_the_data(put):
    header = {
        "b": ONE | {"data_offsets": [8, 16]},
        "none": ONE | {"shape": [0], "data_offsets": [8, 8]},
        "a": ONE,
    }
    arrays = safetensors.read(put(content(header, np.arange(4, dtype=np.float32).tobytes())))
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "b": [2, 3], "none": [], "a": [0, 1],
    }  # fmt: skip


def test_a_file_without_tensors(put):
    assert safetensors.read(put(content({}, b""))) == {}
    assert safetensors.metadata(put(content({}, b""))) == {}


# Writing.


def test_the_bytes_are_those_of_the_reference(tmp_path):
    arrays = recorded()
    del arrays["bfloat16"]
    path = tmp_path / "numpy.safetensors"
    safetensors.write(path, dict(reversed(arrays.items())), {"format": "np"})
    assert path.read_bytes() == (FOLDER / "numpy.safetensors").read_bytes()
    assert os.listdir(tmp_path) == [path.name]


def test_arrays_in_any_layout_are_written(tmp_path):
    counted = np.arange(24).reshape(2, 3, 4)
    arrays = {
        "fortran": np.asfortranarray(counted),
        "big-endian": counted.astype(">i4"),
        "every other": counted[:, ::-1, ::2],
        "transposed": counted.T,
        "a scalar": np.float32(2.5),
        "broadcast": np.broadcast_to(np.float16(3), (2, 2)),
    }
    safetensors.write(tmp_path / "file", arrays)
    expected = {name: np.array(array, order="C") for name, array in arrays.items()}
    expected["big-endian"] = expected["big-endian"].astype("i4")
    assert_same(safetensors.read(tmp_path / "file"), expected)


some_arrays = hnp.arrays(
    st.sampled_from([np.dtype(code) for code in ("f8", "<f4", ">f2", "i8", ">u4", "u1", "?")]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)


@given(
    st.dictionaries(st.text(max_size=5), some_arrays, max_size=4),
    st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=3)),
)
def test_what_was_written_is_read(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.getbasetemp() / "written.safetensors"
    safetensors.write(path, arrays, metadata)
    read = safetensors.read(path)
    native = {name: array.dtype.newbyteorder("=") for name, array in arrays.items()}
    assert_same(read, {name: array.astype(native[name]) for name, array in arrays.items()})
    assert safetensors.metadata(path) == (metadata or {})
    start = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert start % 8 == 0 and all(array.flags.aligned for array in read.values())


def test_a_file_may_be_written_over_while_its_arrays_are_in_use(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.write(path, {"a": np.arange(5)})
    arrays = safetensors.read(path)
    safetensors.write(path, {"a": arrays["a"] + 1})
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4]
    assert safetensors.read(path)["a"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "arrays, metadata, message",
    [
        ({"a": np.array([1j])}, None, "'a' is complex128, which safetensors does not have"),
        ({"a": np.array([None])}, None, "'a' is object, which safetensors does not have"),
        ({"a": np.array(["text"])}, None, "'a' is str128, which safetensors does not have"),
        ({"__metadata__": np.zeros(1)}, None, "an array cannot be called '__metadata__'"),
        ({1: np.zeros(1)}, None, "an array cannot be called 1"),
        ({"\ud800": np.zeros(1)}, None, "an array cannot be called '\\ud800'"),
        ({}, {"steps": 3}, "__metadata__ has 'steps': 3, expected a text"),
    ],
)
def test_what_the_format_does_not_have_is_not_written(tmp_path, arrays, metadata, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"what was there")
    with pytest.raises(PortingError) as caught:
        safetensors.write(path, arrays, metadata)
    assert str(caught.value) == f"{path}: {message}"
    assert path.read_bytes() == b"what was there" and os.listdir(tmp_path) == [path.name]


def test_a_file_that_cannot_be_written(tmp_path):
    path = tmp_path / "missing" / "model.safetensors"
    with pytest.raises(PortingError) as caught:
        safetensors.write(path, {})
    assert str(caught.value) == f"{path} cannot be written: No such file or directory"


# Refusing what is not good.

TWICE = b'{"a":%b,"a":%b}' % ((json.dumps(ONE).encode(),) * 2)
TWO = {"a": ONE, "b": ONE | {"data_offsets": [8, 16]}}


def one(**changes):
    """A header with one tensor, with something else about it."""
    return {"a": ONE | changes}


def nested(opening, closing=b"", depth=200_000):
    return opening * depth + closing * depth


@pytest.mark.parametrize(
    "bad, message",
    [
        # The length.
        (b"\1", "has 1 bytes, but its header would end at 9: it is cut off"),
        (b"\1\0\0\0\0\0\0", "has 7 bytes, but its header would end at 9: it is cut off"),
        (content({}, b"", 3), "has 10 bytes, but its header would end at 11"),
        (content({}, b"", 2**64 - 1), "its header would end at 18446744073709551623"),
        (content({}, b"", 0), "the header begins with b'', expected '{'"),
        (content({}, b"", 1), "the header is damaged: Expecting property name"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "If it is the pointer of git-lfs"),
        # The JSON.
        (content(b" {}", b""), "the header begins with b' ', expected '{'"),
        (content(b"[]", b""), "the header begins with b'[', expected '{'"),
        (content(b"{} {}", b""), "the header is damaged: Extra data"),
        (content(b"{'a':1}"), "the header is damaged: Expecting property name"),
        (content(b'{"\xff":1}'), "the header is damaged: 'utf-8' codec can't decode"),
        (content(b'{"\\ud800":1}'), "the header is damaged: 'utf-8' codec can't encode"),
        (content(b'{"a\n":1}'), "the header is damaged: Invalid control character"),
        (content(nested(b'{"a":')), "the header nests far too deep"),
        (content(b'{"a":' + nested(b"[", b"]") + b"}"), "the header nests far too deep"),
        (content(TWICE), "the header is damaged: 'a' stands twice"),
        (content(b'{"a":{"shape":[],"shape":[]}}'), "the header is damaged: 'shape' stands twice"),
        (content(b'{"__metadata__":{},"__metadata__":{}}'), "'__metadata__' stands twice"),
        (content(one(shape=[2.0])), "a number is '2.0', expected a whole number"),
        (content(one(shape=[float("nan")])), "a number is 'NaN', expected a whole number"),
        (content(one(shape=[float("inf")])), "a number is 'Infinity', expected a whole number"),
        (content(b'{"a":1e9999}'), "a number is '1e9999', expected a whole number"),
        (content(b'{"a":' + b"9" * 1_000_000 + b"}"), "99999', expected at most 20 digits"),
        (content(one(shape=[-2])), "a number is '-2', expected 0 or more"),
        (content(b'{"a":-0}'), "a number is '-0'"),
        # The metadata.
        (content({"__metadata__": None}), "__metadata__ is None, expected texts by name"),
        (content({"__metadata__": ["pt"]}), "__metadata__ is ['pt'], expected texts by name"),
        (content({"__metadata__": {"step": 1}}), "__metadata__ has 'step': 1, expected a text"),
        (content(b'{"__metadata__":{"a":"\\udc00"}}'), "has 'a': '\\udc00', expected a text"),
        # One tensor.
        (content({"a": None}), "tensor 'a' is None, expected dtype, shape and data_offsets"),
        (content({"a": ["F32", [2], [0, 8]]}), "tensor 'a' is ['F32', [2], [0, 8]], expected"),
        (content({"a": {"dtype": "F32", "shape": [2]}}), "expected dtype, shape and data_offsets"),
        (content(one(order="F")), "expected dtype, shape and data_offsets"),
        (content(one(dtype="F8_E4M3")), "tensor 'a' has the type 'F8_E4M3'; read are U64, I64"),
        (content(one(dtype="f32")), "tensor 'a' has the type 'f32'"),
        (content(one(dtype=["F32"])), "tensor 'a' has the type ['F32']"),
        (content(one(shape=2)), "tensor 'a' has the shape 2, expected a list"),
        (content(one(shape=[True, 2])), "tensor 'a' has the shape [True, 2], expected whole"),
        (content(one(shape=["2"])), "tensor 'a' has the shape ['2'], expected whole"),
        (content(one(shape=[2] + [1] * 32)), "tensor 'a' has 33 axes, at most 32 are read"),
        (content(one(shape=[2**62, 2])), "has the shape [4611686018427387904, 2], which is beyond"),
        (content(one(shape=[0, 2**62], data_offsets=[0, 0])), "which is beyond all memory"),
        (content(one(shape=[2**40])), "8 bytes; F32 of the shape [1099511627776] needs 43980465"),
        (content(one(shape=[3])), "the range [0, 8], 8 bytes; F32 of the shape [3] needs 12"),
        (content(one(shape=[])), "the range [0, 8], 8 bytes; F32 of the shape [] needs 4"),
        (content(one(shape=[0])), "the range [0, 8], 8 bytes; F32 of the shape [0] needs 0"),
        (content(one(data_offsets=[8, 0])), "the range [8, 0], -8 bytes"),
        (content(one(data_offsets=[0, 8, 8])), "data_offsets [0, 8, 8], expected two whole"),
        (content(one(data_offsets=[False, 8])), "data_offsets [False, 8], expected two whole"),
        (content(one(data_offsets={"0": 8})), "data_offsets {'0': 8}, expected two whole"),
        (content(one(data_offsets=None)), "data_offsets None, expected two whole"),
        (content(one(dtype="BOOL", shape=[8]), b"\0\1\0\1\0\1\0\2"), "a bool with the byte 2"),
        # All tensors together.
        (content({"a": ONE, "b": ONE}), "'b' begins at 0, but the one before it ends at 8: they o"),
        (content(one(data_offsets=[1, 9])), "'a' begins at 1, but the one before it ends at 0: th"),
        (content(TWO, bytes(15)), "the tensors take 16 bytes, but 15 follow the header"),
        (content(TWO, bytes(17)), "the tensors take 16 bytes, but 17 follow the header"),
        (content({}, b"\0"), "the tensors take 0 bytes, but 1 follow the header"),
        (content(one(data_offsets=[2**63, 2**63 + 8])), "they leave a gap"),
    ],
    ids=lambda part: part[:40] if isinstance(part, str) else "",
)  # fmt: skip
def test_a_damaged_file_is_refused_with_a_sentence(put, bad, message):
    path = put(bad)
    tracemalloc.start()
    try:
        with pytest.raises(PortingError) as caught:
            safetensors.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < len(str(path)) + 500
    assert peak < 40_000_000  # the header of a million bytes takes the most


def test_a_header_may_have_a_hundred_million_bytes_and_no_more(put):
    path = put(b"")
    with open(path, "r+b") as file:
        file.write((100_000_001).to_bytes(8, "little") + b"{}")
        file.truncate(8 + 100_000_001)  # a hole, which takes no room on disk
    with pytest.raises(PortingError, match="header of 100000001 bytes, allowed are 100000000"):
        safetensors.read(path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, message in {
        "missing": "is missing", "empty": "is empty", "pipe": "is no file", ".": "is no file",
    }.items():  # fmt: skip
        with pytest.raises(PortingError) as caught:
            safetensors.read(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name} {message}"
