"""BERT's tokenizer in files.

- ``vocab.txt``: a token a line, in the order of their ids. As Hugging Face reads it, white space at
  the end of a line is no part of the token, and so it does not matter how lines end; an empty line
  is a token that no text has, but it counts;
- ``tokenizer.json``, where there is no ``vocab.txt``, as Hugging Face's newer versions write none.
  Only the vocabulary in it is used;
- ``tokenizer_config.json`` beside it, in Hugging Face's folders: how texts are cut into words.

Source: the release of BERT (``vocab.txt``); Hugging Face's ``BertTokenizer``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy_transformer.data.tokenizers.bert_text import WHITE_SPACE
from numpy_transformer.data.tokenizers.checks import TokenizerError
from numpy_transformer.data.tokenizers.special_names import SPECIAL
from numpy_transformer.files import read_json, write_bytes, write_json

VOCABULARY = "vocab.txt"
WHOLE = "tokenizer.json"
CONFIG = "tokenizer_config.json"

# The settings of a WordPiece, as they are called in tokenizer_config.json.
SETTINGS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "chinese": "tokenize_chinese_chars",
}

# Settings of a tokenizer.json under "model", and BERT's values of them.
MODEL = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
}

# What the special tokens are called in tokenizer_config.json, in the order of SPECIAL.
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


def read(path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The tokens and the settings in a ``vocab.txt``, or in a folder that holds one.

    Raises ``TokenizerError`` for what is missing or damaged, naming the file and the line.
    """
    if not path.is_dir():
        return read_tokens(path), {}
    settings = read_settings(path / CONFIG) if (path / CONFIG).exists() else {}
    if (path / VOCABULARY).exists():
        return read_tokens(path / VOCABULARY), settings
    if (path / WHOLE).exists():
        return read_whole(path / WHOLE), settings
    raise TokenizerError(f"{path} holds no {VOCABULARY} and no {WHOLE}; expected one of them")


def read_tokens(path: Path) -> tuple[str, ...]:
    """The tokens in the lines of a file; ``TokenizerError`` for one that stands there twice."""
    try:
        content = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path} is damaged: not UTF-8 ({error})") from None
    lines: dict[str, int] = {}
    for number, line in enumerate(content.removesuffix("\n").split("\n"), 1):
        token = line.rstrip(WHITE_SPACE)
        if token in lines:
            raise TokenizerError(
                f"{path}, line {number}: {token!r} is in line {lines[token]} already; a token has "
                "one id"
            )
        lines[token] = number
    return tuple(lines)


def read_whole(path: Path) -> tuple[str, ...]:
    """The tokens in a ``tokenizer.json``; ``TokenizerError`` for one of another kind."""
    model = _dictionary(path).get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict):
        raise TokenizerError(f'{path} is no tokenizer.json: expected a "model" with a "vocab"')
    for name, expected in MODEL.items():
        value = model.get(name, expected)
        if value != expected:
            raise TokenizerError(f'{path}: "{name}" is {value!r}; in BERT it is {expected!r}')
    if not all(type(number) is int for number in vocabulary.values()):
        raise TokenizerError(f"{path} holds an id that is no whole number")
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    for number, token in enumerate(tokens):
        if vocabulary[token] != number:
            raise TokenizerError(
                f"{path}: {token!r} has the id {vocabulary[token]}; expected {number}, as ids are "
                "0, 1, 2, ... without gaps"
            )
    return tuple(tokens)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a ``tokenizer_config.json``, those that stand there.

    Raises ``TokenizerError`` for a damaged file, and for one with other special tokens than BERT's.
    """
    values = _dictionary(path)
    for role, token in zip(ROLES, SPECIAL):
        value = values.get(role, token)
        content = value.get("content") if isinstance(value, dict) else value
        if content != token:
            raise TokenizerError(f'{path}: "{role}" is {content!r}; in BERT it is {token!r}')
    settings = {}
    for name, there in SETTINGS.items():
        value = values.get(there)
        if value is None:
            continue  # not set: the same as when it does not stand there
        if not isinstance(value, bool):
            raise TokenizerError(f'{path}: "{there}" is {value!r}; expected true or false')
        settings[name] = value
    return settings


def write(folder: Path, tokens: tuple[str, ...], settings: dict[str, Any]) -> None:
    """Put both files into a folder, which is made if it is not there.

    Raises ``TokenizerError`` when the folder has a ``tokenizer.json``, as Hugging Face would read
    that instead, and when it cannot be written.
    """
    whole = folder / WHOLE
    if whole.exists():
        raise TokenizerError(
            f"{whole} would be read instead of the files that are to be written beside it: write "
            "to another folder, or remove it first"
        )
    config = {"tokenizer_class": "BertTokenizer"}
    config |= {there: settings[name] for name, there in SETTINGS.items()}
    config |= dict(zip(ROLES, SPECIAL))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / VOCABULARY, "".join(f"{token}\n" for token in tokens).encode())
        write_json(folder / CONFIG, config)
    except OSError as error:
        raise TokenizerError(f"{folder} cannot be written: {error.strerror}") from error


def _dictionary(path: Path) -> dict[str, Any]:
    """The dictionary in a JSON file; ``TokenizerError`` for a damaged one."""
    try:
        values = read_json(path)
    except RecursionError:
        raise TokenizerError(f"{path} is damaged: brackets in brackets without end") from None
    except ValueError as error:
        raise TokenizerError(str(error)) from None
    if not isinstance(values, dict):
        raise TokenizerError(f"{path} is damaged: expected a dictionary, in braces")
    return values
