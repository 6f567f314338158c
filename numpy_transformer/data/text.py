"""Plain text to train a language model on: a file, or the documentation that Python carries."""

from __future__ import annotations

from pathlib import Path

from numpy_transformer.data.pairs import DataError


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, with its line breaks as they are.

    Raises ``DataError`` for a file that cannot be read, is not UTF-8 or holds nothing.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 ({error.reason})") from error
    if not text:
        raise DataError(f"{path} is empty; expected text")
    return text


def documentation() -> list[str]:
    """What Python's ``help`` knows of the language: one text for each topic, sorted by name.

    The topics repeat each other word for word (``specialnames`` has all of ``customization``).
    Each paragraph is kept once, where it comes first: what is held out of such a text would
    otherwise stand in the rest as well. It differs a little from one version of Python to the
    next. Raises ``DataError`` where a Python comes without it.

    >>> texts = documentation()
    >>> texts[0].startswith("The \\"assert\\" statement")
    True
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(f"this Python comes without its documentation ({error})") from error

    seen: set[str] = set()
    texts = []
    for name in sorted(topics):
        paragraphs = topics[name].strip("\n").split("\n\n")
        new = [paragraph for paragraph in paragraphs if paragraph not in seen]
        seen.update(paragraphs)
        texts.append("\n\n".join(new))
    return [text for text in texts if text]


def hold_out(text: str, share: float) -> tuple[str, str]:
    """The text without its end, and the end: ``share`` of its characters.

    Raises ``ValueError`` for a share that is none, and when one of the two would have fewer than
    two characters.

    >>> hold_out("0123456789", 0.2)
    ('01234567', '89')
    """
    if not 0 < share < 1:
        raise ValueError(f"the share to hold out is {share}, expected above 0 and below 1")
    cut = len(text) - round(share * len(text))
    if not 2 <= cut <= len(text) - 2:
        raise ValueError(
            f"a share of {share} of {len(text)} characters holds out {len(text) - cut}: "
            "both parts need at least two"
        )
    return text[:cut], text[cut:]
