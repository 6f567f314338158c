"""The text of a run: of a file, or what comes with Python, described so that it is found again."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from numpy_transformer.data import docstrings
from numpy_transformer.data import text as text_module

DOCUMENTATION, DOCSTRINGS = "documentation", "documentation and docstrings"


class Dataset(NamedTuple):
    """A text, cut in two, and how to get the same one again."""

    train: str
    held_out: str
    description: dict[str, Any]


def add_options(
    group: Any, default: str, held_out: float, tokenizers: str, vocabulary: str
) -> None:
    """``--text``, ``--held-out``, ``--tokenizer`` and ``--vocab-size``.

    ``default`` is the text without ``--text`` and ``held_out`` the share without ``--held-out``;
    ``tokenizers`` and ``vocabulary`` say what there is.
    """
    group.add_argument(
        "--text", metavar="FILE", help=f"what to read, in UTF-8 (default: {default})"
    )
    group.add_argument(
        "--held-out",
        type=float,
        metavar="SHARE",
        help=f"the share of the text, at its end, to judge the model by ({held_out})",
    )
    group.add_argument("--tokenizer", metavar="NAME", help=tokenizers)
    group.add_argument("--vocab-size", type=int, metavar="N", help=vocabulary)


def from_options(
    options: argparse.Namespace, default: str, share: float, separator: str
) -> Dataset:
    """The text that the options ask for.

    ``default`` is what is read without ``--text``, ``share`` of it held out without ``--held-out``,
    and ``separator`` what stands between its texts.
    """
    description = {
        "text": options.text and str(Path(options.text).resolve()),
        "held_out": share if options.held_out is None else options.held_out,
        "default": default,
        "separator": separator,
    }
    return load(description)


def load(description: dict[str, Any]) -> Dataset:
    """The text that a description stands for; ``ValueError`` where it is not the same any more."""
    share = description["held_out"]
    if description["text"]:
        train, held_out = text_module.hold_out(text_module.read_text(description["text"]), share)
    elif description.get("default", DOCUMENTATION) == DOCUMENTATION:
        text = description["separator"].join(text_module.documentation())
        train, held_out = text_module.hold_out(text, share)
    else:
        parts = docstrings.hold_out(share)
        train, held_out = ([text for text, _ in part] for part in parts)
        train = description["separator"].join([*text_module.documentation(), *train])
        held_out = description["separator"].join(held_out)
    digest = hashlib.sha256("\0".join((train, held_out)).encode()).hexdigest()
    if description.setdefault("sha256", digest) != digest:
        raise ValueError(
            f"{description['text'] or 'the documentation of this Python'} is not the text that "
            "the run was started with. Put the old file back, say where it is now (--text), or use "
            "the same version of Python; or train anew in another folder."
        )
    return Dataset(train, held_out, description)
