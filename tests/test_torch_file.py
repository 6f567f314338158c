"""PyTorch's files: against those of PyTorch, and against files that are damaged or mean harm.

What a pickle can do is shown to be harmless by trying: the command of every malicious file would
create a file, and that file must not be there afterwards.
"""

from __future__ import annotations

import io
import json
import mmap
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from limits import limits
from pickles import (
    archive, call, dictionary, list_of, name, older, program, storage, tensor, tuple_of, value,
)  # fmt: skip

from numpy_transformer.porting import torch_file, unpickler
from numpy_transformer.porting.errors import PortingError

FOLDER = Path(__file__).parent / "recordings" / "porting"
NUMBERS = np.arange(6, dtype=np.float32)
DATA = NUMBERS.tobytes()

CALL = name("torch._utils._rebuild_tensor_v2")
PARAMETER = name("torch._utils._rebuild_parameter")


@pytest.fixture
def put(tmp_path):
    """A function that puts bytes into a file."""

    def put(content):
        path = tmp_path / "pytorch_model.bin"
        path.write_bytes(content)
        return path

    return put


def places(value, place=""):
    """Everything in an object that is no dictionary, list or tuple, by its place."""
    if not isinstance(value, (dict, list, tuple)):
        return {place: value}
    found = {}
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        found |= places(entry, f"{place}/{key}" if place else str(key))
    return found


def assert_same(array, expected):
    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    assert array.tobytes() == expected.tobytes()


# Reading what is good.


@pytest.mark.parametrize("file", ["zip.bin", "older.bin", "protocol4.bin"])
def test_everything_is_read_as_pytorch_wrote_it(file):
    found = places(torch_file.read(FOLDER / file))
    with np.load(FOLDER / "expected.npz") as expected:
        arrays = {place: expected[place] for place in expected.files}
    plain = json.loads(str(arrays.pop("plain")))
    del arrays["versions"]
    assert {place for place, leaf in found.items() if isinstance(leaf, np.ndarray)} == set(arrays)
    for place, array in arrays.items():
        assert_same(found.pop(place), array)
        assert array.dtype.isnative
    assert found == plain
    assert {type(leaf) for leaf in found.values()} == {str, int, float, bool, type(None)}
    assert found["plain/size/1"] == 3 and found["optimizer/betas/0"] == 0.9
    assert found["plain/type"] == "torch.float32" and found["plain/layout"] == "torch.strided"


def test_a_big_endian_file_is_turned_round():
    arrays = torch_file.read(FOLDER / "big.bin")
    with np.load(FOLDER / "expected.npz") as expected:
        for place, array in arrays.items():
            if place != "transposed":
                assert_same(array, expected[f"types/{place}"])
    assert len(arrays) == 11
    assert_same(arrays["transposed"], np.array([[0, 3], [1, 4], [2, 5]], np.float32))


@pytest.mark.parametrize("file", ["zip.bin", "older.bin"])
def test_arrays_are_read_only_views_and_share_what_the_tensors_shared(file):
    value = torch_file.read(FOLDER / file)
    for leaf in places(value).values():
        assert not isinstance(leaf, np.ndarray) or not leaf.flags.writeable
    views = value["views"]
    base = views["base"]
    for place in ("transposed", "slice", "row", "column", "last", "diagonal"):
        assert np.shares_memory(base, views[place]), place
    assert value["a list"][0] is base  # the same tensor in two places, as tied weights are
    assert views["transposed"].strides == base.strides[::-1]
    assert views["expanded"].strides == (0, 0)
    assert np.shares_memory(views["bfloat16"], views["bfloat16_transposed"])
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def test_dictionaries_are_plain_and_in_order():
    value = torch_file.read(FOLDER / "small.bin")
    assert type(value) is dict and list(value) == ["weight", "bias", "mask"]
    assert_same(value["weight"], np.array([[0, 3], [1, 4], [2, 5]], np.float32))


def test_checksums_may_be_switched_off(put):
    """PyTorch writes 0 then (``torch.serialization.set_crc32_options(False)``)."""
    good = archive(dictionary(w=tensor(storage())), {"0": DATA})
    with zipfile.ZipFile(io.BytesIO(good)) as file:
        for entry in file.infolist():
            good = good.replace(entry.CRC.to_bytes(4, "little"), bytes(4))
    assert_same(torch_file.read(put(good))["w"], NUMBERS.reshape(2, 3))


def test_forms_that_pytorch_writes_no_more(put):
    """The first version of tensors, and strides of axes with one entry, which may be anything."""
    arguments = storage(), value(0), value((6,)), value((1,))
    first = call(name("torch._utils._rebuild_tensor"), *arguments)
    odd = tensor(storage(), 1, (1, 2, 1), (2**40, 2, 2**63 - 1))
    arrays = torch_file.read(put(archive(dictionary(first=first, odd=odd), {"0": DATA})))
    assert_same(arrays["first"], NUMBERS)
    assert_same(arrays["odd"], np.array([[[1], [3]]], np.float32))


def test_an_entry_may_have_any_name_that_is_in_the_archive(put):
    """Nothing is unpacked, so that a path out of the folder leads nowhere."""
    outside = archive(dictionary(w=tensor(storage(key="../../../etc/x"))), {"../../../etc/x": DATA})
    assert_same(torch_file.read(put(outside))["w"], NUMBERS.reshape(2, 3))


# Files that mean harm.


def malicious(path):
    """Pieces that would create ``path``, each with what the message must name."""
    shell, python = value(f"touch {path}"), value(f"open({str(path)!r}, 'w').close()")
    size, ordered = name("torch.Size"), name("collections.OrderedDict")
    return {
        "os.system": call(name("os.system"), shell),
        "posix.system": call(name("posix.system"), shell),
        "nt.system": call(name("nt.system"), shell),
        "subprocess.Popen": call(name("subprocess.Popen"), shell, value(-1)),
        "builtins.exec": call(name("builtins.exec"), python),
        "builtins.eval": call(name("builtins.eval"), python),
        "__builtin__.eval": call(name("__builtin__.eval"), python),
        "builtins.__import__": call(name("builtins.__import__"), value("antigravity")),
        "builtins.getattr": call(name("builtins.getattr"), ordered, value("fromkeys")),
        "operator.methodcaller": call(call(name("operator.methodcaller"), value("system"), shell)),
        "functools.partial": call(call(name("functools.partial"), size, shell)),
        "webbrowser.open": call(name("webbrowser.open"), value("http://localhost")),
        "numpy.load": call(name("numpy.load"), value("x.npy"), value("r"), value(True)),
        "torch.load": call(name("torch.load"), value("x.bin")),
        "torch.hub.load": call(name("torch.hub.load"), value("someone/something"), value("model")),
        "torch.storage._load_from_bytes": call(name("torch.storage._load_from_bytes"), value("")),
        "torch._utils._rebuild_sparse_tensor": name("torch._utils._rebuild_sparse_tensor"),
        "torch._utils.os.system": call(name("torch._utils.os.system"), shell),
        "collections.OrderedDict.__init__": name("collections.OrderedDict.__init__"),
        "numpy_transformer.cli.main": call(name("numpy_transformer.cli.main")),
        "__main__.Thing": name("__main__.Thing"),
        # The same name in other ways.
        "os.popen": call(value("os") + value("popen") + pickle.STACK_GLOBAL, shell),
        "os.execl": pickle.MARK + shell + pickle.INST + b"os\nexecl\n",
        "os.spawnl": pickle.MARK + name("os.spawnl") + shell + pickle.OBJ,
        "code.InteractiveConsole": name("code.InteractiveConsole") + tuple_of() + pickle.NEWOBJ,
        # Of what is allowed, what is not allowed with it.
        "the instruction INST": pickle.MARK + pickle.INST + b"collections\nOrderedDict\n",
        "the instruction OBJ": pickle.MARK + ordered + pickle.OBJ,
        "the instruction NEWOBJ": ordered + tuple_of() + pickle.NEWOBJ,
        "the instruction NEWOBJ_EX": size + tuple_of() + value({}) + pickle.NEWOBJ_EX,
        "the instruction EXT1": pickle.EXT1 + b"\1",
        "the instruction EXT2": pickle.EXT2 + b"\1\0",
        "the instruction EXT4": pickle.EXT4 + b"\1\0\0\0",
        "the instruction PERSID": pickle.PERSID + b"os.system\n",
        "the instruction LONG4": pickle.LONG4 + b"\xff\xff\xff\x7f",
        "the instruction BINBYTES8": pickle.BINBYTES8 + b"\xff" * 8,
        "the instruction BYTEARRAY8": pickle.BYTEARRAY8 + b"\0\0\0\0\1\0\0\0",
        "the instruction INT": pickle.INT + b"9" * 1_000_000 + b"\n",
        "the instruction b'\\xff', which pickles do not have": b"\xff",
        "it calls 'os.system' with": call(value("os.system"), shell),
        "it calls StorageType(kind='float32') with": call(name("torch.FloatStorage"), shell),
        "torch.Size is made of ('touch": call(size, shell),
        "an OrderedDict is made of ('touch": call(ordered, shell),
        "a tensor is made of ('touch": call(CALL, shell),
        "a parameter is made of ('touch": call(PARAMETER, shell),
        "a layout is made of (1,)": call(name("torch.serialization._get_layout"), value(1)),
        "it sets attributes of Maker(name='torch.Size'": size + value({}) + pickle.BUILD,
        "it sets attributes of Storage(key='0'": storage() + value({"key": "1"}) + pickle.BUILD,
        "it sets attributes of {} to ({}, {'__class__'": (
            value({}) + tuple_of(value({}), value({"__class__": 1})) + pickle.BUILD
        ),
    }


NAMES = list(malicious("nowhere"))


@pytest.mark.parametrize("asked", ["os.system", "builtins.exec", "os.popen"])
def test_python_itself_would_run_them(tmp_path, asked):
    """Otherwise it would show nothing that the file is not there afterwards."""
    created = tmp_path / "created"
    made = pickle.loads(program(malicious(created)[asked]))
    if asked == "os.popen":
        made.close()  # waits for the command
    assert created.exists()


@pytest.mark.parametrize("make", [archive, older])
@pytest.mark.parametrize("asked", NAMES)
def test_nothing_is_run(put, tmp_path, make, asked):
    created = tmp_path / "created"
    path = put(make(dictionary(w=malicious(created)[asked])))
    with pytest.raises(PortingError) as caught:
        torch_file.read(path)
    assert asked in str(caught.value)
    assert not created.exists()
    assert len(str(caught.value)) < len(str(path)) + 500


def test_a_note_on_a_dictionary_changes_nothing(put):
    """BUILD sets attributes in Python's own machine, and here it is read past."""
    note = value({"__class__": "x", "__dict__": {}, "keys": None})
    noted = call(name("collections.OrderedDict")) + note + pickle.BUILD
    value_read = torch_file.read(put(archive(dictionary(a=noted))))
    assert value_read == {"a": {}} and type(value_read["a"]) is dict


@pytest.mark.parametrize(
    "identity",
    [
        value("storage"),
        value(7),
        value(None),
        value(["storage"]),
        tuple_of(),
        tuple_of(value("module"), name("torch.Size"), value("x.py"), value("")),
        storage("torch.float32"),
        storage("torch.Size"),
        storage(key=0),
        storage(key=("0",)),
        storage("torch.FloatStorage", "0", -1),
        storage("torch.FloatStorage", "0", True),
        storage("torch.FloatStorage", "0", 2**63),
        storage("torch.FloatStorage", "0", 2.0),
        storage("torch.FloatStorage", "0", "6"),
        storage("torch.FloatStorage", "0", 6, ("1", 0, 6)),
        storage("torch.FloatStorage", "0", 6, None, None),
    ],
)
def test_persistent_ids_of_odd_forms(put, identity):
    identity = identity.removesuffix(pickle.BINPERSID) + pickle.BINPERSID
    with pytest.raises(PortingError, match=r"asks for .*, expected the description of a storage$"):
        torch_file.read(put(archive(dictionary(w=identity), {"0": DATA})))


# Pickles that would take time or memory.


def doubled(join, empty, levels=60):
    """A container of two that hold two each, and so on: 2^60 entries in a few hundred bytes."""
    made, again = empty + pickle.BINPUT + b"\1", pickle.BINGET + b"\1"
    for _ in range(levels):
        made = join(made, again) + pickle.BINPUT + b"\1"
    return made


def pair(first, second):
    return first + second + pickle.TUPLE2


def two_keys(first, second):
    return dictionary(a=first, b=second)


def with_key(piece):
    """A dictionary with that key."""
    return pickle.EMPTY_DICT + piece + value(1) + pickle.SETITEM


ITSELF = pickle.EMPTY_LIST + pickle.BINPUT + b"\1" + pickle.BINGET + b"\1" + pickle.APPEND
DEEP = pickle.EMPTY_TUPLE + pickle.TUPLE1 * 100_000
MANY = doubled(pair, value(1))
FAR = pickle.LONG_BINGET + b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "piece, message",
    [
        # Containers without end. Nothing of them may be copied, compared, hashed or shown whole.
        (MANY, "nests more than 20 deep"),
        (doubled(two_keys, pickle.EMPTY_DICT, 19), "or has more than 300000 entries"),
        (ITSELF, "nests more than 20 deep"),
        (DEEP, "nests more than 20 deep"),
        (with_key(DEEP), "a key is (((("),
        (with_key(MANY), "a key is (((("),
        (with_key(value(2**63)), "a key is 9223372036854775808, expected a name or a number"),
        (with_key(value("k" * 501)), "a key is 'kkkkkk"),
        (MANY + pickle.EMPTY_TUPLE + pickle.REDUCE, "it calls (((("),
        (MANY + MANY + pickle.BUILD, "it sets attributes of (((("),
        (MANY + value(1) + pickle.APPEND, "it appends to (((("),
        (MANY + value("x") + pickle.STACK_GLOBAL, "it asks for the name 'x' in (((("),
        (tuple_of(MANY) + pickle.BINPERSID, "asks for (((("),
        (DEEP + pickle.BINPERSID, "asks for (((("),
        (call(CALL, storage(), MANY), "a tensor is made of (Storage("),
        (call(CALL, storage(), value(0), MANY, MANY), "a tensor is made of (Storage("),
        (call(CALL, storage(), value(0), DEEP, value((1,))), "a tensor is made of (Storage("),
        (call(name("torch.Size"), MANY), "nests more than 20 deep"),
        # Numbers that ask for room.
        (value(1) + FAR, "asks for value 4294967295 of its memo, which was never put there"),
        (pickle.BINUNICODE + b"\x7f\x96\x98\0" + b"x", "it ends too soon"),
        (pickle.BINUNICODE + b"\x81\x96\x98\0", "a text has 10000001 bytes, more than 10000000"),
        (pickle.FRAME + b"\xff" * 8 + pickle.BINUNICODE, "it ends too soon"),
        (tensor(storage(length=2**62), 0, (2**62,), (1,)), "has 24 bytes, but 4611686018427387904"),
        (tensor(storage(), 0, (2**40,), (0,)), "repeats its numbers to 1099511627776 entries"),
        (tensor(storage(), 0, (2**40, 0, 2**40), (0, 0, 0)), "which is beyond all memory"),
        (tensor(storage(), 0, (1,) * 33, (1,) * 33), "has 33 axes, at most 32 are read"),
        (tensor(storage(), 0, (1,) * 65, (1,) * 65), "a tensor is made of (Storage("),
    ],
    ids=lambda part: part[:40] if isinstance(part, str) else "",
)
def test_nothing_takes_much_memory_or_time(put, piece, message):
    path = put(archive(dictionary(w=piece), {"0": DATA}))
    with limits(megabytes=100, seconds=60), pytest.raises(PortingError) as caught:
        torch_file.read(path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 500


@pytest.mark.parametrize("piece", [pickle.NONE, pickle.MARK, pickle.EMPTY_DICT + pickle.MEMOIZE])
def test_a_pickle_has_so_many_instructions_and_no_more(put, monkeypatch, piece):
    monkeypatch.setattr(unpickler, "MOST_STEPS", 1000)
    with pytest.raises(PortingError, match="it has more than 1000 instructions"):
        torch_file.read(put(archive(piece * 1000)))


def test_a_far_place_in_the_memo_takes_no_room(put):
    far = value(1) + pickle.LONG_BINPUT + b"\xff\xff\xff\xff"
    path = put(archive(dictionary(w=far + FAR + pickle.TUPLE2)))
    with limits(megabytes=100, seconds=60):
        assert torch_file.read(path) == {"w": (1, 1)}


# Damaged pickles and tensors.


@pytest.mark.parametrize(
    "piece, message",
    [
        (pickle.TUPLE1 + pickle.TUPLE2, "an instruction finds no value on the stack"),
        (pickle.MARK + pickle.TUPLE1, "an instruction finds no value on the stack"),
        (value(1) + value(2), "it sets 3 keys and values in {}"),
        (value([1]) + pickle.STOP, "values are left over at its end"),
        (value({}) + value(1) + pickle.APPEND, "it appends to {}, which is no list"),
        (value([]) + value(1) + value(2) + pickle.SETITEM, "it sets 2 keys and values in []"),
        (value({"a": 1}) + value("a") + value(2) + pickle.SETITEM, "the key 'a' stands twice"),
        (value({}) + value(True) + value(2) + pickle.SETITEM, "a key is True, expected a name"),
        (value({}) + value(0.5) + value(2) + pickle.SETITEM, "a key is 0.5, expected a name"),
        (value({}) + storage() + value(2) + pickle.SETITEM, "a key is Storage(key='0'"),
        (value(1) + value("x") + pickle.STACK_GLOBAL, "it asks for the name 'x' in 1"),
        (value([]) + value([]) + pickle.REDUCE, "it calls [] with []"),
        (name("torch.Size") + value([(1, 2)]) + pickle.REDUCE, "it calls Maker(name='torch.Size'"),
        (pickle.GLOBAL + b"torch", "a name has no end within 500 bytes"),
        (pickle.GLOBAL + b"\xff\n", "a text is no UTF-8"),
        (pickle.BINUNICODE + b"\3\0\0\0\xed\xa0\x80", "a text is no UTF-8"),
        (pickle.BINFLOAT + b"\0", "it ends too soon"),
        (storage(), "'w' is Storage(key='0', kind='float32', length=6), expected a tensor"),
        (name("torch.Size"), "'w' is Maker(name='torch.Size'"),
        (name("torch.FloatStorage"), "'w' is StorageType(kind='float32'), expected a tensor"),
        # Tensors and their storages.
        (tensor(storage(key="2")), "lacks the entry 'archive/data/2'"),
        (tensor(storage(length=5)), "'0' has 24 bytes, but 5 numbers of float32 take 20"),
        (tensor(storage("torch.LongStorage")), "24 bytes, but 6 numbers of int64 take 48"),
        (list_of(storage(), storage("torch.IntStorage")), "'0' is described in two ways"),
        (tensor(storage(), 1), "reaches number 6 of its storage, which has 6"),
        (tensor(storage(), 0, (3, 3)), "reaches number 8 of its storage, which has 6"),
        (tensor(storage(), 0, (2,), (6,)), "reaches number 6 of its storage, which has 6"),
        (tensor(storage(), 0, (2,), (2**63 - 1,)), "reaches number 9223372036854775807"),
        (tensor(storage(), 0, (2,), (2**63,)), "a tensor is made of (Storage(key='0'"),
        (tensor(storage(), -1), "a tensor is made of (Storage(key='0'"),
        (tensor(storage(), 0, (2, -3), (3, 1)), "a tensor is made of (Storage(key='0'"),
        (tensor(storage(), 5, (2, 3), (-3, -1)), "a tensor is made of (Storage(key='0'"),
        (tensor(storage(), 0, (2, True), (3, 1)), "a tensor is made of (Storage(key='0'"),
        (tensor(storage(), 0.0), "a tensor is made of (Storage(key='0'"),
        (tensor(storage(), 0, [2, 3]), "a tensor is made of (Storage(key='0'"),
        (tensor(storage(), 0, (2, 3), (3,)), "has the shape (2, 3), but the stride (3,)"),
        (tensor(value(1)), "a tensor is made of (1, 0, (2, 3), (3, 1), False, {})"),
        (tensor(storage(), 0, (2, 3), (3, 1), value({"neg": True})), "which is not known here"),
        (tensor(storage(), 0, (4,), (1,), name("torch.float64")), "reaches number 3 of its stor"),
        (tensor(storage(), 0, (2, 3), (3, 1), name("torch.Size")), "which is not known here"),
        (call(PARAMETER, value(1), value(True), value({})), "a parameter is made of (1, True, {})"),
        (tensor(storage("torch.BoolStorage", "1", 2), 0, (2,), (1,)), "a bool with the byte 2"),
        (tensor(storage("torch.ComplexFloatStorage")), "asks for torch.ComplexFloatStorage"),
        (tensor(storage("torch.QInt8Storage")), "asks for torch.QInt8Storage"),
    ],
    ids=lambda part: part[:40] if isinstance(part, str) else "",
)  # fmt: skip
def test_damaged_pickles_and_tensors(put, piece, message):
    with pytest.raises(PortingError) as caught:
        torch_file.read(put(archive(dictionary(w=piece), {"0": DATA, "1": b"\1\2"})))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "piece, message",
    [
        (value([1]), "holds [1], expected a dictionary of tensors"),
        (tensor(storage()), "holds Tensor(storage=Storage(key='0'"),
        (value({}) + pickle.STOP + b"more", "5 bytes follow the pickle in data.pkl"),
        (b"", "an instruction finds no value on the stack"),
    ],
)
def test_the_object_must_be_a_dictionary(put, piece, message):
    with pytest.raises(PortingError, match=message.replace("[", r"\[").replace("(", r"\(")):
        torch_file.read(put(archive(piece, {"0": DATA})))


# Damaged files around the pickle.

GOOD = dictionary(w=tensor(storage()))
OLDER = dictionary(w=tensor(storage("torch.FloatStorage", "0", 6, None)))


def zipped(*entries, **settings):
    """A zip archive of pairs of a name and bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **settings) as file:
        for entry, content in entries:
            file.writestr(entry, content)
    return buffer.getvalue()


def changed(old, new, where=archive(GOOD, {"0": DATA})):
    """A file with all ``old`` bytes replaced."""
    assert old in where
    return where.replace(old, new)


PICKLE = ("archive/data.pkl", program(GOOD))
CENTRAL = b"PK\x01\x02"  # begins an entry of the zip directory


@pytest.mark.parametrize(
    "bad, message",
    [
        (b"PK\x03\x04", "is a damaged zip archive, perhaps cut off: File is not a zip file"),
        (archive(GOOD, {"0": DATA})[:-30], "is a damaged zip archive"),
        (archive(GOOD), "lacks the entry 'archive/data/0'"),
        (archive(GOOD, {"0": DATA[:-1]}), "'0' has 23 bytes, but 6 numbers of float32 take 24"),
        (archive(GOOD, {"0": DATA + b"\0"}), "'0' has 25 bytes, but 6 numbers of float32 take 24"),
        (archive(GOOD, {"0": DATA}, "a/b"), "with 0 entries <folder>/data.pkl, expected one"),
        (zipped(PICKLE, ("other/data.pkl", b"")), "with 2 entries <folder>/data.pkl"),
        (zipped(("x", b"")), "with 0 entries <folder>/data.pkl"),
        (zipped(PICKLE, ("archive/constants.pkl", b"")), "is a program of TorchScript"),
        (zipped(PICKLE, compression=zipfile.ZIP_DEFLATED), "is compressed or encrypted"),
        (zipped(PICKLE, compression=zipfile.ZIP_LZMA), "is compressed or encrypted"),
        (changed(CENTRAL + b"\x14\x03\x14\0\0\0", CENTRAL + b"\x14\x03\x14\0\1\0"), "or encrypted"),
        (changed(b"data/0", b"data/\0"), "lacks the entry 'archive/data/0'"),
        (changed(b"data/0", b"data/1"), "lacks the entry 'archive/data/0'"),
        (changed(b"data/0PK", b"data/1PK"), "the entry 'archive/data/1' is damaged, or lies"),
        (changed(DATA, DATA[:-1] + b"\0"), "'archive/data/0' is damaged: its checksum is wrong"),
        (changed(b"PK\x03\x04", b"PK\x03\x05"), "begins with b'PK\\x03\\x05"),
        (archive(GOOD, {"0": DATA}, byteorder=b"middle"), "the byte order is 'middle', expected"),
        (archive(GOOD, {"0": DATA}, byteorder=b""), "the byte order is '', expected little or big"),
        # The older format.
        (older(OLDER, {"0": (6, DATA)}, magic=1), "is a pickle, but none that torch.save has"),
        (pickle.dumps({"w": 1}), "is a pickle, but none that torch.save has written"),
        (older(OLDER, {"0": (6, DATA)}, version=1002), "has version 1002 of the format, known is"),
        (older(OLDER, {"0": (6, DATA)}, keys=[]), "lists the storages [], but its tensors need"),
        (older(OLDER, {"0": (6, DATA)}, keys=["0", "0"]), "lists the storages ['0', '0'], but"),
        (older(OLDER, {"0": (6, DATA)}, keys="0"), "lists the storages '0', but its tensors"),
        (older(OLDER, {"0": (6, DATA[:-1])}), "is cut off in the storage '0'"),
        (older(OLDER, {"0": (2**63, DATA)}), "is cut off in the storage '0'"),
        (older(OLDER, {"0": (5, DATA[:-4])}), "'0' has 20 bytes, but 6 numbers of float32 take 24"),
        (older(OLDER, {"0": (6, DATA + b"\0")}), "1 bytes follow the last storage"),
        (older(OLDER, {"0": (6, DATA)})[:30], "it ends too soon"),
        # Neither.
        (b"\x89HDF\r\n\x1a\n", "begins with b'\\x89HDF\\r\\n\\x1a\\n', as neither of the two"),
        (b"version https://git-lfs.github.com/spec/v1\n", "If it is the pointer of git-lfs"),
        (b"", "is empty"),
    ],
    ids=lambda part: part[:40] if isinstance(part, str) else "",
)  # fmt: skip
def test_damaged_files(put, bad, message):
    path = put(bad)
    with pytest.raises(PortingError) as caught:
        torch_file.read(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_the_files_that_are_damaged_above_are_good_otherwise(put):
    numbers = ("archive/data/0", DATA)
    files = archive(GOOD, {"0": DATA}), older(OLDER, {"0": (6, DATA)}), zipped(PICKLE, numbers)
    for good in files:
        assert_same(torch_file.read(put(good))["w"], NUMBERS.reshape(2, 3))


def test_entries_that_overlap(put):
    """Each entry is all that follows it, headers included: 2000 times 1 MB in a file of 1 MB.

    zipfile lists them without a word, and to sum them all up would take minutes.
    """
    names = [f"archive/data/{number}".encode() for number in range(2000)]
    heads, offset, directory, size = b"", 0, b"", 1_000_000
    rest = sum(30 + len(name) for name in names) + size
    for name in names:
        rest -= 30 + len(name)
        about = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, 1, rest, rest, len(name), 0)
        directory += b"PK\x01\x02\x14\0" + about + bytes(10) + struct.pack("<L", offset) + name
        heads += b"PK\x03\x04" + about + name
        offset = len(heads)
    end = struct.pack("<4H2LH", 0, 0, 2000, 2000, len(directory), len(heads) + size, 0)
    path = put(heads + bytes(size) + directory + b"PK\x05\x06" + end)
    with zipfile.ZipFile(path) as file:
        assert sum(entry.file_size for entry in file.infolist()) > 2_000_000_000
    with pytest.raises(PortingError, match="is a zip archive whose entries overlap, or go beyond"):
        torch_file.read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_twice(put):
    with pytest.raises(PortingError, match="in which an entry stands twice"):
        torch_file.read(put(zipped(PICKLE, ("archive/data/0", DATA), ("archive/data/0", DATA))))
