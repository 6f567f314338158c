"""Tokenizers in the files of GPT-2 and of Hugging Face.

A folder holds one of these:

- ``vocab.json`` (``encoder.json`` in OpenAI's release): token to id, in JSON; and ``merges.txt``
  (``vocab.bpe``): a line ``#version: 0.2``, which may be missing, then a merge a line, two tokens
  with a space between them, in the order in which they were learned. ``added_tokens.json`` may be
  there for special tokens that came later: token to id;
- ``tokenizer.json``: all of it in one file, the only one that Hugging Face's newer versions write.
  It is read first if it is there, as Hugging Face does. It can describe tokenizers of many other
  kinds, and those are refused: read as GPT-2's, they would give wrong ids.

Bytes are written as in ``byte_characters``, special tokens as they are.

Source: OpenAI's ``gpt-2`` release; Hugging Face's ``tokenizers``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numpy_transformer.data.tokenizers.checks import TokenizerError
from numpy_transformer.files import write_bytes

VERSION = "#version: 0.2"
END_OF_TEXT = "<|endoftext|>"  # what stands between documents

# Settings of a tokenizer.json under "model" that change the ids, and are off in GPT-2's.
FOREIGN = (
    "dropout",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "byte_fallback",
    "ignore_merges",
)

Merges = tuple[tuple[str, str], ...]


def read(folder: Path) -> tuple[dict[str, int], Merges]:
    """The vocabulary (token to id) and the merges that a folder holds.

    Raises ``TokenizerError`` for what is missing or damaged, naming the file. That vocabulary and
    merges go together is for ``ByteLevelBPE`` to check.
    """
    whole = folder / "tokenizer.json"
    if whole.exists():
        return from_tokenizer_json(_json(whole), whole)
    vocabulary = _table(_find(folder, "vocab.json", "encoder.json"))
    path = _find(folder, "merges.txt", "vocab.bpe")
    try:
        merges = from_lines(_text(path))
    except TokenizerError as error:
        raise TokenizerError(f"{path}, {error}") from None
    added = folder / "added_tokens.json"
    if added.exists():
        vocabulary = with_added(vocabulary, _table(added), added)
    return vocabulary, merges


def write(folder: Path, vocabulary: dict[str, int], merges: Merges, special: list[str]) -> None:
    """Put ``vocab.json`` and ``merges.txt`` into a folder, which is made if it is not there.

    Hugging Face takes ``<|endoftext|>`` for special by itself. It learns of other special tokens
    from ``added_tokens.json``, which is written when there are any.

    Raises ``TokenizerError`` when the folder has a ``tokenizer.json``, as that would be read
    instead, and when it cannot be written.
    """
    whole = folder / "tokenizer.json"
    if whole.exists():
        raise TokenizerError(
            f"{whole} would be read instead of the files that are to be written beside it: write "
            "to another folder, or remove it first"
        )
    by_id = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    lines = f"{VERSION}\n{to_lines(merges)}\n" if merges else VERSION + "\n"
    others = {token: by_id[token] for token in special if token != END_OF_TEXT}
    added = folder / "added_tokens.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "vocab.json", _dump(by_id).encode())
        write_bytes(folder / "merges.txt", lines.encode())
        if others:
            write_bytes(added, _dump(others).encode())
        else:
            added.unlink(missing_ok=True)  # left by another tokenizer
    except OSError as error:
        raise TokenizerError(f"{folder} cannot be written: {error.strerror}") from error


def to_lines(merges: Merges) -> str:
    """Merges as in ``merges.txt``, without its first line.

    >>> to_lines((("a", "b"), ("ab", "c")))
    'a b\\nab c'
    """
    return "\n".join(f"{left} {right}" for left, right in merges)


def from_lines(text: str) -> Merges:
    """The merges of a ``merges.txt``; ``TokenizerError`` naming the line that is none.

    >>> from_lines("#version: 0.2\\na b\\nab c\\n")
    (('a', 'b'), ('ab', 'c'))
    """
    merges = []
    for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
        if number == 1 and (not line or line.startswith("#version")):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise TokenizerError(
                f"line {number}: {line[:80]!r} is no merge, expected two tokens with a space "
                "between them"
            )
        merges.append((parts[0], parts[1]))
    return tuple(merges)


def from_tokenizer_json(values: Any, path: Path) -> tuple[dict[str, int], Merges]:
    """The vocabulary and the merges of a ``tokenizer.json`` that does what GPT-2's does."""
    model = values.get("model") if isinstance(values, dict) else None
    if not isinstance(model, dict):
        raise TokenizerError(f'{path} is no tokenizer.json: expected a dictionary with "model"')
    # The oldest files do not name the model's type.
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise TokenizerError(f"{path} holds a model of type {kind!r}; expected byte-level BPE")
    foreign = {name: model[name] for name in FOREIGN if model.get(name)}
    foreign |= {"normalizer": values["normalizer"]} if values.get("normalizer") else {}
    before = values.get("pre_tokenizer")
    if (
        not isinstance(before, dict)
        or before.get("type") != "ByteLevel"
        or before.get("add_prefix_space")
        or not before.get("use_regex", True)
    ):
        foreign["pre_tokenizer"] = before
    if foreign:
        name, value = next(iter(foreign.items()))
        raise TokenizerError(
            f"{path} is for a tokenizer that does not cut and merge as GPT-2's does: its {name} is "
            f"{json.dumps(value)[:200]}"
        )
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise TokenizerError(f'{path} holds no list "merges" in its "model"')
    lines = [" ".join(map(str, merge)) if isinstance(merge, list) else merge for merge in merges]
    if not all(isinstance(line, str) and "\n" not in line for line in lines):
        raise TokenizerError(f'{path}: "merges" holds something else than pairs of tokens')
    try:
        pairs = from_lines("\n".join([VERSION, *lines]))
    except TokenizerError as error:
        raise TokenizerError(f'{path}, "merges", {error}') from None
    vocabulary = _checked_table(model.get("vocab"), f'{path}, "vocab"')
    return with_added(vocabulary, _added(values.get("added_tokens"), path), path), pairs


def with_added(vocabulary: dict[str, int], added: dict[str, int], path: Path) -> dict[str, int]:
    """The vocabulary and the tokens that were added to it."""
    for token, number in added.items():
        if vocabulary.get(token, number) != number:
            raise TokenizerError(
                f"{path}: the added token {token!r} has the id {number}, but the id "
                f"{vocabulary[token]} in the vocabulary"
            )
    return vocabulary | added


def _added(entries: Any, path: Path) -> dict[str, int]:
    """The added tokens of a ``tokenizer.json`` and their ids."""
    if not isinstance(entries or [], list) or not all(isinstance(e, dict) for e in entries or []):
        raise TokenizerError(f'{path}: "added_tokens" is no list of dictionaries')
    for entry in entries or []:
        for name in ("lstrip", "rstrip", "single_word"):
            if entry.get(name):
                raise TokenizerError(
                    f"{path}: the added token {entry.get('content')!r} has {name}, which changes "
                    "what is found beside it; only tokens that stand for themselves can be read"
                )
    table = {entry.get("content"): entry.get("id") for entry in entries or []}
    return _checked_table(table, f'{path}, "added_tokens"')


def _find(folder: Path, *names: str) -> Path:
    """The first of these files that is there."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise TokenizerError(
        f"{folder} holds no {' and no '.join(names)}; expected vocab.json (or encoder.json) and "
        "merges.txt (or vocab.bpe), or tokenizer.json"
    )


def _text(path: Path) -> str:
    """The text of a file, with ``\\n`` at the end of each line, whatever stands there."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path} is damaged: not UTF-8 ({error})") from None


def _json(path: Path) -> Any:
    """The values in a JSON file."""
    try:
        return json.loads(_text(path))
    except TokenizerError:
        raise
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is damaged, not JSON: {error}") from None


def _table(path: Path) -> dict[str, int]:
    """The ids of tokens in a JSON file."""
    return _checked_table(_json(path), str(path))


def _checked_table(values: Any, where: str) -> dict[str, int]:
    """The values, when they are ids of tokens."""
    if not isinstance(values, dict) or not all(
        isinstance(token, str) and type(number) is int for token, number in values.items()
    ):
        raise TokenizerError(f"{where} is no table of tokens and their ids")
    return values


def _dump(values: dict[str, int]) -> str:
    """JSON as Hugging Face's ``tokenizers`` write it: all in one line."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
