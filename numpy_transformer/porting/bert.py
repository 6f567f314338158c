"""BERT in the layout of Hugging Face: read into our encoder-only models, and written from them.

A *kind* says which model it is, by the name of the module in ``models/`` that computes it:
``"text_encoder"``, ``"masked_lm"``, ``"classifier"`` or ``"token_classifier"``. In transformers
these are ``BertModel``, ``BertForMaskedLM``, ``BertForSequenceClassification`` and
``BertForTokenClassification``.

A tensor of theirs and an array of ours hold the same numbers; the table says under which names.
Their linear maps keep a weight as ``(out, in)``, ours as ``(in, out)``.

Letters: V vocabulary, P positions (``max_length``), S segments, D width, F feed-forward width,
C classes, {i} the layer, from 0. What begins with {i} in the table stands in a layer: in
``encoder.layers.{i}`` of ours, and in ``encoder.layer.{i}`` of theirs.

In a file with a head, every name but those of ``cls`` and ``classifier`` begins with ``bert.``; in
a file of ``BertModel`` none does. Both are read for every kind, and each is written as transformers
does. Files of 2018 and 2019 call the two tensors of a norm ``gamma`` and ``beta``; they are read,
too.

One thing may stand under two names. ``cls.predictions.decoder.weight`` is the table of embeddings,
and ``cls.predictions.decoder.bias`` is ``cls.predictions.bias``: if both are there, they must be
equal, and either will do.

What is passed over:

- ``embeddings.position_ids``, which counts from 0 to P - 1;
- ``cls.seq_relationship``, which says whether two texts follow one another: of pre-training only;
- ``pooler``, where the kind is not ``classifier``: the others do not compute with it;
- where ``kind`` is given, the heads of the other kinds, and ``qa_outputs``, which answers
  questions.

The same function: post-norm, attention scaled by 1 / sqrt(K), exact GELU, dropout in the same
places. One gradient is another: PyTorch leaves that of the row of padding in the table of
embeddings out (``padding_idx``), where tokens come in. Here it is zero as well, as long as no
gradient arrives at the vectors of padding.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding"; names and settings are those of https://github.com/huggingface/transformers
(``models/bert``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.models import text_encoder
from numpy_transformer.parameters import Tree
from numpy_transformer.porting import bert_settings, hugging_face, table
from numpy_transformer.porting.errors import PortingError, shown

# ours                             theirs                                       shape  ours is of it
TABLE = """
embedding.weight                 | embeddings.word_embeddings.weight          | V, D | all
positions.weight                 | embeddings.position_embeddings.weight      | P, D | all
segments.weight                  | embeddings.token_type_embeddings.weight    | S, D | all
embedding_norm.weight            | embeddings.LayerNorm.weight                | D    | all
embedding_norm.bias              | embeddings.LayerNorm.bias                  | D    | all
{i}.self_attention_norm.weight   | {i}.attention.output.LayerNorm.weight      | D    | all
{i}.self_attention_norm.bias     | {i}.attention.output.LayerNorm.bias        | D    | all
{i}.self_attention.query.weight  | {i}.attention.self.query.weight            | D, D | transposed
{i}.self_attention.query.bias    | {i}.attention.self.query.bias              | D    | all
{i}.self_attention.key.weight    | {i}.attention.self.key.weight              | D, D | transposed
{i}.self_attention.key.bias      | {i}.attention.self.key.bias                | D    | all
{i}.self_attention.value.weight  | {i}.attention.self.value.weight            | D, D | transposed
{i}.self_attention.value.bias    | {i}.attention.self.value.bias              | D    | all
{i}.self_attention.output.weight | {i}.attention.output.dense.weight          | D, D | transposed
{i}.self_attention.output.bias   | {i}.attention.output.dense.bias            | D    | all
{i}.feed_forward_norm.weight     | {i}.output.LayerNorm.weight                | D    | all
{i}.feed_forward_norm.bias       | {i}.output.LayerNorm.bias                  | D    | all
{i}.feed_forward.hidden.weight   | {i}.intermediate.dense.weight              | F, D | transposed
{i}.feed_forward.hidden.bias     | {i}.intermediate.dense.bias                | F    | all
{i}.feed_forward.output.weight   | {i}.output.dense.weight                    | D, F | transposed
{i}.feed_forward.output.bias     | {i}.output.dense.bias                      | D    | all
prediction.dense.weight          | cls.predictions.transform.dense.weight     | D, D | transposed
prediction.dense.bias            | cls.predictions.transform.dense.bias       | D    | all
prediction.norm.weight           | cls.predictions.transform.LayerNorm.weight | D    | all
prediction.norm.bias             | cls.predictions.transform.LayerNorm.bias   | D    | all
prediction.output.bias           | cls.predictions.bias                       | V    | all
pooler.weight                    | pooler.dense.weight                        | D, D | transposed
pooler.bias                      | pooler.dense.bias                          | D    | all
output.weight                    | classifier.weight                          | C, D | transposed
output.bias                      | classifier.bias                            | C    | all
"""

OUR_LAYER, THEIR_LAYER = "encoder.layers.{i}.", "encoder.layer.{i}."
ROWS = tuple(
    row._replace(
        ours=row.ours.replace("{i}.", OUR_LAYER), theirs=row.theirs.replace("{i}.", THEIR_LAYER)
    )
    for row in table.parse(TABLE)
)
# The first part of our names in the head of each kind.
HEADS = {
    "text_encoder": (),
    "masked_lm": ("prediction",),
    "classifier": ("pooler", "output"),
    "token_classifier": ("output",),
}
PREFIX = "bert."
WITHOUT_PREFIX = ("cls.", "classifier.")
EMBEDDINGS = "embeddings.word_embeddings.weight"
# What stands under a second name: that, and the first.
TIED = {
    "cls.predictions.decoder.weight": EMBEDDINGS,
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
OLDER = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# How the tensors of a head begin, and the kinds that have it.
BEGINNINGS = {
    "cls.predictions.": ("masked_lm",),
    "classifier.": ("classifier", "token_classifier"),
    "qa_outputs.": (),
}
PASSED_OVER = re.compile(r"embeddings\.position_ids|cls\.seq_relationship\.(weight|bias)")
POOLER = re.compile(r"pooler\.dense\.(weight|bias)")


class Bert(NamedTuple):
    """A model that was read."""

    kind: str  # "text_encoder", "masked_lm", "classifier" or "token_classifier"
    params: Tree
    config: text_encoder.Config  # or that of ``classifier`` or ``token_classifier``
    labels: tuple[str, ...]  # the names of the classes; () where there are no classes


def rows(kind: str, config: text_encoder.Config) -> list[table.Row]:
    """The table of one model: a row for each array, in the order of ours, shapes in numbers.

    Raises ``PortingError`` unless a BERT of this kind computes what the settings say.

    >>> for row in rows("masked_lm", text_encoder.preset("bert-base", vocab=30522))[-5:-3]:
    ...     print(*row, sep=" | ")
    prediction.dense.weight | cls.predictions.transform.dense.weight | (768, 768) | transposed
    prediction.dense.bias | cls.predictions.transform.dense.bias | (768,) | all
    """
    bert_settings.check_config(config, kind)
    sizes = {
        "V": config.vocab,
        "P": config.max_length,
        "S": config.segments,
        "D": config.d_model,
        "F": config.d_ff,
        "C": getattr(config, "classes", None),
    }
    return table.in_numbers(_lines(kind), sizes, config.N)


def _lines(kind: str) -> list[table.Row]:
    """The lines of the table that a kind has."""
    parts = (*text_encoder.NAMES, *HEADS[kind])
    return [row for row in ROWS if row.ours.split(".")[0] in parts]


def their_name(name: str, kind: str) -> str:
    """Their name for one of ours, as it stands in a file; ``PortingError`` if they have none.

    >>> their_name("encoder.layers.3.self_attention.key.weight", "masked_lm")
    'bert.encoder.layer.3.attention.self.key.weight'
    >>> their_name("pooler.weight", "masked_lm")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: a masked_lm has nothing for 'pooler.weight'
    """
    bert_settings.check_kind(kind)
    theirs = table.their_name(_lines(kind), name)
    if theirs is None:
        raise PortingError(f"a {kind} has nothing for {shown(name)}")
    return _prefixed(theirs, kind)


def _prefixed(name: str, kind: str) -> str:
    """A name of theirs as it stands in a file."""
    bare = kind == "text_encoder" or name.startswith(WITHOUT_PREFIX)
    return name if bare else PREFIX + name


# Weights.


def from_tensors(
    tensors: Mapping[str, np.ndarray], kind: str, config: text_encoder.Config
) -> Tree:
    """Their tensors, by name, as our parameters, in ``config.dtype``; for gradients as well.

    Where the dtype is right already, each of our arrays is a view of theirs: nothing is copied.

    Raises ``PortingError`` naming all tensors that are missing, unknown or of another shape, and
    for two that should be one and differ.
    """
    found = _bare_names(tensors)
    heads = _heads(found)
    expected = [head for head, kinds in BEGINNINGS.items() if kind in kinds]
    absent = [head for head in expected if head not in heads]
    if absent:
        raise PortingError(
            f"kind is {kind!r}, but there are no tensors {absent[0]}*: this is no {kind}"
        )
    for name, other in TIED.items():
        if not table.take_out(found, name, other) and kind == "masked_lm":
            raise PortingError(f"{name} and {other} differ, but in a {kind} they are one")
    others = tuple(head for head in heads if head not in expected)
    found = {
        name: tensor
        for name, tensor in found.items()
        if not name.startswith(others) and (kind == "classifier" or not POOLER.fullmatch(name))
    }
    if config.N > len(found):  # before so many rows are made
        raise PortingError(
            f"num_hidden_layers is {config.N}, but there are only {len(found)} tensors"
        )
    return table.to_ours(rows(kind, config), found, config.dtype)


def to_tensors(
    params: Tree, kind: str, config: text_encoder.Config, dtype: str | None = None
) -> dict[str, np.ndarray]:
    """Our parameters as their tensors, by name, as transformers writes them.

    ``dtype`` is one of ``table.WRITTEN``; without it, ``config.dtype`` stays. Sinusoids become the
    table of positions: the same function, with more parameters.

    Raises ``PortingError`` for numbers that ``dtype`` cannot hold, and naming all arrays that are
    missing, unknown or of another shape.

    >>> config = text_encoder.preset("nano", vocab=20)
    >>> params = text_encoder.init(np.random.default_rng(0), config)
    >>> tensors = to_tensors(params, "text_encoder", config)
    >>> tensors["encoder.layer.1.intermediate.dense.weight"].shape
    (128, 32)
    """
    ours = dict(parameters.items(params))
    if config.positions == "sinusoidal":
        ours["positions.weight"] = text_encoder.position_table(params, config)
    written = config.dtype if dtype is None else dtype
    tensors = table.to_theirs(rows(kind, config), ours, written)
    return {_prefixed(name, kind): tensor for name, tensor in tensors.items()}


def _bare_names(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors by today's names without the prefix, and without what no kind computes with."""
    found = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(PREFIX)
        for older, today in OLDER.items():
            if bare.endswith(older):
                bare = bare.removesuffix(older) + today
        if bare in found:
            raise PortingError(f"{shown(bare)} is there twice, under two names ({shown(name)})")
        if not PASSED_OVER.fullmatch(bare):
            found[bare] = tensor
    return found


def _heads(found: Mapping[str, np.ndarray]) -> list[str]:
    """The heads that are there, by the beginning of their names."""
    return [head for head in BEGINNINGS if any(name.startswith(head) for name in found)]


def kind_of(tensors: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> str:
    """Which kind a file is of, by its tensors and by the ``architectures`` of its settings.

    A head ``classifier`` is that of a ``token_classifier`` if the settings say so, or if they do
    not say and there is no pooler. Raises ``PortingError`` where it cannot be said.

    >>> kind_of({"bert.pooler.dense.weight": np.ones(1), "classifier.weight": np.ones(1)}, {})
    'classifier'
    """
    found = _bare_names(tensors)
    heads = _heads(found)
    if len(heads) > 1 or "qa_outputs." in heads:
        raise PortingError(
            f"there are tensors {'* and '.join(heads)}*: say with kind which model to read, one of "
            f"{', '.join(HEADS)}"
        )
    if not heads:
        return "text_encoder"
    kinds = BEGINNINGS[heads[0]]
    names = bert_settings.architectures(values)
    named = [kind for kind in kinds if bert_settings.KINDS[kind][0] in names]
    if len(kinds) == 1 or named:
        return (named or kinds)[0]
    pooler = any(POOLER.fullmatch(name) for name in found)
    return "classifier" if pooler else "token_classifier"


# Folders.


def read(folder: str | Path, dtype: str | None = None, kind: str | None = None) -> Bert:
    """The model in a folder of Hugging Face's.

    The weights may be in one file or in several with an index, of safetensors or of PyTorch
    (``hugging_face.py``). ``kind`` says what to read: a head that must be there, or
    ``"text_encoder"`` for the encoder of whatever it is. Without it, it is what the file holds
    (``kind_of``). ``dtype`` is ``"float32"`` or ``"float64"``; without it, it is float64 if any of
    the weights is, else float32. How many classes there are is said by the weights.

    What need not be converted is not copied: such arrays are read-only views of a memory map. The
    files must stay as they are while the arrays are in use; to train them, copy them, as
    ``parameters.pack`` does.

    Raises ``PortingError`` for what cannot be used, saying why.

    >>> import tempfile
    >>> config = text_encoder.preset("nano", vocab=20)
    >>> params = text_encoder.init(np.random.default_rng(0), config)
    >>> folder = Path(tempfile.mkdtemp()) / "model"
    >>> write(folder, "text_encoder", params, config)
    >>> bert = read(folder)
    >>> bert.kind, bert.config == config, bert.labels
    ('text_encoder', True, ())
    """
    hugging_face.check_dtype(dtype)
    if kind is not None:
        bert_settings.check_kind(kind)
    values = hugging_face.read_config(folder)
    settings_file = Path(folder) / hugging_face.CONFIG
    with hugging_face.told_of(settings_file):
        bert_settings.check_type(values)
    tensors = hugging_face.read_tensors(folder)
    with hugging_face.told_of(folder):
        kind = kind_of(tensors, values) if kind is None else kind
    with hugging_face.told_of(settings_file):
        config = bert_settings.to_config(values, kind, _classes(tensors))
    config = replace(config, dtype=dtype or hugging_face.dtype_of(tensors))
    with hugging_face.told_of(folder):
        params = from_tensors(tensors, kind, config)
    with hugging_face.told_of(settings_file):
        labels = bert_settings.labels(values, kind, getattr(config, "classes", 0))
    return Bert(kind, params, config, labels)


def _classes(tensors: Mapping[str, np.ndarray]) -> int | None:
    """How many classes a head ``classifier`` has; None without one, or with one that is none."""
    weight = tensors.get("classifier.weight")
    return None if weight is None or weight.ndim != 2 else weight.shape[0]


def write(
    folder: str | Path,
    kind: str,
    params: Tree,
    config: text_encoder.Config,
    labels: Sequence[str] = (),
    dtype: str | None = None,
) -> None:
    """Write a model as a folder that ``from_pretrained`` of transformers reads.

    ``config.json`` and ``model.safetensors``: ``bert_settings.from_config`` and ``to_tensors`` say
    what is in them, and raise ``PortingError`` where a BERT has no place for something. ``labels``
    are the names of the classes. ``dtype`` is ``"float16"``, ``"float32"`` or ``"float64"``;
    without it, ``config.dtype`` stays, and ``read`` gives the same parameters back, bit by bit. The
    folder is made if it is not there; one that holds a model already is refused. A tokenizer is
    written by itself (``WordPiece.write``).

    A ``text_encoder`` has no pooler, and ``BertModel`` has one that plays no part in the vectors of
    tokens: give ``BertModel.from_pretrained`` the argument ``add_pooling_layer=False``, or it will
    draw one and say so.
    """
    dtype = config.dtype if dtype is None else dtype
    values = bert_settings.from_config(config, kind, labels, dtype)
    hugging_face.write(folder, values, to_tensors(params, kind, config, dtype))
