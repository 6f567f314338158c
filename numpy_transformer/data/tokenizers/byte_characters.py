"""A printable character for each of the 256 bytes, so that tokens can be written in text files.

A token is a string of bytes, and those need not be UTF-8. GPT-2's files write each byte as one
character: the 188 bytes that are printable in Latin-1 as themselves, the others (spaces, control
characters, U+00AD) as the characters from U+0100 on, in their order. A space is U+0120, so " the"
is written as "\u0120the".

The order in which the table is built, first the 188, then the 68, is also that of GPT-2's first 256
ids. Sorted by character, the order is the same.

Source: ``bytes_to_unicode`` in GPT-2's ``encoder.py``.
"""

from __future__ import annotations

PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
HIDDEN = [byte for byte in range(256) if byte not in PRINTABLE]

# The character of each byte, in the order of GPT-2's ids.
CHARACTERS = {byte: chr(byte) for byte in PRINTABLE} | {
    byte: chr(0x100 + i) for i, byte in enumerate(HIDDEN)
}

TO_BYTES = str.maketrans({character: chr(byte) for byte, character in CHARACTERS.items()})


def to_bytes(token: str) -> bytes:
    """The bytes of a token that is written in these characters.

    >>> to_bytes("\u0120the")
    b' the'
    """
    # Latin-1 has for each byte the code point of the same number.
    return token.translate(TO_BYTES).encode("latin-1")
