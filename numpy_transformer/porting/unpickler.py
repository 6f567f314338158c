"""A small machine that reads pickles of weights and cannot run code.

A pickle is a program for a machine with a stack and a memory (the *memo*). Most instructions push
a value or put values from the stack into a list or a dictionary. A few are dangerous in Python's
own machine: GLOBAL imports any name, REDUCE calls it, BUILD sets the attributes of what came out,
others do all of it at once, and a pickle that runs a command needs nothing more. Here:

- only the instructions that PyTorch's files consist of are known, and all others are refused;
- GLOBAL imports nothing: it looks the name up in a short table of stand-ins, and a name that is
  not in the table is refused;
- REDUCE calls only a ``Maker``, a stand-in of our own that checks its arguments;
- BUILD, which PyTorch uses to hang a note on a dictionary, changes nothing.

Nor can a pickle take much time or memory. Every instruction makes one value, no longer than its
own bytes, and there is a limit to their number. A key is a text or a number of 64 bits, for the
hash of tuples nested a million deep would overflow Python's stack. And five bytes that put a value
at place 2^28 of the memo can cost Python's own machine 4 GB, as it keeps a table with all places
up to there; here the memo is a dictionary.

Source: the instructions are described in Python's ``pickletools`` module.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy_transformer.porting.errors import PortingError, shown

MOST_STEPS = 2_000_000  # PyTorch takes about 40 for a tensor
LONGEST_NAME = 500
LONGEST_TEXT = 10_000_000  # bytes

WEIGHTS_ALONE = (
    "If you trust the file, load it with PyTorch and save the weights alone: "
    "torch.save(model.state_dict(), path)."
)

@dataclass(frozen=True)
class Maker:
    """Stands for a function or a class: what takes its place when the pickle calls it.

    ``make`` gets the arguments as one tuple, and what a message begins with.
    """

    name: str
    make: Callable[[tuple, str], Any] = field(repr=False)


def unpickle(
    data: memoryview,
    start: int,
    where: str,
    names: Mapping[str, Any] | None = None,
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """The value of the pickle in ``data`` that begins at ``start``, and where the pickle ends.

    ``names`` are the stand-ins by full name, and ``persistent`` makes a value of what the pickle
    calls a persistent id; without them there are none. Raises ``PortingError``, beginning with
    ``where``, for whatever is not known here and for a damaged pickle.

    >>> unpickle(memoryview(pickle.dumps({"weight": [1, 2.5]})), 0, "an example")
    ({'weight': [1, 2.5]}, 39)
    >>> unpickle(memoryview(pickle.dumps(exec)), 0, "an example")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: an example asks for builtins.exec, which is not \
needed for weights: refused, and nothing was run. If you trust the file, load it with PyTorch and \
save the weights alone: torch.save(model.state_dict(), path).
    """
    machine = _Machine(data, start, where, names or {}, persistent)
    return machine.run(), machine.position


class _Machine:
    """The stack, the marks on it, the memo, and the place in the program."""

    def __init__(
        self,
        data: memoryview,
        position: int,
        where: str,
        names: Mapping[str, Any],
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        """Ready to run from ``position``."""
        self.data = data
        self.position = position
        self.where = where
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack; what is below the last is out of reach
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Obey instructions up to STOP; the value that is left."""
        for _ in range(MOST_STEPS):
            code = self.take(1)
            if code == pickle.STOP:
                value = self.pop()
                if self.stack or self.marks:
                    raise self.damaged("values are left over at its end")
                return value
            if code not in _INSTRUCTIONS:
                raise self.refused(code)
            _INSTRUCTIONS[code](self)
        raise self.damaged(f"it has more than {MOST_STEPS} instructions")

    # What instructions take from the program.

    def take(self, length: int) -> bytes:
        """The next bytes."""
        end = self.position + length
        if end > len(self.data):
            raise self.damaged("it ends too soon")
        taken = self.data[self.position : end]
        self.position = end
        return bytes(taken)

    def number(self, length: int, signed: bool = False) -> int:
        """The next bytes as a whole number."""
        return int.from_bytes(self.take(length), "little", signed=signed)

    def text(self, length: int) -> str:
        """The next bytes as a text."""
        if length > LONGEST_TEXT:
            raise self.damaged(f"a text has {length} bytes, more than {LONGEST_TEXT}")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged(f"a text is no UTF-8 ({error.reason})") from error

    def line(self) -> str:
        """The next bytes up to the end of the line: a half of a name."""
        start = self.position
        ahead = bytes(self.data[start : start + LONGEST_NAME])
        length = ahead.find(b"\n")
        if length < 0:
            raise self.damaged(f"a name has no end within {LONGEST_NAME} bytes")
        text = self.text(length)
        self.position += 1
        return text

    # What instructions do to the stack.

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def mark(self) -> None:
        """Put a mark on the stack."""
        self.marks.append(len(self.stack))

    def top(self) -> Any:
        """The last value on the stack."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.damaged("an instruction finds no value on the stack")
        return self.stack[-1]

    def pop(self) -> Any:
        """The last value, taken away."""
        self.top()
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """All values from the last mark on, taken away."""
        if not self.marks:
            raise self.damaged("an instruction finds no mark on the stack")
        height = self.marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def tuple_of(self, count: int) -> None:
        """Put the last values into a tuple."""
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def append(self, values: list[Any]) -> None:
        """Put values at the end of the list on top."""
        target = self.top()
        if not isinstance(target, list):
            raise self.damaged(f"it appends to {shown(target)}, which is no list")
        target.extend(values)

    def set_item(self) -> None:
        """Put one value under its key into the dictionary below them."""
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def set_items(self, values: list[Any]) -> None:
        """Put ``[key, value, key, value, ...]`` into the dictionary on top."""
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise self.damaged(f"it sets {len(values)} keys and values in {shown(target)}")
        for key, value in zip(values[::2], values[1::2]):
            short = isinstance(key, str) and len(key) <= LONGEST_NAME
            if not short and not (type(key) is int and abs(key) < 2**63):
                raise self.damaged(f"a key is {shown(key)}, expected a name or a number")
            if key in target:
                raise self.damaged(f"the key {shown(key)} stands twice in a dictionary")
            target[key] = value

    def remember(self, index: int) -> None:
        """Put the value on top into the memo, and leave it where it is."""
        self.memo[index] = self.top()

    def recall(self, index: int) -> Any:
        """A value out of the memo."""
        if index not in self.memo:
            raise self.damaged(f"it asks for value {index} of its memo, which was never put there")
        return self.memo[index]

    def name_in_lines(self) -> None:
        """Find the name that stands in the program, in two lines: module and name."""
        self.push(self.look_up(self.line(), self.line()))

    def name_on_stack(self) -> None:
        """Find the name that stands on the stack."""
        name, module = self.pop(), self.pop()
        self.push(self.look_up(module, name))

    def look_up(self, module: Any, name: Any) -> Any:
        """The stand-in for a name."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.damaged(f"it asks for the name {shown(name)} in {shown(module)}")
        full = f"{module}.{name}"
        if full not in self.names:
            raise PortingError(
                f"{self.where} asks for {shown(full)[1:-1]}, which is not needed for weights: "
                f"refused, and nothing was run. {WEIGHTS_ALONE}"
            )
        return self.names[full]

    def make(self) -> None:
        """Put what a maker makes of its arguments in the place of both."""
        arguments, maker = self.pop(), self.pop()
        if not isinstance(maker, Maker) or not isinstance(arguments, tuple):
            raise self.damaged(f"it calls {shown(maker)} with {shown(arguments)}")
        self.push(maker.make(arguments, self.where))

    def build(self) -> None:
        """Pass over the note on a model's dictionary, ``_metadata``: versions of its layers."""
        state, target = self.pop(), self.top()
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise self.damaged(f"it sets attributes of {shown(target)} to {shown(state)}")

    def load(self) -> None:
        """Put what a persistent id stands for in its place."""
        identity = self.pop()
        if self.persistent is None:
            raise self.damaged(f"it asks for {shown(identity)}, which lies outside of it")
        self.push(self.persistent(identity))

    # Messages.

    def damaged(self, what: str) -> PortingError:
        """The error for a pickle that does what none of PyTorch's does."""
        return PortingError(
            f"{self.where}: the pickle at byte {self.position} is damaged, or was not written by "
            f"PyTorch: {what}"
        )

    def refused(self, code: bytes) -> PortingError:
        """The error for an unknown instruction; INST brings the name of what it would call."""
        if code == pickle.INST:
            self.look_up(self.line(), self.line())
        known = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
        name = known.get(code, f"{code!r}, which pickles do not have")
        return PortingError(
            f"{self.where}: the pickle at byte {self.position - 1} has the instruction {name}, "
            f"which is not needed for weights: refused, and nothing was run. {WEIGHTS_ALONE}"
        )


# Every instruction that is obeyed.
_INSTRUCTIONS: dict[bytes, Callable[[_Machine], None]] = {
    # Values.
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: lambda m: m.push(m.number(4, signed=True)),
    pickle.BININT1: lambda m: m.push(m.number(1)),
    pickle.BININT2: lambda m: m.push(m.number(2)),
    pickle.LONG1: lambda m: m.push(m.number(m.number(1), signed=True)),
    pickle.BINFLOAT: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    pickle.BINUNICODE: lambda m: m.push(m.text(m.number(4))),
    pickle.SHORT_BINUNICODE: lambda m: m.push(m.text(m.number(1))),
    # Tuples, lists and dictionaries.
    pickle.MARK: lambda m: m.mark(),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE: lambda m: m.push(tuple(m.pop_to_mark())),
    pickle.TUPLE1: lambda m: m.tuple_of(1),
    pickle.TUPLE2: lambda m: m.tuple_of(2),
    pickle.TUPLE3: lambda m: m.tuple_of(3),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.APPEND: lambda m: m.append([m.pop()]),
    pickle.APPENDS: lambda m: m.append(m.pop_to_mark()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.SETITEM: lambda m: m.set_item(),
    pickle.SETITEMS: lambda m: m.set_items(m.pop_to_mark()),
    # The memo.
    pickle.BINPUT: lambda m: m.remember(m.number(1)),
    pickle.LONG_BINPUT: lambda m: m.remember(m.number(4)),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
    pickle.BINGET: lambda m: m.push(m.recall(m.number(1))),
    pickle.LONG_BINGET: lambda m: m.push(m.recall(m.number(4))),
    # Names, and what is made with them.
    pickle.GLOBAL: lambda m: m.name_in_lines(),
    pickle.STACK_GLOBAL: lambda m: m.name_on_stack(),
    pickle.REDUCE: lambda m: m.make(),
    pickle.BUILD: lambda m: m.build(),
    pickle.BINPERSID: lambda m: m.load(),
    # About the pickle itself: its version, and the length of what follows. Nothing to do.
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
}
