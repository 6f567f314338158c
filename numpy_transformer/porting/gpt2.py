"""GPT-2 in the layout of Hugging Face: read into ``causal_lm``, and written from it.

A tensor of theirs and an array of ours hold the same numbers; the table says under which names,
and how ours lies in theirs. Their linear maps (``Conv1D``) keep a weight as ``(in, out)``, as ours
do, so nothing is transposed but the output, which is theirs as a table ``(V, D)``. Query, key and
value stand side by side in one matrix ``(D, 3D)``, and so do their biases.

Letters: V vocabulary, P positions (``max_length``), D width, F feed-forward width, {i} the layer,
from 0. In a file every name of theirs but ``lm_head.weight`` begins with ``transformer.``; in a
file of ``GPT2Model``, which has no output, none does. Both are read, the first is written.

The same function: pre-norm with a final norm, attention scaled by 1 / sqrt(K), GELU with tanh
(``gelu_new``), dropout in the same places.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; names and
settings are those of https://github.com/huggingface/transformers (``models/gpt2``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from numpy_transformer import parameters
from numpy_transformer.models import causal_lm
from numpy_transformer.parameters import Tree
from numpy_transformer.porting import gpt2_settings, hugging_face, table
from numpy_transformer.porting.errors import PortingError, shown

# ours                                            theirs                     shape    ours is of it
TABLE = """
embedding.weight                                | wte.weight               | V, D  | all
positions.weight                                | wpe.weight               | P, D  | all
decoder.layers.{i}.self_attention_norm.weight   | h.{i}.ln_1.weight        | D     | all
decoder.layers.{i}.self_attention_norm.bias     | h.{i}.ln_1.bias          | D     | all
decoder.layers.{i}.self_attention.query.weight  | h.{i}.attn.c_attn.weight | D, 3D | first third
decoder.layers.{i}.self_attention.query.bias    | h.{i}.attn.c_attn.bias   | 3D    | first third
decoder.layers.{i}.self_attention.key.weight    | h.{i}.attn.c_attn.weight | D, 3D | second third
decoder.layers.{i}.self_attention.key.bias      | h.{i}.attn.c_attn.bias   | 3D    | second third
decoder.layers.{i}.self_attention.value.weight  | h.{i}.attn.c_attn.weight | D, 3D | last third
decoder.layers.{i}.self_attention.value.bias    | h.{i}.attn.c_attn.bias   | 3D    | last third
decoder.layers.{i}.self_attention.output.weight | h.{i}.attn.c_proj.weight | D, D  | all
decoder.layers.{i}.self_attention.output.bias   | h.{i}.attn.c_proj.bias   | D     | all
decoder.layers.{i}.feed_forward_norm.weight     | h.{i}.ln_2.weight        | D     | all
decoder.layers.{i}.feed_forward_norm.bias       | h.{i}.ln_2.bias          | D     | all
decoder.layers.{i}.feed_forward.hidden.weight   | h.{i}.mlp.c_fc.weight    | D, F  | all
decoder.layers.{i}.feed_forward.hidden.bias     | h.{i}.mlp.c_fc.bias      | F     | all
decoder.layers.{i}.feed_forward.output.weight   | h.{i}.mlp.c_proj.weight  | F, D  | all
decoder.layers.{i}.feed_forward.output.bias     | h.{i}.mlp.c_proj.bias    | D     | all
decoder.norm.weight                             | ln_f.weight              | D     | all
decoder.norm.bias                               | ln_f.bias                | D     | all
output.weight                                   | lm_head.weight           | V, D  | transposed
"""  # The last line is for models whose output is not tied; tied, it is wte.weight once more.

PREFIX = "transformer."
OUTPUT = "lm_head.weight"
BUFFERS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # the causal mask, in old files; passed over


ROWS = table.parse(TABLE)


def rows(config: causal_lm.Config) -> list[table.Row]:
    """The table of one model: a row for each array, in the order of ours, shapes in numbers.

    >>> for row in rows(causal_lm.preset("gpt2", vocab=50257))[4:7]:
    ...     print(*row[1:], sep=" | ")
    h.0.attn.c_attn.weight | (768, 2304) | first third
    h.0.attn.c_attn.bias | (2304,) | first third
    h.0.attn.c_attn.weight | (768, 2304) | second third
    """
    D = config.d_model
    sizes = {"V": config.vocab, "P": config.max_length, "D": D, "3D": 3 * D, "F": config.d_ff}
    lines = [row for row in ROWS if row.theirs != OUTPUT or not config.tie_output]
    return table.in_numbers(lines, sizes, config.N)


def their_name(name: str) -> str:
    """Their name for one of ours, as it stands in a file; ``PortingError`` if they have none.

    >>> their_name("decoder.layers.3.self_attention.key.weight")
    'transformer.h.3.attn.c_attn.weight'
    >>> their_name("output.bias")
    Traceback (most recent call last):
    numpy_transformer.porting.errors.PortingError: a GPT-2 has nothing for 'output.bias'
    """
    theirs = table.their_name(ROWS, name)
    if theirs is None:
        raise PortingError(f"a GPT-2 has nothing for {shown(name)}")
    return _prefixed(theirs)


# Weights.


def from_tensors(tensors: Mapping[str, np.ndarray], config: causal_lm.Config) -> Tree:
    """Their tensors, by name, as our parameters, in ``config.dtype``; for gradients as well.

    Names may have the prefix. Where the dtype is right already, each of our arrays is a view of
    theirs: nothing is copied. With a tied output, ``lm_head.weight`` may be there too, but must
    then be equal to ``wte.weight``, or stand in its place.

    Raises ``PortingError`` naming all tensors that are missing, unknown or of another shape.
    """
    found = _bare_names(tensors)
    if config.tie_output and not table.take_out(found, OUTPUT, "wte.weight"):
        raise PortingError(
            f"the settings say that {OUTPUT} is wte.weight (tie_word_embeddings), but the two "
            "differ; if they are meant to, set tie_word_embeddings to false"
        )
    if config.N > len(found):  # before so many rows are made
        raise PortingError(f"n_layer is {config.N}, but there are only {len(found)} tensors")
    return table.to_ours(rows(config), found, config.dtype)


def to_tensors(
    params: Tree, config: causal_lm.Config, dtype: str | None = None
) -> dict[str, np.ndarray]:
    """Our parameters as their tensors, by name, as ``GPT2LMHeadModel`` has them in a file.

    ``dtype`` is one of ``table.WRITTEN``; without it, ``config.dtype`` stays. Where ours has no
    biases for query, key and value, theirs are zeros, and sinusoids become the table of positions:
    the same function, with more parameters. A bias of the output has no place in a GPT-2.

    Raises ``PortingError`` for such a bias, for numbers that ``dtype`` cannot hold, and naming all
    arrays that are missing, unknown or of another shape.

    >>> config = causal_lm.preset("nano", vocab=20)
    >>> tensors = to_tensors(causal_lm.init(np.random.default_rng(0), config), config)
    >>> tensors["transformer.h.1.attn.c_attn.weight"].shape
    (32, 96)
    """
    if config.output_bias:
        raise PortingError(
            "this model has a bias on its output (output_bias=True), and a GPT-2 has no place for "
            "it: train one with output_bias=False"
        )
    lines = rows(config)
    ours = dict(parameters.items(params))
    if config.positions == "sinusoidal":
        ours["positions.weight"] = causal_lm.position_table(params, config)
    if not config.attention_bias:
        thirds = [row.ours for row in lines if row.part in table.THIRDS]
        biases = [name for name in thirds if name.endswith(".bias")]
        ours |= {name: np.zeros(config.d_model, config.dtype) for name in biases}
    tensors = table.to_theirs(lines, ours, config.dtype if dtype is None else dtype)
    return {_prefixed(name): tensor for name, tensor in tensors.items()}


def _prefixed(name: str) -> str:
    """A name of theirs as it stands in a file."""
    return name if name == OUTPUT else PREFIX + name


def _bare_names(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors without the prefix to their names, and without the buffers of old files."""
    found = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(PREFIX)
        if bare in found:
            raise PortingError(f"{shown(bare)} is there twice, with {PREFIX} before it and without")
        if not BUFFERS.fullmatch(bare):
            found[bare] = tensor
    return found


# Folders.


def read(folder: str | Path, dtype: str | None = None) -> tuple[Tree, causal_lm.Config]:
    """The parameters and the settings of a GPT-2 in a folder of Hugging Face's.

    The weights may be in one file or in several with an index, of safetensors or of PyTorch
    (``hugging_face.py``). ``dtype`` is ``"float32"`` or ``"float64"``; without it, it is float64 if
    any of the weights is, else float32.

    What need not be converted is not copied: such arrays are read-only views of a memory map, and
    query, key and value three views of one matrix. The files must stay as they are while the
    arrays are in use; to train them, copy them, as ``parameters.pack`` does.

    Raises ``PortingError`` for what cannot be used, saying why.

    >>> import tempfile
    >>> config = causal_lm.preset("nano", vocab=20)
    >>> params = causal_lm.init(np.random.default_rng(0), config)
    >>> folder = Path(tempfile.mkdtemp()) / "model"
    >>> write(folder, params, config)
    >>> same, same_config = read(folder)
    >>> same_config == config, list(same) == list(params)
    (True, True)
    """
    hugging_face.check_dtype(dtype)
    values = hugging_face.read_config(folder)
    with hugging_face.told_of(Path(folder) / hugging_face.CONFIG):
        config = gpt2_settings.to_config(values)
    tensors = hugging_face.read_tensors(folder)
    config = replace(config, dtype=dtype or hugging_face.dtype_of(tensors))
    with hugging_face.told_of(folder):
        return from_tensors(tensors, config), config


def write(
    folder: str | Path,
    params: Tree,
    config: causal_lm.Config,
    end_of_text: int | None = None,
    dtype: str | None = None,
) -> None:
    """Write a model as a folder that ``GPT2LMHeadModel.from_pretrained`` reads.

    ``config.json`` and ``model.safetensors``: ``gpt2_settings.from_config`` and ``to_tensors`` say
    what is in them, and raise ``PortingError`` where a GPT-2 has no place for something. ``dtype``
    is ``"float16"``, ``"float32"`` or ``"float64"``; without it, ``config.dtype`` stays, and
    ``read`` gives the same parameters back, bit by bit. The folder is made if it is not there; one
    that holds a model already is refused.
    """
    dtype = config.dtype if dtype is None else dtype
    values = gpt2_settings.from_config(config, end_of_text, dtype)
    hugging_face.write(folder, values, to_tensors(params, config, dtype))
