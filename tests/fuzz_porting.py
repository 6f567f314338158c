"""Damage good files in many ways, and see that the readers refuse each or read it as it is.

    python tests/fuzz_porting.py --count 10000 --seed 0

For each of three formats (``safetensors``, ``zip`` and ``older``, PyTorch's two) it takes the files
in ``recordings/porting``, damages one, reads it within limits to memory and time, and demands that

- a ``PortingError`` is raised, or
- what is read is what the damaged file says. For safetensors that is computed here by other means:
  names, types, shapes and bytes. In PyTorch's zip format every byte that matters has a checksum,
  so damage that leaves the checksums as they were must leave all arrays as they were. Where the
  checksums are made new, and in the older format, which has none, numbers and names may be others
  than they were, and nothing is demanded of them but that they can be touched.

Anything else is a failure: another exception, a crash, too much memory, too much time. It is
reported with the command that repeats it. At the end stands how many of the files were refused,
how many were read with all arrays as before, and how many with others.

Each case draws from a generator of its own, made from the seed, the format and its number.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import pickletools
import random
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
from limits import TooLong, limits

from numpy_transformer.porting import raw, safetensors, torch_file
from numpy_transformer.porting.errors import PortingError

FOLDER = Path(__file__).parent / "recordings" / "porting"
FILES = {
    "safetensors": ["types.safetensors", "numpy.safetensors"],
    "zip": ["small.bin", "big.bin", "protocol4.bin"],
    "older": ["small_older.bin", "older.bin"],
}
MEGABYTES, SECONDS = 200, 20  # more than a damaged file of 10 kB may ever take

NUMBERS = [0, 1, 2, 3, 7, 8, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]
TEXTS = ["", "0", "weight", "__metadata__", "storage", "F32", "BF16", "F8_E4M3", "é", "\0", "../x"]
NAMES = [
    b"os\nsystem\n", b"builtins\neval\n", b"torch\nFloatStorage\n", b"torch\nDoubleStorage\n",
    b"torch\nBoolStorage\n", b"torch\nSize\n", b"torch\nfloat16\n", b"collections\nOrderedDict\n",
    b"torch._utils\n_rebuild_tensor_v2\n", b"torch._utils\n_rebuild_parameter\n",
]  # fmt: skip


# Damage to bytes.


def damage_bytes(rng, content, times=None):
    """Flip, cut, insert, double, remove or move bytes, mostly once."""
    for _ in range(times or rng.choice([1, 1, 1, 1, 2, 3, 10])):
        at = rng.randrange(len(content) + 1)
        to = min(len(content), at + rng.choice([1, 1, 2, 4, 8, 30, 200]))
        content = rng.choice([
            lambda: content[:at] + bytes(b ^ 1 << rng.randrange(8) for b in content[at:to][:1])
            + content[at + 1 :],
            lambda: content[:at] + rng.randbytes(to - at) + content[to:],
            lambda: content[:at] + bytes(to - at) + content[to:],
            lambda: content[:at] + b"\xff" * (to - at) + content[to:],
            lambda: content[:at] + rng.randbytes(to - at) + content[at:],
            lambda: content[:to] + content[at:],
            lambda: content[:at] + content[to:],
            lambda: content[:at],
            lambda: content[at:to] + content[:at] + content[to:],
            lambda: content[:at] + odd_number(rng) + content[at + 8 :],
        ])()  # fmt: skip
    return content


def odd_number(rng):
    """Some number in 8 bytes, or in 4."""
    number = rng.choice(NUMBERS)
    return number.to_bytes(8, "little")[: rng.choice([4, 8])]


# Damage to a header in JSON.


def odd_value(rng, value):
    """Something else in the place of a value."""
    if type(value) is int and rng.random() < 0.5:
        return value + rng.choice([-8, -1, 1, 8])
    return rng.choice([
        None, True, -1, 1.5, float("nan"), [], {}, [[]], {"a": 1}, [0, 0], 10**20, 10**4000,
        rng.choice(TEXTS), rng.choice(TEXTS), rng.choice(NUMBERS), rng.choice(NUMBERS),
    ])  # fmt: skip


def damage_values(rng, value):
    """Change one thing somewhere within a value: another value, another key, one more, one less."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        what = rng.random()
        if what < 0.7:
            return value | {key: damage_values(rng, value[key])}
        fewer = {k: v for k, v in value.items() if k != key}
        return fewer if what < 0.8 else fewer | {rng.choice([*TEXTS, *value]): value[key]}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return rng.choice([
            value[:at] + [damage_values(rng, value[at])] + value[at + 1 :],
            value[:at] + value[at + 1 :],
            value[::-1],
            [*value, 1],
        ])  # fmt: skip
    return odd_value(rng, value)


def damage_safetensors(rng, content):
    """The file as it was damaged, and whether all arrays must be as they were: here never."""
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    way = rng.randrange(4)
    if way == 0:
        return damage_bytes(rng, content), False
    if way == 1:  # the JSON as a text, with characters that mean something
        at = rng.randrange(length)
        character = rng.choice('{}[]",:0123456789eE.- \\u').encode()
        header = header[:at] + character + header[at + 1 :]
    elif way == 2:
        header = json.dumps(damage_values(rng, json.loads(header))).encode()
    else:  # a part of the text twice, or not at all
        at, to = sorted(rng.sample([i for i, c in enumerate(header) if c in b'{},"'], 2))
        header = header[:to] + header[at:] if rng.random() < 0.5 else header[:at] + header[to:]
    if rng.random() < 0.2:
        data = damage_bytes(rng, data, 1)
    return len(header).to_bytes(8, "little") + header + data, False


# Damage to a pickle.


def odd_instruction(rng):
    """Some instruction with an argument of some sort."""
    opcode = rng.choice(pickletools.opcodes)
    code = opcode.code.encode("latin-1")
    if opcode.name in ("GLOBAL", "INST"):
        return code + rng.choice(NAMES)
    if opcode.arg is None:
        return code
    if opcode.arg.n < 0:  # a length and so many bytes, or a line
        text = rng.choice(TEXTS).encode()
        length = {pickletools.TAKEN_FROM_ARGUMENT1: 1}.get(opcode.arg.n, 4)
        lengths = [len(text)] * 9 + [rng.choice(NUMBERS)]
        return code + rng.choice(lengths).to_bytes(8, "little")[:length] + text + b"\n"
    return code + rng.choice([rng.randbytes(8), odd_number(rng) + bytes(4)])[: opcode.arg.n]


@cache
def instructions(program):
    """The instructions of a good pickle, each with its argument."""
    starts = [position for _, _, position in pickletools.genops(program)] + [len(program)]
    return [program[start:end] for start, end in zip(starts, starts[1:])]


def damage_pickle(rng, program):
    """Change, double, remove or swap instructions of a pickle, or put some in."""
    if rng.random() < 0.2:
        return damage_bytes(rng, program)
    steps = list(instructions(program))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at, other = rng.randrange(len(steps)), rng.randrange(len(steps))
        way = rng.randrange(7)
        if way == 0:
            del steps[at]
        elif way == 1:
            steps.insert(at, steps[other])
        elif way == 2:
            steps[at], steps[other] = steps[other], steps[at]
        elif way == 3:
            steps.insert(at, odd_instruction(rng))
        elif way == 4:
            steps[at] = odd_instruction(rng)
        elif way == 5:  # the same instruction with another argument
            steps[at] = steps[at][:1] + damage_bytes(rng, steps[at][1:], 1)
        else:  # another number in the place of a number
            numbers = [i for i, step in enumerate(steps) if step[:1] in b"KMJ"] or [at]
            number = rng.choice([*NUMBERS, -1, 4, 5, 6])
            steps[rng.choice(numbers)] = pickle.dumps(number, 2)[2:-1]
        if not steps:
            break
    return b"".join(steps)


def entries_of(content):
    """The names and the bytes in a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def damage_zip(rng, content):
    """The file as it was damaged, and whether all arrays must be as they were."""
    if rng.random() < 0.3:
        return damage_bytes(rng, content), True
    entries = entries_of(content)
    way = rng.randrange(5)
    at = rng.randrange(len(entries))
    if way == 0:
        del entries[at]
    elif way == 1:
        entries[at] = entries[at][0], damage_bytes(rng, entries[at][1])
    elif way == 2:
        entries[at] = rng.choice([entries[at - 1][0], "x", "archive/data.pkl"]), entries[at][1]
    else:
        (at,) = [i for i, (name, _) in enumerate(entries) if name.endswith("/data.pkl")]
        entries[at] = entries[at][0], damage_pickle(rng, entries[at][1])
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.03 else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an entry that stands twice
        for name, entry in entries:
            new.writestr(name, entry)
    return buffer.getvalue(), False


@cache
def parts_of(content):
    """The five pickles of a file of the older format, and the storages."""
    stream = io.BytesIO(content)
    parts = []
    for _ in range(5):
        start = stream.tell()
        for _ in pickletools.genops(stream):
            pass
        parts.append(content[start : stream.tell()])
    return [*parts, stream.read()]


def damage_older(rng, content):
    """The file as it was damaged, and whether all arrays must be as they were: here never."""
    if rng.random() < 0.3:
        return damage_bytes(rng, content), False
    parts = list(parts_of(content))
    at = rng.choice([0, 1, 2, 3, 3, 3, 3, 4, 5])
    parts[at] = damage_bytes(rng, parts[at]) if at == 5 else damage_pickle(rng, parts[at])
    return b"".join(parts), False


# Judging what came of it.


def leaves(value, place=()):
    """Everything that is no dictionary, list or tuple, with its place."""
    if isinstance(value, (dict, list, tuple)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in inner:
            yield from leaves(entry, (*place, key))
    else:
        yield place, value


def touched(value):
    """What was read, in a form to compare; this looks at every number."""
    found = {}
    for place, leaf in leaves(value):
        if isinstance(leaf, np.ndarray):
            assert not leaf.flags.writeable and leaf.dtype.isnative, place
            leaf = (leaf.dtype.str, leaf.shape, leaf.tobytes())
        elif not isinstance(leaf, (str, int, float, type(None))):
            raise AssertionError(f"{type(leaf)} was read at {place}")
        found[place] = leaf
    return found


def said(content):
    """What a safetensors file says, read in another way, without a check."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        data = content[8 + length + start : 8 + length + stop]
        code = raw.CODES[safetensors.KINDS[entry["dtype"]]]
        if entry["dtype"] == "BF16":
            halves = [b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2)]
            data, code = b"".join(halves), "f4"
        found[(name,)] = np.dtype(code).str, tuple(entry["shape"]), data
    return found


DAMAGE = {"safetensors": damage_safetensors, "zip": damage_zip, "older": damage_older}
READ = {"safetensors": safetensors.read, "zip": torch_file.read, "older": torch_file.read}


@cache
def recorded(file):
    """The bytes of a good file."""
    return (FOLDER / file).read_bytes()


def run(kind, number, seed, path, before):
    """One case: what came of it, and a list of lines if it was wrong."""
    rng = random.Random(f"{seed} {kind} {number}")
    file = rng.choice(FILES[kind])
    content, same = DAMAGE[kind](rng, recorded(file))
    path.write_bytes(content)
    try:
        with limits(MEGABYTES, SECONDS):
            found = touched(READ[kind](path))
    except PortingError as error:
        short = len(str(error)) < 1000 and str(error).startswith(str(path))
        return "refused", None if short else f"the message is {error}"
    except (Exception, TooLong):
        return "wrong", traceback.format_exc()
    try:
        if kind == "safetensors" and found != said(content):
            return "wrong", "what was read is not what the file says"
    except Exception:
        return "wrong", f"what was read is not there in another way:\n{traceback.format_exc()}"
    if found == before[file]:
        return "as before", None
    return "others", "the checksums are right and the arrays are not" if same else None


def main():
    """Run all cases; the exit status is 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10000, help="cases of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=DAMAGE, help="this format alone")
    parser.add_argument("--only", type=int, help="this case alone")
    arguments = parser.parse_args()
    failed = False
    for kind in [arguments.format] if arguments.format else DAMAGE:
        before = {file: touched(READ[kind](FOLDER / file)) for file in FILES[kind]}
        outcomes = Counter()
        numbers = range(arguments.count) if arguments.only is None else [arguments.only]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "damaged"
            print(f"the last file that was read, should Python crash: {path}", file=sys.stderr)
            for number in numbers:
                outcome, problem = run(kind, number, arguments.seed, path, before)
                outcomes[outcome] += 1
                if problem:
                    failed = True
                    print(
                        f"python tests/fuzz_porting.py --seed {arguments.seed} --format {kind} "
                        f"--only {number}\n{problem}"
                    )
        print(
            f"{kind}: {len(numbers)} damaged, {outcomes['refused']} refused, "
            f"{outcomes['as before']} read as before, {outcomes['others']} with other values, "
            f"{outcomes['wrong']} wrong"
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
