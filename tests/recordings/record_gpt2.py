"""Record small GPT-2 folders as Hugging Face lays them out, and what its model makes of them.

Run it in an environment that has PyTorch and transformers (2.14 and 5.24 made the files that are
kept here)::

    python tests/recordings/record_gpt2.py

It writes into ``gpt2/`` beside itself. The tests need the files and neither of the two packages.
Nothing here imports ``numpy_transformer``: the models, their logits and their gradients are those
of ``GPT2LMHeadModel`` with eager attention, in evaluation mode. Each model draws from a generator
of its own, seeded by its name, so two runs write the same numbers.

The models, each a folder that ``save_pretrained`` wrote and a file of what was recorded:

- ``tied``: float32, tied output, GELU with tanh, a feed-forward network that is not 4 D wide;
- ``untied``: float64, an output of its own, exact GELU, another eps, 4 D wide.

The other folders hold the weights of ``tied`` once more:

- ``sharded``: several files and an index, by ``save_pretrained``;
- ``bare``: a ``GPT2Model``, which has no output and no prefix to its names, by ``save_pretrained``;
- ``bin``: ``pytorch_model.bin`` as transformers wrote it before version 5: the tied output has its
  own name too, and the buffers ``attn.bias`` and ``attn.masked_bias`` are there;
- ``bin_sharded``: the same in two files with an index, without the buffers.

That transformers reads the same model from each of them is checked here.

What is in ``tied.npz`` and ``untied.npz``, computed and kept in float64:

- ``ids (B, T)`` and ``dlogits``, a random cotangent of the logits;
- ``logits``, and for every parameter ``gradients.<name>``, that of ``sum(dlogits * logits)``;
- ``loss``, with the ids as their own labels, and ``loss_gradients.<name>``.

Names and layouts are those of Hugging Face. ``tied.npz`` has ``float32.logits``,
``float32.gradients.<name>`` and so on as well: what transformers computes in float32.
"""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model
from transformers.utils import logging

FOLDER = Path(__file__).parent / "gpt2"

# All different, so that no two axes can be confused.
B, H, K, T, F, V, POSITIONS = 3, 2, 6, 7, 31, 23, 9
D = H * K
N = 2  # layers

Arrays = dict[str, np.ndarray]


def config(**changes) -> GPT2Config:
    """The settings of a small model, with ``changes``; the end of text is its last token."""
    sizes = {"vocab_size": V, "n_positions": POSITIONS, "n_embd": D, "n_layer": N, "n_head": H}
    return GPT2Config(**sizes, bos_token_id=V - 1, eos_token_id=V - 1, **changes)


def draw(model: GPT2LMHeadModel, rng: np.random.Generator) -> None:
    """Weights of size 1 / sqrt(in), tables of size 1; norms and biases away from 1 and 0."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            if name.endswith(("wte.weight", "wpe.weight")):
                values = rng.standard_normal(shape)
            elif name == "lm_head.weight":  # (V, D)
                values = rng.standard_normal(shape) / np.sqrt(D)
            elif len(shape) == 2:  # (in, out)
                values = rng.standard_normal(shape) / np.sqrt(shape[0])
            elif name.endswith("weight"):
                values = rng.uniform(0.5, 1.5, shape)
            else:
                values = 0.5 * rng.standard_normal(shape)
            parameter.copy_(torch.tensor(values))


def measure(model: GPT2LMHeadModel, ids: np.ndarray, dlogits: np.ndarray) -> Arrays:
    """Logits, loss, and the gradients of both."""
    names, leaves = zip(*model.named_parameters())
    tokens = torch.tensor(ids)
    output = model(tokens, labels=tokens)
    logits = output.logits
    # The same loss once more: transformers computes its own in float32, whatever the model's dtype.
    loss = functional.cross_entropy(logits[:, :-1].reshape(-1, V), tokens[:, 1:].reshape(-1))
    torch.testing.assert_close(loss.float(), output.loss.float())
    cotangent = torch.tensor(dlogits).to(logits.dtype)
    gradients = torch.autograd.grad(logits, leaves, cotangent, retain_graph=True)
    loss_gradients = torch.autograd.grad(loss, leaves)
    found = {"logits": logits.detach().numpy(), "loss": loss.detach().numpy()}
    for name, gradient, loss_gradient in zip(names, gradients, loss_gradients):
        found[f"gradients.{name}"] = gradient.numpy()
        found[f"loss_gradients.{name}"] = loss_gradient.numpy()
    return found


def record(name: str, settings: GPT2Config, dtype: torch.dtype) -> GPT2LMHeadModel:
    """Make a model, save it as Hugging Face does, and save what it computes."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    model = GPT2LMHeadModel(settings).to(dtype)
    draw(model, rng)
    model.save_pretrained(FOLDER / name)
    ids = rng.integers(0, V, (B, T))
    ids[:, 1] = ids[:, 0]
    dlogits = rng.standard_normal((B, T, V))
    arrays = {"ids": ids, "dlogits": dlogits} | measure(load(name, torch.float64), ids, dlogits)
    if dtype == torch.float32:
        single = measure(load(name, dtype), ids, dlogits)
        arrays |= {f"float32.{key}": array for key, array in single.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    return model


def load(name: str, dtype: torch.dtype) -> GPT2LMHeadModel:
    """The model in a folder, in evaluation mode, with eager attention."""
    model, report = GPT2LMHeadModel.from_pretrained(
        FOLDER / name, dtype=dtype, attn_implementation="eager", output_loading_info=True
    )
    old = {f"transformer.h.{i}.attn.masked_bias" for i in range(N)}  # read by nothing any more
    if any(keys and not set(keys) <= old for keys in report.values()):
        raise ValueError(f"{name}: {report}")
    return model.eval()


def write_bin(model: GPT2LMHeadModel) -> None:
    """``bin`` and ``bin_sharded``, from which transformers reads but which it writes no more."""
    tensors = model.state_dict()  # lm_head.weight is in it, and shares its memory with wte.weight
    buffers = {}
    for i in range(N):
        mask = torch.tril(torch.ones(POSITIONS, POSITIONS)).bool()[None, None]
        buffers[f"transformer.h.{i}.attn.bias"] = mask
        buffers[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    for name in ("bin", "bin_sharded"):
        (FOLDER / name).mkdir()
        model.config.save_pretrained(FOLDER / name)
    torch.save(tensors | buffers, FOLDER / "bin" / "pytorch_model.bin")

    names = list(tensors)
    half = len(names) // 2
    parts = {
        "pytorch_model-00001-of-00002.bin": names[:half],
        "pytorch_model-00002-of-00002.bin": names[half:],
    }
    for file, part in parts.items():
        # Cloned: a tensor that is a view would take all of its storage along.
        torch.save({key: tensors[key].clone() for key in part}, FOLDER / "bin_sharded" / file)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": {key: file for file, part in parts.items() for key in part},
    }
    path = FOLDER / "bin_sharded" / "pytorch_model.bin.index.json"
    path.write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    """Write all folders and files anew."""
    logging.disable_progress_bar()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    untied = config(
        activation_function="gelu", layer_norm_epsilon=1e-3, tie_word_embeddings=False
    )
    record("untied", untied, torch.float64)
    tied = record("tied", config(activation_function="gelu_new", n_inner=F), torch.float32)

    tied.save_pretrained(FOLDER / "sharded", max_shard_size="8KB")
    bare = GPT2Model.from_pretrained(FOLDER / "tied")
    bare.save_pretrained(FOLDER / "bare")
    write_bin(tied)
    with np.load(FOLDER / "tied.npz") as recorded:
        for name in ("sharded", "bare", "bin", "bin_sharded"):
            logits = load(name, torch.float64)(torch.tensor(recorded["ids"])).logits
            if not np.array_equal(logits.detach().numpy(), recorded["logits"]):
                raise ValueError(f"{name}: other logits than those of tied")
    for path in FOLDER.glob("*/generation_config.json"):
        path.unlink()


if __name__ == "__main__":
    main()
